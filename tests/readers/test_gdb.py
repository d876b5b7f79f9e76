"""kgdb, gdb: stacks, wrapped frames, arguments, identities, printed values, scripted walks."""

from __future__ import annotations

import pytest

from hangdiag import diagnose
from hangdiag.readers import read_text
from hangdiag.readers.gdb.frames import split_arguments
from hangdiag.readers.gdb.values import parse_value
from tests.readers.help import functions, only, read

STACK = """\
#0  sched_switch (td=0xfffff80004c98000, newtd=<optimized out>, flags=260) at /usr/src/sys/kern/sched_ule.c:2143
#1  0xffffffff803ab792 in mi_switch (flags=flags@entry=260) at /usr/src/sys/kern/kern_synch.c:436
#2  0xffffffff803ab792 in _sleep (ident=ident@entry=0xfffffe0000723110, wmesg=0xffffffff806098a3 "vmrndv", sbt=1) at /usr/src/sys/kern/kern_synch.c:213
#3  vm_handle_rendezvous (vm=0xfffffe0000723000, vcpuid=2) at /usr/src/sys/amd64/vmm/vmm.c:1256
#4  <signal handler called>
#5  0x0000000800a70f6a in ?? ()
Backtrace stopped: Cannot access memory at address 0x8
"""


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("Thread 45 (Thread 100567 (PID=16: bhyve/vcpu 0)):", (16, 100567, "bhyve", "vcpu 0")),
        ("Thread 45 (Thread 100567 (PID=16: bhyve)):", (16, 100567, "bhyve", "bhyve")),
        ("Thread 45 (Thread 100567):", (None, 100567, None, None)),
        ('Thread 13 (LWP 100571 of process 4094 "vcpu 2"):', (4094, 100571, None, "vcpu 2")),
        ('Thread 13 (LWP 100571 of process 4094 (vcpu 2)):', (4094, 100571, None, "vcpu 2")),
        ('Thread 13 (Thread 0x801c17400 (LWP 100571 of process 4094 "vcpu 2")):', (4094, 100571, None, "vcpu 2")),
        ("Thread 13 (Thread 801c17400 (LWP 100571/vcpu 2)):", (None, 100571, None, "vcpu 2")),
        ("Thread 13 (process 100571):", (None, 100571, None, None)),
        ("Thread 45 (Thread 100012 (PID=12: intr/swi4: clock (0))):", (12, 100012, "intr", "swi4: clock (0)")),
        ('Thread 45 (Thread 100567 "vcpu 0" (Sleeping)):', (None, 100567, None, "vcpu 0")),
        ('Thread 1.45 (Thread 100567 "vcpu 0" (PID=16: bhyve/vcpu 0)):', (16, 100567, "bhyve", "vcpu 0")),
    ],
)
def test_who_a_thread_is(header, expected):
    thread = only(read(f"{header}\n{STACK}", indented=False))
    assert (thread.pid, thread.tid, thread.command, thread.name) == expected


def test_frames_and_what_their_arguments_tell():
    capture = read("Thread 45 (Thread 100567 (PID=16: bhyve/vcpu 0)):\n" + STACK, indented=False)
    thread = only(capture)
    assert functions(thread) == [
        "sched_switch", "mi_switch", "_sleep", "vm_handle_rendezvous", "<signal handler called>",
    ]  # fmt: skip
    assert (thread.address, thread.wmesg, thread.wchan) == (0xFFFFF80004C98000, "vmrndv", 0xFFFFFE0000723110)
    sleep, rendezvous = thread.frames[2:4]
    assert (sleep.file, sleep.line, sleep.inlined) == ("/usr/src/sys/kern/kern_synch.c", 213, False)
    assert (rendezvous.inlined, rendezvous.argument("vcpuid")) == (True, "2")
    assert capture.unread == ()


WRAPPED = {
    "place on a line of its own": "#1  0xffffffff80b54c62 in fork_exit (callout=0x1, arg=0x0, frame=0x2)\n    at /usr/src/sys/kern/kern_fork.c:1080\n",
    "inside the arguments": "#1  0xffffffff80b54c62 in fork_exit (\n    callout=0x1 <sched_idletd>, arg=0x0, \n    frame=0x2) at /usr/src/sys/kern/kern_fork.c:1080\n",
    "not indented": "#1  0xffffffff80b54c62 in fork_exit (callout=0x1, arg=0x0, frame=0x2) at\n/usr/src/sys/kern/kern_fork.c:1080\n",
    "one blank": "#1 0xffffffff80b54c62 in fork_exit (callout=0x1,\n arg=0x0, frame=0x2) at /usr/src/sys/kern/kern_fork.c:1080\n",
    "before a structure": "#1  0xffffffff80b54c62 in fork_exit (callout=0x1, arg=0x0, frame=\n      {tf_fs = 8, tf_es = 16}) at /usr/src/sys/kern/kern_fork.c:1080\n",
    "an old gdb's remark": '#1  0xffffffff80b54c62 in fork_exit (callout=0x1, arg=Variable "x" is not available.\n) at /usr/src/sys/kern/kern_fork.c:1080\n',
    "line numbers in front": "    57:#1  0xffffffff80b54c62 in fork_exit (callout=0x1, arg=0x0) at /usr/src/sys/kern/kern_fork.c:1080\n",
}  # fmt: skip


