"""Prints threads, locks and VMs so that ``hangdiag analyze`` reads them back.

Each thread's stack in the form that loses nothing of it: gdb's where arguments or source
lines are known, ddb's where the thread's address is, procstat's else. What no stack shows
(wait messages, locks and owners, VM fields) as ddb's and kgdb's own commands print it.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Sequence

from hangdiag.findings import Diagnosis
from hangdiag.model import Frame, LockFact, Thread, Vcpu, VirtualMachine
from hangdiag.report.places import escape

_SYMBOL = re.compile(r"[A-Za-z_][\w.$@]*\Z")


def thread_lines(diagnosis: Diagnosis, indices: Sequence[int]) -> list[str]:
    """Everything that the capture says of these threads, in lines that are read back."""
    threads = [diagnosis.capture.threads[index] for index in indices]
    blocks = [
        _host(diagnosis),
        _processes(diagnosis, threads),
        _states(diagnosis, threads),
        _lock_facts(diagnosis, threads),
        *(_structure(machine_number, vm) for machine_number, vm in enumerate(diagnosis.capture.vms, 1)),
        *_stacks(threads, diagnosis.capture.is_abridged),
    ]
    lines: list[str] = []
    for block in blocks:
        if block:
            lines += ["", *block] if lines else block
    return [escape(line) for line in lines]


def _host(diagnosis: Diagnosis) -> list[str]:
    """The kernel's version, as sysctl prints it: which fixes it has depends on it."""
    host = diagnosis.capture.host
    known = (("kern.osrelease", host.release), ("kern.osreldate", host.osreldate), ("hw.machine_arch", host.arch))
    return [f"{name}: {value}" for name, value in known if value is not None]


def _processes(diagnosis: Diagnosis, threads: Iterable[Thread]) -> list[str]:
    """What tells a process' arguments, and with them the VM's name: ``show proc``, else a ``ps``."""
    pids = {thread.pid for thread in threads}
    shown = [process for process in diagnosis.capture.processes if process.pid in pids and process.arguments]
    lines: list[str] = []
    for process in shown:
        if process.address is not None:
            lines += [
                f"Process {process.pid} ({process.command or '?'}) at {process.address:#x}:",
                f" arguments: {process.arguments}",
                "",
            ]
    rest = [process for process in shown if process.address is None]
    if rest:
        return [*lines, "  PID STAT COMMAND", *(f"{process.pid:>5} ?    {process.arguments}" for process in rest)]
    return lines[:-1]


def _named(thread: Thread) -> str:
    return f"thread {thread.tid} (pid {thread.pid}, {thread.name or thread.command or '?'})"


def _state(thread: Thread) -> str | None:
    """``show sleepchain``'s line for a thread that waits for no lock."""
    if thread.tid is None or thread.pid is None:
        return None
    if thread.wmesg is not None and thread.wchan is not None:
        return f' {_named(thread)} is sleeping on {thread.wchan:#x} "{thread.wmesg}"'
    if thread.state == "running":
        return f" {_named(thread)} running on {f'CPU {thread.cpu}' if thread.cpu is not None else 'a CPU'}"
    if thread.state == "runnable":
        return f" {_named(thread)} is on a run queue"
    return None


def _states(diagnosis: Diagnosis, threads: Sequence[Thread]) -> list[str]:
    """``show sleepchain`` and ``show lockchain``; a ``ps`` for what these cannot tell."""
    blocked = {tid for fact in diagnosis.capture.locks for tid in fact.waiters}
    lines: list[str] = []
    rows: list[str] = []
    for thread in threads:
        if thread.tid in blocked:
            continue
        line = _state(thread) if thread.lock is None else None
        if line is not None:
            lines.append(line)
        elif thread.tid is not None and thread.pid is not None and (thread.lock or thread.wmesg or thread.state in _LETTERS):
            rows.append(_row(thread))
    chains = _chains(diagnosis, threads)
    if chains:
        lines += ["", *chains] if lines else chains
    if rows:
        lines += ["", _PS_HEADER, *rows] if lines else [_PS_HEADER, *rows]
    return lines


