"""How the signer of a CRL is checked where it is not the certificate's issuer's own key."""

from __future__ import annotations

import pytest

from crlcheck.demo.pki import CertificateAuthority
from crlcheck.types import Policy, RevocationStatus, UndeterminedCause
from support.checking import make_checker, verdict
from support.issuers import world
from support.pki import NOW, make_authority, make_client

NOT_REVOKED = RevocationStatus.NOT_REVOKED, None
SIGNER_REVOKED = RevocationStatus.UNDETERMINED, UndeterminedCause.CRL_SIGNER_REVOKED

ROOT = make_authority("Root")
SUB = make_authority("Sub", ROOT)
ISSUING = make_authority("Issuing", SUB)
CRL_KEY = make_authority("Issuing", SUB)


def serial(authority: CertificateAuthority) -> int:
    """The serial number of an authority's certificate."""
    return authority.certificate.serial_number


@pytest.mark.parametrize(
    ("depth", "expected"), [(0, NOT_REVOKED), (1, SIGNER_REVOKED), (None, SIGNER_REVOKED)]
)
def test_a_signer_is_checked_one_step_further_than_the_certificate(
    depth: int | None, expected: object
) -> None:
    """
    With a path depth of 0 that is the signer's own certificate, which its issuer's
    CRL covers; with 1 that issuer too.
    """
    store = world(
        (ROOT, [serial(SUB)]), (SUB, []), (CRL_KEY, []), issuers=[ROOT, SUB, ISSUING, CRL_KEY]
    )
    client = make_client(ISSUING, 7)
    result = make_checker(store, policy=Policy(path_depth=depth)).check(client)
    if depth is None:  # the path itself leads there
        assert result.status is RevocationStatus.REVOKED
    else:
        assert verdict(result) == expected
    revoked = world((SUB, [serial(CRL_KEY)]), (CRL_KEY, []), issuers=[SUB, ISSUING, CRL_KEY])
    result = make_checker(revoked, policy=Policy(path_depth=depth)).check(client)
    assert verdict(result) == SIGNER_REVOKED


@pytest.mark.parametrize(
    ("revoked", "expected"), [(31, SIGNER_REVOKED), (32, NOT_REVOKED), (99, NOT_REVOKED)]
)
def test_only_certificates_for_signing_crls_count_for_a_signer(
    revoked: int, expected: object
) -> None:
    """
    Another certificate of its key, without cRLSign, does not stand in for the one
    that is revoked, nor does it matter that it is.
    """
    signs, other = (
        CertificateAuthority.create(
            "Issuing",
            parent=SUB,
            private_key=CRL_KEY.private_key,
            may_sign_crls=may_sign,
            serial_number=number,
            now=NOW,
        )
        for may_sign, number in ((True, 31), (False, 32))
    )
    store = world((SUB, [revoked]), (signs, []), issuers=[SUB, ISSUING, signs, other])
    assert verdict(make_checker(store).check(make_client(ISSUING, 7))) == expected


def test_each_signer_is_judged_for_itself() -> None:
    """
    What was found of one signer is not said of another in the same batch.
    """
    another = make_authority("Another", SUB)
    another_key = make_authority("Another", SUB)
    store = world(
        (SUB, [serial(CRL_KEY)]),
        (CRL_KEY, []),
        (another_key, []),
        issuers=[SUB, ISSUING, CRL_KEY, another, another_key],
    )
    clients = [make_client(ISSUING, 7), make_client(another, 7), make_client(ISSUING, 8)]
    results = make_checker(store).check_many(clients)
    assert [verdict(result) for result in results] == [SIGNER_REVOKED, NOT_REVOKED, SIGNER_REVOKED]


@pytest.mark.parametrize("revoked", [True, False])
def test_an_issuer_need_not_be_for_signing_crls(revoked: bool) -> None:
    """
    Its certificate is checked as any other above a client's.
    """
    issuing = CertificateAuthority.create("Issuing", parent=SUB, may_sign_crls=False, now=NOW)
    by_sub = (SUB, [serial(issuing)] if revoked else [])
    store = world(by_sub, (CRL_KEY, []), issuers=[SUB, issuing, CRL_KEY])
    result = make_checker(store).check(make_client(issuing, 7))
    expected = RevocationStatus.REVOKED if revoked else RevocationStatus.NOT_REVOKED
    assert result.status is expected
