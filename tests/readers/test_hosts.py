"""Lines of several hosts that alternate in one log: each host's are read as if the others' were not there."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hangdiag.diagnosis import diagnose
from hangdiag.model import LEFT_OUT, Capture, Thread
from hangdiag.readers import files, read_text
from hangdiag.readers.files import read_paths
from hangdiag.report.terminal import Options, plain, render
from hangdiag.text.page import make_page
from tests.readers.accounts import check_lines
from tests.readers.essence import covered, essence
from tests.traces import KNOWLEDGE, MATCHER, T, alltrace, kgdb, procstat, vcpus

SAMPLES = Path(__file__).resolve().parents[2] / "samples"
DEADLOCK = [*vcpus("joined", "lock one", "started", "joined"), T(100900, "mevent", "kqueue")]
HALTED = [*vcpus("halted", "in guest", "halted", "halted"), T(100900, "mevent", "kqueue")]
#: What tools put before the lines of each host.
TAGS = {
    "syslog": "Nov 25 21:50:01 {} kernel: {}",
    "syslog with priority": "<118>Nov 25 21:50:01 {} kernel: {}",
    "program": "Nov 25 21:50:01 {} hang[123]: {}",
    "journal": "2026-11-25T21:50:01.123456+00:00 {} kernel: {}",
    "RFC 5424": "<2>1 2026-11-25T21:50:01.123456+00:00 {} kernel - - - {}",
    "forwarded": "Nov 25 21:50:01 loghost Forwarded from {}: kernel: {}",
    "pdsh": "{}: {}",
    "console": "[{}] {}",
    "docker compose": "{}  | {}",
    "stern": "{} › {}",
    "onall": "{}:: {}",
    "quoted pdsh": "> {}: {}",
    "quoted syslog": "> Nov 25 21:50:01 {} kernel: {}",
    "syslog of a console server": "Nov 25 21:50:01 loghost conserver[77]: [{}] {}",
}
HOSTS = ("hosta", "hostb")

PS = """\
  pid  ppid  pgrp   uid  state   wmesg   wchan               cmd
 2210     1     0     0  D       (threaded)                  bhyve
100860                   D       {}  0xfffffe0011111110  vcpu 0
100861                   D       {}  0xfffffe0022222220  vcpu 1
   11     0     0     0  RL      (threaded)                  [idle]
100003                   Run     CPU 0                       [idle: cpu0]
"""
KDB = """\
panic: deadlres_td_sleep_q: possible deadlock detected for 0xfffff80004c98000 ({}), blocked for 1800000 ticks

cpuid = 1
time = 1606051201
KDB: stack backtrace:
db_trace_self_wrapper() at db_trace_self_wrapper+0x2b/frame 0xfffffe00{}0
vpanic() at vpanic+0x17b/frame 0xfffffe00{}4
panic() at panic+0x43/frame 0xfffffe00{}8
deadlkres() at deadlkres+0x2f6/frame 0xfffffe00{}c
fork_exit() at fork_exit+0x72/frame 0xfffffe00{}f
KDB: enter: panic
[ thread pid 0 tid 100102 ]
Stopped at      kdb_enter+0x37: movq    $0,0x1273c1e(%rip)
"""


def kdb(who: str, high: str) -> str:
    return KDB.format(who, *[high] * 5)


#: Two texts of each format, of which one is no deadlock.
PAIRS = {
    "procstat": (procstat(DEADLOCK), procstat(HALTED)),
    "alltrace": (alltrace(DEADLOCK), alltrace(HALTED)),
    "ddb ps": (PS.format("vmrndv ", "vmstat "), PS.format("vmhlt  ", "vmhlt  ")),
    "KDB": (kdb("bhyve", "1122334"), kdb("vnlru", "5566778")),
    "kgdb": (kgdb(DEADLOCK), kgdb(HALTED)),
    "procstat and ps": (procstat(DEADLOCK), PS.format("vmhlt  ", "vmhlt  ")),
}


def tagged(form: str, order: Sequence[int], texts: Sequence[str], hosts: Sequence[str] = HOSTS) -> tuple[str, list[list[int]]]:
    """The lines of ``texts`` with the tags of ``hosts``, taken in turns; and the numbers of each host's lines."""
    rest = [text.splitlines() for text in texts]
    lines: list[str] = []
    numbers: list[list[int]] = [[] for _ in texts]
    for turn in (*order, *(turn for turn, own in enumerate(rest) for _ in own)):
        if rest[turn]:
            lines.append(TAGS[form].format(hosts[turn], rest[turn].pop(0)))
            numbers[turn].append(len(lines))
    return "".join(line + "\n" for line in lines), numbers


