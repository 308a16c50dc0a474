"""
Answer ``/ocsp``: OCSP over HTTP (RFC 6960 appendix A, RFC 5019).

Whoever can connect may ask: an answer says what the issuer's CRL says to everybody, and which
certificates are denied. What is answered is decided by ``crlcheck.ocsp``; here are HTTP and
its bounds.

Answers are looked up and signed in threads of their own, so many of them wait for one, and
further ones are tryLater. The event loop goes on meanwhile.
"""

from __future__ import annotations

import asyncio
import hashlib
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from email.utils import format_datetime

from crlcheck.ocsp import (
    MALFORMED,
    MAX_REQUEST,
    TOO_BUSY,
    TOO_LATE,
    OcspAnswer,
    OcspRequestError,
    OcspResponder,
    request_in_path,
)
from crlcheck.serve.http import Request, Response, text

PATH = "/ocsp"

_REQUEST_TYPE = b"application/ocsp-request"
_RESPONSE_TYPE = "application/ocsp-response"

_NUM_THREADS = 2
"""One may wait for an image of the store, while the other answers."""

_NUM_WAITING = 256
"""So many requests are under way or wait at once."""


def _utc_now() -> datetime:
    return datetime.now(UTC)


class Ocsp:
    """Answers OCSP requests by GET and POST. *note* is told of each outcome."""

    def __init__(
        self,
        responder: OcspResponder,
        note: Callable[[str], None] = lambda _: None,
        clock: Callable[[], datetime] = _utc_now,
    ) -> None:
        self._responder = responder
        self._note = note
        self._clock = clock
        self._threads = ThreadPoolExecutor(_NUM_THREADS, thread_name_prefix="crlcheck ocsp")
        self._places = threading.BoundedSemaphore(_NUM_WAITING)

    async def answer(self, request: Request) -> Response:
        """
        Answer 200 with a response, which may say that the request is malformed.

        Raises:
            TooLargeError: the body has too many bytes.
            ConnectionError: the client has gone.
        """
        if request.method == "POST":
            if not _has_request_type(request):
                return text(415, "Unsupported Media Type")
            body = await request.body(MAX_REQUEST)
        else:
            try:
                body = request_in_path(request.path.removeprefix(PATH).encode())
            except OcspRequestError:
                return self._told(request, MALFORMED)
        return self._told(request, await self._respond(body))

    def too_late(self, request: Request) -> Response:
        """Answer a request that takes too long."""
        return self._told(request, TOO_LATE)

    async def _respond(self, body: bytes) -> OcspAnswer:
        if not self._places.acquire(blocking=False):
            return TOO_BUSY
        try:
            future = self._threads.submit(self._responder.respond, body)
        except BaseException:
            self._places.release()
            raise
        # Also where nobody waits for it any more.
        future.add_done_callback(lambda _: self._places.release())
        return await asyncio.wrap_future(future)

    def _told(self, request: Request, answer: OcspAnswer) -> Response:
        self._note(answer.outcome)
        headers = (("Content-Type", _RESPONSE_TYPE), *self._caching(answer))
        etags = [value for _, value in headers if value.startswith('"')]
        if etags and request.method != "POST" and _has_etag(request, etags[0]):
            return Response(304, headers)
        return Response(200, headers, answer.body)

    def _caching(self, answer: OcspAnswer) -> tuple[tuple[str, str], ...]:
        """Return the headers that say for how long the answer may be kept (RFC 5019 6.2)."""
        this_update, next_update = answer.this_update, answer.next_update
        if this_update is not None and next_update is not None:
            seconds = int((next_update - self._clock()).total_seconds())
            if seconds > 0:
                return (
                    ("Last-Modified", format_datetime(this_update, usegmt=True)),
                    ("Expires", format_datetime(next_update, usegmt=True)),
                    ("ETag", f'"{hashlib.sha256(answer.body).hexdigest()}"'),
                    (
                        "Cache-Control",
                        f"max-age={seconds}, public, no-transform, must-revalidate",
                    ),
                )
        return (("Cache-Control", "no-store"),)


def _has_request_type(request: Request) -> bool:
    found = request.values(b"content-type")
    if len(found) != 1:
        return False
    kind, _, _ = found[0][1].partition(b";")
    return kind.strip().lower() == _REQUEST_TYPE


def _has_etag(request: Request, etag: str) -> bool:
    """Whether the client has the answer already (RFC 9110 13.1.2)."""
    found = b",".join(value for _, value in request.values(b"if-none-match"))
    known = [one.strip().removeprefix(b"W/") for one in found.split(b",")]
    return etag.encode() in known or known == [b"*"]
