"""What the interactive part of the HTML report is given: threads, edges and the original text as plain data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hangdiag import wording
from hangdiag.findings import Diagnosis
from hangdiag.report import summary, summary_graph

#: A thread's values, in this order; names among them are numbers in ``words``.
FIELDS = (
    "pid", "tid", "cpu", "wchan", "stack", "source", "first", "last",
    "command", "label", "vm", "kind", "wmesg", "state", "what", "part",
)  # fmt: skip
#: Lines shown around evidence where the whole text has no room.
_AROUND = 3


class _Words:
    """Each distinct string once."""

    def __init__(self) -> None:
        self.numbers: dict[str, int] = {}

    def number(self, text: str | None) -> int | None:
        if text is None:
            return None
        return self.numbers.setdefault(text, len(self.numbers))


def page_data(diagnosis: Diagnosis, texts: Sequence[str], detail: str = "all") -> dict[str, Any]:
    """The data of assets/report.js. ``detail``: all of the text, only lines around ``evidence``, or ``none``."""
    words = _Words()
    stacks: dict[tuple[int | None, ...], int] = {}
    parts = _parts(diagnosis)
    threads = [_thread(diagnosis, index, words, stacks, parts) for index in range(len(diagnosis.capture.threads))]
    several = summary_graph.choices(diagnosis)
    gravest = diagnosis.findings[0]
    begin = next(iter((*gravest.cycle, *gravest.threads, *gravest.causes)), None)
    return {
        "fields": FIELDS,
        "words": list(words.numbers),
        "stacks": [list(stack) for stack in stacks],
        "threads": threads,
        "resources": [resource.label for resource in diagnosis.resources],
        "edges": [
            [edge.waiter, edge.holder, edge.resource, edge.mode, edge.certainty, edge.waiter in several, edge.evidence]
            for edge in diagnosis.edges
        ],
        "cycle": gravest.cycle,
        "focuses": {focus: summary_graph.select(diagnosis, focus).threads for focus in summary_graph.FOCUSES},
        "begin": begin,
        "sources": [
            {"path": source.path, "text": _excerpt(diagnosis, number, texts, detail)}
            for number, source in enumerate(diagnosis.capture.sources)
        ],
    }


def _parts(diagnosis: Diagnosis) -> dict[int, str]:
    concerned = {
        index for finding in diagnosis.findings for index in (*finding.threads, *finding.causes, *finding.victims)
    }
    return {index: summary_graph.part(diagnosis, index) for index in concerned}


def _thread(
    diagnosis: Diagnosis, index: int, words: _Words, stacks: dict[tuple[int | None, ...], int], parts: dict[int, str]
) -> list[Any]:
    thread = diagnosis.capture.threads[index]
    wait = diagnosis.waits[index]
    machine = diagnosis.scene.machine_of.get(index)
    stack = tuple([words.number(_frame(frame)) for frame in thread.frames])
    places = diagnosis.scene.thread_where(index)
    where = places[0] if places else None
    command = thread.command or thread.name
    return [
        thread.pid,
        thread.tid,
        thread.cpu,
        None if thread.wchan is None else f"{thread.wchan:#x}",
        stacks.setdefault(stack, len(stacks)),
        *(where if where is not None else (None, None, None)),
        words.number(command),
        words.number(wording.name(diagnosis.scene, index)),
        words.number(None if machine is None else machine.label),
        words.number(wait.kind),
        words.number(thread.wmesg if thread.lock is None else thread.lock),
        words.number(thread.state),
        words.number(diagnosis.activities.get(index, wait.title)),
        words.number(parts.get(index, "other")),
    ]


def _frame(frame: Any) -> str:
    """A frame as one line: function, offset, module, arguments, source line."""
    text = f"{frame.module}`{frame.function}" if frame.module else str(frame.function)
    if frame.offset is not None:
        text += f"+{frame.offset:#x}"
    if frame.args:
        text += " (" + ", ".join(f"{name}={value}" for name, value in frame.args) + ")"
    if frame.file is not None:
        text += f" at {frame.file}:{frame.line}"
    return text


def _excerpt(diagnosis: Diagnosis, number: int, texts: Sequence[str], detail: str) -> str | None:
    """The text of a source, lines counted as the evidence counts them; None where it is not shown."""
    if detail == "none" or number >= len(texts) or not texts[number]:
        return None
    text = texts[number].replace("\r\n", "\n")
    if detail == "all":
        return text
    lines = text.split("\n")
    keep: set[int] = set()
    for index in summary.relevant(diagnosis):
        for where in diagnosis.scene.thread_where(index):
            if where.source == number:
                keep.update(range(where.first - _AROUND, where.last + _AROUND + 1))
    return "\n".join(line if place in keep else "\u2026" for place, line in enumerate(lines, 1))
