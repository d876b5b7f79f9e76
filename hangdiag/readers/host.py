"""Facts of the host: ``uname -a``, the kernel's banner, ``version``, sysctl, bhyvectl's statistics, boot.

The banner is sys/conf/newvers.sh's VERSTR, ``FreeBSD 13.1-STABLE #0 stable/13-n250000: ...``; boot messages are
those of sys/kern/init_main.c (copyright, version).
"""

from __future__ import annotations

import re

from hangdiag.model import LEFT_OUT
from hangdiag.readers import ps
from hangdiag.readers.section import Opener, Section
from hangdiag.text.lazy import lazy

#: A command line that shows a part of what procstat prints; by the names of commands and threads, a VM stays whole.
_FILTERED = (
    r"[^|]{0,100}\bprocstat [^|]{0,60}(?:\|[^|]{0,100}){0,3}\| ?(?:head|tail|sed -n|(?:[ef]?grep|rg) "
    r"(?:(?!.*(?:-\w*v|bhyve)).{0,100}(?:vm[mx]?_|vm_|vcpu_|vmrndv|vmstat|vioapic|_sleep|sleep_|sleepq|rendezvous|ioctl|switch|_lock)"
    # without those that run, or some vCPUs by their numbers
    r"|[^|]{0,40}-\w*v[^|]{0,80}(?:run|vm[mx]?_|vmx|svm|hlt|halt|sleep|switch|guest)|[^|]{0,80}vcpu[^|]{0,3}[\[0-9]))"
)
_FILTER = lazy(_FILTERED)
_UNAME = lazy(r"FreeBSD (?P<host>[\w.-]+) (?P<release>\d+\.\d+-[\w.-]+) FreeBSD ")
_BANNER = lazy(r"(?:version:[ \t]{0,16}|kern\.version: |@\(#\))?FreeBSD (?P<release>\d+\.\d+-[\w.-]+)(?P<rest>.*)")
_LOGIN = lazy(r"FreeBSD/(?P<arch>\w+) \((?P<host>[^()]+)\)")
_SYSCTL = lazy(r"(?P<name>[a-z][\w%-]*(?:\.[\w%-]+){1,8})(?:: |=)(?P<value>.*)")
_STATISTIC = lazy(r"(?P<name>[A-Za-z][\w ,/()%-]{5,60}?)[ \t]*\t(?P<value>-?\d+)\s*\Z")
_TITLE = lazy(r"(?:ps|vmstat|pstat|iostat|ipcs|w|nfsstat|netstat|fstat)(?: -\w+)*\Z|dmesg\Z|kernel config\Z|ddb capture buffer\Z")
#: So many lines below a word about it there may be what it speaks of.
_NEAR = 4
_FORM_ROW = lazy(r"\s{0,4}\|? {0,4}(?P<key>[A-Za-z][\w ]{2,24}?)\s{0,24}\|\s{0,24}(?P<value>[^|\s][^|]{0,80}?)?\s*\|?\s*\Z")
_FORM_RELEASES = ("distribution version", "kernel version", "freebsd version", "freebsd")
_OSRELDATE = lazy(r"\d{6,7}")
_RELEASE = lazy(r"(?<![\w.])\d{1,2}(?:\.\d{1,2})?-(?:RELEASE|STABLE|CURRENT|PRERELEASE|BETA|RC|ALPHA)[\w.-]{0,24}")
_NUMBERS = lazy(r"\d{1,2}\.\d{1,2}")
_ALIASES = {"x86_64": "amd64", "x86-64": "amd64", "aarch64": "arm64"}
_ARCHITECTURES = ("amd64", "arm64", "i386", "riscv", "aarch64")


def _read_uname(section: Section, start: int, match: re.Match[str]) -> int:
    line = section.lines[start].strip()
    found = _UNAME.match(line)
    if found is None:
        return start
    last = line.rpartition(" ")[2]
    section.draft.set_host(
        release=found.group("release"),
        arch=last if last in _ARCHITECTURES else None,
        uname=line[:500],
        hostname=found.group("host"),
    )
    return start + 1


