"""
Lead each request to what answers it, by its path.

A new endpoint is a module that makes a handler, and a line in ``routes``.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Generator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from crlcheck.serve import check, envoy, probes
from crlcheck.serve.http import Receive, Request, Response, Scope, Send, TooLargeError, text
from crlcheck.serve.metrics import Metrics
from crlcheck.serve.report import Reports
from crlcheck.serve.service import Service
from crlcheck.serve.status_page import StatusPage

LOG = logging.getLogger("crlcheck.serve")

Handler: TypeAlias = Callable[[Request], Coroutine[Any, Any, Response]]


@dataclass(frozen=True, slots=True)
class Route:
    """
    What answers a path.

    With ``below``, paths that begin with it and a slash too. ``methods`` are those that it
    knows, None for any. ``too_late`` is the answer where ``handler`` takes longer than a
    request may.
    """

    path: str
    handler: Handler
    below: bool = False
    methods: tuple[str, ...] | None = ("GET", "HEAD")
    too_late: Callable[[Request], Response] | None = None


def routes(service: Service) -> Sequence[Route]:
    """Return all that the service answers."""
    checks = check.Check(service)
    for_envoy = envoy.Envoy(checks)
    found = [
        *_ocsp_routes(service),
        Route("/check", checks.answer, methods=None, too_late=checks.too_late),
        Route(envoy.PATH, for_envoy.answer, below=True, methods=None, too_late=for_envoy.too_late),
        Route("/livez", probes.livez),
        Route("/readyz", probes.Readiness(service).answer),
    ]
    if service.recorder is not None:
        told = (service.recorder.counts, Reports.of(service))
        found.append(Route("/metrics", Metrics(*told).answer))
        found.append(Route("/status", StatusPage(*told).answer))
    return found


def _ocsp_routes(service: Service) -> Sequence[Route]:
    if service.ocsp is None:
        return ()
    # Only here: it needs cryptography, which a checker does without.
    from crlcheck.serve import ocsp

    recorder = service.recorder
    noted = () if recorder is None else (recorder.counts.note_ocsp,)
    served = ocsp.Ocsp(service.ocsp, *noted)
    methods = ("GET", "HEAD", "POST")
    return (Route(ocsp.PATH, served.answer, True, methods, served.too_late),)


class Application:
    """The ASGI application of one worker."""

    def __init__(self, service: Service, table: Sequence[Route]) -> None:
        self._exact = {route.path: route for route in table}
        self._below = [(f"{route.path}/", route) for route in table if route.below]
        self._seconds = service.settings.request_time.total_seconds()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, as ASGI says."""
        if scope["type"] != "http":
            raise ValueError(f"connections of the kind {scope['type']!r} are not served")
        request = Request(scope, receive)
        response = await self._answer(request)
        await response.send(send, is_head=request.method == "HEAD")

    async def _answer(self, request: Request) -> Response:
        path = request.path
        route = self._exact.get(path)
        if route is None:
            route = next((one for start, one in self._below if path.startswith(start)), None)
        if route is None:
            return text(404, "Not Found")
        if route.methods is not None and request.method not in route.methods:
            return text(405, "Method Not Allowed", (("Allow", ", ".join(route.methods)),))
        try:
            return await self._within(route.handler(request))
        except TimeoutError:
            LOG.warning("%s took longer than %g s", route.path, self._seconds)
            if route.too_late is not None:
                return route.too_late(request)
            return text(503, "Service Unavailable")
        except TooLargeError:
            return text(413, "Content Too Large", (("Connection", "close"),))
        except Exception as error:  # noqa: BLE001 - one request fails, and no other
            # The message may quote a certificate, whose names are personal data.
            LOG.error("%s failed: %s", route.path, type(error).__name__)
            return text(500, "Internal Server Error")

    async def _within(self, answering: Coroutine[Any, Any, Response]) -> Response:
        """
        Return the answer.

        Most are there at once: those need no timer, which takes as long as a check.

        Raises:
            TimeoutError: it takes longer than it may.
        """
        try:
            waits_for = answering.send(None)
        except StopIteration as ended:
            response: Response = ended.value
            return response
        async with asyncio.timeout(self._seconds):
            return await _Begun(answering, waits_for)


class _Begun:
    """A coroutine that has begun, and *waits_for* something."""

    def __init__(self, coroutine: Coroutine[Any, Any, Response], waits_for: object) -> None:
        self._coroutine = coroutine
        self._waits_for = waits_for

    def __await__(self) -> Generator[object, object, Response]:
        waits_for = self._waits_for
        try:
            while True:
                try:
                    sent = yield waits_for
                except BaseException as error:  # noqa: BLE001 - such as that it takes too long
                    waits_for = self._coroutine.throw(error)
                else:
                    waits_for = self._coroutine.send(sent)
        except StopIteration as ended:
            response: Response = ended.value
            return response
