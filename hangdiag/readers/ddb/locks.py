"""``show alllocks``, ``show locks``, ``show lock``, ``show sleepq``, ``show turnstile``.

From sys/kern/subr_witness.c (witness_list_lock), kern_mutex.c, kern_sx.c, kern_rwlock.c,
kern_lock.c (the db_show functions of the lock classes), subr_sleepqueue.c and subr_turnstile.c.
"""

from __future__ import annotations

import re

from hangdiag.model import LockFact, Thread
from hangdiag.readers.section import Opener, Section
from hangdiag.readers.stacks import number
from hangdiag.text.lazy import lazy

_HOLDER = lazy(r"Process (?P<pid>\d+) \((?P<command>.*)\) thread (?P<td>0x[0-9a-f]+) \((?P<tid>\d+)\)")
HELD = lazy(
    r"\s*(?P<mode>exclusive|shared) (?P<class>sleep mutex|spin mutex|sleepable rm|rm|sx|rw|lockmgr) (?P<names>.{1,200}?)"
    r" r = \d+ \((?P<address>0x[0-9a-f]+)\) locked @(?: (?P<file>\S+:\d+))?"
)
_PLACE = lazy(r"\s*\S+:\d+\s*\Z")
# db_show_rm prints those who hold a read lock, and then the lock that writers take, in the form of its class
_FIELD = lazy(r" ([a-z][a-z ]{0,30}): ?(.*)")
_RM_LINE = lazy(r" (?:per-CPU|active) readers:\s*\Z|Backing write-lock \(")
_RM_READER = lazy(r"   thread 0x[0-9a-f]+ \(tid ")
_OF_LOCK = lazy(rf"{_FIELD.pattern}|{_RM_LINE.pattern}|{_RM_READER.pattern}")
_QUEUE_LINE = lazy(r"Queue type: |Queue\[\d\]:|Blocked threads:|Associated Interlock|\s+(?:empty|0x[0-9a-f]+ \(tid )|\(expected")
_TURNSTILE_LINE = lazy(
    r"Lock Owner|Shared Waiters|Exclusive Waiters|Pending Threads|\s+(?:empty|0x[0-9a-f]+ \(tid )"
)
_ADDRESS = lazy(r"(?:0x)?[0-9a-f]{8,16}\Z")
#: So many lines of something else may stand between a thread and its locks.
_LONGEST_GAP = 4
#: The least number of digits of a thread id; a shorter number is that of a process.
_TID_DIGITS = 6
_SHARES = lazy(r"(?:SLOCK|RLOCK|SHARED)(?:: | \(count )(\d{1,9})")
OWNER = lazy(r"(?P<td>0x[0-9a-f]+) \(tid (?P<tid>\d+), pid (?P<pid>\d+), \"(?P<name>[^\"]*)\"\)")


def lock_name(names: str) -> str:
    """The lock's name out of "name (type)", where witness prints a type that differs from it."""
    half = len(names) // 2
    for middle in (half - 1, half):
        if names[middle:] == f" ({names[:middle]})":
            return names[:middle]
    if names.endswith(")") and not names.endswith(("(system)", "(user)")):
        depth = 0
        for index in range(len(names) - 1, 0, -1):
            depth += {")": 1, "(": -1}.get(names[index], 0)
            if depth == 0:
                return names[:index].rstrip() or names
    return names


def _read_held(section: Section, start: int, match: re.Match[str]) -> int:
    """``show alllocks``: threads, each with the locks it holds."""
    lines = section.lines
    index = start
    threads = []
    while index < len(lines):
        holder = _HOLDER.match(lines[index])
        if holder is None:
            break
        first = index
        tid = int(holder.group("tid"))
        index += 1
        index = _note_held(section, index, tid)
        threads.append(
            Thread(
                pid=int(holder.group("pid")),
                tid=tid,
                address=int(holder.group("td"), 16),
                command=holder.group("command"),
                where=(section.where(first, first + 1),),
            )
        )
        section.context["ddb holder"] = (tid, index)
    section.draft.add_threads(threads)
    return index


