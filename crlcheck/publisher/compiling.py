"""Compile the CRLs of one file, one after the other, into images in temporary files."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import NamedTuple, Unpack

from crlcheck.compiler.compile import CompiledImage, CompileOptions, CrlSource, compile_to_temporary
from crlcheck.compiler.pipeline import DEFAULT_MAX_SOURCE_SIZE
from crlcheck.compiler.source import CHUNK_SIZE, DEFAULT_MAX_CRLS, BinaryReader, split_crls
from crlcheck.encoding.content import GzipReader, is_gzip
from crlcheck.encoding.paths import open_file
from crlcheck.errors import CrlError
from crlcheck.x509.signers import Signers


class CompileJob(NamedTuple):
    """How the CRLs of every file of a run are compiled."""

    signers: Signers
    options: CompileOptions
    max_crls: int = DEFAULT_MAX_CRLS
    directory: str | None = None
    is_alone: bool = True


class Compiled(NamedTuple):
    """One CRL of a file: its number from 1, and its image or why it was refused."""

    number: int
    image: CompiledImage | CrlError
    seconds: float


def compile_file(
    source: Path | BinaryReader, job: CompileJob, *, content_encoding: str = ""
) -> Iterator[Compiled]:
    """
    Compile each CRL of a file: one of DER, or as many as PEM and PKCS #7 have.

    Each is read and compiled when the iterator is asked for it. Who gets an image removes
    it.

    Raises:
        OSError: from reading. So is whatever else the file raises.
    """
    opened: AbstractContextManager[BinaryReader] = (
        open_file(source) if isinstance(source, Path) else nullcontext(source)
    )
    max_size = job.options.get("max_source_size", DEFAULT_MAX_SOURCE_SIZE)
    with opened as file:
        reader = GzipReader(file, max_size=max_size) if is_gzip(content_encoding) else file
        crls = split_crls(reader, max_size=max_size, max_crls=job.max_crls)
        started = time.monotonic()
        for number, crl in enumerate(crls, 1):
            try:
                image: CompiledImage | CrlError = compile_source(
                    crl,
                    job.signers,
                    directory=job.directory,
                    is_alone=job.is_alone,
                    **job.options,
                )
            except CrlError as error:
                image = error
            now = time.monotonic()
            yield Compiled(number, image, now - started)
            started = time.monotonic()


def compile_source(
    source: CrlSource,
    signers: Signers,
    *,
    directory: str | None = None,
    is_alone: bool = True,
    **options: Unpack[CompileOptions],
) -> CompiledImage:
    """
    Compile one CRL; where it is refused, read its source to the end (step 1).

    A source finds only at its end that its download was damaged. The compiler may have
    refused the damaged bytes before. Reading on raises the source's own error instead.

    Raises: as ``compile_crl``.
    """
    try:
        return compile_to_temporary(
            source, issuer=signers, directory=directory, is_alone=is_alone, **options
        )
    except CrlError as error:
        is_bounded = getattr(error, "feature", None) in ("source_too_large", "too_many_crls")
        if isinstance(source, BinaryReader) and not is_bounded:
            rest = options.get("max_source_size") or DEFAULT_MAX_SOURCE_SIZE
            while rest > 0 and (chunk := source.read(CHUNK_SIZE)):
                rest -= len(chunk)
        raise
