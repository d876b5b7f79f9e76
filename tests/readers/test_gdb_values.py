"""gdb: printed structures, lock words, arguments, scripts, GDB/MI records."""

from __future__ import annotations

import pytest

from hangdiag import diagnose
from hangdiag.readers.gdb.mi import parse_record, unescape
from hangdiag.readers.gdb.scalars import cpu_set
from tests.readers.help import functions, only, read
from tests.traces import analysed, procstat, vcpus

VM = 0xFFFFFE01F6C00000


@pytest.mark.parametrize("vm", ["vm", "sc->vm", "$vmm->vm", "(*vm)", "((struct vm *)0xfffffe01f6c00000)", "'vmm_dev.c'::head.slh_first->vm"])
def test_fields_of_a_vm_by_any_expression(vm):
    capture = read(
        f"(kgdb) p/x {vm}->rendezvous_req_cpus\n$1 = {{__bits = {{0xf, 0x0 <repeats 15 times>}}}}\n"
        f"(kgdb) p/x {vm}->rendezvous_done_cpus.__bits[0]\n$2 = 0xb\n(kgdb) print {vm}->vcpu[2]->state\n$3 = VCPU_FROZEN\n"
        f"(kgdb) p *{vm}->vcpu[1]\n$4 = {{\n  mtx = {{\n    mtx_lock = 0\n  }},\n  state = VCPU_RUNNING,\n  hostcpu = 3\n}}\n"
        f"(kgdb) p {vm}->name\n$5 = \"win11\", '\\000' <repeats 26 times>\n",
        indented=False,
    )
    (found,) = capture.vms
    assert (found.requested, found.done, found.name) == (frozenset({0, 1, 2, 3}), frozenset({0, 1, 3}), "win11")
    assert [(vcpu.id, vcpu.state) for vcpu in found.vcpus] == [(1, "RUNNING"), (2, "FROZEN")]
    assert found.address == (VM if "struct vm" in vm else None)
    assert capture.unread == ()


def test_who_still_owes_an_answer():
    question = "p/x vm->rendezvous_req_cpus.__bits[0] & ~vm->rendezvous_done_cpus.__bits[0]"
    (vm,) = read(f"(kgdb) {question}\n$1 = 0x4\n", indented=False).vms
    assert vm.requested - vm.done == {2}


def test_expressions_for_one_vm_are_joined_and_those_of_two_are_not():
    head = "(kgdb) p $vm->suspend\n$1 = 0\n"
    whole = '(kgdb) p *(struct vm *)0x{:x}\n$2 = {{name = "{}", suspend = 0, rendezvous_req_cpus = {{__bits = {{1}}}}}}\n'
    assert len(read(head + whole.format(VM, "a"), indented=False).vms) == 1
    assert len(read(whole.format(VM, "a") + whole.format(VM + 0x100000, "b"), indented=False).vms) == 2


@pytest.mark.parametrize(
    ("value", "members"),
    [
        ({"__bits": ["0x1", "0x0 <repeats 15 times>"]}, {0}),
        ({"__bits": ["0 <repeats 2 times>", "1"]}, {128}),
        ("0x3", {0, 1}),
    ],
)
def test_sets_of_cpus(value, members):
    assert cpu_set(value) == members


def test_numbers_for_the_states_of_vcpus():
    (vm,) = read("(kgdb) p/x vm->vcpu[0]->state\n$1 = 0x3\n", indented=False).vms
    assert vm.vcpus[0].state == "SLEEPING"


