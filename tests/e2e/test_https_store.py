"""
A published store that nginx serves over TLS: with its options, and with caches before it.
"""

from __future__ import annotations

import gzip
import json
import os
import time
import urllib.request
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import crlcheck
from crlcheck.cli import main
from crlcheck.stores.https import HttpsStore
from crlcheck.types import ProblemKind, RevocationStatus
from support.authorizer import PKI, is_allowed, load, publish
from support.command_line import Place, make_place
from support.events import authorizer_event
from support.nginx import Served, serving_by_nginx
from support.paged_world import (
    LISTED,
    UNLISTED,
    ask,
    fill,
    image_name,
    is_right,
    paged_checker,
)

NAME = "catalog.json"
REVOKED, NOT_REVOKED = RevocationStatus.REVOKED, RevocationStatus.NOT_REVOKED
OPTIONS = {
    "plain": "",
    "no etag": "etag off;",
    "no validators": "etag off; add_header Last-Modified '';",
    "gzip": "gzip on; gzip_types *; gzip_min_length 1; gzip_http_version 1.0;",
    "gzip unasked": "gzip_static always;",
    "no ranges": "max_ranges 0;",
    "redirect": "location /published/ { return 307 /moved$request_uri; }"
    ' location /moved/ { alias "{root}/"; }',
    "http/1.0": "keepalive_timeout 0; chunked_transfer_encoding off;",
}


def settle(store: Path) -> None:
    """Let all files be an hour old, so that their times stand for their contents."""
    for path in store.rglob("*"):
        if path.is_file():
            then = time.time() - 3600
            os.utime(path, (then, then))


def pack(store: Path) -> None:
    """Put a packed copy beside each file, as ``gzip_static`` serves it."""
    for path in [path for path in store.rglob("*") if path.is_file() and path.suffix != ".gz"]:
        Path(f"{path}.gz").write_bytes(gzip.compress(path.read_bytes()))


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """The demo's files, and a store below ``root``, which is served."""
    made = make_place(tmp_path)
    (tmp_path / "root").mkdir()
    (tmp_path / "store").rename(tmp_path / "root" / "published")
    return made


