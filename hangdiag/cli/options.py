"""Options that several commands share, declared once: typer reads them from each command's signature."""

from __future__ import annotations

from enum import Enum, StrEnum
from pathlib import Path
from typing import Annotated, Optional

import typer

Verdict = Enum(  # type: ignore[misc]
    "Verdict",
    {
        name.replace("-", "_"): name
        for name in (
            "deadlock", "memory-starvation", "io-stall", "spin", "blocked", "contention", "inconclusive", "no-hang",
        )
    },
    type=str,
)  # fmt: skip


class Format(StrEnum):
    """Forms of the report."""

    text = "text"
    json = "json"


Files = Annotated[
    Optional[list[str]],
    typer.Argument(help="Files to read; - or a pipe is standard input.", show_default=False),
]
Form = Annotated[Format, typer.Option("--format", "-f", help="Form of the report.")]
AllThreads = Annotated[bool, typer.Option("--all", "-a", help="Show every thread.")]
Vm = Annotated[Optional[str], typer.Option(help="Show only this VM.", metavar="NAME")]
Pid = Annotated[Optional[int], typer.Option(help="Show only this process.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="One line: the gravest finding.")]
FailOn = Annotated[
    Optional[Verdict], typer.Option(help="Exit 1 if a finding is at least this grave.", show_default=False)
]
Output = Annotated[Optional[Path], typer.Option("--output", "-o", help="Write to this file.", metavar="FILE")]
Rules = Annotated[Optional[list[Path]], typer.Option(help="A folder of further rules.", metavar="DIR")]
