"""dtrace: stacks with keys, events in their order, aggregations."""

from __future__ import annotations

from tests.readers.help import functions, only, read
from tests.traces import analysed


def test_dtrace():
    capture = read(
        """
          2210   100860  bhyve
                      kernel`mi_switch+0xd2
                      kernel`_sleep+0x1f2
                      vmm.ko`vm_run+0x6b1
                      kernel`0xffffffff810633cb
                       52
        """,
        indented=False,
    )
    thread = only(capture)
    assert (thread.pid, thread.tid, thread.command) == (2210, 100860, "bhyve")
    assert [(frame.function, frame.module) for frame in thread.frames[:3]] == [
        ("mi_switch", None),
        ("_sleep", None),
        ("vm_run", "vmm.ko"),
    ]
    assert capture.unread == ()


OFF_CPU = """\
dtrace: description 'sched:::off-cpu ' matched 2 probes
CPU     ID                    FUNCTION:NAME
  2  71777                        none:off-cpu bhyve 2210 100860
              kernel`mi_switch+0xd2
              kernel`sleepq_timedwait+0x2f
              kernel`_sleep+0x1f2
              vmm.ko`vm_handle_rendezvous+0x9a
              vmm.ko`vm_run+0x6b1

  1  71777                        none:off-cpu bhyve 2210 100861
              kernel`mi_switch+0xd2
              kernel`sleepq_timedwait+0x2f
              kernel`msleep_spin_sbt+0x1f2
              vmm.ko`vcpu_set_state_locked+0x9a
              vmm.ko`vmmdev_ioctl+0x6b1
              0xffffffff810633cb

"""


def test_off_cpu_events():
    diagnosis = analysed(OFF_CPU)
    assert [(thread.pid, thread.tid, thread.command, functions(thread)) for thread in diagnosis.capture.threads] == [
        (2210, 100860, "bhyve", ["mi_switch", "sleepq_timedwait", "_sleep", "vm_handle_rendezvous", "vm_run"]),
        (2210, 100861, "bhyve", ["mi_switch", "sleepq_timedwait", "msleep_spin_sbt", "vcpu_set_state_locked", "vmmdev_ioctl", "0xffffffff810633cb"]),
    ]  # fmt: skip
    # it is not said that they did not run since
    assert (diagnosis.findings[0].verdict, diagnosis.findings[0].certainty) == ("deadlock", "possible")
    assert diagnosis.capture.unread == ()


def test_the_last_event_of_a_thread_is_where_it_is():
    later = "  2  71777                        none:off-cpu bhyve 2210 100860\n              kernel`mi_switch+0xd2\n              kernel`_sleep+0x1f2\n              kernel`kqueue_kevent+0x1\n"
    first, second = read(OFF_CPU + later, indented=False).threads
    assert (first.tid, functions(first)) == (100860, ["mi_switch", "_sleep", "kqueue_kevent"])
    assert (second.tid, len(first.where)) == (100861, 2)


AGGREGATION = """\
  bhyve                                                        2210           100860
              kernel`mi_switch+0xd2
              kernel`_sleep+0x1f2
              vmm.ko`vm_run+0x6b1
               52
  bhyve                                                        2210           100861
              kernel`mi_switch+0xd2
              kernel`_sleep+0x1f2
              kernel`kqueue_kevent
               17
  bhyve                                                        2210           100861
              kernel`mi_switch+0xd2
              kernel`turnstile_wait+0x1f2
               1
"""


def test_an_aggregation_counts_events_not_threads():
    capture = read(AGGREGATION, indented=False)
    first, second = capture.threads
    assert (first.pid, first.tid, first.command, functions(first)) == (2210, 100860, "bhyve", ["mi_switch", "_sleep", "vm_run"])
    # it was seen in two places: where it is now is not known
    assert (second.tid, functions(second), [tuple(where[1:]) for where in second.where]) == (100861, [], [(6, 10), (11, 14)])
    assert capture.unread == ()


def test_keys_behind_the_stack_and_the_stack_of_the_program():
    capture = read(
        """
                      kernel`mi_switch+0xd2
                      kernel`_sleep+0x1f2
                      vmm.ko`vm_run+0x6b1

                      libc.so.7`ioctl+0xa
                      bhyve`vm_loop+0x2f
                   100860               52

                      kernel`acpi_cpu_c1+0xb
                      kernel`cpu_idle_acpi+0x2
                     9123
        """,
        indented=False,
    )
    first, second = capture.threads
    assert (first.tid, functions(first), first.state) == (100860, ["mi_switch", "_sleep", "vm_run"], None)
    assert (second.tid, functions(second), second.state) == (None, ["acpi_cpu_c1", "cpu_idle_acpi"], "running")
    assert capture.unread == ()


def test_ustack():
    text = "pid=2210 tid=100860 execname=bhyve\n              libc.so.7`_umtx_op+0xa\n              libthr.so.3`0x800abc123\n              bhyve`blockif_thr+0x11\n"
    diagnosis = analysed(text)
    thread = only(diagnosis.capture)
    assert (thread.pid, thread.tid, thread.command) == (2210, 100860, "bhyve")
    assert functions(thread) == ["_umtx_op", "0x800abc123", "blockif_thr"]
    assert [wait.kind for wait in diagnosis.waits] == ["unknown"]
    assert diagnosis.capture.unread == ()
