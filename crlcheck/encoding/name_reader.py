"""
Read a Name from its text (RFC 4514).

1. The text is cut at each comma and plus sign that is not escaped, into RDNs and their
   attributes. White space around them does not count, as OpenSSL writes it.
2. The type of an attribute is dotted, or a short name. Short names are those that
   ``crlcheck.encoding.names`` writes, in any case.
3. A value is DER in hex behind ``#``, or characters. A backslash stands before a character
   that would cut, or before two hex digits of a byte of UTF-8.
4. The last RDN of the text is the first of the Name.

The strings of the Name are UTF8Strings: a string matches another one of any type (RFC 5280
7.1). For example, ``CN=Issuing CA,O=Smith\\, Jones`` is the Name of organization
"Smith, Jones" and below it common name "Issuing CA".
"""

from __future__ import annotations

import re

from crlcheck.encoding.der import read_elements
from crlcheck.encoding.names import SHORT_NAMES, element

_OIDS = {name.lower(): dotted for dotted, name in SHORT_NAMES.items()} | {
    "e": "1.2.840.113549.1.9.1",
    "s": "2.5.4.8",
    "givenname": "2.5.4.42",
    "surname": "2.5.4.4",
}
_DOTTED = re.compile(r"[0-2](?:\.(?:0|[1-9][0-9]{0,38})){1,31}")
_PIECE = re.compile(r"\\[0-9A-Fa-f]{2}|\\[ #\"+,;<>=\\]|[^\\,+;<>\"\0]")
_HEX = re.compile(r"#((?:[0-9A-Fa-f]{2})+)")
_SPACE = " \t"


def name_from_text(text: str) -> bytes:
    """
    Return the Name that *text* stands for, as DER.

    Raises:
        ValueError: *text* is no Name as RFC 4514 writes it.
    """
    position = 0
    relative_names: list[list[bytes]] = [[]]
    while True:
        attribute, position = _attribute(text, position)
        relative_names[-1].append(attribute)
        if position == len(text):
            break
        if text[position] == ",":
            relative_names.append([])
        elif text[position] != "+":
            raise _no_name(text, position)
        position += 1
    sets = (element(0x31, b"".join(sorted(one))) for one in reversed(relative_names))
    return element(0x30, b"".join(sets))


def _attribute(text: str, position: int) -> tuple[bytes, int]:
    """Return an attribute as DER, and where it ends."""
    equals = text.find("=", position)
    if equals < 0:
        raise _no_name(text, position)
    kind = text[position:equals].strip(_SPACE)
    dotted = _OIDS.get(kind.lower(), kind)
    if _DOTTED.fullmatch(dotted) is None:
        raise _no_name(text, position)
    start = equals + 1
    while text[start : start + 1] in (" ", "\t"):
        start += 1
    end = start
    octets, shown = bytearray(), 0  # shown: up to the last byte that is no space
    while piece := _PIECE.match(text, end):
        found = piece[0]
        if found[0] != "\\":
            octets += _utf8(found, text, end)
        elif len(found) == 3:
            octets.append(int(found[1:], 16))
        else:
            octets += found[1:].encode("ascii")
        if found not in _SPACE:
            shown = len(octets)
        end = piece.end()
    value = element(0x0C, bytes(octets[:shown]))
    if text[start : start + 1] == "#":
        value = _encoded(text[start:end], text, start)
    else:
        _require_utf8(value[-shown:] if shown else b"", text, start)
    return element(0x30, element(0x06, _oid(dotted, text, position)) + value), end


def _utf8(character: str, text: str, position: int) -> bytes:
    try:
        return character.encode("utf-8")
    except UnicodeError:  # a lone surrogate
        raise _no_name(text, position) from None


def _require_utf8(octets: bytes, text: str, position: int) -> None:
    try:
        octets.decode("utf-8")
    except UnicodeError:
        raise _no_name(text, position) from None


def _encoded(value: str, text: str, position: int) -> bytes:
    """Return the one element that a value in hex has."""
    found = _HEX.fullmatch(value.rstrip(_SPACE))
    octets = b"" if found is None else bytes.fromhex(found[1])
    try:
        (one,) = read_elements(octets)
    except ValueError:
        raise _no_name(text, position) from None
    return one.whole


def _oid(dotted: str, text: str, position: int) -> bytes:
    """Return the contents of an object identifier (X.690 8.19)."""
    first, second, *others = map(int, dotted.split("."))
    if first < 2 and second > 39:
        raise _no_name(text, position)
    octets = bytearray()
    for number in (40 * first + second, *others):
        groups = [number & 0x7F]
        while number := number >> 7:
            groups.append(number & 0x7F | 0x80)
        octets += bytes(reversed(groups))
    return bytes(octets)


def _no_name(text: str, position: int) -> ValueError:
    return ValueError(
        f"name {text!r:.200}: expected RFC 4514, such as CN=Issuing CA,O=Example; found "
        f"something else at character {position + 1:,}"
    )
