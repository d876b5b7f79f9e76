"""From written captures to findings: what is proven, what is not, who is named."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from hangdiag.diagnosis import diagnose
from hangdiag.model import Capture, Frame, Host, Thread, Vcpu, VirtualMachine
from hangdiag.readers import read_text
from tests.traces import KNOWLEDGE, MATCHER, STACKS, T, alltrace, analysed, first, kgdb, procstat, tids, vcpus

BHYVECTL = T(100901, "-", "lock one", 2290, "bhyvectl")
FORMS = pytest.mark.parametrize("form", [procstat, lambda threads: procstat(threads, offsets=False), kgdb])


@FORMS
def test_one_vcpu_ioctl_against_a_rendezvous(form):
    diagnosis, finding = first(form([*vcpus("joined", "lock one", "started", "joined"), BHYVECTL]))
    assert (finding.verdict, finding.certainty) == ("deadlock", "proven")
    assert tids(diagnosis, finding.threads) == [100860, 100861, 100862, 100863]
    assert tids(diagnosis, finding.victims) == [100901]
    assert tids(diagnosis, (finding.initiator,)) == [100862]
    assert tids(diagnosis, finding.cycle) == [100862, 100861, 100862]


@FORMS
def test_all_vcpus_ioctl_against_a_rendezvous(form):
    diagnosis, finding = first(form(vcpus("started", "lock all", "joined")))
    assert (finding.verdict, finding.certainty) == ("deadlock", "proven")
    assert tids(diagnosis, finding.threads) == [100860, 100861, 100862]
    assert finding.known_bug is None or "all" in finding.known_bug.rule.id


def test_inlined_handler_is_still_the_rendezvous():
    _, finding = first(procstat(vcpus("joined, inlined", "lock one", "started")))
    assert (finding.verdict, finding.certainty) == ("deadlock", "proven")


def test_ddb_names_threads_only_in_ps():
    threads = vcpus("joined", "lock one", "started")
    ps = "db> ps\n  pid  ppid  pgrp   uid  state   wmesg   wchan               cmd\n"
    ps += " 2210     1     0     0  D       (threaded)                  bhyve\n"
    for thread, wmesg, wchan in zip(
        threads, ("vmrndv", "vmstat", "vmrndv"), ("110", "268", "110"), strict=True
    ):
        ps += f"{thread.tid}                   D       {wmesg}  0xfffffe0000723{wchan}  {thread.name}\n"
    diagnosis, finding = first(ps + alltrace(threads))
    assert (finding.verdict, finding.certainty) == ("deadlock", "proven")
    assert [thread.name for thread in diagnosis.capture.threads] == ["vcpu 0", "vcpu 1", "vcpu 2"]


def test_a_missing_vcpu_that_can_run_is_no_deadlock():
    _, finding = first(procstat(vcpus("started", "in guest", "joined", "halted")))
    assert finding.verdict == "contention"


def test_an_ioctl_that_may_want_a_running_vcpu_is_no_deadlock():
    # vcpu 1 waits for vcpu 0 or vcpu 2; vcpu 2 is in the guest and will notice
    diagnosis = analysed(procstat(vcpus("started", "lock one", "in guest")))
    assert all(finding.verdict != "deadlock" for finding in diagnosis.findings)


def test_a_halted_guest_is_no_hang():
    diagnosis, finding = first(procstat([*vcpus("halted", "halted"), T(100859, "mevent", "kqueue")]))
    assert finding.verdict == "no-hang"
    assert all(wait.idle for wait in diagnosis.waits)


def test_a_vcpu_thread_that_sleeps_in_userland_is_the_cause():
    diagnosis, finding = first(procstat(vcpus("started", "mutex in userland", "joined")))
    assert finding.verdict == "blocked"
    assert tids(diagnosis, finding.causes) == [100861]
    assert tids(diagnosis, finding.threads) == [100860, 100862]


def test_a_vcpu_thread_in_disk_io_is_the_cause():
    diagnosis, finding = first(procstat(vcpus("started", "disk", "joined")))
    assert finding.verdict == "blocked"
    assert tids(diagnosis, finding.causes) == [100861]


def test_two_vms_never_mix():
    sick = vcpus("joined", "lock one", "started")
    well = vcpus("halted", "in guest", "halted", pid=3300, first=100950)
    diagnosis, finding = first(procstat(sick + well))
    assert (finding.verdict, finding.certainty) == ("deadlock", "proven")
    assert set(tids(diagnosis, finding.threads)) == {100860, 100861, 100862}
    machines = {machine.pid: machine for machine in diagnosis.machines}
    assert list(machines) == [2210, 3300]
    assert not {edge.holder for edge in diagnosis.edges} & set(machines[3300].members)


def test_a_rendezvous_in_one_vm_and_an_ioctl_in_another_is_no_deadlock():
    one = vcpus("started", "in guest")
    other = vcpus("lock one", "in guest", pid=3300, first=100950)
    assert all(finding.verdict != "deadlock" for finding in analysed(procstat(one + other)).findings)


def test_two_deadlocked_vms_are_two_findings():
    one = vcpus("joined", "lock one", "started")
    other = vcpus("started", "lock all", pid=3300, first=100950)
    verdicts = [finding.verdict for finding in analysed(procstat(one + other)).findings]
    assert verdicts == ["deadlock", "deadlock"]


def test_bhyvectl_among_two_vms_is_not_tied_to_either():
    one = vcpus("joined", "lock one", "started")
    other = vcpus("halted", "halted", pid=3300, first=100950)
    diagnosis, finding = first(procstat([*one, *other, BHYVECTL]))
    assert finding.verdict == "deadlock"
    assert 100901 not in tids(diagnosis, finding.victims)
    assert "does not show which VM" in diagnosis.needs[len(one) + len(other)].why


def test_destroyers_are_victims():
    swi6 = T(100010, "swi6: Giant taskq", "destroy, taskqueue", 12, "intr")
    sysctl = T(100902, "-", "destroy, sysctl", 2300, "bhyvectl")
    diagnosis, finding = first(procstat([*vcpus("joined", "lock one", "started"), swi6, sysctl]))
    assert set(tids(diagnosis, finding.victims)) == {100010, 100902}


def test_a_destroyer_among_two_vms_is_said_to_be_ambiguous():
    swi6 = T(100010, "swi6: Giant taskq", "destroy, taskqueue", 12, "intr")
    one = vcpus("joined", "lock one", "started")
    other = vcpus("halted", pid=3300, first=100950)
    diagnosis = analysed(procstat([*one, *other, swi6]))
    assert 100010 not in tids(diagnosis, diagnosis.findings[0].victims)
    index = [thread.tid for thread in diagnosis.capture.threads].index(100010)
    assert "any of the VMs" in diagnosis.needs[index].why


def test_a_killed_process_is_a_victim():
    killed = T(100859, "mevent", "killed")
    diagnosis, finding = first(procstat([killed, *vcpus("joined", "lock one", "started")]))
    assert finding.verdict == "deadlock"
    assert 100859 in tids(diagnosis, finding.victims)


@pytest.mark.parametrize(
    ("release", "joined", "certainty"),
    [
        ("", "joined", "likely"),
        ("13.1-STABLE", "joined", "likely"),
        ("12.1-RELEASE", "joined", "proven"),
        ("11.4-RELEASE-p3", "joined", "proven"),
        ("", STACKS["joined"].replace("sleepq_timedwait", "sleepq_wait"), "proven"),
    ],
)
def test_a_killed_process_leaves_its_rendezvous_from_12_2_on(release, joined, certainty):
    uname = f"FreeBSD h {release} FreeBSD {release} GENERIC amd64\n" if release else ""
    starts = STACKS["started"] if "timedwait" in STACKS.get(joined, joined) else STACKS["started"].replace("_timedwait", "_wait")
    table = procstat([T(100859, "mevent", "killed"), *vcpus(joined, "lock all", starts)])
    _, finding = first(uname + table)
    assert (finding.verdict, finding.certainty) == ("deadlock", certainty)
    assert any("is exiting" in reason for reason in finding.reasons) == (certainty == "likely")
    assert first(uname + procstat(vcpus(joined, "lock all", starts)))[1].certainty == "proven"


def test_a_waiter_for_mem_segs_is_a_victim_of_the_thread_in_lock_all():
    other = T(100903, "-", "mem_segs", 2400, "bhyvectl")
    diagnosis, finding = first(procstat([*vcpus("started", "lock all"), other]))
    assert (finding.verdict, finding.certainty) == ("deadlock", "proven")
    assert tids(diagnosis, finding.victims) == [100903]


def test_a_second_caller_of_lock_all_waits_for_the_first():
    waits = STACKS["lock all, fixed"].replace("sleepq_timedwait msleep_spin_sbt vcpu_wait_idle vcpu_set_state_all", "_sx_xlock_hard")
    callers = [T(100901, "-", waits, 2290, "bhyvectl"), T(100902, "-", waits, 2291, "bhyvectl")]
    owner = T(100903, "-", "lock all, fixed", 2292, "bhyvectl")
    diagnosis, finding = first(procstat([*vcpus("in guest", "halted"), *callers, owner]))
    edges = {(edge.waiter, edge.holder) for edge in diagnosis.edges}
    numbers = {thread.tid: index for index, thread in enumerate(diagnosis.capture.threads)}
    assert {(numbers[100901], numbers[100903]), (numbers[100902], numbers[100903])} <= edges
    assert (numbers[100901], numbers[100902]) not in edges
    assert finding.verdict == "contention"


def test_the_fixed_kernel_acts_for_vcpus_that_have_not_joined():
    diagnosis = analysed(procstat(vcpus("started", "lock all, fixed", "joined")))
    assert all(finding.verdict != "deadlock" for finding in diagnosis.findings)


def test_everyone_joined_is_inconclusive():
    _, finding = first(procstat(vcpus("started", "joined")))
    assert finding.verdict == "inconclusive"


def test_a_gap_in_the_vcpus_is_possible_at_most():
    # vcpu 1 is not in the capture: it may be the one that is missing
    threads = vcpus("started", "halted", "lock one")
    _, finding = first(procstat([threads[0], threads[2]]))
    assert (finding.verdict, finding.certainty) == ("deadlock", "possible")


@pytest.mark.parametrize(
    "remark", ["... and 12 more threads like this", "[3 more vcpu threads omitted]", "(several other threads not shown)"]
)
def test_threads_that_were_left_out_may_be_the_missing_ones(remark):
    diagnosis, finding = first(procstat(vcpus("started", "lock one")) + remark + "\n")
    assert (finding.verdict, finding.certainty) == ("deadlock", "possible")
    assert diagnosis.capture.unread == ()


def test_a_last_stack_as_long_as_the_kernel_saves_them_is_whole():
    # the initiator's 18 frames end in the system call, not where the kernel begins (STACK_MAX, sys/sys/_stack.h)
    *others, initiator = vcpus("lock one", "joined", "started")
    for frames, certainty in ((18, "proven"), (12, "possible")):
        stack = " ".join(initiator.functions).replace(" vm_run", " vm_handle_inst_emul vm_run").split()
        cut = T(initiator.tid, initiator.name, " ".join(stack[:frames]))
        assert len(cut.functions) == frames
        _, finding = first(procstat([*others, cut]))
        assert (finding.verdict, finding.certainty) == ("deadlock", certainty)


@pytest.mark.parametrize(
    ("command", "certainty"),
    [
        ("# procstat -kka | grep -E 'vm_|vcpu_'", "possible"),
        ("[root@alpha ~]# procstat -kk -a | head -200", "possible"),
        ("root@alpha:~ # procstat -kk -a | grep bhyve", "proven"),
        ("# procstat -kka | grep vcpu", "proven"),
        ("# procstat -kka | grep -v idle_lock", "proven"),
        ("# procstat -kka | grep bhyve | grep -v running", "possible"),
        ("# procstat -kk 2210 | egrep -v 'vmx_run|svm_vmrun'", "possible"),
        ("# procstat -kk -a | grep 'vcpu [01]'", "possible"),
        ("# procstat -kk 2210 | sed -n 2,4p", "possible"),
        ("# procstat -kka | grep bhyve | sort -k 5 | less", "proven"),
    ],
)
def test_a_filter_may_have_left_threads_out(command, certainty):
    _, finding = first(f"{command}\n" + procstat(vcpus("started", "lock one")))
    assert (finding.verdict, finding.certainty) == ("deadlock", certainty)


def test_of_a_text_that_ends_within_a_stack_more_threads_may_follow():
    whole = procstat(vcpus("started", "lock one"))
    for text, certainty in ((whole, "proven"), (whole.rstrip(), "proven"), (whole[:-40], "possible")):
        _, finding = first(text)
        assert (finding.verdict, finding.certainty) == ("deadlock", certainty), text[-60:]


def test_a_stack_that_does_not_end_as_others_do_may_be_the_last_of_many():
    whole = kgdb(vcpus("started", "joined", "lock one")).rstrip()
    shortened = "\n".join(whole.split("\n")[:-3]) + "\n"
    for text, certainty in ((whole, "proven"), (shortened, "possible")):
        _, finding = first(text)
        assert (finding.verdict, finding.certainty) == ("deadlock", certainty), text[-60:]


def test_gdb_counts_its_threads_down_to_the_first():
    text = kgdb(vcpus("started", "lock one"))
    for numbers, certainty in (((2, 1), "proven"), ((3, 2), "possible"), ((118, 121), "proven")):
        one, other = (f"Thread {number} (" for number in numbers)
        _, finding = first(text.replace("Thread 2 (", other).replace("Thread 1 (", one))
        assert (finding.verdict, finding.certainty) == ("deadlock", certainty), numbers


@pytest.mark.parametrize("remark", ["All other 56 threads:", "We have more threads than CPUs.", "and 3 more threads in _sleep()"])
def test_other_words_about_threads_leave_nothing_out(remark):
    _, finding = first(procstat(vcpus("started", "lock one")) + remark + "\n")
    assert finding.certainty == "proven"


def test_suspend_waits_for_the_vcpu_in_userland():
    diagnosis, finding = first(procstat(vcpus("suspended", "mutex in userland")))
    assert finding.verdict == "blocked"
    assert tids(diagnosis, finding.causes) == [100861]


def test_read_vcpu_sets_decide_who_is_missing():
    text = kgdb(vcpus("joined", "lock one", "started", "in guest"))
    text += "(kgdb) p *head.slh_first->vm\n"
    text += "$1 = {rendezvous_req_cpus = {__bits = {7, 0, 0, 0}}, rendezvous_done_cpus = {__bits = {5, 0, 0, 0}}, "
    text += 'active_cpus = {__bits = {15, 0}}, rendezvous_func = 0xffffffff80 <vioapic_update_tmr>, name = "win11"}\n'
    diagnosis = analysed(text)
    # the ioctl may want vcpu 3, which runs: no proof, but the rendezvous surely waits for vcpu 1 alone
    need = diagnosis.needs[0]
    assert [holder.thread for holder in need.holders] == [1]
    assert need.mode == "all"
    assert diagnosis.machines[0].label == "win11"


def test_a_rendezvous_that_is_over_is_no_deadlock():
    text = kgdb(vcpus("joined", "lock one", "started"))
    text += "(kgdb) p *head.slh_first->vm\n"
    text += "$1 = {rendezvous_req_cpus = {__bits = {0}}, rendezvous_done_cpus = {__bits = {7}}, rendezvous_func = 0x0}\n"
    assert all(finding.verdict != "deadlock" for finding in analysed(text).findings)


LOCKS = """db> show allchains
chain 1:
 thread 100101 (pid 900, one) is blocked on lock 0xfffff80001 (sleep mutex) "first"
 thread 100102 (pid 900, two) is blocked on lock 0xfffff80002 (sleep mutex) "second"
 thread 100101 (pid 900, one) is blocked on lock 0xfffff80001 (sleep mutex) "first"
