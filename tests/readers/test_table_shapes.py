"""ps and top as people paste them: any columns in any order, odd names, next to procstat."""

from __future__ import annotations

import pytest

from hangdiag.readers import read_text
from tests.readers.essence import essence
from tests.readers.help import functions, only, trace_like
from tests.readers.help import read_accounted as read
from tests.text.wrappings import LAYERS, rows_of, text_of


def waits(capture):
    return [(thread.pid, thread.name, thread.state, thread.wmesg, thread.lock) for thread in capture.threads]


def unread(capture):
    return [(item.where.first, item.where.last) for item in capture.unread]


def lay_out(columns, rows):
    """A table as ps prints it: columns as wide as their widest value, names of left ones (``<``) to the left."""
    names = [column.lstrip("<") for column in columns]
    table = [names, *rows]
    if "TT" in names:
        # "TT " and "0 ", but "v0-"
        place = names.index("TT")
        table = [[*row[:place], row[place] + " " * (row[place][-1] != "-" or row[place] == "-"), *row[place + 1 :]] for row in table]
    widths = [max(len(row[index]) for row in table) for index in range(len(names))]
    if columns[-1].startswith("<"):
        widths[-1] = 0
    return "".join(
        " ".join(
            value.ljust(width) if column.startswith("<") else value.rjust(width)
            for column, value, width in zip(columns, row, widths, strict=True)
        )
        + "\n"
        for row in table
    )


#: Columns of ps with values: pid, lwp, name, wmesg and state are looked at.
VALUES = {
    "PID": ["2210", "2210", "12", "123456"], "LWP": ["100860", "100861", "100006", "1000200"],
    "<TDNAME": ["vcpu 0", "", "swi4: clock (0)", "12 34"], "<MWCHAN": ["vmrndv", "vm rende", "-", "mount dr"],
    "<STAT": ["D", "L", "WL", "DE+J"], "UID": ["0", "0", "0", "1001"], "PRI": ["52", "52", "-56", "20"], "NI": ["0", "0", "-20", "0"],
    "C": ["3", "1", "0", "11"], "TT": ["-", "0", "v0-", "-"], "TIME": ["0:00,35", "55:30.20", "0:00.00", "100:02.10"],
    "<STARTED": ["Wed11", "Wed Nov 25 01:30:06 2026", "24Nov26", "-"], "<NWCHAN": ["fffff8011f4ea000", "-", "-", "fffffe00b1"],
    "<UCOMM": ["bhyve/vcpu 0", "bhyve", "intr/swi4: clock (0)", "my prog"], "<USER": ["root", "root", "root", "www"],
    "%CPU": ["0.0", "99.0", "0.0", "0.1"], "VSZ": ["4294967", "1", "0", "5"], "FLAGS": ["10000080", "1", "204", "0"],
}  # fmt: skip


@pytest.mark.parametrize(
    "columns",
    [
        "PID LWP <TDNAME <MWCHAN <STAT",
        "PID LWP <STAT <MWCHAN <TDNAME",
        "<TDNAME <MWCHAN PID LWP <STAT",
        "<STAT LWP <TDNAME PID <MWCHAN <UCOMM",
        "<USER PID <TDNAME LWP <MWCHAN %CPU <STAT TIME <UCOMM",
        "UID PID C PRI NI VSZ <MWCHAN <STAT TT TIME LWP <TDNAME",
        "LWP <MWCHAN <STARTED TT <STAT <TDNAME PID",
        "FLAGS PID <NWCHAN <MWCHAN LWP <STAT <TDNAME <UCOMM",
        "TT <TDNAME TIME PID <STAT C LWP <MWCHAN",
    ],
)
@pytest.mark.parametrize("strip", ["nothing", "rows and header", "trailing blanks"])
def test_columns_in_any_order(columns, strip):
    columns = columns.split()
    rows = list(zip(*(VALUES[column] for column in columns), strict=True))
    text = lay_out(columns, rows)
    if strip == "rows and header":
        if columns[0].startswith("<") or columns[0] == "TT":
            pytest.skip("a table that begins at the left has no blanks there")
        text = "".join(line.lstrip() + "\n" for line in text.splitlines())
    elif strip == "trailing blanks":
        text = "".join(line.rstrip() + "\n" for line in text.splitlines())
    capture = read(text, indented=False)
    got = [(thread.pid, thread.tid, thread.name, thread.state, thread.wmesg, thread.lock) for thread in capture.threads]
    assert got == [
        (2210, 100860, "vcpu 0", "sleeping", "vmrndv", None),
        (2210, 100861, None, "lock", None, "vm rende"),
        (12, 100006, "swi4: clock (0)", "iwait", None, None),
        (123456, 1000200, "12 34", "sleeping", "mount dr", None),
    ]
    if "<UCOMM" in columns:
        assert [thread.command for thread in capture.threads] == ["bhyve", "bhyve", "intr", "my prog"]
    if "<NWCHAN" in columns:
        assert [thread.wchan for thread in capture.threads] == [0xFFFFF8011F4EA000, None, None, 0xFFFFFE00B1]
    assert not capture.unread