_PS_HEADER = "  PID    LWP STAT MWCHAN   TDNAME"
_LETTERS = {"suspended": "T", "iwait": "W", "zombie": "Z", "lock": "L"}


def _row(thread: Thread) -> str:
    """``ps -H``'s row of a thread. Its wait message is never longer than 8 characters."""
    letter = _LETTERS.get(thread.state or "") or ("?" if thread.interruptible is None else "S" if thread.interruptible else "D")
    message = f"*{thread.lock}" if thread.lock is not None else (thread.wmesg or "-")[:8]
    return f"{thread.pid:>5} {thread.tid:>6} {letter:<4} {message:<8} {thread.name or ''}"


def _blocked_on(thread: Thread, fact: LockFact) -> str:
    kind = fact.lock_class if fact.lock_class in ("sx", "lockmgr") else "lock"
    address = f" {fact.address:#x}" if fact.address is not None else ""
    shown = f" ({fact.lock_class})" if fact.lock_class is not None and kind == "lock" else ""
    mode = {"kernproc": " KERNPROC", "shared": " SHARED"}.get(fact.state or "", "")
    count = f" (count {fact.shares})" if mode == " SHARED" and fact.shares else ""
    return f' {_named(thread)} is blocked on {kind}{address}{shown} "{fact.name or ""}"{mode}{count}'


def _chains(diagnosis: Diagnosis, threads: Sequence[Thread]) -> list[str]:
    """``show lockchain`` for each thread that is blocked on a lock: the owner stands in the next line."""
    by_tid = {thread.tid: thread for thread in diagnosis.capture.threads if thread.tid is not None}
    facts: dict[int, LockFact] = {}
    for fact in diagnosis.capture.locks:
        for tid in fact.waiters:
            # of several statements about the same wait, the one that names the owner
            if tid not in facts or facts[tid].owner is None:
                facts[tid] = fact
    lines: list[str] = []
    shown: set[int] = set()
    number = 0
    for start in threads:
        if start.tid not in facts or start.pid is None or start.tid in shown:
            continue
        number += 1
        lines += ["", f"chain {number}:"] if lines else [f"chain {number}:"]
        thread: Thread | None = start
        seen: set[int] = set()
        while thread is not None and thread.tid in facts and thread.pid is not None:
            fact = facts[thread.tid]
            lines.append(_blocked_on(thread, fact))
            if thread.tid in seen:
                break
            seen.add(thread.tid)
            shown.add(thread.tid)
            thread = by_tid.get(fact.owner) if fact.owner is not None else None
        else:
            if thread is not None and thread.pid is not None:
                lines.append(_state(thread) or f" {_named(thread)} inhibited")
    return lines


def _lock_facts(diagnosis: Diagnosis, threads: Sequence[Thread]) -> list[str]:
    """``show alllocks`` for the locks that these threads hold, as far as it was read."""
    by_tid = {thread.tid: thread for thread in diagnosis.capture.threads if thread.tid is not None}
    shown = {thread.tid for thread in threads}
    held: dict[int, list[str]] = {}
    for fact in diagnosis.capture.locks:
        if fact.address is None or fact.waiters:
            continue
        owners = [(fact.owner, "exclusive")] if fact.owner is not None else [(tid, "shared") for tid in fact.sharers]
        for tid, mode in owners:
            if tid in shown and by_tid[tid].address is not None and by_tid[tid].pid is not None:
                line = f"{mode} {fact.lock_class or 'lockmgr'} {fact.name or '?'} r = 0 ({fact.address:#x}) locked @ -:0"
                held.setdefault(tid, []).append(line)
    lines: list[str] = []
    for tid, found in held.items():
        thread = by_tid[tid]
        lines.append(f"Process {thread.pid} ({thread.command or '?'}) thread {thread.address:#x} ({tid})")
        lines += dict.fromkeys(found)
    return lines


