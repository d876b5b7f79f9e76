"""Guests that are healthy, slow, stopped or waited for: none of them may be called deadlocked, in whatever form they come."""

from __future__ import annotations

import pytest

from tests.traces import SYSCALL, T, alltrace, analysed, kgdb, procstat, vcpus

PAUSED = "mi_switch thread_suspend_check ast doreti_ast"
NAP = "mi_switch sleepq_catch_signals sleepq_timedwait_sig _sleep kern_clock_nanosleep sys_nanosleep amd64_syscall fast_syscall_common"
NO_MEMORY = f"mi_switch sleepq_timedwait _sleep vm_waitpfault vm_fault vm_handle_paging vm_run {SYSCALL}"
WIRES = f"vm_map_wire_locked vm_map_wire vm_mmap_memseg {SYSCALL}"
BHYVECTL = {
    name: T(100900, "-", stack, 2290, "bhyvectl")
    for name, stack in (("one", "lock one"), ("all", "lock all"), ("destroy", "destroy, sysctl"))
}

CASES = {
    "a rendezvous is about to end": (["started", "in guest", "joined"], [], {"contention"}),
    "a vCPU was preempted": (["started", "preempted", "joined"], [], {"contention"}),
    "all have joined": (["started", "joined", "joined"], [], {"contention", "inconclusive"}),
    "suspended vCPUs join by themselves": (["started", "suspended", "suspended"], [], {"contention", "inconclusive", "blocked"}),
    "a vCPU reads a disk in userland": (["joined", "started", "disk"], [], {"blocked", "io-stall"}),
    "a vCPU waits for a mutex of the program": (["joined", "started", "mutex in userland"], [], {"blocked"}),
    "a vCPU naps until it is started": (["started", NAP, "joined"], [], {"contention", "blocked"}),
    "a vCPU waits for memory": (["joined", "started", NO_MEMORY], [], {"blocked", "memory-starvation"}),
    "an ioctl waits for a halted vCPU": (["halted", "halted"], [BHYVECTL["one"]], {"contention"}),
    "an ioctl of all waits for the guest": (["halted", "in guest"], [BHYVECTL["all"]], {"contention"}),
    "destroying a halted guest": (["halted", "halted"], [BHYVECTL["destroy"]], {"contention", "blocked"}),
    "a kernel with the fix": (["joined", "lock all, fixed", "in guest"], [], {"contention"}),
    "a kernel with the fix, all joined": (["started", "lock all, fixed", "joined"], [], {"contention", "inconclusive", "blocked"}),
    "stopped by a debugger": ([PAUSED, PAUSED], [BHYVECTL["destroy"]], {"contention", "inconclusive", "blocked", "no-hang"}),
    "stopped by a signal": ([PAUSED, PAUSED, PAUSED], [], {"blocked"}),
    "memory is wired": (["mem_segs", WIRES], [], {"contention", "inconclusive"}),
    "two ioctls that wait for vCPUs nobody has": (["lock one", "lock one"], [], {"inconclusive", "contention", "blocked"}),
    "one vCPU has not suspended": (["suspended", "mutex in userland", "suspended"], [], {"blocked"}),
    "an idle guest": (["halted", "halted"], [], {"no-hang"}),
}


@pytest.mark.parametrize("form", [procstat, alltrace, kgdb])
@pytest.mark.parametrize("case", CASES)
def test_no_deadlock(case, form):
    stacks, others, verdicts = CASES[case]
    diagnosis = analysed(form([T(100859, "mevent", "kqueue"), *vcpus(*stacks), *others]))
    found = {finding.verdict for finding in diagnosis.findings}
    assert "deadlock" not in found
    # ddb prints no names: which thread runs which vCPU is not always known then
    assert diagnosis.findings[0].verdict in verdicts | ({"inconclusive"} if form is alltrace else set())


def test_a_vcpu_that_runs_and_has_no_name_is_one():
    # `show allchains` names the threads that sleep, alltrace none
    threads = vcpus("started", "joined", "lock all", "in guest")
    waits = zip(threads, ("vmrndv", "vmrndv", "vmstat"), strict=False)
    chains = "".join(
        f"chain {number}:\n thread {thread.tid} (pid 2210, {thread.name}) is sleeping on 0xfffffe0000723110 \"{wmesg}\"\n"
        for number, (thread, wmesg) in enumerate(waits, 1)
    )
    finding = analysed(f"db> show allchains\n{chains}{alltrace(threads)}").findings[0]
    assert (finding.verdict, finding.certainty) != ("deadlock", "proven")


