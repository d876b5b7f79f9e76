"""Whole ddb sessions, as FreeBSD 8 to 15 print them on i386, amd64 and arm64, noise of the console in between."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from hangdiag.model import Capture, Thread
from hangdiag.readers import read_text
from tests.readers.essence import essence
from tests.readers.help import functions, only, read

SAMPLES = sorted((Path(__file__).resolve().parents[2] / "samples").glob("*.ddb.txt"))

I386_8 = """\
login: KDB: enter: Line break on console
[thread pid 12 tid 100024 ]
Stopped at      kdb_enter+0x3a: movl    $0,kdb_why
db> ps
  pid  ppid  pgrp   uid   state   wmesg     wchan    cmd
 1288   901  1288     0  S+      nanslp   0xc0d7a044 sleep
 1102     1  1102     0  Ss      (threaded)          java
100181                   S       exithold 0xc5f2dc40 java
100180                   L      *Giant    0xc5b60a80 java
100179                   S       ucond    0xc5b1e640 java worker
  874     1   874     0  D       getblk   0xd8a4f1c0 cp
   12     0     0     0  WL      (threaded)          [intr]
100024                   Run     CPU 0               [irq4: uart0]
100012                   I                           [swi4: clock]
    0     0     0     0  DLs     (threaded)          [kernel]
100041                   D       -        0xc5a6e4c0 [em0 taskq]
db> bt
Tracing pid 12 tid 100024 td 0xc5660000
kdb_enter(c0aab1a5,c0aab1a5,c0b04b6a,c0d6e0c0,0,...) at kdb_enter+0x3a
uart_intr(c5a50c00,c5a50c00,c0a4a1f7,1,c55a5ac8,...) at uart_intr+0x174
ithread_loop(c5a3b3b0,e5391d28,c0a9d42c,344,c5660000,...) at ithread_loop+0x9b
fork_exit(c0785cb0,c5a3b3b0,e5391d28) at fork_exit+0xb8
fork_trampoline() at fork_trampoline+0x8
--- trap 0, eip = 0, esp = 0xe5391d60, ebp = 0 ---
db> bt 874
Tracing pid 874 tid 100093 td 0xc5a80b90
sched_switch(c5a80b90,0,104,191,bd2a2a2,...) at sched_switch+0x2d3
mi_switch(104,0,c0aa4c9d,1d2,0,...) at mi_switch+0x200
sleepq_wait(d8a4f1c0,50,c0ab0f13,0,0,...) at sleepq_wait+0x39
__lockmgr_args(d8a4f1c0,80900,d8a4f1ec,0,0,...) at __lockmgr_args+0xc17
getblk(c5e2a000,1b,0,4000,0,...) at getblk+0x23e
syscall(e53f2d38) at syscall+0x2a3
Xint0x80_syscall() at Xint0x80_syscall+0x20
--- syscall (3, FreeBSD ELF32, read), eip = 0x28171d0b, esp = 0xbfbfdc3c, ebp = 0xbfbfdc68 ---
db> show lockchain 100180
thread 100180 (pid 1102, java) blocked on lock 0xc0d6d1c8 (sleep mutex) "Giant"
thread 100093 (pid 874, cp) inhibited
db> show sleepchain 874
thread 100093 (pid 874, cp) blocked on lockmgr bufwaitEXCL
thread 100041 (pid 0, em0 taskq) sleeping on 0xc5a6e4c0 "-"
db> show alllocks
Process 874 (cp) thread 0xc5a80b90 (100093)
exclusive lockmgr ufs (ufs) r = 0 (0xc5e2a058) locked @ /usr/src/sys/kern/vfs_vnops.c:545
db> show pcpu
cpuid        = 0
dynamic pcpu = 0x60e780
curthread    = 0xc5660000: pid 12 "irq4: uart0"
curpcb       = 0xe5391d80
fpcurthread  = none
idlethread   = 0xc55c8b90: tid 100004 "idle: cpu0"
APIC ID      = 0
db> show lock c0d6d1c8
 class: sleep mutex
 name: Giant
 flags: {DEF, RECURSE}
 state: {OWNED, CONTESTED}
 owner: 0xc5a80b90 (tid 100093, pid 874, "cp")
