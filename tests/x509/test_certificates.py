"""Certificates from bytes, text, files and ``cryptography``."""

from __future__ import annotations

import base64
import dataclasses
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import pytest
from cryptography import x509

from crlcheck.demo.encoding import der_integer
from crlcheck.demo.pki import pem_block
from crlcheck.errors import CertificateError
from crlcheck.x509.certificates import CertificateSource, load_certificate, load_certificates
from support.certificate_der import encode_certificate

LEAF, INTERMEDIATE, ROOT = (encode_certificate(serial=der_integer(n)) for n in (1, 2, 3))
LEAF_PEM = pem_block("CERTIFICATE", LEAF)
CHAIN_PEM = LEAF_PEM + b"text between\n" + pem_block("CERTIFICATE", INTERMEDIATE)
KEY_PEM = pem_block("PRIVATE KEY", b"key")


@pytest.mark.parametrize(
    "make",
    [
        bytes,
        bytearray,
        memoryview,
        lambda _: LEAF_PEM,
        lambda _: bytearray(LEAF_PEM),
        lambda _: LEAF_PEM.decode(),
        lambda _: b"    Version: 3 (0x2)\n" + KEY_PEM + LEAF_PEM,
        lambda _: "subject=CN = Subject\n" + LEAF_PEM.decode().replace("\n", "\r\n"),
        x509.load_der_x509_certificate,
    ],
    ids=["bytes", "bytearray", "memoryview", "pem_bytes", "pem_bytearray", "pem_str", "text_ahead",
         "text_ahead_str", "cryptography"],
)  # fmt: skip
def test_every_kind_of_source_gives_the_same_facts(make: Callable[[bytes], bytes]) -> None:
    """
    PEM or DER, in whatever holds bytes or text, or another library's object.
    """
    facts = load_certificate(make(LEAF))
    assert facts.der == LEAF
    assert load_certificates(make(LEAF)) == (facts,)


@pytest.mark.parametrize("contents", [LEAF, LEAF_PEM, KEY_PEM + LEAF_PEM])
def test_files_are_read_by_path(contents: bytes, tmp_path: Path) -> None:
    """
    A path, as str or path object, may hold DER or PEM; the name tells nothing.
    """
    path = tmp_path / "certificate"
    path.write_bytes(contents)
    assert load_certificate(path).der == LEAF
    assert load_certificate(str(path)).der == LEAF


def test_the_first_of_a_chain_is_the_leaf() -> None:
    """
    load_certificate takes the first certificate of a chain, load_certificates all in order.
    """
    assert load_certificate(CHAIN_PEM).der == LEAF
    assert [facts.der for facts in load_certificates(CHAIN_PEM)] == [LEAF, INTERMEDIATE]


def test_a_proxy_s_file_has_its_key_and_parameters_too() -> None:
    """
    Blocks that are no certificates are ignored by their label, and so are CRLs.
    """
    others = [pem_block(label, b"x") for label in ("EC PARAMETERS", "X509 CRL", "PUBLIC KEY")]
    assert load_certificate(b"".join([KEY_PEM, *others, CHAIN_PEM])).der == LEAF
    found = load_certificates(
        LEAF_PEM + KEY_PEM + b"".join(others) + pem_block("CERTIFICATE", ROOT)
    )
    assert [facts.der for facts in found] == [LEAF, ROOT]


@pytest.mark.parametrize(
    "text",
    [
        "",
        quote(LEAF_PEM.decode()),
        base64.b64encode(
            encode_certificate(extensions=None, subject=b"\x30\x82\x01\x00" + bytes(256))
        ).decode(),
        LEAF_PEM.decode().replace("CERTIFICATE", "TRUSTED CERTIFICATE"),
        LEAF_PEM.decode().replace("CERTIFICATE", "CERTIFICATE\ud800"),
        "two\nlines",
        LEAF_PEM.decode().replace("-----BEGIN CERTIFICATE-----", ""),
    ],
    ids=["empty", "URL-encoded", "base64", "other label", "no UTF-8", "lines", "no BEGIN"],
)
def test_text_that_is_no_pem_is_never_a_path(text: str) -> None:
    """
    It is a bad certificate, not a file that is missing or has too long a name.
    """
    with pytest.raises(CertificateError):
        load_certificate(text)


def test_several_sources_are_read_in_order(tmp_path: Path) -> None:
    """
    Sources of different kinds can be mixed, and any iterable of them will do.
    """
    path = tmp_path / "root.der"
    path.write_bytes(ROOT)
    sources: list[CertificateSource] = [CHAIN_PEM, path, x509.load_der_x509_certificate(LEAF)]
    expected = [LEAF, INTERMEDIATE, ROOT, LEAF]
    assert [facts.der for facts in load_certificates(sources)] == expected
    assert [facts.der for facts in load_certificates(iter(sources))] == expected
    assert load_certificates([]) == ()


