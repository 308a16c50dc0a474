"""Find elements in DER, and show object identifiers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

_MAX_DOTTED = 32
_MAX_LENGTH_OCTETS = 8


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


class Element(NamedTuple):
    """An element of DER: its tag, its contents, and all of its octets."""

    tag: int
    contents: bytes
    whole: bytes


def read_elements(octets: bytes) -> Iterator[Element]:
    """
    Yield the elements that *octets* are made of, however hostile they are.

    Raises:
        ValueError: they are not whole elements in DER, with tags of one octet.
    """
    position = 0
    while position < len(octets):
        start, end = _bounds(octets, position)
        yield Element(octets[position], octets[start:end], octets[position:end])
        position = end


def read_element(octets: bytes, tag: int) -> bytes:
    """
    Return the contents of *octets*, which must be one element with the tag *tag*.

    Raises:
        ValueError: they are something else.
    """
    elements = list(read_elements(octets))
    if len(elements) != 1 or elements[0].tag != tag:
        raise ValueError(f"expected one element with tag {tag:02x}")
    return elements[0].contents


def _bounds(octets: bytes, position: int) -> tuple[int, int]:
    """Return where the contents of the element at *position* start and end (X.690 10.1)."""
    _, start, end = header_at(octets, position) or (0, 0, None)
    if end is None:
        raise ValueError("expected an element")
    length = end - start
    if start - position != 2 + (0 if length < 0x80 else (length.bit_length() + 7) // 8):
        raise ValueError("expected a length in its shortest form")
    if end > len(octets):
        raise ValueError("expected more octets")
    return start, end


def oid_text(contents: bytes) -> str:
    """
    Return an object identifier as dotted text, or in hex where it is broken or too long.

    *contents* are the octets of the element, at least one (X.690 8.19).
    """
    if contents[-1] & 0x80 or len(contents) > _MAX_DOTTED:
        return f"OID.{contents.hex()}"
    arcs: list[int] = []
    arc = 0
    for octet in contents:
        arc = arc << 7 | octet & 0x7F
        if not octet & 0x80:
            arcs.append(arc)
            arc = 0
    first = min(arcs[0] // 40, 2)
    return ".".join(map(str, (first, arcs[0] - 40 * first, *arcs[1:])))


def header_at(octets: bytes, offset: int) -> tuple[int, int, int | None] | None:
    """
    Return the tag of the element at *offset*, and where its contents start and end.

    The end is None for a BER element of indefinite length (X.690 8.1.3.6), and may lie
    behind the last octet. The whole is None where the octets end inside the header, and for
    a tag or a length that no certificate, CRL or key has.
    """
    if offset + 2 > len(octets) or octets[offset] & 0x1F == 0x1F:
        return None
    tag, length, start = octets[offset], octets[offset + 1], offset + 2
    if length == 0x80:
        return tag, start, None
    if length > 0x80:
        num_octets = length & 0x7F
        if num_octets > _MAX_LENGTH_OCTETS or start + num_octets > len(octets):
            return None
        start += num_octets
        length = int.from_bytes(octets[start - num_octets : start], "big")
    return tag, start, start + length
