"""ddb: stacks, ps, show thread, chains, locks, queues, CPUs."""

from __future__ import annotations

import pytest

from hangdiag.readers import read_text
from tests.readers.help import functions, only, read, trace_like


def test_alltrace():
    capture = read(
        """
        db> alltrace

        Tracing command bhyve pid 2210 tid 100860 td 0xfffff80004c98000
        sched_switch() at sched_switch+0x5a5/frame 0xfffffe0047d2f5b0
        mi_switch() at mi_switch+0xbc/frame 0xfffffe0047d2f5d0
        _sleep() at _sleep+0x1f2/frame 0xfffffe0047d2f5f0
        --- syscall (54, FreeBSD ELF64, sys_ioctl), rip = 0x82a4f5a, rsp = 0x7fff, rbp = 0x7ff ---

        Tracing command idle pid 11 tid 100003 td 0xfffff80004c97000 (CPU 0)
        cpustop_handler() at cpustop_handler+0x29/frame 0xfffffe0047d2f5b0
        --- trap 0x13, rip = 0xffffffff80533341, rsp = 0xfffffe0000, rbp = 0xfffffe00 ---
        acpi_cpu_idle() at acpi_cpu_idle+0x2fd/frame 0xfffffe0011ef5bb0
        fork_exit() at fork_exit+0x72/frame 0xfffffe0011ef5bf0
        --- trap 0, rip = 0, rsp = 0, rbp = 0 ---
        """
    )
    first, second = capture.threads
    assert (first.pid, first.tid, first.command, first.address) == (2210, 100860, "bhyve", 0xFFFFF80004C98000)
    assert [(frame.function, frame.offset) for frame in first.frames] == [
        ("sched_switch", 0x5A5),
        ("mi_switch", 0xBC),
        ("_sleep", 0x1F2),
    ]
    assert functions(second) == ["cpustop_handler", "acpi_cpu_idle", "fork_exit"]
    assert (second.state, second.cpu) == ("running", 0)
    assert first.stack_where == (0, 3, 7)
    assert capture.unread == ()


@pytest.mark.parametrize(
    ("line", "function", "offset"),
    [
        ("vpanic() at vpanic+0x132/frame 0xfffffe0047d2f5b0", "vpanic", 0x132),
        ("vpanic(150b260,ffc07d60,ffc07d60,ffc07d7c,1187f26,...) at vpanic+0xf4/frame 0xffc07d40", "vpanic", 0xF4),
        ("_lockmgr(d864a748,202122,d864a7a4,c6ae3d80,12d) at _lockmgr+0x41a", "_lockmgr", 0x41A),
        ("in_pcbconnect_setup() at in_pcbconnect_setup/frame 0xfffffe016e604c60", "in_pcbconnect_setup", None),
        ("doreti_ast() at doreti_ast+0x1f", "doreti_ast", 0x1F),
        ("calltrap() at 0xffc031ef/frame 0xffc07f60", "calltrap", None),
        ("(null)() at 0x3b/frame 0xffc0340c", "0x3b", None),
        ("fork_exit at fork_exit+0x11f/frame 0xffffff8000258af0", "fork_exit", 0x11F),
        ("uart_intr() at ...", "uart_intr", None),
        ("int0x80_syscall_common() at int0x80_syscall_common+0x9c/frame 0xffffdb44", "int0x80_syscall_common", 0x9C),
        ("foo.isra.0() at foo.isra.0+0x10/frame 0xfffffe0047d2f5b0", "foo.isra.0", 0x10),
    ],
)
def test_frames_of_all_machines(line, function, offset):
    thread = only(read(f"Tracing pid 46017 tid 100350 td 0xc4c08510\nkdb_enter() at kdb_enter+0x3b/frame 0x1\n{line}\n"))
    assert (thread.frames[1].function, thread.frames[1].offset) == (function, offset)


