"""What stands in bug reports besides the output of one command: shapes met in real ones, with other facts in them."""

from __future__ import annotations

import pytest

from hangdiag.errors import InputError
from hangdiag.readers import read_text
from hangdiag.readers.files import read_paths
from hangdiag.wording import name
from tests.readers.help import functions, only
from tests.readers.help import read_accounted as read
from tests.traces import analysed

TRACED = """\
Tracing pid 12 tid 100045 td 0xfffff80003a5a000
kdb_enter() at kdb_enter+0x3b/frame 0xfffffe0077c3f620
swi_net() at swi_net+0x1b6/frame 0xfffffe0077c3fb20
fork_exit() at fork_exit+0x83/frame 0xfffffe0077c3fbf0
"""


@pytest.mark.parametrize(
    "before",
    [
        'curthread    = 0xfffff80003a5a000: pid 12 tid 100045 critnest 1 "swi1: netisr 2"',
        'cpuid        = 2\ncurthread    = 0xfffff80003a5a000: pid 12 "swi1: netisr 2"',
        "the rest is on the next screen.",
    ],
)
def test_a_header_glued_to_the_line_before_it(before):
    thread = only(read(before + TRACED, indented=False))
    assert (thread.pid, thread.tid) == (12, 100045)
    assert functions(thread) == ["kdb_enter", "swi_net", "fork_exit"]


def test_frames_of_mips():
    capture = read(
        """
        db> bt
        Tracing pid 15 tid 100063 td 0xc000000003a5a000
        kdb_enter+0x4c (?,?,?,?) ra ffffffff802f5db0 sp c0000000038d3748 sz 32
        vpanic+0xc8 (ffffffff80400000,c0000000038d3800,?,?) ra ffffffff802f5fb8 sp c0000000038d3768 sz 48
        --- exception, cause 8 badvaddr 10 ---
        uma_zalloc_arg+0x28 (?,?,?,?) ra 0 sp c0000000038d3798 sz 0
        """
    )
    thread = only(capture)
    assert (thread.tid, functions(thread)) == (100063, ["kdb_enter", "vpanic", "uma_zalloc_arg"])
    assert [frame.offset for frame in thread.frames] == [0x4C, 0xC8, 0x28]
    assert not capture.unread


def test_frames_of_powerpc():
    capture = read(
        """
        db> bt
        Tracing pid 15 tid 100063 td 0x3a5a000
        0xe0000000107fb4d0: at kdb_enter+0x60
        0xe0000000107fb560: at vpanic+0x1a4
        0xe0000000107fb620: kernel DSI read trap @ 0x10 by uma_zalloc_arg+0x28: srr1=0x9000000000009032
                    r1=0xe0000000107fb8e0 cr=0x24000022 xer=0x20000000 ctr=0xc000000000a5f0e8 sr=0x40000000
        0xe0000000107fb8e0: at zone_import+0x9c
        0xe0000000107fb950: user SC trap by 0x81027c998: srr1=0x900000000200f032
                    r1=0x3fffffffffffd8b0 cr=0x24002022 xer=0 ctr=0x81027c990 r2=0x8102a0000
        """
    )
    thread = only(capture)
    assert functions(thread) == ["kdb_enter", "vpanic", "uma_zalloc_arg", "zone_import"]
    assert not capture.unread


LIST = "_sleep()\nvm_handle_rendezvous()\nvm_run()\nvmmdev_ioctl()\n"


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize("indent", ["", "    "])
def test_a_list_of_calls(order, indent):
    lines = LIST.splitlines()[::order]
    capture = read("vcpu 2 is stuck in:\n\n" + "".join(f"{indent}{line}\n" for line in lines) + "\nAny idea?\n", indented=False)
    thread = only(capture)
    assert functions(thread) == ["_sleep", "vm_handle_rendezvous", "vm_run", "vmmdev_ioctl"]
    assert (thread.name, thread.told) == ("vcpu 2", True)


def test_calls_of_a_script_are_no_stack():
    captures = read_text("set_up()\nrun_tests()\nread_results()\ntear_down()\nprint()\n")
    assert not captures[0].threads


