"""
Run nginx before a local server: it ends TLS and demands a client certificate.

``python -m crlcheck.demo.nginx`` runs it for as long as standard input is open. The
first line of output is its URL, as JSON.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from crlcheck.demo.process import ModuleProcess
from crlcheck.demo.tls import server_certificate

_PATIENCE = 20.0  # seconds to start, and to end after a signal

# Where distributions put it, which is not on every user's PATH.
_DIRECTORIES = ("/usr/sbin", "/usr/local/sbin")

# One process that stays in the foreground. The header that carries the certificate
# is set anew for every request, so that a client's own never gets through.
_CONFIGURATION = """
daemon off;
master_process off;
pid "{directory}/nginx.pid";
error_log "{directory}/error.log" warn;
events {{ worker_connections 256; }}
http {{
    access_log off;
    client_body_temp_path "{directory}/body";
    proxy_temp_path "{directory}/proxy";
    fastcgi_temp_path "{directory}/fastcgi";
    uwsgi_temp_path "{directory}/uwsgi";
    scgi_temp_path "{directory}/scgi";
    server {{
        listen 127.0.0.1:{port} ssl;
        server_name localhost;
        ssl_certificate "{directory}/server.pem";
        ssl_certificate_key "{directory}/server.key";
        ssl_client_certificate "{directory}/clients.pem";
        ssl_verify_client on;
        ssl_verify_depth 3;
        location / {{
            proxy_pass {upstream};
            proxy_set_header X-Client-Certificate $ssl_client_escaped_cert;
        }}
    }}
}}
"""


def find_nginx() -> str | None:
    """Return the path of the program, None where it is not installed."""
    places = [os.environ.get("PATH", os.defpath), *_DIRECTORIES]
    return shutil.which("nginx", path=os.pathsep.join(places))


@contextlib.contextmanager
def nginx(
    program: str, upstream: str, client_authorities: Sequence[bytes], directory: Path
) -> Iterator[str]:
    """
    Run *program* before *upstream* and give its URL. It ends with this process,
    however that ends, and trusts *client_authorities* (PEM) for clients; its own
    certificate is ``server.pem`` in *directory*.

    Raises:
        DemoError: it does not start.
    """
    certificate, key = server_certificate()
    (directory / "server.pem").write_bytes(certificate)
    (directory / "server.key").write_bytes(key)
    (directory / "clients.pem").write_bytes(b"".join(client_authorities))
    arguments = (program, upstream, str(directory))
    with ModuleProcess("crlcheck.demo.nginx", *arguments, environ=os.environ) as guard:
        yield guard.greeting


def main(program: str, upstream: str, directory: str) -> None:
    """Run nginx until standard input is closed."""
    port = _free_port()
    configuration = Path(directory, "nginx.conf")
    configuration.write_text(
        _CONFIGURATION.format(directory=directory, port=port, upstream=upstream)
    )
    # There is no -e, because nginx before 1.19.5 does not know it.
    command = [program, "-p", directory, "-c", str(configuration)]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    try:
        _wait_for(port, process)
        print(json.dumps(f"https://localhost:{port}"), flush=True)
        sys.stdin.read()
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
    sys.exit("nginx did not start")  # it has said why


if __name__ == "__main__":
    main(*sys.argv[1:])
