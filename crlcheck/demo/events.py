"""Make the events that AWS would send, with the demo's values."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import quote_plus

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

ACCOUNT = "111122223333"
REGION: Final = "eu-central-1"
_HOST = "api.example.com"
_METHOD, _ROUTE = "GET", "/orders/{id}"

PATH = "/orders/7"
"""What clients ask for, unless something else is given."""

REST_RESOURCE = f"arn:aws:execute-api:{REGION}:{ACCOUNT}:a1b2c3d4e5/prod"
HTTP_RESOURCE = f"arn:aws:execute-api:{REGION}:{ACCOUNT}:f6g7h8i9j0/$default"


def object_created(bucket: str, key: str, *, size: int, etag: str) -> dict[str, Any]:
    """Return the notification that S3 sends after an object was put."""
    identifier = uuid.uuid4().hex.upper()
    record = {
        "eventVersion": "2.6",
        "eventSource": "aws:s3",
        "awsRegion": REGION,
        "eventTime": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S}.000Z",
        "eventName": "ObjectCreated:Put",
        "userIdentity": {"principalId": "AWS:AIDAEXAMPLE"},
        "requestParameters": {"sourceIPAddress": "192.0.2.20"},
        "responseElements": {"x-amz-request-id": identifier[:16], "x-amz-id-2": identifier},
        "s3": {
            "s3SchemaVersion": "1.0",
            "configurationId": "crl-uploaded",
            "bucket": {
                "name": bucket,
                "ownerIdentity": {"principalId": "A3EXAMPLE"},
                "arn": f"arn:aws:s3:::{bucket}",
            },
            "object": {
                "key": quote_plus(key, safe="/"),
                "size": size,
                "eTag": etag.strip('"'),
                "sequencer": f"{datetime.now(UTC).timestamp():.6f}".replace(".", "").zfill(18),
            },
        },
    }
    return {"Records": [record]}


def rest_request(certificate: x509.Certificate, path: str = PATH) -> dict[str, Any]:
    """Return the event of a REST API for its REQUEST authorizer."""
    headers = {"accept": "application/json", "Host": _HOST}
    return {
        "type": "REQUEST",
        "methodArn": f"{REST_RESOURCE}/{_METHOD}{path}",
        "resource": _ROUTE,
        "path": path,
        "httpMethod": _METHOD,
        "headers": headers,
        "multiValueHeaders": {name: [value] for name, value in headers.items()},
        "queryStringParameters": {},
        "multiValueQueryStringParameters": {},
        "pathParameters": {"id": path.rpartition("/")[2]},
        "stageVariables": {},
        "requestContext": {
            "resourceId": "k9x2q1",
            "resourcePath": _ROUTE,
            "httpMethod": _METHOD,
            "extendedRequestId": uuid.uuid4().hex[:15],
            "requestTime": f"{datetime.now(UTC):%d/%b/%Y:%H:%M:%S +0000}",
            "path": path,
            "accountId": ACCOUNT,
            "protocol": "HTTP/1.1",
            "stage": "prod",
            "domainPrefix": "api",
            "requestTimeEpoch": _epoch_milliseconds(),
            "requestId": str(uuid.uuid4()),
            "identity": {
                "accessKey": None,
                "apiKey": None,
                "sourceIp": "192.0.2.10",
                "user": None,
                "userAgent": "curl/8.9.1",
                "clientCert": _client_certificate(certificate),
            },
            "domainName": _HOST,
            "apiId": "a1b2c3d4e5",
        },
    }


def http_request(certificate: x509.Certificate, path: str = PATH) -> dict[str, Any]:
    """Return the event of an HTTP API for its authorizer, in payload format 2.0."""
    return {
        "version": "2.0",
        "type": "REQUEST",
        "routeArn": f"{HTTP_RESOURCE}/{_METHOD}{path}",
        "identitySource": None,
        "routeKey": f"{_METHOD} {_ROUTE}",
        "rawPath": path,
        "rawQueryString": "",
        "headers": {"accept": "application/json", "host": _HOST},
        "requestContext": {
            "accountId": ACCOUNT,
            "apiId": "f6g7h8i9j0",
            "authentication": {"clientCert": _client_certificate(certificate)},
            "domainName": _HOST,
            "domainPrefix": "api",
            "http": {
                "method": _METHOD,
                "path": path,
                "protocol": "HTTP/1.1",
                "sourceIp": "192.0.2.10",
                "userAgent": "curl/8.9.1",
            },
            "requestId": uuid.uuid4().hex[:15],
            "routeKey": f"{_METHOD} {_ROUTE}",
            "stage": "$default",
            "time": f"{datetime.now(UTC):%d/%b/%Y:%H:%M:%S +0000}",
            "timeEpoch": _epoch_milliseconds(),
        },
        "pathParameters": {"id": path.rpartition("/")[2]},
        "stageVariables": {},
    }


def _client_certificate(certificate: x509.Certificate) -> dict[str, Any]:
    serial = f"{certificate.serial_number:x}"
    octets = bytes.fromhex(serial.zfill(len(serial) + len(serial) % 2))
    return {
        "clientCertPem": certificate.public_bytes(Encoding.PEM).decode(),
        "subjectDN": certificate.subject.rfc4514_string(),
        "issuerDN": certificate.issuer.rfc4514_string(),
        "serialNumber": octets.hex(":"),
        "validity": {
            "notBefore": _openssl_time(certificate.not_valid_before_utc),
            "notAfter": _openssl_time(certificate.not_valid_after_utc),
        },
    }


def _openssl_time(moment: datetime) -> str:
    # The day is padded with a space, as OpenSSL prints it.
    return f"{moment:%b} {moment.day:2d} {moment:%H:%M:%S %Y} GMT"


def _epoch_milliseconds() -> int:
    return int(datetime.now(UTC).timestamp() * 1000)
