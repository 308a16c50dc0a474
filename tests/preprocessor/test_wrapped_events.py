"""
Events that came through topics, queues, dead-letter queues and batch operations.
"""

from __future__ import annotations

import base64
import copy
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from aws_lambda_powertools.utilities.data_classes import (
    EventBridgeEvent,
    S3BatchOperationEvent,
    S3Event,
    SNSEvent,
    SQSEvent,
)
from hypothesis import given
from hypothesis import strategies as st

from preprocessor.events import (
    MAX_WRAPPERS,
    BatchInvocation,
    MalformedEventError,
    ObjectEvent,
    Request,
    Task,
    parse_event,
)
from support.events import (
    EVENTS,
    batch_event,
    destination_on_a_bus,
    destination_record,
    eventbridge_event,
    received_message,
    s3_event,
    sns_event,
    sns_notification,
    sqs_event,
    sqs_message,
)

TEST_EVENT = json.loads((EVENTS / "s3_test_event.json").read_text())
OBJECTS = [("b", "crl/1"), ("b", "crl/two words+ü.crl")]

Wrap = Callable[[Any], Any]

# What a queue's message may hold instead of the event itself.
INNER: dict[str, Wrap] = {
    "SNS": sns_notification,
    "SNS to Lambda": sns_event,
    "SQS to Lambda": sqs_event,
    "an SQS record": sqs_message,
    "a received message": received_message,
    "a Lambda destination": destination_record,
    "a Lambda destination of text": lambda event: destination_record(json.dumps(event)),
    "a Lambda destination through EventBridge": destination_on_a_bus,
    "base64": lambda event: base64.b64encode(json.dumps(event).encode()).decode(),
    "JSON in JSON": lambda event: json.dumps(json.dumps(event)),
}
# What invokes the function.
OUTER: dict[str, Wrap] = {
    "itself": lambda event: event,
    "SQS": sqs_event,
    "SNS": sns_event,
    "a Lambda destination": destination_record,
    "EventBridge": destination_on_a_bus,
}
# Lambda invokes with an object, never with text.
WAYS = [
    (outer, inner)
    for outer in OUTER
    for inner in INNER
    if outer != "itself" or inner not in ("base64", "JSON in JSON")
]


def events_of(request: Request) -> list[ObjectEvent]:
    """The objects that an event is about; all of it can be read."""
    found = []
    for task in request.tasks:
        assert isinstance(task.event, ObjectEvent), task.event
        found.append(task.event)
    return found


def created(*objects: tuple[str, str]) -> list[ObjectEvent]:
    """What a notification of *objects* says."""
    return [ObjectEvent("ObjectCreated:Put", bucket, key) for bucket, key in objects]


def errors_of(request: Request) -> list[str]:
    """Why the tasks cannot be read."""
    return [str(task.event) for task in request.tasks if not isinstance(task.event, ObjectEvent)]


# ---- the shapes of the tests' events -----------------------------------------


def test_the_shapes_are_those_that_aws_sends() -> None:
    """
    Another reader of AWS's events finds in the tests' events what was put in.
    """
    inner = s3_event(("b", "crl/a b"))
    (sns,) = SNSEvent(sns_event(inner)).records
    assert sns.sns.topic_arn.startswith("arn:aws:sns:")
    assert S3Event(json.loads(sns.sns.message)).object_key == "crl/a b"
    (message,) = SQSEvent(sqs_event(sns_notification(inner))).records
    assert S3Event(json.loads(message.decoded_nested_sns_event.message)).bucket_name == "b"
    bridge = EventBridgeEvent(eventbridge_event("b", "k"))
    assert (bridge.source, bridge.detail_type) == ("aws.s3", "Object Created")
    for version in ("1.0", "2.0"):
        batch = S3BatchOperationEvent(batch_event(version, ("b", "crl/a b")))
        assert batch.invocation_schema_version == version
        assert (batch.task.s3_bucket, batch.task.s3_key) == ("b", "crl/a b")


# ---- wrappers ----------------------------------------------------------------


