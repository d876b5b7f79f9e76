"""``hangdiag compare``: what moved between captures."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Optional

import typer

from hangdiag.cli.options import Rules


class Format(StrEnum):
    """Forms of the comparison."""

    text = "text"
    json = "json"


class Host(StrEnum):
    """Whose captures they are."""

    auto = "auto"
    same = "same"
    different = "different"


def compare(
    files: Annotated[
        list[str],
        typer.Argument(help="Captures, oldest first; one file may hold several.", show_default=False),
    ],
    format: Annotated[Format, typer.Option("--format", "-f", help="Form of the comparison.")] = Format.text,
    seconds: Annotated[
        Optional[float], typer.Option(help="Time between the first and the last capture.", min=0)
    ] = None,
    host: Annotated[
        Host, typer.Option(help="Are they of one host? auto: decide by threads and addresses.")
    ] = Host.auto,
    rules: Rules = None,
) -> None:
    """Say which threads moved between captures of one host, or whether two hosts have the same hang."""
    from hangdiag.cli import common
    from hangdiag.compare import compare as compare_captures
    from hangdiag.errors import UsageError
    from hangdiag.report.summary_compare import as_data, as_lines
    from hangdiag.report.summary_forms import with_threads

    diagnoses = [one for path in files for one in with_threads(common.load([path], rules or [])[0])]
    if len(diagnoses) < 2:
        raise UsageError("only one capture in the input; give at least two, taken some seconds apart")
    same = None if host is Host.auto else host is Host.same
    comparison = compare_captures(diagnoses, seconds, same)
    if format is Format.json:
        import json

        common.write(json.dumps(as_data(comparison), separators=(",", ":"), ensure_ascii=False) + "\n")
    else:
        common.write("\n".join(as_lines(comparison, common.terminal_width() - 2)) + "\n")
