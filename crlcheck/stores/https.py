"""
Read a store that a web server, a content delivery network or a static bucket publishes.

The catalog is asked for by conditional GETs, everything else by names that never get other
contents. A cache on the way may hand out an older catalog than the one before.
"""

from __future__ import annotations

import errno
import functools
import hashlib
import io
import mmap
import os
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import Any, NamedTuple, NoReturn
from urllib.parse import quote, urljoin, urlsplit

from crlcheck.encoding.content import codings_of
from crlcheck.encoding.gunzip import Gunzip
from crlcheck.errors import FetchError, StoreError, StoreUnavailableError
from crlcheck.settings import HttpLocation, is_loopback, s3_url_of, without_credentials
from crlcheck.stores.deadline import (
    DEFAULT_LOAD_SECONDS,
    FIRST_PAUSE,
    POLL_SECONDS,
    READ_SECONDS,
    Connections,
    chunks_of,
    is_last,
    may_serve_again,
)
from crlcheck.stores.object_store import (
    StoredObject,
    StoredPart,
    check_name,
    check_part,
    check_prefix,
    check_write,
    make_room,
    read_only_error,
    strong_etag,
    whole_in_place_of_part,
)
from crlcheck.stores.proxies import reach_by_environment

# In bytes, decoded. What is not an image is small; an image has no such limit, unless it
# comes as gzip, of which a few bytes can hold any number.
_MAX_SMALL = 64 << 20
_MAX_LARGE = 1 << 40
_MAX_UNPACKED = 1 << 30

_MAX_REDIRECTS = 3
_REDIRECTS = (301, 302, 303, 307, 308)

# RFC 9110 8.8.2.2: a Last-Modified proves nothing where the object may have changed again
# within the same second, and neither does an ETag that web servers make from this time and
# the size. The clocks that made Last-Modified and Date may differ by less than this.
_SETTLED_SECONDS = 60


class _LastAnswer(NamedTuple):
    """What the last whole answer to a poll was, and the headers that ask for another one."""

    name: str
    digest: str
    conditions: dict[str, str]