STACKS = """\
Thread 2 (Thread 100703 (PID=1502: mv)):
#0  sched_switch (td=0xfffff80004c9a000, flags=259) at /usr/src/sys/kern/sched_ule.c:2297
#1  0xffffffff80bb8b85 in mi_switch (flags=259) at /usr/src/sys/kern/kern_synch.c:546
#2  0xffffffff80c0c11c in sleepq_wait (wchan=<optimized out>, pri=0) at /usr/src/sys/kern/subr_sleepqueue.c:659
#3  0xffffffff80b8c7f7 in _sx_xlock_hard (sx=sx@entry=0xffffffff81e35568 <lab_sx>, x=<optimized out>) at /usr/src/sys/kern/kern_sx.c:800

Thread 1 (Thread 100704 (PID=1503: rm)):
#0  sched_switch (td=0xfffff80004c9b000, flags=259) at /usr/src/sys/kern/sched_ule.c:2297
#1  0xffffffff80bb8b85 in mi_switch (flags=259) at /usr/src/sys/kern/kern_synch.c:546
#2  0xffffffff80c0c11c in turnstile_wait (ts=<optimized out>, owner=0xfffff80004c9a000, queue=queue@entry=0) at /usr/src/sys/kern/subr_turnstile.c:800
#3  0xffffffff80b8c7f7 in __mtx_lock_sleep (c=c@entry=0xfffff800031a4518, v=<optimized out>) at /usr/src/sys/kern/kern_mutex.c:660
"""


@pytest.mark.parametrize(
    ("expression", "printed"),
    [
        (
            "*(struct sx *)0xffffffff81e35568",
            '{lock_object = {lo_name = 0xffffffff811f0000 "lab sx", lo_flags = 36896768, lo_data = 0}, sx_lock = 18446735277696856068}',
        ),
        ("/x ((struct sx *)0xffffffff81e35568)->sx_lock", "0xfffff80004c9b004"),
        ("/x ((struct sx *)0xffffffff81e35568)->sx_lock & ~0x1f", "0xfffff80004c9b000"),
        (
            "((struct sx *)0xffffffff81e35568)->sx_lock & 1 ? 0 : (struct thread *)(((struct sx *)0xffffffff81e35568)->sx_lock & ~0x1f)",
            "(struct thread *) 0xfffff80004c9b000",
        ),
        (
            "*(struct thread *)(((struct sx *)0xffffffff81e35568)->sx_lock & ~0x1f)",
            '{td_tid = 100704, td_name = "rm\\000\\000", td_wmesg = 0x0, td_inhibitors = 8, td_state = TDS_INHIBITED}',
        ),
    ],
)  # fmt: skip
def test_the_owner_of_a_printed_lock(expression, printed):
    blank = "" if expression.startswith("/") else " "
    capture = read(f"{STACKS}(kgdb) p{blank}{expression}\n$1 = {printed}\n", indented=False)
    assert capture.threads[0].wchan == 0xFFFFFFFF81E35568
    finding = diagnose(capture).findings[0]
    assert (finding.verdict, finding.certainty) == ("deadlock", "proven")


def test_the_owner_of_the_lock_that_the_current_thread_is_blocked_on():
    capture = read(
        """
        [Switching to thread 45 (Thread 100567)]
        (kgdb) p td->td_blocked->ts_owner->td_tid
        $1 = 100704
        (kgdb) p td->td_blocked->ts_owner
        $2 = (struct thread *) 0xfffff80004c9b000
        """
    )
    assert [(fact.owner, fact.owner_address, fact.waiters) for fact in capture.locks] == [
        (100704, None, (100567,)), (None, 0xFFFFF80004C9B000, (100567,)),
    ]  # fmt: skip


def test_the_address_of_a_mutex_is_before_its_word():
    (fact,) = read(STACKS, indented=False).locks
    assert (fact.address, fact.owner_address, fact.waiters) == (0xFFFFF800031A4500, 0xFFFFF80004C9A000, (100704,))


