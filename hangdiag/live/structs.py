"""Views on raw memory: a structure's bytes and the members that its layout names."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from hangdiag.live.memory import KernelMemory, Layout


@dataclass(frozen=True, slots=True)
class View:
    """``data`` read at ``address``, to be understood by ``layout``.

    The bytes may be a part of the structure: what lies outside of them is not known (None).
    """

    layout: Layout
    address: int
    data: bytes
    byte_order: Literal["little", "big"] = "little"
    start: int = 0

    def raw(self, member: str) -> bytes | None:
        """The bytes of ``member``; None if this kernel lacks it or it was not read."""
        place = self.layout.fields.get(member)
        if place is None:
            return None
        begin = place.offset - self.start
        if begin < 0 or begin + place.size > len(self.data):
            return None
        return self.data[begin : begin + place.size]

    def unsigned(self, member: str) -> int | None:
        """``member`` as an unsigned number (a pointer, a flag word)."""
        data = self.raw(member)
        return None if data is None else int.from_bytes(data, self.byte_order)

    def signed(self, member: str) -> int | None:
        """``member`` as a signed number."""
        data = self.raw(member)
        return None if data is None else int.from_bytes(data, self.byte_order, signed=True)

    def text(self, member: str) -> str | None:
        """``member``, an array of char, up to its NUL."""
        data = self.raw(member)
        return None if data is None else c_string(data)

    def bits(self, member: str) -> frozenset[int] | None:
        """The members of a ``cpuset_t`` (sys/sys/_bitset.h: an array of long, bit i & 63 of word i >> 6)."""
        data = self.raw(member)
        return None if data is None else bit_set(data, self.byte_order)

    def place(self, member: str) -> int | None:
        """The address of ``member`` in the kernel."""
        found = self.layout.fields.get(member)
        return None if found is None else self.address + found.offset


def words(data: bytes, memory: KernelMemory) -> tuple[int, ...]:
    """``data`` as an array of the kernel's pointers or longs; what is left at its end is none."""
    count = len(data) // 8
    return struct.unpack_from(f"{'>' if memory.byte_order == 'big' else '<'}{count}Q", data)


def c_string(data: bytes) -> str:
    """Bytes up to the first NUL as text; what cannot be printed is replaced, never dropped."""
    text = data.split(b"\0", 1)[0].decode("utf-8", "replace")
    return "".join(character if character.isprintable() else "�" for character in text)


def bit_set(data: bytes, byte_order: Literal["little", "big"]) -> frozenset[int]:
    """The numbers of the bits that are set in an array of 64-bit words."""
    found: set[int] = set()
    for word_index in range(0, len(data), 8):
        word = int.from_bytes(data[word_index : word_index + 8], byte_order)
        base = word_index * 8
        while word:
            low = word & -word
            found.add(base + low.bit_length() - 1)
            word ^= low
    return frozenset(found)


def hull(layout: Layout, members: Iterable[str]) -> tuple[int, int]:
    """(offset, length) of the smallest run of bytes that holds the ``members`` that exist."""
    places = [layout.fields[name] for name in members if name in layout.fields]
    if not places:
        return (0, 0)
    begin = min(place.offset for place in places)
    end = max(place.offset + place.size for place in places)
    return (begin, end - begin)


def runs(layout: Layout, members: Iterable[str], gap: int) -> list[tuple[int, int]]:
    """(offset, length) of the runs of bytes that hold the ``members`` that exist; gaps below ``gap`` are bridged."""
    found: list[tuple[int, int]] = []
    places = sorted(
        (place.offset, place.size) for place in (layout.fields.get(name) for name in members) if place
    )
    for offset, size in places:
        if found and offset <= found[-1][0] + found[-1][1] + gap:
            begin, length = found[-1]
            found[-1] = (begin, max(length, offset + size - begin))
        else:
            found.append((offset, size))
    return found


def read_views(
    memory: KernelMemory, layout: Layout, addresses: Sequence[int], members: Iterable[str] | None = None
) -> list[View | None]:
    """A view on each address of ``addresses`` (None where memory could not be read).

    Only ``members`` (default: all that were asked for) are read, with what lies between them where that is
    cheaper than another question.
    """
    wanted = list(layout.fields if members is None else members)
    pieces = runs(layout, wanted, memory.round_trip_bytes)
    if not pieces:
        return [None] * len(addresses)
    order: Literal["little", "big"] = "big" if memory.byte_order == "big" else "little"
    blocks = memory.read([(address + offset, length) for address in addresses for offset, length in pieces])
    start, end = pieces[0][0], pieces[-1][0] + pieces[-1][1]
    views: list[View | None] = []
    for index, address in enumerate(addresses):
        # No member lies in what is not read: it stays zero.
        data = bytearray(end - start)
        found = blocks[index * len(pieces) : (index + 1) * len(pieces)]
        for (offset, length), block in zip(pieces, found, strict=True):
            if block is None:
                break
            data[offset - start : offset - start + length] = block
        else:
            views.append(View(layout, address, bytes(data), order, start))
            continue
        views.append(None)
    return views


def follow(
    memory: KernelMemory, layout: Layout, first: int, link: str, most: int
) -> tuple[list[View], str | None]:
    """The elements of a list of ``layout``, from the one at ``first`` on by their member ``link``.

    Also says, as the end of a sentence that begins with the list's name, what ended it if that was not its end:
    memory that cannot be read, a circle, or more than ``most`` elements.
    """
    found: dict[int, View] = {}
    address = first
    while address:
        if address in found:
            return list(found.values()), f"runs in a circle at {address:#x}"
        if len(found) >= most:
            return list(found.values()), f"has more than {most} elements"
        view = read_views(memory, layout, [address])[0]
        if view is None:
            return list(found.values()), f"is broken: {address:#x} cannot be read"
        found[address] = view
        address = view.unsigned(link) or 0
    return list(found.values()), None


def read_strings(memory: KernelMemory, addresses: Iterable[int], limit: int = 64) -> dict[int, str]:
    """The NUL-terminated strings at ``addresses``, each cut at ``limit`` bytes.

    Reading stops at a page's end, so that a string at the end of the mapped memory is still read.
    """
    wanted = sorted({address for address in addresses if address})
    lengths = [min(limit, 4096 - address % 4096) for address in wanted]
    strings: dict[int, str] = {}
    rest: list[tuple[int, bytes]] = []
    for address, length, block in zip(
        wanted, lengths, memory.read(list(zip(wanted, lengths, strict=True))), strict=True
    ):
        if block is None:
            continue
        if b"\0" not in block and length < limit:
            rest.append((address, block))
        else:
            strings[address] = c_string(block)
    tails = (
        memory.read([(address + len(block), limit - len(block)) for address, block in rest]) if rest else []
    )
    for (address, block), tail in zip(rest, tails, strict=True):
        strings[address] = c_string(block + (tail or b""))
    return strings


def read_numbers(
    memory: KernelMemory, places: dict[str, tuple[int, int]], signed: bool = True
) -> dict[str, int]:
    """The numbers at ``places`` (name -> (address, size)) that could be read."""
    order: Literal["little", "big"] = "big" if memory.byte_order == "big" else "little"
    blocks = memory.read(list(places.values()))
    return {
        name: int.from_bytes(block, order, signed=signed)
        for name, block in zip(places, blocks, strict=True)
        if block is not None
    }
