"""Goes one way into a live kernel or a crash dump and comes back with captures.

Whatever happens on the way (Ctrl-C, SIGTERM, a pipe that breaks, a debugger that dies or hangs), the target is
left as it was found.
"""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from types import FrameType
from typing import NoReturn

from hangdiag.errors import DebuggerError
from hangdiag.live import kld
from hangdiag.live.gate import RefusedCommand
from hangdiag.live.gdb_memory import GdbMemory, lists_kernel_threads
from hangdiag.live.host import read_modules
from hangdiag.live.layouts import QUESTIONS, VM_LIST
from hangdiag.live.options import Options, check
from hangdiag.live.samples import annotate
from hangdiag.live.target import Holds, Target, connect, start, stub_place
from hangdiag.live.walker import Progress, walk
from hangdiag.model import Capture

Say = Callable[[str], None]

# Where FreeBSD keeps a kernel's modules and their symbols; only true of the machine that we run on.
_LOCAL_MODULES = ("/usr/lib/debug/boot/kernel", "/boot/kernel")
_STILL = {"core": "a crash dump", "ddb": "a kernel at its db> prompt"}
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


class Interrupted(DebuggerError):
    """Ctrl-C or a request to end came while the target was being read."""


class CutShort(DebuggerError):
    """The target went away or fell silent; ``captures`` is what had been read until then."""

    def __init__(self, message: str, captures: tuple[Capture, ...]):
        super().__init__(message)
        self.captures = captures


def attach(options: Options, say: Say, progress: Progress) -> tuple[Capture, ...]:
    """Reads the target ``options.samples`` times, one that does not move only once.

    ``say`` is given lines for the user, ``progress`` (step, done, total). The last capture's facts say which
    threads moved between the samples. Raises DebuggerError (and UsageError for options that make no sense);
    the target is then as it was found.
    """
    check(options)
    if options.way == "remote":
        stub_place(options.place)
    if options.samples > 1 and options.way in _STILL:
        say(f"{_STILL[options.way]} does not move: it is read once, --samples makes no difference")
        options = replace(options, samples=1)
    with _orderly_signals():
        if options.way == "ddb":
            from hangdiag.live.ddb_interview import read_console

            return read_console(options, progress)
        return annotate(_sample(options, say, progress), options.interval)


def _sample(options: Options, say: Say, progress: Progress) -> list[Capture]:
    captures: list[Capture] = []
    while len(captures) < options.samples:
        with connected(options, say, again=bool(captures)) as target:
            _load_modules(target, options, say, progress)
            if target.holds is Holds.MACHINE and options.samples > 1:
                # A stub that holds the machine: let it run between two samples.
                captures.append(_read(target, options, progress))
            elif options.way == "remote":
                if options.samples > 1:
                    say("the target stands still: one sample says it all")
                return [_read(target, options, progress)]
            else:
                while True:
                    captures.append(_read(target, options, progress))
                    if len(captures) == options.samples:
                        break
                    time.sleep(options.interval)
        if len(captures) < options.samples:
            time.sleep(options.interval)
    return captures


def _memory(target: Target, options: Options) -> GdbMemory:
    """The target's memory, with the file that tells where the kernel's variables are, if it was named."""
    kernel = options.place if options.way == "kernel" else None
    return GdbMemory(target.session, symbol_file=options.symbols or kernel or None)


def _read(target: Target, options: Options, progress: Progress) -> Capture:
    memory = _memory(target, options)
    if options.way == "remote":
        for place in memory.symbols(["version"]).values():
            memory.measure(place)
    capture = walk(memory, _source_name(options), progress)
    if lists_kernel_threads(target.session):
        from hangdiag.live.backtraces import add_debugger_frames

        progress("backtraces", 0, 1)
        capture = add_debugger_frames(target.session, capture, thorough=options.way != "remote")
    return capture


def _source_name(options: Options) -> str:
    return f"{options.way} {options.place}".strip()


@contextlib.contextmanager
def connected(options: Options, say: Say, again: bool = False) -> Iterator[Target]:
    """A target that is left as it was found when the block ends, however it ends.

    ``again``: the user has been told already how it is found.
    """
    target = start(options, say)
    try:
        connect(target, (lambda line: None) if again else say)
        yield target
    finally:
        try:
            with ignored_signals():
                target.leave(say)
        except Interrupted:
            # It came before signals were ignored; it comes only once.
            target.leave(say)
            raise


def _load_modules(target: Target, options: Options, say: Say, progress: Progress) -> None:
    """Loads the symbols of the kernel's modules, vmm among them, where the debugger has not done so itself."""
    folders = options.kld_path or (_LOCAL_MODULES if options.way == "kernel" else ())
    if not folders:
        # The list of modules is long, and each of it a question.
        return
    memory = _memory(target, options)
    questions = [question for question in QUESTIONS if question.name in ("vm", "linker_file")]
    layouts = memory.layouts(questions)
    symbols = memory.symbols(["linker_files", *VM_LIST])
    if options.way != "remote" and "vm" in layouts and any(name in symbols for name in VM_LIST):
        # kgdb loads all modules that it finds.
        return
    modules = [module for module in read_modules(memory, layouts, symbols, []) if module.name.endswith(".ko")]
    named = memory.names([module.address for module in modules])
    for number, module in enumerate(modules):
        path = kld.find_symbols(module.name, folders)
        if path is None or module.address in named:
            continue
        progress("modules", number, len(modules))
        sections = kld.section_addresses(path.resolve(), module.address)
        text = sections.pop(".text", None)
        if text is None:
            say(f"{path}: its sections cannot be read; its symbols were not loaded")
            continue
        if max(sections.values(), default=0) >= module.address + module.size > module.address:
            say(f"{path}: is larger than the {module.name} that is loaded; its symbols were not loaded")
            continue
        places = "".join(f" -s {name} {place:#x}" for name, place in list(sections.items())[:60])
        command = f'-interpreter-exec console "add-symbol-file \'{path.resolve()}\' {text:#x}{places}"'
        try:
            problem = target.session.ask(command, max(options.timeout, 120.0)).message
        except RefusedCommand as error:
            problem = str(error)
        if problem:
            say(f"{path}: {problem}; its symbols were not loaded")


@contextlib.contextmanager
def _orderly_signals() -> Iterator[None]:
    """Turns the signals that end a program into an exception, once; further ones cannot disturb the leaving."""

    def interrupt(number: int, frame: FrameType | None) -> NoReturn:
        for each in _SIGNALS:
            signal.signal(each, signal.SIG_IGN)
        raise Interrupted(f"interrupted by {signal.Signals(number).name}; attach again")

    with _handlers(interrupt):
        yield


@contextlib.contextmanager
def ignored_signals() -> Iterator[None]:
    """Within the block, nothing that ends a program disturbs the leaving."""
    with _handlers(signal.SIG_IGN):
        yield


@contextlib.contextmanager
def _handlers(handler: Callable[[int, FrameType | None], NoReturn] | signal.Handlers) -> Iterator[None]:
    before = {}
    try:
        # Only the main thread may set handlers; elsewhere the caller's stay.
        with contextlib.suppress(ValueError):
            for number in _SIGNALS:
                before[number] = signal.signal(number, handler)
        yield
    finally:
        for number, previous in before.items():
            signal.signal(number, previous)
