"""
What is particular to a store in S3: prefixes, repeated attempts, lost answers, errors.
"""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import botocore
import pytest

from crlcheck.errors import (
    PreconditionFailedError,
    StoreError,
    StoreUnavailableError,
    UnsafeStoreError,
)
from crlcheck.remedies import remedy_of
from crlcheck.stores import open_store
from crlcheck.stores.s3 import S3Store, _new_client
from support.fault_proxy import BROKEN_BODY, LOST_ANSWER, Fault, FaultProxy, fault_proxy
from support.functions import import_function
from support.moto_server import S3Environment, environment_variables, make_client
from support.store_worker import increment_together

NAME = "catalog.json"
IMAGE = "images/0f-1.crlx"


@pytest.fixture(scope="module")
def faulty(s3_server: tuple[str, Any]) -> Iterator[tuple[FaultProxy, Any]]:
    """A proxy with faults, and the client that a store makes itself, reaching S3 through it."""
    with fault_proxy(s3_server[0]) as proxy, pytest.MonkeyPatch.context() as patch:
        for name, value in environment_variables(proxy.endpoint).items():
            patch.setenv(name, value)
        client = _new_client()
        # Between attempts botocore sleeps up to two seconds, which proves nothing here.
        patch.setattr("botocore.endpoint.time", SimpleNamespace(sleep=lambda _: None))
        yield proxy, client


@pytest.fixture
def proxy(faulty: tuple[FaultProxy, Any]) -> FaultProxy:
    """The proxy as new."""
    faulty[0].faults.clear()
    faulty[0].methods.clear()
    return faulty[0]


