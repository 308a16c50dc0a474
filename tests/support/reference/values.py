"""Certificates and CRLs as pyasn1 reads them."""

from __future__ import annotations

import functools
import hashlib
import re
import unicodedata
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from pyasn1.codec.der import decoder, encoder
from pyasn1.error import PyAsn1Error
from pyasn1.type import univ, useful
from pyasn1_modules import rfc5280

Name = tuple[frozenset[tuple[str, str]], ...]
"""RDNs, each a set of attribute type and prepared value (RFC 5280 7.1)."""

GeneralName = tuple[str, Any]
"""Its kind, and a Name or the bytes of whatever else it is."""

ALL_REASONS = frozenset(range(1, 9))
"""The bits of ReasonFlags that are in use (RFC 5280 4.2.1.13)."""


@dataclass(frozen=True)
class Point:
    """A DistributionPoint; ``relative`` is the RDN of nameRelativeToCRLIssuer."""

    full: frozenset[GeneralName] | None
    relative: frozenset[tuple[str, str]] | None
    reasons: frozenset[int] | None
    crl_issuers: frozenset[Name]

    @property
    def has_name(self) -> bool:
        return self.full is not None or self.relative is not None

    def names(self, below: Name) -> frozenset[GeneralName]:
        """Its names, the relative one expanded *below* the CRL issuer's."""
        if self.relative is not None:
            return frozenset({("directoryName", (*below, self.relative))})
        return self.full or frozenset()


@dataclass(frozen=True)
class Scope:
    """An issuingDistributionPoint."""

    point: Point
    only: str | None
    indirect: bool


@dataclass(frozen=True)
class Certificate:
    """
    What section 6.3 asks of a certificate. ``authority_serial`` is the issuer and
    serial number that its authority key id states of the issuer's certificate.
    """

    der: bytes
    serial: int
    issuer: Name
    subject: Name
    key: bytes
    key_id: bytes | None
    authority_key_id: bytes | None
    authority_serial: tuple[frozenset[Name], int] | None
    is_ca: bool
    may_sign_crls: bool
    not_after: datetime
    points: tuple[Point, ...]

    def signed_by(self, key: bytes) -> bool:
        """Whether the key, a SubjectPublicKeyInfo, verifies this certificate."""
        return _certificate_verifies(self.der, key)

    @property
    def is_self_signed(self) -> bool:
        """Whether its own key verifies it."""
        return self.issuer == self.subject and self.signed_by(self.key)


@dataclass(frozen=True)
class Odd:
    """
    What is odd in extensions that may be left out (RFC 5280 5.2, 5.3): whether one of them
    is critical, and what those values seem to mean.
    """

    is_critical: bool
    expired_since: datetime | None
    entries: tuple[tuple[Name, int, int | None], ...]


@dataclass(frozen=True)
class Crl:
    """
    What section 6.3 asks of a CRL. ``entries`` have certificate issuer, serial
    and reason; ``signed`` is the tbsCertList. Extensions that are ``odd`` are left out.
    """

    signed: bytes
    signature: bytes
    issuer: Name
    number: int | None
    base_number: int | None
    this_update: datetime
    next_update: datetime | None
    expired_since: datetime | None
    authority_key_id: bytes | None
    scope: Scope | None
    scope_octets: bytes
    entries: tuple[tuple[Name, int, int | None], ...]
    odd: Odd | None

    def signed_by(self, key: bytes) -> bool:
        """Whether the key, a SubjectPublicKeyInfo, verifies this CRL."""
        return _verifies(key, self.signature, self.signed)

    def reasons_for(self, certificate: Certificate) -> list[int | None]:
        """The reasons of all entries that name the certificate; none where it is not listed."""
        wanted = (certificate.issuer, certificate.serial)
        return [reason for issuer, serial, reason in self.entries if (issuer, serial) == wanted]


@functools.cache
def derived_key_ids(key: bytes) -> frozenset[bytes]:
    """
    The key ids that are made from a key: RFC 5280 4.2.1.2 (1), and RFC 7093 section 2
    (1) to (4). Of (4), which names no hash, those of SHA-2 are meant.
    """
    info, _ = decoder.decode(key, asn1Spec=rfc5280.SubjectPublicKeyInfo())
    bits = info["subjectPublicKey"].asOctets()
    leftmost = [hashlib.new(name, bits).digest()[:20] for name in ("sha1", *SHA_2)]
    return frozenset([*leftmost, *(hashlib.new(name, key).digest() for name in SHA_2)])


SHA_2 = ("sha256", "sha384", "sha512")


