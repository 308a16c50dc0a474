"""Bitmaps are as exact as tables of lines, whatever containers they have."""

from __future__ import annotations

import random
from array import array
from collections.abc import Iterable, Sequence

import pytest

from crlcheck import open_index
from crlcheck._binding import CrlParser, SortedEntries
from crlcheck.compiler.pipeline import serialize_bitmap
from support.crls import REVOKED_ON, make_crl
from support.format_reader import BitmapTable, Image
from support.tables import (
    BITMAP,
    assert_agrees,
    assert_flipped_bits_are_noticed,
    attributes_of,
    entry_of,
    image_of,
    survives_damage,
    tables_of,
)

# ---- the property above all --------------------------------------------------


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


def test_attributes_are_found_by_rank() -> None:
    """
    Every entry has its own reason and dates, in containers of all kinds, looked up
    or iterated.
    """
    listed = sorted(_large())
    chance = random.Random(2)
    shuffled = chance.sample(listed, len(listed))
    with open_index(image_of(map(entry_of, shuffled), attributes=True)) as index:
        assert [table["kind"] for table in tables_of(index)] == [BITMAP]
        iterated = list(index.iter_entries())
        assert [entry.serial_number for entry in iterated] == listed
        for serial, entry in zip(listed, iterated, strict=True):
            reason, age, invalid = attributes_of(serial)
            assert entry.reason_code == reason
            assert entry.revocation_date == REVOKED_ON - age
            assert entry.invalidity_date == (None if invalid is None else REVOKED_ON - invalid)
        for place in chance.choices(range(len(listed)), k=5000):
            assert index.find(listed[place]) == iterated[place]


# ---- bad input ---------------------------------------------------------------


def _sorted(serials: Iterable[int]) -> SortedEntries:
    parser = CrlParser(attributes=True, max_source_size=0, allow_v1=False)
    parser.feed(make_crl(serials))
    return parser.finish().sort(lambda share: share())


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
    Bytes that are not the bitmap of a table's entries are refused, and the table
    can still be written.
    """
    entries = _sorted([*range(1000, 3000), *(70_000 + i + i // 50 * 30 for i in range(30_000))])
    tables = list(entries._bitmap_tables())
    assert len(tables) == 2
    for table, members in tables:
        for octets in _other_bitmaps(members):
            with pytest.raises(ValueError, match=f"not the bitmap of table {table}"):
                entries._set_bitmap(table, octets)
    with pytest.raises(ValueError, match="not the bitmap of table 7"):
        entries._set_bitmap(7, b"")
    with pytest.raises(ValueError, match=f"not the bitmap of table {tables[0][0]}"):
        entries.start_image(b"{}", lambda _: b"")
    image = entries.start_image(b"{}", serialize_bitmap)
    body = b"".join(
        bytes(buffer[:size]) for buffer, size in image.body(bytearray(1 << 16) for _ in range(9))
    )
    described = [image.header[64 + 256 * number :][5] for number in range(2)]
    assert described == [BITMAP, BITMAP]
    assert serialize_bitmap(tables[1][1]) in body


@pytest.fixture(scope="module", params=[False, True], ids=["serials", "attributes"])
def small_image(request: pytest.FixtureRequest) -> bytes:
    """An image with containers of all kinds, in several groups."""
    serials = {(7 << 40) + i * 2 for i in range(30_000)}  # a bitset
    serials |= {(7 << 40) + (2 << 16) + i for i in range(3000)}
    serials |= {(7 << 40) + (0x999 << 16) + i * 3 for i in range(100)}
    serials |= {(8 << 40) + (3 << 32) + i for i in range(1000)}
    serials |= {(8 << 40) + (0x7777 << 16) + i * 5 for i in range(100)}
    serials |= set(range(2000, 9000))
    entries = [entry_of(serial) for serial in serials]
    octets = image_of(entries, attributes=request.param)
    tables = Image(octets).tables
    assert [table.kind for table in tables] == [BITMAP, BITMAP]
    return octets


def test_damaged_bitmaps_do_no_harm(small_image: bytes) -> None:
    """
    Without verify a damaged bitmap may be refused or answer wrongly; every lookup
    path survives it.
    """
    image = Image(small_image)
    # The descriptors, and the starts and directories of the sections above all.
    places = [*range(64, 64 + 512)]
    for table in image.tables:
        places += [start + at for start in table.section_offsets[:3] for at in range(60)]
    asked = [(7 << 40) + i for i in range(0, 9000, 7)] + [(8 << 40) + (3 << 32) + 5, 2000, 8998]
    assert survives_damage(small_image, places, asked) > 300


def test_every_flipped_bit_of_a_bitmap_is_noticed(small_image: bytes) -> None:
    """
    With verify=True one flipped bit in a section is refused.
    """
    assert_flipped_bits_are_noticed(small_image)
