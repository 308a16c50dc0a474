"""
The octets of a CRL in chunks, from a path, a buffer or a binary file, DER or PEM.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol, runtime_checkable

from crlcheck._pem import PemDecoder, looks_like_pem
from crlcheck.errors import MalformedCrlError, UnsupportedCrlError

# Large enough that handing a chunk to another thread costs nothing beside
# hashing it, small enough that it is still in the cache when it is parsed.
CHUNK_SIZE = 1 << 19

PEM_LABEL = "X509 CRL"

# Octets that tell text from DER.
_PREFIX_SIZE = 64


@runtime_checkable
class BinaryReader(Protocol):
    """A file object open for reading octets."""

    def read(self, size: int, /) -> bytes | None:
        """Return at most *size* octets, none at the end."""
        ...


CrlSource = str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryReader
"""A path, the octets themselves, or a binary file that is read to its end."""


class SourceReader:
    """
    Reads a source once, from start to end.

    ``size`` counts the octets taken from the source so far, PEM as it stands.
    """

    def __init__(self, source: CrlSource, *, num_buffers: int, max_size: int) -> None:
        """*num_buffers* says how many chunks may be in use at once."""
        self._source = source
        self._num_buffers = num_buffers
        self._max_size = max_size
        self.size = 0

    def chunks(self) -> Iterator[bytes | memoryview]:
        """
        Yield the DER octets. A chunk holds until ``num_buffers`` later ones came.

        Raises:
            MalformedCrlError: PEM that is broken or has several CRLs.
            UnsupportedCrlError: the source is larger than allowed.
            OSError: from reading.
        """
        raw = self._limited(self._raw())
        first: bytes | memoryview = b""
        for chunk in raw:
            first = bytes(first) + chunk if first else chunk
            if len(first) >= _PREFIX_SIZE:  # a pipe may deliver less at first
                break
        if looks_like_pem(bytes(first[:_PREFIX_SIZE])):
            yield from self._decoded(first, raw)
            return
        yield first
        yield from raw

    def _raw(self) -> Iterator[bytes | memoryview]:
        source = self._source
        if isinstance(source, bytes | bytearray | memoryview):
            view = memoryview(source).cast("B")
            for start in range(0, len(view), CHUNK_SIZE):
                yield view[start : start + CHUNK_SIZE]
        elif isinstance(source, str | os.PathLike):
            yield from self._read_path(source)
        elif hasattr(source, "read"):
            while chunk := source.read(CHUNK_SIZE):
                yield chunk
        else:
            raise TypeError(
                f"a CRL is given as path, bytes-like or binary file, not {type(source).__name__}"
            )

    def _read_path(self, path: str | os.PathLike[str]) -> Iterator[memoryview]:
        buffers = [memoryview(bytearray(CHUNK_SIZE)) for _ in range(self._num_buffers)]
        with Path(path).open("rb", buffering=0) as file:
            while True:
                for buffer in buffers:
                    length = file.readinto(buffer)
                    if not length:
                        return
                    yield buffer[:length]

    def _limited(self, chunks: Iterator[bytes | memoryview]) -> Iterator[bytes | memoryview]:
        for chunk in chunks:
            self.size += len(chunk)
            if self._max_size and self.size > self._max_size:
                raise UnsupportedCrlError(
                    f"CRL is larger than the {self._max_size} octets allowed",
                    feature="source_too_large",
                )
            yield chunk

    def _decoded(
        self, first: bytes | memoryview, rest: Iterator[bytes | memoryview]
    ) -> Iterator[bytes]:
        decoder = PemDecoder(PEM_LABEL)
        try:
            yield decoder.feed(bytes(first))
            for chunk in rest:
                yield decoder.feed(bytes(chunk))
            decoder.finish()
        except ValueError as error:
            raise MalformedCrlError(f"CRL refused: {error}", rule="bad_pem", offset=0) from error
        if decoder.num_blocks > 1:
            raise MalformedCrlError(
                f"the PEM file holds {decoder.num_blocks} CRLs, expected one: split it first",
                rule="several_pem_blocks",
                offset=0,
            )
