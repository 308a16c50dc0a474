"""
An ASGI application that serves clients whose certificate is not revoked.

``check_revocation`` wraps any application. The certificate comes from the
connection's TLS, or from the header of a proxy that ended TLS, where the
connection comes from an address that is that proxy's.

Try it with uvicorn, which demands and verifies the client certificates:

    python docs/examples/asgi_app.py STORE --port 8443 --certificate server.pem \
        --key server.key --client-authorities clients.pem
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import ssl
from collections.abc import Awaitable, Callable, Collection
from datetime import timedelta
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

import crlcheck

Scope = dict[str, Any]
Application = Callable[[Scope, Any, Any], Awaitable[None]]

_POLICY_VIOLATION = 1008  # RFC 6455 7.4.1
_PROBE_SECONDS = 2.0


def check_revocation(
    application: Application,
    checker: crlcheck.RevocationChecker,
    *,
    proxy_header: str | None = None,
    proxies: Collection[str] = (),
) -> Application:
    """
    Pass on to *application* what comes with a certificate that is not revoked.

    Every other request is answered 403, and every other WebSocket is closed
    before it is accepted, which the client sees as 403 too. A WebSocket that is
    open stays open: end it after a while where a later revocation has to count.
    ``/healthz`` is answered with the checker's status: 200 while certificates can be
    cleared, also by a set that is a little older because the store is down, and 503
    where every client is turned away. Of connections of any other kind nothing
    passes: only ``lifespan``, the server's own start and end, comes from no client.

    With *proxy_header* the certificate is taken from that header of connections from one
    of *proxies*, as nginx writes ``$ssl_client_escaped_cert``, and from nowhere else.
    """

    async def checked(scope: Scope, receive: Any, send: Any) -> None:
        kind = scope["type"]
        if kind == "lifespan":
            await application(scope, receive, send)
            return
        if kind not in ("http", "websocket"):
            # ASGI's way to refuse what one does not know: a kind that servers add later
            # has clients of its own, and nobody could tell here how to turn them away.
            raise ValueError(f"connections of the kind {kind!r} are not checked")
        if kind == "http" and scope["path"] == "/healthz":
            status = await _health(checker)
            await _answer(send, 200 if status.answering else 503, status.as_dict())
            return
        path = _certificates(scope, proxy_header, proxies)
        # It may load an image: in a thread, so that no other request waits.
        verdict = await asyncio.to_thread(_verdict, checker, path)
        if verdict == crlcheck.RevocationStatus.NOT_REVOKED.value:
            await application(scope, receive, send)
        elif kind == "http":
            await _answer(send, 403, {"verdict": verdict})
        else:
            await receive()  # websocket.connect, to which this is the answer
            await send({"type": "websocket.close", "code": _POLICY_VIOLATION, "reason": verdict})

    return checked


def _certificates(
    scope: Scope, header: str | None, proxies: Collection[str]
) -> tuple[crlcheck.CertificateFacts, ...]:
    try:
        if header is None:
            # The members are optional, and null in some servers; the chain is any iterable.
            holders = ((scope.get(name) or {}).get("tls") or {} for name in ("extensions", "state"))
            chains = (holder.get("client_cert_chain") or () for holder in holders)
            leaf: str | None = next((pem for chain in chains for pem in chain), None)
            return () if leaf is None else (crlcheck.load_certificate(leaf.encode()),)
        values = [value for name, value in scope["headers"] if name == header.lower().encode()]
        client = scope.get("client")
        if client is None or client[0] not in proxies or len(values) != 1:
            return ()
        return crlcheck.certificate_from_header(values[0], form="nginx")
    except crlcheck.CertificateError:
        return ()


async def _health(checker: crlcheck.RevocationChecker) -> crlcheck.CheckerStatus:
    if not checker.status().answering:
        # A service that is ill gets no requests that would ask the store: the probe
        # does, and answers in time also where the store does not.
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.to_thread(checker.preload), _PROBE_SECONDS)
    return checker.status()


def _verdict(
    checker: crlcheck.RevocationChecker, path: tuple[crlcheck.CertificateFacts, ...]
) -> str:
    if not path:
        return "no_certificate"
    result = checker.check(path[0])
    return str((result.cause or result.status).value)


async def _answer(send: Any, status: int, content: Any) -> None:
    headers = [(b"content-type", b"application/json"), (b"cache-control", b"no-store")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": json.dumps(content).encode()})


async def hello(scope: Scope, receive: Any, send: Any) -> None:
    """Greet anybody, over HTTP and WebSocket: the application that is protected."""
    if scope["type"] == "http":
        await _answer(send, 200, {"hello": "world"})
    elif scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.send", "text": json.dumps({"hello": "world"})})
        await send({"type": "websocket.close"})


class TlsProtocol(H11Protocol):
    """uvicorn's HTTP, which says nothing of the TLS extension of ASGI, with the certificate."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Keep the client's certificate in the state of every request."""
        super().connection_made(transport)
        connection = transport.get_extra_info("ssl_object")
        der = None if connection is None else connection.getpeercert(binary_form=True)
        if der is not None:
            chain = [ssl.DER_cert_to_PEM_cert(der)]
            self.app_state = {**self.app_state, "tls": {"client_cert_chain": chain}}


def main() -> None:
    """Serve ``hello`` to clients that are not revoked."""
    parser = argparse.ArgumentParser(description="Serve clients that are not revoked.")
    parser.add_argument("store", help="a directory or s3://bucket/prefix")
    parser.add_argument("--port", type=int, default=8443)
    parser.add_argument("--certificate", help="of the server, as PEM")
    parser.add_argument("--key")
    parser.add_argument("--client-authorities", help="who may sign client certificates")
    parser.add_argument("--proxy-header", help="where a proxy at 127.0.0.1 puts the certificate")
    options = parser.parse_args()
    checker = crlcheck.RevocationChecker(
        options.store,
        refresh_after=timedelta(seconds=1),
        max_catalog_age=timedelta(hours=12),
        background_refresh=True,
    )
    checker.preload()  # so that the first request finds the set read
    application = check_revocation(
        hello, checker, proxy_header=options.proxy_header, proxies=("127.0.0.1",)
    )
    uvicorn.run(
        application,
        port=options.port,
        log_level="warning",
        lifespan="off",
        http=TlsProtocol,
        # uvicorn would take the client's address from a header that anybody can send.
        proxy_headers=False,
        ssl_certfile=options.certificate,
        ssl_keyfile=options.key,
        ssl_ca_certs=options.client_authorities,
        ssl_cert_reqs=ssl.CERT_REQUIRED if options.client_authorities else ssl.CERT_NONE,
    )


if __name__ == "__main__":
    main()
