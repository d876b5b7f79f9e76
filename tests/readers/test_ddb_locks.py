"""Locks: witness' lists and warnings, the lock classes, chains and trees, vnodes."""

from __future__ import annotations

import pytest

from hangdiag.model import LockFact
from tests.readers.help import functions, only, read


def told(lock: LockFact) -> tuple[str | None, str | None, str | None, int | None, tuple[int, ...]]:
    """The gist of a statement about a lock."""
    return lock.name, lock.lock_class, lock.state, lock.owner, lock.sharers


@pytest.mark.parametrize(
    "warning",
    [
        """
        lock order reversal:
         1st 0xfffff8000497e068 ufs (ufs) @ /usr/src/sys/kern/vfs_mount.c:1224
         2nd 0xfffff80004fa8418 devfs (devfs) @ /usr/src/sys/ufs/ffs/ffs_vfsops.c:1345
        KDB: stack backtrace:
        db_trace_self_wrapper() at db_trace_self_wrapper+0x2b/frame 0xfffffe00a0d1c400
        witness_checkorder() at witness_checkorder+0xe7a/frame 0xfffffe00a0d1c530
        --- syscall (22, FreeBSD ELF64, sys_unmount), rip = 0x80087e6ea, rsp = 0x7ff, rbp = 0x7ff ---
        """,
        """
        lock order reversal: (Giant after non-sleepable)
         1st 0xfffff8000497e068 a (a, sleep mutex) @
        /usr/src/sys/kern/a.c:1224
         2nd 0xfffff80004fa8418 Giant (Giant, sleep mutex) @ /usr/src/sys/kern/b.c:1345
        lock order Giant -> a established at:
        #0 0xffffffff80a1e103 at witness_checkorder+0x53
        lock order a -> Giant attempted at:
        #0 0xffffffff80a1e103 at witness_checkorder+0x53
        """,
        """
        acquiring duplicate lock of same type: "vnode interlock"
         1st vnode interlock @ /usr/src/sys/kern/vfs_subr.c:2176
         2nd vnode interlock @ /usr/src/sys/kern/vfs_subr.c:2200
        KDB: stack backtrace:
        #0 0xffffffff80a1e103 at witness_checkorder+0x53
        """,
        """
        uma_zalloc_arg: zone "64" with the following non-sleepable locks held:
        exclusive sleep mutex a (a) r = 0 (0xfffff80004c98020) locked @ /usr/src/sys/kern/a.c:1214
        stack backtrace:
        #0 0xffffffff80a1e103 at witness_debugger+0x73
        """,
        """
        Thread 0xfffff80004c98000 exiting with the following locks held:
        exclusive sx a (a) r = 0 (0xfffff80004c98020) locked @ /usr/src/sys/kern/a.c:1214
        """,
        """
        db> show badstacks
        Number of known direct relationships is 512

        Lock order reversal between "ufs"(lockmgr) and "devfs"(lockmgr)!
        Lock order "ufs"(lockmgr) -> "devfs"(lockmgr) first seen at:
        #0 0xffffffff80a1e103 at witness_checkorder+0x53
        #1 0xffffffff80a2f6e5 at __lockmgr_args+0x706

        Lock order "devfs"(lockmgr) -> "ufs"(lockmgr) first seen at:
        #0 0xffffffff80a1e103 at witness_checkorder+0x53

        """,
    ],
)
def test_a_warning_of_witness_is_no_thread(warning):
    capture = read(warning)
    assert capture.threads == ()
    assert capture.unread == ()


def test_a_panic_behind_a_warning_is_one():
    capture = read(
        """
        shared lock of (sx) a @ /usr/src/sys/kern/a.c:1
        while exclusively locked from /usr/src/sys/kern/a.c:2
        panic: excl->share
        cpuid = 0
        KDB: stack backtrace:
        #0 0xffffffff80c79095 at kdb_backtrace+0x65
        #1 0xffffffff80c2b731 at vpanic+0x151
        """
    )
    assert functions(only(capture)) == ["kdb_backtrace", "vpanic"]
    assert capture.host.panic == "excl->share"
    assert capture.unread == ()


HELD = "exclusive sx a (a) r = 0 (0xfffff80004c98440) locked @ /usr/src/sys/kern/a.c:5\n"


@pytest.mark.parametrize(
    ("command", "owner"),
    [("show locks", 100004), ("show locks 100862", 100862), ("show locks 0xfffff80004c98000", 100863), ("show locks 12", None)],
)
def test_whose_the_held_locks_are(command, owner):
    session = (
        "[ thread pid 11 tid 100004 ]\n"
        "db> bt 100863\nTracing pid 2210 tid 100863 td 0xfffff80004c98000\n_sleep() at _sleep+0x1/frame 0xfffffe0047d2f5f0\n"
    )
    capture = read(f"{session}db> {command}\n{HELD}", indented=False)
    assert [lock.owner for lock in capture.locks] == ([owner] if owner else [])
    assert capture.unread == ()


