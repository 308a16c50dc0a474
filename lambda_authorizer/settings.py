"""Define the authorizer's settings: each field is a ``CRLCHECK_*`` environment variable."""

from __future__ import annotations

import dataclasses
import enum
import re
from dataclasses import dataclass, field
from datetime import timedelta

from crlcheck import ImageLoading, Policy, Rule, StaleRule
from crlcheck.cloudwatch import read_namespace
from crlcheck.settings import (
    LogLevel,
    grace_problems,
    read_seconds,
    read_store_name,
)


class CertificateFrom(enum.Enum):
    """
    The service that ended TLS, which decides where the client's certificate is.

    API_GATEWAY: ``requestContext``, filled by API Gateway's mutual TLS.
    ALB_VERIFY: the header that a load balancer in verify mode sets.
    ALB_PASSTHROUGH: the header with the whole chain that a load balancer in
    passthrough mode sets, unverified.
    CLOUDFRONT: the header that CloudFront's viewer mutual TLS sets.
    """

    API_GATEWAY = "api-gateway"
    ALB_VERIFY = "alb-verify"
    ALB_PASSTHROUGH = "alb-passthrough"
    CLOUDFRONT = "cloudfront"


_HEADERS = {
    CertificateFrom.ALB_VERIFY: "x-amzn-mtls-clientcert-leaf",
    CertificateFrom.ALB_PASSTHROUGH: "x-amzn-mtls-clientcert",
    CertificateFrom.CLOUDFRONT: "cloudfront-viewer-cert-pem",
}


class ResponseKind(enum.Enum):
    """
    The form of answer that an HTTP API with payload format 2.0 expects.

    SIMPLE goes with ``enableSimpleResponses``, which events do not state. REST APIs and
    format 1.0 always get an IAM policy, load balancers an HTTP response.
    """

    IAM = "iam"
    SIMPLE = "simple"


class Mode(enum.Enum):
    """OBSERVE allows every request and logs what ENFORCE would have decided."""

    ENFORCE = "enforce"
    OBSERVE = "observe"


def _header_name(text: str) -> str:
    if re.fullmatch(r"[A-Za-z0-9-]+", text) is None:
        raise ValueError("expected the name of a header")
    return text.lower()


