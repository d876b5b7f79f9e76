"""A short name for a hang, equal for the same bug on another host (docs/signature.md).

It is made of what the threads of a finding wait for and who waits for whom, not of functions,
counts, names of VMs, ids or addresses. Threads that wait for the same kind of thing are one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from hangdiag.digest import sha256
from hangdiag.findings import Diagnosis, Finding

#: Changes when the text of a known hang changes: old and new digests are then not comparable.
VERSION = 1
#: Kinds that say by themselves what is waited for.
_PLAIN = frozenset({"rendezvous", "vcpu-halt", "vcpu-suspend", "device-drain", "unknown"})


@dataclass(frozen=True, slots=True)
class Signature:
    """``text`` for people, ``digest`` (12 hex digits of its SHA-256) to compare and to search for."""

    text: str
    digest: str

    def __str__(self) -> str:
        return f"{self.digest} ({self.text})"


def signature(diagnosis: Diagnosis, finding: Finding) -> Signature:
    """The signature of one finding of ``diagnosis``."""
    if finding.verdict == "deadlock":
        detail = _shape(diagnosis, finding)
    else:
        detail = " + ".join(_labels(diagnosis, finding.threads))
        behind = " + ".join(_labels(diagnosis, finding.causes))
        if behind:
            detail += f" behind {behind}"
    text = f"{finding.verdict}: {detail}" if detail else finding.verdict
    return Signature(text, sha256(f"hangdiag-signature/{VERSION}\n{text}".encode())[:12])


def _labels(diagnosis: Diagnosis, indices: Iterable[int]) -> list[str]:
    return sorted({_label(diagnosis, index) for index in indices})


def _shape(diagnosis: Diagnosis, finding: Finding) -> str:
    """Who waits for whom in the core, threads with equal labels drawn together."""
    core = frozenset(finding.threads)
    follows: dict[str, set[str]] = {label: set() for label in _labels(diagnosis, core)}
    for index in core & diagnosis.needs.keys():
        behind = {holder.thread for holder in diagnosis.needs[index].holders} & core
        follows[_label(diagnosis, index)].update(_labels(diagnosis, behind))
    if len(follows) > 1 and all(len(targets) == 1 for targets in follows.values()):
        # one ring, told from its alphabetically first member on
        ring = [min(follows)]
        while len(ring) <= len(follows):
            ring.append(next(iter(follows[ring[-1]])))
        if ring[-1] == ring[0] and set(ring) == set(follows):
            return " -> ".join(ring)
    return ", ".join(
        f"{label} -> {'itself' if target == label else target}"
        for label, targets in sorted(follows.items())
        for target in sorted(targets)
    )


def _label(diagnosis: Diagnosis, index: int) -> str:
    """What a thread waits for, as far as it is the same on every host."""
    wait = diagnosis.waits[index]
    need = diagnosis.needs.get(index)
    if wait.on_cpu:
        return "running"
    if wait.kind in _PLAIN:
        return wait.kind
    if wait.kind == "vcpu-state":
        scope = "all" if need is not None and need.resource.key[0] == "vcpus" else "one"
        return f"vcpu-state({', '.join((scope, wait.via) if wait.via else (scope,))})"
    if wait.kind == "lock":
        named = need.resource.label.removeprefix("lock ") if need is not None else "a lock"
        if named == "a lock":
            named = diagnosis.capture.threads[index].lock or (wait.rule.lock_class if wait.rule is not None else None) or ""
        return f"lock({_without_numbers(named)})" if named else "lock"
    return f"{wait.kind}({wait.rule.id})" if wait.rule is not None else wait.kind


def _without_numbers(name: str) -> str:
    """A lock's name without what tells one of a kind from another: ``em0:tx(3)`` becomes ``em#:tx(#)``."""
    return re.sub(r"0x[0-9a-f]+|\d+", "#", name)
