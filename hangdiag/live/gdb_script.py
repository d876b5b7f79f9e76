"""One script for gdb's own Python: all layouts in one answer, where a hundred questions would be a hundred lookups.

The script is a constant, and only names go in with it. It asks gdb for types and prints where their members lie;
it leaves no name behind in a session of the user's. A gdb without Python refuses it, and is asked step by step.
"""

from __future__ import annotations

import base64
import binascii
import re
import zlib
from collections.abc import Sequence

from hangdiag.live.memory import Field, Layout, Question

_SCRIPT = r"""
import gdb

def members(kind):
    found = {}
    for field in kind.strip_typedefs().fields():
        if not hasattr(field, 'bitpos'):
            continue
        if field.name:
            found[field.name] = (field.type, field.bitpos // 8)
        else:
            for name, (inner, offset) in members(field.type).items():
                found[name] = (inner, field.bitpos // 8 + offset)
    return found

def place(top, path):
    found, offset = top, 0
    for name in path.split('.'):
        if found is None:
            found = members(kind)
        kind, inner = found[name]
        offset += inner
        found = None
    kind = kind.strip_typedefs()
    element = 0
    if kind.code in (gdb.TYPE_CODE_ARRAY, gdb.TYPE_CODE_PTR):
        element = kind.target().sizeof
    return offset, kind.sizeof, element

lines = []
for question in asked.split(';'):
    name, _, wanted = question.partition(':')
    try:
        kind = gdb.lookup_type('struct ' + name)
        line = ['layout', name, str(kind.sizeof)]
        top = members(kind)
        for path in wanted.split(','):
            try:
                line.append('%d:%d:%d' % place(top, path))
            except (KeyError, TypeError):
                line.append('-')
        lines.append(' '.join(line))
    except gdb.error:
        pass
print('\n'.join(lines + ['layouts end']))
"""
_ASKED = re.compile(rb"[A-Za-z_][\w.,:;]{0,20000}", re.ASCII)
_STRUCT = re.compile(r"struct (\w{1,128})", re.ASCII)
# gdb reads and prints a character a time, a microsecond each: a short text is a quick question and answer. Both modules
# are built in; base64 would be read from a file.
_COMMAND = (
    '-interpreter-exec console "python import binascii,zlib;'
    "a,s=zlib.decompress(binascii.a2b_base64('{}')).decode().split('#',1);exec(s,{{'asked':a}});del a,s\""
)
_BEFORE, _AFTER = (part.replace("{{", "{").replace("}}", "}") for part in _COMMAND.split("{}", 1))


def command(questions: Sequence[Question]) -> str | None:
    """The command that asks for those of ``questions`` that are about structures; None if none is."""
    asked = ";".join(
        f"{match.group(1)}:{','.join(question.members)}"
        for question in questions
        if (match := _STRUCT.fullmatch(question.types[0])) is not None
    )
    if not asked:
        return None
    return _COMMAND.format(base64.b64encode(zlib.compress(f"{asked}#{_SCRIPT}".encode(), 9)).decode())


def is_ours(command: str) -> bool:
    """True if ``command`` is this very script, given names and nothing else."""
    if not (command.startswith(_BEFORE) and command.endswith(_AFTER)):
        return False
    packed = command[len(_BEFORE) : -len(_AFTER)]
    try:
        text = zlib.decompressobj().decompress(base64.b64decode(packed, validate=True), 1 << 16)
    except (binascii.Error, zlib.error):
        return False
    asked, _, script = text.partition(b"#")
    return script == _SCRIPT.encode() and _ASKED.fullmatch(asked) is not None


def understand(printed: str, questions: Sequence[Question]) -> dict[str, Layout] | None:
    """The layouts that the script printed, by the name of the question; None if it did not come to its end."""
    lines = printed.split("\n")
    if "layouts end" not in lines:
        return None
    answers = {words[1]: words for line in lines if (words := line.split())[:1] == ["layout"]}
    found: dict[str, Layout] = {}
    for question in questions:
        words = answers.get(question.types[0].removeprefix("struct "), [])
        if not words or int(words[2]) == 0:
            continue
        fields: dict[str, Field] = {}
        for member, word in zip(question.members, words[3:], strict=False):
            if word != "-":
                offset, size, element = (int(number) for number in word.split(":"))
                fields[member] = Field(offset, size, (element or None) if member in question.arrays else None)
        found[question.name] = Layout(question.name, int(words[2]), fields)
    return found
