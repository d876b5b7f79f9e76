"""Words that were taken off before lines which are read, and differ between them: they are taken for names of hosts.

Loggers put a host's name into labels, cells, fields of JSON or a column of their own. What else differs between the
lines of one trace are times, numbers and how important a line is. Nobody knows for sure what a word is, but to part
what is of one host hides a proof only, and to join what is of two may be a wrong one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import islice

from hangdiag.text.lazy import lazy
from hangdiag.text.marks import LEVELS
from hangdiag.text.names import host_label

_WORD = lazy(r"(?<![\w.-])(?:[A-Za-z][\w.-]*|\d{1,3}(?:\.\d{1,3}){3}(?![\w.]))")
#: Parts of dates, and what syslogd(8), loggers and containers call kinds of messages (sys/syslog.h).
_NOT_HOSTS = """
jan feb mar apr may jun jul aug sep oct nov dec mon tue wed thu fri sat sun am pm utc gmt d e f i n t w stdout stderr out err
db kdb gdb kgdb lldb auth authpriv console cron daemon ftp kern lpr mail news ntp security syslog user uucp local0 local1 local2
local3 local4 local5 local6 local7 alert crit emerg emergency panic trace warning
"""
_NO_NAMES = frozenset(_NOT_HOSTS.split()) | {level.lower() for level in LEVELS}

#: Fewer lines do not tell what they share, and so many do.
_FEW = 3
_MANY = 50


def tag_of(text: str) -> tuple[str, ...]:
    """The words of ``text`` in their order, empty ones in place of those that name no host."""
    return tuple(["" if _is_no_name(word) else word for word in _WORD.findall(text)])


def _is_no_name(word: str) -> bool:
    return word.lower() in _NO_NAMES or host_label(word) is None


def hosts_told(tags: Sequence[tuple[int, tuple[str, ...]]], stands: Callable[[int], bool]) -> list[tuple[int, str]]:
    """The host of each of the lines in ``tags``, which has each one's words; empty if the words tell none apart.

    Those lines count that can stand for themselves: what somebody says about a trace is no other host's.
    """
    if len({tag for _, tag in tags}) < 2:
        return []
    shown = [tag for place, tag in tags if stands(place)]
    columns = [column for column in range(max(map(len, shown), default=0)) if _tells_hosts(shown, column)]
    return [(place, _name(tag, columns)) for place, tag in tags] if columns else []


def name_of(tags: Sequence[tuple[int, tuple[str, ...]]], stands: Callable[[int], bool]) -> str:
    """The words that the first of the lines in ``tags`` share which can stand for themselves: empty if these are few."""
    shown = list(islice((tag for place, tag in tags if stands(place)), _MANY))
    if len(shown) < _FEW:
        return ""
    return _name(shown[0], [column for column in range(min(map(len, shown))) if len({tag[column] for tag in shown}) == 1])


def _tells_hosts(tags: Sequence[tuple[str, ...]], column: int) -> bool:
    """Are there few words in this column, which come again? Identifiers of messages are many."""
    words = {tag[column] for tag in tags if column < len(tag)} - {""}
    return 2 <= len(words) <= max(2, len(tags) // 2)


def _name(tag: tuple[str, ...], columns: Sequence[int]) -> str:
    words = [tag[column] for column in columns if column < len(tag) and tag[column]]
    return words[0] if len(words) == 1 else "-".join(words).replace(".", "-")
