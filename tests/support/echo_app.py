"""An ASGI application, for a server, whose WebSockets and responses do not end by themselves."""

from __future__ import annotations

import asyncio
import os
from datetime import timedelta
from typing import Any

import crlcheck
from crlcheck.asgi import RevocationMiddleware


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """Send back each text of a WebSocket, or an endless response, until the client is gone."""
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        while True:
            await send({"type": "http.response.body", "body": b"event\n", "more_body": True})
            await asyncio.sleep(0.02)
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": message["text"]})


app = RevocationMiddleware(
    echo,
    crlcheck.RevocationChecker(os.environ["CRLCHECK_STORE"]),
    verified_by="proxy",
    header="X-Client-Certificate",
    form="nginx",
    proxies=("127.0.0.1",),
    recheck_after=timedelta(milliseconds=100),
)
