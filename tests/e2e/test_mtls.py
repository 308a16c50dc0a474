"""
Real mutual TLS from end to end: nginx ends it, a gateway makes API Gateway's events
of it, and the authorizer decides under AWS's runtime client, with images in S3.
"""

from __future__ import annotations

import json
import subprocess
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from crlcheck.demo.apis import HTTP, REST
from crlcheck.demo.gateway import Gateway, gateway
from crlcheck.demo.nginx import find_nginx, nginx
from crlcheck.demo.pki import IssuedCertificate
from crlcheck.demo.tls import get, write_client
from support.authorizer import PKI, publish
from support.moto_server import S3Environment

LATER_REVOKED = PKI.authority.issue("device 10")
CLIENTS = {"good": PKI.good, "revoked": PKI.revoked, "foreign": PKI.foreign, "later": LATER_REVOKED}
EXPECTED = {"good": (200, None), "revoked": (403, None), "foreign": (403, "unknown_issuer")}


@pytest.fixture(params=[REST, HTTP], ids=["rest", "http_2_0"])
def api(
    request: pytest.FixtureRequest, s3: S3Environment, tmp_path: Path
) -> Iterator[tuple[Gateway, str]]:
    """An API whose authorizer has two environments, and the URL by which clients reach it."""
    store = f"s3://{s3.bucket}/published"
    publish(store, PKI.crl(1))
    for name, client in CLIENTS.items():
        write_client(tmp_path, name, client)
    environ = {**s3.variables, "CRLCHECK_STORE": store, "CRLCHECK_LOG_LEVEL": "debug"}
    authorities = [PKI.authority.pem, PKI.stranger.pem]
    program = find_nginx()
    assert program is not None, "nginx is not installed: make e2e installs it"
    with (
        gateway(request.param, environ, num_environments=2) as started,
        nginx(program, started.url, authorities, tmp_path) as url,
    ):
        yield started, url


def ask(url: str, directory: Path, client: str) -> tuple[int, Any]:
    """Ask as *client* by Python's ssl; return the status and the authorizer's context."""
    status, body = get(f"{url}/orders/7", directory, client)
    return status, json.loads(body)


def curl(url: str, directory: Path, client: str, *options: str) -> int:
    """Ask as *client* by curl; return the status."""
    run = subprocess.run(
        ["curl", "--silent", "--output", "/dev/null", "--write-out", "%{http_code}",
         "--noproxy", "*", "--cacert", directory / "server.pem",
         "--cert", directory / f"{client}.pem", "--key", directory / f"{client}.key",
         *options, f"{url}/orders/8"],
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    return int(run.stdout)


def test_each_client_gets_what_it_should(api: tuple[Gateway, str], tmp_path: Path) -> None:
    """
    A good certificate gets 200, a revoked one and one of an authority without a CRL
    get 403, by Python and by curl, and the access log has the cause.
    """
    started, url = api
    for client, (status, cause) in EXPECTED.items():
        assert ask(url, tmp_path, client)[0] == status
        assert curl(url, tmp_path, client) == status
        for record in started.access_log[-2:]:
            assert (record["status"], record.get("cause")) == (status, cause)
    verdicts = [record["verdict"] for record in started.access_log]
    assert verdicts == ["not_revoked"] * 2 + ["revoked"] * 2 + ["undetermined"] * 2


def test_a_client_s_own_header_does_not_help(api: tuple[Gateway, str], tmp_path: Path) -> None:
    """
    What a client sends in the name of the terminator, or of AWS, changes nothing; nor
    does a certificate that nobody trusts reach the authorizer.
    """
    started, url = api
    forged = ["--header", "X-Client-Certificate: forged", "--header", "X-Amzn-Mtls-Clientcert: x"]
    assert curl(url, tmp_path, "revoked", *forged) == 403
    assert curl(url, tmp_path, "good", *forged) == 200
    unknown: IssuedCertificate = type(PKI.authority).create("Example Issuing CA").issue("forged")
    write_client(tmp_path, "unknown", unknown)
    before = len(started.access_log)
    assert curl(url, tmp_path, "unknown") == 400
    assert len(started.access_log) == before


def wait_for_more(answers: list[Any], number: int) -> None:
    """Wait until so many more have come."""
    goal, deadline = len(answers) + number, time.monotonic() + 60
    while len(answers) < goal:
        assert time.monotonic() < deadline, "the requests do not flow"
        time.sleep(0.02)


def test_a_crl_that_comes_while_requests_flow(
    api: tuple[Gateway, str], s3: S3Environment, tmp_path: Path
) -> None:
    """
    From the next invocation on the newly revoked certificate is denied; no request
    fails, and each is answered by one CRL alone.
    """
    started, url = api
    published_at: list[float] = []
    answers: list[tuple[float, str, int, Any]] = []
    done = threading.Event()

    def flow(clients: list[str]) -> None:
        while not done.is_set():
            for client in clients:
                begun = time.monotonic()
                answers.append((begun, client, *ask(url, tmp_path, client)))

    flows = [
        threading.Thread(target=flow, args=(clients,))
        for clients in (["later", "good"], ["later", "revoked"])
    ]
    for thread in flows:
        thread.start()
    wait_for_more(answers, 8)
    serials = [c.certificate.serial_number for c in (PKI.revoked, LATER_REVOKED)]
    publish(f"s3://{s3.bucket}/published", PKI.crl(2, revoked=serials, age=timedelta(0)))
    published_at.append(time.monotonic())
    wait_for_more(answers, 12)
    done.set()
    for thread in flows:
        thread.join(60)
    numbers = {context["crl_number"] for _, _, _, context in answers}
    assert numbers == {"1", "2"}
    for begun, client, status, context in answers:
        second = context["crl_number"] == "2"
        revoked = client == "revoked" or (client == "later" and second)
        assert (status, context["verdict"]) == (
            (403, "revoked") if revoked else (200, "not_revoked")
        )
        if begun > published_at[0]:
            assert second, "answered by the older CRL after the newer one was published"
    assert {record["status"] for record in started.access_log} == {200, 403}
