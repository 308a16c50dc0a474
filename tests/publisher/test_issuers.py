"""
What an operator does to the trusted issuers of a store.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from crlcheck import RevocationChecker, RevocationStatus, UndeterminedCause
from crlcheck.catalog.catalog import IssuerRecord
from crlcheck.catalog.compare_and_swap import change_catalog
from crlcheck.catalog.history import Action
from crlcheck.errors import CrlRollbackError, CrlSignatureError
from crlcheck.publisher.issuers import (
    describe_issuers,
    find_fingerprint,
    readmit_issuer,
    remove_issuer,
    set_issuer,
    withdraw_issuers,
)
from crlcheck.publisher.operator import remove_scope
from crlcheck.types import Policy, PublishWarningKind, Rule
from support.memory_store import MemoryStore
from support.pki import DAY, NOW, delta_of, make_authority, make_client, make_crl
from support.publishing import CA, OTHER_CA, catalog_of, publish

CLIENT = make_client(CA, 5)
BOTH = [CA.der, OTHER_CA.der]


def fingerprint(certificate: bytes) -> str:
    """What names a certificate."""
    return IssuerRecord(certificate).fingerprint


def verdict(store: MemoryStore, client: bytes = CLIENT) -> Any:
    """What a new checker says: the status, or the cause where there is none."""
    with RevocationChecker(store, clock=lambda: NOW) as checker:
        result = checker.check(client)
    return result.cause or result.status


@pytest.fixture
def store() -> MemoryStore:
    """A store with a CRL of each of two CAs."""
    store = MemoryStore()
    publish(store, make_crl(CA, 1), BOTH, issuers_from="bundle.pem")
    publish(store, make_crl(OTHER_CA, 1), BOTH, issuers_from="bundle.pem")
    return store


# ---- removal -----------------------------------------------------------------------


def test_a_removed_issuer_clears_nobody(store: MemoryStore) -> None:
    """Its scopes go with it, each with a tombstone; the other issuer's stays."""
    (gone,) = (
        key
        for key, record in catalog_of(store).scopes.items()
        if record.base.metadata.issuer == CA.certificate.subject.public_bytes()
    )
    assert verdict(store) is RevocationStatus.NOT_REVOKED
    generation = remove_issuer(store, fingerprint(CA.der), note="key lost", now=NOW)
    catalog = catalog_of(store)
    assert catalog.generation == generation == 3
    assert catalog.issuer_certificates() == (OTHER_CA.der,)
    assert gone not in catalog.scopes
    assert catalog.tombstones[gone].note == "key lost"
    assert catalog.removed_issuers[fingerprint(CA.der)].scopes == (gone,)
    assert verdict(store) is UndeterminedCause.UNKNOWN_ISSUER


def test_a_removed_issuer_stays_out_whatever_bundle_is_given(store: MemoryStore) -> None:
    """
    Another CA's publication leaves it out and warns; its own CRL, which only it
    signed, is refused with that reason.
    """
    remove_issuer(store, fingerprint(CA.der), note="key lost", now=NOW)
    report = publish(store, make_crl(OTHER_CA, 2), BOTH)
    (warning,) = report.warnings
    assert warning.kind is PublishWarningKind.REMOVED_ISSUER
    assert "key lost" in str(warning)
    before = catalog_of(store)
    for number in (1, 2):
        with pytest.raises(CrlSignatureError, match="an operator removed the issuer") as caught:
            publish(store, make_crl(CA, number), BOTH)
        assert caught.value.reason == "removed_issuer"
        assert f"({fingerprint(CA.der)[:16]}… on 2026-03-01T00:00:00Z)" in str(caught.value)
    assert catalog_of(store) == before
    assert before.issuer_certificates() == (OTHER_CA.der,)


def test_a_readmitted_issuer_returns_with_the_same_crl_or_a_newer_one(store: MemoryStore) -> None:
    """What was published when it went may come back, nothing older."""
    publish(store, make_crl(CA, 2, [5]), BOTH)
    remove_issuer(store, fingerprint(CA.der), now=NOW)
    readmit_issuer(store, fingerprint(CA.der))
    assert verdict(store) is UndeterminedCause.UNKNOWN_ISSUER
    with pytest.raises(CrlRollbackError):
        publish(store, make_crl(CA, 1), BOTH)
    assert publish(store, make_crl(CA, 2, [5]), BOTH).published
    assert verdict(store) is RevocationStatus.REVOKED
    with pytest.raises(ValueError, match="no such issuer"):
        readmit_issuer(store, fingerprint(CA.der))


