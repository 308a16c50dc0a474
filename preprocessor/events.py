"""
Read the events that invoke the function, and find the objects that they name.

Events arrive at least once and in any order. So each is only a reason to read an
object, and the object as it is now counts. An event may have come through topics,
queues and dead-letter queues, each of which wraps it: the wrappers are taken off,
whatever their order. What cannot be read is an error that names them, and never
passes for an event without objects.

The data classes of aws_lambda_powertools are not used: they read without checking,
and replace the bytes of a key that are not UTF-8, which then names another object.
"""

from __future__ import annotations

import base64
import json
import reprlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple
from urllib.parse import unquote_plus


class MalformedEventError(ValueError):
    """
    The event, or one record of it, is of an unknown form.

    ``through`` names the wrappers that it came through, the outermost first.
    """

    def __init__(self, message: str, *, through: str = "") -> None:
        super().__init__(message)
        self.through = through


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
        # Stores other than S3 write the name as configurations do, with "s3:". To read an
        # object without need costs little; to pass over one loses a CRL.
        name = self.name.lower().removeprefix("s3:")
        return name.startswith("objectcreated") or name in (_CREATED.lower(), _REQUESTED.lower())

    @property
    def url(self) -> str:
        """The object as ``s3://bucket/key``."""
        return f"s3://{self.bucket}/{self.key}"


@dataclass(frozen=True, slots=True)
class Task:
    """
    One object to read, or the error of a record.

    ``message_id`` is that of its SQS message, ``batch_task_id`` that of its task of an
    S3 batch operation: by them the answer says what became of it.
    """

    event: ObjectEvent | MalformedEventError
    message_id: str | None = None
    batch_task_id: str | None = None


@dataclass(frozen=True, slots=True)
class BatchInvocation:
    """What the answer to an invocation by an S3 batch operation must repeat."""

    schema_version: str
    invocation_id: str


@dataclass(frozen=True, slots=True)
class Request:
    """
    One invocation.

    ``from_queue`` tells that the answer must name the SQS messages that failed, and
    ``batch`` that it must name what became of each task of an S3 batch operation.
    ``rescan`` is the bucket (None: the store's) and the prefix of objects to read again.
    ``clean_up`` asks to delete superseded images, ``fetch`` to fetch the URLs of the
    settings, ``status`` to write how the published set stands as metrics, ``sign`` to sign
    its root again.
    """

    tasks: tuple[Task, ...] = ()
    from_queue: bool = False
    batch: BatchInvocation | None = None
    rescan: tuple[str | None, str] | None = None
    clean_up: bool = False
    fetch: bool = False
    status: bool = False
    sign: bool = False


_CREATED = "Object Created"  # as EventBridge names it
_REQUESTED = "Requested"

MAX_WRAPPERS = 8
"""More wrappers than any chain of topics, queues and dead-letter queues adds."""


def parse_event(event: object) -> Request:
    """
    Read an event: S3's notification or EventBridge's event of S3, alone or
    wrapped; the task of an S3 batch operation; or a direct invocation.

    Raises:
        MalformedEventError: it is none of these. A single record or message
            that cannot be read is a Task that says so.
    """
    if not isinstance(event, dict):
        raise MalformedEventError("the event is not an object")
    if "invocationSchemaVersion" in event:
        return _batch(event)
    if not _forms_of(event):
        return _direct(event)
    records = event.get("Records")
    if isinstance(records, list) and any(map(_is_message, records)):
        return Request(tuple(_tasks(records)), from_queue=True)
    return Request(tuple(Task(found) for found in _read(event, ())))


def _tasks(records: list[Any]) -> Iterator[Task]:
    """Yield the tasks of a batch of SQS messages, each with the id of its message."""
    for record in records:
        message_id = record.get("messageId") if _is_message(record) else None
        if isinstance(message_id, str) and message_id:
            for found in _attempt(_read, record, ()):
                yield Task(found, message_id)
        else:
            # The answer cannot name this message, so Lambda must send the whole batch again.
            text = "one record of the batch is no SQS message with a messageId"
            yield Task(MalformedEventError(text))


# ---- wrappers ----------------------------------------------------------------

_Found = Iterator[ObjectEvent | MalformedEventError]
_Value = Mapping[str, Any]
_Through = tuple["_Wrapper", ...]


