"""
A Starlette application under uvicorn, which ends TLS and verifies the client certificates.

    CRLCHECK_STORE=published uvicorn starlette_app:app --port 8443 \
        --http crlcheck.asgi.uvicorn:TlsProtocol --ssl-certfile server.pem \
        --ssl-keyfile server.key --ssl-ca-certs clients.pem --ssl-cert-reqs 2
"""

from __future__ import annotations

import os
from datetime import timedelta

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

import crlcheck
from crlcheck.asgi import RevocationMiddleware

checker = crlcheck.RevocationChecker(
    os.environ["CRLCHECK_STORE"],
    refresh_after=timedelta(seconds=1),
    background_refresh=True,
    max_catalog_age=timedelta(hours=12),
)
checker.preload()  # so that the first request finds the set read


async def hello(request: Request) -> JSONResponse:
    """Greet a client that is not revoked."""
    return JSONResponse({"verdict": request.scope["crlcheck.decision"].cause})


async def hello_again(websocket: WebSocket) -> None:
    """Greet it over a WebSocket."""
    await websocket.accept()
    await websocket.send_json({"verdict": websocket.scope["crlcheck.decision"].cause})
    await websocket.close()


app = Starlette(
    routes=[Route("/hello", hello), WebSocketRoute("/hello", hello_again)],
    middleware=[Middleware(RevocationMiddleware, checker, verified_by="server")],
)