@pytest.mark.parametrize("form", WRAPPED)
def test_wrapped_frames(form):
    head = "#0  sched_switch (td=0x1) at sched_ule.c:1\n"
    tail = "#2  0xffffffff80b54c63 in fork_trampoline () at /usr/src/sys/amd64/amd64/exception.S:1079\n"
    if "57:" in WRAPPED[form]:
        head, tail = "    56:" + head, "    58:" + tail
    capture = read(head + WRAPPED[form] + tail, indented=False)
    thread = only(capture)
    assert functions(thread) == ["sched_switch", "fork_exit", "fork_trampoline"]
    assert (thread.frames[1].file, thread.frames[1].line) == ("/usr/src/sys/kern/kern_fork.c", 1080)
    assert capture.unread == ()


def test_other_shapes_of_frames():
    thread = only(
        read(
            """
            #0  boot (arghowto=256) (../../i386/i386/machdep.c line 767)
            #4  if_detach_internal
            #7  0x0000000801234567 in ioctl () from /lib/libc.so.7
            """
        )
    )
    assert functions(thread) == ["boot", "if_detach_internal", "ioctl"]
    assert (thread.frames[0].file, thread.frames[0].line) == ("../../i386/i386/machdep.c", 767)
    assert thread.frames[2].module == "/lib/libc.so.7"


def test_glued_to_the_prompt():
    capture = read("(kgdb) #0  __curthread () at ./machine/pcpu.h:225\n#1  doadump (textdump=1) at kern_shutdown.c:1\n")
    assert functions(only(capture)) == ["__curthread", "doadump"]
    assert capture.unread == ()


@pytest.mark.parametrize("words", ["Switching to thread 4", "Current thread is 4"])
def test_a_switch_glued_to_the_prompt(words):
    # commands from a file are not echoed
    capture = read(f"(kgdb) [{words} (Thread 100567 (PID=16: bhyve/vcpu 0))]\n#0  sched_switch (td=0x1) at a.c:1\n(kgdb) #0  sched_switch (td=0x1) at a.c:1\n#1  0xffffffff803ab792 in mi_switch (flags=1) at b.c:2\n")
    thread = only(capture)
    assert (thread.pid, thread.tid, thread.name, functions(thread)) == (16, 100567, "vcpu 0", ["sched_switch", "mi_switch"])


@pytest.mark.parametrize("kgdb_first", [False, True])
def test_arguments_of_a_short_stack_go_to_the_longer_one_of_another_tool(kgdb_first):
    shown = "mi_switch sleepq_timedwait msleep_spin_sbt vcpu_set_state_locked vcpu_set_state vmmdev_ioctl devfs_ioctl sys_ioctl"
    procstat = " 2210 100862 bhyve               vcpu 2              " + " ".join(f"{name}+0x1f" for name in shown.split())
    kgdb = (
        "(kgdb) tid 100862\n(kgdb) bt 5\n"
        "#0  sched_switch (td=0xfffff80002415740, flags=260) at /usr/src/sys/kern/sched_ule.c:2143\n"
        "#1  0xffffffff8038d0b2 in mi_switch (flags=260) at /usr/src/sys/kern/kern_synch.c:452\n"
        "#2  0xffffffff8038ccdd in msleep_spin_sbt (ident=0xfffffe0000723268, wmesg=0xffffffff805fcf9a \"vmstat\") at /usr/src/sys/kern/kern_synch.c:285\n"
        "#3  0xffffffff805a9d82 in vcpu_set_state_locked (vm=0xfffffe0000723000, vcpuid=0, newstate=VCPU_FROZEN) at /usr/src/sys/amd64/vmm/vmm.c:1175\n"
        "(More stack frames follow...)\n"
    )
    parts = [kgdb, f"{procstat}\n"]
    thread = only(read("".join(parts if kgdb_first else reversed(parts)), indented=False))
    assert functions(thread) == shown.split()
    assert (thread.frames[3].number("vcpuid"), thread.frames[3].line, thread.frames[3].offset) == (0, 1175, 0x1F)
    assert (thread.wmesg, thread.address, thread.frames[4].args) == ("vmstat", 0xFFFFF80002415740, ())


def test_bt_full():
    capture = read(
        """
        (kgdb) bt full
        #0  sched_switch (td=0x1, flags=<optimized out>) at /usr/src/sys/kern/sched_ule.c:2143
                tdq = 0xffffffff80800000 <tdq_cpu>
                cpu = 6
                mtx = <optimized out>
        #1  0xffffffff803ab792 in mi_switch (flags=1) at /usr/src/sys/kern/kern_synch.c:436
        No locals.
        363\t\t__asm __volatile("sti; hlt");
        (kgdb) quit
        """
    )
    assert functions(only(capture)) == ["sched_switch", "mi_switch"]
    assert capture.unread == ()


