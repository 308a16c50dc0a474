"""Turn a result into a decision, and a decision into the answer. Pure."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from datetime import datetime
from typing import Any, NamedTuple

from crlcheck import CheckResult, RevocationStatus
from lambda_authorizer.events import AuthorizerRequest, EventFormat
from lambda_authorizer.settings import ResponseKind

Scalars = dict[str, str | int]

NO_CERTIFICATE = "no_certificate"
"""The cause of a denial where the request came without a certificate."""

UNTRUSTED_CHAIN = "untrusted_chain"
"""The cause of a denial where a chain leads to no trust anchor."""

DENIED_BY_RULE = "denied_by_rule"
"""The cause of a denial by the user's own rule."""

ERROR = "error"
"""The cause of a denial where something failed unexpectedly."""


_FOR_THE_LOG = frozenset({"allowed", "sentence", "seconds_to_next_update"})


class Decision(NamedTuple):
    """
    Whether a request may pass, and why.

    ``verdict`` is a RevocationStatus's value. ``cause`` is an
    UndeterminedCause's value or one of the causes above. The serial number is in
    hexadecimal, the CRL number in decimal: both exceed what JSON readers keep
    exactly as a number. ``age_seconds`` counts from the CRL's thisUpdate;
    ``seconds_to_next_update`` is negative once that has passed. ``waived`` lists
    the causes that the policy waived. ``observed`` is the decision that
    would have been made, ``"allow"`` or ``"deny"``, in a mode that allows everything.
    ``sentence`` is what the log says, which the client never sees, or the result that says
    it: most decisions are not logged, and then it is never made.
    """

    allowed: bool
    verdict: str
    cause: str | None = None
    serial_number: str | None = None
    crl_number: str | None = None
    age_seconds: int | None = None
    waived: str | None = None
    observed: str | None = None
    seconds_to_next_update: int | None = None
    sentence: str | CheckResult | None = None

    @property
    def denies(self) -> bool:
        """Whether the request is denied, or would be."""
        return not self.allowed or self.observed == "deny"

    @property
    def detail(self) -> str | None:
        """The sentence for the log."""
        return None if self.sentence is None else str(self.sentence)

    def scalars(self) -> Scalars:
        """Return all members that are known, as JSON scalars."""
        detail = self.detail
        return self._but(("sentence",)) | ({} if detail is None else {"detail": detail})

    def context(self) -> Scalars:
        """Return the scalars that integrations and access logs see as ``$context.authorizer``."""
        return self._but(_FOR_THE_LOG)

    def _but(self, without: Collection[str]) -> Scalars:
        members: Iterator[tuple[str, Any]] = zip(self._fields, self, strict=True)
        return {name: value for name, value in members if value is not None and name not in without}


def decide(result: CheckResult, now: datetime) -> Decision:
    """Allow exactly a certificate that is NOT_REVOKED."""
    return Decision(
        allowed=result.status is RevocationStatus.NOT_REVOKED,
        verdict=result.status.value,
        cause=None if result.cause is None else result.cause.value,
        serial_number=None if result.serial_number is None else f"{result.serial_number:x}",
        crl_number=None if result.crl_number is None else str(result.crl_number),
        age_seconds=(
            None if result.this_update is None else int((now - result.this_update).total_seconds())
        ),
        seconds_to_next_update=(
            None if result.next_update is None else int((result.next_update - now).total_seconds())
        ),
        waived=",".join([cause.value for cause in result.waived]) or None,
        sentence=result,
    )


def deny(cause: str, detail: str | None = None) -> Decision:
    """Deny a request whose certificate could not be checked."""
    verdict = RevocationStatus.UNDETERMINED.value
    return Decision(allowed=False, verdict=verdict, cause=cause, sentence=detail)


def deny_by_rule(decision: Decision) -> Decision:
    """Deny a request that the user's own rule denies."""
    detail = f"denied by CRLCHECK_DECIDE although: {decision.detail}"
    return decision._replace(allowed=False, cause=DENIED_BY_RULE, sentence=detail)


def observe(decision: Decision) -> Decision:
    """Allow in any case, and keep the decision as ``observed``."""
    return decision._replace(allowed=True, observed="allow" if decision.allowed else "deny")


def render(
    decision: Decision, request: AuthorizerRequest | None, response: ResponseKind
) -> dict[str, object]:
    """
    Return the answer to *request*, which is None if the event was unreadable.

    A policy covers every method of the API's stage, because the decision depends on
    the certificate alone and API Gateway may reuse it for another method. The
    resource ``*`` is used in a denial only. A load balancer has no authorizers: its
    client gets 403, or 200 if no function is protected.
    """
    if request is None and decision.allowed:
        raise ValueError("a request that could not be read cannot be allowed")
    if request is not None and request.format is EventFormat.ALB:
        return _http_response(decision)
    may_be_simple = request is None or request.format is EventFormat.HTTP_2_0
    if response is ResponseKind.SIMPLE and may_be_simple:
        return {"isAuthorized": decision.allowed, "context": decision.context()}
    statement = {
        "Action": "execute-api:Invoke",
        "Effect": "Allow" if decision.allowed else "Deny",
        "Resource": "*" if request is None else request.resource_arn,
    }
    return {
        "principalId": decision.serial_number or "unidentified",
        "policyDocument": {"Version": "2012-10-17", "Statement": [statement]},
        "context": decision.context(),
    }


def _http_response(decision: Decision) -> dict[str, object]:
    """Return a load balancer's Lambda target response, without the cause."""
    status, words = (200, "OK") if decision.allowed else (403, "Forbidden")
    return {
        "statusCode": status,
        "statusDescription": f"{status} {words}",
        "isBase64Encoded": False,
        "headers": {"content-type": "application/json", "cache-control": "no-store"},
        "body": json.dumps({"message": words}),
    }