def _function_name(text: str) -> str:
    if re.fullmatch(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*", text, re.ASCII) is None:
        raise ValueError("expected module:function")
    return text


def _root_keys(text: str) -> tuple[str, ...]:
    # Only where they are set: a cold start without them does not pay for it.
    from crlcheck import read_root_keys

    return tuple(key.token for key in read_root_keys(text))


@dataclass(frozen=True, slots=True)
class Settings:
    """
    store: where the published images are, such as ``s3://bucket/published``, or
        the path of one image.
    certificate_from: see CertificateFrom.
    certificate_header: the header to read, if the service before this function is
        configured to use another than the usual one.
    trust_anchors: for ALB_PASSTHROUGH: the path of a PEM file with the
        certificates that a chain must lead to.
    response: see ResponseKind.
    mode: see Mode.
    decide: ``module:function``, a rule of your own. It is called as
        ``function(event, result)`` for a request that would be allowed, and returns
        whether to allow it.
    refresh_seconds: how old the catalog in use may grow before a request asks
        whether it has changed; 0 asks at every request.
    max_catalog_age: how long a catalog is used after the store last returned it;
        after that every request is denied.
    root_keys: public keys, as ``crlcheck key show`` prints them, with commas. The store's
        root is used only if one of them has signed it. That needs ``cryptography``.
    minimum_generation: an earlier generation of the store is refused.
    load_seconds: how long reading an image from S3 or a URL may take; an HTTP API waits
        ten seconds for its authorizer.
    stale, stale_grace, unknown_issuer, no_distribution_point, path_depth, hold,
        expired_certificate, clock_skew: as in ``crlcheck.Policy``.
    unpublished_issuers: the path of a PEM file with the certificates of trusted CAs
        that publish no CRL, as in ``crlcheck.Policy``.
    image_memory: bytes of images that are kept loaded; the function's memory
        must hold twice the largest one.
    image_loading: how images of the store are loaded, as in
        ``crlcheck.RevocationChecker``.
    log_level: ``info`` logs every denial, ``debug`` every decision.
    log_certificate: whether a decision is logged with the client's certificate,
        whose subject may be a person.
    metrics: whether each request writes a line in CloudWatch's embedded metric
        format.
    metrics_namespace: the CloudWatch namespace of the metrics.
    """

    store: str = field(metadata={"read": read_store_name})
    certificate_from: CertificateFrom = CertificateFrom.API_GATEWAY
    certificate_header: str | None = field(default=None, metadata={"read": _header_name})
    trust_anchors: str | None = None
    response: ResponseKind = ResponseKind.IAM
    mode: Mode = Mode.ENFORCE
    decide: str | None = field(default=None, metadata={"read": _function_name})
    refresh_seconds: int = field(default=0, metadata={"read": read_seconds})
    max_catalog_age: timedelta = timedelta(hours=12)
    root_keys: tuple[str, ...] | None = field(default=None, metadata={"read": _root_keys})
    minimum_generation: int = 0
    load_seconds: int = field(default=6, metadata={"read": read_seconds})
    stale: StaleRule = StaleRule.DENY
    stale_grace: timedelta = timedelta(0)
    unknown_issuer: Rule = Rule.DENY
    no_distribution_point: Rule = Rule.DENY
    path_depth: int | None = None
    hold: Rule = Rule.DENY
    expired_certificate: Rule = Rule.DENY
    clock_skew: timedelta = timedelta(minutes=5)
    unpublished_issuers: str | None = None
    image_memory: int = 512 << 20
    image_loading: ImageLoading = ImageLoading.WHOLE
    log_level: LogLevel = LogLevel.INFO
    log_certificate: bool = False
    metrics: bool = True
    metrics_namespace: str = field(default="crlcheck", metadata={"read": read_namespace})

    def __post_init__(self) -> None:
        if self.image_memory <= 0:
            raise ValueError("CRLCHECK_IMAGE_MEMORY is 0: expected a positive number of bytes")
        if not self.max_catalog_age:
            raise ValueError("CRLCHECK_MAX_CATALOG_AGE is 0: expected a positive time")
        if not self.load_seconds:
            raise ValueError("CRLCHECK_LOAD_SECONDS is 0: expected a positive number of seconds")
        problems = grace_problems(self.stale, self.stale_grace)
        if problems:
            raise ValueError("; ".join(problems))
        source = self.certificate_from
        if self.certificate_header is not None and source not in _HEADERS:
            raise ValueError(
                f"CRLCHECK_CERTIFICATE_HEADER is {self.certificate_header!r} although "
                f"CRLCHECK_CERTIFICATE_FROM is {source.value!r}, which reads no header"
            )
        if (source is CertificateFrom.ALB_PASSTHROUGH) != (self.trust_anchors is not None):
            raise ValueError(
                f"CRLCHECK_CERTIFICATE_FROM is {source.value!r} and CRLCHECK_TRUST_ANCHORS is "
                f"{self.trust_anchors!r}: expected trust anchors with 'alb-passthrough' only, "
                "whose chains nobody else verifies"
            )

    @property
    def header(self) -> str | None:
        """The lower-case name of the header that has the certificate; None for none."""
        return self.certificate_header or _HEADERS.get(self.certificate_from)

    @property
    def refresh_after(self) -> timedelta:
        """``refresh_seconds`` as the checker takes it."""
        return timedelta(seconds=self.refresh_seconds)

    @property
    def policy(self) -> Policy:
        """The causes that a check may waive."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(Policy)}
        if self.unpublished_issuers is None:
            del values["unpublished_issuers"]
        return Policy(**values)
