"""Layers that people and tools put around a trace: functions from rows to rows.

A row is a line and the numbers of the first and last line of the plain text that it came from
(0 for a line that the layer itself added), so that a test can tell where things must be found.
"""

from __future__ import annotations

import html
import json
import quopri
import re
import textwrap
from collections.abc import Callable, Iterable

Row = tuple[str, int, int]
Layer = Callable[[list[Row]], list[Row]]


def rows_of(text: str) -> list[Row]:
    """The lines of a plain text."""
    return [(line, number, number) for number, line in enumerate(text.splitlines(), 1)]


def text_of(rows: Iterable[Row]) -> str:
    return "".join(line + "\n" for line, _, _ in rows)


def _each(make: Callable[[str], str]) -> Layer:
    return lambda rows: [(make(line), first, last) for line, first, last in rows]


def _numbered(make: Callable[[int, str], str]) -> Layer:
    return lambda rows: [(make(number, line), first, last) for number, (line, first, last) in enumerate(rows, 1)]


def _cut(cut: Callable[[str], list[str]]) -> Layer:
    return lambda rows: [(part, first, last) for line, first, last in rows for part in cut(line)]


def _between(head: str, tail: str, layer: Layer = list) -> Layer:
    """Lines before and behind, as they are added by a writer or a page."""

    def put(rows: list[Row]) -> list[Row]:
        return [
            *((line, 0, 0) for line in head.splitlines()),
            *layer(rows),
            *((line, 0, 0) for line in tail.splitlines()),
        ]

    return put


def _now_and_then(added: str, every: int) -> Layer:
    """A line of somebody else's between the others."""
    return lambda rows: [
        row
        for number, own in enumerate(rows, 1)
        for row in ([own, (added, 0, 0)] if number % every == 0 else [own])
    ]


def hard_wrap(width: int) -> Layer:
    """As terminals do: at the edge."""

    def cut(line: str) -> list[str]:
        line = line.rstrip()
        return [line[begin : begin + width] for begin in range(0, max(len(line), 1), width)]

    return _cut(cut)


def fold(width: int) -> Layer:
    """As mailers do: at the last blank before ``width``."""
    return _cut(lambda line: textwrap.wrap(line, width, break_long_words=False, break_on_hyphens=False) or [""])


def _quoted_printable(rows: list[Row]) -> list[Row]:
    return _cut(lambda line: quopri.encodestring(line.encode()).decode().split("\n"))(rows)


def _flowed(rows: list[Row]) -> list[Row]:
    """``format=flowed`` (RFC 3676): broken behind a blank, which stays; a blank before what begins with one or with a quote."""

    def cut(line: str) -> list[str]:
        line = line.rstrip()
        parts = []
        while len(line) > 72:
            end = line.rfind(" ", 0, 72) + 1
            if not line[:end].strip():
                end = line.find(" ", 72) + 1 or len(line)
            parts.append(line[:end])
            line = line[end:]
        parts.append(line)
        return [" " * part.startswith((" ", ">", "From ")) + part for part in parts]

    return _cut(cut)(rows)


def _continued(rows: list[Row]) -> list[Row]:
    """Broken behind a backslash, as Emacs does at its edge."""

    def cut(line: str) -> list[str]:
        parts = [line[begin : begin + 78] for begin in range(0, max(len(line), 1), 78)]
        return [*(part + "\\" for part in parts[:-1]), parts[-1]]

    return _cut(cut)(rows)


def _broken(line: str, width: int, taken: str) -> list[str]:
    """``line`` broken at the last blank within ``width``, which stays at the end; Bugzilla's Text::Wrap takes it."""
    line = line.rstrip() + " " * (line.endswith(" ") and not taken)  # procstat's rows end in one
    parts = []
    while len(line) > width:
        end = line.rfind(" ", 0, width + len(taken)) + 1
        if not line[:end].strip():
            end = line.find(" ", width) + 1 or len(line)
        parts.append(line[: end - len(taken)])
        line = line[end:]
    return [*parts, line]


def _unexpanded(line: str) -> str:
    """Two blanks and more before a tab stop as a tab."""
    stops = [line[begin : begin + 8] for begin in range(0, len(line), 8)]
    return "".join(stop.rstrip(" ") + "\t" if len(stop) == 8 and stop.endswith("  ") else stop for stop in stops)


def _lost_newlines(rows: list[Row]) -> list[Row]:
    """Every second line end between two ddb frames is lost."""
    made: list[Row] = []
    lost = False
    for line, first, last in rows:
        before = made[-1] if made else ("", 0, 0)
        lost = not lost and re.search(r"/frame 0x[0-9a-f]{16}\Z", before[0]) is not None and "() at " in line
        if lost:
            made[-1] = (before[0] + line, before[1], last)
        else:
            made.append((line, first, last))
    return made


