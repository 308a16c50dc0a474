"""
An ASGI application that serves clients whose certificate is not revoked, and tells its health.

``RevocationMiddleware`` wraps any application. The certificate comes from the
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
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import uvicorn

import crlcheck
from crlcheck.asgi import RevocationMiddleware
from crlcheck.asgi.uvicorn import TlsProtocol

Application = Callable[[Any, Any, Any], Awaitable[None]]

_PROBE_SECONDS = 2.0


def check_revocation(
    application: Application, checker: crlcheck.RevocationChecker, **settings: Any
) -> Application:
    """
    Let clients that are not revoked reach *application*, and anybody ``/healthz``.

    *settings* are those of ``RevocationMiddleware``. Without any, the server verified the
    certificates. A client that is denied gets JSON, as all clients of this API do.
    """
    settings = settings or {"verified_by": "server"}
    guarded = RevocationMiddleware(application, checker, prefer_json=True, **settings)
    return tell_health(guarded, checker)


def tell_health(application: Application, checker: crlcheck.RevocationChecker) -> Application:
    """
    Answer ``/healthz`` with the checker's status, to anybody, and pass on all else.

    200 while certificates can be cleared, also by a set that is a little older because the
    store is down, and 503 where every client is turned away.
    """

    async def with_health(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http" and scope["path"] == "/healthz":
            status = await _health(checker)
            await _answer(send, 200 if status.answering else 503, status.as_dict())
        else:
            await application(scope, receive, send)

    return with_health


async def _health(checker: crlcheck.RevocationChecker) -> crlcheck.CheckerStatus:
    if not checker.status().answering:
        # A service that is ill gets no requests that would ask the store: the probe
        # does, and answers in time also where the store does not.
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.to_thread(checker.preload), _PROBE_SECONDS)
    return checker.status()


async def _answer(send: Any, status: int, content: Any) -> None:
    headers = [(b"content-type", b"application/json"), (b"cache-control", b"no-store")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": json.dumps(content).encode()})


async def hello(scope: Any, receive: Any, send: Any) -> None:
    """Greet anybody, over HTTP and WebSocket: the application that is protected."""
    if scope["type"] == "http":
        await _answer(send, 200, {"hello": "world"})
    elif scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.send", "text": json.dumps({"hello": "world"})})
        await send({"type": "websocket.close"})


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
    settings: dict[str, Any] = {}
    if options.proxy_header is not None:
        settings = {
            "verified_by": "proxy",
            "header": options.proxy_header,
            "form": "nginx",
            "proxies": ("127.0.0.1",),
        }
    application = check_revocation(hello, checker, **settings)
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
