"""
Read the certificates and CRLs of a PKCS #7 bundle: ``.p7b`` and ``.p7c`` files.

Such a bundle is a CMS SignedData that nobody signed and that has no content (RFC 5652
section 5.2, RFC 2315 section 9.1). CAs use it as a bag for certificates and CRLs. Whatever
else a SignedData may have is refused, so that nothing in it is ignored. A certificate
in a bundle has no place in an order, because it holds a SET.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from crlcheck.encoding.der import header_at

MAX_BUNDLE_SIZE = 1 << 26
MAX_MEMBERS = 50_000  # certificates, or CRLs: a few bytes each would cost memory for nothing
"""Bytes of the largest bundle that is read; it has to be in memory as a whole."""

_INTEGER = 0x02
_OBJECT_IDENTIFIER = 0x06
_SEQUENCE = 0x30
_SET = 0x31
_CONTEXT_0, _CONTEXT_1 = 0xA0, 0xA1
_SIGNED_DATA = bytes.fromhex("2a864886f70d010702")
_CONTENT_TYPE = bytes((_OBJECT_IDENTIFIER, len(_SIGNED_DATA))) + _SIGNED_DATA
_DATA = bytes.fromhex("2a864886f70d010701")
# ContentInfo: a SEQUENCE, its length, and the content type.
_LONGEST_HEADER = 10


@dataclass(frozen=True, slots=True)
class Bundle:
    """The DER of the certificates and CRLs of a PKCS #7 bundle, in the order of the file."""

    certificates: tuple[bytes, ...]
    crls: tuple[bytes, ...]


def is_signed_data(prefix: bytes) -> bool:
    """Whether the first octets of a source are those of a SignedData, in DER or BER."""
    header = header_at(prefix, 0)
    if header is None or header[0] != _SEQUENCE or header[1] > _LONGEST_HEADER:
        return False
    return prefix.startswith(_CONTENT_TYPE, header[1])


def read_bundle(der: bytes) -> Bundle:
    """
    Read a PKCS #7 bundle.

    Raises:
        ValueError: it is another SignedData, or no strict DER; the message says which.
    """
    if len(der) > MAX_BUNDLE_SIZE:
        raise ValueError(f"PKCS #7 that is larger than the {MAX_BUNDLE_SIZE} bytes allowed")
    whole = _Elements(der, 0, len(der))
    content_info = whole.take(_SEQUENCE)
    whole.end()
    if content_info.contents(_OBJECT_IDENTIFIER) != _SIGNED_DATA:
        raise ValueError("PKCS #7 of another kind than SignedData")
    content = content_info.take(_CONTEXT_0)
    content_info.end()
    signed_data = content.take(_SEQUENCE)
    content.end()
    signed_data.take(_INTEGER)  # the version, which follows from what comes
    signed_data.take(_SET)  # the digest algorithms, which nobody uses without a signer
    encapsulated = signed_data.take(_SEQUENCE)
    if encapsulated.contents(_OBJECT_IDENTIFIER) != _DATA or encapsulated.left:
        raise ValueError("PKCS #7 with content: it is a signed message, and no bundle")
    certificates = _members(signed_data, _CONTEXT_0, "certificates")
    crls = _members(signed_data, _CONTEXT_1, "CRLs")
    if signed_data.take(_SET).left:
        raise ValueError("PKCS #7 with a signature: it is a signed message, and no bundle")
    signed_data.end()
    return Bundle(certificates, crls)


def _members(signed_data: _Elements, tag: int, what: str) -> tuple[bytes, ...]:
    """Take an optional SET of certificates or CRLs (RFC 5652 10.2.1 and 10.2.3)."""
    if signed_data.next_tag != tag:
        return ()
    members: list[bytes] = []
    for octet, element in signed_data.take(tag).each():
        if octet != _SEQUENCE:
            raise ValueError(f"PKCS #7 with something else among its {what} (tag {octet:02x})")
        if len(members) == MAX_MEMBERS:
            raise ValueError(f"PKCS #7 with more than {MAX_MEMBERS:,} {what}")
        members.append(element)
    return tuple(members)


class _Elements:
    """Elements of strict DER that follow one another."""

    def __init__(self, octets: bytes, start: int, end: int) -> None:
        self._octets = octets
        self._at = start
        self._end = end

    @property
    def left(self) -> bool:
        """Whether there is another element."""
        return self._at < self._end

    @property
    def next_tag(self) -> int | None:
        """The tag of the next element, None at the end."""
        return self._octets[self._at] if self.left else None

    def _next(self) -> tuple[int, int, int]:
        offset = self._at
        header = header_at(self._octets, offset)
        if header is None:
            raise ValueError(f"PKCS #7 that is broken or cut short at offset {offset}")
        tag, start, end = header
        if end is None:
            raise ValueError(
                "PKCS #7 in BER, with an indefinite length: convert it to DER with "
                f"`openssl pkcs7 -inform DER -outform DER` (offset {offset})"
            )
        if end > self._end:
            raise ValueError(f"PKCS #7 that is broken or cut short at offset {offset}")
        size, length = start - offset, end - start
        if size > 2 and length < (0x80 if size == 3 else 1 << 8 * (size - 3)):
            raise ValueError(f"PKCS #7 that has a length that is no DER at offset {offset}")
        self._at = end
        return tag, start, end

    def _expect(self, tag: int) -> tuple[int, int]:
        offset = self._at
        if not self.left or self._octets[offset] != tag:
            found = f"{self._octets[offset]:02x}" if self.left else "the end"
            raise ValueError(
                f"PKCS #7 that is broken at offset {offset}: expected tag {tag:02x}, found {found}"
            )
        return self._next()[1:]

    def take(self, tag: int) -> _Elements:
        """Pass over the next element, and return the elements in it."""
        return _Elements(self._octets, *self._expect(tag))

    def contents(self, tag: int) -> bytes:
        """Pass over the next element, and return its contents."""
        start, end = self._expect(tag)
        return self._octets[start:end]

    def each(self) -> Iterator[tuple[int, bytes]]:
        """Pass over all elements, and yield the tag of each and the whole of it."""
        while self.left:
            offset = self._at
            tag, _, end = self._next()
            yield tag, self._octets[offset:end]

    def end(self) -> None:
        """Require that nothing follows."""
        if self.left:
            raise ValueError(f"PKCS #7 that has trailing data at offset {self._at}")
