"""lldb on kernel dumps and on bhyve."""

from __future__ import annotations

from tests.readers.help import functions, only, read
from tests.traces import analysed


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


KERNEL_DUMP = """\
(lldb) target create "/boot/kernel/kernel" --core "/var/crash/vmcore.3"
Core file '/var/crash/vmcore.3' (x86_64) was loaded.
(lldb) thread list
Process 0 stopped
* thread #1: tid = 100860, 0xffffffff80b7d0a3 kernel`sched_switch(td=0xfffff80004c98000, flags=260) at sched_ule.c:2448:26, name = '(pid 2210) bhyve/vcpu 0'
  thread #2: tid = 100861, 0xffffffff80b7d0a3 kernel`sched_switch(td=0xfffff80004c99000, flags=260) at sched_ule.c:2448:26, name = '(pid 2210) bhyve/vcpu 1'
  thread #3: tid = 100003, 0xffffffff80b7d0a3 kernel`cpustop_handler + 40, name = '(pid 11) idle/idle: cpu1 (on CPU 1)'
  thread #4: tid = 100871, 0xffffffff80b7d0a4 kernel`doadump + 40, name = '(pid 900) sysctl (crashed)'
(lldb) bt all
* thread #1, name = '(pid 2210) bhyve/vcpu 0'
  * frame #0: 0xffffffff80b7d0a3 kernel`sched_switch(td=0xfffff80004c98000, flags=260) at sched_ule.c:2448:26
    frame #1: 0xffffffff80b5df3c kernel`mi_switch(flags=260) at kern_synch.c:546:2
    frame #2: 0xffffffff80b5df3d kernel`_sleep [inlined] sleepq_timedwait(wchan=0xfffffe0000723110, pri=0) at subr_sleepqueue.c:645:2
    frame #3: 0xffffffff80b5df3d kernel`_sleep(ident=0xfffffe0000723110, lock=0xfffffe0000723128, priority=0, wmesg="vmrndv", sbt=0,
 pr=0, flags=256) at kern_synch.c:219:10 [opt]
    frame #4: 0xffffffff82220000 vmm.ko`vm_handle_rendezvous(vcpu=0xfffff80001234000) at vmm.c:1300:4 [opt]
    frame #5: 0xffffffff82220100 vmm.ko`vm_run(vcpu=0xfffff80001234000) at vmm.c:2000:4 [opt]
    frame #6: 0xffffffff82220200 vmm.ko`vmmdev_ioctl + 512
    frame #7: 0xffffffff80b5df3e kernel`sys_ioctl(td=<unavailable>, uap=0xfffff80004c983e8) at sys_generic.c:710:10 [opt] [artificial]
    frame #8: 0xffffffff80b5df3f kernel`amd64_syscall(td=0xfffff80004c98000, traced=0) at trap.c:1190:7
    frame #9: 0xffffffff8101234f kernel`fast_syscall_common at exception.S:577
  thread #2, name = '(pid 2210) bhyve/vcpu 1'
    frame #0: 0xffffffff80b7d0a3 kernel`sched_switch(td=0xfffff80004c99000, flags=260) at sched_ule.c:2448:26
    frame #1: 0xffffffff80b5df3c kernel`sleepq_timedwait at subr_sleepqueue.c:645:2
    frame #2: 0xffffffff80b5df3c kernel`msleep_spin_sbt(ident=0xfffff80001234020, mtx=0xfffff80001234000, wmesg="vmstat", sbt=4294967296, pr=0, flags=256)
        at kern_synch.c:300:10
    frame #3: 0xffffffff82220000 vmm.ko`vcpu_set_state_locked(vcpu=0xfffff80001234000, newstate=VCPU_FROZEN, from_idle=true) at vmm.c:1100:4
    frame #4: 0xffffffff82220200 vmm.ko
    frame #5: 0xffffffff82220201 vmm.ko`___lldb_unnamed_symbol77 + 22
    frame #6: 0xffffffff82220200 vmm.ko`vmmdev_ioctl + 512
    frame #7: 0xffffffff80b5df3f kernel`amd64_syscall(td=0xfffff80004c98000, traced=0) at trap.c:1190:7
    frame #8: 0x0000000800a70f6a
  thread #3, name = '(pid 11) idle/idle: cpu1 (on CPU 1)'
    frame #0: 0xffffffff80b7d0a3 kernel`cpustop_handler + 40
    frame #1: 0xffffffff80b7d0a4 kernel`ipi_nmi_handler + 4
    frame #2: 0xffffffff80b7d0a5 kernel`cpu_idle_acpi + 60
  thread #4, name = '(pid 900) sysctl (crashed)'
    frame #0: 0xffffffff80b7d0a4 kernel`doadump + 40
    frame #1: 0xffffffff80b7d0a5 kernel`kern_reboot + 60
"""


