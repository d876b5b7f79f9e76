"""What a diagnosis ends in: values that reports print and never compute."""

from __future__ import annotations

from dataclasses import dataclass

from hangdiag.holders import Machine, Need, Resource, Scene
from hangdiag.knowledge.model import BugRule
from hangdiag.model import Capture, Where
from hangdiag.waits import Wait


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Edge:
    """Thread ``waiter`` cannot go on before thread ``holder`` acts on the resource.

    Threads are indices in the capture, ``resource`` one in the diagnosis. ``certainty``:
    observed, inferred or possible (one of several candidates).
    """

    waiter: int
    holder: int
    resource: int
    mode: str
    certainty: str
    evidence: tuple[Where, ...]


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class KnownBug:
    """A bug whose signature a finding has. ``status`` says what the capture's release tells of the fix."""

    rule: BugRule
    status: str


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Finding:
    """One conclusion.

    ``threads`` are the core of a deadlock, or the threads that wait; ``cycle`` names a shortest cycle
    through the core, its first thread again at the end; ``victims`` are stuck behind it;
    ``causes`` are the threads at the root of what is no deadlock. ``reasons`` are the
    sentences that the claim rests on.
    """

    verdict: str
    certainty: str
    summary: str
    threads: tuple[int, ...] = ()
    cycle: tuple[int, ...] = ()
    victims: tuple[int, ...] = ()
    causes: tuple[int, ...] = ()
    initiator: int | None = None
    reasons: tuple[str, ...] = ()
    known_bug: KnownBug | None = None
    next_steps: tuple[str, ...] = ()
    evidence: tuple[Where, ...] = ()

    @property
    def bug_title(self) -> str:
        """What a report calls the known bug: a finding that is only possible makes no sure match."""
        return "Perhaps a known bug" if self.certainty == "possible" else "Known bug"


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Diagnosis:
    """A capture with everything concluded from it. Findings come gravest first, at least one.

    ``activities`` says in words what each thread that waits for others was doing.
    """

    scene: Scene
    needs: dict[int, Need]
    activities: dict[int, str]
    resources: tuple[Resource, ...]
    resource_of: dict[int, int]
    edges: tuple[Edge, ...]
    findings: tuple[Finding, ...]

    @property
    def capture(self) -> Capture:
        """What was read."""
        return self.scene.capture

    @property
    def waits(self) -> tuple[Wait, ...]:
        """The wait of every thread, in the capture's order."""
        return self.scene.waits

    @property
    def machines(self) -> tuple[Machine, ...]:
        """The VMs found."""
        return self.scene.machines

    @property
    def verdict(self) -> str:
        """The gravest finding's."""
        return self.findings[0].verdict
