"""The template of deploy/sam, and parameters that it is tried with."""

from __future__ import annotations

import functools
import itertools
from pathlib import Path
from typing import Any

from support.cloudformation import ACCOUNT, REGION, read_template

ROOT = Path(__file__).parents[2]
SAM = ROOT / "deploy" / "sam"
TEMPLATE = SAM / "template.yaml"
TOOLS = ROOT / "build" / "deploy"
"""Where `make deploy-check` installs the tools that it needs."""

PRIVATE_CA = (
    f"arn:aws:acm-pca:{REGION}:{ACCOUNT}:certificate-authority/11111111-2222-3333-4444-555555555555"
)
SECURITY = f"arn:aws:iam::{ACCOUNT}:role/security"
ON_CALL = f"arn:aws:iam::{ACCOUNT}:role/on-call"
CRL_WRITER = "arn:aws:iam::444455556666:role/ca"

EVENT_SOURCES = ("eventbridge", "s3", "sqs")
API_KINDS = ("none", "rest", "http")

EVERYTHING = {
    "AlarmTopicArn": f"arn:aws:sns:{REGION}:{ACCOUNT}:alarms",
    "BreakGlassRoleArns": ON_CALL,
    "CrlWriterArns": CRL_WRITER,
    "FetchUrls": "https://ca.example.com/a.crl,http://ca.example.com/b.crl",
    "IssuersWriterArns": SECURITY,
    "KmsKeyArn": f"arn:aws:kms:{REGION}:{ACCOUNT}:key/11111111-2222-3333-4444-555555555555",
    "PermissionsBoundaryArn": f"arn:aws:iam::{ACCOUNT}:policy/boundary",
    "PrivateCaArns": PRIVATE_CA,
    "StaleGrace": "24h",
}
"""A value for each parameter that may be empty, apart from those of the API."""

OF_API = {
    "CertificateArn": f"arn:aws:acm:{REGION}:{ACCOUNT}:certificate/1",
    "DomainName": "api.example.com",
    "TruststoreVersion": "3HL4kqtJvjVBH40Nrjfkd",
}


@functools.cache
def sam_template() -> dict[str, Any]:
    """The template, with the long forms of its intrinsic functions."""
    return read_template(TEMPLATE)


def parameters_of(event_source: str, api_kind: str, *, everything: bool) -> dict[str, str]:
    """Parameters for one form of the stack, with or without all that is optional."""
    return {
        "EventSource": event_source,
        "ApiKind": api_kind,
        **(OF_API if api_kind != "none" else {}),
        **(EVERYTHING if everything else {}),
    }


FORMS = [
    (f"{source}-{kind}{'-everything' if everything else ''}",
     parameters_of(source, kind, everything=everything))
    for source, kind, everything in itertools.product(EVENT_SOURCES, API_KINDS, (False, True))
]  # fmt: skip
"""Every form of the stack, with a name."""
