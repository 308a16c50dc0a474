"""
Read, verify and write a CRL, a large one on as many threads as there are cores.

One thread parses a chunk and keeps its entries, while a second hashes the same
chunk for the signature and reads the next. All sort. Then the first packs the image,
and the others hash and write it. They start when the source has turned out to be larger
than a chunk.

The hash of the signed bytes limits the first of these steps, at a million entries as at ten:
it takes one byte after the other, about 40 ns for an entry with reading it, and parsing and
keeping an entry takes 25. So it would gain nothing to parse on several threads. Sorting (13)
and packing (14) in one go, without writing the sorted records back, took as long as one
after the other.
"""

from __future__ import annotations

import contextlib
import hashlib
from array import array
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypedDict

from crlcheck._binding import DIGEST_SIZE, PAGE_SIZE, CrlFields, CrlParser, ParsedCrl, SortedEntries
from crlcheck.compiler.source import CHUNK_SIZE, CrlSource, SourceReader, refuse_mistaken
from crlcheck.compiler.worker import Call, Workers
from crlcheck.encoding.kinds import LOOKED_AT
from crlcheck.encoding.names import name_hash
from crlcheck.errors import CrlError, MalformedCrlError, UnsupportedCrlError
from crlcheck.image.digests import end_of_image
from crlcheck.image.metadata import metadata_to_bytes
from crlcheck.types import (
    CertificateFacts,
    CompileReport,
    CrlWarning,
    ImageMetadata,
    OddExtension,
)
from crlcheck.x509.signature_schemes import signature_scheme
from crlcheck.x509.signers import Signers

if TYPE_CHECKING:
    from crlcheck.x509.signatures import TbsVerifier

DEFAULT_MAX_SOURCE_SIZE = 1 << 30
"""Bytes of the largest source that is accepted unless more is allowed."""

# Bytes of the largest piece of an image. It has whole pages. A write of so many bytes, from a
# multiple of them on, is a huge page of Linux's page cache on many file systems. An index that
# maps the file has it as such: a first look-up need not wait for a small page, nor any
# look-up for the processor's walk to one.
_PIECE_SIZE = 2 << 20
# One chunk is being read, one hashed and one parsed. Of the image one piece is being packed,
# one waits, and each of the other threads writes one.
_NUM_BUFFERS = 3

Chunk = bytes | memoryview

Sink = Callable[[int, Chunk], None]
"""
Takes pieces of an image in any order: the offset of a piece and its bytes, which it does
not keep. Several threads may call it at once.
"""


class CompileOptions(TypedDict, total=False):
    """
    Options of compiling, all of them optional.

    attributes: keep reason codes and dates (default), or only serials.
    max_source_size: bytes of the largest source accepted; 0 for any.
    allow_sha1: accept signatures over SHA-1.
    allow_small_rsa: accept signatures by RSA keys of 1024 to 2047 bits.
    allow_v1: accept version 1 CRLs, which have no CRL number.
    strict: turn every leniency named in ``CrlWarning`` into an error.
    require_next_update: refuse a CRL without nextUpdate (RFC 5280 5.1.2.5).
    """

    attributes: bool
    max_source_size: int
    allow_sha1: bool
    allow_small_rsa: bool
    allow_v1: bool
    strict: bool
    require_next_update: bool


@dataclass(frozen=True, slots=True)
class Options:
    """``CompileOptions`` with the defaults for the options that were not given."""

    attributes: bool = True
    max_source_size: int = DEFAULT_MAX_SOURCE_SIZE
    allow_sha1: bool = False
    allow_small_rsa: bool = False
    allow_v1: bool = False
    strict: bool = False
    require_next_update: bool = True


@contextlib.contextmanager
def read_crl(
    source: CrlSource, issuers: Signers | None, options: Options, *, is_alone: bool = True
) -> Iterator[VerifiedCrl]:
    """
    Parse *source* and verify it against *issuers*; None verifies nothing.

    *is_alone* tells that no other CRL is compiled at the same time.

    Raises:
        CrlError: the CRL is refused.
        OSError: from reading.
    """
    with Workers(is_alone=is_alone) as workers:
        crl = _Reading(source, issuers, options, workers)
        try:
            yield crl.verified(crl.read())
        finally:
            crl.close()