@pytest.mark.parametrize(("wmesg", "sure"), [("vmrndv", True), ("CPU 1", False)])
def test_a_thread_that_one_tool_saw_running_and_another_one_asleep_proves_nothing(wmesg, sure):
    threads = vcpus("started", "lock all", "joined")
    ps = "db> ps\n  pid  ppid  pgrp   uid  state   wmesg   wchan               cmd\n"
    ps += " 2210     1     0     0  D       (threaded)                  bhyve\n"
    for thread, said in zip(threads, ("vmrndv", "vmstat", wmesg), strict=True):
        state = "Run" if "CPU" in said else "D"
        wchan = "" if "CPU" in said else "0xfffffe0000723110"
        ps += f"{thread.tid}                   {state:<7} {said:<7} {wchan:18}  {thread.name}\n"
    finding = analysed(ps + alltrace(threads)).findings[0]
    assert (finding.verdict == "deadlock" and finding.certainty == "proven") == sure


def test_a_stack_in_the_guest_that_has_no_header_may_be_of_the_missing_vcpu():
    threads = vcpus("started", "lock all", "joined")
    stray = "\n".join(alltrace(vcpus("in guest")).splitlines()[3:])
    names = "".join(f"Thread {thread.tid} at {thread.tid * 0x1000 + 0xFFFFF80000000000:#x}:\n proc (pid 2210): 0xfffff800021c0530\n name: {thread.name}\n" for thread in threads)
    finding = analysed(f"{alltrace(threads)}\n{stray}\ndb> show thread\n{names}").findings[0]
    assert (finding.verdict, finding.certainty) != ("deadlock", "proven")


def test_threads_that_were_asked_for_one_by_one_are_not_all():
    text = ""
    for thread in vcpus("started", "joined", "lock all"):
        stack = alltrace([thread]).replace("command bhyve ", "").removeprefix("db> alltrace\n\n")
        text += f"db> bt {thread.tid}\n{stack}db> show thread {thread.tid}\nThread {thread.tid} at {thread.tid * 0x1000 + 0xFFFFF80000000000:#x}:\n"
        text += f" proc (pid 2210): 0xfffff800021c0530\n name: {thread.name}\n"
    finding = analysed(text).findings[0]
    assert (finding.verdict, finding.certainty) == ("deadlock", "possible")


@pytest.mark.parametrize(("cpu", "sure"), [("", True), (" (CPU 1)", False)])
def test_a_stack_that_sleeps_below_the_header_of_a_thread_that_runs_is_no_proof(cpu, sure):
    # the lines between two threads were lost, the header of the second one among them
    threads = vcpus("started", "lock all", "joined")
    names = "".join(
        f"Thread {thread.tid} at {thread.tid * 0x1000 + 0xFFFFF80000000000:#x}:\n proc (pid 2210): 0xfffff800021c0530\n name: {thread.name}\n"
        for thread in threads
    )
    lines = alltrace(threads).splitlines(keepends=True)
    header = max(index for index, line in enumerate(lines) if line.startswith("Tracing"))
    lines[header] = lines[header].rstrip() + cpu + "\n"
    finding = analysed("".join(lines) + "db> show thread\n" + names).findings[0]
    assert (finding.verdict == "deadlock" and finding.certainty == "proven") == sure


def test_a_vcpu_that_ps_alone_lists_is_one():
    # procstat's last row was lost
    threads = vcpus("started", "joined", "lock all", "in guest")
    ps = " UID   PID  PPID  C PRI NI     VSZ    RSS MWCHAN   STAT TT        TIME COMMAND\n"
    for thread, wmesg in zip(threads, ("vmrndv", "vmrndv", "vmstat", "-"), strict=True):
        ps += f"   0  2210     1  0  20  0 4233024  91232 {wmesg:<8} {'R' if wmesg == '-' else 'D'}     -     0:12.41 bhyve/{thread.name}\n"
    diagnosis = analysed(ps + procstat(threads[:3]))
    assert [thread.name for thread in diagnosis.capture.threads] == ["vcpu 0", "vcpu 1", "vcpu 2", "vcpu 3"]
    assert (diagnosis.findings[0].verdict, diagnosis.findings[0].certainty) != ("deadlock", "proven")
