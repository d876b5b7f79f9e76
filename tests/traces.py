"""Captures written as a person would paste them, from a few words about each thread."""

from __future__ import annotations

from dataclasses import dataclass

from hangdiag.diagnosis import diagnose
from hangdiag.findings import Diagnosis, Finding
from hangdiag.knowledge import Matcher, load_knowledge
from hangdiag.readers import read_text

KNOWLEDGE = load_knowledge(compiled=False)
MATCHER = Matcher(KNOWLEDGE)

SYSCALL = "vmmdev_ioctl devfs_ioctl VOP_IOCTL_APV vn_ioctl devfs_ioctl_f kern_ioctl sys_ioctl amd64_syscall fast_syscall_common"
STACKS = {
    "joined": f"mi_switch sleepq_timedwait _sleep vm_handle_rendezvous vm_run {SYSCALL}",
    "joined, inlined": f"mi_switch sleepq_timedwait _sleep vm_run {SYSCALL}",
    "started": "mi_switch sleepq_timedwait _sleep vm_handle_rendezvous vm_smp_rendezvous vioapic_write vioapic_mmio_rw "
    f"vioapic_mmio_write vmm_emulate_instruction vm_run {SYSCALL}",
    "lock one": f"mi_switch sleepq_timedwait msleep_spin_sbt vcpu_set_state_locked vcpu_set_state {SYSCALL}",
    "lock all": f"mi_switch sleepq_timedwait msleep_spin_sbt vcpu_set_state_locked vcpu_set_state vcpu_lock_all {SYSCALL}",
    "lock all, fixed": f"mi_switch sleepq_timedwait msleep_spin_sbt vcpu_wait_idle vcpu_set_state_all vcpu_lock_all {SYSCALL}",
    "halted": f"mi_switch sleepq_timedwait msleep_spin_sbt vm_handle_hlt vm_run {SYSCALL}",
    "suspended": f"mi_switch sleepq_timedwait msleep_spin_sbt vm_handle_suspend vm_run {SYSCALL}",
    "in guest": f"svm_vmrun vm_run {SYSCALL}",
    "preempted": "mi_switch ast doreti_ast",
    "mutex in userland": "mi_switch sleepq_catch_signals sleepq_wait_sig _sleep umtxq_sleep do_lock_umutex __umtx_op_lock_umutex "
    "amd64_syscall fast_syscall_common",
    "disk": "mi_switch sleepq_wait _sleep physio devfs_write_f dofilewrite kern_pwritev sys_pwritev amd64_syscall fast_syscall_common",
    "destroy, taskqueue": "mi_switch sleepq_timedwait _sleep destroy_devl destroy_dev_tq taskqueue_run_locked taskqueue_run "
    "ithread_loop fork_exit fork_trampoline",
    "destroy, sysctl": "mi_switch sleepq_timedwait _sleep destroy_devl destroy_dev sysctl_vmm_destroy sysctl_root_handler_locked "
    "sysctl_root userland_sysctl sys___sysctl amd64_syscall fast_syscall_common",
    "mem_segs": f"mi_switch sleepq_switch sleepq_wait _sx_slock_hard _sx_slock_int vm_slock_memsegs {SYSCALL}",
    "killed": "mi_switch thread_suspend_switch thread_single exit1 sigexit postsig ast doreti_ast",
    "kqueue": "mi_switch sleepq_catch_signals sleepq_wait_sig _sleep kqueue_kevent kern_kevent_fp kern_kevent sys_kevent "
    "amd64_syscall fast_syscall_common",
}


@dataclass(frozen=True, slots=True)
class T:
    """A thread of a written capture; ``stack`` is a key of STACKS or function names."""

    tid: int
    name: str
    stack: str
    pid: int = 2210
    command: str = "bhyve"

    @property
    def functions(self) -> list[str]:
        return STACKS.get(self.stack, self.stack).split()


def vcpus(*stacks: str, pid: int = 2210, first: int = 100860) -> list[T]:
    """The vCPU threads of one bhyve process, in the order of their vCPUs."""
    return [T(first + number, f"vcpu {number}", stack, pid) for number, stack in enumerate(stacks)]


def procstat(threads: list[T], offsets: bool = True) -> str:
    """The threads as ``procstat -kk`` (or ``-k``) prints them."""
    lines = [f"{'PID':>5} {'TID':>6} {'COMM':<19} {'TDNAME':<19} {'KSTACK':<29}"]
    for thread in threads:
        stack = " ".join(f"{name}+0x{len(name):x}" if offsets else name for name in thread.functions)
        lines.append(f"{thread.pid:>5} {thread.tid:>6} {thread.command:<19} {thread.name:<19} {stack} ")
    return "\n".join(lines) + "\n"


def alltrace(threads: list[T]) -> str:
    """The threads as ddb's ``alltrace`` prints them."""
    lines = ["db> alltrace"]
    for thread in threads:
        lines += [
            "",
            f"Tracing command {thread.command} pid {thread.pid} tid {thread.tid} td {thread.tid * 0x1000 + 0xFFFFF80000000000:#x}",
        ]
        frame = 0xFFFFFE0011FDD500
        for name in ["sched_switch", *thread.functions]:
            frame += 0x40
            lines.append(f"{name}() at {name}+0x{len(name):x}/frame {frame:#x}")
    return "\n".join(lines) + "\n"


def kgdb(threads: list[T]) -> str:
    """The threads as kgdb's ``thread apply all bt`` prints them."""
    lines = ["(kgdb) thread apply all bt", ""]
    for number, thread in enumerate(threads, 1):
        who = thread.command if thread.name in ("-", thread.command) else f"{thread.command}/{thread.name}"
        lines.append(f"Thread {number} (Thread {thread.tid} (PID={thread.pid}: {who})):")
        lines.append(
            "#0  sched_switch (td=0xfffff80002415000, flags=<optimized out>) at /usr/src/sys/kern/sched_ule.c:2143"
        )
        for depth, name in enumerate(thread.functions, 1):
            lines.append(
                f"#{depth:<2} 0xffffffff8038d0{depth:02x} in {name} (td=<optimized out>) at /usr/src/sys/kern/x.c:{depth}"
            )
        lines.append("")
    return "\n".join(lines) + "\n"


def analysed(text: str) -> Diagnosis:
    """The diagnosis of the only capture in ``text``."""
    (capture,) = read_text(text)
    return diagnose(capture, KNOWLEDGE, MATCHER)


def first(text: str) -> tuple[Diagnosis, Finding]:
    """The diagnosis and its gravest finding."""
    diagnosis = analysed(text)
    return diagnosis, diagnosis.findings[0]


def tids(diagnosis: Diagnosis, indices: tuple[int, ...]) -> list[int | None]:
    """The thread ids of thread indices."""
    return [diagnosis.capture.threads[index].tid for index in indices]
