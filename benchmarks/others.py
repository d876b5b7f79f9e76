"""Against what somebody would use instead, on the same input in one run: gdb's own time to print it, other readers.

usage: python benchmarks/others.py [THREADS]

A program with many threads is built and dumped, gdb prints all its stacks, and each reader that is
installed reads what gdb printed. What is not installed is named and left out. Nothing fails on time.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from hangdiag.readers import read_text

_PROGRAM = """
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>
static int wait_for(int depth, const char *name) {
    if (depth > 0) return wait_for(depth - 1, name) + 1;
    for (;;) pause();
}
static void *work(void *argument) { wait_for(12, "a worker"); return argument; }
int main(int count, char **words) {
    pthread_attr_t small;
    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, 65536);
    for (int number = atoi(words[1]); number > 0; number--) {
        pthread_t thread;
        if (pthread_create(&thread, &small, work, 0) != 0) abort();
    }
    sleep(1);
    raise(SIGTRAP);
    return 0;
}
"""
_GDB_FRAME = re.compile(r"#\d+ +(?:0x[0-9a-f]+ in )?(\S+) \(")


def timed(call: Callable[[], object], runs: int = 3) -> float:
    """The shortest of several runs, in seconds."""
    best = float("inf")
    for _ in range(runs):
        begin = time.perf_counter()
        call()
        best = min(best, time.perf_counter() - begin)
    return best


def dump(folder: Path, threads: int) -> tuple[Path, Path]:
    """A program with so many threads, and its core dump."""
    source, program, core = folder / "threads.c", folder / "threads", folder / "core"
    source.write_text(_PROGRAM)
    subprocess.run(["cc", "-g", "-O0", "-pthread", "-o", program, source], check=True)
    command = ["gdb", "-nx", "-batch", "-ex", f"run {threads}", "-ex", f"generate-core-file {core}", "-ex", "kill", program]
    subprocess.run(command, check=True, capture_output=True)
    if not core.exists():
        raise OSError("gdb wrote no core dump")
    return program, core


def clusterfuzz() -> Callable[[str], object] | None:
    """clusterfuzz's stack parser (PyPI), which also knows gdb's frames."""
    try:
        from clusterfuzz.stacktraces import StackParser
    except Exception:  # it needs some of its many dependencies
        return None
    return lambda text: StackParser(fuzz_target="threads", symbolized=True).parse(text)


def expression(text: str) -> list[str]:
    """What a script would do: one expression for the functions, with no thread, argument or line told."""
    return _GDB_FRAME.findall(text)


def main() -> int:
    """Print the figures."""
    threads = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    missing = [name for name in ("gdb", "cc") if shutil.which(name) is None]
    if missing:
        print(f"skipped: {' and '.join(missing)} not installed")
        return 0
    with tempfile.TemporaryDirectory() as folder:
        try:
            program, core = dump(Path(folder), threads)
        except (OSError, subprocess.CalledProcessError) as error:
            print(f"skipped: no core dump of a program with {threads} threads ({error})")
            return 0
        load = ["gdb", "-nx", "-batch", program, core]
        show = ["gdb", "-nx", "-batch", "-ex", "thread apply all bt", program, core]
        loading = timed(lambda: subprocess.run(load, capture_output=True, check=False), 2)
        showing = timed(lambda: subprocess.run(show, capture_output=True, check=False), 2)
        text = subprocess.run(show, capture_output=True, check=False).stdout.decode(errors="replace")
    frames = len(expression(text))
    (capture,) = read_text(text)
    read = sum(len(thread.frames) for thread in capture.threads)
    seconds = timed(lambda: read_text(text))
    print(f"{threads} threads, {frames} frames, {len(text) / 1e6:.2f} MB as gdb prints them")
    print(f"gdb prints them: {showing:.2f} s, {showing - loading:.2f} s of it without loading the dump")
    print(f"hangdiag reads them: {seconds:.3f} s, {len(capture.threads)} threads, {read} frames;"
          f" {seconds / showing:.3f} of gdb's time, {seconds / max(showing - loading, 1e-9):.3f} without loading")  # fmt: skip
    print(f"one regular expression: {timed(lambda: expression(text)):.3f} s, function names alone")
    parser = clusterfuzz()
    if parser is None:
        print("clusterfuzz: skipped, not installed (pip install clusterfuzz)")
    else:
        other = timed(lambda: parser(text), 1)
        print(f"clusterfuzz: {other:.3f} s, the frames of one stack; hangdiag {seconds / other:.2f} of its time")
    return 0


if __name__ == "__main__":
    sys.exit(main())
