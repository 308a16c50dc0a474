"""
Small worlds of authorities, CRLs and certificates: everything that RFC
5280 6.3 decides by, drawn from few enough values that things collide.

A world is plain data, which hypothesis can print and make smaller (see
``support.world_strategy``); ``WorldBytes`` has its DER.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from crlcheck.demo.encoding import der
from crlcheck.demo.pki import CertificateAuthority, encode_entry, encode_extension, sign_crl
from support.certificate_der import encode_attribute, encode_name

NOW = datetime(2026, 3, 1, tzinfo=UTC)
"""When everything is published."""
DAY = timedelta(days=1)
HOUR = timedelta(hours=1)

# ---- what a world is made of -------------------------------------------------


@dataclass(frozen=True, slots=True)
class AuthoritySpec:
    """
    A trusted certificate: common name and number of the key, and which one issued it.

    ``key_id`` is its subject key id, and ``issuer_id`` says how it names its issuer:
    see :func:`key_id_of` and :func:`authority_key_id_of`.
    """

    name: str
    key: int
    parent: str | None
    serial_number: int
    may_sign_crls: bool = True
    key_id: str | None = "sha1"
    issuer_id: str | None = "sha1"


AUTHORITIES = {
    "root": AuthoritySpec("Root", 0, None, 1),
    "root twice": AuthoritySpec("Root", 0, None, 2),
    "ca": AuthoritySpec("CA", 1, "root", 11),
    "ca twice": AuthoritySpec("CA", 1, "root", 12),
    "ca without cRLSign": AuthoritySpec("CA", 1, "root", 11, may_sign_crls=False),
    "ca of unknown root": AuthoritySpec("CA", 1, "stranger", 11),
    # Key rollover: either a sibling, or the old and the new key certify each other.
    "new ca": AuthoritySpec("CA", 2, "root", 13),
    "new ca with old": AuthoritySpec("CA", 2, "ca", 14),
    "old ca with new": AuthoritySpec("CA", 1, "new ca", 15),
    "new ca with old, unnamed": AuthoritySpec("CA", 2, "ca", 14, issuer_id=None),
    "new root": AuthoritySpec("Root", 9, None, 3),
    "new root with old": AuthoritySpec("Root", 9, "root", 4),
    "new root with old, unnamed": AuthoritySpec("Root", 9, "root", 4, issuer_id=None),
    "old root with new": AuthoritySpec("Root", 0, "new root", 5),
    # A key for CRLs only.
    "signer": AuthoritySpec("CA", 3, "root", 16),
    "signer by ca": AuthoritySpec("CA", 3, "ca", 3),
    # Another authority of the same name.
    "other root": AuthoritySpec("Other Root", 5, None, 1),
    "namesake": AuthoritySpec("CA", 4, "other root", 11),
    "namesake by root": AuthoritySpec("CA", 4, "root", 19),
    "self-signed namesake": AuthoritySpec("CA", 4, None, 11),
    "namesake without key id": AuthoritySpec("CA", 4, "other root", 11, key_id=None),
    "namesake with ca's key id": AuthoritySpec("CA", 4, "other root", 11, key_id="sha256 of 1"),
    # The authority's own key, certified by others.
    "ca by other root": AuthoritySpec("CA", 1, "other root", 21),
    "ca by new root": AuthoritySpec("CA", 1, "new root", 22),
    # Key ids by another method, or that lead nowhere.
    "ca with sha256": AuthoritySpec("CA", 1, "root", 11, key_id="sha256"),
    "ca with spki": AuthoritySpec("CA", 1, "root", 11, key_id="spki"),
    "ca without key id": AuthoritySpec("CA", 1, "root", 11, key_id=None),
    "ca by sha384 of root": AuthoritySpec("CA", 1, "root", 11, issuer_id="sha384"),
    "ca by wrong id": AuthoritySpec("CA", 1, "root", 11, issuer_id="wrong"),
    "ca by wrong id, again": AuthoritySpec("CA", 1, "root", 12, issuer_id="wrong"),
    "ca by serial": AuthoritySpec("CA", 1, "root", 11, issuer_id="serial"),
    "ca by wrong serial": AuthoritySpec("CA", 1, "root", 11, issuer_id="sha1+wrong serial"),
    "ca unnamed": AuthoritySpec("CA", 1, "root", 11, issuer_id=None),
    # An authority that issues CRLs for others.
    "crl issuer": AuthoritySpec("CRL Issuer", 6, "root", 17),
    "crl issuer by ca": AuthoritySpec("CRL Issuer", 6, "ca", 4),
    "second crl issuer": AuthoritySpec("CRL Issuer", 7, "root", 18),
    "stranger": AuthoritySpec("Stranger", 8, None, 1),
}


@dataclass(frozen=True, slots=True)
class EntrySpec:
    """
    An entry; ``issuer`` is the common name in certificateIssuer, if there is one,
    and ``respelled`` writes it differently. ``odd`` is a form of ODD_ENTRIES.
    """

    serial_number: int
    reason: int | None = None
    issuer: str | None = None
    respelled: bool = False
    odd: str | None = None


@dataclass(frozen=True, slots=True)
class CrlSpec:
    """
    A CRL by the key of *authority*. Days count from NOW; ``base`` is the
    BaseCRLNumber of a delta; ``respelled`` writes the issuer's name differently.
    ``exactly`` lets nextUpdate lie before thisUpdate. ``odd`` is a form of ODD_CRLS.
    """

    authority: str
    number: int | None
    entries: tuple[EntrySpec, ...] = ()
    point: str | None = None
    base: int | None = None
    this_update: int = -1
    next_update: int = 30
    respelled: bool = False
    keeps_expired: bool = False
    key_id: str | None = "sha1"
    exactly: bool = False
    odd: str | None = None


@dataclass(frozen=True, slots=True)
class Removal:
    """An operator removes the scope of a CRL, by its number among the world's CRLs."""

    crl: int


