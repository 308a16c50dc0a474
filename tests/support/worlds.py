"""
Small worlds of authorities, CRLs and certificates: everything that RFC
5280 6.3 decides by, drawn from few enough values that things collide.

A world is plain data, which hypothesis can print and make smaller (see
``support.world_strategy``); ``WorldBytes`` has its DER.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from crlcheck.demo.pki import CertificateAuthority, encode_entry, encode_extension, sign_crl
from support.certificate_der import encode_attribute, encode_name

NOW = datetime(2026, 3, 1, tzinfo=UTC)
"""When everything is published."""
DAY = timedelta(days=1)
HOUR = timedelta(hours=1)

# ---- what a world is made of -------------------------------------------------


@dataclass(frozen=True, slots=True)
class AuthoritySpec:
    """A trusted certificate: common name and number of the key, and which one issued it."""

    name: str
    key: int
    parent: str | None
    serial_number: int
    may_sign_crls: bool = True


AUTHORITIES = {
    "root": AuthoritySpec("Root", 0, None, 1),
    "ca": AuthoritySpec("CA", 1, "root", 11),
    "ca twice": AuthoritySpec("CA", 1, "root", 12),
    "ca without cRLSign": AuthoritySpec("CA", 1, "root", 11, may_sign_crls=False),
    "ca of unknown root": AuthoritySpec("CA", 1, "stranger", 11),
    # Key rollover: either a sibling, or the old and the new key certify each other.
    "new ca": AuthoritySpec("CA", 2, "root", 13),
    "new ca with old": AuthoritySpec("CA", 2, "ca", 14),
    "old ca with new": AuthoritySpec("CA", 1, "new ca", 15),
    # A key for CRLs only.
    "signer": AuthoritySpec("CA", 3, "root", 16),
    "signer by ca": AuthoritySpec("CA", 3, "ca", 3),
    # Another authority of the same name.
    "other root": AuthoritySpec("Other Root", 5, None, 1),
    "namesake": AuthoritySpec("CA", 4, "other root", 11),
    "self-signed namesake": AuthoritySpec("CA", 4, None, 11),
    # An authority that issues CRLs for others.
    "crl issuer": AuthoritySpec("CRL Issuer", 6, "root", 17),
    "crl issuer by ca": AuthoritySpec("CRL Issuer", 6, "ca", 4),
    "second crl issuer": AuthoritySpec("CRL Issuer", 7, "root", 18),
    "stranger": AuthoritySpec("Stranger", 8, None, 1),
}


@dataclass(frozen=True, slots=True)
class EntrySpec:
    """An entry; ``issuer`` is the common name in certificateIssuer, if there is one."""

    serial_number: int
    reason: int | None = None
    issuer: str | None = None


@dataclass(frozen=True, slots=True)
class CrlSpec:
    """
    A CRL by the key of *authority*. Days count from NOW; ``base`` is the
    BaseCRLNumber of a delta; ``respelled`` writes the issuer's name differently.
    """

    authority: str
    number: int | None
    entries: tuple[EntrySpec, ...]
    point: str | None = None
    base: int | None = None
    this_update: int = -1
    next_update: int = 30
    respelled: bool = False
    keeps_expired: bool = False


@dataclass(frozen=True, slots=True)
class LeafSpec:
    """An end entity's certificate; ``points`` name its distribution points."""

    authority: str
    serial_number: int
    points: tuple[str, ...] = ()
    authority_key_id: bool = True
    expired: bool = False


@dataclass(frozen=True, slots=True)
class World:
    """
    ``crls`` are in the order of their publication, ``leaves`` are to be judged
    when ``days`` have passed since then.
    """

    authorities: tuple[str, ...]
    crls: tuple[CrlSpec, ...]
    leaves: tuple[LeafSpec, ...]
    days: int


# ---- distribution points -----------------------------------------------------

_CA_NAME = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "CA")])
_CRL_ISSUER_NAME = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "CRL Issuer")])
_RELATIVE = x509.RelativeDistinguishedName([x509.NameAttribute(NameOID.COMMON_NAME, "Part")])


def _full(*names: x509.GeneralName) -> list[x509.GeneralName]:
    return list(names)


_ONE = x509.UniformResourceIdentifier("http://crl.test/1")
_TWO = x509.UniformResourceIdentifier("http://crl.test/2")
# The name to which the relative one expands below CA.
_EXPANDED = x509.DirectoryName(x509.Name([*_CA_NAME.rdns, _RELATIVE]))
_COMPROMISE = frozenset({x509.ReasonFlags.key_compromise, x509.ReasonFlags.ca_compromise})
_OTHERS = frozenset(set(x509.ReasonFlags) - _COMPROMISE - {
    x509.ReasonFlags.unspecified, x509.ReasonFlags.remove_from_crl,
})  # fmt: skip


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


