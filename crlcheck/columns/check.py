"""
Give each row of a table its verdict.

1. The table is taken in parts of a million rows, by several threads, in order.
2. The rows of a part are sorted by issuer, certificates by their kind
   (``crlcheck.checker.remembered``). Of each it is found once for all parts what is said of
   a serial number that no CRL lists, and in which images to look (``Judge.of_any_serial``).
3. The rows of a group are looked up in these images together, without the GIL. One that
   none of them lists has the verdict of 2.
4. A row that the only image lists has the verdict of its entry, where any entry means
   REVOKED. All else is asked about one by one, as ``check_serial`` is: what several CRLs say
   of one certificate, serial numbers of denied certificates, and negative ones. So are
   certificates that have expired or are as PEM, and those with the serial number of a
   trusted one.

For example, a table has 50 million rows of 200 issuers. Then 200 verdicts are found and
their images loaded, 50 million serial numbers are looked up, and the entries of those that
are listed are read.
"""

from __future__ import annotations

import collections
import contextlib
import functools
import itertools
import os
import queue
import threading
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any, NamedTuple, TypeAlias

import pyarrow as pa

from crlcheck._binding.columns import STATES, PlainGroups, RowBatch, SerialSet
from crlcheck.catalog.earlier import EarlierStore, store_at
from crlcheck.checker.checker import CheckerSource, RevocationChecker, names_an_image
from crlcheck.checker.one_set import OneSet
from crlcheck.columns.issuers import Issuers
from crlcheck.columns.parts import CertificatePart, Group, GroupsOfPart, Part, SerialPart
from crlcheck.columns.serials import SerialText
from crlcheck.columns.verdicts import (
    NO_DATES,
    NO_VALUE,
    SCHEMA,
    RowColumns,
    RowDates,
    Verdict,
    Verdicts,
    columns_of,
    dates_of,
    verdict_of,
)
from crlcheck.errors import CrlCheckError, IndexClosedError, StoreUnavailableError
from crlcheck.image.index import RevocationIndex
from crlcheck.stores import ObjectStore, open_store
from crlcheck.types import RevocationStatus, chosen
from crlcheck.x509.certificates import load_certificate

ColumnSource: TypeAlias = "ColumnChecker | RevocationChecker | CheckerSource"
"""What tables are checked by."""

PART_ROWS = 1 << 20
"""How many rows are in hand of each thread at once."""

_NOT_READ: Any = object()
_MAX_NUMBERED = 1 << 12
_MAX_GROUPS = 1 << 16
# Each has a certificate of some kilobytes.
_MAX_KINDS = 1 << 13
_NEVER = timedelta(days=36_500)


def check_table(
    source: ColumnSource,
    data: Any,
    *,
    issuer: str | bytes | None = None,
    serial: str | None = None,
    certificate: str | None = None,
    serial_text: SerialText | str | None = None,
    at: datetime | None = None,
    threads: int | None = None,
) -> pa.Table:
    """
    Return the verdict on each row of a table, as ``check`` or ``check_serial`` gives it.

    The result has a row for each row, in order, and the columns status, cause, reason_code,
    revocation_date, invalidity_date, crl_number, scope, this_update and next_update. Only the
    status ``not_revoked`` means that a certificate may pass. A row without issuer or serial
    number has no status, and the cause ``no_value``. One whose value is none is
    ``undetermined``, and has the cause ``not_a_serial``, ``not_an_issuer`` or
    ``not_a_certificate``.

    All rows are judged by one set and at one time. The store is read anew only where an object
    of that set is missing.

    Args:
        source: a checker, or a store or what ``RevocationChecker`` takes for one. A
            ``ColumnChecker`` has a set, a time and a form of text of its own.
        data: a table or a batch of any library that has Arrow's PyCapsule interface
            (pyarrow, polars, DuckDB, pandas), a stream of batches, or an iterable of them.
        issuer: the column of the issuers: each a Name as DER or as RFC 4514 text, a
            certificate, or the SHA-256 of a trusted issuer's certificate or public key; plain
            or as a dictionary. Bytes are the one issuer of all rows.
        serial: the column of the serial numbers: integers, text, or bytes, which are
            unsigned and big-endian.
        certificate: the column of the certificates, as DER or PEM, instead of the two. They
            must have been verified already.
        serial_text: whether text is hexadecimal (with or without colons) or decimal; by
            default that of a ``ColumnChecker``, and of all else hexadecimal.
        at: the time to judge by. A store is read as it was then; a checker answers by the set
            that it has.
        threads: how many parts are checked at once; by default one for each processor.

    Raises:
        KeyError: there is no such column.
        TypeError: a column is of a type that is none of these, or it is not said which are
            checked.
        ValueError: *at* has no time zone, *issuer* is none, or there are columns of one name.
        StoreError: the store is given by its location, and has no set that can be read.
    """
    names = Names.of(issuer, serial, certificate)
    text = _text_of(source, serial_text)
    verdicts = Verdicts()
    with _checked(source, data, names, text, at, threads, verdicts) as parts:
        found = list(parts)
    dictionaries = verdicts.dictionaries()
    return pa.Table.from_batches([one.batch(dictionaries) for one in found], schema=SCHEMA)


