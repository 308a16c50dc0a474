"""What becomes of a verdict in OCSP's words."""

from __future__ import annotations

import dataclasses
from datetime import timedelta
from typing import Any

import pytest

from crlcheck import ReasonCode, RevocationStatus, UndeterminedCause
from crlcheck.checker.serial_question import SerialStatus
from crlcheck.ocsp.statement import BRIEF, CertStatus, Refusal, Statement, answer_of
from crlcheck.types import CheckResult
from support.pki import DAY, NOW
from support.values import make_certificate

REVOKED = RevocationStatus.REVOKED
NOT_REVOKED = RevocationStatus.NOT_REVOKED
SECOND = timedelta(seconds=1)
SINCE = NOW - 9 * DAY
HOLD = ReasonCode.CERTIFICATE_HOLD
ISSUER = make_certificate()


def status(status: RevocationStatus, **fields: Any) -> SerialStatus:
    """What a check found at NOW, by a CRL that is current unless told otherwise."""
    beside = {name: fields.pop(name) for name in ("denied_at", "denied_until") if name in fields}
    by_crl = {"this_update": NOW - DAY, "next_update": NOW + DAY}
    result = CheckResult(**{"status": status, "cause": None, "detail": "", **by_crl, **fields})
    next_update = NOW + DAY / 2 if status is NOT_REVOKED else None
    return SerialStatus(result, NOW, next_update, **beside)


def entry(reason: ReasonCode | None, **fields: Any) -> dict[str, Any]:
    """The fields of a result by an entry."""
    return {"reason_code": reason, "revocation_date": SINCE, **fields}


def test_good_has_the_times_of_the_crl() -> None:
    """And the first nextUpdate of those that cover it."""
    expected = Statement(CertStatus.GOOD, NOW - DAY, NOW + DAY / 2)
    assert answer_of(status(NOT_REVOKED)) == expected
    ahead = dataclasses.replace(status(NOT_REVOKED, this_update=NOW + SECOND))
    assert answer_of(ahead) == expected._replace(this_update=NOW)
    endless = dataclasses.replace(status(NOT_REVOKED), next_update=None)
    assert answer_of(endless) == expected._replace(next_update=None)


@pytest.mark.parametrize("cause", UndeterminedCause)
def test_what_is_waived_is_never_good(cause: UndeterminedCause) -> None:
    """Alone, and beside another one."""
    expected: dict[UndeterminedCause, object] = {
        UndeterminedCause.STALE: Refusal.TRY_LATER,
        UndeterminedCause.CERTIFICATE_HOLD: Statement(
            CertStatus.REVOKED, NOW - DAY, NOW + DAY, NOW - DAY, HOLD
        ),
    }
    unknown = Statement(CertStatus.UNKNOWN, NOW)
    assert answer_of(status(NOT_REVOKED, waived=(cause,))) == expected.get(cause, unknown)
    both = answer_of(status(NOT_REVOKED, waived=(UndeterminedCause.OUT_OF_SCOPE, cause)))
    assert both == expected.get(cause, unknown)


def test_a_waived_hold_is_revoked_whatever_else_is_waived() -> None:
    """Since the entry's date, where the result has the entry."""
    waived = (UndeterminedCause.STALE, UndeterminedCause.CERTIFICATE_HOLD)
    past = {"next_update": NOW - SECOND}
    assert answer_of(status(NOT_REVOKED, waived=waived, **entry(HOLD), **past)) == Statement(
        CertStatus.REVOKED, NOW, NOW + BRIEF, SINCE, HOLD
    )


@pytest.mark.parametrize("reason", [None, *ReasonCode])
def test_revoked_has_the_entrys_reason_and_date(reason: ReasonCode | None) -> None:
    """removeFromCRL in a complete CRL lifts nothing, and is no reason to revoke."""
    shown = None if reason is ReasonCode.REMOVE_FROM_CRL else reason
    assert answer_of(status(REVOKED, **entry(reason))) == Statement(
        CertStatus.REVOKED, NOW - DAY, NOW + DAY, SINCE, shown
    )


def test_an_image_without_dates_revokes_since_its_crl() -> None:
    """A time is demanded, and it was revoked then at the latest."""
    assert answer_of(status(REVOKED)) == Statement(
        CertStatus.REVOKED, NOW - DAY, NOW + DAY, NOW - DAY
    )


