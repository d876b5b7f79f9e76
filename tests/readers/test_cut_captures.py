"""Captures with lines cut out of their middle: what is left proves nothing that the whole capture does not."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest

from hangdiag.diagnosis import diagnose
from hangdiag.readers import read_text
from tests.readers.help import read
from tests.traces import KNOWLEDGE, MATCHER, T, alltrace, first, kgdb, procstat, tids, vcpus

SAMPLES = Path(__file__).parents[2] / "samples"
SURENESS = {"possible": 1, "likely": 2, "proven": 3}

DDB = """\
db> show allchains
chain 1:
 thread 100701 (pid 900, a) is blocked on lock 0xfffff80001234000 (sleep mutex) "one"
 thread 100702 (pid 901, b) is running on CPU 3
chain 2:
 thread 100703 (pid 902, c) is blocked on lock 0xfffff80001235000 (sleep mutex) "two"
 thread 100701 (pid 900, a) is blocked on lock 0xfffff80001234000 (sleep mutex) "one"
 thread 100702 (pid 901, b) is running on CPU 3
"""
GDB6 = DDB.replace("db> show ", "(kgdb) ").replace("is blocked", "blocked").replace("is running", "running").replace("(sleep mutex) ", "")


def deadlocks(text: str) -> list[tuple[str, set[int | None], set[int | None]]]:
    """The certainty, core and all threads of each deadlock found in ``text``."""
    found = []
    for capture in read_text(text):
        diagnosis = diagnose(capture, KNOWLEDGE, MATCHER)
        for finding in diagnosis.findings:
            if finding.verdict == "deadlock":
                core = set(tids(diagnosis, finding.threads))
                found.append((finding.certainty, core, core | set(tids(diagnosis, finding.victims))))
    return found


@pytest.mark.parametrize("text", [DDB, GDB6])
def test_two_chains_run_into_one_make_no_cycle(text):
    lines = text.splitlines(keepends=True)
    assert deadlocks(text) == []
    # without the end of the first and the head of the second, thread 100701 stands before 100703 and behind it
    assert deadlocks("".join(lines[:3] + lines[5:])) == []


@pytest.mark.parametrize("text", [DDB, GDB6])
def test_no_lines_cut_out_of_chains_make_a_cycle(text):
    lines = text.splitlines(keepends=True)
    for begin in range(len(lines)):
        for end in range(begin + 1, len(lines)):
            assert deadlocks("".join(lines[:begin] + lines[end:])) == []


def test_a_link_that_cannot_be_read_tells_no_owner():
    text = """\
db> show lockchain 100701
thread 100701 (pid 900, a) is blocked on lock 0xfffff80001234000 (sleep mutex) "one"
thrxad 100702 (pid 901, b) is blckd on lock 0xfffff80001235000 (sleep mutex) "two"
thread 100703 (pid 902, c) is running on CPU 3
"""
    capture = read(text, indented=False)
    assert [(lock.name, lock.owner) for lock in capture.locks] == [("one", None)]


def test_what_a_cycle_prints_again_fills_the_gap():
    a = 'thread 100701 (pid 900, a) is blocked on lock 0xfffff80001234000 (sleep mutex) "one"\n'
    b = 'thread 100702 (pid 901, b) is blocked on lock 0xfffff80001235000 (sleep mutex) "two"\n'
    c = 'thread 100703 (pid 902, c) is blocked on lock 0xfffff80001236000 (sleep mutex) "three"\n'
    capture = read("db> show lockchain 100701\n" + a + "usb0: disconnected\n" + c + a + b + c + a + b, indented=False)
    assert {lock.name: lock.owner for lock in capture.locks} == {"one": 100702, "two": 100703, "three": 100701}


def test_a_chain_of_the_gdb6_script_is_no_proof():
    # it goes around once: whether a line is missing in it is not to be seen
    text = """\
(kgdb) lockchain 100701
 thread 100701 (pid 900, a) blocked on lock 0xfffff80001234000 "one"
 thread 100702 (pid 901, b) blocked on lock 0xfffff80001235000 "two"
 DEADLOCK
"""
    assert deadlocks(text) == [("likely", {100701, 100702}, {100701, 100702})]
    # each chain of another thread that names the same owner confirms it
    second = text.replace("lockchain 100701", "lockchain 100702").splitlines(keepends=True)
    assert deadlocks(text + "".join([second[0], second[2], second[1], second[3]]))[0][0] == "proven"


def test_owners_that_contradict_each_other_prove_nothing():
    text = """\
