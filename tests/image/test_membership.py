"""The property above all: an image agrees with a Python set, exactly."""

from __future__ import annotations

import copy
import dataclasses
import itertools
import pickle
import threading
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crlcheck import IndexClosedError, ReasonCode, compile_crl, open_index
from crlcheck.compiler.source import CHUNK_SIZE
from crlcheck.demo.encoding import encode_extension
from crlcheck.demo.pki import encode_entry
from crlcheck.errors import CorruptIndexError
from crlcheck.image.index import RevocationIndex
from crlcheck.times import FIRST_SECOND, LAST_SECOND, time_at
from support.crls import REVOKED_ON, ChunkedFile, authority, make_crl
from support.values import PRINTABLE_STRING, make_name

DAY = timedelta(days=1)

# Every length from 1 to 20 bytes, both signs, zero, and what lies at the ends.
SERIALS = st.one_of(
    st.integers(-(2**159), 2**159 - 1),
    st.integers(-300, 300),
    st.integers(0, 152).map(lambda bits: 1 << bits),
    st.integers(0, 152).map(lambda bits: (1 << bits) - 1),
    st.integers(0, 152).map(lambda bits: -(1 << bits)),
)


def _compiled(crl: bytes, *, attributes: bool = True) -> RevocationIndex:
    report = compile_crl(crl, issuer=authority().der, attributes=attributes)
    assert report.image is not None
    return open_index(report.image)


@settings(max_examples=150, deadline=None)
@given(
    listed=st.sets(SERIALS, max_size=300),
    others=st.sets(SERIALS, max_size=50),
    sizes=st.lists(st.integers(1, 400), min_size=1, max_size=5),
)
def test_an_image_agrees_with_a_set(listed: set[int], others: set[int], sizes: list[int]) -> None:
    """
    Membership is exact for members, for strangers and for neighbours of members,
    by single lookup and by batch, however the source was cut into chunks.
    """
    crl = make_crl(listed)
    report = compile_crl(ChunkedFile(crl, sizes), issuer=authority().der)
    assert report.image is not None
    assert report.image == compile_crl(crl, issuer=authority().der).image
    neighbours = {serial + step for serial in listed for step in (-1, 1, 256, 1 << 64)}
    asked = sorted(listed | others | neighbours)
    expected = [serial in listed for serial in asked]
    with open_index(report.image) as index:
        assert len(index) == len(listed)
        assert [serial in index for serial in asked] == expected
        assert index.contains_many(asked) == expected
        assert [index.find(serial) is not None for serial in asked] == expected
        assert {entry.serial_number for entry in index.iter_entries()} == listed


@settings(max_examples=60, deadline=None)
@given(listed=st.sets(st.integers(0, 2**63 - 1), max_size=100), width=st.integers(8, 24))
def test_packed_rows_agree_with_a_set(listed: set[int], width: int) -> None:
    """
    Rows of any width are read as unsigned numbers: leading zeros change nothing
    and a leading one bit does not make a row negative.
    """
    asked = sorted(listed | {serial ^ 1 for serial in listed} | {0, 255, 2**64 - 1})
    index = _compiled(make_crl(listed | {-1}))
    rows = b"".join(serial.to_bytes(width, "big") for serial in asked)
    assert list(index.contains_packed(rows, width)) == [serial in listed for serial in asked]


KINDS = {
    "random 8 octets": lambda i: (i * 0x9E3779B97F4A7C15 + 12345) % 2**63 | 1 << 62,
    "dense": lambda i: i,
    "gaps of 64": lambda i: 64 * i,
    "runs": lambda i: i // 50 * 1000 + i % 50,
    "prefix and counter": lambda i: (0x1234567890ABCDEF << 64) + i,
    "counter and suffix": lambda i: (1 << 100) + (i << 64) + 0xABCDEF,
    "two prefixes": lambda i: ((0x11 if i % 2 else 0x7711) << 96) + i,
    "mixed lengths": lambda i: pow(3, i % 100) + i,
}


@pytest.mark.parametrize("kind", KINDS)
def test_habits_of_issuers_change_no_answer(kind: str) -> None:
    """
    Whatever serials a CA issues, membership is exact and no bucket is crowded.
    """
    listed = {KINDS[kind](i) for i in range(20_000)}
    index = _compiled(make_crl(listed), attributes=False)
    asked = sorted(listed) + [serial + 1 for serial in listed if serial + 1 not in listed]
    assert index.contains_many(asked) == [serial in listed for serial in asked]
    tables = index.stats["tables"]
    assert isinstance(tables, list)
    assert max(table["max_bucket"] for table in tables) <= 24


