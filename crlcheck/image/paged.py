"""
Look serial numbers up in an image of which single pages are read when they are needed.

Whoever opens it has compared the header with the image's digest, and compares each page.
"""

from __future__ import annotations

import copy
from typing import Protocol

from crlcheck._binding import ImageLayout, NativePagedImage, PageSource
from crlcheck.encoding.serials import canonical_serial
from crlcheck.image.issuers import Issuers
from crlcheck.image.metadata import metadata_from_bytes
from crlcheck.types import ImageMetadata, RevokedEntry


class SerialIndex(Protocol):
    """
    What a check asks: a whole image, or one by pages.

    One by pages reads what it does not have. So each question may raise StoreError,
    IndexFileError or OSError, and then says nothing about the serial number.
    """

    @property
    def metadata(self) -> ImageMetadata:
        """The metadata of the CRL in the image."""

    def __contains__(self, serial_number: int, /) -> bool:
        """Whether a serial number is listed, where the image has one certificate issuer."""

    def find(self, serial_number: int, issuer: bytes | None = None) -> RevokedEntry | None:
        """Return the entry of a serial number, or None where it is not listed."""

    def in_memory(self) -> SerialIndex:
        """Return the index as one that reads nothing: what it does not have is an error."""


class PagedIndex:
    """
    An image by pages. Any number of threads may use it.

    Reasons and dates are in pages of their own, which only ``find`` reads, for a serial
    number that is listed.
    """

    def __init__(self, header: bytes, image_size: int, page_of: PageSource) -> None:
        """
        Check the *header* of an image of *image_size* bytes; *page_of* gives its pages.

        Raises:
            CorruptIndexError: it is no header, or contradicts itself.
            UnsupportedIndexVersionError: it is of a later major version.
        """
        self._image = NativePagedImage(header, image_size)
        self.layout: ImageLayout = self._image.layout
        self._issuers = Issuers(self.layout.issuers)
        self._page_of = page_of
        self.metadata = metadata_from_bytes(self.layout.metadata)
        """The metadata of the CRL in the image."""

    def __len__(self) -> int:
        """The number of distinct serials, per certificate issuer."""
        return self.layout.num_entries

    def __contains__(self, serial_number: int) -> bool:
        serial = canonical_serial(serial_number)
        return self._image.contains(self._issuers.only(), serial, self._page_of)

    def find(self, serial_number: int, issuer: bytes | None = None) -> RevokedEntry | None:
        """
        Return the entry of *serial_number*, or None where it is not listed.

        *issuer* is as for ``RevocationIndex.find``.

        Raises: what reading a page raises.
            CorruptIndexError: the image contradicts itself.
            ValueError: *issuer* is needed.
        """
        serial = canonical_serial(serial_number)
        page_of = self._page_of
        return self._issuers.find(lambda number: self._image.find(number, serial, page_of), issuer)

    def in_memory(self) -> PagedIndex:
        """Return this index: whoever opened it decides what it reads."""
        return self

    def by(self, page_of: PageSource) -> PagedIndex:
        """Return the same image, with another source of its pages."""
        other = copy.copy(self)
        other._page_of = page_of
        return other