@pytest.mark.parametrize(("outer", "inner"), WAYS)
def test_an_event_is_found_in_its_wrappers(outer: str, inner: str) -> None:
    """
    Whatever wrapped it, the same objects come out: of S3's notification and of EventBridge's.
    """
    request = parse_event(OUTER[outer](INNER[inner](s3_event(*OBJECTS))))
    assert events_of(request) == created(*OBJECTS)
    assert request.from_queue is (outer == "SQS" or (outer, inner) == ("itself", "SQS to Lambda"))
    bridge = OUTER[outer](INNER[inner](eventbridge_event("b", "crl/a+b%20")))
    assert events_of(parse_event(bridge)) == [ObjectEvent("Object Created", "b", "crl/a+b%20")]


@pytest.mark.parametrize(("outer", "inner"), [*WAYS, *((outer, None) for outer in OUTER)])
def test_the_test_event_is_passed_over_in_its_wrappers(outer: str, inner: str | None) -> None:
    """
    S3 sends it when a notification is configured, and the wrappers are the same.
    """
    wrapped = TEST_EVENT if inner is None else INNER[inner](TEST_EVENT)
    assert parse_event(OUTER[outer](wrapped)).tasks == ()


@pytest.mark.parametrize("outer", ["SQS", "SNS"])
@pytest.mark.parametrize("name", ["ObjectRemoved:Delete", "ObjectRestore:Completed"])
def test_what_creates_nothing_is_told_apart_in_its_wrappers(outer: str, name: str) -> None:
    """
    A deletion that comes through a topic is one.
    """
    event = s3_event(("b", "k"))
    event["Records"][0]["eventName"] = name
    (found,) = events_of(parse_event(OUTER[outer](event)))
    assert not found.created


def test_raw_message_delivery_makes_no_difference() -> None:
    """
    A topic's messages come to the same whether raw message delivery is on or off.
    """
    event = s3_event(*OBJECTS)
    raw, wrapped = parse_event(sqs_event(event)), parse_event(sqs_event(sns_notification(event)))
    assert raw == wrapped


def test_a_mixed_batch() -> None:
    """
    Messages of one batch may have come on different ways. Each keeps its own id.
    """
    request = parse_event(
        sqs_event(
            s3_event(("b", "1")),
            sns_notification(s3_event(("b", "2"), ("b", "3"))),
            sns_notification(TEST_EVENT),
            eventbridge_event("b", "4"),
            destination_record(sns_event(s3_event(("b", "5")))),
            sns_notification("hello"),
            sqs_message(s3_event(("b", "6"))),
        )
    )
    assert request.from_queue
    found = [
        (task.message_id, task.event.key if isinstance(task.event, ObjectEvent) else None)
        for task in request.tasks
    ]
    assert found == [
        ("message-0", "1"),
        ("message-1", "2"),
        ("message-1", "3"),
        ("message-3", "4"),
        ("message-4", "5"),
        ("message-5", None),
        ("message-6", "6"),
    ]


@pytest.mark.parametrize("message_id", [None, 7, ""])
def test_a_message_without_an_id_cannot_be_reported(message_id: object) -> None:
    """
    Its task has no id, so that the whole batch fails and comes again.
    """
    event = sqs_event(s3_event(("b", "1")), s3_event(("b", "2")))
    event["Records"][1]["messageId"] = message_id
    request = parse_event(event)
    assert request.from_queue
    first, second = request.tasks
    assert (first.message_id, second.message_id) == ("message-0", None)
    assert "messageId" in str(second.event)


def test_a_foreign_record_in_a_batch_of_messages_is_an_error() -> None:
    """
    It has no message that could be reported.
    """
    event = sqs_event(s3_event(("b", "1")))
    event["Records"] += s3_event(("b", "2"))["Records"]
    good, bad = parse_event(event).tasks
    assert (good.message_id, bad.message_id) == ("message-0", None)
    assert isinstance(bad.event, MalformedEventError)


