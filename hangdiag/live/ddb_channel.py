"""The wire to a ``db>`` prompt: a serial port, a TCP or a Unix socket, as one small interface."""

from __future__ import annotations

import contextlib
import select
import socket
import time
from typing import Any, Protocol

from hangdiag.errors import DebuggerError, UsageError


class Channel(Protocol):
    """Bytes to and from a console."""

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
    """A console behind a connected socket (``unix:PATH``)."""

    def __init__(self, connection: socket.socket, place: str):
        self._socket = connection
        self._place = place

    def send(self, data: bytes) -> None:
        try:
            self._socket.sendall(data)
        except OSError as error:
            raise DebuggerError(f"{self._place}: the console has gone away ({error.strerror})") from error

    def receive(self, seconds: float) -> bytes:
        try:
            readable, _, _ = select.select([self._socket], [], [], max(seconds, 0))
            if not readable:
                return b""
            data = self._socket.recv(1 << 16)
        except OSError as error:
            raise DebuggerError(f"{self._place}: the console has gone away ({error.strerror})") from error
        if not data:
            raise DebuggerError(f"{self._place}: the console has gone away")
        return data

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.close()


class SerialChannel:
    """A console behind pyserial: a serial port or ``socket://HOST:PORT``."""

    def __init__(self, port: Any, place: str):
        self._port = port
        self._place = place

    def send(self, data: bytes) -> None:
        try:
            self._port.write(data)
        except OSError as error:  # SerialException is one
            raise DebuggerError(f"{self._place}: the console has gone away ({error})") from error

    def receive(self, seconds: float) -> bytes:
        end = time.monotonic() + seconds
        try:
            while True:
                self._port.timeout = max(0.0, min(0.05, end - time.monotonic()))
                # One byte is waited for, the rest taken as it lies there.
                data = bytes(self._port.read(1))
                if data:
                    return data + bytes(
                        self._port.read(self._port.in_waiting or 0) if self._port.in_waiting else b""
                    )
                if time.monotonic() >= end:
                    return b""
        except OSError as error:
            raise DebuggerError(f"{self._place}: the console has gone away ({error})") from error

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._port.close()


def open_channel(place: str, timeout: float) -> Channel:
    """The channel to ``/dev/ttyU0[@BAUD]``, ``HOST:PORT`` or ``unix:PATH``; raises DebuggerError if it cannot be opened."""
    if place.startswith("unix:"):
        return _open_unix(place, timeout)
    try:
        import serial
    except ImportError as error:
        raise DebuggerError("pyserial is not installed; install it: pkg install py311-pyserial") from error
    address, _, baud = place.partition("@")
    if baud and not baud.isdigit():
        raise UsageError(f"{place}: the speed after @ must be a number, as in /dev/ttyU0@115200")
    url = address if address.startswith(("/", "socket://")) else f"socket://{address}"
    try:
        # exclusive: two programs on one console would read each other's output.
        options = {"baudrate": int(baud or 115200), "timeout": 0.05}
        if address.startswith("/"):
            options.update(write_timeout=timeout, exclusive=True)
        return SerialChannel(serial.serial_for_url(url, **options), place)
    except (OSError, ValueError) as error:
        reason = str(error).split(": ")[-1]
        raise DebuggerError(
            f"{place}: cannot be opened ({reason}); is it the console, and in use by nobody else?"
        ) from error


def _open_unix(place: str, timeout: float) -> Channel:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(timeout)
    try:
        connection.connect(place.removeprefix("unix:"))
    except OSError as error:
        connection.close()
        raise DebuggerError(f"{place}: cannot be opened ({error.strerror or error})") from error
    return SocketChannel(connection, place)
