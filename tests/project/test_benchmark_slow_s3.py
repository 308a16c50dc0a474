"""The proxy that stands for a slow S3 in the benchmarks: its answers, and what it counts."""

from __future__ import annotations

import http.client
import os
from collections.abc import Iterator
from contextlib import closing
from functools import cache
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import boto3
import pytest
from botocore.exceptions import ClientError

from crlcheck.demo.process import ModuleProcess
from crlcheck.demo.s3_server import aws_environment, clean_environment, environment
from support.benchmark_package import slow_s3

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

BODY = bytes(range(256)) * 1000
KEYS = {"store/large": BODY, "store/small": b"few", "store/empty": b""}


@pytest.fixture(scope="module")
def upstream() -> Iterator[str]:
    """The endpoint of a moto that has the objects."""
    base = clean_environment(os.environ)
    with ModuleProcess("crlcheck.demo.s3_server", environ=base) as server:
        client = client_of(server.greeting)
        client.create_bucket(
            Bucket="bucket", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"}
        )
        for key, body in KEYS.items():
            client.put_object(Bucket="bucket", Key=key, Body=body)
        yield str(server.greeting)


@pytest.fixture(scope="module")
def started(upstream: str) -> Iterator[slow_s3.SlowS3]:
    """A proxy without latency that has them too."""
    with slow_s3.SlowS3(latency=0, rate=1e12) as proxy:
        proxy.keep(client_of(upstream), "bucket", "store/")
        yield proxy


@pytest.fixture
def proxy(started: slow_s3.SlowS3) -> slow_s3.SlowS3:
    """The proxy, with nothing counted."""
    started.take_traffic()
    return started


@cache
def client_of(endpoint: str) -> S3Client:
    """Return a client of S3 at *endpoint*."""
    with environment({**clean_environment(os.environ), **aws_environment(endpoint)}):
        return boto3.client("s3")


def ask(endpoint: str, key: str, **asked: Any) -> tuple[int, str | None, str | None, bytes]:
    """Return status, ETag, Content-Range and body of a GET; of an error only the status."""
    try:
        found = client_of(endpoint).get_object(Bucket="bucket", Key=key, **asked)
    except ClientError as error:
        return error.response["ResponseMetadata"]["HTTPStatusCode"], None, None, b""
    status = found["ResponseMetadata"]["HTTPStatusCode"]
    return status, found["ETag"], found.get("ContentRange"), found["Body"].read()


def connect(endpoint: str) -> http.client.HTTPConnection:
    """Return a connection that is opened by its first request."""
    return http.client.HTTPConnection(urlsplit(endpoint).netloc)


def get(connection: http.client.HTTPConnection, key: str, **headers: str) -> bytes:
    """Return the body that a GET is answered with."""
    connection.request("GET", f"/bucket/store/{key}", headers=headers)
    return connection.getresponse().read()


@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"Range": "bytes=0-0"},
        {"Range": "bytes=0-8388607"},
        {"Range": "bytes=65536-131071"},
        {"Range": "bytes=255999-"},
        {"Range": "bytes=-100"},
        {"Range": "bytes=-1000000"},
        {"Range": "bytes=256000-256001"},
        {"IfNoneMatch": "ETAG"},
        {"IfNoneMatch": '"other"'},
        {"IfMatch": "ETAG", "Range": "bytes=5-9"},
        {"IfMatch": '"other"', "Range": "bytes=5-9"},
    ],
    ids=str,
)
def test_the_proxy_answers_as_the_server_behind(
    upstream: str, proxy: slow_s3.SlowS3, asked: dict[str, str]
) -> None:
    """
    Status, ETag, range and body are those of the server behind.
    """
    _, etag, _, _ = ask(upstream, "store/large")
    assert etag is not None
    given = {name: value.replace("ETAG", etag) for name, value in asked.items()}
    assert ask(proxy.endpoint, "store/large", **given) == ask(upstream, "store/large", **given)


@pytest.mark.parametrize("key", ["store/small", "store/empty", "store/no-such", "elsewhere"])
def test_other_objects_are_answered_too(upstream: str, proxy: slow_s3.SlowS3, key: str) -> None:
    """
    An empty object is none of the missing ones.
    """
    assert ask(proxy.endpoint, key) == ask(upstream, key)


def test_round_trips_are_those_that_follow_one_another(proxy: slow_s3.SlowS3) -> None:
    """
    Opening a connection is one, and so is each request that comes after an answer; what is
    sent are bodies.
    """
    with closing(connect(proxy.endpoint)) as first:
        get(first, "small")
    assert proxy.take_traffic() == slow_s3.Traffic(1, 1, 2, 3)
    with closing(connect(proxy.endpoint)) as first, closing(connect(proxy.endpoint)) as second:
        get(first, "large", Range="bytes=0-99")
        get(first, "large", Range="bytes=100-199")
        # Opened after three round trips on the other.
        get(second, "small")
    assert proxy.take_traffic() == slow_s3.Traffic(2, 3, 5, 203)
    assert proxy.take_traffic() == slow_s3.Traffic()


def test_requests_together_are_one_round_trip(upstream: str) -> None:
    """
    Two requests, each on a connection of its own, that come before either is answered.
    """
    with (
        slow_s3.SlowS3(latency=0.3) as proxy,
        closing(connect(proxy.endpoint)) as first,
        closing(connect(proxy.endpoint)) as second,
    ):
        proxy.keep(client_of(upstream), "bucket", "store/")
        for each in (first, second):
            each.request("GET", "/bucket/store/small")
        for each in (first, second):
            assert each.getresponse().read() == b"few"
        assert proxy.take_traffic() == slow_s3.Traffic(2, 2, 2, 6)


def test_a_process_that_is_gone_does_not_count_in_the_next_round(proxy: slow_s3.SlowS3) -> None:
    """
    What an older connection still does is counted where it began.
    """
    with closing(connect(proxy.endpoint)) as old:
        get(old, "small")
        proxy.take_traffic()
        get(old, "small")
    assert proxy.take_traffic() == slow_s3.Traffic()