def test_one_running_thread_tells_nothing_of_the_others():
    stack = "\n".join(TRACED.splitlines()[2:])
    for text in (stack, TRACED.splitlines()[0] + "\n" + stack):
        finding = analysed(text + "\n").findings[0]
        assert (finding.verdict, finding.certainty) == ("inconclusive", "possible"), text
        assert "only one thread" in finding.summary


QEMU = """\
(gdb) info threads
  Id   Target Id                    Frame
* 1    Thread 1 (CPU#0 [running]) 0xffffffff80c7e5c4 in spinlock_exit () at /usr/src/sys/x86/x86/machdep.c:1
  2    Thread 2 (CPU#1 [halted ]) cpu_idle_acpi (sbt=1) at /usr/src/sys/x86/x86/cpu_machdep.c:550
"""


def test_the_cpus_of_a_machine_on_qemu():
    diagnosis = analysed(QEMU)
    assert [(thread.cpu, thread.state, functions(thread)) for thread in diagnosis.capture.threads] == [
        (0, "running", ["spinlock_exit"]),
        (1, "running", ["cpu_idle_acpi"]),
    ]
    # who sleeps is not shown
    assert diagnosis.findings[0].verdict == "inconclusive"


def test_the_stacks_of_cpus_replace_what_info_threads_told():
    stacks = "(gdb) thread apply all bt\n" + "".join(
        f"\nThread {cpu + 1} (Thread {cpu + 1} (CPU#{cpu} [running])):\n#0  {function} () at x.c:1\n#1  0xffffffff80bd1a63 in fork_exit () at x.c:2\n"
        for cpu, function in ((1, "cpu_idle_acpi"), (0, "spinlock_exit"))
    )
    expected = [(0, ["spinlock_exit", "fork_exit"]), (1, ["cpu_idle_acpi", "fork_exit"])]
    for text in (QEMU + stacks, stacks + QEMU):
        capture = read(text, indented=False)
        assert sorted((thread.cpu, functions(thread)) for thread in capture.threads) == expected
    capture = read(QEMU + "(gdb) bt\n#0  spinlock_exit () at x.c:1\n#1  0xffffffff80bd1a63 in fork_exit () at x.c:2\n", indented=False)
    assert [(thread.cpu, len(thread.frames)) for thread in capture.threads] == [(1, 1), (0, 2)]


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("panic: vm_fault: fault on nofault entry\ncpuid = 1\ntime = 1612345678\n", "a panic (vm_fault: fault on nofault entry)"),
        (
            "Fatal trap 12: page fault while in kernel mode\ncpuid = 3; apic id = 06\nfault virtual address\t= 0x10\n",
            "a trap (Fatal trap 12: page fault while in kernel mode)",
        ),
        (
            "lock order reversal:\n 1st 0xfffff80003a5a000 ufs (ufs, lockmgr) @ /usr/src/sys/kern/vfs_mount.c:1234\n"
            " 2nd 0xfffff80003a5b000 devfs (devfs, lockmgr) @ /usr/src/sys/kern/vfs_mount.c:1235\n",
            "a warning of witness (lock order reversal)",
        ),
    ],
)
def test_what_was_seen_without_a_thread_is_said(tmp_path, text, seen):
    path = tmp_path / "console.txt"
    path.write_text(text)
    with pytest.raises(InputError, match="no thread recognised") as caught:
        read_paths([str(path)], None)
    assert f"only {seen}" in str(caught.value)


