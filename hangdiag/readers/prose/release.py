"""The host's release where it is only named in a sentence: ``on a FreeBSD 13.1-STABLE host with a Windows 11 guest``.

A report may name several: the guest's, the one before an upgrade, the one with the fix. Which is the host's is
said only where one is left.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from hangdiag.text.lazy import lazy

#: So much of a text is looked at.
_WIDEST = 20_000
_KIND = r"(?:STABLE|RELEASE(?:-p\d{1,3})?|CURRENT|PRERELEASE|(?:ALPHA|BETA|RC)\d{1,2}(?:-p\d{1,3})?)"
_MENTION = lazy(
    rf"(?<![\w./-])(?:FreeBSD[ /-]?(?:amd64 |arm64 |aarch64 |v|version |release )?(?P<named>\d{{1,2}}\.\d{{1,2}}(?:-{_KIND})?)"
    rf"|(?P<bare>\d{{1,2}}\.\d{{1,2}}-{_KIND}))(?![\w/]|-\w|\.\d|\.iso)"
)
_BEHIND = lazy(
    r"[ \t]{0,3}\(?"
    r"(?:(?!(?:my|the|our|an?|with|and|has|runs|as|on|in|for|when|where|that|this|which|to|is|was|whose|hang\w*|all|every)\b)"
    r"[\w/-]{1,20}[ \t]{1,3}){0,2}?(?P<word>host|hypervisor|server|machine|box|guest|vm|virtual machine|jail)s?\b",
    re.I,
)
_BEFORE = lazy(r"\b(?P<word>host|hypervisor|server|machine|box|guest|vm|virtual machine|jail)s?\b(?P<rest>[^.;]{0,40})\Z", re.I)
_ON = lazy(r"\b(?:on|under|hosted by|atop)(?: top of)?(?: (?:an?|my|our|the|this))?[ \t]*\Z", re.I)
_ELSEWHERE = lazy(
    r"\b(?:fixed|merged|mfc\w*|committed|landed|since|until|till|before|prior to|introduced|worked|works|working|fine|ok|okay"
    r"|from|not|older|newer|never|unlike|affects?|backport\w*|fix|present|was)\b[\w ,'\"()]{0,24}\Z",
    re.I,
)
_HOSTS = ("host", "hypervisor", "server", "machine", "box")


@dataclass(frozen=True, slots=True)
class Mention:
    """A release that a text names, and what of: ``host``, ``guest``, ``elsewhere`` or "" where it is not told."""

    release: str
    of: str = ""


def find_mentions(lines: Iterable[str]) -> list[Mention]:
    """The releases that the sentences in ``lines`` name."""
    text = " ".join(lines)[:_WIDEST]
    mentions = []
    for found in _MENTION.finditer(text):
        release = found.group("named") or found.group("bare")
        before = text[max(found.start() - 70, 0) : found.start()]
        mentions.append(Mention(release, _of(before, text[found.end() : found.end() + 60])))
    return mentions


def _of(before: str, behind: str) -> str:
    word = _BEHIND.match(behind)
    if word is not None:
        return _role(word.group("word"))
    word = _BEFORE.search(before)
    if word is not None and _MENTION.search(word.group("rest")) is None:
        role = _role(word.group("word"))
        return "host" if role == "guest" and _ON.search(before) else role
    return "elsewhere" if _ELSEWHERE.search(before) else ""


def _role(word: str) -> str:
    return "host" if word.lower() in _HOSTS else "guest"


def release_of_host(mentions: Iterable[Mention]) -> str | None:
    """The host's release, if the mentions leave one only."""
    known = list(mentions)
    for role in ("host", ""):
        names = {mention.release for mention in known if mention.of == role}
        # "13.1" is said again of 13.1-STABLE
        names = {name for name in names if not any(other.startswith(f"{name}-") for other in names)}
        if names:
            return names.pop() if len(names) == 1 else None
    return None
