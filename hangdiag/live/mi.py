"""A GDB/MI session: commands with tokens, sent in batches; answers matched by their token.

pygdbmi parses the records, and that is all it is used for: its own ``write()`` takes 0.2 s of silence
for the end of an answer, and so cuts long ones. Here an answer ends with its result record, or with
an error: every wait has a deadline.
"""

from __future__ import annotations

import binascii
import contextlib
import os
import re
import select
import signal
import subprocess
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import IO, Any

from hangdiag.errors import DebuggerError
from hangdiag.live import gate

# Commands in flight: enough to hide the pipe's latency, few enough never to fill both pipes.
_WINDOW = 64
_CHUNK = 1 << 16
_LAST_WORDS_TIMEOUT = 1.0
_CONSOLE = '-interpreter-exec console "'
_RESULT = re.compile(rb"(\d+)\^(done|running|connected|error|exit)")
_MEMORY = re.compile(
    rb'\d+\^done,memory=\[\{begin="0x[0-9a-f]+",offset="0x[0-9a-f]+",end="0x[0-9a-f]+",contents="'
)
# The records that come by the hundred, which pygdbmi's parser would read a character at a time.
_VALUE = re.compile(rb'\d+\^done(?:,value="((?:[^"\\]|\\.)*)")?')
_STREAM = re.compile(rb'[~&@]"((?:[^"\\]|\\.)*)"')
_ESCAPE = re.compile(rb"\\(?:([0-7]{3})|(.))")
_ESCAPED = {
    b"n": b"\n",
    b"t": b"\t",
    b"r": b"\r",
    b"f": b"\f",
    b"b": b"\b",
    b"v": b"\v",
    b"a": b"\a",
    b"e": b"\x1b",
}


@dataclass(frozen=True, slots=True)
class Answer:
    """The result record of one command, and what the console printed for it.

    ``status`` is ``done``, ``connected``, ``running``, ``exit`` or ``error``; ``contents`` the bytes of a
    plain ``-data-read-memory-bytes``, decoded here because such records are large.
    """

    status: str
    payload: dict[str, Any] = field(default_factory=dict)
    console: str = ""
    contents: bytes | None = None

    @property
    def message(self) -> str:
        """The error's text, on one line."""
        return " ".join(str(self.payload.get("msg", "")).split())


