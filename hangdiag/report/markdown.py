"""The bug report as Markdown (CommonMark, and GitHub's Mermaid blocks)."""

from __future__ import annotations

import re
from collections.abc import Sequence

from hangdiag import __version__, wording
from hangdiag.findings import Diagnosis, Finding
from hangdiag.report import summary
from hangdiag.report.mermaid import as_mermaid
from hangdiag.report.places import escape, numbered
from hangdiag.report.summary_threads import thread_lines
from hangdiag.signature import signature

#: What would begin markup, HTML or (``@``) a mention anywhere in a line.
_SPECIAL = re.compile(r"([\\`*_\[\]<>|~&#@])")


def as_markdown(diagnoses: Sequence[Diagnosis], notes: Sequence[str] = (), redacted: Sequence[str] = ()) -> str:
    """The report on the gravest capture. ``notes`` compare it with others, ``redacted`` is the footnote."""
    number = summary.gravest(diagnoses)
    diagnosis = diagnoses[number]
    lines = [f"# {text(summary.title(diagnosis))}", ""]
    if len(diagnoses) > 1:
        lines += [text(f"From {numbered(diagnoses, number)}."), ""]
    for finding in diagnosis.findings[: summary.MOST_FINDINGS]:
        lines += _finding(diagnosis, finding)
    if (more := summary.more_findings(diagnosis)) is not None:
        lines += [text(more), ""]
    if diagnosis.findings[0].cycle:
        lines += ["```mermaid", as_mermaid([diagnosis], "cycle").rstrip(), "```", ""]
    if notes:
        lines += ["## Other captures", "", *(f"- {text(note)}" for note in notes), ""]
    facts = summary.host_facts(diagnosis)
    lines += ["## Host", ""]
    lines += [f"- {text(name.strip())}: {text(value)}" for name, value in facts]
    chosen = summary.relevant(diagnosis)
    lines += ["", "## Threads concerned", "", *block(thread_lines(diagnosis, chosen)), ""]
    lines += _others(diagnosis, set(chosen))
    lines += ["## Read from", ""]
    for source in diagnosis.capture.sources:
        digest = f", SHA256 `{source.sha256}`" if source.sha256 else ""
        lines.append(f"- {text(source.path)}: {source.format or 'nothing recognised'}, {source.lines} lines{digest}")
    if redacted:
        lines += ["", "## Redacted", "", *(f"- {text(note)}" for note in redacted)]
    lines += ["", f"Written by hangdiag {__version__}."]
    return "\n".join(lines) + "\n"


def _finding(diagnosis: Diagnosis, finding: Finding) -> list[str]:
    lines = [f"## {text(summary.heading(finding))}", "", f"**{text(finding.summary)}**", ""]
    if (age := summary.since(diagnosis, finding)) is not None:
        lines += [f"Since when: {text(age)}.", ""]
    shown = summary.picture(diagnosis, finding)
    if shown:
        lines += [*block(shown), ""]
    others = [index for index in finding.threads if finding.cycle and index not in finding.cycle]
    if others:
        lines += [f"In it as well: {text(summary.members(diagnosis, others))}", ""]
    if finding.victims:
        lines += [f"Stuck behind it: {text(summary.members(diagnosis, finding.victims))}", ""]
    if finding.reasons:
        lines += ["Why:", "", *(f"- {text(reason)}" for reason in finding.reasons), ""]
    if finding.evidence:
        lines += [f"Evidence: {text(summary.evidence(diagnosis, finding))}", ""]
    bug = summary.known_bug(finding)
    if bug:
        lines += [f"### {finding.bug_title}", "", *(line for paragraph in bug for line in (text(paragraph), ""))]
    if finding.verdict != "no-hang":
        name = signature(diagnosis, finding)
        lines += [f"Signature: `{name.digest}` {text(name.text)}{'' if bug else '. No known bug has it.'}", ""]
    if finding.next_steps:
        lines += ["### Before rebooting", ""]
        for item in finding.next_steps:
            lead, command = summary.step(item)
            lines += [f"- {text(lead)}"] if command is None else [f"- {text(lead)}:", "", *block([command], "  "), ""]
        lines.append("")
    return lines


def _others(diagnosis: Diagnosis, chosen: set[int]) -> list[str]:
    rest = [index for index in range(len(diagnosis.capture.threads)) if index not in chosen]
    if not rest:
        return []
    lines = ["## Other threads", "", "Equal stacks once, innermost function first.", ""]
    for title, stack, members in summary.grouped(diagnosis, rest):
        names = [
            f"{thread.name or thread.command or '?'} {thread.tid if thread.tid is not None else ''}".strip()
            for thread in (diagnosis.capture.threads[index] for index in members)
        ]
        lines.append(f"- {len(members)} x {text(title)}: {text(wording.listed(names, 8))}")
        if stack:
            lines.append(f"  {code(stack)}")
    return [*lines, ""]


def text(value: str) -> str:
    """Text that Markdown shows as it is: no markup, no HTML, no mention."""
    plain = _SPECIAL.sub(r"\\\1", escape(" ".join(value.split())))
    # what would begin a list where a paragraph begins
    return re.sub(r"\A(\d+)([.)])|\A([+-])", lambda found: f"{found.group(1) or ''}\\{found.group(2) or found.group(3)}", plain)


def code(value: str) -> str:
    """An inline code span, whatever backticks are inside."""
    fence = "`" * (max((len(run) for run in re.findall(r"`+", value)), default=0) + 1)
    return f"{fence} {value} {fence}" if "`" in value else f"`{value}`"


def block(lines: Sequence[str], indent: str = "") -> list[str]:
    """A fenced block that none of its lines can end."""
    runs = [len(run) for line in lines for run in re.findall(r"`{3,}", line)]
    fence = "`" * (max(runs, default=2) + 1)
    return [f"{indent}{fence}text", *(f"{indent}{escape(line)}" for line in lines), f"{indent}{fence}"]
