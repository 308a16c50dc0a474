"""
Which of the CRLs held speaks for a certificate (RFC 5280 6.3.3). Pure: no
input, output or clock.

A CRL speaks for a certificate by its signer, which is the certificate's issuer
(name and key), tied to it, or named as cRLIssuer; and by its scope: distribution
point, kind of certificate, reasons. A namesake's CRL never speaks.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from crlcheck._issuers import IssuerKey, IssuerKeys, are_tied, is_self_signed, public_key_hash
from crlcheck._metadata import ImageMetadata
from crlcheck._name import directory_name, name_key
from crlcheck._points import (
    ALL_REASONS,
    PointKey,
    is_named,
    keyed_points,
    point_keys,
    point_of_name,
    read_issuing_distribution_point,
    reasons_of,
)
from crlcheck.types import CertificateFacts, DistributionPoint, UndeterminedCause

__all__ = [
    "ALL_REASONS",
    "ApplicableCrl",
    "Coverage",
    "IssuerKey",
    "ScopeTable",
    "is_same_entity",
    "is_self_signed",
    "names_match",
    "public_key_hash",
]


@dataclass(frozen=True, slots=True)
class ApplicableCrl:
    """
    A CRL that speaks for a certificate.

    ``position`` is its place in the sequence the table was made from and
    ``reasons`` a mask of the revocation reasons that it covers for this
    certificate. ``by_issuer`` tells that its entries are looked up under the
    name of the certificate's issuer. ``signer`` is the key that signed it where
    that is not the certificate's issuer's own. ``waived`` tells that it speaks
    only because a policy lets it.
    """

    position: int
    reasons: int = ALL_REASONS
    by_issuer: bool = False
    signer: IssuerKey | None = None
    waived: bool = False


@dataclass(frozen=True, slots=True)
class Coverage:
    """
    Which CRLs speak for a certificate, or why none does.

    ``cause`` is set exactly when ``applicable`` is empty; ``num_inapplicable``
    then counts the CRLs of the certificate's issuer, none of which speaks for
    it. ``issuers`` are the keys that may have issued the certificate.
    """

    applicable: tuple[ApplicableCrl, ...] = ()
    cause: UndeterminedCause | None = None
    num_inapplicable: int = 0
    issuers: tuple[IssuerKey, ...] = field(default=(), compare=False)

    @property
    def crls(self) -> tuple[int, ...]:
        """The positions of the CRLs that speak for the certificate."""
        return tuple(crl.position for crl in self.applicable)


# How many spellings of issuers are remembered for answering sooner.
_MAX_REMEMBERED = 4096

_UNKNOWN_ISSUER = Coverage(cause=UndeterminedCause.UNKNOWN_ISSUER)


def names_match(name: bytes, other: bytes) -> bool:
    """Whether two DER Names are the same name (RFC 5280 7.1): as octets, or in canonical form."""
    return name == other or name_key(name) == name_key(other)


def is_same_entity(certificate: CertificateFacts, other: CertificateFacts) -> bool:
    """Whether both certify one key for one name, which is what makes an issuer or an anchor."""
    return certificate.subject_public_key_info == other.subject_public_key_info and names_match(
        certificate.subject, other.subject
    )


class ScopeTable:
    """
    The CRLs held and the issuers known, arranged so that one certificate is
    matched by a few dictionary lookups, however many CRLs there are. Immutable,
    so threads may share it.

    *issuers* are the trusted issuer certificates. With *trust_verifiers* the
    key that verified a CRL counts as known too: for images handed over without
    the certificates of their issuers. *anchors* are the certificates at which
    paths end, None for the self-signed issuers. *any_point* has the positions of
    CRLs that speak for certificates without distribution points although they
    name one; with *waive_points* all do.

    CRLs that nobody verified and delta CRLs speak for no certificate by
    themselves; they take nothing away from what the others say.
    """

    __slots__ = (
        "_crls_by_name",
        "_groups",
        "_indirect_by_name",
        "_plain",
        "_waive_points",
        "issuers",
    )

    def __init__(
        self,
        crls: Sequence[ImageMetadata],
        issuers: Iterable[CertificateFacts],
        *,
        trust_verifiers: bool = False,
        anchors: Sequence[CertificateFacts] | None = None,
        any_point: Collection[int] = (),
        waive_points: bool = False,
    ) -> None:
        self.issuers = IssuerKeys(issuers, crls, anchors, trust_verifiers=trust_verifiers)
        self._waive_points = waive_points
        self._crls_by_name: dict[bytes, list[_Crl]] = {}
        self._indirect_by_name: dict[bytes, _CrlGroup] = {}
        self._plain: dict[tuple[bytes, bytes | None], Coverage] = {}
        self._groups: dict[tuple[IssuerKey, ...], _CrlGroup] = {}
        for position, metadata in enumerate(crls):
            crl = self._scoped(position, metadata, position in any_point)
            if crl is None:
                continue
            name = name_key(metadata.issuer)
            self._crls_by_name.setdefault(name, []).append(crl)
            if crl.is_indirect:
                self._indirect_by_name.setdefault(name, _CrlGroup()).add(crl)

    def _scoped(self, position: int, metadata: ImageMetadata, any_point: bool) -> _Crl | None:
        if metadata.verifier_key_hash is None:
            return None
        signer = self.issuers.key(metadata.issuer, metadata.verifier_key_hash)
        return None if signer is None else _Crl(position, metadata, signer, any_point)

    def coverage(
        self, certificate: CertificateFacts, issuer: CertificateFacts | None = None
    ) -> Coverage:
        """
        Return which CRLs speak for *certificate*.

        *issuer* is the certificate that is known to have issued it, where the
        caller has the path; without it the issuer's key is found by the
        certificate's authority key id, or is the only one of that name.
        """
        # Most issuers have one complete CRL, which answers for all their certificates.
        question = (certificate.issuer, certificate.authority_key_id)
        if issuer is None:
            answer = self._plain.get(question)
            if answer is not None:
                return answer
        keys = self.issuers.of(certificate, issuer)
        if not keys:
            return _UNKNOWN_ISSUER
        group = self._groups.get(keys)
        if group is None:
            group = self._groups[keys] = self._group(certificate.issuer, keys)
        if group.plain is None or (self._indirect_by_name and certificate.distribution_points):
            return self._match(certificate, group, keys)
        if issuer is None and not self._indirect_by_name and len(self._plain) < _MAX_REMEMBERED:
            self._plain[question] = group.plain
        return group.plain

    def _group(self, name: bytes, keys: tuple[IssuerKey, ...]) -> _CrlGroup:
        """Return the CRLs that speak for what these keys issued under *name*."""
        group = _CrlGroup()
        if not are_tied(keys):
            group.plain = Coverage(cause=UndeterminedCause.AMBIGUOUS_ISSUER, issuers=keys)
            return group
        for crl in self._crls_by_name.get(name_key(name), ()):
            if all(crl.signer.speaks_for(key) for key in keys):
                group.add(crl)
        if group.is_plain:
            applicable = [crl.applied(crl.reasons, keys) for crl in group.everywhere]
            group.plain = _coverage(applicable, group, keys)
        return group

    def _match(
        self, certificate: CertificateFacts, group: _CrlGroup, keys: tuple[IssuerKey, ...]
    ) -> Coverage:
        if group.plain is not None and group.plain.cause is UndeterminedCause.AMBIGUOUS_ISSUER:
            return group.plain
        covered: dict[_Crl, tuple[int, bool]] = {}
        for crl, reasons, waived in self._candidates(certificate, group):
            common = reasons & crl.reasons
            if common and crl.contains_kind_of(certificate):
                before, was_waived = covered.get(crl, (0, True))
                covered[crl] = before | common, waived and was_waived
        applicable = [
            crl.applied(reasons, keys, waived=waived) for crl, (reasons, waived) in covered.items()
        ]
        return _coverage(applicable, group, keys)

    def _candidates(
        self, certificate: CertificateFacts, group: _CrlGroup
    ) -> Iterator[tuple[_Crl, int, bool]]:
        """
        Yield CRLs whose distribution point matches, with the reasons for which
        it does and whether only a policy makes it.
        """
        # RFC 5280 6.3.3, last paragraph: whatever distribution points it has, a
        # certificate is also looked for in CRLs of its issuer that name none, or
        # the issuer itself.
        for crl in group.at([point_of_name(certificate.issuer)]):
            yield crl, ALL_REASONS, False
        if not certificate.distribution_points:
            for crl in group.pointed:
                if crl.any_point or self._waive_points:
                    yield crl, ALL_REASONS, not crl.any_point
        for point in certificate.distribution_points:
            if point.crl_issuers:
                yield from self._indirect_candidates(point)
        if group.by_point:
            own = [p for p in certificate.distribution_points if not p.crl_issuers]
            for point_key, reasons in keyed_points(own, certificate.issuer):
                for crl in group.by_point.get(point_key, ()):
                    yield crl, reasons, False

    def _indirect_candidates(self, point: DistributionPoint) -> Iterator[tuple[_Crl, int, bool]]:
        """RFC 5280 6.3.3 b 1: with cRLIssuer, only indirect CRLs of that issuer count."""
        names = [name for name in map(directory_name, point.crl_issuers) if name is not None]
        for name in names:
            group = self._indirect_by_name.get(name_key(name))
            if group is None:
                continue
            # Without distributionPoint the names of the cRLIssuer stand for it (b 2 i).
            points = point_keys(point, name) if is_named(point) else map(point_of_name, names)
            for crl in group.at(points):
                yield crl, reasons_of(point), False


class _Crl:
    """A CRL and what it is for."""

    __slots__ = (
        "any_point",
        "is_indirect",
        "only_for_ca",
        "points",
        "position",
        "reasons",
        "signer",
        "speaks",
    )

    def __init__(
        self, position: int, metadata: ImageMetadata, signer: IssuerKey, any_point: bool
    ) -> None:
        self.position = position
        self.signer = signer
        self.any_point = any_point
        self.reasons = ALL_REASONS
        self.is_indirect = False
        self.points: tuple[PointKey, ...] | None = None
        """What its distribution point is called; None where it names none."""
        self.only_for_ca: bool | None = None
        self.speaks = not metadata.is_delta
        if metadata.issuing_distribution_point is not None:
            self._read(metadata.issuing_distribution_point, metadata.issuer)

    def _read(self, extension: bytes, issuer: bytes) -> None:
        idp = read_issuing_distribution_point(extension)
        if idp is None or idp.only_contains_attribute_certs:
            self.speaks = False
            return
        point = idp.point
        self.is_indirect = idp.indirect_crl
        self.reasons = reasons_of(point)
        if idp.only_contains_user_certs or idp.only_contains_ca_certs:
            self.only_for_ca = idp.only_contains_ca_certs
            # RFC 5280 5.2.5: at most one of them; with both, it is for none.
            self.speaks = self.speaks and not (
                idp.only_contains_user_certs and idp.only_contains_ca_certs
            )
        if is_named(point):
            self.points = tuple(point_keys(point, issuer))

    def contains_kind_of(self, certificate: CertificateFacts) -> bool:
        """Whether it is for certificates of this kind (RFC 5280 6.3.3 b 2 ii to iv)."""
        return self.only_for_ca is None or self.only_for_ca is certificate.is_ca

    def applied(
        self, reasons: int, keys: tuple[IssuerKey, ...], *, waived: bool = False
    ) -> ApplicableCrl:
        """Return this CRL as one that speaks for what *keys* issued."""
        own = keys == (self.signer,)
        signer = None if own else self.signer
        return ApplicableCrl(self.position, reasons, self.is_indirect, signer, waived)


class _CrlGroup:
    """CRLs that speak for one issuer's certificates, by distribution point."""

    __slots__ = ("by_point", "everywhere", "is_plain", "num_crls", "plain", "pointed")

    def __init__(self) -> None:
        self.everywhere: list[_Crl] = []
        self.by_point: dict[PointKey, list[_Crl]] = {}
        self.pointed: list[_Crl] = []
        self.num_crls = 0
        self.is_plain = True
        self.plain: Coverage | None = None
        """What covers every certificate of the issuer alike, where that can be said."""

    def add(self, crl: _Crl) -> None:
        self.num_crls += 1
        if not crl.speaks:
            return
        self.is_plain = self.is_plain and crl.points is None and crl.only_for_ca is None
        if crl.points is None:
            self.everywhere.append(crl)
            return
        self.pointed.append(crl)
        for point in dict.fromkeys(crl.points):
            self.by_point.setdefault(point, []).append(crl)

    def at(self, points: Iterable[PointKey]) -> Iterator[_Crl]:
        """Yield the CRLs for a distribution point with these names."""
        yield from self.everywhere
        if self.by_point:
            for point in points:
                yield from self.by_point.get(point, ())


def _coverage(
    applicable: Iterable[ApplicableCrl], group: _CrlGroup, keys: tuple[IssuerKey, ...]
) -> Coverage:
    found = tuple(applicable)
    if found:
        return Coverage(found, issuers=keys)
    return Coverage((), UndeterminedCause.OUT_OF_SCOPE, group.num_crls, keys)
