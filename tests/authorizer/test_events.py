"""
Authorizer events: where the certificate is taken from, and what is refused.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from lambda_authorizer.certificates import presented_certificate
from lambda_authorizer.events import EventFormat, MalformedEventError, parse_request
from lambda_authorizer.settings import CertificateFrom
from support.events import EVENTS, authorizer_event

PEM = "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n"
SHAPES = {
    "rest": (EventFormat.REST, "a1b2c3d4e5/prod/*"),
    "http_1_0": (EventFormat.HTTP_1_0, "f6g7h8i9j0/prod/*"),
    "http_2_0": (EventFormat.HTTP_2_0, "f6g7h8i9j0/$default/*"),
}


def certificate_of(event: object) -> str | None:
    """What is taken from an event where API Gateway ended TLS."""
    return presented_certificate(parse_request(event), CertificateFrom.API_GATEWAY, None)


RESOURCE_OF_TOKEN = "arn:aws:execute-api:eu-central-1:111122223333:a1b2c3d4e5/prod/*"
ARN_MEMBERS = {"rest": "methodArn", "http_1_0": "methodArn", "http_2_0": "routeArn"}
HOLDERS = {"rest": "identity", "http_1_0": "identity", "http_2_0": "authentication"}


@pytest.mark.parametrize("shape", SHAPES)
def test_each_format_is_told_apart_and_read(shape: str) -> None:
    """
    The certificate and the resource are found in every format that carries one.
    """
    request = parse_request(authorizer_event(shape, PEM))
    event_format, resource = SHAPES[shape]
    assert request.format is event_format
    assert certificate_of(authorizer_event(shape, PEM)) == PEM
    assert request.resource_arn == f"arn:aws:execute-api:eu-central-1:111122223333:{resource}"


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("absence", ["clientCert", "null", "holder", "empty"])
def test_a_request_without_a_certificate_has_none(shape: str, absence: str) -> None:
    """
    Whatever way API Gateway leaves the certificate out, it is absent, not an error.
    """
    event = authorizer_event(shape, PEM)
    context = event["requestContext"]
    holder = context[HOLDERS[shape]]
    if absence == "clientCert":
        del holder["clientCert"]
    elif absence == "null":
        holder["clientCert"] = None
    elif absence == "holder":
        del context[HOLDERS[shape]]
    else:
        holder["clientCert"]["clientCertPem"] = ""
    assert certificate_of(event) is None


CERTIFICATE_HEADERS = (
    "clientCertPem",
    "X-Amzn-Mtls-Clientcert",
    "X-Amzn-Mtls-Clientcert-Leaf",
    "CloudFront-Viewer-Cert-Pem",
    "Client-Cert",
    "X-SSL-Client-Cert",
    "X-Forwarded-Client-Cert",
)


def plant(event: dict[str, Any], pem: str) -> None:
    """Put *pem* wherever a client has a say: headers, query, path and body."""
    values = {name: pem for header in CERTIFICATE_HEADERS for name in (header, header.lower())}
    for member in ("headers", "queryStringParameters", "pathParameters", "stageVariables"):
        event[member] = {**event.get(member, {}), **values, "requestContext": pem}
    event["multiValueHeaders"] = {name: [value] for name, value in values.items()}
    event["clientCert"] = {"clientCertPem": pem}
    event["body"] = pem
    event["requestContext"]["clientCert"] = {"clientCertPem": pem}
    event["requestContext"].setdefault("http", {})["clientCert"] = {"clientCertPem": pem}


@pytest.mark.parametrize("shape", SHAPES)
def test_a_certificate_is_never_taken_from_anywhere_else(shape: str) -> None:
    """
    A forged certificate outside the member that API Gateway fills neither
    replaces the real one nor stands in for a missing one.
    """
    forged = PEM.replace("MAA=", "MAB=")
    event = authorizer_event(shape, PEM)
    plant(event, forged)
    assert certificate_of(event) == PEM
    event = authorizer_event(shape, None)
    plant(event, forged)
    assert certificate_of(event) is None


@pytest.mark.parametrize("shape", SHAPES)
def test_a_certificate_in_the_other_formats_member_is_not_one(shape: str) -> None:
    """
    Each format has one place for the certificate, and only that one is read.
    """
    event = authorizer_event(shape, None)
    other = "identity" if shape == "http_2_0" else "authentication"
    event["requestContext"][other] = {"clientCert": {"clientCertPem": PEM}}
    assert certificate_of(event) is None


def _without(shape: str, member: str) -> dict[str, Any]:
    event = authorizer_event(shape, PEM)
    del event[member]
    return event


MALFORMED: dict[str, object] = {
    "null": None,
    "list": [],
    "string": "REQUEST",
    "empty": {},
    "unknown type": {**authorizer_event("rest", PEM), "type": "request"},
    "token for nothing": {"type": "TOKEN", "authorizationToken": "let me in"},
    "no type": _without("http_2_0", "type"),
    "unknown version": {**authorizer_event("http_2_0", PEM), "version": "3.0"},
    "numeric version": {**authorizer_event("http_2_0", PEM), "version": 2.0},
    "null version": {**authorizer_event("rest", PEM), "version": None},
    "list version": {**authorizer_event("rest", PEM), "version": ["2.0"]},
    "no context": _without("rest", "requestContext"),
    "context is a string": {**authorizer_event("rest", PEM), "requestContext": "{}"},
    "identity is a list": {
        **authorizer_event("rest", PEM), "requestContext": {"identity": ["clientCert"]}
    },
    "clientCert is a string": {
        **authorizer_event("rest", PEM), "requestContext": {"identity": {"clientCert": PEM}}
    },
    "clientCertPem is a number": {
        **authorizer_event("rest", PEM),
        "requestContext": {"identity": {"clientCert": {"clientCertPem": 1}}},
    },
    "no method ARN": _without("rest", "methodArn"),
    "no route ARN": _without("http_2_0", "routeArn"),
    "version 2.0 over a 1.0 event": {**authorizer_event("http_1_0", PEM), "version": "2.0"},
}  # fmt: skip


@pytest.mark.parametrize("name", MALFORMED)
def test_anything_else_is_malformed(name: str) -> None:
    """
    An event that is not of a known shape is refused, never read by guessing.
    """
    with pytest.raises(MalformedEventError):
        certificate_of(MALFORMED[name])


@pytest.mark.parametrize(
    "arn",
    [
        None,
        7,
        "",
        "*",
        "arn:aws:execute-api:eu-central-1:111122223333:*/prod/GET/",
        "arn:aws:execute-api:eu-central-1:111122223333:a1b2c3d4e5/*/GET/",
        "arn:aws:execute-api:eu-central-1:111122223333:a1b2c3d4e5/pro?/GET/",
        "arn:aws:execute-api:*:111122223333:a1b2c3d4e5/prod/GET/",
        "arn:aws:execute-api:eu-central-1:*:a1b2c3d4e5/prod/GET/",
        "arn:aws:execute-api:eu-central-1:111122223333:a1b2c3d4e5",
        "arn:aws:execute-api:eu-central-1:111122223333:a1b2c3d4e5/prod",
        "arn:aws:execute-api:eu-central-1:111122223333:/prod/GET/",
        "arn:aws:execute-api:eu-central-1:111122223333:a1b2c3d4e5//GET/",
        "arn:aws:lambda:eu-central-1:111122223333:function/prod/GET",
        " arn:aws:execute-api:eu-central-1:111122223333:a1b2c3d4e5/prod/GET/",
    ],
)
@pytest.mark.parametrize("shape", SHAPES)
def test_an_arn_that_would_widen_a_policy_is_malformed(shape: str, arn: object) -> None:
    """
    The policy repeats API and stage from the ARN, so a wildcard there is refused.
    """
    event = {**authorizer_event(shape, PEM), ARN_MEMBERS[shape]: arn}
    with pytest.raises(MalformedEventError, match=ARN_MEMBERS[shape]):
        parse_request(event)


@pytest.mark.parametrize(
    ("arn", "resource"),
    [
        (
            "arn:aws-cn:execute-api:cn-north-1:111122223333:a1b2c3d4e5/v1_2-x/POST/a/*/b?c",
            "arn:aws-cn:execute-api:cn-north-1:111122223333:a1b2c3d4e5/v1_2-x/*",
        ),
        (
            "arn:aws-us-gov:execute-api:us-gov-west-1:111122223333:a1b2c3d4e5/$default/$default",
            "arn:aws-us-gov:execute-api:us-gov-west-1:111122223333:a1b2c3d4e5/$default/*",
        ),
        (
            "arn:aws:execute-api:us-east-1:111122223333:a1b2c3d4e5/prod/GET/line\nbreak",
            "arn:aws:execute-api:us-east-1:111122223333:a1b2c3d4e5/prod/*",
        ),
    ],
)
def test_the_resource_is_the_api_and_stage_whatever_the_path(arn: str, resource: str) -> None:
    """
    The path is the client's own text: nothing of it reaches the policy.
    """
    event = {**authorizer_event("http_2_0", PEM), "routeArn": arn}
    assert parse_request(event).resource_arn == resource


def test_a_token_authorizer_is_known_and_has_no_certificate() -> None:
    """
    Its event names the API, and a certificate planted in it is none.
    """
    event = json.loads((EVENTS / "authorizer_token.json").read_text())
    event["requestContext"] = {"identity": {"clientCert": {"clientCertPem": PEM}}}
    assert parse_request(event).format is EventFormat.TOKEN
    assert parse_request(event).resource_arn == RESOURCE_OF_TOKEN
    assert certificate_of(event) is None


def test_messages_and_representations_hide_the_certificate() -> None:
    """
    What may be logged names members and holds nothing of the certificate.
    """
    request = parse_request(authorizer_event("rest", PEM))
    assert "BEGIN" not in repr(request)
    event = authorizer_event("rest", PEM)
    event["requestContext"]["identity"]["clientCert"] = PEM
    with pytest.raises(MalformedEventError) as caught:
        certificate_of(event)
    assert "MAA=" not in str(caught.value)
    assert "requestContext.identity.clientCert" in str(caught.value)
