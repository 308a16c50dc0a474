"""
Signed GETs of our own: the signature, when they are used, parts, and time limits.
"""

from __future__ import annotations

import os
import re
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest

from crlcheck.demo.loopback import serving, url_of
from crlcheck.demo.tls import server_certificate
from crlcheck.errors import StoreUnavailableError
from crlcheck.stores import S3Store, deadline, object_store
from crlcheck.stores import s3 as s3_module
from crlcheck.stores.s3_http import S3Getter, S3RefusalError, S3SilenceError
from support.attacks import ATTACKS, Attack, attacking, seconds_of
from support.fault_proxy import SLOW_BODY, Fault, FaultProxy
from support.moto_server import S3Environment, make_client

PLAIN = {
    "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
    "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
    "AWS_REGION": "eu-central-1",
    "AWS_CONFIG_FILE": os.devnull,
}


def getter(bucket: str = "crl-images", **changes: str) -> S3Getter | None:
    """What an environment like PLAIN makes."""
    return S3Getter.from_environment(bucket, {**PLAIN, **changes})


def far() -> float:
    """A deadline that no test reaches."""
    return time.monotonic() + 30


# ---- signature ---------------------------------------------------------------


@pytest.mark.parametrize("token", [None, "a/session+token=="])
@pytest.mark.parametrize("key", ["catalog.json", "a b/ü+~_%41/x", "images/0f-1.crlx"])
def test_the_signature_is_botocore_s(key: str, token: str | None) -> None:
    """
    For any key, with and without a session token, botocore signs alike.
    """
    from botocore.auth import S3SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials

    own = getter(**({} if token is None else {"AWS_SESSION_TOKEN": token}))
    assert own is not None
    scheme, host, path = own._place(key)
    signed = own._signed(host, path)
    request = AWSRequest("GET", f"{scheme}://{host}{path}", headers={})
    request.context["timestamp"] = signed["x-amz-date"]
    request.context["signing"] = {}
    signer = S3SigV4Auth(
        Credentials(PLAIN["AWS_ACCESS_KEY_ID"], PLAIN["AWS_SECRET_ACCESS_KEY"], token),
        "s3",
        "eu-central-1",
    )
    request.headers["X-Amz-Date"] = signed["x-amz-date"]
    request.headers["X-Amz-Content-SHA256"] = signed["x-amz-content-sha256"]
    if token is not None:
        request.headers["X-Amz-Security-Token"] = token
    text = signer.string_to_sign(request, signer.canonical_request(request))
    expected = signer.signature(text, request)
    assert re.search("Signature=([0-9a-f]{64})$", signed["authorization"])[1] == expected  # type: ignore[index]
    assert set(re.search("SignedHeaders=([^,]+)", signed["authorization"])[1].split(";")) == set(  # type: ignore[index]
        signer.signed_headers(signer.headers_to_sign(request)).split(";")
    )


