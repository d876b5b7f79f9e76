"""What the kernel debugger ddb(4) prints, one module a group of commands."""

from hangdiag.readers.ddb import (
    chains,
    context,
    kdb,
    locks,
    pcpu,
    processes,
    stacks,
    threads,
    vnodes,
    witness,
)

OPENERS = (
    *kdb.OPENERS,
    *context.OPENERS,
    *stacks.OPENERS,
    *processes.OPENERS,
    *threads.OPENERS,
    *chains.OPENERS,
    *locks.OPENERS,
    *witness.OPENERS,
    *vnodes.OPENERS,
    *pcpu.OPENERS,
)
