"""Lock words and classes of FreeBSD's locks, as numbers: who owns a lock, however it was read.

From sys/sys/mutex.h, sx.h, rwlock.h, lockmgr.h and lock.h (LO_CLASSMASK, the order of lock_classes[] in
sys/kern/subr_lock.c).
"""

from __future__ import annotations

from collections.abc import Mapping

# sys/sys/lock.h: LO_CLASSMASK and LO_CLASSSHIFT; the order is that of lock_classes[] in sys/kern/subr_lock.c.
_CLASS_SHIFT, _CLASS_MASK = 24, 0x0F
_CLASSES = ("spin mutex", "sleep mutex", "sx", "rm", "sleepable rm", "rw", "lockmgr")
#: The families that share a layout, by class name, and the member that holds the lock word.
FAMILY = {
    "spin mutex": "mtx",
    "sleep mutex": "mtx",
    "sx": "sx",
    "rw": "rw",
    "lockmgr": "lockmgr",
}
WORD = {"mtx": "mtx_lock", "sx": "sx_lock", "rw": "rw_lock", "lockmgr": "lk_lock"}
# Threads are aligned beyond the flags (UMA_ALIGN), and the number of flag bits grew: try the narrower mask first.
_FLAG_MASKS = {"mtx": (0x7,), "sx": (0xF, 0x1F), "rw": (0xF, 0x1F), "lockmgr": (0xF, 0x1F)}
_SHARED = 0x1
# An address is 64 bits; LK_KERNPROC is ((struct thread *)-1), a lock that no thread owns.
_ALL_ONES = (1 << 64) - 1
_FREEBSD_12 = 1_200_000
#: Where v_lock may lie in struct vnode (sys/sys/vnode.h): 0x68 in 64-bit kernels of 10 to 12, 0x60 to 0x80 later, half of
#: it in 32-bit ones. No two vnodes are so near each other.
LOCK_IN_VNODE = range(0x20, 0x100, 4)
# From which release on the count of sharers stands above five flags (SX_SHARERS, RW_READERS, LK_SHARERS); before, four.
_FIVE_FLAGS = {"sx": _FREEBSD_12, "rw": _FREEBSD_12, "lockmgr": 1_300_000}


def lock_class(flags: int) -> str | None:
    """The class name that ddb prints for ``lo_flags``; None if it is none."""
    index = flags >> _CLASS_SHIFT & _CLASS_MASK
    return _CLASSES[index] if index < len(_CLASSES) else None


def decode_word(
    family: str, word: int, threads: Mapping[int, int | None], osreldate: int | None
) -> tuple[str | None, int | None]:
    """(state, owner's struct thread) of a lock word.

    ``family`` is ``mtx``, ``sx``, ``rw`` or ``lockmgr``; ``threads`` maps known struct threads to tids. The
    state is one of :class:`~hangdiag.model.LockFact`; the owner is None unless the lock is held exclusively.
    """
    if family == "mtx":
        owner = word & ~0x7
        if owner:
            return "exclusive", owner
        if osreldate is not None and osreldate < _FREEBSD_12:
            # Until 11 MTX_UNOWNED is 4 and MTX_DESTROYED is MTX_CONTESTED | MTX_UNOWNED.
            return ("destroyed" if word == 0x6 else "unlocked"), None
        return ("destroyed" if word & 0x4 else "unlocked"), None
    if word & _SHARED:
        # The count of sharers stands above the flags: shift 5, 4 in older lockmgr and sx locks.
        return ("shared" if word & ~0x1F or word & 0x10 else "unlocked"), None
    if family in ("sx", "rw") and word & ~0x1F == 0:
        return "destroyed", None
    for mask in _FLAG_MASKS[family]:
        if family == "lockmgr" and word | mask == _ALL_ONES:
            return "kernproc", None
        if word & ~mask in threads:
            return "exclusive", word & ~mask
    return "exclusive", word & ~_FLAG_MASKS[family][-1]


def count_shares(family: str, word: int, osreldate: int | None) -> int | None:
    """How many threads hold a lock shared by its word; None if they do not, or if the release is not known."""
    if family not in _FIVE_FLAGS or not word & _SHARED or osreldate is None:
        return None
    return (word >> (5 if osreldate >= _FIVE_FLAGS[family] else 4)) or None
