"""Answer ``/livez`` and ``/readyz``, by which others see whether the service works."""

from __future__ import annotations

from crlcheck.serve.http import Request, Response, json_document, text
from crlcheck.serve.latest import Latest
from crlcheck.serve.service import Service

# In seconds. How often it is found out at most, and how long it holds: a store that hangs is
# no outage while the last set is in use, but what was true long ago says nothing.
_SHORTEST = 1.0
_LONGEST = 60.0
# The part of all time that may go into it: a large set is gone through.
_PART = 0.1
_PATIENCE = 2.0


async def livez(_: Request) -> Response:
    """Answer 200: the worker takes requests."""
    return text(200, "ok")


class Readiness:
    """Answers whether any certificate could be decided now."""

    def __init__(self, service: Service) -> None:
        self._status = Latest(
            service.checker.status,
            name="whether the service is ready",
            shortest=_SHORTEST,
            part=_PART,
            patience=min(_PATIENCE, service.settings.request_time.total_seconds() / 2),
        )

    async def answer(self, _: Request) -> Response:
        """Answer 200 where the checker could decide on any certificate, else 503."""
        status = await self._status.latest()
        if status is None or self._status.age > _LONGEST:
            return json_document(503, {"answering": None, "generation": None, "problems": []})
        members = {
            "answering": status.answering,
            "generation": status.generation,
            "problems": [one.kind.value for one in status.problems],
        }
        return json_document(200 if status.answering else 503, members)
