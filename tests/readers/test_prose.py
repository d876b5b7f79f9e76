"""Stacks that people wrote down by hand, in sentences and lists, and the release that they name."""

from __future__ import annotations

import re

import pytest

from hangdiag.knowledge.pattern import pattern_names
from hangdiag.readers import read_text
from hangdiag.readers.prose import chains
from tests.readers.help import functions, only, read
from tests.traces import KNOWLEDGE, analysed


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("mi_switch → _sx_xlock_hard → if_clone_destroyif at sys/net/if_clone.c:480", ["mi_switch", "_sx_xlock_hard", "if_clone_destroyif"]),
        ("select() → cuse_client_poll → _cv_wait_sig", ["_cv_wait_sig", "cuse_client_poll", "select"]),
        ("mi_switch <- _sx_xlock_hard <- ifioctl", ["mi_switch", "_sx_xlock_hard", "ifioctl"]),
        ("it waits in mi_switch <- _sx_xlock_hard\n  <- ifioctl for ever", ["mi_switch", "_sx_xlock_hard", "ifioctl"]),
        ("vioapic_mmio_write() -> ... -> vm_handle_rendezvous() -> _sleep()", ["_sleep", "vm_handle_rendezvous", "vioapic_mmio_write"]),
        ("`vm_run()` -> `vm_handle_rendezvous()` -> `_sleep()`", ["_sleep", "vm_handle_rendezvous", "vm_run"]),
    ],
)  # fmt: skip
def test_arrows(text, expected):
    assert functions(only(read(text + "\n"))) == expected


REPORT = """\
My Windows 11 guest hangs on a FreeBSD 13.1-STABLE host. Looking at the threads I see

1. 1 bhyve thread in vioapic_mmio_write() -> ... -> vm_handle_rendezvous() -> _sleep()
2. 1 bhyve thread in vcpu_lock_one() -> ... -> vcpu_set_state_locked() -> msleep_spin_sbt()
3. all remaining vcpu threads in vm_run() -> vm_handle_rendezvous() -> _sleep()
"""


def test_a_report_in_prose():
    capture = read(REPORT, indented=False)
    assert [functions(thread)[0] for thread in capture.threads] == ["_sleep", "msleep_spin_sbt", "_sleep"]
    assert {thread.command for thread in capture.threads} == {"bhyve"}
    assert [thread.where[0].first for thread in capture.threads] == [3, 4, 5]


@pytest.mark.parametrize("text", ["vm->dying -> true\n", "a -> b -> c\n", "x <- y\n", "em0 -> re0 bridge\n", "foo_bar -> 12\n"])
def test_arrows_that_are_no_stacks(text):
    assert not any(capture.threads for capture in read_text(text))

VM_RUN = ["_sleep", "vm_handle_rendezvous", "vm_run"]
IOAPIC = ["_sleep", "vm_handle_rendezvous", "vioapic_mmio_write"]
LOCK_ONE = ["msleep_spin_sbt", "vcpu_set_state_locked", "vcpu_lock_one"]
LOCK_ALL = ["msleep_spin_sbt", "vcpu_set_state_locked", "vcpu_lock_all", "vmmdev_ioctl"]


def told(text):
    """(tid, pid, name, command, functions) of each thread."""
    return [(thread.tid, thread.pid, thread.name, thread.command, functions(thread)) for thread in read(text, False).threads]


def lines_of(text):
    """The lines of each thread."""
    return [[(where.first, where.last) for where in thread.where] for thread in read(text, False).threads]


@pytest.mark.parametrize(
    ("second", "stack", "bug"),
    [
        ("vcpu_lock_one() -> ... -> vcpu_set_state_locked() -> msleep_spin_sbt()", LOCK_ONE, "vmm-rendezvous-vs-lock-one"),
        ("msleep_spin_sbt() <- vcpu_set_state_locked() <- vcpu_lock_all() <- vmmdev_ioctl()", LOCK_ALL, "vmm-rendezvous-vs-lock-all"),
        ("vcpu_lock_all() → … → vcpu_set_state_locked() → msleep_spin_sbt()", LOCK_ALL[:3], "vmm-rendezvous-vs-lock-all"),
    ],
)  # fmt: skip
def test_the_report_in_prose_leads_to_its_diagnosis(second, stack, bug):
    text = REPORT.replace("vcpu_lock_one() -> ... -> vcpu_set_state_locked() -> msleep_spin_sbt()", second)
    diagnosis = analysed(text)
    finding = diagnosis.findings[0]
    assert [functions(thread) for thread in diagnosis.capture.threads] == [IOAPIC, stack, VM_RUN]
    assert [wait.kind for wait in diagnosis.waits] == ["rendezvous", "vcpu-state", "rendezvous"]
    assert {(edge.waiter, edge.holder) for edge in diagnosis.edges} == {(0, 1), (1, 0), (1, 2), (2, 1)}
    assert (finding.verdict, finding.certainty, finding.threads, finding.victims) == ("deadlock", "possible", (0, 1, 2), ())
    assert (finding.initiator, finding.known_bug.rule.id) == (0, bug)
    assert diagnosis.capture.host.release == "13.1-STABLE"
    assert [(item.where.first, item.where.last, item.trace_like) for item in diagnosis.capture.unread] == [(1, 1, False)]


