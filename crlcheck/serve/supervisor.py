"""
Keep the workers: start them, replace those that end, and change settings without a pause.

The supervisor answers no request, and reads no store. It opens the socket, forks the workers,
and waits for signals:

- SIGTERM and SIGINT: the workers finish what is under way, and all ends.
- SIGHUP: the settings are read anew. Where they are good, new workers start, and the old ones
  end when the new ones take requests. Where they are bad, or the new workers could not decide
  on any certificate, all stays as it was, and the log says why.
- SIGCHLD: a worker that has ended by itself is replaced, at once the first time.
"""

from __future__ import annotations

import contextlib
import fcntl
import gc
import logging
import math
import os
import selectors
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from crlcheck.access import UNIX_SOCKET
from crlcheck.catalog.root import CATALOG_NAME, NOTHING_PUBLISHED
from crlcheck.errors import (
    CrlCheckError,
    IndexFileError,
    NothingPublishedError,
    SettingsError,
)
from crlcheck.serve import sockets, worker
from crlcheck.serve.settings import ServeSettings

if TYPE_CHECKING:
    from crlcheck.ocsp import ResponderKey

LOG = logging.getLogger("crlcheck.serve")

_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)

# In seconds. How long a worker must have lived for its end not to look like a fault that
# comes again at once, and how long the longest pause before the next one is.
_LONG_LIFE = 10.0
_LONGEST_PAUSE = 10.0
# How long new workers may take to load the set before a reload is given up.
_START_TIME = 120.0

_PREFIX = "crlcheck-serve-"

_FAILURES = (ValueError, ImportError, CrlCheckError, OSError)


@dataclass(slots=True)
class _Worker:
    """A worker's process. ``is_answering`` is None until it takes requests."""

    number: int
    pid: int
    report: int
    began: float
    is_answering: bool | None = None
    # By the monotonic clock: when it is killed, once it is to end.
    ends_by: float = math.inf


@dataclass(slots=True)
class _Crew:
    """The workers that have the same settings, and when which are to be started again."""

    settings: ServeSettings
    ocsp_keys: Sequence[ResponderKey] = ()
    workers: dict[int, _Worker] = field(default_factory=dict)
    due: dict[int, float] = field(default_factory=dict)
    num_short: int = 0

    @property
    def is_ready(self) -> bool:
        """Whether all take requests."""
        return not self.due and all(one.is_answering is not None for one in self.workers.values())


