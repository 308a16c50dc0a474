"""An ASGI application behind a proxy: it tells which headers came, and echoes a WebSocket."""

from __future__ import annotations

import json
from typing import Any


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Answer with the headers of the request, or send back each text of a WebSocket."""
    if scope["type"] == "http":
        while (await receive()).get("more_body", False):
            pass
        headers = [[name.decode(), value.decode("latin-1")] for name, value in scope["headers"]]
        body = json.dumps(headers).encode()
        kept = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 200, "headers": kept})
        await send({"type": "http.response.body", "body": body})
    elif scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        while (message := await receive())["type"] == "websocket.receive":
            await send({"type": "websocket.send", "text": message["text"]})