def findings(capture: Capture) -> list[tuple[object, ...]]:
    """What is found, without the places of evidence."""
    diagnosis = diagnose(capture, KNOWLEDGE, MATCHER)
    return [
        (found.verdict, found.certainty, found.summary, found.threads, found.cycle, found.victims, found.causes, found.reasons)
        for found in diagnosis.findings
    ]


@cache
def alone(text: str) -> tuple[Capture, ...]:
    return read_text(text)


def lines_of(thread: Thread) -> list[int]:
    return sorted({number for where in thread.where for number in range(where.first, where.last + 1)})


def nameless(capture: Capture) -> Capture:
    """What it says, without the host's name, which the tags tell."""
    return replace(essence(capture), host=replace(capture.host, hostname=None))


def check(text: str, numbers: Sequence[Sequence[int]], plain: Sequence[str]) -> None:
    """Are the captures in ``text`` those of the ``plain`` texts, on their own lines?"""
    captures = check_lines(text)
    expected = [(capture, own) for own, one in zip(numbers, plain, strict=True) for capture in alone(one)]
    # in the order in which the hosts come; one of which nothing is known is none
    expected = sorted((pair for pair in expected if pair[0].threads or pair[0].locks or pair[0].vms), key=lambda pair: pair[1][0])
    assert len(captures) == len(expected)
    for capture, (before, own) in zip(captures, expected, strict=True):
        assert nameless(capture) == nameless(before)
        assert findings(capture) == findings(before)
        assert covered(capture) <= {own[number - 1] for number in covered(before)}
        # a lock has one place only
        assert [lines_of(thread) for thread in capture.threads] == [
            [own[number - 1] for number in lines_of(thread)] for thread in before.threads
        ]
    unread = {line for item in captures[0].unread for line in range(item.where.first, item.where.last + 1)}
    assert unread == {
        own[line - 1]
        for own, one in zip(numbers, plain, strict=True)
        for item in alone(one)[0].unread
        for line in range(item.where.first, item.where.last + 1)
    }


ALTERNATING = [0, 1] * 400


@pytest.mark.parametrize("form", TAGS)
@pytest.mark.parametrize("pair", PAIRS)
def test_lines_of_two_hosts_alternate(pair, form):
    texts = PAIRS[pair]
    check(*tagged(form, ALTERNATING, texts), texts)


@pytest.mark.parametrize("pair", ["procstat", "ddb ps", "procstat and ps"])
def test_lines_of_two_hosts_with_tabs_behind_their_names(monkeypatch, pair):
    monkeypatch.setitem(TAGS, "parallel --tag", "{}\t{}")
    check(*tagged("parallel --tag", ALTERNATING, PAIRS[pair]), PAIRS[pair])


@pytest.mark.parametrize("form", ["syslog", "pdsh"])
def test_lines_of_three_hosts_alternate(form):
    texts = [*PAIRS["procstat"], alltrace(DEADLOCK)]
    order = [2, 0, 1, 1] * 300
    check(*tagged(form, order, texts, ["hosta", "hostb", "10.0.0.7"]), texts)


