"""Find the elements of DER that a parser has read before: without checks of its own."""

from __future__ import annotations


def contents_at(octets: bytes, offset: int) -> tuple[int, int]:
    """
    Return where the contents of the element at *offset* start and end.

    X.690 8.1.3. Bounds are not checked: the certificate parser has read all that
    this is asked about.
    """
    length = octets[offset + 1]
    start = offset + 2
    if length < 0x80:
        return start, start + length
    start += length & 0x7F
    return start, start + int.from_bytes(octets[offset + 2 : start], "big")
