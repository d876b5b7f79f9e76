"""Measurements of ``make bench``: they print figures and ratios, and never fail on time.

python benchmarks/run.py            # everything
python benchmarks/run.py pipeline   # one of them
"""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))


def best(call: Callable[[], object], runs: int = 5) -> float:
    """The shortest of several runs, in seconds: the one that others disturbed least."""
    times = []
    for _ in range(runs):
        begin = time.perf_counter()
        call()
        times.append(time.perf_counter() - begin)
    return min(times)


def host(threads: int) -> list:
    """A host with several VMs: every eighth VM is deadlocked, the others are busy or idle."""
    from tests.traces import T, vcpus

    made: list[T] = []
    pid = 3000
    while len(made) < threads:
        sick = pid % 8 == 0
        stacks = (
            ("joined", "lock one", "started", "joined")
            if sick
            else ("halted", "in guest", "halted", "preempted")
        )
        made += vcpus(*stacks, pid=pid, first=100000 + len(made))
        made += [
            T(100000 + len(made) + number, name, stack, pid)
            for number, (name, stack) in enumerate(
                (
                    ("mevent", "kqueue"),
                    ("blk-3:0-0", "mutex in userland"),
                    ("blk-3:0-1", "disk"),
                    ("vtnet-4:0 tx", "kqueue"),
                )
            )
        ]
        pid += 1
    return made[:threads]


def pipeline() -> None:
    """Text to findings, by number of threads."""
    from hangdiag.diagnosis import diagnose
    from hangdiag.knowledge import Matcher, load_knowledge
    from hangdiag.readers import read_text
    from tests.traces import alltrace, procstat

    knowledge = load_knowledge()
    print("pipeline: text to findings, one core")
    print(
        f"  {'format':<10} {'threads':>8} {'MB':>7} {'read s':>8} {'MB/s':>7} {'diagnose s':>11} {'all s':>7} {'us/thread':>10}"
    )
    for form in (procstat, alltrace):
        for threads in (5_000, 20_000, 100_000):
            text = form(host(threads))
            runs = 3 if threads < 100_000 else 1
            read = best(lambda: read_text(text), runs)  # noqa: B023
            (capture,) = read_text(text)
            conclude = best(lambda: diagnose(capture, knowledge, Matcher(knowledge)), runs)  # noqa: B023
            size = len(text) / 1e6
            print(
                f"  {form.__name__:<10} {threads:>8} {size:>7.1f} {read:>8.3f} {size / read:>7.1f} {conclude:>11.3f}"
                f" {read + conclude:>7.3f} {(read + conclude) / threads * 1e6:>10.1f}"
            )
    print(f"  peak memory of all this: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB")


def memory() -> None:
    """Time and peak memory of the command on 5,000 threads."""
    from tests.traces import alltrace

    text = alltrace(host(5_000))
    # the peak is asked of a fresh process: after fork and exec, Linux counts the parent's in
    script = (
        "import resource, subprocess, sys, time; begin = time.perf_counter();"
        "subprocess.run([sys.executable, '-m', 'hangdiag', 'analyze', '--quiet'], stdout=subprocess.DEVNULL, check=True);"
        "print(f'{time.perf_counter() - begin:.2f} s,', resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024, 'MB')"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], input=text.encode(), capture_output=True, check=True, cwd=HERE.parent
    )
    print(f"command on 5,000 threads of alltrace: {done.stdout.decode().rstrip()}")


def start() -> None:
    """The command on a sample against an empty program that imports typer."""
    sample = str(HERE.parent / "samples" / "deadlock.procstat.txt")
    ours = [sys.executable, "-m", "hangdiag", "analyze", sample]
    theirs = [sys.executable, "-c", "import typer"]
    ratios = []
    pairs = []
    for _ in range(15):
        pair = []
        for command in (ours, theirs):
            begin = time.perf_counter()
            subprocess.run(command, stdout=subprocess.DEVNULL, check=True, cwd="/")
            pair.append(time.perf_counter() - begin)
        pairs.append(pair)
        ratios.append(pair[0] / pair[1])
    middle = sorted(ratios)[len(ratios) // 2]
    fastest = min(pair[0] for pair in pairs) * 1000, min(pair[1] for pair in pairs) * 1000
    print(
        f"start: analyze {fastest[0]:.0f} ms, import typer {fastest[1]:.0f} ms; median ratio of pairs {middle:.2f}"
    )


def rules() -> None:
    """Classifying against reading, and with ten times as many rules."""
    import dataclasses
    import re

    from hangdiag.knowledge import Knowledge, Matcher, load_knowledge
    from hangdiag.readers import read_text
    from hangdiag.waits import classify
    from tests.traces import alltrace

    knowledge = load_knowledge(compiled=False)
    copies = tuple(
        dataclasses.replace(
            rule,
            id=f"{rule.id}-{copy}",
            wmesg=tuple(f"{message}{copy}" for message in rule.wmesg),
            stack=tuple(
                re.sub(r"[^\s<|]+", lambda name, copy=copy: f"{name.group()}_{copy}", text) for text in rule.stack
            ),
        )
        for rule in knowledge.waits
        if rule.stack
        for copy in range(10)
    )
    wide = Knowledge(knowledge.words, knowledge.waits + copies)
    text = alltrace(host(100_000))
    read = best(lambda: read_text(text), 1)
    (capture,) = read_text(text)
    one, ten = (
        best(lambda matcher=matcher: classify(capture, matcher), 3) for matcher in (Matcher(knowledge), Matcher(wide))
    )
    print(
        f"rules: 100,000 threads read in {read:.2f} s, classified in {one:.2f} s with {len(knowledge.waits)} rules,"
        f" {ten:.2f} s with {len(wide.waits)} (ratio {ten / one:.2f})"
    )


MEASUREMENTS = {"pipeline": pipeline, "memory": memory, "start": start, "rules": rules}


def main() -> None:
    """Run the measurements named on the command line, or all; then those in the other files here."""
    wanted = sys.argv[1:] or list(MEASUREMENTS)
    for name in wanted:
        if name in MEASUREMENTS:
            MEASUREMENTS[name]()
    if not sys.argv[1:]:
        for path in sorted(HERE.glob("*.py")):
            if path.name not in ("run.py", "__init__.py") and not path.name.startswith("fuzz"):
                print(f"\n{path.stem}:", flush=True)
                subprocess.run([sys.executable, str(path)], cwd=HERE.parent, check=False)


if __name__ == "__main__":
    main()
