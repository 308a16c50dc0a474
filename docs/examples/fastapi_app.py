"""
A FastAPI application behind nginx, which ends TLS and hands the certificate on in a header.

    CRLCHECK_STORE=published uvicorn fastapi_app:app --port 8000 --no-proxy-headers
"""

from __future__ import annotations

import os
from datetime import timedelta

from fastapi import FastAPI, Request, WebSocket

import crlcheck
from crlcheck.asgi import RevocationMiddleware

checker = crlcheck.RevocationChecker(
    os.environ["CRLCHECK_STORE"],
    refresh_after=timedelta(seconds=1),
    background_refresh=True,
    max_catalog_age=timedelta(hours=12),
)
checker.preload()  # so that the first request finds the set read

app = FastAPI()
app.add_middleware(
    RevocationMiddleware,
    checker=checker,
    verified_by="proxy",
    header="X-Client-Certificate",
    form="nginx",
    proxies=("127.0.0.1",),
    unchecked_paths=("/healthz",),
)


@app.get("/healthz")
def health() -> dict[str, bool]:
    """Tell whether any certificate could be decided now."""
    return {"answering": checker.status().answering}


@app.get("/hello")
def hello(request: Request) -> dict[str, str]:
    """Greet a client that is not revoked."""
    return {"verdict": request.scope["crlcheck.decision"].cause}


@app.websocket("/hello")
async def hello_again(websocket: WebSocket) -> None:
    """Greet it over a WebSocket."""
    await websocket.accept()
    await websocket.send_json({"verdict": websocket.scope["crlcheck.decision"].cause})
    await websocket.close()
