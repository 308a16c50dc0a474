"""Keep a store in a directory of the file system."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import functools
import hashlib
import mmap
import os
import secrets
import stat
import time
from collections.abc import Iterator
from io import FileIO
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from crlcheck.errors import (
    LockFileError,
    PreconditionFailedError,
    StoreError,
    StoreUnavailableError,
    naming,
)
from crlcheck.stores.object_store import (
    StoredObject,
    StoredPart,
    check_name,
    check_part,
    check_prefix,
    check_write,
    is_object_name,
    make_room,
)

LOCK_NAME = ".lock"
_TEMPORARY_PREFIX = ".tmp-"
# As an image is compiled: a file that is read as huge pages is one when it is copied too.
_COPY_SIZE = 2 << 20

# In seconds. FAT has the coarsest time stamps, of two seconds.
_STAMP_SECONDS = 3.0
_LONGEST_TRUST = 60.0

_Stamp = tuple[int, int, int, int, int]
"""Device, inode, size, and the times of the last change of the contents and of the inode."""


class _LastPoll(NamedTuple):
    """
    The stamp and the etag of the file that the last poll read.

    ``stamp_since`` is when the first poll found that stamp, ``read_at`` when the last one
    began to read, both by the monotonic clock.
    """

    stamp: _Stamp
    etag: str
    stamp_since: float
    read_at: float


class LocalStore:
    """
    A store in a directory.

    An etag is the SHA-256 of the contents. Writers take a ``flock`` on a lock
    file for the time of the check and the rename. The system releases it when the
    process ends. Readers take no lock. The file system must have ``flock`` and atomic
    rename (local ones and NFSv4 do).

    A poll does not read a file whose stamp is that of the last poll. A file that is
    rewritten in place can keep its stamp where the time stamps are coarse. Therefore a
    stamp counts only once the file was read again after it was 3 seconds old, by the
    clock of this machine and by the time since it was first seen, and for a minute only.

    fsync: whether a write returns only once it would survive a power cut.
    """

    # Each write compares under a lock. A file system without locks fails it.
    is_known_to_swap = True

    def __init__(self, path: str | os.PathLike[str], *, fsync: bool = True) -> None:
        if not os.fspath(path):
            raise ValueError("store: expected the path of a directory, found an empty one")
        self._root = Path(path).absolute()
        if self._root.exists() and not self._root.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(self._root))
        self._fsync = fsync
        # Replaced as a whole, because threads share it.
        self._last_poll: _LastPoll | None = None
        # Folders on other file systems than the store's own.
        self._mounted: frozenset[Path] = frozenset()

    def __repr__(self) -> str:
        return f"LocalStore({self.url!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        """Let another process open the same directory."""
        return functools.partial(LocalStore, fsync=self._fsync), (str(self._root),)

    @property
    def url(self) -> str:
        """The directory's absolute path."""
        return str(self._root)

    def read(self, name: str) -> StoredObject:
        """As ObjectStore.read."""
        with self._open(name) as file:
            body = file.read()
        return StoredObject(body, hashlib.sha256(body).hexdigest())

    def read_if_changed(self, name: str, etag: str | None) -> StoredObject | None:
        """As ObjectStore.read_if_changed."""
        with self._open(name) as file:
            # The file is opened although a stat of its path would do: that is when a
            # network file system asks its server.
            now, stamp, last = time.monotonic(), _stamp_of(file), self._last_poll
            is_same = last is not None and last.stamp == stamp
            if last is not None and is_same and last.etag == etag and _may_trust(last, now):
                return None
            body = file.read()
        digest = hashlib.sha256(body).hexdigest()
        since = last.stamp_since if last is not None and is_same else now
        self._last_poll = _LastPoll(stamp, digest, since, now)
        return None if digest == etag else StoredObject(body, digest)

    def load(self, name: str) -> bytearray | mmap.mmap:
        """
        As ObjectStore.load: read into memory of this process, never mapped.

        A mapping changes with its file. Another program that overwrites the file would
        change bytes that were verified already. One that truncates it would end this
        process by SIGBUS.
        """
        with self._open(name) as file:
            return _read_whole(file, f"{self._root / name}")

    def read_part(self, name: str, start: int, size: int, *, etag: str = "") -> StoredPart | None:
        """As PartStore.read_part; a file that is replaced by rename is another state."""
        check_part(name, start, size)
        with self._open(name) as file:
            state = "-".join(map(str, _stamp_of(file)))
            if etag not in ("", state):
                return None
            file.seek(start)
            body = b""
            while len(body) < size and (piece := file.read(size - len(body))):
                body += piece
        if len(body) < size:
            raise StoreError(
                f"{self._root / name}: expected {size} bytes from {start} on, found {len(body)}"
            )
        return StoredPart(body, state)

    def write(
        self, name: str, body: bytes | Path, *, if_match: str | None = None, if_absent: bool = False
    ) -> str:
        """As ObjectStore.write."""
        check_write(name, body, if_match, if_absent)
        target = self._root / name
        with naming(target):
            return self._write(target, name, body, if_match, if_absent)

    def _write(
        self, target: Path, name: str, body: bytes | Path, if_match: str | None, if_absent: bool
    ) -> str:
        self._make_directory(target.parent)
        try:
            beside = target.parent if target.parent in self._mounted else self._root
            etag = self._replace(beside, target, name, body, if_match, if_absent)
        except OSError as error:
            if error.errno != errno.EXDEV or beside != self._root:
                raise
            # The folder is a link or a mount, and a rename stays within one file system.
            self._mounted |= {target.parent}
            etag = self._replace(target.parent, target, name, body, if_match, if_absent)
        if self._fsync:
            _sync_directory(target.parent)
        return etag

    def _replace(
        self,
        directory: Path,
        target: Path,
        name: str,
        body: bytes | Path,
        if_match: str | None,
        if_absent: bool,
    ) -> str:
        """Write a temporary file in *directory*, and rename it to *target*."""
        with self._temporary(directory) as (temporary, file):
            etag = _fill(file, body)
            if self._fsync:
                os.fsync(file.fileno())
            with self._locked():
                self._check_state(name, if_match, if_absent)
                temporary.replace(target)
        return etag

    def delete(self, name: str) -> None:
        """As ObjectStore.delete. After a power cut the object may be back."""
        check_name(name)
        if self._root.is_dir():
            with self._locked(), contextlib.suppress(*_NO_SUCH_OBJECT):
                (self._root / name).unlink()

    def names(self, prefix: str) -> Iterator[str]:
        """As ObjectStore.names."""
        check_prefix(prefix)
        return self._names(prefix.rpartition("/")[0], prefix)

    def ignored_names(self) -> Iterator[str]:
        """Return the names of files that ``names`` ignores because they are no object names."""
        for folder, _, files in os.walk(self._root):
            for name in (
                (Path(folder) / file).relative_to(self._root).as_posix() for file in files
            ):
                if not is_object_name(name):
                    yield name

    def _names(self, folder: str, prefix: str) -> Iterator[str]:
        """Yield the names in a folder and below, each folder when it is reached."""
        found: list[tuple[str, bool]] = []
        try:
            with os.scandir(self._root / folder) as entries:
                for entry in entries:
                    is_folder = entry.is_dir()
                    # A link to a folder may lead back here.
                    is_loop = is_folder and entry.is_symlink()
                    if is_object_name(entry.name) and not is_loop:
                        name = f"{folder}/{entry.name}" if folder else entry.name
                        found.append((f"{name}/" if is_folder else name, is_folder))
        except OSError as error:
            _raise_unless_missing(error)
        # A folder sorts as the names in it do, with its slash.
        for name, is_folder in sorted(found):
            if is_folder and (name.startswith(prefix) or prefix.startswith(name)):
                yield from self._names(name.removesuffix("/"), prefix)
            elif name.startswith(prefix):
                yield name

    def _open(self, name: str) -> FileIO:
        check_name(name)
        path = self._root / name
        cause: OSError | None = None
        try:
            file = FileIO(path, opener=_open_without_waiting)
        except _NO_SUCH_OBJECT as error:
            cause = error
        else:
            if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                return file
            file.close()
        # A directory or a named pipe is no object, and neither is a name below a file.
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path)) from cause

    def _check_state(self, name: str, if_match: str | None, if_absent: bool) -> None:
        if if_match is None and not if_absent:
            return
        try:
            found = self.read(name).etag
        except FileNotFoundError:
            found = None
        if found == if_match:
            return
        expected = "no such object" if if_match is None else f"etag {if_match}"
        raise PreconditionFailedError(
            f"{self._root / name}: expected {expected}, found "
            + ("no such object" if found is None else f"etag {found}"),
            name=name,
            may_be_written=False,
        )

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        # The lock has a file of its own, which stays: a lock on a file that gets
        # replaced or deleted would let a second holder in. Each call opens it
        # anew, because flock excludes descriptions and so threads as well.
        descriptor = open_lock(self._root / LOCK_NAME)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            try:
                yield
            finally:
                # Closing would not do: a child forked meanwhile has a copy.
                fcntl.flock(descriptor, fcntl.LOCK_UN)
        finally:
            os.close(descriptor)

    @contextlib.contextmanager
    def _temporary(self, directory: Path) -> Iterator[tuple[Path, BinaryIO]]:
        # Where few files are: what killed writers left is looked for at every write. The
        # mode leaves reading to the umask: the reader may be another user.
        path = directory / f"{_TEMPORARY_PREFIX}{secrets.token_hex(16)}"
        with self._locked():
            _remove_abandoned(directory)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o666)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        with os.fdopen(descriptor, "wb", buffering=0) as file:
            try:
                yield path, file
            except BaseException:
                path.unlink(missing_ok=True)
                raise

    def _make_directory(self, directory: Path) -> None:
        missing = []
        while not directory.is_dir():
            missing.append(directory)
            directory = directory.parent
        for made in reversed(missing):
            made.mkdir(exist_ok=True)
            if self._fsync:
                _sync_directory(made.parent)


