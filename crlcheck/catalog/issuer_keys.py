"""
Find the keys of trusted issuers by name and key id, and the keys that are tied.

An issuer is a name *and* a key. A certificate authority may have several keys under
one name: after a rollover, or because it signs CRLs with another key. Two keys are
**tied** when trusted certificates of one subject have them and either key certifies
the other or one issuer key certifies both. The key of another issuer with the same
name is not tied.

Which key certified a trusted certificate is taken from its names and key ids. Its
signature is not verified, because the operator vouches for it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

from crlcheck.encoding.names import directory_name, name_key, names_match
from crlcheck.types import CertificateFacts, ImageMetadata
from crlcheck.x509.key_ids import derived_key_ids


def public_key_hash(certificate: CertificateFacts) -> bytes:
    """Return the SHA-256 of the certificate's subjectPublicKeyInfo, as images name a key."""
    return hashlib.sha256(certificate.subject_public_key_info).digest()


def is_self_issued(certificate: CertificateFacts) -> bool:
    """Whether subject and issuer are one name (RFC 5280 3.2), whichever key signed it."""
    return names_match(certificate.subject, certificate.issuer)


def looks_self_signed(certificate: CertificateFacts) -> bool:
    """
    Whether a certificate names itself as its issuer, by name and by key id.

    RFC 5280 4.2.1.1: only a self-signed one may do without an authority key id.
    CAs leave it out of others too, so where the signature can be verified that
    decides instead.
    """
    key_id = certificate.authority_key_id
    return is_self_issued(certificate) and (
        key_id is None
        or key_id == certificate.subject_key_id
        or key_id in derived_key_ids(certificate.subject_public_key_info)
    )


@dataclass(frozen=True, slots=True)
class TrustedIssuer:
    """
    A trusted certificate, and what is known of it beside its contents.

    ``self_signed`` tells whether its own key signed it. It is None where that could
    not be verified, and then name and key ids decide. Paths end at a certificate that
    ``is_anchor``. ``publishes_no_crl`` tells that, as the operator says, there is no
    CRL of its key.
    """

    certificate: CertificateFacts
    self_signed: bool | None = None
    is_anchor: bool = False
    publishes_no_crl: bool = False

    def joined_with(self, other: TrustedIssuer) -> TrustedIssuer:
        """Return what is known of the certificate from both."""
        return TrustedIssuer(
            self.certificate,
            other.self_signed if self.self_signed is None else self.self_signed,
            self.is_anchor or other.is_anchor,
            self.publishes_no_crl or other.publishes_no_crl,
        )


class IssuerCertificate:
    """
    A trusted certificate of a key: ``issuers`` are the keys that may have issued it.

    ``ends_path`` tells that the operator trusted it directly, so that no CRL can say
    whether it is revoked: no other trusted key has its issuer's name, nor did one
    whose CRLs were removed with it. If ``issuers`` is empty otherwise, no trusted key
    fits.
    """

    __slots__ = ("ends_path", "facts", "is_self_signed", "is_verified", "issuers")

    # Both are set once all keys are known.
    ends_path: bool
    issuers: tuple[IssuerKey, ...]

    def __init__(self, trusted: TrustedIssuer) -> None:
        self.facts = trusted.certificate
        is_decided = trusted.self_signed is not None
        self.is_self_signed = (
            is_self_issued(self.facts) and bool(trusted.self_signed)
            if is_decided
            else looks_self_signed(self.facts)
        )
        self.is_verified = is_decided or not is_self_issued(self.facts)


