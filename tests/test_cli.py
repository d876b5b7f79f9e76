"""The command line through its real entry point."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.commandline import hangdiag
from tests.traces import T, alltrace

SAMPLES = Path(__file__).resolve().parent.parent / "samples"
DEADLOCK = SAMPLES / "deadlock.procstat.txt"


def one_line(error):
    assert error.startswith("hangdiag: ")
    assert error.count("\n") == 1
    assert "Traceback" not in error
    return error


def test_as_a_user_starts_it():
    command = [sys.executable, "-m", "hangdiag", "analyze", "-q", str(DEADLOCK)]
    done = subprocess.run(command, capture_output=True, timeout=60, check=False)
    assert (done.returncode, done.stdout[:8], done.stderr) == (0, b"DEADLOCK", b"")


def test_a_reader_that_has_seen_enough():
    command = [sys.executable, "-m", "hangdiag", "analyze", "--all", str(DEADLOCK)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 0


def test_analyze_a_file():
    code, out, error = hangdiag("analyze", DEADLOCK)
    assert (code, error) == (0, "")
    assert "DEADLOCK (proven)" in out
    assert "closes the cycle" in out
    assert max(map(len, out.splitlines())) <= 80
    assert "\x1b" not in out


def test_analyze_a_pipe():
    code, out, _ = hangdiag("analyze", "--quiet", stdin=DEADLOCK.read_bytes())
    assert code == 0
    assert out.startswith("DEADLOCK (proven): vcpu 0, vcpu 1, vcpu 2 and vcpu 3 of ")
    assert out.count("\n") == 1


def test_a_possible_finding_makes_no_sure_known_bug(tmp_path):
    path = tmp_path / "prose.txt"
    path.write_text(
        "1 thread in vioapic_mmio_write() -> ... -> vm_handle_rendezvous() -> _sleep()\n"
        "1 thread in vcpu_lock_one() -> ... -> vcpu_set_state_locked() -> msleep_spin_sbt()\n"
        "all others in vm_run() -> vm_handle_rendezvous() -> _sleep()\n"
    )
    out = hangdiag("analyze", path)[1]
    assert "DEADLOCK (possible)" in out
    assert "Perhaps a known bug: vmm-rendezvous" in out
    assert "; perhaps a known bug vmm-rendezvous" in hangdiag("analyze", "-q", path)[1]
    assert "PERHAPS A KNOWN BUG" in hangdiag("report", path)[1]


def test_dash_is_standard_input():
    assert hangdiag("analyze", "-q", "-", stdin=DEADLOCK.read_bytes())[1].startswith("DEADLOCK")


def test_colour_only_where_wanted():
    assert "\x1b[" in hangdiag("analyze", DEADLOCK, FORCE_COLOR="1")[1]
    assert "\x1b[" not in hangdiag("analyze", DEADLOCK, FORCE_COLOR="1", NO_COLOR="1")[1]


def test_a_terminal_without_unicode_gets_ascii():
    out = hangdiag("analyze", DEADLOCK, PYTHONIOENCODING="ascii")[1]
    assert out.isascii()
    assert "+- vcpu 2" in out


def test_every_thread():
    out = hangdiag("analyze", "--all", DEADLOCK)[1]
    assert out.count("tid ") >= 40
    assert "mi_switch" in out
    assert max(map(len, out.splitlines())) <= 80


def test_narrowed_to_a_process():
    out = hangdiag("analyze", "--pid", "1", DEADLOCK)[1]
    assert "No finding concerns" in out
    assert "taskqueue" not in out


def test_narrowed_to_a_vm():
    out = hangdiag("analyze", "--vm", "win11", SAMPLES / "deadlock.ddb.txt")[1]
    assert "DEADLOCK" in out
    assert "taskqueue thread" not in out


def test_fail_on():
    assert hangdiag("analyze", "--fail-on", "blocked", DEADLOCK)[0] == 1
    assert hangdiag("analyze", "--fail-on", "contention", SAMPLES / "idle.procstat.txt")[0] == 0


def test_json_by_the_contract():
    code, out, _ = hangdiag("analyze", "--format", "json", SAMPLES / "deadlock.ddb.txt")
    assert code == 0
    data = json.loads(out)
    assert data["schema"] == "hangdiag/1"
    assert set(data) >= {"tool", "sources", "host", "threads", "resources", "graph", "findings", "unread"}
    assert data["sources"][0]["format"] == "ddb"
    assert data["host"]["release"] is None or data["host"]["release"].startswith("12.1")
    threads = {thread["id"]: thread for thread in data["threads"]}
    vcpu = next(thread for thread in data["threads"] if thread["name"] == "vcpu 1")
    assert vcpu["tid"] == 100044
    assert vcpu["pid"] == 16
    assert vcpu["wmesg"] == "vmrndv"
    assert vcpu["wchan"] == "0xfffffe0000723110"
    assert vcpu["wait"]["kind"] == "rendezvous"
    assert vcpu["wait"]["via"] == "mmio"
    assert vcpu["wait"]["idle"] is False
    assert vcpu["frames"][0] == {
        "function": "sched_switch", "offset": 0x492, "module": None, "file": None, "line": None, "args": {},
    }  # fmt: skip
    resources = {resource["id"]: resource for resource in data["resources"]}
    assert resources[vcpu["wait"]["resource"]]["kind"] == "rendezvous"
    finding = data["findings"][0]
    assert (finding["verdict"], finding["certainty"]) == ("deadlock", "proven")
    assert {threads[name]["tid"] for name in finding["threads"]} == {100043, 100044, 100045, 100046}
    assert finding["cycle"][0] == finding["cycle"][-1]
    for edge in data["graph"]["edges"]:
        assert edge["from"] in threads
        assert edge["to"] in threads
        assert edge["via"] in resources
        assert edge["mode"] in ("all", "any")
        assert edge["certainty"] in ("observed", "inferred", "possible")
        assert all(place["first"] <= place["last"] for place in edge["evidence"])


def test_evidence_lines_are_those_of_the_file():
    data = json.loads(hangdiag("analyze", "-f", "json", DEADLOCK)[1])
    lines = DEADLOCK.read_text().splitlines()
    for thread in data["threads"]:
        assert str(thread["tid"]) in lines[thread["where"]["first"] - 1]


def test_several_files_of_one_host_are_one_capture():
    data = json.loads(hangdiag("analyze", "-f", "json", SAMPLES / "deadlock.ddb.txt", DEADLOCK)[1])
    assert data["captures"] == 1
    assert [source["format"] for source in data["sources"]] == ["ddb", "procstat"]
    assert sum(thread["tid"] == 100043 for thread in data["threads"]) == 1


def test_two_hosts_are_two_captures():
    data = json.loads(hangdiag("analyze", "-f", "json", DEADLOCK, SAMPLES / "lock-cycle.procstat.txt")[1])
    assert data["captures"] == 2
    assert len({thread["id"] for thread in data["threads"]}) == len(data["threads"])


def test_a_second_table_of_the_same_threads_is_a_second_capture(tmp_path):
    path = tmp_path / "twice.txt"
    path.write_text(DEADLOCK.read_text() * 2)
    assert "Capture 2 of 2 (lines 52-100): the same as capture 1, DEADLOCK (proven)" in hangdiag("analyze", path)[1]


def test_captures_are_named_by_their_hosts_or_their_lines(tmp_path):
    text = DEADLOCK.read_text()
    later = text.replace("vm_handle_rendezvous", "vm_handle_hlt")
    for name, one in (("alpha.txt", text), ("beta.txt", later)):
        (tmp_path / name).write_text(one)
    (tmp_path / "both.txt").write_text(f"alpha | CHANGED | rc=0 >>\n{text}\nbeta | CHANGED | rc=0 >>\n{later}")
    report = hangdiag("analyze", tmp_path / "both.txt")[1]
    assert "Capture 1 of 2 (alpha)\n" in report
    assert "Capture 2 of 2 (beta)\n" in report
    assert f"lines 2-50 of {tmp_path / 'alpha.txt'}" in hangdiag("report", tmp_path / "alpha.txt", tmp_path / "beta.txt")[1].replace("\n  ", " ")
    compared = hangdiag("compare", tmp_path / "both.txt")[1]
    assert "captures of different hosts" in compared
    assert "1. alpha: DEADLOCK (proven)" in compared
    assert "Refuted" not in compared


def test_json_names_all_lines_of_a_thread_and_the_host_of_each_capture(tmp_path):
    path = tmp_path / "console.log"
    header, *rows = DEADLOCK.read_text().splitlines()
    lines = [f"{host}: {line}" for line in (header, *rows[:3]) for host in ("alpha", "beta")]
    lines += [f"{host}: {line}" for row in alltrace([T(100860, "vcpu 0", "joined")]).splitlines() for host, line in zip(("beta", "alpha"), (row, "db> "), strict=True)]
    path.write_text("\n".join(lines) + "\n")
    data = json.loads(hangdiag("analyze", "-f", "json", path)[1])
    assert [host["hostname"] for host in data["hosts"]] == ["alpha", "beta"]
    (thread,) = (thread for thread in data["threads"] if thread["tid"] == 100860)
    assert data["hosts"][thread["capture"]]["hostname"] == "beta"
    begin = next(number for number, line in enumerate(lines, 1) if "Tracing" in line)
    stack = [number for number, line in enumerate(lines, 1) if line.startswith("beta: ") and "() at " in line]
    assert [(where["first"], where["last"]) for where in thread["lines"]] == [(number, number) for number in (begin, *stack)]
    assert thread["where"] == thread["lines"][0]


def test_one_process_and_then_all_of_them_is_one_capture(tmp_path):
    header, *rows = DEADLOCK.read_text().splitlines(keepends=True)
    path = tmp_path / "both.txt"
    path.write_text(header + "".join(row for row in rows if " bhyve " in row) + header + "".join(rows))
    data = json.loads(hangdiag("analyze", "-f", "json", path)[1])
    assert data["captures"] == 1
    assert len(data["threads"]) == len(rows)


def test_version_and_help():
    code, out, _ = hangdiag("--version")
    assert code == 0
    assert out.startswith("hangdiag ")
    assert "analyze" in hangdiag("--help")[1]
    assert "--fail-on" in hangdiag("analyze", "--help")[1]


@pytest.mark.parametrize(
    "arguments",
    [
        ("analyze", "--nonsense"),
        ("nonsense",),
        ("analyze", "--format", "xml", "x"),
        ("rules", "show", "no-such-rule"),
    ],
)
def test_wrong_usage_is_exit_2(arguments):
    code, _, error = hangdiag(*arguments)
    assert code == 2
    one_line(error)


def test_missing_file(tmp_path):
    code, _, error = hangdiag("analyze", tmp_path / "none.txt")
    assert code == 3
    assert "none.txt" in one_line(error)


@pytest.mark.parametrize(
    "content", [b"", b"\n\n", bytes(range(256)) * 40, b"hello\nworld\n", b"\x7fELF\x02\x01\x01" + bytes(4000)]
)
def test_input_without_a_trace(tmp_path, content):
    path = tmp_path / "input"
    path.write_bytes(content)
    code, _, error = hangdiag("analyze", path)
    assert code == 3
    assert "input" in one_line(error)


def test_no_permission(tmp_path):
    path = tmp_path / "secret"
    path.write_bytes(DEADLOCK.read_bytes())
    path.chmod(0)
    if os.access(path, os.R_OK):
        pytest.skip("this user may read everything")
    assert hangdiag("analyze", path)[0] == 3


def test_not_utf8_is_read_and_marked(tmp_path):
    path = tmp_path / "latin1.txt"
    path.write_bytes(b"K\xfchlschrank\n" + DEADLOCK.read_bytes())
    code, out, _ = hangdiag("analyze", "-f", "json", path)
    assert code == 0
    data = json.loads(out)
    assert data["sources"][0]["replaced"] == 1
    assert data["findings"][0]["verdict"] == "deadlock"


def test_cut_in_mid_line_is_a_partial_result(tmp_path):
    path = tmp_path / "cut.txt"
    path.write_bytes(DEADLOCK.read_bytes()[:-700])
    code, out, _ = hangdiag("analyze", path)
    assert code == 0
    assert "threads" in out


def test_one_enormous_line(tmp_path):
    path = tmp_path / "long.txt"
    path.write_bytes(b"mi_switch+0xd2 " * 700_000 + b"\n" + DEADLOCK.read_bytes())
    code, out, _ = hangdiag("analyze", "-q", path)
    assert code == 0
    assert out.startswith("DEADLOCK")


def test_hostile_names_do_not_reach_the_terminal(tmp_path):
    path = tmp_path / "hostile.txt"
    text = DEADLOCK.read_text().replace("vcpu 1  ", "\x9b31mX\u202e")
    path.write_text(text)
    out = hangdiag("analyze", "--all", path)[1]
    assert not any(
        (ord(letter) < 32 and letter != "\n") or 127 <= ord(letter) < 160 or letter == "\u202e"
        for letter in out
    )


def test_rules_list_show_check():
    assert "vmm-rendezvous" in hangdiag("rules", "list", "--wmesg", "vmrndv")[1]
    out = hangdiag("rules", "show", "vmm-rendezvous")[1]
    assert "vmrndv" in out
    assert max(map(len, out.splitlines())) <= 80


def test_rules_check_names_file_and_key(tmp_path):
    (tmp_path / "mine.toml").write_text(
        'format = 1\nsubsystem = "x"\n[[wait]]\nid = "a"\ntitle = "b"\nkind = "nonsense"\nwmesg = ["q"]\n'
    )
    code, _, error = hangdiag("rules", "check", tmp_path)
    assert code == 3
    assert "mine.toml: wait a: kind" in one_line(error)


def test_a_folder_of_ones_own_rules(tmp_path):
    (tmp_path / "mine.toml").write_text(
        'format = 1\nsubsystem = "mine"\n[[wait]]\nid = "my-wait"\ntitle = "my own wait"\nkind = "io"\n'
        'stack = ["_sleep < my_driver_wait"]\n[[wait.example]]\nstack = "mi_switch sleepq_wait _sleep my_driver_wait"\n'
    )
    text = "  PID    TID COMM                TDNAME              KSTACK\n"
    text += "  900 100101 x                   -                   mi_switch+0x1 sleepq_wait+0x1 _sleep+0x1 my_driver_wait+0x2\n"
    data = json.loads(hangdiag("analyze", "-f", "json", "--rules", tmp_path, stdin=text.encode())[1])
    assert data["threads"][0]["wait"]["rule"] == "my-wait"


@pytest.mark.parametrize(
    ("asked", "rule"),
    [("vmrndv", "vmm-rendezvous"), ("vm_handle_rendezvous()", "vmm-rendezvous"), ("tx->tx_s", "zfs-txg"), ("vmm-rendezvous", "vmrndv")],
)
def test_explain(asked, rule):
    code, out, _ = hangdiag("explain", asked)
    assert code == 0
    assert rule in out
    assert max(map(len, out.splitlines())) <= 80


def test_limits_can_be_raised_and_lowered(tmp_path):
    code, _, error = hangdiag("analyze", "--max-size", "4K", DEADLOCK)
    assert code == 3
    assert "--max-size" in one_line(error)
    assert hangdiag("analyze", "-q", "--max-size", "1M", DEADLOCK)[0] == 0
    assert hangdiag("analyze", "--max-size", "much", DEADLOCK)[0] == 2
    for number in range(3):
        (tmp_path / f"{number}.txt").write_text(DEADLOCK.read_text())
    assert "--max-files" in one_line(hangdiag("analyze", "--max-files", "2", tmp_path)[2])
    assert hangdiag("analyze", "-q", "--max-files", "3", tmp_path)[0] == 0


def test_explain_the_unknown():
    code, _, error = hangdiag("explain", "nonsense_function")
    assert code == 2
    assert "nonsense_function" in one_line(error)


def test_shell_completion_is_offered():
    code, out, _ = hangdiag("--show-completion", "bash")
    assert code == 0
    assert "complete" in out


def test_a_full_disk_behind_standard_output_is_said_in_one_line() -> None:
    with open("/dev/full", "wb") as full:
        command = [sys.executable, "-m", "hangdiag", "analyze", str(DEADLOCK)]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60, check=False)
    assert done.returncode == 3
    assert done.stderr == "hangdiag: standard output: cannot be written (No space left on device); send it elsewhere\n"
