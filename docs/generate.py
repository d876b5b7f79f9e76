"""Makes the pages of the site that nobody writes: waits, known bugs, their indexes, resolvers, the manual page.

Text from rules is data, never Markdown: it goes through :func:`text`, :func:`code` or :func:`linked`.
"""

from __future__ import annotations

import inspect
import re
import shutil
import subprocess
import textwrap
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
MAN = Path("docs/man/hangdiag.1")

_NORMAL = {"normal": "normal", "transient": "normal if short", "suspicious": "never normal"}
_NOT_KNOWN = "not recorded"
#: ASCII that Markdown or HTML may take for something else.
_SPECIAL = re.compile(r"[!-~](?<![A-Za-z0-9,;?/%='\"])")
_URL = re.compile(r"https?://[^\s<>\"'`]+[^\s<>\"'`.,;:)]")


def text(value: str) -> str:
    """``value`` so that neither Markdown nor HTML sees anything in it but text; on one line."""
    return _SPECIAL.sub(lambda found: f"&#{ord(found.group())};", re.sub(r"\s+", " ", value))


def code(value: str) -> str:
    """``value`` in the font of code; a line may break behind each ``|`` of a stack pattern."""
    return f"<code>{text(value)}</code>".replace("&#124;", "&#124;<wbr>")


def linked(value: str) -> str:
    """``value`` as text, its addresses as links."""
    made, end = "", 0
    for found in _URL.finditer(value):
        address = text(found.group())
        label = address.replace("/", "/<wbr>")
        made += f'{text(value[end : found.start()])}<a href="{address}">{label}</a>'
        end = found.end()
    return (made + text(value[end:])).strip()


def fenced(value: str, language: str = "text") -> str:
    """``value`` as a block of code, whatever is in it."""
    runs = re.findall(r"~+", value)
    fence = "~" * max(3, 1 + max(map(len, runs), default=0))
    return f"{fence}{language}\n{value.rstrip()}\n{fence}\n"


def slug(value: str) -> str:
    """``value`` as part of an address."""
    return re.sub(r"[^a-z0-9]+", "-", value.lower()).strip("-")


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table of cells that are Markdown already."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join("| " + " | ".join(cells) + " |\n" for cells in lines)


def _paragraphs(value: str) -> str:
    return "\n\n".join(linked(part) for part in re.split(r"\n\s*\n", value.strip()))


def docstring(value: str, one_line: bool = False) -> str:
    """A docstring as Markdown: its ``code`` and :func:`references` as code, the rest as text."""
    made = []
    for part in re.split(r"\n\s*\n", value.strip()):
        if part.startswith("    ") and not one_line:
            made.append(fenced(textwrap.dedent(part), "python"))
            continue
        pieces = re.split(r"(``[^`]+``|:\w+:`[^`]+`|`[^`]+`)", part)
        made.append("".join(_inline(piece) for piece in pieces))
    return (" " if one_line else "\n\n").join(made)


def _inline(piece: str) -> str:
    role = re.fullmatch(r":\w+:`~?([^`]+)`", piece)
    if role is not None:
        name = role.group(1)
        return code(name.rpartition(".")[2] if "~" in piece else name)
    if len(piece) > 2 and piece.startswith("`"):
        return code(piece.strip("`"))
    return text(piece)


@cache
def knowledge() -> Any:
    """The shipped rules, with their examples."""
    from hangdiag.knowledge import load_knowledge

    return load_knowledge(compiled=False)


@cache
def pages() -> dict[str, str]:
    """All generated pages: path below docs/, Markdown. The order is the navigation's."""
    known = knowledge()
    waits = _by_subsystem(known.waits)
    bugs = _by_subsystem(known.bugs)
    made = {
        "reference/waits/index.md": _wait_index(waits),
        "reference/waits/by-wmesg.md": _by_wmesg(known.waits),
        "reference/waits/by-function.md": _by_function(known.waits, known.words),
    }
    for subsystem, rules in waits.items():
        made[wait_page(subsystem)] = _page(f"Waits: {subsystem}", map(_wait, rules))
    made["reference/bugs/index.md"] = _bug_index(bugs)
    for subsystem, rules in bugs.items():
        made[bug_page(subsystem)] = _page(f"Known bugs: {subsystem}", map(_bug, rules))
    made["reference/resolvers.md"] = _resolvers(known.waits)
    made["reference/hangdiag.1.md"] = _man()
    return made


