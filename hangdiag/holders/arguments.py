"""What the command line of a bhyve process says of its VM."""

from __future__ import annotations

import math
import re

#: More vCPUs than any release admits: a number beyond it is a hostile input.
_MOST_CPUS = 1024


def vm_name(arguments: str | None) -> str | None:
    """The VM's name from a bhyve process' arguments or title.

    bhyve sets its title to ``bhyve: NAME`` (usr.sbin/bhyve/bhyverun.c); on the command line the
    name is the last argument, or the one after -k's file.
    """
    if not arguments:
        return None
    titled = re.match(r"bhyve: (\S+)", arguments)
    if titled is not None:
        return titled.group(1)
    words = arguments.split()
    if not words or not re.search(r"(?:\A|/)bhyve\Z", words[0]):
        return None
    if len(words) > 1 and not words[1].startswith("-"):
        return words[1]
    return words[-1] if len(words) > 1 else None


def vm_cpus(arguments: str | None) -> int:
    """How many vCPUs a bhyve process' command line asks for, 0 if it does not tell.

    bhyve(8): ``-c [[cpus=]numcpus][,sockets=n][,cores=n][,threads=n]``; numcpus is the product of the
    others where it is left out (usr.sbin/bhyve, topology_parse).
    """
    found = re.search(r"\s-c\s*([\w=,]{1,80})(?=\s|\Z)", arguments or "")
    if found is None:
        return 0
    values = {}
    for part in found.group(1).split(","):
        name, _, value = part.rpartition("=")
        if not value.isdecimal() or len(value) > 4:
            return 0
        values[name or "cpus"] = int(value)
    counts = [values.get(name, 1) for name in ("sockets", "cores", "threads")]
    return min(values.get("cpus", math.prod(counts)), _MOST_CPUS)
