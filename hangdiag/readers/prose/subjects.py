"""Whose stack a sentence speaks of: ``1 bhyve thread in``, ``vcpus 0, 2 and 3``, ``Thread 3 (vcpu 2):``, ``tid 100862``."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from hangdiag.text.lazy import lazy

#: More threads than this in one sentence are not believed.
MOST = 64
_WORDS = {
    "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9, "ten": 10, "eleven": 11,
    "twelve": 12, "thirteen": 13, "fourteen": 14, "fifteen": 15, "sixteen": 16, "both": 2, "pair": 2, "couple": 2,
}  # fmt: skip
_NUMBER = r"\d{1,2}|" + "|".join(_WORDS)
_VCPU = lazy(
    r"\bv-?cpus?(?:[ _]?(?:threads?|ids?|no\.?|numbers?))?[ \t]{0,2}[#:-]?[ \t]{0,2}"
    r"(?P<ids>\d{1,3}(?!\d)(?:[ \t]{0,2}(?:,[ \t]{0,2}and|,|and|&|/|\+|-|–|\.\.|to|through)"
    r"[ \t]{0,2}(?:v-?cpu[ \t]{0,2})?#?\d{1,3}(?![\w]|-v?cpu)){0,63})",
    re.I,
)
_PART = lazy(r"(?P<join>-|–|\.\.|to|through)?[ \t]{0,2}(?:v-?cpu[ \t]{0,2})?#?(?P<id>\d{1,3})(?!\d)", re.I)
_PID_TID = lazy(r"(?<![\w.])(?P<pid>\d{2,6})/(?P<tid>1\d{5})(?!\d)")
_TID = lazy(
    r"\b(?:tid|thread(?: id)?|lwp|td)[ \t]{0,2}[#:=]?[ \t]{0,2}(?P<tid>\d{5,7})(?!\d)|(?<=\()(?P<bare>1\d{5})(?=\))", re.I
)
_PID = lazy(
    r"\b(?:pid|process(?: id)?)[ \t]{0,2}[#:=]?[ \t]{0,2}(?P<pid>\d{1,6})(?!\d)"
    r"|\bbhyve(?:ctl)?[ ]?[\[(](?P<bare>\d{1,6})[\])]", re.I
)
_NAME = lazy(
    r"\bthreads? (?:named |called )?[\"'“‘](?P<quoted>[^\"'”’\n]{1,24})[\"'”’]"
    r"|[\"'“‘](?P<before>[^\"'”’\n]{1,24})[\"'”’] (?:kernel )?thread"
    r"|\b(?P<known>mevent|rfb|blk-\d{1,3}:\d{1,2}(?::\d{1,2})?-\d{1,3}|vtnet-\d{1,3}:\d{1,2} [tr]x|Giant taskq|thread taskq)\b"
)
_COMMAND = lazy(r"\b(?P<command>bhyvectl|bhyve)\b|\bv-?cpus?\b|\bguest'?s?(?: cpu)? threads?\b", re.I)
#: Numbers that count no threads: of threads in a debugger, of CPUs, of the VM's vCPUs, in a list.
_OTHER_NUMBERS = lazy(
    r"\bthread[ \t]{0,2}#?\d{1,4}\b|\bcpus?[ \t]{0,2}#?\d{1,4}\b|\b\d{1,3}[ -]?v?cpu(?:s)?[ ]?(?:guest|vm)\b"
    r"|\bwith \d{1,3} v?cpus?\b"
    r"|\b(?:line|lines|bug|pr|item|step|case|no\.?|release|freebsd|windows|number)[ \t]{0,2}#?\d[\d.]{0,8}\b|\d+\.\d[\w.-]{0,20}",
    re.I,
)
_BULLET = lazy(r"[\s>|]{0,20}(?:\(?(?:\d{1,3}|[a-z]|[ivx]{1,4})[.):][ \t]|[-+*•·‣∙–—o][ \t]|#{1,6}[ \t])?[\s>]{0,20}", re.I)
_COUNT = lazy(
    rf"(?<![\w.#])(?P<count>{_NUMBER})(?: of)?"
    r"(?:[ \t]+(?!thread|v-?cpu)[\w'’/-]{1,20}){0,5}[ \t]+(?:threads?|v-?cpus?|vcpu-threads)\b",
    re.I,
)
_TIMES = lazy(
    rf"\(?[x×][ ]?(?P<a>\d{{1,2}})\b|\b(?P<b>\d{{1,2}})[ ]?[x×](?![\w])|\((?P<c>{_NUMBER}) (?:times|of (?:them|these))\)", re.I
)
#: Threads that are counted without being called so: the four left, the other three, three others.
_LEFT = lazy(
    rf"\b(?:(?:other|remaining|last) (?P<a>{_NUMBER})"
    rf"|(?P<b>{_NUMBER}) (?:left|others|more|remaining(?: ones)?|that remain))\b(?!-)",
    re.I,
)
_ANOTHER = lazy(
    r"\b(?:another|a (?:second|third|fourth|different)|the (?:second|third|rest)|all|every|each|remaining|others?)\b", re.I
)
#: Where a sentence ends; the number of an item in a list is none.
_SENTENCE = lazy(
    r"(?<=[a-z)\]'\"][.!?])\s+|(?<=[a-z0-9)]);\s+|\s+(?:while|whereas)\s+|,\s+and\s+(?=[\w ]{1,40}\b(?:in|at|:)\s*\Z)",
    re.I,
)


@dataclass(frozen=True, slots=True)
class Subject:
    """Who a sentence speaks of. ``vcpus`` are the ids that it names, ``count`` how many threads; None is "not told"."""

    count: int | None = None
    vcpus: tuple[int, ...] = ()
    pid: int | None = None
    tid: int | None = None
    name: str | None = None
    command: str | None = None
    another: bool = False
    #: so many more than those in ``vcpus``
    more: int = 0

    @property
    def tells(self) -> bool:
        """Does it say anything?"""
        return replace(self, another=False) != Subject()

    def joined(self, other: Subject) -> Subject:
        """This, and what only ``other`` says."""
        return Subject(
            self.count if self.count is not None else other.count,
            self.vcpus or other.vcpus,
            self.pid if self.pid is not None else other.pid,
            self.tid if self.tid is not None else other.tid,
            self.name or other.name,
            self.command or other.command,
            self.another or other.another,
            self.more or other.more,
        )


def last_sentence(text: str) -> str:
    """The part of ``text`` that belongs to what follows it."""
    return _SENTENCE.split(text[-400:])[-1]


def find_subject(text: str) -> Subject:
    """What ``text`` says about whose stack comes before or behind it."""
    bullet = _BULLET.match(text)
    words = text[bullet.end() :] if bullet is not None else text
    words = words[:400]
    command = None
    for found in _COMMAND.finditer(words):
        command = (found.group("command") or "bhyve").lower() if command != "bhyvectl" else command
    both = _PID_TID.search(words)
    pid = int(both.group("pid")) if both is not None else None
    tid = int(both.group("tid")) if both is not None else None
    if (found_tid := _TID.search(words)) is not None and tid is None:
        tid = int(found_tid.group("tid") or found_tid.group("bare"))
    if (found_pid := _PID.search(words)) is not None and pid is None:
        pid = int(found_pid.group("pid") or found_pid.group("bare"))
    named = _NAME.search(words)
    vcpus: list[int] = []
    for group in _VCPU.finditer(words):
        vcpus += [vcpu for vcpu in _ids(group.group("ids")) if vcpu not in vcpus]
    rest = _VCPU.sub(" thread ", words)
    for expression in (_PID_TID, _TID, _PID, _OTHER_NUMBERS):
        rest = expression.sub(" ", rest)
    count = _count(rest)
    return Subject(
        count,
        tuple(vcpus[:MOST]),
        pid,
        tid,
        next((value for value in named.groups() if value), None) if named is not None else None,
        command,
        _ANOTHER.search(words) is not None,
        (_left(rest) or 0) if vcpus else 0,
    )


def _count(words: str) -> int | None:
    found = _COUNT.search(words)
    times = _TIMES.search(words)
    text = found.group("count") if found is not None else None
    if text is None and times is None:
        return _left(words)
    if text is None and times is not None:
        text = next(value for value in times.groups() if value)
    if text is None:
        return None
    return _number(text)


def _left(words: str) -> int | None:
    found = _LEFT.search(words)
    return _number(found.group("a") or found.group("b")) if found is not None else None


def _number(text: str) -> int | None:
    number = _WORDS.get(text.lower())
    return min(number if number is not None else int(text), MOST) or None


def _ids(text: str) -> list[int]:
    ids: list[int] = []
    for part in _PART.finditer(text):
        number = int(part.group("id"))
        if part.group("join") and ids and ids[-1] < number <= ids[-1] + MOST:
            ids += range(ids[-1] + 1, number + 1)
        else:
            ids.append(number)
    return ids
