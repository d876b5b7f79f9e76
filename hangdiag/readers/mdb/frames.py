"""Frames as illumos' mdb prints them (``%a`` and ``$C``: usr/src/cmd/mdb/intel/mdb/mdb_amd64util.c, mdb_amd64_kvm_stack_iter).

``fffffe007a5e5b60 vmm`vm_run+0x2c4(fffffe0b1c9a3000, 2, fffffe007a5e5c10)``; addresses are hex without 0x, small
offsets as well (``thread_start+8``). Arguments are there because illumos is compiled with -msave-args.
"""

from __future__ import annotations

from hangdiag.model import Frame
from hangdiag.text.lazy import lazy

_NAME = r"(?:(?P<module>[\w.-]+)`)?(?P<name>[A-Za-z_][\w.$@]*|0x[0-9a-f]{6,16})(?:\+(?P<offset>(?:0x)?[0-9a-f]{1,8}))?"
#: The frames of ``$C``, ``$c`` and ``::findstack``, with arguments or without.
_CALLED = lazy(rf"\s*(?:\[ )?(?:[0-9a-f]{{8,16}} )?{_NAME}\((?P<args>[^()]*)\)(?: \])?\s*\Z")
#: Those of ``::stacks``.
_LISTED = lazy(rf"\s+{_NAME}\s*\Z")
_BEGUN = lazy(r"\s*(?:[0-9a-f]{8,16} )?(?:[\w.-]+`)?[A-Za-z_][\w.$@]*\+(?:0x)?[0-9a-f]{1,8}\([^()]*\Z")
_NO_FRAME = lazy(r"\s+(?:\.\.\. truncated \.\.\.|<[a-z ]{4,50}>)\s*\Z")
#: What the arguments of the functions are that tell of a vCPU (usr/src/uts/intel/io/vmm/vmm.c, vmm_sol_dev.c).
_SIGNATURES = {
    "vm_run": ("vm", "vcpuid"),
    "vm_handle_hlt": ("vm", "vcpuid"),
    "vm_handle_rendezvous": ("vm", "vcpuid"),
    "vm_handle_suspend": ("vm", "vcpuid"),
    "vm_handle_run_state": ("vm", "vcpuid"),
    "vcpu_set_state": ("vm", "vcpuid"),
    "vcpu_set_state_locked": ("vm", "vcpuid"),
    "vcpu_lock_one": ("sc", "vcpu"),
}
#: A frame is folded into so many lines at most.
_MOST_JOINED = 8


def read_frames(lines: list[str], index: int) -> tuple[tuple[Frame, ...], int]:
    """The frames from line ``index`` on, innermost first, and the index behind them."""
    frames = []
    while index < len(lines):
        text, end = _gather(lines, index)
        found = _CALLED.match(text) or _LISTED.match(text)
        if found is None:
            if _NO_FRAME.match(text) is None:
                break
            index = end
            continue
        name, module, offset = found.group("name"), found.group("module"), found.group("offset")
        arguments = found.groupdict().get("args")
        frames.append(
            Frame(
                name,
                int(offset, 16) if offset else None,
                module if module not in ("unix", "genunix") else None,
                args=_named(name, arguments) if arguments else (),
                address=int(name, 16) if name.startswith("0x") else None,
            )
        )
        index = end
    return tuple(frames), index


def _gather(lines: list[str], index: int) -> tuple[str, int]:
    """A frame's text, which mdb folds at the terminal's width, and the index behind it."""
    text = lines[index]
    end = index + 1
    if _BEGUN.match(text):
        while ")" not in text and end < len(lines) and end - index < _MOST_JOINED and lines[end].strip():
            text = f"{text.rstrip()} {lines[end].strip()}"
            end += 1
    return text, end


def _named(name: str, arguments: str) -> tuple[tuple[str, str], ...]:
    values = [value.strip() for value in arguments.split(",")]
    return tuple(
        [
            (argument, f"0x{value}")
            for argument, value in zip(_SIGNATURES.get(name, ()), values, strict=False)
            if value and all(letter in "0123456789abcdef" for letter in value)
        ]
    )
