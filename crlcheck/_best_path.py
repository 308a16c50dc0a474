"""
Find the best of alternative paths in a graph of issuers. Pure: what a step is
worth is told by the caller.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Hashable, Mapping, Sequence
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
    Return the results on the best path from *start* up, from its foot; every node
    has a way.

    A way that is not checked counts only where no checked way of the same node is
    BAD: nobody can say of it what was found of the other. A path that leads round
    in a circle does not end. It counts only where no path ends and nothing BAD is
    found on the way.

    The work is polynomial in the graph, whatever circles there are in it.
    """
    return _Search(start, ways_of).best(start)


class _Search(Generic[NodeT, ResultT]):
    """
    The part of the graph above a node. ``_open`` are the nodes whose unchecked ways
    count, ``_passing`` those from which a path ends that is not BAD, ``_bad`` those
    from which nothing but BAD ones and circles lead, each with its way.
    """

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
        # Opened as far as nothing BAD was found beside them, so that two nodes cannot
        # excuse each other.
        self._open = {
            node for node, ways in self._graph.items() if not any(way.is_checked for way in ways)
        }
        opened: set[NodeT] | None = None
        while opened is None or opened:
            opened = {node for node in self._graph if node not in self._open and self._opens(node)}
            self._open |= opened
        self._passing = self._ending(DOUBTFUL)
        self._bad = self._find_bad(self._passing)

    def best(self, start: NodeT) -> list[ResultT]:
        """Return the results on the best path from *start*."""
        for found in (self._ending(GOOD), self._passing, self._bad):
            if start in found:
                return self._results(start, found)
        for severity in (GOOD, DOUBTFUL):
            circle = self._circling(severity)
            if start in circle:
                return self._results(start, circle)
        raise ValueError("a node has no way")

    def _opens(self, node: NodeT) -> bool:
        """Whether no checked way of a node is BAD, not counting what leads back to the node."""
        ways = self._graph[node]
        if all(way.is_checked for way in ways):
            return False
        bad = self._find_bad(self._ending(DOUBTFUL, without=node), without=node)
        return not any(
            way.is_checked and (way.severity == BAD or any(above in bad for above in way.above))
            for way in ways
        )

    def _may_use(self, node: NodeT, way: Way[NodeT, ResultT], severity: int) -> bool:
        return way.severity <= severity and (way.is_checked or node in self._open)

    def _ending(
        self, severity: int, *, without: NodeT | None = None
    ) -> dict[NodeT, Way[NodeT, ResultT]]:
        """Return the nodes from which a path of that severity at most ends."""
        return self._grown(
            lambda found, node, way: (
                node != without
                and self._may_use(node, way, severity)
                and all(above in found for above in way.above)
            )
        )

    def _find_bad(
        self, passing: Container[NodeT], *, without: NodeT | None = None
    ) -> dict[NodeT, Way[NodeT, ResultT]]:
        """Return the nodes that are not *passing* and have a BAD way."""
        return self._grown(
            lambda found, node, way: (
                node != without
                and node not in passing
                and way.is_checked
                and (way.severity == BAD or any(above in found for above in way.above))
            )
        )

    def _grown(
        self,
        belongs: Callable[[dict[NodeT, Way[NodeT, ResultT]], NodeT, Way[NodeT, ResultT]], bool],
    ) -> dict[NodeT, Way[NodeT, ResultT]]:
        """Return the least set of nodes with a way that *belongs* to what is found so far."""
        found: dict[NodeT, Way[NodeT, ResultT]] = {}
        before = -1
        while len(found) > before:
            before = len(found)
            for node, ways in self._graph.items():
                if node not in found:
                    way = next((one for one in ways if belongs(found, node, one)), None)
                    if way is not None:
                        found[node] = way
        return found

    def _circling(self, severity: int) -> dict[NodeT, Way[NodeT, ResultT]]:
        """
        Return the nodes from which ways of that severity at most end, or lead on for
        ever past nodes from which none ends.
        """
        ending = self._ending(severity)
        kept = dict(ending)
        for node, ways in self._graph.items():
            if ways and node not in self._passing and node not in self._bad:
                kept[node] = ways[0]
        before = len(kept) + 1
        while len(kept) < before:
            before = len(kept)
            for node in [one for one in kept if one not in ending]:
                ways = [
                    way
                    for way in self._graph[node]
                    if self._may_use(node, way, severity)
                    and all(above in kept for above in way.above)
                ]
                if ways:
                    kept[node] = ways[0]
                else:
                    del kept[node]
        return kept

    def _results(self, start: NodeT, found: Mapping[NodeT, Way[NodeT, ResultT]]) -> list[ResultT]:
        results: list[ResultT] = []
        waiting = [start]
        seen: set[NodeT] = set()
        while waiting:
            node = waiting.pop(0)
            if node not in seen and node in found:
                seen.add(node)
                way = found[node]
                if way.result is not None:
                    results.append(way.result)
                waiting.extend(way.above)
        return results
