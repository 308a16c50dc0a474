"""Where a path ends, and what beside it counts."""

from __future__ import annotations

import dataclasses
import hashlib
from typing import Any

import pytest
from cryptography import x509

from crlcheck.catalog.catalog import Catalog
from crlcheck.checker.scope import ScopeTable, TrustedIssuer
from crlcheck.demo.encoding import encode_extension
from crlcheck.demo.pki import CertificateAuthority
from crlcheck.publisher.publish import publish_crl
from crlcheck.types import Policy, RevocationStatus, Rule, UndeterminedCause
from support import tampering
from support.checking import make_checker, make_index, verdict
from support.issuers import SERIAL, certify, key_id_of, key_of, world
from support.memory_store import MemoryStore
from support.pki import DAY, NOW, ONLY_CA_CERTIFICATES, make_authority, make_client, make_crl
from support.values import make_certificate

REVOKED = RevocationStatus.REVOKED
NOT_REVOKED = RevocationStatus.NOT_REVOKED
UNDETERMINED = RevocationStatus.UNDETERMINED
UNKNOWN_ISSUER = (UNDETERMINED, UndeterminedCause.UNKNOWN_ISSUER)

CLIENT_SERIAL = 5


def change_record(store: MemoryStore, authority: CertificateAuthority, **fields: Any) -> None:
    """Change what the catalog says of an issuer, as an operator may or an older writer did."""

    def changed(catalog: Catalog) -> Catalog:
        issuers = tuple(
            dataclasses.replace(one, **fields) if one.certificate == authority.der else one
            for one in catalog.issuers
        )
        return dataclasses.replace(catalog, issuers=issuers)

    tampering.change(store, changed)


ROOT = make_authority("Root")
USUAL = certify("Middle", by=ROOT, key_id=key_id_of(ROOT))
ODD = certify("Middle", by=ROOT, key_id=b"another")


def client_of(authority: CertificateAuthority) -> bytes:
    """A client that no CRL here lists."""
    return make_client(authority, CLIENT_SERIAL)


# ---- by failing to match ---------------------------------------------------------------


def test_a_path_does_not_end_where_the_key_id_does_not_fit() -> None:
    """
    The issuer's name is trusted, so its certificate is one of an unknown issuer,
    as a client in its place would be. What was found and expected is said, and how
    it becomes an anchor.
    """
    store = world((ROOT, [SERIAL]), (ODD, []), issuers=[ROOT, ODD])
    checker = make_checker(store)
    result = checker.check(client_of(ODD))
    assert verdict(result) == UNKNOWN_ISSUER
    assert result.serial_number == SERIAL
    for words in (
        b"another".hex(),
        key_id_of(ROOT).hex(),
        "crlcheck issuer anchor STORE",
        hashlib.sha256(ODD.der).hexdigest(),
        "trust_anchors=",
    ):
        assert words in str(result)
    assert checker.status().unchecked_issuers == ()
    assert checker.check_chain([client_of(ODD), ODD.der, ROOT.der]).status is REVOKED


def test_no_policy_waives_what_a_trusted_issuer_lacks() -> None:
    """
    The waiver is for clients of somebody else's issuers.
    """
    store = world((ROOT, []), (ODD, []), issuers=[ROOT, ODD])
    lenient = make_checker(store, policy=Policy(unknown_issuer=Rule.ALLOW))
    assert verdict(lenient.check(client_of(ODD))) == UNKNOWN_ISSUER


def test_an_anchor_of_the_operators_ends_the_path() -> None:
    """
    A sub-CA that was trusted directly may have a root whose namesake is trusted
    here: named to the checker or marked in the catalog, it is not asked about.
    """
    store = world((ROOT, []), (ODD, []), issuers=[ROOT, ODD])
    assert make_checker(store, trust_anchors=ODD.der).check(client_of(ODD)).status is NOT_REVOKED
    change_record(store, ODD, is_anchor=True)
    for checker in (make_checker(store), make_checker(store, trust_anchors=ROOT.der)):
        assert checker.check(client_of(ODD)).status is NOT_REVOKED
        assert checker.check_chain([client_of(ODD), ODD.der]).status is NOT_REVOKED
        assert checker.status().unchecked_issuers == ()


