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
    parse_notification,
    parse_record,
)
from support.events import EVENTS, s3_event


def _record(**members: object) -> dict[str, Any]:
    (record,) = s3_event(("bucket", "crl/ca.crl"))["Records"]
    return {**record, **members}


def test_a_notification_is_read() -> None:
    """
    Bucket, key and what happened are found in the record.
    """
    (record,) = parse_notification(s3_event(("bucket", "crl/ca.crl")))
    found = parse_record(record)
    assert found == ObjectEvent("ObjectCreated:Put", "bucket", "crl/ca.crl")
    assert found.created
    assert found.url == "s3://bucket/crl/ca.crl"


def test_all_records_are_found() -> None:
    """
    A notification may carry several records, in one bucket or more.
    """
    event = s3_event(("a", "crl/1"), ("b", "crl/2"), ("a", "crl/3"))
    urls = [parse_record(record).url for record in parse_notification(event)]
    assert urls == ["s3://a/crl/1", "s3://b/crl/2", "s3://a/crl/3"]


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
    assert parse_notification(json.loads((EVENTS / "s3_test_event.json").read_text())) == []


@pytest.mark.parametrize(
    "event", [None, [], "{}", {}, {"Records": None}, {"Records": {}}, {"detail": {}}]
)
def test_another_event_is_malformed(event: object) -> None:
    """
    An event of another service must not pass for one without records.
    """
    with pytest.raises(MalformedEventError):
        parse_notification(event)


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