def test_columns_whose_blanks_were_squeezed():
    capture = read(
        """
        PID LWP TDNAME STAT MWCHAN COMMAND
        2210 100860 vcpu 0 D vmrndv bhyve: win11 (bhyve)
        2210 100861 vtnet-2:0 tx L pmap bhyve: win11 (bhyve)
        """
    )
    assert [(thread.tid, thread.name, thread.wmesg, thread.lock) for thread in capture.threads] == [
        (100860, "vcpu 0", "vmrndv", None),
        (100861, "vtnet-2:0 tx", None, "pmap"),
    ]


def test_a_long_listing_of_a_host():
    capture = read(
        """
        root@vmhost:~ # ps -axlww
        UID   PID  PPID  C PRI NI     VSZ    RSS MWCHAN   STAT TT         TIME COMMAND
          0     0     0  6 -16  0       0   1584 swapin   DLs   -    183:25.46 [kernel]
          0     1     0  2  20  0   11680   1288 wait     ILs   -      0:00.13 /sbin/init
          0    11     0  0 155  0       0    128 -        RNL   -  99321:02.50 [idle]
          0    12     0  3 -60  0       0    960 -        WL    -    100:44.03 [intr]
          0  2210  2100  1  20  0 8432664 120340 vmrndv   D     0     55:30,20 bhyve: win11 (bhyve)
          0  2290  2100  0  20  0   13596   2904 vmstat   D+    0      1:59.68 bhyvectl --destroy --vm=win11
          0  3730  3668 11  20  0   13596   2904 exithold DE+   0      1:59.68 ./kcmp
          0  3891     1  0  52  0   29828   2852 ufs      T     0      0:00.00 ./syzkaller21
          0  3892     1  0  52  0   29828   2852 pmap     LJ    -      0:00.00 /bin/sh /etc/rc (rc)
          0  3893     1  0  52  0       0      0 -        Z+    -      0:00.00 <defunct>
         25  3894     1  0  52  0   29828   2852 kqread   SCJ   -      0:00.00 sshd: root@pts/0 (sshd-session)
       1001  3895  3890  0  20  0   13464   3744 pause    IWs   1      0:00.02 -csh (csh)
          0  3896     1  0  20  0   13464   3744 mount dr D<    1      0:00.02 umount /mnt
          0  3897     1  0  20  0   13464   3744 *vm obje L     1      0:00.02 (swapped)
        root@vmhost:~ #
        """
    )
    got = [(thread.pid, thread.command, thread.state, thread.wmesg, thread.lock) for thread in capture.threads]
    assert got == [
        (0, "kernel", "sleeping", "swapin", None),
        (1, "init", "sleeping", "wait", None),
        (11, "idle", "runnable", None, None),
        (12, "intr", "iwait", None, None),
        (2210, "bhyve", "sleeping", "vmrndv", None),
        (2290, "bhyvectl", "sleeping", "vmstat", None),
        (3730, "kcmp", "sleeping", "exithold", None),
        (3891, "syzkaller21", "suspended", "ufs", None),
        (3892, "rc", "lock", None, "pmap"),
        (3893, None, "zombie", None, None),
        (3894, "sshd-session", "sleeping", "kqread", None),
        (3895, "csh", "sleeping", "pause", None),
        (3896, "umount", "sleeping", "mount dr", None),
        (3897, "swapped", "lock", None, "vm obje"),
    ]
    assert [thread.wmesg_cut for thread in capture.threads if thread.wmesg_cut] == [8, 8]
    assert unread(capture) == [(1, 1), (17, 17)]


