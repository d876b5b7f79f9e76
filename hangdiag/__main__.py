"""``python -m hangdiag`` and the ``hangdiag`` command."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line; every error is one line on standard error and an exit code."""
    import gc

    # captures are trees of many small values without cycles: looking for some at every 700th only costs time
    gc.set_threshold(200_000, 50, 100)
    from hangdiag.cli.app import run

    sys.exit(run())


if __name__ == "__main__":
    main()