@pytest.mark.parametrize(
    ("form", "release", "arch"),
    [
        ("Type | Version/Name\n--- | ---\nDistribution Name | FreeBSD\nDistribution Version | 13.1-RELEASE-p2\nArchitecture | amd64\n", "13.1-RELEASE-p2", "amd64"),
        ("| Distribution Name | FreeBSD |\n| Distribution Version | 14.0-CURRENT |\n| Architecture | arm64 |\n", "14.0-CURRENT", "arm64"),
        ("FreeBSD version | 13.1\nArchitecture | x86_64\n", "13.1", "amd64"),
        (
            "Distribution Name | FreeBSD\nDistribution Version |\nKernel Version | FreeBSD 15.0-CURRENT #0 main-06a98f\nArchitecture | AMD64\n",
            "15.0-CURRENT",
            "amd64",
        ),
        ("FreeBSD | 13-CURRENT\nDistribution Name | FreeBSD\nDistribution Version | 13\nLinux Kernel |\n", "13-CURRENT", None),
        ("Distribution Name | FreeBSD\nKernel Version | 1501501\nArchitecture | amd64\n", None, "amd64"),
        ("Distribution Name       | Debian\nDistribution Version    | 12.4\nArchitecture    | x86_64\n", None, None),
    ],
)
def test_facts_in_the_form_of_an_issue(form, release, arch):
    stack = "mi_switch+0xc1 sleepq_wait+0x2f _cv_wait+0x166 txg_quiesce_thread+0x1f8\n"
    host = read("### System information\n\n" + form + "\n```\n" + stack + "```\n", indented=False).host
    assert (host.release, host.arch) == (release, arch)
    assert host.osreldate == (1501501 if "1501501" in form else None)


@pytest.mark.parametrize(
    ("functions_shown", "arch"),
    [
        ("amd64_syscall fast_syscall_common", "amd64"),
        ("do_el0_sync handle_el0_sync", "arm64"),
        ("syscall Xint0x80_syscall", None),
        ("fork_exit fork_trampoline", None),
    ],
)
def test_frames_tell_the_architecture(functions_shown, arch):
    capture = read("mi_switch sleepq_catch_signals sleepq_wait_sig _sleep " + functions_shown + "\n", indented=False)
    assert capture.host.arch == arch


def said(text):
    """Pid, tid, command, state and message of each thread of ``text``."""
    capture = read(text, indented=False)
    return [(one.pid, one.tid, one.command, one.state, one.wmesg) for one in capture.threads]


ROWS = " 2210 I    vmrndv bhyve: win11 (bhyve)\n 2250 D    vmstat bhyvectl --destroy --vm=win11\n"


@pytest.mark.parametrize(
    "command",
    ["", "# ps -axo pid,state,wchan,command | grep bhyve\n", "$ ps ax -o pid,state,wchan,command|grep -v 'kernel'\n"],
)
def test_rows_of_columns_of_choice_without_their_header(command):
    assert said("It is stuck:\n\n" + command + ROWS) == [
        (2210, None, "bhyve", "sleeping", "vmrndv"),
        (2250, None, "bhyvectl", "sleeping", "vmstat"),
    ]


def test_a_command_tells_the_columns_of_rows_without_their_header():
    text = "root@host:~ # ps -H -o user,tid,pid,mwchan,state,tdname -p 2210 | grep vcpu\n"
    text += "root 100860  2210 vmrndv   D    vcpu 0\nroot 100861  2210 vmstat   D+   vcpu 1\n"
    assert said(text) == [
        (2210, 100860, None, "sleeping", "vmrndv"),
        (2210, 100861, None, "sleeping", "vmstat"),
    ]
    assert [thread.name for thread in read(text, indented=False).threads] == ["vcpu 0", "vcpu 1"]


def test_a_command_above_a_header_changes_nothing():
    text = "$ ps -axo pid,state,wchan,command\n  PID STAT WCHAN  COMMAND\n"
    assert said(text + ROWS) == said(ROWS)


@pytest.mark.parametrize(
    "row",
    [
        "root  2210   0.0  12.3 8421376 8123456  -  D    10:21     12:33.45 bhyve: win11 (bhyve)",
        " 2210  0- DC   593:57.50 bhyve: win11 (bhyve)",
        " 2210 v0  D+     0:00.00 bhyve: win11 (bhyve)",
    ],
)
def test_rows_of_other_forms_of_ps_without_their_header(row):
    assert said("% ps aux | grep bhyve\n" + row + "\n") == [(2210, None, "bhyve", "sleeping", None)]


@pytest.mark.parametrize(
    "row",
    [
        "root           1  0.0  0.1 168140 11852 ?        Ss   Oct10   0:05 /sbin/init",
        "12 I have seen that too",
        "  1234 ?        D      0:05 qemu-system-x86",
        "3  D  the third one",
    ],
)
def test_what_only_looks_like_rows(row):
    assert not said(row + "\n")


