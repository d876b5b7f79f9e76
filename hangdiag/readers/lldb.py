"""lldb: ``thread backtrace all``, ``bt all``, ``bt``, ``thread list``.

Formats are those of lldb's FormatEntity (source/Core/CoreProperties.td: thread-format, thread-stop-format, frame-format):
``frame #5: 0xffffffff80b5df3c kernel.debug`_sleep(ident=0x..., wmesg="x") at kern_synch.c:219:10 [opt] [inlined]``, inlined
functions of lldb up to 18 as ``kernel`outer [inlined] inner(a=1) at x.c:1:2``. Of FreeBSD's kernel lldb names
threads ``(pid 1025) command/thread (on CPU 3)`` (source/Plugins/Process/FreeBSDKernel/ProcessFreeBSDKernel.cpp,
DoUpdateThreadList); those of a process have their own names.
"""

from __future__ import annotations

import re
from dataclasses import replace

from hangdiag.model import Frame, Thread
from hangdiag.readers.gdb.arguments import make_thread, note_longer, note_owner
from hangdiag.readers.gdb.frames import balance, split_arguments
from hangdiag.readers.gdb.threads import Identity
from hangdiag.readers.section import Pending, Section
from hangdiag.readers.stacks import may_follow
from hangdiag.text.lazy import lazy

_THREAD = lazy(
    r"\s*(?P<current>\*)? ?\S{2,12} #(?P<number>\d{1,7})(?:: tid = (?P<tid>\d{1,9}|0x[0-9a-f]{1,9}))?[,:]?(?P<rest>.*)"
)
_AGAIN = lazy(r"[* ]*thread #(?P<number>\d{1,7}),")
# what a thread's line says, whatever language its words are in
_VALUE = lazy(r"(?:\A\s*|, )(?P<key>[^\s=,`(]{1,16}(?: [^\s=,`(]{1,16})?) = ['\"](?P<value>.{0,80}?)['\"](?=, |\s*\Z)")
_KERNEL_NAME = lazy(r"\(pid (?P<pid>\d+)\) (?P<who>.*?)(?: \((?:on CPU (?P<cpu>\d+)|(?P<crashed>crashed))\))?\Z")
_FRAME = lazy(r"\s*\*? ?\S{0,12} ?#(?P<number>\d{1,5}): (?P<address>0x[0-9a-f]+)(?: (?P<rest>\S.*)?)?\Z")
_FUNCTION = lazy(r"(?:(?P<module>[^\s`]{1,80})`)?(?P<name>(?:[^\s(+`<]|\((?:anonymous namespace)\)::|<[^()<>]{0,80}>)+)")
_INLINED = lazy(r"\S{1,400} \[inlined\] ")
_TAIL = lazy(r"(?: \+ (?P<offset>\d+))?(?: at (?P<file>[^\s:]+):(?P<line>\d+)(?::\d+)?)?")
_GLUED = lazy(r"(?<=\d)(?=(?:frame|帧|框架) #\d+: 0x)|(?<=[\])])(?=(?:frame|帧|框架) #\d+: 0x)")
_SOURCE = lazy(
    r"\s{0,8}(?:-> )?\s{0,4}\d{1,6}\s{0,6}\t|\s+\^+\s*\Z|(?:->)?\s+0x[0-9a-f]+ <\+\d+>: |[\w.+-]+`[\w.$@]+:\s*\Z"
)
_PROCESS = lazy(r"Process (?P<pid>\d+) (?:stopped|launched|resuming|exited)|.*\battach (?:--pid|-p) (?P<attached>\d+)")
_ALL = lazy(r"\(lldb\) *(?:thread backtrace|bt) all\s*\Z")
_SOME = lazy(r"\(lldb\) *(?:(?:thread backtrace|bt)(?: -\w.{0,20})? \d|(?:thread|t)(?: select)? \d)")
_EXECUTABLE = lazy(
    r"(?:Current executable set to|Executable module set to|.*target create) .{0,200}?(?P<name>bhyve(?:ctl)?)[\"'. ]"
)
#: A frame is folded into so many lines at most.
_MOST_JOINED = 30


def _parse(text: str) -> Frame | None:
    """A frame from its joined text, or None."""
    found = _FRAME.match(text)
    if found is None:
        return None
    address = int(found.group("address"), 16)
    rest = found.group("rest") or ""
    return _function(rest, address)


