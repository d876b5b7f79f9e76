"""What mailers, loggers, editors and people put before each line, as expressions."""

from __future__ import annotations

import re
from functools import cache

from hangdiag.text.marks import LEVELS

_TIME = r"\d\d:\d\d:\d\d(?:[.,]\d{1,9})?"
_DATE = r"\d{4}[-/]\d\d[-/]\d\d"
_SYSLOG_DATE = rf"(?:[A-Z][a-z]{{2}} [ \d]?\d {_TIME}(?: (?:19|20)\d\d(?!\d))?|{_DATE}[T ]{_TIME}(?: ?Z| ?[+-]\d\d:?\d\d)?)"
# of a VM, a thread or a CPU, a program's messages: no host
_NO_HOST = r"(?i:(?:v?cpu|td|tid|p?pid|proc(?:ess)?|thread|vm|panic|k?g?db|lldb|chain|frame|lock|curthread)[\d.-]{0,8}(?:[:\])]))"
_NAME = rf"(?!{_NO_HOST})(?P<host>[A-Za-z][\w-]{{0,62}}(?:\.[\w-]{{1,62}}){{0,6}}|\d{{1,3}}(?:\.\d{{1,3}}){{3}})"
# of a host and its domain, or its address; a file's ends otherwise
_FULL_NAME = (
    r"(?:\d{1,3}(?:\.\d{1,3}){3}|[\w-]{1,62}(?:\.[\w-]{1,62}){0,5}"
    r"\.(?:com|edu|example|gov|home|info|internal|lan|local|net|org|test|(?!gz|md|py|rc|sh|xz)[a-z]{2}))"
)
#: So many prefixes may stand before each other.
_MOST = 4
#: What may stand before a line, by name. A blank behind it is the text's own, unless all lines have one.
PREFIXES: dict[str, str] = {
    "quote": r" ?>(?: ?>)*|(?!\|.*\|[ \t]*\Z)(?:\|[ \t])+",
    # irssi, ZNC, weechat: who said it, and when
    "chat": r"(?:\[?\d\d:\d\d(?::\d\d)?\]? {1,4})?<[ @+%~&!]?(?!\d{1,3}>|running>|swapped>)[\w\[\]^{}`-]{1,30}>(?=[ \t]|\Z)"
    r"|\[?\d\d:\d\d(?::\d\d)?\]? {1,4}[@+%]?[\w\[\]^{}`-]{1,30} [|│](?=[ \t]|\Z)"
    r"|\[\d\d:\d\d(?::\d\d)?, [\d/.-]{6,10}\] [^:\[\]]{1,40}:(?= |\Z)",
    "priority": r"<\d{1,3}>(?:\d (?=\d{4}-))?",
    # fprintlog_rfc3164 (usr.sbin/syslogd/syslogd.c): -v has the priority before the host; a forwarder names whose line it is
    "syslog": rf"{_SYSLOG_DATE} (?:<[\w.]{{1,24}}> )?(?:\S+ Forwarded from (?=\S+: ))?(?P<host>\S+?):? "
    r"(?:<[\w.]+> )?(?:(?:kernel|[\w./-]+(?:\[\d+\])?):(?: \[\d+(?:\.\d+)?\])?"
    r"|[\w./-]+ (?:-|\d+) \S+ (?:-|\[[^\]]{0,80}\])(?= |\Z))",
    "uptime": r"\[ {0,8}\d+(?:\.\d{1,9}(?: {1,4}\d+\.\d{1,9})?)?\]",
    "clock": rf"\[(?:[\w:.-]{{1,20}} )?(?:{_SYSLOG_DATE}|{_TIME})[^\]]{{0,12}}\]",
    # the cells of a table that was exported; what a container's runtime puts behind
    "cells": rf"(?:{_DATE}[T ])?{_TIME}(?:Z|[+-]\d\d:?\d\d)?(?:[,;\t][\w.:/@-]{{0,60}}){{0,6}}[,;\t]",
    "time": rf"(?:{_SYSLOG_DATE}|{_TIME})(?:[ \t]?[>|:-](?=[ \t])| std(?:out|err) [FP](?= |\Z))?",
    "labels": r"\{[\w.-]{1,40}=\"[^\"{}]{0,80}\"(?:, ?[\w.-]{1,40}=\"[^\"{}]{0,80}\"){0,20}\}(?=[ \t]|\Z)",
    # seconds since 1970, or since ts -s began
    "epoch": r"\d{10}\.\d{1,9}:?|\d{1,9}\.\d{6}(?= |\Z)",
    "code": r"`{1,2}(?!`)|\*\*(?=.*\*\*\Z)|\{\{(?=.*\}\}\Z)",
    # a program's own log: how important, and which part of it
    "level": rf"(?:{'|'.join(LEVELS)})(?:ING)?(?::[\w.-]{{1,40}})?:",
    "comment": r"[ \t]*#+(?!\d)|[ \t]*//+|[ \t]?/?\*+(?=\s|\Z)|(?:;+|%+|--|dnl|REM|:)(?=\s|\Z)",
    "number": r"[ \t]*\d{1,7}(?:[:|)]|\.(?= |\Z)|\t|\Z|-(?=[#A-Za-z ]|\d{6,7} ))|L\d+:",
    # grep's, of several files
    "file": rf"(?!{_FULL_NAME}:[ \t])(?P<host>(?:[\w.@+~-]{{0,60}}/){{0,12}}[\w@+~-]{{1,60}}(?:\.[\w-]{{1,20}}){{1,4}}"
    r"|(?:[\w.@+~-]{0,60}/){1,12}[A-Za-z][\w@+~-]{0,60})(?::(?:\d{1,7}:)?|-\d{1,7}-)",
    "count": r" {0,8}\d{1,7}(?= |\Z)",
    "bullet": r"[-•·‣](?=[ \t])|\+(?!0x|\+)",
    "shell": r"(?:[\w.@~-]+)?[#$%>] (?=\S)",
    "console": r"~|login: |(?!db> )(?P<host>[\w.-]{1,30})(?:> | ?# | console: )",
    # what pdsh, clush and dsh put before the output of each host, and tools that show several consoles
    "tag": rf"{_NAME}(?::tty[\w.]{{1,8}})?:{{1,2}}(?=[ \t]|\Z)",
    "bracket": rf"\[ ?{_NAME} ?\]:?(?=[ \t]|\Z)",
    "parenthesis": rf"\({_NAME}\):?(?=[ \t]|\Z)",
    # docker compose; parallel --tag
    "column": rf"{_NAME} {{1,30}}[|│›](?=[ \t]|\Z)",
    "tab": rf"{_NAME}\t",
    "value": rf"(?:host(?:name)?|instance|machine|node|server)={_NAME}(?=[ \t]|\Z)",
    "sign": rf"{_NAME}(?:[|\],;]| -)(?=[ \t]|\Z)",
    # grep's, of files without an end
    "joined": rf"{_NAME}:(?:\d{{1,7}}:)?(?=\S|\Z)",
    "dated": rf"{_SYSLOG_DATE} {_NAME}(?= |\Z)",
}
#: Those that say which host wrote the line, and nothing else: any word before a colon looks like one.
TAGS = frozenset({"tag", "bracket", "parenthesis", "column", "tab", "value", "sign", "joined", "dated"})
#: Those that many lines begin with.
LOOSE = frozenset({"sign", "joined", "dated"})
#: Those that say from which file the line is.
OF_FILES = frozenset({"file"})
#: Those that say which host wrote the line, or in which file it is.
OF_HOSTS = TAGS | OF_FILES | {"syslog", "console"}
#: Those with words that may name a host, or something else.
MAY_TELL_HOSTS = frozenset({"cells", "chat", "clock", "labels", "level", "shell"})


@cache
def compiled() -> dict[str, re.Pattern[str]]:
    """The prefixes' expressions: made for the first line that cannot be read as it stands."""
    return {name: re.compile(pattern) for name, pattern in PREFIXES.items()}


def is_prefix(text: str) -> bool:
    """Is ``text`` nothing but prefixes?"""
    for _ in range(_MOST):
        end = next((found.end() for pattern in compiled().values() if (found := pattern.match(text)) and found.end()), 0)
        if not end:
            break
        text = text[end:].lstrip()
    return not text
