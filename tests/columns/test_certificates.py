"""What a table of verdicts says of a column of certificates."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from crlcheck.checker.one_set import OneSet
from crlcheck.columns import check, check_table
from crlcheck.columns.verdicts import NOT_A_CERTIFICATE
from crlcheck.demo.encoding import der
from crlcheck.demo.pki import pem_block
from crlcheck.types import CertificateFacts, CheckResult
from crlcheck.x509.certificates import load_certificate
from support.certificate_der import encode_certificate, full_name_point, with_distribution_points
from support.checking import BAD, CA, FOREIGN, GOOD, make_checker, make_index
from support.columns import row_of
from support.pki import DAY, NOW, make_client


def rows_of(values: Any, kind: Any = None, **options: Any) -> list[dict[str, Any]]:
    """The rows of the verdicts on certificates, by a CRL that lists BAD."""
    table = pa.table({"certificate": pa.array(values, kind or pa.binary())})
    options = {"at": NOW, **options}
    rows: list[dict[str, Any]] = check_table(
        make_index(), table, certificate="certificate", **options
    ).to_pylist()
    return rows


@pytest.fixture(name="asked")
def fixture_asked(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The certificates that were asked about one by one."""
    found: list[bytes] = []
    method = OneSet.check

    def note(self: OneSet, source: bytes) -> CheckResult:
        found.append(source)
        return method(self, source)

    monkeypatch.setattr(OneSet, "check", note)
    return found


def test_certificates_of_a_kind_are_answered_together(asked: list[bytes]) -> None:
    """Listed or not."""
    others = [make_client(CA, serial) for serial in (3, 1 << 150, 2)]
    rows = rows_of([GOOD, BAD, *others, FOREIGN])
    checker = make_checker(make_index())
    expected = [row_of(checker.check(one)) for one in (GOOD, BAD, *others, FOREIGN)]
    assert rows == expected
    assert [row["status"] for row in rows] == [
        "not_revoked", "revoked", "not_revoked", "not_revoked", "revoked", "undetermined"
    ]  # fmt: skip
    assert asked == []


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (pa.binary(), [GOOD, BAD]),
        (pa.large_binary(), [GOOD, BAD]),
        (pa.binary_view(), [GOOD, BAD]),
        (pa.dictionary(pa.int8(), pa.binary()), [GOOD, BAD]),
        (pa.binary(), [pem_block("CERTIFICATE", GOOD), pem_block("CERTIFICATE", BAD)]),
        (pa.string(), [pem_block("CERTIFICATE", one).decode() for one in (GOOD, BAD)]),
        (pa.string_view(), [pem_block("CERTIFICATE", one).decode() for one in (GOOD, BAD)]),
    ],
    ids=str,
)
def test_columns_of_each_type(kind: pa.DataType, values: list[Any]) -> None:
    """DER and PEM."""
    rows = rows_of([*values, None], kind)
    assert [row["status"] for row in rows] == ["not_revoked", "revoked", None]


def test_what_is_no_certificate() -> None:
    """It has a cause of its own."""
    wrong = [b"", b"?", GOOD[:-1], GOOD + b"\0", b"-----BEGIN CERTIFICATE-----"]
    assert rows_of(wrong) == [row_of("undetermined", NOT_A_CERTIFICATE)] * len(wrong)


def test_an_expired_certificate_is_asked_about_by_itself(asked: list[bytes]) -> None:
    """From the second on in which it has expired."""
    (row,) = rows_of([GOOD], at=NOW + 365 * DAY)
    assert (row["cause"], asked) == ("stale", [])
    (row,) = rows_of([GOOD], at=NOW + 365 * DAY + DAY / 86_400_000)
    assert asked == [GOOD]


def test_a_kind_that_is_too_large_to_be_kept(asked: list[bytes]) -> None:
    """Its certificates are asked about one by one."""
    uri = der(0x86, b"http://ca.example/" + b"a" * 2000)
    large = with_distribution_points(full_name_point(uri))
    rows = rows_of([large, large, encode_certificate()])
    checker = make_checker(make_index())
    assert rows == [row_of(checker.check(one)) for one in (large, large, encode_certificate())]
    assert asked == [large, large]


def test_no_more_kinds_are_kept_than_a_few_thousand(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that comes again is found anew, and says the same."""
    monkeypatch.setattr(check, "_MAX_KINDS", 2)
    monkeypatch.setattr(check, "PART_ROWS", 3)
    loaded: list[bytes] = []

    def load(octets: bytes) -> CertificateFacts:
        loaded.append(octets)
        return load_certificate(octets)

    monkeypatch.setattr(check, "load_certificate", load)
    points = [
        with_distribution_points(full_name_point(der(0x86, b"http://ca.example/%d" % one)))
        for one in range(5)
    ]
    values = [GOOD, *points, BAD, *points, GOOD]
    checker = make_checker(make_index())
    assert rows_of(values, threads=1) == [row_of(checker.check(one)) for one in values]
    assert len(loaded) > len({GOOD, *points})


@pytest.mark.parametrize(
    "names",
    [
        {},
        {"issuer": "issuer"},
        {"serial": "serial"},
        {"certificate": "certificate", "serial": "serial"},
        {"certificate": "certificate", "issuer": b""},
    ],
)
def test_it_must_be_said_what_is_checked(names: dict[str, Any]) -> None:
    """Issuer and serial number, or certificate."""
    with pytest.raises(TypeError, match="expected issuer and serial, or certificate"):
        check_table(make_index(), pa.table({}), **names)


def test_numbers_are_no_certificates() -> None:
    """The type of the column is named."""
    with pytest.raises(TypeError, match="certificates: found a column of int64"):
        rows_of([1], pa.int64())
