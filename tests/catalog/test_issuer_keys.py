"""What is known of the trusted keys by all that was given of each."""

from __future__ import annotations

import itertools

from crlcheck.catalog.issuer_keys import IssuerKey, IssuerKeys, TrustedIssuer, public_key_hash
from support.values import make_certificate

SELF_ISSUED = make_certificate(issuer="CA", subject="CA", key="CA key", authority_key_id=None)
"""It looks self-signed, and only its signature can tell that it is of a rollover."""


def keys_of(*issuers: TrustedIssuer) -> tuple[IssuerKeys, IssuerKey]:
    """All keys, and that of the certificate."""
    keys = IssuerKeys(issuers, (), None, trust_verifiers=False)
    key = keys.key(SELF_ISSUED.subject, public_key_hash(SELF_ISSUED))
    assert key is not None
    return keys, key


def test_what_is_known_of_a_certificate_is_not_lost_where_it_is_given_twice() -> None:
    """
    In whatever order: one that is known not to be self-signed does not become an anchor
    because somebody gives it again without saying so.
    """
    given = (
        TrustedIssuer(SELF_ISSUED, self_signed=False),
        TrustedIssuer(SELF_ISSUED, publishes_no_crl=True),
        TrustedIssuer(SELF_ISSUED),
    )
    for issuers in itertools.permutations(given):
        keys, key = keys_of(*issuers)
        assert not key.is_anchor
        assert key.publishes_no_crl
        assert len(key.certificates) == 1
        assert list(keys.unverified()) == []
    assert keys_of(TrustedIssuer(SELF_ISSUED))[1].is_anchor
    for issuers in itertools.permutations((*given, TrustedIssuer(SELF_ISSUED, is_anchor=True))):
        assert keys_of(*issuers)[1].is_anchor
