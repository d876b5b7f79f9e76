"""Checks rules by their own examples: each example must be won by its rule, and fail without it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from hangdiag.knowledge.match import Matcher
from hangdiag.knowledge.model import BugExample, BugRule, Knowledge, WaitExample, WaitRule
from hangdiag.model import Capture, Frame, Thread


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with a rule. ``grave`` problems fail the check, the others are advice."""

    file: str
    rule: str
    message: str
    grave: bool = True

    def __str__(self) -> str:
        return f"{self.file}: {self.rule}: {self.message}"


def check_knowledge(knowledge: Knowledge) -> list[Problem]:
    """All problems of the rules: examples that fail, rules without examples, ties between rules."""
    matcher = Matcher(knowledge)
    problems: list[Problem] = []
    for rule in knowledge.waits:
        problems += _check_wait(rule, matcher)
    for bug in knowledge.bugs:
        problems += _check_bug(bug, knowledge, matcher)
    return problems


def example_thread(example: WaitExample) -> Thread:
    """The thread that an example describes."""
    return Thread(
        command=example.command,
        name=example.name,
        state=example.state,
        wmesg=example.wmesg,
        frames=tuple(Frame(name) for name in example.stack),
    )


def _check_wait(rule: WaitRule, matcher: Matcher) -> list[Problem]:
    problems = []
    if not rule.example:
        problems.append(Problem(rule.file, rule.id, "has no example; give one that fails without the rule"))
    for number, example in enumerate(rule.example, 1):
        thread = example_thread(example)
        functions = tuple(frame.function for frame in thread.frames)
        found = sorted(matcher.candidates(thread, functions), key=lambda match: match.rank, reverse=True)
        if not any(match.rule.id == rule.id for match in found):
            problems.append(Problem(rule.file, rule.id, f"example {number} is not recognised"))
            continue
        best = matcher.find(thread)
        if best is not None and best.rule.id != rule.id:
            problems.append(Problem(rule.file, rule.id, f"example {number} is won by {best.rule.id}"))
        ties = [match.rule.id for match in found if match.rank == found[0].rank and match.rule.id != rule.id]
        ours = next(match for match in found if match.rule.id == rule.id)
        if ties and ours.rank == found[0].rank:
            problems.append(
                Problem(
                    rule.file,
                    rule.id,
                    f"example {number} fits {', '.join(sorted(ties))} as well; make one more specific",
                )
            )
    if not rule.references:
        problems.append(Problem(rule.file, rule.id, "has no reference", grave=False))
    if rule.verified is None:
        problems.append(Problem(rule.file, rule.id, "does not say how it was verified", grave=False))
    return problems


def _check_bug(bug: BugRule, knowledge: Knowledge, matcher: Matcher) -> list[Problem]:
    from hangdiag.findings import Finding
    from hangdiag.holders import make_scene
    from hangdiag.known_bugs import Lookout, with_known_bugs
    from hangdiag.waits import classify

    problems = []
    known = {rule.id for rule in knowledge.waits}
    problems += [
        Problem(bug.file, bug.id, f"signature names the unknown wait rule {wanted.rule}")
        for wanted in bug.signature.thread
        if wanted.rule is not None and wanted.rule not in known
    ]
    if not bug.example:
        problems.append(Problem(bug.file, bug.id, "has no example; give one that its signature matches"))
    for number, example in enumerate(bug.example, 1):
        capture = _example_capture(example)
        scene = make_scene(capture, classify(capture, matcher))
        finding = Finding(
            example.verdict,
            "proven",
            "example",
            tuple(index for index, thread in enumerate(example.thread) if thread.role == "core"),
            victims=tuple(index for index, thread in enumerate(example.thread) if thread.role == "stuck"),
        )
        lookout = Lookout(scene, knowledge)
        if not lookout.bugs_among([bug], lookout.sight(finding)):
            problems.append(Problem(bug.file, bug.id, f"example {number} does not have the signature"))
            continue
        best = with_known_bugs([finding], scene, knowledge)[0].known_bug
        if best is not None and best.rule.id != bug.id:
            problems.append(Problem(bug.file, bug.id, f"example {number} is taken for {best.rule.id}"))
        nobody = Lookout(replace(scene, capture=Capture(), waits=()), knowledge)
        if nobody.bugs_among([bug], (example.verdict, (), ())):
            problems.append(Problem(bug.file, bug.id, "the signature matches without any thread"))
    return problems


def _example_capture(example: BugExample) -> Capture:
    threads = tuple(
        Thread(
            pid=1000,
            tid=100000 + number,
            command=thread.command or "bhyve",
            name=thread.name,
            wmesg=thread.wmesg,
            frames=tuple(Frame(name) for name in thread.stack),
        )
        for number, thread in enumerate(example.thread)
    )
    return Capture(threads=threads)
