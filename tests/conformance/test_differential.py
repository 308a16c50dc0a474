"""
Random worlds of authorities, CRLs and certificates, checked by the library, by
the reference in support/reference and by OpenSSL.

``make differential WORLDS=20000`` tries that many worlds, and prints how often
each rule of support/reference/rules.py decided. docs/explanation/conformance.md lists where
the three differ, and why.
"""

from __future__ import annotations

import dataclasses
import os
from collections import Counter
from collections.abc import Iterable
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, assume, event, given, settings

from crlcheck import (
    CheckResult,
    RevocationChecker,
    UndeterminedCause,
    load_certificate,
)
from support import openssl
from support.library_world import LibraryWorld, denied_in, given_path
from support.reference.publishing import REMOVE_FROM_CRL, Outcome, ReferenceStore
from support.reference.rules import RULES, Rulebook
from support.reference.values import Certificate, Name, read_certificate, read_crl
from support.reference.verdict import (
    NOT_REVOKED,
    REVOKED,
    UNDETERMINED,
    Answer,
    Leave,
    Reference,
)
from support.world_strategy import even_worlds, worlds
from support.worlds import (
    AUTHORITIES,
    DAY,
    NOW,
    LeafSpec,
    Removal,
    Setting,
    Step,
    World,
    WorldBytes,
    authority,
    crl_of,
)

pytestmark = pytest.mark.whole

IS_QUICK = "WORLDS" not in os.environ
WORLDS = int(os.environ.get("WORLDS", "1200"))

# The usual run tries the same worlds every time: searching is for the long one.
quietly = settings(
    derandomize=IS_QUICK,
    deadline=None,
    suppress_health_check=[
        HealthCheck.too_slow,
        HealthCheck.data_too_large,
        HealthCheck.filter_too_much,
    ],
)

# ---- the reference -----------------------------------------------------------


class ReferenceWorld:
    """A world as the reference sees it, by all rules or *without* one."""

    def __init__(self, world: World, octets: WorldBytes, without: str | None = None) -> None:
        self._world = world
        self._octets = octets
        self.rules = Rulebook(() if without is None else (without,))
        self.store = ReferenceStore(map(read_certificate, octets.issuers), self.rules)
        for certificate in map(read_certificate, denied_in(world)):
            self.store.denied.add((certificate.issuer, certificate.serial))
        self.store.anchors |= keys_of(world.marked)
        self.store.unpublished |= keys_of(world.silent)
        self.outcomes = [self._outcome(step) for step in world.steps]

    def _outcome(self, step: Step) -> Outcome | bool:
        if isinstance(step, Removal):
            return self.store.remove(read_crl(self._octets.crls[step.crl]))
        if isinstance(step, Setting):
            crl = read_crl(self._octets.crls[step.crl])
            return self.store.cover_no_point(crl, covers=step.covers)
        return self.store.publish(read_crl(crl_of(step)), NOW)

    def reference(self) -> Reference:
        """The reference, with what the store holds at the end."""
        policy, anchors = self._world.policy, self._world.anchors
        return Reference(
            self.store,
            self._octets.now,
            leave=Leave(
                hold=policy.hold,
                unknown_issuer=policy.unknown_issuer,
                unpublished=frozenset(keys_of(policy.unpublished)),
                grace=timedelta(policy.grace),
                path_depth=policy.path_depth,
            ),
            anchors=None if anchors is None else keys_of(anchors),
            rules=self.rules,
        )

    def answers(self) -> list[Answer]:
        """What it says of each certificate, walking up and along the given path."""
        reference = self.reference()
        return [
            answer
            for spec, leaf in zip(self._world.leaves, self._octets.leaves, strict=True)
            for answer in (
                reference.check(read_certificate(leaf)),
                reference.check_chain(
                    [read_certificate(der) for der in (leaf, *given_path(spec, self._world))]
                ),
            )
        ]