class VerifiedCrl:
    """A verified CRL with its entries in order, ready to be written as an image."""

    def __init__(
        self,
        entries: SortedEntries,
        metadata: ImageMetadata,
        signer: CertificateFacts | None,
        source_size: int,
        workers: Workers,
        odd_extensions: tuple[OddExtension, ...],
    ) -> None:
        self._odd_extensions = odd_extensions
        self._entries = entries
        self.metadata = metadata
        self.signer = signer
        self._source_size = source_size
        self._workers = workers

    def write(self, sink: Sink, image: Callable[[], bytes] | None = None) -> CompileReport:
        """
        Give the image to *sink*, the header last. An exception of *sink* ends the writing.

        *image* returns what *sink* has got, for the report.
        """
        writer = self._entries.start_image(metadata_to_bytes(self.metadata), serialize_bitmap)
        size = _piece_size(self._source_size)
        # A piece is written with the end of the one before it, so that it begins at a multiple
        # of its size. The header takes the place of the zeros before the first one.
        num_before = writer.header_size % size
        pieces = _Pieces(num_before, size, self._workers.num_threads + 1)
        digests: list[Call[bytes]] = []
        offset, before = writer.header_size - num_before, bytes(num_before)
        for buffer, filled in writer.body(pieces.free_buffers()):
            piece = memoryview(buffer.obj)[: num_before + filled]
            piece[:num_before] = before
            before = bytes(piece[filled:])
            digests.append(self._workers.submit_any(_write_pages, sink, offset, piece, num_before))
            pieces.pending.append((digests[-1], buffer))
            offset += filled
        # From the last on, because the others go from the first on.
        for call in reversed(digests):
            call.result_here()
        header = writer.header
        table = b"".join(call.result() for call in digests)
        end = before + table + end_of_image(header, table, trailer=writer.has_trailer)
        sink(offset, end)
        sink(0, header)
        return CompileReport(
            self.metadata,
            source_size=self._source_size,
            image_size=offset + len(end),
            digest=end[-DIGEST_SIZE:].hex(),
            image=None if image is None else image(),
            odd_extensions=self._odd_extensions,
        )


