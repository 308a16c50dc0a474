"""Define the kinds of API that have authorizers: their events and answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from cryptography import x509

from crlcheck.demo.events import REST_RESOURCE, http_request, rest_request


@dataclass(frozen=True, slots=True)
class Answer:
    """An authorizer's decision on one client, and the reason."""

    allowed: bool
    verdict: str
    cause: str | None


EXPECTED = {
    "good": Answer(True, "not_revoked", None),
    "revoked": Answer(False, "revoked", None),
    "foreign": Answer(False, "undetermined", "unknown_issuer"),
}
"""What must become of each client."""


@dataclass(frozen=True, slots=True)
class Api:
    """
    A kind of API: the setting it needs, the event it sends for a client's request
    of a path, and how it reads answers.
    """

    name: str
    response: str
    make_event: Callable[[x509.Certificate, str], dict[str, Any]]
    read_answer: Callable[[Any], Answer | None]


def read_policy(response: Any) -> Answer | None:
    """Understand an IAM policy as API Gateway does; None for anything else."""
    try:
        (statement,) = response["policyDocument"]["Statement"]
        context = response["context"]
        fits = (
            response["principalId"]
            and statement["Action"] == "execute-api:Invoke"
            and statement["Resource"] == f"{REST_RESOURCE}/*"
            and statement["Effect"] in ("Allow", "Deny")
            and all(isinstance(value, str | int | float) for value in context.values())
        )
        if fits:
            return Answer(statement["Effect"] == "Allow", context["verdict"], context.get("cause"))
    except (AttributeError, KeyError, TypeError, ValueError):
        pass
    return None


def read_simple(response: Any) -> Answer | None:
    """Understand a simple response of an HTTP API; None for anything else."""
    try:
        allowed, context = response["isAuthorized"], response["context"]
        if isinstance(allowed, bool):
            return Answer(allowed, context["verdict"], context.get("cause"))
    except (KeyError, TypeError):
        pass
    return None


REST = Api("REST", "iam", rest_request, read_policy)
HTTP = Api("HTTP 2.0", "simple", http_request, read_simple)
