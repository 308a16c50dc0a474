"""What a table of verdicts says, of which input, and what it refuses."""

from __future__ import annotations

import decimal
import itertools
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pyarrow as pa
import pytest

from crlcheck import deny_certificate, load_certificate
from crlcheck.checker.checker import RevocationChecker
from crlcheck.checker.one_set import OneSet
from crlcheck.columns import check, check_batches, check_table
from crlcheck.columns.verdicts import NOT_A_SERIAL, NOT_AN_ISSUER, SCHEMA
from crlcheck.demo.encoding import encode_entry
from crlcheck.demo.pki import sign_crl
from crlcheck.image.index import RevocationIndex
from crlcheck.publisher.publish import publish_crl
from crlcheck.types import CheckResult, ImageLoading
from support.checking import (
    CA,
    GOOD,
    OTHER_CA,
    Clock,
    CountingStore,
    make_checker,
    make_index,
    publish,
)
from support.columns import row_of
from support.memory_store import MemoryStore
from support.pki import DAY, NOW

NAME = load_certificate(GOOD).issuer
OTHER_NAME = load_certificate(OTHER_CA.der).subject


def table_of(serials: Any, kind: Any = None, issuers: Any = None) -> pa.Table:
    """Serial numbers of the CA, or of other issuers."""
    names = [NAME] * len(serials) if issuers is None else issuers
    return pa.table({"issuer": names, "serial": pa.array(serials, kind)})


def rows_of(source: Any, table: Any, **options: Any) -> list[dict[str, Any]]:
    """The rows of the verdicts on a table."""
    options = {"issuer": "issuer", "serial": "serial", **options}
    if isinstance(source, RevocationIndex):
        options.setdefault("at", NOW)
    found = check_table(source, table, **options)
    assert found.schema == SCHEMA
    found.validate(full=True)
    rows: list[dict[str, Any]] = found.to_pylist()
    return rows


def statuses_of(source: Any, table: Any, **options: Any) -> list[str | None]:
    """The status of each row."""
    return [row["status"] for row in rows_of(source, table, **options)]


