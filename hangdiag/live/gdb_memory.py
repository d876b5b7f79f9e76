"""The kernel's memory and symbols, asked of gdb over MI (implements :class:`~hangdiag.live.memory.KernelMemory`).

Memory comes in bulk by ``-data-read-memory-bytes``. Layouts are told by gdb's own Python in one answer
(:mod:`hangdiag.live.gdb_script`); a gdb without it is asked for ``sizeof`` and the address of a member of a structure
at 0, one short expression each, in one batch: exact in every gdb, and nothing to misparse.
"""

from __future__ import annotations

import re
import time
from collections.abc import Sequence

from hangdiag.errors import DebuggerError
from hangdiag.live import elf_symbols, gdb_script
from hangdiag.live.memory import Field, Layout, Name, Question, Registers
from hangdiag.live.mi import Answer, Session

#: Whatever language an open session is set to (``set language``), the kernel's is C.
EVALUATE = "-data-evaluate-expression --language c"
_NUMBER = re.compile(r"0x[0-9a-f]+|\d+")
_SYMBOL_LINE = re.compile(
    r"(?P<function>.+?)(?: \+ (?P<offset>\d+))? in section (?P<section>\S+)(?: of (?P<object>.+))?"
)
_GONE = re.compile(
    r"connection (?:closed|reset)|communication error|not being run|no longer|broken pipe", re.IGNORECASE
)
_CODE = re.compile(r"\.(?:text|init|plt|iplt)\b|\.text")
_FIND_CPUS = '-interpreter-exec console "thread find CPU[# ][0-9]"'
_CPU_NAME = r"(?:CPU#|vCPU )(\d+)"
_CPU = re.compile(rf"^Thread (\d+) has [a-z ]+ '(?:.* )?{_CPU_NAME}", re.MULTILINE)
_PACKET = re.compile(r"Packets are (?:limited to|fixed at) (\d+) bytes")
# A longer read is cut in pieces, so that one bad page does not lose the rest and no answer gets huge.
_LONGEST_READ = 1 << 16
_LEAST_GAP, _MOST_GAP = 32, 4096
_UNREST = 0.002
_TRIES = 4


