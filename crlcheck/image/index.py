"""
Open an image and look serial numbers up in it, one by one or in batches.

An index answers whether a serial number is listed. The checker decides what that means
for a certificate, by its issuer, scope and time.
"""

from __future__ import annotations

import mmap
import operator
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Self

from crlcheck._binding import (
    MAX_SERIAL,
    Lookup,
    NativeImage,
)
from crlcheck.encoding.paths import why_no_path
from crlcheck.encoding.serials import canonical_serial
from crlcheck.errors import CorruptIndexError, IndexClosedError
from crlcheck.image.digests import check_digests
from crlcheck.image.issuers import Issuers
from crlcheck.image.metadata import metadata_from_bytes
from crlcheck.types import RevokedEntry, several

# This many serials are compared at once.
_ROWS = 8192
# So much of what is no image tells what it is.
_LOOKED_AT = 1 << 14

ImageSource = str | os.PathLike[str] | bytes | bytearray | memoryview | mmap.mmap
"""A path, which is mapped, or the bytes of an image; those of a memoryview are copied."""


def open_index(source: ImageSource, verify: bool = True) -> RevocationIndex:
    """
    Open an image.

    With *verify* every page is compared with its digest, so an image with a single flipped
    bit is refused. Without it only the structure is checked. Then a damaged image may
    answer wrongly, but never crash. The process has not touched the pages then, so that the
    first lookup in each part of a file takes a page fault or two: some 20 microseconds.

    A path is mapped and not read, which takes less than a millisecond at any size. The
    file must be replaced by rename only. If it is overwritten in place, the answers of an
    open index change. If it is truncated, the process ends by SIGBUS. Where others
    may do that, give the contents: ``open_index(Path(name).read_bytes())``.

    Raises:
        CorruptIndexError: the image contradicts itself or its digests.
        UnsupportedIndexVersionError: it is of a later major version.
        OSError: from opening the path.
    """
    if isinstance(source, bytes | bytearray | mmap.mmap):
        buffer: bytes | bytearray | mmap.mmap = source
    elif isinstance(source, memoryview):
        buffer = bytes(source)
    elif isinstance(source, str | os.PathLike):
        reason = why_no_path(source) if isinstance(source, str) else None
        if reason is not None:
            raise CorruptIndexError(f"no image: {reason}")
        buffer = _map(source)
    else:
        raise TypeError(f"an image is given as path or bytes-like, not {type(source).__name__}")
    return RevocationIndex(buffer, verify=verify)


def _map(path: str | os.PathLike[str]) -> mmap.mmap | bytes:
    with Path(path).open("rb") as file:
        if os.fstat(file.fileno()).st_size == 0:  # nothing that could be mapped
            return b""
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