"""


def test_a_lock_cycle_from_a_chain():
    diagnosis, finding = first(LOCKS)
    assert (finding.verdict, finding.certainty) == ("deadlock", "proven")
    assert tids(diagnosis, finding.threads) == [100101, 100102]


def test_a_lock_chain_that_ends_in_a_running_thread_is_contention():
    _, finding = first(
        'thread 100101 (pid 900, one) is blocked on lock 0xfffff80001 (sleep mutex) "first"\n'
        "thread 100102 (pid 900, two) is running on CPU 3\n"
    )
    assert finding.verdict == "contention"


def test_a_thread_asleep_on_its_own_lock():
    _, finding = first(
        'thread 100101 (pid 900, one) is blocked on lock 0xfffff80001 (lockmgr) "ufs" EXCL\n'
        'thread 100101 (pid 900, one) is blocked on lock 0xfffff80001 (lockmgr) "ufs" EXCL\n'
    )
    assert (finding.verdict, finding.certainty) == ("deadlock", "proven")
    assert "itself" in finding.summary


def test_a_lock_that_is_waited_for_with_a_time_limit_closes_no_cycle():
    # LK_TIMELOCK: sleeplk() returns EWOULDBLOCK
    wait = "mi_switch {} sleeplk lockmgr_xlock_hard getblkx ffs_update"
    for queue, deadlocked in (("sleepq_wait", True), ("sleepq_timedwait", False)):
        threads = [T(100101, "one", wait.format(queue), 900), T(100102, "two", wait.format("sleepq_wait"), 900)]
        diagnosis = analysed(LOCKS.replace("(sleep mutex)", "(lockmgr)") + procstat(threads))
        assert (diagnosis.findings[0].verdict == "deadlock") is deadlocked


VNODE_WAIT = "mi_switch sleepq_wait sleeplk lockmgr_xlock_hard ffs_lock VOP_LOCK1_APV _vn_lock vget_finish sys_open"
LOCKED_VNODES = """db> ps
  pid  ppid  pgrp   uid  state   wmesg   wchan               cmd
  901     1   901     0  D       ufs     0xfffff80007a22070  find
  900     1   900     0  D       ufs     0xfffff80007a11070  mv
