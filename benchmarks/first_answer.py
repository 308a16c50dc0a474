"""
From the bytes of one CRL to the first answer, verified: ours, the peers' and what bounds them.

Each is made for an issuer, given as its certificate in DER, and may keep the issuer's key.
It is called with a CRL, DER too, and a serial. It returns what has to stay alive, and whether
the serial is listed.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from cryptography import x509

import crlcheck
from benchmarks.baselines import openssl
from benchmarks.baselines.java import Java

Answer = tuple[object, bool]
Answerer = Callable[[bytes, int], Answer]


def by_crlcheck(issuer: bytes) -> Answerer:
    """Compile into memory, open, and look the serial up."""

    def answer(crl: bytes, serial_number: int) -> Answer:
        image = crlcheck.compile_crl(crl, issuer=issuer, max_source_size=0).image
        assert image is not None, "no output was given"
        index = crlcheck.open_index(image, verify=False)
        return index, serial_number in index

    return answer


def load_and_verify(issuer: bytes) -> Callable[[bytes], x509.CertificateRevocationList]:
    """Parse and verify with ``cryptography``, without an answer."""
    key: Any = x509.load_der_x509_certificate(issuer).public_key()

    def load(crl: bytes) -> x509.CertificateRevocationList:
        parsed = x509.load_der_x509_crl(crl)
        if not parsed.is_signature_valid(key):
            raise ValueError(f"a CRL of {len(crl)} bytes has no valid signature")
        return parsed

    return load


def by_scan(issuer: bytes) -> Answerer:
    """Parse and verify with ``cryptography``, which goes through the entries."""
    load = load_and_verify(issuer)

    def answer(crl: bytes, serial_number: int) -> Answer:
        parsed = load(crl)
        return parsed, parsed.get_revoked_certificate_by_serial_number(serial_number) is not None

    return answer


def by_set(issuer: bytes) -> Answerer:
    """Parse and verify with ``cryptography``, and keep the serials in a set."""
    load = load_and_verify(issuer)

    def answer(crl: bytes, serial_number: int) -> Answer:
        listed = {entry.serial_number for entry in load(crl)}
        return listed, serial_number in listed

    return answer


def by_openssl(issuer: bytes) -> Answerer:
    """Parse and verify with libcrypto, whose first lookup sorts the entries."""
    key = openssl.public_key(issuer)

    def answer(crl: bytes, serial_number: int) -> Answer:
        lookups = openssl.load_verified(crl, key)
        return lookups, lookups.prepare([serial_number])() == 1

    return answer


class JavaAnswer:
    """
    The same of a virtual machine that has warmed up.

    It reads the files itself, and is given the serial before. What it is told and answers
    goes through a pipe.
    """

    def __init__(self, java: Java, crl: Path, issuer: Path) -> None:
        self._java = java
        self._files = crl, issuer

    def prepare(self, serial_number: int) -> Callable[[], bool]:
        """Return a call that loads the CRL and looks *serial_number* up."""
        look_up = self._java.ask_about([serial_number])

        def call() -> bool:
            self._java.ask("load", *self._files)
            return look_up() == 1

        return call


PEERS: dict[str, Callable[[bytes], Answerer]] = {
    "cryptography": by_scan,
    "python_set": by_set,
    **({} if openssl.OpenSsl().absent() else {"openssl": by_openssl}),
}
"""Those that run in this process, by the name of their contender."""

MAX_ENTRIES = {"python_set": 1_000_000}
"""Those that are slower than a scan at any size, and not measured beyond one."""
