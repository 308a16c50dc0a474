"""
Stores that are read over HTTPS: polls, broken downloads, redirects, limits, and what is refused.
"""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult

import pytest

from crlcheck.errors import ReadOnlyStoreError, StoreError, StoreUnavailableError
from crlcheck.remedies import remedy_of
from crlcheck.stores import ObjectStore, https, open_for_writing, open_store
from crlcheck.stores.deadline import TimedSocket, reach_directly
from crlcheck.stores.doctor import examine_store
from crlcheck.stores.https import HttpsStore
from support.http_proxy import forward_proxy
from support.web_server import WebServer, hang_up, refusing, web_server

NAME = "catalog.json"
IMAGE = "images/0f-1.crlx"


@pytest.fixture
def web(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[WebServer]:
    """A server over TLS, whose certificate is trusted, with a catalog and an image."""
    root = tmp_path / "root"
    (root / "images").mkdir(parents=True)
    (root / NAME).write_bytes(b"1")
    (root / IMAGE).write_bytes(bytes(range(256)) * 4000)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "server.pem"))
    with web_server(root, tmp_path) as server:
        yield server


@pytest.fixture
def store(web: WebServer) -> HttpsStore:
    """The store at the server's URL."""
    found = open_store(web.url)
    assert isinstance(found, HttpsStore)
    return found


# ---- reading ---------------------------------------------------------------------


def test_it_is_a_store(web: WebServer, store: HttpsStore) -> None:
    """It has the protocol's members, and its URL opens it again."""
    assert isinstance(store, ObjectStore)
    assert store.url == web.url
    opened = open_store(store.url + "/")
    assert opened.url == store.url
    assert opened.read(NAME).body == b"1"


@pytest.mark.parametrize("body", [b"", b"x", bytes(range(256)) * 40_000])
@pytest.mark.parametrize("sizes", [True, False])
@pytest.mark.parametrize("encoding", ["", "gzip", "x-gzip", "identity"])
def test_what_is_served_is_read(
    web: WebServer, store: HttpsStore, body: bytes, sizes: bool, encoding: str
) -> None:
    """
    Bodies of any size come as they are, with or without a Content-Length, and unpacked
    where a server packs what nobody asked it to.
    """
    web.sizes, web.encoding = sizes, encoding
    (web.root / IMAGE).write_bytes(body)
    assert store.read(IMAGE).body == body
    assert store.load(IMAGE)[:] == body
    assert web.headers_of_last()["accept-encoding"] == "identity"


@pytest.mark.parametrize("name", ["a b", "ä/ö", "a%2Fb", "a+b?c#d", "x;y=z&w", "100%"])
def test_any_name_is_in_the_path(web: WebServer, store: HttpsStore, name: str) -> None:
    """Every name of an object is one path, whatever its characters mean in a URL."""
    path = web.root / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"found")
    assert store.read(name).body == b"found"


@pytest.mark.parametrize("status", [404, 410])
def test_missing_objects(web: WebServer, store: HttpsStore, status: int) -> None:
    """What is not there is FileNotFoundError with its URL, and is asked for once."""
    reads: list[Callable[[str], object]] = [
        store.read,
        store.load,
        lambda name: store.read_if_changed(name, None),
    ]
    for number, read in enumerate(reads, 1):
        web.faults.append(refusing(status))
        with pytest.raises(FileNotFoundError, match=f"{store.url}/images/none"):
            read("images/none")
        assert len(web.requests) == number


# ---- polls -----------------------------------------------------------------------


def poll(store: HttpsStore, etag: str | None) -> bytes | None:
    """The body if it changed."""
    found = store.read_if_changed(NAME, etag)
    return None if found is None else found.body


@pytest.mark.parametrize(
    ("etags", "date", "conditions"),
    [
        (True, None, {"if-none-match"}),
        (True, 3600.0, {"if-none-match", "if-modified-since"}),
        (False, 3600.0, {"if-modified-since"}),
        (False, 61.0, {"if-modified-since"}),
    ],
)
def test_a_poll_is_a_conditional_get(
    web: WebServer, store: HttpsStore, etags: bool, date: float | None, conditions: set[str]
) -> None:
    """
    By the ETag and the Last-Modified that the server sends, so that without a change no
    body is sent.
    """
    web.etags, web.date = etags, date
    first = store.read_if_changed(NAME, None)
    assert first is not None
    assert "no-cache" in web.headers_of_last()["cache-control"]
    for _ in range(3):
        assert poll(store, first.etag) is None
        assert web.statuses[-1] == 304
        asked = web.headers_of_last()
        assert {"if-none-match", "if-modified-since"} & asked.keys() == conditions
        assert "cache-control" not in asked
    (web.root / NAME).write_bytes(b"2")
    web.date = None if date is None else 100.0
    assert poll(store, first.etag) == b"2"