db> show lockedvnods
Locked vnodes
0xfffff80007a11000: type VDIR state VSTATE_CONSTRUCTED
    usecount 3, writecount 0, refcount 4 seqc users 1 mountedhere 0
    lock type ufs: EXCL by thread 0xfffff80100042000 (pid 901, find, tid 100102)
 with exclusive waiters pending
        nlink=4, effnlink=4, size=512, extsize=0
0xfffff80007a22000: type VDIR state VSTATE_CONSTRUCTED
    usecount 3, writecount 0, refcount 4 seqc users 1 mountedhere 0
    lock type ufs: EXCL by thread 0xfffff80100041000 (pid 900, mv, tid 100101)
"""


def test_a_vnodes_lock_is_the_one_inside_the_vnode():
    threads = [T(100101, "mv", VNODE_WAIT, 900, "mv"), T(100102, "find", VNODE_WAIT, 901, "find")]
    diagnosis, finding = first(LOCKED_VNODES + alltrace(threads))
    assert (finding.verdict, finding.certainty) == ("deadlock", "proven")
    assert set(tids(diagnosis, finding.threads)) == {100101, 100102}
    # the next vnode of the zone is not the one that is listed
    other = LOCKED_VNODES.replace("0xfffff80007a22070", "0xfffff80007a22230")
    assert all(finding.verdict != "deadlock" for finding in analysed(other + alltrace(threads)).findings)


def test_locks_of_the_same_name_are_not_one_lock():
    diagnosis = analysed(
        'thread 100101 (pid 900, one) is blocked on lock 0xfffff80001 (lockmgr) "ufs" EXCL\n'
        'thread 100102 (pid 901, two) is sleeping on 0xfffff80009 "nanslp"\n'
        "\n"
        'thread 100103 (pid 902, three) is blocked on lock 0xfffff80003 (lockmgr) "ufs" EXCL\n'
        'thread 100101 (pid 900, one) is blocked on lock 0xfffff80001 (lockmgr) "ufs" EXCL\n'
        'thread 100102 (pid 901, two) is sleeping on 0xfffff80009 "nanslp"\n'
    )
    targets = {(edge.waiter, edge.holder) for edge in diagnosis.edges}
    numbers = {thread.tid: index for index, thread in enumerate(diagnosis.capture.threads)}
    assert targets == {(numbers[100101], numbers[100102]), (numbers[100103], numbers[100101])}


def test_lock_waiters_without_owners_are_inconclusive():
    stack = "mi_switch sleepq_wait _sx_xlock_hard _sx_xlock foo_ioctl sys_ioctl amd64_syscall"
    _, finding = first(procstat([T(100101, "a", stack, 900, "x"), T(100102, "b", stack, 900, "x")]))
    assert finding.verdict == "inconclusive"


MUTEXES = """db> ps
  pid  ppid  pgrp   uid  state   wmesg   wchan               cmd
  900     1   900     0  L      *foo bar 0xfffff80003333000  one
  901     1   901     0  L      *foo qux 0xfffff80003333100  two