@dataclass(frozen=True, slots=True)
class Setting:
    """An operator says of such a scope whether it covers what has no distribution points."""

    crl: int
    covers: bool


@dataclass(frozen=True, slots=True)
class LeafSpec:
    """An end entity's certificate; ``points`` name its distribution points."""

    authority: str
    serial_number: int
    points: tuple[str, ...] = ()
    issuer_id: str | None = "sha1"
    expired: bool = False


Step = CrlSpec | Removal | Setting


@dataclass(frozen=True, slots=True)
class PolicySpec:
    """What is waived; ``unpublished`` are authorities, ``grace`` is in days."""

    hold: bool = False
    unknown_issuer: bool = False
    unpublished: tuple[str, ...] = ()
    grace: int = 0
    path_depth: int | None = None


@dataclass(frozen=True, slots=True)
class World:
    """
    ``steps`` are CRLs and what operators do, in the order of time, ``leaves`` are
    to be checked when ``days`` have passed since then. ``denied`` are certificates of
    authorities, or of leaves by their place among them; ``anchors`` are given to the
    checker, ``marked`` are the operator's; ``silent`` are authorities of which the
    operator says that they publish no CRL.
    """

    authorities: tuple[str, ...]
    steps: tuple[Step, ...]
    leaves: tuple[LeafSpec, ...]
    days: int = 0
    denied: tuple[str | int, ...] = ()
    anchors: tuple[str, ...] | None = None
    marked: tuple[str, ...] = ()
    silent: tuple[str, ...] = ()
    policy: PolicySpec = PolicySpec()

    @property
    def crls(self) -> tuple[CrlSpec, ...]:
        """The CRLs among the steps."""
        return tuple(step for step in self.steps if isinstance(step, CrlSpec))


# ---- distribution points -----------------------------------------------------

