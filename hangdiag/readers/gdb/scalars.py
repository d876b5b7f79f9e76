"""Numbers, strings, sets and symbols in values that gdb printed."""

from __future__ import annotations

import re
from collections.abc import Mapping


def first_string(value: object) -> str | None:
    """The text in a printed ``char`` array or pointer: up to its end, None if there is none."""
    if isinstance(value, list):
        value = next((item for item in value if isinstance(item, str) and item), None)
    if not isinstance(value, str):
        return None
    quoted = re.search(r'"([^"]*)"', value)
    if quoted is not None:
        value = quoted.group(1)
    elif value.startswith(("0x", "'", "<")):
        return None
    return value.split("\\000")[0] or None


def cpu_set(value: object) -> frozenset[int] | None:
    """The members of a printed cpuset_t, ``{__bits = {15, 0, 0, 0}}``."""
    if isinstance(value, Mapping):
        value = value.get("__bits")
    if isinstance(value, str):
        value = [value]
    if not isinstance(value, list):
        return None
    members: set[int] = set()
    word = 0
    for text in value[:64]:
        bits = integer(text)
        if bits is None:
            return None
        bits &= (1 << 64) - 1
        repeated = re.search(r"<repeats (\d{1,3}) times>", str(text))
        for _ in range(int(repeated.group(1)) if repeated is not None else 1):
            members.update(word * 64 + bit for bit in range(64) if bits >> bit & 1)
            word += 1
    return frozenset(members)


def function_name(value: object) -> str | None:
    """The symbol in a printed function pointer, "" for a null pointer."""
    text = " ".join(str(item) for item in value) if isinstance(value, list) else str(value)
    found = re.search(r"<([^<>+]+)", text)
    if found is not None:
        return found.group(1)
    number = re.search(r"0x[0-9a-f]+", text)
    if number is None:
        return None
    return "" if int(number.group(), 16) == 0 else number.group()


def integer(value: object) -> int | None:
    """A printed number: 12, 0xc, ``(type *) 0x1 <symbol>``, ``12 '\\f'``; None for anything else."""
    if isinstance(value, list) and value:
        value = value[0]
    if not isinstance(value, str):
        return None
    found = re.match(r"(?:\([^()]*\) ?)?(-?(?:0x[0-9a-f]{1,32}|\d{1,32}))(?![\w.])", value)
    return int(found.group(1), 0 if "0x" in found.group(1) else 10) if found is not None else None
