"""Make catalogs and their records."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from crlcheck.catalog.catalog import Catalog, IssuerRecord, PublishedImage, ScopeRecord
from crlcheck.types import CrlWarning, ImageMetadata

NOW = datetime(2026, 11, 2, tzinfo=UTC)


def metadata(number: int = 7, *, issuer: str = "A", base: int | None = None) -> ImageMetadata:
    """What the header of an image of *issuer*'s CRL says; a delta CRL with *base*."""
    return ImageMetadata(
        version=1,
        issuer=b"0\x03" + issuer.encode(),
        issuer_hash=issuer.encode() * 32,
        authority_key_id=b"\x01\x02",
        verifier_key_hash=b"k" * 32,
        verifier_subject_key_id=None,
        issuing_distribution_point=None,
        crl_number=number,
        base_crl_number=base,
        this_update=datetime(2026, 11, 1, tzinfo=UTC),
        next_update=datetime(2026, 12, 1, 12, 30, tzinfo=UTC),
        expired_certs_on_crl=None,
        signature_algorithm="ecdsa-with-SHA256",
        tbs_digest="sha256:" + "0f" * 32,
        num_entries=3,
        num_duplicates=0,
        attributes=True,
        warnings=CrlWarning.NO_AUTHORITY_KEY_ID,
    )


def image(number: int = 7, *, issuer: str = "A", base: int | None = None) -> PublishedImage:
    """An image of that CRL."""
    name = f"images/{number:064x}-{ord(issuer):02x}.crlx"
    described = metadata(number, issuer=issuer, base=base)
    return PublishedImage(name, f"{number:064x}", 4096, described)


def record(number: int = 7, *, issuer: str = "A", delta: bool = False) -> ScopeRecord:
    """A scope's record, with a delta CRL of the next number where *delta*."""
    base = image(number, issuer=issuer)
    after = image(number + 1, issuer=issuer, base=number) if delta else None
    return ScopeRecord(base.metadata.scope, base, after, "s3://in/crl/a.crl")


def issuer(text: str) -> IssuerRecord:
    """The bare record of a certificate with these bytes."""
    return IssuerRecord(text.encode())


def catalog() -> Catalog:
    """Generation 2, with two scopes and two issuers."""
    first = Catalog.empty().with_scope(record(), [issuer("certificate 2")], now=NOW)
    return first.with_scope(record(issuer="B", delta=True), [issuer("certificate 1")], now=NOW)


def changed(change: Callable[[Any], object]) -> bytes:
    """A catalog's JSON with *change* made to it, as by a hand or another version."""
    value = json.loads(catalog().to_bytes())
    change(value)
    return json.dumps(value, indent=2).encode()


def a_scope(value: Any) -> Any:
    """The first scope's members."""
    return value["scopes"][record().key]
