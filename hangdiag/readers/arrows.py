"""Stacks written by hand with arrows: ``vioapic_mmio_write() -> ... -> vm_handle_rendezvous() -> _sleep()``.

Which end is the innermost function is told by where the functions stand that put a thread to
sleep, or the system call. ``1 bhyve thread in ...`` and ``all remaining vCPU threads in ...`` tell
whose stack it is.
"""

from __future__ import annotations

import re

from hangdiag.model import Frame, Thread
from hangdiag.readers.section import Section
from hangdiag.readers.stacks import parse_token
from hangdiag.text.lazy import lazy

_ARROW = lazy(r"\s*(?:-{1,2}>|=>|→|⟶|⇒|➔|\u2192|<-{1,2}|←|⟵|⇐)\s*")
_CHAIN = lazy(
    r"(?<![\w.$])[A-Za-z_][\w.$]*(?:\+0x[0-9a-f]+)?(?:\(\))?(?:\s*(?:-{1,2}>|=>|→|⟶|⇒|➔|<-{1,2}|←|⟵|⇐)\s*"
    r"(?:[A-Za-z_][\w.$]*(?:\+0x[0-9a-f]+)?(?:\(\))?|\.\.\.|…|\[\.\.\.\]))+"
)
_INNER = lazy(
    r"(?:_?m?sleep\w*|_sleep|msleep_spin\w*|sleepq_\w+|mi_switch|sched_\w*switch|turnstile_wait|_?cv_\w*wait\w*|pause_sbt"
    r"|tsleep|__mtx_lock_sleep|_sx_[sx]lock_hard|__rw_[rw]lock_hard|sleeplk|lockmgr_\w+|umtxq_sleep|seltdwait|kqueue_scan|swtch)\Z"
)
_OUTER = lazy(
    r"(?:amd64_syscall|fast_syscall\w*|Xfast_syscall\w*|syscall\w*|do_el0_sync|handle_el0_sync|sys_\w+|fork_exit"
    r"|fork_trampoline|kern_ioctl|vmmdev_ioctl|ioctl|vm_run|select|poll|kevent|read|write|open|close)\Z"
)
_ALL = lazy(r"\b(?:all|every|each|the (?:rest|other|others|remaining)|remaining|others?)\b", re.I)
_COUNT = lazy(r"\b(?P<count>\d{1,3}|one|two|three|four|five|six|seven|eight)\b[^.]{0,40}?\bthreads?\b", re.I)
_WORDS = {word: number for number, word in enumerate(["one", "two", "three", "four", "five", "six", "seven", "eight"], 1)}
_VCPU = lazy(r"\bv-?cpu[ #]?(?P<id>\d{1,3})\b", re.I)
_PLAUSIBLE = lazy(r"[a-z_][a-z0-9_]*\Z")


def read_arrows(section: Section, start: int, match: re.Match[str]) -> int:
    lines = section.lines
    text = lines[start].replace("`", "")
    end = start + 1
    # a chain goes on in the next line when an arrow ends this one or begins that one
    while end < len(lines) and end - start < 20 and (_ends_in_arrow(text) or _begins_with_arrow(lines[end])):
        text = f"{text.rstrip()} {lines[end].strip().replace('`', '')}"
        end += 1
    made = False
    for chain in _CHAIN.finditer(text[:4000]):
        frames = _frames(chain.group())
        if frames is None:
            continue
        made = True
        _add(section, start, end, text[: chain.start()], frames)
    return end if made else start


def _ends_in_arrow(text: str) -> bool:
    return text.rstrip().rstrip("`").endswith(("->", "→", "<-", "←", "=>"))


def _begins_with_arrow(text: str) -> bool:
    return text.lstrip().startswith(("->", "→", "<-", "←", "=>"))


def _frames(chain: str) -> tuple[Frame, ...] | None:
    """The frames of a chain, innermost first; None if these are no kernel functions."""
    names = [part for part in _ARROW.split(chain) if part]
    made = [parse_token(name) for name in names]
    frames = [frame for frame in made if frame is not None]
    if len(frames) < 2 or not any("_" in frame.function for frame in frames):
        return None
    if not all(_PLAUSIBLE.match(frame.function.lower()) for frame in frames):
        return None
    inner = [index for index, frame in enumerate(frames) if _INNER.match(frame.function)]
    outer = [index for index, frame in enumerate(frames) if _OUTER.match(frame.function)]
    if not inner and not outer:
        return None
    reverse = _center(inner) > (_center(outer) if outer else (len(frames) - 1) / 2) if inner else _center(outer) < (
        len(frames) - 1
    ) / 2
    return tuple(reversed(frames)) if reverse else tuple(frames)


def _center(places: list[int]) -> float:
    return sum(places) / len(places)


def _add(section: Section, start: int, end: int, before: str, frames: tuple[Frame, ...]) -> None:
    """Threads with this stack, as many as the words before it say."""
    where = section.where(start, end)
    words = before[-200:]
    counted = _COUNT.search(words)
    count = 1
    if counted is not None and not _ALL.search(words):
        text = counted.group("count").lower()
        count = max(1, min(_WORDS.get(text, int(text) if text.isdecimal() else 1), 64))
    vcpu = _VCPU.search(words)
    command = "bhyvectl" if "bhyvectl" in words else "bhyve" if re.search(r"\b(?:bhyve|v-?cpu)", words, re.I) else None
    name = f"vcpu {vcpu.group('id')}" if vcpu is not None else None
    section.draft.add_told(
        [
            Thread(command=command, name=name, frames=frames, where=(where,), stack_where=where)
            for _ in range(count)
        ]
    )
    section.count_stacks("console")