db> c
"""


def by_tid(capture: Capture) -> dict[int | None, Thread]:
    """The threads of a capture by their tid."""
    return {thread.tid: thread for thread in capture.threads if thread.tid is not None}


def test_release_8_on_i386():
    capture = read(I386_8, indented=False)
    assert capture.unread == ()
    assert (capture.sources[0].format, len(capture.threads)) == ("ddb", 8)
    threads = by_tid(capture)
    entered, cp = threads[100024], threads[100093]
    assert functions(entered) == ["kdb_enter", "uart_intr", "ithread_loop", "fork_exit", "fork_trampoline"]
    assert (entered.pid, entered.command, entered.name, entered.cpu) == (12, "intr", "irq4: uart0", 0)
    assert functions(cp) == [
        "sched_switch", "mi_switch", "sleepq_wait", "__lockmgr_args", "getblk", "syscall", "Xint0x80_syscall",
    ]  # fmt: skip
    assert (cp.pid, cp.command, cp.wmesg, cp.wchan, cp.state) == (874, "cp", "getblk", 0xD8A4F1C0, "sleeping")
    assert (threads[100180].lock, threads[100180].state) == ("Giant", "lock")
    assert (threads[100181].wmesg, threads[100181].wmesg_cut) == ("exithold", 8)
    assert (threads[100041].command, threads[100041].name) == ("kernel", "em0 taskq")
    assert [(lock.name, lock.lock_class, lock.address, lock.owner, lock.waiters) for lock in capture.locks] == [
        ("Giant", "sleep mutex", 0xC0D6D1C8, 100093, (100180,)),
        ("bufwait", "lockmgr", None, 100041, (100093,)),
        ("ufs", "lockmgr", 0xC5E2A058, 100093, ()),
        ("Giant", "sleep mutex", 0xC0D6D1C8, 100093, ()),
    ]
    # a process with a single thread: up to 11 every sleep is an S there
    (sleep,) = (thread for thread in capture.threads if thread.pid == 1288)
    assert (sleep.state, sleep.interruptible) == ("sleeping", None)


def test_the_same_stacks_twice_are_one_thread_each():
    stack = "db> bt 874\nTracing pid 874" + I386_8.split("Tracing pid 874")[1].split("db>")[0]
    once, twice = read(I386_8, indented=False), read(I386_8.removesuffix("db> c\n") + stack, indented=False)
    assert [functions(thread) for thread in twice.threads] == [functions(thread) for thread in once.threads]


ARM64_15 = """\
panic: deadlres_td_sleep_q: possible deadlock detected for 0xffffa000c1a5e580 (bhyvectl), blocked for 1800512 ticks

