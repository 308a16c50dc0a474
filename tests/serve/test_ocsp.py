"""
``/ocsp`` of the real service: by HTTP clients, and by ``openssl ocsp``.
"""

from __future__ import annotations

import asyncio
import base64
import os
import re
import signal
import subprocess
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from urllib.parse import quote

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp

from crlcheck import ResponderKeyError
from crlcheck.demo.pki import IssuedCertificate
from crlcheck.ocsp import OcspAnswer, OcspResponder
from crlcheck.serve.application import routes
from crlcheck.serve.http import Message, Request, Response
from crlcheck.serve.ocsp import Ocsp
from crlcheck.serve.settings import ServeSettings, read_serve_settings
from crlcheck.serve.supervisor import Supervisor
from crlcheck.serve.worker import load_ocsp_keys, make_service
from support.authorizer import publish
from support.checking import make_checker
from support.memory_store import MemoryStore
from support.ocsp import make_request, make_responder, write_pair
from support.python_servers import PKI
from support.serving import PATIENCE, Answer, Serving, serving, settings_of, wait_until

pytestmark = pytest.mark.uninstrumented

NOW = datetime.now(UTC).replace(microsecond=0)
TYPE = {"Content-Type": "application/ocsp-request"}
RESPONSE = "application/ocsp-response"
GOOD, REVOKED = PKI.good.certificate, PKI.revoked.certificate
REQUEST = make_request(PKI.authority, GOOD.serial_number)


def responder(days: float = 30) -> IssuedCertificate:
    """A delegated responder of the example issuer, valid now."""
    return make_responder(
        PKI.authority, not_before=NOW - timedelta(days=1), not_after=NOW + timedelta(days=days)
    )


RESPONDER = responder()


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """A service beside a store with one CRL, and a responder's key."""
    directory = tmp_path_factory.mktemp("ocsp")
    publish(directory / "published", PKI.crl())
    keys = directory / "keys"
    keys.mkdir()
    write_pair(keys, "example", RESPONDER)
    for name in ("good", "revoked", "foreign", "authority", "stranger"):
        (directory / f"{name}.pem").write_bytes(getattr(PKI, name).pem)
    with serving(directory / "published", directory, over="tcp", ocsp_responders=keys) as made:
        yield made


def read(answer: Answer) -> ocsp.OCSPResponse:
    """The response in an answer."""
    assert (answer.status, answer.headers["content-type"]) == (200, RESPONSE)
    assert answer.headers["content-length"] == str(len(answer.body))
    return ocsp.load_der_ocsp_response(answer.body)


def in_path(request: bytes) -> str:
    """A request in base64, URL-encoded."""
    return quote(base64.b64encode(request), safe="")


# ---- over HTTP -----------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_request_is_answered(service: Serving, method: str) -> None:
    """By either method, with the same bytes while the same is true."""
    answers = []
    for certificate, status in (
        (GOOD, ocsp.OCSPCertStatus.GOOD),
        (REVOKED, ocsp.OCSPCertStatus.REVOKED),
    ):
        body = make_request(PKI.authority, certificate.serial_number, algorithm=hashes.SHA256())
        for _ in range(2):
            if method == "POST":
                answer = service.ask("/ocsp", TYPE, "POST", body)
            else:
                answer = service.ask(f"/ocsp/{in_path(body)}")
            assert read(answer).certificate_status is status
            answers.append(answer.body)
    assert len(set(answers)) == 2


@pytest.mark.parametrize(
    "path",
    [
        f"/ocsp/{base64.b64encode(REQUEST).decode()}",
        f"/ocsp//{base64.b64encode(REQUEST).decode()}",
        f"/ocsp/{in_path(REQUEST)}",
        f"/ocsp/{quote(in_path(REQUEST))}",
        f"/ocsp/%2F{in_path(REQUEST)}",
        f"/ocsp/{in_path(REQUEST).replace('%3D', '')}",
        f"/ocsp/{in_path(REQUEST)}?source=somebody",
    ],
    ids=["plain", "two slashes", "encoded", "encoded twice", "a slash", "unpadded", "a query"],
)
def test_a_get_may_be_spelt_in_several_ways(service: Serving, path: str) -> None:
    """As clients and proxies do."""
    assert read(service.ask(path)).certificate_status is ocsp.OCSPCertStatus.GOOD


