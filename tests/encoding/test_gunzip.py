"""Gzip data as a stream: whole, bounded, damaged."""

from __future__ import annotations

import gzip
import io
import random

import pytest

from crlcheck.encoding.gunzip import Gunzip

PLAIN = random.Random(1).randbytes(100_000) + bytes(300_000)


def read_all(data: bytes, size: int) -> bytes:
    """All contents, read by *size* bytes."""
    reader = Gunzip(io.BytesIO(data))
    found = []
    while chunk := reader.read(size):
        assert len(chunk) <= size
        found.append(chunk)
    return b"".join(found)


@pytest.mark.parametrize("size", [1000, 1024, 65536, 1 << 20])
def test_contents_are_read_whole(size: int) -> None:
    """Of one member and of several, with zero bytes behind the last."""
    assert read_all(gzip.compress(PLAIN), size) == PLAIN
    several = gzip.compress(PLAIN) + gzip.compress(b"") + gzip.compress(b"end")
    assert read_all(several + bytes(100), size) == PLAIN + b"end"


@pytest.mark.parametrize("length", [0, 1, 2, 1000, 65536])
@pytest.mark.parametrize("size", [1, 2, 1000])
def test_reads_that_fit_exactly_lose_nothing(length: int, size: int) -> None:
    """The decoder may hold bytes back although it has taken all its input."""
    plain = bytes(length % 1001 if size == 1 else length)
    assert read_all(gzip.compress(plain), size) == plain


def test_a_bomb_gives_no_more_than_is_asked_for() -> None:
    """Nobody's memory is filled by a few bytes."""
    reader = Gunzip(io.BytesIO(gzip.compress(bytes(100 << 20))))
    assert len(reader.read(1 << 16)) == 1 << 16


@pytest.mark.parametrize("cut", [1, 5, 12, 100, 9000])
def test_what_ends_early_is_refused(cut: int) -> None:
    """Also within the header and the checksum."""
    with pytest.raises(ValueError, match="gzip data end too early"):
        read_all(gzip.compress(PLAIN)[:-cut], 1000)


@pytest.mark.parametrize("position", [0, 1, 50_000, -8, -1])
def test_what_is_damaged_is_refused(position: int) -> None:
    """By its form or by its checksum."""
    data = bytearray(gzip.compress(PLAIN))
    data[position] ^= 0x55
    with pytest.raises(ValueError, match="gzip data"):
        read_all(bytes(data), 1000)


def test_what_follows_is_gzip_too_or_refused() -> None:
    """Nothing behind a member is ignored."""
    with pytest.raises(ValueError, match="damaged"):
        read_all(gzip.compress(b"a") + b"more", 1000)
