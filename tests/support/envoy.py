"""
Run Envoy by the recipes of docs/guides/serve.md, before an application that shows what it gets.
"""

from __future__ import annotations

import contextlib
import http.server
import json
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from support.python_servers import EXAMPLES, free_port, listens

# `make e2e` installs it apart: the wheel has a Python package `envoy`, as others do.
ENVOY = next(
    (Path(__file__).parents[2] / "build" / "e2e" / "envoy").glob(
        "lib/*/site-packages/envoy/_bin/envoy"
    ),
    None,
)
RECIPES = {"grpc": EXAMPLES / "envoy_serve.yaml", "http": EXAMPLES / "envoy_serve_http.yaml"}
_PATIENCE = 60.0


class _Application(http.server.BaseHTTPRequestHandler):
    """Answers with its request's headers as JSON, and a WebSocket with one message."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        told = json.dumps([[name.lower(), value] for name, value in self.headers.items()]).encode()
        if self.headers.get("Upgrade", "").lower() == "websocket":
            self.send_response(101)
            self.send_header("Upgrade", "websocket")
            self.send_header("Connection", "Upgrade")
            self.end_headers()
            self.wfile.write(b"\x81\x04true")
            self.close_connection = True
            return
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(told)))
        self.end_headers()
        self.wfile.write(told)

    def log_message(self, *arguments: Any) -> None:
        """Keep the output of tests to themselves."""


@contextlib.contextmanager
def application() -> Iterator[int]:
    """Run the application behind Envoy; give its port."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Application) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


@contextlib.contextmanager
def running_envoy(
    kind: str, directory: Path, application_port: int, changes: Mapping[str, str] | None = None
) -> Iterator[int]:
    """
    Run Envoy by a recipe with *changes*, in a directory with the files of TLS; give its port.

    crlcheck listens in ``socket`` of it.
    """
    assert ENVOY is not None, "Envoy is not installed: make e2e installs it"
    port = free_port()
    text = RECIPES[kind].read_text()
    replaced = {
        "0.0.0.0, port_value: 8443": f"127.0.0.1, port_value: {port}",
        "port_value: 8000": f"port_value: {application_port}",
        "/run/crlcheck": str(directory / "socket"),
        **(changes or {}),
    }
    for shown, used in replaced.items():
        assert text.count(shown) == 1, shown
        text = text.replace(shown, used)
    configuration = directory / f"envoy-{port}.yaml"
    configuration.write_text(text)
    log = directory / f"envoy-{port}.log"
    options = ["--disable-hot-restart", "--concurrency", "1", "--log-path", str(log)]
    command = [str(ENVOY), "-c", str(configuration), *options]
    process = subprocess.Popen(
        command, cwd=directory, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        deadline = time.monotonic() + _PATIENCE
        while not listens(port):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
        yield port
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
