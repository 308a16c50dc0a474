"""What a verdict by a CRL says: what was found, of which CRL, and the times that decided."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from crlcheck.checker.verdict import Evidence, decide
from crlcheck.types import Policy, ReasonCode, RevokedEntry, Rule, StaleRule
from support.checking import without_remedy
from support.values import NOW, make_certificate, make_entry, make_metadata

DAY = timedelta(days=1)
WHO = "certificate 4a3f issued by CN=CA"
HOLD = make_entry(ReasonCode.CERTIFICATE_HOLD)
FUTURE = {"this_update": NOW + DAY, "next_update": NOW + 2 * DAY}
STALE = {"next_update": NOW - DAY}
ALLOW = Policy(
    hold=Rule.ALLOW,
    stale=StaleRule.GRACE,
    stale_grace=2 * DAY,
    expired_certificate=Rule.ALLOW,
)
HOLD_ONLY = Policy(hold=Rule.ALLOW)


@pytest.mark.parametrize(
    ("times", "entry", "policy", "words"),
    [
        (FUTURE, None, Policy(), "is undetermined: it is not listed, but CRL 17 of CN=CA is not "
         "valid before 2026-03-02T00:00:00Z"),
        (FUTURE, HOLD, HOLD_ONLY, "is undetermined: it is on hold, which is waived, but CRL 17 of "
         "CN=CA is not valid before 2026-03-02T00:00:00Z"),
        (STALE, None, Policy(), "is undetermined: it is not listed, but CRL 17 of CN=CA has been "
         "stale since 2026-02-28T00:00:00Z"),
        (STALE, HOLD, HOLD_ONLY, "is undetermined: it is on hold, which is waived, but CRL 17 of "
         "CN=CA has been stale since 2026-02-28T00:00:00Z"),
        (STALE, None, ALLOW, "is not revoked (CRL 17 of CN=CA, stale since 2026-02-28T00:00:00Z "
         "and accepted within the grace period)"),
        ({}, None, ALLOW, "is not revoked (CRL 17 of CN=CA, valid until 2026-03-02T00:00:00Z)"),
        ({"next_update": None}, None, ALLOW,
         "is not revoked (CRL 17 of CN=CA, without nextUpdate)"),
    ],
)  # fmt: skip
def test_what_is_said_of_the_time_of_a_crl(
    times: dict[str, datetime | None], entry: RevokedEntry | None, policy: Policy, words: str
) -> None:
    """In one sentence, with the time that decided."""
    metadata = make_metadata(**times)  # type: ignore[arg-type]
    evidence = Evidence(metadata, metadata.scope, entry)
    result = decide(make_certificate(), [evidence], now=NOW, policy=policy)
    assert without_remedy(result.detail) == f"{WHO} {words}"


def test_what_is_said_of_an_expired_certificate() -> None:
    """Until when it was valid, and why its CRL does not help; or that a policy lets it pass."""
    metadata = make_metadata()
    evidence = Evidence(metadata, metadata.scope, None)
    expired = make_certificate(not_after=NOW - DAY)
    result = decide(expired, [evidence], now=NOW, policy=Policy())
    assert without_remedy(result.detail) == (
        f"{WHO} is undetermined: it expired on 2026-02-28T00:00:00Z and CRL 17 of CN=CA need not "
        "list expired certificates"
    )
    waived = decide(expired, [evidence._replace(entry=HOLD)], now=NOW, policy=ALLOW)
    assert waived.detail == (
        f"{WHO} is not revoked (CRL 17 of CN=CA, valid until 2026-03-02T00:00:00Z, accepted by "
        "policy although on hold and expired)"
    )