def keys_of(authorities: Iterable[str]) -> set[tuple[Name, bytes]]:
    """The names and keys of authorities."""
    certificates = [read_certificate(authority(name).der) for name in authorities]
    return {(certificate.subject, certificate.key) for certificate in certificates}


def rules_that_decide(world: World, octets: WorldBytes, whole: ReferenceWorld) -> list[str]:
    """The rules without which something in a world would have come out otherwise."""
    found = (whole.outcomes, whole.answers())
    return [
        rule
        for rule in RULES
        if rule in whole.rules.asked
        and found != ((other := ReferenceWorld(world, octets, rule)).outcomes, other.answers())
    ]


def table_of(reached: Counter[str], num_worlds: int) -> str:
    """In how many worlds each rule decided."""
    width = max(map(len, RULES))
    rows = [f"  {rule:{width}}  {reached[rule]:7}" for rule in RULES]
    return "\n".join([f"\nIn so many of {num_worlds} worlds each rule decided:", *rows])


# ---- the library -------------------------------------------------------------


def check_agreement(result: CheckResult, expected: Answer) -> None:
    """Compare a result with the reference's answer."""
    assert result.status.value == expected.status, (str(result), expected)
    if result.cause is not None:
        assert result.cause.value in expected.causes, (str(result), expected)


def check_serial_number(
    checker: RevocationChecker, reference: Reference, leaf: bytes, issuer: bytes | None
) -> None:
    """
    Ask for a serial number of an issuer, by its certificate or by its name. With all
    facts the answer is the reference's; with fewer it never says less.
    """
    facts = load_certificate(leaf)
    whose = facts.issuer if issuer is None else issuer
    by_key = None if issuer is None else read_certificate(issuer)
    expected = reference.check_serial(read_certificate(leaf), by_key)
    full = checker.check_serial(
        whose,
        facts.serial_number,
        distribution_points=facts.distribution_points,
        not_after=facts.not_after,
        is_ca=facts.is_ca,
    )
    check_agreement(full, expected)
    bare = checker.check_serial(whose, facts.serial_number)
    # Whether it has expired is not known of a serial number.
    for_ever = dataclasses.replace(read_certificate(leaf), not_after=NOW + 3650 * DAY)
    at_least = reference.check_serial(for_ever, by_key)
    if at_least.status == REVOKED:
        assert bare.status.value == REVOKED, (str(bare), at_least)
    elif at_least.status == UNDETERMINED:
        assert bare.status.value != NOT_REVOKED, (str(bare), at_least)


def test_verdicts_agree_with_the_reference(capsys: pytest.CaptureFixture[str]) -> None:
    """
    CRLs are published and refused as by the reference, and what is held then
    gives every certificate the same verdict, walking up or along a given path.
    Every rule of the reference decides in some world.
    """
    reached: Counter[str] = Counter()
    compared: set[World] = set()

    @settings(quietly, max_examples=WORLDS)
    @given(world=even_worlds() if IS_QUICK else even_worlds() | worlds())
    def compare(world: World) -> None:
        assume(world not in compared)  # hypothesis draws many again
        octets = WorldBytes(world)
        expected = ReferenceWorld(world, octets)
        reached.update(["worlds", *rules_that_decide(world, octets, expected)])
        library = LibraryWorld(world, octets)
        assert library.outcomes == expected.outcomes
        if not library.has_catalog:
            compared.add(world)
            return  # There is no set to check against.
        checker = library.checker()
        answers = iter(expected.answers())
        reference = expected.reference()
        for spec, leaf in zip(world.leaves, octets.leaves, strict=True):
            check_agreement(checker.check(leaf), next(answers))
            check_agreement(checker.check_chain([leaf, *given_path(spec, world)]), next(answers))
            check_serial_number(checker, reference, leaf, None)
            check_serial_number(checker, reference, leaf, authority(spec.authority).der)
        compared.add(world)

    compare()
    if not IS_QUICK:
        with capsys.disabled():
            print(table_of(reached, reached["worlds"]))
    assert not [rule for rule in RULES if not reached[rule]], table_of(reached, reached["worlds"])