@pytest.fixture(name="asked")
def fixture_asked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The serial numbers that were asked about one by one."""
    found: list[int] = []
    method = OneSet.check_serial

    def note(self: OneSet, name: bytes, issuer: Any, serial_number: int) -> CheckResult:
        found.append(serial_number)
        return method(self, name, issuer, serial_number)

    monkeypatch.setattr(OneSet, "check_serial", note)
    return found


# ---- serial numbers -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (pa.binary(), [b"\2", b"\0\0\2", b"\1", None]),
        (pa.large_binary(), [b"\2", b"\0\0\2", b"\1", None]),
        (pa.binary_view(), [b"\2", b"\0\0\2", b"\1", None]),
        (pa.binary(2), [b"\0\2", b"\0\2", b"\0\1", None]),
        (pa.binary(70), [bytes(69) + b"\2", bytes(69) + b"\2", bytes(69) + b"\1", None]),
        (pa.string(), ["2", " 0x02\n", "00:01", None]),
        (pa.large_string(), ["02", "0:02", "1", None]),
        (pa.string_view(), ["02", "0:02", "1", None]),
        (pa.int8(), [2, 2, 1, None]),
        (pa.uint16(), [2, 2, 1, None]),
        (pa.int64(), [2, 2, 1, None]),
        (pa.uint64(), [2, 2, 1, None]),
        (pa.decimal128(38, 0), [decimal.Decimal(one) for one in (2, 2, 1)] + [None]),
        (pa.dictionary(pa.int8(), pa.string()), ["2", "02", "1", None]),
    ],
    ids=str,
)
def test_serial_numbers_of_each_type(kind: pa.DataType, values: list[Any]) -> None:
    """They are the same numbers, also in a slice, and a null has no status."""
    table = table_of(values, kind)
    expected = ["revoked", "revoked", "not_revoked", None]
    assert statuses_of(make_index(), table) == expected
    assert statuses_of(make_index(), table.slice(1)) == expected[1:]
    assert rows_of(make_index(), table)[3] == row_of(None, "no_value")


def test_decimal_text() -> None:
    """It is read as decimal where that is said, else as hexadecimal."""
    index = make_index(revoked=[10, 0x10, 1 << 100])
    texts = ["10", " 010 ", str(1 << 100), "12", "1x", "-10", "+10", "1_0", "", "9" * 5000]
    found = rows_of(index, table_of(texts), serial_text="decimal")
    none = row_of("undetermined", NOT_A_SERIAL)
    assert [row["status"] for row in found[:4]] == ["revoked"] * 3 + ["not_revoked"]
    assert found[4] == none
    assert found[5]["status"] == "not_revoked"
    assert found[6:] == [none] * 4
    assert statuses_of(index, table_of(["10", "a"])) == ["revoked", "revoked"]


@pytest.mark.parametrize(
    "text",
    ["", " ", "-", "0x", "g", "1:2", "001:02", ":01", "01:", "01::02", "0x01:02", "é", "1 2"],
)
def test_what_is_no_serial_number(text: str) -> None:
    """It has a cause of its own, and is never "not revoked"."""
    assert rows_of(make_index(), table_of([text])) == [row_of("undetermined", NOT_A_SERIAL)]


def test_no_octets_are_no_serial_number() -> None:
    """Neither of a width of their own nor of none."""
    for kind in (pa.binary(), pa.binary(0)):
        assert rows_of(make_index(), table_of([b""], kind)) == [
            row_of("undetermined", NOT_A_SERIAL)
        ]


def test_numbers_that_are_odd_are_asked_about_one_by_one(asked: list[int]) -> None:
    """Negative ones, and those that are too large for a CRL that is compiled."""
    numbers = [-2, -(1 << 70), 1 << 520, 2]
    index = make_index(revoked=[-2, 2])
    found = statuses_of(index, table_of([f"{one:x}" for one in numbers]))
    assert found == ["revoked", "not_revoked", "not_revoked", "revoked"]
    assert asked == numbers[:3]


# ---- issuers --------------------------------------------------------------------------


def test_one_issuer_for_all_rows() -> None:
    """Bytes are an issuer, text is the name of a column."""
    table = pa.table({"serial": [1, 2]})
    for issuer in (NAME, CA.der, CA.pem):
        assert statuses_of(make_index(), table, issuer=issuer) == ["not_revoked", "revoked"]
    with pytest.raises(ValueError, match="issuer: expected"):
        rows_of(make_index(), table, issuer=b"CN=CA")


def test_an_unreadable_issuer_comes_before_the_serial_number() -> None:
    """A null comes before both."""
    table = table_of(["zz", "zz", None], issuers=[b"?", None, b"?"])
    assert rows_of(make_index(), table) == [
        row_of("undetermined", NOT_AN_ISSUER),
        row_of(None, "no_value"),
        row_of(None, "no_value"),
    ]


def test_a_dictionary_may_have_more_issuers_than_rows() -> None:
    """And nulls, as value and as index."""
    names = pa.array([b"%d" % one for one in range(100)] + [NAME, None])
    indices = pa.array([100, 101, None, 100], pa.int16())
    table = table_of([2, 2, 2, 1], issuers=pa.DictionaryArray.from_arrays(indices, names))
    assert statuses_of(make_index(), table) == ["revoked", None, None, "not_revoked"]


def test_an_index_knows_its_issuer_by_the_key() -> None:
    """Where no certificate of it is given."""
    key = make_index().metadata.verifier_key_hash
    assert statuses_of(make_index(), table_of([1, 2], issuers=[key] * 2)) == [
        "not_revoked",
        "revoked",
    ]


# ---- verdicts -------------------------------------------------------------------------


def test_most_rows_are_answered_together(asked: list[int]) -> None:
    """Listed or not: nothing is asked about one by one."""
    index = make_index(revoked=range(0, 2000, 2))
    found = statuses_of(index, table_of(range(2000)))
    assert found == ["revoked", "not_revoked"] * 1000
    assert asked == []


def test_the_entry_has_its_dates_and_its_reason() -> None:
    """Each row that of its own entry; an entry may have neither reason nor date."""
    entries = [
        encode_entry(1, NOW - 2 * DAY, reason=4, invalidity_date=NOW - 9 * DAY),
        encode_entry(2, NOW - 3 * DAY),
        encode_entry(3, NOW - 4 * DAY, reason=6),
    ]
    crl = sign_crl(CA, entries, this_update=NOW - DAY, next_update=NOW + DAY, crl_number=1 << 80)
    store = MemoryStore()
    publish_crl(crl, store, issuer=CA.pem, now=NOW)
    rows = rows_of(make_checker(store), table_of([3, 2, 9, 1]))
    assert [(row["reason_code"], row["revocation_date"]) for row in rows] == [
        ("certificate_hold", NOW - 4 * DAY),
        (None, NOW - 3 * DAY),
        (None, None),
        ("superseded", NOW - 2 * DAY),
    ]
    assert [row["invalidity_date"] for row in rows] == [None, None, None, NOW - 9 * DAY]
    assert {row["crl_number"] for row in rows} == {str(1 << 80)}


def test_a_denied_certificate_is_asked_about_by_itself(asked: list[int]) -> None:
    """Whether a CRL lists it or not; another issuer's of that number is not denied."""
    store = MemoryStore()
    publish(store, revoked=(2, 3))
    publish(store, authority=OTHER_CA, revoked=(2,))
    deny_certificate(store, NAME, 2, now=NOW)
    deny_certificate(store, NAME, 5, now=NOW)
    checker = make_checker(store)
    rows = [(name, one) for one in (1, 2, 3, 5) for name in (NAME, OTHER_NAME)]
    table = table_of([one for _, one in rows], issuers=[name for name, _ in rows])
    assert rows_of(checker, table) == [row_of(checker.check_serial(*row)) for row in rows]
    assert sorted(asked) == [2, 5]
    assert rows_of(checker, table)[2]["scope"] is None