def wait_page(subsystem: str) -> str:
    """Where the waits of ``subsystem`` are."""
    return f"reference/waits/{slug(subsystem)}.md"


def bug_page(subsystem: str | None) -> str:
    """Where the known bugs of ``subsystem`` are."""
    return f"reference/bugs/{slug(subsystem or 'other')}.md"


def _by_subsystem(rules: Iterable[Any]) -> dict[str, list[Any]]:
    groups: dict[str, list[Any]] = defaultdict(list)
    for rule in rules:
        groups[rule.subsystem or "other"].append(rule)
    return {name: sorted(groups[name], key=lambda rule: rule.id) for name in sorted(groups)}


def _page(title: str, parts: Iterable[str]) -> str:
    return f"# {text(title)}\n\n" + "\n".join(parts)


def _title_of_page(subsystem: str, page: str) -> str:
    return f"[{text(subsystem)}]({Path(page).name})"


def _link(rule: Any, folder: str = "") -> str:
    page = Path(wait_page(rule.subsystem) if hasattr(rule, "wmesg") else bug_page(rule.subsystem)).name
    return f"[{text(rule.title)}]({folder}{page}#{rule.id})"


def _wait_index(waits: Mapping[str, list[Any]]) -> str:
    total = sum(map(len, waits.values()))
    rows = [
        (
            _title_of_page(subsystem, wait_page(subsystem)),
            str(len(rules)),
            ", ".join(code(name) for name in _first_messages(rules)),
        )
        for subsystem, rules in waits.items()
    ]
    return (
        f"# What FreeBSD waits for\n\n{total} waits are known. Each says how it is recognised, what is waited for, who "
        "ends it, and how that was checked. Look one up by its [wait message](by-wmesg.md) or by a "
        "[function on the stack](by-function.md); `hangdiag explain WMESG` prints the same.\n\n"
        f"{table(('subsystem', 'waits', 'wait messages, for example'), rows)}\n"
        'The text "not recorded" means that the rule does not say it. A fact that was not read in a source says so '
        'under "verified". How a rule is written: [Writing rules](../../writing-rules.md).\n'
    )


def _first_messages(rules: Iterable[Any]) -> list[str]:
    return list(dict.fromkeys(message for rule in rules for message in rule.wmesg))[:6]


def _by_wmesg(rules: Iterable[Any]) -> str:
    of_message: dict[str, list[Any]] = defaultdict(list)
    for rule in rules:
        for message in rule.wmesg:
            of_message[message].append(rule)
    rows = [
        (code(message), _link(rule), code(rule.kind), _judged(rule))
        for message in sorted(of_message, key=lambda name: (name.lower(), name))
        for rule in sorted(of_message[message], key=lambda rule: (len(rule.wmesg), rule.id))
    ]
    return (
        "# Waits by wait message\n\nThe wait message (wmesg) is what `ps -axHl` prints as MWCHAN, `top` as STATE, and ddb's "
        "`ps` as wmesg. Some tools cut it to six or eight characters. One message may have several rules: then the stack "
        f"decides.\n\n{table(('wmesg', 'wait', 'kind', 'is it normal'), rows)}"
    )


def functions_of(rule: Any) -> set[str]:
    """The functions that the stack patterns of ``rule`` name."""
    from hangdiag.knowledge.pattern import parse_pattern

    return {name for pattern in rule.stack for names in parse_pattern(pattern).tokens() for name in names}