_CA_NAME = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "CA")])
_CRL_ISSUER_NAME = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "CRL Issuer")])
_RELATIVE = x509.RelativeDistinguishedName([x509.NameAttribute(NameOID.COMMON_NAME, "Part")])


def _full(*names: x509.GeneralName) -> list[x509.GeneralName]:
    return list(names)


_ONE = x509.UniformResourceIdentifier("http://crl.test/1")
_TWO = x509.UniformResourceIdentifier("http://crl.test/2")
_ONE_RESPELLED = x509.UniformResourceIdentifier("HTTP://Crl.Test/1")
_ONE_WITH_QUERY = x509.UniformResourceIdentifier("http://crl.test/1?A")
_ONE_WITH_OTHER_QUERY = x509.UniformResourceIdentifier("http://crl.test/1?a")
# The name to which the relative one expands below CA.
_EXPANDED = x509.DirectoryName(x509.Name([*_CA_NAME.rdns, _RELATIVE]))
_COMPROMISE = frozenset({x509.ReasonFlags.key_compromise, x509.ReasonFlags.ca_compromise})
_OTHERS = frozenset(set(x509.ReasonFlags) - _COMPROMISE - {
    x509.ReasonFlags.unspecified, x509.ReasonFlags.remove_from_crl,
})  # fmt: skip
_OVERLAPPING = _OTHERS | {x509.ReasonFlags.key_compromise}


def _point(
    names: list[x509.GeneralName] | None = None,
    *,
    relative: x509.RelativeDistinguishedName | None = None,
    reasons: frozenset[x509.ReasonFlags] | None = None,
    crl_issuer: x509.Name | None = None,
) -> x509.DistributionPoint:
    issuers = None if crl_issuer is None else _full(x509.DirectoryName(crl_issuer))
    return x509.DistributionPoint(names, relative, reasons, issuers)


POINTS = {
    "one": _point(_full(_ONE)),
    "two": _point(_full(_TWO)),
    "one or two": _point(_full(_ONE, _TWO)),
    "one, respelled": _point(_full(_ONE_RESPELLED)),
    "one?a": _point(_full(_ONE_WITH_OTHER_QUERY)),
    "relative": _point(relative=_RELATIVE),
    "expanded": _point(_full(_EXPANDED)),
    "ca itself": _point(_full(x509.DirectoryName(_CA_NAME))),
    "one, compromise": _point(_full(_ONE), reasons=_COMPROMISE),
    "one, others": _point(_full(_ONE), reasons=_OTHERS),
    "two, others": _point(_full(_TWO), reasons=_OTHERS),
    "by crl issuer": _point(crl_issuer=_CRL_ISSUER_NAME),
    "one by crl issuer": _point(_full(_ONE), crl_issuer=_CRL_ISSUER_NAME),
    "relative by crl issuer": _point(relative=_RELATIVE, crl_issuer=_CRL_ISSUER_NAME),
    "by crl issuer, compromise": _point(reasons=_COMPROMISE, crl_issuer=_CRL_ISSUER_NAME),
    "by ca": _point(crl_issuer=_CA_NAME),
}
"""DistributionPoints of certificates."""


def _scope(
    names: list[x509.GeneralName] | None = None,
    *,
    relative: x509.RelativeDistinguishedName | None = None,
    reasons: frozenset[x509.ReasonFlags] | None = None,
    only: str | None = None,
    indirect: bool = False,
) -> bytes:
    return x509.IssuingDistributionPoint(
        names,
        relative,
        only_contains_user_certs=only == "user",
        only_contains_ca_certs=only == "ca",
        only_some_reasons=reasons,
        indirect_crl=indirect,
        only_contains_attribute_certs=only == "attribute",
    ).public_bytes()


def _scope_for_none(
    names: list[x509.GeneralName] | None = None, *, indirect: bool = False
) -> bytes:
    """One with onlySomeReasons of bit 0 alone, in the place of one with keyCompromise alone."""
    reasons = frozenset({x509.ReasonFlags.key_compromise})
    one, none = der(0x83, b"\x06\x40"), der(0x83, b"\x07\x80")
    encoded = _scope(names, reasons=reasons, indirect=indirect)
    assert encoded.count(one) == 1
    return encoded.replace(one, none)


