"""A denial by hand holds for every key on a path."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

import pytest

from crlcheck.demo.pki import CertificateAuthority
from crlcheck.publisher.operator import deny_certificate
from crlcheck.publisher.publish import publish_crl
from crlcheck.types import CheckResult, Policy, RevocationStatus, UndeterminedCause
from crlcheck.x509.certificates import load_certificate
from support.checking import Clock, make_checker, verdict
from support.memory_store import MemoryStore
from support.pki import DAY, NOW, make_authority, make_client, make_crl

REVOKED = RevocationStatus.REVOKED
NOT_REVOKED = RevocationStatus.NOT_REVOKED
UNDETERMINED = RevocationStatus.UNDETERMINED

ROOT = make_authority("Root")
MIDDLE = make_authority("Middle", ROOT)
LOW = make_authority("Low", MIDDLE)
CLIENT = make_client(LOW, 5)
PATH = [CLIENT, LOW.der, MIDDLE.der, ROOT.der]


def world(
    issuers: Iterable[CertificateAuthority], crls: Iterable[CertificateAuthority]
) -> MemoryStore:
    """A store with an empty CRL of each authority."""
    store = MemoryStore()
    known = [issuer.der for issuer in issuers]
    for authority in crls:
        publish_crl(make_crl(authority), store, issuer=known, now=NOW)
    return store


def deny(
    store: MemoryStore, authority: CertificateAuthority, until: timedelta | None = None
) -> None:
    """Deny an authority's certificate."""
    facts = load_certificate(authority.der)
    end = None if until is None else NOW + until
    deny_certificate(store, facts.issuer, facts.serial_number, until=end, now=NOW)


def assert_denied(result: CheckResult, authority: CertificateAuthority) -> None:
    """Require that this certificate's denial decided."""
    assert result.status is REVOKED
    assert result.denied
    assert result.serial_number == authority.certificate.serial_number


@pytest.mark.parametrize("authority", [LOW, MIDDLE, ROOT], ids=["low", "middle", "root"])
@pytest.mark.parametrize("depth", [None, 0, 1])
@pytest.mark.parametrize("anchor", [None, LOW, MIDDLE], ids=["roots", "low", "middle"])
def test_a_denied_issuer_denies_what_is_below_it(
    authority: CertificateAuthority, depth: int | None, anchor: CertificateAuthority | None
) -> None:
    """
    At every height, at anchors and beyond the depth of the policy; but a walk does
    not go past an anchor, while all of a path that is given counts.
    """
    store = world([LOW, MIDDLE, ROOT], [LOW, MIDDLE, ROOT])
    checker = make_checker(
        store,
        policy=Policy(path_depth=depth),
        trust_anchors=None if anchor is None else anchor.der,
    )
    assert checker.check(CLIENT).status is NOT_REVOKED
    assert checker.check_chain(PATH).status is NOT_REVOKED
    deny(store, authority)
    assert_denied(checker.check_chain(PATH), authority)
    heights = [LOW, MIDDLE, ROOT]
    if anchor is None or heights.index(authority) <= heights.index(anchor):
        assert_denied(checker.check(CLIENT), authority)
    else:
        assert checker.check(CLIENT).status is NOT_REVOKED


def test_a_directly_trusted_issuer_can_be_denied() -> None:
    """
    The path ends at it, because nobody has its issuer's name: the denial holds there.
    """
    store = world([LOW], [LOW])
    deny(store, LOW)
    checker = make_checker(store)
    for result in (checker.check(CLIENT), checker.check_chain([CLIENT]),
                   checker.check_chain([CLIENT, LOW.der])):  # fmt: skip
        assert_denied(result, LOW)


def test_a_path_that_is_given_in_part_is_asked_further_for_denials() -> None:
    """
    The certificates of its last issuer, and those above, are trusted ones too.
    """
    store = world([LOW, MIDDLE, ROOT], [LOW, MIDDLE, ROOT])
    checker = make_checker(store)
    deny(store, ROOT)
    for length in (1, 2, 3, 4):
        assert_denied(checker.check_chain(PATH[:length]), ROOT)


CROSSED = CertificateAuthority.create(
    "Middle", private_key=MIDDLE.private_key, parent=make_authority("Stranger"), now=NOW
)
OTHER_ROOT = make_authority("Other root")
BY_OTHER_ROOT = CertificateAuthority.create(
    "Middle", private_key=MIDDLE.private_key, parent=OTHER_ROOT, now=NOW
)


