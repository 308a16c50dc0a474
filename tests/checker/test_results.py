"""Verdicts that no CRL decides, whole."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from crlcheck.checker.results import denied, severity, unavailable, uncovered, with_waived, worst
from crlcheck.checker.scope import Coverage
from crlcheck.remedies import REMEDIES
from crlcheck.types import CheckResult, RevocationStatus, UndeterminedCause
from support.checking import without_remedy
from support.values import NOW, make_certificate, make_metadata

CERTIFICATE = make_certificate()
WHO = "certificate 4a3f issued by CN=CA"


@pytest.mark.parametrize(
    ("note", "until", "words"),
    [
        ("", None, ""),
        ("stolen", None, ": stolen"),
        ("", NOW + timedelta(days=1), ", until 2026-03-02T00:00:00Z"),
        ("stolen", NOW + timedelta(days=1), ": stolen, until 2026-03-02T00:00:00Z"),
    ],
)
def test_a_denial_is_told_with_its_note_and_its_end(
    note: str, until: datetime | None, words: str
) -> None:
    """It is a revocation that no CRL states."""
    assert denied(CERTIFICATE, note=note, until=until) == CheckResult(
        status=RevocationStatus.REVOKED,
        cause=None,
        detail=f"{WHO} is denied by the operator's deny list{words}",
        serial_number=0x4A3F,
        certificate=CERTIFICATE,
        denied=True,
    )


def test_what_cannot_be_had_is_undetermined() -> None:
    """With the reason that is given."""
    cause = UndeterminedCause.STORE_UNAVAILABLE
    assert unavailable(CERTIFICATE, "no answer") == CheckResult(
        status=RevocationStatus.UNDETERMINED,
        cause=cause,
        detail=f"{WHO} is undetermined: no answer. What to do: {REMEDIES[cause]}",
        serial_number=0x4A3F,
        certificate=CERTIFICATE,
    )


@pytest.mark.parametrize(
    ("num_crls", "any_points", "words"),
    [
        (0, False, "no CRL of that issuer is held"),
        (0, True, "no CRL of that issuer is held"),
        (2, False, "none of the 2 CRLs held for that issuer covers it: the certificate names no "
         "distribution point; the nearest is CRL 17 of CN=CA, for "),
        (1, True, "the only CRL held for that issuer does not cover it: the certificate's "
         "distribution points are not known; CRL 17 of CN=CA is for "),
    ],
)  # fmt: skip
def test_what_no_crl_covers_says_what_was_known(
    num_crls: int, any_points: bool, words: str
) -> None:
    """The certificate's points or that they are not known, and the nearest CRL."""
    coverage = Coverage(
        cause=UndeterminedCause.OUT_OF_SCOPE,
        num_inapplicable=num_crls,
        nearest=make_metadata() if num_crls else None,
        any_points=any_points,
    )
    detail = without_remedy(uncovered(CERTIFICATE, coverage).detail)
    assert detail.startswith(f"{WHO} is undetermined: {words}")
    assert num_crls or detail.endswith(words)


# ---- the worst -------------------------------------------------------------------


def result(status: RevocationStatus, *waived: UndeterminedCause, detail: str = "") -> CheckResult:
    """A verdict."""
    return CheckResult(status, None, detail, 1, waived=waived)


REVOKED = result(RevocationStatus.REVOKED)
UNDETERMINED = result(RevocationStatus.UNDETERMINED)
NOT_REVOKED = result(RevocationStatus.NOT_REVOKED)


def test_results_are_ordered_by_how_severe_they_are() -> None:
    """Nothing found is as good as NOT_REVOKED: paths are compared by it."""
    ordered = [severity(one) for one in (NOT_REVOKED, UNDETERMINED, REVOKED)]
    assert ordered == [0, 1, 2]
    assert severity(None) == 0


def test_the_worst_and_first_decides() -> None:
    """Of equals the one that came first."""
    other = result(RevocationStatus.UNDETERMINED, detail="later")
    assert worst([NOT_REVOKED, UNDETERMINED, other]) is UNDETERMINED
    assert worst([UNDETERMINED, REVOKED, NOT_REVOKED]) is REVOKED
    assert worst(iter([NOT_REVOKED])) is NOT_REVOKED


def test_what_was_waived_adds_up_once() -> None:
    """In order, and only where the path passes."""
    stale, hold = UndeterminedCause.STALE, UndeterminedCause.CERTIFICATE_HOLD
    one, two = (
        result(RevocationStatus.NOT_REVOKED, stale),
        result(RevocationStatus.NOT_REVOKED, hold, stale),
    )
    assert worst([one, two]).waived == (stale, hold)
    assert worst([one, UNDETERMINED]) is UNDETERMINED
    assert with_waived(one, [stale]) is one
    assert with_waived(one, [hold, stale, hold]).waived == (stale, hold)
