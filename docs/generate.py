"""Makes the pages that are not written by hand: from rules/, docstrings, the JSON schema and the program's output.

:func:`pages` returns whole pages (the waits, the known bugs, their indexes). :func:`expand` replaces the fenced
blocks of a written page that begin with one of these words:

    run COMMAND     what the command prints; below it `= TEXT` picks a line of that and explains it
    python run      the program and what it prints
    schema PATH     the fields of an object of the JSON output, each with its explanation
    api             one documented name a line

All of it fails with :class:`Stale` where a page no longer fits the program. Text from rules is data, never Markdown.
"""

from __future__ import annotations

import dataclasses
import html
import importlib
import inspect
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import textwrap
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
SCHEMA = Path("docs/schema/hangdiag-1.schema.json")
MAN = Path("docs/man/hangdiag.1")

_NORMAL = {"normal": "normal", "transient": "normal if short", "suspicious": "never normal"}
_NOT_KNOWN = "not recorded"
#: ASCII that Markdown or HTML may take for something else.
_SPECIAL = re.compile(r"[!-~](?<![A-Za-z0-9,;?/%='\"])")
_URL = re.compile(r"https?://[^\s<>\"'`]+[^\s<>\"'`.,;:)]")
_DIRECTIVE = re.compile(r"^```(run|python run|schema|api)\b ?([^\n]*)\n(.*?)^```$", re.M | re.S)


class Stale(Exception):
    """A page says something that the program, the schema or the rules do not."""


# Text that is safe in Markdown


def text(value: str) -> str:
    """``value`` so that neither Markdown nor HTML sees anything in it but text; on one line."""
    return _SPECIAL.sub(lambda found: f"&#{ord(found.group())};", re.sub(r"\s+", " ", value))


def code(value: str) -> str:
    """``value`` in the font of code."""
    return f"<code>{text(value)}</code>"


def linked(value: str) -> str:
    """``value`` as text, its addresses as links."""
    made, end = "", 0
    for found in _URL.finditer(value):
        address = found.group()
        made += text(value[end : found.start()]) + f'<a href="{html.escape(address)}">{text(address)}</a>'
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


# Waits and known bugs


@cache
def knowledge() -> Any:
    """The shipped rules, with their examples."""
    from hangdiag.knowledge import load_knowledge

    return load_knowledge(compiled=False)


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
        return "normal: nothing to do"
    return _NORMAL.get(rule.normal or "", text(rule.normal or _NOT_KNOWN))


def _section(rule: Any, rows: Iterable[tuple[str, str]], below: str = "") -> str:
    return f"## {text(rule.title)} {{#{rule.id}}}\n\n{table(('id', code(rule.id)), rows)}\n{below}"


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
        ("wmesg", ", ".join(map(code, rule.wmesg)) + ("" if rule.wmesg_alone else " (only with the stack)") or "none"),
        ("stack", _lines(rule.stack, code) if rule.stack else "any"),
        ("threads", "; ".join(patterns)),
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


def _said(value: str | None, missing: str = _NOT_KNOWN) -> str:
    return linked(value) if value else missing


def _holders(rule: Any) -> str:
    from hangdiag.holders import RESOLVERS

    if rule.holders is None:
        return "" if rule.kind != "lock" else "[the owner of the lock](../resolvers.md#lock)"
    if rule.holders not in RESOLVERS:
        return f"nobody whom a capture could name ({text(rule.holders)})"
    return f"{rule.mode} of [{text(rule.holders)}](../resolvers.md#{slug(rule.holders)})"


def _bug_index(bugs: Mapping[str, list[Any]]) -> str:
    rows = [
        (_link(rule), text(subsystem), _said(rule.releases), _fixed(rule))
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
        ("releases", _said(rule.releases)),
        ("affected", _said(rule.affected)),
        ("fixed in", _fixed(rule)),
        ("verdict", ", ".join(map(code, rule.signature.verdicts)) or "any"),
        ("threads", _lines(rule.signature.thread, _signature_thread)),
        ("references", _lines(rule.references, linked)),
        ("verified", _said(rule.verified)),
    ]
    below = f"{_paragraphs(rule.explanation or _NOT_KNOWN)}\n\n**Workaround.** {_said(rule.workaround)}\n\n"
    if rule.fix:
        below += "**Fix**\n\n" + "".join(map(_fix, rule.fix)) + "\n"
    return _section(rule, rows, below)


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
    role = {"core": "in the finding", "stuck": "in the finding or stuck behind it", "any": "anywhere in the capture"}
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
            f"## {text(name)} {{#{slug(name)}}}\n\n{_docstring(inspect.getdoc(function) or '')}\n\n"
            f"{users[name]} rules; {code(f'{function.__module__}.{function.__name__}')}\n"
        )
    return "\n".join(parts)


