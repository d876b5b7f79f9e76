"""How much is read at most, so that a hostile file cannot fill the memory or the day."""

from __future__ import annotations

from dataclasses import dataclass
from typing import BinaryIO

from hangdiag.errors import InputError


@dataclass(frozen=True, slots=True)
class Limits:
    """``file_bytes`` of one plain file, ``unpacked_bytes`` out of one archive or compressed file,
    ``members`` of one archive or directory, ``depth`` of archives in archives (a .tar.gz is two).
    """

    file_bytes: int = 4 << 30
    unpacked_bytes: int = 1 << 30
    members: int = 10_000
    depth: int = 5


def describe_size(number: int) -> str:
    """``1073741824`` as ``1 GiB``."""
    for unit, width in (("GiB", 30), ("MiB", 20), ("KiB", 10)):
        if number >= 1 << width:
            return f"{number / (1 << width):.4g} {unit}"
    return f"{number} bytes"


class Budget:
    """How many bytes may still be unpacked from one container. Shared by all that is inside it."""

    __slots__ = ("left", "limit", "path", "what")

    def __init__(self, limit: int, path: str, what: str) -> None:
        self.left = limit
        self.limit = limit
        self.path = path
        self.what = what

    def spend(self, number: int) -> None:
        """Take ``number`` bytes off; raises InputError when there are not that many."""
        self.left -= number
        if self.left < 0:
            raise InputError(
                f"{self.path}: {self.what} than {describe_size(self.limit)}; "
                "unpack it yourself and give the part with the trace, or raise --max-size"
            )


class BudgetedStream:
    """A binary stream whose bytes are taken off a :class:`Budget`; only ``read`` is offered."""

    __slots__ = ("budget", "stream")

    def __init__(self, stream: BinaryIO, budget: Budget) -> None:
        self.stream = stream
        self.budget = budget

    def read(self, number: int = -1) -> bytes:
        """Up to ``number`` bytes, as of a file."""
        if number < 0:
            parts = []
            while part := self.read(1 << 20):
                parts.append(part)
            return b"".join(parts)
        data = self.stream.read(number)
        self.budget.spend(len(data))
        return data
