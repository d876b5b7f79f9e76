"""dtrace's ``stack()`` and ``ustack()``: one function a line, module first; an aggregation ends in its value.

``              kernel`mi_switch+0xd2`` (lib/libdtrace/common/dt_consume.c, dt_print_stack). Keys printed before or behind
it, ``  bhyve   2210   100860``, tell whose stack it is. What is told is when a probe fired, not one instant: of a thread that
fired in several places, the last line of a trace is where it is, and of an aggregation it is not known where.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace

from hangdiag.model import Frame, Thread, Where
from hangdiag.readers.section import Section
from hangdiag.readers.stacks import parse_offset
from hangdiag.text.lazy import lazy

_FRAME = lazy(
    r"\s+(?:(?P<module>[\w.+-]+)`(?:(?P<name>[A-Za-z_][\w.$@:~]*)(?:\+(?P<offset>0x[0-9a-f]+))?|(?P<pc>0x[0-9a-f]+))"
    r"|(?P<bare>0x[0-9a-f]{5,16}))\s*\Z"
)
_PROBE = lazy(r"\s{0,4}(?P<cpu>\d{1,4})\s+\d{1,7}\s+(?P<probe>[\w.$-]{0,60}:[\w.$-]{1,40})(?:\s+(?P<rest>\S.*?))?\s*\Z")
_VALUE = lazy(r"\s+\d{1,20}\s*\Z")
_PAIR = lazy(r"\b(?P<key>execname|comm|command|pid|tid|thread|name|threadname)\s?[=:]\s?(?P<value>\"[^\"]{1,24}\"|[^\s,;]{1,24})")
_KEYS = lazy(r"[\w.:/ \t,=\"()-]{1,300}\Z")
_SWITCHED = lazy(
    r"(?:mi_switch|sched_\w*switch|cpu_switch|sleepq_\w+|turnstile_\w+|_?swtch\w*|_?cv_\w*wait\w*|_sleep|msleep\w*)\Z"
)
_WORD = lazy(r"[A-Za-z_][\w.-]{0,23}\Z")


@dataclass(slots=True)
class _Block:
    """A stack, and what was printed with it."""

    begin: int
    end: int = 0
    frames: list[Frame] = field(default_factory=list)
    pid: int | None = None
    tid: int | None = None
    command: str | None = None
    name: str | None = None
    aggregated: bool = False

    def learn(self, text: str) -> None:
        """Take ids and names from keys: ``bhyve   2210   100860``, ``tid=100860``, ``bhyve/2210``."""
        for pair in _PAIR.finditer(text):
            key, value = pair.group("key"), pair.group("value").strip('"')
            if key in ("pid", "tid") and value.isdecimal():
                setattr(self, key, int(value[:9]))
            elif key in ("execname", "comm", "command"):
                self.command = value
            elif key in ("name", "threadname", "thread"):
                self.name = value
        if self.pid is not None or self.tid is not None or self.command is not None:
            return
        text = text.strip()
        words = re.split(r"\s{2,}|[\t,]\s*", text) if re.search(r"\s{2,}|[\t,]", text) else re.split(r"[\s/]+", text)
        for word in words:
            if word.isdecimal() and len(word) < 10:
                # FreeBSD numbers threads from 100000 on, and processes up to 99999
                if int(word) >= 100_000:
                    self.tid = int(word)
                elif self.pid is None:
                    self.pid = int(word)
            elif self.command is None and _WORD.match(word):
                self.command = word
            elif self.command is not None and self.name is None and re.match(r"[A-Za-z_][\w .:-]{0,23}\Z", word):
                self.name = word


def read_stack(section: Section, start: int, match: re.Match[str]) -> int:
    """All stacks from line ``start`` on that one script printed."""
    lines = section.lines
    blocks: list[_Block] = []
    index = start
    if index > section.loose and _is_keys(lines[index - 1]):
        blocks.append(_with_keys(lines, index - 1, index))
        section.loose_end = index - 1
    while True:
        if not blocks or blocks[-1].frames:
            blocks.append(_Block(index))
        block = blocks[-1]
        index = _read_frames(lines, index, block)
        if not block.frames:
            blocks.pop()
            break
        index = _read_value(lines, index, block)
        block.end = index
        # the next stack, after blank lines and its keys
        following = index
        while following < len(lines) and not lines[following].strip() and following - index < 3:
            following += 1
        if following >= len(lines):
            break
        if _FRAME.match(lines[following]):
            if not _is_user(block) and following > index and _is_user_line(lines[following]) and not block.aggregated:
                index = _skip_frames(lines, following)  # the user's part of the same stack
                index = block.end = _read_value(lines, index, block)
                following = index
                while following < len(lines) and not lines[following].strip() and following - index < 3:
                    following += 1
                if following >= len(lines):
                    break
            if _FRAME.match(lines[following]):
                index = following
                continue
        if _is_keys(lines[following]) and following + 1 < len(lines) and _FRAME.match(lines[following + 1]):
            blocks.append(_with_keys(lines, following, following + 1))
            index = following + 1
            continue
        break
    blocks = [block for block in blocks if block.frames]
    if not blocks:
        return start
    _add(section, blocks)
    return blocks[-1].end


def _read_frames(lines: list[str], index: int, block: _Block) -> int:
    while index < len(lines) and (found := _FRAME.match(lines[index])) is not None:
        pc = found.group("pc") or found.group("bare")
        module = found.group("module")
        block.frames.append(
            Frame(
                found.group("name") or pc,
                parse_offset(found.group("offset")),
                None if module in ("kernel", None) else module,
                address=int(pc, 16) if pc else None,
            )
        )
        index += 1
    return index


def _skip_frames(lines: list[str], index: int) -> int:
    while index < len(lines) and _FRAME.match(lines[index]):
        index += 1
    return index


def _read_value(lines: list[str], index: int, block: _Block) -> int:
    """The value of an aggregation, and the keys that stand before it."""
    if index >= len(lines) or not lines[index].strip():
        return index
    if _VALUE.match(lines[index]):
        block.aggregated = True
        return index + 1
    line = lines[index]
    last = line.split()[-1]
    if last.isdecimal() and _is_keys(line) and not (index + 1 < len(lines) and _FRAME.match(lines[index + 1])):
        block.aggregated = True
        block.learn(line.rstrip()[: -len(last)])
        return index + 1
    return index


def _is_keys(line: str) -> bool:
    if _PROBE.match(line[:300]) is not None:
        return True
    return len(line) < 300 and any(letter.isdecimal() for letter in line) and _KEYS.match(line) is not None


def _with_keys(lines: list[str], index: int, frames: int) -> _Block:
    block = _Block(index)
    probe = _PROBE.match(lines[index])
    if probe is None:
        block.learn(lines[index])
    elif probe.group("rest"):
        block.learn(probe.group("rest"))
    return block


def _is_user(block: _Block) -> bool:
    return any(_of_user(frame.module, frame.address) for frame in block.frames[:1])


def _is_user_line(line: str) -> bool:
    found = _FRAME.match(line)
    pc = (found.group("pc") or found.group("bare")) if found is not None else None
    module = found.group("module") if found is not None else None
    return found is not None and _of_user(None if module == "kernel" else module, int(pc, 16) if pc else None)


def _of_user(module: str | None, address: int | None) -> bool:
    if module is None:
        return address is not None and address < 1 << 47
    return not module.endswith(".ko")


def _add(section: Section, blocks: list[_Block]) -> None:
    threads: dict[object, Thread] = {}
    several: set[object] = set()
    places: dict[object, list[Where]] = {}
    for number, block in enumerate(blocks):
        key: object = block.tid if block.tid is not None else ("block", number)
        where = section.where(block.begin, block.end)
        on_cpu = not (_is_user(block) or _SWITCHED.match(block.frames[0].function))
        thread = Thread(
            block.pid,
            block.tid,
            command=block.command,
            name=block.name,
            state="running" if on_cpu else None,
            frames=tuple(block.frames),
            where=(where,),
            stack_where=where,
            told=True,
        )
        before = threads.get(key)
        if before is not None and block.aggregated and before.frames != thread.frames:
            several.add(key)
        threads[key] = thread
        places.setdefault(key, []).append(where)
    made = []
    for key, thread in threads.items():
        if key in several:
            thread = replace(thread, frames=(), stack_where=None, state=None)
        made.append(replace(thread, where=tuple(places[key][:100])))
    section.draft.add_threads(made)
    section.count_stacks("console", len(made))
