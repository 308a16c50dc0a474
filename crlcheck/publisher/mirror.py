"""Copy a published set from one store to another, always as a whole."""

from __future__ import annotations

import functools
import logging
import mmap
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from crlcheck.catalog.catalog import IMAGE_PREFIX, PublishedImage
from crlcheck.catalog.compare_and_swap import write_copy
from crlcheck.catalog.given_up import given_up_since
from crlcheck.catalog.history import HISTORY_PREFIX, chain
from crlcheck.catalog.published_set import PublishedSet, read_set, set_of
from crlcheck.catalog.readable_part import NodesOfEither, read_copy
from crlcheck.catalog.root import CATALOG_NAME
from crlcheck.catalog.signing_store import unsigned_store
from crlcheck.catalog.tree import NODE_PREFIX, read_object
from crlcheck.errors import (
    CatalogDamagedError,
    CorruptIndexError,
    IndexFileError,
    RootSignatureError,
    StoreError,
    StoreUnavailableError,
)
from crlcheck.image.index import open_index
from crlcheck.publisher.clean_up import prune_history
from crlcheck.publisher.comparison import is_intact
from crlcheck.signing.root_key import RootKey, read_root_keys
from crlcheck.signing.statement import signers_of, verify_root
from crlcheck.stores import LocalStore, ObjectStore, open_for_writing, open_store
from crlcheck.stores.probe import probe_store
from crlcheck.times import given_time

_MAX_TRIES = 5
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class MirrorReport:
    """Reports the generation of a copied catalog, and how many images were copied and deleted."""

    generation: int
    num_copied: int
    num_deleted: int


