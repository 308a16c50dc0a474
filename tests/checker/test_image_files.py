"""
Images in a private directory: each is loaded once by all processes, mapped and verified.
"""

from __future__ import annotations

import errno
import gc
import os
import threading
from datetime import timedelta
from pathlib import Path

import pytest

from crlcheck.checker import image_files
from crlcheck.checker.checker import RevocationChecker
from crlcheck.types import RevocationStatus, UndeterminedCause
from support.checking import BAD, GOOD, CountingStore, make_checker, publish, verdict
from support.memory_store import MemoryStore

HOUR = timedelta(hours=1)


@pytest.fixture
def store() -> CountingStore:
    """A store with one CRL, that counts."""
    made = CountingStore()
    publish(made)
    made.counts.clear()
    return made


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Where the images are to be kept."""
    return tmp_path / "images"


def sharing(store: MemoryStore, images: Path) -> RevocationChecker:
    """A checker that keeps its images there."""
    return make_checker(store, refresh_after=HOUR, image_directory=images)


def decides(checker: RevocationChecker) -> bool:
    """Whether it finds both certificates as they are."""
    found = [checker.check(one).status for one in (GOOD, BAD)]
    return found == [RevocationStatus.NOT_REVOKED, RevocationStatus.REVOKED]


def names(images: Path) -> list[str]:
    """The names of the files, without their digests."""
    return sorted(path.suffix for path in images.iterdir())


def test_checkers_of_one_directory_load_an_image_once(store: CountingStore, images: Path) -> None:
    """
    The second one maps what the first one has loaded.
    """
    with sharing(store, images) as first, sharing(store, images) as second:
        assert decides(first)
        assert decides(second)
        assert store.counts["load"] == 1
        assert names(images) == [".crlx"]
        (path,) = images.iterdir()
        assert str(path) in Path("/proc/self/maps").read_text()


def test_the_directory_and_its_files_are_the_users_own(store: CountingStore, images: Path) -> None:
    """
    Nobody else may read or change them, whatever the umask.
    """
    before = os.umask(0)
    try:
        with sharing(store, images) as checker:
            assert decides(checker)
            assert images.stat().st_mode & 0o777 == 0o700
            (path,) = images.iterdir()
            assert path.stat().st_mode & 0o777 == 0o600
    finally:
        os.umask(before)


@pytest.mark.parametrize("mode", [0o770, 0o707, 0o777, 0o1777])
def test_a_directory_of_others_is_refused(images: Path, mode: int) -> None:
    """
    Whoever may write to it could change an image after it was verified.
    """
    images.mkdir()
    images.chmod(mode)
    with pytest.raises(ValueError, match="others may write"):
        sharing(MemoryStore(), images)


def test_a_file_that_is_damaged_is_loaded_anew(store: CountingStore, images: Path) -> None:
    """
    A byte that was changed, a file that is short, or empty, and another image: none is used.
    """
    with sharing(store, images) as checker:
        assert decides(checker)
        (path,) = images.iterdir()
        whole = path.read_bytes()
    gc.collect()
    changed = bytearray(whole)
    changed[len(whole) // 2] ^= 1
    other = CountingStore()
    publish(other, 2, revoked=())
    for contents in (bytes(changed), whole[:-1], b"", other.load(_image_of(other))):
        path.write_bytes(contents)
        store.counts.clear()
        with sharing(store, images) as checker:
            assert decides(checker)
            assert store.counts["load"] == 1
            assert path.read_bytes() == whole
        gc.collect()


def _image_of(store: CountingStore) -> str:
    (name,) = (one for one in store.names("") if one.endswith(".crlx"))
    return name


def test_an_image_of_the_store_that_is_damaged_is_refused(
    store: CountingStore, images: Path
) -> None:
    """
    As without a directory, and nothing is left in it.
    """
    name = _image_of(store)
    contents = bytearray(store.load(name))
    contents[-1] ^= 1
    store.write(name, bytes(contents))
    with sharing(store, images) as checker:
        assert verdict(checker.check(GOOD)) == (
            RevocationStatus.UNDETERMINED,
            UndeterminedCause.STORE_UNAVAILABLE,
        )
    assert names(images) == []


def test_another_image_in_the_place_of_one_is_refused(store: CountingStore, images: Path) -> None:
    """
    It is whole, but not the one that the catalog names.
    """
    other = CountingStore()
    publish(other, 2, revoked=())
    store.write(_image_of(store), bytes(other.load(_image_of(other))))
    with sharing(store, images) as checker:
        assert checker.check(BAD).status is RevocationStatus.UNDETERMINED
    assert names(images) == []


def test_the_file_of_an_earlier_image_is_removed(store: CountingStore, images: Path) -> None:
    """
    Once nothing in the process uses it. Another process that has mapped it goes on.
    """
    with sharing(store, images) as first, sharing(store, images) as second:
        assert decides(first)
        assert decides(second)
        (old,) = images.iterdir()
        publish(store, 2, revoked=())
        first.refresh()
        assert first.check(BAD).status is RevocationStatus.NOT_REVOKED
        gc.collect()
        assert not old.exists()
        assert decides(second)
        second.refresh()
        assert second.check(BAD).status is RevocationStatus.NOT_REVOKED
        assert len(list(images.iterdir())) == 1


def test_a_full_disk_costs_memory_alone(
    store: CountingStore,
    images: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """
    The image is loaded all the same, and the log says that it is not shared.
    """

    def full(_descriptor: int, _size: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "ftruncate", full)
    with sharing(store, images) as checker:
        assert decides(checker)
    assert "an image is not shared: [Errno 28] No space left on device" in caplog.text
    assert names(images) == []


def test_a_directory_that_is_gone_costs_memory_alone(store: CountingStore, images: Path) -> None:
    """
    Whoever removes it stops the sharing, not the checks.
    """
    with sharing(store, images) as checker:
        images.rmdir()
        assert decides(checker)
        assert store.counts["load"] == 1


def test_who_waits_for_another_process_in_vain_loads_for_itself(
    store: CountingStore, images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    The other one may be stopped.
    """
    monkeypatch.setattr(image_files, "_PATIENCE", 0.1)
    with sharing(store, images) as checker:
        assert decides(checker)
        (path,) = images.iterdir()
    gc.collect()
    store.counts.clear()
    with sharing(store, images) as checker, image_files._only_one(path.with_suffix(".part")):
        assert decides(checker)
        assert store.counts["load"] == 1


def test_threads_agree(store: CountingStore, images: Path) -> None:
    """
    Many at once load an image once, or each maps a whole one: none sees a part.
    """
    checkers = [sharing(store, images) for _ in range(8)]
    found: list[bool] = []
    threads = [
        threading.Thread(target=lambda one=one: found.append(decides(one))) for one in checkers
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [True] * 8
    assert store.counts["load"] == 1
    for one in checkers:
        one.close()
