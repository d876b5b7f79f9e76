"""Captures of one host some seconds apart: what moved, what did not. Of several hosts: the same hang or not.

docs/compare.md says what counts as moved and what that does to a finding's certainty.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from hangdiag import wording
from hangdiag.findings import Diagnosis, Finding
from hangdiag.model import Frame, Thread
from hangdiag.signature import Signature, signature

#: How a thread behaved: not one step; asleep for the same reason each time, but not at the same place; on a
#: CPU each time; anything else; seen in one capture only.
BEHAVIOURS = ("stuck", "slow", "spinning", "resting", "moved", "seen once")

#: So many captures behind one are looked at for its threads.
_MOST_LATER = 20
#: Verdicts that a thread's progress speaks against.
_MAY_BE_SLOW = frozenset({"io-stall", "memory-starvation", "blocked", "contention", "inconclusive"})


@dataclass(frozen=True, slots=True)
class Course:
    """A thread through the captures: ``places[i]`` is its index in capture ``i``, None where it is missing."""

    places: tuple[int | None, ...]
    behaviour: str
    why: str


@dataclass(frozen=True, slots=True)
class VcpuCourse:
    """A vCPU through the captures: ``advanced``, ``halted`` (at rest each time), ``stuck`` or ``unknown``."""

    machine: str
    vcpu: int
    behaviour: str
    course: Course


@dataclass(frozen=True, slots=True)
class Change:
    """What the other captures say of a finding of the last one: ``certainty`` afterwards, and why."""

    finding: Finding
    certainty: str
    note: str


@dataclass(frozen=True, slots=True)
class Comparison:
    """Several captures compared. ``courses`` are in the order of the last capture, vanished threads behind.

    ``changes`` concern the findings of the last capture, ``refuted`` the deadlocks of earlier ones
    whose threads moved afterwards.
    """

    diagnoses: tuple[Diagnosis, ...]
    same_host: bool
    seconds: float | None
    courses: tuple[Course, ...]
    vcpus: tuple[VcpuCourse, ...]
    changes: tuple[Change, ...]
    refuted: tuple[Change, ...]
    signatures: tuple[tuple[Signature, ...], ...]

    @property
    def same_hang(self) -> bool:
        """Has every capture a finding with the signature of the gravest one of the first?"""
        first = self.signatures[0][0]
        hang = self.diagnoses[0].verdict != "no-hang"
        return hang and all(any(one.digest == first.digest for one in found) for found in self.signatures)


def compare(diagnoses: Sequence[Diagnosis], seconds: float | None = None, same_host: bool | None = None) -> Comparison:
    """Compare at least two captures, oldest first. ``seconds`` passed between the first and the last one.

    ``same_host`` None: decided by :func:`is_same_host`.
    """
    captures = tuple(diagnoses)
    if same_host is None:
        same_host = all(is_same_host(captures[0], other) for other in captures[1:])
    courses = _courses(captures) if same_host else ()
    return Comparison(
        captures,
        same_host,
        seconds,
        courses,
        _vcpus(captures, courses),
        tuple([_change(captures, finding, seconds) for finding in captures[-1].findings]) if same_host else (),
        _refuted(captures) if same_host else (),
        tuple([tuple([signature(one, finding) for finding in one.findings]) for one in captures]),
    )


def is_same_host(first: Diagnosis, second: Diagnosis) -> bool:
    """Are two captures of one host, and of one boot?

    Kernel threads have the same ids on many hosts, so only user processes and addresses count.
    """
    names = (first.capture.host.hostname, second.capture.host.hostname)
    if all(names) and names[0] != names[1]:
        return False
    known = {thread.tid: thread for thread in second.capture.threads if thread.tid is not None}
    shared = [
        (thread, known[thread.tid]) for thread in first.capture.threads if thread.tid is not None and thread.tid in known
    ]
    if not shared:
        return False
    addresses = [before.address == after.address for before, after in shared if before.address and after.address]
    if addresses and sum(addresses) * 2 < len(addresses):
        return False
    guests = [
        (thread.pid, thread.tid, thread.name)
        for machine in first.machines
        for thread in (first.capture.threads[index] for index in machine.members)
    ]
    if not guests:
        return len(shared) * 2 >= min(len(first.capture.threads), len(second.capture.threads))
    there = {(thread.pid, thread.tid, thread.name) for thread in second.capture.threads}
    return sum(1 for guest in guests if guest in there) * 2 >= len(guests)


def _key(thread: Thread) -> object:
    if thread.tid is not None:
        return thread.tid
    if thread.address is not None:
        return ("address", thread.address)
    return ("name", thread.pid, thread.command, thread.name, thread.cpu)


def _courses(captures: tuple[Diagnosis, ...]) -> tuple[Course, ...]:
    tables = [{_key(thread): index for index, thread in enumerate(one.capture.threads)} for one in captures]
    keys = dict.fromkeys(key for table in reversed(tables) for key in table)
    courses = []
    for key in keys:
        places = tuple([table.get(key) for table in tables])
        behaviour, why = _behaviour(captures, places)
        courses.append(Course(places, behaviour, why))
    return tuple(courses)


def _behaviour(captures: tuple[Diagnosis, ...], places: tuple[int | None, ...]) -> tuple[str, str]:
    seen = [(one, index) for one, index in zip(captures, places, strict=True) if index is not None]
    if len(seen) < 2:
        return "seen once", "in one capture only"
    threads = [one.capture.threads[index] for one, index in seen]
    waits = [one.waits[index] for one, index in seen]
    pids = {(thread.pid, thread.command) for thread in threads}
    if len({pid for pid, _ in pids}) > 1:
        return "seen once", "its thread id was used again by another process"
    on_cpu = [wait.on_cpu for wait in waits]
    if all(on_cpu):
        if _are_vcpus(seen):
            return "moved", "runs its guest, or is about to, each time"
        return "spinning", "on a CPU or ready to run each time"
    if any(on_cpu):
        return "moved", "on a CPU in one capture, asleep in another"
    if all(_same_place(threads[0], other) for other in threads[1:]):
        if all(wait.idle for wait in waits):
            return "resting", "at rest, as is normal for it"
        shown = " and wchan" if threads[0].wchan is not None else ""
        return "stuck", f"the same stack{shown} each time" if threads[0].frames else f"the same wmesg{shown} each time"
    if len({wait.kind for wait in waits}) == 1 and not any(wait.idle for wait in waits):
        return "slow", f"waits each time ({waits[-1].kind}), but not at the same place"
    return "moved", "another stack or wchan"


def _are_vcpus(seen: Sequence[tuple[Diagnosis, int]]) -> bool:
    return all(
        (machine := one.scene.machine_of.get(index)) is not None and index in machine.vcpus.values() for one, index in seen
    )


def _same_place(before: Thread, after: Thread) -> bool:
    """Same stack, wait channel, wait message and lock, as far as both captures tell them."""
    if before.frames and after.frames and not _same_stack(before.frames, after.frames):
        return False
    if not (before.frames and after.frames) and before.wmesg is None and before.lock is None:
        return False
    return all(
        one is None or other is None or one == other
        for one, other in ((before.wchan, after.wchan), (before.wmesg, after.wmesg), (before.lock, after.lock))
    )


def _same_stack(before: tuple[Frame, ...], after: tuple[Frame, ...]) -> bool:
    """Same functions at the same offsets; inlined frames and the tool's own first frame aside."""
    first, second = _compared(before), _compared(after)
    return len(first) == len(second) and all(
        one.function == other.function and (one.offset is None or other.offset is None or one.offset == other.offset)
        for one, other in zip(first, second, strict=True)
    )


