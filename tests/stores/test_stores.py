"""
One suite that every store passes, and how stores are opened.
"""

from __future__ import annotations

import mmap
import re
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from crlcheck.errors import PreconditionFailedError
from crlcheck.stores import LocalStore, ObjectStore, S3Store, open_store
from crlcheck.stores.rehearsal import RehearsalStore
from support import store_worker
from support.memory_store import MemoryStore
from support.moto_server import S3Environment

NAME = "catalog.json"
IMAGE = "images/0f-1.crlx"


@pytest.fixture(params=["memory", "local", "rehearsal", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ObjectStore:
    """An empty store of every kind."""
    if request.param == "memory":
        return MemoryStore()
    if request.param == "local":
        return LocalStore(tmp_path / "store", fsync=False)
    if request.param == "rehearsal":
        return RehearsalStore(LocalStore(tmp_path / "store", fsync=False))
    s3: S3Environment = request.getfixturevalue("s3")
    return S3Store(f"s3://{s3.bucket}/published", client=s3.client)


def in_threads(count: int, work: Callable[[int], Any]) -> list[Any]:
    """Run *work* with 0 to *count* - 1, all started at one moment."""
    start = threading.Barrier(count)

    def run(number: int) -> Any:
        start.wait()
        return work(number)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(run, range(count)))


def test_a_rehearsal_changes_nothing() -> None:
    """
    What is written over another store, and what is deleted, is seen through the rehearsal alone.
    """
    store = MemoryStore()
    for name in ("a", "c", "e"):
        store.write(name, b"old")
    rehearsal = RehearsalStore(store)
    old = rehearsal.read("c").etag
    rehearsal.write("b", b"new", if_absent=True)
    new = rehearsal.write("c", b"new", if_match=old)
    for wrong in (old, "none"):
        with pytest.raises(PreconditionFailedError):
            rehearsal.write("c", b"again", if_match=wrong)
    with pytest.raises(PreconditionFailedError):
        rehearsal.write("e", b"again", if_absent=True)
    rehearsal.delete("a")
    rehearsal.delete("e")
    rehearsal.write("e", b"new", if_absent=True)
    assert list(rehearsal.names("")) == ["b", "c", "e"]
    assert rehearsal.read("c").etag == new
    assert {rehearsal.load(name) for name in ("b", "c", "e")} == {b"new"}
    with pytest.raises(FileNotFoundError):
        rehearsal.read("a")
    assert {name: store.read(name).body for name in store.names("")} == {
        "a": b"old",
        "c": b"old",
        "e": b"old",
    }


# ---- what every store does ---------------------------------------------------


def test_every_store_is_an_object_store(store: ObjectStore) -> None:
    """A store has the protocol's members, so open_store takes it as it is."""
    assert isinstance(store, ObjectStore)
    assert open_store(store) is store


@pytest.mark.parametrize("body", [b"", b"x", bytes(range(256)) * 9000])
def test_what_was_written_is_read_back(store: ObjectStore, body: bytes, tmp_path: Path) -> None:
    """Bytes and files of any size come back as they were, empty ones included."""
    source = tmp_path / "source"
    source.write_bytes(body)
    for name, given in (("a", body), ("b", source)):
        etag = store.write(name, given)
        assert store.read(name).body == body
        assert store.read(name).etag == etag
        loaded = store.load(name)
        assert loaded[:] == body
        if isinstance(loaded, mmap.mmap):
            loaded.close()
    assert source.read_bytes() == body


def test_write_replaces(store: ObjectStore) -> None:
    """An unconditional write replaces what is there, shorter or longer."""
    for body in (b"first", b"2", b"the third"):
        store.write(NAME, body)
        assert store.read(NAME).body == body


def test_an_image_in_use_outlives_replacement_and_delete(store: ObjectStore) -> None:
    """What load returned stays what it was, whatever becomes of the object."""
    store.write(IMAGE, b"old" * 5000)
    first = store.load(IMAGE)
    store.write(IMAGE, b"new")
    second = store.load(IMAGE)
    store.delete(IMAGE)
    assert first[:] == b"old" * 5000
    assert second[:] == b"new"
    for loaded in (first, second):
        if isinstance(loaded, mmap.mmap):
            loaded.close()


def test_missing_objects(store: ObjectStore) -> None:
    """What is not there is FileNotFoundError, also where it is part of another name."""
    store.write("images/a/b", b"x")
    for name in (NAME, "images/none", "images/a", "images/a/b/c"):
        for read in (store.read, store.load, lambda name: store.read_if_changed(name, "etag")):
            with pytest.raises(FileNotFoundError, match=re.escape(name)):
                read(name)


def test_an_empty_store(store: ObjectStore) -> None:
    """A store that was never written to lists nothing and deletes nothing."""
    assert list(store.names("")) == []
    assert list(store.names("images/")) == []
    store.delete(IMAGE)
    with pytest.raises(FileNotFoundError):
        store.read(NAME)


def test_read_if_changed(store: ObjectStore) -> None:
    """The conditional read answers None exactly while the object is as the etag says."""
    etag = store.write(NAME, b"1")
    first = store.read_if_changed(NAME, None)
    assert first is not None
    assert (first.body, first.etag) == (b"1", etag)
    assert store.read_if_changed(NAME, etag) is None
    later = store.write(NAME, b"2", if_match=etag)
    changed = store.read_if_changed(NAME, etag)
    assert changed is not None
    assert (changed.body, changed.etag) == (b"2", later)
    assert store.read_if_changed(NAME, later) is None


def test_if_match(store: ObjectStore) -> None:
    """A compare-and-swap holds on the state it names, and on no other."""
    first = store.write(NAME, b"1")
    second = store.write(NAME, b"2", if_match=first)
    with pytest.raises(PreconditionFailedError, match=re.escape(NAME)) as failure:
        store.write(NAME, b"3", if_match=first)
    assert failure.value.name == NAME
    assert store.read(NAME).body == b"2"
    store.delete(NAME)
    with pytest.raises(PreconditionFailedError):
        store.write(NAME, b"3", if_match=second)
    assert list(store.names("")) == []


def test_if_absent(store: ObjectStore) -> None:
    """A write that requires absence never replaces anything."""
    store.write(NAME, b"1", if_absent=True)
    with pytest.raises(PreconditionFailedError) as failure:
        store.write(NAME, b"2", if_absent=True)
    assert failure.value.name == NAME
    assert store.read(NAME).body == b"1"
    store.delete(NAME)
    store.write(NAME, b"3", if_absent=True)
    assert store.read(NAME).body == b"3"


def test_delete(store: ObjectStore) -> None:
    """Delete removes one object; doing it twice, or to part of a name, does nothing."""
    for name in ("images/a", "images/ab"):
        store.write(name, b"x")
    for _ in range(2):
        store.delete("images/a")
    store.delete("images")
    store.delete("images/ab/c")
    assert list(store.names("")) == ["images/ab"]


def test_names(store: ObjectStore) -> None:
    """Names come in code point order, by any prefix, whole segment or not."""
    names = ["a", "images-old/x", "images/a.crlx", "images/b/c.crlx", "images/é x+%.pem", "z"]
    for name in reversed(names):
        store.write(name, b"x")
    assert list(store.names("")) == names
    assert list(store.names("images")) == names[1:5]
    assert list(store.names("images/")) == names[2:5]
    assert list(store.names("images/b/")) == ["images/b/c.crlx"]
    assert list(store.names("images/a")) == ["images/a.crlx"]
    assert list(store.names("none/")) == []
    assert store.read("images/é x+%.pem").body == b"x"


# With control characters and, last, what UTF-8 cannot encode.
REFUSED = ["", "/", "/a", "a/", "a//b", ".", "..", "../a", "a/../b", "a/./b", ".lock", "a/.b"]
REFUSED += ["a\0b", "a\nb", "a\x7f", "a\ud800"]


@pytest.mark.parametrize("name", REFUSED)
def test_names_that_no_store_takes(store: ObjectStore, name: str) -> None:
    """A name that could leave the store or hide in it is refused by every method."""
    for call in (
        lambda: store.read(name),
        lambda: store.read_if_changed(name, "etag"),
        lambda: store.load(name),
        lambda: store.write(name, b""),
        lambda: store.delete(name),
    ):
        with pytest.raises(ValueError, match="object name"):
            call()
    if name not in ("", "a/"):
        with pytest.raises(ValueError, match="prefix"):
            store.names(name)


def test_misuse_of_write(store: ObjectStore) -> None:
    """A body of another type, or two conditions at once, changes nothing."""
    with pytest.raises(TypeError, match="found str"):
        store.write(NAME, "text")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="exclude each other"):
        store.write(NAME, b"x", if_match="etag", if_absent=True)
    with pytest.raises(FileNotFoundError, match="no-such-source"):
        store.write(NAME, Path("no-such-source"))
    assert list(store.names("")) == []


