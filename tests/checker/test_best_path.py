"""The best of alternative paths, against the rule spelled out as a recursion."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crlcheck.checker.best_path import BAD, DOUBTFUL, GOOD, Way, best_path

Graph = Mapping[int, Sequence[Way[int, int]]]


def way(severity: int, *above: int, is_checked: bool = True) -> Way[int, int]:
    """A way whose result is its severity."""
    return Way(severity, severity, above, is_checked)


UNCHECKED = way(GOOD, is_checked=False)


def worst_on_best_path(graph: Graph, start: int = 0) -> int:
    """How severe the best path is."""
    return max(best_path(start, graph.__getitem__), default=GOOD)


def spelled_out(graph: Graph, node: int, passed: frozenset[int] = frozenset()) -> tuple[int, bool]:
    """
    Try every path that does not come back to a node; return how severe the best one
    is, and whether it only leads round in a circle. This may take exponential time.
    """
    if node in passed:
        return GOOD, True
    checked: list[int] = []
    unchecked: list[int] = []
    circles: list[int] = []
    for one in graph[node]:
        above = [spelled_out(graph, next_node, passed | {node}) for next_node in one.above]
        severity = max([one.severity, *(found for found, _ in above)])
        is_circle = severity != BAD and any(found for _, found in above)
        ways = circles if is_circle else checked if one.is_checked else unchecked
        ways.append(severity)
    if BAD in checked:
        return min(checked), False
    ended = checked + unchecked
    return (min(ended), False) if ended else (min(circles), True)


severities = st.sampled_from([GOOD, GOOD, DOUBTFUL, BAD])
NUM_NODES = 6


@st.composite
def graphs(draw: st.DrawFn, *, may_circle: bool, may_mix: bool) -> Graph:
    """Ways lead anywhere, or to nodes of higher numbers only."""
    graph: dict[int, list[Way[int, int]]] = {}
    for node in range(NUM_NODES):
        others = range(0 if may_circle else node + 1, NUM_NODES)
        above = (
            st.lists(st.sampled_from(others), max_size=2, unique=True) if others else st.just([])
        )
        num_checked = draw(st.integers(0, 3))
        num_unchecked = 1 if num_checked == 0 else draw(st.integers(0, may_mix))
        unchecked = st.sampled_from([GOOD, DOUBTFUL])
        graph[node] = [way(draw(severities), *draw(above)) for _ in range(num_checked)]
        graph[node] += [way(draw(unchecked), is_checked=False) for _ in range(num_unchecked)]
    return graph


@given(graphs(may_circle=False, may_mix=True) | graphs(may_circle=True, may_mix=False))
def test_the_best_path_is_what_trying_all_of_them_gives(graph: Graph) -> None:
    """
    With unchecked ways beside checked ones, and with circles.
    """
    assert worst_on_best_path(graph) == spelled_out(graph, 0)[0]


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
    leads nowhere. What is bad on it is not excused.
    """
    for severity in (GOOD, DOUBTFUL):
        ring = {0: [way(severity, 1), UNCHECKED], 1: [way(GOOD, 0), UNCHECKED]}
        assert worst_on_best_path(ring) == GOOD
    assert worst_on_best_path({0: [way(BAD, 1), UNCHECKED], 1: [way(GOOD, 0)]}) == BAD
    assert worst_on_best_path({0: [way(GOOD, 1), UNCHECKED], 1: [way(BAD, 0)]}) == BAD
    assert worst_on_best_path({0: [way(GOOD, 1), way(BAD), UNCHECKED], 1: [way(GOOD, 0)]}) == BAD


def test_two_nodes_do_not_excuse_each_other() -> None:
    """
    The only way on from the second that is no circle is bad, so the first one's
    unchecked way does not count, although the second could go through it.
    """
    second = [way(BAD), way(GOOD, 0)]
    assert worst_on_best_path({0: [way(GOOD, 1), UNCHECKED], 1: second}) == BAD
    graph = {0: [way(GOOD, 1), way(DOUBTFUL), UNCHECKED], 1: second}
    assert worst_on_best_path(graph) == DOUBTFUL


def test_a_circle_alone_clears_nobody_of_what_is_on_it() -> None:
    """
    And denies nobody by itself.
    """
    for severity in (GOOD, DOUBTFUL, BAD):
        assert worst_on_best_path({0: [way(GOOD, 1)], 1: [way(severity, 0)]}) == severity


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


# ---- circles -----------------------------------------------------------------------------


def test_the_best_of_several_circles_counts() -> None:
    """
    Where no path ends, the least severe way round is taken, whichever comes first.
    """
    assert worst_on_best_path({0: [way(DOUBTFUL, 0), way(GOOD, 0)]}) == GOOD
    assert worst_on_best_path({0: [way(DOUBTFUL, 0)]}) == DOUBTFUL
    assert worst_on_best_path({0: [way(GOOD, 1)], 1: [way(DOUBTFUL, 0), way(GOOD, 1)]}) == GOOD


def test_a_circle_of_unchecked_ways_says_nothing() -> None:
    """
    Nothing could be found against them, and nothing was.
    """
    unchecked = way(GOOD, 0, is_checked=False)
    assert best_path(0, {0: [unchecked]}.__getitem__) == [GOOD]


def test_a_circle_stands_in_for_no_path_that_ends() -> None:
    """
    A node from which a path ends has that path's severity, also where another node
    only circles beside it.
    """
    graph = {0: [way(GOOD, 0, 1)], 1: [way(DOUBTFUL), way(GOOD, 1)]}
    assert worst_on_best_path(graph) == DOUBTFUL == spelled_out(graph, 0)[0]
    bad = {0: [way(GOOD, 0, 1)], 1: [way(BAD), way(GOOD, 1)]}
    assert worst_on_best_path(bad) == BAD == spelled_out(bad, 0)[0]


def test_a_node_without_way_is_misuse() -> None:
    """
    Whoever makes the graph says where a path ends.
    """
    with pytest.raises(ValueError, match="a node has no way"):
        best_path(0, {0: ()}.__getitem__)