@functools.lru_cache(maxsize=1000)
def read_certificate(der: bytes) -> Certificate:
    """Read a certificate."""
    certificate, rest = decoder.decode(der, asn1Spec=rfc5280.Certificate())
    assert not rest
    tbs = certificate["tbsCertificate"]
    extensions = _extensions(tbs["extensions"])
    constraints = extensions.get(rfc5280.id_ce_basicConstraints)
    usage = extensions.get(rfc5280.id_ce_keyUsage)
    authority = extensions.get(rfc5280.id_ce_authorityKeyIdentifier)
    subject = extensions.get(rfc5280.id_ce_subjectKeyIdentifier)
    return Certificate(
        der=der,
        serial=int(tbs["serialNumber"]),
        issuer=read_name(tbs["issuer"]),
        subject=read_name(tbs["subject"]),
        key=encoder.encode(tbs["subjectPublicKeyInfo"]),
        key_id=None if subject is None else bytes(subject),
        authority_key_id=_key_id(authority),
        authority_serial=_authority_serial(authority),
        is_ca=constraints is not None and bool(constraints["cA"]),
        may_sign_crls=usage is None or (len(usage) > 6 and usage[6] == 1),
        not_after=_time(tbs["validity"]["notAfter"]),
        points=tuple(map(_point, extensions.get(rfc5280.id_ce_cRLDistributionPoints, ()))),
    )


@functools.lru_cache(maxsize=1000)
def read_crl(der: bytes) -> Crl:
    """Read a CRL."""
    parsed, rest = decoder.decode(der, asn1Spec=rfc5280.CertificateList())
    assert not rest
    tbs = parsed["tbsCertList"]
    octets: dict[Any, bytes] = {}
    odd: list[tuple[Any, bytes, bool]] = []
    extensions = _extensions(tbs["crlExtensions"], octets, odd)
    meant_since = [_meant_time(value) for oid, value, _ in odd if oid == EXPIRED_CERTS_ON_CRL]
    authority = extensions.get(rfc5280.id_ce_authorityKeyIdentifier)
    scope = extensions.get(rfc5280.id_ce_issuingDistributionPoint)
    number = extensions.get(rfc5280.id_ce_cRLNumber)
    base = extensions.get(rfc5280.id_ce_deltaCRLIndicator)
    since = octets.get(EXPIRED_CERTS_ON_CRL)
    issuer = read_name(tbs["issuer"])
    entries = tuple(_entries(tbs["revokedCertificates"], issuer, odd))
    expired_since = None if since is None else _generalized_time(since)
    return Crl(
        signed=encoder.encode(tbs),
        signature=parsed["signature"].asOctets(),
        issuer=issuer,
        number=None if number is None else int(number),
        base_number=None if base is None else int(base),
        this_update=_time(tbs["thisUpdate"]),
        next_update=_time(tbs["nextUpdate"]) if tbs["nextUpdate"].hasValue() else None,
        expired_since=expired_since,
        authority_key_id=_key_id(authority),
        scope=None if scope is None else _scope(scope),
        scope_octets=octets.get(rfc5280.id_ce_issuingDistributionPoint, b""),
        entries=tuple((owner, serial, reason) for owner, serial, reason, _ in entries),
        odd=None
        if not odd
        else Odd(
            is_critical=any(is_critical for _, _, is_critical in odd),
            expired_since=next(iter(meant_since), expired_since),
            entries=tuple((owner, serial, meant) for owner, serial, _, meant in entries),
        ),
    )


EXPIRED_CERTS_ON_CRL = univ.ObjectIdentifier("2.5.29.60")


def _key_id(authority: Any) -> bytes | None:
    is_stated = authority is not None and authority["keyIdentifier"].isValue
    return bytes(authority["keyIdentifier"]) if is_stated else None


def _authority_serial(authority: Any) -> tuple[frozenset[Name], int] | None:
    if authority is None or not authority["authorityCertSerialNumber"].isValue:
        return None
    issuers = frozenset(
        read_name(name["directoryName"]) for name in authority["authorityCertIssuer"]
    )
    return issuers, int(authority["authorityCertSerialNumber"])


def _entries(listed: Any, issuer: Name, odd: list[tuple[Any, bytes, bool]]) -> Any:
    # RFC 5280 5.3.3: an entry without certificateIssuer has that of the one before.
    for entry in listed:
        here: list[tuple[Any, bytes, bool]] = []
        extensions = _extensions(entry["crlEntryExtensions"], None, here)
        odd += here
        names = extensions.get(rfc5280.id_ce_certificateIssuer)
        if names is not None:
            issuer = read_name(names[0]["directoryName"])
        reason = extensions.get(rfc5280.id_ce_cRLReasons)
        reason = None if reason is None else int(reason)
        meant = [_meant_reason(value) for oid, value, _ in here if oid == rfc5280.id_ce_cRLReasons]
        yield issuer, int(entry["userCertificate"]), reason, next(iter(meant), reason)


_TIME = re.compile(rb"\x18\x0f([0-9]{14})Z")


def _is_odd(oid: Any, value: bytes) -> bool:
    """
    Whether the value of an extension that may be left out is not as it should be.

    By its bytes, because pyasn1 reads a reason of two octets as one of one.
    """
    if oid == rfc5280.id_ce_cRLReasons:
        return len(value) != 3 or value[:2] != b"\x0a\x01"
    if oid not in (rfc5280.id_ce_invalidityDate, EXPIRED_CERTS_ON_CRL):
        return False
    time = _TIME.fullmatch(value)
    if time is None:
        return True
    try:
        datetime.strptime(time[1].decode(), "%Y%m%d%H%M%S").replace(tzinfo=UTC)
    except ValueError:
        return True
    return False


