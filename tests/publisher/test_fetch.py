"""CRLs over HTTP: what is asked, what is accepted, and where it never goes."""

from __future__ import annotations

import contextlib
import gzip
import json
import re
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from crlcheck import split_crls
from crlcheck.cli import main
from crlcheck.demo.pki import pem_block
from crlcheck.errors import FetchError, StoreUnavailableError
from crlcheck.publisher import fetch as fetcher_module
from crlcheck.publisher.comparison import is_intact
from crlcheck.publisher.fetch import FetchLimits, fetch
from crlcheck.publisher.operator import remove_scope, reset_scope
from crlcheck.publisher.publication import Publication
from crlcheck.publisher.rejections import read_rejections
from crlcheck.stores import LocalStore
from support.attacks import ATTACKS, Attack, attacking, seconds_of
from support.example_pki import example_pki
from support.functions import lines_of
from support.memory_store import MemoryStore
from support.moto_server import S3Environment
from support.pipeline import Pipeline
from support.pki import DAY, NOW, ONLY_USER_CERTIFICATES, delta_of, make_crl
from support.publishing import CA, catalog_of, publish
from support.site import Site, web_site

PKI = example_pki()
LOCAL = FetchLimits(allow_private=True, connect_seconds=2, read_seconds=2)


@pytest.fixture
def site() -> Iterator[Site]:
    """A web server on this machine."""
    with web_site() as made:
        yield made


def read_all(url: str, limits: FetchLimits = LOCAL) -> bytes:
    """The whole body that a URL answers with."""
    with fetch(url, MemoryStore(), limits) as fetched:
        assert fetched is not None
        found = b""
        while chunk := fetched.body.read(1 << 16):
            found += chunk
        return found


# ---- what is fetched -----------------------------------------------------------


VALIDATORS = {"ETag": '"1"', "Last-Modified": "Mon, 23 Nov 2026 08:00:00 GMT"}


def fetch_and_publish(
    url: str, store: MemoryStore, now: datetime = NOW, *, remember: bool = True
) -> bool:
    """Fetch PEM CRLs of CA and publish them; whether there was anything to fetch."""
    with fetch(url, store, LOCAL, now=now) as fetched:
        if fetched is None:
            return False
        reports = [
            publish(store, crl.read(1 << 20), now=now, rebuild=True)
            for crl in split_crls(fetched.body)
        ]
        if remember:
            fetched.remember(reports)
    return True


def pem_of(*crls: bytes) -> bytes:
    """CRLs in one PEM file."""
    return b"".join(pem_block("X509 CRL", crl) for crl in crls)


def test_what_was_remembered_is_asked_for_by_its_validators(site: Site) -> None:
    """
    Only after it was dealt with: a CRL that failed on the way is fetched whole again.
    """
    store = MemoryStore()
    site.pages["/ca.crl"] = 200, VALIDATORS, pem_of(make_crl(CA, 1))
    url = f"{site.url}/ca.crl"
    assert fetch_and_publish(url, store, remember=False)
    assert fetch_and_publish(url, store)
    assert not fetch_and_publish(url, store)
    assert ["If-None-Match" in asked for asked in site.asked] == [False, False, True]
    assert site.asked[-1]["If-Modified-Since"] == VALIDATORS["Last-Modified"]
    assert fetch_and_publish(url, MemoryStore())
    (name,) = store.names("fetch/")
    assert re.fullmatch(r"20[0-9-]+T[0-9:.]+Z", json.loads(store.read(name).body)["at"])


def _remove(store: MemoryStore, scope: str) -> None:
    remove_scope(store, scope, now=NOW)
    reset_scope(store, scope, now=NOW)


def _lose_the_image(store: MemoryStore, scope: str) -> None:
    store.delete(catalog_of(store).scopes[scope].base.name)


def _damage_the_image(store: MemoryStore, scope: str) -> None:
    name = catalog_of(store).scopes[scope].base.name
    body = store.read(name).body
    store.write(name, body[:-40] + bytes([body[-40] ^ 1]) + body[-39:])


