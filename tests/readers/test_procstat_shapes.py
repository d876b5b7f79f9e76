"""procstat as people paste it: whole reports, with prompts, wrapped, cut, annotated, repeated."""

from __future__ import annotations

import pytest

from hangdiag.readers import read_text
from tests.readers.help import functions, only, trace_like
from tests.readers.help import read_accounted as read
from tests.traces import T, procstat, vcpus

HEADER = "  PID    TID COMM                TDNAME              KSTACK                       \n"
HEADER_11 = "  PID    TID COMM             TDNAME           KSTACK                       \n"


def row(pid, tid, comm, name, stack, width=19):
    return f"{pid:5d} {tid:6d} {comm:<{width}} {name:<{width}} {stack:<29}\n"


def said(capture):
    """Who the threads are and what their stacks hold."""
    return [(thread.pid, thread.tid, thread.command, thread.name, " ".join(functions(thread))) for thread in capture.threads]


def unread(capture):
    return [(item.where.first, item.where.last) for item in capture.unread]


def test_a_whole_host():
    capture = read(
        """
        root@vmhost:~ # uname -a
        FreeBSD vmhost 14.1-RELEASE-p5 FreeBSD 14.1-RELEASE-p5 GENERIC amd64
        root@vmhost:~ # procstat -kk -a
          PID    TID COMM                TDNAME              KSTACK
            0 100000 kernel              swapper             mi_switch+0xc0 sleepq_timedwait+0x2f _sleep+0x1d0 swapper+0x8d btext+0x2c
            0 100021 kernel              linuxkpi_irq_wq     mi_switch+0xc0 _sleep+0x201 taskqueue_thread_loop+0xb1 fork_exit+0x82
           11 100003 idle                idle: cpu0          <running>
           12 100200 intr                swi6: Giant taskq
           12 100201 intr                irq173: ahci0:ch0   mi_switch+0xc0 ithread_loop+0x26c fork_exit+0x82 fork_trampoline+0xe
         2210 100860 bhyve               vcpu 0              vmx_run+0x1a1 vm_run+0x1d5 vmmdev_ioctl+0x7b3 devfs_ioctl+0xd1
         2210 100861 bhyve               vtnet-2:0 tx        mi_switch+0xc0 sleepq_catch_signals+0x2ab _sleep+0x1f0 umtxq_sleep+0x1a5
        28397 106440 ifconfig            -                   mi_switch+0xbc sleepq_catch_signals+0x27d _sleep+0x1 kern_wait6+0x5
        123456 1000123 bhyve               vcpu 12             mi_switch+0xbc sleepq_timedwait+0x2f msleep_spin_sbt+0xc3 vm_run+0xcc4
        root@vmhost:~ #
        """
    )
    assert said(capture) == [
        (0, 100000, "kernel", "swapper", "mi_switch sleepq_timedwait _sleep swapper btext"),
        (0, 100021, "kernel", "linuxkpi_irq_wq", "mi_switch _sleep taskqueue_thread_loop fork_exit"),
        (11, 100003, "idle", "idle: cpu0", "<running>"),
        (12, 100200, "intr", "swi6: Giant taskq", ""),
        (12, 100201, "intr", "irq173: ahci0:ch0", "mi_switch ithread_loop fork_exit fork_trampoline"),
        (2210, 100860, "bhyve", "vcpu 0", "vmx_run vm_run vmmdev_ioctl devfs_ioctl"),
        (2210, 100861, "bhyve", "vtnet-2:0 tx", "mi_switch sleepq_catch_signals _sleep umtxq_sleep"),
        (28397, 106440, "ifconfig", None, "mi_switch sleepq_catch_signals _sleep kern_wait6"),
        (123456, 1000123, "bhyve", "vcpu 12", "mi_switch sleepq_timedwait msleep_spin_sbt vm_run"),
    ]
    assert unread(capture) == [(14, 14)]
    assert not trace_like(capture)


