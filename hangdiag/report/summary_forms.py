"""From what the user named to a bug report in any of its forms: read, diagnose, redact, write.

The command line and the web page both come here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from hangdiag.findings import Diagnosis

#: Forms of a bug report.
FORMS = ("bugzilla", "markdown", "html", "json")


def write_report(
    diagnoses: Sequence[Diagnosis], form: str, texts: Sequence[str] = (), redact: bool = True, redact_addresses: bool = False
) -> str:
    """The report on ``diagnoses`` in one of :data:`FORMS`; ``texts`` are the sources' own, by number."""
    from hangdiag.compare import compare
    from hangdiag.redact import plan_redaction, redact_diagnosis
    from hangdiag.report.bugzilla import as_bugzilla
    from hangdiag.report.summary_compare import notes

    diagnoses = _with_hosts(with_threads(diagnoses))
    plan = None
    if redact or redact_addresses:
        plan = plan_redaction(diagnoses, texts, redact_addresses)
        if not redact:
            plan = plan.addresses_only()
        diagnoses = [redact_diagnosis(one, plan) for one in diagnoses]
        texts = [plan.text(text) for text in texts]
    if form == "json":
        from hangdiag.report.json import as_json

        return as_json(diagnoses)
    said = notes(compare(diagnoses)) if len(diagnoses) > 1 else []
    footnotes: Sequence[str] = ()
    if plan is not None:
        # only what stands for something in this report is named in its footnote
        footnotes = plan.footnotes("\n".join((*texts, as_bugzilla(diagnoses, said))))
    if form == "html":
        from hangdiag.report.html import as_html

        return as_html(diagnoses, texts, said, footnotes)
    if form == "markdown":
        from hangdiag.report.markdown import as_markdown

        return as_markdown(diagnoses, said, footnotes)
    return as_bugzilla(diagnoses, said, footnotes)


def with_threads(diagnoses: Sequence[Diagnosis]) -> list[Diagnosis]:
    """Without captures that hold no thread (a dmesg behind the last one, say), unless all are such."""
    return [one for one in diagnoses if one.capture.threads] or list(diagnoses)


def _with_hosts(diagnoses: Sequence[Diagnosis]) -> list[Diagnosis]:
    """What one capture tells of the host holds for the others of the same host."""
    from hangdiag.compare import is_same_host

    told = next((one for one in diagnoses if one.capture.host.release is not None), None)
    if told is None:
        return list(diagnoses)
    made = []
    for one in diagnoses:
        if one.capture.host.release is None and is_same_host(told, one):
            capture = replace(one.capture, host=told.capture.host)
            one = replace(one, scene=replace(one.scene, capture=capture))
        made.append(one)
    return made


def diagnose_paths(
    paths: Sequence[str], standard_input: BinaryIO | None = None, rules: Sequence[Path] = ()
) -> list[Diagnosis]:
    """Read files (``-``: ``standard_input``) and diagnose every capture in them. Raises HangdiagError."""
    from hangdiag.diagnosis import diagnose_all
    from hangdiag.knowledge import load_knowledge
    from hangdiag.readers.files import read_paths

    return list(diagnose_all(read_paths(paths, standard_input), load_knowledge(rules)))


def source_texts(
    paths: Sequence[str], standard_input: BinaryIO | None, diagnoses: Sequence[Diagnosis]
) -> list[str]:
    """The text of every source, by number; empty where it was no text. ``standard_input`` is read again."""
    from hangdiag.containers import Limits, decode, open_items
    from hangdiag.containers.decode import describe_binary

    if standard_input is not None:
        standard_input.seek(0)
    found: dict[tuple[str, str | None], str] = {}
    for path in paths:
        for item in open_items(path, standard_input, Limits()):
            binary = not item.head or describe_binary(item.head) is not None
            found.setdefault((item.path, item.container), "" if binary else decode(b"".join(item.chunks([])))[0])
    return [found.get((source.path, source.container), "") for source in diagnoses[0].capture.sources]