MAIL = """\
>> With 4 vCPUs on 13.1-STABLE this is what I have after a hang:
>>
>> * one bhyve thread is stuck in
>>   vioapic_mmio_write() -> ... -> vm_handle_rendezvous() ->
>>   _sleep()
>> * one bhyve thread sits in vcpu_lock_one() ->
>>   ... -> vcpu_set_state_locked() -> msleep_spin_sbt()
>> * all remaining vCPU threads are in vm_run() -> vm_handle_rendezvous()
>>   -> _sleep()
>
> Same here.
"""


@pytest.mark.parametrize("quoted", [True, False])
def test_a_mail_that_was_hard_wrapped(quoted):
    text = MAIL if quoted else re.sub(r"^>>? ?", "", MAIL, flags=re.M)
    diagnosis = analysed(text)
    assert [functions(thread) for thread in diagnosis.capture.threads] == [IOAPIC, LOCK_ONE, VM_RUN]
    assert [thread.where[0][1:] for thread in diagnosis.capture.threads] == [(3, 5), (6, 7), (8, 9)]
    assert (diagnosis.findings[0].verdict, diagnosis.findings[0].certainty) == ("deadlock", "possible")
    assert not any(item.trace_like for item in diagnosis.capture.unread)


def test_labels_above():
    text = """\
Thread 3 (vcpu 2):
    vioapic_mmio_write() -> vm_smp_rendezvous() -> vm_handle_rendezvous() -> _sleep()
Thread 2 (vcpu 1):
    vmmdev_ioctl() -> vcpu_lock_one() -> vcpu_set_state() -> vcpu_set_state_locked() -> msleep_spin_sbt()
Thread 1 (vcpu 0):
    vm_run() -> vm_handle_rendezvous() -> _sleep()
"""
    assert told(text) == [
        (None, None, "vcpu 2", "bhyve", ["_sleep", "vm_handle_rendezvous", "vm_smp_rendezvous", "vioapic_mmio_write"]),
        (None, None, "vcpu 1", "bhyve", ["msleep_spin_sbt", "vcpu_set_state_locked", "vcpu_set_state", "vcpu_lock_one", "vmmdev_ioctl"]),
        (None, None, "vcpu 0", "bhyve", VM_RUN),
    ]  # fmt: skip
    diagnosis = analysed(text)
    assert diagnosis.capture.unread == ()
    # every edge is known, but only in somebody's words
    assert (diagnosis.findings[0].verdict, diagnosis.findings[0].certainty) == ("deadlock", "possible")
    assert diagnosis.findings[0].threads == (0, 1, 2)


