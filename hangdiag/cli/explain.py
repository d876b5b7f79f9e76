"""``hangdiag explain``: what is a thread in this wait waiting for? Needs no capture."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Annotated

import typer

from hangdiag.cli.options import Rules
from hangdiag.errors import UsageError

if TYPE_CHECKING:
    from hangdiag.knowledge import Knowledge, WaitRule

#: A shorter wait message is not taken for the beginning of a longer one.
_SHORTEST_PREFIX = 4
_FACTS = (
    ("waits for", "waits_for"),
    ("ended by", "ended_by"),
    ("timeout", "timeout"),
    ("locks held", "locks_held"),
    ("look next at", "look_next"),
    ("verified", "verified"),
)


def explain(
    what: Annotated[
        str, typer.Argument(metavar="WMESG|FUNCTION|ID", help="A wait message, a kernel function, or a rule.")
    ],
    rules: Rules = None,
) -> None:
    """Say what a wait message or function on a stack means, without any capture."""
    from hangdiag.cli import common
    from hangdiag.knowledge import load_knowledge

    found = search(load_knowledge(rules or [], compiled=False), what)
    if not found:
        raise UsageError(f"nothing is known of {what!r}; hangdiag rules list shows what is")
    lines: list[str] = []
    for rule in found[:8]:
        lines += [*_describe(rule), ""]
    if len(found) > 8:
        lines += [f"and {len(found) - 8} more: " + ", ".join(rule.id for rule in found[8:]), ""]
    common.write("\n".join(lines[:-1]) + "\n")


def search(knowledge: Knowledge, what: str) -> list[WaitRule]:
    """The rules for a message, function or id, the best fitting first.

    A message may be cut short, as ``ps`` prints it, or carry the ``*`` of a lock.
    """
    from hangdiag.knowledge.pattern import parse_pattern

    word = what.strip().strip("\"'").removesuffix("()").lstrip("*")
    functions = {
        rule.id: {name for text in rule.stack for names in parse_pattern(text).tokens() for name in names}
        for rule in knowledge.waits
    }
    common = knowledge.words.switch | knowledge.words.queue | knowledge.words.primitives
    tests = (
        lambda rule: rule.id == word,
        lambda rule: word in rule.wmesg,
        lambda rule: word in functions[rule.id] and word not in common,
        lambda rule: (
            len(word) >= _SHORTEST_PREFIX and any(message.startswith(word) for message in rule.wmesg)
        ),
    )
    for test in tests:
        found = [rule for rule in knowledge.waits if test(rule)]
        if found:
            return sorted(found, key=lambda rule: (len(rule.wmesg), rule.id))
    return []


def _describe(rule: WaitRule) -> list[str]:
    kind = f"{rule.kind}, or {', '.join(rule.alternatives)}" if rule.alternatives else rule.kind
    lines = textwrap.wrap(f"{rule.id}: {rule.title} ({kind})", 80, subsequent_indent="  ")
    if rule.wmesg:
        lines += _fact("wmesg", ", ".join(rule.wmesg))
    judged = {"normal": "normal", "transient": "normal if short", "suspicious": "never normal"}.get(
        rule.normal or ""
    )
    if rule.idle:
        judged = "normal: the thread has nothing to do"
    if judged:
        lines += _fact("is it normal", judged)
    if rule.interruptible is not None:
        lines += _fact("a signal", "ends it" if rule.interruptible else "does not end it")
    for label, key in _FACTS:
        value = getattr(rule, key)
        if value:
            lines += _fact(label, value)
    return lines + (_fact("source", "; ".join(rule.references)) if rule.references else [])


def _fact(label: str, text: str) -> list[str]:
    lead = f"  {label + ':':<14} "
    return textwrap.wrap(" ".join(text.split()), 80, initial_indent=lead, subsequent_indent=" " * 17)
