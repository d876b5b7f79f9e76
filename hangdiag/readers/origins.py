"""What the name of a file tells of whose output it holds."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable

#: What savecore(8) and crashinfo(8) write for dump number N.
_DUMP = re.compile(r"(?P<stem>core\.txt|info|vmcore|textdump\.tar)\.(?P<number>\d{1,6})(?:\.(?:gz|zst|xz))?\Z")
#: Parts of a mail that have no name of their own.
_NAMELESS = re.compile(r"(?:mail \d+, )?(?:headers|text|part \d+ \(.*\))\Z")


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
