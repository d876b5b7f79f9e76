"""What was read from one host at one instant, and the words for it.

A reader (:mod:`hangdiag.readers`) or a live debugger (:mod:`hangdiag.live`)
ends in a :class:`Capture`; everything after it is a pure function of it.
Numbers that were not in the input are ``None``, never zero. Addresses are
``int`` here and hex strings in JSON. Lines are counted from 1 and are always
those of the original input, whatever was peeled off around the trace.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NamedTuple

#: Where illumos keeps programs on amd64 (usr/src/uts/i86pc/sys/machparam.h, USERLIMIT).
_ILLUMOS_USER = range(0xFFFF_FC00_0000_0000, 0xFFFF_FD80_0000_0000)
#: The fact about a host that says of a capture that threads are missing in it.
LEFT_OUT = "threads left out"


class Where(NamedTuple):
    """Lines ``first`` to ``last`` (both included, from 1) of source number ``source``.

    A named tuple, not a dataclass: a capture of 100,000 threads makes several
    hundred thousand of them, and they are compared and hashed a lot.
    """

    source: int
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Frame:
    """One function on a stack, as the debugger named it.

    ``offset`` is in bytes from the function's start. ``args`` are (name, value)
    pairs as printed by gdb. ``inlined`` is true for a frame that gdb made up from
    debug information (it has no return address of its own). ``address`` is the
    pc where it was printed.
    """

    function: str
    offset: int | None = None
    module: str | None = None
    file: str | None = None
    line: int | None = None
    args: tuple[tuple[str, str], ...] = ()
    inlined: bool = False
    address: int | None = None

    def argument(self, name: str) -> str | None:
        """The value printed for argument ``name``: that of ``name``, else of ``name@entry``."""
        at_entry = None
        for key, value in self.args:
            if key == name and not value.startswith("<"):
                return value
            if key == name + "@entry" and not value.startswith("<"):
                at_entry = value
        return at_entry

    def number(self, name: str) -> int | None:
        """The number or pointer printed for argument ``name``: 0x10 of ``0x10 <symbol>``, None if there is none."""
        words = (self.argument(name) or "").split(None, 1)
        if not words:
            return None
        try:
            return int(words[0], 0)
        except ValueError:
            return None


#: Functions that are on every stack of a kernel thread that a debugger unwound to one of its ends.
_KERNEL = frozenset(
    {
        "mi_switch", "sched_switch", "sched_ule_sswitch", "sched_4bsd_sswitch", "fork_trampoline", "fork_exit", "trap",
        "calltrap", "cpustop_handler", "amd64_syscall", "fast_syscall_common", "Xfast_syscall", "syscall",
        "Xint0x80_syscall", "do_el0_sync", "handle_el0_sync", "kdb_enter", "panic",
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Thread:
    """A kernel thread: who it is, what state it was in, its stack (innermost frame first).

    ``state`` is one of ``running``, ``runnable``, ``sleeping``, ``lock`` (blocked on a
    turnstile), ``iwait`` (an idle interrupt thread), ``suspended``, ``swapped``, ``new``,
    ``zombie``, ``inactive`` or None. ``interruptible`` tells an S from a D sleep
    (TDF_SINTR). ``wmesg`` may be cut short by the tool that printed it: ``wmesg_cut`` then
    holds the width. ``lock`` is the name of the lock that the thread is blocked on.
    ``address`` is that of its struct thread. ``since`` is how long ago it last switched,
    in seconds. ``lwp`` is illumos' number of a thread in its process. ``stack_of_debugger`` marks a
    stack that belongs to whoever entered the debugger, not to this thread. ``told`` marks one that no tool showed at
    one instant: somebody wrote it down in words, a probe fired in it, or its innermost functions are cut off; nothing is
    proven with it. ``of_program``: the debugger looks at a program, whose stack this is.
    """

    pid: int | None = None
    tid: int | None = None
    address: int | None = None
    command: str | None = None
    name: str | None = None
    state: str | None = None
    interruptible: bool | None = None
    wmesg: str | None = None
    wmesg_cut: int | None = None
    wchan: int | None = None
    lock: str | None = None
    cpu: int | None = None
    since: float | None = None
    frames: tuple[Frame, ...] = ()
    where: tuple[Where, ...] = ()
    stack_where: Where | None = None
    stack_of_debugger: bool = False
    told: bool = False
    lwp: int | None = None
    of_program: bool = False

    @property
    def is_user_stack(self) -> bool:
        """Is this the stack of a debugged program, not of the kernel? Tells by addresses, libraries and sources.

        Where a 32-bit kernel lies (0xc0000000, and anywhere in i386 since 12), a program may lie too.
        """
        low = False
        for frame in self.frames[:3]:
            if frame.address is not None:
                if frame.address >= 1 << 47 and frame.address not in _ILLUMOS_USER:
                    return False
                low = low or frame.address > 1 << 16
            if frame.module is not None and ".so" in frame.module:
                return True
        if not (low or (self.of_program and self.frames)):
            return False
        return not any(
            frame.function in _KERNEL or (frame.file is not None and "/sys/" in frame.file) for frame in self.frames
        )


@dataclass(frozen=True, slots=True)
class Process:
    """A process; ``arguments`` is its command line or title, as printed, and ``threads`` how many the kernel counts."""

    pid: int
    command: str | None = None
    arguments: str | None = None
    address: int | None = None
    where: tuple[Where, ...] = ()
    threads: int | None = None


@dataclass(frozen=True, slots=True)
class LockFact:
    """One statement of the capture about a kernel lock.

    Facts are never merged by name: many locks share one. ``owner`` is the tid of the
    exclusive owner and ``sharers`` those of known shared holders; ``waiters`` are the tids
    that the same statement says wait for this very lock. ``state`` is ``unlocked``,
    ``exclusive``, ``shared``, ``kernproc`` (a lockmgr lock handed to LK_KERNPROC),
    ``destroyed`` or None where it was not told. ``owner_address`` is the owner's struct
    thread where no tid was printed. ``vnode`` is that of which it is the own lock, where the
    lock's address was not printed. ``shares`` is by how many threads it is held shared: the kernel counts them, but
    only of rm(9) locks, and with WITNESS, it knows which they are. ``by_order``: that ``owner`` has it is told only by the order
    of two lines of a chain that goes around once.
    """

    address: int | None = None
    name: str | None = None
    lock_class: str | None = None
    state: str | None = None
    owner: int | None = None
    owner_address: int | None = None
    sharers: tuple[int, ...] = ()
    waiters: tuple[int, ...] = ()
    vnode: int | None = None
    where: Where | None = None
    shares: int | None = None
    by_order: bool = False


@dataclass(frozen=True, slots=True)
class Vcpu:
    """A virtual CPU as read from ``struct vcpu``: state is IDLE, FROZEN, RUNNING or SLEEPING."""

    id: int
    address: int | None = None
    state: str | None = None
    hostcpu: int | None = None
    reqidle: bool | None = None
    where: Where | None = None


@dataclass(frozen=True, slots=True)
class VirtualMachine:
    """A VM as read from ``struct vm`` (not inferred): None is "was not read".

    The sets hold vCPU ids. ``rendezvous_function`` is "" when no rendezvous is pending.
    ``destroying`` is true when its device is already gone (softc ``cdev`` is NULL).
    """

    address: int | None = None
    name: str | None = None
    pid: int | None = None
    active: frozenset[int] | None = None
    suspended: frozenset[int] | None = None
    debugged: frozenset[int] | None = None
    halted: frozenset[int] | None = None
    requested: frozenset[int] | None = None
    done: frozenset[int] | None = None
    rendezvous_function: str | None = None
    rendezvous_channel: int | None = None
    suspend: int | None = None
    destroying: bool | None = None
    vcpus: tuple[Vcpu, ...] = ()
    where: tuple[Where, ...] = ()


@dataclass(frozen=True, slots=True)
class Host:
    """The machine that was captured. ``osreldate`` is ``__FreeBSD_version``."""

    release: str | None = None
    arch: str | None = None
    uname: str | None = None
    hostname: str | None = None
    osreldate: int | None = None
    panic: str | None = None
    facts: tuple[tuple[str, str], ...] = ()

    @property
    def skipped(self) -> tuple[str, ...]:
        """What of a live kernel could not be read."""
        return tuple(value for name, value in self.facts if name == "skipped")


def release_numbers(release: str | None) -> tuple[int, int] | None:
    """Major and minor of ``13.1-STABLE``."""
    found = re.match(r"(\d+)\.(\d+)", release or "")
    return (int(found.group(1)), int(found.group(2))) if found is not None else None


@dataclass(frozen=True, slots=True)
class Source:
    """Something that was read. ``replaced`` counts bytes that were not UTF-8."""

    path: str
    format: str | None
    lines: int
    replaced: int = 0
    container: str | None = None
    sha256: str | None = None


@dataclass(frozen=True, slots=True)
class Unread:
    """Lines that belong to nothing that was read; ``trace_like`` if they look as if they should."""

    where: Where
    why: str
    trace_like: bool = False


@dataclass(frozen=True, slots=True)
class Capture:
    """Everything read of one host at one instant."""

    sources: tuple[Source, ...] = ()
    host: Host = Host()
    processes: tuple[Process, ...] = ()
    threads: tuple[Thread, ...] = ()
    locks: tuple[LockFact, ...] = ()
    vms: tuple[VirtualMachine, ...] = ()
    unread: tuple[Unread, ...] = ()

    @property
    def is_abridged(self) -> bool:
        """Did whoever pasted it say that threads were left out?"""
        return LEFT_OUT in dict(self.host.facts)

    @property
    def moved(self) -> frozenset[int]:
        """The tids of threads that moved between samples of a running kernel: whatever they wait for, they are not stuck."""
        text = dict(self.host.facts).get("moved", "")
        return frozenset(int(tid) for tid in text.split() if tid.isdigit())
