"""A debugger connected to its target, and how to leave both as they were found.

Which way of leaving is right depends on the stub. QEMU's and ``bhyve -G`` stop the machine when gdb
connects and let it run when gdb detaches. FreeBSD's own stub (sys/gdb/gdb_main.c) answers only a kernel that
sits in its debugger, and continues it on detach and on kill: there gdb must just hang up.
"""

from __future__ import annotations

import contextlib
import enum
import os
import re
import stat
import time
from collections.abc import Callable
from dataclasses import dataclass

from hangdiag.errors import DebuggerError, UsageError
from hangdiag.live import gate, launch, mi
from hangdiag.live.channel import DEFAULT_BAUD
from hangdiag.live.gdb_memory import EVALUATE, GdbMemory, check_pointers, cpu_threads, lists_kernel_threads
from hangdiag.live.host import read_version
from hangdiag.live.identity import Identity, compare, identity_of_file
from hangdiag.live.options import Options
from hangdiag.live.release import release

Say = Callable[[str], None]

# Not kernel.debug, which is its symbols alone: kgdb knows a kernel by its .interp section, and finds that file by itself
# (fbsd_kernel_osabi_sniffer() in FreeBSD's port of gdb).
_LOCAL_KERNELS = ("/boot/kernel/kernel",)
# How compressed dumps begin (savecore(8) -z, dumpon(8) -z and -Z).
_COMPRESSED = {b"\x1f\x8b": "gunzip", b"\x28\xb5\x2f\xfd": "unzstd"}
_LEAVING_TIMEOUT = 3.0
# How often a running machine is stopped to find one of its CPUs in the kernel.
_MOST_ATTEMPTS = 40
# How long a user may take to type a line in another terminal.
_TYPING_TIMEOUT = 120.0
_SETTINGS = (
    "confirm off",
    "pagination off",
    "height 0",
    "width 0",
    "auto-load off",
    "debuginfod enabled off",
    "stack-cache off",
    "code-cache off",
    "may-write-registers off",
    "may-write-memory off",
    "may-insert-breakpoints off",
    "may-insert-tracepoints off",
    "may-insert-fast-tracepoints off",
    "may-call-functions off",
)


class Holds(enum.Enum):
    """What our connecting to a stub has stopped, or keeps standing."""

    NOTHING = "nothing"
    #: Connecting is under way, or the stub has fallen silent: a machine may stand still because of us.
    UNKNOWN = "unknown"
    #: A machine that must run again.
    MACHINE = "machine"
    #: A kernel that sits in its debugger, and must stay there.
    KERNEL = "kernel"
    #: What a stub of neither kind has: it is let stand, as a kernel is, and that is said.
    OTHER = "other"


@dataclass(slots=True)
class Target:
    """A session and what leaving it takes."""

    session: mi.Session
    options: Options
    holds: Holds = Holds.NOTHING

    def leave(self, say: Say) -> None:
        """Lets go of the target as it was found. Never raises and never hangs: every step has a deadline.

        Where that fails ``say`` is told. Safe to call again when it was interrupted.
        """
        if self.options.way == "ui":
            # The session is the user's: gdb drops the second interface when its terminal goes away.
            self.session.close()
            return
        if self.holds is Holds.MACHINE:
            with contextlib.suppress(DebuggerError):
                if self.session.ask("-target-detach", _LEAVING_TIMEOUT).status != "error":
                    self.holds = Holds.NOTHING
        # Not asked to quit: a gdb that still holds something would kill it.
        self.session.kill()
        if self.holds in (Holds.MACHINE, Holds.UNKNOWN) and release(
            self.options.place, self.holds is Holds.MACHINE
        ):
            self.holds = Holds.NOTHING
        if self.holds not in (Holds.NOTHING, Holds.KERNEL):
            with contextlib.suppress(OSError):
                say(
                    f"{self.options.place}: the stub did not tell whether its machine runs again; if it stands still,"
                    " connect gdb once more and type detach (not to a kernel at its db> prompt: that would go on)"
                )
        self.holds = Holds.NOTHING