def test_threads_of_kernel_and_users():
    capture = read(
        """
        $ ps -axHl
         UID   PID  PPID CPU PRI NI   VSZ  RSS MWCHAN   STAT TT     TIME COMMAND
           0     0     0   0 -16  0     0  704 swapin   DLs   -  0:00.03 [kernel/swapper]
           0     0     0   0   8  0     0  704 -        DL    -  0:00.00 [kernel/thread taskq]
           0    12     0   0 -52  0     0  704 -        WL    -  0:00.03 [intr/swi4: clock (0)]
           0    15     0   0 -52  0     0  704 tq_drain DL    -  0:00.03 [zfskern/txg_thread_enter]
           0  2210     1   0  52  0  5780 1524 vmrndv   D     0  0:00.35 bhyve: win11 (bhyve)
           0  2210     1   0  52  0  5780 1524 uwait    I     0  0:00.35 bhyve: win11 (bhyve)
        """
    )
    assert [(thread.command, thread.name, thread.wmesg) for thread in capture.threads] == [
        ("kernel", "swapper", "swapin"),
        ("kernel", "thread taskq", "-"),
        ("intr", "swi4: clock (0)", None),
        ("zfskern", "txg_thread_enter", "tq_drain"),
        ("bhyve", None, "vmrndv"),
        ("bhyve", None, "uwait"),
    ]


@pytest.mark.parametrize(
    ("printed", "command", "name"),
    [
        ("bhyve/vcpu 0", "bhyve", "vcpu 0"),
        ("bhyve/vtnet-2:0 tx", "bhyve", "vtnet-2:0 tx"),
        ("[intr/irq173: ahci0:ch0]", "intr", "irq173: ahci0:ch0"),
        ("pt: spinner (pt)", "pt", None),
        ("|-- /usr/sbin/cron -s", "cron", None),
        ("| `-- sleep 5", "sleep", None),
        ("- sh", "sh", None),
        ("/usr/local/bin/python3.11 /usr/local/bin/vm start (vm)", "vm", None),
        ("/usr/sbin/bhyve -c 2 -m 4G -s 2:0,virtio-net,tap0 win11", "bhyve", None),
        ("nginx: worker process (nginx)", "nginx", None),
        ("bin/tool argument", "tool", None),
        ("-sh (sh)", "sh", None),
    ],
)
def test_what_stands_under_command(printed, command, name):
    thread = only(read(lay_out(["PID", "<STAT", "<WCHAN", "<COMMAND"], [["2210", "D", "vmrndv", printed]]), indented=False))
    assert (thread.command, thread.name, thread.wmesg) == (command, name, "vmrndv")


def test_two_columns_of_commands():
    text = lay_out(
        ["PID", "LWP", "<COMMAND", "<WCHAN", "<COMMAND"], [["2210", "100860", "bhyve", "vmrndv", "/usr/sbin/bhyve -c 2 win11"]]
    )
    capture = read(text, indented=False)
    assert (only(capture).command, capture.processes[0].arguments) == ("bhyve", "/usr/sbin/bhyve -c 2 win11")


def test_other_forms_of_ps():
    capture = read(
        """
        USER   PID  PPID  PGID   SID JOBC STAT TT       TIME COMMAND
        root  2210     1  2210  2210    0 D     0    0:00.35 bhyve: win11 (bhyve)
        root  2211     1  2211  2211    0 I     -    0:00.35 /usr/sbin/syslogd -s
        USER   PID  %CPU %MEM   VSZ   RSS TT  STAT STARTED        TIME COMMAND
        root    11 400.0  0.0     0    64  -  RNL  Mon11   99321:02.50 [idle]
        root  2212   0.0  0.1 12345  2345  0- I    24Nov26     0:00.01 sleep 100
          PID STAT      TIME  SL  RE PAGEIN   VSZ   RSS   LIM TSIZ %CPU %MEM COMMAND
         2213 D      0:00.00 127 127      0 13464  3744     -   12  0.0  0.0 sync
        """
    )
    assert [(thread.pid, thread.state) for thread in capture.threads] == [
        (2210, "sleeping"), (2211, "sleeping"), (11, "runnable"), (2212, "sleeping"), (2213, "sleeping"),
    ]  # fmt: skip
    assert not capture.unread


