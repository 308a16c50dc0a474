"""
Open the store of the images and the catalog: a directory or an S3 prefix.

Both give the same guarantees (see ObjectStore), so all other packages work on either.
"""

from __future__ import annotations

import os

from crlcheck.settings import check_store_name, is_s3_url
from crlcheck.stores.local import LocalStore
from crlcheck.stores.object_store import ObjectStore, StoredObject
from crlcheck.stores.s3 import S3Store

__all__ = ["LocalStore", "ObjectStore", "S3Store", "StoredObject", "open_store"]


def open_store(target: str | os.PathLike[str] | ObjectStore) -> ObjectStore:
    """
    Return the store that *target* names: ``"s3://bucket/prefix"``, the path of a
    directory, or a store, which is returned as it is.

    A directory that does not exist yet is an empty store, and the first write makes it.
    What looks like another URL, an ARN or an unexpanded ``~`` is refused, and the message
    says what was probably meant. A directory of such a name is given by its absolute path,
    or as a str with ``./`` before it.

    Raises:
        ValueError: an empty path, an S3 URL without a bucket, or a name that is refused.
        ImportError: an S3 URL where the ``[aws]`` extra is not installed.
        NotADirectoryError: the path is not a directory's.
    """
    if isinstance(target, str):
        check_store_name(target)
        return S3Store(target) if is_s3_url(target) else LocalStore(target)
    if isinstance(target, os.PathLike):
        # A path has lost the second slash of s3://, so it may be meant for a URL as well.
        check_store_name(os.fspath(target))
        return LocalStore(target)
    if isinstance(target, ObjectStore):
        return target
    raise TypeError(f"store: expected a path, URL or ObjectStore, found {type(target).__name__}")
