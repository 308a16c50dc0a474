"""Fixtures of the tests of signatures."""

from __future__ import annotations

import pytest

from crlcheck.demo.pki import CertificateAuthority
from support.signed_crl import KEY_TYPES


@pytest.fixture(scope="session")
def authorities() -> dict[str, CertificateAuthority]:
    """One authority of each kind of key, all of one name."""
    return {kind: CertificateAuthority.create("Test CA", key_type=kind) for kind in KEY_TYPES}


@pytest.fixture(scope="session")
def authority(authorities: dict[str, CertificateAuthority]) -> CertificateAuthority:
    """An authority with a P-256 key."""
    return authorities["ec-p256"]