_NO_SUCH_OBJECT = (FileNotFoundError, IsADirectoryError, NotADirectoryError)


def open_lock(path: Path, mode: int = 0o666) -> int:
    """
    Open a lock file, and make it with *mode* where there is none.

    It is never opened through a symbolic link: whoever made the link would choose the file
    that writers make and lock, and where it changes, two of them hold the lock at once.

    Raises:
        LockFileError: a link, or another thing that is no regular file, is in its place.
        OSError: it cannot be made or opened.
    """
    # Without O_NONBLOCK a device could keep the writer waiting.
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        descriptor = os.open(path, flags, mode)
    except OSError as error:
        with contextlib.suppress(OSError):
            state = path.lstat().st_mode
            if not stat.S_ISREG(state):
                raise _no_lock(path, state) from error
        raise
    state = os.fstat(descriptor).st_mode
    if stat.S_ISREG(state):
        return descriptor
    os.close(descriptor)
    raise _no_lock(path, state)


def _no_lock(path: Path, state: int) -> LockFileError:
    kinds = {
        stat.S_IFLNK: "a symbolic link",
        stat.S_IFDIR: "a directory",
        stat.S_IFIFO: "a named pipe",
        stat.S_IFSOCK: "a socket",
    }
    found = kinds.get(stat.S_IFMT(state), "a device")
    if stat.S_ISLNK(state):
        with contextlib.suppress(OSError):
            found = f"{found} to {path.readlink()}"
    message = f"the lock {path} is {found}, expected a regular file; nothing was changed"
    return LockFileError(message, path=str(path), found=found)