ODD = [
    ("kernel", "a b  c"), ("my prog", "two  blanks here"), ("123", "456"), ("foo", "12 34"), ("foo", "+0x12"), ("foo", "a+0x1"),
    ("c++filt", "c++ worker"), ("foo", "<running>"), ("foo", "mi_switch"), ("foo", "x" * 19), ("x" * 19, "y" * 19), ("x" * 19, "-"),
    ("Web Content", "Socket Thread"), ("naïve", "fadenß"), ("日本", "スレッド"), ("foo", " lead"), ("sh", "<unknown>"), ("a_b", "c_d e_f"),
    ("foo", "sleepq_wait"), ("[foo]", "[bar]"), ("foo", "#0 x"), ("foo", "|bar|"), ("a/b", "c:d,e"), ("foo", "kern_a kern_b"),
    ("foo", "..."), ("foo", "100 200 300"), ("Isolated Web Conten", "DOM Worker"),
]  # fmt: skip


@pytest.mark.parametrize("stack", ["mi_switch+0xc0 sleepq_wait+0x2f _sleep+0x1d0 softclock+0xb1", "mi_switch sleepq_wait _sleep fork_exit", "<running>"])
@pytest.mark.parametrize(("header", "width"), [(HEADER, 19), (HEADER_11, 16)])
@pytest.mark.parametrize(("pid", "tid"), [(2210, 100100), (123456, 1000100)])
def test_odd_names(header, width, pid, tid, stack):
    text = header + "".join(row(pid, tid + number, comm, name, stack, width) for number, (comm, name) in enumerate(ODD))
    capture = read(text, indented=False)
    assert [(thread.command, thread.name) for thread in capture.threads] == [
        (comm, None if name == "-" else name) for comm, name in ODD
    ]
    plain = [word.partition("+")[0] for word in stack.split()]
    assert all(functions(thread) == plain for thread in capture.threads)
    assert not capture.unread


@pytest.mark.parametrize(
    ("token", "function", "offset"),
    [
        ("??+0", "??", 0),
        ("0xffffffff82a4d1c0", "0xffffffff82a4d1c0", None),
        ("__stop_set_sysinit_set+0xe6...", "__stop_set_sysinit_set", 0xE6),
        ("vmmdev_ioctl+...", "vmmdev_ioctl", None),
        ("kern_ioctl+0x", "kern_ioctl", None),
        ("kern_ioctl+", "kern_ioctl", None),
        ("amd64_sys", "amd64_sys", None),
        ("vmm.ko`vm_run+0x12", "vm_run", 0x12),
        ("vm_fault.isra.0+0x12", "vm_fault.isra.0", 0x12),
    ],
)
def test_tokens(token, function, offset):
    thread = only(read(HEADER + row(2210, 100860, "bhyve", "vcpu 0", f"mi_switch+0xbc _sleep+0x1 {token}"), indented=False))
    assert (thread.frames[2].function, thread.frames[2].offset) == (function, offset)


def test_a_stack_cut_at_1024_bytes_and_one_of_18_frames():
    long = "mi_switch+0xc0 " + " ".join(f"a_function_with_a_long_name_{number}+0x1{number}" for number in range(12)) + " another_func"
    capture = read(HEADER + row(1, 100002, "init", "-", long) + row(2, 100003, "x", "-", "mi_switch+0x1 " + "f_f+0x1 " * 17), indented=False)
    assert [len(thread.frames) for thread in capture.threads] == [14, 18]
    assert functions(capture.threads[0])[-1] == "another_func"


def test_comments_with_rows_wrapped_by_hand():
    capture = read(
        """
        #   PID    TID COMM             TDNAME           KSTACK
        #  2210 100860 bhyve            vcpu 0           mi_switch sleepq_timedwait
        #     _sleep vm_handle_rendezvous vm_run vmmdev_ioctl
        #  2210 100861 bhyve            vcpu 1           mi_switch
        #     sleepq_catch_signals sleepq_wait_sig _sleep umtxq_sleep
        #  2210 100862 bhyve            -                mi_switch sleepq_wait
        #     _sleep taskqueue_thread_loop fork_exit
        #     fork_trampoline
        #  2210 100863 bhyve            -                mi_switch thread_suspend_check
        #     ast
        #     doreti_ast
        """
    )
    assert said(capture) == [
        (2210, 100860, "bhyve", "vcpu 0", "mi_switch sleepq_timedwait _sleep vm_handle_rendezvous vm_run vmmdev_ioctl"),
        (2210, 100861, "bhyve", "vcpu 1", "mi_switch sleepq_catch_signals sleepq_wait_sig _sleep umtxq_sleep"),
        (2210, 100862, "bhyve", None, "mi_switch sleepq_wait _sleep taskqueue_thread_loop fork_exit fork_trampoline"),
        (2210, 100863, "bhyve", None, "mi_switch thread_suspend_check ast doreti_ast"),
    ]
    assert not capture.unread


