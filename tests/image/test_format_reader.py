"""The reader that was written from docs/reference/index-format.md agrees with crlcheck."""

from __future__ import annotations

import random
from collections import Counter
from datetime import timedelta
from itertools import pairwise
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID
from hypothesis import given, settings
from hypothesis import strategies as st
from pyroaring import BitMap64

from crlcheck import IndexFileError, RevokedEntry, compile_unverified_crl, open_index
from crlcheck.demo.pki import encode_entry, encode_extension
from crlcheck.image.metadata import metadata_to_bytes, metadata_to_json
from data import make_golden
from support.crls import REVOKED_ON, authority, make_crl
from support.format_fields import RefusedImageError
from support.format_reader import BitmapTable, Entry, GapsTable, Image, LinesTable, Shape
from support.gaps_reader import plan_gaps

NAMES = [
    authority().certificate.subject.public_bytes(),
    *(
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]).public_bytes()
        for name in ("Another Issuer", "A Third")
    ),
]
INDIRECT = encode_extension("2.5.29.28", b"\x30\x03\x84\x01\xff", critical=True)

# What CAs do to serials, and what they should never do.
_SERIALS = st.one_of(
    st.integers(-300, 300),
    st.integers(-(2**511), 2**511 - 1),
    st.integers(0, 2**159 - 1),
    st.integers(0, 2000).map(lambda number: (0x1234567890 << 90) + (number << 40) + 0xABCDEF),
    st.integers(0, 2000).map(lambda number: (number << 72) + number % 3),
    st.integers(0, 60).map(lambda number: 10**9 + number),
    st.integers(0, 9000).map(lambda number: (1 << 42) + number),
    st.integers(0, 60).map(lambda number: (1 << 40) + (number % 3 << 33) + number),
)
_ENTRIES = st.lists(
    st.tuples(
        st.integers(0, 2),
        _SERIALS,
        st.sampled_from([None, 0, 1, 2, 3, 4, 5, 6, 8, 9, 10]),
        st.integers(-(10**9), 10**9),
        st.one_of(st.none(), st.integers(0, 10**5)),
    ),
    max_size=300,
)


def image_of(crl: bytes, *, attributes: bool = True) -> bytes:
    """The image of a CRL."""
    image = compile_unverified_crl(crl, attributes=attributes).image
    assert image is not None
    return image


def crl_of(serials: list[int]) -> bytes:
    """A CRL that lists *serials*."""
    return make_crl([encode_entry(serial, REVOKED_ON) for serial in serials])


def as_entry(entry: RevokedEntry | None, issuers: list[bytes]) -> Entry | None:
    """What crlcheck found, in the other reader's terms."""
    if entry is None:
        return None
    dates = [
        None if date is None else int(date.timestamp())
        for date in (entry.revocation_date, entry.invalidity_date)
    ]
    issuer = issuers.index(entry.certificate_issuer)
    return Entry(issuer, entry.serial_number, entry.reason_code, *dates)


def assert_same(octets: bytes) -> Image:
    """Both readers find the same in an image: header, entries in order, lookups."""
    image = Image(octets)
    with open_index(octets) as index:
        assert index.digest == octets[-32:].hex()
        assert image.metadata == metadata_to_json(index.metadata)
        assert image.metadata_octets == metadata_to_bytes(index.metadata)
        assert image.has_attributes == index.metadata.attributes
        listed = [entry for table in image.tables for _, entry in table.entries()]
        assert listed == [as_entry(entry, image.issuers) for entry in index.iter_entries()]
        for serial in {entry.serial + step for entry in listed for step in (-1, 0, 1, 1 << 70)}:
            for number, name in enumerate(image.issuers):
                mine = image.find(serial, number)
                assert mine == as_entry(index.find(serial, name), image.issuers)
                assert (mine in listed) == (mine is not None)
    return image