def test_switching_threads():
    capture = read(
        """
        (kgdb) tid 100567
        [Switching to thread 45 (Thread 100567)]
        #0  sched_switch (td=0x1) at /usr/src/sys/kern/sched_ule.c:2143
        2143    in /usr/src/sys/kern/sched_ule.c
        (kgdb) bt
        #0  sched_switch (td=0x1) at /usr/src/sys/kern/sched_ule.c:2143
        #1  0xffffffff803ab792 in mi_switch (flags=1) at /usr/src/sys/kern/kern_synch.c:436
        """
    )
    thread = only(capture)
    assert (thread.tid, functions(thread)) == (100567, ["sched_switch", "mi_switch"])


def test_info_threads():
    capture = read(
        """
        (kgdb) info threads
          Id   Target Id                                   Frame
        * 1    Thread 100567 (PID=16: bhyve/vcpu 0)        sched_switch (td=0xfffff80004c98000, flags=260)
            at /usr/src/sys/kern/sched_ule.c:2143
          2    Thread 100568 (PID=16: bhyve/vcpu 1)        0xffffffff80000000 in cpustop_handler () at mp_x86.c:1
        """
    )
    assert [(thread.tid, thread.name, thread.address) for thread in capture.threads] == [
        (100567, "vcpu 0", 0xFFFFF80004C98000),
        (100568, "vcpu 1", None),
    ]
    assert capture.unread == ()


def test_info_threads_with_global_numbers():
    capture = read(
        """
        (gdb) info threads -gid
          Id   GId  Target Id                               Frame
        * 1.1  1    Thread 100860 (PID=2210: bhyve/vcpu 0)  sched_switch (td=0xfffffe00ad0b1ac0, flags=260) at sched_ule.c:2303
          1.2  2    Thread 100861 (PID=2210: bhyve/vcpu 1)  sched_switch (td=0xfffffe00ad0b2000, flags=260) at sched_ule.c:2303
        """
    )
    assert [(thread.tid, thread.name) for thread in capture.threads] == [(100860, "vcpu 0"), (100861, "vcpu 1")]
    assert capture.unread == ()


def test_the_debuggers_stack_shown_for_another_thread():
    capture = read(
        """
        warning: multi-threaded target stopped without sending a thread-id, using first non-exited thread
        (gdb) thread apply all bt

        Thread 2 (Thread 100003):
        #0  kdb_enter (why=<optimized out>, msg=<optimized out>) at /usr/src/sys/kern/subr_kdb.c:479
        #1  0xffffffff80000000 in kdb_alt_break () at /usr/src/sys/kern/subr_kdb.c:1

        Thread 1 (Thread 100047):
        #0  kdb_enter (why=<optimized out>, msg=<optimized out>) at /usr/src/sys/kern/subr_kdb.c:479
        #1  0xffffffff80000000 in kdb_alt_break () at /usr/src/sys/kern/subr_kdb.c:1
        """
    )
    assert [(thread.tid, thread.stack_of_debugger, thread.state) for thread in capture.threads] == [
        (100003, False, "running"),
        (100047, True, None),
    ]


def test_without_the_warning_the_first_of_two_is_the_wrong_one():
    stack = "#0  kdb_enter (why=0x1) at subr_kdb.c:479\n#1  0xffffffff80000000 in kdb_alt_break () at subr_kdb.c:1\n\n"
    capture = read(f"Thread 2 (Thread 100003):\n{stack}Thread 1 (Thread 100047):\n{stack}", indented=False)
    assert [(thread.tid, thread.stack_of_debugger) for thread in capture.threads] == [(100003, False), (100047, True)]


def test_values_of_vmm():
    capture = read(
        """
        (kgdb) p *head.slh_first
        $1 = {vm = 0xfffffe0000723000, cdev = 0x0, link = {sle_next = 0x0}, flags = 1}
        (kgdb) p head.slh_first->vm->name
        $2 = "win11", '\\000' <repeats 26 times>
        (kgdb) p/x head.slh_first->vm->rendezvous_req_cpus
        $3 = {__bits = {0xf, 0x0}}
        (kgdb) p/x head.slh_first->vm->rendezvous_done_cpus
        $4 = {__bits = {0xb, 0x0}}
        (kgdb) p head.slh_first->vm->rendezvous_func
        $5 = (vm_rendezvous_func_t) 0xffffffff805b6ef0 <vioapic_update_tmr>
        (kgdb) p head.slh_first->vm->vcpu[2].state
        $6 = VCPU_FROZEN
        (kgdb) p head.slh_first->vm->vcpu[2].reqidle
        $7 = 1
        """
    )
    (vm,) = capture.vms
    assert (vm.address, vm.name, vm.destroying) == (0xFFFFFE0000723000, "win11", True)
    assert (vm.requested, vm.done, vm.rendezvous_function) == (
        frozenset({0, 1, 2, 3}), frozenset({0, 1, 3}), "vioapic_update_tmr",
    )  # fmt: skip
    assert [(vcpu.id, vcpu.state, vcpu.reqidle) for vcpu in vm.vcpus] == [(2, "FROZEN", True)]
    assert capture.unread == ()


