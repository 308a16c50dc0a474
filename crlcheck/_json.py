"""JSON that is read strictly: what is missing, ambiguous or of another kind is refused by name."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, NoReturn, TypeVar

_Kind = TypeVar("_Kind", int, str, bool, list[Any], dict[str, Any])


def parse_json(body: bytes) -> object:
    """
    Read a document whose objects name no member twice and whose numbers are finite.

    Raises:
        ValueError: it is not JSON of that kind.
        RecursionError: it is nested too deeply.
    """
    return json.loads(
        body.decode("utf-8"),
        object_pairs_hook=_distinct,
        parse_constant=_refuse_number,
        parse_float=_finite,
    )


def canonical_json(value: object) -> bytes:
    """Return the document in its canonical form: sorted keys, no spaces, ASCII."""
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode("ascii")


def take(members: dict[str, Any], name: str, kind: type[_Kind], where: str) -> _Kind:
    """
    Remove a required member and return it; what is left in the end is unknown.

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
        raise ValueError(f"{where}: expected {_NAMES[kind]}, found {value!r:.80}")
    return value


def members_of(value: object, where: str) -> dict[str, Any]:
    """Return a copy of an object's members. Raises: as ``typed``."""
    return dict(typed(value, dict, where))


def time_text(moment: datetime) -> str:
    """Return a UTC time in ISO 8601, as ``read_time`` takes it."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


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


def _finite(text: str) -> float:
    value = float(text)
    return value if math.isfinite(value) else _refuse_number(text)


def _refuse_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is not a number that JSON can repeat")


_NAMES: Mapping[type, str] = {
    bool: "true or false",
    int: "an integer",
    str: "a string",
    list: "an array",
    dict: "an object",
}
