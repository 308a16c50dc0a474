"""Which certificates and private keys may sign OCSP responses."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

from crlcheck import ResponderKeyError, load_certificate, remedy_of
from crlcheck.demo.pki import CertificateAuthority, IssuedCertificate
from crlcheck.demo.signing import KeyType
from crlcheck.ocsp import load_responder_keys
from support.ocsp import make_responder, write_pair
from support.pki import DAY, NOW, make_authority

CA = make_authority()
OTHER_CA = make_authority("Other CA")
RESPONDER = make_responder(CA)


def refused(directory: Path) -> ResponderKeyError:
    """The error for the pairs of a directory."""
    with pytest.raises(ResponderKeyError) as caught:
        load_responder_keys(directory, now=NOW)
    assert caught.value.path.startswith(str(directory))
    assert str(caught.value).startswith(caught.value.path)
    assert "PRIVATE KEY" not in str(caught.value)
    assert remedy_of(caught.value)
    return caught.value


def test_pairs_are_read_in_order(tmp_path: Path) -> None:
    """A delegated responder's and an issuer's own; what begins with a dot is left out."""
    write_pair(tmp_path, "b", RESPONDER)
    write_pair(tmp_path, "a", OTHER_CA)
    (tmp_path / "..data").mkdir()
    (tmp_path / ".hidden").touch()
    issuers, delegated = load_responder_keys(tmp_path, now=NOW)
    assert (issuers.is_delegated, delegated.is_delegated) == (False, True)
    assert issuers.issuer_name == OTHER_CA.certificate.subject.public_bytes()
    assert delegated.issuer_name == CA.certificate.subject.public_bytes()
    ca, other = load_certificate(CA.der), load_certificate(OTHER_CA.der)
    assert (delegated.fault_of(ca), issuers.fault_of(other)) == (None, None)
    assert "signature does not hold" in (delegated.fault_of(other) or "")
    assert "not that of the issuer" in (issuers.fault_of(ca) or "")


def test_a_certificate_may_be_der_and_a_link(tmp_path: Path) -> None:
    """As a mounted secret has it."""
    real = tmp_path / ".real"
    real.mkdir()
    write_pair(real, "one", RESPONDER)
    (real / "one.crt").write_bytes(RESPONDER.der)
    for name in ("one.crt", "one.key"):
        (tmp_path / name).symlink_to(real / name)
    (found,) = load_responder_keys(tmp_path, now=NOW)
    assert found.facts.der == RESPONDER.der


@pytest.mark.parametrize("key_type", ["rsa", "ec-p256", "ec-p384", "ec-p521", "ed25519", "ed448"])
def test_kinds_of_keys(tmp_path: Path, key_type: KeyType) -> None:
    """Those that clients verify."""
    write_pair(tmp_path, "one", make_responder(CA, key_type=key_type))
    (found,) = load_responder_keys(tmp_path, now=NOW)
    assert (found.algorithm is None) == key_type.startswith("ed")


@pytest.mark.parametrize("key_type", ["ec-brainpool-p256", "ml-dsa-44"])
def test_kinds_of_keys_that_clients_do_not_verify(tmp_path: Path, key_type: KeyType) -> None:
    """They are refused, so that it is not the client who does so."""
    write_pair(tmp_path, "one", make_responder(CA, key_type=key_type))
    assert refused(tmp_path).reason == "unsupported_key"


# ---- refused ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pair", "reason"),
    [
        (make_responder(CA, purposes=()), "not_a_responder"),
        (make_responder(CA, purposes=(ExtendedKeyUsageOID.CLIENT_AUTH,)), "not_a_responder"),
        (
            make_responder(CA, purposes=(ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE,)),
            "not_a_responder",
        ),
        (make_responder(CA, digital_signature=False), "not_a_responder"),
        (make_responder(CA, not_after=NOW - DAY / 2), "certificate_dates"),
        (make_responder(CA, not_before=NOW + DAY), "certificate_dates"),
        (CA.issue("client", not_before=NOW - DAY), "not_a_responder"),
        (IssuedCertificate(RESPONDER.der, CA.key_pem), "other_certificate"),
        (IssuedCertificate(RESPONDER.der, RESPONDER.pem), "not_a_private_key"),
        (IssuedCertificate(RESPONDER.der, b""), "not_a_private_key"),
        (IssuedCertificate(b"\x30\x00", RESPONDER.key_pem), "not_a_certificate"),
    ],
    ids=[
        "no purpose", "another purpose", "any purpose", "no digitalSignature", "expired",
        "not yet valid", "a client's", "another key", "no key", "an empty key", "no certificate",
    ],
)  # fmt: skip
def test_a_pair_that_cannot_sign_is_refused(
    tmp_path: Path, pair: IssuedCertificate, reason: str
) -> None:
    """When it is read, so that it is not a client who finds out."""
    write_pair(tmp_path, "one", pair)
    assert refused(tmp_path).reason == reason


def test_a_small_key_is_refused(tmp_path: Path) -> None:
    """As for CRLs."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=1024)
    write_pair(tmp_path, "one", CertificateAuthority.create("Small CA", private_key=key, now=NOW))
    assert refused(tmp_path).reason == "unsupported_key"


