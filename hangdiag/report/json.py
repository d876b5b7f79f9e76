"""The JSON contract, ``hangdiag/1``: fields are only ever added."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from hangdiag import __version__
from hangdiag.findings import Diagnosis, Finding
from hangdiag.model import Frame, Host, Thread, Where
from hangdiag.signature import signature
from hangdiag.waits import Wait

SCHEMA = "hangdiag/1"


def as_json(diagnoses: Sequence[Diagnosis]) -> str:
    """All captures of one reading as one JSON object, one line of text.

    Threads, resources and edges of several instants stand in one list each; ``capture`` tells them apart.
    """
    return json.dumps(as_data(diagnoses), separators=(",", ":"), ensure_ascii=False) + "\n"


def as_data(diagnoses: Sequence[Diagnosis]) -> dict[str, Any]:
    """The object of :func:`as_json` as plain data."""
    first = diagnoses[0]
    data: dict[str, Any] = {
        "schema": SCHEMA,
        "tool": {"name": "hangdiag", "version": __version__},
        "sources": [
            {
                "path": source.path,
                "format": source.format,
                "lines": source.lines,
                "replaced": source.replaced,
                "container": source.container,
                "sha256": source.sha256,
            }
            for source in first.capture.sources
        ],
        "host": _host(next((one.capture.host for one in diagnoses if one.capture.host != Host()), Host())),
        "hosts": [_host(one.capture.host) for one in diagnoses],
        "captures": len(diagnoses),
        "vms": [],
        "threads": [],
        "resources": [],
        "graph": {"edges": []},
        "findings": [],
        "unread": [
            {**_where(item.where), "why": item.why, "trace_like": item.trace_like}
            for diagnosis in diagnoses
            for item in diagnosis.capture.unread
        ],
    }
    findings = []
    for number, diagnosis in enumerate(diagnoses):
        threads_before = len(data["threads"])
        resources_before = len(data["resources"])
        names = [f"t{threads_before + index + 1}" for index in range(len(diagnosis.capture.threads))]
        resources = [f"r{resources_before + index + 1}" for index in range(len(diagnosis.resources))]
        data["vms"] += [
            {
                "label": machine.label,
                "pid": machine.pid,
                "vcpus": {str(vcpu): names[index] for vcpu, index in machine.vcpus.items()},
                "capture": number,
            }
            for machine in diagnosis.machines
        ]
        data["threads"] += [
            _thread(names, resources, diagnosis, index, number)
            for index in range(len(diagnosis.capture.threads))
        ]
        data["resources"] += [
            {"id": name, "kind": resource.kind, "label": resource.label}
            for name, resource in zip(resources, diagnosis.resources, strict=True)
        ]
        data["graph"]["edges"] += [
            {
                "from": names[edge.waiter],
                "to": names[edge.holder],
                "via": resources[edge.resource],
                "mode": edge.mode,
                "certainty": edge.certainty,
                "evidence": [_where(where) for where in edge.evidence],
            }
            for edge in diagnosis.edges
        ]
        findings += [(finding, _finding(names, finding, diagnosis, number)) for finding in diagnosis.findings]
    data["findings"] = [made for _, made in sorted(findings, key=lambda pair: _gravity(pair[0]))]
    return data


def _gravity(finding: Finding) -> int:
    from hangdiag.knowledge.model import VERDICTS

    return VERDICTS.index(finding.verdict)


def _host(host: Host) -> dict[str, Any]:
    facts: dict[str, list[str]] = {}
    for key, value in host.facts:
        facts.setdefault(key, []).append(value)
    return {
        "release": host.release,
        "arch": host.arch,
        "uname": host.uname,
        "hostname": host.hostname,
        "osreldate": host.osreldate,
        "panic": host.panic,
        "facts": {key: "; ".join(values) for key, values in facts.items()},
    }


def _thread(
    names: list[str], resources: list[str], diagnosis: Diagnosis, index: int, capture: int
) -> dict[str, Any]:
    thread = diagnosis.capture.threads[index]
    resource = diagnosis.resource_of.get(index)
    return {
        "id": names[index],
        "pid": thread.pid,
        "tid": thread.tid,
        "address": _hex(thread.address),
        "command": thread.command,
        "name": _name(thread),
        "state": thread.state,
        "wmesg": thread.wmesg,
        "wchan": _hex(thread.wchan),
        "lock": thread.lock,
        "cpu": thread.cpu,
        "since": thread.since,
        "frames": [_frame(frame) for frame in thread.frames],
        "wait": _wait(diagnosis.waits[index], resources[resource] if resource is not None else None),
        "where": _where(thread.stack_where or (thread.where[0] if thread.where else Where(0, 0, 0))),
        "lines": [_where(where) for where in thread.where],
        "capture": capture,
    }


def _name(thread: Thread) -> str | None:
    """A thread without a name of its own has its process' (as ddb prints it; procstat prints "-")."""
    return thread.name if thread.name is not None else thread.command


def _wait(wait: Wait, resource: str | None) -> dict[str, Any]:
    return {
        "kind": wait.kind,
        "rule": wait.rule.id if wait.rule is not None else None,
        "mode": wait.mode,
        "via": wait.via,
        "idle": wait.idle,
        "resource": resource,
        "title": wait.title,
        "may_be": [wait.kind, *wait.alternatives] if wait.alternatives else [],
        "by": wait.by,
    }


def _frame(frame: Frame) -> dict[str, Any]:
    return {
        "function": frame.function,
        "offset": frame.offset,
        "module": frame.module,
        "file": frame.file,
        "line": frame.line,
        "args": dict(frame.args),
    }


def _finding(names: list[str], finding: Finding, diagnosis: Diagnosis, capture: int) -> dict[str, Any]:
    bug = finding.known_bug
    mark = signature(diagnosis, finding)
    return {
        "verdict": finding.verdict,
        "certainty": finding.certainty,
        "summary": finding.summary,
        "threads": [names[index] for index in finding.threads],
        "cycle": [names[index] for index in finding.cycle],
        "victims": [names[index] for index in finding.victims],
        "causes": [names[index] for index in finding.causes],
        "initiator": names[finding.initiator] if finding.initiator is not None else None,
        "reasons": list(finding.reasons),
        "known_bug": None
        if bug is None
        else {
            "id": bug.rule.id,
            "title": bug.rule.title,
            "fixed_in": [release for fix in bug.rule.fix for release in fix.releases],
            "commits": [fix.commit for fix in bug.rule.fix if fix.commit is not None],
            "status": bug.status,
            "references": list(bug.rule.references),
        },
        "signature": {"text": mark.text, "digest": mark.digest},
        "next_steps": list(finding.next_steps),
        "evidence": [_where(where) for where in finding.evidence],
        "capture": capture,
    }


def _where(where: Where) -> dict[str, int]:
    return {"source": where.source, "first": where.first, "last": where.last}


def _hex(value: int | None) -> str | None:
    return None if value is None else f"{value:#x}"
