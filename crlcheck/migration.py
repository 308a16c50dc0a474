"""
Read what the AWS sample for API Gateway has in its bucket, and verify what it never verified.

The sample (``aws-samples/api-gateway-crl-verification``) keeps, beside each CRL ``NAME``:

- ``NAME.crt``, the certificate of the CA whose key it takes for the signer's, PEM or DER;
- ``NAME.json``, the serial numbers that its authorizer denies: the keys of a JSON object, each
  as Python's ``hex`` writes it; or ``NAME.json.zip``, the same compressed by zlib. Stores of
  other makes have it as ``NAME.cache.json``.

It verifies no signature, looks at nextUpdate only when a CRL comes, and takes a CRL for a part
of a CA's certificates, or for changes alone, for one of all. So a list may have serial numbers
that no CA revoked, or lack some, and nobody would have seen it.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Protocol, runtime_checkable

from crlcheck.catalog.descriptions import crl_text, scope_text
from crlcheck.compiler.compile import compile_crl
from crlcheck.errors import CertificateError, CrlCheckError, CrlError
from crlcheck.image.index import open_index
from crlcheck.publisher.publish import publish_crl
from crlcheck.stores.object_store import ObjectStore
from crlcheck.times import time_text
from crlcheck.types import CertificateFacts, ImageMetadata, PublishReport
from crlcheck.x509.certificates import load_certificates

_LIST = re.compile(r"(?P<crl>.+?)(?:\.cache)?\.json(?P<packed>\.zip)?")
_LIST_ENDS = (".json", ".json.zip", ".cache.json", ".cache.json.zip")
_CERTIFICATE = ".crt"
# As ``hex`` writes it: the sample looks for no other spelling, and so never finds one.
_SERIAL = re.compile(
    r'\s*"(-?0x(?:0|[1-9a-f][0-9a-f]{0,63}))"\s*:\s*(?:"[^"\\]*"|null|[0-9]+|true|false)\s*'
)

MAX_LIST_SIZE = 256 << 20
"""Bytes of the largest list that is read, unpacked: some six million serial numbers."""

NUM_EXAMPLES = 20
"""How many of the serial numbers that differ a report names."""


@dataclass(frozen=True, slots=True)
class SampleCrl:
    """
    One CRL of the sample, and how its list of serial numbers compares.

    ``name`` is the CRL's name in the bucket, and ``list_name`` that of the list, None where
    there is none. ``refused`` is why the CRL cannot be published, None if it can; then
    ``metadata`` describes it. ``num_entries`` counts its entries, ``num_listed`` those of the
    list, and ``num_equal`` what both have. ``only_in_list`` are serial numbers that the sample
    denies although the CRL does not list them, and ``only_in_crl`` those that it allows although
    the CRL lists them: the first of them, ``num_only_in_list`` and ``num_only_in_crl`` in all.
    ``findings`` are sentences on what else is different. ``publication`` is what became of the
    CRL in the store, None where nothing was published; ``unpublished`` is why, where that was
    wanted and the CRL is verified, such as an older one than the store has.
    """

    name: str
    list_name: str | None
    refused: Exception | None = None
    metadata: ImageMetadata | None = None
    num_entries: int = 0
    num_listed: int = 0
    num_equal: int = 0
    num_only_in_list: int = 0
    num_only_in_crl: int = 0
    only_in_list: tuple[int, ...] = ()
    only_in_crl: tuple[int, ...] = ()
    findings: tuple[str, ...] = ()
    publication: PublishReport | None = None
    unpublished: CrlError | None = None

    @property
    def is_equal(self) -> bool:
        """Whether the sample denies for this CRL exactly what its signed entries say."""
        differs = (self.refused, self.unpublished, self.findings)
        return not (any(differs) or self.num_only_in_list or self.num_only_in_crl)


@dataclass(frozen=True, slots=True)
class SampleReport:
    """
    All CRLs of the sample, and ``orphans``: lists without a CRL, which may deny what nobody
    revoked any more. ``num_shared`` counts serial numbers that the CRLs of several keys list:
    the sample cannot tell whose certificate is meant. ``unread`` are CRLs that are not in
    ``crls`` because no store of crlcheck reads an object of that name, such as ``crl//a.crl``.
    """

    crls: tuple[SampleCrl, ...]
    orphans: tuple[str, ...] = ()
    num_shared: int = 0
    unread: tuple[str, ...] = ()

    @property
    def is_equal(self) -> bool:
        """
        Whether nothing is different. Of several CRLs the sample's authorizer reads one list.
        """
        left_out = (self.orphans, self.unread)
        return len(self.crls) == 1 and not any(left_out) and self.crls[0].is_equal


@dataclass(slots=True)
class _Names:
    """The objects of a bucket: CRLs, and the lists and certificates beside them."""

    crls: list[str] = field(default_factory=list)
    lists: dict[str, list[str]] = field(default_factory=dict)
    orphans: list[str] = field(default_factory=list)
    certificates: set[str] = field(default_factory=set)


def _names_in(bucket: ObjectStore, left_out: Sequence[str]) -> _Names:
    names = [one for one in bucket.names("") if not one.startswith(tuple(left_out))]
    there, found = set(names), _Names()
    found.certificates = {one for one in names if one.endswith(_CERTIFICATE)}
    for name in names:
        match = _LIST.fullmatch(name)
        if match is not None and match["crl"] in there:
            found.lists.setdefault(match["crl"], []).append(name)
        elif match is not None and match["crl"].endswith(".crl"):
            found.orphans.append(name)
    for name in names:
        beside = f"{name}{_CERTIFICATE}" in there or name in found.lists
        if beside or (name.endswith(".crl") and name not in found.certificates):
            found.crls.append(name)
    return found


@runtime_checkable
class _ShowsIgnored(Protocol):
    """A store that can name the objects that it ignores."""

    def ignored_names(self) -> Iterator[str]: ...


def _unread_in(bucket: ObjectStore) -> Iterator[str]:
    """Yield the names of CRLs that are no object names."""
    names = set(bucket.ignored_names()) if isinstance(bucket, _ShowsIgnored) else set()
    for name in sorted(names):
        beside = {f"{name}{end}" for end in (_CERTIFICATE, *_LIST_ENDS)}
        if name.endswith(".crl") or names & beside:
            yield name


def read_serials(body: bytes, *, is_packed: bool, max_size: int = MAX_LIST_SIZE) -> set[int]:
    """
    Return the serial numbers of a list of the sample.

    Raises:
        ValueError: it is no such list, or has more than *max_size* bytes unpacked.
    """
    if is_packed:
        body = _unpacked(body, max_size)
    if len(body) > max_size:
        raise ValueError(f"found {len(body)} bytes, expected at most {max_size}")
    # Keys of one form: no parser has to make an object of each member.
    text = body.decode("ascii", "strict") if body.isascii() else ""
    start, end = text.find("{"), text.rfind("}")
    if start < 0 or text[:start].strip() or text[end + 1 :].strip():
        raise ValueError("expected a JSON object whose names are serial numbers")
    found: set[int] = set()
    place = start + 1
    if not text[place:end].strip():
        return found
    while True:
        match = _SERIAL.match(text, place, end)
        if match is None:
            raise ValueError(
                f"at byte {place}: expected a serial number as Python's hex writes it, such as "
                '"0x1a2b", and a value'
            )
        found.add(int(match[1], 16))
        place = match.end()
        if place == end:
            return found
        if text[place] != ",":
            raise ValueError(f"at byte {place}: expected a comma and another serial number")
        place += 1


def _unpacked(body: bytes, max_size: int) -> bytes:
    unpacking = zlib.decompressobj()
    try:
        found = unpacking.decompress(body, max_size)
    except zlib.error as error:
        raise ValueError(f"found no data of zlib: {error}") from error
    if unpacking.unconsumed_tail:
        raise ValueError(f"found more than {max_size} bytes unpacked")
    if not unpacking.eof:
        raise ValueError("the compressed list ends early")
    return found


def examine_sample(
    bucket: ObjectStore,
    *,
    issuers: Iterable[bytes] = (),
    left_out: Sequence[str] = (),
    read_list: str | None = None,
    to: ObjectStore | None = None,
    on_crl: Callable[[SampleCrl], None] = lambda _: None,
    now: datetime | None = None,
    note: str = "",
    actor: str = "",
) -> SampleReport:
    """
    Verify each CRL of the sample, and compare its list.

    The bucket is only read.

    Args:
        bucket: the sample's bucket, or a copy of it.
        issuers: further certificates that may have signed CRLs, for a sample that asks AWS
            Private CA for its certificate.
        left_out: prefixes below which nothing is the sample's, such as a published set.
        read_list: the list that the sample's authorizer reads (``s3Key``), if that is known.
        to: where the CRLs that are verified are published. None publishes nothing, and a
            ``RehearsalStore`` shows what would be.
        on_crl: called with what was found of each CRL, as soon as it is known.
        now: the time at which CRLs are compared with their dates; by default that of the clock.
        note, actor: for the history, as in ``publish_crl``.

    Raises:
        StoreError: the bucket, or the store, does not answer.
        CertificateError: *issuers* holds something that is not a certificate.
    """
    moment = datetime.now(UTC) if now is None else now
    there = _names_in(bucket, left_out)
    further = [one for given in issuers for one in load_certificates(given)]
    crls = []
    key_of: dict[int, bytes | None] = {}
    shared: set[int] = set()
    for name in there.crls:
        found, entries = _Examined(bucket, there, name, read_list).examine(
            further, moment, to, note, actor
        )
        if found.metadata is not None and len(there.crls) > 1:
            key = found.metadata.verifier_key_hash
            shared.update(one for one in entries if key_of.setdefault(one, key) != key)
        crls.append(found)
        on_crl(found)
    unread = tuple(_unread_in(bucket))
    return SampleReport(tuple(crls), tuple(there.orphans), len(shared), unread)


class _Examined:
    """One CRL of the bucket while it is looked at."""

    def __init__(
        self, bucket: ObjectStore, there: _Names, name: str, read_list: str | None
    ) -> None:
        self._bucket = bucket
        self._name = name
        lists = there.lists.get(name, [])
        self._list_name = read_list if read_list in lists else next(iter(lists), None)
        self._certificate = f"{name}{_CERTIFICATE}"
        self._has_certificate = self._certificate in there.certificates
        self._findings = [
            f"{one} lies beside {self._list_name}, and was not compared: --settings of the "
            "authorizer say which of them it reads (s3Key)"
            for one in lists
            if one != self._list_name and read_list is None
        ]

    def examine(
        self,
        further: Sequence[CertificateFacts],
        now: datetime,
        to: ObjectStore | None,
        note: str,
        actor: str,
    ) -> tuple[SampleCrl, set[int]]:
        """
        Verify, compare, and publish if there is a store to publish to; return the serial
        numbers of the CRL too.
        """
        body = self._bucket.read(self._name).body
        trusted = [*self._own_issuers(), *further]
        listed = self._listed()
        try:
            report = compile_crl(body, issuer=trusted)
        except (CrlError, CertificateError) as error:
            refused = SampleCrl(
                self._name,
                self._list_name,
                refused=error,
                num_listed=len(listed or ()),
                findings=tuple(self._findings),
            )
            return refused, set()
        self._look_at(report.metadata, now)
        assert report.image is not None, "no file was given for it"
        index = open_index(report.image)
        entries = {entry.serial_number for entry in index.iter_entries()}
        index.close()
        publication, unpublished = None, None
        if to is not None:
            try:
                publication = publish_crl(
                    body,
                    to,
                    issuer=trusted,
                    source_name=self._name,
                    now=now,
                    note=note,
                    actor=actor,
                )
            except CrlError as error:
                unpublished = error
        extra = sorted((listed or set()) - entries)
        missing = sorted(entries - listed) if listed is not None else []
        found = SampleCrl(
            self._name,
            self._list_name,
            metadata=report.metadata,
            num_entries=len(entries),
            num_listed=len(listed or ()),
            num_equal=len(entries & listed) if listed is not None else 0,
            num_only_in_list=len(extra),
            num_only_in_crl=len(missing),
            only_in_list=tuple(extra[:NUM_EXAMPLES]),
            only_in_crl=tuple(missing[:NUM_EXAMPLES]),
            findings=tuple(self._findings),
            publication=publication,
            unpublished=unpublished,
        )
        return found, entries

    def _own_issuers(self) -> Sequence[CertificateFacts]:
        if not self._has_certificate:
            return ()
        try:
            return load_certificates(self._bucket.read(self._certificate).body)
        except CertificateError as error:
            self._findings.append(f"{self._certificate} is no certificate: {error}")
            return ()

    def _listed(self) -> set[int] | None:
        if self._list_name is None:
            self._findings.append("there is no list: the sample denies nobody for it")
            return None
        try:
            return read_serials(
                self._bucket.read(self._list_name).body,
                is_packed=self._list_name.endswith(".zip"),
            )
        except ValueError as error:
            self._findings.append(
                f"{self._list_name} is no list as the sample writes it, and was not compared: "
                f"{error}"
            )
            return None

    def _look_at(self, metadata: ImageMetadata, now: datetime) -> None:
        if metadata.is_past(now):
            self._findings.append(
                f"{crl_text(metadata)} has been stale since {time_text(metadata.next_update)}: "
                "the sample goes on by it, crlcheck denies certificates that it does not list "
                "until the next one comes"
            )
        if metadata.is_delta:
            self._findings.append(
                f"it is a delta CRL with the changes since CRL {metadata.base_crl_number} alone, "
                "which the sample takes for a complete one"
            )
        if metadata.issuing_distribution_point is not None:
            self._findings.append(
                f"it covers {scope_text(metadata)}, and the sample takes it for all certificates"
            )


# ---- settings ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SettingText:
    """A setting of the sample, and what it becomes: a setting of crlcheck, and why."""

    sample: str
    value: str
    crlcheck: str
    why: str


_TRUE = {"y", "yes", "t", "true", "on", "1"}


def translate_settings(environment: Mapping[str, str], store: str) -> list[SettingText]:
    """
    Say what each setting of one of the sample's functions becomes. *store* is where crlcheck
    publishes, such as ``s3://bucket/published``.
    """
    found = []
    for name, value in sorted(environment.items()):
        is_true = value.strip().lower() in _TRUE
        text, why = {
            "s3Bucket": (f"CRLCHECK_STORE={store}", "the published set, not one list"),
            "s3Key": ("", "all CRLs of the store count, each for its own issuer"),
            "COMPRESSED_CACHE": ("", "images are compact as they are"),
            "COMPRESS_CACHE": ("", "images are compact as they are"),
            "IS_REST_API_GW": (
                "",
                "found in the event"
                + ("" if is_true else "; the sample takes any text for true, also this one"),
            ),
            "LOGGING_LEVEL": (
                f"CRLCHECK_LOG_LEVEL={_level(value)}",
                "info logs denials, debug every decision",
            ),
            "USE_ACM_PCA": (
                "",
                "CRLCHECK_PRIVATE_CAS names the CAs"
                if is_true
                else "CRLCHECK_ISSUERS is a prefix with the certificates of the CAs",
            ),
            "ACM_PCA_ARN": (
                f"CRLCHECK_PRIVATE_CAS={value}" if "<" not in value else "",
                "several with commas between them",
            ),
            "ALLOW_EXPIRED_CRL": (
                "CRLCHECK_STALE=grace, CRLCHECK_STALE_GRACE=24h" if is_true else "",
                "of the authorizer: the sample goes on for ever, a grace period ends"
                if is_true
                else "an expired CRL clears nobody",
            ),
        }.get(name, ("", "is no setting of the sample"))
        found.append(SettingText(name, value, text, why))
    return found


def _level(value: str) -> str:
    known = {"DEBUG": "debug", "INFO": "info", "WARN": "warning", "WARNING": "warning"}
    return known.get(value.strip().upper(), "info")


def settings_in(document: object) -> Mapping[str, str]:
    """
    Return the environment of a function, as ``aws lambda get-function-configuration`` prints it.

    Raises:
        CrlCheckError: the document has none.
    """
    if isinstance(document, Mapping):
        found = document.get("Environment")
        variables = found.get("Variables") if isinstance(found, Mapping) else None
        if isinstance(variables, Mapping) and all(
            isinstance(one, str) for pair in variables.items() for one in pair
        ):
            return variables
    raise CrlCheckError(
        "expected the JSON that aws lambda get-function-configuration prints, with "
        "Environment.Variables"
    )