def test_the_same_crl_does_not_come_back_without_its_delta(store: MemoryStore) -> None:
    """Nor does it after the scope alone was removed: there only a newer one does."""
    publish(store, make_crl(CA, 3, [5], extensions=[delta_of(1)]), BOTH)
    remove_issuer(store, fingerprint(CA.der), now=NOW)
    readmit_issuer(store, fingerprint(CA.der))
    with pytest.raises(CrlRollbackError):
        publish(store, make_crl(CA, 1), BOTH)
    scope = publish(store, make_crl(CA, 3, [5]), BOTH).scope
    remove_scope(store, scope, now=NOW)
    with pytest.raises(CrlRollbackError):
        publish(store, make_crl(CA, 3, [5]), BOTH)


def test_scopes_stay_while_another_certificate_carries_the_key(store: MemoryStore) -> None:
    """A renewed certificate of the same name and key is the same issuer."""
    renewed = type(CA).create("Example CA", private_key=CA.private_key, now=NOW)
    publish(store, make_crl(CA, 2), [CA.der, renewed.der])
    remove_issuer(store, fingerprint(CA.der), now=NOW)
    assert verdict(store) is RevocationStatus.NOT_REVOKED
    assert publish(store, make_crl(CA, 3), [CA.der, renewed.der]).published
    remove_issuer(store, fingerprint(renewed.der), now=NOW)
    assert verdict(store) is UndeterminedCause.UNKNOWN_ISSUER


def test_a_key_is_trusted_while_the_catalog_has_a_certificate_of_it(store: MemoryStore) -> None:
    """Whoever gives only the removed one to verify its CRL need not have the other."""
    renewed = type(CA).create("Example CA", private_key=CA.private_key, now=NOW)
    publish(store, make_crl(CA, 2), [CA.der, renewed.der])
    remove_issuer(store, fingerprint(CA.der), now=NOW)
    assert publish(store, make_crl(CA, 3), CA.der).published
    assert catalog_of(store).issuer_certificates() == tuple(sorted((renewed.der, OTHER_CA.der)))


def test_a_namesake_that_was_added_by_mistake_is_taken_out() -> None:
    """The certificates of the right issuer are ambiguous until then, and its CRL stays."""
    store = MemoryStore()
    wrong = make_authority()
    client = make_client(CA, 5, authority_key_id=False)
    publish(store, make_crl(CA, 1), [CA.der, wrong.der])
    assert verdict(store, client) is UndeterminedCause.AMBIGUOUS_ISSUER
    described = describe_issuers(catalog_of(store))
    assert [one.subject for one in described] == ["CN=Example CA"] * 2
    assert len({one.key_id for one in described}) == 2
    remove_issuer(store, fingerprint(wrong.der), now=NOW)
    assert verdict(store, client) is RevocationStatus.NOT_REVOKED


def test_what_a_removed_issuer_certified_is_not_cleared_without_it() -> None:
    """
    Its CRL, which revoked a trusted CA, went with it: that CA's clients do not pass as
    ones of a CA that was trusted directly, until the operator says that it is one.
    So it is after "readmit", as long as nothing is published.
    """
    root = make_authority("Root")
    subordinate = make_authority("Subordinate CA", root)
    bundle = [root.der, subordinate.der]
    client = make_client(subordinate, 5)
    store = MemoryStore()
    publish(store, make_crl(root, 1, [subordinate.certificate.serial_number]), bundle)
    publish(store, make_crl(subordinate, 1), bundle)
    assert verdict(store, client) is RevocationStatus.REVOKED
    remove_issuer(store, fingerprint(root.der), now=NOW)
    for policy in (Policy(), Policy(unknown_issuer=Rule.ALLOW)):
        with RevocationChecker(store, clock=lambda: NOW, policy=policy) as checker:
            result = checker.check(client)
            assert result.cause is UndeterminedCause.UNKNOWN_ISSUER
            assert "its issuer was removed, and CRL 1 of CN=Root with it" in result.detail
            assert fingerprint(subordinate.der) in result.detail
            assert checker.check_chain([client, *bundle[::-1]]).cause is result.cause
            assert checker.check_serial(subordinate.der, 5).cause is result.cause
            assert not checker.status().answering
    readmit_issuer(store, fingerprint(root.der))
    assert verdict(store, client) is UndeterminedCause.UNKNOWN_ISSUER
    set_issuer(store, fingerprint(subordinate.der), is_anchor=True)
    assert verdict(store, client) is RevocationStatus.NOT_REVOKED


