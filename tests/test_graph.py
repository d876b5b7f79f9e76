"""The AND/OR graph against a brute-force oracle and networkx."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hangdiag.graph import Condition, components, cores, dependents, reduce, shortest_cycle, waiters

NODES = 7
conditions = st.dictionaries(
    st.integers(0, NODES - 1),
    st.builds(
        Condition,
        st.sampled_from(["all", "any"]),
        st.lists(st.integers(0, NODES - 1), max_size=4).map(tuple),
        st.sampled_from([False, False, False, True]),
    ),
    max_size=NODES,
)


def is_met(condition: Condition, free: set[int]) -> bool:
    if condition.open:
        return True
    if condition.mode == "all":
        return set(condition.targets) <= free
    return not free.isdisjoint(condition.targets)


def oracle(given_conditions: dict[int, Condition]) -> frozenset[int]:
    """Run every thread that can run, in rounds, until nobody can."""
    free = set(range(NODES)) - given_conditions.keys()
    while True:
        able = {
            node
            for node, condition in given_conditions.items()
            if node not in free and is_met(condition, free)
        }
        if not able:
            return frozenset(given_conditions.keys() - free)
        free |= able


@given(conditions)
def test_reduction_is_what_running_every_thread_leaves(given_conditions):
    assert reduce(given_conditions) == oracle(given_conditions)


@given(conditions, st.integers(0, NODES - 1))
def test_freeing_one_more_never_makes_anybody_stuck(given_conditions, node):
    stuck = reduce(given_conditions)
    freed = {key: value for key, value in given_conditions.items() if key != node}
    assert reduce(freed) <= stuck


@given(conditions)
def test_whoever_is_stuck_reaches_a_core(given_conditions):
    stuck = reduce(given_conditions)
    found = cores(stuck, given_conditions)
    edges = {node: given_conditions[node].targets for node in stuck}
    # an "any" without targets is stuck by itself, on no cycle
    dead_ends = [
        node for node in stuck if given_conditions[node].mode == "any" and not given_conditions[node].targets
    ]
    roots = [*dead_ends, *(node for core in found for node in core)]
    assert dependents(roots, waiters(stuck, edges)) == stuck
    for core in found:
        assert reduce({node: given_conditions[node] for node in core}) == set(core)
        cycle = shortest_cycle(core[0], core, edges)
        assert cycle[0] == cycle[-1] == core[0]
        assert set(cycle) <= set(core)
        assert all(after in given_conditions[before].targets for before, after in pairwise(cycle))


@pytest.fixture(scope="module")
def networkx():
    """Imported where it is needed: that takes longer than the tests."""
    import networkx

    return networkx


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=30))
def test_components_agree_with_networkx(networkx, pairs):
    edges: dict[int, list[int]] = {}
    for before, after in pairs:
        edges.setdefault(before, []).append(after)
    graph = networkx.DiGraph()
    graph.add_nodes_from(range(10))
    graph.add_edges_from(pairs)
    found = components(range(10), edges)
    assert sorted(found) == sorted(sorted(part) for part in networkx.strongly_connected_components(graph))
    order = {node: number for number, part in enumerate(found) for node in part}
    assert all(order[after] <= order[before] for before, after in pairs)


def test_a_diamond_is_no_cycle():
    assert (
        reduce({1: Condition("all", (2, 3)), 2: Condition("all", (4,)), 3: Condition("all", (4,))})
        == frozenset()
    )


def test_a_cycle_of_any_edges_with_a_way_out_is_no_deadlock():
    assert reduce({1: Condition("any", (2, 9)), 2: Condition("all", (1,))}) == frozenset()


def test_a_part_that_waits_for_another_deadlock_is_its_victim():
    waiting = {
        1: Condition("all", (2,)),
        2: Condition("all", (1,)),
        3: Condition("any", (4, 1)),
        4: Condition("all", (3,)),
    }
    stuck = reduce(waiting)
    assert stuck == {1, 2, 3, 4}
    assert cores(stuck, waiting) == [[1, 2]]


def test_a_long_chain_does_not_exhaust_the_stack():
    length = 50_000
    chain = {node: Condition("all", ((node + 1) % length,)) for node in range(length)}
    stuck = reduce(chain)
    assert len(stuck) == length
    assert len(cores(stuck, chain)) == 1
