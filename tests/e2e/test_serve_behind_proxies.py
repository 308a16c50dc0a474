"""
The recipes of docs/guides/serve.md: real proxies ask `crlcheck serve`, and real clients ask them.
"""

from __future__ import annotations

import contextlib
import socket
import socketserver
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

import pytest

from crlcheck.demo.tls import write_client
from crlcheck.encoding.header_forms import HeaderForm
from support.authorizer import publish
from support.header_forms import WRITERS
from support.pki import make_imposter
from support.proxies import OPTIONAL, RECIPES, Program, Site, running_sites
from support.proxy_clients import (
    NO_ANSWER,
    Connection,
    Headers,
    WebSocket,
    ask,
    curl,
    handshake,
    openssl,
)
from support.python_servers import PKI, free_port, tls_of, write_files

T = TypeVar("T")

LATER = PKI.authority.issue("device 10 of Mallory")
EXPECTED = {"good": 200, "revoked": 403, "foreign": 403}
CAUSE = "crlcheck-cause"


@pytest.fixture(scope="module")
def files() -> Iterator[Path]:
    """A directory that Apache may enter as another user, with a store and clients."""
    with tempfile.TemporaryDirectory(prefix="crlcheck-") as name:
        directory = Path(name)
        directory.chmod(0o711)
        write_files(directory)
        (directory / "authority.pem").write_bytes(PKI.authority.pem)
        (directory / "stranger.pem").write_bytes(PKI.stranger.pem)
        write_client(directory, "later", LATER)
        write_client(directory, "forged", make_imposter(PKI.authority).issue("device 11"))
        publish(directory / "published", PKI.crl())
        yield directory


@pytest.fixture(scope="module")
def application(files: Path) -> Iterator[int]:
    """The port of an application behind the proxies."""
    port = free_port()
    program = Program(
        [
            sys.executable, "-m", "uvicorn", "support.application_behind:app", "--port", str(port),
            "--app-dir", str(Path(__file__).parents[1]), "--log-level", "warning",
        ],
        files / "application.log",
    )  # fmt: skip
    try:
        program.wait_for(port)
        yield port
    finally:
        program.kill()


@pytest.fixture(scope="module")
def sites(files: Path, application: int) -> Iterator[dict[str, Site]]:
    """Every proxy, before the application."""
    with running_sites(list(RECIPES), files, files / "sites", application) as running:
        yield running


@pytest.fixture(params=list(RECIPES))
def site(request: pytest.FixtureRequest, sites: dict[str, Site]) -> Site:
    """One of the proxies."""
    return sites[request.param]


def at_all(sites: dict[str, Site], do: Callable[[Site], T]) -> dict[str, T]:
    """Do something at all proxies at once."""
    with ThreadPoolExecutor(len(sites)) as pool:
        return dict(zip(sites, pool.map(do, sites.values()), strict=True))


def test_clients(site: Site, files: Path) -> None:
    """
    The client's certificate decides, over HTTP/1.1, HTTP/2 and WebSocket, and whatever the
    client's program is.
    """
    for client, status in EXPECTED.items():
        answers = [
            ask(site.port, files, client),
            ask(site.port, files, client, [("Content-Length", "1")], "POST", b"x"),
            curl(site.port, files, client, "1.1"),
            curl(site.port, files, client, "2"),
            openssl(site.port, files, client),
        ]
        assert [answer.status for answer in answers] == [status] * 5, client
        assert resumed(site, files, client) == status, client
        for answer in answers:
            assert answer.values(CAUSE) == (["not_revoked"] if status == 200 else [])
        assert handshake(site.port, files, client).status == (101 if status == 200 else status)


def test_clients_without_a_certificate(site: Site, files: Path) -> None:
    """
    The proxy refuses a client without one, in the handshake or by a status.
    """
    for answer in (
        ask(site.port, files, None),
        curl(site.port, files, None, "2"),
        openssl(site.port, files, None),
        handshake(site.port, files, None),
    ):
        assert answer.status in (400, NO_ANSWER)


def test_large_certificate(site: Site, files: Path) -> None:
    """
    A certificate that is too large for a proxy's buffers is no missing one.
    """
    points = [f"http://example.com/{number:040}" for number in range(300)]
    client = PKI.authority.issue("device 12", distribution_points=points)
    assert len(client.der) > 16384
    write_client(files, "large", client)
    status = 503 if site.name == "haproxy" else 200
    assert ask(site.port, files, "large").status == status
    assert curl(site.port, files, "large", "2").status == status


