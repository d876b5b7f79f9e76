"""What a resolver answers: who must act before a wait can end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass

from hangdiag.graph import Condition
from hangdiag.model import Capture, LockFact, VirtualMachine, Where
from hangdiag.waits import Wait

#: To how many characters ddb's `ps` cuts a lock's name (sys/ddb/db_ps.c; ps(1) leaves eight).
CUT_NAME = 7
#: Of more threads that wait for the same, a condition over them names these.
_MOST_ALIKE = 8


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Resource:
    """The thing waited for. ``key`` is equal for the same thing; ``kind`` as in the JSON contract."""

    kind: str
    label: str
    key: tuple[object, ...]


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Holder:
    """A thread (its index in the capture) that must act.

    ``certainty`` is ``observed`` (read in the capture), ``inferred`` (from knowledge of the
    kernel) or ``possible`` (one of several candidates).
    """

    thread: int
    certainty: str = "observed"
    where: tuple[Where, ...] = ()


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Need:
    """A wait's condition over threads, in two readings.

    The strict reading is what the capture proves: ``mode`` over ``holders``; ``open`` when
    somebody outside may act instead, or may be missing from the list. ``likely_mode`` and
    ``likely_open`` are the reading under the rules' knowledge of the kernel, ``possible_open``
    the one that takes the threads shown for all there are. ``basis`` says what the strict
    reading rests on: ``observed``, ``exhaustive`` (every possible value was looked at), ``order`` (of lines, of which
    some may be missing) or ``rule``. ``why`` is one sentence for the report.
    """

    resource: Resource
    mode: str
    holders: tuple[Holder, ...]
    open: bool = False
    likely_mode: str | None = None
    likely_open: bool | None = None
    possible_open: bool | None = None
    basis: str = "observed"
    why: str = ""

    def strict(self) -> Condition:
        """The condition that holds whatever the unknown parts are."""
        return Condition(self.mode, self._targets(), self.open)

    def likely(self) -> Condition:
        """The condition as the kernel's code lets expect it."""
        return Condition(
            self.likely_mode or self.mode,
            self._targets(),
            self.open if self.likely_open is None else self.likely_open,
        )

    def possible(self) -> Condition:
        """The condition if nobody but the threads shown is involved."""
        condition = self.likely()
        if self.possible_open is None:
            return condition
        return Condition(condition.mode, condition.targets, self.possible_open)

    def _targets(self) -> tuple[int, ...]:
        return tuple([holder.thread for holder in self.holders])


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Machine:
    """A VM as seen through the threads of its bhyve process.

    ``vcpus`` maps vCPU ids to thread indices, ``members`` are all threads of the process.
    ``visitors`` are threads of other processes inside this VM's device, with how certain
    that is. ``read`` is the VM's structure, where it was read. ``complete`` is true when all
    of its vCPU threads are in the capture as far as it tells.
    """

    number: int
    label: str
    pid: int | None
    vcpus: dict[int, int]
    members: frozenset[int]
    visitors: dict[int, str]
    read: VirtualMachine | None
    complete: bool

    @property
    def threads(self) -> frozenset[int]:
        """Its process' threads and the visitors."""
        return self.members.union(self.visitors)

    @property
    def nameless(self) -> bool:
        """Is the process known, but not which of its threads runs which vCPU (a stack without names)?"""
        return self.pid is not None and not self.vcpus


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Scene:
    """What resolvers look at: the capture, its waits, and the VMs found in it."""

    capture: Capture
    waits: tuple[Wait, ...]
    #: The threads inside VM_RUN, inside a VM's device, and those that want all vCPUs of one.
    in_run: frozenset[int]
    in_device: frozenset[int]
    locks_all: frozenset[int]
    #: Those that can have a vCPU locked: inside VM_RUN, wanting all, or past the lock.
    may_lock_vcpu: frozenset[int]
    machines: tuple[Machine, ...]
    machine_of: dict[int, Machine]
    #: Numbers the sorts of visitors: of one sort are those that wait in the same place for the same.
    sort_of: dict[int, int]
    by_tid: dict[int, int]
    by_pid: Mapping[int, Sequence[int]]
    by_address: dict[int, int]
    #: The threads that have a function on their stack.
    by_function: Mapping[str, Set[int]]
    facts_of_waiter: dict[int, list[LockFact]]
    facts_at: dict[int, list[LockFact]]
    turnstile_facts: dict[str, list[LockFact]]
    vnode_facts: dict[int, list[LockFact]]

    def thread_where(self, index: int) -> tuple[Where, ...]:
        """The evidence lines of a thread: its stack, else all that was said of it."""
        thread = self.capture.threads[index]
        return (thread.stack_where,) if thread.stack_where is not None else thread.where[:1]

    def threads_in(self, functions: Iterable[str], among: Set[int] | None = None) -> set[int]:
        """The threads, of ``among`` if those are given, that have one of ``functions`` on their stack."""
        found = [self.by_function[function] for function in functions if function in self.by_function]
        return set[int]().union(*found if among is None else [threads & among for threads in found])


def without_crowd(threads: Iterable[int], scene: Scene) -> list[int]:
    """``threads`` in their order; of visitors that are alike only the first few.

    They wait for the same, so a condition over some of them is met when one over all is. Each of a thousand
    waiters with a thousand holders would be a million edges.
    """
    kept = []
    seen: Counter[int] = Counter()
    for index in threads:
        sort = scene.sort_of.get(index)
        if sort is not None:
            seen[sort] += 1
            if seen[sort] > _MOST_ALIKE:
                continue
        kept.append(index)
    return kept


def holders_of(indices: Iterable[int], scene: Scene, certainty: str) -> tuple[Holder, ...]:
    """Holders with the evidence of their threads."""
    return tuple([Holder(index, certainty, scene.thread_where(index)) for index in indices])
