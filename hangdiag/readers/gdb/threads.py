"""Who a thread is, as gdb names it: ``info threads``, headers, ``[Switching to thread ...]``.

kgdb's target ids are from devel/gdb's fbsd-kvm.c (``Thread <tid>``) and fbsd-kthr.c
(``PID=<pid>: <comm>[/<td_name>]`` in a buffer of 64 bytes); QEMU and ``bhyve -G`` show CPUs
(``CPU#0 [running]``, ``vCPU 0``), a native gdb shows LWPs.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from hangdiag.model import Thread
from hangdiag.readers.gdb import frames as gdb_frames
from hangdiag.readers.section import Opener, Section
from hangdiag.readers.stacks import number
from hangdiag.text.lazy import lazy

HEADER = lazy(r"Thread (?P<number>\d+)(?:\.\d+)? \((?P<target>.*?)\)(?: \"(?P<title>.*)\")?\)?:?\s*\Z")
_KERNEL = lazy(r"Thread (?P<tid>\d+)\b(?! *\.)")
_PROCESS = lazy(r"\(PID=(?P<pid>\d+): (?P<who>[^)]*)\)?")
_CPU = lazy(r"CPU ?#(?P<cpu>\d+)|\bvCPU (?P<vcpu>\d+)")
_LWP = lazy(r"LWP (?P<lwp>\d+)(?: of process (?P<pid>\d+))?(?: (?P<name>[^)]*))?")
_ROW = lazy(r"(?P<current>\*)?\s+(?P<number>\d+)(?:\.\d+)?\s+(?P<target>(?:Thread|LWP|process)\b.*)\Z")
_SWITCH = lazy(r"\[Switching to thread \d+ \((?P<target>.*)\)\]")
_TARGET = lazy(
    r"(?:Thread [\d.]+|LWP \d+|process \d+)(?: of process \d+)?"
    r"(?: \([^()]{0,200}\))?(?: \"[^\"]*\")?"
)
_FRAME_COLUMN = lazy(r"\s+(?:0x[0-9a-f]+ in )?[A-Za-z_?][\w.@$?]* ?\(")


@dataclass(frozen=True, slots=True)
class Identity:
    """What a target id tells."""

    pid: int | None = None
    tid: int | None = None
    command: str | None = None
    name: str | None = None
    cpu: int | None = None
    number: int | None = None


def identify(target: str, title: str | None = None, number: int | None = None) -> Identity:
    """An identity from gdb's target id and, from gdb 11 on, the name in quotes behind it."""
    cpu = _CPU.search(target)
    if cpu is not None:
        return Identity(cpu=int(cpu.group("cpu") or cpu.group("vcpu") or 0), name=title, number=number)
    lwp = _LWP.search(target)
    if lwp is not None and not target.startswith("Thread 1"):
        pid = lwp.group("pid")
        name = title or (lwp.group("name") or "").strip('"( ') or None
        return Identity(int(pid) if pid else None, int(lwp.group("lwp")), name=name, number=number)
    kernel = _KERNEL.match(target)
    tid = int(kernel.group("tid")) if kernel is not None else None
    process = _PROCESS.search(target)
    if process is None:
        return Identity(tid=tid, name=title, number=number)
    command, slash, name = process.group("who").strip().partition("/")
    return Identity(int(process.group("pid")), tid, command, name if slash else command, number=number)


def _read_switch(section: Section, start: int, match: re.Match[str]) -> int:
    found = _SWITCH.match(section.lines[start])
    if found is not None:
        section.context["gdb thread"] = identify(found.group("target"))
    return start + 1


def _read_info(section: Section, start: int, match: re.Match[str]) -> int:
    """``info threads``: the innermost frame is kept only where the thread has no other stack."""
    lines = section.lines
    index = start + 1
    threads = []
    while index < len(lines):
        row = _ROW.match(lines[index])
        if row is None:
            break
        begin = index
        index += 1
        text = row.group("target")
        while index < len(lines) and lines[index].startswith((" at ", "    at ", "    ")) and not _ROW.match(lines[index]):
            text += " " + lines[index].strip()
            index += 1
        target, frame_text = _split_row(text)
        identity = identify(target, number=int(row.group("number")))
        frame = gdb_frames.parse_frame("#0  " + frame_text) if frame_text else None
        where = section.where(begin, index)
        if row.group("current"):
            section.context.setdefault("gdb thread", identity)
        if identity.tid is None:
            continue  # a CPU: its stack tells which thread it ran, if it comes
        address = frame.argument("td") if frame is not None and frame.function == "sched_switch" else None
        threads.append(
            Thread(
                identity.pid,
                identity.tid,
                number(address.split()[0]) if address else None,
                identity.command,
                identity.name,
                frames=(frame,) if frame is not None else (),
                where=(where,),
                stack_where=where if frame is not None else None,
                stack_of_debugger=bool(
                    frame is not None
                    and frame.function == "kdb_enter"
                    and identity.number == 1
                    and section.context.get("gdb first thread is not current")
                ),
            )
        )
    section.draft.add_threads(threads)
    return index


def _split_row(text: str) -> tuple[str, str]:
    """Target id and frame of a row: the frame begins after the id's parentheses or quotes."""
    position = 0
    process = _PROCESS.search(text)
    if process is not None:
        position = process.end()
    else:
        brackets = _TARGET.match(text)
        if brackets is not None:
            position = brackets.end()
    frame = _FRAME_COLUMN.match(text, position)
    if frame is None:
        return text, ""
    return text[:position], text[position:].strip()


OPENERS = (
    Opener("gdb-info-threads", "kgdb", r"\s+Id\s+Target Id\s", _read_info),
    Opener("gdb-switch", "kgdb", r"\[Switching to thread \d+ ", _read_switch),
)
