"""
Keep a store under a prefix of an S3 bucket.

It is read by ``s3_http`` where the environment allows that, else by botocore. Botocore is
imported only when it is needed, because that takes three times as long as to import
everything that a check needs.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import itertools
import mmap
import os
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from crlcheck.errors import (
    PreconditionFailedError,
    StoreError,
    StoreUnavailableError,
    UnsafeStoreError,
)
from crlcheck.settings import S3Location
from crlcheck.stores.deadline import DEFAULT_LOAD_SECONDS, POLL_SECONDS, READ_SECONDS
from crlcheck.stores.object_store import (
    StoredObject,
    StoredPart,
    check_name,
    check_part,
    check_prefix,
    check_write,
    is_object_name,
    make_room,
    strong_etag,
    whole_in_place_of_part,
)
from crlcheck.stores.s3_http import S3Answer, S3Getter, S3RefusalError, S3SilenceError, Sink

if TYPE_CHECKING:
    from botocore.exceptions import ClientError

_Got = TypeVar("_Got")

# Of one attempt of botocore's, in seconds.
_CONNECT_TIMEOUT = 2
_READ_TIMEOUT = 10
_MAX_ATTEMPTS = 3

# Names in the first answer to a listing, and in each later one.
_FIRST_PAGE = 20
_PAGE = 1000

# A large object is read in parts of this many bytes, several at a time.
_PART = 8 << 20
_MAX_READERS = 4

# User metadata that tells whose write an object is (see _etag_of_write).
_WRITE_ID = "crlcheck-write"

# Refusals with a 4xx status that do not last.
_TRANSIENT_CODES = frozenset({"ExpiredToken", "OperationAborted", "RequestTimeout", "SlowDown"})

_MIN_BOTO3 = "1.36"
"""The first boto3 that is promised to work; pyproject.toml demands it."""


class S3Store:
    """
    A store under a prefix of an S3 bucket.

    *client* is a boto3 or botocore S3 client to use instead of one made from
    the environment, for other credentials, time-outs or endpoints: of our
    limits only *load_seconds* then adds to its own. Its identity needs
    GetObject for reading, ListBucket so that S3 says "missing" rather than
    "denied", PutObject and DeleteObject for publishing. A server other than S3
    must honour If-Match and If-None-Match on PUT: one that passes them over
    loses updates.

    load_seconds: how long reading an image may take. A caller with a deadline
    of its own, such as a Lambda function, should leave it time to answer.

    Raises:
        ValueError: the URL has another scheme or no bucket.
        ImportError: boto3 is not installed and no client is given.
        StoreError: the environment does not make a client.
    """

    def __init__(
        self, url: str, *, client: Any = None, load_seconds: float = DEFAULT_LOAD_SECONDS
    ) -> None:
        self._location = S3Location.parse(url)
        self.bucket = bucket = self._location.bucket
        self._prefix = self._location.prefix
        self._load_seconds = load_seconds
        self.getter = None if client is not None else S3Getter.from_environment(bucket, os.environ)
        self._is_given = client is not None
        self._sends_conditions = False
        self._made: Any = _new_client() if client is None and self.getter is None else client

    def __repr__(self) -> str:
        return f"S3Store({self.url!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        """
        Let another process open the same prefix, by the same environment.

        Raises:
            TypeError: it has a client of the caller's own.
        """
        if self._is_given:
            raise TypeError(f"{self!r}: its client cannot be given to another process")
        return functools.partial(S3Store, load_seconds=self._load_seconds), (self.url,)

    @property
    def url(self) -> str:
        """``s3://bucket/prefix``, without a slash at the end."""
        return self._location.url

    def read(self, name: str) -> StoredObject:
        """As ObjectStore.read."""
        check_name(name)
        if self.getter is None:
            # Not READ_SECONDS: whoever reads first may have to find credentials.
            return self._get(name, None if self._is_given else self._load_seconds)
        answer = self._fetch(self.getter, name, time.monotonic() + READ_SECONDS)
        return StoredObject(answer.body, answer.etag)

    def read_if_changed(self, name: str, etag: str | None) -> StoredObject | None:
        """As ObjectStore.read_if_changed: one conditional GET."""
        if etag is None:
            return self.read(name)
        check_name(name)
        try:
            if self.getter is not None:
                answer = self._fetch(
                    self.getter, name, time.monotonic() + POLL_SECONDS, if_none_match=etag
                )
                return StoredObject(answer.body, answer.etag)
            return self._get(name, None if self._is_given else POLL_SECONDS, IfNoneMatch=etag)
        except _NotModifiedError:
            return None

    def load(self, name: str) -> bytes | bytearray | mmap.mmap:
        """As ObjectStore.load; a large object is read in parts, all of one state."""
        check_name(name)
        if self.getter is None:
            return self._get(name, self._load_seconds).body
        deadline = time.monotonic() + self._load_seconds
        return self._load_parts(self.getter, name, deadline)

    def read_part(self, name: str, start: int, size: int, *, etag: str = "") -> StoredPart | None:
        """As PartStore.read_part: one GET of a range, with If-Match where there is an etag."""
        check_part(name, start, size)
        span = (start, start + size - 1)
        if self.getter is None:
            return self._get_part(name, span, etag)
        room = _Room(size)
        deadline = time.monotonic() + min(READ_SECONDS, self._load_seconds)
        try:
            answer = self.getter.get(
                self._prefix + name,
                deadline=deadline,
                if_match=etag or None,
                byte_range=span,
                into=room.take,
            )
        except S3RefusalError as refusal:
            if refusal.status == 412 and etag:
                return None
            raise self._refused(name, "GetObject", refusal.status, refusal.code) from refusal
        except S3SilenceError as silence:
            place = f"{self.url}/{name}"
            if room.was_offered_all:
                raise whole_in_place_of_part(place) from silence
            raise StoreUnavailableError(f"{place}: {silence}") from silence
        return StoredPart(bytes(room.octets), strong_etag(answer.etag))

    def _load_parts(self, getter: S3Getter, name: str, deadline: float) -> bytearray | mmap.mmap:
        """Read the first part, which tells how many there are, then the others at once."""
        whole: bytearray | mmap.mmap = bytearray()
        position = 0

        def first_room(total: int, size: int) -> memoryview:
            nonlocal whole, position
            if size > total:
                raise ValueError(f"found {size} bytes of an object of {total}")
            whole, position = make_room(total), size
            return memoryview(whole)[:size]

        first = self._fetch(getter, name, deadline, byte_range=(0, _PART - 1), into=first_room)
        # A server that passes over the range has sent all of it.
        starts = iter(range(position, first.total, _PART))
        taking = threading.Lock()
        failures: list[Exception] = []

        def read_parts() -> None:
            while not failures:
                with taking:
                    start = next(starts, None)
                if start is None:
                    return
                room = memoryview(whole)[start : start + _PART]
                try:
                    self._fetch(
                        getter,
                        name,
                        deadline,
                        if_match=first.etag,
                        byte_range=(start, start + len(room) - 1),
                        into=_exactly(room),
                    )
                except Exception as error:  # noqa: BLE001 - raised again by who waits
                    failures.append(error)

        num_others = min(_MAX_READERS, -(-(first.total - position) // _PART)) - 1
        readers: list[threading.Thread] = []
        with contextlib.suppress(RuntimeError):  # no more threads: those there are read it all
            for _ in range(num_others):
                reader = threading.Thread(target=read_parts, daemon=True)
                reader.start()
                readers.append(reader)
        read_parts()
        for reader in readers:
            reader.join()
        if failures:
            raise failures[0]
        return whole

    def _fetch(self, getter: S3Getter, name: str, deadline: float, **conditions: Any) -> S3Answer:
        """GET an object; raise what ObjectStore names, or _NotModifiedError."""
        key = self._prefix + name
        try:
            try:
                return getter.get(key, deadline=deadline, **conditions)
            except S3RefusalError as refusal:
                if not _may_be_about_the_range(refusal, conditions):
                    raise
                return getter.get(key, deadline=deadline, into=conditions.get("into"))
        except S3RefusalError as refusal:
            if refusal.status == 304 and "if_none_match" in conditions:
                raise _NotModifiedError from None
            raise self._refused(name, "GetObject", refusal.status, refusal.code) from refusal
        except S3SilenceError as silence:
            raise StoreUnavailableError(f"{self.url}/{name}: {silence}") from silence

    @property
    def client(self) -> Any:
        """The botocore client that writes, and reads where ``getter`` is None."""
        # Threads may at worst make it twice.
        if self._made is None:
            self._made = _new_client()
        return self._made

    def require_conditional_writes(self) -> None:
        """
        Refuse a client that cannot send the conditions of a write.

        An image of a Lambda runtime, for example, brings a boto3 of its own.

        Raises:
            UnsafeStoreError: the botocore of the client is too old.
        """
        if self._sends_conditions:
            return
        shape = self.client.meta.service_model.operation_model("PutObject").input_shape
        missing = sorted({"IfMatch", "IfNoneMatch"} - shape.members.keys())
        if missing:
            import botocore

            raise UnsafeStoreError(
                f"{self.url}: the boto3 in use (botocore {botocore.__version__}) cannot send "
                f"{' and '.join(missing)} with PutObject: expected boto3 {_MIN_BOTO3} or later",
                found="client",
                remedy=f"install boto3>={_MIN_BOTO3}, or put it into the function's bundle or a "
                "layer of its own",
            )
        self._sends_conditions = True

    def write(
        self, name: str, body: bytes | Path, *, if_match: str | None = None, if_absent: bool = False
    ) -> str:
        """As ObjectStore.write, in one PUT: at most 5 GB."""
        from botocore.exceptions import ClientError

        check_write(name, body, if_match, if_absent)
        write_id = secrets.token_hex(16)
        request: dict[str, Any] = {**self.object_of(name), "Metadata": {_WRITE_ID: write_id}}
        if if_match is not None or if_absent:
            self.require_conditional_writes()
        if if_match is not None:
            request["IfMatch"] = if_match
        elif if_absent:
            request["IfNoneMatch"] = "*"
        with contextlib.ExitStack() as stack:
            # Opened here so that botocore can rewind it for another attempt.
            content = body if isinstance(body, bytes) else stack.enter_context(body.open("rb"))
            stack.enter_context(self._translated(name))
            try:
                etag: str = self.client.put_object(Body=content, **request)["ETag"]
                return etag
            except ClientError as error:
                if not _is_failed_precondition(error, if_match, if_absent):
                    raise
                written = self._etag_of_write(name, write_id)
                if written is not None:
                    return written
                expected = "no such object" if if_absent else f"etag {if_match}"
                raise PreconditionFailedError(
                    f"{self.url}/{name}: expected {expected}, found another state ({_code(error)})",
                    name=name,
                    may_be_written=_was_sent_again(error),
                ) from error

    def delete(self, name: str) -> None:
        """As ObjectStore.delete. In a versioned bucket the older versions stay."""
        check_name(name)
        with self._translated(name):
            self.client.delete_object(**self.object_of(name))

    def names(self, prefix: str) -> Iterator[str]:
        """As ObjectStore.names; keys that are no object names are ignored."""
        check_prefix(prefix)
        return filter(is_object_name, self._keys(prefix))

    def ignored_names(self) -> Iterator[str]:
        """Return the keys that ``names`` ignores because they are no object names."""
        return itertools.filterfalse(is_object_name, self._keys(""))

    def _keys(self, prefix: str) -> Iterator[str]:
        question: dict[str, Any] = {"Bucket": self.bucket, "Prefix": self._prefix + prefix}
        # Whoever asks for the first name alone gets a short answer.
        question["MaxKeys"] = _FIRST_PAGE
        while True:
            with self._translated(prefix):
                page = self.client.list_objects_v2(**question)
            for entry in page.get("Contents", ()):
                yield entry["Key"].removeprefix(self._prefix)
            if not page.get("IsTruncated"):
                return
            token = page.get("NextContinuationToken")
            if not token or token == question.get("ContinuationToken"):
                raise StoreError(
                    f"{self.url}/{prefix}: the list of the names has more pages, and the answer "
                    f"does not say where they begin: found the continuation token {token!r}"
                )
            question |= {"ContinuationToken": token, "MaxKeys": _PAGE}

    def object_of(self, name: str) -> dict[str, str]:
        """Return the parameters that name an object to ``client``."""
        return {"Bucket": self.bucket, "Key": self._prefix + name}

    def _get(self, name: str, seconds: float | None, **conditions: str) -> StoredObject:
        """GET an object by botocore, within *seconds* unless that is None."""
        return self._within(seconds, name, lambda: self._get_whole(name, conditions))

    def _get_part(self, name: str, span: tuple[int, int], etag: str) -> StoredPart | None:
        """GET a part of an object by botocore."""
        seconds = None if self._is_given else min(READ_SECONDS, self._load_seconds)
        return self._within(seconds, name, lambda: self._get_span(name, span, etag))

    def _get_span(self, name: str, span: tuple[int, int], etag: str) -> StoredPart | None:
        from botocore.exceptions import ClientError

        asked = {"Range": f"bytes={span[0]}-{span[1]}"} | ({"IfMatch": etag} if etag else {})
        size = span[1] + 1 - span[0]
        place = f"{self.url}/{name}"
        with self._translated(name):
            try:
                response = self.client.get_object(**self.object_of(name), **asked)
            except ClientError as error:
                if _status(error) == 412 and etag:
                    return None
                raise
            with contextlib.closing(response["Body"]) as body:
                if response["ContentLength"] > size:
                    raise whole_in_place_of_part(place)
                octets: bytes = body.read()
        if len(octets) != size:
            raise StoreUnavailableError(f"{place}: found {len(octets)} bytes, expected {size}")
        return StoredPart(octets, strong_etag(response["ETag"]))

    def _within(self, seconds: float | None, name: str, work: Callable[[], _Got]) -> _Got:
        """Do *work* with botocore's client, within *seconds* unless that is None."""
        if seconds is None:
            return work()
        # Botocore bounds an attempt's silence and nothing else: neither its attempts
        # together nor a body that comes drop by drop.
        given: list[_Got | Exception] = []

        def get() -> None:
            try:
                given.append(work())
            except Exception as error:  # noqa: BLE001 - raised again by who waits
                given.append(error)

        reader = threading.Thread(target=get, name="crlcheck S3 GET", daemon=True)
        reader.start()
        reader.join(seconds)
        if not given:
            raise StoreUnavailableError(f"{self.url}/{name}: timed out after {seconds:g} s")
        if isinstance(given[0], Exception):
            raise given[0]
        return given[0]

    def _get_whole(self, name: str, conditions: dict[str, str]) -> StoredObject:
        from botocore.exceptions import ClientError

        with self._translated(name):
            try:
                response = self.client.get_object(**self.object_of(name), **conditions)
            except ClientError as error:
                # Only the status is dependable; the code of a 304 has no body to come from.
                if _status(error) == 304 and "IfNoneMatch" in conditions:
                    raise _NotModifiedError from None
                raise
            with contextlib.closing(response["Body"]) as body:
                return StoredObject(body.read(), response["ETag"])

    def _etag_of_write(self, name: str, write_id: str) -> str | None:
        """
        The object's etag if the write of *write_id* is what it holds now.

        A PUT whose answer was lost is sent again by botocore, and then fails
        its own condition: its first attempt has changed the object already.
        """
        from botocore.exceptions import ClientError

        try:
            etag, found = self.write_id(name)
        except ClientError:
            return None  # it cannot be shown to be ours, so the caller reads again
        return etag if found == write_id else None

    def write_id(self, name: str) -> tuple[str, str | None]:
        """Return an object's ETag, and the metadata that tells whose write it is."""
        found = self.client.head_object(**self.object_of(name))
        # Some servers change the case of metadata, which are header names (RFC 9110 5.1).
        metadata = {name.lower(): value for name, value in found.get("Metadata", {}).items()}
        return found.get("ETag", ""), metadata.get(_WRITE_ID)

    @contextlib.contextmanager
    def _translated(self, name: str) -> Iterator[None]:
        """Turn botocore's errors into those that ObjectStore names."""
        from botocore.exceptions import BotoCoreError, ClientError, ParamValidationError
        from urllib3.exceptions import HTTPError

        try:
            yield
        except ClientError as error:
            raise self._refused(name, error.operation_name, _status(error), _code(error)) from error
        except ParamValidationError as error:
            raise ValueError(f"{self.url}/{name}: {error}") from error
        except (BotoCoreError, HTTPError) as error:
            # HTTPError: urllib3's own, when a body breaks off while it is read.
            raise StoreUnavailableError(f"{self.url}/{name}: {error}") from error

    def _refused(self, name: str, operation: str, status: int, code: str) -> Exception:
        place = f"{self.url}/{name}"
        if code == "NoSuchBucket":
            return StoreError(f"{place}: the bucket {self.bucket} does not exist")
        if status == 404:
            return FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), place)
        message = f"{place}: {operation} was answered {status} {code}"
        if status == 403 and operation in _READS:
            message += "; without s3:ListBucket that is also what S3 says of a missing object"
        # 304: to a question without a condition, from a cache that is stuck.
        # 412: it was replaced while it was read.
        # 501: it lacks what was asked for, and will.
        may_pass = status in (304, 403, 412, 429) or (status >= 500 and status != 501)
        lasts = not may_pass and code not in _TRANSIENT_CODES
        if lasts:
            return StoreError(message)
        remedy = self._remedy(operation, code) if status == 403 else _CODE_REMEDIES.get(code)
        return StoreUnavailableError(message, remedy=remedy)

    def _remedy(self, operation: str, code: str) -> str | None:
        """Return what to do where S3 answers 403, None where it says nothing that helps."""
        if code not in _DENIED_CODES:
            return _CODE_REMEDIES.get(code)
        bucket, objects = f"the bucket {self.bucket}", f"{self.bucket}/{self._prefix}*"
        listing = f"s3:ListBucket on {bucket} for the prefix {self._prefix or '(none)'}"
        if operation == "ListObjectsV2":
            return f"grant {listing}"
        permission = _PERMISSIONS.get(operation)
        if permission is None:
            return None
        granted = f"grant {permission} on {objects}"
        if operation == "PutObject":
            return f"{granted}, and kms:GenerateDataKey where the bucket has a key of its own"
        if operation in _READS:
            return (
                f"{granted}, kms:Decrypt where the bucket has a key of its own, and {listing}, "
                "without which a missing object looks like a denied one"
            )
        return granted