def _meant_reason(value: bytes) -> int | None:
    """The reason that an odd value seems to mean."""
    try:
        reason, _ = decoder.decode(value)
        return int(reason)
    except (PyAsn1Error, TypeError, ValueError):
        return None


def _meant_time(value: bytes) -> datetime | None:
    """The time that an odd value seems to mean."""
    try:
        time, _ = decoder.decode(value)
        moment: datetime = time.asDateTime
    except (PyAsn1Error, AttributeError, ValueError):
        return None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _extensions(
    extensions: Any,
    octets: dict[Any, bytes] | None = None,
    odd: list[tuple[Any, bytes, bool]] | None = None,
) -> dict[Any, Any]:
    """
    Return the values of extensions by OID; their bytes go to *octets*. What is left out
    goes to *odd*: OID, bytes, and whether it is critical.
    """
    found: dict[Any, Any] = {}
    for extension in extensions if extensions.isValue else ():
        oid = extension["extnID"]
        value = bytes(extension["extnValue"])
        if _is_odd(oid, value):
            # Left out where it is not critical; with the critical flag the CRL is refused.
            assert odd is not None
            odd.append((oid, value, bool(extension["critical"])))
            continue
        if octets is not None:
            octets[oid] = value
        kind = rfc5280.certificateExtensionsMap.get(oid)
        if kind is not None:
            found[oid], rest = decoder.decode(value, asn1Spec=kind)
            assert not rest
    return found


def read_name(name: Any) -> Name:
    """Prepare a Name for comparison (RFC 5280 7.1)."""
    return tuple(map(_relative_name, name["rdnSequence"]))


def _relative_name(attributes: Any) -> frozenset[tuple[str, str]]:
    return frozenset(
        (str(attribute["type"]), _prepared(bytes(attribute["value"]))) for attribute in attributes
    )


@functools.cache
def _prepared(octets: bytes) -> str:
    value, _ = decoder.decode(octets)
    text = unicodedata.normalize("NFKC", str(value)).casefold()
    return " ".join(text.split())


def _general_name(name: Any) -> GeneralName:
    if name.getName() == "directoryName":
        return "directoryName", read_name(name["directoryName"])
    if name.getName() == "uniformResourceIdentifier":
        return "uniformResourceIdentifier", str(name.getComponent())
    return name.getName(), encoder.encode(name)


def prepared_uri(uri: str) -> str:
    """Prepare a URI for comparison: scheme and host have no case (RFC 5280 7.4)."""
    scheme, colon, rest = uri.partition(":")
    if not rest.startswith("//"):
        return scheme.lower() + colon + rest
    end = min((rest.find(mark, 2) for mark in "/?#" if mark in rest[2:]), default=len(rest))
    user, at, host = rest[2:end].rpartition("@")
    return f"{scheme.lower()}://{user}{at}{host.lower()}{rest[end:]}"


def _point(point: Any) -> Point:
    full = relative = None
    if point["distributionPoint"].isValue:
        name = point["distributionPoint"]
        if name.getName() == "fullName":
            full = frozenset(map(_general_name, name["fullName"]))
        else:
            relative = _relative_name(name["nameRelativeToCRLIssuer"])
    issuers = point["cRLIssuer"] if "cRLIssuer" in point and point["cRLIssuer"].isValue else ()
    return Point(
        full,
        relative,
        _reasons(point["reasons"] if "reasons" in point else point["onlySomeReasons"]),
        frozenset(read_name(name["directoryName"]) for name in issuers),
    )


def _reasons(flags: Any) -> frozenset[int] | None:
    if not flags.isValue:
        return None
    return frozenset(bit for bit, is_set in enumerate(flags) if is_set) & ALL_REASONS


def _scope(scope: Any) -> Scope:
    flags = {
        "user": "onlyContainsUserCerts",
        "ca": "onlyContainsCACerts",
        "attribute": "onlyContainsAttributeCerts",
    }
    only = [kind for kind, flag in flags.items() if bool(scope[flag])]
    return Scope(_point(scope), only[0] if only else None, bool(scope["indirectCRL"]))


def _time(time: Any) -> datetime:
    moment: datetime = time[time.getName()].asDateTime
    return moment.astimezone(UTC)


def _generalized_time(octets: bytes) -> datetime:
    value, _ = decoder.decode(octets, asn1Spec=useful.GeneralizedTime())
    moment: datetime = value.asDateTime
    return moment.astimezone(UTC)


@functools.lru_cache(maxsize=10_000)
def _certificate_verifies(der: bytes, key: bytes) -> bool:
    certificate = x509.load_der_x509_certificate(der)
    return _verifies(key, certificate.signature, certificate.tbs_certificate_bytes)


@functools.lru_cache(maxsize=10_000)
def _verifies(key: bytes, signature: bytes, signed: bytes) -> bool:
    public = serialization.load_der_public_key(key)
    assert isinstance(public, ec.EllipticCurvePublicKey)
    try:
        public.verify(signature, signed, ec.ECDSA(hashes.SHA256()))
    except InvalidSignature:
        return False
    return True
