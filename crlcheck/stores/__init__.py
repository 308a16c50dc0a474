"""
Open the store of the images and the catalog: a directory or an S3 prefix.

Both give the same guarantees (see ObjectStore), so all other packages work on either.
"""

from __future__ import annotations

import os
import re

from crlcheck.settings import is_s3_url
from crlcheck.stores.local import LocalStore
from crlcheck.stores.object_store import ObjectStore, StoredObject
from crlcheck.stores.s3 import S3Store

__all__ = ["LocalStore", "ObjectStore", "S3Store", "StoredObject", "open_store"]


def open_store(target: str | os.PathLike[str] | ObjectStore) -> ObjectStore:
    """
    Return the store that *target* names: ``"s3://bucket/prefix"``, the path of a
    directory, or a store, which is returned as it is.

    A directory that does not exist yet is an empty store, and the first write makes it.
    A str with another scheme than ``s3://`` is refused. It is not taken for a path.

    Raises:
        ValueError: an empty path, an S3 URL without a bucket, or another scheme.
        ImportError: an S3 URL where the ``[aws]`` extra is not installed.
        NotADirectoryError: the path is not a directory's.
    """
    if isinstance(target, str):
        if is_s3_url(target):
            return S3Store(target)
        if re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", target):
            raise ValueError(f"store {target!r}: expected a path or s3://bucket/prefix")
        return LocalStore(target)
    if isinstance(target, os.PathLike):
        return LocalStore(target)
    if isinstance(target, ObjectStore):
        return target
    raise TypeError(f"store: expected a path, URL or ObjectStore, found {type(target).__name__}")
