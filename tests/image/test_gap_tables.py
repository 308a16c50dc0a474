"""Tables of gaps answer exactly, at their edges and those of their blocks too."""

from __future__ import annotations

import random

import pytest

from crlcheck import open_index
from support.crls import REVOKED_ON
from support.format_reader import GapsTable, Image
from support.tables import (
    GAPS,
    assert_agrees,
    assert_flipped_bits_are_noticed,
    attributes_of,
    entry_of,
    image_of,
    survives_damage,
    tables_of,
)


def only_table(octets: bytes) -> GapsTable:
    """The one table of an image, which is of gaps."""
    (table,) = Image(octets).tables
    assert isinstance(table, GapsTable)
    return table


def scattered(base: int, span: int, count: int) -> set[int]:
    """Random serials from *base* on, the ends of the span among them."""
    chance = random.Random(count)
    return {base, base + span - 1, *(base + chance.randrange(span) for _ in range(count))}


@pytest.mark.parametrize(
    ("base", "span", "key_bits"),
    [
        (1 << 64, 1 << 16, 16),  # from the least key to the greatest
        ((1 << 64) + (1 << 63) - 20_000, 40_000, 64),
        ((1 << 72) - (1 << 31) - 20_000, 40_000, 32),
        (-(1 << 40) - 100_000, 100_000, 17),
    ],
)
@pytest.mark.parametrize("attributes", [False, True])
def test_both_ends_of_the_keys(base: int, span: int, key_bits: int, attributes: bool) -> None:
    """
    The first key and the last are found wherever they lie among all keys there can
    be; what lies beyond, or at the other end of all keys, is not.
    """
    listed = scattered(base, span, span // 8)
    octets = image_of(listed, attributes=attributes)
    assert only_table(octets).shape.key_bits == key_bits
    assert_agrees(octets, listed)
    top = 1 << key_bits
    below = base - base % top
    with open_index(octets) as index:
        for key in {0, 1, top // 2 - 1, top // 2, top - 2, top - 1}:
            assert (below + key in index) == (below + key in listed)


def test_blocks_start_and_end_anywhere() -> None:
    """
    Keys at the first and the last place of a block, blocks that are empty and blocks
    that are full are told from their neighbours.
    """
    listed = scattered(0, 1 << 16, 3300)
    block_bits = only_table(image_of((1 << 40) + serial for serial in listed)).gaps.block_bits
    for start in range(0, 1 << 16, 3 << block_bits):
        listed |= {start, start + (1 << block_bits) - 1}
        listed -= set(range(start + (1 << block_bits), start + (2 << block_bits)))
    listed |= set(range(40_000, 40_128))
    octets = image_of((1 << 40) + serial for serial in listed)
    table = only_table(octets)
    sizes = {len(table.gaps.values(block)) for block in range(table.gaps.num_blocks)}
    assert min(sizes) == 0
    assert max(sizes) > 100
    assert_agrees(octets, {(1 << 40) + serial for serial in listed})


@pytest.mark.parametrize("step", [5, 100, 511])
def test_even_gaps_take_next_to_nothing(step: int) -> None:
    """
    Serials that a CA counts up by a fixed step take few bits each,
    whatever the step.
    """
    listed = {(1 << 40) + number * step for number in range(5000)}
    octets = image_of(listed)
    table = only_table(octets)
    assert table.gaps.least_gap == step
    size = sum(map(len, table.sections))
    assert 8 * size < 5000 * 6
    assert_agrees(octets, listed)


def test_attributes_are_found_by_rank() -> None:
    """
    Every entry has its own reason and dates, looked up or iterated, however the
    entries came.
    """
    listed = sorted(scattered(1 << 40, 90_000, 6000))
    shuffled = random.Random(3).sample(listed, len(listed))
    octets = image_of(map(entry_of, shuffled), attributes=True)
    assert only_table(octets).gaps.num_rows > 2
    with open_index(octets) as index:
        iterated = list(index.iter_entries())
        assert [entry.serial_number for entry in iterated] == listed
        for serial, entry in zip(listed, iterated, strict=True):
            reason, age, invalid = attributes_of(serial)
            assert entry.reason_code == reason
            assert entry.revocation_date == REVOKED_ON - age
            assert entry.invalidity_date == (None if invalid is None else REVOKED_ON - invalid)
            assert index.find(serial) == entry


def test_blocks_shrink_where_serials_crowd() -> None:
    """
    No block has more than 256 entries, however they crowd: where that would need too
    many blocks, the table is one of lines.
    """
    chance = random.Random(8)
    listed = {(1 << 40) + chance.randrange(1 << 18) for _ in range(5000)}
    for start in chance.sample(range(1 << 18), 4):
        listed |= {(1 << 40) + start + chance.randrange(4000) for _ in range(700)}
    octets = image_of(listed)
    gaps = only_table(octets).gaps
    sizes = [len(gaps.values(block)) for block in range(gaps.num_blocks)]
    assert 128 < max(sizes) <= 256
    assert len(listed) / len(sizes) < 40
    assert_agrees(octets, listed)
    crowded = {
        (1 << 40) + number * 300_000 + place for number in range(9) for place in range(0, 1400, 2)
    }
    with open_index(image_of(crowded)) as index:
        assert GAPS not in [table["kind"] for table in tables_of(index)]


# ---- bad input ---------------------------------------------------------------


@pytest.fixture(scope="module", params=[False, True], ids=["serials", "attributes"])
def small_image(request: pytest.FixtureRequest) -> bytes:
    """An image of two tables of gaps."""
    serials = scattered(1 << 40, 60_000, 3000) | scattered(1 << 32, 20_000, 2000)
    octets = image_of(map(entry_of, serials), attributes=request.param)
    assert [table.kind for table in Image(octets).tables] == [GAPS, GAPS]
    return octets


def test_damaged_gaps_do_no_harm(small_image: bytes) -> None:
    """
    Without verify damaged gaps may be refused or answer wrongly; every lookup path
    survives it.
    """
    places = [*range(64, 64 + 512)]
    for table in Image(small_image).tables:
        places += [start + at for start in table.section_offsets[:3] for at in range(64)]
    asked = [base + i for base in (1 << 40, 1 << 32) for i in range(0, 100_000, 37)]
    assert survives_damage(small_image, places, asked) > 300


def test_every_flipped_bit_of_gaps_is_noticed(small_image: bytes) -> None:
    """
    With verify=True one flipped bit in a section is refused.
    """
    assert_flipped_bits_are_noticed(small_image)
