"""Frames from text, each distinct one made once."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from hangdiag.model import Frame
from hangdiag.text.lazy import lazy

# name, name+0x1a, name+26, kld.ko`name+0x1a; a compiler's suffix (.isra.0) belongs to the name. "??" is what
# stack(9) prints for an address outside of all modules; "0x" alone is where its buffer ended; authors add dots.
_TOKEN = lazy(
    r"(?:([\w.-]+)`)?([A-Za-z_][\w$@]*(?:\.[\w$@]+){0,9}|\?\?)(?:\+(?:(0x[0-9a-f]+|\d+(?!x))|0x)?)?(?:\.{3}|…)?(?:\(\))?,?\Z",
    re.I,
)
#: The outermost function of a whole stack.
ENDS = frozenset({
    "fork_trampoline", "fast_syscall_common", "Xfast_syscall", "Xfast_syscall_pti", "handle_el0_sync", "btext", "mi_startup",
    "int0x80_syscall_common", "Xint0x80_syscall", "swi_exit", "doreti_ast", "handle_el0_irq",
})  # fmt: skip
#: What puts a thread to sleep, innermost; and where a stack ends that a debugger unwound.
SWITCHES = frozenset({"sched_switch", "sched_ule_sswitch", "sched_4bsd_sswitch", "mi_switch", "swtch", "_resume_from_idle"})
OUTERMOST = ENDS | {
    "fork_exit", "amd64_syscall", "syscall", "do_el0_sync", "calltrap", "_sys_sysenter_post_swapgs", "sys_syscall",
    "sys_syscall32", "thread_start",
}  # fmt: skip
#: Functions that only one architecture has: the system call's entry (sys/amd64/amd64/trap.c, sys/arm64/arm64/trap.c,
#: sys/riscv/riscv/trap.c).
_OF_ARCHITECTURE = {
    "amd64_syscall": "amd64", "fast_syscall_common": "amd64", "Xfast_syscall": "amd64", "Xfast_syscall_pti": "amd64",
    "do_el0_sync": "arm64", "handle_el0_sync": "arm64", "do_trap_user": "riscv", "cpu_exception_handler_user": "riscv",
}  # fmt: skip
#: Words of prose that no kernel function is called.
PROSE = frozenset({
    "a", "also", "and", "are", "as", "at", "be", "by", "can", "does", "for", "from", "has", "hangs", "have", "here", "if",
    "in", "into", "is", "it", "its", "like", "no", "not", "of", "on", "or", "same", "see", "seen", "so", "that", "the",
    "then", "there", "this", "to", "was", "were", "when", "where", "which", "while", "with", "you",
})  # fmt: skip
_ADDRESS = lazy(r"0x[0-9a-fA-F]+\Z")


def lacks_top(number: int, frames: Sequence[Frame]) -> bool:
    """Are the innermost functions missing from a stack whose first frame has this number? Not those that only switch."""
    top = frames[0].function if frames else ""
    return number > 0 and top not in SWITCHES and not top.startswith(("sleepq_", "turnstile_"))


def may_follow(before: str | None, function: str) -> bool:
    """May ``function`` have called ``before``, the outermost one of a stack that was broken off? None: there are no frames."""
    if before is None or function == "??":
        return True
    return before not in ENDS and _depth(function) >= _depth(before)


def waits_in(functions: Sequence[str]) -> str | None:
    """The innermost of ``functions`` that does more than switch or put to sleep: all debuggers name it. None: no whole stack."""
    if not functions or _depth(functions[0]) == 2:
        return None
    return next((function for function in functions if _depth(function) == 2), None)


def _depth(function: str) -> int:
    """How far out it is: what switches from one thread to another, what puts one to sleep, all others."""
    return 0 if function in SWITCHES else 1 if function.startswith(("sleepq_", "turnstile_")) else 2


def architecture_of(stacks: Iterable[Sequence[Frame]]) -> str | None:
    """The machine that kernel stacks are of, told by their outermost functions; None if none of them tells."""
    for frames in stacks:
        for frame in frames[-3:]:
            if frame.function in _OF_ARCHITECTURE:
                return _OF_ARCHITECTURE[frame.function]
    return None


class FrameMemo(dict[str, "Frame | None"]):
    """Maps ``name+0xoffset`` to its frame, None for what is no function; a stack repeats most of them."""

    def __missing__(self, token: str) -> Frame | None:
        frame = parse_token(token)
        self[token] = frame
        return frame


def parse_token(token: str) -> Frame | None:
    """A frame from ``[module`]name[+0xoffset]`` (procstat, stack(9), dtrace), or None."""
    found = _TOKEN.match(token)
    if found is None:
        if _ADDRESS.match(token):
            return Frame(token, address=int(token, 16))
        return None
    module, name, offset = found.groups()
    return Frame(name, offset=parse_offset(offset), module=module)


def parse_offset(text: str | None) -> int | None:
    """``0x1a`` or ``26`` as a number, None for nothing."""
    if not text:
        return None
    return int(text, 16) if text[:2] in ("0x", "0X") else int(text)


def number(text: str | None) -> int | None:
    """A hex (``0x``) or decimal number, None for anything else."""
    if text is None:
        return None
    try:
        return int(text, 0)
    except ValueError:
        return None
