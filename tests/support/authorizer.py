"""Load the authorizer with settings and events, and read its answers."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

import crlcheck
from support.events import authorizer_event, header_event
from support.example_pki import example_pki
from support.functions import import_function

PKI = example_pki()
FORMATS = ("rest", "http_1_0", "http_2_0")
VERDICTS = {
    "good": ("not_revoked", None),
    "revoked": ("revoked", None),
    "foreign": ("undetermined", "unknown_issuer"),
}


@dataclass(frozen=True)
class Source:
    """
    A place that a certificate comes from: the setting, the fixture that shows it
    and the header that carries it, None for ``requestContext``.
    """

    certificate_from: str
    shape: str
    header: str | None = None
    settings: dict[str, str] = field(default_factory=dict)

    def event(self, pem: str | None) -> dict[str, Any]:
        """An event with this certificate, or chain, in its place."""
        if self.header is None:
            return authorizer_event(self.shape, pem)
        return header_event(self.shape, self.header, pem)


SOURCES = {
    "api-gateway rest": Source("api-gateway", "rest"),
    "api-gateway http 1.0": Source("api-gateway", "http_1_0"),
    "api-gateway http 2.0": Source("api-gateway", "http_2_0"),
    "alb-verify": Source("alb-verify", "alb", "x-amzn-mtls-clientcert-leaf"),
    "alb-passthrough": Source("alb-passthrough", "alb_passthrough", "x-amzn-mtls-clientcert"),
    "cloudfront": Source("cloudfront", "cloudfront", "cloudfront-viewer-cert-pem"),
}


def write_anchors(directory: Path, authority: Any = PKI.authority) -> str:
    """Write the example issuer as the only trust anchor; return the path."""
    path = directory / "anchors.pem"
    path.write_bytes(authority.pem)
    return str(path)


def load_from(
    source: Source, monkeypatch: pytest.MonkeyPatch, store: Path | str, **settings: str
) -> Any:
    """A new execution environment that takes certificates from *source*."""
    if source.certificate_from == "alb-passthrough":
        settings = {"trust_anchors": write_anchors(Path(store).parent), **settings}
    return load(monkeypatch, store, certificate_from=source.certificate_from, **settings)


def publish(store: Path | str, crl: bytes) -> None:
    """Publish one CRL of the example issuer."""
    crlcheck.publish_crl(crl, crlcheck.open_store(store), issuer=PKI.authority.pem)


def load(monkeypatch: pytest.MonkeyPatch, store: Path | str, **settings: str) -> Any:
    """A new execution environment of the authorizer."""
    return import_function(monkeypatch, "lambda_authorizer", store=str(store), **settings)


def is_allowed(response: dict[str, Any]) -> bool:
    """Read a response as its reader does; anything but a clear yes is a denial."""
    if "statusCode" in response:
        return bool(response["statusCode"] == 200)
    if "isAuthorized" in response:
        return response["isAuthorized"] is True
    (statement,) = response["policyDocument"]["Statement"]
    return bool(statement["Effect"] == "Allow")
