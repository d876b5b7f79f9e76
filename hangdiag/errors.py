"""The exceptions that reach the user, each one line: what is wrong; what to do."""

from __future__ import annotations


class HangdiagError(Exception):
    """Base of all errors with a message for the user. ``exit_code`` is the process' exit status."""

    exit_code = 3


class UsageError(HangdiagError):
    """The command line makes no sense."""

    exit_code = 2


class InputError(HangdiagError):
    """Nothing in the input was recognised, or a file could not be read."""

    exit_code = 3


class DamagedError(InputError):
    """A file, or a member of an archive, is cut short, damaged or of a kind that cannot be unpacked here."""


class RuleError(HangdiagError):
    """A rule file is wrong: the message names file, key and (where TOML tells it) line."""

    exit_code = 3


class DebuggerError(HangdiagError):
    """The debugger failed or went away."""

    exit_code = 4
