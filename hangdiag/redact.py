"""Takes out of a report what identifies people, hosts and networks.

Equal things stay equal: each name gets one replacement, the same in every string. What
identifies threads or functions (ids, thread names, commands, stacks) is left alone, so that
the claim can still be judged. docs/report.md lists what is replaced.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any, TypeVar

from hangdiag.findings import Diagnosis
from hangdiag.knowledge.model import BugRule
from hangdiag.model import Frame, LockFact, Process, Thread, Vcpu, VirtualMachine, Where
from hangdiag.waits import Wait

_T = TypeVar("_T")

# letters of both cases are written out: re.I takes twice as long
_MAC = re.compile(r"(?<![\w:])(?:[0-9a-fA-F]{2}:){5}[0-9a-fA-F]{2}(?![\w:])")
_IPV4 = re.compile(r"(?<![\w.-])\d{1,3}(?:\.\d{1,3}){3}(?![\w-]|\.\d)")
_IPV6 = re.compile(r"(?<![\w:'])(?:[0-9a-f]{0,4}:){2,7}[0-9a-f]{0,4}(?![\w:])", re.I)
_UUID = re.compile(r"(?<![\w-])[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}(?![\w-])")
_ADDRESS = re.compile(r"0x[0-9a-f]{8,16}(?![0-9a-f])")
_HOME = re.compile(r"(?P<root>(?:/usr)?/home|/Users)/(?P<user>[\w.-]+)(?P<rest>(?:/[^\s'\",;:()<>\]]*)?)")
#: Where a name of some kind is told: a text without the second, in lower case, holds none. The group is the name.
_CONTEXTS: tuple[tuple[str, str, re.Pattern[str]], ...] = tuple(
    (label, needle, re.compile(pattern))
    for label, needle, pattern in (
        ("serial", "serial", r"(?i)\bserial(?: ?(?:number|no\.?|num))?(?:\s*[:=]\s*|\s+)[\"']?(?P<name>(?=[\w.-]*\d)[\w.-]{4,})"),
        ("serial", "smbios.", r"\bsmbios\.\w+\.serial=\"(?P<name>[^\"]+)\""),
        ("serial", "ident: ", r"(?m)^\s+ident: (?P<name>[\w-]{4,})"),
        ("host", "freebsd ", r"\bFreeBSD (?P<name>[A-Za-z][\w.-]*) \d+\.\d+-[A-Z]"),
        ("host", "kern.hostname", r"\bkern\.hostname[:=]\s*(?P<name>[\w.-]+)"),
        ("host", "hostname=", r"\bhostname=\"?(?P<name>[\w.-]+)"),
        ("host", "freebsd/", r"(?m)^FreeBSD/\w+ \((?P<name>[\w.-]+)\) \("),
        # a line of syslog: date, host, program
        ("host", ":", r"(?m)^[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d (?P<name>[\w.-]+) (?:kernel|syslogd|bhyve)\b"),
        ("host", "t", r"(?m)^\d{4}-\d\d-\d\dT\S+ (?P<name>[\w.-]+) (?:kernel|syslogd|bhyve)\b"),
        # somebody@somewhere, but not gdb's argument@entry and function@plt
        ("host", "@", r"(?<![\w.+-])[\w.+-]+@(?!entry\b|plt\b)(?P<name>[A-Za-z][\w.-]*)"),
        ("user", "@", r"(?<![\w.+-])(?P<name>[A-Za-z_][\w.+-]*)@(?!entry\b|plt\b)[A-Za-z][\w.-]*"),
        ("vm", "/dev/vmm", r"/dev/vmm(?:\.io)?/(?P<name>[\w-]+)"),
        ("vm", "--vm", r"--vm[= ](?P<name>[\w-]+)"),
        ("vm", "hw.vmm.", r"\bhw\.vmm\.(?:destroy|create)[=:] ?(?P<name>[\w-]+)"),
        ("vm", "bhyve: ", r"(?m)\bbhyve: (?P<name>[\w-]+)(?= \(bhyve\)|\s*$)"),
    )
)
#: Names that identify nobody.
_COMMON = frozenset(
    {"root", "toor", "daemon", "operator", "bin", "tty", "kmem", "games", "news", "man", "sshd", "nobody", "www"}
    | {"localhost", "amnesiac", "beavis", "freebsd", "kernel", "entry", "symbol", "vm", "vmm", "io"}
)


@dataclass(frozen=True, slots=True)
class Redaction:
    """``words`` maps each thing that is replaced to its replacement; ``kinds`` names the replacements'."""

    words: Mapping[str, str]
    kinds: Mapping[str, str]
    addresses: Mapping[int, int]
    pattern: re.Pattern[str] | None

    def text(self, text: str) -> str:
        """``text`` with everything replaced."""
        if self.pattern is not None:
            text = self.pattern.sub(lambda found: self.words[found.group().lower()], text)
        if self.addresses and "0x" in text:
            text = _ADDRESS.sub(lambda found: hex(self.address(int(found.group(), 16))), text)
        return text

    def address(self, value: int) -> int:
        """A kernel address moved with its neighbours; anything else as it is."""
        return self.addresses.get(value, value)

    def addresses_only(self) -> Redaction:
        """The same, but for kernel addresses alone."""
        return Redaction({}, {}, self.addresses, None)

    def footnotes(self, report: str) -> tuple[str, ...]:
        """What stands for what in ``report``, one line a kind of thing."""
        names: dict[str, list[str]] = {}
        for name, kind in self.kinds.items():
            if re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", report):
                names.setdefault(kind, []).append(name)
        lines = [f"{kind}: {', '.join(found)}" for kind, found in names.items()]
        if self.addresses:
            lines.append("kernel addresses: moved; distances between neighbours are kept")
        return tuple(lines)


