"""The best of alternative paths, against the rule spelled out as a recursion."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hypothesis import given
from hypothesis import strategies as st

from crlcheck._best_path import BAD, DOUBTFUL, GOOD, Way, best_path

Graph = Mapping[int, Sequence[Way[int, int]]]


def way(severity: int, *above: int, is_checked: bool = True) -> Way[int, int]:
    """A way whose result is its severity."""
    return Way(severity, severity, above, is_checked)


UNCHECKED = way(GOOD, is_checked=False)


def worst_on_best_path(graph: Graph, start: int = 0) -> int:
    """How severe the best path is."""
    return max(best_path(start, graph.__getitem__), default=GOOD)


def spelled_out(graph: Graph, node: int, passed: frozenset[int] = frozenset()) -> int | None:
    """
    Try every path that does not come back to a node; None where none ends. With
    circles this takes exponential time.
    """
    if node in passed:
        return None
    checked: list[int] = []
    unchecked: list[int] = []
    for one in graph[node]:
        above = [spelled_out(graph, next_node, passed | {node}) for next_node in one.above]
        if None not in above:
            ways = checked if one.is_checked else unchecked
            ways.append(max([one.severity, *(severity for severity in above if severity)]))
    if BAD in checked:
        return min(checked)
    return min([*checked, *unchecked], default=None)


severities = st.sampled_from([GOOD, GOOD, DOUBTFUL, BAD])
NUM_NODES = 6


@st.composite
def acyclic_graphs(draw: st.DrawFn) -> Graph:
    """Ways lead to nodes of higher numbers only."""
    graph: dict[int, list[Way[int, int]]] = {}
    for node in range(NUM_NODES):
        higher = st.sampled_from(range(node + 1, NUM_NODES)) if node + 1 < NUM_NODES else None
        above = st.just([]) if higher is None else st.lists(higher, max_size=2, unique=True)
        graph[node] = [way(draw(severities), *draw(above)) for _ in range(draw(st.integers(0, 3)))]
        graph[node] += [
            way(draw(st.sampled_from([GOOD, DOUBTFUL])), is_checked=False)
            for _ in range(draw(st.integers(0 if graph[node] else 1, 1)))
        ]
    return graph


@st.composite
def checked_graphs(draw: st.DrawFn) -> Graph:
    """Ways lead anywhere, and nodes have either checked ways or unchecked ones."""
    nodes = st.lists(st.sampled_from(range(NUM_NODES)), max_size=2, unique=True)
    graph: dict[int, list[Way[int, int]]] = {}
    for node in range(NUM_NODES):
        if draw(st.integers(0, 3)) == 0:
            graph[node] = [way(draw(st.sampled_from([GOOD, DOUBTFUL])), is_checked=False)]
        else:
            num_ways = draw(st.integers(1, 3))
            graph[node] = [way(draw(severities), *draw(nodes)) for _ in range(num_ways)]
    return graph


@given(acyclic_graphs() | checked_graphs())
def test_the_best_path_is_what_trying_all_of_them_gives(graph: Graph) -> None:
    """
    Where a path ends, the best one decides, with and without circles beside it.
    """
    expected = spelled_out(graph, 0)
    if expected is not None:
        assert worst_on_best_path(graph) == expected


@given(checked_graphs())
def test_where_no_path_ends_the_worst_of_all_counts(graph: Graph) -> None:
    """
    A circle clears nobody who is on it, and denies nobody by itself.
    """
    if spelled_out(graph, 0) is None:
        reached, waiting = set(), [0]
        while waiting:
            node = waiting.pop()
            if node not in reached:
                reached.add(node)
                waiting += [above for one in graph[node] for above in one.above]
        expected = max(one.severity for node in reached for one in graph[node])
        assert worst_on_best_path(graph) == expected


def test_what_cannot_be_checked_does_not_excuse_what_is_bad() -> None:
    """
    Of itself or above it; among what can be checked the best counts, and beside
    what is in doubt the unchecked way passes.
    """
    assert worst_on_best_path({0: [way(BAD), UNCHECKED]}) == BAD
    assert worst_on_best_path({0: [way(GOOD, 1), UNCHECKED], 1: [way(BAD)]}) == BAD
    assert worst_on_best_path({0: [way(BAD), way(DOUBTFUL), UNCHECKED]}) == DOUBTFUL
    assert worst_on_best_path({0: [way(BAD), way(GOOD), UNCHECKED]}) == GOOD
    assert worst_on_best_path({0: [way(DOUBTFUL), UNCHECKED]}) == GOOD
    assert worst_on_best_path({0: [UNCHECKED]}) == GOOD


def test_a_way_round_does_not_count_against_the_unchecked_one() -> None:
    """
    Two keys that certify each other, each trusted directly as well: the circle
    leads nowhere. One that is bad by itself is not excused by being on a circle.
    """
    for severity in (GOOD, DOUBTFUL):
        ring = {0: [way(severity, 1), UNCHECKED], 1: [way(GOOD, 0), UNCHECKED]}
        assert worst_on_best_path(ring) == GOOD
    assert worst_on_best_path({0: [way(BAD, 1), UNCHECKED], 1: [way(GOOD, 0)]}) == BAD
    assert worst_on_best_path({0: [way(GOOD, 1), way(BAD), UNCHECKED], 1: [way(GOOD, 0)]}) == BAD


def test_a_mesh_takes_polynomial_time() -> None:
    """
    Thirty keys that all certify one another, all of them bad: trying every path
    would take longer than there is time.
    """
    keys = range(30)
    mesh = {key: [way(BAD, other) for other in keys if other != key] for key in keys}
    asked: list[int] = []

    def ways_of(key: int) -> Sequence[Way[int, int]]:
        asked.append(key)
        return mesh[key]

    assert max(best_path(0, ways_of)) == BAD
    assert sorted(asked) == list(keys)


def test_the_results_are_those_on_the_path_from_its_foot() -> None:
    """
    What is beside the path is not reported.
    """
    graph: dict[int, list[Way[int, str]]] = {
        0: [Way(GOOD, "aside", (1,)), Way(GOOD, "foot", (2,))],
        1: [Way(BAD, "bad")],
        2: [Way(GOOD, "top")],
    }
    assert best_path(0, graph.__getitem__) == ["foot", "top"]