@pytest.mark.parametrize("form", TAGS)
def test_each_capture_is_called_by_its_host(form):
    text, _ = tagged(form, ALTERNATING, PAIRS["procstat"])
    captures = read_text(text)
    assert [capture.host.hostname for capture in captures] == list(HOSTS)
    report = plain(render([diagnose(capture, KNOWLEDGE, MATCHER) for capture in captures], Options()))
    assert "Capture 1 of 2 (hosta)\n" in report
    assert "Capture 2 of 2 (hostb)\n" in report


@pytest.mark.parametrize("form", TAGS)
def test_threads_of_two_hosts_close_no_cycle(form):
    # each host has half of what would be a deadlock, with the same process and thread ids
    half = [T(100860, "vcpu 0", "joined"), T(100862, "vcpu 2", "started")]
    other = [T(100861, "vcpu 1", "lock one"), T(100863, "vcpu 3", "joined")]
    whole = procstat(sorted([*half, *other], key=lambda thread: thread.tid))
    assert "deadlock" in {found[0] for found in findings(alone(whole)[0])}
    texts = (procstat(half), procstat(other))
    check(*tagged(form, ALTERNATING, texts), texts)


#: What loggers, exports of logs and chats put around each line: words that may name hosts.
NAMED = {
    "brackets": "<{}> {}",
    "chat": "21:50 <{}> | {}",
    "messenger": "[21:50, 25.11.2026] {}: {}",
    "Loki": '{{host="{}"}} {}',
    "Loki's labels": '{{app="x", instance="{}:9100", level="info"}} {}',
    "CSV": '"{}","{}"',
    "CSV with times": '"2026-11-25 21:50:01","{}","{}"',
    "cells": "2026-11-25T21:50:01Z,{},{}",
    "clock": "[{} 21:50:01] {}",
    "JSON": '{{"host":"{}","message":"{}"}}',
    "JSON with a file": '{{"message":"<6>{1}","file":"/var/log/{0}/messages"}}',
    "logfmt": 'ts=1764107401 host={} msg="{}"',
    "logger": "INFO:{}: {}",
    "parallel --tagstring": "{}> {}",
    "syslog without a program": "Nov 25 21:50:01 {} {}",
    "time and host": "2026-11-25T21:50:01Z {} {}",
    "parenthesis": "({}) {}",
    "bracket at the end": "{}] {}",
    "value": "host={} {}",
    "console server": "{}:ttyS0: {}",
    "tab": "{}\t{}",
    "dash": "{} - {}",
    "comma": "{}, {}",
}


@pytest.mark.parametrize("form", NAMED)
@pytest.mark.parametrize("order", [ALTERNATING, []], ids=["in turns", "in a row"])
@pytest.mark.parametrize("write", [procstat, alltrace, kgdb])
def test_threads_with_names_that_may_be_hosts_close_no_cycle(monkeypatch, write, order, form):
    monkeypatch.setitem(TAGS, form, NAMED[form])
    texts = [without_blanks(write([DEADLOCK[one] for one in half])) for half in ((0, 2), (1, 3))]
    text, numbers = tagged(form, order, texts)
    if write is kgdb:  # its lines may be joined before such names are seen
        captures = check_lines(text)
        assert [[thread.tid for thread in capture.threads] for capture in captures] == [[100860, 100862], [100861, 100863]]
        assert not [found for capture in captures for found in findings(capture) if found[1] == "proven"]
    else:
        check(text, numbers, texts)



@pytest.mark.parametrize("form", [*NAMED, "syslog of a console server", "syslog"])
@pytest.mark.parametrize("write", [alltrace, kgdb])
def test_blocks_of_two_hosts_with_prose_between(monkeypatch, write, form):
    monkeypatch.setitem(TAGS, form, {**TAGS, **NAMED}[form])
    texts = [without_blanks(write([DEADLOCK[one] for one in half])) for half in ((0, 2), (1, 3))]
    blocks = [tagged(form, [], [text], [host])[0] for host, text in zip(HOSTS, texts, strict=True)]
    prose = "And this is what the other one says.\n" * 30
    captures = check_lines(prose.join([*blocks, blocks[0]]))
    assert [[thread.tid for thread in capture.threads] for capture in captures] == [[100860, 100862], [100861, 100863]]