@pytest.mark.parametrize(
    ("frame", "expected"),
    [
        ('_sleep (ident=ident@entry=0xfffffe0000723110, wmesg=0xffffffff806098a3 "vmrndv")', ("vmrndv", 0xFFFFFE0000723110)),
        ('bwait (bp=0xfffffe0000723000, pri=84 \'T\', wchan=0xffffffff81000000 "biord")', ("biord", None)),
        ('vm_object_pip_wait (object=0x1, waitid=waitid@entry=0xffffffff81000000 "vmpfw")', ("vmpfw", None)),
        ('sleeplk (lk=0xfffff80012345678, flags=1, wmesg=wmesg@entry=0xffffffff8118e1a5 "zfs")', ("zfs", 0xFFFFF80012345678)),
        ("_cv_timedwait_sig_sbt (cvp=0xfffff80012345678, lock=0x2)", (None, 0xFFFFF80012345678)),
        ("<signal handler called>", (None, None)),
    ],
)
def test_what_arguments_tell_of_the_wait(frame, expected):
    rest = '#3  0xffffffff80bb7f88 in _sleep (ident=0x10, wmesg=0x1 "interrupted") at b.c:1\n' if "<" in frame else ""
    thread = only(
        read(
            "#0  sched_switch (td=0xfffff80004c9a000, flags=259) at /usr/src/sys/kern/sched_ule.c:2297\n"
            f"#1  0xffffffff80bb8b85 in mi_switch (flags=259) at a.c:1\n#2  {'' if rest else '0xffffffff80bb7f88 in '}{frame}\n{rest}",
            indented=False,
        )
    )
    assert (thread.wmesg, thread.wchan) == expected


def test_who_panics_does_not_wait_for_what_it_was_about_to_wait_for():
    thread = only(
        read(
            """
            #0  __curthread () at /usr/src/sys/amd64/include/pcpu_aux.h:57
            #1  doadump (textdump=0) at /usr/src/sys/kern/kern_shutdown.c:405
            #2  0xffffffff80bb1f23 in panic (fmt=0xffffffff811e5d46 "%s") at /usr/src/sys/kern/kern_shutdown.c:970
            #3  0xffffffff80bb7f88 in _sleep (ident=0x10, wmesg=0xffffffff811a9e25 "devdrn") at /usr/src/sys/kern/kern_synch.c:150
            """
        )
    )
    assert (thread.wmesg, thread.wchan) == (None, None)


def test_a_structure_printed_with_options_over_many_lines():
    filler = "".join(f"      field{n} = {n},\n" for n in range(300))
    text = "(kgdb) print -pretty on -- *vm\n$1 = {\n  vcpu = {{\n" + filler + "      state = VCPU_IDLE\n    }, {\n"
    text += "      state = VCPU_FROZEN,\n      hostcpu = -1\n    }},\n  rendezvous_req_cpus = {\n    __bits = {0x3}\n  }\n}\n(kgdb) q\n"
    capture = read(text, indented=False)
    assert [(vcpu.id, vcpu.state) for vcpu in capture.vms[0].vcpus] == [(0, "IDLE"), (1, "FROZEN")]
    assert capture.unread == ()


def test_struct_thread_at_an_address_is_the_thread_of_that_stack():
    capture = read(
        STACKS.partition("\n")[2].partition("\n\n")[0]
        + "\n(kgdb) p *(struct thread *)0xfffff80004c9a000\n"
        '$1 = {td_tid = 100703, td_name = "mv", td_wmesg = 0xffffffff82a5a3a4 "lab sx", td_inhibitors = 2, td_state = TDS_INHIBITED}\n',
        indented=False,
    )
    assert (only(capture).tid, len(only(capture).frames), only(capture).wmesg) == (100703, 4, "lab sx")


SCRIPT = """\
(kgdb) ps
  pid  ppid  pgrp   uid   state   wmesg         wchan         cmd
 1234  1200  1234     0  S+     (threaded)                  bhyve
    100569   104         S       kqread   0xfffff8000a2a1b00 mevent
    100570   120         D       vmrndv   0xfffffe0000722110 vcpu 0
    100572   120         Run     CPU  2                      vcpu 2
(kgdb) stacks
  PID       TID COMM             TDNAME           KSTACK
 1234    100569 bhyve               mevent             0xfffffe0045c20000 - 0xfffffe0045c24000
(kgdb) sleepchain 100720
 thread 100720 (pid 1520, a) blocked on sx "lab sx a" XLOCK
 thread 100721 (pid 1521, b) blocked on lk "zfs" EXCL
 DEADLOCK
(kgdb) allchains
chain 1:
 thread 100700 (pid 1500, zfs) blocked on lock 0xfffff80003a01234 "zfsvfs lock"
 thread 100702 (pid 1502, cp) running on CPU 3
chain 2:
 thread 100701 (pid 1501, tar) blocked on lock 0xfffff80003a01234 "zfsvfs lock"
 thread 100702 (pid 1502, cp) running on CPU 3
(kgdb) mtx_owner 0xfffff80003a01234
td: 0xfffff80004c98000
pid: 1502, p_comm: cp
(kgdb) runtds
CPU ticks pri    tid     pid   cmd
  0     1 255    100003    11 [idle]
(kgdb) uptime
Uptime: 1d2h3m4s
"""