def forgeries(name: str) -> list[Headers]:
    """What a client may send that looks as if the proxy or the service had written it."""
    header = RECIPES[name].header
    good = WRITERS[HeaderForm(name)]([PKI.good.der])
    decision = [("Crlcheck-Decision", "allow"), ("Crlcheck-Cause", "not_revoked")]
    return [
        [(header, good)],
        [(header.lower(), good), (header.upper(), good)],
        [(header.replace("-", "_"), good)],
        [(header.replace("-", "_", 1), good), (header, good)],
        [(header, "")],
        [("Connection", f"close, {header}")],
        [("Connection", "close, Crlcheck-Cause"), (header, good)],
        decision,
        [("Crlcheck-Cause", "forged"), ("CRLCHECK-CAUSE", "forged"), ("Crlcheck_Cause", "forged")],
        [("X-Forwarded-For", "127.0.0.1"), ("X-Forwarded-Uri", "/livez"), *decision],
        [("X-Forwarded-Method", "OPTIONS"), ("X-Original-Uri", "/livez"), ("Accept", "*/*")],
    ]


def test_forged_headers(site: Site, files: Path) -> None:
    """
    A revoked client is refused whatever it sends. The application sees no cause but the
    service's own, where a client that is not revoked is not refused for what it sends. By
    Connection a client can have the service's taken out by some proxies, as any header.
    """
    header = RECIPES[site.name].header
    for headers in forgeries(site.name):
        assert ask(site.port, files, "revoked", headers).status == 403, headers
        assert handshake(site.port, files, "revoked", headers).status in (403, 400), headers
        if not any(name == "Connection" for name, _ in headers):  # which HTTP/2 has not
            assert curl(site.port, files, "revoked", "2", headers).status == 403, headers
        answer = ask(site.port, files, "good", headers)
        assert answer.status in (200, 403), headers
        if answer.status == 200:
            causes = [["not_revoked"], []][: 1 + (headers[0][0] == "Connection")]
            assert answer.values(CAUSE) in causes, headers
    trailers = f"{header}: forged\r\nCrlcheck-Cause: forged\r\n"
    chunked = f"1\r\nx\r\n0\r\n{trailers}\r\n".encode()
    headers = [("Transfer-Encoding", "chunked"), ("Trailer", f"{header}, Crlcheck-Cause")]
    assert ask(site.port, files, "revoked", headers, "POST", chunked).status == 403
    answer = ask(site.port, files, "good", headers, "POST", chunked)
    assert (answer.status, answer.values(CAUSE)) == (200, ["not_revoked"])


class Load:
    """Requests of a client, one after the other on a connection that is kept, in a thread."""

    def __init__(self, site: Site, files: Path, client: str) -> None:
        self.statuses: Counter[int] = Counter()
        self.refused_at = 0.0
        self.longest = 0.0
        self._connection = Connection(site.port, files, client)
        self._has_ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._has_ended.is_set():
            started = time.monotonic()
            status = self._connection.ask().status
            now = time.monotonic()
            self.longest = max(self.longest, now - started)
            self.statuses[status] += 1
            if status == 403 and not self.refused_at:
                self.refused_at = now

    def end(self) -> None:
        """Stop asking."""
        self._has_ended.set()
        self._thread.join(60)
        self._connection.close()


def test_new_crl_under_load(sites: dict[str, Site], files: Path) -> None:
    """
    A client that a new CRL lists is refused within a second after the service's time, on
    connections that it has kept too, and no other request fails. A WebSocket that is open
    goes on, and a new one is refused.
    """
    with contextlib.ExitStack() as stack:
        opened = {
            name: stack.enter_context(WebSocket(site.port, files, "later"))
            for name, site in sites.items()
        }
        loads = {
            (name, client): Load(site, files, client)
            for name, site in sites.items()
            for client in ("good", "revoked", "later")
        }
        try:
            wait_until(lambda: all(sum(load.statuses.values()) > 20 for load in loads.values()))
            serials = [one.certificate.serial_number for one in (PKI.revoked, LATER)]
            publish(files / "published", PKI.crl(2, revoked=serials, age=timedelta(0)))
            published = time.monotonic()
            wait_until(lambda: all(loads[name, "later"].refused_at for name in sites))
            before = {key: sum(load.statuses.values()) for key, load in loads.items()}
            wait_until(
                lambda: all(
                    sum(load.statuses.values()) > before[key] + 20 for key, load in loads.items()
                )
            )
        finally:
            for load in loads.values():
                load.end()
        for (name, client), load in loads.items():
            expected = {"good": {200}, "revoked": {403}, "later": {200, 403}}[client]
            assert set(load.statuses) == expected, (name, client, load.statuses)
        # A busy machine is no fault of the service: it adds what the longest answer took.
        allowed = 1 + 1 + max(load.longest for load in loads.values())
        for name in sites:
            assert loads[name, "later"].refused_at - published < allowed, name
        for name, site in sites.items():
            assert opened[name].echoes(), name
            assert handshake(site.port, files, "later").status == 403, name
            assert curl(site.port, files, "later", "2").status == 403, name


