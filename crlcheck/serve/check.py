"""
Answer ``/check``: may the client pass whose certificate the proxy hands on?

The answer is 204 if it may and 403 if not, never anything else that this module writes: a
proxy that compares the status with 204, and one that takes any 2xx, decide alike.
"""

from __future__ import annotations

import dataclasses

from crlcheck.access import Decision
from crlcheck.serve.http import Request, Response, empty, json_document, text
from crlcheck.serve.service import Service
from crlcheck.types import CheckResult

DECISION = "Crlcheck-Decision"
VERDICT = "Crlcheck-Verdict"
CAUSE = "Crlcheck-Cause"
SERIAL_NUMBER = "Crlcheck-Serial-Number"
CRL_NUMBER = "Crlcheck-CRL-Number"
HEADERS = (DECISION, VERDICT, CAUSE, SERIAL_NUMBER, CRL_NUMBER)

TOO_LATE = Decision(False, "too_late", "the check took longer than a request may")


class Check:
    """Decides on requests by their certificate, and tells the proxy."""

    def __init__(self, service: Service) -> None:
        self._access = service.access
        self._seconds = service.settings.request_time.total_seconds()

    async def answer(self, request: Request) -> Response:
        """Answer 204 if the client may pass, else 403."""
        return self.told(request, await self.decide(request))

    async def decide(self, request: Request) -> Decision:
        """Return the decision on the certificate in the header of the proxy."""
        return await self._access.adecide(lambda: self._certificate(request))

    def too_late(self, request: Request) -> Response:
        """Answer a request whose check takes too long."""
        return self.told(request, dataclasses.replace(TOO_LATE, seconds=self._seconds))

    def _certificate(self, request: Request) -> bytes | None:
        self._access.demand_proxy(request.peer)
        return self._access.from_headers(request.scope["headers"])

    def told(self, request: Request, decision: Decision) -> Response:
        """Log a decision on a request, and return the answer."""
        passes = self._access.passes(decision, request.method, request.path)
        return response_of(decision, passes=passes, as_json=not passes and request.prefers_json)


def response_of(decision: Decision, *, passes: bool, as_json: bool) -> Response:
    """Return the answer to a proxy."""
    headers = headers_of(decision, passes=passes)
    if passes:
        return empty(204, headers)
    if as_json:
        return json_document(403, members_of(decision, passes=passes), headers)
    return text(403, "Forbidden", headers)


def headers_of(decision: Decision, *, passes: bool) -> list[tuple[str, str]]:
    """Return the headers that tell of a decision."""
    found = [(DECISION, _word(decision, passes=passes)), (CAUSE, decision.cause)]
    result = decision.result
    if result is not None:
        found.append((VERDICT, result.status.value))
        if result.serial_number is not None:
            found.append((SERIAL_NUMBER, f"{result.serial_number:x}"))
        if result.crl_number is not None:
            found.append((CRL_NUMBER, str(result.crl_number)))
    return found


def members_of(decision: Decision, *, passes: bool) -> dict[str, object]:
    """Return what tells of a decision as members for JSON."""
    return {
        "decision": _word(decision, passes=passes),
        "cause": decision.cause,
        **_members_of_result(decision.result),
    }


def _members_of_result(result: CheckResult | None) -> dict[str, object]:
    if result is None:
        return {"verdict": None, "serial_number": None, "crl_number": None}
    serial, number = result.serial_number, result.crl_number
    return {
        "verdict": result.status.value,
        "serial_number": None if serial is None else f"{serial:x}",
        # As text: a CRL number may exceed what JSON readers keep exactly as a number.
        "crl_number": None if number is None else str(number),
    }


def _word(decision: Decision, *, passes: bool) -> str:
    if decision.allowed:
        return "allow"
    return "observe" if passes else "deny"