def check_batches(
    source: ColumnSource,
    data: Any,
    *,
    issuer: str | bytes | None = None,
    serial: str | None = None,
    certificate: str | None = None,
    serial_text: SerialText | str | None = None,
    at: datetime | None = None,
    threads: int | None = None,
) -> pa.RecordBatchReader:
    """
    Return what ``check_table`` does, as a stream: batches are checked while they are taken.

    No more of *data* is read at once than is in hand, so it may be of any size. The
    dictionaries of the result grow from batch to batch, and what was in them stays.

    Raises: as ``check_table``, when the first batch is taken.
    """

    names = Names.of(issuer, serial, certificate)
    text = _text_of(source, serial_text)

    def batches() -> Iterator[pa.RecordBatch]:
        verdicts = Verdicts()
        with _checked(source, data, names, text, at, threads, verdicts) as parts:
            for one in parts:
                yield one.batch(verdicts.dictionaries())

    return pa.RecordBatchReader.from_batches(SCHEMA, batches())


class Names(NamedTuple):
    """The columns that are checked: issuer, or the one of all rows, and serial; or certificate."""

    issuer: str | bytes | None
    serial: str | None
    certificate: str | None

    @classmethod
    def of(cls, issuer: str | bytes | None, serial: str | None, certificate: str | None) -> Names:
        """
        Return the columns that a caller names.

        Raises:
            TypeError: they are neither a certificate nor issuer and serial number.
        """
        is_serial = issuer is not None and serial is not None
        is_mixed = certificate is not None and (issuer is not None or serial is not None)
        if is_mixed or not (is_serial or certificate is not None):
            raise TypeError("expected issuer and serial, or certificate: one of the two")
        return cls(issuer, serial, certificate)

    @property
    def columns(self) -> list[str]:
        """The names alone."""
        return [name for name in self if isinstance(name, str)]


@contextlib.contextmanager
def _checked(
    source: ColumnSource,
    data: Any,
    names: Names,
    text: SerialText,
    at: datetime | None,
    threads: int | None,
    verdicts: Verdicts,
) -> Iterator[Iterator[RowColumns]]:
    """Open a checker, and check all parts of the data by it."""
    if threads is not None and threads < 1:
        raise ValueError(f"threads: expected a number from 1 on, found {threads}")
    with _opened(source, at) as (checker, moment):
        answers = _Answers(checker.one_set(moment), verdicts)
        constant = None
        if isinstance(names.issuer, bytes):
            constant = answers.constant(names.issuer)

        def part_of(arrays: Sequence[pa.Array]) -> Part:
            if names.certificate is not None:
                return CertificatePart(arrays[0])
            issuers = arrays[0] if constant is None else None
            return SerialPart(issuers, constant, arrays[-1], text)

        questions = map(part_of, _parts(data, names.columns))
        workers = threads or os.cpu_count() or 1
        with ThreadPoolExecutor(workers, "crlcheck-columns") as pool:
            yield _in_order(pool, workers, answers, questions)


