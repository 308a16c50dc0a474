"""Stores with up to 100,000 scopes: publishing, first checks, refreshes, status, memory."""

from __future__ import annotations

import itertools
import mmap
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import pytest

import crlcheck
from benchmarks import many_scopes_process
from benchmarks.many_scopes import Scope, Shape, make_store, scope, scopes, spread
from benchmarks.record import Call, keep, measure
from crlcheck.catalog.root import CATALOG_NAME
from crlcheck.demo.pki import pem_block
from crlcheck.demo.process import ModuleProcess
from crlcheck.demo.s3_server import aws_environment, clean_environment, environment
from crlcheck.stores import LocalStore, ObjectStore, StoredObject, open_store

_FEWEST = 10
_BUCKET = "benchmarks"
_ROUNDS = 15
_NUM_ASKED = 100
_NUM_PROCESSES = 4
NOT_REVOKED = crlcheck.RevocationStatus.NOT_REVOKED


class CountingStore:
    """A store that counts what is read and written, without the images."""

    is_known_to_swap = True

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self.num_gets = self.bytes_read = self.num_written = self.bytes_written = 0

    @property
    def url(self) -> str:
        """As ObjectStore.url."""
        return self._store.url

    def read(self, name: str) -> StoredObject:
        """As ObjectStore.read."""
        found = self._store.read(name)
        self._count(found.body)
        return found

    def read_if_changed(self, name: str, etag: str | None) -> StoredObject | None:
        """As ObjectStore.read_if_changed."""
        found = self._store.read_if_changed(name, etag)
        self._count(b"" if found is None else found.body)
        return found

    def load(self, name: str) -> bytes | bytearray | mmap.mmap:
        """As ObjectStore.load: the images, which are not counted."""
        return self._store.load(name)

    def write(self, name: str, body: bytes | Path, **conditions: Any) -> str:
        """As ObjectStore.write."""
        if isinstance(body, bytes):
            self.num_written += 1
            self.bytes_written += len(body)
        return self._store.write(name, body, **conditions)

    def delete(self, name: str) -> None:
        """As ObjectStore.delete."""
        self._store.delete(name)

    def names(self, prefix: str) -> Iterator[str]:
        """As ObjectStore.names."""
        return self._store.names(prefix)

    def _count(self, body: bytes) -> None:
        self.num_gets += 1
        self.bytes_read += len(body)