@pytest.fixture(params=["botocore", "own"])
def remote(
    request: pytest.FixtureRequest,
    s3: S3Environment,
    proxy: FaultProxy,
    faulty: tuple[FaultProxy, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> S3Store:
    """An empty store behind the proxy, read by botocore or by GETs of our own."""
    url = f"s3://{s3.bucket}/published"
    if request.param == "botocore":
        return S3Store(url, client=faulty[1])
    monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.endpoint)
    store = S3Store(url)
    store._made = faulty[1]  # for what is not read
    assert store.getter is not None
    return store


def test_processes_lose_no_update(s3: S3Environment) -> None:
    """Processes with clients of their own making increment one object to their total."""
    store = S3Store(f"s3://{s3.bucket}/p", client=s3.client)
    store.write(NAME, b"0")
    increment_together(store.url, NAME, processes=2, times=5)
    assert store.read(NAME).body == b"10"


def test_keys_lie_under_the_prefix(s3: S3Environment) -> None:
    """A store sees its prefix only, not a neighbour whose name starts alike."""
    for prefix in ("/published", "/published-old", ""):
        S3Store(f"s3://{s3.bucket}{prefix}", client=s3.client).write(NAME, prefix.encode())
    s3.client.put_object(Bucket=s3.bucket, Key="published/images/")  # a console's "folder"
    store = S3Store(f"s3://{s3.bucket}/published", client=s3.client)
    assert list(store.names("")) == [NAME]
    assert store.read(NAME).body == b"/published"
    assert list(S3Store(f"s3://{s3.bucket}", client=s3.client).names("")) == [
        NAME,
        f"published-old/{NAME}",
        f"published/{NAME}",
    ]


def test_names_are_listed_past_one_page(s3: S3Environment) -> None:
    """A listing follows continuation tokens."""
    pages: list[object] = []

    def shorten(params: dict[str, Any], **_: object) -> None:
        params["MaxKeys"] = 2
        pages.append(params.get("ContinuationToken"))

    client = make_client(s3.endpoint)
    client.meta.events.register("before-parameter-build.s3.ListObjectsV2", shorten)
    store = S3Store(f"s3://{s3.bucket}/p", client=client)
    names = [f"images/{number}" for number in range(5)]
    for name in names:
        store.write(name, b"x")
    assert list(store.names("images/")) == names
    assert len(set(pages)) == 3


def test_the_first_name_takes_a_short_answer(s3: S3Environment) -> None:
    """Later pages are asked for when their names are."""
    asked: list[int] = []

    def note(params: dict[str, Any], **_: object) -> None:
        asked.append(params["MaxKeys"])

    client = make_client(s3.endpoint)
    client.meta.events.register("before-parameter-build.s3.ListObjectsV2", note)
    store = S3Store(f"s3://{s3.bucket}/p", client=client)
    names = [f"images/{number:02}" for number in range(25)]
    for name in names:
        store.write(name, b"x")
    assert next(store.names("images/")) == names[0]
    assert asked == [20]
    assert list(store.names("images/")) == names
    assert asked == [20, 20, 1000]


def test_a_list_without_an_end_is_an_error(s3: S3Environment) -> None:
    """A server that never says where the next page begins must not keep a client for ever."""
    client = make_client(s3.endpoint)

    def forget(parsed: dict[str, Any], **_: object) -> None:
        parsed.pop("NextContinuationToken", None)
        parsed["IsTruncated"] = True

    client.meta.events.register("after-call.s3.ListObjectsV2", forget)
    store = S3Store(f"s3://{s3.bucket}/p", client=client)
    store.write("images/a", b"x")
    with pytest.raises(StoreError, match="does not say where they begin"):
        list(store.names("images/"))


def test_a_lost_swap_tells_whether_it_was_sent_again(remote: S3Store, proxy: FaultProxy) -> None:
    """Only a request that was sent once was surely not done."""
    etag = remote.write(NAME, b"1")
    remote.write(NAME, b"2", if_match=etag)
    with pytest.raises(PreconditionFailedError) as once:
        remote.write(NAME, b"3", if_match=etag)
    assert not once.value.may_be_written
    proxy.faults.append(Fault(503, "SlowDown"))
    with pytest.raises(PreconditionFailedError) as again:
        remote.write(NAME, b"3", if_match=etag)
    assert again.value.may_be_written


def test_attempts_are_repeated(remote: S3Store, proxy: FaultProxy, tmp_path: Path) -> None:
    """A request that fails twice for the server's reasons succeeds, a file's body whole."""
    source = tmp_path / "source"
    source.write_bytes(b"body" * 50_000)
    proxy.faults.extend([Fault(503, "SlowDown"), Fault(500, "InternalError")])
    remote.write(IMAGE, source, if_absent=True)
    proxy.faults.extend([LOST_ANSWER, LOST_ANSWER])
    assert remote.load(IMAGE) == source.read_bytes()
    assert proxy.methods == ["PUT"] * 3 + ["GET"] * 3


def test_not_modified_is_one_request(remote: S3Store, proxy: FaultProxy) -> None:
    """An unchanged object costs one conditional GET and no body."""
    etag = remote.write(NAME, b"1")
    proxy.methods.clear()
    assert remote.read_if_changed(NAME, etag) is None
    assert proxy.methods == ["GET"]


@pytest.mark.parametrize("if_absent", [True, False])
def test_a_lost_answer_is_no_lost_race(remote: S3Store, proxy: FaultProxy, if_absent: bool) -> None:
    """
    A conditional write whose answer was lost is repeated and fails its own
    condition; the store sees that the object is this very write's.
    """
    condition: dict[str, Any] = {"if_absent": True}
    if not if_absent:
        condition = {"if_match": remote.write(NAME, b"before")}
    proxy.faults.append(LOST_ANSWER)
    etag = remote.write(NAME, b"ours", **condition)
    found = remote.read(NAME)
    assert (found.body, found.etag) == (b"ours", etag)


def test_equal_bytes_of_another_writer_are_a_lost_race(s3: S3Environment, remote: S3Store) -> None:
    """Another writer's object is not taken for ours because it has the same bytes."""
    S3Store(remote.url, client=s3.client).write(NAME, b"same")
    with pytest.raises(PreconditionFailedError):
        remote.write(NAME, b"same", if_absent=True)


def test_conflicting_writes_are_a_lost_race(remote: S3Store, proxy: FaultProxy) -> None:
    """S3's 409 for a conditional write in a race means: read again."""
    etag = remote.write(NAME, b"1")
    for condition in ({"if_match": etag}, {"if_absent": True}):
        proxy.faults.append(Fault(409, "ConditionalRequestConflict"))
        with pytest.raises(PreconditionFailedError, match="ConditionalRequestConflict"):
            remote.write(NAME, b"2", **condition)
    assert remote.read(NAME).body == b"1"


@pytest.mark.parametrize(
    ("fault", "error", "message"),
    [
        (Fault(503, "SlowDown"), StoreUnavailableError, "503 SlowDown"),
        (Fault(500, "InternalError"), StoreUnavailableError, "500 InternalError"),
        (Fault(429, "TooManyRequests"), StoreUnavailableError, "429"),
        (Fault(400, "ExpiredToken"), StoreUnavailableError, "400 ExpiredToken"),
        (Fault(403, "AccessDenied"), StoreUnavailableError, "403 AccessDenied.*s3:ListBucket"),
        (Fault(400, "InvalidRequest"), StoreError, "400 InvalidRequest"),
        (Fault(404, "NoSuchBucket"), StoreError, "bucket .* does not exist"),
        (Fault(404, "NoSuchKey"), FileNotFoundError, NAME),
        (LOST_ANSWER, StoreUnavailableError, "(?i)connection"),
        (BROKEN_BODY, StoreUnavailableError, NAME),
    ],
    ids=lambda value: f"{value.status}-{value.code}" if isinstance(value, Fault) else None,
)
def test_errors(
    remote: S3Store, proxy: FaultProxy, fault: Fault, error: type[Exception], message: str
) -> None:
    """Each failure of S3 becomes the error the protocol names, and says which object."""
    etag = remote.write(NAME, b"x" * 1000)
    for read in (remote.read, remote.load, lambda name: remote.read_if_changed(name, f"{etag}?")):
        proxy.faults.extend([fault] * 3)
        with pytest.raises(error, match=message) as failure:
            read(NAME)
        assert type(failure.value) is error
        assert f"{remote.url}/{NAME}" in str(failure.value)
        proxy.faults.clear()


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("AccessDenied", "grant s3:GetObject on {objects}, kms:Decrypt .* s3:ListBucket on the "),
        ("", "grant s3:GetObject on {objects}, "),
        ("SignatureDoesNotMatch", "check the secret access key"),
        ("InvalidAccessKeyId", "check the access key"),
        ("RequestTimeTooSkewed", "set the clock"),
        ("InvalidObjectState", None),
    ],
)
def test_a_reader_that_is_denied_learns_what_to_grant(
    remote: S3Store, proxy: FaultProxy, code: str, expected: str | None
) -> None:
    """The permission, and on what. Nothing is guessed where the code says something else."""
    remote.write(NAME, b"x" * 1000)
    objects = re.escape(remote.url.removeprefix("s3://") + "/*")
    for read in (remote.read, remote.load, lambda name: remote.read_part(name, 0, 10)):
        proxy.faults.append(Fault(403, code))
        with pytest.raises(StoreUnavailableError, match="403") as failure:
            read(NAME)
        if expected is None:
            assert failure.value.remedy is None
        else:
            assert re.match(expected.format(objects=objects), failure.value.remedy or "")


