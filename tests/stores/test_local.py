"""
What is particular to a store in a directory: locks, temporary files, reading.
"""

from __future__ import annotations

import mmap
import os
import stat
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from crlcheck.errors import PreconditionFailedError, StoreUnavailableError
from crlcheck.stores import LocalStore
from crlcheck.stores.object_store import make_room
from support.store_worker import increment_together, worker

NAME = "catalog.json"
IMAGE = "images/0f-1.crlx"


@pytest.fixture
def local(tmp_path: Path) -> LocalStore:
    """A store in a directory that holds a counter."""
    store = LocalStore(tmp_path / "store", fsync=False)
    store.write(NAME, b"0")
    return store


def test_processes_lose_no_update(local: LocalStore) -> None:
    """Processes that increment one object by compare-and-swap arrive at their total."""
    increment_together(local.url, NAME, processes=3, times=25)
    assert local.read(NAME).body == b"75"


def test_a_killed_process_gives_its_lock_back(local: LocalStore) -> None:
    """A writer waits while another process holds the lock, and goes on when that is killed."""
    with worker("hold", local.url) as holder, ThreadPoolExecutor(1) as pool:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "locked\n"
        write = pool.submit(local.write, NAME, b"1")
        time.sleep(0.05)
        assert not write.done()
        assert local.read(NAME).body == b"0"  # readers take no lock
        holder.kill()
        write.result(timeout=30)
    assert local.read(NAME).body == b"1"


# Later Pythons warn of a fork beside threads; this child only sleeps.
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_child_does_not_keep_the_lock(local: LocalStore) -> None:
    """A child forked while the lock is held does not hold it on after its release."""
    with local._locked():
        child = os.fork()
        if child == 0:
            time.sleep(60)
            os._exit(0)
    try:
        with ThreadPoolExecutor(1) as pool:
            pool.submit(local.write, NAME, b"1").result(timeout=30)
    finally:
        os.kill(child, 9)
        os.waitpid(child, 0)


def hidden_files(store: LocalStore) -> list[str]:
    """The temporary files anywhere in the store's directory."""
    return [path.name for path in Path(store.url).rglob(".tmp-*")]


def test_a_writer_killed_midway_leaves_nothing_visible(local: LocalStore, tmp_path: Path) -> None:
    """
    A process killed while it writes leaves the old object; its temporary file is
    never listed, and the next write beside it removes it.
    """
    source = tmp_path / "source"
    os.mkfifo(source)
    with worker("write", local.url, NAME, source) as writer, source.open("wb", 0) as pipe:
        pipe.write(b"half of it")
        while not any(path.stat().st_size for path in Path(local.url).glob(".tmp-*")):
            time.sleep(0.005)
        local.write("other", b"x")
        assert len(hidden_files(local)) == 1, "a living writer's file was removed"
        writer.kill()
        writer.wait()
    assert len(hidden_files(local)) == 1
    assert list(local.names("")) == [NAME, "other"]
    assert local.read(NAME).body == b"0"
    local.write("other", b"y")
    assert hidden_files(local) == []


