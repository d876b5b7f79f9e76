"""Line ends, tabs and quotes written as a program's string shows them: ``\\n``, ``\\t``, ``\\"``."""

from __future__ import annotations


def split_literal(line: str) -> list[str]:
    r"""``line`` cut at ``\n`` written as two letters; the quotes of a string around it go away."""
    if "\\n" not in line:
        return [line]
    text = line.replace("\\r", "").replace("\\t", "\t").replace('\\"', '"')
    parts = text.split("\\n")
    parts[0] = parts[0].lstrip('"')
    parts[-1] = parts[-1].rstrip('",')
    return parts
