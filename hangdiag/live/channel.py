"""The wire to a ``db>`` prompt or a gdb stub: a serial port, a TCP or a Unix socket, as one small interface."""

from __future__ import annotations

import contextlib
import os
import re
import select
import socket
import time
from typing import Any, Protocol

from hangdiag.errors import DebuggerError, UsageError

#: The speed of a serial line that none is given for.
DEFAULT_BAUD = 115200
_MOST_AT_ONCE = 1 << 16
_SPEEDS = range(50, 10_000_001)
# How pyserial passes on what a system call says.
_SYSTEM_SAYS = re.compile(r"\(\d+, '(.+)'\)")
_NETWORK = re.compile(r"(?:\[[0-9A-Fa-f:.%]+\]|[\w.-]*):\d{1,5}", re.ASCII)
# For ports that cannot be waited for.
_POLL_INTERVAL = 0.01


class Channel(Protocol):
    """Bytes to and from a console, or a stub."""

    def send(self, data: bytes) -> None:
        """Writes ``data``; raises DebuggerError when the other side has gone."""
        ...

    def receive(self, seconds: float) -> bytes:
        """What came within ``seconds``, empty if nothing did; raises DebuggerError when the other side has gone."""
        ...

    def close(self) -> None:
        """Hangs up. Nothing is sent."""
        ...


class SocketChannel:
    """A console behind a connected socket (``HOST:PORT``, ``unix:PATH``)."""

    def __init__(self, connection: socket.socket, place: str):
        self._socket = connection
        self._place = place

    def send(self, data: bytes) -> None:
        try:
            self._socket.sendall(data)
        except OSError as error:
            raise _gone(self._place, error) from error

    def receive(self, seconds: float) -> bytes:
        try:
            readable, _, _ = select.select([self._socket], [], [], max(seconds, 0))
            if not readable:
                return b""
            data = self._socket.recv(_MOST_AT_ONCE)
        except OSError as error:
            raise _gone(self._place, error) from error
        if not data:
            raise _gone(self._place)
        return data

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.close()


class SerialChannel:
    """A console behind pyserial: a serial port, or an URL that it knows (``socket://``, ``rfc2217://``).

    The port's timeout is 0: reading takes what lies there.
    """

    def __init__(self, port: Any, place: str):
        self._port = port
        self._place = place
        try:
            self._descriptor: int | None = port.fileno()
        except (AttributeError, OSError):
            self._descriptor = None

    def send(self, data: bytes) -> None:
        try:
            self._port.write(data)
        except OSError as error:  # SerialException is one
            raise _gone(self._place, error) from error

    def receive(self, seconds: float) -> bytes:
        end = time.monotonic() + max(seconds, 0)
        try:
            while True:
                if self._descriptor is not None:
                    remaining = max(0.0, end - time.monotonic())
                    if not select.select([self._descriptor], [], [], remaining)[0]:
                        return b""
                data = bytes(self._port.read(_MOST_AT_ONCE))
                if data or time.monotonic() >= end:
                    return data
                time.sleep(_POLL_INTERVAL)
        except OSError as error:
            raise _gone(self._place, error) from error

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._port.close()


def open_channel(place: str, timeout: float) -> Channel:
    """The channel to ``/dev/ttyU0[@BAUD]``, ``HOST:PORT``, ``unix:PATH`` or one of pyserial's URLs.

    Raises DebuggerError if it cannot be opened, UsageError if ``place`` is none of these.
    """
    if place.startswith("unix:"):
        return _open_unix(place, timeout)
    if _NETWORK.fullmatch(place):
        return _open_tcp(place, timeout)
    if "://" in place or place.startswith("/"):
        return _open_serial(place, timeout)
    raise UsageError(f"{place}: is no console; give /dev/ttyU0[@BAUD], HOST:PORT or unix:PATH")


def _open_serial(place: str, timeout: float) -> Channel:
    try:
        import serial
    except ImportError as error:
        raise DebuggerError("pyserial is not installed; install it: pkg install py311-pyserial") from error
    address, _, baud = place.partition("@") if place.startswith("/") else (place, "", "")
    baud = baud or str(DEFAULT_BAUD)
    # No speed at all hangs the line up.
    if not re.fullmatch(r"\d{2,8}", baud, re.ASCII) or int(baud) not in _SPEEDS:
        raise UsageError(f"{place}: the speed after @ must be one of a line, as in /dev/ttyU0@115200")
    settings: dict[str, Any] = {"baudrate": int(baud), "timeout": 0}
    if place.startswith("/"):
        # exclusive: two programs on one console would read each other's output.
        settings.update(write_timeout=timeout, exclusive=True)
    try:
        return SerialChannel(serial.serial_for_url(address, **settings), place)
    except (OSError, ValueError, LookupError, ImportError) as error:  # the last ones from URLs it cannot read
        number = getattr(error, "errno", None)
        reason = os.strerror(number) if number else str(error).rpartition(": ")[2]
        said = _SYSTEM_SAYS.fullmatch(reason)
        raise _unopened(place, said[1] if said else reason) from error


def _open_tcp(place: str, timeout: float) -> Channel:
    host, _, port = place.rpartition(":")
    if not 0 < int(port) < 1 << 16:
        raise UsageError(f"{place}: a port is 1 to 65535")
    try:
        connection = socket.create_connection((host.strip("[]") or "localhost", int(port)), timeout=timeout)
    except OSError as error:
        raise _unopened(place, getattr(error, "strerror", None) or str(error)) from error
    # Single letters are typed, and each waited for.
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return SocketChannel(connection, place)


def _open_unix(place: str, timeout: float) -> Channel:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(timeout)
    try:
        connection.connect(place.removeprefix("unix:"))
    except OSError as error:
        connection.close()
        raise _unopened(place, error.strerror or str(error)) from error
    return SocketChannel(connection, place)


def _unopened(place: str, reason: str) -> DebuggerError:
    return DebuggerError(
        f"{place}: cannot be opened ({' '.join(reason.split())}); is it the console, and in use by nobody else?"
    )


def _gone(place: str, error: OSError | None = None) -> DebuggerError:
    reason = f" ({error.strerror or error})" if error is not None else ""
    return DebuggerError(f"{place}: the console has gone away{reason}; connect it and attach again")
