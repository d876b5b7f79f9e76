"""The gate: what may be sent to a debugger, and what must never be."""

from __future__ import annotations

import base64
import re
import zlib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hangdiag.live import gate, gdb_script
from hangdiag.live.layouts import QUESTIONS

ALLOWED = [
    "-data-read-memory-bytes 0xfffffe0000723000 4096",
    '-data-evaluate-expression "sizeof(struct thread)"',
    '-data-evaluate-expression "sizeof(((struct vm *)0)->vcpu[0])"',
    '-data-evaluate-expression "(unsigned long)&((struct proc *)0)->p_list.le_next"',
    "-data-evaluate-expression \"(unsigned long)&'vmm_dev.c'::head\"",
    '-data-evaluate-expression --thread 2 --frame 0 "(unsigned long)$pc"',
    '-interpreter-exec console "info symbol 0xffffffff803ab792"',
    '-interpreter-exec console "thread apply 3 4 5 bt"',
    "-interpreter-exec console \"add-symbol-file '/boot/kernel/vmm.ko' 0xffffffff82a00000 -s .data 0xffffffff82a50000\"",
    # A linker set's section has no dot in its name.
    "-interpreter-exec console \"add-symbol-file '/boot/kernel/vmm.ko' 0xffffffff82a00000 -s set_sysinit_set 0xffffffff82a50000\"",
    "-interpreter-exec console \"target vmcore '/var/crash/of a host/vmcore.0'\"",
    "-target-select remote 127.0.0.1:1234",
    "-target-select remote [::1]:1234",
    "-target-select remote :1234",
    "-target-select remote /dev/ttyU0",
    '-file-exec-and-symbols "/usr/lib/debug/boot/kernel/kernel.debug"',
    "-gdb-set osabi none",
    "-gdb-set may-write-memory off",
    "-target-detach",
    "-thread-info",
]

REFUSED = [
    # Memory, registers, variables.
    '-data-evaluate-expression "x=1"',
    '-data-evaluate-expression "osreldate = 1"',
    '-data-evaluate-expression "(unsigned long)&x = 1"',
    '-data-evaluate-expression "sizeof(struct thread), x=1"',
    '-data-evaluate-expression "panic()"',
    '-data-evaluate-expression "sizeof(f())"',
    '-data-evaluate-expression "$pc = 0"',
    '-data-evaluate-expression "x++"',
    "-data-write-memory-bytes 0x1000 00",
    "-data-write-memory 0x1000 x 1 1",
    "-data-write-register-values x 0 1",
    "-var-assign var1 3",
    "-gdb-set var osreldate=1",
    "-gdb-set variable osreldate=1",
    "-gdb-set osreldate=1",
    "-gdb-set $pc=0",
    "-gdb-set may-write-memory on",
    "-gdb-set write on",
    "-gdb-set logging enabled on",
    '-interpreter-exec console "p x=1"',
    '-interpreter-exec console "print f()"',
    '-interpreter-exec console "set var x=1"',
    '-interpreter-exec console "restore file binary 0"',
    '-interpreter-exec console "compile code x=1;"',
    # Execution.
    "-exec-continue",
    "-exec-run",
    "-exec-step",
    "-exec-next-instruction",
    "-exec-until",
    "-exec-jump *0",
    "-exec-interrupt",
    "-exec-return",
    "-exec-finish",
    "-break-insert main",
    '-interpreter-exec console "continue"',
    '-interpreter-exec console "c"',
    '-interpreter-exec console "kill"',
    '-interpreter-exec console "call panic()"',
    '-interpreter-exec console "thread apply all continue"',
    '-interpreter-exec console "thread apply 1 2 p x=1"',
    '-interpreter-exec console "monitor quit"',
    "-target-attach 1",
    "-target-flash-erase",
    "-target-download",
    # gdb kills what it still holds then.
    "-gdb-exit",
    "-target-select extended-remote localhost:1",
    "-target-select remote | sh -c reboot",
    "-target-select remote |sh",
    "-target-select remote /dev/ttyU0 ; shell",
    "-target-select exec /bin/sh",
    # Programs and scripts.
    '-interpreter-exec console "shell reboot"',
    '-interpreter-exec console "!reboot"',
    '-interpreter-exec console "source /tmp/x"',
    '-interpreter-exec console "python print(1)"',
    '-interpreter-exec console "guile 1"',
    '-interpreter-exec console "pipe bt | sh"',
    '-interpreter-exec console "info symbol 0x1 | sh"',
    '-interpreter-exec console "dump memory /tmp/x 0 1"',
    "-interpreter-exec console \"add-symbol-file '/x' 0x1 -s .data $(reboot)\"",
    "-interpreter-exec console \"add-symbol-file '/x' 0x1 -s -readnow 0x2\"",
    "-interpreter-exec console \"add-symbol-file /a b 0x1\"",
    # A dump that could be written to; what ends or escapes a quotation.
    "-interpreter-exec console \"target vmcore -w '/x'\"",
    "-interpreter-exec console \"target vmcore '/x' -w\"",
    "-interpreter-exec console \"target vmcore '/x' '-w'\"",
    "-interpreter-exec console \"target vmcore '/x\\' -w '\"",
    '-interpreter-exec console "target vmcore \\"/x\\""',
    "-interpreter-exec console \"target vmcore '/x|sh'\"",
    "-interpreter-exec console \"target vmcore '-w'\"",
    '-interpreter-exec console "target vmcore | sh"',
    "-interpreter-exec mi3 -exec-continue",
    # Two commands in one, and other tricks.
    "-thread-info\n-exec-continue",
    "-thread-info\r-exec-continue",
    "-thread-info\0",
    "-thread-info -exec-continue",
    "12-thread-info",
    "continue",
    "",
    " -thread-info",
    '-file-exec-and-symbols "/x"\n-exec-run',
    '-file-exec-and-symbols "/x" "/y"',
    "-data-read-memory-bytes 0x1 0x1; c",
    "-data-read-memory-bytes $pc 4",
    "-data-read-memory-bytes panic() 4",
]


