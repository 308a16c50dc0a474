"""
The processes of the real service: workers that end, a stop and a reload under load, a new CRL.
"""

from __future__ import annotations

import contextlib
import http.client
import math
import os
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import crlcheck
from support.authorizer import publish
from support.python_servers import PKI, free_port
from support.serving import (
    PATIENCE,
    Serving,
    answer_over,
    ask_over,
    of_certificate,
    send,
    serving,
    settings_of,
    wait_until,
)

pytestmark = pytest.mark.uninstrumented


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A store with one CRL."""
    publish(tmp_path / "published", PKI.crl())
    return tmp_path / "published"


OWN = ("verified_by", "header", "form", "refresh_after", "workers")
"""The settings that a test has in a file."""


def descriptors(pid: int) -> int:
    """How many descriptors a process has open."""
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def is_alive(pid: int) -> bool:
    """Whether a process runs, and is not only waited for."""
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


def eventually(is_so: Callable[[], bool]) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + PATIENCE
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.02)


class Load:
    """
    Clients that ask all the time, each over a connection of its own for each request or over
    one that stays open.

    ``lost`` has what happened to a request that was sent at once and not answered. A connection
    that is refused, or that ends while it is idle, is no request: any proxy opens another one.
    """

    def __init__(self, service: Serving, num_clients: int = 4, *, keep: bool = False) -> None:
        self._service = service
        self._keep = keep
        self._is_over = threading.Event()
        self.answers: list[int] = []
        self.lost: list[BaseException] = []
        self._threads = [threading.Thread(target=self._run) for _ in range(num_clients)]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._is_over.set()
        for thread in self._threads:
            thread.join()

    def wait_for(self, number: int) -> None:
        """Wait until so many further requests are answered."""
        wanted = len(self.answers) + number
        eventually(lambda: len(self.answers) >= wanted)

    def _run(self) -> None:
        while not self._is_over.is_set():
            try:
                connection = self._service.connect()
            except OSError:
                time.sleep(0.01)
                continue
            connected, sent = time.monotonic(), math.inf
            with contextlib.closing(connection):
                while not self._is_over.is_set():
                    try:
                        send(connection, headers=of_certificate("good"))
                        sent = time.monotonic()
                        answer = answer_over(connection)
                    except (OSError, http.client.HTTPException) as error:
                        if not self._keep and sent - connected < 0.2:
                            self.lost.append(error)
                        break
                    self.answers.append(answer.status)
                    if not self._keep or answer.headers.get("connection") == "close":
                        break


def test_a_worker_that_is_killed_is_replaced(store: Path, tmp_path: Path) -> None:
    """
    Also several times in a row, and all of them at once. The log says so.
    """
    with serving(store, tmp_path, workers=2) as service:
        before = service.workers()
        assert len(before) == 2
        os.kill(before[0], signal.SIGKILL)
        wait_until(
            lambda: len(set(service.workers()) - {before[0]}) == 2 and not is_alive(before[0]),
            service,
        )
        assert service.check("good").status == 204
        for one in service.workers():
            os.kill(one, signal.SIGKILL)
        wait_until(lambda: _checks(service), service)
        assert service.check("revoked").status == 403
        assert f"(process {before[0]}) has ended by signal 9" in service.said()
        assert service.stop() == 0


def _checks(service: Serving) -> bool:
    try:
        return service.check("good").status == 204
    except OSError:
        return False


def test_a_new_worker_leaves_requests_to_those_that_have_a_set(store: Path, tmp_path: Path) -> None:
    """
    One that takes a place while the store is down would deny everybody. If no worker has a set,
    all deny rather than answer nothing.
    """
    away = store.with_name("away")
    with serving(store, tmp_path, workers=2, log_level="info") as service:
        wait_until(lambda: service.said().count("workers take requests") == 1, service)
        store.rename(away)
        first, second = service.workers()
        os.kill(first, signal.SIGKILL)
        wait_until(lambda: "leaves requests to the others" in service.said(), service)
        assert {service.check("good").status for _ in range(30)} == {204}
        os.kill(second, signal.SIGKILL)
        wait_until(lambda: _cause(service) == "store_unavailable", service)
        away.rename(store)
        wait_until(lambda: all(_cause(service) == "not_revoked" for _ in range(30)), service)


def _cause(service: Serving) -> str:
    try:
        return service.check("good").cause
    except OSError:
        return ""


def test_workers_end_with_their_supervisor(store: Path, tmp_path: Path) -> None:
    """
    None goes on with old settings that nobody can change.
    """
    with serving(store, tmp_path, workers=2) as service:
        workers = service.workers()
        assert len(workers) == 2
        service.process.kill()
        service.process.wait()
        eventually(lambda: not any(map(is_alive, workers)))
        # What is left of it does not keep the next one from starting.
        with serving(store, tmp_path, workers=1) as again:
            assert again.check("good").status == 204


@pytest.mark.parametrize(
    ("number", "keep"),
    [(signal.SIGTERM, False), (signal.SIGINT, True)],
    ids=["new connections", "kept connections"],
)
def test_a_stop_loses_no_request(
    store: Path, tmp_path: Path, number: signal.Signals, keep: bool
) -> None:
    """
    What was sent is answered, and the service ends with status 0 and leaves nothing behind.
    """
    with (
        serving(store, tmp_path, workers=2) as service,
        Load(service, keep=keep) as load,
    ):
        load.wait_for(50)
        assert service.stop(number) == 0
    assert load.lost == []
    assert set(load.answers) == {204}
    assert isinstance(service.address, Path)
    assert not service.address.exists()
    assert not list(tmp_path.glob("crlcheck-serve-*"))


def test_a_worker_that_hangs_is_killed(store: Path, tmp_path: Path) -> None:
    """
    After stop_time, at a stop as at a reload.
    """
    with serving(store, tmp_path, workers=1, stop_time="1s") as service:
        (old,) = service.workers()
        os.kill(old, signal.SIGSTOP)
        service.process.send_signal(signal.SIGHUP)
        wait_until(lambda: _checks(service) and not is_alive(old), service)
        (hung,) = service.workers()
        os.kill(hung, signal.SIGSTOP)
        assert service.stop() == 0
        assert service.said().count("does not end: it is killed") == 2


def test_a_stop_ends_idle_connections(store: Path, tmp_path: Path) -> None:
    """
    A proxy keeps some open all the time.
    """
    with serving(store, tmp_path, stop_time="50s") as service, service.raw() as idle:
        connection = service.connect()
        assert ask_over(connection, headers=of_certificate("good")).status == 204
        assert service.stop() == 0
        assert "is killed" not in service.said()
        assert idle.recv(1) == b""
        connection.close()


def settings_file(tmp_path: Path, **settings: str | None) -> Path:
    """A file with the settings that a test may change."""
    path = tmp_path / "crlcheck.conf"
    lines = [f"{name}={value}" for name, value in settings_of(**settings).items()]
    path.write_text("\n".join(["# settings", "", *lines, ""]))
    return path


def test_a_reload_changes_settings_and_loses_no_request(store: Path, tmp_path: Path) -> None:
    """
    The new ones count once all old workers have gone, in any number of workers.
    """
    file = settings_file(tmp_path)
    own: dict[str, Any] = dict.fromkeys(OWN)
    with (
        serving(store, tmp_path, "--settings", str(file), **own) as service,
        Load(service) as load,
    ):
        old = service.workers()
        assert service.check(None).status == 403
        load.wait_for(20)
        settings_file(tmp_path, without_certificate="pass", workers="3")
        service.process.send_signal(signal.SIGHUP)
        wait_until(
            lambda: len(service.workers()) == 3 and not set(old) & set(service.workers()), service
        )
        load.wait_for(20)
        assert {service.check(None).status for _ in range(12)} == {204}
        assert {service.check("revoked").status for _ in range(12)} == {403}
        assert "the new settings are in use" in service.said()
    assert load.lost == []
    assert set(load.answers) == {204}


BAD_SETTINGS: list[tuple[dict[str, str | None], str]] = [
    ({"workers": "many"}, "CRLCHECK_WORKERS in {file} is 'many': expected a whole number"),
    ({"form": "iis"}, "CRLCHECK_FORM in {file} is 'iis'"),
    ({"verified_by": None}, "CRLCHECK_VERIFIED_BY is not set and has no default"),
    ({"typo": "x"}, "CRLCHECK_TYPO in {file} is not a setting"),
    ({"unpublished_issuers": "/nowhere"}, "CRLCHECK_UNPUBLISHED_ISSUERS in {file} is '/nowhere'"),
    ({"root_keys": "ed25519:11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}, "no certificate"),
    ({"image_directory": "/"}, "CRLCHECK_IMAGE_DIRECTORY in {file} has changed"),
]


def test_bad_new_settings_change_nothing(store: Path, tmp_path: Path) -> None:
    """
    Neither do those with which no certificate could be decided on. The log says what is wrong,
    and names the file in which it stands.
    """
    own: dict[str, Any] = dict.fromkeys((*OWN, "image_directory"))
    file = settings_file(tmp_path, image_directory=str(tmp_path))
    with serving(store, tmp_path, "--settings", str(file), **own) as service:
        old = service.workers()

        def reload(**settings: str | None) -> str:
            before = service.said()
            settings_file(tmp_path, **{"image_directory": str(tmp_path), **settings})
            service.process.send_signal(signal.SIGHUP)
            wait_until(lambda: " settings " in service.said().removeprefix(before), service)
            return service.said().removeprefix(before)

        for settings, said in BAD_SETTINGS:
            found = reload(**settings).split("the old settings stay in use: ")[1]
            assert said.format(file=file) in found
            wait_until(lambda: service.workers() == old, service)
            assert service.check("good").status == 204
            assert service.check("revoked").status == 403
        # The next ones are good.
        assert "the new settings are in use" in reload(observe="true")
        wait_until(lambda: service.workers() != old and len(service.workers()) == 1, service)
        assert service.check("revoked").status == 204


def refused(*arguments: str, **settings: str | None) -> tuple[int, str]:
    """The exit status of a service that does not start, and what it says: only why."""
    given = {name: value for name, value in os.environ.items() if not name.startswith("CRLCHECK_")}
    run = subprocess.run(
        [sys.executable, "-P", "-m", "crlcheck", "serve", *arguments],
        env={**given, **settings_of(**settings)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert run.stdout == ""  # above all not that it listens
    return run.returncode, run.stderr


def test_a_store_with_nothing_in_it_is_not_served(tmp_path: Path) -> None:
    """
    Its name may be wrong. A service that is to wait for the first set denies everything until
    it comes, and one whose store does not answer does so too.
    """
    empty = tmp_path / "published"
    empty.mkdir()
    place = f"127.0.0.1:{free_port()}"
    for directory in (empty, tmp_path / "wrong"):
        status, said = refused(str(directory), bind=place)
        assert status == 4
        assert f"crlcheck: {directory}/catalog.json: nothing is published there" in said
        assert "CRLCHECK_WAIT_FOR_SET=true" in said
    with serving(empty, tmp_path, wait_for_set="true", log_level="info") as service:
        wait_until(lambda: "listening on unix:" in service.said(), service)
        assert service.check("good").status == 403
        assert service.ask("/readyz").status == 503
        publish(empty, PKI.crl())
        wait_until(lambda: service.check("good").status == 204, service)
        assert service.check("revoked").status == 403
        wait_until(lambda: "has a set by which it can decide" in service.said(), service)
        # What is missing from now on takes nothing away.
        (empty / "catalog.json").unlink()
        service.process.send_signal(signal.SIGHUP)
        wait_until(lambda: "the old settings stay in use" in service.said(), service)
        assert service.check("good").status == 204
    with serving("http://127.0.0.1:9/published", tmp_path / "down") as service:
        assert service.check("good").status == 403
        assert service.ask("/livez").status == 200


def test_a_file_that_is_no_image_is_named(store: Path, tmp_path: Path) -> None:
    """
    At the start, and where new settings name it.
    """
    crl, cut = tmp_path / "ca.crl", tmp_path / "cut.crlx"
    crl.write_bytes(PKI.crl())
    crlcheck.compile_crl(crl, cut, issuer=PKI.authority.pem)
    cut.write_bytes(cut.read_bytes()[:100])
    for path, reason in ((crl, "no image: found a CRL"), (cut, "image is corrupt: truncated")):
        status, said = refused(str(path))
        assert (status, said.splitlines()[0].startswith(f"crlcheck: {path}: {reason}")) == (4, True)
    file = settings_file(tmp_path, store=str(store))
    own: dict[str, Any] = dict.fromkeys(OWN)
    with serving(None, tmp_path, "--settings", str(file), **own) as service:
        settings_file(tmp_path, store=str(cut))
        service.process.send_signal(signal.SIGHUP)
        wait_until(lambda: "the old settings stay in use: " in service.said(), service)
        assert f"stay in use: {cut}: image is corrupt: truncated" in service.said()


def test_a_setting_is_named_as_it_was_given(store: Path, tmp_path: Path) -> None:
    """
    By the option or by the variable; one that is missing by both. None is a fault of ours,
    whose kind the message would show.
    """
    socket = f"unix:{tmp_path}/s/crlcheck.sock"
    status, said = refused(str(store), "--workers", "0", "--form", "iis", connections="none")
    assert status == 2
    assert "--workers is 0" not in said  # a value that is read but not allowed comes later
    assert "--form is 'iis': expected one of nginx, " in said
    assert "CRLCHECK_CONNECTIONS is 'none': expected" in said
    status, said = refused(str(store), "--workers", "0")
    assert (status, said.splitlines()[-1]) == (2, "Error: --workers is 0: expected more")
    _, said = refused(verified_by=None)
    assert "STORE (CRLCHECK_STORE) is not set and has no default" in said
    assert "--verified-by (CRLCHECK_VERIFIED_BY) is not set and has no default" in said
    status, said = refused(str(store), "--bind", socket, "--socket-group", "no-such-group")
    assert status == 2
    assert "--socket-group is 'no-such-group': expected the name of a group" in said
    status, said = refused(str(store), "--proxies", "unix")
    assert status == 2
    assert "--proxies is 'unix' and the service listens on a port" in said
    open_to_all = tmp_path / "open"
    open_to_all.mkdir()
    open_to_all.chmod(0o777)
    status, said = refused(str(store), "--bind", f"unix:{open_to_all}/crlcheck.sock")
    assert status == 2
    assert f"Error: {open_to_all}: found a directory that others may write to" in said


def test_workers_that_are_replaced_at_once_end(store: Path, tmp_path: Path) -> None:
    """
    Many reloads in a row leave no worker behind that has settings of an earlier one, although
    most are told to end before they have begun. A stop among them is not lost.
    """
    file = settings_file(tmp_path)
    own: dict[str, Any] = dict.fromkeys(OWN)
    with serving(store, tmp_path, "--settings", str(file), stop_time="10m", **own) as service:
        old = service.workers()
        settings_file(tmp_path, without_certificate="pass", workers="3")
        for number in range(60):
            service.process.send_signal(signal.SIGHUP)
            time.sleep(0.03 if number % 3 == 2 else 0.001)
        settings_file(tmp_path, workers="2")
        service.process.send_signal(signal.SIGHUP)
        wait_until(lambda: len(service.workers()) == 2 and old[0] not in service.workers(), service)
        assert {service.check(None).status for _ in range(12)} == {403}
        for _ in range(2000):
            service.process.send_signal(signal.SIGHUP)
        assert service.stop() == 0


def test_a_worker_starts_without_the_directory_of_all(store: Path, tmp_path: Path) -> None:
    """
    Somebody has emptied the cache, or the disk is full: images are loaded, and it counts alone.
    """
    with serving(store, tmp_path) as service:
        (directory,) = tmp_path.glob("crlcheck-serve-*")
        shutil.rmtree(directory)
        (old,) = service.workers()
        os.kill(old, signal.SIGKILL)
        wait_until(lambda: old not in service.workers() and _checks(service), service)
        assert service.check("revoked").status == 403
        assert service.ask("/metrics").status == 200
        assert "this worker counts for itself" in service.said()


def test_workers_that_end_at_once_end_nothing_else(store: Path, tmp_path: Path) -> None:
    """
    New workers that end while they start, all together, leave the old ones as they are.
    """
    file = settings_file(tmp_path)
    own: dict[str, Any] = dict.fromkeys(OWN)
    with serving(store, tmp_path, "--settings", str(file), **own) as service:
        old = service.workers()
        (directory,) = tmp_path.glob("crlcheck-serve-*")
        directory.chmod(0o777)  # which no worker accepts that begins
        settings_file(tmp_path, workers="16")
        for number in range(1, 6):
            service.process.send_signal(signal.SIGHUP)
            wait_until(lambda: service.said().count("has ended") >= number, service)  # noqa: B023
        wait_until(lambda: service.workers() == old, service)
        assert service.check("good").status == 204
        assert service.stop() == 0


def test_a_new_crl_counts_in_all_workers(store: Path, tmp_path: Path) -> None:
    """
    The client that it revokes is refused, and no request fails meanwhile.
    """
    with (
        serving(store, tmp_path, workers=3, refresh_after="1s") as service,
        Load(service) as load,
    ):
        load.wait_for(20)
        both = [PKI.good.certificate.serial_number, PKI.revoked.certificate.serial_number]
        publish(store, PKI.crl(2, revoked=both))
        wait_until(lambda: all(service.check("good").status == 403 for _ in range(30)), service)
        assert {service.check("good").headers["crlcheck-crl-number"] for _ in range(9)} == {"2"}
    assert load.lost == []
    assert set(load.answers) == {204, 403}


def test_workers_share_the_images(store: Path, tmp_path: Path) -> None:
    """
    Each maps the same file of a private directory; an old one is removed.
    """

    def mapped() -> list[set[str]]:
        found = []
        for worker in service.workers():
            lines = Path(f"/proc/{worker}/maps").read_text().splitlines()
            found.append({line.split()[-1] for line in lines if line.endswith(".crlx")})
        return found

    with serving(store, tmp_path, workers=3) as service:
        (directory,) = tmp_path.glob("crlcheck-serve-*")
        assert directory.stat().st_mode & 0o777 == 0o700
        wait_until(lambda: len(mapped()) == 3 and all(mapped()), service)
        (first,) = directory.glob("*.crlx")
        assert mapped() == [{str(first)}] * 3
        publish(store, PKI.crl(2))
        wait_until(lambda: all(one and one != {str(first)} for one in mapped()), service)
        wait_until(lambda: not first.exists(), service)
        (second,) = directory.glob("*.crlx")
        assert mapped() == [{str(second)}] * 3
        # Those that end leave the image to those that come.
        old = service.workers()
        service.process.send_signal(signal.SIGHUP)
        wait_until(lambda: not set(old) & set(service.workers()), service)
        wait_until(lambda: mapped() == [{str(second)}] * 3, service)
        assert second.exists()


def test_full_descriptors_neither_end_nor_hang_the_service(store: Path, tmp_path: Path) -> None:
    """
    More clients than descriptors: some wait, and are served when others have gone.
    """
    with serving(store, tmp_path, header_time="1s") as service:
        (worker,) = service.workers()
        in_use = descriptors(worker)
        resource.prlimit(worker, resource.RLIMIT_NOFILE, (in_use + 3, in_use + 3))
        with contextlib.ExitStack() as stack:
            for _ in range(8):
                stack.enter_context(service.raw())
            assert service.check("good").status == 204
        assert service.workers() == [worker]
        assert service.check("revoked").status == 403
        assert service.ask("/readyz").status == 200


def test_a_worker_takes_no_more_connections_than_it_has_descriptors(
    store: Path, tmp_path: Path
) -> None:
    """
    So that a new image can be read at any time.
    """
    soft = 200

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, soft))

    with serving(store, tmp_path, connections=10_000, header_time="30s", before=limited) as service:
        (worker,) = service.workers()
        with contextlib.ExitStack() as stack:
            for _ in range(2 * soft):
                stack.enter_context(service.raw())
            eventually(lambda: descriptors(worker) > 100)
            publish(store, PKI.crl(2))
            assert descriptors(worker) < soft - 50
        wait_until(lambda: service.check("good").headers.get("crlcheck-crl-number") == "2", service)
        assert "Too many open files" not in service.said()
