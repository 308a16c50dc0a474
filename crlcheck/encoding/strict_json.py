"""
Read JSON strictly: refuse members that are missing, ambiguous or of another type.

The error names the member. Times are text in JSON, in the form that they have everywhere.
"""

from __future__ import annotations

import codecs
import itertools
import json
import math
import re
import reprlib
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, NoReturn, TypeVar

_Kind = TypeVar("_Kind", int, str, bool, list[Any], dict[str, Any])


# Ours nest ten levels. Whatever walks a value, as repr() does, recurses as deep as it is.
_MAX_DEPTH = 64
# A serial number of 64 bytes has 154 digits. Python prints no number of many thousands.
_MAX_DIGITS = 400
# One without an end reaches to the end, so that no byte is looked at twice.
_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)
_NO_BRACKET = bytes(set(range(256)) - set(b"[]{}"))
# A number that is too long has so many digits, each of which becomes a zero. Most documents
# have none, and then the parser's own function is much faster than ours.
_LONG = b"0" * _MAX_DIGITS
_DIGITS_ONLY = bytes(0x30 if 0x30 <= octet <= 0x39 else 0x20 for octet in range(256))
_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"))
_STEP = [1 if octet in b"[{" else -1 for octet in range(256)]


def parse_json(body: bytes) -> object:
    """
    Read a document whose objects name no member twice, whose numbers are finite and
    of a sane length, and which is not nested deeply.

    Raises:
        ValueError: it is not JSON of that kind.
    """
    if _depth(body) > _MAX_DEPTH and _depth(_STRING.sub(b"", body)) > _MAX_DEPTH:
        raise ValueError(f"it is nested more than {_MAX_DEPTH} levels deep")
    decoder = _DECODER_OF_LONG if _LONG in body.translate(_DIGITS_ONLY) else _DECODER
    if body.startswith(codecs.BOM_UTF8):
        raise ValueError("it begins with a byte order mark (BOM), which JSON may not have")
    return decoder.decode(body.decode("utf-8"))


def _depth(body: bytes) -> int:
    """Return how deep the brackets of *body* nest, those in strings included."""
    steps = map(_STEP.__getitem__, body.translate(None, _NO_BRACKET))
    return max(itertools.accumulate(steps), default=0)


def canonical_json(value: object) -> bytes:
    """Return the document in its canonical form: sorted keys, no spaces, ASCII."""
    return _CANONICAL.encode(value).encode("ascii")


def take(members: dict[str, Any], name: str, kind: type[_Kind], where: str = "") -> _Kind:
    """
    Remove a required member and return it; what is left in the end is unknown.

    *where* is the place of the object, none for the outermost one.

    Raises:
        ValueError: it is missing or of another kind; the message has the place.
    """
    place = f"{where}.{name}" if where else name
    if name not in members:
        raise ValueError(f"{place} is missing")
    return typed(members.pop(name), kind, place)


def take_time(members: dict[str, Any], name: str, where: str) -> datetime:
    """Remove a required member that is a time, and return it. Raises: as ``take``."""
    return read_time(take(members, name, str, where), f"{where}.{name}")


def typed(value: object, kind: type[_Kind], where: str) -> _Kind:
    """
    Return *value* where it is of the kind.

    Raises:
        ValueError: it is not; for JSON true and false are no integers.
    """
    is_boolean = value is True or value is False
    if not isinstance(value, kind) or (is_boolean and kind is not bool):
        raise ValueError(f"{where}: expected {_NAMES[kind]}, found {reprlib.repr(value)}")
    return value


def members_of(value: object, where: str) -> dict[str, Any]:
    """Return a copy of an object's members. Raises: as ``typed``."""
    return dict(typed(value, dict, where))


def read_time(text: str, where: str) -> datetime:
    """
    Read a time in UTC.

    Raises:
        ValueError: it is no time, or in another zone.
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise ValueError(f"{where}: expected a time in ISO 8601, found {text!r:.80}") from error
    if moment.tzinfo is not UTC:
        raise ValueError(f"{where}: expected a time in UTC, found {text!r:.80}")
    return moment


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members: dict[str, Any] = {}
    for name, value in pairs:
        if name in members:
            # Which of two values holds depends on the parser, so neither does.
            raise ValueError(f"an object has two members {name!r}")
        members[name] = value
    return members


def _integer(text: str) -> int:
    return int(text) if len(text) <= _MAX_DIGITS else _refuse_number(f"{text[:20]}…")


def _finite(text: str) -> float:
    value = float(text)
    return value if math.isfinite(value) else _refuse_number(text)


def _refuse_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is not a number that JSON can repeat")


# To make a decoder takes longer than to read a short document.
_DECODER, _DECODER_OF_LONG = (
    json.JSONDecoder(
        object_pairs_hook=_distinct,
        parse_constant=_refuse_number,
        parse_float=_finite,
        parse_int=parse_int,
    )
    for parse_int in (None, _integer)
)
_NAMES: Mapping[type, str] = {
    bool: "true or false",
    int: "an integer",
    str: "a string",
    list: "an array",
    dict: "an object",
}
