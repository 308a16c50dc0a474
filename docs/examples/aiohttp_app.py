"""
An application of aiohttp, which ends TLS and verifies the client certificates.

    CRLCHECK_STORE=published python aiohttp_app.py 8443 server.pem server.key clients.pem
"""

from __future__ import annotations

import os
import ssl
import sys
from datetime import timedelta

from aiohttp import web

import crlcheck
import crlcheck.aiohttp
from crlcheck.aiohttp import DECISION


async def hello(request: web.Request) -> web.Response:
    """Greet a client that is not revoked."""
    return web.json_response({"verdict": request[DECISION].cause})


async def hello_again(request: web.Request) -> web.WebSocketResponse:
    """Greet it over a WebSocket."""
    websocket = web.WebSocketResponse()
    await websocket.prepare(request)
    await websocket.send_json({"verdict": request[DECISION].cause})
    await websocket.close()
    return websocket


def main(port: str, certificate: str, key: str, client_authorities: str) -> None:
    """Serve until the process is ended."""
    checker = crlcheck.RevocationChecker(
        os.environ["CRLCHECK_STORE"],
        refresh_after=timedelta(seconds=1),
        background_refresh=True,
        max_catalog_age=timedelta(hours=12),
    )
    checker.preload()  # so that the first request finds the set read
    app = web.Application()
    app.router.add_get("/hello", hello)
    app.router.add_get("/websocket", hello_again)
    crlcheck.aiohttp.setup(app, checker, verified_by="server")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=client_authorities)
    context.load_cert_chain(certificate, key)
    context.verify_mode = ssl.CERT_REQUIRED
    web.run_app(app, port=int(port), ssl_context=context)


if __name__ == "__main__":
    main(*sys.argv[1:])
