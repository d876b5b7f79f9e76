"""Places in a source that several hosts share.

While such a source is read, the lines of each host count as a source of their own, with a negative number and the
line numbers of the original: a stack then lies from its first line to its last, as if nothing were between. At the end
each place is turned into the stretches of lines that are the host's.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from hangdiag.model import Capture, Unread, VirtualMachine, Where


@dataclass(slots=True)
class Part:
    """The lines of one host in source number ``source``: stretches from ``first`` to ``last``, in order."""

    source: int
    first: array[int] = field(default_factory=lambda: array("q"))
    last: array[int] = field(default_factory=lambda: array("q"))

    def add(self, runs: Iterable[tuple[int, int]]) -> None:
        """These lines are the host's too; they are behind all that were known."""
        for begin, end in runs:
            self.first.append(begin)
            self.last.append(end)

    def stretches(self, where: Where) -> tuple[Where, ...]:
        """The lines at ``where`` that are the host's."""
        found = []
        for place in range(bisect_left(self.last, where.first), len(self.first)):
            if self.first[place] > where.last:
                break
            begin, end = max(self.first[place], where.first), min(self.last[place], where.last)
            found.append(Where(self.source, begin, end))
        return tuple(found)


def unread_in_source(items: Iterable[Unread], parts: list[Part]) -> list[Unread]:
    """``items`` with places in the sources themselves."""
    return [replace(item, where=where) for item in items for where in stretches_of(item.where, parts)]


def in_source(capture: Capture, parts: list[Part]) -> Capture:
    """``capture`` with places in the sources themselves. What has one place only gets the first stretch of it."""

    def all_of(places: tuple[Where, ...]) -> tuple[Where, ...]:
        return tuple([where for place in places for where in stretches_of(place, parts)])

    def one_of(place: Where | None) -> Where | None:
        return place if place is None else next(iter(stretches_of(place, parts)), None)

    def machine_of(machine: VirtualMachine) -> VirtualMachine:
        vcpus = tuple([replace(vcpu, where=one_of(vcpu.where)) for vcpu in machine.vcpus])
        return replace(machine, where=all_of(machine.where), vcpus=vcpus)

    return replace(
        capture,
        threads=tuple(
            [
                replace(thread, where=all_of(thread.where), stack_where=one_of(thread.stack_where))
                for thread in capture.threads
            ]
        ),
        processes=tuple([replace(process, where=all_of(process.where)) for process in capture.processes]),
        locks=tuple([replace(fact, where=one_of(fact.where)) for fact in capture.locks]),
        vms=tuple(map(machine_of, capture.vms)),
    )


def stretches_of(where: Where, parts: list[Part]) -> tuple[Where, ...]:
    return (where,) if where.source >= 0 else parts[-1 - where.source].stretches(where)