def test_an_issuer_ends_the_path_where_nobody_has_its_issuers_name() -> None:
    """
    Other keys of the issuer's own name do not count: a directly trusted CA has
    nothing to be checked by.
    """
    store = world((ODD, []), issuers=[ODD, make_authority("Else")])
    checker = make_checker(store)
    assert checker.check(client_of(ODD)).status is NOT_REVOKED
    assert checker.status().unchecked_issuers == ("CN=Middle",)


# ---- alternative certificates ----------------------------------------------------------

STRANGER = make_authority("Stranger")
NAMESAKE_OF_STRANGER = make_authority("Stranger")
SECOND = certify("Middle", key_of(USUAL), by=STRANGER, key_id=key_id_of(STRANGER), serial_number=2)
OTHER_ROOT = make_authority("Other root")
THIRD = certify("Middle", key_of(USUAL), by=OTHER_ROOT, serial_number=3,
                key_id=key_id_of(OTHER_ROOT))  # fmt: skip
ISSUERS = [ROOT, USUAL]


@pytest.mark.parametrize(
    ("beside", "roots", "status"),
    [
        # A certificate of a CA that is not trusted does not excuse the revoked one.
        ([SECOND], {"Root": [SERIAL]}, REVOKED),
        ([SECOND], {"Root": []}, NOT_REVOKED),
        # Where nothing is known of the first, the directly trusted one passes.
        ([SECOND], {}, NOT_REVOKED),
        # The same where the CA's name is trusted under another key.
        ([SECOND, NAMESAKE_OF_STRANGER], {"Root": [SERIAL]}, REVOKED),
        ([SECOND, NAMESAKE_OF_STRANGER], {"Root": []}, NOT_REVOKED),
        ([SECOND, NAMESAKE_OF_STRANGER], {}, UNDETERMINED),
        # Among those that can be checked the best counts.
        ([THIRD, OTHER_ROOT], {"Root": [SERIAL], "Other root": []}, NOT_REVOKED),
        ([THIRD, OTHER_ROOT, SECOND], {"Root": [SERIAL], "Other root": []}, NOT_REVOKED),
        ([THIRD, OTHER_ROOT, SECOND], {"Root": [SERIAL], "Other root": [3]}, REVOKED),
        ([THIRD, OTHER_ROOT], {"Root": [SERIAL]}, UNDETERMINED),
        # One is revoked, one in doubt, and one cannot be checked.
        ([THIRD, OTHER_ROOT, SECOND], {"Root": [SERIAL]}, UNDETERMINED),
    ],
)
def test_what_cannot_be_checked_does_not_excuse_what_is_revoked(
    beside: list[CertificateAuthority],
    roots: dict[str, list[int]],
    status: RevocationStatus,
) -> None:
    """
    REVOKED beats an alternative certificate of the same key that cannot be checked.
    """
    authorities = {"Root": ROOT, "Other root": OTHER_ROOT}
    crls = [(authorities[name], revoked) for name, revoked in roots.items()]
    store = world((USUAL, []), *crls, issuers=[*ISSUERS, *beside])
    assert make_checker(store).check(client_of(USUAL)).status is status


def test_the_signer_of_a_crl_is_judged_by_the_same_rules() -> None:
    """
    A second certificate by a CA that is not trusted does not excuse a revoked one.
    """
    issuing = certify("Middle", by=ROOT, key_id=key_id_of(ROOT), serial_number=6)
    for revoked, expected in (
        ([SERIAL], (UNDETERMINED, UndeterminedCause.CRL_SIGNER_REVOKED)),
        ([], (NOT_REVOKED, None)),
    ):
        store = world((ROOT, revoked), (USUAL, []), issuers=[ROOT, issuing, USUAL, SECOND])
        assert verdict(make_checker(store).check(client_of(issuing))) == expected


# ---- self-signed -----------------------------------------------------------------------

OLD = certify("CA", by=None, serial_number=1)
NEW = certify("CA", by=OLD, serial_number=14)
"""A key-rollover certificate without authority key id: self-issued, signed by the old key."""


