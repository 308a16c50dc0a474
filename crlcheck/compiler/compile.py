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
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
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


MAX_IN_MEMORY = 32 << 10
"""Bytes of an image that is kept in memory. To make a file takes longer than to compile it."""


@dataclass(frozen=True, slots=True)
class CompiledImage:
    """
    An image: its bytes, or the path of a temporary file, which the context manager removes.
    """

    report: CompileReport
    content: bytes | Path
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
        self.remove()

    def read(self) -> bytes:
        """Return the bytes of the image."""
        return self.content if isinstance(self.content, bytes) else self.content.read_bytes()

    def remove(self) -> None:
        """Remove the temporary file, where there is one."""
        if isinstance(self.content, Path):
            self.content.unlink(missing_ok=True)


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
    Verify and compile as ``compile_crl``, into memory or a temporary file of *directory*.

    The caller uses the result as a context manager, which removes the file. *is_alone* tells
    that no other CRL is compiled at the same time.
    """
    issuers = issuer if isinstance(issuer, Signers) else Signers(load_certificates(issuer))
    with (
        read_crl(source, issuers, Options(**options), is_alone=is_alone) as crl,
        _TemporarySink(directory) as sink,
    ):
        report = crl.write(sink.write)
        return CompiledImage(report, sink.content(), crl.signer)


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
            return crl.write(memory.write, memory.image)
        with naming(output), replacing_file(Path(output), fsync=fsync) as file:
            return crl.write(FileSink(file).write)


class _MemorySink:
    """Keeps an image in memory."""

    def __init__(self) -> None:
        self._image = bytearray()
        self._lock = threading.Lock()

    def write(self, offset: int, piece: Chunk) -> None:
        end = offset + len(piece)
        with self._lock:
            self._image.extend(bytes(max(end - len(self._image), 0)))
            self._image[offset:end] = piece

    def image(self) -> bytes:
        return bytes(self._image)


class _TemporarySink:
    """Keeps a small image in memory, and writes a larger one to a temporary file."""

    def __init__(self, directory: str | os.PathLike[str] | None) -> None:
        self._directory = directory
        self._lock = threading.Lock()  # for the change from memory to a file
        self._memory = _MemorySink()
        self._size = 0
        self._path: Path | None = None
        self._file: IO[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *exc_info: object) -> None:
        if self._file is not None:
            self._file.close()
        if kind is not None and self._path is not None:
            self._path.unlink(missing_ok=True)

    def write(self, offset: int, piece: Chunk) -> None:
        with self._lock:
            if self._file is None:
                self._size = max(self._size, offset + len(piece))
                if self._size <= MAX_IN_MEMORY:
                    self._memory.write(offset, piece)
                    return
                self._begin_file()
        self._write_to_file(offset, piece)

    def _write_to_file(self, offset: int, piece: Chunk) -> None:
        assert self._path is not None
        assert self._file is not None
        with naming(self._path):
            FileSink(self._file).write(offset, piece)

    def _begin_file(self) -> None:
        if self._directory is not None:
            # Only now: a run that is killed before leaves nothing.
            Path(self._directory).mkdir(0o700, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix="crlcheck.", suffix=".crlx", dir=self._directory)
        self._path = Path(name)
        self._file = os.fdopen(handle, "wb", buffering=0)
        self._write_to_file(0, self._memory.image())
        self._memory = _MemorySink()

    def content(self) -> bytes | Path:
        return self._memory.image() if self._path is None else self._path


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