@contextlib.contextmanager
def _opened(
    source: ColumnSource, at: datetime | None
) -> Iterator[tuple[RevocationChecker, datetime | None]]:
    """Open what is asked, and yield it with the time to judge by."""
    if isinstance(source, ColumnChecker):
        yield source.checker, at or source.at
        return
    if isinstance(source, RevocationChecker):
        yield source, at
        return
    if isinstance(source, ObjectStore) or (
        isinstance(source, str | os.PathLike) and not names_an_image(source)
    ):
        store = open_store(source)
        if at is not None and not isinstance(store, EarlierStore):
            store = store_at(store, at)
        moment = store.at if isinstance(store, EarlierStore) and at is None else at
        with RevocationChecker(store, refresh_after=_NEVER) as checker:
            checker.refresh()
            yield checker, moment
        return
    with RevocationChecker(source) as checker:
        yield checker, at


class ColumnChecker:
    """
    Checks columns of certificates by the set that a store has when this is made, and at one
    time. Threads may share it.

    A pickled one answers in another process by the same generation, at the same time.

    Args:
        source: as for ``check_table``.
        serial_text: as for ``check_table``.
        at: as for ``check_table``; by default the time when this is made.

    Raises:
        ValueError: *at* has no time zone.
        StoreError: the store is given by its location, and has no set that can be read.
    """

    def __init__(
        self,
        source: ColumnSource,
        *,
        serial_text: SerialText | str | None = None,
        at: datetime | None = None,
    ) -> None:
        self.serial_text = _text_of(source, serial_text)
        self._closing = contextlib.ExitStack()
        self.checker, moment = self._closing.enter_context(_opened(source, at))
        self._by = self.checker.one_set(moment)
        self.at = self._by.now
        self._verdicts = Verdicts()
        self._answers = _Answers(self._by, self._verdicts)

    @property
    def generation(self) -> int | None:
        """The generation of the set; None of open indexes."""
        return self._by.generation

    def check(self, issuer: Any, serial: Any) -> pa.RecordBatch:
        """
        Return the verdict on each row, with the columns of ``check_table``.

        *issuer* and *serial* are arrays of one length, or *issuer* is bytes: the one issuer
        of all rows.

        Raises:
            TypeError: an array is of a type that is none of those of ``check_table``.
            ValueError: the lengths differ, or *issuer* is bytes that are none.
        """
        constant = None
        if isinstance(issuer, bytes):
            constant = self._answers.constant(issuer)
            issuer = None
        elif len(issuer) != len(serial):
            raise ValueError(f"found {len(issuer)} issuers and {len(serial)} serial numbers")
        return self._answered(
            SerialPart(_whole(issuer), constant, _whole(serial), self.serial_text)
        )

    def check_certificates(self, certificate: Any) -> pa.RecordBatch:
        """
        Return the verdict on each certificate of an array, with the columns of ``check_table``.

        Raises:
            TypeError: the array is of another type than binary or text.
        """
        return self._answered(CertificatePart(_whole(certificate)))

    def check_named(self, batch: pa.RecordBatch, names: Names) -> pa.RecordBatch:
        """Return the verdict on each row of a batch by its columns of these names."""
        if names.certificate is not None:
            return self.check_certificates(_column(batch, names.certificate))
        assert names.serial is not None, "one of the two"
        issuer = (
            names.issuer if isinstance(names.issuer, bytes) else _column(batch, str(names.issuer))
        )
        return self.check(issuer, _column(batch, names.serial))

    def _answered(self, part: Part) -> pa.RecordBatch:
        if not part.num_rows:
            nothing = [pa.nulls(0, field.type) for field in SCHEMA]
            return pa.RecordBatch.from_arrays(nothing, schema=SCHEMA)
        columns = self._answers.to(part)
        return columns.batch(self._verdicts.dictionaries())

    def close(self) -> None:
        """Close the checker, if it was made here."""
        self._closing.close()

    def __enter__(self) -> ColumnChecker:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def __reduce__(self) -> tuple[Any, ...]:
        """
        Let another process have the same.

        Raises: as ``RevocationChecker`` does when it is pickled.
        """
        made = functools.partial(ColumnChecker, serial_text=self.serial_text, at=self.at)
        return made, (self.checker.pinned(self._by),)