def stub_place(place: str) -> tuple[str, str]:
    """(what ``target remote`` takes, baud of a serial device) of HOST:PORT, DEVICE[@BAUD] or [unix:]PATH.

    Raises UsageError for anything else, DebuggerError for a path where nothing is.
    """
    address, baud = place.removeprefix("unix:"), ""
    if address.startswith("/dev/"):
        address, _, baud = address.partition("@")
    if not gate.is_place(address) or (baud and not re.fullmatch(r"[0-9]{3,7}", baud)):
        raise UsageError(f"{place}: is no HOST:PORT, no /dev/ttyU0[@BAUD] and no path of a Unix socket")
    if address.startswith("/"):
        try:
            mode = os.stat(address).st_mode
        except OSError as error:
            raise DebuggerError(f"{place}: {error.strerror}; is a gdb stub listening there?") from error
        if stat.S_ISCHR(mode):
            return address, baud or str(DEFAULT_BAUD)
        # Of any other file gdb would take the content for a stub's answers.
        if not stat.S_ISSOCK(mode):
            raise UsageError(f"{place}: is neither a serial device nor a Unix socket")
    return address, baud


def start(options: Options, say: Say) -> Target:
    """Starts the debugger and loads the symbols; nothing is connected yet. Raises DebuggerError; nothing is left then."""
    if options.way == "ui":
        return _join(options, say)
    wanted = {"kernel": ("kgdb",), "core": ("kgdb", "gdb"), "remote": ("gdb", "kgdb")}[options.way]
    debugger = launch.find_debugger(options.gdb, wanted)
    arguments = gate.check_arguments(options.gdb_arguments)
    symbols = _symbols(options)
    if "kgdb" in debugger.rsplit("/", 1)[-1]:
        # kgdb knows FreeBSD's ABI; the core is opened later, when the settings are made.
        session = launch.start_kgdb(debugger, [*arguments, symbols], options.timeout)
    else:
        session = launch.start(debugger, arguments, options.timeout)
    try:
        _prepare(session, options, symbols)
    except BaseException:
        session.kill()
        raise
    return Target(session, options)


def connect(target: Target, say: Say) -> None:
    """Connects the debugger to what ``target.options`` name. Raises DebuggerError; the caller lets the target go."""
    if target.options.way == "ui":
        return
    identity = identity_of_file(target.session)
    if target.options.way == "remote":
        _connect_remote(target, identity, say)
    else:
        _open_memory(target)
    compare(target.session, identity)


def _join(options: Options, say: Say) -> Target:
    session, path = launch.open_pty(options.timeout)
    say(f"type this line in the open kgdb session:  new-ui mi3 {path}")
    target = Target(session, options)
    try:
        try:
            session.wait_for_prompt(max(options.timeout, _TYPING_TIMEOUT))
        except DebuggerError as error:
            raise DebuggerError(
                f"nothing came from the kgdb session: type  new-ui mi3 {path}  there while hangdiag waits"
                " (mi2 in a gdb before 9)"
            ) from error
        check_pointers(session)
    except BaseException:
        session.close()
        raise
    return target


def _symbols(options: Options) -> str:
    """The file with the kernel's symbols; raises DebuggerError if it was not named or cannot be read."""
    symbols = options.symbols or (options.place if options.way == "kernel" else None)
    if symbols is None and options.way == "core":
        # A dump is mostly read on the host that wrote it.
        symbols = next((path for path in _LOCAL_KERNELS if os.path.exists(path)), None)
    elif options.way != "remote" and symbols is not None:
        symbols = _with_code(symbols)
    if symbols is None:
        raise DebuggerError("no symbols: give the kernel.full or kernel.debug of the target with --symbols")
    path = os.path.abspath(os.path.expanduser(symbols))
    if not os.access(path, os.R_OK) or os.path.isdir(path):
        raise DebuggerError(f"{symbols}: cannot be read; give the target's kernel.full with --symbols")
    return gate.quoted(path)


def _with_code(path: str) -> str:
    """The kernel that ``path``, if it is called kernel.debug, has the symbols of: kgdb wants that one."""
    if os.path.basename(path) != "kernel.debug":
        return path
    beside = os.path.join(os.path.dirname(path), "kernel.full")
    kernel = path.removeprefix("/usr/lib/debug").removesuffix(".debug")
    return next((found for found in (beside, kernel) if os.access(found, os.R_OK)), path)


