"""Who a row of ps or top is of, told from what stands under COMMAND.

bin/ps/fmt.c (fmt_argv): the arguments, with `` (comm)`` behind them where the program's name is another; ``[comm]`` or
``[comm/thread]`` without arguments. bin/ps/print.c (ucomm): ``comm/thread``. usr.bin/top/machine.c: ``comm{thread}``, with
arguments ``args (comm){thread}`` or ``[comm{thread}]``; ``<comm>`` while it is swapped out.
"""

from __future__ import annotations

from typing import NamedTuple

from hangdiag.text.lazy import lazy

_KERNEL = lazy(r"\[(?P<command>[^/{\]]*)(?:/(?P<name>.*?)|\{(?P<braced>.*?)\}?)?\]?\Z")
_NAMED = lazy(r"(?P<command>[^{}]*)\{(?P<name>[^{}]*)\}?\]?\Z")
_CALLED = lazy(r".*? \((?P<command>[^()]{1,40})\)\Z|\((?P<alone>[^()]{1,40})\)\Z")
_PROGRAM = lazy(r"(?:\S*/)?-?(?P<name>[^\s/:]+)")
_THREAD = lazy(r"(?P<command>[\w.+:-]{1,19})/(?P<name>(?! )(?:(?! -)[^/]){1,24})\Z")
_DIRECTORIES = frozenset("bin sbin usr lib libexec etc local home tmp opt build obj src tools scripts . ..".split())  # noqa: SIM905
# ps -d draws a tree
_BRANCH = lazy(r"(?:[| ] ){0,40}[|`]-- |- ")


class Who(NamedTuple):
    """Command, thread and command line; ``is_sure`` where the command is the kernel's name of it, no guess."""

    command: str | None
    name: str | None
    arguments: str | None
    is_sure: bool = False


def who_of_ps(printed: str, column: str, is_last: bool, has_threads: bool) -> Who:
    """From a value of ps. ``has_threads``: the table has several rows of its process."""
    if printed.startswith("<defunct"):
        return Who(None, None, None)
    kernel = _KERNEL.match(printed) if printed[0] == "[" else None
    if kernel is not None:
        return Who(kernel.group("command"), kernel.group("name"), None, True)
    if is_last:
        branch = _BRANCH.match(printed)
        if branch is not None:
            printed = printed[branch.end() :].lstrip()
    thread = _THREAD.match(printed)
    if thread is not None and (
        has_threads or column in ("UCOMM", "COMM") or thread.group("command") not in _DIRECTORIES
    ):
        return Who(thread.group("command"), thread.group("name"), None, True)
    if column in ("UCOMM", "COMM"):
        return Who(printed, None, None, True)
    return _who_of_arguments(printed)


def who_of_top(printed: str) -> Who:
    """From a value of top."""
    kernel = _KERNEL.match(printed) if printed[0] == "[" else None
    if kernel is not None:
        return Who(kernel.group("command"), kernel.group("braced") or kernel.group("name"), None, True)
    name = None
    named = _NAMED.match(printed)
    if named is not None:
        printed, name = named.group("command").strip(), named.group("name") or None
    if printed[:1] == "<" and printed[-1:] == ">":
        return Who(printed[1:-1], name, None, True)
    called = _CALLED.match(printed)
    if called is None and (" -" in printed or "/" in printed or ": " in printed):
        who = _who_of_arguments(printed)
        return Who(who.command, name, who.arguments)
    if called is not None:
        return Who(called.group("command") or called.group("alone"), name, printed, True)
    return Who(printed or None, name, None, True)


def _who_of_arguments(printed: str) -> Who:
    called = _CALLED.match(printed)
    if called is not None:
        return Who(called.group("command") or called.group("alone"), None, printed, True)
    program = _PROGRAM.match(printed)
    return Who(program.group("name") if program is not None else printed, None, printed)
