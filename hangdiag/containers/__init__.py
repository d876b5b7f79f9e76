"""What holds text: plain files, standard input, directories, tar archives, compressed files.

Nothing is ever written: members are read in memory, within :class:`Limits`.
"""

from hangdiag.containers.decode import decode
from hangdiag.containers.items import Item, open_items
from hangdiag.containers.limits import Limits

__all__ = ["Item", "Limits", "decode", "open_items"]
