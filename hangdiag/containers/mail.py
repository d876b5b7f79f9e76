"""Saved mails: what is attached to them, or packed in base64 (RFC 2045), as texts of their own.

A mail that is one text is no container: it is read as it stands, with its own line numbers.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from hangdiag.containers.limits import Limits
from hangdiag.containers.members import Member
from hangdiag.errors import InputError

if TYPE_CHECKING:
    from email.message import Message

#: Mails larger than this are read as text.
LARGEST = 64 << 20
#: Parts in parts of more levels than this are hostile: the parser needs time for each level.
_DEEPEST = 40
_HEADER = re.compile(rb"[A-Za-z][A-Za-z0-9-]{0,50}:[ \t\r\n]")
_TELLING = (b"\nfrom:", b"\nsubject:", b"\ndate:", b"\nmessage-id:", b"\nmime-version:", b"\nreceived:", b"\ncontent-type:")
_FROM = re.compile(rb"From [^\n]{1,200} (?:19|20)\d\d(?: [^\n]{0,20})?\r?\n")
_PACKED = re.compile(
    rb"^content-(?:type:[ \t]{0,9}(?:\r?\n[ \t]{1,9})?multipart/|transfer-encoding:[ \t]{0,9}base64)", re.I | re.M
)
_NEXT = re.compile(rb"(?<=\n\n)(?=From )|(?<=\n\r\n)(?=From )")


def is_mail(head: bytes) -> bool:
    """Does ``head`` begin with the headers of a mail, or with the line that begins one in an mbox?"""
    if _FROM.match(head):
        return True
    if _HEADER.match(head) is None:
        return False
    headers = b"\n" + head[:16384].replace(b"\r\n", b"\n").partition(b"\n\n")[0].lower()
    return sum(name in headers for name in _TELLING) >= 2


def read_members(data: bytes, path: str, limits: Limits) -> Iterator[Member] | None:
    """The parts of the mails in ``data``; None where the mails are plain texts. Raises InputError."""
    if _PACKED.search(data) is None or data.lower().count(b"multipart/") > _DEEPEST * (data.count(b"\nFrom ") + 1):
        return None
    from email import message_from_bytes

    members: list[Member] = []
    mails = [mail for mail in _NEXT.split(data) if mail.strip()]
    for number, mail in enumerate(mails, 1):
        before = f"mail {number}, " if len(mails) > 1 else ""
        try:
            members += [member._replace(name=before + member.name) for member in _parts(message_from_bytes(mail), mail)]
        except (RecursionError, LookupError, ValueError):
            return None
        if len(members) > limits.members:
            raise InputError(f"{path}: more than {limits.members} parts; save the one with the trace, or raise --max-files")
    return iter(members)


def _parts(message: Message, raw: bytes) -> Iterator[Member]:
    if not message.is_multipart() and str(message.get("Content-Transfer-Encoding", "")).strip().lower() != "base64":
        yield Member("text", io.BytesIO(raw), is_text=True)
        return
    yield Member("headers", io.BytesIO(_outside(message)), is_text=True)
    for number, (part, why) in enumerate(_leaves(message, None), 1):
        name = part.get_filename()
        name = str(name or f"part {number} ({part.get_content_type()})")
        yield Member(name, None, why) if why else Member(name, io.BytesIO(_content(part)))


def _outside(message: Message) -> bytes:
    """The headers, and what stands before and behind all parts."""
    lines = [f"{name}: {value}" for name, value in message.items()]
    text = "\n".join([*lines, "", message.preamble or "", message.epilogue or ""])
    return text.rstrip().encode("utf-8", "surrogateescape")


def _leaves(message: Message, why: str | None) -> Iterator[tuple[Message, str | None]]:
    """The parts that hold something, and of those that say the same in another form, why they are left out."""
    if not message.is_multipart():
        yield message, why
        return
    parts: list[Message] = message.get_payload()  # type: ignore[assignment]
    chosen = None
    if message.get_content_type() == "multipart/alternative":
        chosen = next((part for part in parts if part.get_content_type() == "text/plain"), parts[-1] if parts else None)
    for part in parts:
        yield from _leaves(part, why if chosen is None or part is chosen else "the text of another part in another form")


def _content(part: Message) -> bytes:
    data = part.get_payload(decode=True)
    if not isinstance(data, bytes):
        return b""
    charset = part.get_content_charset("utf-8").lower()
    if part.get_content_maintype() != "text" or charset in ("utf-8", "us-ascii"):
        return data
    try:
        return data.decode(charset, "replace").encode("utf-8", "surrogatepass")
    except LookupError:
        return data
