"""Lets a remote stub's target run again without a debugger, should that have died or the line have fallen silent."""

from __future__ import annotations

import contextlib
import re
import stat
import time
from pathlib import Path

from hangdiag.errors import DebuggerError
from hangdiag.live.channel import Channel, open_channel
from hangdiag.live.gdb_memory import is_cpu

# Seconds to try for: the stub may need a moment to see that the debugger has gone.
_PATIENCE = 3.0
_MOST_REPEATS = 4
# FreeBSD's threads are numbered from 100000 on (NO_PID in sys/proc.h), a stub's CPUs from 1. A kernel's thread may
# have any name, that of a CPU too.
_FIRST_TID = 100000
# The packets that detach: the old form, and that of a stub which has agreed to the multiprocess extensions
# (QEMU's keeps to that over connections).
_DETACH = (b"D", b"D;1")
_PACKET = re.compile(rb"\$([^$#]*)#([0-9a-fA-F]{2})")
_LISTED = re.compile(rb"m((?:p[0-9a-f]{1,8}\.)?([0-9a-f]{1,16}))(?:,[^,]*)*")
_NAME = re.compile(rb"(?:[0-9a-f]{2})+")
_DETACHED = re.compile(rb"OK|E..|")


def release(place: str, is_machine: bool) -> bool:
    """Lets the machine behind the stub at ``place`` run again after the debugger has died; True if it said OK.

    The stub is asked first whether it lists CPUs. Unless it does, or was known to (``is_machine``), it gets nothing
    but that question: FreeBSD's own would continue a kernel that sits in its debugger (sys/gdb/gdb_main.c).
    """
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline:
        try:
            with contextlib.closing(open_channel(_channel_place(place), 1.0)) as stub:
                if not (_lists_cpus(stub) or is_machine):
                    return False
                return any(_ask(stub, packet, _DETACHED) == b"OK" for packet in _DETACH)
        except DebuggerError:
            time.sleep(0.1)
    return False


def _channel_place(place: str) -> str:
    path = place.removeprefix("unix:")
    with contextlib.suppress(OSError):
        if stat.S_ISSOCK(Path(path).stat().st_mode):
            return f"unix:{path}"
    return path


def _lists_cpus(stub: Channel) -> bool:
    listed = _LISTED.fullmatch(_ask(stub, b"qfThreadInfo", _LISTED))
    if listed is None or int(listed.group(2), 16) >= _FIRST_TID:
        return False
    name = _ask(stub, b"qThreadExtraInfo," + listed.group(1), _NAME).decode()
    return is_cpu(bytes.fromhex(name).decode("latin-1"))


def _ask(stub: Channel, packet: bytes, expected: re.Pattern[bytes]) -> bytes:
    """The answer to ``packet`` that ``expected`` matches; empty if none comes in time.

    What else comes is left over from what the debugger asked.
    """
    question = b"$%s#%02x" % (packet, sum(packet) & 0xFF)
    # The + is for an answer that the debugger took no more.
    stub.send(b"+" + question)
    heard = b""
    repeats = 0
    deadline = time.monotonic() + _PATIENCE
    while repeats < _MOST_REPEATS and (remaining := deadline - time.monotonic()) > 0:
        heard += stub.receive(remaining)
        while (found := _PACKET.search(heard)) is not None:
            heard = heard[found.end() :]
            if int(found.group(2), 16) != sum(found.group(1)) & 0xFF:
                repeats += 1
                stub.send(b"-")
                continue
            if packet not in _DETACH:
                # QEMU stops a machine that runs at any byte that it does not wait for.
                stub.send(b"+")
            if expected.fullmatch(found.group(1)):
                return found.group(1)
        if b"-" in heard.partition(b"$")[0]:
            # It did not understand: the end of a packet of the debugger's stood before ours.
            heard = heard.replace(b"-", b"", 1)
            repeats += 1
            stub.send(question)
    return b""
