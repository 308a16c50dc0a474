"""
A server of the standard library that ends TLS, and serves clients that are not revoked.

    CRLCHECK_STORE=published python ssl_server.py 8443 server.pem server.key clients.pem
"""

from __future__ import annotations

import os
import socket
import ssl
import sys
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import crlcheck
from crlcheck.ssl import guard


class Hello(BaseHTTPRequestHandler):
    """Greets a client that is not revoked."""

    timeout = 10.0

    def do_GET(self) -> None:
        """Greet."""
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(b'{"hello": "world"}')


class Server(ThreadingHTTPServer):
    """Shakes hands in the thread of each client, so that none holds up the others."""

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Serve a client whose handshake succeeds, which is when its certificate is good."""
        request.settimeout(10)
        try:
            request.do_handshake()
        except (OSError, ssl.SSLError):
            return  # the reason for a denial is in the log of crlcheck.access
        super().finish_request(request, client_address)


def main(port: str, certificate: str, key: str, client_authorities: str) -> None:
    """Serve until the process is ended."""
    checker = crlcheck.RevocationChecker(
        os.environ["CRLCHECK_STORE"],
        refresh_after=timedelta(seconds=1),
        background_refresh=True,
        max_catalog_age=timedelta(hours=12),
    )
    checker.preload()  # so that the first client finds the set read
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=client_authorities)
    context.load_cert_chain(certificate, key)
    context.verify_mode = ssl.CERT_REQUIRED
    guard(context, checker)
    server = Server(("", int(port)), Hello)
    plain: socket.socket = server.socket
    server.socket = context.wrap_socket(plain, server_side=True, do_handshake_on_connect=False)
    server.serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
