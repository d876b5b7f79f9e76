"""Lines of something else in the middle of a trace: what follows them goes on where the trace was broken off."""

from __future__ import annotations

from pathlib import Path

import pytest

from hangdiag.model import Capture
from hangdiag.readers import read_text

SAMPLES = Path(__file__).resolve().parents[2] / "samples"
#: What may stand between two lines of a trace.
BREAKS = {
    "the console": ["igb0: link state changed to UP"],
    "syslog": ["Nov 26 01:02:03 host kernel: igb0: link state changed to UP"],
    "a program that died": ["pid 2210 (x), jid 0, uid 0: exited on signal 6"],
    "a fence": ["```", "", "(continued)", "", "```"],
    "a sentence": ["", "and here is more:", ""],
    "^C": ["^C"],
    "a printout's page": ["", "\x0chang.txt            Thu Nov 26 01:02 2026            Page 3", ""],
    "a pager": ["--More--"],
    "a mail": ["", "-- ", "Joe", "", "On Thu, Nov 26, 2026 at 1:02 AM Joe <joe@example.org> wrote:", ""],
}
GDB = """Thread 3 (Thread 100100 (PID=16: bhyve/vcpu 0)):
#0  sched_switch (td=0xfffff80002415740, flags=258) at /usr/src/sys/kern/sched_ule.c:2140
#1  0xffffffff8038d0b2 in mi_switch (flags=258) at /usr/src/sys/kern/kern_synch.c:530
#2  0xffffffff803d19f9 in sleepq_switch (wchan=0xfffffe0000723000, pri=0) at /usr/src/sys/kern/subr_sleepqueue.c:600
#3  0xffffffff8038caf2 in _sleep (ident=0xfffffe0000723000, wmesg=0xffffffff80 "vmrndv") at /usr/src/sys/kern/kern_synch.c:210
#4  0xffffffff805a8f7e in vm_handle_rendezvous (vcpu=0xfffff80002) at /usr/src/sys/dev/vmm/vmm.c:1400

Thread 2 (Thread 100101 (PID=16: bhyve/vcpu 1)):
#0  sched_switch (td=0xfffff80002415000, flags=258) at /usr/src/sys/kern/sched_ule.c:2140
#1  0xffffffff8038d0b2 in mi_switch (flags=258) at /usr/src/sys/kern/kern_synch.c:530
#2  0xffffffff80351902 in fork_exit (callout=0xffff) at /usr/src/sys/kern/kern_fork.c:1080
"""


def _broken(text: str, place: int, name: str) -> str:
    lines = text.split("\n")
    return "\n".join([*lines[:place], *BREAKS[name], *lines[place:]])


def _stacks(captures: tuple[Capture, ...]) -> list[list[tuple[object, ...]]]:
    return [
        sorted(
            [(thread.pid, thread.tid, thread.name, *[frame.function for frame in thread.frames]) for thread in capture.threads],
            key=repr,
        )
        for capture in captures
    ]


@pytest.mark.parametrize("name", BREAKS)
@pytest.mark.parametrize("place", [1, 2, 3, 4, 5, 8, 9])
def test_frames_that_count_on_go_on_with_their_stack(place, name):
    assert _stacks(read_text(_broken(GDB, place, name))) == _stacks(read_text(GDB))


def test_frames_that_count_on_elsewhere_are_nobodys():
    switched = "[Switching to thread 3 (Thread 100100 (PID=16: bhyve/vcpu 0))]\n" + GDB
    lines = switched.split("\n")
    (capture,) = read_text("\n".join([*lines[:10], "igb0: link state changed to UP", *lines[11:]]))
    assert [(thread.tid, len(thread.frames)) for thread in capture.threads] == [(100100, 5), (100101, 1), (None, 1)]
    assert capture.threads[2].told


def test_a_stack_asked_for_behind_a_header_without_one_is_not_that_threads():
    header, _, frames = GDB.partition("\n")
    threads = read_text(f"{header}\n(kgdb) bt\n{frames}")[0].threads
    assert not next(thread for thread in threads if thread.tid == 100100).frames


def test_a_stack_is_broken_off_more_than_once():
    lines = GDB.split("\n")[1:]
    text = "\n".join([*lines[:2], *BREAKS["syslog"], *lines[2:3], *BREAKS["^C"], *lines[3:]])
    assert _stacks(read_text(text)) == _stacks(read_text("\n".join(lines)))
