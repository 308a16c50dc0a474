"""Make images of dense serials, and compare every way to look up with a set."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Any

import pytest

from crlcheck import (
    CorruptIndexError,
    RevocationIndex,
    UnsupportedIndexVersionError,
    compile_unverified_crl,
    open_index,
)
from crlcheck.demo.pki import encode_entry
from support.crls import REVOKED_ON, make_crl

BUCKET, BITMAP, GAPS, LINES = 0, 1, 2, 3


def image_of(serials: Iterable[int | bytes], *, attributes: bool = False) -> bytes:
    """The image of a CRL that lists *serials*."""
    image = compile_unverified_crl(make_crl(serials), attributes=attributes).image
    assert image is not None
    return image


def tables_of(index: RevocationIndex) -> list[dict[str, int]]:
    """What the index says of its tables."""
    tables: Any = index.stats["tables"]
    return list(tables)


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


def attributes_of(serial: int) -> tuple[int | None, timedelta, timedelta | None]:
    """Reason, age of the revocation and age of the invalidity of a serial's entry."""
    reason = (None, 1, 3, 4, 5, 6)[serial % 6]
    invalid = timedelta(hours=serial % 90) if serial % 5 == 0 else None
    return reason, timedelta(seconds=serial * serial % 10**7), invalid


def entry_of(serial: int) -> bytes:
    """The entry of a serial, with attributes that follow from it."""
    reason, age, invalid = attributes_of(serial)
    return encode_entry(
        serial,
        REVOKED_ON - age,
        reason=reason,
        invalidity_date=None if invalid is None else REVOKED_ON - invalid,
    )


def survives_damage(image: bytes, places: Sequence[int], asked: Sequence[int]) -> int:
    """
    Look up and iterate in 2000 damaged copies of *image*, unverified, which may answer
    anything but must not crash; return how many opened. *places* are hit most.
    """
    chance = random.Random(1)
    opened = 0
    for turn in range(2000):
        damaged = bytearray(image)
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
    return opened


def assert_flipped_bits_are_noticed(image: bytes) -> None:
    """With verify=True an image of which one bit is flipped is refused."""
    chance = random.Random(6)
    for _ in range(300):
        damaged = bytearray(image)
        damaged[chance.randrange(len(damaged))] ^= 1 << chance.randrange(8)
        with pytest.raises((CorruptIndexError, UnsupportedIndexVersionError)):
            open_index(bytes(damaged), verify=True)
