"""The shipped rules and the rule language."""

from __future__ import annotations

import dataclasses
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hangdiag.errors import RuleError
from hangdiag.knowledge import Matcher, load_knowledge
from hangdiag.knowledge.check import check_knowledge
from hangdiag.knowledge.load import _LEFT_OUT as LEFT_OUT
from hangdiag.knowledge.load import compile_rules, parse_rules
from hangdiag.knowledge.model import Knowledge, WaitRule
from hangdiag.knowledge.pattern import PatternError, matches, parse_pattern, top_positions
from hangdiag.model import Frame, Thread
from tests.traces import KNOWLEDGE, MATCHER

WORDS = (
    "stack.toml",
    'format = 1\nswitch = ["mi_switch"]\nqueue = ["sleepq_wait"]\nprimitives = ["_sleep"]\n',
)


def rules(*bodies):
    text = 'format = 1\nsubsystem = "test"\n' + "".join(f"[[wait]]\n{body}\n" for body in bodies)
    return parse_rules([WORDS, ("test.toml", text)])


def thread(stack="", **known):
    return Thread(frames=tuple(Frame(name) for name in stack.split()), **known)


def test_the_shipped_rules_are_right():
    assert [str(problem) for problem in check_knowledge(KNOWLEDGE) if problem.grave] == []


def test_compiled_rules_are_the_same_but_for_what_no_diagnosis_reads(tmp_path, monkeypatch):
    compile_rules(tmp_path / "data" / "rules.json")
    monkeypatch.setattr("hangdiag.knowledge.load.data_file", lambda name: tmp_path / "data" / name)
    compiled = load_knowledge()
    defaults = {field.name: field.default for field in dataclasses.fields(WaitRule) if field.name in LEFT_OUT["WaitRule"]}
    slim = [dataclasses.asdict(dataclasses.replace(rule, **defaults)) for rule in KNOWLEDGE.waits]
    assert [dataclasses.asdict(rule) for rule in compiled.waits] == slim
    assert [bug.id for bug in compiled.bugs] == [bug.id for bug in KNOWLEDGE.bugs]
    assert dataclasses.asdict(compiled.words) == dataclasses.asdict(KNOWLEDGE.words)
    assert not any(rule.example for rule in compiled.waits), "the compiled file was used"


@pytest.mark.parametrize(
    ("pattern", "stack", "expected"),
    [
        ("_sleep < f", "mi_switch sleepq_wait _sleep f g", True),
        ("_sleep < f", "mi_switch sleepq_wait _sleep g f", False),
        ("_sleep << f", "mi_switch sleepq_wait _sleep g f", True),
        ("_sleep < f", "mi_switch sleepq_wait h _sleep f", False),
        ("<< _sleep < f", "mi_switch sleepq_wait h _sleep f", True),
        ("mi_switch < f", "mi_switch f", True),
        ("a|b < c|d", "b d", True),
        ("f", "mi_switch f", True),
        ("f", "g f", False),
        ("<< a < b << c", "x a c a b y c", True),
        ("<< a < b << c", "x a b", False),
        ("f", "", False),
    ],
)
def test_patterns(pattern, stack, expected):
    functions = stack.split()
    top = top_positions(functions, frozenset({"mi_switch", "sleepq_wait"}))
    assert matches(parse_pattern(pattern), functions, top) is expected


@pytest.mark.parametrize("text", ["", "<<", "a <", "< a", "a b", "a << << b", "a | < b"])
def test_wrong_patterns(text):
    with pytest.raises(PatternError):
        parse_pattern(text)


def holds(tokens, functions, anchored, top):
    """A pattern by trying everything: tokens are (names, directly called)."""

    def at(position, index):
        if position == len(tokens):
            return True
        names, direct = tokens[position]
        places = [index] if direct else range(index, len(functions))
        return any(
            place < len(functions) and functions[place] in names and at(position + 1, place + 1)
            for place in places
        )

    starts = range(top + 1) if anchored else range(len(functions))
    names, _ = tokens[0]
    return any(start < len(functions) and functions[start] in names and at(1, start + 1) for start in starts)


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), min_size=1, max_size=4),
    st.lists(st.sampled_from("abcs"), max_size=9),
    st.booleans(),
)
def test_matching_is_what_trying_everything_gives(tokens, functions, anchored):
    text = "" if anchored else "<< "
    for number, (name, direct) in enumerate(tokens):
        text += name if number == 0 else f" {'<' if direct else '<<'} {name}"
    top = top_positions(functions, frozenset("s"))
    expected = holds([(frozenset(name), direct) for name, direct in tokens], functions, anchored, top)
    assert matches(parse_pattern(text), functions, top) is expected


