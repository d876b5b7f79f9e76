"""What is of one host at one time is one capture; what is not is kept apart."""

from __future__ import annotations

import textwrap

import pytest

from hangdiag.readers import read_text
from hangdiag.readers.files import read_paths
from tests.readers.accounts import check_lines
from tests.traces import T, alltrace, analysed, kgdb, procstat, vcpus

BUSY = [*vcpus("joined", "lock one", "started", "joined"), T(100900, "mevent", "kqueue"), T(100901, "blk-3:0-0", "mutex in userland")]
LATER = [*vcpus("halted", "in guest", "halted", "halted"), T(100900, "mevent", "kqueue"), T(100901, "blk-3:0-0", "mutex in userland")]
#: Threads that only one of two looks caught.
FIRST, SECOND = T(100950, "-", "kqueue", 3001, "procstat"), T(100951, "-", "kqueue", 3002, "procstat")
#: As of a halted vCPU, but vm_handle_hlt is inlined.
SLEEPS_ELSEWHERE = "mi_switch sleepq_timedwait msleep_spin_sbt vm_run vmmdev_ioctl devfs_ioctl VOP_IOCTL_APV vn_ioctl sys_ioctl amd64_syscall"
STACK_OF_JOINED = procstat(vcpus("joined")).splitlines()[1].partition("mi_switch")[2].join(("mi_switch", ""))
DATE = "Sun Nov 22 12:00:0{} UTC 2020\n"


def tids(captures):
    return [sorted(thread.tid for thread in capture.threads if thread.tid) for capture in captures]


def numbers(*threads):
    return sorted(thread.tid for thread in threads)


def write(folder, name, text):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return str(path)


def test_a_loop_of_procstat_on_a_hung_host():
    rounds = [DATE.format(number) + procstat([*BUSY, one]) for number, one in enumerate((FIRST, SECOND))]
    captures = read_text("".join(rounds))
    assert tids(captures) == [numbers(*BUSY, FIRST), numbers(*BUSY, SECOND)]
    captures = read_text("".join(text.partition("\n")[2] for text in rounds))
    assert tids(captures) == [numbers(*BUSY, FIRST), numbers(*BUSY, SECOND)]


def test_a_loop_of_procstat_without_headers():
    rows = procstat(BUSY).partition("\n")[2]
    later = procstat(LATER).partition("\n")[2]
    captures = read_text(rows + later + later)
    assert tids(captures) == [numbers(*BUSY)] * 3
    assert [capture.threads[0].frames[3].function for capture in captures] == ["vm_handle_rendezvous", "vm_handle_hlt", "vm_handle_hlt"]


def test_one_process_and_then_all_are_one_look():
    other = [T(100001 + number, "x", "kqueue", 5, "kernel") for number in range(20)]
    (capture,) = read_text(procstat(BUSY) + procstat([*other, *BUSY]))
    assert len(capture.threads) == len(BUSY) + 20


def test_a_loop_of_ps():
    head = "UID PID PPID CPU PRI NI VSZ RSS MWCHAN STAT TT TIME COMMAND\n"
    first = head + "0 16 1 0 20 0 1 1 vmrndv D - 0:00.10 /usr/sbin/bhyve\n0 17 1 0 20 0 1 1 select Is - 0:00.10 /usr/sbin/sshd\n"
    second = first.replace("vmrndv", "vmstat")
    captures = read_text(first + second)
    assert [[(thread.pid, thread.wmesg) for thread in capture.threads] for capture in captures] == [
        [(16, "vmrndv"), (17, "select")], [(16, "vmstat"), (17, "select")],
    ]  # fmt: skip
    (capture,) = read_text(first + first)
    assert len(capture.threads) == 2


def test_what_was_shown_before_a_boot_is_another_time_than_what_is_behind_it():
    captures = read_text(alltrace(BUSY) + "---<<BOOT>>---\n" + alltrace(BUSY))
    assert tids(captures) == [numbers(*BUSY)] * 2
    # the same threads twice behind it
    (capture,) = read_text("---<<BOOT>>---\n" + alltrace(BUSY) + alltrace(BUSY))
    assert tids([capture]) == [numbers(*BUSY)]


