"""
Define the values that crlcheck returns: enums and frozen dataclasses.

Names are those of RFC 5280. Every ``datetime`` is aware and in UTC.
"""

from __future__ import annotations

import enum
import hashlib
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from crlcheck.times import time_at, time_text


class RevocationStatus(enum.Enum):
    """The status of a certificate. Only NOT_REVOKED means that it may pass."""

    REVOKED = "revoked"
    NOT_REVOKED = "not_revoked"
    UNDETERMINED = "undetermined"


class UndeterminedCause(enum.Enum):
    """Why a certificate is UNDETERMINED."""

    UNKNOWN_ISSUER = "unknown_issuer"
    AMBIGUOUS_ISSUER = "ambiguous_issuer"
    OUT_OF_SCOPE = "out_of_scope"
    STALE = "stale"
    NOT_YET_VALID = "not_yet_valid"
    REASONS_NOT_COVERED = "reasons_not_covered"
    CERTIFICATE_EXPIRED = "certificate_expired"
    CRL_SIGNER_REVOKED = "crl_signer_revoked"
    STORE_UNAVAILABLE = "store_unavailable"
    CERTIFICATE_HOLD = "certificate_hold"
    """Only in ``CheckResult.waived``: a certificate on hold is otherwise REVOKED."""


class ReasonCode(enum.IntEnum):
    """CRLReason of RFC 5280 5.3.1; 7 is not used."""

    UNSPECIFIED = 0
    KEY_COMPROMISE = 1
    CA_COMPROMISE = 2
    AFFILIATION_CHANGED = 3
    SUPERSEDED = 4
    CESSATION_OF_OPERATION = 5
    CERTIFICATE_HOLD = 6
    REMOVE_FROM_CRL = 8
    PRIVILEGE_WITHDRAWN = 9
    AA_COMPROMISE = 10


class CrlWarning(enum.Flag):
    """
    A deviation from RFC 5280 that crlcheck accepts in a CRL, and reports.

    The first values are those of ``crlcheck_warning`` in the native header. The
    last two are found in Python only.
    """

    NEGATIVE_SERIAL = 1
    ZERO_SERIAL = 2
    LONG_SERIAL = 4
    EMPTY_REVOKED_LIST = 8
    EMPTY_ENTRY_EXTENSIONS = 16
    TIME_ENCODING = 32
    UNKNOWN_REASON = 64
    REMOVE_FROM_CRL = 128
    NO_NEXT_UPDATE = 256
    NO_CRL_NUMBER = 512
    NO_AUTHORITY_KEY_ID = 1024
    CRITICALITY = 2048
    VERSION_1 = 4096
    DUPLICATE_SERIALS = 8192
    EQUAL_TIMES = 16384
    ODD_EXTENSION = 32768
    WEAK_SIGNATURE_HASH = 1 << 16
    SMALL_RSA_KEY = 1 << 17

    @property
    def names(self) -> tuple[str, ...]:
        """The stable name of each warning, as in an image's metadata."""
        return tuple(warning.name.lower() for warning in self if warning.name)


@dataclass(frozen=True, slots=True)
class DistributionPoint:
    """
    A DistributionPoint (RFC 5280 4.2.1.13) of a certificate or of a CRL's IDP.

    ``full_names`` are whole GeneralName elements; ``relative_name`` is the
    contents of nameRelativeToCRLIssuer; ``reasons`` is None for all reasons,
    else a mask with bit i for ReasonFlags bit i; ``crl_issuers`` are whole
    GeneralName elements.
    """

    full_names: tuple[bytes, ...] = ()
    relative_name: bytes | None = None
    reasons: int | None = None
    crl_issuers: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class IssuingDistributionPoint:
    """The issuingDistributionPoint of a CRL (RFC 5280 5.2.5)."""

    point: DistributionPoint
    only_contains_user_certs: bool = False
    only_contains_ca_certs: bool = False
    only_contains_attribute_certs: bool = False
    indirect_crl: bool = False


