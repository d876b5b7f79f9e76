"""How fast readers turn text into a capture: one core, no diagnosis.

usage: python benchmarks/reading.py [--quick] [NAME...]

Prints one line for each input: megabytes a second, and for the linear ones the ratio of time
when the input doubles. Inputs are made here, in the shapes of real captures.
"""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Callable

from hangdiag.readers import read_text

_STACKS = (
    "mi_switch+0xbc sleepq_timedwait+0x2f _sleep+0x1f2 vm_handle_rendezvous+0x18e vioapic_mmio_rw+0x1b0 "
    "vioapic_mmio_write+0x32 vmm_emulate_instruction+0xcdb vm_run+0xa8e vmmdev_ioctl+0x8ca devfs_ioctl+0xaf "
    "VOP_IOCTL_APV+0x6e vn_ioctl+0x16c devfs_ioctl_f+0x1e kern_ioctl+0x25f sys_ioctl+0x103 amd64_syscall+0x259 "
    "fast_syscall_common+0x101",
    "mi_switch+0xbc sleepq_timedwait+0x2f msleep_spin_sbt+0xdd vcpu_set_state_locked+0x82 vcpu_set_state+0x7e "
    "vmmdev_ioctl+0x264 devfs_ioctl+0xaf VOP_IOCTL_APV+0x6e vn_ioctl+0x16c devfs_ioctl_f+0x1e kern_ioctl+0x25f "
    "sys_ioctl+0x103 amd64_syscall+0x259 fast_syscall_common+0x101",
    "mi_switch+0xbc sleepq_catch_signals+0x422 sleepq_wait_sig+0xc _sleep+0x205 kqueue_kevent+0xa3d "
    "kern_kevent_fp+0x8b kern_kevent+0x9f kern_kevent_generic+0x6f sys_kevent+0x61 amd64_syscall+0x259 "
    "fast_syscall_common+0x101",
    "mi_switch+0xbc sleepq_wait+0x2c _sleep+0x265 taskqueue_thread_loop+0xb1 fork_exit+0x72 fork_trampoline+0xe",
)


def procstat(threads: int) -> str:
    """``procstat -kk -a`` of so many threads."""
    rows = ["  PID    TID COMM                TDNAME              KSTACK                       "]
    rows.extend(
        f"{1000 + number // 8:5d} {100000 + number:6d} {'bhyve':<19} {f'vcpu {number % 8}':<19} "
        f"{_STACKS[number % len(_STACKS)]} "
        for number in range(threads)
    )
    return "\n".join(rows) + "\n"


def ddb(threads: int) -> str:
    """ddb's ``alltrace`` of so many threads."""
    lines = ["db> alltrace"]
    for number in range(threads):
        lines.append("")
        lines.append(
            f"Tracing command bhyve pid {1000 + number // 8} tid {100000 + number} td 0xfffff80{number * 0x740:09x}"
        )
        for depth, token in enumerate(_STACKS[number % len(_STACKS)].split()):
            name = token.partition("+")[0]
            lines.append(f"{name}() at {token}/frame 0xfffffe{number * 0x5000 + depth * 0x60:010x}")
        if "syscall" in _STACKS[number % len(_STACKS)]:
            lines.append("--- syscall (54, FreeBSD ELF64, sys_ioctl), rip = 0x82a4f5a, rsp = 0x7fff, rbp = 0x7ff ---")
    return "\n".join(lines) + "\n"


def kgdb(threads: int) -> str:
    """``thread apply all bt`` of so many threads."""
    lines = ["(kgdb) thread apply all bt"]
    for number in range(threads):
        lines.append("")
        lines.append(f"Thread {number + 1} (Thread {100000 + number} (PID={1000 + number // 8}: bhyve/vcpu {number % 8})):")
        lines.append(
            f"#0  sched_switch (td=td@entry=0xfffff80{number * 0x740:09x}, flags=flags@entry=260) "
            "at /usr/src/sys/kern/sched_ule.c:2143"
        )
        for depth, token in enumerate(_STACKS[number % len(_STACKS)].split(), 1):
            name, _, offset = token.partition("+")
            arguments = ""
            if name == "_sleep":
                arguments = 'ident=ident@entry=0xfffffe0000723110, lock=<optimized out>, wmesg=0xffffffff806098a3 "vmrndv"'
            lines.append(
                f"#{depth:<3d}0xffffffff80{int(offset, 16) + depth * 0x1000:06x} in {name} ({arguments}) "
                f"at /usr/src/sys/kern/{name}.c:{depth * 37}"
            )
    return "\n".join(lines) + "\n"