def _packed(text: str) -> str:
    command = gdb_script.command(QUESTIONS)
    assert command is not None
    before, _, after = command.partition("a2b_base64('")
    return f"{before}a2b_base64('{base64.b64encode(zlib.compress(text.encode())).decode()}'{after.partition(chr(39))[2]}"


def test_one_script_passes_and_no_other() -> None:
    command = gdb_script.command(QUESTIONS)
    assert command is not None
    assert gate.check(command) == command
    script = gdb_script._SCRIPT
    assert gate.check(_packed(f"thread:td_tid,td_plist.tqe_next;vm:#{script}"))
    for refused in (
        _packed(f"thread:td_tid#{script}gdb.execute('continue')"),
        _packed("thread:td_tid#gdb.execute('continue')"),
        _packed(f"thread:td_tid'#{script}"),
        _packed(f"thread:td_tid {script}"),
        command + "\n-exec-continue",
        command.replace("del a,s", "del a;c"),
        command.replace("a2b_base64('", "a2b_base64('!"),
        command.replace("a2b_base64('", "a2b_base64('AAAA"),
    ):
        with pytest.raises(gate.RefusedCommand):
            gate.check(refused)


DDB_ALLOWED = [
    "ps",
    "alltrace",
    "show allchains",
    "show lockchain 100041",
    "show sleepq 0xfffffe0000723110",
    "set $lines=0",
]
DDB_REFUSED = [
    *(
        "c",
        "continue",
        "panic",
        "reboot",
        "reset",
        "dump",
        "textdump",
        "kill 9 16",
        "call f()",
        "step",
        "s",
        "next",
    ),
    *(
        "w 0x1 1",
        "write 0x1 1",
        "set $rip=0",
        "set $eax=1",
        "set osreldate=1",
        "break main",
        "watch 0x1",
        "gdb",
        "halt",
    ),
    *(
        "capture on",
        "script x=y",
        "run x",
        "delete 1",
        "show allchains; c",
        "ps\rc",
        "ps\nc",
        "",
        " ",
        "thread 1",
    ),
    *(
        "print x=1",
        "print f()",
        "x/s 0x1 c",
        "set $lines=0 ; c",
        "until",
        "match",
        "hwatch 0x1",
        "unscript x",
    ),
]


@pytest.mark.parametrize("command", ALLOWED)
def test_reading_passes(command: str) -> None:
    assert gate.check(command) == command


