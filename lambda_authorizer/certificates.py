"""
Read the client's certificate from the one place that the settings name.

A client chooses the text of a header, unless the service before this function sets
it. So no other place is read if the certificate is missing there.
"""

from __future__ import annotations

from datetime import datetime
from urllib.parse import unquote

import crlcheck
from crlcheck import (
    CertificateError,
    CertificateHeaderError,
    PathValidationError,
    load_certificates,
)
from lambda_authorizer.events import AuthorizerRequest, EventFormat, MalformedEventError, as_object
from lambda_authorizer.settings import CertificateFrom

_BEGIN = "-----BEGIN "
# Real TLS chains are shorter, and each certificate costs a parse.
_MAX_CHAIN = 10


class UntrustedChainError(ValueError):
    """A chain that was passed through unverified does not lead to a trust anchor."""


def presented_certificate(
    request: AuthorizerRequest, source: CertificateFrom, header: str | None
) -> str | None:
    """
    Return the client's certificate as PEM, or with ALB_PASSTHROUGH its whole chain;
    None if *source* has none. *header* is the lower-case name of the header to read.

    Raises:
        MalformedEventError: there is something else than one certificate.
        CertificateHeaderError: the header has something else than certificates.
        UntrustedChainError: so has that of ALB_PASSTHROUGH, where any client can send it.
    """
    if header is not None:
        value = request.header(header)
        return None if value is None else _from_header(value, source)
    pem = _from_context(request)
    if pem and pem.count(_BEGIN) > 1:
        raise MalformedEventError("found several certificates, expected the client's alone")
    return pem or None


def _from_header(value: str, source: CertificateFrom) -> str | None:
    try:
        # Nothing but certificates is in what this reads, so they are all that is returned.
        crlcheck.certificate_from_header(value, form=source.value)
    except CertificateHeaderError as error:
        if error.rule == "no_certificate":
            return None
        if source is CertificateFrom.ALB_PASSTHROUGH:
            raise UntrustedChainError(f"the chain cannot be read: {error}") from error
        raise
    # Not unquote_plus: "+" is a digit of base64.
    return unquote(value.strip(" \t"))


def what_to_configure(
    request: AuthorizerRequest, source: CertificateFrom, header: str | None
) -> str:
    """Return why a request may have no certificate, and which setting to change."""
    if request.format is EventFormat.TOKEN:
        return "an authorizer of type TOKEN is sent no certificate: make it of type REQUEST"
    if header is not None:
        return (
            f"no header {header}: the service that ends TLS must set it, see "
            f"CRLCHECK_CERTIFICATE_FROM={source.value} and CRLCHECK_CERTIFICATE_HEADER"
        )
    if request.format is EventFormat.ALB:
        return (
            "a load balancer sends the certificate in a header: set "
            "CRLCHECK_CERTIFICATE_FROM to alb-verify or alb-passthrough"
        )
    return (
        "no clientCert in requestContext: turn mutual TLS on for the API's custom domain and "
        "its execute-api endpoint off; where another service ends TLS, set "
        "CRLCHECK_CERTIFICATE_FROM"
    )


def _from_context(request: AuthorizerRequest) -> str | None:
    if request.format in (EventFormat.TOKEN, EventFormat.ALB):
        return None
    member = "authentication" if request.format is EventFormat.HTTP_2_0 else "identity"
    where = f"requestContext.{member}"
    # Without mutual TLS, API Gateway leaves either level out or sends null.
    holder = request.context().get(member)
    if holder is None:
        return None
    certificate = as_object(holder, where).get("clientCert")
    if certificate is None:
        return None
    pem = as_object(certificate, f"{where}.clientCert").get("clientCertPem")
    if pem is None or isinstance(pem, str):
        return pem
    raise MalformedEventError(f"{where}.clientCert.clientCertPem is not a string")


class ChainVerifier:
    """
    Verifies chains that a load balancer passes through unverified.

    anchors: the certificates that a chain must lead to, as PEM.

    Raises:
        CertificateError: *anchors* holds no certificate, or a broken one.
    """

    def __init__(self, anchors: bytes) -> None:
        self._anchors = load_certificates(anchors)
        # Now, and not with the first request: it imports cryptography.
        self._validate = crlcheck.validate_path

    def verified_leaf(self, pem: str, now: datetime) -> bytes:
        """
        Verify the chain *pem* (RFC 5280 6.1) at *now*, and return its first certificate
        as DER.

        Raises:
            UntrustedChainError: it leads to no anchor, or not from a client's certificate.
                The message says which rule failed, and has no name of a certificate.
        """
        if pem.count(_BEGIN) > _MAX_CHAIN:
            raise UntrustedChainError(f"found more than {_MAX_CHAIN} certificates")
        try:
            chain = load_certificates(pem.encode(), in_order=True)
        except (CertificateError, UnicodeEncodeError) as error:
            # Its message may repeat what the header holds.
            rule = error.rule if isinstance(error, CertificateError) else None
            raise UntrustedChainError(f"the chain cannot be read ({rule or 'no text'})") from error
        try:
            return self._validate(chain, self._anchors, now=now).der
        except PathValidationError as error:
            raise UntrustedChainError(f"the chain leads to no trust anchor: {error}") from error
