"""What the walker asks the debug information for: structures, members and symbols of FreeBSD.

A member that a release lacks is simply missing from the answer. Sources are the headers named
beside each structure; differences between 12, 13, 14 and 15 are why several spellings are asked.
"""

from __future__ import annotations

from hangdiag.live.memory import Question

# sys/sys/proc.h (thread, proc, pargs), sys/sys/_lock.h and the lock headers, sys/kern/subr_turnstile.c,
# sys/amd64/vmm/vmm.c or sys/dev/vmm/vmm_vm.h (vm, vcpu), sys/amd64/vmm/vmm_dev.c (vmmdev_softc),
# sys/<arch>/include/pcb.h and frame.h, sys/sys/linker.h, sys/sys/jail.h.
QUESTIONS: tuple[Question, ...] = (
    Question(
        "proc",
        ("struct proc",),
        (
            "p_list.le_next",
            "p_hash.le_next",
            "p_threads.tqh_first",
            "p_pid",
            "p_comm",
            "p_state",
            "p_args",
        ),
    ),
    Question(
        "thread",
        ("struct thread",),
        (
            "td_proc",
            "td_plist.tqe_next",
            "td_hash.le_next",
            "td_tid",
            "td_name",
            "td_flags",
            "td_inhibitors",
            "td_state",
            "td_wchan",
            "td_wmesg",
            "td_blocked",
            "td_lockname",
            "td_wantedlock",
            "td_oncpu",
            "td_pcb",
            "td_kstack",
            "td_kstack_pages",
            "td_swvoltick",
            "td_swinvoltick",
        ),
    ),
    Question(
        "pcb",
        ("struct pcb",),
        ("pcb_rip", "pcb_rsp", "pcb_rbp", "pcb_x", "pcb_lr", "pcb_sp", "pcb_pc"),
    ),
    Question(
        "trapframe",
        ("struct trapframe",),
        ("tf_rip", "tf_rsp", "tf_rbp", "tf_cs", "tf_elr", "tf_x"),
    ),
    Question("lock_object", ("struct lock_object",), ("lo_name", "lo_flags")),
    Question("mtx", ("struct mtx",), ("lock_object", "mtx_lock")),
    Question("sx", ("struct sx",), ("lock_object", "sx_lock")),
    Question("rw", ("struct rwlock",), ("lock_object", "rw_lock")),
    Question("lockmgr", ("struct lock",), ("lock_object", "lk_lock")),
    Question("rm", ("struct rmlock",), ("lock_object", "rm_activeReaders.lh_first")),
    Question("rm_priotracker", ("struct rm_priotracker",), ("rmp_thread", "rmp_qentry.le_next")),
    Question("turnstile", ("struct turnstile",), ("ts_lockobj",)),
    Question("pargs", ("struct pargs",), ("ar_length", "ar_args")),
    Question("prison", ("struct prison",), ("pr_hostname",)),
    Question(
        "linker_file", ("struct linker_file",), ("link.tqe_next", "filename", "pathname", "address", "size")
    ),
    Question(
        "softc",
        ("struct vmmdev_softc",),
        ("vm", "cdev", "link.sle_next"),
    ),
    Question(
        "vm",
        ("struct vm",),
        (
            "name",
            "maxcpus",
            "active_cpus",
            "debug_cpus",
            "suspended_cpus",
            "halted_cpus",
            "suspend",
            "rendezvous_req_cpus",
            "rendezvous_done_cpus",
            "rendezvous_func",
            "vcpu",
        ),
        arrays=("vcpu",),
    ),
    Question("vcpu", ("struct vcpu",), ("state", "hostcpu", "reqidle")),
    # Variables whose shape changed: an array or a pointer, a set of 256 or 1024 CPUs.
    Question("stoppcbs", ("stoppcbs",), ()),
    Question("stopped_cpus", ("stopped_cpus",), ()),
)

# In the order of preference; vmm_dev.c's list of VMs is called just ``head``, as are other files' lists.
VM_LIST = ("'vmm_dev.c'::head", "head")

SYMBOLS: tuple[str, ...] = (
    "allproc",
    "zombproc",
    "nprocs",
    "tidhashtbl",
    "tidhash",
    "pidhashtbl",
    "pidhash",
    "version",
    "osreldate",
    "ticks",
    "hz",
    "panicstr",
    "prison0",
    "linker_files",
    "kdb_active",
    "kdb_pcb",
    "stoppcbs",
    "stopped_cpus",
    "dumptid",
    "dumppcb",
    *VM_LIST,
)
