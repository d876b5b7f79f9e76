"""Unwinding, lock words and modules without a debugger: on memory made by hand."""

from __future__ import annotations

import re
import struct
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from hangdiag.live.cache import Remembered
from hangdiag.live.elf_symbols import read_variables
from hangdiag.live.gdb_memory import cpu_threads, lists_kernel_threads
from hangdiag.live.host import Module, names_by_module
from hangdiag.live.kld import find_symbols, section_addresses
from hangdiag.live.memory import Field, Layout, Name, Question, Registers
from hangdiag.live.mi import Answer, _parse, _stream_text, well_formed
from hangdiag.live.samples import annotate
from hangdiag.live.structs import bit_set, c_string, read_strings
from hangdiag.live.unwind import Job, unwind
from hangdiag.lockwords import count_shares, decode_word, lock_class
from hangdiag.model import Capture, Frame, Host, Thread

TEXT = 0xFFFF000000100000
STACK = 0xFFFF0000A0000000
FUNCTIONS = (
    "mi_switch",
    "work",
    "arm_gic_v3_intr",
    "handle_el1h_irq",
    "fork_trampoline",
    "panic",
    "caller",
    "calltrap",
)


class HandMade:
    """Memory from a dictionary of blocks; functions 256 bytes apart from TEXT on."""

    pointer_size = 8
    byte_order = "little"
    round_trip_bytes = 4096

    def __init__(self, blocks: dict[int, bytes]):
        self.blocks = blocks
        self.rounds = 0

    def read(self, ranges: Sequence[tuple[int, int]]) -> list[bytes | None]:
        self.rounds += 1
        return [self._one(address, length) for address, length in ranges]

    def _one(self, address: int, length: int) -> bytes | None:
        for begin, block in self.blocks.items():
            if begin <= address and address + length <= begin + len(block):
                return block[address - begin : address - begin + length]
        return None

    def symbols(self, names: Sequence[str]) -> dict[str, int]:
        return {}

    def layouts(self, questions: Sequence[Question]) -> dict[str, Layout]:
        return {}

    def names(self, addresses: Sequence[int]) -> dict[int, Name]:
        found = {}
        for address in addresses:
            index, offset = divmod(address - TEXT, 256)
            if 0 <= index < len(FUNCTIONS):
                found[address] = Name(FUNCTIONS[index], offset)
        return found

    def cpu_registers(self) -> dict[int, Registers]:
        return {}


def at(function: str, offset: int = 16) -> int:
    return TEXT + 256 * FUNCTIONS.index(function) + offset


ARM64 = {
    "pcb": Layout("pcb", 256, {"pcb_x": Field(0, 96, 8)}),
    "trapframe": Layout("trapframe", 288, {"tf_elr": Field(16, 8, 8), "tf_x": Field(32, 240, 8)}),
}


def stack_of(records: dict[int, tuple[int, int]], extra: dict[int, bytes] | None = None) -> HandMade:
    memory = bytearray(16384)
    for place, (fp, pc) in records.items():
        memory[place : place + 16] = struct.pack("<QQ", fp, pc)
    for place, data in (extra or {}).items():
        memory[place : place + len(data)] = data
    return HandMade({STACK: bytes(memory)})


def functions(memory: HandMade, layouts: dict[str, Layout], pc: int, fp: int) -> list[str]:
    job = Job(Registers(pc, STACK + 8192, fp), STACK, STACK + 16384)
    (stack,) = unwind(memory, layouts, [job], {}, kernel_half=True)
    return [frame.function for frame in stack.frames]


