"""Stack patterns: ``_sleep < vm_handle_rendezvous << vmmdev_ioctl``.

The language is described in docs/writing-rules.md. Matching is linear in the
stack's length: every block of directly called functions is taken where it
occurs first after the one before.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

_TOKEN = re.compile(r"<<|<|\||[^\s<|]+")

Names = frozenset[str]


class PatternError(ValueError):
    """The text is no stack pattern; the message says why."""


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Pattern:
    """A compiled pattern: blocks of adjacent functions, in the order innermost to outermost.

    ``anchored`` patterns must begin at the top of the stack.
    """

    text: str
    blocks: tuple[tuple[Names, ...], ...]
    anchored: bool

    @property
    def length(self) -> int:
        """How many functions it names."""
        return sum(len(block) for block in self.blocks)

    @property
    def adjacent(self) -> int:
        """How many of its steps are direct calls."""
        return self.length - len(self.blocks)

    @property
    def names(self) -> Names:
        """All functions that it names."""
        return frozenset().union(*self.tokens())

    def tokens(self) -> list[Names]:
        """Its functions, innermost first."""
        return [names for block in self.blocks for names in block]


def pattern_names(text: str) -> list[list[str]]:
    """The functions that a valid pattern names, innermost first, without compiling it."""
    return [token.split("|") for token in text.replace(" |", "|").replace("| ", "|").replace("<", " ").split()]


@cache
def parse_pattern(text: str) -> Pattern:
    """Compile ``text``; raises :class:`PatternError`. The same text is compiled once."""
    tokens = _TOKEN.findall(text)
    anchored = bool(tokens) and tokens[0] != "<<"
    if not anchored:
        tokens = tokens[1:]
    if not tokens:
        raise PatternError("empty stack pattern")
    blocks: list[list[Names]] = [[]]
    names: set[str] = set()
    expect_name = True
    for token in tokens:
        if expect_name:
            if token in ("<", "<<", "|"):
                raise PatternError(f"function expected instead of {token!r} in {text!r}")
            names.add(token)
            expect_name = False
        elif token == "|":
            expect_name = True
        elif token in ("<", "<<"):
            blocks[-1].append(frozenset(names))
            names = set()
            if token == "<<":
                blocks.append([])
            expect_name = True
        else:
            raise PatternError(f"'<' expected before {token!r} in {text!r}")
    if expect_name:
        raise PatternError(f"function expected at the end of {text!r}")
    blocks[-1].append(frozenset(names))
    return Pattern(text, tuple(tuple(block) for block in blocks), anchored)


def top_positions(functions: Sequence[str], skip: Names) -> int:
    """The index of the first function that is not in ``skip``: a pattern may begin there or above."""
    for index, function in enumerate(functions):
        if function not in skip:
            return index
    return max(len(functions) - 1, 0)


def matches(pattern: Pattern, functions: Sequence[str], top: int) -> bool:
    """Does ``pattern`` hold on ``functions``? ``top`` is from :func:`top_positions`.

    An anchored pattern must begin at or above ``top``.
    """
    start = 0
    for number, block in enumerate(pattern.blocks):
        last_start = top if pattern.anchored and number == 0 else len(functions) - len(block)
        position = _find_block(block, functions, start, last_start)
        if position < 0:
            return False
        start = position + len(block)
    return True


def _find_block(block: tuple[Names, ...], functions: Sequence[str], start: int, last_start: int) -> int:
    first = block[0]
    for index in range(start, min(last_start, len(functions) - len(block)) + 1):
        if functions[index] in first and all(
            functions[index + step] in block[step] for step in range(1, len(block))
        ):
            return index
    return -1
