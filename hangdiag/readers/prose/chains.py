"""Stacks written by hand with arrows: ``vioapic_mmio_write() -> ... -> vm_handle_rendezvous() -> _sleep()``.

Which end is the innermost function is told by where the functions stand that put a thread to
sleep, or the system call: people write either direction with either arrow.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from hangdiag.model import Frame
from hangdiag.readers.gdb.frames import split_arguments
from hangdiag.readers.stacks import parse_offset
from hangdiag.text.lazy import lazy

#: What may stand between two functions.
ARROW = r"(?:[-─]{1,3}>|={1,2}>|→|⟶|⇒|⟹|➔|➜|➡|↳|⤷|↪|↓|⇓|<-{1,3}|<={1,2}|←|⟵|⇐|⟸|⬅|↰|↑|⇑)"
#: What people write for an arrow, and other things by: it counts only in a longer chain of functions.
WEAK = r"(?:(?<=\s)[<>](?=\s)|,?\s(?:which (?:is |was )?)?(?:called (?:from|by)|calls|calling)(?=\s))"
_NOTE = (
    r"(?:\s?\((?P<brackets>[^()\n<>→←⇒⇐⟶⟵⟹⟸↓↑↳]{0,80})\))?(?:\s?\[(?P<note>[^\[\].\n]{1,40})\])?"
    r"(?: at (?P<file>[\w./-]{1,100}):(?P<line>\d{1,7}))?"
)
_ELISION = r"\.{2,6}|…|\[(?:\.{3}|…)\]|\((?:\.{3}|…)\)|<(?:\.{3}|snip)>"
_NAME = r"(?P<name>(?:[\w.-]{1,40}`)?[A-Za-z_][\w.$]*)(?:\+(?P<offset>0x[0-9a-f]+|\d+|\.\.\.)?)?"
_ITEM = rf"{_NAME}{_NOTE}|{_ELISION}"
_FIRST = lazy(rf"(?<![\w.$/@:-])(?:{_ITEM})")
_LINK = lazy(rf"(?P<before>\s*)(?:{ARROW}(?:\s*{ARROW})?|(?P<weak>{WEAK}))(?P<after>\s*)")
_NEXT = lazy(rf"(?:{_ITEM})(?![\w/@])")
_ANY_ARROW = lazy(rf"{ARROW}|{WEAK}")
#: A chain of so many functions is none by chance.
_LONG = 3
#: What is taken off: markup around a function's name, and the lines of a drawn tree.
_MARKUP = lazy(r"[`*│├└╰]+|─+(?![─>])|(?<![\w.])[|+\\](?=\s*(?:-+>|=>|→|-- ))")
_FILE = lazy(r"(?:at )?(?P<file>[\w./-]{1,100}\.[chS]):(?P<line>\d{1,7})\Z")
_SUFFIX = lazy(r"\.(?:isra|constprop|part|cold|llvm)\b")

# What puts a thread to sleep or switches away: the innermost end.
_INNER = lazy(
    r"(?:_sleep|msleep(?:_sbt|_spin|_spin_sbt)?|mtx_sleep|sx_sleep|rw_sleep|tsleep(?:_sbt)?|pause(?:_sbt|_sig)?|sleepq_\w+|mi_switch"
    r"|sched_(?:switch|ule_sswitch|4bsd_sswitch)|cpu_switch|turnstile_(?:wait|block)|_?cv_(?:timed)?wait\w*"
    r"|_?_?mtx_lock_sleep|_sx_[sx]lock_hard|_?_?rw_[rw]lock_hard|sleeplk|lockmgr_[sx]lock_hard|umtxq_sleep|seltdwait"
    r"|kqueue_scan|_?swtch(?:_to)?|mutex_vector_enter|rw_enter_sleep|_resume_from_idle|thread_suspend_switch)\Z"
)
# Where a thread comes from: the outermost end. The names of system calls alone are common words.
_OUTER = lazy(
    r"(?:amd64_syscall|fast_syscall\w*|Xfast_syscall\w*|do_el0_sync|handle_el0_sync|sys_\w+|fork_exit|fork_trampoline|kern_ioctl"
    r"|vmmdev_ioctl|vm_run|devfs_ioctl\w*|ithread_loop|taskqueue_thread_loop|doreti_ast|_?sys_syscall\w*)\Z"
)
_CALL = lazy(r"(?:syscall|ioctl|select|poll|kevent|read|write|open|close|mmap|wait4)\Z")
#: One of these is in every function of the three: what has none is no stack, and that is far quicker to tell.
_ENDS = (
    "sleep", "switch", "swtch", "wait", "turnstile_", "lock_hard", "pause", "kqueue_scan", "mutex_vector", "_resume_from_idle",
    "syscall", "_sync", "sys_", "fork_", "ioctl", "vm_run", "_loop", "doreti", "select", "poll", "kevent", "read", "write",
    "open", "close", "mmap",
)  # fmt: skip
_FUNCTION = lazy(r"_*[A-Za-z]\w*\Z")
#: Words of languages and mathematics that arrows point to.
_NO_FUNCTIONS = frozenset(
    {
        "int", "void", "bool", "char", "str", "float", "double", "long", "short", "unsigned", "signed", "none", "null", "true",
        "false", "self", "result", "option", "unit", "string", "u8", "u16", "u32", "u64", "i8", "i16", "i32", "i64", "usize",
        "size_t", "uint32_t", "uint64_t", "error", "err", "any", "object", "list", "dict", "tuple",
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Chain:
    """A stack found in a text: its frames, innermost first, where it stands, and words noted at its functions."""

    frames: tuple[Frame, ...]
    begin: int
    end: int
    notes: tuple[str, ...]
    #: is it told where the thread sleeps?
    asleep: bool
    #: might it be something else, if nothing says whose stack it is?
    doubtful: bool = False


@dataclass(frozen=True, slots=True)
class _Item:
    frame: Frame | None
    called: bool
    note: str | None


def plain(text: str) -> str:
    """``text`` without markup around its functions."""
    return _MARKUP.sub(" ", text) if _MARKUP.search(text) else text


def may_hold_stacks(text: str) -> bool:
    """Can :func:`find_chains` find any in ``text``?"""
    return "_" in text and any(end in text for end in _ENDS)


def find_chains(text: str) -> Iterator[Chain]:
    """The stacks in ``text``, in order. Linear in its length."""
    position = 0
    while (arrow := _ANY_ARROW.search(text, position)) is not None:
        # the first function stands before the first arrow
        first = None
        for found in _FIRST.finditer(text, max(position, arrow.start() - 260), arrow.start() + 200):
            if found.start() >= arrow.start():
                break
            first = found
        link = _LINK.match(text, first.end()) if first is not None else None
        if first is None or link is None:
            position = arrow.end()
            continue
        items = [_item(first)]
        tight = weak = False
        end = first.end()
        while link is not None and (after := _NEXT.match(text, link.end())) is not None:
            tight = tight or not (link.group("before") or link.group("weak")) or not link.group("after")
            weak = weak or link.group("weak") is not None
            items.append(_item(after))
            end = after.end()
            link = _LINK.match(text, end)
        position = max(end, arrow.end())
        made = _chain(items, tight)
        if made is not None and not (weak and (not made[1] or any(_is_word(item) for item in items))):
            frames, asleep = made
            notes = tuple([item.note for item in items if item.note])
            yield Chain(frames, first.start(), end, notes, asleep, weak and len(frames) < _LONG)


def _is_word(item: _Item) -> bool:
    """May the name be one of any language?"""
    return item.frame is not None and "_" not in item.frame.function and not item.called


def _item(found: re.Match[str]) -> _Item:
    name = found.group("name")
    if name is None:
        return _Item(None, False, None)
    module, _, function = name.rpartition("`")
    note = found.group("note")
    brackets = found.group("brackets")
    file, line = found.group("file"), found.group("line")
    arguments: tuple[tuple[str, str], ...] = ()
    if brackets:
        place = _FILE.match(brackets)
        if place is not None:
            file, line = place.group("file"), place.group("line")
        else:
            arguments = split_arguments(brackets)
            note = f"{note or ''} {brackets}".strip()
    offset = parse_offset(found.group("offset"))
    frame = Frame(function.rstrip("."), offset, module or None, file, int(line) if line else None, arguments)
    return _Item(frame, brackets is not None and ":" not in brackets, note)


def _chain(items: list[_Item], tight: bool) -> tuple[tuple[Frame, ...], bool] | None:
    """The frames of a chain, innermost first, and whether it tells where the thread sleeps; None if it is no stack."""
    frames = [item.frame for item in items if item.frame is not None]
    names = [frame.function for frame in frames]
    if len(names) < 2 or not any("_" in name for name in names):
        return None
    if any(not _FUNCTION.match(_SUFFIX.split(name)[0]) or name.lower() in _NO_FUNCTIONS for name in names):
        return None
    inner = [index for index, name in enumerate(names) if _INNER.match(name)]
    outer = [index for index, name in enumerate(names) if _OUTER.match(name)]
    called = sum(1 for item in items if item.called)
    if tight and not inner and called < len(names):
        return None  # p->field of C
    if not inner and (len(outer) == len(names) or not (outer or called == len(names)) or not (called or len(items) > 2)):
        return None
    if not inner and not outer and not _CALL.match(names[0]) and not _CALL.match(names[-1]):
        return None
    outer += [index for index, name in enumerate(names) if _CALL.match(name)]
    middle = (len(names) - 1) / 2
    if inner:
        reverse = _center(inner) > (_center(outer) if outer else middle)
    else:
        reverse = _center(outer) < middle
    if reverse:
        frames.reverse()
    return tuple(frames), bool(inner)


def _center(places: list[int]) -> float:
    return sum(places) / len(places)
