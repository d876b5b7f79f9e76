"""From a capture to findings: classify, resolve holders, reduce, conclude.

docs/diagnosis.md explains how a claim is reached and what its certainty means.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from hangdiag import graph, wording
from hangdiag.findings import Diagnosis, Edge, Finding
from hangdiag.holders import Need, Resource, Scene, find_needs, make_scene
from hangdiag.knowledge import Knowledge, Matcher
from hangdiag.knowledge.model import VERDICTS
from hangdiag.known_bugs import with_known_bugs
from hangdiag.model import Capture, Where
from hangdiag.no_hang import CAN_MOVE, at_most, is_suspicious, no_hang, waits_for_storage
from hangdiag.steps import next_steps
from hangdiag.waits import classify

#: What a need may rest on that no proof does.
_UNSURE = frozenset({"rule", "order"})
_GRAVITY = {verdict: number for number, verdict in enumerate(VERDICTS)}
_SURENESS = {"proven": 0, "likely": 1, "possible": 2}


def diagnose(capture: Capture, knowledge: Knowledge, matcher: Matcher | None = None) -> Diagnosis:
    """Conclude what is wrong with the captured host. Pure: the same capture gives the same diagnosis."""
    waits = classify(capture, matcher or Matcher(knowledge))
    scene = make_scene(capture, waits)
    needs = find_needs(scene)
    resources, resource_of = _number_resources(needs)
    edges = tuple(
        Edge(
            index,
            holder.thread,
            resource_of[index],
            need.mode,
            holder.certainty,
            _evidence(scene, index, holder.where),
        )
        for index, need in needs.items()
        for holder in need.holders
    )
    found = _deadlocks(scene, needs)
    explained = {index for finding in found for index in (*finding.threads, *finding.victims)}
    found += _others(scene, needs, explained)
    if not found:
        found = [no_hang(scene)]
    found.sort(
        key=lambda item: (
            _GRAVITY[item.verdict],
            _SURENESS[item.certainty],
            -len(item.threads) - len(item.victims),
        )
    )
    findings = tuple(next_steps(finding, scene, needs) for finding in with_known_bugs(found, scene, knowledge))
    activities = {index: wording.activity(scene, index, need, knowledge) for index, need in needs.items()}
    return Diagnosis(scene, needs, activities, resources, resource_of, edges, findings)


def diagnose_all(captures: Iterable[Capture], knowledge: Knowledge) -> tuple[Diagnosis, ...]:
    """The diagnosis of each capture of one input, doubted where a later one shows that a deadlock's thread moved."""
    matcher = Matcher(knowledge)
    diagnoses = tuple([diagnose(capture, knowledge, matcher) for capture in captures])
    if len(diagnoses) < 2:
        return diagnoses
    from hangdiag.compare import doubted

    return doubted(diagnoses)


def _number_resources(needs: Mapping[int, Need]) -> tuple[tuple[Resource, ...], dict[int, int]]:
    numbers: dict[tuple[object, ...], int] = {}
    resources: list[Resource] = []
    of_thread = {}
    for index, need in needs.items():
        key = (need.resource.kind, *need.resource.key)
        if key not in numbers:
            numbers[key] = len(resources)
            resources.append(need.resource)
        of_thread[index] = numbers[key]
    return tuple(resources), of_thread


def _evidence(scene: Scene, waiter: int, of_holder: tuple[Where, ...]) -> tuple[Where, ...]:
    return tuple(dict.fromkeys((*scene.thread_where(waiter), *of_holder)))


def _deadlocks(scene: Scene, needs: Mapping[int, Need]) -> list[Finding]:
    """Deadlocks by the three readings, surest first; a reading adds only what surer ones did not find."""
    readings = (
        ("proven", {index: need.strict() for index, need in needs.items()}),
        ("likely", {index: need.likely() for index, need in needs.items()}),
        ("possible", {index: need.possible() for index, need in needs.items()}),
    )
    findings: list[Finding] = []
    explained: set[int] = set()
    # who is stuck behind a deadlock is asked under the likely reading: no proof rests on it
    likely = readings[1][1]
    for certainty, conditions in readings:
        stuck = graph.reduce(conditions)
        wide = conditions if certainty == "possible" else likely
        waiting: dict[int, list[int]] | None = None
        for core in graph.cores(stuck, conditions):
            if not explained.isdisjoint(core):
                continue
            sure = certainty
            if certainty == "proven" and any(needs[index].basis in _UNSURE for index in core):
                surer = _without_rules(needs, core)
                core, sure = (surer, "proven") if surer else (core, "likely")
            if waiting is None:
                behind = stuck if certainty == "possible" else stuck | graph.reduce(likely)
                waiting = graph.waiters(behind, {index: wide[index].targets for index in behind})
            victims = graph.dependents(core, waiting) - set(core)
            findings.append(_deadlock(scene, needs, core, sorted(victims), sure))
            explained.update(core, victims)
    return findings


