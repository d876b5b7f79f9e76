"""Threads from stacks that somebody wrote down with arrows, in the middle of a sentence or in a list.

The words before a stack tell whose it is, or a line above it (``Thread 3 (vcpu 2):``), or what stands behind it in brackets.
"""

from __future__ import annotations

import re

from hangdiag.model import Thread, Unread
from hangdiag.readers.prose.chains import ARROW, WEAK, Chain, find_chains, may_hold_stacks, plain
from hangdiag.readers.prose.denials import is_denied, is_supposed
from hangdiag.readers.prose.subjects import Subject, find_subject, last_sentence
from hangdiag.readers.section import Section
from hangdiag.text.lazy import lazy

#: A stack goes on for so many lines at most, and its label stands so many lines above it.
_LONGEST, _HIGHEST = 60, 4
#: So much of a text is looked at.
_WIDEST = 6000
#: A call alone on its line, and so many of them at least are a stack.
_CALL = lazy(r"\s{0,40}[A-Za-z_]\w{1,60}\(\)\s*\Z")
_SHORTEST = 3
_QUOTE = lazy(r"[\s>|#*]{0,40}")
_LEADING = lazy(rf"[\s>|#*+`\\─├└╰│-]{{0,40}}?{ARROW}")
_TRAILING = lazy(rf"(?:{ARROW}|\s[<>]|{WEAK}|\s(?:called|calls|calling))[\s`*]{{0,20}}\Z")
#: A line that goes on with one of the weaker signs, and a stack that may go on so.
_LEADING_WEAK = lazy(
    r"[\s>|#*]{0,40}(?:[<>]|,? ?(?:which (?:is |was )?)?(?:called (?:from|by)|calls|calling)) [`*]{0,2}\w{0,40}_"
)
_STACK_SO_FAR = lazy(r"\w_\w{1,40}(?:\(\))?[`*]{0,3},?\Z")
_BARE = lazy(r"[\s>|#*`]{0,40}(?:at |in )?[A-Za-z_][\w.$]*(?:\+0x[0-9a-f]+)?(?:\([^()]{0,60}\))?[`*]{0,3}\s*\Z")
_BEHIND = lazy(
    r"[`*\s]{0,6}(?:,?\s?\((?P<brackets>[^()]{1,80})\)|(?:-{1,3}|–|—|:|\|)\s(?P<rest>[^.;]{1,80})|(?P<times>[x×]\s?\d{1,2})\b"
    r"|\)?,?\s(?:by|for|in|on behalf of)\s(?P<by>[^.;,]{1,60})|,\s(?P<who>(?:v-?cpu|tid|pid|thread)\b[^.;]{1,60}))",
    re.I,
)
_WMESG = lazy(
    r"\bwmesg[ \t]{0,2}[:=]?[ \t]{0,2}[\"'“]?(?P<told>[a-z][\w-]{1,15})"
    r"|\A[\"'“]?(?P<noted>[a-z][a-z0-9]{2,8})[\"'”]?\Z"
)
_END = lazy(r"[.!?](?:\s|\Z)")
_NO_STACKS = lazy(r"lock order |\bdef \w+\(|\bfn \w+\(|\btypedef\b|\)\s?->\s?\w+\s?\{|-->|<!--")


def read_arrows(section: Section, start: int, match: re.Match[str]) -> int:
    """Read the stacks of line ``start`` and of the lines in which they go on."""
    lines = section.lines
    first_line = section.page.first[start]
    known = section.context.get("prose without stacks")
    if len(lines[start]) > _WIDEST or (isinstance(known, int) and first_line < known):
        return start
    begin = start
    text = lines[start]
    if _LEADING.match(text) and start > section.loose and _BARE.match(lines[start - 1]):
        begin = start - 1  # one function a line
        text = f"{lines[begin].rstrip()} {_continuation(text)}"
    end = start + 1
    while end < len(lines) and end - start < _LONGEST and len(text) < _WIDEST and _goes_on(text, lines[end]):
        text = f"{text.rstrip()} {_continuation(lines[end])}"
        end += 1
    if _NO_STACKS.search(lines[start]):
        return start
    return _read_text(section, start, begin, end, text)


def read_calls(section: Section, start: int, match: re.Match[str]) -> int:
    """Read a stack of which each line is a call, ``vm_run()``."""
    lines = section.lines
    end = start
    while end < len(lines) and end - start < _LONGEST and _CALL.match(lines[end]) is not None:
        end += 1
    if end - start < _SHORTEST:
        return start
    return _read_text(section, start, start, end, " -> ".join(line.strip() for line in lines[start:end]))


