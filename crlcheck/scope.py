"""
Which of the CRLs held speaks for a certificate (RFC 5280 6.3.3). Pure: no
input, output or clock.

An issuer is a name *and* a key. A CRL speaks for a certificate where both were
signed by the same key under the same name; a namesake's CRL never does.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from crlcheck._metadata import ImageMetadata
from crlcheck._name import name_hash
from crlcheck.types import CertificateFacts, UndeterminedCause


@dataclass(frozen=True, slots=True)
class Coverage:
    """
    Which CRLs speak for a certificate, or why none does.

    ``crls`` are positions in the sequence the table was made from, and
    ``cause`` is set exactly when there are none. ``num_inapplicable`` counts
    the CRLs of the certificate's issuer that do not speak for it.
    """

    crls: tuple[int, ...] = ()
    cause: UndeterminedCause | None = None
    num_inapplicable: int = 0


_UNKNOWN_ISSUER = Coverage(cause=UndeterminedCause.UNKNOWN_ISSUER)


def names_match(name: bytes, other: bytes) -> bool:
    """Whether two DER Names are the same name (RFC 5280 7.1): as octets, or in canonical form."""
    return name == other or _name_key(name) == _name_key(other)


def public_key_hash(certificate: CertificateFacts) -> bytes:
    """Return the SHA-256 of the certificate's subjectPublicKeyInfo, as images name a key."""
    return hashlib.sha256(certificate.subject_public_key_info).digest()


def is_same_entity(certificate: CertificateFacts, other: CertificateFacts) -> bool:
    """Whether both certify one key for one name, which is what makes an issuer or an anchor."""
    return certificate.subject_public_key_info == other.subject_public_key_info and names_match(
        certificate.subject, other.subject
    )


def is_self_signed(certificate: CertificateFacts) -> bool:
    """
    Whether a certificate names itself as its issuer, by name and by key.

    RFC 5280 4.2.1.1: only a self-signed one may do without an authority key id,
    so a self-issued certificate of a key rollover is not taken for one.
    """
    key_id = certificate.authority_key_id
    return (key_id is None or key_id == certificate.subject_key_id) and names_match(
        certificate.subject, certificate.issuer
    )


class ScopeTable:
    """
    The CRLs held and the issuers known, arranged so that one certificate is
    matched by two dictionary lookups. Immutable, so threads may share it.

    *issuers* are the trusted issuer certificates. With *trust_verifiers* the
    key that verified a CRL counts as known too: for images handed over without
    the certificates of their issuers.

    CRLs that nobody verified, delta CRLs and CRLs with an
    issuingDistributionPoint speak for no certificate here; they take nothing
    away from what the others say.
    """

    __slots__ = ("_by_exact_name", "_by_name")

    def __init__(
        self,
        crls: Sequence[ImageMetadata],
        issuers: Iterable[CertificateFacts],
        *,
        trust_verifiers: bool = False,
    ) -> None:
        keys: dict[bytes, dict[bytes, _Key]] = {}
        exact_names: set[bytes] = set()
        for certificate in issuers:
            exact_names.add(certificate.subject)
            named = keys.setdefault(_name_key(certificate.subject), {})
            key = named.setdefault(public_key_hash(certificate), _Key())
            key.ids.add(certificate.subject_key_id or _derived_key_id(certificate))
        for position, metadata in enumerate(crls):
            if metadata.verifier_key_hash is None:
                continue
            exact_names.add(metadata.issuer)
            named = keys.setdefault(_name_key(metadata.issuer), {})
            if trust_verifiers:
                named.setdefault(metadata.verifier_key_hash, _Key())
            if metadata.verifier_key_hash in named:
                named[metadata.verifier_key_hash].add_crl(position, metadata)
        self._by_name = {name: _Issuer(named) for name, named in keys.items()}
        self._by_exact_name = {name: self._by_name[_name_key(name)] for name in exact_names}

    def coverage(
        self, certificate: CertificateFacts, issuer: CertificateFacts | None = None
    ) -> Coverage:
        """
        Return which CRLs speak for *certificate*.

        *issuer* is the certificate that is known to have issued it, where the
        caller has the path; without it the issuer's key is found by the
        certificate's authority key id, or is the only one of that name.
        """
        known = self._by_exact_name.get(certificate.issuer)
        if known is None:
            known = self._by_name.get(_name_key(certificate.issuer))
            if known is None:
                return _UNKNOWN_ISSUER
        if issuer is not None:
            return known.by_key.get(public_key_hash(issuer), _UNKNOWN_ISSUER)
        return known.by_key_id.get(certificate.authority_key_id, _UNKNOWN_ISSUER)


