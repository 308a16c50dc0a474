"""
Compute and compare the digests of an image: of its pages, and the one that vouches for all.

Where there are many pages, their digests are themselves cut into blocks with a digest each,
so that whoever needs a few pages need not read the digests of all.
"""

from __future__ import annotations

import hashlib

from crlcheck._binding import DIGEST_SIZE, DIGESTS_PER_BLOCK, PAGE_SIZE, ImageLayout
from crlcheck.errors import CorruptIndexError

BLOCK_SIZE = DIGESTS_PER_BLOCK * DIGEST_SIZE
"""Bytes of a block of the page table."""

_SIZE_OF_SIZE = 8


def end_of_image(
    header: bytes | memoryview, page_table: bytes | memoryview, *, trailer: bool
) -> bytes:
    """Return what follows the page table: the *trailer* where there is one, and the digest."""
    if not trailer:
        return image_digest(header, page_table)
    blocks = b"".join(
        hashlib.sha256(page_table[start : start + BLOCK_SIZE]).digest()
        for start in range(0, len(page_table), BLOCK_SIZE)
    )
    size = len(header).to_bytes(_SIZE_OF_SIZE, "little")
    return blocks + bytes(header) + size + image_digest(header, blocks)


def image_digest(header: bytes | memoryview, table: bytes | memoryview) -> bytes:
    """Return the digest of the header and the table of digests that stands for the body."""
    digest = hashlib.sha256(header)
    digest.update(table)
    return digest.digest()


class Trailer:
    """
    What the last bytes of an image tell, *end*, if it has a trailer; nobody has compared it.

    ``header_size`` may be any number where there is none.
    """

    def __init__(self, end: bytes) -> None:
        self._end = end[:-DIGEST_SIZE]
        self.header_size = int.from_bytes(self._end[-_SIZE_OF_SIZE:], "little")

    @property
    def header(self) -> bytes:
        """The header; fewer bytes where *end* has not all of it."""
        return self._before(0, self.header_size)

    def block_table(self, num_pages: int) -> bytes:
        """The digests of the blocks of the page table; fewer where *end* has not all."""
        return self._before(self.header_size, num_blocks(num_pages) * DIGEST_SIZE)

    def blocks(self, num_pages: int) -> dict[int, bytes]:
        """Those blocks of the page table that are in *end* as a whole, by number."""
        behind = self.header_size + num_blocks(num_pages) * DIGEST_SIZE
        size = num_pages * DIGEST_SIZE
        table = self._before(behind, size)
        missing = size - len(table)
        first = -(-missing // BLOCK_SIZE)
        return {
            number: table[number * BLOCK_SIZE - missing :][:BLOCK_SIZE]
            for number in range(first, num_blocks(num_pages))
        }

    def size(self, num_pages: int) -> int:
        """Return how many bytes of the end have header and block table."""
        behind = _SIZE_OF_SIZE + DIGEST_SIZE
        return num_blocks(num_pages) * DIGEST_SIZE + self.header_size + behind

    def _before(self, behind: int, size: int) -> bytes:
        """Return *size* bytes that have *behind* more bytes before the size of the header."""
        stop = len(self._end) - _SIZE_OF_SIZE - behind
        return self._end[max(stop - size, 0) : max(stop, 0)]


def num_blocks(num_pages: int) -> int:
    """Return the number of blocks of the page table."""
    return -(-num_pages // DIGESTS_PER_BLOCK)


def check_digests(view: memoryview, layout: ImageLayout, *, pages: bool) -> str:
    """
    Return the image's digest in hex, after comparing it and those of all *pages* where asked.

    Raises:
        CorruptIndexError: one of them is another.
    """
    if not pages:
        return bytes(view[-DIGEST_SIZE:]).hex()
    end = layout.page_table_offset + layout.num_pages * DIGEST_SIZE
    table = view[layout.page_table_offset : end]
    expected = end_of_image(view[: layout.header_size], table, trailer=layout.has_trailer)
    if view[end:] != expected:
        raise CorruptIndexError("image is corrupt: its digest does not match its header")
    for number in range(layout.num_pages):
        start = layout.header_size + number * PAGE_SIZE
        page = view[start : min(start + PAGE_SIZE, layout.page_table_offset)]
        if hashlib.sha256(page).digest() != table[number * DIGEST_SIZE :][:DIGEST_SIZE]:
            raise CorruptIndexError(f"image is corrupt: page {number} does not match its digest")
    return expected[-DIGEST_SIZE:].hex()
