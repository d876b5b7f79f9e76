"""What mailers, loggers, editors and people put before each line, as expressions."""

from __future__ import annotations

import re
from functools import cache

_TIME = r"\d\d:\d\d:\d\d(?:[.,]\d{1,9})?"
_DATE = r"\d{4}[-/]\d\d[-/]\d\d"
_SYSLOG_DATE = rf"(?:[A-Z][a-z]{{2}} [ \d]?\d {_TIME}(?: (?:19|20)\d\d(?!\d))?|{_DATE}[T ]{_TIME}(?: ?Z| ?[+-]\d\d:?\d\d)?)"
#: What may stand before a line, by name. A blank behind it is the text's own, unless all lines have one.
PREFIXES: dict[str, str] = {
    "quote": r" ?>(?: ?>)*|(?:\|[ \t])+(?![^|]*\|)",
    "priority": r"<\d{1,3}>(?:\d (?=\d{4}-))?",
    # fprintlog_rfc3164 (usr.sbin/syslogd/syslogd.c): -v has the priority before the host; a forwarder names whose line it is
    "syslog": rf"{_SYSLOG_DATE} (?:<[\w.]{{1,24}}> )?(?:\S+ Forwarded from (?=\S+: ))?(?P<host>\S+?):? "
    r"(?:<[\w.]+> )?(?:(?:kernel|[\w./-]+(?:\[\d+\])?):(?: \[\d+(?:\.\d+)?\])?"
    r"|[\w./-]+ (?:-|\d+) \S+ (?:-|\[[^\]]{0,80}\])(?= |\Z))",
    "uptime": r"\[ {0,8}\d+(?:\.\d{1,9}(?: {1,4}\d+\.\d{1,9})?)?\]",
    "clock": rf"\[(?:[\w:.-]{{1,20}} )?(?:{_SYSLOG_DATE}|{_TIME})[^\]]{{0,12}}\]",
    "time": rf"(?:{_SYSLOG_DATE}|{_TIME})(?:[ \t]?[>|:-](?=[ \t]))?",
    # seconds since 1970, or since ts -s began
    "epoch": r"\d{10}\.\d{1,9}:?|\d{1,9}\.\d{6}(?= |\Z)",
    # irssi, ZNC, weechat: who said it, and when
    "chat": r"(?:\[?\d\d:\d\d(?::\d\d)?\]? {1,4})?"
    r"(?:<[ @+%~&!]?(?!\d{1,3}>|running>|swapped>)[\w\[\]^{}`-]{1,30}>|[@+%]?[\w\[\]^{}`-]{1,30} [|│])(?= |\Z)",
    "comment": r"[ \t]*#+(?!\d)|[ \t]*//+|[ \t]?/?\*+(?=\s|\Z)|(?:;+|%+|--|dnl|REM)(?=\s|\Z)",
    "number": r"[ \t]*\d{1,7}(?:[:|)]|\t|\Z|-(?=[#A-Za-z ]))|L\d+:",
    # grep's, of several files
    "file": r"(?:[\w.@+~-]{0,60}/){0,12}[\w@+~-]{1,60}(?:\.[\w-]{1,20}){1,4}(?::(?:\d{1,7}:)?|-\d{1,7}-)",
    "count": r" {0,8}\d{1,7}(?= |\Z)",
    "bullet": r"[-•·‣](?=[ \t])|\+(?!0x|\+)|\d{1,3}\.(?= )",
    "code": r"`{1,2}(?!`)",
    "shell": r"(?:[\w.@~-]+)?[#$%>] (?=\S)",
    "console": r"~|login: |(?!db> )[\w.-]{1,30}(?:> | ?# | console: )",
}


@cache
def compiled() -> dict[str, re.Pattern[str]]:
    """The prefixes' expressions: made for the first line that cannot be read as it stands."""
    return {name: re.compile(pattern) for name, pattern in PREFIXES.items()}
