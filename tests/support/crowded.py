"""Serials that a CA could choose to crowd them into one bucket of a table."""

from __future__ import annotations

import random

from support.format_reader import Shape

SHAPE = Shape(bytes(8), b"\x80" + bytes(7))
"""Of serials of eight octets that are positive and have no other bit in common."""


def serials_in(bucket: int, bucket_bits: int, count: int, seed: int = 0) -> set[int]:
    """Serials of eight octets that fall in one bucket of so many."""
    chance = random.Random(seed << 40 | bucket)
    left = SHAPE.low_bits - bucket_bits
    lows = {bucket << left | chance.getrandbits(left) for _ in range(count)}
    serials = {SHAPE.serial(low, 0) for low in lows}
    return {int.from_bytes(serial, "big") for serial in serials if serial[:2] >= b"\x00\x80"}


def random_serials(count: int, seed: int = 1) -> set[int]:
    """Serials of eight octets that are spread evenly."""
    chance = random.Random(seed)
    return {chance.randrange(1 << 55, 1 << 63) for _ in range(count)}
