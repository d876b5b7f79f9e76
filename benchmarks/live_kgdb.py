"""How long ``attach --kernel`` takes, against a fresh gdb's ``-batch -ex 'thread apply all bt'`` on the same process.

Where kgdb is not installed, a gdb with a stand-in for its command ``target vmcore`` takes its place: it shows the
model kernel's memory and threads, so that what hangdiag itself adds is measured.

usage: python benchmarks/live_kgdb.py
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))


def fake_kgdb(folder: Path) -> Path:
    """A gdb that knows ``target vmcore``."""
    from tests.live.conftest import VMCORE_COMMAND

    commands = folder / "vmcore.py"
    commands.write_text(VMCORE_COMMAND)
    script = folder / "kgdb"
    script.write_text(f'#!/bin/sh\nexec gdb -nx -x {commands} "$@"\n')
    script.chmod(0o755)
    return script


def pair(program: Path, kgdb: Path, pid: int) -> tuple[float, float]:
    """Seconds of hangdiag's whole attach, and of gdb's whole batch run."""
    from hangdiag.live.attach import attach
    from hangdiag.live.options import Options

    begin = time.perf_counter()
    attach(Options("kernel", str(program), gdb=str(kgdb), timeout=60), lambda line: None, lambda *step: None)
    own = time.perf_counter() - begin
    command = ["gdb", "-nx", "-q", "-batch", "-p", str(pid), "-ex", "thread apply all bt", str(program)]
    begin = time.perf_counter()
    subprocess.run(command, capture_output=True, check=False, env={**os.environ, "DEBUGINFOD_URLS": ""})
    return own, time.perf_counter() - begin


def main() -> None:
    if any(shutil.which(name) is None for name in ("gdb", "cc")):
        raise SystemExit("benchmarks/live_kgdb.py: needs gdb and cc")
    from benchmarks.live import build

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        program, kgdb = build(folder), fake_kgdb(folder)
        for threads in (50, 1000):
            process = subprocess.Popen([str(program), "many", str(threads)], stdout=subprocess.PIPE, text=True)
            try:
                assert process.stdout is not None
                process.stdout.readline()
                os.environ["MODEL_PID"] = str(process.pid)
                pairs = [pair(program, kgdb, process.pid) for _ in range(5)]
            finally:
                process.kill()
                process.wait()
            ratio = statistics.median(own / batch for own, batch in pairs)
            own, batch = (min(times) for times in zip(*pairs, strict=True))
            print(f"kgdb's way, {threads} threads: attach {own:.2f} s, gdb -batch {batch:.2f} s, ratio {ratio:.2f}")


if __name__ == "__main__":
    main()