_READS = ("GetObject", "HeadObject")
_PERMISSIONS = {
    "GetObject": "s3:GetObject",
    "HeadObject": "s3:GetObject",
    "PutObject": "s3:PutObject",
    "DeleteObject": "s3:DeleteObject",
}
# An answer without a body has no code, and botocore takes the status for it.
_DENIED_CODES = ("AccessDenied", "Forbidden", "403", "")
_CODE_REMEDIES = {
    "ExpiredToken": "get new credentials: those in use have expired",
    "InvalidAccessKeyId": "check the access key: S3 does not know it",
    "InvalidToken": "check the session token: it does not belong to the access key",
    "RequestTimeTooSkewed": "set the clock of this machine: S3 accepts a quarter of an hour",
    "SignatureDoesNotMatch": "check the secret access key: it is not that of the access key",
}


def _may_be_about_the_range(refusal: S3RefusalError, conditions: dict[str, Any]) -> bool:
    """
    Whether a first part was refused because the object ends before it does.

    S3 answers 416 where an object is empty, and has no first byte. Some servers answer
    400 to a range that goes past the end.
    """
    is_first = "byte_range" in conditions and "if_match" not in conditions
    return is_first and refusal.status in (400, 416)


class _Room:
    """Room for a part of an object, in which nothing else fits."""

    def __init__(self, size: int) -> None:
        self.octets = bytearray(size)
        self.was_offered_all = False

    def take(self, total: int, size: int) -> memoryview:
        """Be a sink: return the room for a body of *size* bytes, of an object of *total*."""
        wanted = len(self.octets)
        # An answer that passes over the range has all of the object.
        self.was_offered_all = size == total and size > wanted
        if size != wanted:
            raise ValueError(f"found {size} bytes, expected {wanted}")
        return memoryview(self.octets)