SCOPES = {
    "one": _scope(_full(_ONE)),
    "two": _scope(_full(_TWO)),
    "one or two": _scope(_full(_ONE, _TWO)),
    "one?A": _scope(_full(_ONE_WITH_QUERY)),
    "relative": _scope(relative=_RELATIVE),
    "expanded": _scope(_full(_EXPANDED)),
    "ca itself": _scope(_full(x509.DirectoryName(_CA_NAME))),
    "ca itself, compromise": _scope(_full(x509.DirectoryName(_CA_NAME)), reasons=_COMPROMISE),
    "users": _scope(only="user"),
    "cas": _scope(only="ca"),
    "attributes": _scope(only="attribute"),
    "one, users": _scope(_full(_ONE), only="user"),
    "compromise": _scope(reasons=_COMPROMISE),
    "others": _scope(reasons=_OTHERS),
    "overlapping": _scope(reasons=_OVERLAPPING),
    "one, compromise": _scope(_full(_ONE), reasons=_COMPROMISE),
    "one, others": _scope(_full(_ONE), reasons=_OTHERS),
    "two, others": _scope(_full(_TWO), reasons=_OTHERS),
    "indirect": _scope(indirect=True),
    "indirect, one": _scope(_full(_ONE), indirect=True),
    "indirect, relative": _scope(relative=_RELATIVE, indirect=True),
    "indirect, crl issuer": _scope(_full(x509.DirectoryName(_CRL_ISSUER_NAME)), indirect=True),
    "indirect, compromise": _scope(reasons=_COMPROMISE, indirect=True),
    # Only the bit that RFC 5280 5.2.5 has no use for.
    "none": _scope_for_none(),
    "one, none": _scope_for_none(names=_full(_ONE)),
    "ca itself, none": _scope_for_none(names=_full(x509.DirectoryName(_CA_NAME))),
    "indirect, none": _scope_for_none(indirect=True),
}
"""IssuingDistributionPoints of CRLs."""

# ---- odd values ---------------------------------------------------------------

_REASON, _INVALIDITY, _EXPIRED_CERTS = "2.5.29.21", "2.5.29.24", "2.5.29.60"


def _as_utc_time(year: int) -> bytes:
    return der(0x17, b"%02d0101000000Z" % (year % 100))


def _with_fractions(year: int) -> bytes:
    return der(0x18, b"%d0101000000.5Z" % year)


def _odd_entry(form: str, reason: int) -> bytes:
    """An extension of an entry; *reason* is what an odd reason code is meant to be."""
    what = form.removeprefix("critical ")
    values: dict[str, tuple[str, bytes]] = {
        "padded reason": (_REASON, der(0x0A, bytes((0, reason)))),
        "wide reason": (_REASON, der(0x0A, bytes((1, reason)))),
        "reason as INTEGER": (_REASON, der(0x02, bytes((reason,)))),
        "reason twice": (_REASON, der(0x0A, bytes((reason,))) * 2),
        "reason cut off": (_REASON, bytes((0x0A, 2, reason))),
        "date as UTCTime": (_INVALIDITY, _as_utc_time(2026)),
        "date with fractions": (_INVALIDITY, _with_fractions(2026)),
    }
    return encode_extension(*values[what], critical=what != form)


ODD_REASONS = (
    "padded reason", "wide reason", "reason as INTEGER", "reason twice", "reason cut off",
)  # fmt: skip
ODD_ENTRIES = (*ODD_REASONS, "date as UTCTime", "date with fractions",
               "critical padded reason", "critical date as UTCTime")  # fmt: skip
"""Odd extensions of entries."""