def _literal(rows: list[Row]) -> list[Row]:
    return [("\\n".join(line for line, _, _ in rows), 1, max((last for _, _, last in rows), default=1))]


def _spans(rows: list[Row]) -> list[Row]:
    return _each(lambda line: '<span class="line">' + html.escape(line) + "</span>")(rows)


def _pretty_json(rows: list[Row]) -> list[Row]:
    """Each line as a value of a record of its own, over several lines."""
    return [
        row
        for line, first, last in rows
        for row in (("  {", 0, 0), (f'    "line": {json.dumps(line)},', first, last), ('    "job": "console"', 0, 0), ("  },", 0, 0))
    ]


_escaped = _each(html.escape)

LAYERS: dict[str, Layer] = {
    "mail quote": _each(lambda line: "> " + line),
    "mail quote without blank": _each(lambda line: ">" + line),
    "quote of a quote": _each(lambda line: "> > " + line),
    "tight quote of a quote": _each(lambda line: ">> " + line),
    "reply": _between(
        "On Mon, 23 Nov 2026 at 04:42, Some Body <somebody@example.org> wrote:\n",
        "\nCan you try with hw.vmm.halt_detection=0?\n",
        _each(lambda line: ("> " + line).rstrip()),
    ),
    "hash comment": _each(lambda line: "# " + line),
    "slash comment": _each(lambda line: "// " + line),
    "C comment": _between("/*\n", " */\n", _each(lambda line: " * " + line)),
    "semicolon comment": _each(lambda line: "; " + line),
    "fence": _between("It hangs:\n\n```\n", "```\n\nAny idea?\n"),
    "fence with language": _between("~~~text\n", "~~~\n"),
    "fence in a list": _between("1. It hangs\n2. The stacks:\n   ```\n", "   ```\n", _each(lambda line: "   " + line)),
    "indent 4": _each(lambda line: "    " + line if line.strip() else ""),
    "indent 2": _between("The stacks::\n\n", "", _each(lambda line: "  " + line if line.strip() else "")),
    "tab": _each(lambda line: "\t" + line),
    "unexpand -a": _each(_unexpanded),
    "box": _each(lambda line: f"| {line} |"),
    "wiki": _each(lambda line: f"|| {line} ||"),
    "quoted and indented": _each(lambda line: ">     " + line),
    "html pre": _between("<html><body><p>hangs</p>\n<pre>", "</pre></body></html>\n", _escaped),
    "html br": _each(lambda line: html.escape(line).replace(" ", "&nbsp;") + "<br>"),
    "html span": _spans,
    "Outlook": _each(
        lambda line: '<p class="MsoNormal"><span style="font-family:Consolas">'
        + html.escape(line).replace("  ", "&nbsp; ")
        + "<o:p></o:p></span></p>"
    ),
    "bugzilla": _between(
        '<div class="bz_comment_head"><span class="bz_comment_number">\n<a href="#c3">Comment 3</a></span></div>\n'
        '<pre class="bz_comment_text" id="comment_text_3">\n',
        "</pre>\n</div>\n",
        _escaped,
    ),
    "mail archive": _between(
        "<HTML><HEAD><TITLE> bhyve hangs </TITLE></HEAD>\n<BODY BGCOLOR=\"#ffffff\">\n<!--beginarticle-->\n<PRE>\n",
        "</PRE>\n<!--endarticle-->\n",
        _each(lambda line: "&gt;<i> " + html.escape(line)),
    ),
    "quoted-printable": _quoted_printable,
    "quoted-printable in a quote": lambda rows: _each(lambda line: "> " + line)(_quoted_printable(rows)),
    "flowed": _flowed,
    "backslashes": _continued,
    "diff": _between("--- /dev/null\n+++ b/hang.txt\n@@ -0,0 +1,400 @@\n", "", _each(lambda line: "+" + line)),
    "chat": _each(lambda line: "[04:42] <some_body> " + line),
    "weechat": _each(lambda line: "04:42:01 some_body | " + line),
    "grep of files": _each(lambda line: "host1/core.txt.3:" + line),
    "cat -n": _numbered(lambda number, line: f"{number:6d}\t{line}"),
    "grep -n": _numbered(lambda number, line: f"{number}:{line}"),
    "less -N": _numbered(lambda number, line: f"{number:7d} {line}"),
    "syslog": _each(lambda line: "Nov 23 04:42:01 host kernel: " + line),
    "syslog with priority": _each(lambda line: "<118>Nov 23 04:42:01 host kernel: " + line),
    "console priority": _each(lambda line: "<118>" + line),
    "syslog with facility": _each(lambda line: "Nov 23 04:42:01 <kern.crit> host kernel: " + line),
    "syslog with numbers": _each(lambda line: "Nov 23 04:42:01 <0.2> host kernel: " + line),
    "forwarded syslog": _each(lambda line: "Nov 23 04:42:01 loghost Forwarded from host: kernel: " + line),
    "journal": _each(lambda line: "2026-11-23T04:42:01.123456+00:00 host kernel: " + line),
    "RFC 5424": _each(lambda line: "<2>1 2026-11-23T04:42:01.123456+00:00 host kernel - - - " + line),
    "uptime": _numbered(lambda number, line: f"[{number * 0.013:12.6f}] {line}"),
    "uptime in seconds": _numbered(lambda number, line: f"[{80 + number // 100}] {line}"),
    "grabserial": _numbered(lambda number, line: f"[{number * 0.013:.6f} 0.013000] {line}"),
    "clock": _each(lambda line: "[2026-11-23 04:42:01.123] " + line),
    "conserver": _each(lambda line: "[Mon Nov 23 04:42:01 2026]" + line),
    "short clock": _each(lambda line: "[04:42:01] " + line),
    "bare clock": _each(lambda line: "04:42:01.123 " + line),
    "ts": _each(lambda line: "Nov 23 04:42:01 " + line),
    "ts -s": _numbered(lambda number, line: f"{number * 0.013:.6f} {line}"),
    "ISO clock": _each(lambda line: "2026-11-23T04:42:01.1234567Z " + line),
    "capture tag": _each(lambda line: "[cap 15:03:21] " + line),
    "marks of a console server": _now_and_then("[-- MARK -- Mon Nov 23 04:42:01 2026]", 40),
    "JSON log": _each(
        lambda line: json.dumps({"log": line + "\r\n", "stream": "stdout"}).replace("<", "\\u003c").replace(">", "\\u003e")
    ),
    "CR LF": _each(lambda line: line + "\r"),
    "CR CR LF": _each(lambda line: line + "\r\r"),
    "mixed ends": _numbered(lambda number, line: line + ("\r" if number % 3 else "")),
    "NUL": _numbered(lambda number, line: ("\0" if number % 5 == 0 else "") + line),
    "ANSI": _each(lambda line: "\x1b[0;32m" + line + "\x1b[0m\x1b[K"),
    "no-break blanks": _each(lambda line: line.replace("  ", "\u00a0 ").replace(" at ", "\u00a0at\u00a0")),
    "curly quotes": _each(lambda line: re.sub(r'"([^"\n]*)"', "“\\1”", line)),
    "blanks collapsed": _each(lambda line: " ".join(line.split())),
    "filled up to 80": _each(lambda line: line.ljust(80)),
    "trailing blanks": _each(lambda line: line + "   "),
    "blank lines": lambda rows: [row for own in rows for row in (own, ("", 0, 0))],
    "pager": _numbered(lambda number, line: ("--More--\r        \r" if number % 24 == 0 else "") + line),
    "literal line ends": _literal,
    "wrapped at 80": hard_wrap(80),
    "wrapped at 132": hard_wrap(132),
    "CR behind a logger's clock": _each(lambda line: "[04:42:01.123] \r" + line),
    "numbers between": lambda rows: [row for number, own in enumerate(rows, 1) for row in ((f"{number}.", 0, 0), own)],
    "wrapped at 100 by tmux": lambda rows: _each(str.rstrip)(hard_wrap(100)(rows)),
    "folded at 65": fold(65),
    "folded at 72": fold(72),
    "folded at 76": fold(76),
    "folded and quoted": lambda rows: _each(lambda line: "> " + line)(fold(74)(rows)),
    "byte order mark": lambda rows: [("\ufeff" + rows[0][0], *rows[0][1:]), *rows[1:]],
    "lost newlines": _lost_newlines,
    "backticks": _each(lambda line: "`" + line + "`" if line.strip() else ""),
    "form feeds": _numbered(lambda number, line: ("\f" if number % 60 == 0 else "") + line),
}