def test_a_structure_whose_command_was_not_copied():
    capture = read("$7 = {suspend = 0, rendezvous_req_cpus = {__bits = {15, 0}}, rendezvous_done_cpus = {__bits = {11, 0}}}\n")
    assert capture.vms[0].done == frozenset({0, 1, 3})


def test_struct_thread():
    capture = read(
        """
        (kgdb) p *$td
        $1 = {td_tid = 100860, td_name = "vcpu 0\\000\\000", td_wmesg = 0xffffffff806098a3 "vmrndv", td_wchan = 0xfffffe0000723110, td_inhibitors = 2, td_state = TDS_INHIBITED, td_oncpu = -1}
        """
    )
    thread = only(capture)
    assert (thread.tid, thread.name, thread.state, thread.wmesg, thread.wchan) == (
        100860, "vcpu 0", "sleeping", "vmrndv", 0xFFFFFE0000723110,
    )  # fmt: skip


@pytest.mark.parametrize(
    "line",
    [
        "proc[3] pid=973 thr[1] td=0xfffff800b888e780 tid=100411 td_state=1 inhib=2 wchan=0xfffff800037cf600 wmesg=kqread",
        "  td 0xfffff800b888e780 tid 100411 name vcpu 0 wmesg kqread wchan 0xfffff800037cf600 inhib 2 state 1 oncpu -1 pcb 0x1",
        "tid 100411: td 0xfffff800b888e780 wmesg: kqread wchan: 0xfffff800037cf600 state: 1 inhib: 2",
    ],
)
def test_scripted_walks(line):
    thread = only(read(f"proc 0xfffff80002128000 pid 973 comm bhyve state 1\n{line}\n", indented=False))
    assert (thread.tid, thread.state, thread.wmesg, thread.wchan, thread.address) == (
        100411, "sleeping", "kqread", 0xFFFFF800037CF600, 0xFFFFF800B888E780,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("state", "inhibitors", "expected"),
    [(1, 2, "sleeping"), (1, 8, "lock"), (1, 1, "suspended"), (1, 16, "iwait"), (4, 0, "running"), (2, 0, "runnable"),
     (3, 0, "runnable"), (0, 0, "inactive"), (1, 3, "sleeping")],
)  # fmt: skip
def test_states_in_numbers(state, inhibitors, expected):
    line = f"  td 0x1 tid 100411 name x wmesg (null) wchan (nil) inhib {inhibitors} state {state} oncpu 255 pcb 0x1\n"
    thread = only(read("proc 0x1 pid 1 comm a state 1\n" + line, indented=False))
    assert (thread.state, thread.wmesg, thread.wchan) == (expected, None, None)


def test_a_walk_with_symbols():
    capture = read(
        """
        tid 100047 bhyvectl: pcb_rip 0xffffffff803ab792 pcb_rsp 0xfffffe0011ff1548 pcb_rbp 0xfffffe0011ff15f0
        mi_switch + 210 in section .text
        vm_run + 1713 in section .text of /boot/kernel/vmm.ko
        """
    )
    thread = only(capture)
    assert (thread.tid, thread.name) == (100047, "bhyvectl")
    assert [(frame.function, frame.offset, frame.module) for frame in thread.frames] == [
        ("mi_switch", 210, None),
        ("vm_run", 1713, "/boot/kernel/vmm.ko"),
    ]


@pytest.mark.parametrize(
    "line",
    [
        "[Switching to thread 45 (Thread 100567)]\n#0",
        "[Switching to thread 45 (Thread 100567)]#0",
        "[Switching to Thread 100567]\n#0",
        "[Switching to LWP 100567 of process 16]\n#0",
        "[Current thread is 1 (LWP 100567)]\n#0",
    ],
)
def test_the_thread_that_gdb_switched_to(line):
    capture = read(
        f"{line}  sched_switch (td=0x1, newtd=0x0,\n    flags=0)\n    at /usr/src/sys/kern/sched_ule.c:1\n"
        "(kgdb) bt\n#0  sched_switch (td=0x1, newtd=0x0, flags=0) at /usr/src/sys/kern/sched_ule.c:1\n"
        "#1  0xffffffff803ab792 in mi_switch (flags=1) at /usr/src/sys/kern/kern_synch.c:436\n",
        indented=False,
    )
    assert (only(capture).tid, functions(only(capture))) == (100567, ["sched_switch", "mi_switch"])
    assert capture.unread == ()