@pytest.mark.parametrize(
    "denied", [MIDDLE, CROSSED, BY_OTHER_ROOT], ids=["first", "ended", "other"]
)
def test_a_denial_of_one_certificate_denies_the_key(denied: CertificateAuthority) -> None:
    """
    Whatever other certificates the key has: by another root, or by a CA that is
    not trusted, at which the path would end.
    """
    store = world([MIDDLE, CROSSED, BY_OTHER_ROOT, ROOT, OTHER_ROOT], [MIDDLE, ROOT, OTHER_ROOT])
    client = make_client(MIDDLE, 5)
    checker = make_checker(store)
    assert checker.check(client).status is NOT_REVOKED
    deny(store, denied)
    assert_denied(checker.check(client), denied)
    for given in (MIDDLE, BY_OTHER_ROOT):
        assert_denied(checker.check_chain([client, given.der]), denied)


def test_a_denied_root_denies_the_paths_through_it_only() -> None:
    """
    The best of alternative paths counts, as for a revoked certificate.
    """
    store = world([MIDDLE, BY_OTHER_ROOT, ROOT, OTHER_ROOT], [MIDDLE, ROOT, OTHER_ROOT])
    client = make_client(MIDDLE, 5)
    checker = make_checker(store)
    deny(store, ROOT)
    assert checker.check(client).status is NOT_REVOKED
    assert_denied(checker.check_chain([client, MIDDLE.der, ROOT.der]), ROOT)
    deny(store, OTHER_ROOT)
    assert checker.check(client).denied


def test_a_denied_root_beats_a_certificate_that_nothing_can_check() -> None:
    """
    As a revoked one does.
    """
    store = world([MIDDLE, CROSSED, ROOT], [MIDDLE, ROOT])
    checker = make_checker(store, policy=Policy(path_depth=0))
    deny(store, ROOT)
    assert_denied(checker.check(make_client(MIDDLE, 5)), ROOT)


def test_a_namesake_is_not_meant() -> None:
    """
    Another key of the name has paths of its own; so has another root of the name
    where a path that is given ends at one without authority key id.
    """
    namesake = make_authority("Root")
    store = world([MIDDLE, ROOT, namesake], [MIDDLE, ROOT])
    deny(store, namesake)
    checker = make_checker(store)
    client = make_client(MIDDLE, 5)
    assert checker.check(client).status is NOT_REVOKED
    assert checker.check_chain([client, MIDDLE.der, ROOT.der]).status is NOT_REVOKED


def test_the_signer_of_a_crl_can_be_denied() -> None:
    """
    By itself, though it is an anchor, or by an issuer above it; beyond the depth
    of the policy as well.
    """
    signer = make_authority("Middle", ROOT)
    for denied in (signer, ROOT):
        for depth in (None, 0):
            store = world([MIDDLE, signer, ROOT], [signer, ROOT])
            checker = make_checker(
                store, trust_anchors=[MIDDLE.der, ROOT.der], policy=Policy(path_depth=depth)
            )
            client = make_client(MIDDLE, 5)
            assert checker.check(client).status is NOT_REVOKED
            deny(store, denied)
            found = verdict(checker.check(client))
            assert found == (UNDETERMINED, UndeterminedCause.CRL_SIGNER_REVOKED)


def test_a_denial_that_has_ended_counts_nowhere() -> None:
    """
    From its end on, everything is as before.
    """
    store = world([LOW, MIDDLE, ROOT], [LOW, MIDDLE, ROOT])
    deny(store, ROOT, until=DAY)
    clock = Clock()
    checker = make_checker(store, clock=clock)
    assert checker.check(CLIENT).denied
    assert checker.check_chain(PATH).denied
    clock.now = NOW + DAY
    assert checker.check(CLIENT).status is NOT_REVOKED
    assert checker.check_chain(PATH).status is NOT_REVOKED


def test_keys_that_certify_each_other_can_be_denied() -> None:
    """
    The way round ends, whichever of them is denied and however deep it is looked.
    """
    new = make_authority("Middle", ROOT)
    old_by_new = CertificateAuthority.create(
        "Middle", private_key=MIDDLE.private_key, parent=new, now=NOW
    )
    new_by_old = CertificateAuthority.create(
        "Middle", private_key=new.private_key, parent=MIDDLE, now=NOW
    )
    for depth in (None, 0, 1):
        store = world([old_by_new, new_by_old], [old_by_new, new_by_old])
        checker = make_checker(store, policy=Policy(path_depth=depth))
        client = make_client(old_by_new, 5)
        assert checker.check(client).status is NOT_REVOKED
        deny(store, new_by_old)
        assert_denied(checker.check(client), new_by_old)