def test_a_signature_serves_for_a_few_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Polls of one object share it; another object, a later time and a clock that was
    set back get one of their own.
    """
    own = getter()
    assert own is not None
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now)
    first = own._request("a")
    now += 9
    assert own._request("a") is first
    now += 2
    second = own._request("a")
    assert second is not first
    now -= 100
    assert own._request("a") is not second
    assert own._request("b")[2] == "/b"


@pytest.mark.parametrize(
    ("changes", "host", "path"),
    [
        ({}, "https://crl-images.s3.eu-central-1.amazonaws.com", "/a"),
        ({"AWS_REGION": "cn-north-1"}, "https://crl-images.s3.cn-north-1.amazonaws.com.cn", "/a"),
        ({"AWS_ENDPOINT_URL": "http://localhost:9"}, "http://localhost:9", "/crl-images/a"),
        (
            {"AWS_ENDPOINT_URL": "http://one", "AWS_ENDPOINT_URL_S3": "https://two/"},
            "https://two",
            "/crl-images/a",
        ),
    ],
)
def test_where_a_request_goes(changes: dict[str, str], host: str, path: str) -> None:
    """
    To the region's endpoint of the bucket, or to the one that is set, by path.
    """
    own = getter(**changes)
    assert own is not None
    assert own._place("a") == (*host.split("://"), path)


@pytest.mark.parametrize(
    "changes",
    [
        {"AWS_ACCESS_KEY_ID": ""},
        {"AWS_SECRET_ACCESS_KEY": ""},
        {"AWS_REGION": ""},
        {"AWS_REGION": "us-iso-east-1"},
        {"AWS_PROFILE": "default"},
        {"AWS_USE_FIPS_ENDPOINT": "true"},
        {"HTTPS_PROXY": "http://proxy:3128"},
        {"AWS_ENDPOINT_URL": "http://host/with/a/path"},
        {"AWS_CONFIG_FILE": __file__},
    ],
)
def test_any_other_environment_is_botocore_s(changes: dict[str, str]) -> None:
    """
    Where anything might lead elsewhere, botocore finds the way.
    """
    assert getter() is not None
    assert getter(**changes) is None


@pytest.mark.parametrize("bucket", ["with.dots", "arn:aws:s3:::x", "UPPER", "x", "a b"])
def test_any_other_bucket_is_botocore_s(bucket: str) -> None:
    """
    Names that are no plain host label have rules of their own.
    """
    assert getter(bucket) is None


# ---- large objects -----------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, 999, 1000, 1001, 2000, 9001])
@pytest.mark.parametrize("huge_pages_from", [1, 10_000])
def test_a_large_object_is_read_in_parts(
    size: int, huge_pages_from: int, s3: S3Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Whatever the size, and whatever memory they are read into, the parts make the object.
    """
    monkeypatch.setattr(s3_module, "_PART", 1000)
    monkeypatch.setattr(object_store, "_HUGE_PAGES_FROM", huge_pages_from)
    store = S3Store(f"s3://{s3.bucket}/p")
    assert store.getter is not None
    body = bytes(number * 7 % 251 for number in range(size))
    s3.client.put_object(Bucket=s3.bucket, Key="p/image", Body=body)
    assert bytes(store.load("image")) == body


