"""From entry, time and policy to a verdict."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crlcheck.checker.results import unavailable, uncovered, worst
from crlcheck.checker.scope import ApplicableCrl, Coverage
from crlcheck.checker.verdict import Evidence, decide
from crlcheck.types import (
    CheckResult,
    ImageMetadata,
    Policy,
    ReasonCode,
    RevocationStatus,
    RevokedEntry,
    StaleRule,
    UndeterminedCause,
)
from support.checking import without_remedy
from support.values import NOW, make_certificate, make_entry, make_metadata

DAY = timedelta(days=1)
SECOND = timedelta(seconds=1)
DENY = Policy()
GRACE = Policy(stale=StaleRule.GRACE, stale_grace=DAY)

REVOKED = RevocationStatus.REVOKED
NOT_REVOKED = RevocationStatus.NOT_REVOKED
UNDETERMINED = RevocationStatus.UNDETERMINED


def decided(
    metadata: ImageMetadata | None = None,
    entry: RevokedEntry | None = None,
    *,
    now: datetime = NOW,
    policy: Policy = DENY,
    not_after: datetime = NOW + 30 * DAY,
) -> CheckResult:
    """The verdict by one CRL."""
    return decide(
        make_certificate(not_after=not_after),
        [evidence(metadata or make_metadata(), entry)],
        now=now,
        policy=policy,
    )


def evidence(metadata: ImageMetadata, entry: RevokedEntry | None = None) -> Evidence:
    """What one CRL says."""
    return Evidence(metadata, metadata.scope, entry)


# ---- one CRL ------------------------------------------------------------------


def test_a_listed_certificate_is_revoked() -> None:
    """
    The result carries the entry, the CRL and the certificate that decided.
    """
    metadata = make_metadata()
    result = decided(metadata, make_entry())
    assert result == CheckResult(
        status=REVOKED,
        cause=None,
        detail="certificate 4a3f issued by CN=CA is revoked: key compromise, "
        "since 2026-01-02T00:00:00Z (CRL 17 of CN=CA)",
        serial_number=0x4A3F,
        reason_code=ReasonCode.KEY_COMPROMISE,
        revocation_date=datetime(2026, 1, 2, tzinfo=UTC),
        crl_number=17,
        this_update=NOW - DAY,
        next_update=NOW + DAY,
        scope=metadata.scope,
        certificate=make_certificate(),
    )


def test_an_unlisted_certificate_is_not_revoked() -> None:
    """
    A current CRL that does not list the certificate is enough, and says until
    when.
    """
    result = decided()
    assert (result.status, result.cause, result.waived) == (NOT_REVOKED, None, ())
    assert result.detail == (
        "certificate 4a3f issued by CN=CA is not revoked "
        "(CRL 17 of CN=CA, valid until 2026-03-02T00:00:00Z)"
    )
    assert (result.crl_number, result.reason_code, result.revocation_date) == (17, None, None)


@pytest.mark.parametrize("reason", ReasonCode)
def test_every_reason_is_said(reason: ReasonCode) -> None:
    """
    Every reason code revokes, removeFromCRL too, and has words of its own.
    """
    others = {decided(None, make_entry(other)).detail for other in ReasonCode if other != reason}
    result = decided(None, make_entry(reason))
    assert (result.status, result.reason_code) == (REVOKED, reason)
    assert result.detail not in others


def test_a_revocation_without_attributes_is_said_without_them() -> None:
    """
    An image without attributes, or an entry without reason, leaves no gap in
    the sentence.
    """
    bare = decided(None, make_entry(None, None))
    assert bare.detail == "certificate 4a3f issued by CN=CA is revoked (CRL 17 of CN=CA)"
    dated = decided(make_metadata(crl_number=None), make_entry(None))
    assert dated.detail == (
        "certificate 4a3f issued by CN=CA is revoked since 2026-01-02T00:00:00Z (the CRL of CN=CA)"
    )


def test_a_revocation_date_in_the_future_is_a_revocation() -> None:
    """
    The date does not put a revocation off (CVE-2020-36425).
    """
    assert decided(None, make_entry(revocation_date=NOW + 365 * DAY)).status is REVOKED


# ---- time -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("past", "cause"), [(timedelta(0), None), (SECOND, UndeterminedCause.STALE)]
)
def test_past_next_update_an_unlisted_certificate_is_stale(
    past: timedelta, cause: UndeterminedCause | None
) -> None:
    """
    At nextUpdate itself the CRL still clears, a second later it does not.
    """
    result = decided(make_metadata(next_update=NOW), now=NOW + past)
    assert (result.status, result.cause) == (UNDETERMINED if cause else NOT_REVOKED, cause)


@pytest.mark.parametrize(("late", "waived"), [(DAY, True), (DAY + SECOND, False)])
def test_grace_waives_staleness_for_its_time_only(late: timedelta, waived: bool) -> None:
    """
    Within the grace period the result is NOT_REVOKED and says what was waived;
    after it the CRL is stale.
    """
    result = decided(make_metadata(next_update=NOW), now=NOW + late, policy=GRACE)
    assert result.status is (NOT_REVOKED if waived else UNDETERMINED)
    assert result.waived == ((UndeterminedCause.STALE,) if waived else ())
    assert result.cause is (None if waived else UndeterminedCause.STALE)
    assert "stale since 2026-03-01T00:00:00Z" in result.detail


def test_a_grace_period_without_the_grace_rule_counts_for_nothing() -> None:
    """
    The rule decides, not the length.
    """
    metadata = make_metadata(next_update=NOW - SECOND)
    assert decided(metadata, policy=Policy(stale_grace=DAY)).cause is UndeterminedCause.STALE


def test_a_crl_without_next_update_does_not_go_stale() -> None:
    """
    Such a CRL was compiled on request only; nothing says when it ends.
    """
    metadata = make_metadata(next_update=None)
    assert decided(metadata, now=NOW + 20 * DAY).status is NOT_REVOKED


@pytest.mark.parametrize(
    ("ahead", "cause"),
    [(timedelta(minutes=5), None), (timedelta(minutes=5, seconds=1), "not_yet_valid")],
)
def test_a_crl_of_the_future_says_nothing_of_the_unlisted(
    ahead: timedelta, cause: str | None
) -> None:
    """
    thisUpdate may lie ahead by the clock skew, not by more.
    """
    result = decided(make_metadata(this_update=NOW + ahead))
    assert result.cause is (UndeterminedCause(cause) if cause else None)
    assert result.status is (UNDETERMINED if cause else NOT_REVOKED)


@pytest.mark.parametrize(
    ("since", "status"),
    [(None, UNDETERMINED), (NOW - DAY, NOT_REVOKED), (NOW - DAY + SECOND, UNDETERMINED)],
)
def test_an_expired_certificate_needs_a_crl_that_keeps_expired_ones(
    since: datetime | None, status: RevocationStatus
) -> None:
    """
    CAs drop expired entries: not being listed means something only where
    expiredCertsOnCRL is not after the certificate's notAfter.
    """
    result = decided(make_metadata(expired_certs_on_crl=since), not_after=NOW - DAY)
    expired = UndeterminedCause.CERTIFICATE_EXPIRED
    assert (result.status, result.cause) == (status, expired if status is UNDETERMINED else None)


def test_a_certificate_is_valid_until_the_very_end() -> None:
    """
    notAfter itself still belongs to the validity period (RFC 5280 4.1.2.5).
    """
    assert decided(not_after=NOW).status is NOT_REVOKED
    assert decided(not_after=NOW - SECOND).cause is UndeterminedCause.CERTIFICATE_EXPIRED


def test_a_waived_staleness_does_not_waive_expiry() -> None:
    """
    Each cause is waived for itself.
    """
    stale = make_metadata(next_update=NOW - SECOND)
    result = decided(stale, policy=GRACE, not_after=NOW - SECOND)
    assert result.cause is UndeterminedCause.CERTIFICATE_EXPIRED
    assert result.waived == ()


moments = st.integers(-40, 40).map(lambda days: NOW + timedelta(days=days))
metadata = st.builds(
    make_metadata,
    this_update=moments,
    next_update=st.none() | moments,
    expired_certs_on_crl=st.none() | moments,
)
policies = st.sampled_from([DENY, GRACE])


@given(metadata, moments, moments, policies)
def test_a_listed_certificate_is_revoked_at_any_time(
    metadata: ImageMetadata, now: datetime, not_after: datetime, policy: Policy
) -> None:
    """
    No time and no policy turns a listed certificate into anything but REVOKED.
    """
    result = decided(metadata, make_entry(), now=now, policy=policy, not_after=not_after)
    assert result.status is REVOKED


@given(metadata, moments, moments, policies)
def test_not_revoked_means_in_time_or_waived(
    metadata: ImageMetadata, now: datetime, not_after: datetime, policy: Policy
) -> None:
    """
    NOT_REVOKED comes only from a current CRL, or from a stale one with STALE among
    the waived, and only for a certificate that such a CRL still lists.
    """
    result = decided(metadata, now=now, policy=policy, not_after=not_after)
    stale = metadata.next_update is not None and metadata.next_update < now
    dropped = not_after < now and not (
        metadata.expired_certs_on_crl and metadata.expired_certs_on_crl <= not_after
    )
    in_time = metadata.this_update <= now + policy.clock_skew and not dropped
    waivable = policy is GRACE and stale and now <= (metadata.next_update or now) + DAY
    passes = in_time and (not stale or waivable)
    assert (result.status is NOT_REVOKED) == passes
    assert (result.cause is None) == passes
    assert result.waived == ((UndeterminedCause.STALE,) if passes and stale else ())


# ---- several CRLs ----------------------------------------------------------------

OLDER = make_metadata(crl_number=16, this_update=NOW - 2 * DAY)
NEWER = make_metadata()
FUTURE = make_metadata(crl_number=18, this_update=NOW + DAY, next_update=NOW + 2 * DAY)
ELSEWHERE = make_metadata(key="another key", crl_number=3)
STALE = make_metadata(key="another key", crl_number=3, next_update=NOW - DAY)


@pytest.mark.parametrize(
    ("crls", "status", "crl_number"),
    [
        ([(OLDER, make_entry()), (NEWER, None)], NOT_REVOKED, 17),
        ([(OLDER, None), (NEWER, make_entry())], REVOKED, 17),
        ([(OLDER, None), (NEWER, None), (FUTURE, None)], NOT_REVOKED, 17),
        ([(NEWER, None), (FUTURE, make_entry())], REVOKED, 18),
        ([(FUTURE, None)], UNDETERMINED, 18),
        ([(NEWER, None), (NEWER, make_entry())], REVOKED, 17),
        ([(make_metadata(crl_number=16), make_entry()), (NEWER, None)], NOT_REVOKED, 17),
        (
            [(make_metadata(crl_number=None), make_entry()), (make_metadata(crl_number=0), None)],
            NOT_REVOKED,
            0,
        ),
    ],
    ids=[
        "lifted",
        "newly revoked",
        "future ignored",
        "future lists",
        "only future",
        "same age",
        "a higher number",
        "a number",
    ],
)
def test_the_newest_crl_of_a_scope_counts(
    crls: list[tuple[ImageMetadata, RevokedEntry | None]],
    status: RevocationStatus,
    crl_number: int,
) -> None:
    """
    Of CRLs of one scope the newest decides, in whatever order they come: by its time,
    then by its number, and one without number is older. One that is not yet valid
    leaves the word to the one before it unless it revokes.
    """
    for ordered in itertools.permutations(crls):
        evidences = [evidence(metadata, entry) for metadata, entry in ordered]
        result = decide(make_certificate(), evidences, now=NOW, policy=DENY)
        assert (result.status, result.crl_number) == (status, crl_number)


@pytest.mark.parametrize(
    ("crls", "status"),
    [
        ([(NEWER, None), (ELSEWHERE, make_entry())], REVOKED),
        ([(STALE, make_entry()), (NEWER, None)], REVOKED),
        ([(STALE, None), (NEWER, None)], NOT_REVOKED),
        ([(STALE, None), (FUTURE, None)], UNDETERMINED),
    ],
)
def test_over_scopes_revoked_decides_then_not_revoked(
    crls: list[tuple[ImageMetadata, RevokedEntry | None]], status: RevocationStatus
) -> None:
    """
    A CRL that cannot answer takes nothing from another scope's answer.
    """
    for ordered in itertools.permutations(crls):
        evidences = [evidence(metadata, entry) for metadata, entry in ordered]
        assert decide(make_certificate(), evidences, now=NOW, policy=DENY).status is status


# ---- none ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cause", "key_id", "reason"),
    [
        ("unknown_issuer", b"\xab\xcd", "no trusted issuer has that name and key id abcd"),
        ("unknown_issuer", None, "no trusted issuer has that name"),
        (
            "ambiguous_issuer",
            None,
            "several issuer keys have that name and it has no authority key id",
        ),
        ("ambiguous_issuer", b"\xab", "several issuer keys have that name and all have id ab"),
        ("out_of_scope", None, "no CRL of that issuer is held"),
    ],
)
def test_what_no_crl_covers_is_undetermined(cause: str, key_id: bytes | None, reason: str) -> None:
    """
    The sentence says what to look for; no CRL is named, for none decided.
    """
    certificate = make_certificate(authority_key_id=key_id)
    result = uncovered(certificate, Coverage(cause=UndeterminedCause(cause)))
    assert (result.status, result.cause) == (UNDETERMINED, UndeterminedCause(cause))
    said = without_remedy(result.detail)
    assert said == f"certificate 4a3f issued by CN=CA is undetermined: {reason}"
    assert (result.scope, result.this_update, result.certificate) == (None, None, certificate)


def test_covered_is_not_uncovered() -> None:
    """
    Asking for the verdict on an uncovered certificate that is covered is misuse.
    """
    with pytest.raises(ValueError, match="is covered"):
        uncovered(make_certificate(), Coverage((ApplicableCrl(0),)))


def test_odd_names_and_serial_numbers_are_told() -> None:
    """
    A name that cannot be read does not keep the verdict from being shown, and a
    negative serial number keeps its sign.
    """
    result = unavailable(make_certificate(issuer=b"\x30\x01", serial_number=-255), "no store")
    assert result.cause is UndeterminedCause.STORE_UNAVAILABLE
    assert result.detail.startswith(
        "certificate -ff issued by a malformed name (3001) is undetermined"
    )


def test_the_worst_of_a_path_decides() -> None:
    """
    REVOKED over UNDETERMINED over NOT_REVOKED, in any order; the first of
    equals is returned.
    """
    good, bad = decided(), decided(None, make_entry())
    unclear = decided(make_metadata(next_update=NOW - DAY))
    for results in itertools.permutations([good, bad, unclear]):
        assert worst(results) is bad
    assert worst([good, unclear]) is unclear
    assert worst([unclear, decided(make_metadata(this_update=NOW + DAY))]) is unclear
    assert worst([good, decided(make_metadata(crl_number=99))]) is good


def test_a_path_that_passes_carries_all_that_was_waived() -> None:
    """
    What was waived for one certificate of the path was waived for the path.
    """
    waived = decided(make_metadata(next_update=NOW - SECOND), policy=GRACE)
    result = worst([decided(), waived])
    assert result.status is NOT_REVOKED
    assert result.waived == (UndeterminedCause.STALE,)
    assert worst([waived, waived]) is waived


def test_what_was_waived_for_the_signer_of_a_crl_was_waived_for_the_certificate() -> None:
    """The certificate is cleared by that CRL, so no more surely than its signer is."""
    signer = decided(make_metadata(next_update=NOW - SECOND), policy=GRACE)
    by_signer = evidence(make_metadata())._replace(signer=signer)
    result = decide(make_certificate(), [by_signer], now=NOW, policy=GRACE)
    assert result.status is NOT_REVOKED
    assert result.waived == (UndeterminedCause.STALE,)
