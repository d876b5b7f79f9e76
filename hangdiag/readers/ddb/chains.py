"""``show lockchain``, ``show allchains``, ``show sleepchain``, ``show locktree``.

From print_lockchain, print_sleepchain and print_waiters in sys/kern/subr_turnstile.c, lockmgr_chain in
kern_lock.c and sx_chain in kern_sx.c; the wording differs by release ("thread 1 (pid 2, x) is blocked
on lock" since 13, "thread 1 (pid 2, x) blocked on lock" before, and there ``blocked on lockmgr ufsEXCL``
for a lock named ufs). On a cycle of locks these commands never end: a chain is followed only once around.
"""

from __future__ import annotations

import re

from hangdiag.model import LockFact, Thread
from hangdiag.readers.ddb.locks import OWNER, count_shares
from hangdiag.readers.links import Link, find_owners
from hangdiag.readers.section import Opener, Section
from hangdiag.text.lazy import lazy

_LINK = lazy(
    r" ?thread (?P<tid>\d+) \(pid (?P<pid>\d+), (?P<name>.{0,64})\) (?:is )?"
    r"(?P<what>(?:blocked|sleeping|inhibited|inactive|can run|runnable|on a run queue|running)\b.*|inhibited|\?\?\? .*)"
)
_BLOCKED = lazy(
    r"blocked on (?:lockmgr (?P<lockmgr>.*?)(?P<mode2>EXCL|SHARED \(count \d+\))"
    r'|(?P<class>lock|sx)(?: (?P<address>0x[0-9a-f]+))?(?: \((?P<class2>[^)]*)\))? ?"?(?P<name>[^"]*)"?(?P<mode>.*))'
)
_SLEEPING = lazy(r'sleeping on (?P<wchan>0x[0-9a-f]+) "(?P<wmesg>[^"]*)"')
_INHIBITED = {"suspended": "suspended", "iwait": "iwait"}
_CHAIN = lazy(r"chain \d+:\s*\Z")
_DISOWNED = lazy(r" ?disowned \(LK_KERNPROC\)\s*\Z")
_TREE_LOCK = lazy(r'(?P<indent> *)lock (?P<address>0x[0-9a-f]+) \((?P<class>[^()]*)\) "(?P<name>[^"]*)"\s*\Z')
_TREE_THREAD = lazy(r"(?P<indent> +)thread (?=0x)")


def _read_chain(section: Section, start: int, match: re.Match[str]) -> int:
    lines = section.lines
    index = start + 1 if _CHAIN.match(lines[start]) else start
    printed: list[Link] = []
    links: dict[tuple[int, str], tuple[int, re.Match[str]]] = {}
    while index < len(lines):
        link = _LINK.match(lines[index])
        if link is None:
            following = section.pass_foreign(index, _LINK) if links else index
            if following == index:
                break
            index = following
            continue
        key = (int(link.group("tid")), link.group("what"))
        printed.append((key, index))
        links.setdefault(key, (index, link))  # a cycle is printed for ever
        index += 1
    if not links:
        return index if index > start else start
    disowned = index < len(lines) and _DISOWNED.match(lines[index]) is not None
    owners = find_owners(printed, lines)
    last = printed[-1][0]
    threads = [
        _note_link(section, place, link, owners.get(key), disowned and key == last)
        for key, (place, link) in links.items()
    ]
    section.draft.add_threads(threads)
    return index + disowned