def _stamp_of(file: FileIO) -> _Stamp:
    state = os.fstat(file.fileno())
    return state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns


def _may_trust(last: _LastPoll, now: float) -> bool:
    """Whether the contents are those of the last poll, because the stamp is still the same."""
    # The clock that made the stamp may be a server's, so it alone proves nothing: the
    # contents must have been read so long after the first poll that found the stamp. A
    # stamp in the future is of a clock that was set back, and may be given again.
    stamp_age = time.time() - (now - last.read_at) - max(last.stamp[3:]) / 1e9
    return (
        last.read_at - last.stamp_since > _STAMP_SECONDS
        and stamp_age > _STAMP_SECONDS
        and now - last.read_at < _LONGEST_TRUST
    )


def _open_without_waiting(path: str, flags: int) -> int:
    # A named pipe in the place of an object would otherwise wait for a writer.
    return os.open(path, flags | os.O_NONBLOCK)


def _read_whole(file: FileIO, where: str) -> bytearray | mmap.mmap:
    """
    Return the contents of an unbuffered file, in memory of our own.

    Raises:
        StoreUnavailableError: its size changed meanwhile, so that it may be read again.
    """
    size = os.fstat(file.fileno()).st_size
    whole = make_room(size)
    position = 0
    with memoryview(whole) as room:
        while position < size and (num_read := file.readinto(room[position:])):
            position += num_read
    if position < size or file.read(1):
        found = f"the end after {position}" if position < size else "more"
        raise StoreUnavailableError(
            f"{where} changed while it was read: expected {size} bytes, found {found}; "
            "objects of a store are replaced by rename only"
        )
    return whole


def _fill(file: BinaryIO, body: bytes | Path) -> str:
    """Write *body* to an unbuffered file and return its SHA-256."""
    if isinstance(body, bytes):
        _write_all(file, body)
        return hashlib.sha256(body).hexdigest()
    digest = hashlib.sha256()
    with body.open("rb", buffering=0) as source:
        while chunk := _read_piece(source, body):
            digest.update(chunk)
            _write_all(file, chunk)
    return digest.hexdigest()


def _read_piece(source: FileIO, path: Path) -> bytes:
    with naming(path):
        return source.read(_COPY_SIZE)


def _write_all(file: BinaryIO, chunk: bytes) -> None:
    rest = memoryview(chunk)
    while rest:
        rest = rest[file.write(rest) :]


def _remove_abandoned(directory: Path) -> None:
    """
    Delete the temporary files whose writers were killed; the store is locked.

    A living writer holds a flock on its file, taken under the store's lock.
    """
    for path in directory.glob(f"{_TEMPORARY_PREFIX}*"):
        # Held by its writer, gone since, or not ours to remove: leave it.
        with contextlib.suppress(OSError):
            descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                # What is no regular file was not made by a writer.
                if stat.S_ISREG(os.fstat(descriptor).st_mode):
                    path.unlink()
            finally:
                os.close(descriptor)


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _raise_unless_missing(error: OSError) -> None:
    # What another process removes during a listing is simply not listed; any
    # other failure must not pass for an empty directory.
    if not isinstance(error, _NO_SUCH_OBJECT):
        raise error