def test_a_rollover_certificate_is_no_anchor() -> None:
    """
    Its name is its issuer's and it has no authority key id, but the old key signed
    it, and may revoke it: walked to, and given as the end of a path.
    """
    for revoked, status in (([14], REVOKED), ([], NOT_REVOKED)):
        store = world((OLD, revoked), (NEW, []), issuers=[OLD, NEW])
        given = make_checker([make_index(OLD, 1, revoked), make_index(NEW, 1, [])],
                             issuers=[OLD.der, NEW.der])  # fmt: skip
        for checker in (make_checker(store), given):
            assert checker.check(client_of(NEW)).status is status
            assert checker.check_chain([client_of(NEW), NEW.der]).status is status
            assert checker.check_chain([client_of(NEW), NEW.der, OLD.der]).status is status
            assert checker.status().unverified_issuers == ()


def test_a_rollover_certificate_that_is_given_only_is_none_either() -> None:
    """
    Nobody has verified it, and without authority key id it may be the old key's,
    which revokes it.
    """
    renewed = certify("CA", key_of(NEW), by=OLD, serial_number=15)
    store = world((OLD, [14]), (renewed, []), issuers=[OLD, renewed])
    checker = make_checker(store)
    assert checker.check_chain([client_of(NEW), NEW.der]).status is REVOKED
    assert checker.check_chain([client_of(NEW), renewed.der]).status is NOT_REVOKED


def test_a_path_that_is_given_ends_where_a_walk_does() -> None:
    """
    Below the first certificate of an anchor's key, whoever else certified it.
    """
    crossed = certify("Root", key_of(ROOT), by=OTHER_ROOT, key_id=key_id_of(OTHER_ROOT))
    store = world((ROOT, []), (OTHER_ROOT, [SERIAL]), issuers=[ROOT, OTHER_ROOT, crossed])
    checker = make_checker(store)
    client = client_of(ROOT)
    assert checker.check(client).status is NOT_REVOKED
    assert checker.check_chain([client, crossed.der, OTHER_ROOT.der]).status is NOT_REVOKED
    strict = make_checker(store, trust_anchors=OTHER_ROOT.der)
    assert strict.check_chain([client, crossed.der, OTHER_ROOT.der]).status is REVOKED


def test_an_ambiguous_certificate_excuses_nothing() -> None:
    """
    Of a certificate that any of several keys may have issued nothing can be said.
    """
    second = make_authority("Stranger")
    nameless = certify("Middle", key_of(USUAL), by=STRANGER, serial_number=2)
    trusted = [ROOT, USUAL, nameless, STRANGER, second]
    for revoked, expected in (
        ([SERIAL], (REVOKED, None)),
        ([], (NOT_REVOKED, None)),
    ):
        store = world((ROOT, revoked), (USUAL, []), issuers=trusted)
        assert verdict(make_checker(store).check(client_of(USUAL))) == expected


def test_a_trusted_certificate_is_judged_by_what_is_known_of_it() -> None:
    """
    A root without authority key id is its own issuer, though it has namesakes, and
    a rollover's is not.
    """
    store = world((OLD, [14]), issuers=[OLD, NEW, certify("CA", by=None)])
    checker = make_checker(store)
    assert checker.check(OLD.der).status is NOT_REVOKED
    client = make_client(OLD, CLIENT_SERIAL, authority_key_id=False)
    assert checker.check(client).cause is UndeterminedCause.AMBIGUOUS_ISSUER


def test_a_self_signed_certificate_is_an_anchor_whatever_its_key_ids_say() -> None:
    """
    Its signature decides.
    """
    root = certify("Root", by=None, key_id=b"another")
    middle = certify("Middle", by=root, key_id=key_id_of(root))
    store = world((root, []), (middle, []), issuers=[root, middle, make_authority("Root")])
    checker = make_checker(store)
    assert checker.check(client_of(middle)).status is NOT_REVOKED
    assert checker.status().unchecked_issuers == ()


