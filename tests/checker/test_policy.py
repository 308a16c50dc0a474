"""What a policy waives, and that nothing is waived in silence."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from crlcheck.checker.scope import ALL_REASONS
from crlcheck.checker.verdict import Evidence, decide
from crlcheck.demo.encoding import encode_entry, encode_extension
from crlcheck.demo.pki import sign_crl
from crlcheck.publisher.operator import override_scope
from crlcheck.types import (
    CheckResult,
    Policy,
    ReasonCode,
    RevocationStatus,
    Rule,
    StaleRule,
    UndeterminedCause,
)
from support.checking import BAD, CA, FOREIGN, GOOD, Clock, make_checker, make_index
from support.memory_store import MemoryStore
from support.pki import DAY, NOW, make_crl
from support.publishing import publish
from support.values import der, make_certificate, make_entry, make_metadata

REVOKED = RevocationStatus.REVOKED
NOT_REVOKED = RevocationStatus.NOT_REVOKED
UNDETERMINED = RevocationStatus.UNDETERMINED


def outcome(result: CheckResult) -> tuple[RevocationStatus, UndeterminedCause | None, list[str]]:
    """Status, cause and what was waived."""
    return result.status, result.cause, [cause.value for cause in result.waived]


def check(certificate: bytes, source: Any = None, **rules: Any) -> CheckResult:
    """The verdict at NOW."""
    checker = make_checker(make_index() if source is None else source, policy=Policy(**rules))
    return checker.check(certificate)


def test_the_default_waives_nothing() -> None:
    """
    Every rule of a new policy denies, whatever fields are added.
    """
    policy = Policy()
    assert {policy.unknown_issuer, policy.no_distribution_point, policy.hold} == {Rule.DENY}
    assert policy.expired_certificate is Rule.DENY
    assert policy.path_depth is None


@pytest.mark.parametrize(
    "fields",
    [{"path_depth": -1}, {"stale_grace": -DAY}, {"clock_skew": -DAY}],
    ids=lambda fields: next(iter(fields)),
)
def test_a_policy_that_makes_no_sense_is_refused(fields: dict[str, Any]) -> None:
    """
    It would deny, or allow, everything.
    """
    with pytest.raises(ValueError, match=next(iter(fields))):
        Policy(**fields)


@pytest.mark.parametrize("value", ["deny", "allow", None, False, True, 0])
@pytest.mark.parametrize(
    "name", ["stale", "unknown_issuer", "no_distribution_point", "hold", "expired_certificate"]
)
def test_a_rule_is_no_word_that_stands_for_it(name: str, value: Any) -> None:
    """
    Nobody fails open by a typo: what is not DENY would waive something.
    """
    with pytest.raises(
        TypeError, match=f"{name}: expected (Stale)?Rule.DENY or [A-Za-z.]+, found {value!r}"
    ):
        Policy(**{name: value})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("path_depth", "1"),
        ("path_depth", 0.5),
        ("path_depth", False),
        ("stale_grace", 5),
        ("clock_skew", None),
        ("stale", Rule.ALLOW),
        ("hold", StaleRule.DENY),
    ],
)
def test_a_value_of_another_type_is_misuse(name: str, value: Any) -> None:
    """
    Each field has one type.
    """
    with pytest.raises(TypeError, match=f"{name}: expected "):
        Policy(**{name: value})


def test_an_unknown_issuer_may_pass() -> None:
    """
    Only where nothing is known of the issuer, and the result says so.
    """
    result = check(FOREIGN, unknown_issuer=Rule.ALLOW)
    assert outcome(result) == (NOT_REVOKED, None, ["unknown_issuer"])
    assert "accepted by policy: no trusted issuer has that name" in str(result)
    assert check(BAD, unknown_issuer=Rule.ALLOW).status is REVOKED
    assert outcome(check(FOREIGN)) == (UNDETERMINED, UndeterminedCause.UNKNOWN_ISSUER, [])


def on_hold() -> Any:
    """An index on which BAD is on hold."""
    entry = encode_entry(2, NOW - DAY, reason=6)
    crl = sign_crl(CA, [entry], this_update=NOW - DAY, next_update=NOW + DAY, crl_number=1)
    store = MemoryStore()
    publish(store, crl, CA.pem)
    return store


def test_a_hold_may_pass() -> None:
    """
    A hold is REVOKED unless the policy allows it; then it is named, with the
    reason, and a stale CRL is stale all the same.
    """
    store = on_hold()
    assert outcome(check(BAD, store)) == (REVOKED, None, [])
    result = check(BAD, store, hold=Rule.ALLOW)
    assert outcome(result) == (NOT_REVOKED, None, ["certificate_hold"])
    assert result.reason_code is ReasonCode.CERTIFICATE_HOLD
    assert "accepted by policy although on hold" in str(result)
    assert check(BAD, hold=Rule.ALLOW).status is REVOKED
    clock = Clock()
    clock.now = NOW + 2 * DAY
    late = make_checker(store, policy=Policy(hold=Rule.ALLOW), clock=clock).check(BAD)
    assert outcome(late) == (UNDETERMINED, UndeterminedCause.STALE, [])


def test_a_hold_is_not_passed_over_for_another_crl() -> None:
    """
    That another CRL does not list the certificate does not make the waiver
    unneeded.
    """
    held = Evidence(make_metadata(), "one", make_entry(ReasonCode.CERTIFICATE_HOLD))
    clean = Evidence(make_metadata(key="other"), "two", None)
    for evidence in ([held, clean], [clean, held]):
        result = decide(make_certificate(), evidence, now=NOW, policy=Policy(hold=Rule.ALLOW))
        assert outcome(result) == (NOT_REVOKED, None, ["certificate_hold"])
        assert decide(make_certificate(), evidence, now=NOW, policy=Policy()).status is REVOKED


def test_an_expired_certificate_may_pass() -> None:
    """
    Unlisted and past notAfter, by policy; listed it is revoked.
    """
    clock = Clock()
    clock.now = NOW + 400 * DAY
    checker = make_checker(
        make_index(next_update=NOW + 900 * DAY),
        policy=Policy(expired_certificate=Rule.ALLOW),
        clock=clock,
    )
    assert outcome(checker.check(GOOD)) == (NOT_REVOKED, None, ["certificate_expired"])
    assert "accepted by policy although expired" in str(checker.check(GOOD))
    assert checker.check(BAD).status is REVOKED


PARTITION = encode_extension(
    "2.5.29.28", der(0x30, der(0xA0, der(0xA0, der(0x86, b"http://ca/1.crl")))), critical=True
)


def test_a_certificate_without_distribution_point_may_be_covered() -> None:
    """
    By the policy, which is named; every CRL of the issuer is then looked at, so
    that one which lists the certificate revokes it.
    """
    partition = make_index(extensions=[PARTITION])
    assert outcome(check(GOOD, partition)) == (UNDETERMINED, UndeterminedCause.OUT_OF_SCOPE, [])
    assert "the certificate names no distribution point" in str(check(GOOD, partition))
    allowed = check(GOOD, partition, no_distribution_point=Rule.ALLOW)
    assert outcome(allowed) == (NOT_REVOKED, None, ["out_of_scope"])
    assert "although without a distribution point" in str(allowed)
    assert check(BAD, partition, no_distribution_point=Rule.ALLOW).status is REVOKED
    complete = make_index(revoked=[])
    both = check(GOOD, [partition, complete], no_distribution_point=Rule.ALLOW)
    assert outcome(both) == (NOT_REVOKED, None, [])


def test_an_operator_may_let_a_scope_cover_it() -> None:
    """
    Set by the scope's key, for good; then nothing is waived, and a certificate
    that names another distribution point is not meant.
    """
    store = MemoryStore()
    scope = publish(store, make_crl(CA, 1, [2], extensions=[PARTITION]), CA.pem).scope
    assert check(GOOD, store).cause is UndeterminedCause.OUT_OF_SCOPE
    generation = override_scope(store, scope, covers_no_distribution_point=True)
    assert generation == 2
    assert override_scope(store, scope, covers_no_distribution_point=True) == 2
    publish(store, make_crl(CA, 2, [2], extensions=[PARTITION]), CA.pem)
    assert outcome(check(GOOD, store)) == (NOT_REVOKED, None, [])
    assert check(BAD, store).status is REVOKED
    elsewhere = CA.issue(
        "client",
        serial_number=1,
        distribution_points=["http://ca/2.crl"],
        not_before=NOW - DAY,
        not_after=NOW + DAY,
    )
    assert check(elsewhere.der, store).cause is UndeterminedCause.OUT_OF_SCOPE
    override_scope(store, scope, covers_no_distribution_point=False)
    assert check(GOOD, store).cause is UndeterminedCause.OUT_OF_SCOPE
    with pytest.raises(ValueError, match="no such scope"):
        override_scope(store, "another", covers_no_distribution_point=True)
    with pytest.raises(FileNotFoundError):
        override_scope(MemoryStore(), scope, covers_no_distribution_point=True)


# ---- reasons -----------------------------------------------------------------------------

SOME, REST = 0b10, ALL_REASONS & ~0b10


def reasons(*crls: tuple[int, str, Any], **policy: Any) -> CheckResult:
    """The verdict by CRLs that cover these reasons, each of a scope of its own."""
    evidence = [
        Evidence(make_metadata(key=scope, **fields), scope, None, reasons=mask)
        for mask, scope, fields in crls
    ]
    return decide(make_certificate(), evidence, now=NOW, policy=Policy(**policy))


def test_crls_for_some_reasons_are_combined() -> None:
    """
    Together they must cover all reasons; one that is stale covers none, and gives
    the cause.
    """
    stale = {"next_update": NOW - timedelta(seconds=1)}
    assert reasons((SOME, "a", {}), (REST, "b", {})).status is NOT_REVOKED
    lacking = reasons((SOME, "a", {}))
    assert lacking.cause is UndeterminedCause.REASONS_NOT_COVERED
    assert "do not cover all revocation reasons" in str(lacking)
    overlapping = reasons((SOME, "a", {}), (SOME, "b", {}))
    assert overlapping.cause is UndeterminedCause.REASONS_NOT_COVERED
    assert reasons((SOME, "a", {}), (REST, "b", stale)).cause is UndeterminedCause.STALE
    assert reasons((ALL_REASONS, "a", {}), (REST, "b", stale)).status is NOT_REVOKED


def test_the_example_of_the_rules() -> None:
    """
    Two CRLs clear a certificate together while both are current. A stale one
    clears nothing, and revokes all the same.
    """
    past = NOW - timedelta(seconds=1)
    assert reasons((SOME, "A", {}), (REST, "B", {})).status is NOT_REVOKED
    stale = reasons((SOME, "A", {"next_update": past}), (REST, "B", {}))
    assert stale.cause is UndeterminedCause.STALE
    listed = Evidence(make_metadata(key="A", next_update=past), "A", make_entry(), reasons=SOME)
    other = Evidence(make_metadata(key="B"), "B", None, reasons=REST)
    result = decide(make_certificate(), [listed, other], now=NOW, policy=Policy())
    assert result.status is REVOKED


def test_a_revocation_needs_no_other_reasons() -> None:
    """
    Being listed on a CRL for some reasons is enough.
    """
    listed = Evidence(make_metadata(), "a", make_entry(), reasons=SOME)
    assert decide(make_certificate(), [listed], now=NOW, policy=Policy()).status is REVOKED


# ---- presentation --------------------------------------------------------------------------


def test_a_result_is_a_sentence_and_a_line_of_a_log() -> None:
    """
    ``str`` is the sentence, and ``as_dict`` survives JSON with the waived causes
    by name.
    """
    result = check(FOREIGN, unknown_issuer=Rule.ALLOW)
    assert str(result) == result.detail
    members = json.loads(json.dumps(result.as_dict()))
    assert members["status"] == "not_revoked"
    assert members["waived"] == ["unknown_issuer"]
    assert members["cause"] is None