def _forget_of_what(store: MemoryStore, _scope: str) -> None:
    (name,) = store.names("fetch/")
    members = json.loads(store.read(name).body)
    del members["crls"]
    store.write(name, json.dumps(members).encode())


@pytest.mark.parametrize(
    "undo",
    [
        _remove,
        lambda store, scope: reset_scope(store, scope, now=NOW),
        _lose_the_image,
        _damage_the_image,
        _forget_of_what,
    ],
    ids=["removed", "reset", "image lost", "image damaged", "remembered by an older version"],
)
def test_what_is_gone_is_fetched_whole_again(
    site: Site, undo: Callable[[MemoryStore, str], None]
) -> None:
    """
    "Not modified" says nothing of what the store does not have any more, or not whole; of
    several CRLs in one file the one that is gone decides. Then all is as it was.
    """
    store = MemoryStore()
    url = f"{site.url}/ca.crl"
    crls = make_crl(CA, 1), make_crl(CA, 2, [5], extensions=[ONLY_USER_CERTIFICATES])
    site.pages["/ca.crl"] = 200, VALIDATORS, pem_of(*crls)
    assert fetch_and_publish(url, store)
    scopes = catalog_of(store).scopes
    (scope,) = (key for key, one in scopes.items() if one.base.metadata.crl_number == 2)
    undo(store, scope)
    assert fetch_and_publish(url, store)
    assert "If-None-Match" not in site.asked[-1]
    found = catalog_of(store).scopes
    assert found.keys() == scopes.keys()
    for record in found.values():
        assert is_intact(store, record.base)


def test_a_crl_that_is_past_its_next_update_is_due(site: Site) -> None:
    """A cache that says "not modified" for ever does not keep the next CRL away."""
    store = MemoryStore()
    url = f"{site.url}/ca.crl"
    site.pages["/ca.crl"] = 200, VALIDATORS, pem_of(make_crl(CA, 1))
    assert fetch_and_publish(url, store)
    assert not fetch_and_publish(url, store, NOW + 29 * DAY)
    assert fetch_and_publish(url, store, NOW + 31 * DAY)


def test_what_a_newer_crl_took_the_place_of_needs_no_fetching(site: Site) -> None:
    """A delta that its complete CRL has reached, and a CRL that came another way."""
    store = MemoryStore()
    publish(store, make_crl(CA, 1))
    url = f"{site.url}/delta.crl"
    delta = make_crl(CA, 2, [5], extensions=[delta_of(1)])
    site.pages["/delta.crl"] = 200, VALIDATORS, pem_of(delta)
    assert fetch_and_publish(url, store)
    publish(store, make_crl(CA, 3, [5]))
    assert not fetch_and_publish(url, store)


def test_redirects_are_followed_a_few_times(site: Site) -> None:
    """
    Within bounds, and relative ones too.
    """
    site.pages["/a"] = 302, {"Location": "/b"}, b""
    site.pages["/b"] = 301, {"Location": f"{site.url}/c"}, b""
    site.pages["/c"] = 200, {}, b"abc"
    site.pages["/loop"] = 307, {"Location": "/loop"}, b""
    assert read_all(f"{site.url}/a") == b"abc"
    with pytest.raises(FetchError, match="more than 3 redirects"):
        read_all(f"{site.url}/loop")


@pytest.mark.parametrize(
    "location", ["ftp://example.com/ca.crl", "file:///etc/passwd", "http://u:p@example.com/", ""]
)
def test_redirects_lead_to_no_other_scheme(site: Site, location: str) -> None:
    """
    What answers the URL does not get to choose another way of reading.
    """
    site.pages["/a"] = 302, {"Location": location}, b""
    with pytest.raises(FetchError, match="redirect"):
        read_all(f"{site.url}/a")


