"""What moved between captures, and what that does to a claim."""

from __future__ import annotations

from dataclasses import replace

from hangdiag.compare import compare, doubted, is_same_host, with_changes
from hangdiag.report.summary_compare import as_data, as_lines, notes
from tests.report.helpers import read_again, sample
from tests.traces import T, alltrace, procstat, vcpus


def of(*texts, **options):
    return compare([one for text in texts for one in read_again(text)], **options)


def behaviour(comparison, tid):
    for course in comparison.courses:
        for one, index in zip(comparison.diagnoses, course.places, strict=True):
            if index is not None and one.capture.threads[index].tid == tid:
                return course.behaviour
    raise AssertionError(tid)


HUNG = procstat([*vcpus("started", "lock one", "joined"), T(100880, "mevent", "kqueue")])


def test_a_deadlock_does_not_move():
    comparison = of(HUNG, HUNG, seconds=30)
    assert comparison.same_host
    assert comparison.same_hang
    (change,) = comparison.changes
    assert change.certainty == "proven"
    assert "none of its 3 threads has moved in 30 s" in change.note
    assert [vcpu.behaviour for vcpu in comparison.vcpus] == ["stuck"] * 3
    assert behaviour(comparison, 100880) == "resting"
    assert any("has moved in 30 s" in line for line in as_lines(comparison))
    assert any("vCPUs stuck: 0 of" in note for note in notes(comparison))


FREE = procstat([*vcpus("in guest", "in guest", "halted"), T(100880, "mevent", "kqueue")])


def test_a_deadlock_whose_threads_move_later_is_refuted():
    comparison = of(HUNG, FREE)
    (refuted,) = comparison.refuted
    assert "what moves is not deadlocked" in refuted.note
    assert refuted.certainty == "possible"
    assert not comparison.same_hang
    assert any(line.startswith("Refuted: DEADLOCK") for line in as_lines(comparison))
    assert any("what moves" in note for note in notes(comparison))


def told(text):
    """Verdict and certainty of the gravest finding of each capture in ``text``, as ``analyze`` says them."""
    return [(one.findings[0].verdict, one.findings[0].certainty) for one in doubted(read_again(text))]


def test_a_deadlock_whose_threads_move_further_down_is_no_proof():
    assert told(HUNG + HUNG) == [("deadlock", "proven")] * len(told(HUNG + HUNG))
    assert told(f"{HUNG}then\n{FREE}")[0] == ("deadlock", "possible")
    (finding, *_) = doubted(read_again(f"{HUNG}then\n{FREE}"))[0].findings
    assert "may wait for each other" in finding.summary
    assert "what moves is not deadlocked" in finding.reasons[-1]
    # what moved before may have deadlocked since, and another host tells nothing of this one
    assert told(f"{FREE}then\n{HUNG}")[-1] == ("deadlock", "proven")
    other = procstat([*vcpus("in guest", "halted", pid=900, first=100700), T(100780, "mevent", "kqueue", 900)])
    assert told(f"{HUNG}then\n{other}")[0] == ("deadlock", "proven")


def test_a_deadlock_is_doubted_only_by_what_stands_below_it():
    first, *_ = read_again(HUNG)
    second, *_ = read_again(FREE)
    assert next(one.findings[0].certainty for one in doubted([first, second])) == "proven"


def test_a_deadlock_that_began_in_between_stays_proven():
    comparison = of(FREE, HUNG)
    (change,) = comparison.changes
    assert change.certainty == "proven"
    assert "it began after capture 1" in change.note
    assert comparison.refuted == ()
    assert "since capture 2" in of(FREE, HUNG, HUNG).changes[0].note


def test_a_running_vcpu_advances_and_a_halted_one_rests():
    comparison = of(procstat(vcpus("in guest", "halted", "halted")), procstat(vcpus("in guest", "halted", "in guest")))
    assert [vcpu.behaviour for vcpu in comparison.vcpus] == ["advanced", "halted", "advanced"]


def test_a_spin_is_exposed():
    spinning = T(100900, "-", "_mtx_lock_spin_cookie thread_lock_flags_ sched_add fork_exit", 40, "busy")
    comparison = of(procstat([*vcpus("halted"), spinning]), procstat([*vcpus("halted"), spinning]))
    assert behaviour(comparison, 100900) in ("spinning", "stuck")


def test_slow_progress_is_exposed():
    first = T(100900, "-", "mi_switch sleepq_wait _sleep bwait bufwait bread ffs_read VOP_READ_APV vn_read", 40, "cp")
    second = replace(first, stack="mi_switch sleepq_wait _sleep bwait bufwait bufwrite ffs_write VOP_WRITE_APV vn_write")
    comparison = of(procstat([*vcpus("halted"), first]), procstat([*vcpus("halted"), second]))
    assert behaviour(comparison, 100900) == "slow"


def test_a_reused_thread_id_is_another_thread():
    comparison = of(
        procstat([*vcpus("halted"), T(100900, "-", "disk", 40, "cp")]),
        procstat([*vcpus("halted"), T(100900, "-", "disk", 41, "dd")]),
    )
    assert behaviour(comparison, 100900) == "seen once"


def test_a_contention_that_stands_still_gets_likelier():
    text = procstat(vcpus("started", "preempted", "joined"))
    comparison = of(text, text, seconds=10)
    (change,) = [item for item in comparison.changes if item.finding.verdict in ("contention", "inconclusive", "blocked")]
    assert (change.finding.certainty, change.certainty) in (("possible", "likely"), ("likely", "likely"))
    last = with_changes(comparison)
    assert last.findings[0].certainty == change.certainty
    assert change.note in last.findings[0].reasons


def test_three_captures():
    comparison = of(HUNG, HUNG, HUNG)
    assert "in 3 captures" in comparison.changes[0].note
    assert len(comparison.courses[0].places) == 3


def test_two_hosts_with_the_same_hang():
    other = alltrace(vcpus("joined", "joined", "started", "lock one", pid=99, first=300100))
    comparison = of(HUNG, other)
    assert not comparison.same_host
    assert comparison.same_hang
    assert any("The same hang in all captures" in line for line in as_lines(comparison))


def test_two_hosts_with_different_hangs():
    comparison = compare([*sample("deadlock.ddb.txt"), *sample("lock-cycle.ddb.txt")])
    assert not comparison.same_host
    assert not comparison.same_hang


def test_kernel_threads_alone_do_not_make_the_same_host():
    kernel = [T(100010, "swi6: Giant taskq", "mi_switch ithread_loop fork_exit", 12, "intr")]
    first = read_again(procstat([*kernel, *vcpus("halted", pid=10, first=100100)]))[0]
    second = read_again(procstat([*kernel, *vcpus("halted", pid=20, first=100200)]))[0]
    assert not is_same_host(first, second)
    assert compare([first, second], same_host=True).same_host


def test_data():
    data = as_data(of(HUNG, HUNG, seconds=5))
    assert data["same_hang"] is True
    assert {thread["behaviour"] for thread in data["threads"]} == {"stuck", "resting"}
    assert data["findings"][0]["certainty"] == "proven"
