"""The native core at its limits: the smallest, the largest, the most lopsided."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterable

import pytest

from crlcheck import compile_unverified_crl, open_index
from crlcheck._binding import MAX_SERIAL, NativeImage
from crlcheck.demo.encoding import der, encode_entry, encode_extension
from crlcheck.encoding.serials import canonical_serial
from support.certificate_der import encode_attribute, encode_name
from support.crls import REVOKED_ON, make_crl
from support.native import Entry, build, contains, contains_many, parse

INDIRECT_CRL = encode_extension("2.5.29.28", der(0x30, der(0x84, b"\xff")), critical=True)


def check_members(serials: Iterable[bytes]) -> NativeImage:
    """Require that an image of *serials* holds these and no neighbour of theirs."""
    listed = set(serials)
    image = NativeImage(build([Entry(serial) for serial in listed]).image)
    asked = sorted(listed | {neighbour for serial in listed for neighbour in around(serial)})
    assert contains_many(image, 0, asked) == [serial in listed for serial in asked]
    stored = sorted(entry.serial_number for entry in image.entries())
    assert stored == sorted(int.from_bytes(serial, "big", signed=True) for serial in listed)
    return image


def around(serial: bytes) -> Iterable[bytes]:
    """Serials that differ from *serial* in one bit, by one, or in length."""
    for bit in range(0, 8 * len(serial), 5):
        yield (int.from_bytes(serial, "big") ^ (1 << bit)).to_bytes(len(serial), "big")
    number = int.from_bytes(serial, "big", signed=True)
    yield from (canonical_serial(number + step)[:MAX_SERIAL] for step in (-1, 1))
    yield from (serial[1:], b"\0" + serial[:-1], serial[:-1])


# ---- few and many ------------------------------------------------------------


def test_no_entry() -> None:
    """
    An image of no entry opens and lists nothing.
    """
    built = build([])
    image = NativeImage(built.image)
    assert (built.num_entries, built.num_duplicates) == (0, 0)
    assert image.tables() == []
    assert list(image.entries()) == []
    assert not any(contains(image, 0, bytes(length)) for length in range(MAX_SERIAL + 2))


@pytest.mark.parametrize("length", range(1, MAX_SERIAL + 1))
def test_one_entry_of_each_length(length: int) -> None:
    """
    One entry, all of whose bits are constant, is found with its dates and reason,
    and no serial of another length is taken for it.
    """
    entry = Entry(bytes([0x40, *range(1, length)]), 0, 1_700_000_000, 3, -5_000_000_000)
    image = NativeImage(build([entry]).image)
    found = image.find(0, entry.serial)
    assert found is not None
    assert found.revocation_date is not None
    assert found.invalidity_date is not None
    assert found.revocation_date.timestamp() == entry.revocation_date
    assert found.invalidity_date.timestamp() == entry.invalidity_date
    assert found.reason == entry.reason
    assert [found] == list(image.entries())
    assert image.tables()[0]["key_bits"] == 0
    assert not contains(image, 0, entry.serial + b"\0")
    assert not contains(image, 0, entry.serial[:-1])


def test_all_serials_of_one_octet() -> None:
    """
    All 256 serials of one octet are found, and each one left out is missed.
    """
    every = [bytes([octet]) for octet in range(256)]
    check_members(every)
    for absent in (0x00, 0x01, 0x7F, 0x80, 0xFF):
        check_members(every[:absent] + every[absent + 1 :])


@pytest.mark.parametrize("exponent", range(14))
def test_counts_around_powers_of_two(exponent: int) -> None:
    """
    Counts around a power of two, where the number of buckets changes, lose nothing.
    """
    numbers = random.Random(exponent)
    for count in {(1 << exponent) - 1, 1 << exponent, (1 << exponent) + 1}:
        check_members(
            number.to_bytes(3, "big") for number in numbers.sample(range(1 << 16, 1 << 23), count)
        )


# ---- shapes of serials ---------------------------------------------------------


@pytest.mark.parametrize(
    "key_bits", [*range(1, 20), *range(56, 74), 127, 128, 129, 191, 192, 193, 503, 504, 511]
)
def test_every_width_of_key(key_bits: int) -> None:
    """
    However many bits vary, on either side of each word border, members are found
    and their neighbours are not.
    """
    numbers = random.Random(key_bits)
    length = (key_bits + 7) // 8
    prefixes = [b"", b"\x42\0\xff"] if length + 3 <= MAX_SERIAL else [b""]
    for prefix in prefixes:
        varying = {numbers.getrandbits(key_bits) for _ in range(200)}
        varying |= {0, (1 << key_bits) - 1}
        # A first octet that varies in its top bits is a serial of both signs.
        image = check_members(prefix + value.to_bytes(length, "big") for value in varying)
        if prefix:
            assert image.tables()[0]["key_bits"] == key_bits


def test_constant_octets_between_varying_ones() -> None:
    """
    Octets that never vary are taken out wherever they stand.
    """
    numbers = random.Random(1)
    image = check_members(
        bytes([0x12, octets[0], 0, 0xFF, *octets[1:9], 7, *octets[9:], 0x80])
        for octets in (numbers.randbytes(12) for _ in range(500))
    )
    assert image.tables()[0]["key_bits"] == 12 * 8


def test_both_signs_in_one_table() -> None:
    """
    Negative and positive serials of one length lie in one table and stay apart.
    """
    check_members(map(canonical_serial, range(-300, 300)))
    check_members(map(canonical_serial, [-1, 0, 127, 128, 255, 256, -128, -129, 32767, -32768]))


def test_the_longest_serials() -> None:
    """
    Serials of 64 octets are found with all their bits; longer ones end the CRL.
    """
    numbers = random.Random(64)
    check_members(b"\x01" + numbers.randbytes(MAX_SERIAL - 1) for _ in range(300))
    longest = (1 << (8 * MAX_SERIAL - 1)) - 1
    with_longest = make_crl([longest, -longest - 1])
    assert [len(entry.serial) for entry in parse(with_longest, [9]).entries] == [MAX_SERIAL] * 2
    assert parse(make_crl([longest + 1]), [9]).rule == "serial_too_long"
    assert parse(make_crl([-longest - 2]), [9]).rule == "serial_too_long"


# ---- lopsided --------------------------------------------------------------------


def test_duplicates_only() -> None:
    """
    100 000 entries of one serial become one, with the earliest date, the first
    reason and the earliest invalidity date.
    """
    entries = [
        Entry(b"\x11\x22", 0, 1_000_000 - abs(number - 70_000), number % 11, 2_000_000 - number)
        for number in range(3, 100_003)
    ]
    built = build(entries)
    assert (built.num_entries, built.num_duplicates) == (1, 99_999)
    found = NativeImage(built.image).find(0, b"\x11\x22")
    assert found is not None
    assert found.revocation_date is not None
    assert found.invalidity_date is not None
    assert found.revocation_date.timestamp() == 1_000_000 - (70_000 - 3)
    assert found.invalidity_date.timestamp() == 2_000_000 - 100_002
    assert found.reason == 3


def test_what_can_be_undone_never_outlives_a_revocation_for_good() -> None:
    """
    Among duplicates, removeFromCRL gives way to any other reason, and a hold, which a
    delta CRL can lift, to any that is for good, before it or behind it.
    """
    merged: list[tuple[list[int | None], int | None]] = [
        ([8, 8], 8),
        ([8, 1], 1),
        ([1, 8], 1),
        ([8, None], None),
        ([6, 1], 1),
        ([1, 6], 1),
        ([6, None], None),
        ([6, 6], 6),
        ([8, 6], None),
        ([6, 8], None),
        ([6, 8, 4, 1], None),
        ([6, 4, 8, 1], 4),
    ]
    for reasons, expected in merged:
        image = NativeImage(build([Entry(b"\x05", reason=reason) for reason in reasons]).image)
        found = image.find(0, b"\x05")
        assert found is not None
        assert found.reason == expected


@pytest.mark.parametrize("spread", [1, 1 << 131], ids=["dense", "sparse"])
def test_the_most_final_reason_wins_in_every_order(spread: int) -> None:
    """
    Whatever the order, and however many others are listed between: where any entry
    of a serial is for good, it is; a hold and removeFromCRL are together.
    """
    cases = [
        reasons
        for length in (1, 2, 3, 4)
        for reasons in itertools.product((6, 8, 1, None), repeat=length)
    ]
    serials = [(number * spread).to_bytes(19, "big") for number in range(1 << 16, 1 << 17)]
    serials = [serial.lstrip(b"\0") for serial in serials]
    entries: list[Entry] = []
    for turn in range(4):
        entries.extend(
            Entry(serial, reason=reasons[turn])
            for serial, reasons in zip(serials, cases, strict=False)
            if turn < len(reasons)
        )
        fillers = serials[len(cases) :]
        entries.extend(Entry(serial, reason=6) for serial in fillers[turn::4])
    image = NativeImage(build(entries).image)
    for serial, reasons in zip(serials, cases, strict=False):
        found = image.find(0, serial)
        assert found is not None
        final = {reason for reason in reasons if reason not in (6, 8)}
        if {6, 8} <= set(reasons):
            assert found.reason in final | {None}, reasons
        elif final:
            assert found.reason in final, reasons
        else:
            assert found.reason == reasons[0], reasons


# The mix of native/src/image/key.c for keys of 64 bits, inverted.
_MULTIPLIERS = (0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53)
_INVERSES = tuple(pow(multiplier, -1, 1 << 64) for multiplier in _MULTIPLIERS)


def unmix(mixed: int) -> int:
    """Return the number that the core mixes into *mixed*."""
    for inverse in reversed(_INVERSES):
        mixed = ((mixed ^ (mixed >> 32)) * inverse) % (1 << 64)
    return mixed ^ (mixed >> 32)


def test_serials_made_to_share_a_bucket() -> None:
    """
    Serials chosen so that all their keys fall into one bucket are found all the
    same; the image says how large the bucket is.
    """
    count = 20_000
    listed = [unmix(number) for number in range(0, 2 * count, 2)]
    entries = [Entry(serial.to_bytes(8, "big"), revocation_date=serial % 977) for serial in listed]
    image = NativeImage(build(entries).image)
    (table,) = image.tables()
    assert (table["num_entries"], table["max_bucket"]) == (count, count)
    asked = [unmix(number).to_bytes(8, "big") for number in range(2 * count)]
    assert contains_many(image, 0, asked) == [True, False] * count
    stored = [entry.serial_number % (1 << 64) for entry in image.entries()]
    assert stored == listed


def test_buckets_behind_one_too_large_for_a_fine_hint() -> None:
    """
    Buckets that start too many bits behind their coarse hint for a fine one, because
    70,000 serials crowd into one before them, are found from the coarse hint.
    """
    crowded = [unmix(number) for number in range(70_000)]
    spread = [unmix(number << 46) for number in range(1, 1 << 16)]
    listed = crowded + spread
    image = NativeImage(build([Entry(serial.to_bytes(8, "big")) for serial in listed]).image)
    (table,) = image.tables()
    assert table["max_bucket"] > 65_535
    asked = [serial.to_bytes(8, "big") for serial in listed[-70_000:]]
    assert all(contains_many(image, 0, asked))
    strangers = [unmix((number << 46) + 1).to_bytes(8, "big") for number in range(1, 1 << 18, 37)]
    assert not any(contains_many(image, 0, strangers))
    assert [entry.serial_number % (1 << 64) for entry in image.entries()] == listed


def test_two_issuers_of_the_same_serials() -> None:
    """
    One serial under two issuers is two entries, each with its own attributes.
    """
    serials = [canonical_serial(serial) for serial in range(500)]
    entries = [Entry(serial, issuer, reason=issuer) for serial in serials for issuer in (0, 2)]
    built = build(entries, issuers=[b"\x30\x00"] * 3)
    assert (built.num_entries, built.num_duplicates) == (1000, 0)
    image = NativeImage(built.image)
    for issuer in (0, 2):
        found = [image.find(issuer, serial) for serial in serials]
        assert [entry and entry.reason for entry in found] == [issuer] * 500
    assert not any(contains_many(image, 1, serials))
    assert not any(contains_many(image, 3, serials))


def test_an_indirect_crl_of_many_issuers() -> None:
    """
    3000 issuers, each with a few serials, are told apart; memory stays in
    proportion to the CRL.
    """
    names = [encode_name(encode_attribute(f"Issuer {number}")) for number in range(3000)]
    entries = []
    for number, name in enumerate(names):
        entries.append(encode_entry(number, REVOKED_ON, reason=1, certificate_issuer=name))
        entries.append(encode_entry(5000, REVOKED_ON))  # of the issuer named last
    crl = make_crl(entries, extensions=[INDIRECT_CRL])
    image = compile_unverified_crl(crl).image
    assert image is not None
    assert len(image) < 8 * len(crl)
    with open_index(image) as index:
        assert len(index) == 6000
        for number in range(0, 3000, 7):
            assert index.find(5000, names[number]) is not None
            assert index.find(number, names[number]) is not None
            assert index.find(number + 1, names[number]) is None
        assert index.find(5000, encode_name(encode_attribute("Nobody"))) is None


def test_the_number_of_issuers_is_limited() -> None:
    """
    More certificate issuers than 65535 end the CRL, whatever order their names
    come in.
    """
    template = encode_entry(
        1, REVOKED_ON, certificate_issuer=encode_name(encode_attribute(b"\0\0\0\0"))
    )
    head, tail = template.split(b"\0\0\0\0")
    numbers = range(70_000, 70_000 - 65_536, -1)
    entries = [head + number.to_bytes(4, "big") + tail for number in numbers]
    refused = parse(make_crl(entries, extensions=[INDIRECT_CRL]), [1 << 20], max_entries=4096)
    assert refused.rule == "too_many_issuers"
    assert len(refused.entries) in range(65_535 // 4096 * 4096, 65_536)
