"""
``/check`` of the real service, over a Unix socket and over TCP.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.authorizer import publish
from support.python_servers import PKI, escaped
from support.serving import HEADER, Serving, serving

pytestmark = pytest.mark.uninstrumented


@pytest.fixture(scope="module", params=["unix", "tcp"])
def service(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Serving]:
    """A service beside a store with one CRL."""
    directory = tmp_path_factory.mktemp("serve")
    publish(directory / "published", PKI.crl())
    with serving(directory / "published", directory, over=request.param) as made:
        yield made


@pytest.mark.parametrize(
    ("client", "status", "verdict", "cause"),
    [
        ("good", 204, "not_revoked", "not_revoked"),
        ("revoked", 403, "revoked", "revoked"),
        ("foreign", 403, "undetermined", "unknown_issuer"),
        (None, 403, None, "no_certificate"),
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "OPTIONS", "PURGE"])
def test_the_status_says_whether_the_client_may_pass(
    service: Serving,
    client: str | None,
    status: int,
    verdict: str | None,
    cause: str,
    method: str,
) -> None:
    """
    204 for a certificate that is not revoked, 403 for all else, whatever the method: some
    proxies ask with that of the client.
    """
    headers = {} if client is None else {HEADER: escaped(client)}
    answer = service.ask(headers=headers, method=method)
    assert (answer.status, answer.cause) == (status, cause)
    assert answer.headers.get("crlcheck-verdict") == verdict
    assert answer.headers["cache-control"] == "no-store"


def test_the_headers_name_the_certificate_and_the_crl(service: Serving) -> None:
    """
    Serial number and CRL number of a verdict are told to the proxy.
    """
    for client in ("good", "revoked"):
        headers = service.check(client).headers
        assert (
            int(headers["crlcheck-serial-number"], 16)
            == getattr(PKI, client).certificate.serial_number
        )
        assert headers["crlcheck-crl-number"] == "1"


def test_a_denial_is_told_as_json_where_that_is_asked_for(service: Serving) -> None:
    """
    The body has what the headers have. A client that may pass gets 204 all the same, because
    a proxy may hand the client's own Accept on.
    """
    answer = service.check("revoked", Accept="text/plain;q=0.5, application/json;q=0.9")
    assert (answer.status, answer.headers["content-type"]) == (403, "application/json")
    assert json.loads(answer.body) == {
        "decision": "deny",
        "cause": "revoked",
        "verdict": "revoked",
        "serial_number": f"{PKI.revoked.certificate.serial_number:x}",
        "crl_number": "1",
    }
    assert service.check("revoked", Accept="*/*").body == b"Forbidden\n"
    assert service.check("good", Accept="application/json").status == 204


def test_a_header_that_may_be_the_clients_denies(service: Serving) -> None:
    """
    Twice, or with underscores, or in another form: one of them may be the client's own.
    """
    good = escaped("good")
    underscores = HEADER.replace("-", "_")
    for headers in (
        [(HEADER, good), (HEADER, good)],
        [(HEADER, good), (HEADER.lower(), good)],
        [(HEADER, good), (underscores, good)],
        [(underscores, good)],
        [("X_Client-Certificate", good)],
        [(HEADER, good), (HEADER, "")],
    ):
        answer = service.ask(headers=headers)
        assert (answer.status, answer.cause) == (403, "unclear_header"), headers
    for value in (f"{good},{good}", PKI.client("good").replace("\n", " "), "x", good[:-9]):
        answer = service.ask(headers=[(HEADER, value)])
        assert (answer.status, answer.cause) == (403, "malformed_certificate"), value


def test_a_request_to_upgrade_is_a_question_like_any_other(service: Serving) -> None:
    """
    A proxy that asks about a WebSocket may hand its headers on.
    """
    upgrade = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    }
    assert service.check("good", **upgrade).status == 204
    assert service.check("revoked", **upgrade).status == 403


def test_other_paths_and_methods_are_refused(service: Serving) -> None:
    """
    A path that only looks like one of the service's decides nothing.
    """
    headers = {HEADER: escaped("good")}
    for path in ("/", "/check/", "/check/x", "//check", "/Check", "/livez/x", "/%2fcheck"):
        assert service.ask(path, headers).status == 404, path
    assert service.ask("/livez", method="POST").status == 405


def test_the_probes_answer(service: Serving) -> None:
    """
    The worker lives, and the set decides on certificates.
    """
    assert service.ask("/livez").body == b"ok\n"
    answer = service.ask("/readyz")
    assert answer.status == 200
    assert json.loads(answer.body) == {"answering": True, "generation": 1}


def test_a_store_without_a_set_is_not_ready(tmp_path: Path) -> None:
    """
    It denies, and says that it is not ready.
    """
    with serving(tmp_path / "empty", tmp_path, wait_for_set="true") as made:
        assert made.ask("/readyz").status == 503
        answer = made.check("good")
        assert (answer.status, answer.cause) == (403, "store_unavailable")