def _function(rest: str, address: int) -> Frame:
    """A frame from what stands behind its address: ``module`name(arguments) + offset at file:line``."""
    module, tick, _ = rest.partition("`")
    inlined = False
    if (outer := _INLINED.match(rest)) is not None:
        inlined = True
        rest = (f"{module}`" if tick else "") + rest[outer.end() :]
    named = _FUNCTION.match(rest)
    alone = named is not None and not named.group("module") and not rest[named.end() :].startswith(("(", " +", " at"))
    if named is None or alone:
        # the module alone, or nothing: no symbol covers the address
        return Frame("??", module=_module(rest.split(None, 1)[0] if rest else None), address=address)
    name = named.group("name")
    tail = rest[named.end() :]
    arguments: tuple[tuple[str, str], ...] = ()
    if tail.startswith("("):
        end = _closing(tail)
        arguments = split_arguments(tail[1:end])
        tail = tail[end + 1 :]
    place = _TAIL.match(tail)
    assert place is not None
    inlined = inlined or "[inlined]" in tail
    return Frame(
        name,
        int(place.group("offset")) if place.group("offset") else None,
        _module(named.group("module")),
        place.group("file"),
        int(place.group("line")) if place.group("line") else None,
        arguments,
        inlined,
        None if inlined else address,
    )


def _module(name: str | None) -> str | None:
    return None if name is None or name.startswith("kernel") else name


def _closing(text: str) -> int:
    depth = 0
    for bracket in re.finditer(r"[()]", text):
        depth += 1 if bracket.group() == "(" else -1
        if depth == 0:
            return bracket.start()
    return len(text)


def _identity(section: Section, found: re.Match[str]) -> tuple[Identity, str]:
    """Who the thread of a line is, and the frame that ``thread list`` shows in it."""
    rest = found.group("rest")
    number = int(found.group("number"))
    tid = int(found.group("tid"), 0) if found.group("tid") else _tids(section).get(number)
    values: dict[str, str] = {}
    behind = len(rest)
    for value in _VALUE.finditer(rest):
        values.setdefault(value.group("key"), value.group("value"))
        behind = min(behind, value.start())
    frame = rest[:behind].partition(", stop reason = ")[0].removeprefix(" ")
    kernel = next((match for value in values.values() if (match := _KERNEL_NAME.match(value)) is not None), None)
    if kernel is None:
        pid, command = section.context.get("lldb pid"), section.context.get("lldb command")
        return Identity(
            pid if isinstance(pid, int) else None,
            tid,
            command if isinstance(command, str) else None,
            values.get("name"),
            number=number,
        ), frame
    command, slash, name = kernel.group("who").partition("/")
    cpu = kernel.group("cpu")
    if kernel.group("crashed"):
        section.context["lldb crashed"] = number
    return Identity(int(kernel.group("pid")), tid, command, name if slash else command, int(cpu) if cpu else None, number), frame


def _tids(section: Section) -> dict[int, int]:
    """The thread ids that ``thread list`` tells anywhere in the text: ``bt all`` tells none."""
    known: object = section.context.get("lldb tids")
    if known is None or section.context.get("lldb page") is not section.page:
        tids: dict[int, int] = {}
        for line in section.lines:
            if ": tid = " in line and (found := _THREAD.match(line)) is not None and found.group("tid"):
                tids.setdefault(int(found.group("number")), int(found.group("tid"), 0))
        known = section.context["lldb tids"] = tids
        section.context["lldb page"] = section.page
    assert isinstance(known, dict)
    return known


def _gather(lines: list[str], start: int) -> tuple[str, int]:
    """The text of the frame that begins at line ``start``, and the index of the line behind it."""
    text = lines[start].rstrip()
    index = start + 1
    while index < len(lines) and index - start < _MOST_JOINED:
        line = lines[index].strip()
        if not line or _FRAME.match(lines[index]) or _is_thread(line) or line.startswith("(lldb)"):
            break
        if balance(text) <= 0 and not (line.startswith("at ") and " at " not in text):
            break
        text = f"{text} {line}"
        index += 1
    return text, index


def _is_thread(line: str) -> bool:
    return line.lstrip("* ").startswith(("thread #", "线程 #"))


def _read_stack(lines: list[str], index: int, before: int = -1) -> tuple[list[Frame], int, int]:
    """The frames from line ``index`` on, behind one of number ``before``; the index behind them, and the last one's number."""
    frames: list[Frame] = []
    while index < len(lines):
        found = _FRAME.match(lines[index])
        if found is None:
            if frames and _SOURCE.match(lines[index]):
                index += 1  # the source around the frame that is selected
                continue
            break
        if int(found.group("number")) <= before:
            break
        text, end = _gather(lines, index)
        for part in _GLUED.split(text) if text.count("#") > 1 else [text]:
            frame = _parse(part)
            numbered = _FRAME.match(part)
            if frame is not None and numbered is not None:
                before = int(numbered.group("number"))
                frames.append(frame)
        index = end
    return frames, index, before


