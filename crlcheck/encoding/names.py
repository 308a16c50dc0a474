"""
Compare X.501 Names by their canonical form, and write them as text.

RFC 5280 7.1 compares the strings of two Names without regard to their type, case and
spacing. Two Names match if and only if their canonical forms are the same bytes.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import re
import unicodedata
from collections.abc import Iterable, Iterator
from typing import Literal

from crlcheck.encoding.der import oid_text

_OBJECT_IDENTIFIER = 0x06
_UTF8_STRING = 0x0C
_SEQUENCE = 0x30
_SET = 0x31
_DIRECTORY_NAME = 0xA4
_URI = 0x86
_MAX_REMEMBERED = 1024

_MAX_RUN = 30
# A combining character decomposes into two at most, and the starter before a run ends
# in a few of its own.
_COMBINING_RUN = re.compile(rb"[^\0]{9}")
_RUN = re.compile(rb"[^\0]+")
# These are not combining characters themselves, but decompose into such only.
_HIDDEN = "\u0f73\u0f75\u0f81\uff9e\uff9f"

# The string types that RFC 5280 7.1 lets stand for one another. TeletexString is
# read as Latin-1, which is what CAs write in it.
_ENCODINGS = {
    _UTF8_STRING: "utf-8",
    0x12: "ascii",  # NumericString
    0x13: "ascii",  # PrintableString
    0x14: "latin-1",  # TeletexString
    0x16: "ascii",  # IA5String
    0x1A: "ascii",  # VisibleString
    0x1C: "utf-32-be",  # UniversalString
    0x1E: "utf-16-be",  # BMPString
}

# RFC 4514 section 3, and the ones that certificates use most beside it.
SHORT_NAMES = {
    "2.5.4.3": "CN",
    "2.5.4.4": "SN",
    "2.5.4.5": "serialNumber",
    "2.5.4.6": "C",
    "2.5.4.7": "L",
    "2.5.4.8": "ST",
    "2.5.4.9": "STREET",
    "2.5.4.10": "O",
    "2.5.4.11": "OU",
    "2.5.4.12": "title",
    "2.5.4.42": "GN",
    "2.5.4.46": "dnQualifier",
    "0.9.2342.19200300.100.1.1": "UID",
    "0.9.2342.19200300.100.1.25": "DC",
    "1.2.840.113549.1.9.1": "emailAddress",
}


def canonical_name(der: bytes) -> bytes:
    """
    Return the canonical form of a Name: equal bytes if and only if names match.

    The form is itself a DER Name. Every string is a UTF8String of the NFKC and
    case-folded characters, without white space at the ends and with one space
    for each run of it inside; the attributes of each RDN are sorted. A value
    that is not a string, or whose bytes do not fit its string type, is kept
    byte for byte.

    Raises:
        ValueError: *der* is not exactly one Name.
    """
    return _remembered_form(der) if len(der) <= _MAX_REMEMBERED else _canonical_name(der)


def _canonical_name(der: bytes) -> bytes:
    relative_names = []
    for attributes in _relative_names(der):
        encoded = [
            element(_SEQUENCE, element(_OBJECT_IDENTIFIER, oid) + _canonical_value(tag, value))
            for oid, tag, value in attributes
        ]
        relative_names.append(element(_SET, b"".join(sorted(encoded))))
    return element(_SEQUENCE, b"".join(relative_names))


_remembered_form = functools.lru_cache(maxsize=64)(_canonical_name)


def name_hash(der: bytes) -> bytes:
    """
    Return the SHA-256 of the canonical form of a Name.

    Raises:
        ValueError: *der* is not exactly one Name.
    """
    return hashlib.sha256(canonical_name(der)).digest()


def name_key(der: bytes) -> bytes:
    """
    Return a key that two Names share exactly when they match (RFC 5280 7.1).

    Bytes that have no canonical form match themselves only.
    """
    # A name of the usual size is remembered; remembering huge ones would let whoever
    # sends them fill the memory.
    return _remembered_key(der) if len(der) <= _MAX_REMEMBERED else _name_key(der)


def names_match(name: bytes, other: bytes) -> bool:
    """Whether two DER Names are equal, byte for byte or in canonical form (RFC 5280 7.1)."""
    return name == other or name_key(name) == name_key(other)


def extended_names(der: bytes, relative_names: Iterable[bytes]) -> Iterator[bytes]:
    """
    Yield the ``name_key`` of a Name with each of *relative_names* behind it.

    These are the contents of RDNs, as in nameRelativeToCRLIssuer (RFC 5280
    4.2.1.13). The work for each does not grow with the size of the Name: attackers
    put thousands of such names into a certificate to use up a verifier's memory.

    Raises:
        ValueError: one of them is no RDN, or *der* is not exactly one Name.
    """
    prefix = hashlib.sha256(_contents(canonical_name(der)))
    for relative_name in relative_names:
        whole = prefix.copy()
        name = element(_SEQUENCE, element(_SET, relative_name))
        whole.update(_contents(_canonical_name(name)))
        yield whole.digest()


def directory_name(general_name: bytes) -> bytes | None:
    """Return the Name in a GeneralName element, None where it is of another kind."""
    return _contents_of_kind(_DIRECTORY_NAME, general_name)


def uniform_resource_identifier(general_name: bytes) -> bytes | None:
    """Return the URI in a GeneralName element, None where it is of another kind."""
    return _contents_of_kind(_URI, general_name)


def general_name_of_uri(uri: str) -> bytes:
    """
    Return a URI as a GeneralName element.

    Raises:
        ValueError: it is not ASCII.
    """
    if not uri.isascii():
        raise ValueError(f"URI {uri!r}: expected ASCII, with other characters percent-encoded")
    return element(_URI, uri.encode("ascii"))


def _contents_of_kind(tag: int, general_name: bytes) -> bytes | None:
    if not general_name or general_name[0] != tag:
        return None
    try:
        return _contents(general_name)
    except ValueError:
        return None


def format_name(der: bytes) -> str:
    """
    Return a Name as RFC 4514 text, the last RDN first, for messages and logs.

    Never compare these texts: use ``canonical_name``. Characters that do not
    print are escaped, so a name cannot forge a line of a log.

    Raises:
        ValueError: *der* is not exactly one Name.
    """
    relative_names = [
        "+".join(_format_attribute(oid, tag, value) for oid, tag, value in attributes)
        for attributes in _relative_names(der)
    ]
    return ",".join(reversed(relative_names))


@functools.lru_cache(maxsize=1 << 14)  # a publication of many CRLs asks some times for each
def name_text(der: bytes) -> str:
    """Return a Name as text for people; one that cannot be read is shown in hex."""
    try:
        return format_name(der)
    except ValueError:
        return f"a malformed name ({der.hex()})"


def _name_key(der: bytes) -> bytes:
    try:
        # Without the outer header, so that a longer Name extends the hash of a shorter one.
        return hashlib.sha256(_contents(canonical_name(der))).digest()
    except ValueError:
        return b"octets:" + der


_remembered_key = functools.lru_cache(maxsize=1 << 14)(_name_key)


# ---- canonical values --------------------------------------------------------


def _canonical_value(tag: int, value: bytes) -> bytes:
    text = _text(tag, value)
    if text is None:
        return element(tag, value)
    return element(_UTF8_STRING, _canonical_text(text).encode("utf-8"))


def _text(tag: int, value: bytes) -> str | None:
    """Return the characters of a string value, None where it has none."""
    encoding = _ENCODINGS.get(tag)
    if encoding is None:
        return None
    try:
        text = value.decode(encoding)
        text.encode("utf-8")  # a lone surrogate is no character
    except UnicodeError:
        return None
    return text


def _canonical_text(text: str) -> str:
    if text.isascii():
        folded = text.lower()
    else:
        # Folding can undo NFKC and the other way about; in this order (Unicode
        # D146) the result no longer changes.
        folded = _decomposed("NFD", text).casefold()
        folded = _decomposed("NFKD", folded).casefold()
        decomposed = _decomposed("NFKD", folded)
        # No script has such runs (UAX #15, Stream-Safe Text), and the library takes
        # quadratic time for one. Two names that match have the same run, so a run that
        # is left as it is changes no comparison.
        if _longest_run(decomposed) > _MAX_RUN:
            folded = decomposed
        else:
            folded = unicodedata.normalize("NFKC", folded)
    return " ".join(folded.split())


def _decomposed(form: Literal["NFD", "NFKD"], text: str) -> str:
    """Return *text* in normal form *form*, in linear time for long runs too."""
    if not _may_have_long_run(text):
        return unicodedata.normalize(form, text)
    # Unicode 3.11: decompose each character, then order each run by combining class.
    characters = "".join([unicodedata.normalize(form, character) for character in text])
    ordered: list[str] = []
    for _, members in itertools.groupby(characters, key=_is_combining):
        by_class: dict[int, list[str]] = {}  # starters are one class, and stay in place
        for member in members:
            by_class.setdefault(unicodedata.combining(member), []).append(member)
        for combining_class in sorted(by_class):
            ordered += by_class[combining_class]
    return "".join(ordered)


def _may_have_long_run(text: str) -> bool:
    """Whether *text* decomposed may have more than ``_MAX_RUN`` combining characters in a row."""
    classes = bytes(map(unicodedata.combining, text))
    return _COMBINING_RUN.search(classes) is not None or any(map(text.__contains__, _HIDDEN))


def _longest_run(decomposed: str) -> int:
    """Return how many combining characters stand behind one another at most."""
    classes = bytes(map(unicodedata.combining, decomposed))
    return max(map(len, _RUN.findall(classes)), default=0)


def _is_combining(character: str) -> bool:
    return unicodedata.combining(character) != 0


# ---- text --------------------------------------------------------------------


def _format_attribute(oid: bytes, tag: int, value: bytes) -> str:
    dotted = oid_text(oid)
    text = _text(tag, value)
    if text is None:
        return f"{SHORT_NAMES.get(dotted, dotted)}=#{element(tag, value).hex()}"
    return f"{SHORT_NAMES.get(dotted, dotted)}={_escape(text)}"


def _escape(text: str) -> str:
    escaped = []
    last = len(text) - 1
    for position, character in enumerate(text):
        if character in '"+,;<>\\' or (position == 0 and character in "# "):
            escaped.append("\\" + character)
        elif character == " ":
            escaped.append("\\ " if position == last else " ")
        elif character.isprintable():
            escaped.append(character)
        else:
            escaped.extend(f"\\{octet:02X}" for octet in character.encode("utf-8"))
    return "".join(escaped)


# ---- DER ---------------------------------------------------------------------


def _relative_names(der: bytes) -> Iterator[list[tuple[bytes, int, bytes]]]:
    """Yield each RDN of a Name as its (type, value tag, value bytes) triples."""
    tag, contents, end = _next(der, 0)
    if tag != _SEQUENCE or end != len(der):
        raise ValueError(f"Name: found {der[:8].hex()}…, expected exactly one SEQUENCE")
    for relative_name in _all(contents, _SET):
        attributes = [_attribute(attribute) for attribute in _all(relative_name, _SEQUENCE)]
        if not attributes:
            raise ValueError("Name: found an empty RDN, expected at least one attribute")
        yield attributes


def _attribute(contents: bytes) -> tuple[bytes, int, bytes]:
    tag, oid, position = _next(contents, 0)
    value_tag, value, end = _next(contents, position)
    if tag != _OBJECT_IDENTIFIER or not oid or end != len(contents):
        raise ValueError(
            f"Name: found attribute {contents[:8].hex()}…, expected a type and a value"
        )
    return oid, value_tag, value


def _all(octets: bytes, tag: int) -> Iterator[bytes]:
    """Yield the contents of each element of *octets*; all must have this tag."""
    position = 0
    while position < len(octets):
        found, contents, position = _next(octets, position)
        if found != tag:
            raise ValueError(f"Name: found tag {found:02x}, expected {tag:02x}")
        yield contents


def _contents(whole: bytes) -> bytes:
    _, contents, end = _next(whole, 0)
    if end != len(whole):
        raise ValueError(f"Name: found bytes behind the element {whole[:8].hex()}…")
    return contents


def _next(octets: bytes, position: int) -> tuple[int, bytes, int]:
    """Read the element at *position*: its tag, its contents and where it ends."""
    if len(octets) < position + 2:
        raise ValueError("Name: an element is cut short")
    tag, length = octets[position], octets[position + 1]
    start = position + 2
    is_minimal = True
    if length >= 0x80:
        start += length & 0x7F
        length = int.from_bytes(octets[position + 2 : start], "big")
        # Encoding it again catches every length that is indefinite or not minimal.
        is_minimal = _header(tag, length) == octets[position:start]
    end = start + length
    if end > len(octets) or not is_minimal:
        raise ValueError(f"Name: found element {octets[position : position + 8].hex()}…, not DER")
    return tag, octets[start:end], end


def _header(tag: int, length: int) -> bytes:
    if length < 0x80:
        return bytes((tag, length))
    octets = length.to_bytes((length.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(octets))) + octets


def element(tag: int, contents: bytes) -> bytes:
    """Return an element as DER."""
    return _header(tag, len(contents)) + contents