def test_a_kernel_dump():
    diagnosis = analysed(KERNEL_DUMP)
    capture = diagnosis.capture
    assert [(thread.pid, thread.tid, thread.command, thread.name, thread.state, thread.cpu, thread.wmesg) for thread in capture.threads] == [
        (2210, 100860, "bhyve", "vcpu 0", None, None, "vmrndv"),
        (2210, 100861, "bhyve", "vcpu 1", None, None, "vmstat"),
        (11, 100003, "idle", "idle: cpu1", "running", 1, None),
        (900, 100871, "sysctl", "sysctl", "running", None, None),
    ]  # fmt: skip
    first, second, third, fourth = capture.threads
    assert functions(first) == [
        "sched_switch", "mi_switch", "sleepq_timedwait", "_sleep", "vm_handle_rendezvous", "vm_run", "vmmdev_ioctl", "sys_ioctl",
        "amd64_syscall", "fast_syscall_common",
    ]  # fmt: skip
    assert [frame.inlined for frame in first.frames[:4]] == [False, False, True, False]
    assert (first.frames[3].file, first.frames[3].line, first.frames[6].offset, first.frames[6].module) == ("kern_synch.c", 219, 512, "vmm.ko")
    assert first.frames[4].number("vcpu") == 0xFFFFF80001234000
    assert functions(second) == [
        "sched_switch", "sleepq_timedwait", "msleep_spin_sbt", "vcpu_set_state_locked", "??", "___lldb_unnamed_symbol77",
        "vmmdev_ioctl", "amd64_syscall",
    ]  # fmt: skip
    assert (functions(third)[0], functions(fourth)) == ("cpustop_handler", ["doadump", "kern_reboot"])
    assert [wait.kind for wait in diagnosis.waits] == ["rendezvous", "vcpu-state", "running", "running"]
    finding = diagnosis.findings[0]
    assert (finding.verdict, finding.certainty, finding.threads) == ("deadlock", "proven", (0, 1))
    assert (capture.sources[0].format, capture.unread) == ("lldb", ())


def test_the_list_alone_and_the_list_last():
    lines = KERNEL_DUMP.splitlines()
    listed, stacks = lines[2:8], lines[8:]
    capture = read("\n".join(listed) + "\n", indented=False)
    assert [(thread.tid, functions(thread)) for thread in capture.threads] == [
        (100860, ["sched_switch"]), (100861, ["sched_switch"]), (100003, ["cpustop_handler"]), (100871, ["doadump"]),
    ]  # fmt: skip
    turned = read("\n".join(stacks + listed) + "\n", indented=False)
    assert [(thread.tid, len(thread.frames)) for thread in turned.threads] == [(100860, 10), (100861, 8), (100003, 3), (100871, 2)]
    assert (capture.unread, turned.unread) == ((), ())


def test_without_ids_a_thread_is_its_number():
    lines = KERNEL_DUMP.splitlines()[8:]
    # the selected thread is shown when lldb stops, and again by itself
    text = "\n".join([lines[1], lines[2].replace("* frame", "  frame"), *lines, "(lldb) bt", *lines[1:13]]) + "\n"
    capture = read(text.replace("td=0x", "td=<unavailable>, x=0x"), indented=False)
    assert [(thread.pid, thread.name, len(thread.frames)) for thread in capture.threads] == [
        (2210, "vcpu 0", 10), (2210, "vcpu 1", 8), (11, "idle: cpu1", 3), (900, "sysctl", 2),
    ]  # fmt: skip
    assert capture.unread == ()


