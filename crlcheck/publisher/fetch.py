"""
Fetch CRLs from CAs that publish over HTTP, verify and publish them.

The URLs are the operator's, but the server that answers may be anybody's. Schemes other
than HTTP are refused. So are private addresses, because a name in the DNS could point
this program at its own network. It connects only to an address that was checked, and it
checks every redirect.

Where the environment names a proxy, the proxy looks the name up and connects. A
host that this machine can look up is checked as before. For any other host the proxy's
own rules decide.
"""

from __future__ import annotations

import hashlib
import ipaddress
import json
import os
import random
import re
import socket
import ssl
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from http.client import (
    BadStatusLine,
    HTTPConnection,
    HTTPException,
    HTTPResponse,
    RemoteDisconnected,
    UnknownProtocol,
)
from typing import Any, Unpack
from urllib.parse import SplitResult, quote, urljoin, urlsplit

from crlcheck.catalog.catalog import Catalog
from crlcheck.catalog.entries import name_hash, points_of_crl
from crlcheck.catalog.published_set import PublishedSet, read_set
from crlcheck.compiler.pipeline import DEFAULT_MAX_SOURCE_SIZE
from crlcheck.compiler.source import DEFAULT_MAX_CRLS
from crlcheck.encoding.content import codings_of
from crlcheck.encoding.gunzip import Gunzip
from crlcheck.encoding.strict_json import members_of, parse_json, typed
from crlcheck.errors import CrlError, FetchError
from crlcheck.publisher.comparison import is_intact, later_crl
from crlcheck.publisher.publish import PublishOptions
from crlcheck.publisher.publish_many import publish_each
from crlcheck.stores import ObjectStore, open_for_writing
from crlcheck.stores.deadline import TimedSocket, connect, resolve, secure
from crlcheck.stores.proxies import Proxy, open_tunnel, proxy_for, remedy_for
from crlcheck.times import time_text
from crlcheck.types import ImageMetadata, PublishReport
from crlcheck.x509.certificates import CertificateSource
from crlcheck.x509.distribution_points import PointKey

_PREFIX = "fetch/"
_MAX_REDIRECTS = 3
# In seconds. Another run follows soon, so this one does not wait long for a server.
_FIRST_PAUSE = 1.0
_LONGEST_PAUSE = 5
_MAX_SECONDS = 3_153_600_000
# These characters of a path or query stay as they are. "%" is one, so that nothing is
# encoded twice.
_SAFE = "%/:=&?~+!$,;'@()*[]"
_PORTS = {"http": 80, "https": 443}
_BY_LDAP = (
    "read the attribute certificateRevocationList;binary with ldapsearch, and give the file to "
    "'crlcheck publish'"
)
_BY_CURL = "get the file with curl, and give it to 'crlcheck publish'"
_OTHER_SCHEMES = {
    "ldap": _BY_LDAP,
    "ldaps": _BY_LDAP,
    "ldapi": _BY_LDAP,
    "ftp": _BY_CURL,
    "ftps": _BY_CURL,
    "sftp": _BY_CURL,
    "file": "give the file to 'crlcheck publish'",
    "s3": "copy the object with 'aws s3 cp', and give the file to 'crlcheck publish'",
}
# "none" is not registered (RFC 9110 8.4.1), but servers send it for a body without coding.
_NO_CODINGS = ("", "identity", "none")