def _exactly(room: memoryview) -> Sink:
    """Return a sink that takes what fits *room* and nothing else."""

    def take(_total: int, size: int) -> memoryview:
        if size != len(room):
            raise ValueError(f"found {size} bytes, expected {len(room)}")
        return room

    return take


def _was_sent_again(error: ClientError) -> bool:
    """Whether botocore sent a request more than once, so that the first may have been done."""
    retries: int = error.response.get("ResponseMetadata", {}).get("RetryAttempts", 1)
    return retries > 0


class _NotModifiedError(Exception):
    """A conditional GET found the object as it was."""


def _new_client() -> Any:
    # botocore rather than boto3: the same client for a third less of the time.
    try:
        import botocore.session
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError
    except ImportError as error:
        raise ImportError("s3:// stores need boto3: pip install 'crlcheck[aws]'") from error
    # Checksums stay as botocore has them (CRC32 both ways), so that its own
    # environment variables can switch them off for a server without them.
    config = Config(
        connect_timeout=_CONNECT_TIMEOUT,
        read_timeout=_READ_TIMEOUT,
        retries={"mode": "standard", "total_max_attempts": _MAX_ATTEMPTS},
        user_agent_extra="crlcheck",
    )
    try:
        return botocore.session.get_session().create_client("s3", config=config)
    except (BotoCoreError, ValueError) as error:
        raise StoreError(f"S3 client from the environment: {error}") from error


def _status(error: ClientError) -> int:
    return error.response["ResponseMetadata"]["HTTPStatusCode"]


def _code(error: ClientError) -> str:
    return error.response.get("Error", {}).get("Code") or ""


def _is_failed_precondition(error: ClientError, if_match: str | None, if_absent: bool) -> bool:
    """Whether a PUT failed for the state of the object: 412, a race (409), or it is gone."""
    if if_match is None and not if_absent:
        return False
    status, code = _status(error), _code(error)
    return (
        status == 412
        or code == "ConditionalRequestConflict"
        or (status == 404 and code != "NoSuchBucket" and if_match is not None)
    )