#: What differs little from one of those: tested on fewer samples.
VARIANTS: dict[str, Layer] = {
    "quoted-printable, indented": lambda rows: _each(lambda line: "    " + line)(_quoted_printable(rows)),
    "flowed in a quote": lambda rows: _each(lambda line: ">" + " " * (line[:1] != ">") + line)(_flowed(rows)),
    "backslashes in a quote": lambda rows: _each(lambda line: "> " + line)(_continued(rows)),
    "chat without a time": _each(lambda line: "<@some_body> " + line),
    "wide box": _each(lambda line: f"| {line:<120} |"),
    "folded at 80 and at 72": lambda rows: fold(72)(fold(80)(rows)),
    "fold -s": _cut(lambda line: _broken(line, 80, "")),
    "logged and folded": lambda rows: fold(72)(_each(lambda line: "Nov 23 04:42:01 host kernel: " + line)(rows)),
    "numbered, logged and folded": lambda rows: fold(76)(
        LAYERS["less -N"](_each(lambda line: "Nov 23 04:42:01 host kernel: " + line)(rows))
    ),
    "weechat in bars": _each(lambda line: "| 04:42:01 some_body | " + line),
    "logged, in Bugzilla": lambda rows: _cut(lambda line: _broken(line, 79, " "))(
        _each(lambda line: "Nov 23 04:42:01 host kernel: " + line)(rows)
    ),
    "wrapped, quoted without blank": lambda rows: _each(lambda line: (">" + line).rstrip())(hard_wrap(80)(rows)),
    "numbered between, wrapped": lambda rows: hard_wrap(80)(LAYERS["numbers between"](rows)),
    "numbered as a list": _numbered(lambda number, line: f"{number:3d}. {line}"),
    "Outlook, folded": lambda rows: fold(76)(LAYERS["Outlook"](rows)),
    "cells of a page": _numbered(lambda number, line: f'<tr><td class="num">{number}</td><td class="code">{html.escape(line)}</td></tr>'),
    "CR in a box": _each(lambda line: f"| {line}\r |"),
    "CR in a tag": _each(lambda line: f"<span>\r{html.escape(line)}</span>"),
    "pretty JSON": _pretty_json,
    "list of strings": lambda rows: [(json.dumps([line for line, _, _ in rows]), 1, rows[-1][2])],
    "strings of a program": _each(lambda line: "    " + repr(line + "\n")),
    "bytes of a program": _each(lambda line: repr(line.encode())),
    "level": _each(lambda line: "INFO:console:" + line),
    "logfmt": _each(lambda line: f"ts=2026-11-23T04:42:01Z level=info msg={json.dumps(line)}"),
    "CSV": _each(lambda line: '"2026-11-23T04:42:01.123Z","{}","host"'.format(line.replace('"', '""'))),
    "TSV": _each(lambda line: f"2026-11-23 04:42:01\thost\t{line}"),
    "log of a container": _each(lambda line: "2026-11-23T04:42:01.123456789Z stdout F " + line),
    "labels": _each(lambda line: '2026-11-23T04:42:01Z {host="host", job="console"} ' + line),
    "cat -A": _each(lambda line: line.replace("\t", "^I") + "^M$"),
    "escaped signs": _each(lambda line: re.sub(r"([_*<>#\[\]`+~])", r"\\\1", line)),
    "hard breaks": _each(lambda line: line + "\\"),
    "bold": _each(lambda line: f"**{line}**" if line else ""),
    "BBCode": _each(lambda line: f"[SIZE=2][I]{line}[/I][/SIZE]"),
    "box of lines": _each(lambda line: f"│ {line:<120} │"),
    "wide letters": _each(lambda line: line.translate({code: 0xFEE0 + code for code in range(0x21, 0x7F)})),
    "long dashes": _each(lambda line: line.replace("---", "\u2014")),
}


def places(rows: list[Row]) -> dict[int, tuple[int, int]]:
    """For each line of the plain text, the first and last line that it is found on now."""
    found: dict[int, tuple[int, int]] = {}
    for number, (_, first, last) in enumerate(rows, 1):
        for plain in range(first, last + 1) if first else ():
            found[plain] = (found.get(plain, (number, 0))[0], number)
    return found



_BEFORE = """Hi,

I've been seeing this hang on a couple of hosts since we moved to 13.1; the guest
stops responding and "bhyvectl --destroy" never returns. A reboot of the host is the
only way out. See https://example.org/archives/virtualization/2022-October/000123456789.html, and below.

Here is what the threads do at the moment it hangs:

"""
_BEHIND = """
Thanks for any hints; I can keep the machine in this state for a day or two, and
have a serial console (115200 8n1) connected, so ddb is possible as well.

--
Some Body
"""


def embed(rows: list[Row]) -> list[Row]:
    """Between paragraphs of prose, as in a mail."""
    return _between(_BEFORE, _BEHIND)(rows)
