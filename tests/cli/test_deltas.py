"""Deltas, and issuers above a certificate, at the command line."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from crlcheck.cli import main
from crlcheck.demo.encoding import encode_entry
from crlcheck.demo.pki import CertificateAuthority, pem_block, sign_crl
from support.command_line import NOW, WEEK
from support.pki import delta_of

CA = CertificateAuthority.create("CA")


def listing(number: int, reasons: dict[int, int], **options: Any) -> bytes:
    """A CRL of the CA that lists serial numbers with reason codes."""
    entries = [encode_entry(serial, NOW, reason=reason) for serial, reason in reasons.items()]
    return sign_crl(
        CA, entries, this_update=NOW, next_update=NOW + WEEK, crl_number=number, **options
    )


@pytest.fixture(name="store")
def _store(tmp_path: Path) -> str:
    """A store with a base and a delta, which lifts the hold on 4 and revokes 3."""
    (tmp_path / "ca.pem").write_bytes(CA.pem)
    (tmp_path / "base.crl").write_bytes(listing(5, {2: 1, 4: 6}))
    (tmp_path / "delta.crl").write_bytes(listing(6, {3: 1, 4: 8}, extensions=[delta_of(5)]))
    store = str(tmp_path / "store")
    publish = ["publish", "--issuer", str(tmp_path / "ca.pem"), "--to", store]
    assert main([*publish, str(tmp_path / "delta.crl")]) == 4
    for name in ("base.crl", "delta.crl"):
        assert main([*publish, str(tmp_path / name)]) == 0
    return store


@pytest.mark.parametrize(("serial", "status"), [(1, 0), (2, 1), (3, 1), (4, 0)])
def test_certificates_and_serial_numbers_are_judged_alike(
    store: str, tmp_path: Path, serial: int, status: int
) -> None:
    """
    Both by the base and the delta beside it.
    """
    client = tmp_path / "client.pem"
    client.write_bytes(CA.issue("client", serial_number=serial).pem)
    assert main(["check", store, str(client)]) == status
    assert main(["check", store, "--serial", f"{serial:x}"]) == status


def test_a_store_shows_its_deltas(
    store: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    In the tables, and with all that is known of them in JSON. What came from where is
    noted of complete CRLs only.
    """
    capsys.readouterr()
    delta_again = str(tmp_path / "delta.crl")
    main(["publish", delta_again, "--issuer", str(tmp_path / "ca.pem"), "--to", store])
    assert "2 entries of delta CRL 6 of" in capsys.readouterr().out
    main(["scope", "list", store])
    shown = capsys.readouterr().out
    assert len(re.findall(r"^[0-9a-f]{32} ", shown, re.MULTILINE)) == 1  # for scope remove
    assert re.findall(r"^  (?:delta )?CRL .*(?= entries)", shown, re.MULTILINE) == [
        "  CRL         5, 2",
        "  delta CRL   6 (base 5), 2",
    ]
    assert re.findall(r"^  source +(.*)", shown, re.MULTILINE) == [str(tmp_path / "base.crl")]
    main(["inspect", store])
    assert "6 (delta)" in capsys.readouterr().out
    main(["inspect", store, "--json"])
    (scope,) = json.loads(capsys.readouterr().out)["scopes"].values()
    assert scope["delta"]["metadata"]["base_crl_number"] == 5
    assert scope["covers_no_distribution_point"] is False


def test_a_revoked_intermediate_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """
    The leaf is on no CRL, and the status is that of the issuer above it.
    """
    middle = CertificateAuthority.create("Middle", parent=CA)
    serial = middle.certificate.serial_number
    bundle, store = tmp_path / "issuers.pem", str(tmp_path / "store")
    bundle.write_bytes(pem_block("CERTIFICATE", CA.der) + pem_block("CERTIFICATE", middle.der))
    (tmp_path / "ca.crl").write_bytes(listing(1, {serial: 2}))
    crl_of_middle = sign_crl(middle, this_update=NOW, next_update=NOW + WEEK, crl_number=1)
    (tmp_path / "middle.crl").write_bytes(crl_of_middle)
    for name in ("ca.crl", "middle.crl"):
        crl = str(tmp_path / name)
        assert main(["publish", crl, "--issuer", str(bundle), "--to", store]) == 0
    leaf = tmp_path / "leaf.pem"
    leaf.write_bytes(middle.issue("leaf").pem)
    capsys.readouterr()
    assert main(["check", store, str(leaf)]) == 1
    assert (
        f"certificate {serial:x} (the CA CN=Middle) issued by CN=CA is revoked"
        in capsys.readouterr().out
    )