@dataclass(frozen=True, slots=True)
class FetchLimits:
    """
    Limits the size and the time of a fetch, and the addresses that it connects to.

    ``max_size`` is in bytes. ``connect_seconds`` is for one address, ``read_seconds`` for
    the wait for the next bytes, and ``total_seconds`` for the whole fetch, from the look-up
    of the name to the last byte, redirects and repeated attempts included.
    ``allow_private`` lets it connect to private addresses. ``use_proxy`` sends requests
    through the proxy that the environment names. A request is sent up to ``attempts``
    times where the connection is refused or breaks before an answer, or the server says
    that it is busy.

    Raises:
        ValueError: a time is not positive, or more than a hundred years; no attempt is left.
    """

    max_size: int = DEFAULT_MAX_SOURCE_SIZE
    connect_seconds: float = 5.0
    read_seconds: float = 20.0
    total_seconds: float = 600.0
    allow_private: bool = False
    use_proxy: bool = True
    attempts: int = 3

    def __post_init__(self) -> None:
        if self.attempts < 1:
            raise ValueError(f"attempts is {self.attempts}: expected at least 1")
        for name in ("connect_seconds", "read_seconds", "total_seconds"):
            value = getattr(self, name)
            if not 0 < value <= _MAX_SECONDS:
                raise ValueError(f"{name} is {value}: expected up to {_MAX_SECONDS}, above 0")


class FetchedBody:
    """Reads the body of an answer as a binary file, within limits of size and time."""

    def __init__(
        self,
        url: str,
        response: HTTPResponse,
        limits: FetchLimits,
        deadline: float,
        *,
        is_gzip: bool = False,
    ) -> None:
        self._url = url
        self._limits = limits
        self._deadline = deadline
        self._size = 0
        self._sent = _Sent(url, response, limits, deadline)
        self._decoded = Gunzip(self._sent) if is_gzip else self._sent

    def read(self, size: int, /) -> bytes:
        """
        Return the next bytes, at most *size*; they are decoded if they were sent as gzip.

        Raises:
            FetchError: the connection broke, or a limit was reached.
        """
        try:
            chunk = self._decoded.read(min(size, 1 << 16))
        except ValueError as error:
            raise FetchError(f"{self._url}: {error}") from error
        self._size += len(chunk)
        if self._limits.max_size and self._size > self._limits.max_size:
            raise FetchError(f"{self._url}: more than the {self._limits.max_size} bytes allowed")
        if time.monotonic() > self._deadline:
            raise _failure("", self._url, self._limits, self._deadline)
        return chunk


class _Sent:
    """Reads the body of an answer as it was sent."""

    def __init__(
        self, url: str, response: HTTPResponse, limits: FetchLimits, deadline: float
    ) -> None:
        self._url = url
        self._response = response
        self._limits = limits
        self._deadline = deadline

    def read(self, size: int, /) -> bytes:
        """Return the next bytes, at most *size*."""
        try:
            chunk = self._response.read1(size)
            if not chunk and self._response.length:
                raise HTTPException(f"{self._response.length} bytes are missing")
        except (HTTPException, OSError, ValueError) as error:
            message = f"{self._url}: the answer broke off: {error}"
            raise _failure(message, self._url, self._limits, self._deadline) from error
        if time.monotonic() > self._deadline:
            raise _failure("", self._url, self._limits, self._deadline)
        return chunk


@dataclass(frozen=True, slots=True)
class Fetched:
    """
    An answer with a body.

    Call ``remember`` when all of it is published. The next fetch then asks only for a
    newer body.
    """

    url: str
    body: FetchedBody
    _store: ObjectStore
    _validators: dict[str, str]

    def publish_each(
        self,
        *,
        issuer: CertificateSource | Iterable[CertificateSource],
        max_crls: int = DEFAULT_MAX_CRLS,
        **options: Unpack[PublishOptions],
    ) -> Iterator[tuple[str, PublishReport | CrlError]]:
        """
        Publish each CRL of the body, as ``crlcheck.publish_each`` does, to the store that
        was given to ``fetch``; remember the answer if none was refused.
        """
        # A body that was remembered is fetched again only if its image is gone or damaged.
        options["rebuild"] = True
        reports: list[PublishReport] = []
        all_published = True
        for name, result in publish_each(
            self.body,
            self._store,
            issuer=issuer,
            source_name=self.url,
            max_crls=max_crls,
            **options,
        ):
            if isinstance(result, CrlError):
                all_published = False
            else:
                reports.append(result)
            yield name, result
        if all_published:
            self.remember(reports)

    def remember(self, reports: Iterable[PublishReport] = ()) -> None:
        """
        Keep the answer's ETag and Last-Modified in the store.

        *reports* are those of all CRLs in the body. The validators are used only while
        these CRLs are published, so without reports they are never used.
        """
        crls = [
            {
                "scope": report.scope,
                "issuer": report.compiled.issuer.hex(),
                # By these the next fetch finds the scope without reading all of them.
                "points": [
                    [is_directory_name, name.hex()]
                    for is_directory_name, name in sorted(points_of_crl(report.compiled.metadata))
                ],
                "tbs_digest": report.compiled.tbs_digest,
                # In hex, because JSON readers do not keep large numbers exactly.
                "crl_number": None
                if report.compiled.crl_number is None
                else f"{report.compiled.crl_number:x}",
            }
            for report in reports
        ]
        state = {"url": self.url, "crls": crls, **self._validators}
        self._store.write(_name(self.url), json.dumps(state, sort_keys=True).encode("ascii"))


