"""Names and addresses go, threads and functions stay, equal things stay equal."""

from __future__ import annotations

import json

import pytest

from hangdiag.redact import plan_redaction, redact_diagnosis
from hangdiag.report.summary_forms import FORMS, write_report
from tests.report.helpers import claims, read_again, sample, text_of
from tests.traces import procstat, vcpus

SECRETS = """FreeBSD vault.example.org 13.1-STABLE FreeBSD 13.1-STABLE #0 stable/13-n253412: Tue Jan  3 10:11:12 UTC 2023     alice@builder.example.org:/usr/obj/usr/src/amd64.amd64/sys/GENERIC amd64
kern.hostname: vault.example.org
[alice@vault ~]$ bhyvectl --vm=win11prod --destroy
root    2210  0.0  bhyve: win11prod (bhyve) -s 3,virtio-blk,/home/alice/vms/win11.img -s 4,ahci-hd,/usr/home/bob/disk.img
crw-------  1 root  wheel  0x6f Nov 23 12:00 /dev/vmm/win11prod
em0: inet 192.168.17.4 netmask 0xffffff00 broadcast 192.168.17.255 ether 58:9c:fc:01:02:03
inet6 fe80::5a9c:fcff:fe01:203%em0 prefixlen 64 inet6 2001:db8::17
da0: Serial Number WD-WCC4N0123456
smbios.system.serial="ABC123XYZ"
kern.hostuuid: 4c4c4544-0035-3010-8051-b4c04f4b3732
Nov 23 12:00:01 vault kernel: pid 17 exited at 12:34:56
alice likes win11prod
"""
WORDS = (
    "vault", "example.org", "alice", "bob", "win11", "192.168", "58:9c", "fe80", "2001:db8", "WD-WCC", "ABC123", "4c4c4544", "builder",
)  # fmt: skip


def plan_for(text, addresses=False):
    diagnoses = read_again(text)
    return diagnoses, plan_redaction(diagnoses, [text], addresses)


def test_a_capture_full_of_secrets():
    text = SECRETS + procstat(vcpus("started", "lock one", "joined"))
    _, plan = plan_for(text)
    redacted = plan.text(text)
    for word in WORDS:
        assert word not in redacted, word
    for kept in ("mi_switch+0x", "vm_handle_rendezvous", "vcpu 0", "100860", "2210", "13.1-STABLE", "root", "amd64", "12:34:56"):
        assert kept in redacted, kept


def test_equal_things_stay_equal_and_different_ones_different():
    _, plan = plan_for(SECRETS + procstat(vcpus("halted")))
    lines = plan.text(SECRETS).splitlines()
    vm = lines[2].partition("--vm=")[2].split()[0]
    assert f"bhyve: {vm} " in lines[3]
    assert f"/dev/vmm/{vm}" in lines[4]
    assert lines[-1].endswith(vm)
    user = lines[2][1:].partition("@")[0]
    assert f"/home/{user}/" in lines[3]
    assert lines[-1].startswith(user)
    first, second = [word for word in lines[5].split() if word.startswith("ipv4-")]
    assert first != second
    assert lines[3].count("path-1") == 1
    assert lines[3].count("path-2") == 1


def test_numbers_that_are_no_addresses_stay():
    text = "12:34:56 1.2.3 pci0:0:2:0 0.0.0.0 127.0.0.1 ::1 'vmm_dev.c'::head version 13.1 {1, 2} a::b\n" + procstat(vcpus("halted"))
    _, plan = plan_for(text)
    assert plan.text(text) == text


def test_gdb_arguments_are_no_mail_addresses():
    text = text_of("deadlock.kgdb.txt")
    diagnoses, plan = plan_for(text)
    assert set(plan.words) == {"win11"}
    assert claims(redact_diagnosis(diagnoses[0], plan)) == claims(diagnoses[0])


def test_a_vm_named_like_a_function_or_thread_is_not_replaced_in_stacks():
    text = "bhyvectl --vm=vm_run --destroy\n/dev/vmm/mevent\n" + procstat(vcpus("started", "lock one"))
    _, plan = plan_for(text)
    assert plan.text(text).count("vm_run") == text.count("vm_run")


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("addresses", [False, True])
def test_no_form_of_the_report_tells(form, addresses):
    text = SECRETS + procstat(vcpus("started", "lock one", "joined"))
    report = write_report(read_again(text), form, [text], True, addresses)
    for word in WORDS:
        assert word not in report, word
    assert "win11prod" in write_report(read_again(text), "html", [text], False) or form != "html"


def test_the_footnote_names_kinds_and_no_originals():
    text = SECRETS + procstat(vcpus("started", "lock one", "joined"))
    report = write_report(read_again(text), "bugzilla", [text], True)
    footnote = report.partition("REDACTED")[2]
    for kind in ("VM name: vm-1", "user name: user-1", "MAC address: mac-1", "IPv4 address: ipv4-1, ipv4-2"):
        assert kind in footnote


def test_addresses_move_together():
    diagnosis = sample("deadlock.ddb.txt")[0]
    plan = plan_redaction([diagnosis], [], True)
    moved = redact_diagnosis(diagnosis, plan)
    before = {thread.tid: thread.wchan for thread in diagnosis.capture.threads if thread.wchan}
    after = {thread.tid: thread.wchan for thread in moved.capture.threads if thread.wchan}
    assert before.keys() == after.keys()
    assert not set(before.values()) & set(after.values())
    # the vCPU's channel keeps its distance from the rendezvous'
    assert before[100045] - before[100043] == after[100045] - after[100043]
    assert after[100043] == after[100044]
    report = write_report([diagnosis], "bugzilla", [], True, True)
    assert f"{before[100043]:#x}" not in report
    assert claims(read_again(report)[0]) == claims(diagnosis)


def test_facts_of_the_host_are_looked_at():
    text = "kern.hostname: vault\ndev.nvme.0.serial: S4EVNX0M\nvm.note: seen on vault with S4EVNX0M\n" + procstat(vcpus("started", "lock one"))
    report = write_report(read_again(text), "bugzilla")
    assert "vault" not in report
    assert "S4EVNX0M" not in report
    assert "host-1" in report


def test_without_redaction_nothing_is_replaced():
    text = SECRETS + procstat(vcpus("started", "lock one", "joined"))
    data = json.loads(write_report(read_again(text), "json", [text], False))
    assert data["schema"] == "hangdiag/1"
    assert "vm-1" not in json.dumps(data)