def mirror_store(
    source: str | os.PathLike[str] | ObjectStore,
    target: str | os.PathLike[str] | ObjectStore,
    *,
    rebuild: bool = False,
    root_keys: Iterable[RootKey | str] | str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> MirrorReport:
    """
    Copy the published set of *source* to *target*.

    Images are verified and copied before the catalog, so that a reader of the target
    always finds a whole set. Images that neither the new catalog nor the one before
    needs are deleted. Nothing else may publish to the target. With *rebuild* the
    target's own images are read too, and damaged ones are copied again. With *root_keys*
    the source's root must be signed by one of these public keys. *progress* is called with
    the bytes copied so far and those to copy in all.

    The root is copied byte for byte with its signatures, also where only these are new.
    It is copied only where all that it names is in the target then: a node that is missing or
    damaged in the source stops it, unless the target has that one from before.

    A source at an https:// URL may be behind the target, because a cache is late. Then
    nothing is copied, and a warning is logged.

    Raises:
        ValueError: *target* is *source*, where publishers may be at work.
        FileNotFoundError: the source has nothing published.
        IndexFileError: an image is unverified, corrupt or not the one that the catalog names.
        RootSignatureError: the source's root is signed by none of *root_keys*, or without
            them by none of the keys that signed the target's.
        StoreError: a store fails, or the target is ahead of the source: its
            contents are not this source's.
    """
    origin, copy = open_store(source), unsigned_store(open_for_writing(target))
    if _is_same(origin, copy):
        raise ValueError(f"target: expected another store than the source, found {copy.url} again")
    keys = None if root_keys is None else read_root_keys(root_keys)
    for _ in range(_MAX_TRIES):
        stored = origin.read(CATALOG_NAME)
        published = set_of(stored.body, origin, verify=functools.partial(_verify, keys))
        published = replace(published, nodes=NodesOfEither(published.nodes, copy))
        previous, etag = read_set(copy)
        if published.generation < previous.generation and getattr(origin, "may_be_behind", False):
            _log.warning(
                "%s hands out generation %d, and %s has generation %d already: nothing is copied",
                origin.url,
                published.generation,
                copy.url,
                previous.generation,
            )
            return MirrorReport(previous.generation, 0, 0)
        if etag is None:
            probe_store(copy)
        published.check_successor(previous)
        if keys is None:
            _check_signers(published, previous, copy)
        try:
            num_copied = _copy_images(published, origin, copy, rebuild=rebuild, progress=progress)
            _copy_others(published, origin, copy, rebuild=rebuild)
        except (CatalogDamagedError, FileNotFoundError):
            if origin.read(CATALOG_NAME).etag == stored.etag:
                raise
            continue  # superseded and deleted since: there is a newer catalog
        is_new = previous.members != published.members
        if is_new and not write_copy(copy, published, stored.body, etag):
            raise StoreError(
                f"{copy.url}/{CATALOG_NAME} was changed meanwhile: a mirror has one writer"
            )
        num_deleted = _delete_unneeded(published, previous, copy)
        prune_history(copy, published.root, given_time(None))
        return MirrorReport(published.generation, num_copied, num_deleted)
    raise StoreUnavailableError(f"{origin.url}: the catalog names images that are not there")


def _is_same(origin: ObjectStore, copy: ObjectStore) -> bool:
    """Whether both are one store: to delete what its root does not name would harm publishers."""
    if isinstance(origin, LocalStore) and isinstance(copy, LocalStore):
        return os.path.realpath(origin.url) == os.path.realpath(copy.url)
    return origin is copy or (copy.url == origin.url and copy.url.startswith("s3://"))


def _verify(keys: tuple[RootKey, ...] | None, members: Mapping[str, Any]) -> None:
    if keys is not None:
        verify_root(members, keys, now=given_time(None))


def _check_signers(published: PublishedSet, previous: PublishedSet, copy: ObjectStore) -> None:
    """
    Refuse to take the signature of the target's root away.

    Raises:
        RootSignatureError: none of the keys that signed it has signed the source's root.
    """
    ours, theirs = (
        set() if one.members is None else set(signers_of(one.members))
        for one in (previous, published)
    )
    if not ours or ours & theirs:
        return
    found = f"only by {', '.join(sorted(theirs))}" if theirs else "by no key"
    message = (
        f"{copy.url}: the root is signed by the key {', '.join(sorted(ours))}, and that of the "
        f"source {found}: a copy would take the signature away; --root-key "
        "(CRLCHECK_ROOT_KEYS, root_keys) says by which keys the source may be signed"
    )
    if theirs:
        raise RootSignatureError(message, reason="unknown_key", key_id=min(ours))
    raise RootSignatureError(message, reason="unsigned", key_id=min(ours))


def _copy_images(
    published: PublishedSet,
    origin: ObjectStore,
    copy: ObjectStore,
    *,
    rebuild: bool,
    progress: Callable[[int, int], None] | None,
) -> int:
    present = set(copy.names(IMAGE_PREFIX))
    missing = [
        image
        for image in published.images()
        if image.name not in present or (rebuild and not is_intact(copy, image))
    ]
    done, total = 0, sum(image.size for image in missing)
    for image in missing:
        if progress is not None:
            progress(done, total)
        body = origin.load(image.name)
        _check(image, body, f"image {image.name} in {origin.url}")
        copy.write(image.name, bytes(body))
        done += image.size
    if progress is not None:
        progress(done, total)
    return len(missing)


def _copy_others(
    published: PublishedSet, origin: ObjectStore, copy: ObjectStore, *, rebuild: bool
) -> None:
    """Copy the nodes, the denials and the history."""
    present = {*copy.names(NODE_PREFIX), *copy.names(HISTORY_PREFIX)}
    for reference in published.objects():
        if reference.name not in present:
            copy.write(reference.name, read_object(origin, reference))
        elif rebuild:
            try:
                body = read_object(origin, reference)
            except CatalogDamagedError as error:
                read_copy(copy, reference, error)
            else:
                copy.write(reference.name, body)
    for reference, record in chain(origin, published.root):
        if not rebuild and reference.name in present:
            break  # and all before it, for it was copied after them
        copy.write(reference.name, record.to_bytes())


def _check(image: PublishedImage, body: bytes | bytearray | mmap.mmap, where: str) -> None:
    try:
        opened = open_index(body)
    except CorruptIndexError as error:
        raise CorruptIndexError(f"{where}: {error}") from error
    with opened as index:
        if not index.metadata.verified:
            raise IndexFileError(f"{where} is refused: the signature of its CRL was not verified")
        if (index.digest, index.metadata) != (image.digest, image.metadata):
            raise CorruptIndexError(f"{where} is not the one that the catalog names")


def _delete_unneeded(published: PublishedSet, previous: PublishedSet, copy: ObjectStore) -> int:
    # Readers of the target may still use an older catalog, as those of the source do.
    needed = {image.name for one in (published, previous) for image in one.images()}
    needed |= {one.name for some in (published, previous) for one in some.objects()}
    needed |= given_up_since(copy, published, published.root.cleaned.generation) or set()
    stored = [*copy.names(IMAGE_PREFIX), *copy.names(NODE_PREFIX)]
    unneeded = [name for name in stored if name not in needed]
    for name in unneeded:
        copy.delete(name)
    return sum(name.startswith(IMAGE_PREFIX) for name in unneeded)