def test_a_function_a_line():
    text = """\
thread 100862:
  vioapic_mmio_write()
  -> vm_smp_rendezvous()
  -> vm_handle_rendezvous()
  -> _sleep()

bhyvectl (pid 2290), tid 100871:
  vmmdev_ioctl()
  ↳ vcpu_lock_one()
     ↳ vcpu_set_state_locked()
        ↳ msleep_spin_sbt()
"""
    assert told(text) == [
        (100862, None, None, None, ["_sleep", "vm_handle_rendezvous", "vm_smp_rendezvous", "vioapic_mmio_write"]),
        (100871, 2290, None, "bhyvectl", ["msleep_spin_sbt", "vcpu_set_state_locked", "vcpu_lock_one", "vmmdev_ioctl"]),
    ]
    assert lines_of(text) == [[(1, 5)], [(7, 11)]]
    assert read(text, False).unread == ()


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("vcpu 0 is in {}.", ["vcpu 0"]),
        ("vCPU-3: {}", ["vcpu 3"]),
        ("vcpus 0, 2 and 3 are in {}", ["vcpu 0", "vcpu 2", "vcpu 3"]),
        ("vCPUs 1-3 sleep in {}", ["vcpu 1", "vcpu 2", "vcpu 3"]),
        ("vcpu0 and vcpu2 both in {}", ["vcpu 0", "vcpu 2"]),
        ("{} (vcpu 1)", ["vcpu 1"]),
        ("{} (vcpus 0, 1)", ["vcpu 0", "vcpu 1"]),
        ("{}, vcpu 1", ["vcpu 1"]),
        ("{}: vcpus 4 to 6", ["vcpu 4", "vcpu 5", "vcpu 6"]),
        ("1 bhyve thread in {}", [None]),
        ("2) two bhyve threads in {}", [None] * 2),
        ("(3) one bhyve thread in {}", [None]),
        ("the other 3 vCPU threads are in {}", [None] * 3),
        ("all 3 remaining threads: {}", [None] * 3),
        ("both bhyve threads: {}", [None] * 2),
        ("one of the 4 threads is in {}", [None]),
        ("All other bhyve threads are in {}", [None]),
        ("on a 4 vCPU guest a thread waits in {}", [None]),
        ("{} (2 threads)", [None] * 2),
        ("{} x3", [None] * 3),
        ("It is stuck ({}) in all 4 vCPU threads.", [None] * 4),
        ("| vcpu 2 | {} |", ["vcpu 2"]),
        ("the thread 'mevent' of bhyve is in {}", ["mevent"]),
    ],
)
@pytest.mark.parametrize("arrow", [" -> ", " → ", " ─> ", " ⟹ ", " -&gt; ", " => ", "() -> ", "()->", "` -> `", "** -> **"])
def test_whose_it_is(text, names, arrow):
    chain = arrow.join(reversed(VM_RUN))
    chain += "()" if arrow.startswith("()") else ""
    chain = f"`{chain}`" if "`" in arrow else f"**{chain}**" if "*" in arrow else chain
    threads = read(text.format(chain) + "\n", indented=False).threads
    assert [thread.name for thread in threads] == names
    assert all(functions(thread) == VM_RUN for thread in threads)


@pytest.mark.parametrize(
    ("text", "tid", "pid"),
    [
        ("tid 100860 (pid 2210) is at {}", 100860, 2210),
        ("thread 100860 of pid 2210: {}", 100860, 2210),
        ("2210/100860: {}", 100860, 2210),
        ("bhyve[2210] hangs in {}", None, 2210),
        ("bhyve (2210) thread (100860): {}", 100860, 2210),
        ("{} (tid 100860)", 100860, None),
    ],
)
def test_ids(text, tid, pid):
    thread = only(read(text.format("mi_switch <- _sleep <- vm_handle_rendezvous <- vm_run") + "\n", indented=False))
    assert (thread.tid, thread.pid) == (tid, pid)
    assert functions(thread) == ["mi_switch", *VM_RUN]


def test_a_heading_is_of_the_list_below_it():
    text = "PID 2210 (bhyve):\n  TID 100860: vm_run -> vm_handle_rendezvous -> _sleep\n  TID 100861: vcpu_lock_one -> ... -> vcpu_set_state_locked -> msleep_spin_sbt\n"
    assert told(text) == [(100860, 2210, None, "bhyve", VM_RUN), (100861, 2210, None, "bhyve", LOCK_ONE)]
    assert lines_of(text) == [[(1, 2)], [(3, 3)]]
    later = text + "\nAnd here: tid 100870: mi_switch <- _sleep <- kqueue_kevent\n"
    assert told(later)[2] == (100870, None, None, None, ["mi_switch", "_sleep", "kqueue_kevent"])


def test_several_in_one_sentence():
    text = "vcpu 0 is in _sleep <- vm_handle_rendezvous <- vm_run while vcpus 1 and 2 are in msleep_spin_sbt <- vm_handle_hlt <- vm_run.\n"
    halted = ["msleep_spin_sbt", "vm_handle_hlt", "vm_run"]
    assert told(text) == [
        (None, None, "vcpu 0", "bhyve", VM_RUN), (None, None, "vcpu 1", "bhyve", halted), (None, None, "vcpu 2", "bhyve", halted),
    ]  # fmt: skip