def test_a_failed_write_leaves_nothing(local: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk's error comes through as it is; object and directory are as before."""
    error = OSError(28, "No space left on device")

    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr("crlcheck.stores.local._write_all", fail)
    with pytest.raises(OSError, match="No space") as failure:
        local.write(NAME, b"1")
    assert failure.value is error
    assert local.read(NAME).body == b"0"
    assert hidden_files(local) == []


def test_refused_writes_leave_nothing(local: LocalStore) -> None:
    """A write whose precondition failed removes its temporary file."""
    with pytest.raises(PreconditionFailedError, match="expected etag 00, found etag 5feceb66"):
        local.write(NAME, b"1", if_match="00")
    with pytest.raises(PreconditionFailedError, match="expected no such object"):
        local.write(NAME, b"1", if_absent=True)
    with pytest.raises(PreconditionFailedError, match="found no such object"):
        local.write("other", b"1", if_match="00")
    assert hidden_files(local) == []


def test_the_order_of_a_durable_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    With fsync the contents are on disk before the rename, and the rename (and
    every new directory's name) before write returns; without, nothing is synced.
    """
    events: list[str] = []
    real_fsync, real_replace = os.fsync, Path.replace

    def fsync(descriptor: int) -> None:
        status = os.fstat(descriptor)
        kind = "directory" if stat.S_ISDIR(status.st_mode) else f"file of {status.st_size}"
        events.append(f"sync {kind}")
        real_fsync(descriptor)

    def replace(self: Path, target: Path) -> Path:
        events.append("rename")
        return real_replace(self, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(Path, "replace", replace)
    LocalStore(tmp_path / "a").write("images/x", b"12345")
    assert events == ["sync directory"] * 2 + ["sync file of 5", "rename", "sync directory"]
    events.clear()
    LocalStore(tmp_path / "b", fsync=False).write("images/x", b"12345")
    assert events == ["rename"]


def test_other_users_may_read(tmp_path: Path) -> None:
    """The umask decides who may read an object, as for any new file."""
    before = os.umask(0o027)
    try:
        LocalStore(tmp_path).write(NAME, b"x")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / NAME).stat().st_mode) == 0o640


def test_reading_needs_no_write_permission(local: LocalStore) -> None:
    """Readers create nothing, not even the lock file."""
    root = Path(local.url)
    (root / ".lock").unlink()
    local.read(NAME)
    local.read_if_changed(NAME, None)
    local.load(NAME)
    assert list(local.names("")) == [NAME]
    assert [path.name for path in root.iterdir()] == [NAME]


@pytest.mark.parametrize("size", [0, 1000, 9 << 20])
@pytest.mark.parametrize("harm", ["overwrite", "truncate"])
def test_what_was_loaded_is_nobody_else_s_to_change(
    local: LocalStore, size: int, harm: str
) -> None:
    """
    However large an object is, overwriting or truncating its file in place changes
    nothing of what was loaded before.
    """
    local.write(IMAGE, b"x" * size)
    loaded = local.load(IMAGE)
    with (Path(local.url) / IMAGE).open("r+b") as file:
        if harm == "overwrite":
            file.write(b"y" * size)
        else:
            file.truncate(0)
    assert loaded[:] == b"x" * size


@pytest.mark.parametrize("change", [-1000, -1, 1, 1000])
def test_a_file_whose_size_changes_while_it_is_read_is_refused(
    local: LocalStore, change: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A file that shrinks or grows under the reader is an error that says so, and is
    read again by the next attempt.
    """
    size = 1 << 20
    local.write(IMAGE, bytes(size))

    def harm(asked: int) -> bytearray | mmap.mmap:
        os.truncate(Path(local.url) / IMAGE, size + change)
        return make_room(asked)

    monkeypatch.setattr("crlcheck.stores.local.make_room", harm)
    with pytest.raises(StoreUnavailableError, match=f"expected {size} bytes, found") as failure:
        local.load(IMAGE)
    assert "changed while it was read" in str(failure.value)
    monkeypatch.undo()
    assert len(local.load(IMAGE)) == size + change


@pytest.mark.parametrize("kind", ["named pipe", "device"])
def test_what_is_no_file_is_no_object(local: LocalStore, kind: str) -> None:
    """
    A named pipe in the place of an object does not keep a reader waiting, nor is
    a device read without end.
    """
    path = Path(local.url) / "other"
    if kind == "named pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/zero")
    for read in (local.read, local.load):
        with pytest.raises(FileNotFoundError, match="other"):
            read("other")


def test_files_that_are_no_objects_are_not_listed(local: LocalStore) -> None:
    """Every name that is listed can be read; what the rules exclude is ignored."""
    root = Path(local.url)
    (root / ".hidden").mkdir()
    (root / ".hidden" / "x").touch()
    (root / "new\nline").touch()
    (root / os.fsdecode(b"not-utf-8-\xff")).touch()
    assert list(local.names("")) == [NAME]


def test_a_directory_that_cannot_be_listed_is_an_error(
    local: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An unreadable directory does not pass for an empty one."""

    def refuse(path: str | Path) -> Iterator[os.DirEntry[str]]:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(PermissionError):
        local.names("")
