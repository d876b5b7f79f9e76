"""illumos' mdb and pstack: the same deadlock there, states, counts, and whose threads they are."""

from __future__ import annotations

import pytest

from hangdiag.readers import read_text
from tests.readers.help import functions, only, read
from tests.traces import analysed


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


def test_the_first_frame_is_not_taken_for_the_rest_of_a_folded_line():
    # the longest line of each stack is as wide as a mailer's
    one = """\
stack pointer for thread fffffe5a8f00{0}000 (bhyve/{0} [vcpu {0}]): fffffe0011224000
[ fffffe0011224000 _resume_from_idle+0x12b() ]
  fffffe0011224030 swtch+0x133(fffffe5a8f000000, 0)
  fffffe0011224060 cv_wait+0x60(fffffe5a8f000010, 0)
"""
    capture = read("".join(one.format(number) for number in range(3, 6)), indented=False)
    assert [thread.name for thread in capture.threads] == ["vcpu 3", "vcpu 4", "vcpu 5"]
    assert {len(thread.frames) for thread in capture.threads} == {3}
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
    first, second, *others = capture.threads
    assert len(others) == 51
    assert {(thread.address, thread.state, thread.frames) for thread in others} == {(None, second.state, second.frames)}
    assert (first.command, first.wchan, functions(first)) == (
        "bhyve", 0xFFFFFF031615718A, ["_resume_from_idle", "swtch", "cv_wait"],
    )  # fmt: skip
    assert (second.state, functions(second)) == ("sleeping", ["swtch", "cv_wait"])
    assert capture.unread == ()


ONE = """\
Loading modules: [ unix genunix specfs dtrace mac cpu.generic uppc apix zfs vmm ]
> ::pgrep bhyve
S    PID   PPID   PGID    SID    UID      FLAGS             ADDR NAME
R   2210      1   2210   2210      0 0x4a004000 fffffe0b1c9a3010 bhyve
> ::pgrep bhyve | ::walk thread | ::findstack -v
stack pointer for thread fffffe0b1c9a3c00 (bhyve/vcpu 0): fffffe007a5e5b20
[ fffffe007a5e5b20 _resume_from_idle+0x12b() ]
  fffffe007a5e5b50 swtch+0x133()
  fffffe007a5e5b90 cv_wait+0x68(fffffe0b20001330, fffffe0b20001338)
  fffffe007a5e5bd0 vmm`vm_handle_rendezvous+0x9a(fffffe0b20000000, 0)
  fffffe007a5e5c30 vmm`vm_run+0x2c4(fffffe0b20000000, 0, fffffe007a5e5c60)
  fffffe007a5e5cc0 vmm`vmmdev_do_ioctl+0x7d2(fffffe0b1d000000, 7601,
  fffffc7fef1ff9d0, 100003, fffffe0b0c2d0e80, fffffe007a5e5dd8)
  fffffe007a5e5d00 vmm`vmm_ioctl+0x12a(12900000003, 7601, fffffc7fef1ff9d0, 100003, fffffe0b0c2d0e80, fffffe007a5e5dd8)
  fffffe007a5e5e00 genunix`ioctl+0x9b(4, 7601, fffffc7fef1ff9d0)
  fffffe007a5e5f10 sys_syscall+0x17d()
stack pointer for thread fffffe0b1c9a4000 (bhyve/vcpu 1): fffffe007a6e5b20
[ fffffe007a6e5b20 _resume_from_idle+0x12b() ]
  fffffe007a6e5b50 swtch+0x133()
  fffffe007a6e5b90 cv_wait+0x68(fffffe0b20001330, fffffe0b20001338)
  fffffe007a6e5bd0 vmm`vcpu_set_state_locked+0x9a(fffffe0b20000000, 0, 1, 1)
  fffffe007a6e5bf0 vmm`vcpu_set_state+0x4a(fffffe0b20000000, 0, 1, 1)
  fffffe007a6e5c30 vmm`vcpu_lock_one+0x1c(fffffe0b1d000000, 0)
  fffffe007a6e5cc0 vmm`vmmdev_do_ioctl+0x7d2(fffffe0b1d000000, 7614, fffffc7fef1ff9d0, 100003, fffffe0b0c2d0e80, fffffe007a6e5dd8)
  fffffe007a6e5f10 sys_syscall+0x17d()
"""
VM_RUN = ["_resume_from_idle", "swtch", "cv_wait", "vm_handle_rendezvous", "vm_run", "vmmdev_do_ioctl", "vmm_ioctl", "ioctl", "sys_syscall"]
LOCK = ["_resume_from_idle", "swtch", "cv_wait", "vcpu_set_state_locked", "vcpu_set_state", "vcpu_lock_one", "vmmdev_do_ioctl", "sys_syscall"]


