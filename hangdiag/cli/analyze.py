"""``hangdiag analyze``: from pasted traces to findings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Optional

import typer

from hangdiag.cli.options import AllThreads, FailOn, Files, Form, Format, Pid, Quiet, Rules, Vm

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hangdiag.findings import Diagnosis


def analyze(
    files: Files = None,
    format: Form = Format.text,
    all_threads: AllThreads = False,
    vm: Vm = None,
    pid: Pid = None,
    quiet: Quiet = False,
    strict: Annotated[
        bool, typer.Option(help="Exit 3 if a line that looks like part of a trace was not read.")
    ] = False,
    fail_on: FailOn = None,
    max_size: Annotated[
        Optional[str],
        typer.Option(
            help="Read at most this of one file, and out of one archive (4G, 1G).",
            metavar="SIZE",
            show_default=False,
        ),
    ] = None,
    max_files: Annotated[
        Optional[int],
        typer.Option(
            help="Read at most this many files of one archive or folder (10000).", show_default=False
        ),
    ] = None,
    max_depth: Annotated[
        Optional[int],
        typer.Option(min=0, help="Open so many archives in each other (5; a .tar.gz is two).", show_default=False),
    ] = None,
    rules: Rules = None,
) -> None:
    """Say what every thread waits for, and prove or rule out a deadlock."""
    from hangdiag.cli import common
    from hangdiag.errors import InputError
    from hangdiag.knowledge.model import VERDICTS

    diagnoses, _ = common.load(files or [], rules or [], max_size, max_files, max_depth)
    common.tell_skipped(one.capture for one in diagnoses)
    if format is Format.json:
        from hangdiag.report.json import as_json

        common.write(as_json(diagnoses))
    else:
        show(diagnoses, all_threads, vm, pid, quiet)
    if strict:
        missed = [item for one in diagnoses for item in one.capture.unread if item.trace_like]
        if missed:
            source = diagnoses[0].capture.sources[missed[0].where.source].path
            raise InputError(
                f"{source}:{missed[0].where.first}: looks like a trace but was not read; report the line to hangdiag"
            )
    if fail_on is not None and any(
        VERDICTS.index(finding.verdict) <= VERDICTS.index(fail_on.value)
        for one in diagnoses
        for finding in one.findings
    ):
        raise typer.Exit(1)


def show(
    diagnoses: Sequence[Diagnosis], all_threads: bool, vm: str | None, pid: int | None, quiet: bool
) -> None:
    """Print the terminal report, coloured where the terminal can."""
    from hangdiag.cli import common
    from hangdiag.report import terminal

    if quiet:
        common.write("".join(terminal.quiet_line(one) + "\n" for one in diagnoses))
        return
    options = terminal.Options(common.terminal_width(), all_threads, vm, pid, common.speaks_unicode())
    lines = terminal.render(diagnoses, options)
    if not common.wants_colour():
        common.write(terminal.plain(lines))
        return
    from rich.console import Console
    from rich.text import Text

    console = Console(width=options.width, highlight=False, soft_wrap=True)
    for line in lines:
        console.print(Text.assemble(*[(text, style) for style, text in line]))
