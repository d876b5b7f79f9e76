"""SHA-256 of a short text or a small file.

``import hashlib`` loads OpenSSL, which takes as long as a diagnosis; CPython's own
implementation beside it (``_sha2``, before 3.12 ``_sha256``) is there at once.
"""

from __future__ import annotations

from importlib import import_module


def sha256(data: bytes) -> str:
    """The SHA-256 of ``data`` in hex digits."""
    for name in ("_sha2", "_sha256", "hashlib"):
        try:
            module = import_module(name)
        except ImportError:
            continue
        return str(module.sha256(data).hexdigest())
    raise ImportError("this Python has no SHA-256")
