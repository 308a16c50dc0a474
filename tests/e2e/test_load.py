"""Load and memory over many changes, shorter than ``make load``."""

from __future__ import annotations

import gc
import weakref
from datetime import timedelta
from pathlib import Path

import crlcheck
from crlcheck.checker.store_set import StoreSet
from support.authorizer import PKI
from support.load import run


def test_many_authorizers_answer_rightly_while_crls_are_published() -> None:
    """
    No wrong answer, none from a mixture or an older CRL after a newer, no error.
    """
    outcome = run(4, seconds=6, publish_every=1)
    assert (outcome.wrong, outcome.errors) == (0, 0)
    assert outcome.num_crls >= 4
    assert outcome.num_answers > 100


def _resident() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) << 10
    raise AssertionError("no VmRSS")


def test_memory_is_steady_over_five_hundred_changes(tmp_path: Path) -> None:
    """
    No old generation stays: each is gone when the next is in use.
    """
    store = crlcheck.LocalStore(tmp_path / "published", fsync=False)
    checker = crlcheck.RevocationChecker(store)
    revoked = [PKI.revoked.certificate.serial_number, *range(10**30, 10**30 + 2000)]
    resident: list[int] = []
    old: list[weakref.ref[object]] = []
    for number in range(1, 501):
        crl = PKI.crl(number, revoked=revoked, age=timedelta(0))
        crlcheck.publish_crl(crl, store, issuer=PKI.authority.pem)
        result = checker.check(PKI.revoked.der)
        assert result.crl_number == number
        held = checker._set
        assert isinstance(held, StoreSet)
        assert held.in_use is not None
        image = next(held.in_use.views.all_images())
        old.append(weakref.ref(image.index()))
        if number % 100 == 0:
            gc.collect()
            resident.append(_resident())
    del held, image, result
    gc.collect()
    assert sum(index() is not None for index in old) == 1
    assert resident[-1] - resident[0] < 4 << 20
