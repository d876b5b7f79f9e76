"""hangdiag as a library."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import hangdiag

SAMPLES = Path(__file__).resolve().parent.parent / "samples"
BENCHMARKS = sorted((SAMPLES.parent / "benchmarks").glob("*.py"))


def test_from_file_to_findings():
    (capture,) = hangdiag.read(str(SAMPLES / "deadlock.procstat.txt"))
    assert hangdiag.diagnose(capture).verdict == "deadlock"


def test_from_text_to_findings():
    (capture,) = hangdiag.read_text((SAMPLES / "idle.ddb.txt").read_text())
    assert hangdiag.diagnose(capture).verdict == "no-hang"


def test_the_core_imports_the_standard_library_alone():
    script = (
        "import sys, hangdiag\n"
        "capture, = hangdiag.read(sys.argv[1])\n"
        "hangdiag.diagnose(capture)\n"
        "import hangdiag.report.json\n"
        "names = {name.partition('.')[0] for name in sys.modules} - set(sys.stdlib_module_names)\n"
        "print(sorted(name for name in names if not name.startswith('__')))\n"
    )
    done = subprocess.run(
        [sys.executable, "-S", "-c", script, str(SAMPLES / "deadlock.ddb.txt")],
        capture_output=True,
        text=True,
        check=True,
        cwd=SAMPLES.parent,
    )
    assert done.stdout.strip() == "['hangdiag']"


def test_importing_the_package_is_cheap():
    script = "import sys; import hangdiag; print(len([name for name in sys.modules if name.startswith('hangdiag')]))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "1"


def test_digests_are_those_of_hashlib():
    import hashlib

    from hangdiag.digest import sha256

    for data in (b"", b"vmrndv", bytes(100_000)):
        assert sha256(data) == hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize("path", BENCHMARKS, ids=lambda path: path.stem)
def test_what_a_benchmark_imports_is_there(path):
    # they are seldom run, and import where they need it
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(("hangdiag", "tests")):
            module = importlib.import_module(node.module)
            for name in node.names:
                assert hasattr(module, name.name) or importlib.import_module(f"{node.module}.{name.name}")