class Supervisor:
    """
    Runs the service.

    *load* reads the settings; it is called again at SIGHUP. *environ* tells what the service
    manager gives. *prepare* is called with the settings in each process that is to have them.
    *describe* words an error because of which the old settings stay in use.

    Raises:
        ValueError, ImportError, CrlCheckError, OSError: by ``run``, where it cannot start.
    """

    def __init__(
        self,
        load: Callable[[], ServeSettings],
        environ: Mapping[str, str],
        prepare: Callable[[ServeSettings], None] = lambda _: None,
        describe: Callable[[Exception], str] = str,
    ) -> None:
        self._load = load
        self._environ = environ
        self._prepare = prepare
        self._describe = describe
        self._selector = selectors.DefaultSelector()
        self._taken: set[int] = set()
        self._ending: dict[int, _Worker] = {}
        self._next: _Crew | None = None
        self._next_deadline = 0.0
        self._is_announced = False
        self._is_stopping = False
        self._leader = 0

    def run(self, started: Callable[[str], None] = lambda _: None) -> int:
        """
        Serve until SIGTERM; return the exit status.

        *started* is told where it listens, once all workers take requests.
        """
        settings, ocsp_keys = self._loaded()
        self._prepare(settings)
        with contextlib.ExitStack() as stack:
            self._images = stack.enter_context(image_directory(settings, self._environ))
            self._listener = stack.enter_context(
                sockets.listening(settings.bind, settings.socket_group, self._environ)
            )
            _require_trusted(self._listener, settings)
            if settings.envoy_grpc is not None:
                stack.enter_context(sockets.free_place(settings.envoy_grpc, settings.socket_group))
            self._lifeline, self._held = os.pipe()
            stack.callback(os.close, self._lifeline)
            stack.callback(os.close, self._held)
            self._wakeup = stack.enter_context(_signals(self._taken))
            self._selector.register(self._wakeup, selectors.EVENT_READ)
            stack.callback(self._selector.close)
            self._crew = _Crew(settings, ocsp_keys)
            gc.freeze()  # what is loaded now is shared with the workers, and stays so
            self._fill(self._crew)
            try:
                self._wait_for_events(started)
            finally:
                self._end_all(self._crew.settings.stop_time.total_seconds())
        return 0

    # ---- events --------------------------------------------------------------

    def _wait_for_events(self, started: Callable[[str], None]) -> None:
        while not self._is_stopping:
            for key, _ in self._selector.select(self._timeout()):
                if key.fileobj is self._wakeup:
                    self._take_signals()
                else:
                    self._take_report(key)
            self._restart_due()
            self._kill_overdue()
            self._judge_next()
            self._lead_envoy()
            if not self._is_announced and self._crew.is_ready:
                self._is_announced = True
                started(self._listener.place)
                LOG.info("%d workers take requests", len(self._crew.workers))
                notify(self._environ, "READY=1")

    def _timeout(self) -> float | None:
        times = [due for crew in self._crews() for due in crew.due.values()]
        times += [one.ends_by for one in self._ending.values() if one.ends_by < math.inf]
        if self._next is not None:
            times.append(self._next_deadline)
        return max(0.0, min(times) - time.monotonic()) if times else None

    def _crews(self) -> list[_Crew]:
        return [self._crew] if self._next is None else [self._crew, self._next]

    def _take_signals(self) -> None:
        with contextlib.suppress(BlockingIOError):
            self._wakeup.recv(4096)
        # What is taken here is handled below; the same signal may come again meanwhile.
        numbers = set(self._taken)
        self._taken.difference_update(numbers)
        if signal.SIGCHLD in numbers:
            self._reap()
        if signal.SIGTERM in numbers or signal.SIGINT in numbers:
            self._is_stopping = True
        elif signal.SIGHUP in numbers:
            self._reload()

    def _take_report(self, key: selectors.SelectorKey) -> None:
        # What was handled just before may have closed it, and its number may be that of the
        # next worker's by now.
        if self._selector.get_map().get(key.fd) is not key:
            return
        said = os.read(key.fd, 1)
        if said != worker.NOT_ANSWERING:  # which says later that it is
            self._selector.unregister(key.fd)
        if said == worker.NOTHING_PUBLISHED and not self._is_announced:
            name = self._crew.settings.store
            raise NothingPublishedError(f"{name}/{CATALOG_NAME}: {NOTHING_PUBLISHED}", store=name)
        for crew in self._crews():
            for one in crew.workers.values():
                if one.report == key.fd and said:
                    if one.is_answering is False:
                        LOG.info("worker %d has a set by which it can decide", one.number)
                    one.is_answering = said == worker.ANSWERING

    def _reap(self) -> None:
        for crew in self._crews():
            for one in list(crew.workers.values()):
                status = _ended(one.pid)
                if status is None:
                    continue
                del crew.workers[one.number]
                self._forget(one)
                self._note_end(crew, one, status)
        for one in list(self._ending.values()):
            if _ended(one.pid) is not None:
                del self._ending[one.pid]
                self._forget(one)

    def _note_end(self, crew: _Crew, one: _Worker, status: int) -> None:
        how = f"by signal {-status}" if status < 0 else f"with status {status}"
        LOG.error("worker %d (process %d) has ended %s", one.number, one.pid, how)
        now = time.monotonic()
        crew.num_short = 0 if now - one.began > _LONG_LIFE else crew.num_short + 1
        crew.due[one.number] = now + pause_after(crew.num_short)

    def _restart_due(self) -> None:
        now = time.monotonic()
        for number, due in list(self._crew.due.items()):
            if due <= now:
                del self._crew.due[number]
                self._start(self._crew, number)

    def _lead_envoy(self) -> None:
        """
        Let the Unix socket for gRPC, which workers cannot share, be that of one of them.

        It stays so until that one ends. Then it is another's, one that can decide if there is.
        """
        place = self._crew.settings.envoy_grpc
        takes = [one for one in self._crew.workers.values() if one.is_answering is not None]
        if place is None or not place.path or any(one.pid == self._leader for one in takes):
            return
        for one in sorted(takes, key=lambda one: not one.is_answering):
            with contextlib.suppress(FileNotFoundError):  # it has ended meanwhile
                sockets.own_path(place, one.pid).replace(place.path)
                self._leader = one.pid
                return

    # ---- settings ------------------------------------------------------------

    def _loaded(self) -> tuple[ServeSettings, Sequence[ResponderKey]]:
        settings = self._load()
        ocsp_keys = worker.load_ocsp_keys(settings)
        # What a worker could not do must not be found out by each of them.
        try:
            worker.make_service(settings, ocsp_keys=ocsp_keys).checker.close()
        except IndexFileError as error:
            error.add_note(settings.store)  # a message about an image does not name its file
            raise
        return settings, ocsp_keys

    def _reload(self) -> None:
        notify(self._environ, f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")
        try:
            settings, ocsp_keys = self._loaded()
            _require_same_place(self._crew.settings, settings)
        except _FAILURES as error:
            self._keep_old(self._describe(error))
            return
        except Exception as error:  # noqa: BLE001 - the workers that there are go on
            self._keep_old(type(error).__name__)
            return
        self._drop_next()
        self._next = _Crew(settings, ocsp_keys)
        self._next_deadline = time.monotonic() + _START_TIME
        self._fill(self._next)

    def _judge_next(self) -> None:
        """Take over from the old workers when the new ones are ready, or give the new ones up."""
        found = self._next
        if found is None:
            return
        if found.due:
            self._drop_next()
            self._keep_old("a worker with the new settings has ended")
        elif found.is_ready:
            was_answering = any(one.is_answering for one in self._crew.workers.values())
            if was_answering and not all(one.is_answering for one in found.workers.values()):
                self._drop_next()
                self._keep_old("with the new settings no certificate could be decided on")
                return
            old, self._crew, self._next = self._crew, found, None
            self._lead_envoy()
            for one in old.workers.values():
                self._end(one)
            self._prepare(found.settings)
            LOG.warning("the new settings are in use")
            notify(self._environ, "READY=1")
        elif time.monotonic() > self._next_deadline:
            self._drop_next()
            self._keep_old("the workers with the new settings do not start")

    def _keep_old(self, why: str) -> None:
        LOG.error("the old settings stay in use: %s", why)
        notify(self._environ, "READY=1")

    def _drop_next(self) -> None:
        found, self._next = self._next, None
        for one in () if found is None else found.workers.values():
            self._end(one)

    # ---- processes -----------------------------------------------------------

    def _fill(self, crew: _Crew) -> None:
        for number in range(1, crew.settings.workers + 1):
            self._start(crew, number)

    def _start(self, crew: _Crew, number: int) -> None:
        try:
            pid, reader = self._fork(crew, number)
        except OSError as error:  # no memory, or no more processes or descriptors
            LOG.error("worker %d cannot be started: %s", number, error)
            crew.num_short += 1
            crew.due[number] = time.monotonic() + max(1.0, pause_after(crew.num_short))
            return
        self._selector.register(reader, selectors.EVENT_READ)
        crew.workers[number] = _Worker(number, pid, reader, time.monotonic())

    def _fork(self, crew: _Crew, number: int) -> tuple[int, int]:
        """
        Start a worker's process; return its number and the descriptor of what it reports.

        Raises:
            OSError: there is no place for it.
        """
        reader, writer = os.pipe()
        post = worker.Post(
            number,
            crew.settings,
            self._listener,
            self._images,
            writer,
            self._lifeline,
            crew.ocsp_keys,
            may_wait=crew is self._crew,
            demands_set=crew is self._crew
            and not (self._is_announced or crew.settings.wait_for_set),
        )
        # A signal that comes before the worker has its own handlers would be lost in those of
        # the supervisor, and a worker that is to end would go on for ever. So it waits.
        old_mask = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        try:
            pid = os.fork()
            if pid == 0:
                self._become_worker(post, reader, old_mask)
        except OSError:
            os.close(reader)
            raise
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, old_mask)
            os.close(writer)
        return pid, reader

    def _become_worker(self, post: worker.Post, reader: int, mask: Iterable[int]) -> None:
        """Never returns: what is below on the stack is the supervisor's."""
        status = 1
        try:
            signal.set_wakeup_fd(-1)
            for number in _SIGNALS:
                signal.signal(number, signal.SIG_DFL)
            signal.signal(signal.SIGHUP, signal.SIG_IGN)
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            os.close(self._held)
            os.close(reader)
            self._prepare(post.settings)
            worker.run(post)
            status = 0
        except BaseException as error:  # noqa: BLE001 - nothing may unwind into the supervisor
            LOG.error("worker %d: %s: %s", post.number, type(error).__name__, error)
        finally:
            with contextlib.suppress(Exception):
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(status)

    def _end(self, one: _Worker) -> None:
        one.ends_by = time.monotonic() + self._crew.settings.stop_time.total_seconds()
        self._ending[one.pid] = one
        with contextlib.suppress(ProcessLookupError):
            os.kill(one.pid, signal.SIGTERM)

    def _forget(self, one: _Worker) -> None:
        with contextlib.suppress(KeyError, ValueError):
            self._selector.unregister(one.report)
        os.close(one.report)
        place = self._crew.settings.envoy_grpc
        if place is not None and place.path:
            # It removes its socket itself, if it ends by itself.
            sockets.own_path(place, one.pid).unlink(missing_ok=True)

    def _end_all(self, seconds: float) -> None:
        """Let the workers finish what is under way, and end those that do not in time."""
        notify(self._environ, "STOPPING=1")
        self._drop_next()
        deadline = time.monotonic() + seconds
        # What has connected is served, and nothing else comes.
        self._listener.withdraw()
        while self._listener.has_waiting() and self._crew.workers and time.monotonic() < deadline:
            self._reap()
            time.sleep(0.001)
        for one in self._crew.workers.values():
            self._end(one)
        self._crew.workers.clear()
        while self._ending:
            self._reap()
            self._kill_overdue()
            time.sleep(0.01)

    def _kill_overdue(self) -> None:
        """Kill workers that were to end and have not."""
        now = time.monotonic()
        for one in self._ending.values():
            if one.ends_by <= now:
                LOG.error("worker %d does not end: it is killed", one.number)
                one.ends_by = math.inf
                with contextlib.suppress(ProcessLookupError):
                    os.kill(one.pid, signal.SIGKILL)