@contextmanager
def fetch(
    url: str,
    store: str | os.PathLike[str] | ObjectStore,
    limits: FetchLimits | None = None,
    *,
    now: datetime | None = None,
    again: bool = False,
) -> Iterator[Fetched | None]:
    """
    Fetch *url*; give its answer, or None where that has not changed since it was remembered.

    The request is conditional only while all the remembered CRLs are published in *store*,
    undamaged and not past their nextUpdate. *now* is the time, by default the clock's.
    Otherwise the whole body is fetched, and ``publish_crl(rebuild=True)`` repairs the
    store. With *again* the whole body is fetched in any case.

    Raises:
        ValueError: it is no http:// or https:// URL, or has a user name.
        FetchError: the server does not answer as it should, or its address is not
            allowed.
    """
    limits = limits or FetchLimits()
    target = open_for_writing(store)
    location = check_url(url)
    deadline = time.monotonic() + limits.total_seconds
    moment = datetime.now(UTC) if now is None else now
    headers = {} if again else _conditions(target, url, moment)
    for _ in range(_MAX_REDIRECTS + 1):
        with _answer(location, headers, limits, deadline) as response:
            if response.status == 304 and len(headers) > 0:
                yield None
                return
            if response.status not in (301, 302, 303, 307, 308):
                body = _body(location, response, limits, deadline)
                yield Fetched(url, body, target, _validators(response))
                return
            location = _redirected(location, response)
    raise FetchError(f"{url}: more than {_MAX_REDIRECTS} redirects")


def check_url(url: str) -> str:
    """
    Return *url* if it may be fetched at all.

    Raises:
        ValueError: it is no http:// or https:// URL, or has a user name.
    """
    parts = urlsplit(url)
    if parts.scheme in _OTHER_SCHEMES:
        # Not all of it, because it may have a password.
        raise ValueError(
            f"{parts.scheme}://{parts.hostname or ''}{parts.path}: expected an http:// or "
            f"https:// URL; {_OTHER_SCHEMES[parts.scheme]}"
        )
    if parts.scheme not in _PORTS or not parts.hostname:
        raise ValueError(f"{url!r}: expected an http:// or https:// URL")
    if parts.username is not None or parts.password is not None:
        raise ValueError(f"{parts.hostname}: expected a URL without user name and password")
    _ = parts.port  # out of range: ValueError
    return url


def _redirected(location: str, response: HTTPResponse) -> str:
    following = response.headers.get("Location")
    if not following:
        raise FetchError(f"{location}: a redirect to nowhere")
    try:
        target = check_url(urljoin(location, following))
    except ValueError as error:
        raise FetchError(f"{location}: redirected to {error}") from error
    if urlsplit(location).scheme == "https" and urlsplit(target).scheme != "https":
        raise FetchError(f"{location}: redirected to {target}, which is not protected by TLS")
    return target