def test_threads_lose_no_update(store: ObjectStore) -> None:
    """Threads that increment one object by compare-and-swap arrive at their total."""
    store.write(NAME, b"0")
    in_threads(4, lambda _: store_worker.increment(store, NAME, 5))
    assert store.read(NAME).body == b"20"


def test_one_of_many_creators_wins(store: ObjectStore) -> None:
    """Of writers that all require absence exactly one writes, and its bytes stay."""

    def create(number: int) -> int | None:
        try:
            store.write(NAME, b"%d" % number, if_absent=True)
        except PreconditionFailedError:
            return None
        return number

    winners = [number for number in in_threads(8, create) if number is not None]
    assert [b"%d" % number for number in winners] == [store.read(NAME).body]


def test_readers_see_whole_objects(store: ObjectStore, tmp_path: Path) -> None:
    """While an object is replaced again and again, each read is one writer's bytes."""
    size = 300_000
    bodies = [bytes([letter]) * size for letter in b"abc"]
    etags = {store.write(NAME, body): body for body in bodies}
    source = tmp_path / "source"
    source.write_bytes(bodies[0])
    done = threading.Event()

    def work(number: int) -> int:
        if number == 0:
            for turn in range(20):
                etags[store.write(NAME, source if turn % 3 == 0 else bodies[turn % 3])] = bodies[
                    turn % 3
                ]
            done.set()
            return 0
        while True:  # once at least, however fast the writer is
            found = store.read(NAME)
            assert found.body in bodies
            loaded = store.load(NAME)
            assert loaded[:] in bodies
            if done.is_set():
                return number

    assert in_threads(3, work) == [0, 1, 2]
    assert etags[store.read(NAME).etag] == store.read(NAME).body