def test_arm64_through_an_interrupt_with_signed_addresses() -> None:
    trap = 12000
    frame_of_entry = trap + 288
    trapped = bytearray(288)
    trapped[16:24] = struct.pack("<Q", at("work", 4))
    trapped[32 + 29 * 8 : 32 + 30 * 8] = struct.pack("<Q", STACK + 14000)
    signed = at("handle_el1h_irq") & ~(0x7F << 48) | 0x2A << 48
    memory = stack_of(
        {10000: (STACK + frame_of_entry, signed), frame_of_entry: (0, 0), 14000: (0, at("fork_trampoline"))},
        {trap: bytes(trapped)},
    )
    names = functions(memory, ARM64, at("arm_gic_v3_intr", 0), STACK + 10000)
    assert names == ["arm_gic_v3_intr", "handle_el1h_irq", "work", "fork_trampoline"]


def test_a_call_that_is_the_last_instruction_belongs_to_the_caller() -> None:
    # panic() never returns: its return address is the first byte of the function after its caller.
    memory = stack_of({9000: (0, at("calltrap", 0))})
    assert functions(memory, {}, at("panic"), STACK + 9000) == ["panic", "caller"]


@pytest.mark.parametrize("fp", [STACK + 9000, STACK + 8500, STACK + 9001, 0x4141414141414141, 8])
def test_garbage_ends_a_stack(fp: int) -> None:
    memory = stack_of({9000: (fp, at("work"))})
    assert functions(memory, {}, at("mi_switch"), STACK + 9000)[:2] == ["mi_switch", "work"]


def test_all_stacks_share_their_round_trips() -> None:
    deep = {8192 + 32 * i: (STACK + 8192 + 32 * (i + 1), at("work")) for i in range(60)}
    memory = stack_of(deep)
    job = Job(Registers(at("mi_switch"), STACK + 8192, STACK + 8192), STACK, STACK + 16384)
    stacks = unwind(memory, {}, [job] * 500, {}, kernel_half=True)
    assert all(len(stack.frames) > 50 for stack in stacks)
    assert memory.rounds < 5


OWNER = 0xFFFFF80002412740


@pytest.mark.parametrize(
    ("family", "word", "release", "expected"),
    [
        ("mtx", 0, 1300000, ("unlocked", None)),
        ("mtx", 4, 1100000, ("unlocked", None)),
        ("mtx", 4, 1300000, ("destroyed", None)),
        ("mtx", OWNER | 3, 1300000, ("exclusive", OWNER)),
        ("sx", 0x1, 1300000, ("unlocked", None)),
        ("sx", 3 << 5 | 0x5, 1300000, ("shared", None)),
        ("sx", OWNER | 0x14, 1300000, ("exclusive", OWNER)),
        ("sx", 0x6, 1300000, ("destroyed", None)),
        ("rw", OWNER | 0x2, 1500000, ("exclusive", OWNER)),
        ("lockmgr", OWNER | 0x4, 1201517, ("exclusive", OWNER)),
        ("lockmgr", (1 << 64) - 1 & ~0xF, 1201517, ("kernproc", None)),
        ("lockmgr", (1 << 64) - 1 & ~0x1F | 0x4, 1400000, ("kernproc", None)),
        ("lockmgr", 0x1, 1400000, ("unlocked", None)),
    ],
)
def test_lock_words(family: str, word: int, release: int, expected: tuple[str, int | None]) -> None:
    assert decode_word(family, word, {OWNER: 100041}, release) == expected


@pytest.mark.parametrize(
    ("family", "word", "release", "expected"),
    [
        ("sx", 3 << 5 | 0x5, 1300000, 3),
        ("sx", 3 << 4 | 0x5, 1100000, 3),
        ("rw", 2 << 5 | 0x1, 1201517, 2),
        ("lockmgr", 2 << 4 | 0x3, 1201517, 2),
        ("lockmgr", 2 << 5 | 0x3, 1300139, 2),
        ("sx", 3 << 5 | 0x5, None, None),
        ("sx", 0x1, 1300000, None),
        ("sx", OWNER | 0x4, 1300000, None),
        ("mtx", OWNER | 0x1, 1300000, None),
    ],
)
def test_counts_of_sharers(family: str, word: int, release: int | None, expected: int | None) -> None:
    assert count_shares(family, word, release) == expected


