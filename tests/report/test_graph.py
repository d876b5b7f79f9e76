"""Graphviz reads the DOT; labels from the capture are text in DOT and in Mermaid."""

from __future__ import annotations

import json
import re
import shutil
import subprocess

import pytest

from hangdiag.report.dot import as_dot, quoted
from hangdiag.report.mermaid import as_mermaid
from hangdiag.report.mermaid import quoted as mermaid_quoted
from hangdiag.report.summary_graph import FOCUSES, select
from tests.report.helpers import NAMES, read_again, sample
from tests.traces import T, procstat, tids, vcpus

needs_graphviz = pytest.mark.skipif(shutil.which("dot") is None, reason="Graphviz is not installed")
HOSTILE = '"];evil[label="\\" <b>&amp; {|} \\N \\l %% ;'


def drawn(dot):
    done = subprocess.run(["dot", "-Tjson"], input=dot, capture_output=True, text=True, timeout=60, check=True)
    return json.loads(done.stdout)


def labels(drawing):
    return {item["name"]: item["label"] for item in drawing.get("objects", []) if "label" in item}


@needs_graphviz
@pytest.mark.parametrize("focus", FOCUSES)
@pytest.mark.parametrize("name", NAMES)
def test_graphviz_reads_every_sample(name, focus):
    diagnoses = sample(name)
    drawing = drawn(as_dot(diagnoses, focus))
    picture = select(diagnoses[0], focus)
    assert len(drawing.get("objects", [])) >= len(picture.threads)
    assert len(drawing.get("edges", [])) >= len(picture.edges)


@needs_graphviz
def test_hostile_labels_are_text():
    threads = [*vcpus("started", "lock one"), T(100900, HOSTILE, "lock one", 12, "bhyvectl")]
    diagnoses = read_again(procstat(threads))
    names = labels(drawn(as_dot(diagnoses, "all")))
    assert len(names) == 3
    assert not any("evil" in name for name in names)
    assert drawn(f"digraph {{ a [label={quoted(HOSTILE)}]; }}")["objects"][0]["name"] == "a"


def test_focus():
    (diagnosis,) = sample("deadlock.ddb.txt")
    cycle, vm, every = (set(tids(diagnosis, select(diagnosis, focus).threads)) for focus in FOCUSES)
    assert cycle == {100043, 100044, 100045, 100046}
    assert cycle < vm <= every | vm
    assert 100047 in vm
    parts = select(diagnosis, "vm").parts
    assert sorted(parts.values()) == ["core"] * 4 + ["victim"] * 2


def test_mermaid_lines():
    (diagnosis,) = sample("deadlock.ddb.txt")
    lines = as_mermaid([diagnosis], "vm").splitlines()
    assert lines[0] == "flowchart LR"
    node = re.compile(r'    c0t\d+\["[^"\[\]{}<>|]*<br/>[^"\[\]{}<>|]*"\]:::\w+\Z')
    edge = re.compile(r'    c0t\d+ (?:-->|-\.->)\|"[^"|]*"\| c0t\d+\Z')
    for line in lines[1:]:
        assert node.match(line) or edge.match(line) or line.startswith("  classDef "), line


def test_mermaid_text_cannot_end_its_string():
    made = mermaid_quoted(HOSTILE + "\nend\n`{}`")
    assert not set('"[]{}<>|\n`%&\\') & set(made)


def test_several_captures_stand_side_by_side():
    diagnoses = [*sample("deadlock.procstat.txt"), *sample("idle.procstat.txt")]
    assert as_dot(diagnoses).count("subgraph") == 2
    assert as_mermaid(diagnoses).count("subgraph") == 2


@needs_graphviz
def test_a_crowd_is_drawn_as_one():
    crowd = [T(200000 + number, "-", "lock all", 5000 + number, "bhyvectl") for number in range(300)]
    few = [T(300000 + number, "-", "mem_segs", 6000 + number, "bhyvectl") for number in range(8)]
    diagnoses = read_again(procstat([*vcpus("started", "lock one"), *crowd, *few]))
    names = labels(drawn(as_dot(diagnoses, "vm")))
    # those that a condition names stand alone, the others are one
    assert len(names) < 40
    assert any(label.startswith("bhyvectl (tid 2") and "more like it" in label for label in names.values())
    assert sum("(tid 3" in label for label in names.values()) == 8
    assert "more like it" in as_mermaid(diagnoses, "vm")
    (diagnosis,) = diagnoses
    assert len(select(diagnosis, "vm").threads) == 310