@pytest.mark.parametrize(
    ("contents", "rule"),
    [
        (b"", "empty"),
        (b"\x00", "wrong_tag"),
        (LEAF + LEAF, "trailing_data"),
        (b"no certificate\n", "bad_pem"),
        (KEY_PEM, "bad_pem"),
        (LEAF_PEM[:-30], "bad_pem"),
        (LEAF_PEM.replace(b"MI", b"M@", 1), "bad_pem"),
        (pem_block("TRUSTED CERTIFICATE", LEAF) + CHAIN_PEM, "bad_pem"),
        (pem_block("PKCS7", LEAF) + CHAIN_PEM, "bad_pem"),
        (pem_block("CERTIFICATE REQUEST", LEAF) + CHAIN_PEM, "bad_pem"),
        (b" " + CHAIN_PEM, "bad_pem"),
        (LEAF_PEM.rstrip() + CHAIN_PEM, "bad_pem"),
        (CHAIN_PEM.replace(b"\n", b"\r"), "bad_pem"),
        (pem_block("CERTIFICATE", b"") + CHAIN_PEM, "bad_pem"),
        (pem_block("CERTIFICATE", LEAF + b"\x00"), "trailing_data"),
        (LEAF_PEM.decode().encode("utf-16"), "wrong_tag"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_no_certificate_is_a_certificate_error(
    contents: bytes, rule: str, tmp_path: Path
) -> None:
    """
    The error has the rule's name, and the file's where there is one.
    """
    path = tmp_path / "broken.pem"
    path.write_bytes(contents)
    for load in (load_certificate, load_certificates):
        with pytest.raises(CertificateError) as caught:
            load(contents)
        assert caught.value.rule == rule
        with pytest.raises(CertificateError, match=r"broken\.pem") as caught:
            load(path)
        assert caught.value.rule == rule


def test_the_error_says_which_certificate_of_a_bundle(tmp_path: Path) -> None:
    """
    A broken certificate among others is found by file and number.
    """
    path = tmp_path / "bundle.pem"
    path.write_bytes(CHAIN_PEM + pem_block("CERTIFICATE", b"\x31\x00"))
    with pytest.raises(CertificateError, match=r"bundle\.pem, number 3: .*wrong tag") as caught:
        load_certificates(path)
    assert (caught.value.rule, caught.value.offset) == ("wrong_tag", 0)


def test_errors_of_the_file_system_stay_themselves(tmp_path: Path) -> None:
    """
    A missing file or a directory is the system's own error, not a bad certificate.
    """
    with pytest.raises(FileNotFoundError):
        load_certificate(tmp_path / "missing")
    with pytest.raises(IsADirectoryError):
        load_certificates(tmp_path)


@pytest.mark.parametrize("source", [None, 1, 1.5, object()])
def test_other_types_are_misuse(source: object) -> None:
    """
    What is no source at all is a TypeError that says what one is.
    """
    for call in (load_certificate, load_certificates):
        with pytest.raises(TypeError, match="expected bytes, a path or a cryptography"):
            call(source)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="expected bytes, a path or a cryptography"):
        load_certificates([source])  # type: ignore[list-item]


def test_what_was_loaded_before_is_taken_as_it_is() -> None:
    """
    It is not read again, alone or among other sources.
    """
    facts = load_certificate(LEAF)
    assert load_certificate(facts) is facts
    (alone,) = load_certificates(facts)
    mixed = load_certificates([LEAF, facts])
    assert alone is mixed[1] is facts
    assert mixed[0] == facts


def test_facts_without_their_certificate_are_refused() -> None:
    """
    Nothing could be published by facts that were not read from a certificate.
    """
    facts = dataclasses.replace(load_certificate(LEAF), der=b"")
    for call in (load_certificate, load_certificates):
        with pytest.raises(CertificateError, match="found facts without the DER"):
            call(facts)


def test_a_list_is_not_one_certificate() -> None:
    """
    load_certificate takes one source: a list of them is misuse, not its first.
    """
    with pytest.raises(TypeError, match="found list"):
        load_certificate([LEAF])  # type: ignore[arg-type]


def test_text_of_a_request_passed_as_bytes_is_never_a_path(tmp_path: Path) -> None:
    """
    Bytes are contents, even where they spell the path of a certificate.
    """
    path = tmp_path / "certificate.der"
    path.write_bytes(LEAF)
    with pytest.raises(CertificateError):
        load_certificate(os.fsencode(path))


def test_loading_a_certificate_leaves_cryptography_alone() -> None:
    """
    Reading PEM and DER imports no cryptography: a cold start does not pay for it.
    """
    code = (
        "import sys; from crlcheck.x509.certificates import load_certificate; "
        f"load_certificate(bytes.fromhex({LEAF_PEM.hex()!r})); "
        "sys.exit('cryptography' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
