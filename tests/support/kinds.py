"""Files of every kind that somebody gives by mistake, with the name that they have."""

from __future__ import annotations

import base64
import bz2
import functools
import gzip
import io
import lzma
import subprocess
import tarfile
import tempfile
import zipfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    pkcs12,
)
from cryptography.x509 import ocsp

from crlcheck.catalog.root import CATALOG_NAME
from crlcheck.compiler.compile import compile_unverified_crl
from crlcheck.demo.encoding import der, der_integer, der_oid
from crlcheck.demo.pki import pem_block
from support.catalogs import catalog, stored
from support.pki import NOW, make_authority, make_client, make_crl

AUTHORITY = make_authority()
CERTIFICATE = make_client(AUTHORITY, 5)
CRL = make_crl(AUTHORITY, 1, [5])
_PASSWORD = BestAvailableEncryption(b"secret")


def make_bundle(
    certificates: Sequence[bytes] = (),
    crls: Sequence[bytes] = (),
    *,
    content: bytes = b"",
    signers: bytes = b"",
    choices: bytes = b"",
) -> bytes:
    """A PKCS #7 SignedData (DER) with these in it; *choices* go among the certificates."""
    members = b"".join(certificates) + choices
    signed_data = der(
        0x30,
        der_integer(1),
        der(0x31),
        der(0x30, der_oid("1.2.840.113549.1.7.1"), der(0xA0, content) if content else b""),
        der(0xA0, members) if members else b"",
        der(0xA1, *crls) if crls else b"",
        der(0x31, signers),
    )
    return der(0x30, der_oid("1.2.840.113549.1.7.2"), der(0xA0, signed_data))


