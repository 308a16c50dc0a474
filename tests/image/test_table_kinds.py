"""Each table is of the kind that takes least, and every kind is just as exact."""

from __future__ import annotations

import math
import random
from array import array

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from crlcheck import open_index
from crlcheck.compiler.pipeline import serialize_bitmap
from support.crls import REVOKED_ON
from support.format_reader import BitmapTable, BucketTable, GapsTable, Image, LinesTable, Table
from support.gaps_reader import plan_gaps
from support.tables import (
    BITMAP,
    GAPS,
    LINES,
    assert_agrees,
    attributes_of,
    entry_of,
    image_of,
    tables_of,
)


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


@st.composite
def _counted(draw: st.DrawFn) -> set[int]:
    """Many serials from one start on, at gaps that are even, random or both in turn."""
    start = draw(st.sampled_from([0, 1 << 32, (1 << 40) - 7000, -9000, (1 << 63) + 5, 1 << 90]))
    count = draw(st.integers(2, 2500))
    gap = draw(st.sampled_from([2, 3, 4, 7, 16, 33, 64, 100, 400, 520]))
    chance = random.Random(draw(st.integers(0, 99)))
    habit = draw(st.sampled_from(["even", "random", "in turn"]))
    found, serial = set(), start
    for i in range(count):
        even = habit == "even" or (habit == "in turn" and i // 300 % 2)
        serial += gap if even else chance.randint(1, 2 * gap - 1)
        found.add(serial)
    return found


@settings(max_examples=150, deadline=None)
@given(listed=st.one_of(_dense(), _counted()), attributes=st.booleans())
def test_dense_images_agree_with_a_set(listed: set[int], attributes: bool) -> None:
    """
    Membership is exact however the serials lie, for members and their neighbours,
    by every way of looking up.
    """
    assert_agrees(image_of(listed, attributes=attributes), listed)


@settings(max_examples=60, deadline=None)
@given(listed=st.one_of(_dense(), _counted()))
def test_attributes_are_those_of_the_entry(listed: set[int]) -> None:
    """
    Whatever kinds of table there are, entries keep their attributes.
    """
    with open_index(image_of(map(entry_of, listed), attributes=True)) as index:
        for entry in index.iter_entries():
            reason, age, invalid = attributes_of(entry.serial_number)
            assert entry.reason_code == reason
            assert entry.revocation_date == REVOKED_ON - age
            assert entry.invalidity_date == (None if invalid is None else REVOKED_ON - invalid)
            assert index.find(entry.serial_number) == entry


# ---- the choice --------------------------------------------------------------


def _rounded(size: int) -> int:
    return (size + 7) // 8 * 8


def _lines_size(table: Table) -> int:
    """What remainders and lines of a table take."""
    n, bucket_bits = table.num_entries, 0
    while n > 15 and 5 * n > 16 << bucket_bits:
        bucket_bits += 1
    remainders = _rounded((n * (table.shape.key_bits - bucket_bits) + 7) // 8)
    return remainders + 64 * (((1 << bucket_bits) + 119) // 120 if bucket_bits else 0)


def _ordered_keys(table: Table) -> list[int]:
    """The ordered keys of a table, of whichever kind."""
    serials = (
        entry.serial.to_bytes(table.serial_len, "big", signed=True) for _, entry in table.entries()
    )
    keys = [table.shape.ordered_key(serial) for serial in serials]
    return sorted(key for key in keys if key is not None)


def _bitmap_size(keys: list[int]) -> int:
    """Bytes of pyroaring's serialization and our group directory."""
    num_groups = len({key >> 32 for key in keys})
    return _rounded(len(serialize_bitmap(array("Q", keys)))) + 24 * num_groups * (num_groups > 1)


def _smallest(table: Table) -> tuple[int, int]:
    """Kind and size of a table by the rules of docs/reference/index-format.md."""
    keys, size = _ordered_keys(table), _lines_size(table)
    chosen = LINES, size
    if table.shape.key_bits > 64:
        return chosen
    bitmap, plan = _bitmap_size(keys), plan_gaps(keys)
    if bitmap < size:
        chosen = BITMAP, bitmap
    if plan is not None and plan.size() <= min(size - size // 12, chosen[1]):
        chosen = GAPS, plan.size()
    return chosen


@settings(max_examples=150, deadline=None)
@given(listed=st.one_of(_dense(), _counted()))
@example(listed={(1 << 40) + i for i in range(3)})  # runs are no smaller than an array
@example(listed={(1 << 40) + i * 0x10001 for i in range(300)})
def test_the_smallest_kind_is_chosen(listed: set[int]) -> None:
    """
    A table is of the kind that takes the fewest bytes, gaps only if they save a
    twelfth of a table of lines, and takes as many as it should.
    """
    octets = image_of(listed)
    with open_index(octets) as index:
        described = tables_of(index)
    for table, native in zip(Image(octets).tables, described, strict=True):
        kind, size = _smallest(table)
        assert native["kind"] == table.kind == kind
        assert native["size"] == size
        assert isinstance(table, (BucketTable, BitmapTable, GapsTable, LinesTable)[kind])


@pytest.mark.parametrize(
    ("gap", "kind"), [(1, BITMAP), (2, BITMAP), (4, GAPS), (16, GAPS), (64, GAPS), (600, LINES)]
)
def test_density_decides(gap: int, kind: int) -> None:
    """
    Dense serials make a bitmap, less dense ones gaps, sparse ones a table of lines; the
    index says which.
    """
    chance = random.Random(gap)
    listed = {(1 << 60) + key for key in chance.sample(range(30_000 * gap), 30_000)}
    with open_index(image_of(listed)) as index:
        assert [table["kind"] for table in tables_of(index)] == [kind]


@pytest.mark.parametrize("gap", [1, 2, 3, 4, 5, 8, 13, 16, 23, 47, 64])
@pytest.mark.parametrize("count", [10_000, 100_000])
def test_dense_images_are_near_the_least_there_can_be(gap: int, count: int) -> None:
    """
    An image of dense serials is no larger than their roaring bitmap, nor than 0.6 bit
    an entry more than the information in such a set, but for 2 KiB.
    """
    chance = random.Random(gap)
    keys = sorted(chance.sample(range(gap * count), count))
    image = image_of((1 << 40) + key for key in keys)
    span = keys[-1] - keys[0] + 1
    ways = math.lgamma(span + 1) - math.lgamma(count + 1) - math.lgamma(span - count + 1)
    bound = ways / math.log(2) / 8
    limit = min(len(serialize_bitmap(array("Q", keys))), bound + 0.6 * count / 8)
    assert len(image) <= limit + 2048


def test_several_tables_of_all_kinds() -> None:
    """
    Each length of serials is decided on its own.
    """
    chance = random.Random(4)
    listed = set(range(1000, 9000)) | set(range(-9000, -1000))
    listed |= {1 << 90 | chance.getrandbits(80) for _ in range(200)}
    listed |= {(1 << 150) + number for number in range(500)}
    listed |= {(1 << 60) + chance.randrange(30_000) for _ in range(2000)}
    octets = image_of(listed)
    assert_agrees(octets, listed)
    with open_index(octets) as index:
        kinds = {table["serial_len"]: table["kind"] for table in tables_of(index)}
    assert kinds == {2: BITMAP, 8: GAPS, 12: LINES, 19: BITMAP}


@settings(max_examples=40, deadline=None)
@given(listed=st.one_of(_dense(), _counted()), seed=st.integers(0, 99), attributes=st.booleans())
def test_order_and_duplicates_change_no_octet(
    listed: set[int], seed: int, attributes: bool
) -> None:
    """
    The image follows from the set of entries, not from the order they come in or
    how often.
    """
    chance = random.Random(seed)
    once = sorted(listed)
    entries = [entry_of(serial) for serial in once]
    again = chance.sample(entries, len(entries)) + chance.choices(entries, k=20)
    first, second = (image_of(e, attributes=attributes) for e in (entries, again))
    body = slice(Image(first).header_size, -32)  # metadata count the duplicates
    assert first[body] == second[Image(second).header_size : -32]