def test_frames_of_arm64_with_registers():
    capture = read(
        """
        Tracing command bhyve pid 2210 tid 100860 td 0xffffa00004c98000
        sched_switch() at sched_switch+0x5a5
        \t pc = 0xffff0000004a3f10  lr = 0xffff00000047fd30
        \t sp = 0xffff0000853e0610  fp = 0xffff0000853e06f0

        mi_switch() at mi_switch+0xbc
        \t pc = 0xffff00000047fd30  lr = 0xffff0000004d0a10
        \t sp = 0xffff0000853e0700  fp = 0xffff0000853e0710
        --- exception, esr 0x56000000
        """
    )
    assert functions(only(capture)) == ["sched_switch", "mi_switch"]
    assert capture.unread == ()


@pytest.mark.parametrize(
    "text",
    [
        "a() at a+0x47/frame\n0xfffffe0016b2c4a0\nb() at b+0x1/frame 0xfffffe0016b2c4b0\n",
        "a() at\na+0x47/frame 0xfffffe0016b2c4a0\nb() at b+0x1/frame 0xfffffe0016b2c4b0\n",
        "a() at a+0x47/frame 0xfffffe0016\nb2c4a0\nb() at b+0x1/frame 0xfffffe0016b2c4b0\n",
        "a() at a+0x47/frame 0xfffffe0016b2c4a0\n[...]\nb() at b+0x1/frame 0xfffffe0016b2c4b0\n",
        "a() at a+0x47/frame 0xfffffe0016b2c4a0\nb() +0x1/frame 0xfffffe0016b2c4b0\n",
        "a() at a+0x47/frame 0xfffffe0016b2c4a0b() at b+0x1/frame 0xfffffe0016b2c4b0\n",
    ],
)
def test_damaged_stacks(text):
    capture = read("Tracing pid 1 tid 100350 td 0xc4c08510\n" + text, indented=False)
    assert functions(only(capture)) == ["a", "b"]
    assert capture.unread == ()


def test_bt_of_a_thread_named_in_the_command():
    capture = read(
        """
        db> bt 100860
        Tracing pid 2210 tid 100860 td 0xfffff80004c98000
        _sleep() at _sleep+0x1f2/frame 0xfffffe0047d2f5f0
        db> bt/t 100861
        mi_switch() at mi_switch+0x1f2/frame 0xfffffe0047d2f5f0
        db>
        """
    )
    assert [thread.tid for thread in capture.threads] == [100860, 100861]


def test_entering_the_debugger():
    capture = read(
        """
        KDB: enter: Break to debugger
        [ thread pid 719 tid 100093 ]
        Stopped at      kdb_enter+0x67: movq    $0,0x163649e(%rip)
        db> bt
        Tracing pid 719 tid 100093 td 0xfffff80004c98000
        kdb_enter() at kdb_enter+0x67/frame 0xfffffe0047d2f5f0
        db:0:kdb.enter.default>  capture off
        """
    )
    thread = only(capture)
    assert (thread.pid, thread.tid) == (719, 100093)
    assert capture.unread == ()


PS = """
  pid  ppid  pgrp   uid  state   wmesg   wchan               cmd
  723     0     0     0  DL      aiordy  0xfffff80011985a60  [aiod4]
   19     0     0     0  DL      (threaded)                  [bufdaemon]
100069                   D       qsleep  0xffffffff82829d20  [bufdaemon]
100070                   D       -       0xffffffff8220ae80  [bufspacedaemon-0]
  719   717   717     0  R       CPU 1                       syz-executor
   11     0     0     0  RL      (threaded)                  [idle]
100003                   Run     CPU 0                       [idle: cpu0]
100004                   CanRun                              [idle: cpu1]
   12     0     0     0  WL      (threaded)                  [intr]
100031                   I                                   [swi4: clock (0)]
   10     0     0     0  DL      audit_w 0xffffffff828418f0  [audit]
 2210     1  2210     0  Ss      (threaded)                  bhyve
100860                   L      *vm rend 0xfffff80004c98000  vcpu 0
100861                   RunQ                                vcpu 1
100862                   Ss      kqread  0xfffff80004c98000  mevent
"""