def _note_held(section: Section, index: int, tid: int | None) -> int:
    """Note the held locks from line ``index`` on as those of thread ``tid``; returns the index behind them."""
    lines = section.lines
    while index < len(lines):
        held = HELD.match(lines[index])
        if held is None:
            following = section.pass_foreign(index, HELD)
            if following == index:
                break
            index = following
            continue
        if tid is not None:
            section.draft.add_lock(held_lock(section, index, held, tid))
        index = behind_held(lines, index, held)
    return index


def behind_held(lines: list[str], index: int, held: re.Match[str]) -> int:
    """The line behind that of a held lock, whose place in the source may have been wrapped."""
    index += 1
    if held.group("file") is None and index < len(lines) and _PLACE.match(lines[index]):
        index += 1
    return index


def held_lock(section: Section, index: int, held: re.Match[str], tid: int) -> LockFact:
    shared = held.group("mode") == "shared"
    return LockFact(
        address=int(held.group("address"), 16),
        name=lock_name(held.group("names")),
        lock_class=held.group("class"),
        state="shared" if shared else "exclusive",
        owner=None if shared else tid,
        sharers=(tid,) if shared else (),
        where=section.where(index, index + 1),
    )


def _read_locks_of_thread(section: Section, start: int, match: re.Match[str]) -> int:
    """``show locks``: locks without a thread line. It was named in the command, else it is the one that entered
    the debugger; in ``show alllocks`` that of the line before, where the console broke in.
    """
    command = section.context.get("ddb command")
    words = command.split() if isinstance(command, str) else []
    tid: int | None = None
    holder = section.context.get("ddb holder")
    if isinstance(holder, tuple) and start - holder[1] <= _LONGEST_GAP:
        tid = holder[0]
    elif words[:2] == ["show", "locks"]:
        entered = section.context.get("ddb entered")
        if len(words) == 2 and isinstance(entered, int):
            tid = entered
        elif len(words) == 3 and words[2].isdecimal() and len(words[2]) >= _TID_DIGITS:
            tid = int(words[2][:18])
        elif len(words) == 3:
            tid = _tid_at(section, words[2])
    return _note_held(section, start, tid)


def _tid_at(section: Section, word: str) -> int | None:
    """The thread whose struct thread is at address ``word``, if it was seen already."""
    address = number(word)
    known = section.draft.now.threads.values()
    return next((thread.tid for thread in known if address and thread.address == address), None)


def _read_lock(section: Section, start: int, match: re.Match[str]) -> int:
    """``show lock ADDRESS``: the class' own description of one lock."""
    lines = section.lines
    known: dict[str, str] = {}
    readers: dict[int, None] = {}
    broken_at: int | None = None
    index = start
    while index < len(lines):
        line = lines[index]
        field = _FIELD.match(line)
        reader = OWNER.match(line, line.find("0x")) if _RM_READER.match(line) else None
        if field is not None:
            known.setdefault(field.group(1), field.group(2).strip())
        elif reader is not None:
            readers[int(reader.group("tid"))] = None
        elif _RM_LINE.match(line) is None:
            following = section.pass_foreign(index, _OF_LOCK)
            if following == index:
                break
            broken_at = broken_at or index
            index = following
            continue
        index += 1
    if "name" not in known:
        return start
    state = known.get("state", "")
    owner = OWNER.search(known.get("owner", "")) or OWNER.search(state)
    section.draft.add_lock(
        LockFact(
            address=_address_typed(section),
            name=known["name"],
            lock_class=known["class"],
            state="shared" if readers and owner is None else _state(state, owner is not None),
            owner=int(owner.group("tid")) if owner is not None else None,
            sharers=tuple(readers),
            shares=len(readers) or count_shares(state),
            where=section.where(start, broken_at or index),
        )
    )
    return index


def _address_typed(section: Section) -> int | None:
    """The address in the command that was typed: ddb reads digits as hexadecimal ones."""
    command = section.context.get("ddb command")
    words = command.split() if isinstance(command, str) else []
    return int(words[-1], 16) if words and _ADDRESS.match(words[-1]) else None


def count_shares(text: str) -> int | None:
    """By how many threads a lock is held shared: ``SLOCK: 2``, ``RLOCK: 2 locks``, ``SHARED (count 2)``."""
    found = _SHARES.search(text)
    return int(found.group(1)) if found is not None else None


