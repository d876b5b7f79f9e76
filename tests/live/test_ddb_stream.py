"""Telnet and terminal sequences in what a console sends: gone, wherever the line cuts them; nothing else goes with them."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hangdiag.live.ddb_stream import Stream

# What QEMU's telnet console says first, a terminal server's terminal type, the loader's colours, a window's title.
RECORDED = (
    b"\xff\xfb\x01\xff\xfb\x03\xff\xfb\x00\xff\xfd\x00\xff\xfa\x18\x00xterm\xff\xff\xff\xf0"
    b"\x1b[2J\x1b[1;1H\x1b[31mdb> \x1b[0m\x1b]0;console\x07ps\r\n\x1b(B\x1b=\x1b[?25h"
    b"  pid  ppid\xff\xf1  p\xff\xffgrp\x00\r\x00\n\x1b]2;a\x1b\\--More--\r\x1b7\x1b8        \r\xff\xf9db> "
)
TEXT = b"db> ps\r\n  pid  ppid  p\xffgrp\r\n--More--\r        \rdb> "


def fed(*pieces: bytes) -> bytes:
    stream = Stream()
    return b"".join(stream.text(piece) for piece in pieces)


def test_unsplit() -> None:
    assert fed(RECORDED) == TEXT


def test_byte_by_byte() -> None:
    assert fed(*(RECORDED[at : at + 1] for at in range(len(RECORDED)))) == TEXT


@pytest.mark.parametrize("at", range(len(RECORDED) + 1))
def test_cut_in_two(at: int) -> None:
    assert fed(RECORDED[:at], RECORDED[at:]) == TEXT


@given(st.lists(st.integers(0, len(RECORDED)), max_size=12))
def test_cut_anywhere(cuts: list[int]) -> None:
    places = [0, *sorted(cuts), len(RECORDED)]
    assert fed(*(RECORDED[a:b] for a, b in pairwise(places))) == TEXT


_FRAGMENTS = st.sampled_from(
    [b"\xff", b"\x1b", b"\x00", b"\xfa", b"\xf0", b"\xfb", b"[", b"]", b"(", b";", b"1", b"m", b"\\", b"\x07", b"db> ", b"\r\n"]
)


@given(st.lists(_FRAGMENTS, max_size=30).map(b"".join), st.integers(0, 60))
def test_noise_cut_anywhere(noise: bytes, at: int) -> None:
    assert fed(noise[:at], noise[at:], b"x") == fed(noise, b"x")


@given(st.binary(max_size=40).filter(lambda data: not set(data) & {0, 0x1B, 0xFF}), st.integers(0, 40))
def test_plain_text_is_untouched(data: bytes, at: int) -> None:
    assert fed(data[:at], data[at:]) == data


def test_a_disturbed_line_costs_no_text() -> None:
    assert fed(b"a\xffb\x1b\nc\xff\x01d") == b"ab\nc\x01d"
    # The beginning of a telnet option that never ends.
    assert fed(b"\xff\xfa" + b"db> " * 200).endswith(b"db> " * 100)
    assert fed(b"\x1b]" + b"db> " * 200).endswith(b"db> " * 100)
    assert fed(b"\x1b[" + b"1" * 100).endswith(b"1" * 50)
