"""
Read the events that invoke the function, and find the objects that they name.

Events arrive at least once and in any order. So each is only a reason to read an
object, and the object as it is now counts.
"""

from __future__ import annotations

import json
import reprlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote_plus


class MalformedEventError(ValueError):
    """The event, or one record of it, is of an unknown form."""


@dataclass(frozen=True, slots=True)
class ObjectEvent:
    """
    A change of one object. ``key`` is the key as S3 stores it.

    ``allow_shrink`` and ``rebuild`` are as for ``crlcheck.publish_crl``: an
    operator may set them, a notification never does.
    """

    name: str
    bucket: str
    key: str
    allow_shrink: bool = False
    rebuild: bool = False

    @property
    def created(self) -> bool:
        """Whether the object was written, in whatever way."""
        return self.name.startswith("ObjectCreated:") or self.name in (_CREATED, _REQUESTED)

    @property
    def url(self) -> str:
        """The object as ``s3://bucket/key``."""
        return f"s3://{self.bucket}/{self.key}"


@dataclass(frozen=True, slots=True)
class Task:
    """One object to read, or the error of a record. ``message_id`` is that of its SQS message."""

    event: ObjectEvent | MalformedEventError
    message_id: str | None = None


@dataclass(frozen=True, slots=True)
class Request:
    """
    One invocation.

    ``from_queue`` tells that the answer must name the SQS messages that failed.
    ``rescan`` is the bucket (None: the store's) and the prefix of objects to read again.
    ``clean_up`` asks to delete superseded images, ``fetch`` to fetch the URLs of the
    settings.
    """

    tasks: tuple[Task, ...] = ()
    from_queue: bool = False
    rescan: tuple[str | None, str] | None = None
    clean_up: bool = False
    fetch: bool = False


_CREATED = "Object Created"  # as EventBridge names it
_REQUESTED = "Requested"


def parse_event(event: object) -> Request:
    """
    Read an event: S3's notification (alone, or in SQS messages), EventBridge's
    "Object Created", or a direct invocation.

    Raises:
        MalformedEventError: it is none of these. A single record or message
            that cannot be read is a Task that says so.
    """
    if not isinstance(event, dict):
        raise MalformedEventError("the event is not an object")
    records = event.get("Records")
    if isinstance(records, list) and records and all(map(_is_message, records)):
        return Request(tuple(task for record in records for task in _message(record)), True)
    if _is_from_s3(event):
        return Request(tuple(Task(found) for found in _from_s3(event)))
    return _direct(event)


# ---- from S3 -----------------------------------------------------------------


def _is_from_s3(event: Mapping[str, Any]) -> bool:
    return "Records" in event or "detail-type" in event or event.get("Event") == "s3:TestEvent"


def _from_s3(event: Mapping[str, Any]) -> list[ObjectEvent | MalformedEventError]:
    """Read a notification's records or EventBridge's event; an ``s3:TestEvent`` has none."""
    # S3 sends this once when a notification is configured.
    if event.get("Event") == "s3:TestEvent":
        return []
    if "detail-type" in event:
        return [_attempt(_parse_eventbridge, event)]
    records = event.get("Records")
    if not isinstance(records, list):
        raise MalformedEventError("the event has no Records: it is not an S3 notification")
    return [_attempt(parse_record, record) for record in records]


def _attempt(parse: Any, value: object) -> ObjectEvent | MalformedEventError:
    try:
        found: ObjectEvent = parse(value)
    except MalformedEventError as error:
        return error
    return found


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


def _parse_eventbridge(event: Mapping[str, Any]) -> ObjectEvent:
    source = _text(event, "source")
    if source != "aws.s3":
        raise MalformedEventError(f"source is {source!r}: expected 'aws.s3'")
    # Unlike in notifications, the key is not encoded.
    return ObjectEvent(
        name=_text(event, "detail-type"),
        bucket=_text(event, "detail", "bucket", "name"),
        key=_text(event, "detail", "object", "key"),
    )


def _decode_key(encoded: str) -> str:
    # Notifications form-encode keys, as nothing else in S3 does: a space is "+".
    try:
        return unquote_plus(encoded, errors="strict")
    except UnicodeDecodeError as error:
        raise MalformedEventError(f"s3.object.key is {encoded!r}: not UTF-8") from error


# ---- from SQS ----------------------------------------------------------------


def _is_message(record: object) -> bool:
    return (
        isinstance(record, dict)
        and record.get("eventSource") == "aws:sqs"
        and isinstance(record.get("messageId"), str)
    )


def _message(record: Mapping[str, Any]) -> list[Task]:
    """Read the S3 event in a message. Direct invocations are not read: only S3 writes there."""
    message_id: str = record["messageId"]
    try:
        body = json.loads(_text(record, "body"))
        if not isinstance(body, dict) or not _is_from_s3(body):
            raise MalformedEventError("the message's body is no S3 event")
        return [Task(found, message_id) for found in _from_s3(body)]
    except MalformedEventError as error:
        return [Task(error, message_id)]
    except (ValueError, RecursionError) as error:
        return [Task(MalformedEventError(f"the message's body is not JSON: {error}"), message_id)]


# ---- direct invocations ------------------------------------------------------


def _direct(event: dict[str, Any]) -> Request:
    given = set(event)
    if {"bucket", "key"} <= given <= {"bucket", "key", "allow_shrink"}:
        allow_shrink = event.get("allow_shrink", False)
        if not isinstance(allow_shrink, bool):
            raise MalformedEventError(
                f"allow_shrink is {reprlib.repr(allow_shrink)}: expected true or false"
            )
        bucket, key = _text(event, "bucket"), _text(event, "key")
        return Request((Task(ObjectEvent(_REQUESTED, bucket, key, allow_shrink, True)),))
    if {"rescan"} <= given <= {"rescan", "bucket"}:
        bucket_or_none = _text(event, "bucket") if "bucket" in given else None
        return Request(rescan=(bucket_or_none, _text(event, "rescan")))
    if event == {"clean_up": True}:
        return Request(clean_up=True)
    if event == {"fetch": True}:
        return Request(fetch=True)
    raise MalformedEventError(
        f"the event has the members {sorted(map(str, event))}: expected an S3 notification, "
        "EventBridge's Object Created, SQS messages with one of these, or bucket and key, "
        "rescan, clean_up or fetch"
    )


def _text(record: Mapping[str, Any], *path: str) -> str:
    value: object = record
    for member in path:
        value = value.get(member) if isinstance(value, dict) else None
    if not isinstance(value, str) or not value:
        raise MalformedEventError(f"{'.'.join(path)} is {reprlib.repr(value)}: expected a string")
    return value