def test_proc_names_the_process_and_gdb_the_thread():
    capture = read(
        """
        (kgdb) proc 2210
        [Switching to thread 45 (Thread 100567)]
        #0  sched_switch (td=0x1) at /usr/src/sys/kern/sched_ule.c:2143
        (kgdb) tid 0xfffff80004c98000
        invalid thread address
        """
    )
    assert (only(capture).pid, only(capture).tid) == (2210, 100567)
    assert capture.unread == ()


def test_info_threads_of_gdb_6():
    capture = read(
        """
        (kgdb) info threads
          212 Thread 100571 (PID=1234: bhyve/vcpu 1)  sched_switch (td=0xfffff80004c99000,
            newtd=<value optimized out>, flags=<value optimized out>)
            at /usr/src/sys/kern/sched_ule.c:1945
          211 Thread 100012 (PID=12: intr/swi4: clock (0))  sched_switch (td=0xfffff80004c98000,
            newtd=<value optimized out>) at /usr/src/sys/kern/sched_ule.c:1945
        * 2 Thread 100600 (PID=2000: sysctl)  doadump (textdump=<value optimized out>)
            at pcpu.h:219
        (kgdb) bt
        #0  doadump (textdump=<value optimized out>) at pcpu.h:219
        #1  0xffffffff80951112 in kern_reboot (howto=260) at /usr/src/sys/kern/kern_shutdown.c:451
        """
    )
    assert [(thread.pid, thread.tid, thread.name, functions(thread)[-1]) for thread in capture.threads] == [
        (1234, 100571, "vcpu 1", "sched_switch"),
        (12, 100012, "swi4: clock (0)", "sched_switch"),
        (2000, 100600, "sysctl", "kern_reboot"),
    ]
    assert capture.unread == ()


@pytest.mark.parametrize(
    "pager",
    [
        "---Type <return> to continue, or q <return> to quit---",
        "--Type <RET> for more, q to quit, c to continue without paging--",
        "--Type <RET> for more, q to quit, c to continue without paging--c",
    ],
)
@pytest.mark.parametrize("glued", [False, True])
def test_the_pager_in_a_stack(pager, glued):
    if glued:
        pager = pager.removesuffix("c")
    first, second, rest = STACK.partition("#1")
    capture = read(f"Thread 4 (Thread 100567):\n{first}{pager}{'' if glued else chr(10)}{second}{rest}", indented=False)
    assert len(only(capture).frames) == 5
    assert capture.unread == ()


@pytest.mark.parametrize("gap", ["...\n", "[...]\n", "(...)\n\n", "<snip>\n"])
def test_frames_left_out(gap):
    capture = read(f"#2  0xffffffff80b8f2c9 in _cv_wait_sig (cvp=0x1) at a.c:1\n{gap}#5  0xffffffff81ed12a2 in f () at a.c:2\n", indented=False)
    assert functions(only(capture)) == ["_cv_wait_sig", "f"]
    assert capture.unread == ()


def test_a_frame_that_is_shown_again_is_no_thread():
    capture = read(
        """
        #0  doadump (textdump=1) at /usr/src/sys/kern/kern_shutdown.c:312
        312\t\tsavectx(&dumppcb);
        (kgdb) bt
        #0  doadump (textdump=1) at /usr/src/sys/kern/kern_shutdown.c:312
        #1  0xffffffff80951112 in kern_reboot (howto=260) at /usr/src/sys/kern/kern_shutdown.c:451
        #2  0xffffffff80951383 in panic (fmt=0x0) at /usr/src/sys/kern/kern_shutdown.c:687
        (kgdb) frame 1
        #1  0xffffffff80951112 in kern_reboot (howto=260) at /usr/src/sys/kern/kern_shutdown.c:451
        451\t\tdoadump(TRUE);
        (kgdb) up
        #2  0xffffffff80951383 in panic (fmt=0x0) at /usr/src/sys/kern/kern_shutdown.c:687
        687\t\tvpanic(fmt, ap);
        """
    )
    assert len(only(capture).frames) == 3
    assert capture.unread == ()


def test_the_panic_on_the_console_is_of_the_thread_that_dumped():
    capture = read(
        """
        Unread portion of the kernel message buffer:
        current process\t\t= 2210 (vcpu 1)
        panic: page fault
        cpuid = 2
        KDB: stack backtrace:
        #0 0xffffffff80c694a5 at kdb_backtrace+0x65
        #1 0xffffffff80c1bb5f at vpanic+0x17f
        #2 0xffffffff80c1b9d3 at panic+0x43
        #3 0xffffffff810afdf5 at trap_fatal+0x385
        #4 0xffffffff810875b8 at calltrap+0x8
        #5 0xffffffff82a2fa3c at vm_run+0x6ac

        (kgdb) #0  __curthread () at /usr/src/sys/amd64/include/pcpu_aux.h:55
        #1  doadump (textdump=<optimized out>) at /usr/src/sys/kern/kern_shutdown.c:399
        #2  0xffffffff80c1bbce in vpanic (fmt=0xffffffff811b2f41 "%s") at /usr/src/sys/kern/kern_shutdown.c:920
        #3  0xffffffff80c1b9d3 in panic (fmt=<unavailable>) at /usr/src/sys/kern/kern_shutdown.c:844
        #4  0xffffffff810afdf5 in trap_fatal (frame=0xfffffe0272a57930, eva=40) at /usr/src/sys/amd64/amd64/trap.c:944
        #5  <signal handler called>
        #6  vioapic_write (vcpuid=1) at /usr/src/sys/amd64/vmm/io/vioapic.c:396
        #7  0xffffffff82a2fa3c in vm_run (vm=0xfffffe01f6c00000) at /usr/src/sys/amd64/vmm/vmm.c:1720
        """
    )
    assert functions(only(capture))[:2] == ["__curthread", "doadump"]
    assert (only(capture).pid, only(capture).name) == (2210, "vcpu 1")
    assert capture.unread == ()


