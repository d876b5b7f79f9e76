"""A serial log of a gigabyte with traces as islands: megabytes a second, and the memory that it took.

usage: python benchmarks/reading_large.py [MEGABYTES]
"""

from __future__ import annotations

import io
import resource
import sys
import time
from typing import BinaryIO, cast

from hangdiag.containers import Limits
from hangdiag.readers.files import read_paths

sys.path.insert(0, __file__.rpartition("/")[0])
from reading import ddb, procstat


class _Log(io.RawIOBase):
    """A log that is made while it is read: prose, and every 50 MB a trace."""

    def __init__(self, megabytes: int) -> None:
        lines = (
            b"Nov 23 04:42:01 host kernel: em0: link state changed to UP (port 12, 1000 Mbps full duplex)\n"
            b"Nov 23 04:42:02 host sshd[1234]: Accepted publickey for root from 10.0.0.1 port 50022 ssh2\n"
            b"Nov 23 04:42:03 host kernel: <6>ada0: <Samsung_SSD 860 RVT04B6Q> ACS-4 ATA SATA 3.x device\n"
            b"Nov 23 04:42:04 host devd[612]: notify_clients: send() failed; dropping unresponsive client #2\n"
            b"Nov 23 04:42:05 host ntpd[801]: kernel reports TIME_ERROR: 0x41: Clock Unsynchronized @ 12 + 3\n"
        )
        self._prose = lines * (1_000_000 // len(lines))
        self._left = megabytes
        self._traces = [ddb(200).encode(), procstat(200).encode()]
        self._buffer = b""
        self.prose_bytes = 0

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        while len(self._buffer) < size and self._left > 0:
            self._left -= 1
            self._buffer += self._prose
            self.prose_bytes += len(self._prose)
            if self._left % 50 == 7:
                self._buffer += self._traces[self._left // 50 % 2]
        taken, self._buffer = self._buffer[:size], self._buffer[size:]
        return taken


def main() -> int:
    """Read the log and print the figures."""
    megabytes = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    log = _Log(megabytes)
    begin = time.perf_counter()
    while log.read(1 << 22):
        pass
    made = time.perf_counter() - begin
    log = _Log(megabytes)
    begin = time.perf_counter()
    captures = read_paths(["-"], cast(BinaryIO, log), Limits())
    seconds = time.perf_counter() - begin - made
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    threads = sum(len(capture.threads) for capture in captures)
    lines = captures[0].sources[0].lines
    print(f"{log.prose_bytes / 1e6:.0f} MB, {lines} lines, {threads} threads in {len(captures)} captures")
    print(f"{seconds:.2f} s, {log.prose_bytes / 1e6 / seconds:.0f} MB/s, {peak:.0f} MiB of memory at most")
    return 0


if __name__ == "__main__":
    sys.exit(main())