@functools.cache
def samples() -> dict[str, tuple[bytes, str, str]]:
    """Return, by what it is, a file, the name of its kind, and words that its text has."""
    image = compile_unverified_crl(CRL).image
    assert image is not None
    later = image[:8] + b"\2\0" + image[10:]
    return {
        **_packed(),
        **_of_x509(),
        **_keys(),
        **_texts(),
        "an image": (image, "image", "an image"),
        "a later image": (later, "later_image", "a later version"),
        "an image sent as text": (
            image.replace(b"\r\n", b"\n"), "image_as_text", "line ends were converted",
        ),
        "a catalog": (stored(catalog()).read(CATALOG_NAME).body, "catalog", "a catalog"),
        "a catalog of format 1": (
            b'{"format":1,"generation":1,"issuers":[],"scopes":{}}', "catalog", "a catalog",
        ),
        "an empty file": (b"", "empty", "an empty file"),
        "white space": (b"\r\n  \n", "empty", "white space"),
        "zeros": (bytes(5000), "zeros", "zero bytes"),
        "a PDF": (b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n", "pdf", "a PDF"),
        "a picture": (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "picture", "a picture"),
        "a program": (b"\x7fELF\2\1\1\0\0\0", "program", "a program"),
    }  # fmt: skip


def _packed() -> dict[str, tuple[bytes, str, str]]:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as packed:
        packed.writestr("ca.crl", CRL)
    tape = io.BytesIO()
    with tarfile.open(fileobj=tape, mode="w") as tar:
        member = tarfile.TarInfo("ca.crl")
        member.size = len(CRL)
        tar.addfile(member, io.BytesIO(CRL))
    return {
        "gzip": (gzip.compress(CRL), "gzip", "a gzip file"),
        "bzip2": (bz2.compress(CRL), "bzip2", "a bzip2 file"),
        "xz": (lzma.compress(CRL), "xz", "an xz file"),
        "zstd": (b"\x28\xb5\x2f\xfd\x24\5\x29\0\0hello", "zstd", "a zstd file"),
        "zip": (archive.getvalue(), "zip", "a zip file"),
        "tar": (tape.getvalue(), "tar", "a tar file"),
    }


def _of_x509() -> dict[str, tuple[bytes, str, str]]:
    request = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(AUTHORITY.certificate.subject)
        .sign(AUTHORITY.private_key, hashes.SHA256())
    )
    asked = (
        ocsp.OCSPRequestBuilder()
        .add_certificate(AUTHORITY.certificate, AUTHORITY.certificate, hashes.SHA1())
        .build()
    )
    answer = (
        ocsp.OCSPResponseBuilder()
        .add_response(
            AUTHORITY.certificate, AUTHORITY.certificate, hashes.SHA1(),
            ocsp.OCSPCertStatus.GOOD, NOW, None, None, None,
        )
        .responder_id(ocsp.OCSPResponderEncoding.HASH, AUTHORITY.certificate)
        .sign(AUTHORITY.private_key, hashes.SHA256())
    )  # fmt: skip
    key, issuer = ec.generate_private_key(ec.SECP256R1()), AUTHORITY.certificate
    store = pkcs12.serialize_key_and_certificates(b"x", key, None, [issuer], _PASSWORD)
    bundle = make_bundle([CERTIFICATE, AUTHORITY.der], [CRL])
    algorithm = der(0x30, der_oid("1.2.840.10045.4.3.2"))
    attributes = der(
        0x30, der_integer(1), der(0x30, der(0xA0)), der(0xA0, der(0x30)), algorithm, der_integer(5)
    )
    return {
        "a certificate": (CERTIFICATE, "certificate", "a certificate"),
        "a certificate in PEM": (pem_block("CERTIFICATE", CERTIFICATE), "certificate", "in PEM"),
        "a trusted certificate": (
            pem_block("TRUSTED CERTIFICATE", CERTIFICATE), "certificate", "trust settings",
        ),
        "a CRL": (CRL, "crl", "a CRL"),
        "a CRL in PEM": (pem_block("X509 CRL", CRL), "crl", "a CRL in PEM"),
        "a request": (request.public_bytes(Encoding.DER), "certificate_request", "request"),
        "a request in PEM": (request.public_bytes(Encoding.PEM), "certificate_request", "request"),
        "an OCSP request": (asked.public_bytes(Encoding.DER), "ocsp_request", "OCSP request"),
        "an OCSP response": (answer.public_bytes(Encoding.DER), "ocsp_response", "OCSP response"),
        "an unsuccessful OCSP response": (b"\x30\3\x0a\1\6", "ocsp_response", "OCSP response"),
        "a PKCS #12 file": (store, "pkcs12", "PKCS #12"),
        "PKCS #7": (bundle, "pkcs7", "with 2 certificates and 1 CRL"),
        "PKCS #7 in PEM": (pem_block("PKCS7", bundle), "pkcs7", "PKCS #7 in PEM"),
        "a signed message": (make_bundle([CERTIFICATE], signers=der(0x30)), "pkcs7", "PKCS #7"),
        "PKCS #7 in BER": (b"\x30\x80" + bundle[4:] + b"\0\0", "pkcs7", "PKCS #7"),
        "an attribute certificate": (
            der(0x30, attributes, algorithm, der(0x03, b"\0\0")),
            "attribute_certificate", "an attribute certificate",
        ),
        "a time-stamp": (_timestamp("-reply"), "timestamp", "time-stamp"),
        "a request for a time-stamp": (_timestamp("-query"), "timestamp", "time-stamp"),
    }  # fmt: skip