# ---- what cannot be read -----------------------------------------------------


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("hello", "not JSON"),
        ("aGVsbG8=", "not JSON"),
        ("[1]", "no JSON object"),
        ("null", "no JSON object"),
        ({}, "is no S3 event"),
        ({"Records": []}, "expected some records"),
        ({"Records": {}}, "expected some records"),
        ({"Records": [{"eventSource": "aws:kinesis"}]}, "eventSource is 'aws:kinesis'"),
        ({"Records": [None]}, "not an object"),
        ({"Records": [{"EventSource": "aws:sns", "Sns": None}]}, "Sns is None"),
        ({"hello": "world"}, r"\['hello'\] and is no S3 event.*raw message delivery"),
        (sns_notification({"hello": "world"}), "is no S3 event.*Send the topic what S3"),
        (sns_notification(""), "Message is ''"),
        (
            {"Type": "SubscriptionConfirmation", "TopicArn": "a:b:t", "Message": "m", "Token": "x"},
            "asks to confirm a subscription to SNS 't'",
        ),
        ({"Type": "UnsubscribeConfirmation", "Message": "m"}, "expected 'Notification'"),
        ({**destination_record({}), "requestPayload": None}, "requestPayload is None"),
        (destination_record({"fetch": True}), "invoke the function with it"),
        ({"bucket": "b", "key": "k", "allow_shrink": True}, "invoke the function with it"),
        ({**s3_event(("b", "k")), "Event": "s3:TestEvent"}, "at once"),
        ({**eventbridge_event("b", "k"), **sns_notification("{}")}, "at once"),
        ({**eventbridge_event("b", "k"), "source": "aws.ec2"}, "source is 'aws.ec2'"),
        (
            {"detail-type": "AWS API Call via CloudTrail", "source": "aws.s3", "detail": {}},
            "switch EventBridge on in the bucket's properties",
        ),
        ("[" * 100_000, "not JSON"),
        ("9" * 5_000, "not JSON"),
    ],
)
def test_what_cannot_be_read_is_an_error_of_its_message(body: object, expected: str) -> None:
    """
    It is never taken for a message without objects, and says what to change.
    """
    request = parse_event(sqs_event(body, s3_event(("b", "k"))))
    bad, good = request.tasks
    assert bad.message_id == "message-0"
    assert isinstance(bad.event, MalformedEventError)
    with pytest.raises(MalformedEventError, match=expected):
        raise bad.event
    assert good == Task(created(("b", "k"))[0], message_id="message-1")


def test_the_error_names_the_way_that_it_came() -> None:
    """
    The operator learns which queue and which topic to look at, the outermost first.
    """
    message = destination_record(sns_event("hello"))
    (task,) = parse_event(sqs_event(message)).tasks
    assert isinstance(task.event, MalformedEventError)
    way = "SQS 'crl-uploads', a Lambda destination, SNS 'crl-uploads'"
    assert task.event.through == way
    assert f"(it came through {way})" in str(task.event)
    record = {"eventSource": "aws:s3", "eventVersion": "3.0"}
    (task,) = parse_event(sns_event({"Records": [record]})).tasks
    assert "expected '2.' and a number (it came through SNS 'crl-uploads')" in str(task.event)


def test_the_wrappers_are_bounded() -> None:
    """
    Wrappers in wrappers end at a depth that no pipeline has.
    """
    event: Any = s3_event(("b", "k"))
    for _ in range(MAX_WRAPPERS):
        event = destination_record(event)
    assert events_of(parse_event(event)) == created(("b", "k"))
    (error,) = errors_of(parse_event(destination_record(event)))
    assert f"more than {MAX_WRAPPERS} times: switch raw message delivery on" in error
    text = json.dumps(s3_event(("b", "k")))
    for _ in range(MAX_WRAPPERS + 1):
        text = json.dumps(text)
    (error,) = errors_of(parse_event(sqs_event(text)))
    assert "more than" in error


# ---- models ------------------------------------------------------------------

KEYS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=12)
OBJECT_LISTS = st.lists(
    st.tuples(st.from_regex(r"[a-z]{3,9}", fullmatch=True), KEYS), min_size=1, max_size=3
)


