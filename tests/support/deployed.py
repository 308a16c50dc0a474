"""
What the SAM template deploys, on this machine: S3, EventBridge and SQS are moto's, and the real
bundles run with the template's settings.

moto matches rules and notifications itself. A queue stands for a function that it would have
to invoke, and what comes into the queue is given to the function.
"""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from crlcheck.demo.runtime_api import LambdaFunction
from support.bundles import OWN_PYTHON, RUNTIME, link_packages, unpack
from support.cloudformation import REGION, Stack
from support.events import authorizer_event, sqs_event
from support.fault_proxy import FaultProxy, fault_proxy
from support.moto_server import environment_variables

OWN = {"x86_64": "x86_64", "aarch64": "arm64"}[platform.machine()]
BUNDLES = {"AuthorizerFunction": "authorizer", "PreprocessorFunction": "preprocessor"}
ROLES = {"AuthorizerFunction": "AuthorizerRole", "PreprocessorFunction": "PreprocessorRole"}
BARE = (str(getattr(sys, "_base_executable", sys.executable)), "-P", "-S")
"""An interpreter that finds what PYTHONPATH names, and no other packages."""


def unpack_bundles(make_directory: Callable[[str], Path]) -> dict[str, str]:
    """Unpack the bundles; return PYTHONPATH for each function, with what the runtime brings."""
    runtime = link_packages(make_directory("runtime"), *RUNTIME)
    return {
        function: os.pathsep.join(
            [str(unpack(bundle, OWN, OWN_PYTHON, make_directory(bundle))), str(runtime)]
        )
        for function, bundle in BUNDLES.items()
    }