def test_prompts_of_two_hosts():
    one = "root@alpha:~ # procstat -kk 2210\n" + procstat(BUSY)
    two = "[root@beta.example.org /root]# procstat -kk -a\n" + procstat([T(100700, "vcpu 0", "halted", 77)])
    more = [T(100910, "-", "destroy, sysctl", 2290, "bhyvectl")]
    captures = read_text(one + two + "root@alpha:~ # procstat -kk 2290\n" + procstat(more))
    assert tids(captures) == [numbers(*BUSY, *more), [100700]]
    assert all(not capture.unread for capture in captures)


def test_a_prompt_before_a_line_that_tells_something():
    (capture,) = read_text("root@alpha:~ # load: 0.46  cmd: bhyvectl 47077 [vmrndv] 628.14r 0.00u 0.00s 0% 1784k\n")
    assert capture.threads[0].wmesg == "vmrndv"


def test_a_log_of_two_hosts():
    def log(host, text):
        return "".join(f"Nov 22 12:00:01 {host} kernel: {line}\n" for line in text.splitlines())

    captures = read_text(log("alpha", alltrace(BUSY)) + log("beta", alltrace([T(100700, "vcpu 0", "halted", 77)])))
    assert tids(captures) == [numbers(*BUSY), [100700]]


def test_folders_of_two_hosts(tmp_path):
    for host, stacks in (("h1", BUSY), ("h2", [T(100700, "vcpu 0", "halted", 77)])):
        write(tmp_path, f"{host}/ddb.txt", alltrace(stacks))
        write(tmp_path, f"{host}/procstat.txt", procstat(stacks))
    assert tids(read_paths([str(tmp_path)], None)) == [numbers(*BUSY), [100700]]
    files = [str(tmp_path / host / name) for name in ("ddb.txt", "procstat.txt") for host in ("h1", "h2")]
    assert tids(read_paths(files, None)) == [numbers(*BUSY), [100700]]


def test_folders_of_one_host(tmp_path):
    write(tmp_path, "kernel/ddb.txt", alltrace(BUSY[:3]))
    write(tmp_path, "processes/procstat.txt", procstat(BUSY[3:]))
    assert tids(read_paths([str(tmp_path)], None)) == [numbers(*BUSY)]


def test_two_dumps_in_one_folder(tmp_path):
    info = "Dump header from device: /dev/ada0p3\n  Architecture: amd64\n  Hostname: alpha\n  Panic String: {}\n"
    for number, stacks in ((0, BUSY), (1, [T(100700, "vcpu 0", "halted", 77)])):
        write(tmp_path, f"core.txt.{number}", alltrace(stacks))
        write(tmp_path, f"info.{number}", info.format(f"dump {number}"))
    captures = read_paths([str(tmp_path)], None)
    assert tids(captures) == [numbers(*BUSY), [100700]]
    assert [(capture.host.panic, capture.host.hostname, capture.host.arch) for capture in captures] == [
        ("dump 0", "alpha", "amd64"), ("dump 1", "alpha", "amd64"),
    ]  # fmt: skip


def test_a_crash_summary_is_one_instant():
    dashes = "-" * 72
    text = (
        "alpha dumped core - see /var/crash/vmcore.0\n\nSun Nov 22 12:00:00 UTC 2020\n\n"
        + procstat(BUSY[:1])
        + f"{dashes}\nps -axlww\n\nUID PID PPID CPU PRI NI VSZ RSS MWCHAN STAT TT TIME COMMAND\n"
        "  0 2210 1 0 20 0 1 1 vmrndv D - 0:00.10 bhyve: win11 (bhyve)\n"
        f"\n{dashes}\ndmesg\n\n---<<BOOT>>---\n[ thread pid 2210 tid 100860 ]\n\n{dashes}\nddb capture buffer\n\n" + alltrace(BUSY)
    )
    (capture,) = read_text(text)
    assert tids([capture]) == [numbers(*BUSY)]
    assert capture.host.hostname == "alpha"


