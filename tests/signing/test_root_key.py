"""Public keys of roots: their text, their id, and what they verify."""

from __future__ import annotations

import hashlib
import subprocess
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from crlcheck import RootKey
from crlcheck.signing.root_key import KeyKind, read_root_keys, sign

PRIVATE_KEYS: dict[KeyKind, Any] = {
    KeyKind.ED25519: ed25519.Ed25519PrivateKey.generate(),
    KeyKind.P256: ec.generate_private_key(ec.SECP256R1()),
    KeyKind.P384: ec.generate_private_key(ec.SECP384R1()),
    KeyKind.P521: ec.generate_private_key(ec.SECP521R1()),
    KeyKind.RSA: rsa.generate_private_key(65537, 2048),
}
STORE = "0123456789abcdef" * 2
TOKEN = "ed25519:11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"  # of RFC 8032 7.1


def spki_of(private_key: Any) -> bytes:
    """Return the SubjectPublicKeyInfo of a private key."""
    encoded: bytes = private_key.public_key().public_bytes(
        Encoding.DER, PublicFormat.SubjectPublicKeyInfo
    )
    return encoded


@pytest.mark.parametrize("kind", KeyKind)
def test_a_key_survives_its_text_and_verifies_its_own_signatures_only(kind: KeyKind) -> None:
    """
    The text is one word; the kind is found by the SubjectPublicKeyInfo, whose hash is the id.
    """
    private_key, spki = PRIVATE_KEYS[kind], spki_of(PRIVATE_KEYS[kind])
    key = RootKey.from_spki(spki)
    assert (key.kind, key.spki) == (kind, spki)
    assert RootKey.parse(key.token) == key
    assert RootKey.parse(f"{key.token}@{STORE}") == RootKey(kind, key.public, STORE)
    assert not set(key.token) & set(" ,;'\"$\\/=+\n")
    assert key.key_id == hashlib.sha256(spki).hexdigest()[:32]
    signature = sign(kind, private_key, b"message")
    assert key.verifies(signature, b"message")
    for wrong in (signature[:-1], signature + b"\0", b"", bytes(len(signature))):
        assert not key.verifies(wrong, b"message")
    assert not key.verifies(signature, b"another")
    for other in KeyKind:
        if other is not kind:
            assert not RootKey.from_spki(spki_of(PRIVATE_KEYS[other])).verifies(
                signature, b"message"
            )


def test_the_key_of_rfc_8032_is_read() -> None:
    """Its first test vector signs the empty message."""
    signature = bytes.fromhex(
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155"
        "5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"
    )
    assert RootKey.parse(TOKEN).verifies(signature, b"")
    assert not RootKey.parse(TOKEN).verifies(signature, b"x")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", "0 characters"),
        ("ed25519", "7 characters"),
        ("ed25519:", "malformed"),
        ("ED25519:11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo", "there are ed25519, "),
        ("rsa:AAAA", "there are ed25519, "),
        (TOKEN[:-1], "base64url|expected 32 bytes"),
        (f"{TOKEN}A", "expected 32 bytes|base64url"),
        (f"{TOKEN}=", "malformed"),
        (f"{TOKEN}\n", "malformed"),
        (f" {TOKEN}", "characters without a kind"),
        (f"{TOKEN[:-1]}p", "whole byte"),
        (f"{TOKEN}@{STORE[1:]}", "malformed"),
        (f"{TOKEN}@{STORE.upper()}", "malformed"),
        ("ecdsa-p256:" + "A" * 87, "expected 65 bytes|whole byte|a point"),
        ("ecdsa-p256:BA" + "A" * 85, "a point of its curve"),
        ("rsa-pss:AAAA", "SubjectPublicKeyInfo"),
        ("-----BEGIN PRIVATE KEY-----\nMC4C", "found a private key$"),
        ("-----BEGIN PUBLIC KEY-----\nMCow", "crlcheck key show FILE"),
    ],
)
def test_what_is_no_key_is_refused(text: str, found: str) -> None:
    """The message says what was found, and repeats no secret."""
    with pytest.raises(ValueError, match=found) as caught:
        RootKey.parse(text)
    assert "MC4C" not in str(caught.value)


@given(st.text() | st.from_regex(r"(ed25519|ecdsa-p256|rsa-pss):[A-Za-z0-9_=-]*(@.*)?"))
def test_any_text_is_a_key_or_a_value_error(text: str) -> None:
    """Nothing else is raised, and a key that is read has this text and no other."""
    try:
        key = RootKey.parse(text)
    except ValueError:
        return
    assert key.token == text


@pytest.mark.parametrize(
    ("private_key", "why"),
    [
        (ec.generate_private_key(ec.SECP256K1()), "found another key: EC"),
        (ec.generate_private_key(ec.BrainpoolP256R1()), "expected Ed25519, ECDSA on P-256"),
        (ed448.Ed448PrivateKey.generate(), "found another key: Ed448"),
        (rsa.generate_private_key(65537, 1024), "2048 to 8192 bits, found 1024"),
        (dsa.generate_private_key(2048), "expected Ed25519, ECDSA on P-256"),
    ],
    ids=["secp256k1", "brainpool", "ed448", "rsa1024", "dsa"],
)
def test_keys_of_other_kinds_are_refused(private_key: Any, why: str) -> None:
    """A kind that signs no roots says so."""
    with pytest.raises(ValueError, match=why):
        RootKey.from_spki(spki_of(private_key))


def test_several_keys_are_given_as_one_text_or_as_many() -> None:
    """No key at all is refused: it would be the same as no demand."""
    other = RootKey.from_spki(spki_of(PRIVATE_KEYS[KeyKind.P256]))
    both = (RootKey.parse(TOKEN), other)
    assert read_root_keys(f"{TOKEN},{other}") == both
    assert read_root_keys([TOKEN, other]) == both
    with pytest.raises(ValueError, match="at least one"):
        read_root_keys([])
    for wrong in ("", ",", f"{TOKEN},", f"{TOKEN} {other}"):
        with pytest.raises(ValueError, match="expected the public key"):
            read_root_keys(wrong)
    with pytest.raises(ValueError, match="given twice"):
        read_root_keys([TOKEN, TOKEN])


@pytest.mark.parametrize("kind", [KeyKind.P256, KeyKind.RSA])
def test_openssl_verifies_our_signatures(kind: KeyKind, tmp_path: Any) -> None:
    """A second implementation agrees on the algorithms of the kinds."""
    key = RootKey.from_spki(spki_of(PRIVATE_KEYS[kind]))
    (tmp_path / "key.der").write_bytes(key.spki)
    (tmp_path / "signature").write_bytes(sign(kind, PRIVATE_KEYS[kind], b"message"))
    (tmp_path / "message").write_bytes(b"message")
    padding = ["-sigopt", "rsa_padding_mode:pss"] if kind is KeyKind.RSA else []
    command = ["openssl", "dgst", "-sha256", "-keyform", "DER", "-verify", "key.der", *padding]
    run = subprocess.run(
        [*command, "-signature", "signature", "message"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.stdout.strip() == "Verified OK", run.stderr
