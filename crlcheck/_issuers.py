"""
The keys of trusted issuers: what certificates call them, which of them are tied,
and which certificates lead on from them.

An issuer is a name *and* a key. A certificate authority may have several keys
under one name: after a rollover, or a key of its own for CRLs. Two keys are
**tied** when trusted certificates of one subject carry them and either key
certifies the other or one issuer key certifies both; a namesake's key is not.

Who certified a trusted certificate is taken from its authority key id: the
operator vouches for it, so its signature needs no second look.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence

from crlcheck._metadata import ImageMetadata
from crlcheck._name import name_key
from crlcheck.types import CertificateFacts


def public_key_hash(certificate: CertificateFacts) -> bytes:
    """Return the SHA-256 of the certificate's subjectPublicKeyInfo, as images name a key."""
    return hashlib.sha256(certificate.subject_public_key_info).digest()


def is_self_signed(certificate: CertificateFacts) -> bool:
    """
    Whether a certificate names itself as its issuer, by name and by key.

    RFC 5280 4.2.1.1: only a self-signed one may do without an authority key id,
    so a self-issued certificate of a key rollover is not taken for one.
    """
    key_id = certificate.authority_key_id
    return (key_id is None or key_id == certificate.subject_key_id) and (
        certificate.subject == certificate.issuer
        or name_key(certificate.subject) == name_key(certificate.issuer)
    )


class IssuerKey:
    """
    One key under one name.

    ``ids`` are what certificates may call it by, ``certificates`` the trusted
    ones that carry it, and ``tied`` the keys tied to it. ``ends_path`` tells
    that a path needs not be followed above it: it is an anchor's, or a trusted
    certificate's whose own issuer is not among the trusted ones.
    """

    __slots__ = ("certificates", "certifiers", "ends_path", "ids", "is_anchor", "key_hash", "tied")

    def __init__(self, key_hash: bytes) -> None:
        self.key_hash = key_hash
        self.ids: set[bytes] = set()
        self.certificates: list[CertificateFacts] = []
        self.certifiers: set[IssuerKey] = set()
        self.tied: set[IssuerKey] = set()
        self.is_anchor = False
        self.ends_path = True

    def speaks_for(self, other: IssuerKey) -> bool:
        """Whether a CRL of this key speaks for what the other one issued."""
        return self is other or other in self.tied


class IssuerKeys:
    """
    All keys known, by name and by key id. Immutable once made.

    *issuers* are the trusted certificates. With *trust_verifiers* the keys that
    verified *crls* are known too. *anchors* end a path; None stands for the
    self-signed among *issuers*.
    """

    __slots__ = ("_by_id", "_by_name")

    def __init__(
        self,
        issuers: Iterable[CertificateFacts],
        crls: Iterable[ImageMetadata],
        anchors: Sequence[CertificateFacts] | None,
        *,
        trust_verifiers: bool,
    ) -> None:
        self._by_name: dict[bytes, dict[bytes, IssuerKey]] = {}
        trusted = list({certificate.der or id(certificate): certificate for certificate in issuers}
                       .values())  # fmt: skip
        for certificate in trusted:
            key = self._add(name_key(certificate.subject), public_key_hash(certificate))
            key.certificates.append(certificate)
            key.ids.add(certificate.subject_key_id or derived_key_id(certificate))
        for metadata in crls:
            self._add_verifier(metadata, trust_verifiers)
        self._by_id = {name: _by_key_id(keys.values()) for name, keys in self._by_name.items()}
        if anchors is None:
            anchors = [certificate for certificate in trusted if is_self_signed(certificate)]
        for anchor in anchors:
            self.key(anchor.subject, public_key_hash(anchor)).is_anchor = True  # type: ignore[union-attr]
        self._tie()

    def _add(self, name: bytes, key_hash: bytes) -> IssuerKey:
        keys = self._by_name.setdefault(name, {})
        return keys.get(key_hash) or keys.setdefault(key_hash, IssuerKey(key_hash))

    def _add_verifier(self, metadata: ImageMetadata, trust_verifiers: bool) -> None:
        if metadata.verifier_key_hash is None:
            return
        if trust_verifiers:
            key = self._add(name_key(metadata.issuer), metadata.verifier_key_hash)
        else:
            known = self.key(metadata.issuer, metadata.verifier_key_hash)
            if known is None:
                return
            key = known
        # A CRL states the id of the key that signed it (RFC 5280 5.2.1): as
        # good as the verifying certificate's own, and all there is where an
        # image stands alone and that certificate has none.
        for key_id in (metadata.verifier_subject_key_id, metadata.authority_key_id):
            if key_id is not None:
                key.ids.add(key_id)

    def _tie(self) -> None:
        for keys in self._by_name.values():
            for key in keys.values():
                self._find_certifiers(key)
            for key in keys.values():
                for other in keys.values():
                    if key is not other and (
                        other in key.certifiers
                        or key in other.certifiers
                        or not key.certifiers.isdisjoint(other.certifiers)
                    ):
                        key.tied.add(other)

    def _find_certifiers(self, key: IssuerKey) -> None:
        key.ends_path = key.is_anchor or not key.certificates
        for certificate in key.certificates:
            if is_self_signed(certificate):
                key.certifiers.add(key)
                continue
            issuers = self.of(certificate)
            if len(issuers) == 1:
                key.certifiers.add(issuers[0])
            key.ends_path = key.ends_path or not issuers

    def unchecked(self) -> Iterator[CertificateFacts]:
        """Yield the trusted certificates that nothing can check: no anchors, of unknown issuers."""
        for keys in self._by_name.values():
            for key in keys.values():
                if not key.is_anchor:
                    yield from (one for one in key.certificates if not self.of(one))

    def key(self, name: bytes, key_hash: bytes) -> IssuerKey | None:
        """Return the key of *name* with that hash, where it is known."""
        return self._by_name.get(name_key(name), {}).get(key_hash)

    def named(self, name: bytes) -> Iterable[IssuerKey]:
        """Return all keys of *name*."""
        return self._by_name.get(name_key(name), {}).values()

    def of(
        self, certificate: CertificateFacts, issuer: CertificateFacts | None = None
    ) -> tuple[IssuerKey, ...]:
        """
        Return the keys that may have issued *certificate*; none if it is unknown.

        *issuer* is the certificate that is known to have issued it, where the
        caller has the path. Otherwise its authority key id tells the key;
        without one, it may be any of that name.
        """
        if issuer is not None:
            known = self.key(certificate.issuer, public_key_hash(issuer))
            return () if known is None else (known,)
        by_id = self._by_id.get(name_key(certificate.issuer), {})
        return by_id.get(certificate.authority_key_id, ())


def are_tied(keys: tuple[IssuerKey, ...]) -> bool:
    """Whether each of *keys* is tied to each other one."""
    return all(key.speaks_for(other) for key in keys for other in keys)


def _by_key_id(keys: Iterable[IssuerKey]) -> dict[bytes | None, tuple[IssuerKey, ...]]:
    found: dict[bytes | None, tuple[IssuerKey, ...]] = {None: tuple(keys)}
    for key in found[None]:
        for key_id in key.ids:
            found[key_id] = (*found.get(key_id, ()), key)
    return found


def derived_key_id(certificate: CertificateFacts) -> bytes:
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
