"""Fetching through the proxy that the environment names."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from crlcheck.demo.loopback import serving
from crlcheck.demo.tls import server_certificate
from crlcheck.errors import FetchError
from crlcheck.publisher.fetch import FetchLimits, fetch
from crlcheck.stores.proxies import proxy_for
from support.http_proxy import ForwardProxy, forward_proxy
from support.memory_store import MemoryStore

LIMITS = FetchLimits(connect_seconds=2, read_seconds=2, total_seconds=5)
VARIABLES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


@pytest.fixture
def environ(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Set these variables, and no others of proxies."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)

    def put(**variables: str) -> None:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)

    return put


@pytest.fixture
def no_names(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Let no name be looked up, as behind a proxy; the names that were tried."""
    real, tried = socket.getaddrinfo, []

    def look_up(host: str, *arguments: Any, **options: Any) -> Any:
        if host.replace(".", "").isdecimal():
            return real(host, *arguments, **options)
        tried.append(host)
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    return tried


@pytest.fixture
def proxy() -> Iterator[ForwardProxy]:
    """A proxy."""
    with forward_proxy() as made:
        yield made


@pytest.fixture
def site() -> Iterator[int]:
    """The port of a web server that answers every path with "abc"."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            assert "Proxy-Authorization" not in self.headers or self.path == "/leak"
            self.send_response(302 if self.path == "/moved" else 200)
            if self.path == "/moved":
                self.send_header("Location", f"http://other.test:{server.server_port}/ca.crl")
            self.send_header("Content-Length", "3")
            self.end_headers()
            self.wfile.write(b"abc")

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Keep the test's output to itself."""

    with serving(Handler) as server:
        yield server.server_port


def read_all(url: str, limits: FetchLimits = LIMITS) -> bytes:
    """The whole body that a URL answers with."""
    with fetch(url, MemoryStore(), limits) as fetched:
        assert fetched is not None
        return b"".join(iter(lambda: fetched.body.read(1 << 16), b""))


# ---- what goes through the proxy ---------------------------------------------------


