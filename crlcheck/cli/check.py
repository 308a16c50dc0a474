"""``crlcheck check``: verdicts on certificates, or on serial numbers alone."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click

from crlcheck._name import name_hash
from crlcheck._serial import parse_serial_text
from crlcheck._snapshot import Snapshot, Trust, snapshot_of_catalog, snapshot_of_indexes
from crlcheck.catalog import CATALOG_NAME, Catalog
from crlcheck.certificate import load_certificate, load_certificates
from crlcheck.checker import RevocationChecker
from crlcheck.cli.sources import is_store, open_target
from crlcheck.cli.status import (
    EXIT_FAILED,
    about,
    describe,
    exit_status_of,
    report_error,
    worst_exit_status,
)
from crlcheck.cli.text import count, say, say_json
from crlcheck.errors import CertificateError, CrlCheckError, IndexFileError, StoreError
from crlcheck.index import open_index
from crlcheck.scope import Coverage, names_match, public_key_hash
from crlcheck.types import (
    CertificateFacts,
    CheckResult,
    Policy,
    ReasonCode,
    RevocationStatus,
    RevokedEntry,
    UndeterminedCause,
)
from crlcheck.verdict import Evidence, decide, denied, uncovered

_COLORS = {
    RevocationStatus.REVOKED: "red",
    RevocationStatus.NOT_REVOKED: "green",
    RevocationStatus.UNDETERMINED: "yellow",
}
# One reading of the catalog serves a whole run.
_NEVER = timedelta(days=1)


class _Answers:
    """The verdicts of one run, told as they come or as one JSON document in the end."""

    def __init__(self, kind: str, *, as_json: bool) -> None:
        self._kind = kind
        self._as_json = as_json
        self._statuses: list[int] = []
        self._members: list[dict[str, Any]] = []

    def tell(self, subject: str, result: CheckResult) -> None:
        """Tell the verdict on *subject*."""
        self._statuses.append(exit_status_of(result))
        self._members.append({self._kind: subject, **result.as_dict()})
        if not self._as_json:
            say(f"{subject}: {result}", color=_COLORS[result.status])

    def tell_failure(self, subject: str, error: Exception) -> None:
        """Tell why there is no verdict on *subject*; the others are judged all the same."""
        message = describe(error)
        if not isinstance(error, OSError) or error.filename is None:
            message = f"{subject}: {message}"
        self._statuses.append(EXIT_FAILED)
        self._members.append({self._kind: subject, "status": None, "error": message})
        report_error(message)

    def finish(self) -> int:
        """Return the exit status of the run."""
        status = worst_exit_status(self._statuses)
        if self._as_json:
            say_json({"exit_status": status, "results": self._members})
        return status


# ---- certificates --------------------------------------------------------------


def check_certificates(
    target: str, certificates: Sequence[Path], issuers: Sequence[Path], *, as_json: bool
) -> int:
    """Judge certificates in files; return the exit status."""
    answers = _Answers("certificate", as_json=as_json)
    with _open_checker(target, issuers) as checker:
        for path in certificates:
            try:
                # Once only: it may be a pipe.
                contents = path.read_bytes()
                result = checker.check(contents)
            except Exception as error:  # noqa: BLE001 - the next one may be a revoked one
                answers.tell_failure(str(path), error)
            else:
                answers.tell(str(path), result)
                _note_others(path, contents)
    return answers.finish()


def _open_checker(target: str, issuers: Sequence[Path]) -> RevocationChecker:
    if not is_store(target):
        with about(target, IndexFileError):
            return RevocationChecker(open_index(target), issuers=issuers)
    checker = RevocationChecker(open_target(target), issuers=issuers, refresh_after=_NEVER)
    # A store that cannot be read is one failure, not one for each certificate.
    with about(target, StoreError, IndexFileError):
        checker.refresh()
    return checker


def _note_others(path: Path, contents: bytes) -> None:
    with contextlib.suppress(CertificateError):
        num_others = len(load_certificates(contents)) - 1
        if num_others:
            report_error(f"{path}: only the first of {num_others + 1} certificates was judged")


# ---- serial numbers ------------------------------------------------------------


def check_serials(
    target: str, serials: Sequence[str], issuers: Sequence[Path], *, as_json: bool
) -> int:
    """Judge serial numbers of one issuer; return the exit status."""
    try:
        numbers = [parse_serial_text(serial) for serial in serials]
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--serial") from error
    if len(issuers) > 1:
        raise click.UsageError("a serial number has one issuer: give --issuer once")
    issuer = load_certificate(issuers[0]) if issuers else None
    snapshot = _open_snapshot(target)
    name = _only_issuer_name(snapshot) if issuer is None else issuer.subject
    now = datetime.now(UTC)
    answers = _Answers("serial", as_json=as_json)
    for serial, number in zip(serials, numbers, strict=True):
        try:
            result = _judge(snapshot, _stand_in(number, name), issuer, now)
        except Exception as error:  # noqa: BLE001 - the next one may be a revoked one
            answers.tell_failure(serial, error)
        else:
            answers.tell(serial, result)
    return answers.finish()


def _open_snapshot(target: str) -> Snapshot:
    if not is_store(target):
        with about(target, IndexFileError):
            return snapshot_of_indexes([open_index(target)], Trust())
    store = open_target(target)
    with about(target, StoreError, IndexFileError):
        stored = store.read(CATALOG_NAME)
        catalog = Catalog.from_bytes(stored.body)
        return snapshot_of_catalog(catalog, stored.etag, store, Trust(), None)


def _only_issuer_name(snapshot: Snapshot) -> bytes:
    """Return whose serial numbers there are, where there is one issuer."""
    crls = [image.metadata for image in snapshot.images]
    trusted = (
        ()
        if snapshot.catalog is None
        else load_certificates(snapshot.catalog.issuer_certificates())
    )
    issuers = {(crl.issuer_hash, crl.verifier_key_hash) for crl in crls}
    # One without a CRL counts too: the serial number may be its.
    issuers |= {(name_hash(one.subject), public_key_hash(one)) for one in trusted}
    if len(issuers) > 1 or not crls:
        raise click.UsageError(
            f"the store has {count(len(issuers), 'issuer')}: say with --issuer "
            "whose serial number it is"
        )
    return crls[0].issuer


def _stand_in(serial_number: int, issuer: bytes) -> CertificateFacts:
    """
    Return a certificate of which nothing but issuer and serial number is known.

    It never expires, so that not being listed decides as soon as the CRL is
    complete and fresh.
    """
    return CertificateFacts(
        der=b"",
        serial_number=serial_number,
        issuer=issuer,
        subject=b"",
        not_before=datetime.min.replace(tzinfo=UTC),
        not_after=datetime.max.replace(tzinfo=UTC),
        subject_public_key_info=b"",
        authority_key_id=None,
        subject_key_id=None,
        is_ca=False,
        key_usage=None,
        distribution_points=(),
    )


def _judge(
    snapshot: Snapshot,
    certificate: CertificateFacts,
    issuer: CertificateFacts | None,
    now: datetime,
) -> CheckResult:
    """
    Judge a serial number as a certificate is, with two differences.

    Being listed revokes on whatever CRL of the issuer, since it is not known
    which of them the certificate belongs to; for the same reason not being
    listed counts on a complete CRL only.
    """
    denial = snapshot.denial_of(certificate, now)
    if denial is not None:
        return denied(certificate, note=denial.note, until=denial.until)
    listed, failure = _look_up(snapshot, certificate, issuer, now)
    if listed:
        return decide(certificate, listed, now=now, policy=Policy())
    if failure is not None:
        raise failure
    coverage = snapshot.table.coverage(certificate, issuer)
    complete = [
        position
        for position in coverage.crls
        if snapshot.images[position].metadata.issuing_distribution_point is None
    ]
    if coverage.cause is None and not complete:
        coverage = Coverage((), UndeterminedCause.OUT_OF_SCOPE, len(coverage.crls))
    if coverage.cause is not None:
        return uncovered(certificate, coverage)
    evidence = [_evidence(snapshot, position, None, None) for position in complete]
    return decide(certificate, evidence, now=now, policy=Policy())


def _evidence(
    snapshot: Snapshot,
    position: int,
    entry: RevokedEntry | None,
    delta_entry: RevokedEntry | None,
) -> Evidence:
    image, delta = snapshot.images[position], snapshot.deltas[position]
    beside = None if delta is None else delta.metadata
    return Evidence(image.metadata, image.scope, entry, beside, delta_entry)


def _look_up(
    snapshot: Snapshot,
    certificate: CertificateFacts,
    issuer: CertificateFacts | None,
    now: datetime,
) -> tuple[list[Evidence], Exception | None]:
    """Return what revokes the serial number in any CRL of its issuer, and what went wrong."""
    key_hash = None if issuer is None else public_key_hash(issuer)
    listed: list[Evidence] = []
    failure: Exception | None = None
    for position, image in enumerate(snapshot.images):
        metadata = image.metadata
        if not names_match(metadata.issuer, certificate.issuer):
            continue
        if key_hash not in (None, metadata.verifier_key_hash):
            continue
        entries: list[RevokedEntry | None] = []
        for held in (image, snapshot.deltas[position]):
            try:
                entries.append(
                    None
                    if held is None
                    else held.index().find(certificate.serial_number, certificate.issuer)
                )
            except (CrlCheckError, OSError) as error:
                failure = error
                entries.append(None)
        evidence = _evidence(snapshot, position, entries[0], entries[1])
        alone = metadata.is_delta and entries[0]
        if alone and alone.reason_code is ReasonCode.REMOVE_FROM_CRL:
            continue
        result = decide(certificate, [evidence], now=now, policy=Policy())
        if result.status is RevocationStatus.REVOKED:
            listed.append(evidence)
    return listed, failure
