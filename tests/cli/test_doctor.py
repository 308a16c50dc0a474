"""``crlcheck doctor``: what it tries, what it finds, and what is left."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from crlcheck import StoreCheck, examine_store
from crlcheck.cli import main
from crlcheck.stores import S3Store, examine_local
from support.memory_store import MemoryStore
from support.moto_server import S3Environment, environment_variables
from support.pki import make_crl
from support.publishing import CA, publish
from support.weak_s3 import WeakS3, weak_s3

STORE = "s3://bucket/published"


@pytest.fixture(scope="module")
def served() -> Iterator[WeakS3]:
    """A server whose address is in the environment."""
    with weak_s3() as made, pytest.MonkeyPatch.context() as patch:
        for name, value in environment_variables(made.endpoint).items():
            patch.setenv(name, value)
        yield made


@pytest.fixture
def server(served: WeakS3) -> WeakS3:
    """An empty server that keeps every promise until a test makes it weak."""
    served.become(WeakS3())
    return served


def doctor(capsys: pytest.CaptureFixture[str], store: str) -> tuple[int, dict[str, Any]]:
    """The exit status, and each check by its name."""
    capsys.readouterr()
    status = main(["doctor", store, "--json"])
    document = json.loads(capsys.readouterr().out)
    assert document["store"] == store
    outcomes = [one["outcome"] for one in document["checks"]]
    assert document["failed"] == outcomes.count("failed")
    assert document["warnings"] == outcomes.count("warning")
    assert status == (4 if "failed" in outcomes else 0)
    for one in document["checks"]:
        assert one["found"]
        assert one["outcome"] == "ok" or one["remedy"], one
    return status, {one["name"]: one for one in document["checks"]}


def wrong(checks: dict[str, Any]) -> dict[str, str]:
    """The outcomes that are not ok."""
    return {name: one["outcome"] for name, one in checks.items() if one["outcome"] != "ok"}


# ---- a store in S3 -----------------------------------------------------------------


RIGHTS = ["put", "get", "missing", "list", "delete"]
PROMISED = ["if none match", "if match", "read after write", "one winner"]
S3_CHECKS = [
    "client",
    *RIGHTS,
    *PROMISED,
    "not modified, botocore",
    "large object, botocore",
    "not modified, own client",
    "large object, own client",
    "ranges",
    "etag",
    "metadata",
    "clock",
    "versioning",
]


def test_a_good_server_has_nothing_wrong(
    server: WeakS3, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each thing is tried, and nothing is left on the server."""
    status, checks = doctor(capsys, STORE)
    assert (status, wrong(checks)) == (0, {})
    assert list(checks) == S3_CHECKS
    assert server.objects == {}


def test_moto_has_nothing_wrong(s3: S3Environment, capsys: pytest.CaptureFixture[str]) -> None:
    """Moto, as the tests run it, keeps all."""
    status, checks = doctor(capsys, f"s3://{s3.bucket}/published")
    assert (status, wrong(checks)) == (0, {})
    assert list(S3Store(f"s3://{s3.bucket}").names("")) == []