ODD_CRLS = {
    "since as UTCTime": encode_extension(_EXPIRED_CERTS, _as_utc_time(2025)),
    "since with fractions": encode_extension(_EXPIRED_CERTS, _with_fractions(2025)),
    "critical since as UTCTime": encode_extension(
        _EXPIRED_CERTS, _as_utc_time(2025), critical=True
    ),
}
"""Odd extensions of CRLs."""

# ---- bytes ------------------------------------------------------------------


class WorldBytes:
    """The DER of a world: ``issuers`` and ``leaves`` are certificates."""

    def __init__(self, world: World) -> None:
        self.issuers = [authority(name).der for name in world.authorities]
        self.crls = [crl_of(spec) for spec in world.crls]
        self.leaves = [leaf_of(spec) for spec in world.leaves]
        self.now = NOW + world.days * DAY


def _key(number: int) -> ec.EllipticCurvePrivateKey:
    # Any number makes a key; it need not be secret.
    return ec.derive_private_key(number + 0xC0FFEE, ec.SECP256R1())


@functools.cache
def key_id_of(method: str, key: int) -> bytes:
    """
    Return a key id: the *method* is a hash of the key (RFC 5280 4.2.1.2, RFC 7093),
    ``"spki"`` for one of the whole SubjectPublicKeyInfo, ``"wrong"``, or any of these
    ``"of"`` the key of another number.
    """
    method, _, other = method.partition(" of ")
    if method == "wrong":
        return b"\x01" * 20
    public = _key(int(other) if other else key).public_key()
    if method == "spki":
        info = public.public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        return hashlib.sha256(info).digest()
    point = public.public_bytes(
        serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint
    )
    return hashlib.new(method, point).digest()[:20]


def authority_key_id_of(issuer_id: str, issuer: str) -> x509.AuthorityKeyIdentifier:
    """
    Return the authority key id that names *issuer* by a method of :func:`key_id_of`,
    by ``"serial"`` or ``"wrong serial"``, or by both with a plus sign between them.
    """
    spec = AUTHORITIES[issuer]
    key_id = names = serial = None
    for part in issuer_id.split("+"):
        if part.endswith("serial"):
            names = [x509.DirectoryName(authority(issuer).certificate.issuer)]
            serial = 77 if part.startswith("wrong") else spec.serial_number
        else:
            key_id = key_id_of(part, spec.key)
    return x509.AuthorityKeyIdentifier(key_id, names, serial)


def _certificate(
    subject: str,
    key: ec.EllipticCurvePublicKey,
    issuer: str,
    issuer_key: ec.EllipticCurvePrivateKey,
    serial_number: int,
    not_after: datetime,
    extensions: Sequence[tuple[x509.ExtensionType, bool]],
) -> x509.Certificate:
    builder = (
        x509.CertificateBuilder()
        .subject_name(_name(subject))
        .issuer_name(_name(issuer))
        .public_key(key)
        .serial_number(serial_number)
        .not_valid_before(NOW - 400 * DAY)
        .not_valid_after(not_after)
    )
    for extension, is_critical in extensions:
        builder = builder.add_extension(extension, is_critical)
    return builder.sign(issuer_key, hashes.SHA256())


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


@functools.cache
def authority(name: str) -> CertificateAuthority:
    """Return an authority of AUTHORITIES, made once."""
    spec = AUTHORITIES[name]
    parent = spec if spec.parent is None else AUTHORITIES[spec.parent]
    key = _key(spec.key)
    usage = x509.KeyUsage(
        digital_signature=False, content_commitment=False, key_encipherment=False,
        data_encipherment=False, key_agreement=False, key_cert_sign=True,
        crl_sign=spec.may_sign_crls, encipher_only=False, decipher_only=False,
    )  # fmt: skip
    extensions: list[tuple[x509.ExtensionType, bool]] = [
        (x509.BasicConstraints(ca=True, path_length=None), True),
        (usage, True),
    ]
    if spec.key_id is not None:
        key_id = key_id_of(spec.key_id, spec.key)
        extensions.append((x509.SubjectKeyIdentifier(key_id), False))
    if spec.parent is not None and spec.issuer_id is not None:
        extensions.append((authority_key_id_of(spec.issuer_id, spec.parent), False))
    certificate = _certificate(
        spec.name,
        key.public_key(),
        parent.name,
        _key(parent.key),
        spec.serial_number,
        NOW + 3650 * DAY,
        extensions,
    )
    return CertificateAuthority(certificate, key)


