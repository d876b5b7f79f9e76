"""A gdb stub that behaves as QEMU's (CPUs as threads) or as FreeBSD's own (kernel threads).

It serves the memory of a running process. As QEMU does, the ``cpus`` kind stops its machine when a debugger
connects and resumes it on detach; the ``kernel`` kind belongs to a machine that stands still. All packets that
would change the target are refused and remembered in ``changes``.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Stub:
    """Listens at ``place`` until closed. ``silent`` never answers; ``dies_after`` hangs up after so many packets.

    ``stalls_after`` so many packets it is silent, but for detaching. With ``recovers`` that is silent too, and
    a new connection is answered again. Every answer takes ``delay`` seconds, as on a long line; one in ``garbles``
    comes with a wrong checksum, and rightly when asked for again (``garbles`` of 1: never rightly).
    """

    pid: int
    kind: str = "cpus"
    tids: tuple[int, ...] = ()
    silent: bool = False
    dies_after: int | None = None
    stalls_after: int | None = None
    recovers: bool = False
    delay: float = 0.0
    garbles: int = 0
    #: A Unix socket to listen on, instead of a port.
    path: Path | None = None
    #: rip, rsp and rbp by gdb's thread id (1 is CPU 0).
    registers: dict[int, tuple[int, int, int]] = field(default_factory=dict)
    changes: list[str] = field(default_factory=list)
    packets: list[str] = field(default_factory=list)
    connections: int = 0

    def __post_init__(self) -> None:
        if self.path is not None:
            self._listener = socket.create_server(str(self.path), family=socket.AF_UNIX)
            self.place = str(self.path)
        else:
            self._listener = socket.create_server(("127.0.0.1", 0))
            self.place = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._memory = os.open(f"/proc/{self.pid}/mem", os.O_RDONLY)
        self._closing = threading.Event()
        self._selected = 1
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._closing.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(timeout=5)
        os.close(self._memory)
        os.kill(self.pid, signal.SIGCONT)

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            if self._closing.is_set():
                return
            self.connections += 1
            if self.kind == "cpus":
                os.kill(self.pid, signal.SIGSTOP)
            with connection, contextlib.suppress(OSError, IndexError):
                self._converse(connection)

    def _converse(self, connection: socket.socket) -> None:
        pending = answer = b""
        while not self._closing.is_set():
            connection.settimeout(0.2)
            try:
                data = connection.recv(1 << 16)
            except TimeoutError:
                continue
            if not data:
                return
            if self.silent:
                continue
            pending += data
            if pending.startswith(b"-"):
                connection.sendall(answer if self.garbles > 1 else b"$#01")
            while True:
                begin = pending.find(b"$")
                end = pending.find(b"#", begin)
                if begin < 0 or end < 0 or len(pending) < end + 3:
                    break
                packet = pending[begin + 1 : end].decode("latin-1")
                pending = pending[end + 3 :]
                self.packets.append(packet)
                if self.dies_after is not None and len(self.packets) > self.dies_after:
                    return
                if self._stalls(packet):
                    continue
                time.sleep(self.delay)
                text = self._answer(packet).encode("latin-1")
                answer = b"$%s#%02x" % (text, sum(text) & 0xFF)
                garbled = self.garbles and len(self.packets) % self.garbles == 0
                connection.sendall(b"+" + (b"$%s#%02x" % (text, (sum(text) + 1) & 0xFF) if garbled else answer))

    def _stalls(self, packet: str) -> bool:
        if self.stalls_after is None or len(self.packets) <= self.stalls_after:
            return False
        return self.connections == 1 if self.recovers else packet != "D"

    def _answer(self, packet: str) -> str:
        threads = self.tids or (1, 2)
        if packet.startswith("qSupported"):
            return "PacketSize=1000"
        if packet == "?":
            return f"T05thread:{threads[0]:x};"
        if packet == "qAttached" and self.kind == "cpus":
            return "1"
        if packet == "qC":
            return f"QC{threads[0]:x}"
        if packet == "qfThreadInfo":
            return "m" + ",".join(f"{tid:x}" for tid in threads)
        if packet == "qsThreadInfo":
            return "l"
        if packet.startswith("qThreadExtraInfo,") and self.kind == "cpus":
            return f"CPU#{int(packet.partition(',')[2], 16) - 1} [running]".encode().hex()
        if packet.startswith(("H", "T")):
            if packet.startswith("Hg") and int(packet[2:], 16) > 0:
                self._selected = int(packet[2:], 16)
            return "OK"
        if packet == "g":
            rip, rsp, rbp = self.registers.get(self._selected, (0, 0, 0))
            values = [0] * 6 + [rbp, rsp] + [0] * 8 + [rip]
            return b"".join(value.to_bytes(8, "little") for value in values).hex() + "00" * (7 * 4)
        if packet.startswith("m"):
            address, _, length = packet[1:].partition(",")
            try:
                return os.pread(self._memory, int(length, 16), int(address, 16)).hex() or "E14"
            except (OSError, OverflowError):
                return "E14"
        if packet == "D":
            if self.kind == "cpus":
                os.kill(self.pid, signal.SIGCONT)
            else:
                self.changes.append(packet)
            return "OK"
        if packet[:1] in "cCsSkMGPXZzvRr" and not packet.startswith("vMustReplyEmpty"):
            if not packet.startswith("v"):
                self.changes.append(packet)
            return "" if packet.startswith("v") else "E01"
        return ""
