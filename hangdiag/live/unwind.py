"""Unwinds kernel stacks by their frame pointers, through trap frames.

FreeBSD's kernels are built with frame pointers, and ddb unwinds the same way (sys/amd64/amd64/db_trace.c,
sys/arm64/arm64/db_trace.c). All stacks advance together, one frame a round, and what the next step needs
is asked for in one batch. A stack is one read, unless its bytes are dearer than a question for each frame.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from hangdiag.live.machine import Machine
from hangdiag.live.memory import KernelMemory, Layout, Name, Registers
from hangdiag.live.structs import View
from hangdiag.model import Frame

MAXIMUM_DEPTH = 128
# How much of a stack is read at a time, at most and at least: a page, or a frame record and some more. Most
# stacks of sleeping threads are shorter than the first read, which QEMU's packets (of 4,096 digits) can just hold.
_MOST_READ = 4096
_FIRST_READ = 2048
_LEAST_READ = 64
_PAGE = 4096

Namer = Callable[[Sequence[int]], dict[int, Name]]


def _nameless(addresses: Sequence[int]) -> dict[int, Name]:
    """Knows no name."""
    return {}


@dataclass(frozen=True, slots=True)
class Job:
    """A stack to unwind: where it starts, and the thread's kernel stack from ``low`` up to ``high``."""

    registers: Registers
    low: int
    high: int


@dataclass(frozen=True, slots=True)
class Stack:
    """An unwound stack.

    ``own`` is false if no frame of it lies on the thread's kernel stack; ``complete`` is true if it
    ended where stacks end (at an entry point or a zero frame pointer), false if it broke off.
    """

    frames: tuple[Frame, ...]
    own: bool
    complete: bool


@dataclass(slots=True)
class _Walk:
    """One stack in progress.

    ``exact`` says that ``pc`` is no return address (the innermost frame, an interrupted one);
    ``interrupted`` that the frame was left at any instruction, ``code`` then are the bytes there (None: not read);
    ``callee`` is the address of the frame record that led here; ``need`` is memory to read first.
    """

    job: Job
    pc: int
    sp: int
    fp: int
    exact: bool = True
    interrupted: bool = False
    code: bytes | None = None
    named: bool = False
    callee: int | None = None
    frames: list[Frame] = field(default_factory=list)
    blocks: list[tuple[int, bytes]] = field(default_factory=list)
    need: tuple[int, int] | None = None
    refused: set[int] = field(default_factory=set)
    seen: set[int] = field(default_factory=set)
    turned_back: bool = False
    own: bool = False
    done: bool = False
    complete: bool = False

    def end(self, complete: bool) -> None:
        self.done, self.complete = True, complete

    @property
    def lookup(self) -> int:
        # A call may be its function's last instruction (panic() never returns): the return address
        # then belongs to the next function, and only the address before it to the caller.
        return self.pc if self.exact else self.pc - 1


def unwind(
    memory: KernelMemory,
    layouts: dict[str, Layout],
    jobs: list[Job],
    names: dict[int, Name],
    kernel_half: bool,
    unnamed: Namer = _nameless,
) -> list[Stack]:
    """Unwinds every job; frames are innermost first and named as ddb and procstat name them.

    ``names`` is a cache that is filled; ``unnamed`` is asked for what ``memory`` has no name for. With
    ``kernel_half``, an address in the lower half of the address space ends a stack (it is the user's).
    """
    pcb = layouts.get("pcb")
    machine = Machine(
        memory.pointer_size,
        "big" if memory.byte_order == "big" else "little",
        layouts.get("trapframe"),
        pcb is not None and pcb.has("pcb_x"),
        kernel_half,
        max(_LEAST_READ, min(_MOST_READ, memory.round_trip_bytes)),
    )
    walks = [_start(job, machine) for job in jobs]
    asked = set(names)
    for _ in range(MAXIMUM_DEPTH * 4):
        active = [walk for walk in walks if not walk.done]
        if not active:
            break
        grown = _read_needed(memory, active)
        active = [walk for walk in active if walk.need is None]
        if not machine.arm64:
            _read_code(memory, active)
        wanted = {walk.lookup for walk in active if not walk.named}
        for walk in grown:
            wanted.update(_foresee(walk, machine))
        wanted -= asked
        if wanted:
            asked |= wanted
            found = memory.names(sorted(wanted))
            names.update(found)
            names.update(unnamed(sorted(wanted - found.keys())))
        for walk in active:
            while not walk.done and walk.need is None and (walk.named or walk.lookup in asked):
                _advance(walk, names, machine)
                if walk.interrupted and not walk.named:
                    # Its instruction is to be read first.
                    break
    return [Stack(tuple(walk.frames), walk.own, walk.complete) for walk in walks]