def test_a_section_that_is_quoted_once_more_is_not_another_instant():
    text = alltrace(BUSY)
    (capture,) = read_text(text + "\nI wrote:\n" + "".join(f"> {line}\n" for line in text.splitlines()))
    assert tids([capture]) == [numbers(*BUSY)]


#: Each half of a deadlock says little; taken for one look they would prove what never was.
HALF = [T(100860, "vcpu 0", "joined"), T(100862, "vcpu 2", "started"), T(100900, "mevent", "kqueue")]
OTHER = [T(100861, "vcpu 1", "lock one"), T(100863, "vcpu 3", "joined"), T(100901, "blk-3:0-0", "mutex in userland")]
BANNER = (
    "Copyright (c) 1992-2021 The FreeBSD Project.\nCopyright (c) 1979, 1980, 1983, 1986, 1988, 1989, 1991, 1992, 1993, 1994\n"
    "\tThe Regents of the University of California. All rights reserved.\n"
    "FreeBSD 13.1-STABLE #0 stable/13-n250000: Mon Jan  1 00:00:00 UTC 2022\n"
)
ENTERED = (
    "KDB: enter: manual escape to debugger\n[ thread pid 11 tid 100003 ]\n"
    "Stopped at      kdb_enter+0x37: movq    $0,0x1273c1e(%rip)\n"
)


def is_apart(text):
    captures = check_lines(text)
    return tids(captures) == [numbers(*HALF), numbers(*OTHER)]


def test_the_halves_are_a_deadlock_if_they_are_taken_together():
    assert analysed(procstat([*HALF, *OTHER])).findings[0].verdict == "deadlock"


def test_a_tool_that_prints_other_threads_of_a_process_was_run_at_another_time():
    assert is_apart(procstat(HALF) + procstat(OTHER))
    # of another process it is asked next
    other = [T(100910, "-", "destroy, sysctl", 2290, "bhyvectl")]
    assert tids(read_text(procstat(HALF) + procstat(other))) == [numbers(*HALF, *other)]
    # rows without their header may be picked out of one list
    assert tids(read_text(procstat(HALF) + "and the others:\n" + procstat(OTHER).partition("\n")[2])) == [numbers(*HALF, *OTHER)]


@pytest.mark.parametrize("form", [alltrace, procstat])
def test_a_process_with_another_command_is_another_process(form):
    later = [T(100861, "-", "kqueue", 2210, "sshd")]
    assert tids(read_text(alltrace(HALF) + form(later))) == [numbers(*HALF), [100861]]


def test_two_threads_of_one_vcpu_are_of_two_times():
    later = [T(thread.tid + 1000, thread.name, thread.stack) for thread in vcpus("lock one", "lock one")]
    assert tids(read_text(procstat(HALF) + kgdb(later))) == [numbers(*HALF), numbers(*later)]


@pytest.mark.parametrize("between", [BANNER, "---<<BOOT>>---\n", "db> reset\n", "db> c\n", "db> cont\n", ENTERED])
def test_what_is_shown_behind_a_boot_or_a_return_to_the_kernel_is_of_another_time(between):
    assert is_apart(ENTERED + alltrace(HALF) + between + alltrace(OTHER).replace("db> alltrace\n", ""))


def test_what_gdb_shows_behind_a_continue_is_of_another_time():
    assert is_apart(kgdb(HALF) + "(kgdb) c\nContinuing.\n" + kgdb(OTHER))


def test_a_message_buffer_tells_of_no_boot_since():
    (capture,) = read_text("# procstat -kk 2210\n" + procstat(HALF) + "# dmesg\n---<<BOOT>>---\n" + BANNER + alltrace(OTHER))
    assert tids([capture]) == [numbers(*HALF, *OTHER)]


