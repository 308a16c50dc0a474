"""Fixtures that several test modules use."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Generator, Iterator
from typing import Any

import pytest
from hypothesis import settings

from support.fault_proxy import FaultProxy, fault_proxy
from support.moto_server import S3Environment, environment_variables, make_client, moto_server

# A busy machine is slow, and no test is about that: benchmarks/ is.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol() -> Generator[None, object, object]:
    """Undo what a test sets as the library's log level, or later tests would miss messages."""
    logger = logging.getLogger("crlcheck")
    level = logger.level
    result = yield
    logger.setLevel(level)
    return result


@pytest.fixture(scope="session")
def s3_server() -> Iterator[tuple[str, Any]]:
    """Moto's endpoint and a boto3 S3 client for it."""
    with moto_server() as endpoint:
        yield endpoint, make_client(endpoint)


@pytest.fixture
def s3(s3_server: tuple[str, Any], monkeypatch: pytest.MonkeyPatch) -> S3Environment:
    """A fresh bucket, and the environment set so that every AWS client finds it."""
    endpoint, client = s3_server
    bucket = f"test-{secrets.token_hex(8)}"
    client.create_bucket(Bucket=bucket)
    variables = environment_variables(endpoint)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return S3Environment(endpoint, client, bucket, variables)


@pytest.fixture(scope="module")
def proxy(s3_server: tuple[str, Any]) -> Iterator[FaultProxy]:
    """A proxy before moto, to give faults to."""
    with fault_proxy(s3_server[0]) as started:
        yield started
