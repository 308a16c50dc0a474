"""
Let an application of aiohttp serve only clients whose certificate is not revoked.

``setup`` guards a ``web.Application``. It needs aiohttp 3.14 or later, as the extra
``aiohttp`` says. docs/guides/python-servers.md has a recipe.
"""

from __future__ import annotations

import asyncio
import contextlib
from datetime import timedelta
from typing import Unpack

try:
    from aiohttp import WSCloseCode, web
    from aiohttp.typedefs import Handler
    from yarl import URL
except ImportError as error:
    raise ImportError(
        f"crlcheck.aiohttp needs aiohttp ({error}): pip install 'crlcheck[aiohttp]'",
        name=error.name,
    ) from error

from crlcheck.access import (
    RECHECK_AFTER,
    UNCHECKED,
    Access,
    Decision,
    UnclearRequestError,
    VerifiedBy,
    WebSettings,
    WithoutCertificate,
    from_connection,
    read_recheck,
)
from crlcheck.checker.checker import RevocationChecker

__all__ = ["DECISION", "Decision", "VerifiedBy", "WebSettings", "WithoutCertificate", "setup"]

DECISION = web.RequestKey("crlcheck.decision", Decision)
"""The member of a request that has the ``Decision``."""

_WEBSOCKET = web.RequestKey("crlcheck.websocket", web.WebSocketResponse)
# How long a client may take to answer the end of its WebSocket.
_CLOSE_SECONDS = 2.0


def setup(
    app: web.Application,
    checker: RevocationChecker,
    *,
    recheck_after: timedelta | None = RECHECK_AFTER,
    **settings: Unpack[WebSettings],
) -> None:
    """
    Check the client's certificate of each request of *app*, before all that is set up already.

    Any request with another certificate than one that is not revoked is answered 403, a
    WebSocket's too. While its handler runs a request is checked again. When its certificate
    is denied a WebSocket is closed with code 1008, and the connection is ended, as where the
    client has gone. A handler finds a ``Decision`` in ``request[DECISION]``. The reason for a
    denial is logged, by the logger ``crlcheck.access``.

    Args:
        app: the application, before it is started.
        checker: the checker, of whatever settings.
        recheck_after: how long after a check a request is checked again whose handler still
            runs. None for never.
        settings: those of ``WebSettings``. ``verified_by`` has no default: ``"server"`` is
            the connection of aiohttp, whose context must demand certificates.

    Raises:
        ValueError, TypeError: a setting is missing or unclear.
    """
    guard = _Guard(Access(checker, **settings), read_recheck(recheck_after))
    app.middlewares.insert(0, guard.check)
    app.on_response_prepare.append(guard.remember_websocket)


class _Guard:
    """What checks the requests of an application."""

    def __init__(self, access: Access, every: timedelta | None) -> None:
        self._access = access
        self._every = every

    @web.middleware
    async def check(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Answer a request: by *handler* if it passes."""
        decision = await self._decide(request)
        request[DECISION] = decision
        if not self._access.passes(decision, request.method, request.path):
            headers, body = self._access.denial(request.headers.getall("Accept", ()))
            return web.Response(status=403, headers=dict(headers), body=body)
        certificate, every = decision.certificate, self._every
        if certificate is None or every is None:
            return await handler(request)
        is_denied = asyncio.Event()
        watching = asyncio.ensure_future(self._watch(request, certificate, every, is_denied))
        try:
            return await handler(request)
        finally:
            if is_denied.is_set():
                # The client is to read why its WebSocket ends.
                await asyncio.wait([watching])
            else:
                watching.cancel()

    async def remember_websocket(self, request: web.Request, response: web.StreamResponse) -> None:
        """Note the WebSocket that a handler opens."""
        if isinstance(response, web.WebSocketResponse):
            request[_WEBSOCKET] = response

    async def _watch(
        self, request: web.Request, certificate: bytes, every: timedelta, is_denied: asyncio.Event
    ) -> None:
        await self._access.until_denied(certificate, every, request.method, request.path)
        is_denied.set()
        websocket = request.get(_WEBSOCKET)
        if websocket is not None:
            # From its first step on the handler receives no more messages.
            with contextlib.suppress(Exception):
                async with asyncio.timeout(_CLOSE_SECONDS):
                    await websocket.close(code=WSCloseCode.POLICY_VIOLATION)
        if request.transport is not None:
            request.transport.abort()

    async def _decide(self, request: web.Request) -> Decision:
        # The router sees a path before "%2F" in it is decoded.
        is_plain = URL.build(path=request.path).raw_path == request.rel_url.raw_path
        if is_plain and self._access.is_unchecked(request.path):
            return UNCHECKED
        return await self._access.adecide(lambda: self._certificate_of(request))

    def _certificate_of(self, request: web.Request) -> bytes | None:
        transport = request.transport
        if transport is None:
            raise UnclearRequestError("not_told", "the client has gone")
        if self._access.verified_by is VerifiedBy.SERVER:
            return from_connection(transport.get_extra_info("ssl_object"))
        # Not request.remote, which other middleware may take from a header.
        peer = transport.get_extra_info("peername")
        self._access.demand_proxy(peer[0] if peer else None)
        return self._access.from_headers(request.headers.items())
