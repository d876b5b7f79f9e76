"""``hangdiag graph``: the waits-for graph as a picture."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from hangdiag.cli.options import Files, Output, Rules


class Format(StrEnum):
    """Forms of the picture."""

    dot = "dot"
    svg = "svg"
    mermaid = "mermaid"


class Focus(StrEnum):
    """How much of the graph."""

    cycle = "cycle"
    vm = "vm"
    all = "all"


def graph(
    files: Files = None,
    format: Annotated[
        Format, typer.Option("--format", "-f", help="Form of the picture; svg needs Graphviz.")
    ] = Format.dot,
    focus: Annotated[
        Focus, typer.Option(help="The gravest finding's threads, all of its VM, or all that waits.")
    ] = Focus.vm,
    output: Output = None,
    rules: Rules = None,
) -> None:
    """Draw which thread waits for which (DOT, SVG through Graphviz, Mermaid)."""
    from hangdiag.cli import common
    from hangdiag.cli.output import deliver
    from hangdiag.report.dot import as_dot
    from hangdiag.report.mermaid import as_mermaid

    diagnoses, _ = common.load(files or [], rules or [])
    if format is Format.mermaid:
        text = as_mermaid(diagnoses, focus.value)
    else:
        text = as_dot(diagnoses, focus.value)
        if format is Format.svg:
            text = _svg(text)
    deliver(text, output)


def _svg(text: str) -> str:
    """Graphviz' drawing of a DOT text."""
    import shutil
    import subprocess

    from hangdiag.errors import UsageError

    program = shutil.which("dot")
    if program is None:
        raise UsageError("Graphviz is not installed; run 'pkg install graphviz', or use --format mermaid")
    try:
        done = subprocess.run(
            [program, "-Tsvg"], input=text, capture_output=True, text=True, timeout=60, check=False
        )
    except subprocess.TimeoutExpired:
        raise UsageError("Graphviz was not done after 60 s; use --focus cycle") from None
    if done.returncode != 0:
        first = (done.stderr.strip().splitlines() or ["no message"])[0]
        raise UsageError(f"Graphviz failed: {first}; use --format dot")
    return done.stdout
