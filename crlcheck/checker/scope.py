"""
Find the CRLs that cover a certificate (RFC 5280 6.3.3 b).

Pure: no input, output or clock. Section numbers are those of RFC 5280.

1. Find the keys that may have issued the certificate, by its issuer name and
   authority key id (``catalog.issuer_keys``). None: UNKNOWN_ISSUER. Several that are not tied:
   AMBIGUOUS_ISSUER.
2. Take the CRLs of that name that each of these keys, or a key tied to it, signed. A
   CRL that was not verified, a delta CRL and one for attribute certificates only
   cover nothing.
3. Of these, take those that fit the certificate's distribution points (6.3.3 b 2 i):
   a. A CRL that names no distribution point fits every certificate.
   b. So does one that names the issuer itself. But where the certificate has
      distribution points it may only revoke, because the certificate may be in
      another part.
   c. One that names another distribution point fits a certificate that names it
      too. It fits one without distribution points only if the operator or the
      policy says so.
4. A distribution point with cRLIssuer leads to indirect CRLs of that issuer only
   (6.3.3 b 1). If it has no name of its own, its name is that of the issuer.
5. Leave out the CRLs that are for another kind of certificate: user or CA (b 2 ii to
   iv).
6. Leave out those that share no reason with the distribution point that leads to
   them (6.3.3 d, e).
   One that is for no reason of RFC 5280 at all may only revoke.
7. None left: OUT_OF_SCOPE.

For example, a CA publishes CRL A for CA certificates only, without the name of a
distribution point, and CRL B for http://ca.example/1. A client certificate that names
http://CA.example/1 is covered by B (3 c): hosts are compared without regard to case
(7.4). A passes 3 a, but is for another kind (5). A client certificate that names
http://ca.example/2 is covered by neither: OUT_OF_SCOPE (7).
"""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from crlcheck.catalog.issuer_keys import (
    IssuerCertificate,
    IssuerKey,
    IssuerKeys,
    TrustedIssuer,
    are_tied,
    is_self_issued,
    looks_self_signed,
    public_key_hash,
)
from crlcheck.encoding.names import directory_name, name_key
from crlcheck.types import CertificateFacts, DistributionPoint, ImageMetadata, UndeterminedCause
from crlcheck.x509.distribution_points import (
    ALL_REASONS,
    PointKey,
    is_named,
    keyed_points,
    point_keys,
    point_of_name,
    read_issuing_distribution_point,
    reasons_of,
)

__all__ = [
    "ALL_REASONS",
    "ApplicableCrl",
    "Coverage",
    "IssuerCertificate",
    "IssuerKey",
    "ScopeTable",
    "TrustedIssuer",
    "is_self_issued",
    "looks_self_signed",
    "public_key_hash",
]


@dataclass(frozen=True, slots=True)
class ApplicableCrl:
    """
    A CRL that covers a certificate.

    ``position`` is its place in the sequence from which the table was made.
    ``reasons`` is a mask of the revocation reasons that it covers for this
    certificate: none where it may revoke the certificate but not clear it.
    ``by_issuer`` tells that its entries are looked up under the name of the
    certificate's issuer. ``signer`` is the key that signed it, where that is not the
    key of the certificate's issuer. ``waived`` tells that it covers the certificate
    only because a policy allows it. Where the distribution points are not known,
    ``unsure_reasons`` are those that it covers for some of the certificates that are
    possible.
    """

    position: int
    reasons: int = ALL_REASONS
    by_issuer: bool = False
    signer: IssuerKey | None = None
    waived: bool = False
    unsure_reasons: int = 0


