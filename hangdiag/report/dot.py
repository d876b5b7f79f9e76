"""The waits-for graph in Graphviz' DOT: an arrow leads from a thread to the one that must act."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from hangdiag.findings import Diagnosis
from hangdiag.report import summary_graph
from hangdiag.report.places import escape

_NODE = {
    "core": 'fillcolor="#f8d0d0", color="#a00000", penwidth=2',
    "waiting": 'fillcolor="#fbe8c8", color="#905800"',
    "cause": 'fillcolor="#f8d0d0", color="#905800"',
    "victim": 'fillcolor="#eeeeee", color="#606060", style="filled,rounded,dashed"',
    "other": 'fillcolor="#ffffff", color="#606060"',
}
_LEGEND = "An arrow leads to the thread that must act; solid: observed, dashed: inferred, dotted: one of several"
_EDGE = {"observed": "solid", "inferred": "dashed", "possible": "dotted"}


def as_dot(diagnoses: Sequence[Diagnosis], focus: str = "vm") -> str:
    """One digraph with a cluster for each capture."""
    out = [
        "digraph waits_for {",
        "  rankdir=LR;",
        '  node [shape=box, style="filled,rounded", fontname="Helvetica", fontsize=11];',
        '  edge [fontname="Helvetica", fontsize=9];',
        f"  label={quoted(_LEGEND)};",
        "  fontsize=9;",
    ]
    for number, diagnosis in enumerate(diagnoses):
        inner = _capture(diagnosis, focus, number)
        if len(diagnoses) > 1:
            out += [f"  subgraph cluster_{number} {{", f"    label={quoted(f'capture {number + 1}')};", *inner, "  }"]
        else:
            out += inner
    return "\n".join([*out, "}"]) + "\n"


def _capture(diagnosis: Diagnosis, focus: str, number: int) -> list[str]:
    picture = summary_graph.without_crowds(diagnosis, summary_graph.select(diagnosis, focus))
    cycle = diagnosis.findings[0].cycle
    steps = set(itertools.pairwise(cycle))
    out = [
        f"    c{number}t{index} [label={quoted(*summary_graph.lines(diagnosis, picture, index))}, {_NODE[picture.parts[index]]}];"
        for index in picture.threads
    ]
    for edge in picture.edges:
        style = [f"label={quoted(summary_graph.edge_text(diagnosis, picture, edge))}", f"style={_EDGE[edge.certainty]}"]
        if (edge.waiter, edge.holder) in steps:
            style.append('color="#a00000", penwidth=2')
        out.append(f"    c{number}t{edge.waiter} -> c{number}t{edge.holder} [{', '.join(style)}];")
    return out


def quoted(*lines: str) -> str:
    """A DOT string of these lines: no character of theirs means anything to Graphviz."""
    escaped = [escape(line).replace("\\", "\\\\").replace('"', '\\"') for line in lines]
    # a number sign or ampersand would begin an HTML entity
    return '"' + "\\n".join(line.replace("&", "&amp;") for line in escaped) + '"'
