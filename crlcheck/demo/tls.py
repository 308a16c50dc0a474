"""Make a server's certificate for TLS on this machine, and connect as a client."""

from __future__ import annotations

import http.client
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from crlcheck.demo.pki import CertificateAuthority, IssuedCertificate

_PATIENCE = 60.0  # seconds: the first request may wait for a function to start


def server_certificate(
    host: str = "localhost", issuer: CertificateAuthority | None = None
) -> tuple[bytes, bytes]:
    """
    Return a certificate of the server *host*, and its key, as PEM. *issuer* signs it, or the
    key itself.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, host)])
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name if issuer is None else issuer.certificate.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
    )
    if issuer is None:
        certificate = builder.sign(key, hashes.SHA256())
    else:
        builder = builder.add_extension(issuer.authority_key_identifier, critical=False)
        certificate = builder.sign(issuer.private_key, hashes.SHA256())
    key_pem = key.private_bytes(
        Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return certificate.public_bytes(Encoding.PEM), key_pem


def write_client(directory: Path, name: str, client: IssuedCertificate) -> None:
    """Write a client's certificate and key as ``<name>.pem`` and ``<name>.key``."""
    (directory / f"{name}.pem").write_bytes(client.pem)
    (directory / f"{name}.key").write_bytes(client.key_pem)


def get(url: str, directory: Path, name: str) -> tuple[int, bytes]:
    """
    Get *url* as the client that is called *name* in *directory*, from a server whose
    certificate is ``server.pem`` there; return the status and the body.
    """
    context = ssl.create_default_context(cafile=directory / "server.pem")
    context.load_cert_chain(directory / f"{name}.pem", directory / f"{name}.key")
    address = urlsplit(url)
    connection = http.client.HTTPSConnection(address.netloc, timeout=_PATIENCE, context=context)
    try:
        connection.request("GET", address.path)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()
