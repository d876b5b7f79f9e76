"""Remembers what was read of a kernel's memory during one walk, so that nothing is fetched twice."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from hangdiag.live.memory import KernelMemory, Layout, Name, Question, Registers

_PAGE = 4096
_LEAST_BLOCK = 512
# Runs of memory end at a boundary of so many bytes: what lies beyond may not be mapped.
_LONGEST_RUN = 1 << 14


class Remembered:
    """A :class:`~hangdiag.live.memory.KernelMemory` that answers from earlier reads of ``memory`` where it can.

    That saves round trips, and makes what belongs together (a thread and the pcb inside of it) one instant's.
    Read through ``memory`` itself to see what has changed.
    """

    def __init__(self, memory: KernelMemory):
        self._memory = memory
        self._blocks: dict[int, list[tuple[int, bytes]]] = {}

    @property
    def pointer_size(self) -> int:
        return self._memory.pointer_size

    @property
    def byte_order(self) -> str:
        return self._memory.byte_order

    @property
    def round_trip_bytes(self) -> int:
        return self._memory.round_trip_bytes

    def read(self, ranges: Sequence[tuple[int, int]]) -> list[bytes | None]:
        found = [self._recall(address, length) for address, length in ranges]
        missing = [index for index, block in enumerate(found) if block is None]
        wide = self._fetch(_together([ranges[index] for index in missing], self.round_trip_bytes))
        for refused in (False, True):
            if refused:
                # A hole between two structures has spoiled the run: each on its own.
                missing = [index for index in missing if ranges[index] not in wide]
                self._fetch([ranges[index] for index in missing])
            for index in missing:
                found[index] = self._recall(*ranges[index])
            missing = [index for index in missing if found[index] is None]
        return found

    @property
    def ranges(self) -> list[tuple[int, int]]:
        """What was read, as (address, length): to be read once more, in one go."""
        return sorted({(begin, len(block)) for blocks in self._blocks.values() for begin, block in blocks})

    def read_around(self, addresses: Iterable[int]) -> None:
        """Reads the aligned blocks of those ``addresses`` that are not known, if a block costs no more than a question.

        The kernel's allocator lays structures of one kind side by side (uma(9)): the next of a list is often near.
        """
        block = 1 << (min(self.round_trip_bytes, _PAGE).bit_length() - 1)
        if block >= _LEAST_BLOCK:
            unknown = (address for address in addresses if self._recall(address, 1) is None)
            self.read([(begin, block) for begin in sorted({address // block * block for address in unknown})])

    def _fetch(self, ranges: Sequence[tuple[int, int]]) -> set[tuple[int, int]]:
        """Reads and keeps each of ``ranges``; returns those that could not be read."""
        if not ranges:
            return set()
        refused: set[tuple[int, int]] = set()
        for place, block in zip(ranges, self._memory.read(ranges), strict=True):
            if block is None:
                refused.add(place)
            else:
                self._keep(place[0], block)
        return refused

    def _recall(self, address: int, length: int) -> bytes | None:
        for begin, block in self._blocks.get(address // _PAGE, ()):
            offset = address - begin
            if offset >= 0 and offset + length <= len(block):
                return block[offset : offset + length]
        return None

    def _keep(self, address: int, block: bytes) -> None:
        for page in range(address // _PAGE, (address + len(block) - 1) // _PAGE + 1):
            self._blocks.setdefault(page, []).append((address, block))

    def symbols(self, names: Sequence[str]) -> dict[str, int]:
        return self._memory.symbols(names)

    def layouts(self, questions: Sequence[Question]) -> dict[str, Layout]:
        return self._memory.layouts(questions)

    def names(self, addresses: Sequence[int]) -> dict[int, Name]:
        return self._memory.names(addresses)

    def cpu_registers(self) -> dict[int, Registers]:
        return self._memory.cpu_registers()


def _together(ranges: Sequence[tuple[int, int]], gap: int) -> list[tuple[int, int]]:
    """``ranges`` as fewer and longer ones: neighbours less than ``gap`` bytes apart are read at once.

    The kernel's allocator lays structures of one kind side by side (uma(9)).
    """
    runs: list[tuple[int, int]] = []
    for address, length in sorted(set(ranges)):
        if length <= 0:
            continue
        if runs:
            begin, run = runs[-1]
            end = max(begin + run, address + length)
            if address <= begin + run + gap and end - begin <= _LONGEST_RUN:
                runs[-1] = (begin, end - begin)
                continue
        runs.append((address, length))
    return runs