@pytest.mark.parametrize("scheme", ["https", "HTTPS", "Https"])
def test_no_redirect_leaves_tls(scheme: str) -> None:
    """
    However the scheme is written (RFC 3986 3.1).
    """
    response: Any = SimpleNamespace(headers={"Location": "HTTP://ca.test/b"})
    with pytest.raises(FetchError, match="not protected by TLS"):
        fetcher_module._redirected(f"{scheme}://ca.test/a", response)
    response.headers["Location"] = "HTTPS://ca.test/b"
    assert (
        fetcher_module._redirected(f"{scheme}://ca.test/a", response).lower() == "https://ca.test/b"
    )
    assert fetcher_module.check_url(f"{scheme}://CA.test/") == f"{scheme}://CA.test/"


def test_what_a_url_may_not_have_is_encoded(site: Site) -> None:
    """
    A space or a letter that is not ASCII in a path or query, and never twice.
    """
    site.pages["/a%20b/%C3%BC?q=%20x"] = 200, {}, b"abc"
    assert read_all(f"{site.url}/a b/ü?q=%20x") == b"abc"


@pytest.mark.parametrize(
    ("page", "message"),
    [
        ((200, {"Content-Length": "1_0"}, b"x" * 10), "Content-Length '1_0', expected a number"),
        ((200, {"Content-Length": "-1"}, b"x"), "Content-Length '-1', expected a number"),
        ((404, {}, b"no"), "answered 404"),
        ((500, {}, b"no"), "answered 500"),
        ((206, {}, b"part"), "answered 206"),
        ((304, {}, b""), "answered 304"),
        ((200, {"Content-Encoding": "br"}, b"x"), "encoding 'br'"),
        ((200, {"Content-Encoding": "identity, br"}, b"x"), "encoding 'identity, br'"),
        ((200, {"Content-Length": "11"}, b"x" * 11), "11 bytes, allowed are 10"),
        ((200, {"Content-Length": "9"}, b"x"), "broke off"),
    ],
)
def test_other_answers_are_no_crl(
    site: Site, page: tuple[int, dict[str, str], bytes], message: str
) -> None:
    """
    An error, a part, something packed, too large or cut off is told as such.
    """
    site.pages["/a"] = page
    with pytest.raises(FetchError, match=message):
        read_all(f"{site.url}/a", FetchLimits(max_size=10, allow_private=True, read_seconds=1))


def test_a_body_that_does_not_say_how_long_it_is_is_bounded(site: Site) -> None:
    """
    Without Content-Length the bytes are counted as they come.
    """
    site.pages["/a"] = 200, {"Content-Length": "", "Connection": "close"}, b"x" * 5000
    with pytest.raises(FetchError, match="more than the 1000 bytes allowed"):
        read_all(f"{site.url}/a", FetchLimits(max_size=1000, allow_private=True))


def test_a_trickle_ends_in_time(site: Site) -> None:
    """
    Bytes that keep coming one by one do not keep a fetch going for ever.
    """
    stop = threading.Event()

    def trickle(wfile: Any, body: bytes) -> None:
        for _ in range(200):
            if stop.wait(0.02):
                break
            wfile.write(b"x")

    site.send = trickle
    site.pages["/a"] = 200, {"Content-Length": "1000"}, b""
    limits = FetchLimits(allow_private=True, total_seconds=0.2)
    with pytest.raises(FetchError, match="took more than 0.2 seconds"):
        read_all(f"{site.url}/a", limits)
    stop.set()


def test_a_silent_server_ends_in_time(site: Site) -> None:
    """
    One that takes the connection and says nothing is given up.
    """
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}/"
        with pytest.raises(FetchError, match="timed out"):
            read_all(url, FetchLimits(allow_private=True, read_seconds=0.1))


def answer_with(octets: bytes, server: socket.socket) -> None:
    """Answer one connection."""
    connection, _ = server.accept()
    with connection:
        connection.recv(65536)
        connection.sendall(octets)


