"""The published CRL of a scope never goes back."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crlcheck.errors import CrlBaseMissingError, CrlRollbackError
from crlcheck.publisher.operator import remove_scope, reset_scope
from crlcheck.publisher.rules import check_no_rollback
from crlcheck.types import ImageMetadata
from support.memory_store import MemoryStore
from support.pki import DAY, NOW, delta_of, make_crl
from support.publishing import CA, catalog_of, publish
from support.values import make_metadata


@pytest.mark.parametrize(
    ("offered", "published", "values"),
    [
        ((16, 1), (17, 0), (16, 17)),
        ((17, 1), (17, 0), (17, 17)),
        ((18, -1), (17, 0), "times"),
        ((None, 1), (17, 0), (None, 17)),
        ((None, 0), (None, 0), "times"),
        ((None, -1), (None, 0), "times"),
        ((1, 0), (None, 0), "times"),
    ],
)
def test_a_crl_that_is_not_newer_is_refused(
    offered: tuple[int | None, int],
    published: tuple[int | None, int],
    values: tuple[int | None, int] | str,
) -> None:
    """
    The error has the values that were compared: the CRL numbers, else the times.
    """
    with pytest.raises(CrlRollbackError, match="is not newer than the published") as caught:
        check_no_rollback(_told(*offered), _told(*published))
    expected = (NOW + offered[1] * DAY, NOW + published[1] * DAY) if values == "times" else values
    assert (caught.value.offered, caught.value.published) == expected


@pytest.mark.parametrize(
    ("offered", "published"),
    [((18, 0), (17, 0)), ((18, 1), (17, 0)), ((None, 1), (None, 0)), ((1, 1), (None, 0))],
)
def test_a_newer_crl_is_let_through(
    offered: tuple[int | None, int], published: tuple[int | None, int]
) -> None:
    """
    A higher number is enough where thisUpdate does not fall; a later thisUpdate
    is enough where the published CRL has no number.
    """
    check_no_rollback(_told(*offered), _told(*published))


def _told(number: int | None, day: int, digest: int = 0) -> ImageMetadata:
    return make_metadata(
        crl_number=number, this_update=NOW + day * DAY, tbs_digest=f"sha256:{digest:02x}"
    )


def _accepted(offers: list[ImageMetadata]) -> list[ImageMetadata]:
    """The CRLs that get published, in turn, when all are offered in order."""
    taken: list[ImageMetadata] = []
    for offered in offers:
        if taken and taken[-1].tbs_digest == offered.tbs_digest:
            continue
        try:
            if taken:
                check_no_rollback(offered, taken[-1])
        except CrlRollbackError:
            continue
        taken.append(offered)
    return taken


@given(
    st.lists(
        st.builds(_told, st.none() | st.integers(0, 6), st.integers(0, 6), st.integers(0, 255)),
        max_size=12,
    )
)
def test_no_order_of_offers_goes_back(offers: list[ImageMetadata]) -> None:
    """
    Whatever is offered in whatever order, what gets published never falls in
    number or time, rises in one of them and keeps having a number.
    """
    taken = _accepted(offers)
    for i, earlier in enumerate(taken):
        for later in taken[i + 1 :]:
            assert later.this_update >= earlier.this_update
            if earlier.crl_number is not None:
                assert later.crl_number is not None
                assert later.crl_number > earlier.crl_number
            else:
                assert later.this_update > earlier.this_update


@given(st.integers(0, 4), st.integers(1, 4), st.data())
def test_any_delivery_of_a_history_ends_with_its_newest(
    num_before_numbers: int, num_numbered: int, data: st.DataObject
) -> None:
    """
    However often and in whatever order the CRLs of a CA arrive, one that began
    to number them at some time, the newest of those that arrived is what is
    published in the end.
    """
    unnumbered = [_told(None, day, day) for day in range(num_before_numbers)]
    days = range(num_before_numbers, num_before_numbers + num_numbered)
    history = unnumbered + [_told(day, day, day) for day in days]
    arrived = data.draw(st.lists(st.sampled_from(history), min_size=1))
    assert _accepted(arrived)[-1] == max(arrived, key=history.index)


# ---- after a removal -------------------------------------------------------------


def _removed(*, again: bool = False) -> tuple[MemoryStore, str]:
    """A store that had complete CRL 10 and delta CRL 15 until their scope was removed."""
    store = MemoryStore()
    scope = publish(store, make_crl(CA, 10)).scope
    publish(store, make_crl(CA, 15, [77], extensions=[delta_of(10)]))
    remove_scope(store, scope, now=NOW)
    if again:
        reset_scope(store, scope, now=NOW)
    return store, scope


@pytest.mark.parametrize(
    ("number", "minutes"),
    [(10, 10), (12, 12), (14, 15), (14, 99), (15, 14), (99, 14), (None, 99)],
)
def test_a_removed_scope_remembers_its_delta(number: int | None, minutes: int) -> None:
    """
    A complete CRL from before the delta, by number or by time, does not bring
    the scope back, and no delta does.
    """
    store, scope = _removed()
    begun = NOW - DAY + timedelta(minutes=minutes)
    with pytest.raises(CrlRollbackError, match="not newer than the published \\(and removed"):
        publish(store, make_crl(CA, number, this_update=begun))
    with pytest.raises(CrlBaseMissingError):
        publish(store, make_crl(CA, 99, extensions=[delta_of(10)]))
    assert scope not in catalog_of(store).scopes


@pytest.mark.parametrize("number", [15, 16])
def test_a_complete_crl_of_the_removed_delta_brings_the_scope_back(number: int) -> None:
    """
    A complete CRL and a delta of one time share their number (RFC 5280 5.2.3).
    From then on a delta is newer than the removed one, too.
    """
    store, scope = _removed()
    assert publish(store, make_crl(CA, number, [77])).published
    for old in (13, 15):
        report = publish(store, make_crl(CA, old, extensions=[delta_of(10)]))
        assert not report.published
    assert catalog_of(store).scopes[scope].delta is None
    assert publish(store, make_crl(CA, 17, extensions=[delta_of(10)])).published


def test_each_removal_remembers_what_was_there_then() -> None:
    """
    The delta that a newer complete CRL took up need not be remembered: that
    CRL is newer. A reset lets the next complete CRL in, once.
    """
    store, scope = _removed()
    publish(store, make_crl(CA, 20))
    remove_scope(store, scope, now=NOW)
    with pytest.raises(CrlRollbackError):
        publish(store, make_crl(CA, 19))
    reset_scope(store, scope, now=NOW)
    publish(store, make_crl(CA, 5))
    remove_scope(store, scope, now=NOW)
    with pytest.raises(CrlRollbackError):
        publish(store, make_crl(CA, 5))
    assert publish(store, make_crl(CA, 6)).published


def test_a_reset_after_a_removal_is_used_up_by_one_crl() -> None:
    """It lets one complete CRL in, whatever its number, and that one is the memory from then on."""
    store, scope = _removed(again=True)
    publish(store, make_crl(CA, 3))
    remove_scope(store, scope, now=NOW)
    with pytest.raises(CrlRollbackError):
        publish(store, make_crl(CA, 3))