def test_a_bhyve_process():
    text = """\
(lldb) process attach --pid 2210
Process 2210 stopped
* thread #1, name = 'mevent', stop reason = signal SIGSTOP
    frame #0: 0x0000000800abc12a libc.so.7`_kevent + 10
libc.so.7`_kevent:
->  0x800abc12a <+10>: jb     0x800abc000
    0x800abc12c <+12>: retq
Executable module set to "/usr/sbin/bhyve".
Architecture set to: x86_64-unknown-freebsd13.1.
(lldb) thread backtrace all
* thread #1, name = 'mevent', stop reason = signal SIGSTOP
  * frame #0: 0x0000000800abc12a libc.so.7`_kevent + 10
    frame #1: 0x0000000000221234 bhyve`mevent_dispatch at mevent.c:500:9
    frame #2: 0x0000000000221235 bhyve`main(argc=1, argv=0x00007fffffffea10) at bhyverun.c:1500:2
  thread #2, name = 'vcpu 0'
    frame #0: 0x0000000800abc22a libc.so.7`ioctl + 10
    frame #1: 0x0000000800123456 libvmmapi.so.5`vm_run(vcpu=<unavailable>, vmexit=0x00007fffdfffde00) at vmmapi.c:800:10
    frame #2: 0x0000000000221235 bhyve`vm_loop(ctx=<unavailable>, vcpu=0) at bhyverun.c:900:11
    frame #3: 0x0000000800999999 libthr.so.3`___lldb_unnamed_symbol160 + 322
"""
    diagnosis = analysed(text)
    assert [(thread.pid, thread.command, thread.name, functions(thread)) for thread in diagnosis.capture.threads] == [
        (2210, "bhyve", "mevent", ["_kevent", "mevent_dispatch", "main"]),
        (2210, "bhyve", "vcpu 0", ["ioctl", "vm_run", "vm_loop", "___lldb_unnamed_symbol160"]),
    ]
    # what the kernel does for them is not shown: nobody can say that they run, only what they asked for
    assert [wait.kind for wait in diagnosis.waits] == ["event", "unknown"]
    assert diagnosis.findings[0].verdict == "inconclusive"
    assert diagnosis.capture.unread == ()


def test_translated_and_glued():
    text = """\
* 线程 #1, 名称 = '(pid 1025) tcplog_dumper'
  * 帧 #0: 0xffffffff80b7d0a3 kernel.debug`sched_switch(td=0xfffff80004c98000, flags=260) at sched_ule.c:2448:26
    帧 #1: 0xffffffff80b5df3c kernel.debug`_sleep(ident=0x1, wmesg=”tcplogdev”, sbt=0) at kern_synch.c:546:2frame #2: 0xffffffff80b5df3d kernel.debug`devfs_read_f at devfs_vnops.c:12:1
    框架 #3: 0xffffffff80b5df3e kernel.debug`sys_read at sys_generic.c:12:1
"""
    capture = read(text, indented=False)
    thread = only(capture)
    assert (thread.pid, thread.command, thread.wmesg) == (1025, "tcplog_dumper", "tcplogdev")
    assert functions(thread) == ["sched_switch", "_sleep", "devfs_read_f", "sys_read"]
    assert capture.unread == ()


def test_a_stack_quoted_again():
    stack = "mi_switch+0x1 sleepq_wait+0x2 _sleep+0x3 vm_run+0x4"
    table = f"  PID    TID COMM                TDNAME              KSTACK\n 2210 100860 bhyve               vcpu 0              {stack}\n"
    thread = only(read(table + f"\nWhat is this?\n{stack}\n", indented=False))
    assert [where.first for where in thread.where] == [2, 5]


def test_a_process_beside_the_kernel_s_stacks():
    program = """\
(lldb) process attach --pid 2210
* thread #1, name = 'mevent'
  * frame #0: 0x00000008237ad0ba libc.so.7`_kevent at _kevent.S:4
  thread #2, name = 'vcpu 0'
    frame #0: 0x00000008237ab3aa libc.so.7`__sys_ioctl at _ioctl.S:4
    frame #1: 0x00000008220f1f2a libvmmapi.so.6`vm_run(vcpu=0x00000801212c0) at vmmapi.c:700:10
"""
    kernel = "  PID    TID COMM                TDNAME              KSTACK\n 2210 100860 bhyve               vcpu 0              mi_switch+0xd2 sleepq_timedwait+0x2f _sleep+0x1f2 vm_handle_rendezvous+0x18e vm_run+0x6b1\n"
    mevent, vcpu = sorted(read(f"{program}\n{kernel}", indented=False).threads, key=lambda thread: thread.name)
    assert (mevent.pid, mevent.tid, mevent.name) == (2210, None, "mevent")
    assert (vcpu.pid, vcpu.tid, functions(vcpu)[3]) == (2210, 100860, "vm_handle_rendezvous")