@pytest.mark.parametrize(
    ("octets", "found"),
    [
        (b"0\x81\xf30\x81\x99\n", "found 0\x81ó0\x81"),
        (b"HTTP/2 200 OK\r\n\r\n", "found HTTP/2"),
        (b"ICY 200 OK\r\n\r\n", "found ICY 200 OK"),
        (b"HTTP/1.1 ok\r\n\r\n", "found HTTP/1.1 ok"),
    ],
)
def test_what_is_no_http_is_told_as_such(octets: bytes, found: str) -> None:
    """
    The message says what came and what was expected.
    """
    with socket.create_server(("127.0.0.1", 0)) as server:
        answering = threading.Thread(target=answer_with, args=(octets, server))
        answering.start()
        with pytest.raises(FetchError) as caught:
            read_all(f"http://127.0.0.1:{server.getsockname()[1]}/a", LOCAL)
        answering.join()
    assert f": {found}" in str(caught.value)
    assert str(caught.value).endswith(", expected HTTP/1.1 and a status")


@pytest.mark.parametrize(
    "coding", ["identity", "Identity", "identity, identity", "none", "None", "", " , none"]
)
def test_the_coding_identity_is_none(site: Site, coding: str) -> None:
    """
    RFC 9110 8.4.1: names of codings have no case.
    """
    site.pages["/a"] = 200, {"Content-Encoding": coding}, b"abc"
    assert read_all(f"{site.url}/a") == b"abc"


@pytest.mark.parametrize("coding", ["gzip", "x-gzip", "GZIP", "identity, gzip"])
def test_gzip_is_decoded(site: Site, coding: str) -> None:
    """Although it was not asked for: some servers send nothing else."""
    body = PKI.crl()
    site.pages["/ca.crl"] = 200, {"Content-Encoding": coding}, gzip.compress(body)
    assert read_all(f"{site.url}/ca.crl") == body


@pytest.mark.parametrize(
    ("coding", "body", "message"),
    [
        ("gzip", gzip.compress(bytes(10 << 20)), "more than the 1048576 bytes allowed"),
        ("gzip", gzip.compress(b"abc")[:-3], "gzip data end too early"),
        ("gzip", b"abc", "gzip data are damaged"),
        ("gzip, gzip", b"", "'gzip, gzip', expected none, or gzip"),
        ("br", b"", "'br', expected none, or gzip"),
        ("deflate", b"", "'deflate', expected none, or gzip"),
    ],
)
def test_other_codings_and_bad_gzip_are_refused(
    site: Site, coding: str, body: bytes, message: str
) -> None:
    """The limit of size is for what is decoded."""
    site.pages["/ca.crl"] = 200, {"Content-Encoding": coding}, body
    limits = FetchLimits(allow_private=True, max_size=1 << 20)
    with pytest.raises(FetchError, match=message):
        read_all(f"{site.url}/ca.crl", limits)


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)
def test_no_answer_outlasts_the_time_in_all(attack: Attack) -> None:
    """
    Wherever in an answer a server does not come to an end, by drops or by floods.
    """
    limits = FetchLimits(allow_private=True, read_seconds=30, total_seconds=0.5)

    def attempt() -> None:
        with pytest.raises(FetchError, match="took more than 0.5 s|answered 503|3 redirects"):
            read_all(f"http://127.0.0.1:{port}/ca.crl", limits)

    with attacking(attack) as port:
        assert seconds_of(attempt) < 10