class IssuerKey:
    """
    One key under one name.

    ``ids`` are the subject key ids of its certificates, ``certificates`` its trusted
    certificates, and ``tied`` the keys that are tied to it.
    """

    __slots__ = (
        "certificates",
        "certifiers",
        "crl_key_ids",
        "ids",
        "is_anchor",
        "key_hash",
        "publishes_no_crl",
        "tied",
    )

    def __init__(self, key_hash: bytes) -> None:
        self.key_hash = key_hash
        self.ids: set[bytes] = set()
        self.crl_key_ids: set[bytes] = set()
        """The authority key ids of its CRLs, if it has no certificate."""
        self.certificates: list[IssuerCertificate] = []
        self.certifiers: set[IssuerKey] = set()
        self.tied: set[IssuerKey] = set()
        self.is_anchor = False
        self.publishes_no_crl = False

    def is_authoritative_for(self, other: IssuerKey) -> bool:
        """Whether a CRL that this key signed covers what the other key issued."""
        return self is other or other in self.tied

    def aliases(self) -> Collection[bytes]:
        """Return the key ids that may mean this key although no certificate states them."""
        if not self.certificates:
            return self.crl_key_ids
        return derived_key_ids(self.certificates[0].facts.subject_public_key_info)

    def describe(self) -> str:
        """Return in words what distinguishes the key from others of its name."""
        stated = sorted(key_id.hex() for key_id in self.ids)
        ids = stated or [key_id.hex() for key_id in [*self.aliases()][:1]]
        words = f"key id {' or '.join(ids)}" if ids else f"key {self.key_hash.hex()}"
        serials = [f"{one.facts.serial_number:x}" for one in self.certificates]
        return f"{words} (certificate {', '.join(serials)})" if serials else words


