"""Who a thread is, as gdb names it: ``info threads``, headers, ``[Switching to thread ...]``.

kgdb's target ids are from devel/gdb's fbsd-kvm.c (``Thread <tid>``) and fbsd-kthr.c
(``PID=<pid>: <comm>[/<td_name>]`` in a buffer of 64 bytes); QEMU and ``bhyve -G`` show CPUs
(``CPU#0 [running]``, ``vCPU 0``), a native gdb shows LWPs (gdb/fbsd-nat.c; ``LWP 100571/vcpu 0``
before gdb 8). gdb puts the name in quotes and other words in parentheses behind it (gdb/thread.c,
thread_target_id_str); a newer kernel's stub sends a name and a state (sys/gdb/gdb_main.c).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import partial

from hangdiag.model import Frame, Thread, Where
from hangdiag.readers import lists
from hangdiag.readers.gdb import frames as gdb_frames
from hangdiag.readers.section import Opener, Section
from hangdiag.readers.stacks import number
from hangdiag.text.lazy import lazy

HEADER = lazy(r"Thread (?P<number>\d+)(?:\.\d+)? \((?P<target>.*?)\):?\s*\Z")
_KERNEL = lazy(r"Thread (?P<tid>\d+)\b(?! *\.)")
_PROCESS = lazy(r"\(PID=(?P<pid>\d+)(?:: (?P<who>.*?))?\)?\s*\Z")
_CPU = lazy(r"CPU ?#(?P<cpu>\d+)|\bvCPU (?P<vcpu>\d+)")
_LWP = lazy(r"LWP (?P<lwp>\d+)(?: of process (?P<pid>\d+))?(?:/(?P<name>[^)]*)|(?: \((?P<name2>.*)\)))?")
_USER = lazy(r"process (?P<pid>\d+)")
_TITLE = lazy(r' "([^"]*)"')
_ID = r"(?:Thread (?:0x)?[0-9a-f][0-9a-f.]*|LWP \d+(?: of process \d+|/\S+)?|process \d+)"
_ROW = lazy(rf"(?P<current>\*)?\s*(?P<number>\d+)(?:\.\d+)?\s+(?:\d+\s+)?(?P<target>{_ID}(?![\w.]).*)\Z")
_IDENTIFIER = lazy(_ID)
_SWITCH = lazy(
    r"\[(?:Switching to (?:thread \d+(?:\.\d+)? )?|Current thread is \d+ )\(?(?P<target>\w.{0,300}?)\)?\](?=#\d|\s*\Z)"
)
# but for the first one, those without an address are inlined
_FRAME = lazy(r"#(?:0 +(?:0x[0-9a-f]+ in )?|\d+ +0x[0-9a-f]+ in )(?P<name>[\w.$@]+)")
#: The words of a stub for what a thread does, and the model's.
_STATES = {
    "Running": "running", "RunQ": "runnable", "CanRun": "runnable", "Blocked": "lock", "Sleeping": "sleeping",
    "IthreadWait": "iwait", "Suspended": "suspended",
}  # fmt: skip
_STATE = lazy(r"\((?P<word>[A-Z][A-Za-z]+)(?:[, ].{0,60})?\)\s*\Z")
#: Thread ids begin behind the largest pid (sys/sys/proc.h, PID_MAX): what gdb calls a process may be a thread.
_LEAST_TID = 100_000


@dataclass(frozen=True, slots=True)
class Identity:
    """What a target id tells."""

    pid: int | None = None
    tid: int | None = None
    command: str | None = None
    name: str | None = None
    cpu: int | None = None
    number: int | None = None
    state: str | None = None
    address: int | None = None
    #: a thread of a program that gdb runs or attached to: kernels have no LWPs
    of_program: bool = False


def identify(target: str, number: int | None = None) -> Identity:
    """An identity from gdb's target id and the name and words behind it."""
    named = _TITLE.search(target)
    title = named.group(1) if named is not None else None
    if named is not None:
        target = target[: named.start()] + target[named.end() :]
    cpu = _CPU.search(target)
    if cpu is not None:
        return Identity(cpu=int(cpu.group("cpu") or cpu.group("vcpu") or 0), name=title, number=number)
    lwp = _LWP.search(target)
    if lwp is not None:
        pid = lwp.group("pid")
        name = title or (lwp.group("name") or lwp.group("name2") or "").strip() or None
        return Identity(int(pid) if pid else None, int(lwp.group("lwp")), name=name, number=number, of_program=True)
    user = _USER.match(target)
    if user is not None:
        value = int(user.group("pid"))
        return Identity(None if value >= _LEAST_TID else value, value if value >= _LEAST_TID else None, name=title)
    kernel = _KERNEL.match(target)
    tid = int(kernel.group("tid")) if kernel is not None else None
    process = _PROCESS.search(target)
    if process is None:
        state = _STATE.search(target)
        word = _STATES.get(state.group("word")) if state is not None else None
        return Identity(tid=tid, name=title, number=number, state=word)
    command, slash, name = (process.group("who") or "").strip().partition("/")
    return Identity(
        int(process.group("pid")), tid, command or None, (name if slash else command) or title, number=number
    )


def _read_switch(section: Section, start: int, match: re.Match[str]) -> int:
    line = section.lines[start]
    found = _SWITCH.match(line)
    if found is None:
        return start + 1
    identity = identify(found.group("target"))
    section.context.pop("gdb listed", None)
    if identity != Identity():
        before = section.context.get("gdb thread")
        if identity.pid is None and before == Identity(pid=getattr(before, "pid", None)):
            identity = replace(identity, pid=before.pid)  # "proc N" chose it
        section.context["gdb thread"] = identity
    if found.end() < len(line.rstrip()):
        # gdb 6 prints the frame without a line end before it
        section.lines[start] = line[found.end() :]
        return start
    return start + 1


