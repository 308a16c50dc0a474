"""The peers of the benchmarks that need nothing installed: they answer as crlcheck does."""

from __future__ import annotations

import sys
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

import crlcheck
from support.benchmark_package import clients, first_answer, generate, openssl_verify


@pytest.mark.parametrize("num_entries", [0, 1, 100, 3000])
def test_first_answers_agree(num_entries: int) -> None:
    """
    Whoever is timed gives the right answer, of a CRL of no entry too.
    """
    made = generate.generate_crl(num_entries, reasons=True)
    assert made.der is not None
    rng = np.random.default_rng(2)
    asked = dict.fromkeys(made.serials.non_members(rng, 3), False)
    if num_entries:
        asked |= dict.fromkeys(made.serials.members(rng, 3), True)
    answerers = {"crlcheck": first_answer.by_crlcheck, **first_answer.PEERS}
    for name, made_for in answerers.items():
        answerer = made_for(made.authority.der)
        for serial, is_listed in asked.items():
            assert answerer(made.der, serial)[1] is is_listed, name


def test_a_crl_by_another_issuer_has_no_first_answer() -> None:
    """
    Everybody verifies the signature before the answer.
    """
    made, other = generate.generate_crl(3), generate.generate_crl(3, seed=2)
    assert made.der is not None
    answerers = [first_answer.by_crlcheck, *first_answer.PEERS.values()]
    for made_for in answerers:
        with pytest.raises((ValueError, crlcheck.CrlSignatureError)):
            made_for(other.authority.der)(made.der, 1)


def test_half_of_the_clients_are_revoked(tmp_path: Path) -> None:
    """
    Of each two that follow one another one is, so half of any part of a round: by crlcheck, by
    a set of serials, and by OpenSSL, which checks the certificate above them too.
    """
    site = clients.make_site(50, tmp_path, num_rounds=1)
    (asked,) = site.rounds
    assert len(set(asked)) == clients.CLIENTS_A_ROUND
    with crlcheck.RevocationChecker(site.store, refresh_after=timedelta(days=1)) as checker:
        results = list(checker.check_many(asked))
    statuses = [result.status for result in results]
    for first, second in zip(statuses[::2], statuses[1::2], strict=True):
        assert {first, second} == {
            crlcheck.RevocationStatus.REVOKED,
            crlcheck.RevocationStatus.NOT_REVOKED,
        }
    revoked = statuses.count(crlcheck.RevocationStatus.REVOKED)
    assert revoked == clients.CLIENTS_A_ROUND // 2
    peer = openssl_verify.OpenSslVerify()
    if peer.absent():
        assert sys.platform != "linux", "the openssl command is there, and its library with it"
        return
    with peer.open(site) as prepare:
        assert prepare(asked)() == revoked
        assert prepare(asked[:10])() == 5
