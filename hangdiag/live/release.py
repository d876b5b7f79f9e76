"""Lets a remote stub's target run again without a debugger, should that have died."""

from __future__ import annotations

import re
import socket
import time

# Seconds to try for: the stub may need a moment to see that the debugger has gone.
_PATIENCE = 3.0
# The remote protocol's packet to detach, with its checksum: the old form, and that of a stub which has agreed
# to the multiprocess extensions (QEMU's keeps to that over connections).
_DETACH_PACKETS = (b"+$D#44", b"+$D;1#b0")


def release(place: str) -> bool:
    """Lets a stub's target run again after the debugger has died: sends it the packet that detaches.

    Returns whether the stub said OK. A serial line cannot be reached this way.
    """
    if place.startswith("/dev/"):
        return False
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline:
        try:
            with _connect_socket(place) as stub:
                return any(_accepts(stub, packet) for packet in _DETACH_PACKETS)
        except OSError:
            time.sleep(0.1)
    return False


def _connect_socket(place: str) -> socket.socket:
    if not place.startswith("/"):
        host, _, port = place.rpartition(":")
        return socket.create_connection((host.strip("[]") or "localhost", int(port)), timeout=1.0)
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(1.0)
    try:
        connection.connect(place)
    except OSError:
        connection.close()
        raise
    return connection


def _accepts(stub: socket.socket, packet: bytes) -> bool:
    """Sends ``packet``; true if the stub answers OK."""
    stub.sendall(packet)
    stub.settimeout(1.0)
    heard = b""
    while not re.search(rb"\$(?:OK|E..)?#", heard):
        data = stub.recv(256)
        if not data:
            return False
        heard += data
    return b"$OK#" in heard