def without_blanks(text: str) -> str:
    return "".join(line + "\n" for line in text.splitlines() if line)


SAME = {
    "levels": ["INFO: {}", "WARNING: {}"],
    "levels of JSON": ['{{"level":"info","time":"21:50:01","message":"{}"}}', '{{"level":"error","time":"21:50:02","message":"{}"}}'],
    "labels": ['{{host="hosta", stream="stdout"}} {}', '{{host="hosta", stream="stderr"}} {}'],
    "priorities": ["<2>{}", "<6>{}"],
    "cells": ["2026-11-25T21:50:01Z,kern,{}", "2026-12-01T21:50:01Z,user,{}"],
    "months": ["[Mon Nov 30 23:59:59 2026] {}", "[Tue Dec  1 00:00:00 2026] {}"],
    "programs": ["Nov 25 21:50:01 hosta kernel: {}", "Nov 25 21:50:01 hosta syslogd: {}"],
}


@pytest.mark.parametrize("form", SAME)
@pytest.mark.parametrize("write", [procstat, alltrace])
def test_words_that_differ_between_lines_of_one_host(write, form):
    text = without_blanks(write(DEADLOCK))
    lines = [SAME[form][number % 7 % 2].format(line) for number, line in enumerate(text.splitlines())]
    (capture,) = check_lines("\n".join(lines) + "\n")
    assert nameless(capture) == nameless(alone(text)[0])


def test_a_word_that_is_another_one_in_each_line_is_no_host():
    text = procstat(DEADLOCK)
    lines = [f'{{"id":"{word}","message":"{line}"}}' for word, line in zip("qwzuopsghjk", text.splitlines(), strict=False)]
    (capture,) = check_lines("\n".join(lines) + "\n")
    assert nameless(capture) == nameless(alone(text)[0])


def test_what_others_say_between_the_lines_of_one_is_of_no_host():
    text = alltrace(DEADLOCK)
    lines = [f"21:50 <anna> {line}" for line in text.splitlines()]
    lines[10:10] = ["21:50 <bob> that is the first one", "21:50 <carl> and all the others?"]
    (capture,) = read_text("\n".join(lines) + "\n")
    assert essence(capture).threads == essence(alone(text)[0]).threads


def test_neighbouring_rows_of_two_hosts_with_the_same_thread_id():
    rows = [procstat([T(100860, "vcpu 0", stack)]).splitlines() for stack in ("joined", "halted")]
    text = f"hosta: {rows[0][0]}\nhosta: {rows[0][1]}\nhostb: {rows[1][1]}\n"
    captures = check_lines(text)
    assert [[thread.where[0].first for thread in capture.threads] for capture in captures] == [[2], [3]]


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(st.integers(0, 1), max_size=200),
    st.sampled_from(sorted(path.name for path in SAMPLES.glob("*.txt"))),
    st.sampled_from(sorted(path.name for path in SAMPLES.glob("*.txt"))),
    st.sampled_from(["syslog", "RFC 5424", "pdsh", "console"]),
    st.integers(0, 1 << 16),
)
def test_any_interleaving_gives_the_same_two_diagnoses(order, first, second, form, seed):
    draw = random.Random(seed)
    texts = [part_of((SAMPLES / name).read_text(), draw) for name in (first, second)]
    check(*tagged(form, order, texts), texts)


def part_of(text: str, draw: random.Random) -> str:
    """Some 150 lines of a capture, from its head and from where a thread begins."""
    lines = text.splitlines()
    begins = [number for number, line in enumerate(lines) if line.startswith(("db> ", "(gdb) ", "Tracing ", "Thread "))]
    if len(lines) < 200 or len(begins) < 4:
        return "".join(line + "\n" for line in lines[:200])
    begin = draw.choice(begins[:-3])
    end = min([number for number in begins if number > begin + 100] or [len(lines)])
    return "".join(line + "\n" for line in lines[begin:end])


