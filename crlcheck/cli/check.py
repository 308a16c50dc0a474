"""``crlcheck check``: check certificates, or serial numbers alone."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import click

from crlcheck.catalog.descriptions import count
from crlcheck.checker.checker import RevocationChecker
from crlcheck.checker.scope import public_key_hash
from crlcheck.cli.command import VERDICT, command
from crlcheck.cli.inputs import is_store, open_target, read_published
from crlcheck.cli.status import (
    EXIT_FAILED,
    about,
    exit_status_of,
    report_failure,
    warn,
    worst_exit_status,
)
from crlcheck.cli.text import answer, say
from crlcheck.encoding.names import name_hash
from crlcheck.encoding.serials import parse_serial_text
from crlcheck.errors import CertificateError, IndexFileError, StoreError
from crlcheck.image.index import open_index
from crlcheck.types import CertificateFacts, CheckResult, ImageMetadata, RevocationStatus
from crlcheck.x509.certificates import load_certificates

_COLORS = {
    RevocationStatus.REVOKED: "red",
    RevocationStatus.NOT_REVOKED: "green",
    RevocationStatus.UNDETERMINED: "yellow",
}
# The catalog is read once in a run.
_NEVER = timedelta(days=1)


@command(
    "check",
    exit_statuses=VERDICT,
    examples=[
        "crlcheck check ca.crlx client.pem",
        "crlcheck check s3://crls/published client.pem other.pem --json",
        "crlcheck check ca.crlx --serial 4a:31:07",
    ],
)
@click.argument("target", metavar="INDEX_OR_STORE")
@click.argument("certificates", metavar="[CERT]...", type=click.Path(path_type=Path), nargs=-1)
@click.option(
    "--serial",
    "serials",
    multiple=True,
    metavar="HEX",
    help="A serial number instead of a certificate; may be repeated.",
)
@click.option(
    "--issuer",
    "issuers",
    type=click.Path(path_type=Path),
    multiple=True,
    metavar="CA",
    help="An issuer certificate to trust besides those in the store; with --serial, the "
    "issuer of the serial number.",
)
@click.option(
    "--point",
    "points",
    multiple=True,
    metavar="URI",
    help="With --serial: a distribution point of the certificates; may be repeated.",
)
@click.option(
    "--kind",
    type=click.Choice(["user", "ca"]),
    help="With --serial: what the certificates are.",
)
def check_command(
    target: str,
    certificates: tuple[Path, ...],
    serials: tuple[str, ...],
    issuers: tuple[Path, ...],
    points: tuple[str, ...],
    kind: str | None,
) -> int:
    """
    Check whether each CERT is revoked.

    CERT is a certificate as PEM or DER; of a chain the first one is checked. It
    must already have been verified. The exit status is the worst of all: 1
    before 4 before 3 before 0.

    A serial number is checked for all certificates that it may belong to. Any CRL
    that may cover one of them revokes it. It is cleared only if all of them would
    be, taken as not expired.
    """
    if bool(certificates) == bool(serials):
        raise click.UsageError("name certificates or --serial, one of the two")
    if serials:
        return _check_serials(
            target,
            serials,
            issuers,
            points=points or None,
            is_ca=None if kind is None else kind == "ca",
        )
    if points or kind:
        raise click.UsageError("--point and --kind go with --serial: a certificate says both")
    return _check_certificates(target, certificates, issuers)


class _Answers:
    """Prints the results of one run, each at once or all as one JSON document at the end."""

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self._statuses: list[int] = []
        self._members: list[dict[str, Any]] = []

    def show(self, subject: str, result: CheckResult) -> None:
        """Show the result for *subject*."""
        self._statuses.append(exit_status_of(result))
        self._members.append({self._kind: subject, **result.as_dict()})
        say(f"{subject}: {result}", color=_COLORS[result.status])

    def show_failure(self, subject: str, error: Exception) -> None:
        """Show why *subject* could not be checked; the others are checked all the same."""
        self._statuses.append(EXIT_FAILED)
        failure = report_failure(error, subject)
        self._members.append({self._kind: subject, "status": None, **failure})

    def finish(self) -> int:
        """Return the exit status of the run."""
        status = worst_exit_status(self._statuses)
        answer({"exit_status": status, "results": self._members})
        return status


# ---- certificates --------------------------------------------------------------


def _check_certificates(target: str, certificates: Sequence[Path], issuers: Sequence[Path]) -> int:
    """Check certificates in files; return the exit status."""
    answers = _Answers("certificate")
    with _open_checker(target, issuers) as checker:
        for path in certificates:
            try:
                # It is read only once, because it may be a pipe.
                contents = path.read_bytes()
                result = checker.check(contents)
            except Exception as error:  # noqa: BLE001 - the next one may be a revoked one
                answers.show_failure(str(path), error)
            else:
                answers.show(str(path), result)
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
            warn(f"{path}: only the first of {num_others + 1} certificates was checked")


# ---- serial numbers ------------------------------------------------------------


def _check_serials(
    target: str,
    serials: Sequence[str],
    issuers: Sequence[Path],
    *,
    points: Sequence[str] | None = None,
    is_ca: bool | None = None,
) -> int:
    """
    Check serial numbers of one issuer; return the exit status.

    *points* are the URIs of the certificates' distribution points and *is_ca*
    their kind, None where that is not known.
    """
    try:
        numbers = [parse_serial_text(serial) for serial in serials]
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--serial") from error
    if len(issuers) > 1:
        raise click.UsageError("a serial number has one issuer: give --issuer once")
    answers = _Answers("serial")
    with _open_checker(target, ()) as checker:
        # It is read only once, because it may be a pipe.
        issuer = issuers[0].read_bytes() if issuers else _only_issuer(target)
        for serial, number in zip(serials, numbers, strict=True):
            try:
                result = checker.check_serial(
                    issuer, number, distribution_points=points, is_ca=is_ca
                )
            except CertificateError as error:
                error.add_note(str(issuers[0] if issuers else target))
                raise
            except Exception as error:  # noqa: BLE001 - the next one may be a revoked one
                answers.show_failure(serial, error)
            else:
                answers.show(serial, result)
    return answers.finish()


def _only_issuer(target: str) -> bytes:
    """Return the Name of the only issuer of *target*."""
    crls: list[ImageMetadata] = []
    trusted: Sequence[CertificateFacts] = ()
    if is_store(target):
        catalog = read_published(open_target(target))
        crls = [record.base.metadata for record in catalog.scopes.values()]
        trusted = load_certificates(catalog.issuer_certificates())
    else:
        with open_index(target, verify=False) as index:
            crls = [index.metadata]
    issuers = {(crl.issuer_hash, crl.verifier_key_hash): crl.issuer for crl in crls}
    # One without a CRL counts too: the serial number may be its.
    issuers |= {(name_hash(one.subject), public_key_hash(one)): one.subject for one in trusted}
    if len(issuers) != 1:
        raise click.UsageError(
            f"{target} has {count(len(issuers), 'issuer')}: name the serial number's with --issuer"
        )
    return next(iter(issuers.values()))
