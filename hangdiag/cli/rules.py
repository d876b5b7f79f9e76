"""``hangdiag rules``: list, show and check what is known about FreeBSD."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Annotated, Optional

import typer

from hangdiag.errors import RuleError, UsageError

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="List, show and check the rules.")

_Folders = Annotated[
    Optional[list[Path]], typer.Option("--rules", help="A folder of further rules.", metavar="DIR")
]


@app.command("list")
def list_rules(
    wmesg: Annotated[Optional[str], typer.Option(help="Only waits with this wait message.")] = None,
    kind: Annotated[Optional[str], typer.Option(help="Only waits of this kind.")] = None,
    bugs: Annotated[bool, typer.Option("--bugs", help="Known bugs instead of waits.")] = False,
    rules: _Folders = None,
) -> None:
    """One line a rule."""
    from hangdiag.cli import common
    from hangdiag.knowledge import load_knowledge

    knowledge = load_knowledge(rules or [])
    if bugs:
        lines = [f"{bug.id:<40} {bug.title}" for bug in sorted(knowledge.bugs, key=lambda bug: bug.id)]
    else:
        lines = [
            f"{rule.id:<32} {rule.kind:<13} {rule.title}"
            for rule in sorted(knowledge.waits, key=lambda rule: (rule.subsystem, rule.id))
            if (wmesg is None or wmesg in rule.wmesg) and (kind is None or kind == rule.kind)
        ]
    common.write("".join(line + "\n" for line in lines))


@app.command("show")
def show_rule(
    name: Annotated[str, typer.Argument(metavar="ID", help="A rule's id, as `rules list` prints it.")],
    rules: _Folders = None,
) -> None:
    """Everything that a rule says."""
    from dataclasses import fields

    from hangdiag.cli import common
    from hangdiag.knowledge import BugRule, WaitRule, load_knowledge

    knowledge = load_knowledge(rules or [], compiled=False)
    every: list[WaitRule | BugRule] = [*knowledge.waits, *knowledge.bugs]
    found = [rule for rule in every if rule.id == name]
    if not found:
        raise UsageError(f"no rule {name!r}; hangdiag rules list names them")
    rule = found[0]
    lines = [rule.id]
    for field in fields(rule):
        value = getattr(rule, field.name)
        if field.name in ("id", "example", "signature") or value in (None, (), ""):
            continue
        lines += _field(field.name.replace("_", " "), value)
    common.write("".join(line + "\n" for line in lines))


def _field(name: str, value: object) -> list[str]:
    if isinstance(value, tuple):
        texts = [_item(item) for item in value]
    else:
        texts = ["yes" if value is True else "no" if value is False else str(value)]
    lines = []
    for number, text in enumerate(texts):
        lead = f"  {name + ':' if number == 0 else '':<15} "
        lines += textwrap.wrap(
            " ".join(text.split()), 80, initial_indent=lead, subsequent_indent=" " * 18
        ) or [lead]
    return lines


def _item(item: object) -> str:
    commit = getattr(item, "commit", None)
    if commit is None and not hasattr(item, "releases"):
        return str(item)
    branch = getattr(item, "branch", None) or "branch not known"
    releases = ", ".join(getattr(item, "releases", ())) or "not known"
    return f"{commit or 'commit not known'} ({branch}); releases: {releases}"


@app.command("check")
def check_rules(
    folder: Annotated[
        Optional[Path], typer.Argument(metavar="DIR", help="A folder of rules of your own.")
    ] = None,
    strict: Annotated[bool, typer.Option(help="Count advice as a problem.")] = False,
) -> None:
    """Validate the rules and run their own examples."""
    from hangdiag.cli import common
    from hangdiag.knowledge import load_knowledge
    from hangdiag.knowledge.check import check_knowledge

    knowledge = load_knowledge([folder] if folder is not None else [], compiled=False)
    problems = check_knowledge(knowledge)
    grave = [problem for problem in problems if problem.grave or strict]
    common.write("".join(f"{problem}\n" for problem in problems if problem in grave))
    examples = sum(len(rule.example) for rule in knowledge.waits) + sum(
        len(bug.example) for bug in knowledge.bugs
    )
    advice = len(problems) - len(grave)
    common.write(
        f"{len(knowledge.waits)} waits, {len(knowledge.bugs)} known bugs, {examples} examples: "
        f"{len(grave)} problem{'' if len(grave) == 1 else 's'}"
        + (f", {advice} pieces of advice (--strict shows them)" if advice else "")
        + "\n"
    )
    if grave:
        raise RuleError(f"{grave[0]}; {len(grave)} in all")
