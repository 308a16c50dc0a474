"""What is found above the issuer of a certificate."""

from __future__ import annotations

import pytest

from crlcheck.demo.encoding import encode_extension
from crlcheck.errors import StoreUnavailableError
from crlcheck.image.index import RevocationIndex
from crlcheck.publisher.publish import publish_crl
from crlcheck.types import RevocationStatus, UndeterminedCause
from support.checking import make_checker, verdict
from support.issuers import SERIAL, certify, key_id_of, world
from support.pki import DAY, NOW, make_authority, make_client, make_crl
from support.publishing import catalog_of
from support.values import der

REVOKED = RevocationStatus.REVOKED
NOT_REVOKED = RevocationStatus.NOT_REVOKED

ROOT = make_authority("Root")


def test_a_namesake_above_says_nothing_of_an_issuer() -> None:
    """
    An issuer that either of two keys of a name may have certified is not checked by
    what becomes of one of them.
    """
    one, other = certify("Top", by=None), certify("Top", by=ROOT, key_id=key_id_of(ROOT))
    issuing = certify("Issuing", by=one)
    issuers = [ROOT, one, other, issuing]
    store = world(
        (ROOT, [other.certificate.serial_number]), (one, []), (issuing, []), issuers=issuers
    )
    result = make_checker(store).check(make_client(issuing, 5))
    assert verdict(result) == (
        RevocationStatus.UNDETERMINED,
        UndeterminedCause.AMBIGUOUS_ISSUER,
    )


@pytest.mark.parametrize("revoked", [31, 32, None])
def test_each_of_several_keys_that_may_have_certified_an_issuer_must_be_in_order(
    revoked: int | None,
) -> None:
    """
    Two keys of one name, tied by their issuer: what either of them issued is not
    cleared while one is revoked.
    """
    one, other = (
        certify("Top", by=ROOT, key_id=key_id_of(ROOT), serial_number=number) for number in (31, 32)
    )
    issuing = certify("Issuing", by=one)
    by_root = (ROOT, [] if revoked is None else [revoked])
    issuers = [ROOT, one, other, issuing]
    store = world(by_root, (one, []), (other, []), (issuing, []), issuers=issuers)
    result = make_checker(store).check(make_client(issuing, 5))
    assert result.status is (NOT_REVOKED if revoked is None else REVOKED)


def test_an_issuer_in_doubt_is_not_cleared_by_what_is_above_it() -> None:
    """
    Neither of the keys that may have certified it has a CRL, and both are in order.
    """
    one, other = (
        certify("Top", by=ROOT, key_id=key_id_of(ROOT), serial_number=number) for number in (31, 32)
    )
    issuing = certify("Issuing", by=one)
    store = world((ROOT, []), (issuing, []), issuers=[ROOT, one, other, issuing])
    result = make_checker(store).check(make_client(issuing, 5))
    assert verdict(result) == (RevocationStatus.UNDETERMINED, UndeterminedCause.OUT_OF_SCOPE)


@pytest.mark.parametrize("revoked", [True, False])
def test_the_issuer_of_a_certificate_of_a_partition_is_checked(revoked: bool) -> None:
    """
    As that of one that a CRL for all of them covers.
    """
    point = "http://crl.test/1"
    issuing = certify("Issuing", by=ROOT, key_id=key_id_of(ROOT))
    store = world((ROOT, [SERIAL] if revoked else []), issuers=[ROOT, issuing])
    scope = der(0x30, der(0xA0, der(0xA0, der(0x86, point.encode()))))
    crl = make_crl(issuing, 1, extensions=[encode_extension("2.5.29.28", scope, critical=True)])
    publish_crl(crl, store, issuer=[ROOT.der, issuing.der], now=NOW)
    client = issuing.issue(
        "client", distribution_points=[point], not_before=NOW - DAY, not_after=NOW + DAY
    )
    result = make_checker(store).check(client.der)
    assert result.status is (REVOKED if revoked else NOT_REVOKED)


def test_what_is_above_is_looked_up_once_for_a_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    However many clients there are, and the first of them itself.
    """
    middle = make_authority("Middle", ROOT)
    low = make_authority("Low", middle)
    store = world((ROOT, []), (middle, []), (low, []), issuers=[ROOT, middle, low])
    found: list[int] = []
    find = RevocationIndex.find

    def counted(index: RevocationIndex, serial_number: int, issuer: bytes | None = None) -> object:
        found.append(serial_number)
        return find(index, serial_number, issuer)

    monkeypatch.setattr(RevocationIndex, "find", counted)
    clients = [make_client(low, serial) for serial in range(1, 21)]
    results = make_checker(store).check_many(clients)
    assert {result.status for result in results} == {NOT_REVOKED}
    above = [one.certificate.serial_number for one in (middle, low)]
    assert sorted(found) == sorted([1, *above])


def test_a_crl_above_that_could_not_be_loaded_is_told_by_the_status() -> None:
    """
    With the error of the check that tried; a status loads nothing by itself.
    """
    low = make_authority("Low", ROOT)
    store = world((ROOT, []), (low, []), issuers=[ROOT, low])
    (name,) = (
        image.name
        for image in catalog_of(store).images()
        if image.metadata.issuer == ROOT.certificate.subject.public_bytes()
    )

    def fail(operation: str, what: str) -> None:
        if (operation, what) == ("load", name):
            raise StoreUnavailableError("no answer")

    checker = make_checker(store)
    checker.refresh()
    store.before = fail
    result = checker.check(make_client(low, 5))
    assert result.cause is UndeterminedCause.STORE_UNAVAILABLE
    assert "the image of CRL 1 of CN=Root cannot be loaded" in result.detail
    details = [problem.detail for problem in checker.status().problems]
    assert any("cannot be loaded: no answer" in detail for detail in details), details


def test_two_authorities_of_one_name_clear_their_clients_each() -> None:
    """
    The status asks for certificates of each key, not of a name that two keys have.
    """
    one, other = make_authority("Twin", ROOT), make_authority("Twin", make_authority("Other"))
    store = world((one, []), (other, []), issuers=[one, other])
    checker = make_checker(store)
    for authority in (one, other):
        assert checker.check(make_client(authority, 5)).status is NOT_REVOKED
    status = checker.status()
    assert status.answering
    assert status.problems == ()