def announce(section: Section, start: int) -> None:
    """Decide, before the list that begins on line ``start`` is read, of which time its threads are."""
    lists.announce(section, "gdb", start, (*lists.BOOTS, "Continuing.", "Thread "), _goes_on, _heading, _function)


def _goes_on(line: str) -> bool:
    return line.startswith((*lists.BOOTS, "Continuing."))


def _heading(line: str) -> lists.Heading | None:
    found = HEADER.match(line) if line.startswith("Thread ") else None
    if found is None:
        return None
    who = identify(found.group("target"))
    return lists.Heading(who.pid, who.tid, who.command, who.name)


def _function(line: str) -> str | None:
    found = _FRAME.match(line)
    return found.group("name") if found is not None else None


def _read_info(section: Section, start: int, match: re.Match[str]) -> int:
    """``info threads``: the innermost frame is kept only where the thread has no other stack.

    gdb 6 prints no header above its rows.
    """
    lines = section.lines
    index = start if _ROW.match(lines[start]) else start + 1
    section.note_listing(whole=True)
    announce(section, start)
    threads = []
    seen: set[str] = set()
    while index < len(lines):
        row = _ROW.match(lines[index])
        if row is None:
            following = section.pass_foreign(index, partial(_is_new, seen)) if seen else index
            if following == index:
                break
            index = following
            continue
        seen.add(row.group("number"))
        begin = index
        text, index = _gather_row(lines, index, row.group("target"))
        target, frame_text = _split_row(text)
        identity = identify(target, number=int(row.group("number")))
        frame = gdb_frames.parse_frame("#0  " + frame_text) if frame_text else None
        where = section.where(begin, index)
        stack = (frame,) if frame is not None else ()
        if row.group("current"):
            section.context["gdb thread"] = identity
            shown = section.context.pop("gdb bare stack", ())
            if isinstance(shown, tuple) and stack and shown and shown[0].function == stack[0].function:
                stack = shown  # that it was typed before says whose it is
        if identity.tid is None:
            if identity.cpu is not None and frame is not None:
                _glimpse(section, identity.cpu, stack, where)
            continue
        address = frame.argument("td") if frame is not None and frame.function in gdb_frames.SWITCHES else None
        threads.append(
            Thread(
                identity.pid,
                identity.tid,
                number(address.split()[0]) if address else None,
                identity.command,
                identity.name,
                identity.state,
                frames=stack,
                where=(where,),
                stack_where=where if frame is not None else None,
                of_program=identity.of_program,
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


def _is_new(seen: set[str], line: str) -> bool:
    """Is ``line`` the row of a thread whose number is not among those ``seen``?"""
    row = _ROW.match(line)
    return row is not None and row.group("number") not in seen


def _glimpse(section: Section, cpu: int, stack: tuple[Frame, ...], where: Where) -> None:
    """Note what a CPU is in; which thread it runs is not told. The stack that was shown of it, or will be, counts instead."""
    shown = section.context.setdefault("gdb cpus", {})
    assert isinstance(shown, dict)
    if cpu in shown:
        return
    thread = Thread(state="running", cpu=cpu, frames=stack, where=(where,), stack_where=where)
    section.draft.add_threads([thread])
    shown[cpu] = thread


def replaces_glimpse(section: Section, thread: Thread) -> Thread | None:
    """Is ``thread`` the stack of a CPU of which only the innermost frame was known? Then it counts from now on, as returned."""
    if thread.cpu is None or thread.tid is not None:
        return None
    shown = section.context.setdefault("gdb cpus", {})
    assert isinstance(shown, dict)
    before = shown.get(thread.cpu)
    shown[thread.cpu] = None
    if not isinstance(before, Thread):
        return None
    thread = replace(thread, where=(*before.where, *thread.where))
    return thread if section.draft.replace_thread(before, thread) else None


def _gather_row(lines: list[str], start: int, text: str) -> tuple[str, int]:
    """The text of a row that may have been wrapped, and the index of the line behind it."""
    index = start + 1
    depth = gdb_frames.balance(text)
    while index < len(lines) and index - start < gdb_frames.MAX_JOINED:
        line = lines[index]
        if _ROW.match(line) or gdb_frames.begins_other(line.strip()):
            break
        if not line.strip() or not (line.startswith((" at ", "    ")) or depth > 0 or text.endswith(" at")):
            break
        text += " " + line.strip()
        depth = gdb_frames.balance(text)
        index += 1
    return text, index


def _split_row(text: str) -> tuple[str, str]:
    """Target id and frame of a row: the id ends behind its name in quotes and what is in parentheses."""
    found = _IDENTIFIER.match(text)
    position = found.end() if found is not None else 0
    while position < len(text):
        title = _TITLE.match(text, position)
        if title is not None:
            position = title.end()
        elif text.startswith(" (", position):
            position += gdb_frames.closing(text[position:]) + 1
        else:
            break
    frame = text[position:].strip()
    return text[:position], "" if frame == "(running)" else frame


OPENERS = (
    Opener("gdb-info-threads", "kgdb", r"\s+Id\s+(?:GId\s+)?Target Id\s", _read_info),
    Opener("gdb-info-row", "kgdb", rf"(?:\*| ) {{0,4}}\d+(?:\.\d+)? +{_ID} ?[ (\"]", _read_info),
    Opener("gdb-switch", "kgdb", r"\[(?:Switching to|Current thread is) ", _read_switch),
)
