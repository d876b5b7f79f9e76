"""The collecting script: clean for shellcheck, runs under a POSIX sh, never waits for what hangs."""

from __future__ import annotations

import os
import shutil
import subprocess
import tarfile
import time
from functools import cache

import pytest

from hangdiag.collect import collect_script
from tests.report.helpers import SAMPLES

SHELLS = [shell for shell in ("dash", "sh", "busybox") if shutil.which(shell)]
#: What a FreeBSD base system has that a stub cannot stand in for.
TOOLS = ("sh", "cat", "date", "id", "ls", "mkdir", "mv", "rm", "sed", "sleep", "tar", "tr", "grep", "hostname")
HANGS = "#!/bin/sh\ntrap '' TERM\nexec sleep 60\n"


@pytest.fixture
def host(tmp_path):
    return make_host(tmp_path)


def make_host(folder):
    """A folder of stub commands and one of VMs."""
    stubs = folder / "bin"
    stubs.mkdir()
    for tool in TOOLS:
        found = shutil.which(tool)
        if found:
            (stubs / tool).symlink_to(found)
    sample = SAMPLES / "deadlock.procstat.txt"
    write(stubs / "procstat", f'#!/bin/sh\n[ "$1" = -kk ] || exit 1\nexec cat "{sample}"\n')
    write(stubs / "uname", "#!/bin/sh\necho FreeBSD vault 13.1-STABLE FreeBSD 13.1-STABLE GENERIC amd64\n")
    write(stubs / "sysctl", '#!/bin/sh\necho "$1: stub"\n')
    write(stubs / "bhyvectl", '#!/bin/sh\necho "$@"\n')
    write(stubs / "dmesg", "#!/bin/sh\necho '---<<BOOT>>---'\necho 'FreeBSD 13.1-STABLE GENERIC amd64'\n")
    vms = folder / "vmm"
    vms.mkdir()
    (vms / "win11").touch()
    (vms / "a b;reboot").touch()
    (folder / "out").mkdir()
    return folder


def write(path, text):
    path.unlink(missing_ok=True)
    path.write_text(text)
    path.chmod(0o755)


def begin(host, shell="sh", **settings):
    script = host / "collect.sh"
    script.write_text(collect_script())
    command = [shutil.which(shell), *(["sh"] if shell == "busybox" else []), str(script), str(host / "out")]
    environment = {
        **os.environ,
        "HANGDIAG_PATH": str(host / "bin"),
        "HANGDIAG_VMM": str(host / "vmm"),
        "ROUNDS": "2",
        "INTERVAL": "0",
        "LIMIT": "2",
        **settings,
    }
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(host, process):
    """Exit code, both outputs, and the archives."""
    out, error = process.communicate(timeout=120)
    return process.returncode, out, error, list((host / "out").glob("*.tar"))


def collect(host, shell="sh", **settings):
    return finish(host, begin(host, shell, **settings))


@pytest.fixture(scope="module")
def collected(tmp_path_factory):
    """By shell, what a run leaves: it takes a second of waiting, and several tests look at it."""

    @cache
    def run(shell):
        host = make_host(tmp_path_factory.mktemp(shell))
        return host, *collect(host, shell)

    return run


@pytest.fixture(scope="module", autouse=True)
def hanging(tmp_path_factory):
    """Runs that wait for commands that hang, with timeout(1) and without: at the same time, and beside the other tests."""
    begun = {}
    for timeout in {shutil.which("timeout"), None}:
        host = make_host(tmp_path_factory.mktemp("hanging"))
        if timeout:
            (host / "bin" / "timeout").symlink_to(timeout)
        write(host / "bin" / "bhyvectl", HANGS)
        write(host / "bin" / "zpool", HANGS)
        begun[timeout is not None] = host, time.monotonic(), begin(host, LIMIT="1")
    yield begun
    for _, _, process in begun.values():
        process.communicate()


