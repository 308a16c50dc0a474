"""
The first decision of a fresh process, and its memory, over a simulated S3.

A request takes 15 ms to its first byte, a connection as long to open, and bytes come at
90 MB/s on each connection.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from benchmarks.authorizer import HANDLER, World, peak_memory, start_and_answer, world
from benchmarks.record import Call, Maker, keep, measure
from benchmarks.slow_s3 import SlowS3, Traffic
from crlcheck.types import ImageLoading

FEW = 1_000
LOADINGS = tuple(each.value for each in ImageLoading)
_ROUNDS = 7
_WARM_UP = 1
# Each needs a page of its own at ten million entries: more than are kept.
_CLIENTS = 300


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A store with a CRL of a thousand entries."""
    with world(FEW, tmp_path_factory.mktemp("few")) as made:
        yield made


@pytest.fixture(scope="module")
def published(num_entries: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A store with a CRL of *num_entries*."""
    with world(num_entries, tmp_path_factory.mktemp("published")) as made:
        yield made


class _Decisions:
    """First decisions of processes in a world, with what each took of the network."""

    def __init__(self, proxy: SlowS3, of: World, settings: dict[str, str]) -> None:
        seen = of.through(proxy)
        self._proxy = proxy
        # One client is decided by one page, another by two.
        self._clients = iter(of.clients(_ROUNDS + _WARM_UP, of.event.parent))
        self._environ = seen.settings(metrics="false", **settings)
        self.catalog = f"{proxy.endpoint}/{of.store.removeprefix('s3://')}/catalog.json"
        self.environ = {**seen.environ, "CRLCHECK_STORE": "/no/such/directory"}
        self.traffic: list[Traffic] = []

    def make(self) -> Call:
        self._proxy.take_traffic()
        return partial(self._decide, next(self._clients))

    def _decide(self, event: Path) -> str:
        answer = start_and_answer("decision", HANDLER, str(event), environ=self._environ)
        self.traffic.append(self._proxy.take_traffic())
        return answer

    def most(self, name: str) -> int:
        """Return the most of a kind of traffic in any round after the warm-up."""
        return max(int(getattr(each, name)) for each in self.traffic[_WARM_UP:])


@pytest.mark.parametrize("loading", LOADINGS)
def test_first_decision(
    benchmark: Any, num_entries: int, loading: str, published: World, few: World
) -> None:
    """
    From the start of a process to its first decision, beside the same with a CRL of a
    thousand entries, and a process that imports the authorizer and gets the catalog.
    """
    settings = {"image_loading": loading}
    with ExitStack() as stack:
        ours, small = (
            _Decisions(stack.enter_context(SlowS3()), of, settings) for of in (published, few)
        )
        get = partial(start_and_answer, "imports_and_get", small.catalog, environ=small.environ)
        beside: dict[str, Maker] = {"few_entries": small.make, "imports_and_get": lambda: get}
        decision = measure(
            benchmark,
            _row("first_decision", num_entries, loading),
            ours.make,
            beside=beside,
            rounds=_ROUNDS,
            warmup_rounds=_WARM_UP,
        )
        names = ("round_trips", "requests", "connections", "sent")
        figures = {name: ours.most(name) for name in names}
        figures |= {f"{name}_few": small.most(name) for name in names}
    assert decision == "Allow\n"
    keep(benchmark, {"figures": {**figures, "image_size": published.image_size}})


def _row(measured: str, num_entries: int, variant: str) -> dict[str, Any]:
    return {
        "measure": measured,
        "contender": "crlcheck",
        "kind": "random16",
        "num_entries": num_entries,
        "variant": variant,
    }


@pytest.mark.parametrize("loading", LOADINGS)
def test_decision_memory(
    benchmark: Any,
    num_entries: int,
    loading: str,
    published: World,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """
    The most memory of a process that answers 300 clients, sees the next CRL published and
    answers them by that, less what the same process takes with a CRL of one entry.
    """
    settings = {"image_loading": loading}
    directory = tmp_path_factory.mktemp("clients")
    with world(1, directory) as small, SlowS3(latency=0) as proxy:
        clients = [
            of.with_clients(_CLIENTS, directory / f"{name}.json")
            for name, of in (("small", small), ("large", published))
        ]
        base = peak_memory(HANDLER, clients[0], proxy=proxy, **settings)
        peak = benchmark.pedantic(
            partial(peak_memory, HANDLER, clients[1], proxy=proxy, **settings)
        )
    figures = {"peak": peak - base, "base": base, "image_size": published.image_size}
    keep(benchmark, {**_row("decision_memory", num_entries, loading), "figures": figures})