def pause_after(num_short: int) -> float:
    """Return how long to wait, in seconds, after so many workers in a row that ended at once."""
    if num_short <= 1:
        return 0.0
    # Where workers end for hours, the power is larger than any float.
    return min(0.1 * float(2 ** min(num_short, 10)), _LONGEST_PAUSE)


def _ended(pid: int) -> int | None:
    """Return the exit status of a child, negative for a signal; None while it runs."""
    found, status = os.waitpid(pid, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if found else None


@contextlib.contextmanager
def _signals(taken: set[int]) -> Iterator[socket.socket]:
    """
    Yield a socket that can be read after a signal, whose number is put into *taken*.

    The bytes in the socket do not tell the number: it is full after some hundred signals, and
    the next one, which asks to stop, would be lost.
    """

    def take(number: int, _frame: object) -> None:
        taken.add(number)

    reader, writer = socket.socketpair()
    with reader, writer:
        reader.setblocking(False)
        writer.setblocking(False)
        old = {number: signal.signal(number, take) for number in _SIGNALS}
        old_wakeup = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
        try:
            yield reader
        finally:
            signal.set_wakeup_fd(old_wakeup)
            for number, handler in old.items():
                signal.signal(number, handler)


def _require_trusted(listener: sockets.Listener, settings: ServeSettings) -> None:
    """Refuse settings by which nobody who can connect is a proxy: everything would be denied."""
    is_trusted = UNIX_SOCKET in settings.trusted
    if listener.is_unix and not is_trusted:
        raise SettingsError(
            f"CRLCHECK_PROXIES is {','.join(settings.trusted)!r} and the service listens on a Unix "
            "socket: expected unix among them"
        )
    if not listener.is_unix and settings.trusted == (UNIX_SOCKET,):
        raise SettingsError(
            "CRLCHECK_PROXIES is 'unix' and the service listens on a port: expected the addresses "
            "of the proxies"
        )


def _require_same_place(old: ServeSettings, new: ServeSettings) -> None:
    for name in ("bind", "envoy_grpc", "socket_group", "image_directory"):
        if getattr(old, name) != getattr(new, name):
            raise SettingsError(
                f"CRLCHECK_{name.upper()} has changed, which needs a new start of the service"
            )


@contextlib.contextmanager
def image_directory(settings: ServeSettings, environ: Mapping[str, str]) -> Iterator[Path]:
    """Yield a directory of mode 0700 for the images, which is removed afterwards."""
    parent = Path(
        settings.image_directory or environ.get("CACHE_DIRECTORY") or tempfile.gettempdir()
    )
    _remove_left_over(parent)
    made = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))
    # As long as it is locked, it is in use. The workers have the descriptor too.
    descriptor = os.open(made, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)
        os.close(descriptor)


def _remove_left_over(parent: Path) -> None:
    """Remove the directories of services that were killed."""
    for found in parent.glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):
            descriptor = os.open(found, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                # Made a moment ago it may not be locked yet.
                age = time.time() - os.fstat(descriptor).st_ctime
                if os.fstat(descriptor).st_uid == os.geteuid() and age > _LONG_LIFE:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    shutil.rmtree(found, ignore_errors=True)
            finally:
                os.close(descriptor)


def notify(environ: Mapping[str, str], state: str) -> None:
    """Tell the service manager the state (``sd_notify``), if there is one that listens."""
    path = environ.get("NOTIFY_SOCKET", "")
    if not path.startswith(("/", "@")):
        return
    address = f"\0{path[1:]}" if path.startswith("@") else path
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told:
        told.connect(address)
        told.send(state.encode())