def test_the_time_in_all_has_the_look_up_and_the_handshake_in_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    A resolver that does not answer, a server that takes the connection and no more.
    """
    limits = FetchLimits(allow_private=True, total_seconds=0.3)

    def attempt(url: str) -> None:
        with pytest.raises(FetchError, match=r"took more than 0\.3 seconds"):
            read_all(url, limits)

    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"https://127.0.0.1:{server.getsockname()[1]}/"
        assert seconds_of(lambda: attempt(url)) < 10
    answered = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: answered.wait(20))
    assert seconds_of(lambda: attempt("http://ca.test/")) < 10
    answered.set()


@pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf"), 1e400, 10**30])
@pytest.mark.parametrize("name", ["connect_seconds", "read_seconds", "total_seconds"])
def test_a_limit_is_a_time_that_can_be_kept(name: str, value: float) -> None:
    """
    None that is not positive, and none that no timer can count.
    """
    with pytest.raises(ValueError, match=name):
        FetchLimits(**{name: value})  # type: ignore[arg-type]


# ---- where it goes ---------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "ldap://example.com/cn=CA",
        "ftp://example.com/ca.crl",
        "file:///etc/passwd",
        "gopher://example.com/",
        "ca.crl",
        "http://",
        "http://user:secret@example.com/ca.crl",
        "http://example.com:99999/",
    ],
)
def test_only_http_is_fetched(url: str) -> None:
    """
    Anything else is misuse, told before anything is asked; no message has a password.
    """
    with pytest.raises(ValueError, match="URL|[Pp]ort") as caught:
        read_all(url)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "remedy"),
    [
        ("ldap://ca.test/cn=CA", "ldapsearch"),
        ("LDAPS://me:secret@ca.test/cn=CA?certificateRevocationList;binary", "ldapsearch"),
        ("ldap:///CN=CA,CN=CDP?certificateRevocationList?base", "ldapsearch"),
        ("ftp://me:secret@ca.test/ca.crl", "curl"),
        ("file:///srv/ca.crl", "give the file to 'crlcheck publish'"),
        ("s3://bucket/ca.crl", "aws s3 cp"),
    ],
)
def test_other_schemes_are_refused_with_what_to_do(url: str, remedy: str) -> None:
    """CAs name LDAP in their certificates; other tools read it."""
    with pytest.raises(ValueError, match=remedy) as caught:
        read_all(url)
    assert "secret" not in str(caught.value)
    assert str(caught.value).startswith(url.split(":", maxsplit=1)[0].lower() + "://")


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "0.0.0.0",
        "224.0.0.1",
        "255.255.255.255",
        "::1",
        "::",
        "fe80::1%eth0",
        "fd00:ec2::254",
        "ff02::1",
        "::ffff:169.254.169.254",
        "64:ff9b::a9fe:a9fe",
        "2002:a9fe:a9fe::1",
    ],
)
def test_private_addresses_are_not_asked(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    """
    Also where a name leads there besides a public address, or IPv6 hides it.
    """
    resolve_to(monkeypatch, "93.184.215.14", address)
    with (
        pytest.raises(FetchError, match="not a public one"),
        fetch("http://ca.test/", MemoryStore()),
    ):
        pass


@pytest.mark.parametrize("address", ["93.184.215.14", "2606:2800:21f:cb07::1", "::ffff:8.8.8.8"])
def test_public_addresses_are_allowed(address: str) -> None:
    """
    The guard keeps nobody from the Internet.
    """
    assert fetcher_module._is_public(address)


def resolve_to(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> list[str]:
    """Let ``ca.test`` have these addresses; returns the names that are asked for."""
    asked: list[str] = []
    real = socket.getaddrinfo

    def resolve(host: str, port: int, *rest: Any, **options: Any) -> Any:
        asked.append(host)
        if host != "ca.test":
            return real(host, port, *rest, **options)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (one, port)) for one in addresses]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    return asked


def test_the_address_that_was_checked_is_the_one_connected_to(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A name is resolved once. One that has another address a moment later (DNS
    rebinding) leads nowhere else, and the server still hears the name.
    """
    names = resolve_to(monkeypatch, "127.0.0.1")
    site.pages["/ca.crl"] = 200, {}, b"abc"
    port = site.url.rpartition(":")[2]
    assert read_all(f"http://ca.test:{port}/ca.crl") == b"abc"
    assert names.count("ca.test") == 1
    assert set(names) <= {"ca.test", "127.0.0.1"}
    assert site.asked[0]["Host"] == f"ca.test:{port}"


