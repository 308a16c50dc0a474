"""
Find the best of alternative paths up a graph of issuers.

Pure: the caller says how severe each step is. A node is an issuer's key, and each of
its ways up is one certificate of that key. A path takes one way at each node, and
then all nodes to which that way leads.

1. A path is as severe as its most severe way. GOOD is better than DOUBTFUL, which is
   better than BAD.
2. An unchecked way is one that nothing could revoke. It counts only where no checked
   way of the same node is BAD, or leads to nodes that are: whatever revoked the one
   certificate could not be found for the other.
3. The best path that ends counts.
4. A path that leads round in a circle does not end. It counts only where no path ends
   and no way is BAD.

For example, a key has two certificates. One was issued by CA 1, which has revoked it:
BAD. The other was issued by CA 2 and is on no CRL: GOOD. The best path leads through
CA 2 (3). If CA 2 is unknown, because the operator trusts the certificate itself,
that way is unchecked, and the result is BAD (2).
"""

from __future__ import annotations

from collections.abc import Callable, Container, Hashable, Mapping, Sequence
from typing import Generic, NamedTuple, TypeVar

NodeT = TypeVar("NodeT", bound=Hashable)
ResultT = TypeVar("ResultT")

GOOD, DOUBTFUL, BAD = range(3)
"""How severe a result is."""


class Way(NamedTuple, Generic[NodeT, ResultT]):
    """
    One way up from a node.

    ``result`` is what is found on it, None for nothing. ``above`` are the nodes to
    which it leads, all of which count; without any the path ends. ``is_checked``
    tells that something could be found against it.
    """

    severity: int
    result: ResultT | None = None
    above: tuple[NodeT, ...] = ()
    is_checked: bool = True


def best_path(
    start: NodeT, ways_of: Callable[[NodeT], Sequence[Way[NodeT, ResultT]]]
) -> list[ResultT]:
    """
    Return the results on the best path from *start* up, the lowest first.

    Every node must have a way. The time is polynomial in the size of the graph,
    whatever circles it has.
    """
    return _Search(start, ways_of).best(start)


class _Search(Generic[NodeT, ResultT]):
    """
    The part of the graph above a node.

    ``_open`` are the nodes whose unchecked ways count (rule 2). ``_passing`` are
    those from which a path that is not BAD ends, ``_bad`` those from which only BAD
    paths and circles lead, each with its way.
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
        # Rule 2. In rounds: each opens the nodes beside whose unchecked ways nothing BAD was
        # found so far, so that two nodes cannot open each other.
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
        # Rules 1 and 3.
        for found in (self._ending(GOOD), self._passing, self._bad):
            if start in found:
                return self._results(start, found)
        # Rule 4.
        for severity in (GOOD, DOUBTFUL):
            circle = self._circling(severity)
            if start in circle:
                return self._results(start, circle)
        raise ValueError("a node has no way")

    def _opens(self, node: NodeT) -> bool:
        """Whether no checked way of a node is BAD; ways that lead back to it do not count."""
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
        """Add nodes with a way that *belongs* to those found, until there are no more."""
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
        Return the nodes from which paths of that severity at most end, or lead round
        in a circle past nodes from which none ends (rule 4).
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
