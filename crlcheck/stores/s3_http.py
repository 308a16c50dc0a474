"""
Send signed GETs to one S3 bucket, with the standard library alone.

A cold start needs only this small part of S3: a GET with conditions and a range, under
Signature Version 4. It works where the keys and the region are in variables, as in
Lambda. All other environments get botocore's client.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from urllib.parse import quote, urlsplit

from crlcheck.stores.deadline import FIRST_PAUSE, Connections, chunks_of, is_last, may_serve_again

_EMPTY_SHA256 = hashlib.sha256(b"").hexdigest()
_SECONDS_SIGNED = 10.0

# Variables that steer botocore in ways that this module does not follow.
_STEERING = (
    "AWS_PROFILE",
    "AWS_DEFAULT_PROFILE",
    "AWS_USE_FIPS_ENDPOINT",
    "AWS_USE_DUALSTACK_ENDPOINT",
    "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "http_proxy",
    "https_proxy",
)


Sink = Callable[[int, int], memoryview]


class S3RefusalError(Exception):
    """S3 answered with an error: ``status``, and the ``code`` of its body."""

    def __init__(self, status: int, code: str) -> None:
        super().__init__(f"{status} {code}")
        self.status = status
        self.code = code


class S3SilenceError(Exception):
    """No whole answer came within the time given; the message says what happened."""


@dataclass(frozen=True, slots=True)
class S3Answer:
    """``total`` is the size in bytes of the whole object, ``body`` all of it or a range."""

    etag: str
    body: bytes
    total: int


@dataclass(frozen=True, slots=True)
class _Keys:
    access_key: str
    secret_key: str
    token: str | None


_Recent = tuple[tuple[str, str], float, tuple[str, str, str, dict[str, str]]]
"""Key and region, when the request for them was signed, and that request."""


class S3Getter:
    """Reads objects of *bucket*. Threads may share it, and so may both processes after a fork."""

    def __init__(
        self,
        bucket: str,
        *,
        region: str,
        keys: _Keys,
        endpoint: str | None = None,
        ca_bundle: str | None = None,
    ) -> None:
        self._bucket = bucket
        self._region = region
        self._keys = keys
        self._endpoint = endpoint
        self._connections = Connections(ca_bundle=ca_bundle)
        self._signing_key: tuple[str, bytes] | None = None
        self._recent: _Recent | None = None

    @classmethod
    def from_environment(cls, bucket: str, environ: Mapping[str, str]) -> S3Getter | None:
        """Return one for *bucket*; None where the environment asks for more than it can do."""
        region = environ.get("AWS_DEFAULT_REGION") or environ.get("AWS_REGION") or ""
        endpoint = environ.get("AWS_ENDPOINT_URL_S3") or environ.get("AWS_ENDPOINT_URL")
        access_key = environ.get("AWS_ACCESS_KEY_ID")
        secret_key = environ.get("AWS_SECRET_ACCESS_KEY")
        is_plain = (
            re.fullmatch(r"[a-z0-9][a-z0-9-]{1,61}[a-z0-9]", bucket) is not None
            and re.fullmatch(r"[a-z]{2}(-gov)?-[a-z]+-[0-9]", region) is not None
            and (endpoint is None or re.fullmatch(r"https?://[^/?#@]+/?", endpoint) is not None)
            and not any(environ.get(name) for name in _STEERING)
            and not _has_config_file(environ)
        )
        if not is_plain or not access_key or not secret_key:
            return None
        keys = _Keys(access_key, secret_key, environ.get("AWS_SESSION_TOKEN"))
        ca_bundle = environ.get("AWS_CA_BUNDLE") or None
        return cls(bucket, region=region, keys=keys, endpoint=endpoint, ca_bundle=ca_bundle)

    def get(
        self,
        key: str,
        *,
        deadline: float,
        if_none_match: str | None = None,
        if_match: str | None = None,
        byte_range: tuple[int, int] | None = None,
        into: Sink | None = None,
    ) -> S3Answer:
        """
        Return the object, or its bytes from the first to the last of *byte_range*.

        With *into* the answer has no body. *into* is called once for each attempt, with the
        size of the whole object and of the body, and returns memory for the body. It
        refuses the body by a ValueError.
        *deadline* is a time of the monotonic clock for everything, repeated
        attempts included.

        Raises:
            S3RefusalError: S3 answered with an error; 304 and 412 for the conditions.
            S3SilenceError: there was no whole answer in time.
        """
        conditions = {"if-none-match": if_none_match, "if-match": if_match}
        headers = {name: value for name, value in conditions.items() if value is not None}
        if byte_range is not None:
            headers["range"] = f"bytes={byte_range[0]}-{byte_range[1]}"
        pause, attempt = FIRST_PAUSE, 0
        while True:
            attempt += 1
            region = self._region
            try:
                return self._attempt(key, headers, deadline, into)
            except S3RefusalError as refusal:
                lasting = refusal.status < 500 and refusal.status != 429
                if (lasting and region == self._region) or is_last(attempt, pause, deadline):
                    raise
            except (OSError, HTTPException, ValueError) as error:
                if is_last(attempt, pause, deadline):
                    raise S3SilenceError(f"{self._place(key)[1]}: {error}") from error
            time.sleep(pause)
            pause *= 2

    def _attempt(
        self, key: str, headers: Mapping[str, str], deadline: float, into: Sink | None
    ) -> S3Answer:
        scheme, host, path, signed = self._request(key)
        connection = self._connections.take(scheme, host, deadline)
        body = b""
        may_stay = False
        try:
            connection.request("GET", path, headers={**headers, **signed})
            with connection.getresponse() as response:
                is_refusal = response.status not in (200, 206)
                if response.length != 0:
                    chunks = chunks_of(response)
                    if is_refusal:
                        body = next(chunks, b"")  # the code is in the first part
                    elif into is None:
                        body = b"".join(chunks)
                    else:
                        _fill(into(*_sizes(response)), chunks)
                may_stay = may_serve_again(response)
        finally:
            self._connections.give_back(scheme, host, connection, may_stay=may_stay)
        if is_refusal:
            self._note_region(response)
            found = re.search(rb"<Code>([^<]*)</Code>", body)
            raise S3RefusalError(response.status, "" if found is None else found[1].decode())
        total, _ = _sizes(response)
        return S3Answer(response.headers.get("ETag", ""), body, total or len(body))

    def _note_region(self, response: HTTPResponse) -> None:
        # S3 names the region of a bucket to a client that asked in another region.
        if response.status in (301, 307, 400) and self._endpoint is None:
            self._region = response.headers.get("x-amz-bucket-region") or self._region

    def _request(self, key: str) -> tuple[str, str, str, dict[str, str]]:
        """
        Return scheme, host and path of a GET, and the headers that sign it.

        They are used again for a few seconds, for whoever polls: S3 accepts a
        signature for a quarter of an hour, and conditions are not signed.
        """
        now, recent = time.time(), self._recent
        if (
            recent is None
            or recent[0] != (key, self._region)
            or not 0 <= now - recent[1] < _SECONDS_SIGNED
        ):
            scheme, host, path = self._place(key)
            made = (scheme, host, path, self._signed(host, path))
            self._recent = recent = ((key, self._region), now, made)
        return recent[2]

    def _place(self, key: str) -> tuple[str, str, str]:
        """Return scheme, host and path of an object, as S3 signs them."""
        path = "/" + quote(key, safe="/-_.~")
        if self._endpoint is not None:
            parts = urlsplit(self._endpoint)
            return parts.scheme, parts.netloc, f"/{self._bucket}{path}"
        suffix = "amazonaws.com.cn" if self._region.startswith("cn-") else "amazonaws.com"
        return "https", f"{self._bucket}.s3.{self._region}.{suffix}", path

    # ---- Signature Version 4 -------------------------------------------------

    def _signed(self, host: str, path: str) -> dict[str, str]:
        """Return the headers that sign a GET of *path*."""
        moment = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
        signed = {"host": host, "x-amz-content-sha256": _EMPTY_SHA256, "x-amz-date": moment}
        if self._keys.token is not None:
            signed["x-amz-security-token"] = self._keys.token
        names = ";".join(signed)
        canonical = "".join(f"{name}:{value}\n" for name, value in signed.items())
        request = f"GET\n{path}\n\n{canonical}\n{names}\n{_EMPTY_SHA256}"
        scope = f"{moment[:8]}/{self._region}/s3/aws4_request"
        digest = hashlib.sha256(request.encode()).hexdigest()
        to_sign = f"AWS4-HMAC-SHA256\n{moment}\n{scope}\n{digest}"
        signature = hmac.digest(self._key_for(scope), to_sign.encode(), "sha256").hex()
        signed["authorization"] = (
            f"AWS4-HMAC-SHA256 Credential={self._keys.access_key}/{scope}, "
            f"SignedHeaders={names}, Signature={signature}"
        )
        return signed

    def _key_for(self, scope: str) -> bytes:
        """Return the key that signs requests of one day and region, which *scope* names."""
        cached = self._signing_key
        if cached is None or cached[0] != scope:
            key = f"AWS4{self._keys.secret_key}".encode()
            for part in scope.split("/"):
                key = hmac.digest(key, part.encode(), "sha256")
            self._signing_key = cached = (scope, key)
        return cached[1]


def _has_config_file(environ: Mapping[str, str]) -> bool:
    # Endpoints, addressing and certificates may be set there.
    path = Path(environ.get("AWS_CONFIG_FILE") or "~/.aws/config").expanduser()
    try:
        return path.stat().st_size > 0
    except OSError:
        return False


def _sizes(response: HTTPResponse) -> tuple[int, int]:
    """Return the size in bytes of the whole object and of the body."""
    size = 0 if response.length is None else response.length
    total = response.headers.get("Content-Range", "").rpartition("/")[2]
    return (int(total) if total.isdecimal() else size), size


def _fill(room: memoryview, chunks: Iterator[bytes]) -> None:
    """Copy *chunks* to *room*, which they must fill."""
    position = 0
    for chunk in chunks:
        room[position : position + len(chunk)] = chunk
        position += len(chunk)
    if position != len(room):
        raise HTTPException(f"found {position} bytes, expected {len(room)}")