def test_a_passphrase_is_refused(tmp_path: Path) -> None:
    """Nobody could type it."""
    write_pair(tmp_path, "one", RESPONDER)
    key = serialization.load_pem_private_key(RESPONDER.key_pem, None)
    body = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"secret"),
    )
    (tmp_path / "one.key").write_bytes(body)
    assert refused(tmp_path).reason == "encrypted_private_key"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o610, 0o601, 0o644, 0o666])
def test_a_key_that_others_may_use_is_refused(tmp_path: Path, mode: int) -> None:
    """Its mode is 0600 or less."""
    write_pair(tmp_path, "one", RESPONDER)
    (tmp_path / "one.key").chmod(mode)
    error = refused(tmp_path)
    assert error.reason == "key_rights"
    assert f"{mode:04o}" in str(error)
    (tmp_path / "one.key").chmod(0o400)
    assert len(load_responder_keys(tmp_path, now=NOW)) == 1


def test_a_key_of_another_user_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Except root's, to which everything belongs."""
    write_pair(tmp_path, "one", RESPONDER)
    owner = (tmp_path / "one.key").stat().st_uid
    monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
    if owner:
        assert refused(tmp_path).reason == "key_rights"
    else:
        assert len(load_responder_keys(tmp_path, now=NOW)) == 1
        os.chown(tmp_path / "one.key", 12345, -1)
        assert refused(tmp_path).reason == "key_rights"


@pytest.mark.parametrize(
    "names", [(), ("one.crt",), ("one.key",), ("one.crt", "two.key"), ("one.pem",)]
)
def test_files_that_are_no_pairs_are_refused(tmp_path: Path, names: tuple[str, ...]) -> None:
    """A certificate alone would answer for nobody, and nobody would notice."""
    for name in names:
        (tmp_path / name).write_bytes(b"")
    assert refused(tmp_path).reason == "no_pair"


def test_a_chain_is_refused(tmp_path: Path) -> None:
    """Which of the certificates has the key is not guessed."""
    write_pair(tmp_path, "one", RESPONDER)
    (tmp_path / "one.crt").write_bytes(RESPONDER.pem + CA.pem)
    assert refused(tmp_path).reason == "not_a_certificate"


def test_a_missing_directory_is_the_systems_own_error(tmp_path: Path) -> None:
    """As of any file."""
    with pytest.raises(FileNotFoundError):
        load_responder_keys(tmp_path / "missing", now=NOW)


# ---- advised ---------------------------------------------------------------------------------


def test_what_clients_may_not_like_is_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """No id-pkix-ocsp-nocheck, and an end that is near."""
    caplog.set_level(logging.WARNING, "crlcheck.ocsp")
    write_pair(tmp_path, "one", RESPONDER)
    load_responder_keys(tmp_path, now=NOW)
    assert caplog.messages == []
    write_pair(tmp_path, "one", make_responder(CA, no_check=False, not_after=NOW + DAY))
    load_responder_keys(tmp_path, now=NOW)
    first, second = caplog.messages
    assert "nocheck" in first
    assert "expires at 2026-03-02" in second


def test_no_check_is_the_extension_of_the_rfc() -> None:
    """So that the test above tries what it says."""
    assert x509.OCSPNoCheck.oid.dotted_string == "1.3.6.1.5.5.7.48.1.5"