def test_ps():
    capture = read(PS, indented=False)
    got = {thread.name: thread for thread in capture.threads}
    assert len(got) == 11
    aiod = got["aiod4"]
    assert (aiod.pid, aiod.tid, aiod.state, aiod.interruptible, aiod.wmesg, aiod.wchan) == (
        723, None, "sleeping", False, "aiordy", 0xFFFFF80011985A60,
    )  # fmt: skip
    assert (got["bufdaemon"].tid, got["bufdaemon"].pid, got["bufdaemon"].command) == (100069, 19, "bufdaemon")
    assert got["bufspacedaemon-0"].wmesg == "-"
    assert (got["syz-executor"].state, got["syz-executor"].cpu) == ("running", 1)
    assert (got["idle: cpu0"].state, got["idle: cpu0"].cpu) == ("running", 0)
    assert got["idle: cpu1"].state == "runnable"
    assert got["swi4: clock (0)"].state == "iwait"
    assert (got["audit"].wmesg, got["audit"].wmesg_cut) == ("audit_w", 7)
    vcpu = got["vcpu 0"]
    assert (vcpu.state, vcpu.lock, vcpu.wmesg, vcpu.wchan, vcpu.command) == ("lock", "vm rend", None, None, "bhyve")
    assert got["vcpu 1"].state == "runnable"
    assert capture.unread == ()


def test_ps_of_release_11_cuts_at_8():
    capture = read(
        "  pid  ppid  pgrp   uid   state   wmesg         wchan        cmd\n"
        "   17     1     0     0  D       exithold 0xfffffe0000723268 bhyvectl\n",
        indented=False,
    )
    thread = only(capture)
    assert (thread.wmesg, thread.wmesg_cut, thread.wchan) == ("exithold", 8, 0xFFFFFE0000723268)


def test_ps_and_alltrace_are_one_thread():
    capture = read(
        PS + "db> bt 100860\nTracing pid 2210 tid 100860 td 0xfffff80004c98000\n_sleep() at _sleep+0x1/frame 0xfffffe0047d2f5f0\n",
        indented=False,
    )
    thread = next(thread for thread in capture.threads if thread.tid == 100860)
    assert (thread.name, thread.lock, functions(thread), thread.address) == (
        "vcpu 0", "vm rend", ["_sleep"], 0xFFFFF80004C98000,
    )  # fmt: skip
    assert len(thread.where) == 2


def test_show_thread():
    capture = read(
        """
        db> show thread 100860
        Thread 100860 at 0xfffff80004c98000:
         proc (pid 2210): 0xfffff800021c0530
         name: vcpu 0
         stack: 0xfffffe0011fe4000-0xfffffe0011fe7fff
         flags: 0x4  pflags: 0
         state: INHIBITED: {SLEEPING}
         wmesg: vmstat  wchan: 0xfffffe0000723268 sleeptimo c. 3929952100000000 (curr c. aea74e3700000000)
         priority: 132
         container lock: sleepq chain (0xffffffff808e8ec8)
         last voluntary switch: 140 ms ago
        """
    )
    thread = only(capture)
    assert (thread.pid, thread.name, thread.state, thread.wmesg, thread.wchan, thread.since) == (
        2210, "vcpu 0", "sleeping", "vmstat", 0xFFFFFE0000723268, 0.14,
    )  # fmt: skip
    assert capture.unread == ()


def test_show_thread_on_a_lock():
    capture = read(
        """
        Thread 100001 at 0xfffff80004c98000:
         proc (pid 1): 0xfffff800021c0530
         name: init
         state: INHIBITED: {LOCK}
         lock: vm rendezvous lock  turnstile: 0xfffff8000211a000
         last voluntary switch: 12.500 s ago
        """
    )
    thread = only(capture)
    assert (thread.state, thread.lock, thread.since) == ("lock", "vm rendezvous lock", 12.5)
    assert [(lock.name, lock.waiters) for lock in capture.locks] == [("vm rendezvous lock", (100001,))]


CHAINS = {
    "13": """
    chain 1:
     thread 100041 (pid 16, ab) is blocked on lock 0xffffffff81e35568 (sx) "lab sx b" XLOCK
     thread 100042 (pid 16, ba) is sleeping on 0xffffffff81e01f80 "EDRAIN"
    """,
    "11": """
    chain 1:
     thread 100041 (pid 16, ab) blocked on sx "lab sx b" XLOCK
     thread 100042 (pid 16, ba) sleeping on 0xffffffff81e01f80 "EDRAIN"
    """,
}


