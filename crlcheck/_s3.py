"""
A store in S3. botocore is imported when a store is opened, never before.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crlcheck._object_store import (
    StoredObject,
    check_name,
    check_prefix,
    check_write,
    is_object_name,
)
from crlcheck.errors import PreconditionFailedError, StoreError, StoreUnavailableError

if TYPE_CHECKING:
    from botocore.exceptions import ClientError

# Of one attempt, in seconds. A poll must fail while its caller, often an
# authorizer with ten seconds in all, can still answer from what it holds.
_CONNECT_TIMEOUT = 2
_READ_TIMEOUT = 10
_MAX_ATTEMPTS = 3

# User metadata that tells whose write an object is (see _etag_of_write).
_WRITE_ID = "crlcheck-write"

# Refusals with a 4xx status that do not last.
_TRANSIENT_CODES = frozenset({"ExpiredToken", "OperationAborted", "RequestTimeout", "SlowDown"})


class S3Store:
    """
    A store under a prefix of an S3 bucket.

    *client* is a boto3 or botocore S3 client to use instead of one made from
    the environment, for other credentials, time-outs or endpoints. Its
    identity needs GetObject for reading, ListBucket so that S3 says "missing"
    rather than "denied", PutObject and DeleteObject for publishing. A server
    other than S3 must honour If-Match and If-None-Match on PUT: one that passes
    them over loses updates.

    Raises:
        ValueError: the URL has another scheme or no bucket.
        ImportError: boto3 is not installed and no client is given.
        StoreError: the environment does not make a client.
    """

    def __init__(self, url: str, *, client: Any = None) -> None:
        scheme, separator, location = url.partition("://")
        bucket, _, prefix = location.partition("/")
        if scheme != "s3" or not separator or not bucket:
            raise ValueError(f"store {url!r}: expected s3://bucket/prefix")
        self._bucket = bucket
        self._prefix = f"{prefix.strip('/')}/".lstrip("/")
        self._client: Any = _new_client() if client is None else client

    def __repr__(self) -> str:
        return f"S3Store({self.url!r})"

    @property
    def url(self) -> str:
        """``s3://bucket/prefix``, without a slash at the end."""
        return f"s3://{self._bucket}/{self._prefix}".removesuffix("/")

    def read(self, name: str) -> StoredObject:
        """As ObjectStore.read."""
        check_name(name)
        with self._translated(name):
            return self._get(name)

    def read_if_changed(self, name: str, etag: str | None) -> StoredObject | None:
        """As ObjectStore.read_if_changed: one conditional GET."""
        if etag is None:
            return self.read(name)
        from botocore.exceptions import ClientError

        check_name(name)
        with self._translated(name):
            try:
                return self._get(name, IfNoneMatch=etag)
            except ClientError as error:
                # Only the status is dependable; the code of a 304 has no body to come from.
                if _status(error) == 304:
                    return None
                raise

    def load(self, name: str) -> bytes:
        """As ObjectStore.load."""
        return self.read(name).body

    def write(
        self, name: str, body: bytes | Path, *, if_match: str | None = None, if_absent: bool = False
    ) -> str:
        """As ObjectStore.write, in one PUT: at most 5 GB."""
        from botocore.exceptions import ClientError

        check_write(name, body, if_match, if_absent)
        write_id = secrets.token_hex(16)
        request: dict[str, Any] = {**self._object(name), "Metadata": {_WRITE_ID: write_id}}
        if if_match is not None:
            request["IfMatch"] = if_match
        elif if_absent:
            request["IfNoneMatch"] = "*"
        with contextlib.ExitStack() as stack:
            # Opened here so that botocore can rewind it for another attempt.
            content = body if isinstance(body, bytes) else stack.enter_context(body.open("rb"))
            stack.enter_context(self._translated(name))
            try:
                etag: str = self._client.put_object(Body=content, **request)["ETag"]
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
                ) from error

    def delete(self, name: str) -> None:
        """As ObjectStore.delete. In a versioned bucket the older versions stay."""
        check_name(name)
        with self._translated(name):
            self._client.delete_object(**self._object(name))

    def names(self, prefix: str) -> Iterator[str]:
        """As ObjectStore.names; keys that are no object names are passed over."""
        check_prefix(prefix)
        return self._names(prefix)

    def _names(self, prefix: str) -> Iterator[str]:
        with self._translated(prefix):
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self._bucket, Prefix=self._prefix + prefix
            )
            for page in pages:
                for entry in page.get("Contents", ()):
                    name = entry["Key"].removeprefix(self._prefix)
                    if is_object_name(name):
                        yield name

    def _object(self, name: str) -> dict[str, str]:
        return {"Bucket": self._bucket, "Key": self._prefix + name}

    def _get(self, name: str, **conditions: str) -> StoredObject:
        response = self._client.get_object(**self._object(name), **conditions)
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
            found = self._client.head_object(**self._object(name))
        except ClientError:
            return None  # it cannot be shown to be ours, so the caller reads again
        etag: str = found["ETag"]
        return etag if found["Metadata"].get(_WRITE_ID) == write_id else None

    @contextlib.contextmanager
    def _translated(self, name: str) -> Iterator[None]:
        """Turn botocore's errors into those that ObjectStore names."""
        from botocore.exceptions import BotoCoreError, ClientError, ParamValidationError
        from urllib3.exceptions import HTTPError

        try:
            yield
        except ClientError as error:
            raise self._store_error(name, error) from error
        except ParamValidationError as error:
            raise ValueError(f"{self.url}/{name}: {error}") from error
        except (BotoCoreError, HTTPError) as error:
            # HTTPError: urllib3's own, when a body breaks off while it is read.
            raise StoreUnavailableError(f"{self.url}/{name}: {error}") from error

    def _store_error(self, name: str, error: ClientError) -> Exception:
        status, code = _status(error), _code(error)
        place = f"{self.url}/{name}"
        if code == "NoSuchBucket":
            return StoreError(f"{place}: the bucket {self._bucket} does not exist")
        if status == 404:
            return FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), place)
        message = f"{place}: {error.operation_name} was answered {status} {code}"
        if status == 403 and error.operation_name == "GetObject":
            message += "; without s3:ListBucket that is also what S3 says of a missing object"
        if status in (403, 429) or status >= 500 or code in _TRANSIENT_CODES:
            return StoreUnavailableError(message)
        return StoreError(message)


def _new_client() -> Any:
    # botocore rather than boto3: the same client for a third less of the start.
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
    return error.response.get("Error", {}).get("Code", "")


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
