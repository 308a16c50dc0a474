"""Turn a result into a decision, and a decision into the answer. Pure."""

from __future__ import annotations

import json
from datetime import datetime
from typing import NamedTuple

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


_FOR_THE_LOG = frozenset({"allowed", "detail", "seconds_to_next_update"})


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
    ``detail`` is a sentence for the log, which the client never sees.
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
    detail: str | None = None

    @property
    def denies(self) -> bool:
        """Whether the request is denied, or would be."""
        return not self.allowed or self.observed == "deny"

    def scalars(self) -> Scalars:
        """Return all members that are known, as JSON scalars."""
        return {
            name: value for name, value in zip(self._fields, self, strict=True) if value is not None
        }

    def context(self) -> Scalars:
        """Return the scalars that integrations and access logs see as ``$context.authorizer``."""
        return {name: value for name, value in self.scalars().items() if name not in _FOR_THE_LOG}


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
        detail=result.detail,
    )


def deny(cause: str, detail: str | None = None) -> Decision:
    """Deny a request whose certificate could not be checked."""
    verdict = RevocationStatus.UNDETERMINED.value
    return Decision(allowed=False, verdict=verdict, cause=cause, detail=detail)


def deny_by_rule(decision: Decision) -> Decision:
    """Deny a request that the user's own rule denies."""
    detail = f"denied by CRLCHECK_DECIDE although: {decision.detail}"
    return decision._replace(allowed=False, cause=DENIED_BY_RULE, detail=detail)


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
