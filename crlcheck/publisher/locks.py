"""
Keep two fetches of one store apart, and let large publications take turns, on one machine.

A catalog is safe without either, because publications compare and swap. The lock of the
fetches is for a cron job that takes longer than its interval. The turns save work: of several
publications that swap at once all but one begin anew. The system releases a lock when
the process ends, however it ends.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import logging
import os
import stat
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from crlcheck.errors import CrlCheckError, FetchError, FetchLockedError
from crlcheck.stores import LocalStore, ObjectStore
from crlcheck.stores.local import open_lock

_FETCH = "fetch"
_TURN = "turn"

# In seconds. A publication that takes longer is not waited for, and may lose its swap.
_LONGEST_TURN = 20.0
_BETWEEN_TRIES = 0.02

_log = logging.getLogger(__name__)


@contextlib.contextmanager
def run_lock(store: ObjectStore) -> Iterator[Path]:
    """
    Hold the lock of the fetches of *store*; give its file, which stays.

    It lies in the directory of a store that is one, else in a directory of this user's
    among the temporary files. It is not in XDG_RUNTIME_DIR: a job of cron has none, and
    would not meet a run by hand.

    Raises:
        FetchLockedError: another process holds it.
        FetchError: the directory for it is not this user's own.
        LockFileError: what is in its place is no regular file.
        OSError: the file cannot be made or locked.
    """
    path = lock_path(store, _FETCH)
    while True:
        with _opened(path, own=not isinstance(store, LocalStore)) as file:
            _lock(file, path, store)
            if _is_at(file, path):
                os.ftruncate(file, 0)
                os.write(file, b"%d\n" % os.getpid())
                yield path
                return
            # Who cleans up temporary files has removed it between the two steps.


@contextlib.contextmanager
def turn(store: ObjectStore) -> Iterator[None]:
    """Wait for other publications in *store* to finish their turns, but not for long."""
    with contextlib.ExitStack() as stack:
        try:
            path = lock_path(store, _TURN)
            file = stack.enter_context(_opened(path, own=not isinstance(store, LocalStore)))
            _wait_for(file)
        except (CrlCheckError, OSError) as error:
            _log.info("publishing without a turn: %s", error)
        yield


def _wait_for(file: int) -> None:
    end = time.monotonic() + _LONGEST_TURN
    while time.monotonic() < end:
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        time.sleep(_BETWEEN_TRIES)


def lock_path(store: ObjectStore, kind: str = _FETCH) -> Path:
    """Return where a lock of a store is, and make the directory."""
    if isinstance(store, LocalStore):
        directory = Path(store.url)
        directory.mkdir(parents=True, exist_ok=True)
        return directory / f".{kind}.lock"
    directory = Path(tempfile.gettempdir()) / f"crlcheck-{os.geteuid()}"
    directory.mkdir(mode=0o700, exist_ok=True)
    state = directory.lstat()
    if not stat.S_ISDIR(state.st_mode) or state.st_uid != os.geteuid() or state.st_mode & 0o022:
        raise FetchError(
            f"{directory}: found something that others may write, expected a directory of this "
            "user's alone; remove it, or set TMPDIR"
        )
    digest = hashlib.sha256(store.url.encode()).hexdigest()[:32]
    return directory / f"{kind}-{digest}.lock"


@contextlib.contextmanager
def _opened(path: Path, *, own: bool) -> Iterator[int]:
    # Another user's run locks the same file of a directory, as far as the umask lets it.
    file = open_lock(path, 0o600 if own else 0o666)
    try:
        yield file
    finally:
        os.close(file)


def _lock(file: int, path: Path, store: ObjectStore) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        text = os.pread(file, 20, 0).strip()
        process = int(text) if text.isdigit() else None
        raise FetchLockedError(
            f"another fetch to {store.url} is running"
            f"{'' if process is None else f' (process {process})'}, which holds {path}",
            path=str(path),
            process=process,
        ) from error


def _is_at(file: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file), path.stat())
    except FileNotFoundError:
        return False
