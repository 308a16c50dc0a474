"""
Open the socket that the workers share: a Unix socket, a port, or what the manager hands over.

All workers accept from one socket, so a connection that waits is taken by any of them, and is
not lost when one ends.
"""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import socket
import stat
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from crlcheck.errors import SettingsError
from crlcheck.serve.settings import Bind

BACKLOG = 1024

_FIRST_FD = 3
_MODE = 0o660
_DIRECTORY_MODE = 0o750


@dataclass(frozen=True, slots=True)
class Listener:
    """
    A socket that listens, and what keeps further connections from coming before it is closed.
    """

    opened: socket.socket
    withdraw: Callable[[], None]

    @property
    def is_unix(self) -> bool:
        """Whether it is a Unix socket."""
        return self.opened.family == socket.AF_UNIX

    @property
    def place(self) -> str:
        """Where it listens, for people."""
        address = self.opened.getsockname()
        if self.is_unix:
            return f"unix:{address}"
        host = f"[{address[0]}]" if ":" in address[0] else address[0]
        return f"http://{host}:{address[1]}"

    def has_waiting(self) -> bool:
        """Whether a connection waits that no worker has taken yet."""
        poll = select.poll()
        poll.register(self.opened, select.POLLIN)
        return bool(poll.poll(0))


@contextlib.contextmanager
def listening(bind: Bind, group: str | None, environ: Mapping[str, str]) -> Iterator[Listener]:
    """
    Yield what listens; what was made for it is removed afterwards.

    Raises:
        OSError: it cannot be opened.
        SettingsError: it would not be safe: others could replace it.
    """
    handed_over = from_manager(environ)
    if handed_over is not None:
        with handed_over:
            # What comes meanwhile waits in the manager's hands.
            yield Listener(handed_over, lambda: None)
    elif bind.path:
        with _unix(Path(bind.path), group) as listener:
            yield listener
    else:
        with _tcp(bind) as opened:
            # A client that finds no place in the queue tries again a second later.
            yield Listener(opened, lambda: opened.listen(0))


def from_manager(environ: Mapping[str, str]) -> socket.socket | None:
    """
    Return the socket that a service manager handed over (``sd_listen_fds``), None for none.

    Raises:
        SettingsError: it handed over several, or what is no listening stream socket.
    """
    if environ.get("LISTEN_PID") != str(os.getpid()):
        return None  # meant for another process, or not there
    number = environ.get("LISTEN_FDS", "")
    if number != "1":
        raise SettingsError(f"LISTEN_FDS is {number!r}: expected 1, one socket")
    opened = socket.socket(fileno=_FIRST_FD)
    if (
        opened.type != socket.SOCK_STREAM
        or opened.family not in (socket.AF_UNIX, socket.AF_INET, socket.AF_INET6)
        or not opened.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    ):
        opened.close()
        raise SettingsError("LISTEN_FDS: found a socket that does not listen for streams")
    return opened


def _tcp(bind: Bind) -> socket.socket:
    found = socket.getaddrinfo(bind.host, bind.port, type=socket.SOCK_STREAM)
    family, *_, address = found[0]
    opened = socket.socket(family, socket.SOCK_STREAM)
    try:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        opened.bind(address)
        opened.listen(BACKLOG)
    except OSError as error:
        opened.close()
        raise OSError(error.errno, f"{error.strerror}: {bind}") from error
    except BaseException:
        opened.close()
        raise
    return opened


@contextlib.contextmanager
def _unix(path: Path, group: str | None) -> Iterator[Listener]:
    with _place(path, group):
        opened = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            # Nobody can connect before it has its mode: it does not listen yet.
            opened.bind(os.fspath(path))
            identity = _identity(path)

            def withdraw() -> None:
                with contextlib.suppress(OSError):
                    # Another service may have put its own there meanwhile.
                    if _identity(path) == identity:
                        path.unlink()

            try:
                give_mode(path, group)
                opened.listen(BACKLOG)
                yield Listener(opened, withdraw)
            finally:
                withdraw()
        finally:
            opened.close()


@contextlib.contextmanager
def _place(path: Path, group: str | None) -> Iterator[None]:
    """Let a Unix socket be made at *path*; a directory that is made for it is removed again."""
    directory = path.parent
    made = not directory.exists()
    if made:
        try:
            directory.mkdir(_DIRECTORY_MODE)
        except FileNotFoundError as error:
            raise FileNotFoundError(
                f"{directory.parent}: no such directory: make it first; only the last one, "
                f"{directory.name}, is made for the socket"
            ) from error
        directory.chmod(_DIRECTORY_MODE)
        _give_group(directory, group)
    try:
        _require_own(directory)
        _remove_left_over(path)
        yield
    finally:
        if made:
            with contextlib.suppress(OSError):
                directory.rmdir()


def give_mode(path: Path, group: str | None) -> None:
    """Let owner and group alone use a Unix socket."""
    path.chmod(_MODE)
    _give_group(path, group)


def _give_group(path: Path, group: str | None) -> None:
    if group is None:
        return
    try:
        shutil.chown(path, group=group)
    except LookupError:
        raise SettingsError(
            f"CRLCHECK_SOCKET_GROUP is {group!r}: expected the name of a group of this machine"
        ) from None


# ---- what a worker opens itself ----------------------------------------------------


@contextlib.contextmanager
def free_place(bind: Bind, group: str | None) -> Iterator[None]:
    """
    Let workers open *bind* themselves; what is left of their Unix sockets is removed afterwards.

    Raises: as ``listening``.
    """
    if not bind.path:
        _tcp(bind).close()  # somebody else's would be shared, or found by each worker
        yield
        return
    path = Path(bind.path)
    with _place(path, group):
        try:
            yield
        finally:
            with contextlib.suppress(OSError):
                _remove_left_over(path)


def own_path(bind: Bind, pid: int) -> Path:
    """Return where the worker *pid* opens its Unix socket, before it takes the place of *bind*."""
    return Path(bind.path).with_name(f".{pid}")


def _identity(path: Path) -> tuple[int, int]:
    status = path.lstat()
    return status.st_dev, status.st_ino


def _require_own(directory: Path) -> None:
    """Refuse a directory in which others could put a socket of theirs in the place of ours."""
    status = directory.stat()
    if status.st_uid not in (0, os.geteuid()):
        raise SettingsError(
            f"{directory}: found a directory of another user (uid {status.st_uid}), who could "
            "replace the socket: give it one of its own"
        )
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise SettingsError(
            f"{directory}: found a directory that others may write to, who could replace the "
            "socket: give it one of its own, such as one of mode 0750"
        )


def _remove_left_over(path: Path) -> None:
    """
    Remove the socket of a service that has ended.

    Raises:
        OSError: something else has the name, or a service listens there.
    """
    try:
        status = path.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(status.st_mode):
        raise FileExistsError(f"{path}: found something else than a socket in its place")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1)
        try:
            probe.connect(os.fspath(path))
        except (ConnectionRefusedError, FileNotFoundError):
            path.unlink(missing_ok=True)
            return
        except OSError:
            pass  # it is busy, so it is alive
    raise FileExistsError(f"{path}: another service listens there")