def _by_function(rules: Iterable[Any], words: Any) -> str:
    common = words.switch | words.queue | words.primitives
    of_function: dict[str, list[Any]] = defaultdict(list)
    for rule in rules:
        for name in functions_of(rule) - common:
            of_function[name].append(rule)
    rows = [
        (code(name), "<br>".join(_link(rule) for rule in sorted(of_function[name], key=lambda rule: rule.id)))
        for name in sorted(of_function, key=lambda name: (name.lstrip("_").lower(), name))
    ]
    return (
        "# Waits by function\n\nFunctions by which a wait is recognised. Those that any sleeping thread shows are left "
        f"out: context switch ({', '.join(map(code, sorted(words.switch)))}), sleep queues and turnstiles, and the "
        f"primitives ({', '.join(map(code, sorted(words.primitives)))}).\n\n{table(('function', 'wait'), rows)}"
    )


def _judged(rule: Any) -> str:
    if rule.idle:
        return "normal (idle)"
    return _NORMAL.get(rule.normal or "", text(rule.normal or _NOT_KNOWN))


def _section(rule: Any, rows: Iterable[tuple[str, str]], above: str = "") -> str:
    return f"## {text(rule.title)} {{#{rule.id}}}\n\n{above}{table(('id', code(rule.id)), rows)}"


def _lines(values: Iterable[str], form: Callable[[str], str]) -> str:
    return "<br>".join(map(form, values)) or _NOT_KNOWN


def _wait(rule: Any) -> str:
    patterns = [
        f"{what} {', '.join(map(code, values))}"
        for what, values in (("command", rule.command), ("thread name", rule.name), ("state", rule.state))
        if values
    ]
    kind = code(rule.kind) + "".join(f" or {code(other)}" for other in rule.alternatives)
    end = {True: "ends it", False: "does not end it", None: _NOT_KNOWN}[rule.interruptible]
    rows = [
        ("kind", kind),
        (
            "wmesg",
            ", ".join(map(code, rule.wmesg)) + ("" if rule.wmesg_alone else " (only with the stack)")
            or "none",
        ),
        ("stack", _lines(rule.stack, code) if rule.stack else "any"),
        ("threads", "; ".join(patterns)),
        ("for example", _example(rule)),
        ("waits for", _said(rule.waits_for)),
        ("ended by", _said(rule.ended_by)),
        ("who must act", _holders(rule)),
        ("is it normal", _judged(rule)),
        ("a signal", end),
        ("timeout", _said(rule.timeout, "")),
        ("locks held", _said(rule.locks_held, "")),
        ("lock class", _said(rule.lock_class, "")),
        ("path (via)", _said(rule.via, "")),
        ("look next at", _said(rule.look_next, "")),
        ("note", _said(rule.explain, "")),
        ("releases", _said(rule.releases, "all that are known")),
        ("architectures", ", ".join(map(text, rule.architectures)) or "all"),
        ("references", _lines(rule.references, linked)),
        ("verified", _said(rule.verified)),
    ]
    return _section(rule, [row for row in rows if row[1]])


def _example(rule: Any) -> str:
    """The first stack that the rule must recognise, as procstat prints it."""
    return next((code(" ".join(example.stack)) for example in rule.example if example.stack), "")


def _said(value: str | None, missing: str = _NOT_KNOWN) -> str:
    return linked(value) if value else missing


def _holders(rule: Any) -> str:
    from hangdiag.holders import RESOLVERS

    if rule.holders is None:
        return "" if rule.kind != "lock" else "[the owner of the lock](../resolvers.md#lock)"
    if rule.holders not in RESOLVERS:
        return f"the chain ends here ({text(rule.holders)})"
    return (
        f"{rule.mode} of the threads that [{text(rule.holders)}](../resolvers.md#{slug(rule.holders)}) finds"
    )


def _bug_index(bugs: Mapping[str, list[Any]]) -> str:
    rows = [
        (_link(rule), text(subsystem), _said(rule.releases, "not known"), _fixed(rule))
        for subsystem, rules in bugs.items()
        for rule in rules
    ]
    return (
        f"# Known bugs\n\n{len(rows)} hangs and deadlocks whose cause is known. A finding is compared with each signature: "
        "verdict, kinds of wait, and stacks. Whether your release has the fix is told only as far as a source "
        f"proves it.\n\n{table(('bug', 'subsystem', 'releases', 'fixed in'), rows)}"
    )