def test_policy_lets_no_client_of_a_removed_issuer_pass_as_a_stranger_s(
    store: MemoryStore,
) -> None:
    """
    Whom the CRL listed that went with it would pass too.
    """
    publish(store, make_crl(CA, 2, [5]), BOTH)
    remove_issuer(store, fingerprint(CA.der), now=NOW)
    policy = Policy(unknown_issuer=Rule.ALLOW)
    with RevocationChecker(store, clock=lambda: NOW, policy=policy) as checker:
        assert checker.check(CLIENT).cause is UndeterminedCause.UNKNOWN_ISSUER
        stranger = make_client(make_authority("Stranger"), 5)
        assert checker.check(stranger).status is RevocationStatus.NOT_REVOKED


def test_a_namesake_that_is_taken_out_denies_nobody() -> None:
    """
    Another key of the root's name, trusted by mistake, has nothing to say of a CA that
    was trusted directly, be it that it had published a CRL.
    """
    subordinate = make_authority("Subordinate CA", make_authority("Root"))
    wrong = make_authority("Root")
    store = MemoryStore()
    publish(store, make_crl(subordinate, 1), subordinate.der)
    client = make_client(subordinate, 5)
    assert verdict(store, client) is RevocationStatus.NOT_REVOKED
    publish(store, make_crl(wrong, 1), wrong.der)
    assert verdict(store, client) is UndeterminedCause.UNKNOWN_ISSUER
    remove_issuer(store, fingerprint(wrong.der), now=NOW)
    assert verdict(store, client) is RevocationStatus.NOT_REVOKED


# ---- names and settings -----------------------------------------------------------------


def test_an_issuer_is_named_by_the_beginning_of_its_fingerprint() -> None:
    """At least eight digits, in whatever case, as long as no other begins so."""
    known = ["0123456789ab" + "0" * 52, "0123456789ac" + "0" * 52, "f" * 64]
    assert find_fingerprint("FF:FF:FF:FF", known) == "f" * 64
    assert find_fingerprint("0123456789ab", known) == known[0]
    for text, message in (
        ("0123456789", "several issuers begin so"),
        ("abcdefab", "no such issuer"),
        ("f" * 7, "at least 8 hex digits"),
        ("CN=Example", "at least 8 hex digits"),
        ("f" * 65, "at least 8 hex digits"),
    ):
        with pytest.raises(ValueError, match=message):
            find_fingerprint(text, known)


def test_settings_are_kept_by_later_publications(store: MemoryStore) -> None:
    """Both are the operator's; setting one again changes nothing."""
    name = fingerprint(CA.der)
    assert set_issuer(store, name[:12], is_anchor=True) == 3
    assert set_issuer(store, name, is_anchor=True) == 3
    assert set_issuer(store, name, publishes_no_crl=True) == 4
    publish(store, make_crl(CA, 2), BOTH, now=NOW + DAY)
    record = catalog_of(store).issuer(name)
    assert (record.is_anchor, record.publishes_no_crl) == (True, True)
    assert (record.added_at, record.added_by) == (NOW, "bundle.pem")
    set_issuer(store, name, is_anchor=False)
    assert not catalog_of(store).issuer(name).is_anchor


def without_records(store: MemoryStore) -> None:
    """Leave of the issuers their certificates only, as a version before did."""
    change_catalog(
        store,
        "a test",
        lambda found: replace(
            found, issuers=tuple(IssuerRecord(one.certificate) for one in found.issuers)
        ),
        Action(action="test"),
    )