def test_small_decoders() -> None:
    assert lock_class(0x02000000) == "sx"
    assert lock_class(0x0F000000) is None
    assert bit_set(struct.pack("<QQ", 0b1011, 1), "little") == {0, 1, 3, 64}
    assert c_string(b"vcpu 0\0junk") == "vcpu 0"
    assert c_string(b"a\x1b[31m\xff\0") == "a�[31m�"
    # A string may end with its page, and the next page be unmapped.
    memory = HandMade({0x10000 - 8: b"vmrndv\0\0", 0x20000 - 4: b"abcdefg\0"})
    assert read_strings(memory, [0x10000 - 8, 0x20000 - 4, 0, 0x999]) == {
        0x10000 - 8: "vmrndv",
        0x20000 - 4: "abcd",
    }


def module_file(path: Path, kind: int) -> Path:
    names = b"\0.text\0.data\0.bss\0.debug\0set_sysinit_set\0.empty\0"
    table = [(0, 0, 0, 0, 0, 0), (1, 1, 6, 0x40, 100, 16), (7, 1, 3, 0x200, 10, 32)]
    # One that is empty takes no place, whatever its alignment.
    table += [(41, 1, 3, 0x280, 0, 4096), (25, 1, 2, 0x290, 8, 8), (13, 8, 3, 0x300, 8, 8)]
    table += [(18, 1, 0, 0, 50, 1), (0, 3, 0, 0, len(names), 1)]
    offset = 64 + len(names)
    header = struct.pack(
        "<16sHHIQQQIHHHHHH",
        b"\x7fELF\x02\x01",
        kind,
        62,
        1,
        0,
        0,
        offset,
        0,
        64,
        0,
        0,
        64,
        len(table),
        len(table) - 1,
    )
    sections = b"".join(
        struct.pack("<IIQQQQIIQQ", name, section, flags, address, 64, size, 0, 0, alignment, 0)
        for name, section, flags, address, size, alignment in table
    )
    path.write_bytes(header + names + sections)
    return path


def test_sections_of_a_loaded_module(tmp_path: Path) -> None:
    relocatable = section_addresses(module_file(tmp_path / "vmm.ko", 1), 0x1000)
    assert relocatable == {".text": 0x1000, ".data": 0x1080, "set_sysinit_set": 0x1090, ".bss": 0x1098}
    shared = section_addresses(module_file(tmp_path / "vmm.ko.debug", 3), 0x1000)
    assert shared == {".text": 0x1040, ".data": 0x1200, "set_sysinit_set": 0x1290, ".bss": 0x1300}
    assert find_symbols("vmm.ko", ["/absent", str(tmp_path)]) == tmp_path / "vmm.ko.debug"
    (tmp_path / "bad").write_bytes(b"\x7fELF\x02\x01 and no more")
    assert section_addresses(tmp_path / "bad", 0) == {}
    assert section_addresses(tmp_path / "absent", 0) == {}


class Listing:
    """A session whose debugger lists these threads: (target-id, details)."""

    def __init__(self, *threads: tuple[str, str]):
        self.threads = threads

        self.remembered: dict[str, object] = {}
        self.asked: list[str] = []

    def ask(self, command: str) -> Answer:
        self.asked.append(command)
        if "thread find" in command:
            lines = [
                f"Thread {number} has extra info '{details}'\n"
                for number, (_, details) in enumerate(self.threads, 1)
                if re.search("CPU[# ][0-9]", details)
            ]
            return Answer("done", console="".join(lines) or "No threads match 'CPU[# ][0-9]'\n")
        shown = f"[Current thread is 1 ({self.threads[0][0]})]" if self.threads else "No thread selected"
        return Answer("done", console=f"{shown}\n")


