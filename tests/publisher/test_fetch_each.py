"""Several URLs in one run: their order, what fails, what is tried again, the lock."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from crlcheck import fetch_each, publish_each
from crlcheck.cli import main
from crlcheck.demo.pki import pem_block
from crlcheck.errors import CrlBaseMissingError, FetchError, FetchLockedError, LockFileError
from crlcheck.publisher import fetch as fetch_module
from crlcheck.publisher.fetch import FetchLimits
from crlcheck.publisher.locks import lock_path, run_lock
from crlcheck.publisher.rejections import read_rejections
from crlcheck.stores import LocalStore
from crlcheck.types import PublishReport
from support.memory_store import MemoryStore
from support.pki import NOW, delta_of, make_crl
from support.publishing import CA, OTHER_CA, catalog_of
from support.site import Site, web_site

LOCAL = FetchLimits(allow_private=True)
BASE = make_crl(CA, 4, [1])
DELTA = make_crl(CA, 5, [2], extensions=[delta_of(4)])
NEXT_DELTA = make_crl(CA, 6, [2, 3], extensions=[delta_of(4)])


@pytest.fixture
def site() -> Iterator[Site]:
    """A web server on this machine."""
    with web_site() as made:
        yield made


def put(site: Site, **bodies: bytes) -> list[str]:
    """Put bodies on the server, each with an ETag; the URLs."""
    for name, body in bodies.items():
        site.pages[f"/{name}"] = 200, {"ETag": f'"{name}"'}, body
    return [f"{site.url}/{name}" for name in bodies]


def outcomes(store: MemoryStore, urls: list[str], **options: Any) -> dict[str, str]:
    """What becomes of each CRL, by its path."""
    found = {}
    for name, result in fetch_each(urls, store, LOCAL, issuer=CA.pem, now=NOW, **options):
        if isinstance(result, PublishReport):
            word = "published" if result.published else "unchanged"
        else:
            word = "not modified" if result is None else type(result).__name__
        found[name.rpartition("/")[2]] = word
    return found


# ---- any order -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "order", list(itertools.permutations(["base", "delta", "other"])), ids="-".join
)
def test_a_delta_waits_for_its_base(site: Site, order: tuple[str, ...]) -> None:
    """
    All are published in every order; each is asked for once, and remembered.
    """
    put(site, base=BASE, delta=DELTA, other=make_crl(OTHER_CA, 1))
    urls = {name: f"{site.url}/{name}" for name in order}
    store = MemoryStore()
    found = dict(
        fetch_each(
            [urls[name] for name in order], store, LOCAL, issuer=[CA.pem, OTHER_CA.pem], now=NOW
        )
    )
    assert all(isinstance(one, PublishReport) and one.published for one in found.values())
    assert sorted(site.paths) == ["/base", "/delta", "/other"]
    assert list(read_rejections(store)) == []
    assert outcomes(store, [urls["delta"], urls["base"]]) == {
        "delta": "not modified",
        "base": "not modified",
    }


def test_several_deltas_wait_in_the_order_of_their_numbers(site: Site) -> None:
    """The later one is not published before the earlier one, which would then be refused."""
    urls = put(site, later=NEXT_DELTA, earlier=DELTA, base=BASE)
    store = MemoryStore()
    assert set(outcomes(store, urls).values()) == {"published"}
    (record,) = catalog_of(store).scopes.values()
    assert record.delta is not None
    assert record.delta.metadata.crl_number == 6


@pytest.mark.parametrize("failure", ["gone", "refused"])
def test_a_delta_whose_base_fails_says_so(site: Site, failure: str) -> None:
    """
    It is refused as without a base, recorded, and its message names what failed.
    """
    base = make_crl(OTHER_CA, 1) if failure == "refused" else b""
    delta_url, base_url = put(site, delta=DELTA, base=base)
    if failure == "gone":
        del site.pages["/base"]
    store = MemoryStore()
    results = dict(fetch_each([delta_url, base_url], store, LOCAL, issuer=CA.pem, now=NOW))
    error = results[delta_url]
    assert isinstance(error, CrlBaseMissingError)
    assert error.__notes__ == [f"its complete CRL may be that of {base_url}, which failed"]
    assert delta_url in [one.source for one in read_rejections(store)]
    put(site, base=BASE)
    assert outcomes(store, [delta_url, base_url]) == {"delta": "published", "base": "published"}
    assert list(read_rejections(store)) == []


@pytest.mark.parametrize("order", [(DELTA, BASE), (BASE, DELTA), (NEXT_DELTA, DELTA, BASE)])
def test_the_crls_of_one_file_may_be_in_any_order(order: tuple[bytes, ...], tmp_path: Path) -> None:
    """As those of several URLs: by ``publish_each``, and so by ``publish``."""
    path = tmp_path / "crls.pem"
    path.write_bytes(b"".join(pem_block("X509 CRL", crl) for crl in order))
    store = MemoryStore()
    with path.open("rb") as file:
        results = list(publish_each(file, store, issuer=CA.pem, source_name="f", now=NOW))
    assert len(results) == len(order)
    assert all(isinstance(one, PublishReport) and one.published for _, one in results)
    assert list(read_rejections(store)) == []


def test_images_of_waiting_deltas_are_removed(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where nobody asks for the end of the run."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    urls = put(site, delta=DELTA, base=BASE)
    results = fetch_each(urls, MemoryStore(), LOCAL, issuer=CA.pem, now=NOW)
    next(results)
    results.close()  # type: ignore[attr-defined]
    assert list(tmp_path.iterdir()) == []


def test_again_fetches_what_has_not_changed(site: Site) -> None:
    """Without a condition."""
    urls, store = put(site, base=BASE), MemoryStore()
    assert outcomes(store, urls) == {"base": "published"}
    assert outcomes(store, urls) == {"base": "not modified"}
    assert outcomes(store, urls, again=True) == {"base": "unchanged"}
    assert "If-None-Match" not in site.asked[-1]


# ---- attempts ------------------------------------------------------------------------


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses between attempts, which are not slept."""
    made: list[float] = []
    monkeypatch.setattr("time.sleep", made.append)
    return made


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_a_busy_server_is_asked_again(
    site: Site, pauses: list[float], status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A few times, with growing pauses."""
    (url,) = put(site, base=BASE)
    good = site.pages["/base"]
    site.pages["/base"] = status, {}, b""
    with (
        pytest.raises(FetchError, match=f"was answered {status}"),
        fetch_module.fetch(url, MemoryStore(), LOCAL),
    ):
        pass
    assert len(site.paths) == 3
    assert len(pauses) == 2
    assert pauses[0] <= 1 < 2 * pauses[1]
    pauses.clear()
    site.pages["/base"] = 503, {}, b""

    def come_back(_seconds: float) -> None:
        site.pages["/base"] = good

    monkeypatch.setattr("time.sleep", come_back)
    assert outcomes(MemoryStore(), [url]) == {"base": "published"}


@pytest.mark.parametrize(
    ("status", "headers"),
    [(404, {}), (403, {}), (500, {}), (503, {"Retry-After": "120"})],
)
def test_what_lasts_is_not_asked_again(
    site: Site, pauses: list[float], status: int, headers: dict[str, str]
) -> None:
    """The next run comes anyway."""
    (url,) = put(site, base=BASE)
    site.pages["/base"] = status, headers, b""
    assert outcomes(MemoryStore(), [url]) == {"base": "FetchError"}
    assert len(site.paths) == 1
    assert pauses == []


def test_a_refused_connection_is_tried_again(pauses: list[float]) -> None:
    """The server may be starting."""
    assert outcomes(MemoryStore(), ["http://127.0.0.1:9/ca.crl"]) == {"ca.crl": "FetchError"}
    assert len(pauses) == 2
    pauses.clear()
    limits = FetchLimits(allow_private=True, attempts=1)
    list(fetch_each(["http://127.0.0.1:9/"], MemoryStore(), limits, issuer=CA.pem))
    assert pauses == []
    with pytest.raises(ValueError, match="attempts is 0"):
        FetchLimits(attempts=0)


def test_few_of_one_host_are_fetched_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two by default, however many are fetched at once of several hosts."""
    at_once: dict[str, list[int]] = {"a.test": [0, 0], "b.test": [0, 0]}
    lock = threading.Lock()

    @contextlib.contextmanager
    def fetch_slowly(url: str, *_: Any, **_options: Any) -> Iterator[None]:
        numbers = at_once[urlsplit(url).hostname or ""]
        with lock:
            numbers[0] += 1
            numbers[1] = max(numbers)
        time.sleep(0.02)
        with lock:
            numbers[0] -= 1
        yield None

    monkeypatch.setattr("crlcheck.publisher.fetch_each.fetch", fetch_slowly)
    monkeypatch.setattr("crlcheck.publisher.side_by_side._LONGEST_JITTER", 0.001)
    urls = [f"http://{host}/{number}" for number in range(12) for host in at_once]
    found = dict(fetch_each(urls, MemoryStore(), issuer=CA.pem, jobs=8))
    assert found == dict.fromkeys(urls)
    assert [most for _, most in at_once.values()] == [2, 2]


# ---- the lock ------------------------------------------------------------------------


HOLD = """
import sys, time
from crlcheck import open_store, run_lock
with run_lock(open_store(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def hold(store: str) -> subprocess.Popen[str]:
    """A process that holds the lock of a store."""
    process = subprocess.Popen(
        [sys.executable, "-P", "-c", HOLD, store], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


@pytest.fixture
def stores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A directory and an S3 prefix, whose locks lie below the test's directory."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    return [str(tmp_path / "store"), "s3://bucket/published"]


@pytest.mark.parametrize("kind", [0, 1], ids=["directory", "s3"])
def test_a_second_run_ends_at_once(
    stores: list[str],
    kind: int,
    site: Site,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """
    With a status of its own and the process that holds the lock; nothing is asked. A run
    that is killed leaves no lock.
    """
    store, issuer = stores[kind], tmp_path / "ca.pem"
    issuer.write_bytes(CA.pem)
    (url,) = put(site, base=BASE)
    command = ["fetch", url, "--to", store, "--issuer", str(issuer), "--allow-private"]
    process = hold(store)
    try:
        assert main(command) == 6
        assert f"is running (process {process.pid})" in capsys.readouterr().err
        assert main([*command, "--json"]) == 6
        document = json.loads(capsys.readouterr().out)
        assert document["kind"] == "FetchLockedError"
        assert document["attributes"]["process"] == process.pid
        assert document["exit_status"] == 6
        assert site.paths == []
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    if kind == 0:
        assert main(command) == 0
        assert main(command) == 0


def test_stores_do_not_lock_each_other(stores: list[str], tmp_path: Path) -> None:
    """Each has a file of its own, by its URL; a directory has it in itself."""
    from crlcheck import open_store

    targets = [open_store(one) for one in (*stores, "s3://bucket/other", str(tmp_path / "b"))]
    paths = [lock_path(one) for one in targets]
    assert len(set(paths)) == 4
    assert paths[0].parent == tmp_path / "store"
    assert paths[1].parent == paths[2].parent == tmp_path / f"crlcheck-{os.geteuid()}"
    assert paths[1].parent.stat().st_mode & 0o777 == 0o700
    with (
        run_lock(targets[0]),
        run_lock(targets[1]),
        run_lock(targets[2]),
        pytest.raises(FetchLockedError),
        run_lock(targets[1]),
    ):
        pass
    with run_lock(targets[1]):
        pass
    assert list(LocalStore(stores[0]).names("")) == []


def test_a_lock_file_that_was_removed_locks_no_more(stores: list[str], tmp_path: Path) -> None:
    """What cleans up temporary files may remove it between two runs, or within one."""
    store = MemoryStore()
    with run_lock(store) as path:
        path.unlink()
        with run_lock(store):
            pass


def test_a_lock_that_is_a_link_is_refused(tmp_path: Path) -> None:
    """A link in the place of the lock is named, and nothing is made behind it."""
    (tmp_path / "store").mkdir()
    store = LocalStore(tmp_path / "store")
    lock_path(store).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(LockFileError, match="a symbolic link to"), run_lock(store):
        pass
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize("what", ["others may write", "a link", "a file"])
def test_a_directory_of_others_is_refused(stores: list[str], tmp_path: Path, what: str) -> None:
    """Among temporary files anybody may make a directory of that name first."""
    path = tmp_path / f"crlcheck-{os.geteuid()}"
    if what == "a link":
        (tmp_path / "elsewhere").mkdir()
        path.symlink_to(tmp_path / "elsewhere")
    elif what == "a file":
        path.write_bytes(b"")
    else:
        path.mkdir()
        path.chmod(0o777)
    with pytest.raises((FetchError, FileExistsError)), run_lock(MemoryStore()):
        pass


# ---- the command ---------------------------------------------------------------------


@pytest.fixture
def command(tmp_path: Path) -> list[str]:
    """The command without URLs."""
    issuer = tmp_path / "ca.pem"
    issuer.write_bytes(CA.pem)
    store = str(tmp_path / "store")
    return ["fetch", "--to", store, "--issuer", str(issuer), "--allow-private"]


def test_exit_statuses(site: Site, command: list[str]) -> None:
    """All up to date, some failed, all failed, wrong usage."""
    crl = make_crl(CA, 1, next_update=None)
    command = [*command, "--allow-no-next-update"]
    (good,) = put(site, good=crl)
    bad = f"{site.url}/bad"
    assert main([*command, good]) == 0
    assert main([*command, good]) == 0
    assert main([*command, bad, good]) == 5
    assert main([*command, bad]) == 4
    for wrong in ([], ["ldap://ca.test/"], [good, "ftp://ca.test/"]):
        assert main([*command, *wrong]) == 2


@pytest.mark.parametrize("from_input", [False, True])
def test_urls_come_from_a_file(
    site: Site,
    command: list[str],
    tmp_path: Path,
    from_input: bool,
) -> None:
    """With comments, blank lines and line ends of any kind; each URL once."""
    crl = make_crl(CA, 1, next_update=None)
    (good,) = put(site, good=crl)
    path = tmp_path / "urls.txt"
    path.write_bytes(f"\ufeff# ours\r\n\n  {good}  # all\n#{good}/2\n\t\n{good}\t#\n".encode())
    options = ["--allow-no-next-update", "--json"]
    options += ["--urls-from", "-" if from_input else str(path)]
    done = subprocess.run(
        [sys.executable, "-P", "-m", "crlcheck", *command, *options],
        input=path.read_bytes() if from_input else b"",
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done
    assert [one["url"] for one in json.loads(done.stdout)["results"]] == [good]
    assert site.paths == ["/good"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"\n# nothing\n", "no URL is given"),
        (b"http://ca.test/\nca.crl\n", "line 2: 'ca.crl': expected an http:// or https:// URL"),
        (b"ldap://ca.test/\n", "line 1: ldap://ca.test/"),
        (b"\xff\xfe", "UTF-8"),
    ],
)
def test_a_file_that_is_no_list_is_wrong_usage(
    command: list[str],
    tmp_path: Path,
    text: bytes,
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """It is told with its line before anything is asked."""
    path = tmp_path / "urls.txt"
    path.write_bytes(text)
    assert main([*command, "--urls-from", str(path)]) == 2
    assert message in " ".join(capsys.readouterr().err.split())


def test_issuers_may_be_a_directory(site: Site, command: list[str], tmp_path: Path) -> None:
    """As for ``publish``."""
    folder = tmp_path / "cas"
    folder.mkdir()
    (folder / "ca.pem").write_bytes(CA.pem)
    (url,) = put(site, good=make_crl(CA, 1, next_update=None))
    command = [*command, "--allow-no-next-update"]
    command[command.index("--issuer") + 1] = str(folder)
    assert main([*command, url]) == 0