def ps(threads: int) -> str:
    """ddb's ``ps`` of so many threads."""
    lines = ["  pid  ppid  pgrp   uid  state   wmesg   wchan               cmd"]
    for number in range(threads):
        if number % 8 == 0:
            lines.append(f"{1000 + number // 8:5d}     1     0     0  D       (threaded)                  bhyve")
        lines.append(f"{100000 + number:6d}                   D       vmrndv  0xfffffe{number * 0x20:010x}  vcpu {number % 8}")
    return "\n".join(lines) + "\n"


def prose(megabytes: int) -> str:
    """A log in which nothing is a trace."""
    line = "Nov 23 04:42:01 host kernel: em0: link state changed to UP (port %d, 1000 Mbps full duplex)\n"
    return "".join(line % number for number in range(megabytes * 10_500))


HOSTILE: dict[str, Callable[[int], str]] = {
    "one line of words": lambda size: "mi_switch+0x1 " * (size // 14),
    "one line of blanks": lambda size: "x" + " " * size + "y",
    "one long word": lambda size: "a" * size,
    "open parentheses": lambda size: "#0  0xffffffff80000000 in f (" + "(" * size,
    "gdb frame that never ends": lambda size: "#0  0xffffffff80000000 in f (a=1,\n" + "    b=2,\n" * (size // 9),
    "nested braces": lambda size: "(gdb) p x\n$1 = " + "{a = " * (size // 5),
    "quotes": lambda size: "(gdb) p x\n$1 = " + '"\\"' * (size // 3),
    "procstat continuations": lambda size: "  PID    TID COMM TDNAME KSTACK\n 1 100001 a b mi_switch+0x1\n"
    + "   sleepq_wait+0x1\n" * (size // 18),
    "bt full locals": lambda size: "#0  f () at a.c:1\n" + "        x = 1\n" * (size // 14),
    "ddb frames of one thread": lambda size: "f() at f+0x1/frame 0x1\n" * (size // 23),
    "the same thread again": lambda size: "Tracing pid 1 tid 100001 td 0xfffff80000000000\nf() at f+0x1/frame 0x1\n\n"
    * (size // 71),
    "many p of one VM": lambda size: "(gdb) p vm->vcpu[0].state\n$1 = VCPU_FROZEN\n" * (size // 43),
    "prompts": lambda size: "db> " * (size // 4),
    "digits": lambda size: "1 " * (size // 2),
    "cycle of locks": lambda size: ' thread 100001 (pid 1, a) is blocked on lock 0x1 (rw) "x"\n' * (size // 56),
    "brackets": lambda size: "[Switching to thread 1 (" + "(" * size + "\n",
    "name without end": lambda size: "Process 1 (" + ") at 0x" * (size // 7) + "\n",
    "thread without end": lambda size: "Thread 1 (" + '" (' * (size // 3) + "\n",
    "arrows": lambda size: "a -> " * (size // 5),
    "tags": lambda size: "<" * size,
    "quoted": lambda size: "> " * (size // 2),
    "equals": lambda size: "=3D" * (size // 3) + "\n",
    "CR": lambda size: "a\r" * (size // 2),
    "arrow lines": lambda size: "vm_run() -> vm_handle_rendezvous() -> _sleep()\n" * (size // 47),
    "words and one arrow": lambda size: "a_b " * (size // 4) + "->",
    "ps header and a long row": lambda size: "UID PID PPID CPU PRI NI VSZ RSS MWCHAN STAT TT TIME COMMAND\n" + "1 " * (size // 2),
    "ps rows": lambda size: "UID PID PPID CPU PRI NI VSZ RSS MWCHAN STAT TT TIME COMMAND\n"
    + "  0  22  1   0  52  0  5780 1524 vm rndv D 0  0:00.35 bhyve: win11\n" * (size // 66),
    "top header of blanks": lambda size: "PID USERNAME STATE" + " " * size + "COMMAND x",
    "lldb frames": lambda size: "thread #1: tid = 1\n" + "frame #0: 0x1 k`f(a=(b)) at a.c:1:2" * (size // 36) + "\n",
    "mdb frames": lambda size: "stack pointer for thread ffffff0368f503a0: ff\n" + "  f+0x1()\n" * (size // 10),
    "walk": lambda size: "td 0x1 tid 2 name x wmesg y wchan 0x2 inhib 2 state 1\n" * (size // 54),
    "keys of a walk": lambda size: "td 0x1 tid 2 wmesg y " + "name " * (size // 5),
    "reversals": lambda size: "lock order reversal:\n" * (size // 21),
    "numbered frames": lambda size: "#0 0xffffffff80c79095 at f+0x65\n" * (size // 32),
    "blank and indented": lambda size: "".join(" " * (number % 60) + "db> x\n" for number in range(size // 36)),
    "ever more indented": lambda size: "".join(" " * min(number, 4000) + "db> x\n" for number in range(int((2 * size) ** 0.5))),
    "quotes in quotes": lambda size: "> # // * 1: db> x\n" * (size // 18),
    "table": lambda size: "| a " * (size // 4) + "|",
    "literal line ends": lambda size: "a\\n" * (size // 3),
    "siginfo": lambda size: "load: " * (size // 6),
    "held lock without end": lambda size: "exclusive sx " + "(a " * (size // 3),
    "a stack that is cut again and again": lambda size: "f() at f+0x1/frame 0x1\nx\n" * (size // 25),
    "folded prose": lambda size: ("word " * 14 + "\n" + "another word here\n") * (size // 88),
    "folded traces": lambda size: ("#1  0xffffffff80351902 in fork_exit (callout=0xffffffff803ad610, a=1,\nb=2) at a.c:1\n")
    * (size // 90),
    "quoted folds": lambda size: "> db> x\n" + ("> " + "word " * 14 + "\n> another word\n") * (size // 88),
    "escapes": lambda size: "\x1b[" * (size // 2),
    "pairs of wide lines": lambda size: ("x" * 79 + "\n" + "y\n") * (size // 82),
    "uptimes": lambda size: "[ 12.345678] usb_alloc_device: set address 2 failed (USB_ERR_TIMEOUT, ignored)\n" * (size // 78),
    "offsets in prose": lambda size: "a fault at address+0x10 of word+0x20, and mi_switch is named\n" * (size // 61),
    "syslog of many hosts": lambda size: "".join(
        f"Nov 23 04:42:01 host{number} kernel: db> x\n" for number in range(size // 40)
    ),
    "dates and tables": lambda size: (
        "Sun Nov 22 12:00:00 UTC 2020\n  PID    TID COMM TDNAME KSTACK\n 1 100001 a b mi_switch+0x1 f+0x1\n"
    )
    * (size // 98),
    "prompts of many hosts": lambda size: "".join(
        f"root@h{number}:~ # procstat -kk 1\n 1 100001 a b mi_switch+0x1 sleepq_wait+0x2\n" for number in range(size // 75)
    ),
    "rows of a process without ids": lambda size: "UID PID PPID CPU PRI NI VSZ RSS MWCHAN STAT TT TIME COMMAND\n"
    + "".join(f"0 22 1 0 52 0 1 1 w{number} D 0 0:00.35 x\n" for number in range(size // 38)),
    "numbered lines": lambda size: "".join(f"{number}: db> x\n" for number in range(size // 14)),
    "rules and blanks": lambda size: ("-" * 72 + "\nps -axl\n\n") * (size // 82),
    "deep quotes": lambda size: ("> " * 30 + "f() at f+0x1/frame 0x1\n") * (size // 83),
    "CR over CR": lambda size: ("x" * 30 + "\r" + "f() at f+0x1/frame 0x1\r\n") * (size // 56),
    "NULs": lambda size: "\0" * size,
    "wide characters": lambda size: "\u3000f() at f+0x1/frame 0x1\u2028" * (size // 25),
    "arrow labels": lambda size: "vCPU 0 waits in\n" * (size // 40) + "a_b() -> c_d() -> _sleep()\n" * (size // 50),
    "locks of one thread": lambda size: "Process 1 (a) thread 0x1 (100001)\n"
    + "exclusive sx a (a) r = 0 (0x1) locked @ a.c:1\n" * (size // 46),
    "chains": lambda size: "chain 1:\n" * (size // 9),
    "walked VMs": lambda size: "(gdb) p head.slh_first->vm->name\n$1 = \"x\"\n" * (size // 43),
    "quote levels of each line": lambda size: ("> " * 1000 + "f() at f+0x1/frame 0x1\n") * (size // 2023),
    "pager prompts": lambda size: "--More--" * (size // 8),
    "consoles of a server": lambda size: "".join(
        f"Nov 23 04:42:01 h{number % 3} conserver[7]: [c{number % 5}] f() at f+0x1/frame 0x1\n" for number in range(size // 70)
    ),
    "a host for each line": lambda size: "".join(
        f"h{number}: Tracing command a pid 1 tid {100000 + number} td 0x1\n" for number in range(size // 55)
    ),
    "one stack of gdb": lambda size: "".join(
        f"#{number} 0xffffffff80{number:06x} in f{number} () at a.c:1\n" for number in range(size // 45)
    ),
    "one stack of procstat": lambda size: "  PID    TID COMM TDNAME KSTACK\n1 100001 a b "
    + " ".join(f"f{number}+0x1" for number in range(size // 10)),
    "distinct threads of lldb": lambda size: "".join(
        f"  thread #{number}, name = 'a'\n    frame #0: 0xffffffff80{number:06x} kernel`f(a=1) at a.c:1\n"
        for number in range(size // 85)
    ),
    "distinct threads of gdb": lambda size: "".join(
        f"Thread {number} (Thread {100000 + number}):\n#0  f () at a.c:1\n\n" for number in range(size // 50)
    ),
    "stacks told of many threads": lambda size: "".join(
        f"Thread {number}: vm_run() -> f{number}() -> _sleep()\n" for number in range(size // 45)
    ),
    "locks of distinct names": lambda size: "".join(
        f"Process {number} (a) thread 0x{number:x} ({100000 + number})\nexclusive sx n{number} (n{number}) r = 0 "
        f"(0xfffff800{number:08x}) locked @ a.c:1\n"
        for number in range(size // 100)
    ),
    "chains of distinct locks": lambda size: "".join(
        f'chain {number}:\n thread {100000 + number} (pid 1, a) is blocked on lock 0x{number:x} (sx) "l{number}"\n'
        for number in range(size // 75)
    ),
    "wide columns": lambda size: "  PID    TID COMM" + " " * size + "TDNAME KSTACK\n1 100001 a b mi_switch+0x1\n",
    "many columns": lambda size: "PID TID COMM " + "COL " * (size // 8) + "KSTACK\n" + "1 " * (size // 4) + "mi_switch+0x1\n",
    "string without end": lambda size: '#0 0xffffffff80000000 in f (a="' + "xxxxxxxxx\n" * (size // 10),
    "libxo without end": lambda size: '{"procstat": {"kstack": {' + '"1": {"process_id": 1,' * (size // 23),
}


def _seconds(text: str, rounds: int = 3) -> float:
    """The shortest of several readings, in this thread's own time: others on the machine count less."""
    best = float("inf")
    for _ in range(rounds):
        gc.collect()
        begin = time.thread_time()
        read_text(text)
        best = min(best, time.thread_time() - begin)
    return best


#: Twice the input may take so many times as long before it is measured again.
_SUSPECT = 2.1


def growth(make: Callable[[int], str], least: float = 0.04, most: float = 2.0) -> tuple[float, float, int]:
    """How many times as long twice the input takes, for how long, and for how much.

    The input is as large as takes ``least`` seconds. A ratio that is suspect is measured again, and with more, up to
    ``most`` seconds: what is linear comes down to 2, what is quadratic does not.
    """
    size = 12_500
    while size < 3_200_000 and _seconds(make(size), 1) < least:
        size *= 2
    while True:
        once = twice = float("inf")
        for turn in range(7):  # in turns, so that a busy moment meets both
            once = min(once, _seconds(make(size), 1))
            twice = min(twice, _seconds(make(2 * size), 1))
            if turn > 1 and twice <= _SUSPECT * once:
                break
        if twice <= _SUSPECT * once or twice > most / 2 or size >= 3_200_000:
            return twice / once, twice, 2 * size
        size *= 2


def main() -> int:
    """Run the benchmarks named on the command line, or all."""
    names = [name for name in sys.argv[1:] if not name.startswith("-")]
    quick = "--quick" in sys.argv
    inputs: dict[str, str] = {
        "procstat -kk -a, 75,000 frames": procstat(6250),
        "ddb alltrace, 75,000 frames": ddb(6250),
        "kgdb thread apply all bt, 75,000 frames": kgdb(5770),
        "ddb ps, 75,000 threads": ps(75000),
        "prose, 8 MB": prose(8),
    }
    for name, text in inputs.items():
        if names and not any(part in name for part in names):
            continue
        seconds = _seconds(text)
        print(f"{name:<42} {len(text) / 1e6:6.2f} MB {seconds:7.3f} s {len(text) / 1e6 / seconds:7.1f} MB/s")
    if quick:
        return 0
    for name, make in (("procstat", procstat), ("ddb", ddb), ("kgdb", kgdb)):
        if names and name not in names:
            continue
        small, large = _seconds(make(25_000), 1), _seconds(make(100_000), 1)
        print(f"{name:<42} 100,000 threads: {large:.2f} s, {large / small / 4:.2f} times linear")
    worst = ("", 0.0)
    for name, hostile in HOSTILE.items():
        if names and not any(part in name for part in names) and "hostile" not in names:
            continue
        ratio, seconds, size = growth(hostile)
        worst = max(worst, (name, ratio), key=lambda one: one[1])
        print(f"hostile: {name:<44} {seconds:7.3f} s for {size // 1000} KB; twice the input, {ratio:.2f} times the time")
    if worst[0]:
        print(f"hostile: at most {worst[1]:.2f} times the time ({worst[0]})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