def _note_link(section: Section, index: int, link: re.Match[str], owner: int | None, disowned: bool) -> Thread:
    """The thread of one line, and the lock it is blocked on, which ``owner`` has."""
    tid, what = int(link.group("tid")), link.group("what")
    where = section.where(index, index + 1)
    known: dict[str, object] = {}
    sleeping = _SLEEPING.match(what)
    blocked = _BLOCKED.match(what)
    if sleeping is not None:
        known = {
            "state": "sleeping",
            "wmesg": sleeping.group("wmesg"),
            "wchan": int(sleeping.group("wchan"), 16),
        }
    elif blocked is not None:
        address = blocked.group("address")
        mode = blocked.group("mode2") or blocked.group("mode")
        kind = "lockmgr" if blocked.group("mode2") else blocked.group("class2") or blocked.group("class")
        name = (blocked.group("lockmgr") or blocked.group("name") or "").strip() or None
        if "SLOCK" in mode or "SHARED" in mode:
            owner = None
        section.draft.add_lock(
            LockFact(
                address=int(address, 16) if address else None,
                name=name,
                lock_class=None if kind == "lock" else kind,
                state="kernproc" if disowned else _lock_state(mode, owner),
                owner=owner,
                waiters=(tid,),
                shares=count_shares(mode),
                where=section.where(index, index + 1 + disowned),
            )
        )
        # a thread that waits for an sx or lockmgr lock is on a sleep queue
        known = {"lock": name, "state": "sleeping" if kind in ("sx", "lockmgr") else "lock"}
    elif what.startswith("running"):
        cpu = re.search(r"CPU (\d+)", what)
        known = {"state": "running", "cpu": int(cpu.group(1)) if cpu else None}
    elif what.startswith(("runnable", "can run", "on a run queue")):
        known = {"state": "runnable"}
    else:
        known = {"state": _INHIBITED.get(what.rpartition(" ")[2])}
    return Thread(
        pid=int(link.group("pid")),
        tid=tid,
        name=link.group("name"),
        where=(where,),
        **known,  # type: ignore[arg-type]
    )


def _lock_state(mode: str, owner: int | None) -> str | None:
    if "SLOCK" in mode or "SHARED" in mode:
        return "shared"
    return "exclusive" if owner is not None or "XLOCK" in mode or "EXCL" in mode else None


def _read_tree(section: Section, start: int, match: re.Match[str]) -> int:
    """``show locktree``: a lock, who is blocked on it, the locks that these hold, and so on, indented."""
    lines = section.lines
    index = start
    path: list[tuple[int, int | None]] = []  # the threads above a line: indentation, tid
    waiting: list[tuple[int, re.Match[str], int | None, list[int]]] = []
    threads = []
    while index < len(lines):
        line = lines[index]
        lock, entry = _TREE_LOCK.match(line), _TREE_THREAD.match(line)
        found = lock or entry
        if found is None:
            break
        depth = len(found.group("indent"))
        while path and path[-1][0] >= depth:
            path.pop()
        if lock is not None:
            waiting.append((index, lock, path[-1][1] if path else None, []))
        else:
            owner = OWNER.match(line, found.end())
            if owner is None or not waiting:
                break
            tid = int(owner.group("tid"))
            above = next((item for item in reversed(waiting) if len(item[1].group("indent")) < depth), waiting[-1])
            above[3].append(tid)
            path.append((depth, tid))
            threads.append(
                Thread(
                    pid=int(owner.group("pid")),
                    tid=tid,
                    address=int(owner.group("td"), 16),
                    name=owner.group("name"),
                    state="lock",
                    where=(section.where(index, index + 1),),
                )
            )
        index += 1
    for place, lock, holder, waiters in waiting:
        section.draft.add_lock(
            LockFact(
                address=int(lock.group("address"), 16),
                name=lock.group("name"),
                lock_class=lock.group("class"),
                state="exclusive" if holder is not None else None,
                owner=holder,
                waiters=tuple(waiters),
                where=section.where(place, place + 1),
            )
        )
    section.draft.add_threads(threads)
    return index


OPENERS = (
    Opener("ddb-chain", "ddb", r"chain \d+:\s*\Z", _read_chain),
    Opener("ddb-link", "ddb", r" ?thread \d+ \(pid \d+, ", _read_chain),
    Opener("ddb-locktree", "ddb", r' *lock 0x[0-9a-f]+ \([^()]{1,20}\) "', _read_tree),
)
