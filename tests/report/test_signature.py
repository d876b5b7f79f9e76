"""Equal for one bug however it was captured, different for different bugs."""

from __future__ import annotations

import pytest

from hangdiag.signature import signature
from tests.report.helpers import sample
from tests.traces import STACKS, T, alltrace, analysed, kgdb, procstat, vcpus


def of(text):
    diagnosis = analysed(text)
    return signature(diagnosis, diagnosis.findings[0])


RENDEZVOUS = "deadlock: rendezvous -> vcpu-state(one, ioctl) -> rendezvous"


def test_every_form_of_the_sample_has_one_signature():
    found = set()
    for name in ("deadlock.procstat.txt", "deadlock.ddb.txt", "deadlock.kgdb.txt", "deadlock.gdb-qemu.txt", "deadlock.textdump.tar"):
        diagnosis = sample(name)[0]
        found.add(signature(diagnosis, diagnosis.findings[0]))
    assert {one.text for one in found} == {RENDEZVOUS}
    assert len({one.digest for one in found}) == 1


@pytest.mark.parametrize("form", [procstat, alltrace, kgdb])
def test_numbers_of_vcpus_ids_and_inlining_do_not_count(form):
    few = vcpus("started", "lock one")
    many = vcpus("joined", "joined", "joined, inlined", "lock one", "joined", "started", pid=77, first=123000)
    assert of(form(few)) == of(procstat(many))
    assert of(form(few)).text == RENDEZVOUS


def test_victims_and_other_processes_do_not_count():
    threads = vcpus("started", "lock one", "joined")
    more = [*threads, T(100900, "-", "lock one", 2290, "bhyvectl"), T(100901, "-", "disk", 17, "cp")]
    assert of(procstat(threads)) == of(procstat(more))


def test_another_bug_has_another_signature():
    one = of(procstat(vcpus("started", "lock one", "joined")))
    every = of(procstat(vcpus("started", "lock all", "joined")))
    assert one.digest != every.digest
    assert "vcpu-state(all" in every.text


def test_locks_count_by_name_without_numbers():
    ddb = """chain 1:
 thread 100100 (pid 10, a) is blocked on lock 0xfffff80001234567 (sleep mutex) "em{one}:tx({two})"
 thread 100101 (pid 10, b) is blocked on lock 0xfffff80001234599 (sleep mutex) "{name}"
 thread 100100 (pid 10, a) is blocked on lock 0xfffff80001234567 (sleep mutex) "em{one}:tx({two})"
"""
    first = of(ddb.format(one=0, two=3, name="Giant"))
    assert first.text == "deadlock: lock(Giant) -> lock(em#:tx(#)) -> lock(Giant)"
    assert first == of(ddb.format(one=12, two=0, name="Giant"))
    assert first != of(ddb.format(one=0, two=3, name="proctree"))


def test_a_signature_is_short_and_says_no_id():
    for name in ("deadlock.ddb.txt", "lock-cycle.ddb.txt", "busy-rendezvous.procstat.txt"):
        diagnosis = sample(name)[0]
        for finding in diagnosis.findings:
            made = signature(diagnosis, finding)
            assert len(made.text) < 120
            assert len(made.digest) == 12
            assert int(made.digest, 16) >= 0
            assert "1000" not in made.text
            assert str(made) == f"{made.digest} ({made.text})"


def test_digests_are_kept():
    # published in bug reports: a change here is a new version of the signature
    assert of(procstat(vcpus("started", "lock one"))).digest == "d5597f681ae7"
    assert "started" in STACKS
