"""Remembers what was read of a kernel's memory during one walk, so that nothing is fetched twice."""

from __future__ import annotations

from collections.abc import Sequence

from hangdiag.live.memory import KernelMemory, Layout, Name, Question, Registers

_PAGE = 4096


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
        if missing:
            blocks = self._memory.read([ranges[index] for index in missing])
            for index, block in zip(missing, blocks, strict=True):
                found[index] = block
                if block is not None:
                    self._keep(ranges[index][0], block)
        return found

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
