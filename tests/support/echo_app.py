"""An ASGI application, for a server, that echoes what comes over a WebSocket."""

from __future__ import annotations

import os
from datetime import timedelta
from typing import Any

import crlcheck
from crlcheck.asgi import RevocationMiddleware


async def echo(_scope: Any, receive: Any, send: Any) -> None:
    """Send back each text until the client is gone."""
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
