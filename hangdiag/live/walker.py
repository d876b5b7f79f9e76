"""The kernel walker: from memory, symbols and layouts to a Capture. It knows no debugger.

It reads in bulk: whole lists advance one element a round, stacks one frame a round, and everything that
a round needs is one question. See :mod:`hangdiag.live.memory` for what it stands on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache

from hangdiag.errors import DebuggerError
from hangdiag.live import ahead
from hangdiag.live import host as host_facts
from hangdiag.live import layouts as wanted
from hangdiag.live import vms as vm_reader
from hangdiag.live.cache import Remembered
from hangdiag.live.locks import LockedThread, read_locks
from hangdiag.live.memory import KernelMemory, Layout, Name, Registers
from hangdiag.live.registers import oncpu, thread_registers
from hangdiag.live.structs import View, read_numbers, read_strings
from hangdiag.live.threads import (
    RawProcess,
    is_swapped_out,
    sleeps_interruptibly,
    thread_state,
    walk_processes,
)
from hangdiag.live.unwind import Job, Stack, unwind
from hangdiag.model import Capture, Frame, Process, Source, Thread, VirtualMachine

_PAGE_SIZE = 4096
_DEFAULT_STACK_PAGES = 4
_MOST_NAMED = 5
# What the kernel's own debugger looks like on the stack of the thread that it interrupted.
_DEBUGGER_FUNCTIONS = frozenset({"kdb_enter", "kdb_trap", "kdb_alt_break_internal", "db_trap", "gdb_trap"})

Progress = Callable[[str, int, int], None]


def _silent(step: str, done: int, total: int) -> None:
    """Reports nothing."""


def walk(source: KernelMemory, path: str = "live", progress: Progress = _silent) -> Capture:
    """Reads the kernel once.

    ``source`` is the kernel; ``path`` names it in the capture; ``progress`` is told (step, done, total).
    What had to be skipped stands in the host's facts under ``skipped``. Raises DebuggerError if the symbols
    cannot tell the kernel's threads, or if ``source`` fails.
    """
    notes: list[str] = []
    memory = Remembered(source)
    progress("layouts", 0, 1)
    layouts, symbols = ask(memory)
    progress("processes", 0, 1)
    ahead.read_variables(memory, symbols, wanted.VM_LIST)
    ahead.read_threads(memory, layouts, symbols)
    first_look = Remembered(memory)
    vms_before = vm_reader.read_vms(first_look, layouts, symbols, notes)
    processes = walk_processes(memory, layouts, symbols, notes)
    views = [view for process in processes for view in process.threads]
    if not views:
        raise DebuggerError(
            f"no thread can be read from allproc: {'; '.join(notes) or 'it is empty'};"
            " give the kernel.full of the kernel that runs with --symbols"
        )
    progress("stacks", 0, len(views))
    registers = thread_registers(memory, layouts, symbols, views)
    names: dict[int, Name] = {}

    @cache
    def modules() -> list[host_facts.Module]:
        return host_facts.read_modules(memory, layouts, symbols, notes)

    stacks = _unwind_all(memory, layouts, symbols, views, registers, names, modules, notes)
    _note_broken_stacks(views, stacks, notes)
    progress("stacks", len(views), len(views))
    threads = _build_threads(memory, layouts, symbols, processes, stacks)
    arguments = host_facts.read_arguments(
        memory,
        layouts,
        {process.pid: pointer for process in processes if (pointer := process.view.unsigned("p_args") or 0)},
    )
    progress("locks", 0, 1)
    host = host_facts.read_host(memory, layouts, symbols)
    locks = read_locks(
        memory,
        layouts,
        [
            LockedThread(view.address, thread.tid, view, thread.state, thread.frames)
            for view, thread in zip(views, threads, strict=True)
        ],
        host.osreldate,
        notes,
    )
    # From the source, not from memory of it: what has changed meanwhile matters. All at once: it is one instant's.
    second_look = Remembered(source)
    second_look.read(first_look.ranges)
    machines = _read_machines(second_look, layouts, symbols, vms_before, threads, arguments, names, notes)
    _note_missing_vmm(layouts, symbols, processes, modules, notes)
    return Capture(
        sources=(Source(path=path, format="kgdb", lines=0),),
        host=replace(host, facts=tuple(("skipped", note) for note in dict.fromkeys(notes))),
        processes=tuple(
            Process(
                process.pid,
                process.view.text("p_comm") or None,
                arguments.get(process.pid),
                process.view.address,
            )
            for process in processes
        ),
        threads=threads,
        locks=locks,
        vms=machines,
    )


def ask(memory: KernelMemory) -> tuple[dict[str, Layout], dict[str, int]]:
    """The layouts and symbols of this kernel; raises DebuggerError if the threads cannot be found by them."""
    symbols = memory.symbols(wanted.SYMBOLS)
    if "allproc" not in symbols:
        raise DebuggerError(
            "the symbols have no allproc: this is no FreeBSD kernel, or it is stripped;"
            " give its kernel.full or kernel.debug with --symbols"
        )
    layouts = memory.layouts(wanted.QUESTIONS)
    needed = {"proc": ("p_list.le_next", "p_threads.tqh_first"), "thread": ("td_plist.tqe_next",)}
    for name, members in needed.items():
        if name not in layouts or not layouts[name].has(*members):
            raise DebuggerError(
                f"the symbols do not describe struct {name}: they lack debug information;"
                " give the kernel.full or kernel.debug of this kernel with --symbols"
            )
    return layouts, symbols


def _unwind_all(
    memory: KernelMemory,
    layouts: dict[str, Layout],
    symbols: dict[str, int],
    views: list[View],
    registers: list[Registers | None],
    names: dict[int, Name],
    modules: Callable[[], list[host_facts.Module]],
    notes: list[str],
) -> list[Stack | None]:
    def unnamed(addresses: Sequence[int]) -> dict[int, Name]:
        return host_facts.names_by_module(modules(), addresses) if addresses else {}

    jobs: list[Job] = []
    indexes: list[int] = []
    for index, (view, found) in enumerate(zip(views, registers, strict=True)):
        if found is None:
            continue
        low = view.unsigned("td_kstack") or 0
        pages = view.unsigned("td_kstack_pages") or _DEFAULT_STACK_PAGES
        jobs.append(Job(found, low, low + min(pages, 64) * _PAGE_SIZE))
        indexes.append(index)
    kernel_half = bool(symbols["allproc"] >> (8 * memory.pointer_size - 1))
    stacks: list[Stack | None] = [None] * len(views)
    unwound = unwind(memory, layouts, jobs, names, kernel_half, unnamed)
    for index, job, stack in zip(indexes, jobs, unwound, strict=True):
        if job.registers.interrupted and job.low and stack.frames and not stack.own:
            # Its registers, and so the names that they seem to have, are then the guest's.
            notes.append(
                f"CPU {oncpu(views[index])} was not on the stack of its thread (inside of a guest?): the frames of"
                f" tid {views[index].signed('td_tid')} are not known"
            )
        else:
            stacks[index] = stack
    return stacks


def _build_threads(
    memory: KernelMemory,
    layouts: dict[str, Layout],
    symbols: dict[str, int],
    processes: list[RawProcess],
    stacks: list[Stack | None],
) -> tuple[Thread, ...]:
    views = [view for process in processes for view in process.threads]
    strings = read_strings(
        memory,
        (view.unsigned(name) or 0 for view in views for name in ("td_wmesg", "td_lockname")),
    )
    clock = read_numbers(memory, {name: (symbols[name], 4) for name in ("ticks", "hz") if name in symbols})
    built: list[Thread] = []
    index = 0
    for process in processes:
        command = process.view.text("p_comm") or None
        pid = process.view.signed("p_pid")
        for view in process.threads:
            state = thread_state(view, process.view)
            built.append(_build_thread(view, state, pid, command, strings, clock, stacks[index]))
            index += 1
    return tuple(built)


def _build_thread(
    view: View,
    state: str | None,
    pid: int | None,
    command: str | None,
    strings: dict[int, str],
    clock: dict[str, int],
    stack: Stack | None,
) -> Thread:
    asleep = state in ("sleeping", "suspended", None) and bool(view.unsigned("td_wchan"))
    frames = stack.frames if stack is not None else ()
    return Thread(
        pid=pid,
        tid=view.signed("td_tid"),
        address=view.address,
        command=command,
        name=view.text("td_name") or None,
        state=state,
        interruptible=sleeps_interruptibly(view) if state == "sleeping" else None,
        wmesg=strings.get(view.unsigned("td_wmesg") or 0) if asleep else None,
        wchan=(view.unsigned("td_wchan") or None) if asleep else None,
        lock=strings.get(view.unsigned("td_lockname") or 0) if state == "lock" else None,
        cpu=oncpu(view) if state == "running" else None,
        since=_since(view, clock),
        frames=frames,
        stack_of_debugger=_is_debuggers(frames),
    )


def _since(view: View, clock: dict[str, int]) -> float | None:
    """Seconds since the thread last gave up its CPU (td_swvoltick, td_swinvoltick; sys/kern/kern_synch.c)."""
    if "ticks" not in clock or clock.get("hz", 0) <= 0:
        return None
    ages = []
    for name in ("td_swvoltick", "td_swinvoltick"):
        tick = view.unsigned(name)
        if tick:
            # ticks is an int that wraps.
            age = (clock["ticks"] - tick) & 0xFFFFFFFF
            if age < 1 << 31:
                ages.append(age)
    return min(ages) / clock["hz"] if ages else None


def _is_debuggers(frames: tuple[Frame, ...]) -> bool:
    return not _DEBUGGER_FUNCTIONS.isdisjoint([frame.function for frame in frames])


def _read_machines(
    memory: KernelMemory,
    layouts: dict[str, Layout],
    symbols: dict[str, int],
    before: list[vm_reader.RawVm],
    threads: tuple[Thread, ...],
    arguments: dict[int, str],
    names: dict[int, Name],
    notes: list[str],
) -> tuple[VirtualMachine, ...]:
    # Read again after the threads: a rendezvous that ended between the two readings is no deadlock,
    # and its sets belong to no single instant.
    after = vm_reader.read_vms(memory, layouts, symbols, []) if before else []
    functions = sorted(
        {pointer for raw in after if (pointer := raw.vm.unsigned("rendezvous_func"))} - set(names)
    )
    if functions:
        names.update(memory.names(functions))
    earlier = {raw.vm.address: raw for raw in before}
    built: list[VirtualMachine] = []
    for raw in after:
        machine = vm_reader.build_vm(raw, names, threads, vm_reader.find_pid(raw, threads, arguments))
        first = earlier.get(raw.vm.address)
        if first is not None and vm_reader.moved(first, raw):
            notes.append(f"the rendezvous of VM {machine.name} moved on while it was read")
            machine = vm_reader.without_rendezvous(machine)
        built.append(machine)
    return tuple(built)


def _note_broken_stacks(views: list[View], stacks: list[Stack | None], notes: list[str]) -> None:
    broken = [
        f"tid {view.signed('td_tid')} after {stack.frames[-1].function}"
        for view, stack in zip(views, stacks, strict=True)
        if stack is not None and stack.frames and not stack.complete
    ]
    away = [f"tid {view.signed('td_tid')}" for view in views if is_swapped_out(view)]
    for what, listed in (("break off", broken), ("are swapped out", away)):
        if listed:
            more = f" and {len(listed) - _MOST_NAMED} more" if len(listed) > _MOST_NAMED else ""
            notes.append(f"stacks {what}: {', '.join(listed[:_MOST_NAMED])}{more}")


def _note_missing_vmm(
    layouts: dict[str, Layout],
    symbols: dict[str, int],
    processes: list[RawProcess],
    modules: Callable[[], list[host_facts.Module]],
    notes: list[str],
) -> None:
    """Says so when vmm is there and its symbols are not: then no VM can be read."""
    if any(name in symbols for name in wanted.VM_LIST) and "vm" in layouts:
        return
    loaded = [module for module in modules() if module.name == "vmm.ko"]
    if loaded:
        notes.append(
            f"vmm.ko is loaded at {loaded[0].address:#x}, but its symbols are not: VMs and the names of vmm's"
            " frames are missing; give the folder of vmm.ko.debug with --kld-path"
        )
    elif any(process.view.text("p_comm") == "bhyve" for process in processes):
        notes.append("the symbols do not describe vmm, so no VM was read, though bhyve runs")
