"""The walker on memory that is garbage: it ends, and raises nothing but DebuggerError."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hangdiag.errors import DebuggerError
from hangdiag.live.layouts import QUESTIONS, SYMBOLS
from hangdiag.live.memory import Field, Layout, Name, Question, Registers
from hangdiag.live.walker import walk
from hangdiag.savefile import dump, load

BASE = 0xFFFFF80000000000
CELLS = 512


class Garbage:
    """Memory of ``CELLS`` pointers from BASE on, most of which point back into it."""

    pointer_size = 8
    byte_order = "little"
    round_trip_bytes = 4096

    def __init__(self, cells: Sequence[int], places: Sequence[int], cpus: bool):
        self.data = b"".join(cell.to_bytes(8, "little") for cell in cells)
        self.places = places
        self.cpus = cpus
        self.bytes = 0

    def read(self, ranges: Sequence[tuple[int, int]]) -> list[bytes | None]:
        found: list[bytes | None] = []
        for address, length in ranges:
            begin = address - BASE
            readable = begin >= 0 and begin + length <= len(self.data) and length > 0
            found.append(self.data[begin : begin + length] if readable else None)
            self.bytes += max(length, 0)
        return found

    def symbols(self, names: Sequence[str]) -> dict[str, int]:
        return {name: BASE + 8 * self.places[index % len(self.places)] for index, name in enumerate(names)}

    def layouts(self, questions: Sequence[Question]) -> dict[str, Layout]:
        layouts = {}
        for question in questions:
            fields = {
                member: Field(8 * index, 8, 8)
                for index, member in enumerate(question.members)
                # Without its way back to the process, garbage passes for a thread.
                if member != "td_proc"
            }
            if question.name == "trapframe":
                fields["tf_cs"] = Field(8 * 20, 4, 4)
            layouts[question.name] = Layout(question.name, 8 * 24, fields)
        return layouts

    def names(self, addresses: Sequence[int]) -> dict[int, Name]:
        kinds = ("mi_switch", "calltrap", "vm_run", "Xtimerint", "fork_trampoline", "handle_el1h_irq")
        return {address: Name(kinds[address % 6], 3) for address in addresses if address % 5}

    def cpu_registers(self) -> dict[int, Registers]:
        return {0: Registers(BASE + 3, BASE + 64, BASE + 128)} if self.cpus else {}


ODD = (0, 1, 2, 4, 8, 10, 100000, (1 << 64) - 1, 0x0200000000000000, 0x4141414141414141, BASE - 8, BASE + 3)


def cell(number: int) -> int:
    """Mostly a pointer into the memory, else something odd."""
    return BASE + 8 * (number % (CELLS - 24)) if number < 8 * CELLS else ODD[number % len(ODD)]


def cells(drawn: bytes) -> list[int]:
    """All cells, of two bytes each: to draw them one by one takes longer than to walk them."""
    return [cell(int.from_bytes(drawn[begin : begin + 2], "little") % (9 * CELLS + 1)) for begin in range(0, len(drawn), 2)]


def test_every_wanted_name_is_asked_once() -> None:
    assert len(set(SYMBOLS)) == len(SYMBOLS)
    assert len({question.name for question in QUESTIONS}) == len(QUESTIONS)


@settings(
    deadline=None,
    max_examples=120,
    suppress_health_check=[HealthCheck.large_base_example, HealthCheck.too_slow],
)
@given(
    st.binary(min_size=2 * CELLS, max_size=2 * CELLS).map(cells),
    st.lists(st.integers(0, CELLS - 1), min_size=1, max_size=40),
    st.booleans(),
)
def test_garbage(memory_cells: list[int], places: list[int], cpus: bool) -> None:
    memory = Garbage(memory_cells, places, cpus)
    with contextlib.suppress(DebuggerError):
        capture = walk(memory)
        # Bounded by what there is: no list or stack is followed twice.
        assert len(capture.threads) <= CELLS
        assert memory.bytes < 1 << 24
        assert load(dump(capture)) == capture
