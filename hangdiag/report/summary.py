"""What a bug report says of a diagnosis, in plain lines: shared by its forms.

Nothing is concluded here; the lines only put findings into words.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Sequence

from hangdiag import wording
from hangdiag.findings import Diagnosis, Finding
from hangdiag.holders.machines import in_device
from hangdiag.knowledge.model import VERDICTS
from hangdiag.report.places import escape, place
from hangdiag.signature import signature

WIDTH = 78
#: Values of sysctl and kenv that a maintainer of vmm(4) asks for.
_FACT = re.compile(r"hw\.(?:model|ncpu|physmem|vmm\.)|pptdevs|vm\.loadavg|kern\.(?:boottime|hz|smp\.)|debug\.witness")
_MOST_FACTS = 40
_MOST_SKIPPED = 10
#: Threads that no finding concerns are shown whole only if they are not more than these.
_MOST_OTHERS = 30
#: Threads, findings and places that a report lists before it counts the rest.
MOST_WHOLE = 200
MOST_FINDINGS = 20
_MOST_PLACES = 40
#: A long cycle is not indented further than this many steps.
_DEEPEST = 8


def gravest(diagnoses: Sequence[Diagnosis]) -> int:
    """The number of the capture that the report is about: the one with the gravest finding, the latest of equals."""
    order = [(VERDICTS.index(one.verdict), -number) for number, one in enumerate(diagnoses)]
    return -min(order)[1]


def wrap(text: str, indent: str = "  ", hanging: str | None = None, width: int = WIDTH) -> list[str]:
    """``text`` in lines of at most ``width`` columns; what cannot be broken (a command) stays whole."""
    return textwrap.wrap(
        escape(" ".join(text.split())),
        width,
        initial_indent=indent,
        subsequent_indent=indent if hanging is None else hanging,
        break_long_words=False,
        break_on_hyphens=False,
    )


#: Words that a command begins with: what follows a colon is then kept whole, to be copied.
_COMMANDS = frozenset(
    {"p", "p/x", "print", "show", "bt", "tid", "procstat", "ps", "gdb", "kgdb", "vmstat", "zpool", "camcontrol"}
    | {"sysctl", "bhyvectl", "dmesg", "gstat", "dtrace"}
)


#: A remark behind a command.
_NOTE = re.compile(r" \([a-z][^()]*\)\Z")


def step(text: str) -> tuple[str, str | None]:
    """A next step as (what for, command): the command is None where the text names none that stands alone."""
    lead, colon, command = text.partition(": ")
    if not colon or command.split(" ", 1)[0].rstrip(",;") not in _COMMANDS:
        return text, None
    if (note := _NOTE.search(command)) is not None:
        return lead + note.group(), command[: note.start()]
    return lead, command


def step_lines(text: str) -> list[str]:
    """A next step as list item; a long command stands in a line of its own, to be copied."""
    lead, command = step(text)
    if command is None or len(text) <= WIDTH - 4:
        return wrap(text, "  - ", "    ")
    lines = wrap(f"{lead}:", "  - ", "    ")
    if "; " in command or ", " in command:
        return [*lines, *wrap(command, "      ")]
    return [*lines, f"      {escape(command)}"]


def heading(finding: Finding) -> str:
    """``DEADLOCK (proven)``."""
    if finding.verdict == "no-hang":
        return "NO HANG FOUND"
    return f"{finding.verdict.upper().replace('-', ' ')} ({finding.certainty})"


def title(diagnosis: Diagnosis) -> str:
    """The bug report's title, in one line: what hangs, and the known bug or the hang's signature."""
    finding = diagnosis.findings[0]
    concerned = (*finding.threads, *finding.causes)
    guest = any(index in diagnosis.scene.machine_of for index in concerned) or (not concerned and bool(diagnosis.machines))
    who = "bhyve guest" if guest else "kernel thread"
    if finding.verdict == "no-hang":
        words = f"{who}: no hang found"
    elif finding.known_bug is not None:
        words = f"{who} hangs: {finding.known_bug.rule.title}"
    else:
        words = f"{who} {'hangs' if finding.verdict == 'deadlock' else 'may hang'}: {signature(diagnosis, finding).text}"
    release = diagnosis.capture.host.release
    return escape(f"{words} (FreeBSD {release})" if release else words)


def since(diagnosis: Diagnosis, finding: Finding) -> str | None:
    """Since when it is stuck, where the capture tells when the threads last ran."""
    ages = [
        age for index in finding.threads if (age := diagnosis.capture.threads[index].since) is not None
    ]
    if not ages or min(ages) < 1:
        return None
    return f"none of the {len(ages)} threads whose last switch is known has run for {min(ages):.0f} s"


def thread_place(diagnosis: Diagnosis, index: int) -> str:
    """Where the evidence for a thread stands."""
    places = diagnosis.scene.thread_where(index)
    return place(diagnosis, places[0]) if places else "no line"


def thread_facts(diagnosis: Diagnosis, index: int) -> str:
    """``vcpu 0  tid 100043  "vmrndv"  line 20``."""
    thread = diagnosis.capture.threads[index]
    name = wording.name(diagnosis.scene, index)
    words = [name]
    if thread.tid is not None and f"tid {thread.tid}" not in name:
        words.append(f"tid {thread.tid}")
    if thread.wmesg is not None:
        words.append(f'"{thread.wmesg}"')
    words.append(thread_place(diagnosis, index))
    return escape("  ".join(words))


def waiting(diagnosis: Diagnosis, index: int) -> str:
    """What a thread was doing, and for which threads it waits."""
    return escape(diagnosis.activities.get(index, diagnosis.waits[index].title))


def picture(diagnosis: Diagnosis, finding: Finding, width: int = WIDTH) -> list[str]:
    """The cycle in ASCII: each thread waits for the one below it. Without a cycle, the threads with their waits."""
    lines: list[str] = []
    indent = "  "
    for depth, index in enumerate(finding.cycle):
        lead = indent if depth == 0 else indent + "+- "
        if depth == len(finding.cycle) - 1:
            lines.append(f"{lead}{escape(wording.name(diagnosis.scene, index))} (closes the cycle)")
            break
        lines.append(lead + thread_facts(diagnosis, index))
        indent = indent if depth in (0, _DEEPEST) or depth > _DEEPEST else indent + "   "
        lines += wrap(waiting(diagnosis, index), indent + "   ", width=width)
    if not finding.cycle:
        for index in list(dict.fromkeys((*finding.threads, *finding.causes)))[:12]:
            lines.append("  " + thread_facts(diagnosis, index))
            lines += wrap(waiting(diagnosis, index), "     ", width=width)
    return lines


def members(diagnosis: Diagnosis, indices: Iterable[int], most: int = 20) -> str:
    """Threads by name, id and activity, in one sentence."""
    names = []
    for index in indices:
        name = wording.name(diagnosis.scene, index)
        tid = diagnosis.capture.threads[index].tid
        extra = [f"tid {tid}"] if tid is not None and f"tid {tid}" not in name else []
        if (doing := diagnosis.activities.get(index)) is not None:
            extra.append(doing)
        names.append(f"{name} [{', '.join(extra)}]" if extra else name)
    return wording.listed(names, most)


def evidence(diagnosis: Diagnosis, finding: Finding) -> str:
    """The lines that a finding rests on."""
    places = [place(diagnosis, where) for where in finding.evidence[:_MOST_PLACES]]
    rest = len(finding.evidence) - len(places)
    return ", ".join(places) + (f" and {rest} more" if rest else "")


def more_findings(diagnosis: Diagnosis) -> str | None:
    """A sentence about the findings that the report does not show."""
    rest = len(diagnosis.findings) - MOST_FINDINGS
    return f"{rest} less grave findings are left out: hangdiag analyze shows them." if rest > 0 else None


def host_facts(diagnosis: Diagnosis) -> list[tuple[str, str]]:
    """What the capture tells of the host and its VMs."""
    host = diagnosis.capture.host
    known = (
        ("Release", host.release or (None if host.uname else "the capture does not tell; please add the output of: uname -a")),
        ("Architecture", host.arch),
        ("__FreeBSD_version", None if host.osreldate is None else str(host.osreldate)),
        ("uname", host.uname),
        ("Host name", host.hostname),
        ("Panic", host.panic),
    )
    facts = [(name, value) for name, value in known if value]
    told = [(name, value) for name, value in host.facts if _FACT.match(name) and value]
    facts += told[:_MOST_FACTS]
    skipped = host.skipped
    if skipped:
        more = f"; and {len(skipped) - _MOST_SKIPPED} more" if len(skipped) > _MOST_SKIPPED else ""
        facts.append(("Not read", "; ".join(skipped[:_MOST_SKIPPED]) + more))
    rest = len(host.facts) - len(told[:_MOST_FACTS]) - len(skipped)
    if rest > 0:
        facts.append(("Other values", f"{rest} more were read: hangdiag analyze --format json"))
    for machine in diagnosis.machines:
        arguments = next(
            (item.arguments for item in diagnosis.capture.processes if item.pid == machine.pid and item.arguments), None
        )
        vcpus = ", ".join(
            f"{vcpu}: {diagnosis.waits[index].kind}" for vcpu, index in list(machine.vcpus.items())[:16]
        )
        pid = f" (pid {machine.pid})" if machine.pid is not None and str(machine.pid) not in machine.label else ""
        facts.append((f"VM {machine.label}{pid}", f"{len(machine.vcpus)} vCPUs seen ({vcpus})"))
        if arguments:
            facts.append(("  bhyve's arguments", arguments))
    return [(escape(name), escape(value)) for name, value in facts]


def known_bug(finding: Finding) -> list[str]:
    """The known bug as paragraphs: title, status, explanation, fixes, references."""
    bug = finding.known_bug
    if bug is None:
        return []
    rule = bug.rule
    paragraphs = [f"{rule.id}: {rule.title}", bug.status[:1].upper() + bug.status[1:] + "."]
    if rule.explanation:
        paragraphs.append(rule.explanation)
    for fix in rule.fix:
        where = ", ".join(fix.releases) or "releases not known"
        paragraphs.append(f"Fix: {fix.commit or 'commit not known'} ({fix.branch or 'branch not known'}; {where})")
    paragraphs += [f"See: {reference}" for reference in rule.references]
    return [escape(" ".join(text.split())) for text in paragraphs]


def relevant(diagnosis: Diagnosis) -> list[int]:
    """The threads that a maintainer needs to judge the claim: of findings, of their VMs, and whoever they wait for.

    The most important first, and no more than can be read: the rest is grouped.
    """
    chosen: dict[int, None] = {}
    for finding in diagnosis.findings:
        chosen.update(dict.fromkeys((*finding.cycle, *finding.threads[:MOST_WHOLE], *finding.causes[:MOST_WHOLE])))
    for machine in diagnosis.machines:
        chosen.update(dict.fromkeys((*machine.vcpus.values(), *sorted(machine.visitors))))
        busy = [index for index in sorted(machine.members) if _is_busy(diagnosis, index)]
        # one thread at least: that there is another VM may be why something is ambiguous
        chosen.update(dict.fromkeys(busy if busy or machine.vcpus else sorted(machine.members)[:1]))
    pending = list(chosen)
    while pending:
        need = diagnosis.needs.get(pending.pop(0))
        for holder in need.holders if need is not None else ():
            if holder.thread not in chosen:
                chosen[holder.thread] = None
                pending.append(holder.thread)
    for finding in diagnosis.findings:
        chosen.update(dict.fromkeys(finding.victims))
    # what else is not at rest, as far as it is not the host's daily work
    busy = [index for index, wait in enumerate(diagnosis.waits) if not wait.idle and index not in chosen]
    if len(busy) <= _MOST_OTHERS or not chosen:
        chosen.update(dict.fromkeys(busy[:_MOST_OTHERS]))
    return list(chosen)[:MOST_WHOLE] or list(range(min(8, len(diagnosis.waits))))


def _is_busy(diagnosis: Diagnosis, index: int) -> bool:
    return not diagnosis.waits[index].idle or in_device(diagnosis.capture.threads[index])


def grouped(diagnosis: Diagnosis, indices: Iterable[int]) -> list[tuple[str, str, list[int]]]:
    """Threads with the same wait and the same functions: (title, stack outermost last, threads), largest first."""
    groups: dict[tuple[str, tuple[str, ...]], list[int]] = {}
    for index in indices:
        functions = tuple([frame.function for frame in diagnosis.capture.threads[index].frames])
        wait = diagnosis.waits[index]
        groups.setdefault((f"{wait.kind}: {wait.title}", functions), []).append(index)
    ordered = sorted(groups.items(), key=lambda item: (-len(item[1]), item[0]))
    return [(escape(title), escape(" < ".join(functions)), found) for (title, functions), found in ordered]
