"""
Keep the images of a store as files in a private directory, and map them.

Processes that share the directory then have each image in memory once, and load it from the
store once. A store's own files are not mapped: whoever may write to it could change an image
after it was verified, or end the process by making a file shorter. So nobody else may write
to this directory, and each process compares an image with its digest when it maps it.

A file is named by the digest of its image. It is removed when a process unloads the image,
because a newer one has taken its place or the memory is full: another process that has mapped
it keeps it, and one that needs it later loads it anew.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import mmap
import os
import stat
import time
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeAlias

from crlcheck.errors import CorruptIndexError
from crlcheck.image.index import RevocationIndex, open_index

LOG = logging.getLogger("crlcheck")

Loaded: TypeAlias = tuple[bytes | bytearray | mmap.mmap, RevocationIndex]
"""The contents of an image, and the image."""

# In seconds. Loading a large image takes less; a process that takes longer may be stopped.
_PATIENCE = 30.0


class ImageFiles:
    """
    The files of a directory, which is made with mode 0700 where it is missing.

    Raises:
        ValueError: others may write to it.
        OSError: it cannot be made, or is no directory.
    """

    def __init__(self, directory: str | os.PathLike[str]) -> None:
        self._directory = Path(directory)
        self._directory.mkdir(mode=0o700, exist_ok=True)
        status = self._directory.stat()
        if status.st_uid != os.geteuid() or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise ValueError(
                f"image_directory: others may write to {self._directory}, and so change images "
                "after they were verified: expected a directory of this user with mode 0700"
            )

    def open(self, digest: str, load: Callable[[], Loaded]) -> RevocationIndex:
        """
        Return the image of a digest, mapped; *load* loads and verifies it where no process
        has yet. If it cannot be written, what was loaded is returned.

        Raises: what *load* raises.
        """
        path = self._directory / f"{digest}.crlx"
        found = _mapped(path, digest)
        if found is not None:
            return found
        with contextlib.ExitStack() as stack:
            part: int | None = None
            try:
                part = stack.enter_context(_only_one(path.with_suffix(".part")))
            except OSError as error:
                self._warn(error)
            else:
                found = _mapped(path, digest)  # another process may have been faster
                if found is not None:
                    return found
            contents, loaded = load()
            if part is not None and loaded.digest == digest:
                found = self._written(contents, part, path, digest)
        return loaded if found is None else found

    def _written(
        self, contents: bytes | bytearray | mmap.mmap, part: int, path: Path, digest: str
    ) -> RevocationIndex | None:
        try:
            os.ftruncate(part, 0)
            with open(part, "wb", closefd=False) as file:
                file.write(contents)
            path.with_suffix(".part").rename(path)
        except OSError as error:
            self._warn(error)
            return None
        return _mapped(path, digest)

    def _warn(self, error: OSError) -> None:
        LOG.warning("%s: an image is not shared: %s", self._directory, error)


@contextlib.contextmanager
def _only_one(path: Path) -> Iterator[int]:
    """
    Yield a descriptor of a file that nobody else writes meanwhile; remove what is left of it.

    Raises:
        OSError: it cannot be opened, or another process does not end.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        _lock(descriptor)
        yield descriptor
    finally:
        with contextlib.suppress(OSError):
            # Where it has got its name, or is another's by now, it is not ours to remove.
            if path.stat().st_ino == os.fstat(descriptor).st_ino:
                path.unlink()
        os.close(descriptor)


def _lock(descriptor: int) -> None:
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)
        else:
            return


def _mapped(path: Path, digest: str) -> RevocationIndex | None:
    """Map a file; None where it is not there, or is not what its name says."""
    try:
        index = open_index(path, verify=True)
        if index.digest != digest:
            raise CorruptIndexError(f"the digest is {index.digest}")
    except FileNotFoundError:
        return None
    except (CorruptIndexError, OSError) as error:
        LOG.warning("%s is loaded anew: %s", path, error)
        path.unlink(missing_ok=True)
        return None
    # At the end of the process others may need it.
    weakref.finalize(index, _remove, path).atexit = False
    return index


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink()