def test_slashes_inside_a_request_are_part_of_it(service: Serving) -> None:
    """Two of them together, as base64 may have them."""
    for number in range(10_000):
        body = make_request(PKI.stranger, number << 40 | 0xFFFFFFFFFF)
        if b"//" in base64.b64encode(body):
            break
    path = f"/ocsp/{base64.b64encode(body).decode()}"
    assert "//" in path
    unauthorized = ocsp.OCSPResponseStatus.UNAUTHORIZED
    assert read(service.ask(path)).response_status is unauthorized


def test_an_answer_may_be_kept_until_its_end(service: Serving) -> None:
    """RFC 5019 6.2; a client that has it already gets no body."""
    answer = service.ask(f"/ocsp/{in_path(REQUEST)}")
    response = read(answer)
    end = response.next_update_utc
    assert end is not None
    assert parsedate_to_datetime(answer.headers["last-modified"]) == response.this_update_utc
    assert parsedate_to_datetime(answer.headers["expires"]) == end
    found = re.fullmatch(
        r"max-age=(\d+), public, no-transform, must-revalidate", answer.headers["cache-control"]
    )
    assert found is not None
    left = (end - datetime.now(UTC)).total_seconds()
    assert left - 1 <= int(found[1]) <= left + PATIENCE
    date = parsedate_to_datetime(answer.headers["date"])
    assert abs(date - datetime.now(UTC)) < timedelta(seconds=PATIENCE)
    etag = answer.headers["etag"]
    for value in (etag, f'"x", {etag}', f"W/{etag}", "*"):
        again = service.ask(f"/ocsp/{in_path(REQUEST)}", {"If-None-Match": value})
        assert (again.status, again.body) == (304, b"")
        assert again.headers["etag"] == etag
    other = service.ask(f"/ocsp/{in_path(REQUEST)}", {"If-None-Match": '"x"'})
    assert other.body == answer.body
    head = service.ask(f"/ocsp/{in_path(REQUEST)}", method="HEAD")
    assert (head.status, head.body, head.headers["etag"]) == (200, b"", etag)


def test_what_is_for_one_client_or_may_pass_is_not_kept(service: Serving) -> None:
    """A nonce, and every refusal."""
    for body in (
        make_request(PKI.authority, GOOD.serial_number, nonce=b"n" * 32),
        make_request(PKI.stranger, GOOD.serial_number),
        b"nonsense",
    ):
        answer = service.ask(f"/ocsp/{in_path(body)}")
        read(answer)
        assert answer.headers["cache-control"] == "no-store"
        assert not {"etag", "expires", "last-modified"} & set(answer.headers)


@pytest.mark.parametrize(
    "path", ["/ocsp", "/ocsp/", "/ocsp/nonsense", "/ocsp/%", "/ocsp/%ff", "/ocsp//"]
)
def test_a_path_without_a_request_is_malformed(service: Serving, path: str) -> None:
    """And still an answer in OCSP."""
    malformed = ocsp.OCSPResponseStatus.MALFORMED_REQUEST
    assert read(service.ask(f"/ocsp{path}")).response_status is malformed