@pytest.mark.parametrize("release", CHAINS)
def test_chains(release):
    capture = read(CHAINS[release])
    assert [(thread.tid, thread.wmesg) for thread in capture.threads] == [(100041, None), (100042, "EDRAIN")]
    lock = capture.locks[0]
    assert (lock.name, lock.lock_class, lock.state, lock.owner, lock.waiters) == (
        "lab sx b", "sx", "exclusive", 100042, (100041,),
    )  # fmt: skip
    assert capture.unread == ()


def test_a_chain_of_a_shared_lock_has_no_owner():
    capture = read(' thread 100041 (pid 16, ab) is blocked on lock 0xff (sx) "s" SLOCK (count 2)\n', indented=False)
    assert (capture.locks[0].state, capture.locks[0].owner, capture.locks[0].shares) == ("shared", None, 2)


def test_a_cycle_printed_over_and_over():
    line1 = ' thread 100041 (pid 16, ab) is blocked on lock 0xffffffff81e35568 (sx) "b" XLOCK\n'
    line2 = ' thread 100042 (pid 16, ba) is blocked on lock 0xffffffff81e35588 (sx) "a" XLOCK\n'
    capture = read("chain 1:\n" + (line1 + line2) * 50, indented=False)
    assert [(lock.name, lock.owner) for lock in capture.locks] == [("b", 100042), ("a", 100041)]
    assert len(capture.threads) == 2
    assert capture.unread == ()


def test_show_alllocks():
    capture = read(
        """
        db> show alllocks
        Process 822 (syz-executor4922407) thread 0xfffffe005c07dc80 (100092)
        exclusive sleep mutex pmap (pmap) r = 0 (0xffffffff87140c30) locked @ /root/freebsd/sys/amd64/amd64/pmap.c:6258
        shared sx vm map (system) (vm map (system)) r = 0 (0xffffffff87140c40) locked @ /root/sys/vm/vm_map.c:100
        Process 823 (x) thread 0xfffffe005c07dc90 (100093)
        exclusive lockmgr ufs (ufs) r = 0 (0xffffffff87140c50) locked @ /root/sys/kern/vfs_subr.c:12
        """
    )
    assert [(lock.lock_class, lock.name, lock.state, lock.owner, lock.sharers) for lock in capture.locks] == [
        ("sleep mutex", "pmap", "exclusive", 100092, ()),
        ("sx", "vm map (system)", "shared", None, (100092,)),
        ("lockmgr", "ufs", "exclusive", 100093, ()),
    ]
    assert capture.threads[0].address == 0xFFFFFE005C07DC80
    assert capture.unread == ()


def test_held_locks_wrapped_before_the_place():
    capture = read(
        """
        Process 822 (syz) thread 0xfffffe005c07dc80 (100092)
        exclusive sleep mutex pmap (pmap) r = 0 (0xffffffff87140c30) locked @
        /root/freebsd/sys/amd64/amd64/pmap.c:6258
        """
    )
    assert [(lock.name, lock.owner) for lock in capture.locks] == [("pmap", 100092)]
    assert not trace_like(capture)


def test_show_lock():
    capture = read(
        """
        db> show lock 0xffffffff81e35568
         class: sx
         name: lab sx b
         state: XLOCK: 0xfffff800023af000 (tid 100042, pid 16, "ba")
         waiters: exclusive
        db> show lock 0xffffffff81e35588
         class: sleep mutex
         name: vm rendezvous lock
         flags: {DEF}
         state: {UNOWNED}
        """
    )
    assert [(lock.address, lock.name, lock.state, lock.owner) for lock in capture.locks] == [
        (0xFFFFFFFF81E35568, "lab sx b", "exclusive", 100042),
        (0xFFFFFFFF81E35588, "vm rendezvous lock", "unlocked", None),
    ]


