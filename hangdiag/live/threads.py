"""Walks the kernel's lists of processes and threads.

``allproc`` is a LIST of ``struct proc``, each with a TAILQ of ``struct thread`` (sys/sys/proc.h). The
kernel may run while it is read and its memory may be corrupted, so every list is bounded, a list that
closes on itself is cut, and a thread that no longer belongs to its process ends that process' list.
What was left out is said in the notes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from hangdiag.live.cache import Remembered
from hangdiag.live.hashes import read_buckets, read_chains
from hangdiag.live.memory import Field, KernelMemory, Layout
from hangdiag.live.structs import View, hull, read_views

MAXIMUM_PROCESSES = 100_000
MAXIMUM_THREADS = 400_000
# No member is called so.
_EMBEDDED_PCB = "(pcb)"


@dataclass(frozen=True, slots=True)
class RawProcess:
    """One ``struct proc`` and its threads, as read."""

    view: View
    threads: tuple[View, ...]

    @property
    def pid(self) -> int:
        return self.view.signed("p_pid") or 0


def walk_processes(
    memory: Remembered, layouts: dict[str, Layout], symbols: dict[str, int], notes: list[str]
) -> list[RawProcess]:
    """All processes and their threads, in the order of ``allproc``; after them zombies, which had a list of their own
    until FreeBSD 12 and since are only in the hash table of process ids (sys/kern/kern_exit.c, exit1()).

    Adds a line to ``notes`` for everything skipped.
    """
    seen: set[int] = set()
    processes: list[View] = []
    for name, what in (("allproc", "processes"), ("zombproc", "zombies")):
        if name in symbols:
            processes += _follow_processes(memory, layouts["proc"], symbols[name], what, seen, notes)
    if "zombproc" not in symbols:
        processes += _find_zombies(memory, layouts["proc"], symbols, {view.address for view in processes})
    threads = _follow_threads(memory, layouts["thread"], layouts.get("pcb"), processes, notes)
    return [RawProcess(view, tuple(found)) for view, found in zip(processes, threads, strict=True)]


def _follow_processes(
    memory: Remembered, layout: Layout, head: int, what: str, seen: set[int], notes: list[str]
) -> list[View]:
    first = memory.read([(head, memory.pointer_size)])[0]
    if first is None:
        notes.append(f"the list of {what} at {head:#x} cannot be read")
        return []
    address = int.from_bytes(first, "big" if memory.byte_order == "big" else "little")
    found: list[View] = []
    while address:
        if address in seen:
            notes.append(f"the list of {what} runs in a circle at {address:#x}: stopped after {len(found)}")
            break
        if len(seen) >= MAXIMUM_PROCESSES:
            notes.append(f"more than {MAXIMUM_PROCESSES} processes: the rest was skipped")
            break
        seen.add(address)
        memory.read_around([address + hull(layout, layout.fields)[0]])
        view = read_views(memory, layout, [address])[0]
        if view is None:
            notes.append(f"the list of {what} is broken after {len(found)}: {address:#x} cannot be read")
            break
        found.append(view)
        address = view.unsigned("p_list.le_next") or 0
    return found


def _find_zombies(
    memory: Remembered, layout: Layout, symbols: dict[str, int], known: set[int]
) -> list[View]:
    """The zombies that ``pidhashtbl`` leads to, if that table costs no more than the lists."""
    if not layout.has("p_hash.le_next", "p_state"):
        return []
    heads = read_buckets(memory, symbols, "pidhashtbl", "pidhash")
    return [
        view
        for views in read_chains(memory, layout, heads, "p_hash.le_next", MAXIMUM_PROCESSES)
        for view in views
        if view.address not in known and view.unsigned("p_state") == _PRS_ZOMBIE
    ]


def _follow_threads(
    memory: Remembered, layout: Layout, pcb: Layout | None, processes: list[View], notes: list[str]
) -> list[list[View]]:
    # All processes' lists advance together, one thread each a round: round trips grow with the
    # longest list, not with the number of threads.
    found: list[list[View]] = [[] for _ in processes]
    pending = [
        (index, first)
        for index, view in enumerate(processes)
        if (first := view.unsigned("p_threads.tqh_first") or 0)
    ]
    seen: set[int] = set()
    if pending:
        layout = with_pcb(memory, layout, pcb, pending[0][1])
    begin = hull(layout, layout.fields)[0]
    while pending:
        memory.read_around(address + begin for _, address in pending)
        views = read_views(memory, layout, [address for _, address in pending])
        following: list[tuple[int, int]] = []
        for (index, address), view in zip(pending, views, strict=True):
            process = processes[index]
            pid = process.signed("p_pid")
            if view is None:
                notes.append(
                    f"the list of threads of pid {pid} is broken after {len(found[index])}:"
                    f" {address:#x} cannot be read"
                )
                continue
            owner = view.unsigned("td_proc")
            if owner is not None and owner != process.address:
                notes.append(
                    f"thread {address:#x} in the list of pid {pid} belongs to another process (freed while"
                    " it was read?): the rest of the list was skipped"
                )
                continue
            if address in seen:
                notes.append(f"the list of threads of pid {pid} runs in a circle at {address:#x}")
                continue
            seen.add(address)
            found[index].append(view)
            next_address = view.unsigned("td_plist.tqe_next") or 0
            if next_address:
                following.append((index, next_address))
        if len(seen) >= MAXIMUM_THREADS:
            notes.append(f"more than {MAXIMUM_THREADS} threads: the rest was skipped")
            break
        pending = following
    return found


def with_pcb(memory: KernelMemory, layout: Layout, pcb: Layout | None, first: int) -> Layout:
    """``layout`` with the pcb as one more member, if this kernel keeps the pcb inside the thread.

    Both are then one read. FreeBSD 12 does so on amd64; later kernels keep it on the kernel stack.
    """
    view = read_views(memory, layout, [first])[0]
    place = view.unsigned("td_pcb") if view is not None else None
    if pcb is None or place is None:
        return layout
    offset = place - first
    begin, length = hull(pcb, pcb.fields)
    if not 0 < offset <= layout.size - pcb.size:
        return layout
    return replace(layout, fields={**layout.fields, _EMBEDDED_PCB: Field(offset + begin, length)})


# sys/sys/proc.h, unchanged from 12 to 15: enum td_states and the TDI_ bits of td_inhibitors.
_STATES = {2: "runnable", 3: "runnable", 4: "running"}
# enum p_state.
_PRS_ZOMBIE = 2
_LIFETIMES = {_PRS_ZOMBIE: "zombie"}
_INACTIVE, _INHIBITED = 0, 1
_TDI_SWAPPED = 0x4
_INHIBITORS = (
    (0x8, "lock"), (0x2, "sleeping"), (0x10, "iwait"), (0x1, "suspended"), (_TDI_SWAPPED, "swapped"),
)  # fmt: skip
_TDF_SINTR = 0x8


def thread_state(view: View, process: View) -> str | None:
    """The state of a thread of ``process`` in the words of :class:`hangdiag.model.Thread`."""
    state = view.unsigned("td_state")
    if state is None:
        return "sleeping" if view.unsigned("td_wchan") else None
    if state == _INACTIVE:
        return _LIFETIMES.get(process.unsigned("p_state") or 0, "inactive")
    if state != _INHIBITED:
        return _STATES.get(state)
    inhibitors = view.unsigned("td_inhibitors") or 0
    for bit, name in _INHIBITORS:
        if inhibitors & bit:
            return name
    return None


def is_swapped_out(view: View) -> bool:
    """True if the thread's kernel stack is not in memory (until FreeBSD 14)."""
    return view.unsigned("td_state") == _INHIBITED and bool((view.unsigned("td_inhibitors") or 0) & _TDI_SWAPPED)


def sleeps_interruptibly(view: View) -> bool | None:
    """True where TDF_SINTR is set, that is for an S sleep (ps(1)); None if the flags were not read."""
    flags = view.unsigned("td_flags")
    return None if flags is None else bool(flags & _TDF_SINTR)
