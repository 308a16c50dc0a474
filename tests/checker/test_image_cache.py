"""Which images stay loaded, and who loads them."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from crlcheck.checker.image_cache import IMAGE_OVERHEAD, CachedImage, ImageCache
from crlcheck.errors import StoreUnavailableError
from crlcheck.image.index import RevocationIndex
from crlcheck.publisher.publish import publish_crl
from crlcheck.types import RevocationStatus, UndeterminedCause
from support.checking import CountingStore, make_checker, make_index, verdict
from support.memory_store import MemoryStore
from support.pki import NOW, make_authority, make_client, make_crl
from support.publishing import catalog_of, images_of

INDEX = make_index()


def held(cache: ImageCache, size: int = 10) -> CachedImage:
    """An image of that many bytes, as far as the cache knows."""
    return CachedImage(INDEX.metadata, lambda _: INDEX, size, cache)


def test_the_least_recently_used_image_is_let_go() -> None:
    """
    The one used last is unloaded last, and an unloaded one is loaded again.
    """
    cache = ImageCache(30)
    first, second, third, fourth = (held(cache) for _ in range(4))
    for image in (first, second, third, first, fourth):
        assert image.index() is INDEX
    assert [image.is_open for image in (first, second, third, fourth)] == [True, False, True, True]
    assert cache.size == 30
    assert second.index() is INDEX
    assert (third.is_open, cache.size) == (False, 30)


def test_an_image_larger_than_all_room_is_kept_while_it_is_used() -> None:
    """
    It must be possible to answer by it at all.
    """
    cache = ImageCache(5)
    large, small = held(cache, 50), held(cache, 1)
    large.index()
    assert (large.is_open, cache.size) == (True, 50)
    small.index()
    assert (large.is_open, small.is_open, cache.size) == (False, True, 1)


def test_images_of_an_older_snapshot_are_not_counted() -> None:
    """
    They live as long as somebody looks something up in them, no longer.
    """
    cache = ImageCache(100)
    old, kept = held(cache), held(cache)
    old.index(), kept.index()
    cache.keep_only([kept])
    assert (cache.size, kept.is_open) == (10, True)
    kept.index()
    assert cache.size == 10


@pytest.mark.parametrize("how", ["forget", "keep_only", "unload"])
def test_what_an_image_was_counted_with_is_taken_off(how: str) -> None:
    """
    Also where it has another size meanwhile: one by pages may be opened whole.
    """
    cache = ImageCache(100)
    image, other = held(cache), held(cache)
    image.index(), other.index()
    image.size = 70
    match how:
        case "forget":
            cache.forget(image)
        case "keep_only":
            cache.keep_only([other])
        case "unload":
            held(cache, 90).index()
            cache.keep_only([other])
    assert cache.size == 10
    image.index(), other.index()
    assert cache.size == 80


def test_room_must_be_positive() -> None:
    """
    A cache for nothing would load an image at every check.
    """
    for capacity in (0, -1):
        with pytest.raises(ValueError, match="positive"):
            ImageCache(capacity)
    with pytest.raises(ValueError, match="positive"):
        make_checker(MemoryStore(), image_memory=0)


def _wait_in_line(load: Any) -> list[Any]:
    """What eight threads get of one image whose loading takes until all of them are there."""
    image = CachedImage(INDEX.metadata, lambda _: load())
    arrived = threading.Barrier(8)

    def use(_: int) -> Any:
        arrived.wait(10)
        try:
            return image.index()
        except StoreUnavailableError as error:
            return error

    with ThreadPoolExecutor(8) as threads:
        return list(threads.map(use, range(8)))


@pytest.mark.parametrize("fails", [False, True])
def test_one_thread_loads_for_all(fails: bool) -> None:
    """
    Those that come while it is being loaded get the same image, or the same
    failure, without trying by themselves.
    """
    calls: list[int] = []
    pause = threading.Event()

    def load() -> RevocationIndex:
        calls.append(1)
        pause.wait(0.3)
        if fails:
            raise StoreUnavailableError("no answer")
        return INDEX

    results = _wait_in_line(load)
    assert len(calls) == 1
    if fails:
        assert {str(result) for result in results} == {"no answer"}
    else:
        assert results == [INDEX] * 8


AUTHORITIES = [make_authority(f"CA {number}") for number in range(6)]


def publish_all(store: MemoryStore) -> int:
    """Publish a CRL of each authority; return what the largest image takes."""
    for authority in AUTHORITIES:
        publish_crl(make_crl(authority, 1, [2]), store, issuer=authority.der, now=NOW)
    sizes = [record.base.size for record in catalog_of(store).scopes.values()]
    return max(sizes) + IMAGE_OVERHEAD


def test_a_checker_keeps_within_its_memory() -> None:
    """
    With room for two images, certificates of six issuers in turn are checked
    rightly; at no time are more than two images loaded.
    """
    store = CountingStore()
    size = publish_all(store)
    checker = make_checker(store, image_memory=2 * size)
    clients = [(make_client(ca, 1), make_client(ca, 2)) for ca in AUTHORITIES]
    for _ in range(2):
        for good, bad in clients:
            assert checker.check(good).status is RevocationStatus.NOT_REVOKED
            assert checker.check(bad).status is RevocationStatus.REVOKED
            assert sum(scope.loaded for scope in checker.status().scopes) <= 2
    assert store.counts["load"] == 12


def test_threads_share_a_small_memory() -> None:
    """
    Images are unloaded while other threads look things up in them, and no answer
    is wrong.
    """
    store = MemoryStore()
    size = publish_all(store)
    checker = make_checker(store, image_memory=size)
    clients = [(make_client(ca, n), n == 2) for ca in AUTHORITIES for n in (1, 2)]

    def run(start: int) -> bool:
        turned = clients[start:] + clients[:start]
        return all(
            (checker.check(client).status is RevocationStatus.REVOKED) == revoked
            for client, revoked in turned * 5
        )

    with ThreadPoolExecutor(4) as threads:
        assert all(threads.map(run, range(4)))


def test_only_what_is_needed_is_loaded() -> None:
    """
    One issuer's certificates load one image, and a lost image of another does
    not disturb them.
    """
    store = CountingStore()
    publish_all(store)
    checker = make_checker(store)
    good, other = make_client(AUTHORITIES[0], 1), make_client(AUTHORITIES[1], 1)
    assert checker.check(good).status is RevocationStatus.NOT_REVOKED
    assert store.counts["load"] == 1
    for name in images_of(store):
        store.delete(name)
    result = checker.check(other)
    assert verdict(result) == (
        RevocationStatus.UNDETERMINED,
        UndeterminedCause.STORE_UNAVAILABLE,
    )
    assert checker.check(good).status is RevocationStatus.NOT_REVOKED


def test_an_index_let_go_answers_to_who_holds_it() -> None:
    """
    Letting go closes nothing.
    """
    cache = ImageCache(10)
    report = make_index()
    image = CachedImage(report.metadata, lambda _: report, 10, cache)
    index = image.index()
    image.unload()
    assert 2 in index


@pytest.mark.parametrize("harm", ["overwritten", "cut"])
def test_a_store_s_image_that_is_changed_in_place_changes_no_answer(
    tmp_path: Path, harm: str
) -> None:
    """
    Whoever may write an image file cannot un-revoke by it, nor end the process:
    what was verified is not read from the file again, and what is read from it
    is verified.
    """
    serials = range(1 << 100, (1 << 100) + 90_000 * 77, 77)
    crl = make_crl(AUTHORITIES[0], 1, serials)
    publish_crl(crl, tmp_path, issuer=AUTHORITIES[0].der, now=NOW)
    client = make_client(AUTHORITIES[0], serials[0])
    checker = make_checker(tmp_path)
    assert checker.check(client).status is RevocationStatus.REVOKED
    (image,) = (tmp_path / "images").iterdir()
    size = image.stat().st_size
    with image.open("r+b") as file:
        if harm == "cut":
            file.truncate(100)
        else:
            file.write(bytes(size))
    assert checker.check(client).status is RevocationStatus.REVOKED
    assert verdict(make_checker(tmp_path).check(client)) == (
        RevocationStatus.UNDETERMINED,
        UndeterminedCause.STORE_UNAVAILABLE,
    )