def _addresses(host: str, port: int, deadline: float, *, allow_private: bool) -> list[str]:
    """Return the addresses of a host; refuse all of them where one is not public."""
    try:
        addresses = resolve(host, port, deadline)
    except TimeoutError:
        raise
    except (OSError, UnicodeError) as error:
        raise FetchError(f"{host}: no address: {error}") from error
    if not allow_private:
        _check_public(host, addresses)
    return addresses


_ALLOW_PRIVATE = (
    "for a CA in a network of your own, allow private addresses (crlcheck fetch --allow-private, "
    "CRLCHECK_FETCH_PRIVATE, FetchLimits.allow_private)"
)


def _check_public(host: str, addresses: list[str]) -> None:
    for address in addresses:
        if not _is_public(address):
            raise FetchError(
                f"{host}: found the address {address}, which is not a public one",
                remedy=_ALLOW_PRIVATE,
            )


def _is_public(text: str) -> bool:
    address = ipaddress.ip_address(text.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address):
        # Addresses that carry an IPv4 address lead to wherever that is.
        inner = address.ipv4_mapped or address.sixtofour
        if inner is None and address.teredo is not None:
            inner = address.teredo[1]
        if inner is None and address in _NAT64:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            return _is_public(str(inner))
    return address.is_global and not address.is_multicast


_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


@contextmanager
def _answer(
    location: str, headers: dict[str, str], limits: FetchLimits, deadline: float
) -> Iterator[HTTPResponse]:
    """Send a request, and repeat it where that may soon succeed; yield the answer."""
    for attempt in range(1, limits.attempts + 1):
        pause = _FIRST_PAUSE * 2 ** (attempt - 1) * random.uniform(0.5, 1)
        is_last = attempt == limits.attempts or time.monotonic() + pause >= deadline
        try:
            with _one_answer(location, headers, limits, deadline) as response:
                if is_last or not _is_busy(response):
                    yield response
                    return
        except _UnansweredError as error:
            if is_last or not error.may_pass:
                raise error.failure from error.__cause__
        time.sleep(pause)


class _UnansweredError(Exception):
    """There was no answer: raise *failure*, or ask again if it *may_pass*."""

    def __init__(self, failure: FetchError, *, may_pass: bool) -> None:
        super().__init__(str(failure))
        self.failure = failure
        self.may_pass = may_pass


def _is_busy(response: HTTPResponse) -> bool:
    """Whether the server says that it may answer within seconds."""
    if response.status not in (429, 502, 503, 504):
        return False
    after = response.headers.get("Retry-After", "0")
    return not after.isdecimal() or int(after) <= _LONGEST_PAUSE


@contextmanager
def _one_answer(
    location: str, headers: dict[str, str], limits: FetchLimits, deadline: float
) -> Iterator[HTTPResponse]:
    """Send one request, to the first of the checked addresses that takes the connection."""
    parts = urlsplit(location)
    proxy = proxy_for(parts) if limits.use_proxy else None
    connection = HTTPConnection(parts.hostname or "")
    connection.auto_open = 0  # it would look the name up again
    try:
        try:
            if proxy is None:
                connection.sock = _connect(parts, limits, deadline)
            else:
                connection.sock = _connect_by(proxy, parts, limits, deadline)
            response = _response_on(connection, parts, headers, proxy)
        except (HTTPException, OSError, ValueError) as error:
            message = f"{location}: {_what(error)}{_by(proxy)}"
            failure = _failure(message, location, limits, deadline)
            raise _UnansweredError(failure, may_pass=_may_pass(error)) from error
        with response:
            if proxy is not None and response.status == 407:
                raise FetchError(
                    f"{location}: {proxy} answered 407, expected 200{remedy_for(response.status)}"
                )
            yield response
    finally:
        connection.close()


