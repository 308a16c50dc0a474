"""Parts of objects are read from every store, all of one state, or not at all."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from crlcheck.errors import PartsUnsupportedError, StoreError, StoreUnavailableError
from crlcheck.stores import LocalStore, PartStore, S3Store, s3
from crlcheck.stores import https as https_module
from crlcheck.stores.https import HttpsStore
from crlcheck.stores.object_store import ObjectStore, strong_etag
from support.fault_proxy import BROKEN_BODY, CONNECTION_RESET, SLOW_BODY, Fault, FaultProxy
from support.memory_store import MemoryStore
from support.moto_server import S3Environment, environment_variables
from support.web_server import WebServer, hang_up, refusing, web_server

IMAGE = "images/0f-1.crlx"
BODY = bytes(range(256)) * 1000
OTHER = BODY[::-1]


class Served:
    """A store, and how the object in it is written."""

    def __init__(self, store: Any, write: Callable[[bytes], object]) -> None:
        assert isinstance(store, PartStore)
        self.store = store
        self.write = write
        write(BODY)


@pytest.fixture
def web(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[WebServer]:
    """A server over TLS, whose certificate is trusted."""
    (tmp_path / "root/images").mkdir(parents=True)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "server.pem"))
    with web_server(tmp_path / "root", tmp_path) as server:
        yield server


@pytest.fixture(params=["memory", "local", "s3", "botocore", "https"])
def served(request: pytest.FixtureRequest, tmp_path: Path) -> Served:
    """A store of each kind that has an object."""
    if request.param == "https":
        web: WebServer = request.getfixturevalue("web")
        return Served(HttpsStore(web.url), (web.root / IMAGE).write_bytes)
    store: ObjectStore
    if request.param == "memory":
        store = MemoryStore()
    elif request.param == "local":
        store = LocalStore(tmp_path / "store", fsync=False)
    else:
        bucket: S3Environment = request.getfixturevalue("s3")
        client = bucket.client if request.param == "botocore" else None
        store = S3Store(f"s3://{bucket.bucket}/published", client=client)
        assert (store.getter is None) == (request.param == "botocore")
    return Served(store, functools.partial(store.write, IMAGE))


# ---- what every store does ---------------------------------------------------


@pytest.mark.parametrize(
    ("start", "size"),
    [(0, 1), (0, 4096), (1, 65536), (100_000, 65536), (len(BODY) - 1, 1), (0, len(BODY))],
)
def test_exactly_the_part_comes(served: Served, start: int, size: int) -> None:
    """A part has the bytes of its span, at the ends of the object too, with and without etag."""
    part = served.store.read_part(IMAGE, start, size)
    assert part is not None
    assert part.body == BODY[start : start + size]
    assert isinstance(part.body, bytes)
    again = served.store.read_part(IMAGE, start, size, etag=part.etag)
    assert again is not None
    assert (again.body, again.etag) == (part.body, part.etag)


def test_a_part_of_another_state_does_not_come(served: Served) -> None:
    """Once the object was replaced, there is no part of the state that was."""
    part = served.store.read_part(IMAGE, 5, 10)
    assert part is not None
    assert part.etag
    served.write(OTHER)
    assert served.store.read_part(IMAGE, 5, 10, etag=part.etag) is None
    other = served.store.read_part(IMAGE, 5, 10)
    assert other is not None
    assert other.body == OTHER[5:15]
    assert other.etag != part.etag


@pytest.mark.parametrize("start", [len(BODY) - 10, len(BODY), len(BODY) + 10])
def test_a_part_past_the_end_is_an_error(served: Served, start: int) -> None:
    """An object that is shorter gives no part that is shorter than asked for."""
    with pytest.raises(StoreError, match=IMAGE):
        served.store.read_part(IMAGE, start, 20)


def test_a_missing_object(served: Served) -> None:
    """What is not there is FileNotFoundError."""
    with pytest.raises(FileNotFoundError):
        served.store.read_part("images/none", 0, 1)


@pytest.mark.parametrize(("name", "start", "size"), [(IMAGE, -1, 5), (IMAGE, 0, 0), ("../x", 0, 5)])
def test_no_part(served: Served, name: str, start: int, size: int) -> None:
    """A span without bytes, and a name that no object has, are refused."""
    with pytest.raises(ValueError, match="part of|object name"):
        served.store.read_part(name, start, size)


@pytest.mark.parametrize(
    ("header", "found"),
    [('"a"', '"a"'), (' "a" ', '"a"'), ('W/"a"', ""), (None, ""), ("a", ""), ('"\x01"', "")],
)
def test_only_a_strong_etag_pins_a_state(header: str | None, found: str) -> None:
    """A weak ETag may stay the same for other bytes (RFC 9110 8.8.1), so it is not used."""
    assert strong_etag(header) == found


# ---- servers with faults -------------------------------------------------------


def shorter(body: bytes) -> bytes:
    """A body that lacks its last byte."""
    return body[:-1]


@pytest.fixture(params=["s3", "botocore"])
def faulty(
    request: pytest.FixtureRequest, s3: S3Environment, proxy: FaultProxy, monkeypatch: Any
) -> tuple[S3Store, FaultProxy]:
    """A store on S3 behind a proxy with faults, with an object."""
    S3Store(f"s3://{s3.bucket}/published", client=s3.client).write(IMAGE, BODY)
    for name, value in environment_variables(proxy.endpoint).items():
        monkeypatch.setenv(name, value)
    proxy.faults.clear()
    proxy.methods.clear()
    store = S3Store(f"s3://{s3.bucket}/published")
    if request.param == "botocore":
        store.getter = None
    return store, proxy


@pytest.mark.parametrize(
    "fault", [BROKEN_BODY, CONNECTION_RESET, Fault(status=503, code="SlowDown")]
)
def test_a_request_that_broke_off_is_sent_again(
    faulty: tuple[S3Store, FaultProxy], fault: Fault
) -> None:
    """One answer that broke off, or a refusal that passes, costs another request."""
    store, proxy = faulty
    if store.getter is None and fault is not proxy.always and fault.status is None:
        # botocore repeats requests, and not bodies that break off.
        proxy.faults.append(fault)
        with pytest.raises(StoreUnavailableError):
            store.read_part(IMAGE, 7, 65536)
        return
    proxy.faults.append(fault)
    part = store.read_part(IMAGE, 7, 65536)
    assert part is not None
    assert part.body == BODY[7 : 7 + 65536]
    assert len(proxy.methods) == 2


def test_a_slow_part_ends(faulty: tuple[S3Store, FaultProxy], monkeypatch: Any) -> None:
    """A part that comes in drops ends with the time limit."""
    store, proxy = faulty
    monkeypatch.setattr(s3, "READ_SECONDS", 0.5)
    proxy.faults.append(SLOW_BODY)
    begun = time.monotonic()
    with pytest.raises(StoreUnavailableError, match="timed out"):
        store.read_part(IMAGE, 0, 65536)
    assert time.monotonic() - begun < 10


# ---- web servers with faults ----------------------------------------------------


@pytest.fixture
def https(web: WebServer) -> tuple[HttpsStore, WebServer]:
    """A store at a URL, with an object."""
    (web.root / IMAGE).write_bytes(BODY)
    return HttpsStore(web.url), web


def ranged(content_range: str, body: bytes) -> Callable[[BaseHTTPRequestHandler], None]:
    """Answer 206 with a body and a Content-Range of one's own."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(206)
        handler.send_header("Content-Range", content_range)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    return answer