def test_the_panic_on_the_console_is_of_the_traced_thread_too():
    capture = read(
        """
        current process\t\t= 2210 (vcpu 1)
        panic: page fault
        KDB: stack backtrace:
        #0 0xffffffff80c694a5 at kdb_backtrace+0x65
        #1 0xffffffff80c1bb5f at vpanic+0x17f
        #2 0xffffffff80c1b9d3 at panic+0x43
        #3 0xffffffff82a2fa3c at vm_run+0x6ac

        (kgdb) acttrace
        Tracing command bhyve pid 2210 tid 100862 (CPU 2)
        #0  doadump (textdump=<optimized out>) at /usr/src/sys/kern/kern_shutdown.c:399
        #1  0xffffffff80c1bbce in vpanic (fmt=0xffffffff811b2f41 "%s") at /usr/src/sys/kern/kern_shutdown.c:920
        #2  0xffffffff80c1b9d3 in panic (fmt=<unavailable>) at /usr/src/sys/kern/kern_shutdown.c:844
        #3  0xffffffff82a2fa3c in vm_run (vm=0xfffffe01f6c00000) at /usr/src/sys/amd64/vmm/vmm.c:1720
        """
    )
    assert (only(capture).tid, functions(only(capture))) == (100862, ["doadump", "vpanic", "panic", "vm_run"])


def test_two_panics_on_a_console_are_two_threads():
    trace = "#1 0xffffffff80c1bb5f at vpanic+0x17f\n#2 0xffffffff80c1b9d3 at panic+0x43\n#3 0xffffffff810afdf5 at trap_fatal+0x385\n"
    tail = "#5 0xffffffff810b06ec at amd64_syscall+0x10c\n#6 0xffffffff81087ecb at fast_syscall_common+0xf8\n"
    text = "".join(
        f"panic: page fault\nKDB: stack backtrace:\n#0 0xffffffff80c694a5 at kdb_backtrace+0x65\n{trace}"
        f"#4 0xffffffff82a2fa3c at {name}+0x6ac\n{tail}\n"
        for name in ("vm_run", "unp_dispose", "vm_run")
    )
    assert len(read(text, indented=False).threads) == 2


def test_acttrace():
    capture = read(
        """
        (kgdb) acttrace
        Tracing command idle pid 11 tid 100003 (CPU 0)
        #0  cpustop_handler () at /usr/src/sys/x86/x86/mp_x86.c:1529
        #1  0xffffffff810f7fc9 in ipi_nmi_handler () at /usr/src/sys/x86/x86/mp_x86.c:1486

        Tracing command "bhyve", '\\000' <repeats 14 times> pid 2210 tid 100860 (CPU 1)
        #0  cpustop_handler () at /usr/src/sys/x86/x86/mp_x86.c:1529
        #1  0xffffffff82a4d1a2 in vmx_run (vcpui=0x1) at /usr/src/sys/amd64/vmm/intel/vmx.c:3100

        """
    )
    assert [(thread.pid, thread.tid, thread.command, thread.cpu, len(thread.frames)) for thread in capture.threads] == [
        (11, 100003, "idle", 0, 2), (2210, 100860, "bhyve", 1, 2),
    ]  # fmt: skip
    assert capture.unread == ()


def test_a_boot_in_the_message_buffer_is_of_the_same_time():
    stack = "#0  sched_switch (td=0x1) at /usr/src/sys/kern/sched_ule.c:1\n"
    capture = read(
        "Unread portion of the kernel message buffer:\nCopyright (c) 1992-2021 The FreeBSD Project.\n\n"
        "(kgdb) info threads\n  Id   Target Id         Frame \n"
        "* 1    Thread 100567 (PID=16: bhyve) sched_switch (td=0x1) at sched_ule.c:1\n"
        f"(kgdb) thread apply all bt\n\nThread 1 (Thread 100567 (PID=16: bhyve)):\n{stack}",
        indented=False,
    )
    assert only(capture).tid == 100567