@pytest.mark.parametrize("variable", ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"])
@pytest.mark.parametrize("scheme", ["http://", ""])
def test_http_is_asked_for_by_the_whole_url(
    environ: Callable[..., None],
    no_names: list[str],
    proxy: ForwardProxy,
    site: int,
    variable: str,
    scheme: str,
) -> None:
    """A host that cannot be looked up here is asked for through the proxy."""
    environ(**{variable: proxy.url.replace("http://", scheme)})
    assert read_all(f"http://ca.test:{site}/ca.crl?x=a b") == b"abc"
    assert proxy.asked == [(f"GET http://ca.test:{site}/ca.crl?x=a%20b HTTP/1.1", None)]


def test_each_redirect_goes_through_the_proxy(
    environ: Callable[..., None], no_names: list[str], proxy: ForwardProxy, site: int
) -> None:
    """The proxy is chosen anew for each host."""
    environ(http_proxy=proxy.url)
    assert read_all(f"http://ca.test:{site}/moved") == b"abc"
    assert [line.split()[1] for line, _ in proxy.asked] == [
        f"http://ca.test:{site}/moved",
        f"http://other.test:{site}/ca.crl",
    ]


def test_https_is_a_tunnel_to_the_host(
    environ: Callable[..., None],
    no_names: list[str],
    proxy: ForwardProxy,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """
    The proxy is asked for a connection, and the host's certificate is verified through it.
    """
    for host, name in (("ca.test", "ca.test"), ("ca.test", "other.test")):
        with tls_site(tmp_path, name, monkeypatch) as port:
            environ(https_proxy=proxy.url.replace("http://", "http://me:pa%20ss@"))
            if host == name:
                assert read_all(f"https://{host}:{port}/ca.crl") == b"abc"
            else:
                with pytest.raises(FetchError, match="certificate verify failed"):
                    read_all(f"https://{host}:{port}/ca.crl")
            assert proxy.asked.pop() == (f"CONNECT ca.test:{port} HTTP/1.1", "Basic bWU6cGEgc3M=")


@contextlib.contextmanager
def tls_site(path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """The port of a TLS server for one request, whose certificate is trusted."""
    certificate, key = path / "server.pem", path / "server.key"
    made, its_key = server_certificate(name)
    certificate.write_bytes(made)
    key.write_bytes(its_key)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with socket.create_server(("127.0.0.1", 0)) as server:

        def accept() -> None:
            connection, _ = server.accept()
            with (
                contextlib.suppress(OSError),
                connection,
                context.wrap_socket(connection, server_side=True) as secured,
            ):
                secured.recv(1 << 16)
                secured.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc")

        thread = threading.Thread(target=accept)
        thread.start()
        yield server.getsockname()[1]
        thread.join()


def test_the_password_goes_to_the_proxy_alone(
    environ: Callable[..., None], no_names: list[str], proxy: ForwardProxy, site: int
) -> None:
    """It is sent as Basic, and no message has it."""
    environ(http_proxy=proxy.url.replace("http://", "http://me:secret@"))
    read_all(f"http://ca.test:{site}/leak")
    assert proxy.asked[0][1] == "Basic bWU6c2VjcmV0"
    proxy.status = 407
    with pytest.raises(FetchError, match="answered 407, expected 200; give the proxy's") as raised:
        read_all(f"http://ca.test:{site}/ca.crl")
    assert "secret" not in str(raised.value)


# ---- what does not -----------------------------------------------------------------


@pytest.mark.parametrize(
    "no_proxy",
    [
        "ca.test",
        "CA.Test",
        ".test",
        "*.test",
        "test",
        "other, ca.test ",
        "*",
        "ca.test:8080",
        "[::1],ca.test",
    ],
)
def test_no_proxy_names_what_goes_directly(environ: Callable[..., None], no_proxy: str) -> None:
    """By host, by domain, with a port, or all."""
    environ(http_proxy="http://proxy.test:3128", no_proxy=no_proxy)
    assert proxy_for(urlsplit("http://ca.test:8080/")) is None


@pytest.mark.parametrize("no_proxy", ["", "ca", "a.test", "xca.test", "ca.test:80", "10.0.0.0/8"])
def test_other_hosts_go_through_the_proxy(environ: Callable[..., None], no_proxy: str) -> None:
    """Part of a name is no domain."""
    environ(http_proxy="http://proxy.test", no_proxy=no_proxy)
    found = proxy_for(urlsplit("http://ca.test:8080/"))
    assert found is not None
    assert (found.host, found.port) == ("proxy.test", 80)


@pytest.mark.parametrize(
    ("host", "no_proxy"),
    [
        ("10.1.2.3", "10.0.0.0/8"),
        ("10.1.2.3", "10.1.2.3"),
        ("[fd00::1]", "fd00::/8"),
        ("[fd00::1]", "[fd00::1]"),
        ("[fd00::1]", "fd00::1"),
    ],
)
def test_no_proxy_names_addresses_and_networks(
    environ: Callable[..., None], host: str, no_proxy: str
) -> None:
    """As curl and others read them."""
    environ(http_proxy="http://proxy.test", no_proxy=no_proxy)
    assert proxy_for(urlsplit(f"http://{host}/")) is None
    assert proxy_for(urlsplit("http://172.16.0.1/")) is not None


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "ca.localhost", "LOCALHOST"])
def test_this_machine_is_asked_directly(environ: Callable[..., None], host: str) -> None:
    """The proxy's loopback is another machine's."""
    environ(http_proxy="http://proxy.test")
    assert proxy_for(urlsplit(f"http://{host}/")) is None


def test_use_proxy_false_goes_directly(
    environ: Callable[..., None], proxy: ForwardProxy, no_names: list[str]
) -> None:
    """Then the host must be looked up here."""
    environ(http_proxy=proxy.url)
    with pytest.raises(FetchError, match="ca.test: no address"):
        read_all("http://ca.test/", FetchLimits(use_proxy=False))
    assert proxy.asked == []


def test_https_goes_not_through_the_proxy_of_http(environ: Callable[..., None]) -> None:
    """Each scheme has its variable."""
    environ(http_proxy="http://proxy.test")
    assert proxy_for(urlsplit("https://ca.test/")) is None


# ---- what is refused ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("named", "shown"),
    [
        ("socks5://me:secret@proxy.test:1080", "socks5://proxy.test"),
        ("socks5h://proxy.test", "socks5h://proxy.test"),
        ("https://proxy.test", "https://proxy.test"),
        ("http://:8080", "http://"),
        ("http://proxy.test:99999", "http://proxy.test"),
    ],
)
def test_a_proxy_of_another_kind_is_refused_by_name(
    environ: Callable[..., None], named: str, shown: str
) -> None:
    """It is neither ignored nor taken for another one."""
    environ(ALL_PROXY=named)
    with pytest.raises(FetchError, match=f"ALL_PROXY names the proxy {shown}, exp.*no-proxy") as it:
        read_all("http://ca.test/")
    assert "secret" not in str(it.value)


