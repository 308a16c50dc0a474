"""Examine what only a directory has: its file system, locks, permissions and free space."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from crlcheck.stores.examination import (
    FAILED,
    OK,
    Result,
    StoreCheck,
    attempt,
    clock_check,
    failure,
    warning,
)
from crlcheck.stores.local import LOCK_NAME, LocalStore, open_lock
from crlcheck.stores.probe import Trial, new_body

_NUM_REPLACED = 200
_SLOW_SECONDS = 1.0
_LEAST_FREE = 1 << 30
_LEAST_INODES = 1000
_NETWORK = ("nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "ceph", "afs", "glusterfs")
_ONE_MACHINE = (
    "let one machine alone publish here, or mount it so that the server keeps the locks "
    "(NFSv4 without nolock and local_lock)"
)
_TRY_LOCK = """
import fcntl, sys
with open(sys.argv[1], "rb+") as file:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        sys.exit(0)
sys.exit(3)
"""


def directory(store: LocalStore) -> StoreCheck:
    """Return whether there is a directory."""
    root = Path(store.url)
    if root.is_dir():
        return StoreCheck("directory", OK, f"{root} is a directory")
    remedy = "check the path; if it is right, make the directory, or let a first publication do so"
    return StoreCheck("directory", FAILED, f"{root} does not exist", remedy)


def checks(store: LocalStore, tried: Trial) -> Iterator[StoreCheck]:
    """Yield the checks that write to the store."""
    root = Path(store.url)
    yield attempt("file system", "", lambda: _file_system(root))
    yield attempt("locks", _ONE_MACHINE, lambda: _locks(root))
    yield attempt("rename", "use another file system", lambda: _rename(store, tried))
    yield attempt("fsync", "use another file system", lambda: _fsync(store, tried))
    yield attempt("permissions", "", lambda: _permissions(root))
    yield attempt("free space", "make room", lambda: _free_space(store, root))
    yield attempt("clock", "", lambda: _clock(store, root, tried))


def _file_system(root: Path) -> Result:
    kind, options = _mount_of(root)
    if not kind:
        return "the system does not tell its kind"
    if kind in _NETWORK:
        lax = [one for one in options if one in ("nolock", "nobrl") or "local_lock" in one]
        lax = [one for one in lax if one != "local_lock=none"]
        if lax:
            return warning(
                f"{kind} with {', '.join(lax)}: locks hold on this machine only", _ONE_MACHINE
            )
        return warning(f"{kind}: locks are kept by its server, if it keeps any", _ONE_MACHINE)
    if kind.startswith("fuse"):
        return warning(f"{kind}: locks may hold on this machine only", _ONE_MACHINE)
    return f"{kind}, of this machine"


def _mount_of(root: Path) -> tuple[str, list[str]]:
    """Return the kind of file system that *root* is on, and its options; "" if unknown."""
    device = root.stat().st_dev
    wanted = f"{os.major(device)}:{os.minor(device)}"
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/mountinfo").read_text("utf-8", "replace").splitlines():
            fields, _, rest = line.partition(" - ")
            if fields.split()[2] == wanted:
                kind, _, options = rest.split(" ", 2)
                return kind, options.split(",")
    return "", []


def _locks(root: Path) -> Result:
    with os.fdopen(open_lock(root / LOCK_NAME), "rb+") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with os.fdopen(open_lock(root / LOCK_NAME), "rb+") as second:
            try:
                fcntl.flock(second, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                pass
            else:
                return failure("a lock (flock) was given twice to one process")
        other = subprocess.run(
            [sys.executable, "-I", "-S", "-c", _TRY_LOCK, str(root / LOCK_NAME)],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
    if other.returncode == 3:
        return failure("a lock (flock) was given to two processes at once")
    if other.returncode != 0:
        return failure(f"another process could not try the lock: {other.stderr.strip()[-200:]}")
    return "a lock (flock) keeps out threads and other processes"


def _rename(store: LocalStore, tried: Trial) -> Result:
    name = tried.new_name()
    bodies = [new_body(1 << 16) for _ in range(2)]
    store.write(name, bodies[0])
    failures: list[str] = []
    ended = threading.Event()

    def read() -> None:
        while not ended.is_set() and not failures:
            try:
                if store.read(name).body not in bodies:
                    failures.append("a reader found a mixture of two states of an object")
            except OSError as error:
                failures.append(f"a reader found no object while it was replaced: {error}")

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    unsynced = LocalStore(store.url, fsync=False)
    for number in range(_NUM_REPLACED):
        unsynced.write(name, bodies[number % 2])
    ended.set()
    reader.join()
    return failure(failures[0]) if failures else "a rename replaces an object in one step"


def _fsync(store: LocalStore, tried: Trial) -> Result:
    synced, name = LocalStore(store.url), tried.new_name()
    started = time.monotonic()
    synced.write(name, new_body())
    seconds = time.monotonic() - started
    if seconds > _SLOW_SECONDS:
        return warning(
            f"a write that would survive a power cut takes {seconds:.1f} s",
            "expect publications to take as much longer, or use a faster disk",
        )
    return "files and directories can be written through to the disk"


def _permissions(root: Path) -> Result:
    for path in (root, root / "catalog.json", root / "images"):
        if not path.exists():
            continue
        state = path.stat()
        if state.st_mode & stat.S_IWOTH and not state.st_mode & stat.S_ISVTX:
            return warning(
                f"{path} may be written by everybody on this machine, who could then un-revoke",
                f"chmod o-w {path}",
            )
        if state.st_uid not in (os.geteuid(), 0):
            return warning(
                f"{path} belongs to the user {state.st_uid}, and this process runs as "
                f"{os.geteuid()}",
                "publish as the user to whom the store belongs",
            )
    mode = stat.S_IMODE(root.stat().st_mode)
    return f"{root} has the mode {mode:04o}, and belongs to this user or to root"


def _free_space(store: LocalStore, root: Path) -> Result:
    free = shutil.disk_usage(root).free
    images = [(root / name).stat().st_size for name in store.names("images/")]
    least = max(_LEAST_FREE, 3 * max(images, default=0))
    found = f"{free:,} bytes are free"
    if free < least:
        return warning(
            f"{found}; a publication may need {least:,}",
            "make room: a publication writes the new image before the old ones are deleted",
        )
    inodes = os.statvfs(root)
    if inodes.f_files and inodes.f_favail < _LEAST_INODES:
        return warning(f"{inodes.f_favail} more files can be made", "make room for more files")
    return found


def _clock(store: LocalStore, root: Path, tried: Trial) -> Result:
    name = tried.new_name()
    store.write(name, new_body())
    return clock_check((root / name).stat().st_mtime - time.time(), "the file system")