# ---- OpenSSL -----------------------------------------------------------------

UNLIKE_OPENSSL = frozenset({
    # Several certificates of one issuer, an issuer that leads to no anchor, and
    # signers whose own certificate only their own CRL covers.
    "ca twice", "old ca with new", "ca of unknown root", "self-signed namesake",
    "new ca with old", "signer by ca", "crl issuer by ca", "second crl issuer",
    # A CRL that names its issuer, or a name that only the certificate leaves out.
    "ca itself", "ca itself, compromise", "indirect, crl issuer", "by crl issuer", "by ca",
    # A URI in other case.
    "one, respelled",
    # Distribution points for some reasons only.
    "one, compromise", "one, others", "two, others", "by crl issuer, compromise",
    # OpenSSL decides nothing by a CRL for none of the eight reasons (6.3.3 e).
    "none", "one, none", "ca itself, none", "indirect, none",
    # OpenSSL refuses a CRL whose reason code it cannot decode, and of two it reads the
    # first. A reason code of two octets it takes, if DER allows both.
    "padded reason", "reason as INTEGER", "reason cut off", "reason twice",
    "removeFromCRL", "duplicates", "late delta", "no key id", "expired",
})  # fmt: skip
"""What OpenSSL is known to decide by other rules: see docs/explanation/conformance.md."""

GOES_ON_AFTER = (openssl.CRL_NOT_YET_VALID, openssl.CRL_EXPIRED)
"""OpenSSL says that a CRL is out of date, and looks into it all the same."""


def has_a_choice(held: ReferenceStore) -> bool:
    """Whether several CRLs may apply to one certificate, of which OpenSSL asks one only."""
    names = [issuer for issuer, _, _ in held.scopes]
    scopes = [of.base.scope for of in held.scopes.values()]
    is_any_indirect = any(scope is not None and scope.indirect for scope in scopes)
    return is_any_indirect or len(set(names)) < len(names)


def has_namesakes(issuers: Iterable[Certificate], held: ReferenceStore) -> bool:
    """
    Whether a CRL's name is that of several keys beside the one of a certificate's issuer.

    OpenSSL takes the first certificate of them for the signer, whatever its key id, because it
    has not read the extensions of a certificate that is not on the path.
    """
    keys = {name: {one.key for one in issuers if one.subject == name} for name, _, _ in held.scopes}
    return any(len(of_name) > 2 for of_name in keys.values())


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
    library, held = LibraryWorld(world, octets), ReferenceWorld(world, octets).store
    if not held.scopes:
        return  # There is no set to check against.
    verified = openssl.verify(
        tmp_path_factory.getbasetemp(),
        octets.leaves,
        anchors=[issuer.der for issuer in issuers if issuer.signed_by(issuer.key)],
        issuers=[issuer.der for issuer in issuers if not issuer.signed_by(issuer.key)],
        crls=[crl for crl in octets.crls if held.holds(crl)],
        now=octets.now,
    )
    checker = library.checker()
    for spec, leaf, errors in zip(world.leaves, octets.leaves, verified, strict=True):
        result = checker.check(leaf)
        if not set(errors) <= openssl.UNDECIDED | {openssl.REVOKED}:
            event("OpenSSL found no path")
            continue
        is_led_astray = has_a_choice(held) or has_namesakes(issuers, held)
        if openssl.NO_PATH_FOR_CRL in errors and is_led_astray:
            event("OpenSSL chose a CRL whose signer is not good, or another signer")
            continue
        if names_its_issuer(spec):
            event("OpenSSL may take a CRL that is not indirect")
            continue
        expected = "not_revoked"
        if not errors and result.cause is UndeterminedCause.STALE and has_a_choice(held):
            event("OpenSSL chose an older CRL that is current")
            continue
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
