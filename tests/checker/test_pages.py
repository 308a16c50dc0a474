"""Answers from pages: those of whole images or errors, whatever the store gives."""

from __future__ import annotations

import gc
import hashlib
import os
import random
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from crlcheck import ImageLoading, RevocationStatus
from crlcheck.checker import images as images_module
from crlcheck.checker import pages as pages_module
from crlcheck.checker import polling
from crlcheck.checker.image_cache import CachedImage, ImageCache, NotInMemoryError
from crlcheck.checker.images import Images
from crlcheck.checker.pages import PageCache, StoredPages
from crlcheck.checker.polling import BackOff
from crlcheck.errors import CorruptIndexError, PartsUnsupportedError, StoreUnavailableError
from crlcheck.publisher.publish import publish_crl
from crlcheck.stores import LocalStore, S3Store, StoredPart
from crlcheck.stores.https import HttpsStore
from support.checking import CA, OTHER_CA, Clock, eventually, make_checker
from support.fault_proxy import BROKEN_BODY, WRONG_CHECKSUM, Fault, FaultProxy
from support.memory_store import MemoryStore
from support.moto_server import S3Environment, environment_variables
from support.paged_world import (
    LISTED,
    UNLISTED,
    PagedStore,
    ask,
    body_of_image,
    fill,
    image_name,
    is_right,
    is_unavailable,
    large_crl,
    paged_checker,
    published_objects,
)
from support.pki import NOW, make_client, make_crl
from support.publishing import catalog_of
from support.web_server import web_server

PAGE = 65536
SERIALS = [one for pair in zip(LISTED[:40], UNLISTED[:40], strict=True) for one in pair]


@pytest.fixture
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """What failed is tried again at once."""
    none = BackOff(first=0.0, longest=0.0)
    monkeypatch.setattr(polling, "OBJECT_UNAVAILABLE", none)
    monkeypatch.setattr(polling, "OBJECT_REFUSED", none)


# ---- the answers ---------------------------------------------------------------


@pytest.fixture(params=["memory", "local", "s3", "botocore", "https"])
def store(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Any]:
    """A store of each kind that has the large CRL."""
    if request.param == "memory":
        yield PagedStore()
    elif request.param in ("s3", "botocore"):
        bucket: S3Environment = request.getfixturevalue("s3")
        made = S3Store(f"s3://{bucket.bucket}/published")
        fill(made)
        if request.param == "botocore":
            made.getter = None
        yield made
    else:
        (tmp_path / "root").mkdir()
        local = LocalStore(tmp_path / "root", fsync=False)
        fill(local)
        if request.param == "local":
            yield local
            return
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "server.pem"))
        with web_server(tmp_path / "root", tmp_path) as web:
            yield HttpsStore(web.url)


@pytest.mark.parametrize("loading", [*ImageLoading, "pages"], ids=str)
def test_the_answers_are_those_of_the_whole_image(store: Any, loading: ImageLoading | str) -> None:
    """
    Over every kind of store and however images are loaded, the verdicts are the same, with
    reason and dates.
    """
    whole = ask(make_checker(PagedStore()), SERIALS)
    by_pages = ask(make_checker(store, image_loading=loading), SERIALS)
    assert [str(result) for result in by_pages] == [str(result) for result in whole]
    assert all(map(is_right, SERIALS, by_pages))
    times = [(result.revocation_date, result.reason_code) for result in by_pages]
    assert times == [(result.revocation_date, result.reason_code) for result in whole]


def test_an_unknown_way_to_load_is_refused() -> None:
    """
    A word with a typing error must not load images in another way.
    """
    with pytest.raises(ValueError, match="page"):
        make_checker(MemoryStore(), image_loading="page")


# ---- what is read ---------------------------------------------------------------


def test_a_first_answer_reads_the_end_and_two_pages() -> None:
    """
    One request has header and digests, two have the pages that a serial needs. Reason and
    dates are read for a serial that is listed, and what is kept is not read again.
    """
    store = PagedStore()
    checker = paged_checker(store)
    size = len(published_objects()[image_name()])
    (unlisted,) = ask(checker, UNLISTED[:1])
    assert unlisted.status is RevocationStatus.NOT_REVOKED
    (end, *pages) = store.parts
    assert sum(end) == size
    assert len(pages) == 2
    assert all(start >= body_of_image()[0] and length <= PAGE for start, length in pages)
    assert sum(length for _, length in store.parts) < 160_000
    before = list(store.parts)
    ask(checker, UNLISTED[:1])
    assert store.parts == before
    (listed,) = ask(checker, LISTED[:1])
    assert listed.status is RevocationStatus.REVOKED
    assert listed.revocation_date is not None
    assert len(store.parts) - len(before) >= 1
    assert store.num_loads == 0


