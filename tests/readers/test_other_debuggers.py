"""lldb, dtrace, illumos mdb."""

from __future__ import annotations

from tests.readers.help import functions, only, read


def test_lldb():
    capture = read(
        """
        (lldb) thread backtrace all
        * thread #1, name = '(pid 1025) tcplog_dumper'
          * frame #0: 0xffffffff80b7d0a3 kernel.debug`sched_switch(td=0xfffff80004c98000, flags=260) at sched_ule.c:2448:26
            frame #1: 0xffffffff80b5df3c kernel.debug`_sleep(ident=0xfffffe0000723110, lock=0x0, priority=256, wmesg="tcplogdev", sbt=0) at kern_synch.c:219:10
            frame #2: 0xffffffff80b5df3d kernel.debug`fork_exit(callout=(geom_nbd.ko`nbd_conn_sender at g_nbd.c:1163)) at kern_fork.c:1080:2 [inlined]
            frame #3: 0xffffffff80b5df3e kernel.debug`fork_trampoline + 14
          thread #31: tid = 101027, 0x1 kernel`sched_switch(td=0x2, flags=259) at sched_ule.c:2448:26, name = '(pid 6052) gnbd/gnbd nbd0 sender'
        Full Backtrace:
            frame #0: 0xffffffff80b7d0a3 kernel`sched_switch(td=0x2, flags=259) at sched_ule.c:2448:26
            frame #1: 0xffffffff80b7d0a4 geom_nbd.ko`nbd_conn_sender at g_nbd.c:1163
        """
    )
    first, second = capture.threads
    assert (first.pid, first.command, first.wmesg, first.wchan) == (1025, "tcplog_dumper", "tcplogdev", 0xFFFFFE0000723110)
    assert functions(first) == ["sched_switch", "_sleep", "fork_exit", "fork_trampoline"]
    assert (first.frames[2].inlined, first.frames[3].offset, first.frames[0].line) == (True, 14, 2448)
    assert (second.pid, second.tid, second.command, second.name) == (6052, 101027, "gnbd", "gnbd nbd0 sender")
    assert functions(second) == ["sched_switch", "nbd_conn_sender"]
    assert second.frames[1].module == "geom_nbd.ko"
    assert capture.sources[0].format == "lldb"
    assert capture.unread == ()


def test_dtrace():
    capture = read(
        """
          2210   100860  bhyve
                      kernel`mi_switch+0xd2
                      kernel`_sleep+0x1f2
                      vmm.ko`vm_run+0x6b1
                      kernel`0xffffffff810633cb
                       52
        """,
        indented=False,
    )
    thread = only(capture)
    assert (thread.pid, thread.tid, thread.command) == (2210, 100860, "bhyve")
    assert [(frame.function, frame.module) for frame in thread.frames[:3]] == [
        ("mi_switch", None),
        ("_sleep", None),
        ("vm_run", "vmm.ko"),
    ]
    assert capture.unread == ()


def test_mdb_findstack():
    capture = read(
        """
        > ffffff0368f503a0::findstack -v
        stack pointer for thread ffffff0368f503a0: ffffff000cf358c0
        [ ffffff000cf358c0 _resume_from_idle+0xf4() ]
          ffffff000cf358f0 swtch+0x141()
          ffffff000cf35960 cv_wait_sig+0x185(ffffff031615718a, ffffff031615f668)
          ffffff000cf35990 vmm`vm_handle_rendezvous+0x22(1, 2)
        """
    )
    thread = only(capture)
    assert thread.address == 0xFFFFFF0368F503A0
    assert functions(thread) == ["_resume_from_idle", "swtch", "cv_wait_sig", "vm_handle_rendezvous"]
    assert thread.frames[3].module == "vmm"
    assert capture.sources[0].format == "mdb"
    assert capture.unread == ()


def test_mdb_threadlist_and_stacks():
    capture = read(
        """
        > ::threadlist -v
                    ADDR             PROC              LWP CLS PRI            WCHAN
        ffffff0368f503a0 fffffffffbc2eb80 ffffff0368f50000   1  59 ffffff031615718a
          PC: _resume_from_idle+0xf4    CMD: /usr/sbin/bhyve -c 4 win11
          stack pointer for thread ffffff0368f503a0: ffffff000cf358c0
          [ ffffff000cf358c0 _resume_from_idle+0xf4() ]
            swtch+0x141()
            cv_wait+0x70()

        > ::stacks
        THREAD           STATE    SOBJ                COUNT
        ffffff00054c3c60 SLEEP    CV                     52
                         swtch+0x147
                         cv_wait+0x61
        """
    )
    first, second = capture.threads
    assert (first.command, first.wchan, functions(first)) == (
        "bhyve", 0xFFFFFF031615718A, ["_resume_from_idle", "swtch", "cv_wait"],
    )  # fmt: skip
    assert (second.state, functions(second)) == ("sleeping", ["swtch", "cv_wait"])
    assert capture.unread == ()


def test_a_stack_quoted_again():
    stack = "mi_switch+0x1 sleepq_wait+0x2 _sleep+0x3 vm_run+0x4"
    table = f"  PID    TID COMM                TDNAME              KSTACK\n 2210 100860 bhyve               vcpu 0              {stack}\n"
    thread = only(read(table + f"\nWhat is this?\n{stack}\n", indented=False))
    assert [where.first for where in thread.where] == [2, 5]