def test_a_post_has_its_type_and_its_bounds(service: Serving) -> None:
    """Anything else is refused by HTTP, before it is looked at."""
    for headers in (
        [],
        [("Content-Type", "text/plain")],
        [("Content-Type", "application/ocsp-response")],
        [*TYPE.items(), *TYPE.items()],
    ):
        assert service.ask("/ocsp", headers, "POST", REQUEST).status == 415
    for kind in ("Application/OCSP-Request", "application/ocsp-request; charset=binary"):
        answer = service.ask("/ocsp", {"Content-Type": kind}, "POST", REQUEST)
        assert read(answer).certificate_status is ocsp.OCSPCertStatus.GOOD
    assert service.ask("/ocsp", TYPE, "POST", b"x" * 8193).status == 413
    malformed = ocsp.OCSPResponseStatus.MALFORMED_REQUEST
    for body in (b"", b"x" * 8192):
        assert read(service.ask("/ocsp", TYPE, "POST", body)).response_status is malformed
    put = service.ask("/ocsp", TYPE, "PUT", REQUEST)
    assert (put.status, put.headers["allow"]) == (405, "GET, HEAD, POST")


def test_answers_are_counted(service: Serving) -> None:
    """By what they say."""

    def count(outcome: str) -> float:
        found = re.search(
            rf'crlcheck_ocsp_answers_total\{{outcome="{outcome}"\}} ([0-9.]+)',
            service.ask("/metrics").body.decode(),
        )
        return 0 if found is None else float(found[1])

    before = count("good"), count("malformed_request")
    service.ask(f"/ocsp/{in_path(REQUEST)}")
    service.ask("/ocsp/nonsense")
    assert (count("good"), count("malformed_request")) == (before[0] + 1, before[1] + 1)


# ---- openssl ocsp ----------------------------------------------------------------------------


def openssl(service: Serving, issuer: str, *certificates: str, options: str = "") -> str:
    """What ``openssl ocsp`` says."""
    command = [
        "openssl", "ocsp", "-url", f"http://127.0.0.1:{service.address}/ocsp",
        "-CAfile", "authority.pem", "-issuer", f"{issuer}.pem", *options.split(),
    ]  # fmt: skip
    for one in certificates:
        command += ["-cert", f"{one}.pem"]
    done = subprocess.run(
        command, cwd=service.log.parent, capture_output=True, text=True,
        timeout=PATIENCE, check=False,
    )  # fmt: skip
    return done.stdout + done.stderr


@pytest.mark.parametrize("options", ["", "-no_nonce", "-sha256 -no_nonce", "-sha512"])
def test_openssl_verifies_the_answers(service: Serving, options: str) -> None:
    """With its nonce and without; what is revoked has time and reason."""
    good = openssl(service, "authority", "good", options=options)
    assert "Response verify OK" in good
    assert "good.pem: good" in good
    assert "WARNING" not in good  # as of a nonce that was not sent back
    revoked = openssl(service, "authority", "revoked", options=options)
    assert "Response verify OK" in revoked
    assert "revoked.pem: revoked" in revoked
    assert "Reason: keyCompromise" in revoked
    since = re.search(r"Revocation Time: (.*) GMT", revoked)
    assert since is not None
    at = datetime.strptime(since[1], "%b %d %H:%M:%S %Y").replace(tzinfo=UTC)
    assert timedelta(minutes=59) < datetime.now(UTC) - at < timedelta(hours=2)


def test_openssl_is_told_what_is_not_answered(service: Serving) -> None:
    """Another issuer, and several certificates in one request."""
    foreign = openssl(service, "stranger", "foreign")
    assert "Responder Error: unauthorized (6)" in foreign
    several = openssl(service, "authority", "good", "revoked")
    assert "Responder Error: malformedrequest (1)" in several


# ---- settings ----------------------------------------------------------------------------------


def settings(tmp_path: Path, **more: object) -> ServeSettings:
    """The settings of a service that is not started."""
    return read_serve_settings({}, settings_of(store=tmp_path / "published", **more))


def test_without_keys_there_is_no_such_path(tmp_path: Path) -> None:
    """A 404 is no answer in OCSP."""
    keys = tmp_path / "keys"
    keys.mkdir()
    write_pair(keys, "example", RESPONDER)
    for more, expected in (({}, False), ({"ocsp_responders": keys}, True)):
        found = settings(tmp_path, **more)
        service = make_service(found, ocsp_keys=load_ocsp_keys(found))
        assert ("/ocsp" in {route.path for route in routes(service)}) == expected