def members(tar):
    with tarfile.open(tar) as archive:
        return {
            item.name.partition("/")[2]: archive.extractfile(item).read().decode() for item in archive.getmembers() if item.isfile()
        }


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="shellcheck is not installed")
def test_shellcheck():
    done = subprocess.run(
        ["shellcheck", "--shell=sh", "-"], input=collect_script(), capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout == ""
    assert done.returncode == 0


@pytest.mark.parametrize("shell", SHELLS)
def test_everything_lands_in_one_archive(collected, shell):
    host, code, out, error, (tar,) = collected(shell)
    assert code == 0, error
    assert out.strip() == str(tar)
    found = members(tar)
    assert "PID    TID COMM" in found["11-b-procstat-kk.txt"]
    assert "PID    TID COMM" in found["12-b-procstat-kk.txt"]
    assert found["50-bhyvectl-win11.txt"] == "--get-stats --vm=win11\n"
    assert not any("reboot" in name for name in found)
    log = found["commands.txt"]
    assert "11-b-procstat-kk.txt: procstat -kk -a (exit 0)" in log
    assert "(exit 127)" in log
    # nothing is left but the archive
    assert os.listdir(host / "out") == [tar.name]


def test_rounds_stand_in_their_order(host):
    tar = collect(host, ROUNDS="3")[-1][0]
    with tarfile.open(tar) as archive:
        names = [item.name for item in archive.getmembers() if item.isfile()]
    assert names == sorted(names)


def test_analyze_reads_it(collected):
    from hangdiag.readers.files import read_paths

    *_, (tar,) = collected("sh")
    captures = [capture for capture in read_paths([str(tar)], None) if capture.threads]
    assert len(captures) == 2
    assert {thread.name for thread in captures[0].threads} >= {"vcpu 0", "vcpu 1", "vcpu 2", "vcpu 3"}


def test_the_report_on_it_compares_its_rounds_and_names_the_release(collected):
    from hangdiag.report.summary_forms import diagnose_paths, write_report

    *_, (tar,) = collected("sh")
    report = write_report(diagnose_paths([str(tar)]), "bugzilla")
    assert "From capture 2 of 2 (host-1)." in report
    assert "None of its 4 threads has moved in 2 captures" in report
    assert "Release: 13.1-STABLE" in report
    assert "vault" not in report


def test_a_wrong_setting_is_said(host):
    code, _, error, tars = collect(host, ROUNDS="many")
    assert (code, tars) == (2, [])
    assert "whole numbers" in error


def test_a_place_that_cannot_be_written_is_said(host):
    (host / "out").rmdir()
    (host / "out").write_text("")
    code, _, error, tars = collect(host)
    assert (code, tars) == (1, [])
    assert "name another directory" in error


def test_nothing_in_it_touches_a_guest():
    script = collect_script()
    for word in ("--destroy", "--force", "kill -9 ", "--inject", "--set", "sysctl -w", "--get-all", "debug.kdb"):
        assert word not in script


def test_options_become_defaults():
    script = collect_script(rounds=7, interval=11, limit=13)
    for line in ("ROUNDS=${ROUNDS:-7}", "INTERVAL=${INTERVAL:-11}", "LIMIT=${LIMIT:-13}"):
        assert line in script
    assert "@" not in "".join(line for line in script.splitlines() if not line.lstrip().startswith("#") and '"$@"' not in line)


@pytest.mark.parametrize("with_timeout", [True, False])
def test_a_command_that_hangs_is_left_behind(hanging, with_timeout):
    if with_timeout not in hanging:
        pytest.skip("timeout(1) is not installed")
    host, begun, process = hanging[with_timeout]
    code, _, _, (tar,) = finish(host, process)
    assert code == 0
    # the two wait at the same time
    assert time.monotonic() - begun < 30
    log = members(tar)["commands.txt"]
    for name in ("40-zpool.txt", "50-bhyvectl-win11.txt"):
        (line,) = [line for line in log.splitlines() if line.startswith(name)]
        assert "after 1 s" in line
