"""What ``hangdiag attach`` is asked for: which numbers make sense, and what is read only once."""

from __future__ import annotations

import math

import pytest

from hangdiag.errors import UsageError
from hangdiag.live.attach import attach
from hangdiag.live.options import Options
from hangdiag.model import Capture, Thread

from .conftest import command_line


def refuse(line: str) -> None:
    """Hears what should not have been said."""
    raise AssertionError(line)


@pytest.mark.parametrize("way", ["ddb", "remote", "core", "kernel", "ui"])
@pytest.mark.parametrize(
    "numbers",
    [
        {"timeout": value} for value in (0, -1, math.nan, math.inf, -math.inf, 1e300, 3601)
    ] + [
        {"interval": value} for value in (-1, math.nan, math.inf, 1e300)
    ] + [
        {"samples": value} for value in (0, -1, 10**9)
    ],
)  # fmt: skip
def test_numbers_that_make_no_sense(way: str, numbers: dict[str, float]) -> None:
    name = next(iter(numbers))
    with pytest.raises(UsageError, match=f"--{name} "):
        attach(Options(way, "x:1", **numbers), refuse, lambda step, done, total: None)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("option", "value"),
    [("--timeout", "nan"), ("--interval", "1e300"), ("--samples", "0")],
)
def test_the_command_line_refuses_them_too(option: str, value: str) -> None:
    done = command_line("attach", "--ddb", "127.0.0.1:1", option, value, timeout=20)
    assert done.returncode == 2
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert f"{option} " in done.stderr


@pytest.mark.parametrize("way", ["ddb", "core"])
def test_what_does_not_move_is_read_once(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    read: list[int] = []

    def note(options: Options, *rest: object) -> list[Capture]:
        read.append(options.samples)
        return [Capture(threads=(Thread(tid=1, state="running"),))] * options.samples

    monkeypatch.setattr("hangdiag.live.attach._sample", note)
    monkeypatch.setattr("hangdiag.live.ddb_interview.read_console", note)
    captures = attach(Options(way, "x:1", samples=3), said.append, lambda step, done, total: None)
    assert read == [1]
    assert len(captures) == 1
    assert len(said) == 1
    assert "--samples" in said[0]
    assert "samples" not in dict(captures[0].host.facts)
    attach(Options(way, "x:1"), refuse, lambda step, done, total: None)