def test_a_stack_that_was_typed_before_info_threads_is_the_current_threads():
    capture = read(
        """
        (kgdb) bt
        #0  doadump (textdump=1) at /usr/src/sys/kern/kern_shutdown.c:312
        #1  0xffffffff80951112 in kern_reboot (howto=260) at /usr/src/sys/kern/kern_shutdown.c:451
        #2  0xffffffff80951383 in vpanic (fmt=0x0) at /usr/src/sys/kern/kern_shutdown.c:687
        #3  0xffffffff80951393 in panic (fmt=0x0) at /usr/src/sys/kern/kern_shutdown.c:700
        (kgdb) info threads
        * 2 Thread 100600 (PID=2000: sysctl)  doadump (textdump=1) at /usr/src/sys/kern/kern_shutdown.c:312
          1 Thread 100601 (PID=2001: sh)  sched_switch (td=0x1) at /usr/src/sys/kern/sched_ule.c:1
        """
    )
    assert [(thread.tid, len(thread.frames)) for thread in capture.threads] == [(100600, 4), (100601, 1)]


@pytest.mark.parametrize("prompt", ["(kgdb) (kgdb) (kgdb)  > > > >", "(kgdb) ", ""])
def test_a_walk_behind_prompts(prompt):
    line = "proc[0] pid=982 comm=sleep thr[0] td=0xfffff800b888e780 tid=100411 td_state=1 wchan=0xfffff800037cf600 wmesg=nanslp"
    thread = only(read(f"{prompt}{line}\n", indented=False))
    assert (thread.pid, thread.tid, thread.command, thread.wmesg) == (982, 100411, "sleep", "nanslp")


def test_columns_made_by_hand():
    capture = read(
        """
        #0  sched_switch          sched_ule.c:1945
        #1  mi_switch
        #2  if_detach_internal
        #3  if_detach             if.c:900
        """
    )
    assert functions(only(capture)) == ["sched_switch", "mi_switch", "if_detach_internal", "if_detach"]
    assert [frame.line for frame in only(capture).frames] == [1945, None, None, 900]
    assert capture.unread == ()


def test_where_a_live_kernels_debugger_stands_first():
    capture = read(
        """
        # kgdb
        Reading symbols from /boot/kernel/kernel...
        sched_switch (td=0xfffff80003a0b740, newtd=0xfffff800036dc000,
            flags=<optimized out>)
            at /usr/src/sys/kern/sched_ule.c:2143
        2143\t\t\tcpuid = PCPU_GET(cpuid);
        (kgdb) quit
        """
    )
    assert capture.threads == ()
    assert [item.where.first for item in capture.unread] == [1]


def test_garbage_behind_the_system_calls_entry():
    thread = only(
        read(
            """
            #10 0xffffffff80d5694f in amd64_syscall (td=0xfffff80004c99000) at subr_syscall.c:134
            #11 0xffffffff80d3bf9b in fast_syscall_common () at /usr/src/sys/amd64/amd64/exception.S:396
            #12 0xffffffff808527d0 in gdbhack_sys_init ()
            #13 0x000000000000000a in ?? ()
            """
        )
    )
    assert functions(thread) == ["amd64_syscall", "fast_syscall_common"]


ATTACHED = """Attaching to process 4094
Reading symbols from /usr/sbin/bhyve...
[New LWP 100570 of process 4094]
[Switching to LWP 100570 of process 4094]
0x0000000801b0d2ca in _kevent () from /lib/libc.so.7
(gdb) info threads
  Id   Target Id                                                     Frame
* 1    Thread 0x801c16000 (LWP 100568 of process 4094 "mevent")      _kevent () at _kevent.S:4
  2    LWP 100570 of process 4094 "vcpu 0"          0x0000000801b0b4da in ioctl () from /lib/libc.so.7
(gdb) thread apply all bt

Thread 2 (LWP 100570 of process 4094 "vcpu 0"):
#0  0x0000000801b0b4da in ioctl () from /lib/libc.so.7
#1  0x000000080123a5c0 in vm_run () from /lib/libvmmapi.so.6
#2  0x0000000801a29b9a in ?? () from /lib/libthr.so.3
#3  0x0000000000000000 in ?? ()
Backtrace stopped: Cannot access memory at address 0x7fffdf9fc000

Thread 1 (Thread 0x801c16000 (LWP 100568 of process 4094 "mevent")):
#0  _kevent () at _kevent.S:4
#1  0x00000000002214d6 in mevent_dispatch () at /usr/src/usr.sbin/bhyve/mevent.c:520
(gdb) detach
Detaching from program: /usr/sbin/bhyve, process 4094
[Inferior 1 (process 4094) detached]
"""


def test_a_process_that_gdb_attached_to():
    capture = read(ATTACHED, indented=False)
    assert [(thread.pid, thread.tid, thread.command, thread.name, functions(thread)) for thread in capture.threads] == [
        (4094, 100568, "bhyve", "mevent", ["_kevent", "mevent_dispatch"]),
        (4094, 100570, "bhyve", "vcpu 0", ["ioctl", "vm_run", "??"]),
    ]
    assert capture.unread == ()
    # what the kernel does in the ioctl is not shown
    assert [wait.kind for wait in diagnose(capture).waits] == ["event", "unknown"]


