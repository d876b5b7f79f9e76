"""Saving a capture and reading it back: nothing is lost, and nothing hostile gets in."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hangdiag.errors import InputError
from hangdiag.model import (
    Capture,
    Frame,
    Host,
    LockFact,
    Process,
    Source,
    Thread,
    Unread,
    Vcpu,
    VirtualMachine,
    Where,
)
from hangdiag.savefile import SCHEMA, dump, load, load_all

from .conftest import command_line

_text = st.text(max_size=8)
_number = st.integers(0, 2**64)
_where = st.builds(Where, st.integers(0, 1), _number, _number)
_wheres = st.tuples(_where) | st.just(())
_ids = st.frozensets(st.integers(0, 300), max_size=4)


def maybe(strategy: st.SearchStrategy[object]) -> st.SearchStrategy[object]:
    return st.none() | strategy


def several(strategy: st.SearchStrategy[object]) -> st.SearchStrategy[object]:
    return st.lists(strategy, max_size=3).map(tuple)


_frames = st.builds(
    Frame,
    function=_text,
    offset=maybe(_number),
    module=maybe(_text),
    line=maybe(_number),
    args=several(st.tuples(_text, _text)),
    inlined=st.booleans(),
    address=maybe(_number),
)
_threads = st.builds(
    Thread,
    pid=maybe(st.integers(-1, 99999)),
    tid=maybe(_number),
    command=maybe(_text),
    interruptible=maybe(st.booleans()),
    wchan=maybe(_number),
    since=maybe(st.floats(allow_nan=False, allow_infinity=False)),
    frames=several(_frames),
    where=_wheres,
    stack_where=maybe(_where),
    stack_of_debugger=st.booleans(),
)
_machines = st.builds(
    VirtualMachine,
    name=maybe(_text),
    active=maybe(_ids),
    requested=maybe(_ids),
    done=maybe(_ids),
    rendezvous_function=maybe(_text),
    destroying=maybe(st.booleans()),
    vcpus=several(
        st.builds(Vcpu, id=_number, state=maybe(_text), reqidle=maybe(st.booleans()), where=maybe(_where))
    ),
    where=_wheres,
)
_captures = st.builds(
    Capture,
    sources=st.just((Source("a", None, 3), Source("b", "ddb", 0, 1, "c", "d"))),
    host=st.builds(
        Host, release=maybe(_text), osreldate=maybe(_number), facts=several(st.tuples(_text, _text))
    ),
    processes=several(st.builds(Process, pid=_number, arguments=maybe(_text), where=_wheres)),
    threads=several(_threads),
    locks=several(
        st.builds(
            LockFact,
            address=maybe(_number),
            owner=maybe(_number),
            waiters=several(_number),
            where=maybe(_where),
        )
    ),
    vms=several(_machines),
    unread=several(st.builds(Unread, where=_where, why=_text, trace_like=st.booleans())),
)


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None, max_examples=100)
@given(_captures)
def test_round_trip(capture: Capture) -> None:
    text = dump(capture)
    assert load(text) == capture
    assert dump(load(text)) == text
    assert json.loads(text)["schema"] == SCHEMA


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None, max_examples=20)
@given(st.lists(_captures, min_size=1, max_size=3))
def test_several_captures_of_one_reading(captures: list[Capture]) -> None:
    text = dump(captures[-1], captures[:-1])
    assert load_all(text) == tuple(captures)
    # What knows of one reads the last.
    assert load(text) == captures[-1]


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["threads", "vms", "frames", "sources", "where", "host", "tid"]), inner
        )
    ),
    max_leaves=12,
)


@settings(deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(["threads", "vms", "sources", "host", "locks", "processes", "unread"]), _JSON
    )
)
def test_hostile_files_raise_one_kind_of_error(members: dict[str, object]) -> None:
    # Any other exception fails the test.
    with contextlib.suppress(InputError):
        load(json.dumps({"schema": SCHEMA, **members}))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"schema": "hangdiag/1"}',
        "[" * 100_000,
        f'{{"schema": "{SCHEMA}", "threads": [{{"tid": {"9" * 5000}}}]}}',
        f'{{"schema": "{SCHEMA}", "threads": [{{"tid": {"9" * 100}}}]}}',
        f'{{"schema": "{SCHEMA}", "threads": [{{"since": NaN}}]}}',
        f'{{"schema": "{SCHEMA}", "threads": [{{"since": 1e999}}]}}',
        f'{{"schema": "{SCHEMA}", "threads": [{{"tid": true}}]}}',
        f'{{"schema": "{SCHEMA}", "threads": [{{"where": [[0, 1, 2]]}}]}}',
        f'{{"schema": "{SCHEMA}", "threads": [{{"frames": [{{}}]}}]}}',
        f'{{"schema": "{SCHEMA}", "sources": [{{"path": 3}}]}}',
        f'{{"schema": "{SCHEMA}", "vms": {{}}}}',
        f'{{"schema": "{SCHEMA}", "others": {{}}}}',
        f'{{"schema": "{SCHEMA}", "others": [3]}}',
        f'{{"schema": "{SCHEMA}", "others": [{{"threads": [{{"where": [[0, 1, 2]]}}]}}]}}',
        f'{{"schema": "{SCHEMA}", "host": {{"facts": [["a"]]}}}}',
    ],
)
def test_bad_files(text: str) -> None:
    with pytest.raises(InputError):
        load(text)


def test_members_of_later_versions_are_ignored() -> None:
    text = dump(Capture(threads=(Thread(tid=7),)))
    later = json.loads(text)
    later["threads"][0]["colour"] = "blue"
    later["news"] = [1]
    assert load(json.dumps(later)) == Capture(threads=(Thread(tid=7),))


def test_what_was_skipped_is_said_again(tmp_path: Path) -> None:
    notes = ("the list of VMs is broken", "stacks break off: \x1b[31mtid 7", "the list of VMs is broken")
    facts = tuple(("skipped", note) for note in notes)
    thread = Thread(pid=1, tid=100007, command="init", name="init", state="sleeping", wmesg="wait")
    saved = tmp_path / "saved.json"
    saved.write_text(dump(Capture(sources=(Source("live", "kgdb", 0),), host=Host(facts=facts), threads=(thread,))))
    shown = command_line("analyze", str(saved), "--format", "json")
    assert shown.stderr.splitlines() == [
        "hangdiag: skipped: the list of VMs is broken",
        r"hangdiag: skipped: stacks break off: \x1b[31mtid 7",
    ]
    assert json.loads(shown.stdout)["host"]["facts"]["skipped"].count("the list of VMs is broken") == 2
    assert "Not read: the list of VMs is broken" in command_line("report", str(saved)).stdout
