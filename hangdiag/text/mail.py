"""Quoted-printable text (RFC 2045, 6.7): ``=3D`` and lines that end in ``=`` and go on in the next.

One part of a mail may be so and another one not, so what lies between two lines that cannot be is judged by itself.
"""

from __future__ import annotations

from collections.abc import Sequence

from hangdiag.text.lazy import lazy
from hangdiag.text.terminal import clean_line

# an equals sign that is neither an escape nor a soft break
_PLAIN = lazy(r"=(?![0-9A-F]{2}|\Z)")
#: A soft break keeps a line at 76 characters or fewer, and is made near that width.
_NARROWEST, _WIDEST = 56, 78


def quoted_printable(lines: list[str]) -> list[tuple[int, int]]:
    """Begin and end of the runs of lines that are quoted-printable: each ``=`` in them is an escape, one surely so."""
    runs: list[tuple[int, int]] = []
    start = 0
    sure = False
    for index, line in enumerate(lines):
        if "=" not in line:
            continue
        if _PLAIN.search(line) is not None:
            if sure:
                runs.append((start, index))
            start, sure = index + 1, False
        elif "=3D" in line or (line[-1] == "=" and _NARROWEST <= len(line) <= _WIDEST):
            sure = True
        elif line[-1] == "=":
            # text, not a soft break
            if sure:
                runs.append((start, index))
            start, sure = index + 1, False
    if sure:
        runs.append((start, len(lines)))
    return runs


def decode_lines(
    lines: Sequence[str], first: Sequence[int], last: Sequence[int], runs: list[tuple[int, int]]
) -> tuple[list[str], list[int], list[int]]:
    """Lines of ``runs`` joined at soft breaks and decoded, with the original numbers of each."""
    decoded: list[str] = []
    begins: list[int] = []
    ends: list[int] = []
    end = 0
    for start, stop in runs:
        decoded += lines[end:start]
        begins += first[end:start]
        ends += last[end:start]
        end = stop
        parts: list[str] = []
        for index in range(start, stop):
            line = lines[index]
            if not parts:
                begins.append(first[index])
            soft = line.endswith("=")
            parts.append(line[:-1] if soft else line)
            if soft and index + 1 < stop:
                continue
            whole = clean_line(_decode("".join(parts))) or [""]
            decoded += whole
            begins += begins[-1:] * (len(whole) - 1)
            ends += [last[index]] * len(whole)
            parts = []
    decoded += lines[end:]
    begins += first[end:]
    ends += last[end:]
    return decoded, begins, ends


def _decode(line: str) -> str:
    if "=" not in line:
        return line
    import quopri

    decoded = quopri.decodestring(line.encode("utf-8", "surrogatepass")).decode("utf-8", "replace")
    return decoded.replace("\n", " ")
