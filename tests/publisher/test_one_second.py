"""
Two CRLs of one second without CRL numbers: nobody can tell which is newer, and no revocation
is lost for that.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crlcheck import (
    CrlOrderUnknownError,
    CrlRollbackError,
    ReasonCode,
    rejection_cause,
    remedy_of,
    remove_scope,
    reset_scope,
)
from crlcheck.demo.pki import encode_entry, sign_crl
from crlcheck.errors import CrlBaseMissingError, UnsupportedCrlError
from crlcheck.image.index import open_index
from crlcheck.publisher.rejections import read_rejections
from support.memory_store import MemoryStore
from support.pki import DAY, NOW, delta_of
from support.publishing import CA, catalog_of, publish

HOLD, KEY_COMPROMISE = 6, 1
SECOND = NOW - DAY


def crl(revoked: Mapping[int, int | None], **options: Any) -> bytes:
    """An unnumbered CRL of that second, with serial numbers and their reasons."""
    entries = [encode_entry(serial, SECOND, reason=reason) for serial, reason in revoked.items()]
    given = {
        "this_update": SECOND, "next_update": NOW + 30 * DAY, "crl_number": None, **options
    }  # fmt: skip
    return sign_crl(CA, entries, **given)


def published(store: MemoryStore) -> dict[int, ReasonCode | None]:
    """The serial numbers that the complete CRL lists, with their reasons."""
    (record,) = catalog_of(store).scopes.values()
    with open_index(store.read(record.base.name).body) as index:
        return {entry.serial_number: entry.reason_code for entry in index.iter_entries()}


@pytest.mark.parametrize(
    ("first", "second", "is_taken"),
    [
        ({1: None}, {1: None, 2: None}, True),
        ({1: None, 2: None}, {1: None}, False),
        ({1: None}, {2: None}, False),
        ({}, {1: None}, True),
        ({1: None}, {}, False),
        ({1: HOLD}, {1: KEY_COMPROMISE}, True),
        ({1: KEY_COMPROMISE}, {1: HOLD}, False),
        ({1: KEY_COMPROMISE}, {1: HOLD, 2: None}, False),
        ({1: HOLD}, {1: HOLD, 2: HOLD}, True),
        ({1: KEY_COMPROMISE}, {1: None}, True),
    ],
)
def test_one_that_lists_all_is_taken(
    first: dict[int, int | None], second: dict[int, int | None], is_taken: bool
) -> None:
    """In either order: what is published lists all that was, for as final a reason."""
    store = MemoryStore()
    publish(store, crl(first))
    if is_taken:
        assert publish(store, crl(second)).published
        assert published(store).keys() == second.keys()
        return
    with pytest.raises(CrlOrderUnknownError) as caught:
        publish(store, crl(second), source_name="ca.crl")
    assert published(store).keys() == first.keys()
    assert (caught.value.offered, caught.value.published) == (SECOND, SECOND)
    assert "it cannot be told which is newer" in str(caught.value)
    assert rejection_cause(caught.value) == "order_unknown"
    assert "next CRL" in (remedy_of(caught.value) or "")
    (rejection,) = read_rejections(store)
    assert rejection.cause == "order_unknown"


def test_the_same_crl_again_changes_nothing() -> None:
    """It is no other CRL of that second."""
    store = MemoryStore()
    publish(store, crl({1: None}))
    assert not publish(store, crl({1: None})).published


def test_two_that_list_the_same_do_not_take_turns() -> None:
    """The one that is current for longer stays; one that lists more need not be."""
    store = MemoryStore()
    longer, shorter = NOW + 30 * DAY, NOW + 20 * DAY
    publish(store, crl({1: None}, next_update=shorter))
    assert publish(store, crl({1: None}, next_update=longer)).published
    with pytest.raises(CrlOrderUnknownError):
        publish(store, crl({1: None}, next_update=shorter))
    assert publish(store, crl({1: None, 2: None}, next_update=shorter)).published


def test_entries_that_are_repeated_list_no_more() -> None:
    """What counts is what a CRL revokes, not how many entries it has."""
    store = MemoryStore()
    longer, shorter = NOW + 30 * DAY, NOW + 20 * DAY
    publish(store, crl({1: None}, next_update=longer))
    twice = [encode_entry(1, SECOND)] * 2
    repeated = sign_crl(CA, twice, this_update=SECOND, next_update=shorter, crl_number=None)
    with pytest.raises(CrlOrderUnknownError):
        publish(store, repeated)


def test_a_final_reason_in_the_place_of_a_hold_lists_more() -> None:
    """So that no policy waives it meanwhile, although the CRL is current for less long."""
    store = MemoryStore()
    publish(store, crl({1: HOLD}, next_update=NOW + 30 * DAY))
    assert publish(store, crl({1: KEY_COMPROMISE}, next_update=NOW + 20 * DAY)).published
    assert published(store) == {1: ReasonCode.KEY_COMPROMISE}


@pytest.mark.parametrize(
    ("number", "begun", "error"),
    [(None, SECOND - DAY, CrlRollbackError), (5, SECOND - DAY, CrlRollbackError)],
)
def test_an_older_one_is_a_rollback(
    number: int | None, begun: datetime, error: type[Exception]
) -> None:
    """Where the time tells, listing more does not help."""
    store = MemoryStore()
    publish(store, crl({1: None}))
    with pytest.raises(error) as caught:
        publish(store, crl({1: None, 2: None}, this_update=begun, crl_number=number))
    assert not isinstance(caught.value, CrlOrderUnknownError)


def test_a_number_that_the_published_one_lacks_tells_nothing() -> None:
    """As between two without; and a published number is not given up."""
    store = MemoryStore()
    publish(store, crl({1: None}))
    with pytest.raises(CrlOrderUnknownError):
        publish(store, crl({2: None}, crl_number=5))
    assert publish(store, crl({1: None, 2: None}, crl_number=5)).published
    with pytest.raises(CrlRollbackError, match="no CRL number any more"):
        publish(store, crl({1: None, 2: None, 3: None}))
    with pytest.raises(CrlRollbackError, match="same number and other contents"):
        publish(store, crl({1: None, 2: None, 3: None}, crl_number=5))


def test_a_delta_without_numbers_is_not_taken() -> None:
    """A delta CRL, or its complete CRL, without a number is refused, whatever it lists."""
    store = MemoryStore()
    publish(store, crl({1: None}))
    with pytest.raises(UnsupportedCrlError):
        publish(store, crl({1: None, 2: None}, extensions=[delta_of(1)]))
    with pytest.raises(CrlBaseMissingError):
        publish(store, crl({1: None, 2: None}, crl_number=2, extensions=[delta_of(1)]))


def test_two_deltas_of_one_second_have_different_numbers() -> None:
    """The higher one is newer, and none of one number replaces another."""
    store = MemoryStore()
    publish(store, crl({1: None}, crl_number=1))
    publish(store, crl({2: None}, crl_number=2, extensions=[delta_of(1)]))
    with pytest.raises(CrlRollbackError, match="same number"):
        publish(store, crl({2: None, 3: None}, crl_number=2, extensions=[delta_of(1)]))
    assert publish(store, crl({3: None}, crl_number=3, extensions=[delta_of(1)])).published


def test_what_cannot_be_compared_is_not_taken() -> None:
    """Above the limit, and where the published image is damaged, nothing is known to be kept."""
    store = MemoryStore()
    publish(store, crl({1: None}))
    with pytest.raises(CrlOrderUnknownError):
        publish(store, crl({1: None, 2: None}), compare_up_to=1)
    (image,) = store.names("images/")
    store.write(image, store.read(image).body[:-1])
    with pytest.raises(CrlOrderUnknownError):
        publish(store, crl({1: None, 2: None}))


def test_an_operator_can_decide() -> None:
    """A reset takes either; after a removal the other one of that second does not come."""
    store = MemoryStore()
    scope = publish(store, crl({1: None})).scope
    reset_scope(store, scope, now=NOW)
    assert publish(store, crl({2: None})).published
    remove_scope(store, scope, now=NOW)
    with pytest.raises(CrlOrderUnknownError, match="removed"):
        publish(store, crl({1: None}))


REASONS = st.sampled_from([None, KEY_COMPROMISE, HOLD])
LISTED = st.dictionaries(st.integers(1, 4), REASONS, max_size=4)


@settings(deadline=None, max_examples=60)
@given(st.lists(LISTED, min_size=1, max_size=6))
def test_the_published_set_never_loses_a_revocation(offers: list[dict[int, int | None]]) -> None:
    """Whatever comes of one second, and in which order: nothing ends, and no reason weakens."""
    store = MemoryStore()
    publish(store, crl(offers[0]))
    for offered in offers[1:]:
        before = published(store)
        try:
            publish(store, crl(offered))
        except CrlOrderUnknownError:
            assert published(store) == before
        after = published(store)
        assert before.keys() <= after.keys()
        for serial, reason in before.items():
            if reason is not ReasonCode.CERTIFICATE_HOLD:
                assert after[serial] is not ReasonCode.CERTIFICATE_HOLD