@dataclass(frozen=True, slots=True)
class CertificateFacts:
    """
    The fields of a certificate that a revocation check needs.

    ``issuer``, ``subject`` and ``subject_public_key_info`` are whole DER
    elements; key ids are the bytes of the identifier. ``key_usage`` has bit i
    for KeyUsage bit i and is None where the extension is absent.
    ``authority_cert_issuer`` has whole GeneralName elements; it and
    ``authority_cert_serial_number`` are the authority key identifier's other half
    (RFC 5280 4.2.1.1), empty and None where one of them is missing or malformed.
    """

    der: bytes = field(repr=False)
    serial_number: int
    issuer: bytes
    subject: bytes
    not_before: datetime
    not_after: datetime
    subject_public_key_info: bytes = field(repr=False)
    authority_key_id: bytes | None
    subject_key_id: bytes | None
    is_ca: bool
    key_usage: int | None
    distribution_points: tuple[DistributionPoint, ...]
    authority_cert_issuer: tuple[bytes, ...] = ()
    authority_cert_serial_number: int | None = None

    @property
    def may_sign_crls(self) -> bool:
        """Whether keyUsage, where present, has cRLSign (RFC 5280 6.3.3 f)."""
        return self.key_usage is None or bool(self.key_usage & (1 << 6))


class _UnreadDates:
    """The place of an entry for its dates, in seconds since 1970; no fields themselves."""

    __slots__ = ("_seconds",)

    _seconds: tuple[int | None, int | None]


@dataclass(frozen=True, slots=True)
class RevokedEntry(_UnreadDates):
    """One entry of a CRL. Dates are None where the image holds no attributes."""

    serial_number: int
    reason_code: ReasonCode | None
    revocation_date: datetime | None
    invalidity_date: datetime | None
    certificate_issuer: bytes

    if not TYPE_CHECKING:  # with it, any name would be an attribute for mypy

        def __getattr__(self, name: str) -> Any:
            # Called for a slot that has no value yet, as in CheckResult.
            if name not in _DATES:
                raise AttributeError(f"a RevokedEntry has no attribute {name!r}")
            seconds = self._seconds[_DATES.index(name)]
            date = None if seconds is None else time_at(seconds)
            object.__setattr__(self, name, date)
            return date


_DATES = ("revocation_date", "invalidity_date")


def entry_to_read(
    serial_number: int,
    reason_code: ReasonCode | None,
    certificate_issuer: bytes,
    revoked: int | None,
    invalid: int | None,
) -> RevokedEntry:
    """Return an entry whose dates, in seconds since 1970, are converted when they are read."""
    entry = _NEW(RevokedEntry)
    _SET_ENTRY_SERIAL(entry, serial_number)
    _SET_ENTRY_REASON(entry, reason_code)
    _SET_ENTRY_ISSUER(entry, certificate_issuer)
    _SET_ENTRY_SECONDS(entry, (revoked, invalid))
    return entry


# Without the check that refuses to change a frozen instance.
_NEW = object.__new__
_SET_ENTRY_SERIAL, _SET_ENTRY_REASON, _SET_ENTRY_ISSUER = (
    RevokedEntry.__dict__[name].__set__
    for name in ("serial_number", "reason_code", "certificate_issuer")
)
_SET_ENTRY_SECONDS = _UnreadDates.__dict__["_seconds"].__set__


@dataclass(frozen=True, slots=True)
class ImageMetadata:
    """
    The metadata in an image: the CRL's fields, the key that verified it, and counts.

    ``issuer`` and ``issuing_distribution_point`` are whole DER elements;
    ``issuer_hash`` is the SHA-256 of the canonical issuer name and
    ``verifier_key_hash`` that of the verifying certificate's
    subjectPublicKeyInfo, None in an image of a CRL that was not verified.
    """

    version: int
    issuer: bytes
    issuer_hash: bytes
    authority_key_id: bytes | None
    verifier_key_hash: bytes | None
    verifier_subject_key_id: bytes | None
    issuing_distribution_point: bytes | None
    crl_number: int | None
    base_crl_number: int | None
    this_update: datetime
    next_update: datetime | None
    expired_certs_on_crl: datetime | None
    signature_algorithm: str
    tbs_digest: str
    num_entries: int
    num_duplicates: int
    attributes: bool
    warnings: CrlWarning

    @property
    def verified(self) -> bool:
        """Whether a trusted issuer's key verified the CRL before it was compiled."""
        return self.verifier_key_hash is not None

    @property
    def is_delta(self) -> bool:
        """Whether the CRL is a delta CRL (RFC 5280 5.2.4)."""
        return self.base_crl_number is not None

    def is_past(self, now: datetime) -> bool:
        """Whether the CRL is past its nextUpdate (RFC 5280 5.1.2.5)."""
        return self.next_update is not None and now > self.next_update

    @property
    def scope(self) -> str:
        """
        The hex key of the CRL's scope: a hash of the canonical issuer name, the key
        that verified it and its whole issuingDistributionPoint.
        """
        return _scope_key(self.issuer_hash, self.verifier_key_hash, self.issuing_distribution_point)