def test_the_deadlock_in_a_dump():
    diagnosis = analysed(ONE)
    capture = diagnosis.capture
    assert [(thread.pid, thread.tid, thread.command, thread.name, functions(thread)) for thread in capture.threads] == [
        (2210, None, "bhyve", "vcpu 0", VM_RUN),
        (2210, None, "bhyve", "vcpu 1", LOCK),
    ]
    # arguments tell which vCPU
    assert [thread.frames[4].number("vcpuid") for thread in capture.threads] == [0, 0]
    assert [(wait.kind, wait.via) for wait in diagnosis.waits] == [("rendezvous", "vm-run"), ("vcpu-state", "ioctl")]
    assert {(edge.waiter, edge.holder, edge.certainty) for edge in diagnosis.edges} == {(0, 1, "observed"), (1, 0, "observed")}
    finding = diagnosis.findings[0]
    assert (finding.verdict, finding.certainty, finding.threads) == ("deadlock", "proven", (0, 1))
    assert (capture.sources[0].format, capture.unread) == ("mdb", ())
    assert [process.pid for process in capture.processes] == [2210]


@pytest.mark.parametrize(
    ("older", "owner"),
    [
        ("> ::pgrep bhyve | ::walk thread | ::findstack -v", (2210, "bhyve")),
        ("> 0t2210::pid2proc |::walk thread |::findstack -v", (2210, "bhyve")),
        ("> 8a2::pid2proc | ::walk thread | ::findstack", (2210, "bhyve")),
        ("> ::walk thread | ::findstack -v", (None, None)),
    ],
)
def test_whose_threads_a_command_shows(older, owner):
    text = ONE.replace(" (bhyve/vcpu 0)", "").replace(" (bhyve/vcpu 1)", "")
    text = text.replace("> ::pgrep bhyve | ::walk thread | ::findstack -v", older)
    capture = read(text, indented=False)
    assert {(thread.pid, thread.command) for thread in capture.threads} == {owner}
    assert [functions(thread) for thread in capture.threads] == [VM_RUN, LOCK]
    assert capture.unread == ()


STACKS = """\
> ::stacks -m vmm
THREAD           STATE    SOBJ                COUNT
fffffe0b1c9a3c00 SLEEP    CV                      3
                 swtch+0x133
                 cv_wait+0x68
                 vm_handle_rendezvous+0x9a
                 vm_run+0x2c4
                 vmmdev_do_ioctl+0x7d2
                 vmm_ioctl+0x12a
                 cdev_ioctl+0x2b
                 ioctl+0x9b
                 sys_syscall+0x17d

fffffe0b1c9a4000 SLEEP    CV                      1
                 swtch+0x133
                 cv_wait+0x68
                 vcpu_set_state_locked+0x9a
                 vcpu_set_state+0x4a
                 vcpu_lock_one+0x1c
                 vcpu_lock_all+0x2c
                 vmmdev_do_ioctl+0x7d2
                 sys_syscall+0x17d

fffffe0b1c9a5000 ONPROC   <NONE>                  1
                 <no consistent stack found>

fffffe0b1c9a6000 SLEEP    MUTEX                   2
                 swtch+0x133
                 turnstile_block+0x5d0
                 mutex_vector_enter+0x38c
                 zfs`zil_commit+0x100
                 ... truncated ...

> ::stacks -a
THREAD           STATE    SOBJ                COUNT
fffffe0b1c9a7000 SLEEP    CV                      2
fffffe0b1c9a8000 SLEEP    CV                      -
                 swtch+0x133
                 cv_wait_sig+0x68
                 viona_worker_tx+0x100
                 viona_worker+0x20
                 thread_start+8

"""


def test_stacks_count_threads():
    diagnosis = analysed(STACKS)
    capture = diagnosis.capture
    assert [(thread.address is not None, thread.state, functions(thread)[:3]) for thread in capture.threads] == [
        (True, "sleeping", ["swtch", "cv_wait", "vm_handle_rendezvous"]),
        (True, "sleeping", ["swtch", "cv_wait", "vcpu_set_state_locked"]),
        (True, "running", []),
        (True, "lock", ["swtch", "turnstile_block", "mutex_vector_enter"]),
        (True, "sleeping", ["swtch", "cv_wait_sig", "viona_worker_tx"]),
        (True, "sleeping", ["swtch", "cv_wait_sig", "viona_worker_tx"]),
        (False, "sleeping", ["swtch", "cv_wait", "vm_handle_rendezvous"]),
        (False, "sleeping", ["swtch", "cv_wait", "vm_handle_rendezvous"]),
        (False, "lock", ["swtch", "turnstile_block", "mutex_vector_enter"]),
    ]
    assert [wait.kind for wait in diagnosis.waits] == [
        "rendezvous", "vcpu-state", "running", "lock", "work", "work", "rendezvous", "rendezvous", "lock",
    ]  # fmt: skip
    finding = diagnosis.findings[0]
    # nothing says that these threads are of one VM
    assert (finding.verdict, finding.certainty, finding.threads) == ("deadlock", "possible", (0, 1, 6, 7))
    assert capture.unread == ()


