"""A large image has a trailer, by which pages of it can be read and compared alone."""

from __future__ import annotations

import hashlib
import math
import random
import struct

import pytest

from crlcheck import CorruptIndexError, compile_crl, open_index
from crlcheck._binding import PAGE_SIZE
from crlcheck.image.digests import BLOCK_SIZE
from support.crls import authority, make_crl, random_entries
from support.format_reader import Image
from support.native import Entry, build

FLAGS_AT = 12


@pytest.fixture(scope="module")
def image() -> bytes:
    """An image of 40 pages or so."""
    made = compile_crl(make_crl(random_entries(180_000)), issuer=authority().der).image
    assert made is not None
    return made


def test_a_large_image_ends_in_its_trailer(image: bytes) -> None:
    """
    The end of an image says how long its header is, repeats it, and has the digests of the
    blocks of the page table; all of it as docs/reference/index-format.md says.
    """
    (flags,) = struct.unpack_from("<I", image, FLAGS_AT)
    (body_end,) = struct.unpack_from("<Q", image, 24)
    (header_size,) = struct.unpack_from("<I", image, 40)
    assert flags == 3
    header = image[:header_size]
    num_pages = -(-(body_end - header_size) // PAGE_SIZE)
    assert num_pages > 32
    table_end = body_end + 32 * num_pages
    block = hashlib.sha256(image[body_end:table_end]).digest()
    end = block + header + struct.pack("<Q", header_size)
    assert image[table_end:] == end + hashlib.sha256(header + block).digest()
    with open_index(image) as index:
        assert index.digest == image[-32:].hex()
        assert index.stats["image_size"] == len(image)


def test_the_second_reader_reads_it(image: bytes) -> None:
    """
    The reader in plain Python finds what the native one finds.
    """
    plain = Image(image)
    with open_index(image) as index:
        for entry in random.Random(2).sample(list(index.iter_entries()), 20):
            found = plain.find(entry.serial_number)
            assert found is not None
            assert plain.find(entry.serial_number + 1) is None


def test_every_byte_of_the_end_counts(image: bytes) -> None:
    """
    One flipped bit in page table, block table, second header, its size or the digest makes
    an image corrupt.
    """
    (body_end,) = struct.unpack_from("<Q", image, 24)
    for position in range(body_end, len(image), 7):
        damaged = bytearray(image)
        damaged[position] ^= 1 << position % 8
        with pytest.raises(CorruptIndexError):
            open_index(bytes(damaged))


def test_an_image_that_lies_about_its_trailer_is_refused(image: bytes) -> None:
    """
    The flag and the size of what is behind the body must agree, even without verify.
    """
    damaged = bytearray(image)
    damaged[FLAGS_AT] ^= 2
    with pytest.raises(CorruptIndexError):
        open_index(bytes(damaged), verify=False)


@pytest.mark.parametrize("num_pages", [1, 32, 33, 280])
def test_the_number_of_pages_decides(num_pages: int) -> None:
    """
    An image of at most 32 pages has no trailer, every other one has; its block table grows
    by one digest for 256 pages. Where the border lies is exact.
    """
    made = build(_entries_for(num_pages), attributes=False).image
    (body_end,) = struct.unpack_from("<Q", made, 24)
    (flags,) = struct.unpack_from("<I", made, FLAGS_AT)
    (header_size,) = struct.unpack_from("<I", made, 40)
    pages = -(-(body_end - header_size) // PAGE_SIZE)
    assert abs(pages - num_pages) <= num_pages // 100
    behind = len(made) - body_end
    if pages <= 32:
        assert (flags & 2, behind) == (0, 32 * (pages + 1))
    else:
        blocks = -(-pages * 32 // BLOCK_SIZE)
        assert (flags & 2, behind) == (2, 32 * (pages + blocks + 1) + header_size + 8)


def _entries_for(num_pages: int) -> list[Entry]:
    """So many serials of 64 bytes, nearly all of them random, that half the last page is full."""
    count = round((num_pages - 0.5) * PAGE_SIZE / (63 - math.log2(num_pages * 1000) / 8))
    chance = random.Random(num_pages)
    return [Entry(bytes([1]) + chance.randbytes(63)) for _ in range(count)]
