"""
Read the events that are sent to an authorizer, and recognise their kind by their shape.

``lambda_authorizer.certificates`` reads the certificate in them.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

# Only the parts that the policy repeats are matched: what follows is the
# request's own path, and a wildcard in these parts would widen the policy.
_RESOURCE_ARN = re.compile(
    r"(arn:[a-z-]+:execute-api:[a-z0-9-]+:[0-9]{12}:[A-Za-z0-9]+/(?:\$default|[A-Za-z0-9_-]+))/.*",
    re.ASCII | re.DOTALL,
)


class MalformedEventError(ValueError):
    """The event is not one for an authorizer, or a part of it cannot be trusted."""


class EventFormat(enum.Enum):
    """
    The shapes of an event.

    TOKEN is sent to a REST API's authorizer of type TOKEN and has no certificate. ALB
    is sent to a load balancer's Lambda target.
    """

    REST = "rest"
    HTTP_1_0 = "http-1.0"
    HTTP_2_0 = "http-2.0"
    TOKEN = "token"
    ALB = "alb"


@dataclass(frozen=True, slots=True)
class AuthorizerRequest:
    """
    One request to decide on.

    ``resource_arn`` is the API and stage of the request, ending in ``/*``; None
    for a load balancer, which has none. ``event`` is the whole event.
    """

    resource_arn: str | None
    format: EventFormat
    event: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def context(self) -> dict[str, Any]:
        """Return ``requestContext``, which the gateway fills and no client can."""
        return as_object(self.event.get("requestContext"), "requestContext")

    def header(self, name: str) -> str | None:
        """
        Return the value of header *name*, None where there is none.

        Raises:
            MalformedEventError: it is not a string, or there are several, one of which may
                be the client's own.
        """
        values = [
            *_values(self.event.get("headers"), "headers", name),
            *_values(self.event.get("multiValueHeaders"), "multiValueHeaders", name),
        ]
        if not values:
            return None
        # A REST API repeats each header in both members; HTTP APIs and proxies
        # join repeated ones with commas.
        if any(value != values[0] for value in values) or "," in values[0]:
            raise MalformedEventError(f"header {name} came more than once")
        return values[0]


def parse_request(event: object) -> AuthorizerRequest:
    """
    Read an event of a REST API, an HTTP API (format 1.0 or 2.0) or a load balancer.

    Raises:
        MalformedEventError: it is something else. The message names the member
            at fault and never repeats its value.
    """
    members = as_object(event, "the event")
    if "type" not in members and _is_from_load_balancer(members):
        return AuthorizerRequest(None, EventFormat.ALB, members)
    if members.get("type") == "TOKEN":
        arn = _stage_resource(members.get("methodArn"), "methodArn")
        return AuthorizerRequest(arn, EventFormat.TOKEN, members)
    if members.get("type") != "REQUEST":
        raise MalformedEventError("type is not REQUEST, and requestContext.elb is not there")
    event_format = _format(members)
    arn_member = "routeArn" if event_format is EventFormat.HTTP_2_0 else "methodArn"
    arn = _stage_resource(members.get(arn_member), arn_member)
    return AuthorizerRequest(arn, event_format, members)


def as_object(value: object, where: str) -> dict[str, Any]:
    """
    Return *value*, which must be a JSON object.

    Raises:
        MalformedEventError: it is not; the message calls it *where*.
    """
    if not isinstance(value, dict):
        raise MalformedEventError(f"{where} is not an object")
    return value


def _is_from_load_balancer(members: dict[str, Any]) -> bool:
    context = members.get("requestContext")
    return isinstance(context, dict) and isinstance(context.get("elb"), dict)


def _format(members: dict[str, Any]) -> EventFormat:
    if "version" not in members:
        return EventFormat.REST
    formats = {"1.0": EventFormat.HTTP_1_0, "2.0": EventFormat.HTTP_2_0}
    version = members["version"]
    if not isinstance(version, str) or version not in formats:
        raise MalformedEventError("version is neither 1.0 nor 2.0")
    return formats[version]


def _stage_resource(arn: object, where: str) -> str:
    match = _RESOURCE_ARN.fullmatch(arn) if isinstance(arn, str) else None
    if match is None:
        raise MalformedEventError(f"{where} is not the ARN of an API Gateway method or route")
    return f"{match[1]}/*"


def _values(headers: object, where: str, name: str) -> list[str]:
    """Return every value that *headers* has for *name*, in whatever case it is written."""
    if headers is None:
        return []
    found: list[Any] = []
    spellings = [key for key in as_object(headers, where) if key.lower() == name]
    for key in spellings:
        value = headers[key]  # type: ignore[index]
        found += value if isinstance(value, list) else [value]
    if len(found) > 1:
        raise MalformedEventError(f"header {name} came more than once")
    if not all(isinstance(value, str) for value in found):
        raise MalformedEventError(f"header {name} is not a string")
    return found
