"""
What is particular to a store in a directory: locks, temporary files, reading.
"""

from __future__ import annotations

import errno
import mmap
import os
import socket
import stat
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from io import FileIO
from pathlib import Path
from typing import Any

import pytest

from crlcheck.errors import LockFileError, PreconditionFailedError, StoreUnavailableError
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
        list(local.names(""))


def test_names_come_in_order_and_a_folder_is_read_when_it_is_reached(
    local: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Whoever asks for the first name of many reads no more folders than lead to it, and none
    that the prefix leaves out. A folder sorts as the names in it do.
    """
    names = ["a.b/x", "a/b/c", "a/b/d", "a/c", "a0", "b/x/y", "b/y", "ba"]
    for name in names:
        local.write(name, b"x")
    assert list(local.names("")) == sorted([*names, NAME])
    for prefix in ("a", "a/", "a/b", "a/b/", "a/b/c", "b", "b/", "b/x", "c", "a.", "x/y/z"):
        assert list(local.names(prefix)) == sorted(
            name for name in [*names, NAME] if name.startswith(prefix)
        )
    read: list[str] = []
    real = os.scandir

    def scandir(path: Any) -> Any:
        read.append(str(path)[len(local.url) + 1 :])
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    assert next(local.names("a/")) == "a/b/c"
    assert read == ["a", "a/b"]
    read.clear()
    assert list(local.names("b/x/")) == ["b/x/y"]
    assert read == ["b/x"]


def test_a_link_to_a_folder_is_not_followed_within_a_list(
    local: LocalStore, tmp_path: Path
) -> None:
    """It may lead back to where it is; a folder that is asked for may be one."""
    (Path(local.url) / "loop").symlink_to(local.url)
    (tmp_path / "elsewhere").mkdir()
    (Path(local.url) / "images").symlink_to(tmp_path / "elsewhere")
    local.write("images/a", b"x")
    assert list(local.names("")) == [NAME]
    assert list(local.names("images/")) == ["images/a"]


def test_a_folder_on_another_file_system_is_written_to(
    local: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A rename does not leave a file system: the file is made beside its target then."""
    real, refused = Path.replace, 0

    def replace(path: Path, target: Path) -> Path:
        nonlocal refused
        if path.parent != target.parent:
            refused += 1
            raise OSError(errno.EXDEV, "Invalid cross-device link", str(path))
        return real(path, target)

    monkeypatch.setattr(Path, "replace", replace)
    for number in range(3):
        local.write(f"images/{number}", b"x")
    assert refused == 1, "it is remembered"
    assert list(local.names("images/")) == ["images/0", "images/1", "images/2"]
    assert hidden_files(local) == []


# ---- polls by the stamp of the file ----------------------------------------------


class Clock:
    """Stands in for the module ``time``: both clocks go on by hand."""

    def __init__(self) -> None:
        self.wall = time.time()
        self.since_start = 1000.0

    def time(self) -> float:
        """The wall clock."""
        return self.wall

    def monotonic(self) -> float:
        """The monotonic clock."""
        return self.since_start

    def pass_(self, seconds: float) -> None:
        """Let time pass on both."""
        self.wall += seconds
        self.since_start += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clocks of the store."""
    made = Clock()
    monkeypatch.setattr("crlcheck.stores.local.time", made)
    return made


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files that were read, in order."""
    found: list[str] = []

    class Counting(FileIO):
        def read(self, size: int | None = -1, /) -> Any:
            found.append(Path(str(self.name)).name)
            return super().read(-1 if size is None else size)

    monkeypatch.setattr("crlcheck.stores.local.FileIO", Counting)
    return found


def settle(local: LocalStore, clock: Clock) -> str:
    """Poll until the stamp of the file counts; its etag."""
    found = local.read_if_changed(NAME, None)
    assert found is not None
    clock.pass_(5)
    assert local.read_if_changed(NAME, found.etag) is None
    return found.etag


def rewrite(path: Path, body: bytes) -> None:
    """Write the contents in place, with a rewrite's usual new times."""
    with path.open("r+b") as file:
        file.write(body)
        file.truncate()
    later = time.time_ns() + 1_000_000
    os.utime(path, ns=(later, later))


def test_a_poll_without_change_reads_nothing(
    local: LocalStore, clock: Clock, reads: list[str]
) -> None:
    """
    Once a file was read again 3 seconds after its stamp was first seen, a poll does not
    read it for a minute, and then it does so once.
    """
    etag = settle(local, clock)
    reads.clear()
    for _ in range(59):
        clock.pass_(1)
        assert local.read_if_changed(NAME, etag) is None
    assert reads == []
    clock.pass_(1)
    assert local.read_if_changed(NAME, etag) is None
    assert reads == [NAME]
    clock.pass_(1)
    assert local.read_if_changed(NAME, etag) is None
    assert reads == [NAME]


def replace_it(path: Path) -> None:
    """A rename, as the store itself does it."""
    LocalStore(path.parent, fsync=False).write(path.name, b"1")


def rewrite_it(path: Path) -> None:
    """Bytes of the same number, in place."""
    rewrite(path, b"1")


def grow_it(path: Path) -> None:
    """More bytes, under the times of before, which the inode's own time tells apart."""
    state = path.stat()
    rewrite(path, b"11")
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))


