"""What the order of lines tells in a chain of locks: of a thread that is blocked, the next line is the lock's owner."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from itertools import pairwise

from hangdiag.text.lazy import lazy

#: A thread id and what was said of it, and the line that said it.
Link = tuple[tuple[int, str], int]
#: What is left of a link that something else was written into.
_DAMAGED = lazy(r".{0,200}?(?:\(pid|locked on|ing on|\bthr|0x[0-9a-f]{4})")


def find_owners(links: Iterable[Link], lines: list[str]) -> dict[tuple[int, str], int]:
    """The owner of the lock that each link is blocked on: the thread of the next line.

    A cycle is printed again and again: what stands right behind a link at one time tells more than what stands behind
    other messages at another. A link that two threads followed has lines missing behind it, and no owner; so may one that
    stands there twice, and not on and on, behind others.
    """
    links = list(links)
    times = Counter(link for link, _ in links)
    near: dict[tuple[int, str], set[int]] = {}
    far: dict[tuple[int, str], set[int]] = {}
    for (link, index), (after, following) in pairwise(links):
        if after == link and len(links) > 2 and times[link] == 2:
            continue
        if following == index + 1:
            near.setdefault(link, set()).add(after[0])
        elif not any(_DAMAGED.match(line) for line in lines[index + 1 : following]):
            far.setdefault(link, set()).add(after[0])
    return {link: found.pop() for link, found in {**far, **near}.items() if len(found) == 1}