def test_names_and_key_ids_decide_where_no_signature_can() -> None:
    """
    As for an MD5 root: the status names those issuers.
    """
    store = world((ROOT, []), (USUAL, []), issuers=[ROOT, USUAL])
    change_record(store, ROOT, self_signed=None)
    checker = make_checker(store)
    assert checker.check(client_of(USUAL)).status is NOT_REVOKED
    assert checker.status().unverified_issuers == ("CN=Root",)


def test_what_is_known_of_an_issuer_from_two_sources_is_joined() -> None:
    """
    The catalog may not say whether an issuer is self-signed, the caller may.
    """
    issuer = make_certificate(issuer="CA", subject="CA", authority_key_id=b"odd")
    issuer = dataclasses.replace(issuer, der=b"the certificate")
    table = ScopeTable(
        [], [TrustedIssuer(issuer), TrustedIssuer(issuer, self_signed=True, is_anchor=False)]
    )
    (key,) = table.issuers.named(issuer.subject)
    assert key.is_anchor
    assert list(table.issuers.unverified()) == []


@pytest.mark.parametrize(
    ("one", "other", "joined"),
    [(None, None, None), (None, True, True), (None, False, False), (True, None, True),
     (False, None, False), (True, False, True), (False, True, False)],
)  # fmt: skip
def test_what_two_records_of_an_issuer_say_is_joined(
    one: bool | None, other: bool | None, joined: bool | None
) -> None:
    """
    Whether it is self-signed is said by the first that knows, the operator's
    settings by either.
    """
    issuer = make_certificate()
    found = TrustedIssuer(issuer, one).joined_with(TrustedIssuer(issuer, other))
    assert found == TrustedIssuer(issuer, joined)
    bare, anchor, silent = (
        TrustedIssuer(issuer),
        TrustedIssuer(issuer, is_anchor=True),
        TrustedIssuer(issuer, publishes_no_crl=True),
    )
    for setting in (anchor, silent):
        assert bare.joined_with(setting) == setting.joined_with(bare) == setting
    both = TrustedIssuer(issuer, is_anchor=True, publishes_no_crl=True)
    assert anchor.joined_with(silent) == silent.joined_with(anchor) == both


def test_a_self_signed_issuer_that_is_no_anchor_ends_the_path() -> None:
    """
    Where anchors are named and it is none of them, no other key can check it;
    the status says so.
    """
    store = world((ROOT, []), issuers=[ROOT])
    checker = make_checker(store, trust_anchors=OTHER_ROOT.der)
    assert checker.check(client_of(ROOT)).status is NOT_REVOKED
    assert checker.status().unchecked_issuers == ("CN=Root",)


# ---- the order of questions ------------------------------------------------------------


def partition(uri: str) -> bytes:
    """An issuingDistributionPoint with that URI."""
    names = x509.IssuingDistributionPoint(
        [x509.UniformResourceIdentifier(uri)], None, False, False, None, False, False
    )
    return encode_extension("2.5.29.28", names.public_bytes(), critical=True)


def test_signers_that_revoke_each_other_are_judged_in_any_order() -> None:
    """
    What is thought of a signer while another one is under way does not stay: each
    certificate gets the verdict that it gets alone.
    """
    issuing = make_authority("CA")
    one = CertificateAuthority.create("CA", parent=issuing, now=NOW, serial_number=21)
    other = CertificateAuthority.create("CA", parent=issuing, now=NOW, serial_number=22)
    store = MemoryStore()
    clients = []
    for signer, revoked, uri in ((one, 22, "http://crl.test/1"), (other, 21, "http://crl.test/2")):
        for extension in (ONLY_CA_CERTIFICATES, partition(uri)):
            crl = make_crl(signer, 1, [revoked], extensions=[extension])
            publish_crl(crl, store, issuer=[issuing.der, one.der, other.der], now=NOW)
        client = issuing.issue(
            "client", distribution_points=[uri], not_before=NOW - DAY, not_after=NOW + DAY
        )
        clients.append(client.der)
    checker = make_checker(store)
    alone = [verdict(checker.check(client)) for client in clients]
    assert [verdict(result) for result in checker.check_many(clients)] == alone
    assert [verdict(result) for result in checker.check_many(clients[::-1])] == alone[::-1]
