"""Check the client's certificate of each HTTP request and WebSocket of an ASGI application."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any, TypeAlias

from crlcheck.access import (
    DECISION,
    FORBIDDEN,
    FORBIDDEN_HEADERS,
    UNCHECKED,
    Access,
    Decision,
    UnclearRequestError,
    VerifiedBy,
    WithoutCertificate,
)
from crlcheck.checker.checker import RevocationChecker
from crlcheck.encoding.header_forms import HeaderForm

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
Application: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

STATE = "crlcheck.tls"
"""The member of ``scope["state"]`` where ``crlcheck.asgi.uvicorn`` has the TLS extension."""

_HEADERS = [(name.lower().encode(), value.encode()) for name, value in FORBIDDEN_HEADERS]
_POLICY_VIOLATION = 1008  # RFC 6455 7.4.1


class RevocationMiddleware:
    """
    An ASGI application that passes on to *app* what comes with a certificate that is not
    revoked.

    Any other HTTP request is answered 403. Any other WebSocket is closed before it is
    accepted, which the client sees as 403 too. A WebSocket that is open stays open: end it
    after a while where a later revocation has to count. ``lifespan``, the server's own start
    and end, passes. The application finds a ``Decision`` in ``scope["crlcheck.decision"]``.
    The reason for a denial is logged, by the logger ``crlcheck.access``.

    The certificate must have been verified (chain, dates, possession of the key) by whoever
    ended TLS, and *verified_by* says who that was. It has no default.

    Args:
        app: the application.
        checker: the checker, of whatever settings. With *background_refresh* no request
            waits for the store; without it, checks that ask the store wait in threads, and
            other requests go on.
        verified_by: ``"server"``: the certificate is read from the TLS extension of ASGI.
            ``"proxy"``: it is read from *header*.
        header: the header that the proxy sets, and takes out of what clients send.
        form: the form in which the proxy writes the certificate, such as ``"nginx"``: see
            ``HeaderForm``.
        proxies: the addresses or networks from which the proxies connect, or ``"unix"`` for
            a Unix socket. The header counts in their requests only.
        without_certificate: ``"deny"`` by default; ``"pass"`` lets a request without a
            certificate through, which the application can see in the decision.
        unchecked_paths: whole paths, as the application sees them, that pass unchecked.
        observe: let everything pass, and only log what would be denied.

    Raises:
        ValueError: a setting is missing, or is none of those.
        TypeError: *proxies* or *unchecked_paths* is one str.
    """

    def __init__(
        self,
        app: Application,
        checker: RevocationChecker,
        *,
        verified_by: VerifiedBy | str,
        header: str | None = None,
        form: HeaderForm | str | None = None,
        proxies: Iterable[str] = (),
        without_certificate: WithoutCertificate | str = WithoutCertificate.DENY,
        unchecked_paths: Iterable[str] = (),
        observe: bool = False,
    ) -> None:
        self._app = app
        self._access = Access(
            checker,
            verified_by=verified_by,
            header=header,
            form=form,
            proxies=proxies,
            without_certificate=without_certificate,
            unchecked_paths=unchecked_paths,
            observe=observe,
        )
        self._header = self._access.header.encode()

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
        if self._access.passes(decision, scope.get("method", "WebSocket"), scope["path"]):
            # A copy, because what is in front of this need not see the decision.
            await self._app({**scope, DECISION: decision}, receive, send)
        elif kind == "http":
            await _answer(send, "http.response")
        else:
            await _refuse_websocket(scope, receive, send)

    async def _decide(self, scope: Scope) -> Decision:
        if self._access.is_unchecked(_route(scope)):
            return UNCHECKED
        if self._access.verified_by is VerifiedBy.SERVER:
            return await self._access.adecide(lambda: _from_tls(scope))
        return await self._access.adecide(lambda: self._from_header(scope))

    def _from_header(self, scope: Scope) -> bytes | None:
        client = scope.get("client")
        self._access.demand_proxy(client[0] if client else None)
        found = [
            (name.lower(), value)
            for name, value in scope["headers"]
            if name.lower().replace(b"_", b"-") == self._header
        ]
        if len(found) > 1 or any(name != self._header for name, _ in found):
            raise UnclearRequestError(
                "unclear_header",
                f"{self._access.header} came {len(found)} times, or with underscores: let the "
                "proxy take it out of what clients send",
            )
        return self._access.from_header(found[0][1], is_joined=False) if found else None


def _from_tls(scope: Scope) -> bytes | None:
    """Return the client's certificate by the TLS extension of ASGI; None where there is none."""
    # The members are optional, and None in some servers; the chain is any iterable.
    tls = (scope.get("extensions") or {}).get("tls")
    if tls is None:
        tls = (scope.get("state") or {}).get(STATE) or {}
    error = tls.get("client_cert_error")
    if error is not None:
        raise UnclearRequestError("unverified", f"the server could not verify it: {error!r:.200}")
    for pem in tls.get("client_cert_chain") or ():
        return bytes(pem.encode("ascii"))
    return None


def _route(scope: Scope) -> str:
    """Return the path as the application sees it: without the prefix where it is mounted."""
    path: str = scope["path"]
    root: str = scope.get("root_path") or ""
    rest = path.removeprefix(root)
    return rest if root and path.startswith(root) and rest[:1] in ("", "/") else path


async def _answer(send: Send, kind: str) -> None:
    await send({"type": f"{kind}.start", "status": 403, "headers": list(_HEADERS)})
    await send({"type": f"{kind}.body", "body": FORBIDDEN})


async def _refuse_websocket(scope: Scope, receive: Receive, send: Send) -> None:
    message = await receive()  # websocket.connect, to which this is the answer
    if message["type"] != "websocket.connect":
        return  # the client has gone
    if "websocket.http.response" in (scope.get("extensions") or {}):
        await _answer(send, "websocket.http.response")
    else:
        await send({"type": "websocket.close", "code": _POLICY_VIOLATION, "reason": ""})
