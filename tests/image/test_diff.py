"""
What two CRLs, each with the delta beside it, differ in.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crlcheck import RevocationIndex, RevokedEntry, compile_unverified_crl, open_index
from crlcheck.demo.pki import encode_entry, encode_extension, sign_crl
from crlcheck.image.diff import Listing, compare, entries_missing, revokes_more
from support.pki import DAY, NOW, delta_of, make_authority
from support.values import PRINTABLE_STRING, make_name

CA = make_authority()
HOLD, REMOVED = 6, 8

Entries = Mapping[int, int | None]
"""Serial numbers with their reasons."""


def opened(
    entries: Entries, base: int | None = None, dates: Mapping[int, datetime] | None = None
) -> RevocationIndex:
    """An index of these entries, revoked at *dates* or NOW; of a delta CRL with *base*."""
    crl = sign_crl(
        CA,
        [
            encode_entry(serial, (dates or {}).get(serial, NOW), reason=reason)
            for serial, reason in entries.items()
        ],
        this_update=NOW,
        next_update=NOW + DAY,
        crl_number=2,
        extensions=[] if base is None else [delta_of(base)],
    )
    image = compile_unverified_crl(crl).image
    assert image is not None
    return open_index(image)


def listing(base: Entries | None, delta: Entries | None = None) -> Listing:
    """What a complete CRL and a delta beside it list."""
    return Listing(
        None if base is None else opened(base), None if delta is None else opened(delta, 1)
    )


def serials(entries: Iterable[RevokedEntry]) -> set[int]:
    """The serial numbers, each of which must come once."""
    found = [entry.serial_number for entry in entries]
    assert len(found) == len(set(found))
    return set(found)


def expected(base: Entries | None, delta: Entries | None) -> set[int]:
    """What the two revoke, after RFC 5280 5.2.4: removeFromCRL lifts a hold, and only that."""
    revoked = set(base or {})
    for serial, reason in (delta or {}).items():
        if reason != REMOVED:
            revoked.add(serial)
        elif (base or {}).get(serial) == HOLD:
            revoked.discard(serial)
    return revoked


some = st.dictionaries(
    st.sampled_from([-200, -1, 0, 1, 127, 128, 255, 256, 1 << 64, 1 << 127, (1 << 159) + 1]),
    st.sampled_from([None, 1, HOLD]),
)
changes = st.dictionaries(
    st.sampled_from([-1, 0, 127, 255, 1 << 64, 7]), st.sampled_from([None, 1, HOLD, REMOVED])
)


@given(st.none() | some, st.none() | changes, st.none() | some, st.none() | changes)
def test_what_one_listing_has_and_another_has_not(
    base: Entries | None, delta: Entries | None, other: Entries | None, beside: Entries | None
) -> None:
    """Complete CRLs and deltas of any kind differ as the sets that they stand for do."""
    one, two = listing(base, delta), listing(other, beside)
    here, there = expected(base, delta), expected(other, beside)
    assert serials(one.entries()) == here
    assert serials(entries_missing(one, two)) == here - there
    assert serials(entries_missing(two, one)) == there - here


@given(some, changes, st.none() | changes)
def test_deltas_beside_one_complete_crl(
    base: Entries, delta: Entries, other: Entries | None
) -> None:
    """Where the complete CRL is one and the same, only what the deltas name is looked at."""
    index = opened(base)
    one = Listing(index, opened(delta, 1))
    two = Listing(index, None if other is None else opened(other, 1))
    here, there = expected(base, delta), expected(base, other)
    assert serials(entries_missing(one, two)) == here - there
    assert serials(entries_missing(two, one)) == there - here


def test_thousands_of_entries() -> None:
    """More than are compared at once, in dense and sparse tables: what differs is found."""
    many: Entries = dict.fromkeys([*range(20_000), *(i * i << 100 for i in range(1, 10_000))])
    gone = (0, 8191, 8192, 19_999, 81 << 100)
    fewer = {serial: reason for serial, reason in many.items() if serial not in gone}
    assert serials(entries_missing(listing(many), listing(fewer))) == set(gone)
    assert not serials(entries_missing(listing(fewer), listing(many)))


def test_recent_and_late_revocations_are_told_apart() -> None:
    """
    Lifted recently is what was revoked since then and is no hold; newly revoked
    too late is what was revoked before the CRL before this one was made.
    """
    before = {1: 1, 2: 1, 3: HOLD, 4: None}
    dates = {1: NOW - 2 * DAY, 2: NOW - 200 * DAY, 3: NOW - DAY, 4: NOW - DAY}
    after = {5: 1, 6: 1}
    late = {5: NOW - 3 * DAY, 6: NOW}
    with ExitStack() as stack:
        one = stack.enter_context(opened(before, dates=dates))
        two = stack.enter_context(opened(after, dates=late))
        found = compare(
            Listing(one), Listing(two), recently=NOW - 90 * DAY, previous=NOW - timedelta(hours=1)
        )
    assert (found.num_newly_revoked, found.num_lifted) == (2, 4)
    assert (found.num_lifted_recently, found.num_late) == (2, 1)


def test_a_hold_that_becomes_final_is_more() -> None:
    """Nothing may be lifted that is revoked for good, so a final reason adds to a hold."""
    held, final = listing({1: HOLD, 2: 1}), listing({1: 1})
    assert revokes_more(final, held)
    assert not revokes_more(listing({1: HOLD}), held)
    assert not revokes_more(held, listing({1: 1, 2: 1}))
    assert revokes_more(listing(None, {1: 4}), held)
    assert revokes_more(listing({3: 1}), held)


SPELLINGS = make_name("Some  CA"), make_name("some ca", PRINTABLE_STRING)


def respelled(*reasons: int | None, base: int | None = None) -> RevocationIndex:
    """An index of an indirect CRL that lists 7 for these reasons, each in another spelling."""
    entries = [
        encode_entry(7, NOW, reason=reason, certificate_issuer=name)
        for reason, name in zip(reasons, SPELLINGS, strict=False)
    ]
    crl = sign_crl(
        CA,
        entries,
        this_update=NOW,
        next_update=NOW + DAY,
        crl_number=2,
        extensions=[
            encode_extension("2.5.29.28", bytes.fromhex("30038401ff"), critical=True),
            *([] if base is None else [delta_of(base)]),
        ],
    )
    image = compile_unverified_crl(crl).image
    assert image is not None
    return open_index(image)


@pytest.mark.parametrize("reasons", [(1, HOLD), (HOLD, 1), (HOLD, REMOVED), (REMOVED, HOLD)])
def test_a_final_reason_under_another_spelling_counts(reasons: tuple[int, int]) -> None:
    """In a complete CRL and in a delta: the most final one is compared, whichever comes last."""
    final, hold = Listing(respelled(1)), Listing(respelled(HOLD))
    whole, changed = Listing(respelled(*reasons)), Listing(respelled(), respelled(*reasons, base=1))
    for listed in (whole, changed):
        assert revokes_more(listed, hold)
        assert not revokes_more(hold, listed)
        assert not revokes_more(final, listed)
        assert not revokes_more(listed, final)


def test_a_final_reason_in_the_complete_crl_stands_against_a_hold_in_its_delta() -> None:
    """As it does for verdicts: so a later delta with a final reason says nothing more."""
    held, final = listing({7: 1}, {7: HOLD}), listing({7: 1}, {7: 1})
    assert not revokes_more(final, held)
    assert not revokes_more(held, final)
    assert revokes_more(held, listing({7: HOLD}))
    assert revokes_more(held, listing({}, {7: HOLD}))