# ---- opening -----------------------------------------------------------------


def test_open_store_takes_paths(tmp_path: Path) -> None:
    """A str or a Path is a directory, made by the first write and not before."""
    for target in (tmp_path / "new" / "store", str(tmp_path / "other")):
        store = open_store(target)
        assert isinstance(store, LocalStore)
        assert not Path(target).exists()
        store.write(NAME, b"x")
        assert (Path(target) / NAME).read_bytes() == b"x"
        again = open_store(store.url)
        assert again.read(NAME).body == b"x"


def test_open_store_takes_relative_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A relative path means what it meant when the store was opened."""
    monkeypatch.chdir(tmp_path)
    store = open_store("store")
    monkeypatch.chdir("/")
    store.write(NAME, b"x")
    assert (tmp_path / "store" / NAME).is_file()


def test_open_store_refuses_a_file(tmp_path: Path) -> None:
    """A file is not a store."""
    path = tmp_path / "file"
    path.touch()
    with pytest.raises(NotADirectoryError, match="file"):
        open_store(path)


@pytest.mark.parametrize(
    "target", ["", "s3://", "s3:///prefix", "S3://bucket/x", "gs://bucket/x", "file:///x"]
)
def test_open_store_refuses_what_names_no_store(target: str) -> None:
    """An empty path, no bucket or a scheme of another kind is a ValueError, never a directory."""
    with pytest.raises(ValueError, match="store"):
        open_store(target)


def test_open_store_refuses_other_types() -> None:
    """What is neither path, URL nor store is a TypeError."""
    with pytest.raises(TypeError, match="found int"):
        open_store(1)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("url", "normal"),
    [("s3://b", "s3://b"), ("s3://b/", "s3://b"), ("s3://b/p/q/", "s3://b/p/q")],
)
def test_s3_urls(url: str, normal: str) -> None:
    """A bucket alone and slashes at the end are accepted, and url has one form."""
    assert S3Store(url, client=object()).url == normal


def test_importing_stores_does_not_import_botocore() -> None:
    """The AWS client is loaded when an S3 store is opened, not for a directory."""
    code = (
        "import sys, crlcheck.stores as s; s.open_store('x');"
        "print([m for m in ('boto3', 'botocore', 'urllib3', 'cryptography') if m in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "[]\n"


def test_s3_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where botocore is missing the error names the extra that brings it."""
    monkeypatch.setitem(sys.modules, "botocore.session", None)
    with pytest.raises(ImportError, match=re.escape("crlcheck[aws]")):
        open_store("s3://bucket/prefix")