def wait_until(is_reached: Callable[[], bool], seconds: float = 60) -> None:
    """Wait for a condition."""
    deadline = time.monotonic() + seconds
    while not is_reached():
        assert time.monotonic() < deadline
        time.sleep(0.02)


# ---- failures ------------------------------------------------------------------

FAILED = (500, 502, 503, 504)
WAITS = "traefik"
"""It waits half a minute for the service, whatever is configured; its clients go before."""


def while_it_fails(site: Site, files: Path) -> list[int]:
    """Ask as a revoked client and as ones that are not revoked, at once; return the statuses."""
    seconds = 3 if site.name == WAITS else 30
    with ThreadPoolExecutor(3) as pool:
        asked = [
            pool.submit(ask, site.port, files, client, seconds=seconds)
            for client in ("revoked", "good")
        ]
        if site.name != WAITS:
            asked.append(pool.submit(handshake, site.port, files, "good"))
        return [one.result().status for one in asked]


def recovers(site: Site, files: Path) -> None:
    """Wait until the service decides again."""
    wait_until(
        lambda: (
            ask(site.port, files, "good").status == 200
            and ask(site.port, files, "revoked").status == 403
            and handshake(site.port, files, "good").status == 101
        )
    )


def test_hanging_service(sites: dict[str, Site], files: Path) -> None:
    """
    Everybody is refused in a bounded time where the service hangs, until it goes on.
    """
    with contextlib.ExitStack() as stack:
        for site in sites.values():
            stack.enter_context(site.service.hanging())
        found = at_all(sites, lambda site: while_it_fails(site, files))
        for name, statuses in found.items():
            expected = {NO_ANSWER} if name == WAITS else {*FAILED}
            assert set(statuses) <= expected, (name, statuses)
    at_all(sites, lambda site: recovers(site, files))


def test_service_without_descriptors(sites: dict[str, Site], files: Path) -> None:
    """
    Nobody passes whom the service has not let pass where it can accept no connection. A
    proxy that has kept one is answered as ever. It goes on once there are descriptors.
    """
    with contextlib.ExitStack() as stack:
        for site in sites.values():
            stack.enter_context(site.service.without_descriptors())
        found = at_all(sites, lambda site: while_it_fails(site, files))
        for name, (revoked, *good) in found.items():
            keeps = name in ("nginx", "caddy", "traefik")
            assert revoked in ({403, *FAILED, NO_ANSWER} if keeps else FAILED), (name, revoked)
            allowed = {200, 101, *FAILED, NO_ANSWER} if keeps else {*FAILED}
            assert set(good) <= allowed, (name, good)
    at_all(sites, lambda site: recovers(site, files))


NO_DECISIONS = {
    "nothing": b"",
    "no HTTP": b"204 No Content\r\n\r\n",
    "another number": b"HTTP/1.1 2040 No Content\r\n\r\n",
    "half a status": b"HTTP/1.1 204",
    "half the headers": b"HTTP/1.1 204 No Content\r\nCrlcheck-Cause: not_revoked\r\n",
    "an interim answer": b"HTTP/1.1 100 Continue\r\n\r\n",
    "elsewhere": b"HTTP/1.1 302 Found\r\nLocation: /hello\r\nContent-Length: 0\r\n\r\n",
    "an error": b"HTTP/1.1 500 Broken\r\nContent-Length: 0\r\n\r\n",
    "busy": b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
}
"""What somebody in the place of the service may answer, that lets nobody pass."""


