"""Decode the content coding of an object that S3 delivers, within a limit of its size."""

from __future__ import annotations

from typing import Protocol

from crlcheck.encoding.gunzip import Gunzip
from crlcheck.errors import MalformedCrlError, UnsupportedCrlError

_GZIP = ("gzip", "x-gzip")  # RFC 9110 8.4.1.3
# What a body has that is coded no further; S3's clients leave aws-chunked in the object.
_NONE = ("", "identity", "none", "aws-chunked")


class Source(Protocol):
    """A file object open for reading bytes."""

    def read(self, size: int, /) -> bytes | None:
        """Return at most *size* bytes, none at the end."""
        ...


def is_gzip(content_encoding: str) -> bool:
    """Whether a field Content-Encoding names gzip, and nothing besides that changes the body."""
    codings = [coding.strip().lower() for coding in content_encoding.split(",")]
    coded = [coding for coding in codings if coding not in _NONE]
    return len(coded) == 1 and coded[0] in _GZIP


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