def _structure(number: int, vm: VirtualMachine) -> list[str]:
    """The fields of ``struct vm`` that were read, as kgdb prints them."""
    softc = f"softc{number}"
    values: list[tuple[str, str]] = []
    if vm.destroying:
        values.append((f"p *{softc}", f"{{vm = {vm.address or 0:#x}, cdev = 0x0, link = {{sle_next = 0x0}}}}"))
    elif vm.address is not None:
        values.append((f"p {softc}->vm", f"(struct vm *) {vm.address:#x}"))
    fields = _vm_fields(vm)
    if vm.requested is not None:
        values.append((f"p *{softc}->vm", "{" + ", ".join(f"{name} = {value}" for name, value in fields) + "}"))
    else:
        values += [(f"p {softc}->vm->{name}", value) for name, value in fields]
    lines = []
    for count, (command, value) in enumerate(values, 1):
        lines += [f"(kgdb) {command}", *_wrapped(f"${count} = {value}")]
    return lines


def _vm_fields(vm: VirtualMachine) -> list[tuple[str, str]]:
    fields: list[tuple[str, str]] = []
    if vm.name is not None:
        fields.append(("name", f'"{vm.name}"'))
    sets = (
        ("active_cpus", vm.active),
        ("suspended_cpus", vm.suspended),
        ("debug_cpus", vm.debugged),
        ("halted_cpus", vm.halted),
        ("rendezvous_req_cpus", vm.requested),
        ("rendezvous_done_cpus", vm.done),
    )
    fields += [(name, _cpu_set(members)) for name, members in sets if members is not None]
    if vm.rendezvous_function is not None:
        function = f"0x1 <{vm.rendezvous_function}>" if vm.rendezvous_function else "0x0"
        fields.append(("rendezvous_func", function))
    if vm.suspend is not None:
        fields.append(("suspend", str(vm.suspend)))
    limit = max(vm.active) + 1 if vm.active else len(vm.vcpus)
    vcpus = [vcpu for vcpu in vm.vcpus if vcpu.id < limit]
    if [vcpu.id for vcpu in vcpus] == list(range(len(vcpus))) and vcpus:
        fields.append(("vcpu", "{" + ", ".join(_vcpu(vcpu) for vcpu in vcpus) + "}"))
    else:
        fields += [(f"vcpu[{vcpu.id}]", _vcpu(vcpu)) for vcpu in vcpus]
    return fields


def _vcpu(vcpu: Vcpu) -> str:
    known = []
    if vcpu.state is not None:
        known.append(f"state = VCPU_{vcpu.state}")
    if vcpu.hostcpu is not None:
        known.append(f"hostcpu = {vcpu.hostcpu}")
    if vcpu.reqidle is not None:
        known.append(f"reqidle = {int(vcpu.reqidle)}")
    return "{" + ", ".join(known) + "}"


def _wrapped(text: str) -> list[str]:
    """A value over several lines, as gdb wraps it."""
    return textwrap.wrap(text, 80, subsequent_indent="    ", break_long_words=False, break_on_hyphens=False)


