"""``hangdiag report``: a bug report, ready to send."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

if TYPE_CHECKING:
    from hangdiag.findings import Diagnosis


class Format(str, Enum):
    """Forms of the report."""

    bugzilla = "bugzilla"
    markdown = "markdown"
    html = "html"
    json = "json"


def report(
    files: Annotated[Optional[list[str]], typer.Argument(help="Files to read; - or a pipe is standard input.", show_default=False)] = None,
    format: Annotated[Format, typer.Option("--format", "-f", help="Form of the report.")] = Format.bugzilla,
    redact: Annotated[
        bool, typer.Option("--redact/--no-redact", help="Replace names of hosts, users and VMs, network addresses, serial numbers.")
    ] = True,
    redact_addresses: Annotated[bool, typer.Option("--redact-addresses", help="Replace kernel addresses as well.")] = False,
    output: Annotated[Optional[Path], typer.Option("--output", "-o", help="Write to this file.", metavar="FILE")] = None,
    rules: Annotated[Optional[list[Path]], typer.Option(help="A folder of further rules.", metavar="DIR")] = None,
) -> None:
    """Write a bug report: what is stuck, the evidence, the stacks, what to collect before a reboot."""
    import io
    import sys

    from hangdiag.cli import common
    from hangdiag.errors import UsageError

    paths = list(files or [])
    standard_input = None
    if not paths or "-" in paths:
        if not paths and (sys.stdin is None or sys.stdin.isatty()):
            raise UsageError("no input; give a file, or pipe a trace into hangdiag (see hangdiag --help)")
        paths = paths or ["-"]
        # read once, used twice: by the readers and for the text that HTML shows
        standard_input = io.BytesIO(sys.stdin.buffer.read())
    diagnoses = _diagnose(paths, standard_input, rules or [])
    texts = _texts(paths, standard_input, diagnoses) if format is Format.html else []
    text = write_report(diagnoses, format.value, texts, redact, redact_addresses)
    if output is None:
        common.write(text)
        return
    try:
        output.write_text(text, encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise UsageError(f"{output}: {error.strerror}; choose another file") from None


def write_report(
    diagnoses: Sequence[Diagnosis], format: str, texts: Sequence[str] = (), redact: bool = True, redact_addresses: bool = False
) -> str:
    """The report on ``diagnoses`` in one of the forms; ``texts`` are the sources' own, by number."""
    from hangdiag.compare import compare
    from hangdiag.redact import plan_redaction, redact_diagnosis
    from hangdiag.report.summary_compare import notes

    plan = None
    if redact or redact_addresses:
        plan = plan_redaction(diagnoses, texts, redact_addresses)
        if not redact:
            plan = plan.addresses_only()
        diagnoses = [redact_diagnosis(one, plan) for one in diagnoses]
        texts = [plan.text(text) for text in texts]
    said = notes(compare(diagnoses)) if len(diagnoses) > 1 else []

    def made(footnotes: Sequence[str]) -> str:
        if format == "json":
            from hangdiag.report.json import as_json

            return as_json(diagnoses)
        if format == "html":
            from hangdiag.report.html import as_html

            return as_html(diagnoses, texts, said, footnotes)
        if format == "markdown":
            from hangdiag.report.markdown import as_markdown

            return as_markdown(diagnoses, said, footnotes)
        from hangdiag.report.bugzilla import as_bugzilla

        return as_bugzilla(diagnoses, said, footnotes)

    if plan is None or format == "json":
        return made(())
    from hangdiag.report.bugzilla import as_bugzilla

    # only what stands for something in this report is named in its footnote
    shown = "\n".join(texts) + as_bugzilla(diagnoses, said)
    return made(plan.footnotes(shown))


def _diagnose(paths: Sequence[str], standard_input: object, rules: Sequence[Path]) -> Sequence[Diagnosis]:
    from hangdiag.diagnosis import diagnose
    from hangdiag.knowledge import Matcher, load_knowledge
    from hangdiag.readers.files import read_paths

    captures = read_paths(paths, standard_input)  # type: ignore[arg-type]
    knowledge = load_knowledge(rules)
    matcher = Matcher(knowledge)
    return [diagnose(capture, knowledge, matcher) for capture in captures]


def _texts(paths: Sequence[str], standard_input: object, diagnoses: Sequence[Diagnosis]) -> list[str]:
    """The text of every source, by number; empty where it was no text."""
    from hangdiag.containers import Limits, decode, open_items
    from hangdiag.containers.decode import describe_binary

    if standard_input is not None:
        standard_input.seek(0)  # type: ignore[attr-defined]
    found: list[tuple[str, str | None, str]] = []
    for path in paths:
        for item in open_items(path, standard_input, Limits()):  # type: ignore[arg-type]
            text = "" if not item.head or describe_binary(item.head) is not None else decode(item.read())[0]
            found.append((item.path, item.container, text))
    texts = []
    for source in diagnoses[0].capture.sources:
        texts.append(next((text for path, container, text in found if (path, container) == (source.path, source.container)), ""))
    return texts
