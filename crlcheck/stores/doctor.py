"""
Examine a store: its promises, our rights there, and what else can go wrong with it.

Where ``probe_store`` ends with the first thing that is wrong, ``examine_store`` reports
each one, with what to do about it. It uses throw-away objects only, and removes them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from crlcheck.stores import examine_https, examine_local, examine_s3
from crlcheck.stores.examination import (
    FAILED,
    NOT_SAFE,
    Result,
    StoreCheck,
    attempt,
    failure,
)
from crlcheck.stores.https import HttpsStore
from crlcheck.stores.local import LocalStore
from crlcheck.stores.object_store import ObjectStore
from crlcheck.stores.probe import PROBE_PREFIX, PROMISES, Trial, new_body, trial
from crlcheck.stores.s3 import S3Store

_NUM_RACES = 10


def examine_store(store: ObjectStore) -> Iterator[StoreCheck]:
    """
    Yield the result of each check of *store*; most go on where another one fails.

    Where no object can be written or read, nothing else is tried. A directory that does
    not exist is not created. Of a store that can only be read, only reading is tried.
    """
    if isinstance(store, HttpsStore):
        yield from examine_https.checks(store)
        return
    with trial(store, num_races=_NUM_RACES) as tried:
        if isinstance(store, LocalStore):
            check = examine_local.directory(store)
            yield check
            if check.outcome == FAILED:
                return
        elif isinstance(store, S3Store):
            yield examine_s3.client(store)
        for check in _rights(store, tried):
            yield check
            if check.outcome == FAILED and check.name in ("put", "get"):
                return
        for name, keeps in PROMISES.items():
            yield attempt(name.replace("_", " "), NOT_SAFE, partial(_kept, keeps, tried))
        if isinstance(store, LocalStore):
            yield from examine_local.checks(store, tried)
        elif isinstance(store, S3Store):
            yield from examine_s3.checks(store, tried)


def _kept(keeps: Callable[[Trial], None], tried: Trial) -> str:
    keeps(tried)
    return (keeps.__doc__ or "").rstrip(".")


# ---- rights, each by itself ------------------------------------------------------


def _rights(store: ObjectStore, tried: Trial) -> Iterator[StoreCheck]:
    remedies = _S3_REMEDIES if isinstance(store, S3Store) else _REMEDIES
    name, body = tried.new_name(), new_body()
    checks: dict[str, Callable[[], Result]] = {
        "put": partial(_put, store, name, body),
        "get": partial(_get, store, name, body),
        "missing": partial(_missing, store, tried.new_name()),
        "list": partial(_list, store, name),
        "delete": partial(_delete, store, name),
    }
    for right, check in checks.items():
        yield attempt(right, remedies[right], check)


def _put(store: ObjectStore, name: str, body: bytes) -> Result:
    store.write(name, body)
    return "an object can be written"


def _get(store: ObjectStore, name: str, body: bytes) -> Result:
    if store.read(name).body != body:
        return failure("an object has other bytes than were written", NOT_SAFE)
    return "an object can be read"


def _missing(store: ObjectStore, name: str) -> Result:
    try:
        store.read(name)
    except FileNotFoundError:
        return "an object that does not exist is reported as missing"
    return failure("an object that was never written can be read", NOT_SAFE)


def _list(store: ObjectStore, name: str) -> Result:
    if name not in store.names(PROBE_PREFIX):
        return failure("an object that was written is not listed", NOT_SAFE)
    return "objects can be listed"


def _delete(store: ObjectStore, name: str) -> Result:
    store.delete(name)
    try:
        store.read(name)
    except FileNotFoundError:
        return "an object can be deleted"
    return failure("an object that was deleted can be read", NOT_SAFE)


_S3_REMEDIES = {
    "put": "grant s3:PutObject on the objects under the prefix, and kms:GenerateDataKey where "
    "the bucket has a key of its own; then run this again, because the other checks need it",
    "get": "grant s3:GetObject on the objects under the prefix, and kms:Decrypt where the bucket "
    "has a key of its own; then run this again, because the other checks need it",
    "missing": "grant s3:ListBucket on the bucket: without it S3 answers 403 where an object is "
    "missing, and a first publication fails",
    "list": "grant s3:ListBucket on the bucket, with the prefix as condition",
    "delete": "grant s3:DeleteObject on the objects under the prefix, so that images can "
    "be deleted when they are no longer published",
}
_REMEDIES = {
    "put": "let this user write in the directory; then run this again",
    "get": "let this user read in the directory; then run this again",
    "missing": "let this user read in the directory",
    "list": "let this user read and enter the directory",
    "delete": "let this user write in the directory",
}
