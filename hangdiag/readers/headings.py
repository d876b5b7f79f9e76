"""What stands above the output of a host, and tells which one it is: headings, prompts, ssh.

Tools that run a command on several hosts print the host's name first (Ansible, ``clush -b``, ``dshbak``, pssh, salt); head(1),
tail(1) and more(1) print a file's name; people put one between dashes or equal signs. A name that somebody wrote may be
any: it parts two hosts only where the same tool's list comes again below another one (Timeline.begin_list).
"""

from __future__ import annotations

import re

from hangdiag.readers.ddb import current
from hangdiag.readers.host import read_command
from hangdiag.readers.section import Opener, Section
from hangdiag.text.lazy import lazy
from hangdiag.text.names import words_of

# no shorter name is tried: what follows one is no part of it
_NAME = r"[A-Za-z0-9][\w.-]{0,63}+"
#: Commands that are typed to gather what is read here.
_COMMAND = (
    r"(?:(?:sudo|doas|time|nice|env) )?(?:procstat|ps|top|k?gdb\w*|lldb|mdb|dtrace|ddb|uname|sysctl|bhyvectl|hostname|date|dmesg"
    r"|vmstat|kldstat|while|for|script|sh|su|cat|tail|less|more|sleep|exit|logout)\b"
)
_SHELL = lazy(r"\[?[\w.-]{1,32}@(?P<host>[\w.-]{1,64})")
#: Shells and debuggers that put their own name into a prompt.
_NO_HOSTS = lazy(r"(?i:(?:ba|c|tc|z|k|da|fi|a)?sh(?:-[\d.]+)?|root|toor|admin|user|k?gdb|lldb|mdb|db)\Z")
_PROMPT = rf"(?:\((?P<in>{_NAME})\) [\w:~/.-]{{0,80}}|(?P<host>{_NAME})(?::[~/][\w./~-]{{0,80}})?)"
_NAMED_PROMPT = lazy(_PROMPT)
_HOST = lazy(rf"(?P<host>{_NAME})\s*\Z")
_GATHERED = lazy(r"[\w.,\[\]-]{1,200}(?: \(\d+\))?\s*\Z")
_HEAD = lazy(rf"(?P<ansible>{_NAME}) \| |\[\d+\] \d\d:\d\d:\d\d \[[A-Z]+\] (?:[\w.-]+@)?(?P<pssh>{_NAME})")
_FILE = lazy(r"==> (?P<name>.+?) <==\s*\Z")
#: What people put around a heading.
_AROUND = " =#*+<>:()-"
_NAMED = lazy(rf"(?i:on |host(?:name)?:? |node:? |server:? |machine:? )?(?P<name>{_NAME}):?\s*\Z")
_SSH = lazy(
    r".{0,80}?(?:\A|[\s])ssh (?:-[bcDEeFIiJLlmOopQRSWw] ?\S{1,80} |-[A-Za-z]{1,10} ){0,8}(?:[\w.-]{1,32}@)?"
    rf"(?P<host>{_NAME})(?: .*)?\Z"
)
_CLOSED = lazy(r"Connection to \S+ closed")


def _read_shell(section: Section, start: int, match: re.Match[str]) -> int:
    """A shell's prompt with the host's name in it."""
    line = section.lines[start]
    found = _SHELL.match(line)
    if found is not None:
        section.draft.timeline.see_host(found.group("host"))
    visited = _SSH.match(line)
    if visited is not None:
        section.draft.timeline.visit(visited.group("host"))
    return read_command(section, start, match)


def _read_prompt(section: Section, start: int, match: re.Match[str]) -> int:
    """A prompt that is the host's name alone, as csh(1) was set to show it."""
    found = _NAMED_PROMPT.match(section.lines[start])
    name = (found.group("host") or found.group("in")) if found is not None else ""
    if not name or _NO_HOSTS.match(name) is not None:
        return start
    section.draft.timeline.see_host(name)
    return read_command(section, start, match)


def _read_hostname(section: Section, start: int, match: re.Match[str]) -> int:
    """hostname(1), and what it answered."""
    following = section.lines[start + 1] if start + 1 < len(section.lines) else ""
    found = _HOST.match(following)
    if found is None:
        return start
    section.draft.timeline.see_host(found.group("host"))
    return start + 2


def _read_ssh(section: Section, start: int, match: re.Match[str]) -> int:
    """Somebody goes to another host, or back."""
    line = section.lines[start]
    visited = _SSH.match(line)
    if visited is not None:
        _turn_away(section)
        section.draft.timeline.visit(visited.group("host"))
    elif _CLOSED.match(line) is not None:
        _turn_away(section)
        section.draft.timeline.come_back()
    else:
        return start
    return start + 1


