"""What a rule file holds, as values (docs/writing-rules.md describes the files)."""

from __future__ import annotations

from dataclasses import dataclass

# Rules are neither compared nor printed: without __eq__ and __repr__ the classes are made in half the time.

#: All values of ``wait.kind``.
WAIT_KINDS = (
    "running",
    "runnable",
    "rendezvous",
    "vcpu-state",
    "vcpu-halt",
    "vcpu-suspend",
    "lock",
    "memory",
    "io",
    "filesystem",
    "network",
    "device-drain",
    "user-lock",
    "event",
    "timer",
    "child",
    "work",
    "stopped",
    "sleep",
    "unknown",
)

#: All verdicts, gravest first.
VERDICTS = (
    "deadlock",
    "memory-starvation",
    "io-stall",
    "spin",
    "blocked",
    "contention",
    "inconclusive",
    "no-hang",
)


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class WaitExample:
    """A thread that the rule must win: functions innermost first, and what ps would say."""

    stack: tuple[str, ...] = ()
    wmesg: str | None = None
    command: str | None = None
    name: str | None = None
    state: str | None = None


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class WaitRule:
    """One wait point of the kernel (or of a bhyve thread)."""

    id: str
    title: str
    kind: str
    subsystem: str
    file: str
    wmesg: tuple[str, ...] = ()
    wmesg_alone: bool = True
    stack: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    name: tuple[str, ...] = ()
    state: tuple[str, ...] = ()
    mode: str = "any"
    holders: str | None = None
    alternatives: tuple[str, ...] = ()
    lock_class: str | None = None
    via: str | None = None
    idle: bool = False
    normal: str | None = None
    interruptible: bool | None = None
    timeout: str | None = None
    waits_for: str | None = None
    ended_by: str | None = None
    locks_held: str | None = None
    look_next: str | None = None
    explain: str | None = None
    releases: str | None = None
    architectures: tuple[str, ...] = ()
    references: tuple[str, ...] = ()
    verified: str | None = None
    example: tuple[WaitExample, ...] = ()


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class BugFix:
    """A commit that fixes a bug; ``releases`` are the first ones that have it, as far as known."""

    commit: str | None = None
    branch: str | None = None
    releases: tuple[str, ...] = ()
    osreldate: int | None = None
    title: str | None = None
    verified: str | None = None


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class SignatureThread:
    """A thread that must be there for a bug to match; given keys must all hold."""

    role: str = "core"
    kind: str | None = None
    rule: str | None = None
    via: str | None = None
    wmesg: tuple[str, ...] = ()
    stack: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    name: tuple[str, ...] = ()
    count: int = 1


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Signature:
    """When a finding is a known bug: any of the verdicts, and every thread."""

    verdicts: tuple[str, ...] = ()
    thread: tuple[SignatureThread, ...] = ()


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class ExampleThread:
    """A thread of a bug's example, with its part in the finding."""

    role: str = "core"
    stack: tuple[str, ...] = ()
    wmesg: str | None = None
    command: str | None = None
    name: str | None = None


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class BugExample:
    """A finding that the signature must match."""

    verdict: str = "deadlock"
    thread: tuple[ExampleThread, ...] = ()


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class BugRule:
    """A known hang: how it is recognised, what causes it, what fixes it."""

    id: str
    title: str
    file: str
    signature: Signature
    subsystem: str | None = None
    explanation: str | None = None
    workaround: str | None = None
    releases: str | None = None
    affected: str | None = None
    verified: str | None = None
    references: tuple[str, ...] = ()
    fix: tuple[BugFix, ...] = ()
    example: tuple[BugExample, ...] = ()


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class IoctlRule:
    """A vmm ioctl: its number in group 'v' and which vCPUs it locks, by era."""

    name: str
    number: int
    locks: str = ""


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Path:
    """``via`` and the functions that show it."""

    via: str
    functions: tuple[str, ...]


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class StackWords:
    """How to read a stack: which functions are the context switch, not the wait.

    ``switch`` switch away, ``queue`` put the thread on a sleep queue or turnstile,
    ``primitives`` are what code calls to sleep, ``debugger`` are the frames of a CPU that
    was stopped for the debugger, ``entry`` begin a system call or kernel thread.
    """

    switch: frozenset[str] = frozenset()
    queue: frozenset[str] = frozenset()
    primitives: frozenset[str] = frozenset()
    debugger: frozenset[str] = frozenset()
    entry: frozenset[str] = frozenset()
    guest: frozenset[str] = frozenset()
    spin: frozenset[str] = frozenset()
    path: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Knowledge:
    """All rules."""

    words: StackWords
    waits: tuple[WaitRule, ...] = ()
    bugs: tuple[BugRule, ...] = ()
    ioctls: tuple[IoctlRule, ...] = ()
