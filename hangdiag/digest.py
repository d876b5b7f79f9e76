"""SHA-256 of a short text or a small file.

``import hashlib`` loads OpenSSL, which takes as long as a diagnosis; CPython's own
implementation beside it (``_sha2``, before 3.12 ``_sha256``) is there at once.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib import import_module
from typing import Any


def sha256(data: bytes) -> str:
    """The SHA-256 of ``data`` in hex digits."""
    return str(_implementation()(data).hexdigest())


@cache
def _implementation() -> Callable[[bytes], Any]:
    for name in ("_sha2", "_sha256", "hashlib"):
        try:
            made: Callable[[bytes], Any] = import_module(name).sha256
        except ImportError:
            continue
        return made
    raise ImportError("this Python has no SHA-256")
