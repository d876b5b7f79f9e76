"""Finds the rule for a thread: an index over stacks and wait messages.

The cost of a thread depends on the length of its stack, not on the number of
rules: each stack pattern is filed under one function that it must contain.
Threads with the same stack, message and name are answered from memory.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase

from hangdiag.knowledge.model import Knowledge, WaitRule
from hangdiag.knowledge.pattern import Pattern, matches, parse_pattern, pattern_names, top_positions
from hangdiag.model import Thread


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Match:
    """A rule that fits a thread, and on what evidence. Larger ``rank`` wins."""

    rule: WaitRule
    rank: tuple[int, int, int, int]
    by_wmesg: bool
    pattern: str | None


class Matcher:
    """An index over the wait rules of a :class:`Knowledge`."""

    def __init__(self, knowledge: Knowledge) -> None:
        self.words = knowledge.words
        self._skip = knowledge.words.switch | knowledge.words.queue
        self._rules = knowledge.waits
        self._by_function: dict[str, list[tuple[str, int]]] = defaultdict(list)
        self._by_wmesg: dict[str, list[int]] = defaultdict(list)
        self._by_state: dict[str, list[int]] = defaultdict(list)
        self._by_prefix: dict[int, dict[str, list[str]]] = {}
        self._file(knowledge.waits)
        self._answers: dict[tuple[object, ...], Match | None] = {}
        self._path_of = {name: path.via for path in knowledge.words.path for name in path.functions}

    def _file(self, rules: tuple[WaitRule, ...]) -> None:
        common = self._skip | self.words.primitives
        # patterns are compiled when a thread first comes near them: a run needs a few of a thousand
        named = [[pattern_names(text) for text in rule.stack] for rule in rules]
        popularity = Counter(name for group in named for tokens in group for names in tokens for name in names)
        for index, rule in enumerate(rules):
            for text, tokens in zip(rule.stack, named[index], strict=True):
                # the token whose commonest name is rarest among the rules, never a primitive if avoidable
                key = min(
                    tokens,
                    key=lambda names: (
                        not common.isdisjoint(names),
                        popularity[names[0]] if len(names) == 1 else max(popularity[name] for name in names),
                    ),
                )
                for name in key:
                    self._by_function[name].append((text, index))
            for message in rule.wmesg:
                self._by_wmesg[message].append(index)
            if not rule.stack and not rule.wmesg:
                for state in rule.state or ("",):
                    self._by_state[state].append(index)

    def via(self, functions: Iterable[str]) -> str | None:
        """How the thread came here: the path of the innermost function that shows one."""
        for function in functions:
            via = self._path_of.get(function)
            if via is not None:
                return via
        return None

    def find(self, thread: Thread) -> Match | None:
        """The rule that explains what ``thread`` waits for, or None."""
        functions = tuple([frame.function for frame in thread.frames])
        key = (functions, thread.wmesg, thread.wmesg_cut, thread.command, thread.name, thread.state)
        try:
            return self._answers[key]
        except KeyError:
            best = max(self.candidates(thread, functions), key=_preference, default=None)
            self._answers[key] = best
            return best

    def candidates(self, thread: Thread, functions: tuple[str, ...]) -> list[Match]:
        """All rules that fit the thread, in no particular order."""
        by_stack: dict[int, Pattern] = {}
        top = top_positions(functions, self._skip)
        for function in set(functions):
            for entry in self._by_function.get(function, ()):
                pattern, rule = parse_pattern(entry[0]), entry[1]
                known = by_stack.get(rule)
                if (known is None or _weight(pattern) > _weight(known)) and matches(pattern, functions, top):
                    by_stack[rule] = pattern
        by_wmesg = set(self._with_wmesg(thread))
        others = self._by_state.get(thread.state or "", []) + self._by_state.get("", [])
        found = []
        for index in {*by_stack, *by_wmesg, *others}:
            match = self._weigh(index, thread, by_stack.get(index), index in by_wmesg)
            if match is not None:
                found.append(match)
        return found

    def _weigh(self, index: int, thread: Thread, pattern: Pattern | None, by_wmesg: bool) -> Match | None:
        rule = self._rules[index]
        if rule.wmesg and thread.wmesg is not None and not by_wmesg:
            return None
        if by_wmesg and pattern is None and not rule.wmesg_alone:
            return None
        if rule.wmesg and not by_wmesg and not rule.stack:
            return None
        who = 0
        if rule.command or rule.name or rule.state:
            if not (
                _fits(rule.command, thread.command)
                and _fits(rule.name, thread.name)
                and (not rule.state or thread.state in rule.state)
            ):
                return None
            who = 1
        # that it sleeps says less than a message that has a rule
        tells = pattern is not None and (rule.kind != "sleep" or not pattern.names <= self.words.primitives)
        kinds = by_wmesg + tells + who
        length = pattern.length if pattern is not None else 0
        adjacent = pattern.adjacent if pattern is not None else 0
        return Match(
            rule, (kinds, length, adjacent, int(by_wmesg)), by_wmesg, pattern.text if pattern else None
        )

    def _with_wmesg(self, thread: Thread) -> list[int]:
        message = thread.wmesg
        if message is None:
            return []
        exact = self._by_wmesg.get(message, [])
        if exact or thread.wmesg_cut is None or len(message) < thread.wmesg_cut:
            return exact
        width = thread.wmesg_cut
        if width not in self._by_prefix:
            prefixes: dict[str, list[str]] = defaultdict(list)
            for known in self._by_wmesg:
                if len(known) > width:
                    prefixes[known[:width].rstrip()].append(known)
            self._by_prefix[width] = prefixes
        return [rule for known in self._by_prefix[width].get(message, ()) for rule in self._by_wmesg[known]]


def _weight(pattern: Pattern) -> tuple[int, int]:
    return (pattern.length, pattern.adjacent)


def _preference(match: Match) -> tuple[tuple[int, int, int, int], tuple[int, ...]]:
    # alphabetically first id wins a tie: invert it, since the largest is taken
    return (match.rank, tuple(-ord(letter) for letter in match.rule.id))


def _fits(patterns: tuple[str, ...], value: str | None) -> bool:
    return not patterns or (value is not None and any(fnmatchcase(value, pattern) for pattern in patterns))