def test_the_widespread_script():
    capture = read(SCRIPT, indented=False)
    assert [(thread.pid, thread.tid, thread.command, thread.name, thread.state, thread.cpu) for thread in capture.threads] == [
        (1234, 100569, "bhyve", "mevent", "sleeping", None),
        (1234, 100570, "bhyve", "vcpu 0", "sleeping", None),
        (1234, 100572, "bhyve", "vcpu 2", "running", 2),
        (1520, 100720, "a", None, "sleeping", None),
        (1521, 100721, "b", None, "sleeping", None),
        (1500, 100700, "zfs", None, "lock", None),
        (1502, 100702, "cp", None, "running", 3),
        (1501, 100701, "tar", None, "lock", None),
        (11, 100003, "idle", None, "running", 0),
    ]
    assert capture.unread == ()
    found = [(finding.verdict, [capture.threads[index].tid for index in finding.threads]) for finding in diagnose(capture).findings]
    assert ("deadlock", [100720, 100721]) in found
    assert ("contention", [100700, 100701]) in found


def test_a_chain_of_twenty_links_is_no_cycle():
    links = "".join(f' thread {100700 + n} (pid {n}, p{n}) blocked on lock 0xfffff80003a0{n:04x} "l{n}"\n' for n in range(20))
    capture = read(f"(kgdb) lockchain 100700\n{links} DEADLOCK\n", indented=False)
    assert capture.locks[-1].owner is None
    assert all(finding.verdict != "deadlock" for finding in diagnose(capture).findings)


MI = r"""
(gdb)
12-thread-info
12^done,threads=[{id="3",target-id="Thread 100571",details="PID=1234: bhyve/vcpu 1",frame={level="0",addr="0xffffffff80b1a2b3",func="sched_switch",args=[{name="td",value="0xfffff80004c99000"}],file="/usr/src/sys/kern/sched_ule.c",line="2297"},state="stopped"},{id="2",target-id="Thread 100570",details="PID=1234: bhyve/vcpu 0",frame={level="0",addr="0xffffffff80b1a2b3",func="sched_switch",args=[]},state="stopped"}],current-thread-id="3"
(gdb)
-stack-list-frames --thread 3
^done,stack=[frame={level="0",addr="0xffffffff80b1a2b3",func="sched_switch",file="/usr/src/sys/kern/sched_ule.c",line="2297",arch="i386:x86-64"},frame={level="1",addr="0xffffffff80b1c2b3",func="mi_switch"},frame={level="2",addr="0xffffffff80b1e2b3",func="msleep_spin_sbt"},frame={level="3",addr="0xffffffff82a2e0f3",func="vcpu_set_state_locked"},frame={level="4",addr="0xffffffff82a31e20",func="vmmdev_ioctl",from="/boot/kernel/vmm.ko"},frame={level="5",addr="0x00001bfb8b57c40a",func="??"}]
(gdb)
-stack-list-arguments 1
^done,stack-args=[frame={level="0",args=[{name="td",value="0xfffff80004c99000"}]},frame={level="1",args=[]},frame={level="2",args=[{name="ident",value="0xfffffe0000723020"},{name="wmesg",value="0xffffffff8216a1c2 \"vmstat\""}]}]
(gdb)
-interpreter-exec console "thread apply 2 bt"
~"\nThread 2 (Thread 100570):\n"
~"#0  sched_switch (td=0xfffff80004c98000, flags=259) at /usr/src/sys/kern/sched_ule.c:2297\n"
~"#1  0xffffffff80b1d2b3 in _sleep (ident=ident@entry=0xfffffe0000722110, wmesg=0xffffffff8216a1a1 \"vmrndv\", sbt=0) at /usr/src/sys/kern/kern_synch.c:218\n"
&"warning: something\n"
~"#2  0xffffffff80b1e2b3 in vm_handle_rendezvous ("
~"vm=0xfffffe0000722000, vcpuid=0) at /usr/src/sys/amd64/vmm/vmm.c:1136\n"
^done
(gdb)
=thread-selected,id="2"
*stopped,frame={addr="0x1",func="foo",args=[]},thread-id="2",stopped-threads="all"
-data-evaluate-expression vm->rendezvous_req_cpus
^done,value="{__bits = {3, 0}}"
^error,msg="No symbol \"x\" in current context."
(gdb)
"""