def test_repeated_headers_of_one_listing():
    head = " UID  PID STAT MWCHAN COMMAND\n"
    rows = [f"   0 22{number:02d} D    vmrndv bhyve: vm{number} (bhyve)\n" for number in range(10, 16)]
    capture = read(head + "".join(rows[:3]) + "\n" + head + "".join(rows[3:]), indented=False)
    assert [thread.pid for thread in capture.threads] == list(range(2210, 2216))
    assert not capture.unread


def test_threads_of_one_process_on_two_screens():
    head = " UID  PID STAT MWCHAN COMMAND\n"
    rows = [f"   0 2210 {'ID'[number % 2]}    uwait  bhyve: win11 (bhyve)\n" for number in range(30)]
    stacks = HEADER + "".join(
        f" 2210 1008{number:02d} bhyve               t{number:<18} mi_switch+0x1 "
        f"{'sleepq_timedwait' if number % 2 else 'sleepq_wait_sig'}+0x1 _sleep+0x1\n"
        for number in range(30)
    )
    capture = read(head + "".join(rows[:20]) + "\n" + head + "".join(rows[20:]) + stacks, indented=False)
    assert [thread.interruptible for thread in capture.threads] == [True, False] * 15


HEADER = "  PID    TID COMM                TDNAME              KSTACK\n"
STACKS = """\
  PID    TID COMM                TDNAME              KSTACK
 2210 100860 bhyve               mevent              mi_switch+0xbc sleepq_catch_signals+0x1 sleepq_wait_sig+0x2 _sleep+0x1f2 kqueue_kevent+0x1
 2210 100861 bhyve               blk-3:0-0           mi_switch+0xbc sleepq_catch_signals+0x1 sleepq_wait_sig+0x2 _sleep+0x1f2 umtxq_sleep+0x1
 2210 100862 bhyve               vcpu 0              mi_switch+0xbc sleepq_timedwait+0x2 _sleep+0x1f2 vm_handle_rendezvous+0x1
 2210 100863 bhyve               vcpu 1              mi_switch+0xbc turnstile_wait+0x2 __mtx_lock_sleep+0x1
 2290 100901 bhyvectl            -                   mi_switch+0xbc sleepq_timedwait+0x2 msleep_spin_sbt+0x1f2 vcpu_set_state_locked+0x1
"""
BY_ORDER = """\
 UID  PID STAT MWCHAN   COMMAND
   0 2210 I    kqread   bhyve: win11 (bhyve)
   0 2210 I    uwait    bhyve: win11 (bhyve)
   0 2210 D    vmrndv   bhyve: win11 (bhyve)
   0 2210 L    pmap     bhyve: win11 (bhyve)
   0 2290 D+   vmstat   bhyvectl --destroy --vm=win11
"""
BY_NAME = """\
  PID STAT MWCHAN   COMMAND
 2210 D    vmrndv   bhyve/vcpu 0
 2210 I    kqread   bhyve/mevent
 2210 L    pmap     bhyve/vcpu 1
 2210 I    uwait    bhyve/blk-3:0-0
 2290 D+   vmstat   bhyvectl
"""
BY_ID = """\
   LWP MWCHAN   STAT
100860 kqread   I
100861 uwait    I
100862 vmrndv   D
100863 pmap     L
100901 vmstat   D+
"""
BY_TOP = """\
  PID USERNAME    PRI NICE   SIZE    RES STATE    C   TIME    WCPU COMMAND
 2210 root         20    0  4147M    51M vmrndv   2   0:11   0.00% bhyve{vcpu 0}
 2210 root         20    0  4147M    51M kqread   2   0:11   0.00% bhyve{mevent}
 2210 root         20    0  4147M    51M *pmap    2   0:11   0.00% bhyve{vcpu 1}
 2210 root         20    0  4147M    51M uwait    2   0:11   0.00% bhyve{blk-3:0-0}
 2290 root         20    0  4147M    51M vmstat   2   0:11   0.00% bhyvectl
"""
BY_STATE = """\
  PID    TID COMM                TDNAME              CPU  PRI STATE   WCHAN
 2210 100860 bhyve               mevent                3  152 sleep   kqread
 2210 100861 bhyve               blk-3:0-0             3  152 sleep   uwait
 2210 100862 bhyve               vcpu 0                3  152 sleep   vmrndv
 2210 100863 bhyve               vcpu 1                3  152 lock    *pmap
 2290 100901 bhyvectl            -                     3  152 sleep   vmstat
"""