def test_wmesg_contradicts_a_rule():
    knowledge = rules('id = "a"\ntitle = "a"\nkind = "io"\nwmesg = ["one"]\nstack = ["_sleep < f"]')
    matcher = Matcher(knowledge)
    assert matcher.find(thread("mi_switch sleepq_wait _sleep f")).rule.id == "a"
    assert matcher.find(thread("mi_switch sleepq_wait _sleep f", wmesg="two")) is None
    assert matcher.find(thread(wmesg="one")).by_wmesg


def test_a_message_with_a_rule_tells_more_than_that_a_thread_sleeps():
    asleep = 'id = "asleep"\ntitle = "a"\nkind = "sleep"\nstack = ["_sleep"]'
    matcher = Matcher(rules(asleep, 'id = "a"\ntitle = "a"\nkind = "io"\nwmesg = ["one"]'))
    # a module without symbols is below it
    assert matcher.find(thread("mi_switch sleepq_wait _sleep ?? ??", wmesg="one")).rule.id == "a"
    assert matcher.find(thread("mi_switch sleepq_wait _sleep ?? ??")).rule.id == "asleep"


def test_a_cut_wmesg_counts_as_its_prefix():
    matcher = Matcher(rules('id = "a"\ntitle = "a"\nkind = "io"\nwmesg = ["tx->tx_sync_done_cv"]'))
    assert matcher.find(thread(wmesg="tx->tx_", wmesg_cut=7)).rule.id == "a"
    assert matcher.find(thread(wmesg="tx->tx_")) is None


def test_the_more_specific_rule_wins_whatever_the_order():
    short = 'id = "short"\ntitle = "a"\nkind = "io"\nstack = ["_sleep < f"]'
    long = 'id = "long"\ntitle = "a"\nkind = "io"\nstack = ["_sleep < f < g"]'
    both = 'id = "both"\ntitle = "a"\nkind = "io"\nwmesg = ["m"]\nstack = ["_sleep < f"]'
    for order in ((short, long, both), (both, long, short)):
        matcher = Matcher(rules(*order))
        assert matcher.find(thread("_sleep f g")).rule.id == "long"
        assert matcher.find(thread("_sleep f g", wmesg="m")).rule.id == "both"
        assert matcher.find(thread("_sleep f h")).rule.id in ("short", "both")


def test_ties_go_to_the_first_id():
    one = 'id = "b"\ntitle = "a"\nkind = "io"\nstack = ["_sleep < f"]'
    two = 'id = "a"\ntitle = "a"\nkind = "io"\nstack = ["_sleep < f"]'
    for order in ((one, two), (two, one)):
        assert Matcher(rules(*order)).find(thread("_sleep f")).rule.id == "a"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("format = 2", "format = 2"),
        ("format = 1\nnonsense = 3", "unknown key 'nonsense'"),
        ('format = 1\nsubsystem = "x"\n[[wait]]\nid = "a"\ntitle = "t"\nkind = "io"', "recognises nothing"),
        ('format = 1\nsubsystem = "x"\n[[wait]]\nid = "a"\nkind = "io"\nwmesg = ["q"]', "title is missing"),
        (
            'format = 1\nsubsystem = "x"\n[[wait]]\nid = "a"\ntitle = "t"\nkind = "io"\nwmesg = "q"',
            "a list is expected",
        ),
        (
            'format = 1\nsubsystem = "x"\n[[wait]]\nid = "a"\ntitle = "t"\nkind = "io"\nstack = ["<"]',
            "stack: ",
        ),
        ("format = 1\n[[wait]]\nid = 'a'\ntitle = 't'\nkind = 'io'\nwmesg = ['q']", "no subsystem"),
        ("format = = 1", "line 1"),
    ],
)
def test_errors_name_file_and_key(text, message):
    with pytest.raises(RuleError) as caught:
        parse_rules([WORDS, ("bad.toml", text)])
    assert str(caught.value).startswith("bad.toml")
    assert message in str(caught.value)


def test_ten_times_as_many_rules_do_not_slow_matching_down():
    """Counted, not timed: how many patterns are tried for a thread does not grow."""
    copies = tuple(
        dataclasses.replace(
            rule,
            id=f"{rule.id}-{copy}",
            wmesg=tuple(f"{text}{copy}" for text in rule.wmesg),
            stack=tuple(
                re.sub(r"[^\s<|]+", lambda name, copy=copy: f"{name.group()}_{copy}", text)
                for text in rule.stack
            ),
        )
        for rule in KNOWLEDGE.waits
        if rule.stack
        for copy in range(10)
    )
    wide = Matcher(Knowledge(KNOWLEDGE.words, KNOWLEDGE.waits + copies))
    for rule in KNOWLEDGE.waits:
        for example in rule.example:
            names = set(example.stack)
            tried = sum(len(MATCHER._by_function.get(name, ())) for name in names)
            assert sum(len(wide._by_function.get(name, ())) for name in names) == tried