@lru_cache(maxsize=1 << 14)
def _scope_key(*parts: bytes | None) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part or b"").to_bytes(8, "big") + (part or b""))
    return digest.hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class OddExtension:
    """
    An extension whose value has another form than it should, and which counts as absent.

    ``oid`` and ``name`` are the extension's. ``first_entry`` is the number of the first
    entry that has such an extension, from 1, and ``first_serial`` its serial number; both
    are None for an extension of the CRL. ``count`` is the number of entries, 1 for the CRL.
    """

    oid: str
    name: str
    count: int
    first_entry: int | None = None
    first_serial: int | None = None

    def __str__(self) -> str:
        what = f"extension {self.name} ({self.oid})"
        if self.first_entry is None or self.first_serial is None:
            return f"{what} of the CRL has an odd value and counts as absent"
        entries = f"{self.count:,} entries have" if self.count != 1 else "1 entry has"
        return (
            f"{entries} an odd value of {what}, which counts as absent; the first is entry "
            f"{self.first_entry:,} with serial number {self.first_serial:x}"
        )

    def as_dict(self) -> dict[str, str | int | None]:
        """Return the fields as JSON-ready values: the serial number in hex."""
        serial = None if self.first_serial is None else f"{self.first_serial:x}"
        return {
            "oid": self.oid,
            "name": self.name,
            "count": self.count,
            "first_entry": self.first_entry,
            "first_serial": serial,
        }


@dataclass(frozen=True, slots=True)
class CompileReport:
    """
    The result of compiling one CRL: the image's metadata, and sizes in bytes.

    ``source_size`` is that of the CRL as DER, in whatever form it was given.
    ``image`` has the image if no output was given. ``digest`` is the hex digest that
    authenticates the image. ``odd_extensions`` tells what the warning ODD_EXTENSION is
    about.
    """

    metadata: ImageMetadata
    source_size: int
    image_size: int
    digest: str
    image: bytes | None = field(default=None, repr=False)
    odd_extensions: tuple[OddExtension, ...] = ()

    @property
    def issuer(self) -> bytes:
        """The CRL's issuer, a Name as DER."""
        return self.metadata.issuer

    @property
    def num_entries(self) -> int:
        """How many entries the image has."""
        return self.metadata.num_entries

    @property
    def num_duplicates(self) -> int:
        """How many entries of the CRL were merged into others."""
        return self.metadata.num_duplicates

    @property
    def crl_number(self) -> int | None:
        """The CRL number; None without one."""
        return self.metadata.crl_number

    @property
    def base_crl_number(self) -> int | None:
        """The BaseCRLNumber of a delta CRL; None of a complete one."""
        return self.metadata.base_crl_number

    @property
    def this_update(self) -> datetime:
        """When the CRL was issued."""
        return self.metadata.this_update

    @property
    def next_update(self) -> datetime | None:
        """The time by which the next CRL will be issued."""
        return self.metadata.next_update

    @property
    def tbs_digest(self) -> str:
        """The algorithm and hex digest of the CRL's signed bytes, which identify it."""
        return self.metadata.tbs_digest

    @property
    def warnings(self) -> CrlWarning:
        """The deviations from RFC 5280 that were accepted."""
        return self.metadata.warnings

    def as_dict(self) -> dict[str, Any]:
        """Return the report as JSON-ready values, for logs: the issuer's DER in hex, no image."""
        return {
            "issuer": self.issuer.hex(),
            "crl_number": self.crl_number,
            "base_crl_number": self.base_crl_number,
            "this_update": time_text(self.this_update),
            "next_update": time_text(self.next_update),
            "num_entries": self.num_entries,
            "num_duplicates": self.num_duplicates,
            "source_size": self.source_size,
            "image_size": self.image_size,
            "tbs_digest": self.tbs_digest,
            "digest": self.digest,
            "warnings": list(self.warnings.names),
            "odd_extensions": [one.as_dict() for one in self.odd_extensions],
        }


