"""What the tests of all middleware share: clients, a checker, and a check that raises."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import timedelta
from typing import Any, NoReturn

import pytest

from crlcheck.checker.checker import RevocationChecker
from crlcheck.demo.pki import pem_block
from support.checking import BAD, FOREIGN, GOOD, make_checker, publish
from support.memory_store import MemoryStore

CERTIFICATES = {"good": GOOD, "revoked": BAD, "foreign": FOREIGN}
PEM = {name: pem_block("CERTIFICATE", der).decode() for name, der in CERTIFICATES.items()}
CAUSES = {
    "good": "not_revoked",
    "revoked": "revoked",
    "foreign": "unknown_issuer",
    None: "no_certificate",
}
PROXY: dict[str, Any] = {
    "verified_by": "proxy",
    "header": "X-Client-Certificate",
    "form": "nginx",
    "proxies": ("127.0.0.1", "10.0.0.0/8", "fd00::/8"),
}
FAILURES = (RuntimeError("CN=Mallory"), MemoryError(), OSError(24, "x"))
"""Errors of a check; what they say may be the client's."""


@contextlib.contextmanager
def checker_of_one_crl(**options: Any) -> Iterator[RevocationChecker]:
    """A checker of a CRL that lists the client ``revoked``."""
    store = MemoryStore()
    publish(store)
    with make_checker(store, refresh_after=timedelta(hours=1), **options) as made:
        yield made


def let_checks_raise(
    checker: RevocationChecker, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Let every check of *checker* fail, in an event loop or not."""

    def check(_certificate: object) -> NoReturn:
        raise error

    async def acheck(_certificate: object) -> NoReturn:
        raise error

    monkeypatch.setattr(checker, "check", check)
    monkeypatch.setattr(checker, "acheck", acheck)
