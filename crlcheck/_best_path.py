"""
Find the best of alternative paths in a graph of issuers. Pure: what a step is
worth is told by the caller.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Generic, NamedTuple, TypeVar

NodeT = TypeVar("NodeT", bound=Hashable)
ResultT = TypeVar("ResultT")

GOOD, DOUBTFUL, BAD = range(3)
"""How severe a result is: a path is as severe as the worst step on it."""


class Way(NamedTuple, Generic[NodeT, ResultT]):
    """
    One way up from a node: ``result`` is what is found on it, None for nothing, and
    ``above`` the nodes to which it leads, all of which count. Where there is none,
    the path ends. ``is_checked`` tells that something could speak against it.
    """

    severity: int
    result: ResultT | None = None
    above: tuple[NodeT, ...] = ()
    is_checked: bool = True


def best_path(
    start: NodeT, ways_of: Callable[[NodeT], Sequence[Way[NodeT, ResultT]]]
) -> list[ResultT]:
    """
    Return the results on the best path from *start* up, from its foot.

    A path ends, so it does not lead round in a circle. A way that is not checked
    counts only where no checked way of the same node is BAD: nobody can say of it
    what was found of the other. Where no path ends, every result counts.

    The work is polynomial in the graph, whatever circles there are in it.
    """
    return _Search(start, ways_of).best(start)


class _Search(Generic[NodeT, ResultT]):
    """The part of the graph above a node, and which nodes a path ends from."""

    def __init__(
        self, start: NodeT, ways_of: Callable[[NodeT], Sequence[Way[NodeT, ResultT]]]
    ) -> None:
        self._graph: dict[NodeT, Sequence[Way[NodeT, ResultT]]] = {}
        waiting = [start]
        while waiting:
            node = waiting.pop(0)
            if node not in self._graph:
                self._graph[node] = ways_of(node)
                waiting.extend(above for way in self._graph[node] for above in way.above)
        # Nodes whose checked ways all lead round in a circle have nothing but their
        # unchecked ones, unless a certificate of the same node is BAD by itself.
        ended = self._ends(self._is_alone)
        self._circular = {
            node
            for node, ways in self._graph.items()
            if node not in ended and all(way.severity != BAD for way in ways)
        }
        self._ended = self._ends(self._is_open)
        self._not_bad = self._ends(
            lambda node, way: way.severity != BAD and self._is_open(node, way)
        )

    def best(self, start: NodeT) -> list[ResultT]:
        good = self._ends(lambda node, way: way.severity == GOOD and self._counts(node, way))
        for found in (good, self._not_bad, self._ended):
            if start in found:
                return self._results(start, found)
        every = [way.result for ways in self._graph.values() for way in ways]
        return [result for result in every if result is not None]

    def _ends(
        self, may_be_used: Callable[[NodeT, Way[NodeT, ResultT]], bool]
    ) -> dict[NodeT, Way[NodeT, ResultT]]:
        """Return the nodes from which a path of such ways ends, each with its way."""
        found: dict[NodeT, Way[NodeT, ResultT]] = {}
        before = -1
        while len(found) > before:
            before = len(found)
            for node, ways in self._graph.items():
                if node not in found:
                    for way in ways:
                        if may_be_used(node, way) and all(above in found for above in way.above):
                            found[node] = way
                            break
        return found

    def _is_alone(self, node: NodeT, way: Way[NodeT, ResultT]) -> bool:
        return way.is_checked or not any(one.is_checked for one in self._graph[node])

    def _is_open(self, node: NodeT, way: Way[NodeT, ResultT]) -> bool:
        return node in self._circular or self._is_alone(node, way)

    def _counts(self, node: NodeT, way: Way[NodeT, ResultT]) -> bool:
        return self._is_open(node, way) or not any(map(self._is_bad, self._graph[node]))

    def _is_bad(self, way: Way[NodeT, ResultT]) -> bool:
        return way.is_checked and (
            way.severity == BAD
            or (
                all(above in self._ended for above in way.above)
                and any(above not in self._not_bad for above in way.above)
            )
        )

    def _results(self, start: NodeT, found: Mapping[NodeT, Way[NodeT, ResultT]]) -> list[ResultT]:
        results: list[ResultT] = []
        waiting = [start]
        seen: set[NodeT] = set()
        while waiting:
            node = waiting.pop(0)
            if node not in seen:
                seen.add(node)
                way = found[node]
                if way.result is not None:
                    results.append(way.result)
                waiting.extend(way.above)
        return results