class HttpsStore:
    """
    A store that is read at an ``https://`` URL, and cannot be written.

    ``http://`` is for servers on this machine only. The names of objects are appended to
    the URL's path. An etag is the SHA-256 of the contents. A poll asks by the server's own
    ETag or Last-Modified, once that is older than a minute.

    The proxy that the environment names is used, and the certificates that the system or
    ``SSL_CERT_FILE`` trusts.

    load_seconds: how long reading an image may take, all attempts together.

    Raises:
        ValueError: the URL has another scheme or no host, a user name, a password, a query
            or a fragment.
    """

    is_read_only = True
    may_be_behind = True

    def __init__(self, url: str, *, load_seconds: float = DEFAULT_LOAD_SECONDS) -> None:
        self._location = HttpLocation.parse(url)
        self._load_seconds = load_seconds
        self._connections = Connections(reach=reach_by_environment)
        # Replaced as a whole, because threads share it.
        self._last_answer: _LastAnswer | None = None

    def __repr__(self) -> str:
        return f"HttpsStore({self.url!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        """Let another process open the same URL."""
        return functools.partial(HttpsStore, load_seconds=self._load_seconds), (self.url,)

    @property
    def url(self) -> str:
        """``https://host/path``, without a slash at the end."""
        return self._location.url

    @property
    def conditions(self) -> Mapping[str, str]:
        """The headers by which a poll can ask for another state; none before the first poll."""
        return {} if self._last_answer is None else self._last_answer.conditions

    def read(self, name: str) -> StoredObject:
        """As ObjectStore.read."""
        check_name(name)
        return self._read(name, {}, time.monotonic() + READ_SECONDS)[0]

    def read_if_changed(self, name: str, etag: str | None) -> StoredObject | None:
        """
        As ObjectStore.read_if_changed: one conditional GET.

        Without an etag, caches on the way are told to ask the server.
        """
        check_name(name)
        last = self._last_answer
        if etag is None:
            headers, seconds = {"Cache-Control": "no-cache"}, READ_SECONDS
        else:
            is_known = last is not None and (last.name, last.digest) == (name, etag)
            headers, seconds = last.conditions if last and is_known else {}, POLL_SECONDS
        try:
            found, conditions = self._read(name, headers, time.monotonic() + seconds)
        except _NotModifiedError:
            return None
        self._last_answer = _LastAnswer(name, found.etag, conditions)
        return None if found.etag == etag else found

    def load(self, name: str) -> bytes | bytearray | mmap.mmap:
        """As ObjectStore.load; where a download breaks off, the rest is asked for."""
        check_name(name)
        body = _Body(f"{self.url}/{name}", _MAX_LARGE)
        self._fetch(name, {}, time.monotonic() + self._load_seconds, body)
        return body.unpacked(_MAX_UNPACKED) if body.codings else body.room

    def read_part(self, name: str, start: int, size: int, *, etag: str = "") -> StoredPart | None:
        """As PartStore.read_part: one GET of a range, with If-Match where there is an etag."""
        check_part(name, start, size)
        part = _Part(f"{self.url}/{name}", _MAX_LARGE, start=start, wanted=size)
        headers = {"If-Match": etag} if etag else {}
        deadline = time.monotonic() + min(READ_SECONDS, self._load_seconds)
        try:
            self._fetch(name, headers, deadline, part)
        except StoreUnavailableError as error:
            cause = error.__cause__
            if etag and isinstance(cause, _RefusalError) and cause.status == 412:
                return None
            if part.was_offered_all:
                raise whole_in_place_of_part(part.place) from error
            raise
        return StoredPart(bytes(part.room), strong_etag(part.entity_tag))

    def write(
        self, name: str, body: bytes | Path, *, if_match: str | None = None, if_absent: bool = False
    ) -> str:
        """Refuse it: raise ReadOnlyStoreError."""
        check_write(name, body, if_match, if_absent)
        self._refuse("write", f"{name} cannot be written")

    def delete(self, name: str) -> None:
        """Refuse it: raise ReadOnlyStoreError."""
        check_name(name)
        self._refuse("delete", f"{name} cannot be deleted")

    def names(self, prefix: str) -> Iterator[str]:
        """Refuse it: raise ReadOnlyStoreError, because a web server has no list of names."""
        check_prefix(prefix)
        self._refuse("list", "its objects cannot be listed")

    def _refuse(self, operation: str, what: str) -> NoReturn:
        raise read_only_error(self.url, operation, what)

    # ---- one object ------------------------------------------------------------------

    def _read(
        self, name: str, headers: Mapping[str, str], deadline: float
    ) -> tuple[StoredObject, dict[str, str]]:
        """Return a small object, and the headers that ask for another state of it."""
        body = _Body(f"{self.url}/{name}", _MAX_SMALL)
        self._fetch(name, headers, deadline, body)
        contents = body.unpacked(_MAX_SMALL) if body.codings else bytes(body.room)
        return StoredObject(contents, hashlib.sha256(contents).hexdigest()), body.conditions()

    def _fetch(self, name: str, headers: Mapping[str, str], deadline: float, body: _Body) -> None:
        """
        GET an object into *body*, in as many attempts as are allowed.

        An attempt that brought a part does not count, because the next one asks for the rest.
        """
        place = f"{self.url}/{name}"
        pause, attempt = FIRST_PAUSE, 0
        while True:
            attempt += 1
            before = body.size
            try:
                self._attempt(name, headers, deadline, body)
                return
            except _RefusalError as refusal:
                lasting = refusal.status < 500 and refusal.status not in (408, 425, 429)
                if lasting or refusal.status == 501 or is_last(attempt, pause, deadline):
                    raise self._refused(name, refusal.status) from refusal
            except FetchError as error:  # of the proxy
                if is_last(attempt, pause, deadline):
                    raise StoreUnavailableError(f"{place}: {error}") from error
            except (OSError, HTTPException, ValueError) as error:
                if body.size > before:
                    pause, attempt = FIRST_PAUSE, 0
                if _is_about_trust(error):
                    raise StoreUnavailableError(
                        f"{place}: {error}; {_TRUSTED}", remedy=_TRUST_REMEDY
                    ) from error
                if is_last(attempt, pause, deadline):
                    raise StoreUnavailableError(f"{place}: {error}") from error
            time.sleep(pause)
            pause *= 2

    def _attempt(self, name: str, headers: Mapping[str, str], deadline: float, body: _Body) -> None:
        scheme, host = self._location.scheme, self._location.host
        target = f"{self._location.path}/{quote(name, safe='/-_.~')}"
        for _ in range(_MAX_REDIRECTS + 1):
            connection = self._connections.take(scheme, host, deadline)
            may_stay = False
            try:
                sent = {**_HEADERS, "Host": host, **headers, **body.rest()}
                connection.request("GET", target, headers=sent)
                with connection.getresponse() as response:
                    # A 304 has no body. A body that breaks off is an error, after which
                    # the connection is of no more use.
                    may_stay = response.status == 304 and may_serve_again(response)
                    location = self._answered(response, f"{scheme}://{host}{target}", body, headers)
                    may_stay = may_serve_again(response)
            finally:
                self._connections.give_back(scheme, host, connection, may_stay=may_stay)
            if location is None:
                return
            parts = urlsplit(location)
            scheme, host = parts.scheme, parts.netloc
            path = quote(parts.path or "/", safe=_SAFE)
            target = path + (f"?{quote(parts.query, safe=_SAFE)}" if parts.query else "")
        raise StoreError(f"{self.url}/{name}: more than {_MAX_REDIRECTS} redirects")

    def _answered(
        self, response: HTTPResponse, asked: str, body: _Body, headers: Mapping[str, str]
    ) -> str | None:
        """Take an answer's body; return where to ask instead, if it says so."""
        if response.status in _REDIRECTS:
            return _redirected(asked, response.headers.get("Location") or "")
        if response.status == 304 and not _CONDITIONS.isdisjoint(headers):
            raise _NotModifiedError
        if response.status == 206 and body.continues(response):
            body.take(response)
        elif response.status == 200:
            body.begin(response)
            body.take(response)
        elif response.status in (206, 416) and body.size:
            body.clear()
            raise HTTPException("the rest of the object could not be had, but only all of it")
        else:
            raise _RefusalError(response.status)
        return None

    def _refused(self, name: str, status: int) -> Exception:
        place = f"{self.url}/{name}"
        if status in (404, 410):
            return FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), place)
        message = f"{place}: was answered {status}, expected 200"
        s3_url = s3_url_of(self.url)
        if status in (401, 403):
            message += "; some servers say that of a missing object too"
            if name.startswith(_OFTEN_REFUSED):
                message += (
                    f", and many refuse {name.partition('/')[0]}/ to outsiders: ask the store "
                    "behind the URL (docs/guides/stores.md)"
                )
            if s3_url is not None:
                message += f"; a bucket that is not public is read as {s3_url}"
        # As for S3: 304 is of a cache that is stuck, and 403 may pass.
        may_pass = status in (304, 401, 403, 408, 412, 425, 429) or status >= 500
        if not may_pass or status == 501:
            return StoreError(message)
        remedy = _REFUSED_REMEDY if status in (401, 403) else None
        return StoreUnavailableError(message, status=status, remedy=remedy)


