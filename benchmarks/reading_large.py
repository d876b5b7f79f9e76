"""A serial log of a gigabyte with traces as islands: megabytes a second, and the memory that it took.

usage: python benchmarks/reading_large.py [MEGABYTES [KIND...]]

KIND is of prose: syslog (if none is named), dmesg, web, code, colours, words; or all. Wall time is what a user waits; the CPU time of
the process (the hash in its own thread counts as well) does not change with what else the machine does.
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

_PROSE = {
    "syslog": b"""\
Nov 23 04:42:01 host kernel: em0: link state changed to UP (port 12, 1000 Mbps full duplex)
Nov 23 04:42:02 host sshd[1234]: Accepted publickey for root from 10.0.0.1 port 50022 ssh2
Nov 23 04:42:03 host kernel: <6>ada0: <Samsung_SSD 860 RVT04B6Q> ACS-4 ATA SATA 3.x device
Nov 23 04:42:04 host devd[612]: notify_clients: send() failed; dropping unresponsive client #2
Nov 23 04:42:05 host ntpd[801]: kernel reports TIME_ERROR: 0x41: Clock Unsynchronized @ 12 + 3
""",
    "dmesg": b"""\
CPU: Intel(R) Xeon(R) CPU E5-2680 v4 @ 2.40GHz (2400.00-MHz K8-class CPU)
  Features=0xbfebfbff<FPU,VME,DE,PSE,TSC,MSR,PAE,MCE,CX8,APIC,SEP,MTRR,PGE,MCA,CMOV,PAT,PSE36,CLFLUSH,DTS,ACPI,MMX,FXSR,SSE>
igb0: <Intel(R) I350 (Copper)> port 0xe020-0xe03f mem 0xfb120000-0xfb13ffff,0xfb144000-0xfb147fff irq 26 at device 0.0 on pci2
usb_alloc_device: set address 2 failed (USB_ERR_TIMEOUT, ignored)
(da0:umass-sim0:0:0:0): READ(10). CDB: 28 00 00 00 00 3f 00 00 80 00
""",
    "web": b"""\
2020-11-22T12:00:01.123456+01:00 www nginx[77]: 10.0.0.7 - - [22/Nov/2020:12:00:00 +0100] "GET /a_b?q=7#top HTTP/1.1" 200 17 "-" "Mozilla/5.0 (X11)"
{"ts":"2020-11-22T12:00:01+0000","level":"info","caller":"cmd/main.go:17","msg":"wrote 3 chunks","pid":17,"x":"c0d0b0"}
""",
    "code": b"""\
[ 17] my_func_name(17): x_y=1, a_b->c_d=0x17; do_something(foo_bar(), #17) @ line_17 + 4 <tag> OK
# ## comment #17: a#b # (x) #2 #3 ## c_d; each(_): ++d0 b0 c0
""",
    "colours": b"""\
\x1b[32m[  OK  ]\x1b[0m Started \x1b[1;39msome_service-17.service\x1b[0m - A (thing) with wide work: load 17\r
""",
    "words": b"which each watch and such a mechanism changed: the bad child added a thousand words to the ledger and dropped them\n",
}


class _Log(io.RawIOBase):
    """A log that is made while it is read: prose, and every 50 MB a trace."""

    def __init__(self, megabytes: int, lines: bytes) -> None:
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


def _measure(megabytes: int, kind: str) -> None:
    log = _Log(megabytes, _PROSE[kind])
    begin, used = time.perf_counter(), time.process_time()
    while log.read(1 << 22):
        pass
    made, used_made = time.perf_counter() - begin, time.process_time() - used
    log = _Log(megabytes, _PROSE[kind])
    begin, used = time.perf_counter(), time.process_time()
    captures = read_paths(["-"], cast(BinaryIO, log), Limits())
    seconds, cpu = time.perf_counter() - begin - made, time.process_time() - used - used_made
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    threads = sum(len(capture.threads) for capture in captures)
    lines = captures[0].sources[0].lines
    size = log.prose_bytes / 1e6
    print(f"{kind}: {size:.0f} MB, {lines} lines, {threads} threads in {len(captures)} captures")
    print(f"{seconds:.2f} s, {size / seconds:.0f} MB/s; {cpu:.2f} s of CPU time; {peak:.0f} MiB of memory at most")


def main() -> int:
    """Read the logs and print the figures."""
    megabytes = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    kinds = sys.argv[2:] or ["syslog"]
    for kind in _PROSE if kinds == ["all"] else kinds:
        _measure(megabytes, kind)
    return 0


if __name__ == "__main__":
    sys.exit(main())