def _state(text: str, owned: bool) -> str | None:
    if owned:
        return "exclusive"
    if "KERNPROC" in text:
        return "kernproc"
    if "UNOWNED" in text or "UNLOCKED" in text:
        return "unlocked"
    if "SLOCK" in text or "RLOCK" in text or "SHARED" in text:
        return "shared"
    return "destroyed" if "DESTROYED" in text else None


def _read_sleepqueue(section: Section, start: int, match: re.Match[str]) -> int:
    """``show sleepq``: who sleeps on a wait channel."""
    lines = section.lines
    wchan = int(match.group().rpartition(" ")[2], 16)
    index = start + 1
    threads = []
    lock_like = False
    broken_at: int | None = None
    while index < len(lines):
        line = lines[index]
        owner = OWNER.match(line.strip())
        if owner is not None:
            threads.append(
                Thread(
                    pid=int(owner.group("pid")),
                    tid=int(owner.group("tid")),
                    address=int(owner.group("td"), 16),
                    name=owner.group("name"),
                    state="sleeping",
                    wchan=wchan,
                    where=(section.where(index, index + 1),),
                )
            )
        elif line.startswith("Queue type: "):
            lock_like = line.rpartition(" ")[2] in ("3", "4")
        elif line.strip() and _QUEUE_LINE.match(line) is None:
            following = section.pass_foreign(index, _QUEUE_LINE, blanks=True)
            if following == index:
                break
            broken_at = broken_at or index
            index = following
            continue
        index += 1
    if lock_like and threads:
        section.draft.add_lock(
            LockFact(
                address=wchan,
                waiters=tuple(thread.tid for thread in threads if thread.tid is not None),
                where=section.where(start, broken_at or index),
            )
        )
    section.draft.add_threads(threads)
    return section.before_blanks(start, index)


def _read_turnstile(section: Section, start: int, match: re.Match[str]) -> int:
    """``show turnstile``: a lock, its owner, and who is blocked on it."""
    lines = section.lines
    lock = re.match(r"Lock: (0x[0-9a-f]+) - \(([^)]*)\) (.*)", lines[start])
    if lock is None:
        return start
    owner = None
    index = start + 1
    broken_at: int | None = None
    waiters = []
    threads = []
    while index < len(lines):
        line = lines[index]
        entry = OWNER.match(line.strip())
        if entry is not None:
            waiters.append(int(entry.group("tid")))
            threads.append(
                Thread(
                    pid=int(entry.group("pid")),
                    tid=int(entry.group("tid")),
                    address=int(entry.group("td"), 16),
                    name=entry.group("name"),
                    state="lock",
                    where=(section.where(index, index + 1),),
                )
            )
        elif line.startswith("Lock Owner: 0x"):
            owner = OWNER.search(line)
        elif line.strip() and _TURNSTILE_LINE.match(line) is None:
            following = section.pass_foreign(index, _TURNSTILE_LINE)
            if following == index:
                break
            broken_at = broken_at or index
            index = following
            continue
        index += 1
    section.draft.add_lock(
        LockFact(
            address=int(lock.group(1), 16),
            name=lock.group(3).strip(),
            lock_class=lock.group(2),
            state="exclusive" if owner is not None else None,
            owner=int(owner.group("tid")) if owner is not None else None,
            waiters=tuple(waiters),
            where=section.where(start, broken_at or index),
        )
    )
    section.draft.add_threads(threads)
    return section.before_blanks(start, index)


OPENERS = (
    Opener("ddb-alllocks", "ddb", r"Process \d+ \(.*\) thread 0x[0-9a-f]+ \(\d+\)", _read_held),
    Opener(
        "ddb-locks",
        "ddb",
        r"(?:exclusive|shared) (?:sleep mutex|spin mutex|sleepable rm|rm|sx|rw|lockmgr) ",
        _read_locks_of_thread,
    ),
    Opener("ddb-lock", "ddb", r" class: \w", _read_lock),
    Opener("ddb-sleepq", "ddb", r"Wait channel: 0x[0-9a-f]+", _read_sleepqueue),
    Opener("ddb-turnstile", "ddb", r"Lock: 0x[0-9a-f]+ - \(", _read_turnstile),
)