def test_threads_that_another_tool_saw_elsewhere_moved():
    moved = [T(100860, "vcpu 0", "halted"), *HALF[1:], *OTHER]
    (capture,) = read_text(procstat([*HALF, *OTHER]) + alltrace(moved))
    assert capture.moved == {100860}
    (capture,) = read_text(procstat([*HALF, *OTHER]) + alltrace([*HALF, *OTHER]) + kgdb([*HALF, *OTHER]))
    assert capture.moved == frozenset()


def test_a_machine_that_moved_on_among_threads_that_rest():
    rest = [T(100100 + number, "-", "kqueue", 100 + number, "sshd") for number in range(40)]
    later = [T(thread.tid, thread.name, SLEEPS_ELSEWHERE) for thread in (*HALF[:2], *OTHER[:2])]
    for first, second in ((procstat, alltrace), (procstat, kgdb), (alltrace, procstat)):
        captures = read_text(first([*rest, *HALF[:2], *OTHER[:2]]) + second([*rest, *later]))
        assert tids(captures) == [numbers(*rest, *later)] * 2
        assert all(capture.moved == frozenset() for capture in captures)


def test_a_thread_that_is_preempted_or_calls_from_elsewhere_moved():
    threads = [*HALF, *OTHER, *vcpus("halted", "halted", "halted", pid=3310, first=100960)]
    text = procstat(threads)
    for before, after in (("vm_run+0x6", "vm_run+0x77"), (STACK_OF_JOINED, "mi_switch+0x9 ast+0x3 doreti_ast+0xa")):
        assert before in text
        line = next(line for line in text.splitlines() if before in line)
        (capture,) = read_text(alltrace(threads) + text.replace(line, line.replace(before, after)))
        assert capture.moved == {100860}


def test_a_list_of_all_threads_later_in_time_is_one_capture():
    later = [T(thread.tid, thread.name, "halted") for thread in (*HALF, *OTHER)]
    # only the last ones moved
    some = [*(T(100100 + number, "-", "kqueue", 100 + number, "sshd") for number in range(3)), *later]
    captures = read_text(alltrace([*some[:3], *HALF, *OTHER]) + alltrace(some))
    assert tids(captures) == [numbers(*some)] * 2


HOSTS = ("alpha", "beta.example.org")
TELLING_HEADINGS = {
    "Ansible": "{host} | CHANGED | rc=0 >>\n{text}\n",
    "Ansible, as JSON": "{host} | SUCCESS => {{\n{text}}}\n",
    "pssh": "[1] 12:00:01 [SUCCESS] root@{host}\n{text}",
    "clush -b": "---------------\n{host}\n---------------\n{text}",
    "dshbak": "----------------\n{host}\n----------------\n{text}",
    "uname": "FreeBSD {host} 13.1-STABLE FreeBSD 13.1-STABLE #0 stable/13-n250000 root@build:/usr/obj GENERIC  amd64\n{text}",
    "csh": "{host}# procstat -kk 2210\n{text}",
    "user's csh": "{host}% sudo procstat -kk 2210\n{text}",
    "sh": "{host}:~# procstat -kk 2210\n{text}",
    "FreeBSD's csh": "root@{host}:~ # procstat -kk 2210\n{text}",
    "bash": "[root@{host} ~]# procstat -kk 2210\n{text}",
    "virtual environment": "({host}) root:~# procstat -kk 2210\n{text}",
    "hostname": "# hostname\n{host}\n# procstat -kk 2210\n{text}",
    "ssh": "$ ssh -p 22 root@{host} procstat -kk 2210\n{text}",
    "ssh and a shell": "$ ssh {host}\n$ procstat -kk 2210\n{text}$ exit\nConnection to {host} closed.\n",
    "login": "FreeBSD/amd64 ({host}) (ttyu0)\n\nlogin: root\n{text}",
}
HEADINGS = {
    "salt": "{host}:\n{indented}",
    "tail": "==> {host}.log <==\n{text}\n",
    "tail, path": "==> /var/log/{host}/console.log <==\n{text}\n",
    "more": "::::::::::::::\n{host}.txt\n::::::::::::::\n{text}",
    "equal signs": "=== {host} ===\n{text}\n",
    "equal signs, what": "===== procstat of {host}\n{text}\n",
    "dashes": "--- {host} ---\n{text}\n",
    "hashes": "### {host} ###\n{text}\n",
    "hash": "# {host}\n{text}\n",
    "stars": "**{host}:**\n\n{text}\n",
    "Markdown": "## Host {host}\n\n```\n{text}```\n\n",
    "words": "On {host}:\n\n{text}\n",
}
FORMS = {"table": procstat, "rows": lambda threads: procstat(threads).partition("\n")[2], "ddb": alltrace, "gdb": kgdb}


