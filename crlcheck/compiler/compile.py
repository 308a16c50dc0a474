"""
Verify a CRL and compile it into an image, in one pass over the source.

The image gets its name only when it is complete.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Self, Unpack

from crlcheck.compiler.pipeline import Chunk, CompileOptions, Options, read_crl
from crlcheck.compiler.source import BinaryReader, CrlSource, split_crls
from crlcheck.errors import naming
from crlcheck.types import CertificateFacts, CompileReport, ImageMetadata
from crlcheck.x509.certificates import CertificateSource, load_certificates
from crlcheck.x509.signers import Signers

__all__ = [
    "BinaryReader",
    "CompileOptions",
    "CompiledImage",
    "CrlSource",
    "compile_crl",
    "compile_to_temporary",
    "compile_unverified_crl",
    "split_crls",
]


@dataclass(frozen=True, slots=True)
class CompiledImage:
    """An image in a temporary file, which the context manager removes."""

    report: CompileReport
    path: Path
    signer: CertificateFacts | None

    @property
    def metadata(self) -> ImageMetadata:
        """The metadata of the CRL in the image."""
        return self.report.metadata

    @property
    def digest(self) -> str:
        """The hex digest that authenticates the image."""
        return self.report.digest

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.path.unlink(missing_ok=True)


def compile_crl(
    source: CrlSource,
    output: str | os.PathLike[str] | None = None,
    *,
    issuer: CertificateSource | Iterable[CertificateSource],
    fsync: bool = True,
    **options: Unpack[CompileOptions],
) -> CompileReport:
    """
    Verify a CRL and compile it into an image.

    Args:
        source: a path, the bytes, or a binary file; DER, or PEM with one CRL.
        output: the path of the image. A file that is there is replaced in one step, once
            the image is complete. None to get the image as ``report.image``.
        issuer: trusted certificates; the one whose name and key verify is used.
        fsync: make sure the image is on the disk before it gets its name.
        options: see ``CompileOptions``.

    Raises:
        MalformedCrlError: not a DER CertificateList, with rule and offset.
        UnsupportedCrlError: a feature, algorithm or size outside what is accepted.
        CrlSignatureError: no certificate given verifies it.
        CertificateError: *issuer* holds something that is not a certificate.
        OSError: from reading or writing; nothing is left at *output*.
    """
    issuers = Signers(load_certificates(issuer))
    return _compile_to(source, output, issuers, Options(**options), fsync)


def compile_unverified_crl(
    source: CrlSource,
    output: str | os.PathLike[str] | None = None,
    *,
    fsync: bool = True,
    **options: Unpack[CompileOptions],
) -> CompileReport:
    """
    Compile a CRL without verifying its signature, for tools and tests.

    The image says so, and publishers and checkers refuse it. Otherwise as
    ``compile_crl``.
    """
    return _compile_to(source, output, None, Options(**options), fsync)


def compile_to_temporary(
    source: CrlSource,
    *,
    issuer: CertificateSource | Iterable[CertificateSource] | Signers,
    directory: str | os.PathLike[str] | None = None,
    is_alone: bool = True,
    **options: Unpack[CompileOptions],
) -> CompiledImage:
    """
    Verify and compile as ``compile_crl``, into a temporary file of *directory*.

    The caller uses the result as a context manager, which removes the file. *is_alone* tells
    that no other CRL is compiled at the same time.
    """
    issuers = issuer if isinstance(issuer, Signers) else Signers(load_certificates(issuer))
    with read_crl(source, issuers, Options(**options), is_alone=is_alone) as crl:
        handle, name = tempfile.mkstemp(prefix="crlcheck.", suffix=".crlx", dir=directory)
        path = Path(name)
        try:
            with naming(path), os.fdopen(handle, "wb", buffering=0) as file:
                report = crl.write(FileSink(file).write)
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        return CompiledImage(report, path, crl.signer)


def _compile_to(
    source: CrlSource,
    output: str | os.PathLike[str] | None,
    issuers: Signers | None,
    options: Options,
    fsync: bool,
) -> CompileReport:
    with read_crl(source, issuers, options) as crl:
        if output is None:
            memory = _MemorySink()
            report = crl.write(memory.write)
            return replace(report, image=memory.image())
        with naming(output), replacing_file(Path(output), fsync=fsync) as file:
            return crl.write(FileSink(file).write)


class _MemorySink:
    """Keeps an image in memory."""

    def __init__(self) -> None:
        self._pieces: dict[int, bytes] = {}

    def write(self, offset: int, piece: Chunk) -> None:
        self._pieces[offset] = bytes(piece)

    def image(self) -> bytes:
        return b"".join(piece for _, piece in sorted(self._pieces.items()))


class FileSink:
    """Writes an image to an unbuffered file."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file.fileno()

    def write(self, offset: int, piece: Chunk) -> None:
        view = memoryview(piece)
        while view:  # the system may take less than it is given
            written = os.pwrite(self._file, view, offset)
            view = view[written:]
            offset += written


@contextlib.contextmanager
def replacing_file(path: Path, *, fsync: bool) -> Iterator[IO[bytes]]:
    """Open a temporary file beside *path* that takes its name if all goes well."""
    path = path.resolve()  # a symbolic link stays one
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if path.exists() and not path.is_file():  # renaming would destroy a device
        raise OSError(errno.EINVAL, "Not a regular file", str(path))
    if not path.parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        # Unlike mkstemp's, the rights of a new file follow the umask.
        with temporary.open("xb", buffering=0) as file:
            yield file
            if fsync:
                os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