def test_what_is_noted_at_a_function():
    text = "vcpu_lock_one(sc, vcpu=2) -> vcpu_set_state_locked (vmm.c:1312) -> msleep_spin_sbt [vmstat]\n"
    thread = only(read(text, indented=False))
    assert functions(thread) == LOCK_ONE
    assert thread.wmesg == "vmstat"
    assert (thread.frames[1].file, thread.frames[1].line, thread.frames[2].number("vcpu")) == ("vmm.c", 1312, 2)


def test_a_stack_that_is_mentioned_again_is_one_thread():
    text = REPORT + "\nSo vioapic_mmio_write() -> vm_handle_rendezvous() -> _sleep() never ends.\n> 1 bhyve thread in vm_run() -> vm_handle_rendezvous() -> _sleep()\n"
    assert [functions(thread) for thread in read(text, indented=False).threads] == [IOAPIC, LOCK_ONE, VM_RUN]
    assert lines_of(text) == [[(3, 3), (7, 7)], [(4, 4)], [(5, 5), (8, 8)]]
    again = "one thread in vm_run -> vm_handle_rendezvous -> _sleep\nand another in vm_run -> vm_handle_rendezvous -> _sleep\n"
    assert len(read(again, indented=False).threads) == 2


def test_a_stack_whose_inner_end_is_left_out_is_not_running():
    diagnosis = analysed("one bhyve thread: vmmdev_ioctl() -> vm_run() -> vm_handle_inst_emul() -> ...\n")
    assert [wait.kind for wait in diagnosis.waits] == ["unknown"]


@pytest.mark.parametrize(
    "text",
    [
        "vm->ops->vmrun(vm->cookie, vcpu->id) and sc->dev->si_devsw->d_open()",
        "-\terror = vm_foo->vcpu_bar->sys_ioctl(x);",
        "+\treturn (td->td_proc->p_sysent->sys_read(td));",
        "def sys_read(fd) -> int:",
        "fn vm_run() -> Result",
        "lrwxr-xr-x  1 root wheel  10 Jan  1 2024 sys_foo -> vm_run",
        "map em0 10.0.0.0/8 -> 0/32 portmap",
        "rdr pass on em0_vlan from any to any -> 10.0.0.1 port ssh_open",
        "nat 1 config if igb0_a -> igb1_b",
        "mx_in.example.org -> mail_read.example.org",
        "sys/amd64/vmm/vmm_dev.c => sys/dev/vmm/vmm_dev.c",
        "VCPU_IDLE -> VCPU_FROZEN -> VCPU_IDLE",
        "sys_foo() -> sys_bar()",
        "lock order sleepq_chain -> turnstile_wait attempted at:",
        "cat kern_ioctl | sort > sys_open -> file_name",
        "for (i = 0; i <= sys_read; i++)",
    ],
)  # fmt: skip
def test_arrows_of_other_kinds(text):
    assert not any(capture.threads for capture in read_text(f"Some words.\n{text}\nMore words.\n"))


@pytest.mark.parametrize(
    ("text", "release"),
    [
        ("on a FreeBSD 13.1-STABLE host with a Windows 11 guest", "13.1-STABLE"),
        ("FreeBSD 13.1-STABLE host, Windows 11 guest", "13.1-STABLE"),
        ("FreeBSD 14.0-RELEASE guest on a FreeBSD 13.1-STABLE host", "13.1-STABLE"),
        ("The host runs 13.2-RELEASE-p4, the guest is FreeBSD 14.0-CURRENT.", "13.2-RELEASE-p4"),
        ("I run my VM on FreeBSD 13.1-RELEASE.", "13.1-RELEASE"),
        ("Since the upgrade from 13.0-RELEASE to 13.1-RELEASE-p5 my VM hangs. Fixed in 13.2-RELEASE?", "13.1-RELEASE-p5"),
        ("It is FreeBSD 13.1 (13.1-STABLE of last week).", "13.1-STABLE"),
        ("The VM is FreeBSD 12.4-RELEASE.", None),
        ("We saw it on 13.1-RELEASE and 14.0-RELEASE.", None),
        ("Booted from FreeBSD-13.1-RELEASE-amd64-disc1.iso", None),
        ("a host with\n13.1-STABLE", "13.1-STABLE"),
    ],
)
def test_the_release_that_is_named(text, release):
    capture = read(f"{text}\n\n1 bhyve thread in vm_run() -> vm_handle_rendezvous() -> _sleep()\n", indented=False)
    assert capture.host.release == release
    assert capture.host.uname is None


