"""``crlcheck check``: check certificates, or serial numbers alone."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import click

from crlcheck.catalog.descriptions import count
from crlcheck.checker.scope import public_key_hash
from crlcheck.checker.serial_question import read_points
from crlcheck.cli.command import VERDICT, command
from crlcheck.cli.inputs import (
    STANDARD_INPUT,
    files_of,
    input_name,
    issuer_sources,
    open_input,
    read_input,
    read_published,
    usage,
)
from crlcheck.cli.options import demand_options
from crlcheck.cli.parameters import TARGET
from crlcheck.cli.progress import working
from crlcheck.cli.source import Source, open_checker
from crlcheck.cli.status import (
    EXIT_FAILED,
    JsonArray,
    about,
    exit_status_of,
    report_failure,
    warn,
    worst_exit_status,
)
from crlcheck.cli.text import say
from crlcheck.cli.when import WHEN, When
from crlcheck.encoding.names import name_hash
from crlcheck.encoding.secrets import without_secrets
from crlcheck.encoding.serials import parse_serial_text
from crlcheck.errors import CertificateError, CrlCheckError
from crlcheck.image.index import open_index
from crlcheck.settings import read_policy
from crlcheck.types import (
    CertificateFacts,
    CheckResult,
    ImageMetadata,
    Policy,
    RevocationStatus,
)
from crlcheck.x509.certificates import load_certificates

_COLORS = {
    RevocationStatus.REVOKED: "red",
    RevocationStatus.NOT_REVOKED: "green",
    RevocationStatus.UNDETERMINED: "yellow",
}
# In bytes. A serial number has 20, or a few more.
_MAX_LINE = 4096


@command(
    "check",
    exit_statuses=VERDICT,
    examples=[
        "crlcheck check ca.crlx client.pem",
        "crlcheck check s3://crls/published client.pem other.pem --json",
        "crlcheck check ca.crlx --serial 4a:31:07",
        "crlcheck check published --serials-from serials.txt --policy stale=grace:24h",
        "crlcheck check s3://crls/published --at 2026-11-24T10:30:00Z client.pem",
        "crlcheck check published@41 client.pem",
    ],
)
@click.argument("target", metavar="INDEX_OR_STORE", type=TARGET)
@click.argument("certificates", metavar="[CERT]...", type=click.Path(path_type=Path), nargs=-1)
@click.option(
    "--serial",
    "serials",
    multiple=True,
    metavar="HEX",
    help='A serial number instead of a certificate; may be repeated. "-" reads them from '
    "standard input, one a line.",
)
@click.option(
    "--serials-from",
    "lists",
    type=click.Path(path_type=Path),
    multiple=True,
    metavar="FILE",
    help='A file with serial numbers, one a line; may be repeated. "-" is standard input.',
)
@click.option(
    "--issuer",
    "issuers",
    type=click.Path(path_type=Path),
    multiple=True,
    metavar="CA",
    help="An issuer certificate to trust besides those in the store, or a directory of them; "
    "with --serial, the issuer of the serial number.",
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
@click.option(
    "--policy",
    "rules",
    multiple=True,
    metavar="RULE=VALUE",
    help="Try a rule of the policy, such as stale=grace:24h or hold=allow; may be repeated.",
)
@click.option(
    "--at",
    type=WHEN,
    metavar="WHEN",
    help="What would have been said then: by the set and the clock of that time. "
    "STORE@GENERATION asks for one generation.",
)
@demand_options
def check_command(
    target: str,
    certificates: tuple[Path, ...],
    serials: tuple[str, ...],
    lists: tuple[Path, ...],
    issuers: tuple[Path, ...],
    points: tuple[str, ...],
    kind: str | None,
    rules: tuple[str, ...],
    at: When | None,
) -> int:
    """
    Check whether each CERT is revoked.

    CERT is a certificate as PEM or DER, "-" for standard input, or a directory, whose
    files are checked; of a chain the first certificate is checked. It must already
    have been verified. The exit status is the worst of all: 1 before 4 before 3
    before 0.

    A serial number is checked for all certificates that it may belong to. Any CRL
    that may cover one of them revokes it. It is cleared only if all of them would
    be, taken as not expired. In a list, empty lines and what follows "#" do not
    count, and a line that is no serial number fails alone.

    --policy waives for this run what the authorizer's settings of the same names
    waive: stale, stale_grace, unknown_issuer, unpublished_issuers (a file),
    no_distribution_point, path_depth, hold, expired_certificate and clock_skew.

    WHEN is a time in UTC (2026-11-24, 2026-11-24T10:30:00Z), how long ago (7d) or a
    generation (41). A service may have used an earlier set until its next poll.
    """
    if bool(certificates) == bool(serials or lists):
        raise click.UsageError("name certificates or --serial, one of the two")
    try:
        policy = read_policy(rules)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--policy") from error
    if certificates:
        if points or kind:
            raise click.UsageError("--point and --kind go with --serial: a certificate says both")
        return _check_certificates(Source.of(target, at), certificates, issuers, policy)
    is_ca = None if kind is None else kind == "ca"
    with usage():
        read_points(points)
    return _check_serials(
        Source.of(target, at),
        serials,
        lists,
        issuers,
        policy,
        points=points or None,
        is_ca=is_ca,
    )


class _Answers:
    """Prints the results of one run, each at once or all as one JSON document at the end."""

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self._status: int | None = None
        self._members = JsonArray()

    def __enter__(self) -> _Answers:
        return self

    def __exit__(self, *_: object) -> None:
        self._members.close()

    def show(self, subject: str, result: CheckResult) -> None:
        """Show the result for *subject*."""
        self._count(exit_status_of(result))
        self._members.add({self._kind: subject, **result.as_dict()})
        say(f"{subject}: {result}", color=_COLORS[result.status])

    def show_failure(
        self, subject: str, error: Exception, *, named: bool = False, **where: int
    ) -> None:
        """
        Show why *subject* could not be checked; the others are checked all the same.

        *named* tells that the message says of what it is.
        """
        self._count(EXIT_FAILED)
        failure = report_failure(error, "" if named else subject)
        self._members.add(
            {self._kind: without_secrets(subject), "status": None, **failure, **where}
        )

    def _count(self, status: int) -> None:
        known = status if self._status is None else self._status
        self._status = worst_exit_status((known, status))

    def finish(self, source: Source) -> int:
        """Return the exit status of the run. There is no status of nothing."""
        if self._status is None:
            raise CrlCheckError(f"nothing was checked: expected a {self._kind}")
        self._members.answer("results", {"exit_status": self._status, **source.members()})
        return self._status


# ---- certificates --------------------------------------------------------------


def _check_certificates(
    source: Source, certificates: Sequence[Path], issuers: Sequence[Path], policy: Policy
) -> int:
    """Check certificates in files; return the exit status."""
    with (
        _Answers("certificate") as answers,
        open_checker(source, issuer_sources(issuers), policy) as checker,
    ):
        source.announce()
        for path in files_of(certificates):
            try:
                # It is read only once, because it may be a pipe.
                contents = read_input(path)
                with working(f"checking {input_name(path)}"):  # which may load an image
                    result = checker.check(contents)
            except click.UsageError:
                raise
            except Exception as error:  # noqa: BLE001 - the next one may be a revoked one
                answers.show_failure(input_name(path), error)
            else:
                answers.show(input_name(path), result)
                _note_others(path, contents)
        return answers.finish(source)


def _note_others(path: Path, contents: bytes) -> None:
    with contextlib.suppress(CertificateError):
        num_others = len(load_certificates(contents)) - 1
        if num_others:
            warn(f"{input_name(path)}: only the first of {num_others + 1} certificates was checked")


# ---- serial numbers ------------------------------------------------------------


class _Serials:
    """
    The serial numbers of a run, as they come: those of the command line, then lists.

    ``subject`` is the text of the number whose result came last.
    """

    def __init__(self, serials: Sequence[str], lists: Sequence[Path], answers: _Answers) -> None:
        self.subject = ""
        self._answers = answers
        self._num_taken = 0
        self._given: list[tuple[str, int]] = []
        self._lists = [*lists, *(STANDARD_INPUT for text in serials if text == "-")]
        try:
            self._given = [(text, parse_serial_text(text)) for text in serials if text != "-"]
        except ValueError as error:
            raise click.BadParameter(str(error), param_hint="--serial") from error

    def results(
        self, check: Callable[[Iterator[int]], Iterator[CheckResult]]
    ) -> Iterator[CheckResult]:
        """
        Yield what *check* returns for each number.

        Whatever fails for one of them is shown, and the others are checked all the same:
        the next one may be a revoked one.
        """
        numbers = self._numbers()
        results = check(numbers)
        while True:
            before = self._num_taken
            try:
                result = next(results, None)
            except (CertificateError, click.ClickException):
                raise
            except Exception as error:
                if self._num_taken == before:
                    raise  # it is no number's
                self._answers.show_failure(self.subject, error)
                results = check(numbers)  # goes on with the next number
                continue
            if result is None:
                return
            yield result

    def _numbers(self) -> Iterator[int]:
        """Yield each number; a line that cannot be read as one is a failure."""
        for text, number in self._given:
            self.subject = text
            self._num_taken += 1
            yield number
        for path in self._lists:
            try:
                for number in self._listed(path):
                    self._num_taken += 1
                    yield number
            except OSError as error:
                self._answers.show_failure(input_name(path), error)

    def _listed(self, path: Path) -> Iterator[int]:
        with open_input(path) as file:
            for place, line in enumerate(iter(lambda: file.readline(_MAX_LINE), b""), 1):
                text = line.decode("utf-8-sig" if place == 1 else "utf-8", "backslashreplace")
                self.subject = text.partition("#")[0].strip()
                try:
                    if len(line) == _MAX_LINE:
                        while len(file.readline(_MAX_LINE)) == _MAX_LINE:
                            pass
                        self.subject = f"{self.subject:.40}..."
                        raise ValueError(f"expected less than {_MAX_LINE} bytes in a line")
                    if not self.subject:
                        continue
                    number = parse_serial_text(self.subject)
                except ValueError as error:
                    found = CrlCheckError(f"{input_name(path)}, line {place}: {error}")
                    self._answers.show_failure(self.subject, found, named=True, line=place)
                else:
                    yield number


def _check_serials(
    source: Source,
    serials: Sequence[str],
    lists: Sequence[Path],
    issuers: Sequence[Path],
    policy: Policy,
    *,
    points: Sequence[str] | None = None,
    is_ca: bool | None = None,
) -> int:
    """
    Check serial numbers of one issuer; return the exit status.

    *points* are the URIs of the certificates' distribution points and *is_ca*
    their kind, None where that is not known.
    """
    if len(issuers) > 1:
        raise click.UsageError("a serial number has one issuer: give --issuer once")
    with _Answers("serial") as answers:
        numbers = _Serials(serials, lists, answers)
        with open_checker(source, (), policy) as checker:
            source.announce()
            # It is read only once, because it may be a pipe.
            issuer = read_input(issuers[0]) if issuers else _only_issuer(source)

            def check(numbers: Iterator[int]) -> Iterator[CheckResult]:
                return checker.check_serials(
                    issuer, numbers, distribution_points=points, is_ca=is_ca
                )

            with about(issuers[0] if issuers else source.target, CertificateError):
                for result in numbers.results(check):
                    answers.show(numbers.subject, result)
        return answers.finish(source)


def _only_issuer(source: Source) -> bytes:
    """Return the Name of the only issuer of *source*."""
    crls: list[ImageMetadata] = []
    trusted: Sequence[CertificateFacts] = ()
    if source.store is not None:
        catalog = read_published(source.store)
        crls = [record.base.metadata for record in catalog.scopes.values()]
        trusted = load_certificates(catalog.issuer_certificates())
    else:
        with open_index(source.target, verify=False) as index:
            crls = [index.metadata]
    issuers = {(crl.issuer_hash, crl.verifier_key_hash): crl.issuer for crl in crls}
    # One without a CRL counts too: the serial number may be its.
    issuers |= {(name_hash(one.subject), public_key_hash(one)): one.subject for one in trusted}
    if len(issuers) != 1:
        raise click.UsageError(
            f"{source.target} has {count(len(issuers), 'issuer')}: name the serial number's with "
            "--issuer"
        )
    return next(iter(issuers.values()))
