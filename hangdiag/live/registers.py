"""Where a thread's registers are: in its pcb, on its CPU, or in what a stopped CPU left behind."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from hangdiag.live.memory import KernelMemory, Layout, Registers
from hangdiag.live.structs import View, bit_set, read_views
from hangdiag.live.threads import is_swapped_out

_INACTIVE, _RUNNING = 0, 4
# sys/sys/proc.h: NOCPU is -1, a u_char 255 before FreeBSD 10.
_NOCPU = frozenset({-1, 255})
_PCB_MEMBERS = ("pcb_rip", "pcb_rsp", "pcb_rbp", "pcb_x", "pcb_lr", "pcb_sp", "pcb_pc")
# sys/arm64/include/pcb.h: since 14 pcb_x begins with x19 (PCB_FP 10, PCB_LR 11); before, with x0.
_ARM64_SHORT = 12


@dataclass(frozen=True, slots=True)
class StoppedCpus:
    """What the kernel's own debugger or a panic left in memory about running threads.

    ``pcbs`` maps the number of a stopped CPU to the address of its saved pcb (``stoppcbs``);
    ``entered`` is the pcb of the CPU that entered the debugger (``kdb_pcb``) or panicked
    (``dumppcb``), and ``dumped`` the tid of the thread that panicked.
    """

    pcbs: dict[int, int]
    entered: int | None
    dumped: int | None


def oncpu(view: View) -> int | None:
    """The CPU that a thread runs on; None if it runs on none or that was not read."""
    cpu = view.signed("td_oncpu")
    return None if cpu is None or cpu in _NOCPU or view.unsigned("td_state") not in (None, _RUNNING) else cpu


def find_stopped(memory: KernelMemory, layouts: dict[str, Layout], symbols: dict[str, int]) -> StoppedCpus:
    """Reads which CPUs are stopped and where their registers are.

    ``kdb_active``, ``kdb_pcb`` (sys/kern/subr_kdb.c), ``stopped_cpus`` and ``stoppcbs`` (sys/kern/subr_smp.c
    and its users: an array up to FreeBSD 13, a pointer later), ``dumptid`` and ``dumppcb``
    (sys/kern/kern_shutdown.c).
    """
    order: Literal["little", "big"] = "big" if memory.byte_order == "big" else "little"
    sizes = {"kdb_active": 1, "dumptid": 4, "stopped_cpus": 0, "stoppcbs": memory.pointer_size}
    if "stopped_cpus" in layouts:
        sizes["stopped_cpus"] = layouts["stopped_cpus"].size
    wanted = [name for name, size in sizes.items() if size and name in symbols]
    blocks = memory.read([(symbols[name], sizes[name]) for name in wanted])
    values = {name: block for name, block in zip(wanted, blocks, strict=True) if block is not None}

    def number(name: str) -> int:
        return int.from_bytes(values.get(name, b""), order)

    pcb = layouts.get("pcb")
    pcbs: dict[int, int] = {}
    if pcb is not None and "stoppcbs" in symbols and "stoppcbs" in layouts:
        pointed = layouts["stoppcbs"].size == memory.pointer_size
        base = number("stoppcbs") if pointed else symbols["stoppcbs"]
        stopped = bit_set(values.get("stopped_cpus", b""), order)
        if base:
            pcbs = {cpu: base + cpu * pcb.size for cpu in stopped}
    entered = None
    dumped = number("dumptid") or None
    if number("kdb_active"):
        entered = symbols.get("kdb_pcb")
    return StoppedCpus(pcbs, entered, dumped)


def read_pcbs(
    memory: KernelMemory, layouts: dict[str, Layout], addresses: Sequence[int], trapped: int | None = None
) -> list[Registers | None]:
    """The registers saved in each ``struct pcb`` of ``addresses`` (amd64 and arm64).

    The one at ``trapped`` was made of a trap frame (makectx(), sys/arm64/arm64/machdep.c): until FreeBSD 13 arm64's
    has the program counter besides, and in its link register what the interrupted function had there.
    """
    layout = layouts.get("pcb")
    if layout is None or not addresses:
        return [None] * len(addresses)
    members = [name for name in _PCB_MEMBERS if name in layout.fields]
    return [
        None if view is None else _from_pcb(view, view.address == trapped)
        for view in read_views(memory, layout, addresses, members)
    ]


def _from_pcb(view: View, trapped: bool) -> Registers | None:
    if view.layout.has("pcb_rip"):
        pc, sp, fp = (view.unsigned(name) for name in ("pcb_rip", "pcb_rsp", "pcb_rbp"))
    else:
        saved = view.raw("pcb_x") or b""
        count = len(saved) // 8
        registers = [int.from_bytes(saved[i * 8 : i * 8 + 8], view.byte_order) for i in range(count)]
        if count == 0:
            return None
        if count <= _ARM64_SHORT:
            fp, pc = registers[-2], registers[-1]
        else:
            fp = registers[29]
            pc = view.unsigned("pcb_lr") or (registers[30] if count > 30 else None)
            if trapped:
                pc = view.unsigned("pcb_pc") or pc
        sp = view.unsigned("pcb_sp")
    if pc is None or fp is None:
        return None
    return Registers(pc, sp or 0, fp)


def thread_registers(
    memory: KernelMemory,
    layouts: dict[str, Layout],
    symbols: dict[str, int],
    threads: Sequence[View],
) -> list[Registers | None]:
    """The registers that each thread's stack begins with; None where they are not in memory.

    A thread that runs has no valid pcb: its registers are those of its CPU, where the source tells
    them, or of its CPU's stop. A running kernel tells neither.
    """
    running = {index: cpu for index, view in enumerate(threads) if (cpu := oncpu(view)) is not None}
    found: list[Registers | None] = [None] * len(threads)
    cpus = memory.cpu_registers() if running else {}
    by_stack = _match_stacks(cpus, {index: threads[index] for index in running})
    stopped = find_stopped(memory, layouts, symbols) if running else StoppedCpus({}, None, None)
    places: dict[int, int] = {}
    for index, view in enumerate(threads):
        if index not in running:
            address = view.unsigned("td_pcb")
            # An exited thread has switched away for good, and its stack may be another's.
            if address and view.unsigned("td_state") != _INACTIVE and not is_swapped_out(view):
                places[index] = address
            continue
        cpu = running[index]
        tid = view.signed("td_tid")
        if index in by_stack:
            found[index] = cpus[by_stack[index]]
        elif cpu in cpus and cpu not in by_stack.values():
            found[index] = cpus[cpu]
        elif stopped.dumped is not None and tid == stopped.dumped and "dumppcb" in symbols:
            places[index] = symbols["dumppcb"]
        elif cpu in stopped.pcbs:
            places[index] = stopped.pcbs[cpu]
        elif stopped.entered is not None:
            places[index] = stopped.entered
    saved = read_pcbs(memory, layouts, list(places.values()), stopped.entered)
    for index, registers in zip(places, saved, strict=True):
        found[index] = registers
    return found


def _match_stacks(cpus: dict[int, Registers], running: dict[int, View]) -> dict[int, int]:
    """The source's CPU for each running thread on whose kernel stack one stands.

    That is surer than the number: a stub counts CPUs in its own order.
    """
    found: dict[int, int] = {}
    for index, view in running.items():
        low = view.unsigned("td_kstack") or 0
        high = low + (view.unsigned("td_kstack_pages") or 4) * 4096
        for cpu, registers in cpus.items():
            if low and low <= registers.sp < high:
                found[index] = cpu
    return found
