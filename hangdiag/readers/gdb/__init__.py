"""What gdb and kgdb print: stacks, ``info threads``, values of variables."""

from hangdiag.readers.gdb import messages, stacks, threads, values, walks

OPENERS = (
    *threads.OPENERS,
    *stacks.OPENERS,
    *walks.OPENERS,
    *values.OPENERS,
    *messages.OPENERS,
)
