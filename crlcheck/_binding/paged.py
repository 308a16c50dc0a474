"""Look serial numbers up in an image of which only the header is in memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from crlcheck._binding.image import FoundEntry, ImageLayout, found_entry, layout_of
from crlcheck._binding.values import raise_for_image
from crlcheck._native import ffi, lib
from crlcheck.errors import CorruptIndexError

PageSource = Callable[[int], bytes]
"""Gives the bytes of a page of the body, by its number; they agree with their digest."""

# Nearly every look-up needs two pages, and with reason and dates five.
_MANY = 8


class NativePagedImage:
    """
    The header of an image, and look-ups that are given the pages that they ask for.

    No other byte of the body is there, so none can be taken for a page. Any number of
    threads may look up at once.
    """

    def __init__(self, header: bytes, image_size: int) -> None:
        """
        Check the structure of an image of *image_size* bytes, as far as its *header* tells.

        Raises:
            CorruptIndexError: it is no header, or contradicts itself.
            UnsupportedIndexVersionError: it is of a later major version.
        """
        self._octets = ffi.from_buffer("uint8_t[]", header)
        error = ffi.new("crlcheck_error *")
        image = ffi.new("crlcheck_paged_image **")
        if lib.crlcheck_paged_open(image, error, self._octets, len(self._octets), image_size):
            raise_for_image(error)
        self._image = ffi.gc(image[0], lib.crlcheck_paged_free)

    @property
    def layout(self) -> ImageLayout:
        """Where the parts lie, and what the header holds."""
        info = lib.crlcheck_paged_info_of(self._image)
        return layout_of(info, lambda number: lib.crlcheck_paged_issuer(self._image, number))

    def contains(self, issuer: int, serial: bytes, page_of: PageSource) -> bool:
        """
        Whether a serial, given as canonical bytes, is listed.

        Raises: what *page_of* raises.
            CorruptIndexError: the image contradicts itself.
        """
        return self._look_up(ffi.NULL, issuer, serial, page_of)

    def find(self, issuer: int, serial: bytes, page_of: PageSource) -> FoundEntry | None:
        """
        Return the entry of a serial, or None.

        Raises: as ``contains``.
        """
        found = ffi.new("crlcheck_found *")
        return found_entry(found) if self._look_up(found, issuer, serial, page_of) else None

    def _look_up(self, found: Any, issuer: int, serial: bytes, page_of: PageSource) -> bool:
        """Look up by the pages that it asks for, one more each time."""
        missing = ffi.new("uint64_t *")
        pages = ffi.new("crlcheck_page[]", _MANY)
        kept: dict[int, Any] = {}
        while True:
            status = lib.crlcheck_paged_find(
                self._image, found, missing, issuer, serial, len(serial), pages, len(kept)
            )
            if status != lib.CRLCHECK_PAGE_MISSING:
                break
            number = missing[0]
            if number in kept:
                raise CorruptIndexError(f"image is corrupt: page {number} is too short")
            if len(kept) == len(pages):
                pages = ffi.new("crlcheck_page[]", [*pages, *({} for _ in kept)])
            octets = kept[number] = ffi.from_buffer("uint8_t[]", page_of(number))
            place = pages[len(kept) - 1]
            place.number, place.data, place.len = number, octets, len(octets)
        if status == lib.CRLCHECK_CORRUPT_IMAGE:
            raise CorruptIndexError("image is corrupt: a bitmap does not fit its section")
        return bool(status == lib.CRLCHECK_OK)