def test_keys_are_read_again_at_sighup(tmp_path: Path) -> None:
    """Where they are good; a worker that is replaced does not need the files."""
    publish(tmp_path / "published", PKI.crl())
    keys = tmp_path / "keys"
    keys.mkdir()
    write_pair(keys, "example", RESPONDER)
    with serving(tmp_path / "published", tmp_path / "serve", ocsp_responders=keys) as running:

        def signer() -> bytes:
            response = read(running.ask("/ocsp", TYPE, "POST", REQUEST))
            return response.certificates[0].public_bytes(Encoding.DER)

        assert signer() == RESPONDER.der
        renewed = responder(60)
        write_pair(keys, "example", renewed)
        (keys / "example.key").chmod(0o640)
        running.process.send_signal(signal.SIGHUP)
        wait_until(lambda: "found 0640" in running.said(), running)
        (first,) = running.workers()
        os.kill(first, signal.SIGKILL)
        wait_until(lambda: running.workers() not in ([], [first]) and _is_up(running), running)
        assert signer() == RESPONDER.der
        (keys / "example.key").chmod(0o600)
        running.process.send_signal(signal.SIGHUP)
        wait_until(lambda: _is_up(running) and signer() == renewed.der, running)


def _is_up(service: Serving) -> bool:
    try:
        return service.ask("/livez").status == 200
    except OSError:
        return False


def test_keys_that_cannot_sign_stop_the_start(tmp_path: Path) -> None:
    """Before anything is opened."""
    keys = tmp_path / "keys"
    keys.mkdir()
    write_pair(keys, "example", PKI.good)
    found = settings(tmp_path, ocsp_responders=keys)
    with pytest.raises(ResponderKeyError, match="id-kp-OCSPSigning"):
        Supervisor(lambda: found, {}).run()


# ---- floods -------------------------------------------------------------------------------------


class _Slow(OcspResponder):
    """A responder that answers when it may."""

    def __init__(self) -> None:
        super().__init__(make_checker(MemoryStore()), ())
        self.may = threading.Event()

    def respond(self, request: bytes) -> OcspAnswer:
        self.may.wait(PATIENCE)
        return super().respond(request)


def test_so_many_requests_wait_and_further_ones_try_later() -> None:
    """And the event loop goes on meanwhile."""
    slow = _Slow()

    async def flood() -> list[Response]:
        served = Ocsp(slow)
        waiting = [asyncio.create_task(served.answer(_post())) for _ in range(256)]
        await asyncio.sleep(0)
        refused = [await served.answer(_post()) for _ in range(3)]
        slow.may.set()
        answered = await asyncio.gather(*waiting)
        return [*refused, *answered, await served.answer(_post())]

    responses = [ocsp.load_der_ocsp_response(one.body) for one in asyncio.run(flood())]
    statuses = [one.response_status for one in responses]
    try_later = ocsp.OCSPResponseStatus.TRY_LATER
    malformed = ocsp.OCSPResponseStatus.MALFORMED_REQUEST
    assert statuses == [try_later] * 3 + [malformed] * 257


def test_a_request_that_takes_too_long_is_told_so() -> None:
    """In OCSP, and its place is free again once its thread is."""
    slow = _Slow()

    async def ask() -> Response:
        served = Ocsp(slow)
        for _ in range(300):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0):
                    await served.answer(_post())
        slow.may.set()
        async with asyncio.timeout(PATIENCE):
            while True:
                response = await served.answer(_post())
                if response.body != served.too_late(_post()).body:
                    return response
                await asyncio.sleep(0.01)

    response = ocsp.load_der_ocsp_response(asyncio.run(ask()).body)
    assert response.response_status is ocsp.OCSPResponseStatus.MALFORMED_REQUEST


def _post() -> Request:
    async def receive() -> Message:
        return {"type": "http.request", "body": b"nonsense"}

    headers = [(b"content-type", b"application/ocsp-request")]
    return Request({"method": "POST", "path": "/ocsp", "headers": headers}, receive)