def test_each_class_of_locks():
    capture = read(
        """
        db> show lock 0xfffff80004d00000
         class: rm
         name: pf rulesets
         writecpus: 1
         per-CPU readers:
           thread 0xfffff80004c98000 (tid 100862, pid 2210, "vcpu 2") {0}
         active readers:
           thread 0xfffff80004c99000 (tid 100901, pid 2290, "sh") {ONQUEUE,SIGNAL}
        Backing write-lock (sleep mutex):
         flags: {DEF, RECURSE}
         state: {OWNED, CONTESTED}
         owner: 0xfffff80004c9a000 (tid 100902, pid 2291, "pfctl")
        db> show lock 0xfffff80004d00100
         class: lockmgr
         name: ufs
         state: XLOCK: LK_KERNPROC
         waiters: shared
         spinners: none
        db> show lock 0xfffff80004d00200
         class: rw
         name: vm object
         state: RLOCK: 2 locks
         waiters: writers
        db> show lock 0xfffff80004d00300
         class: rw
         name: vm object
         state: WLOCK: 0xfffff80004c9a000 (tid 100902, pid 2291, "pfctl")
         recursed: 1
         waiters: readers
        db> show lock 0xfffff80004d00400
         class: sx
         name: a
         state: UNLOCKED
         waiters: none
        """
    )
    assert [told(lock) for lock in capture.locks] == [
        ("pf rulesets", "rm", "exclusive", 100902, (100862, 100901)),
        ("ufs", "lockmgr", "kernproc", None, ()),
        ("vm object", "rw", "shared", None, ()),
        ("vm object", "rw", "exclusive", 100902, ()),
        ("a", "sx", "unlocked", None, ()),
    ]
    assert [lock.address for lock in capture.locks] == [0xFFFFF80004D00000 + 0x100 * number for number in range(5)]
    assert capture.unread == ()


def test_locktree():
    capture = read(
        """
        db> show locktree 0xffffffff81c6c5f8
        lock 0xffffffff81c6c5f8 (sleep mutex) "Giant"
         thread 0xfffff80004c9b000 (tid 100903, pid 2292, "sysctl")
          lock 0xfffff80004c9c400 (rw) "vm object"
           thread 0xfffff80004c9c000 (tid 100904, pid 2293, "dd")
         thread 0xfffff80004c9d000 (tid 100905, pid 2294, "kldload")
        """
    )
    assert [(lock.name, lock.lock_class, lock.owner, lock.waiters) for lock in capture.locks] == [
        ("Giant", "sleep mutex", None, (100903, 100905)),
        ("vm object", "rw", 100903, (100904,)),
    ]
    assert [(thread.tid, thread.pid, thread.state, thread.lock) for thread in capture.threads] == [
        (100903, 2292, "lock", "Giant"), (100904, 2293, "lock", "vm object"), (100905, 2294, "lock", "Giant"),
    ]  # fmt: skip
    assert capture.unread == ()


def test_locked_vnodes_of_all_releases():
    capture = read(
        """
        db> show lockedvnods
        Locked vnodes

        vnode 0xfffff80004a2d000: tag ufs, type VDIR
            usecount 3, writecount 0, refcount 5 mountedhere 0
            flags (VI_ACTIVE)
         VI_LOCKed    v_object 0xfffff80004b0d400 ref 0 pages 1 cleanbuf 1 dirtybuf 0
            lock type ufs: EXCL by thread 0xfffff80004c99000 (pid 2290, sh, tid 100901)
         with exclusive waiters pending
        #0 0xffffffff80930d1a at __lockmgr_args+0xb8a
        #1 0xffffffff80b9a6bc at ffs_lock+0x8c
        \tino 2, on dev ada0p2
        vnode 0xfffff80004a2d1d8: type VREG state VSTATE_CONSTRUCTED op 0xffffffff81a0e0d8
            usecount 1, writecount 0, refcount 1 seqc users 0
            hold count flags ()
            flags ()
            lock type zfs: SHARED (count 1)
        vnode 0xfffff80004a2d3b0: tag ufs, type VREG
            usecount 1, writecount 0, refcount 1
            flags ()
            lock type ufs: EXCL by KERNPROC
        vnode 0xc5e2a000: tag ufs, type VREG
            usecount 1, writecount 0, refcount 1 mountedhere 0
            flags ()
             lock type ufs: EXCL by thread 0xc5a80b90 (pid 874)
        """
    )
    assert [told(lock) for lock in capture.locks] == [
        ("ufs", "lockmgr", "exclusive", 100901, ()),
        ("zfs", "lockmgr", "shared", None, ()),
        ("ufs", "lockmgr", "kernproc", None, ()),
        ("ufs", "lockmgr", "exclusive", None, ()),
    ]
    assert capture.locks[3].owner_address == 0xC5A80B90
    assert [(thread.pid, thread.tid, thread.frames) for thread in capture.threads] == [(2290, 100901, ()), (874, None, ())]
    assert capture.unread == ()


def test_a_buffers_lock():
    capture = read(
        """
        db> show buffer 0xfffffe00f0e0a000
        buf at 0xfffffe00f0e0a000
         lock type bufwait: EXCL by thread 0xfffff80004c99000 (pid 2290, cp, tid 100901)
         with exclusive waiters pending
        """
    )
    assert [told(lock) for lock in capture.locks] == [("bufwait", "lockmgr", "exclusive", 100901, ())]


def test_spin_locks_of_a_cpu():
    capture = read(
        """
        db> show allpcpu
        Current CPU: 0

        cpuid        = 0
        curthread    = 0xfffff80004c9e000: pid 11 tid 100004 "idle: cpu0"
        spin locks held:
        exclusive spin mutex uart_hwmtx (uart_hwmtx) r = 0 (0xffffffff81ef0cb8) locked @ /usr/src/sys/dev/uart/uart_cpu.h:92

        cpuid        = 1
        curthread    = none
        spin locks held:

        """
    )
    assert [told(lock) for lock in capture.locks] == [("uart_hwmtx", "spin mutex", "exclusive", 100004, ())]
    assert capture.unread == ()


def test_a_chain_of_a_thread_whose_name_looks_like_what_it_does():
    capture = read('thread 100702 (pid 701, d) is sleeping (x)) is blocked on lock 0xfffff80011002020 (sx) "sx two" XLOCK\n', indented=False)
    assert [(thread.name, lock.name) for thread, lock in zip(capture.threads, capture.locks, strict=True)] == [
        ("d) is sleeping (x)", "sx two")
    ]  # fmt: skip
