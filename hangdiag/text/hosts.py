"""Lines of several hosts in one log: each host's lines are read by themselves, as if the others' were not there.

A central syslogd, ``pdsh``, a console server or ``tail -f`` of several consoles writes them one between another, and
a stack or a table of two hosts is none. What is no other host:

- a name that says nothing (``localhost``, before rc(8) has set one), where only one host has a name;
- a name with its domain and without.

A host that got another name counts as another host from there on: syslogd(8) asks for the name when it is started
and at SIGHUP (usr.sbin/syslogd/syslogd.c, init()), mostly when newsyslog(8) begins a new file, so no stack is torn by
it, and two captures that are of one host say less than one, but nothing wrong.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from hangdiag.text.names import host_label, words_of
from hangdiag.text.page import Page


@dataclass(frozen=True, slots=True)
class Share:
    """The lines of ``host`` in a log that several share. ``numbers`` are those of the original lines, as runs.

    Of a file of several, ``host`` holds the words of its name that may name a host.
    """

    host: str
    page: Page
    numbers: tuple[tuple[int, int], ...]
    is_file: bool = False


def share_out(page: Page, hosts: Sequence[tuple[int, str]], end: int, is_shared: bool) -> list[Share]:
    """The lines of each of ``hosts``, in the order in which they appear; empty if all are of one host, unless the
    source ``is_shared``.

    From each of the lines in ``hosts`` on, up to the next one or ``end``, they are of the host named there.
    """
    names = {name for _, name in hosts}
    keys = _keys(names)
    told = [key for key in keys.values() if host_label(key) is not None]
    if len(set(told)) > 1 and all(_is_machine(page, name) for name in names if host_label(name) is not None):
        return []
    if len(set(told)) < (1 if is_shared else 2):
        return []
    return [_share(page, host, own) for host, own in _stretches(hosts, end, keys).items()]


def share_files(page: Page, files: Sequence[tuple[int, str]], end: int) -> list[Share]:
    """The same of lines that are of ``files``, as far as their names may tell hosts apart."""
    keys = {name: " ".join(words_of(name)) for _, name in files}
    if len(set(keys.values())) < 2:
        return []
    return [_share(page, words, own, is_file=True) for words, own in _stretches(files, end, keys).items()]


def _stretches(hosts: Sequence[tuple[int, str]], end: int, keys: dict[str, str]) -> dict[str, list[range]]:
    found: dict[str, list[range]] = {}
    for (begin, name), (stop, _) in pairwise([*hosts, (end, "")]):
        found.setdefault(keys[name], []).append(range(begin, stop))
    return found


def _is_machine(page: Page, name: str) -> bool:
    """Is ``name`` a VM's: does bhyve(8) or bhyvectl(8) call it so in the text?"""
    needles = (f"bhyve: {name} ", f"vm={name}", f"vmm/{name}", f" {name} (bhyve)")
    return any(needle in line for line in page.lines for needle in needles)


def _keys(names: set[str]) -> dict[str, str]:
    """By what the hosts with these names are told apart: their labels, unless two in different domains share one."""
    full: dict[str, set[str]] = {}
    for name in names:
        if "." in name:
            full.setdefault(host_label(name) or name, set()).add(name.lower())
    keys = {}
    for name in names:
        label = host_label(name) or name.lower()
        keys[name] = name.lower() if "." in name and len(full[label]) > 1 else label
    return keys


def _share(page: Page, host: str, stretches: list[range], is_file: bool = False) -> Share:
    lines: list[str] = []
    first: list[int] = []
    last: list[int] = []
    for stretch in stretches:
        lines += page.lines[stretch.start : stretch.stop]
        first += page.first[stretch.start : stretch.stop]
        last += page.last[stretch.start : stretch.stop]
    return Share(host, Page(lines, first, last), tuple(_runs(first, last)), is_file)


def _runs(first: Sequence[int], last: Sequence[int]) -> Iterator[tuple[int, int]]:
    begin, end = first[0], last[0]
    for low, high in zip(first, last, strict=True):
        if low > end + 1:
            yield begin, end
            begin = low
        end = max(end, high)
    yield begin, end