def test_an_image_by_pages_gives_the_same() -> None:
    """Each row is asked about by itself then."""
    store = MemoryStore()
    publish(store, revoked=range(0, 30_000, 3))
    serials = range(29_990, 30_010)
    by_pages = make_checker(store, image_loading=ImageLoading.PAGES)
    assert rows_of(by_pages, table_of(serials)) == rows_of(make_checker(store), table_of(serials))


def test_an_image_that_cannot_be_read() -> None:
    """Its certificates are undetermined, and those of others are not."""
    store = CountingStore()
    name = publish(store)
    publish(store, authority=OTHER_CA)
    checker = make_checker(store)
    store.delete(name)
    table = table_of([1, 2, 1, 2], issuers=[NAME, NAME, OTHER_NAME, OTHER_NAME])
    rows = rows_of(checker, table)
    assert [row["cause"] for row in rows] == ["store_unavailable"] * 2 + [None] * 2
    assert [row["status"] for row in rows[2:]] == ["not_revoked", "revoked"]


def test_images_that_do_not_fit_into_the_memory() -> None:
    """They are loaded again, and the rows that they list are revoked all the same."""
    store = MemoryStore()
    publish(store)
    publish(store, authority=OTHER_CA, revoked=(1,))
    checker = make_checker(store, image_memory=1, refresh_after=timedelta(days=1))
    table = table_of([1, 2] * 4, issuers=[NAME, NAME, OTHER_NAME, OTHER_NAME] * 2)
    expected = ["not_revoked", "revoked", "revoked", "not_revoked"] * 2
    assert statuses_of(checker, table.to_batches(max_chunksize=3), threads=1) == expected