def test_what_the_kernel_says_of_its_release_is_better():
    text = "My host is a FreeBSD 13.0-RELEASE one.\n\nFreeBSD 13.1-STABLE #0 stable/13-n252000: Mon Jan  2 10:00:00 UTC 2023\n"
    assert read(text + REPORT, indented=False).host.release == "13.1-STABLE"


def test_prose_beside_the_stacks_themselves():
    table = "  PID    TID COMM                TDNAME              KSTACK\n 2210 100860 bhyve               vcpu 0              mi_switch+0x1 _sleep+0x1\n"
    capture = read("It is in vm_run() -> vm_handle_rendezvous() -> _sleep():\n" + table, indented=False)
    assert [thread.tid for thread in capture.threads] == [100860]
    assert [(item.where.first, item.why) for item in capture.unread] == [(1, "prose beside the stacks themselves")]


def test_no_stack_is_passed_over_for_its_words():
    """may_hold_stacks() looks for parts of the functions that find_chains() needs."""
    patterns = [pattern for rule in KNOWLEDGE.waits for text in rule.stack for names in pattern_names(text) for pattern in names]
    ends = {name for name in patterns if chains._INNER.match(name) or chains._OUTER.match(name) or chains._CALL.match(name)}
    assert len(ends) > 30
    assert [name for name in ends if not chains.may_hold_stacks(f"{name} <- a_b")] == []


@pytest.mark.parametrize(
    "chain",
    [
        "vm_run > vm_handle_rendezvous > _sleep",
        "_sleep < vm_handle_rendezvous < vm_run",
        "`vm_run` > `vm_handle_rendezvous` > `_sleep`",
        "vm_run() > vm_handle_rendezvous() > _sleep()",
        "_sleep, called from vm_handle_rendezvous, called from vm_run",
        "_sleep() called by vm_handle_rendezvous() called by vm_run()",
        "_sleep, which was called from vm_handle_rendezvous, which was called from vm_run",
        "vm_run() calls vm_handle_rendezvous() calls _sleep()",
        "vm_run, calling vm_handle_rendezvous, calling _sleep",
        "_sleep, called\nfrom vm_handle_rendezvous, called from vm_run",
        "vm_run >\n  vm_handle_rendezvous > _sleep",
        "_sleep < vm_handle_rendezvous\n< vm_run",
    ],
)
@pytest.mark.parametrize("quote", ["", "> ", ">> "])
def test_comparison_signs_and_words_for_arrows(chain, quote):
    text = "".join(f"{quote}{line}\n" for line in f"Hi,\nvcpu 1 sits in {chain}.\nBye".split("\n"))
    assert told(text) == [(None, None, "vcpu 1", "bhyve", VM_RUN)]
    assert analysed(text).capture.threads[0].told


@pytest.mark.parametrize(
    "text",
    [
        "If the load is > 4 and the queue length > sleepq_size, something is wrong.",
        "> a > b in vm_run means the guest is > 2 ms late",
        "The kernel has x > y > z somewhere. Use `foo_bar > /tmp/out` to redirect.",
        "time in vm_run > time in _sleep > time in vm_handle_hlt",
        "if (sys_read > sys_write && vm_run > 0) msleep_spin_sbt(x);",
        "_sleep() is called from vm_handle_rendezvous().",
        "vcpu_lock_all() is called by vmmdev_ioctl(), which calls _sleep() if it must.",
        "procstat -kk 2210 > kern_ioctl > sys_open",
        "> > vm_run text\n> > _sleep text",
        "for (i_a < sys_read; sys_read < kern_ioctl; i_b++)",
        "a_b < c_d < e_f and g_h > i_j > k_l",
        "<vm_run> <_sleep> <sys_read>",
        "sys_open() > sys_read() > kern_ioctl()",
    ],
)
def test_comparison_signs_and_words_that_are_no_arrows(text):
    assert not any(capture.threads for capture in read_text(f"Some words.\n{text}\nMore words.\n"))


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("The four left: {}", [None] * 4),
        ("The remaining three sit in {}", [None] * 3),
        ("the other three: {}", [None] * 3),
        ("the other two are in {}", [None] * 2),
        ("three others are in {}", [None] * 3),
        ("the rest (3 vcpus) is in {}", [None] * 3),
        ("vcpu 0 and three others: {}", ["vcpu 0", None, None, None]),
        ("vcpu 1 and the other two: {}", ["vcpu 1", None, None]),
        ("All remaining: {}", [None]),
        ("the four left-over processes wait; one thread is in {}", [None]),
        ("The other: {}", [None]),
    ],
)
def test_how_many_are_left(text, names):
    threads = read(text.format("vm_run() -> vm_handle_rendezvous() -> _sleep()") + "\n", indented=False).threads
    assert [thread.name for thread in threads] == names