def test_which_threads_a_debugger_lists() -> None:
    qemu = Listing(("Thread 1.1", "CPU#0 [running]"), ("Thread 1.2", "CPU#1 [halted ]"))
    bhyve = Listing(("Thread 1", "vCPU 0"), ("Thread 2", "vCPU 1"))
    kernel = Listing(("Thread 100039", ""), ("Thread 100040", ""))
    process = Listing(("Thread 0x7f0 (LWP 7)", ""))
    assert cpu_threads(qemu) == {0: 1, 1: 2}  # type: ignore[arg-type]
    assert cpu_threads(bhyve) == {0: 1, 1: 2}  # type: ignore[arg-type]
    assert cpu_threads(kernel) == cpu_threads(process) == cpu_threads(Listing()) == {}  # type: ignore[arg-type]
    assert len(qemu.asked) == len(kernel.asked) + 1 == 2
    assert cpu_threads(qemu) == {0: 1, 1: 2}  # type: ignore[arg-type]
    assert len(qemu.asked) == 2
    found = [lists_kernel_threads(listing) for listing in (qemu, bhyve, kernel, process, Listing())]  # type: ignore[arg-type]
    assert found == [False, False, True, False, False]


@pytest.mark.parametrize(
    "record", ["1^done,memory=[{", '1^done,value="8', "1^done,", "~abc", "1^done,x={a}", ""]
)
def test_records_that_would_hang_the_parser(record: str) -> None:
    assert not well_formed(record)


def test_streams_are_read_as_pygdbmi_reads_them() -> None:
    for text in (r"plain", r"two\nlines", r"a \"quoted\" \\ path", r"tab\tend", r"octal \303\244"):
        assert _stream_text(f'~"{text}"'.encode()) == str(_parse(f'~"{text}"'.encode())["payload"])


def test_neighbours_are_read_together_and_a_hole_costs_nothing_but_time() -> None:
    memory = Remembered(HandMade({0x10000: b"a" * 100, 0x11000: b"b" * 100}))
    inner = memory._memory
    assert memory.read([(0x10000, 8), (0x10040, 8)]) == [b"a" * 8] * 2
    assert inner.rounds == 1  # type: ignore[attr-defined]
    assert memory.read([(0x10020, 8)]) == [b"a" * 8]
    assert inner.rounds == 1  # type: ignore[attr-defined]
    # Between these two nothing is mapped: together they cannot be read, one by one they can.
    assert memory.read([(0x10050, 8), (0x11000, 8), (0x20000, 8)]) == [b"a" * 8, b"b" * 8, None]
    assert inner.rounds == 3  # type: ignore[attr-defined]


def test_what_was_read_is_read_once_more_in_one_go() -> None:
    inner = HandMade({0x10000: b"a" * 100, 0x90000: b"b" * 100})
    first = Remembered(inner)
    for place in (0x10000, 0x90010, 0x90050):
        first.read([(place, 8)])
    inner.blocks[0x90000] = b"c" * 100
    second, rounds = Remembered(inner), inner.rounds
    second.read(first.ranges)
    assert second.read([(0x10000, 8), (0x90010, 8), (0x90050, 8)]) == [b"a" * 8, b"c" * 8, b"c" * 8]
    assert inner.rounds == rounds + 1


AMD64 = {
    "trapframe": Layout(
        "trapframe",
        192,
        {
            "tf_rip": Field(152, 8, None),
            "tf_cs": Field(160, 8, None),
            "tf_rsp": Field(176, 8, None),
            "tf_rbp": Field(64, 8, None),
        },
    )
}


