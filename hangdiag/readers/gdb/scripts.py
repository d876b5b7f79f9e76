"""What the widespread gdb script for FreeBSD kernels prints (gdb6 of bsdjhb/kdbg).

``lockchain``, ``sleepchain`` and ``allchains`` follow owners as ddb's commands do, with the process' command where ddb
has the thread's name; ``stacks`` lists kernel stacks' bounds, ``runtds`` and ``runqs`` the threads that run or may.
Its word DEADLOCK says that a chain came back to where it began, or only that it has twenty links.
"""

from __future__ import annotations

import re

from hangdiag.model import LockFact, Thread
from hangdiag.readers.gdb.locks import read_owner
from hangdiag.readers.links import Link, find_owners
from hangdiag.readers.section import Section
from hangdiag.text.lazy import lazy

_LINK = lazy(r" ?thread (?P<tid>\d{1,9}) \(pid (?P<pid>\d{1,9}), (?P<command>.{1,40}?)\) (?P<what>\S.{0,200})\Z")
_BLOCKED = lazy(r'blocked on (?P<kind>lock|sx|lk) (?:(?P<address>0x[0-9a-f]{4,16}) )?"(?P<name>[^"]*)"(?P<mode>.*)\Z')
_END = lazy(r" ?(?P<word>DEADLOCK|LK_KERNPROC)\s*\Z")
_CHAIN = lazy(r"chain \d+:\s*\Z")
_CLASSES = {"lock": None, "sx": "sx", "lk": "lockmgr"}
_STATES = (
    ("running", "running"), ("can run", "runnable"), ("is on a run queue", "runnable"), ("is inactive", "inactive"),
)  # fmt: skip
_WHO = r"(?P<tid>\d{4,9}) +(?P<pid>\d{1,9}) \[?(?P<command>[^\[\]]{1,40})\]?\Z"
_RUNNING = lazy(rf" {{0,2}}(?P<cpu>\d{{1,4}}) +-?\d{{1,12}} +\d{{1,3}} +{_WHO}")
_QUEUED = lazy(rf"[ \d:]{{5,6}} ?\d{{1,3}} +{_WHO}")
_STACK = lazy(
    r" {0,5}(?P<pid>\d{1,9}) +(?P<tid>\d{4,9}) (?P<command>.{19}) ?(?P<name>.{19})\s*0x[0-9a-f]{4,16} - 0x[0-9a-f]{4,16}\Z"
)
#: So many links has a chain at which the script gives up and says DEADLOCK too.
_GIVES_UP = 20


def _read_chains(section: Section, index: int) -> int:
    """All chains below a command."""
    lines = section.lines
    while index < len(lines):
        if _CHAIN.match(lines[index]):
            index += 1
        end = _read_chain(section, index)
        if end == index:
            break
        index = end
    return index


def _read_chain(section: Section, index: int) -> int:
    lines = section.lines
    printed: list[Link] = []
    links: dict[tuple[int, str], tuple[int, re.Match[str]]] = {}
    handed_over = False
    while index < len(lines):
        end = _END.match(lines[index])
        link = _LINK.match(lines[index]) if end is None else None
        if end is None and link is None:
            break
        index += 1
        if end is not None:
            handed_over = end.group("word") == "LK_KERNPROC"
            if end.group("word") == "DEADLOCK" and 0 < len(printed) == len(links) < _GIVES_UP:
                printed.append((printed[0][0], index - 1))
            break
        assert link is not None
        key = (int(link.group("tid")), link.group("what"))
        printed.append((key, index - 1))
        links.setdefault(key, (index - 1, link))
        if not link.group("what").startswith("blocked on"):
            break
    owners = find_owners(printed, lines)
    for key, (place, link) in links.items():
        _note_link(section, place, link, owners.get(key), handed_over and key == printed[-1][0])
    return index


def _note_link(section: Section, index: int, link: re.Match[str], owner: int | None, handed_over: bool) -> None:
    tid, what = int(link.group("tid")), link.group("what")
    where = section.where(index, index + 1)
    blocked = _BLOCKED.match(what)
    state = lock = wmesg = None
    if blocked is not None:
        lock, address = blocked.group("name") or None, blocked.group("address")
        shared = "SLOCK" in blocked.group("mode") or "SHARED" in blocked.group("mode")
        held = "shared" if shared else "kernproc" if handed_over else "exclusive"
        section.draft.add_lock(
            LockFact(
                int(address, 16) if address else None,
                lock,
                _CLASSES[blocked.group("kind")],
                held,
                owner if held == "exclusive" else None,
                waiters=(tid,),
                where=where,
                by_order=True,
            )
        )
        state = "lock" if blocked.group("kind") == "lock" else "sleeping"
        # an sx or lockmgr lock is slept on, with its name as the message
        wmesg = None if state == "lock" else lock
    elif what.startswith("non-lock sleep"):
        state = "sleeping"
    else:
        state = next((word for text, word in _STATES if what.startswith(text)), None)
    cpu = re.search(r"running on CPU (\d{1,4})", what)
    section.draft.add_threads(
        [
            Thread(
                int(link.group("pid")),
                tid,
                command=link.group("command"),
                state=state,
                wmesg=wmesg,
                lock=lock,
                cpu=int(cpu.group(1)) if cpu is not None else None,
                where=(where,),
            )
        ]
    )


def _read_rows(section: Section, index: int, row: re.Pattern[str], state: str | None) -> int:
    lines = section.lines
    if index < len(lines) and lines[index].split()[:1] in (["PID"], ["CPU"], ["queue"]):
        index += 1
    threads = []
    while index < len(lines):
        found = row.match(lines[index])
        if found is None:
            break
        known = found.groupdict()
        name = (known.get("name") or "").strip()
        threads.append(
            Thread(
                int(known["pid"]),
                int(known["tid"]),
                command=known["command"].strip(),
                name=name if name not in ("", "-") else None,
                state=state,
                cpu=int(known["cpu"]) if "cpu" in known else None,
                where=(section.where(index, index + 1),),
            )
        )
        index += 1
    section.draft.add_threads(threads)
    return index


def read(section: Section, start: int, command: str) -> int:
    """Read what ``command``, typed in line ``start``, printed; returns the index of the line behind it."""
    index = start + 1
    if command in ("mtx_owner", "lockmgr_owner"):
        return read_owner(section, start, index)
    rows = _ROWS.get(command)
    if rows is None:
        return _read_chains(section, index)
    return _read_rows(section, index, *rows)


_ROWS: dict[str, tuple[re.Pattern[str], str | None]] = {
    "runtds": (_RUNNING, "running"),
    "runqs": (_QUEUED, "runnable"),
    "stacks": (_STACK, None),
}
