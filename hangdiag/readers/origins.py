"""What the name of a file, or a heading, tells of whose output it holds."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable

from hangdiag.text.lazy import lazy

#: What savecore(8) and crashinfo(8) write for dump number N.
_DUMP = re.compile(r"(?P<stem>core\.txt|info|vmcore|textdump\.tar)\.(?P<number>\d{1,6})(?:\.(?:gz|zst|xz))?\Z")
#: Parts of a mail that have no name of their own.
_NAMELESS = re.compile(r"(?:mail \d+, )?(?:headers|text|part \d+ \(.*\))\Z")
_WORD = lazy(r"[^\W_]+")
_NUMBER = lazy(r"\d*\Z|0x[0-9a-f]+\Z|\d+[a-z]{1,2}\Z|(?=\d*[a-z]?\d)[0-9a-ft]{6,40}z?\Z|x[a-z]{2}\Z")
#: What people call outputs of one host: what is printed, by what, of which part of a hang.
_COMMON_WORDS = """
a active all allchains alllocks alltrace and another are as at attached attachment axhl back backtrace backtraces bhyve
bhyvectl boot bsd bt buf bug by c capture captured chain chains cmd code collected command commands comment comments common
comp console core cpu crash crashinfo d data date db ddb debug debugger details diag diagnosis dmesg doc dump dumps e f file
files first for four freebsd from full further g gdb guest gz h halted hang hanging hangs host hung i in info input is it json
k kdb kernel kgdb kk kka kldstat kstack l last list listing lldb lldbinit lock lockchain locked locks log logs m machine mail mdb
message messages minicom more msgbuf n new no node none note notes o of old on one or oracle other others out output p page
pages part parts paste pcpu pid pids post proc process processes procs procstat prompt ps r raw remaining report rest result
results root running same sample screen screenlog script second serial server session show sleep sleepchain sleeping sleepq
some stack stacks state stats std stderr stdin stdout still stuck sync sys sysctl system t tar terminal test text textdump th
the then these third this those thread threads three tid tids time to top tr trace traced traces tty two txt typescript u uname
unix uptime var vcpu vcpus version view vm vmcore vmm vms vmstat w wait waiters waiting wchan whole with working x xml y z zip
"""
_COMMON = frozenset(_COMMON_WORDS.split())
#: Those that are also common with a number behind them: ``vcpu0``, but not ``node1``.
_COUNTED = _COMMON - {"h", "host", "machine", "n", "node", "server", "system"}


def origin(path: str, container: str | None) -> tuple[str, str] | None:
    """Where a source comes from (its folder, archive or dump) and what it is there; None for what has no name.

    The same name from two origins is of two instants: host1/procstat.txt and host2/procstat.txt, core.txt.0
    and core.txt.1.
    """
    if path == "-" or _NAMELESS.match(path):
        return None
    folder, name = posixpath.split(path.replace("\\", "/"))
    dump = _DUMP.match(name)
    if dump is not None:
        return f"{folder}/.{dump.group('number')}", dump.group("stem")
    place = container or ""
    inside = "" if place and folder.startswith(place) else place
    archive = _DUMP.match(posixpath.basename(inside)) if inside else None
    if archive is not None:
        return f"{posixpath.dirname(inside)}/.{archive.group('number')}", name
    return f"{inside}!{folder}", name


def around(place: str, known: Iterable[str], other: str) -> str | None:
    """That of the ``known`` places which is in ``place`` or around it, and is not so to ``other``."""
    for one in known:
        if _is_in(one, place) or (_is_in(place, one) and not _is_in(other, one)):
            return one
    return None


def _is_in(place: str, folder: str) -> bool:
    return place.startswith(folder + "/")


def words_of(name: str) -> tuple[str, ...]:
    """The words of a file's name or a heading that are no common ones: they may name a host. Numbers, dates and
    what split(1) calls its files are no words.
    """
    words = [word.lower() for word in _WORD.findall(name)]
    return tuple(
        [
            word
            for word in words
            if _NUMBER.match(word) is None and word not in _COMMON and word.rstrip("0123456789") not in _COUNTED
        ]
    )
