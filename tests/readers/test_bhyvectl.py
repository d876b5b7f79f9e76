"""bhyvectl: sets of vCPUs become facts of the VM, all else is taken note of as read."""

from __future__ import annotations

from hangdiag.readers import read_text
from tests.readers.help import read
from tests.traces import analysed, procstat, vcpus

ALL = """\
root@host:~ # bhyvectl --vm=win11 --cpu=0 --get-all
ID  Length      Name
0   8GB         sysmem
1   16KB        bootrom
Address     Length      Segment     Offset      Prot  Flags
0           3GB         sysmem      0           RWX{pad}
FFC00000    4MB         bootrom     0           R-X   wired/iommu
efer[0]\t\t0x0000000000000d01
cr0[0]\t\t0x0000000080050033
rip[0]\t\t0xfffff80379a0c2aa
rflags[0]\t0x0000000000000246
ds desc[0]\t0x0000000000000000/0xffffffff/0x0000c0f3
ldtr desc[0]\t0x0000000000000000/0x0000ffff/0x00000082
gdtr[0]\t\t0xfffff8037d7e1fb0/0x00000057
cs[0]\t\t0x0010
cr_intercept[0]\t0x00000000
TLB ctrl[0]\t0x0000000000000000
v_irq/tpr[0]\t0x0000000000000000
AVIC apic_bar[0]\t0x0000000000000000
AVIC backing page[0]\t0x0000000000000000
x2apic_state[0]\t0
rvi/npt[0]\t\t0x0000000123456000
exception_bitmap[0]\t0x40000
msr_bitmap[0]\t\t0x123000
MSR_TSC             [0]\t\tRW
MSR       0xc0010055[0]\t\tR-
asid[0]\t\t0x0001
vmcs_exit_interruption_info[0]\t0x0000000000000000
exit_reason[0]\t0x400
rtc nvram[000]: 0x00
rtc time 0x63b00000: Sat Dec 31 09:20:00 2022
Capability "hlt_exit" is set on vcpu 0
Capability "mtrap_exit" is not available
active cpus:\t 0, 1, 2, 3
suspended cpus:\t (none)
pending:\tn/a
current:\textint vector 209
vcpu0 stats:
number of ticks vcpu was idle           \t1234
number of times hlt was intercepted     \t46344
Resident memory                         \t8589934592
cpu_topology:\tsockets=1, cores=4, threads=1, maxcpus=32
""".replace("{pad}", "   ")


def test_all_of_it_is_read():
    capture = read(ALL, indented=False)
    (vm,) = capture.vms
    assert (vm.name, vm.active, vm.suspended, vm.debugged) == ("win11", frozenset({0, 1, 2, 3}), frozenset(), None)
    assert [tuple(where[1:]) for where in vm.where] == [(34, 35)]
    assert dict(capture.host.facts)["number of times hlt was intercepted"] == "46344"
    assert (capture.threads, capture.unread) == ((), ())


def test_pasted_from_a_terminal_without_tabs():
    text = ALL.expandtabs().replace("bhyvectl --vm=win11", "bhyvectl --vm win11")
    capture = read(text, indented=False)
    assert capture.unread == ()
    assert (capture.vms[0].name, capture.vms[0].active) == ("win11", frozenset({0, 1, 2, 3}))
    assert dict(capture.host.facts)["number of ticks vcpu was idle"] == "1234"


def test_statistics_of_several_vcpus():
    text = "vcpu0 stats:\nnumber of ticks vcpu was idle           \t5\nvcpu1 stats:\nnumber of ticks vcpu was idle           \t7\n"
    capture = read(text, indented=False)
    assert capture.host.facts == (("number of ticks vcpu was idle", "5"), ("vcpu 1: number of ticks vcpu was idle", "7"))
    assert capture.unread == ()


def test_single_options():
    text = "% bhyvectl --get-active-cpus --vm=a\nactive cpus:\t 0, 1\n% bhyvectl --vm=a --get-suspended-cpus\nsuspended cpus:\t 1\n"
    text += "% bhyvectl --vm=b --get-active-cpus\nactive cpus:\t 0\n"
    first, second = read(text, indented=False).vms
    assert (first.name, first.active, first.suspended) == ("a", frozenset({0, 1}), frozenset({1}))
    assert (second.name, second.active, second.suspended) == ("b", frozenset({0}), None)


def test_words_about_bhyvectl_are_none():
    text = "I ran bhyvectl --vm=win11 --destroy\nand it never came back.\n"
    (capture,) = read_text(text)
    assert capture.vms == ()
    assert [(item.where.first, item.where.last) for item in capture.unread] == [(1, 2)]


def test_a_vcpu_that_is_not_shown_is_known_to_be_missing():
    # vcpus 0 and 1 wait for each other; without the active set these would be all there are
    threads = vcpus("joined", "lock one")
    assert analysed(procstat(threads)).findings[0].certainty == "proven"
    diagnosis = analysed(procstat(threads) + "% bhyvectl --get-active-cpus\nactive cpus:\t 0, 1, 2\n")
    assert [machine.complete for machine in diagnosis.machines] == [False]
    assert diagnosis.findings[0].certainty != "proven"


def test_who_has_not_suspended():
    threads = vcpus("suspended, named", "suspended, named", "mutex in userland")
    suspended = "mi_switch sleepq_timedwait msleep_spin_sbt vm_handle_suspend vm_run vmmdev_ioctl"
    threads = [thread if thread.stack != "suspended, named" else type(thread)(thread.tid, thread.name, suspended) for thread in threads]
    text = procstat(threads) + "% bhyvectl --get-active-cpus --get-suspended-cpus --vm=x\nactive cpus:\t 0, 1, 2\nsuspended cpus:\t 0, 1\n"
    diagnosis = analysed(text)
    assert {(edge.waiter, edge.holder, edge.certainty) for edge in diagnosis.edges} == {(0, 2, "observed"), (1, 2, "observed")}


def test_a_set_of_another_moment_is_not_believed():
    suspended = "mi_switch sleepq_timedwait msleep_spin_sbt vm_handle_suspend vm_run vmmdev_ioctl"
    text = procstat(vcpus(suspended)) + "active cpus:\t 0, 1\nsuspended cpus:\t 1\n"
    diagnosis = analysed(text)
    assert (diagnosis.findings[0].verdict, diagnosis.edges) == ("inconclusive", ())


def test_the_sets_of_another_vm_are_not_this_ones():
    ps = " UID  PID PPID C PRI NI VSZ RSS MWCHAN STAT TT TIME COMMAND\n   0 2210    1 0  20  0 100 100 kqread I    - 0:01.00 bhyve: win11 (bhyve)\n"
    text = ps + procstat(vcpus("joined", "lock one")) + "% bhyvectl --vm=other --get-active-cpus\nactive cpus:\t 0, 1, 2\n"
    assert analysed(text).findings[0].certainty == "proven"
