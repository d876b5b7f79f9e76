"""Fills in what a written page leaves to the program, so that it cannot go stale.

A fenced block of a page is replaced when it begins with one of these words:

    run COMMAND     what the command prints; below it `= TEXT` picks a line of that (`= FIRST ... LAST` several)
                    and explains it
    python run      the program and what it prints
    schema PATH     the fields of an object of the JSON output, each with its explanation
    api             one documented name a line

It fails with :class:`Stale` where the page says what the program does not.
"""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import json
import os
import re
import shlex
import subprocess
import sys
import textwrap
from collections.abc import Callable, Sequence
from contextlib import chdir
from functools import cache
from pathlib import Path
from typing import Any

from generate import ROOT, code, docstring, fenced, slug, table, text

from hangdiag.cli.app import make_app

sys.path.insert(0, str(ROOT))

from tests.commandline import hangdiag as run_hangdiag

SCHEMA = Path("docs/schema/hangdiag-1.schema.json")

_OUTSIDE = re.compile(r"\[([^\]\n]+)\]\(\.\./([\w./-]+)(?:#[\w-]*)?\)")
_DIRECTIVE = re.compile(r"^```(run|python run|schema|api)\b ?([^\n]*)\n(.*?)^```$", re.M | re.S)


class Stale(Exception):
    """A page says something that the program, the schema or the rules do not."""


def expand(markdown: str, place: str) -> str:
    """The page as the site shows it; raises :class:`Stale` with ``place`` and line.

    Its blocks are replaced. A link to a file of the repository that the site does not have becomes the file's name.
    """

    def replace(found: re.Match[str]) -> str:
        line = markdown.count("\n", 0, found.start()) + 1
        try:
            return _BLOCKS[found.group(1)](found.group(2).strip(), found.group(3))
        except Stale as error:
            raise Stale(f"{place}:{line}: {error}") from None

    return _DIRECTIVE.sub(replace, _OUTSIDE.sub(_name_file, markdown))


def _name_file(link: re.Match[str]) -> str:
    label, name = link.groups()
    if not (ROOT / name).exists():
        return link.group()
    return label if name in label else f"{label} (`{name}`)"


@cache
def output(command: str) -> str:
    """What ``command`` (hangdiag and its arguments) prints, 80 columns wide."""
    words = shlex.split(command)
    if words[:1] != ["hangdiag"]:
        raise Stale(f"{command!r} does not run hangdiag")
    make_app()  # imports what all commands need, once
    with chdir(ROOT):
        return _printed(command, *run_hangdiag(*words[1:], COLUMNS="80", NO_COLOR="1"))


def _printed(name: str, code: int, shown: str, errors: str) -> str:
    if code != 0:
        raise Stale(f"{name} failed with {code}: {(errors.strip().splitlines() or ['no message'])[-1]}")
    return shown


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
    done = subprocess.run(
        [sys.executable, "-c", body], cwd=ROOT, env={**os.environ, "PYTHONUTF8": "1"},
        capture_output=True, encoding="utf-8", stdin=subprocess.DEVNULL, timeout=60, check=False,
    )  # fmt: skip
    shown = _printed("the example", done.returncode, done.stdout, done.stderr)
    return f"{fenced(body, 'python')}\nprints\n\n{fenced(shown)}"


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
                raise Stale(
                    f"{SCHEMA} has a field {name!r} of {path or 'the top'} without an explanation; add '{name}: ...'"
                )
        if gone := [name for name in said if name not in part["properties"]]:
            raise Stale(f"{SCHEMA} has no field {gone[0]!r} of {path or 'the top'}")
        rows = [
            (
                code(name),
                _type(part["properties"][name])
                + ("" if name in part.get("required", ()) else " (may be missing)"),
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
    described = docstring(inspect.getdoc(value) or "")
    if not described:
        raise Stale(f"{name} has no docstring")
    if not inspect.isclass(value):
        return f"{head}\n{fenced(f'{value.__name__}{_signature(value)}', 'python')}\n{described}\n"
    parts = [head, described + "\n"]
    fields = _fields(value)
    if fields:
        parts.append(table(("field", "type", "default"), fields))
    members = [
        f"- {code(label)}: {docstring(inspect.getdoc(member) or '', one_line=True)}"
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
                ""
                if field.default is dataclasses.MISSING
                else code(repr(field.default).replace("frozenset()", "empty set")),
            )
            for field in dataclasses.fields(value)
        ]
    if issubclass(value, tuple):
        hints = inspect.get_annotations(value)
        return [
            (code(name), code(getattr(kind, "__forward_arg__", str(kind))), "")
            for name, kind in hints.items()
        ]
    return []


def _members(value: type) -> list[tuple[str, Any]]:
    """Public properties and methods of its own that have a docstring."""
    found: list[tuple[str, Any]] = []
    for name, member in vars(value).items():
        if name.startswith("_") or not inspect.getdoc(member):
            continue
        if isinstance(member, property):
            found.append((name, member))
        elif inspect.isfunction(member):
            found.append((f"{name}{_signature(member)}", member))
    return found


_BLOCKS: dict[str, Callable[[str, str], str]] = {
    "run": _run_block,
    "python run": _python_block,
    "schema": _schema_block,
    "api": _api_block,
}