class PublishWarningKind(enum.Enum):
    """A reason to look at a CRL although it was published. The values are stable."""

    EXPIRED = "expired"
    """The CRL was past its nextUpdate."""
    MOSTLY_LIFTED = "mostly_lifted"
    """It lacks most entries of its predecessor, which had few entries, or it was allowed to."""
    RECENTLY_LIFTED = "recently_lifted"
    """It lifts revocations that were recent and not holds."""
    ALTERNATING_SIGNERS = "alternating_signers"
    """Several signers or sources seem to alternate in the scope."""
    NEWER_EXPIRED_CRL = "newer_expired_crl"
    """An expired CRL of the same issuer is newer than a current one, so certificates are STALE."""
    EXPIRED_REPLACED = "expired_replaced"
    """An expired CRL of the same issuer is replaced by a newer one of another scope."""
    REMOVED_ISSUER = "removed_issuer"
    """A given issuer certificate is not trusted, because an operator removed it."""
    UNVERIFIED_SELF_SIGNED = "unverified_self_signed"
    """A new issuer certificate counts as self-signed by its names: its signature is unverified."""


@dataclass(frozen=True, slots=True)
class PublishWarning:
    """A warning in words. ``scopes`` are those concerned besides the CRL's own."""

    kind: PublishWarningKind
    detail: str
    scopes: tuple[str, ...] = ()

    def __str__(self) -> str:
        return self.detail


@dataclass(frozen=True, slots=True)
class PublishReport:
    """
    The result of publishing one CRL.

    ``issuer_name`` is the CRL's issuer in words.
    ``published`` is False where the same CRL was already there (a no-op).
    ``generation`` is the catalog's generation afterwards; ``image_name`` is the
    image's name in the store. ``is_delta`` tells that it is the scope's delta,
    beside its complete CRL; a delta that adds nothing to that one is not
    published, and ``image_name`` is the complete CRL's. ``num_newly_revoked``
    and ``num_lifted`` tell how many certificates the scope revokes now and did
    not before, and the reverse; ``num_lifted_recently`` how many of the latter
    had been revoked in the last 90 days and were not on hold. They are None
    where they were not counted. ``seconds`` has the time of each stage;
    ``num_lost_swaps`` counts how often another publication came first.
    """

    compiled: CompileReport
    image_name: str
    generation: int
    published: bool
    num_newly_revoked: int | None = None
    num_lifted: int | None = None
    num_lifted_recently: int | None = None
    warnings: tuple[PublishWarning, ...] = ()
    seconds: Mapping[str, float] = field(default_factory=dict, compare=False)
    num_lost_swaps: int = 0
    issuer_name: str = ""

    @property
    def scope(self) -> str:
        """The key of the CRL's scope."""
        return self.compiled.metadata.scope

    @property
    def is_delta(self) -> bool:
        """Whether the CRL is its scope's delta."""
        return self.compiled.metadata.is_delta


class StaleRule(enum.Enum):
    """How an unlisted certificate is treated when the CRL is past nextUpdate."""

    DENY = "deny"
    GRACE = "grace"


class ImageLoading(enum.Enum):
    """
    How a checker loads the images of a store.

    WHOLE: before the first answer from an image, all of it.
    PAGES: only the pages that answers need. The last ones used are kept.
    PAGES_THEN_WHOLE: answers come from pages, while all of the image is loaded.
    """

    WHOLE = "whole"
    PAGES = "pages"
    PAGES_THEN_WHOLE = "pages_then_whole"


class Rule(enum.Enum):
    """How a certificate is treated to which a waivable cause applies."""

    DENY = "deny"
    ALLOW = "allow"


