"""procstat -k, -kk and -t: rows, columns, marks, wrapped stacks."""

from __future__ import annotations

import pytest

from hangdiag.model import Where
from hangdiag.readers import read_text
from tests.readers.help import functions, only, read, trace_like

HEADER_12 = "  PID    TID COMM                TDNAME              KSTACK                       \n"
HEADER_11 = "  PID    TID COMM             TDNAME           KSTACK                       \n"


def row(pid, tid, comm, name, stack, width=19):
    return f"{pid:5d} {tid:6d} {comm:<{width}} {name:<{width}} {stack} \n"


def test_a_row_with_offsets():
    thread = only(read(HEADER_12 + row(2210, 100860, "bhyve", "vcpu 0", "mi_switch+0xbc _sleep+0x1f2 vm_run+0x6b1")))
    assert (thread.pid, thread.tid, thread.command, thread.name) == (2210, 100860, "bhyve", "vcpu 0")
    assert [(frame.function, frame.offset) for frame in thread.frames] == [
        ("mi_switch", 0xBC),
        ("_sleep", 0x1F2),
        ("vm_run", 0x6B1),
    ]
    assert thread.where == (Where(0, 2, 2),)
    assert thread.state is None


@pytest.mark.parametrize("name", ["vtnet-2:0 tx", "blk-1:0-0", "swi5: fast taskq", "irq173: ahci0:ch0", "laundry: dom0"])
@pytest.mark.parametrize(("header", "width"), [(HEADER_12, 19), (HEADER_11, 16)])
def test_thread_names_hold_blanks_and_colons(header, width, name):
    if len(name) > width:
        pytest.skip("longer than the column")
    thread = only(read(header + row(12, 100006, "intr", name, "mi_switch+0xd2 ithread_loop+0x1c5", width)))
    assert thread.name == name
    assert functions(thread) == ["mi_switch", "ithread_loop"]


def test_a_name_longer_than_its_column():
    thread = only(read(HEADER_12 + row(12, 100006, "intr", "irq173: ahci0:ch0 and more", "mi_switch+0xd2 ithread_loop+0x1c5")))
    assert thread.name == "irq173: ahci0:ch0 and more"
    assert functions(thread) == ["mi_switch", "ithread_loop"]


def test_a_name_of_dash_is_none():
    assert only(read(HEADER_12 + row(17, 100047, "bhyvectl", "-", "mi_switch+0xd2 _sleep+0x1"))).name is None


def test_an_empty_stack():
    thread = only(read(HEADER_12 + row(12, 100200, "intr", "swi6: Giant taskq", "")))
    assert (thread.name, thread.frames) == ("swi6: Giant taskq", ())


@pytest.mark.parametrize(("mark", "state"), [("<running>", "running"), ("<swapped>", "swapped"), ("<unknown>", None)])
def test_marks_are_one_frame(mark, state):
    thread = only(read(HEADER_12 + row(11, 100003, "idle", "idle: cpu0", mark)))
    assert functions(thread) == [mark]
    assert thread.state == state


def test_names_without_offsets():
    thread = only(
        read(
            "  PID    TID COMM             TDNAME           KSTACK\n"
            "    0 100023 kernel           firmware taskq   mi_switch sleepq_wait _sleep taskqueue_thread_loop fork_exit\n"
        )
    )
    assert thread.name == "firmware taskq"
    assert functions(thread) == ["mi_switch", "sleepq_wait", "_sleep", "taskqueue_thread_loop", "fork_exit"]
    assert {frame.offset for frame in thread.frames} == {None}


def test_wrapped_stacks():
    capture = read(
        HEADER_12
        + row(56003, 219771, "bhyve", "vcpu 0", "mi_switch+0xbc sleepq_timedwait+0x2f")
        + "                              msleep_spin_sbt+0xc3 vm_run+0xcc4\n"
        + "    vmmdev_ioctl+0x1 devfs_ioctl+0x2\n"
        + row(56003, 219772, "bhyve", "vcpu 1", "mi_switch+0xbc sleepq_wait+0x2f")
    )
    assert [functions(thread) for thread in capture.threads] == [
        ["mi_switch", "sleepq_timedwait", "msleep_spin_sbt", "vm_run", "vmmdev_ioctl", "devfs_ioctl"],
        ["mi_switch", "sleepq_wait"],
    ]
    assert capture.threads[0].where == (Where(0, 2, 4),)
    assert not capture.unread