@pytest.mark.parametrize(
    ("etags", "date"), [(True, 0.0), (True, 59.0), (False, 0.0), (False, 59.0), (False, None)]
)
def test_what_may_change_unseen_is_read_at_each_poll(
    web: WebServer, store: HttpsStore, etags: bool, date: float | None
) -> None:
    """
    A server that makes its ETag of time and size has the same one for two catalogs of one
    second. Until the Last-Modified is old enough, and where there is neither, each poll
    reads the catalog; it answers by the contents all the same.
    """
    web.etags, web.date = etags, date
    first = store.read_if_changed(NAME, None)
    assert first is not None
    for _ in range(2):
        assert poll(store, first.etag) is None
        assert web.statuses[-1] == 200
    (web.root / NAME).write_bytes(b"2")
    assert poll(store, first.etag) == b"2"


def test_a_poll_becomes_conditional_when_that_is_safe(web: WebServer, store: HttpsStore) -> None:
    """The poll after a minute reads the catalog for the last time."""
    web.date = 10.0
    first = store.read_if_changed(NAME, None)
    assert first is not None
    for date, status in ((30.0, 200), (100.0, 200), (100.0, 304)):
        web.date = date
        assert poll(store, first.etag) is None
        assert web.statuses[-1] == status


def test_a_server_that_ignores_conditions_is_answered_by_contents(
    web: WebServer, store: HttpsStore
) -> None:
    """Another ETag for the same contents, as another machine of a network has it, is no change."""
    first = store.read_if_changed(NAME, None)
    assert first is not None

    def another(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("ETag", 'W/"another"')
        handler.send_header("Content-Length", "1")
        handler.end_headers()
        handler.wfile.write(b"1")

    web.faults.append(another)
    assert poll(store, first.etag) is None
    assert poll(store, first.etag) is None
    assert web.headers_of_last()["if-none-match"] == 'W/"another"'


def test_an_etag_of_before_asks_without_a_condition(web: WebServer, store: HttpsStore) -> None:
    """The headers of another state must not stand for the one that is asked about."""
    first = store.read_if_changed(NAME, None)
    (web.root / NAME).write_bytes(b"2")
    assert first is not None
    assert poll(store, first.etag) == b"2"
    assert poll(store, first.etag) == b"2"


def test_another_object_s_validators_are_not_its_own(web: WebServer, store: HttpsStore) -> None:
    """Two objects of the same contents have ETags of their own at many servers."""
    (web.root / "other").write_bytes((web.root / NAME).read_bytes())
    first = store.read_if_changed(NAME, None)
    assert first is not None
    assert store.read_if_changed("other", first.etag) is None
    assert "if-none-match" not in web.headers_of_last()


def test_304_without_a_condition_is_a_failure(web: WebServer, store: HttpsStore) -> None:
    """A cache that is stuck says nothing about the object."""
    web.faults += [refusing(304)] * 3
    with pytest.raises(StoreUnavailableError, match="304"):
        store.read_if_changed(NAME, None)


@pytest.mark.parametrize("etag", ['"' + "x" * 600 + '"', '"\x07"', '"\xe9"'])
def test_an_etag_that_cannot_be_sent_back_is_none(
    web: WebServer, store: HttpsStore, etag: str
) -> None:
    """It is no header of ours: the poll reads the catalog."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nETag: " + etag.encode("latin-1") + b"\r\n")
        handler.wfile.write(b"Content-Length: 1\r\n\r\n1")

    web.faults += [answer] * 2
    first = store.read_if_changed(NAME, None)
    assert first is not None
    assert store.conditions == {}
    assert poll(store, first.etag) is None


# ---- downloads that break off ----------------------------------------------------


def test_a_broken_download_goes_on_where_it_broke(web: WebServer, store: HttpsStore) -> None:
    """However often it breaks, each attempt asks for the rest of the same state."""
    whole = (web.root / IMAGE).read_bytes()
    web.break_after = 100_000
    assert store.load(IMAGE)[:] == whole
    assert len(web.requests) == -(-len(whole) // web.break_after)
    for number, (_, headers) in enumerate(web.requests[1:], 1):
        assert headers["range"] == f"bytes={number * web.break_after}-"
        assert headers["if-range"].startswith('"')


@pytest.mark.parametrize(("etags", "date"), [(True, 0.0), (False, 3600.0)])
def test_any_strong_validator_will_do(
    web: WebServer, store: HttpsStore, etags: bool, date: float
) -> None:
    """A Last-Modified that is old enough is one, too."""
    web.etags, web.date, web.break_after = etags, date, 700_000
    assert store.load(IMAGE)[:] == (web.root / IMAGE).read_bytes()
    assert [status for status in web.statuses if status != 200] == [206]


@pytest.mark.parametrize("sizes", [True, False])
@pytest.mark.parametrize("date", [None, 0.0])
def test_without_a_validator_a_download_begins_anew(
    web: WebServer, store: HttpsStore, date: float | None, sizes: bool
) -> None:
    """Parts of two states must never become one object."""
    web.etags, web.date, web.sizes = False, date, sizes
    whole = (web.root / IMAGE).read_bytes()

    def broken(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(whole)))
        handler.end_headers()
        handler.wfile.write(b"x" * 1000)
        handler.close_connection = True

    web.faults += [broken, broken]
    assert store.load(IMAGE)[:] == whole
    assert all("range" not in headers for _, headers in web.requests)


def test_a_weak_etag_is_no_ground_for_a_part(web: WebServer, store: HttpsStore) -> None:
    """RFC 9110 13.1.5: If-Range needs a strong one, because the bytes of a weak one may differ."""

    def broken(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("ETag", 'W/"weak"')
        handler.send_header("Content-Length", "1000")
        handler.end_headers()
        handler.wfile.write(b"x" * 500)
        handler.close_connection = True

    web.faults.append(broken)
    assert store.load(IMAGE)[:] == (web.root / IMAGE).read_bytes()
    assert "range" not in web.headers_of_last()


def test_an_object_that_was_replaced_meanwhile_is_read_anew(
    web: WebServer, store: HttpsStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If-Range makes the server send all of the new state."""
    web.break_after = 600_000

    def changed(handler: BaseHTTPRequestHandler) -> None:
        (web.root / IMAGE).write_bytes(b"new" * 1000)
        hang_up(handler)

    served = store._attempt
    calls = iter([None, changed])

    def attempt(*arguments: Any) -> None:
        fault = next(calls, None)
        if fault is not None:
            web.faults.append(fault)
        served(*arguments)

    monkeypatch.setattr(store, "_attempt", attempt)
    assert store.load(IMAGE)[:] == b"new" * 1000


def with_range(start: int, end: int, total: int, etag: str = "", encoding: str = "") -> Any:
    """Answer 206 with such a range."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(206)
        handler.send_header("Content-Range", f"bytes {start}-{end}/{total}")
        handler.send_header("Content-Length", str(end - start + 1))
        if etag:
            handler.send_header("ETag", etag)
        if encoding:
            handler.send_header("Content-Encoding", encoding)
        handler.end_headers()
        handler.wfile.write(b"y" * (end - start + 1))

    return answer


@pytest.mark.parametrize(
    "wrong",
    [
        with_range(0, 1023_999, 1024_000),
        with_range(999_999, 1023_999, 1024_000),
        with_range(1000_000, 1023_998, 1024_000),
        with_range(1000_000, 1023_999, 1024_001),
        with_range(1000_000, 1023_999, 1024_000, etag='"other"'),
        with_range(1000_000, 1023_999, 1024_000, encoding="gzip"),
        refusing(416),
    ],
)
def test_another_part_than_the_rest_is_not_taken(
    web: WebServer, store: HttpsStore, wrong: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A part of another place, size, state or coding makes the download begin anew."""
    whole = (web.root / IMAGE).read_bytes()
    web.break_after = 1000_000
    taken = store._attempt
    wrongs = iter([None, wrong])

    def attempt(*arguments: Any) -> None:
        fault = next(wrongs, None)
        if fault is not None:
            web.faults.append(fault)
            web.break_after = None
        taken(*arguments)

    monkeypatch.setattr(store, "_attempt", attempt)
    assert store.load(IMAGE)[:] == whole
    assert "range" not in web.headers_of_last()


def test_a_part_that_was_not_asked_for_is_refused(web: WebServer, store: HttpsStore) -> None:
    """206 to a request without a range is no whole object."""
    for read in (store.read, store.load):
        web.faults.append(with_range(0, 9, 10))
        with pytest.raises(StoreError, match="206, expected 200"):
            read(IMAGE)


# ---- attempts, time and size -----------------------------------------------------


@pytest.mark.parametrize("fault", [hang_up, refusing(500), refusing(503), refusing(429)])
def test_what_may_pass_is_tried_again(web: WebServer, store: HttpsStore, fault: Any) -> None:
    """Two failures cost an attempt each; the third ends it."""
    web.faults += [fault, fault]
    assert store.read(NAME).body == b"1"
    web.faults += [fault] * 3
    with pytest.raises(StoreUnavailableError, match=store.url):
        store.read(NAME)
    assert not web.faults


@pytest.mark.parametrize(
    ("status", "kind"),
    [(400, StoreError), (401, StoreUnavailableError), (403, StoreUnavailableError),
     (501, StoreError), (204, StoreError), (300, StoreError)],
)  # fmt: skip
def test_what_lasts_is_not_tried_again(
    web: WebServer, store: HttpsStore, status: int, kind: type[StoreError]
) -> None:
    """The error has the URL and the status."""
    web.faults.append(refusing(status))
    with pytest.raises(StoreError, match=f"{store.url}/{NAME}: was answered {status}") as failure:
        store.read(NAME)
    assert type(failure.value) is kind
    assert len(web.requests) == 1


@pytest.mark.parametrize("folder", ["history", "status"])
def test_what_many_servers_refuse_is_said(web: WebServer, store: HttpsStore, folder: str) -> None:
    """
    docs/guides/stores.md tells operators not to serve these two; other objects have no such reason.
    """
    web.faults.extend([refusing(403), refusing(403)])
    with pytest.raises(StoreUnavailableError, match=f"many refuse {folder}/ to outsiders"):
        store.read(f"{folder}/1.json")
    with pytest.raises(StoreUnavailableError) as failure:
        store.read(NAME)
    assert "outsiders" not in str(failure.value)
    assert failure.value.status == 403
    assert "try again" not in str(remedy_of(failure.value))


@pytest.mark.parametrize("whole", ["poll", "read", "load"])
def test_time_limits(
    web: WebServer, store: HttpsStore, whole: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A body that comes drop by drop ends with the time that is allowed."""
    monkeypatch.setattr(https, "POLL_SECONDS", 0.5)
    monkeypatch.setattr(https, "READ_SECONDS", 0.5)
    store = HttpsStore(web.url, load_seconds=0.5)

    def drops(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", "1000")
        handler.end_headers()
        for _ in range(1000):
            handler.wfile.write(b"x")
            time.sleep(0.05)

    web.faults.append(drops)
    reads: dict[str, Callable[[], object]] = {
        "poll": lambda: store.read_if_changed(NAME, "etag"),
        "read": lambda: store.read(NAME),
        "load": lambda: store.load(NAME),
    }
    started = time.monotonic()
    with pytest.raises(StoreUnavailableError, match="timed out"):
        reads[whole]()
    assert time.monotonic() - started < 10


@pytest.mark.parametrize("sizes", [True, False])
@pytest.mark.parametrize("encoding", ["", "gzip"])
def test_small_objects_are_bounded(
    web: WebServer, store: HttpsStore, sizes: bool, encoding: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By what is announced, by what comes, and by what it unpacks to; an image is not bounded."""
    monkeypatch.setattr(https, "_MAX_SMALL", 1000)
    web.sizes, web.encoding = sizes, encoding
    (web.root / NAME).write_bytes(b"x" * 1000)
    assert len(store.read(NAME).body) == 1000
    (web.root / NAME).write_bytes(b"x" * 1001)
    with pytest.raises(StoreError, match=f"{NAME}: found .* allowed are 1000"):
        store.read(NAME)
    with pytest.raises(StoreError, match="allowed are 1000"):
        store.read_if_changed(NAME, None)
    assert len(store.load(NAME)) == 1001
    monkeypatch.setattr(https, "_MAX_UNPACKED", 1000)
    if encoding:
        with pytest.raises(StoreError, match="allowed are 1000"):
            store.load(NAME)


def test_other_codings_are_refused(web: WebServer, store: HttpsStore) -> None:
    """The error names the coding, and what to do."""
    for encoding in ("br", "gzip, gzip", "deflate"):
        web.encoding = encoding
        for read in (store.read, store.load):
            with pytest.raises(StoreError, match=f"Content-Encoding '{encoding}', expected none"):
                read(NAME)


def test_damaged_gzip_is_a_failure(web: WebServer, store: HttpsStore) -> None:
    """It may pass, as what a cache has is replaced."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Encoding", "gzip")
        handler.send_header("Content-Length", "4")
        handler.end_headers()
        handler.wfile.write(b"oops")

    web.faults.append(answer)
    with pytest.raises(StoreUnavailableError, match="gzip data are damaged"):
        store.read(NAME)


# ---- TLS, redirects, proxies -----------------------------------------------------


def test_a_certificate_that_is_not_trusted_is_refused(
    web: WebServer, store: HttpsStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And so is one of another host; it is asked once."""
    reached: list[str] = []

    def reach(origin: SplitResult, deadline: float) -> TimedSocket:
        reached.append(origin.netloc)
        return reach_directly(origin, deadline)

    monkeypatch.setattr("crlcheck.stores.proxies.reach_directly", reach)
    monkeypatch.delenv("SSL_CERT_FILE")
    with pytest.raises(
        StoreUnavailableError, match=r"certificate verify failed.*SSL_CERT_FILE"
    ) as failure:
        HttpsStore(web.url).read(NAME)
    assert "try again" not in str(remedy_of(failure.value))
    monkeypatch.setenv("SSL_CERT_FILE", str(web.root.parent / "server.pem"))
    with pytest.raises(StoreUnavailableError, match="certificate verify failed"):
        HttpsStore(web.url.replace("localhost", "127.0.0.1")).read(NAME)
    assert web.requests == []
    assert len(reached) == 2
    assert store.read(NAME).body == b"1"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_followed(web: WebServer, store: HttpsStore, status: int) -> None:
    """Up to three of them, to a path or a URL, which may have a query."""
    for target in (f"/published/{NAME}", f"{web.url}/{NAME}?Signature=secret"):
        web.faults += [refusing(status, Location=target)] * 3
        assert store.read(NAME).body == b"1"
    web.faults += [refusing(status, Location=f"{web.url}/{NAME}?Signature=secret")] * 4
    with pytest.raises(StoreError, match="more than 3 redirects") as failure:
        store.read(NAME)
    assert "secret" not in str(failure.value)


def test_a_poll_and_the_rest_of_a_download_are_redirected(
    web: WebServer, store: HttpsStore
) -> None:
    """The conditions go with the request."""
    first = store.read_if_changed(NAME, None)
    assert first is not None
    web.faults.append(refusing(302, Location=f"/published/{NAME}"))
    assert poll(store, first.etag) is None
    web.break_after = 600_000
    web.faults.append(refusing(302, Location=f"/published/{IMAGE}"))
    assert len(store.load(IMAGE)) == 1024_000


@pytest.mark.parametrize(
    ("location", "said"),
    [
        ("", "nowhere"),
        ("http://localhost/x?token=secret", "not protected by TLS"),
        ("http://example.com/x", "not protected by TLS"),
        ("https://user:secret@localhost/x", "a user name"),
        ("ftp://localhost/x", "expected a URL"),
        ("file:///etc/passwd", "expected a URL"),
        ("https://[::1/x", "expected a URL"),
        ("https://localhost:99999/x", "expected a URL"),
    ],
)
def test_redirects_elsewhere_are_refused(
    web: WebServer, store: HttpsStore, location: str, said: str
) -> None:
    """Only TLS protects what is not signed; and no secret is repeated."""
    web.faults.append(refusing(302, Location=location))
    with pytest.raises(StoreError, match=said) as failure:
        store.read(NAME)
    assert "secret" not in str(failure.value)
    assert len(web.requests) == 1


def test_this_machine_may_do_without_tls(tmp_path: Path) -> None:
    """By http:// a server is read that nobody on the way can stand before."""
    (tmp_path / NAME).write_bytes(b"1")
    with web_server(tmp_path, None) as web:
        for url in (web.url, web.url.replace("localhost", "127.0.0.1")):
            store = open_store(url)
            assert store.read(NAME).body == b"1"
            web.faults.append(refusing(302, Location=f"{web.url}/{NAME}"))
            assert store.read(NAME).body == b"1"
        web.faults.append(refusing(302, Location="http://example.com/x"))
        with pytest.raises(StoreError, match="not protected by TLS"):
            store.read(NAME)


def test_connections_are_used_again(web: WebServer, store: HttpsStore) -> None:
    """Polls share one connection, and so one TLS handshake."""
    accepted: list[socket.socket] = []
    first = store.read_if_changed(NAME, None)
    assert first is not None
    (_, connection), *others = store._connections._idle
    accepted.append(connection.sock)
    assert others == []
    for _ in range(3):
        assert poll(store, first.etag) is None
        assert store._connections._idle[0][1].sock is accepted[0]
    assert isinstance(accepted[0], ssl.SSLSocket)


# ---- what cannot be done ---------------------------------------------------------


def test_nothing_can_be_written(web: WebServer, store: HttpsStore) -> None:
    """The error says what was to be done, and what to do instead; nothing is sent."""
    actions: dict[str, Callable[[], object]] = {
        "write": lambda: store.write(NAME, b"2", if_absent=True),
        "delete": lambda: store.delete(NAME),
        "list": lambda: store.names("images/"),
    }
    for operation, act in actions.items():
        with pytest.raises(ReadOnlyStoreError, match="can only be read") as failure:
            act()
        assert failure.value.operation == operation
        assert failure.value.store == store.url
    with pytest.raises(ReadOnlyStoreError, match="nothing can be changed there"):
        open_for_writing(store.url)
    assert web.requests == []


def test_bad_names_stay_bad(store: HttpsStore) -> None:
    """The rules for names are those of every store."""
    acts: list[Callable[[str], object]] = [
        store.read,
        store.load,
        store.delete,
        lambda name: store.read_if_changed(name, None),
        lambda name: store.write(name, b""),
    ]
    for act in acts:
        for name in ("../x", "/x", "a//b", ""):
            with pytest.raises(ValueError, match="object name"):
                act(name)


@pytest.mark.parametrize(
    "kind", ["good", "new", "no catalog", "no validators", "soft 404", "no ranges"]
)
def test_the_doctor_examines_reading(
    web: WebServer, store: HttpsStore, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether the catalog can be read, whether a poll can ask by a condition, 404 and ranges."""
    (web.root / NAME).write_bytes(b"a catalog")
    expected = {"get": "ok", "not modified": "ok", "missing": "ok", "ranges": "ok"}
    if kind == "new":
        web.date = 5.0
        expected["not modified"] = "warning"
    elif kind == "no catalog":
        (web.root / NAME).unlink()
        expected = {"get": "failed"}
    elif kind == "no validators":
        web.etags, web.date = False, None
        expected["not modified"] = "warning"
    elif kind == "no ranges":
        web.ranges = False
        expected["ranges"] = "warning"
    elif kind == "soft 404":
        expected["missing"] = "failed"

        def page(handler: BaseHTTPRequestHandler) -> None:
            handler.send_response(200)
            handler.send_header("Content-Length", "0")
            handler.end_headers()

        real = store._attempt

        def attempt(name: str, *arguments: Any) -> None:
            if name.startswith("images/"):
                web.faults.append(page)
            real(name, *arguments)

        monkeypatch.setattr(store, "_attempt", attempt)
    checks = list(examine_store(store))
    assert {check.name: check.outcome for check in checks} == expected
    assert all(check.remedy for check in checks if check.outcome != "ok")


def test_a_proxy_is_asked_for_the_server(web: WebServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The proxy that the environment names opens a tunnel; one that refuses is named."""
    monkeypatch.setattr("crlcheck.stores.proxies.is_loopback", lambda _: False)
    with forward_proxy() as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        assert HttpsStore(web.url).read(NAME).body == b"1"
    monkeypatch.setenv("HTTPS_PROXY", "socks5://user:secret@localhost:1")
    with pytest.raises(StoreUnavailableError, match="names the proxy") as failure:
        HttpsStore(web.url).read(NAME)
    assert "secret" not in str(failure.value)
