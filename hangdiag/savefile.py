"""Writes captures to a file and reads them back, without losing anything (``hangdiag attach --save``).

The file is JSON: one object with ``"schema": "hangdiag-capture/1"`` whose other members are those of
:class:`~hangdiag.model.Capture`; ``others`` is a list of more captures of the same reading, which came before it.
Reading is strict about types and takes nothing on trust: the file may come from anywhere. Members that this version
does not know are ignored, as fields are only ever added.
"""

from __future__ import annotations

import dataclasses
import json
import types
import typing
from collections.abc import Sequence
from functools import cache
from typing import Any, TypeVar

from hangdiag.errors import InputError
from hangdiag.model import Capture, Where

SCHEMA = "hangdiag-capture/1"
_MAXIMUM_BITS = 128

_T = TypeVar("_T")


def dump(capture: Capture, others: Sequence[Capture] = ()) -> str:
    """The capture, and ``others`` of the same reading, as text for :func:`load_all`."""
    members = _plain(capture)
    if others:
        members["others"] = [_plain(other) for other in others]
    return json.dumps({"schema": SCHEMA, **members}, indent=1, ensure_ascii=False, sort_keys=False) + "\n"


def load(text: str) -> Capture:
    """The capture that :func:`dump` wrote, without others; raises InputError for anything else."""
    return load_all(text)[-1]


def load_all(text: str) -> tuple[Capture, ...]:
    """All captures that :func:`dump` wrote, in the order of reading; raises InputError for anything else."""
    try:
        parsed = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(
            f"not a saved capture: {_one_line(error)}; save one with hangdiag attach --save"
        ) from error
    if not isinstance(parsed, dict) or parsed.get("schema") != SCHEMA:
        raise InputError(
            f'not a saved capture: "schema" is not "{SCHEMA}"; save one with hangdiag attach --save'
        )
    others = parsed.get("others", [])
    if not isinstance(others, list):
        raise InputError("saved capture: others is not a list")
    captures = (
        *(_build(Capture, other, f"others[{index}]") for index, other in enumerate(others)),
        _build(Capture, parsed, "capture"),
    )
    for capture in captures:
        _check_sources(capture)
    return captures


def _plain(value: Any) -> Any:
    """``value`` as what JSON knows; members that have their default are left out."""
    if isinstance(value, Where):
        return list(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        members = {}
        for field in dataclasses.fields(value):
            member = getattr(value, field.name)
            if (
                field.default is not dataclasses.MISSING
                and member == field.default
                and type(member) is type(field.default)
            ):
                continue
            members[field.name] = _plain(member)
        return members
    if isinstance(value, frozenset):
        return sorted(value)
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value


@cache
def _hints(kind: type[Any]) -> dict[str, Any]:
    return typing.get_type_hints(kind)


def _build(kind: type[_T], value: Any, place: str) -> _T:
    """``value`` as an object of the dataclass ``kind``; ``place`` names it in messages."""
    if not isinstance(value, dict):
        raise InputError(f"saved capture: {place} is not an object")
    hints = _hints(kind)  # type: ignore[arg-type]
    members: dict[str, Any] = {}
    for field in dataclasses.fields(kind):  # type: ignore[arg-type]
        if field.name in value:
            members[field.name] = _convert(hints[field.name], value[field.name], f"{place}.{field.name}")
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise InputError(f"saved capture: {place} has no {field.name}")
    return kind(**members)


def _convert(hint: Any, value: Any, place: str) -> Any:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        if value is None:
            return None
        return _convert(next(argument for argument in arguments if argument is not type(None)), value, place)
    if hint is Where:
        if isinstance(value, list) and len(value) == 3:
            return Where(*(_convert(int, item, place) for item in value))
        raise InputError(f"saved capture: {place} is not [source, first, last]")
    if origin in (tuple, frozenset):
        if not isinstance(value, list):
            raise InputError(f"saved capture: {place} is not a list")
        if origin is frozenset:
            return frozenset(_convert(arguments[0], item, place) for item in value)
        if len(arguments) == 2 and arguments[1] is Ellipsis:
            return tuple(
                _convert(arguments[0], item, f"{place}[{index}]") for index, item in enumerate(value)
            )
        if len(value) != len(arguments):
            raise InputError(f"saved capture: {place} has {len(value)} members, not {len(arguments)}")
        return tuple(_convert(argument, item, place) for argument, item in zip(arguments, value, strict=True))
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return _build(hint, value, place)
    return _scalar(hint, value, place)


def _scalar(hint: Any, value: Any, place: str) -> Any:
    if hint is float and isinstance(value, (int, float)) and not isinstance(value, bool):
        # NaN and infinities are what Python's JSON admits and nothing else does.
        if value != value or value in (float("inf"), float("-inf")):
            raise InputError(f"saved capture: {place} is no finite number")
        return float(value)
    if hint is int and isinstance(value, int) and not isinstance(value, bool):
        if value.bit_length() > _MAXIMUM_BITS:
            raise InputError(f"saved capture: {place} is too large a number")
        return value
    if hint in (str, bool) and isinstance(value, hint):
        return value
    raise InputError(f"saved capture: {place} is not {'text' if hint is str else f'a {hint.__name__}'}")


def _check_sources(capture: Capture) -> None:
    """Raises InputError where evidence points to a source that the capture has not."""
    count = len(capture.sources)
    places = [where for thread in capture.threads for where in (*thread.where, thread.stack_where)]
    places += [where for process in capture.processes for where in process.where]
    places += [where for machine in capture.vms for where in machine.where]
    places += [vcpu.where for machine in capture.vms for vcpu in machine.vcpus]
    places += [lock.where for lock in capture.locks]
    places += [unread.where for unread in capture.unread]
    for where in places:
        if where is not None and not 0 <= where.source < count:
            raise InputError(
                f"saved capture: evidence in source {where.source}, but there are {count} sources"
            )


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:120] or type(error).__name__