db> show lockchain 100701
thread 100701 (pid 900, a) is blocked on lock 0xfffff80001234000 (sx) "one" XLOCK
thread 100702 (pid 901, b) is blocked on lock 0xfffff80001235000 (sx) "two" XLOCK
thread 100701 (pid 900, a) is blocked on lock 0xfffff80001234000 (sx) "one" XLOCK
"""
    locks = """\
db> show alllocks
Process 903 (d) thread 0xfffff80004c98000 (100704)
exclusive sx one (one) r = 0 (0xfffff80001234000) locked @ /usr/src/sys/kern/x.c:1
"""
    assert deadlocks(text)[0][0] == "proven"
    assert deadlocks(text + locks) == []


TARGET = """\
(kgdb) p vm->vcpu[0].state
$1 = VCPU_FROZEN
(kgdb) p vm->vcpu[0].reqidle
$2 = 1
(kgdb) p vm->vcpu[1].state
$3 = VCPU_FROZEN
(kgdb) p vm->vcpu[1].reqidle
$4 = 0
(kgdb) p vm->vcpu[2].state
$5 = VCPU_IDLE
(kgdb) p vm->vcpu[2].reqidle
$6 = 0
"""


def test_a_vcpu_is_the_only_one_of_its_kind_only_if_all_are_known():
    stacks = procstat(vcpus("joined", "joined", "lock one"))
    diagnosis, finding = first(TARGET + stacks)
    assert tids(diagnosis, finding.threads) == [100860, 100862]
    lines = TARGET.splitlines(keepends=True)
    # of vcpu 1 it is not known any more whether it was asked too
    diagnosis, finding = first("".join(lines[:6] + lines[8:]) + stacks)
    assert tids(diagnosis, finding.threads) == [100860, 100861, 100862]
    # nor whether it is idle
    idle = TARGET.replace("reqidle\n$2 = 1", "reqidle\n$2 = 0").splitlines(keepends=True)
    diagnosis, finding = first("".join(idle[:4] + idle[6:]) + stacks)
    assert tids(diagnosis, finding.threads) == [100860, 100861, 100862]


NAMES = sorted(path.name for path in SAMPLES.glob("*.txt"))


@pytest.mark.parametrize("name", NAMES)
def test_no_cut_of_a_sample_says_more_than_the_whole(name):
    """Whatever lines are missing in the middle: no surer verdict, nobody in it who was not before."""
    lines = (SAMPLES / name).read_text().splitlines(keepends=True)
    plain = deadlocks("".join(lines))
    surest = max([SURENESS[certainty] for certainty, *_ in plain], default=0)
    involved: set[int | None] = {None}.union(*[everybody for *_, everybody in plain])
    draw = random.Random(name)
    for _ in range(6):
        begin = draw.randrange(len(lines) - 2)
        end = min(begin + draw.choice((1, 2, 5, 20, 100, 400)), len(lines) - 1)
        for certainty, core, _ in deadlocks("".join(lines[:begin] + lines[end:])):
            assert SURENESS[certainty] <= surest, (begin, end)
            assert core <= involved, (begin, end)


GUESTS = {
    "in the guest": (("joined", "lock one", "in guest", "joined"), {2}),
    "in userland": (("started", "lock all", "kqueue", "joined"), {2}),
    "not deadlocked": (("joined", "in guest", "disk", "halted"), {1, 2, 3}),
    "one can run": (("started", "lock one", "preempted"), {2}),
}


@pytest.mark.parametrize("form", [procstat, alltrace, kgdb])
@pytest.mark.parametrize("case", GUESTS)
def test_a_free_vcpu_that_was_cut_out_proves_no_deadlock(case, form):
    """The others may look deadlocked then: that it was there is told by the vCPUs' numbers."""
    stacks, free = GUESTS[case]
    text = form([*vcpus(*stacks), T(100900, "-", "kqueue", 1, "init")])
    assert not any(certainty == "proven" for certainty, *_ in deadlocks(text))
    threads = vcpus(*stacks)
    for vcpu in free:
        if vcpu + 1 == len(threads):
            continue  # nothing tells of a last one
        left = [thread for number, thread in enumerate(threads) if number != vcpu]
        assert not any(certainty == "proven" for certainty, *_ in deadlocks(form([*left, T(100900, "-", "kqueue", 1, "init")])))


