"""
Compare the scopes of one issuer: which CRL stands in for another, and which makes it stale.

Of several CRLs that cover a certificate, the newest by thisUpdate decides whether the answer
is stale (docs/reference/supported-crls.md, "Time"). So after a rollover the last CRL of the old key
may do either of two things once it is past its nextUpdate:

1. It is older than the CRL of the new key. That one replaces it: no certificate is stale for
   it, what it revokes for good stays revoked, and its holds have ended.
2. It is newer. Then it makes the certificates stale that both cover.

The CRL of a scope is here its later one: the delta CRL where there is one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from functools import cached_property

from crlcheck.catalog.catalog import Catalog, ScopeRecord
from crlcheck.catalog.issuer_keys import IssuerKeys, TrustedIssuer
from crlcheck.encoding.names import name_key, names_match
from crlcheck.types import CertificateFacts, ImageMetadata
from crlcheck.x509.certificates import published_certificate
from crlcheck.x509.distribution_points import read_issuing_distribution_point


def issuer_keys_of(catalog: Catalog, given: Sequence[CertificateFacts] = ()) -> IssuerKeys:
    """
    Return the keys of all trusted issuers of a catalog: one of another name may tie two keys.

    Those that are *given* were parsed already.
    """
    return IssuerKeys(_trusted(catalog, given), (), None, trust_verifiers=False)


def _trusted(catalog: Catalog, given: Sequence[CertificateFacts]) -> Iterator[TrustedIssuer]:
    facts = {one.der: one for one in given}
    for issuer in catalog.issuers:
        der = issuer.certificate
        certificate = facts.get(der) or published_certificate(der)
        if certificate is not None:
            yield TrustedIssuer(certificate, issuer.self_signed)


def replaces(newer: ImageMetadata, older: ImageMetadata, keys: IssuerKeys, now: datetime) -> bool:
    """Whether *newer* is in its time, newer than *older*, and covers all that *older* does."""
    return (
        newer.this_update > older.this_update
        and not newer.is_past(now)
        and _covers_all_of(newer, older)
        and _are_of_one_issuer(newer, older, keys)
    )


def makes_stale(
    newer: ImageMetadata, older: ImageMetadata, keys: IssuerKeys, now: datetime
) -> bool:
    """Whether *newer* has expired and makes certificates stale that *older* covers too."""
    points = {newer.issuing_distribution_point, older.issuing_distribution_point}
    return (
        newer.this_update > older.this_update
        and newer.is_past(now)
        and not older.is_past(now)
        and (len(points) == 1 or None in points)
        and _are_of_one_issuer(newer, older, keys)
    )


class Neighbourhood:
    """
    Finds the other scopes of an issuer that can stand in for a scope, or make it stale.

    *given* are issuers that were parsed already.
    """

    def __init__(self, catalog: Catalog, given: Sequence[CertificateFacts] = ()) -> None:
        self._catalog = catalog
        self._given = given
        self._by_point: dict[bytes, dict[bytes | None, list[ScopeRecord]]] = {}
        for record in catalog.scopes.values():
            crl = record.base.metadata
            points = self._by_point.setdefault(name_key(crl.issuer), {})
            points.setdefault(crl.issuing_distribution_point, []).append(record)

    @cached_property
    def keys(self) -> IssuerKeys:
        """The keys of all trusted issuers of the catalog."""
        return issuer_keys_of(self._catalog, self._given)

    def beside(self, record: ScopeRecord) -> list[ScopeRecord]:
        """
        Return the other scopes of the same issuer.

        Those of another issuingDistributionPoint are left out where both have one, because
        neither concerns the other.
        """
        crl = record.base.metadata
        points = self._by_point.get(name_key(crl.issuer), {})
        own = crl.issuing_distribution_point
        near = points if own is None else dict.fromkeys((None, own))
        found = (other for point in near for other in points.get(point, ()))
        return [other for other in found if other.key != record.key]


class Neighbours:
    """
    The later CRLs of the scopes of one set, by scope, and how they stand to each other at
    one time. They are arranged so that partitions are not compared with each other.
    """

    def __init__(self, crls: Mapping[str, ImageMetadata], keys: IssuerKeys, now: datetime) -> None:
        self._keys = keys
        self._now = now
        self._current: _ByPoint = {}
        self._expired: _ByPoint = {}
        for scope, crl in crls.items():
            by_point = self._expired if crl.is_past(now) else self._current
            points = by_point.setdefault(crl.issuer_hash, {})
            points.setdefault(crl.issuing_distribution_point, []).append((scope, crl))

    def replacement_of(self, crl: ImageMetadata) -> tuple[str, ImageMetadata] | None:
        """Return the newest CRL that replaces *crl*, with its scope; None without any."""
        points = self._current.get(crl.issuer_hash, {})
        found = [
            (scope, other)
            for point in dict.fromkeys((None, crl.issuing_distribution_point))
            for scope, other in points.get(point, ())
            if replaces(other, crl, self._keys, self._now)
        ]
        return max(found, key=lambda one: one[1].this_update, default=None)

    def made_stale_by(self, crl: ImageMetadata) -> tuple[str, ImageMetadata] | None:
        """Return the newest expired CRL that makes the certificates of *crl* stale, if any."""
        points = self._expired.get(crl.issuer_hash, {})
        own = crl.issuing_distribution_point
        found = [
            (scope, other)
            for point in (points if own is None else (None, own))
            for scope, other in points.get(point, ())
            if makes_stale(other, crl, self._keys, self._now)
        ]
        return max(found, key=lambda one: one[1].this_update, default=None)


_ByPoint = dict[bytes, dict[bytes | None, list[tuple[str, ImageMetadata]]]]
"""CRLs with their scopes, by the hash of the issuer's name and issuingDistributionPoint."""


def _covers_all_of(one: ImageMetadata, other: ImageMetadata) -> bool:
    """Whether *one* covers all certificates that *other* does, by their extensions."""
    der = other.issuing_distribution_point
    if one.issuing_distribution_point == der:
        return True
    if one.issuing_distribution_point is not None or der is None:
        return False
    # Without the extension it covers all certificates of its own issuer, but no others.
    idp = read_issuing_distribution_point(der)
    return idp is not None and not (idp.indirect_crl or idp.only_contains_attribute_certs)


def _are_of_one_issuer(one: ImageMetadata, other: ImageMetadata, keys: IssuerKeys) -> bool:
    if one.verifier_key_hash is None or other.verifier_key_hash is None:
        return False
    if not names_match(one.issuer, other.issuer):
        return False
    if one.verifier_key_hash == other.verifier_key_hash:
        return True
    mine = keys.key(one.issuer, one.verifier_key_hash)
    theirs = keys.key(other.issuer, other.verifier_key_hash)
    return mine is not None and theirs is not None and mine.is_authoritative_for(theirs)


def replaced_text(replacement: str) -> str:
    """Return what it means that an expired CRL is replaced by *replacement*, and what to do."""
    return (
        f"has expired and is replaced by the newer {replacement}: what it revokes for good stays "
        "revoked, and its holds have ended; if no CRL of its scope is to come any more, and the "
        "newer one lists all that it revokes, crlcheck scope remove takes it out"
    )
