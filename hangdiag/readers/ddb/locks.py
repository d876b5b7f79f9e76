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
_HELD = lazy(
    r"\s*(?P<mode>exclusive|shared) (?P<class>sleep mutex|spin mutex|sleepable rm|rm|sx|rw|lockmgr) (?P<names>.{1,200}?)"
    r" r = \d+ \((?P<address>0x[0-9a-f]+)\) locked @(?: (?P<file>\S+:\d+))?"
)
_PLACE = lazy(r"\s*\S+:\d+\s*\Z")
_OWNER = lazy(r"(?P<td>0x[0-9a-f]+) \(tid (?P<tid>\d+), pid (?P<pid>\d+), \"(?P<name>[^\"]*)\"\)")


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
        while index < len(lines) and (held := _HELD.match(lines[index])) is not None:
            section.draft.add_lock(_held_lock(section, index, held, tid))
            index = _behind(lines, index, held)
        threads.append(
            Thread(
                pid=int(holder.group("pid")),
                tid=tid,
                address=int(holder.group("td"), 16),
                command=holder.group("command"),
                where=(section.where(first, index),),
            )
        )
    section.draft.add_threads(threads)
    return index


def _behind(lines: list[str], index: int, held: re.Match[str]) -> int:
    """The line behind that of a held lock, whose place in the source may have been wrapped."""
    index += 1
    if held.group("file") is None and index < len(lines) and _PLACE.match(lines[index]):
        index += 1
    return index


def _held_lock(section: Section, index: int, held: re.Match[str], tid: int) -> LockFact:
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
    """``show locks``: locks without a thread line; it was named in the command, else it is the current one."""
    lines = section.lines
    command = section.context.get("ddb command")
    named = re.match(r"show locks (\d+)", command) if isinstance(command, str) else None
    index = start
    while index < len(lines) and (held := _HELD.match(lines[index])) is not None:
        if named is not None:
            section.draft.add_lock(_held_lock(section, index, held, int(named.group(1))))
        index = _behind(lines, index, held)
    return index


def _read_lock(section: Section, start: int, match: re.Match[str]) -> int:
    """``show lock ADDRESS``: the class' own description of one lock."""
    lines = section.lines
    known: dict[str, str] = {}
    index = start
    while index < len(lines) and (field := re.match(r" ([a-z][a-z ]*): ?(.*)", lines[index])) is not None:
        known.setdefault(field.group(1), field.group(2).strip())
        index += 1
    if "name" not in known:
        return start
    state = known.get("state", "")
    owner = _OWNER.search(known.get("owner", "")) or _OWNER.search(state)
    command = section.context.get("ddb command")
    words = command.split() if isinstance(command, str) else []
    section.draft.add_lock(
        LockFact(
            address=number(words[-1]) if words and words[-1].startswith("0x") else None,
            name=known["name"],
            lock_class=known["class"],
            state=_state(state, owner is not None),
            owner=int(owner.group("tid")) if owner is not None else None,
            where=section.where(start, index),
        )
    )
    return index


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
    while index < len(lines):
        line = lines[index]
        owner = _OWNER.match(line.strip())
        if owner is not None:
            threads.append(
                Thread(
                    pid=int(owner.group("pid")),
                    tid=int(owner.group("tid")),
                    address=int(owner.group("td"), 16),
                    name=owner.group("name"),
                    wchan=wchan,
                    where=(section.where(index, index + 1),),
                )
            )
        elif line.startswith("Queue type: "):
            lock_like = line.rpartition(" ")[2] in ("3", "4")
        elif line.strip() and not re.match(
            r"Queue\[\d\]:|Blocked threads:|Associated Interlock|\s+empty|\(expected", line
        ):
            break
        index += 1
    if lock_like and threads:
        section.draft.add_lock(
            LockFact(
                address=wchan,
                waiters=tuple(thread.tid for thread in threads if thread.tid is not None),
                where=section.where(start, index),
            )
        )
    section.draft.add_threads(threads)
    return section.before_blanks(start, index)


def _read_turnstile(section: Section, start: int, match: re.Match[str]) -> int:
    """``show turnstile``: a lock, its owner, and who is blocked on it."""
    lines = section.lines
    lock = re.match(r"Lock: (0x[0-9a-f]+) - \(([^)]*)\) (.*)", lines[start])
    if lock is None or start + 1 >= len(lines):
        return start
    owner = _OWNER.search(lines[start + 1]) if lines[start + 1].startswith("Lock Owner:") else None
    index = start + 1
    waiters = []
    threads = []
    while index < len(lines):
        line = lines[index]
        entry = _OWNER.match(line.strip())
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
        elif line.strip() and not re.match(
            r"Lock Owner|Shared Waiters|Exclusive Waiters|Pending Threads|\s+empty", line
        ):
            break
        index += 1
    section.draft.add_lock(
        LockFact(
            address=int(lock.group(1), 16),
            name=lock.group(3).strip(),
            lock_class=lock.group(2),
            state="exclusive" if owner is not None else None,
            owner=int(owner.group("tid")) if owner is not None else None,
            waiters=tuple(waiters),
            where=section.where(start, index),
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
