"""Read a request of ASGI and write its answer, for what answers requests here."""

from __future__ import annotations

import functools
import json
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from crlcheck.access import prefers_json

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]

TEXT = "text/plain; charset=utf-8"
JSON = "application/json"


class TooLargeError(Exception):
    """The body of a request is larger than it may be."""


class Request:
    """One request: what ASGI's *scope* tells, and the body, which is read when it is wanted."""

    __slots__ = ("_receive", "scope")

    def __init__(self, scope: Scope, receive: Receive) -> None:
        self.scope = scope
        self._receive = receive

    @property
    def method(self) -> str:
        """The method, such as ``GET``."""
        method: str = self.scope["method"]
        return method

    @property
    def path(self) -> str:
        """The path, decoded."""
        path: str = self.scope["path"]
        return path

    @property
    def query(self) -> bytes:
        """What stands behind the question mark, as it came."""
        query: bytes = self.scope.get("query_string", b"")
        return query

    @property
    def peer(self) -> str:
        """The address of whoever connected, empty for a Unix socket."""
        client = self.scope.get("client")
        return client[0] if client else ""

    def values(self, name: bytes) -> list[tuple[bytes, bytes]]:
        """
        Return the headers of a name, in lower case, as they came.

        A spelling with underscores counts as the name too: programs confuse the two, so
        whoever reads one header must see the other.
        """
        return [
            (key, value)
            for key, value in self.scope["headers"]
            if key == name or key.replace(b"_", b"-") == name
        ]

    @property
    def prefers_json(self) -> bool:
        """Whether the client prefers JSON to plain text, by Accept."""
        accept = [value for key, value in self.scope["headers"] if key == b"accept"]
        return prefers_json(accept, otherwise=False)

    async def body(self, limit: int) -> bytes:
        """
        Return the body.

        Raises:
            TooLargeError: it has more than *limit* bytes. The rest is not read.
            ConnectionError: the client has gone.
        """
        parts: list[bytes] = []
        size = 0
        while True:
            message = await self._receive()
            if message["type"] != "http.request":
                raise ConnectionError("the client has gone")
            part = message.get("body", b"")
            size += len(part)
            if size > limit:
                raise TooLargeError(f"the body has more than {limit} bytes")
            parts.append(part)
            if not message.get("more_body", False):
                return b"".join(parts)


@dataclass(frozen=True, slots=True)
class Response:
    """An answer. ``headers`` are names and values, beside the length of ``body``."""

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""

    async def send(self, send: Send, *, is_head: bool = False) -> None:
        """Write it; without the body where HEAD asked."""
        headers = _encoded(self.headers)
        if self.status != 204:
            headers = [*headers, (b"content-length", str(len(self.body)).encode())]
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if is_head else self.body})


# The same clients come again, and are told the same.
@functools.lru_cache(1024)
def _encoded(headers: tuple[tuple[str, str], ...]) -> list[tuple[bytes, bytes]]:
    return [(name.lower().encode(), value.encode("latin-1")) for name, value in headers]


_NOT_STORED = ("Cache-Control", "no-store")


def text(status: int, said: str, headers: Iterable[tuple[str, str]] = ()) -> Response:
    """Return an answer in plain text, which nobody keeps."""
    told = (("Content-Type", TEXT), _NOT_STORED, *headers)
    return Response(status, told, f"{said}\n".encode())


def json_document(
    status: int, members: Mapping[str, object], headers: Iterable[tuple[str, str]] = ()
) -> Response:
    """Return an answer in JSON, which nobody keeps."""
    told = (("Content-Type", JSON), _NOT_STORED, *headers)
    return Response(status, told, json.dumps(members).encode() + b"\n")


def empty(status: int, headers: Iterable[tuple[str, str]] = ()) -> Response:
    """Return an answer without a body, which nobody keeps."""
    return Response(status, (_NOT_STORED, *headers))
