"""
S3 notifications: which objects they are about.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from preprocessor.events import (
    MalformedEventError,
    ObjectEvent,
    Request,
    Task,
    parse_event,
    parse_record,
)
from support.events import EVENTS, eventbridge_event, s3_event, sqs_event


def _record(**members: object) -> dict[str, Any]:
    (record,) = s3_event(("bucket", "crl/ca.crl"))["Records"]
    return {**record, **members}


def urls_of(request: Request) -> list[str]:
    """The objects that an event is about; all of it can be read."""
    found = []
    for task in request.tasks:
        assert isinstance(task.event, ObjectEvent)
        found.append(task.event.url)
    return found


def test_a_notification_is_read() -> None:
    """
    Bucket, key and what happened are found in the record.
    """
    (record,) = s3_event(("bucket", "crl/ca.crl"))["Records"]
    found = parse_record(record)
    assert found == ObjectEvent("ObjectCreated:Put", "bucket", "crl/ca.crl")
    assert found.created
    assert found.url == "s3://bucket/crl/ca.crl"


def test_all_records_are_found() -> None:
    """
    A notification may carry several records, in one bucket or more.
    """
    event = s3_event(("a", "crl/1"), ("b", "crl/2"), ("a", "crl/3"))
    assert urls_of(parse_event(event)) == ["s3://a/crl/1", "s3://b/crl/2", "s3://a/crl/3"]


@pytest.mark.parametrize(
    ("sent", "key"),
    [
        ("crl/plain.crl", "crl/plain.crl"),
        ("crl/two+words.crl", "crl/two words.crl"),
        ("crl/a%2Bb.crl", "crl/a+b.crl"),
        ("crl%2Fca.crl", "crl/ca.crl"),
        ("crl/%C3%BCber.crl", "crl/über.crl"),
        ("crl/100%25.crl", "crl/100%.crl"),
    ],
)
def test_keys_are_form_decoded(sent: str, key: str) -> None:
    """
    S3 form-encodes keys in notifications; emulators encode the slash too.
    """
    record = _record()
    record["s3"]["object"]["key"] = sent
    assert parse_record(record).key == key


@pytest.mark.parametrize("version", ["2.0", "2.1", "2.3", "2.6", "2.17"])
def test_any_minor_version_is_read(version: str) -> None:
    """
    Minor versions only add members.
    """
    assert parse_record(_record(eventVersion=version)).created


@pytest.mark.parametrize("name", ["Put", "Post", "Copy", "CompleteMultipartUpload"])
def test_every_way_of_writing_creates_an_object(name: str) -> None:
    """
    Large CRLs arrive as multipart uploads, replicated ones as copies.
    """
    assert parse_record(_record(eventName=f"ObjectCreated:{name}")).created


def test_a_removal_creates_nothing() -> None:
    """
    A deleted object is told apart from a written one.
    """
    (record,) = s3_event(("bucket", "crl/ca.crl"), shape="object_removed")["Records"]
    assert not parse_record(record).created


def test_the_test_event_has_no_records() -> None:
    """
    What S3 sends when a notification is configured is not an error.
    """
    event = json.loads((EVENTS / "s3_test_event.json").read_text())
    assert parse_event(event) == Request()


@pytest.mark.parametrize(
    "event",
    [
        None,
        [],
        "{}",
        {},
        {"Records": None},
        {"Records": {}},
        {"detail": {}},
        {"bucket": "b"},
        {"bucket": "b", "key": 7},
        {"bucket": "b", "key": "k", "allow_shrink": "yes"},
        {"bucket": "b", "key": "k", "force": True},
        {"rescan": ""},
        {"rescan": "crl/", "key": "k"},
        {"clean_up": False},
    ],
)
def test_another_event_is_malformed(event: object) -> None:
    """
    An event of another service must not pass for one without records.
    """
    with pytest.raises(MalformedEventError):
        parse_event(event)


@pytest.mark.parametrize(
    ("record", "member"),
    [
        (None, "record"),
        ([], "record"),
        ({}, "eventSource"),
        (_record(eventSource="aws:sqs"), "eventSource"),
        (_record(eventVersion="3.0"), "eventVersion"),
        (_record(eventVersion="20.1"), "eventVersion"),
        (_record(eventVersion=2.1), "eventVersion"),
        (_record(eventName=None), "eventName"),
        (_record(s3=None), "s3.bucket.name"),
        (_record(s3={"bucket": {"name": "b"}}), "s3.object.key"),
        (_record(s3={"bucket": {"name": ""}, "object": {"key": "k"}}), "s3.bucket.name"),
        (_record(s3={"bucket": "b", "object": {"key": "k"}}), "s3.bucket.name"),
        (_record(s3={"bucket": {"name": "b"}, "object": {"key": 7}}), "s3.object.key"),
        (_record(s3={"bucket": {"name": "b"}, "object": {"key": "%ff"}}), "s3.object.key"),
    ],
)
def test_a_record_that_cannot_be_read_names_the_member(record: object, member: str) -> None:
    """
    A record of another shape is refused with what was expected of it.
    """
    with pytest.raises(MalformedEventError, match=member):
        parse_record(record)


# ---- other events ------------------------------------------------------------


def test_eventbridge_says_it_otherwise() -> None:
    """
    Its key is not form-encoded, its etag is lower case, and a removal has another name.
    """
    event = eventbridge_event("bucket", "crl/a+b%20.crl")
    (task,) = parse_event(event).tasks
    assert task == Task(ObjectEvent("Object Created", "bucket", "crl/a+b%20.crl"))
    assert isinstance(task.event, ObjectEvent)
    assert task.event.created
    (removed,) = parse_event({**event, "detail-type": "Object Deleted"}).tasks
    assert isinstance(removed.event, ObjectEvent)
    assert not removed.event.created
    (other,) = parse_event({**event, "source": "aws.ec2"}).tasks
    assert isinstance(other.event, MalformedEventError)


def test_messages_carry_their_events_and_their_ids() -> None:
    """
    Each message has its own notification; what cannot be read names its message.
    """
    test_event = json.loads((EVENTS / "s3_test_event.json").read_text())
    event = sqs_event(
        s3_event(("b", "crl/1"), ("b", "crl/2+2")),
        test_event,
        eventbridge_event("b", "crl/3"),
        "not JSON",
        {"bucket": "b", "key": "k"},
        {"Records": 7},
    )
    request = parse_event(event)
    assert request.from_queue
    found = [(task.message_id, type(task.event).__name__) for task in request.tasks]
    assert found == [
        ("message-0", "ObjectEvent"),
        ("message-0", "ObjectEvent"),
        ("message-2", "ObjectEvent"),
        ("message-3", "MalformedEventError"),
        ("message-4", "MalformedEventError"),
        ("message-5", "MalformedEventError"),
    ]


def test_direct_invocations() -> None:
    """
    An operator names an object, a prefix or the clean-up.
    """
    (task,) = parse_event({"bucket": "b", "key": "crl/a+b"}).tasks
    assert task.event == ObjectEvent("Requested", "b", "crl/a+b", rebuild=True)
    (task,) = parse_event({"bucket": "b", "key": "k", "allow_shrink": True}).tasks
    assert isinstance(task.event, ObjectEvent)
    assert task.event.allow_shrink
    assert parse_event({"rescan": "crl/"}) == Request(rescan=(None, "crl/"))
    assert parse_event({"rescan": "crl/", "bucket": "b"}) == Request(rescan=("b", "crl/"))
    assert parse_event({"clean_up": True}) == Request(clean_up=True)
