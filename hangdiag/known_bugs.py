"""Compares findings with the known bugs of rules/bugs, and the host's release with their fixes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

from hangdiag.findings import Finding, KnownBug
from hangdiag.holders import Scene
from hangdiag.holders.machines import functions_of
from hangdiag.knowledge import BugRule, Knowledge
from hangdiag.knowledge.model import SignatureThread
from hangdiag.knowledge.pattern import matches, parse_pattern, top_positions
from hangdiag.model import Host, Thread, release_numbers
from hangdiag.waits import Wait


def with_known_bugs(findings: Iterable[Finding], scene: Scene, knowledge: Knowledge) -> list[Finding]:
    """The findings, each with the most specific known bug whose signature it has, if any.

    Linear in threads, however many findings there are: findings on threads of the same sorts are the same bug.
    """
    lookout = Lookout(scene, knowledge)
    release = release_numbers(scene.capture.host.release)
    bugs = [bug for bug in knowledge.bugs if within(release, bug.releases) is not False]
    known: dict[Sight, KnownBug | None] = {}
    made = []
    for finding in findings:
        sight = lookout.sight(finding)
        if sight not in known:
            found = lookout.bugs_among(bugs, sight)
            best = min(found, key=lambda bug: (-_specificity(bug), bug.id), default=None)
            known[sight] = None if best is None else KnownBug(best, fix_status(best, scene.capture.host))
        bug = known[sight]
        made.append(finding if bug is None else replace(finding, known_bug=bug))
    return made


def _specificity(bug: BugRule) -> int:
    return sum(
        2 * len(thread.stack[:1])
        + len(thread.without[:1])
        + sum(
            value not in (None, (), 1)
            for value in (thread.kind, thread.rule, thread.via, thread.wmesg, thread.command, thread.name)
        )
        for thread in bug.signature.thread
    )


#: What signatures see of a finding: its verdict, and the sorts of its threads by their role in it.
Sight = tuple[str, tuple[int, ...], tuple[int, ...]]


@dataclass(frozen=True, slots=True)
class _Example:
    """A thread of a sort, its functions, and up to where among them a pattern may begin."""

    thread: Thread
    wait: Wait
    functions: Sequence[str]
    names: frozenset[str]
    top: int

    def has(self, text: str) -> bool:
        """Does the pattern ``text`` hold on its stack?"""
        pattern = parse_pattern(text)
        # most stacks lack what most patterns begin with
        return not self.names.isdisjoint(pattern.blocks[0][0]) and matches(pattern, self.functions, self.top)


class Lookout:
    """Looks for the threads of signatures in one capture. Threads that no signature can tell apart are one sort."""

    def __init__(self, scene: Scene, knowledge: Knowledge) -> None:
        skip = knowledge.words.switch | knowledge.words.queue
        sorts: dict[tuple[object, ...], int] = {}
        self._sort_of = [
            sorts.setdefault(
                (
                    wait.kind, wait.rule and wait.rule.id, wait.via, thread.wmesg, thread.command, thread.name,
                    tuple(functions_of(thread)),
                ),
                len(sorts),
            )
            for thread, wait in zip(scene.capture.threads, scene.waits, strict=True)
        ]  # fmt: skip
        self._members = Counter(self._sort_of)
        self._examples: dict[int, _Example] = {}
        for index, sort in enumerate(self._sort_of):
            if sort not in self._examples:
                thread = scene.capture.threads[index]
                functions = functions_of(thread)
                top = top_positions(functions, skip)
                self._examples[sort] = _Example(thread, scene.waits[index], functions, frozenset(functions), top)
        # by the identity of a signature's thread, which the knowledge keeps alive
        self._answers: dict[tuple[int, int], bool] = {}
        self._anywhere: dict[int, bool] = {}

    def sight(self, finding: Finding) -> Sight:
        """What signatures see of ``finding``."""
        core = [self._sort_of[index] for index in finding.threads + finding.causes]
        victims = [self._sort_of[index] for index in finding.victims]
        return finding.verdict, tuple(sorted(core)), tuple(sorted(victims))

    def bugs_among(self, bugs: Iterable[BugRule], sight: Sight) -> list[BugRule]:
        """Those of ``bugs`` whose signature a finding that looks so has."""
        verdict, core, victims = sight
        near = {"core": Counter(core), "stuck": Counter(core + victims)}
        return [
            bug
            for bug in bugs
            if (not bug.signature.verdicts or verdict in bug.signature.verdicts)
            and all(
                self._are_there(wanted, near[wanted.role]) if wanted.role in near else self._are_anywhere(wanted)
                for wanted in bug.signature.thread
            )
        ]

    def _are_anywhere(self, wanted: SignatureThread) -> bool:
        if id(wanted) not in self._anywhere:
            self._anywhere[id(wanted)] = self._are_there(wanted, self._members)
        return self._anywhere[id(wanted)]

    def _are_there(self, wanted: SignatureThread, members: Mapping[int, int]) -> bool:
        missing = wanted.count
        for sort, number in members.items():
            if missing <= 0:
                break
            if self._fits(wanted, sort):
                missing -= number
        return missing <= 0

    def _fits(self, wanted: SignatureThread, sort: int) -> bool:
        key = (id(wanted), sort)
        if key not in self._answers:
            self._answers[key] = _is_like(wanted, self._examples[sort])
        return self._answers[key]


def _is_like(wanted: SignatureThread, example: _Example) -> bool:
    thread, wait = example.thread, example.wait
    if wanted.kind is not None and wait.kind != wanted.kind:
        return False
    if wanted.rule is not None and (wait.rule is None or wait.rule.id != wanted.rule):
        return False
    if wanted.via is not None and wait.via != wanted.via:
        return False
    if wanted.wmesg and thread.wmesg not in wanted.wmesg:
        return False
    if wanted.command and not any(fnmatchcase(thread.command or "", pattern) for pattern in wanted.command):
        return False
    if wanted.name and not any(fnmatchcase(thread.name or "", pattern) for pattern in wanted.name):
        return False
    if wanted.stack and not any(map(example.has, wanted.stack)):
        return False
    return not any(map(example.has, wanted.without))


def within(release: tuple[int, int] | None, releases: str | None) -> bool | None:
    """Is a release in a range such as ``13.1-15.0``, ``11-`` or ``12-13`` (ends included)? None: not known."""
    if release is None or not releases:
        return None
    first, _, last = releases.partition("-")
    low = release_numbers(first if "." in first else f"{first}.0")
    if low is not None and release < low:
        return False
    if not last:
        return True
    high = release_numbers(last)
    if high is not None:
        return release <= high
    return release[0] <= int(last) if last.isdigit() else None


def fix_status(bug: BugRule, host: Host) -> str:
    """One sentence: does the captured host's release have the fix, as far as the rule can prove it?"""
    if not bug.fix:
        return "no fix is known"
    fixed_in = [release for fix in bug.fix for release in fix.releases]
    where = f"fixed in {', '.join(fixed_in)}" if fixed_in else "which releases have the fix is not known"
    known = [fix.osreldate for fix in bug.fix if fix.osreldate is not None]
    if host.osreldate is not None and known and host.osreldate >= min(known) and len(bug.fix) == 1:
        return f"your kernel ({host.osreldate}) should have the fix: {where}; if so, this is another bug"
    ours = release_numbers(host.release)
    if ours is None:
        return f"{where}; the capture does not show your release"
    same_branch = [
        theirs for text in fixed_in if (theirs := release_numbers(text)) is not None and theirs[0] == ours[0]
    ]
    if same_branch:
        if ours >= min(same_branch):
            return f"{where}; your {host.release} may have it already: compare the commit"
        if not (host.release or "").endswith("RELEASE") and (ours[0], ours[1] + 1) in same_branch:
            return f"{where}; your {host.release} may have it already: compare its date with the commit's"
        return f"{where}; your {host.release} lacks it"
    first = min((theirs for text in fixed_in if (theirs := release_numbers(text)) is not None), default=None)
    if first is not None and ours < first:
        return f"{where}; your {host.release} lacks it, unless it was merged to its branch (not known)"
    return f"{where}; whether your {host.release} has it is not known"
