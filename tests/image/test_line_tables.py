"""Tables with one line a bucket are exact, however a CA crowds its serials, and survive damage."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crlcheck import open_index
from support.crowded import SHAPE, random_serials, serials_in
from support.format_reader import Image, LinesTable
from support.tables import (
    assert_agrees,
    assert_flipped_bits_are_noticed,
    entry_of,
    image_of,
    survives_damage,
)


def lines_of(image: bytes) -> LinesTable:
    """The table of serials of eight octets in an image."""
    (table,) = (table for table in Image(image).tables if table.serial_len == 8)
    assert isinstance(table, LinesTable)
    assert table.shape.key_bits == SHAPE.key_bits
    return table


@settings(max_examples=30, deadline=None)
@given(
    spread=st.integers(0, 900),
    crowds=st.lists(st.tuples(st.integers(0, 511), st.integers(1, 40)), max_size=12),
    seed=st.integers(0, 99),
    attributes=st.booleans(),
)
def test_crowded_buckets_change_no_answer(
    spread: int, crowds: list[tuple[int, int]], seed: int, attributes: bool
) -> None:
    """
    Whatever counts the buckets have, up to fifteen and beyond, every way to look up agrees
    with a set, and so does the reader that follows the document.
    """
    listed = random_serials(spread, seed)
    for bucket, count in crowds:
        listed |= serials_in(bucket, 9, count, seed)
    image = image_of(map(entry_of, listed), attributes=True) if attributes else image_of(listed)
    assert_agrees(image, listed)
    entries = [entry for table in Image(image).tables for _, entry in table.entries()]
    assert {entry.serial for entry in entries} == listed
    with open_index(image) as index:
        assert [e.serial_number for e in index.iter_entries()] == [e.serial for e in entries]


@pytest.mark.parametrize("count", [*range(1, 20), 63, 64, 192, 193, 384, 385])
def test_every_size_has_its_lines(count: int) -> None:
    """
    A table of up to fifteen entries has no lines; each larger one has lines for all buckets,
    the last of which may be for buckets that there are not.
    """
    listed = random_serials(count, count)
    image = image_of(listed)
    (table,) = Image(image).tables
    assert isinstance(table, LinesTable)
    wanted = 0 if count <= 15 else max(0, (5 * count - 1) >> 4).bit_length()
    assert table.bucket_bits == wanted
    assert len(table.sections[1]) == (64 * -(-(1 << wanted) // 120) if count > 15 else 0)
    assert_agrees(image, listed)


@pytest.mark.parametrize("count", [15, 16, 17, 300])
def test_a_line_spills_from_sixteen_entries_in_a_bucket(count: int) -> None:
    """
    Fifteen entries of a bucket are counted in its line; one more, and the line is spilled.
    """
    others = random_serials(4000)
    crowd = serials_in(3, 11, count)
    table = lines_of(image_of(others | crowd))
    assert table.bucket_bits == 11
    inside = [number for number in range(120) if table.bucket(number)[1] > 15 and number < 1 << 11]
    assert table.spilled == (1 if inside else 0)
    assert bool(inside) == (len(crowd) + _in_bucket_3(others) > 15)
    assert_agrees(image_of(others | crowd), others | crowd)


def _in_bucket_3(serials: set[int]) -> int:
    keys = [SHAPE.key(serial.to_bytes(8, "big")) for serial in serials]
    return sum(key is not None and key[0] >> SHAPE.low_bits - 11 == 3 for key in keys)


def test_a_ca_that_spills_every_line_pays_little() -> None:
    """
    Sixteen serials in one bucket of every line spill them all: 484 bytes for each line, two
    and a half for an entry, and every answer is right.
    """
    listed: set[int] = set()
    for line in range(18):
        listed |= serials_in(min(line * 120 + 7, 2047), 11, 24)
    listed |= random_serials(6400 - len(listed))
    image = image_of(listed)
    table = lines_of(image)
    assert (table.bucket_bits, len(table.sections[1])) == (11, 18 * 64)
    assert len(table.sections[2]) == 18 * 484
    assert len(table.sections[2]) <= 2.5 * len(listed)
    assert_agrees(image, listed)


def test_all_serials_in_one_bucket() -> None:
    """
    Even where all serials are in one bucket, they and no others are found, and listed in
    order.
    """
    listed = serials_in(700, 10, 2500)
    image = image_of(listed)
    table = lines_of(image)
    assert (table.spilled, table.largest_bucket) == (1, len(listed))
    assert_agrees(image, listed)


def test_lines_are_aligned_behind_any_section() -> None:
    """
    Whatever lies before the lines, each lies in 64 bytes that start at a multiple of 64.
    """
    for count in range(16, 40):
        listed = random_serials(count) | {1 << 80 | serial for serial in random_serials(count + 5)}
        image = image_of(map(entry_of, listed), attributes=True)
        for table in Image(image).tables:
            assert isinstance(table, LinesTable)
            assert table.section_offsets[1] % 64 == 0
            assert not any(image[table.section_offsets[0] + len(table.sections[0]):
                                 table.section_offsets[1]])  # fmt: skip
        assert_agrees(image, listed)


def test_damage_does_no_harm() -> None:
    """
    Without verify, lines and records that contradict each other may give wrong answers;
    every way to look up survives them.
    """
    listed = random_serials(900) | serials_in(5, 9, 40) | serials_in(300, 9, 40)
    image = image_of(map(entry_of, listed), attributes=True)
    table = lines_of(image)
    assert table.spilled == 2
    _, lines, spill = table.section_offsets[:3]
    places = [*range(64, 320), *range(lines, lines + len(table.sections[1]))]
    places += range(spill, spill + len(table.sections[2]))
    assert survives_damage(image, places, sorted(listed)[::3]) > 400


def test_flipped_bits_are_noticed() -> None:
    """
    With verify, one flipped bit in a line or a record makes an image corrupt.
    """
    assert_flipped_bits_are_noticed(image_of(random_serials(300) | serials_in(5, 7, 30)))
