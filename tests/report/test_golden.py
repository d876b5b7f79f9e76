"""The reports of all samples, read by eye once and kept: a change shows as a difference.

HANGDIAG_GOLDEN=write writes them anew; look at the differences before you commit them.
Without known bugs, whose texts are their rules' business.
"""

from __future__ import annotations

import dataclasses
import os
from functools import cache
from pathlib import Path

import pytest

from hangdiag import __version__
from hangdiag.diagnosis import diagnose
from hangdiag.knowledge import Matcher
from hangdiag.readers.files import read_paths
from hangdiag.report.bugzilla import as_bugzilla
from hangdiag.report.dot import as_dot
from hangdiag.report.markdown import as_markdown
from hangdiag.report.mermaid import as_mermaid
from tests.report.helpers import NAMES, SAMPLES
from tests.traces import KNOWLEDGE

GOLDEN = Path(__file__).resolve().parent / "golden"
PLAIN = dataclasses.replace(KNOWLEDGE, bugs=())
FORMS = {"bugzilla.txt": as_bugzilla, "md": as_markdown, "dot": as_dot, "mmd": as_mermaid}
PICTURED = {"deadlock.procstat.txt", "deadlock.kgdb.txt", "lock-cycle.ddb.txt", "busy-rendezvous.procstat.txt"}
CASES = [(name, form) for name in NAMES for form in FORMS if form == "bugzilla.txt" or name in PICTURED]


MATCHER = Matcher(PLAIN)


@cache
def diagnosed(name):
    return [diagnose(capture, PLAIN, MATCHER) for capture in read_paths([str(SAMPLES / name)], None)]


@pytest.mark.parametrize(("name", "form"), CASES)
def test_report(name, form):
    made = FORMS[form](diagnosed(name)).replace(str(SAMPLES), "samples").replace(__version__, "VERSION")
    file = GOLDEN / f"{name}.{form}"
    if os.environ.get("HANGDIAG_GOLDEN") == "write":
        GOLDEN.mkdir(exist_ok=True)
        file.write_text(made, encoding="utf-8")
    # the name of a folder decides where lines are wrapped
    assert " ".join(made.split()) == " ".join(file.read_text(encoding="utf-8").split())
