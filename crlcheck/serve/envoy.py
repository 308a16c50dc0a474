"""
Answer Envoy's external authorization over HTTP (``ext_authz`` with an ``http_service``).

Envoy sends the path that the client asked for behind its ``path_prefix``, and takes 200 for a
yes and nothing else: so 204, as ``/check`` has it, would deny everybody.
"""

from __future__ import annotations

import itertools

from crlcheck.serve import check
from crlcheck.serve.http import Request, Response

PATH = "/envoy"
"""The ``path_prefix`` of Envoy's filter."""

# A header by which an answer takes headers out of the request that Envoy passes on.
_REMOVE = "X-Envoy-Auth-Headers-To-Remove"


def _spellings(name: str) -> list[str]:
    """Return a header's name, and what servers may take for it: hyphens as underscores."""
    parts = name.lower().split("-")
    return [
        "".join(itertools.chain(*zip(parts, (*between, ""), strict=True)))
        for between in itertools.product("-_", repeat=len(parts) - 1)
    ]


SPELLINGS = tuple(itertools.chain(*map(_spellings, check.HEADERS)))
"""The headers that tell of a decision, also as a client may spell them instead."""


class Envoy:
    """Decides on requests by their certificate, and tells Envoy over HTTP."""

    def __init__(self, checks: check.Check) -> None:
        self._check = checks

    async def answer(self, request: Request) -> Response:
        """Answer 200 if the client may pass, else 403."""
        return _as_envoy(self._check.told(request, await self._check.decide(request)))

    def too_late(self, request: Request) -> Response:
        """Answer a request whose check takes too long."""
        return _as_envoy(self._check.too_late(request))


def _as_envoy(response: Response) -> Response:
    if response.status != 204:
        return response
    # Envoy hands on what tells of the decision only where it is told to
    # (allowed_upstream_headers). Else what a client sent would be there instead.
    return Response(200, (*response.headers, (_REMOVE, ",".join(SPELLINGS))))