@pytest.mark.parametrize("num_threads", [0, 1])
def test_where_no_more_threads_can_be_had_fewer_read_the_parts(
    num_threads: int, s3: S3Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A limit of the system costs time, not the image.
    """
    monkeypatch.setattr(s3_module, "_PART", 1000)
    body = bytes(number * 7 % 251 for number in range(9001))
    s3.client.put_object(Bucket=s3.bucket, Key="p/image", Body=body)
    started: list[str] = []
    start = threading.Thread.start

    def start_some(thread: threading.Thread) -> None:
        if "read_parts" in thread.name:
            if len(started) == num_threads:
                raise RuntimeError("can't start new thread")
            started.append(thread.name)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", start_some)
    assert bytes(S3Store(f"s3://{s3.bucket}/p").load("image")) == body
    assert len(started) == num_threads


@pytest.fixture
def behind(proxy: FaultProxy, s3: S3Environment, monkeypatch: pytest.MonkeyPatch) -> S3Store:
    """A store whose reads go through the proxy, with an image of 9,001 bytes."""
    proxy.faults.clear()
    proxy.always = Fault(part=1)
    s3.client.put_object(Bucket=s3.bucket, Key="p/image", Body=bytes(9001))
    monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.endpoint)
    return S3Store(f"s3://{s3.bucket}/p", load_seconds=1.0)


def test_parts_of_two_states_are_never_put_together(
    behind: S3Store, proxy: FaultProxy, s3: S3Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    An object that is replaced while it is read is not read at all.
    """
    monkeypatch.setattr(s3_module, "_PART", 5000)

    def replace(body: bytes) -> bytes:
        s3.client.put_object(Bucket=s3.bucket, Key="p/image", Body=b"x" * 9001)
        return body

    proxy.faults.append(Fault(part=1, change=replace))
    with pytest.raises(StoreUnavailableError, match="412 PreconditionFailed"):
        behind.load("image")
    assert behind.load("image") == b"x" * 9001


def test_a_part_that_is_short_is_read_again(
    behind: S3Store, proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A body that breaks off costs another attempt of that part alone.
    """
    monkeypatch.setattr(s3_module, "_PART", 5000)
    proxy.methods.clear()
    proxy.faults.extend([Fault(part=1), Fault(part=0.5)])
    assert behind.load("image") == bytes(9001)
    assert len(proxy.methods) == 3


# ---- time --------------------------------------------------------------------


@pytest.mark.parametrize("by", ["own", "botocore"])
@pytest.mark.parametrize("operation", ["load", "read", "read_if_changed"])
def test_a_slow_body_is_left_in_time(
    operation: str,
    by: str,
    behind: S3Store,
    proxy: FaultProxy,
    s3: S3Environment,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    A body that comes drop by drop takes no longer than the limit, although no
    single drop is late; whoever reads it.
    """
    store = behind
    if by == "botocore":
        monkeypatch.setenv("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "false")
        store = S3Store(behind.url, load_seconds=1.0)
        assert store.getter is None
        store.read("image")  # imports what it needs
    monkeypatch.setattr(s3_module, "READ_SECONDS", 1.0)
    proxy.always = SLOW_BODY
    started = time.monotonic()
    arguments = ["image", "?"] if operation == "read_if_changed" else ["image"]
    with pytest.raises(StoreUnavailableError, match="image: .*timed out"):
        getattr(store, operation)(*arguments)
    assert 0.9 < time.monotonic() - started < 15.0, "the body takes thirty seconds"


def test_a_client_of_one_s_own_has_its_own_patience(
    behind: S3Store, proxy: FaultProxy, s3: S3Environment
) -> None:
    """
    Its time-outs are the caller's, so that reading is waited for; an image, no
    longer than was said.
    """
    store = S3Store(behind.url, client=make_client(proxy.endpoint), load_seconds=1.0)
    etag = store.read("image").etag
    proxy.always = Fault(part=1, seconds=1.5)
    assert store.read("image").body == bytes(9001)
    assert store.read_if_changed("image", f"{etag}?") is not None
    with pytest.raises(StoreUnavailableError, match="timed out"):
        store.load("image")


def test_a_server_that_is_not_there_is_left_at_once() -> None:
    """
    A refused connection is tried again, within the limit.
    """
    own = getter(AWS_ENDPOINT_URL="http://127.0.0.1:9")
    assert own is not None
    started = time.monotonic()
    with pytest.raises(S3SilenceError, match=re.escape("127.0.0.1:9")):
        own.get("a", deadline=time.monotonic() + 5)
    assert time.monotonic() - started < 2.0


# ---- connections -------------------------------------------------------------


class _KeepAlive(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    connections: ClassVar[set[Any]] = set()
    hang_up = False

    def do_GET(self) -> None:
        self.connections.add(self.client_address)
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.send_header("ETag", '"e"')
        self.end_headers()
        self.wfile.write(b"ok")
        self.close_connection = type(self).hang_up

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


@pytest.fixture
def keep_alive() -> Iterator[ThreadingHTTPServer]:
    """A server that keeps connections, unless ``_KeepAlive.hang_up``."""
    _KeepAlive.connections = set()
    _KeepAlive.hang_up = False
    with serving(_KeepAlive) as server:
        yield server


def test_a_connection_is_used_again(keep_alive: ThreadingHTTPServer) -> None:
    """
    Polls share one connection; one that the server has closed is noticed before
    it is used.
    """
    own = getter(AWS_ENDPOINT_URL=url_of(keep_alive))
    assert own is not None
    for _ in range(3):
        assert own.get("a", deadline=far()).body == b"ok"
    assert len(_KeepAlive.connections) == 1
    _KeepAlive.hang_up = True
    own.get("a", deadline=far())
    assert own._connections._idle
    time.sleep(0.1)
    assert deadline._has_ended(own._connections._idle[-1][1])
    assert own.get("a", deadline=far()).body == b"ok"
    assert len(_KeepAlive.connections) == 2


def test_a_fork_shares_no_connection(keep_alive: ThreadingHTTPServer) -> None:
    """
    Two processes that answer on one connection would read each other's answers.
    """
    own = getter(AWS_ENDPOINT_URL=url_of(keep_alive))
    assert own is not None
    own.get("a", deadline=far())
    own._connections._owner -= 1  # as in a child, whose process id is another one
    own.get("a", deadline=far())
    assert len(_KeepAlive.connections) == 2


def test_tls_is_verified(
    keep_alive: ThreadingHTTPServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Over TLS the server must show a certificate of a trusted authority for its name.
    """
    certificate, key = server_certificate()
    (tmp_path / "server.pem").write_bytes(certificate + key)
    (tmp_path / "ca.pem").write_bytes(certificate)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "server.pem")
    keep_alive.socket = context.wrap_socket(keep_alive.socket, server_side=True)
    keep_alive.handle_error = lambda *_: None  # type: ignore[method-assign]
    port = keep_alive.server_port
    trusting = {"AWS_CA_BUNDLE": str(tmp_path / "ca.pem")}
    own = getter(AWS_ENDPOINT_URL=f"https://localhost:{port}", **trusting)
    assert own is not None
    assert own.get("a", deadline=far()).body == b"ok"
    for endpoint, more in (
        (f"https://localhost:{port}", {}),
        (f"https://127.0.0.1:{port}", trusting),
    ):
        own = getter(AWS_ENDPOINT_URL=endpoint, **more)
        assert own is not None
        with pytest.raises(S3SilenceError, match="CERTIFICATE_VERIFY_FAILED"):
            own.get("a", deadline=far())


def test_a_bucket_of_another_region_is_found() -> None:
    """
    S3 says in which region the bucket is; the request is signed for that one then.
    """
    own = getter()
    assert own is not None

    class Redirect:
        status = 301
        headers: ClassVar = {"x-amz-bucket-region": "us-west-2"}

    own._note_region(Redirect())  # type: ignore[arg-type]
    scheme, host, path = own._place("a")
    assert (scheme, host) == ("https", "crl-images.s3.us-west-2.amazonaws.com")
    assert "/us-west-2/s3/" in own._signed(host, path)["authorization"]


@pytest.mark.parametrize("secured", [False, True], ids=["http", "https"])
@pytest.mark.parametrize(
    "attack", [attack for name, attack in ATTACKS.items() if name != "redirects"]
)
def test_no_answer_outlasts_the_deadline(attack: Attack, secured: bool, tmp_path: Path) -> None:
    """
    Wherever in an answer an endpoint does not come to an end, by drops or by floods.
    """
    context = None
    changes = {}
    if secured:
        certificate, key = server_certificate()
        (tmp_path / "server.pem").write_bytes(key + certificate)
        (tmp_path / "ca.pem").write_bytes(certificate)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(tmp_path / "server.pem")
        changes["AWS_CA_BUNDLE"] = str(tmp_path / "ca.pem")

    with attacking(attack, context) as port:
        scheme = "https" if secured else "http"
        own = getter(AWS_ENDPOINT_URL=f"{scheme}://localhost:{port}", **changes)
        assert own is not None

        def attempt() -> None:
            with pytest.raises((S3SilenceError, S3RefusalError)) as caught:
                own.get("catalog.json", deadline=time.monotonic() + 0.5)
            assert "certificate" not in str(caught.value)

        assert seconds_of(attempt) < 10


def test_a_name_that_is_not_resolved_is_left_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    The system's resolver has no time limit of its own.
    """
    answered = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: answered.wait(20))
    own = getter()
    assert own is not None

    def attempt() -> None:
        with pytest.raises(S3SilenceError, match="timed out"):
            own.get("catalog.json", deadline=time.monotonic() + 0.3)

    assert seconds_of(attempt) < 10
    answered.set()
