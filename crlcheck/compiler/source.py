"""
Read a CRL in chunks, from a path, a buffer or a binary file, in DER or PEM.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol, runtime_checkable

from crlcheck.encoding.pem import CRL, PemDecoder, PemSplitter, looks_like_pem
from crlcheck.errors import CrlError, MalformedCrlError, UnsupportedCrlError

# Large enough that to hand a chunk to another thread costs little beside hashing it, and
# small enough that it is still in the cache when it is parsed.
CHUNK_SIZE = 1 << 19

DEFAULT_MAX_CRLS = 100
"""A file may have this many CRLs unless more are allowed."""

# This many bytes tell text from DER.
_PREFIX_SIZE = 64


@runtime_checkable
class BinaryReader(Protocol):
    """A file object open for reading bytes."""

    def read(self, size: int, /) -> bytes | None:
        """Return at most *size* bytes, none at the end."""
        ...


CrlSource = str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryReader
"""A path, the bytes themselves, or a binary file that is read to its end."""


class SourceReader:
    """
    Reads a source once, from start to end.

    ``size`` is the number of bytes read from the source so far; of PEM, before decoding.
    """

    def __init__(self, source: CrlSource, *, num_buffers: int, max_size: int) -> None:
        """*num_buffers* says how many chunks may be in use at once."""
        self._source = source
        self._num_buffers = num_buffers
        self._max_size = max_size
        self.size = 0

    def chunks(self) -> Iterator[bytes | memoryview]:
        """
        Yield the DER in chunks. A chunk is overwritten ``num_buffers`` chunks later.

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
                    f"CRL is larger than the {self._max_size} bytes allowed",
                    feature="source_too_large",
                )
            yield chunk

    def _decoded(
        self, first: bytes | memoryview, rest: Iterator[bytes | memoryview]
    ) -> Iterator[bytes]:
        decoder = PemDecoder(CRL)
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


def split_crls(
    source: BinaryReader, *, max_size: int = 0, max_crls: int = DEFAULT_MAX_CRLS
) -> Iterator[BinaryReader]:
    """
    Yield each CRL of a binary file as a file of its own: one, or for PEM as many as it has.

    They are read one after the other while *source* arrives. Each can be read only until
    the next is asked for. *max_size* is how many bytes *source* may have, and *max_crls*
    how many CRLs, 0 for any. CRLs are limited because each costs a read of the
    store, however short it is. An error in a PEM file is raised by reading the CRL that
    it concerns, as MalformedCrlError. A file that is too large, and the first CRL too
    many, raise UnsupportedCrlError in the same way.
    """
    first = b""
    while len(first) < _PREFIX_SIZE and (chunk := source.read(CHUNK_SIZE)):
        first += chunk
    if not looks_like_pem(first[:_PREFIX_SIZE]):
        yield _Resumed(first, source)
        return
    blocks = _PemBlocks(first, source, max_size)
    number = 1
    while blocks.has(number):
        if 0 < max_crls < number:
            yield _TooMany(max_crls)
            return
        yield _PemBlock(blocks, number)
        number += 1


class _Resumed:
    """A file whose first bytes have been read already."""

    def __init__(self, first: bytes, rest: BinaryReader) -> None:
        self._first = first
        self._rest = rest

    def read(self, size: int, /) -> bytes | None:
        if self._first:
            piece, self._first = self._first[:size], self._first[size:]
            return piece
        return self._rest.read(size)


class _TooMany:
    """Stands for the first CRL above the limit: reading it raises the error."""

    def __init__(self, allowed: int) -> None:
        self._allowed = allowed

    def read(self, _size: int, /) -> bytes:
        raise UnsupportedCrlError(
            f"the file has more CRLs than the {self._allowed} allowed: split it, or allow more "
            "(max_crls)",
            feature="too_many_crls",
        )


class _PemBlock:
    """One CRL of a PEM file, as DER."""

    def __init__(self, blocks: _PemBlocks, number: int) -> None:
        self._blocks = blocks
        self._number = number

    def read(self, size: int, /) -> bytes:
        return self._blocks.read(self._number, size)


class _PemBlocks:
    """The CRLs of a PEM file while it arrives, in order."""

    def __init__(self, first: bytes, source: BinaryReader, max_size: int) -> None:
        self._source = _Resumed(first, source)
        self._splitter = PemSplitter(CRL)
        self._max_size = max_size
        self._size = 0
        self._pieces: deque[tuple[int, bytes]] = deque()
        self._error: CrlError | None = None
        self._ended = False

    def has(self, number: int) -> bool:
        """Whether there is such a CRL, or an error in its place; earlier ones are passed over."""
        while not self._ended or self._pieces:
            while self._pieces and self._pieces[0][0] < number:
                self._pieces.popleft()
            if self._pieces:
                return True
            self._fill()
        return self._error is not None and self._broken >= number

    def read(self, number: int, size: int) -> bytes:
        while not self._pieces and not self._ended:
            self._fill()
        if self._pieces and self._pieces[0][0] == number:
            _, piece = self._pieces.popleft()
            if len(piece) > size:
                self._pieces.appendleft((number, piece[size:]))
            return piece[:size]
        if not self._pieces and self._error is not None and self._broken == number:
            raise self._error
        return b""

    @property
    def _broken(self) -> int:
        """The number of the CRL that the error concerns. The CRLs before it are valid."""
        return self._splitter.next_block

    def _fill(self) -> None:
        """Read the next chunk; keep its error for the CRL that the error concerns."""
        chunk = self._source.read(CHUNK_SIZE)
        self._size += len(chunk or b"")
        try:
            if self._max_size and self._size > self._max_size:
                raise UnsupportedCrlError(
                    f"the file is larger than the {self._max_size} bytes allowed",
                    feature="source_too_large",
                )
            if chunk:
                self._pieces.extend(piece for piece in self._splitter.feed(chunk) if piece[1])
            else:
                self._ended = True
                self._splitter.finish()
        except CrlError as error:
            self._error, self._ended = error, True
        except ValueError as error:
            message = f"CRL refused: {error}"
            self._error = MalformedCrlError(message, rule="bad_pem", offset=0)
            self._ended = True