def _man() -> str:
    """The manual page as mandoc prints it; where there is no mandoc, its source."""
    source = (ROOT / MAN).read_text(encoding="utf-8")
    shown = source
    program = shutil.which("mandoc")
    if program is not None:
        done = subprocess.run(
            [program, "-T", "utf8", "-O", "width=78", str(ROOT / MAN)], capture_output=True, text=True, timeout=30, check=False
        )
        if done.returncode < 3 and done.stdout:
            shown = re.sub(r".\x08", "", done.stdout)
    return f"# hangdiag(1)\n\nThe manual page in mdoc(7): [hangdiag.1](../man/hangdiag.1).\n\n{fenced(shown)}"


def forget() -> None:
    """Read rules, schema and outputs anew: ``mkdocs serve`` builds more than once."""
    knowledge.cache_clear()
    schema.cache_clear()
    output.cache_clear()


# Blocks of written pages


def expand(markdown: str, place: str) -> str:
    """The page with its blocks replaced; raises :class:`Stale` with ``place`` and line."""

    def replace(found: re.Match[str]) -> str:
        line = markdown.count("\n", 0, found.start()) + 1
        try:
            return _BLOCKS[found.group(1)](found.group(2).strip(), found.group(3))
        except Stale as error:
            raise Stale(f"{place}:{line}: {error}") from None

    return _DIRECTIVE.sub(replace, markdown)


@cache
def output(command: str) -> str:
    """What ``command`` (hangdiag and its arguments) prints, 80 columns wide."""
    words = shlex.split(command)
    if words[:1] != ["hangdiag"]:
        raise Stale(f"{command!r} does not run hangdiag")
    return _run([sys.executable, "-m", "hangdiag", *words[1:]], command)


def _run(arguments: list[str], name: str) -> str:
    environment = {**os.environ, "COLUMNS": "80", "NO_COLOR": "1", "PYTHONUTF8": "1"}
    done = subprocess.run(
        arguments, cwd=ROOT, env=environment, capture_output=True, encoding="utf-8", stdin=subprocess.DEVNULL, timeout=60, check=False
    )
    if done.returncode != 0:
        raise Stale(f"{name} failed with {done.returncode}: {(done.stderr.strip().splitlines() or ['no message'])[-1]}")
    return done.stdout


def _run_block(command: str, body: str) -> str:
    shown = output(command)
    lines = shown.splitlines()
    made = [fenced(f"$ {command}\n\n{shown}")]
    for part in re.split(r"^= ", body, flags=re.M)[1:]:
        key, _, explained = part.partition("\n")
        first, _, last = key.partition(" ... ")
        start = _line_with(first.strip(), lines, 0, command)
        end = _line_with(last.strip(), lines, start, command) if last else start
        made += [fenced(textwrap.dedent("\n".join(lines[start : end + 1]))), explained.strip() + "\n"]
    return "\n".join(made)


def _line_with(words: str, lines: Sequence[str], start: int, command: str) -> int:
    for number in range(start, len(lines)):
        if words in lines[number]:
            return number
    raise Stale(f"{command!r} prints no line with {words!r} any more; correct the explanation")


def _python_block(_: str, body: str) -> str:
    shown = _run([sys.executable, "-c", body], "the example")
    return f"{fenced(body, 'python')}\nprints\n\n{fenced(shown)}"


# The JSON schema


@cache
def schema() -> Any:
    """The published JSON schema."""
    return json.loads((ROOT / SCHEMA).read_text(encoding="utf-8"))


def schema_objects() -> dict[str, Any]:
    """All objects with fields of their own in the schema, by path: "", "threads[]", "threads[].wait", ..."""
    found: dict[str, Any] = {}

    def visit(part: Any, path: str) -> None:
        for option in part.get("anyOf", ()):
            visit(option, path)
        if "items" in part:
            visit(part["items"], path + "[]")
        if "properties" in part:
            found[path] = part
            for name, inner in part["properties"].items():
                visit(inner, f"{path}.{name}" if path else name)

    visit(schema(), "")
    return found


