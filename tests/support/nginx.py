"""nginx before a local server: it ends TLS and demands a client certificate."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from support.tls import server_certificate

_PATIENCE = 20.0

# One process that stays in the foreground. The header that carries the certificate
# is set anew for every request, so that a client's own never gets through.
_CONFIGURATION = """
daemon off;
master_process off;
pid {directory}/nginx.pid;
error_log {directory}/error.log warn;
events {{ worker_connections 256; }}
http {{
    access_log off;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    server {{
        listen 127.0.0.1:{port} ssl;
        server_name localhost;
        ssl_certificate {directory}/server.pem;
        ssl_certificate_key {directory}/server.key;
        ssl_client_certificate {directory}/clients.pem;
        ssl_verify_client on;
        ssl_verify_depth 3;
        location / {{
            proxy_pass {upstream};
            proxy_set_header X-Client-Certificate $ssl_client_escaped_cert;
        }}
    }}
}}
"""


@contextlib.contextmanager
def nginx(upstream: str, client_authorities: Sequence[bytes], directory: Path) -> Iterator[str]:
    """
    Run nginx before *upstream* and give its URL. It trusts *client_authorities* (PEM)
    for clients; its own certificate is ``server.pem`` in *directory*.
    """
    program = shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")
    assert program is not None, "nginx is not installed: make e2e installs it"
    certificate, key = server_certificate()
    (directory / "server.pem").write_bytes(certificate)
    (directory / "server.key").write_bytes(key)
    (directory / "clients.pem").write_bytes(b"".join(client_authorities))
    port = _free_port()
    configuration = directory / "nginx.conf"
    configuration.write_text(
        _CONFIGURATION.format(directory=directory, port=port, upstream=upstream)
    )
    process = subprocess.Popen(
        [program, "-p", directory, "-c", configuration, "-e", directory / "error.log"],
        stdin=subprocess.DEVNULL,
    )
    try:
        _wait_for(port, process)
        yield f"https://localhost:{port}"
    finally:
        process.terminate()
        process.wait(_PATIENCE)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.02)
    raise AssertionError("nginx did not start")
