"""procstat and ps with --libxo: JSON and XML, pretty and in one line, whole and cut."""

from __future__ import annotations

import pytest

from tests.readers.help import functions
from tests.readers.help import read_accounted as read

FRAMES = [
    ("0xffffffff80bcb972", "mi_switch", 0xC2), ("0xffffffff80c1c4bf", "sleepq_timedwait", 0x2F),
    ("0xffffffff80bcae06", "_sleep", 0x1F6), ("0xffffffff82a4d1c0", "vm_handle_rendezvous", 0x10),
]  # fmt: skip
THREADS = [
    (2210, 100860, "bhyve", "vcpu 0", FRAMES), (2210, 100861, "bhyve", 'a "b" \\c', FRAMES[:2]), (2210, 100862, "bhyve", "-", "<running>"),
    (11, 100003, "idle", "idle: cpu0", FRAMES[:1]),
]  # fmt: skip


def kstack(pretty, verbose=True):
    """As ``procstat --libxo json -kk`` prints it: the threads of a process with the same names in one object."""
    processes = {}
    for pid, tid, command, name, stack in THREADS:
        name = name.replace("\\", "\\\\").replace('"', '\\"')
        fields = [f'"process_id": {pid}', f'"thread_id": {tid}', f'"command": "{command}"', f'"thread_name": "{name}"']
        if isinstance(stack, str):
            fields.append(f'"state": "{stack}"')
        else:
            lines = [
                f'"#{number} {address} at {function}+{offset:#x}"' if verbose else f'"{function}"'
                for number, (address, function, offset) in enumerate(stack)
            ]
            fields.append('"trace": [\n' + ",\n".join(lines) + "\n]")
        processes.setdefault(pid, []).extend(fields)
    text = ",\n".join(f'"{pid}": {{\n' + ",\n".join(fields) + "\n}" for pid, fields in processes.items())
    text = '{\n"__version": "1",\n"procstat": {\n"kstack": {\n' + text + "\n}\n}\n}\n"
    return text if pretty else text.replace("\n", "") + "\n"


def kstack_xml():
    lines = ['<procstat xmlns="urn:x" version="1">', "<kstack>"]
    for pid, tid, command, name, stack in THREADS:
        lines += [f"<{pid}>", f"<process_id>{pid}</process_id>", f"<thread_id>{tid}</thread_id>", f"<command>{command}</command>"]
        lines.append(f"<thread_name>{name}</thread_name>")
        if isinstance(stack, str):
            lines.append("<state>&lt;running&gt;</state>")
        else:
            lines.append("<trace>")
            lines += [f"<token>#{number} {address} at {function}+{offset:#x}</token>" for number, (address, function, offset) in enumerate(stack)]
            lines.append("</trace>")
        lines.append(f"</{pid}>")
    return "\n".join([*lines, "</kstack>", "</procstat>"]) + "\n"


def check(capture, offsets=True):
    assert [(thread.pid, thread.tid, thread.command, thread.name) for thread in capture.threads] == [
        (pid, tid, command, None if name == "-" else name) for pid, tid, command, name, _ in THREADS
    ]
    for thread, (*_, stack) in zip(capture.threads, THREADS, strict=True):
        if isinstance(stack, str):
            assert (functions(thread), thread.state) == ([stack], "running")
        else:
            assert functions(thread) == [function for _, function, _ in stack]
            assert [frame.offset for frame in thread.frames] == [offset if offsets else None for *_, offset in stack]
    assert capture.sources[0].format == "procstat"


@pytest.mark.parametrize("text", [kstack(True), kstack(False), kstack_xml()], ids=["pretty", "one line", "xml"])
def test_stacks(text):
    capture = read("# procstat --libxo ... -kk -a\n" + text + "# \n", indented=False)
    check(capture)
    assert tuple(capture.unread[0].where)[1:] == (1, 1)
    assert len(capture.unread) <= 2
    assert capture.threads[0].frames[0].address == 0xFFFFFFFF80BCB972


def test_functions_alone():
    check(read(kstack(True, verbose=False), indented=False), offsets=False)


def test_lines_of_a_thread():
    capture = read(kstack(True), indented=False)
    assert tuple(capture.threads[0].where[0])[1:] == (6, 14)


def test_a_document_that_was_cut():
    lines = kstack(True).splitlines()
    capture = read("\n".join(lines[:13]) + "\n", indented=False)
    assert functions(capture.threads[0]) == ["mi_switch", "sleepq_timedwait", "_sleep"]


def test_states_of_procstat():
    capture = read(
        """
        {
          "__version": "1",
          "procstat": {
            "threads": {
              "2210": {
                "process_id": 2210,
                "command": "bhyve",
                "threads": {
                  "100860": {
                    "thread_id": 100860,
                    "thread_name": "vcpu 0",
                    "cpu": 3,
                    "priority": 152,
                    "run_state": "sleep",
                    "wait_channel": "vmrndv"
                  },
                  "100861": {"thread_id": 100861, "thread_name": "-", "cpu": "-", "run_state": "lock", "lock_name": "vm rende"},
                  "100862": {"thread_id": 100862, "thread_name": "vcpu 2", "cpu": 1, "run_state": "run", "wait_channel": "-"}
                }
              }
            }
          }
        }
        """
    )
    got = [(thread.pid, thread.tid, thread.command, thread.name, thread.state, thread.wmesg, thread.lock) for thread in capture.threads]
    assert got == [
        (2210, 100860, "bhyve", "vcpu 0", "sleeping", "vmrndv", None),
        (2210, 100861, "bhyve", None, "lock", None, "vm rende"),
        (2210, 100862, "bhyve", "vcpu 2", "runnable", None, None),
    ]
    assert not capture.unread


@pytest.mark.parametrize("pretty", [True, False])
def test_ps(pretty):
    text = """\
{"process-information": {"process": [
{"pid":"2210","thread-id":"100860","thread-name":"vcpu 0","wait-channel":"vmrndv","state":"D+","command":"bhyve: win11 (bhyve)"},
{"pid":"2210","thread-id":"100861","thread-name":"vcpu 1","wait-channel":"pmap","state":"L","command":"bhyve: win11 (bhyve)"}]}
}
"""
    if not pretty:
        text = text.replace("\n", "") + "\n"
    capture = read(text, indented=False)
    assert [(thread.tid, thread.command, thread.name, thread.wmesg, thread.lock) for thread in capture.threads] == [
        (100860, "bhyve", "vcpu 0", "vmrndv", None),
        (100861, "bhyve", "vcpu 1", None, "pmap"),
    ]
    assert capture.sources[0].format == "ps"
    assert not capture.unread


def test_ps_as_xml():
    capture = read(
        """
        <process-information>
          <process>
            <pid>2210</pid><state>D</state>
            <wait-channel>vmrndv</wait-channel>
            <command>bhyve: a &amp; b (bhyve)</command>
          </process>
        </process-information>
        """
    )
    assert [(thread.pid, thread.command, thread.wmesg) for thread in capture.threads] == [(2210, "bhyve", "vmrndv")]
    assert not capture.unread


def test_a_brace_alone_is_not_read():
    assert read("{\n  something = 1\n}\n", indented=False).threads == ()
