"""The authorizer's settings: each field is a ``CRLCHECK_*`` environment variable."""

from __future__ import annotations

import dataclasses
import enum
from dataclasses import dataclass
from datetime import timedelta

from crlcheck import Policy, Rule, StaleRule
from crlcheck.settings import LogLevel


class ResponseKind(enum.Enum):
    """
    What an HTTP API with payload format 2.0 expects back.

    SIMPLE goes with ``enableSimpleResponses``, which no event reveals. REST
    APIs and format 1.0 always get an IAM policy.
    """

    IAM = "iam"
    SIMPLE = "simple"


@dataclass(frozen=True, slots=True)
class Settings:
    """
    store: where the published images are, such as ``s3://bucket/published``, or
        the path of one image.
    response: see ResponseKind.
    refresh_after: how old the catalog in use may grow before a request asks
        whether it has changed; zero asks at every request.
    stale, stale_grace, unknown_issuer, no_distribution_point, path_depth, hold,
        expired_certificate, clock_skew: as in ``crlcheck.Policy``.
    image_memory: octets of images that are kept loaded; the function's memory
        must hold twice the largest one.
    log_level: ``info`` logs every denial, ``debug`` every decision.
    """

    store: str
    response: ResponseKind = ResponseKind.IAM
    refresh_after: timedelta = timedelta(0)
    stale: StaleRule = StaleRule.DENY
    stale_grace: timedelta = timedelta(0)
    unknown_issuer: Rule = Rule.DENY
    no_distribution_point: Rule = Rule.DENY
    path_depth: int | None = None
    hold: Rule = Rule.DENY
    expired_certificate: Rule = Rule.DENY
    clock_skew: timedelta = timedelta(minutes=5)
    image_memory: int = 512 << 20
    log_level: LogLevel = LogLevel.INFO

    def __post_init__(self) -> None:
        if self.image_memory <= 0:
            raise ValueError("CRLCHECK_IMAGE_MEMORY is 0: expected a positive number of octets")
        if (self.stale is StaleRule.GRACE) != (self.stale_grace > timedelta(0)):
            raise ValueError(
                f"CRLCHECK_STALE is {self.stale.value!r} and CRLCHECK_STALE_GRACE is "
                f"{self.stale_grace}: expected both, 'grace' and a duration, or neither"
            )

    @property
    def policy(self) -> Policy:
        """What a verdict may waive."""
        names = (field.name for field in dataclasses.fields(Policy))
        return Policy(**{name: getattr(self, name) for name in names})