@pytest.mark.parametrize("command", REFUSED)
def test_everything_else_is_refused(command: str) -> None:
    with pytest.raises(gate.RefusedCommand):
        gate.check(command)


@pytest.mark.parametrize("command", DDB_ALLOWED)
def test_ddb_reading_passes(command: str) -> None:
    assert gate.check_ddb(command) == command


@pytest.mark.parametrize("command", DDB_REFUSED)
def test_ddb_refuses_everything_else(command: str) -> None:
    with pytest.raises(gate.RefusedCommand):
        gate.check_ddb(command)


@pytest.mark.parametrize(
    "command", ["new-ui mi2 /dev/pts/1\nc", "new-ui mi2 /tmp/x", "continue", "new-ui console /dev/pts/1"]
)
def test_only_the_second_interface_is_typed(command: str) -> None:
    with pytest.raises(gate.RefusedCommand):
        gate.check_typed(command)


@given(
    st.sampled_from(ALLOWED),
    st.text(alphabet="=;|\n\r!`$()+-* ,'\"", min_size=1, max_size=8),
    st.integers(0, 200),
)
def test_punctuation_never_slips_in(command: str, extra: str, place: int) -> None:
    place = min(place, len(command))
    changed = command[:place] + extra + command[place:]
    try:
        gate.check(changed)
    except gate.RefusedCommand:
        return
    # What passes is still one line that assigns and calls nothing.
    assert "\n" not in changed
    assert "\r" not in changed
    assert ";" not in changed
    assert "|" not in changed
    expression = changed.partition('"')[2]
    assert "=" not in expression or changed.startswith(("-file", "-interpreter-exec"))


HARMFUL = (
    # Assignments and calls, wherever an expression may stand.
    *(
        "print x=1",
        "p f()",
        "output x=1",
        'printf "%d", f()',
        "set var x=1",
        "print $rip = 0",
        "p x++",
        "p --x",
    ),
    *("p (x=1, 2)", "p x, y=2", "inspect x|=1", "call panic()", "call (void)f()", "display x=1", "x/s f()"),
    *(
        "p *(int *)0xffffffff80000000=0",
        "p sizeof(int[f()])",
        "print/x ({ x=1; })",
        "info symbol x=1",
        "ptype f()",
    ),
    # Execution, and what ends or changes the target.
    *(
        "continue",
        "c",
        "step",
        "stepi",
        "next",
        "until",
        "jump *0",
        "finish",
        "return",
        "kill",
        "detach",
        "run",
    ),
    *(
        "starti",
        "signal 9",
        "tbreak f",
        "watch x",
        "monitor quit",
        "maint packet X0,1:00",
        "checkpoint",
        "load",
    ),
    *(
        "restore f binary 0",
        "compile code x=1;",
        "generate-core-file /x",
        "inferior 2",
        "record",
        "reverse-step",
    ),
    # Programs, files and scripts.
    *(
        "shell id",
        "!id",
        "source /x",
        "python print(1)",
        "py x",
        "guile 1",
        "pipe bt | sh",
        "dump memory /x 0 1",
    ),
    *(
        "define x",
        "document x",
        "alias x=c",
        "set logging file /x",
        "make",
        "edit",
        "cd /x",
        "save breakpoints /x",
    ),
)
WRAPPERS = (
    *("{}", "thread apply all {}", "thread apply 1 2 {}", "thread apply 1 -q {}", "taas {}", "tfaas {}"),
    *(
        "frame apply all {}",
        "faas {}",
        "with width 0 -- {}",
        "w language c -- {}",
        "pipe {} | sh",
        "| {} | sh",
    ),
    *(
        "if 1\n{}\nend",
        "while 1\n{}\nend",
        'eval "{}"',
        "interpreter-exec mi {}",
        "commands\n{}\nend",
        "{} | cat",
    ),
    *(
        "thread apply 1 bt {}",
        "info symbol 0x1 {}",
        "show osabi {}",
        "target vmcore '/x' {}",
        "thread find 1 {}",
    ),
    *("add-symbol-file '/x' 0x1 {}", "{}; bt", "help {}", "silent {}", "maint time {}", "skip {}", "tui {}"),
)
FRAMES = (
    "{}",
    '-interpreter-exec console "{}"',
    "-interpreter-exec console {}",
    '-interpreter-exec mi3 "{}"',
    '-data-evaluate-expression "{}"',
    '-data-evaluate-expression --language c "{}"',
    '-data-evaluate-expression --thread 1 --frame 0 "{}"',
    "-data-read-memory-bytes {} 4",
    "-gdb-set {}",
    "-target-select {}",
    "-thread-select {}",
    '-file-exec-and-symbols "/x" {}',
    "-thread-info\n{}",
)


