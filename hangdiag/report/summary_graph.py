"""Which threads and edges of the waits-for graph a picture shows, and in what part."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace

from hangdiag import wording
from hangdiag.findings import Diagnosis, Edge

#: What a picture can show: the gravest finding's threads alone, everything of its VM, or all that waits.
FOCUSES = ("cycle", "vm", "all")
#: More threads than this that are alike, and for which nobody waits, are drawn as one.
_CROWD = 8


@dataclass(frozen=True, slots=True)
class Picture:
    """Thread indices and the edges between them. ``parts`` tells each thread's: core, victim, cause or other.

    ``crowds`` tells for how many threads one of ``threads`` stands; ``choices`` are those that wait for several.
    """

    threads: tuple[int, ...]
    edges: tuple[Edge, ...]
    parts: dict[int, str]
    choices: frozenset[int]
    crowds: dict[int, int]


def select(diagnosis: Diagnosis, focus: str) -> Picture:
    """The part of the graph for ``focus``, one of :data:`FOCUSES`."""
    gravest = diagnosis.findings[0]
    chosen = dict.fromkeys((*gravest.cycle, *gravest.threads, *gravest.causes))
    if focus == "vm":
        machines = {
            machine.number: machine for index in chosen if (machine := diagnosis.scene.machine_of.get(index)) is not None
        } or {machine.number: machine for machine in diagnosis.machines}
        for machine in machines.values():
            busy = [index for index in sorted(machine.members) if not diagnosis.waits[index].idle]
            chosen.update(dict.fromkeys((*machine.vcpus.values(), *busy, *sorted(machine.visitors))))
        chosen.update(dict.fromkeys(gravest.victims))
    elif focus == "all":
        for machine in diagnosis.machines:
            chosen.update(dict.fromkeys(machine.vcpus.values()))
        for edge in diagnosis.edges:
            chosen.update({edge.waiter: None, edge.holder: None})
    edges = tuple([edge for edge in diagnosis.edges if edge.waiter in chosen and edge.holder in chosen])
    parts = {index: part(diagnosis, index) for index in chosen}
    return Picture(tuple(chosen), edges, parts, choices(diagnosis), {})


def choices(diagnosis: Diagnosis) -> frozenset[int]:
    """The threads that wait for several."""
    counts = Counter(edge.waiter for edge in diagnosis.edges)
    return frozenset([waiter for waiter, number in counts.items() if number > 1])


def without_crowds(diagnosis: Diagnosis, picture: Picture) -> Picture:
    """``picture`` with one thread of each crowd: Graphviz does not draw thousands, and nobody looks at them."""
    awaited = {edge.holder for edge in picture.edges} | set(diagnosis.findings[0].cycle)
    ways: dict[int, list[object]] = {}
    for edge in picture.edges:
        label = diagnosis.resources[edge.resource].label
        ways.setdefault(edge.waiter, []).append((edge.holder, label, edge.mode, edge.certainty))
    alike: dict[object, list[int]] = {}
    for index in picture.threads:
        if index not in awaited:
            thread, wait = diagnosis.capture.threads[index], diagnosis.waits[index]
            sort = (thread.command, thread.wmesg, wait.kind, wait.via, picture.parts[index])
            alike.setdefault((sort, tuple(ways.get(index, ()))), []).append(index)
    crowds = {members[0]: len(members) for members in alike.values() if len(members) > _CROWD}
    left_out = {index for members in alike.values() if len(members) > _CROWD for index in members[1:]}
    return replace(
        picture,
        threads=tuple([index for index in picture.threads if index not in left_out]),
        edges=tuple([edge for edge in picture.edges if edge.waiter not in left_out]),
        crowds=crowds,
    )


def part(diagnosis: Diagnosis, index: int) -> str:
    """What a thread is in the gravest finding that concerns it."""
    for finding in diagnosis.findings:
        if index in finding.threads:
            return "core" if finding.verdict == "deadlock" else "waiting"
        if index in finding.causes:
            return "cause"
        if index in finding.victims:
            return "victim"
    return "other"


def lines(diagnosis: Diagnosis, picture: Picture, index: int) -> list[str]:
    """A node's text: name and process, id and wmesg, kind of wait."""
    thread = diagnosis.capture.threads[index]
    name = wording.name(diagnosis.scene, index)
    if index in picture.crowds:
        name += f" and {picture.crowds[index] - 1} more like it"
    machine = diagnosis.scene.machine_of.get(index)
    if machine is not None and name.startswith("vcpu "):
        name += f" of {machine.label}"
    facts = [f"tid {thread.tid}"] if thread.tid is not None and f"tid {thread.tid}" not in name else []
    if thread.wmesg is not None:
        facts.append(thread.wmesg)
    wait = diagnosis.waits[index]
    facts.append(f"{wait.kind} ({wait.via})" if wait.via else wait.kind)
    return [name, ", ".join(facts)]


def edge_text(diagnosis: Diagnosis, picture: Picture, edge: Edge) -> str:
    """An edge's text: the resource, and which of several holders must act."""
    label = diagnosis.resources[edge.resource].label
    return f"{label} ({edge.mode.upper()})" if edge.waiter in picture.choices else label
