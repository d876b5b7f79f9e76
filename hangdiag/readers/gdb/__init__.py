"""What gdb and kgdb print: stacks, ``info threads``, values of variables."""

from collections.abc import Mapping

from hangdiag.readers.gdb import messages, stacks, threads, values, walks


def lacks_threads(context: Mapping[str, object]) -> bool:
    """Did ``thread apply all bt``, which counts down to 1, not come to its end?"""
    numbers = context.get("gdb numbers")
    return isinstance(numbers, list) and bool(numbers) and bool(context.get("gdb apply all")) and numbers[0] > min(numbers) > 1


OPENERS = (
    *threads.OPENERS,
    *stacks.OPENERS,
    *walks.OPENERS,
    *values.OPENERS,
    *messages.OPENERS,
)