class GdbMemory:
    """Reads one kernel through a debugger that is already connected to it.

    ``order`` is the target's byte order; ``symbol_file`` the file that the debugger has its symbols from, if known.
    Raises DebuggerError when the debugger goes away.
    """

    def __init__(self, session: Session, order: str = "little", symbol_file: str | None = None):
        self._session = session
        self._order = order
        self._symbol_file = symbol_file
        self._round_trip_bytes = _MOST_GAP
        self.read_bytes = 0
        self.questions = 0

    @property
    def pointer_size(self) -> int:
        return 8

    @property
    def byte_order(self) -> str:
        return self._order

    @property
    def round_trip_bytes(self) -> int:
        return self._round_trip_bytes

    def measure(self, address: int) -> None:
        """Finds out what bytes cost here, for a target behind a line: how many a packet holds, and by reads at ``address``."""
        shown = self._session.ask('-interpreter-exec console "show remote memory-read-packet-size"').console
        packet = _PACKET.search(shown)
        # Two digits a byte.
        most = max(_LEAST_GAP, min(_MOST_GAP, int(packet.group(1)) // 2)) if packet is not None else _MOST_GAP
        self._round_trip_bytes = most
        spent: dict[int, float] = {}
        for length in (8, 520) * _TRIES:
            begin = time.perf_counter()
            if self.read([(address, length)])[0] is None:
                return
            taken = time.perf_counter() - begin
            spent[length] = min(taken, spent.get(length, taken))
            longer = spent.get(520, 0.0) - spent[8]
            if length == 520 and longer <= _UNREST:
                # Less is the machine's own unrest, and no line.
                return
        a_byte = longer / 512
        self._round_trip_bytes = max(_LEAST_GAP, min(most, int(spent[8] / a_byte)))

    def read(self, ranges: Sequence[tuple[int, int]]) -> list[bytes | None]:
        wanted = [(address, length) for address, length in ranges if _readable(address, length)]
        commands = [f"-data-read-memory-bytes {address:#x} {length}" for address, length in wanted]
        self.questions += 1
        results = self._session.ask_many(commands)
        self._check_target(results)
        answers = iter(results)
        found: list[bytes | None] = []
        for address, length in ranges:
            if not _readable(address, length):
                found.append(None)
                continue
            contents = _contents(next(answers), length)
            if contents is not None:
                self.read_bytes += length
            found.append(contents)
        return found

    def _check_target(self, answers: Sequence[Answer]) -> None:
        # Without its target gdb goes on answering, out of the symbols' file: that is no kernel's memory.
        lost = next((answer.message for answer in answers if _GONE.search(answer.message)), "")
        if lost or self._session.target_gone:
            raise DebuggerError(
                f"the target has gone away while it was read{f' ({lost})' if lost else ''}; attach again"
            )

    def symbols(self, names: Sequence[str]) -> dict[str, int]:
        table: dict[str, int] = {}
        if self._symbol_file is not None and len(names) > 1:
            table = elf_symbols.read_variables(self._symbol_file, names)
        # One that both know shows whether the file is where the debugger has it.
        probe = next(iter(table), None)
        asked = [name for name in names if name not in table or name == probe]
        answers = self._evaluate([f"(unsigned long)&{name}" for name in asked])
        found = {name: value for name, value in zip(asked, answers, strict=True) if value}
        if probe is not None and found.get(probe) != table[probe]:
            rest = [name for name in names if name not in asked]
            answers = self._evaluate([f"(unsigned long)&{name}" for name in rest])
            table = {name: value for name, value in zip(rest, answers, strict=True) if value}
        return {name: place for name in names if (place := found.get(name) or table.get(name))}

    def layouts(self, questions: Sequence[Question]) -> dict[str, Layout]:
        found = self._layouts_by_script(questions)
        return found | self._layouts_one_by_one([one for one in questions if one.name not in found])

    def _layouts_one_by_one(self, questions: Sequence[Question]) -> dict[str, Layout]:
        found: dict[str, Layout] = {}
        open_questions = list(questions)
        for attempt in range(max((len(question.types) for question in questions), default=0)):
            tried = [question for question in open_questions if attempt < len(question.types)]
            for question, layout in zip(tried, self._layouts(tried, attempt), strict=True):
                if layout is not None:
                    found[question.name] = layout
            open_questions = [question for question in open_questions if question.name not in found]
        return found

    def _layouts_by_script(self, questions: Sequence[Question]) -> dict[str, Layout]:
        """What gdb's own Python tells; empty if this gdb has none."""
        command = gdb_script.command(questions)
        if command is None:
            return {}
        answer = self._session.ask(command)
        return gdb_script.understand(answer.console, questions) or {} if answer.status == "done" else {}

    def _layouts(self, questions: Sequence[Question], attempt: int) -> list[Layout | None]:
        sizes = self._evaluate([f"sizeof({question.types[attempt]})" for question in questions])
        known = [
            (question, question.types[attempt], size)
            for question, size in zip(questions, sizes, strict=True)
            if size
        ]
        members = [(kind, member) for question, kind, _ in known for member in question.members]
        offsets = self._evaluate([f"(unsigned long)&(({kind} *)0)->{member}" for kind, member in members])
        existing = [pair for pair, offset in zip(members, offsets, strict=True) if offset is not None]
        arrays = {(kind, member) for question, kind, _ in known for member in question.arrays}
        lengths = self._evaluate([f"sizeof((({kind} *)0)->{member})" for kind, member in existing])
        indexed = [pair for pair in existing if pair in arrays]
        elements = dict(
            zip(
                indexed,
                self._evaluate([f"sizeof((({kind} *)0)->{member}[0])" for kind, member in indexed]),
                strict=True,
            )
        )
        measured = {
            pair: (length, elements.get(pair)) for pair, length in zip(existing, lengths, strict=True)
        }
        places: dict[tuple[str, str], Field] = {}
        for pair, offset in zip(members, offsets, strict=True):
            if offset is None:
                continue
            length, element = measured[pair]
            if length is not None:
                places[pair] = Field(offset, length, element)
        layouts = {
            question.name: Layout(
                question.name,
                size,
                {member: places[kind, member] for member in question.members if (kind, member) in places},
            )
            for question, kind, size in known
        }
        return [layouts.get(question.name) for question in questions]

    def names(self, addresses: Sequence[int]) -> dict[int, Name]:
        # Not "info line": a source line costs the reading of its compilation unit's debug information,
        # which is what makes gdb's own backtraces slow.
        commands = [f'-interpreter-exec console "info symbol {address:#x}"' for address in addresses]
        found: dict[int, Name] = {}
        for address, answer in zip(addresses, self._session.ask_many(commands), strict=True):
            name = _name(answer.console)
            if name is not None:
                found[address] = name
        return found

    def cpu_registers(self) -> dict[int, Registers]:
        threads = cpu_threads(self._session)
        if not threads:
            return {}
        found: dict[int, Registers] = {}
        cpus = sorted(threads)
        values = self._evaluate(
            ["(unsigned long)$" + register for _ in cpus for register in ("pc", "sp", "fp")],
            [f"--thread {threads[cpu]} --frame 0 " for cpu in cpus for _ in range(3)],
        )
        for index, cpu in enumerate(cpus):
            pc, sp, fp = values[3 * index : 3 * index + 3]
            if pc is not None and sp is not None and fp is not None:
                found[cpu] = Registers(pc, sp, fp, interrupted=True)
        return found

    def _evaluate(self, expressions: Sequence[str], options: Sequence[str] | None = None) -> list[int | None]:
        prefixes = options if options is not None else [""] * len(expressions)
        answers = self._session.ask_many(
            [
                f'{EVALUATE} {prefix}"{expression}"'
                for prefix, expression in zip(prefixes, expressions, strict=True)
            ]
        )
        return [_number(answer) for answer in answers]


def check_pointers(session: Session) -> None:
    """Raises DebuggerError if this gdb cuts the target's pointers.

    A gdb without FreeBSD's ABI takes an amd64 kernel for a 32-bit program unless it is told
    ``set osabi none`` before the symbols are loaded, and says nothing.
    """
    size = _number(session.ask(f'{EVALUATE} "sizeof(void *)"'))
    if size is not None and size != 8:
        raise DebuggerError(
            f"this gdb takes the kernel's pointers for {size} bytes; use FreeBSD's gdb or kgdb (--gdb),"
            " or in the open session: set osabi none, then load the symbols again"
        )


def build_id_place(session: Session) -> tuple[int, int] | None:
    """(address, length) of the symbols' build id, a note that the linker puts in the kernel's own memory."""
    listing = session.ask('-interpreter-exec console "info files"').console
    match = re.search(r"(0x[0-9a-f]+) - (0x[0-9a-f]+) is \.note\.gnu\.build-id", listing)
    if match is None:
        return None
    begin, end = (int(text, 16) for text in match.groups())
    return (begin, end - begin)


def cpu_threads(session: Session) -> dict[int, int]:
    """gdb's thread numbers by CPU, if its threads are CPUs; else empty.

    Asked once a connection, and by what is said of the threads: their frames would cost the registers of every one.
    """
    found = session.remembered.get("cpus")
    if found is None:
        # A kernel's threads would each be a question.
        listing = "" if lists_kernel_threads(session) else session.ask(_FIND_CPUS).console
        found = {int(match.group(2)): int(match.group(1)) for match in _CPU.finditer(listing)}
        session.remembered["cpus"] = found
    return dict(found)


def is_cpu(thread: str) -> bool:
    """True if ``thread`` is what a stub calls a CPU: ``CPU#0 [running]`` (QEMU), ``vCPU 0`` (``bhyve -G``)."""
    return re.match(_CPU_NAME, thread) is not None


def lists_kernel_threads(session: Session) -> bool:
    """True if gdb's threads are FreeBSD's: the current one is called ``Thread`` and a tid. Costs the target nothing."""
    shown = session.ask('-interpreter-exec console "thread"').console
    return re.search(r"\(Thread \d{6,7}\b", shown) is not None


def thread_numbers_of(session: Session, tids: Sequence[int]) -> dict[int, int]:
    """gdb's thread numbers by kernel tid, for those of ``tids`` that it lists."""
    answers = session.ask_many([f'-interpreter-exec console "thread find {tid}"' for tid in tids])
    found: dict[int, int] = {}
    for tid, answer in zip(tids, answers, strict=True):
        match = re.search(rf"Thread (\d+) has target id 'Thread {tid}\b", answer.console)
        if match is not None:
            found[tid] = int(match.group(1))
    return found


def _readable(address: int, length: int) -> bool:
    # The first page is never mapped: a NULL pointer is no question for the target.
    return address >= 4096 and address + length <= 1 << 64 and 0 < length <= _LONGEST_READ


def _contents(answer: Answer, length: int) -> bytes | None:
    if answer.contents is not None:
        return answer.contents if len(answer.contents) == length else None
    blocks = answer.payload.get("memory")
    if answer.status != "done" or not isinstance(blocks, list):
        return None
    # Memory may be readable in part only; a part is not what was asked for.
    data = b"".join(bytes.fromhex(str(block.get("contents", ""))) for block in blocks)
    return data if len(data) == length else None


def _number(answer: Answer) -> int | None:
    value = answer.payload.get("value")
    if answer.status != "done" or not isinstance(value, str):
        return None
    match = _NUMBER.match(value)
    if match is None:
        return None
    # As the session's output-radix has it: 0x10, 16 or 020.
    digits = match.group(0)
    try:
        return int(digits, 8 if digits.isdigit() and digits.startswith("0") else 0)
    except ValueError:
        return None


def _name(symbol: str) -> Name | None:
    match = _SYMBOL_LINE.fullmatch(symbol.strip())
    if match is None or not _CODE.match(match.group("section")):
        # What lies in no code is no return address.
        return None
    file = (match.group("object") or "").rsplit("/", 1)[-1].removesuffix(".debug").removesuffix(".full")
    return Name(
        function=match.group("function"),
        offset=int(match.group("offset") or 0),
        # gdb names every file once there are several; the kernel itself is no module.
        module=file if file.endswith(".ko") else None,
    )