def test_show_sleepq_and_turnstile():
    capture = read(
        """
        db> show sleepq 0xfffffe0000723110
        Wait channel: 0xfffffe0000723110
        Queue type: 3
        Blocked threads:
        Queue[0]:
        \t0xfffff80002411740 (tid 100043, pid 16, "vcpu 0")
        (expected: 1)
        Queue[1]:
        \tempty
        (expected: 0)
        db> show turnstile 0xfffff80002411740
        Lock: 0xfffffe0000723118 - (sleep mutex) vm rendezvous lock
        Lock Owner: 0xfffff80002411000 (tid 100044, pid 16, "vcpu 1")
        Shared Waiters:
        \tempty
        Exclusive Waiters:
        \t0xfffff80002415740 (tid 100045, pid 16, "vcpu 2")
        Pending Threads:
        \tempty
        """
    )
    assert [(lock.address, lock.owner, lock.waiters) for lock in capture.locks] == [
        (0xFFFFFE0000723110, None, (100043,)),
        (0xFFFFFE0000723118, 100044, (100045,)),
    ]
    assert capture.unread == ()


def test_show_pcpu():
    capture = read(
        """
        cpuid        = 1
        dynamic pcpu = 0xfffffe007f97e7c0
        curthread    = 0xfffff80004c98000: pid 1 tid 100002 critnest 1 "init"
        curpcb       = 0xfffff8000212e5a0
        idlethread   = 0xfffff8000212e000: tid 100003 "idle: cpu1"
        spin locks held:
        """
    )
    thread = only(capture)
    assert (thread.tid, thread.state, thread.cpu, thread.name) == (100002, "running", 1, "init")
    assert capture.unread == ()


def test_the_machine_ran_on_between_two_sessions():
    session = "db> bt 100860\nTracing pid 2210 tid 100860 td 0xfffff80004c98000\n_sleep() at _sleep+0x1/frame 0xfffffe0047d2f5f0\n"
    captures = read_text(session + "db> c\nKDB: enter: Break to debugger\n" + session)
    assert len(captures) == 2
    captures = read_text(session + session)
    assert len(captures) == 1


def test_kernel_messages_in_the_middle_of_a_stack():
    capture = read(
        """
        Tracing command bhyve pid 2210 tid 100860 td 0xfffff80004c98000
        sched_switch() at sched_switch+0x5a5/frame 0xfffffe0047d2f5b0
        mi_switch() at mi_switch+0xbc/frame 0xfffffe0047d2f5d0
        em0: link state changed to DOWN
        em0: link state changed to UP
        _sleep() at _sleep+0x1f2/frame 0xfffffe0047d2f5f0
        vm_run() at vm_run+0x1f2/frame 0xfffffe0047d2f5f0
        --- syscall (54, FreeBSD ELF64, sys_ioctl), rip = 0x82a4f5a, rsp = 0x7fff, rbp = 0x7ff ---
        """
    )
    assert functions(only(capture)) == ["sched_switch", "mi_switch", "_sleep", "vm_run"]
    assert [(item.where.first, item.where.last) for item in capture.unread] == [(4, 5)]


def test_another_stack_of_the_same_threads_is_another_time():
    def session(functions):
        return "".join(
            f"Tracing command bhyve pid 2210 tid {tid} td 0xfffff80004c98000\n"
            + "".join(f"{name}() at {name}+0x1/frame 0xfffffe0047d2f5b0\n" for name in functions)
            + "\n"
            for tid in (100860, 100861)
        )

    asleep = session(["sched_switch", "mi_switch", "_sleep", "vm_handle_rendezvous", "vm_run"])
    polling = session(["sched_switch", "mi_switch", "sleepq_wait_sig", "kern_select", "sys_select"])
    assert len(read_text(asleep + asleep)) == 1
    captures = read_text(asleep + polling)
    assert [functions(capture.threads[0])[-1] for capture in captures] == ["vm_run", "sys_select"]


def test_a_frame_behind_a_mark_before_another_stack_is_not_lost():
    capture = read(
        "# vn_ioctl() at vn_ioctl+0x16c/frame 0xfffffe0011fdd970\n"
        "# sched_switch() at sched_switch+0x492/frame 0xfffffe0011f78a80\n"
    )
    assert {name for thread in capture.threads for name in functions(thread)} >= {"vn_ioctl"}
    assert all(item.where.first > 1 for item in capture.unread)