def with_headings(heading, form):
    return "".join(
        heading.format(host=host, text=text, indented=textwrap.indent(text, "    "))
        for host, text in zip(HOSTS, map(FORMS[form], (HALF, OTHER)), strict=True)
    )


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("heading", [*TELLING_HEADINGS, *HEADINGS])
def test_the_output_of_each_host_below_its_name(heading, form):
    captures = check_lines(with_headings((TELLING_HEADINGS | HEADINGS)[heading], form))
    assert tids(captures) == [numbers(*HALF), numbers(*OTHER)]
    if heading in TELLING_HEADINGS:
        assert [capture.host.hostname for capture in captures] == list(HOSTS)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("words", [("procstat -kk", "rest"), ("bhyve", "bhyvectl"), ("Thread 1", "Thread 2"), ("vcpu 0", "vcpus 1 to 3")])
def test_headings_that_name_no_host(words, form):
    texts = [FORMS["rows" if form == "table" else form](threads) for threads in (HALF, OTHER)]
    for heading in ("=== {} ===\n", "## {}\n\n", "{}:\n", "==> {}.txt <==\n"):
        text = "".join(heading.format(word) + text for word, text in zip(words, texts, strict=True))
        assert tids(check_lines(text)) == [numbers(*HALF, *OTHER)]


def test_a_host_that_is_left_and_visited_again():
    more = [T(100910, "-", "destroy, sysctl", 2290, "bhyvectl")]
    text = (
        "$ procstat -kk 2210\n" + procstat(HALF) + "$ ssh beta\n$ procstat -kk 2210\n" + procstat(OTHER)
        + "$ exit\nConnection to beta closed.\n$ procstat -kk 2290\n" + procstat(more)
    )  # fmt: skip
    captures = check_lines(text)
    assert tids(captures) == [numbers(*HALF, *more), numbers(*OTHER)]
    assert [capture.host.hostname for capture in captures] == [None, "beta"]


def test_words_before_a_percent_sign_are_no_prompt():
    text = procstat(HALF) + "50% top speed\nmost% of it, db> ps\nbash# ps\n" + alltrace(OTHER)
    assert tids(read_text(text)) == [numbers(*HALF, *OTHER)]


PS = (
    "UID  PID PPID CPU PRI NI VSZ RSS MWCHAN STAT TT TIME COMMAND\n"
    "  0 2210    1   0  20  0   1   1 vmrndv D    -  0:00.10 bhyve: {} (bhyve)\n"
)