@given(
    st.sampled_from(HARMFUL),
    st.lists(st.sampled_from(WRAPPERS), max_size=3),
    st.sampled_from(FRAMES),
    st.sampled_from([str, str.upper, str.title]),
)
def test_no_wrapping_brings_a_harmful_command_through(
    harmful: str, wrappers: list[str], frame: str, case: Callable[[str], str]
) -> None:
    command = case(harmful)
    for wrapper in wrappers:
        command = wrapper.format(command)
    # As MI wants its strings, and bare.
    for text in (command, command.replace("\\", "\\\\").replace('"', '\\"')):
        with pytest.raises(gate.RefusedCommand):
            gate.check(frame.format(text))
        with pytest.raises(gate.RefusedCommand):
            gate.check_typed(frame.format(text))
        with pytest.raises(gate.RefusedCommand):
            gate.check_ddb(frame.format(text))


@given(
    st.sampled_from(DDB_ALLOWED),
    st.sampled_from(DDB_REFUSED),
    st.sampled_from([";", "\r", "\n", " ", "!", ",", "/", "|", ""]),
    st.booleans(),
)
def test_nothing_rides_on_a_ddb_command(allowed: str, refused: str, between: str, first: bool) -> None:
    pair = (refused, allowed) if first else (allowed, refused)
    command = between.join(pair)
    if command == allowed:
        return
    try:
        gate.check_ddb(command)
    except gate.RefusedCommand:
        return
    # What passes is still one command that reads: a longer number of the first.
    assert command.startswith(allowed)
    assert re.fullmatch("[0-9a-f]+", command[len(allowed) :])


@pytest.mark.parametrize("path", ['/x"', "/x\n", "|sh", "-x", "/x\\", "", "/a;b"])
def test_odd_paths_are_not_passed_on(path: str) -> None:
    with pytest.raises(Exception, match="cannot pass the path"):
        gate.quoted(path)


def test_the_session_sends_nothing_that_is_refused() -> None:
    import os

    from hangdiag.live.mi import Session

    reading, other = os.pipe()
    sent, writing = os.pipe()
    os.set_blocking(sent, False)
    session = Session(reading, writing, 1.0)
    with pytest.raises(gate.RefusedCommand):
        session.ask_many(["-thread-info", "-exec-continue"])
    with pytest.raises(BlockingIOError):
        os.read(sent, 10)
    for descriptor in (reading, other, sent, writing):
        os.close(descriptor)


@pytest.mark.parametrize(
    "arguments",
    [
        *(
            ["-ex", "continue"],
            ["-x", "/tmp/script"],
            ["--command=/tmp/x"],
            ["--eval-command", "kill"],
            ["-w"],
            ["--write"],
        ),
        *(
            ["-p", "1"],
            ["--pid=1"],
            ["--args", "sh"],
            ["/bin/sh"],
            ["-iex", "python print(1)"],
            ["-ex"],
            ["-batch"],
        ),
        *(
            ["-iex", "set var x=1"],
            ["-iex", "set may-write-memory on"],
            ["-d", "-ex"],
            ["--e", "c"],
            ["--tui"],
        ),
    ],
)
def test_arguments_bring_no_commands_along(arguments: list[str]) -> None:
    with pytest.raises(gate.RefusedCommand):
        gate.check_arguments(arguments)


def test_arguments_that_only_set_up_the_debugger() -> None:
    arguments = [
        "-iex",
        "set osabi none",
        "--data-directory=/usr/share/gdb",
        "-d",
        "/usr/src",
        "-b",
        "115200",
        "-nh",
    ]
    assert gate.check_arguments(arguments) == tuple(arguments)
