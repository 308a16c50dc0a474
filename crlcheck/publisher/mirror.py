"""Copying a published set from one store to another, never half of it."""

from __future__ import annotations

import mmap
import os
from dataclasses import dataclass

from crlcheck.catalog.catalog import CATALOG_NAME, IMAGE_PREFIX, Catalog, PublishedImage
from crlcheck.catalog.compare_and_swap import read_catalog, write_copy
from crlcheck.errors import (
    CorruptIndexError,
    IndexFileError,
    StoreError,
    StoreUnavailableError,
)
from crlcheck.image.index import open_index
from crlcheck.publisher.publication import is_intact
from crlcheck.stores import ObjectStore, open_store

_MAX_TRIES = 5


@dataclass(frozen=True, slots=True)
class MirrorReport:
    """What was copied: the catalog's generation, and how many images went over and were deleted."""

    generation: int
    num_copied: int
    num_deleted: int


def mirror_store(
    source: str | os.PathLike[str] | ObjectStore,
    target: str | os.PathLike[str] | ObjectStore,
    *,
    rebuild: bool = False,
) -> MirrorReport:
    """
    Make *target* the same published set as *source*.

    Images are verified and copied before the catalog, so that a reader of the
    target always finds a whole set. What neither the new catalog nor the one
    before needs is deleted. Nothing else may publish to the target. With
    *rebuild* the images that the target has are read, too, and those that are
    damaged copied again.

    Raises:
        FileNotFoundError: the source has nothing published.
        IndexFileError: an image is unverified, corrupt or not the one that the catalog names.
        StoreError: a store fails, or the target is ahead of the source: its
            contents are not this source's.
    """
    origin, copy = open_store(source), open_store(target)
    for _ in range(_MAX_TRIES):
        stored = origin.read(CATALOG_NAME)
        catalog = Catalog.from_bytes(stored.body)
        held, etag = read_catalog(copy)
        catalog.check_successor(held)
        try:
            num_copied = _copy_images(catalog, origin, copy, rebuild=rebuild)
        except FileNotFoundError:
            continue  # superseded and deleted since: there is a newer catalog
        if catalog != held and not write_copy(copy, catalog, stored.body, etag):
            raise StoreError(
                f"{copy.url}/{CATALOG_NAME} was changed meanwhile: a mirror has one writer"
            )
        return MirrorReport(catalog.generation, num_copied, _delete_unneeded(catalog, held, copy))
    raise StoreUnavailableError(f"{origin.url}: the catalog names images that are not there")


def _copy_images(catalog: Catalog, origin: ObjectStore, copy: ObjectStore, *, rebuild: bool) -> int:
    present = set(copy.names(IMAGE_PREFIX))
    missing = [
        image
        for image in catalog.images()
        if image.name not in present or (rebuild and not is_intact(copy, image))
    ]
    for image in missing:
        octets = origin.load(image.name)
        _check(image, octets, f"image {image.name} in {origin.url}")
        copy.write(image.name, bytes(octets))
    return len(missing)


def _check(image: PublishedImage, octets: bytes | bytearray | mmap.mmap, where: str) -> None:
    try:
        opened = open_index(octets)
    except CorruptIndexError as error:
        raise CorruptIndexError(f"{where}: {error}") from error
    with opened as index:
        if not index.metadata.verified:
            raise IndexFileError(f"{where} is refused: nobody verified the signature of its CRL")
        if (index.digest, index.metadata) != (image.digest, image.metadata):
            raise CorruptIndexError(f"{where} is not the one that the catalog names")


def _delete_unneeded(catalog: Catalog, held: Catalog, copy: ObjectStore) -> int:
    # What the source keeps for readers of older catalogs, readers here may need too.
    needed = catalog.image_names() | catalog.superseded.keys() | held.image_names()
    unneeded = [name for name in copy.names(IMAGE_PREFIX) if name not in needed]
    for name in unneeded:
        copy.delete(name)
    return len(unneeded)