@dataclass(slots=True)
class _Key:
    """One key under one name: the ids certificates may call it by, and its CRLs."""

    ids: set[bytes] = field(default_factory=set)
    crls: list[int] = field(default_factory=list)
    num_inapplicable: int = 0

    def add_crl(self, position: int, metadata: ImageMetadata) -> None:
        # A CRL states the id of the key that signed it (RFC 5280 5.2.1): as
        # good as the verifying certificate's own, and all there is where an
        # image stands alone and that certificate has none.
        for key_id in (metadata.verifier_subject_key_id, metadata.authority_key_id):
            if key_id is not None:
                self.ids.add(key_id)
        if metadata.is_delta or metadata.issuing_distribution_point is not None:
            self.num_inapplicable += 1
        else:
            self.crls.append(position)

    def coverage(self) -> Coverage:
        if self.crls:
            return Coverage(tuple(self.crls), num_inapplicable=self.num_inapplicable)
        return Coverage(
            cause=UndeterminedCause.OUT_OF_SCOPE, num_inapplicable=self.num_inapplicable
        )


class _Issuer:
    """
    What is known under one name, by key hash and by authority key id.

    The entry for the id None answers for certificates without one: the only
    key of the name, or AMBIGUOUS_ISSUER.
    """

    __slots__ = ("by_key", "by_key_id")

    def __init__(self, keys: dict[bytes, _Key]) -> None:
        self.by_key = {key_hash: key.coverage() for key_hash, key in keys.items()}
        carriers: dict[bytes | None, list[bytes]] = {None: list(keys)} if keys else {}
        for key_hash, key in keys.items():
            for key_id in key.ids:
                carriers.setdefault(key_id, []).append(key_hash)
        self.by_key_id = {key_id: self._one_of(found) for key_id, found in carriers.items()}

    def _one_of(self, key_hashes: list[bytes]) -> Coverage:
        if len(key_hashes) == 1:
            return self.by_key[key_hashes[0]]
        return Coverage(cause=UndeterminedCause.AMBIGUOUS_ISSUER)


@lru_cache(maxsize=4096)
def _name_key(name: bytes) -> bytes:
    """Return what two Names share exactly when they match (RFC 5280 7.1)."""
    try:
        return name_hash(name)
    except ValueError:
        # A Name without a canonical form matches itself only, octet for octet.
        return b"octets:" + name


def _derived_key_id(certificate: CertificateFacts) -> bytes:
    """
    Return the key id of RFC 5280 4.2.1.2 method (1): SHA-1 of the public key bits.

    It stands in where an issuer certificate states no id: other software then
    writes this one into the certificates it issues. It is a hash of the key, so
    it can name no other key; an id made in another way leaves the issuer unknown.
    """
    # Bounds need no check: the certificate parser has read this structure.
    octets = certificate.subject_public_key_info
    start, _ = _contents(octets, 0)
    _, algorithm_end = _contents(octets, start)
    key_start, key_end = _contents(octets, algorithm_end)
    # The first octet of a BIT STRING counts unused bits and is no part of the key.
    return hashlib.sha1(octets[key_start + 1 : key_end], usedforsecurity=False).digest()


def _contents(octets: bytes, offset: int) -> tuple[int, int]:
    """Return where the contents of the DER element at *offset* start and end."""
    first = octets[offset + 1]
    start = offset + 2
    if first < 0x80:
        return start, start + first
    start += first & 0x7F
    return start, start + int.from_bytes(octets[offset + 2 : start], "big")
