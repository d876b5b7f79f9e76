"""The AND/OR waits-for graph: reduction and strongly connected parts. It knows no FreeBSD.

Nodes are whole numbers. A node with a :class:`Condition` waits for others; one without is
free. :func:`reduce` frees every node whose condition can be met by free nodes, until nothing
changes: what is left can never move (Holt 1972, "Some deadlock properties of computer
systems"; Knapp 1987 for the AND/OR model). A plain cycle proves nothing here.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Condition:
    """A node waits for all or for any one of ``targets``.

    ``open`` says that somebody who is not among the targets may meet the condition as well:
    such a node counts as free. An "all" without targets is met; an "any" without targets never is.
    """

    mode: str
    targets: tuple[int, ...]
    open: bool = False


def reduce(conditions: Mapping[int, Condition]) -> frozenset[int]:
    """The nodes that can never be freed, whatever the others do. Linear in nodes and targets."""
    waiting: dict[int, int] = {}
    blocked_by: dict[int, list[int]] = {}
    for node, condition in conditions.items():
        if condition.open:
            continue
        targets = set(condition.targets)
        blocking = [target for target in targets if target in conditions and not conditions[target].open]
        if condition.mode == "all":
            missing = len(blocking)
        else:
            # an "any" is met as soon as one target is free; it already is if some target does not wait
            missing = 1 if len(blocking) == len(targets) else 0
        if missing == 0:
            continue
        waiting[node] = missing
        for target in blocking:
            blocked_by.setdefault(target, []).append(node)
    freed = deque(node for node in conditions if node not in waiting)
    while freed:
        for node in blocked_by.get(freed.popleft(), ()):
            if node in waiting:
                waiting[node] -= 1
                if waiting[node] == 0:
                    del waiting[node]
                    freed.append(node)
    return frozenset(waiting)


def components(nodes: Iterable[int], edges: Mapping[int, Sequence[int]]) -> list[list[int]]:
    """The strongly connected parts among ``nodes``, those that others depend on first (Tarjan 1972).

    Edges to nodes outside are ignored. Iterative: a chain may be as long as there are threads.
    """
    inside = set(nodes)
    index: dict[int, int] = {}
    low: dict[int, int] = {}
    on_stack: set[int] = set()
    stack: list[int] = []
    parts: list[list[int]] = []
    for root in sorted(inside):
        if root in index:
            continue
        work = [(root, iter(edges.get(root, ())))]
        index[root] = low[root] = len(index)
        stack.append(root)
        on_stack.add(root)
        while work:
            node, targets = work[-1]
            for target in targets:
                if target not in inside:
                    continue
                if target not in index:
                    index[target] = low[target] = len(index)
                    stack.append(target)
                    on_stack.add(target)
                    work.append((target, iter(edges.get(target, ()))))
                    break
                if target in on_stack:
                    low[node] = min(low[node], index[target])
            else:
                work.pop()
                if work:
                    parent = work[-1][0]
                    low[parent] = min(low[parent], low[node])
                if low[node] == index[node]:
                    part = []
                    while True:
                        member = stack.pop()
                        on_stack.discard(member)
                        part.append(member)
                        if member == node:
                            break
                    parts.append(sorted(part))
    return parts


def cores(stuck: frozenset[int], conditions: Mapping[int, Condition]) -> list[list[int]]:
    """The deadlocks among the stuck nodes: parts on a cycle that stay stuck by themselves.

    A part whose members wait only because of another deadlock is that one's victim, not a core.
    """
    edges = {node: conditions[node].targets for node in stuck}
    found: list[list[int]] = []
    for part in components(stuck, edges):
        members = set(part)
        if len(part) == 1 and part[0] not in edges[part[0]]:
            continue
        if reduce({node: conditions[node] for node in part}) == members:
            found.append(part)
    return found


def shortest_cycle(start: int, members: Iterable[int], edges: Mapping[int, Sequence[int]]) -> list[int]:
    """A shortest way from ``start`` back to it within ``members``, as ``[start, ..., start]``; [] if none."""
    inside = set(members)
    before: dict[int, int] = {}
    queue = deque([start])
    seen = {start}
    while queue:
        node = queue.popleft()
        for target in edges.get(node, ()):
            if target == start:
                path = [node]
                while path[-1] != start:
                    path.append(before[path[-1]])
                return [*reversed(path), start]
            if target in inside and target not in seen:
                seen.add(target)
                before[target] = node
                queue.append(target)
    return []


def waiters(nodes: Iterable[int], edges: Mapping[int, Sequence[int]]) -> dict[int, list[int]]:
    """For each node, who among ``nodes`` waits for it."""
    found: dict[int, list[int]] = {}
    for node in nodes:
        for target in edges.get(node, ()):
            found.setdefault(target, []).append(node)
    return found


def dependents(roots: Iterable[int], waiting: Mapping[int, Sequence[int]]) -> frozenset[int]:
    """Everybody who waits for some root, however indirectly (roots included); ``waiting`` is from :func:`waiters`."""
    reached = set(roots)
    queue = deque(reached)
    while queue:
        for node in waiting.get(queue.popleft(), ()):
            if node not in reached:
                reached.add(node)
                queue.append(node)
    return frozenset(reached)
