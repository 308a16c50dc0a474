"""
What a service manager sees of the real service: a socket that it hands over, and the states.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from crlcheck.serve.settings import read_file, read_serve_settings
from crlcheck.serve.sockets import from_manager
from support.authorizer import publish
from support.python_servers import PKI
from support.serving import PATIENCE, Answer, Serving, settings_of

pytestmark = pytest.mark.uninstrumented

DEPLOY = Path(__file__).parents[2] / "deploy"


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A store with one CRL."""
    publish(tmp_path / "published", PKI.crl())
    return tmp_path / "published"


@contextlib.contextmanager
def activated(store: Path, path: Path, opened: socket.socket, told: str) -> Iterator[Serving]:
    """Run the service as systemd does: the socket is its descriptor 3, and it tells its states."""
    # Only the process itself knows its number beforehand.
    script = 'exec 3<&"$0" && LISTEN_PID=$$ LISTEN_FDS=1 exec "$@"'
    command = [sys.executable, "-P", "-m", "crlcheck", "serve", str(store)]
    environment = {**os.environ, **settings_of(proxies="unix"), "NOTIFY_SOCKET": told}
    log = path.with_name("activated.log")
    with log.open("ab") as file:
        process = subprocess.Popen(
            ["/bin/bash", "-c", script, str(opened.fileno()), *command],
            env=environment,
            pass_fds=[opened.fileno()],
            stdout=file,
            stderr=subprocess.STDOUT,
        )
    try:
        yield Serving(process, path, log, environment)
    finally:
        process.terminate()
        process.wait(PATIENCE)


def test_a_socket_that_is_handed_over_outlives_the_service(store: Path, tmp_path: Path) -> None:
    """
    A request that comes between two services waits for the next one. The manager hears when a
    service takes requests, reloads and stops.
    """
    path = tmp_path / "handed-over.sock"
    with socket.socket(socket.AF_UNIX) as opened, _states(tmp_path) as (told, states):
        opened.bind(str(path))
        opened.listen()
        with activated(store, path, opened, told) as service:
            assert next(states) == "READY=1"
            assert service.check("good").status == 204
            assert service.check("revoked").status == 403
            service.process.send_signal(signal.SIGHUP)
            assert re.fullmatch(r"RELOADING=1\nMONOTONIC_USEC=\d+", next(states))
            assert next(states) == "READY=1"
            assert service.check("good").status == 204
            assert service.stop() == 0
            assert next(states) == "STOPPING=1"
        assert path.exists()
        answers: list[Answer] = []
        waiting = threading.Thread(target=lambda: answers.append(service.check("good")))
        waiting.start()
        with activated(store, path, opened, told) as service:
            waiting.join(PATIENCE)
            assert [one.status for one in answers] == [204]
            assert not service.said().count("ERROR")


@contextlib.contextmanager
def _states(tmp_path: Path) -> Iterator[tuple[str, Iterator[str]]]:
    """The address where a service tells its states, and what it tells there."""
    address = str(tmp_path / "notify.sock")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
        heard.bind(address)
        heard.settimeout(PATIENCE)
        yield address, iter(lambda: heard.recv(4096).decode(), "")


def test_a_socket_that_is_meant_for_another_process_is_left_alone() -> None:
    """
    The variables are inherited by children of a service that was activated.
    """
    for environ in (
        {},
        {"LISTEN_PID": str(os.getpid() + 1), "LISTEN_FDS": "1"},
        {"LISTEN_FDS": "1"},
    ):
        assert from_manager(environ) is None
    own = str(os.getpid())
    for number in ("0", "2", "x", ""):
        with pytest.raises(ValueError, match="LISTEN_FDS is "):
            from_manager({"LISTEN_PID": own, "LISTEN_FDS": number})


def test_the_settings_beside_the_unit_are_good() -> None:
    """
    The file that an operator begins with is read as it is.
    """
    path = DEPLOY / "systemd" / "serve.conf"
    settings = read_serve_settings({}, {}, path)
    found = {name: str(value).lower() for name, value in settings.as_dict().items()}
    assert found.items() >= {(name, value.lower()) for name, value in read_file(path).items()}


def test_the_container_starts_a_command_that_exists(store: Path) -> None:
    """
    Its entry point, its variables and an operator's own are settings of the service.
    """
    text = (DEPLOY / "Containerfile").read_text()
    entry = re.search(r'^ENTRYPOINT \["/opt/crlcheck/bin/crlcheck", "serve"\]$', text, re.MULTILINE)
    assert entry is not None
    block = re.search(r"^ENV ((?:.*\\\n)*.*)$", text, re.MULTILINE)
    assert block is not None
    pairs = dict(re.findall(r"(\w+)=(\S+)", block[1]))
    own = {name: value for name, value in pairs.items() if name.startswith("CRLCHECK_")}
    settings = read_serve_settings({**settings_of(store=store), **own}, {})
    assert str(settings.bind) == "unix:/run/crlcheck/crlcheck.sock"
    for place in (settings.bind.path.rpartition("/")[0], settings.image_directory):
        assert f"/{place}".replace("//", "/") in text.split("USER ")[0]
