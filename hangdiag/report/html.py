"""The report as one HTML file: no network, no request, nothing from the capture that could run.

What a reader needs stands in the page as text and works without scripts and on paper. The
interactive part (assets/report.js) gets the rest as data, and puts all of it into the page as text.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import zlib
from collections.abc import Sequence
from functools import cache
from importlib.resources import files

from hangdiag import __version__
from hangdiag.findings import Diagnosis, Finding
from hangdiag.report import summary
from hangdiag.report.html_data import page_data
from hangdiag.report.places import escape, numbered
from hangdiag.report.summary_threads import thread_lines
from hangdiag.signature import signature

#: A report must go through as an attachment.
MOST_BYTES = 1_000_000
#: Data larger than this is packed.
_PLAIN_BYTES = 150_000


@cache
def asset(name: str) -> str:
    """A file of ``assets/`` as text."""
    return files("hangdiag.report").joinpath("assets", name).read_text(encoding="utf-8")


def content_hash(text: str) -> str:
    """The source expression that lets a Content-Security-Policy admit exactly ``text``."""
    return "'sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() + "'"


def as_html(
    diagnoses: Sequence[Diagnosis], texts: Sequence[str] = (), notes: Sequence[str] = (), redacted: Sequence[str] = ()
) -> str:
    """The report on the gravest capture. ``texts`` are the sources' own texts, by source number."""
    number = summary.gravest(diagnoses)
    diagnosis = diagnoses[number]
    shell = _page(diagnosis, notes, redacted, numbered(diagnoses, number) if len(diagnoses) > 1 else "")
    room = MOST_BYTES - len(shell.encode("utf-8", "replace"))
    return shell.replace("<!--DATA-->", _data(diagnosis, texts, room), 1)


def _data(diagnosis: Diagnosis, texts: Sequence[str], room: int) -> str:
    """The data element: everything if it fits into ``room`` bytes, else with less of the original text."""
    element = ""
    for detail in ("all", "evidence", "none"):
        data = json.dumps(page_data(diagnosis, texts, detail), separators=(",", ":"))
        if len(data) < min(room, _PLAIN_BYTES):
            # the text of a script element ends at "</": it must not occur
            plain = data.replace("<", "\\u003c")
            return f'<script type="application/json" id="data" data-form="json">{plain}</script>'
        packed = base64.b64encode(zlib.compress(data.encode(), 9)).decode()
        element = f'<script type="text/plain" id="data" data-form="packed">{packed}</script>'
        if len(element) <= room:
            break
    return element


def _text(value: str) -> str:
    return html.escape(escape(value))


def _block(lines: Sequence[str]) -> str:
    return f"<pre>{html.escape(chr(10).join(escape(line) for line in lines))}</pre>"


def _page(diagnosis: Diagnosis, notes: Sequence[str], redacted: Sequence[str], which: str) -> str:
    style, layout, script = asset("report.css"), asset("dagre.min.js"), asset("report.js")
    policy = (
        f"default-src 'none'; script-src {content_hash(layout)} {content_hash(script)}; style-src {content_hash(style)};"
        " img-src data:; base-uri 'none'; form-action 'none'"
    )
    title = _text(summary.title(diagnosis))
    parts = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        '<meta name="referrer" content="no-referrer"><link rel="icon" href="data:,">',
        f'<title>{title}</title><style>{style}</style></head><body>',
        f"<header><h1>{title}</h1>",
        f'<p class="soft">{_text(which)}</p>' if which else "",
        '<p id="failed" role="alert" hidden></p>',
        '<p id="spoken" role="status" class="soft screen-only" aria-live="polite"></p></header><main>',
        *(_finding(diagnosis, finding, number) for number, finding in enumerate(diagnosis.findings[: summary.MOST_FINDINGS])),
        f"<p>{_text(more)}</p>" if (more := summary.more_findings(diagnosis)) is not None else "",
        _list("Other captures", notes),
        _INTERACTIVE,
        _facts(diagnosis),
        _stacks(diagnosis),
        _sources(diagnosis),
        _list("Redacted", redacted),
        f'</main><footer class="soft"><p>Written by hangdiag {__version__}.</p></footer>',
        "<!--DATA-->",
        f"<script>{layout}</script><script>{script}</script></body></html>\n",
    ]
    return "\n".join(part for part in parts if part)