def _compared(frames: tuple[Frame, ...]) -> list[Frame]:
    return [frame for frame in frames if not frame.inlined and frame.function not in ("sched_switch", "mi_switch")]


def _vcpus(captures: tuple[Diagnosis, ...], courses: tuple[Course, ...]) -> tuple[VcpuCourse, ...]:
    last = captures[-1]
    found = []
    course_of = {course.places[-1]: course for course in courses if course.places[-1] is not None}
    for machine in last.machines:
        for vcpu, index in machine.vcpus.items():
            course = course_of.get(index)
            if course is None:
                continue
            kinds = {one.waits[place].kind for one, place in zip(captures, course.places, strict=True) if place is not None}
            behaviour = {"stuck": "stuck", "slow": "stuck", "seen once": "unknown"}.get(course.behaviour, "advanced")
            if kinds == {"vcpu-halt"} or course.behaviour == "resting":
                behaviour = "halted"
            found.append(VcpuCourse(machine.label, vcpu, behaviour, course))
    return tuple(found)


def _change(captures: tuple[Diagnosis, ...], finding: Finding, seconds: float | None) -> Change:
    """What the earlier captures say of a finding of the last one."""
    last = len(captures) - 1
    if finding.verdict == "no-hang" or not finding.threads:
        return Change(finding, finding.certainty, "")
    since = last
    while since > 0 and _moved(captures[last], finding.threads, captures[since - 1]) == (0, len(finding.threads)):
        since -= 1
    count = len(finding.threads)
    if since == 0:
        span = f"in {seconds:g} s" if seconds is not None else f"in {len(captures)} captures"
        sure = "likely" if finding.certainty == "possible" else finding.certainty
        return Change(finding, sure, f"none of its {count} threads has moved {span}")
    if since < last:
        return Change(finding, finding.certainty, f"none of its {count} threads has moved since capture {since + 1}")
    moved, seen = _moved(captures[last], finding.threads, captures[last - 1])
    if moved == 0:
        return Change(finding, finding.certainty, f"{seen} of its {count} threads are in capture {last} too, and have not moved")
    if finding.verdict == "deadlock":
        note = f"it began after capture {last}: {moved} of its {count} threads were elsewhere then"
        return Change(finding, finding.certainty, note)
    sure = "possible" if finding.verdict in _MAY_BE_SLOW else finding.certainty
    told = ": it may be slow, not hung" if finding.verdict in _MAY_BE_SLOW else ""
    return Change(finding, sure, f"{moved} of its {count} threads moved after capture {last}{told}")