_TRUSTED = "expected one of an authority of this system, or of the file that SSL_CERT_FILE names"
_TRUST_REMEDY = (
    "let the server show a certificate of the host name in the URL, by an authority that is "
    "trusted here, or name a file with its authority (SSL_CERT_FILE)"
)
_REFUSED_REMEDY = (
    "let the server hand the object out, or name the directory or the s3:// URL behind it; "
    "docs/guides/stores.md says what is to be served"
)
_OFTEN_REFUSED = ("history/", "status/")
_HEADERS = {"User-Agent": "crlcheck", "Accept-Encoding": "identity"}
_CONDITIONS = frozenset({"If-None-Match", "If-Modified-Since"})
_SAFE = "%/:=&?~+!$,;'@()*[]"


class _NotModifiedError(Exception):
    """A conditional GET found the object as it was."""


class _RefusalError(Exception):
    """The server answered with another status than one of success."""

    def __init__(self, status: int) -> None:
        super().__init__(str(status))
        self.status = status


@dataclass
class _Body:
    """
    The body of an object as far as it has come, and what its server said of it.

    ``room`` has space for all of it where its size is known, else what has come so far.
    ``size`` is how much has come, in bytes.
    """

    place: str
    max_size: int
    size: int = 0
    room: bytearray | mmap.mmap = field(default_factory=bytearray)
    total: int | None = None
    codings: list[str] = field(default_factory=list)
    entity_tag: str = ""
    last_modified: str = ""
    is_settled: bool = False

    def begin(self, response: HTTPResponse) -> None:
        """
        Forget what has come, and make room for the body of an answer 200.

        Raises:
            StoreError: it is too large.
        """
        self.clear()
        self.total = response.length
        self.codings = codings_of(", ".join(response.headers.get_all("Content-Encoding", [])))
        self.entity_tag = _printable(response.headers.get("ETag"))
        self.last_modified = _printable(response.headers.get("Last-Modified"))
        date = response.headers.get("Date", "")
        self.is_settled = not self.last_modified or _is_settled(self.last_modified, date)
        self._check_size(self.total or 0)
        self.room = bytearray() if self.total is None else make_room(self.total)

    def clear(self) -> None:
        """Forget what has come."""
        self.size, self.total, self.room = 0, None, bytearray()
        self.entity_tag = self.last_modified = ""

    def take(self, response: HTTPResponse) -> None:
        """Take the body of an answer, behind what has come."""
        for chunk in chunks_of(response):
            end = self.size + len(chunk)
            self._check_size(end)
            if self.total is None:
                assert isinstance(self.room, bytearray)
                self.room += chunk
            elif end > self.total:
                raise HTTPException(f"found more than the {self.total} bytes that were announced")
            else:
                self.room[self.size : end] = chunk
            self.size = end
        if self.total is not None and self.size != self.total:
            raise HTTPException(f"found {self.size} bytes, expected {self.total}")

    def rest(self) -> dict[str, str]:
        """Return the headers that ask for the rest of the object, in the state of its beginning."""
        is_strong = self.entity_tag.startswith('"')
        by_date = self.last_modified if self.is_settled else ""
        validator = self.entity_tag if is_strong else by_date
        if not self.size or self.total is None or not validator:
            return {}
        return {"Range": f"bytes={self.size}-", "If-Range": validator}

    def continues(self, response: HTTPResponse) -> bool:
        """Whether an answer 206 has the rest, of the same state and in the same coding."""
        found = re.fullmatch(
            r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18})",
            response.headers.get("Content-Range", ""),
        )
        codings = codings_of(", ".join(response.headers.get_all("Content-Encoding", [])))
        tag = _printable(response.headers.get("ETag"))
        return (
            bool(self.size)
            and found is not None
            and self.total is not None
            and [int(one) for one in found.groups()] == [self.size, self.total - 1, self.total]
            and codings == self.codings
            and tag in ("", self.entity_tag)
        )

    def conditions(self) -> dict[str, str]:
        """Return the headers that ask for another state of the object; none if none can."""
        if not self.is_settled:
            return {}
        headers = {"If-None-Match": self.entity_tag, "If-Modified-Since": self.last_modified}
        return {name: value for name, value in headers.items() if value}

    def unpacked(self, limit: int) -> bytes:
        """
        Return what the body holds, which came as gzip although that was not asked for.

        Raises:
            StoreError: it has another coding, or more than *limit* bytes.
        """
        if self.codings != ["gzip"]:
            raise StoreError(
                f"{self.place}: found the Content-Encoding {', '.join(self.codings)!r:.60}, "
                "expected none, or gzip; let the server send what is asked for, which is identity"
            )
        unpacked = Gunzip(io.BytesIO(self.room))
        pieces: list[bytes] = []
        size = 0
        try:
            while piece := unpacked.read(1 << 20):
                pieces.append(piece)
                size += len(piece)
                if size > limit:
                    raise self._too_large(size, limit)
        except ValueError as error:
            raise StoreUnavailableError(f"{self.place}: {error}") from error
        return b"".join(pieces)

    def _check_size(self, size: int) -> None:
        if size > self.max_size:
            raise self._too_large(size, self.max_size)

    def _too_large(self, size: int, limit: int) -> StoreError:
        return StoreError(f"{self.place}: found {size} bytes or more, allowed are {limit}")


