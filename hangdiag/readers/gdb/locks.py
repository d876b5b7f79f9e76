"""What printed locks tell: ``p *(struct sx *)0x...``, ``p/x ((struct mtx *)0x...)->mtx_lock``, ``mtx_owner``.

A lock is known by its address, which only an expression holds. Words are decoded by :mod:`hangdiag.lockwords`.
"""

from __future__ import annotations

from collections.abc import Mapping

from hangdiag.lockwords import FAMILY, LOCK_IN_VNODE, WORD, count_shares, decode_word, lock_class
from hangdiag.model import LockFact, Where
from hangdiag.readers.gdb.scalars import first_string, integer
from hangdiag.readers.gdb.threads import Identity
from hangdiag.readers.section import Section
from hangdiag.text.lazy import lazy

_ADDRESS = lazy(r".{0,200}?\(struct (?P<type>mtx|sx|rwlock|lock|rmlock|lock_object) \*\)\s*\(?(?P<address>0x[0-9a-f]{4,16})")
_VNODE = lazy(r".{0,200}?\(struct vnode \*\)\s*\(?(?P<address>0x[0-9a-f]{4,16})\)*(?:->|\.)v_(?:vn)?lock\b")
_STRUCT_VNODE = lazy(r".{0,60}?\(struct vnode \*\) ?\(?(?P<address>0x[0-9a-f]{4,16})\)*\Z")
_FAMILY_OF = {"mtx": "mtx", "sx": "sx", "rwlock": "rw", "lock": "lockmgr"}
_MEMBER = lazy(r"(?:->|\.)(?P<word>mtx_lock|sx_lock|rw_lock|lk_lock)\b(?P<mask>\)*\s*&\s*~)?")
_OWNED = lazy(r"\$?td->td_blocked->ts_owner(?:->(?P<field>td_tid))?\Z")


def note_lock(section: Section, expression: str, value: Mapping[str, object], where: Where) -> bool:
    """Note a whole lock that was printed; False if ``value`` is none, or nothing tells where it lies."""
    family = next((name for name, member in WORD.items() if member in value), None)
    head = value.get("lock_object")
    if family is None or not isinstance(head, Mapping):
        return False
    found = _ADDRESS.match(expression)
    vnode = _VNODE.match(expression) if found is None else None
    word = integer(value[WORD[family]])
    place = found or vnode
    if place is None or word is None:
        return False
    kind = lock_class(integer(head.get("lo_flags")) or 0)
    if kind is None or FAMILY.get(kind) != family:
        kind = None
    address = int(place.group("address"), 16)
    _add(section, address, family, word, where, first_string(head.get("lo_name")), kind, of_vnode=vnode is not None)
    return True


def note_vnode(section: Section, expression: str, value: Mapping[str, object], where: Where) -> bool:
    """Note the lock of a whole vnode that was printed; that of another one where v_vnlock says so (nullfs) is not in it."""
    found = _STRUCT_VNODE.match(expression)
    lock = value.get("v_lock")
    word = integer(lock.get(WORD["lockmgr"])) if isinstance(lock, Mapping) else None
    if found is None or word is None or not isinstance(lock, Mapping):
        return False
    address = int(found.group("address"), 16)
    used = integer(value.get("v_vnlock"))
    if used is None or used - address in LOCK_IN_VNODE:
        head = lock.get("lock_object")
        name = first_string(head.get("lo_name")) if isinstance(head, Mapping) else None
        _add(section, address, "lockmgr", word, where, name, "lockmgr", of_vnode=True)
    return True


def note_lock_word(section: Section, expression: str, value: object, where: Where) -> bool:
    """Note a lock's word, or its owner, that was printed alone; False if ``expression`` is of no lock."""
    number = integer(value)
    owned = _OWNED.match(expression)
    current = section.context.get("gdb thread")
    if owned is not None and number and isinstance(current, Identity) and current.tid is not None:
        by_tid = owned.group("field") is not None
        section.draft.add_lock(
            LockFact(
                state="exclusive",
                owner=number if by_tid else None,
                owner_address=None if by_tid else number,
                waiters=(current.tid,),
                where=where,
            )
        )
        return True
    vnode = _VNODE.match(expression)
    found = vnode or _ADDRESS.match(expression)
    member = _MEMBER.search(expression, found.end()) if found is not None else None
    if found is None or member is None:
        return False
    family = next(name for name, word in WORD.items() if word == member.group("word"))
    address = int(found.group("address"), 16)
    if number is None:
        return True
    if member.group("mask") or "?" in expression:
        # the flags were taken off by hand
        if number and vnode is None:
            section.draft.add_lock(LockFact(address, state="exclusive", owner_address=number, where=where))
    else:
        _add(section, address, family, number, where, of_vnode=vnode is not None)
    return True


def note_owner_thread(section: Section, expression: str, tid: int, where: Where) -> None:
    """``p *(struct thread *)(((struct mtx *)0x...)->mtx_lock & ~7)`` printed the thread that owns a lock."""
    found = _ADDRESS.match(expression)
    if found is not None and _MEMBER.search(expression, found.end()):
        section.draft.add_lock(LockFact(int(found.group("address"), 16), state="exclusive", owner=tid, where=where))


def _add(
    section: Section,
    address: int,
    family: str,
    word: int,
    where: Where,
    name: str | None = None,
    kind: str | None = None,
    of_vnode: bool = False,
) -> None:
    """Note a lock's word; ``of_vnode``: ``address`` is that of the vnode whose lock it is."""
    word &= (1 << 64) - 1
    known = {thread.address: thread.tid for thread in section.draft.now.threads.values() if thread.address}
    release = section.draft.now.host.osreldate
    state, owner = decode_word(family, word, known, release)
    section.draft.add_lock(
        LockFact(
            None if of_vnode else address,
            name,
            kind,
            state,
            known.get(owner) if owner else None,
            owner,
            where=where,
            vnode=address if of_vnode else None,
            shares=count_shares(family, word, release),
        )
    )


def read_owner(section: Section, start: int, index: int) -> int:
    """``mtx_owner ADDRESS`` and ``lockmgr_owner ADDRESS`` of the widespread gdb6 script, and what they print."""
    lines = section.lines
    found = _COMMAND.match(lines[start])
    if found is None or index >= len(lines):
        return index
    address = int(found.group("address"), 16)
    answer = lines[index].strip()
    owner = _OWNER.match(answer)
    if owner is None and answer not in ("unowned", "LK_KERNPROC"):
        return index
    index += 1
    if owner is not None and index < len(lines) and lines[index].startswith("pid: "):
        index += 1
    where = section.where(start, index)
    if owner is not None:
        fact = LockFact(address, state="exclusive", owner_address=int(owner.group("owner"), 16), where=where)
    else:
        fact = LockFact(address, state="unlocked" if answer == "unowned" else "kernproc", where=where)
    section.draft.add_lock(fact)
    return index


_COMMAND = lazy(r"(?:\(k?gdb\) ?)*(?:mtx|lockmgr)_owner (?P<address>0x[0-9a-f]{4,16})\s*\Z")
_OWNER = lazy(r"td: (?P<owner>0x[0-9a-f]{4,16})\s*\Z")