def _response_on(
    connection: HTTPConnection, parts: SplitResult, headers: dict[str, str], proxy: Proxy | None
) -> HTTPResponse:
    path = quote(parts.path or "/", safe=_SAFE)
    path += f"?{quote(parts.query, safe=_SAFE)}" if parts.query else ""
    sent = {
        "Host": parts.netloc,
        "User-Agent": "crlcheck",
        "Accept-Encoding": "identity",
        "Connection": "close",
        **headers,
    }
    if proxy is not None and parts.scheme == "http":
        path, sent = f"http://{parts.netloc}{path}", {**sent, **proxy.headers}
    connection.request("GET", path, headers=sent)
    return connection.getresponse()


def _may_pass(error: Exception) -> bool:
    """Whether the next attempt may succeed: the server starts again, or a look-up failed."""
    if isinstance(error, socket.gaierror):
        return error.errno == socket.EAI_AGAIN
    return isinstance(error, ConnectionError)


def _what(error: Exception) -> str:
    """Return what went wrong with an answer."""
    # RemoteDisconnected has a message, unlike its base class.
    if isinstance(error, BadStatusLine | UnknownProtocol) and not isinstance(
        error, RemoteDisconnected
    ):
        return f"found {error!s:.40}, expected HTTP/1.1 and a status"
    return str(error)


def _by(proxy: Proxy | None) -> str:
    return "" if proxy is None else f" (by way of {proxy})"


def _connect(parts: SplitResult, limits: FetchLimits, deadline: float) -> TimedSocket:
    """Connect to a checked address of the host; with TLS, verify the host's name."""
    host, port = parts.hostname or "", parts.port or _PORTS[parts.scheme]
    addresses = _addresses(host, port, deadline, allow_private=limits.allow_private)
    connected = _connect_to(addresses, port, limits, deadline)
    return connected if parts.scheme == "http" else _secured(connected, host, limits)


def _connect_by(
    proxy: Proxy, parts: SplitResult, limits: FetchLimits, deadline: float
) -> TimedSocket:
    """Connect to the proxy; with TLS, to the host through it, and verify the host's name."""
    host, port = parts.hostname or "", parts.port or _PORTS[parts.scheme]
    if not limits.allow_private:
        _check_proxied(host, port, min(deadline, time.monotonic() + limits.connect_seconds))
    addresses = _addresses(proxy.host, proxy.port, deadline, allow_private=True)
    connected = _connect_to(addresses, proxy.port, limits, deadline)
    if parts.scheme == "http":
        return connected
    try:
        open_tunnel(connected, proxy, host, port)
    except BaseException:
        connected.close()
        raise
    return _secured(connected, host, limits)


def _check_proxied(host: str, port: int, deadline: float) -> None:
    """
    Refuse a host whose address is known to be private, before a proxy is asked for it.

    Behind a proxy names often cannot be looked up. Then the proxy's rules decide.
    """
    try:
        addresses = resolve(host, port, deadline)
    except (OSError, UnicodeError):
        return
    _check_public(host, addresses)


def _secured(connected: TimedSocket, host: str, limits: FetchLimits) -> TimedSocket:
    context = ssl.create_default_context()
    return secure(connected, context, host, seconds=limits.read_seconds)


def _connect_to(
    addresses: list[str], port: int, limits: FetchLimits, deadline: float
) -> TimedSocket:
    """Connect to the first address that answers."""
    failure: OSError = OSError("no address")
    for address in addresses:
        try:
            return connect(
                address,
                port,
                deadline=deadline,
                seconds=limits.connect_seconds,
                silence=limits.read_seconds,
            )
        except OSError as error:
            failure = error
    raise failure


def _failure(message: str, url: str, limits: FetchLimits, deadline: float) -> FetchError:
    """Return the error to raise: the time has run out, or else *message*."""
    if time.monotonic() >= deadline:
        return FetchError(f"{url}: took more than {limits.total_seconds:g} seconds")
    return FetchError(message)


