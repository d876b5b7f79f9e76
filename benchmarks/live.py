"""How long attaching takes, against gdb's own ``thread apply all bt`` on the same target.

Each figure is a ratio of two times of one run on one machine: it tells more than seconds do.

- walk: the model kernel behind gdbserver; the walker alone, 60 and 1,010 threads: seconds a thread, round trips.
- units: the same, where every function on a stack lies in a compilation unit of its own with as much debug information
  as a kernel's: reading that is what gdb's backtraces of a kernel wait for.
- bt: a process with N real threads (pthreads, each some frames deep) that is also a model kernel with N kernel
  threads, behind gdbserver: the walker reads the kernel's threads, gdb unwinds the real ones.
- far: the same over a connection that takes a millisecond there and back, as a stub in a kernel or an emulator
  does; gdbserver on the same machine answers in some hundredths of that.
  Every packet to the stub is counted there: unlike times, their number is the same on a busy machine.
- serial (with --serial): the same over a line of 115,200 baud, 11,520 bytes a second each way.
- attach: everything from the debugger's start to the capture, against a fresh gdb's whole batch run.
- command: the command ``hangdiag attach`` from start to end, its interpreter's start and the report included, against
  the same batch run: what a user waits for. The walk and gdb's backtraces alone leave out on both sides the start of gdb
  and the loading of symbols; the debug information that each wants more of, it reads within its time.

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


# A stack of a sleeping thread leads through some ten source files; a kernel's unit describes some 40 KB of types.
UNITS = 10
STRUCTURES = 170


def build(folder: Path, large: bool = False) -> Path:
    """The model kernel with as many real threads as kernel threads.

    With ``large``, each function on a real thread's stack lies in a compilation unit of its own, whose debug
    information is as large as a kernel's.
    """
    program = folder / ("kernel-large" if large else "kernel")
    units = _write_units(folder) if large else []
    command = ["cc", "-g", "-O0", "-w", "-no-pie", "-pthread", "-DREAL_THREADS"]
    # With the hash table of threads that every kernel has.
    command.append("-DVCPU_POINTERS")
    if large:
        command += ["-DUNITS", "-fno-eliminate-unused-debug-types"]
    subprocess.run(
        [*command, "-o", str(program), "kernel.c", "vmm_dev.c", *map(str, units)], cwd=MODEL, check=True
    )
    return program


def _write_units(folder: Path) -> list[Path]:
    lines = ["#include <stdint.h>", "struct object { const char *name; unsigned flags, data; void *witness; };"]
    for number in range(STRUCTURES):
        kind = f"struct s{number}"
        lines.append(
            f"{kind} {{ struct object lock; struct {{ {kind} *next, **prev; }} link; uint64_t a, b;"
            f" struct s{max(number - 1, 0)} *other; char name[20]; void (*call)({kind} *, int);"
            f" enum {{ A{number}, B{number}, C{number} }} state; unsigned flag : 4, more : 4; }};"
            f" static inline int use{number}({kind} *p) {{ return p->a + p->flag; }}"
        )
    (folder / "types.h").write_text("\n".join(lines) + "\n")
    paths = []
    for number in range(UNITS):
        inner = "pause(); return depth;" if number == UNITS - 1 else f"return level{number + 1}(depth - 1, p) + locals[0];"
        path = folder / f"unit{number}.c"
        path.write_text(
            '#include "types.h"\n#include <unistd.h>\n'
            f"int level{number + 1}(int depth, struct s3 *p);\n"
            f"int level{number}(int depth, struct s3 *p) {{ volatile char locals[128]; locals[0] = depth; {inner} }}\n"
        )
        paths.append(path)
    return paths


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
def far(place: str, delay: float, rate: float = 0.0, packets: list[int] | None = None) -> Iterator[str]:
    """``place`` through a relay that delays what the debugger sends by ``delay`` seconds.

    With ``rate``, no more than so many bytes a second pass either way. ``packets`` is given the number of packets that
    the debugger sent each time.
    """
    listener = socket.create_server(("127.0.0.1", 0))

    def pump(source: socket.socket, sink: socket.socket, wait: float) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                if wait and packets is not None:
                    packets.append(data.count(b"$"))
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


def walk(program: Path, place: str, packets: list[int]) -> dict[str, float]:
    """Seconds of the whole attach and of the walk alone, with its round trips; ``packets`` as :func:`far` counts them."""
    from hangdiag.live.attach import connected
    from hangdiag.live.gdb_memory import GdbMemory
    from hangdiag.live.options import Options
    from hangdiag.live.walker import walk as read

    begin = time.perf_counter()
    options = Options("remote", place, symbols=str(program), timeout=60)
    with connected(options, lambda line: None) as target:
        memory = GdbMemory(target.session, symbol_file=str(program))
        attached = time.perf_counter()
        before = sum(packets)
        memory.measure(memory.symbols(["version"])["version"])
        capture = read(memory)
        end = time.perf_counter()
        sent = sum(packets)
    return {
        "threads": len(capture.threads),
        "attach_s": end - begin,
        "walk_s": end - attached,
        "round_trips": memory.questions,
        "connecting_packets": before,
        "packets": sent - before,
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


def command(program: Path, place: str) -> float:
    """Seconds of the whole command, which reads the machine and diagnoses it."""
    begin = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "hangdiag", "attach", "--remote", place, "--symbols", str(program), "--timeout", "60"],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
        cwd=ROOT,
    )
    if "win11" not in done.stdout:
        raise SystemExit(f"hangdiag attach did not read the model: {done.stderr[-300:]}")
    return time.perf_counter() - begin


def main() -> None:
    if any(shutil.which(name) is None for name in ("gdb", "gdbserver", "cc")):
        raise SystemExit("benchmarks/live.py: needs gdb, gdbserver and cc")
    results: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        small, large = build(Path(folder)), build(Path(folder), large=True)
        for name, program, threads, delay, rate in (
            ("50 threads", small, 50, 0.0, 0.0),
            ("50 threads, a kernel's debug information", large, 50, 0.0, 0.0),
            ("50 threads, a kernel's debug information, 1 ms away", large, 50, 0.001, 0.0),
            ("50 threads, 1 ms away", small, 50, 0.001, 0.0),
            ("1000 threads", small, 1000, 0.0, 0.0),
            ("1000 threads, a kernel's debug information", large, 1000, 0.0, 0.0),
            ("10 threads, 115200 baud", small, 10, 0.0, 11520.0),
        ):
            if rate and "--serial" not in sys.argv:
                # gdb alone takes a minute there.
                continue
            relayed = bool(delay or rate)
            times, others, commands = [], [], []
            # In turns, so that what else the machine does strikes both.
            for _ in range(1 if rate else 3):
                sent: list[int] = []
                with served(program, threads) as near, far(near, delay, rate, sent) as distant:
                    times.append(walk(program, distant if relayed else near, sent))
                sent_by_gdb: list[int] = []
                with served(program, threads) as near, far(near, delay, rate, sent_by_gdb) as distant:
                    others.append(backtraces(program, distant if relayed else near))
                with served(program, threads) as near, far(near, delay, rate) as distant:
                    commands.append(command(program, distant if relayed else near))
            best = min(times, key=lambda item: item["walk_s"])
            other = min(others, key=lambda item: item["bt_s"])
            best |= other
            best["walk_to_bt"] = best["walk_s"] / other["bt_s"]
            best["command_s"] = min(commands)
            best["command_to_batch"] = best["command_s"] / min(item["batch_s"] for item in others)
            # Connecting is gdb's own doing on both sides.
            best["packets_of_gdb"] = sum(sent_by_gdb) - best["connecting_packets"]
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
        print(f"  ratio whole command / gdb -batch: {values['command_to_batch']:.3f}")
        if values["packets"]:
            print(f"  packets: {values['packets']:.0f}, gdb's for its backtraces: {values['packets_of_gdb']:.0f}")


if __name__ == "__main__":
    main()