def test_digests_of_many_pages_are_read_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Where the end that is read has neither all of the header nor the digests of the pages, it
    is read as far as the block table, and each block of digests once. A block that is another
    is asked for once more and then makes the image unusable, as a page does.
    """
    monkeypatch.setattr(pages_module, "_HEADER_ROOM", 256)
    monkeypatch.setattr(pages_module, "_WHOLE_TABLE", 0)
    size = len(published_objects()[image_name()])
    _, body_end = body_of_image()
    store = PagedStore()
    checker = paged_checker(store)
    assert all(map(is_right, SERIALS, ask(checker, SERIALS)))
    first, second, *rest = store.parts
    assert sum(first) == sum(second) == size
    assert second[0] > body_end
    blocks = [part for part in rest if part[0] >= body_end]
    assert len(blocks) == 1
    assert blocks[0][0] == body_end
    damaged = PagedStore()
    damaged.change = once(body_end)
    assert all(map(is_right, SERIALS, ask(paged_checker(damaged), SERIALS)))
    assert damaged.parts.count(blocks[0]) == 2
    damaged = PagedStore()
    damaged.change = lambda at, body: flipped(body) if at == body_end else body
    results = ask(paged_checker(damaged), SERIALS)
    assert all(map(is_unavailable, results))
    assert "block 0 of digests" in str(results[0])


def test_all_pages_are_read_once_at_most() -> None:
    """
    Each page is a request, however many serial numbers need it.
    """
    store = PagedStore()
    results = ask(paged_checker(store), SERIALS * 20)
    assert len(results) == len(SERIALS) * 20
    assert len(store.parts) == len(set(store.parts))


def test_what_is_kept_is_bounded() -> None:
    """
    The pages used last stay within a limit, and what was dropped is read again.
    """
    cache = PageCache(3 * PAGE)
    reads: list[int] = []

    def page(number: int) -> bytes:
        def read() -> bytes:
            reads.append(number)
            return bytes(PAGE)

        return cache.get(number, read)

    for number in (1, 2, 3, 1, 4):
        page(number)
        assert cache.size <= 3 * PAGE
    assert reads == [1, 2, 3, 4]
    assert cache.kept(2) is None
    page(1), page(2)
    assert reads == [1, 2, 3, 4, 2]
    assert cache.size == 3 * PAGE
    cache.keep("large", bytes(9 * PAGE))
    assert cache.size == 9 * PAGE


def test_small_images_are_read_at_once() -> None:
    """
    Up to two mebibytes one request takes less time than four.
    """
    store = PagedStore()
    small = MemoryStore()
    publish_crl(make_crl(CA, 1, [2]), small, issuer=CA.pem, now=NOW)
    for name in small.names(""):
        store.write(name, small.read(name).body)
    assert ask(paged_checker(store), [2])[0].status is RevocationStatus.REVOKED
    assert (store.parts, store.num_loads) == ([], 1)


# ---- what is wrong ---------------------------------------------------------------


def test_a_damaged_page_is_asked_for_once_more() -> None:
    """
    The same page once more may be right, and then nothing is lost.
    """
    store = PagedStore()
    checker = paged_checker(store)
    ask(checker, UNLISTED[:1])
    (first, *_) = store.parts[1:]
    fresh = PagedStore()
    fresh.change = once(first[0])
    results = ask(paged_checker(fresh), UNLISTED[:1])
    assert results[0].status is RevocationStatus.NOT_REVOKED
    assert fresh.parts.count(first) == 2


@pytest.mark.usefixtures("no_pauses")
def test_an_image_that_was_refused_is_counted_again() -> None:
    """
    When it is opened anew: else memory would be used that is in no account.
    """
    store, cache = PagedStore(), ImageCache(1 << 20)
    (record,) = catalog_of(store).scopes.values()
    image = Images(store, cache, ImageLoading.PAGES).image_of(record.base)
    image.index()
    counted = cache.size
    assert counted > 0
    image.refuse(CorruptIndexError("another page"))
    assert cache.size == 0
    image.index()
    assert cache.size == counted


@pytest.mark.parametrize("place", [-1, -33, -40, "magic"])
def test_a_damaged_end_is_asked_for_once_more(place: int | str) -> None:
    """
    It may look as if there were no trailer, and the whole image takes more memory.
    """
    store = PagedStore()
    size = len(published_objects()[image_name()])
    at = -40 - body_of_image()[0] if place == "magic" else place
    left = [at]

    def change(start: int, body: bytes) -> bytes:
        if start + len(body) < size or not left:
            return body
        damaged = bytearray(body)
        damaged[int(left.pop())] ^= 0x40
        return bytes(damaged)

    store.change = change
    assert ask(paged_checker(store), UNLISTED[:1])[0].status is RevocationStatus.NOT_REVOKED
    assert (left, store.num_loads) == ([], 0)


def once(start: int) -> Callable[[int, bytes], bytes]:
    """Damage the part at *start* when it is read first."""
    left = [start]

    def change(found: int, body: bytes) -> bytes:
        if found in left:
            left.remove(found)
            return flipped(body)
        return body

    return change


def flipped(body: bytes) -> bytes:
    """Bytes with one bit flipped."""
    return bytes([body[0] ^ 1]) + body[1:]


def test_a_page_that_is_another_makes_the_image_unusable() -> None:
    """
    Once a page does not have its digest twice, no answer comes from the image, not from the
    pages that were right either. Later it is tried again.
    """
    store = PagedStore()
    checker = paged_checker(store)
    assert ask(checker, UNLISTED[:1])[0].status is RevocationStatus.NOT_REVOKED
    start, _ = body_of_image()
    store.change = lambda at, body: flipped(body) if at >= start else body
    results = ask(checker, SERIALS)
    assert any(map(is_unavailable, results))
    first = next(number for number, one in enumerate(results) if is_unavailable(one))
    assert "does not match its digest" in str(results[first])
    assert all(map(is_unavailable, results[first:]))
    num_parts = len(store.parts)
    assert is_unavailable(ask(checker, UNLISTED[:1])[0])
    assert len(store.parts) == num_parts, "it is not asked for again at once"
    status = checker.status()
    assert not status.scopes[0].loaded
    assert "does not match" in str(status.scopes[0].error)


@pytest.mark.usefixtures("no_pauses")
def test_a_mended_image_is_used_again() -> None:
    """
    Nothing of what was refused stays behind.
    """
    store = PagedStore()
    checker = paged_checker(store)
    store.change = lambda _, body: flipped(body)
    assert all(map(is_unavailable, ask(checker, SERIALS[:4])))
    store.change = lambda _, body: body
    assert all(map(is_right, SERIALS, ask(checker, SERIALS)))


@pytest.mark.usefixtures("no_pauses")
@pytest.mark.parametrize("seed", range(30))
def test_whatever_is_damaged_no_answer_is_wrong(seed: int) -> None:
    """
    With parts that are damaged, cut, longer, empty, of other places or missing, each answer
    is right or an error.
    """
    draw = random.Random(seed)
    image = published_objects()[image_name()]
    store = PagedStore()

    def change(start: int, body: bytes) -> bytes:
        kind = draw.randrange(9)
        if kind == 0:
            place = draw.randrange(len(body))
            return body[:place] + bytes([body[place] ^ 1 << draw.randrange(8)]) + body[place + 1 :]
        if kind == 1:
            return bytes(len(body))
        if kind == 2:
            return body[: draw.randrange(len(body))]
        if kind == 3:
            return body + b"\0"
        if kind == 4:
            at = draw.randrange(len(image) - len(body))
            return image[at : at + len(body)]
        if kind == 5:
            raise draw.choice([StoreUnavailableError("down"), OSError("odd"), RuntimeError("odd")])
        return body

    store.change = change
    checker = paged_checker(store, draw.choice(["pages", "pages_then_whole"]))
    asked = draw.sample(SERIALS, 20)
    for serial, result in zip(asked, ask(checker, asked), strict=True):
        assert is_right(serial, result) or is_unavailable(result)


def test_another_image_under_the_name_is_refused() -> None:
    """
    An image with a right digest of its own, such as an older one, is not the one that the
    catalog names.
    """
    other = MemoryStore()
    publish_crl(large_crl(2), other, issuer=CA.pem, now=NOW)
    (name,) = other.names("images/")
    store = PagedStore()
    store.write(image_name(), other.read(name).body)
    results = ask(paged_checker(store), [LISTED[0], UNLISTED[0]])
    assert all(map(is_unavailable, results))


def test_an_object_that_is_replaced_is_judged_by_its_digests() -> None:
    """
    Replaced by the same bytes it goes on answering; by others it is refused, also where its
    size and its pages until now are the same.
    """
    store = PagedStore()
    checker = paged_checker(store)
    ask(checker, SERIALS[:4])
    image = published_objects()[image_name()]
    store.write(image_name(), image)
    assert all(map(is_right, SERIALS, ask(checker, SERIALS)))
    start, end = body_of_image()
    fresh = PagedStore()
    checker = paged_checker(fresh)
    ask(checker, SERIALS[:1])
    fresh.write(image_name(), image[:start] + bytes(end - start) + image[end:])
    results = ask(checker, SERIALS)
    assert all(
        is_right(*one) or is_unavailable(one[1]) for one in zip(SERIALS, results, strict=True)
    )
    assert any(map(is_unavailable, results))


def test_a_header_is_held_against_its_catalog_entry() -> None:
    """
    An image whose digest holds, but which says something else of its CRL, is refused before
    anything is looked up in it.
    """
    import dataclasses

    store = PagedStore()
    (record,) = catalog_of(store).scopes.values()
    said = dataclasses.replace(record.base.metadata, crl_number=9)
    published = dataclasses.replace(record.base, metadata=said)
    pages = StoredPages(store, published, "it", PageCache(), lambda _: None)
    with pytest.raises(CorruptIndexError, match="another header than its catalog entry"):
        pages.open()
    published = dataclasses.replace(record.base, digest="0" * 64)
    pages = StoredPages(store, published, "it", PageCache(), lambda _: None)
    with pytest.raises(CorruptIndexError, match="the catalog says 0000"):
        pages.open()


def test_a_store_that_is_down_fails_what_is_not_kept() -> None:
    """
    Pages that are kept go on answering; a page that could not be read is not asked for again
    at once; and nothing is remembered as not listed.
    """
    store = PagedStore()
    checker = paged_checker(store)
    kept = SERIALS[:2]
    ask(checker, kept)

    def fail(_operation: str, _name: str) -> None:
        raise StoreUnavailableError("no answer")

    store.before = fail
    assert all(map(is_right, kept, ask(checker, kept)))
    results = ask(checker, SERIALS)
    failed = [serial for serial, one in zip(SERIALS, results, strict=True) if is_unavailable(one)]
    assert failed
    num_parts = len(store.parts)
    assert all(map(is_unavailable, ask(checker, failed[-1:])))
    assert len(store.parts) == num_parts
    store.before = None
    eventually(lambda: is_right(failed[-1], ask(checker, failed[-1:])[0]))


def test_what_is_remembered_of_a_kind_waits_for_its_page_too() -> None:
    """
    Certificates of one kind are answered from what was found for the first of them. The page
    that each of them needs is read all the same, and without it there is no answer.
    """
    listed = [make_client(CA, serial) for serial in LISTED[:12]]
    unlisted = [make_client(CA, serial) for serial in UNLISTED[:12]]
    store = PagedStore()
    checker = paged_checker(store)
    assert checker.check(unlisted[0]).status is RevocationStatus.NOT_REVOKED

    def fail(_operation: str, _name: str) -> None:
        raise StoreUnavailableError("no answer")

    store.before = fail
    for revoked in listed:
        result = checker.check(revoked)
        assert result.status is RevocationStatus.REVOKED or is_unavailable(result)
    assert any(map(is_unavailable, map(checker.check, unlisted)))
    store.before = None
    eventually(lambda: not any(map(is_unavailable, map(checker.check, listed + unlisted))))
    revoked_all = [checker.check(one).status is RevocationStatus.REVOKED for one in listed]
    assert all(revoked_all)
    cleared = [checker.check(one).status is RevocationStatus.NOT_REVOKED for one in unlisted]
    assert all(cleared)
    assert checker.check(unlisted[0]).status is RevocationStatus.NOT_REVOKED
    # And a page that is another is an error for all of the kind.
    fresh = paged_checker(store)
    assert fresh.check(unlisted[0]).status is RevocationStatus.NOT_REVOKED
    start, _ = body_of_image()
    store.change = lambda at, body: flipped(body) if at >= start else body
    results = [fresh.check(one) for one in listed + unlisted]
    assert is_unavailable(results[-1])
    assert not any(one.status is RevocationStatus.NOT_REVOKED for one in results[: len(listed)])


@pytest.mark.parametrize("by_certificate", [True, False])
def test_where_the_image_is_gone_a_newer_set_is_looked_for(by_certificate: bool) -> None:
    """
    Clean-up deletes the image of a set that was replaced. A checker that needs a page of it
    asks for the newer set at once, although no poll is due.
    """
    store, clock = PagedStore(), Clock()
    checker = paged_checker(store, clock=clock)
    (kept, other), clients = UNLISTED[:2], [make_client(CA, one) for one in UNLISTED[:2]]

    def asked(number: int) -> Any:
        serial = (kept, other)[number]
        return checker.check(clients[number]) if by_certificate else ask(checker, [serial])[0]

    assert asked(0).crl_number == 1
    publish_crl(large_crl(2), store, issuer=CA.pem, now=NOW)
    store.delete(image_name())
    clock.now += timedelta(seconds=10)
    assert asked(0).crl_number == 1
    found = asked(1)
    assert (found.status, found.crl_number) == (RevocationStatus.NOT_REVOKED, 2)


def test_status_reads_nothing() -> None:
    """
    A health endpoint does not wait for the store.
    """
    store = PagedStore()
    checker = paged_checker(store)
    checker.preload()
    num_parts = len(store.parts)
    assert num_parts == 1
    status = checker.status()
    assert status.answering
    assert status.scopes[0].loaded
    assert len(store.parts) == num_parts


# ---- threads and processes ------------------------------------------------------------


@pytest.mark.parametrize("fails", [False, True])
def test_a_page_is_read_by_one_of_many_threads(fails: bool) -> None:
    """
    Threads that need a page at one time wait for one of them, and all get what it got.
    """
    cache, reads = PageCache(), []
    started, done = threading.Barrier(8), threading.Event()

    def read() -> bytes:
        reads.append(1)
        done.wait(0.3)
        if fails:
            raise StoreUnavailableError("no answer")
        return b"page"

    def use(_: int) -> Any:
        started.wait(10)
        try:
            return cache.get("key", read)
        except StoreUnavailableError as error:
            return str(error)

    with ThreadPoolExecutor(8) as threads:
        results = list(threads.map(use, range(8)))
    assert len(reads) == 1
    if fails:
        assert all("no answer" in result for result in results)
    else:
        assert results == [b"page"] * 8


def test_a_read_that_is_interrupted_keeps_nobody_waiting() -> None:
    """
    SystemExit in one thread is an error for the others that wait, and the next one reads.
    """
    cache = PageCache()
    begun, go_on = threading.Event(), threading.Event()

    def interrupted() -> bytes:
        begun.set()
        go_on.wait(10)
        raise SystemExit

    def lead() -> None:
        with pytest.raises(SystemExit):
            cache.get("key", interrupted)

    with ThreadPoolExecutor(2) as threads:
        leader = threads.submit(lead)
        begun.wait(10)
        waiter = threads.submit(cache.get, "key", lambda: b"x")
        time.sleep(0.1)
        go_on.set()
        leader.result(10)
        assert isinstance(waiter.exception(10), StoreUnavailableError)
    assert cache.get("key", lambda: b"page") == b"page"


def test_threads_get_right_answers_from_few_pages() -> None:
    """
    While pages come and go, because nearly none fit, every answer is right.
    """
    store = PagedStore()
    checker = paged_checker(store)
    held = checker._set
    images: Images = held._images  # type: ignore[union-attr]
    images._pages = PageCache(4 * PAGE)
    checker.preload()

    def run(seed: int) -> bool:
        asked = random.Random(seed).sample(LISTED + UNLISTED, 150)
        return all(map(is_right, asked, ask(checker, asked)))

    with ThreadPoolExecutor(6) as threads:
        assert all(threads.map(run, range(6)))
    assert images._pages.size <= 4 * PAGE


def test_a_forked_process_reads_pages_of_its_own() -> None:
    """
    What the parent's threads were reading does not keep a child waiting.
    """
    store = PagedStore()
    checker = paged_checker(store)
    ask(checker, SERIALS[:2])
    reading, go_on = threading.Event(), threading.Event()

    def wait(_operation: str, _name: str) -> None:
        if threading.current_thread() is not threading.main_thread():
            reading.set()
            go_on.wait(30)

    store.before = wait
    with ThreadPoolExecutor(1) as threads:
        under_way = threads.submit(ask, checker, SERIALS)
        assert reading.wait(10)
        child = os.fork()
        if child == 0:
            good = all(map(is_right, SERIALS, ask(checker, SERIALS)))
            os._exit(0 if good else 1)
        end = time.monotonic() + 60
        while (ended := os.waitpid(child, os.WNOHANG)) == (0, 0):
            assert time.monotonic() < end
            time.sleep(0.05)
        go_on.set()
        assert ended[1] == 0
        assert all(map(is_right, SERIALS, under_way.result(30)))


# ---- pages, then the whole ----------------------------------------------------------


class HeldStore(PagedStore):
    """A store whose whole images come when they are let go."""

    def __init__(self) -> None:
        super().__init__()
        self.let_go = threading.Event()
        self.broken = 0

    def load(self, name: str) -> bytes:
        """As ObjectStore.load."""
        body = super().load(name)
        self.let_go.wait(30)
        if self.broken > 0:
            self.broken -= 1
            if self.broken % 2:
                raise StoreUnavailableError("no answer")
            return flipped(body)
        return body


def test_the_whole_image_takes_the_place_of_the_pages() -> None:
    """
    Answers come from pages while the image is loaded; from then on nothing more is read.
    """
    store = HeldStore()
    checker = paged_checker(store, "pages_then_whole")
    assert all(map(is_right, SERIALS[:6], ask(checker, SERIALS[:6])))
    assert store.parts
    eventually(lambda: store.num_loads == 1)
    store.let_go.set()
    held: Any = checker._set
    (image,) = held.in_use.views.all_images()
    eventually(lambda: hasattr(image.index(), "stats"))
    store.parts.clear()
    asked = LISTED[:3000:3] + UNLISTED[:3000:3]
    assert all(map(is_right, asked, ask(checker, asked)))
    assert (store.parts, store.num_loads) == ([], 1)


def test_the_first_page_comes_before_the_whole_image() -> None:
    """
    All of the image beside it would take its part of the network from the first answer.
    """
    order: list[str] = []

    class OrderedStore(PagedStore):
        """A store that notes in which order it was read."""

        def read_part(
            self, name: str, start: int, size: int, *, etag: str = ""
        ) -> StoredPart | None:
            """As PartStore.read_part."""
            order.append("part")
            return super().read_part(name, start, size, etag=etag)

        def load(self, name: str) -> bytes:
            """As ObjectStore.load."""
            order.append("whole")
            return super().load(name)

    checker = paged_checker(OrderedStore(), "pages_then_whole")
    assert is_right(LISTED[0], ask(checker, LISTED[:1])[0])
    eventually(lambda: "whole" in order)
    assert order[:2] == ["part", "part"]  # the end of the image, and the page


def test_the_whole_image_comes_after_preload_without_a_page() -> None:
    """
    So that the first checks need no page either.
    """
    store = HeldStore()
    store.let_go.set()
    checker = paged_checker(store, "pages_then_whole")
    checker.preload()
    eventually(lambda: store.num_loads == 1)


@pytest.mark.parametrize(("broken", "said"), [(1, "is corrupt"), (2, "no answer")])
def test_an_image_that_does_not_come_whole_is_answered_by_pages(broken: int, said: str) -> None:
    """
    A download that brings other bytes, or fails, changes no answer and is said in the status.
    """
    store = HeldStore()
    store.broken = broken
    checker = paged_checker(store, "pages_then_whole")
    assert all(map(is_right, SERIALS[:4], ask(checker, SERIALS[:4])))
    store.let_go.set()
    eventually(lambda: said in str(checker.status().scopes[0].error))
    assert all(map(is_right, SERIALS, ask(checker, SERIALS)))
    assert checker.status().answering


@pytest.mark.usefixtures("no_pauses")
def test_an_image_that_did_not_come_whole_is_tried_again() -> None:
    """
    When a page is needed a while later.
    """
    store = HeldStore()
    store.broken = 4
    store.let_go.set()
    checker = paged_checker(store, "pages_then_whole")

    def is_whole() -> bool:
        asked = random.sample(LISTED + UNLISTED, 20)
        assert all(map(is_right, asked, ask(checker, asked)))
        (image,) = held.in_use.views.all_images()
        return hasattr(image.index(), "stats")

    held: Any = checker._set
    # Few pages are kept, so that there is always one to read.
    held._images._pages = PageCache(2 * PAGE)
    eventually(is_whole)
    assert store.num_loads == 5
    assert checker.status().scopes[0].error is None


def test_only_one_thread_loads_it() -> None:
    """
    However many threads need pages meanwhile.
    """
    store = HeldStore()
    checker = paged_checker(store, "pages_then_whole")
    with ThreadPoolExecutor(8) as threads:
        results = list(threads.map(lambda serial: ask(checker, [serial])[0], SERIALS))
    assert all(map(is_right, SERIALS, results))
    eventually(lambda: store.num_loads == 1)
    store.let_go.set()


def test_one_image_is_loaded_at_a_time() -> None:
    """
    ``image_memory`` has no room for images that are under way, so the others wait, and are
    loaded when one of their pages is needed afterwards.
    """
    store = HeldStore()
    publish_crl(make_crl(OTHER_CA, 1, LISTED), store, issuer=OTHER_CA.pem, now=NOW)
    checker = paged_checker(store, "pages_then_whole")
    for authority in (CA, OTHER_CA):
        assert all(map(is_right, SERIALS[:6], ask(checker, SERIALS[:6], authority)))
    eventually(lambda: store.num_loads == 1)
    store.let_go.set()

    def are_whole() -> bool:
        for authority in (CA, OTHER_CA):
            asked = random.sample(LISTED + UNLISTED, 20)
            assert all(map(is_right, asked, ask(checker, asked, authority)))
        images = held.in_use.views.all_images()
        return all(hasattr(image.index(), "stats") for image in images)

    held: Any = checker._set
    eventually(are_whole)
    assert store.num_loads == 2


@pytest.mark.parametrize(
    ("meanwhile", "num_loads"), [("loaded whole", 1), ("closed", 0), ("unloaded", 0), ("gone", 0)]
)
def test_nothing_is_loaded_where_no_page_answers_any_more(
    meanwhile: str, num_loads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A moment passes before all of an image is loaded. Who needs it then may have it already,
    or nobody may need it.
    """
    store, wakes = PagedStore(), threading.Event()
    pause = SimpleNamespace(sleep=lambda _: wakes.wait(30), monotonic=time.monotonic)
    monkeypatch.setattr(images_module, "time", pause)
    images = Images(store, loading=ImageLoading.PAGES_THEN_WHOLE)
    (record,) = catalog_of(store).scopes.values()
    image = images.image_of(record.base)
    image.index()
    assert image.download is not None
    image.download()
    if meanwhile == "loaded whole":
        assert image.close_pages(wants_whole=True)
        image.index()
    elif meanwhile == "closed":
        assert image.close_pages()
    elif meanwhile == "unloaded":
        image.unload()
    elif meanwhile == "gone":
        del image
        gc.collect()
    wakes.set()
    eventually(lambda: not images._downloads.lock.locked())
    assert store.num_loads == num_loads


