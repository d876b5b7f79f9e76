"""The console: KDB stacks, panics, witness, vnodes, SIGINFO, host facts."""

from __future__ import annotations

from hangdiag.readers import read_text
from tests.readers.help import functions, only, read
from tests.traces import analysed


def test_kdb_backtrace_of_a_panic():
    capture = read(
        """
        panic: no init  \n        cpuid = 1
        time = 1700000000
        KDB: stack backtrace:
        #0 0xffffffff80c79095 at kdb_backtrace+0x65
        #1 0xffffffff80c2b731 at vpanic+0x151
        #2 0xc02fdbe0 at panic+0
        Uptime: 3m2s
        """
    )
    assert functions(only(capture)) == ["kdb_backtrace", "vpanic", "panic"]
    assert only(capture).frames[0].address == 0xFFFFFFFF80C79095
    assert capture.host.panic == "no init"
    assert capture.unread == ()


def test_a_stack_with_lost_line_ends():
    capture = read("#7 0xffffffff80c790e5 at sleepq_wait+0xc2#8 0xffffffff80c790e6 at _sleep+0x10\n")
    assert functions(only(capture)) == ["sleepq_wait", "_sleep"]


def test_lock_order_reversals_are_no_threads():
    capture = read(
        """
        lock order reversal:
         1st 0xfffff80004c98000 ufs (ufs) @ /usr/src/sys/kern/vfs_mount.c:1271
         2nd 0xfffff80004c98010 devfs (devfs) @ /usr/src/sys/kern/vfs_subr.c:2176
        stack backtrace:
        #0 0xffffffff80a1e103 at kdb_backtrace+0x53
        #1 0xffffffff80a2f6e5 at _witness_debugger+0x65
        procs are fine
        """
    )
    assert capture.threads == ()
    assert [(item.where.first, item.where.last) for item in capture.unread] == [(7, 7)]


def test_newer_reversals():
    capture = read(
        """
        lock order reversal: (sleepable after non-sleepable)
         1st 0xfffff80004c98000 a (a, sleep mutex) @ /usr/src/sys/a.c:1
         2nd 0xfffff80004c98010 b (b, sx) @ /usr/src/sys/b.c:2
        lock order a -> b attempted at:
        #0 0xffffffff80a1e103 at witness_checkorder+0x53
        #1 0xffffffff80a2f6e5 at _sx_xlock+0x65
        """
    )
    assert capture.threads == ()
    assert capture.unread == ()


def test_locked_vnodes():
    capture = read(
        """
        db> show lockedvnods
        Locked vnodes
        0xc9172168: tag devfs, type VCHR
            usecount 1, writecount 0, refcount 13 mountedhere 0xc904c200
            flags (VI_ACTIVE)
            v_object 0xc917a000 ref 0 pages 40
            lock type devfs: EXCL by thread 0xcbedf340 (pid 58752, write, tid 100254)
        #0 0xc0c23f33 at __lockmgr_args+0xae3
        #1 0xc0ce5d1c at vop_stdlock+0x4c
        \tdev ada0p2
        """
    )
    assert [(lock.name, lock.lock_class, lock.state, lock.owner) for lock in capture.locks] == [
        ("devfs", "lockmgr", "exclusive", 100254)
    ]
    thread = only(capture)
    assert (thread.tid, thread.command, thread.frames) == (100254, "write", ())
    assert capture.unread == ()


def test_the_deadlock_resolver_names_the_waiter():
    capture = read(
        "panic: deadlres_td_sleep_q: possible deadlock detected for\n"
        "0xfffff8011f4ea000 (ifconfig), blocked for 120339 ticks\n"
    )
    thread = only(capture)
    assert (thread.address, thread.name, thread.state) == (0xFFFFF8011F4EA000, "ifconfig", "sleeping")
    assert capture.host.panic is not None
    assert capture.unread == ()


def test_a_sleeping_owner_and_a_spin_lock():
    capture = read(
        """
        spin lock 0xffff0000497cb100 (sched lock 1) held by 0xffff00005ad53580 (tid 100059) too long
        Sleeping thread (tid 100066, pid 12) owns a non-sleepable lock
        KDB: stack backtrace of thread 100066:
        #0 0xffffffff80a1e103 at mi_switch+0x53
        #1 0xffffffff80a2f6e5 at sleepq_wait+0x65
        """
    )
    assert [(lock.name, lock.owner) for lock in capture.locks] == [("sched lock 1", 100059)]
    holder, thread = capture.threads
    assert (holder.tid, holder.address, holder.frames) == (100059, 0xFFFF00005AD53580, ())
    assert (thread.pid, thread.tid, functions(thread)) == (12, 100066, ["mi_switch", "sleepq_wait"])