def _prepare(session: mi.Session, options: Options, symbols: str) -> None:
    """Settings, the ABI, symbols: all before there is a target."""
    session.ask_many([f"-gdb-set {setting}" for setting in _SETTINGS])
    if options.sysroot is not None:
        # kgdb runs elsewhere than the user; "target:/" is no path of ours.
        root = options.sysroot if ":" in options.sysroot else os.path.abspath(options.sysroot)
        session.require(f"-gdb-set sysroot {gate.quoted(root)}")
    if session.printed is None:
        shown = session.ask('-interpreter-exec console "show osabi"').console
        if '"FreeBSD' not in shown.split("default OS ABI", 1)[-1] and not _is_relocatable(symbols):
            # A gdb without FreeBSD's ABI cuts a kernel's pointers to 32 bits, silently. "none" prevents
            # that; but an ELF core is read only with an ABI that has cores.
            session.require(f"-gdb-set osabi {'GNU/Linux' if options.way == 'core' else 'none'}")
        answer = session.ask(f'-file-exec-and-symbols "{symbols}"', max(options.timeout, 120.0))
        if answer.status == "error":
            raise DebuggerError(f"{symbols}: {answer.message}; give the target's kernel.full with --symbols")
    if not GdbMemory(session).symbols(["allproc"]):
        raise DebuggerError(
            f"{symbols} has no symbol allproc: it is stripped or no FreeBSD kernel;"
            " give the target's kernel.full or kernel.debug with --symbols"
        )
    check_pointers(session)


def _is_relocatable(path: str) -> bool:
    """True for a program of this system that is loaded anywhere (a PIE): gdb needs its own ABI to find it.

    A FreeBSD kernel is branded (EI_OSABI is ELFOSABI_FREEBSD, 9) or has its fixed address (ET_EXEC).
    """
    try:
        with open(path, "rb") as file:
            header = file.read(18)
    except OSError:
        return False
    return len(header) == 18 and header[7] != 9 and header[16] == 3


def _open_memory(target: Target) -> None:
    """Opens the memory of the running kernel, or of a dump."""
    options, session = target.options, target.session
    core = "/dev/mem" if options.way == "kernel" else os.path.abspath(options.place)
    if options.way == "core":
        _check_dump(core)
    has_vmcore = session.ask('-interpreter-exec console "help target vmcore"').status != "error"
    if has_vmcore:
        answer = session.ask(f'-interpreter-exec console "target vmcore \'{gate.quoted(core)}\'"')
    elif options.way == "core":
        answer = session.ask(f"-target-select core {gate.quoted(core)}")
    else:
        raise DebuggerError("this gdb has no target vmcore; use FreeBSD's kgdb (pkg install gdb) with --gdb")
    if answer.status == "error":
        message = answer.message or session.last_words
        hint = "" if has_vmcore else " (FreeBSD's dumps need kgdb: --gdb kgdb)"
        if "ABI" in message:
            hint = " (kgdb needs kernel.full, or the kernel itself with its kernel.debug in /usr/lib/debug: --symbols)"
        raise DebuggerError(f"{core}: {message}{hint}")
    if not has_vmcore and not _has_processes(session):
        raise DebuggerError(
            f"{core}: this gdb does not find the kernel's memory in it; FreeBSD's dumps need kgdb (--gdb kgdb)"
        )


def _has_processes(session: mi.Session) -> bool:
    """True if ``allproc`` is not empty; gdb takes what a dump lacks, such as ``version``, from the symbols' file."""
    memory = GdbMemory(session)
    place = memory.symbols(["allproc"]).get("allproc", 0)
    return any(memory.read([(place, memory.pointer_size)])[0] or b"")


def _check_dump(path: str) -> None:
    """Raises DebuggerError for a file that no debugger can open, with what to do."""
    try:
        with open(path, "rb") as file:
            begin = file.read(4)
    except OSError as error:
        raise DebuggerError(f"{path}: {error.strerror}; give a vmcore of savecore(8) with --core") from error
    for magic, program in _COMPRESSED.items():
        if begin.startswith(magic):
            raise DebuggerError(f"{path}: is compressed; run {program} on it first")