@pytest.mark.parametrize("name", ["deadlock.procstat.txt", "deadlock.ddb.txt"])
def test_a_list_of_all_threads_that_ends_with_a_vm_may_have_had_more_of_it(name):
    text = (SAMPLES / name).read_text()
    if name.endswith("ddb.txt"):
        # the kernel's own threads come last in alltrace: turned round, for a cut between two threads of the VM
        head, *traces = text[text.index("db> alltrace") :].split("\nTracing command ")
        tail = [trace for trace in traces if trace.startswith("bhyve ")]
        rest = [trace for trace in traces if not trace.startswith("bhyve")]
        text = "\nTracing command ".join([head, *rest, *tail]).rstrip("\n") + "\n"
        end = text.rindex("\n\nTracing command bhyve") + 1
    else:
        end = text.index("   16 100046 bhyve ")
    (capture,) = read_text(text[:end])
    assert "vcpu 2" in {thread.name for thread in capture.threads} or name.endswith("ddb.txt")
    assert capture.is_abridged
    assert all(certainty != "proven" for certainty, *_ in deadlocks(text[:end]))
    # somebody typed the next command: the list had ended
    prompt = "db> \n" if name.endswith("ddb.txt") else "root@host:~ # \n"
    assert not read_text(text[:end] + prompt)[0].is_abridged


def test_a_list_of_some_processes_is_taken_for_whole():
    assert deadlocks(procstat(vcpus("joined", "joined", "lock one")))[0][0] == "proven"


def lldb(threads: list[T]) -> str:
    """The threads as lldb's ``thread backtrace all`` prints them."""
    lines = ["(lldb) thread backtrace all"]
    for number, thread in enumerate(threads, 1):
        lines.append(f"  thread #{number}, name = '(pid {thread.pid}) {thread.command}/{thread.name}'")
        for depth, name in enumerate(["sched_switch", *thread.functions]):
            lines.append(f"    frame #{depth}: 0xffffffff80c0{depth:04x} kernel`{name}(td=0x{thread.tid:016x}) at x.c:{depth}:9")
    return "\n".join(lines) + "\n"


def kgdb_down(threads: list[T]) -> str:
    """As gdb lists threads: numbered down to 1."""
    text = kgdb(threads)
    for number in range(1, len(threads) + 1):
        text = text.replace(f"\nThread {number} (", f"\nThread ={len(threads) + 1 - number} (")
    return text.replace("Thread =", "Thread ")


@pytest.mark.parametrize("form", [kgdb_down, lldb])
def test_a_gap_in_a_debugger_s_numbers_tells_of_a_thread_that_is_missing(form):
    threads = [T(100800, "mevent", "kqueue"), *vcpus("joined", "lock one", "in guest"), T(100700, "-", "kqueue", 1, "init")]
    whole = form([*threads[:3], *threads[4:]])
    assert deadlocks(whole)[0][0] == "proven"  # without the vCPU that runs it is one
    lines = form(threads).splitlines(keepends=True)
    heads = [index for index, line in enumerate(lines) if line.lstrip().startswith(("Thread ", "thread #"))]
    cut = "".join(lines[: heads[3]] + lines[heads[4] :])
    assert all(certainty != "proven" for certainty, *_ in deadlocks(cut))
    # some threads alone, as they were asked for, prove nothing either: the one that runs was not asked for
    some = cut.replace("apply all", "apply 5 4 3 1").replace("backtrace all", "backtrace 1 2 3 5")
    assert [certainty for certainty, *_ in deadlocks(some)] == ["possible"]
    assert [certainty for certainty, *_ in deadlocks(some.partition("\n")[2])] == ["possible"]


def switched(threads: list[T]) -> str:
    """The threads as somebody goes to them in kgdb, one after the other."""
    lines = []
    for number, thread in enumerate(threads, 1):
        lines += [f"(kgdb) thread {number}", f"[Switching to thread {number} (Thread {thread.tid} (PID={thread.pid}: bhyve/{thread.name}))]"]
        lines += ["#0  sched_switch (td=0xfffff80002415000, flags=260) at sched_ule.c:2143", "2143\t\tcpuid = 0;", "(kgdb) bt"]
        frames = [f"#{depth:<2} 0xffffffff8038d0{depth:02x} in {name} () at x.c:1" for depth, name in enumerate(thread.functions, 1)]
        lines += ["#0  sched_switch (td=0xfffff80002415000, flags=260) at sched_ule.c:2143", *frames]
    return "\n".join([*lines, "(kgdb) "]) + "\n"