def _timestamp(what: str) -> bytes:
    """Return what ``openssl ts`` asks or answers."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        query = directory / "query"
        command = ["openssl", "ts", "-query", "-digest", "00" * 32, "-sha256", "-out", str(query)]
        subprocess.run(command, check=True, capture_output=True)
        if what == "-query":
            return query.read_bytes()
        # The form of RFC 3161 2.4.2 alone: granted, with a ContentInfo.
        return der(0x30, der(0x30, der_integer(0)), make_bundle([CERTIFICATE], signers=der(0x30)))


def _keys() -> dict[str, tuple[bytes, str, str]]:
    found: dict[str, tuple[bytes, str, str]] = {}
    keys: dict[str, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | dsa.DSAPrivateKey] = {
        "RSA": rsa.generate_private_key(65537, 2048),
        "EC": ec.generate_private_key(ec.SECP256R1()),
        "DSA": dsa.generate_private_key(1024),
    }
    forms = {
        "PKCS #8": PrivateFormat.PKCS8,
        "traditional": PrivateFormat.TraditionalOpenSSL,
    }
    for kind, key in keys.items():
        for form, written in forms.items():
            for name, encoding in (("PEM", Encoding.PEM), ("DER", Encoding.DER)):
                body = key.private_bytes(encoding, written, NoEncryption())
                found[f"{kind}, {form}, {name}"] = (body, "private_key", "a private key")
        for name, encoding in (("PEM", Encoding.PEM), ("DER", Encoding.DER)):
            body = key.private_bytes(encoding, PrivateFormat.PKCS8, _PASSWORD)
            found[f"{kind}, encrypted, {name}"] = (body, "private_key", "encrypted")
            body = key.public_key().public_bytes(encoding, PublicFormat.SubjectPublicKeyInfo)
            found[f"{kind}, public, {name}"] = (body, "public_key", "a public key")
    key = keys["RSA"]
    pkcs1 = key.public_key().public_bytes(Encoding.DER, PublicFormat.PKCS1)
    ssh = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
    private = key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
    locked = key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, _PASSWORD)
    return found | {
        "RSA, PKCS #1, public": (pkcs1, "public_key", "a public key"),
        "OpenSSH": (private, "private_key", "a private key"),
        "OpenSSH, public": (ssh, "public_key", "SSH"),
        "RSA, encrypted as OpenSSL once did": (locked, "private_key", "a private key"),
    }


def _texts() -> dict[str, tuple[bytes, str, str]]:
    pem = pem_block("X509 CRL", CRL).decode()
    error = (
        '<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>AccessDenied</Code>'
        "<Message>Access Denied</Message><RequestId>X</RequestId></Error>"
    )
    when = datetime.now(UTC)
    texts: dict[str, tuple[str, str, str]] = {
        "an HTML page": ("<!DOCTYPE html>\n<html><title>Sign in</title>", "html", "an HTML page"),
        "HTML alone": ("  <HTML><body>Not found</body></HTML>", "html", "an HTML page"),
        "XML": ('<?xml version="1.0"?><feed/>', "xml", "an XML document"),
        "an error of S3": (error, "s3_error", "AccessDenied"),
        "an event": ('{"Records": [{"eventSource": "aws:s3"}]}', "event", "an event"),
        "JSON": ('[{"a": 1}]', "json", "a JSON document"),
        "base64 of a CRL": (base64.b64encode(CRL).decode(), "base64", "base64 of a CRL"),
        "base64 of a certificate, in lines": (
            base64.encodebytes(CERTIFICATE).decode(), "base64", "base64 of a certificate",
        ),
        "base64url of a certificate": (
            base64.urlsafe_b64encode(CERTIFICATE).decode().rstrip("="),
            "base64", "base64 of a certificate",
        ),
        "hex of a CRL": (CRL.hex(), "hex", "hexadecimal digits of a CRL"),
        "URL-encoded PEM": (quote(pem), "url_encoded", "URL-encoded text of a CRL"),
        "a Git LFS pointer": (
            "version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "git_lfs", "Git LFS",
        ),
        "an HTTP response": ("HTTP/1.1 200 OK\r\nServer: x\r\n\r\n", "http", "HTTP response"),
        "index.txt": (
            f"R\t{when:%y%m%d%H%M%S}Z\t{when:%y%m%d%H%M%S}Z\t05\tunknown\t/CN=x\n",
            "openssl_database", "openssl ca",
        ),
        "an LDIF file": ("dn: CN=x\ncertificateRevocationList;binary:: MII=\n", "ldif", "LDIF"),
        "a URL": ("http://pki.example/ca.crl\n", "url", "a URL"),
        "text": ("Dear operator, here is our CRL.\n", "text", "text"),
    }  # fmt: skip
    wide: dict[str, tuple[bytes, str, str]] = {
        f"PEM in {encoding}{' with its mark' if mark else ''}": (
            mark + pem.encode(encoding),
            encoding.replace("-", "")[:5],
            encoding[:6].upper(),
        )
        for encoding, mark in (
            ("utf-16-le", b"\xff\xfe"),
            ("utf-16-be", b"\xfe\xff"),
            ("utf-16-be", b""),
            ("utf-16-le", b""),
            ("utf-32-le", b"\xff\xfe\0\0"),
        )
    }
    return {
        **{what: (text.encode(), name, words) for what, (text, name, words) in texts.items()},
        **wide,
        "HTML with a byte order mark": (b"\xef\xbb\xbf<html></html>", "html", "HTML"),
    }