def test_a_redirect_is_checked_like_the_first_url(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A public server cannot send the program into its own network.
    """
    monkeypatch.setattr(fetcher_module, "_is_public", lambda address: address == "127.0.0.1")
    site.pages["/a"] = 302, {"Location": "http://169.254.169.254/latest/meta-data"}, b""
    with pytest.raises(FetchError, match=r"169\.254\.169\.254, which is not a public one"):
        read_all(f"{site.url}/a", FetchLimits())


def test_tls_is_verified_for_the_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """
    Although the connection is to an address, the certificate must be the name's.
    """
    issued = PKI.authority.issue("another name")
    chain = tmp_path / "server.pem"
    chain.write_bytes(issued.key_pem + issued.pem)
    resolve_to(monkeypatch, "127.0.0.1")
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"https://ca.test:{server.getsockname()[1]}/"
        seen: list[str | None] = []

        def accept() -> None:
            connection, _ = server.accept()
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(chain)
            context.sni_callback = lambda _socket, name, _context: seen.append(name)
            with contextlib.suppress(OSError):
                context.wrap_socket(connection, server_side=True)
            connection.close()

        thread = threading.Thread(target=accept)
        thread.start()
        with pytest.raises(FetchError, match="certificate verify failed"):
            read_all(url)
        thread.join()
    assert seen == ["ca.test"]


# ---- the command and the function ------------------------------------------------


def test_the_command_publishes_what_it_fetches(
    site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    Once; then it is not modified. One URL that fails does not keep the others out.
    """
    issuer = tmp_path / "ca.pem"
    issuer.write_bytes(PKI.authority.pem)
    crl = PKI.crl()
    body = pem_block("X509 CRL", crl) + pem_block("X509 CRL", PKI.crl(by=PKI.stranger))
    site.pages["/ca.crl"] = 200, {"ETag": '"1"'}, crl
    site.pages["/both.pem"] = 200, {"ETag": '"2"'}, body
    command = ["fetch", "--to", str(tmp_path / "store"), "--issuer", str(issuer), "--json"]
    assert main([*command, f"{site.url}/ca.crl"]) == 4
    assert "--allow-private" in capsys.readouterr().out
    command.append("--allow-private")
    urls = [f"{site.url}/{name}" for name in ("gone", "ca.crl", "both.pem")]
    assert main([*command, *urls]) == 5
    document = json.loads(capsys.readouterr().out)
    found = document["results"]
    assert document["exit_status"] == 5
    outcomes = {one["url"].removeprefix(site.url): one for one in found}
    assert outcomes["/gone"]["error"].startswith(f"{urls[0]}: was answered 404")
    words = {name: one["outcome"] for name, one in outcomes.items()}
    assert (words.pop("/gone"), words.pop("/both.pem#2")) == ("failed", "refused")
    assert sorted(words.values()) == ["published", "unchanged"]
    (rejection,) = read_rejections(LocalStore(tmp_path / "store"))
    assert rejection.source == f"{site.url}/both.pem#2"
    assert main([*command, urls[1]]) == 0
    assert json.loads(capsys.readouterr().out)["results"][0]["outcome"] == "not modified"
    assert main([*command, "ldap://ca.test/"]) == 2


def test_the_command_accepts_what_its_options_name(
    site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    Which CRLs are accepted is said as to ``publish``.
    """
    issuer = tmp_path / "ca.pem"
    issuer.write_bytes(PKI.authority.pem)
    site.pages["/ca.crl"] = 200, {}, make_crl(PKI.authority, next_update=None)
    command = ["fetch", f"{site.url}/ca.crl", "--to", str(tmp_path / "store")]
    command += ["--issuer", str(issuer), "--allow-private"]
    assert main(command) == 4
    assert "nextUpdate" in capsys.readouterr().err
    assert main([*command, "--allow-no-next-update", "--no-attributes"]) == 0
    (record,) = catalog_of(LocalStore(tmp_path / "store")).scopes.values()
    assert not record.base.metadata.attributes


def test_the_command_asks_nobody_without_issuers(
    site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    An issuer that is no certificate is one error of the command, not one of each CRL.
    """
    issuer = tmp_path / "ca.pem"
    issuer.write_bytes(b"no certificate")
    command = ["fetch", f"{site.url}/ca.crl", f"{site.url}/b.crl", "--allow-private"]
    assert main([*command, "--to", str(tmp_path / "store"), "--issuer", str(issuer)]) == 4
    assert capsys.readouterr().err.count(str(issuer)) == 1
    assert site.asked == []


def test_the_command_names_every_crl_that_the_store_did_not_take(
    site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    They are swapped together, so all of them failed.
    """
    issuer = tmp_path / "ca.pem"
    issuer.write_bytes(PKI.authority.pem)
    site.pages["/ca.pem"] = 200, {}, pem_of(PKI.crl(), PKI.crl(2, age=timedelta(0)))

    def run(publication: Publication) -> None:
        raise StoreUnavailableError("the store is gone")

    monkeypatch.setattr(Publication, "run", run)
    command = ["fetch", f"{site.url}/ca.pem", "--allow-private", "--json"]
    assert main([*command, "--to", str(tmp_path / "store"), "--issuer", str(issuer)]) == 4
    found = json.loads(capsys.readouterr().out)["results"]
    assert [one["outcome"] for one in found] == ["failed", "failed"]


def test_the_size_is_bounded_as_by_publish(
    site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    By the option of the same name, or its short one.
    """
    issuer = tmp_path / "ca.pem"
    issuer.write_bytes(PKI.authority.pem)
    crl = PKI.crl()
    site.pages["/ca.crl"] = 200, {}, crl
    command = ["fetch", f"{site.url}/ca.crl", "--to", str(tmp_path / "store")]
    command += ["--issuer", str(issuer), "--allow-private"]
    for option in ("--max-source-size", "--max-size"):
        assert main([*command, option, str(len(crl) - 1)]) == 4
        assert "bytes" in capsys.readouterr().err
    assert main([*command, "--max-size", str(len(crl))]) == 0


def test_the_function_fetches_on_a_schedule(
    site: Site,
    monkeypatch: pytest.MonkeyPatch,
    s3: S3Environment,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """
    The URLs are the deployment's, never the event's; outcomes are as for uploads.
    """
    pipeline = Pipeline(monkeypatch, s3)
    site.pages["/ca.crl"] = 200, {"ETag": '"1"'}, PKI.crl()
    url = f"{site.url}/ca.crl"
    pipeline.start(fetch_urls=f"{url},{site.url}/gone", fetch_private="true")
    with pytest.raises(ExceptionGroup) as caught:
        pipeline.invoke({"fetch": True})
    assert [type(error) for error in caught.value.exceptions] == [FetchError]
    pipeline.start(fetch_urls=url, fetch_private="true")
    pipeline.invoke({"fetch": True})
    lines = lines_of(caplog, "preprocessor")
    assert sorted(line["outcome"] for line in lines[:2]) == ["failed", "published"]
    assert {line["object"] for line in lines[:2]} == {url, f"{site.url}/gone"}
    assert [line["outcome"] for line in lines[2:]] == ["unchanged"]
    assert pipeline.verdict("revoked") == "revoked"
    newer = PKI.crl(2, age=timedelta(0))
    site.pages["/ca.crl"] = 200, {"ETag": '"2"'}, newer
    assert pipeline.invoke({"fetch": True})["objects"][0]["outcome"] == "published"
    site.asked.clear()
    assert pipeline.invoke({"rescan": "none/"})["objects"] == []
    assert site.asked == []
    with pytest.raises(ValueError, match="CRLCHECK_FETCH_URLS"):
        pipeline.start(fetch_urls="ftp://ca.test/")
