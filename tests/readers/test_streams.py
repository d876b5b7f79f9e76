"""Large files: which blocks may hold a trace, and that no trace is lost or torn at the borders of what is read at a time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hangdiag.diagnosis import diagnose
from hangdiag.readers import files, stream
from hangdiag.readers.files import read_paths
from tests.traces import KNOWLEDGE, MATCHER

SAMPLES = Path(__file__).resolve().parents[2] / "samples"

#: Whole marks, parts of them, and letters that pairs of a mark are made of.
PIECES = sorted(
    {mark[begin:end] for mark in stream.MARKS for begin in range(len(mark)) for end in (begin + 1, begin + 3, len(mark))}
    | {mark.translate(stream._ALIKE) for mark in stream.MARKS}
    | {b"\n", b"ch", b"d0", b"c0) ", b"#2 ", b"\xe2\x80"}
)


@pytest.mark.parametrize("mark", stream.MARKS, ids=bytes.decode)
@pytest.mark.parametrize("around", [b"", b"ch", b"x" * 40, b"d0d d) loach #2 () "])
def test_a_mark_is_found_wherever_it_is(mark, around):
    assert stream.has_marks(around + mark + around)
    assert stream.has_marks(around * 30 + mark + around * 30)


@settings(max_examples=300)
@given(st.lists(st.sampled_from(PIECES), max_size=12), st.integers(1, 30))
def test_blocks_with_marks_are_those_in_which_a_search_finds_one(pieces, times):
    block = b"".join(pieces) * times
    assert stream.has_marks(block) == any(mark in block for mark in stream.MARKS)


@given(st.binary(max_size=60), st.lists(st.integers(1, 9), max_size=20), st.integers(1, 12))
def test_blocks_are_the_file(data, sizes, longest):
    chunks = []
    for size in sizes:
        chunks.append(data[:size])
        data = data[size:]
    chunks.append(data)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stream, "BLOCK", 4)
        patch.setattr(stream, "LONGEST_LINE", longest)
        blocks = [block for block, _ in stream._blocks(chunks)]
    assert b"".join(blocks) == b"".join(chunks)
    assert all(block.endswith(b"\n") or len(block) > longest for block in blocks[:-1])


def test_an_island_of_short_lines_is_read_in_more_parts(monkeypatch):
    monkeypatch.setattr(stream, "LONGEST_ISLAND", 1 << 20)
    islands = list(stream._islands([b"db> \n" * 200_000]))
    assert sum(island.lines for island in islands) == 200_000
    assert max(island.lines for island in islands) < 50_000


def diagnoses(path: Path) -> list[tuple[object, ...]]:
    """What is found in each capture of the file."""
    return [
        (
            len(capture.threads),
            [
                (found.verdict, found.certainty, found.summary, found.threads, found.cycle, found.victims)
                for found in diagnose(capture, KNOWLEDGE, MATCHER).findings
            ],
        )
        for capture in read_paths([str(path)], None)
    ]


def that_turns(lines: list[str], alone: range) -> Iterator[str]:
    """The log of one host in which another one has lines too, but for those that are ``alone``."""
    for number, line in enumerate(lines):
        yield f"Nov 25 21:50:01 hosta kernel: {line}"
        if number not in alone and number % 3 == 0:
            yield f"Nov 25 21:50:01 hostb sshd[{number}]: Accepted publickey for root (pid 17)"


@pytest.mark.parametrize("form", ["plain", "to several hosts", "to one host"])
@pytest.mark.parametrize("name", sorted(path.name for path in SAMPLES.glob("*.txt")))
def test_a_border_within_a_long_island_tears_nothing(name, form, tmp_path, monkeypatch):
    lines = (SAMPLES / name).read_text().splitlines()
    half = len(lines) // 2
    if form != "plain":
        lines = list(that_turns(lines, range(half) if form == "to several hosts" else range(half, len(lines))))
    path = tmp_path / "console.log"
    path.write_text("\n".join(lines) + "\n")
    whole = diagnoses(path)
    monkeypatch.setattr(files, "LARGE", 0)
    monkeypatch.setattr(stream, "BLOCK", 12_000)
    monkeypatch.setattr(stream, "LONGEST_ISLAND", 15_000)
    assert diagnoses(path) == whole
