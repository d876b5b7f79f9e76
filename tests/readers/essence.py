"""What a capture says, without the lines that it says it on."""

from __future__ import annotations

from dataclasses import replace

from hangdiag.model import Capture


def essence(capture: Capture) -> Capture:
    """``capture`` without line numbers, sources and unread lines: equal for equal facts."""
    return replace(
        capture,
        sources=(),
        unread=(),
        threads=tuple(
            replace(thread, where=(), stack_where=None) for thread in capture.threads
        ),
        processes=tuple(replace(process, where=()) for process in capture.processes),
        locks=tuple(replace(lock, where=None) for lock in capture.locks),
        vms=tuple(
            replace(vm, where=(), vcpus=tuple(replace(vcpu, where=None) for vcpu in vm.vcpus)) for vm in capture.vms
        ),
    )


def covered(capture: Capture, source: int = 0) -> set[int]:
    """The line numbers that belong to something that was read."""
    places = []
    for thread in capture.threads:
        places.extend(thread.where)
        if thread.stack_where is not None:
            places.append(thread.stack_where)
    for process in capture.processes:
        places.extend(process.where)
    places.extend(lock.where for lock in capture.locks if lock.where is not None)
    for vm in capture.vms:
        places.extend(vm.where)
    return {number for place in places if place.source == source for number in range(place.first, place.last + 1)}
