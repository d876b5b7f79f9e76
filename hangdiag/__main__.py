"""``python -m hangdiag`` and the ``hangdiag`` command."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line; every error is one line on standard error and an exit code."""
    from hangdiag.cli.app import run

    sys.exit(run())


if __name__ == "__main__":
    main()
