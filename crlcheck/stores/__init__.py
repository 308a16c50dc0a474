"""
Open the store of the images and the catalog: a directory, an S3 prefix or an https:// URL.

All give the same guarantees (see ObjectStore), so all other packages work on any of them. A
store at a URL can only be read.
"""

from __future__ import annotations

import os

from crlcheck.settings import check_store_name, is_http_url, is_s3_url
from crlcheck.stores.local import LocalStore
from crlcheck.stores.object_store import (
    ObjectStore,
    PartStore,
    StoredObject,
    StoredPart,
    read_only_error,
)
from crlcheck.stores.s3 import S3Store

__all__ = [
    "LocalStore",
    "ObjectStore",
    "PartStore",
    "S3Store",
    "StoredObject",
    "StoredPart",
    "open_for_writing",
    "open_store",
]


def open_store(target: str | os.PathLike[str] | ObjectStore) -> ObjectStore:
    """
    Return the store that *target* names: ``"s3://bucket/prefix"``, the path of a
    directory, ``"https://host/path"``, or a store, which is returned as it is.

    A store at a URL can only be read. An ``http://`` URL is for this machine alone.

    A directory that does not exist yet is an empty store, and the first write makes it.
    What looks like another kind of URL, an ARN or an unexpanded ``~`` is refused, and the message
    says what was probably meant. A directory of such a name is given by its absolute path,
    or as a str with ``./`` before it.

    Raises:
        ValueError: an empty path, an S3 URL without a bucket, a URL with a password or a
            query, or a name that is refused.
        ImportError: an S3 URL where the ``[aws]`` extra is not installed.
        NotADirectoryError: the path is not a directory's.
    """
    if isinstance(target, str):
        check_store_name(target)
        if is_http_url(target):
            # Only here, because an authorizer on S3 starts without it.
            from crlcheck.stores.https import HttpsStore

            return HttpsStore(target)
        return S3Store(target) if is_s3_url(target) else LocalStore(target)
    if isinstance(target, os.PathLike):
        # A path has lost the second slash of s3://, so it may be meant for a URL as well.
        check_store_name(os.fspath(target))
        return LocalStore(target)
    if isinstance(target, ObjectStore):
        return target
    raise TypeError(f"store: expected a path, URL or ObjectStore, found {type(target).__name__}")


def open_for_writing(target: str | os.PathLike[str] | ObjectStore) -> ObjectStore:
    """
    Return the store that *target* names, as ``open_store``, if it can be written.

    Raises:
        ReadOnlyStoreError: it can only be read. That is known before any work is done.
    """
    store = open_store(target)
    if getattr(store, "is_read_only", False):
        raise read_only_error(store.url, "write", "nothing can be changed there")
    return store
