"""
The task definition for ECS: AWS's own description of it, and its containers as it starts them.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote

import boto3
import pytest
from botocore.validate import ParamValidator

from support.authorizer import publish
from support.documents import document
from support.proxies import Program
from support.python_servers import PKI, free_port
from support.serving import PATIENCE

DEPLOY = Path(__file__).parents[2] / "deploy"
TASK = json.loads((DEPLOY / "ecs" / "task-definition.json").read_text(encoding="utf-8"))
CONTAINERS = {one["name"]: one for one in TASK["containerDefinitions"]}
SIDECAR = CONTAINERS["crlcheck"]


def test_aws_takes_the_task_definition() -> None:
    """
    By botocore's description of RegisterTaskDefinition; what containers name is there.
    """
    client: Any = boto3.client("ecs", region_name="eu-central-1")
    shape = client.meta.service_model.operation_model("RegisterTaskDefinition").input_shape
    report = ParamValidator().validate(TASK, shape)
    assert not report.has_errors(), report.generate_report()
    volumes = {one["name"] for one in TASK["volumes"]}
    for container in CONTAINERS.values():
        assert {one["sourceVolume"] for one in container.get("mountPoints", ())} <= volumes
        assert {one["containerName"] for one in container.get("dependsOn", ())} <= set(CONTAINERS)


def test_the_sidecar_is_the_container_that_is_built() -> None:
    """
    Its user, its directory of images and its interpreter are those of the Containerfile.
    """
    text = (DEPLOY / "Containerfile").read_text(encoding="utf-8")
    assert f"USER {SIDECAR['user']}" in text
    # One that the image does not declare would belong to root.
    (declared,) = re.findall(r"^VOLUME (.*)$", text, re.MULTILINE)
    mounted = [one["containerPath"] for one in SIDECAR["mountPoints"]]
    assert set(mounted) <= set(json.loads(declared))
    (images,) = mounted
    assert environment()["CRLCHECK_IMAGE_DIRECTORY"] == images
    assert SIDECAR["healthCheck"]["command"][1].startswith("/opt/crlcheck/bin/")


def environment() -> dict[str, str]:
    """The variables that the task gives to the sidecar."""
    return {one["name"]: one["value"] for one in SIDECAR["environment"]}


class _Application(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        """Greet whoever comes through."""
        self.send_response(200)
        self.send_header("Content-Length", "5")
        self.end_headers()
        self.wfile.write(b"hello")

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002
        """Say nothing."""


@contextlib.contextmanager
def application() -> Iterator[int]:
    """The port of an application behind nginx."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Application) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


@contextlib.contextmanager
def task(directory: Path, **changes: str) -> Iterator[int]:
    """Run the containers of the task as processes, with *changes*; yield nginx's port."""
    service, outside = free_port(), free_port()
    variables = environment() | {
        "CRLCHECK_STORE": str(directory / "published"),
        "CRLCHECK_BIND": f"127.0.0.1:{service}",
        "CRLCHECK_IMAGE_DIRECTORY": str(directory),
        "CRLCHECK_REFRESH_AFTER": "1s",
        **changes,
    }
    text = (DEPLOY / "ecs" / "nginx.conf").read_text(encoding="utf-8")
    with application() as behind:
        for old, new in (("8765", service), ("listen 8080", f"listen 127.0.0.1:{outside}"),
                         ("8000", behind)):  # fmt: skip
            assert str(old) in text
            text = text.replace(str(old), str(new))
        whole = directory / "nginx.conf"
        whole.write_text(
            f"daemon off; pid {directory}/nginx.pid; error_log {directory}/error.log;\n"
            f"events {{}}\nhttp {{ access_log off;\n{text}}}\n",
            encoding="utf-8",
        )
        serve = [sys.executable, "-P", "-m", "crlcheck", "serve"]
        nginx = ["nginx", "-p", str(directory), "-c", str(whole)]
        with contextlib.ExitStack() as stack:
            for command, port in ((serve, service), (nginx, outside)):
                program = Program(command, directory / f"{port}.log", **variables)
                stack.callback(program.kill)
                program.wait_for(port)
            yield outside


def ask(port: int, client: str | None, path: str = "/orders") -> int:
    """What the load balancer's request for a client is answered."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    headers = {}
    if client is not None:
        # The load balancer leaves these characters as they are.
        headers["X-Amzn-Mtls-Clientcert-Leaf"] = quote(PKI.client(client), safe="+=/")
    with contextlib.closing(connection):
        connection.request("GET", path, headers=headers)
        return connection.getresponse().status


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A directory with a published set, which nginx's other user may enter."""
    publish(tmp_path / "published", PKI.crl())
    tmp_path.chmod(0o755)
    return tmp_path


def test_the_task_observes_first(place: Path) -> None:
    """
    As it is written down, everybody passes.
    """
    with task(place) as port:
        assert ask(port, None, "/healthz") == 200
        assert {client: ask(port, client) for client in ("good", "revoked", "foreign", None)} == {
            "good": 200,
            "revoked": 200,
            "foreign": 200,
            None: 200,
        }


def test_the_task_denies(place: Path) -> None:
    """
    With the one variable changed that the guide says.
    """
    guide = document("ecs.md").read_text(encoding="utf-8")
    assert re.search(r"`CRLCHECK_OBSERVE=true`.*set it to `false`", guide)
    with task(place, CRLCHECK_OBSERVE="false") as port:
        assert {client: ask(port, client) for client in ("good", "revoked", "foreign", None)} == {
            "good": 200,
            "revoked": 403,
            "foreign": 403,
            None: 403,
        }
        assert ask(port, "good", "/crlcheck") == 404  # it is not for clients
