"""
nginx asks ``/ocsp`` of a real service: for its own certificate and for its clients'.
"""

from __future__ import annotations

import contextlib
import signal
import subprocess
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

from crlcheck.demo.nginx import find_nginx
from crlcheck.demo.pki import IssuedCertificate, generate_key
from support.authorizer import publish
from support.nginx import configuration_of
from support.ocsp import make_responder, write_pair
from support.python_servers import EXAMPLES, PKI, free_port, listens
from support.serving import PATIENCE, Serving, serving, wait_until

NOW = datetime.now(UTC).replace(microsecond=0)
DAY = timedelta(days=1)
CURL_OK, CURL_REVOKED = 0, 91


def server_certificate() -> IssuedCertificate:
    """A certificate for localhost by the example issuer, whose CRL is about it, too."""
    key = generate_key("ec-p256")
    signer = PKI.authority.private_key
    assert isinstance(signer, ec.EllipticCurvePrivateKey)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")]))
        .issuer_name(PKI.authority.certificate.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW - DAY)
        .not_valid_after(NOW + DAY)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(PKI.authority.authority_key_identifier, critical=False)
        .sign(signer, hashes.SHA256())
    )
    key_pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return IssuedCertificate(certificate.public_bytes(serialization.Encoding.DER), key_pem)


SERVER = server_certificate()


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Serving]:
    """A service that answers for the example issuer."""
    publish(tmp_path / "published", PKI.crl())
    keys = tmp_path / "keys"
    keys.mkdir()
    responder = make_responder(PKI.authority, not_before=NOW - DAY, not_after=NOW + 30 * DAY)
    write_pair(keys, "example", responder)
    with serving(
        tmp_path / "published", tmp_path / "serve", over="tcp", ocsp_responders=keys
    ) as made:
        yield made


@contextlib.contextmanager
def nginx(directory: Path, service: Serving) -> Iterator[int]:
    """Run nginx by the recipe; give its port."""
    program = find_nginx()
    assert program is not None, "nginx is not installed: make e2e installs it"
    port = free_port()
    server = (EXAMPLES / "nginx_ocsp.conf").read_text()
    for shown, used, count in (
        ("listen 8443 ssl", f"listen 127.0.0.1:{port} ssl", 1),
        ("http://127.0.0.1:8765/ocsp", f"http://127.0.0.1:{service.address}/ocsp", 2),
    ):
        assert server.count(shown) == count
        server = server.replace(shown, used)
    (directory / "nginx.conf").write_text(configuration_of(server))
    # With its issuer: curl looks for that one there only.
    (directory / "server.pem").write_bytes(SERVER.pem + PKI.authority.pem)
    (directory / "server.key").write_bytes(SERVER.key_pem)
    (directory / "issuers.pem").write_bytes(PKI.authority.pem + PKI.stranger.pem)
    for name in ("good", "revoked", "foreign"):
        client: IssuedCertificate = getattr(PKI, name)
        (directory / f"{name}.pem").write_bytes(client.pem)
        (directory / f"{name}.key").write_bytes(client.key_pem)
    command = [program, "-p", str(directory), "-c", str(directory / "nginx.conf")]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + PATIENCE
        while not listens(port):
            assert process.poll() is None, "nginx did not start"
            assert time.monotonic() < deadline, "nginx did not start in time"
            time.sleep(0.02)
        yield port
    finally:
        process.terminate()
        process.wait(PATIENCE)


def curl(directory: Path, port: int, client: str, *options: str) -> tuple[int, str]:
    """Ask nginx as a client; return curl's exit status and that of HTTP."""
    command = [
        "curl", "--silent", "--cacert", "issuers.pem", "--cert", f"{client}.pem",
        "--key", f"{client}.key", "--write-out", "%{http_code}", "--output", "/dev/null",
        *options, f"https://localhost:{port}/",
    ]  # fmt: skip
    done = subprocess.run(
        command, cwd=directory, capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    return done.returncode, done.stdout


def test_nginx_asks_about_its_clients(tmp_path: Path, service: Serving) -> None:
    """
    ``ssl_ocsp leaf``: a revoked one gets 400, and so does one about which there is no answer:
    one of another issuer, and each where the service is gone. A new CRL counts.
    """
    with nginx(tmp_path, service) as port:
        assert curl(tmp_path, port, "good") == (CURL_OK, "204")
        assert curl(tmp_path, port, "revoked") == (CURL_OK, "400")
        assert curl(tmp_path, port, "foreign") == (CURL_OK, "400")
        publish(tmp_path / "published", PKI.crl(2, revoked=[PKI.good.certificate.serial_number]))
        wait_until(lambda: curl(tmp_path, port, "good") == (CURL_OK, "400"), service)
        publish(tmp_path / "published", PKI.crl(3))
        wait_until(lambda: curl(tmp_path, port, "good") == (CURL_OK, "204"), service)
        service.process.send_signal(signal.SIGTERM)
        service.process.wait(PATIENCE)
        assert curl(tmp_path, port, "good") == (CURL_OK, "400")


def test_nginx_staples_the_answer_about_itself(tmp_path: Path, service: Serving) -> None:
    """``ssl_stapling``, as curl demands it by ``--cert-status``."""

    def has_status(expected: int) -> bool:
        # nginx asks at the first handshake, and has the answer at a later one.
        return curl(tmp_path, port, "good", "--cert-status")[0] == expected

    with nginx(tmp_path, service) as port:
        wait_until(lambda: has_status(CURL_OK), service)
    publish(tmp_path / "published", PKI.crl(2, revoked=[SERVER.certificate.serial_number]))
    with nginx(tmp_path, service) as port:
        wait_until(lambda: has_status(CURL_REVOKED), service)