def _read_text(section: Section, start: int, begin: int, end: int, text: str) -> int:
    """Read the stacks of ``text``, which stands in the lines from ``begin`` up to ``end``, the arrows from ``start`` on."""
    lines = section.lines
    text = plain(text) if may_hold_stacks(text) else ""
    chains = list(find_chains(text))
    if not chains:
        # the lines that were joined hold none either: no need to join each of them with the others again
        section.context["prose without stacks"] = section.page.first[max(end - _LONGEST // 2, start)]
        return start
    made: list[tuple[Chain, Subject]] = []
    position = 0
    supposed = section.context.get("prose supposed") == begin
    nobodys = 0
    for number, chain in enumerate(chains):
        words = text[position : chain.begin]
        sentence = last_sentence(words)
        if number == 0:
            sentence = _sentence_above(section, begin, sentence)
        supposed = is_supposed(sentence) or (supposed and sentence.endswith(words))
        if supposed or is_denied(sentence):
            nobodys += 1
            position = chain.end
            continue
        before = find_subject(last_sentence(words))
        following = chains[number + 1].begin if number + 1 < len(chains) else len(text)
        subject = before.joined(_behind(chain, text[chain.end : following]))
        position = chain.end
        if chain.doubtful and not subject.tells:
            continue
        if number == 0:
            begin, above = _above(section, begin) if not before.tells else _heading(section, begin)
            subject = subject.joined(above)
        made.append((chain, subject))
    if supposed and not _END.search(text[position:]):
        section.context["prose supposed"] = end
    where = section.where(begin, end)
    if nobodys and not made:
        section.draft.unread.append(Unread(where, "prose about stacks that nobody saw"))
        section.loose_end = begin
        return end
    if not made:
        return start
    for chain, subject in made:
        threads = [_thread(chain, one, subject, where) for one in _names(subject)]
        section.draft.add_told(threads, again=not subject.another, abridged=not subject.tells)
        section.count_stacks("console")
    section.context["prose end"] = end
    section.draft.note_prose(lines[begin:end])
    section.loose_end = begin
    return end


def _sentence_above(section: Section, begin: int, words: str) -> str:
    """``words`` before the first stack, with the sentence's begin on the line above."""
    if begin <= section.loose or len(last_sentence(words)) < len(words):
        return words
    return last_sentence(f"{section.lines[begin - 1].strip()} {words}")


def _goes_on(text: str, line: str) -> bool:
    if not line.strip():
        return False
    if _LEADING.match(line) is not None or _TRAILING.search(text[-60:]) is not None:
        return True
    return _STACK_SO_FAR.search(text[-60:].rstrip()) is not None and _LEADING_WEAK.match(line) is not None


def _continuation(line: str) -> str:
    quote = _QUOTE.match(line)
    return line[quote.end() :] if quote is not None else line


def _above(section: Section, begin: int) -> tuple[int, Subject]:
    """The line of a label above line ``begin``, and what it says."""
    lines = section.lines
    text = ""
    index = begin
    while index > max(section.loose, begin - _HIGHEST):
        line = lines[index - 1].strip()
        if not line:
            if text or index < begin:
                break
            index -= 1
            continue
        if line.endswith((".", "!", "?")) and not line.endswith(("...", "no.")):
            break
        text = f"{line} {text}"
        index -= 1
        subject = find_subject(last_sentence(text))
        if subject.tells:
            return index, subject
        if len(line) < 50 and index == begin - 1 and not line.endswith(("in", "at", ":")):
            break
    return begin, Subject()


def _heading(section: Section, begin: int) -> tuple[int, Subject]:
    """The process that a heading names for all stacks of the list below it: ``pid 2210 (bhyve):``."""
    if section.context.get("prose end") == begin:
        known = section.context.get("prose heading")
        return begin, known if isinstance(known, Subject) else Subject()
    section.context.pop("prose heading", None)
    line = section.lines[begin - 1].strip() if begin > section.loose else ""
    found = find_subject(line) if line.endswith(":") else Subject()
    if found.pid is None or found.tid is not None or found.vcpus:
        return begin, Subject()
    heading = section.context["prose heading"] = Subject(pid=found.pid, command=found.command)
    return begin - 1, heading


def _behind(chain: Chain, text: str) -> Subject:
    found = _BEHIND.match(text)
    words = [note for note in chain.notes if not _WMESG.search(note)]
    if found is not None:
        words.append(next(value for value in found.groups() if value))
    return find_subject("; ".join(words)) if words else Subject()


def _names(subject: Subject) -> list[str | None]:
    """The name of each thread that a subject is of."""
    if subject.vcpus:
        return [*(f"vcpu {vcpu}" for vcpu in subject.vcpus), *[None] * subject.more]
    if subject.name is not None:
        return [subject.name]
    return [None] * (subject.count or 1)


def _thread(chain: Chain, name: str | None, subject: Subject, where: object) -> Thread:
    wmesg = None
    for note in chain.notes:
        if chain.asleep and (found := _WMESG.search(note)) is not None:
            wmesg = found.group("told") or found.group("noted")
    one = len(_names(subject)) == 1
    return Thread(
        pid=subject.pid,
        tid=subject.tid if one else None,
        command=subject.command or ("bhyve" if name is not None and name.startswith("vcpu ") else None),
        name=name,
        wmesg=wmesg,
        frames=chain.frames,
        where=(where,),  # type: ignore[arg-type]
        stack_where=where,  # type: ignore[arg-type]
        told=True,
    )