def test_a_mail_with_comparison_signs_leads_to_its_diagnosis():
    text = """\
> I have the same on 13.1-RELEASE with 4 vCPUs and a passed-through NVMe:
>
> - one thread (vcpu 1): vm_run > vmm_emulate_instruction > vioapic_mmio_write > vm_smp_rendezvous > vm_handle_rendezvous > _sleep
> - one thread (vcpu 0): vmmdev_ioctl > vcpu_lock_all > vcpu_set_state_locked > msleep_spin_sbt
> - the other two vCPUs: vm_run > vm_handle_rendezvous > _sleep
"""
    diagnosis = analysed(text)
    finding = diagnosis.findings[0]
    assert [thread.name for thread in diagnosis.capture.threads] == ["vcpu 1", "vcpu 0", None, None]
    assert (finding.verdict, finding.certainty, finding.initiator) == ("deadlock", "possible", 0)
    assert finding.known_bug.rule.id == "vmm-rendezvous-vs-lock-all"
    assert not any(item.trace_like for item in diagnosis.capture.unread)


@pytest.mark.parametrize("line", ["a_b -> c_d it sleeps e_f and is g_h ->", "a_b < c_d it calls e_f, which calls", "it calls sys_read >"])
def test_lines_that_seem_to_go_on_are_not_joined_again_and_again(monkeypatch, line):
    looked_at = []
    find = chains.find_chains
    monkeypatch.setattr("hangdiag.readers.prose.arrows.find_chains", lambda text: looked_at.append(len(text)) or find(text))
    text = f"{line}\n" * 1000
    read(text, indented=False)
    assert looked_at
    assert sum(looked_at) < 4 * len(text)


LOCKED = "vcpu_lock_one() -> vcpu_set_state_locked() -> msleep_spin_sbt()"
JOINED = "vm_run() -> vm_handle_rendezvous() -> _sleep()"


@pytest.mark.parametrize(
    "before",
    [
        "There is no thread in",
        "I don't see any bhyve thread in",
        "Not a single vCPU thread is in",
        "None of the threads is in",
        "Nothing is stuck in",
        "vcpu 1 is not in",
        "vcpu 1 isn't stuck in",
        "That thread is no longer in",
        "Es gibt keinen Thread in",
        "What if some thread is in",
        "Could it be that one thread is in",
        "It would hang if one thread was in",
        "Is it a deadlock if thread 2 sits in",
    ],
)
@pytest.mark.parametrize("broken", [" ", "\n"])
def test_stacks_that_nobody_saw(before, broken):
    text = f"One thread is in {JOINED}.\n{before}{broken}{LOCKED}.\n"
    capture = read(text, indented=False)
    assert [functions(thread) for thread in capture.threads] == [VM_RUN]
    assert [(item.where.last, item.trace_like) for item in capture.unread if "nobody" in item.why] == [(2 + (broken == "\n"), False)]


@pytest.mark.parametrize(
    "before",
    [
        "I have no idea why. One thread is in",
        "vcpu 1 is not running, it is in",
        "vcpu 1 does not come back from",
        "It looks as if one thread is in",
        "No other guest runs; one thread is in",
        "There is no deadlock of locks, a thread sits in",
        "It never leaves",
        "vcpu 1 has not joined because it is in",
    ],
)
def test_words_that_deny_something_else(before):
    text = f"One thread is in {JOINED}.\n{before} {LOCKED}.\n"
    assert [functions(thread) for thread in read(text, indented=False).threads] == [VM_RUN, LOCK_ONE]


@pytest.mark.parametrize("quoted", ["", "> "])
@pytest.mark.parametrize("between", [" and another in ", "\n{}and another in "])
def test_a_question_goes_on_behind_its_first_stack(quoted, between):
    text = f"{quoted}Could it be that you have one thread in {JOINED}{between.format(quoted)}{LOCKED}?\n"
    assert not any(capture.threads for capture in read_text(text))
    after = f"{text}\nYes: vcpu 1 is in {LOCKED}\n"
    assert [functions(thread) for thread in read(after, indented=False).threads] == [LOCK_ONE]
