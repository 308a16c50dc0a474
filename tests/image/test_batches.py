"""Serials looked up together: each gets its own answer, whoever its neighbours are."""

from __future__ import annotations

import random

import pytest

from crlcheck import compile_crl, open_index
from crlcheck.image.index import RevocationIndex
from support.crls import authority, make_crl
from support.format_reader import Shape

WIDTH = 20


def _index(listed: set[int]) -> RevocationIndex:
    report = compile_crl(make_crl(listed), issuer=authority().der)
    assert report.image is not None
    return open_index(report.image)


def _both_ways(index: RevocationIndex, asked: list[int]) -> list[list[bool]]:
    """What the two kinds of batches say."""
    rows = b"".join(serial.to_bytes(WIDTH, "big") for serial in asked)
    return [index.contains_many(asked), [bool(x) for x in index.contains_packed(rows, WIDTH)]]


@pytest.mark.parametrize("num_lengths", [1, 2, 4, 5, 12])
def test_serials_of_many_tables_in_turn(num_lengths: int) -> None:
    """
    A batch keeps apart the tables its serials are of, also where these are more than
    it gathers for at a time, and where one has far more serials than another.
    """
    seeded = random.Random(num_lengths)
    lengths = seeded.sample(range(4, WIDTH), num_lengths)
    listed = {
        seeded.getrandbits(8 * length - 2) | 1 << (8 * length - 2)
        for length in lengths
        for _ in range(40 * length)
    }
    others = {serial ^ 1 << seeded.randrange(8) for serial in listed}
    asked = sorted(listed | others)
    seeded.shuffle(asked)
    expected = [serial in listed for serial in asked]
    with _index(listed) as index:
        assert _both_ways(index, asked) == [expected, expected]


@pytest.mark.parametrize("num_others", [0, 200, 5000])
def test_serials_whose_keys_agree_in_the_low_word(num_others: int) -> None:
    """
    Serials can be made whose keys agree in the word that is compared first: they are
    told apart by the rest, whichever of them the bucket has first.
    """
    seeded = random.Random(num_others)
    shape = Shape(bytes([0x40]) + bytes(15), bytes([0xC0]) + bytes(15))
    of_one_low = [
        int.from_bytes(shape.serial(seeded.getrandbits(64), high), "big")
        for high in (0, 1, 2**61, 2**62 - 1)
    ]
    low = seeded.getrandbits(64)
    twins = [int.from_bytes(shape.serial(low, high), "big") for high in range(0, 2**62, 2**59)]
    others = {seeded.getrandbits(126) | 1 << 126 for _ in range(num_others)}
    for num_listed in (1, 2, 3, 4, len(twins) - 1):
        listed = {*twins[:num_listed], *of_one_low, *others, 0x40 << 120, (0x80 << 120) - 1}
        asked = [*twins, *of_one_low, *others]
        expected = [serial in listed for serial in asked]
        with _index(listed) as index:
            assert _both_ways(index, asked) == [expected, expected]
            assert [serial in index for serial in asked] == expected
