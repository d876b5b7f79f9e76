"""The script for a host without Python (docs/collect.md)."""

from __future__ import annotations

from importlib.resources import files

from hangdiag import __version__


def collect_script(rounds: int = 3, interval: int = 5, limit: int = 20) -> str:
    """The POSIX sh script: ``rounds`` readings ``interval`` seconds apart, ``limit`` seconds a command."""
    script = files("hangdiag").joinpath("collect", "collect.sh").read_text(encoding="ascii")
    known = {"VERSION": __version__, "ROUNDS": str(rounds), "INTERVAL": str(interval), "LIMIT": str(limit)}
    for name, value in known.items():
        script = script.replace(f"@{name}@", value)
    return script