def _read_banner(section: Section, start: int, match: re.Match[str]) -> int:
    line = section.lines[start].strip()
    found = _BANNER.match(line)
    if found is None:
        return start
    words = found.group("rest").split()
    arch = next((word for word in reversed(words) if word in _ARCHITECTURES), None)
    banner = line[line.index("FreeBSD") :].removesuffix("\\012")[:500]
    section.draft.set_host(release=found.group("release"), arch=arch, uname=banner)
    return start + 1


def _read_login(section: Section, start: int, match: re.Match[str]) -> int:
    found = _LOGIN.match(section.lines[start])
    if found is not None:
        section.draft.set_host(arch=found.group("arch"), hostname=found.group("host"))
    return start + 1


def _read_sysctl(section: Section, start: int, match: re.Match[str]) -> int:
    found = _SYSCTL.match(section.lines[start])
    if found is None:
        return start
    name, value = found.group("name"), found.group("value").strip()[:500]
    section.draft.set_host(fact=(name, value))
    if name == "kern.osreldate" and value.isdecimal():
        section.draft.set_host(osreldate=int(value[:9]))
    elif name == "kern.osrelease":
        section.draft.set_host(release=value)
    elif name == "kern.hostname":
        section.draft.set_host(hostname=value)
    elif name in ("hw.machine_arch", "hw.machine"):
        section.draft.set_host(arch=value)
    elif name == "kern.version":
        banner = _BANNER.match(value)
        if banner is not None:
            section.draft.set_host(release=banner.group("release"), uname=value)
    return start + 1


def _read_date(section: Section, start: int, match: re.Match[str]) -> int:
    """What date(1) prints."""
    section.draft.timeline.see_time()
    return start + 1


def _read_dump(section: Section, start: int, match: re.Match[str]) -> int:
    """A line of savecore(8)'s info.N (sbin/savecore/savecore.c, printheader)."""
    key, value = (part.strip() for part in section.lines[start].split(":", 1))
    draft = section.draft
    if key == "Hostname":
        draft.set_host(hostname=value)
    elif key == "Architecture":
        draft.set_host(arch=value)
    elif key == "Panic String" and value:
        draft.set_host(panic=value)
    elif key == "Version String":
        banner = _BANNER.match(value)
        if banner is not None:
            draft.set_host(release=banner.group("release"), uname=value[:500])
    return start + 1


def _read_form(section: Section, start: int, match: re.Match[str]) -> int:
    """The table of an issue's form (OpenZFS has one): ``Distribution Version | 13.1-RELEASE-p2``."""
    lines = section.lines
    rows: dict[str, str] = {}
    index = start
    while index < len(lines) and (found := _FORM_ROW.match(lines[index])) is not None:
        rows.setdefault(found.group("key").lower(), found.group("value") or "")
        index += 1
    values = [rows[key] for key in _FORM_RELEASES if key in rows]
    named = next((known for value in values if (known := _RELEASE.search(value)) is not None), None)
    release = named.group() if named is not None else None
    if not any("freebsd" in text.lower() for row in rows.items() for text in row) and release is None:
        return start
    if release is None:
        release = next((value for value in values if _NUMBERS.fullmatch(value)), None)
    number = rows.get("kernel version", "")
    arch = rows.get("architecture", "").lower()
    section.draft.set_host(
        release=release,
        arch=_ALIASES.get(arch, arch if arch in _ARCHITECTURES else None),
        osreldate=int(number) if _OSRELDATE.fullmatch(number) else None,
    )
    return index


def _read_title(section: Section, start: int, match: re.Match[str]) -> int:
    """The title of a part of crashinfo(8)'s core.txt.N (usr.sbin/crashinfo/crashinfo.sh)."""
    following = start + 1
    title = section.lines[following].strip() if following < len(section.lines) else ""
    if _TITLE.match(title) is None:
        return start
    section.context["crashinfo"] = title
    return following + 1


def _read_boot(section: Section, start: int, match: re.Match[str]) -> int:
    """The kernel was booted: what follows is of another instant than what came before."""
    # what a dump or dmesg(8) shows of the console was written before it
    before = section.lines[max(start - _NEAR, 0) : start]
    is_old = section.context.get("message buffer") or section.context.get("crashinfo") == "dmesg"
    if not is_old and not any("dmesg" in line for line in before):
        section.draft.timeline.begin_time()
    return start + 1


