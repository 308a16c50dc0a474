"""`crlcheck export --format parquet`: what a store lists, as `cryptography` reads the CRLs."""

from __future__ import annotations

import shlex
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from pyarrow import parquet

from crlcheck import LocalStore, deny_certificate, publish_crl
from crlcheck.cli import main
from crlcheck.demo.pki import encode_entry, sign_crl
from support.blocks import as_page, blocks
from support.checking import CA, OTHER_CA
from support.console import commands_of
from support.pki import DAY, NOW, delta_of, make_crl


def exported(store: LocalStore, tmp_path: Path) -> list[dict[str, Any]]:
    """The rows of an export."""
    output = tmp_path / "listed.parquet"
    assert main(["export", store.url, "--format", "parquet", "-o", str(output)]) == 0
    rows: list[dict[str, Any]] = parquet.read_table(output).to_pylist()
    return rows


def test_every_entry_is_a_row_with_all_its_attributes(tmp_path: Path) -> None:
    """
    Of every CRL and delta CRL, and each denial that holds.
    """
    store = LocalStore(tmp_path / "published")
    entries = [
        encode_entry(1, NOW - DAY, reason=0),
        encode_entry(0x80, NOW - 2 * DAY, reason=6),
        encode_entry(2**159 - 1, NOW - 3 * DAY, reason=1, invalidity_date=NOW - 9 * DAY),
    ]
    crl = sign_crl(CA, entries, this_update=NOW - DAY, next_update=NOW + DAY, crl_number=7)
    publish_crl(crl, store, issuer=CA.der, now=NOW)
    delta = sign_crl(
        CA, [encode_entry(0x80, NOW, reason=8)], this_update=NOW - DAY / 2,
        next_update=NOW + DAY, crl_number=8, extensions=[delta_of(7)],
    )  # fmt: skip
    publish_crl(delta, store, issuer=CA.der, now=NOW)
    publish_crl(make_crl(OTHER_CA, 3, [1]), store, issuer=OTHER_CA.der, now=NOW)
    name = CA.certificate.subject.public_bytes()
    today = datetime.now(UTC).replace(microsecond=0)
    deny_certificate(store, name, 0xABC, now=today - 2 * DAY, until=today + DAY)
    deny_certificate(store, name, 0xDEF, now=today - 2 * DAY, until=today - DAY)

    rows = exported(store, tmp_path)
    found = {(row["crl_issuer"], row["listed_by"], row["serial_hex"]): row for row in rows}
    assert len(found) == len(rows) == 3 + 1 + 1 + 1
    for listed_by, body in (("crl", crl), ("delta_crl", delta)):
        read = x509.load_der_x509_crl(body)
        for entry in read:
            row = found[read.issuer.rfc4514_string(), listed_by, f"{entry.serial_number:x}"]
            assert row["issuer"] == row_issuer(read)
            assert row["issuer_name"] == row["crl_issuer"]
            assert int.from_bytes(row["serial"], "big") == entry.serial_number
            assert row["serial"][0] != 0
            assert row["revocation_date"] == entry.revocation_date_utc
            assert row["reason_code"] == reason_of(entry)
            assert row["invalidity_date"] == invalidity_of(entry)
            assert row["crl_number"] == ("7" if listed_by == "crl" else "8")
            assert row["this_update"] == read.last_update_utc
            assert row["next_update"] == read.next_update_utc
    other = found[OTHER_CA.certificate.subject.rfc4514_string(), "crl", "1"]
    assert other["scope"] != found[CA.certificate.subject.rfc4514_string(), "crl", "1"]["scope"]
    denied = found[None, "denial", "abc"]
    assert (denied["issuer"], denied["revocation_date"]) == (name, today - 2 * DAY)
    assert denied["next_update"] == today + DAY


def row_issuer(crl: x509.CertificateRevocationList) -> bytes:
    """The Name of a CRL's issuer, as DER."""
    return crl.issuer.public_bytes()


def reason_of(entry: x509.RevokedCertificate) -> str | None:
    """The reason in the words of the table."""
    try:
        reason = entry.extensions.get_extension_for_class(x509.CRLReason).value.reason
    except x509.ExtensionNotFound:
        return None
    return reason.name


def invalidity_of(entry: x509.RevokedCertificate) -> Any:
    """The invalidity date, None without one."""
    try:
        found = entry.extensions.get_extension_for_class(x509.InvalidityDate)
    except x509.ExtensionNotFound:
        return None
    return found.value.invalidity_date_utc


def test_the_guide_exports_a_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    By the command that it shows.
    """
    monkeypatch.chdir(tmp_path)
    publish_crl(make_crl(CA, 1, [1]), "published", issuer=CA.der, now=NOW)
    (block,) = blocks("engines.md", language="console")
    (command,) = commands_of(as_page([block]))
    program, *arguments = shlex.split(command.text)
    assert (program, main(arguments)) == ("crlcheck", 0)
    assert parquet.read_table("listed.parquet").num_rows == 1


def test_a_store_without_entries_is_a_table_without_rows(tmp_path: Path) -> None:
    """
    With its columns.
    """
    store = LocalStore(tmp_path / "published")
    publish_crl(make_crl(CA, 1, []), store, issuer=CA.der, now=NOW)
    assert exported(store, tmp_path) == []
    assert "serial_hex" in parquet.read_schema(tmp_path / "listed.parquet").names


def test_more_entries_than_a_batch_has(tmp_path: Path) -> None:
    """
    They come in blocks, and none is lost between two.
    """
    store = LocalStore(tmp_path / "published")
    serials = range(1, 70_001)
    publish_crl(make_crl(CA, 1, serials), store, issuer=CA.der, now=NOW)
    rows = exported(store, tmp_path)
    assert sorted(int(row["serial_hex"], 16) for row in rows) == list(serials)


def test_a_missing_image_leaves_no_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """
    Half a listing looks like a whole one.
    """
    store = LocalStore(tmp_path / "published")
    publish_crl(make_crl(CA, 1, [1]), store, issuer=CA.der, now=NOW)
    publish_crl(make_crl(OTHER_CA, 1, [1]), store, issuer=OTHER_CA.der, now=NOW)
    store.delete(max(store.names("images/")))
    output = tmp_path / "listed.parquet"
    output.write_text("the last one")
    assert main(["export", store.url, "--format", "parquet", "-o", str(output)]) != 0
    assert output.read_text() == "the last one"
    assert "images/" in capsys.readouterr().err