@pytest.mark.parametrize(
    "times",
    [
        {"next_update": NOW - SECOND},
        {"next_update": NOW},
        {"this_update": NOW + SECOND},
        {"this_update": NOW + DAY, "next_update": NOW + 2 * DAY},
    ],
    ids=["past", "ends now", "a second ahead", "a day ahead"],
)
def test_revoked_by_a_crl_that_is_not_current_is_known_now(times: dict[str, Any]) -> None:
    """A client would throw an answer away that has the times of that CRL."""
    assert answer_of(status(REVOKED, **entry(None), **times)) == Statement(
        CertStatus.REVOKED, NOW, NOW + BRIEF, SINCE
    )


def test_revoked_by_a_crl_without_next_update() -> None:
    """Newer information is available at any time."""
    assert answer_of(status(REVOKED, next_update=None)) == Statement(
        CertStatus.REVOKED, NOW - DAY, None, NOW - DAY
    )


def test_a_revoked_issuer_revokes_for_its_own_reason() -> None:
    """A compromised key of the issuer is a compromised CA."""
    for reason, shown in (
        (ReasonCode.KEY_COMPROMISE, ReasonCode.CA_COMPROMISE),
        (ReasonCode.SUPERSEDED, ReasonCode.SUPERSEDED),
        (HOLD, HOLD),
        (None, None),
    ):
        answer = answer_of(status(REVOKED, certificate=ISSUER, **entry(reason)))
        assert answer == Statement(CertStatus.REVOKED, NOW - DAY, NOW + DAY, SINCE, shown)


def test_a_few_minutes_are_ten() -> None:
    """As docs/guides/serve.md says."""
    assert timedelta(minutes=10) == BRIEF


@pytest.mark.parametrize(
    ("until", "end"),
    [(None, NOW + BRIEF), (NOW + DAY, NOW + BRIEF), (NOW + SECOND, NOW + SECOND)],
)
def test_a_denial_is_a_hold_since_it_was_made(until: Any, end: Any) -> None:
    """For a few minutes, and not past its end."""
    by_nobody = {"this_update": None, "next_update": None, "denied": True}
    denied = status(REVOKED, denied_at=SINCE, denied_until=until, **by_nobody)
    assert answer_of(denied) == Statement(CertStatus.REVOKED, NOW, end, SINCE, HOLD)


_TRY_LATER = {
    UndeterminedCause.STALE, UndeterminedCause.NOT_YET_VALID, UndeterminedCause.STORE_UNAVAILABLE,
}  # fmt: skip


@pytest.mark.parametrize("above", [False, True])
@pytest.mark.parametrize("cause", UndeterminedCause)
def test_undetermined_is_never_good(cause: UndeterminedCause, above: bool) -> None:
    """tryLater where it may pass, unauthorized where the issuer is not trusted, else unknown."""
    certificate = ISSUER if above else None
    fields = {"cause": cause, "certificate": certificate}
    answer = answer_of(status(RevocationStatus.UNDETERMINED, **fields))
    if cause in _TRY_LATER:
        assert answer is Refusal.TRY_LATER
    elif cause is UndeterminedCause.UNKNOWN_ISSUER and not above:
        assert answer is Refusal.UNAUTHORIZED
    else:
        assert answer == Statement(CertStatus.UNKNOWN, NOW)


@pytest.mark.parametrize("verdict", [REVOKED, NOT_REVOKED])
def test_a_crl_issued_at_the_time_of_the_check_is_current(verdict: RevocationStatus) -> None:
    """Its thisUpdate is exact, inside a minute too."""
    at = NOW + timedelta(seconds=30)
    found = dataclasses.replace(status(verdict, this_update=at), at=at)
    answer = answer_of(found)
    assert isinstance(answer, Statement)
    assert answer.this_update == at


def test_times_of_the_check_are_whole_minutes() -> None:
    """So that an answer of the same minute is signed once."""
    late = dataclasses.replace(
        status(REVOKED, next_update=NOW, **entry(None)), at=NOW + timedelta(seconds=59.9)
    )
    assert answer_of(late) == Statement(CertStatus.REVOKED, NOW, NOW + BRIEF, SINCE)
