"""How long attaching takes, against gdb's own ``thread apply all bt`` on the same target.

Each figure is a ratio of two times of one run on one machine: it tells more than seconds do.

- walk: the model kernel behind gdbserver; the walker alone, 60 and 1,010 threads: seconds a thread, round trips.
- bt: a process with N real threads (pthreads, each some frames deep) that is also a model kernel with N kernel
  threads, behind gdbserver: the walker reads the kernel's threads, gdb unwinds the real ones.
- far: the same over a connection that takes a millisecond there and back, as a stub in a kernel or an emulator
  does; gdbserver on the same machine answers in some hundredths of that.
- serial (with --serial): the same over a line of 115,200 baud, 11,520 bytes a second each way.
- attach: everything from the debugger's start to the capture, against a fresh gdb's whole batch run.

usage: python benchmarks/live.py [--json] [--serial]
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MODEL = ROOT / "tests" / "live" / "model"
sys.path.insert(0, str(ROOT))


def build(folder: Path) -> Path:
    """The model kernel with as many real threads as kernel threads."""
    program = folder / "kernel"
    subprocess.run(
        [
            "cc",
            "-g",
            "-O0",
            "-w",
            "-no-pie",
            "-pthread",
            "-DREAL_THREADS",
            "-o",
            str(program),
            "kernel.c",
            "vmm_dev.c",
        ],
        cwd=MODEL,
        check=True,
    )
    return program


@contextlib.contextmanager
def served(program: Path, threads: int) -> Iterator[str]:
    """The model with ``threads`` threads behind gdbserver; yields HOST:PORT."""
    process = subprocess.Popen([str(program), "many", str(threads)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    process.stdout.readline()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = subprocess.Popen(
        ["gdbserver", "--once", "--attach", f"127.0.0.1:{port}", str(process.pid)],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )
    assert server.stderr is not None
    try:
        for line in server.stderr:
            if "Listening" in line:
                break
        yield f"127.0.0.1:{port}"
    finally:
        server.kill()
        server.wait()
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)
        process.wait()


@contextlib.contextmanager
def far(place: str, delay: float, rate: float = 0.0) -> Iterator[str]:
    """``place`` through a relay that delays what the debugger sends by ``delay`` seconds.

    With ``rate``, no more than so many bytes a second pass either way.
    """
    listener = socket.create_server(("127.0.0.1", 0))

    def pump(source: socket.socket, sink: socket.socket, wait: float) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                pause = wait + (len(data) / rate if rate else 0.0)
                if pause:
                    time.sleep(pause)
                sink.sendall(data)
            sink.shutdown(socket.SHUT_RDWR)

    def relay() -> None:
        client, _ = listener.accept()
        host, _, port = place.rpartition(":")
        server = socket.create_connection((host, int(port)))
        for one in (client, server):
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=pump, args=(server, client, 0.0), daemon=True).start()
        pump(client, server, delay)

    threading.Thread(target=relay, daemon=True).start()
    try:
        yield f"127.0.0.1:{listener.getsockname()[1]}"
    finally:
        listener.close()


def walk(program: Path, place: str) -> dict[str, float]:
    """Seconds of the whole attach and of the walk alone, with its round trips."""
    from hangdiag.live.gdb_memory import GdbMemory
    from hangdiag.live.options import Options
    from hangdiag.live.target import start
    from hangdiag.live.walker import walk as read

    begin = time.perf_counter()
    target = start(Options("remote", place, symbols=str(program), timeout=60), lambda line: None)
    try:
        memory = GdbMemory(target.session)
        connected = time.perf_counter()
        memory.measure(memory.symbols(["version"])["version"])
        capture = read(memory)
        end = time.perf_counter()
    finally:
        target.leave()
    return {
        "threads": len(capture.threads),
        "attach_s": end - begin,
        "walk_s": end - connected,
        "round_trips": memory.questions,
        "bytes": memory.read_bytes,
    }


def backtraces(program: Path, place: str) -> dict[str, float]:
    """Seconds that gdb takes for ``thread apply all bt`` alone, and for the whole batch run."""
    script = (
        "import time; begin = time.perf_counter(); "
        "text = gdb.execute('thread apply all bt', to_string=True); "
        "print('BT', time.perf_counter() - begin, text.count('\\n#'))"
    )
    begin = time.perf_counter()
    done = subprocess.run(
        [
            "gdb",
            "-nx",
            "-q",
            "-batch",
            "-ex",
            f"target remote {place}",
            "-ex",
            f"python {script}",
            str(program),
        ],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
        env={**os.environ, "DEBUGINFOD_URLS": ""},
    )
    whole = time.perf_counter() - begin
    found = re.search(r"BT ([\d.]+) (\d+)", done.stdout)
    if found is None:
        raise SystemExit(f"gdb gave no backtraces: {done.stderr[-300:]}")
    return {"bt_s": float(found.group(1)), "frames": int(found.group(2)), "batch_s": whole}


def main() -> None:
    if any(shutil.which(name) is None for name in ("gdb", "gdbserver", "cc")):
        raise SystemExit("benchmarks/live.py: needs gdb, gdbserver and cc")
    results: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        program = build(Path(folder))
        for name, threads, delay, rate in (
            ("50 threads", 50, 0.0, 0.0),
            ("50 threads, 1 ms away", 50, 0.001, 0.0),
            ("1000 threads", 1000, 0.0, 0.0),
            ("10 threads, 115200 baud", 10, 0.0, 11520.0),
        ):
            if rate and "--serial" not in sys.argv:
                # gdb alone takes a minute there.
                continue
            relayed = bool(delay or rate)
            times = []
            for _ in range(1 if rate else 3):
                with served(program, threads) as near, far(near, delay, rate) as distant:
                    times.append(walk(program, distant if relayed else near))
            best = min(times, key=lambda item: item["walk_s"])
            with served(program, threads) as near, far(near, delay, rate) as distant:
                other = backtraces(program, distant if relayed else near)
            best |= other
            best["walk_to_bt"] = best["walk_s"] / other["bt_s"]
            best["attach_to_batch"] = best["attach_s"] / other["batch_s"]
            results[name] = best
    if "--json" in sys.argv:
        print(json.dumps(results, indent=1))
        return
    for name, values in results.items():
        print(f"live, {name} through gdbserver:")
        print(
            f"  walker {values['walk_s']:.3f} s ({values['round_trips']:.0f} batches, {values['bytes']:.0f} bytes)"
        )
        print(f"  gdb's thread apply all bt {values['bt_s']:.3f} s ({values['frames']:.0f} frames)")
        print(f"  ratio walker / bt: {values['walk_to_bt']:.3f}")
        print(f"  ratio whole attach / gdb -batch: {values['attach_to_batch']:.3f}")


if __name__ == "__main__":
    main()
