"""Samples read and diagnosed, and what two diagnoses must agree on."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from hangdiag.diagnosis import diagnose
from hangdiag.readers import read_text
from hangdiag.readers.files import read_paths
from hangdiag.signature import signature
from tests.traces import KNOWLEDGE, MATCHER

SAMPLES = Path(__file__).resolve().parents[2] / "samples"
NAMES = sorted(path.name for path in SAMPLES.iterdir() if path.suffix in (".txt", ".tar"))
#: A thread, a process and a VM that want to be more than text.
HOSTILE = "</script><img src=x onerror=alert(1)>"


@cache
def _diagnosed(name):
    return [diagnose(capture, KNOWLEDGE, MATCHER) for capture in read_paths([str(SAMPLES / name)], None)]


def sample(name):
    """All diagnoses of a sample, which is read once: many tests look at it."""
    return list(_diagnosed(name))


def text_of(name):
    return (SAMPLES / name).read_bytes().decode("utf-8", "replace")


def read_again(text):
    """All diagnoses of a text."""
    return [diagnose(capture, KNOWLEDGE, MATCHER) for capture in read_text(text)]


def claims(diagnosis):
    """What a report fed back must give again."""

    def tids(indices):
        threads = [diagnosis.capture.threads[index] for index in indices]
        return sorted(str(thread.tid if thread.tid is not None else thread.cpu) for thread in threads)

    return [
        (
            finding.verdict,
            finding.certainty,
            tids(finding.threads),
            tids(finding.victims),
            tids(finding.causes),
            signature(diagnosis, finding).digest,
            finding.known_bug.rule.id if finding.known_bug is not None else None,
        )
        for finding in diagnosis.findings
    ]
