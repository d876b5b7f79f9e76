"""What unwinding must know of a processor: its entry points into the kernel, and what its addresses look like."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Literal

from hangdiag.live.memory import Layout
from hangdiag.model import Frame

# amd64: the assembler's entry points, between which and the C code they call lies a trap frame.
_AMD64_ENTRY = re.compile(
    r"calltrap|nmi_calltrap|mchk_calltrap|fork_trampoline|fast_syscall_common|int0x80_syscall_common|doreti\w*|X[a-z]\w*"
)
# doreti calls ast() only on the way back to user mode.
_AMD64_LAST = re.compile(
    r"fork_trampoline|fast_syscall_common|int0x80_syscall\w*|Xfast_syscall\w*|Xint0x80_\w*|doreti\w*"
)
_ARM64_ENTRY = re.compile(r"handle_(?:el[01]h?_\w+|serror|empty_exception)")
_ARM64_LAST = re.compile(r"fork_trampoline|handle_el0_\w+")


@dataclass(frozen=True, slots=True)
class Machine:
    """What differs between architectures.

    ``kernel_half``: kernel addresses have the top bit set; ``chunk``: how many bytes of a stack are read at a time.
    """

    pointer_size: int
    byte_order: Literal["little", "big"]
    trapframe: Layout | None
    arm64: bool
    kernel_half: bool
    chunk: int
    #: A thousand stacks share some dozens of functions and call sites.
    kinds: dict[str, tuple[bool, bool]] = field(default_factory=dict)
    frames: dict[tuple[int, bool], Frame] = field(default_factory=dict)

    def is_entry(self, function: str) -> tuple[bool, bool]:
        """Whether ``function`` is an entry point, with a trap frame above it, and whether one where stacks begin."""
        kind = self.kinds.get(function)
        if kind is None:
            entry, last = (_ARM64_ENTRY, _ARM64_LAST) if self.arm64 else (_AMD64_ENTRY, _AMD64_LAST)
            kind = (entry.fullmatch(function) is not None, last.fullmatch(function) is not None)
            self.kinds[function] = kind
        return kind

    def canonical(self, address: int) -> int:
        """A return address without the signature (PAC) that arm64 may keep in its upper bits; bit 55 tells the half."""
        if self.arm64 and self.kernel_half and address >> 55 & 1:
            return address | 0xFFFF << 48
        return address