class Deployed:
    """A stack in moto, and its functions."""

    def __init__(
        self, stack: Stack, endpoint: str, paths: dict[str, str], open_until: ExitStack
    ) -> None:
        self._stack, self._paths, self._until = stack, paths, open_until
        self._endpoint = endpoint
        self._proxies: dict[str, FaultProxy] = {}
        self._functions: dict[str, LambdaFunction] = {}
        self.bucket: str = stack["Bucket"]["BucketName"]
        self._s3, self._sqs, self._events = (
            self._client(service) for service in ("s3", "sqs", "events")
        )
        self._deploy()

    def _client(self, service: str) -> Any:
        import boto3

        make: Any = boto3.client  # its stubs want the service as a literal
        return make(
            service,
            endpoint_url=self._endpoint,
            aws_access_key_id="test",
            aws_secret_access_key="test",
            region_name=REGION,
        )

    def _deploy(self) -> None:
        """Make the bucket, and the rule or the notification, with a queue as their target."""
        name = f"{self.bucket}-events"
        self._queue = self._sqs.create_queue(QueueName=name)["QueueUrl"]
        attributes = self._sqs.get_queue_attributes(
            QueueUrl=self._queue, AttributeNames=["QueueArn"]
        )
        arn = attributes["Attributes"]["QueueArn"]
        self._s3.create_bucket(
            Bucket=self.bucket, CreateBucketConfiguration={"LocationConstraint": REGION}
        )
        self._s3.put_bucket_versioning(
            Bucket=self.bucket,
            VersioningConfiguration=self._stack["Bucket"]["VersioningConfiguration"],
        )
        configured = self._stack["Bucket"]["NotificationConfiguration"]
        assert configured["EventBridgeConfiguration"] == {"EventBridgeEnabled": True}
        self._s3.put_bucket_notification_configuration(
            Bucket=self.bucket,
            NotificationConfiguration={
                "EventBridgeConfiguration": {},
                "QueueConfigurations": [
                    {
                        "QueueArn": arn,
                        "Events": [one["Event"]],
                        "Filter": {"Key": {"FilterRules": one["Filter"]["S3Key"]["Rules"]}},
                    }
                    for one in configured.get("LambdaConfigurations", ())
                ],
            },
        )
        for rule in self._stack.of_type("AWS::Events::Rule").values():
            if "EventPattern" in rule:
                pattern = json.dumps(rule["EventPattern"])
                self._events.put_rule(Name=rule["Name"], EventPattern=pattern)
                self._events.put_targets(Rule=rule["Name"], Targets=[{"Id": "queue", "Arn": arn}])
        self.received()  # S3 tries a notification when it is configured

    def function(self, name: str) -> LambdaFunction:
        """The running function, with its own settings and a proxy that notes its requests."""
        if name not in self._functions:
            proxy = self._proxies[name] = self._until.enter_context(fault_proxy(self._endpoint))
            properties = self._stack[name]
            environ = {
                **environment_variables(proxy.endpoint),
                **{k: str(v) for k, v in properties["Environment"]["Variables"].items()},
                "AWS_DEFAULT_REGION": REGION,
                "AWS_REGION": REGION,
                "AWS_LAMBDA_FUNCTION_NAME": properties["FunctionName"],
                "PYTHONPATH": self._paths[name],
            }
            self._functions[name] = self._until.enter_context(
                LambdaFunction(properties["Handler"], environ, interpreter=BARE)
            )
        return self._functions[name]

    def put(self, key: str, body: bytes) -> None:
        """Upload an object."""
        self._s3.put_object(Bucket=self.bucket, Key=key, Body=body)

    def get(self, key: str, version: str) -> bytes:
        """Read a version of an object."""
        stored = self._s3.get_object(Bucket=self.bucket, Key=key, VersionId=version)
        body: bytes = stored["Body"].read()
        return body

    def received(self) -> list[str]:
        """Take what came into the queue."""
        bodies = []
        while messages := self._sqs.receive_message(
            QueueUrl=self._queue, MaxNumberOfMessages=10
        ).get("Messages"):
            for message in messages:
                bodies.append(message["Body"])
                self._sqs.delete_message(
                    QueueUrl=self._queue, ReceiptHandle=message["ReceiptHandle"]
                )
        return bodies

    def deliver(self) -> list[Any]:
        """Give the preprocessor all events that came, as the template has them sent."""
        bodies, function = self.received(), self.function("PreprocessorFunction")
        mappings = self._stack.of_type("AWS::Lambda::EventSourceMapping").values()
        if not bodies:
            return []
        if mappings:
            (mapping,) = mappings
            assert mapping["EventSourceArn"].endswith(f":{self._stack['EventQueue']['QueueName']}")
            answer = function.invoke(sqs_event(*bodies))
            assert not answer.failed, function.log
            return [answer.payload]
        answers = [function.invoke(json.loads(body)) for body in bodies]
        assert not any(answer.failed for answer in answers), function.log
        return [answer.payload for answer in answers]

    def run_schedules(self) -> None:
        """Send the events of all schedules."""
        function = self.function("PreprocessorFunction")
        for rule in self._stack.of_type("AWS::Events::Rule").values():
            if "ScheduleExpression" in rule:
                answer = function.invoke(json.loads(rule["Targets"][0]["Input"]))
                assert not answer.failed, function.log

    def update(self, stack: Stack) -> None:
        """Deploy again with other parameters, which start the functions anew."""
        self._stack, self._functions = stack, {}

    def decide(self, certificate_pem: str | None) -> Any:
        """What the authorizer answers to a request to the API with a client's certificate."""
        kinds = ("AWS::ApiGateway::Authorizer", "AWS::ApiGatewayV2::Authorizer")
        (authorizer,) = self._stack.of_type(*kinds).values()
        version = authorizer.get("AuthorizerPayloadFormatVersion")
        shape = {None: "rest", "1.0": "http_1_0", "2.0": "http_2_0"}[version]
        function = self.function("AuthorizerFunction")
        answer = function.invoke(authorizer_event(shape, certificate_pem))
        assert not answer.failed, function.log
        # A policy is what the API is told to expect.
        assert ("policyDocument" in answer.payload) is not authorizer.get("EnableSimpleResponses")
        return answer.payload

    def actions_of(self, name: str) -> set[tuple[str, str | None]]:
        """The rights that a function's requests needed, each with an example of its key."""
        found = {}
        for method, target in self._proxies[name].requests:
            action, key = _right(self.bucket, method, target)
            prefix = None if key is None else key.split("/")[0]
            found[action, prefix] = key
        return {(action, key) for (action, _), key in found.items()}


def _right(bucket: str, method: str, target: str) -> tuple[str, str | None]:
    """The action of IAM that a request to S3 needs, and its key."""
    parts = urlsplit(target)
    path, query = unquote(parts.path), parse_qs(parts.query)
    assert path.startswith(f"/{bucket}"), target
    key = path.removeprefix(f"/{bucket}").lstrip("/") or None
    if key is None:
        assert (method, query.get("list-type")) == ("GET", ["2"]), target
        return "s3:ListBucket", None
    actions = {
        "GET": "s3:GetObject",
        "HEAD": "s3:GetObject",
        "PUT": "s3:PutObject",
        "DELETE": "s3:DeleteObject",
    }
    return actions[method], key


def answer_of_back_end(stack: Stack, authorizer: dict[str, Any], kind: str) -> dict[str, Any]:
    """What the demo function answers to a request that was let through."""
    code: dict[str, Any] = {}
    exec(stack["DemoFunction"]["Code"]["ZipFile"], code)
    context = {"lambda": authorizer} if kind == "http" else authorizer
    answer = code["handler"]({"requestContext": {"authorizer": context}}, None)
    assert answer["statusCode"] == 200
    found: dict[str, Any] = json.loads(answer["body"])
    return found