def test_who_spins_for_a_lock_that_is_held_too_long():
    diagnosis = analysed(
        """\
spin lock 0xffffffff81d0e240 (sleepq chain) held by 0xfffffe00b3b41000 (tid 100861) too long
panic: spin lock held too long
cpuid = 3
KDB: stack backtrace:
db_trace_self_wrapper() at db_trace_self_wrapper+0x2b/frame 0xfffffe0077777770
vpanic() at vpanic+0x151/frame 0xfffffe00777777d0
panic() at panic+0x43/frame 0xfffffe0077777830
_mtx_lock_indefinite_check() at _mtx_lock_indefinite_check+0x6c/frame 0xfffffe0077777840
_mtx_lock_spin_cookie() at _mtx_lock_spin_cookie+0xd5/frame 0xfffffe00777778b0
wakeup() at wakeup+0x1a/frame 0xfffffe00777778f0
KDB: enter: panic
[ thread pid 12 tid 100044 ]
"""
    )
    holder, spinner = diagnosis.capture.threads
    assert (holder.tid, spinner.tid) == (100861, 100044)
    assert [(edge.waiter, edge.holder, edge.certainty) for edge in diagnosis.edges] == [(1, 0, "observed")]
    assert diagnosis.findings[0].verdict != "deadlock"


def test_a_trap():
    capture = read(
        """
        Fatal trap 12: page fault while in kernel mode
        cpuid = 1; apic id = 01
        fault virtual address   = 0x18
        current process\t\t= 2023 (name)
        trap number             = 12
        """
    )
    assert capture.unread == ()


def test_siginfo():
    capture = read(
        """
        load: 0.46  cmd: mareserver 47077 [ttyin] 628.14r 0.00u 0.00s 0% 1784k
        mi_switch+0xc2 sleepq_catch_signals+0x2e6 sleepq_wait_sig+0x9 _cv_wait_sig+0x13a
        load: 5.40  cmd: bash 24517 [*vm map] 2.45r 0.00u 0.00s 0% 3448k
        load: 5.40  cmd: dd 24518 [running] 2.45r 0.00u 0.00s 0% 3448k
        """
    )
    assert [(thread.pid, thread.state, thread.wmesg, thread.lock) for thread in capture.threads] == [
        (47077, "sleeping", "ttyin", None),
        (24517, "lock", None, "vm map"),
        (24518, "running", None, None),
    ]
    assert functions(capture.threads[0])[-1] == "_cv_wait_sig"
    assert capture.sources[0].format == "console"


def test_siginfo_behind_the_echo_of_its_key():
    thread = only(read("^Tload: 0.46  cmd: bhyvectl 2290 [devdrn] 12.14r 0.00u 0.00s 0% 3784k\nmi_switch+0xc2 _sleep+0x1d1 destroy_devl+0x26e\n"))
    assert (thread.pid, thread.wmesg, functions(thread)) == (2290, "devdrn", ["mi_switch", "_sleep", "destroy_devl"])


def test_siginfo_in_prose():
    thread = only(read('# "load: 5.40  cmd: bash 24517 [vmmaps] 2.45r 0.00u 0.00s 0% 3448k" seen.\n'))
    assert (thread.command, thread.wmesg) == ("bash", "vmmaps")


def test_host_facts():
    host = read(
        """
        FreeBSD vmhost.example.org 13.1-STABLE FreeBSD 13.1-STABLE #0 stable/13-n252000-abcdef: Mon May  2 UTC 2022 root@host:/usr/obj/usr/src/amd64.amd64/sys/GENERIC amd64
        kern.osreldate: 1301500
        hw.vmm.maxcpu: 64
        """
    ).host
    assert (host.release, host.arch, host.hostname, host.osreldate) == (
        "13.1-STABLE", "amd64", "vmhost.example.org", 1301500,
    )  # fmt: skip
    assert ("hw.vmm.maxcpu", "64") in host.facts


def test_banner_of_a_kernel():
    assert read("FreeBSD 12.1-STABLE BHYVELAB amd64\n").host.release == "12.1-STABLE"
    assert read("version: FreeBSD 14.0-RELEASE-p3 #0 releng/14.0\\012\n").host.release == "14.0-RELEASE-p3"


