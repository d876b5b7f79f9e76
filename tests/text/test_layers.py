"""Whatever lies around a trace, the capture stays the same."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest

from hangdiag.readers import read_text
from tests.readers.essence import essence
from tests.text.wrappings import LAYERS

SAMPLES = Path(__file__).resolve().parents[2] / "samples"
NAMES = sorted(path.name for path in SAMPLES.glob("*.txt"))


@cache
def plain(name: str):
    captures = read_text((SAMPLES / name).read_text())
    assert len(captures) == 1
    return captures[0]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("layer", LAYERS)
def test_a_layer_changes_nothing(name, layer):
    if layer == "literal line ends" and "gdb" in name:
        pytest.skip("strings of the trace hold literal line ends themselves")
    text = LAYERS[layer]((SAMPLES / name).read_text())
    captures = read_text(text)
    assert len(captures) == 1
    before, after = essence(plain(name)), essence(captures[0])
    assert [(thread.tid, thread.name) for thread in after.threads] == [
        (thread.tid, thread.name) for thread in before.threads
    ]
    assert after.threads == before.threads
    # facts on the same line are one: literal line ends make all of a text one line
    assert set(after.locks) == set(before.locks)
    assert after.vms == before.vms
    assert after.host == before.host
    assert not [item for item in captures[0].unread if item.trace_like]
