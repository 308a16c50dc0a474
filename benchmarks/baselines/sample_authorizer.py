"""
The published AWS sample's authorizer, written afresh and mended enough to run.

It keeps the JSON that the sample's preprocessor writes, asks S3 by HEAD whether
the ETag is another one, and looks ``hex(serial)`` up. The certificate is taken from
where API Gateway puts it, which the sample does not do. Nothing is verified.
"""

from __future__ import annotations

import json
import os
from typing import Any

import boto3
from cryptography import x509

_S3 = boto3.client("s3")
_BUCKET, _, _KEY = os.environ["SAMPLE_JSON"].partition("/")
_held: dict[str, Any] = {"etag": None, "serials": {}}


def handler(event: Any, _context: object) -> dict[str, Any]:
    """Answer one event of a REST API."""
    etag = _S3.head_object(Bucket=_BUCKET, Key=_KEY)["ETag"]
    if etag != _held["etag"]:
        body = _S3.get_object(Bucket=_BUCKET, Key=_KEY)["Body"].read()
        _held["serials"], _held["etag"] = json.loads(body), etag
    pem = event["requestContext"]["identity"]["clientCert"]["clientCertPem"]
    serial = x509.load_pem_x509_certificate(pem.encode()).serial_number
    effect = "Deny" if hex(serial) in _held["serials"] else "Allow"
    statement = {
        "Action": "execute-api:Invoke",
        "Effect": effect,
        "Resource": event["methodArn"],
    }
    return {
        "principalId": "client",
        "policyDocument": {"Version": "2012-10-17", "Statement": [statement]},
    }
