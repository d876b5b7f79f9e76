"""report, graph, compare, collect and serve, as typed."""

from __future__ import annotations

import json
import shutil

import pytest

from tests.commandline import hangdiag
from tests.report.helpers import SAMPLES
from tests.traces import procstat, vcpus

DEADLOCK = str(SAMPLES / "deadlock.procstat.txt")
IDLE = str(SAMPLES / "idle.procstat.txt")


@pytest.mark.parametrize("form", ["bugzilla", "markdown", "html", "json"])
def test_report(form):
    code, out, error = hangdiag("report", "--format", form, DEADLOCK)
    assert (code, error) == (0, "")
    assert "deadlock" in out
    if form == "json":
        assert json.loads(out)["schema"] == "hangdiag/1"


def test_report_of_standard_input():
    with open(DEADLOCK, "rb") as file:
        data = file.read()
    code, out, _ = hangdiag("report", "-f", "html", stdin=data)
    assert code == 0
    assert "vcpu 0" in out


def test_report_into_a_file(tmp_path):
    target = tmp_path / "r.html"
    assert hangdiag("report", "-f", "html", "-o", str(target), DEADLOCK)[:2] == (0, "")
    assert target.read_text().startswith("<!doctype html>")
    code, _, error = hangdiag("report", "-o", str(tmp_path / "no" / "r"), DEADLOCK)
    assert code == 2
    assert error.startswith("hangdiag: ")
    assert error.count("\n") == 1


def test_report_names_vms_only_if_asked():
    ddb = str(SAMPLES / "deadlock.ddb.txt")
    assert "win11" not in hangdiag("report", ddb)[1]
    assert "win11" in hangdiag("report", "--no-redact", ddb)[1]


def test_report_of_several_captures_compares_them():
    out = hangdiag("report", DEADLOCK, DEADLOCK)[1]
    assert "capture" in out
    assert "moved" in out


@pytest.mark.parametrize("form", ["dot", "mermaid", "svg"])
def test_graph(form):
    if form == "svg" and shutil.which("dot") is None:
        pytest.skip("Graphviz is not installed")
    code, out, _ = hangdiag("graph", "--format", form, "--focus", "all", DEADLOCK)
    assert code == 0
    assert "vcpu 0" in out


def test_graph_without_graphviz():
    code, out, error = hangdiag("graph", "--format", "svg", DEADLOCK, PATH="/nowhere")
    assert (code, out) == (2, "")
    assert error == "hangdiag: Graphviz is not installed; run 'pkg install graphviz', or use --format mermaid\n"


def test_compare():
    code, out, _ = hangdiag("compare", "--seconds", "30", DEADLOCK, DEADLOCK)
    assert code == 0
    assert "has moved in 30 s" in out
    assert json.loads(hangdiag("compare", "-f", "json", DEADLOCK, IDLE)[1])["schema"] == "hangdiag-compare/1"


def test_compare_needs_two():
    code, _, error = hangdiag("compare", DEADLOCK)
    assert code == 2
    assert "only one capture" in error


def test_collect():
    code, out, _ = hangdiag("collect", "--rounds", "2")
    assert code == 0
    assert out.startswith("#!/bin/sh\n")
    assert "ROUNDS:-2" in out


def test_serve_says_what_is_wrong(tmp_path):
    code, _, error = hangdiag("serve", "--pyodide", str(tmp_path))
    assert code == 2
    assert "npm install pyodide" in error


def test_the_heading_counts_vcpus_that_are_shown_without_a_name():
    text = """\
- vcpu 1: vioapic_mmio_write() -> vm_handle_rendezvous() -> _sleep()
- vcpu 0: vcpu_lock_all() -> vcpu_set_state_locked() -> msleep_spin_sbt()
- the other two vCPUs: vm_run() -> vm_handle_rendezvous() -> _sleep()
"""
    _, out, _ = hangdiag("analyze", stdin=text.encode())
    assert "2 vCPUs and 2 more not named" in out.splitlines()[0]
    stacks = procstat(vcpus("joined", "lock one"))
    assert hangdiag("analyze", stdin=stacks.encode())[1].splitlines()[0].endswith("2 vCPUs")
    active = "(kgdb) p vm->active_cpus\n$1 = {__bits = {7, 0, 0, 0}}\n\n"
    assert "2 of 3 vCPUs" in hangdiag("analyze", stdin=(active + stacks).encode())[1].splitlines()[0]
