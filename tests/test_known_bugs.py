"""Known bugs: their signatures, and what the captured release says of the fix."""

from __future__ import annotations

import pytest

from hangdiag.known_bugs import fix_status, release_numbers, within
from hangdiag.model import Host
from tests.traces import KNOWLEDGE, first, kgdb, procstat, vcpus

BUGS = {bug.id: bug for bug in KNOWLEDGE.bugs}


def test_the_two_rendezvous_deadlocks_are_told_apart():
    _, one = first(procstat(vcpus("joined", "lock one", "started")))
    _, every = first(procstat(vcpus("joined", "lock all", "started")))
    assert one.known_bug.rule.id == "vmm-rendezvous-vs-lock-one"
    assert every.known_bug.rule.id == "vmm-rendezvous-vs-lock-all"


def test_other_deadlocks_are_no_known_bug():
    _, finding = first(
        'thread 100101 (pid 900, one) is blocked on lock 0xfffff80001 (sleep mutex) "first"\n'
        'thread 100102 (pid 900, two) is blocked on lock 0xfffff80002 (sleep mutex) "second"\n'
        'thread 100101 (pid 900, one) is blocked on lock 0xfffff80001 (sleep mutex) "first"\n'
    )
    assert finding.verdict == "deadlock"
    assert finding.known_bug is None


def test_the_release_of_the_capture_decides():
    version = '(kgdb) p version\n$1 = "FreeBSD %s #0 stable/13-n253500: Tue Jan  3 2023\\n"\n'
    threads = kgdb(vcpus("joined", "lock all", "started"))
    _, lacking = first(version % "13.1-STABLE" + threads)
    assert "your 13.1-STABLE lacks it" in lacking.known_bug.status
    _, fixed = first(version % "16.0-CURRENT" + threads)
    assert fixed.known_bug is None or fixed.known_bug.rule.id != "vmm-rendezvous-vs-lock-all"


@pytest.mark.parametrize(
    ("release", "releases", "expected"),
    [
        ("13.1-STABLE", "13.1-15.0", True),
        ("15.0-RELEASE", "13.1-15.0", True),
        ("15.1-STABLE", "13.1-15.0", False),
        ("13.0-RELEASE", "13.1-15.0", False),
        ("12.4-RELEASE", "11-13", True),
        ("13.5-RELEASE", "11-13", True),
        ("14.0-RELEASE", "11-13", False),
        ("16.0-CURRENT", "15.1-", True),
        (None, "11-", None),
        ("14.0", None, None),
    ],
)
def test_ranges_of_releases(release, releases, expected):
    assert within(release_numbers(release), releases) is expected


def test_what_is_not_known_is_said():
    assert "does not show your release" in fix_status(BUGS["vmm-rendezvous-vs-lock-all"], Host())
    assert "not known" in fix_status(BUGS["vmm-rendezvous-vs-lock-all"], Host(release="14.2-RELEASE"))


def test_a_stable_branch_may_have_what_its_next_release_has():
    bug = BUGS["vmm-rendezvous-vs-lock-one"]
    assert "may have it" in fix_status(bug, Host(release="13.1-STABLE"))
    assert "lacks it" in fix_status(bug, Host(release="13.1-RELEASE"))
    assert "lacks it" in fix_status(bug, Host(release="13.0-STABLE"))


def test_every_bug_says_how_it_was_verified():
    for bug in BUGS.values():
        assert bug.verified, bug.id
        assert bug.references, bug.id
        assert bug.affected or bug.releases, bug.id
