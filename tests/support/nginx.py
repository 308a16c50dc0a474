"""nginx as it serves a published store: plain, with its options, and behind caches."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from crlcheck.demo.nginx import find_nginx
from crlcheck.demo.tls import server_certificate

_PATIENCE = 20.0

_RECIPE = """
daemon off;
master_process off;
pid nginx.pid;
error_log error.log warn;
events {{ worker_connections 256; }}
http {{
    access_log off;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    {http}
}}
"""

# A file server over TLS with options; and two caches before it that take turns.
_CONFIGURATION = """
daemon off;
master_process off;
pid "{directory}/nginx.pid";
error_log "{directory}/error.log" warn;
events {{ worker_connections 256; }}
http {{
    access_log "{directory}/access.log";
    client_body_temp_path "{directory}/body";
    proxy_temp_path "{directory}/proxy";
    fastcgi_temp_path "{directory}/fastcgi";
    uwsgi_temp_path "{directory}/uwsgi";
    scgi_temp_path "{directory}/scgi";
    proxy_cache_path "{directory}/cache0" keys_zone=zone0:1m;
    proxy_cache_path "{directory}/cache1" keys_zone=zone1:1m;
    ssl_certificate "{directory}/server.pem";
    ssl_certificate_key "{directory}/server.key";
    upstream caches {{ server 127.0.0.1:{ports[2]}; server 127.0.0.1:{ports[3]}; }}
    server {{
        listen 127.0.0.1:{ports[0]} ssl;
        listen 127.0.0.1:{ports[4]};
        root "{root}";
        {options}
    }}
    server {{
        listen 127.0.0.1:{ports[1]} ssl;
        location / {{ proxy_pass http://caches; }}
    }}
    server {{
        listen 127.0.0.1:{ports[2]};
        location / {{
            proxy_pass http://127.0.0.1:{ports[4]};
            proxy_cache zone0;
            proxy_cache_valid 200 1h;
        }}
    }}
    server {{
        listen 127.0.0.1:{ports[3]};
        location / {{
            proxy_pass http://127.0.0.1:{ports[4]};
            proxy_cache zone1;
            proxy_cache_valid 200 1h;
        }}
    }}
}}
"""


class Served:
    """
    The URLs at which a directory is served: ``url`` by the file server, ``cached`` by two
    caches that take turns, ``caches`` by each of them alone.
    """

    def __init__(self, ports: list[int], directory: Path) -> None:
        self.url = f"https://localhost:{ports[0]}"
        self.cached = f"https://localhost:{ports[1]}"
        self.caches = [f"http://127.0.0.1:{ports[2]}", f"http://127.0.0.1:{ports[3]}"]
        self._log = directory / "access.log"

    def statuses(self, name: str) -> list[int]:
        """The statuses of the requests for what has *name* in its path, so far."""
        lines = self._log.read_text("utf-8").splitlines()
        return [int(line.split('"')[2].split()[0]) for line in lines if name in line]


def configuration_of(recipe: str) -> str:
    """
    Return a configuration with what a recipe has for ``http``.

    All its files lie in nginx's prefix (``nginx -p``).
    """
    return _RECIPE.format(http=recipe)


@contextlib.contextmanager
def serving_by_nginx(root: Path, directory: Path, options: str = "") -> Iterator[Served]:
    """
    Serve *root* until the block ends. The certificate is ``server.pem`` in *directory*.

    *options* are lines of the file server's configuration.
    """
    program = find_nginx()
    assert program is not None, "nginx is not installed: make e2e installs it"
    certificate, key = server_certificate()
    (directory / "server.pem").write_bytes(certificate)
    (directory / "server.key").write_bytes(key)
    with contextlib.ExitStack() as free:
        sockets = [free.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(5)]
        ports = [one.getsockname()[1] for one in sockets]
    configuration = directory / "nginx.conf"
    configuration.write_text(
        _CONFIGURATION.format(directory=directory, root=root, ports=ports, options=options)
    )
    command = [program, "-p", str(directory), "-c", str(configuration)]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    try:
        _wait_for(ports, process)
        yield Served(ports, directory)
    finally:
        process.terminate()
        process.wait(_PATIENCE)


def _wait_for(ports: list[int], process: subprocess.Popen[bytes]) -> None:
    ends = time.monotonic() + _PATIENCE
    for port in ports:
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            assert process.poll() is None, "nginx did not start"
            assert time.monotonic() < ends, "nginx did not start in time"
            time.sleep(0.02)
