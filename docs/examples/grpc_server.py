"""
A gRPC server that ends TLS and verifies the client certificates.

    CRLCHECK_STORE=published python grpc_server.py 8443 server.pem server.key clients.pem

The method is made by hand, without generated code. ``grpc.aio.server`` takes an
``AioRevocationInterceptor`` in the same way.
"""

from __future__ import annotations

import os
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import grpc

import crlcheck
from crlcheck.grpc import RevocationInterceptor, current_decision


def hello(_request: bytes, _context: grpc.ServicerContext) -> bytes:
    """Greet a client that is not revoked."""
    return current_decision().cause.encode()


def main(port: str, certificate: str, key: str, client_authorities: str) -> None:
    """Serve until the process is ended."""
    checker = crlcheck.RevocationChecker(
        os.environ["CRLCHECK_STORE"],
        refresh_after=timedelta(seconds=1),
        background_refresh=True,
        max_catalog_age=timedelta(hours=12),
    )
    checker.preload()  # so that the first RPC finds the set read
    server = grpc.server(
        ThreadPoolExecutor(8),
        interceptors=[RevocationInterceptor(checker, verified_by="server")],
    )
    methods: dict[str, grpc.RpcMethodHandler[bytes, bytes]] = {
        "Hello": grpc.unary_unary_rpc_method_handler(hello)
    }
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("Greeter", methods)])
    credentials = grpc.ssl_server_credentials(
        [(Path(key).read_bytes(), Path(certificate).read_bytes())],
        root_certificates=Path(client_authorities).read_bytes(),
        require_client_auth=True,
    )
    server.add_secure_port(f"[::]:{port}", credentials)
    server.start()
    server.wait_for_termination()


if __name__ == "__main__":
    main(*sys.argv[1:])
