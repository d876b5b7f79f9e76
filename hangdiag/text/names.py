"""Words that may name a host: in names of files, in headings, and its own."""

from __future__ import annotations

from hangdiag.text.lazy import lazy

_WORD = lazy(r"[^\W_]+")
_NUMBER = lazy(r"\d*\Z|0x[0-9a-f]+\Z|\d+[a-z]{1,2}\Z|(?=\d*[a-z]?\d)[0-9a-ft]{6,40}z?\Z|x[a-z]{2}\Z")
#: What people call outputs of one host: what is printed, by what, of which part of a hang.
_COMMON_WORDS = """
a active all allchains alllocks alltrace and another are as at attached attachment axhl back backtrace backtraces bhyve
bhyvectl boot bsd bt buf bug by c capture captured chain chains cmd code collected command commands comment comments common
comp console core cpu crash crashinfo d data date db ddb debug debugger details diag diagnosis dmesg doc dump dumps e f file
files first for four freebsd from full further g gdb guest gz h halted hang hanging hangs host hung i in info input is it json
k kdb kernel kgdb kk kka kldstat kstack l last list listing lldb lldbinit lock lockchain locked locks log logs m machine mail mdb
message messages minicom more msgbuf n new no node none note notes o of old on one or oracle other others out output p page
pages part parts paste pcpu pid pids post proc process processes procs procstat prompt ps r raw remaining report rest result
results root running same sample screen screenlog script second serial server session show sleep sleepchain sleeping sleepq
some stack stacks state stats std stderr stdin stdout still stuck sync sys sysctl system t tar terminal test text textdump th
the then these third this those thread threads three tid tids time to top tr trace traced traces tty two txt typescript u uname
unix uptime var vcpu vcpus version view vm vmcore vmm vms vmstat w wait waiters waiting wchan whole with working x xml y z zip
"""
_COMMON = frozenset(_COMMON_WORDS.split())
#: Those that are also common with a number behind them: ``vcpu0``, but not ``node1``.
_COUNTED = _COMMON - {"h", "host", "machine", "n", "node", "server", "system"}
#: Names that many hosts have.
_NO_NAMES = frozenset({"", "-", "localhost", "amnesiac", "freebsd", "kernel", "login"})
_OF_ADDRESSES = frozenset("0123456789.:abcdef")


def words_of(name: str) -> tuple[str, ...]:
    """The words of a file's name or a heading that are no common ones: they may name a host. Numbers, dates and
    what split(1) calls its files are no words.
    """
    words = [word.lower() for word in _WORD.findall(name)]
    return tuple(
        [
            word
            for word in words
            if _NUMBER.match(word) is None and word not in _COMMON and word.rstrip("0123456789") not in _COUNTED
        ]
    )


def host_label(name: str) -> str | None:
    """The part of a host's name that tells it from others (of an address all), None for a name that says nothing."""
    name = name.lower()
    if _is_address(name):
        return name
    label = name.partition(".")[0]
    return None if label in _NO_NAMES or label.isdecimal() else label


def _is_address(name: str) -> bool:
    return _OF_ADDRESSES.issuperset(name) and (name.count(".") == 3 or name.count(":") > 1)
