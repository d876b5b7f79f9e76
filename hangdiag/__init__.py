"""hangdiag says why a bhyve guest hangs."""

__version__ = "0.1.0"