def _refuted(captures: tuple[Diagnosis, ...]) -> tuple[Change, ...]:
    """Deadlocks of earlier captures whose threads moved afterwards: they were none."""
    found = []
    for number, (one, following) in enumerate(pairwise(captures), 1):
        for finding in one.findings:
            if finding.verdict != "deadlock":
                continue
            moved, _ = _moved(one, finding.threads, following)
            if moved:
                note = f"{moved} of its {len(finding.threads)} threads moved after capture {number}: what moves is not deadlocked"
                found.append(Change(finding, "possible", note))
    return tuple(found)


def _moved(one: Diagnosis, indices: Sequence[int], other: Diagnosis) -> tuple[int, int]:
    """Of threads of ``one``: how many are elsewhere in ``other``, and how many are in it at all."""
    table = {_key(thread): thread for thread in other.capture.threads}
    threads = [one.capture.threads[index] for index in indices]
    seen = [(thread, table[_key(thread)]) for thread in threads if _key(thread) in table]
    return sum(1 for thread, counterpart in seen if not _same_place(thread, counterpart)), len(seen)


def with_changes(comparison: Comparison) -> Diagnosis:
    """The last diagnosis with the certainties that the comparison leaves, and the notes among the reasons."""
    last = comparison.diagnoses[-1]
    findings = tuple(
        [
            replace(
                change.finding,
                certainty=change.certainty,
                reasons=change.finding.reasons + ((change.note,) if change.note else ()),
            )
            for change in comparison.changes
        ]
    )
    return replace(last, findings=findings) if findings else last


def doubted(diagnoses: Sequence[Diagnosis]) -> tuple[Diagnosis, ...]:
    """``diagnoses`` of one input, in which a deadlock is possible at most if one of its threads waits for something else, or
    runs, further down in the same file: what moves is not deadlocked.
    """
    given = tuple(diagnoses)
    return tuple([_doubted(one, given[number : number + _MOST_LATER]) for number, one in enumerate(given, 1)])


def _doubted(one: Diagnosis, later: tuple[Diagnosis, ...]) -> Diagnosis:
    deadlocks = [finding for finding in one.findings if finding.verdict == "deadlock" and finding.certainty != "possible"]
    if not deadlocks or not (later := tuple([other for other in later if is_same_host(one, other)])):
        return one
    looks = [(other, _places(other)) for other in later]
    findings = list(one.findings)
    for finding in deadlocks:
        moved = [index for index in finding.threads if any(_does_other(one, index, *look) for look in looks)]
        if moved:
            note = f"{wording.names(one.scene, moved)}: elsewhere further down in the same file; what moves is not deadlocked"
            findings[findings.index(finding)] = replace(
                finding,
                certainty="possible",
                summary=wording.deadlock(one.scene, finding.threads, "possible"),
                reasons=(*finding.reasons, note),
            )
    return replace(one, findings=tuple(findings))


def _places(diagnosis: Diagnosis) -> dict[object, int]:
    """Where each thread is; of those that nothing tells apart, the first."""
    places: dict[object, int] = {}
    for index, thread in enumerate(diagnosis.capture.threads):
        places.setdefault(_key(thread), index)
    return places


def _does_other(one: Diagnosis, index: int, other: Diagnosis, places: Mapping[object, int]) -> bool:
    """Does thread ``index`` of ``one`` wait for something of another kind, or run, in ``other``, further down in its file?"""
    thread, wait = one.capture.threads[index], one.waits[index]
    place = places.get(_key(thread))
    if place is None or other.waits[place].kind in ("unknown", "sleep", "stopped", wait.kind):
        return False
    before, after = thread.where, other.capture.threads[place].where
    sources = one.capture.sources, other.capture.sources
    return (
        bool(before and after)
        and sources[0][before[0].source].path == sources[1][after[0].source].path
        and before[-1].last < after[0].first
    )
