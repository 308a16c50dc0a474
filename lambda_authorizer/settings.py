"""The authorizer's settings: each field is a ``CRLCHECK_*`` environment variable."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import timedelta

from crlcheck import Policy, StaleRule
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
    stale, stale_grace, clock_skew: as in ``crlcheck.Policy``.
    log_level: ``info`` logs every denial, ``debug`` every decision.
    """

    store: str
    response: ResponseKind = ResponseKind.IAM
    refresh_after: timedelta = timedelta(0)
    stale: StaleRule = StaleRule.DENY
    stale_grace: timedelta = timedelta(0)
    clock_skew: timedelta = timedelta(minutes=5)
    log_level: LogLevel = LogLevel.INFO

    def __post_init__(self) -> None:
        if (self.stale is StaleRule.GRACE) != (self.stale_grace > timedelta(0)):
            raise ValueError(
                f"CRLCHECK_STALE is {self.stale.value!r} and CRLCHECK_STALE_GRACE is "
                f"{self.stale_grace}: expected both, 'grace' and a duration, or neither"
            )

    @property
    def policy(self) -> Policy:
        """What a verdict may waive."""
        return Policy(stale=self.stale, stale_grace=self.stale_grace, clock_skew=self.clock_skew)
