"""One frame as ddb prints it, from the text of a line: ``name() at name+0x1a/frame 0x...``.

From sys/amd64/amd64/db_trace.c (db_print_stack_entry), sys/mips/mips/db_trace.c and sys/powerpc/powerpc/db_trace.c.
"""

from __future__ import annotations

from hangdiag.model import Frame
from hangdiag.readers.stacks import parse_offset
from hangdiag.text.lazy import lazy

# "f() at f+0x1a", "f() at f", "f(150b260,...) at f+0xf4", "calltrap() at 0xffc031ef", "fork_exit at fork_exit+0x11f"
FRAME = lazy(
    r"(?P<name>\(null\)|[A-Za-z_][\w.$@]*)(?:\([^()]*\))? at "
    r"(?:(?P<symbol>[A-Za-z_][\w.$@]*)(?:\+(?P<offset>0x[0-9a-f]+|\d+|\.\.\.))?|(?P<address>0x[0-9a-f]+|0)|\.\.\.)"
    # syzkaller adds the place in the source, and lines for what was inlined there
    r"(?: (?:(?P<inlined>[A-Za-z_]\w*) )?(?P<file>[\w./-]{1,160}\.[chS]):(?P<line>-?\d{1,6})(?: \[inline\])?)?\s*\Z"
)
# sys/mips/mips/db_trace.c (stacktrace_subr): "f+0x1a (?,?,?,?) ra 80102030 sp d1c0 sz 32"; sys/powerpc/powerpc/db_trace.c
# (db_backtrace): "0xd1c0: at f+0x1a", "0xd1c0: kernel DSI read trap @ 0x10 by f+0x1a: srr1=0x9032"
_OTHER_FRAME = lazy(
    r"(?P<mips>[A-Za-z_][\w.$@]*\+(?:0x)?[0-9a-f]+) \([^()]{1,80}\) ra [0-9a-f]+ sp [0-9a-f]+ sz \d+\s*\Z"
    r"|0x[0-9a-f]{8,16}: (?:at |kernel [^:]{1,60} by )(?P<powerpc>[A-Za-z_][\w.$@]*\+0x[0-9a-f]+)"
    r"(?:\([^()]{1,160}\)|: srr1=\S+)?\s*\Z"
)
#: What a kernel's addresses begin with, and names do not have.
_ADDRESS_PARTS = ("0x", "fffe", "fe00")
_WITHOUT_DIGITS = dict.fromkeys(map(ord, "0123456789abcdefx"))
#: "0x" and digits: no function is longer.
_LONGEST_OFFSET = 8
#: "0x", and digits of an address that is not at the begin of memory.
_SHORTEST_ADDRESS = 8
_BROKEN_TAIL = lazy(r"/frame(?: (?:0x[0-9a-f]{0,15})?)?\s*\Z|\+0x[0-9a-f]*\s*\Z|/f?r?a?m?\Z")
TAIL_REST = lazy(r"\s*(?:(?:f?r?a?m?e )?0?x?[0-9a-f]{1,18}|/frame 0x[0-9a-f]+)\s*\Z")


def has_tail_in(line: str, after: str) -> bool:
    """Does ``after`` hold the rest of the frame pointer in which ``line`` was broken off?"""
    return _BROKEN_TAIL.search(line) is not None and TAIL_REST.match(after) is not None


def parse_frame(head: str) -> Frame | None:
    """A frame from a ddb line up to ``/frame``, or None."""
    found = FRAME.match(head)
    if found is None:
        other = _OTHER_FRAME.match(head)
        if other is None:
            return None
        name, _, offset = (other.group("mips") or other.group("powerpc")).partition("+")
        return Frame(name, offset=int(offset, 16))
    address = found.group("address")
    if address is not None and "(" not in head:
        return None  # "buf at 0xfffffe00a1b2c000"
    if found.group("inlined"):
        return Frame(found.group("inlined"), file=found.group("file"), line=_line(found.group("line")), inlined=True)
    name = found.group("name") if found.group("name") != "(null)" or address is None else address
    return Frame(
        name,
        # the place may be the caller's
        offset=parse_offset(found.group("offset")) if found.group("symbol") == name else None,
        address=int(address, 16) if address is not None else None,
        file=found.group("file"),
        line=_line(found.group("line")),
    )


def _line(text: str | None) -> int | None:
    """A line's number; syzkaller writes -1 where it is not known."""
    return int(text) if text and text[0] != "-" else None


def is_damaged(line: str, head: str) -> bool:
    """Do the two names differ that are printed of one place? Another CPU wrote into the line.

    Only amd64 and i386 print a frame pointer, and both names from the same symbol. Where none is
    printed the place may be the caller's, somewhere behind its begin: what has no offset lost it. Digits
    within a name are those of another CPU's address.
    """
    found = FRAME.match(head)
    if found is None or found.group("symbol") == found.group("name"):
        return False
    if found.group("symbol") is None:
        return found.group("name") != "(null)" and len(found.group("address") or "0x00000000") < _SHORTEST_ADDRESS
    name, symbol, offset = found.group("name"), found.group("symbol"), found.group("offset") or ""
    return (
        len(head) < len(line)
        or not offset.startswith(("0x", "..."))
        or len(offset) > _LONGEST_OFFSET
        or any(part in word for part in _ADDRESS_PARTS for word in (name, symbol))
        or name.translate(_WITHOUT_DIGITS) == symbol.translate(_WITHOUT_DIGITS)
    )
