"""
Find the objects of a published set elsewhere: in a mirror of it, or made anew from CRLs.

An object that is found is the very one that is looked for, because its digest says so.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

from crlcheck.catalog.catalog import IMAGE_PREFIX, PublishedImage
from crlcheck.catalog.history import HISTORY_PREFIX
from crlcheck.catalog.root import CATALOG_NAME
from crlcheck.catalog.tree import NODE_PREFIX, Reference, read_object
from crlcheck.compiler.compile import CompiledImage, CompileOptions, compile_to_temporary
from crlcheck.compiler.source import split_crls
from crlcheck.errors import CatalogDamagedError, CrlCheckError, IndexFileError
from crlcheck.image.index import open_index
from crlcheck.settings import looks_like_store
from crlcheck.stores import ObjectStore, open_store

Origin = str | os.PathLike[str] | ObjectStore
"""A mirror, as ``open_store`` takes it; or a CRL file or a directory of them."""

_KINDS_OF_OBJECTS = (IMAGE_PREFIX, NODE_PREFIX, HISTORY_PREFIX)

# Whoever published the CRL allowed what it has. Its image is compared with a digest.
_ALL_ALLOWED: CompileOptions = {
    "allow_sha1": True,
    "allow_small_rsa": True,
    "allow_v1": True,
    "require_next_update": False,
    "max_source_size": 0,
}


def is_mirror(origin: Origin) -> bool:
    """Whether *origin* is a store; a directory is one if it has any object of a store."""
    if isinstance(origin, ObjectStore):
        return True
    if isinstance(origin, str) and looks_like_store(origin):
        return True
    path = Path(origin)
    return any((path / name).exists() for name in (CATALOG_NAME, *_KINDS_OF_OBJECTS))


def crl_files(path: Path) -> list[Path]:
    """
    Return *path*, or the files of that directory in the order of their names.

    Hidden files and directories in it are left out.

    Raises:
        OSError: it is not there, or cannot be read.
    """
    if not path.is_dir():
        path.stat()
        return [path]
    return sorted(one for one in path.iterdir() if one.is_file() and one.name[0] != ".")


class Copies:
    """Mirrors and CRLs in which the objects of *store* are looked for."""

    def __init__(self, store: ObjectStore, origins: Iterable[Origin]) -> None:
        mirrors: list[ObjectStore] = []
        self.crls: list[Path] = []
        for origin in origins:
            if is_mirror(origin):
                mirrors.append(open_store(origin))
            else:
                assert not isinstance(origin, ObjectStore), "a store is a mirror"
                self.crls += crl_files(Path(origin))
        self._mirrors = mirrors
        # The store itself may have the same image under the name of another publication.
        self._with_images = [store, *mirrors]

    def __bool__(self) -> bool:
        """Whether there is any place to look in."""
        return bool(self._mirrors or self.crls)

    def object(self, reference: Reference) -> tuple[bytes, str] | None:
        """Return the bytes of a node, of the denials or of a record, and where they were."""
        for mirror in self._mirrors:
            with contextlib.suppress(CatalogDamagedError):
                return read_object(mirror, reference), f"{mirror.url}/{reference.name}"
        return None

    def image(self, image: PublishedImage) -> tuple[bytes, str] | None:
        """Return the bytes of an image, and where they were, under whatever name."""
        for place, name in self._candidates(image):
            with contextlib.suppress(FileNotFoundError, IndexFileError):
                body = place.load(name)
                check_image(image, body)
                return bytes(body), f"{place.url}/{name}"
        return None

    def _candidates(self, image: PublishedImage) -> Iterator[tuple[ObjectStore, str]]:
        for place in self._with_images:
            yield place, image.name
        for place in self._with_images:
            if not getattr(place, "is_read_only", False):  # such a store cannot be listed
                for name in place.names(f"{IMAGE_PREFIX}{image.digest}"):
                    yield place, name

    def compiled(
        self, wanted: Mapping[str, Sequence[PublishedImage]], issuers: Iterable[bytes]
    ) -> Iterator[tuple[PublishedImage, bytes, str]]:
        """
        Compile the CRLs, and yield each of the *wanted* images that comes out byte for byte.

        *wanted* has them by the digest of what the CA signed. *issuers* are the certificates
        that may verify the CRLs. A CRL that cannot be read is left out: it may be any file.
        """
        trusted = list(issuers)
        if not wanted or not trusted:
            return
        for path in self.crls:
            with path.open("rb", buffering=0) as file:
                for crl in split_crls(file, max_size=0, max_crls=0):
                    # Kept in a file, because it may be compiled twice.
                    with contextlib.suppress(CrlCheckError), tempfile.TemporaryFile() as kept:
                        while chunk := crl.read(1 << 20):
                            kept.write(chunk)
                        for image, body in _images_of(kept, wanted, trusted):
                            yield image, body, str(path)


def _images_of(
    crl: BinaryIO,
    wanted: Mapping[str, Sequence[PublishedImage]],
    issuers: Sequence[bytes],
) -> Iterator[tuple[PublishedImage, bytes]]:
    made: dict[bool, CompiledImage] = {}
    with contextlib.ExitStack() as stack, contextlib.suppress(CrlCheckError):

        def compiled(*, attributes: bool) -> CompiledImage:
            if attributes not in made:
                crl.seek(0)
                options: CompileOptions = {**_ALL_ALLOWED, "attributes": attributes}
                one = compile_to_temporary(crl, issuer=issuers, **options)
                made[attributes] = stack.enter_context(one)
            return made[attributes]

        for image in wanted.get(compiled(attributes=True).metadata.tbs_digest, ()):
            found = compiled(attributes=image.metadata.attributes)
            if found.digest == image.digest:
                yield image, found.read()


def check_image(image: PublishedImage, body: bytes | bytearray | mmap.mmap) -> None:
    """
    Compare the bytes of an image with its record in the catalog.

    Raises:
        IndexFileError: they differ, or the signature of its CRL was not verified.
    """
    if len(body) != image.size:
        raise IndexFileError(f"expected {image.size:,} bytes, found {len(body):,}")
    with open_index(body) as index:
        if index.digest != image.digest:
            raise IndexFileError(f"expected the digest {image.digest}, found {index.digest}")
        if index.metadata != image.metadata:
            raise IndexFileError("its header is not what the catalog says of it")
        if not index.metadata.verified:
            raise IndexFileError("the signature of its CRL was not verified")