class RevocationIndex(Lookup):
    """
    An opened image, made by ``open_index``. Any number of threads may use it.

    ``close`` may run while another thread looks a serial number up. That lookup finishes,
    and later ones raise ``IndexClosedError``.

    ``serial_number in index`` is exact: whether the serial number is listed. It raises
    ``ValueError`` where the image has entries of several certificate issuers.
    """

    def __init__(self, buffer: bytes | bytearray | mmap.mmap, *, verify: bool) -> None:
        try:
            image = NativeImage(buffer)
        except CorruptIndexError as error:
            _refuse_mistaken(bytes(buffer[:_LOOKED_AT]), error)
            raise
        layout = image.layout
        self._image: NativeImage | None = image
        self._digest = check_digests(memoryview(buffer), layout, pages=verify)
        self._issuers = Issuers(layout.issuers)
        self._num_entries = layout.num_entries
        self.metadata = metadata_from_bytes(layout.metadata)
        """The metadata of the CRL in the image."""
        self._attach(image, image.address, len(layout.issuers))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the image. It is unmapped when the last lookup has returned."""
        self._detach()
        self._image = None

    def in_memory(self) -> RevocationIndex:
        """Return this index, because all of it is in memory, or mapped."""
        return self

    @property
    def is_closed(self) -> bool:
        """Whether ``close`` was called."""
        return self._image is None

    @property
    def digest(self) -> str:
        """The hex digest that authenticates the whole image."""
        return self._digest

    def __len__(self) -> int:
        """The number of distinct serials, per certificate issuer."""
        return self._num_entries

    def find(self, serial_number: int, issuer: bytes | None = None) -> RevokedEntry | None:
        """
        Return the entry of *serial_number*, or None where it is not listed.

        *issuer* is the certificate issuer's whole Name as DER, in whatever
        spelling (RFC 5280 7.1); where the CRL lists the serial number under
        several spellings, they are merged as duplicates are, and the most final
        reason counts. It may be left out where the image has entries of one issuer
        only. Only images of indirect CRLs have more (5.3.3).

        Raises:
            IndexClosedError: the index was closed.
            ValueError: *issuer* is needed.
        """
        if issuer is None:
            known = self._find(serial_number)
            return None if known is None else self._issuers.only_entry(int(serial_number), *known)
        image = self._open()
        serial = canonical_serial(serial_number)
        return self._issuers.find(lambda number: image.find(number, serial), issuer)

    def contains_many(
        self, serial_numbers: Iterable[int], issuer: bytes | None = None
    ) -> list[bool]:
        """
        ``in`` for each of *serial_numbers*, in one native call.

        Raises:
            IndexClosedError: the index was closed.
            ValueError: *issuer* is needed.
        """
        self._open()
        serial_numbers = several("serial_numbers", serial_numbers)
        numbers = self._issuers.numbers(issuer)
        if len(numbers) == 1:
            return self._contains_many(numbers[0], serial_numbers)
        serials = list(serial_numbers)
        # No entry has the number behind the last issuer's.
        found = self._contains_many(len(self._issuers.names), serials)
        for number in numbers:
            found = list(map(operator.or_, found, self._contains_many(number, serials)))
        return found

    def contains_packed(
        self, rows: bytes | bytearray | memoryview, width: int, issuer: bytes | None = None
    ) -> bytearray:
        """
        Look up serials that lie end to end as unsigned big-endian rows.

        Args:
            rows: a whole number of rows, contiguous.
            width: bytes of a row, 1 to 64.
            issuer: as for ``find``.

        Returns:
            1 for each row that is listed, else 0.

        Raises:
            IndexClosedError: the index was closed.
            ValueError: *width* or the length does not fit, or *issuer* is needed.
        """
        image = self._open()
        view = memoryview(rows).cast("B")
        if not 1 <= width <= MAX_SERIAL:
            raise ValueError(f"width is {width}, expected 1 to {MAX_SERIAL}")
        if len(view) % width:
            raise ValueError(f"{len(view)} bytes are no whole number of rows of {width}")
        numbers = self._issuers.numbers(issuer)
        if len(numbers) == 1:
            return image.contains_packed(numbers[0], view, width)
        found = bytearray(len(view) // width)
        for number in numbers:
            found = bytearray(map(operator.or_, found, image.contains_packed(number, view, width)))
        return found

    def native_of(self, issuer: bytes | None = None) -> tuple[NativeImage, Sequence[int]]:
        """
        Return the image as the core has it, and the numbers of *issuer*, as for ``find``.

        Raises:
            IndexClosedError: the index was closed.
            ValueError: *issuer* is needed.
        """
        return self._open(), self._issuers.numbers(issuer)

    def iter_entries(self) -> Iterator[RevokedEntry]:
        """
        Iterate over all entries, in the order of the image, which is not that of the CRL.

        Raises:
            IndexClosedError: the index was closed before the first entry.
            CorruptIndexError: an image opened without *verify* contradicts itself.
        """
        return map(self._issuers.entry, self._open().entries())

    def iter_entries_missing_from(self, other: RevocationIndex) -> Iterator[RevokedEntry]:
        """
        Yield every entry whose serial *other* does not list for the same certificate issuer.

        What both list costs two native calls for thousands of entries, not objects.

        Raises:
            IndexClosedError: one of them was closed.
            CorruptIndexError: an image opened without *verify* contradicts itself.
        """
        image, others = self._open(), other._open()
        for number, table in enumerate(image.tables()):
            width, issuer = table["serial_len"], self._issuers.names[table["certificate_issuer"]]
            issuers = other._issuers.numbers(issuer)
            for first in range(0, table["num_entries"], _ROWS):
                count = min(_ROWS, table["num_entries"] - first)
                rows = image.serials(number, first, count, width)
                listed = bytearray(count)
                for one in issuers:
                    found = others.contains_rows(one, rows, width)
                    listed = bytearray(map(operator.or_, listed, found)) if any(listed) else found
                position = listed.find(0)
                while position >= 0:
                    yield self._issuers.entry(image.entry(number, first + position))
                    position = listed.find(0, position + 1)

    @property
    def stats(self) -> dict[str, object]:
        """
        Sizes in bytes, and how the entries are stored, by table.

        Raises:
            IndexClosedError: the index was closed.
        """
        image = self._open()
        layout = image.layout
        return {
            "header_size": layout.header_size,
            "image_size": layout.image_size,
            "num_entries": layout.num_entries,
            "num_issuers": len(layout.issuers),
            "tables": image.tables(),
        }

    def _open(self) -> NativeImage:
        image = self._image
        if image is None:
            raise IndexClosedError("the index is closed")
        return image


def _refuse_mistaken(head: bytes, error: Exception) -> None:
    """
    Say what was given instead of an image, by its beginning.

    Raises:
        CorruptIndexError: it is something else, and has a name.
    """
    # Only here, because images that open do without it.
    from crlcheck.encoding.kinds import found_text, mistaken

    remedies = {"crl": "compile it first, or publish it to a store"}
    kind = mistaken(head, "image", "later_image", remedies=remedies)
    if kind is not None:
        message = f"no image: {found_text(kind, 'an image')}"
        raise CorruptIndexError(message, found=kind.name, remedy=kind.remedy) from error
