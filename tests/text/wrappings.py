"""Layers that people and tools put around a trace, as functions from text to text."""

from __future__ import annotations

import html
import quopri
import re
import textwrap
from collections.abc import Callable


def _each(make: Callable[[str], str]) -> Callable[[str], str]:
    return lambda text: "".join(make(line) + "\n" for line in text.splitlines())


def _numbered(make: Callable[[int, str], str]) -> Callable[[str], str]:
    return lambda text: "".join(make(number, line) + "\n" for number, line in enumerate(text.splitlines(), 1))


def _hard_wrap(width: int) -> Callable[[str], str]:
    def wrap(text: str) -> str:
        lines = []
        for line in text.splitlines():
            line = line.rstrip()
            lines.extend(line[begin : begin + width] for begin in range(0, max(len(line), 1), width))
        return "\n".join(lines) + "\n"

    return wrap


def _fold(width: int) -> Callable[[str], str]:
    """As mailers do: at the last blank before ``width``."""

    def fold(text: str) -> str:
        lines = []
        for line in text.splitlines():
            folded = textwrap.wrap(line, width, break_long_words=False, break_on_hyphens=False)
            lines.extend(folded or [""])
        return "\n".join(lines) + "\n"

    return fold


def _quoted_printable(text: str) -> str:
    return quopri.encodestring(text.encode()).decode()


def _lost_newlines(text: str) -> str:
    """Every second line end between two ddb frames is lost."""
    return re.sub(r"(/frame 0x[0-9a-f]{16})\n(\w+\(\) at .*\n)", r"\1\2", text)


LAYERS: dict[str, Callable[[str], str]] = {
    "mail quote": _each(lambda line: "> " + line),
    "mail quote without blank": _each(lambda line: ">" + line),
    "quote of a quote": _each(lambda line: "> > " + line),
    "tight quote of a quote": _each(lambda line: ">> " + line),
    "hash comment": _each(lambda line: "# " + line),
    "slash comment": _each(lambda line: "// " + line),
    "C comment": lambda text: "/*\n" + _each(lambda line: " * " + line)(text) + " */\n",
    "fence": lambda text: "It hangs:\n\n```\n" + text + "```\n\nAny idea?\n",
    "fence with language": lambda text: "~~~text\n" + text + "~~~\n",
    "indent 4": _each(lambda line: "    " + line if line.strip() else ""),
    "indent 2": lambda text: "The stacks::\n\n" + _each(lambda line: "  " + line if line.strip() else "")(text),
    "tab": _each(lambda line: "\t" + line),
    "quoted and indented": _each(lambda line: ">     " + line),
    "html pre": lambda text: "<html><body><p>hangs</p>\n<pre>" + html.escape(text) + "</pre></body></html>\n",
    "html br": lambda text: html.escape(text).replace("\n", "<br>\n").replace(" ", "&nbsp;"),
    "html span": _each(lambda line: '<span class="line">' + html.escape(line) + "</span>"),
    "quoted-printable": _quoted_printable,
    "cat -n": _numbered(lambda number, line: f"{number:6d}\t{line}"),
    "grep -n": _numbered(lambda number, line: f"{number}:{line}"),
    "syslog": _each(lambda line: "Nov 23 04:42:01 host kernel: " + line),
    "syslog with priority": _each(lambda line: "<118>Nov 23 04:42:01 host kernel: " + line),
    "console priority": _each(lambda line: "<118>" + line),
    "journal": _each(lambda line: "2026-11-23T04:42:01.123456+00:00 host kernel: " + line),
    "uptime": _numbered(lambda number, line: f"[{number * 0.013:12.6f}] {line}"),
    "uptime in seconds": _numbered(lambda number, line: f"[{80 + number // 100}] {line}"),
    "clock": _each(lambda line: "[2026-11-23 04:42:01.123] " + line),
    "short clock": _each(lambda line: "[04:42:01] " + line),
    "bare clock": _each(lambda line: "04:42:01.123 " + line),
    "capture tag": _each(lambda line: "[cap 15:03:21] " + line),
    "CR LF": _each(lambda line: line + "\r"),
    "CR CR LF": _each(lambda line: line + "\r\r"),
    "mixed ends": _numbered(lambda number, line: line + ("\r" if number % 3 else "")),
    "NUL": _numbered(lambda number, line: ("\0" if number % 5 == 0 else "") + line),
    "ANSI": _each(lambda line: "\x1b[0;32m" + line + "\x1b[0m\x1b[K"),
    "no-break blanks": lambda text: text.replace("  ", "\u00a0 ").replace(" at ", "\u00a0at\u00a0"),
    "curly quotes": lambda text: re.sub(r'"([^"\n]*)"', "“\\1”", text),
    "trailing blanks": _each(lambda line: line + "   "),
    "blank lines": _each(lambda line: line + "\n"),
    "pager": _numbered(
        lambda number, line: ("--More--\r        \r" if number % 24 == 0 else "") + line
    ),
    "literal line ends": lambda text: text.replace("\n", "\\n"),
    "wrapped at 80": _hard_wrap(80),
    "wrapped at 132": _hard_wrap(132),
    "folded at 72": _fold(72),
    "folded at 76": _fold(76),
    "folded and quoted": lambda text: _each(lambda line: "> " + line)(_fold(74)(text)),
    "byte order mark": lambda text: "\ufeff" + text,
    "lost newlines": _lost_newlines,
    "backticks": _each(lambda line: "`" + line + "`" if line.strip() else ""),
    "form feeds": _numbered(lambda number, line: ("\f" if number % 60 == 0 else "") + line),
}