@st.composite
def wrapped_events(draw: st.DrawFn) -> tuple[Any, list[str]]:
    """A message and the keys of the objects that it is about."""
    objects = draw(OBJECT_LISTS)
    event: Any = s3_event()
    # Not the template's text: a key may hold what JSON escapes.
    for bucket, key in objects:
        (record,) = s3_event((bucket, "k"))["Records"]
        record["s3"]["object"]["key"] = _encoded(key)
        event["Records"].append(record)
    if draw(st.booleans()):
        objects = objects[:1]
        event = eventbridge_event(*objects[0])
    for wrap in draw(st.lists(st.sampled_from(sorted(INNER)), max_size=3)):
        event = INNER[wrap](event)
    return event, [key for _, key in objects]


def _encoded(key: str) -> str:
    return "".join(
        chr(octet) if chr(octet).isalnum() and octet < 128 else f"%{octet:02X}"
        for octet in key.encode()
    ).replace("%20", "+")


@given(st.lists(wrapped_events(), min_size=1, max_size=4))
def test_random_wrapping_loses_nothing(messages: list[tuple[Any, list[str]]]) -> None:
    """
    Of each message come exactly the objects that were put in, in their order.
    """
    request = parse_event(sqs_event(*(event for event, _ in messages)))
    for number, (_, keys) in enumerate(messages):
        found = [task.event for task in request.tasks if task.message_id == f"message-{number}"]
        assert [one.key for one in found if isinstance(one, ObjectEvent)] == keys
        assert len(found) == len(keys)


JUNK = st.sampled_from([None, 7, "", "x", True, [], {}, [None], {"Event": "s4:TestEvent"}])
EXTRA = st.sampled_from(
    [("Event", "s3:TestEvent"), ("Records", []), ("detail-type", "x"), ("requestPayload", {})]
)