@dataclass(frozen=True, slots=True)
class Coverage:
    """
    The CRLs that cover a certificate, or why none does.

    ``cause`` is set exactly when ``applicable`` is empty. Then ``num_inapplicable``
    counts the CRLs of the certificate's issuer, and ``nearest`` is the one whose
    scope is most like the certificate. ``issuers`` are the keys that may have issued
    the certificate. Where there is none, ``namesakes`` are the trusted keys of its
    issuer's name, and ``removed`` is a CRL of that issuer that was published until
    both were removed. ``any_points`` tells that the certificate's distribution points
    were not known.
    """

    applicable: tuple[ApplicableCrl, ...] = ()
    cause: UndeterminedCause | None = None
    num_inapplicable: int = 0
    issuers: tuple[IssuerKey, ...] = field(default=(), compare=False)
    nearest: ImageMetadata | None = field(default=None, compare=False)
    any_points: bool = field(default=False, compare=False)
    namesakes: tuple[IssuerKey, ...] = field(default=(), compare=False)
    removed: ImageMetadata | None = field(default=None, compare=False)

    @property
    def crls(self) -> tuple[int, ...]:
        """The positions of the CRLs that cover the certificate."""
        return tuple(crl.position for crl in self.applicable)


# How many pairs of issuer name and key id are remembered with their coverage.
_MAX_REMEMBERED = 4096

# How many distribution points are compared in order to find the nearest CRL.
_MAX_COMPARED = 8


