"""
Read a CRL in chunks, from a path, a buffer or a binary file: in DER, in PEM, or in a
PKCS #7 bundle.
"""

from __future__ import annotations

import io
import os
import stat
from collections import deque
from collections.abc import Iterator
from typing import Protocol, runtime_checkable

from crlcheck.encoding.kinds import LOOKED_AT, found_text, mistaken
from crlcheck.encoding.paths import open_file, why_no_path
from crlcheck.encoding.pem import CRL, NoBlockError, PemDecoder, PemSplitter, looks_like_pem
from crlcheck.encoding.signed_data import MAX_BUNDLE_SIZE, is_signed_data, read_bundle
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
            MalformedCrlError: PEM or PKCS #7 that is broken or does not have one CRL.
            UnsupportedCrlError: the source is larger than allowed.
            OSError: from reading.
        """
        raw = self._limited(self._raw())
        first: bytes | memoryview = b""
        for chunk in raw:
            first = bytes(first) + chunk if first else chunk
            if len(first) >= _PREFIX_SIZE:  # a pipe may deliver less at first
                break
        prefix = bytes(first[:_PREFIX_SIZE])
        if looks_like_pem(prefix):
            yield from self._decoded(first, raw)
            return
        if is_signed_data(prefix):
            yield self._only_of_bundle(first, raw)
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
            reason = why_no_path(source) if isinstance(source, str) else None
            if reason is not None:
                raise MalformedCrlError(f"CRL refused: {reason}", rule="not_a_path", offset=0)
            yield from self._read_path(source)
        elif hasattr(source, "read"):
            while chunk := source.read(CHUNK_SIZE):
                yield chunk
        else:
            raise TypeError(
                f"a CRL is given as path, bytes-like or binary file, not {type(source).__name__}"
            )

    def _read_path(self, path: str | os.PathLike[str]) -> Iterator[memoryview]:
        with open_file(path) as file:
            buffers: deque[memoryview] = deque()
            size = _buffer_size(file)
            while True:
                buffer = memoryview(b"")
                if len(buffers) == self._num_buffers:
                    buffer = buffers.popleft()
                if len(buffer) < size:
                    buffer = memoryview(bytearray(size))
                length = file.readinto(buffer)
                if not length:
                    return
                yield buffer[:length]
                buffers.append(buffer)
                if length == size:  # the file has grown meanwhile
                    size = CHUNK_SIZE

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
        head = bytes(first[:LOOKED_AT])
        decoder = PemDecoder(CRL)
        try:
            yield decoder.feed(bytes(first))
            for chunk in rest:
                yield decoder.feed(bytes(chunk))
            yield decoder.finish()
        except ValueError as error:
            raise _bad_pem(error, b"" if decoder.num_blocks else head) from error
        if decoder.num_blocks > 1:
            raise MalformedCrlError(
                f"the PEM file holds {decoder.num_blocks} CRLs, expected one: split it first",
                rule="several_pem_blocks",
                offset=0,
            )

    def _only_of_bundle(
        self, first: bytes | memoryview, rest: Iterator[bytes | memoryview]
    ) -> bytes:
        collected = bytearray(first)
        for chunk in rest:
            collected += chunk
            if len(collected) > MAX_BUNDLE_SIZE:
                break  # which the reader of the bundle refuses
        crls = _crls_of_bundle(bytes(collected))
        if len(crls) > 1:
            raise MalformedCrlError(
                f"the PKCS #7 bundle holds {len(crls)} CRLs, expected one: split it first",
                rule="several_crls",
                offset=0,
            )
        return crls[0]


def _buffer_size(file: io.FileIO) -> int:
    """Return how many bytes to read at once: of a small file all, and one to see its end."""
    status = os.fstat(file.fileno())
    # Of a pipe and of files in /proc nobody knows how many bytes there are.
    is_known = stat.S_ISREG(status.st_mode) and status.st_size > 0
    return min(status.st_size + 1, CHUNK_SIZE) if is_known else CHUNK_SIZE


def refuse_mistaken(
    head: bytes, error: Exception, *, rule: str, offset: int, has_ended: bool = False
) -> None:
    """
    Say what a refused source is, of which *head* is the beginning.

    Of *has_ended* no CRL can follow any more.

    Raises:
        MalformedCrlError: it is something else than a CRL, and has a name.
    """
    kind = mistaken(head, "crl", remedies=_REMEDIES)
    if kind is None or (kind.may_continue and not has_ended):
        return
    raise MalformedCrlError(
        f"CRL refused: {found_text(kind, 'a CRL')}",
        rule=rule,
        offset=offset,
        found=kind.name,
        remedy=kind.remedy,
    ) from error


_REMEDIES = {
    "certificate": (
        "certificates of issuers are given with --issuer, in Python as issuer or issuers"
    ),
    "image": "it is compiled already; `crlcheck check` and RevocationChecker take it as it is",
}


def _bad_pem(error: ValueError, head: bytes) -> MalformedCrlError:
    """Return the error for text that is no PEM with a CRL; *head* is empty if there was one."""
    try:
        if head:
            has_ended = isinstance(error, NoBlockError)
            refuse_mistaken(head, error, rule="bad_pem", offset=0, has_ended=has_ended)
    except MalformedCrlError as named:
        return named
    return MalformedCrlError(f"CRL refused: {error}", rule="bad_pem", offset=0)


def _crls_of_bundle(der: bytes) -> tuple[bytes, ...]:
    """
    Return the CRLs of a PKCS #7 bundle, of which there is at least one.

    Raises:
        MalformedCrlError: it has none, or is no such bundle.
        UnsupportedCrlError: it is too large.
    """
    if len(der) > MAX_BUNDLE_SIZE:
        raise UnsupportedCrlError(
            f"PKCS #7 is larger than the {MAX_BUNDLE_SIZE} bytes allowed: "
            "`openssl pkcs7 -print_certs` writes what is in it as PEM",
            feature="source_too_large",
        )
    try:
        bundle = read_bundle(der)
    except ValueError as error:
        raise MalformedCrlError(
            f"CRL refused: found {error}", rule="bad_pkcs7", offset=0, found="pkcs7"
        ) from error
    if not bundle.crls:
        refuse_mistaken(der, ValueError("no CRL"), rule="bad_pkcs7", offset=0)
    return bundle.crls


def split_crls(
    source: BinaryReader, *, max_size: int = 0, max_crls: int = DEFAULT_MAX_CRLS
) -> Iterator[BinaryReader]:
    """
    Yield each CRL of a binary file as a file of its own: one, or for PEM and PKCS #7 as many
    as it has.

    They are read one after the other while *source* arrives. Each can be read only until
    the next is asked for. *max_size* is how many bytes *source* may have, and *max_crls*
    how many CRLs, 0 for any. CRLs are limited because each costs a read of the
    store, however short it is. An error in a PEM file is raised by reading the CRL that
    it concerns, as MalformedCrlError. A file that is too large, and the first CRL too
    many, raise UnsupportedCrlError in the same way.
    """
    first = b""
    try:
        while len(first) < _PREFIX_SIZE and (chunk := source.read(CHUNK_SIZE)):
            first += chunk
    except CrlError as error:
        yield _Refused(error)
        return
    if is_signed_data(first[:_PREFIX_SIZE]):
        yield from _split_bundle(_Resumed(first, source), max_size, max_crls)
        return
    if not looks_like_pem(first[:_PREFIX_SIZE]):
        yield _Resumed(first, source)
        return
    blocks = _PemBlocks(first, source, max_size)
    number = 1
    while blocks.has(number):
        if 0 < max_crls < number:
            yield _Refused(_too_many(max_crls))
            return
        yield _PemBlock(blocks, number)
        number += 1


def _split_bundle(source: BinaryReader, max_size: int, max_crls: int) -> Iterator[BinaryReader]:
    """Yield the CRLs of a PKCS #7 bundle, which is read as a whole."""
    collected = bytearray()
    limit = min(max_size or MAX_BUNDLE_SIZE, MAX_BUNDLE_SIZE)
    try:
        while len(collected) <= limit and (chunk := source.read(CHUNK_SIZE)):
            collected += chunk
        if max_size and len(collected) > max_size:
            raise _too_large(max_size)
        crls = _crls_of_bundle(bytes(collected))
    except CrlError as error:
        yield _Refused(error)
        return
    for number, crl in enumerate(crls, 1):
        if 0 < max_crls < number:
            yield _Refused(_too_many(max_crls))
            return
        yield io.BytesIO(crl)


