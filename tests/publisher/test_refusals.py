"""What a refused publication says: what was found, what is published, and the two values."""

from __future__ import annotations

import dataclasses
from datetime import timedelta

import pytest

from crlcheck.catalog.catalog import ScopeAction, Tombstone
from crlcheck.errors import (
    CrlBaseMissingError,
    CrlNotYetValidError,
    CrlRollbackError,
    CrlShrinkError,
    UnsupportedCrlError,
)
from crlcheck.publisher.operator import reset_scope
from crlcheck.publisher.rules import (
    MIN_LOST_ENTRIES,
    check_follows_removed,
    check_no_rollback,
    check_no_shrink,
    check_publishable,
    is_signer,
)
from crlcheck.types import CertificateFacts
from support.memory_store import MemoryStore
from support.pki import NOW, delta_of, make_crl
from support.publishing import CA, catalog_of, images_of, publish
from support.values import make_issuer, make_metadata

MINUTE = timedelta(minutes=1)


# ---- order -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("offered", "published", "how"),
    [
        ((16, 0), (17, 0), "CRL 16 of CN=CA is not newer than the published CRL 17 of CN=CA: "
         "it has a lower number"),
        ((17, 0), (17, 0), "it has the same number"),
        ((17, 1), (17, 0), "it has the same number and other contents"),
        ((None, 1), (17, 0), "the CRL of CN=CA is not newer than the published CRL 17 of CN=CA: "
         "it has no CRL number any more"),
        ((None, 0), (None, 0), "it has the same thisUpdate (2026-03-01T00:00:00Z, published "
         "2026-03-01T00:00:00Z)"),
        ((18, -1), (17, 0), "it has an earlier thisUpdate (2026-02-28T23:59:00Z, published "
         "2026-03-01T00:00:00Z)"),
    ],
)  # fmt: skip
def test_a_rollback_says_in_what(
    offered: tuple[int | None, int], published: tuple[int | None, int], how: str
) -> None:
    """Which of number and time falls behind, with both values."""
    new, old = (
        make_metadata(
            crl_number=number, this_update=NOW + minutes * MINUTE, tbs_digest=f"sha256:{minutes:02}"
        )
        for number, minutes in (offered, published)
    )
    with pytest.raises(CrlRollbackError) as caught:
        check_no_rollback(new, old)
    assert str(caught.value).endswith(how)


def test_a_removed_scope_is_said_to_be_removed() -> None:
    """Its CRL is not in the catalog any more, so the message says when it went."""
    removed = Tombstone(
        ScopeAction.REMOVED, NOW, "", make_metadata(crl_number=17), None, accepts_any=False
    )
    message = "not newer than the published \\(and removed on 2026-03-01T00:00:00Z\\) CRL 17"
    with pytest.raises(CrlRollbackError, match=message):
        check_follows_removed(make_metadata(crl_number=16), removed)
    check_follows_removed(make_metadata(crl_number=18), removed)
    delta = make_metadata(crl_number=20, base_crl_number=17)
    with_delta = dataclasses.replace(removed, delta=delta)
    with pytest.raises(CrlRollbackError, match="\\(and removed on .*\\) delta CRL 20"):
        check_follows_removed(make_metadata(crl_number=19), with_delta)
    check_follows_removed(make_metadata(crl_number=20), with_delta)


@pytest.mark.parametrize(
    ("certificate", "expected"),
    [
        (make_issuer(), True),
        (make_issuer(key="another"), False),
        (make_issuer("another"), False),
        (make_issuer("another", "another"), False),
        (dataclasses.replace(make_issuer(), key_usage=1 << 5), False),
    ],
)
def test_who_signed_a_crl(certificate: CertificateFacts, expected: bool) -> None:
    """A certificate of its issuer's name, with the key that verified it, for signing CRLs."""
    assert is_signer(certificate, make_metadata()) is expected


# ---- time ------------------------------------------------------------------------