class ScopeTable:
    """
    The CRLs and issuers of one set, arranged so that a few dictionary lookups find the
    CRLs that cover a certificate, however many there are. Immutable, so threads may
    share it.

    *issuers* are the trusted issuer certificates, with or without what else is known
    of them. With *trust_verifiers* the key that verified a CRL counts as known too:
    for indexes that are given without the certificates of their issuers. *anchors*
    are the certificates at which paths end, None for the self-signed issuers.
    *removed* are the CRLs that an operator removed. *unpublished* are certificates of
    issuers that publish no CRL, which counts only where none of theirs is here or
    was removed. *any_point* has the positions of CRLs that cover certificates without
    distribution points although they name one; with *waive_points* all do.
    """

    __slots__ = (
        "_answers_for_all",
        "_crls_by_name",
        "_groups",
        "_indirect_by_name",
        "_published",
        "_waive_points",
        "issuers",
    )

    def __init__(
        self,
        crls: Sequence[ImageMetadata],
        issuers: Iterable[CertificateFacts | TrustedIssuer],
        *,
        trust_verifiers: bool = False,
        anchors: Sequence[CertificateFacts] | None = None,
        unpublished: Iterable[CertificateFacts] = (),
        removed: Iterable[ImageMetadata] = (),
        any_point: Collection[int] = (),
        waive_points: bool = False,
    ) -> None:
        removed = tuple(removed)
        self.issuers = IssuerKeys(
            issuers,
            crls,
            anchors,
            trust_verifiers=trust_verifiers,
            unpublished=unpublished,
            removed=removed,
        )
        self._published: dict[bytes, list[ImageMetadata]] = {}
        for metadata in (*crls, *removed):
            self._published.setdefault(name_key(metadata.issuer), []).append(metadata)
        self._waive_points = waive_points
        self._crls_by_name: dict[bytes, list[_Crl]] = {}
        self._indirect_by_name: dict[bytes, _CrlGroup] = {}
        self._answers_for_all: dict[tuple[bytes, bytes | None], Coverage] = {}
        self._groups: dict[tuple[IssuerKey, ...], _CrlGroup] = {}
        for position, metadata in enumerate(crls):
            crl = self._read_crl(position, metadata, position in any_point)
            if crl is None:
                continue
            name = name_key(metadata.issuer)
            self._crls_by_name.setdefault(name, []).append(crl)
            if crl.is_indirect:
                self._indirect_by_name.setdefault(name, _CrlGroup()).add(crl)

    def _read_crl(self, position: int, metadata: ImageMetadata, any_point: bool) -> _Crl | None:
        if metadata.verifier_key_hash is None:
            return None
        signer = self.issuers.key(metadata.issuer, metadata.verifier_key_hash)
        return None if signer is None else _Crl(position, metadata, signer, any_point)

    def coverage(
        self,
        certificate: CertificateFacts,
        issuer: CertificateFacts | None = None,
        keys: tuple[IssuerKey, ...] | None = None,
        *,
        any_points: bool = False,
    ) -> Coverage:
        """
        Return the CRLs that cover *certificate*. The numbers are the module's.

        *issuer* is the certificate that issued it, where the caller has the path.
        Without it the key is found by the certificate's authority key id, or is the
        only one of that name. *keys* are the keys that may have issued it, where the
        caller knows them. With *any_points* it may have any distribution points, and
        those that it states are not read.
        """
        # Most issuers have one complete CRL, which covers all their certificates.
        question = (certificate.issuer, certificate.authority_key_id)
        if issuer is None and keys is None:
            keys = self.issuers.of_trusted(certificate)
        is_first = issuer is None and keys is None
        if is_first:
            answer = self._answers_for_all.get(question)
            if answer is not None:
                return answer
        # 1. The issuer's keys.
        if keys is None:
            keys = self.issuers.of(certificate, issuer)
        if not keys:
            namesakes = tuple(self.issuers.named(certificate.issuer))
            return Coverage(
                cause=UndeterminedCause.UNKNOWN_ISSUER,
                namesakes=namesakes,
                removed=self.issuers.removed_crl(certificate),
            )
        # 2. Their CRLs.
        group = self._groups.get(keys)
        if group is None:
            group = self._groups[keys] = self._group(certificate.issuer, keys)
        may_be_indirect = any_points or certificate.distribution_points
        if group.answer_for_all is None or (self._indirect_by_name and may_be_indirect):
            return self._match(certificate, group, keys, any_points=any_points)
        # Where several keys have that id, the issuer and serial number in the authority key
        # identifier may choose one of them: then the answer is not that of the question.
        if (
            is_first
            and not self._indirect_by_name
            and len(self.issuers.identified(*question)) == 1
            and len(self._answers_for_all) < _MAX_REMEMBERED
        ):
            self._answers_for_all[question] = group.answer_for_all
        return group.answer_for_all

    def may_have_crls(self, certificate: CertificateFacts, coverage: Coverage) -> bool:
        """
        Whether there is a CRL, or was one until it was removed, that may be of an issuer
        of *certificate*, which has this *coverage*, or of a cRLIssuer that it names or
        may name.
        """
        if coverage.any_points and self._indirect_by_name:
            return True
        keys = coverage.issuers
        crls = self._published.get(name_key(certificate.issuer), ())
        return any(self._may_be_of(metadata, keys) for metadata in crls) or any(
            name is not None and name_key(name) in self._indirect_by_name
            for point in certificate.distribution_points
            for name in map(directory_name, point.crl_issuers)
        )

    def among(
        self,
        certificate: CertificateFacts,
        keys: tuple[IssuerKey, ...],
        crls: Iterable[tuple[ImageMetadata, bool]],
    ) -> tuple[Coverage, bool]:
        """
        Return the coverage of a certificate among *crls*, and whether one of those may be of
        an issuer of it, as ``may_have_crls`` has it.

        The table has only some CRLs of the certificate's issuer; *crls* are all of them in
        order, each with whether it covers certificates without distribution points. *keys*
        are the keys that may have issued the certificate.
        """
        group = _CrlGroup()
        may_be_any = False
        for position, (metadata, any_point) in enumerate(crls):
            crl = self._read_crl(position, metadata, any_point)
            if crl is not None and all(crl.signer.is_authoritative_for(key) for key in keys):
                group.add(crl)
            may_be_any = may_be_any or self._may_be_of(metadata, keys)
        return self._match(certificate, group, keys, any_points=False), may_be_any

    def is_indirect(self, metadata: ImageMetadata) -> bool:
        """Whether a CRL is an indirect one of an issuer that is known."""
        crl = self._read_crl(0, metadata, any_point=False)
        return crl is not None and crl.is_indirect

    def _may_be_of(self, metadata: ImageMetadata, keys: tuple[IssuerKey, ...]) -> bool:
        """Whether one of *keys* may have signed a CRL; True if its key is no longer known."""
        if metadata.verifier_key_hash is None:
            return True
        signer = self.issuers.key(metadata.issuer, metadata.verifier_key_hash)
        return signer is None or any(signer.is_authoritative_for(key) for key in keys)

    def _group(self, name: bytes, keys: tuple[IssuerKey, ...]) -> _CrlGroup:
        """Return the CRLs for what these keys issued under *name* (steps 1 and 2)."""
        group = _CrlGroup()
        if not are_tied(keys):
            group.answer_for_all = Coverage(cause=UndeterminedCause.AMBIGUOUS_ISSUER, issuers=keys)
            return group
        for crl in self._crls_by_name.get(name_key(name), ()):
            if all(crl.signer.is_authoritative_for(key) for key in keys):
                group.add(crl)
        if group.without_point and group.is_one_for_all:
            applicable = [crl.applied(keys, crl.reasons) for crl in group.without_point]
            group.answer_for_all = Coverage(tuple(applicable), issuers=keys)
        return group

    def _match(
        self,
        certificate: CertificateFacts,
        group: _CrlGroup,
        keys: tuple[IssuerKey, ...],
        *,
        any_points: bool,
    ) -> Coverage:
        if (
            group.answer_for_all is not None
            and group.answer_for_all.cause is UndeterminedCause.AMBIGUOUS_ISSUER
        ):
            return group.answer_for_all
        # 3. and 4. By distribution point, then 5. by kind and 6. by reasons.
        fits: dict[_Crl, _Fit] = {}
        candidates = (
            self._any_candidates(group) if any_points else self._candidates(certificate, group)
        )
        for crl, fit in candidates:
            common = fit.within(crl.reasons)
            if common is not None and crl.contains_kind_of(certificate):
                before = fits.get(crl)
                fits[crl] = common if before is None else before.joined(common)
        if fits:
            applicable = [crl.applied(keys, *fit) for crl, fit in fits.items()]
            return Coverage(tuple(applicable), issuers=keys, any_points=any_points)
        # 7. None.
        return Coverage(
            cause=UndeterminedCause.OUT_OF_SCOPE,
            num_inapplicable=len(group.crls),
            issuers=keys,
            nearest=group.nearest(certificate),
            any_points=any_points,
        )

    def _candidates(
        self, certificate: CertificateFacts, group: _CrlGroup
    ) -> Iterator[tuple[_Crl, _Fit]]:
        """Yield the CRLs that fit the distribution points of the certificate (step 3)."""
        # RFC 5280 6.3.3, last paragraph: whatever distribution points it has, a
        # certificate is also looked for in CRLs of its issuer that name none (a), or
        # the issuer itself (b).
        for crl in group.without_point:
            yield crl, _COVERS
        has_points = bool(certificate.distribution_points)
        for crl in group.by_point.get(point_of_name(certificate.issuer), ()):
            yield crl, _MAY_REVOKE if has_points else _COVERS
        if not has_points:
            for crl in group.with_point:
                if crl.any_point or self._waive_points:
                    yield crl, _COVERS if crl.any_point else _COVERS_BY_POLICY
        yield from self._candidates_by_point(certificate, group)

    def _candidates_by_point(
        self, certificate: CertificateFacts, group: _CrlGroup
    ) -> Iterator[tuple[_Crl, _Fit]]:
        own: list[DistributionPoint] = []
        for point in certificate.distribution_points:
            if point.crl_issuers:
                yield from self._indirect_candidates(point)
            else:
                own.append(point)
        if group.by_point:
            for point_key, reasons in keyed_points(own, certificate.issuer):
                for crl in group.by_point.get(point_key, ()):
                    yield crl, _Fit(reasons)

    def _indirect_candidates(self, point: DistributionPoint) -> Iterator[tuple[_Crl, _Fit]]:
        """Yield the indirect CRLs to which a point with cRLIssuer leads (step 4)."""
        directory_names = filter(None, map(directory_name, point.crl_issuers))
        names = {name_key(name): name for name in directory_names}
        relative = None if point.relative_name is None else replace(point, full_names=())
        # Read once for all names, as a certificate may have thousands of both.
        points = dict.fromkeys(
            point_keys(replace(point, relative_name=None), b"")
            if is_named(point)
            else ((True, one) for one in names)
        )
        for key, name in names.items():
            group = self._indirect_by_name.get(key)
            if group is None:
                continue
            # Without distributionPoint the names in cRLIssuer take its place (b 2 i), so a CRL
            # whose point has its issuer's name may clear too. With a distributionPoint, such a
            # CRL is another part.
            for crl in group.at(points):
                yield crl, _Fit(reasons_of(point))
            if relative is not None:
                for crl in group.at(dict.fromkeys(point_keys(relative, name))):
                    yield crl, _Fit(reasons_of(point))

    def _any_candidates(self, group: _CrlGroup) -> Iterator[tuple[_Crl, _Fit]]:
        """
        Yield the CRLs that may cover a certificate whose distribution points are not
        known: surely those of its issuer that name none, perhaps all others, and
        every indirect CRL.
        """
        for crl in group.without_point:
            yield crl, _COVERS
        for crl in group.with_point:
            yield crl, _MAY_COVER
        for indirect in self._indirect_by_name.values():
            for crl in (*indirect.without_point, *indirect.with_point):
                yield crl, _MAY_COVER


