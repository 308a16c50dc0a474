"""Tables whose serials lie dense are bitmaps: smaller, and just as exact."""

from __future__ import annotations

import random
from array import array
from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from crlcheck import (
    CorruptIndexError,
    RevocationIndex,
    UnsupportedIndexVersionError,
    compile_unverified_crl,
    open_index,
)
from crlcheck._binding import CrlCompiler
from crlcheck._bitmap import serialize_bitmap
from crlcheck.demo.pki import encode_entry
from support.crls import REVOKED_ON, make_crl
from support.format_reader import BitmapTable, Image, SortedTable, Table

SORTED, BITMAP = 0, 1


def image_of(serials: Iterable[int | bytes], *, attributes: bool = False) -> bytes:
    """The image of a CRL that lists *serials*."""
    image = compile_unverified_crl(make_crl(serials), attributes=attributes).image
    assert image is not None
    return image


def tables_of(index: RevocationIndex) -> list[dict[str, int]]:
    """What the index says of its tables."""
    tables: Any = index.stats["tables"]
    return list(tables)


# ---- the property above all --------------------------------------------------


@st.composite
def _dense(draw: st.DrawFn) -> set[int]:
    """Ranges, runs, even gaps and random sets in small spans, wherever they lie."""
    found: set[int] = set()
    bases = st.one_of(
        st.integers(-(2**63), 2**63),
        st.sampled_from([0, -1, 255, 1 << 16, (1 << 32) - 100, 1 << 40, 77 << 64, -(1 << 100)]),
    )
    for _ in range(draw(st.integers(1, 6))):
        base = draw(bases)
        count = draw(st.integers(1, 400))
        gap = draw(st.sampled_from([1, 1, 1, 2, 3, 5, 64, 1 << 16, 1 << 32]))
        habit = draw(st.sampled_from(["even", "random", "runs"]))
        if habit == "even":
            found |= {base + gap * i for i in range(count)}
        elif habit == "random":
            chance = random.Random(draw(st.integers(0, 99)))
            found |= {base + chance.randrange(gap * count) for _ in range(count)}
        else:
            found |= {base + i + i // 25 * 70 * gap for i in range(count)}
    return found


def assert_agrees(octets: bytes, listed: set[int]) -> None:
    """Every way to look up, and iterating, agrees with a set."""
    neighbours = {serial + step for serial in listed for step in (-1, 1, 1 << 16, 1 << 32)}
    asked = sorted(listed | neighbours)
    expected = [serial in listed for serial in asked]
    with open_index(octets) as index:
        assert len(index) == len(listed)
        assert [serial in index for serial in asked] == expected
        assert index.contains_many(asked) == expected
        assert [index.find(serial) is not None for serial in asked] == expected
        rows = [serial for serial in asked if serial >= 0]
        packed = b"".join(serial.to_bytes(24, "big") for serial in rows)
        assert list(index.contains_packed(packed, 24)) == [serial in listed for serial in rows]
        iterated = [entry.serial_number for entry in index.iter_entries()]
        assert len(iterated) == len(listed)
        assert set(iterated) == listed


@settings(max_examples=150, deadline=None)
@given(listed=_dense(), attributes=st.booleans())
def test_dense_images_agree_with_a_set(listed: set[int], attributes: bool) -> None:
    """
    Membership is exact however the serials lie, for members and their neighbours,
    by every way of looking up.
    """
    assert_agrees(image_of(listed, attributes=attributes), listed)


def _large() -> set[int]:
    """A table with containers of all kinds, in more groups than one."""
    chance = random.Random(11)
    bits = chance.getrandbits(70_000)
    listed = {(7 << 40) + i for i in range(70_000) if bits >> i & 1}
    listed |= {(9 << 40) + (3 << 16) + i for i in range(4096)}
    listed |= {(9 << 40) + (4 << 16) + i * 2 for i in range(4096)}
    listed |= {(9 << 40) + (5 << 16) + i * 2 for i in range(4097)}
    listed |= {(9 << 40) + (0x1234 << 16) + i + i // 9 * 90 for i in range(2000)}
    listed |= {(9 << 40) + (5 << 32) + i for i in range(1 << 16)}
    return listed


@pytest.mark.parametrize("attributes", [False, True])
def test_large_containers_agree_with_a_set(attributes: bool) -> None:
    """
    Bitsets, runs and arrays, and several groups of them, are one table.
    """
    listed = _large()
    octets = image_of(listed, attributes=attributes)
    assert_agrees(octets, listed)
    (table,) = Image(octets).tables
    assert isinstance(table, BitmapTable)
    assert table.bitmap.num_groups > 1
    assert table.bitmap.kinds == {"array", "bitset", "runs"}
    members = [entry.serial for _, entry in table.entries()]  # checks every rank, too
    assert members == sorted(listed)


# ---- attributes --------------------------------------------------------------


def _attributes(serial: int) -> tuple[int | None, timedelta, timedelta | None]:
    reason = (None, 1, 3, 4, 5, 6)[serial % 6]
    invalid = timedelta(hours=serial % 90) if serial % 5 == 0 else None
    return reason, timedelta(seconds=serial * serial % 10**7), invalid


def _entry(serial: int) -> bytes:
    reason, age, invalid = _attributes(serial)
    return encode_entry(
        serial,
        REVOKED_ON - age,
        reason=reason,
        invalidity_date=None if invalid is None else REVOKED_ON - invalid,
    )


def test_attributes_are_found_by_rank() -> None:
    """
    Every entry has its own reason and dates, in containers of all kinds, looked up
    or iterated.
    """
    listed = sorted(_large())
    chance = random.Random(2)
    shuffled = chance.sample(listed, len(listed))
    with open_index(image_of(map(_entry, shuffled), attributes=True)) as index:
        assert [table["kind"] for table in tables_of(index)] == [BITMAP]
        iterated = list(index.iter_entries())
        assert [entry.serial_number for entry in iterated] == listed
        for serial, entry in zip(listed, iterated, strict=True):
            reason, age, invalid = _attributes(serial)
            assert entry.reason_code == reason
            assert entry.revocation_date == REVOKED_ON - age
            assert entry.invalidity_date == (None if invalid is None else REVOKED_ON - invalid)
        for place in chance.choices(range(len(listed)), k=5000):
            assert index.find(listed[place]) == iterated[place]


@settings(max_examples=60, deadline=None)
@given(listed=_dense())
def test_attributes_are_those_of_the_entry(listed: set[int]) -> None:
    """
    Whatever kinds of table there are, entries keep their attributes.
    """
    with open_index(image_of(map(_entry, listed), attributes=True)) as index:
        for entry in index.iter_entries():
            reason, age, invalid = _attributes(entry.serial_number)
            assert entry.reason_code == reason
            assert entry.revocation_date == REVOKED_ON - age
            assert entry.invalidity_date == (None if invalid is None else REVOKED_ON - invalid)
            assert index.find(entry.serial_number) == entry


# ---- the choice --------------------------------------------------------------


def _rounded(size: int) -> int:
    return (size + 7) // 8 * 8


def _sorted_size(table: Table) -> int:
    """What remainders, hints and directory of a table take."""
    n, bucket_bits = table.num_entries, 0
    while bucket_bits < min(table.shape.low_bits, 30) and n > 2 << bucket_bits:
        bucket_bits += 1
    remainders = _rounded((n * (table.shape.key_bits - bucket_bits) + 7) // 8)
    hints = _rounded(((1 << bucket_bits) + 31) // 32 * 4) + 8
    return remainders + hints + _rounded((n + (1 << bucket_bits) + 7) // 8)


def _natural_keys(table: Table) -> list[int]:
    """The natural keys of a table, of whichever kind."""
    serials = (
        entry.serial.to_bytes(table.serial_len, "big", signed=True) for _, entry in table.entries()
    )
    keys = [table.shape.natural_key(serial) for serial in serials]
    return sorted(key for key in keys if key is not None)


@settings(max_examples=150, deadline=None)
@given(listed=_dense())
@example(listed={(1 << 40) + i for i in range(3)})  # runs are no smaller than an array
@example(listed={(1 << 40) + i * 0x10001 for i in range(300)})
def test_the_smaller_kind_is_chosen(listed: set[int]) -> None:
    """
    A table is a bitmap exactly if that takes fewer octets, and its size is that of
    pyroaring's serialization and our group directory.
    """
    octets = image_of(listed)
    with open_index(octets) as index:
        described = tables_of(index)
    for table, native in zip(Image(octets).tables, described, strict=True):
        keys = _natural_keys(table)
        size = _rounded(len(serialize_bitmap(array("Q", keys)))) if max(keys) < 1 << 64 else 0
        num_groups = len({key >> 32 for key in keys})
        size += 24 * num_groups if num_groups > 1 else 0
        is_bitmap = table.shape.key_bits <= 64 and size < _sorted_size(table)
        assert native["kind"] == table.kind == (BITMAP if is_bitmap else SORTED)
        assert native["size"] == (size if is_bitmap else _sorted_size(table))
        assert isinstance(table, BitmapTable if is_bitmap else SortedTable)


@pytest.mark.parametrize(
    ("gap", "kind"), [(1, BITMAP), (2, BITMAP), (3, BITMAP), (16, SORTED), (64, SORTED)]
)
def test_density_decides(gap: int, kind: int) -> None:
    """
    Dense serials make a bitmap, sparse ones a sorted table; the index says which.
    """
    chance = random.Random(gap)
    listed = {(1 << 60) + chance.randrange(30_000 * gap) for _ in range(30_000)}
    with open_index(image_of(listed)) as index:
        assert [table["kind"] for table in tables_of(index)] == [kind]


def test_several_tables_of_both_kinds() -> None:
    """
    Each length of serials is decided on its own.
    """
    chance = random.Random(4)
    listed = set(range(1000, 9000)) | set(range(-9000, -1000))
    listed |= {1 << 90 | chance.getrandbits(80) for _ in range(200)}
    listed |= {(1 << 150) + number for number in range(500)}
    octets = image_of(listed)
    assert_agrees(octets, listed)
    with open_index(octets) as index:
        kinds = {table["serial_len"]: table["kind"] for table in tables_of(index)}
    assert kinds == {2: BITMAP, 12: SORTED, 19: BITMAP}


@settings(max_examples=40, deadline=None)
@given(listed=_dense(), seed=st.integers(0, 99), attributes=st.booleans())
def test_order_and_duplicates_change_no_octet(
    listed: set[int], seed: int, attributes: bool
) -> None:
    """
    The image follows from the set of entries, not from the order they come in or
    how often.
    """
    chance = random.Random(seed)
    once = sorted(listed)
    entries = [_entry(serial) for serial in once]
    again = chance.sample(entries, len(entries)) + chance.choices(entries, k=20)
    first, second = (image_of(e, attributes=attributes) for e in (entries, again))
    body = slice(Image(first).header_size, -32)  # metadata count the duplicates
    assert first[body] == second[Image(second).header_size : -32]


# ---- bad input ---------------------------------------------------------------


def _compiler(serials: Iterable[int]) -> CrlCompiler:
    compiler = CrlCompiler(attributes=True, max_source_size=0, allow_v1=False)
    compiler.feed(make_crl(serials))
    compiler.finish()
    compiler.complete()
    compiler.sort()
    compiler.stats()
    return compiler


def _other_bitmaps(members: Sequence[int]) -> Iterable[bytes]:
    right = serialize_bitmap(array("Q", members))
    yield b""
    yield right[:-1]
    yield right + b"\0"
    yield bytes(len(right))
    yield serialize_bitmap(array("Q", members[:-1]))
    yield serialize_bitmap(array("Q", [member + (1 << 16) for member in members]))
    for place in range(12, 20):
        yield right[:place] + bytes((right[place] ^ 1,)) + right[place + 1 :]


def test_other_bitmaps_are_refused() -> None:
    """
    Octets that are not the bitmap of a table's entries are refused, and the table
    can still be written, as either kind.
    """
    compiler = _compiler([*range(1000, 3000), *range(70_000, 130_000, 2)])
    tables = list(compiler.dense_tables())
    assert len(tables) == 2
    for table, members in tables:
        for octets in _other_bitmaps(members):
            with pytest.raises(ValueError, match=f"not the bitmap of table {table}"):
                compiler.set_bitmap(table, octets)
    compiler.set_bitmap(tables[1][0], serialize_bitmap(tables[1][1]))
    compiler.start_image(b"{}")
    body = b"".join(
        bytes(buffer[:size]) for buffer, size in compiler.body(bytearray(1 << 17) for _ in range(9))
    )
    described = [compiler.header[64 + 256 * number :][5] for number in range(2)]
    assert described == [SORTED, BITMAP]
    assert serialize_bitmap(tables[1][1]) in body
    with pytest.raises(ValueError, match="not the bitmap of table 7"):
        compiler.set_bitmap(7, b"")


@pytest.fixture(scope="module", params=[False, True], ids=["serials", "attributes"])
def small_image(request: pytest.FixtureRequest) -> bytes:
    """An image with containers of all kinds, in several groups."""
    serials = {(7 << 40) + i * 2 for i in range(30_000)}  # a bitset
    serials |= {(7 << 40) + (2 << 16) + i for i in range(3000)}
    serials |= {(7 << 40) + (0x999 << 16) + i * 3 for i in range(100)}
    serials |= {(8 << 40) + (3 << 32) + i for i in range(1000)}
    serials |= {(8 << 40) + (0x7777 << 16) + i * 5 for i in range(100)}
    serials |= set(range(2000, 9000))
    entries = [_entry(serial) for serial in serials]
    octets = image_of(entries, attributes=request.param)
    tables = Image(octets).tables
    assert [table.kind for table in tables] == [BITMAP, BITMAP]
    return octets


def test_damaged_bitmaps_do_no_harm(small_image: bytes) -> None:
    """
    Without verify a damaged bitmap may be refused or answer wrongly; every lookup
    path survives it.
    """
    chance = random.Random(1)
    image = Image(small_image)
    # The descriptors, and the starts and directories of the sections above all.
    places = [*range(64, 64 + 512)]
    for table in image.tables:
        places += [start + at for start in table.section_offsets[:3] for at in range(60)]
    asked = [(7 << 40) + i for i in range(0, 9000, 7)] + [(8 << 40) + (3 << 32) + 5, 2000, 8998]
    opened = 0
    for turn in range(2000):
        damaged = bytearray(small_image)
        for _ in range(chance.randint(1, 4)):
            place = chance.choice(places) if turn % 4 else chance.randrange(len(damaged))
            damaged[place] = chance.choice((0, 1, 127, 255, chance.randrange(256)))
        try:
            index = open_index(bytes(damaged), verify=False)
            opened += 1
            index.contains_many(asked)
            for serial in asked[::50]:
                index.find(serial)
            for _, _entry in zip(range(300), index.iter_entries(), strict=False):
                pass
        except (CorruptIndexError, UnsupportedIndexVersionError, ValueError):
            pass
    assert opened > 300


def test_every_flipped_bit_of_a_bitmap_is_noticed(small_image: bytes) -> None:
    """
    With verify=True one flipped bit in a section is refused.
    """
    chance = random.Random(6)
    for _ in range(300):
        damaged = bytearray(small_image)
        damaged[chance.randrange(len(damaged))] ^= 1 << chance.randrange(8)
        with pytest.raises((CorruptIndexError, UnsupportedIndexVersionError)):
            open_index(bytes(damaged), verify=True)
