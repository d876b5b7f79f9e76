"""``hangdiag attach``: from a live kernel, a crash dump or a ``db>`` prompt to findings."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from hangdiag.cli.options import AllThreads, FailOn, Form, Format, Pid, Quiet, Rules, Verdict, Vm

if TYPE_CHECKING:
    from hangdiag.errors import HangdiagError
    from hangdiag.live.options import Options
    from hangdiag.model import Capture


def attach(
    kernel_file: Annotated[
        Optional[str],
        typer.Argument(
            help="With --kernel: the running kernel's file, if not the one that was booted.",
            metavar="[KERNEL]",
            show_default=False,
        ),
    ] = None,
    kernel: Annotated[bool, typer.Option("--kernel", help="Read the running kernel with kgdb.")] = False,
    core: Annotated[Optional[Path], typer.Option(help="Read a crash dump.", metavar="VMCORE")] = None,
    remote: Annotated[
        Optional[str],
        typer.Option(help="Read through a gdb stub.", metavar="HOST:PORT|DEVICE[@BAUD]|unix:PATH"),
    ] = None,
    ui: Annotated[bool, typer.Option("--ui", help="Join the kgdb session open in another terminal.")] = False,
    ddb: Annotated[
        Optional[str],
        typer.Option(
            help="Ask the db> prompt on a serial console or socket.",
            metavar="DEVICE[@BAUD]|HOST:PORT|unix:PATH",
        ),
    ] = None,
    symbols: Annotated[
        Optional[Path], typer.Option(help="The target's kernel.full or kernel.debug.", metavar="FILE")
    ] = None,
    gdb: Annotated[Optional[str], typer.Option(help="The debugger to use.", metavar="PATH")] = None,
    gdb_arg: Annotated[
        Optional[list[str]],
        typer.Option(help="An argument for the debugger (may be repeated).", metavar="ARG"),
    ] = None,
    sysroot: Annotated[
        Optional[str], typer.Option(help="Where the target's files are.", metavar="DIR")
    ] = None,
    kld_path: Annotated[
        Optional[list[str]], typer.Option(help="A folder with vmm.ko.debug (may be repeated).", metavar="DIR")
    ] = None,
    timeout: Annotated[
        float, typer.Option(help="Seconds to wait for any one answer.", metavar="SECONDS")
    ] = 30.0,
    stop: Annotated[
        bool, typer.Option("--stop", help="Stop a remote target that runs; it is resumed on exit.")
    ] = False,
    samples: Annotated[int, typer.Option(help="Read this many times.", metavar="N")] = 1,
    interval: Annotated[float, typer.Option(help="Seconds between samples.", metavar="SECONDS")] = 1.0,
    save: Annotated[
        Optional[Path], typer.Option(help="Keep what was read, for hangdiag analyze.", metavar="FILE")
    ] = None,
    format: Form = Format.text,
    all_threads: AllThreads = False,
    vm: Vm = None,
    pid: Pid = None,
    quiet: Quiet = False,
    fail_on: FailOn = None,
    rules: Rules = None,
) -> None:
    """Read a hung host through a debugger or its console, and say what waits for what. Changes nothing."""
    from hangdiag.live.options import Options

    way, place = _way(kernel, kernel_file, core, remote, ui, ddb)
    options = Options(
        way=way,
        place=place,
        symbols=str(symbols) if symbols is not None else None,
        gdb=gdb,
        gdb_arguments=tuple(gdb_arg or ()),
        sysroot=sysroot,
        kld_path=tuple(kld_path or ()),
        timeout=timeout,
        stop=stop,
        samples=samples,
        interval=interval,
    )
    if save is not None:
        _check_place(save)
    captures, failure = _read(options, sys.stderr.isatty() and not quiet)
    if way != "ddb":
        # Samples of a target are there to tell what moves; the findings are those of the last.
        captures = captures[-1:]
    _tell_facts(captures)
    with _saving(captures, save, failure):
        _report(captures, format, all_threads, vm, pid, quiet, fail_on if failure is None else None, rules or [])
    if failure is not None:
        raise failure


def _way(
    kernel: bool, kernel_file: str | None, core: Path | None, remote: str | None, ui: bool, ddb: str | None
) -> tuple[str, str]:
    """The one way in that was asked for, and where it leads; raises UsageError for none or several."""
    from hangdiag.errors import UsageError

    ways = [
        (name, place)
        for name, place in (
            ("kernel", (kernel_file or _booted_kernel()) if kernel else None),
            ("core", str(core.expanduser().absolute()) if core is not None else None),
            ("remote", remote),
            ("ui", "" if ui else None),
            ("ddb", ddb),
        )
        if place is not None
    ]
    if kernel_file is not None and not kernel:
        raise UsageError(
            f"{kernel_file}: a kernel's file goes with --kernel; for another target give --symbols"
        )
    if len(ways) != 1:
        raise UsageError("give one of --kernel, --core, --remote, --ui and --ddb")
    return ways[0]


def _booted_kernel() -> str:
    """The file that the running system was booted from."""
    import subprocess

    try:
        # kern.bootfile, getbootfile(3).
        answer = subprocess.run(
            ["sysctl", "-n", "kern.bootfile"], capture_output=True, text=True, timeout=5, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return "/boot/kernel/kernel"
    return answer.stdout.strip() or "/boot/kernel/kernel"


def _read(options: Options, show_progress: bool) -> tuple[tuple[Capture, ...], HangdiagError | None]:
    """What was read, and the error that ended it early if one did."""
    from hangdiag.live.attach import CutShort
    from hangdiag.live.attach import attach as read

    with _telling(show_progress) as (say, progress):
        try:
            return read(options, say, progress), None
        except CutShort as error:
            return error.captures, error


@contextmanager
def _telling(progress_shown: bool) -> Iterator[tuple[Callable[[str], None], Callable[[str, int, int], None]]]:
    """How to tell the user on standard error: (a line, the step that is under way).

    Steps show as a spinner, and only on a terminal.
    """
    if not progress_shown:
        yield (
            (lambda line: print(f"hangdiag: {line}", file=sys.stderr, flush=True)),
            lambda step, done, total: None,
        )
        return
    from rich.console import Console

    console = Console(stderr=True, highlight=False, markup=False)
    with console.status("attaching") as status:

        def show(step: str, done: int, total: int) -> None:
            status.update(f"reading {step}" + (f" ({done}/{total})" if total > 1 else ""))

        yield (lambda line: console.print(f"hangdiag: {line}", soft_wrap=True)), show


def _tell_facts(captures: tuple[Capture, ...]) -> None:
    """Says on standard error what the report has no place for: what was skipped, and which threads moved."""
    from hangdiag.cli import common

    common.tell_skipped(captures)
    facts = dict(captures[-1].host.facts)
    if "samples" in facts:
        print(f"hangdiag: {facts['samples']}: moved: {facts['moved'] or 'no thread'}", file=sys.stderr)


def _check_place(path: Path) -> None:
    """Raises InputError where nothing can be saved, while nothing has been read yet."""
    from hangdiag.cli import output

    try:
        output.check(path)
    except (OSError, RuntimeError) as error:  # RuntimeError: a link to itself, for pathlib before Python 3.13
        raise _unsaved(path, error) from error


@contextmanager
def _saving(captures: tuple[Capture, ...], path: Path | None, failure: HangdiagError | None) -> Iterator[None]:
    """Saves when the block has ended, in whatever way: nobody may read the report any more.

    Raises InputError; ``failure``, for which there is no room then, is said.
    """
    from hangdiag.cli import output
    from hangdiag.savefile import dump

    try:
        yield
    finally:
        if path is not None:
            try:
                output.write(path, dump(captures[-1], captures[:-1]))
            except OSError as error:
                if failure is not None:
                    print(f"hangdiag: {failure}", file=sys.stderr)
                raise _unsaved(path, error) from error


def _unsaved(path: Path, error: Exception) -> HangdiagError:
    from hangdiag.errors import InputError

    reason = getattr(error, "strerror", None) or str(error)
    return InputError(f"{path}: cannot be written ({reason}); choose another file for --save")


def _report(
    captures: tuple[Capture, ...],
    format: Format,
    all_threads: bool,
    vm: str | None,
    pid: int | None,
    quiet: bool,
    fail_on: Verdict | None,
    rules: list[Path],
) -> None:
    from hangdiag.cli import common
    from hangdiag.cli.analyze import show
    from hangdiag.diagnosis import diagnose
    from hangdiag.knowledge import Matcher, load_knowledge
    from hangdiag.knowledge.model import VERDICTS

    knowledge = load_knowledge(rules)
    matcher = Matcher(knowledge)
    diagnoses = tuple(diagnose(capture, knowledge, matcher) for capture in captures)
    if format is Format.json:
        from hangdiag.report.json import as_json

        common.write(as_json(diagnoses))
    else:
        show(diagnoses, all_threads, vm, pid, quiet)
    if fail_on is not None and any(
        VERDICTS.index(finding.verdict) <= VERDICTS.index(fail_on.value)
        for one in diagnoses
        for finding in one.findings
    ):
        raise typer.Exit(1)
