"""
pyhanko-certvalidator: paths and revocation in Python.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from importlib.util import find_spec
from typing import Any

from asn1crypto import x509

from benchmarks.baselines.path_checker import PathChecker, Prepare
from benchmarks.clients import Certificates, Site


class CertValidator(PathChecker):
    """One context for all certificates, as a service would keep it."""

    name = "certvalidator"
    title = "pyhanko-certvalidator"
    how = (
        "`Certificate.load`, and `CertificateValidator.async_validate_path` with one"
        " `ValidationContext` (`require`); it verifies the path's signatures besides"
    )
    distribution = "pyhanko-certvalidator"
    max_entries = 10_000  # it makes an object of every entry, and goes through them

    def absent(self) -> str | None:
        """Say whether the package is missing."""
        return (
            None if find_spec("pyhanko_certvalidator") else "pyhanko-certvalidator is not installed"
        )

    @contextmanager
    def open(self, site: Site) -> Iterator[Prepare]:
        """Make the context."""
        from pyhanko_certvalidator import ValidationContext

        context = ValidationContext(
            trust_roots=[x509.Certificate.load(site.root.der)],
            other_certs=[x509.Certificate.load(site.intermediate.der)],
            crls=[path.read_bytes() for path in site.crls],
            revocation_mode="require",
            allow_fetching=False,
        )
        yield lambda certificates: partial(asyncio.run, _num_revoked(context, certificates))


async def _num_revoked(context: Any, certificates: Certificates) -> int:
    from pyhanko_certvalidator import CertificateValidator
    from pyhanko_certvalidator.errors import RevokedError

    count = 0
    for encoded in certificates:
        certificate = x509.Certificate.load(encoded)
        validator = CertificateValidator(certificate, validation_context=context)
        try:
            await validator.async_validate_path()
        except RevokedError:
            count += 1
    return count
