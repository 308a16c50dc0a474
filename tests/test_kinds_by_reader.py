"""Every reader says what it was given where that is not what it reads."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import pytest

import crlcheck
from crlcheck.catalog.published_set import set_of
from crlcheck.cli import main
from crlcheck.compiler.compile import compile_unverified_crl
from crlcheck.image.index import open_index
from crlcheck.publisher.publish import publish_crl
from crlcheck.publisher.publish_many import publish_each
from crlcheck.x509.certificates import load_certificate, load_certificates
from support.kinds import AUTHORITY, CERTIFICATE, CRL, samples
from support.memory_store import MemoryStore

Read = Callable[[bytes, Path], object]


def _publish(data: bytes, directory: Path) -> object:
    return publish_crl(data, directory / "store", issuer=AUTHORITY.der)


def _publish_each(data: bytes, directory: Path) -> object:
    file = io.BytesIO(data)
    for _, result in publish_each(file, directory / "store", issuer=AUTHORITY.der):
        if isinstance(result, crlcheck.CrlError):
            raise result
    return None


def _compile_path(data: bytes, directory: Path) -> object:
    path = directory / "input"
    path.write_bytes(data)
    return compile_unverified_crl(path)


def _certificate_path(data: bytes, directory: Path) -> object:
    path = directory / "input"
    path.write_bytes(data)
    return load_certificates(path)


def _image_path(data: bytes, directory: Path) -> object:
    path = directory / "input"
    path.write_bytes(data)
    return open_index(path)


def _issuer(data: bytes, directory: Path) -> object:
    return publish_crl(CRL, directory / "store", issuer=data)


# What each reader reads, and how it refuses everything else.
READERS: dict[str, tuple[Read, str, type[crlcheck.CrlCheckError]]] = {
    "compile": (lambda data, _: compile_unverified_crl(data), "crl", crlcheck.MalformedCrlError),
    "compile a file": (_compile_path, "crl", crlcheck.MalformedCrlError),
    "publish": (_publish, "crl", crlcheck.MalformedCrlError),
    "publish each": (_publish_each, "crl", crlcheck.MalformedCrlError),
    "certificate": (
        lambda data, _: load_certificate(data),
        "certificate",
        crlcheck.CertificateError,
    ),
    "certificates of a file": (_certificate_path, "certificate", crlcheck.CertificateError),
    "issuer": (_issuer, "certificate", crlcheck.CertificateError),
    "image": (lambda data, _: open_index(data), "image", crlcheck.CorruptIndexError),
    "image of a file": (_image_path, "image", crlcheck.CorruptIndexError),
    "catalog": (lambda data, _: set_of(data, MemoryStore()), "catalog", crlcheck.StoreError),
}
READ = {"crl": {"crl", "pkcs7"}, "certificate": {"certificate", "pkcs7"}}


@pytest.mark.parametrize("what", samples())
@pytest.mark.parametrize("reader", READERS)
def test_a_reader_names_what_it_was_given(reader: str, what: str, tmp_path: Path) -> None:
    """
    Each kind, to each reader that reads another one: the words of the kind are in the
    error, and so is the word for what was expected.
    """
    data, name, words = samples()[what]
    read, expected, kind_of_error = READERS[reader]
    if name in READ.get(expected, {expected}) or (expected, name) in PLAIN:
        return
    errors = kind_of_error if name != "later_image" or expected != "image" else LATER
    with pytest.raises(errors) as caught:
        read(data, tmp_path)
    if "PEM line 1: " in str(caught.value):
        assert words.upper() in str(caught.value)
    elif errors is not LATER:
        assert words in str(caught.value)
        assert (
            f"expected a{'n' if expected == 'image' else ''} {expected}"
            in str(caught.value).lower()
        )
        assert getattr(caught.value, "found", name) == name


LATER = crlcheck.UnsupportedIndexVersionError
# These need no name: the error of the parser says more.
PLAIN = {("catalog", "json"), ("catalog", "text")}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            ["check", "crl", "certificate"],
            "crl: no image: found a CRL, expected an image: compile it",
        ),
        (["check", "store", "crl"], "found a CRL, expected a certificate: CRLs are published"),
        (["check", "catalog", "certificate"], "found a catalog of crlcheck, expected an image"),
        (
            ["compile", "certificate", "-o", "out", "--issuer", "issuer"],
            "certificates of issuers are given",
        ),
        (
            ["compile", "crl", "-o", "out", "--issuer", "key"],
            "found a private key in PEM, expected a cert",
        ),
        (["publish", "gzip", "--issuer", "issuer", "--to", "store"], "found a gzip file"),
        (["publish", "image", "--issuer", "issuer", "--to", "store"], "it is compiled already"),
        (["inspect", "html"], "found an HTML page, expected a CRL"),
        (["deny", "add", "store", "crl"], "found a CRL, expected a certificate"),
    ],
)
def test_the_command_says_it_too(
    arguments: list[str], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """
    One line, with the file's name, and exit status 4.
    """
    monkeypatch.chdir(tmp_path)
    files = {
        "crl": CRL,
        "certificate": CERTIFICATE,
        "issuer": AUTHORITY.der,
        "image": samples()["an image"][0],
        "catalog": samples()["a catalog"][0],
        "key": samples()["EC, PKCS #8, PEM"][0],
        "gzip": samples()["gzip"][0],
        "html": samples()["an HTML page"][0],
    }
    for name, contents in files.items():
        (tmp_path / name).write_bytes(contents)
    publish_crl(CRL, tmp_path / "store", issuer=AUTHORITY.der)
    assert main(arguments) == 4
    said = capsys.readouterr().err
    assert words in said
    assert said.count("\n") == 1