@pytest.mark.parametrize(
    "fault",
    [
        hang_up,
        refusing(503),
        ranged("bytes 0-99/256000", BODY[:100]),
        ranged("bytes 100-198/256000", BODY[100:199]),
        ranged("", BODY[100:200]),
        ranged("bytes 100-199/256000", BODY[100:199]),
        ranged("bytes 100-199/256000", BODY[100:201]),
    ],
    ids=["hung up", "503", "another range", "short range", "no range", "short body", "long body"],
)
def test_another_part_is_asked_for_again(https: tuple[HttpsStore, WebServer], fault: Any) -> None:
    """An answer that is not the part that was asked for is not taken; the next one may be."""
    store, web = https
    web.faults.append(fault)
    part = store.read_part(IMAGE, 100, 100)
    assert part is not None
    assert part.body == BODY[100:200]
    web.faults.extend([fault] * 9)
    with pytest.raises(StoreUnavailableError):
        store.read_part(IMAGE, 100, 100)


def test_a_server_that_does_not_send_parts(https: tuple[HttpsStore, WebServer]) -> None:
    """A server that sends all of a large object is named, and its body is not read."""
    store, web = https
    web.ranges = False
    with pytest.raises(PartsUnsupportedError, match=IMAGE) as caught:
        store.read_part(IMAGE, 0, 100)
    assert caught.value.store == f"{web.url}/{IMAGE}"
    whole = store.read_part(IMAGE, 0, len(BODY))
    assert whole is not None
    assert whole.body == BODY
    web.ranges, web.encoding = True, "gzip"
    with pytest.raises(PartsUnsupportedError):
        store.read_part(IMAGE, 0, 100)


def test_the_etag_pins_the_state(https: tuple[HttpsStore, WebServer]) -> None:
    """If-Match is sent with an etag, and never without one."""
    store, web = https
    part = store.read_part(IMAGE, 0, 100)
    assert part is not None
    assert "if-match" not in web.headers_of_last()
    store.read_part(IMAGE, 100, 100, etag=part.etag)
    assert web.headers_of_last()["if-match"] == part.etag
    assert web.headers_of_last()["range"] == "bytes=100-199"
    web.etags = False
    without = store.read_part(IMAGE, 0, 100)
    assert without is not None
    assert without.etag == ""


def test_a_slow_server_ends(
    https: tuple[HttpsStore, WebServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A part that comes in drops ends with the time limit."""
    store, web = https
    monkeypatch.setattr(https_module, "READ_SECONDS", 0.5)

    def dribble(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(206)
        handler.send_header("Content-Range", "bytes 0-99/256000")
        handler.send_header("Content-Length", "100")
        handler.end_headers()
        for _ in range(50):
            handler.wfile.write(b"x")
            time.sleep(0.1)

    web.faults.append(dribble)
    begun = time.monotonic()
    with pytest.raises(StoreUnavailableError):
        store.read_part(IMAGE, 0, 100)
    assert time.monotonic() - begun < 5


def test_an_s3_server_that_does_not_send_parts(
    s3: S3Environment, monkeypatch: pytest.MonkeyPatch, web: WebServer
) -> None:
    """The same of a server of S3, by both of its readers."""
    (web.root / IMAGE).write_bytes(BODY)
    web.ranges = False
    endpoint = web.url.removesuffix("/published")
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    monkeypatch.setenv("AWS_CA_BUNDLE", str(web.root.parent / "server.pem"))
    # Its path has the bucket's name first.
    store = S3Store("s3://published")
    with pytest.raises(PartsUnsupportedError):
        store.read_part(IMAGE, 0, 100)
    store.getter = None
    with pytest.raises(PartsUnsupportedError):
        store.read_part(IMAGE, 0, 100)