def keep_its_time(path: Path) -> None:
    """As many bytes under the time of before, as ``rsync --inplace --times`` writes them."""
    state = path.stat()
    rewrite(path, b"1")
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))


def link_elsewhere(path: Path) -> None:
    """A link in its place, as volumes of configuration have them."""
    target = path.with_name("elsewhere")
    target.write_bytes(b"1")
    path.unlink()
    path.symlink_to(target)


@pytest.mark.parametrize("change", [replace_it, rewrite_it, grow_it, keep_its_time, link_elsewhere])
def test_each_kind_of_change_is_seen(
    local: LocalStore, clock: Clock, change: Callable[[Path], None]
) -> None:
    """However a file is changed, the next poll returns what is there."""
    etag = settle(local, clock)
    change(Path(local.url) / NAME)
    clock.pass_(1)
    found = local.read_if_changed(NAME, etag)
    assert found is not None
    assert found.body == (Path(local.url) / NAME).read_bytes() != b"0"
    assert local.read_if_changed(NAME, found.etag) is None


def with_coarse_stamps(monkeypatch: pytest.MonkeyPatch, read: Callable[[], float]) -> None:
    """Let files have the stamps of a file system that counts in steps of two seconds."""
    real = os.fstat

    def fstat(descriptor: int) -> os.stat_result:
        found = list(real(descriptor))
        names = ("st_mtime_ns", "st_ctime_ns")
        stamp = int(read() // 2 * 2) * 10**9
        return os.stat_result(found, dict.fromkeys(names, stamp))

    monkeypatch.setattr("crlcheck.stores.local.os.fstat", fstat)


@pytest.mark.parametrize("skew", [-3600, -10, 0, 10, 3600])
def test_a_rewrite_within_one_stamp_is_seen(
    local: LocalStore, clock: Clock, skew: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A file that is rewritten in place within one step of coarse time stamps is read, also
    where a server's clock makes the stamps, and is before or behind this machine's.
    """
    written_at = clock.wall
    with_coarse_stamps(monkeypatch, lambda: written_at + skew)
    path = Path(local.url) / NAME
    etag = local.read(NAME).etag
    for number in range(100, 140):
        clock.pass_(0.3)
        # As long as the step of the last stamp goes on, a rewrite does not change it.
        written_at = clock.wall
        rewrite(path, b"%d" % number)
        found = local.read_if_changed(NAME, etag)
        assert found is not None
        assert found.body == b"%d" % number
        etag = found.etag
        assert local.read_if_changed(NAME, etag) is None


def test_a_clock_that_was_set_back_is_not_believed(
    local: LocalStore, clock: Clock, reads: list[str]
) -> None:
    """A stamp in the future may be given again, so the file is read at every poll."""
    etag = settle(local, clock)
    clock.wall -= 3600
    reads.clear()
    for _ in range(3):
        clock.pass_(10)
        assert local.read_if_changed(NAME, etag) is None
    assert reads == [NAME] * 3


def test_a_change_under_an_old_stamp_is_seen_within_a_minute(
    local: LocalStore, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Where a file system keeps all stamps as they were, the change is found by the poll
    that reads the file once a minute.
    """
    with_coarse_stamps(monkeypatch, lambda: 1_000_000.0)
    etag = settle(local, clock)
    rewrite(Path(local.url) / NAME, b"1")
    clock.pass_(61)
    found = local.read_if_changed(NAME, etag)
    assert found is not None
    assert found.body == b"1"


def test_a_poll_with_another_etag_reads(local: LocalStore, clock: Clock) -> None:
    """A stamp answers for the etag of its own contents only."""
    etag = settle(local, clock)
    for asked in (None, "another"):
        found = local.read_if_changed(NAME, asked)
        assert found is not None
        assert (found.body, found.etag) == (b"0", etag)


def test_a_file_that_was_changed_while_it_was_read_is_read_again(
    local: LocalStore, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stamp that was taken before the change does not stand for what was read after it."""
    settle(local, clock)
    path = Path(local.url) / NAME

    class Changed(FileIO):
        def read(self, size: int | None = -1, /) -> Any:
            found = super().read(-1 if size is None else size)
            rewrite(path, b"2")
            return found

    rewrite(path, b"1")
    monkeypatch.setattr("crlcheck.stores.local.FileIO", Changed)
    first = local.read_if_changed(NAME, "another")
    monkeypatch.setattr("crlcheck.stores.local.FileIO", FileIO)
    assert first is not None
    assert first.body == b"1"
    clock.pass_(1)
    second = local.read_if_changed(NAME, first.etag)
    assert second is not None
    assert second.body == b"2"


def test_an_object_that_is_gone_is_missing(local: LocalStore, clock: Clock) -> None:
    """However well its stamp is known, an object that was deleted is missing."""
    etag = settle(local, clock)
    (Path(local.url) / NAME).unlink()
    with pytest.raises(FileNotFoundError):
        local.read_if_changed(NAME, etag)


def test_a_swap_compares_contents(local: LocalStore, clock: Clock) -> None:
    """A writer's condition never rests on a stamp."""
    etag = settle(local, clock)
    state = (Path(local.url) / NAME).stat()
    rewrite(Path(local.url) / NAME, b"1")
    os.utime(Path(local.url) / NAME, ns=(state.st_atime_ns, state.st_mtime_ns))
    with pytest.raises(PreconditionFailedError):
        local.write(NAME, b"2", if_match=etag)


# ---- what is in the place of the lock --------------------------------------------


def put(kind: str, path: Path, target: Path) -> None:
    """Put something of a kind in the place of a lock."""
    if kind == "symbolic link to a file":
        target.write_bytes(b"precious")
        path.symlink_to(target)
    elif kind == "symbolic link to nothing":
        path.symlink_to(target)
    elif kind == "directory":
        path.mkdir()
    elif kind == "named pipe":
        os.mkfifo(path)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as made:
            before = Path.cwd()
            os.chdir(path.parent)  # its path is longer than a socket's may be
            try:
                made.bind(path.name)
            finally:
                os.chdir(before)


KINDS = [
    "symbolic link to a file",
    "symbolic link to nothing",
    "directory",
    "named pipe",
    "socket",
]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("action", ["write", "delete"])
def test_a_lock_that_is_no_file_is_refused(
    local: LocalStore, tmp_path: Path, kind: str, action: str
) -> None:
    """
    Only a regular file is a lock. Whatever else is in its place is named by an error, and
    neither it nor the store is touched.
    """
    lock, target = Path(local.url) / ".lock", tmp_path / "target"
    lock.unlink()
    put(kind, lock, target)
    act = (lambda: local.write(NAME, b"1")) if action == "write" else lambda: local.delete(NAME)
    with pytest.raises(LockFileError, match="expected a regular file") as failure:
        act()
    assert failure.value.path == str(lock)
    assert failure.value.found.startswith(
        f"a {kind.removesuffix(' a file').removesuffix(' nothing')}"
    )
    assert failure.value.found in str(failure.value)
    assert local.read(NAME).body == b"0"
    assert hidden_files(local) == []
    assert not target.exists() or target.read_bytes() == b"precious"


def test_a_lock_without_rights_is_the_system_s_error(
    local: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A regular file that cannot be opened is no other kind of file."""
    real = os.open

    def refuse(path: Any, flags: int, mode: int = 0o777) -> int:
        if Path(path).name == ".lock":
            raise PermissionError(13, "Permission denied", str(path))
        return real(path, flags, mode)

    monkeypatch.setattr("crlcheck.stores.local.os.open", refuse)
    with pytest.raises(PermissionError):
        local.write(NAME, b"1")


def test_a_temporary_file_is_never_another_s(
    local: LocalStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is written through a link that has the name of a temporary file."""
    target = tmp_path / "target"
    target.write_bytes(b"precious")
    monkeypatch.setattr("crlcheck.stores.local.secrets.token_hex", lambda _: "known")
    (Path(local.url) / ".tmp-known").symlink_to(target)
    with pytest.raises(FileExistsError, match="tmp-known"):
        local.write(NAME, b"1")
    assert target.read_bytes() == b"precious"
    assert local.read(NAME).body == b"0"


@pytest.mark.parametrize("kind", KINDS)
def test_what_no_writer_made_is_not_removed(local: LocalStore, tmp_path: Path, kind: str) -> None:
    """A thing with the name of a temporary file that is no regular file stays as it is."""
    path, target = Path(local.url) / ".tmp-other", tmp_path / "target"
    put(kind, path, target)
    local.write(NAME, b"1")
    assert os.path.lexists(path)
    assert local.read(NAME).body == b"1"
