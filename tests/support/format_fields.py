"""Read the fields that all readers of docs/reference/index-format.md share."""

from __future__ import annotations


class RefusedImageError(Exception):
    """The image breaks a rule of the document."""


def require(holds: bool, rule: str) -> None:
    """Refuse the image unless *rule* holds."""
    if not holds:
        raise RefusedImageError(rule)


def read_field(stream: bytes, bit: int, width: int) -> int:
    """Read *width* bits of a bit stream, starting with number *bit*."""
    octets = stream[bit // 8 : (bit + width + 7) // 8]
    return int.from_bytes(octets, "little") >> bit % 8 & ((1 << width) - 1)


def stream_size(num_bits: int) -> int:
    """Bytes of a bit stream: whole words of eight."""
    return (num_bits + 63) // 64 * 8