def bt_and_show_thread(threads: list[T]) -> str:
    """The threads as ddb shows single ones."""
    text = alltrace(threads).replace("Tracing command bhyve pid", "Tracing pid").replace("db> alltrace", "db> bt 100860")
    for thread in threads:
        text += f"db> show thread {thread.tid}\nThread {thread.tid} at {thread.tid * 0x1000 + 0xFFFFF80000000000:#x}:\n"
        text += f" proc (pid {thread.pid}): 0xfffff80003c00000\n name: {thread.name}\n state: INHIBITED: {{SLEEPING}}\n"
    return text + "db> \n"


@pytest.mark.parametrize("form", [switched, bt_and_show_thread])
def test_threads_that_were_asked_for_one_by_one_are_not_all(form):
    text = form(vcpus("started", "lock all"))
    assert [certainty for certainty, *_ in deadlocks(text)] == ["possible"]
    listed = "(kgdb) info threads\n  Id   Target Id                             Frame\n"
    for number, thread in enumerate(vcpus("started", "lock all"), 1):
        listed += f"  {number}    Thread {thread.tid} (PID=2210: bhyve/{thread.name})  sched_switch (td=0xfffff80002415000, flags=260) at x.c:1\n"
    if form is switched:
        assert [certainty for certainty, *_ in deadlocks(listed + text)] == ["proven"]


QUIT = "--More--\r        \rdb> \n"


@pytest.mark.parametrize("end", [QUIT, "--More--\ndb> \n", "--More--q\ndb:0:kdb.enter.break> \n"])
def test_a_list_whose_pager_was_quit_is_not_whole(end):
    hung = [T(100859, "mevent", "kqueue"), *vcpus("started", "lock all")]
    rows = "  pid  ppid  pgrp   uid  state   wmesg   wchan               cmd\n 2210     1  2210     0  Ds      (threaded)                  bhyve\n"
    for thread, wmesg in zip(hung, ("kqread", "vmrndv", "vmstat"), strict=True):
        rows += f"{thread.tid}                   D       {wmesg:<7} 0xfffffe0151{thread.tid}  {thread.name}\n"
    trace = alltrace(hung).partition("\n")[2]
    assert [certainty for certainty, *_ in deadlocks(f"db> ps\n{rows}db> alltrace\n{trace}db> \n")] == ["proven"]
    # ps told the names of all
    assert [certainty for certainty, *_ in deadlocks(f"db> ps\n{rows}db> alltrace\n{trace}{end}")] == ["proven"]
    assert [certainty for certainty, *_ in deadlocks(f"db> ps\n{rows}{end}db> alltrace\n{trace}db> \n")] == ["possible"]
    assert [certainty for certainty, *_ in deadlocks(f"db> ps\n{rows}db> show uma\n 1 2\n{end}db> alltrace\n{trace}db> \n")] == ["proven"]


@pytest.mark.parametrize("mark", ["[...]\n", "...\n", "[snip]\n"])
def test_rows_left_out_with_a_mark_prove_nothing(mark):
    head, one, other = procstat(vcpus("started", "lock all")).splitlines(keepends=True)
    assert [certainty for certainty, *_ in deadlocks(head + one + other)] == ["proven"]
    assert [certainty for certainty, *_ in deadlocks(head + one + mark + other)] == ["possible"]
    assert [certainty for certainty, *_ in deadlocks(head + one + other + mark)] == ["possible"]


@pytest.mark.parametrize(
    "words",
    ["(the other two vCPU threads are running)", "All other vcpus look idle.", "As you can see. The remaining vCPU threads were in the guest."],
)
def test_vcpus_that_are_only_spoken_of_are_missing(words):
    table = procstat(vcpus("started", "lock all"))
    assert [certainty for certainty, *_ in deadlocks(f"{table}\n{words}\n")] == ["possible"]
    assert [certainty for certainty, *_ in deadlocks(f"{table}\nThe other threads are workers of the disks.\n")] == ["proven"]


