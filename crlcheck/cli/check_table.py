"""``crlcheck check-table``: check the rows of a table."""

from __future__ import annotations

import contextlib
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple

import click

from crlcheck.catalog.descriptions import count
from crlcheck.cli.command import VERDICT, command
from crlcheck.cli.inputs import STANDARD_INPUT, input_name, issuer_sources, open_input, usage
from crlcheck.cli.options import demand_options
from crlcheck.cli.parameters import TARGET
from crlcheck.cli.progress import working
from crlcheck.cli.source import Source, open_checker
from crlcheck.cli.status import (
    EXIT_FAILED,
    EXIT_NOT_REVOKED,
    EXIT_REVOKED,
    EXIT_UNDETERMINED,
    worst_exit_status,
)
from crlcheck.cli.text import answer, say
from crlcheck.cli.when import WHEN, When
from crlcheck.compiler.compile import replacing_file
from crlcheck.encoding.names import format_name
from crlcheck.errors import CrlCheckError, naming
from crlcheck.settings import read_policy
from crlcheck.types import ImageLoading, RevocationStatus, UndeterminedCause
from crlcheck.x509.certificates import load_certificate

if TYPE_CHECKING:
    import pyarrow as pa

    from crlcheck.columns.files import TableFormat

_FORMATS = click.Choice(["parquet", "arrow", "csv", "ndjson"])
_MAX_ISSUERS = 1 << 16
_SHOWN_ISSUERS = 20
# These say nothing of a certificate, but of the table or of the store.
_FAILURES = {
    "no_value",
    "not_a_serial",
    "not_an_issuer",
    "not_a_certificate",
    UndeterminedCause.STORE_UNAVAILABLE.value,
}


@command(
    "check-table",
    exit_statuses=VERDICT,
    examples=[
        "crlcheck check-table published in.parquet --issuer issuer --serial serial -o out.parquet",
        "crlcheck check-table s3://crls/published certs.arrow --certificate der -o out.csv",
        "crlcheck check-table ca.crlx in.csv --issued-by ca.pem --serial serial -o out.csv",
    ],
)
@click.argument("target", metavar="INDEX_OR_STORE", type=TARGET)
@click.argument("tables", metavar="TABLE...", type=click.Path(path_type=Path), nargs=-1)
@click.option("--issuer", metavar="COLUMN", help="The column of the issuers.")
@click.option(
    "--issued-by",
    type=click.Path(path_type=Path),
    metavar="CA",
    help="The certificate of the issuer of all rows, instead of a column.",
)
@click.option("--serial", metavar="COLUMN", help="The column of the serial numbers.")
@click.option(
    "--serial-text",
    type=click.Choice(["hex", "decimal"]),
    default="hex",
    show_default=True,
    help="How serial numbers are written where they are text.",
)
@click.option("--certificate", metavar="COLUMN", help="The column of the certificates, instead.")
@click.option(
    "-o",
    "--output",
    "result",
    type=click.Path(path_type=Path),
    required=True,
    help="The file to write: the columns of TABLE, and those of the verdicts behind them.",
)
@click.option("--input-format", type=_FORMATS, help="The format of TABLE, by default its name's.")
@click.option("--output-format", type=_FORMATS, help="The format to write, by default its name's.")
@click.option("--prefix", default="", metavar="TEXT", help="Put before the names of new columns.")
@click.option(
    "--trust",
    "issuers",
    type=click.Path(path_type=Path),
    multiple=True,
    metavar="CA",
    help="An issuer certificate to trust besides those in the store, or a directory of them.",
)
@click.option(
    "--policy",
    "rules",
    multiple=True,
    metavar="RULE=VALUE",
    help="Try a rule of the policy, such as stale=grace:24h; may be repeated.",
)
@click.option(
    "--at",
    type=WHEN,
    metavar="WHEN",
    help="What would have been said then: by the set and the clock of that time.",
)
@demand_options
def check_table_command(
    target: str,
    tables: tuple[Path, ...],
    issuer: str | None,
    issued_by: Path | None,
    serial: str | None,
    serial_text: str,
    certificate: str | None,
    result: Path,
    input_format: str | None,
    output_format: str | None,
    prefix: str,
    issuers: tuple[Path, ...],
    rules: tuple[str, ...],
    at: When | None,
) -> int:
    """
    Check each row of each TABLE, of any size.

    A row has an issuer and a serial number, or a certificate, which must already have
    been verified. TABLE is a file of Parquet, Arrow IPC, CSV or NDJSON, or "-" for
    standard input. The verdicts are those of "check" for each row alone, and only the
    status not_revoked means that a certificate may pass. An issuer is a name or a
    certificate, or the SHA-256 of a trusted issuer's certificate or public key.

    The exit status is the worst of all rows: 1 before 4 before 3 before 0. A row without
    a value, or with one that cannot be read, counts as 4.
    """
    if not tables:
        raise click.UsageError("name a table")
    if certificate is None and (serial is None or (issuer is None) == (issued_by is None)):
        raise click.UsageError(
            "name the columns: --serial with --issuer or --issued-by, or --certificate"
        )
    if certificate is not None and (serial or issuer or issued_by):
        raise click.UsageError("--certificate goes without --serial, --issuer and --issued-by")
    with usage():
        policy = read_policy(rules)
    given = _Given(
        [one for one in (issuer, serial, certificate) if one is not None],
        {"serial": serial, "certificate": certificate, "serial_text": serial_text},
        issuer,
        prefix,
    )
    given.options["issuer"] = issuer if issued_by is None else load_certificate(issued_by).der
    kind = _format_of(str(result), output_format, "--output-format")
    files = [(one, _format_of(str(one), input_format, "--input-format")) for one in tables]
    source = Source.of(target, at)
    summary = _Summary()
    with (
        open_checker(
            source, issuer_sources(issuers), policy, image_loading=ImageLoading.WHOLE
        ) as checker,
        naming(result),
        replacing_file(result, fsync=True) as file,
    ):
        source.announce()
        with working(f"checking {count(len(tables), 'table')}"):
            _check(checker, files, given, file, kind, summary)
        summary.require_rows()
    return summary.show(result, source)


