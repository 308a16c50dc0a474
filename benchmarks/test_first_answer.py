"""From the bytes of a CRL to the first answer about a serial, verified."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from benchmarks.baselines.interface import Lookups
from benchmarks.baselines.java import Java
from benchmarks.baselines.limits import hash_in_memory
from benchmarks.first_answer import (
    MAX_ENTRIES,
    PEERS,
    Answerer,
    JavaAnswer,
    by_crlcheck,
    load_and_verify,
)
from benchmarks.record import Call, Maker, measure
from benchmarks.workloads import SEED, Workload, make_workload

_ROUNDS = ((1_000, 51), (10_000, 31), (100_000, 11), (1_000_000, 5))
"""Of CRLs of up to so many entries, so many."""


def test_first_answer(benchmark: Any, crl_entries: int, listed: bool) -> None:
    """
    Load a CRL and ask about one serial, beside every fast peer.

    All are asked about the same serial in a round, another in each round. What a round
    has loaded is given up untimed.
    """
    workload = make_workload("random16", crl_entries)
    crl = workload.crl.read_bytes()
    certificate = x509.load_pem_x509_certificate(workload.issuer.read_bytes())
    issuer = certificate.public_bytes(Encoding.DER)
    rounds = _rounds(crl_entries)
    serials = _serials(workload, rounds + 2, listed=listed)
    answers: list[bool] = []

    def asking(made_for: Callable[[bytes], Answerer]) -> Maker:
        return _loading(partial(made_for(issuer), crl), iter(serials), answers)

    with _java(workload) as in_java:
        beside: dict[str, Maker] = {
            name: asking(peer)
            for name, peer in PEERS.items()
            if crl_entries <= MAX_ENTRIES.get(name, crl_entries)
        }
        if in_java is not None:
            own = iter(serials)
            beside["java"] = lambda: in_java.prepare(next(own))
        load = load_and_verify(issuer)
        beside["load_and_verify"] = lambda: partial(load, crl)
        beside["hash_in_memory"] = lambda: partial(hash_in_memory, crl)
        measure(
            benchmark,
            {
                "measure": "first_answer",
                "contender": "crlcheck",
                "kind": "random16",
                "num_entries": crl_entries,
                "variant": "listed" if listed else "not listed",
                "figures": {"source_size": len(crl)},
            },
            asking(by_crlcheck),
            beside=beside,
            rounds=rounds,
            warmup_rounds=1 if crl_entries > 1_000_000 else 2,
        )
    assert set(answers) == {listed}


def _rounds(num_entries: int) -> int:
    return next((count for most, count in _ROUNDS if num_entries <= most), 2)


def _serials(workload: Workload, count: int, *, listed: bool) -> list[int]:
    rng = np.random.default_rng([SEED, workload.num_entries])
    drawn = workload.serials
    return drawn.members(rng, count) if listed else drawn.non_members(rng, count)


def _loading(
    answer: Callable[[int], tuple[object, bool]], serials: Iterator[int], answers: list[bool]
) -> Maker:
    """Return a maker whose calls keep what they load until the next one is made."""
    kept: list[object] = []

    def make() -> Call:
        for each in kept:
            if isinstance(each, Lookups):
                each.close()
        kept.clear()
        serial = next(serials)

        def call() -> None:
            loaded, is_listed = answer(serial)
            kept.append(loaded)
            answers.append(is_listed)

        return call

    return make


@contextmanager
def _java(workload: Workload) -> Iterator[JavaAnswer | None]:
    """Have a virtual machine that has loaded some CRLs; None where there is none."""
    java = Java()
    if java.absent() or workload.num_entries > Java.max_entries:
        yield None
        return
    java.start()
    try:
        small = make_workload("random16", 1000)
        for _ in range(200):
            java.load(small.crl, small.issuer)
        yield JavaAnswer(java, workload.crl, workload.issuer)
    finally:
        java.stop()
