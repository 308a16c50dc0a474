"""Check the client's certificate of each HTTP request and WebSocket of an ASGI application."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, MutableMapping
from datetime import timedelta
from typing import Any, TypeAlias, Unpack

from crlcheck.access import (
    DECISION,
    LOG,
    RECHECK_AFTER,
    UNCHECKED,
    Access,
    Decision,
    UnclearRequestError,
    VerifiedBy,
    WebSettings,
    read_recheck,
)
from crlcheck.checker.checker import RevocationChecker

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
Application: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

STATE = "crlcheck.tls"
"""The member of ``scope["state"]`` where ``crlcheck.asgi.uvicorn`` has the TLS extension."""

# Policy violation (RFC 6455 7.4.1).
_CLOSE: dict[str, Any] = {"type": "websocket.close", "code": 1008, "reason": ""}
_ENDS = ("websocket.close", "websocket.http.response.start")


class RevocationMiddleware:
    """
    An ASGI application that passes on to *app* what comes with a certificate that is not
    revoked.

    Any other HTTP request is answered 403. Any other WebSocket is closed before it is
    accepted, which the client sees as 403 too. An open one is checked again, and closed once
    its certificate is denied; so is a response that takes long. ``lifespan``, the server's
    own start and end, passes. The application finds a ``Decision`` in
    ``scope["crlcheck.decision"]``. The reason for a denial is logged, by the logger
    ``crlcheck.access``.

    Args:
        app: the application.
        checker: the checker, of whatever settings. With *background_refresh* no request
            waits for the store; without it, checks that ask the store wait in threads, and
            other requests go on.
        recheck_after: how long after a check an open WebSocket is checked again, and so on,
            and a response when more of it is sent. None for never: then they go on as long
            as client and application like.
        settings: those of ``WebSettings``. ``verified_by`` has no default: ``"server"`` is
            the TLS extension of ASGI.
    """

    def __init__(
        self,
        app: Application,
        checker: RevocationChecker,
        *,
        recheck_after: timedelta | None = RECHECK_AFTER,
        **settings: Unpack[WebSettings],
    ) -> None:
        self._app = app
        self._recheck_after = read_recheck(recheck_after)
        self._access = Access(checker, **settings)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection, as ASGI says."""
        kind = scope["type"]
        if kind == "lifespan":
            await self._app(scope, receive, send)
            return
        if kind not in ("http", "websocket"):
            # ASGI's way to refuse what one does not know. A kind that servers add later has
            # clients of its own, and nobody could tell here how to turn them away.
            raise ValueError(f"connections of the kind {kind!r} are not checked")
        decision = await self._decide(scope)
        if self._passes(decision, scope):
            # A copy, because what is in front of this need not see the decision.
            told = {**scope, DECISION: decision}
            every, certificate = self._recheck_after, decision.certificate
            if every is None or certificate is None:
                await self._app(told, receive, send)
            elif kind == "http":
                again = self._checked_send(scope, send, every, certificate)
                await self._app(told, receive, again)
            else:
                await self._serve_websocket(told, receive, send, every, certificate)
        elif kind == "http":
            await self._answer(scope, send, "http.response")
        else:
            await self._refuse_websocket(scope, receive, send)

    def _passes(self, decision: Decision, scope: Scope) -> bool:
        method = "WebSocket" if scope["type"] == "websocket" else scope.get("method", "")
        return self._access.passes(decision, method, scope["path"])

    async def _answer(self, scope: Scope, send: Send, kind: str) -> None:
        headers = scope.get("headers") or ()
        accept = (value for name, value in headers if name.lower() == b"accept")
        told, body = self._access.denial(accept)
        lines = [(name.lower().encode(), value.encode()) for name, value in told]
        await send({"type": f"{kind}.start", "status": 403, "headers": lines})
        await send({"type": f"{kind}.body", "body": body})

    async def _refuse_websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        message = await receive()  # websocket.connect, to which this is the answer
        if message["type"] != "websocket.connect":
            return  # the client has gone
        if "websocket.http.response" in (scope.get("extensions") or {}):
            await self._answer(scope, send, "websocket.http.response")
        else:
            await send(dict(_CLOSE))

    def _checked_send(self, scope: Scope, send: Send, every: timedelta, certificate: bytes) -> Send:
        """Return what sends a response, and ends one that takes long when it is to be denied."""
        seconds = every.total_seconds()
        due = time.monotonic() + seconds
        is_denied = False

        async def checked(message: Message) -> None:
            nonlocal due, is_denied
            if not is_denied and time.monotonic() >= due:
                decision = await self._access.adecide(lambda: certificate)
                is_denied = not self._passes(decision, scope)
                due = time.monotonic() + seconds
            if is_denied:
                # As servers do where the client has gone (ASGI, http.response.body).
                raise OSError("the response was ended: its client's certificate is denied")
            await send(message)

        return checked

    async def _serve_websocket(
        self, scope: Scope, receive: Receive, send: Send, every: timedelta, certificate: bytes
    ) -> None:
        """Let the application serve a WebSocket, until its certificate is to be denied."""
        websocket = _WatchedWebSocket(receive, send)

        async def watch() -> None:
            await self._access.until_denied(certificate, every, "WebSocket", scope["path"])
            await websocket.deny()

        watching = asyncio.ensure_future(watch())
        try:
            await self._app(scope, websocket.receive, websocket.send)
        finally:
            watching.cancel()

    async def _decide(self, scope: Scope) -> Decision:
        if self._access.is_unchecked(_route(scope)):
            return UNCHECKED
        if self._access.verified_by is VerifiedBy.SERVER:
            return await self._access.adecide(lambda: _from_tls(scope))
        return await self._access.adecide(lambda: self._from_header(scope))

    def _from_header(self, scope: Scope) -> bytes | None:
        client = scope.get("client")
        self._access.demand_proxy(client[0] if client else None)
        return self._access.from_headers(scope["headers"])


