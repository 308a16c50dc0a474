"""Examine what is particular to a store in S3: both clients, ranges, ETags, the bucket."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from email.utils import parsedate_to_datetime
from functools import partial
from typing import Any

from crlcheck.stores.examination import (
    OK,
    Result,
    StoreCheck,
    attempt,
    clock_check,
    failure,
    warning,
)
from crlcheck.stores.probe import Trial, new_body
from crlcheck.stores.s3 import S3Store

_STRONG_ETAG = re.compile(r'"[\x21\x23-\x7e]+"')
_SMALL = 1000
# More than one part, so that a large object is read by ranges.
_LARGE = (9 << 20) + 1
_OTHER_CLIENT = (
    "set AWS_REQUEST_CHECKSUM_CALCULATION and AWS_RESPONSE_CHECKSUM_VALIDATION to when_required, "
    "or use another server"
)


def client(store: S3Store) -> StoreCheck:
    """Return which client reads."""
    if store.getter is not None:
        found = "read by crlcheck's own HTTP client, and written by botocore"
    else:
        found = "read and written by botocore: the environment has no plain keys and region"
    return StoreCheck("client", OK, found)


def checks(store: S3Store, tried: Trial) -> Iterator[StoreCheck]:
    """Yield the checks that write to the store."""
    readers = {"botocore": S3Store(store.url, client=store.client)}
    if store.getter is not None:
        readers["own client"] = store
    for name, reader in readers.items():
        yield attempt(f"not modified, {name}", _OTHER_CLIENT, partial(_is_304, reader, tried))
        yield attempt(f"large object, {name}", _OTHER_CLIENT, partial(_large, reader, tried))
    yield attempt("ranges", _OTHER_CLIENT, lambda: _ranges(store, tried))
    yield attempt("etag", "", lambda: _etag(store, tried))
    yield attempt("metadata", "", lambda: _metadata(store, tried))
    yield attempt("clock", "", lambda: _clock(store, tried))
    yield attempt("versioning", "", lambda: _versioning(store))


def _is_304(store: S3Store, tried: Trial) -> Result:
    name = tried.new_name()
    etag = store.write(name, new_body())
    if store.read_if_changed(name, etag) is None:
        return "a GET with If-None-Match of the object's ETag is answered 304"
    return warning(
        "a GET with If-None-Match of the object's ETag is answered 200, expected 304",
        "expect each poll of each checker to read the whole catalog, or use another server",
    )


def _large(store: S3Store, tried: Trial) -> Result:
    name, body = tried.new_name(), new_body(_LARGE)
    store.write(name, body)
    started = time.monotonic()
    if bytes(store.load(name)) != body:
        return failure(
            f"{_LARGE:,} bytes were read, but not those that were written", _OTHER_CLIENT
        )
    return f"{_LARGE:,} bytes are read whole in {time.monotonic() - started:.1f} s"


def _ranges(store: S3Store, tried: Trial) -> Result:
    name, body = tried.new_name(), new_body(_SMALL)
    store.write(name, body)
    cases = {
        "bytes=100-199": body[100:200],
        f"bytes=900-{_SMALL * 2}": body[900:],
        f"bytes=0-{_SMALL * 2}": body,
        "bytes=-10": body[-10:],
    }
    wrong = []
    for asked, expected in cases.items():
        status, found = _get_range(store, name, asked)
        if (status, found) != (206, expected):
            size = "" if found is None else f" and {len(found)} bytes"
            wrong.append(f"{asked} is answered {status}{size}, expected 206 and {len(expected)}")
    status, _ = _get_range(store, name, f"bytes={_SMALL}-{_SMALL * 2}")
    if status != 416:
        wrong.append(f"a range after the end is answered {status}, expected 416")
    if not wrong:
        return "ranges are answered, past the end and from the end too"
    return warning(
        "; ".join(wrong),
        "no action is needed where the checks of a large object are ok: they read without ranges",
    )


def _get_range(store: S3Store, name: str, asked: str) -> tuple[int, bytes | None]:
    from botocore.exceptions import ClientError

    try:
        answer = store.client.get_object(**store.object_of(name), Range=asked)
    except ClientError as error:
        return error.response["ResponseMetadata"]["HTTPStatusCode"], None
    return answer["ResponseMetadata"]["HTTPStatusCode"], answer["Body"].read()


def _etag(store: S3Store, tried: Trial) -> Result:
    name = tried.new_name()
    etag = store.write(name, new_body())
    head, _ = store.write_id(name)
    if not etag or head != etag:
        found = f"a PUT returned the ETag {etag or 'none'}, and a HEAD {head or 'none'}"
        return failure(found, "use another server")
    if not _STRONG_ETAG.fullmatch(etag):
        return warning(
            f"ETags are like {etag}, expected a strong one in quotes (RFC 9110 8.8.3)",
            "no action is needed where the check of if match is ok",
        )
    return f"ETags are strong and in quotes, like {etag}"


def _metadata(store: S3Store, tried: Trial) -> Result:
    name = tried.new_name()
    store.write(name, new_body())
    if store.write_id(name)[1] is not None:
        return "user metadata are kept"
    return warning(
        "user metadata are not kept",
        "no action is needed: after a lost answer a publication reads the catalog again",
    )


def _clock(store: S3Store, tried: Trial) -> Result:
    name = tried.new_name()
    store.write(name, new_body())
    answer = store.client.head_object(**store.object_of(name))
    date = answer["ResponseMetadata"]["HTTPHeaders"].get("date", "")
    if not date:
        return warning("answers have no Date", "compare the clocks by hand")
    return clock_check(parsedate_to_datetime(date).timestamp() - time.time(), "the server")


def _versioning(store: S3Store) -> Result:
    status, unknown = _asked(
        lambda: store.client.get_bucket_versioning(Bucket=store.bucket).get("Status", "")
    )
    if unknown:
        return warning(
            f"the bucket does not say whether it keeps versions: {unknown}",
            "grant s3:GetBucketVersioning to the user that runs this, or look it up",
        )
    if status not in ("Enabled", "Suspended"):
        return "the bucket keeps no versions: what is deleted is gone, and so is an old catalog"
    rules, _ = _asked(
        lambda: store.client.get_bucket_lifecycle_configuration(Bucket=store.bucket)["Rules"]
    )
    if any("NoncurrentVersionExpiration" in rule for rule in rules or ()):
        return f"versioning is {status}, and a lifecycle rule removes noncurrent versions"
    return warning(
        f"versioning is {status}, and no lifecycle rule was found that removes noncurrent "
        "versions: deleted images stay as older versions, and cost storage",
        "add a lifecycle rule with NoncurrentVersionExpiration for the prefix",
    )


def _asked(question: Callable[[], Any]) -> tuple[Any, str]:
    """Return the answer of the bucket, or None and why there is none."""
    from botocore.exceptions import ClientError

    try:
        return question(), ""
    except ClientError as error:
        return None, str(error)
