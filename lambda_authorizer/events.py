"""
What API Gateway sends an authorizer, reduced to what a decision needs.

The certificate is read from ``requestContext`` only, which API Gateway fills
from the TLS handshake. A header is text that a client chose, whatever its name.
"""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass, field
from typing import Any

# Only the parts that the policy repeats are matched: what follows is the
# request's own path, and a wildcard in these parts would widen the policy.
_RESOURCE_ARN = re.compile(
    r"(arn:[a-z-]+:execute-api:[a-z0-9-]+:[0-9]{12}:[A-Za-z0-9]+/(?:\$default|[A-Za-z0-9_-]+))/.*",
    re.ASCII | re.DOTALL,
)


class MalformedEventError(ValueError):
    """The event is not one that API Gateway sends to a REQUEST authorizer."""


class EventFormat(enum.Enum):
    """The shapes of a REQUEST authorizer's event."""

    REST = "rest"
    HTTP_1_0 = "http-1.0"
    HTTP_2_0 = "http-2.0"


@dataclass(frozen=True, slots=True)
class AuthorizerRequest:
    """
    One request to decide on.

    ``certificate_pem`` is None where the client presented no certificate.
    ``resource_arn`` is the API and stage of the request, ending in ``/*``.
    """

    certificate_pem: str | None = field(repr=False)
    resource_arn: str
    format: EventFormat


def parse_request(event: object) -> AuthorizerRequest:
    """
    Read an authorizer event of a REST API or of an HTTP API, format 1.0 or 2.0.

    Raises:
        MalformedEventError: it is something else. The message names the member
            at fault and never repeats its value.
    """
    members = _object(event, "the event")
    if members.get("type") != "REQUEST":
        raise MalformedEventError("type is not REQUEST: no other kind carries a certificate")
    event_format = _format(members)
    context = _object(members.get("requestContext"), "requestContext")
    if event_format is EventFormat.HTTP_2_0:
        arn_member, holder_member = "routeArn", "authentication"
    else:
        arn_member, holder_member = "methodArn", "identity"
    return AuthorizerRequest(
        certificate_pem=_certificate(context.get(holder_member), f"requestContext.{holder_member}"),
        resource_arn=_stage_resource(members.get(arn_member), arn_member),
        format=event_format,
    )


def _format(members: dict[str, Any]) -> EventFormat:
    if "version" not in members:
        return EventFormat.REST
    formats = {"1.0": EventFormat.HTTP_1_0, "2.0": EventFormat.HTTP_2_0}
    version = members["version"]
    if not isinstance(version, str) or version not in formats:
        raise MalformedEventError("version is neither 1.0 nor 2.0")
    return formats[version]


def _certificate(holder: object, where: str) -> str | None:
    # Without mutual TLS, API Gateway leaves either level out or sends null.
    if holder is None:
        return None
    certificate = _object(holder, where).get("clientCert")
    if certificate is None:
        return None
    pem = _object(certificate, f"{where}.clientCert").get("clientCertPem")
    if pem is None or isinstance(pem, str):
        return pem or None
    raise MalformedEventError(f"{where}.clientCert.clientCertPem is not a string")


def _stage_resource(arn: object, where: str) -> str:
    match = _RESOURCE_ARN.fullmatch(arn) if isinstance(arn, str) else None
    if match is None:
        raise MalformedEventError(f"{where} is not the ARN of an API Gateway method or route")
    return f"{match[1]}/*"


def _object(value: object, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise MalformedEventError(f"{where} is not an object")
    return value