def test_an_image_that_is_gone_when_it_is_needed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was found while it was there is not said without it."""
    monkeypatch.setattr(check, "PART_ROWS", 2)
    store = CountingStore()
    publish(store)
    publish(store, authority=OTHER_CA)
    checker = make_checker(store, image_memory=1, refresh_after=timedelta(days=1))

    def batches() -> Iterator[pa.RecordBatch]:
        yield from table_of([1, 2]).to_batches()
        for _ in range(3):  # one is read ahead
            yield from table_of([1, 2], issuers=[OTHER_NAME] * 2).to_batches()
        store.is_down = True  # when the second part has been answered
        yield from table_of([1, 2]).to_batches()

    rows = rows_of(checker, batches(), threads=1)
    assert [row["status"] for row in rows[:8]] == ["not_revoked", "revoked"] * 4
    assert [row["cause"] for row in rows[8:]] == ["store_unavailable"] * 2


def test_one_set_and_one_time_for_all_rows() -> None:
    """What is published while the data is read does not count, nor how long that takes."""
    store, clock = MemoryStore(), Clock()
    publish(store)
    checker = make_checker(store, clock=clock)

    def batches() -> Iterator[pa.RecordBatch]:
        yield from table_of([1, 2]).to_batches()
        publish(store, 2, revoked=(1, 2))
        clock.now = NOW + 90 * DAY
        yield from table_of([1, 2]).to_batches()

    assert statuses_of(checker, batches()) == ["not_revoked", "revoked"] * 2
    assert statuses_of(checker, table_of([1, 2])) == ["revoked", "revoked"]


# ---- sources and times ----------------------------------------------------------------


def test_a_store_that_has_no_set() -> None:
    """A checker says so of each row; of a location it is an error."""
    store = MemoryStore()
    checker = make_checker(store)
    assert [row["cause"] for row in rows_of(checker, table_of([1, 2]))] == ["store_unavailable"] * 2
    with pytest.raises(FileNotFoundError):
        rows_of(store, table_of([1]))


def test_the_time_to_judge_by() -> None:
    """A checker answers by its set, a store is read as it was."""
    store = MemoryStore()
    publish(store, 1, revoked=(2,))
    checker = make_checker(store)
    assert statuses_of(checker, table_of([1]), at=NOW + DAY) == ["not_revoked"]
    (row,) = rows_of(checker, table_of([1]), at=NOW + 40 * DAY)
    assert row["cause"] == "stale"
    with pytest.raises(ValueError, match="at: expected an aware datetime"):
        rows_of(checker, table_of([1]), at=NOW.replace(tzinfo=None))


def test_a_closed_checker_is_an_error() -> None:
    """And no answer."""
    checker = make_checker(make_index())
    checker.close()
    with pytest.raises(Exception, match="closed"):
        rows_of(checker, table_of([1]))


# ---- data -----------------------------------------------------------------------------


class Exported:
    """Data of another library: nothing of it is known but the PyCapsule interface."""

    def __init__(self, table: pa.Table) -> None:
        self._table = table

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        """Export a stream."""
        return self._table.__arrow_c_stream__(requested_schema)


class ExportedBatch:
    """A batch of another library."""

    def __init__(self, table: pa.Table) -> None:
        (self._batch,) = table.combine_chunks().to_batches()

    def __arrow_c_array__(self, requested_schema: object = None) -> object:
        """Export a struct."""
        return self._batch.__arrow_c_array__(requested_schema)


@pytest.mark.parametrize(
    "of",
    [
        lambda table: table,
        lambda table: table.to_batches(max_chunksize=7),
        lambda table: iter(table.to_batches(max_chunksize=7)),
        lambda table: table.to_reader(max_chunksize=7),
        Exported,
        ExportedBatch,
        lambda table: [Exported(table)],
        lambda table: pa.concat_tables([table.slice(0, 3), table.slice(3)]),
    ],
)
@pytest.mark.parametrize("part_rows", [1, 8, 1 << 20])
def test_data_of_each_kind(of: Any, part_rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rows come in order, in whatever parts they are taken."""
    monkeypatch.setattr(check, "PART_ROWS", part_rows)
    index = make_index(revoked=[1, 4, 9, 16, 25])
    table = table_of(range(30))
    expected = ["revoked" if one in (1, 4, 9, 16, 25) else "not_revoked" for one in range(30)]
    for threads in (1, 3, None):
        assert statuses_of(index, of(table), threads=threads) == expected


def test_no_rows() -> None:
    """The result has its columns."""
    assert rows_of(make_index(), table_of([], pa.int64()).cast(table_of([1]).schema)) == []
    assert rows_of(make_index(), []) == []


