"""
What an image says of its CRL: the JSON object in its header, which the catalog
repeats word for word (docs/index-format.md, "Metadata").
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from crlcheck._json import canonical_json, parse_json, read_time, time_text, typed
from crlcheck.errors import CorruptIndexError
from crlcheck.types import CrlWarning


@dataclass(frozen=True, slots=True)
class ImageMetadata:
    """
    The CRL's own fields, who verified it, and the counts.

    ``issuer`` and ``issuing_distribution_point`` are whole DER elements;
    ``issuer_hash`` is the SHA-256 of the canonical issuer name and
    ``verifier_key_hash`` that of the verifying certificate's
    subjectPublicKeyInfo, None in an image that nobody verified.
    """

    version: int
    issuer: bytes
    issuer_hash: bytes
    authority_key_id: bytes | None
    verifier_key_hash: bytes | None
    verifier_subject_key_id: bytes | None
    issuing_distribution_point: bytes | None
    crl_number: int | None
    base_crl_number: int | None
    this_update: datetime
    next_update: datetime | None
    expired_certs_on_crl: datetime | None
    signature_algorithm: str
    tbs_digest: str
    num_entries: int
    num_duplicates: int
    attributes: bool
    warnings: CrlWarning

    @property
    def verified(self) -> bool:
        """Whether a trusted issuer's key verified the CRL before it was compiled."""
        return self.verifier_key_hash is not None

    @property
    def is_delta(self) -> bool:
        """Whether the CRL is a delta CRL (RFC 5280 5.2.4)."""
        return self.base_crl_number is not None

    def is_past(self, now: datetime) -> bool:
        """Whether the CRL is past its nextUpdate (RFC 5280 5.1.2.5)."""
        return self.next_update is not None and now > self.next_update

    @property
    def scope(self) -> str:
        """
        The scope this CRL speaks for, as a hex key: the canonical issuer name,
        the key that verified it and its whole issuingDistributionPoint.
        """
        parts = (self.issuer_hash, self.verifier_key_hash, self.issuing_distribution_point)
        digest = hashlib.sha256()
        for part in parts:
            digest.update(len(part or b"").to_bytes(8, "big") + (part or b""))
        return digest.hexdigest()[:32]

    def to_json(self) -> dict[str, Any]:
        """The object as it stands in the header: octets in hex, times in ISO 8601."""
        return {
            field.name: _to_json(getattr(self, field.name)) for field in dataclasses.fields(self)
        }

    def to_bytes(self) -> bytes:
        """The canonical bytes: sorted keys, no spaces, so that images reproduce."""
        return canonical_json(self.to_json())

    @classmethod
    def from_json(cls, value: object) -> ImageMetadata:
        """
        Read the object back.

        Fields of a later minor version are passed over.

        Raises:
            CorruptIndexError: a field is missing or has another type.
        """
        try:
            return cls(**{name: read(value[name], name) for name, read in _READERS.items()})  # type: ignore[index]
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise CorruptIndexError(f"image metadata cannot be read: {error!r}") from error

    @classmethod
    def from_bytes(cls, raw: bytes) -> ImageMetadata:
        """
        Read the header's JSON.

        Raises:
            CorruptIndexError: it is not JSON, or not what it should be.
        """
        try:
            value = parse_json(raw)
        except ValueError as error:
            raise CorruptIndexError(f"image metadata is not JSON: {error}") from error
        return cls.from_json(value)


def _to_json(value: object) -> object:
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, datetime):
        return time_text(value)
    if isinstance(value, CrlWarning):
        return list(value.names)
    return value


_Reader = Callable[[Any, str], Any]
"""Reads a member, given its name; raises ValueError or TypeError for what it cannot be."""


def _optional(read: _Reader) -> _Reader:
    return lambda value, where: None if value is None else read(value, where)


def _octets(value: str, _where: str) -> bytes:
    return bytes.fromhex(value)


def _integer(value: object, where: str) -> int:
    return typed(value, int, where)


def _text(value: object, where: str) -> str:
    return typed(value, str, where)


def _warnings(names: list[str], _where: str) -> CrlWarning:
    # A later minor version may know more warnings; they change no answer.
    known = CrlWarning.__members__
    found = CrlWarning(0)
    for name in names:
        found |= known.get(name.upper(), CrlWarning(0))
    return found


_READERS: dict[str, _Reader] = {
    "version": _integer,
    "issuer": _octets,
    "issuer_hash": _octets,
    "authority_key_id": _optional(_octets),
    "verifier_key_hash": _optional(_octets),
    "verifier_subject_key_id": _optional(_octets),
    "issuing_distribution_point": _optional(_octets),
    "crl_number": _optional(_integer),
    "base_crl_number": _optional(_integer),
    "this_update": read_time,
    "next_update": _optional(read_time),
    "expired_certs_on_crl": _optional(read_time),
    "signature_algorithm": _text,
    "tbs_digest": _text,
    "num_entries": _integer,
    "num_duplicates": _integer,
    "attributes": lambda value, where: typed(value, bool, where),
    "warnings": _warnings,
}
METADATA_MEMBERS = _READERS.keys()
"""The members of the object that this version knows."""
