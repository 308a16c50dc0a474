"""
Read when: a generation, a time, or how long ago; and a store as it was then, STORE@WHEN.

A time without a zone is in UTC, as all times are that the command prints. What follows the
last "@" of a name counts only if it can be read as one of these, and if no file or directory
has the whole name. A slash at the end keeps a name as it is: ``s3://bucket/user@41/``.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeAlias

import click

from crlcheck.settings import looks_like_store, read_duration

When: TypeAlias = int | datetime | timedelta
"""A generation, a time, or how long ago."""

_GENERATION = re.compile(r"[0-9]{1,16}")
_DURATION = re.compile(r"[0-9]+[smhd]")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_TIME = re.compile(
    rf"{_DATE.pattern}[Tt ][0-9]{{2}}:[0-9]{{2}}(?::[0-9]{{2}}(?:\.[0-9]{{1,6}})?)?"
    r"(?:[Zz]|[+-][0-9]{2}:[0-9]{2})?"
)
_EXPECTED = (
    "expected a generation such as 41, how long ago such as 7d, or a time such as 2026-11-24 "
    "or 2026-11-24T10:30:00Z"
)


def read_when(text: str) -> When:
    """
    Read a generation, a time, or how long ago.

    Raises:
        ValueError: it is none of them.
    """
    if _GENERATION.fullmatch(text):
        return int(text)
    if _DURATION.fullmatch(text):
        return read_duration(text)
    if _DATE.fullmatch(text) or _TIME.fullmatch(text):
        try:
            moment = datetime.fromisoformat(text.upper())
        except ValueError as error:
            raise ValueError(f"{_EXPECTED}; found {text!r}: {error}") from error
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    raise ValueError(f"{_EXPECTED}; found {text!r:.80}")


class WhenType(click.ParamType[When]):
    """A generation, a time, or how long ago."""

    name = "WHEN"

    def convert(self, value: Any, param: Any, ctx: Any) -> When:
        """Read it."""
        if not isinstance(value, str):
            return value  # type: ignore[no-any-return]
        try:
            return read_when(value.removeprefix("@"))  # as in STORE@41 and --from @41
        except (ValueError, OverflowError) as error:
            self.fail(str(error), param, ctx)


WHEN = WhenType()


def split_target(target: str) -> tuple[str, When | None]:
    """Return the store and the time that STORE@WHEN names; any other name as it is, and None."""
    location, at, text = target.rpartition("@")
    if not at or not location:
        return target, None
    try:
        when = read_when(text)
    except (ValueError, OverflowError):
        return target, None
    if not looks_like_store(location) and (Path(target).exists() or not Path(location).is_dir()):
        return target, None
    return location, when
