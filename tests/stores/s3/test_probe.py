"""Servers that pass over conditions are refused before anything is published on them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from crlcheck import mirror_store, remedy_of
from crlcheck.errors import (
    PreconditionFailedError,
    StoreError,
    StoreUnavailableError,
    UnsafeStoreError,
)
from crlcheck.stores import LocalStore, S3Store
from crlcheck.stores.probe import PROBE_PREFIX, probe_store, probe_time
from crlcheck.stores.s3 import _new_client
from support.memory_store import MemoryStore
from support.moto_server import S3Environment, environment_variables
from support.pki import make_crl
from support.publishing import CA, publish
from support.weak_s3 import WeakS3, weak_s3


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[WeakS3, Any]]:
    """A server, and the client that a store makes itself for it."""
    with weak_s3() as made, pytest.MonkeyPatch.context() as patch:
        for name, value in environment_variables(made.endpoint).items():
            patch.setenv(name, value)
        yield made, _new_client()


@pytest.fixture
def server(served: tuple[WeakS3, Any]) -> WeakS3:
    """An empty server that keeps every promise until a test makes it weak."""
    served[0].become(WeakS3())
    return served[0]


@pytest.fixture(params=["own", "botocore"])
def store(request: pytest.FixtureRequest, server: WeakS3, served: tuple[WeakS3, Any]) -> S3Store:
    """A store on the server, read by GETs of our own or by botocore."""
    return store_on(served[1], "s3://bucket/published", own=request.param == "own")


def store_on(client: Any, url: str, *, own: bool) -> S3Store:
    """A store that writes by *client*, and reads by it or by GETs of our own."""
    if not own:
        return S3Store(url, client=client)
    made = S3Store(url)
    made._made = client
    assert made.getter is not None
    return made


WEAKNESSES: dict[str, tuple[dict[str, Any], str]] = {
    "both conditions ignored": (
        {"ignored": frozenset({"if-match", "if-none-match"})},
        "a PUT with If-None-Match: * of an object that exists was answered 200, expected 412",
    ),
    "If-Match ignored": (
        {"ignored": frozenset({"if-match"})},
        "a PUT with If-Match of a wrong ETag was answered 200, expected 412",
    ),
    "If-None-Match ignored": (
        {"ignored": frozenset({"if-none-match"})},
        "a PUT with If-None-Match: * of an object that exists was answered 200, expected 412",
    ),
    "checked before the body": (
        {"checks_first": True},
        "of 4 writes at the same time with If-",
    ),
    "old ETag answered": ({"old_etag": True}, "returned the ETag"),
    "one ETag for all states": ({"one_etag": True}, "was replaced, but kept the ETag"),
    "If-Match creates": (
        {"creates": True},
        "a PUT with If-Match of no object was answered 200, expected 412",
    ),
    "refused and stored": ({"stores_refused": True}, "of an object that exists was answered 200"),
    "304 for every ETag": (
        {"always_304": True},
        "a GET with If-None-Match of the ETag before a change was answered 304",
    ),
    "old reads": ({"old_reads": True}, "the next read found other bytes"),
    "every condition refused": (
        {"answers": 412},
        "a write with If-None-Match: * of no object was refused",
    ),
}


@pytest.mark.parametrize("weakness", WEAKNESSES)
def test_a_weak_server_is_refused(server: WeakS3, store: S3Store, weakness: str) -> None:
    """
    The error says what was seen; nothing is published, and nothing is left.
    """
    changes, found = WEAKNESSES[weakness]
    for name, value in changes.items():
        setattr(server, name, value)
    with pytest.raises(UnsafeStoreError) as raised:
        publish(store, make_crl(CA))
    assert found in raised.value.found
    assert str(raised.value).startswith("s3://bucket/published is refused")
    assert raised.value.found in str(raised.value)
    assert "docs/guides/stores.md" in str(remedy_of(raised.value))
    assert server.objects == {}


def test_a_race_of_if_match_alone_is_seen(server: WeakS3, store: S3Store) -> None:
    """A server that locks new objects, and only those, lets two writers of one ETag win."""
    server.checks_if_match_first = True
    with pytest.raises(UnsafeStoreError, match="at the same time with If-Match of one ETag"):
        probe_store(store)


def test_a_good_server_is_tried_once(server: WeakS3, store: S3Store) -> None:
    """
    The first publication tries the server and leaves nothing of it; the second does not.
    """
    publish(store, make_crl(CA))
    assert any(PROBE_PREFIX in one for one in server.requests)
    assert not any(PROBE_PREFIX in key for key in server.objects)
    server.requests.clear()
    assert publish(store, make_crl(CA, 2)).published
    assert not any(PROBE_PREFIX in one for one in server.requests)


def test_each_prefix_is_tried(server: WeakS3, store: S3Store) -> None:
    """A bucket that has a store keeps no other prefix of it from being tried."""
    publish(store, make_crl(CA))
    server.ignored = frozenset({"if-match"})
    with pytest.raises(UnsafeStoreError):
        publish(S3Store("s3://bucket/other", client=store.client), make_crl(CA))


def test_a_mirror_is_tried(server: WeakS3, store: S3Store) -> None:
    """The first copy of a store tries its target before anything is copied."""
    server.ignored = frozenset({"if-match"})
    origin = MemoryStore()
    publish(origin, make_crl(CA))
    with pytest.raises(UnsafeStoreError):
        mirror_store(origin, store)
    assert server.objects == {}
    server.ignored = frozenset()
    assert mirror_store(origin, store).num_copied == 1


def test_a_store_of_ones_own_is_tried() -> None:
    """
    Any ObjectStore is tried whose class does not say that it compares by its own code.
    """

    class Careless(MemoryStore):
        is_known_to_swap = False

        def write(self, name: str, body: Any, **_: Any) -> str:
            return super().write(name, body)

    class Careful(MemoryStore):
        is_known_to_swap = False

    class Untrue(Careful):
        def write(self, name: str, body: Any, **conditions: Any) -> str:
            try:
                return super().write(name, body, **conditions)
            except PreconditionFailedError:
                super().write(name, body)
                raise

    with pytest.raises(
        UnsafeStoreError, match="a write with If-None-Match: .* expected a PreconditionFailedError"
    ):
        publish(Careless(), make_crl(CA))
    with pytest.raises(UnsafeStoreError, match="was refused, but changed the object"):
        publish(Untrue(), make_crl(CA))
    assert publish(Careful(), make_crl(CA)).published


def test_a_directory_passes(tmp_path: Any) -> None:
    """A directory keeps every promise, though it is not tried before a publication."""

    class Tried(LocalStore):
        is_known_to_swap = False

    store = Tried(tmp_path / "store", fsync=False)
    probe_store(store, num_races=10)
    assert list(store.names("")) == []
    publish(LocalStore(tmp_path / "store", fsync=False), make_crl(CA))


def test_moto_passes(s3: S3Environment) -> None:
    """Moto, as the tests run it, keeps every promise."""
    store = S3Store(f"s3://{s3.bucket}/p")
    probe_store(store, num_races=5)
    assert list(store.names("")) == []


def test_a_server_without_conditions_is_an_error(server: WeakS3, store: S3Store) -> None:
    """501 to a condition is not for want of a server: trying again does not help."""
    server.answers = 501
    with pytest.raises(StoreError, match="501") as raised:
        probe_store(store)
    assert not isinstance(raised.value, StoreUnavailableError)
    assert raised.value.__notes__ == ["while it was tried whether the store compares and swaps"]


def test_what_cannot_be_deleted_is_named(
    server: WeakS3, store: S3Store, caplog: pytest.LogCaptureFixture
) -> None:
    """A store that may not delete is told which objects are left; the probe still decides."""
    server.denied = frozenset({"DELETE"})
    probe_store(store)
    left = [key.removeprefix("bucket/published/") for key in server.objects]
    assert left
    for name in left:
        assert any(name in record.getMessage() for record in caplog.records)


def test_throw_away_objects_tell_their_time() -> None:
    """A clean-up can tell which of them a dead process left."""
    assert probe_time(f"{PROBE_PREFIX}20261130T080000Z-ab-0") == datetime(
        2026, 11, 30, 8, tzinfo=UTC
    )
    for name in ("images/20261130T080000Z-ab-0", f"{PROBE_PREFIX}x", PROBE_PREFIX):
        assert probe_time(name) is None


def test_a_weak_server_with_a_catalog_is_not_tried(server: WeakS3, store: S3Store) -> None:
    """No publication but the first pays for the probe."""
    publish(store, make_crl(CA))
    server.ignored = frozenset({"if-match"})
    assert publish(store, make_crl(CA, 2)).published
    assert not any(PROBE_PREFIX in key for key in server.objects)


# ---- what other servers do differently ------------------------------------------------


IMAGE = "images/0f-1.crlx"
SIZES = [0, 1, 100, 8 << 20, (8 << 20) + 1, 20 << 20]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("past_end", [206, 400, 416, 0], ids=["206", "400", "416", "no ranges"])
def test_an_object_is_read_whole_whatever_the_server_makes_of_ranges(
    server: WeakS3, store: S3Store, past_end: int, size: int
) -> None:
    """
    A range past the end may be refused, or ranges be ignored. Each byte comes once.
    """
    server.past_end, server.ranges = past_end or 206, past_end != 0
    body = (bytes(range(256)) * (size // 256 + 1))[:size]
    server.objects[f"bucket/published/{IMAGE}"] = (body, "0" * 32, {})
    server.requests.clear()
    assert bytes(store.load(IMAGE)) == body
    assert len(server.requests) <= -(-max(size, 1) // (8 << 20)) + 1


@pytest.mark.parametrize("status", [400, 416])
def test_what_is_refused_without_a_range_too_is_refused(
    server: WeakS3, store: S3Store, status: int
) -> None:
    """A 400 or 416 that has nothing to do with the range stays an error, after two requests."""
    server.objects[f"bucket/published/{IMAGE}"] = (b"x", "0" * 32, {})
    server.gets = status
    server.requests.clear()
    with pytest.raises(StoreError, match=str(status)):
        store.load(IMAGE)
    assert len(server.requests) <= 2


@pytest.mark.parametrize("title_case", [False, True])
def test_a_write_is_known_by_its_metadata_in_any_case(
    server: WeakS3, store: S3Store, title_case: bool
) -> None:
    """
    A write that was stored, and then refused when it was sent again, has succeeded.
    """
    server.title_case = title_case
    etag = store.write(IMAGE, b"1")
    server.stores_refused = True
    server.answers = 412
    assert store.write(IMAGE, b"2", if_match=etag) == store.read(IMAGE).etag