class IssuerKeys:
    """
    All keys known, by name and by key id. Immutable once made.

    *issuers* are the trusted certificates, with or without what else is known of
    them. With *trust_verifiers* the keys that verified *crls* are known too. Paths end
    at *anchors*; None stands for the self-signed among *issuers*. *unpublished* are
    certificates of keys that publish no CRL. *removed* are the CRLs that were removed,
    perhaps together with their issuer.
    """

    __slots__ = (
        "_anchors_are_given",
        "_by_alias",
        "_by_id",
        "_by_name",
        "_certificates",
        "_removed",
    )

    def __init__(
        self,
        issuers: Iterable[CertificateFacts | TrustedIssuer],
        crls: Iterable[ImageMetadata],
        anchors: Sequence[CertificateFacts] | None,
        *,
        trust_verifiers: bool,
        unpublished: Iterable[CertificateFacts] = (),
        removed: Iterable[ImageMetadata] = (),
    ) -> None:
        self._removed: dict[bytes, list[ImageMetadata]] = {}
        for metadata in removed:
            self._removed.setdefault(name_key(metadata.issuer), []).append(metadata)
        self._by_name: dict[bytes, dict[bytes, IssuerKey]] = {}
        self._by_alias: dict[bytes, dict[bytes | None, tuple[IssuerKey, ...]]] = {}
        self._anchors_are_given = anchors is not None
        trusted = _distinct(issuers)
        self._certificates: dict[bytes | int, IssuerCertificate] = {}
        for identity, one in trusted.items():
            key = self._add(name_key(one.certificate.subject), public_key_hash(one.certificate))
            known = self._certificates[identity] = IssuerCertificate(one)
            key.certificates.append(known)
            key.is_anchor = key.is_anchor or one.is_anchor
            key.publishes_no_crl = key.publishes_no_crl or one.publishes_no_crl
            if one.certificate.subject_key_id is not None:
                key.ids.add(one.certificate.subject_key_id)
        if trust_verifiers:
            for metadata in crls:
                self._add_verifier(metadata)
        self._by_id = {
            name: _by_key_id((key, key.ids) for key in keys.values())
            for name, keys in self._by_name.items()
        }
        self._mark(anchors, unpublished)
        self._tie()

    def _add(self, name: bytes, key_hash: bytes) -> IssuerKey:
        keys = self._by_name.setdefault(name, {})
        return keys.get(key_hash) or keys.setdefault(key_hash, IssuerKey(key_hash))

    def _add_verifier(self, metadata: ImageMetadata) -> None:
        """
        Add the key that verified a CRL, unless there is a certificate of it.

        A key id in a CRL (RFC 5280 5.2.1) does not prove whose key it is. So it counts
        only where there is no certificate, and after the key ids that others state.
        """
        if metadata.verifier_key_hash is None:
            return
        key = self._add(name_key(metadata.issuer), metadata.verifier_key_hash)
        if key.certificates:
            return
        if metadata.verifier_subject_key_id is not None:
            key.ids.add(metadata.verifier_subject_key_id)
        if metadata.authority_key_id is not None:
            key.crl_key_ids.add(metadata.authority_key_id)

    def _mark(
        self, anchors: Sequence[CertificateFacts] | None, unpublished: Iterable[CertificateFacts]
    ) -> None:
        if anchors is None:
            known = self._certificates.values()
            anchors = [one.facts for one in known if one.is_self_signed]
        for certificate in anchors:
            anchor = self.key(certificate.subject, public_key_hash(certificate))
            if anchor is not None:
                anchor.is_anchor = True
        for certificate in unpublished:
            marked = self.key(certificate.subject, public_key_hash(certificate))
            if marked is not None:
                marked.publishes_no_crl = True

    def _all(self) -> Iterator[IssuerKey]:
        return (key for keys in self._by_name.values() for key in keys.values())

    def _tie(self) -> None:
        for keys in self._by_name.values():
            for key in keys.values():
                for certificate in key.certificates:
                    self._find_issuers(certificate, key)
            for key in keys.values():
                for other in keys.values():
                    if key is not other and (
                        other in key.certifiers
                        or key in other.certifiers
                        or not key.certifiers.isdisjoint(other.certifiers)
                    ):
                        key.tied.add(other)

    def _find_issuers(self, certificate: IssuerCertificate, key: IssuerKey) -> None:
        facts = certificate.facts
        certificate.ends_path = (
            all(one is key for one in self.named(facts.issuer)) and self.removed_crl(facts) is None
        )
        if certificate.is_self_signed:
            certificate.issuers = (key,)
        else:
            # A self-issued certificate that is not self-signed is by another key (rollover).
            certificate.issuers = self._fitting(facts, but=key)
        if len(certificate.issuers) == 1:
            key.certifiers.add(certificate.issuers[0])

    # ---- questions -----------------------------------------------------------

    def unchecked(self) -> Iterator[CertificateFacts]:
        """Yield the trusted certificates that no CRL can cover, except those of anchors."""
        for key in self._all():
            if not key.is_anchor:
                yield from (one.facts for one in key.certificates if one.ends_path)

    def trusted(self) -> Iterator[CertificateFacts]:
        """Yield all trusted certificates."""
        return (one.facts for one in self._certificates.values())

    def unverified(self) -> Iterator[CertificateFacts]:
        """Yield the self-issued certificates whose own signature could not be verified."""
        return (one.facts for one in self._certificates.values() if not one.is_verified)

    def key(self, name: bytes, key_hash: bytes) -> IssuerKey | None:
        """Return the key of *name* with that hash, where it is known."""
        return self._by_name.get(name_key(name), {}).get(key_hash)

    def named(self, name: bytes) -> Collection[IssuerKey]:
        """Return all keys of *name*."""
        return self._by_name.get(name_key(name), {}).values()

    def removed_crl(self, certificate: CertificateFacts) -> ImageMetadata | None:
        """
        Return a CRL that was removed together with its issuer, which may have issued
        *certificate*; None where there is none.
        """
        key_id = certificate.authority_key_id
        for metadata in self._removed.get(name_key(certificate.issuer), ()):
            crl_ids = metadata.verifier_subject_key_id, metadata.authority_key_id
            key_hash = metadata.verifier_key_hash
            if key_hash is not None and self.key(metadata.issuer, key_hash) is not None:
                continue  # the issuer is still trusted, and its CRL alone was removed
            if key_id is None or key_id in crl_ids or crl_ids == (None, None):
                return metadata
        return None

    def of(
        self, certificate: CertificateFacts, issuer: CertificateFacts | None = None
    ) -> tuple[IssuerKey, ...]:
        """
        Return the keys that may have issued *certificate*; none if its issuer is unknown.

        *issuer* is the certificate that issued it, where the caller has the path.
        Otherwise its authority key id names the key. Without one it may be any key of
        that name.
        """
        if issuer is not None:
            known = self.key(certificate.issuer, public_key_hash(issuer))
            return () if known is None else (known,)
        return self._fitting(certificate)

    def of_trusted(self, certificate: CertificateFacts) -> tuple[IssuerKey, ...] | None:
        """Return the keys that may have issued a trusted certificate, None for any other."""
        known = self._certificates.get(certificate.der)
        return None if known is None else known.issuers

    def _fitting(
        self, certificate: CertificateFacts, but: IssuerKey | None = None
    ) -> tuple[IssuerKey, ...]:
        """Return the keys that fit the issuer and key id in *certificate*, except *but*."""
        keys = self.identified(certificate.issuer, certificate.authority_key_id)
        if but in keys:
            keys = tuple(key for key in keys if key is not but)
        if len(keys) > 1 and certificate.authority_cert_serial_number is not None:
            # RFC 5280 4.2.1.1: issuer and serial number of one certificate of the key. A
            # renewed CA has other certificates of the same key, so no key is excluded if
            # none has that certificate.
            return tuple(key for key in keys if _has_named(key, certificate)) or keys
        return keys

    def identified(self, name: bytes, key_id: bytes | None) -> tuple[IssuerKey, ...]:
        """
        Return the keys of *name* that have a key id; all keys for None.

        A key whose certificate states the id is preferred to one whose hash it is.
        """
        form = name_key(name)
        stated = self._by_id.get(form, {}).get(key_id)
        if stated is not None or form not in self._by_id:
            return stated or ()
        aliases = self._by_alias.get(form)
        if aliases is None:
            # Made when first needed: most certificates use an id that is stated.
            keys = self._by_name[form].values()
            aliases = self._by_alias[form] = _by_key_id((key, key.aliases()) for key in keys)
        return aliases.get(key_id, ())

    # ---- a path that is given ------------------------------------------------

    def length_below_anchor(self, path: Sequence[CertificateFacts]) -> int:
        """
        Return how many certificates of a path, leaf first, lie below its anchor; at least 1.

        That is the first one whose key is an anchor's, or by default a last
        certificate that is self-signed.
        """
        for position in range(1, len(path)):
            key = self.key(path[position].subject, public_key_hash(path[position]))
            if key is not None and key.is_anchor:
                return position
        if self._anchors_are_given or len(path) == 1:
            return len(path)
        return len(path) - self._is_self_signed(path[-1])

    def _is_self_signed(self, certificate: CertificateFacts) -> bool:
        known = self._certificates.get(_identity(certificate))
        if known is not None:
            return known.is_self_signed
        # Nobody has verified this one. Without an authority key id it may be of a rollover,
        # signed by another trusted key of its name.
        own = public_key_hash(certificate)
        others = (key for key in self.named(certificate.issuer) if key.key_hash != own)
        return looks_self_signed(certificate) and (
            certificate.authority_key_id is not None or not any(key.certificates for key in others)
        )