def _schema_block(paths: str, body: str) -> str:
    objects = schema_objects()
    said = {
        name.strip(): words.strip()
        for name, _, words in (line.partition(":") for line in body.splitlines() if line.strip())
    }
    rows: list[tuple[str, ...]] = []
    for path in paths.split() or [""]:
        path = "" if path == "." else path
        if path not in objects:
            raise Stale(f"{SCHEMA} has no object {path!r}")
        part = objects[path]
        for name in part["properties"]:
            if name not in said:
                raise Stale(f"{SCHEMA} has a field {name!r} of {path or 'the top'} without an explanation; add '{name}: ...'")
        if gone := [name for name in said if name not in part["properties"]]:
            raise Stale(f"{SCHEMA} has no field {gone[0]!r} of {path or 'the top'}")
        rows = [
            (
                code(name),
                _type(part["properties"][name]) + ("" if name in part.get("required", ()) else " (not always there)"),
                said[name],
            )
            for name in part["properties"]
        ]
    return table(("field", "type", "what it is"), rows)


def _type(part: Any) -> str:
    """The type of a field in words."""
    if "anyOf" in part:
        return " or ".join(map(_type, part["anyOf"]))
    if "const" in part:
        return code(json.dumps(part["const"]))
    if "enum" in part:
        return "one of " + ", ".join("null" if value is None else code(str(value)) for value in part["enum"])
    kinds = part.get("type", "any")
    kinds = [kinds] if isinstance(kinds, str) else kinds
    ids = {"^t[0-9]+$": "id of a thread", "^r[0-9]+$": "id of a resource", "^0x[0-9a-f]+$": "hex string"}
    words = [ids.get(part.get("pattern", ""), kind) if kind == "string" else kind for kind in kinds]
    if part.get("items"):
        words[0] += f" of {_type(part['items'])}"
    elif isinstance(part.get("additionalProperties"), dict):
        words[0] += f" of {_type(part['additionalProperties'])} by name"
    return " or ".join(words)


# The library


def _api_block(_: str, body: str) -> str:
    return "\n".join(_document(name) for name in body.split())


def find(name: str) -> Any:
    """The object that a dotted name means."""
    module, _, last = name.rpartition(".")
    try:
        return getattr(importlib.import_module(module), last)
    except (ImportError, AttributeError, ValueError):
        raise Stale(f"the library has no {name}") from None


def _document(name: str) -> str:
    value = find(name)
    head = f"### {text(name)} {{#{slug(name)}}}\n"
    described = _docstring(inspect.getdoc(value) or "")
    if not described:
        raise Stale(f"{name} has no docstring")
    if not inspect.isclass(value):
        return f"{head}\n{fenced(f'{value.__name__}{_signature(value)}', 'python')}\n{described}\n"
    parts = [head, described + "\n"]
    fields = _fields(value)
    if fields:
        parts.append(table(("field", "type", "default"), fields))
    members = [
        f"- {code(label)}: {_docstring(inspect.getdoc(member) or '', one_line=True)}"
        for label, member in _members(value)
    ]
    if members:
        parts.append("\n".join(members) + "\n")
    return "\n".join(parts)


def _signature(function: Any) -> str:
    return str(inspect.signature(function)).replace("'", "")


def _fields(value: type) -> list[tuple[str, ...]]:
    if dataclasses.is_dataclass(value):
        return [
            (
                code(field.name),
                code(str(field.type)),
                "" if field.default is dataclasses.MISSING else code(repr(field.default).replace("frozenset()", "empty set")),
            )
            for field in dataclasses.fields(value)
        ]
    if issubclass(value, tuple):
        hints = inspect.get_annotations(value)
        return [(code(name), code(getattr(kind, "__forward_arg__", str(kind))), "") for name, kind in hints.items()]
    return []


def _members(value: type) -> list[tuple[str, Any]]:
    """Public properties and methods of its own that have a docstring."""
    found = []
    for name, member in vars(value).items():
        if name.startswith("_") or not inspect.getdoc(member):
            continue
        if isinstance(member, property):
            found.append((name, member))
        elif inspect.isfunction(member):
            found.append((f"{name}{_signature(member)}", member))
    return found


def _docstring(value: str, one_line: bool = False) -> str:
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


_BLOCKS: dict[str, Callable[[str, str], str]] = {
    "run": _run_block,
    "python run": _python_block,
    "schema": _schema_block,
    "api": _api_block,
}
