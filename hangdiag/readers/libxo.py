"""``procstat --libxo json`` (``xml``) and ``ps --libxo``: the tables of these tools as JSON or XML.

Names from usr.bin/procstat/procstat_kstack.c and procstat_threads.c, and the field column of bin/ps/keyword.c. Of
``procstat -k`` all threads of a process are members of one object, with the same names over and over, and of its trace each frame
is a line as stack(9) prints it. So this is no JSON to load: names and values are taken as they come, and a name that
comes again begins the next thread. A cut end, or one that was pasted in half, loses nothing that came before.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from hangdiag.model import Frame, Thread
from hangdiag.readers.procstat import MARKS, add_rows, new_memo
from hangdiag.readers.procstat_threads import STATES, make_thread
from hangdiag.readers.ps import Row, add_table
from hangdiag.readers.section import Section
from hangdiag.readers.stacks import FrameMemo
from hangdiag.text.lazy import lazy

_ROOT = lazy(r'[^{]{0,20}"(?:procstat|process-information)"\s*:')
_JSON = lazy(
    r'"(?P<text>(?:[^"\\]|\\.){0,4000})"(?P<colon>\s{0,9}:)?|(?P<number>-?\d{1,20})(?![\w.])|(?P<brace>[{}])|(?P<list>\[)'
)
_XML = lazy(
    r"<(?P<name>[\w-]{1,40})(?: [^<>]{0,200})?>(?P<text>(?:[^<]|<(?:running|swapped|unknown)>){0,4000})</(?P=name)>"
    r"|<(?P<close>/?)(?P<tag>[\w-]{1,40})(?: [^<>]{0,200})?>"
)
_LINE = lazy(r'\s*(?:["{}\[\]<]|\Z)')
_FRAME = lazy(r"(?:#\d{1,3} (?P<address>0x[0-9a-f]+) at )?(?P<frame>\S+)\s*\Z")
#: Columns of ps by the names of their fields.
_COLUMNS = {
    "pid": "PID", "thread-id": "LWP", "thread-name": "TDNAME", "wait-channel": "MWCHAN", "wait-channel-address": "NWCHAN",
    "lock-name": "LOCK", "state": "STAT", "command": "COMMAND", "arguments": "ARGS", "accounting-name": "UCOMM",
    "thread-address": "TDADDR",
}  # fmt: skip
#: Elements that hold no fields of their own.
_LISTS = frozenset({"trace", "threads"})


@dataclass(slots=True)
class _Record:
    """The fields of a thread or process and the lines that they are on."""

    fields: dict[str, str] = field(default_factory=dict)
    trace: list[str] = field(default_factory=list)
    first: int = 0
    last: int = 0


def read(section: Section, start: int, match: re.Match[str]) -> int:
    """Read one document from line ``start`` on; returns the index of the line behind it, ``start`` if it is none."""
    lines = section.lines
    is_xml = lines[start].lstrip().startswith("<")
    if lines[start].strip() in ("{", "") and not any(_ROOT.search(line) for line in lines[start : start + 4]):
        return start
    collector = _Collector()
    index = start
    while index < len(lines) and _LINE.match(lines[index]) is not None:
        for kind, name, value in _xml_tokens(lines[index]) if is_xml else _json_tokens(lines[index]):
            collector.take(kind, name, value, index)
        index += 1
        if collector.depth == 0 and collector.has_begun:
            break
    collector.end_record()
    while index < len(lines) and lines[index].strip() == "}":
        index += 1
    index = section.before_blanks(start, index)
    _hand_on(section, collector.records)
    return index


def _json_tokens(line: str) -> Iterator[tuple[str, str, str]]:
    key = ""
    for found in _JSON.finditer(line):
        text = found.group("text")
        if found.group("brace"):
            yield found.group("brace"), "", ""
            key = ""
        elif found.group("list"):
            key = ""
        elif found.group("colon"):
            key = _unescape(text)
        else:
            yield "value", key, _unescape(text) if text is not None else found.group("number")
            key = ""


def _xml_tokens(line: str) -> Iterator[tuple[str, str, str]]:
    import html

    for found in _XML.finditer(line):
        if found.group("name"):
            yield "value", found.group("name"), html.unescape(found.group("text"))
        elif found.group("tag") not in _LISTS:
            yield "}" if found.group("close") else "{", "", ""


def _unescape(text: str) -> str:
    if "\\" not in text:
        return text
    try:
        return str(json.loads(f'"{text}"'))
    except ValueError:
        return text


class _Collector:
    """Makes records of names and values; a record has the fields of those around it too."""

    def __init__(self) -> None:
        self.records: list[_Record] = []
        self.has_begun = False
        self._around: list[dict[str, str]] = [{}]
        self._record = _Record()

    @property
    def depth(self) -> int:
        return len(self._around) - 1

    def take(self, kind: str, name: str, value: str, index: int) -> None:
        record = self._record
        if kind == "{":
            self.has_begun = True
            if self.depth < 20:
                self._around.append({**self._around[-1], **record.fields})
            self._record = _Record()
        elif kind == "}":
            self.end_record()
            if self.depth:
                self._around.pop()
        elif name in ("", "token", "trace"):
            record.trace.append(value)
            record.last = index
        else:
            if name in record.fields:
                self.end_record()
                record = self._record
            if not record.fields:
                record.first = index
            record.fields[name] = value.strip()
            record.last = index

    def end_record(self) -> None:
        """Keep the record if it is of a thread or a process of ps."""
        record = self._record
        if not record.fields.keys().isdisjoint(("thread_id", "thread-id", "pid")):
            record.fields = {**self._around[-1], **record.fields}
            self.records.append(record)
        self._record = _Record()


def _hand_on(section: Section, records: list[_Record]) -> None:
    memo = new_memo()
    stacks = []
    states = []
    rows = []
    for record in records:
        fields = record.fields
        if "thread_id" not in fields:
            cells = [(_COLUMNS[name], value) for name, value in fields.items() if name in _COLUMNS]
            pid, tid = _number(fields.get("pid")), _number(fields.get("thread-id"))
            rows.append(Row(record.first, pid, tid, cells, record.last))
        elif "run_state" in fields:
            states.append(_state(section, record))
        else:
            stacks.append(_stack(section, record, memo))
    if rows:
        add_table(section, rows, "ps")
    if states:
        section.draft.add_threads(states, table="procstat -t")
        section.count_stacks("procstat", 0)
    add_rows(section, stacks)


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and text.isdecimal() else None


def _state(section: Section, record: _Record) -> Thread:
    fields = record.fields
    return make_thread(
        _number(fields.get("process_id")),
        _number(fields.get("thread_id")),
        fields.get("command", ""),
        fields.get("thread_name", ""),
        STATES.get(fields["run_state"]),
        fields.get("lock_name", fields.get("wait_channel")),
        "lock_name" in fields,
        section.where(record.first, record.last + 1),
    )


def _stack(section: Section, record: _Record, memo: FrameMemo) -> Thread:
    fields = record.fields
    frames = []
    for text in [*([fields["state"]] if "state" in fields else ()), *record.trace]:
        found = _FRAME.match(text)
        frame = memo[found.group("frame")] if found is not None else None
        if frame is None or found is None:
            continue
        address = found.group("address")
        if address:
            frame = Frame(frame.function, frame.offset, frame.module, address=int(address, 16))
        frames.append(frame)
    name = fields.get("thread_name", "")
    where = section.where(record.first, record.last + 1)
    return Thread(
        _number(fields.get("process_id")),
        _number(fields.get("thread_id")),
        command=fields.get("command") or None,
        name=name if name not in ("", "-") else None,
        state=MARKS.get(fields.get("state", "")),
        frames=tuple(frames),
        where=(where,),
        stack_where=where,
    )