@pytest.mark.parametrize(
    ("code", "offset", "sp", "expected"),
    [
        # push %rbp; mov %rsp,%rbp: the return address is on top of the stack.
        (b"\x55\x48\x89\xe5", 16, 9000, ["work", "panic", "caller"]),
        (b"\x48\x89\xe5\x41", 17, 8992, ["work", "panic", "caller"]),
        (b"\xc3\x90\x90\x90", 40, 9000, ["work", "panic", "caller"]),
        (b"\xfa\x90\x90\x90", 0, 9000, ["work", "panic", "caller"]),
        # In the middle the frame pointer is the function's own.
        (b"\x90\x90\x90\x90", 40, 9000, ["work", "caller"]),
    ],
)
def test_a_cpu_stopped_before_its_frame_was_made(
    code: bytes, offset: int, sp: int, expected: list[str]
) -> None:
    memory = stack_of({10000: (0, at("caller"))}, {9000: struct.pack("<Q", at("panic"))})
    memory.blocks[at("work", offset)] = code
    registers = Registers(at("work", offset), STACK + sp, STACK + 10000, interrupted=True)
    (stack,) = unwind(memory, AMD64, [Job(registers, STACK, STACK + 16384)], {}, kernel_half=True)
    assert [frame.function for frame in stack.frames] == expected


def test_a_thread_that_has_not_run_has_one_frame() -> None:
    memory = stack_of({9000: (0, at("caller"))})
    assert functions(memory, {}, at("fork_trampoline", 0), STACK + 9000) == ["fork_trampoline"]


def test_a_stack_leads_through_a_module_without_symbols() -> None:
    module = Module("zfs.ko", None, TEXT + 0x100000, 0x1000)
    kernel = Module("kernel", None, TEXT, 0x200000)
    memory = stack_of(
        {9000: (STACK + 9100, module.address + 0x123), 9100: (STACK + 9200, at("work")), 9200: (0, 0)}
    )
    job = Job(Registers(at("mi_switch"), STACK + 8192, STACK + 9000), STACK, STACK + 16384)
    (known,) = unwind(
        memory, {}, [job], {}, True, lambda addresses: names_by_module([kernel, module], addresses)
    )
    assert [(frame.function, frame.module) for frame in known.frames] == [
        ("mi_switch", None),
        ("??", "zfs.ko"),
        ("work", None),
    ]
    assert known.frames[1].offset == 0x123
    assert known.complete
    (unknown,) = unwind(memory, {}, [job], {}, kernel_half=True)
    assert [frame.function for frame in unknown.frames] == ["mi_switch"]
    assert not unknown.complete


def test_samples_tell_moving_from_stuck() -> None:
    def snapshot(state: str, offset: int) -> Capture:
        stuck = Thread(
            tid=1, state="sleeping", wmesg="vmrndv", wchan=5, frames=(Frame("_sleep", 3),), since=0.5
        )
        other = Thread(tid=2, state=state, frames=(Frame("vm_run", offset),))
        return Capture(host=Host(), threads=(stuck, other))

    captures = annotate([snapshot("sleeping", 1), snapshot("sleeping", 2), snapshot("sleeping", 2)], 0.5)
    assert dict(captures[-1].host.facts) == {"samples": "3 in 1.0 s", "moved": "2"}
    assert annotate([captures[0]], 1.0) == (captures[0],)


def test_variables_by_the_symbol_table(build: Callable[[str], Path], tmp_path: Path) -> None:
    program = build("array")
    names = ("allproc", "zombproc", "osreldate", "hz", "absent", "'vmm_dev.c'::head", "main", "head")
    found = read_variables(str(program), names)
    # head is a variable of two files, main no variable.
    assert set(found) == {"allproc", "zombproc", "osreldate", "hz"}
    for name, address in found.items():
        shown = subprocess.run(["nm", str(program)], capture_output=True, text=True, check=True).stdout
        assert re.search(rf"^0*{address:x} [BbDd] {name}$", shown, re.MULTILINE)
    # What is loaded anywhere has no addresses of its own.
    assert read_variables(str(build("anywhere")), names) == {}
    data = program.read_bytes()
    for number, cut in enumerate((0, 10, 64, len(data) // 2)):
        (tmp_path / f"cut{number}").write_bytes(data[:cut])
        assert read_variables(str(tmp_path / f"cut{number}"), names) == {}
    assert read_variables(str(tmp_path), names) == {}
