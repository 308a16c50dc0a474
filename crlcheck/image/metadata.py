"""
Read and write the metadata of a CRL: the JSON object in the header of its image.

The catalog has the same object (docs/reference/index-format.md, "Metadata").
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from crlcheck.encoding.strict_json import canonical_json, parse_json, read_time, typed
from crlcheck.errors import CorruptIndexError
from crlcheck.times import time_text
from crlcheck.types import CrlWarning, ImageMetadata


def metadata_to_json(metadata: ImageMetadata) -> dict[str, Any]:
    """Return the metadata as the header has it: bytes in hex, times in ISO 8601."""
    return {name: _to_json(getattr(metadata, name)) for name in _READERS}


def metadata_to_bytes(metadata: ImageMetadata) -> bytes:
    """Return the canonical bytes: sorted keys, no spaces, so that images reproduce."""
    return canonical_json(metadata_to_json(metadata))


def metadata_from_json(value: object) -> ImageMetadata:
    """
    Read the object back.

    Fields of a later minor version are ignored.

    Raises:
        CorruptIndexError: a field is missing or has another type.
    """
    try:
        return ImageMetadata(**{name: read(value[name], name) for name, read in _READERS.items()})  # type: ignore[index]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CorruptIndexError(f"image metadata cannot be read: {error!r}") from error


def metadata_from_bytes(raw: bytes) -> ImageMetadata:
    """
    Read the header's JSON.

    Raises:
        CorruptIndexError: it is not JSON, or not what it should be.
    """
    try:
        value = parse_json(raw)
    except ValueError as error:
        raise CorruptIndexError(f"image metadata is not JSON: {error}") from error
    return metadata_from_json(value)


_WRITERS: dict[type, Callable[[Any], object]] = {
    bytes: bytes.hex,
    datetime: time_text,
    CrlWarning: lambda value: list(value.names) if value else [],
}


def _to_json(value: object) -> object:
    write = _WRITERS.get(type(value))
    return value if write is None else write(value)


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