def assert_written_as_documented(image: Image) -> None:
    """The writer keeps the rules that readers do not need."""
    for table in image.tables:
        keys = [key for key, _ in table.entries()]
        assert keys == sorted(set(keys))
        if isinstance(table, BitmapTable):
            assert bool(table.sections[2]) == image.has_attributes
            members = BitMap64(low for low, _ in keys)
            members.run_optimize()
            octets = members.serialize()
            assert table.sections[0] == octets + bytes(-len(octets) % 8)
            continue
        if isinstance(table, GapsTable):
            assert bool(table.sections[2]) == image.has_attributes
            plan = plan_gaps([low for low, _ in keys])
            assert plan is not None
            assert plan.size(attributes=image.has_attributes) == sum(map(len, table.sections[:3]))
            assert plan[:3] == (table.gaps.block_bits, table.gaps.gap_bits, table.gaps.num_rows)
            assert table.gaps.least_gap == min(b[0] - a[0] for a, b in pairwise(keys))
            assert table.gaps.first_key == keys[0][0]
            continue
        assert isinstance(table, LinesTable)
        shift = table.shape.low_bits - table.bucket_bits
        buckets = Counter(low >> shift for low, _ in keys)
        assert table.largest_bucket == max(buckets.values())
        wanted = [b for b in range(31) if 5 * table.num_entries <= 16 << b]
        assert table.bucket_bits == (wanted[0] if table.num_entries > 15 else 0)
        full = {bucket // 120 for bucket, count in buckets.items() if count > 15}
        assert table.spilled == (len(full) if table.bucket_bits else 0)
        assert table.section_offsets[1] % 64 == 0


@settings(max_examples=150, deadline=None)
@given(entries=_ENTRIES, attributes=st.booleans())
def test_readers_agree_on_any_image(
    entries: list[tuple[int, int, int | None, int, int | None]], attributes: bool
) -> None:
    """
    Whatever a CRL lists, of however many issuers, both readers find exactly that,
    with the same attributes in the same order.
    """
    encoded = [
        encode_entry(
            serial,
            REVOKED_ON + timedelta(seconds=age),
            reason=reason,
            invalidity_date=None if invalid is None else REVOKED_ON - timedelta(days=invalid),
            certificate_issuer=NAMES[issuer],
        )
        for issuer, serial, reason, age, invalid in entries
    ]
    crl = make_crl(encoded, extensions=[INDIRECT])
    image = assert_same(image_of(crl, attributes=attributes))
    assert_written_as_documented(image)
    found = [entry for table in image.tables for _, entry in table.entries()]
    named = {(image.issuers[entry.issuer], entry.serial) for entry in found}
    assert named == {(NAMES[issuer], serial) for issuer, serial, *_ in entries}
    assert len(found) == len(named)


@pytest.mark.parametrize("name", make_golden.GOLDEN)
def test_readers_agree_on_golden_images(name: str) -> None:
    """
    Both readers find the same in the golden images.
    """
    image = assert_same((make_golden.DIRECTORY / f"{name}.crlx").read_bytes())
    assert_written_as_documented(image)


@pytest.mark.parametrize("path", sorted(make_golden.EARLIER.iterdir()), ids=lambda path: path.stem)
def test_readers_agree_on_earlier_images(path: Path) -> None:
    """
    Both readers find the same in images of a kind of table that is no longer written.
    """
    assert_same(path.read_bytes())


def test_readers_agree_on_several_pages() -> None:
    """
    The digests of an image of several pages are those that the document describes.
    """
    chance = random.Random(5)
    serials = sorted({chance.getrandbits(127) for _ in range(9000)})
    octets = image_of(crl_of(serials))
    assert len(octets) > 2 * 65536
    image = Image(octets)
    assert [image.find(serial) is not None for serial in serials[:200]] == [True] * 200
    assert_written_as_documented(image)
    for page in range(2):
        damaged = bytearray(octets)
        damaged[5000 + page * 65536] ^= 1
        with pytest.raises(RefusedImageError, match=f"page {page} holds"):
            Image(bytes(damaged))


def test_crowding_a_bucket_changes_no_answer() -> None:
    """
    A CA that undoes the mix can put all of its serials into one bucket, even with
    one low part for all: they are found, and their neighbours are not.
    """
    shape = Shape(bytes(16), b"\x80" + bytes(15))
    chance = random.Random(7)
    crowd = [shape.serial(0xABCDEF, chance.randrange(1 << 56, 1 << 63)) for _ in range(400)]
    serials = [int.from_bytes(serial, "big") for serial in crowd]
    listed, absent = serials[:300], serials[300:]
    octets = image_of(crl_of(listed))
    image = Image(octets)
    (table,) = image.tables
    assert isinstance(table, LinesTable)
    assert table.spilled == 1
    assert table.largest_bucket == table.num_entries == 300
    with open_index(octets) as index:
        assert [serial in index for serial in serials] == [True] * 300 + [False] * 100
    assert [image.find(serial) is not None for serial in listed] == [True] * 300
    assert [image.find(serial) for serial in absent] == [None] * 100


def refused(octets: bytes) -> tuple[bool, bool]:
    """Whether each of the readers refuses an image, digests aside."""
    results = []
    try:
        assert Image(octets, digests=False).metadata
        results.append(False)
    except RefusedImageError:
        results.append(True)
    try:
        open_index(octets, verify=False).close()
        results.append(False)
    except IndexFileError:
        results.append(True)
    return results[0], results[1]


def near(octet: int) -> set[int]:
    """Other values of a byte: a bit off, one off, and some that are often wrong."""
    values = {octet ^ 1 << bit for bit in range(8)} | {octet + 1, octet - 1, 0, 15, 64, 255}
    return {value & 0xFF for value in values} - {octet}


@pytest.mark.parametrize("name", ["example", "empty", "runs", "gaps", "lines", "earlier/example"])
def test_readers_refuse_the_same_octets(name: str) -> None:
    """
    The checks on opening that the document demands are those that the native
    reader makes, no more and no fewer: for every byte in front of the metadata.
    """
    golden = (make_golden.DIRECTORY / f"{name}.crlx").read_bytes()
    outcomes: Counter[bool] = Counter()
    for place in range(golden.index(b'{"attributes"')):
        for octet in near(golden[place]):
            damaged = golden[:place] + bytes((octet,)) + golden[place + 1 :]
            mine, native = refused(damaged)
            assert mine == native, (place, octet)
            outcomes[mine] += 1
    assert min(outcomes.values()) > 100


@pytest.mark.parametrize(
    "name", ["indirect", "patterns", "dense", "spilled", "earlier/patterns", "earlier/random"]
)
def test_readers_refuse_the_same_headers(name: str) -> None:
    """
    They agree where several bytes are wrong at once, too.
    """
    golden = (make_golden.DIRECTORY / f"{name}.crlx").read_bytes()
    metadata = golden.index(b'{"attributes"')
    chance = random.Random(3)
    outcomes: Counter[bool] = Counter()
    for _ in range(2000):
        damaged = bytearray(golden)
        for place in chance.choices(range(metadata), k=chance.randint(1, 3)):
            damaged[place] = chance.choice(sorted(near(damaged[place])))
        mine, native = refused(bytes(damaged))
        assert mine == native, bytes(damaged[:metadata]).hex(" ")
        outcomes[mine] += 1
    assert min(outcomes.values()) > 100


@pytest.mark.parametrize("name", ["example", "indirect"])
def test_readers_refuse_the_same_truncations(name: str) -> None:
    """
    Neither reader opens an image that lacks bytes or has some behind it.
    """
    golden = (make_golden.DIRECTORY / f"{name}.crlx").read_bytes()
    for size in range(len(golden)):
        assert refused(golden[:size]) == (True, True)
    assert refused(golden + b"\0") == (True, True)
    assert refused(golden) == (False, False)
