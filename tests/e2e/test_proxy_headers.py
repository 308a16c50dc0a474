"""
The client's certificate in the header of a real nginx, read and checked behind it.
"""

from __future__ import annotations

import http.server
import itertools
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from crlcheck import RevocationChecker, certificate_from_header
from crlcheck.demo.nginx import find_nginx, nginx
from crlcheck.demo.pki import IssuedCertificate
from crlcheck.demo.tls import get, write_client
from support.authorizer import PKI, publish
from support.header_forms import base64_of

HEADER = "X-Client-Certificate"


@pytest.fixture
def service(tmp_path: Path) -> Iterator[str]:
    """A service behind nginx that answers with its client's verdict and serial number."""
    publish(tmp_path / "published", PKI.crl())
    checker = RevocationChecker(str(tmp_path / "published"))

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            (value,) = self.headers.get_all(HEADER, [])
            (client,) = certificate_from_header(value, form="nginx")
            result = checker.check(client)
            answer = f"{result.status.value} {client.serial_number}".encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *arguments: Any) -> None:
            """Keep the output of tests to themselves."""

    program = find_nginx()
    assert program is not None, "nginx is not installed: make e2e installs it"
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        upstream = f"http://127.0.0.1:{server.server_address[1]}"
        with nginx(program, upstream, [PKI.authority.pem], tmp_path) as url:
            yield url
        server.shutdown()
    checker.close()


def awkward() -> IssuedCertificate:
    """A client whose base64 has each character that nginx encodes."""
    issued = (PKI.authority.issue(f"client {number}") for number in itertools.count())
    return next(client for client in issued if set("+/=") <= set(base64_of(client.der)))


def test_nginx_hands_on_what_is_read(service: str, tmp_path: Path) -> None:
    """
    Good and revoked clients get the verdict on their own certificate.
    """
    for name, client, verdict in (
        ("good", PKI.good, "not_revoked"),
        ("revoked", PKI.revoked, "revoked"),
        ("awkward", awkward(), "not_revoked"),
    ):
        write_client(tmp_path, name, client)
        status, body = get(service, tmp_path, name)
        number = client.certificate.serial_number
        assert (status, body) == (200, f"{verdict} {number}".encode())
