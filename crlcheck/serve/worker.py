"""One worker: a process that answers requests which it accepts from the shared socket."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import logging
import os
import resource
import select
import signal
import socket
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from granian import net
from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.log import LogLevels
from granian.server.embed import Server

from crlcheck.access import Access
from crlcheck.checker.checker import RevocationChecker
from crlcheck.errors import CrlCheckError
from crlcheck.serve.application import Application, routes
from crlcheck.serve.recorder import Recorder
from crlcheck.serve.service import Service
from crlcheck.serve.settings import ServeSettings
from crlcheck.serve.sockets import BACKLOG, Listener
from crlcheck.serve.untaken import Untaken

if TYPE_CHECKING:
    from crlcheck.ocsp import ResponderKey
    from crlcheck.serve.envoy_grpc import EnvoyServer

LOG = logging.getLogger("crlcheck.serve")

# Descriptors that are not connections: the store's, the images', the loop's, the log's.
_OTHER_DESCRIPTORS = 96

# In seconds. How long a request that is on its way has to arrive, when a worker is to stop.
_ARRIVAL = 0.5

# In seconds. How often a worker that cannot decide looks whether it can.
_SET_INTERVAL = 1.0

_KEPT: list[Service] = []

# Granian says once more in its own words what is said here, and warns that its embedded
# server is new.
_LOG_CONFIG: dict[str, Any] = {
    "incremental": True,
    "formatters": {},
    "handlers": {},
    "loggers": {"_granian": {}},
}


@dataclass(frozen=True, slots=True)
class Post:
    """
    What the supervisor gives to a worker.

    ``report`` is where the worker writes a byte when it takes requests: ``ANSWERING``, or
    ``NOT_ANSWERING`` where it would deny every certificate, and ``ANSWERING`` once it would not.
    With ``demands_set`` it writes
    ``NOTHING_PUBLISHED`` instead, and takes none, where the store answers that nothing is
    published there. ``lifeline`` can be read at its
    end only: when the supervisor has ended. ``ocsp_keys`` sign OCSP responses. With ``may_wait``
    the worker may leave requests to others that have a set, while it has none.
    """

    number: int
    settings: ServeSettings
    listener: Listener
    images: Path
    report: int
    lifeline: int
    ocsp_keys: Sequence[ResponderKey] = ()
    may_wait: bool = False
    demands_set: bool = False


ANSWERING = b"+"
NOT_ANSWERING = b"-"
NOTHING_PUBLISHED = b"0"


def load_ocsp_keys(settings: ServeSettings) -> Sequence[ResponderKey]:
    """
    Return the keys that sign OCSP responses, by the settings.

    They are read once for all workers, so that a worker that is replaced does not depend on
    files.

    Raises:
        ResponderKeyError: one cannot sign.
        OSError: a file cannot be read.
    """
    if settings.ocsp_responders is None:
        return ()
    # Only here: it needs cryptography, which a checker does without.
    from crlcheck.ocsp import load_responder_keys

    return load_responder_keys(settings.ocsp_responders, now=datetime.now(UTC))


def make_service(
    settings: ServeSettings,
    number: int = 1,
    images: Path | None = None,
    ocsp_keys: Sequence[ResponderKey] = (),
    recorder: Recorder | None = None,
) -> Service:
    """
    Return what the endpoints need, by the settings.

    Raises:
        ValueError, ImportError, CrlCheckError, OSError: a setting cannot be used.
    """
    if settings.envoy_grpc is not None:
        _require("grpc", "google.protobuf")
    checker = RevocationChecker(
        settings.store,
        policy=settings.policy,
        refresh_after=settings.refresh_after,
        max_catalog_age=settings.max_catalog_age,
        image_memory=settings.image_memory,
        image_directory=images,
        background_refresh=True,
        root_keys=settings.root_keys,
        minimum_generation=settings.minimum_generation,
    )
    access = Access(
        checker,
        verified_by=settings.verified_by,
        header=settings.header,
        form=settings.form,
        proxies=settings.trusted,
        without_certificate=settings.without_certificate,
        unchecked_paths=(),
        observe=settings.observe,
    )
    responder = None
    if ocsp_keys:
        from crlcheck.ocsp import OcspResponder

        responder = OcspResponder(checker, ocsp_keys, nonces_per_second=settings.ocsp_nonces)
    if recorder is not None:
        access.record = recorder.record
    return Service(settings, checker, access, number, responder, recorder)


def _require(*packages: str) -> None:
    for name in packages:
        try:
            found = importlib.util.find_spec(name)
        except ModuleNotFoundError:  # by the package that it is in
            found = None
        if found is None:
            raise ImportError(
                f"CRLCHECK_ENVOY_GRPC needs the package {name}: pip install 'crlcheck[envoy]'",
                name=name,
            )


def run(post: Post) -> None:
    """
    Answer requests until SIGTERM, or until the supervisor has ended.

    Raises: as ``make_service``.
    """
    settings = post.settings
    recorder = Recorder(post.images, settings.access_log, post.number)
    with contextlib.closing(recorder), recorder.messages():
        service = make_service(settings, post.number, post.images, post.ocsp_keys, recorder)
        # Neither closed nor forgotten at the end: that would remove images which others need.
        _KEPT.append(service)
        service.checker.preload()
        if post.demands_set and _finds_nothing(service.checker):
            _report(post, NOTHING_PUBLISHED)
            select.select([post.lifeline], [], [])  # the supervisor ends it
            return
        if post.may_wait:
            _wait_for_set(service.checker, recorder, post.lifeline)
        is_answering = service.checker.is_answering()
        noting = recorder.keep_noting(service.checker)
        asyncio.run(_serve(post, service, noting, is_answering=is_answering))


def _finds_nothing(checker: RevocationChecker) -> bool:
    """
    Whether the store answers that nothing is published. One that does not answer may have a set.
    """
    if checker.generation is not None:
        return False
    try:
        checker.refresh()
    except FileNotFoundError:
        return checker.generation is None
    except (CrlCheckError, OSError):
        return False  # the log has it already
    return False


def _wait_for_set(checker: RevocationChecker, recorder: Recorder, lifeline: int) -> None:
    """
    Wait for a set while the store is down, as long as another worker has one.

    A worker in the place of one that was killed would deny everybody, and take a part of the
    requests from those that can decide.
    """
    is_told = False
    while checker.generation is None:
        recorder.note_set(checker)
        workers = recorder.counts.totals().workers
        if all(one.generation is None for one in workers):
            return
        if not is_told:
            is_told = True
            LOG.warning("a worker that has no set yet leaves requests to the others")
        has_ended, _, _ = select.select([lifeline], [], [], _SET_INTERVAL)
        if has_ended:
            return
        checker.preload()


async def _serve(
    post: Post, service: Service, noting: Coroutine[None, None, None], *, is_answering: bool
) -> None:
    application = Application(service, routes(service))
    server: Any = _Server(application, post)  # parts of Granian have no types
    loop = asyncio.get_running_loop()

    def stop() -> None:
        # Granian ends connections on which no request has come yet. Those that were taken a
        # moment ago have one on its way.
        _take_no_more(post.listener)
        loop.call_later(_ARRIVAL, server.stop)

    def orphaned() -> None:
        loop.remove_reader(post.lifeline)
        LOG.error("the supervisor has ended: this worker ends too")
        stop()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)

    loop.add_reader(post.lifeline, orphaned)
    for_envoy = await _start_for_envoy(post, service)
    # What goes on beside the server ends with the loop.
    untaken = Untaken(post.listener.opened, post.settings.header_time.total_seconds())
    reporting = _keep_reporting(post, service.checker, is_answering=is_answering)
    beside = [loop.create_task(one) for one in (noting, untaken.keep_ending(), reporting)]
    await server.serve()
    for one in beside:
        one.cancel()
    if for_envoy is not None:
        await for_envoy.stop()


async def _start_for_envoy(post: Post, service: Service) -> EnvoyServer | None:
    bind = post.settings.envoy_grpc
    if bind is None:
        return None
    # Only here: gRPC is not needed otherwise, and must not be there when workers are forked.
    from crlcheck.serve.envoy_grpc import EnvoyServer

    server = EnvoyServer(service, bind)
    await server.start()
    return server


def _take_no_more(listener: Listener) -> None:
    """
    Leave further connections to the other workers.

    In this process another socket takes the place of the shared one, on which nobody ever
    connects. Granian can only stop to accept and end connections in one step.
    """
    identity = _identity(listener.opened.fileno())
    # Where this cannot be done, connections that were just taken may be lost.
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as silent:
        silent.setblocking(False)
        silent.bind("")  # the system finds a name that is no file (unix(7), autobind)
        silent.listen(1)
        for name in os.listdir("/dev/fd"):  # noqa: PTH208 - descriptors, not files
            descriptor = int(name)
            with contextlib.suppress(OSError):  # such as the one that reads this directory
                if _identity(descriptor) == identity:
                    os.dup2(silent.fileno(), descriptor)


def _identity(descriptor: int) -> tuple[int, int]:
    status = os.fstat(descriptor)
    return status.st_dev, status.st_ino


def _report(post: Post, said: bytes) -> None:
    with contextlib.suppress(BrokenPipeError):  # the supervisor has ended
        os.write(post.report, said)


async def _keep_reporting(post: Post, checker: RevocationChecker, *, is_answering: bool) -> None:
    """Tell the supervisor that requests are taken, and when one could be allowed."""
    if not is_answering:
        _report(post, NOT_ANSWERING)
    looked_into: int | None = None
    while not is_answering:
        await asyncio.sleep(_SET_INTERVAL)
        generation = checker.generation
        # All of a set that clears nobody is gone through, so once for each generation; and it
        # may be read from the store, which must not hold up any request.
        if generation != looked_into:
            looked_into = generation
            is_answering = await asyncio.to_thread(checker.is_answering)
    _report(post, ANSWERING)


class _Server(Server):
    """Granian in this process's own loop, on a socket that is open already."""

    def __init__(self, application: Application, post: Post) -> None:
        settings = post.settings
        super().__init__(
            application,
            interface=Interfaces.ASGINL,
            http=HTTPModes.http1,
            websockets=False,  # a request to upgrade is a question like any other
            backpressure=_connections(settings),
            http1_settings=HTTP1Settings(
                header_read_timeout=int(settings.header_time.total_seconds() * 1000),
                max_buffer_size=settings.header_size,
            ),
            log_level=LogLevels.error,
            log_dictconfig=_LOG_CONFIG,
        )
        self._listener = post.listener

    def _init_shared_socket(self) -> None:
        opened = self._listener.opened
        opened.setblocking(False)
        # Granian closes what it is given.
        descriptor = os.dup(opened.fileno())
        holder: Any = net.SocketHolder  # type: ignore[attr-defined]
        base: Any = self
        base._shd = holder(descriptor, self._listener.is_unix, BACKLOG)
        base._sfd = descriptor
        base._ssp = None


def _connections(settings: ServeSettings) -> int:
    """Return how many connections a worker takes: no more than it has descriptors for."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        soft = hard
    if soft == resource.RLIM_INFINITY:
        return settings.connections
    return max(1, min(settings.connections, soft - _OTHER_DESCRIPTORS))
