"""``hangdiag attach --save``: the reading is never lost, and nothing is read for a file that cannot be written."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import typer

from hangdiag.cli import attach as command
from hangdiag.cli.app import run
from hangdiag.errors import DebuggerError
from hangdiag.live.attach import CutShort
from hangdiag.model import Capture, Frame, Source, Thread
from hangdiag.savefile import load

CAPTURE = Capture(
    sources=(Source("live", "ddb", 0),),
    threads=(Thread(pid=1, tid=100007, command="init", name="init", state="sleeping", wmesg="wait",
                    frames=(Frame("mi_switch", 0xD2), Frame("_sleep", 0x1F2), Frame("sys_wait6", 0x10))),),
)  # fmt: skip


@pytest.fixture
def attach(monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[int, int]]:
    """Runs ``hangdiag attach`` on a target that is made up: exit code, and how often the target was read."""

    def ran(*arguments: str, failure: DebuggerError | None = None) -> tuple[int, int]:
        times: list[int] = []

        def read(options: object, show: bool) -> tuple[tuple[Capture, ...], DebuggerError | None]:
            times.append(1)
            return (CAPTURE,), failure

        monkeypatch.setattr(command, "_read", read)
        return run(["attach", "--ddb", "/dev/ttyU0", *arguments]), len(times)

    return ran


def saved(path: Path) -> Capture:
    return load(path.read_text())


def test_a_place_where_nothing_can_be_saved_is_known_before_reading(
    attach: Callable[..., tuple[int, int]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for path in (tmp_path, tmp_path / "absent" / "file"):
        assert attach("--save", str(path)) == (3, 0)
        shown = capsys.readouterr()
        assert shown.out == ""
        assert shown.err.startswith(f"hangdiag: {path}: cannot be written (")
        assert len(shown.err.splitlines()) == 1


def test_the_report_comes_even_if_the_file_does_not(
    attach: Callable[..., tuple[int, int]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert attach("--save", "/dev/full") == (3, 1)
    shown = capsys.readouterr()
    assert "init" in shown.out
    assert shown.err.splitlines() == [
        "hangdiag: /dev/full: cannot be written (No space left on device); choose another file for --save"
    ]


def test_what_was_cut_short_is_saved_too(
    attach: Callable[..., tuple[int, int]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    failure = CutShort("the console has gone away", (CAPTURE,))
    assert attach("--save", str(tmp_path / "file"), failure=failure) == (4, 1)
    assert saved(tmp_path / "file") == CAPTURE
    assert attach("--save", "/dev/full", failure=failure) == (3, 1)
    assert [line[:30] for line in capsys.readouterr().err.splitlines()[-2:]] == [
        "hangdiag: the console has gone", "hangdiag: /dev/full: cannot be"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("end", "code"), [(BrokenPipeError(), 0), (typer.Exit(1), 1), (KeyboardInterrupt(), 130)]
)
def test_it_is_saved_whatever_becomes_of_the_report(
    attach: Callable[..., tuple[int, int]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    end: BaseException,
    code: int,
) -> None:
    def fail(*arguments: object) -> None:
        raise end

    monkeypatch.setattr(command, "_report", fail)
    # It is closed when nobody reads any more.
    with open(os.devnull, "w") as silence:
        monkeypatch.setattr("sys.stderr", silence)
        assert attach("--save", str(tmp_path / "file")) == (code, 1)
    assert saved(tmp_path / "file") == CAPTURE


def test_all_that_a_damaged_console_told_is_reported_and_saved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # The readers took a garbled stack for another instant.
    first = replace(CAPTURE, threads=(replace(CAPTURE.threads[0], tid=100008, name="other"),))
    monkeypatch.setattr(command, "_read", lambda options, show: ((first, CAPTURE), None))
    assert run(["attach", "--ddb", "/dev/ttyU0", "--save", str(tmp_path / "file"), "--format", "json"]) == 0
    live = capsys.readouterr().out
    assert {thread["tid"] for thread in json.loads(live)["threads"]} == {100007, 100008}
    assert run(["analyze", str(tmp_path / "file"), "--format", "json"]) == 0
    assert capsys.readouterr().out == live
    # Of samples of a kernel that runs, the last one counts.
    assert run(["attach", "--kernel", "--save", str(tmp_path / "file"), "--format", "json"]) == 0
    assert {thread["tid"] for thread in json.loads(capsys.readouterr().out)["threads"]} == {100007}
    assert saved(tmp_path / "file") == CAPTURE