def plan_redaction(diagnoses: Iterable[Diagnosis], texts: Iterable[str] = (), addresses: bool = False) -> Redaction:
    """Look for everything to replace in the diagnoses and in the original ``texts``."""
    diagnoses = tuple(diagnoses)
    strings: dict[str, None] = {}
    numbers: set[int] = set()

    def collect(text: str) -> str:
        strings[text] = None
        return text

    def collect_address(value: int) -> int:
        numbers.add(value)
        return value

    for diagnosis in diagnoses:
        _change(diagnosis, collect, collect_address if addresses else None)
        strings.update((f"{name}: {value}", None) for name, value in diagnosis.capture.host.facts)
    everything = "\n".join((*texts, *strings))
    if addresses:
        numbers.update(int(found, 16) for found in _ADDRESS.findall(everything))
    finder = _Finder(_threads_words(diagnoses))
    for diagnosis in diagnoses:
        finder.name("host", diagnosis.capture.host.hostname)
        for machine in diagnosis.machines:
            if machine.read is not None:
                finder.name("vm", machine.read.name)
            if not machine.label.startswith(("bhyve pid ", "the VM")):
                finder.name("vm", machine.label.partition(" (pid ")[0])
    finder.search(everything)
    return finder.finish(_moved(numbers))


def _threads_words(diagnoses: Iterable[Diagnosis]) -> frozenset[str]:
    """The words that identify threads and functions: never replaced."""
    words: set[str] = set()
    for diagnosis in diagnoses:
        for thread in diagnosis.capture.threads:
            words.update(word for word in (thread.name, thread.command, thread.wmesg) if word)
            for frame in thread.frames:
                words.add(frame.function)
                words.update(name for name, _ in frame.args)
    return frozenset(words)


class _Finder:
    """Collects what is to be replaced, numbering each kind from 1 in order of appearance."""

    def __init__(self, protected: frozenset[str]) -> None:
        self.protected = {word.lower() for word in protected} | _COMMON
        self.words: dict[str, str] = {}
        self.patterns: dict[str, str] = {}
        self.kinds: dict[str, str] = {}
        self.counts: dict[str, int] = {}

    def add(self, kind: str, label: str, found: str, pattern: str) -> str:
        """Give ``found`` a replacement, or return the one that it has."""
        key = found.lower()
        if key not in self.words:
            self.counts[label] = self.counts.get(label, 0) + 1
            self.words[key] = f"{label}-{self.counts[label]}"
            self.kinds[self.words[key]] = kind
            self.patterns[key] = pattern
        return self.words[key]

    def name(self, label: str, found: str | None) -> None:
        """A host, user, VM or serial number, to be replaced wherever it stands as a word."""
        if found is None or len(found) < 3 or (found.isdigit() and label != "serial"):
            return
        found = found.rstrip(".-")
        if found.lower() in self.protected or re.fullmatch(r"(?:host|user|vm|serial)-\d+", found):
            return
        kind = {"host": "host name", "user": "user name", "vm": "VM name", "serial": "serial number or UUID"}[label]
        self.add(kind, label, found, rf"(?<![\w.-]){re.escape(found)}(?![\w-])")
        if label == "host" and "." in found:
            self.name("host", found.partition(".")[0])

    def search(self, text: str) -> None:
        lower = text.lower()
        for label, needle, pattern in _CONTEXTS:
            for found in pattern.finditer(text) if needle in lower else ():
                self.name(label, found.group("name"))
        for found in _HOME.finditer(text) if "/home/" in lower or "/users/" in lower else ():
            self.name("user", found.group("user"))
            rest = found.group("rest").rstrip(".")
            if len(rest) > 1:
                user = self.words.get(found.group("user").lower(), found.group("user"))
                key = found.group("root") + "/" + found.group("user") + rest
                self.add("path in a home directory", "path", key, re.escape(key) + r"(?![\w/-])")
                name = self.words[key.lower()]
                if "/" not in name:
                    self.kinds.pop(name)
                    self.words[key.lower()] = f"{found.group('root')}/{user}/{name}"
                    self.kinds[self.words[key.lower()]] = "path in a home directory"
        for found in _UUID.finditer(_lines_with("-", 4, text)):
            self.add("serial number or UUID", "serial", found.group(), re.escape(found.group()))
        for found in _MAC.finditer(_lines_with(":", 5, text)):
            self.add("MAC address", "mac", found.group(), rf"(?<![\w:]){found.group()}(?![\w:])")
        for pattern, label, of_it in ((_IPV4, "ipv4", _lines_with(".", 3, text)), (_IPV6, "ipv6", _lines_with(":", 2, text))):
            for found in pattern.finditer(of_it):
                if _is_host_address(found.group()):
                    self.add(
                        f"IPv{label[-1]} address", label, found.group(), rf"(?<![\w.:-]){re.escape(found.group())}(?![\w:-]|\.\d)"
                        if label == "ipv6" else rf"(?<![\w.-]){re.escape(found.group())}(?![\w-]|\.\d)",
                    )  # fmt: skip

    def finish(self, addresses: Mapping[int, int]) -> Redaction:
        longest_first = sorted(self.words, key=lambda word: (-len(word), word))
        pattern = None
        if longest_first:
            pattern = re.compile("|".join(self.patterns[word] for word in longest_first), re.I)
        return Redaction(self.words, self.kinds, addresses, pattern)