def are_tied(keys: tuple[IssuerKey, ...]) -> bool:
    """Whether each of *keys* is tied to each other one."""
    return all(key.is_authoritative_for(other) for key in keys for other in keys)


def _identity(certificate: CertificateFacts) -> bytes | int:
    return certificate.der or id(certificate)


def _distinct(
    issuers: Iterable[CertificateFacts | TrustedIssuer],
) -> dict[bytes | int, TrustedIssuer]:
    """Return each certificate once, with all that is known of it."""
    found: dict[bytes | int, TrustedIssuer] = {}
    for one in issuers:
        trusted = one if isinstance(one, TrustedIssuer) else TrustedIssuer(one)
        identity = _identity(trusted.certificate)
        known = found.get(identity)
        found[identity] = trusted if known is None else known.joined_with(trusted)
    return found


def _by_key_id(
    keys: Iterable[tuple[IssuerKey, Collection[bytes]]],
) -> dict[bytes | None, tuple[IssuerKey, ...]]:
    found: dict[bytes | None, tuple[IssuerKey, ...]] = {}
    for key, key_ids in keys:
        for key_id in (None, *key_ids):
            found[key_id] = (*found.get(key_id, ()), key)
    return found


def _has_named(key: IssuerKey, certificate: CertificateFacts) -> bool:
    """Whether a certificate of *key* is the one that an authority key identifier names."""
    serial_number = certificate.authority_cert_serial_number
    named = [one.facts for one in key.certificates if one.facts.serial_number == serial_number]
    if not named:
        return False
    names = {
        name_key(name)
        for name in map(directory_name, certificate.authority_cert_issuer)
        if name is not None
    }
    return any(name_key(facts.issuer) in names for facts in named)
