"""A certificate and the intermediate one above it, by complete CRLs; no poll is due."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from cryptography import x509

import crlcheck
from benchmarks.baselines.path_checker import PathChecker
from benchmarks.clients import CLIENTS_A_ROUND, NUM_ROUNDS, Certificates, Site, as_pem, make_site
from benchmarks.record import Call, measure, timed
from crlcheck import RevocationStatus

_WARM_UP = 2
_SECONDS_A_ROUND = 0.4
_FEWEST = 4

Load = Callable[[bytes], x509.Certificate]
ENCODINGS: dict[str, Load] = {
    "DER": x509.load_der_x509_certificate,
    "PEM": x509.load_pem_x509_certificate,
}


@pytest.fixture(scope="module")
def site(checked_entries: int, tmp_path_factory: pytest.TempPathFactory) -> Site:
    """A site whose intermediate authority has a CRL of *checked_entries*."""
    return make_site(checked_entries, tmp_path_factory.mktemp("site"))


@pytest.fixture
def checker(site: Site) -> Iterator[crlcheck.RevocationChecker]:
    """A checker of the site's store that has its images and need not ask for newer ones."""
    with crlcheck.RevocationChecker(site.store, refresh_after=timedelta(days=1)) as made:
        made.preload()
        yield made


def _row(measured: str, contender: str, site: Site, variant: str, operations: int) -> Any:
    return {
        "measure": measured,
        "contender": contender,
        "kind": "random16",
        "num_entries": site.num_entries,
        "variant": variant,
        "operations": operations,
    }


def _by_check(checker: crlcheck.RevocationChecker, certificates: Certificates) -> int:
    count = 0
    for each in certificates:
        if checker.check(each).status is RevocationStatus.REVOKED:
            count += 1
    return count


def _by_check_many(checker: crlcheck.RevocationChecker, certificates: Certificates) -> int:
    count = 0
    for result in checker.check_many(certificates):
        if result.status is RevocationStatus.REVOKED:
            count += 1
    return count


def _by_set(load: Load, revoked: frozenset[int], certificates: Certificates) -> int:
    count = 0
    for each in certificates:
        if load(each).serial_number in revoked:
            count += 1
    return count


def _each_round(
    rounds: Sequence[Certificates], call: Callable[[Certificates], object]
) -> Callable[[], Call]:
    """Return a maker whose calls are about the certificates of one round after the other."""
    following = itertools.cycle(rounds)
    return lambda: partial(call, next(following))


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_check(
    benchmark: Any, site: Site, checker: crlcheck.RevocationChecker, encoding: str
) -> None:
    """
    Check one certificate after the other, beside parsing each with ``cryptography`` and
    asking a set for its serial.
    """
    _measure_ours(benchmark, site, encoding, "check", partial(_by_check, checker))


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_check_many(
    benchmark: Any, site: Site, checker: crlcheck.RevocationChecker, encoding: str
) -> None:
    """
    Check a round's certificates in one call, beside the same.
    """
    _measure_ours(benchmark, site, encoding, "check_many", partial(_by_check_many, checker))


def _measure_ours(
    benchmark: Any, site: Site, encoding: str, measured: str, call: Callable[[Certificates], int]
) -> None:
    rounds = list(map(as_pem, site.rounds)) if encoding == "PEM" else site.rounds
    parse = partial(_by_set, ENCODINGS[encoding], site.revoked)
    revoked = measure(
        benchmark,
        _row(measured, "crlcheck", site, encoding, CLIENTS_A_ROUND),
        _each_round(rounds, call),
        beside={"parse_and_set": _each_round(rounds, parse)},
        rounds=NUM_ROUNDS - _WARM_UP,
        warmup_rounds=_WARM_UP,
    )
    assert revoked == CLIENTS_A_ROUND // 2


def test_peer(benchmark: Any, site: Site, peer: PathChecker) -> None:
    """
    Have a peer check the same certificates, beside the same; fewer of them where it is slow.
    """
    with peer.open(site) as prepare:
        first = prepare(site.rounds[-1][:_FEWEST])
        first()  # whatever is made only once
        each = timed(prepare(site.rounds[-1][_FEWEST : 2 * _FEWEST])) / _FEWEST
        count = max(_FEWEST, min(CLIENTS_A_ROUND, int(_SECONDS_A_ROUND / each))) // 2 * 2
        rounds = [certificates[:count] for certificates in site.rounds]
        parse = partial(_by_set, ENCODINGS["DER"], site.revoked)
        following = itertools.cycle(rounds)
        revoked = measure(
            benchmark,
            _row("check_peer", peer.name, site, "DER", count),
            lambda: prepare(next(following)),
            beside={"parse_and_set": _each_round(rounds, parse)},
            rounds=5,
            warmup_rounds=_WARM_UP,
        )
    assert revoked == count // 2
