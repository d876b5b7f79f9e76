"""Quoted-printable text (RFC 2045, 6.7): ``=3D`` and lines that end in ``=`` and go on in the next."""

from __future__ import annotations

from collections.abc import Sequence

_HEX = frozenset("0123456789ABCDEF")
#: How many equals signs decide.
_SAMPLE = 400


def is_quoted_printable(text: str) -> bool:
    """Is (nearly) every ``=`` in ``text`` an escape or a soft break, and one of them surely so?"""
    if "=" not in text or ("=\n" not in text and "=3D" not in text and "=20\n" not in text):
        return False
    good = bad = 0
    sure = "=3D" in text
    position = text.find("=")
    while position >= 0 and good + bad < _SAMPLE:
        following = text[position + 1 : position + 3]
        if following[:1] == "\n":
            # a soft break keeps a line at 76 characters or fewer, and is made near that width
            begin = text.rfind("\n", max(0, position - 80), position)
            if position - begin in range(60, 78):
                good += 1
                sure = True
            else:
                bad += 1
        elif len(following) == 2 and following[0] in _HEX and following[1] in _HEX:
            good += 1
        else:
            bad += 1
        position = text.find("=", position + 1)
    return sure and bad * 10 <= good


def decode_lines(
    lines: Sequence[str], first: Sequence[int], last: Sequence[int]
) -> tuple[list[str], list[int], list[int]]:
    """Lines joined at soft breaks and decoded, with the original numbers of each."""
    import quopri

    decoded: list[str] = []
    begins: list[int] = []
    ends: list[int] = []
    parts: list[str] = []
    begin = 0
    for index, line in enumerate(lines):
        if not parts:
            begin = first[index]
        soft = line.endswith("=")
        parts.append(line[:-1] if soft else line)
        if soft and index + 1 < len(lines):
            continue
        whole = "".join(parts)
        parts = []
        if "=" in whole:
            whole = quopri.decodestring(whole.encode("utf-8", "surrogatepass")).decode("utf-8", "replace")
            whole = whole.replace("\u00a0", " ").replace("\n", " ")
        decoded.append(whole)
        begins.append(begin)
        ends.append(last[index])
    return decoded, begins, ends