@dataclass(frozen=True, slots=True)
class Policy:
    """
    The causes that a check may waive. Every field fails closed by default, and the
    result lists what was waived.

    stale, stale_grace: DENY makes an unlisted certificate
        UNDETERMINED(STALE) as soon as nextUpdate has passed; GRACE waits for
        ``stale_grace`` after it. Of several CRLs that apply the newest counts.
    unknown_issuer: ALLOW lets certificates pass whose issuer's name no trusted
        certificate has: for services some of whose clients have other CAs.
    unpublished_issuers: certificates (as the checker's *issuers*) of trusted CAs
        that publish no CRL. Certificates by such a key pass while no CRL of it is
        published; the path above it is checked all the same. This makes no issuer
        trusted: one that is not trusted stays unknown.
    no_distribution_point: ALLOW lets every CRL of its issuer cover a
        certificate without CRLDistributionPoints, even one that names a
        distribution point (RFC 5280 5.2.5 says that such a CRL covers only the
        certificates that name it). All of them are consulted.
    path_depth: how many issuers are checked above the certificate given: None
        for all up to a trust anchor, 0 for none.
    hold: ALLOW lets certificates on hold (certificateHold, RFC 5280 5.3.1) pass,
        unless they are listed for a final reason as well, in whatever CRL.
    expired_certificate: ALLOW takes an unlisted certificate past notAfter for
        not revoked, although CAs drop expired entries.
    clock_skew: how far in the future thisUpdate may lie.

    Raises:
        ValueError: a duration or the depth is negative.
        TypeError: a field has a value of another type, such as "deny" for Rule.DENY.
    """

    stale: StaleRule = StaleRule.DENY
    stale_grace: timedelta = timedelta(0)
    unknown_issuer: Rule = Rule.DENY
    unpublished_issuers: Any = field(default=(), metadata={"read": Path})
    no_distribution_point: Rule = Rule.DENY
    path_depth: int | None = None
    hold: Rule = Rule.DENY
    expired_certificate: Rule = Rule.DENY
    clock_skew: timedelta = timedelta(minutes=5)

    def __post_init__(self) -> None:
        # Whatever is not DENY would waive something: "deny", None and False too.
        for name, kind in _POLICY_TYPES.items():
            value = getattr(self, name)
            if not isinstance(value, kind) or isinstance(value, bool):
                is_choice = isinstance(kind, enum.EnumType)
                expected = " or ".join(map(str, kind)) if is_choice else _type_name(kind)
                raise TypeError(f"{name}: expected {expected}, found {value!r:.80}")
        for name in ("stale_grace", "clock_skew"):
            if getattr(self, name) < timedelta(0):
                raise ValueError(f"{name}: expected no negative time, found {getattr(self, name)}")
        if self.path_depth is not None and self.path_depth < 0:
            raise ValueError(f"path_depth: expected None or 0 and more, found {self.path_depth}")
        object.__setattr__(self, "unpublished_issuers", _sources(self.unpublished_issuers))


_POLICY_TYPES: Mapping[str, Any] = {
    "stale": StaleRule,
    "stale_grace": timedelta,
    "unknown_issuer": Rule,
    "no_distribution_point": Rule,
    "path_depth": int | None,
    "hold": Rule,
    "expired_certificate": Rule,
    "clock_skew": timedelta,
}


def _type_name(kind: Any) -> str:
    return str(getattr(kind, "__name__", kind))


def _sources(given: Any) -> tuple[Any, ...]:
    """Return one source or several as values that do not change, so that a policy can be hashed."""
    is_one = isinstance(given, _ONE)
    several = (given,) if is_one or not isinstance(given, Iterable) else given
    return tuple(bytes(one) if isinstance(one, bytearray | memoryview) else one for one in several)


def several(name: str, given: Iterable[_T]) -> Iterable[_T]:
    """
    Return *given*, the argument *name*, which is to be several things, if it is not one thing.

    Text, bytes and files can be iterated, too, but over letters, numbers and lines: what was
    meant would not be read, and a file with the name of a letter would.

    Raises:
        TypeError: it is one thing, or cannot be iterated.
    """
    if type(given) in _PLAIN_SEVERAL:
        return given
    found: object = given
    is_one = isinstance(found, _ONE) or hasattr(found, "read")
    if not is_one and isinstance(found, Iterable):
        return given
    examples = (('"…"', str), ('Path("…")', os.PathLike), ('b"…"', _ONE))
    one = next((text for text, kind in examples if isinstance(found, kind)), "…")
    raise TypeError(
        f"{name}: found {type(given).__name__}, expected an iterable, such as a list: "
        f"for a single one write [{one}]"
    )


_Choice = TypeVar("_Choice", bound=enum.Enum)