@pytest.mark.parametrize(
    "prose", ["  thanks", "  and then it hangs", "  see vm_run", "  Regards", "  still in vm_handle_rendezvous", "    hanging vm_run"]
)
@pytest.mark.parametrize("stack", ["mi_switch+0x1 _sleep+0x2", "mi_switch _sleep vm_run"])
def test_prose_below_a_row_is_not_its_stack(prose, stack):
    if prose == "    hanging vm_run" and "+" not in stack:
        pytest.skip("two words like any of a stack without offsets")
    capture = read(HEADER + row(1, 100001, "sh", "-", stack) + prose + "\n", indented=False)
    assert functions(only(capture)) == [word.partition("+")[0] for word in stack.split()]
    assert unread(capture) == [(3, 3)]


def test_stacks_below_their_rows():
    capture = read(
        """
          PID    TID COMM             TDNAME           KSTACK
        15844 147355 codex  notify-rs kqueue lo
          kmem_back_domain+0x14d kmem_malloc_domainset+0xd2 uma_large+0x2
        15844 147356 codex  tokio-runtime-w
          mi_switch+0x14d sleepq_wait+0xd2
        15844 147357 codex  -
          mi_switch sleepq_wait _sleep
        """
    )
    assert said(capture) == [
        (15844, 147355, "codex", "notify-rs kqueue lo", "kmem_back_domain kmem_malloc_domainset uma_large"),
        (15844, 147356, "codex", "tokio-runtime-w", "mi_switch sleepq_wait"),
        (15844, 147357, "codex", None, "mi_switch sleepq_wait _sleep"),
    ]


def test_a_header_without_names_above_rows_with_and_without():
    capture = read(
        """
          PID    TID COMM             KSTACK
          911 100123 sh               mi_switch+0x1 _sleep+0x2
          912 100124 my prog          mi_switch+0x1 _sleep+0x2
          913 100125 idle             <running>
          914 100126 intr
          915 100127 kernel           mi_switch sleepq_wait _sleep taskqueue_thread_loop
          916 100128 Isolated Web Conten mi_switch sleepq_wait _sleep
        19529 101630 python3.7 - mi_switch sleepq_catch_signals sleepq_wait_sig _sleep pipe_read dofileread
        19529 101631 python3.7 worker 1 mi_switch sleepq_catch_signals sleepq_wait_sig _sleep pipe_read
        """
    )
    assert [(thread.command, thread.name, len(thread.frames)) for thread in capture.threads] == [
        ("sh", None, 2), ("my prog", None, 2), ("idle", None, 1), ("intr", None, 0), ("kernel", None, 4), ("Isolated Web Conten", None, 3),
        ("python3.7", None, 6), ("python3.7", "worker 1", 5),
    ]  # fmt: skip


def test_elisions_and_annotations():
    capture = read(
        HEADER
        + row(2210, 100860, "bhyve", "vcpu 0", "mi_switch+0xbc ... vm_run+0x1 [...] sys_ioctl+0x2 [truncated]")
        + row(2210, 100861, "bhyve", "vcpu 1", "mi_switch+0xbc sleepq_timedwait+0x2f [snip]")
        + row(2210, 100862, "bhyve", "vcpu 2", "..."),
        indented=False,
    )
    assert [functions(thread) for thread in capture.threads] == [
        ["mi_switch", "vm_run", "sys_ioctl"],
        ["mi_switch", "sleepq_timedwait"],
        [],
    ]