def test_a_boot_parts_two_instants():
    trace = "Tracing pid 2210 tid 100860 td 0xfffff80004c98000\n_sleep() at _sleep+0x1/frame 0xfffffe0047d2f5f0\n"
    assert len(read_text(trace + "---<<BOOT>>---\n" + trace)) == 2


def test_statistics_of_bhyvectl():
    host = read("number of times hlt was intercepted     \t46344\n").host
    assert host.facts == (("number of times hlt was intercepted", "46344"),)


CORE_TXT = """\
vmhost dumped core - see /var/crash/vmcore.3

Mon Nov 23 04:42:01 UTC 2026

FreeBSD vmhost 13.1-STABLE FreeBSD 13.1-STABLE #0 stable/13-n252000: Mon May  2 2022 root@b:/usr/obj/usr/src/amd64.amd64/sys/GENERIC  amd64

panic: deadlock by hand

GNU gdb (GDB) 12.1 [GDB v12.1 for FreeBSD]
Reading symbols from /boot/kernel/kernel...

Unread portion of the kernel message buffer:
panic: deadlock by hand
cpuid = 1
time = 1700000000
KDB: stack backtrace:
db_trace_self_wrapper() at db_trace_self_wrapper+0x2b/frame 0xfffffe0047d2f5b0
vpanic() at vpanic+0x132/frame 0xfffffe0047d2f5f0
Uptime: 3m2s
Dumping 512 out of 8152 MB:..4%..13%

__curthread () at /usr/src/sys/amd64/include/pcpu_aux.h:55
55\t\t__asm("movq %%gs:%P1,%0" : "=r" (td) : "n" (offsetof(struct pcpu,
(kgdb) #0  __curthread () at /usr/src/sys/amd64/include/pcpu_aux.h:55
        td = <optimized out>
#1  doadump (textdump=textdump@entry=1)
    at /usr/src/sys/kern/kern_shutdown.c:399
        error = 0
        coredump = <optimized out>
(kgdb)
------------------------------------------------------------------------
ps -axlww

UID  PID PPID C PRI NI VSZ RSS MWCHAN   STAT TT     TIME COMMAND
  0    0    0 0 -16  0   0 624 swapin   DLs   -  0:00.11 [kernel]
  0 2210    1 1  52  0 9000 70 vmrndv   D     -  0:11.00 bhyve: win11 (bhyve)
  0 2290 2100 0  20  0 1300 29 vmstat   D+    0  0:00.01 bhyvectl --destroy --vm=win11

------------------------------------------------------------------------
vmstat -s

   123456 cpu context switches
"""


def test_a_crashinfo_report():
    capture = read(CORE_TXT, indented=False)
    rows = {thread.pid: (thread.state, thread.wmesg) for thread in capture.threads if thread.pid is not None}
    assert rows == {0: ("sleeping", "swapin"), 2210: ("sleeping", "vmrndv"), 2290: ("sleeping", "vmstat")}
    assert (capture.host.release, capture.host.hostname, capture.host.panic) == ("13.1-STABLE", "vmhost", "deadlock by hand")
    assert [functions(thread) for thread in capture.threads if thread.frames] == [
        ["db_trace_self_wrapper", "vpanic"],
        ["__curthread", "doadump"],
    ]
    assert not [item for item in capture.unread if item.trace_like]


def test_a_panic_behind_an_unfinished_line():
    text = """\
        panic: lock Giant not owned
        cpuid = 1
        time = 1527004323
        KDB: stack backtrace:
        #0 0xffffffff80c79095 at kdb_backtrace+0x65
        #1 0xffffffff80c2b731 at vpanic+0x151
        #2 0xffffffff80c2b5d3 at panic+0x43
        """
    for before in ("[drm:setup_crtcs] ", "host:~ # ", "em0: link state "):
        capture = read(text.replace("panic", before + "panic", 1))
        assert capture.host.panic == "lock Giant not owned", before
        assert functions(only(capture)) == ["kdb_backtrace", "vpanic", "panic"]
    stamped = read("".join(f"[144] {line.strip()}\n" for line in text.replace("panic", "em0: panic", 1).splitlines()))
    assert stamped.host.panic == "lock Giant not owned"
    assert functions(only(stamped)) == ["kdb_backtrace", "vpanic", "panic"]


def test_a_panic_in_a_sentence_is_none():
    capture = read("It says panic: page fault\nand then it reboots.\n")
    assert capture.host.panic is None
    assert [(item.where.first, item.where.last, item.trace_like) for item in capture.unread][:1] == [(1, 2, False)]
