"""What comes over a console's wire without what is meant for a terminal: telnet's commands, escape sequences, NULs.

Whatever is cut in two by the line is put together first. A lone byte that begins one of these, as a disturbed line
brings, is dropped alone: the text behind it is kept.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_SPECIAL = re.compile(rb"[\x00\x1b\xff]")
# Telnet (RFC 854, RFC 855: IAC SB ... IAC SE), as QEMU's consoles and terminal servers send it, and a terminal's
# control sequences (ECMA-48: CSI, OSC, two bytes). No real one is longer.
_SEQUENCE = re.compile(
    rb"""
    \x00
    | \xff (?: [\xf0-\xf9\xff] | [\xfb-\xfe] . | \xfa (?: [^\xff] | \xff [^\xf0] ){0,256}? \xff\xf0 )
    | \x1b (?: \[ [0-?]{0,32} [ -/]{0,4} [@-~] | \] [^\x07\x1b]{0,256} (?: \x07 | \x1b\\ ) | [(-+] [ -~]
             | [0-Z\\^-~] )
    """,
    re.VERBOSE | re.DOTALL,
)
_BEGINNING = re.compile(
    rb"""
    \xff (?: [\xfb-\xfe] | \xfa (?: [^\xff] | \xff [^\xf0] ){0,256} \xff? )?
    | \x1b (?: \[ [0-?]{0,32} [ -/]{0,4} | \] [^\x07\x1b]{0,256} \x1b? | [(-+] )?
    """,
    re.VERBOSE | re.DOTALL,
)


@dataclass(slots=True)
class Stream:
    """One direction of a conversation; ``_rest`` is the beginning of a sequence whose end has not come yet."""

    _rest: bytes = b""

    def text(self, data: bytes) -> bytes:
        """The text in ``data``, and in what had to wait for it."""
        data, self._rest = self._rest + data, b""
        kept = bytearray()
        position = 0
        while (special := _SPECIAL.search(data, position)) is not None:
            kept += data[position : special.start()]
            sequence = _SEQUENCE.match(data, special.start())
            if sequence is None and _BEGINNING.fullmatch(data, special.start()):
                self._rest = data[special.start() :]
                return bytes(kept)
            if sequence is not None and sequence[0] == b"\xff\xff":
                kept += b"\xff"
            position = special.end() if sequence is None else sequence.end()
        return bytes(kept + data[position:])
