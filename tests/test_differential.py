"""
Random worlds of authorities, CRLs and certificates, judged by the library, by
the reference in support/reference and by OpenSSL.

``make differential WORLDS=20000`` tries that many worlds. docs/conformance.md
lists where the three differ, and why.
"""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, event, given, settings

from crlcheck import CheckResult, CrlError, RevocationChecker, publish_crl
from support import openssl
from support.memory_store import MemoryStore
from support.reference.publishing import ReferenceStore
from support.reference.values import read_certificate, read_crl
from support.reference.verdict import REMOVE_FROM_CRL, Answer, Reference
from support.world_strategy import worlds
from support.worlds import AUTHORITIES, NOW, LeafSpec, World, WorldBytes, authority

WORLDS = int(os.environ.get("WORLDS", "200"))

# The usual run tries the same worlds every time: searching is for the long one.
quietly = settings(
    derandomize="WORLDS" not in os.environ,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


def outcome_of_publishing(crl: bytes, store: MemoryStore, issuers: list[bytes]) -> bool | None:
    """Whether publishing changed anything, None where the CRL is refused."""
    try:
        return publish_crl(crl, store, issuer=issuers, now=NOW).published
    except CrlError:
        return None


def given_path(leaf: LeafSpec, world: World) -> list[bytes]:
    """The certificates above *leaf*, as far as the world has them."""
    path = []
    name: str | None = leaf.authority
    while name is not None and name in world.authorities:
        path.append(authority(name).der)
        name = AUTHORITIES[name].parent
    return path


def check_agreement(result: CheckResult, expected: Answer) -> None:
    """Compare a result with the reference's answer."""
    assert result.status.value == expected.status, (str(result), expected)
    if result.cause is not None:
        assert result.cause.value in expected.causes, (str(result), expected)


@settings(quietly, max_examples=WORLDS)
@given(world=worlds())
def test_verdicts_agree_with_the_reference(world: World) -> None:
    """
    CRLs are published and refused as by the reference, and what is held then
    gives every certificate the same verdict, walking up or along a given path.
    """
    octets = WorldBytes(world)
    store, reference_store = MemoryStore(), ReferenceStore(map(read_certificate, octets.issuers))
    for spec, crl in zip(world.crls, octets.crls, strict=True):
        expected = reference_store.publish(read_crl(crl), NOW)
        assert outcome_of_publishing(crl, store, octets.issuers) == expected, spec
    if not reference_store.scopes:
        return  # There is no set to judge by.
    reference = Reference(reference_store, octets.now)
    checker = RevocationChecker(store, clock=lambda: octets.now)
    for leaf_spec, leaf in zip(world.leaves, octets.leaves, strict=True):
        answer = reference.check(read_certificate(leaf))
        event(" ".join([answer.status, *sorted(answer.causes)]))
        check_agreement(checker.check(leaf), answer)
        path = [leaf, *given_path(leaf_spec, world)]
        answer = reference.check_chain([read_certificate(der) for der in path])
        check_agreement(checker.check_chain(path), answer)


# ---- OpenSSL -----------------------------------------------------------------

UNLIKE_OPENSSL = frozenset({
    # Several certificates of one issuer, an issuer that leads to no anchor, and
    # signers whose own certificate only their own CRL covers.
    "ca twice", "old ca with new", "ca of unknown root", "self-signed namesake",
    "new ca with old", "signer by ca", "crl issuer by ca", "second crl issuer",
    # A CRL that names its issuer, or a name that only the certificate leaves out.
    "ca itself", "indirect, crl issuer", "by crl issuer", "by ca",
    # Distribution points for some reasons only.
    "one, compromise", "one, others", "two, others", "by crl issuer, compromise",
    "removeFromCRL", "duplicates", "late delta", "no key id", "expired",
})  # fmt: skip
"""What OpenSSL is known to decide by other rules: see docs/conformance.md."""

GOES_ON_AFTER = (openssl.CRL_NOT_YET_VALID, openssl.CRL_EXPIRED)
"""OpenSSL says that a CRL is out of date, and looks into it all the same."""


def has_a_choice(held: ReferenceStore) -> bool:
    """Whether several CRLs may apply to one certificate, of which OpenSSL asks one only."""
    names = [issuer for issuer, _, _ in held.scopes]
    scopes = [of.base.scope for of in held.scopes.values()]
    is_any_indirect = any(scope is not None and scope.indirect for scope in scopes)
    return is_any_indirect or len(set(names)) < len(names)


def has_stopped(errors: list[int]) -> bool:
    """Whether OpenSSL stopped at a certificate, so that it said nothing of those above."""
    return bool(errors) and errors[-1] not in GOES_ON_AFTER


def names_its_issuer(leaf: LeafSpec) -> bool:
    """Whether the cRLIssuer of a distribution point is the certificate's own issuer."""
    issuer = AUTHORITIES[leaf.authority].name
    return issuer == "CRL Issuer" and any("by crl issuer" in point for point in leaf.points)


def delta_reasons(held: ReferenceStore, leaf: bytes) -> list[int | None]:
    """
    The reasons for which deltas list the certificate. OpenSSL takes removeFromCRL
    as 6.3.3 (k) does, whatever is removed, and takes a delta's word before it asks
    whether the base applies and who signed it.
    """
    certificate = read_certificate(leaf)
    deltas = [scope.delta for scope in held.scopes.values() if scope.delta is not None]
    return [reason for delta in deltas for reason in delta.reasons_for(certificate)]


@pytest.mark.uninstrumented
@settings(quietly, max_examples=max(1, WORLDS // 5))
@given(world=worlds(avoid=UNLIKE_OPENSSL))
def test_verdicts_agree_with_openssl(
    world: World, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """
    What the store holds, given to ``openssl verify`` with extended CRL support
    and deltas, gives the same status where OpenSSL decides by the same rules.
    """
    octets = WorldBytes(world)
    issuers = list(map(read_certificate, octets.issuers))
    store, held = MemoryStore(), ReferenceStore(issuers)
    for crl in octets.crls:
        outcome_of_publishing(crl, store, octets.issuers)
        held.publish(read_crl(crl), NOW)
    if not held.scopes:
        return  # There is no set to judge by.
    verified = openssl.verify(
        tmp_path_factory.getbasetemp(),
        octets.leaves,
        anchors=[issuer.der for issuer in issuers if issuer.signed_by(issuer.key)],
        issuers=[issuer.der for issuer in issuers if not issuer.signed_by(issuer.key)],
        crls=[crl for crl in octets.crls if held.holds(crl)],
        now=octets.now,
    )
    checker = RevocationChecker(store, clock=lambda: octets.now)
    for spec, leaf, errors in zip(world.leaves, octets.leaves, verified, strict=True):
        result = checker.check(leaf)
        if not set(errors) <= openssl.UNDECIDED | {openssl.REVOKED}:
            event("OpenSSL found no path")
            continue
        if openssl.NO_PATH_FOR_CRL in errors and has_a_choice(held):
            event("OpenSSL chose a CRL whose signer is not good")
            continue
        if names_its_issuer(spec):
            event("OpenSSL may take a CRL that is not indirect")
            continue
        expected = "not_revoked"
        if errors:
            expected = "revoked" if openssl.REVOKED in errors else "undetermined"
        event(f"OpenSSL: {expected}, crlcheck: {result.status.value}")
        if result.status.value == "revoked" and (
            has_stopped(errors)
            or has_a_choice(held)
            or REMOVE_FROM_CRL in delta_reasons(held, leaf)
        ):
            continue
        if (result.status.value, expected) == ("undetermined", "revoked") and delta_reasons(
            held, leaf
        ):
            continue
        assert result.status.value == expected, (str(result), errors)