def read_thread(section: Section, start: int, match: re.Match[str]) -> int:
    """A thread's line and the stack below it; the frame in the line itself is repeated there."""
    lines = section.lines
    head = _THREAD.match(lines[start])
    if head is None:
        return start
    identity, summary = _identity(section, head)
    index = start + 1
    while index < len(lines) and lines[index].strip() in ("", "Full Backtrace:"):
        index += 1
    frames, end, last = _read_stack(lines, index)
    if not frames:
        end = start + 1
        shown = _parse(f"#0: {summary}") if summary.startswith("0x") else None
        frames = [shown] if shown is not None else []
    else:
        section.context["lldb threads"] = True
        numbers = section.context.setdefault("gdb numbers", [])
        assert isinstance(numbers, list)
        numbers.append(int(head.group("number")))
    if head.group("current"):
        section.context["lldb thread"] = identity
    if identity == Identity(number=identity.number) and not frames:
        return end
    if len(frames) < 2 and identity.tid is None and _comes_again(section, end, head.group("number")):
        return end
    _add(section, start, end, identity, frames, last)
    return end


def _comes_again(section: Section, index: int, number: str) -> bool:
    """Is a thread that has no id shown again from line ``index`` on, with its whole stack?"""
    lines = section.lines
    known = section.context.get("lldb last lines")
    if not isinstance(known, tuple) or known[0] is not lines or known[1] != len(lines):
        found = ((place, _AGAIN.match(line)) for place, line in enumerate(lines) if "thread #" in line)
        last = {match.group("number"): place for place, match in found if match is not None}
        known = section.context["lldb last lines"] = (lines, len(lines), last)
    return bool(known[2].get(number, -1) >= index)


def read_frames(section: Section, start: int, match: re.Match[str]) -> int:
    """A stack at the prompt: that of the thread that is selected."""
    frames, end, last = _read_stack(section.lines, start)
    if not frames:
        return start
    current = section.context.get("lldb thread")
    identity = current if isinstance(current, Identity) else Identity()
    if len(frames) == 1 and identity == Identity():
        return start
    _add(section, start, end, identity, frames, last)
    return end


def _trim(frames: list[Frame]) -> tuple[Frame, ...]:
    """Without what lies behind the system call's entry: it is no part of the stack."""
    end = len(frames)
    while end > 1 and frames[end - 1].function == "??":
        end -= 1
    return tuple(frames[:end])


def _go_on(section: Section, start: int, thread: Thread, identity: Identity, frames: list[Frame], last: int) -> int:
    """Read the frames from line ``start`` on if they are the next ones of ``thread``, whose ``last`` number was that."""
    found = _FRAME.match(section.lines[start])
    if found is None or int(found.group("number")) != last + 1:
        return start
    more, end, number = _read_stack(section.lines, start, last)
    before = frames[-1].function if last >= 0 else None
    if not more or not may_follow(before, more[0].function):
        return start
    frames = [*frames, *more] if last >= 0 else more
    whole = replace(make_thread(section, start, end, identity, _trim(frames)), state=thread.state)
    noted = note_longer(section, thread, whole, section.is_doubtful(start))
    if noted is None:
        return start
    _keep_open(section, end, noted, identity, frames, number)
    return end


def _keep_open(section: Section, end: int, thread: Thread, identity: Identity, frames: list[Frame], last: int) -> None:
    """The stack of ``thread`` may go on behind line ``end``."""
    section.pending = Pending(end, lambda section, index: _go_on(section, index, thread, identity, frames, last), last >= 0)


def _add(section: Section, start: int, end: int, identity: Identity, frames: list[Frame], last: int) -> None:
    stack = _trim(frames)
    thread = make_thread(section, start, end, identity, stack)
    if identity.number is not None and section.context.get("lldb crashed") == identity.number:
        thread = replace(thread, state="running")  # it panicked, or entered the debugger
    if thread.tid is None and thread.address is None and _is_repeated(section, identity, thread):
        return
    section.draft.add_threads([thread])
    _keep_open(section, end, thread, identity, frames, last)
    if stack:
        section.count_stacks("lldb")
        note_owner(section, thread)


def _is_repeated(section: Section, identity: Identity, thread: Thread) -> bool:
    """Was a thread that has no id printed just so before?"""
    known = section.context.setdefault("lldb anonymous", set())
    assert isinstance(known, set)
    key = (identity, thread.frames)
    if key in known:
        return True
    known.add(key)
    return False


def read_prompt(section: Section, start: int, match: re.Match[str]) -> int:
    """A command, or what lldb says of the process: its pid."""
    line = section.lines[start]
    if _ALL.match(line):
        section.context["gdb apply all"], section.context["gdb numbers"] = True, []
        section.note_listing(whole=True)
    elif _SOME.match(line):
        section.note_listing(whole=False)
    found = _PROCESS.match(line)
    if found is not None and (pid := int(found.group("pid") or found.group("attached"))):
        section.context["lldb pid"] = pid
    executable = _EXECUTABLE.match(line)
    if executable is not None:
        section.context["lldb command"] = executable.group("name")
    return start + 1