def test_machine_interface():
    capture = read(MI.lstrip(), indented=False)
    assert [(thread.pid, thread.tid, thread.name, thread.wmesg, functions(thread)) for thread in capture.threads] == [
        (1234, 100571, "vcpu 1", "vmstat", ["sched_switch", "mi_switch", "msleep_spin_sbt", "vcpu_set_state_locked", "vmmdev_ioctl"]),
        (1234, 100570, "vcpu 0", "vmrndv", ["sched_switch", "_sleep", "vm_handle_rendezvous"]),
    ]
    assert capture.threads[0].frames[2].argument("ident") == "0xfffffe0000723020"
    assert capture.threads[0].frames[4].module == "/boot/kernel/vmm.ko"
    assert capture.threads[1].where[-1][1:] == (12, 17)
    assert capture.vms[0].requested == {0, 1}
    assert capture.unread == ()


def test_records_that_end_early():
    assert parse_record('threads=[{id="3",frame={level="0"') == {"threads": [{"id": "3", "frame": {"level": "0"}}]}
    assert parse_record("a=" + "{" * 500) != {}
    assert unescape(r"\"a\\b\"\n\303\244") == '"a\\b"\nä'


def test_a_structure_among_the_arguments():
    thread = only(
        read(
            """
            #0  sched_switch (td=0x1) at /usr/src/sys/kern/sched_ule.c:1
                    buf = "two\\nlines #1 (\\000"
                    evts = {{
                        ident = 1
                      }, {
                        ident = 2
                      }}
            #1  0xffffffff82a31e20 in foo (req={
                  a = 1,
                  name = "x (y) #3 z",
                  b = {
                    c = 0x0
                  }
                }, fmt=0xffffffff811f87ca "Assertion %s (", ch=40 '(')
                at /usr/src/sys/kern/foo.c:520
            #2  0xffffffff82a31e21 in bar () at /usr/src/sys/kern/foo.c:530
            """
        )
    )
    assert functions(thread) == ["sched_switch", "foo", "bar"]
    assert [name for name, value in thread.frames[1].args] == ["req", "fmt", "ch"]
    assert thread.frames[1].line == 520


