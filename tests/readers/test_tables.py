"""ps and top: columns by their header, wait messages with blanks, threads of a process."""

from __future__ import annotations

import pytest

from tests.readers.help import only, read


def test_ps_axl():
    capture = read(
        """
        UID   PID  PPID CPU PRI NI   VSZ  RSS MWCHAN   STAT TT     TIME COMMAND
          0  2210     1   0  52  0  5780 1524 vmrndv   D     0  0:00.35 bhyve: win11 (bhyve)
          0  2290  2100   0  20  0 13596 2904 vmstat   D+    0  1:59.68 bhyvectl --destroy --vm=win11
          0  3891     1   0  52  0 29828 2852 mount dr T     0  0:00,00 ./syzkaller21
          0  3892     1   0  52  0 29828 2852 *vm rend L     -  0:00.00 sh
          0  3893     1   0  52  0     0    0 -        Z+    -  0:00.00 <defunct>
        """
    )
    got = [(thread.pid, thread.state, thread.interruptible, thread.wmesg, thread.lock) for thread in capture.threads]
    assert got == [
        (2210, "sleeping", False, "vmrndv", None),
        (2290, "sleeping", False, "vmstat", None),
        (3891, "suspended", None, "mount dr", None),
        (3892, "lock", None, None, "vm rend"),
        (3893, "zombie", None, None, None),
    ]
    assert capture.threads[2].wmesg_cut == 8
    assert [(process.pid, process.command) for process in capture.processes][:2] == [(2210, "bhyve"), (2290, "bhyvectl")]
    assert capture.sources[0].format == "ps"


def test_the_other_header():
    thread = only(
        read(
            """
            UID  PID PPID  C PRI NI   VSZ  RSS MWCHAN   STAT TT     TIME COMMAND
              0 3730 3668 11  20  0 13596 2904 exithold DE+   0  1:59.68 ./kcmp
            """
        )
    )
    assert (thread.wmesg, thread.state) == ("exithold", "sleeping")


def test_ps_of_threads_with_ids():
    capture = read(
        """
          PID    LWP TDNAME           STAT WCHAN  COMMAND
         2210 100860 vcpu 0           D    vmrndv bhyve: win11
         2210 100861 vcpu 1           D    vmstat bhyve: win11
        """
    )
    assert [(thread.tid, thread.name, thread.wmesg) for thread in capture.threads] == [
        (100860, "vcpu 0", "vmrndv"),
        (100861, "vcpu 1", "vmstat"),
    ]


def test_ps_of_threads_with_columns_that_were_renamed():
    # ps -o pid,lwp=TID,tdname=NAME,mwchan=WMESG,command=CMD
    capture = read(
        """
         PID    TID NAME         WMESG  CMD
        2210 100853 vtnet-5:0 tx uwait  bhyve: win11 (bhyve)
        2210 100854 vcpu 0       vmrndv bhyve: win11 (bhyve)
        """
    )
    assert [(thread.tid, thread.command, thread.name, thread.wmesg) for thread in capture.threads] == [
        (100853, "bhyve", "vtnet-5:0 tx", "uwait"),
        (100854, "bhyve", "vcpu 0", "vmrndv"),
    ]


def test_ps_of_kernel_threads():
    capture = read(
        """
        UID   PID  PPID CPU PRI NI   VSZ  RSS MWCHAN   STAT TT     TIME COMMAND
          0    12     0   0 -52  0     0  704 -        WL    -  0:00.03 [intr/swi4: clock (0)]
          0    12     0   0 -56  0     0  704 -        WL    -  0:00.00 [intr/swi5: fast taskq]
        """
    )
    assert [(thread.command, thread.name, thread.state) for thread in capture.threads] == [
        ("intr", "swi4: clock (0)", "iwait"),
        ("intr", "swi5: fast taskq", "iwait"),
    ]


def test_ps_rows_join_threads_of_a_stack_by_their_name():
    capture = read(
        """
          PID    TID COMM                TDNAME              KSTACK
         2210 100860 bhyve               vcpu 0              mi_switch+0xbc _sleep+0x1f2
         2210 100861 bhyve               vcpu 1              mi_switch+0xbc _sleep+0x1f2
        UID   PID  PPID CPU PRI NI   VSZ  RSS MWCHAN   STAT TT     TIME COMMAND
          0  2210     1   0  52  0  5780 1524 vmrndv   D     0  0:00.35 bhyve/vcpu 0
          0  2210     1   0  52  0  5780 1524 vmstat   D     0  0:00.35 bhyve/vcpu 1
        """
    )
    assert [(thread.tid, thread.wmesg) for thread in capture.threads] == [(100860, "vmrndv"), (100861, "vmstat")]


def test_top():
    capture = read(
        """
        last pid:  2291;  load averages:  0.10,  0.20,  0.15    up 0+00:10:20  12:00:00
        312 threads:   5 running, 290 sleeping, 17 waiting
        CPU:  0.0% user,  0.0% nice,  0.4% system,  0.0% interrupt, 99.6% idle
        Mem: 120M Active, 30M Inact, 600M Wired, 1G Free

          PID USERNAME    PRI NICE   SIZE    RES STATE    C   TIME    WCPU COMMAND
         2210 root         20    0  4147M    51M vmrndv   2   0:11   0.00% bhyve{vcpu 0}
         2210 root         20    0  4147M    51M vmstat   1   0:12   0.00% bhyve{vcpu 1}
           11 root        155 ki31     0B    64K CPU0     0  10:00 100.00% idle{idle: cpu0}
         2291 root         20    0    14M  3372K *Giant   1   0:00   0.00% top
         2292 root         20    0    14M  3372K RUN      1   0:00   0.00% sh
        """
    )
    assert [(thread.name, thread.state, thread.wmesg, thread.lock, thread.cpu) for thread in capture.threads] == [
        ("vcpu 0", "sleeping", "vmrndv", None, None),
        ("vcpu 1", "sleeping", "vmstat", None, None),
        ("idle: cpu0", "running", None, None, 0),
        (None, "lock", None, "Giant", None),
        (None, "runnable", None, None, None),
    ]
    assert capture.sources[0].format == "top"
    assert capture.unread == ()


@pytest.mark.parametrize("command", ["$ ps -axHo pid,lwp,state,wchan,comm", "# ps -Ho wchan,tdaddr,tid 2210"])
def test_a_command_line_that_names_columns_is_no_trace(command):
    capture = read(f"{command}\n PID STAT  WCHAN  COMMAND\n2210 D     vmrndv bhyve\n", indented=False)
    assert not any(item.trace_like for item in capture.unread)