@dataclass
class _Part(_Body):
    """A part of an object: the ``wanted`` bytes from ``start`` on."""

    start: int = 0
    wanted: int = 0
    was_offered_all: bool = False

    def begin(self, response: HTTPResponse) -> None:
        """Take an answer 200 only where all of the object is that part."""
        self.clear()
        self.was_offered_all = self.start > 0 or response.length != self.wanted
        self._make_room(response)

    def continues(self, response: HTTPResponse) -> bool:
        """Make room for an answer 206."""
        self.clear()
        found = response.headers.get("Content-Range", "")
        if not found.startswith(f"{self._span.replace('=', ' ')}/"):
            raise HTTPException(f"found the range {found!r:.60}, expected {self._span}")
        self._make_room(response)
        return True

    def _make_room(self, response: HTTPResponse) -> None:
        codings = codings_of(", ".join(response.headers.get_all("Content-Encoding", [])))
        self.was_offered_all |= bool(codings)
        if self.was_offered_all:
            raise HTTPException("found more than the part that was asked for, or another form")
        self.total, self.room = self.wanted, bytearray(self.wanted)
        self.entity_tag = _printable(response.headers.get("ETag"))

    def take(self, response: HTTPResponse) -> None:
        """Take the body of an answer, or nothing of it."""
        try:
            super().take(response)
        except BaseException:
            self.size = 0
            raise

    @property
    def _span(self) -> str:
        return f"bytes={self.start}-{self.start + self.wanted - 1}"

    def rest(self) -> dict[str, str]:
        """Return the header that asks for the part."""
        return {"Range": self._span}


