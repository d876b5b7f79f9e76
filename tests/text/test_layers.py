"""Whatever lies around a trace, the capture stays the same."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest

from hangdiag.readers import read_text
from tests.readers.essence import essence
from tests.text.wrappings import LAYERS

SAMPLES = Path(__file__).resolve().parents[2] / "samples"
NAMES = sorted(path.name for path in SAMPLES.glob("*.txt"))


@cache
def plain(name: str):
    captures = read_text((SAMPLES / name).read_text())
    assert len(captures) == 1
    return captures[0]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("layer", LAYERS)
def test_a_layer_changes_nothing(name, layer):
    if layer == "literal line ends" and "gdb" in name:
        pytest.skip("strings of the trace hold literal line ends themselves")
    text = LAYERS[layer]((SAMPLES / name).read_text())
    captures = read_text(text)
    assert len(captures) == 1
    before, after = essence(plain(name)), essence(captures[0])
    assert [(thread.tid, thread.name) for thread in after.threads] == [
        (thread.tid, thread.name) for thread in before.threads
    ]
    assert after.threads == before.threads
    # facts on the same line are one: literal line ends make all of a text one line
    assert set(after.locks) == set(before.locks)
    assert after.vms == before.vms
    assert after.host == before.host
    assert not [item for item in captures[0].unread if item.trace_like]


def test_a_markdown_table():
    text = (
        "| UID | PID | PPID | CPU | PRI | NI | VSZ | RSS | MWCHAN | STAT | TT | TIME | COMMAND |\n"
        "|---|--:|---|---|---|---|---|---|---|---|---|---|---|\n"
        "| 0 | 2290 | 1 | 0 | 52 | 0 | 5780 | 1524 | `vmstat` | **D+** | 0 | 0:00.35 | bhyvectl --destroy |\n"
    )
    (capture,) = read_text(text)
    (thread,) = capture.threads
    assert (thread.pid, thread.wmesg, thread.state, thread.where[0].first) == (2290, "vmstat", "sleeping", 3)


def test_a_bug_report_of_many_layers():
    text = """\
(In reply to Somebody from comment #3)
> I have the same on 14.1-RELEASE-p5:
>
> # procstat -kk 2210
>   PID    TID COMM                TDNAME              KSTACK
>  2210 100860 bhyve               mevent
> mi_switch+0xbc sleepq_catch_signals+0x422 sleepq_wait_sig+0xc _sleep+0x205
> kqueue_kevent+0xa3d [...]

Same here. In ddb:

    db> bt 100861
    Tracing pid 2210 tid 100861 td 0xfffff80004c98000
    sched_switch() at sched_switch+0x5a5/frame 0xfffffe0047d2f5b0
    ...
    vm_run() at vm_run+0x6b1/frame 0xfffffe0047d2f5f0
"""
    (capture,) = read_text(text)
    assert [(thread.tid, [frame.function for frame in thread.frames]) for thread in capture.threads] == [
        (100860, ["mi_switch", "sleepq_catch_signals", "sleepq_wait_sig", "_sleep", "kqueue_kevent"]),
        (100861, ["sched_switch", "vm_run"]),
    ]
    assert [thread.where[0][1:] for thread in capture.threads] == [(6, 8), (13, 16)]
    assert not [item for item in capture.unread if item.trace_like]
