"""The text report, fed back, gives the same findings; it fits 80 columns."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hangdiag.report.bugzilla import as_bugzilla
from hangdiag.report.summary_forms import write_report
from tests.report.helpers import HOSTILE, NAMES, claims, read_again, sample
from tests.traces import STACKS, T, alltrace, kgdb, procstat, vcpus


def assert_reads_back(diagnosis, report):
    again = read_again(report)
    assert len(again) == 1
    assert claims(again[0]) == claims(diagnosis)


@pytest.mark.parametrize("name", NAMES)
def test_every_sample_reads_back(name):
    for diagnosis in sample(name):
        assert_reads_back(diagnosis, as_bugzilla([diagnosis]))


@pytest.mark.parametrize("name", NAMES)
def test_every_sample_reads_back_redacted(name):
    diagnosis = sample(name)[0]
    assert_reads_back(diagnosis, write_report([diagnosis], "bugzilla", [], True, True))


@settings(max_examples=100, deadline=None)
@given(
    stacks=st.lists(st.sampled_from(sorted(STACKS)), min_size=1, max_size=6),
    others=st.lists(st.sampled_from(sorted(STACKS)), max_size=3),
    second=st.lists(st.sampled_from(sorted(STACKS)), max_size=3),
    form=st.sampled_from([procstat, alltrace, kgdb]),
)
@example(stacks=["destroy, sysctl"], others=["lock all"], second=["kqueue"], form=alltrace)
def test_any_capture_reads_back(stacks, others, second, form):
    threads = vcpus(*stacks) + [T(100900 + number, "-", stack, 2290, "bhyvectl") for number, stack in enumerate(others)]
    threads += vcpus(*second, pid=2211, first=100950)
    (diagnosis,) = read_again(form(threads))
    assert_reads_back(diagnosis, as_bugzilla([diagnosis]))


MESSAGES = {"joined": "vmrndv", "started": "vmrndv", "lock one": "vmstat", "lock all": "vmstat", "halted": "vmidle", "disk": "physwr"}


def ps(threads, arguments):
    """What ps knows of the threads, and of their processes."""
    lines = ["  PID    LWP STAT MWCHAN   TDNAME"]
    lines += [f"{one.pid:>5} {one.tid:>6} D    {MESSAGES.get(one.stack, '-'):<8} {one.name}" for one in threads]
    lines += ["", "  PID TT  STAT    TIME COMMAND"]
    lines += [f"{pid:>5} v0  I    0:01.00 {text}" for pid, text in arguments.items()]
    return "\n".join(lines) + "\n"


@settings(max_examples=100, deadline=None)
@given(
    stacks=st.lists(st.sampled_from(sorted(MESSAGES)), min_size=1, max_size=5),
    second=st.lists(st.sampled_from(sorted(MESSAGES)), min_size=1, max_size=3),
    control=st.sampled_from(sorted(MESSAGES)),
    told=st.booleans(),
    stacked=st.booleans(),
)
@example(stacks=["disk"], second=["disk", "joined"], control="disk", told=False, stacked=False)
def test_what_ps_adds_reads_back(stacks, second, control, told, stacked):
    threads = vcpus(*stacks) + vcpus(*second, pid=2211, first=100950) + [T(100900, "bhyvectl", control, 2290, "bhyvectl")]
    arguments = {2210: "bhyve: win11 (bhyve)", 2211: "bhyve: debian (bhyve)", 2290: "bhyvectl --vm=debian --destroy"}
    text = ps(threads, arguments if told else {}) + (procstat(threads) if stacked else "")
    (diagnosis,) = read_again(text)
    assert len(diagnosis.capture.threads) == len(threads)
    assert_reads_back(diagnosis, as_bugzilla([diagnosis]))


@pytest.mark.parametrize("name", NAMES)
def test_lines_fit_80_columns(name):
    report = as_bugzilla(sample(name)[:1])
    # commands to copy, names of sources and threads, and gdb's longest words are not broken
    wide = [line for line in report.splitlines() if len(line) > 80]
    assert len(wide) <= 6
    prose = report.partition("THREADS CONCERNED")[0].splitlines()
    assert all(len(line) <= 80 for line in prose if not line.startswith("      ") and not line.startswith("Title: ") and "://" not in line)


def test_everything_a_maintainer_needs_is_there():
    (diagnosis,) = sample("deadlock.procstat.txt")
    report = as_bugzilla([diagnosis])
    assert report.startswith("Title: ")
    for part in ("DEADLOCK (proven)", "closes the cycle", "Stuck behind it", "WHY", "Evidence: line ", "Signature: ",
                 "BEFORE REBOOTING", "HOST", "uname -a", "THREADS CONCERNED", "OTHER THREADS", "READ FROM", "SHA256 "):  # fmt: skip
        assert part in report, part
    # equal stacks once, with their threads
    assert report.count("taskqueue_thread_loop") <= 4
    assert "acpi_task_0" in report


def test_a_hostile_thread_name_is_text():
    threads = [*vcpus("started", "lock one"), T(100900, "\x1b[2J\x07evil", "disk", 12, HOSTILE[:18])]
    (diagnosis,) = read_again(procstat(threads))
    report = as_bugzilla([diagnosis])
    assert "\x1b" not in report
    assert "\x07" not in report


def test_notes_and_footnotes_are_shown():
    (diagnosis,) = sample("idle.procstat.txt")
    report = as_bugzilla([diagnosis], ["none of its 4 threads has moved"], ["VM name: vm-1"])
    assert "OTHER CAPTURES" in report
    assert "REDACTED" in report


def test_of_the_host_only_what_matters():
    facts = "hw.model: AMD EPYC 7302P\nhw.vmm.create: beavis\n" + "".join(f"vm.stats.vm.v_{n}: {n}\n" for n in range(200))
    (diagnosis,) = read_again(facts + procstat(vcpus("started", "lock one")))
    host = as_bugzilla([diagnosis]).partition("\nHOST\n")[2].partition("THREADS CONCERNED")[0]
    assert "AMD EPYC 7302P" in host
    assert "v_100" not in host
    assert len(host.splitlines()) < 20


def lock_chain(tids):
    lines = ["chain 1:"]
    lines += [f' thread {tid} (pid 10, w) is blocked on sx 0xfffff8000000{tid % 10000:04x} "lock {tid}"' for tid in tids]
    return "\n".join(lines) + "\n"


def test_a_crowd_of_victims_is_grouped():
    crowd = [T(110000 + number, "-", "lock one", 3000 + number, "bhyvectl") for number in range(600)]
    (diagnosis,) = read_again(procstat([*vcpus("started", "lock one"), *crowd]))
    assert len(diagnosis.findings[0].victims) == 600
    report = as_bugzilla([diagnosis])
    assert len(report.splitlines()) < 2500
    assert "402 x vcpu-state" in report


def test_a_long_cycle_stays_on_the_page():
    ring = [*range(100100, 100140), 100100]
    (diagnosis,) = read_again(lock_chain(ring))
    assert diagnosis.findings[0].verdict == "deadlock"
    assert len(diagnosis.findings[0].cycle) == 41
    assert_reads_back(diagnosis, as_bugzilla([diagnosis]))
    prose = as_bugzilla([diagnosis]).partition("WHY")[0].splitlines()
    assert all(len(line) <= 90 for line in prose if not line.startswith("Title"))


def test_since_when_is_said_if_known():
    (diagnosis,) = sample("deadlock.ddb.txt")
    threads = tuple(
        dataclasses.replace(thread, since=95.0)
        for thread in diagnosis.capture.threads
    )
    scene = dataclasses.replace(diagnosis.scene, capture=dataclasses.replace(diagnosis.capture, threads=threads))
    aged = dataclasses.replace(diagnosis, scene=scene)
    assert "Since when: " in as_bugzilla([aged])
