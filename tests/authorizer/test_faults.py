"""
The authorizer while its store fails: it answers rightly or denies, in time, and
comes back by itself.
"""

from __future__ import annotations

import itertools
import json
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, tzinfo
from typing import Any

import pytest

import crlcheck
from crlcheck.checker import checker, polling
from crlcheck.stores import open_store
from lambda_authorizer import authorizer
from support.authorizer import PKI, is_allowed, load, publish
from support.events import authorizer_event
from support.fault_proxy import (
    BROKEN_BODY,
    CONNECTION_RESET,
    LOST_ANSWER,
    SLOW_BODY,
    Fault,
    FaultProxy,
)
from support.moto_server import S3Environment

WHOLE = Fault(part=1)
GOOD = authorizer_event("http_2_0", PKI.client("good"))
REVOKED = authorizer_event("http_2_0", PKI.client("revoked"))
SERIALS = [client.certificate.serial_number for client in (PKI.good, PKI.revoked)]


@pytest.fixture
def store(proxy: FaultProxy, s3: S3Environment, monkeypatch: pytest.MonkeyPatch) -> str:
    """A store with a CRL; the function reaches it through the proxy, which has no faults yet."""
    url = f"s3://{s3.bucket}/published"
    publish(url, PKI.crl(1))
    proxy.faults.clear()
    proxy.always, proxy.always_for = WHOLE, ""
    monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.endpoint)
    monkeypatch.setattr(polling, "OBJECT_REFUSED", polling.BackOff(0.0, 0.0))
    return url