WARNING = """\
 1st 0xc165bdec inp (tcpinp) @ /usr/src/sys/netinet/tcp_syncache.c:1161
 2nd 0xc07cd240 pf task mtx (pf task mtx) @ /usr/src/sys/contrib/pf/net/pf.c:5828
KDB: stack backtrace:
witness_checkorder(c07cd240,9,c075e590,16c4,1) at witness_checkorder+0x5bb
_mtx_lock_flags(c07cd240,0,c075e590,16c4,c07d70a0) at _mtx_lock_flags+0x54
pf_test(2,c1379000,d51b09a4,c13f9840,c08090e0) at pf_test+0x87
"""


@pytest.mark.parametrize("quote", ["", "%  ", "> "])
def test_a_warning_of_witness_without_its_heading_is_no_thread(quote):
    capture = read("".join(f"{quote}{line}\n" for line in WARNING.splitlines()), indented=False)
    assert not capture.threads
    assert not capture.unread


def test_frames_with_their_place_in_the_source():
    text = """\
panic() at panic+0x43 sys/kern/kern_shutdown.c:1000
trap_fatal() at trap_fatal+0x3f9 sys/amd64/amd64/trap.c:939/frame 0xfffffe0046d0f3a0
sleepq_remove(ffff8000ffff14a8,0) at tdsigwakeup+0x1a sleepq_lock sys/kern/subr_sleepqueue.c:260 [inline]
tdsigwakeup(ffff8000ffff14a8,0) at tdsigwakeup+0x1a sys/kern/kern_sig.c:-1
"""
    thread = only(read(text, indented=False))
    assert functions(thread) == ["panic", "trap_fatal", "sleepq_lock", "tdsigwakeup"]
    assert [(frame.file, frame.line) for frame in thread.frames] == [
        ("sys/kern/kern_shutdown.c", 1000),
        ("sys/amd64/amd64/trap.c", 939),
        ("sys/kern/subr_sleepqueue.c", 260),
        ("sys/kern/kern_sig.c", None),
    ]


def test_a_backtrace_of_mips_behind_a_message():
    text = "KDB: stack backtrace:\nkdb_backtrace+0x74 (?,?,?,?) ra ffffffff8064cd48 sp c000000028246b80 sz 16\n"
    text += "trap+0xbac (?,?,?,?) ra 0 sp c000000028246d80 sz 272\n--- exception, cause 9800000006c8d000 badvaddr 0 ---\n"
    text += "sched_switch+0xb70 (?,?,?,?) ra ffffffff803717ac sp c000000028247210 sz 160\n"
    assert functions(only(read(text, indented=False))) == ["kdb_backtrace", "trap", "sched_switch"]


@pytest.mark.parametrize("threads", [1, 20, 60])
def test_some_threads_at_rest_are_not_a_whole_host(threads):
    stack = "mi_switch+0xe2 sleepq_wait+0x2c _sleep+0x247 taskqueue_thread_loop+0xf1 fork_exit+0x83 fork_trampoline+0xe"
    rows = "".join(f"    0 {100400 + number} kernel              {f'worker {number}':<19} {stack}\n" for number in range(threads))
    finding = analysed(rows).findings[0]
    assert (finding.verdict, finding.certainty) == ("no-hang", "likely" if threads == 60 else "possible")


def test_a_vm_whose_vcpus_are_not_shown_may_hang():
    stack = "mi_switch+0xe2 sleepq_catch_signals+0x2c0 sleepq_wait_sig+0x10 _sleep+0x2c4 kqueue_kevent+0x9f0 kern_kevent+0x98"
    finding = analysed(f" 2210 101744 bhyve               mevent              {stack}\n").findings[0]
    assert (finding.verdict, finding.certainty) == ("no-hang", "possible")