def _places(value: Any, through: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The paths of all that is in a JSON value. List elements count as a whole only."""
    if isinstance(value, dict):
        for name, member in value.items():
            yield (*through, name)
            yield from _places(member, (*through, name))
    elif isinstance(value, list):
        for number, member in enumerate(value):
            yield from _places(member, (*through, number))


@given(wrapped_events(), st.data())
def test_random_damage_is_never_acknowledged(
    message: tuple[Any, list[str]], data: st.DataObject
) -> None:
    """
    However a message is damaged: all objects that were in it are found, or it is an error.
    """
    event, keys = message
    damaged = sqs_event(event)
    (record,) = damaged["Records"]
    body = json.loads(record["body"]) if not isinstance(event, str) else event
    if isinstance(body, str):
        end = data.draw(st.integers(0, max(len(body) - 1, 0)))
        record["body"] = body[:end] + data.draw(st.sampled_from(["", "\0", "}", "!"]))
    else:
        body = copy.deepcopy(body)
        *path, last = data.draw(st.sampled_from(list(_places(body))))
        holder = body
        for step in path:
            holder = holder[step]
        how = data.draw(st.sampled_from(["remove", "replace", "add"]))
        # The texts that name the object may not change: another object would be named.
        if how == "remove" or last in ("name", "key", "eventName", "detail-type"):
            del holder[last]
        elif how == "add":
            name, value = data.draw(EXTRA)
            holder.setdefault(name, value)
        else:
            holder[last] = data.draw(JUNK)
        record["body"] = json.dumps(body)
    request = parse_event(damaged)
    found = [task.event for task in request.tasks]
    assert all(task.message_id == "message-0" for task in request.tasks)
    if not any(isinstance(one, MalformedEventError) for one in found):
        assert [one.key for one in found if isinstance(one, ObjectEvent)] == keys


# ---- S3 batch operations -----------------------------------------------------


@pytest.mark.parametrize("version", ["1.0", "2.0"])
def test_batch_operations_name_their_objects(version: str) -> None:
    """
    Keys are URL-encoded; the bucket is an ARN in schema 1.0 and a name in 2.0.
    """
    request = parse_event(batch_event(version, *OBJECTS))
    assert request.batch == BatchInvocation(version, "YXNkbGZqYWRmaiBhc2Rm")
    assert not request.from_queue
    assert request.tasks == tuple(
        Task(ObjectEvent("Requested", *one, rebuild=True), batch_task_id=f"task-{number}")
        for number, one in enumerate(OBJECTS)
    )


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"s3Key": None}, "s3Key is None"),
        ({"s3Key": "%ff"}, "not UTF-8"),
        ({"s3BucketArn": "bucket"}, "expected arn:aws:s3::: and a bucket"),
        ({"s3BucketArn": "arn:aws:s3:::b/k"}, "expected arn:aws:s3::: and a bucket"),
        ({"s3BucketArn": "arn:aws:s3:eu-central-1:1:accesspoint/a"}, "expected arn:aws:s3:::"),
        ({"s3BucketArn": None}, "s3BucketArn is None"),
        ({"s3Bucket": 7}, "s3Bucket is 7"),
    ],
)
def test_a_task_that_cannot_be_read_keeps_its_id(changes: dict[str, Any], expected: str) -> None:
    """
    So that its result can say so.
    """
    event = batch_event("1.0", ("b", "k"))
    event["tasks"][0].update(changes)
    (task,) = parse_event(event).tasks
    assert task.batch_task_id == "task-0"
    assert expected in str(task.event)
    assert isinstance(task.event, MalformedEventError)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"invocationSchemaVersion": "3.0"}, "expected '1.0' or '2.0'"),
        ({"invocationSchemaVersion": None}, "invocationSchemaVersion is None"),
        ({"invocationId": None}, "invocationId is None"),
        ({"tasks": []}, r"tasks is \[\]"),
        ({"tasks": None}, "tasks is None"),
    ],
)
def test_a_batch_operation_that_cannot_be_answered_fails(
    changes: dict[str, Any], expected: str
) -> None:
    """
    Without version, id and tasks there is no answer in its form.
    """
    with pytest.raises(MalformedEventError, match=expected):
        parse_event({**batch_event("1.0", ("b", "k")), **changes})


def test_a_task_without_an_id() -> None:
    """
    It has no result, which the answer says to be a permanent failure.
    """
    event = batch_event("2.0", ("b", "k"), ("b", "l"))
    del event["tasks"][0]["taskId"]
    event["tasks"].append(None)
    first, second, third = parse_event(event).tasks
    assert (first.batch_task_id, second.batch_task_id, third.batch_task_id) == (
        None,
        "task-1",
        None,
    )
    assert isinstance(first.event, MalformedEventError)
    assert isinstance(third.event, MalformedEventError)


@pytest.mark.parametrize("encode", [str, lambda text: base64.b64encode(text.encode()).decode()])
def test_a_member_that_comes_twice_loses_no_object(encode: Callable[[str], str]) -> None:
    """
    Only one of the two would be read, so that the message is not acknowledged.
    """
    records = [json.dumps(s3_event(("b", key))["Records"]) for key in ("crl/1", "crl/2")]
    body = encode('{{"Records": {}, "Records": {}}}'.format(*records))
    event = sqs_event(s3_event(("b", "crl/3")))
    event["Records"].append({**event["Records"][0], "messageId": "twice", "body": body})
    good, bad = parse_event(event).tasks
    assert isinstance(good.event, ObjectEvent)
    assert bad.message_id == "twice"
    assert isinstance(bad.event, MalformedEventError)


@pytest.mark.parametrize(
    ("name", "is_created"),
    [
        ("ObjectCreated:Put", True),
        ("s3:ObjectCreated:Put", True),
        ("s3:ObjectCreated:CompleteMultipartUpload", True),
        ("ObjectCreated", True),
        ("object created", True),
        ("s3:ObjectRemoved:Delete", False),
        ("Object Deleted", False),
    ],
)
def test_a_creation_is_told_however_it_is_written(name: str, is_created: bool) -> None:
    """
    One that was not would be acknowledged, and its CRL lost.
    """
    assert ObjectEvent(name, "b", "k").created is is_created
