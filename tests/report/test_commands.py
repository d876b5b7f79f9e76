"""report, graph, compare, collect and serve, as typed."""

from __future__ import annotations

import io
import json
import shutil
import sys

import pytest

from hangdiag.cli import app
from tests.report.helpers import SAMPLES

DEADLOCK = str(SAMPLES / "deadlock.procstat.txt")
IDLE = str(SAMPLES / "idle.procstat.txt")


@pytest.fixture
def typed(monkeypatch, capfd):
    """Runs a command line: exit code, standard output, standard error."""
    names = {name for name, _, _ in app._COMMANDS}
    more = tuple((name, f"hangdiag.cli.{name}", name) for name in ("report", "graph", "compare", "collect", "serve") if name not in names)
    monkeypatch.setattr(app, "_COMMANDS", app._COMMANDS + more)

    def run(*arguments, stdin=None):
        if stdin is not None:
            monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        code = app.run(list(arguments))
        out, error = capfd.readouterr()
        return code, out, error

    return run


@pytest.mark.parametrize("form", ["bugzilla", "markdown", "html", "json"])
def test_report(typed, form):
    code, out, error = typed("report", "--format", form, DEADLOCK)
    assert (code, error) == (0, "")
    assert "deadlock" in out
    if form == "json":
        assert json.loads(out)["schema"] == "hangdiag/1"


def test_report_of_standard_input(typed):
    with open(DEADLOCK, "rb") as file:
        data = file.read()
    code, out, _ = typed("report", "-f", "html", stdin=data)
    assert code == 0
    assert "vcpu 0" in out


def test_report_into_a_file(typed, tmp_path):
    target = tmp_path / "r.html"
    assert typed("report", "-f", "html", "-o", str(target), DEADLOCK)[:2] == (0, "")
    assert target.read_text().startswith("<!doctype html>")
    code, _, error = typed("report", "-o", str(tmp_path / "no" / "r"), DEADLOCK)
    assert code == 2
    assert error.startswith("hangdiag: ")
    assert error.count("\n") == 1


def test_report_names_vms_only_if_asked(typed):
    ddb = str(SAMPLES / "deadlock.ddb.txt")
    assert "win11" not in typed("report", ddb)[1]
    assert "win11" in typed("report", "--no-redact", ddb)[1]


def test_report_of_several_captures_compares_them(typed):
    out = typed("report", DEADLOCK, DEADLOCK)[1]
    assert "capture" in out
    assert "moved" in out


@pytest.mark.parametrize("form", ["dot", "mermaid", "svg"])
def test_graph(typed, form):
    if form == "svg" and shutil.which("dot") is None:
        pytest.skip("Graphviz is not installed")
    code, out, _ = typed("graph", "--format", form, "--focus", "all", DEADLOCK)
    assert code == 0
    assert "vcpu 0" in out


def test_graph_without_graphviz(typed, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    code, out, error = typed("graph", "--format", "svg", DEADLOCK)
    assert (code, out) == (2, "")
    assert error == "hangdiag: Graphviz is not installed; run 'pkg install graphviz', or use --format mermaid\n"


def test_compare(typed):
    code, out, _ = typed("compare", "--seconds", "30", DEADLOCK, DEADLOCK)
    assert code == 0
    assert "has moved in 30 s" in out
    assert json.loads(typed("compare", "-f", "json", DEADLOCK, IDLE)[1])["schema"] == "hangdiag-compare/1"


def test_compare_needs_two(typed):
    code, _, error = typed("compare", DEADLOCK)
    assert code == 2
    assert "only one capture" in error


def test_collect(typed):
    code, out, _ = typed("collect", "--rounds", "2")
    assert code == 0
    assert out.startswith("#!/bin/sh\n")
    assert "ROUNDS:-2" in out


def test_serve_says_what_is_wrong(typed, tmp_path):
    code, _, error = typed("serve", "--pyodide", str(tmp_path))
    assert code == 2
    assert "npm install pyodide" in error