VNODES = """\
Thread 2 (Thread 100810 (PID=1500: rsync)):
#0  sched_switch (td=0xfffffe00b3b41000, flags=259) at /usr/src/sys/kern/sched_ule.c:2290
#1  0xffffffff80b04d5c in mi_switch (flags=259) at /usr/src/sys/kern/kern_synch.c:546
#2  0xffffffff80b08761 in sleeplk (lk={one}, flags=524544, wmesg=0xffffffff811a6cc1 "zfs") at /usr/src/sys/kern/kern_lock.c:303
#3  0xffffffff80b09ab8 in lockmgr_xlock_hard (lk={one}, flags=524544) at /usr/src/sys/kern/kern_lock.c:802
#4  0xffffffff80b0c166 in VOP_LOCK1 (vp=0xfffff8012a4c7000, flags=524544) at /usr/src/sys/vnode_if.h:1100
#5  _vn_lock (vp=0xfffff8012a4c7000, flags=524288) at /usr/src/sys/kern/vfs_vnops.c:1820

Thread 1 (Thread 100811 (PID=1501: mv)):
#0  sched_switch (td=0xfffffe00b3b42000, flags=259) at /usr/src/sys/kern/sched_ule.c:2290
#1  0xffffffff80b04d5c in mi_switch (flags=259) at /usr/src/sys/kern/kern_synch.c:546
#2  0xffffffff80b08761 in sleeplk (lk={two}, flags=524544, wmesg=0xffffffff811a6cc1 "zfs") at /usr/src/sys/kern/kern_lock.c:303
#3  0xffffffff80b09ab8 in lockmgr_xlock_hard (lk={two}, flags=524544) at /usr/src/sys/kern/kern_lock.c:802
#4  _vn_lock (vp=0xfffff8012a4c8000, flags=524288) at /usr/src/sys/kern/vfs_vnops.c:1820
"""


@pytest.mark.parametrize("places", [("0xfffff8012a4c7070", "0xfffff8012a4c8070"), ("<optimized out>",) * 2])
@pytest.mark.parametrize(
    "printed",
    [
        "(kgdb) p ((struct vnode *)0xfffff8012a4c7000)->v_lock\n$1 = {lock_object = {lo_name = 0xffffffff8240a1c1 \"zfs\", "
        "lo_flags = 112721920}, lk_lock = 18446741877701222404}\n",
        "(kgdb) p/x ((struct vnode *)0xfffff8012a4c7000)->v_lock.lk_lock\n$1 = 0xfffffe00b3b42004\n",
        "(kgdb) p *(struct vnode *)0xfffff8012a4c7000\n$1 = {v_type = VDIR, v_lock = {lock_object = {lo_name = 0xffffffff8240a1c1 "
        "\"zfs\"}, lk_lock = 18446741877701222404}, v_vnlock = 0xfffff8012a4c7070}\n",
    ],
)
def test_a_vnode_s_lock_is_that_of_whoever_locks_the_vnode(places, printed):
    text = VNODES.format(one=places[0], two=places[1]) + printed
    diagnosis = analysed(text)
    assert {(edge.waiter, edge.holder, edge.certainty) for edge in diagnosis.edges} == {(0, 1, "observed")}
    both = analysed(text + "(kgdb) p/x ((struct vnode *)0xfffff8012a4c8000)->v_lock.lk_lock\n$2 = 0xfffffe00b3b41006\n")
    assert (both.findings[0].verdict, both.findings[0].certainty) == ("deadlock", "proven")


def test_another_vnode_s_lock_says_nothing():
    stacked = (
        "(kgdb) p *(struct vnode *)0xfffff8012a4c7000\n$1 = {v_type = VDIR, v_lock = {lk_lock = 18446741877701222404}, "
        "v_vnlock = 0xfffff8012a4f0070}\n"  # nullfs uses the lock of the vnode below
    )
    text = VNODES.format(one="<optimized out>", two="0xfffff8012a4c8070") + stacked
    assert analysed(text).edges == ()


def test_a_mutex_s_word_is_that_of_the_lock_that_a_thread_blocks_on():
    text = STACKS.replace("owner=0xfffff80004c9a000", "owner=<optimized out>")
    text += "(kgdb) p/x ((struct mtx *)0xfffff800031a4500)->mtx_lock\n$1 = 0xfffff80004c9a002\n"
    assert {(edge.waiter, edge.holder, edge.certainty) for edge in analysed(text).edges} == {(1, 0, "observed")}


def test_a_table_right_behind_a_value_is_none_of_it():
    table = procstat(vcpus("joined", "joined", "lock one"))
    capture = read("(kgdb) p vm->vcpu[2].reqidle\n$6 = 0\n" + table, indented=False)
    assert [thread.tid for thread in capture.threads] == [100860, 100861, 100862]
    assert [(vcpu.id, vcpu.reqidle) for vcpu in capture.vms[0].vcpus] == [(2, False)]
