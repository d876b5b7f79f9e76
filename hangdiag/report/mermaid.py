"""The waits-for graph in Mermaid, which issue trackers draw by themselves."""

from __future__ import annotations

from collections.abc import Sequence

from hangdiag.findings import Diagnosis
from hangdiag.report import summary_graph
from hangdiag.report.places import escape

_CLASSES = {
    "core": "fill:#f8d0d0,stroke:#a00000,stroke-width:2px,color:#000000",
    "waiting": "fill:#fbe8c8,stroke:#905800,color:#000000",
    "cause": "fill:#f8d0d0,stroke:#905800,color:#000000",
    "victim": "fill:#eeeeee,stroke:#606060,color:#000000,stroke-dasharray:4",
    "other": "fill:#ffffff,stroke:#606060,color:#000000",
}
_ARROW = {"observed": "-->", "inferred": "-.->", "possible": "-.->"}
#: ASCII letters that mean nothing to Mermaid inside a string; the others are shown in their wide form, since
#: what draws the picture does not always put its own entities (#60;) back.
_SAFE = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 .,:/()+-_=*'")


def as_mermaid(diagnoses: Sequence[Diagnosis], focus: str = "vm") -> str:
    """One flowchart with a subgraph for each capture."""
    out = ["flowchart LR"]
    used: set[str] = set()
    for number, diagnosis in enumerate(diagnoses):
        picture = summary_graph.without_crowds(diagnosis, summary_graph.select(diagnosis, focus))
        if len(diagnoses) > 1:
            out.append(f'  subgraph capture{number + 1} ["capture {number + 1}"]')
        for index in picture.threads:
            label = "<br/>".join(quoted(line) for line in summary_graph.lines(diagnosis, picture, index))
            out.append(f'    c{number}t{index}["{label}"]:::{picture.parts[index]}')
            used.add(picture.parts[index])
        if len(diagnoses) > 1:
            out.append("  end")
        out += [
            f"    c{number}t{edge.waiter} {_ARROW[edge.certainty]}"
            f'|"{quoted(summary_graph.edge_text(diagnosis, picture, edge))}"| c{number}t{edge.holder}'
            for edge in picture.edges
        ]
    out += [f"  classDef {name} {style}" for name, style in _CLASSES.items() if name in used]
    return "\n".join(out) + "\n"


def quoted(text: str) -> str:
    """Text that Mermaid and the page around it take for text: ``<`` becomes U+FF1C, and so on."""
    return "".join(
        letter if letter in _SAFE or not letter.isascii() else chr(ord(letter) + 0xFEE0) for letter in escape(text)
    )