def _format_of(name: str, given: str | None, option: str) -> TableFormat:
    """
    Return the format of a file.

    Raises:
        click.UsageError: neither its name nor the option says it.
        ImportError: pyarrow is not installed.
    """
    from crlcheck.columns.files import TableFormat

    found = TableFormat.of(name) if given is None else TableFormat(given)
    if found is None:
        raise click.UsageError(f"{name}: its name does not say the format: give {option}")
    return found


class _Given(NamedTuple):
    """
    What was given of the columns: their names, and the options of ``check_batches``; that of
    the issuers, if there is one, and what new columns begin with.
    """

    columns: Sequence[str]
    options: dict[str, Any]
    issuer: str | None
    prefix: str


def _check(
    checker: Any,
    files: Sequence[tuple[Path, TableFormat]],
    given: _Given,
    file: IO[bytes],
    kind: TableFormat,
    summary: _Summary,
) -> None:
    """Check all rows, and write them with their verdicts."""
    from crlcheck.columns.check import check_batches
    from crlcheck.columns.files import TableWriter

    waiting: deque[pa.RecordBatch] = deque()

    def taken() -> Iterator[pa.RecordBatch]:
        for path, kind_of_file in files:
            for batch in _batches(path, kind_of_file, given.columns):
                if batch.num_rows:
                    waiting.append(batch)
                    yield batch.select(given.columns)

    with contextlib.closing(TableWriter(file, kind)) as writer:
        for verdicts in check_batches(checker, taken(), **given.options):
            start = 0
            while start < verdicts.num_rows:
                rows = waiting.popleft()
                size = min(rows.num_rows, verdicts.num_rows - start)
                if size < rows.num_rows:
                    waiting.appendleft(rows.slice(size))
                    rows = rows.slice(0, size)
                found = verdicts.slice(start, size)
                start += size
                try:
                    writer.write(_beside(rows, found, given.prefix))
                except ValueError as error:
                    raise CrlCheckError(f"the tables do not fit together: {error}") from error
                summary.add(found, None if given.issuer is None else rows.column(given.issuer))