def test_what_an_older_version_did_not_note_is_found_out(store: MemoryStore) -> None:
    """
    Whether an issuer is self-signed, for each that a publication needs; where it came
    from, only for those that are given, since nobody knows it of the others.
    """
    without_records(store)
    assert {one.self_signed for one in catalog_of(store).issuers} == {None}
    publish(store, make_crl(OTHER_CA, 2), OTHER_CA.der, issuers_from="other.pem")
    found = {one.certificate: one for one in catalog_of(store).issuers}
    assert {der: one.self_signed for der, one in found.items()} == {
        CA.der: None,
        OTHER_CA.der: True,
    }
    assert found[OTHER_CA.der].added_by == "other.pem"
    publish(store, make_crl(CA, 2), BOTH, issuers_from="both.pem")
    found = {one.certificate: one for one in catalog_of(store).issuers}
    assert [found[der].self_signed for der in (CA.der, OTHER_CA.der)] == [True, True]
    # All that is given is trusted already, so that only what the CRL needs was read.
    assert found[CA.der].added_by == "both.pem"
    assert withdraw_issuers(store, [OTHER_CA.der], added_by="other.pem", now=NOW) == ()


# ---- what follows a place -----------------------------------------------------------------


def test_what_is_gone_from_its_place_is_withdrawn(store: MemoryStore) -> None:
    """It is trusted again, with the very same CRL, as soon as it is brought again."""
    assert withdraw_issuers(store, BOTH, added_by="bundle.pem") == ()
    gone = withdraw_issuers(store, [OTHER_CA.der], added_by="bundle.pem", now=NOW)
    assert gone == (fingerprint(CA.der),)
    assert verdict(store) is UndeterminedCause.UNKNOWN_ISSUER
    assert not catalog_of(store).removed_issuers
    assert publish(store, make_crl(CA, 1), BOTH).published
    assert verdict(store) is RevocationStatus.NOT_REVOKED


@pytest.mark.parametrize(
    ("present", "added_by"),
    [
        ([], "bundle.pem"),
        ([make_authority("New CA").der], "bundle.pem"),
        ([OTHER_CA.der], "another.pem"),
    ],
    ids=["nothing is left", "one is not published yet", "another place"],
)
def test_nothing_is_withdrawn_where_that_may_be_a_mistake(
    store: MemoryStore, present: list[bytes], added_by: str
) -> None:
    """An empty place, one whose issuers never arrived, and what others brought."""
    before = catalog_of(store)
    assert withdraw_issuers(store, present, added_by=added_by, now=NOW) == ()
    assert catalog_of(store) == before


def test_nothing_is_read_where_nothing_can_be_gone(store: MemoryStore) -> None:
    """
    Where all that is trusted is there, and where the same was found before. The functions
    ask after every event, in a store of thousands of issuers too.
    """
    third = make_authority("Third CA")
    publish(store, make_crl(third, 1), third.der, issuers_from="another.pem")
    read: list[str] = []

    def copy() -> MemoryStore:
        """The same store as another process opens it."""
        other = MemoryStore()
        for name in store.names(""):
            other.write(name, store.read(name).body)
        other.before = lambda _, name: read.append(name)
        return other

    for present, expected in (
        ([*[CA.der, OTHER_CA.der], third.der], ["catalog.json"]),
        ([CA.der, OTHER_CA.der], None),
        ([CA.der, OTHER_CA.der], ["catalog.json"]),
    ):
        read.clear()
        assert withdraw_issuers(copy(), present, added_by="bundle.pem", now=NOW) == ()
        if expected is None:
            assert any(name.startswith("nodes/") for name in read)
        else:
            assert read == expected
    # Another place of what is present is looked at again.
    assert withdraw_issuers(copy(), [OTHER_CA.der], added_by="bundle.pem", now=NOW) == (
        fingerprint(CA.der),
    )


def test_a_renewed_certificate_takes_the_place_of_the_old_one(store: MemoryStore) -> None:
    """The scopes of their one key stay."""
    renewed = type(CA).create("Example CA", private_key=CA.private_key, now=NOW)
    present = [renewed.der, OTHER_CA.der]
    publish(store, make_crl(OTHER_CA, 2), present, issuers_from="bundle.pem")
    assert withdraw_issuers(store, present, added_by="bundle.pem", now=NOW) == (
        fingerprint(CA.der),
    )
    assert verdict(store) is RevocationStatus.NOT_REVOKED
