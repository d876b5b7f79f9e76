"""A comparison in words."""

from __future__ import annotations

from typing import Any

from hangdiag import wording
from hangdiag.compare import Comparison, Course
from hangdiag.report.places import capture_name
from hangdiag.report.summary import heading, wrap

_TITLES = {
    "stuck": "Not moved",
    "slow": "Slow",
    "spinning": "On a CPU each time",
    "moved": "Moved",
    "resting": "At rest each time",
    "seen once": "In one capture only",
}


def as_lines(comparison: Comparison, width: int = 78) -> list[str]:
    """The comparison for the terminal: the findings first, then vCPUs, then the other threads."""
    count = len(comparison.diagnoses)
    if not comparison.same_host:
        return _hosts(comparison, width)
    seconds = f", {comparison.seconds:g} s from first to last" if comparison.seconds is not None else ""
    lines = wrap(f"{count} captures of one host{seconds}", "", width=width)
    for change in comparison.changes:
        lines += ["", *wrap(f"{heading(change.finding)}: {change.finding.summary}", "", "  ", width)]
        if change.note:
            lines += wrap(change.note[:1].upper() + change.note[1:] + ".", width=width)
        if change.certainty != change.finding.certainty:
            lines += wrap(f"Certainty: {change.finding.certainty} -> {change.certainty}.", width=width)
    for change in comparison.refuted:
        lines += ["", *wrap(f"Refuted: {heading(change.finding)}: {change.finding.summary}", "", "  ", width)]
        lines += wrap(change.note[:1].upper() + change.note[1:] + ".", width=width)
    if comparison.vcpus:
        lines += ["", "vCPUs"]
        groups: dict[tuple[str, str], list[int]] = {}
        for vcpu in comparison.vcpus:
            groups.setdefault((vcpu.machine, vcpu.behaviour), []).append(vcpu.vcpu)
        for (machine, behaviour), members in groups.items():
            names = wording.listed([f"vcpu {vcpu}" for vcpu in members], 32)
            lines += wrap(f"{machine}: {names} {behaviour}", "  ", "    ", width)
    for behaviour, title in _TITLES.items():
        found = [course for course in comparison.courses if course.behaviour == behaviour]
        if not found:
            continue
        lines += ["", f"{title}: {len(found)}"]
        if behaviour in ("resting", "moved", "seen once"):
            lines += wrap(wording.listed([_name(comparison, course) for course in found], 12), "  ", "  ", width)
        else:
            for course in found[:40]:
                lines += wrap(f"{_name(comparison, course)}: {course.why}", "  ", "    ", width)
            if len(found) > 40:
                lines.append(f"  and {len(found) - 40} more")
    return [*lines, "", *_same(comparison, width)]


def _hosts(comparison: Comparison, width: int) -> list[str]:
    lines = [f"{len(comparison.diagnoses)} captures of different hosts or boots", ""]
    for number, (diagnosis, found) in enumerate(zip(comparison.diagnoses, comparison.signatures, strict=True), 1):
        finding = diagnosis.findings[0]
        name = capture_name(diagnosis)
        lines += wrap(f"{number}. {name + ': ' if name else ''}{heading(finding)}: {finding.summary}", "  ", "     ", width)
        lines += wrap(f"signature {found[0]}", "     ", "       ", width)
    return [*lines, "", *_same(comparison, width)]


def _same(comparison: Comparison, width: int) -> list[str]:
    first = comparison.signatures[0][0]
    if comparison.same_hang:
        return wrap(f"The same hang in all captures: signature {first}.", "", "  ", width)
    if all(one.verdict == "no-hang" for one in comparison.diagnoses):
        return ["No hang in any of them."]
    told = "; ".join(f"{number}: {found[0]}" for number, found in enumerate(comparison.signatures, 1))
    return wrap(f"Not the same hang in all captures: {told}.", "", "  ", width)


def _name(comparison: Comparison, course: Course) -> str:
    for diagnosis, index in reversed(list(zip(comparison.diagnoses, course.places, strict=True))):
        if index is not None:
            name = wording.name(diagnosis.scene, index)
            tid = diagnosis.capture.threads[index].tid
            return name if tid is None or f"tid {tid}" in name else f"{name} (tid {tid})"
    return "a thread"


def notes(comparison: Comparison) -> list[str]:
    """What other captures add, as sentences for a bug report."""
    said = [change.note[:1].upper() + change.note[1:] for change in (*comparison.changes, *comparison.refuted) if change.note]
    for behaviour in ("stuck", "halted", "advanced"):
        vcpus = [vcpu for vcpu in comparison.vcpus if vcpu.behaviour == behaviour]
        if vcpus:
            said.append(f"vCPUs {behaviour}: {wording.listed([f'{vcpu.vcpu} of {vcpu.machine}' for vcpu in vcpus], 32)}")
    spinning = [course for course in comparison.courses if course.behaviour == "spinning"]
    named = [_name(comparison, course) for course in spinning if not _is_idle(comparison, course)]
    if named:
        said.append(f"On a CPU each time: {wording.listed(named, 8)}")
    return said


def _is_idle(comparison: Comparison, course: Course) -> bool:
    index = course.places[-1]
    return index is None or comparison.diagnoses[-1].waits[index].idle


def as_data(comparison: Comparison) -> dict[str, Any]:
    """The comparison as plain data, for JSON."""
    return {
        "schema": "hangdiag-compare/1",
        "same_host": comparison.same_host,
        "same_hang": comparison.same_hang,
        "seconds": comparison.seconds,
        "signatures": [[{"text": one.text, "digest": one.digest} for one in found] for found in comparison.signatures],
        "findings": [
            {
                "verdict": change.finding.verdict,
                "summary": change.finding.summary,
                "certainty_before": change.finding.certainty,
                "certainty": change.certainty,
                "note": change.note,
            }
            for change in comparison.changes
        ],
        "refuted": [{"summary": change.finding.summary, "note": change.note} for change in comparison.refuted],
        "vcpus": [
            {"vm": one.machine, "vcpu": one.vcpu, "behaviour": one.behaviour, "why": one.course.why} for one in comparison.vcpus
        ],
        "threads": [
            {
                "tid": _tid(comparison, course),
                "name": _name(comparison, course),
                "behaviour": course.behaviour,
                "why": course.why,
                "seen": [place is not None for place in course.places],
            }
            for course in comparison.courses
        ],
    }


def _tid(comparison: Comparison, course: Course) -> int | None:
    for diagnosis, index in zip(comparison.diagnoses, course.places, strict=True):
        if index is not None:
            return diagnosis.capture.threads[index].tid
    return None
