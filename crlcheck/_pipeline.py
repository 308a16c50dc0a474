"""
A CRL on its way from source to image.

While one thread parses a chunk and keeps its entries, a second hashes the same
chunk for the signature; later the second hashes and writes the image while the
first packs it.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeVarTuple

from crlcheck._binding import PAGE_SIZE, BuilderStats, CrlCompiler, CrlFields
from crlcheck._bitmap import serialize_bitmap
from crlcheck._metadata import ImageMetadata
from crlcheck._name import name_hash
from crlcheck._signature_scheme import signature_scheme
from crlcheck._source import CrlSource, SourceReader
from crlcheck.errors import MalformedCrlError, UnsupportedCrlError
from crlcheck.types import CertificateFacts, CompileReport, CrlWarning

if TYPE_CHECKING:
    from crlcheck.signature import TbsVerifier

DEFAULT_MAX_SOURCE_SIZE = 1 << 30
"""Octets of the largest source taken unless more is allowed."""

_PIECE_SIZE = 1 << 20
# One chunk being read or packed, one being hashed, one waiting between them.
_NUM_BUFFERS = 3

Chunk = bytes | memoryview
Arguments = TypeVarTuple("Arguments")


class Sink(Protocol):
    """Takes an image: the octets behind its header in order, then the header."""

    def start(self, header_size: int) -> None:
        """The header will have *header_size* octets."""

    def write(self, piece: Chunk) -> None:
        """Take the next octets, without keeping *piece*. May run on another thread."""

    def finish(self, header: bytes) -> None:
        """Take the header, after everything else."""


@dataclass(frozen=True, slots=True)
class Options:
    """The options of ``CompileOptions``, with their defaults."""

    attributes: bool = True
    max_source_size: int = DEFAULT_MAX_SOURCE_SIZE
    allow_sha1: bool = False
    allow_v1: bool = False
    strict: bool = False
    require_next_update: bool = True


@contextlib.contextmanager
def read_crl(
    source: CrlSource, issuers: tuple[CertificateFacts, ...] | None, options: Options
) -> Iterator[VerifiedCrl]:
    """
    Parse *source* and verify it against *issuers*, or not at all where None.

    Raises:
        CrlError: the CRL is refused.
        OSError: from reading.
    """
    with _Worker() as worker:
        crl = _Reading(source, issuers, options, worker)
        try:
            crl.read()
            yield crl.verified()
        finally:
            crl.close()


class VerifiedCrl:
    """A CRL that holds, its entries in order, ready to be written as an image."""

    def __init__(
        self,
        compiler: CrlCompiler,
        metadata: ImageMetadata,
        signer: CertificateFacts | None,
        source_size: int,
        worker: _Worker,
    ) -> None:
        self._compiler = compiler
        self.metadata = metadata
        self.signer = signer
        self._source_size = source_size
        self._worker = worker

    def write(self, sink: Sink) -> CompileReport:
        """
        Give the image to *sink*, piece by piece; whatever it raises ends that.
        """
        buffers = [bytearray(_PIECE_SIZE) for _ in range(_NUM_BUFFERS)]
        digests = _PageDigests()
        header_size = self._compiler.start_image(self.metadata.to_bytes())
        sink.start(header_size)

        def pass_on(piece: Chunk) -> None:
            digests.update(piece)
            sink.write(piece)

        for piece in self._compiler.body(itertools.cycle(buffers)):
            self._worker.run(pass_on, piece)
        self._worker.drain()
        header = self._compiler.header
        table, root = digests.finish(header)
        sink.write(table + root)
        sink.finish(header)
        image_size = header_size + digests.size + len(table) + len(root)
        return self._report(root.hex(), image_size)

    def _report(self, digest: str, image_size: int) -> CompileReport:
        metadata = self.metadata
        return CompileReport(
            issuer=metadata.issuer,
            num_entries=metadata.num_entries,
            num_duplicates=metadata.num_duplicates,
            crl_number=metadata.crl_number,
            base_crl_number=metadata.base_crl_number,
            this_update=metadata.this_update,
            next_update=metadata.next_update,
            image_size=image_size,
            source_size=self._source_size,
            tbs_digest=metadata.tbs_digest,
            digest=digest,
            warnings=metadata.warnings,
        )


class _Reading:
    """The state of reading one source."""

    def __init__(
        self,
        source: CrlSource,
        issuers: tuple[CertificateFacts, ...] | None,
        options: Options,
        worker: _Worker,
    ) -> None:
        self._issuers = issuers
        self._options = options
        self._worker = worker
        self._source = SourceReader(
            source, num_buffers=_NUM_BUFFERS, max_size=options.max_source_size
        )
        self._compiler = CrlCompiler(
            attributes=options.attributes,
            max_source_size=options.max_source_size,
            allow_v1=options.allow_v1,
        )
        self._hash: TbsVerifier | _UnverifiedTbs | None = None

    def close(self) -> None:
        """Give up what the hash keeps, after the worker is done with it."""
        self._worker.close()
        if self._hash is not None:
            self._hash.close()

    def read(self) -> None:
        """Feed the whole source to parser and hash."""
        offset = 0
        early: list[tuple[int, bytes]] = []
        for chunk in self._source.chunks():
            if self._hash is not None:
                self._hash_tbs(offset, chunk)
                self._compiler.feed(chunk)
            else:
                # Which hash to use stands in the CRL itself, mostly in this chunk.
                self._compiler.feed(chunk)
                early.append((offset, bytes(chunk)))
                if self._compiler.have_header:
                    self._hash = self._make_hash(self._compiler.fields)
                    for chunk_offset, octets in early:
                        self._hash_tbs(chunk_offset, octets)
                    early.clear()
            offset += len(chunk)
        self._compiler.finish()
        self._worker.drain()

    def verified(self) -> VerifiedCrl:
        """Check what can be checked only now, the signature above all."""
        fields = self._compiler.fields
        assert self._hash is not None, "a finished CRL has a header"
        if self._options.require_next_update and fields.next_update is None:
            raise UnsupportedCrlError(
                "the CRL has no nextUpdate, so nobody could tell when it is stale",
                feature="no_next_update",
            )
        signer = self._hash.verify(fields.signature, fields.authority_key_id)
        metadata = self._describe(fields, self._sort(), signer, self._hash.tbs_digest)
        if self._options.strict and metadata.warnings:
            named = " ".join(warning.name.lower() for warning in metadata.warnings if warning.name)
            raise UnsupportedCrlError(f"strict: the CRL has {named}", feature=named)
        return VerifiedCrl(self._compiler, metadata, signer, self._source.size, self._worker)

    def _sort(self) -> BuilderStats:
        """Put the entries in order, half of them on the worker's thread."""
        self._compiler.complete()
        self._worker.run(self._compiler.sort_part, 1, 2)
        self._compiler.sort_part(0, 2)
        self._worker.drain()
        stats = self._compiler.stats()
        for table, members in self._compiler.dense_tables():
            self._compiler.set_bitmap(table, serialize_bitmap(members))
        return stats

    def _make_hash(self, fields: CrlFields) -> TbsVerifier | _UnverifiedTbs:
        if self._issuers is None:
            return _UnverifiedTbs()
        # Only here, because it imports `cryptography`.
        from crlcheck.signature import TbsVerifier, candidate_issuers

        scheme = signature_scheme(fields.signature_algorithm, allow_sha1=self._options.allow_sha1)
        candidates = candidate_issuers(
            self._issuers, crl_issuer=fields.issuer, authority_key_id=None
        )
        return TbsVerifier(scheme, candidates)

    def _hash_tbs(self, offset: int, chunk: Chunk) -> None:
        """Hash what of *chunk*, at *offset* of the source, belongs to the signed bytes."""
        assert self._hash is not None
        tbs_offset, tbs_size = self._compiler.tbs_span
        start = max(tbs_offset - offset, 0)
        end = min(tbs_offset + tbs_size - offset, len(chunk))
        if start < end:
            self._worker.run(self._hash.update, memoryview(chunk)[start:end])

    def _describe(
        self,
        fields: CrlFields,
        stats: BuilderStats,
        signer: CertificateFacts | None,
        tbs_digest: str,
    ) -> ImageMetadata:
        algorithm, weak = _algorithm(fields.signature_algorithm)
        warnings = fields.warnings
        warnings |= CrlWarning.DUPLICATE_SERIALS if stats.num_duplicates else CrlWarning(0)
        warnings |= CrlWarning.WEAK_SIGNATURE_HASH if weak else CrlWarning(0)
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
            tbs_digest=tbs_digest,
            num_entries=stats.num_entries,
            num_duplicates=stats.num_duplicates,
            attributes=self._options.attributes,
            warnings=warnings,
        )