class _Fit(NamedTuple):
    """How a CRL covers a certificate: the fields are those of ``ApplicableCrl``."""

    reasons: int
    waived: bool = False
    unsure_reasons: int = 0

    def within(self, reasons: int) -> _Fit | None:
        """Return the part of it that a CRL for *reasons* covers, None where there is none."""
        if not reasons or self is _MAY_REVOKE:
            return _MAY_REVOKE
        fit = _Fit(self.reasons & reasons, self.waived, self.unsure_reasons & reasons)
        return fit if fit.reasons | fit.unsure_reasons else None

    def joined(self, other: _Fit) -> _Fit:
        """Return the fit of a CRL that covers a certificate in both of these ways."""
        return _Fit(
            self.reasons | other.reasons,
            self.waived and other.waived,
            self.unsure_reasons | other.unsure_reasons,
        )


_COVERS = _Fit(ALL_REASONS)
_COVERS_BY_POLICY = _Fit(ALL_REASONS, waived=True)
_MAY_COVER = _Fit(0, unsure_reasons=ALL_REASONS)
_MAY_REVOKE = _Fit(0)


class _Crl:
    """A CRL and the certificates that it is for."""

    __slots__ = (
        "any_point",
        "is_indirect",
        "is_usable",
        "metadata",
        "only_for_ca",
        "points",
        "position",
        "reasons",
        "signer",
    )

    def __init__(
        self, position: int, metadata: ImageMetadata, signer: IssuerKey, any_point: bool
    ) -> None:
        self.position = position
        self.metadata = metadata
        self.signer = signer
        self.any_point = any_point
        self.reasons = ALL_REASONS
        self.is_indirect = False
        self.points: tuple[PointKey, ...] | None = None
        """The names of its distribution point; None where it names none."""
        self.only_for_ca: bool | None = None
        self.is_usable = not metadata.is_delta
        if metadata.issuing_distribution_point is not None:
            self._read(metadata.issuing_distribution_point, metadata.issuer)

    def _read(self, extension: bytes, issuer: bytes) -> None:
        idp = read_issuing_distribution_point(extension)
        if idp is None or idp.only_contains_attribute_certs:
            self.is_usable = False
            return
        point = idp.point
        self.is_indirect = idp.indirect_crl
        self.reasons = reasons_of(point)
        if idp.only_contains_user_certs or idp.only_contains_ca_certs:
            self.only_for_ca = idp.only_contains_ca_certs
            # RFC 5280 5.2.5 allows one of them at most; a CRL with both covers nothing.
            self.is_usable = self.is_usable and not (
                idp.only_contains_user_certs and idp.only_contains_ca_certs
            )
        if is_named(point):
            self.points = tuple(point_keys(point, issuer))

    def contains_kind_of(self, certificate: CertificateFacts) -> bool:
        """Whether it is for this kind of certificate (RFC 5280 6.3.3 b 2 ii to iv; step 5)."""
        return self.only_for_ca is None or self.only_for_ca is certificate.is_ca

    def applied(
        self,
        keys: tuple[IssuerKey, ...],
        reasons: int,
        waived: bool = False,
        unsure_reasons: int = 0,
    ) -> ApplicableCrl:
        """Return this CRL as one that covers a certificate that *keys* issued."""
        own = keys == (self.signer,)
        signer = None if own else self.signer
        return ApplicableCrl(
            self.position, reasons, self.is_indirect, signer, waived, unsure_reasons
        )


