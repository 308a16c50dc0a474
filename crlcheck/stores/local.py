"""Keep a store in a directory of the file system."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import mmap
import os
import secrets
import stat
from collections.abc import Iterator
from io import FileIO
from pathlib import Path
from typing import BinaryIO

from crlcheck.errors import PreconditionFailedError, StoreUnavailableError, naming
from crlcheck.stores.object_store import (
    StoredObject,
    check_name,
    check_prefix,
    check_write,
    is_object_name,
    make_room,
)

LOCK_NAME = ".lock"
_TEMPORARY_PREFIX = ".tmp-"
_COPY_SIZE = 1 << 20


class LocalStore:
    """
    A store in a directory.

    An etag is the SHA-256 of the contents. Writers take a ``flock`` on a lock
    file for the time of the check and the rename. The system releases it when the
    process ends. Readers take no lock. The file system must have ``flock`` and atomic
    rename (local ones and NFSv4 do).

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

    def __repr__(self) -> str:
        return f"LocalStore({self.url!r})"

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
        found = self.read(name)
        return None if found.etag == etag else found

    def load(self, name: str) -> bytearray | mmap.mmap:
        """
        As ObjectStore.load: read into memory of this process, never mapped.

        A mapping changes with its file. Another program that overwrites the file would
        change bytes that were verified already. One that truncates it would end this
        process by SIGBUS.
        """
        with self._open(name) as file:
            return _read_whole(file, f"{self._root / name}")

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
        with self._temporary(target.parent) as (temporary, file):
            etag = _fill(file, body)
            if self._fsync:
                os.fsync(file.fileno())
            with self._locked():
                self._check_state(name, if_match, if_absent)
                temporary.replace(target)
        if self._fsync:
            _sync_directory(target.parent)
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
        found = []
        start = self._root / prefix.rpartition("/")[0]
        for directory, subdirectories, files in os.walk(start, onerror=_raise_unless_missing):
            subdirectories[:] = [name for name in subdirectories if is_object_name(name)]
            relative = Path(directory).relative_to(self._root)
            found += [(relative / file).as_posix() for file in files if is_object_name(file)]
        return iter(sorted(name for name in found if name.startswith(prefix)))

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
        )

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        # The lock has a file of its own, which stays: a lock on a file that gets
        # replaced or deleted would let a second holder in. Each call opens it
        # anew, because flock excludes descriptions and so threads as well.
        descriptor = os.open(self._root / LOCK_NAME, os.O_RDWR | os.O_CREAT, 0o666)
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
        # Beside its target, since a rename stays within one file system. The
        # mode leaves reading to the umask: the reader may be another user.
        path = directory / f"{_TEMPORARY_PREFIX}{secrets.token_hex(16)}"
        with self._locked():
            _remove_abandoned(directory)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
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
            descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
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
