"""
The recipe for gRPC as a process, with real clients.
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest

from support.authorizer import publish
from support.checking import eventually
from support.grpc_servers import PATIENCE, client_credentials
from support.python_servers import PKI, free_port, running, write_files

pytestmark = pytest.mark.uninstrumented


def test_the_recipe(tmp_path: Path) -> None:
    """
    Who is revoked, or of an issuer without a CRL, is denied, and a new CRL counts although no
    RPC asks the store.
    """
    write_files(tmp_path)
    store, port = tmp_path / "published", free_port()
    publish(store, PKI.crl())
    files = [str(tmp_path / name) for name in ("server.pem", "server.key", "clients.pem")]

    def ask(client: str) -> str:
        credentials = client_credentials(tmp_path, client)
        with grpc.secure_channel(f"localhost:{port}", credentials) as channel:
            hello: Any = channel.unary_unary("/Greeter/Hello")
            try:
                return str(hello(b"", timeout=PATIENCE), "ascii")
            except grpc.RpcError as error:
                return error.code().name

    with running("grpc_server", [str(port), *files], store, tmp_path / "log", port):
        assert ask("good") == "not_revoked"
        assert ask("revoked") == ask("foreign") == "PERMISSION_DENIED"
        serials = [one.certificate.serial_number for one in (PKI.good, PKI.revoked)]
        publish(store, PKI.crl(2, revoked=serials, age=timedelta(0)))
        eventually(lambda: ask("good") == "PERMISSION_DENIED")