def _cpu_set(members: frozenset[int]) -> str:
    words = [0] * max(4, max(members, default=0) // 64 + 1)
    for member in members:
        words[member // 64] |= 1 << member % 64
    return "{__bits = {" + ", ".join(f"{word:#x}" for word in words) + "}}"


def _stacks(threads: Sequence[Thread], abridged: bool) -> list[list[str]]:
    """Each thread's stack in its own form; procstat's rows stand in one table at the end.

    The command says that gdb's are all there are, unless the capture was ``abridged``.
    """
    blocks: list[list[str]] = []
    rows: list[str] = []
    number = 0
    for thread in threads:
        if _needs_gdb(thread):
            number += 1
            if number == 1 and not abridged:
                blocks.append(["(kgdb) thread apply all bt"])
            blocks.append(_gdb(number, thread))
        elif thread.address is not None and thread.pid is not None and thread.tid is not None:
            blocks.append(_ddb(thread))
        else:
            rows += _procstat(thread)
    if rows:
        blocks.append([f"{'PID':>5} {'TID':>6} {'COMM':<19} {'TDNAME':<19} KSTACK", *rows])
    return blocks


def _needs_gdb(thread: Thread) -> bool:
    if thread.pid is None or thread.tid is None:
        return bool(thread.frames)
    return any(frame.args or frame.file is not None or frame.inlined for frame in thread.frames)


def _gdb(number: int, thread: Thread) -> list[str]:
    who = thread.command or ""
    if thread.name is not None and thread.name != who:
        who += f"/{thread.name}"
    if thread.tid is not None and thread.pid is not None:
        target = f"Thread {thread.tid} (PID={thread.pid}: {who})"
    elif thread.tid is not None:
        target = f"Thread {thread.tid}"
    else:
        target = f"CPU#{thread.cpu} [running]" if thread.cpu is not None else "a thread without an id"
    title = f' "{thread.name}"' if thread.pid is None and thread.name is not None else ""
    lines = [f"Thread {number} ({target}){title}:"]
    for level, frame in enumerate(thread.frames):
        lines += _gdb_frame(level, frame)
    return lines


def _gdb_frame(level: int, frame: Frame) -> list[str]:
    address = f"0x{frame.address:016x} in " if frame.address is not None and not frame.inlined else ""
    begin = f"#{level:<2} {address}{frame.function} ("
    pieces = [f"{name}={value}" for name, value in frame.args]
    tail = f"at {frame.file}:{frame.line}" if frame.file is not None and frame.line is not None else ""
    if not tail and frame.module is not None:
        tail = f"from {frame.module}"
    lines = [begin]
    for position, piece in enumerate(pieces):
        piece += ", " if position + 1 < len(pieces) else ")"
        if len(lines[-1]) + len(piece.rstrip()) > 80 and lines[-1].strip() and not lines[-1].endswith("("):
            lines.append("    ")
        lines[-1] += piece
    if not pieces:
        lines[-1] += ")"
    if tail:
        if len(lines[-1]) + 1 + len(tail) > 80:
            lines.append("    " + tail)
        else:
            lines[-1] += " " + tail
    return [line.rstrip() for line in lines]


def _ddb(thread: Thread) -> list[str]:
    command = f"command {thread.command} " if thread.command is not None else ""
    cpu = f" (CPU {thread.cpu})" if thread.cpu is not None and thread.state == "running" else ""
    lines = [f"Tracing {command}pid {thread.pid} tid {thread.tid} td {thread.address:#x}{cpu}"]
    for frame in thread.frames:
        if _SYMBOL.match(frame.function):
            offset = f"+{frame.offset:#x}" if frame.offset is not None else ""
            lines.append(f"{frame.function}() at {frame.function}{offset}")
        elif frame.address is not None:
            lines.append(f"(null)() at {frame.address:#x}")
    return lines


def _procstat(thread: Thread) -> list[str]:
    """A row, its stack wrapped at 80 columns."""
    if thread.pid is None or thread.tid is None:
        return []
    mark = {"running": "<running>", "swapped": "<swapped>"}.get(thread.state or "", "") if not thread.frames else ""
    lines = [f"{thread.pid:>5} {thread.tid:>6} {thread.command or '-':<19} {thread.name or '-':<19} {mark}"]
    for frame in thread.frames:
        module = f"{frame.module}`" if frame.module is not None else ""
        word = f"{module}{frame.function}" + (f"+{frame.offset:#x}" if frame.offset is not None else "")
        if len(lines[-1]) + len(word) > 80 and not lines[-1].endswith(" " * 5):
            lines.append("      " + word + " ")
        else:
            lines[-1] += word + " "
    return [line.rstrip() if number or mark or thread.frames else line for number, line in enumerate(lines)]