def test_a_mutex_of_the_program_is_no_deadlock_of_the_kernel_and_not_nothing_either():
    locked = (
        "#0  _umtx_op_err () at /usr/src/lib/libthr/arch/amd64/amd64/_umtx_op_err.S:37\n"
        "#1  0x0000000800a5cd2f in __thr_umutex_lock (mtx=0x801a2c000, id=100862) at /usr/src/lib/libthr/thread/thr_umtx.c:90\n"
        "#2  0x0000000800a56d5a in mutex_lock_sleep (curthread=0x801a12500) at /usr/src/lib/libthr/thread/thr_mutex.c:708\n"
    )
    waiting = (
        "#0  _umtx_op_err () at /usr/src/lib/libthr/arch/amd64/amd64/_umtx_op_err.S:37\n"
        "#1  0x0000000800a5d2f6 in _thr_ucond_wait (cv=0x801a2d000, m=0x801a2c000) at /usr/src/lib/libthr/thread/thr_umtx.c:270\n"
        "#2  0x0000000000215a10 in blockif_thr (arg=0x801a40000) at /usr/src/usr.sbin/bhyve/block_if.c:356\n"
    )
    text = (
        f'(gdb) thread apply all bt\n\nThread 2 (LWP 100862 of process 2210 "vcpu 1"):\n{locked}\n'
        f'Thread 1 (LWP 100863 of process 2210 "blk-4:0-0"):\n{waiting}(gdb)\n'
    )
    found = diagnose(read_text(text)[0])
    assert [(wait.kind, wait.idle) for wait in found.waits] == [("user-lock", False), ("work", True)]
    assert [finding.verdict for finding in found.findings] == ["inconclusive"]
    assert found.findings[0].threads == (0,)


def test_a_user_stack_does_not_replace_the_kernels():
    user = (
        "Thread 13 (LWP 100571 of process 4094):\n#0  0x0000000801234567 in ioctl () from /lib/libc.so.7\n"
        "#1  0x0000000000231802 in vm_run (a=1) at /usr/src/lib/libvmmapi/vmmapi.c:1\n"
        "#2  0x0000000000231803 in vm_loop () at bhyverun.c:1\n"
    )
    kernel = "  PID    TID COMM                TDNAME              KSTACK\n 4094 100571 bhyve               vcpu 2              mi_switch+0x1 _sleep+0x1\n"
    for text in (user + "\n" + kernel, kernel + "\n" + user):
        assert functions(only(read_text(text)[0])) == ["mi_switch", "_sleep"]


def test_a_command_that_prints_nothing_of_threads_takes_its_answer():
    capture = read(
        """
        (gdb) info line vm_handle_rendezvous
        Line 1256 of "/usr/src/sys/amd64/vmm/vmm.c" starts at address 0xffffffff805a8df0 <vm_handle_rendezvous>.
        (gdb) ptype struct thread
        type = struct thread {
            const void *td_wchan;
            const char *td_wmesg;
        }
        (gdb)
        """
    )
    assert capture.unread == ()


def test_arguments():
    assert split_arguments('a=1, b=b@entry=0x2, s="x, y(", t={f = 1, g = 2}, c=<optimized out>, d=0x1 <f(int, int)>') == (
        ("a", "1"), ("b", "0x2"), ("s", '"x, y("'), ("t", "{f = 1, g = 2}"), ("c", "<optimized out>"), ("d", "0x1 <f(int, int)>"),
    )  # fmt: skip


def test_printed_values():
    assert parse_value("{a = 1, b = {c = 0x0, d = {1, 2}}, s = \"x\"}") == {
        "a": "1", "b": {"c": "0x0", "d": ["1", "2"]}, "s": "x",
    }  # fmt: skip


@pytest.mark.parametrize("quote", ["", "> ", "    "])
@pytest.mark.parametrize("place", [" in {} (x=1) at /usr/src/sys/a.c:{}", " at {}+0x{}"])
def test_numbers_that_stand_apart_from_their_sign(quote, place):
    """GitHub makes a link of ``#1``."""
    names = ["mi_switch", "sleepq_wait", "_cv_wait", "zio_wait", *(f"f{number}" for number in range(8)), "fork_trampoline"]
    rows = [f"#{number:<3}0xffffffff80c2b5d3" + place.format(name, number) for number, name in enumerate(names)]
    if " at {}+" in place:
        rows = [" ".join(row.split()) for row in rows]
    apart = "".join(f"{quote}{row.replace('#', '# ')}\n" for row in rows)
    capture = read(apart, indented=False)
    assert functions(only(capture)) == names
    assert capture.threads[0].told is False
    assert capture.unread == ()


def test_a_remark_with_a_number_is_no_frame():
    text = "# 1 of these hangs\n# 2 do not\n#   2210 100860 bhyve    vcpu 0    mi_switch+0xc2 _sleep+0x1f4 vm_run+0x2f1\n"
    assert [thread.tid for thread in read(text, indented=False).threads] == [100860]