def _lines_with(letter: str, least: int, text: str) -> str:
    """The lines of ``text`` that have ``letter`` so often: to count it takes far less than to try an expression everywhere."""
    return "\n".join([line for line in text.split("\n") if line.count(letter) >= least])


def _is_host_address(text: str) -> bool:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    if address.version == 6 and max(len(group) for group in text.split(":")) < 3:
        return False  # "a::b" is rather a name
    return not (address.is_loopback or address.is_unspecified or text.startswith("255."))


def _moved(numbers: Iterable[int]) -> dict[int, int]:
    """New values for kernel addresses: those less than 1 MB apart move together."""
    moved: dict[int, int] = {}
    base = before = 0
    places = 0
    for value in sorted(value for value in numbers if value >= 1 << 31):
        if not moved or value - before > 1 << 20:
            places += 1
            base = value & ~0xFFF
        moved[value] = (0xFFFF << 48) + (places << 28) + value - base
        before = value
    return moved


def redact_diagnosis(diagnosis: Diagnosis, redaction: Redaction) -> Diagnosis:
    """The diagnosis with everything replaced that a report could print."""
    return _change(diagnosis, redaction.text, redaction.address if redaction.addresses else None)


#: What holds nothing to replace: stacks, rules, lines.
_LEFT_ALONE = (Wait, BugRule, Where)
_ADDRESS_FIELDS = frozenset({"address", "wchan", "owner_address", "rendezvous_channel", "vnode"})


def _change(value: _T, text: Callable[[str], str], address: Callable[[int], int] | None) -> _T:
    """``value`` rebuilt with ``text`` applied to its strings and ``address`` to its addresses."""
    memo: dict[int, Any] = {}

    def walk(item: Any) -> Any:
        if isinstance(item, str):
            return text(item)
        if item is None or isinstance(item, (int, float, frozenset, *_LEFT_ALONE)):
            return item
        if id(item) in memo:
            return memo[id(item)]
        if isinstance(item, Thread):
            made: Any = _change_thread(item, text, address)
        elif isinstance(item, tuple):
            made = tuple([walk(member) for member in item])
        elif isinstance(item, list):
            made = [walk(member) for member in item]
        elif isinstance(item, dict):
            made = {key: walk(member) for key, member in item.items()}
        elif is_dataclass(item):
            made = _change_fields(item, walk, address)
        else:
            return item
        memo[id(item)] = made
        return made

    result: _T = walk(value)
    return result


def _change_fields(item: Any, walk: Callable[[Any], Any], address: Callable[[int], int] | None) -> Any:
    known = {}
    for field in fields(item):
        value = getattr(item, field.name)
        if field.name in _ADDRESS_FIELDS and isinstance(value, int):
            if address is not None and isinstance(item, (LockFact, Process, Vcpu, VirtualMachine)):
                known[field.name] = address(value)
        elif isinstance(item, Process) and field.name == "command":
            continue
        elif not isinstance(value, (int, float, frozenset, type(None))):
            changed = walk(value)
            if changed is not value:
                known[field.name] = changed
    return replace(item, **known) if known else item


def _change_thread(thread: Thread, text: Callable[[str], str], address: Callable[[int], int] | None) -> Thread:
    """Ids, names, messages and functions stay; file names and arguments are strings like others."""
    known: dict[str, Any] = {}
    if any(frame.args or frame.file for frame in thread.frames) or address is not None:
        known["frames"] = tuple([_change_frame(frame, text, address) for frame in thread.frames])
    if address is not None:
        known.update(
            {name: address(value) for name in ("address", "wchan") if (value := getattr(thread, name)) is not None}
        )
    return replace(thread, **known) if known else thread


def _change_frame(frame: Frame, text: Callable[[str], str], address: Callable[[int], int] | None) -> Frame:
    if not (frame.args or frame.file or (address is not None and frame.address is not None)):
        return frame
    return replace(
        frame,
        file=text(frame.file) if frame.file is not None else None,
        args=tuple([(name, text(value)) for name, value in frame.args]),
        address=address(frame.address) if address is not None and frame.address is not None else frame.address,
    )
