"""Answer ``/livez`` and ``/readyz``, by which others see whether the service works."""

from __future__ import annotations

from crlcheck.serve.http import Request, Response, json_document, text
from crlcheck.serve.latest import Latest
from crlcheck.serve.service import Service

# In seconds. How often it is found out at most, and how long it holds: a store that hangs is
# no outage while the last set is in use, but what was true long ago says nothing.
_SHORTEST = 1.0
_LONGEST = 60.0
# The part of all time that may go into it: a large set of which nothing is current is gone
# through as a whole.
_PART = 0.1
_PATIENCE = 2.0


async def livez(_: Request) -> Response:
    """Answer 200: the worker takes requests."""
    return text(200, "ok")


class Readiness:
    """Answers whether any certificate could be decided now."""

    def __init__(self, service: Service) -> None:
        self._checker = service.checker
        self._is_answering = Latest(
            service.checker.is_answering,
            name="whether the service is ready",
            shortest=_SHORTEST,
            part=_PART,
            patience=min(_PATIENCE, service.settings.request_time.total_seconds() / 2),
        )

    async def answer(self, _: Request) -> Response:
        """Answer 200 where the checker could decide on any certificate, else 503."""
        answering = await self._is_answering.latest()
        if self._is_answering.age > _LONGEST:
            answering = None
        members = {"answering": answering, "generation": self._checker.generation}
        return json_document(200 if answering else 503, members)
