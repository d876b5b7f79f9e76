"""``hangdiag collect``: the script that gathers everything on a host without Python."""

from __future__ import annotations

from typing import Annotated

import typer


def collect(
    rounds: Annotated[int, typer.Option(help="How often the threads are read.", min=1, max=20)] = 3,
    interval: Annotated[int, typer.Option(help="Seconds between two rounds.", min=0, max=600)] = 5,
    limit: Annotated[int, typer.Option(help="Seconds that one command may take.", min=1, max=600)] = 20,
) -> None:
    """Print a sh script that gathers threads and host facts in one tar, for analyze to read."""
    from hangdiag.cli import common
    from hangdiag.collect import collect_script

    common.write(collect_script(rounds, interval, limit))