def _finding(diagnosis: Diagnosis, finding: Finding, number: int) -> str:
    parts = [
        f'<section class="finding {html.escape(finding.verdict)}" aria-labelledby="finding{number}">',
        f'<h2 id="finding{number}"><span class="verdict">{_text(summary.heading(finding))}</span>: {_text(finding.summary)}</h2>',
    ]
    if (age := summary.since(diagnosis, finding)) is not None:
        parts.append(f"<p>Since when: {_text(age)}.</p>")
    shown = summary.picture(diagnosis, finding)
    if shown:
        parts.append(_block(shown))
    others = [index for index in finding.threads if finding.cycle and index not in finding.cycle]
    if others:
        parts.append(f"<p>In it as well: {_text(summary.members(diagnosis, others))}</p>")
    if finding.victims:
        parts.append(f"<p>Stuck behind it: {_text(summary.members(diagnosis, finding.victims))}</p>")
    if finding.reasons:
        parts.append("<h3>Why</h3>" + _items(finding.reasons))
    if finding.evidence:
        parts.append(f"<p>Evidence: {_text(summary.evidence(diagnosis, finding))}</p>")
    bug = summary.known_bug(finding)
    if bug:
        parts.append(f"<h3>{finding.bug_title}</h3>" + "".join(f"<p>{_text(paragraph)}</p>" for paragraph in bug))
    if finding.verdict != "no-hang":
        name = signature(diagnosis, finding)
        new = "" if bug else " No known bug has it."
        parts.append(f"<p>Signature: <code>{name.digest}</code> {_text(name.text)}.{new}</p>")
    if finding.next_steps:
        parts.append("<h3>Before rebooting</h3><ul>")
        for item in finding.next_steps:
            lead, command = summary.step(item)
            parts.append(f"<li>{_text(lead)}{'' if command is None else ':' + _block([command])}</li>")
        parts.append("</ul>")
    return "\n".join([*parts, "</section>"])


def _items(items: Sequence[str]) -> str:
    return "<ul>" + "".join(f"<li>{_text(item)}</li>" for item in items) + "</ul>"


def _list(title: str, items: Sequence[str]) -> str:
    return f"<section><h2>{title}</h2>{_items(items)}</section>" if items else ""


_INTERACTIVE = """<div class="screen-only" data-needs-script hidden>
<div class="bar" role="group" aria-label="Filters">
<label>VM <select id="vm"><option value="">all</option></select></label>
<label>Process <select id="process"><option value="">all</option></select></label>
<label>Wait <select id="kind"><option value="">all</option></select></label>
</div></div>
<div class="columns" data-needs-script hidden>
<section aria-labelledby="graph-title"><h2 id="graph-title">Who waits for whom</h2>
<div class="bar screen-only"><label>Show <select id="focus"><option value="cycle">the cycle</option>
<option value="vm" selected>its VM</option><option value="all">all that waits</option></select></label>
<label><input type="checkbox" id="fold" checked> fold victims</label>
<span class="soft">An arrow leads to the thread that must act; dashed: inferred, dotted: one of several.</span></div>
<div id="graph" tabindex="-1"></div></section>
<section id="detail" class="screen-only" aria-label="Selected thread" aria-live="off">
<p class="soft">Select a thread: its stack and its evidence appear here.</p></section>
</div>
<section class="screen-only" data-needs-script hidden aria-labelledby="source-title"><h2 id="source-title">Original text</h2>
<div class="bar"><label>Source <select id="sources"></select></label></div>
<div id="source" class="source" tabindex="0" role="region" aria-label="Original text, evidence marked"></div></section>
<section class="screen-only" data-needs-script hidden aria-labelledby="table-title"><h2 id="table-title">All threads</h2>
<div class="bar"><label>Search <input id="search" type="search" placeholder="name, tid, function"></label>
<span id="count" class="soft" role="status"></span></div>
<div id="table" class="grid" role="grid" aria-labelledby="table-title" aria-colcount="8"></div></section>"""


def _facts(diagnosis: Diagnosis) -> str:
    facts = summary.host_facts(diagnosis)
    return "<section><h2>Host</h2>" + _items([f"{name.strip()}: {value}" for name, value in facts]) + "</section>"


def _stacks(diagnosis: Diagnosis) -> str:
    """The threads concerned whole, all others grouped: for paper, and where no script runs."""
    chosen = summary.relevant(diagnosis)
    rest = [index for index in range(len(diagnosis.capture.threads)) if index not in set(chosen)]
    lines = thread_lines(diagnosis, chosen)
    parts = ["<section><details open><summary><h2>Threads concerned</h2></summary>", _block(lines), "</details>"]
    if rest:
        parts.append("<details><summary><h2>Other threads (equal stacks once)</h2></summary><ul>")
        for title, stack, members in summary.grouped(diagnosis, rest)[:400]:
            names = [
                diagnosis.capture.threads[index].name or diagnosis.capture.threads[index].command or "?" for index in members[:9]
            ]
            more = f" and {len(members) - 9} more" if len(members) > 9 else ""
            parts.append(f"<li>{len(members)} x {_text(title)}: {_text(', '.join(names) + more)}")
            parts.append(f"<br><code>{_text(stack)}</code></li>" if stack else "</li>")
        parts.append("</ul></details>")
    return "\n".join([*parts, "</section>"])


def _sources(diagnosis: Diagnosis) -> str:
    items = []
    for source in diagnosis.capture.sources[:200]:
        digest = f", SHA256 {source.sha256}" if source.sha256 else ""
        items.append(f"{source.path}: {source.format or 'nothing recognised'}, {source.lines} lines{digest}")
    if len(diagnosis.capture.sources) > 200:
        items.append(f"and {len(diagnosis.capture.sources) - 200} more")
    return _list("Read from", items)