def test_who_dumps_has_panicked():
    stack = "#0  __curthread () at pcpu_aux.h:55\n#1  doadump (textdump=0) at kern_shutdown.c:399\n"
    stack += "#2  0xffffffff804c85fa in db_dump (dummy=<optimized out>) at db_command.c:575\n"
    finding = analysed("(kgdb) bt\n" + stack).findings[0]
    assert finding.summary.startswith("the kernel panicked")


@pytest.mark.parametrize("form", ["{name}() at {name}+0x3b/frame 0xfffffe0077c3f6{number:02x}", "#{number} 0xffffffff80c2b0d3 at {name}+0x43"])
def test_a_stack_that_witness_printed_is_no_thread(form):
    names = ["db_trace_self_wrapper", "kdb_backtrace", "_witness_debugger", "witness_checkorder", "__mtx_lock_flags", "vm_run"]
    lines = [form.format(name=name, number=number) for number, name in enumerate(names)]
    assert not read("\n".join(lines) + "\n", indented=False).threads
    # but who has entered the debugger is there
    lines = [form.format(name=name, number=number) for number, name in enumerate(["kdb_enter", *names[2:]])]
    assert only(read("\n".join(lines) + "\n", indented=False)).frames


@pytest.mark.parametrize(
    "table",
    [
        "USER       PID %CPU %MEM    VSZ   RSS TTY      STAT START   TIME COMMAND\n"
        "root      4323  0.0  0.0      0     0 ?        D    Dec05   0:01 [txg_quiesce]\n",
        "$ ps -eo user,pid,state,wchan,cmd | grep D\nroot  2770 D    txg_re  [z_wr_int_h/0]\n",
        "$ ps -eo user,pid,state,wchan:8,comm | grep D\nroot  2770 D    txg_re  z_wr_int_h\n",
        "F S   UID   PID  PPID  C PRI  NI ADDR SZ WCHAN  TTY          TIME CMD\n"
        "1 D     0  4323     2  0  80   0 -     0 txg_qu ?        00:00:01 txg_quiesce\n",
    ],
)
def test_tables_of_linux_are_left_alone(table):
    assert not said(table)


def test_a_thread_on_a_cpu_first_among_rows_without_a_header():
    rows = (
        " 1094 100161 Xorg                -                   thread_lock_flags_ kern_yield linux_cdev_pager_populate vm_fault calltrap \n"
        " 1094 100205 Xorg                amdgpu_cs:0         mi_switch sleepq_catch_signals sleepq_wait_sig _sleep umtxq_sleep \n"
    )
    one, other = read("procstat -ak\n" + rows, indented=False).threads
    assert (one.tid, one.command, one.name) == (100161, "Xorg", None)
    assert functions(one) == ["thread_lock_flags_", "kern_yield", "linux_cdev_pager_populate", "vm_fault", "calltrap"]
    assert other.tid == 100205


def test_a_trap_behind_the_message_buffers_times(tmp_path):
    path = tmp_path / "dmesg.txt"
    path.write_text("[309.253512] Fatal trap 9: general protection fault while in kernel mode\n[309.253533] cpuid = 5; apic id = 05\n")
    with pytest.raises(InputError, match=r"only a trap \(Fatal trap 9: general protection"):
        read_paths([str(path)], None)


def test_threads_of_a_vm_on_illumos_are_not_all_in_ioctls():
    text = """\
> 0t19442::pid2proc | ::walk thread | ::stacks
THREAD           STATE    SOBJ                COUNT
fffffe594a0cc7e0 SLEEP    CV                      1
                 swtch+0x133
                 stop+0x4a4
                 isjobstop+0xc4

fffffe594a0b4bc0 SLEEP    CV                      2
                 swtch+0x133
                 cv_wait_sig+0x171
                 vm_handle_hlt+0x167
                 vm_run+0x2d7
                 vmmdev_do_ioctl+0x826

fffffe594a0b5ba0 SLEEP    SHUTTLE                 1
                 swtch_to+0xd6
                 shuttle_swtch+0x2b8
                 door_unref+0x99
                 doorfs32+0x15a
"""
    diagnosis = analysed(text)
    assert [wait.kind for wait in diagnosis.waits] == ["stopped", "vcpu-halt", "event", "vcpu-halt"]
    assert [name(diagnosis.scene, index) for index in range(3)] == ["a thread of its process", "a vCPU thread", "a thread of its process"]