class Session:
    """One MI conversation over a pair of file descriptors; every command passes the gate.

    ``timeout`` is how long one answer may stay away, in seconds. Raises DebuggerError when the debugger
    ends, or stays silent.
    """

    def __init__(
        self, reading: int, writing: int, timeout: float, process: subprocess.Popen[bytes] | None = None
    ):
        self._reading = reading
        self._writing = writing
        self.timeout = timeout
        self.process = process
        #: What the debugger prints beside its MI conversation.
        self.printed: IO[bytes] | None = None
        self._token = 0
        self._buffer = b""
        #: How much of the buffer has been made lines of.
        self._taken = 0
        self._unfinished = b""
        self._last_words: deque[str] = deque(maxlen=4)
        self._owned: list[int] = []
        #: True once the debugger has said that its target is no longer there.
        self.target_gone = False
        #: What was asked of the target and stays true of it; forgotten when another is connected.
        self.remembered: dict[str, Any] = {}
        os.set_blocking(writing, False)

    def owns(self, *descriptors: int) -> None:
        """Descriptors to close with the session."""
        self._owned.extend(descriptors)

    def ask(self, command: str, timeout: float | None = None) -> Answer:
        """The answer to one command; the answer may be an error."""
        return self.ask_many([command], timeout)[0]

    def wait_for_prompt(self, timeout: float) -> None:
        """Waits until the debugger has opened our side and prints its first prompt."""
        deadline = time.monotonic() + timeout
        while True:
            self._exchange(b"", deadline)
            if any(line.startswith(b"(gdb)") for line in self._lines()):
                return

    def require(self, command: str, timeout: float | None = None) -> Answer:
        """As :meth:`ask`, but an error answer is raised as DebuggerError."""
        answer = self.ask(command, timeout)
        if answer.status == "error":
            raise DebuggerError(answer.message or f"the debugger refused {command}")
        return answer

    def ask_many(self, commands: Sequence[str], timeout: float | None = None) -> list[Answer]:
        """The answers to ``commands``, in their order. All pass the gate before the first is sent."""
        for command in commands:
            gate.check(command)
        limit = self.timeout if timeout is None else timeout
        first = self._token + 1
        self._token += len(commands)
        lines = [f"{first + index}{command}\n".encode() for index, command in enumerate(commands)]
        answers: list[Answer] = []
        sent = 0
        # The rest of a line that an interrupted call had begun to send goes first.
        outgoing, self._unfinished = self._unfinished, b""
        console: list[str] = []
        deadline = time.monotonic() + limit
        while len(answers) < len(commands):
            if len(outgoing) < _CHUNK and sent < len(lines) and sent - len(answers) < _WINDOW // 2:
                until = min(len(lines), len(answers) + _WINDOW)
                outgoing += b"".join(lines[sent:until])
                sent = until
            outgoing = outgoing[self._exchange(outgoing, deadline) :]
            for line in self._lines():
                answer = self._take(line, first + len(answers), console)
                if answer is not None:
                    answers.append(_without_trace(answer, commands[len(answers)]))
                    console = []
                    deadline = time.monotonic() + limit
                    if len(answers) == len(commands):
                        break
        self._unfinished = b""
        return answers

    def _exchange(self, outgoing: bytes, deadline: float) -> int:
        """Waits for input (or room for output) until ``deadline``; returns the bytes written."""
        remaining = deadline - time.monotonic()
        if remaining <= 0:
            raise DebuggerError(
                f"the debugger gave no answer in time{self._heard()}; is the target alive?"
                " a larger --timeout waits longer"
            )
        if self.process is not None and self.printed is not None and self.process.poll() is not None:
            # On a pty of ours the end of the other side does not show.
            raise self._gone()
        readable: list[int] = []
        written = 0
        try:
            readable, writable, _ = select.select(
                [self._reading], [self._writing] if outgoing else [], [], min(remaining, 1.0)
            )
            if writable:
                written = os.write(self._writing, outgoing[:_CHUNK])
                self._remember(outgoing, written)
        except BlockingIOError:
            pass
        except OSError as error:
            raise self._gone() from error
        if readable:
            try:
                data = os.read(self._reading, _CHUNK)
            except OSError:
                # A pty whose other side is closed.
                data = b""
            if not data:
                raise self._gone()
            self._buffer += data
        return written

    def _gone(self) -> DebuggerError:
        """The error for a debugger that has ended, with what it said before: that may still lie in the pipe."""
        end = time.monotonic() + _LAST_WORDS_TIMEOUT
        with contextlib.suppress(OSError):
            while self.printed is None and select.select([self._reading], [], [], end - time.monotonic())[0]:
                data = os.read(self._reading, _CHUNK)
                if not data:
                    break
                self._buffer += data
        for line in [*self._lines(), self._buffer]:
            with contextlib.suppress(DebuggerError):
                self._note(line, [])
        self._buffer = b""
        return DebuggerError(
            f"the debugger has gone away{self._heard()}; attach again, or with another debugger (--gdb)"
        )

    def _remember(self, outgoing: bytes, written: int) -> None:
        # Ctrl-C may end the call at any time: what was begun must be finished before the next command.
        if outgoing[written - 1 : written] == b"\n" or written == 0:
            self._unfinished = b""
        else:
            self._unfinished = outgoing[written : outgoing.find(b"\n", written) + 1]

    def _lines(self) -> Iterator[bytes]:
        while (end := self._buffer.find(b"\n", self._taken)) >= 0:
            line = self._buffer[self._taken : end]
            self._taken = end + 1
            yield line.rstrip(b"\r")
        self._buffer, self._taken = self._buffer[self._taken :], 0

    def _take(self, line: bytes, expected: int, console: list[str]) -> Answer | None:
        """The answer that ``line`` completes; console output is added to ``console``."""
        result = _RESULT.match(line)
        if result is None:
            self._note(line, console)
            return None
        if result.group(2) == b"connected":
            self.remembered.clear()
        token = int(result.group(1))
        if token < expected:
            # Of a command that was given up.
            return None
        memory = _MEMORY.match(line)
        # One block, and that a long one.
        if memory is not None and line.find(b'"', memory.end()) == len(line) - 3 and line.endswith(b'"}]'):
            with contextlib.suppress(ValueError):
                return Answer("done", contents=binascii.unhexlify(line[memory.end() : -3]))
        value = _VALUE.fullmatch(line)
        if value is not None:
            contents = {"value": _c_string(value.group(1))} if value.group(1) is not None else {}
            return Answer("done", contents, "".join(console))
        record = _parse(line)
        payload = record.get("payload")
        return Answer(
            result.group(2).decode(), payload if isinstance(payload, dict) else {}, "".join(console)
        )

    def _note(self, line: bytes, console: list[str]) -> None:
        if line[:1] in (b"~", b"&", b"@"):
            text = _stream_text(line)
            if line[:1] == b"~":
                console.append(text)
            if text.strip() and line[:1] != b"@":
                self._last_words.append(" ".join(text.split()))
        elif line.startswith(b"=thread-group-exited"):
            self.target_gone = True
        elif line[:1] not in (b"*", b"+", b"=", b"(") and line.strip():
            self._last_words.append(" ".join(line.decode("utf-8", "replace").split()))

    def _heard(self) -> str:
        if self.printed is not None:
            with contextlib.suppress(OSError, ValueError):
                self.printed.seek(max(0, self.printed.seek(0, os.SEEK_END) - 300))
                if printed := " ".join(self.printed.read().decode("utf-8", "replace").split()):
                    self._last_words.append(printed)
        return f" (last words: {self.last_words[-300:]})" if self.last_words else ""

    @property
    def last_words(self) -> str:
        """What the debugger printed last, on one line."""
        return " / ".join(self._last_words)

    def kill(self) -> None:
        """Ends the debugger at once.

        SIGKILL and nothing gentler: a gdb that is asked to quit kills or resumes its target.
        """
        process = self.process
        if process is not None and process.poll() is None:
            with contextlib.suppress(OSError):
                os.killpg(process.pid, signal.SIGKILL)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=5)
        self.close()

    def close(self) -> None:
        """Closes what the session owns; the debugger's own end is the caller's matter."""
        process = self.process
        if process is not None:
            for stream in (process.stdin, process.stdout):
                if stream is not None:
                    with contextlib.suppress(OSError):
                        stream.close()
        if self.printed is not None:
            self.printed.close()
        for descriptor in self._owned:
            with contextlib.suppress(OSError):
                os.close(descriptor)
        self._owned.clear()