def _printable(value: str | None) -> str:
    """Return the value of a header if it can be sent back, else ""."""
    value = (value or "").strip()
    return value if len(value) <= 500 and value.isascii() and value.isprintable() else ""


def _is_settled(modified: str, date: str) -> bool:
    """Whether the object cannot have changed again within the second of its Last-Modified."""
    try:
        age = parsedate_to_datetime(date) - parsedate_to_datetime(modified)
    except (TypeError, ValueError):
        return False
    return age.total_seconds() >= _SETTLED_SECONDS


def _redirected(asked: str, location: str) -> str:
    """
    Return where a redirect leads.

    Raises:
        StoreError: it leads nowhere, or to where anybody on the way can change the answer.
    """
    where = without_credentials(asked)
    try:
        target = urljoin(asked, location)
        parts = urlsplit(target)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        host, target, parts = "", "", urlsplit("")
    shown = without_credentials(target) if location else ""
    if not location or not host or parts.scheme not in ("http", "https"):
        raise StoreError(f"{where}: a redirect to {shown or 'nowhere':.200}, expected a URL")
    if "@" in parts.netloc:
        raise StoreError(f"{where}: a redirect to a URL with a user name, expected none")
    if parts.scheme != "https" and not (asked.startswith("http:") and is_loopback(host)):
        raise StoreError(f"{where}: a redirect to {shown:.200}, which is not protected by TLS")
    return target


def _is_about_trust(error: Exception) -> bool:
    """Whether a certificate was refused, which the next attempt does not change."""
    import ssl

    return isinstance(error, ssl.SSLCertVerificationError)
