"""What attach finds, and what analyze finds in the capture that it saved, is the same: whatever the way in."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from hangdiag.cli import common
from hangdiag.cli.output import write
from hangdiag.diagnosis import diagnose
from hangdiag.findings import Diagnosis, Finding
from hangdiag.knowledge import Matcher, load_knowledge
from hangdiag.live import ddb_console
from hangdiag.live.attach import attach
from hangdiag.live.options import Options
from hangdiag.report.json import as_json
from hangdiag.savefile import dump

from .conftest import gdbserver, running
from .fake_ddb import FakeDdb

SAMPLES = Path(__file__).resolve().parents[2] / "samples"
KNOWLEDGE = load_knowledge([])


def attached(options: Options) -> Diagnosis:
    captures = attach(options, lambda line: None, lambda step, done, total: None)
    assert len(captures) == 1
    return diagnose(captures[0], KNOWLEDGE, Matcher(KNOWLEDGE))


def analyzed(path: Path) -> Diagnosis:
    diagnoses, _ = common.load([str(path)])
    assert len(diagnoses) == 1
    return diagnoses[0]


def saved_and_analyzed(live: Diagnosis, folder: Path) -> Diagnosis:
    write(folder / "saved.json", dump(live.capture))
    return analyzed(folder / "saved.json")


def told(diagnosis: Diagnosis) -> dict[str, object]:
    """Everything that JSON tells of it."""
    members: dict[str, object] = json.loads(as_json((diagnosis,)))
    assert members["findings"]
    return members


def answers(sample: Path) -> dict[str, Iterable[str]]:
    """What a recorded console answered to each command; what was followed around a cycle goes on for ever."""
    parts = re.split(r"^db> (\S.*)\n", sample.read_text(), flags=re.MULTILINE)[1:]
    found: dict[str, Iterable[str]] = {}
    for command, text in zip(parts[::2], parts[1::2], strict=True):
        lines = re.sub(r"--More-- *", "", text).splitlines()
        cyclic = command.startswith("show lockchain") and len(lines) > 20
        # attach writes a tid so that ddb reads it in any base.
        command = re.sub(r"(chain )(\d+)$", r"\g<1>0x\2", command.strip())
        found.setdefault(command, itertools.cycle(lines) if cyclic else lines)
    found.pop("print $lines", None)
    return found


@pytest.mark.parametrize("name", ["deadlock", "busy", "idle", "lock-cycle"])
def test_over_a_ddb_console(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ddb_console, "_LISTENING", 0.05)
    sample = SAMPLES / f"{name}.ddb.txt"
    fake = FakeDdb(tmp_path / "ddb", answers=answers(sample), unknown=("alltrace", "show lockedvnods"))
    live = attached(Options("ddb", fake.place, timeout=20))
    assert fake.violations == []
    again = saved_and_analyzed(live, tmp_path)
    assert again.capture == live.capture
    assert told(again) == told(live)
    # And the same as the recording by hand told.
    assert [essence(live, each) for each in live.findings] == [
        essence(recorded, each) for recorded in (analyzed(sample),) for each in recorded.findings
    ]
    fake.close()


def essence(diagnosis: Diagnosis, finding: Finding) -> tuple[object, ...]:
    """A finding without its line numbers."""
    threads = {diagnosis.capture.threads[each].tid for each in finding.threads}
    return (finding.verdict, finding.certainty, finding.known_bug and finding.known_bug.rule.id, threads)


@pytest.mark.live
@pytest.mark.parametrize("variant", ["array", "pointers"])
@pytest.mark.parametrize(
    "scenario", [("deadlock",), ("lockcycle",), ("healthy",), ("leavers",), ("corrupted",), ("many", "40")]
)
def test_through_a_debugger(
    build: Callable[[str], Path], tmp_path: Path, variant: str, scenario: tuple[str, ...]
) -> None:
    program = build(variant)
    with running(program, *scenario) as process, gdbserver(process.pid) as place:
        live = attached(Options("remote", place, symbols=str(program), timeout=20, stop=True))
    assert live.capture.threads
    again = saved_and_analyzed(live, tmp_path)
    assert again.capture == live.capture
    assert told(again) == told(live)