def chosen(name: str, kind: type[_Choice], given: _Choice | str) -> _Choice:
    """
    Return the member of *kind* that the argument *name* is, or whose value it is.

    Raises:
        ValueError: it is none; the message lists what there is.
    """
    try:
        return kind(given)
    except ValueError:
        choices = ", ".join(repr(one.value) for one in kind)
        raise ValueError(f"{name}: expected one of {choices}, found {given!r:.80}") from None


_T = TypeVar("_T")
_PLAIN_SEVERAL = (list, tuple)
_ONE = (str, bytes, bytearray, memoryview, os.PathLike)


class UnreadFields(Protocol):
    """What a result's fields are made of when they are first read."""

    def field(self, name: str, given: Any) -> Any:
        """Return a field of the result on the certificate *given*, or of its facts."""


class _Unread:
    """The places of a result for what its fields are made of; no fields themselves."""

    __slots__ = ("_given", "_unread")

    _unread: UnreadFields
    _given: Any


@dataclass(frozen=True, slots=True)
class CheckResult(_Unread):
    """
    The result of a check: a certificate's status, and the CRL that decided.

    ``cause`` is set exactly when the status is UNDETERMINED. The CRL fields are
    those of the CRL that decided, None where none did. ``certificate`` is the
    certificate that decided (on a path, not necessarily the leaf). ``denied``
    tells that it is REVOKED because an operator denied it by hand, whatever the
    CRLs say.

    A checker makes most fields when they are first read, such as the sentence in
    ``detail``, from what does not change after the check.

    A result is not a bool: ``bool(result)`` raises ``TypeError``, so that no typo
    fails open.
    """

    status: RevocationStatus
    cause: UndeterminedCause | None
    detail: str
    serial_number: int | None = None
    reason_code: ReasonCode | None = None
    revocation_date: datetime | None = None
    crl_number: int | None = None
    this_update: datetime | None = None
    next_update: datetime | None = None
    scope: str | None = None
    certificate: CertificateFacts | None = field(default=None, repr=False)
    waived: tuple[UndeterminedCause, ...] = ()
    denied: bool = False

    if not TYPE_CHECKING:  # with it, any name would be an attribute for mypy

        def __getattr__(self, name: str) -> Any:
            # Called for a slot that has no value yet. Threads that read it at once make
            # equal values.
            if name not in _FIELDS:
                raise AttributeError(f"a CheckResult has no attribute {name!r}")
            value = self._unread.field(name, self._given)
            object.__setattr__(self, name, value)
            return value

    def __bool__(self) -> bool:
        raise TypeError("a CheckResult is not a bool: compare result.status")

    def __str__(self) -> str:
        return self.detail

    def as_dict(self) -> dict[str, str | int | bool | list[str] | None]:
        """Return the result as JSON-ready scalars, for logs."""
        return {
            "status": self.status.value,
            "cause": None if self.cause is None else self.cause.value,
            "detail": self.detail,
            "serial_number": None if self.serial_number is None else f"{self.serial_number:x}",
            "reason_code": None if self.reason_code is None else self.reason_code.name.lower(),
            "revocation_date": time_text(self.revocation_date),
            "crl_number": self.crl_number,
            "this_update": time_text(self.this_update),
            "next_update": time_text(self.next_update),
            "scope": self.scope,
            "waived": [cause.value for cause in self.waived],
            "denied": self.denied,
        }


_FIELDS = frozenset(one.name for one in fields(CheckResult))
# As above: a result is made at each check.
_SET_STATUS, _SET_SERIAL_NUMBER = (
    CheckResult.__dict__[name].__set__ for name in ("status", "serial_number")
)
_SET_UNREAD, _SET_GIVEN = (_Unread.__dict__[name].__set__ for name in ("_unread", "_given"))


def result_to_read(
    status: RevocationStatus, serial_number: int | None, unread: UnreadFields, given: Any
) -> CheckResult:
    """Return a result whose other fields are made by *unread* when they are first read."""
    result = _NEW(CheckResult)
    _SET_STATUS(result, status)
    _SET_SERIAL_NUMBER(result, serial_number)
    _SET_UNREAD(result, unread)
    _SET_GIVEN(result, given)
    return result


def unread_of(result: CheckResult) -> tuple[UnreadFields, Any] | None:
    """Return what was given to ``result_to_read``, None for a result that was made whole."""
    try:
        return result._unread, result._given
    except AttributeError:
        return None