def _text_of(source: ColumnSource, given: SerialText | str | None) -> SerialText:
    """Return how serial numbers are written where they are text."""
    if given is not None:
        return chosen("serial_text", SerialText, given)
    return source.serial_text if isinstance(source, ColumnChecker) else SerialText.HEX


def _whole(column: Any) -> Any:
    """Return a column in one piece."""
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column


# ---- parts --------------------------------------------------------------------------


def _parts(data: Any, columns: Sequence[str]) -> Iterator[list[pa.Array]]:
    """Yield the columns of parts of the data, of PART_ROWS rows each, or fewer."""
    waiting: list[list[pa.Array]] = []
    num_waiting = 0
    for batch in _batches(data):
        arrays = [_column(batch, name) for name in columns]
        for start in range(0, batch.num_rows, PART_ROWS):
            part = [one.slice(start, PART_ROWS) for one in arrays]
            num_rows = len(part[0])
            if num_waiting + num_rows > PART_ROWS:
                yield _joined(waiting)
                waiting, num_waiting = [], 0
            waiting.append(part)
            num_waiting += num_rows
    if num_waiting:
        yield _joined(waiting)


def _batches(data: Any) -> Iterator[pa.RecordBatch]:
    if isinstance(data, pa.Table):
        yield from data.to_batches()
    elif hasattr(data, "__arrow_c_stream__"):
        yield from pa.RecordBatchReader.from_stream(data)
    elif hasattr(data, "__arrow_c_array__"):
        yield pa.record_batch(data)
    elif isinstance(data, Iterable) and not isinstance(data, str | bytes):
        for one in data:
            yield from _batches(one)
    else:
        raise TypeError(
            f"data: found {type(data).__name__}, expected a table, batches, or what has Arrow's "
            "PyCapsule interface"
        )


def _column(batch: pa.RecordBatch, name: str) -> pa.Array:
    places = batch.schema.get_all_field_indices(name)
    if not places:
        raise KeyError(f"found no column {name!r}, expected it beside {batch.schema.names}")
    if len(places) > 1:
        raise ValueError(f"found {len(places)} columns {name!r}, expected one")
    return batch.column(places[0])


def _joined(parts: Sequence[Sequence[pa.Array]]) -> list[pa.Array]:
    if len(parts) == 1:
        return list(parts[0])
    return [pa.concat_arrays(arrays) for arrays in zip(*parts, strict=True)]


def _in_order(
    pool: ThreadPoolExecutor,
    workers: int,
    answers: _Answers,
    parts: Iterator[Part],
) -> Iterator[RowColumns]:
    """Yield the answers in the order of the parts, of which few are in hand at once."""
    under_way: collections.deque[Future[RowColumns]] = collections.deque()
    try:
        for part in itertools.chain(parts, itertools.repeat(None)):
            if part is not None:
                under_way.append(pool.submit(answers.to, part))
            elif not under_way:
                return
            if part is None or len(under_way) > workers:
                yield under_way.popleft().result()
    finally:
        for one in under_way:
            one.cancel()


# ---- answers ------------------------------------------------------------------------


