"""
S3 event notifications, reduced to the objects they are about.

Notifications arrive at least once and in any order, so a record is only a hint
that an object is worth looking at: what counts is the object as it is now.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote_plus


class MalformedEventError(ValueError):
    """The event, or one record of it, is not an S3 notification of a known version."""


@dataclass(frozen=True, slots=True)
class ObjectEvent:
    """What happened to one object. ``key`` is the key as S3 stores it."""

    name: str
    bucket: str
    key: str

    @property
    def created(self) -> bool:
        """Whether the object was written, in whatever way."""
        return self.name.startswith("ObjectCreated:")

    @property
    def url(self) -> str:
        """The object as ``s3://bucket/key``."""
        return f"s3://{self.bucket}/{self.key}"


def parse_notification(event: object) -> list[object]:
    """
    Return the records of an S3 notification, none for an ``s3:TestEvent``.

    Raises:
        MalformedEventError: it is no S3 notification at all.
    """
    if not isinstance(event, dict):
        raise MalformedEventError("the event is not an object")
    # S3 sends this once, when a notification is configured; it has no records.
    if event.get("Event") == "s3:TestEvent":
        return []
    records = event.get("Records")
    if not isinstance(records, list):
        raise MalformedEventError("the event has no Records: it is not an S3 notification")
    return records


def parse_record(record: object) -> ObjectEvent:
    """
    Read one record of an S3 notification, of version 2 and any minor version.

    Raises:
        MalformedEventError: a member is missing, or the record is of another
            service or of another major version.
    """
    if not isinstance(record, dict):
        raise MalformedEventError("the record is not an object")
    source = _text(record, "eventSource")
    if source != "aws:s3":
        raise MalformedEventError(f"eventSource is {source!r}: expected 'aws:s3'")
    version = _text(record, "eventVersion")
    if version.partition(".")[0] != "2":
        raise MalformedEventError(f"eventVersion is {version!r}: expected '2.' and a number")
    return ObjectEvent(
        name=_text(record, "eventName"),
        bucket=_text(record, "s3", "bucket", "name"),
        key=_decode_key(_text(record, "s3", "object", "key")),
    )


def _decode_key(encoded: str) -> str:
    # Notifications form-encode keys, as nothing else in S3 does: a space is "+".
    try:
        return unquote_plus(encoded, errors="strict")
    except UnicodeDecodeError as error:
        raise MalformedEventError(f"s3.object.key is {encoded!r}: not UTF-8") from error


def _text(record: dict[str, Any], *path: str) -> str:
    value: object = record
    for member in path:
        value = value.get(member) if isinstance(value, dict) else None
    if not isinstance(value, str) or not value:
        raise MalformedEventError(f"{'.'.join(path)} is {value!r}: expected a string")
    return value
