"""Regular expressions that are compiled when they are first used.

Readers have some two hundred, of which one input needs a few; compiling them all takes as
long as reading a capture.
"""

from __future__ import annotations

import re
from typing import cast

_METHODS = ("match", "search", "fullmatch", "sub", "subn", "split", "findall", "finditer", "groupindex", "pattern")


class LazyPattern:
    """Looks like a compiled pattern; the first use of a method compiles it and keeps all methods."""

    __slots__ = ("_flags", "_text", *_METHODS)

    def __init__(self, text: str, flags: int) -> None:
        self._text = text
        self._flags = flags

    def compiled(self) -> re.Pattern[str]:
        """The pattern itself; raises :class:`re.error` for a wrong one."""
        return re.compile(self._text, self._flags)

    def __getattr__(self, name: str) -> object:
        # called only while the slot is empty
        compiled = self.compiled()
        for method in _METHODS:
            setattr(self, method, getattr(compiled, method))
        return getattr(compiled, name)


def lazy(text: str, flags: int = 0) -> re.Pattern[str]:
    """A pattern for ``text``; whether it is a right one shows at its first use (a test compiles all)."""
    return cast("re.Pattern[str]", LazyPattern(text, flags))
