"""The AWS events in ``tests/events``, with a test's own values put in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

EVENTS = Path(__file__).parents[1] / "events"


def authorizer_event(shape: str, certificate_pem: str | None) -> dict[str, Any]:
    """
    Return an authorizer event: *shape* is ``rest``, ``http_1_0`` or ``http_2_0``.

    Without a certificate it is what API Gateway sends where mutual TLS is off.
    """
    event: dict[str, Any] = json.loads((EVENTS / f"authorizer_{shape}.json").read_text())
    context = event["requestContext"]
    holder = context["authentication" if shape == "http_2_0" else "identity"]
    if certificate_pem is None:
        del holder["clientCert"]
    else:
        holder["clientCert"]["clientCertPem"] = certificate_pem
    return event


def header_event(shape: str, header: str, pem: str | None) -> dict[str, Any]:
    """
    Return an event whose certificate is in *header*: *shape* is ``alb``,
    ``alb_passthrough`` or ``cloudfront``. Without a certificate the header is missing.

    It is encoded as AWS says that it does, which leaves ``+``, ``=`` and ``/`` alone.
    """
    event: dict[str, Any] = json.loads((EVENTS / f"authorizer_{shape}.json").read_text())
    headers = event.get("headers") or event["multiValueHeaders"]
    if pem is None:
        del headers[header]
    else:
        value = quote(pem, safe="+=/")
        headers[header] = [value] if isinstance(headers[header], list) else value
    return event


def s3_event(*objects: tuple[str, str], shape: str = "put") -> dict[str, Any]:
    """
    Return one notification with a record for each (bucket, key) of *objects*.

    Keys are given as S3 stores them and form-encoded as S3 sends them.
    """
    text = (EVENTS / f"s3_{shape}.json").read_text()
    event: dict[str, Any] = {"Records": []}
    for bucket, key in objects:
        encoded = quote_plus(key, safe="/")
        filled = json.loads(text.replace("BUCKET", bucket).replace("KEY", encoded))
        event["Records"] += filled["Records"]
    return event


def eventbridge_event(bucket: str, key: str) -> dict[str, Any]:
    """Return EventBridge's "Object Created", with the key as S3 stores it."""
    event: dict[str, Any] = json.loads((EVENTS / "eventbridge_object_created.json").read_text())
    event["detail"]["bucket"]["name"] = bucket
    event["detail"]["object"]["key"] = key
    return event


def sqs_event(*bodies: object) -> dict[str, Any]:
    """Return a batch with a message for each of *bodies*, ``message-0`` and so on; str as it is."""
    (record,) = json.loads((EVENTS / "sqs_batch.json").read_text())["Records"]
    return {
        "Records": [
            {
                **record,
                "messageId": f"message-{number}",
                "body": body if isinstance(body, str) else json.dumps(body),
            }
            for number, body in enumerate(bodies)
        ]
    }


def sqs_message(body: object, **members: object) -> dict[str, Any]:
    """Return one message as Lambda sends it, with *members* changed."""
    (record,) = sqs_event(body)["Records"]
    return {**record, **members}


def received_message(body: object) -> dict[str, Any]:
    """Return one message as SQS's ReceiveMessage gives it to whoever moves it."""
    text = body if isinstance(body, str) else json.dumps(body)
    return {"MessageId": "received-0", "ReceiptHandle": "AQEB", "MD5OfBody": "0", "Body": text}


def sns_event(message: object) -> dict[str, Any]:
    """Return what a topic invokes a function with; str as it is."""
    event: dict[str, Any] = json.loads((EVENTS / "sns_notification.json").read_text())
    text = message if isinstance(message, str) else json.dumps(message)
    event["Records"][0]["Sns"]["Message"] = text
    return event


def sns_notification(message: object) -> dict[str, Any]:
    """Return what a topic sends to a queue without raw message delivery."""
    notification: dict[str, Any] = sns_event(message)["Records"][0]["Sns"]
    # The two spell these members differently.
    notification["SigningCertURL"] = notification.pop("SigningCertUrl")
    notification["UnsubscribeURL"] = notification.pop("UnsubscribeUrl")
    return notification


def destination_record(payload: object) -> dict[str, Any]:
    """Return what Lambda sends to the on-failure destination of a function."""
    record: dict[str, Any] = json.loads((EVENTS / "lambda_destination.json").read_text())
    record["requestPayload"] = payload
    return record


def destination_on_a_bus(payload: object) -> dict[str, Any]:
    """Return what EventBridge makes of it where a bus is the destination."""
    return {
        **eventbridge_event("b", "k"),
        "detail-type": "Lambda Function Invocation Result - Failure",
        "source": "lambda",
        "detail": destination_record(payload),
    }


def batch_event(version: str, *objects: tuple[str, str]) -> dict[str, Any]:
    """
    Return an invocation by an S3 batch operation with a task for each (bucket, key).

    Its tasks are ``task-0`` and so on. S3 sends one in each invocation, but the form
    allows several.
    """
    name = f"s3_batch_{version.replace('.', '_')}.json"
    event: dict[str, Any] = json.loads((EVENTS / name).read_text())
    (task,) = event["tasks"]
    event["tasks"] = [
        {
            name: value.replace("BUCKET", bucket).replace("KEY", quote_plus(key, safe="/"))
            for name, value in {**task, "taskId": f"task-{number}"}.items()
        }
        for number, (bucket, key) in enumerate(objects)
    ]
    return event
