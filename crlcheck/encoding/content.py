"""Read the field Content-Encoding, and decode the gzip of a CRL within a limit of its size."""

from __future__ import annotations

from typing import Protocol

from crlcheck.encoding.gunzip import Gunzip
from crlcheck.errors import MalformedCrlError, UnsupportedCrlError

# What a body has that is coded no further. "none" is no registered coding (RFC 9110 8.4.1),
# but servers mean the right thing by it; S3's clients leave aws-chunked in the object.
_NO_CODINGS = ("", "identity", "none", "aws-chunked")


class Source(Protocol):
    """A file object open for reading bytes."""

    def read(self, size: int, /) -> bytes | None:
        """Return at most *size* bytes, none at the end."""
        ...


def codings_of(content_encoding: str) -> list[str]:
    """Return the codings that a field Content-Encoding names, by their first names."""
    # RFC 9110 8.4.1.3: x-gzip is gzip.
    names = (one.strip().lower().removeprefix("x-") for one in content_encoding.split(","))
    return [name for name in names if name not in _NO_CODINGS]


def is_gzip(content_encoding: str) -> bool:
    """Whether a field Content-Encoding names gzip, and nothing besides that changes the body."""
    return codings_of(content_encoding) == ["gzip"]


class GzipReader:
    """
    Reads what the gzip of a CRL has in it, as a binary file.

    Neither the packed nor the unpacked size may be above *max_size* (0: any), and no more
    is unpacked than is read.
    """

    def __init__(self, source: Source, *, max_size: int) -> None:
        self._gunzip = Gunzip(_Limited(source, max_size))
        self._max_size = max_size
        self._size = 0

    def read(self, size: int, /) -> bytes:
        """
        Return the next unpacked bytes, at most *size*.

        Raises:
            MalformedCrlError: it is no gzip, breaks off, or has something else at its end.
            UnsupportedCrlError: it is larger than allowed.
        """
        try:
            piece = self._gunzip.read(size)
        except ValueError as error:
            raise MalformedCrlError(
                f"CRL refused: its Content-Encoding is gzip, but the {error}",
                rule="bad_gzip",
                offset=0,
            ) from error
        self._size += len(piece)
        _check_size(self._size, self._max_size)
        return piece


class _Limited:
    """A file of which no more than so many bytes are read."""

    def __init__(self, source: Source, max_size: int) -> None:
        self._source = source
        self._max_size = max_size
        self._size = 0

    def read(self, size: int, /) -> bytes:
        piece = self._source.read(size) or b""
        self._size += len(piece)
        _check_size(self._size, self._max_size)
        return piece


def _check_size(size: int, allowed: int) -> None:
    if 0 < allowed < size:
        raise UnsupportedCrlError(
            f"the gzip is larger than the {allowed} bytes allowed, packed or unpacked",
            feature="source_too_large",
        )
