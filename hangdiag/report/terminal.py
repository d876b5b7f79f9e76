"""The terminal report: plain lines that fit 80 columns, styled only where the terminal can.

The layout is made here as (style, text) pieces; rich is asked only when there is a colour
to show, so that a pipe does not pay for it.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from hangdiag import wording
from hangdiag.findings import Diagnosis, Finding
from hangdiag.model import Thread
from hangdiag.report.places import escape, numbered, place
from hangdiag.signature import signature

Piece = tuple[str, str]
Line = list[Piece]

_STYLES = {"deadlock": "bold red", "blocked": "bold yellow", "contention": "yellow", "no-hang": "bold green"}
_BRANCH = {True: ("└─ ", "   "), False: ("+- ", "   ")}


@dataclass(frozen=True, slots=True)
class Options:
    """How to print: ``width`` columns; every thread if ``everything``; only threads of ``pid`` or VM ``vm``."""

    width: int = 80
    everything: bool = False
    vm: str | None = None
    pid: int | None = None
    unicode: bool = True


def quiet_line(diagnosis: Diagnosis) -> str:
    """The gravest finding in one line."""
    finding = diagnosis.findings[0]
    bug = f"; {finding.bug_title.lower()} {finding.known_bug.rule.id}" if finding.known_bug is not None else ""
    return f"{_heading(finding)}: {finding.summary}{bug}"


def render(diagnoses: Sequence[Diagnosis], options: Options) -> list[Line]:
    """The whole report as lines of styled pieces."""
    lines: list[Line] = []
    said: list[str] = []
    for number, diagnosis in enumerate(diagnoses):
        if number:
            lines.append([])
        findings = [f"{_heading(finding)}: {finding.summary}" for finding in diagnosis.findings]
        if len(diagnoses) > 1:
            title = f"C{numbered(diagnoses, number)[1:]}"
            if findings == said and not options.everything:
                verdict = _heading(diagnosis.findings[0])
                lines.append([("bold", title), ("", f": the same as capture {number}, {verdict}")])
                continue
            lines.append([("bold", title)])
        said = findings
        lines += _Report(diagnosis, options).lines()
    return lines


def plain(lines: Iterable[Line]) -> str:
    """Lines as text without styles."""
    return "".join("".join(text for _, text in line).rstrip() + "\n" for line in lines)


def _heading(finding: Finding) -> str:
    if finding.verdict == "no-hang":
        return "NO HANG FOUND"
    return f"{finding.verdict.upper().replace('-', ' ')} ({finding.certainty})"


class _Report:
    """One diagnosis being laid out."""

    def __init__(self, diagnosis: Diagnosis, options: Options) -> None:
        self.diagnosis = diagnosis
        self.scene = diagnosis.scene
        self.threads = diagnosis.capture.threads
        self.options = options
        self.out: list[Line] = []

    def lines(self) -> list[Line]:
        self._head()
        findings = [finding for finding in self.diagnosis.findings if self._shown(finding)]
        for finding in findings:
            self.out.append([])
            self._finding(finding)
        if not findings:
            self.out += [[], [("", "No finding concerns the threads asked for.")]]
        involved = {
            index for finding in findings for index in (*finding.threads, *finding.victims, *finding.causes)
        }
        if self.options.everything:
            self._every_thread()
        else:
            self._other_threads(involved)
        self._unread()
        return self.out

    def _shown(self, finding: Finding) -> bool:
        if self.options.vm is None and self.options.pid is None:
            return True
        return any(self._selected(index) for index in (*finding.threads, *finding.victims, *finding.causes))

    def _selected(self, index: int) -> bool:
        if self.options.pid is not None and self.threads[index].pid != self.options.pid:
            return False
        if self.options.vm is not None:
            machine = self.scene.machine_of.get(index)
            return machine is not None and self.options.vm in (machine.label, str(machine.pid))
        return True

    def _wrap(self, text: str, indent: str, hanging: str | None = None, style: str = "") -> None:
        for line in textwrap.wrap(
            escape(text),
            self.options.width,
            initial_indent=indent,
            subsequent_indent=hanging if hanging is not None else indent,
            break_long_words=False,
            break_on_hyphens=False,
        ):
            self.out.append([(style, line)])

    def _head(self) -> None:
        capture = self.diagnosis.capture
        formats = list(dict.fromkeys(source.format for source in capture.sources if source.format))
        parts = [f"{', '.join(formats) or 'nothing recognised'}: {_count(len(self.threads), 'thread')}"]
        for machine in self.diagnosis.machines[:4]:
            pid = (
                f" (pid {machine.pid})"
                if machine.pid is not None and str(machine.pid) not in machine.label
                else ""
            )
            title = machine.label if machine.label.startswith("an ") else f"VM {machine.label}"
            parts.append(f"{title}{pid}, {wording.vcpus_shown(self.diagnosis.scene, machine)}")
        if len(self.diagnosis.machines) > 4:
            parts.append(f"{len(self.diagnosis.machines) - 4} more VMs")
        if capture.host.release:
            parts.append(f"FreeBSD {capture.host.release}")
        self._wrap("; ".join(parts), "", "  ")

    def _finding(self, finding: Finding) -> None:
        heading = _heading(finding)
        text = textwrap.wrap(
            f"{heading}: {escape(finding.summary)}",
            self.options.width,
            subsequent_indent="  ",
            break_on_hyphens=False,
        )
        style = _STYLES.get(finding.verdict, "bold")
        for number, line in enumerate(text):
            if number == 0:
                self.out.append([(style, line[: len(heading)]), ("bold", line[len(heading) :])])
            else:
                self.out.append([("bold", line)])
        if finding.cycle:
            self.out.append([])
            self._cycle(finding)
        elif finding.verdict not in ("no-hang",):
            self._members(finding)
        self._list("Stuck behind it: ", finding.victims)
        if finding.reasons:
            self._paragraphs("Why", finding.reasons)
        self._bug(finding)
        if finding.next_steps:
            self._paragraphs("What to do", finding.next_steps)
        if finding.threads:
            mark = signature(self.diagnosis, finding)
            self.out.append([])
            self._wrap(f"Signature: {mark.digest} ({mark.text})", "  ", "    ")

    def _cycle(self, finding: Finding) -> None:
        """The cycle as a picture: each thread waits for the one below it."""
        elbow, blank = _BRANCH[self.options.unicode]
        indent = "  "
        for depth, index in enumerate(finding.cycle):
            last = depth == len(finding.cycle) - 1
            lead = indent if depth == 0 else indent + elbow
            if last:
                self.out.append([("", lead), ("bold", self._name(index)), ("", " (closes the cycle)")])
                break
            self.out.append([("", lead), ("bold", self._name(index)), ("", self._facts(index))])
            inner = indent if depth == 0 else indent + blank
            self._wrap(self._waiting(index), inner + "   ", inner + "   ")
            indent = inner
        others = [index for index in finding.threads if index not in finding.cycle]
        self._list("In it as well: ", others)

    def _members(self, finding: Finding) -> None:
        shown = list(dict.fromkeys((*finding.threads, *finding.causes)))
        for index in shown[:8]:
            self.out.append([("", "  "), ("bold", self._name(index)), ("", self._facts(index))])
            self._wrap(self._waiting(index), "     ", "     ")
        if len(shown) > 8:
            self.out.append([("", f"  and {len(shown) - 8} more")])

    def _name(self, index: int) -> str:
        return escape(wording.name(self.scene, index))

    def _facts(self, index: int) -> str:
        thread = self.threads[index]
        words = []
        if thread.tid is not None and f"tid {thread.tid}" not in wording.name(self.scene, index):
            words.append(f"tid {thread.tid}")
        if thread.wmesg is not None:
            words.append(f'"{escape(thread.wmesg)}"')
        places = self.scene.thread_where(index)
        if places:
            words.append(place(self.diagnosis, places[0]))
        return "  " + "  ".join(words) if words else ""

    def _waiting(self, index: int) -> str:
        return self.diagnosis.activities.get(index, self.diagnosis.waits[index].title)

    def _list(self, lead: str, indices: Sequence[int]) -> None:
        if not indices:
            return
        names = [self._described(index) for index in indices]
        self.out.append([])
        self._wrap(lead + ("; ".join(names) if len(names) <= 12 else wording.listed(names, 12)), "  ", "    ")

    def _described(self, index: int) -> str:
        name = wording.name(self.scene, index)
        tid = self.threads[index].tid
        if self.scene.waits[index].kind == "rendezvous" and wording.starts_rendezvous(self.scene, index):
            name += ", which started the rendezvous"
        elif self.scene.waits[index].kind == "device-drain":
            name += ", destroying a device"
        return f"{name} (tid {tid})" if tid is not None and f"tid {tid}" not in name else name

    def _paragraphs(self, title: str, texts: Sequence[str]) -> None:
        self.out += [[], [("", "  "), ("bold", title)]]
        for text in texts:
            self._wrap(text, "  - ", "    ")

    def _bug(self, finding: Finding) -> None:
        bug = finding.known_bug
        if bug is None:
            return
        self.out.append([])
        self.out.append([("", "  "), ("bold", f"{finding.bug_title}: "), ("", bug.rule.id)])
        self._wrap(bug.rule.title, "    ")
        self._wrap(bug.status[:1].upper() + bug.status[1:] + ".", "    ")
        for fix in bug.rule.fix:
            branch = f" ({fix.branch})" if fix.branch else ""
            commit = f"{fix.commit[:12]}{branch}" if fix.commit else "commit not known"
            self._wrap(f"Fix: {commit}" + (f': "{fix.title}"' if fix.title else ""), "    ", "      ")

    def _other_threads(self, involved: set[int]) -> None:
        groups: dict[tuple[str, str, tuple[str, ...]], list[int]] = {}
        for index, wait in enumerate(self.diagnosis.waits):
            if index not in involved and self._selected(index):
                stack = tuple([frame.function for frame in self.threads[index].frames])
                groups.setdefault((wait.kind, wait.title, stack), []).append(index)
        if not groups:
            return
        busy: dict[tuple[str, str], list[int]] = {}
        idle: dict[str, list[int]] = {}
        for (kind, title, _), members in groups.items():
            if self.diagnosis.waits[members[0]].idle:
                idle.setdefault(title, []).extend(members)
            else:
                busy.setdefault((kind, title), []).extend(members)
        total = sum(map(len, busy.values())) + sum(map(len, idle.values()))
        self.out += [[], [("bold", f"Other threads: {total}")]]
        for (kind, title), members in sorted(
            busy.items(), key=lambda item: (item[0][0], -len(item[1]), item[0][1])
        ):
            who = wording.listed(list(dict.fromkeys(self._short(index) for index in members)), 4)
            lead = f"  {len(members):>5}  {kind:<12} "
            self._wrap(f"{title}: {who}", lead, " " * len(lead))
        if idle:
            resting = sorted(idle.items(), key=lambda item: (-len(item[1]), item[0]))
            lead = f"  {sum(map(len, idle.values())):>5}  idle, as is normal: "
            parts = [
                title if len(members) == 1 else f"{title} ({len(members)})" for title, members in resting
            ]
            self._wrap("; ".join(parts), lead, " " * 9)

    def _short(self, index: int) -> str:
        thread = self.threads[index]
        return thread.name or thread.command or f"tid {thread.tid}"

    def _every_thread(self) -> None:
        self.out += [[], [("bold", "All threads")]]
        for index, thread in enumerate(self.threads):
            if not self._selected(index):
                continue
            pid = f"pid {thread.pid}  " if thread.pid is not None else ""
            self.out.append([("", f"  {pid}"), ("bold", self._name(index)), ("", self._facts(index))])
            wait = self.diagnosis.waits[index]
            may_be = f" (or {', '.join(wait.alternatives)})" if wait.alternatives else ""
            text = self._waiting(index) if index in self.diagnosis.needs else wait.title
            self._wrap(f"{wait.kind}{may_be}: {text}", "     ")
            if thread.frames:
                self._wrap(_stack(thread), "     ", "       ")

    def _unread(self) -> None:
        sources = self.diagnosis.capture.sources
        files = [item for item in self.diagnosis.capture.unread if not sources[item.where.source].lines]
        unread = [item for item in self.diagnosis.capture.unread if sources[item.where.source].lines]
        if files or unread:
            self.out.append([])
        if files:
            told = [f"{sources[item.where.source].path} ({item.why})" for item in files]
            self._wrap(f"Not read: {wording.listed(told, 6)}.", "", "  ")
        if not unread:
            return
        trace_like = [item for item in unread if item.trace_like]
        lines = sum(item.where.last - item.where.first + 1 for item in unread)
        text = f"Not read: {_count(lines, 'line')}"
        if trace_like:
            shown = wording.listed([place(self.diagnosis, item.where) for item in trace_like], 6)
            alike = sum(item.where.last - item.where.first + 1 for item in trace_like)
            some = "some look" if alike < lines else "all look" if lines > 1 else "it looks"
            text += f"; {'of these, ' if lines > 1 else ''}{some} like part of a trace: {shown}"
        else:
            text += ", none of which looks like part of a trace"
        self._wrap(text + ".", "", "  ")


def _stack(thread: Thread) -> str:
    return " < ".join(frame.function for frame in thread.frames)


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"
