"""kgdb over a stub that lists bare thread ids: no processes, no names; pointers in arguments tell who is who."""

from __future__ import annotations

import pytest

from tests.traces import analysed, first, tids

SLEEP = """\
#0  sched_switch (td=td@entry={td:#x}, flags=flags@entry=259) at /usr/src/sys/kern/sched_ule.c:2297
#1  0xffffffff80bdd3a1 in mi_switch (flags=flags@entry=259) at /usr/src/sys/kern/kern_synch.c:546
#2  0xffffffff80c2e9a4 in sleepq_timedwait (wchan=wchan@entry={wchan:#x}, pri=pri@entry=0) at /usr/src/sys/kern/subr_sleepqueue.c:687
"""
JOINED = """\
#3  0xffffffff80bdc9b1 in _sleep (ident=ident@entry=0xfffffe00b2c8e130, lock=lock@entry=0xfffffe00b2c8e138, priority=priority@entry=0, wmesg=0xffffffff82f1a2c2 "vmrndv", sbt=<optimized out>, pr=pr@entry=0, flags=256) at /usr/src/sys/kern/kern_synch.c:221
#4  0xffffffff82f0a1b8 in vm_handle_rendezvous (vcpu=vcpu@entry={vcpu:#x}) at /usr/src/sys/amd64/vmm/vmm.c:1373
#5  0xffffffff82f0b2a1 in vm_run (vcpu={vcpu:#x}, vme_user=<optimized out>) at /usr/src/sys/amd64/vmm/vmm.c:1867
"""
ONE = """\
#3  0xffffffff80bdcc21 in msleep_spin_sbt (ident=ident@entry={wchan:#x}, mtx={shown}, wmesg=0xffffffff82f1a2c9 "vmstat", sbt=<optimized out>) at /usr/src/sys/kern/kern_synch.c:287
#4  0xffffffff82f0a8f8 in vcpu_set_state_locked (vcpu={shown}, newstate=VCPU_FROZEN, from_idle=true) at /usr/src/sys/amd64/vmm/vmm.c:1225
#5  0xffffffff82f0aaa1 in vcpu_set_state (vcpu={shown}, newstate=VCPU_FROZEN, from_idle=true) at /usr/src/sys/amd64/vmm/vmm.c:2541
"""
IOCTL = "#6  0xffffffff82f0f3c0 in vmmdev_ioctl (cdev=<optimized out>, cmd=3230692865, data=<optimized out>, fflag=<optimized out>, td=<optimized out>) at /usr/src/sys/amd64/vmm/vmm_dev.c:584\n"
A, B = 0xFFFFF801045A3000, 0xFFFFF801045A4000


def joined(tid: int, vcpu: int) -> str:
    head = f"Thread {tid % 100} (Thread {tid}):\n"
    return head + SLEEP.format(td=tid * 0x1000, wchan=0xFFFFFE00B2C8E130) + JOINED.format(vcpu=vcpu) + IOCTL + "\n"


def waiting(tid: int, vcpu: int, wchan: int = 0, shown: bool = True) -> str:
    head = f"Thread {tid % 100} (Thread {tid}):\n"
    wchan = wchan or vcpu + 0x20
    stack = ONE.format(wchan=wchan, shown=f"{vcpu:#x}" if shown else "<optimized out>")
    return head + SLEEP.format(td=tid * 0x1000, wchan=wchan) + stack + IOCTL + "\n"


def edges(text: str) -> set[tuple[int | None, int | None, str]]:
    diagnosis = analysed(text)
    threads = diagnosis.capture.threads
    return {(threads[edge.waiter].tid, threads[edge.holder].tid, edge.certainty) for edge in diagnosis.edges}


@pytest.mark.parametrize("shown", [True, False])
def test_the_thread_that_runs_the_wanted_vcpu_is_known_by_its_pointer(shown):
    # by an argument, or by the channel, which lies 0x20 behind the struct vcpu
    text = joined(100732, A) + waiting(100731, A, shown=shown) + joined(100730, B)
    known = edges(text)
    assert {edge for edge in known if edge[0] == 100731} == {(100731, 100732, "observed")}
    diagnosis, finding = first(text)
    # whether tid 100731 runs a vCPU that the rendezvous waits for is not shown
    assert (finding.verdict, finding.certainty) == ("deadlock", "possible")
    assert set(tids(diagnosis, finding.threads)) >= {100731, 100732}


def test_a_pointer_that_no_thread_has_names_nobody():
    known = edges(joined(100732, A) + waiting(100731, 0xFFFFF801045A9000) + joined(100730, B))
    assert {edge[2] for edge in known if edge[0] == 100731} == {"possible"}


POINTERS = f"""\
(kgdb) p vm->vcpu[0]
$1 = (struct vcpu *) {B:#x}
(kgdb) p vm->vcpu[1]
$2 = (struct vcpu *) 0xfffff801045a5000
(kgdb) p vm->vcpu[2]
$3 = (struct vcpu *) {A:#x}
(kgdb) p vm->active_cpus
$4 = {{__bits = {{7, 0, 0, 0}}}}
"""


def test_pointers_that_were_printed_number_the_vcpus():
    text = POINTERS + joined(100732, A) + waiting(100731, A) + joined(100730, B)
    diagnosis, finding = first(text)
    machine = diagnosis.scene.machines[0]
    numbers = {vcpu: diagnosis.capture.threads[index].tid for vcpu, index in machine.vcpus.items()}
    # the row of thread ids tells the third
    assert numbers == {0: 100730, 1: 100731, 2: 100732}
    assert (finding.verdict, set(tids(diagnosis, finding.threads))) == ("deadlock", {100731, 100732})
