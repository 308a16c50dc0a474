"""
Random worlds in which serial numbers are asked about beside their certificates:
``check_serial`` never says less than ``check``.
"""

from __future__ import annotations

import itertools
import os
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from crlcheck import (
    CheckResult,
    CrlError,
    Policy,
    RevocationChecker,
    RevocationStatus,
    Rule,
    StaleRule,
    UndeterminedCause,
    load_certificate,
    publish_crl,
)
from crlcheck.demo.pki import CertificateAuthority
from support.checking import verdict
from support.memory_store import MemoryStore
from support.world_strategy import worlds
from support.worlds import AUTHORITIES, DAY, NOW, World, WorldBytes, authority

WORLDS = int(os.environ.get("WORLDS", "150"))

REVOKED = RevocationStatus.REVOKED
pytestmark = pytest.mark.whole

NOT_REVOKED = RevocationStatus.NOT_REVOKED
UNDETERMINED = RevocationStatus.UNDETERMINED

POLICIES = (
    Policy(),
    Policy(hold=Rule.ALLOW),
    Policy(stale=StaleRule.GRACE, stale_grace=timedelta(days=20)),
    Policy(no_distribution_point=Rule.ALLOW, expired_certificate=Rule.ALLOW, path_depth=1),
    Policy(unpublished_issuers=(authority("ca").der, authority("crl issuer").der)),
    Policy(unknown_issuer=Rule.ALLOW),
)
_OF_THE_KEY_ID = {UndeterminedCause.UNKNOWN_ISSUER, UndeterminedCause.AMBIGUOUS_ISSUER}


def subjects_of(world: World, octets: WorldBytes) -> list[tuple[CertificateAuthority, bytes, bool]]:
    """
    Every certificate of a world that names its issuer as it should, or not at all:
    with who issued it, and whether it states a key id.
    """
    found = [
        (authority(spec.authority), leaf, spec.issuer_id is not None)
        for spec, leaf in zip(world.leaves, octets.leaves, strict=True)
        if spec.issuer_id in ("sha1", None)
    ]
    specs = {name: AUTHORITIES[name] for name in world.authorities}
    found += [
        (authority(spec.parent), authority(name).der, True)
        for name, spec in specs.items()
        if spec.parent is not None and spec.issuer_id == "sha1"
    ]
    return found


def check_agreement(
    checker: RevocationChecker, issuer: CertificateAuthority, subject: bytes, *, states_key: bool
) -> None:
    """Compare what is said of a certificate and of its serial number."""
    certificate = load_certificate(subject)
    by_certificate = checker.check(subject)
    of_itself = by_certificate.certificate == certificate
    if states_key and of_itself and by_certificate.cause in _OF_THE_KEY_ID:
        return  # by a key id that only the certificate states
    facts: dict[str, Any] = {
        "distribution_points": certificate.distribution_points,
        "is_ca": certificate.is_ca,
        "not_after": certificate.not_after,
    }
    whose: Any = issuer.der if states_key else certificate.issuer
    everything = checker.check_serial(whose, certificate.serial_number, **facts)
    assert verdict(everything) == verdict(by_certificate), (everything, by_certificate)
    assert set(everything.waived) == set(by_certificate.waived), (everything, by_certificate)
    for missing in itertools.chain(
        itertools.combinations(("distribution_points", "is_ca"), 1),
        [("distribution_points", "is_ca")],
    ):
        known = {name: value for name, value in facts.items() if name not in missing}
        result = checker.check_serial(whose, certificate.serial_number, **known)
        check_says_no_less(result, by_certificate)
        if certificate.not_after >= NOW + 365 * DAY:
            del known["not_after"]
            unlimited = checker.check_serial(whose, certificate.serial_number, **known)
            assert verdict(unlimited) == verdict(result)


def check_says_no_less(result: CheckResult, by_certificate: CheckResult) -> None:
    """REVOKED stays so, and what is undetermined is not cleared, nor waived in silence."""
    event(f"{by_certificate.status.value}: {result.status.value}")
    if by_certificate.status is REVOKED:
        assert result.status is REVOKED, (result, by_certificate)
    elif by_certificate.status is UNDETERMINED:
        assert result.status is not NOT_REVOKED, (result, by_certificate)
    elif result.status is NOT_REVOKED:
        missing = set(by_certificate.waived) - set(result.waived)
        assert missing <= {UndeterminedCause.OUT_OF_SCOPE}, (result, by_certificate)


@settings(
    max_examples=WORLDS,
    derandomize="WORLDS" not in os.environ,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(world=worlds(), policy=st.sampled_from(POLICIES))
def test_a_serial_number_never_gets_less_than_its_certificate(world: World, policy: Policy) -> None:
    """
    In every world of the differential test: with all facts the answers are the
    same; with fewer, REVOKED is still said, and nothing is cleared that the
    certificate is not.
    """
    octets = WorldBytes(world)
    store = MemoryStore()
    for crl in octets.crls:
        try:
            publish_crl(crl, store, issuer=octets.issuers, now=NOW)
        except CrlError:
            continue
    with RevocationChecker(store, policy=policy, clock=lambda: octets.now) as checker:
        for issuer, subject, states_key in subjects_of(world, octets):
            check_agreement(checker, issuer, subject, states_key=states_key)