cpuid = 2
time = 1764000000
KDB: stack backtrace:
db_trace_self() at db_trace_self
db_trace_self_wrapper() at db_trace_self_wrapper+0x38
vpanic() at vpanic+0x1a4
panic() at panic+0x48
deadlkres() at deadlkres+0x334
fork_exit() at fork_exit+0x8c
fork_trampoline() at fork_trampoline+0x18
KDB: enter: panic
[ thread pid 0 tid 100117 ]
Stopped at      kdb_enter+0x48: str     xzr, [x19, #1144]
db> bt
Tracing pid 0 tid 100117 td 0xffffa00008421000
db_trace_self() at db_trace_self
db_stack_trace() at db_stack_trace+0x120
kdb_trap() at kdb_trap+0x28c
handle_el1h_sync() at handle_el1h_sync+0x18
--- exception, esr 0xf2000000
kdb_enter() at kdb_enter+0x48
vpanic() at vpanic+0x1e0
panic() at panic+0x48
deadlkres() at deadlkres+0x334
fork_exit() at fork_exit+0x8c
fork_trampoline() at fork_trampoline+0x18
db> show thread 100862
Thread 100862 at 0xffffa000c1a5e580:
 proc (pid 3011): 0xffffa000b88b7a70
 name: bhyvectl
 pcb: 0xffff0001d8c4dcd0
 stack: 0xffff0001d8c4a000-0xffff0001d8c4dfff
 flags: 0x4  pflags: 0
 state: INHIBITED: {SLEEPING}
 wmesg: vm mem_segs  wchan: 0xffffa00011c0d8a8 sleeptimo 0. 0 (curr 43c. 2c4a3e9f91a3d000)
 priority: 120
 container lock: sleepq chain (0xffff000001a4d6c0)
 last voluntary switch: 1800.512 s ago
db> alltrace

Tracing command bhyvectl pid 3011 tid 100862 td 0xffffa000c1a5e580
sched_switch() at sched_switch+0x8c8
mi_switch() at mi_switch+0x134
sleepq_switch() at sleepq_switch+0x11c
sleepq_wait() at sleepq_wait+0x4c
_sx_xlock_hard() at _sx_xlock_hard+0x54c
vmmdev_ioctl() at vmmdev_ioctl+0x1c8
do_el0_sync() at do_el0_sync+0x608
handle_el0_sync() at handle_el0_sync+0x4c
--- exception, esr 0x56000000

Tracing command idle pid 11 tid 100004 td 0xffffa00001a0d000 (CPU 1)
ipi_stop() at ipi_stop+0x34
handle_el1h_irq() at handle_el1h_irq+0x14
--- interrupt
cpu_idle() at cpu_idle+0x50
handle_serror() at handle_serror+0x14
--- system error, esr 0xbf000000
fork_exit() at fork_exit+0x8c
handle_empty_exception() at handle_empty_exception+0x14
--- unhandled exception, esr 0
fork_trampoline() at fork_trampoline+0x18
db> show allchains
chain 1:
 thread 100862 (pid 3011, bhyvectl) is blocked on lock 0xffffa00011c0d8a8 (sx) "vm mem_segs" XLOCK
 thread 100840 (pid 2900, vcpu 0) is sleeping on 0xffffa000c1a10020 "vmstat"
chain 2:
 thread 100700 (pid 880, cp) is blocked on lock 0xffffa000b0d0e0a8 (lockmgr) "bufwait" EXCL
 disowned (LK_KERNPROC)
chain 3:
 thread 100044 (pid 12, swi4: clock (0)) is inhibited: iwait
db>
"""


def test_a_panic_of_the_deadlock_resolver_on_arm64():
    capture = read(ARM64_15, indented=False)
    assert capture.unread == ()
    threads = by_tid(capture)
    assert sorted(threads) == [100004, 100044, 100117, 100700, 100840, 100862]
    assert len(capture.threads) == len(threads)
    # what ddb traced counts, not what panic() printed before
    assert functions(threads[100117]) == [
        "db_trace_self", "db_stack_trace", "kdb_trap", "handle_el1h_sync", "kdb_enter", "vpanic", "panic", "deadlkres",
        "fork_exit", "fork_trampoline",
    ]  # fmt: skip
    assert functions(threads[100004]) == [
        "ipi_stop", "handle_el1h_irq", "cpu_idle", "handle_serror", "fork_exit", "handle_empty_exception",
        "fork_trampoline",
    ]  # fmt: skip
    assert len(threads[100862].frames) == 8
    # the resolver names the waiter by its address
    assert threads[100862].where[-1] == (0, 1, 1)
    assert capture.host.panic is not None
    assert [(lock.name, lock.state, lock.owner, lock.waiters) for lock in capture.locks] == [
        ("vm mem_segs", "exclusive", 100840, (100862,)),
        ("bufwait", "kernproc", None, (100700,)),
    ]


def test_a_panic_without_a_trace_of_ddb_keeps_its_backtrace():
    capture = read(ARM64_15.partition("db> bt")[0], indented=False)
    (panicked,) = (thread for thread in capture.threads if thread.frames)
    assert (panicked.pid, panicked.tid, functions(panicked)[2:4]) == (0, 100117, ["vpanic", "panic"])
    assert len(capture.threads) == 2


def test_the_resolver_up_to_8():
    capture = read("panic: deadlkres: possible deadlock detected for 0xc5a80b90, blocked for 900123 ticks\n")
    (thread,) = capture.threads
    assert (thread.address, thread.state) == (0xC5A80B90, None)


def test_arm64_up_to_12_prints_a_frames_registers_and_its_callers_place():
    capture = read(
        """
        db> alltrace

        Tracing command bhyve pid 812 tid 100099 td 0xfffffd0001c3a580
        sched_switch() at mi_switch+0xf4
        \t pc = 0xffff00000045a6d0  lr = 0xffff00000043a4b0
        \t sp = 0xffff000040f0c480  fp = 0xffff000040f0c4a0

        mi_switch() at _sleep+0x2a4
        \t pc = 0xffff00000043a4b0  lr = 0xffff00000048d1a8
        \t sp = 0xffff000040f0c4b0  fp = 0xffff000040f0c4d0


        Tracing command idle pid 11 tid 100003 td 0xfffffd0000a0d000 (CPU 0)
        db_trace_self() at db_trace_self_wrapper+0x28
        \t pc = 0xffff000000690a3c  lr = 0xffff0000000843f8
        \t sp = 0xffff000040f0c480  fp = 0xffff000040f0c4b0

        db_trace_self_wrapper() at kdb_enter+0x30
        \t pc = 0xffff0000000843f8  lr = 0xffff000000084068
        \t sp = 0xffff000040f0c4c0  fp = 0xffff000040f0c5a0

        kdb_enter() at 0x40424f5c
        \t pc = 0xffff0000000843f8  lr = 0xffff000000084068
        \t sp = 0xffff000040f0c4c0  fp = 0xffff000040f0c5a0

        """
    )
    assert [functions(thread) for thread in capture.threads] == [
        ["sched_switch", "mi_switch"],
        ["db_trace_self", "db_trace_self_wrapper", "kdb_enter"],
    ]
    assert capture.threads[0].frames[0].offset is None
    assert capture.unread == ()


SERIAL = """\
Nov 24 03:11:02 vmhost kernel: em0: link state changed to UP
FreeBSD/amd64 (vmhost.example.org) (ttyu0)

login: ~KDB: enter: Break to debugger
[ thread pid 11 tid 100005 ]
Stopped at      kdb_alt_break_internal+0x17f:   movq    $0,0x1337(%rip)
db> ps
  pid  ppid  pgrp   uid  state   wmesg   wchan               cmd
 2290  2100  2290     0  D+      vmstat  0xfffffe0000723268  bhyvectl
 2210     1  2210     0  DE      (threaded)                  bhyve
100860                   D       vmrndv  0xfffff80004c98000  vcpu 0
pcm0: chn_write(): pcm0:virtual:dsp0.vp0: play interrupt timeout, channel dead
100861                   D       vmstat  0xfffff80004c98100  vcpu 1
100862                   s                                   vcpu 2
--More--\r        \r100863                   Ds      vmrndv  0xfffff80004c98000  vcpu 3
100864                   L      *vm rend 0xfffff80002411740  blk-4:0-0
cpuid = 3
100865                   RunQ                                vtnet-2:0 tx
100866                   Run     CPU 3                       mevent
  881     1   881     0  Ds      ufs     0xfffff80004a2d068  cron
  882     1   882     0  R                                   top
db> bt 100860
Tracing pid 2210 tid 100860 td 0xfffff80004c98000
em0: Watchdog timeout Queue[0]-- resetting
sched_switch() at sched_switch+0x48a/frame 0xfffffe00a0d1c400
mi_switch() at mi_switch+0xe1/frame 0xfffffe00a0d1c430
--More--\r        \rsleepq_timedwait() at sleepq_timedwait+0x3a/frame 0xfffffe00a0d1c460
em0: link state changed to DOWN
cpuid = 1
_sleep() at _sleep+0x26e/frame 0xfffffe00a0d1c500
vm_handle_rendezvous() at vm_handle_rendezvous+0x80/frame 0xfffffe00a0d1c540
--- syscall (54, FreeBSD ELF64, sys_ioctl), rip = 0x8013f9c4a, rsp = 0x7fffdf1f3e38, rbp = 0x7fffdf1f3f20 ---
db> show allchains
chain 1:
 thread 100864 (pid 2210, blk-4:0-0) is blocked on lock 0xfffff80004c98020 (sleep mutex) "vm rendezvous lock"
usbus0: Controller runs HCIHALT
 thread 100860 (pid 2210, vcpu 0) is sleeping on 0xfffff80004c98000 "vmrndv"
db> show alllocks
Process 2210 (bhyve) thread 0xfffff80004c98000 (100860)
em0: link state changed to DOWN
exclusive sleep mutex vm rendezvous lock (vm rendezvous lock) r = 0 (0xfffff80004c98020) locked @ /usr/src/sys/amd64/vmm/vmm.c:1
cpuid = 1
exclusive sx vm mem_segs (vm mem_segs) r = 0 (0xfffff80004c98440) locked @ /usr/src/sys/dev/vmm/vmm_dev.c:512
db> c
"""


def test_a_serial_console_in_use():
    capture = read(SERIAL, indented=False)
    threads = by_tid(capture)
    assert sorted(threads) == list(range(100860, 100867))
    assert {thread.pid for thread in threads.values()} == {2210}
    assert {thread.command for thread in threads.values()} == {"bhyve"}
    assert [threads[tid].state for tid in sorted(threads)] == [
        "sleeping", "sleeping", "suspended", "sleeping", "lock", "runnable", "running",
    ]  # fmt: skip
    assert threads[100864].lock == "vm rendezvous lock"
    assert functions(threads[100860]) == [
        "sched_switch", "mi_switch", "sleepq_timedwait", "_sleep", "vm_handle_rendezvous",
    ]  # fmt: skip
    rows = {thread.pid: (thread.command, thread.state) for thread in capture.threads if thread.tid is None}
    assert rows == {2290: ("bhyvectl", "sleeping"), 881: ("cron", "sleeping"), 882: ("top", "runnable")}
    assert [(lock.name, lock.owner, lock.waiters) for lock in capture.locks] == [
        ("vm rendezvous lock", 100860, (100864,)),
        ("vm rendezvous lock", 100860, ()),
        ("vm mem_segs", 100860, ()),
    ]
    lines = SERIAL.split("\n")
    unread = [
        lines[number - 1].partition(" ")[0] for item in capture.unread for number in range(item.where.first, item.where.last + 1)
    ]
    assert unread == ["Nov", "pcm0:", "cpuid", "em0:", "em0:", "usbus0:", "em0:", "cpuid"]


def test_rows_of_ps_without_their_header():
    rows = SERIAL.partition("wchan               cmd\n")[2].partition("db>")[0]
    assert sorted(by_tid(read(rows, indented=False))) == list(range(100860, 100867))


def test_continuing_on_a_serial_console_passes_time():
    # the prompt of the login does not hide ddb's
    assert len(read_text(SERIAL + SERIAL)) == 2


def test_ps_with_arguments():
    capture = read(
        "db> ps/a\n"
        "  pid  ppid  pgrp   uid  state   wmesg   wchan               cmd\n"
        " 2290  2100  2290     0  D+      vmstat  0xfffffe0000723268  bhyvectl /usr/sbin/bhyvectl --destroy --vm=win11\n"
        " 2210     1  2210     0  DE      (threaded)                  bhyve bhyve: win11 (bhyve)\n"
        "100860                   D       vmrndv  0xfffff80004c98000  vcpu 0\n"
        "   15     0     0     0  DL      syncer  0xffffffff809a78b8  [sync er] \n",
        indented=False,
    )
    assert [(thread.pid, thread.command, thread.name) for thread in capture.threads] == [
        (2210, "bhyve", "vcpu 0"), (2290, "bhyvectl", "bhyvectl"), (15, "sync er", "sync er"),
    ]  # fmt: skip
    assert {process.pid: process.arguments for process in capture.processes} == {
        2210: "bhyve: win11 (bhyve)",
        2290: "/usr/sbin/bhyvectl --destroy --vm=win11",
    }


def test_a_trap_names_the_thread_of_the_next_stack():
    capture = read(
        """
        Fatal trap 12: page fault while in kernel mode
        cpuid = 1; apic id = 02
        fault virtual address\t= 0x18
        \t\t\t= DPL 0, pres 1, long 1, def32 0, gran 1
        current process\t\t= 2210 (vcpu 2)
        r13: 0000000000000000 r14: 0000000000000000 r15: 0000000000000000
        trap number\t\t= 12
        panic: page fault
        cpuid = 1
        KDB: stack backtrace:
        #0 0xffffffff80c79095 at kdb_backtrace+0x65
        #1 0xffffffff80c2b731 at vpanic+0x151
        em0: link state changed to DOWN
        #2 0xffffffff80c2b5d3 at panic+0x43
        #3 0xffffffff82e2a1b4 at vm_handle_rendezvous+0x24
        Uptime: 3d2h11m5s
        """
    )
    (thread,) = capture.threads
    assert (thread.pid, thread.name) == (2210, "vcpu 2")
    assert functions(thread) == ["kdb_backtrace", "vpanic", "panic", "vm_handle_rendezvous"]
    assert [(item.where.first, item.where.last) for item in capture.unread] == [(13, 13)]


def test_a_trap_that_names_its_thread_by_tid():
    capture = read(
        """
        current process\t\t= 79018 (vcpu 1)
        current thread\t\t= 79018/155403 (bhyve/vcpu 1)
        KDB: stack backtrace:
        vpanic() at vpanic+0x132/frame 0xfffffe0047d2f5f0
        """
    )
    (thread,) = capture.threads
    assert (thread.pid, thread.tid, thread.name) == (79018, 155403, "vcpu 1")


def test_userlands_frames_are_no_kernel_frames():
    capture = read(
        """
        Tracing pid 2210 tid 100862 td 0xfffff80004c98000
        vm_handle_rendezvous() at vm_handle_rendezvous+0x80/frame 0xfffffe00a0d1c540
        --- syscall (54, FreeBSD ELF64, sys_ioctl), rip = 0x8013f9c4a, rsp = 0x7fffdf1f3e38, rbp =
        0x7fffdf1f3f20 ---
        (null)() at 0x8013f9c4a/frame 0x7fffdf1f3f20
        (null)() at 0x410000/frame 0x7fffdf1f3f40
        """
    )
    (thread,) = capture.threads
    assert functions(thread) == ["vm_handle_rendezvous"]
    assert capture.unread == ()


def test_a_call_of_null_is_a_frame():
    capture = read(
        """
        Tracing pid 2210 tid 100862 td 0xfffff80004c98000
        trap() at trap+0x1/frame 0xfffffe00a0d1c500
        calltrap() at calltrap+0x8/frame 0xfffffe00a0d1c510
        --- trap 0xc, rip = 0, rsp = 0xfffffe00a0d1c6e8, rbp = 0xfffffe00a0d1c740 ---
        (null)() at 0/frame 0xfffffe00a0d1c740
        sys_ioctl() at sys_ioctl+0x1/frame 0xfffffe00a0d1c780
        """
    )
    assert functions(capture.threads[0]) == ["trap", "calltrap", "0", "sys_ioctl"]


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.name)
def test_the_console_may_break_in_anywhere(path):
    text = path.read_text()
    lines = text.split("\n")
    plain = [essence(capture) for capture in read_text(text)]
    draw = random.Random(path.name)
    for place in draw.sample(range(1, len(lines)), 30):
        noise = draw.choice(("em0: link state changed to UP", "cpuid = 1"))
        noisy = "\n".join([*lines[:place], noise, *lines[place:]])
        assert [essence(capture) for capture in read_text(noisy)] == plain, (place, lines[place])


@pytest.mark.parametrize(
    ("text", "tid"),
    [
        ("db> bt Tracing pid 2210 tid 100862 td 0xc4c08510\n_sleep() at _sleep+0x1/frame 0xfffffe0047d2f5b0\n", 100862),
        ("db> show thread 100862Thread 100862 at 0xfffff80004c98000:\n name: vcpu 0\n", 100862),
        ('db> show lockchain  thread 100862 (pid 1, a) is sleeping on 0xfffff80004c98000 "b"\n', 100862),
    ],
)
def test_an_answer_behind_the_prompt(text, tid):
    capture = read(text, indented=False)
    assert only(capture).tid == tid
    assert capture.unread == ()


def test_show_threads_of_arm64_prints_whole_stacks():
    capture = read(
        "db> show threads\n"
        "  100862 (0xffffa000c1a5e580) (stack 0xffff0001d8c4a000)  sched_switch() at sched_switch+0x8c8\n"
        "mi_switch() at mi_switch+0x134\n"
        "handle_el0_sync() at handle_el0_sync+0x4c\n"
        "--- exception, esr 0x56000000\n"
        "  100004 (0xffffa00001a0d000) (stack 0xffff0001d8c4b000)  ***\n"
        "  100003 (0xffffa00001a0e000) (stack 0xffff0001d8c4c000)  fork_trampoline() at fork_trampoline\n",
        indented=False,
    )
    assert [(thread.tid, functions(thread)) for thread in capture.threads] == [
        (100862, ["sched_switch", "mi_switch", "handle_el0_sync"]), (100004, []), (100003, ["fork_trampoline"]),
    ]  # fmt: skip
    assert capture.unread == ()


def test_frames_that_the_author_left_out():
    capture = read(
        """
        Tracing pid 1 tid 100350 td 0xc4c08510
        sosend_generic_locked() ... sys_write()
        amd64_syscall() at amd64_syscall+0x145/frame 0xfffffe014d9cef30
        """
    )
    assert functions(only(capture)) == ["sosend_generic_locked", "sys_write", "amd64_syscall"]


def test_a_sleeping_owner_is_asleep():
    capture = read(
        """
        Sleeping thread (tid 100066, pid 12) owns a non-sleepable lock
        KDB: stack backtrace of thread 100066:
        sched_switch() at sched_switch+0x48a/frame 0xfffffe00a0d1c400
        _sleep() at _sleep+0x26e/frame 0xfffffe00a0d1c500
        panic: sleeping thread
        cpuid = 1
        KDB: stack backtrace:
        vpanic() at vpanic+0x132/frame 0xfffffe0047d2f5f0
        KDB: enter: panic
        [ thread pid 2210 tid 100862 ]
        """
    )
    assert [(thread.pid, thread.tid, thread.state, functions(thread)[-1]) for thread in capture.threads] == [
        (12, 100066, "sleeping", "_sleep"), (2210, 100862, None, "vpanic"),
    ]  # fmt: skip
