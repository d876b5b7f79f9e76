"""How tests read a console that :mod:`fake_ddb` plays, and what must come of it."""

from __future__ import annotations

import pytest

from hangdiag.live import ddb_console
from hangdiag.live.attach import attach
from hangdiag.live.options import Options
from hangdiag.model import Thread

from .conftest import wait_until
from .fake_ddb import FakeDdb


def quiet(step: str, done: int, total: int) -> None:
    """No progress."""


def read(fake: FakeDdb, timeout: float = 20) -> dict[int | None, Thread]:
    """The threads by tid that asking ``fake`` finds; it must be left as it was found."""
    lines = fake.lines
    captures = attach(Options("ddb", fake.place, timeout=timeout), lambda line: None, quiet)
    assert fake.violations == []
    assert wait_until(lambda: fake.at_prompt)
    assert fake.lines == lines
    # Return would repeat it.
    assert fake.commands[-1] == "print $lines"
    return {thread.tid: thread for capture in captures for thread in capture.threads}


def is_read(threads: dict[int | None, Thread]) -> bool:
    return (
        threads[100043].wmesg == "vmrndv"
        and threads[100043].wchan == 0xFFFFFE0000723110
        and [frame.function for frame in threads[100045].frames][4] == "vcpu_set_state_locked"
    )


def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits for a tenth of what it usually does: here no line is slow."""
    for name in ("_QUIET", "_QUIETEST", "_ECHO_TIMEOUT"):
        monkeypatch.setattr(ddb_console, name, getattr(ddb_console, name) / 10)
