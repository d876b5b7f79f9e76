"""What the page runs, in the browser (Pyodide) or on loopback: bytes in, HTML report out."""

from __future__ import annotations

import io
from dataclasses import replace

from hangdiag.errors import HangdiagError
from hangdiag.findings import Diagnosis
from hangdiag.report.summary_forms import diagnose_paths, source_texts, write_report


def html_report(data: bytes, name: str = "pasted text", redact: bool = True) -> str:
    """The HTML report on ``data`` (a text, or an archive of texts). Raises HangdiagError."""
    return write_report(*_read(data, name), redact=redact)


def _read(data: bytes, name: str) -> tuple[list[Diagnosis], str, list[str]]:
    stream = io.BytesIO(data)
    diagnoses = diagnose_paths(["-"], stream)
    texts = source_texts(["-"], stream, diagnoses)
    named = []
    for diagnosis in diagnoses:
        capture = diagnosis.capture
        sources = tuple([replace(source, path=name) if source.path == "-" else source for source in capture.sources])
        scene = replace(diagnosis.scene, capture=replace(capture, sources=sources))
        named.append(replace(diagnosis, scene=scene))
    return named, "html", texts


def answer(data: object, name: str = "pasted text", redact: bool = True) -> tuple[bool, str]:
    """For the page: (True, HTML report), or (False, one line that says what is wrong).

    ``data`` is bytes, or what Pyodide hands over for a Uint8Array.
    """
    copy = getattr(data, "to_bytes", None)
    try:
        return True, html_report(copy() if callable(copy) else bytes(data), name, redact)  # type: ignore[call-overload]
    except HangdiagError as error:
        return False, str(error)