def _connect_remote(target: Target, identity: Identity, say: Say) -> None:
    options, session = target.options, target.session
    # gdb asks a silent stub three times before it gives up.
    patience = max(2, min(int(options.timeout / 3), 600))
    place, baud = stub_place(options.place)
    session.ask_many(
        [
            "-gdb-set tcp auto-retry off",
            f"-gdb-set tcp connect-timeout {patience}",
            f"-gdb-set remotetimeout {patience}",
        ]
    )
    if baud:
        session.require(f"-gdb-set serial baud {baud}")
    cpus = _dial(target, place)
    if target.holds is not Holds.MACHINE:
        return
    shown = _select_kernel_cpu(session, cpus, identity)
    if shown and _in_debugger(session):
        say(
            "the kernel sits in its debugger; its machine is stopped while it is read, and resumed afterwards"
        )
        return
    if not options.stop:
        raise DebuggerError(
            f"{options.place}: the target was running: connecting stopped it for a moment, and it was resumed;"
            " give --stop to have it stopped while it is read"
        )
    say("the target was running; it is stopped while it is read, and resumed afterwards")
    for attempt in range(_MOST_ATTEMPTS):
        if shown:
            return
        session.require("-target-detach", _LEAVING_TIMEOUT)
        target.holds = Holds.NOTHING
        # Not in step with the clock's interrupts.
        time.sleep(0.001 * (7 * attempt % 31))
        cpus = _dial(target, place)
        shown = _select_kernel_cpu(session, cpus, identity)
    if not shown:
        raise DebuggerError(
            f"{options.place}: no CPU shows the kernel that the symbols describe: all were in user mode or inside of"
            " guests (try again), or another kernel runs (give its kernel.full with --symbols)"
        )


def _dial(target: Target, place: str) -> dict[int, int]:
    """Connects to the stub at ``place``; returns gdb's thread numbers by CPU, none where it lists kernel threads."""
    options, session = target.options, target.session
    target.holds = Holds.UNKNOWN
    answer = session.ask(f"-target-select remote {place}", max(6.0, 1.5 * options.timeout))
    if answer.status == "error":
        if answer.message.startswith((f"{place}: ", "could not ")):
            target.holds = Holds.NOTHING
        raise DebuggerError(f"{options.place}: {answer.message}; is a gdb stub listening there?")
    # What was let go of before has not gone away.
    session.target_gone = False
    cpus = cpu_threads(session)
    if cpus:
        target.holds = Holds.MACHINE
    elif lists_kernel_threads(session):
        target.holds = Holds.KERNEL
    elif _answers(session):
        target.holds = Holds.OTHER
    return cpus


def _answers(session: mi.Session) -> bool:
    """True if the stub reads memory: then it is not for silence that it listed no CPUs."""
    memory = GdbMemory(session)
    return any(memory.read([(place, 1) for place in memory.symbols(["allproc"]).values()]))


def _select_kernel_cpu(session: mi.Session, cpus: dict[int, int], identity: Identity) -> bool:
    """Looks at memory through a CPU that shows the kernel; False if none does.

    QEMU reads with the page tables of the selected CPU. With page table isolation those of a CPU in user mode do not
    map the kernel; those of a CPU that runs a guest of its own (nested) are the guest's.
    """
    memory = GdbMemory(session)
    version = memory.symbols(["version"])
    others: list[int] = []
    for number in sorted(cpus.values(), key=lambda number: not _is_in_kernel(session, number)):
        session.ask(f"-thread-select {number}")
        found = read_version(memory, version) or ""
        if found == identity.version or (identity.version is None and found.startswith("FreeBSD ")):
            return True
        if found.startswith("FreeBSD "):
            others.append(number)
    if others:
        # Another kernel, which is told later.
        session.ask(f"-thread-select {others[0]}")
    return bool(others) or not version


def _is_in_kernel(session: mi.Session, number: int) -> bool:
    answer = session.ask(f'{EVALUATE} --thread {number} --frame 0 "(unsigned long)$pc"')
    value = str(answer.payload.get("value", ""))
    return value.isdigit() and int(value) >> 63 == 1


def _in_debugger(session: mi.Session) -> bool:
    memory = GdbMemory(session)
    place = memory.symbols(["kdb_active"]).get("kdb_active")
    block = memory.read([(place, 1)])[0] if place else None
    return bool(block and block[0])