class CpuTimes:
    """The CPU times of calls in this thread."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def timed(self, call: Call) -> Call:
        """Return *call*, timed."""

        def run() -> object:
            begin = time.thread_time()
            result = call()
            self.seconds.append(time.thread_time() - begin)
            return result

        return run

    @property
    def median(self) -> float:
        """Seconds of a call."""
        return median(self.seconds[1:])


def _row(measure_name: str, shape: Shape, num_scopes: int, **more: Any) -> dict[str, Any]:
    return {
        "measure": measure_name,
        "contender": "crlcheck",
        "kind": shape,
        "num_entries": num_scopes,
        **more,
    }


# ---- the stores ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def directories(
    shape: Shape, num_scopes: int, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Path]:
    """The directories of two stores: one of the shape and size, and one with ten scopes."""
    base = tmp_path_factory.mktemp("stores")
    make_store(shape, num_scopes, base / "many")
    make_store(shape, _FEWEST, base / "few")
    return base / "many", base / "few"


@pytest.fixture(scope="module")
def s3() -> Iterator[Any]:
    """A client of a local S3, to which the environment leads other clients too."""
    import boto3

    base = clean_environment(os.environ)
    with (
        ModuleProcess("crlcheck.demo.s3_server", environ=base) as server,
        environment(aws_environment(server.greeting)),
    ):
        client = boto3.client("s3")
        client.create_bucket(
            Bucket=_BUCKET,
            CreateBucketConfiguration={"LocationConstraint": "eu-central-1"},
        )
        yield client


_uploads = itertools.count()
_crl_numbers = itertools.count(2)
"""Each CRL has a higher number than all before, whatever was published in which store."""


def _uploaded(client: Any, directory: Path) -> ObjectStore:
    """Return a store on S3 that has what a directory has, but for the images."""
    prefix = f"{next(_uploads)}"
    for path in directory.rglob("*"):
        if path.is_file() and path.parent.name != "images":
            key = f"{prefix}/{path.relative_to(directory)}"
            client.put_object(Bucket=_BUCKET, Key=key, Body=path.read_bytes())
    return open_store(f"s3://{_BUCKET}/{prefix}/")


class Publisher:
    """Publishes one CRL after the other in the middle of a store."""

    def __init__(self, shape: Shape, num_scopes: int, store: ObjectStore) -> None:
        self.scope: Scope = scope(shape, num_scopes // 2)
        self.store = store

    def next(self) -> Call:
        """Return the next publication; the CRL is signed before."""
        crl = self.scope.next_crl(next(_crl_numbers))
        # The image of the CRL before is not read: a copied store need not have it.
        return partial(
            crlcheck.publish_crl, crl, self.store, issuer=self.scope.issuer, compare_up_to=0
        )


# ---- the measurements ------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["directory", "s3"])
def test_many_publish(
    benchmark: Any,
    shape: Shape,
    num_scopes: int,
    directories: tuple[Path, Path],
    place: str,
    request: pytest.FixtureRequest,
) -> None:
    """
    Publish one CRL of 50 entries, beside the same in a store with ten scopes; and what is
    written besides the image.
    """
    stores: list[ObjectStore] = [LocalStore(path, fsync=False) for path in directories]
    if place == "s3":
        client = request.getfixturevalue("s3")
        stores = [_uploaded(client, path) for path in directories]
    many = Publisher(shape, num_scopes, stores[0])
    few = Publisher(shape, _FEWEST, stores[1])
    row = _row("many_publish", shape, num_scopes, variant=place)
    report = measure(benchmark, row, many.next, beside={"ten_scopes": few.next}, rounds=_ROUNDS)
    assert report.published
    counting = many.store = CountingStore(many.store)
    many.next()()
    figures = {"written": counting.bytes_written, "objects": counting.num_written}
    keep(benchmark, {**row, "figures": figures})


class Crls:
    """The CRLs of a store as files, and a fresh store for each run."""

    def __init__(self, shape: Shape, num_crls: int, directory: Path) -> None:
        self._stores = (directory / f"store-{number}" for number in itertools.count())
        self.issuers = directory / "issuers.pem"
        self.paths: list[Path] = []
        issuers: dict[bytes, None] = {}
        for number, one in enumerate(scopes(shape, num_crls)):
            path = directory / f"part-{number % _NUM_PROCESSES}" / f"{number:06d}.crl"
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(one.crl)
            self.paths.append(path)
            issuers[one.issuer] = None
        self.issuers.write_bytes(b"".join(pem_block("CERTIFICATE", der) for der in issuers))
        # A plain compile needs no more than the issuer of its CRL.
        self._jobs = [
            (path, one.issuer)
            for path, one in zip(self.paths, scopes(shape, num_crls), strict=True)
        ]

    def store(self) -> LocalStore:
        """Return an empty store."""
        return LocalStore(next(self._stores), fsync=False)

    def publish_many(self) -> Call:
        """Publish all in this process, which compiles on all cores."""
        issuers = self.issuers.read_bytes()
        return partial(crlcheck.publish_many, self.paths, self.store(), issuers=issuers)

    def compile_and_upload(self) -> Call:
        """Compile all and write the images, and nothing else, on all cores."""
        cores = len(os.sched_getaffinity(0))
        work = partial(many_scopes_process.compile_and_upload, next(self._stores))

        def run() -> None:
            with ProcessPoolExecutor(cores) as pool:
                for _ in pool.map(work, self._jobs, chunksize=64):
                    pass

        return run

    def by_processes(self, count: int) -> Call:
        """Publish all in so many processes at once."""
        store = next(self._stores)
        # Those of several parts each, so that all CRLs are published by any count.
        parts = [self.paths[0].parent.with_name(f"part-{n}") for n in range(_NUM_PROCESSES)]
        jobs = max(1, len(os.sched_getaffinity(0)) // count)

        def run() -> None:
            with ThreadPoolExecutor(count) as pool:
                runs = [
                    pool.submit(
                        many_scopes_process.run,
                        "publish", store, self.issuers, Path(str(jobs)), *parts[place::count],
                    )
                    for place in range(count)
                ]  # fmt: skip
                published = sum(one.result()["published"] for one in runs)
            assert published == len(self.paths), published

        return run


def test_many_publish_many(benchmark: Any, shape: Shape, num_crls: int, tmp_path: Path) -> None:
    """
    Publish many CRLs of 50 entries in an empty directory, beside compiling them and writing
    their images and nothing else; and by one process, beside four at once.
    """
    crls = Crls(shape, num_crls, tmp_path)
    row = _row("many_publish_many", shape, num_crls, operations=num_crls)
    summary = measure(
        benchmark,
        row,
        crls.publish_many,
        beside={
            "compile_and_upload": crls.compile_and_upload,
            "one_process": lambda: crls.by_processes(1),
            "four_processes": lambda: crls.by_processes(_NUM_PROCESSES),
        },
        rounds=3,
    )
    assert summary.num_published == num_crls


def test_many_first_check(
    benchmark: Any, shape: Shape, num_scopes: int, directories: tuple[Path, Path]
) -> None:
    """
    The first check of a fresh checker, beside that of a store with ten scopes: the time,
    the CPU time, and the objects that are read besides the image.
    """
    counts: dict[str, CountingStore] = {}
    cpu = {"many": CpuTimes(), "few": CpuTimes()}

    def maker(name: str, directory: Path, count: int) -> Callable[[], Call]:
        client = scope(shape, count // 2).client()

        def make() -> Call:
            # A fresh store too, because a store remembers nodes that it has parsed.
            counts[name] = store = CountingStore(LocalStore(directory, fsync=False))
            return cpu[name].timed(lambda: crlcheck.RevocationChecker(store).check(client))

        return make

    many = maker("many", directories[0], num_scopes)
    few = maker("few", directories[1], _FEWEST)
    row = _row("many_first_check", shape, num_scopes)
    result = measure(benchmark, row, many, beside={"ten_scopes": few}, rounds=_ROUNDS)
    assert result.status is NOT_REVOKED, result
    keep(benchmark, {**row, "figures": _read_figures(counts, cpu)})


def test_many_refresh(
    benchmark: Any, shape: Shape, num_scopes: int, directories: tuple[Path, Path]
) -> None:
    """
    A refresh after a new CRL of the scope that was asked about, beside that of a store with
    ten scopes.
    """
    counts: dict[str, CountingStore] = {}
    cpu = {"many": CpuTimes(), "few": CpuTimes()}

    def maker(name: str, directory: Path, count: int) -> Callable[[], Call]:
        publisher = Publisher(shape, count, LocalStore(directory, fsync=False))
        counts[name] = store = CountingStore(LocalStore(directory, fsync=False))
        checker = crlcheck.RevocationChecker(store)
        assert checker.check(publisher.scope.client()).status is NOT_REVOKED

        def make() -> Call:
            publisher.next()()
            store.num_gets = store.bytes_read = 0
            return cpu[name].timed(checker.refresh)

        return make

    many = maker("many", directories[0], num_scopes)
    few = maker("few", directories[1], _FEWEST)
    row = _row("many_refresh", shape, num_scopes)
    was_newer = measure(benchmark, row, many, beside={"ten_scopes": few}, rounds=_ROUNDS)
    assert was_newer
    keep(benchmark, {**row, "figures": _read_figures(counts, cpu)})


def _read_figures(counts: dict[str, CountingStore], cpu: dict[str, CpuTimes]) -> dict[str, float]:
    return {
        "gets": counts["many"].num_gets,
        "gets_ten": counts["few"].num_gets,
        "read": counts["many"].bytes_read,
        "cpu": cpu["many"].median,
        "cpu_ten": cpu["few"].median,
    }


def test_many_poll(
    benchmark: Any, shape: Shape, num_scopes: int, directories: tuple[Path, Path], s3: Any
) -> None:
    """A poll without any change, beside a bare conditional GET of the root, over a local S3."""
    store = _uploaded(s3, directories[0])
    checker = crlcheck.RevocationChecker(store)
    assert checker.refresh()
    etag = store.read(CATALOG_NAME).etag
    row = _row("many_poll", shape, num_scopes)
    bare = partial(store.read_if_changed, CATALOG_NAME, etag)
    was_newer = measure(
        benchmark,
        row,
        lambda: checker.refresh,
        beside={"conditional_get": lambda: bare},
        rounds=40,
        warmup_rounds=3,
    )
    assert not was_newer


@pytest.mark.parametrize("action", ["status", "verify"])
def test_many_whole(
    benchmark: Any, shape: Shape, num_scopes: int, directories: tuple[Path, Path], action: str
) -> None:
    """Status and verify, which read all: the time, and the most memory of the process."""
    figures = benchmark.pedantic(partial(many_scopes_process.run, action, directories[0]))
    assert figures["scopes"] == num_scopes
    keep(benchmark, _row("many_whole", shape, num_scopes, variant=action, figures=figures))


def test_many_memory(
    benchmark: Any, shape: Shape, num_scopes: int, directories: tuple[Path, Path], tmp_path: Path
) -> None:
    """What a checker that was asked about a hundred scopes adds to its process."""
    numbers = spread(num_scopes, _NUM_ASKED)
    for number in numbers:
        (tmp_path / f"{number}.der").write_bytes(scope(shape, number).client())
    figures = benchmark.pedantic(
        partial(many_scopes_process.run, "check", directories[0], tmp_path)
    )
    assert figures["passed"] == len(numbers)
    keep(benchmark, _row("many_memory", shape, num_scopes, figures=figures))