def test_attributes_are_those_of_the_entry() -> None:
    """
    Reason, revocation date and invalidity date come back as listed, also where
    only some entries have them.
    """
    other_date = REVOKED_ON.replace(year=2051)
    crl = make_crl(
        [
            encode_entry(1, REVOKED_ON, reason=1),
            encode_entry(2, other_date),
            encode_entry(3, REVOKED_ON, reason=6, invalidity_date=other_date),
            encode_entry(4, other_date, invalidity_date=REVOKED_ON),
        ]
    )
    index = _compiled(crl)
    found = {entry.serial_number: entry for entry in index.iter_entries()}
    assert {serial: index.find(serial) for serial in found} == found
    assert [found[i].reason_code for i in (1, 2, 3, 4)] == [
        ReasonCode.KEY_COMPROMISE,
        None,
        ReasonCode.CERTIFICATE_HOLD,
        None,
    ]
    assert [found[i].revocation_date for i in (1, 2, 3, 4)] == [
        REVOKED_ON,
        other_date,
        REVOKED_ON,
        other_date,
    ]
    assert [found[i].invalidity_date for i in (1, 2, 3, 4)] == [None, None, other_date, REVOKED_ON]


def test_without_attributes_only_serials_are_kept() -> None:
    """
    An image built without attributes answers the same, but knows no reason or date.
    """
    index = _compiled(make_crl({5: 1}), attributes=False)
    entry = index.find(5)
    assert entry is not None
    assert (entry.reason_code, entry.revocation_date) == (None, None)
    assert 6 not in index


@given(
    entries=st.lists(
        st.tuples(st.integers(1, 6), st.integers(0, 500), st.sampled_from([None, 0, 1, 5, 6, 8])),
        max_size=60,
    )
)
@settings(max_examples=60, deadline=None)
def test_duplicates_merge_and_never_unrevoke(
    entries: list[tuple[int, int, int | None]],
) -> None:
    """
    Of one serial's entries the earliest date and the most final reason count: the
    first of those that are for good. What can be undone, a hold or removeFromCRL,
    gives way to what cannot, and to the other.
    """
    crl = make_crl(
        [
            encode_entry(serial, REVOKED_ON - timedelta(days=days), reason=reason)
            for serial, days, reason in entries
        ]
    )
    report = compile_crl(crl, issuer=authority().der)
    assert report.image is not None
    assert report.num_entries == len({serial for serial, _, _ in entries})
    assert report.num_duplicates == len(entries) - report.num_entries
    index = open_index(report.image)
    for serial in {serial for serial, _, _ in entries}:
        mine = [(days, reason) for listed, days, reason in entries if listed == serial]
        reasons = [reason for _, reason in mine]
        expected = reasons[0]
        for reason in reasons[1:]:
            if expected in (6, 8) and reason != expected:
                expected = None if reason in (6, 8) else reason
        found = index.find(serial)
        assert found is not None
        assert found.revocation_date == REVOKED_ON - timedelta(days=max(days for days, _ in mine))
        assert found.reason_code == expected


@pytest.mark.parametrize("delta", [False, True], ids=["complete", "delta"])
def test_duplicates_merge_over_the_whole_list(delta: bool) -> None:
    """
    The first entry and the last of a list that is read in several chunks merge as
    neighbours do, in a delta CRL too: removeFromCRL there lifts no revocation of the
    same list.
    """
    ends: list[tuple[int | None, int | None]] = [
        (6, 1), (1, 6), (8, 1), (1, 8), (8, None), (6, 8), (8, 6), (6, 6), (8, 8),
    ]  # fmt: skip
    expected = [1, 1, 1, 1, None, None, None, 6, 8]

    def entry(number: int, reason: int | None) -> bytes:
        return encode_entry(number, REVOKED_ON, reason=reason)

    crl = make_crl(
        [
            *(entry(number, first) for number, (first, _) in enumerate(ends)),
            *(entry(number, 1) for number in range(100, 20_000)),
            *(entry(number, last) for number, (_, last) in enumerate(ends)),
        ],
        extensions=[encode_extension("2.5.29.27", b"\x02\x01\x01", critical=True)] * delta,
    )
    assert len(crl) > CHUNK_SIZE
    report = compile_crl(crl, issuer=authority().der)
    assert report.image is not None
    index = open_index(report.image)
    found = [index.find(number) for number in range(len(ends))]
    assert [entry and entry.reason_code for entry in found] == expected


