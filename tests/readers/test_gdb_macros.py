"""What FreeBSD's own gdb macros print (tools/debugscripts), and ddb commands that tell nothing of threads."""

from __future__ import annotations

import pytest

from hangdiag import diagnose
from tests.readers.help import functions, read_accounted, trace_like

PS = """\
(kgdb) ps
  pid    proc   uid  ppid  pgrp   flag stat comm         wchan
 2210 04a2d000    0     1  2210  000002  1  bhyve        kqread 12345000
 2210 04a2d000    0     1  2210  000002  1  bhyve        vmrndv 82c45110
 2210 04a2d000    0     1  2210  000002  1  bhyve        vmstat 82c45268
   12 03a3f000    0     0     0  000204  1  intr
 2300 04a2f000    0  2201  2300  004002  1  dump thing   biord fe1b2c00
(kgdb) kldstat
Id Refs Address    Size     Name
 1   36 0x80200000 1f3e3c8  kernel
"""


def test_ps():
    capture = read_accounted(PS, indented=False)
    known = [(thread.pid, thread.command, thread.state, thread.wmesg, thread.wchan) for thread in capture.threads]
    assert known == [
        (2210, "bhyve", "sleeping", "kqread", None),
        (2210, "bhyve", "sleeping", "vmrndv", None),
        (2210, "bhyve", "sleeping", "vmstat", None),
        (12, "intr", None, None, None),
        (2300, "dump thing", "sleeping", "biord", None),
    ]
    assert capture.unread == ()
    # no stack, no vCPU numbers, no release
    assert diagnose(capture).findings[0].certainty in ("likely", "possible")


STACK = """\
 frame 0 at 0xfffffe0045c23a40: rbp fffffe0045c23a70, rip    0xffffffff80b1a2b3 <sched_switch+1123>:\tmov    %eax,%eax
 frame 1 at 0xfffffe0045c23a70: rbp fffffe0045c23ab0, rip => 0xffffffff80b1c2b3 <mi_switch+225>:\tadd    $0x10,%rsp
 frame 2 at 0xfffffe0045c23ab0: rbp fffffe0045c23b40, rip 0xffffffff80b1d2b3 <_sleep+591>:\tmov    %eax,%eax
 frame 3 at 0xfffffe0045c23b40: rbp 0, rip 0xffffffff82a2e0f3:\tmov    %eax,%eax
"""


@pytest.mark.parametrize(
    "head",
    [
        "(kgdb) btp 2210\n",
        "(kgdb) defproc 2210\n 2210 04a2d000 04a2e000    0     1  2210  000002  1  bhyve        vmrndv 82c45110\n",
        PS.partition(" 2210")[0].replace("ps", "btpa") + " 2210 04a2d000    0     1  2210  000002 1  bhyve        vmrndv 82c45110\n",
    ],
)
def test_backtraces(head):
    capture = read_accounted(head + STACK + "(kgdb) \n", indented=False)
    (thread,) = capture.threads
    assert (thread.pid, functions(thread)) == (2210, ["sched_switch", "mi_switch", "_sleep", "??"])
    assert (thread.frames[1].offset, thread.frames[2].address) == (225, 0xFFFFFFFF80B1D2B3)
    assert "btp 2210" in head or (thread.command, thread.wmesg, thread.state) == ("bhyve", "vmrndv", "sleeping")
    assert capture.unread == ()


