"""The debugger's own frames are taken where they agree with the memory, and only there."""

from __future__ import annotations

from hangdiag.live.backtraces import add_debugger_frames
from hangdiag.live.mi import Answer
from hangdiag.model import Capture, Frame, Thread, VirtualMachine

BACKTRACE = """
Thread 6 (Thread 100043):
#0  sched_switch (td=td@entry=0xfffff80002411740, flags=flags@entry=260) at /usr/src/sys/kern/sched_ule.c:2143
#1  0xffffffff8038d0b2 in mi_switch (flags=flags@entry=260) at /usr/src/sys/kern/kern_synch.c:452
#2  0xffffffff803d207f in sleepq_timedwait (wchan=0xfffffe0000723268, pri=0) at /usr/src/sys/kern/subr_sleepqueue.c:740
#3  0xffffffff8038cd00 in msleep_spin_sbt (ident=0xfffffe0000723268) at /usr/src/sys/kern/kern_synch.c:287
#4  0xffffffff805a9282 in vcpu_set_state_locked (vm=vm@entry=0xfffffe0000723000, vcpuid=vcpuid@entry=0) at vmm.c:1130
#5  vcpu_lock_one (sc=0xfffff800022103c0, vcpu=0) at /usr/src/sys/amd64/vmm/vmm_dev.c:140
#6  vmmdev_ioctl (cdev=0xfffff800023ef200) at /usr/src/sys/amd64/vmm/vmm_dev.c:400
#7  0x0000000000201ee9 in ?? ()

Thread 7 (Thread 100044):
#0  kdb_enter (why=<optimized out>) at /usr/src/sys/kern/subr_kdb.c:479
#1  0xffffffff803c342b in kdb_alt_break (key=1) at /usr/src/sys/kern/subr_kdb.c:379
"""
OWN = tuple(
    Frame(name, 1)
    for name in (
        *("sched_switch", "mi_switch", "sleepq_timedwait", "msleep_spin_sbt", "vcpu_set_state_locked"),
        "vmmdev_ioctl",
    )
)


class Debugger:
    """A session with two threads; ``broken`` fails at the backtraces."""

    def __init__(self, broken: bool = False):
        self.broken = broken
        self.asked: list[str] = []

    def ask(self, command: str) -> Answer:
        self.asked.append(command)
        return Answer("error", {"msg": "no"}) if self.broken else Answer("done", console=BACKTRACE)

    def ask_many(self, commands: list[str]) -> list[Answer]:
        found = {
            "100043": "Thread 6 has target id 'Thread 100043'\n",
            "100044": "Thread 7 has target id 'Thread 100044'\n",
        }
        return [Answer("done", console=found.get(command.split()[-1].strip('"'), "")) for command in commands]


CAPTURE = Capture(
    threads=(
        Thread(pid=16, tid=100043, state="sleeping", frames=OWN),
        Thread(pid=16, tid=100044, state="sleeping", frames=OWN),
        Thread(pid=1, tid=100001, state="sleeping", frames=(Frame("mi_switch"),)),
        Thread(pid=16, tid=100003, state="running"),
    ),
    vms=(VirtualMachine(pid=16),),
)


def test_frames_that_agree_are_taken_and_others_not() -> None:
    debugger = Debugger()
    capture = add_debugger_frames(debugger, CAPTURE, thorough=True)  # type: ignore[arg-type]
    first, second, *rest = capture.threads
    assert [frame.function for frame in first.frames] == [
        *(frame.function for frame in OWN[:5]),
        "vcpu_lock_one",
        "vmmdev_ioctl",
    ]
    assert first.frames[4].argument("vcpuid") == "0"
    # FreeBSD 12's stub shows the stack of the thread that entered the debugger for another one.
    assert second.frames == OWN
    assert rest == list(CAPTURE.threads[2:])
    assert debugger.asked == ['-interpreter-exec console "thread apply 6 7 bt"']


def test_a_debugger_that_fails_costs_nothing() -> None:
    assert add_debugger_frames(Debugger(broken=True), CAPTURE, thorough=True) == CAPTURE  # type: ignore[arg-type]


def test_a_stub_is_asked_only_where_memory_did_not_tell() -> None:
    debugger = Debugger()
    assert add_debugger_frames(debugger, CAPTURE, thorough=False) == CAPTURE  # type: ignore[arg-type]
    assert debugger.asked == []