class _WatchedWebSocket:
    """What an application receives and sends over a WebSocket, which may be closed from here."""

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send
        self._is_denied = False
        self._has_ended = False
        # A message may take a while to be sent, and the close must not come in between.
        self._lock = asyncio.Lock()

    async def receive(self) -> Message:
        """Return what the server has for the application: after a denial only the end."""
        message = await self._receive()
        if self._is_denied:
            return {"type": "websocket.disconnect", "code": _CLOSE["code"], "reason": ""}
        return message

    async def send(self, message: Message) -> None:
        """Send a message of the application."""
        async with self._lock:
            if self._is_denied:
                # As servers do where the client has gone (ASGI, websocket.send).
                raise OSError("the WebSocket was closed: its client's certificate is denied")
            self._has_ended = self._has_ended or message["type"] in _ENDS
            await self._send(message)

    async def deny(self) -> None:
        """Close the WebSocket. From now on the application receives and sends nothing."""
        # At once: a client that reads nothing may hold up a message for ever.
        self._is_denied = not self._has_ended
        async with self._lock:
            if self._has_ended:  # by the message that was under way
                return
            try:
                await self._send(dict(_CLOSE))
            except Exception as error:  # noqa: BLE001 - the client may have gone meanwhile
                LOG.info("a WebSocket could not be closed: %s", type(error).__name__)


def _from_tls(scope: Scope) -> bytes | None:
    """Return the client's certificate by the TLS extension of ASGI; None where there is none."""
    # The members are optional, and None in some servers; the chain is any iterable.
    tls = (scope.get("extensions") or {}).get("tls")
    if tls is None:
        tls = (scope.get("state") or {}).get(STATE)
    if tls is None:
        raise UnclearRequestError(
            "not_told",
            "the connection has no TLS, or the server tells nothing of it: uvicorn needs --http "
            "crlcheck.asgi.uvicorn:TlsProtocol",
        )
    error = tls.get("client_cert_error")
    if error is not None:
        raise UnclearRequestError("unverified", f"the server could not verify it: {error!r:.200}")
    for pem in tls.get("client_cert_chain") or ():
        return bytes(pem.encode("ascii"))
    if tls.get("client_cert_name") is not None:
        raise UnclearRequestError("not_told", "the server tells its name alone")
    return None


def _route(scope: Scope) -> str:
    """Return the path as the application sees it: without the prefix where it is mounted."""
    path: str = scope["path"]
    root: str = scope.get("root_path") or ""
    rest = path.removeprefix(root)
    return rest if root and path.startswith(root) and rest[:1] in ("", "/") else path