@pytest.mark.parametrize("table", [BY_ORDER, BY_NAME, BY_ID, BY_TOP, BY_STATE])
@pytest.mark.parametrize("stacks_first", [True, False])
def test_states_join_stacks(table, stacks_first):
    capture = read(STACKS + "\n" + table if stacks_first else table + "\n" + STACKS, indented=False)
    got = sorted((thread.tid, thread.command, thread.name, thread.state, thread.wmesg, thread.lock) for thread in capture.threads)
    assert got == [
        (100860, "bhyve", "mevent", "sleeping", "kqread", None),
        (100861, "bhyve", "blk-3:0-0", "sleeping", "uwait", None),
        (100862, "bhyve", "vcpu 0", "sleeping", "vmrndv", None),
        (100863, "bhyve", "vcpu 1", "lock", None, "pmap"),
        (100901, "bhyvectl", None, "sleeping", "vmstat", None),
    ]
    assert all(len(thread.frames) > 2 for thread in capture.threads)
    assert not capture.unread


def test_states_join_stacks_of_another_file(tmp_path):
    from hangdiag.readers.files import read_paths

    paths = []
    for name, text in (("ps.txt", BY_ORDER), ("stacks.txt", STACKS), ("top.txt", BY_TOP)):
        path = tmp_path / name
        path.write_text(text)
        paths.append(str(path))
    (capture,) = read_paths(paths, None)
    assert [(thread.tid, thread.wmesg, thread.lock) for thread in capture.threads] == [
        (100860, "kqread", None), (100861, "uwait", None), (100862, "vmrndv", None), (100863, None, "pmap"), (100901, "vmstat", None),
    ]  # fmt: skip
    assert not capture.unread


def test_rows_that_cannot_be_of_the_stacks_in_their_order():
    rows = BY_ORDER.replace(" I    kqread", " D    vmrndv", 1).replace(" D    vmrndv   bhyve: win11", " I    kqread   bhyve: win11")
    capture = read(STACKS + "\n" + rows, indented=False)
    assert [thread.wmesg for thread in capture.threads] != ["kqread", "uwait", "vmrndv", None, "vmstat"]
    assert all(thread.wmesg is None for thread in capture.threads if thread.name in ("mevent", "vcpu 0"))


def test_a_row_of_a_process_with_many_threads():
    capture = read(STACKS + "\n UID  PID STAT MWCHAN   COMMAND\n   0 2210 I    kqread   bhyve: win11 (bhyve)\n", indented=False)
    assert [thread.wmesg for thread in capture.threads] == [None] * 5
    assert unread(capture) == [(9, 9)]


def test_a_row_of_a_process_of_which_one_thread_was_picked():
    picked = "\n".join(line for line in STACKS.splitlines() if "vcpu 0" in line)
    capture = read(picked + "\n UID  PID STAT MWCHAN   COMMAND\n   0 2210 I    kqread   bhyve: win11 (bhyve)\n", indented=False)
    assert [(thread.name, thread.wmesg) for thread in capture.threads] == [("vcpu 0", None)]


def test_the_same_threads_twice_are_two_instants():
    later = BY_NAME.replace("D    vmrndv", "R    -     ")
    captures = read_text(BY_NAME + "\n" + later)
    assert [capture.threads[0].state for capture in captures] == ["sleeping", "runnable"]
    assert [len(capture.threads) for capture in captures] == [5, 5]
    assert len(read(BY_NAME + "\n" + BY_NAME, indented=False).threads) == 5


def test_tables_of_one_look_in_several_forms():
    arguments = """\
  PID USER STAT STARTED    TIME COMMAND
 2210 root D    24Nov26 0:00.35 bhyve: win11 (bhyve)
 2290 root D+   24Nov26 0:00.35 bhyvectl --destroy --vm=win11
"""
    by_id = BY_ID.replace("kqread   I", "-        R")
    again = BY_ID.replace("   LWP MWCHAN   STAT", "   LWP WCHAN    STAT")
    capture = read("\n".join([STACKS, BY_ORDER, BY_ID, BY_STATE, BY_NAME, by_id, again, arguments]), indented=False)
    assert [(thread.tid, thread.wmesg, thread.lock) for thread in capture.threads] == [
        (100860, "kqread", None), (100861, "uwait", None), (100862, "vmrndv", None), (100863, None, "pmap"), (100901, "vmstat", None),
    ]  # fmt: skip
    assert {process.pid: process.arguments for process in capture.processes} == {
        2210: "bhyve: win11 (bhyve)", 2290: "bhyvectl --destroy --vm=win11",
    }  # fmt: skip