def _fixed(rule: Any) -> str:
    releases = list(dict.fromkeys(release for fix in rule.fix for release in fix.releases))
    if releases:
        return text(", ".join(releases))
    return "first release not known" if rule.fix else "no fix is known"


def _bug(rule: Any) -> str:
    rows = [
        ("releases", _said(rule.releases, "not known")),
        ("affected", _said(rule.affected, "")),
        ("fixed in", _fixed(rule)),
        ("verdict", ", ".join(map(code, rule.signature.verdicts)) or "any"),
        ("threads", _lines(rule.signature.thread, _signature_thread)),
        ("references", _lines(rule.references, linked)),
        ("verified", _said(rule.verified)),
    ]
    rows = [row for row in rows if row[1]]
    told = f"{_paragraphs(rule.explanation or _NOT_KNOWN)}\n\n**Workaround.** {_said(rule.workaround)}\n\n"
    if rule.fix:
        told += "**Fix**\n\n" + "".join(map(_fix, rule.fix)) + "\n"
    return _section(rule, rows, told)


def _fix(fix: Any) -> str:
    parts = [code(fix.commit) if fix.commit else "commit not known"]
    parts.append(text(fix.branch) if fix.branch else "branch not known")
    if fix.title:
        parts.append(text(fix.title))
    parts.append("first in " + text(", ".join(fix.releases)) if fix.releases else "first release not known")
    if fix.osreldate:
        parts.append(f"in kernels with &#95;&#95;FreeBSD&#95;version {fix.osreldate}")
    if fix.verified:
        parts.append("verified: " + linked(fix.verified))
    return f"- {'; '.join(parts)}\n"


def _signature_thread(wanted: Any) -> str:
    """A thread of a signature in words."""
    role = {
        "core": "in the finding",
        "stuck": "in the finding or stuck behind it",
        "any": "anywhere in the capture",
    }
    parts = [f"{wanted.count if wanted.count > 1 else 'one'} {role[wanted.role]}"]
    for label, value in (("kind", wanted.kind), ("rule", wanted.rule), ("via", wanted.via)):
        if value:
            parts.append(f"{label} {code(value)}")
    for label, values in (
        ("wmesg", wanted.wmesg),
        ("stack", wanted.stack),
        ("without", wanted.without),
        ("command", wanted.command),
        ("name", wanted.name),
    ):
        if values:
            parts.append(f"{label} {' or '.join(map(code, values))}")
    return "; ".join(parts)


def _resolvers(rules: Iterable[Any]) -> str:
    from hangdiag.holders import RESOLVERS

    users: dict[str, int] = defaultdict(int)
    for rule in rules:
        users[rule.holders or ("lock" if rule.kind == "lock" else "")] += 1
    parts = [
        "# Who must act\n\nA rule names a resolver in `holders`. The resolver finds, in a capture, the threads that must act "
        "before the wait can end. A name without a resolver says where the chain ends: in hardware, memory or the network.\n"
    ]
    for name, function in RESOLVERS.items():
        parts.append(
            f"## {text(name)} {{#{slug(name)}}}\n\n{docstring(inspect.getdoc(function) or '')}\n\n"
            f"Rules that name it: {users[name]}. In {code(f'{function.__module__}.{function.__name__}')}.\n"
        )
    ends = [
        f"{code(name)} ({count})" for name, count in sorted(users.items()) if name and name not in RESOLVERS
    ]
    if ends:
        parts.append(
            f"## Where a chain ends\n\nNames without a resolver, and how many rules have them: {', '.join(ends)}.\n"
        )
    return "\n".join(parts)


def _man() -> str:
    """The manual page as mandoc prints it; where there is no mandoc, its source."""
    source = (ROOT / MAN).read_text(encoding="utf-8")
    shown = source
    program = shutil.which("mandoc")
    if program is not None:
        done = subprocess.run(
            [program, "-T", "utf8", "-O", "width=78", str(ROOT / MAN)],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        if done.returncode < 3 and done.stdout:
            shown = re.sub(r".\x08", "", done.stdout)
    return f"# hangdiag(1)\n\nThe manual page in mdoc(7): [hangdiag.1](../man/hangdiag.1).\n\n{fenced(shown)}"