QUIET = {
    "ktr": "1234 (0xfffff80004c98000:cpu2) /usr/src/sys/kern/sched_ule.c.2143: mi_switch: old thread 100860\n--- End of trace buffer ---",
    "conifhk": "cam 0xffffffff80366e60 (xpt_config+0x0)",
    "object 0xfffff80004d2d000": "Object 0xfffff80004d2d000: type=2, size=0x10\n sref=0, backing_object(0)=(0)+0x0",
    "intr": "irq1: atkbd0 (pid 12) {SOFT, ENTROPY}\nswi4: clock (0) (pid 12) {SOFT, DEAD}",
    "all ttys": "TTY              HOTFULL  INQ  CAN  LIN\nttyv0               1920    0    0    0",
    "prison": "prison 0xfffff80003a41000:\n jid             = 3\n name            = web\n parent          = 0xffffffff81c8e780\n"
    " ref             = 21\n path            = /jails/web",
    "all prisons": "prison 0xfffff80003a41000:\n jid             = 3",
    "files": "              File    Type    Data Flag GCFl Count MCount      Vnode  FPID FCmd\n"
    "0xfffff800053e0960  vnode 0xfffff800055c9ce8 00000001 0000     1      0 0xfffff80005680000   700 sh",
    "mkdirs": "mkdirs",
    "ips": "ips 0xfffff80003a41000",
    "callout_last": "\ncpu 0 last callout function: 0xffffffff80c0a4f0 (sleepq_timeout)\ncpu 0 last callout argument: 0xfffff80003a41000",
    "t4 tcb t4nex0 3": "{-1} 0x0 00000000 00000000",
    "vnet_sysinit": "SYSINIT vnet\n  0xffffffff81a2b0c0(0x0)  domain_init+0x0",
    "idt": "  0\t0xffffffff8104c070 Xdiv+0\n  1\t0xffffffff8104c0b0 Xdbg+0x10",
    "tslog": "0x0 123456789012345 ENTER mi_startup\n0xfffffe00ad000000 123456789012399 EXIT mi_startup",
    "radix 0x10": "node 0xfffff80003a41000 key 0x7\n  parent 0x0",
    "some_driver 0xfffff80003a41000": "softc: 0xfffff80003a41000\nqueue 0: thread 0xfffff80003a42000 idle",
    "pciregs": "hostb0@pci0:0:0:0:\tclass=0x060000 card=0x00000000\n\nppt0@pci0:4:0:0:\tclass=0x030000",
}


@pytest.mark.parametrize("command", QUIET)
def test_ddb_commands_that_tell_nothing_of_threads(command):
    text = f"db> show {command}\n{QUIET[command]}\ndb> ps\n"
    capture = read_accounted(text, indented=False)
    assert (capture.threads, capture.unread) == ((), ())
    # without a prompt behind it, what somebody wrote below is listed
    left = read_accounted(f"db> show {command}\n{QUIET[command]}\n\nThat was all I could see.\n", indented=False)
    assert left.threads == ()
    assert left.unread[-1].where.last == text.count("\n") + 1


@pytest.mark.parametrize("command", ["print $rip", "x/s panicstr", "scripts", "p/x 0t16", "capture status", "search 0xffff 1"])
def test_other_ddb_commands_that_tell_nothing_of_threads(command):
    capture = read_accounted(f"db> {command}\nffffffff80b1d2b3\ndb_enter+0x3b: sleepq_wait\ndb> ps\n", indented=False)
    assert (capture.threads, capture.unread) == ((), ())


@pytest.mark.parametrize("command", ["shw alllocks", "alltrce", "show alll", "sh all tr"])
def test_lines_behind_what_may_be_a_telling_command_are_no_loss_unnoticed(command):
    capture = read_accounted(f"db> {command}\nmi_swtch() a mi_switch+0xe1/frm\ndb> ps\n", indented=False)
    assert [(item.where.first, item.trace_like) for item in capture.unread] == [(2, True)]


def test_what_else_is_printed_in_between_is_read():
    text = """\
db> show ktr
1234 (0xfffff80004c98000:cpu2) /usr/src/sys/kern/sched_ule.c.2143: mi_switch
Tracing pid 2210 tid 100860 td 0xfffff80004c98000
mi_switch() at mi_switch+0xe1/frame 0xfffffe00a0d1c430
_sleep() at _sleep+0x26e/frame 0xfffffe00a0d1c500
db> ps
"""
    (thread,) = read_accounted(text, indented=False).threads
    assert functions(thread) == ["mi_switch", "_sleep"]


@pytest.mark.parametrize("line", ["buf at 0xfffffe00a1b2c000", "hangs at 0x12345678", "look at 0xffffffff80b1c2b3"])
def test_an_address_behind_a_word_is_no_frame(line):
    capture = read_accounted(f"{line}\nb_flags = 0xa0000220<vmio>\n lock type bufwait: UNLOCKED\n", indented=False)
    assert capture.threads == ()
    assert not trace_like(capture)