db> show alllocks
Process 900 (one) thread 0xfffff80001000740 (100101)
exclusive sleep mutex foo qux (foo qux) r = 0 (0xfffff80003330000) locked @ /usr/src/sys/dev/foo/foo.c:81
Process 901 (two) thread 0xfffff80001000e80 (100102)
exclusive sleep mutex foo barrier (foo barrier) r = 0 (0xfffff80003330020) locked @ /usr/src/sys/dev/foo/foo.c:92
"""
ON_MUTEX = "sched_switch mi_switch turnstile_wait __mtx_lock_sleep foo_ioctl sys_ioctl amd64_syscall"
ON_MUTEXES = alltrace([T(100101, "one", ON_MUTEX, 900, "one"), T(100102, "two", ON_MUTEX, 901, "two")])


def test_a_turnstile_lock_is_known_by_the_only_held_lock_of_its_name():
    diagnosis, finding = first(MUTEXES + ON_MUTEXES)
    assert (finding.verdict, finding.certainty) == ("deadlock", "likely")
    assert {edge.certainty for edge in diagnosis.edges} == {"inferred"}
    assert tids(diagnosis, finding.threads) == [100101, 100102]


def test_the_only_held_lock_of_a_name_where_show_thread_names_the_lock_as_well():
    # ddb's show lock tells the owner, show thread what is waited for
    text = ""
    for tid, other, name in ((100101, 100102, "first"), (100102, 100101, "second")):
        text += (
            f"db> show lock {tid:#x}000\n class: sleep mutex\n name: {name}\n flags: {{DEF}}\n state: {{OWNED, CONTESTED}}\n"
            f' owner: 0xfffff80100{other} (tid {other}, pid 900, "{other}")\ndb> show thread {tid}\nThread {tid} at 0xfffff80100{tid}:\n'
            f" proc (pid 900): 0xfffff80200000000\n name: {tid}\n stack: 0xfffffe0050000000-0xfffffe0050003fff\n flags: 0x4  pflags: 0\n"
            f" state: INHIBITED: {{LOCK}}\n lock: {name}  turnstile: 0xfffff80001234500\n priority: 120\n"
        )
    diagnosis, finding = first(text)
    assert (finding.verdict, finding.certainty) == ("deadlock", "likely")
    assert set(tids(diagnosis, finding.threads)) == {100101, 100102}


def test_two_held_locks_of_one_name_name_no_owner():
    other = (
        "Process 902 (three) thread 0xfffff80001001000 (100103)\n"
        "exclusive sleep mutex foo qux (foo qux) r = 0 (0xfffff80003339990) locked @ /usr/src/sys/dev/foo/foo.c:81\n"
    )
    diagnosis, finding = first(MUTEXES + other + ON_MUTEXES)
    assert finding.verdict != "deadlock"
    assert len(diagnosis.edges) == 1


def test_chains_alone_do_not_show_vcpus_that_run():
    _, finding = first(
        "db> show allchains\n"
        "chain 1:\n"
        ' thread 100860 (pid 2210, vcpu 0) is sleeping on 0xfffffe0000723110 "vmrndv"\n'
        "chain 2:\n"
        ' thread 100861 (pid 2210, vcpu 1) is sleeping on 0xfffffe0000723268 "vmstat"\n'
    )
    assert (finding.verdict, finding.certainty) != ("deadlock", "proven")


@pytest.mark.parametrize("stacks", [("suspended", "started"), ("suspended", "started", "joined")])
def test_a_vcpu_in_suspend_joins_a_rendezvous_by_itself(stacks):
    diagnosis, finding = first(procstat(vcpus(*stacks)))
    assert finding.verdict != "deadlock"
    waiter, holder = (
        len(diagnosis.capture.threads) - len(stacks) + 1,
        len(diagnosis.capture.threads) - len(stacks),
    )
    assert (waiter, holder) in {(edge.waiter, edge.holder) for edge in diagnosis.edges}


def test_a_vcpu_in_suspend_did_not_join_before_11():
    _, finding = first(
        "FreeBSD h 10.0-RELEASE FreeBSD 10.0-RELEASE #0: root@h:/usr/obj/usr/src/sys/GENERIC  amd64\n"
        + procstat(vcpus("suspended", "started"))
    )
    assert (finding.verdict, finding.certainty) == ("deadlock", "proven")


def test_a_vcpu_in_suspend_does_not_hide_a_deadlock():
    # the rendezvous may be missing vcpu 0 alone, which joins by itself; more likely it is missing vcpu 2
    diagnosis, finding = first(procstat(vcpus("suspended", "started", "lock all")))
    assert (finding.verdict, finding.certainty) == ("deadlock", "likely")
    assert {100861, 100862} <= set(tids(diagnosis, finding.threads))


def test_nothing_but_prose():
    _, finding = first("My guest hangs. What can I do?\n")
    assert finding.verdict == "inconclusive"


@pytest.mark.parametrize(
    "stacks", [("halted", "in guest"), ("preempted", "preempted"), ("in guest", "halted", "preempted")]
)
def test_healthy_guests_have_no_finding_but_no_hang(stacks):
    diagnosis = analysed(procstat(vcpus(*stacks)))
    assert [finding.verdict for finding in diagnosis.findings] == ["no-hang"]


SYNC = "mi_switch sleepq_wait _cv_wait zio_wait dsl_pool_sync spa_sync_iterate_to_convergence spa_sync txg_sync_thread fork_exit fork_trampoline"
FSYNC = "mi_switch sleepq_wait _cv_wait txg_wait_synced_impl txg_wait_synced zil_commit zfs_fsync VOP_FSYNC_APV kern_fsync sys_fsync amd64_syscall"


def test_fsync_waits_for_the_sync_thread_and_that_for_the_disk():
    waiting = [T(100200 + number, "-", FSYNC, 900 + number, "postgres") for number in range(5)]
    sync = T(100150, "txg_thread_enter", SYNC, 7, "zfskern")
    diagnosis, finding = first(procstat([*waiting, sync]))
    assert finding.verdict in ("blocked", "io-stall")
    assert tids(diagnosis, finding.causes) == [100150]
    assert finding.certainty != "proven"


def test_one_fsync_is_everyday_work():
    diagnosis = analysed(
        procstat([T(100200, "-", FSYNC, 900, "postgres"), T(100150, "txg_thread_enter", SYNC, 7, "zfskern")])
    )
    assert [finding.verdict for finding in diagnosis.findings] == ["no-hang"]


def test_block_workers_behind_the_sync_thread_are_an_io_stall():
    write = "mi_switch sleepq_wait _cv_wait txg_wait_synced_impl txg_wait_synced zil_commit zvol_cdev_write devfs_write_f sys_pwritev amd64_syscall"
    workers = [T(100200 + number, f"blk-4:0-{number}", write) for number in range(4)]
    sync = T(100150, "txg_thread_enter", SYNC, 7, "zfskern")
    diagnosis, finding = first(procstat([*vcpus("halted", "halted"), *workers, sync]))
    assert (finding.verdict, finding.certainty) == ("io-stall", "possible")
    assert tids(diagnosis, finding.causes) == [100150]


PREADV = "devfs_read_f dofileread kern_preadv sys_preadv amd64_syscall fast_syscall_common"
WORKER_IDLE = "mi_switch sleepq_catch_signals sleepq_wait_sig _sleep umtxq_sleep do_wait __umtx_op_wait_uint_private sys__umtx_op amd64_syscall"
NFS_WRITE = (
    "mi_switch sleepq_timedwait _sleep clnt_vc_call clnt_reconnect_call newnfs_request nfsrpc_write ncl_write "
    "VOP_WRITE_APV vn_write vn_io_fault dofilewrite kern_pwritev sys_pwritev amd64_syscall"
)


@pytest.mark.parametrize(
    ("stacks", "workers", "verdict", "certainty"),
    [
        (("halted", "halted"), 4, "io-stall", "possible"),
        (("halted", "halted"), 3, "no-hang", "possible"),
        (("halted", "in guest"), 4, "no-hang", "likely"),
        (("halted", NFS_WRITE), 1, "io-stall", "possible"),
        (("halted", NFS_WRITE), 0, "no-hang", "possible"),
    ],
)
def test_a_guest_that_only_waits_for_its_server(stacks, workers, verdict, certainty):
    blocks = [T(100200 + number, f"blk-4:0-{number}", NFS_WRITE) for number in range(workers)]
    _, finding = first(procstat([*vcpus(*stacks), *blocks]))
    assert (finding.verdict, finding.certainty) == (verdict, certainty)
    if (verdict, certainty) == ("no-hang", "possible"):
        assert "for something else (NFS client" in finding.summary


def test_a_slow_disk_is_no_proof_of_health():
    # a guest whose disk does not answer looks like an idle one, but for its worker
    worker = T(100200, "blk-4:0-0", f"mi_switch sleepq_wait _cv_wait zio_wait zvol_cdev_read {PREADV}")
    _, finding = first(procstat([*vcpus("halted", "halted"), worker]))
    assert (finding.verdict, finding.certainty) == ("no-hang", "possible")
    assert "blk-4:0-0 (tid 100200)" in finding.summary


@pytest.mark.parametrize("others", [(), ("halted",), ("in guest",), ("mutex in userland",)])
def test_a_vcpu_thread_in_a_mutex_of_bhyve_is_no_healthy_guest(others):
    threads = [T(100859, "mevent", "kqueue"), *vcpus("mutex in userland", *others), T(100200, "blk-4:0-0", WORKER_IDLE)]
    diagnosis, finding = first(procstat(threads))
    assert (finding.verdict, finding.certainty) == ("inconclusive", "possible")
    assert 100860 in tids(diagnosis, finding.threads)
    assert "bhyve" in finding.summary
    assert any("gdb -p 2210" in step for step in finding.next_steps)


TTY = (
    "mi_switch sleepq_catch_signals sleepq_wait_sig _cv_wait_sig tty_wait ttydisc_write ttydev_write devfs_write_f "
    "dofilewrite sys_write amd64_syscall fast_syscall_common"
)


@pytest.mark.parametrize(
    ("mevent", "stacks", "certainty"),
    [
        (TTY, ("halted", "halted"), "possible"),
        ("kqueue", ("halted", TTY), "possible"),
        ("kqueue", ("in guest", TTY), "possible"),
        ("kqueue", ("in guest", "halted"), "likely"),
    ],
)
def test_a_terminal_that_nobody_reads_may_stop_a_guest(mevent, stacks, certainty):
    _, finding = first(procstat([T(100859, "mevent", mevent), *vcpus(*stacks)]))
    assert (finding.verdict, finding.certainty) == ("no-hang", certainty)
    assert ("for something else" in finding.summary) == (certainty == "possible")


@pytest.mark.parametrize(
    ("wmesgs", "verdict"),
    [(("vmhalt", "vmhalt"), "blocked"), (("vmidle", "vmhalt"), "no-hang"), (("vmidle", "vmidle"), "no-hang")],
)
def test_a_guest_that_halted_all_its_vcpus_is_not_idle(wmesgs, verdict):
    rows = "db> ps\n  pid  ppid  pgrp   uid  state   wmesg   wchan               cmd\n 2210     1  2210     0  Ds      (threaded)                  bhyve\n"
    rows += "100859                   S       kqread  0xfffff80005e8a400  mevent\n"
    for vcpu, wmesg in enumerate(wmesgs):
        rows += f"10086{vcpu}                   D       {wmesg}  0xfffffe01520a{vcpu}000  vcpu {vcpu}\n"
    diagnosis, finding = first(f"{rows}db> \n")
    assert (finding.verdict, finding.certainty) == (verdict, "likely")
    assert ("interrupts disabled" in finding.summary) == (verdict == "blocked")
    assert tids(diagnosis, finding.threads) == ([100860, 100861] if verdict == "blocked" else [])


SUSPENDED = "mi_switch thread_suspend_check ast_suspend ast_handler ast doreti_ast"


def test_a_guest_that_was_stopped_is_not_healthy():
    diagnosis, finding = first(procstat([T(100859, "mevent", SUSPENDED), *vcpus(SUSPENDED, SUSPENDED)]))
    assert (finding.verdict, finding.certainty) == ("blocked", "likely")
    assert tids(diagnosis, finding.threads) == [100860, 100861]
    assert any("kill -CONT 2210" in step for step in finding.next_steps)
    _, finding = first(procstat([T(100859, "mevent", SUSPENDED), *vcpus(SUSPENDED, "in guest")]))
    assert (finding.verdict, finding.certainty) == ("no-hang", "possible")


@pytest.mark.parametrize("owner", [f"zvol_cdev_read {PREADV}", f"mi_switch sleepq_wait _cv_wait zio_wait zvol_cdev_read {PREADV}"])
def test_a_mutex_that_a_thread_in_userland_may_have_is_everyday(owner):
    threads = [*vcpus("mutex in userland", "halted"), T(100200, "blk-4:0-0", owner)]
    _, finding = first(procstat(threads))
    assert (finding.verdict, finding.certainty) == ("no-hang", "possible")


@pytest.mark.parametrize(
    ("callers", "command", "holders"),
    [
        ("tap_destroy tun_clone_destroy if_clone_destroyif_flags ifioctl kern_ioctl sys_ioctl amd64_syscall", "ifconfig", []),
        ("devfs_destroy_dirent some_detach device_detach devclass_driver_deleted kern_kldunload amd64_syscall", "kldunload", []),
        ("sysctl_vmm_destroy sysctl_root_handler_locked sysctl_root", "sysctl", [100860, 100861]),
        ("vmmdev_lookup_and_destroy vmmctl_ioctl devfs_ioctl", "bhyvectl", [100860, 100861]),
        ("", "bhyvectl", [100860, 100861]),
    ],
)
def test_whose_device_is_destroyed(callers, command, holders):
    stack = f"mi_switch sleepq_timedwait _sleep destroy_devl destroy_dev {callers}"
    destroyer = T(100300, "-", stack, 900, command)
    diagnosis, finding = first(procstat([T(100859, "mevent", "kqueue"), *vcpus("halted", "in guest"), destroyer]))
    waiter = next(index for index, thread in enumerate(diagnosis.capture.threads) if thread.tid == 100300)
    assert tids(diagnosis, [edge.holder for edge in diagnosis.edges if edge.waiter == waiter]) == holders
    assert finding.verdict == ("contention" if holders else "inconclusive")


@pytest.mark.parametrize("stack", ["<unknown>", "??+0 ??+0 amd64_syscall+0x10c"])
def test_a_stack_without_names_is_not_one_that_runs(stack):
    table = procstat([T(100859, "mevent", "kqueue"), *vcpus("kqueue", "started")])
    lines = table.splitlines()
    row = next(number for number, line in enumerate(lines) if "vcpu 0" in line)
    lines[row] = lines[row][: lines[row].index("mi_switch")] + stack
    diagnosis, finding = first("\n".join(lines) + "\n")
    assert [wait.kind for wait in diagnosis.waits] == ["event", "unknown", "rendezvous"]
    assert finding.verdict == "inconclusive"


def test_lock_all_by_another_process_does_not_weaken_the_proof():
    # bhyvectl may hold vcpu 1, or not: vcpu 1's thread waits for somebody stuck either way
    reinit = T(100901, "-", "lock all", 2290, "bhyvectl")
    diagnosis, finding = first(procstat([*vcpus("started", "lock one", "joined"), reinit]))
    assert (finding.verdict, finding.certainty) == ("deadlock", "proven")
    assert set(tids(diagnosis, finding.threads)) == {100860, 100861, 100862}
    assert tids(diagnosis, finding.victims) == [100901]


def test_threads_without_names_are_likely_at_most():
    threads = [T(thread.tid, "-", thread.stack) for thread in vcpus("joined", "lock one", "started")]
    _, finding = first(alltrace(threads))
    assert (finding.verdict, finding.certainty) == ("deadlock", "likely")


def test_stacks_without_any_identity_are_possible_at_most():
    text = "\n\n".join(
        "\n".join(
            f"#{depth} 0xffffffff8038d0{depth:02x} in {name} ()"
            for depth, name in enumerate(thread.functions)
        )
        for thread in vcpus("joined", "lock one", "started")
    )
    _, finding = first(text + "\n")
    assert (finding.verdict, finding.certainty) == ("deadlock", "possible")


def test_a_vcpu_of_which_nothing_is_known_makes_it_inconclusive():
    text = procstat(vcpus("started", "joined", "halted")).replace(
        " ".join(f"{n}+0x{len(n):x}" for n in vcpus("halted")[0].functions), ""
    )
    _, finding = first(text)
    assert finding.verdict == "inconclusive"


@pytest.mark.parametrize("rest", ["", "mi_switch+0xd2 sleepq_timedwait+0x2f msleep_spin_sbt+0xdd"])
def test_an_ioctl_may_want_a_vcpu_of_which_nothing_is_known(rest):
    text = procstat(vcpus("started", "lock one", "joined", "halted")).replace(
        " ".join(f"{n}+0x{len(n):x}" for n in vcpus("halted")[0].functions), rest
    )
    _, finding = first(text)
    assert (finding.verdict, finding.certainty) == ("deadlock", "possible")


def targets_of(diagnosis, tid):
    numbers = {thread.tid: index for index, thread in enumerate(diagnosis.capture.threads)}
    need = diagnosis.needs[numbers[tid]]
    return tids(diagnosis, tuple(holder.thread for holder in need.holders)), need


def ps(threads, sleeps):
    rows = "db> ps\n  pid  ppid  pgrp   uid  state   wmesg   wchan               cmd\n"
    rows += " 2210     1     0     0  D       (threaded)                  bhyve\n"
    for thread, (wmesg, wchan) in zip(threads, sleeps, strict=True):
        rows += f"{thread.tid}                   D       {wmesg:<7} {wchan:#018x}  {thread.name}\n"
    return rows


def test_a_wait_channel_tells_which_vcpu_an_ioctl_wants():
    # &vcpu->state is 0x20 behind the channel on which that vCPU's own thread halts
    threads = vcpus("halted", "lock one", "halted")
    sleeps = [("vmidle", 0xFFFFFE0000723248), ("vmstat", 0xFFFFFE0000723478), ("vmidle", 0xFFFFFE0000723458)]
    holders, need = targets_of(analysed(ps(threads, sleeps) + alltrace(threads)), 100861)
    assert holders == [100862]
    assert need.basis == "observed"


def test_waiters_for_one_vcpu_share_a_channel():
    threads = [*vcpus("joined", "lock one", "started"), BHYVECTL]
    rows = ps(
        threads[:3],
        [("vmrndv", 0xFFFFFE0000723110), ("vmstat", 0xFFFFFE0000723268), ("vmrndv", 0xFFFFFE0000723110)],
    )
    rows += " 2290     1     0     0  D       vmstat  0xfffffe0000723268  bhyvectl\n"
    other = vcpus("halted", pid=3300, first=100950)
    diagnosis, finding = first(rows + alltrace([*threads, *other]))
    # two VMs, but the channel ties bhyvectl to the first
    assert 100901 in tids(diagnosis, finding.victims)


def test_a_vcpu_pointer_tells_which_vcpu_an_ioctl_wants():
    # 13.2 and later pass struct vcpu pointers
    text = kgdb(vcpus("joined", "lock one", "joined"))
    text = text.replace(
        "in vm_handle_rendezvous (td=<optimized out>)", "in vm_handle_rendezvous (vcpu=0xfffff80100000000)", 1
    )
    text = text.replace(
        "in vcpu_set_state (td=<optimized out>)",
        "in vcpu_set_state (vcpu=vcpu@entry=0xfffff80100000000, newstate=VCPU_FROZEN)",
    )
    holders, need = targets_of(analysed(text), 100861)
    assert holders == [100860]
    assert need.mode == "all"


def test_reqidle_tells_which_vcpu_an_ioctl_wants():
    text = kgdb(vcpus("joined", "lock one", "joined"))
    for number, (state, reqidle) in enumerate((("VCPU_FROZEN", 1), ("VCPU_IDLE", 0), ("VCPU_FROZEN", 0))):
        text += f"(kgdb) p head.slh_first->vm->vcpu[{number}].state\n$1 = {state}\n"
        text += f"(kgdb) p head.slh_first->vm->vcpu[{number}].reqidle\n$2 = {reqidle}\n"
    holders, _ = targets_of(analysed(text), 100861)
    assert holders == [100860]


def test_the_ioctl_is_named_by_its_number():
    text = kgdb(vcpus("joined", "lock one", "started")).replace(
        "in vmmdev_ioctl (td=<optimized out>)", "in vmmdev_ioctl (cdev=<unavailable>, cmd=2150135339)"
    )
    diagnosis = analysed(text)
    assert "VM_PPTDEV_MSI" in diagnosis.activities[1]


def test_gdb_without_process_ids_groups_by_open_file_and_row_of_thread_ids():
    threads = vcpus("joined", "lock one", "started")
    text = kgdb(threads)
    for thread in threads:
        text = text.replace(f"Thread {thread.tid} (PID=2210: bhyve/{thread.name})", f"Thread {thread.tid}")
    text = text.replace("in vn_ioctl (td=<optimized out>)", "in vn_ioctl (fp=0xfffff80002406f50)")
    for number in (0, 2):
        text = text.replace(
            "in vm_handle_rendezvous (td=<optimized out>)",
            f"in vm_handle_rendezvous (vm=0xfffffe0000723000, vcpuid={number})",
            1,
        )
    text += "(gdb) p *head.slh_first->vm\n$1 = {rendezvous_req_cpus = {__bits = {7}}, rendezvous_done_cpus = {__bits = {5}}, "
    text += "active_cpus = {__bits = {7}}, rendezvous_func = 0xffffffff80 <f>}\n"
    diagnosis, finding = first(text)
    assert (finding.verdict, finding.certainty) == ("deadlock", "proven")
    assert set(tids(diagnosis, finding.threads)) == {100860, 100861, 100862}


def test_a_thread_that_moved_between_samples_is_not_stuck():
    (capture,) = read_text(procstat(vcpus("joined", "lock one", "started")))
    moved = replace(capture, host=Host(facts=(("samples", "2 in 1.0 s"), ("moved", "100861"))))
    assert diagnose(capture, KNOWLEDGE, MATCHER).verdict == "deadlock"
    assert all(finding.verdict != "deadlock" for finding in diagnose(moved, KNOWLEDGE, MATCHER).findings)


def test_thousands_of_waiters_for_one_lock_are_no_trouble():
    chains = "".join(
        f'chain {number}:\n thread {200000 + number} (pid 900, w{number}) is blocked on lock 0xfffff80001 (sleep mutex) "busy"\n'
        f" thread 100102 (pid 901, owner) is running on CPU 3\n"
        for number in range(3000)
    )
    diagnosis, finding = first(chains)
    assert finding.verdict == "contention"
    assert len(finding.threads) == 3000
    assert tids(diagnosis, finding.causes) == [100102]


@pytest.mark.parametrize("started", [True, False])
def test_leaving_out_a_crowd_changes_no_verdict(monkeypatch, started):
    stacks = ["lock one", "lock all", "mem_segs", "lock all", "destroy, sysctl"] * 8
    crowd = [T(200000 + number, "-", stack, 5000 + number, "bhyvectl") for number, stack in enumerate(stacks)]
    (capture,) = read_text(procstat(vcpus("joined", "lock one", "started" if started else "in guest") + crowd))
    short = diagnose(capture, KNOWLEDGE, MATCHER)
    monkeypatch.setattr("hangdiag.holders.need._MOST_ALIKE", len(crowd))
    whole = diagnose(capture, KNOWLEDGE, MATCHER)
    assert len(short.edges) < len(whole.edges)
    for few, many in zip(short.findings, whole.findings, strict=True):
        assert (few.verdict, few.certainty) == (many.verdict, many.certainty)
        assert {*few.threads, *few.victims} == {*many.threads, *many.victims}


@pytest.mark.parametrize(
    "stack",
    [
        "lock one",
        "lock all",
        "mem_segs",
        "destroy, sysctl",
        "mi_switch sleepq_wait _cv_wait txg_wait_synced dmu_tx_wait zfs_write VOP_WRITE_APV vn_write amd64_syscall",
    ],
)
def test_a_crowd_in_one_vm_costs_what_its_threads_cost(stack):
    # a monitor that runs bhyvectl every minute leaves one behind each time
    crowd = [T(200000 + number, "-", stack, 5000 + number, "bhyvectl") for number in range(1500)]
    (capture,) = read_text(procstat(vcpus("joined", "joined", "lock one", "lock all") + crowd))
    begin = time.process_time()
    diagnosis = diagnose(capture, KNOWLEDGE, MATCHER)
    # it was 40 s where each waiter looked at the stacks of all others
    assert time.process_time() - begin < 2
    assert any(len(finding.threads) + len(finding.victims) >= 1500 for finding in diagnosis.findings)


def test_a_vcpu_of_a_high_number_costs_what_any_costs():
    (capture,) = read_text(procstat([T(100043, "vcpu 30000000", "joined"), T(100044, "vcpu 0", "joined")]))
    begin = time.process_time()
    diagnosis = diagnose(capture, KNOWLEDGE, MATCHER)
    assert time.process_time() - begin < 2
    assert diagnosis.findings[0].certainty == "possible"


PS = "UID  PID PPID C PRI NI     VSZ    RSS MWCHAN STAT TT     TIME COMMAND\n"


@pytest.mark.parametrize(
    ("option", "certainty"),
    [
        ("-c 3", "proven"),
        ("-c cpus=3,sockets=1,cores=3", "proven"),
        ("-c 4", "possible"),
        ("-c cpus=4", "possible"),
        ("-c sockets=2,cores=2", "possible"),
        ("-c nonsense", "proven"),
    ],
)
def test_a_vcpu_that_the_command_line_names_and_no_stack_shows(option, certainty):
    # with vcpu 3 in the guest, both the ioctl and the rendezvous might wait for it alone
    ps = PS + f"  0 2210    1 0  20  0 8494000 812000 vmrndv Ds  -  12:01.10 bhyve {option} -m 8G -H win11\n"
    _, finding = first(procstat(vcpus("joined", "lock one", "started")) + ps)
    assert (finding.verdict, finding.certainty) == ("deadlock", certainty)


@pytest.mark.parametrize(
    ("stacks", "banner", "certainty"),
    [
        # a kernel with the fix shows the same messages while vcpu_set_state_all() helps the rendezvous along
        ((), "", "likely"),
        ((), "FreeBSD 15.1-STABLE #0 stable/15-n280000: GENERIC\n", "likely"),
        ((), "FreeBSD 13.1-RELEASE #0 releng/13.1-n250148: GENERIC\n", "proven"),
        ((1,), "", "proven"),
        ((1, 2), "", "proven"),
    ],
)
def test_ps_alone_says_that_a_thread_is_inside_vm_run(stacks, banner, certainty):
    threads = vcpus("joined", "lock one", "started")
    ps = f"{banner}db> ps\n  pid  ppid  pgrp   uid  state   wmesg   wchan               cmd\n"
    ps += " 2210     1     0     0  D       (threaded)                  bhyve\n"
    for thread, wmesg, wchan in zip(
        threads, ("vmrndv", "vmstat", "vmrndv"), ("110", "268", "110"), strict=True
    ):
        ps += f"{thread.tid}                   D       {wmesg}  0xfffffe0000723{wchan}  {thread.name}\n"
    text = ps + (alltrace([threads[index] for index in stacks]) if stacks else "")
    diagnosis, finding = first(text)
    assert (finding.verdict, finding.certainty) == ("deadlock", certainty)
    assert set(tids(diagnosis, finding.threads)) == {100860, 100861, 100862}


def test_a_lock_held_shared_says_by_how_many():
    text = (
        ' thread 100041 (pid 16, ab) is blocked on lock 0xfffff80004d00200 (sx) "vm map" SLOCK (count 2)\n'
        " thread 100042 (pid 16, cd) is sleeping on 0xfffff80004d00300 \"kqread\"\n"
    )
    diagnosis = analysed(text)
    assert any("2 threads hold it shared" in reason for finding in diagnosis.findings for reason in finding.reasons)


def test_vcpus_are_known_by_the_structs_that_they_sleep_on():
    def machine(name, base):
        vcpus = tuple(Vcpu(number, address=base + 0x1000 * number, state="SLEEPING") for number in range(2))
        return VirtualMachine(address=base - 0x100000, name=name, active=frozenset({0, 1}), vcpus=vcpus)

    def thread(tid, pid, wchan):
        frames = tuple(map(Frame, ("mi_switch", "sleepq_timedwait", "msleep_spin_sbt", "vm_run", "vmmdev_ioctl")))
        return Thread(pid=pid, tid=tid, command="bhyve", state="sleeping", wmesg="vmidle", wchan=wchan, frames=frames)

    # That the vCPUs of one lie beside the struct vm of the other says nothing.
    one, two = 0xFFFFF80001200000, 0xFFFFF80001104000
    # Two VMs, no names and no command lines: the wait channels tell whose threads they are.
    threads = (thread(100101, 11, two + 0x1000), thread(100102, 11, two), thread(100103, 12, one))
    capture = Capture(threads=threads, vms=(machine("one", one), machine("two", two)))
    diagnosis = diagnose(capture, KNOWLEDGE, MATCHER)
    found = {machine.label: machine.vcpus for machine in diagnosis.machines}
    assert found == {"two": {0: 1, 1: 0}, "one": {0: 2}}


def test_an_ioctl_of_a_vm_that_is_not_shown_is_no_quiet_host():
    diagnosis, finding = first(procstat([T(100900, "-", "lock one", 2290, "bhyvectl")]))
    assert (finding.verdict, tids(diagnosis, finding.threads)) == ("inconclusive", [100900])
    assert "not shown" in finding.summary or "not in" in " ".join(finding.reasons)


def test_a_deadlock_with_a_suspension_is_confirmed_by_its_own_sets():
    # vm_handle_suspend() does not see that its vCPU is asked to go idle
    diagnosis, finding = first(procstat(vcpus("lock all", "suspended", "mutex in userland")))
    assert (finding.verdict, finding.certainty, tids(diagnosis, finding.threads)) == ("deadlock", "likely", [100860, 100861])
    confirm = [step for step in finding.next_steps if step.startswith("to confirm")]
    assert [("suspended_cpus" in step, "rendezvous" in step) for step in confirm] == [(True, False)]


PANIC = "KDB: stack backtrace:\n" + "".join(
    f"#{number} 0xffffffff80c2b{number}d3 at {function}+0x43\n"
    for number, function in enumerate(("kdb_backtrace", "vpanic", "panic", "trap_fatal", "calltrap"))
)


def test_a_panic_is_said_to_be_one():
    _, finding = first("panic: page fault\ncpuid = 1\n" + PANIC)
    assert (finding.verdict, finding.certainty) == ("no-hang", "likely")
    assert finding.summary == "the kernel panicked (page fault); no thread waits for another one in the kernel"
    assert first(PANIC)[1].summary.startswith("the kernel panicked; ")
    _, finding = first("panic: " + "so very long a message " * 30 + "\n" + PANIC)
    assert len(finding.summary) < 220
    assert finding.summary.endswith("...); no thread waits for another one in the kernel")


def test_who_panics_while_it_takes_stacks_has_panicked():
    stack = "db_trace_self db_trace_self_wrapper vpanic panic stack_save_td sysctl_kern_proc_kstack sysctl_root_handler_locked"
    frames = "".join(f"{name}() at {name}+0x30/frame 0xfffffe00007da4c0\n" for name in stack.split())
    diagnosis, _ = first("KDB: stack backtrace:\n" + frames)
    assert [wait.title for wait in diagnosis.waits] == ["panicked"]


def test_a_message_of_an_older_panic_is_no_panic_now():
    _, finding = first("panic: page fault\n" + procstat(vcpus("halted", "halted")))
    assert finding.verdict == "no-hang"
    assert "panicked" not in finding.summary


def test_what_was_left_out_may_hang():
    text = procstat(vcpus("halted", "halted"))
    assert first(text)[1].certainty == "likely"
    assert first(text + "... and 40 more threads\n")[1].certainty == "possible"
