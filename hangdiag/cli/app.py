"""Puts the commands together. A command's module is imported only when that command is called."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Annotated

import typer

from hangdiag import __version__
from hangdiag.errors import HangdiagError

#: Command, its module, the function in it.
_COMMANDS = (
    ("analyze", "hangdiag.cli.analyze", "analyze"),
    ("attach", "hangdiag.cli.attach", "attach"),
    ("report", "hangdiag.cli.report", "report"),
    ("graph", "hangdiag.cli.graph", "graph"),
    ("compare", "hangdiag.cli.compare", "compare"),
    ("collect", "hangdiag.cli.collect", "collect"),
    ("serve", "hangdiag.cli.serve", "serve"),
    ("explain", "hangdiag.cli.explain", "explain"),
    ("rules", "hangdiag.cli.rules", "app"),
)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"hangdiag {__version__}")
        raise typer.Exit


def _main(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """Says why a bhyve guest hangs: reads FreeBSD kernel traces, proves or rules out a deadlock."""


def make_app(wanted: str | None = None) -> typer.Typer:
    """The command line; with ``wanted``, only that command is imported."""
    app = typer.Typer(
        name="hangdiag", no_args_is_help=True, rich_markup_mode=None, pretty_exceptions_enable=False
    )
    app.callback()(_main)
    for name, module, attribute in _COMMANDS:
        if wanted is not None and name != wanted:
            continue
        command = getattr(import_module(module), attribute)
        if isinstance(command, typer.Typer):
            app.add_typer(command, name=name)
        else:
            app.command(name)(command)
    return app


def run(arguments: list[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    arguments = sys.argv[1:] if arguments is None else arguments
    names = [name for name, _, _ in _COMMANDS]
    wanted = arguments[0] if arguments and arguments[0] in names else None
    try:
        code = make_app(wanted)(args=arguments, standalone_mode=False)
        return code if isinstance(code, int) else 0
    except HangdiagError as error:
        print(f"hangdiag: {error}", file=sys.stderr)
        return error.exit_code
    except typer.Exit as stop:
        return stop.exit_code
    except typer.Abort:
        print("hangdiag: interrupted", file=sys.stderr)
        return 130
    except (BrokenPipeError, SystemExit):
        # whoever reads us has seen enough; click makes an exit with 1 of it, which is --fail-on's
        sys.stderr.close()
        return 0
    except KeyboardInterrupt:
        print("hangdiag: interrupted", file=sys.stderr)
        return 130
    except Exception as error:
        return _usage_error(error)


def _usage_error(error: Exception) -> int:
    """A wrong command line, as click reports it; anything else is a defect and is raised again."""
    message = getattr(error, "format_message", None)
    if message is None:
        raise error
    print(f"hangdiag: {message()}; see hangdiag --help", file=sys.stderr)
    return 2
