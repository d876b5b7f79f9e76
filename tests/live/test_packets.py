"""How often the stub is asked: each packet is a round trip over what may be a slow line."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from hangdiag.live.attach import attach
from hangdiag.live.options import Options

from .conftest import need, running
from .stub import Stub

pytestmark = pytest.mark.live

TIDS = tuple(range(100001, 100051))


def packets(program: Path, kind: str, *scenario: str) -> tuple[int, Counter[str]]:
    """The number of threads that were read, and the stub's packets by kind (memory reads are ``m``)."""
    need("gdb")
    with running(program, *scenario) as process:
        server = Stub(process.pid, kind, tids=TIDS if kind == "kernel" else ())
        try:
            options = Options("remote", server.place, symbols=str(program), timeout=20, stop=True)
            (capture,) = attach(options, lambda line: None, lambda step, done, total: None)
        finally:
            server.close()
    asked = Counter("m" if packet.startswith("m") else packet.partition(",")[0] for packet in server.packets)
    return len(capture.threads), asked


@pytest.mark.parametrize("variant", ["array", "pointers"])
@pytest.mark.parametrize(("kind", "few", "more"), [("cpus", 70, 128), ("kernel", 57, 116)])
def test_packets_are_bounded(
    build: Callable[[str], Path], variant: str, kind: str, few: int, more: int
) -> None:
    threads, asked = packets(build(variant), kind, "deadlock")
    assert threads == 10
    assert asked.total() <= few
    # Where the structures lie in memory differs from run to run, by some blocks.
    # gdb itself asks twice when it connects.
    assert asked["qfThreadInfo"] <= (3 if kind == "cpus" else 2)
    threads, asked_of_many = packets(build(variant), kind, "many", "40")
    assert threads == 50
    assert asked_of_many.total() <= more
    # A thread's stack is one packet, and its structures less than one.
    assert asked_of_many["m"] - asked["m"] <= 1.7 * 40
