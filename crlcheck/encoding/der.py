"""Find elements in DER that a parser has checked before."""

from __future__ import annotations


def contents_at(octets: bytes, offset: int) -> tuple[int, int]:
    """
    Return where the contents of the element at *offset* start and end.

    X.690 8.1.3. Bounds are not checked, because the certificate parser has checked them.
    """
    length = octets[offset + 1]
    start = offset + 2
    if length < 0x80:
        return start, start + length
    start += length & 0x7F
    return start, start + int.from_bytes(octets[offset + 2 : start], "big")