def test_threads_with_ids_that_moved_are_another_instant():
    later = BY_ID.replace("vmrndv   D", "-        R").replace("uwait    I", "-        R")
    captures = read_text(STACKS + "\n" + BY_ID + "\n" + later)
    assert [[thread.state for thread in capture.threads][1:3] for capture in captures] == [["sleeping"] * 2, ["runnable"] * 2]


def test_top_of_a_host():
    capture = read(
        """
        last pid:  2291;  load averages:  0.10,  0.20,  0.15    up 0+00:10:20  12:00:00
        312 threads:   5 running, 290 sleeping, 17 waiting
        CPU 0:  0.0% user,  0.0% nice,  0.4% system,  0.0% interrupt, 99.6% idle
        Mem: 120M Active, 30M Inact, 600M Wired, 1G Free
        ARC: 1243M Total, 505M MFU, 600M MRU, 1024K Anon, 20M Header, 100M Other
             800M Compressed, 1600M Uncompressed, 2.00:1 Ratio
        Swap: 2048M Total, 2048M Free

           PID   JID USERNAME    PRI NICE   SIZE    RES  SWAP STATE    C   TIME    WCPU COMMAND
            11     0 root        187 ki31     0B    64K     0B CPU10   10  10.2H 100.00% [idle{idle: cpu10}]
             0     0 root        -60    -     0B   704K     0B -        1   0:01   0.00% [kernel{thread taskq}]
            12     0 root        -60    -     0B   704K     0B WAIT     1   0:01   0.00% [intr{swi4: clock (0)}]
          2210     0 root         20    0  4147M    51M     0B vmrndv   2   0:11   0.00% bhyve: win11 (bhyve){vcpu 0}
          2210     0 root         20    0  4147M    51M     0B exitho   1   0:12   0.00% bhyve: win11 (bhyve){vcpu 1}
          2210     0 root         20    0  4147M    51M     0B *vm ob   1   0:12   0.00% bhyve: win11 (bhyve){vtnet-2:0 t
          2291     3 root         20    0    14M  3372K     0B CPU3     3   0:00   0.00% top -HSa
          2292     3 root         20    0    14M  3372K     0B STOP     1   0:00   0.00% <sh>
        """
    )
    got = [
        (thread.pid, thread.command, thread.name, thread.state, thread.wmesg, thread.lock, thread.cpu) for thread in capture.threads
    ]
    assert got == [
        (11, "idle", "idle: cpu10", "running", None, None, 10),
        (0, "kernel", "thread taskq", "sleeping", "-", None, None),
        (12, "intr", "swi4: clock (0)", "iwait", None, None, None),
        (2210, "bhyve", "vcpu 0", "sleeping", "vmrndv", None, None),
        (2210, "bhyve", "vcpu 1", "sleeping", "exitho", None, None),
        (2210, "bhyve", "vtnet-2:0 t", "lock", None, "vm ob", None),
        (2291, "top", None, "running", None, None, 3),
        (2292, "sh", None, "suspended", None, None, None),
    ]
    assert capture.threads[4].wmesg_cut == 6
    assert not capture.unread


def test_top_with_thread_ids():
    capture = read(
        """
           THR USERNAME    PRI NICE   SIZE    RES STATE    C   TIME    WCPU COMMAND
        100860 root         20    0  4147M    51M vmrndv   2   0:11   0.00% bhyve{vcpu 0}
        100861 root         20    0  4147M    51M CPU1     1   0:12   0.00% bhyve{vcpu 1}
        """
        + STACKS.replace("100862", "100870").replace("100861", "100871").replace("\n", "\n        ")
    )
    known = {thread.tid: thread for thread in capture.threads}
    assert (known[100861].cpu, known[100861].name, known[100861].command) == (1, "vcpu 1", "bhyve")
    assert (known[100860].pid, known[100860].wmesg, len(known[100860].frames)) == (2210, "vmrndv", 5)


