"""
Convert serial numbers between ``int``, canonical bytes and text.

The canonical bytes are the contents of a DER INTEGER: two's complement, big
endian, as few bytes as the value needs (X.690 8.3). So 255 is ``00ff`` and -1
is ``ff``, and two serials are equal exactly when their bytes are.
"""

from __future__ import annotations

import re

_HEX = re.compile(r"(-?)(?:0[xX])?([0-9a-fA-F]+)")
_COLON_HEX = re.compile(r"(-?)([0-9a-fA-F]{1,2}(?::[0-9a-fA-F]{2})+)")


def canonical_serial(value: int) -> bytes:
    """Return the minimal two's complement bytes of *value*, as DER writes them."""
    # ~value drops the sign, so that -128 fits in one byte as X.690 wants.
    magnitude = value if value >= 0 else ~value
    return value.to_bytes(magnitude.bit_length() // 8 + 1, "big", signed=True)


def serial_from_octets(octets: bytes) -> int:
    """
    Return the integer that *octets*, the contents of an INTEGER, stand for.

    Raises:
        ValueError: there are no bytes (X.690 8.3.1).
    """
    if not octets:
        raise ValueError("serial number: found no bytes, expected at least one")
    return int.from_bytes(octets, "big", signed=True)


def parse_serial_text(text: str) -> int:
    """
    Read a serial number as tools print it: hexadecimal, always.

    Bare (``1A2b``), with a ``0x`` prefix or with colons between bytes
    (``1a:2b``); of any length and case, with or without leading zeros; a minus
    sign in front makes it negative, as in OpenSSL's output. The digits are the
    magnitude, not two's complement: ``ff`` is 255.

    Raises:
        ValueError: *text* is none of these.
    """
    found = text.strip()
    match = _HEX.fullmatch(found) or _COLON_HEX.fullmatch(found)
    if match is None:
        raise ValueError(
            f"serial number {text!r}: expected hexadecimal digits, such as 1A2B, 0x1a2b or 1a:2b"
        )
    sign, digits = match.groups()
    magnitude = int(digits.replace(":", ""), 16)
    return -magnitude if sign else magnitude