def test_aggregates():
    capture = read(
        """
          PID    TID COMM             TDNAME           KSTACK
         1234 100100 nginx            -                mi_switch+0x1 sleepq_wait+0x2 _sleep+0x3
        All other 56 threads:
        mi_switch sleepq_catch_signals sleepq_wait_sig _sleep umtxq_sleep do_wait
        """
    )
    other = (None, None, None, None, "mi_switch sleepq_catch_signals sleepq_wait_sig _sleep umtxq_sleep do_wait")
    assert said(capture) == [(1234, 100100, "nginx", None, "mi_switch sleepq_wait _sleep"), *[other] * 56]
    assert not unread(capture)


def test_a_number_of_threads_above_something_else():
    text = "All other 56 threads:\n\nI left them out.\n"
    assert not read_text(text)[0].threads
    text += "mi_switch sleepq_catch_signals sleepq_wait_sig _sleep umtxq_sleep do_wait\n"
    assert len(read_text(text)[0].threads) == 1


def test_bare_stacks():
    capture = read(
        """
        All the bhyve threads look like this:

        mi_switch sleepq_catch_signals sleepq_wait_sig _sleep umtxq_sleep linux_sys_futex do_el0_sync handle_el0_sync

        one is in

        vm_handle_rendezvous+0x10 vm_run+0x3 vmmdev_ioctl+0x4
        devfs_ioctl+0x5 ??+0 fast_syscall_common+0x6

        and one in

            mi_switch+0x1 sleepq_wait+0x2 _sx_xlock_hard+0x3 zfs_freebsd_write+0x4
        mi_switch and sleepq_wait are normal.
        sleepq_wait in the middle
        """
    )
    assert [" ".join(functions(thread)) for thread in capture.threads] == [
        "mi_switch sleepq_catch_signals sleepq_wait_sig _sleep umtxq_sleep linux_sys_futex do_el0_sync handle_el0_sync",
        "vm_handle_rendezvous vm_run vmmdev_ioctl devfs_ioctl ?? fast_syscall_common",
        "mi_switch sleepq_wait _sx_xlock_hard zfs_freebsd_write",
    ]
    assert [tuple(thread.where[0])[1:] for thread in capture.threads] == [(3, 3), (7, 8), (12, 12)]


def test_rows_in_comments_without_their_header():
    capture = read(
        """
        # I ran it and it hangs:
        #   13332 106396 syzkaller61         -                   mi_switch thread_suspend_check ast doreti_ast
        #   13332 106397 syzkaller61         -                   <running>
        #   13332 106398 syzkaller61         worker 1
        # thanks
        """
    )
    assert said(capture) == [
        (13332, 106396, "syzkaller61", None, "mi_switch thread_suspend_check ast doreti_ast"),
        (13332, 106397, "syzkaller61", None, "<running>"),
        (13332, 106398, "syzkaller61", "worker 1", ""),
    ]
    assert unread(capture) == [(1, 1), (5, 5)]


def test_several_commands_and_their_errors():
    capture = read(
        """
        [root@host ~]# pgrep bhyve | xargs procstat -k
          PID    TID COMM             TDNAME           KSTACK
         2210 100860 bhyve            vcpu 0           mi_switch sleepq_timedwait _sleep vm_handle_rendezvous
        [root@host ~]# procstat kstack 2211
          PID    TID COMM             TDNAME           KSTACK
         2211 100870 bhyve            vcpu 0           mi_switch sleepq_timedwait _sleep vm_handle_rendezvous
         2211 100871 bhyve            mevent           mi_switch sleepq_catch_signals sleepq_wait_sig _sleep kqueue_kevent
        [root@host ~]# procstat -k 1
        procstat: sysctl method is not supported
        procstat: sysctl: kern.proc.kstack unavailable
        procstat: procstat_getprocs()
        """
    )
    assert [(thread.pid, thread.tid) for thread in capture.threads] == [(2210, 100860), (2211, 100870), (2211, 100871)]
    assert unread(capture) == []


def samples(*stacks):
    return "".join(row(1, 100002, "init", "-", "mi_switch+0x1 kern_wait6+0x1") + row(7, 100100, "sh", "a", stack) for stack in stacks)


