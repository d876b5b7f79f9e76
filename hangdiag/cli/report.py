"""``hangdiag report``: a bug report, ready to send."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from hangdiag.cli.options import Files, Output, Rules


class Format(StrEnum):
    """Forms of the report."""

    bugzilla = "bugzilla"
    markdown = "markdown"
    html = "html"
    json = "json"


def report(
    files: Files = None,
    format: Annotated[Format, typer.Option("--format", "-f", help="Form of the report.")] = Format.bugzilla,
    redact: Annotated[
        bool,
        typer.Option(
            "--redact/--no-redact",
            help="Replace names of hosts, users and VMs, network addresses, serial numbers.",
        ),
    ] = True,
    redact_addresses: Annotated[
        bool, typer.Option("--redact-addresses", help="Replace kernel addresses as well.")
    ] = False,
    output: Output = None,
    rules: Rules = None,
) -> None:
    """Write a bug report: what is stuck, the evidence, the stacks, what to collect before a reboot."""
    import io
    import sys

    from hangdiag.cli.output import deliver
    from hangdiag.errors import UsageError
    from hangdiag.report.summary_forms import diagnose_paths, source_texts, write_report

    paths = list(files or [])
    standard_input = None
    if not paths or "-" in paths:
        if not paths and (sys.stdin is None or sys.stdin.isatty()):
            raise UsageError("no input; give a file, or pipe a trace into hangdiag (see hangdiag --help)")
        paths = paths or ["-"]
        # read once, used twice: by the readers, and as the text that HTML shows and names are looked for in
        standard_input = io.BytesIO(sys.stdin.buffer.read())
    diagnoses = diagnose_paths(paths, standard_input, rules or [])
    texts = source_texts(paths, standard_input, diagnoses) if format is Format.html or redact else []
    text = write_report(diagnoses, format.value, texts, redact, redact_addresses)
    deliver(text, output)