class _Number:
    """What gives an integer only when it is asked for one."""

    def __init__(self, value: int) -> None:
        self._value = value

    def __index__(self) -> int:
        return self._value


class _Odd(int):
    """An integer with an order, a hash and an index of its own, none of which may matter."""

    __hash__ = None  # type: ignore[assignment]

    def __eq__(self, other: object) -> bool:
        return False

    def __index__(self) -> int:
        return 7


@pytest.mark.parametrize("sign", [1, -1])
def test_integers_of_every_length_are_told_apart(sign: int) -> None:
    """
    Where the octets of an integer end, by one bit or by one octet, makes a difference, at
    every length and beyond the longest serial; so does nothing else about the integer.
    """
    edges = {sign * (1 << bits) + step for bits in range(530) for step in (-257, -1, 0, 1, 255)}
    most = 1 << 511
    edges |= {sign * (1 << bits) * 0x55 // 3 for bits in range(0, 500, 7)}
    listed = {serial for serial in edges if -most <= serial < most and hash(serial) % 2}
    image = compile_crl(make_crl(listed), issuer=authority().der).image
    assert image is not None
    with open_index(image) as index:
        for serial in edges:
            assert (serial in index) == (serial in listed), serial
            assert (_Odd(serial) in index) == (serial in listed), serial
            number: Any = _Number(serial)
            assert (number in index) == (serial in listed), serial
        assert index.contains_many(sorted(edges)) == [s in listed for s in sorted(edges)]


def test_an_index_can_be_closed_while_others_look_up() -> None:
    """
    A lookup that runs while the index is closed finishes; later ones say that it
    is closed. Nothing else happens.
    """
    listed = set(range(0, 4000, 2))
    crl = make_crl(listed)
    wrong: list[object] = []

    def look_up(index: RevocationIndex) -> None:
        try:
            while True:
                wrong.extend(
                    serial for serial in range(100) if (serial in index) != (serial in listed)
                )
        except IndexClosedError:
            pass

    for _ in range(5):
        index = _compiled(crl)
        threads = [threading.Thread(target=look_up, args=(index,)) for _ in range(4)]
        for thread in threads:
            thread.start()
        index.close()
        for thread in threads:
            thread.join(10)
            assert not thread.is_alive()
    assert wrong == []


def test_misuse_is_told() -> None:
    """
    Widths and lengths that cannot be are refused before any lookup.
    """
    index = _compiled(make_crl([1]))
    with pytest.raises(ValueError, match="width is 0"):
        index.contains_packed(b"", 0)
    with pytest.raises(ValueError, match="5 bytes are no whole number of rows of 4"):
        index.contains_packed(b"12345", 4)
    with pytest.raises(TypeError):
        open_index(3)  # type: ignore[arg-type]
    assert 2**4000 not in index
    assert index.contains_many([2**4000, 1]) == [False, True]


INDIRECT = encode_extension("2.5.29.28", b"\x30\x03\x84\x01\xff", critical=True)


def test_an_issuer_is_one_however_it_is_spelled() -> None:
    """
    An indirect CRL that writes one certificate issuer in two ways has its
    entries found under each, and under a third, in every kind of lookup (RFC
    5280 7.1).
    """
    spellings = make_name("Some  CA"), make_name("some ca", PRINTABLE_STRING)
    entries = [
        encode_entry(1, REVOKED_ON, certificate_issuer=spellings[0]),
        encode_entry(2, REVOKED_ON, certificate_issuer=spellings[1]),
        encode_entry(3, REVOKED_ON, reason=8, certificate_issuer=spellings[0]),
        encode_entry(3, REVOKED_ON, reason=1, certificate_issuer=spellings[1]),
        encode_entry(4, REVOKED_ON, certificate_issuer=make_name("Another")),
    ]
    index = _compiled(make_crl(entries, extensions=[INDIRECT]))
    for issuer in (*spellings, make_name(" SOME CA ")):
        found = [index.find(serial, issuer) for serial in range(1, 5)]
        assert [entry is not None for entry in found] == [True, True, True, False]
        assert found[2] is not None
        assert found[2].reason_code is ReasonCode.KEY_COMPROMISE
        assert index.contains_many(iter(range(1, 5)), issuer) == [True, True, True, False]
        assert index.contains_packed(bytes(range(1, 5)), 1, issuer) == bytearray(b"\1\1\1\0")
    nobody = make_name("nobody")
    assert index.find(1, nobody) is None
    assert index.contains_many([1], nobody) == [False]
    assert index.contains_packed(b"\1", 1, nobody) == bytearray(b"\0")


@pytest.mark.parametrize(
    ("reasons", "expected"),
    [
        ((1, 6), ReasonCode.KEY_COMPROMISE),
        ((6, 6), ReasonCode.CERTIFICATE_HOLD),
        ((6, 8), None),
        ((1, 8), ReasonCode.KEY_COMPROMISE),
        ((8, 8), ReasonCode.REMOVE_FROM_CRL),
        ((None, 6), None),
    ],
)
def test_entries_under_several_spellings_count_as_duplicates_do(
    reasons: tuple[int | None, int | None], expected: ReasonCode | None
) -> None:
    """
    One serial number under two spellings of one certificate issuer is listed
    for the most final of its reasons, as under one spelling, whichever of the
    spellings is asked for and whichever comes first.
    """
    spellings = make_name("Some  CA"), make_name("some ca", PRINTABLE_STRING)
    orders = itertools.product(itertools.permutations(reasons), itertools.permutations(spellings))
    for ordered, names in orders:
        for under in (names, (names[0], names[0])):
            entries = [
                encode_entry(1, REVOKED_ON, reason=reason, certificate_issuer=name)
                for reason, name in zip(ordered, under, strict=True)
            ]
            index = _compiled(make_crl(entries, extensions=[INDIRECT]))
            for asked in spellings:
                found = index.find(1, asked)
                assert found is not None
                assert found.reason_code is expected


# ---- entries ---------------------------------------------------------------------


def test_an_entry_that_is_found_is_the_one_that_is_listed() -> None:
    """Its dates are converted when they are read; that changes nothing."""
    entries: list[int | bytes] = [
        encode_entry(7, REVOKED_ON, reason=1),
        encode_entry(9, REVOKED_ON - DAY),
        300,
    ]
    index = _compiled(make_crl(entries))
    listed = {one.serial_number: one for one in index.iter_entries()}
    assert set(listed) == {7, 9, 300}
    for serial_number, entry in listed.items():
        assert index.find(serial_number) == entry
        assert repr(index.find(serial_number)) == repr(entry)
        assert hash(index.find(serial_number)) == hash(entry)
        assert copy.deepcopy(index.find(serial_number)) == entry
        assert pickle.loads(pickle.dumps(index.find(serial_number))) == entry
    found = index.find(7)
    assert found is not None
    assert found.revocation_date == REVOKED_ON
    assert found.invalidity_date is None
    with pytest.raises(dataclasses.FrozenInstanceError):
        found.revocation_date = None  # type: ignore[misc]
    with pytest.raises(AttributeError, match="no attribute 'reason'"):
        found.reason  # type: ignore[attr-defined]  # noqa: B018


def test_an_entry_without_attributes_has_neither_reason_nor_dates() -> None:
    """They were left out of the image."""
    index = _compiled(make_crl({7: 1}), attributes=False)
    found = index.find(7)
    assert found is not None
    assert (found.reason_code, found.revocation_date, found.invalidity_date) == (None, None, None)


def test_what_no_crl_can_say_is_refused_when_it_is_found() -> None:
    """Not when it is read: a result would raise then."""
    index = _compiled(make_crl([7]))
    with pytest.raises(CorruptIndexError, match="7 is not a valid ReasonCode"):
        index._issuers.only_entry(7, 7, None, None)
    for date in (FIRST_SECOND - 1, LAST_SECOND + 1):
        for dates in ((date, None), (None, date)):
            with pytest.raises(CorruptIndexError, match="outside 0001 to 9999"):
                index._issuers.only_entry(7, None, *dates)
    for date in (FIRST_SECOND, LAST_SECOND):
        entry = index._issuers.only_entry(7, None, date, date)
        assert entry.revocation_date == entry.invalidity_date == time_at(date)