def _read_gathered(section: Section, start: int, match: re.Match[str]) -> int:
    """What Ansible, pssh, ``clush -b`` and ``dshbak`` put above the output of each host."""
    lines = section.lines
    head = _HEAD.match(lines[start])
    following = start + 1
    if head is not None:
        name = head.group("ansible") or head.group("pssh")
    else:
        if following + 1 >= len(lines) or lines[following + 1] != lines[start] or not _GATHERED.match(lines[following]):
            return start
        name = lines[following].split()[0]
        following += 2
    _turn_away(section)
    section.draft.timeline.see_host(name, is_heading=True)
    return following


def _read_file(section: Section, start: int, match: re.Match[str]) -> int:
    """A file's name, as head(1), tail(1) and more(1) print it above what is in it."""
    lines = section.lines
    found = _FILE.match(lines[start])
    if found is not None:
        _turn_away(section)
        section.draft.timeline.begin_part(found.group("name"))
        return start + 1
    if start + 2 >= len(lines) or lines[start + 2].strip() != lines[start].strip():
        return start
    _turn_away(section)
    section.draft.timeline.begin_part(lines[start + 1])
    return start + 3


def _read_banner(section: Section, start: int, match: re.Match[str]) -> int:
    """A line that somebody made a heading: of all its words, one names a host. Behind one ``#`` there may be a command."""
    lines = section.lines
    name = lines[start].strip(_AROUND)
    if lines[start][:2] == "# " and (" " in name or start + 1 == len(lines) or section.opens(lines[start + 1]) is None):
        return start
    return _begin_part(section, start, name)


def _read_named(section: Section, start: int, match: re.Match[str]) -> int:
    """``Host alpha:``, or a name alone above lines that are indented, as salt prints it."""
    line = section.lines[start]
    found = _NAMED.match(line)
    if found is None:
        return start
    if found.start("name") == 0:
        following = section.lines[start + 1] if start + 1 < len(section.lines) else ""
        if not following.startswith("    "):
            return start
    return _begin_part(section, start, found.group("name"))


def _begin_part(section: Section, start: int, name: str) -> int:
    if sum(bool(words_of(word)) for word in name.split()) != 1:
        return start
    _turn_away(section)
    section.draft.timeline.begin_part(name)
    return start + 1


def _turn_away(section: Section) -> None:
    """What was said before of the next stack, or of the list that it is in, is of another host."""
    current.forget_next(section)
    section.context.pop("gdb thread", None)
    section.pending = None
    section.listed.clear()


OPENERS = (
    Opener(
        "heading-shell",
        "console",
        r"\[?[\w.-]{1,32}+@[\w.-]{1,64}+[\]: ][^#$%>]{0,80}[#$%>] (?!.{0,300}(?:load: |db> |KDB: |panic: |bhyvectl ))",
        _read_shell,
    ),
    Opener("heading-prompt", "console", rf"{_PROMPT}(?: ?[#%$]|(?<=[\w~/])>) ?{_COMMAND}", _read_prompt),
    Opener(
        "heading-hostname",
        "console",
        r"(?:(?:[a-z]{1,5}(?:-[\d.]{1,8})?)?[#$%>+] ?)?(?:/bin/)?hostname(?: -[fs])?\s*\Z",
        _read_hostname,
    ),
    Opener(
        "heading-ssh",
        "console",
        r"(?:.{0,80}[#$%>+] )?ssh \S|Connection to \S+ closed",
        _read_ssh,
        ("ssh ", "Connection to "),
    ),
    Opener(
        "heading-gathered",
        "console",
        rf"-{{15,16}}\Z|{_NAME} \| (?:CHANGED|SUCCESS|FAILED!?|UNREACHABLE!) (?:\| rc=-?\d+ >>|=> \{{)"
        rf"|\[\d+\] \d\d:\d\d:\d\d \[[A-Z]+\] (?:[\w.-]+@)?{_NAME}",
        _read_gathered,
    ),
    Opener("heading-file", "console", r"==> \S.{0,250} <==\s*\Z|:{14}\s*\Z", _read_file),
    Opener(
        "heading-banner",
        "console",
        r"(?=[=#*+>-])(?!.{0,200}[-=]>|.{0,200}<[-=])"
        r"(?:={2,60}|#{1,60}|\*{2,60}|\+{2,60}|-{2,60}|>{3,60})\s?[\w(][\w.@ :/()=#*+<>-]{1,160}\Z",
        _read_banner,
        vague=True,
    ),
    Opener(
        "heading-named",
        "console",
        rf"(?i:on|host(?:name)?:?|node:?|server:?|machine:?) {_NAME}:?\s*\Z|{_NAME}:\s*\Z",
        _read_named,
        vague=True,
    ),
)