SCOPES = {
    "one": _scope(_full(_ONE)),
    "two": _scope(_full(_TWO)),
    "one or two": _scope(_full(_ONE, _TWO)),
    "relative": _scope(relative=_RELATIVE),
    "expanded": _scope(_full(_EXPANDED)),
    "ca itself": _scope(_full(x509.DirectoryName(_CA_NAME))),
    "users": _scope(only="user"),
    "cas": _scope(only="ca"),
    "attributes": _scope(only="attribute"),
    "one, users": _scope(_full(_ONE), only="user"),
    "compromise": _scope(reasons=_COMPROMISE),
    "others": _scope(reasons=_OTHERS),
    "one, compromise": _scope(_full(_ONE), reasons=_COMPROMISE),
    "one, others": _scope(_full(_ONE), reasons=_OTHERS),
    "two, others": _scope(_full(_TWO), reasons=_OTHERS),
    "indirect": _scope(indirect=True),
    "indirect, one": _scope(_full(_ONE), indirect=True),
    "indirect, relative": _scope(relative=_RELATIVE, indirect=True),
    "indirect, crl issuer": _scope(_full(x509.DirectoryName(_CRL_ISSUER_NAME)), indirect=True),
    "indirect, compromise": _scope(reasons=_COMPROMISE, indirect=True),
}
"""IssuingDistributionPoints of CRLs."""

# ---- octets ------------------------------------------------------------------


class WorldBytes:
    """The DER of a world: ``issuers`` and ``leaves`` are certificates."""

    def __init__(self, world: World) -> None:
        self.issuers = [authority(name).der for name in world.authorities]
        self.crls = [crl_of(spec) for spec in world.crls]
        self.leaves = [leaf_of(spec) for spec in world.leaves]
        self.now = NOW + world.days * DAY


@functools.cache
def authority(name: str) -> CertificateAuthority:
    """Return an authority of AUTHORITIES, made once."""
    spec = AUTHORITIES[name]
    return CertificateAuthority.create(
        spec.name,
        # Any number makes a key; it need not be secret.
        private_key=ec.derive_private_key(spec.key + 0xC0FFEE, ec.SECP256R1()),
        parent=None if spec.parent is None else authority(spec.parent),
        may_sign_crls=spec.may_sign_crls,
        serial_number=spec.serial_number,
        now=NOW,
        not_before=NOW - 400 * DAY,
        not_after=NOW + 3650 * DAY,
    )


@functools.cache
def leaf_of(spec: LeafSpec) -> bytes:
    """Return the certificate as DER."""
    issued = authority(spec.authority).issue(
        "leaf",
        serial_number=spec.serial_number,
        distribution_points=[POINTS[name] for name in spec.points],
        authority_key_id=spec.authority_key_id,
        not_before=NOW - 300 * DAY,
        not_after=NOW - 2 * DAY if spec.expired else NOW + 365 * DAY,
    )
    return issued.der


def crl_of(spec: CrlSpec) -> bytes:
    """Return the CRL as DER."""
    signer = authority(spec.authority)
    extensions = []
    if spec.base is not None:
        number = x509.DeltaCRLIndicator(spec.base).public_bytes()
        extensions.append(encode_extension("2.5.29.27", number, critical=True))
    else:
        # OpenSSL looks for a delta only where a complete CRL says that there are some.
        freshest = x509.FreshestCRL([_point(_full(_ONE))]).public_bytes()
        extensions.append(encode_extension("2.5.29.46", freshest))
    if spec.point is not None:
        extensions.append(encode_extension("2.5.29.28", SCOPES[spec.point], critical=True))
    if spec.keeps_expired:
        since = b"\x18\x0f20250101000000Z"
        extensions.append(encode_extension("2.5.29.60", since))
    return sign_crl(
        signer,
        [
            encode_entry(
                entry.serial_number,
                NOW - 25 * DAY,
                reason=entry.reason,
                certificate_issuer=None if entry.issuer is None else _common_name(entry.issuer),
            )
            for entry in spec.entries
        ],
        this_update=NOW + spec.this_update * DAY,
        # Never the very moment of a check: what happens then is no matter of revocation.
        next_update=NOW + max(spec.next_update, spec.this_update + 1) * DAY - HOUR,
        crl_number=spec.number,
        extensions=extensions,
        issuer=_respelled(AUTHORITIES[spec.authority].name) if spec.respelled else None,
    )


@functools.cache
def _common_name(name: str) -> bytes:
    return encode_name(encode_attribute(name))


@functools.cache
def _respelled(name: str) -> bytes:
    """The same name (RFC 5280 7.1) in other octets: a PrintableString of other case and spaces."""
    return encode_name(encode_attribute(f" {name.upper().replace(' ', '  ')}", tag=0x13))
