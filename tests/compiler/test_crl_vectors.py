"""Every CRL of the vector package, against what `cryptography` and pyasn1 read."""

from __future__ import annotations

import warnings
from datetime import UTC
from pathlib import Path

import cryptography_vectors
import pytest
from cryptography import x509
from pyasn1.codec.der import decoder
from pyasn1_modules import rfc5280

from crlcheck import CrlError, RevokedEntry, compile_unverified_crl, open_index
from crlcheck.encoding.pem import looks_like_pem, pem_blocks
from crlcheck.types import ImageMetadata

ROOT = Path(cryptography_vectors.__file__).parent / "x509"
CRLS = sorted(
    path
    for path in ROOT.rglob("*")
    if path.suffix in {".crl", ".pem", ".der"} and ("crl" in path.stem or path.suffix == ".crl")
)

# What crlcheck refuses although `cryptography` can list the entries, and why.
REFUSED = {
    "BadCRLSignatureCACRL": "bad_bit_string",
    "UnknownCRLEntryExtensionCACRL": "unknown_critical_entry_extension",
    "UnknownCRLExtensionCACRL": "unknown_critical_extension",
    "crl_all_reasons": "certificate_issuer_without_indirect",
    "crl_bad_version": "bad_version",
    "crl_dup_entry_ext": "duplicate_extension",
    "crl_inner_outer_mismatch": "signature_algorithm_mismatch",
    "crl_inval_cert_issuer_entry_ext": "truncated",
    "crl_inval_date_fractional_seconds": "empty_name",
    "crl_invalid_time": "bad_time",
    "crl_md2_unknown_crit_entry_ext": "unknown_critical_entry_extension",
}

# What crlcheck accepts, with a warning or because it has no bearing on revocation,
# although `cryptography` cannot read it: reason code 7, and a character in the
# issuer's PrintableString that does not belong there.
ACCEPTED = {"crl_unsupported_reason", "crl_issuer_invalid_printable_string"}


def _der(path: Path) -> bytes | None:
    octets = path.read_bytes()
    if not looks_like_pem(octets):
        return octets
    blocks = pem_blocks(octets, "X509 CRL")
    return blocks[0] if blocks else None


VECTORS = {path.stem: der for path in CRLS if (der := _der(path))}


def _compile(der: bytes) -> tuple[ImageMetadata, list[RevokedEntry]]:
    report = compile_unverified_crl(der, require_next_update=False, allow_v1=True)
    assert report.image is not None
    with open_index(report.image) as index:
        return index.metadata, list(index.iter_entries())


def _extension(entry: x509.RevokedCertificate, kind: type) -> object:
    try:
        return entry.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None


# In the order of their numbers; 7 is not used.
REASON_FLAGS = (
    x509.ReasonFlags.unspecified,
    x509.ReasonFlags.key_compromise,
    x509.ReasonFlags.ca_compromise,
    x509.ReasonFlags.affiliation_changed,
    x509.ReasonFlags.superseded,
    x509.ReasonFlags.cessation_of_operation,
    x509.ReasonFlags.certificate_hold,
    None,
    x509.ReasonFlags.remove_from_crl,
    x509.ReasonFlags.privilege_withdrawn,
    x509.ReasonFlags.aa_compromise,
)


def _expected(entry: x509.RevokedCertificate) -> tuple[object, ...]:
    reason = _extension(entry, x509.CRLReason)
    invalidity = _extension(entry, x509.InvalidityDate)
    return (
        entry.serial_number,
        entry.revocation_date_utc,
        REASON_FLAGS.index(reason.reason) if isinstance(reason, x509.CRLReason) else None,
        invalidity.invalidity_date_utc if isinstance(invalidity, x509.InvalidityDate) else None,
    )


def test_there_are_vectors() -> None:
    """
    The vectors were found: PKITS alone has more than 170 CRLs.
    """
    assert len(VECTORS) > 190
    assert set(REFUSED) <= set(VECTORS)


@pytest.mark.parametrize("name", sorted(set(VECTORS) - set(REFUSED) - ACCEPTED))
def test_entries_agree_with_cryptography(name: str) -> None:
    """
    Same entries, dates, reasons, number and times as `cryptography` reads, or
    neither of the two accepts the CRL.
    """
    der = VECTORS[name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            theirs = x509.load_der_x509_crl(der)
            expected = [_expected(entry) for entry in theirs]
        except ValueError:
            with pytest.raises(CrlError):
                _compile(der)
            return
        metadata, entries = _compile(der)
        found = [
            (
                entry.serial_number,
                entry.revocation_date,
                None if entry.reason_code is None else int(entry.reason_code),
                entry.invalidity_date,
            )
            for entry in entries
        ]
        assert sorted(found, key=str) == sorted(expected, key=str)
        assert metadata.this_update == theirs.last_update_utc
        assert metadata.next_update == theirs.next_update_utc
        assert metadata.issuer == theirs.issuer.public_bytes()
        numbers = [
            e.value.crl_number for e in theirs.extensions if isinstance(e.value, x509.CRLNumber)
        ]
        assert metadata.crl_number == next(iter(numbers), None)


@pytest.mark.parametrize("name", sorted(ACCEPTED))
def test_harmless_oddities_are_accepted(name: str) -> None:
    """
    A CRL that only `cryptography` balks at still revokes what it lists.
    """
    _, entries = _compile(VECTORS[name])
    assert sorted(entry.serial_number for entry in entries) == _pyasn1_serials(VECTORS[name])


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_refused_vectors_name_the_rule(name: str) -> None:
    """
    What is refused on purpose is refused for the reason on record.
    """
    with pytest.raises(CrlError) as caught:
        _compile(VECTORS[name])
    error = caught.value
    assert REFUSED[name] in (getattr(error, "rule", None), getattr(error, "feature", None))


@pytest.mark.parametrize(
    "name", [name for name in sorted(set(VECTORS) - set(REFUSED)) if name.endswith("CRL")]
)
def test_serials_agree_with_pyasn1(name: str) -> None:
    """
    A second, unrelated parser lists the same serials for every PKITS CRL.
    """
    metadata, entries = _compile(VECTORS[name])
    assert sorted(entry.serial_number for entry in entries) == _pyasn1_serials(VECTORS[name])
    assert metadata.this_update.tzinfo is UTC


def _pyasn1_serials(der: bytes) -> list[int]:
    parsed, rest = decoder.decode(der, asn1Spec=rfc5280.CertificateList())
    assert not rest
    listed = parsed["tbsCertList"]["revokedCertificates"]
    return sorted(int(entry["userCertificate"]) for entry in listed)