def stacks(text: str) -> list[list[list[str]]]:
    return [[[frame.function for frame in thread.frames] for thread in capture.threads] for capture in check_lines(text)]


FRAMES = [line for line in alltrace(DEADLOCK[1:2]).splitlines() if line][1:]


def log(*hosts: str) -> str:
    """A stack of which each line is of the next of these hosts."""
    return "".join(f"Nov 25 21:50:01 {host} kernel: {line}\n" for host, line in zip(hosts, FRAMES, strict=False))


@pytest.mark.parametrize("head", ["{} | CHANGED | rc=0 >>\n", f"{'-' * 15}\n{{}}\n{'-' * 15}\n", f"{'-' * 16}\n{{}}\n{'-' * 16}\n"])
@pytest.mark.parametrize("rows_only", [False, True])
def test_the_output_of_one_host_behind_that_of_another(head, rows_only):
    texts = [one.partition("\n")[2] if rows_only else one for one in PAIRS["procstat"]]
    captures = check_lines("".join(head.format(host) + text for host, text in zip(HOSTS, texts, strict=True)))
    assert [nameless(capture) for capture in captures] == [essence(alone(text)[0]) for text in texts]
    assert [capture.host.hostname for capture in captures] == list(HOSTS)
    assert captures[0].unread == ()


def test_a_host_whose_name_is_set_later_is_one():
    (whole,) = stacks(log(*["hosta"] * 20))
    assert stacks(log(*["localhost"] * 5, *["hosta"] * 20)) == [whole]
    assert stacks(log(*["hosta.example.org", "hosta"] * 10)) == [whole]
    assert stacks(log(*["Amnesiac", "hosta", "hosta"] * 10)) == [whole]


def test_a_host_with_another_name_is_another_one():
    assert [len(one[0]) for one in stacks(log(*["hosta"] * 5, *["hostb"] * 20))] == [4, len(FRAMES) - 5]
    # where two share a log, nobody knows whose the nameless one's lines are
    assert [len(one[0]) for one in stacks(log("hosta", "hostb", *["localhost"] * 4, *["hosta", "hostb"] * 20))] == [5, 6, 4]


def test_two_hosts_of_one_name_in_two_domains():
    names = ["node1.a.example.org", "node1.b.example.org"]
    for form in ("syslog", "pdsh"):
        check(*tagged(form, ALTERNATING, PAIRS["alltrace"], names), PAIRS["alltrace"])


@pytest.mark.parametrize("names", [("10.0.0.1", "10.0.0.2"), ("fe80::1", "fe80::2"), ("a-1.example.org", "a-2.example.org")])
def test_hosts_that_are_called_by_addresses_and_domains(names):
    check(*tagged("syslog", ALTERNATING, PAIRS["procstat"], names), PAIRS["procstat"])


@pytest.mark.parametrize("form", ["syslog", "pdsh", "console"])
def test_lines_of_two_hosts_that_a_terminal_broke(form):
    text, _ = tagged(form, ALTERNATING, PAIRS["procstat"])
    broken = "".join(line[begin : begin + 80] + "\n" for line in text.splitlines() for begin in range(0, len(line), 80))
    captures = check_lines(broken)
    assert [essence(capture).threads for capture in captures] == [
        essence(capture).threads for one in PAIRS["procstat"] for capture in alone(one)
    ]


@pytest.mark.parametrize("form", ["pdsh", "console"])
def test_a_tag_of_one_host(form):
    text = alltrace(DEADLOCK)
    (capture,) = check_lines("".join(TAGS[form].format("hosta", line) + "\n" for line in text.splitlines()))
    assert essence(capture) == essence(alone(text)[0])


FILES = {
    "grep": "{}.txt:{}",
    "grep -r": "logs/{}.log:{}",
    "grep -rn": "./{}/procstat.txt:7:{}",
    "grep -nC": "procstat-{}.txt-7-{}",
    "grep, no extension": "/var/log/{}/messages:{}",
    "grep -n, no extension": "{}/messages:7:{}",
}