def publish_next(s3: S3Environment, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Publish a CRL that lists the good client too, past the proxy."""
    with monkeypatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", s3.endpoint)
        publish(url, PKI.crl(2, revoked=SERIALS, age=timedelta(0)))


def decide(function: Any, event: Any) -> tuple[bool, Any]:
    """Whether a request passes, and the context, which must come in time."""
    started = time.monotonic()
    answer = function.handler(event, None)
    assert time.monotonic() - started < 5, "an HTTP API would have given up soon"
    return is_allowed(answer), answer["context"]


def _flip(body: bytes) -> bytes:
    middle = len(body) // 2
    return body[:middle] + bytes([body[middle] ^ 1]) + body[middle + 1 :]


FAULTS = {
    "500": Fault(500, "InternalError"),
    "503": Fault(503, "SlowDown"),
    "403": Fault(403, "AccessDenied"),
    "no answer": LOST_ANSWER,
    "reset": CONNECTION_RESET,
    "truncated": BROKEN_BODY,
    "slow": SLOW_BODY,
    "missing": Fault(404, "NoSuchKey"),
}
IMAGE_FAULTS = {**FAULTS, "wrong digest": Fault(part=1, change=_flip)}


@pytest.mark.parametrize("name", FAULTS)
def test_a_catalog_that_cannot_be_read_leaves_the_last_set(
    name: str,
    proxy: FaultProxy,
    store: str,
    s3: S3Environment,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """
    Both clients are answered as before, with a warning, and by the newer CRL as soon
    as the fault is gone.
    """
    function = load(monkeypatch, store, load_seconds="1")
    assert decide(function, GOOD)[0]
    publish_next(s3, store, monkeypatch)
    proxy.always, proxy.always_for = FAULTS[name], "catalog.json"
    assert decide(function, GOOD)[0]
    assert decide(function, REVOKED)[1]["verdict"] == "revoked"
    assert "generation 1" in caplog.text
    proxy.always = WHOLE
    assert decide(function, GOOD)[1]["crl_number"] == "2"


@pytest.mark.parametrize("name", IMAGE_FAULTS)
def test_an_image_that_cannot_be_had_leaves_the_last_set(
    name: str,
    proxy: FaultProxy,
    store: str,
    s3: S3Environment,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    A newer set of which an image is broken, missing or slow never replaces the one
    that works; without any, the request is denied in time.
    """
    function = load(monkeypatch, store, load_seconds="1")
    assert decide(function, GOOD)[0]
    publish_next(s3, store, monkeypatch)
    proxy.always, proxy.always_for = IMAGE_FAULTS[name], "images/"
    allowed, context = decide(function, GOOD)
    assert (allowed, context["crl_number"]) == (True, "1")
    allowed, context = decide(load(monkeypatch, store, load_seconds="1"), GOOD)
    assert (allowed, context["cause"]) == (False, "store_unavailable")
    proxy.always = WHOLE
    allowed, context = decide(function, GOOD)
    assert (allowed, context["crl_number"]) == (False, "2")


def test_a_catalog_that_goes_back_is_refused(
    store: str, s3: S3Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    An older catalog that is restored does not un-revoke.
    """
    key = {"Bucket": s3.bucket, "Key": "published/catalog.json"}
    old = s3.client.get_object(**key)["Body"].read()
    publish_next(s3, store, monkeypatch)
    function = load(monkeypatch, store)
    assert not decide(function, GOOD)[0]
    s3.client.put_object(**key, Body=old)
    for _ in range(3):
        allowed, context = decide(function, GOOD)
        assert (allowed, context["crl_number"]) == (False, "2")


def test_a_restored_store_is_counted_and_its_denials_hold(
    store: str,
    s3: S3Environment,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """
    What an operator denies after a restore reaches the function, which says by a
    metric that it refuses the rest.
    """
    key = {"Bucket": s3.bucket, "Key": "published/catalog.json"}
    old = s3.client.get_object(**key)["Body"].read()
    publish_next(s3, store, monkeypatch)
    publish(store, PKI.crl(3, revoked=[SERIALS[1]], age=timedelta(0)))
    function = load(monkeypatch, store, log_level="debug")
    assert decide(function, GOOD)[0]
    s3.client.put_object(**key, Body=old)
    objects = open_store(store)
    for record in [*objects.names("history/")]:
        objects.delete(record)
    name = PKI.authority.certificate.subject.public_bytes()
    crlcheck.deny_certificate(store, name, SERIALS[0])
    capsys.readouterr()
    for _ in range(2):
        allowed, context = decide(function, GOOD)
        assert (allowed, context["verdict"]) == (False, "revoked")
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["refused_catalogs"] for line in lines if "_aws" in line] == [1, 1]
    crlcheck.advance_generation(store, above=3)
    assert not decide(function, GOOD)[0]
    assert function.AUTHORIZER.checker.status().generation == 4


class Shifted(datetime):
    """A clock that was set to another time."""

    by = timedelta(0)

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> Any:
        """The true time and what it was shifted by."""
        return datetime.now(tz) + cls.by


@pytest.fixture
def shift(monkeypatch: pytest.MonkeyPatch) -> Callable[[timedelta], None]:
    """Set the clock of the functions, as they, their checkers and their signatures read it."""
    true_time = time.time

    def shift_by(by: timedelta) -> None:
        monkeypatch.setattr(Shifted, "by", by)
        for module in (authorizer, checker):
            monkeypatch.setattr(module, "datetime", Shifted)
        monkeypatch.setattr(time, "time", lambda: true_time() + by.total_seconds())

    return shift_by


def test_not_modified_for_ever_ends(
    shift: Callable[[timedelta], None],
    proxy: FaultProxy,
    store: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    A cache that says so whatever it is asked is believed for a bounded time.
    """
    function = load(monkeypatch, store, max_catalog_age="1h")
    assert decide(function, GOOD)[0]
    proxy.always, proxy.always_for = Fault(304), "catalog.json"
    for minutes in (0, 20, 40, 59):
        shift(timedelta(minutes=minutes))
        assert decide(function, GOOD)[0]
    shift(timedelta(minutes=61))
    allowed, context = decide(function, GOOD)
    assert (allowed, context["cause"]) == (False, "store_unavailable")
    proxy.always = WHOLE
    function.AUTHORIZER.checker.refresh()
    assert decide(function, GOOD)[0]


def test_next_update_passes_between_two_invocations(
    shift: Callable[[timedelta], None], store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Time is looked at in every invocation, not when the CRL was loaded.
    """
    function = load(monkeypatch, store)
    publish(store, PKI.crl(2, age=timedelta(0), lifetime=timedelta(hours=2)))
    assert decide(function, GOOD)[0]
    shift(timedelta(hours=2, seconds=1))
    allowed, context = decide(function, GOOD)
    assert (allowed, context["cause"], context["crl_number"]) == (False, "stale", "2")
    assert decide(function, REVOKED)[1]["verdict"] == "revoked"


def test_a_clock_that_jumps_back_hides_nothing_newer(
    shift: Callable[[timedelta], None],
    store: str,
    s3: S3Environment,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    The store is asked although nothing is due by that clock, and a CRL that it calls
    one of the future lets nobody pass and revokes all the same.
    """
    function = load(monkeypatch, store, refresh_seconds="3600")
    assert decide(function, GOOD)[0]
    publish_next(s3, store, monkeypatch)
    assert decide(function, GOOD)[0], "not due yet"
    shift(-timedelta(minutes=1))
    allowed, context = decide(function, GOOD)
    assert (allowed, context["verdict"], context["crl_number"]) == (False, "revoked", "2")
    shift(-timedelta(days=1))
    publish(store, PKI.crl(3, age=timedelta(0)))
    allowed, context = decide(function, GOOD)
    assert (allowed, context["cause"]) == (False, "not_yet_valid")
    assert decide(function, REVOKED)[1]["verdict"] == "revoked"


def test_a_clock_that_jumps_back_makes_no_catalog_younger(
    shift: Callable[[timedelta], None],
    proxy: FaultProxy,
    store: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    While the store is down, the time that passes counts by the monotonic clock.
    """
    function = load(monkeypatch, store, max_catalog_age="1h")
    assert decide(function, GOOD)[0]
    proxy.always, proxy.always_for = Fault(403, "AccessDenied"), "catalog.json"
    shift(-timedelta(minutes=30))
    assert decide(function, GOOD)[0]
    true_monotonic = time.monotonic
    monkeypatch.setattr(time, "monotonic", lambda: true_monotonic() + 3601)
    allowed, context = decide(function, GOOD)
    assert (allowed, context["cause"]) == (False, "store_unavailable")


def test_under_load_no_fault_makes_a_wrong_answer(
    proxy: FaultProxy, store: str, s3: S3Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    While threads ask, faults come and go and newer CRLs are published: each answer is
    right for the CRL that it names, and no thread sees an older one after a newer.
    """
    function = load(monkeypatch, store, load_seconds="1", metrics="false")
    assert decide(function, GOOD)[0]
    done = threading.Event()

    def ask() -> int:
        newest = 0
        while not done.is_set():
            allowed, context = decide(function, GOOD)
            number = int(context["crl_number"])
            assert number >= newest
            # The good client is listed by the CRLs of even numbers.
            assert allowed is bool(number % 2)
            newest = number
        return newest

    short: list[Fault] = [Fault(500, "InternalError"), CONNECTION_RESET, LOST_ANSWER]
    short += [BROKEN_BODY, Fault(part=1, change=_flip)]
    # Publishing goes past the proxy.
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3.endpoint)
    with ThreadPoolExecutor(2) as threads:
        askers = [threads.submit(ask) for _ in range(2)]
        for number, fault in zip(range(2, 8), itertools.cycle(short), strict=False):
            proxy.faults.extend([fault] * 2)
            revoked = SERIALS[1:] if number % 2 else SERIALS
            publish(store, PKI.crl(number, revoked=revoked, age=timedelta(0)))
            time.sleep(0.15)
        proxy.faults.clear()
        done.set()
        assert all(asker.result(30) >= 1 for asker in askers)
    function.AUTHORIZER.checker.refresh()
    assert decide(function, GOOD)[1]["crl_number"] == "7"