class _CrlGroup:
    """The CRLs for one issuer's certificates, by distribution point."""

    __slots__ = (
        "_sorted_points",
        "answer_for_all",
        "by_point",
        "crls",
        "is_one_for_all",
        "with_point",
        "without_point",
    )

    def __init__(self) -> None:
        self.crls: list[_Crl] = []
        self.without_point: list[_Crl] = []
        self.by_point: dict[PointKey, list[_Crl]] = {}
        self.with_point: list[_Crl] = []
        self.is_one_for_all = True
        self.answer_for_all: Coverage | None = None
        """The coverage of every certificate of the issuer, where it is the same for all."""
        self._sorted_points: list[PointKey] | None = None

    def add(self, crl: _Crl) -> None:
        self.crls.append(crl)
        if not crl.is_usable:
            return
        self.is_one_for_all = self.is_one_for_all and crl.points is None and crl.only_for_ca is None
        if crl.points is None:
            self.without_point.append(crl)
            return
        self.with_point.append(crl)
        for point in dict.fromkeys(crl.points):
            self.by_point.setdefault(point, []).append(crl)

    def at(self, points: dict[PointKey, None]) -> Iterator[_Crl]:
        """Yield the CRLs that fit a distribution point with these names."""
        yield from self.without_point
        fewer: Iterable[PointKey] = points
        if len(points) > len(self.by_point):
            fewer = (point for point in self.by_point if point in points)
        for point in fewer:
            yield from self.by_point.get(point, ())

    def nearest(self, certificate: CertificateFacts) -> ImageMetadata | None:
        """
        Return the CRL to name where none covers *certificate*: the one whose
        distribution point begins most like one of the certificate's, else any.
        """
        crls = self.with_point or self.crls
        points = certificate.distribution_points[:_MAX_COMPARED]
        names = list(itertools.islice(keyed_points(points, certificate.issuer), _MAX_COMPARED))
        if names and self.by_point:
            if self._sorted_points is None:
                self._sorted_points = sorted(self.by_point)
            # In sorted order the point that begins most like a name is next to it.
            beside = [
                (_num_common(found, name), found)
                for name, _ in names
                for place in (bisect.bisect(self._sorted_points, name),)
                for found in self._sorted_points[max(place - 1, 0) : place + 1]
            ]
            crls = self.by_point[max(beside)[1]]
        of_its_kind = [crl for crl in crls[:_MAX_COMPARED] if crl.contains_kind_of(certificate)]
        found = of_its_kind or crls
        return found[0].metadata if found else None


def _num_common(point: PointKey, other: PointKey) -> int:
    """Return how many bytes two distribution points begin with in common."""
    if point[0] is not other[0]:
        return -1
    pairs = itertools.takewhile(
        lambda pair: pair[0] == pair[1], zip(point[1], other[1], strict=False)
    )
    return sum(1 for _ in pairs)
