"""A fuzzer of the readers: with atheris where it is installed, else with mutations of the samples.

usage: python benchmarks/fuzz.py [SECONDS] [SEED]

Finds exceptions, lines that are accounted for wrongly, and inputs that take too long. What it
finds is written to fuzz-findings/ in the working folder; the exit status is 1 then.
"""

from __future__ import annotations

import hashlib
import os
import random
import sys
import time
import traceback
from importlib import import_module
from pathlib import Path

from hangdiag.containers import decode
from hangdiag.readers import scan

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.readers import accounts

SAMPLES = ROOT / "samples"
FINDINGS = Path("fuzz-findings")
#: Seconds that reading may take for each megabyte, and at least.
SLOW_PER_MEGABYTE = 8.0
SLOW = 0.5


class Slow(Exception):
    """Reading took too long."""


def check(text: str) -> None:
    """Read ``text``; raises whatever is wrong with that."""
    begin = time.process_time()
    accounts.check_lines(text)
    seconds = time.process_time() - begin
    if seconds > SLOW + len(text) / 1e6 * SLOW_PER_MEGABYTE:
        raise Slow(f"{seconds:.1f} s for {len(text)} characters")


def mutate(draw: random.Random, texts: list[list[str]]) -> str:
    """Lines of one or two samples, cut, doubled, moved, joined, changed."""
    lines = _part(draw, draw.choice(texts))
    if draw.random() < 0.3:
        lines += _part(draw, draw.choice(texts))
    prefixes = draw.choice(_PREFIXES)
    for _ in range(draw.randrange(0, 10)):
        place = draw.randrange(len(lines))
        line = lines[place]
        kind = draw.randrange(11)
        if kind == 0:
            lines[place] = line[: draw.randrange(len(line) + 1)]
        elif kind == 1:
            lines.insert(place, draw.choice(lines))
        elif kind == 2 and len(lines) > 1:
            del lines[place]
        elif kind == 3 and place + 1 < len(lines):
            lines[place] += draw.choice(["", " ", "\r", "\\n"]) + lines.pop(place + 1)
        elif kind == 4:
            words = line.split(" ")
            draw.shuffle(words)
            lines[place] = " ".join(words)
        elif kind == 5 and line:
            spot = draw.randrange(len(line))
            lines[place] = line[:spot] + chr(draw.randrange(0, 0x2200)) + line[spot + 1 :]
        elif kind == 6:
            lines[place] = line * draw.randrange(2, 40)
        elif kind == 7:
            spot = draw.randrange(len(line) + 1)
            lines[place : place + 1] = [line[:spot], line[spot:]]
        elif kind == 8:
            other = draw.choice(draw.choice(texts))
            spot = draw.randrange(len(line) + 1)
            lines[place] = line[:spot] + other + line[spot:]
        elif kind == 9:
            lines[place : place + 1] = [line] * draw.randrange(2, 200)
        else:
            lines.insert(place, draw.choice(_ODD))
    return draw.choice(["\n", "\n", "\n", "\r\n", "\n\n", "<br>\n"]).join(draw.choice(prefixes) + line for line in lines)


#: What stands before each line; of several one by chance.
_PREFIXES = [
    [""], [""], [""], ["> "], ["# "], ["    "], ["\t"], ["<118>"], ["[12:34:56] "], ["| "], ["* "], ["1: "],
    ["hosta: ", "hostb: "], ["> hosta: ", "> hostb: "], ["[hosta] ", "[hostb] ", ""],
    [f"Nov 25 21:50:01 {host} kernel: " for host in ("hosta", "hostb.example.org", "hostb", "localhost")],
]  # fmt: skip


def _part(draw: random.Random, lines: list[str]) -> list[str]:
    begin = draw.randrange(len(lines))
    return lines[begin : begin + draw.choice([1, 3, 10, 40, 150])]


_ODD = [
    "lock order reversal:", "* thread #1, name = 'x'", "    frame #0: 0xffffffff80000001 kernel`f(a=(b)) at a.c:1:2", "THREAD STATE SOBJ COUNT",
    "stack pointer for thread ffffff0368f503a0: ff", "a_b() -> c_d() -> _sleep()", "load: 0.1  cmd: a 1 [b] 1.0r", "=3D=3D", "&lt;pre&gt;",
    "UID PID PPID CPU PRI NI VSZ RSS MWCHAN STAT TT TIME COMMAND", "  PID USERNAME PRI NICE SIZE RES STATE C TIME WCPU COMMAND",
    "  PID    TID COMM TDNAME CPU PRI STATE WCHAN", "db> c", "---<<BOOT>>---", "panic: deadlres_td_sleep_q: possible deadlock detected for",
    "lock type ufs: EXCL by thread 0x1 (pid 1, a, tid 100001)", "--More--", "\x1b[0m\x00\x08", "$1 = {a = {b = {", "```", "| a | b |", "",
]  # fmt: skip


def note(text: str, error: BaseException) -> None:
    """Write what was found to a file."""
    FINDINGS.mkdir(exist_ok=True)
    name = hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:12]
    (FINDINGS / f"{name}.txt").write_text(text, errors="replace")
    print(f"{FINDINGS / name}.txt: {type(error).__name__}: {error}")
    if not isinstance(error, Slow | accounts.Lost):
        traceback.print_exception(error)


def fuzz_with_mutations(seconds: float, seed: int) -> int:
    """Random mutations until the time is over; the number of findings."""
    texts = [path.read_text().split("\n") for path in sorted(SAMPLES.glob("*.txt"))]
    draw = random.Random(seed)
    end = time.monotonic() + seconds
    runs = findings = 0
    while time.monotonic() < end:
        text = mutate(draw, texts)
        runs += 1
        try:
            check(text)
        except Exception as error:
            findings += 1
            note(text, error)
            if findings >= 20:
                break
    print(f"{runs} inputs in {seconds:.0f} s from seed {seed}: {findings} findings")
    return findings


def fuzz_with_atheris(seconds: float) -> None:
    """Coverage-guided fuzzing of the bytes of a file; atheris ends the process."""
    import atheris

    # what was imported so far was not instrumented
    for name in [name for name in sys.modules if name.startswith(("hangdiag", "tests"))]:
        del sys.modules[name]
    global accounts
    with atheris.instrument_imports(include=["hangdiag"]):
        accounts = import_module("tests.readers.accounts")
        for name in ("arrows", "dtrace", "lldb", "mdb"):
            import_module(f"hangdiag.readers.{name}")
        import_module("hangdiag.readers.scan").GUARDED = ()
    corpus = FINDINGS / "corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    for path in SAMPLES.glob("*.txt"):
        (corpus / path.name).write_bytes(path.read_bytes()[:4000])

    def one(data: bytes) -> None:
        check(decode(data)[0])

    atheris.Setup([sys.argv[0], str(corpus), f"-max_total_time={int(seconds)}", "-max_len=6000"], one)
    atheris.Fuzz()


def main() -> int:
    """Run for the time given."""
    scan.GUARDED = ()  # errors that the scanner would turn into unread lines are findings here
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 60.0
    if os.environ.get("FUZZ_WITH", "") == "atheris":
        fuzz_with_atheris(seconds)
        return 0
    return 1 if fuzz_with_mutations(seconds, int(sys.argv[2]) if len(sys.argv) > 2 else int(time.time())) else 0


if __name__ == "__main__":
    sys.exit(main())