def _body(
    location: str, response: HTTPResponse, limits: FetchLimits, deadline: float
) -> FetchedBody:
    if response.status != 200:
        raise FetchError(f"{location}: was answered {response.status}, expected 200")
    encoding = ", ".join(response.headers.get_all("Content-Encoding", []))
    codings = codings_of(encoding)
    if codings not in ([], ["gzip"]):
        raise FetchError(
            f"{location}: the body has the encoding {encoding!r:.60}, expected none, or gzip"
        )
    length = response.headers.get("Content-Length", "")
    if length and not re.fullmatch("[0-9]{1,18}", length):
        raise FetchError(f"{location}: found the Content-Length {length!r:.40}, expected a number")
    if limits.max_size and length and int(length) > limits.max_size:
        raise FetchError(f"{location}: {length} bytes, allowed are {limits.max_size}")
    return FetchedBody(location, response, limits, deadline, is_gzip=bool(codings))


def _name(url: str) -> str:
    return f"{_PREFIX}{hashlib.sha256(url.encode()).hexdigest()[:32]}.json"


def _conditions(store: ObjectStore, url: str, now: datetime) -> dict[str, str]:
    """Return the headers that ask for a newer body than the remembered one."""
    try:
        state = members_of(parse_json(store.read(_name(url)).body), "the state")
    except (FileNotFoundError, ValueError):
        return {}  # then the whole body is fetched
    if not _is_published(store, state.get("crls"), now):
        return {}
    names = {"etag": "If-None-Match", "last_modified": "If-Modified-Since"}
    found: dict[str, Any] = {header: state.get(name) for name, header in names.items()}
    return {header: value for header, value in found.items() if _is_header_value(value)}


def _is_published(store: ObjectStore, crls: object, now: datetime) -> bool:
    """
    Whether each remembered CRL, or a newer one, is published in its scope.

    It is not where an operator removed or reset the scope, where the image is gone or
    damaged, and where the CRL is past its nextUpdate, so that another one is due.
    """
    if not isinstance(crls, list) or not crls:
        return False
    published = read_set(store)[0]
    for crl in crls:
        if not isinstance(crl, dict) or not isinstance(crl.get("scope"), str):
            return False
        try:
            catalog = _part_with(published, crl)
        except ValueError:
            return False
        record = catalog.scopes.get(crl["scope"])
        tombstone = catalog.tombstones.get(crl["scope"])
        if record is None or (tombstone is not None and tombstone.accepts_any):
            return False
        if later_crl(record).is_past(now):
            return False
        standing = [image for image in record.images() if _stands_for(image.metadata, crl)]
        if not standing or not all(is_intact(store, image) for image in standing):
            return False
    return True


def _part_with(published: PublishedSet, crl: Mapping[str, Any]) -> Catalog:
    """
    Return the part of the published set that has the scope of a remembered CRL.

    Raises:
        ValueError: the CRL was remembered by an older version, or is damaged.
    """
    issuer = bytes.fromhex(typed(crl.get("issuer"), str, "issuer"))
    points: set[PointKey] = set()
    for point in typed(crl.get("points"), list, "points"):
        is_directory_name, name = typed(point, list, "points")
        points.add(
            (typed(is_directory_name, bool, "points"), bytes.fromhex(typed(name, str, "points")))
        )
    return published.part([issuer], {name_hash(issuer): points})


def _stands_for(metadata: ImageMetadata, crl: Mapping[str, Any]) -> bool:
    """Whether a published CRL is the one that was remembered, or is newer."""
    if metadata.tbs_digest == crl.get("tbs_digest"):
        return True
    number, published = crl.get("crl_number"), metadata.crl_number
    if published is None or not isinstance(number, str):
        return False
    try:
        return published >= int(number, 16)
    except ValueError:
        return False


def _validators(response: HTTPResponse) -> dict[str, str]:
    found = {
        "etag": response.headers.get("ETag"),
        "last_modified": response.headers.get("Last-Modified"),
        "at": time_text(datetime.now(UTC)),
    }
    return {name: value for name, value in found.items() if value and _is_header_value(value)}


def _is_header_value(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= 500 and value.isprintable()
