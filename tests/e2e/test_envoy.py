"""
Envoy by the recipes of docs/guides/serve.md before `crlcheck serve`, over gRPC and over HTTP: real
clients, forged headers, failures of the service, and a new CRL.
"""

from __future__ import annotations

import contextlib
import http.client
import http.server
import os
import resource
import signal
import socketserver
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from crlcheck.demo.pki import CertificateAuthority
from support.authorizer import publish
from support.envoy import application, running_envoy
from support.header_forms import as_envoy, as_nginx
from support.python_servers import PKI, get, handshake, listens, tls_of, write_files
from support.serving import PATIENCE, Serving, serving, wait_until

KINDS = ("grpc", "http")
TOLD = {"crlcheck-decision", "crlcheck-verdict", "crlcheck-cause", "crlcheck-serial-number"}


class Place:
    """A directory with a store, the files of TLS and the sockets of the service."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        write_files(directory)
        publish(directory / "published", PKI.crl())
        self.sockets = directory / "socket"

    @contextlib.contextmanager
    def service(self, **settings: Any) -> Iterator[Serving]:
        """Run `crlcheck serve` for Envoy."""
        bind = f"unix:{self.sockets / 'envoy.sock'}"
        with serving(
            self.directory / "published", self.directory, envoy_grpc=bind, **settings
        ) as made:
            wait_until(lambda: listens(self.sockets / "envoy.sock"), made)
            yield made

    def ask(
        self,
        port: int,
        client: str | None,
        path: str = "/hello",
        headers: Mapping[str, str] | None = None,
    ) -> tuple[int, Any]:
        """Ask Envoy as a client over HTTP/1.1."""
        context = tls_of(self.directory, client)
        connection = http.client.HTTPSConnection("localhost", port, timeout=30, context=context)
        return get(connection, path, list((headers or {}).items()))

    def ask_2(self, port: int, client: str | None, *options: str) -> tuple[int, str]:
        """Ask Envoy as a client over HTTP/2."""
        identity = ["--cert", f"{client}.pem", "--key", f"{client}.key"] if client else []
        found = subprocess.run(
            [
                *("curl", "--silent", "--http2", "--max-time", "30", "--cacert", "server.pem"),
                *(*identity, "--write-out", "\n%{http_version} %{http_code}", *options),
                f"https://localhost:{port}/hello",
            ],
            cwd=self.directory,
            capture_output=True,
            text=True,
            check=False,
        )
        body, _, end = found.stdout.rpartition("\n")
        version, status = end.split()
        assert version == "2" or status == "000", found
        return int(status), body

    def upgrade(self, port: int, client: str | None, headers: Mapping[str, str]) -> int:
        """Ask Envoy for a WebSocket; return the status."""
        return handshake(port, tls_of(self.directory, client), headers)[0]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """A store and the files of servers and clients."""
    return Place(tmp_path)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """The same, with a service that runs."""
    found = Place(tmp_path_factory.mktemp("envoy"))
    with found.service():
        yield found


@pytest.fixture(scope="module")
def behind() -> Iterator[int]:
    """The port of the application."""
    with application() as port:
        yield port


@pytest.fixture(scope="module")
def ports(shared: Place, behind: int) -> Iterator[dict[str, int]]:
    """The ports of Envoy by both recipes."""
    with contextlib.ExitStack() as stack:
        yield {
            kind: stack.enter_context(running_envoy(kind, shared.directory, behind))
            for kind in KINDS
        }


@pytest.mark.parametrize("kind", KINDS)
def test_clients(kind: str, shared: Place, ports: dict[str, int]) -> None:
    """
    A good client passes, a revoked one and one of an issuer without a CRL are denied, over
    HTTP/1.1, HTTP/2 and for a WebSocket; one without a certificate does not get that far.
    """
    port = ports[kind]
    for client, status, switched in (
        ("good", 200, 101),
        ("revoked", 403, 403),
        ("foreign", 403, 403),
    ):
        assert shared.ask(port, client)[0] == status, client
        assert shared.ask_2(port, client)[0] == status, client
        assert shared.upgrade(port, client, {}) == switched, client
    with pytest.raises((OSError, http.client.HTTPException)):
        shared.ask(port, None)
    assert shared.ask_2(port, None)[0] == 0


@pytest.mark.parametrize("kind", KINDS)
def test_forged_headers(kind: str, shared: Place, ports: dict[str, int]) -> None:
    """
    No header of a client counts, and the application sees none that would tell of a decision.
    """
    port = ports[kind]
    good = {"X-Client-Certificate": as_nginx([PKI.good.der])}
    for forged in (
        good,
        {"x_client_certificate": good["X-Client-Certificate"]},
        {"X-Forwarded-Client-Cert": as_envoy([PKI.good.der])},
        {**good, "Connection": "close, X-Client-Certificate"},
        {"X-Envoy-Auth-Headers-To-Remove": "x-client-certificate"},
        {"X-Envoy-Original-Path": "/livez", "X-Envoy-Internal": "true"},
    ):
        assert shared.ask(port, "revoked", headers=forged)[0] == 403, forged
        assert shared.ask_2(port, "revoked", *curl_headers(forged))[0] == 403, forged
        assert shared.upgrade(port, "revoked", forged) == 403, forged
        assert shared.ask(port, "good", headers=forged)[0] == 200, forged
    told = dict.fromkeys(TOLD, "forged") | {"crlcheck_verdict": "forged"}
    status, seen = shared.ask(port, "good", headers=told)
    assert status == 200
    assert "forged" not in [value for _, value in seen]
    found = {name: value for name, value in seen if name.startswith("crlcheck")}
    if kind == "grpc":  # what the client names in Connection goes no further than Envoy
        asked = {"Connection": "close, Crlcheck-Cause"}
        assert ["crlcheck-cause", "not_revoked"] in shared.ask(port, "good", headers=asked)[1]
    serial = f"{PKI.good.certificate.serial_number:x}"
    assert found == {} if kind == "http" else found["crlcheck-serial-number"] == serial


def curl_headers(headers: Mapping[str, str]) -> list[str]:
    """Options for curl. HTTP/2 has no Connection."""
    given = {name: value for name, value in headers.items() if name != "Connection"}
    return [part for name, value in given.items() for part in ("--header", f"{name}: {value}")]


@pytest.mark.parametrize("kind", KINDS)
def test_paths(kind: str, shared: Place, ports: dict[str, int]) -> None:
    """
    No path leads to what answers everybody with 200.
    """
    for path in (
        *("/../livez", "/../../livez", "//livez", "/%2e%2e/livez", "/..%2flivez", "/.././metrics"),
        *(
            "/?/../livez",
            "/;/../livez",
            "/livez",
            "/\\..\\livez",
            "/envoy/../../livez",
            "/#/../livez",
        ),
    ):
        assert shared.ask(ports[kind], "revoked", path)[0] in (400, 403), path


def test_denial_tells_what_check_does(shared: Place, ports: dict[str, int], behind: int) -> None:
    """
    A denial has the headers of /check, and is JSON where the client asks for it: over HTTP if
    Envoy hands on what the client asks for.
    """
    asked = {"Accept": "application/json"}
    shown = "failure_mode_allow: false"
    changes = {shown: f"{shown}\n              allowed_headers: {{patterns: [{{exact: accept}}]}}"}
    with running_envoy("http", shared.directory, behind, changes) as port:
        for one in (ports["grpc"], port):
            status, body = shared.ask_2(one, "revoked", "--dump-header", "-")
            assert status == 403
            assert "crlcheck-verdict: revoked\n" in body.lower()
            assert body.endswith("\nForbidden\n")
            status, members = shared.ask(one, "revoked", headers=asked)
            assert (status, members["decision"], members["verdict"]) == (403, "deny", "revoked")
    assert shared.ask(ports["http"], "revoked", headers=asked) == (403, "Forbidden\n")


# Envoy asks for a certificate, and lets whoever has none in.
OPTIONAL = {"require_client_certificate: true": "require_client_certificate: false"}


def test_without_certificate_denied(shared: Place, behind: int) -> None:
    """
    Where Envoy does not demand a certificate, crlcheck denies whoever has none, also with a
    header that would have one.
    """
    good = {"X-Client-Certificate": as_nginx([PKI.good.der])}
    for kind in KINDS:
        with running_envoy(kind, shared.directory, behind, OPTIONAL) as port:
            assert shared.ask(port, None)[0] == 403
            assert shared.ask(port, None, headers=good)[0] == 403
            assert shared.ask(port, "good")[0] == 200


def test_without_certificate_passed(place: Place, behind: int) -> None:
    """
    Where clients without a certificate pass, nobody does whose certificate Envoy keeps to
    itself.
    """
    untold = {"include_peer_certificate: true": "include_peer_certificate: false"}
    with place.service(without_certificate="pass"):
        for kind in KINDS:
            with running_envoy(kind, place.directory, behind, OPTIONAL) as port:
                assert place.ask(port, None)[0] == 200
                assert place.ask(port, "good")[0] == 200
                assert place.ask(port, "revoked")[0] == 403
        with running_envoy("grpc", place.directory, behind, {**OPTIONAL, **untold}) as port:
            assert place.ask(port, "revoked")[0] == 403
            assert place.ask(port, "good")[0] == 403


def test_verified_by_crlcheck(place: Place, behind: int) -> None:
    """
    A certificate that somebody made himself, with the issuer's name and key id, is denied by
    Envoy; and by crlcheck where Envoy lets it through and crlcheck verifies. Over HTTP it is
    in X-Forwarded-Client-Cert here, which is as good where Envoy sets it anew.
    """
    forger = CertificateAuthority.create("Example Issuing CA")
    made = forger.issue("device 7 of Mallory")
    (place.directory / "made.pem").write_bytes(made.pem)
    (place.directory / "made.key").write_bytes(made.key_pem)
    shown = "validation_context: {"
    accepts = {shown: f"{shown}trust_chain_verification: ACCEPT_UNTRUSTED, "}
    forwarded = {
        'headers_to_add: [{key: x-client-certificate, value: "%DOWNSTREAM_PEER_CERT%"}]': (
            "allowed_headers: {patterns: [{exact: x-forwarded-client-cert}]}"
        ),
        "stat_prefix: http": "stat_prefix: http\n"
        "          forward_client_cert_details: SANITIZE_SET\n"
        "          set_current_client_cert_details: {cert: true}",
    }
    good = as_envoy([PKI.good.der])
    settings = {"header": "X-Forwarded-Client-Cert", "form": "envoy"}
    with place.service(verified_by="crlcheck", **settings):
        for kind, changes in (("grpc", {}), ("http", forwarded)):
            with running_envoy(kind, place.directory, behind, {**changes, **accepts}) as port:
                for name in ("X-Forwarded-Client-Cert", "X_Forwarded_Client_Cert"):
                    headers = {name: good}
                    assert place.ask(port, "made", headers=headers)[0] == 403
                    assert place.ask(port, "revoked", headers=headers)[0] == 403
                    assert place.ask_2(port, "revoked", *curl_headers(headers))[0] == 403
                assert place.ask(port, "made")[0] == 403
                assert place.ask(port, "good")[0] == 200
                assert place.ask(port, "good", headers={"X-Forwarded-Client-Cert": "x"})[0] == 200
            with running_envoy(kind, place.directory, behind, changes) as port:
                assert place.ask(port, "good")[0] == 200
                with pytest.raises((OSError, http.client.HTTPException)):
                    place.ask(port, "made")


@contextlib.contextmanager
def answering(path: Path, said: bytes) -> Iterator[None]:
    """Answer whatever comes to a Unix socket by some bytes, and hang up."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.recv(1 << 16)
            self.request.sendall(said)

    path.unlink(missing_ok=True)
    with socketserver.ThreadingUnixStreamServer(str(path), Handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield
        server.shutdown()
    path.unlink()


# The preface of a server in HTTP/2: SETTINGS without any, and its acknowledgement.
_PREFACE = b"\0\0\0\4\0\0\0\0\0" + b"\0\0\0\4\1\0\0\0\0"
GARBAGE = {
    "http": (
        b"",
        b"\0" * 1000,
        b"HTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200",
    ),
    "grpc": (
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        _PREFACE,
        _PREFACE + b"\0\0\1\1\5\0\0\0\1\x88",  # :status 200, and the end of the stream
        _PREFACE + b"\0\0\1\1\4\0\0\0\1\x88\0\0\5\0\1\0\0\0\1\0\0\0\0\7",
    ),
}


def test_service_fails(place: Place, behind: int) -> None:
    """
    Nobody passes while the service hangs, is gone or answers something else; and all is as
    before when it is back.
    """
    quick = {"timeout: 2s": "timeout: 0.3s"}
    with contextlib.ExitStack() as stack:
        ports = {
            kind: stack.enter_context(running_envoy(kind, place.directory, behind, quick))
            for kind in KINDS
        }

        def found(client: str = "good") -> list[int]:
            return [place.ask(port, client)[0] for port in ports.values()]

        def pass_by() -> list[int]:
            return [status for status in found() if status == 200]

        def pass_by_without_descriptors(service: Serving) -> list[int]:
            """Ask by new connections, for which the service has no descriptors."""
            found = []
            (worker,) = service.workers()
            soft, hard = resource.prlimit(worker, resource.RLIMIT_NOFILE)
            resource.prlimit(worker, resource.RLIMIT_NOFILE, (0, hard))
            for kind in KINDS:
                with running_envoy(kind, place.directory, behind, quick) as port:
                    found.append(place.ask(port, "good")[0])
            resource.prlimit(worker, resource.RLIMIT_NOFILE, (soft, hard))
            return [status for status in found if status == 200]

        assert pass_by() == []  # it was never there
        with place.service() as service:
            processes = [service.process.pid, *service.workers()]
            wait_until(lambda: len(pass_by()) == 2, service)
            for one in processes:
                os.kill(one, signal.SIGSTOP)
            assert pass_by() == []
            for one in processes:
                os.kill(one, signal.SIGCONT)
            wait_until(lambda: len(pass_by()) == 2, service)
            os.kill(service.workers()[0], signal.SIGKILL)
            wait_until(lambda: processes[1] not in service.workers(), service)
            wait_until(lambda: len(pass_by()) == 2, service)  # by the next worker
            assert pass_by_without_descriptors(service) == []
            service.stop(signal.SIGKILL)
            # Workers end when their supervisor has.
            wait_until_gone(place.sockets / "envoy.sock")
            wait_until_gone(place.sockets / "crlcheck.sock")
            assert pass_by() == []
        for kind, name in (("http", "crlcheck.sock"), ("grpc", "envoy.sock")):
            for said in GARBAGE[kind]:
                with answering(place.sockets / name, said):
                    assert place.ask(ports[kind], "good")[0] != 200, said
        with place.service() as service:
            wait_until(lambda: len(pass_by()) == 2, service)
            assert found("revoked") == [403, 403]


def wait_until_gone(path: Path) -> None:
    """Wait until nobody listens at a socket."""
    deadline = time.monotonic() + PATIENCE
    while listens(path):
        assert time.monotonic() < deadline, path
        time.sleep(0.02)


def test_new_crl_under_load(place: Place, behind: int) -> None:
    """
    Whom a new CRL revokes is denied soon and from then on; no other request fails, also while
    the settings are read anew and the next workers take over.
    """
    # By the name of foreign, to have files.
    other = PKI.authority.issue("device 10 of Mallory")
    (place.directory / "foreign.pem").write_bytes(other.pem)
    (place.directory / "foreign.key").write_bytes(other.key_pem)
    seen: dict[tuple[str, str], list[int]] = {
        (kind, client): [] for kind in KINDS for client in ("good", "foreign")
    }
    is_over = threading.Event()
    # Envoy answers what it gave up on by 403 as well, unless told otherwise. On a machine that is
    # busy with other things that would look like a denial, and say nothing about the service.
    patient = {"timeout: 2s": "timeout: 20s"}
    told_apart = {"allow: false": "allow: false\n              status_on_error: {code: 503}"}

    def load(client: str, port: int, statuses: list[int]) -> None:
        context = tls_of(place.directory, client)
        connection = http.client.HTTPSConnection("localhost", port, timeout=30, context=context)
        with contextlib.closing(connection):
            while not is_over.wait(0.001):
                connection.request("GET", "/hello")
                answer = connection.getresponse()
                answer.read()
                statuses.append(answer.status)

    with place.service(request_time="20s") as service, contextlib.ExitStack() as stack:
        threads = []
        for kind in KINDS:
            port = stack.enter_context(
                running_envoy(kind, place.directory, behind, patient | told_apart)
            )
            threads += [
                threading.Thread(target=load, args=(client, port, statuses))
                for (of, client), statuses in seen.items()
                if of == kind
            ]
        stack.callback(lambda: list(map(threading.Thread.join, threads)))
        stack.callback(is_over.set)
        for thread in threads:
            thread.start()
        wait_until(lambda: all(len(one) > 5 for one in seen.values()), service)
        serials = [one.certificate.serial_number for one in (PKI.revoked, other)]
        publish(place.directory / "published", PKI.crl(2, revoked=serials, age=timedelta(0)))
        wait_until(lambda: all(403 in seen[kind, "foreign"] for kind in KINDS), service)
        old = service.workers()
        service.process.send_signal(signal.SIGHUP)
        wait_until(lambda: not set(old) & set(service.workers()), service)
        numbers = {key: len(statuses) for key, statuses in seen.items()}
        wait_until(lambda: all(len(one) > numbers[key] + 20 for key, one in seen.items()), service)
    for kind in KINDS:
        assert set(seen[kind, "good"]) == {200}, service.said()
        first = seen[kind, "foreign"].index(403)
        assert set(seen[kind, "foreign"][:first]) == {200}
        assert set(seen[kind, "foreign"][first:]) == {403}