def test_no_more_than_a_few_parts_are_in_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a stream that never ends, too."""
    monkeypatch.setattr(check, "PART_ROWS", 4)
    taken = itertools.count()

    def endless() -> Iterator[pa.RecordBatch]:
        while True:
            next(taken)
            yield from table_of([1, 2, 3, 4]).to_batches()

    parts = check_batches(make_index(), endless(), issuer="issuer", serial="serial", threads=2)
    for _ in range(5):
        assert parts.read_next_batch().num_rows == 4
    parts.close()
    assert next(taken) <= 5 + 2 + 2


def test_dictionaries_only_grow(monkeypatch: pytest.MonkeyPatch) -> None:
    """So a writer of Arrow files can write the batches with deltas."""
    monkeypatch.setattr(check, "PART_ROWS", 1)
    store = MemoryStore()
    publish(store)
    publish(store, 7, authority=OTHER_CA)
    table = table_of([1, 1], issuers=[NAME, OTHER_NAME])
    parts = list(
        check_batches(make_checker(store), table, issuer="issuer", serial="serial", threads=1)
    )
    dictionaries = [one.column("crl_number").dictionary.to_pylist() for one in parts]
    assert dictionaries[-1] == ["1", "7"]
    assert dictionaries[0] == dictionaries[-1][: len(dictionaries[0])]


# ---- refusals -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "options", "error", "words"),
    [
        (table_of([1]), {"serial": "number"}, KeyError, "no column 'number'"),
        (table_of([1]), {"issuer": "who"}, KeyError, "no column 'who'"),
        (table_of([1.5]), {}, TypeError, "serial numbers: found a column of double"),
        (table_of([1], issuers=[1]), {}, TypeError, "issuers: found a column of int64"),
        (table_of([1]), {"threads": 0}, ValueError, "threads: expected"),
        (table_of([1]), {"serial_text": "octal"}, ValueError, "serial_text: expected one of"),
        (
            pa.table([[NAME], [1], [2]], ["issuer", "serial", "serial"]),
            {},
            ValueError,
            "found 2 columns 'serial'",
        ),
        (7, {}, TypeError, "data: found int"),
        ("table.parquet", {}, TypeError, "data: found str"),
    ],
)
def test_refusals(data: Any, options: Any, error: type[Exception], words: str) -> None:
    """What cannot be meant is an error before anything is said."""
    with pytest.raises(error, match=words):
        rows_of(make_index(), data, **options)


def test_a_dictionary_whose_indices_lead_nowhere() -> None:
    """Nothing else is read: the issuer is none."""
    indices = pa.Array.from_buffers(
        pa.int32(), 2, [None, pa.array([0, 9], pa.int32()).buffers()[1]]
    )
    names = pa.DictionaryArray.from_buffers(
        pa.dictionary(pa.int32(), pa.binary()), 2, indices.buffers(), pa.array([NAME, NAME])
    )
    rows = rows_of(make_index(), table_of([2, 2], issuers=names))
    assert [row["status"] for row in rows] == ["revoked", "undetermined"]


def test_offsets_that_lead_nowhere() -> None:
    """Nothing else is read: the value is no serial number."""
    offsets = pa.array([0, 1, 1 << 30, 1], pa.int32()).buffers()[1]
    serials = pa.Array.from_buffers(pa.binary(), 3, [None, offsets, pa.py_buffer(b"\2")])
    rows = rows_of(make_index(), table_of(serials, issuers=[NAME] * 3))
    assert [row["cause"] for row in rows] == [None, NOT_A_SERIAL, NOT_A_SERIAL]
    assert rows[0]["status"] == "revoked"


def test_a_checker_says_the_same_with_the_issuers_certificates() -> None:
    """A certificate as the issuer stands for its key."""
    checker = RevocationChecker(make_index(), issuers=CA.der, clock=Clock())
    rows = rows_of(checker, table_of([1, 2], issuers=[CA.der] * 2))
    assert rows == [row_of(checker.check_serial(CA.der, one)) for one in (1, 2)]