def test_the_samples_of_one_command_have_one_header():
    text = HEADER + samples("mi_switch+0x1 _sleep+0x1", "mi_switch+0x1 _sleep+0x1", "vm_run+0x1 f_f+0x2")
    captures = read_text(text)
    assert [[(thread.tid, functions(thread)[0]) for thread in capture.threads] for capture in captures] == [
        [(100002, "mi_switch"), (100100, "mi_switch")],
        [(100002, "mi_switch"), (100100, "mi_switch")],
        [(100002, "mi_switch"), (100100, "vm_run")],
    ]


def test_samples_whose_first_thread_has_gone():
    gone = row(0, 100000, "kernel", "swapper", "mi_switch+0x1 swapper+0x1")
    captures = read_text(HEADER + gone + samples("mi_switch+0x1 _sleep+0x1", "vm_run+0x1 f_f+0x2"))
    assert [len(capture.threads) for capture in captures] == [3, 2]


def test_samples_without_a_header():
    captures = read_text(samples("mi_switch+0x1 _sleep+0x1", "vm_run+0x1 f_f+0x2"))
    assert [[functions(thread)[0] for thread in capture.threads] for capture in captures] == [
        ["mi_switch", "mi_switch"],
        ["mi_switch", "vm_run"],
    ]


def test_a_row_that_is_quoted_once_more_is_no_other_instant():
    table = samples("mi_switch+0x1 _sleep+0x1")
    capture = read(HEADER + table + "This one never ends:\n\n" + table.splitlines()[1] + "\n", indented=False)
    assert [thread.tid for thread in capture.threads] == [100002, 100100]


def test_the_first_row_of_several_quoted_below_them_is_no_other_instant():
    table = samples("mi_switch+0x1 _sleep+0x1") + row(8, 100200, "sh", "b", "mi_switch+0x1 _sleep+0x1")
    capture = read(HEADER + table + "This one never ends:\n" + table.splitlines()[0] + "\n", indented=False)
    assert [thread.tid for thread in capture.threads] == [100002, 100100, 100200]
    assert unread(capture) == [(5, 5)]


def test_a_table_of_threads_states():
    capture = read(
        """
        # procstat -t 2210
          PID    TID COMM                TDNAME              CPU  PRI STATE   WCHAN
         2210 100860 bhyve               vcpu 0                3  152 sleep   vmrndv
         2210 100861 bhyve               vcpu 1                5  152 lock    *vm rende
         2210 100862 bhyve               io                    1  120 run     -        <-- on-CPU, this is the spinner
         2210 100863 bhyve               -                     -  120 sleep   -
         2210 100864 bhyve               blk-4:0-1            12   20 stop    uwait
         2210 100865 bhyve               vcpu 2                2   20 run     -
           12 100200 intr                swi6: Giant taskq     0  -52 wait    -
         2300 100900 a                   -                     0  120 zomb    -
        123456 1000000 a command of 19 chr a thread of 19 char  10  120 sleep   mount dr
        # procstat threads 2211
          PID    TID COMM             TDNAME           CPU  PRI STATE   WCHAN
         2211 100960 bhyve            vcpu 0             3  152 sleep   vmidle
         2211 100961 a command of 19 chr vcpu 1             3  152 sleep   vmidle
        """
    )
    got = [(thread.tid, thread.command, thread.name, thread.state, thread.wmesg, thread.lock) for thread in capture.threads]
    assert got == [
        (100860, "bhyve", "vcpu 0", "sleeping", "vmrndv", None),
        (100861, "bhyve", "vcpu 1", "lock", None, "vm rende"),
        (100862, "bhyve", "io", "running", None, None),
        (100863, "bhyve", None, "sleeping", "-", None),
        (100864, "bhyve", "blk-4:0-1", "suspended", "uwait", None),
        (100865, "bhyve", "vcpu 2", "runnable", None, None),
        (100200, "intr", "swi6: Giant taskq", "iwait", None, None),
        (100900, "a", None, "zombie", None, None),
        (1000000, "a command of 19 chr", "a thread of 19 char", "sleeping", "mount dr", None),
        (100960, "bhyve", "vcpu 0", "sleeping", "vmidle", None),
        (100961, "a command of 19 chr", "vcpu 1", "sleeping", "vmidle", None),
    ]
    assert unread(capture) == [(1, 1), (12, 12)]