CASES: dict[str, tuple[dict[str, Any], dict[str, str]]] = {
    "If-Match ignored": (
        {"ignored": frozenset({"if-match"})},
        {"if match": "failed", "one winner": "failed"},
    ),
    "If-None-Match ignored": (
        {"ignored": frozenset({"if-none-match"})},
        {"if none match": "failed", "one winner": "failed"},
    ),
    "a race": ({"checks_if_match_first": True}, {"one winner": "failed"}),
    "304 always": ({"always_304": True}, {"read after write": "failed"}),
    "304 never": (
        {"never_304": True},
        {"not modified, botocore": "warning", "not modified, own client": "warning"},
    ),
    "400 past the end": ({"past_end": 400}, {"ranges": "warning"}),
    "no ranges": ({"ranges": False}, {"ranges": "warning"}),
    "no quotes": ({"quoted": False}, {"etag": "warning"}),
    "no metadata": ({"drops_metadata": True}, {"metadata": "warning"}),
    "other case": ({"title_case": True}, {}),
    "clock ahead": ({"skew": 120}, {"clock": "warning"}),
    "clock behind": ({"skew": -3600}, {"clock": "failed"}),
    "versions": ({"versioning": "Enabled"}, {"versioning": "warning"}),
    "versions that go": ({"versioning": "Enabled", "expires": True}, {}),
    "versions unknown": ({"denied": frozenset({"VERSIONING"})}, {"versioning": "warning"}),
    "may not delete": ({"denied": frozenset({"DELETE"})}, {"delete": "failed"}),
    "may not list": ({"denied": frozenset({"LIST"})}, {"list": "failed"}),
    "missing is denied": (
        {"missing": 403},
        {"missing": "failed", "delete": "failed", "if match": "failed"},
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_what_is_wrong_is_named(
    server: WeakS3, capsys: pytest.CaptureFixture[str], case: str
) -> None:
    """One thing that is wrong fails its own check, and no other."""
    changes, expected = CASES[case]
    for name, value in changes.items():
        setattr(server, name, value)
    assert wrong(doctor(capsys, STORE)[1]) == expected


@pytest.mark.parametrize(
    ("denied", "name", "right"),
    [
        ("PUT", "put", "s3:PutObject"),
        ("GET", "get", "s3:GetObject"),
        ("LIST", "list", "s3:ListBucket"),
        ("DELETE", "delete", "s3:DeleteObject"),
    ],
)
def test_a_right_that_lacks_is_named(
    server: WeakS3, capsys: pytest.CaptureFixture[str], denied: str, name: str, right: str
) -> None:
    """The remedy has the right's name; without PUT or GET nothing else is tried."""
    server.denied = frozenset({denied})
    _, checks = doctor(capsys, STORE)
    assert checks[name]["outcome"] == "failed"
    assert "403" in checks[name]["found"]
    assert right in checks[name]["remedy"]
    if name in ("put", "get"):
        assert list(checks)[-1] == name


def test_no_server_is_one_failure(
    server: WeakS3, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where nobody answers, that is said once."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    assert wrong(doctor(capsys, STORE)[1]) == {"put": "failed"}


def test_a_published_set_is_left_alone(server: WeakS3, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing but throw-away objects is written or deleted."""
    publish(S3Store(STORE), make_crl(CA))
    before = dict(server.objects)
    server.requests.clear()
    assert doctor(capsys, STORE)[0] == 0
    assert server.objects == before
    changes = [one for one in server.requests if one.startswith(("PUT", "DELETE"))]
    assert all("/published/probe/" in one for one in changes)


# ---- a directory ---------------------------------------------------------------------


LOCAL_CHECKS = ["directory", *RIGHTS, *PROMISED, "file system", "locks", "rename", "fsync"]
LOCAL_CHECKS += ["permissions", "free space", "clock"]


def test_a_directory_has_nothing_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each thing is tried, with and without anything published, and nothing is left."""
    for _ in range(2):
        status, checks = doctor(capsys, str(tmp_path))
        assert (status, wrong(checks)) == (0, {})
        assert list(checks) == LOCAL_CHECKS
        assert not list(tmp_path.rglob("*-*Z-*"))
        publish(tmp_path, make_crl(CA))


def test_a_missing_directory_is_not_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A mistyped path is told, and nothing is made there."""
    status, checks = doctor(capsys, str(tmp_path / "missing"))
    assert (status, wrong(checks)) == (4, {"directory": "failed"})
    assert list(checks) == ["directory"]
    assert not (tmp_path / "missing").exists()


def test_what_everybody_may_write_is_a_warning(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whoever may write the store can un-revoke."""
    tmp_path.chmod(0o777)
    _, checks = doctor(capsys, str(tmp_path))
    assert wrong(checks) == {"permissions": "warning"}
    assert f"chmod o-w {tmp_path}" in checks["permissions"]["remedy"]
    tmp_path.chmod(0o755)
    publish(tmp_path, make_crl(CA))
    (tmp_path / "catalog.json").chmod(0o666)
    assert wrong(doctor(capsys, str(tmp_path))[1]) == {"permissions": "warning"}


@pytest.mark.parametrize(
    ("kind", "options", "outcome"),
    [
        ("ext4", ["rw"], "ok"),
        ("nfs4", ["rw", "local_lock=none"], "warning"),
        ("nfs", ["rw", "nolock"], "warning"),
        ("nfs4", ["rw", "local_lock=all"], "warning"),
        ("fuse.sshfs", ["rw"], "warning"),
        ("", [], "ok"),
    ],
)
def test_a_file_system_of_other_machines_is_a_warning(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    options: list[str],
    outcome: str,
) -> None:
    """Locks may hold on one machine only."""
    monkeypatch.setattr(examine_local, "_mount_of", lambda _: (kind, options))
    check = doctor(capsys, str(tmp_path))[1]["file system"]
    assert check["outcome"] == outcome
    assert kind in check["found"]
    for lax in set(options) - {"rw", "local_lock=none"}:
        assert lax in check["found"]


def test_the_kind_of_file_system_is_found() -> None:
    """Linux tells it."""
    assert examine_local._mount_of(Path("/proc"))[0] == "proc"


def test_locks_that_do_not_lock_fail(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file system that grants every lock is found out."""
    monkeypatch.setattr("fcntl.flock", lambda *_: None)
    assert wrong(doctor(capsys, str(tmp_path))[1])["locks"] == "failed"


def test_a_lock_that_is_a_link_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What is in the place of the lock is named, with what to do; nothing is made behind it."""
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / ".lock").symlink_to(tmp_path / "elsewhere")
    checks = doctor(capsys, str(tmp_path / "store"))[1]
    assert checks["put"]["outcome"] == "failed"
    assert "a symbolic link to" in checks["put"]["found"]
    assert "remove it" in checks["put"]["remedy"]
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize(
    ("free", "inodes", "outcome"),
    [(1 << 40, 10**6, "ok"), (1 << 20, 10**6, "warning"), (1 << 40, 3, "warning")],
)
def test_little_room_is_a_warning(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    free: int,
    inodes: int,
    outcome: str,
) -> None:
    """Bytes and files are counted."""
    found = os.statvfs_result((4096, 4096, 1, 1, free // 4096, 10**6, inodes, inodes, 0, 255))
    monkeypatch.setattr("os.statvfs", lambda _: found)
    assert doctor(capsys, str(tmp_path))[1]["free space"]["outcome"] == outcome


def test_a_clock_that_is_off_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file system's clock may be another machine's."""
    machine = time.time
    monkeypatch.setattr("time.time", lambda: machine() + 4000)
    check = doctor(capsys, str(tmp_path))[1]["clock"]
    assert check["outcome"] == "failed"
    assert "behind" in check["found"]


# ---- the command ---------------------------------------------------------------------


def test_text_has_a_line_for_each_check(server: WeakS3, capsys: pytest.CaptureFixture[str]) -> None:
    """A remedy follows what is not ok, and the last line counts."""
    server.ignored = frozenset({"if-match"})
    assert main(["doctor", STORE]) == 4
    lines = capsys.readouterr().out.splitlines()
    position = next(n for n, line in enumerate(lines) if line.startswith("failed  if match: "))
    assert "a PUT with If-Match of a wrong ETag was answered 200, expected 412" in lines[position]
    assert lines[position + 1].strip().startswith("use a store that compares and swaps")
    assert lines[-1] == f"{STORE}: 2 failed, 0 warned, {len(S3_CHECKS) - 2} ok"


@pytest.mark.parametrize("store", ["", "ftp://host/path"])
def test_what_is_no_store_is_wrong_usage(store: str) -> None:
    """As for every command."""
    assert main(["doctor", store]) == 2


def test_any_object_store_is_examined() -> None:
    """A store of one's own is tried for what every store must do."""
    checks = list(examine_store(MemoryStore()))
    assert [one.name for one in checks] == [*RIGHTS, *PROMISED]
    assert {one.outcome for one in checks} == {"ok"}
    assert all(isinstance(one, StoreCheck) for one in checks)
