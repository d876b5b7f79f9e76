"""Quoted-printable text (RFC 2045, 6.7): ``=3D`` and lines that end in ``=`` and go on in the next.

One part of a mail may be so and another one not, so what lies between two lines that cannot be is judged by itself.
"""

from __future__ import annotations

from collections.abc import Sequence

from hangdiag.text.lazy import lazy
from hangdiag.text.soft import find_cover, join_lines
from hangdiag.text.terminal import clean_line

# an equals sign that is neither an escape nor a soft break
_PLAIN = lazy(r"=(?![0-9A-F]{2}|\Z)")
#: A soft break keeps a line at 76 characters or fewer, and is made near that width. It may have been quoted since.
_NARROWEST, _WIDEST = 56, 84


def quoted_printable(lines: list[str]) -> list[tuple[int, int, str]]:
    """Runs of lines that are quoted-printable: each ``=`` in them is an escape, one surely so.

    Begin and end of each, and what was put before its lines later. Of lines that were quoted more than one way there is
    none: they are decoded when their quotes have been taken off.
    """
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
        elif "=3D" in line:
            sure = True
        elif line[-1] == "=" and _NARROWEST <= len(line) <= _WIDEST:
            sure = sure or line[-2] != " "  # a line that was folded may end in a sign of its own
        elif line[-1] == "=":
            # text, not a soft break
            if sure:
                runs.append((start, index))
            start, sure = index + 1, False
    if sure:
        runs.append((start, len(lines)))
    covers = [find_cover(lines, _soft_breaks(lines, start, stop)) for start, stop in runs]
    return [(start, stop, cover) for (start, stop), cover in zip(runs, covers, strict=True) if cover is not None]


def _soft_breaks(lines: Sequence[str], start: int, stop: int) -> list[int]:
    return [index for index in range(start, stop - 1) if lines[index][-1:] == "="]


def decode_lines(
    lines: Sequence[str], first: Sequence[int], last: Sequence[int], runs: list[tuple[int, int, str]]
) -> tuple[list[str], list[int], list[int]]:
    """Lines of ``runs`` joined at soft breaks and decoded, with the original numbers of each."""
    decoded: list[str] = []
    begins: list[int] = []
    ends: list[int] = []
    end = 0
    for start, stop, cover in runs:
        decoded += lines[end:start]
        begins += first[end:start]
        ends += last[end:start]
        end = stop
        run = slice(start, stop)
        soft = _soft_breaks(lines[run], 0, stop - start)
        for line, begin, behind in zip(*join_lines(lines[run], first[run], last[run], soft, "=", cover), strict=True):
            whole = clean_line(_decode(line.removesuffix("="))) or [""]
            decoded += whole
            begins += [begin] * len(whole)
            ends += [behind] * len(whole)
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