@functools.lru_cache(maxsize=1000)
def leaf_of(spec: LeafSpec) -> bytes:
    """Return the certificate as DER."""
    issuer = AUTHORITIES[spec.authority]
    extensions: list[tuple[x509.ExtensionType, bool]] = [
        (x509.BasicConstraints(ca=False, path_length=None), True)
    ]
    if spec.issuer_id is not None:
        extensions.append((authority_key_id_of(spec.issuer_id, spec.authority), False))
    if spec.points:
        points = x509.CRLDistributionPoints([POINTS[name] for name in spec.points])
        extensions.append((points, False))
    certificate = _certificate(
        "leaf",
        _key(99).public_key(),
        issuer.name,
        _key(issuer.key),
        spec.serial_number,
        NOW - 2 * DAY if spec.expired else NOW + 365 * DAY,
        extensions,
    )
    return certificate.public_bytes(serialization.Encoding.DER)


@functools.lru_cache(maxsize=1000)
def crl_of(spec: CrlSpec) -> bytes:
    """Return the CRL as DER."""
    signer = authority(spec.authority)
    extensions = []
    if spec.key_id is not None:
        key_id = authority_key_id_of(spec.key_id, spec.authority).public_bytes()
        extensions.append(encode_extension("2.5.29.35", key_id))
    if spec.base is not None:
        number = x509.DeltaCRLIndicator(spec.base).public_bytes()
        extensions.append(encode_extension("2.5.29.27", number, critical=True))
    else:
        # OpenSSL looks for a delta only where a complete CRL says that there are some.
        freshest = x509.FreshestCRL([_point(_full(_ONE))]).public_bytes()
        extensions.append(encode_extension("2.5.29.46", freshest))
    if spec.point is not None:
        extensions.append(encode_extension("2.5.29.28", SCOPES[spec.point], critical=True))
    if spec.keeps_expired and spec.odd is None:
        since = b"\x18\x0f20250101000000Z"
        extensions.append(encode_extension(_EXPIRED_CERTS, since))
    if spec.odd is not None:
        extensions.append(ODD_CRLS[spec.odd])
    # Never the very moment of a check: what happens then is no matter of revocation.
    next_update = spec.next_update
    if not spec.exactly:
        next_update = max(next_update, spec.this_update + 1)
    return sign_crl(
        signer,
        [
            encode_entry(
                entry.serial_number,
                NOW - 25 * DAY,
                reason=None if entry.odd is not None and "reason" in entry.odd else entry.reason,
                certificate_issuer=None
                if entry.issuer is None
                else (_respelled if entry.respelled else _common_name)(entry.issuer),
                extra_extensions=[]
                if entry.odd is None
                else [_odd_entry(entry.odd, entry.reason or 0)],
            )
            for entry in spec.entries
        ],
        this_update=NOW + spec.this_update * DAY,
        next_update=NOW + next_update * DAY - HOUR,
        crl_number=spec.number,
        authority_key_id=False,
        extensions=extensions,
        issuer=_respelled(AUTHORITIES[spec.authority].name) if spec.respelled else None,
    )


@functools.cache
def _common_name(name: str) -> bytes:
    return encode_name(encode_attribute(name))


@functools.cache
def _respelled(name: str) -> bytes:
    """The same name (RFC 5280 7.1) in other bytes: a PrintableString of other case and spaces."""
    return encode_name(encode_attribute(f" {name.upper().replace(' ', '  ')}", tag=0x13))