def test_registers_of_arm64_with_symbols():
    text = """\
Fatal data abort:
  x0: 0x4d4c4b4a49484746
 x10: 0xffff0000ed056f60 (rt_cache + 0x0)
 x18: 0xffff0000f1055420 ($d + 0x15fc810)
  sp: 0xffff0000f1055420
 elr: 0xffff0000ed0544c0 (rt_walk + 0x8)
spsr: 0x0000000080000045
 far: 0x4d4c4b4a4948474e
panic: vm_fault failed: 0xffff0000ed0544c0 error 1
"""
    capture = read(text, indented=False)
    assert not capture.unread
    assert capture.host.panic == "vm_fault failed: 0xffff0000ed0544c0 error 1"


def test_a_panic_of_illumos():
    text = """\
panic[cpu7]/thread=fffffe8bf4a3b000:
BAD TRAP: type=e (#pf Page fault) rp=fffffe007ae3d910 addr=fffffe8bf48b83d0

fffffe007ae3d900 unix:trap+12b7 (fffffe007ae3d910, 10, 2)
fffffe007ae3d910 unix:_cmntrap+1cd ()
fffffe007ae3da30 vmm:vmm_kstat_read+6b ()
"""
    capture = read(text, indented=False)
    thread = only(capture)
    assert (thread.address, thread.cpu, functions(thread)) == (0xFFFFFE8BF4A3B000, 7, ["trap", "_cmntrap", "vmm_kstat_read"])
    assert capture.host.panic == "BAD TRAP: type=e (#pf Page fault) rp=fffffe007ae3d910 addr=fffffe8bf48b83d0"
    assert not capture.unread


def test_threads_of_a_program_without_addresses_do_not_run():
    text = """\
(gdb) info threads
  Id   Target Id         Frame
  2  Thread 802406400 (LWP 101329) runtime.sys_umtx_op () at runtime/sys_freebsd_amd64.s:21
* 1  LWP 101236 of process 2210 "mevent" ioctl_loop () at mevent.c:500

(gdb) thread apply all bt

Thread 2 (LWP 101329 of process 2210):
#0  runtime.sys_umtx_op () at runtime/sys_freebsd_amd64.s:21
#1  runtime.futexsleep () at runtime/os_freebsd.go:80
"""
    diagnosis = analysed(text)
    assert {wait.kind for wait in diagnosis.waits} == {"unknown"}
    # the kernel's own stack of the same thread counts more
    text += "\n 2210 101329 bhyve               -                   mi_switch+0x1 sleepq_wait+0x2 _sleep+0x3 umtxq_sleep+0x4 do_wait+0x5\n"
    assert "user-lock" in {wait.kind for wait in analysed(text).waits}


def test_a_panic_over_a_sleeping_owner():
    text = """\
Sleeping thread (tid 101392, pid 3574) owns a non-sleepable lock
KDB: stack backtrace of thread 101392:
sched_switch() at sched_switch+0x845/frame 0xfffffe016d209630
mi_switch() at mi_switch+0xc2/frame 0xfffffe016d209650
sleepq_timedwait() at sleepq_timedwait+0x2f/frame 0xfffffe016d209690
linux_schedule_timeout() at linux_schedule_timeout+0x87/frame 0xfffffe016d209720
panic: sleeping thread
cpuid = 4
KDB: stack backtrace:
vpanic() at vpanic+0x151/frame 0xfffffe016d3e2600
panic() at panic+0x43/frame 0xfffffe016d3e2660
propagate_priority() at propagate_priority+0x282/frame 0xfffffe016d3e2690
turnstile_wait() at turnstile_wait+0x30f/frame 0xfffffe016d3e26d0
"""
    diagnosis = analysed(text)
    assert [(thread.pid, thread.tid) for thread in diagnosis.capture.threads] == [(3574, 101392), (None, None)]
    expected = "the kernel panicked (sleeping thread); it was about to wait for a mutex whose owner sleeps"
    assert diagnosis.findings[0].summary == expected