def test_a_row_whose_whole_stack_is_on_the_next_line():
    thread = only(
        read(
            "  PID    TID COMM             TDNAME           KSTACK\n15844 147355 codex  notify-rs kqueue lo\n"
            "  kmem_back_domain+0x14d kmem_malloc_domainset+0xd2\n"
        )
    )
    assert (thread.command, thread.tid) == ("codex", 147355)
    assert functions(thread) == ["kmem_back_domain", "kmem_malloc_domainset"]


def test_a_table_without_thread_names():
    thread = only(read("  PID    TID COMM             KSTACK\n  911 100123 sh               mi_switch+0x1 _sleep+0x2\n"))
    assert (thread.command, thread.name, functions(thread)) == ("sh", None, ["mi_switch", "_sleep"])


def test_elisions_are_no_frames():
    thread = only(read(HEADER_12 + row(1, 100001, "init", "-", "mi_switch+0x1 ... [...] amd64_syscall+0x2")))
    assert functions(thread) == ["mi_switch", "amd64_syscall"]


def test_offsets_left_out():
    thread = only(read(HEADER_12 + row(1, 100001, "init", "-", "kern_poll_kfds+... kern_poll+... sys_poll+...")))
    assert functions(thread) == ["kern_poll_kfds", "kern_poll", "sys_poll"]


def test_rows_without_a_header():
    capture = read(
        """
        56003 219771 bhyve               vcpu 0              mi_switch+0xbc sleepq_timedwait+0x2f _sleep+0x1f2
        56003 219772 bhyve               -                   <running>
        """
    )
    assert [(thread.tid, thread.name) for thread in capture.threads] == [(219771, "vcpu 0"), (219772, None)]
    assert capture.threads[1].state == "running"


def test_a_bare_stack():
    thread = only(read("mi_switch sleepq_catch_signals sleepq_wait_sig _sleep umtxq_sleep linux_sys_futex\n"))
    assert functions(thread)[-1] == "linux_sys_futex"


def test_several_tables_of_other_processes_are_one_instant():
    capture = read(
        "# pgrep bhyve | xargs procstat -k\n"
        + HEADER_12
        + row(1, 100001, "bhyve", "a", "mi_switch+0x1 _sleep+0x1")
        + HEADER_12
        + row(2, 100002, "bhyve", "b", "mi_switch+0x1 _sleep+0x1")
    )
    assert [thread.tid for thread in capture.threads] == [100001, 100002]


def test_the_same_table_again_is_another_instant():
    table = HEADER_12 + row(1, 100001, "bhyve", "a", "mi_switch+0x1 _sleep+0x1")
    captures = read_text(table + "ten seconds later\n" + table)
    assert [len(capture.threads) for capture in captures] == [1, 1]
    assert captures[1].threads[0].where == (Where(0, 5, 5),)


def test_errors_of_procstat_are_not_unread():
    assert read("procstat: sysctl(kern.proc): No such process\n").unread == ()


def test_prose_behind_a_table_is_no_stack():
    capture = read(HEADER_12 + row(1, 100001, "sh", "-", "mi_switch+0x1 _sleep+0x2") + "  and then it hangs\n")
    assert functions(only(capture)) == ["mi_switch", "_sleep"]
    assert [(item.where.first, item.why) for item in capture.unread] == [(3, "prose")]
    assert not trace_like(capture)


def test_procstat_t():
    capture = read(
        """
          PID    TID COMM                TDNAME              CPU  PRI STATE   WCHAN
         2210 100860 bhyve               vcpu 0               -1  152 sleep   vmrndv
         2210 100861 bhyve               vcpu 1                3  152 lock    *vm rende
         2210 100862 bhyve               io                    1  120 run     -        <-- on-CPU, this is the spinner
         2210 100863 bhyve               -                     -  120 sleep   -
        """.replace("  -1  152", "   1  152")
    )
    assert [(thread.name, thread.state, thread.wmesg, thread.lock) for thread in capture.threads] == [
        ("vcpu 0", "sleeping", "vmrndv", None),
        ("vcpu 1", "lock", None, "vm rende"),
        ("io", "running", None, None),
        (None, "sleeping", "-", None),
    ]


def test_a_name_like_a_tag_is_a_name():
    text = (
        "  PID    TID COMM                TDNAME              KSTACK\n"
        "   16 100043 bhyve               <script>a(1)</script> mi_switch+0xbc sleepq_wait+0x2f _sleep+0x1f2\n"
    )
    (capture,) = read_text(text)
    assert [(thread.name, len(thread.frames)) for thread in capture.threads] == [("<script>a(1)</script>", 3)]