@pytest.mark.parametrize("form", FILES)
@pytest.mark.parametrize("pair", ["procstat", "alltrace", "kgdb"])
def test_lines_that_grep_found_in_files_of_two_hosts(monkeypatch, pair, form):
    monkeypatch.setitem(TAGS, form, FILES[form])
    for order in (ALTERNATING, [0] * 400):
        check(*tagged(form, order, PAIRS[pair]), PAIRS[pair])


def test_lines_that_grep_found_in_files_of_one_host(monkeypatch):
    monkeypatch.setitem(TAGS, "grep", "{}.txt:{}")
    texts = (procstat(DEADLOCK), PS.format("vmrndv ", "vmstat "))
    for names in (("kk", "ps"), ("stacks", "processes"), ("first", "second"), ("alpha", "alpha-ps")):
        text, _ = tagged("grep", [0] * 400, texts, names)
        (capture,) = check_lines(text)
        assert {thread.tid: thread.wmesg for thread in capture.threads}[100860] == "vmrndv"


def test_names_of_machines_before_rows_are_no_hosts():
    rows = procstat(DEADLOCK).splitlines()[1:], procstat(vcpus("halted", "halted", pid=3310, first=100960)).splitlines()[1:]
    text = "".join(f"{name}: {row}\n" for name, own in zip(("win10", "fbsd"), rows, strict=True) for row in own)
    ps = "UID PID PPID CPU PRI NI VSZ RSS MWCHAN STAT TT TIME COMMAND\n"
    ps += "0 2210 1 0 20 0 1 1 vmrndv D - 0:00.10 bhyve: win10 (bhyve)\n0 3310 1 0 20 0 1 1 vmhlt D - 0:00.10 bhyve: fbsd (bhyve)\n"
    (capture,) = check_lines(ps + text)
    assert {thread.pid for thread in capture.threads if thread.frames} == {2210, 3310}
    assert len(check_lines(text)) == 2  # nobody says what these are


def test_words_before_a_colon_are_no_hosts():
    mail = "Subject: panic: deadlres_td_sleep_q: possible deadlock\nFrom: Somebody\nDate: today\n\n"
    (capture,) = check_lines(mail + procstat(DEADLOCK) + "\nNote: all of them\nThanks: you\n")
    assert [thread.tid for thread in capture.threads if thread.tid] == [thread.tid for thread in DEADLOCK]
    labels = "vcpu0: vm_run() -> vm_handle_rendezvous() -> _sleep()\nvcpu1: vcpu_lock_one() -> vcpu_set_state_locked() -> msleep_spin_sbt()\n"
    assert len(check_lines(labels * 2)) == 1


def test_lines_of_one_width_with_names_in_brackets_are_not_broken():
    wide = ["[hosta] (gdb) p x", "[hostb] (gdb) p y"]
    for number in range(6):
        wide += [f"[{host}] $1 = {{a = {number}, " + "b" * 270 for host in HOSTS]
        wide += [f"[{host}]   {'c' * 61} = {number}," for host in HOSTS]
    taken = {}
    page = make_page("\n".join(wide) + "\n", 1)
    for line, first, last in zip(page.lines, page.first, page.last, strict=True):
        taken[first] = (line, last)
    assert taken == {number: (line, number) for number, line in enumerate(wide, 1)}


def test_a_line_of_which_a_part_was_overwritten_is_of_one_host():
    check_lines("> b: f at o\n\nt: e() at x\re 0xffffe001\n")
    check_lines("> b: k (type: mutexdepth: 2\nk\rk (type: depth: 2\n\n\nb: k (type: depth: 2\na: k (type: depth: 2\n")