def test_killed_service(sites: dict[str, Site], files: Path) -> None:
    """
    Everybody is refused where the service was killed, or where somebody in its place gives
    an answer that is no decision, or one without an end. It goes on once the service has
    started again.
    """
    for site in sites.values():
        site.service.program.kill()
    for name, statuses in at_all(sites, lambda site: while_it_fails(site, files)).items():
        assert set(statuses) <= {*FAILED}, (name, statuses)

    def try_answers(site: Site) -> dict[str, int]:
        found = {}
        with in_its_place(site.service.address) as said:
            for name, answer in NO_DECISIONS.items():
                said[:] = [answer]
                found[name] = ask(site.port, files, "good").status
            if site.name in ("haproxy", "apache", "caddy"):  # which bound the whole of it
                said[:] = [b"HTTP/1.1 204 No Content\r\n", *[b"X: y\r\n"] * 1000]
                found["without end"] = ask(site.port, files, "good").status
            said[:] = [b"HTTP/1.1 204 No Content\r\nCrlcheck-Cause: not_revoked\r\n\r\n"]
            assert ask(site.port, files, "good").status == 200  # so that it is what is tried
        return found

    for name, found in at_all(sites, try_answers).items():
        assert set(found.values()) <= {302, *FAILED}, (name, found)
    for site in sites.values():
        site.service.start()
    at_all(sites, lambda site: recovers(site, files))


class ReusingServer(socketserver.ThreadingTCPServer):
    """It listens where another did a moment ago."""

    allow_reuse_address = True


@contextlib.contextmanager
def in_its_place(address: int | Path) -> Iterator[list[bytes]]:
    """Listen where the service did; give the parts of the answer to the next requests."""
    said: list[bytes] = []

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            while self.rfile.readline().strip():
                pass
            with contextlib.suppress(OSError):
                for number, part in enumerate(list(said)):
                    time.sleep(0.05 if number else 0)
                    self.wfile.write(part)

    server: socketserver.ThreadingTCPServer | socketserver.ThreadingUnixStreamServer
    if isinstance(address, int):
        server = ReusingServer(("127.0.0.1", address), Handler)
    else:
        address.unlink(missing_ok=True)
        server = socketserver.ThreadingUnixStreamServer(str(address), Handler)
        address.chmod(0o666)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield said
    finally:
        server.shutdown()
        server.server_close()
        if isinstance(address, Path):
            address.unlink()


# ---- who verified it -------------------------------------------------------------

TELL = ("nginx", "haproxy", "apache")
"""The proxies that tell a recipe whether they have verified a certificate."""


@pytest.mark.parametrize(
    ("verified_by", "names"), [("proxy", tuple(RECIPES)), ("crlcheck", ("caddy",))]
)
def test_proxies_that_verify_nothing(
    verified_by: str, names: tuple[str, ...], files: Path, application: int
) -> None:
    """
    A forged certificate reaches the service where the proxy lets any through TLS. The
    recipes of proxies that tell refuse it. Behind those that do not, it passes where the
    service was told that the proxy verifies, and is refused where the service does.
    """
    directory = files / verified_by
    with running_sites(
        names, files, directory, application, verified_by=verified_by, changes=OPTIONAL
    ) as sites:
        for name, site in sites.items():
            knows_authority = name not in ("nginx", "apache")
            assert (ask(site.port, files, "good").status == 200) is knows_authority, name
            assert ask(site.port, files, "revoked").status in (403, 503), name
            assert ask(site.port, files, None).status == 403, name
            found = {
                ask(site.port, files, "forged").status,
                curl(site.port, files, "forged", "2").status,
                resumed(site, files, "forged"),
            }
            passes = verified_by == "proxy" and name not in TELL
            assert found <= ({200} if passes else {403, 503}), name


def resumed(site: Site, files: Path, client: str) -> int:
    """Ask in a session of TLS that is resumed, in which the client sends no certificate."""
    context = tls_of(files, client)
    session = None
    for _ in range(2):
        with (
            socket.create_connection(("localhost", site.port), 30) as plain,
            context.wrap_socket(plain, server_hostname="localhost", session=session) as secured,
        ):
            secured.sendall(b"GET /hello HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            status = int(secured.makefile("rb").readline().split()[1])
            # Later versions of Caddy resume none in which there was a client certificate.
            assert site.name == "caddy" or secured.session_reused is (session is not None)
            session = secured.session  # TLS 1.3 sends it beside the answer
    return status