@pytest.mark.parametrize("host", ["10.0.0.1", "169.254.169.254", "[fd00::1]", "inside.test"])
def test_a_proxy_is_not_asked_for_a_private_address(
    environ: Callable[..., None],
    proxy: ForwardProxy,
    monkeypatch: pytest.MonkeyPatch,
    host: str,
) -> None:
    """An address in the URL or in this machine's DNS is checked as without a proxy."""
    real = socket.getaddrinfo

    def look_up(name: str, port: int, *rest: Any, **options: Any) -> Any:
        address = "10.0.0.1" if name == "inside.test" else name
        return real(address, port, *rest, **options)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    environ(http_proxy=proxy.url, https_proxy=proxy.url)
    for scheme in ("http", "https"):
        with pytest.raises(FetchError, match="is not a public one"):
            read_all(f"{scheme}://{host}/")
    assert proxy.asked == []
    proxy.status = 404
    with pytest.raises(FetchError, match="404"):
        read_all(f"http://{host}/", FetchLimits(allow_private=True))
    assert len(proxy.asked) == 1


@pytest.mark.parametrize("status", [403, 407, 502])
def test_a_tunnel_that_is_refused_is_told(
    environ: Callable[..., None], no_names: list[str], proxy: ForwardProxy, status: int
) -> None:
    """With the proxy, the host and the status."""
    environ(https_proxy=proxy.url)
    proxy.status = status
    with pytest.raises(FetchError) as raised:
        read_all("https://ca.test/")
    assert f"(HTTPS_PROXY) was asked for a connection to ca.test:443: it answered {status}" in str(
        raised.value
    )


def test_a_proxy_that_is_not_there_is_named(
    environ: Callable[..., None], no_names: list[str]
) -> None:
    """The message tells the proxy and the variable."""
    environ(http_proxy="http://127.0.0.1:9")
    with pytest.raises(FetchError, match=r"by way of the proxy 127.0.0.1:9 \(HTTP_PROXY\)"):
        read_all("http://ca.test/")


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize(
    "sent", [b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 100, b"HTTP/1.1 200 OK\r\nX: y"]
)
def test_a_slow_proxy_ends_in_time(
    environ: Callable[..., None], no_names: list[str], scheme: str, sent: bytes
) -> None:
    """The time in all holds for what the proxy says too."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        ended = threading.Event()

        def accept() -> None:
            with contextlib.suppress(OSError):
                connection, _ = server.accept()
                with connection:
                    while not ended.wait(0.05):
                        connection.sendall(sent)

        thread = threading.Thread(target=accept)
        thread.start()
        address = f"127.0.0.1:{server.getsockname()[1]}"
        environ(http_proxy=address, https_proxy=address)
        started = time.monotonic()
        with pytest.raises(FetchError):
            read_all(f"{scheme}://ca.test/", FetchLimits(total_seconds=1))
        assert time.monotonic() - started < 4
        ended.set()
        thread.join()