def test_counts_that_no_host_has_make_no_crowd():
    head = "THREAD           STATE    SOBJ                COUNT\n"
    stack = "ffffff01e1a{:05x} SLEEP    CV                  20000\n                 swtch+0x1\n                 f{}+0x1\n\n"
    (capture,) = read_text("".join(head + stack.format(number, number) for number in range(20)))
    assert 20_000 < len(capture.threads) < 150_000


def test_a_counted_thread_that_is_listed_elsewhere_is_the_same():
    rows = "".join(f"                 {name}+0x1\n" for name in VM_RUN)
    stacks = f"> ::stacks -m vmm\nTHREAD           STATE    SOBJ                COUNT\nfffffe0b1c9a3c00 SLEEP    CV                      2\n{rows}\n"
    assert len(read(ONE + stacks, indented=False).threads) == 3  # vcpu 0, vcpu 1, and one more that waits as vcpu 0 does
    assert len(read(ONE + stacks + stacks, indented=False).threads) == 3


LIST = """\
> ::threadlist -v
            ADDR             PROC              LWP CLS PRI            WCHAN
fffffe0b1c9a3c00 fffffe0b1c9a3010 fffffe0b1c9b0000   1  59 fffffe0b20001330
  PC: _resume_from_idle+0x12b    CMD: /usr/sbin/bhyve -c 4 -m 8G win11
  stack pointer for thread fffffe0b1c9a3c00 (bhyve/3): fffffe007a5e5b20
  [ fffffe007a5e5b20 _resume_from_idle+0x12b() ]
    swtch+0x133()
    cv_wait_sig+0x171()
    vmm`vm_handle_hlt+0x9a()
    vmm`vm_run+0x2c4()
    vmmdev_do_ioctl+0x7d2()
    sys_syscall+0x17d()

fffffe0b1c9aa000 fffffffffbc4b2c0                0   0  60 fffffffffbc4c000
  PC: _resume_from_idle+0x12b    TASKQ: kmem_taskq
  stack pointer for thread fffffe0b1c9aa000 (tq:kmem_taskq): fffffe007a5e5b20
  [ fffffe007a5e5b20 _resume_from_idle+0x12b() ]
    swtch+0x133()
    cv_wait+0x68()
    taskq_thread_wait+0xbe()
    taskq_thread+0x37c()
    thread_start+0xb()

> ::ps -f
S    PID   PPID   PGID    SID    UID      FLAGS             ADDR NAME
R   2210      1   2210   2210      0 0x4a004000 fffffe0b1c9a3010 /usr/sbin/bhyve -c 4 -m 8G win11
> fffffe0b1c9ab000::findstack -v
stack pointer for thread fffffe0b1c9ab000: fffffe007a7e5b20
  fffffe007a7e5b90 cv_wait+0x68(fffffe0b20001330, fffffe0b20001338)
  fffffe007a7e5c00 vmm`vmm_lease_block+0x68(fffffe0b1d000000)
  fffffe007a7e5c40 vmm`vmm_write_lock+0x68(fffffe0b1d000000)
> $C
fffffe007a8e5b90 swtch+0x133()
fffffe007a8e5c00 sema_p+0x1a(fffffe0b1d000000)
fffffe007a8e5c40 biowait+0x68(fffffe0b1d000000)
"""


def test_threadlist_and_ps():
    diagnosis = analysed(LIST)
    capture = diagnosis.capture
    assert [(thread.pid, thread.command, thread.name, thread.state, thread.wchan) for thread in capture.threads] == [
        (2210, "bhyve", None, "sleeping", 0xFFFFFE0B20001330),
        (None, None, "kmem_taskq", "sleeping", 0xFFFFFFFFFBC4C000),
        (None, None, None, None, None),
        (None, None, None, None, None),
    ]
    assert [wait.kind for wait in diagnosis.waits] == ["vcpu-halt", "work", "device-drain", "io"]
    assert [machine.label for machine in diagnosis.machines] == ["win11"]
    assert capture.unread == ()