def _read_statistic(section: Section, start: int, match: re.Match[str]) -> int:
    found = _STATISTIC.match(section.lines[start])
    if found is None:
        return start
    section.draft.set_host(fact=(found.group("name").strip(), found.group("value")))
    return start + 1


def _read_left_out(section: Section, start: int, match: re.Match[str]) -> int:
    """Somebody's word that more threads were seen than are shown."""
    section.draft.set_host(fact=(LEFT_OUT, section.lines[start].strip()[:80]))
    return start + 1


def read_command(section: Section, start: int, match: re.Match[str]) -> int:
    """A command that was typed: it may show a part of what is there. Returns the line behind it, and what ps is told to show."""
    if _FILTER.match(section.lines[start]) is not None:
        return _read_left_out(section, start, match)
    return max(start + 1, ps.read_command(section, start, match))


OPENERS = (
    Opener(
        "threads-left-out",
        "",
        r"(?:\.{2,4}|…|\[(?:\.{3}|…)\])? ?[\[(<+-]{0,3} ?(?:and |plus |snip(?:ped)?[:,]? )?(?:\d{1,6}|several|many|some) ?"
        r"(?:more|others?|further|similar|additional|identical) (?:[\w'-]{1,16} ){0,3}(?:threads?|rows|vcpus)\b"
        r"(?: (?:like|with|are|were|have|left|not|omitted|snipped|elided|skipped|here)\b[\w ']{0,40})?[\])>….-]{0,5}\s*\Z",
        _read_left_out,
    ),
    Opener("filtered", "", _FILTERED, _read_left_out, ("|",)),
    Opener("host-uname", "console", r"FreeBSD [\w.-]+ \d+\.\d+-[\w.-]+ FreeBSD ", _read_uname),
    # not a sentence: "FreeBSD 13.1-STABLE host, Windows 11 guest"
    Opener(
        "host-banner",
        "console",
        r"(?:version:[ \t]{0,16}|kern\.version: |@\(#\))?FreeBSD \d+\.\d+-[A-Z][\w.-]*(?![\w.-]| ?[,;:!?)])"
        r"(?!\s+(?!amd64|arm64|i386|aarch64|riscv|r\d|n\d|\w+[-/])[a-z])",
        _read_banner,
    ),
    Opener("host-login", "console", r"FreeBSD/\w+ \([^()]+\)", _read_login),
    Opener(
        "host-date",
        "console",
        r"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun),? +(?:\d{1,2} )?(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)[a-z]* "
        r"[ \d]{0,8}\d\d:\d\d:\d\d [\w +-]{0,16}\d{4}\s*\Z",
        _read_date,
    ),
    Opener(
        "host-dump",
        "console",
        r"(?:Dump header from device: |\s{1,4}(?:Architecture|Architecture Version|Dump Length|Blocksize|Compression|Dumptime"
        r"|Hostname|Magic|Version String|Panic String|Dump Parity|Bounds|Dump Status): )",
        _read_dump,
    ),
    Opener(
        "host-form",
        "console",
        r"\s{0,4}\|? {0,4}(?:Distribution (?:Name|Version)|FreeBSD(?: [Vv]ersion)?|Kernel Version|Architecture)\s{0,24}\|",
        _read_form,
        ("|",),
    ),
    Opener("crashinfo-title", "console", r"-{72}\s*\Z", _read_title),
    Opener("host-boot", "console", r"---<<BOOT>>---|Copyright \(c\) 1992-\d+ The FreeBSD Project", _read_boot),
    Opener(
        "host-sysctl",
        "console",
        r"(?:kern|hw|vm|debug|dev|machdep|vfs|net|security|compat)\.[\w.%-]+(?:: |=)",
        _read_sysctl,
    ),
    Opener(
        "vm-statistic",
        "console",
        r"(?:number of |vm exits |total number of |vcpu |Resident memory|Wired memory|[a-z][\w /()-]{8,50} )"
        r"[^\t]{0,60}\t-?\d+\s*\Z",
        _read_statistic,
        ("\t",),
    ),
    Opener("fence", "console", r"(?:```+|~~~+)\w{0,20}\s*\Z", lambda section, start, match: start + 1),
)