def test_a_crl_of_the_future_is_told_apart_from_the_clock() -> None:
    """It is refused beyond the skew; message and error have both times."""
    crl = make_metadata(this_update=NOW)
    check_publishable(crl, NOW - MINUTE, MINUTE)
    late = NOW - MINUTE - timedelta(seconds=1)
    with pytest.raises(CrlNotYetValidError) as caught:
        check_publishable(crl, late, MINUTE)
    assert (caught.value.this_update, caught.value.now) == (NOW, late)
    assert str(caught.value) == (
        "CRL 17 of CN=CA has thisUpdate 2026-03-01T00:00:00Z, more than the clock skew of 0:01:00 "
        "after 2026-02-28T23:58:59Z"
    )


# ---- deltas ----------------------------------------------------------------------


def test_a_delta_without_a_number_is_unsupported() -> None:
    """RFC 5280 5.2.3; a complete CRL without one is not."""
    check_publishable(make_metadata(crl_number=None), NOW, MINUTE)
    check_publishable(make_metadata(crl_number=18, base_crl_number=17), NOW, MINUTE)
    with pytest.raises(UnsupportedCrlError) as caught:
        check_publishable(make_metadata(crl_number=None, base_crl_number=17), NOW, MINUTE)
    assert caught.value.feature == "delta_without_crl_number"
    assert "(base 17) has no CRL number" in str(caught.value)


@pytest.mark.parametrize(
    ("complete", "found", "number"),
    [(None, "none", None), (3, "CRL 3 of CN=Example CA", 3), ("no number", "the CRL of", None)],
)
def test_a_delta_without_its_base_says_what_it_needs(
    complete: int | str | None, found: str, number: int | None
) -> None:
    """The base that it names, and what is published instead."""
    store = MemoryStore()
    if complete is not None:
        publish(store, make_crl(CA, complete if isinstance(complete, int) else None))
    with pytest.raises(CrlBaseMissingError) as caught:
        publish(store, make_crl(CA, 9, extensions=[delta_of(4)]))
    assert (caught.value.base_crl_number, caught.value.published) == (4, number)
    assert "delta CRL 9 of CN=Example CA needs a complete CRL" in str(caught.value)
    assert f"number 4 or later; {found}" in str(caught.value)
    assert len(images_of(store)) == (complete is not None)


# ---- size ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "after", "refused"),
    [
        (MIN_LOST_ENTRIES, 0, False),
        (MIN_LOST_ENTRIES + 1, 0, True),
        (22, 11, False),
        (22, 12, False),
        (23, 11, True),
        (24, 12, False),
        (1000, 500, False),
        (1000, 499, True),
        (5, 500, False),
    ],
)
def test_a_crl_that_loses_most_of_its_entries_is_not_published(
    before: int, after: int, refused: bool
) -> None:
    """More than ten, and more than half; both counts are in the error."""
    old = dataclasses.replace(make_metadata(), num_entries=before)
    new = dataclasses.replace(make_metadata(crl_number=18), num_entries=after)
    if not refused:
        check_no_shrink(new, old)
        return
    with pytest.raises(CrlShrinkError) as caught:
        check_no_shrink(new, old)
    assert (caught.value.offered, caught.value.published) == (after, before)
    assert str(caught.value).startswith(
        f"CRL 18 of CN=CA has {after} entries, the published CRL 17 of CN=CA has {before:,}: not "
    )


def test_one_entry_is_an_entry() -> None:
    """A number and its noun agree, on either side."""
    old = dataclasses.replace(make_metadata(), num_entries=20)
    new = dataclasses.replace(make_metadata(crl_number=18), num_entries=1)
    with pytest.raises(CrlShrinkError, match="has 1 entry, the published CRL 17 of CN=CA has 20: "):
        check_no_shrink(new, old)


def test_the_guard_stands_at_ten_entries() -> None:
    """What the documents say."""
    assert MIN_LOST_ENTRIES == 10


# ---- what stays ------------------------------------------------------------------


def test_the_delta_of_a_reset_scope_goes_with_its_base() -> None:
    """After a reset the CA counts anew, so that no number says which delta still fits."""
    store = MemoryStore()
    scope = publish(store, make_crl(CA, 10)).scope
    publish(store, make_crl(CA, 15, [77], extensions=[delta_of(10)]))
    reset_scope(store, scope, now=NOW)
    assert catalog_of(store).scopes[scope].delta is not None
    publish(store, make_crl(CA, 11))
    assert catalog_of(store).scopes[scope].delta is None
