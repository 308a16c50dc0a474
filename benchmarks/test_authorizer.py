"""The authorizer: cold start, warm invocations, and memory over a change of images."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from functools import partial
from statistics import median
from typing import Any

import pytest

from benchmarks.authorizer import (
    HANDLER,
    SAMPLE,
    World,
    conditional_get,
    load_handler,
    peak_memory,
    start_and_answer,
    world,
)
from benchmarks.record import Call, keep, measure
from crlcheck.demo.s3_server import environment

_INVOCATIONS = 100


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A store with a CRL of one entry: a process that has no image to speak of."""
    with world(1, tmp_path_factory.mktemp("small")) as made:
        yield made.with_sample()


@pytest.fixture(scope="module")
def published(largest: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A store with a CRL of the largest size."""
    with world(largest, tmp_path_factory.mktemp("published")) as made:
        yield made


@pytest.fixture(scope="module")
def sampled(published: World) -> World:
    """The same with the sample's JSON, which takes longer than all else."""
    return published.with_sample()


def _row(name: str, of: World, **more: Any) -> dict[str, Any]:
    return {
        "measure": name,
        "contender": "crlcheck",
        "kind": "random16",
        "num_entries": of.num_entries,
        **more,
    }


def _made(call: Call) -> Call:
    return call


def test_cold_start(benchmark: Any, sampled: World) -> None:
    """
    From the start of a process to its first decision; beside it the sample's way,
    what the parts take, and an interpreter that gets the image by boto3.
    """
    environ = sampled.settings(metrics="false")
    nowhere = {**environ, "CRLCHECK_STORE": "/no/such/directory"}
    run = partial(start_and_answer, environ=environ)
    event = str(sampled.event)
    beside = {
        "boto3_get": partial(run, "boto3_get", sampled.image),
        "sample_json": partial(run, "decision", SAMPLE, event),
        "interpreter": partial(run, "interpreter"),
        "imports": partial(start_and_answer, "imports", environ=nowhere),
        "own_get": partial(run, "own_get"),
        "botocore_signer": partial(run, "botocore_signer"),
        "botocore_client": partial(run, "botocore_client"),
        "boto3_client": partial(run, "boto3_client"),
    }
    decision = measure(
        benchmark,
        _row("cold_start", sampled, figures={"image_size": sampled.image_size}),
        lambda: partial(run, "decision", HANDLER, event),
        beside={name: partial(_made, call) for name, call in beside.items()},
        rounds=9,
    )
    assert decision == "Allow\n"


def test_warm_invocation(benchmark: Any, published: World) -> None:
    """
    An invocation while no poll is due, its log and metrics written.
    """
    handler = load_handler(published.settings(refresh_seconds="86400"))
    event = json.loads(published.event.read_text())

    spent: list[float] = []

    def invoke() -> Any:
        started = time.process_time()
        answer: Any = None
        for _ in range(_INVOCATIONS):
            answer = handler(event, None)
        spent.append(time.process_time() - started)
        return answer

    row = _row("warm", published, variant="no poll due", operations=_INVOCATIONS)
    answer = measure(benchmark, row, lambda: invoke, rounds=15, warmup_rounds=2)
    keep(benchmark, {"figures": {"cpu": median(spent[2:]) / _INVOCATIONS}})
    assert answer["context"]["verdict"] == "not_revoked"


def test_polled_invocation(benchmark: Any, sampled: World) -> None:
    """
    An invocation whose poll is answered 304, beside a bare conditional GET and the
    sample's way.
    """
    environ = sampled.settings()
    handler = load_handler(environ)
    event = json.loads(sampled.event.read_text())
    get = conditional_get(environ, sampled.store)
    with environment(environ):
        from benchmarks.baselines import sample_authorizer

        sample_authorizer.handler(event, None)
    answer = measure(
        benchmark,
        _row("warm", sampled, variant="polled"),
        lambda: partial(handler, event, None),
        beside={
            "conditional_get": lambda: get,
            "sample_json": lambda: partial(sample_authorizer.handler, event, None),
        },
        rounds=200,
        warmup_rounds=10,
    )
    assert answer["context"]["verdict"] == "not_revoked"


@pytest.mark.parametrize("which", ["crlcheck", "sample_json"])
def test_authorizer_memory(benchmark: Any, which: str, sampled: World, small: World) -> None:
    """
    The most memory of a process over a change of the published CRL, less what the
    same process takes with a CRL of one entry.
    """
    module = {"crlcheck": HANDLER, "sample_json": SAMPLE}[which]
    base = peak_memory(module, small)
    peak = benchmark.pedantic(partial(peak_memory, module, sampled))
    row = _row("authorizer_memory", sampled)
    row["contender"] = which
    row["figures"] = {"peak": peak - base, "base": base, "image_size": sampled.image_size}
    keep(benchmark, row)
