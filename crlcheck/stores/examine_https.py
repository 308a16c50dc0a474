"""Examine a store at an https:// URL: whether it can be read, and what a poll costs."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from functools import partial

from crlcheck.errors import PartsUnsupportedError
from crlcheck.stores.examination import FAILED, Result, StoreCheck, attempt, failure, warning
from crlcheck.stores.https import HttpsStore

_CATALOG = "catalog.json"


def checks(store: HttpsStore) -> Iterator[StoreCheck]:
    """Yield the checks; where there is no catalog, nothing else is tried."""
    check = attempt("get", "give the URL below which catalog.json lies", partial(_get, store))
    yield check
    if check.outcome == FAILED:
        return
    yield attempt("not modified", "", partial(_not_modified, store))
    yield attempt("missing", "", partial(_missing, store))
    yield attempt("ranges", "", partial(_ranges, store))


def _get(store: HttpsStore) -> Result:
    size = len(store.read(_CATALOG).body)
    return f"{store.url}/{_CATALOG} can be read: {size:,} bytes; nothing can be written here"


def _not_modified(store: HttpsStore) -> Result:
    found = store.read_if_changed(_CATALOG, None)
    if not store.conditions:
        return warning(
            "no conditional GET is possible: there is neither an ETag nor a Last-Modified, or "
            "the catalog changed within the last minute. Each poll reads the catalog",
            "if it stays so, let the server send an ETag",
        )
    if found is not None and store.read_if_changed(_CATALOG, found.etag) is not None:
        return warning("the catalog changed while it was polled", "run this again")
    return f"a poll asks by {' and '.join(store.conditions)}"


def _ranges(store: HttpsStore) -> Result:
    try:
        part = store.read_part(_CATALOG, 1, 1)
    except PartsUnsupportedError:
        return warning(
            "a range of an object is answered with all of it, so that checkers load images whole",
            "if images are to be read by pages, let the server answer ranges, unpacked",
        )
    if part is not None and not part.etag:
        return "ranges of an object can be read; there is no strong ETag, so digests alone decide"
    return "ranges of an object can be read"


def _missing(store: HttpsStore) -> Result:
    try:
        store.read(f"images/{secrets.token_hex(16)}")
    except FileNotFoundError:
        return "an object that does not exist is reported as missing"
    return failure(
        "an object that does not exist can be read",
        "let the server answer 404 for what is not there, without a page of its own",
    )