def test_a_thread_whose_place_was_cut_off_may_run_a_vcpu():
    threads = vcpus("started", "lock one")
    assert deadlocks(alltrace(threads))[0][0] == "likely"  # ddb names no vCPUs
    stopped = alltrace([T(100862, "vcpu 2", "cpustop_handler ipi_nmi_handler trap")]).replace("sched_switch", "cpustop")
    for state in (" (CPU 3)", ""):
        third = stopped.replace("td 0xfffff80018a00000", f"td 0xfffff80018a00000{state}")
        third = "\n".join(line + (state if line.startswith("Tracing") else "") for line in stopped.splitlines()) + "\n"
        assert all(certainty == "possible" for certainty, *_ in deadlocks(alltrace(threads) + third.partition("\n")[2]))


def test_a_cycle_cut_in_its_middle_is_no_lock_on_itself():
    a = ' thread 100841 (pid 990, zfs) is blocked on lock 0xfffff8011a2b3c40 (sx) "zfs: rw" XLOCK\n'
    b = ' thread 100850 (pid 991, mv) is blocked on lock 0xfffff8011a2b4d80 (sx) "dn->dn_mtx" XLOCK\n'
    lines = [a, b] * 3
    whole = deadlocks("db> show lockchain 100841\n" + "".join(lines))
    assert whole == [("proven", {100841, 100850}, {100841, 100850})]
    for begin in range(6):
        for end in range(begin + 1, 7):
            left = deadlocks("db> show lockchain 100841\n" + "".join(lines[:begin] + lines[end:]))
            assert all(core == {100841, 100850} for _, core, _ in left)
    # who waits for a thread that is asleep on its own lock sees that one again and again
    assert deadlocks("db> show lockchain 100841\n" + a + b * 3) == [("proven", {100850}, {100841, 100850})]


BELOW = ["zil_commit_waiter", "zil_commit_impl", "zfs_fsync", "kern_fsync", "amd64_syscall", "fast_syscall_common"]


@pytest.mark.parametrize(
    "form", ["#{0} 0xffffffff829ca8f4 at {1}+0x49\n", "#{0}  0xffffffff829ca8f4 in {1} (x=1) at /usr/src/sys/a.c:{0}\n"]
)
def test_where_a_stack_without_its_innermost_functions_waits_is_not_known(form):
    def shown(functions, start):
        diagnosis, finding = first("".join(form.format(number, name) for number, name in enumerate(functions, start)))
        assert [len(thread.frames) for thread in diagnosis.capture.threads] == [len(functions)]
        return diagnosis.waits[0].kind, finding.verdict, finding.certainty

    assert shown(BELOW, 0)[0] == "running"
    assert shown(BELOW, 3) == ("unknown", "inconclusive", "possible")
    # a thread that sleeps does so in functions that all threads have in common
    whole = ["mi_switch", "sleepq_wait", "_cv_wait", *BELOW]
    assert shown(whole[1:], 1) == shown(whole, 0)


def test_a_console_stack_that_goes_on_is_no_cut_one():
    lines = [f"#{number} 0xffffffff829ca8f4 at {name}+0x49\n" for number, name in enumerate(["mi_switch", "_cv_wait", *BELOW])]
    capture = read("".join(lines[:4]) + "em0: link state changed to UP\n" + "".join(lines[4:]), indented=False)
    assert [(len(thread.frames), thread.told) for thread in capture.threads] == [(8, False)]


def _ddb_stack(functions, frame, tid=None):
    head = [f"Tracing command bhyve pid 2210 tid {tid} td 0xfffff80002411740"] if tid is not None else []
    lines = [
        f"{name}() at {name}+0x1f/frame {frame + place * 0x60:#x}" if frame else f"{name}() at {name}+0x1f"
        for place, name in enumerate(functions.split())
    ]
    return [*head, *lines]


_SLEEPS = "sched_switch mi_switch sleepq_timedwait _sleep vm_handle_rendezvous vm_run vmmdev_ioctl amd64_syscall"


@pytest.mark.parametrize(
    ("lines", "own"),
    [
        pytest.param(
            [*_ddb_stack(_SLEEPS, 0, 100850)[:5], *_ddb_stack(_SLEEPS, 0)], "sched_switch mi_switch sleepq_timedwait _sleep",
            id="another one begins",
        ),
        pytest.param(
            [*_ddb_stack(_SLEEPS, 0xFFFFFE0011FDD500, 100850)[:4], *_ddb_stack(_SLEEPS, 0xFFFFFE0011FE2500)[3:]],
            "sched_switch mi_switch sleepq_timedwait", id="frames go on further out",
        ),
        pytest.param(
            [*_ddb_stack(_SLEEPS, 0xFFFFFE0011FE2500, 100850)[:4], *_ddb_stack(_SLEEPS, 0xFFFFFE0011FDD500)[3:]],
            "sched_switch mi_switch sleepq_timedwait", id="frames go on further in",
        ),
    ],
)  # fmt: skip
def test_frames_of_another_ddb_stack_are_not_those_of_the_header_before(lines, own):
    (capture,) = read_text("db> alltrace\n\n" + "\n".join(lines) + "\n")
    assert [frame.function for frame in next(one for one in capture.threads if one.tid == 100850).frames] == own.split()
    assert sum(len(thread.frames) for thread in capture.threads) == len(lines) - 1