@dataclass(frozen=True, slots=True)
class Freshness:
    """
    How current a checker's catalog is, and how polling its store went.

    ``catalog_age`` is the time since the catalog was last read in full, None
    before that and for a checker of open indexes. The counts begin when the checker
    is made. ``num_polls`` counts how often the store was asked, and
    ``num_failed_polls`` how often that failed; ``last_poll_seconds`` is the time that
    the last poll took. ``num_refused_polls`` counts the polls that found an unusable
    catalog, or one of an earlier generation than the one in use. ``behind_for`` is how
    long a cache before the store has handed out earlier generations than the one in use;
    None while it does not. ``signed_for`` is the time until the signature of the set expires,
    negative after that; None where no signature is demanded.
    """

    catalog_age: timedelta | None = None
    num_polls: int = 0
    num_failed_polls: int = 0
    last_poll_seconds: float | None = None
    num_refused_polls: int = 0
    behind_for: timedelta | None = None
    signed_for: timedelta | None = None


class ProblemKind(enum.Enum):
    """
    The kinds of problem that a checker may have.

    NOT_LOADED: no published set could be read yet, or none was asked for.
    TOO_OLD: the set is older than ``max_catalog_age``.
    SIGNATURE_EXPIRED: the signature of the set has expired, and no later one was read.
    SIGNATURE_ENDS_SOON: a quarter of the time that the signature of the set holds is left,
        or less.
    NOTHING_PUBLISHED: the set has no complete CRL.
    STALE, NOT_YET_VALID: a CRL is not current, and no policy waives that.
    EXPIRED_REPLACED: a CRL is past its nextUpdate, and a newer one of another scope that
        covers all that it covers is not: no certificate is STALE for it.
    IMAGE_UNAVAILABLE: the image of a CRL could not be loaded when it was needed.
    PART_UNAVAILABLE: a part of the set could not be read. Its certificates are UNDETERMINED,
        unless a check has read it before.
    MORE_PROBLEMS: there are more problems than are listed.
    PATH_UNDETERMINED: an issuer above that of a CRL is UNDETERMINED.
    CLEARS_NOBODY: no CRL clears any certificate, though one is current: it is for
        some reasons only, or a newer one for the same certificates is stale.
    STORE_FAILING: the last poll failed, or has been running for long.
    CATALOG_WENT_BACK: the store has an earlier generation than the one in use, or
        another catalog of the same one: an old one was restored.
    CATALOG_REFUSED: the store has a catalog that cannot be used.
    STORE_BEHIND: a cache before the store hands out an earlier generation than the one in
        use, which stays in use.
    UNVERIFIED_ISSUER: paths end at an issuer that counts as self-signed by its name and
        key ids only, because its signature could not be verified.
    BACKGROUND_REFRESH: the thread could not be started; the checks ask instead.
    """

    NOT_LOADED = "not_loaded"
    TOO_OLD = "too_old"
    SIGNATURE_EXPIRED = "signature_expired"
    SIGNATURE_ENDS_SOON = "signature_ends_soon"
    NOTHING_PUBLISHED = "nothing_published"
    STALE = "stale"
    NOT_YET_VALID = "not_yet_valid"
    EXPIRED_REPLACED = "expired_replaced"
    IMAGE_UNAVAILABLE = "image_unavailable"
    PART_UNAVAILABLE = "part_unavailable"
    MORE_PROBLEMS = "more_problems"
    PATH_UNDETERMINED = "path_undetermined"
    CLEARS_NOBODY = "clears_nobody"
    STORE_FAILING = "store_failing"
    CATALOG_WENT_BACK = "catalog_went_back"
    CATALOG_REFUSED = "catalog_refused"
    STORE_BEHIND = "store_behind"
    UNVERIFIED_ISSUER = "unverified_issuer"
    BACKGROUND_REFRESH = "background_refresh"


@dataclass(frozen=True, slots=True)
class StatusProblem:
    """
    One problem of a checker: its kind, and a message for the person on call.

    ``is_error`` tells that it makes certificates UNDETERMINED. Otherwise it is a
    warning: answers are right so far, but may not stay so. ``scope`` is that of the CRL
    concerned, if it concerns one.
    """

    kind: ProblemKind
    detail: str
    is_error: bool = False
    scope: str | None = None
