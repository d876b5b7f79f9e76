"""Every line belongs to something that was read, or is listed as unread; none to both; nothing crashes."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hangdiag.model import Capture, Thread, Unread, Where
from hangdiag.readers import read_text
from hangdiag.readers.ledger import settle
from tests.readers.accounts import check_lines

SAMPLES = Path(__file__).resolve().parents[2] / "samples"
TEXTS = {path.name: path.read_text() for path in sorted(SAMPLES.glob("*.txt"))}
FOREIGN = "The guest froze again at noon, we saw nothing else."
#: Pieces of lines that readers look for.
PIECES = [
    "Tracing command bhyve pid 1 tid 100001 td 0xfffff80004c98000", "f() at f+0x1/frame 0xfffffe0047d2f5f0", "db> ps",
    "  pid  ppid  pgrp   uid  state   wmesg   wchan               cmd", "  PID    TID COMM  TDNAME  KSTACK", "(gdb) bt",
    "#0  f (a=1, b=\"x\") at a.c:1", "Thread 1 (Thread 100001 (PID=1: a/b)):", "$1 = {a = {b = 1}, c = \"x\"}", "> ", "# ",
    "100001                   D       vmrndv  0xff  vcpu 0", "chain 1:", " thread 1 (pid 1, a) is blocked on lock 0x1 (sx) \"b\" XLOCK",
    "--- syscall (1, x) ---", "Process 1 (a) thread 0x1 (2)", "exclusive sx a (a) r = 0 (0x1) locked @ a.c:1", " class: sx", " name: x",
    "Thread 1 at 0x1:", " state: RUNNING (CPU 1)", "cpuid = 0", "curthread = 0x1: pid 1 tid 2 \"x\"", "load: 0.1  cmd: a 1 [b] 1.0r",
    "* thread #1, name = 'x'", "frame #0: 0x1 k`f(a=1) at a.c:1:2", "  kernel`f+0x1", "THREAD           STATE    SOBJ   COUNT",
    "UID PID PPID CPU PRI NI VSZ RSS MWCHAN STAT TT TIME COMMAND", "0 1 1 0 1 0 1 1 a D - 0:00 x", "a_b() -> c_d() -> _sleep()", "&lt;pre&gt;",
    "=3D", "=\n", "\\n", "\r", "\x1b[0m", "\x00", "--More--", "\t", "    ", "(", ")", "{", "}", '"', "'", "<", "0x", "`", "|", "→", "\u00a0",
    "lock order reversal:", "#0 0xffffffff80c79095 at kdb_backtrace+0x65", "td 0x1 tid 2 name x wmesg y wchan 0x2 inhib 2 state 1",
    "proc 0x1 pid 1 comm a state 1", "mi_switch + 1 in section .text", "stack pointer for thread ffffff0368f503a0: ff", "  Id   Target Id   Frame",
]  # fmt: skip


@pytest.mark.parametrize("name", TEXTS)
def test_every_line_is_in_one_place(name):
    check_lines(TEXTS[name])


@pytest.mark.parametrize("name", TEXTS)
def test_a_foreign_line_stays_foreign(name):
    """Put anywhere into a capture, it is listed, and is in the lines of no thread."""
    lines = TEXTS[name].split("\n")
    draw = random.Random(name)
    for place in draw.sample(range(len(lines)), min(25, len(lines))):
        begin = max(0, place - 60)
        text = "\n".join([*lines[begin:place], FOREIGN, *lines[place : place + 60]])
        before = "\n".join(lines[:place])
        answer = "\n".join(lines[max(0, place - 3) : place])
        if before.count("{") > before.count("}") or "(gdb) set " in answer or "(gdb) target " in answer:
            continue  # inside a value of gdb's, or behind a command whose answer is taken with it
        number = place - begin + 1
        listed = check_lines(text)[0].unread
        assert any(item.where.first <= number <= item.where.last for item in listed), (place, lines[place])


@pytest.mark.parametrize("name", TEXTS)
def test_samples_are_read_whole(name):
    (capture,) = read_text(TEXTS[name])
    assert capture.unread == ()


def test_prose_is_listed_between_traces():
    text = "hello\n\n" + TEXTS["idle.procstat.txt"] + "\nbye\nbye\n"
    (capture,) = read_text(text)
    lines = text.count("\n")
    assert [(item.where.first, item.where.last) for item in capture.unread] == [(1, 1), (lines - 1, lines)]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.text(max_size=400))
def test_any_text(text):
    check_lines(text)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.sampled_from(PIECES), max_size=25), st.sampled_from(["", "\n", " "]))
def test_any_pieces(pieces, between):
    check_lines(between.join(pieces))
    check_lines("".join(piece + "\n" for piece in pieces))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(sorted(TEXTS)), st.integers(0, 1 << 32))
def test_mutations_of_samples(name, seed):
    """Lines cut, doubled, moved, joined; letters changed."""
    draw = random.Random(seed)
    lines = TEXTS[name].split("\n")
    begin = draw.randrange(len(lines))
    lines = lines[begin : begin + draw.randrange(1, 200)]
    for _ in range(draw.randrange(1, 12)):
        place = draw.randrange(len(lines))
        kind = draw.randrange(7)
        if kind == 0:
            lines[place] = lines[place][: draw.randrange(len(lines[place]) + 1)]
        elif kind == 1:
            lines.insert(place, lines[draw.randrange(len(lines))])
        elif kind == 2 and len(lines) > 1:
            del lines[place]
        elif kind == 3 and place + 1 < len(lines):
            lines[place] += lines.pop(place + 1)
        elif kind == 4:
            lines[place] = draw.choice(PIECES) + lines[place]
        elif kind == 5 and lines[place]:
            spot = draw.randrange(len(lines[place]))
            lines[place] = lines[place][:spot] + chr(draw.randrange(1, 0x2100)) + lines[place][spot + 1 :]
        else:
            lines[place] = "".join(draw.sample(lines[place], len(lines[place])))
    check_lines("\n".join(lines))


@pytest.mark.parametrize("name", TEXTS)
def test_a_capture_cut_anywhere_gives_what_is_whole(name):
    text = TEXTS[name]
    for share in (0.2, 0.5, 0.8, 0.97):
        check_lines(text[: int(len(text) * share)])
        assert read_text(text[: int(len(text) * share)])[0].threads


def test_rows_that_may_be_of_any_thread_are_listed():
    stacks = (SAMPLES / "deadlock.procstat.txt").read_text()
    rows = "UID PID PPID CPU PRI NI VSZ RSS MWCHAN STAT TT TIME COMMAND\n" + "".join(
        f"  0  16    1   0  20  0 12345 6789 {wmesg:<8} D     - 0:00.10 bhyve: win11 (bhyve)\n" for wmesg in ("vmrndv", "vmstat")
    )
    (capture,) = read_text(stacks + rows)
    end = stacks.count("\n") + 1
    assert [tuple(item.where)[1:] for item in capture.unread if item.where.last > end] == [(end + 1, end + 1), (end + 2, end + 2)]
    assert len(capture.threads) == 49


def test_what_shares_a_line_with_a_row_is_not_listed():
    rows = "  pid  ppid  pgrp   uid  state   wmesg   wchan               cmd\n  15     0     0     0  DL      (threaded)                  [x]\n"
    rows += "100005                   D       -       0xfffff80002119200  [a]\nfoo\r100006                   D       -       0xfffff80002119200  [b]\n"
    (capture,) = check_lines(rows)
    assert [thread.tid for thread in capture.threads] == [100005, 100006]
    assert capture.unread == ()


def test_a_line_that_several_told_stacks_share_is_listed_once():
    (capture,) = check_lines("x3\na_b()->_sleep\na_b()->_sleep\nd+0x9 k+0x2\n")
    assert [tuple(item.where)[1:] for item in capture.unread] == [(1, 3)]


def test_lines_that_look_like_frames_of_mixed_stacks_and_are_none():
    frame = "_sleep() at _sleep+/frame 0xfffffe0011fec5e0"
    (capture,) = check_lines("_sleep() at _sleep+0x2/frame\n" + f"{frame}\n{frame[:-6]}\n{frame}\n")
    assert not any(thread.frames == () for thread in capture.threads)


def test_a_line_whose_strings_are_empty_is_not_lost():
    # what gdb printed of an array looks like the strings of a log, whose own text would be these
    check_lines("[12: 'it at m0',0 '\\000',0 '',\n[12:34:  = 0 '\\000',  0 '\\000', rex_r = 0 '\\000',")


def test_a_line_has_one_owner():
    def unread(first, last, why):
        return Unread(Where(0, first, last), why, why == "b")

    thread = Thread(tid=1, where=(Where(0, 4, 4), Where(0, 8, 9)))
    items = [unread(6, 12, "b"), unread(1, 5, "a"), unread(5, 7, "b"), unread(14, 14, "a")]
    assert settle(items, [Capture(threads=(thread,))]) == (
        unread(1, 3, "a"), unread(5, 5, "a"), unread(6, 7, "b"), unread(10, 12, "b"), unread(14, 14, "a"),
    )  # fmt: skip
    assert settle([], [Capture(threads=(thread,))]) == ()


@given(st.lists(st.tuples(st.integers(1, 30), st.integers(0, 9), st.sampled_from("ab"))), st.lists(st.tuples(st.integers(1, 30), st.integers(0, 9))))
def test_owners_are_those_that_a_list_of_all_lines_tells(listed, read):
    items = [Unread(Where(0, first, first + more), why) for first, more, why in listed]
    taken = {line for first, more in read for line in range(first, first + more + 1)}
    thread = Thread(where=tuple(Where(0, first, first + more) for first, more in read))
    settled = settle(items, [Capture(threads=(thread,))])
    lines = [line for item in settled for line in range(item.where.first, item.where.last + 1)]
    assert lines == sorted({line for item in items for line in range(item.where.first, item.where.last + 1)} - taken)


@pytest.mark.parametrize(
    ("line", "like"),
    [
        ("when the size is > sleepq_size then it wraps", False),
        ("> sleepq_lookup is called with the chain locked", False),
        ("28397 - - ifconfig sleepq_wait_sig", True),
        ("stuck: mi_switch, sleepq_wait", True),
    ],
)
def test_a_sentence_that_speaks_of_a_function_looks_like_no_trace(line, like):
    (capture,) = read_text(f"What I see:\n{line}\n")
    assert any(item.trace_like for item in capture.unread) == like