class _Wrapper(NamedTuple):
    """What an event came through: a kind of service, and which one."""

    kind: str
    name: str = ""

    def __str__(self) -> str:
        return f"{self.kind} {self.name}".rstrip()


class _Form(NamedTuple):
    """One form of an event: what it is called, how it is recognised, and how it is read."""

    name: str
    matches: Callable[[_Value], bool]
    read: Callable[[_Value, _Through], _Found]


def _attempt(
    read: Callable[[object, _Through], _Found], value: object, through: _Through
) -> _Found:
    """Yield what *read* finds in *value*, or the error that ends it."""
    try:
        yield from read(value, through)
    except MalformedEventError as error:
        if not through or error.through:
            yield error
            return
        path = ", ".join(map(str, through))
        yield MalformedEventError(f"{error} (it came through {path})", through=path)


def _read(value: object, through: _Through) -> _Found:
    """
    Yield the objects that *value* is about: an event, a record, or a wrapper of these.

    Raises:
        MalformedEventError: it is none of these.
    """
    if len(through) > MAX_WRAPPERS:
        raise MalformedEventError(
            f"the event is wrapped more than {MAX_WRAPPERS} times: switch raw message delivery "
            "on for the SNS subscriptions on its way"
        )
    if isinstance(value, str):
        value = _parse_text(value)
    if isinstance(value, str):  # JSON that was made a JSON string once more
        yield from _read(value, (*through, _Wrapper("a JSON string")))
        return
    if not isinstance(value, dict):
        raise _unknown("what it holds is no JSON object", through)
    forms = _forms_of(value)
    if not forms:
        if _DIRECT_MEMBERS & set(value):
            raise MalformedEventError(
                f"it has the members {_members(value)} of a direct invocation, which whoever may "
                "write to a queue or a topic must not make: invoke the function with it"
            )
        raise _unknown(f"it has the members {_members(value)} and is no S3 event", through)
    if len(forms) > 1:
        names = " and ".join(form.name for form in forms)
        raise MalformedEventError(f"it is {names} at once: expected one of them")
    yield from forms[0].read(value, through)


def _forms_of(value: _Value) -> list[_Form]:
    return [form for form in _FORMS if form.matches(value)]


def _unknown(what: str, through: _Through) -> MalformedEventError:
    """Return the error for an event of no known form; it says what to change at its sender."""
    if not through:
        return MalformedEventError(what)
    return MalformedEventError(f"{what}: {_REMEDIES.get(through[-1].kind, _UNCHANGED)}")


_UNCHANGED = "let S3's notification or EventBridge's event through unchanged"
_REMEDIES = {
    "SQS": f"{_UNCHANGED}. Use no input transformer in an EventBridge rule; where something else "
    "than SNS wraps it, switch raw message delivery on",
    "SNS": f"{_UNCHANGED}. Send the topic what S3 or EventBridge sends, without an input "
    "transformer in an EventBridge rule",
    "a Lambda destination": "the function that failed was invoked by something else than S3",
}


def _members(value: _Value) -> str:
    return reprlib.repr(sorted(map(str, value)))


def _parse_text(text: str) -> object:
    """
    Return the value of a JSON text, which may be in base64.

    A member that comes twice is refused, because only one of the two would be read.
    """
    try:
        return json.loads(text, object_pairs_hook=_distinct)
    except (ValueError, RecursionError) as error:
        decoded = _from_base64(text)
        if decoded is None:
            raise MalformedEventError(f"what it holds is not JSON: {error}") from error
        return decoded