@pytest.mark.parametrize("end", ["close_pages", "unload", "replace"])
def test_an_image_without_pages_has_no_download(end: str) -> None:
    """
    Where it is unloaded, and where all of it has come.
    """
    store = PagedStore()
    images = Images(store, loading=ImageLoading.PAGES_THEN_WHOLE)
    (record,) = catalog_of(store).scopes.values()
    image = images.image_of(record.base)
    image.index()
    assert image.download is not None
    getattr(image, end)(*([images.whole(record.base)] if end == "replace" else []))
    assert image.download is None


def test_what_is_in_memory_is_known_without_the_store() -> None:
    """
    Who must not read, such as the status, gets answers by pages that are kept, and an error
    that names the one that is not.
    """
    store = PagedStore()
    (record,) = catalog_of(store).scopes.values()
    index: Any = Images(store, loading=ImageLoading.PAGES).image_of(record.base).index()
    in_memory = index.in_memory()
    before = list(store.parts)
    with pytest.raises(NotInMemoryError, match=r"images/.*\.crlx in memory:: page 0 is not in mem"):
        index.pages.page_if_kept(0)
    for serial in (LISTED[0], UNLISTED[0]):
        with pytest.raises(NotInMemoryError):
            in_memory.find(serial)
        assert store.parts == before
        assert (index.find(serial) is None) == (serial in UNLISTED[:1])
        assert in_memory.find(serial) == index.find(serial)
        before = list(store.parts)
    body, end = body_of_image()
    start, size = next(part for part in before if body <= part[0] and sum(part) <= end)
    page = published_objects()[image_name()][start : start + size]
    assert index.pages.page_if_kept((start - body) // PAGE) == page


def test_a_child_has_the_pages_and_none_of_the_reads_under_way() -> None:
    """
    The thread that held the locks is the parent's, and so are those that were reading. It may
    have been interrupted while it counted.
    """
    cache = PageCache(3 * PAGE)
    for number in (1, 2):
        cache.get(number, lambda: bytes(PAGE))
    with pytest.raises(StoreUnavailableError):
        cache.get(4, failing)
    held = cache._lock, cache._attempts._lock
    for lock in held:
        assert lock.acquire(blocking=False)
    cache._reads[3] = pages_module._Read()
    cache._size = 7
    cache.after_fork()
    assert not cache._lock.locked()
    assert not cache._attempts._lock.locked()
    assert cache._reads == {}
    assert cache.size == 2 * PAGE
    assert cache.get(3, lambda: b"3") == b"3"
    with pytest.raises(StoreUnavailableError, match="a moment ago"):
        cache.get(4, lambda: b"4")


def failing() -> bytes:
    """Read a page of a store that does not answer."""
    raise StoreUnavailableError("no answer")


# ---- where there are no pages ----------------------------------------------------


class StubbornStore(PagedStore):
    """A store whose server sends all of an object."""

    def read_part(self, name: str, start: int, size: int, *, etag: str = "") -> StoredPart | None:
        """As PartStore.read_part."""
        self.parts.append((start, size))
        raise PartsUnsupportedError(f"{name}{etag}: all of it", store=name)


@pytest.mark.parametrize("loading", ["pages", "pages_then_whole"])
def test_a_store_without_parts_gives_whole_images(loading: str) -> None:
    """
    So every store can be used, however images are to be loaded.
    """
    for store in (StubbornStore(), plain(PagedStore())):
        assert all(map(is_right, SERIALS, ask(paged_checker(store, loading), SERIALS)))


class FickleStore(PagedStore):
    """A store whose server sends parts for a while."""

    num_left = 6

    def read_part(self, name: str, start: int, size: int, *, etag: str = "") -> StoredPart | None:
        """As PartStore.read_part."""
        self.num_left -= 1
        if self.num_left < 0:
            raise PartsUnsupportedError(f"{name}: all of it", store=name)
        return super().read_part(name, start, size, etag=etag)


def test_a_store_that_sends_parts_no_longer_gives_whole_images() -> None:
    """
    An image that is open by its pages is loaded whole, within the check that finds out.
    """
    store = FickleStore()
    checker = paged_checker(store)
    assert all(map(is_right, SERIALS, ask(checker, SERIALS)))
    assert store.parts
    assert store.num_loads == 1
    too_small = paged_checker(FickleStore(), image_memory=1 << 20)
    results = ask(too_small, SERIALS)
    assert is_right(SERIALS[0], results[0])
    assert is_unavailable(results[-1])
    assert "cannot be read by pages" in str(results[-1])


@pytest.mark.parametrize("loading", ["pages", "pages_then_whole"])
def test_a_store_that_sends_the_end_and_no_page_gives_whole_images(loading: str) -> None:
    """
    One server of several may send parts, so that pages are tried once more before that.
    """

    class EndStore(PagedStore):
        """A store that sends parts that reach to the end, and a number of others."""

        num_left = 1

        def read_part(
            self, name: str, start: int, size: int, *, etag: str = ""
        ) -> StoredPart | None:
            """As PartStore.read_part."""
            if start + size != len(published_objects()[name]):
                self.num_left -= 1
                if self.num_left < 0:
                    raise PartsUnsupportedError(f"{name}: all of it", store=name)
            return super().read_part(name, start, size, etag=etag)

    store = EndStore()
    checker = paged_checker(store, loading)
    assert all(map(is_right, SERIALS[:3], ask(checker, SERIALS[:3])))
    assert store.num_loads
    store = EndStore()
    store.num_left = 0
    too_small = paged_checker(store, image_memory=1 << 20)
    (result,) = ask(too_small, SERIALS[:1])
    assert "cannot be read by pages" in str(result)
    store.num_left = 9
    assert all(map(is_right, SERIALS[:1], ask(too_small, SERIALS[:1])))


def test_what_another_thread_opens_while_the_pages_are_closed_stays(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    It is not unloaded, and counts with its own size.
    """
    store, cache = FickleStore(), ImageCache(1 << 30)
    store.num_left = 1
    (record,) = catalog_of(store).scopes.values()
    image = Images(store, cache, ImageLoading.PAGES).image_of(record.base)
    image.index()
    assert cache.size == image.size < record.base.size
    other = threading.Thread(target=image.index)
    forget = cache.forget

    def forget_late(closed: CachedImage) -> None:
        other.start()
        other.join(0.3)  # time enough, if it had not to wait
        forget(closed)

    monkeypatch.setattr(cache, "forget", forget_late)
    assert image.close_pages()
    other.join()
    assert image.is_open
    assert not image.close_pages()
    assert cache.size == image.size > record.base.size


def plain(store: Any) -> Any:
    """A store that has the methods of an ObjectStore and no others."""

    class Plain:
        url = "plain:"

        def __getattr__(self, name: str) -> Any:
            if name == "read_part":
                raise AttributeError(name)
            return getattr(store, name)

    made = Plain()
    for name in ("read", "read_if_changed", "load", "write", "delete", "names"):
        setattr(made, name, getattr(store, name))
    return made


def test_what_is_too_large_for_memory_is_not_loaded_instead() -> None:
    """
    Whoever asked for pages has no memory for all of an image.
    """
    checker = paged_checker(StubbornStore(), image_memory=1 << 20)
    results = ask(checker, SERIALS[:2])
    assert all(map(is_unavailable, results))
    assert "cannot be read by pages" in str(results[0])
    assert "all of it" in str(results[0])
    then_whole = paged_checker(StubbornStore(), "pages_then_whole", image_memory=1 << 20)
    assert all(map(is_right, SERIALS[:2], ask(then_whole, SERIALS[:2])))


def test_an_image_of_an_earlier_version_has_no_trailer() -> None:
    """
    It is not opened by pages, so it is loaded whole.
    """
    import dataclasses

    store = PagedStore()
    image = bytearray(published_objects()[image_name()])
    start, end = body_of_image()
    pages = -(-(end - start) // PAGE)
    image[12] = 1
    image[16:24] = (end + 32 * (pages + 1)).to_bytes(8, "little")
    table = image[end : end + 32 * pages]
    earlier = bytes(image[:end] + table) + hashlib.sha256(image[:start] + table).digest()
    (record,) = catalog_of(store).scopes.values()
    digest = earlier[-32:].hex()
    published = dataclasses.replace(record.base, digest=digest, size=len(earlier))
    store.write(published.name, earlier)
    assert StoredPages(store, published, "it", PageCache(), lambda _: None).open() is None
    index = Images(store, loading=ImageLoading.PAGES).image_of(published).index()
    assert (LISTED[0] in index, UNLISTED[0] in index) == (True, False)
    assert store.num_loads == 1


def test_an_image_under_a_new_name_is_read_by_that_name() -> None:
    """
    The object of the old name may be deleted; the pages that are kept serve both.
    """
    import dataclasses

    store = PagedStore()
    (record,) = catalog_of(store).scopes.values()
    images = Images(store, loading=ImageLoading.PAGES)
    first = images.image_of(record.base)
    assert LISTED[0] in first.index()
    moved = dataclasses.replace(record.base, name="images/moved.crlx")
    store.write(moved.name, store.read(record.base.name).body)
    second = images.image_of(moved)
    store.delete(record.base.name)
    assert LISTED[0] in second.index()
    assert all(serial in second.index() for serial in LISTED[:500])


def test_a_page_that_one_object_lacks_is_read_from_another() -> None:
    """
    What could not be read of the object of one name is no reason not to try another name's.
    """
    import dataclasses

    store = PagedStore()
    (record,) = catalog_of(store).scopes.values()
    images = Images(store, loading=ImageLoading.PAGES)
    first = images.image_of(record.base).index()
    moved = dataclasses.replace(record.base, name="images/moved.crlx")
    store.write(moved.name, store.read(record.base.name).body)
    store.delete(record.base.name)
    with pytest.raises(FileNotFoundError):
        _ = LISTED[0] in first
    assert LISTED[0] in images.image_of(moved).index()


def test_an_open_image_counts_with_its_header() -> None:
    """
    The header of an indirect CRL names each certificate issuer, and stays in memory.
    """
    store = PagedStore()
    (record,) = catalog_of(store).scopes.values()
    image = Images(store, loading=ImageLoading.PAGES).image_of(record.base)
    before = image.size
    image.index()
    assert image.size == before + body_of_image()[0]


# ---- S3 with faults ---------------------------------------------------------------


def test_faults_of_s3_end_in_right_answers_or_none(
    s3: S3Environment, proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch, no_pauses: None
) -> None:
    """
    Answers that break off, that are refused, lost or damaged: each verdict is right, or says
    that the store did not answer.
    """
    fill(S3Store(f"s3://{s3.bucket}/published", client=s3.client))
    for name, value in environment_variables(proxy.endpoint).items():
        monkeypatch.setenv(name, value)
    proxy.concerns = lambda _, path: "/images/" in path
    draw = random.Random(6)
    for _ in range(6):
        proxy.faults.clear()
        kinds = [BROKEN_BODY, WRONG_CHECKSUM, Fault(), Fault(status=503), Fault(status=403)]
        proxy.faults.extend(draw.choices([*kinds, Fault(part=1), Fault(part=1)], k=8))
        checker = paged_checker(S3Store(f"s3://{s3.bucket}/published"))
        asked = draw.sample(SERIALS, 8)
        results = ask(checker, asked)
        assert all(
            is_right(*one) or is_unavailable(one[1]) for one in zip(asked, results, strict=True)
        )
    proxy.faults.clear()
    checker = paged_checker(S3Store(f"s3://{s3.bucket}/published"))
    assert all(map(is_right, SERIALS, ask(checker, SERIALS)))