def test_whoever_is_denied_another_operation_learns_what_to_grant(
    remote: S3Store, proxy: FaultProxy
) -> None:
    """To write, to delete and to list: the right by its own name."""
    place = remote.url.removeprefix("s3://")
    prefix = place.partition("/")[2]
    for call, expected in (
        (lambda: remote.write(NAME, b"x"), f"grant s3:PutObject on {place}/*, and kms:"),
        (lambda: remote.delete(NAME), f"grant s3:DeleteObject on {place}/*"),
        (lambda: list(remote.names("")), "grant s3:ListBucket on the bucket "),
    ):
        proxy.faults.append(Fault(403, "AccessDenied"))
        with pytest.raises(StoreUnavailableError) as failure:
            call()
        assert failure.value.remedy is not None
        assert failure.value.remedy.startswith(expected)
    assert (failure.value.remedy or "").endswith(f"for the prefix {prefix}/")
    proxy.faults.append(Fault(400, "ExpiredToken"))
    with pytest.raises(StoreUnavailableError) as failure:
        remote.delete(NAME)
    assert failure.value.remedy == "get new credentials: those in use have expired"


def test_not_modified_must_have_been_asked_for(remote: S3Store, proxy: FaultProxy) -> None:
    """A 304 without a condition is a cache that is stuck, not an answer."""
    remote.write(NAME, b"x")
    for read in (remote.read, remote.load, lambda name: remote.read_if_changed(name, None)):
        proxy.faults.append(Fault(304))
        with pytest.raises(StoreUnavailableError, match="304"):
            read(NAME)


