"""Messages leave out what is secret, wherever it was given."""

from __future__ import annotations

import base64
import json
import time

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from crlcheck.cli import main
from crlcheck.encoding.secrets import members_without_secrets, without_secrets

PASSWORD = "Tr0ub4dor"
KEYS: dict[str, PrivateKeyTypes] = {
    "EC": ec.generate_private_key(ec.SECP256R1()),
    "P-521": ec.generate_private_key(ec.SECP521R1()),
    "Ed25519": ed25519.Ed25519PrivateKey.generate(),
    "RSA": rsa.generate_private_key(65537, 2048),
}
PEMS = {
    f"{kind} {name}": key.private_bytes(Encoding.PEM, form, NoEncryption()).decode()
    for kind, key in KEYS.items()
    for name, form in (
        ("PKCS8", PrivateFormat.PKCS8),
        ("traditional", PrivateFormat.TraditionalOpenSSL),
    )
    if kind != "Ed25519" or name == "PKCS8"
}


def forms(pem: str) -> list[str]:
    """The ways in which a key gets into an argument."""
    body = "".join(pem.splitlines()[1:-1])
    return [pem, pem.replace("\n", " "), pem.replace("\n", "\\n"), repr(pem), body, f"./{body}"]


def secrets_of(pem: str) -> list[str]:
    """Pieces of the key itself; none is of what all keys have in common."""
    body = "".join(pem.splitlines()[1:-1])
    return [body[start : start + 12] for start in range(24, len(body) - 12, 12)]


@pytest.mark.parametrize("kind", PEMS)
def test_no_part_of_a_private_key_is_left(kind: str) -> None:
    """
    As PEM in lines, in one line or with the line ends written out, and as base64 alone.
    """
    pem = PEMS[kind]
    for form in forms(pem):
        told = without_secrets(f"crlcheck: {form}: No such file or directory")
        assert "(a private key)" in told
        assert not [piece for piece in secrets_of(pem) if piece in told]
    assert "No such file" in without_secrets(f"{pem}: No such file")
    assert "(a private key)" in without_secrets(pem[: len(pem) // 2])


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (f"http://user:{PASSWORD}@host/x.crl", "http://user:***@host/x.crl"),
        (f"http:/user:{PASSWORD}@host:80/x", "http:/user:***@host:80/x"),
        (f"s3//key:{PASSWORD}/+@bucket", "s3//key:***@bucket"),
        (f"ldap://:{PASSWORD}@host/", "ldap://:***@host/"),
        (f"https://h/x?a=1&X-Amz-Signature={PASSWORD}&b", "https://h/x?a=1&X-Amz-Signature=***&b"),
    ],
)
def test_a_password_in_a_url_is_left_out(text: str, told: str) -> None:
    """
    Well written or not, and a signature that is as good as one.
    """
    assert without_secrets(f"store '{text}': refused") == f"store '{told}': refused"


@pytest.mark.parametrize(
    "text",
    [
        "http://127.0.0.1:8080/ca.crl: no answer",
        "s3://bucket/published@7: no such generation",
        "http://localhost:9000/bucket@7",
        "/srv/MIGRATION/2026:1/store: no such file",
        "images/" + "0f" * 32 + "-" + "0f" * 16 + ".crlx",
        base64.b64encode(b"\x30\x82\x03\x01\x30\x82\x02\x01\xa0\x03\x02\x01\x02").decode() * 9,
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    """
    Paths, ports, generations, digests and certificates are what messages are about.
    """
    assert without_secrets(text) == text


def test_members_are_searched_to_the_bottom() -> None:
    """
    What is in a document stays as it is but for texts, however deep they are.
    """
    secret, told = f"http://u:{PASSWORD}@h/", "http://u:***@h/"
    members = {"a": secret, "b": {"c": [secret, 1, None]}, "d": (secret,), "e": 2.5}
    expected = {"a": told, "b": {"c": [told, 1, None]}, "d": [told], "e": 2.5}
    assert members_without_secrets(members) == expected


@pytest.mark.parametrize("text", [":/", "/a:", "-----BEGIN PRIVATE KEY-----", "MIGHAgEA", "?sig="])
def test_hostile_text_takes_linear_time(text: str) -> None:
    """
    Messages may repeat what comes from elsewhere.
    """
    started = time.process_time()
    without_secrets(text * (200_000 // len(text)))
    assert time.process_time() - started < 5


@pytest.mark.parametrize("option", [[], ["--json"], ["--debug"]])
@pytest.mark.parametrize(
    "words",
    [
        ["publish", "@", "--issuer", "ca.pem", "--to", "store"],
        ["compile", "ca.crl", "--issuer", "@"],
        ["check", "store", "@"],
        ["check", "store", "--serial", "@", "--issuer", "ca.pem"],
        ["inspect", "@"],
        ["fetch", "@", "--issuer", "ca.pem", "--to", "store"],
        ["scope", "remove", "store", "@"],
        ["@"],
    ],
    ids=" ".join,
)
def test_no_command_repeats_a_secret(
    words: list[str], option: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """
    On neither stream, as text, as JSON and with a traceback.
    """
    pem = PEMS["EC PKCS8"]
    url = f"http://user:{PASSWORD}@127.0.0.1:1/x.crl"
    for secret in (pem, "--" + pem, "".join(pem.splitlines()[1:-1]), url):
        assert main([*(word.replace("@", secret) for word in words), *option]) not in (0, 1, 3)
        written = "".join(capsys.readouterr())
        assert written
        assert not [piece for piece in [*secrets_of(pem), PASSWORD] if piece in written]
        if option == ["--json"] and written.startswith("{"):
            json.loads(written)
