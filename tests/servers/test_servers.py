"""
S3 servers of others: one that keeps the promises of a store, and one that must be refused.

``make stores`` installs them and names this folder. SERVERS says which of them to try.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from crlcheck.checker.checker import RevocationChecker
from crlcheck.cli import main
from crlcheck.errors import UnsafeStoreError
from crlcheck.stores import S3Store
from crlcheck.stores.probe import probe_store
from crlcheck.types import RevocationStatus
from support.documents import document
from support.moto_server import environment_variables, make_client, moto_server
from support.pki import NOW, make_crl
from support.pki import make_client as make_certificate
from support.publishing import CA, publish
from support.store_worker import increment

INSTALLED = Path(__file__).parents[2] / "build" / "stores"
SERVERS = os.environ.get("SERVERS", "rclone localstack").split()
GOOD = ["moto", *(name for name in SERVERS if name == "localstack")]
BAD = [name for name in SERVERS if name == "rclone"]
_SECONDS_TO_START = 120


@contextlib.contextmanager
def running(command: list[str], port: int, path: Path, **variables: str) -> Iterator[str]:
    """Run a server until the block ends; its endpoint, once it takes connections."""
    with (path / "log").open("wb") as log:
        process = subprocess.Popen(
            command, stdout=log, stderr=log, cwd=path, env={**os.environ, **variables}
        )
    try:
        ends = time.monotonic() + _SECONDS_TO_START
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            shown = (path / "log").read_text("utf-8", "replace")
            assert process.poll() is None, shown
            assert time.monotonic() < ends, shown
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextlib.contextmanager
def served(name: str, path: Path) -> Iterator[str]:
    """Run a server by its name."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    address = f"127.0.0.1:{port}"
    if name == "moto":
        with moto_server() as endpoint:
            yield endpoint
    elif name == "rclone":
        (path / "data").mkdir()
        rclone = str(INSTALLED / "rclone" / "bin" / "rclone")
        command = [rclone, "serve", "s3", "data", "--addr", address]
        keys = environment_variables("")["AWS_ACCESS_KEY_ID"], "test"
        for key in keys:
            command += ["--auth-key", f"{key},{key}"]
        with running(command, port, path, RCLONE_CONFIG=os.devnull) as endpoint:
            yield endpoint
    else:
        python = str(INSTALLED / "localstack" / "bin" / "python")
        with running(
            [python, "-m", "localstack.runtime.main"],
            port,
            path,
            GATEWAY_LISTEN=address,
            SERVICES="s3",
            DNS_ADDRESS="0",  # it would ask the Internet
            DISABLE_EVENTS="1",
            SKIP_SSL_CERT_DOWNLOAD="1",
            FILESYSTEM_ROOT=str(path / "localstack"),
        ) as endpoint:
            yield endpoint


@pytest.fixture(scope="module")
def endpoints(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The servers' endpoints, each with a bucket."""
    with contextlib.ExitStack() as stack:
        found = {}
        for name in (*GOOD, *BAD):
            path = tmp_path_factory.mktemp(name)
            found[name] = stack.enter_context(served(name, path))
            make_client(found[name]).create_bucket(Bucket="bucket")
        yield found


@pytest.fixture
def use(endpoints: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Any:
    """Lead AWS clients to a server by its name."""

    def lead(name: str) -> None:
        for variable, value in environment_variables(endpoints[name]).items():
            monkeypatch.setenv(variable, value)

    return lead


def stores_at(prefix: str) -> dict[str, S3Store]:
    """A store that reads by our own GETs, and one that reads by botocore."""
    own = S3Store(f"s3://bucket/{prefix}/own")
    assert own.getter is not None
    return {"own": own, "botocore": S3Store(f"s3://bucket/{prefix}/botocore", client=own.client)}


@pytest.mark.parametrize("name", GOOD)
def test_a_good_server_is_taken(use: Any, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The probe passes with many races, ``doctor`` finds no failure, and a check is right."""
    use(name)
    for store in stores_at("good").values():
        probe_store(store, num_races=10)
        publish(store, make_crl(CA, 1, [7]))
        checker = RevocationChecker(store, clock=lambda: NOW)
        assert checker.check(make_certificate(CA, 7)).status is RevocationStatus.REVOKED
        assert checker.check(make_certificate(CA, 8)).status is RevocationStatus.NOT_REVOKED
        capsys.readouterr()
        assert main(["doctor", store.url, "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["failed"] == 0


@pytest.mark.parametrize("name", GOOD)
def test_a_good_server_loses_no_update(use: Any, name: str) -> None:
    """Four threads that add to one number by compare-and-swap end at their total."""
    use(name)
    for store in stores_at("count").values():
        store.write("number", b"0")
        threads = [threading.Thread(target=increment, args=(store, "number", 10)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert store.read("number").body == b"40"


@pytest.mark.parametrize("name", BAD)
def test_a_bad_server_is_refused(use: Any, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is published, nothing is left, and ``doctor`` says why."""
    use(name)
    for store in stores_at("bad").values():
        with pytest.raises(UnsafeStoreError, match="was answered 200, expected 412"):
            publish(store, make_crl(CA, 1))
        assert list(store.names("")) == []
        capsys.readouterr()
        assert main(["doctor", store.url, "--json"]) == 4
        checks = {one["name"]: one for one in json.loads(capsys.readouterr().out)["checks"]}
        for promise in ("if none match", "if match", "one winner"):
            assert checks[promise]["outcome"] == "failed"


def test_the_versions_are_those_of_the_table() -> None:
    """docs/guides/stores.md names what is tried here."""
    table = document("stores.md").read_text("utf-8")
    for name, version in (("LocalStack 4.9", "==4.9."), ("rclone 1.75", "==1.75.")):
        assert name in table
        pins = Path(__file__).with_name(f"{name.split()[0].lower()}.txt")
        assert version in pins.read_text("utf-8")
