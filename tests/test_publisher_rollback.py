"""The published CRL of a scope never goes back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crlcheck._metadata import ImageMetadata
from crlcheck._publication import check_no_rollback
from crlcheck.errors import (
    CrlRollbackError,
)
from support.pki import (
    DAY,
    NOW,
)
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