def test_states_and_stacks_of_the_same_threads():
    capture = read(
        """
          PID    TID COMM                TDNAME              CPU  PRI STATE   WCHAN
         2210 100860 bhyve               vcpu 0                3  152 sleep   vmrndv
         2210 100861 bhyve               vcpu 1                5  152 run     -
          PID    TID COMM                TDNAME              KSTACK
         2210 100860 bhyve               vcpu 0              mi_switch+0xbc sleepq_timedwait+0x1 _sleep+0x2 vm_run+0x3
         2210 100861 bhyve               vcpu 1              vmx_run+0xbc vm_run+0x3
        """
    )
    got = [(thread.tid, thread.state, thread.wmesg, functions(thread)[0]) for thread in capture.threads]
    assert got == [(100860, "sleeping", "vmrndv", "mi_switch"), (100861, "runnable", None, "vmx_run")]


def test_siginfo():
    stack = "mi_switch+0xc2 sleepq_timedwait+0x2f msleep_spin_sbt+0x148 vcpu_set_state_locked+0x9 vmmdev_ioctl+0x71"
    capture = read(
        f"""
        root@host:~ # bhyvectl --destroy --vm=win11
        load: 0.46  cmd: bhyvectl 47077 [vmstat] 628.14r 0.00u 0.00s 0% 1784k
        {stack}
        load: 0.46  cmd: bhyvectl 47077 [vmstat] 640.14r 0.00u 0.00s 0% 1784k
        {stack}
        load: 0.13  cmd: make 911 [*vm object] 1.00r 0.00u 0.00s 0% 1784k
        load: 0.13  cmd: my prog 912 [running] 1.00r 0.00u 0.00s 0% 1784k
        load: 0,13  cmd: my prog 913 [sleeping without queue] 1,00r 0,00u 0,00s 0% 1784k
        load: 0.13  cmd: my prog 914 [unknown] 1.00r 0.00u 0.00s 0% 1784k
        load: 0.13  cmd: zfs 915 [tx->tx_sync_done_cv] 1.00r 0.00u 0.00s 0% 1784k
        load: 0.13  cmd: mareserver 916 [ttyin] 628.14r 0.00u 0.00s 0% 1784k
        #0 0xffffffff80bcb972 at mi_switch+0xc2
        #1 0xffffffff80c1c4bf at sleepq_catch_signals+0x2ab
        #2 0xffffffff80c1c1d9 at sleepq_wait_sig+0x9
        #3 0xffffffff82000000 at ??+0
        load: 0.13  not a controlling terminal
        """
    )
    got = [(thread.pid, thread.command, thread.state, thread.wmesg, thread.lock, len(thread.frames)) for thread in capture.threads]
    assert got == [
        (47077, "bhyvectl", "sleeping", "vmstat", None, 5),
        (911, "make", "lock", None, "vm object", 0),
        (912, "my prog", "running", None, None, 0),
        (913, "my prog", "sleeping", None, None, 0),
        (914, "my prog", None, None, None, 0),
        (915, "zfs", "sleeping", "tx->tx_sync_done_cv", None, 0),
        (916, "mareserver", "sleeping", "ttyin", None, 4),
    ]
    assert capture.threads[-1].frames[1].address == 0xFFFFFFFF80C1C4BF
    assert capture.sources[0].format == "console"
    assert unread(capture) == [(1, 1), (16, 16)]


def test_siginfo_in_prose():
    capture = read('I then saw\n# "load: 5.40  cmd: bash 24517 [vmmaps] 2.45r 0.00u 0.00s 0% 3448k" seen.\nso it hangs\n')
    assert (only(capture).wmesg, only(capture).frames) == ("vmmaps", ())
    assert unread(capture) == [(1, 1), (3, 3)]