@pytest.mark.parametrize(
    "names",
    [
        ("alpha.txt", "beta.txt"), ("alpha-procstat.txt", "beta-procstat.txt"), ("procstat.alpha", "procstat.beta"),
        ("node1.txt", "node2.txt"), ("alpha/out.txt", "beta/kk.txt"), ("before.txt", "after.txt"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("form", FORMS)
def test_files_whose_names_tell_hosts(tmp_path, names, form):
    files = [write(tmp_path, name, FORMS[form](threads)) for name, threads in zip(names, (HALF, OTHER), strict=True)]
    assert tids(read_paths(files, None)) == [numbers(*HALF), numbers(*OTHER)]
    assert tids(read_paths([str(tmp_path)], None)) in ([numbers(*HALF), numbers(*OTHER)], [numbers(*OTHER), numbers(*HALF)])


@pytest.mark.parametrize("names", ["{host}-{what}.txt", "{what}-{host}.txt", "{host}/{what}.txt", "{what}.{host}"])
def test_several_files_of_each_of_two_hosts(tmp_path, names):
    for host, threads in (("alpha", HALF), ("beta", OTHER)):
        for what, text in (("procstat", procstat(threads)), ("ps", PS.format(host)), ("ddb", alltrace(threads))):
            write(tmp_path, names.format(host=host, what=what), text)
    captures = read_paths([str(tmp_path)], None)
    assert sorted(tids(captures)) == [numbers(*HALF), numbers(*OTHER)]
    assert [len(capture.processes) for capture in captures] == [1, 1]


def test_folders_in_folders_of_two_hosts(tmp_path):
    for host, threads in (("alpha", HALF), ("beta", OTHER)):
        write(tmp_path, f"{host}/kernel/procstat.txt", procstat(threads))
        write(tmp_path, f"{host}/ps.txt", PS.format(host))
    captures = read_paths([str(tmp_path)], None)
    assert tids(captures) == [numbers(*HALF), numbers(*OTHER)]
    assert [len(capture.processes) for capture in captures] == [1, 1]


@pytest.mark.parametrize(
    "names",
    [("ps.txt", "stacks.txt", "locks.txt"), ("a.txt", "b.txt", "c.txt"), ("hang-ps.txt", "hang-kk.txt", "hang-ddb.txt"),
     ("first.txt", "kernel/second.txt", "third.txt")],
)  # fmt: skip
def test_several_files_of_one_host(tmp_path, names):
    lock = f"db> show alllocks\nProcess 2210 (bhyve) thread 0x{100861 * 0x1000 + 0xFFFFF80000000000:x} (100861)\n"
    lock += "exclusive sx vm (vm) r = 0 (0xfffff80000111111) locked @ /usr/src/sys/x.c:1\n"
    files = [write(tmp_path, name, text) for name, text in zip(names, (PS, procstat([*HALF, *OTHER]), lock), strict=True)]
    (capture,) = read_paths(files, None)
    assert tids([capture]) == [numbers(*HALF, *OTHER)]
    assert capture.processes
    assert capture.locks


@pytest.mark.parametrize("names", [("procstat-2210.txt", "procstat-2290.txt"), ("bhyve.txt", "bhyvectl.txt"), ("xaa", "xab")])
def test_processes_of_one_host_in_files_of_their_own(tmp_path, names):
    other = [T(100910, "-", "destroy, sysctl", 2290, "bhyvectl")]
    files = [write(tmp_path, name, procstat(threads)) for name, threads in zip(names, ([*HALF, *OTHER], other), strict=True)]
    assert tids(read_paths(files, None)) == [numbers(*HALF, *OTHER, *other)]


@pytest.mark.parametrize("heading", ["==> beta.log <==\n", "=== beta ===\n", "beta | CHANGED | rc=0 >>\n", "$ ssh beta\n"])
@pytest.mark.parametrize("naming", ["[ thread pid 2210 tid 100860 ]\n", "(gdb) thread 3\n[Switching to thread 3 (Thread 100860)]\n"])
def test_a_thread_named_above_a_heading_is_not_the_one_below(naming, heading):
    stack = (kgdb if "gdb" in naming else alltrace)([T(1, "x", "joined")]).split("\n", 3)[3]
    captures = read_text(naming + heading + stack)
    assert [thread.tid for capture in captures for thread in capture.threads if thread.frames] == [None]
    assert [thread.tid for capture in read_text(naming + stack) for thread in capture.threads if thread.frames] == [100860]


def test_a_stack_does_not_go_on_below_a_heading():
    lines = alltrace([T(100860, "vcpu 0", "joined")]).splitlines()[2:]
    for heading in ("==> beta.log <==", "=== beta ==="):
        (capture,) = read_text("\n".join([*lines[:3], heading, *lines[3:]]) + "\n")
        assert [len(thread.frames) for thread in capture.threads if thread.tid] == [2]