class _Answers:
    """Answers parts of a table by one set. Threads may share it."""

    def __init__(self, by: OneSet, verdicts: Verdicts) -> None:
        self._by = by
        self._verdicts = verdicts
        self._issuers = Issuers(by)
        self._groups: dict[bytes | str, Group | None] = {}
        self._kinds: dict[bytes, Group] = {}
        # The first groups of issuers. Those that are plain are looked up together.
        self._numbered: list[Group] = []
        self._plain = PlainGroups(_MAX_NUMBERED)
        self._held: dict[int, int] = {}
        self._lock = threading.Lock()
        self._finding = threading.Lock()
        self._batches: queue.SimpleQueue[RowBatch] = queue.SimpleQueue()

    def _undetermined(self, cause: str) -> int:
        return self._verdicts.number(Verdict(RevocationStatus.UNDETERMINED.value, cause))

    def _by_state(self, part: Part) -> list[int]:
        """
        Return the verdict by the state of a row, negative where it is another for each.

        They are numbered when they are needed, because a column without them is made faster.
        """
        states = {
            "no_value": self._verdicts.number(Verdict(None, NO_VALUE)),
            "no_serial": self._undetermined(part.cause_no_serial),
            "no_group": self._undetermined(part.cause_no_group),
        }
        return [states.get(state, -1) for state in STATES]

    def of_issuer(self, value: bytes | str) -> Group | None:
        """As ``Groups.of_issuer``."""
        # Without the lock: this is asked for each issuer of each part.
        known: Group | None = self._groups.get(value, _NOT_READ)
        if known is not _NOT_READ:
            return known
        with self._lock:
            known = self._groups.get(value, _NOT_READ)
            if known is not _NOT_READ:  # another thread has read it meanwhile
                return known
            issuer = self._issuers.read(value)
            if len(self._groups) >= _MAX_GROUPS:
                self._groups.clear()
            if issuer is None:
                group = None
            elif len(self._numbered) < _MAX_NUMBERED:
                group = Group(issuer, len(self._numbered))
                self._numbered.append(group)
            else:
                group = Group(issuer)
            self._groups[value] = group
            return group

    def numbered(self, groups: Sequence[Group]) -> GroupsOfPart | None:
        """As ``Groups.numbered``."""
        if any(group.number < 0 for group in groups):
            return None
        return GroupsOfPart(tuple(self._numbered), are_of_all=True)

    def constant(self, issuer: bytes) -> Group:
        """
        Return the group of the one issuer that all rows have.

        Raises:
            ValueError: it is none.
        """
        found = self.of_issuer(issuer)
        if found is None:
            raise ValueError("issuer: expected a Name, a certificate or a SHA-256 as bytes")
        return found

    def of_kind(self, kind: bytes, certificate: bytes) -> Group:
        """As ``Groups.of_kind``."""
        with self._lock:
            group = self._kinds.get(kind)
            if group is None:
                if len(self._kinds) >= _MAX_KINDS:
                    self._kinds.clear()
                group = self._kinds[kind] = Group(load_certificate(certificate))
            return group

    def to(self, part: Part) -> RowColumns:
        """Return the columns of a part."""
        try:
            rows = self._batches.get_nowait()
        except queue.Empty:
            rows = RowBatch()
        try:
            return self._answer(part, rows)
        finally:
            self._batches.put(rows)

    def _answer(self, part: Part, rows: RowBatch) -> RowColumns:
        groups, are_of_all = part.read(rows, self, self._by)
        dates = RowDates(part.num_rows)
        starts = rows.sort(len(groups))
        there = [
            (group, start, end)
            for group, (start, end) in zip(groups, itertools.pairwise(starts), strict=True)
            if start < end
        ]
        for group, _, _ in there:
            if not group.is_known:
                with self._finding:  # by one thread, because the set may change meanwhile
                    if not group.is_known:
                        self._find(group)
        rows.fill([group.verdict for group in groups])
        # Before the look-up, because another thread may make a group plain meanwhile.
        others = [one for one in there if not (are_of_all and one[0].is_plain)]
        if len(others) < len(there):
            self._answer_plain(rows, dates, part, groups)
        for group, start, end in others:
            for place in self._answer_group(group, rows, start, end, dates):
                row = rows.row(place)
                self._settle(rows, row, dates, part, group, rows.serial(place))
        if starts[-1] < part.num_rows:
            for row in rows.settle_others(self._by_state(part)):
                group_or_none = groups[rows.group(row)] if groups else None
                self._settle(rows, row, dates, part, group_or_none, None)
        return columns_of(rows, self._verdicts, dates)

    def _settle(
        self,
        rows: RowBatch,
        row: int,
        dates: RowDates,
        part: Part,
        group: Group | None,
        serial: int | None,
    ) -> None:
        """Ask about one row by itself."""
        result = part.ask(self._by, group, row, serial)
        if result is None:
            rows.settle(row, self._undetermined(part.cause_no_serial))
        else:
            rows.settle(row, self._verdicts.number(verdict_of(result)))
            dates.put(row, dates_of(result))

    def _find(self, group: Group) -> None:
        """Find what is said of a group, which is done once."""
        of_any = group.find(self._by)
        if of_any is not None:
            group.verdict = self._verdicts.number(verdict_of(of_any.result))
            group.dates = dates_of(of_any.result)
            group.apart = SerialSet(of_any.apart) if of_any.apart else None
            if of_any.is_sole:
                ((image, _),) = of_any.looks
                group.by_reason = self._verdicts.by_reason(image.metadata, image.scope)
        group.of_any = of_any
        group.is_plain = self._make_plain(group)
        group.is_known = True

    def _make_plain(self, group: Group) -> bool:
        """
        Let a group be looked up together with others, where that is always the same.

        Its image stays loaded then. Such images take at most half of what the checker may
        keep loaded.
        """
        of_any = group.of_any
        if of_any is None or group.number < 0 or group.dates != NO_DATES or len(of_any.looks) > 1:
            return False
        native, issuer = None, 0
        for image, name in of_any.looks:
            try:
                opened = image.index()
            except (CrlCheckError, OSError):
                return False
            if image.is_callers or not isinstance(opened, RevocationIndex):
                return False
            found, numbers = opened.native_of(name)
            held = {**self._held, id(found): image.size}
            if len(numbers) > 1 or sum(held.values()) > self._by.image_memory // 2:
                return False
            if numbers:
                self._held = held
                native, (issuer,) = found, numbers
        self._plain.add(group.number, native, issuer, group.apart, group.by_reason)
        return True

    def _answer_plain(
        self, rows: RowBatch, dates: RowDates, part: Part, groups: Sequence[Group]
    ) -> None:
        """Answer the rows of all groups that are plain."""
        num_places = rows.look_up(self._plain)
        if num_places:
            num_places = rows.take(self._plain, num_places, dates.native)
        for place in rows.places(0, num_places):
            row = rows.row(place)
            self._settle(rows, row, dates, part, groups[rows.group(row)], rows.serial(place))

    def _answer_group(
        self, group: Group, rows: RowBatch, start: int, end: int, dates: RowDates
    ) -> list[int]:
        """
        Answer the rows of a group, from *start* to before *end*.

        Return the places of those that are to be asked about by themselves.
        """
        index = self._flag(group, rows, start, end)
        num_places = rows.flagged(start, end)
        if group.dates != NO_DATES:  # those of an issuer above
            rows.date(start, end, dates.native, group.dates)
        if num_places and index is not None:
            native, (number,) = index.native_of()
            num_places = rows.take_entries(
                native, number, start, num_places, dates.native, group.by_reason
            )
        return rows.places(start, num_places)

    def _flag(self, group: Group, rows: RowBatch, start: int, end: int) -> RevocationIndex | None:
        """
        Flag the rows that do not have the verdict of their group.

        Return the only image, if an entry in it is the verdict.
        """
        of_any = group.of_any
        index: RevocationIndex | None = None
        rows.set_apart(start, end, is_apart=of_any is None)
        if of_any is None:
            return None
        for image, name in of_any.looks:
            try:
                opened = image.index()
                if not isinstance(opened, RevocationIndex):  # it is read by pages
                    raise StoreUnavailableError("not all of it is loaded")
                index = opened
                rows.flag_listed(*index.native_of(name), start, end)
            except IndexClosedError:
                raise
            except (CrlCheckError, OSError):
                # Each row is asked about by itself, and its verdict tells of the failure.
                rows.set_apart(start, end, is_apart=True)
                return None
        if group.apart is not None:
            rows.set_members_apart(group.apart, start, end)
        return index if of_any.is_sole else None