def _too_large(allowed: int) -> UnsupportedCrlError:
    return UnsupportedCrlError(
        f"the file is larger than the {allowed} bytes allowed", feature="source_too_large"
    )


def _too_many(allowed: int) -> UnsupportedCrlError:
    return UnsupportedCrlError(
        f"the file has more CRLs than the {allowed} allowed: split it, or allow more (max_crls)",
        feature="too_many_crls",
    )


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


class _Refused:
    """Stands for a CRL that cannot be read, or for the first above the limit."""

    def __init__(self, error: CrlError) -> None:
        self._error = error

    def read(self, _size: int, /) -> bytes:
        raise self._error


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
        self._head = first[:LOOKED_AT]
        self._source = _Resumed(first, source)
        self._splitter = PemSplitter(CRL)
        self._max_size = max_size
        self._size = 0
        self._pieces: deque[tuple[int, bytes]] = deque()
        self._error: CrlError | None = None
        self._ended = False

    def has(self, number: int) -> bool:
        """Whether there is such a CRL, or an error in its place; earlier ones are ignored."""
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
        try:
            chunk = self._source.read(CHUNK_SIZE)
            self._size += len(chunk or b"")
            if self._max_size and self._size > self._max_size:
                raise _too_large(self._max_size)
            if chunk:
                self._pieces.extend(piece for piece in self._splitter.feed(chunk) if piece[1])
            else:
                self._ended = True
                self._pieces.extend(self._splitter.finish())
        except CrlError as error:
            self._error, self._ended = error, True
        except ValueError as error:
            head = b"" if self._splitter.num_blocks else self._head
            self._error = _bad_pem(error, head)
            self._ended = True
