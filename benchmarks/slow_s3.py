"""
Stand before an S3 server, and answer GETs as slowly as S3 does over a network.

moto has neither latency nor a limit on the rate, and takes 0.3 seconds for a range of a large
object. So the proxy fetches all objects beforehand, and what it answers takes as long as it
says, whatever is behind it.
"""

from __future__ import annotations

import re
import sys
import threading
import time
from dataclasses import dataclass, field, replace
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import urlsplit

LATENCY = 0.015
"""Seconds from a request to the first byte of its answer, and of opening a connection."""

RATE = 90e6
"""Bytes a second of one connection."""

_CHUNK = 1 << 16
_Answer = tuple[int, dict[str, str], memoryview]


@dataclass
class Traffic:
    """
    What went through since it was last taken.

    ``round_trips`` are those that had to follow one another: a request counts one more than
    the last answer that was complete when it came, and opening a connection is one too.
    ``sent`` are the bytes of answers, without headers.
    """

    connections: int = 0
    requests: int = 0
    round_trips: int = 0
    sent: int = 0


@dataclass
class _Object:
    body: bytes
    headers: dict[str, str]


@dataclass
class _State:
    latency: float
    rate: float
    objects: dict[str, _Object] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)
    traffic: Traffic = field(default_factory=Traffic)


class SlowS3:
    """
    The proxy; a context manager. ``endpoint`` is where it listens.

    It knows the objects that were given to ``keep``, their ranges and conditions on their
    ETags, and no other request than GET.
    """

    def __init__(self, *, latency: float = LATENCY, rate: float = RATE) -> None:
        self._state = state = _State(latency, rate)

        class Handler(_Handler):
            pass

        Handler.state = state
        self._server = _Server(("127.0.0.1", 0), Handler)
        self.endpoint = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def keep(self, client: Any, bucket: str, prefix: str) -> None:
        """Fetch the objects whose keys begin with *prefix*, in place of earlier ones."""
        objects: dict[str, _Object] = {}
        for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
            for each in page.get("Contents", ()):
                found = client.get_object(Bucket=bucket, Key=each["Key"])
                headers = {"ETag": found["ETag"], "Content-Type": "binary/octet-stream"}
                objects[f"/{bucket}/{each['Key']}"] = _Object(found["Body"].read(), headers)
        with self._state.lock:
            self._state.objects = objects

    def take_traffic(self) -> Traffic:
        """
        Return what went through since the last call, and begin anew.

        A connection that was opened before goes on to count there.
        """
        state = self._state
        with state.lock:
            taken, state.traffic = state.traffic, Traffic()
            return replace(taken)


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a process that was ended while it was answered."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    state: _State
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def setup(self) -> None:
        super().setup()
        with self.state.lock:
            self._traffic = self.state.traffic
            self._traffic.connections += 1
            self._opened: int | None = self._traffic.round_trips + 1

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its name there
        """Say nothing."""

    def do_GET(self) -> None:
        """Answer with what is kept."""
        state = self.state
        with state.lock:
            opened, self._opened = self._opened, None
            place = 1 + (self._traffic.round_trips if opened is None else opened)
            self._traffic.requests += 1
        time.sleep(state.latency * (1 if opened is None else 2))
        found = state.objects.get(urlsplit(self.path).path)
        status, headers, body = _MISSING if found is None else _read(found, self.headers)
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if status != 304:
            self.send_header("Content-Length", str(len(body)))
        if not body:
            self._count(0, place)
        begun = time.monotonic()
        self.end_headers()
        for start in range(0, len(body), _CHUNK):
            chunk = body[start : start + _CHUNK]
            time.sleep(max(0.0, begun + (start + len(chunk)) / state.rate - time.monotonic()))
            self._count(len(chunk), place if start + len(chunk) == len(body) else 0)
            self.wfile.write(chunk)

    def _count(self, size: int, place: int) -> None:
        """Count bytes that are about to be sent; *place* is the answer's if these end it."""
        with self.state.lock:
            self._traffic.sent += size
            self._traffic.round_trips = max(self._traffic.round_trips, place)


_MISSING: _Answer = 404, {}, memoryview(b"<Error><Code>NoSuchKey</Code></Error>")
_NOTHING = memoryview(b"")


def _read(found: _Object, asked: Message) -> _Answer:
    """Return status, headers and body of a GET with these headers, as S3 answers it."""
    etag, body, headers = found.headers["ETag"], memoryview(found.body), dict(found.headers)
    if asked.get("If-Match", etag) not in (etag, "*"):
        return 412, {}, memoryview(b"<Error><Code>PreconditionFailed</Code></Error>")
    if asked.get("If-None-Match") in (etag, "*"):
        return 304, headers, _NOTHING
    wanted = re.fullmatch(r"bytes=(\d*)-(\d*)", asked.get("Range", ""))
    if wanted is None or wanted[0] == "bytes=-":
        return 200, headers, body
    size = len(body)
    if wanted[1]:
        first, last = int(wanted[1]), min(int(wanted[2] or size), size - 1)
    else:
        first, last = max(0, size - int(wanted[2])), size - 1
    if first > last:
        return 416, {}, memoryview(b"<Error><Code>InvalidRange</Code></Error>")
    headers["Content-Range"] = f"bytes {first}-{last}/{size}"
    return 206, headers, body[first : last + 1]
