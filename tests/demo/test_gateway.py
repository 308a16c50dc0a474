"""The demo's gateway: what API Gateway makes of a client and of an authorizer's answer."""

from __future__ import annotations

import http.client
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest

import crlcheck
from crlcheck.demo import nginx as nginx_module
from crlcheck.demo.apis import HTTP, REST, Api
from crlcheck.demo.gateway import Gateway, access_log_line, gateway
from crlcheck.demo.nginx import find_nginx, nginx
from crlcheck.demo.process import DemoError
from support.authorizer import PKI

pytestmark = pytest.mark.uninstrumented


def ask(started: Gateway, pem: bytes) -> int:
    """Ask as nginx does; return the status."""
    connection = http.client.HTTPConnection(urlsplit(started.url).netloc, timeout=60)
    try:
        headers = {"X-Client-Certificate": quote(pem)}
        connection.request("GET", "/orders/9", headers=headers)
        return connection.getresponse().status
    finally:
        connection.close()


@pytest.mark.parametrize("api", [REST, HTTP], ids=lambda api: api.name)
def test_the_authorizer_s_answer_is_applied(api: Api, tmp_path: Path) -> None:
    """
    Who is allowed gets 200 and who is denied 403, and the access log has the reason.
    """
    crlcheck.publish_crl(PKI.crl(3), tmp_path, issuer=PKI.authority.pem)
    with gateway(api, {"CRLCHECK_STORE": str(tmp_path)}) as started:
        clients = (PKI.good, PKI.revoked, PKI.foreign)
        assert [ask(started, client.pem) for client in clients] == [200, 403, 403]
    assert list(map(access_log_line, started.access_log)) == [
        "GET /orders/9 200 verdict=not_revoked cause=- crl_number=3",
        "GET /orders/9 403 verdict=revoked cause=- crl_number=3",
        "GET /orders/9 403 verdict=undetermined cause=unknown_issuer crl_number=-",
    ]


def test_an_authorizer_that_fails_is_an_error_of_the_server() -> None:
    """
    A function that does not even start makes a 500, as at API Gateway, never a 200.
    """
    with gateway(REST, {}) as started:
        assert ask(started, PKI.good.pem) == 500
    (record,) = started.access_log
    assert access_log_line(record) == "GET /orders/9 500 verdict=- cause=- crl_number=-"


def test_nginx_is_found_where_distributions_put_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    On the PATH first, then where programs for administrators lie, else nowhere.
    """
    on_path, elsewhere = tmp_path / "bin", tmp_path / "sbin"
    monkeypatch.setenv("PATH", str(on_path))
    monkeypatch.setattr(nginx_module, "_DIRECTORIES", (str(elsewhere),))
    assert find_nginx() is None
    for directory in (elsewhere, on_path):
        directory.mkdir()
        program = directory / "nginx"
        program.touch(0o755)
        assert find_nginx() == str(program)


def test_an_nginx_that_does_not_start_says_why(tmp_path: Path) -> None:
    """
    What the program wrote before it ended is in the error.
    """
    program = tmp_path / "nginx"
    program.write_text('#!/bin/sh\necho "unknown directive: ssl" >&2\nexit 1\n')
    program.chmod(0o755)
    with (
        pytest.raises(DemoError, match="unknown directive: ssl"),
        nginx(str(program), "http://127.0.0.1:1", [PKI.authority.pem], tmp_path),
    ):
        pass
