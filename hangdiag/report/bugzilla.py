"""The bug report as plain text, for FreeBSD's Bugzilla and mailing lists.

80 columns where the content allows. Prose is indented so that no reader takes it for a
trace; the threads are printed so that ``hangdiag analyze`` reads this report and
concludes the same.
"""

from __future__ import annotations

from collections.abc import Sequence

from hangdiag import __version__, wording
from hangdiag.findings import Diagnosis, Finding
from hangdiag.report import summary
from hangdiag.report.places import escape, numbered
from hangdiag.report.summary import wrap
from hangdiag.report.summary_threads import thread_lines
from hangdiag.signature import signature


def as_bugzilla(diagnoses: Sequence[Diagnosis], notes: Sequence[str] = (), redacted: Sequence[str] = ()) -> str:
    """The report on the gravest capture. ``notes`` compare it with others, ``redacted`` is the footnote."""
    number = summary.gravest(diagnoses)
    diagnosis = diagnoses[number]
    lines = [f"Title: {summary.title(diagnosis)}", ""]
    if len(diagnoses) > 1:
        lines += [*wrap(f"From {numbered(diagnoses, number)}."), ""]
    for finding in diagnosis.findings[: summary.MOST_FINDINGS]:
        lines += _finding(diagnosis, finding)
    if (more := summary.more_findings(diagnosis)) is not None:
        lines += [*wrap(more), ""]
    if notes:
        lines += _section("OTHER CAPTURES", [line for note in notes for line in wrap(note, "  - ", "    ")])
    facts = summary.host_facts(diagnosis)
    lines += _section("HOST", [line for name, value in facts for line in wrap(f"{name}: {value}", "  ", "    ")])
    chosen = summary.relevant(diagnosis)
    said = wrap("As ddb, kgdb and procstat print what was read of them:")
    lines += _section("THREADS CONCERNED", [*said, "", *thread_lines(diagnosis, chosen)] if chosen else ["  none"])
    lines += _others(diagnosis, set(chosen))
    lines += _section("READ FROM", _sources(diagnosis))
    if redacted:
        lines += _section("REDACTED", [line for note in redacted for line in wrap(note, "  ", "    ")])
    lines += wrap(f"Written by hangdiag {__version__}; hangdiag analyze reads this text and concludes the same.")
    return "\n".join(line.rstrip() for line in lines) + "\n"


def _section(title: str, lines: Sequence[str]) -> list[str]:
    return [title, "", *lines, ""]


def _finding(diagnosis: Diagnosis, finding: Finding) -> list[str]:
    lines = wrap(f"{summary.heading(finding)}: {finding.summary}", "", "  ")
    lines.append("")
    if (age := summary.since(diagnosis, finding)) is not None:
        lines += [*wrap(f"Since when: {age}."), ""]
    shown = summary.picture(diagnosis, finding)
    if shown:
        lines += [*shown, ""]
    others = [index for index in finding.threads if finding.cycle and index not in finding.cycle]
    if others:
        lines += [*wrap(f"In it as well: {summary.members(diagnosis, others)}", "  ", "    "), ""]
    if finding.victims:
        lines += [*wrap(f"Stuck behind it: {summary.members(diagnosis, finding.victims)}", "  ", "    "), ""]
    if finding.reasons:
        lines += _section("WHY", [line for text in finding.reasons for line in wrap(text, "  - ", "    ")])
    if finding.evidence:
        lines += [*wrap(f"Evidence: {summary.evidence(diagnosis, finding)}", "  ", "    "), ""]
    bug = summary.known_bug(finding)
    if bug:
        lines += _section(finding.bug_title.upper(), [line for text in bug for line in wrap(text, "  ", "    ")])
    if finding.verdict != "no-hang":
        new = "" if bug else " No known bug has it."
        lines += [*wrap(f"Signature: {signature(diagnosis, finding)}.{new}", "  ", "    "), ""]
    if finding.next_steps:
        lines += _section("BEFORE REBOOTING", [line for text in finding.next_steps for line in summary.step_lines(text)])
    return lines


def _others(diagnosis: Diagnosis, chosen: set[int]) -> list[str]:
    """All other threads, equal stacks once."""
    rest = [index for index in range(len(diagnosis.capture.threads)) if index not in chosen]
    if not rest:
        return []
    lines: list[str] = []
    for title, stack, members in summary.grouped(diagnosis, rest):
        lines += wrap(f"{len(members)} x {title}", "  ", "    ")
        lines += wrap(wording.listed([_short(diagnosis, index) for index in members], 8), "      ")
        lines += wrap(stack, "      ", "        ") if stack else ["      no stack"]
    return _section("OTHER THREADS (equal stacks once, innermost function first)", lines)


def _short(diagnosis: Diagnosis, index: int) -> str:
    thread = diagnosis.capture.threads[index]
    name = thread.name or thread.command or "?"
    return escape(f"{name} {thread.tid}" if thread.tid is not None else name)


def _sources(diagnosis: Diagnosis) -> list[str]:
    lines: list[str] = []
    for source in diagnosis.capture.sources:
        inside = f" in {source.container}" if source.container else ""
        lines += wrap(f"{source.path}{inside}: {source.format or 'nothing recognised'}, {source.lines} lines", "  ", "    ")
        if source.sha256:
            lines.append(f"    SHA256 {source.sha256}")
    return lines