def test_a_stack_goes_on_behind_a_trap_on_another_one():
    # cpustop_handler runs on the stack that NMIs have (sys/amd64/amd64/exception.S)
    lines = [
        *_ddb_stack("cpustop_handler ipi_nmi_handler trap nmi_calltrap", 0xFFFFFE0000C20E90, 100850),
        "--- trap 0x13, rip = 0xffffffff80c6d0a2, rsp = 0xfffffe0011fdd480, rbp = 0xfffffe0011fdd500 ---",
        *_ddb_stack(_SLEEPS, 0xFFFFFE0011FDD500),
    ]
    (capture,) = read_text("\n".join(lines) + "\n")
    assert [len(thread.frames) for thread in capture.threads] == [12]


HUNG = vcpus("started", "lock all")


@pytest.mark.parametrize("between", ["", "and this is the other one:\n"])
def test_rows_that_somebody_picked_out_prove_nothing(between):
    # a vcpu 2 in the guest may be the one that has not joined
    _, one, other = procstat(HUNG).splitlines(keepends=True)
    ((certainty, *_),) = deadlocks(one + between + other)
    assert certainty != "proven"


def test_rows_without_their_header_that_hold_all_of_a_process_do():
    text = procstat([T(100859, "mevent", "kqueue"), *HUNG])
    assert [found[0] for found in deadlocks(text)] == ["proven"]
    assert [found[0] for found in deadlocks(text.partition("\n")[2])] == ["proven"]
    one, *others = text.partition("\n")[2].splitlines(keepends=True)
    assert [found[0] for found in deadlocks("".join(others) + "and\n" + one)] == ["proven"]


@pytest.mark.parametrize(("count", "certainty"), [(3, "proven"), (4, "possible")])
def test_a_process_that_has_more_threads_than_are_shown_may_have_one_more_vcpu(count, certainty):
    proc = f"db> show proc 2210\nProcess 2210 (bhyve) at 0xfffff80007123548:\n state: NORMAL\n uid: 0  gids: 0\n threads: {count}\n"
    names = "".join(
        f"db> show thread {thread.tid}\nThread {thread.tid} at {thread.tid * 0x1000 + 0xFFFFF80000000000:#x}:\n"
        f" proc (pid 2210): 0xfffff800021c0530\n name: {thread.name}\n"
        for thread in vcpus("started", "lock all", "joined")
    )
    _, finding = first(proc + names + alltrace(vcpus("started", "lock all", "joined")))
    assert (finding.verdict, finding.certainty) == ("deadlock", certainty)


def test_two_threads_of_one_vcpu_are_of_two():
    # a digit of the name was damaged: which vCPU the one that runs has is not known
    threads = vcpus("started", "joined", "lock all", "in guest")
    _, finding = first(procstat([*threads[:3], replace(threads[3], name="vcpu 2")]))
    assert (finding.verdict, finding.certainty) != ("deadlock", "proven")


def test_threads_that_siginfo_showed_at_different_moments_prove_nothing():
    # perhaps the same thread twice
    first, second = (f"load: 0.46  cmd: bhyve 2210 [{wmesg}] 12.14r 0.00u 0.00s 0% 3784k\n" for wmesg in ("vmrndv", "vmstat"))
    found = deadlocks(f"{first}an hour later\n{second}")
    assert [certainty for certainty, *_ in found] == ["possible"]


@pytest.mark.parametrize("frame", [0, 0xFFFFFE0011FDD500])
def test_a_thread_that_the_debugger_stopped_while_it_was_switched_away_has_one_stack(frame):
    lines = _ddb_stack(f"kdb_enter vpanic panic __mtx_assert {_SLEEPS}", frame, 100850)
    (capture,) = read_text("\n".join(lines) + "\n")
    assert [len(thread.frames) for thread in capture.threads] == [12]
