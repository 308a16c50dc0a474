"""Answer ``/livez`` and ``/readyz``, by which others see whether the service works."""

from __future__ import annotations

import asyncio
import time

from crlcheck.serve.http import Request, Response, json_document, text
from crlcheck.serve.service import Service

# In seconds. A large set is gone through for this, so it is not done at each request.
_REMEMBERED = 1.0


async def livez(_: Request) -> Response:
    """Answer 200: the worker takes requests."""
    return text(200, "ok")


class Readiness:
    """Answers whether any certificate could be decided now."""

    def __init__(self, service: Service) -> None:
        self._checker = service.checker
        self._lock = asyncio.Lock()
        self._known: tuple[float, Response] | None = None

    async def answer(self, _: Request) -> Response:
        """Answer 200 where the checker could decide on any certificate, else 503."""
        async with self._lock:
            known = self._known
            if known is None or time.monotonic() - known[0] > _REMEMBERED:
                found = await asyncio.to_thread(self._find)
                known = self._known = (time.monotonic(), found)
        return known[1]

    def _find(self) -> Response:
        status = self._checker.status()
        members = {
            "answering": status.answering,
            "generation": status.generation,
            "problems": [one.kind.value for one in status.problems],
        }
        return json_document(200 if status.answering else 503, members)
