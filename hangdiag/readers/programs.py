"""Stacks of a program beside the kernel's of the same threads, where the debugger of the program tells no thread ids.

illumos' pstack and mdb tell an LWP's number, or its name; lldb of a process tells the name alone.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable

from hangdiag.model import Thread


def join_programs(threads: list[Thread], join: Callable[[Thread, Thread], Thread]) -> list[Thread]:
    """``join`` each stack of a program without an id to the one thread of its process that has its LWP or name."""
    users = [index for index, thread in enumerate(threads) if thread.tid is None and thread.is_user_stack]
    of_key: dict[object, list[int]] = defaultdict(list)
    for index in sorted(set(range(len(threads))).difference(users)):
        for key in _keys(threads[index]):
            of_key[key].append(index)
    suitors: dict[int, list[int]] = defaultdict(list)
    for user in users:
        targets = {
            other for key in _keys(threads[user]) for other in of_key[key] if _may_be_one(threads[other], threads[user])
        }
        if len(targets) == 1:
            suitors[targets.pop()].append(user)
    joined: list[Thread | None] = list(threads)
    for target, found in suitors.items():
        if len(found) == 1:
            joined[target] = join(threads[target], threads[found[0]])
            joined[found[0]] = None
    return [thread for thread in joined if thread is not None]


def _keys(thread: Thread) -> list[object]:
    return [key for key in (thread.lwp, thread.name) if key is not None]


def _may_be_one(thread: Thread, user: Thread) -> bool:
    """Does nothing that is told of both differ? Where one side knows no pid, the command must be the same."""
    if thread.lwp is not None and user.lwp is not None and thread.lwp != user.lwp:
        return False
    if thread.name is not None and user.name is not None and thread.name != user.name:
        return False
    if thread.pid is not None and user.pid is not None:
        return thread.pid == user.pid
    return thread.command is not None and thread.command == user.command
