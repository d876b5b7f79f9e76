"""``show lockchain``, ``show allchains``, ``show sleepchain``.

From print_lockchain and print_sleepchain in sys/kern/subr_turnstile.c; the wording differs by
release ("thread 1 (pid 2, x) is blocked on lock" since 13, "thread 1 (pid 2, x) blocked on lock"
before). On a cycle of locks these commands never end: a chain is followed only once around.
"""

from __future__ import annotations

import re

from hangdiag.model import LockFact, Thread
from hangdiag.readers.section import Opener, Section
from hangdiag.text.lazy import lazy

_LINK = lazy(
    r" ?thread (?P<tid>\d+) \(pid (?P<pid>\d+), (?P<name>.*?)\) (?:is )?"
    r"(?P<what>(?:blocked|sleeping|inhibited|inactive|can run|runnable|on a run queue|running)\b.*|inhibited)"
)
_BLOCKED = lazy(
    r'blocked on (?P<class>lock|sx|lockmgr)(?: (?P<address>0x[0-9a-f]+))?(?: \((?P<class2>[^)]*)\))? ?"?(?P<name>[^"]*)"?'
    r"(?P<mode>.*)"
)
_SLEEPING = lazy(r'sleeping on (?P<wchan>0x[0-9a-f]+) "(?P<wmesg>[^"]*)"')
_INHIBITED = {"suspended": "suspended", "iwait": "iwait"}
_CHAIN = lazy(r"chain \d+:\s*\Z")


def _read_chain(section: Section, start: int, match: re.Match[str]) -> int:
    lines = section.lines
    index = start + 1 if _CHAIN.match(lines[start]) else start
    links: list[tuple[int, re.Match[str]]] = []
    seen: set[tuple[str, str]] = set()
    closing: int | None = None
    while index < len(lines):
        link = _LINK.match(lines[index])
        if link is None:
            break
        key = (link.group("tid"), link.group("what"))
        if key in seen:
            # a cycle, printed for ever: the repeated lines say nothing new
            closing = int(link.group("tid")) if closing is None else closing
        elif closing is None:
            seen.add(key)
            links.append((index, link))
        index += 1
    if not links:
        return index if index > start else start
    threads = []
    for position, (place, link) in enumerate(links):
        follower = int(links[position + 1][1].group("tid")) if position + 1 < len(links) else closing
        threads.append(_note_link(section, place, link, follower))
    section.draft.add_threads(threads)
    return index


def _note_link(section: Section, index: int, link: re.Match[str], follower: int | None) -> Thread:
    """The thread of one line; a lock it is blocked on is owned by the thread of the next line."""
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
        name = blocked.group("name").strip() or None
        address = blocked.group("address")
        mode = blocked.group("mode").strip()
        kind = blocked.group("class2") or blocked.group("class")
        owner = follower if follower is not None and "SLOCK" not in mode and "SHARED" not in mode else None
        section.draft.add_lock(
            LockFact(
                address=int(address, 16) if address else None,
                name=name,
                lock_class=None if kind == "lock" else kind,
                state=_lock_state(mode, owner),
                owner=owner,
                waiters=(tid,),
                where=where,
            )
        )
        # a thread that waits for an sx or lockmgr lock is on a sleep queue
        on_turnstile = blocked.group("class") == "lock" and kind not in ("sx", "lockmgr")
        known = {"lock": name, "state": "lock" if on_turnstile else "sleeping"}
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
    if "KERNPROC" in mode:
        return "kernproc"
    if "SLOCK" in mode or "SHARED" in mode:
        return "shared"
    return "exclusive" if owner is not None or "XLOCK" in mode or "EXCL" in mode else None


OPENERS = (
    Opener("ddb-chain", "ddb", r"chain \d+:\s*\Z", _read_chain),
    Opener("ddb-link", "ddb", r" ?thread \d+ \(pid \d+, ", _read_chain),
)