def _piece_size(source_size: int) -> int:
    """
    Return how many bytes a piece of the body has, where the CRL has *source_size*.

    An image is hardly ever larger than its CRL, and filling a megabyte with zeros takes
    longer than compiling a small one.
    """
    num_pages = -(-source_size // PAGE_SIZE)
    return min(num_pages * PAGE_SIZE, _PIECE_SIZE)


class _Pieces:
    """The buffers for pieces of the body, and the calls that use them."""

    def __init__(self, num_before: int, size: int, num_buffers: int) -> None:
        """A buffer has *size* bytes for a piece, and *num_before* for what is before it."""
        self._num_before = num_before
        self._size = size
        self._num_buffers = num_buffers
        self.pending: list[tuple[Call[bytes], memoryview]] = []

    def free_buffers(self) -> Iterator[memoryview]:
        """Yield the part for the piece of each buffer, once the call that used it has ended."""
        while True:
            if len(self.pending) < self._num_buffers:
                yield memoryview(bytearray(self._num_before + self._size))[self._num_before :]
                continue
            ended = (number for number, (call, _) in enumerate(self.pending) if call.done)
            # Where the others lag behind, this thread writes the last piece.
            call, buffer = self.pending.pop(next(ended, -1))
            call.result_here()
            yield buffer


def _write_pages(sink: Sink, offset: int, piece: memoryview, num_before: int) -> bytes:
    """
    Give *piece* to *sink*, but for its last bytes, and return the digests of its pages.

    *num_before* bytes are before its pages, and as many are written with the next piece.
    """
    sink(offset, piece[: len(piece) - num_before])
    pages = piece[num_before:]
    return b"".join(
        hashlib.sha256(pages[start : start + PAGE_SIZE]).digest()
        for start in range(0, len(pages), PAGE_SIZE)
    )


class _Reading:
    """The state of reading one source."""

    def __init__(
        self,
        source: CrlSource,
        issuers: Signers | None,
        options: Options,
        workers: Workers,
    ) -> None:
        self._issuers = issuers
        self._options = options
        self._workers = workers
        self._source = SourceReader(
            source, num_buffers=_NUM_BUFFERS, max_size=options.max_source_size
        )
        self._parser = CrlParser(
            attributes=options.attributes,
            max_source_size=options.max_source_size,
            allow_v1=options.allow_v1,
        )
        self._hash: TbsVerifier | _UnverifiedTbs | None = None
        self._hashing: deque[Call[None]] = deque()
        # Of the DER: the source may be PEM.
        self._size = 0

    def close(self) -> None:
        """Release what the hash keeps, once the worker is done with it."""
        self._workers.close()
        if self._hash is not None:
            self._hash.close()

    def read(self) -> ParsedCrl:
        """Feed the whole source to parser and hash."""
        offset = 0
        early: list[Chunk] = []
        chunks = self._source.chunks()
        following = self._workers.submit(next, chunks, None)
        # Where the worker lags behind and has not begun to read, this thread reads.
        while (chunk := following.result_here()) is not None:
            following = self._workers.submit(next, chunks, None)
            if self._source.size > CHUNK_SIZE:
                self._workers.start()
            if self._hash is not None:
                self._hash_tbs(offset, chunk)
                self._parser.feed(chunk)
            else:
                # The CRL itself names the hash, mostly in this chunk.
                try:
                    self._parser.feed(chunk)
                except (MalformedCrlError, UnsupportedCrlError) as error:
                    self._name_source(error, [*early, chunk], following, chunks)
                    raise
                if self._parser.have_header:
                    self._hash = self._make_hash()
                    self._hash_early(early, offset)
                    self._hash_tbs(offset, chunk)
                    early.clear()
                else:
                    early.append(bytes(chunk))  # its buffer will be used again
            offset += len(chunk)
        self._size = offset
        try:
            crl = self._parser.finish()
        except MalformedCrlError as error:
            self._name_source(error, early, following, chunks)
            raise
        for call in self._hashing:
            call.result()
        return crl

    def _name_source(
        self,
        error: MalformedCrlError | UnsupportedCrlError,
        early: list[Chunk],
        following: Call[Chunk | None],
        chunks: Iterator[Chunk],
    ) -> None:
        """
        Say what the source is where the parser has refused it before its entries.

        Raises:
            MalformedCrlError: it is something else than a CRL that has a name.
        """
        if self._parser.have_header:
            return
        head = b"".join(early)
        with contextlib.suppress(CrlError, OSError):  # of what comes behind
            while len(head) < LOOKED_AT and (chunk := following.result_here()) is not None:
                head += bytes(chunk)
                following = self._workers.submit(next, chunks, None)
        if isinstance(error, MalformedCrlError):
            refuse_mistaken(head, error, rule=error.rule, offset=error.offset)
        else:
            refuse_mistaken(head, error, rule=error.feature, offset=0)

    def verified(self, crl: ParsedCrl) -> VerifiedCrl:
        """Verify the signature of a parsed CRL, and check it against the options."""
        fields = crl.fields
        assert self._hash is not None, "a finished CRL has a header"
        if self._options.require_next_update and fields.next_update is None:
            raise UnsupportedCrlError(
                "the CRL has no nextUpdate, so nobody could tell when it is stale",
                feature="no_next_update",
            )
        signer = self._hash.verify(fields.signature, fields.authority_key_id)
        entries = crl.sort(self._workers.share)
        metadata = self._describe(fields, entries, signer, self._hash)
        if self._options.strict and metadata.warnings:
            names = metadata.warnings.names
            odd = "".join(f"; {one}" for one in fields.odd_extensions)
            raise UnsupportedCrlError(
                f"strict accepts no CRL with a warning, found: {', '.join(names)}{odd}",
                feature=" ".join(names),
            )
        return VerifiedCrl(
            entries, metadata, signer, self._size, self._workers, fields.odd_extensions
        )

    def _make_hash(self) -> TbsVerifier | _UnverifiedTbs:
        if self._issuers is None:
            return _UnverifiedTbs()
        # Only here, because it imports `cryptography`.
        from crlcheck.x509.signatures import (
            MIN_RSA_BITS,
            MIN_SMALL_RSA_BITS,
            TbsVerifier,
            candidate_issuers,
        )

        algorithm, issuer = self._parser.signature_algorithm, self._parser.issuer
        scheme = signature_scheme(algorithm, allow_sha1=self._options.allow_sha1)
        candidates = candidate_issuers(self._issuers, crl_issuer=issuer)
        min_rsa_bits = MIN_SMALL_RSA_BITS if self._options.allow_small_rsa else MIN_RSA_BITS
        return TbsVerifier(scheme, candidates, min_rsa_bits=min_rsa_bits)

    def _hash_early(self, early: list[Chunk], end: int) -> None:
        """Hash what came before the hash was known, which ends at *end*."""
        offset = end - sum(map(len, early))
        for chunk in early:
            self._hash_tbs(offset, chunk)
            offset += len(chunk)

    def _hash_tbs(self, offset: int, chunk: Chunk) -> None:
        """Hash the signed bytes in *chunk*, which is at *offset* of the source."""
        assert self._hash is not None
        tbs_offset, tbs_size = self._parser.tbs_span
        start = max(tbs_offset - offset, 0)
        end = min(tbs_offset + tbs_size - offset, len(chunk))
        if start < end:
            span = memoryview(chunk)[start:end]
            self._hashing.append(self._workers.submit(self._hash.update, span))
            # The next chunk overwrites the one before the last.
            while len(self._hashing) >= _NUM_BUFFERS:
                self._hashing.popleft().result()

    def _describe(
        self,
        fields: CrlFields,
        entries: SortedEntries,
        signer: CertificateFacts | None,
        tbs: TbsVerifier | _UnverifiedTbs,
    ) -> ImageMetadata:
        algorithm, weak = _algorithm(fields.signature_algorithm)
        warnings = fields.warnings
        if entries.num_duplicates:
            warnings |= CrlWarning.DUPLICATE_SERIALS
        if weak:
            warnings |= CrlWarning.WEAK_SIGNATURE_HASH
        if tbs.has_small_key:
            warnings |= CrlWarning.SMALL_RSA_KEY
        key_hash = key_id = None
        if signer is not None:
            key_hash = hashlib.sha256(signer.subject_public_key_info).digest()
            key_id = signer.subject_key_id
        return ImageMetadata(
            version=fields.version,
            issuer=fields.issuer,
            issuer_hash=_issuer_hash(fields.issuer),
            authority_key_id=fields.authority_key_id,
            verifier_key_hash=key_hash,
            verifier_subject_key_id=key_id,
            issuing_distribution_point=fields.issuing_distribution_point,
            crl_number=fields.crl_number,
            base_crl_number=fields.base_crl_number,
            this_update=fields.this_update,
            next_update=fields.next_update,
            expired_certs_on_crl=fields.expired_certs_on_crl,
            signature_algorithm=algorithm,
            tbs_digest=tbs.tbs_digest,
            num_entries=entries.num_entries,
            num_duplicates=entries.num_duplicates,
            attributes=self._options.attributes,
            warnings=warnings,
        )


def _algorithm(identifier: bytes) -> tuple[str, bool]:
    """Return the name of a signature algorithm, and whether its hash is weak."""
    try:
        scheme = signature_scheme(identifier, allow_sha1=True)
    except UnsupportedCrlError:  # in a CRL that is not verified
        return f"unknown:{identifier.hex()}", True
    return scheme.name, scheme.has_weak_hash


def _issuer_hash(issuer: bytes) -> bytes:
    try:
        return name_hash(issuer)
    except ValueError as error:
        raise MalformedCrlError(
            f"malformed CRL: its issuer is no Name: {error}", rule="bad_name", offset=0
        ) from error


class _UnverifiedTbs:
    """Identifies a CRL that is not verified: hashes its signed bytes with SHA-256."""

    has_small_key = False

    def __init__(self) -> None:
        self._digest = hashlib.sha256()

    def update(self, chunk: Chunk) -> None:
        self._digest.update(chunk)

    def verify(self, signature: bytes, authority_key_id: bytes | None) -> None:
        """There is no signer to return."""

    def close(self) -> None:
        """Nothing is kept."""

    @property
    def tbs_digest(self) -> str:
        return f"sha256:{self._digest.hexdigest()}"


def serialize_bitmap(members: array[int]) -> bytes:
    """
    Return the portable 64-bit serialization of a roaring bitmap of *members*.

    It is optimised for runs, so the same members always give the same bytes.
    """
    # Only here: few CRLs need it, and reading an image never does.
    from pyroaring import BitMap64

    bitmap = BitMap64(members)
    bitmap.run_optimize()
    return bitmap.serialize()