def _algorithm(identifier: bytes) -> tuple[str, bool]:
    """Name a signature algorithm, and say whether its hash is weak."""
    try:
        scheme = signature_scheme(identifier, allow_sha1=True)
    except UnsupportedCrlError:  # in a CRL that nobody verified
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
    """Identifies a CRL that nobody verifies: hashes its signed bytes with SHA-256."""

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


class _PageDigests:
    """Computes page table and digest of an image from its body."""

    def __init__(self) -> None:
        self.size = 0
        """Octets of the body so far."""
        self._page = hashlib.sha256()
        self._table: list[bytes] = []

    def update(self, piece: Chunk) -> None:
        """Take the next octets of the body."""
        body = memoryview(piece)
        while body:
            part = body[: PAGE_SIZE - self.size % PAGE_SIZE]
            self._page.update(part)
            self.size += len(part)
            body = body[len(part) :]
            if self.size % PAGE_SIZE == 0:
                self._end_page()

    def finish(self, header: bytes) -> tuple[bytes, bytes]:
        """Return what follows the body: the page table and the image's digest."""
        if self.size % PAGE_SIZE:
            self._end_page()
        table = b"".join(self._table)
        return table, hashlib.sha256(header + table).digest()

    def _end_page(self) -> None:
        self._table.append(self._page.digest())
        self._page = hashlib.sha256()


class _Worker:
    """
    Runs calls one after the other on a second thread, where there is a core for it.

    At most ``_NUM_BUFFERS - 1`` calls are unfinished when ``run`` returns, so the
    buffer of a call is free again after that many later ones.
    """

    def __init__(self) -> None:
        self._executor = None if _num_cores() < 2 else ThreadPoolExecutor(1, "crlcheck-hash")
        self._pending: deque[Future[None]] = deque()

    def __enter__(self) -> _Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def run(self, function: Callable[[*Arguments], None], *arguments: *Arguments) -> None:
        """Call *function* soon; what an earlier call raised is raised here."""
        if self._executor is None:
            function(*arguments)
            return
        self._pending.append(self._executor.submit(function, *arguments))
        while len(self._pending) >= _NUM_BUFFERS:
            self._pending.popleft().result()

    def drain(self) -> None:
        """Wait for every call, and raise what any raised."""
        while self._pending:
            self._pending.popleft().result()

    def close(self) -> None:
        """End the thread; calls that have not begun are dropped."""
        if self._executor is not None:
            self._executor.shutdown(wait=True, cancel_futures=True)


def _num_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