def _batches(path: Path, kind: TableFormat, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """
    Yield the batches of a file.

    Raises:
        CrlCheckError: it cannot be read as one of its format, or lacks a column.
    """
    import pyarrow as pa

    from crlcheck.columns.files import read_batches

    name = input_name(path)
    if path == STANDARD_INPUT and kind.needs_seeking:
        raise click.UsageError(f"{kind.value} is read from a file only, not from standard input")
    with open_input(path) as file:
        try:
            for batch in read_batches(file, kind, columns):
                missing = [one for one in columns if one not in batch.schema.names]
                if missing:
                    there = ", ".join(batch.schema.names)
                    raise CrlCheckError(f"{name}: no column {missing[0]!r}: there are {there}")
                yield batch
        except pa.ArrowException as error:
            raise CrlCheckError(f"{name}: not read as {kind.value}: {error}") from error


def _beside(rows: pa.RecordBatch, verdicts: pa.RecordBatch, prefix: str) -> pa.RecordBatch:
    """
    Return rows with their verdicts.

    Raises:
        click.UsageError: a column of the table has the name of a new one.
    """
    import pyarrow as pa

    names = [prefix + name for name in verdicts.schema.names]
    for name in names:
        if name in rows.schema.names:
            raise click.UsageError(f"the table has a column {name!r} already: give a --prefix")
    return pa.RecordBatch.from_arrays(
        [*rows.columns, *verdicts.columns], [*rows.schema.names, *names]
    )


class _Summary:
    """Counts the rows by status, cause and issuer."""

    def __init__(self) -> None:
        self._verdicts: Counter[tuple[str | None, str | None]] = Counter()
        self._issuers: Counter[tuple[Any, str | None]] = Counter()

    def add(self, verdicts: pa.RecordBatch, issuers: pa.Array | None) -> None:
        """Count the rows of a batch; *issuers* is their column, if there is one."""
        pairs = ("status", "cause")
        _count([verdicts.column(one) for one in pairs], self._verdicts)
        if issuers is not None and len(self._issuers) < _MAX_ISSUERS:
            _count([issuers, verdicts.column("status")], self._issuers)

    def require_rows(self) -> None:
        """
        Raise unless there is a row: there is no status of nothing.

        Raises:
            CrlCheckError: there is none.
        """
        if not self._verdicts:
            raise CrlCheckError("nothing was checked: expected a row")

    def show(self, result: Path, source: Source) -> int:
        """Show the counts, and return the exit status of the worst row."""
        status = worst_exit_status(_exit_status(*verdict) for verdict in self._verdicts)
        statuses: Counter[str] = Counter()
        causes: Counter[str] = Counter()
        for (found, cause), number in self._verdicts.items():
            statuses[found or "no_value"] += number
            if cause is not None:
                causes[cause] += number
        issuers: dict[str, Counter[str]] = {}
        for (value, found), number in self._issuers.items():
            issuers.setdefault(_issuer_text(value), Counter())[found or "no_value"] += number
        ordered = sorted(issuers.items(), key=lambda one: (-_num_bad(one[1]), one[0]))
        say(f"{result}: {count(statuses.total(), 'row')}: {_counts_text(statuses)}")
        for cause, number in _ordered(causes):
            say(f"  {cause}: {number:,}")
        for name, numbers in ordered[:_SHOWN_ISSUERS]:
            say(f"{name}: {_counts_text(numbers)}")
        if len(ordered) > _SHOWN_ISSUERS:
            say(f"and {count(len(ordered) - _SHOWN_ISSUERS, 'more issuer')}")
        answer(
            {
                "output": str(result),
                "num_rows": statuses.total(),
                "statuses": dict(statuses),
                "causes": dict(causes),
                "issuers": [{"issuer": name, **numbers} for name, numbers in ordered],
                "exit_status": status,
                **source.members(),
            }
        )
        return status


def _count(columns: Sequence[pa.Array], counts: Counter[Any]) -> None:
    """Count the rows by what they have in two columns."""
    import pyarrow as pa

    encoded = [
        one if pa.types.is_dictionary(one.type) else one.dictionary_encode() for one in columns
    ]
    table = pa.table([one.indices for one in encoded], ["0", "1"])
    grouped = table.group_by(["0", "1"]).aggregate([([], "count_all")])
    values: list[Callable[[int | None], Any]] = [_value_in(one.dictionary) for one in encoded]
    for row in grouped.to_pylist():
        counts[values[0](row["0"]), values[1](row["1"])] += row["count_all"]


def _value_in(dictionary: pa.Array) -> Callable[[int | None], Any]:
    return lambda index: None if index is None else dictionary[index].as_py()


def _exit_status(status: str | None, cause: str | None) -> int:
    """Return the exit status of a verdict; a row without one is a failure."""
    if status == RevocationStatus.REVOKED.value:
        return EXIT_REVOKED
    if status == RevocationStatus.NOT_REVOKED.value:
        return EXIT_NOT_REVOKED
    return EXIT_FAILED if cause in _FAILURES else EXIT_UNDETERMINED


def _num_bad(numbers: Counter[str]) -> int:
    return numbers.total() - numbers[RevocationStatus.NOT_REVOKED.value]


def _ordered(numbers: Counter[str]) -> list[tuple[str, int]]:
    return sorted(numbers.items(), key=lambda one: (-one[1], one[0]))


def _counts_text(numbers: Counter[str]) -> str:
    return ", ".join(f"{number:,} {word.replace('_', ' ')}" for word, number in _ordered(numbers))


def _issuer_text(value: Any) -> str:
    """Return an issuer as a table has it for people."""
    if not isinstance(value, bytes):
        return "no issuer" if value is None else str(value)
    with contextlib.suppress(ValueError):
        return format_name(value)
    return value.hex() if len(value) <= 64 else f"{value[:32].hex()}…"