def _start(job: Job, machine: Machine) -> _Walk:
    registers = job.registers
    walk = _Walk(
        job,
        machine.canonical(registers.pc),
        registers.sp,
        registers.fp,
        interrupted=registers.interrupted,
    )
    if job.low <= job.registers.sp < job.high:
        walk.own = True
        # The used part lies above the stack pointer.
        begin = job.registers.sp & ~7
        if machine.chunk >= _FIRST_READ:
            walk.need = (begin, min(job.high - begin, _FIRST_READ))
    return walk


def _read_needed(memory: KernelMemory, walks: list[_Walk]) -> list[_Walk]:
    """Reads what ``walks`` need; returns those that got it."""
    grown: list[_Walk] = []
    needing = [(walk, walk.need) for walk in walks if walk.need is not None]
    blocks = memory.read([need for _, need in needing]) if needing else []
    for (walk, (begin, length)), block in zip(needing, blocks, strict=True):
        walk.need = None
        page_end = (begin // _PAGE + 1) * _PAGE
        if block is not None:
            walk.blocks.append((begin, block))
            grown.append(walk)
        elif begin + length > page_end:
            # The stack may end (or its thread lie about its size) before the run that was asked for.
            walk.need = (begin, page_end - begin)
        else:
            walk.refused.add(begin // _PAGE)
    return grown


def _read_code(memory: KernelMemory, walks: list[_Walk]) -> None:
    """Reads the instruction at which each interrupted frame stands."""
    needing = [walk for walk in walks if walk.interrupted and walk.code is None and not walk.named]
    blocks = memory.read([(walk.pc, 4) for walk in needing]) if needing else []
    for walk, block in zip(needing, blocks, strict=True):
        walk.code = block or b""


def _foresee(walk: _Walk, machine: Machine) -> list[int]:
    """The addresses that ``walk`` is going to name, as far as what was read shows: named at once, they are one question."""
    size = machine.pointer_size
    found: list[int] = []
    fp = walk.fp
    while len(found) < MAXIMUM_DEPTH:
        record = _remembered(walk, fp, 2 * size)
        if record is None:
            break
        pc = machine.canonical(int.from_bytes(record[size:], machine.byte_order))
        if not pc or (machine.kernel_half and not pc >> 63):
            break
        found.append(pc - 1)
        callee, fp = fp, int.from_bytes(record[:size], machine.byte_order)
        if fp <= callee:
            break
    return found


def _advance(walk: _Walk, names: dict[int, Name], machine: Machine) -> None:
    """Names the current frame, then moves to its caller, or says which memory that needs."""
    if not walk.named and not _name_frame(walk, names, machine):
        return
    function = walk.frames[-1].function
    if walk.exact and len(walk.frames) == 1 and function == "fork_trampoline":
        # It has not run yet: its frame pointer may be a copy of its parent's.
        walk.end(complete=True)
        return
    place = _return_address_place(walk) if walk.interrupted else None
    if place is not None:
        address = _load(walk, place, machine.pointer_size, machine)
        if address is not None:
            # The frame pointer is still (or again) the caller's.
            walk.pc = int.from_bytes(address, machine.byte_order)
            walk.callee, walk.exact, walk.interrupted, walk.named = None, False, False, False
        return
    entry, last = machine.is_entry(function)
    if (entry or last) and not walk.exact:
        if last:
            walk.end(complete=True)
        else:
            _through_trap(walk, machine)
        return
    if walk.fp == 0:
        walk.end(complete=not walk.turned_back)
        return
    size = machine.pointer_size
    record = _load(walk, walk.fp, 2 * size, machine)
    if record is None:
        return
    if walk.job.low <= walk.fp < walk.job.high:
        walk.own = True
    _move(
        walk,
        pc=machine.canonical(int.from_bytes(record[size:], machine.byte_order)),
        fp=int.from_bytes(record[:size], machine.byte_order),
    )


def _return_address_place(walk: _Walk) -> int | None:
    """Where the return address of an interrupted frame lies if it has no frame record yet, or no more.

    As db_backtrace() in sys/amd64/amd64/db_trace.c tells it: by the instruction that comes next.
    """
    if not walk.code or not walk.sp:
        return None
    if walk.code == b"\x55\x48\x89\xe5" or walk.code[:1] == b"\xc3" or walk.frames[-1].offset == 0:
        # push %rbp; mov %rsp,%rbp - or ret - or an assembler function's first instruction
        return walk.sp
    if walk.code[:3] == b"\x48\x89\xe5":
        # mov %rsp,%rbp
        return walk.sp + 8
    return None


def _name_frame(walk: _Walk, names: dict[int, Name], machine: Machine) -> bool:
    """Appends the current frame; ends the walk and returns False where its address has no name."""
    frame = machine.frames.get((walk.pc, walk.exact))
    if frame is None:
        name = names.get(walk.lookup)
        if name is None or (machine.kernel_half and not walk.pc >> 63):
            walk.end(complete=False)
            return False
        offset = name.offset if walk.exact else name.offset + 1
        frame = Frame(name.function, offset, name.module, name.file, name.line, address=walk.pc)
        machine.frames[walk.pc, walk.exact] = frame
    walk.frames.append(frame)
    walk.named = True
    if len(walk.frames) >= MAXIMUM_DEPTH:
        walk.end(complete=False)
        return False
    return True


def _move(walk: _Walk, pc: int, fp: int) -> None:
    """On to the caller by the frame record at ``walk.fp``."""
    low, high = walk.job.low, walk.job.high
    callee = walk.fp
    if pc == 0:
        walk.end(complete=True)
        return
    if (low <= callee < high and low <= fp <= callee) or fp in walk.seen:
        # Callers lie above on a stack: a chain that turns back is garbage.
        fp, walk.turned_back = 0, True
    walk.seen.add(fp)
    walk.pc, walk.fp, walk.callee = pc, fp, callee
    walk.exact, walk.interrupted, walk.named = False, False, False


def _through_trap(walk: _Walk, machine: Machine) -> None:
    """On to the interrupted function, whose registers the entry point saved in a ``struct trapframe``.

    On amd64 it lies right above the frame record of the C function that the entry point called
    (db_nextframe()); on arm64 right below the entry point's own (db_stack_trace_cmd()).
    """
    layout = machine.trapframe
    if layout is None or walk.callee is None:
        walk.end(complete=False)
        return
    base = walk.fp - layout.size if machine.arm64 else walk.callee + 2 * machine.pointer_size
    data = _load(walk, base, layout.size, machine)
    if data is None:
        return
    view = View(layout, base, data, machine.byte_order)
    if machine.arm64:
        pc, fp = view.unsigned("tf_elr"), _register(view, "tf_x", 29, machine)
    else:
        pc, fp = view.unsigned("tf_rip"), view.unsigned("tf_rbp")
        if (view.unsigned("tf_cs") or 0) & 3:
            # Trapped from user mode: that is where the kernel's stack begins.
            walk.end(complete=True)
            return
    if not pc:
        walk.end(complete=True)
        return
    walk.pc, walk.fp, walk.callee = machine.canonical(pc), fp or 0, None
    walk.sp = (view.unsigned("tf_rsp") or 0) if not machine.arm64 else 0
    walk.exact, walk.interrupted, walk.code, walk.named = True, True, None, False


def _register(view: View, member: str, index: int, machine: Machine) -> int | None:
    data = view.raw(member)
    if data is None or len(data) < (index + 1) * 8:
        return None
    return int.from_bytes(data[index * 8 : index * 8 + 8], machine.byte_order)


def _load(walk: _Walk, address: int, length: int, machine: Machine) -> bytes | None:
    """Memory at ``address``; None if it must be read first (``walk.need``) or cannot be (the walk ends)."""
    found = _remembered(walk, address, length)
    if found is not None:
        return found
    if address <= 0 or address % 8 or address >> 64 or address // _PAGE in walk.refused:
        walk.end(complete=False)
        return None
    low, high = walk.job.low, walk.job.high
    limit = high if low <= address < high else (address // _PAGE + 1) * _PAGE
    walk.need = (address, max(length, min(limit - address, machine.chunk)))
    return None


def _remembered(walk: _Walk, address: int, length: int) -> bytes | None:
    for begin, block in reversed(walk.blocks):
        offset = address - begin
        if offset >= 0 and offset + length <= len(block):
            return block[offset : offset + length]
    return None