def test_top_of_processes_with_a_column_of_thread_numbers():
    capture = read(
        """
          PID USERNAME    THR PRI NICE   SIZE    RES STATE    C   TIME    WCPU COMMAND
         2210 root         21  20    0  4147M    51M vmrndv   2   0:11   0.00% bhyve
          911 root          1  20    0    13M  2456K select   1   0:00   0.00% devd
        """
    )
    assert waits(capture) == [(2210, None, "sleeping", "vmrndv", None), (911, None, "sleeping", "select", None)]


def test_two_looks_of_top():
    look = """\
last pid:  2291;  load averages:  0.10,  0.20,  0.15    up 0+00:10:20  12:00:00
  PID USERNAME    PRI NICE   SIZE    RES STATE    C   TIME    WCPU COMMAND
 2210 root         20    0  4147M    51M vmrndv   2   0:11   0.00% bhyve{vcpu 0}
 2210 root         20    0  4147M    51M vmidle   2   0:11   0.00% bhyve{vcpu 1}

"""
    captures = read_text(look + look.replace("vmidle", "CPU2  "))
    assert [[(thread.state, thread.wmesg) for thread in capture.threads] for capture in captures] == [
        [("sleeping", "vmrndv"), ("sleeping", "vmidle")],
        [("sleeping", "vmrndv"), ("running", None)],
    ]


def test_states_in_words():
    capture = read(
        """
        I see this with ps:
        pid 31195  state RJ  /sbin/ifconfig epair0b vnet 55
        pid 31196  state DJ  /sbin/ifconfig epair1b vnet 56
        29 x state DJ   /sbin/ifconfig <epair> vnet <jid>
        """
    )
    assert [(thread.pid, thread.command, thread.state) for thread in capture.threads] == [
        (31195, "ifconfig", "runnable"),
        (31196, "ifconfig", "sleeping"),
    ]
    assert unread(capture) == [(1, 1), (4, 4)]


def test_a_row_without_its_header():
    capture = read(
        """
        # 1001 880  871 0 52 0 5780 1524 keglimit D+ 0 0:00.35 /tmp/socketpair2
        #   0 3730 3668 11  20  0 13596 2904 exithold DE+   0  1:59.68 ./kcmp
        #   0 2512 2500  0  52  0 13596 2904 mount dr D+    0  0:00,00 umount /mnt
        and that is all.
        """
    )
    assert [(thread.pid, thread.command, thread.state, thread.wmesg) for thread in capture.threads] == [
        (880, "socketpair2", "sleeping", "keglimit"),
        (3730, "kcmp", "sleeping", "exithold"),
        (2512, "umount", "sleeping", "mount dr"),
    ]
    assert unread(capture) == [(4, 4)]
    assert not trace_like(capture)


@pytest.mark.parametrize("table", [STACKS + "\n" + BY_ORDER, BY_NAME, BY_ID, BY_TOP, BY_STATE], ids=["order", "name", "id", "top", "state"])
@pytest.mark.parametrize("layer", [name for name in LAYERS if "folded" not in name])
def test_what_lies_around_a_table_changes_nothing(table, layer):
    plain = read(table, indented=False)
    captures = read_text(text_of(LAYERS[layer](rows_of(table))))
    assert essence(captures[0]).threads == essence(plain).threads
    assert len(captures) == 1


def test_functions_stay_where_they_were():
    capture = read(STACKS + "\n" + BY_ORDER, indented=False)
    assert functions(capture.threads[2])[-1] == "vm_handle_rendezvous"


def test_columns_parted_by_tabs():
    capture = read(
        "PID\tLWP\tTDNAME\tMWCHAN\tSTAT\tCOMMAND\n"
        "2210\t100860\tvcpu 0\tmount dr\tD\tbhyve: win11 (bhyve)\n"
        "2210\t100861\t\tvmstat\tD\tbhyve: win11 (bhyve)\n",
        indented=False,
    )
    assert [(thread.tid, thread.command, thread.name, thread.wmesg) for thread in capture.threads] == [
        (100860, "bhyve", "vcpu 0", "mount dr"),
        (100861, "bhyve", None, "vmstat"),
    ]