def test_errors_of_other_operations(remote: S3Store, proxy: FaultProxy) -> None:
    """Writing, deleting and listing fail in the same terms as reading."""
    for call in (
        lambda: remote.write(NAME, b"x"),
        lambda: remote.write(NAME, b"x", if_absent=True),
        lambda: remote.delete(NAME),
        lambda: list(remote.names("")),
    ):
        proxy.faults.append(Fault(403, "AccessDenied"))
        with pytest.raises(StoreUnavailableError, match="403 AccessDenied") as failure:
            call()
        assert "ListBucket" not in str(failure.value)


def test_a_bucket_that_does_not_exist(s3: S3Environment) -> None:
    """A missing bucket is a configuration error, not a missing object or a lost race."""
    store = S3Store("s3://no-such-bucket-here/p", client=s3.client)
    for call in (
        lambda: store.read(NAME),
        lambda: store.write(NAME, b"x"),
        lambda: store.write(NAME, b"x", if_match="etag"),
        lambda: list(store.names("")),
    ):
        with pytest.raises(StoreError, match="no-such-bucket-here does not exist"):
            call()


def test_without_a_server(s3: S3Environment, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that refuses connections is StoreUnavailableError."""
    monkeypatch.setattr("botocore.endpoint.time", SimpleNamespace(sleep=lambda _: None))
    store = S3Store(f"s3://{s3.bucket}/p", client=make_client("http://127.0.0.1:9"))
    with pytest.raises(StoreUnavailableError, match=re.escape("127.0.0.1:9")):
        store.read(NAME)


def test_a_client_from_the_environment(s3: S3Environment) -> None:
    """open_store makes its client from the environment, as any AWS program."""
    store = open_store(f"s3://{s3.bucket}/published")
    etag = store.write(NAME, b"x", if_absent=True)
    key = {"Bucket": s3.bucket, "Key": f"published/{NAME}"}
    assert s3.client.head_object(**key)["ETag"] == etag


def test_a_bucket_name_that_cannot_be(s3: S3Environment) -> None:
    """A bucket name that botocore refuses is misuse."""
    with pytest.raises(ValueError, match="[Bb]ucket"):
        S3Store("s3://not a bucket/p", client=s3.client).read(NAME)


def test_an_environment_that_makes_no_client(
    s3: S3Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A profile that does not exist is a StoreError that names it."""
    monkeypatch.setenv("AWS_PROFILE", "no-such-profile")
    with pytest.raises(StoreError, match="no-such-profile"):
        open_store(f"s3://{s3.bucket}/p")


# ---- an old boto3 -----------------------------------------------------------------------


def old_data(directory: Path) -> Path:
    """A directory with botocore's description of S3, from before PutObject had conditions."""
    (description,) = Path(botocore.__file__).parent.glob("data/s3/*/service-2.json.gz")
    model = json.loads(gzip.decompress(description.read_bytes()))
    members = model["shapes"]["PutObjectRequest"]["members"]
    del members["IfMatch"], members["IfNoneMatch"]
    target = directory / "s3" / description.parent.name
    target.mkdir(parents=True)
    (target / "service-2.json").write_text(json.dumps(model))
    return directory


def test_a_boto3_that_sends_no_conditions_writes_nothing(
    s3: S3Environment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    The error says which version was found, and which is needed. The preprocessor does not start.
    """
    monkeypatch.setenv("AWS_DATA_PATH", str(old_data(tmp_path)))
    monkeypatch.setattr("boto3.DEFAULT_SESSION", None)  # it has read the new description
    store = S3Store(f"s3://{s3.bucket}/published")
    for conditions in ({"if_absent": True}, {"if_match": '"0"'}):
        with pytest.raises(UnsafeStoreError) as caught:
            store.write(NAME, b"{}", **conditions)
        assert caught.value.found == "client"
        assert f"botocore {botocore.__version__}" in str(caught.value)
        assert "expected boto3 1.36 or later" in str(caught.value)
        assert "boto3>=1.36" in (remedy_of(caught.value) or "")
    with pytest.raises(FileNotFoundError):
        store.read(NAME)
    with pytest.raises(UnsafeStoreError):
        import_function(
            monkeypatch, "preprocessor", store=store.url, issuers=f"s3://{s3.bucket}/issuers"
        )
    store.write(IMAGE, b"without conditions")
    monkeypatch.delenv("AWS_DATA_PATH")
    S3Store(store.url).write(NAME, b"{}", if_absent=True)