def test_lists_without_stacks():
    text = """\
> ::threadlist
            ADDR             PROC              LWP CMD/LWPID
fffffe0b1c9a3c00 fffffe0b1c9a3010 fffffe0b1c9b0000 bhyve/3
fffffe0b1c9aa000 fffffffffbc4b2c0                0 tq:kmem_taskq
fffffe0b1c9ab000 fffffffffbc4b2c0                0 fsflush()
> ::thread
            ADDR    STATE  FLG PFLG SFLG   PRI  EPRI PIL             INTR
fffffe0b1c9a3c00 onproc   1000  104   13    59     0   0              n/a
fffffe0b1c9aa000 sleep       8    0    3    60     0   0              n/a
> ::ps -t
S    PID   PPID   PGID    SID    UID      FLAGS             ADDR NAME
R   2210      1   2210   2210      0 0x4a004000 fffffe0b1c9a3010 bhyve
        T     0xfffffe0b1c9a3c00 <TS_ONPROC>
        T     0xfffffe0b1c9a4000 <TS_SLEEP>
"""
    capture = read(text, indented=False)
    assert [(thread.address & 0xFFFFF, thread.pid, thread.command, thread.name, thread.state) for thread in capture.threads] == [
        (0xA3C00, 2210, "bhyve", None, "running"),
        (0xAA000, None, None, "kmem_taskq", "sleeping"),
        (0xAB000, None, None, "fsflush", None),
        (0xA4000, 2210, "bhyve", None, "sleeping"),
    ]
    assert capture.unread == ()


def test_stacks_at_the_prompt():
    text = """\
> $c
cv_wait_sig+0x171(fffffe0b20001330, fffffe0b20001338)
vmm`vm_handle_hlt+0x9a(fffffe0b20000000, 1, 0)
vmm`vm_run+0x2c4(fffffe0b20000000, 1, fffffe007a5e5c60)
> fffffe007a5e5b90$C
fffffe007a5e5b90 swtch+0x133()
fffffe007a5e5c00 vmm`vm_run+8(fffffe0b20000000, 2,
fffffe007a5e5c60)
"""
    first, second = read(text, indented=False).threads
    assert (functions(first), first.frames[2].number("vcpuid")) == (["cv_wait_sig", "vm_handle_hlt", "vm_run"], 1)
    assert (functions(second), second.frames[1].offset, second.frames[1].number("vcpuid")) == (["swtch", "vm_run"], 8, 2)
    assert read(text, indented=False).unread == ()


def test_pstack():
    text = """\
2210:	bhyve -c 4 -m 8G win11
--------------------- thread# 1 / lwp# 1 ---------------------
 fffffc7fef1a2b3a portfs   (6, 4, 5dcf20, 40, 1, 0)
 fffffc7fef16ca07 port_getn () + 47
 0000000000420fb1 mevent_dispatch () + 91
 000000000040f8f3 main () + 8c3
--------------------- thread# 3 / lwp# 3 [vcpu 0] ---------------------
 fffffc7fef1a2b3a ioctl    (4, 7601, fffffc7fde5ff9d0)
 fffffc7feeb32b1b vm_run () + 2b
 0000000000410fb1 vm_loop () + 91
 fffffc7fef19f9c7 _thrp_setup () + 77
"""
    diagnosis = analysed(text)
    capture = diagnosis.capture
    assert [(thread.pid, thread.command, thread.name, functions(thread)) for thread in capture.threads] == [
        (2210, "bhyve", None, ["portfs", "port_getn", "mevent_dispatch", "main"]),
        (2210, "bhyve", "vcpu 0", ["ioctl", "vm_run", "vm_loop", "_thrp_setup"]),
    ]
    assert [wait.kind for wait in diagnosis.waits] == ["unknown", "unknown"]
    assert (diagnosis.machines[0].label, diagnosis.findings[0].verdict) == ("win11", "inconclusive")
    assert capture.unread == ()


def test_the_write_lock_of_newer_illumos_wants_every_vcpu():
    text = ONE.replace("vmm`vcpu_lock_one+0x1c(fffffe0b1d000000, 0)", "vmm`vmm_write_lock+0x1c(fffffe0b1d000000)")
    text = text.replace("vmm`vm_handle_rendezvous", "vmm`vm_handle_suspend")
    diagnosis = analysed(text)
    assert [wait.rule.id for wait in diagnosis.waits] == ["illumos-vmm-suspend", "illumos-vmm-vcpu-state-all"]
    assert [diagnosis.needs[1].mode, [holder.thread for holder in diagnosis.needs[1].holders]] == ["all", [0]]
    # FreeBSD's fixes say nothing of illumos
    assert all(finding.known_bug is None for finding in (*diagnosis.findings, *analysed(ONE).findings, *analysed(STACKS).findings))


