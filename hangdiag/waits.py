"""What each thread waits for: the rules applied to a capture's threads."""

from __future__ import annotations

from dataclasses import dataclass

from hangdiag.knowledge import Matcher, WaitRule
from hangdiag.model import Capture, Frame, Thread

#: An address without a symbol, and what procstat prints where the kernel could not take the stack.
_NAMELESS = frozenset({"??", "<unknown>"})
#: A state that ddb or ps tells when no rule fits.
_KIND_OF_STATE = {
    "running": "running",
    "runnable": "runnable",
    "sleeping": "sleep",
    "lock": "lock",
    "iwait": "work",
    "suspended": "stopped",
    "swapped": "sleep",
    "zombie": "stopped",
}


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Wait:
    """What a thread waits for.

    ``alternatives`` are other kinds that the evidence allows as well. ``vcpu`` is the id of the
    vCPU whose own thread this is. ``by`` says what it was recognised by: wmesg, stack, state.
    """

    kind: str
    title: str
    rule: WaitRule | None = None
    mode: str = "any"
    via: str | None = None
    idle: bool = False
    alternatives: tuple[str, ...] = ()
    by: str = ""

    @property
    def holders(self) -> str | None:
        """The resolver that knows who must act."""
        return self.rule.holders if self.rule is not None else None

    @property
    def on_cpu(self) -> bool:
        """Can the thread run by itself?"""
        return self.kind in ("running", "runnable")


def classify(capture: Capture, matcher: Matcher) -> tuple[Wait, ...]:
    """The wait of every thread, in the capture's order."""
    return tuple([classify_thread(thread, matcher) for thread in capture.threads])


def classify_thread(thread: Thread, matcher: Matcher) -> Wait:
    """The wait of one thread."""
    in_program = thread.is_user_stack
    if thread.stack_of_debugger or in_program:
        # its stack is not its own, or not the kernel's: what ps told counts first
        stack = thread.frames if in_program and not thread.stack_of_debugger else ()
        thread = Thread(
            thread.pid, thread.tid, thread.address, thread.command, thread.name, thread.state, thread.interruptible,
            thread.wmesg, thread.wmesg_cut, thread.wchan, thread.lock, thread.cpu,
        )  # fmt: skip
        told = (thread.state, thread.lock, thread.wmesg) != (None, None, None)
        match = matcher.find(thread if told else _in_program(thread, stack))
    else:
        match = matcher.find(thread)
    functions = [frame.function for frame in thread.frames]
    via = matcher.via(functions)
    if match is None:
        if in_program and (thread.state, thread.lock, thread.wmesg) == (None, None, None):
            return Wait("unknown", "in the program, or in a system call whose kernel stack is not shown", via=via)
        return _without_rule(thread, functions, via, matcher)
    rule = match.rule
    by = " and ".join(
        word for word, used in (("wmesg", match.by_wmesg), ("stack", match.pattern is not None)) if used
    )
    return Wait(
        rule.kind,
        rule.title,
        rule,
        rule.mode,
        rule.via or via,
        rule.idle,
        () if match.by_wmesg else rule.alternatives,
        by or "name and state",
    )


def _in_program(thread: Thread, stack: tuple[Frame, ...]) -> Thread:
    """``thread`` with a program's stack, named as rules name it: no function of it is one of the kernel's."""
    frames = tuple([Frame(f"user:{frame.function}") for frame in stack])
    return Thread(thread.pid, thread.tid, command=thread.command, name=thread.name, frames=frames)


def _without_rule(thread: Thread, functions: list[str], via: str | None, matcher: Matcher) -> Wait:
    words = matcher.words
    if thread.lock is not None:
        return Wait("lock", f"lock {thread.lock}", via=via, by="lock chain")
    on_top = functions and functions[0] not in words.switch | words.queue
    if on_top and thread.told and thread.state is None and functions[0] not in words.primitives:
        return Wait("unknown", "where it sleeps is not told", via=via)
    if on_top and thread.state is None and functions[0] in _NAMELESS:
        return Wait("unknown", "where it stands has no name", via=via)
    if on_top and thread.state in (None, "running"):
        if functions[0] in words.primitives:
            return Wait("sleep", "asleep, for an unknown reason", via=via, by="stack")
        return Wait("running", "on a CPU", via=via, by="stack")
    kind = _KIND_OF_STATE.get(thread.state or "")
    if kind in (None, "sleep") and (thread.wmesg is not None or functions):
        wmesg = f' "{thread.wmesg}"' if thread.wmesg else ""
        return Wait("sleep", f"asleep{wmesg}, reason unknown", via=via, by="wmesg" if wmesg else "stack")
    if kind is None:
        return Wait("unknown", "nothing is known of it", via=via)
    return Wait(kind, kind, via=via, idle=kind == "work", by="state")
