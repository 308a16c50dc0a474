"""The commands of docs/guides/serve.md, with a socket, a port and a group of this machine."""

from __future__ import annotations

import contextlib
import grp
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

import crlcheck
from crlcheck.demo.nginx import find_nginx
from support.blocks import as_page, blocks
from support.console import commands_of
from support.example_pki import example_pki
from support.nginx import configuration_of
from support.ocsp import make_responder, write_pair
from support.pki import DAY
from support.python_servers import free_port

PKI = example_pki()
PATIENCE = 30.0


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """The store ``published``, and the certificate of a client that its CRL lists."""
    crlcheck.publish_crl(PKI.crl(), tmp_path / "published", issuer=PKI.authority.pem)
    (tmp_path / "client.pem").write_bytes(PKI.revoked.pem)
    return tmp_path


@contextlib.contextmanager
def running(command: str, place: Path, ready: str, accepts: int = 0) -> Iterator[None]:
    """
    Run *command* in the background, from when its log says that it is *ready* and a port
    *accepts* connections, until the block ends.
    """
    log = place / f"{len(list(place.iterdir()))}.log"
    own = Path(sys.executable).parent
    with log.open("wb") as file:
        process = subprocess.Popen(
            ["bash", "-c", f"exec {command.lstrip()}"],
            cwd=place,
            env={**os.environ, "PATH": f"{own}:/usr/sbin:{os.environ['PATH']}"},
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
        )
    try:
        ends = time.monotonic() + PATIENCE
        while ready not in log.read_text() or (accepts and not _accepts(accepts)):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < ends, log.read_text()
            time.sleep(0.05)
        yield
    finally:
        process.terminate()
        process.wait(PATIENCE)


def _accepts(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


def printed(command: str, place: Path) -> str:
    """What a command prints in the directory."""
    run = subprocess.run(
        ["bash", "-c", command],
        cwd=place,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL if command.startswith("curl") else subprocess.STDOUT,
        text=True,
        timeout=PATIENCE,
        check=True,
    )
    return run.stdout


def test_a_proxy_s_question(place: Path) -> None:
    """
    The service starts as the guide starts it, and answers curl with what is shown.
    """
    (start,) = blocks("serve.md", "## Start", language="sh")
    install, serve = start.text.split("\n", 1)
    assert install == "pip install '.[serve]'"
    here = {
        "/run/crlcheck": str(place / "run" / "crlcheck"),
        "www-data": grp.getgrgid(os.getgid()).gr_name,
    }
    (place / "run").mkdir()
    (asked,) = commands_of(as_page(blocks("serve.md", "## Start", language="console")))
    for there, name in here.items():
        assert there in serve
        serve = serve.replace(there, name)
    with running(serve, place, "listening"):
        answer = printed(asked.text.replace("/run/crlcheck", here["/run/crlcheck"]), place)
    shown = asked.output.replace("\n...\n", "\n*\n").removesuffix("\n...").split("\n*\n")
    pattern = r"\n(?:.*\n)*".join(re.escape(part) for part in shown)
    pattern = re.sub(r"(?<=serial\\-number:\\ )\w+", "[0-9a-f]+", pattern)
    assert re.fullmatch(rf"{pattern}\n(?:.*\n)*", answer), answer


@pytest.fixture
def ocsp(place: Path) -> Iterator[tuple[int, str]]:
    """The port of a service that answers OCSP, as the guide starts it, and the guide's question."""
    (example,) = blocks("serve.md", "## OCSP", language="sh")
    listing, names, serve, options, ask = example.text.splitlines()
    now = datetime.now(UTC).replace(microsecond=0)
    keys = place / "ocsp"
    keys.mkdir()
    write_pair(
        keys, "issuing", make_responder(PKI.authority, not_before=now - DAY, not_after=now + DAY)
    )
    (place / "issuing.pem").write_bytes(PKI.authority.pem)
    (place / "root.pem").write_bytes(PKI.authority.pem)
    port = free_port()
    listed = printed(listing.replace("/etc/crlcheck/ocsp", str(keys)), place)
    assert names == f"# {'  '.join(listed.split())}"
    options = options.replace("/etc/crlcheck/ocsp", f"{keys} --bind 127.0.0.1:{port}")
    with running(f"{serve}\n{options}", place, "listening"):
        yield port, ask


def test_openssl_asks(ocsp: tuple[int, str], place: Path) -> None:
    """
    OpenSSL accepts the signature, and says what the CRL says.
    """
    port, ask = ocsp
    answer = printed(ask.replace(":8765", f":{port}"), place)
    assert "Response verify OK" in answer
    assert "client.pem: revoked" in answer


def test_nginx_hands_on_ocsp(ocsp: tuple[int, str], place: Path) -> None:
    """
    And nothing else of the service.
    """
    port, ask = ocsp
    (shown,) = blocks("serve.md", "## OCSP", language="nginx")
    outside = free_port()
    location = shown.text.replace(":8765", f":{port}")
    prefix = place / "nginx"
    prefix.mkdir()
    (prefix / "nginx.conf").write_text(
        configuration_of(f"server {{ listen 127.0.0.1:{outside};\n{location} }}")
    )
    program = find_nginx()
    assert program is not None, "nginx is not installed: make journeys installs it"
    command = f"{program} -p {prefix} -c nginx.conf"
    with running(command, place, "", accepts=outside):
        answer = printed(ask.replace(":8765", f":{outside}"), place)
        status = "curl --silent --output /dev/null --write-out %{http_code}"
        other = printed(f"{status} http://127.0.0.1:{outside}/status", place)
    assert "client.pem: revoked" in answer
    assert other == "404"
