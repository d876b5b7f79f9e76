"""Reads rules/ (TOML) into values, and says exactly what is wrong with a file.

The shipped rules are also kept as one JSON file, made when the package is built: it loads twenty
times as fast. It is used only while the TOML files are those that it was made of. Nothing is
ever written when hangdiag runs: on a hung host a write may hang as well.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import MISSING, Field, fields, is_dataclass
from functools import cache
from pathlib import Path
from types import UnionType
from typing import TYPE_CHECKING, Any, TypeVar, get_args, get_origin, get_type_hints

from hangdiag.errors import RuleError
from hangdiag.knowledge import model
from hangdiag.knowledge.model import (
    VERDICTS,
    WAIT_KINDS,
    BugRule,
    ExampleThread,
    IoctlRule,
    Knowledge,
    StackWords,
    WaitExample,
    WaitRule,
)
from hangdiag.knowledge.pattern import PatternError, parse_pattern
from hangdiag.resources import data_file, data_folder, walk

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

FORMAT = 1
_COMPILED = "rules.json"
#: What no diagnosis reads: the examples, and the prose about waits.
_LEFT_OUT = {
    "WaitRule": frozenset(
        {
            "example", "timeout", "waits_for", "ended_by", "locks_held", "look_next", "explain", "releases",
            "architectures", "references", "verified",
        }
    ),
    "BugRule": frozenset({"example"}),
}  # fmt: skip
_Value = TypeVar("_Value")


def load_knowledge(extra: Iterable[Path] = (), compiled: bool = True) -> Knowledge:
    """The shipped rules and those in the folders ``extra``; raises :class:`RuleError`.

    A rule in a later folder replaces one of the same id. With ``compiled`` the shipped rules may come
    from the JSON file, which leaves out the examples and what waits mean in prose.
    """
    shipped = data_folder("rules")
    folders = list(extra)
    if compiled and not folders:
        knowledge = _load_compiled(shipped)
        if knowledge is not None:
            return knowledge
    texts: list[tuple[str, str]] = []
    for folder in (shipped, *folders):
        if not folder.is_dir():
            raise RuleError(f"{folder}: no folder of rules; give the folder that holds waits/ or bugs/")
        for path, file in walk(folder, ".toml"):
            name = path if folder is shipped else f"{folder}/{path}"
            try:
                texts.append((name, file.read_text(encoding="utf-8")))
            except (OSError, UnicodeDecodeError) as error:
                raise RuleError(f"{name}: cannot be read ({error}); rules are UTF-8 text") from None
    return parse_rules(texts)


def _stamp(folder: Traversable) -> tuple[dict[str, int], float]:
    """The sizes of the rule files, and when the youngest was changed (0 inside an archive)."""
    sizes: dict[str, int] = {}
    youngest = 0.0
    for path, file in walk(folder, ".toml"):
        if not isinstance(file, Path):
            return {}, 0.0
        status = file.stat()
        sizes[path] = status.st_size
        youngest = max(youngest, status.st_mtime)
    return sizes, youngest


def _load_compiled(shipped: Traversable) -> Knowledge | None:
    """The shipped rules from the JSON file, if it was made of the files that are there now."""
    compiled = data_file(_COMPILED)
    try:
        data = json.loads(compiled.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    sizes, youngest = _stamp(shipped)
    # an installed package carries both; in a checkout the rules may have been edited since
    in_checkout = isinstance(shipped, Path) and shipped.parent.name != "data"
    if sizes and sizes != data["sizes"]:
        return None
    if in_checkout and isinstance(compiled, Path) and compiled.stat().st_mtime < youngest:
        return None
    revived: Knowledge = _revive(data["knowledge"])
    return revived


def compile_rules(target: Path) -> None:
    """Write what a diagnosis needs of the shipped rules as JSON to ``target``."""
    sizes, _ = _stamp(data_folder("rules"))
    data = {"sizes": sizes, "knowledge": _plain(load_knowledge(compiled=False))}
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(data, separators=(",", ":"), ensure_ascii=False), encoding="utf-8")


def _plain(value: Any) -> Any:
    """``value`` as JSON data: a dataclass as {"": name, "rows": values in the order of its fields}."""
    if is_dataclass(value):
        left_out = _LEFT_OUT.get(type(value).__name__, frozenset())
        row = [
            _plain(field.default if field.name in left_out else getattr(value, field.name))
            for field in fields(value)
        ]
        return {"": type(value).__name__, "row": row}
    if isinstance(value, frozenset):
        return {"": "frozenset", "row": sorted(value)}
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value


def _revive(value: Any) -> Any:
    """The inverse of :func:`_plain`. It trusts its input, which the build made."""
    if type(value) is list:
        return tuple([_revive(item) for item in value]) if value else ()
    if type(value) is dict:
        if value[""] == "frozenset":
            return frozenset(value["row"])
        return getattr(model, value[""])(*[_revive(item) for item in value["row"]])
    return value


def parse_rules(texts: list[tuple[str, str]]) -> Knowledge:
    """Rules from (file name, TOML text) pairs; raises :class:`RuleError` naming file and key."""
    words: StackWords | None = None
    waits: dict[str, WaitRule] = {}
    bugs: dict[str, BugRule] = {}
    ioctls: dict[str, IoctlRule] = {}
    for name, text in texts:
        data = _toml(name, text)
        subsystem = data.pop("subsystem", None)
        for number, item in enumerate(data.pop("wait", ())):
            place = f"{name}: wait {item.get('id', number + 1)}"
            wait = _wait(place, {"subsystem": subsystem, "file": name, **item})
            waits[wait.id] = wait
        for number, item in enumerate(data.pop("bug", ())):
            place = f"{name}: bug {item.get('id', number + 1)}"
            bug = _bug(place, {"file": name, **item})
            bugs[bug.id] = bug
        for item in data.pop("ioctl", ()):
            ioctl = _build(IoctlRule, item, f"{name}: ioctl {item.get('name', '?')}")
            ioctls[ioctl.name] = ioctl
        if "switch" in data:
            words = _build(StackWords, data, name)
            data = {}
        for key in data:
            raise RuleError(f"{name}: unknown key {key!r}; a rule file holds wait, bug or ioctl tables")
    if words is None:
        raise RuleError("stack.toml: missing; it says how to read a stack")
    return Knowledge(words, tuple(waits.values()), tuple(bugs.values()), tuple(ioctls.values()))


def _toml(name: str, text: str) -> dict[str, Any]:
    import tomllib

    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise RuleError(f"{name}: {error}; correct the TOML") from None
    found = data.pop("format", None)
    if found != FORMAT:
        raise RuleError(f"{name}: format = {found!r}; this hangdiag reads format = {FORMAT}")
    return data


def _wait(place: str, data: dict[str, Any]) -> WaitRule:
    if data.get("subsystem") is None:
        raise RuleError(f"{place}: no subsystem; set it at the top of the file")
    rule = _build(WaitRule, data, place)
    _one_of(place, "kind", rule.kind, WAIT_KINDS)
    for kind in rule.alternatives:
        _one_of(place, "alternatives", kind, WAIT_KINDS)
    _one_of(place, "mode", rule.mode, ("all", "any"))
    if not (rule.wmesg or rule.stack or rule.state or rule.name or rule.command):
        raise RuleError(f"{place}: recognises nothing; give wmesg, stack, state, name or command")
    _check_patterns(place, rule.stack)
    return rule


def _bug(place: str, data: dict[str, Any]) -> BugRule:
    rule = _build(BugRule, data, place)
    for verdict in rule.signature.verdicts:
        _one_of(place, "signature.verdicts", verdict, VERDICTS)
    if not rule.signature.thread:
        raise RuleError(f"{place}: signature has no thread; it would match everything")
    for thread in rule.signature.thread:
        _one_of(place, "signature.thread.role", thread.role, ("core", "stuck", "any"))
        if thread.kind is not None:
            _one_of(place, "signature.thread.kind", thread.kind, WAIT_KINDS)
        _check_patterns(place, thread.stack + thread.without)
    return rule


def _check_patterns(place: str, patterns: tuple[str, ...]) -> None:
    for text in patterns:
        try:
            parse_pattern(text)
        except PatternError as error:
            raise RuleError(f"{place}: stack: {error}") from None


def _one_of(place: str, key: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise RuleError(f"{place}: {key} = {value!r}; it is one of {', '.join(allowed)}")


def _build(kind: type[_Value], data: Any, place: str) -> _Value:
    """Make a dataclass of TOML data, checking keys and types."""
    if not isinstance(data, dict):
        raise RuleError(f"{place}: a table is expected, not {data!r}")
    hints, known = _shape(kind)  # type: ignore[arg-type]
    values = {}
    for key, value in data.items():
        if key not in known:
            raise RuleError(f"{place}: unknown key {key!r}; known are {', '.join(known)}")
        values[key] = _convert(kind, hints[key], value, f"{place}: {key}")
    for key, field in known.items():
        if key not in values and field.default is MISSING:
            raise RuleError(f"{place}: {key} is missing")
    return kind(**values)


@cache
def _shape(kind: type) -> tuple[dict[str, Any], dict[str, Field[Any]]]:
    """The types and the fields of a dataclass, by name."""
    return get_type_hints(kind), {field.name: field for field in fields(kind)}


def _convert(owner: type, hint: Any, value: Any, place: str) -> Any:
    if get_origin(hint) is UnionType:
        hint = next(option for option in get_args(hint) if option is not type(None))
    origin = get_origin(hint)
    if origin in (tuple, frozenset):
        inner = get_args(hint)[0]
        if owner in (WaitExample, ExampleThread) and isinstance(value, str):
            value = value.split()
        if not isinstance(value, list):
            raise RuleError(f"{place}: a list is expected, not {value!r}")
        items = [_convert(owner, inner, item, place) for item in value]
        return origin(items)
    if is_dataclass(hint):
        return _build(hint, value, place)  # type: ignore[arg-type]
    if (hint is int and isinstance(value, bool)) or not isinstance(value, hint):
        raise RuleError(f"{place}: {hint.__name__} expected, not {value!r}")
    return value