@pytest.fixture
def nginx_with(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Iterator[Served]:
    """nginx with the options of OPTIONS, by their name, whose certificate is trusted."""
    name = getattr(request, "param", "plain")
    root = tmp_path / "root"
    if name == "gzip unasked":
        pack(root)
    settle(root)
    directory = tmp_path / "nginx"
    directory.mkdir()
    monkeypatch.setenv("SSL_CERT_FILE", str(directory / "server.pem"))
    options = OPTIONS[name].replace("{root}", str(root))
    with serving_by_nginx(root, directory, options) as served:
        yield served


@pytest.mark.parametrize("nginx_with", OPTIONS, indirect=True)
def test_a_checker_reads_what_nginx_serves(
    nginx_with: Served, place: Place, tmp_path: Path
) -> None:
    """
    However nginx is set up, the verdicts are those of the store itself, a poll finds no
    change where there is none, and a change where there is one.
    """
    store = tmp_path / "root" / "published"
    checker = crlcheck.RevocationChecker(f"{nginx_with.url}/published")
    assert checker.check(place["revoked.pem"]).status is REVOKED
    assert checker.check(place["good.pem"]).status is NOT_REVOKED
    assert not checker.refresh()
    crlcheck.publish_crl(
        Path(place.crl("next.crl", crl_number=9)),
        store,
        issuer=place.world.authority.der,
        allow_shrink=True,
    )
    if (store / f"{NAME}.gz").exists():
        pack(store)
    assert checker.refresh()
    (scope,) = checker.status().scopes
    assert scope.crl_number == 9
    assert checker.freshness().num_failed_polls == 0


@pytest.mark.parametrize("nginx_with", OPTIONS, indirect=True)
@pytest.mark.parametrize("loading", ["pages", "pages_then_whole"])
def test_pages_of_a_large_image_come_from_nginx(
    nginx_with: Served, loading: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """
    However nginx is set up, answers by pages are right. Where it sends ranges, only parts of
    the image are read, and else all of it.
    """
    folder = tmp_path / "root" / "published" / "large"
    fill(crlcheck.LocalStore(folder, fsync=False))
    option = request.node.callspec.params["nginx_with"]
    if option == "gzip unasked":
        pack(folder)
    checker = paged_checker(f"{nginx_with.url}/published/large", loading)
    serials = [*LISTED[:5], *UNLISTED[:5]]
    assert all(map(is_right, serials, ask(checker, serials)))
    statuses = nginx_with.statuses(image_name())
    if option in ("no ranges", "gzip unasked"):
        assert 200 in statuses
    elif loading == "pages":
        assert set(statuses) <= {206, 307}
        assert statuses.count(206) >= 3


@pytest.mark.parametrize(
    ("nginx_with", "status"),
    [("plain", 304), ("no etag", 304), ("gzip", 304), ("no validators", 200)],
    indirect=["nginx_with"],
)
def test_a_poll_costs_a_conditional_get(nginx_with: Served, status: int) -> None:
    """
    nginx answers it by 304 where it sends an ETag or a Last-Modified.
    """
    store = crlcheck.open_store(f"{nginx_with.url}/published")
    found = store.read_if_changed(NAME, None)
    assert found is not None
    for _ in range(3):
        assert store.read_if_changed(NAME, found.etag) is None
    assert nginx_with.statuses(NAME)[-3:] == [status] * 3


def test_two_catalogs_of_one_second_are_told_apart(nginx_with: Served, tmp_path: Path) -> None:
    """
    nginx has the same ETag for two files of one time and size; the second is seen all the same.
    """
    file = tmp_path / "root" / "published" / NAME
    store = HttpsStore(f"{nginx_with.url}/published")
    now = time.time()
    tags: list[Any] = []
    etag = None
    for body in (b"first", b"other", b"third"):
        file.write_bytes(body)
        os.utime(file, (now, now))
        found = store.read_if_changed(NAME, etag)
        assert found is not None
        assert found.body == body
        etag = found.etag
        context = urllib.request.urlopen(f"{nginx_with.caches[0]}/published/{NAME}?{body!r}")
        tags.append(context.headers["ETag"])
    assert len(set(tags)) == 1


def test_a_large_image_comes_whole(nginx_with: Served, tmp_path: Path) -> None:
    """
    Through nginx's own buffers, of which the first part alone is not enough.
    """
    body = os.urandom(9 << 20)
    (tmp_path / "root" / "published" / "images" / "large.crlx").write_bytes(body)
    store = HttpsStore(f"{nginx_with.url}/published")
    assert store.load("images/large.crlx")[:] == body
    with pytest.raises(FileNotFoundError):
        store.load("images/none.crlx")


# ---- caches --------------------------------------------------------------------------


def test_caches_that_take_turns_never_bring_an_old_set_back(
    nginx_with: Served, place: Place, tmp_path: Path
) -> None:
    """
    One cache has the catalog of before, and the other that of now. A checker keeps the newer
    one whichever answers, counts no failure, and says that the store is behind.
    """
    store = tmp_path / "root" / "published"
    urllib.request.urlopen(f"{nginx_with.caches[0]}/published/{NAME}").read()
    good = place.world.clients["good"].certificate.serial_number
    crlcheck.deny_certificate(store, place.world.authority.certificate.subject.public_bytes(), good)
    urllib.request.urlopen(f"{nginx_with.caches[1]}/published/{NAME}").read()
    checker = crlcheck.RevocationChecker(f"{nginx_with.cached}/published")
    statuses = [checker.check(place["good.pem"]).status for _ in range(8)]
    first = statuses.index(REVOKED)
    assert first <= 2
    assert set(statuses[first:]) == {REVOKED}
    seen = set()
    for _ in range(8):
        checker.refresh()
        seen.add(tuple(problem.kind for problem in checker.status().problems))
    assert seen == {(), (ProblemKind.STORE_BEHIND,)}
    assert checker.freshness().num_failed_polls == checker.freshness().num_refused_polls == 0


# ---- commands and the authorizer -----------------------------------------------------


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, Any]:
    """Run a command; its status, and its JSON document or what it said of an error."""
    status = main([*arguments, "--json"])
    captured = capsys.readouterr()
    return status, json.loads(captured.out) if captured.out else captured.err


def test_commands_read_from_a_url(
    nginx_with: Served, place: Place, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    Whatever only reads takes the URL of a store, and gives what it gives for the directory.
    """
    url, directory = f"{nginx_with.url}/published", str(tmp_path / "root" / "published")
    for arguments in (
        ["check", "{}", place["good.pem"]],
        ["check", "{}", place["revoked.pem"]],
        ["inspect", "{}"],
        ["issuer", "list", "{}"],
        ["deny", "list", "{}"],
        ["diff", "{}", directory],
    ):
        status, found = run(capsys, *(one.format(url) for one in arguments))
        expected_status, expected = run(capsys, *(one.format(directory) for one in arguments))
        assert status == expected_status, (arguments, found)
        assert json.dumps(found).replace(url, directory) == json.dumps(expected)
    status, found = run(capsys, "scope", "list", url)
    assert (status, found["rejections"]) == (0, None)
    status, found = run(capsys, "status", url)
    assert (status, found["rejections"]) == (0, None)
    status, found = run(capsys, "doctor", url)
    assert (status, found["failed"], found["warnings"]) == (0, 0, 0)
    status, found = run(
        capsys, "export", url, "--format", "sample-json", "-o", str(tmp_path / "exported")
    )
    assert status == 0
    status, found = run(capsys, "mirror", url, str(tmp_path / "mirror"))
    assert (status, found["num_copied"]) == (0, 1)
    status, _ = run(capsys, "check", str(tmp_path / "mirror"), place["revoked.pem"])
    assert status == 1


def test_a_damaged_store_is_repaired_from_a_url(
    nginx_with: Served, place: Place, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    A mirror at a URL has the copies by their names.
    """
    mirror = tmp_path / "mirror"
    assert run(capsys, "mirror", f"{nginx_with.url}/published", str(mirror))[0] == 0
    lost = [*(mirror / "images").iterdir(), *(mirror / "nodes").iterdir()]
    for path in lost:
        path.unlink()
    run(capsys, "verify", str(mirror), "--repair-from", f"{nginx_with.url}/published")
    assert run(capsys, "verify", str(mirror))[0] == 0
    assert all(path.exists() for path in lost)


def test_commands_do_not_write_to_a_url(
    nginx_with: Served, place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    Each is refused before any work is done, with what to give instead.
    """
    url = f"{nginx_with.url}/published"
    scope = crlcheck.open_index(place["ca.crlx"]).metadata.scope
    for arguments in (
        ["publish", place["ca.crl"], "--issuer", place["ca.pem"], "--to", url],
        ["fetch", "http://localhost:9/ca.crl", "--issuer", place["ca.pem"], "--to", url],
        ["deny", "add", url, place["good.pem"]],
        ["deny", "remove", url, place["good.pem"]],
        ["scope", "remove", url, scope],
        ["scope", "reset", url, scope],
        ["issuer", "anchor", url, place["ca.pem"]],
        ["clean", url],
        ["advance", url, "--above", "5"],
        ["mirror", place["root/published"], url],
    ):
        assert main(arguments) == 4, arguments
        said = " ".join(capsys.readouterr().err.split())
        assert "can only be read" in said, arguments
        assert "give the directory or the s3:// URL" in said, arguments
    assert nginx_with.statuses("published") == []


def test_the_authorizer_reads_from_a_url(
    nginx_with: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    By its setting, with its time limit for images.
    """
    publish(tmp_path / "root" / "of-authorizer", PKI.crl(1))
    function = load(
        monkeypatch, f"{nginx_with.url}/of-authorizer", load_seconds="5", refresh_seconds="0"
    )
    for name in ("good", "revoked"):
        answer = function.handler(authorizer_event("rest", PKI.client(name)), None)
        assert is_allowed(answer) is (name == "good")


def test_a_service_goes_on_while_the_server_is_away(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    What was read stays in use, and the failed polls are counted.
    """
    directory = tmp_path / "nginx"
    directory.mkdir()
    monkeypatch.setenv("SSL_CERT_FILE", str(directory / "server.pem"))
    with serving_by_nginx(tmp_path / "root", directory) as served:
        checker = crlcheck.RevocationChecker(
            f"{served.url}/published", max_catalog_age=timedelta(days=1)
        )
        assert checker.check(place["revoked.pem"]).status is REVOKED
    assert checker.check(place["good.pem"]).status is NOT_REVOKED
    assert checker.freshness().num_failed_polls == 1