def _from_base64(text: str) -> object | None:
    try:
        decoded = base64.b64decode(text, validate=True)
        value: object = json.loads(decoded, object_pairs_hook=_distinct)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict | str) else None


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return the members of an object, none of which may come twice."""
    members = dict(pairs)
    if len(members) < len(pairs):
        raise ValueError("an object has a member twice")
    return members


def _named(kind: str, value: _Value, member: str) -> _Wrapper:
    """Return the wrapper with the last part of its ARN, where it has one."""
    arn = value.get(member)
    return _Wrapper(kind, reprlib.repr(arn.rpartition(":")[2]) if isinstance(arn, str) else "")


def _is_message(record: object) -> bool:
    return isinstance(record, dict) and record.get("eventSource") == "aws:sqs"


def _read_message(message: _Value, through: _Through) -> _Found:
    """Read an SQS message as Lambda sends it, or as ReceiveMessage returns it."""
    member = "Body" if "Body" in message else "body"
    wrapper = _named("SQS", message, "eventSourceARN")
    yield from _attempt(_read, _given(message, member), (*through, wrapper))


def _read_sns_record(record: _Value, through: _Through) -> _Found:
    notification = record.get("Sns")
    if not isinstance(notification, dict):
        raise MalformedEventError(f"Sns is {reprlib.repr(notification)}: expected an object")
    yield from _read_sns(notification, through)


def _read_sns(notification: _Value, through: _Through) -> _Found:
    wrapper = _named("SNS", notification, "TopicArn")
    kind = notification.get("Type", "Notification")
    if kind == "SubscriptionConfirmation":
        raise MalformedEventError(
            f"it asks to confirm a subscription to {wrapper}: confirm it (aws sns "
            "confirm-subscription), then delete the message"
        )
    if kind != "Notification":
        raise MalformedEventError(f"Type is {reprlib.repr(kind)}: expected 'Notification'")
    yield from _attempt(_read, _given(notification, "Message"), (*through, wrapper))


def _read_destination(record: _Value, through: _Through) -> _Found:
    """Read what Lambda sends to a destination after a function failed or succeeded."""
    wrapper = _Wrapper("a Lambda destination")
    yield from _attempt(_read, _given(record, "requestPayload"), (*through, wrapper))


def _given(value: _Value, member: str) -> object:
    found = value.get(member)
    if not isinstance(found, str | dict) or not found:
        raise MalformedEventError(f"{member} is {reprlib.repr(found)}: expected an event as JSON")
    return found


# ---- from S3 -----------------------------------------------------------------


def _read_notification(event: _Value, through: _Through) -> _Found:
    records = event["Records"]
    if not isinstance(records, list) or not records:
        raise MalformedEventError(f"Records is {reprlib.repr(records)}: expected some records")
    for record in records:
        yield from _attempt(_read_one, record, through)


def _read_one(record: object, through: _Through) -> _Found:
    """Read one of the Records of an event."""
    if isinstance(record, dict) and any(form.matches(record) for form in _RECORDS):
        yield from _read(record, through)
    else:
        yield parse_record(record)  # which says what it lacks


def _read_record(record: _Value, _through: _Through) -> _Found:
    yield parse_record(record)


def _read_test_event(_event: _Value, _through: _Through) -> _Found:
    # S3 sends this when a notification is configured: it names no object.
    yield from ()


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
        raise MalformedEventError(f"eventSource is {reprlib.repr(source)}: expected 'aws:s3'")
    version = _text(record, "eventVersion")
    if version.partition(".")[0] != "2":
        raise MalformedEventError(
            f"eventVersion is {reprlib.repr(version)}: expected '2.' and a number"
        )
    return ObjectEvent(
        name=_text(record, "eventName"),
        bucket=_text(record, "s3", "bucket", "name"),
        key=_decode_key(_text(record, "s3", "object", "key"), "s3.object.key"),
    )


def _read_eventbridge(event: _Value, through: _Through) -> _Found:
    detail = event.get("detail")
    if isinstance(detail, dict) and _is_destination(detail):
        # A bus as the destination of a function that failed.
        yield from _read_destination(detail, (*through, _Wrapper("EventBridge")))
    else:
        yield from _attempt(_parse_eventbridge, event, through)


def _parse_eventbridge(event: Any, _through: _Through) -> _Found:
    source = _text(event, "source")
    if source != "aws.s3":
        raise MalformedEventError(f"source is {reprlib.repr(source)}: expected 'aws.s3'")
    name = _text(event, "detail-type")
    if name == _BY_CLOUDTRAIL:
        raise MalformedEventError(
            f"detail-type is {name!r}: switch EventBridge on in the bucket's properties, and let "
            f"the rule match {_CREATED!r}"
        )
    # Unlike in notifications, the key is not encoded.
    yield ObjectEvent(
        name=name,
        bucket=_text(event, "detail", "bucket", "name"),
        key=_text(event, "detail", "object", "key"),
    )


_BY_CLOUDTRAIL = "AWS API Call via CloudTrail"


def _decode_key(encoded: str, member: str) -> str:
    # Notifications form-encode keys, as nothing else in S3 does: a space is "+".
    try:
        return unquote_plus(encoded, errors="strict")
    except UnicodeDecodeError as error:
        raise MalformedEventError(
            f"{member} is {reprlib.repr(encoded)}: not UTF-8 when it is URL-decoded"
        ) from error


def _is_destination(value: _Value) -> bool:
    return "requestPayload" in value


_RECORDS = (
    _Form("an S3 record", lambda value: value.get("eventSource") == "aws:s3", _read_record),
    _Form(
        "an SQS message",
        lambda value: (
            _is_message(value)
            or {"messageId", "body"} <= set(value)
            or {"MessageId", "Body"} <= set(value)
        ),
        _read_message,
    ),
    _Form("an SNS record", lambda value: value.get("EventSource") == "aws:sns", _read_sns_record),
)
_FORMS = (
    *_RECORDS,
    _Form("an event with Records", lambda value: "Records" in value, _read_notification),
    _Form("S3's test event", lambda value: value.get("Event") == "s3:TestEvent", _read_test_event),
    _Form("an EventBridge event", lambda value: "detail-type" in value, _read_eventbridge),
    _Form(
        "an SNS notification",
        lambda value: "TopicArn" in value or {"Type", "Message"} <= set(value),
        _read_sns,
    ),
    _Form("a Lambda destination's record", _is_destination, _read_destination),
)


# ---- from S3 batch operations ------------------------------------------------


def _batch(event: dict[str, Any]) -> Request:
    version = _text(event, "invocationSchemaVersion")
    if version not in ("1.0", "2.0"):
        raise MalformedEventError(
            f"invocationSchemaVersion is {reprlib.repr(version)}: expected '1.0' or '2.0'"
        )
    tasks = event.get("tasks")
    if not isinstance(tasks, list) or not tasks:
        raise MalformedEventError(f"tasks is {reprlib.repr(tasks)}: expected a list of tasks")
    invocation = BatchInvocation(version, _text(event, "invocationId"))
    return Request(tuple(map(_batch_task, tasks)), batch=invocation)


def _batch_task(task: object) -> Task:
    task_id: str | None = None
    try:
        if not isinstance(task, dict):
            raise MalformedEventError("the task is not an object")
        task_id = _text(task, "taskId")
        key = _decode_key(_text(task, "s3Key"), "s3Key")
        # An operator starts a job, as with a rescan.
        return Task(ObjectEvent(_REQUESTED, _bucket(task), key, rebuild=True), None, task_id)
    except MalformedEventError as error:
        return Task(error, None, task_id)


def _bucket(task: _Value) -> str:
    """Return the bucket of a task: by name in schema 2.0, by ARN in 1.0."""
    if "s3Bucket" in task:
        return _text(task, "s3Bucket")
    arn = _text(task, "s3BucketArn")
    prefix, _, bucket = arn.partition(":s3:::")
    if not prefix.startswith("arn:") or not bucket or ":" in bucket or "/" in bucket:
        raise MalformedEventError(
            f"s3BucketArn is {reprlib.repr(arn)}: expected arn:aws:s3::: and a bucket"
        )
    return bucket


# ---- direct invocations ------------------------------------------------------

_DIRECT_MEMBERS = frozenset(("bucket", "rescan", "clean_up", "fetch", "status", "sign"))


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
    if event == {"status": True}:
        return Request(status=True)
    if event == {"sign": True}:
        return Request(sign=True)
    raise MalformedEventError(
        f"the event has the members {_members(event)}: expected an S3 notification or "
        "EventBridge's event of S3, alone or as SNS, SQS or a Lambda destination wraps it, an S3 "
        "batch operation, or bucket and key, rescan, clean_up, fetch, status or sign"
    )


def _text(record: Mapping[str, Any], *path: str) -> str:
    value: object = record
    for member in path:
        value = value.get(member) if isinstance(value, dict) else None
    if not isinstance(value, str) or not value:
        raise MalformedEventError(f"{'.'.join(path)} is {reprlib.repr(value)}: expected a string")
    return value
