"""The samples that are shipped: what must be found in each, and what must not."""

from __future__ import annotations

from pathlib import Path

import pytest

from hangdiag.diagnosis import diagnose
from hangdiag.readers.files import read_paths
from tests.traces import KNOWLEDGE, MATCHER, tids

SAMPLES = Path(__file__).resolve().parent.parent / "samples"


def read(name):
    captures = read_paths([str(SAMPLES / name)], None)
    assert len(captures) == 1
    return diagnose(captures[0], KNOWLEDGE, MATCHER)


@pytest.mark.parametrize(
    ("name", "core", "victims"),
    [
        ("deadlock.procstat.txt", {100043, 100044, 100045, 100046}, {100047, 100010}),
        ("deadlock.ddb.txt", {100043, 100044, 100045, 100046}, {100047, 100010}),
        # gdb shows the ioctl's argument: it wants vcpu 0 alone
        ("deadlock.kgdb.txt", {100043, 100045}, {100044, 100046, 100010}),
        ("deadlock.textdump.tar", {100045, 100046, 100047, 100048}, {100049, 100010}),
    ],
)
def test_the_rendezvous_deadlock(name, core, victims):
    diagnosis = read(name)
    finding = diagnosis.findings[0]
    assert (finding.verdict, finding.certainty) == ("deadlock", "proven")
    assert set(tids(diagnosis, finding.threads)) == core
    assert set(tids(diagnosis, finding.victims)) == victims
    assert len([item for item in diagnosis.findings if item.verdict == "deadlock"]) == 1
    assert finding.known_bug is not None
    assert finding.known_bug.rule.id == "vmm-rendezvous-vs-lock-one"


@pytest.mark.parametrize(
    "name", ["idle.procstat.txt", "idle.ddb.txt", "idle.kgdb.txt", "busy.procstat.txt", "busy.ddb.txt"]
)
def test_a_healthy_guest(name):
    assert [finding.verdict for finding in read(name).findings] == ["no-hang"]


def test_a_healthy_guest_in_the_middle_of_a_rendezvous():
    assert [finding.verdict for finding in read("busy-rendezvous.procstat.txt").findings] == ["contention"]


def test_a_lock_cycle():
    diagnosis = read("lock-cycle.ddb.txt")
    finding = diagnosis.findings[0]
    assert (finding.verdict, finding.certainty) == ("deadlock", "proven")
    assert set(tids(diagnosis, finding.threads)) == {100041, 100042}
    assert set(tids(diagnosis, finding.victims)) == {100043, 100044}


def test_lock_waiters_whose_owners_procstat_does_not_show():
    assert read("lock-cycle.procstat.txt").findings[0].verdict == "inconclusive"


@pytest.mark.parametrize(
    "name", sorted(path.name for path in SAMPLES.glob("*.*") if path.suffix in (".txt", ".tar"))
)
def test_every_thread_is_recognised(name):
    diagnosis = read(name)
    kinds = [wait.kind for wait in diagnosis.waits]
    # a stub that does not say which thread stopped leaves one thread's own stack unknown
    allowed = 1 if name.endswith(".kgdb.txt") else 0
    assert kinds.count("unknown") <= allowed
    assert kinds.count("sleep") <= len(kinds) * 0.02