def test_what_stands_around_the_lines_of_several_hosts_is_of_none():
    text, _ = tagged("pdsh", ALTERNATING, PAIRS["alltrace"])
    around = procstat([T(100700, "vcpu 0", "halted", 77)])
    prose = "We saw this on both, and nothing else.\n" * 12
    captures = check_lines(around + prose + text + prose + procstat([T(100701, "vcpu 0", "halted", 78)]))
    assert [[thread.tid for thread in capture.threads] for capture in captures] == [
        [100700, 100701], *([thread.tid for thread in threads] for threads in (DEADLOCK, HALTED)),
    ]  # fmt: skip


def test_a_table_between_the_lines_of_two_hosts_is_of_neither():
    text, _ = tagged("pdsh", ALTERNATING, PAIRS["procstat"])
    lines = text.splitlines()
    between = procstat([T(100700, "vcpu 0", "halted", 77)])
    captures = check_lines("\n".join([*lines[:6], *between.splitlines(), *lines[6:]]) + "\n")
    assert [[thread.tid for thread in capture.threads] for capture in captures] == [
        *([thread.tid for thread in threads] for threads in (DEADLOCK, HALTED)), [100700],
    ]  # fmt: skip


@pytest.mark.parametrize("form", ["syslog", "pdsh"])
def test_a_host_whose_lines_end_in_the_middle_of_a_stack(form):
    one, other = PAIRS["alltrace"]
    cut = "".join(line + "\n" for line in one.splitlines()[:-3])
    text, _ = tagged(form, ALTERNATING, (cut, other))
    assert [dict(capture.host.facts).get(LEFT_OUT) for capture in read_text(text)] == ["the end is cut off", None]
    text, _ = tagged(form, ALTERNATING, (one, other))
    assert [dict(capture.host.facts).get(LEFT_OUT) for capture in read_text(text)] == [None, None]


def test_hosts_in_a_large_log_are_read_as_a_stream(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "LARGE", 1 << 18)
    one, other = PAIRS["alltrace"]
    text, numbers = tagged("syslog", ALTERNATING, (one, other))
    chatter = [f"Nov 25 21:50:01 host{letter} sshd[{number}]: Accepted key" for number in range(2500) for letter in "ab"]
    second = other.replace("100860", "200860")
    later, _ = tagged("syslog", ALTERNATING, (one.replace("100860", "200860"), second))
    path = tmp_path / "messages"
    path.write_text("\n".join(chatter) + "\n" + text + "\n".join(chatter) + "\n" + later)
    assert path.stat().st_size > files.LARGE
    captures = read_paths([str(path)], None)
    first = len(chatter)
    assert [len(capture.threads) for capture in captures] == [len(DEADLOCK) + 1, len(HALTED) + 1]
    for capture, own in zip(captures, numbers, strict=True):
        thread = next(thread for thread in capture.threads if thread.tid == 100860)
        assert set(lines_of(thread)) <= {first + number for number in own}
    lines = path.read_text().count("\n")
    read = {number for capture in captures for number in covered(capture)}
    unread = [line for item in captures[0].unread for line in range(item.where.first, item.where.last + 1)]
    assert len(unread) == len(set(unread))
    assert read.isdisjoint(unread)
    # what is left are the commands, blank lines and the lines of ps
    assert lines - len(read) - len(unread) < 40
    assert len(captures[0].unread) < 20


@pytest.mark.parametrize("end", ["", "\n"])
def test_a_stream_that_ends_in_the_middle_of_a_stack_is_cut(tmp_path, monkeypatch, end):
    monkeypatch.setattr(files, "LARGE", 1 << 16)
    text = alltrace([T(100000 + number, f"vcpu {number}", "halted", 2210) for number in range(100)])
    path = tmp_path / "console.log"
    for keep, cut in ((0, False), (3, True)):
        lines = text.splitlines()[: -keep or None]
        path.write_text("\n".join(lines) + end)
        assert path.stat().st_size > files.LARGE
        (capture,) = read_paths([str(path)], None)
        assert capture.is_abridged == cut
    path.write_text("\n".join(lines)[:-30])
    (capture,) = read_paths([str(path)], None)
    assert dict(capture.host.facts)[LEFT_OUT] in ("the last line is cut", "the end is cut off")