def test_columns_parted_by_tabs():
    capture = read(
        "PID\tTID\tCOMM\tTDNAME\tKSTACK\n"
        "2210\t100860\tbhyve\tvcpu 0\tmi_switch+0xbc sleepq_timedwait+0x2f\n"
        "2210\t100861\tmy prog\t-\t<running>\n"
        "12\t100006\tintr\tswi6: Giant taskq\t\n",
        indented=False,
    )
    assert said(capture) == [
        (2210, 100860, "bhyve", "vcpu 0", "mi_switch sleepq_timedwait"),
        (2210, 100861, "my prog", None, "<running>"),
        (12, 100006, "intr", "swi6: Giant taskq", ""),
    ]


@pytest.mark.parametrize("width", [*range(79, 110), 120, 132])
def test_one_row_broken_by_a_terminal(width):
    stack = "mi_switch+0xbc sleepq_timedwait+0x2f _sleep+0x1f2 vm_handle_rendezvous+0x1a8 vm_run+0x2de ??+0 devfs_ioctl+0xd1"
    line = row(2290, 100901, "bhyvectl", "-", stack).strip("\n").rstrip()
    text = HEADER + "".join(line[begin : begin + width] + "\n" for begin in range(0, len(line), width))
    thread = only(read(text, indented=False))
    assert functions(thread) == [word.partition("+")[0] for word in stack.split()]
    assert [frame.offset for frame in thread.frames] == [0xBC, 0x2F, 0x1F2, 0x1A8, 0x2DE, 0, 0xD1]


@pytest.mark.parametrize("width", [4, 7])  # FreeBSD's uniq, and GNU's
def test_stacks_that_were_counted(width):
    stacks = ((2, "mi_switch+0xd2 sleepq_timedwait+0x2f _sleep+0x1f2 vm_handle_rendezvous+0x18e vm_run+0x6b1"), (1, "mi_switch+0xd2 ast+0x1"))
    capture = read("".join(f"{count:{width}d} {stack}\n" for count, stack in stacks), indented=False)
    assert [len(thread.frames) for thread in capture.threads] == [5, 2, 5]


def test_numbers_before_stacks_that_count_nothing():
    stack = "mi_switch+0xd2 sleepq_timedwait+0x2f _sleep+0x1f2 vm_handle_rendezvous+0x18e vm_run+0x6b1"
    capture = read("".join(f"{number:>3}  {stack}\n" for number in (7, 8)), indented=False)
    assert [len(thread.frames) for thread in capture.threads] == [5, 5]


@pytest.mark.parametrize("form", ["{}", "    {}", "    {}+0x1f", "{}()"])
def test_a_function_a_line(form):
    stacks = ["mi_switch sleepq_timedwait _sleep vm_handle_rendezvous vm_run", "mi_switch sleepq_wait _sx_xlock_hard foo_lock ast"]
    text = "\n\nand\n\n".join("\n".join(form.format(name) for name in stack.split()) for stack in stacks) + "\n"
    capture = read(text, indented=False)
    assert [functions(thread) for thread in capture.threads] == [stack.split() for stack in stacks]


def test_few_words_a_line_are_no_stack():
    capture = read("mi_switch\nsleepq_wait\nand others\n", indented=False)
    assert capture.threads == ()


def test_rows_whose_line_end_was_lost_are_two():
    first, second = procstat(vcpus("lock one", "in guest")).splitlines()[1:]
    capture = read(f"{HEADER}{first}{second}\n", indented=False)
    assert [(thread.tid, thread.name, len(thread.frames)) for thread in capture.threads] == [
        (100860, "vcpu 0", 14),
        (100861, "vcpu 1", len(T(0, "", "in guest").functions)),
    ]


def test_what_is_no_row_behind_a_row_on_the_same_line():
    row = "    9 100032 vmdaemon            -                   mi_switch+0xd2 sleepq_wait+0x2c _sleep+0x265 vm_daemon+0x7e"
    capture = read(f"{row}\n{row.replace('032', '033')}    13 100034 bufdaemon           -                   mi_switch+0xd2 and so on\n")
    assert [thread.tid for thread in capture.threads] == [100032, 100033]
