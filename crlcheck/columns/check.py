"""
Give each row of a table its verdict.

1. The table is taken in parts of a million rows, by several threads, in order.
2. The rows of a part are sorted by issuer. Of each issuer it is found once for all parts
   what is said of a serial number that no CRL lists, and in which images to look
   (``Judge.of_any_serial``).
3. The rows of an issuer are looked up in these images together, without the GIL. One that
   none of them lists has the verdict of 2.
4. A row that the only image lists has the verdict of its entry, where any entry means
   REVOKED. All else is asked about one by one, as ``check_serial`` is: what several CRLs say
   of one certificate, serial numbers of denied certificates, and negative ones.

For example, a table has 50 million rows of 200 issuers. Then 200 verdicts are found and
their images loaded, 50 million serial numbers are looked up, and the entries of those that
are listed are read.
"""

from __future__ import annotations

import collections
import contextlib
import itertools
import os
import queue
import threading
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from crlcheck._binding.columns import NO_VALUE as NO_GROUP_VALUE
from crlcheck._binding.columns import STATES, UNKNOWN, RowBatch, SerialSet
from crlcheck.catalog.earlier import EarlierStore, store_at
from crlcheck.checker.checker import CheckerSource, RevocationChecker, names_an_image
from crlcheck.checker.judge import OfAny
from crlcheck.checker.one_set import OneSet
from crlcheck.columns.issuers import Issuer, Issuers
from crlcheck.columns.serials import Serials, SerialText
from crlcheck.columns.verdicts import (
    NO_DATES,
    NO_VALUE,
    NOT_A_SERIAL,
    NOT_AN_ISSUER,
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

PART_ROWS = 1 << 20
"""How many rows are in hand of each thread at once."""

_MAX_ISSUERS = 1 << 16
_NEVER = timedelta(days=36_500)


def check_table(
    source: RevocationChecker | CheckerSource,
    data: Any,
    *,
    issuer: str | bytes,
    serial: str,
    serial_text: SerialText | str = SerialText.HEX,
    at: datetime | None = None,
    threads: int | None = None,
) -> pa.Table:
    """
    Return the verdict on each row of a table, as ``check_serial`` gives it.

    The result has a row for each row, in order, and the columns status, cause, reason_code,
    revocation_date, invalidity_date, crl_number, scope, this_update and next_update. Only the
    status ``not_revoked`` means that a certificate may pass. A row without issuer or serial
    number has no status, and the cause ``no_value``. One whose value is none is
    ``undetermined``, and has the cause ``not_a_serial`` or ``not_an_issuer``.

    All rows are judged by one set and at one time. The store is read anew only where an object
    of that set is missing.

    Args:
        source: a checker, or a store or what ``RevocationChecker`` takes for one.
        data: a table or a batch of any library that has Arrow's PyCapsule interface
            (pyarrow, polars, DuckDB, pandas), a stream of batches, or an iterable of them.
        issuer: the column of the issuers: each a Name as DER or as RFC 4514 text, a
            certificate, or the SHA-256 of a trusted issuer's certificate or public key; plain
            or as a dictionary. Bytes are the one issuer of all rows.
        serial: the column of the serial numbers: integers, text, or bytes, which are
            unsigned and big-endian.
        serial_text: whether text is hexadecimal (with or without colons) or decimal.
        at: the time to judge by. A store is read as it was then; a checker answers by the set
            that it has.
        threads: how many parts are checked at once; by default one for each processor.

    Raises:
        KeyError: there is no such column.
        TypeError: a column is of a type that is none of these.
        ValueError: *at* has no time zone, *issuer* is none, or there are columns of one name.
        StoreError: the store is given by its location, and has no set that can be read.
    """
    verdicts = Verdicts()
    with _checked(source, data, issuer, serial, serial_text, at, threads, verdicts) as parts:
        found = list(parts)
    dictionaries = verdicts.dictionaries()
    return pa.Table.from_batches([one.batch(dictionaries) for one in found], schema=SCHEMA)


def check_batches(
    source: RevocationChecker | CheckerSource,
    data: Any,
    *,
    issuer: str | bytes,
    serial: str,
    serial_text: SerialText | str = SerialText.HEX,
    at: datetime | None = None,
    threads: int | None = None,
) -> pa.RecordBatchReader:
    """
    Return what ``check_table`` does, as a stream: batches are checked while they are taken.

    No more of *data* is read at once than is in hand, so it may be of any size. The
    dictionaries of the result grow from batch to batch, and what was in them stays.

    Raises: as ``check_table``, when the first batch is taken.
    """

    def batches() -> Iterator[pa.RecordBatch]:
        verdicts = Verdicts()
        with _checked(source, data, issuer, serial, serial_text, at, threads, verdicts) as parts:
            for one in parts:
                yield one.batch(verdicts.dictionaries())

    return pa.RecordBatchReader.from_batches(SCHEMA, batches())


@contextlib.contextmanager
def _checked(
    source: RevocationChecker | CheckerSource,
    data: Any,
    issuer: str | bytes,
    serial: str,
    serial_text: SerialText | str,
    at: datetime | None,
    threads: int | None,
    verdicts: Verdicts,
) -> Iterator[Iterator[RowColumns]]:
    """Open a checker, and check all parts of the data by it."""
    text = chosen("serial_text", SerialText, serial_text)
    if threads is not None and threads < 1:
        raise ValueError(f"threads: expected a number from 1 on, found {threads}")
    with _opened(source, at) as (checker, moment):
        by = checker.one_set(moment)
        answers = _Answers(by, verdicts)
        constant = None
        if isinstance(issuer, bytes):
            constant = answers.group(issuer)
            if constant is None:
                raise ValueError("issuer: expected a Name, a certificate or a SHA-256 as bytes")
        columns = [serial] if isinstance(issuer, bytes) else [issuer, serial]
        parts = _parts(data, columns)
        questions = (
            _Question(None if constant is not None else part[0], constant, part[-1], text)
            for part in parts
        )
        workers = threads or os.cpu_count() or 1
        with ThreadPoolExecutor(workers, "crlcheck-columns") as pool:
            yield _in_order(pool, workers, answers, questions)


@contextlib.contextmanager
def _opened(
    source: RevocationChecker | CheckerSource, at: datetime | None
) -> Iterator[tuple[RevocationChecker, datetime | None]]:
    """Open what is asked, and yield it with the time to judge by."""
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


class _Question(NamedTuple):
    """A part of the data: issuers, or the one that all rows have, and serial numbers."""

    issuers: pa.Array | None
    constant: _Group | None
    serials: pa.Array
    text: SerialText


def _in_order(
    pool: ThreadPoolExecutor,
    workers: int,
    answers: _Answers,
    questions: Iterator[_Question],
) -> Iterator[RowColumns]:
    """Yield the answers in the order of the questions, of which few are in hand at once."""
    under_way: collections.deque[Future[RowColumns]] = collections.deque()
    try:
        for question in itertools.chain(questions, itertools.repeat(None)):
            if question is not None:
                under_way.append(pool.submit(answers.to, question))
            elif not under_way:
                return
            if question is None or len(under_way) > workers:
                yield under_way.popleft().result()
    finally:
        for one in under_way:
            one.cancel()


# ---- answers ------------------------------------------------------------------------


class _Group:
    """
    The rows of an issuer, and what is said of them. It is found when the first row comes.

    ``of_any`` is None where each row is asked about by itself.
    """

    def __init__(self, issuer: Issuer) -> None:
        self.issuer = issuer
        self.is_known = False
        self.of_any: OfAny | None = None
        self.verdict = -1
        self.dates: tuple[int | None, int | None] = NO_DATES
        self.apart: SerialSet | None = None
        self.by_reason: Any = None


class _Answers:
    """Answers parts of a table by one set. Threads may share it."""

    def __init__(self, by: OneSet, verdicts: Verdicts) -> None:
        self._by = by
        self._verdicts = verdicts
        self._issuers = Issuers(by)
        self._groups: dict[bytes | str, _Group | None] = {}
        self._lock = threading.Lock()
        self._finding = threading.Lock()
        self._batches: queue.SimpleQueue[RowBatch] = queue.SimpleQueue()

    def _undetermined(self, cause: str) -> int:
        return self._verdicts.number(Verdict(RevocationStatus.UNDETERMINED.value, cause))

    def _by_state(self) -> list[int]:
        """
        Return the verdict by the state of a row, negative where it is another for each.

        They are numbered when they are needed, because a column without them is made faster.
        """
        states = {
            "no_value": self._verdicts.number(Verdict(None, NO_VALUE)),
            "no_serial": self._undetermined(NOT_A_SERIAL),
            "no_group": self._undetermined(NOT_AN_ISSUER),
        }
        return [states.get(state, -1) for state in STATES]

    def group(self, value: bytes | str) -> _Group | None:
        """Return the group of an issuer as a column has it, None where it is none."""
        with self._lock:
            try:
                return self._groups[value]
            except KeyError:
                issuer = self._issuers.read(value)
            if len(self._groups) >= _MAX_ISSUERS:
                self._groups.clear()
            group = self._groups[value] = None if issuer is None else _Group(issuer)
            return group

    def to(self, question: _Question) -> RowColumns:
        """Return the columns of a part."""
        try:
            rows = self._batches.get_nowait()
        except queue.Empty:
            rows = RowBatch()
        try:
            return self._answer(question, rows)
        finally:
            self._batches.put(rows)

    def _answer(self, question: _Question, rows: RowBatch) -> RowColumns:
        serials = Serials(question.serials, question.text)
        num_rows = len(question.serials)
        rows.read_serials(serials.buffers, serials.form, num_rows)
        groups = self._number(question, rows)
        dates = RowDates(num_rows)
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
        for group, start, end in there:
            self._answer_group(group, rows, start, end, dates)
        if starts[-1] < num_rows:
            for row in rows.settle_others(self._by_state()):
                group, number = groups[rows.group(row)], serials.number(row)
                if number is None:
                    rows.settle(row, self._undetermined(NOT_A_SERIAL))
                else:
                    self._answer_row(group, number, rows, row, dates)
        return columns_of(rows, self._verdicts, dates)

    def _number(self, question: _Question, rows: RowBatch) -> list[_Group]:
        """Say of which group each row is. Return the groups by number."""
        if question.issuers is None:
            assert question.constant is not None, "one of the two"
            rows.number_all()
            return [question.constant]
        issuers = _encoded(question.issuers)
        groups: list[_Group] = []
        numbers: list[int] = []
        for value in issuers.dictionary.to_pylist():
            group = None if value is None else self.group(value)
            if group is None:
                numbers.append(NO_GROUP_VALUE if value is None else UNKNOWN)
            else:
                numbers.append(len(groups))
                groups.append(group)
        indices = issuers.indices.cast(pa.int32())
        validity, data = indices.buffers()
        is_whole = indices.null_count == 0
        rows.number(data, None if is_whole else validity, indices.offset, numbers)
        return groups

    def _find(self, group: _Group) -> None:
        """Find what is said of a group, which is done once."""
        issuer = group.issuer
        of_any = (
            self._by.of_any_serial(issuer.name, issuer.certificate)
            if issuer.unanswered is None
            else OfAny(issuer.unanswered, (), is_sole=False, apart=frozenset())
        )
        if of_any is not None:
            group.verdict = self._verdicts.number(verdict_of(of_any.result))
            group.dates = dates_of(of_any.result)
            group.apart = SerialSet(of_any.apart) if of_any.apart else None
            if of_any.is_sole:
                ((image, _),) = of_any.looks
                group.by_reason = self._verdicts.by_reason(image.metadata, image.scope)
        group.of_any = of_any
        group.is_known = True

    def _answer_group(
        self, group: _Group, rows: RowBatch, start: int, end: int, dates: RowDates
    ) -> None:
        """Answer the rows of a group, from *start* to before *end*."""
        index = self._flag(group, rows, start, end)
        num_places = rows.flagged(start, end)
        if group.dates != NO_DATES:  # those of an issuer above
            rows.date(start, end, dates.native, group.dates)
        if num_places and index is not None:
            native, (number,) = index.native_of()
            num_places = rows.take_entries(
                native, number, start, num_places, dates.native, group.by_reason
            )
        for place in rows.places(start, num_places):
            self._answer_row(group, rows.serial(place), rows, rows.row(place), dates)

    def _flag(self, group: _Group, rows: RowBatch, start: int, end: int) -> RevocationIndex | None:
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
                # What it means for a row is found where that is asked about by itself.
                rows.set_apart(start, end, is_apart=True)
                return None
        if group.apart is not None:
            rows.set_members_apart(group.apart, start, end)
        return index if of_any.is_sole else None

    def _answer_row(
        self, group: _Group, serial_number: int, rows: RowBatch, row: int, dates: RowDates
    ) -> None:
        """Answer one row by itself."""
        issuer = group.issuer
        result = issuer.unanswered
        if result is None:
            result = self._by.check_serial(issuer.name, issuer.certificate, serial_number)
        rows.settle(row, self._verdicts.number(verdict_of(result)))
        dates.put(row, dates_of(result))


def _encoded(issuers: pa.Array) -> pa.DictionaryArray:
    """Return a column of issuers with a dictionary, which is not larger than the column."""
    kind = issuers.type
    if pa.types.is_run_end_encoded(kind):
        return _encoded(pc.run_end_decode(issuers))
    if pa.types.is_dictionary(kind):
        is_small = len(issuers.dictionary) <= len(issuers)
        if is_small and _is_issuer(kind.value_type):
            return issuers
        return _encoded(issuers.dictionary_decode())
    if pa.types.is_string_view(kind):
        return _encoded(issuers.cast(pa.large_string()))
    if pa.types.is_binary_view(kind) or pa.types.is_null(kind):
        return _encoded(issuers.cast(pa.large_binary()))
    if not _is_issuer(kind):
        raise TypeError(f"issuers: found a column of {kind}, expected binary or text")
    return issuers.dictionary_encode()


def _is_issuer(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_binary(kind)
        or pa.types.is_large_binary(kind)
        or pa.types.is_fixed_size_binary(kind)
        or pa.types.is_string(kind)
        or pa.types.is_large_string(kind)
    )