def _without_rules(needs: Mapping[int, Need], core: list[int]) -> list[int]:
    """The part of a core that is deadlocked even if what rests on a rule, or on the order of lines, is not so."""
    sure = {index for index in core if needs[index].basis not in _UNSURE}
    conditions = {}
    for index in sure:
        targets = tuple([target for target in needs[index].strict().targets if target in sure])
        if not targets:
            return []  # without the others it would wait for nobody: then they mattered
        conditions[index] = graph.Condition(needs[index].mode, targets)
    found = graph.cores(graph.reduce(conditions), conditions)
    return found[0] if found else []


def _deadlock(
    scene: Scene, needs: Mapping[int, Need], core: list[int], victims: list[int], certainty: str
) -> Finding:
    certainty = at_most(scene, core, certainty)
    edges = {index: [holder.thread for holder in needs[index].holders] for index in core}
    initiators = [index for index in (*core, *victims) if wording.starts_rendezvous(scene, index)]
    initiator = initiators[0] if initiators else None
    begin = (
        initiator
        if initiator in edges
        else next((i for i in core if scene.waits[i].kind == "rendezvous"), core[0])
    )
    cycle = graph.shortest_cycle(begin, core, edges)
    evidence = dict.fromkeys(where for index in core for where in _evidence(scene, index, ()))
    for index in core:
        for holder in needs[index].holders:
            if holder.thread in edges:
                evidence.update(dict.fromkeys(holder.where))
    return Finding(
        "deadlock",
        certainty,
        wording.deadlock(scene, core, certainty),
        tuple(core),
        tuple(cycle),
        tuple(victims),
        initiator=initiator,
        reasons=_reasons(scene, needs, core),
        evidence=tuple(sorted(evidence)),
    )


def _reasons(scene: Scene, needs: Mapping[int, Need], indices: Iterable[int]) -> tuple[str, ...]:
    """One sentence a thread, equal explanations said once."""
    of_why: dict[str, list[int]] = {}
    for index in indices:
        if index in needs:
            of_why.setdefault(needs[index].why, []).append(index)
    return tuple(f"{wording.names(scene, members)}: {why}" for why, members in of_why.items() if why)


def _others(scene: Scene, needs: Mapping[int, Need], explained: set[int]) -> list[Finding]:
    """What waits for others without being deadlocked, grouped by the threads at the root of it."""
    groups: dict[tuple[str, frozenset[int]], list[int]] = {}
    ends = _ends(needs, explained)
    for index, need in needs.items():
        if index in explained:
            continue
        roots, unknown = ends[index]
        if not roots and not unknown and not need.holders:
            continue
        verdict = _verdict(scene, roots, unknown, explained)
        groups.setdefault((verdict, roots), []).append(index)
    findings = [
        _blocked(scene, needs, _of_storage(scene, verdict, roots, members), sorted(roots), members)
        for (verdict, roots), members in groups.items()
        if not _is_everyday(scene, members)
    ]
    causes = {cause for finding in findings for cause in finding.causes}
    told = explained | causes | {index for finding in findings for index in finding.threads}
    return findings + _suspicious(scene, explained, causes) + _stalled_guests(scene, told)


def _ends(needs: Mapping[int, Need], explained: set[int]) -> dict[int, tuple[frozenset[int], bool]]:
    """For each thread that waits: those that it ends up waiting for, and whether some holder on the way is unknown."""
    edges = {
        index: [holder.thread for holder in need.holders]
        for index, need in needs.items()
        if index not in explained
    }
    ends: dict[int, tuple[frozenset[int], bool]] = {}
    for part in graph.components(edges, edges):
        targets = {target for index in part for target in edges[index]}.difference(part)
        # a crowd waits for the same few: their roots are one set, not a set each
        beyond = {ends[target] for target in targets if target in edges}
        roots = frozenset(target for target in targets if target not in edges).union(*[roots for roots, _ in beyond])
        unknown = any(not edges[index] for index in part) or any(unknown for _, unknown in beyond)
        ends.update(dict.fromkeys(part, (roots, unknown)))
    return ends


