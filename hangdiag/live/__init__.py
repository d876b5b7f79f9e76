"""Reads a live kernel (or a crash dump) through a debugger or a console, and ends in a Capture.

``memory`` is the small interface that everything else stands on; ``walker`` turns a
:class:`~hangdiag.live.memory.KernelMemory` into a :class:`~hangdiag.model.Capture` and knows no
debugger; ``gdb_memory`` is that interface over GDB/MI (``mi``, behind ``gate``); ``attach``
opens the ways in; ``ddb_console`` drives a ``db>`` prompt.
"""