def test_beyond_the_depth_nothing_but_denials_counts() -> None:
    """
    Whether somebody else is denied changes nothing: keys that certify each other,
    above what is checked, are no reason to think worse of what is below.
    """
    old, new = make_authority("Top"), make_authority("Top")
    ring = [
        CertificateAuthority.create(
            "Top", private_key=one.private_key, parent=other, now=NOW, serial_number=serial
        )
        for one, other, serial in ((old, new, 31), (new, old, 32))
    ]
    middle = CertificateAuthority.create("Middle", parent=ring[0], now=NOW, serial_number=33)
    twice = CertificateAuthority.create(
        "Middle", private_key=middle.private_key, parent=ring[0], now=NOW, serial_number=34
    )
    store = MemoryStore()
    known = [one.der for one in (*ring, middle, twice)]
    publish_crl(make_crl(ring[0], 1, [33]), store, issuer=known, now=NOW)
    publish_crl(make_crl(middle), store, issuer=known, now=NOW)
    checker = make_checker(store, policy=Policy(path_depth=1))
    client = make_client(middle, 5)
    assert checker.check(client).status is NOT_REVOKED
    deny(store, ROOT)
    assert checker.check(client).status is NOT_REVOKED
    deny(store, ring[1])
    assert checker.check(client).status is REVOKED


@pytest.mark.parametrize(
    "revoked", [None, CLIENT, LOW, MIDDLE], ids=["none", "client", "low", "middle"]
)
@pytest.mark.parametrize("depth", [None, 0, 1, 2])
def test_a_denial_of_somebody_else_changes_nothing(
    revoked: bytes | CertificateAuthority | None, depth: int | None
) -> None:
    """
    A list that is not empty makes more of a path be looked at, but for denials only.
    """
    serial = 5 if revoked is CLIENT else None
    if isinstance(revoked, CertificateAuthority):
        serial = revoked.certificate.serial_number
    store = MemoryStore()
    known = [LOW.der, MIDDLE.der, ROOT.der]
    for authority in (LOW, MIDDLE, ROOT):
        crl = make_crl(authority, 1, [] if serial is None else [serial])
        publish_crl(crl, store, issuer=known, now=NOW)
    checker = make_checker(store, policy=Policy(path_depth=depth))

    def found() -> list[CheckResult]:
        chains = [checker.check_chain(PATH[:length]) for length in (1, 2, 3, 4)]
        return [checker.check(CLIENT), *chains]

    before = found()
    if serial is not None:
        assert REVOKED in {result.status for result in before}
    deny_certificate(store, load_certificate(LOW.der).issuer, 12345, now=NOW)
    assert checker.refresh()
    assert found() == before


def test_a_certificate_above_an_anchor_that_only_the_path_has_can_be_denied() -> None:
    """
    It is denied by its issuer and serial number, whether or not it is among the trusted.
    """
    renewed = CertificateAuthority.create("Root", private_key=ROOT.private_key, now=NOW)
    store = world([LOW, MIDDLE, ROOT], [LOW, MIDDLE, ROOT])
    checker = make_checker(store)
    path = [CLIENT, LOW.der, MIDDLE.der, renewed.der]
    assert checker.check_chain(path).status is NOT_REVOKED
    deny(store, renewed)
    assert_denied(checker.check_chain(path), renewed)
    assert checker.check_chain(PATH).status is NOT_REVOKED
    assert checker.check(CLIENT).status is NOT_REVOKED


def test_beyond_the_depth_a_denial_beats_a_certificate_of_an_unknown_issuer() -> None:
    """
    Of two certificates of a key, one that no trusted key fits does not stand in for
    the one whose issuer is denied.
    """
    stranger = make_authority("Middle", make_authority("Stranger"))
    other = CertificateAuthority.create(
        "Low", private_key=LOW.private_key, parent=stranger, now=NOW
    )
    for issuers in ([LOW, other, MIDDLE, ROOT], [other, LOW, MIDDLE, ROOT]):
        store = world(issuers, [LOW, MIDDLE, ROOT])
        checker = make_checker(store, policy=Policy(path_depth=0))
        assert checker.check(CLIENT).status is NOT_REVOKED
        deny(store, MIDDLE)
        assert_denied(checker.check(CLIENT), MIDDLE)


@pytest.mark.parametrize("depth", [0, 1, 2, None])
def test_a_denial_above_one_certificate_leaves_the_path_by_the_other(depth: int | None) -> None:
    """
    At whatever height the paths part, and whichever certificate comes first.
    """
    roots = [make_authority(f"Root {i}") for i in range(2)]
    middles = [make_authority(f"Middle {i}", root) for i, root in enumerate(roots)]
    low = make_authority("Low", middles[0])
    twice = CertificateAuthority.create(
        "Low", private_key=low.private_key, parent=middles[1], now=NOW
    )
    for lows in ([low, twice], [twice, low]):
        for root in roots:
            store = world([*lows, *middles, *roots], [low, *middles, *roots])
            checker = make_checker(store, policy=Policy(path_depth=depth))
            deny(store, root)
            assert checker.check(make_client(low, 5)).status is NOT_REVOKED