def _verdict(scene: Scene, roots: frozenset[int], unknown: bool, explained: set[int]) -> str:
    if any(root in explained for root in roots):
        return "blocked"
    kinds = {scene.waits[root].kind for root in roots}
    resting = kinds - CAN_MOVE
    if resting == {"unknown"}:
        return "inconclusive"
    if resting:
        suspicious = {
            kind
            for root in roots
            if (kind := scene.waits[root].kind) in ("memory", "io") and is_suspicious(scene, root)
        }
        if "memory" in suspicious:
            return "memory-starvation"
        return "io-stall" if "io" in suspicious else "blocked"
    if unknown:
        return "inconclusive"
    return "contention" if roots else "inconclusive"


def _of_storage(scene: Scene, verdict: str, roots: Iterable[int], members: Iterable[int]) -> str:
    """``verdict``, but "io-stall" where storage waits for storage and nothing else is involved."""
    if verdict == "blocked" and all(waits_for_storage(scene, index) for index in (*roots, *members)):
        return "io-stall"
    return verdict


def _stalled_guests(scene: Scene, told: set[int]) -> list[Finding]:
    """Guests of which nothing runs or can run, while many of their threads wait for storage at once.

    A busy disk looks the same at one instant, so it is no more than possible.
    """
    findings = []
    for machine in scene.machines:
        waiting = [index for index in sorted(machine.members) if waits_for_storage(scene, index)]
        vcpu_waits = not set(waiting).isdisjoint(machine.vcpus.values())
        if len(waiting) < (2 if vcpu_waits else 4) or not told.isdisjoint(waiting):
            continue
        others = machine.members.difference(waiting)
        if any(not (scene.waits[index].idle or scene.waits[index].kind == "vcpu-halt") for index in others):
            continue
        findings.append(
            Finding(
                "io-stall",
                "possible",
                wording.stalled_guest(scene, machine.label, waiting),
                tuple(waiting),
                evidence=tuple(sorted({where for index in waiting for where in _evidence(scene, index, ())})),
            )
        )
    return findings


def _is_everyday(scene: Scene, members: list[int]) -> bool:
    """A thread or two that wait for storage or memory are a host at work, not a finding."""
    return len(members) < 4 and all(
        scene.waits[index].kind in ("io", "filesystem", "memory", "work") and not is_suspicious(scene, index)
        for index in members
    )


def _blocked(
    scene: Scene, needs: Mapping[int, Need], verdict: str, roots: list[int], members: list[int]
) -> Finding:
    causes = [root for root in roots if scene.waits[root].kind not in CAN_MOVE] or roots
    all_rest = all(
        scene.waits[holder.thread].kind not in CAN_MOVE for i in members for holder in needs[i].holders
    )
    sure = verdict in ("blocked", "contention") and all(
        needs[index].basis != "rule"
        and not needs[index].open
        and (all_rest or needs[index].basis in ("observed", "order"))
        for index in members
    )
    certainty = at_most(scene, (*members, *causes), "likely" if sure else "possible")
    evidence = dict.fromkeys(where for index in (*members, *causes) for where in _evidence(scene, index, ()))
    return Finding(
        verdict,
        certainty,
        wording.blocked(scene, needs, verdict, causes, members),
        tuple(members),
        causes=tuple(causes),
        reasons=_reasons(scene, needs, members),
        evidence=tuple(sorted(evidence)),
    )


def _suspicious(scene: Scene, explained: set[int], causes: set[int]) -> list[Finding]:
    """Waits that are never normal by themselves: out of memory, a suspended pool, a lock spun on."""
    verdict_of = {"memory": "memory-starvation", "io": "io-stall", "filesystem": "io-stall"}
    groups: dict[tuple[str, str], list[int]] = {}
    for index, wait in enumerate(scene.waits):
        if index in explained or index in causes or wait.rule is None or wait.idle:
            continue
        if wait.kind in verdict_of and wait.rule.normal == "suspicious":
            groups.setdefault((verdict_of[wait.kind], wait.rule.id), []).append(index)
        elif wait.kind == "lock" and wait.rule.lock_class == "spin mutex":
            groups.setdefault(("spin", wait.rule.id), []).append(index)
    return [
        Finding(
            verdict,
            "possible",
            wording.suspicious(scene, verdict, members),
            tuple(members),
            evidence=tuple(sorted({where for index in members for where in _evidence(scene, index, ())})),
        )
        for (verdict, _), members in groups.items()
    ]