@pytest.mark.parametrize("described", ["bhyve/{lwp} [{name}]", "bhyve/{lwp}", "bhyve/{name}"])
def test_the_program_s_stacks_beside_the_kernel_s(described):
    kernel = ONE
    for lwp, name in ((3, "vcpu 0"), (4, "vcpu 1")):
        kernel = kernel.replace(f"(bhyve/{name})", f"({described.format(lwp=lwp, name=name)})")
    program = "2210:\tbhyve -c 2 win11\n" + "".join(
        f"--------------------- thread# {lwp} / lwp# {lwp} [{name}] ---------------\n"
        f" fffffc7fef1b2fba ioctl  (3, 766d0001, fffffc7fee5fed60)\n fffffc7fef3a1b1a {function} () + 4a\n"
        for lwp, name, function in ((1, "mevent", "main"), (3, "vcpu 0", "vm_run"), (4, "vcpu 1", "vm_setup_pptdev_msi"))
    )
    for text in (kernel + program, program + kernel):
        diagnosis = analysed(text)
        threads = sorted(diagnosis.capture.threads, key=lambda thread: thread.name)
        assert [(thread.pid, thread.name, functions(thread)) for thread in threads] == [
            (2210, "mevent", ["ioctl", "main"]), (2210, "vcpu 0", VM_RUN), (2210, "vcpu 1", LOCK),
        ]  # fmt: skip
        assert (diagnosis.findings[0].verdict, diagnosis.findings[0].certainty) == ("deadlock", "proven")
        assert diagnosis.capture.unread == ()


def test_two_processes_with_equal_names_are_not_joined_to_one():
    kernel = ONE.split("> ::pgrep bhyve |", 1)[1]
    program = "".join(
        f"{pid}:\tbhyve win{pid}\n------- thread# 3 / lwp# 3 [vcpu 0] -------\n fffffc7fef1b2fba ioctl (3)\n" for pid in (1, 2)
    )
    assert len(read(f"> ::pgrep bhyve |{kernel}{program}", indented=False).threads) == 4


def test_cpuinfo_tells_who_runs_and_who_is_queued():
    capture = read(
        """\
> ::cpuinfo -v
 ID ADDR             FLG NRUN BSPL PRI RNRN KRNRN SWITCH THREAD           PROC
  0 fffffffffbc5a4c0  1f    1    6 110   no    no t-0    fffffe0010005c40 sched
                       |    |    |
            RUNNING <--+    |    +--> PIL THREAD
              READY         |           6 fffffe0010005c40
           QUIESCED         |           - fffffe5a8f001000 bhyve
             EXISTS         |
             ENABLE         +-->  PRI THREAD           PROC
                                   59 fffffe5a8f0094e0 zpool

 ID ADDR             FLG NRUN BSPL PRI RNRN KRNRN SWITCH THREAD           PROC
  1 fffffe5a0c4a2000  1f    0    0  -1   no    no t-3    fffffe0010f5dc40 (idle)
                       |
            RUNNING <--+
              READY
""",
        indented=False,
    )
    assert [(thread.address, thread.command, thread.state, thread.cpu) for thread in capture.threads] == [
        (0xFFFFFE0010005C40, "sched", "running", 0),
        (0xFFFFFE5A8F001000, "bhyve", "runnable", None),
        (0xFFFFFE5A8F0094E0, "zpool", "runnable", None),
    ]
    assert (capture.sources[0].format, capture.unread) == ("mdb", ())


def test_stacks_without_their_heading():
    text = """\
                 taskq_thread+0x2d0
                 thread_start+0xb

fffffe0010f5dc40 SLEEP    CV                      2
                 swtch+0x133
                 cv_wait+0x68
                 txg_thread_wait+0x54
                 thread_start+0xb

fffffe5a8f001000 SLEEP    RWLOCK                  1
                 swtch+0x133
                 turnstile_block+0x25b
                 rw_enter_sleep+0x1a5
"""
    capture = read(text, indented=False)
    assert [(thread.address, thread.state, len(thread.frames)) for thread in capture.threads] == [
        (0xFFFFFE0010F5DC40, "sleeping", 4),
        (0xFFFFFE5A8F001000, "lock", 3),
        (None, "sleeping", 4),  # of the two with the first stack it is only counted
    ]
    assert [(item.where.first, item.where.last) for item in capture.unread] == [(1, 2)]
