"""Private keys from files: what is made, what is read, and what is refused."""

from __future__ import annotations

import os
import stat
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa, x25519
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from crlcheck import SigningKeyError, load_signing_key
from crlcheck.signing.root_key import KeyKind, RootKey
from crlcheck.signing.signing_key import (
    FileKey,
    is_kms_id,
    make_key,
    read_public_key,
    write_new_key,
)


def write_key(path: Path, body: bytes, mode: int = 0o600) -> Path:
    """Write a file of that mode and return its path."""
    path.write_bytes(body)
    path.chmod(mode)
    return path


def test_a_new_key_is_readable_by_its_owner_alone(tmp_path: Path) -> None:
    """Whatever the umask is; it signs, and a file that is there is never replaced."""
    path, before = tmp_path / "root-key.pem", os.umask(0)
    try:
        root_key = write_new_key(path)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    key = load_signing_key(path)
    assert key.root_key == root_key == read_public_key(path)
    assert root_key.verifies(key.sign(b"x"), b"x")
    body = path.read_bytes()
    with pytest.raises(FileExistsError, match="root-key"):
        write_new_key(path)
    assert path.read_bytes() == body
    assert make_key()[0] != make_key()[0]


def test_openssl_reads_a_new_key(tmp_path: Path) -> None:
    """It is a PKCS #8 file like any other, and openssl's public key has the same bytes."""
    path = tmp_path / "root-key.pem"
    root_key = write_new_key(path)
    command = ["openssl", "pkey", "-in", str(path), "-pubout"]
    run = subprocess.run([*command, "-outform", "DER"], capture_output=True, check=True)
    assert RootKey.from_spki(run.stdout) == root_key
    public = tmp_path / "public.pem"
    public.write_bytes(subprocess.run(command, capture_output=True, check=True).stdout)
    assert read_public_key(public) == root_key
    with pytest.raises(SigningKeyError, match="found a public key"):
        load_signing_key(public)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o610, 0o601, 0o644, 0o777])
def test_a_key_that_others_may_use_is_refused(tmp_path: Path, mode: int) -> None:
    """Any right of group or others, as ssh refuses it; the message says the mode."""
    path = write_key(tmp_path / "key.pem", make_key()[0], mode)
    for read in (load_signing_key, read_public_key):
        with pytest.raises(SigningKeyError, match=f"its mode is 0?{mode:04o}") as caught:
            read(path)
        assert caught.value.reason == "exposed_key"


@pytest.mark.parametrize("mode", [0o600, 0o400, 0o700])
def test_a_key_of_the_owner_alone_is_taken(tmp_path: Path, mode: int) -> None:
    """Less than 0600 is fine."""
    path = write_key(tmp_path / "key.pem", make_key()[0], mode)
    assert load_signing_key(str(path)).root_key.kind is KeyKind.ED25519


def test_the_rights_of_another_users_file_are_that_users_affair(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as a secret that root has mounted with a group; ssh does the same."""
    path = write_key(tmp_path / "key.pem", make_key()[0], 0o640)
    owner = path.stat().st_uid
    monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
    assert load_signing_key(path).root_key.kind is KeyKind.ED25519


@pytest.mark.parametrize(
    ("private_key", "kind"),
    [
        (ec.generate_private_key(ec.SECP256R1()), KeyKind.P256),
        (ec.generate_private_key(ec.SECP384R1()), KeyKind.P384),
        (ec.generate_private_key(ec.SECP521R1()), KeyKind.P521),
        (rsa.generate_private_key(65537, 2048), KeyKind.RSA),
    ],
    ids=["p256", "p384", "p521", "rsa"],
)
@pytest.mark.parametrize("form", [PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL])
def test_keys_of_other_kinds_sign_too(
    tmp_path: Path,
    private_key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey,
    kind: KeyKind,
    form: PrivateFormat,
) -> None:
    """In any form of PEM."""
    body = private_key.private_bytes(Encoding.PEM, form, NoEncryption())
    key = FileKey(write_key(tmp_path / "key.pem", body))
    assert key.root_key.kind is kind
    assert key.root_key.verifies(key.sign(b"message"), b"message")


def _pem(key: ed25519.Ed25519PrivateKey | x25519.X25519PrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


_ENCRYPTED = ed25519.Ed25519PrivateKey.generate().private_bytes(
    Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")
)
_OLD_ENCRYPTED = rsa.generate_private_key(65537, 2048).private_bytes(
    Encoding.PEM, PrivateFormat.TraditionalOpenSSL, BestAvailableEncryption(b"secret")
)
_PUBLIC = (
    ed25519.Ed25519PrivateKey.generate()
    .public_key()
    .public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
)


@pytest.mark.parametrize(
    ("body", "reason", "why"),
    [
        (b"", "not_a_signing_key", "no PEM of a private key"),
        (b"hello", "not_a_signing_key", "no PEM of a private key"),
        (b"ed25519:AAAA\n", "not_a_signing_key", "found a public key"),
        (_PUBLIC, "not_a_signing_key", "found a public key"),
        (_pem(x25519.X25519PrivateKey.generate()), "not_a_signing_key", "expected Ed25519"),
        (make_key()[0][:60], "not_a_signing_key", "expected a private key in PEM"),
        (make_key()[0].replace(b"MC4", b"MC5"), "not_a_signing_key", "expected a private key"),
        (_ENCRYPTED, "encrypted_key", "has a passphrase"),
        (_OLD_ENCRYPTED, "encrypted_key", "has a passphrase"),
        (b"-----BEGIN PRIVATE KEY-----" + bytes(70_000), "not_a_signing_key", "at most 65536"),
    ],
    ids=range(10),
)
def test_what_is_no_key_that_signs_is_refused(
    tmp_path: Path, body: bytes, reason: str, why: str
) -> None:
    """Each with its own words, which name the file."""
    path = write_key(tmp_path / "key.pem", body)
    with pytest.raises(SigningKeyError, match=why) as caught:
        load_signing_key(path)
    assert caught.value.reason == reason
    assert str(path) in str(caught.value)


def test_a_missing_file_and_a_directory_stay_errors_of_the_system(tmp_path: Path) -> None:
    """They name the path."""
    with pytest.raises(FileNotFoundError, match="nothing"):
        load_signing_key(tmp_path / "nothing")
    with pytest.raises(IsADirectoryError):
        load_signing_key(tmp_path)


def test_an_object_of_ones_own_is_a_key() -> None:
    """For keys that are kept elsewhere."""
    private_key = ed25519.Ed25519PrivateKey.generate()
    public = private_key.public_key().public_bytes_raw()

    class Elsewhere:
        root_key = RootKey(KeyKind.ED25519, public)

        def sign(self, message: bytes) -> bytes:
            return private_key.sign(message)

    own = Elsewhere()
    assert load_signing_key(own) is own


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab", True),
        ("arn:aws-us-gov:kms:us-gov-west-1:111122223333:alias/root", True),
        ("alias/root", True),
        ("1234abcd-12ab-34cd-56ef-1234567890ab", True),
        ("mrk-1234abcd12ab34cd56ef1234567890ab", True),
        ("./alias/root", False),
        ("root-key.pem", False),
        ("arn:aws:s3:::bucket", False),
        ("/etc/crlcheck/alias/root", False),
    ],
)
def test_a_key_in_kms_is_told_from_a_file(text: str, expected: bool) -> None:
    """A file of such a name is given with ./ before it."""
    assert is_kms_id(text) is expected
