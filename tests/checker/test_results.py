"""Verdicts that no CRL decides, whole."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from collections.abc import Callable
from datetime import datetime, timedelta

import pytest

from crlcheck.checker.results import (
    Finding,
    also_saying,
    denied,
    severity,
    unavailable,
    uncovered,
    with_waived,
    without_certificate,
    worst,
)
from crlcheck.checker.scope import Coverage
from crlcheck.remedies import REMEDIES
from crlcheck.types import (
    CertificateFacts,
    CheckResult,
    ReasonCode,
    RevocationStatus,
    RevokedEntry,
    UndeterminedCause,
)
from support.checking import without_remedy
from support.values import NOW, make_certificate, make_metadata

CERTIFICATE = make_certificate()
FIELDS = dataclasses.fields(CheckResult)
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


# ---- when it is worded -------------------------------------------------------------


def found_by(words: list[str]) -> Finding:
    """What a check found, whose sentence is noted in *words* when it is made."""

    def say(certificate: CertificateFacts) -> str:
        words.append(f"about {certificate.serial_number:x}")
        return words[-1]

    entry = RevokedEntry(0x4A3F, ReasonCode.KEY_COMPROMISE, NOW, None, b"")
    return Finding(RevocationStatus.REVOKED, say, None, make_metadata(), "5c09e", entry)


def test_a_sentence_is_made_once_and_only_for_who_reads_it() -> None:
    """Most callers ask for the status alone."""
    words: list[str] = []
    result = found_by(words).on(CERTIFICATE)
    assert (result.status, result.serial_number) == (RevocationStatus.REVOKED, 0x4A3F)
    assert words == []
    assert [result.detail, str(result), result.as_dict()["detail"]] == ["about 4a3f"] * 3
    assert words == ["about 4a3f"]


def whole() -> CheckResult:
    """The same result, made whole."""
    metadata = make_metadata()
    return CheckResult(
        RevocationStatus.REVOKED,
        None,
        "about 4a3f",
        0x4A3F,
        ReasonCode.KEY_COMPROMISE,
        NOW,
        metadata.crl_number,
        metadata.this_update,
        metadata.next_update,
        "5c09e",
        CERTIFICATE,
    )


@pytest.mark.parametrize(
    "taken",
    [
        lambda one: one,
        copy.copy,
        copy.deepcopy,
        lambda one: pickle.loads(pickle.dumps(one)),
        dataclasses.replace,
        lambda one: CheckResult(**{each.name: getattr(one, each.name) for each in FIELDS}),
    ],
    ids=["itself", "copy", "deepcopy", "pickle", "replace", "fields"],
)
def test_it_is_the_same_as_one_that_was_made_whole(
    taken: Callable[[CheckResult], CheckResult],
) -> None:
    """Whatever is done with it before anything of it was read."""
    result = taken(found_by([]).on(CERTIFICATE))
    assert result == whole()
    assert hash(taken(found_by([]).on(CERTIFICATE))) == hash(whole())
    assert repr(taken(found_by([]).on(CERTIFICATE))) == repr(whole())
    assert dataclasses.asdict(result) == dataclasses.asdict(whole())


def test_it_cannot_be_changed_and_has_no_other_attributes() -> None:
    """As one that was made whole."""
    for result in (found_by([]).on(CERTIFICATE), whole()):
        with pytest.raises(dataclasses.FrozenInstanceError):
            result.status = RevocationStatus.NOT_REVOKED  # type: ignore[misc]
        with pytest.raises(dataclasses.FrozenInstanceError):
            result.detail = ""  # type: ignore[misc]
        with pytest.raises(AttributeError, match="no attribute 'verdict'"):
            result.verdict  # type: ignore[attr-defined]  # noqa: B018
        with pytest.raises(TypeError, match="not a bool"):
            bool(result)


def test_waivers_and_more_words_leave_the_rest_unread() -> None:
    """Each of them makes another result of the same finding."""
    words: list[str] = []
    result = found_by(words)._replace(status=RevocationStatus.NOT_REVOKED).on(CERTIFICATE)
    waived = with_waived(result, [UndeterminedCause.STALE])
    longer = also_saying(waived, lambda: ", and more")
    bare = without_certificate(longer)
    assert words == []
    assert (bare.waived, bare.detail) == ((UndeterminedCause.STALE,), "about 4a3f, and more")
    assert (longer.certificate, bare.certificate) == (CERTIFICATE, None)
    of_whole = without_certificate(also_saying(whole(), lambda: ", and more"))
    assert (of_whole.detail, of_whole.certificate) == ("about 4a3f, and more", None)