def _without_trace(answer: Answer, command: str) -> Answer:
    """``answer`` without the command itself, which an open session shows first after ``set trace-commands on``."""
    if not answer.console.startswith("+"):
        return answer
    shown = command.removeprefix(_CONSOLE).removesuffix('"')
    return replace(answer, console=answer.console.removeprefix(f"+{shown}\n"))


def _stream_text(line: bytes) -> str:
    stream = _STREAM.fullmatch(line)
    return _c_string(stream.group(1)) if stream is not None else str(_parse(line).get("payload") or "")


def _c_string(quoted: bytes) -> str:
    """The text of a C string as MI writes it (without its quotes)."""
    if b"\\" in quoted:
        quoted = _ESCAPE.sub(
            lambda match: (
                bytes([int(match.group(1), 8) & 0xFF])
                if match.group(1)
                else _ESCAPED.get(match.group(2), match.group(2))
            ),
            quoted,
        )
    return quoted.decode("utf-8", "replace")


def _parse(line: bytes) -> dict[str, Any]:
    from pygdbmi.gdbmiparser import parse_response

    text = line.decode("utf-8", "replace")
    if not well_formed(text):
        raise DebuggerError(f"the debugger sent a record that cannot be read: {text[:80]!r}; is it a gdb?")
    return dict(parse_response(text))


_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')
_TUPLE = re.compile(r"\{(?:[A-Za-z_][\w-]*=v(?:,[A-Za-z_][\w-]*=v)*)?\}")
_LIST = re.compile(r"\[(?:(?:[A-Za-z_][\w-]*=)?v(?:,(?:[A-Za-z_][\w-]*=)?v)*)?\]")
_RECORD = re.compile(r"[~&@]v|\d*[\^*+=][a-z-]+(?:,[A-Za-z_][\w-]*=v)*")


def well_formed(record: str) -> bool:
    """True if ``record`` is a whole MI record. pygdbmi's parser runs for ever on one that is cut short."""
    record = _STRING.sub("v", record)
    while True:
        smaller = _LIST.sub("v", _TUPLE.sub("v", record))
        if smaller == record:
            return _RECORD.fullmatch(record) is not None
        record = smaller
