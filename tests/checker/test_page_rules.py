"""The rules by which pages are kept and read, one by one; whole answers are in test_pages."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from crlcheck._binding import DIGEST_SIZE, DIGESTS_PER_BLOCK, PAGE_SIZE
from crlcheck.checker import pages as pages_module
from crlcheck.checker import polling
from crlcheck.checker.pages import PageCache, StoredIndex, StoredPages
from crlcheck.errors import (
    CorruptIndexError,
    IndexFileError,
    PartsUnsupportedError,
    StoreUnavailableError,
)
from crlcheck.image.digests import BLOCK_SIZE, Trailer
from crlcheck.stores import StoredPart
from support.paged_world import (
    LISTED,
    PagedStore,
    body_of_image,
    image_name,
    published_objects,
)
from support.publishing import catalog_of

# ---- what is kept ---------------------------------------------------------------------


def test_pages_are_counted_once_and_the_last_one_stays() -> None:
    """All that fits is kept. Of what does not the pages used longest ago go, but for the last."""
    cache = PageCache(10)
    assert cache.size == 0
    cache.keep("a", bytes(4))
    cache.keep("b", bytes(6))
    assert (cache.size, kept_of(cache, "ab")) == (10, "ab")
    cache.keep("b", bytes(6))
    cache.keep("a", bytes(3))
    assert cache.size == 9
    cache.keep("b", bytes(5))
    cache.keep("a", bytes(4))
    cache.keep("c", bytes(2))
    assert (cache.size, kept_of(cache, "abc")) == (6, "ac")
    cache.keep("d", bytes(50))
    assert (cache.size, kept_of(cache, "acd")) == (50, "d")
    cache.keep("e", bytes(60))
    assert (cache.size, kept_of(cache, "de")) == (60, "e")


def kept_of(cache: PageCache, keys: str) -> str:
    """Those of the keys under which pages are kept; this is no use of them."""
    return "".join(key for key in keys if key in cache._kept)


def test_to_ask_for_a_page_is_a_use_of_it() -> None:
    """Also where it must be in memory."""
    cache = PageCache(10)
    for key in "abc":
        cache.get(key, lambda: bytes(3))
    assert cache.kept("a") == bytes(3)
    assert cache.get("b", lambda: b"another") == bytes(3)
    cache.get("d", lambda: bytes(4))
    assert kept_of(cache, "abcd") == "abd"


def test_a_failure_is_forgotten_when_it_is_read_after_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """What failed of one object is not what failed of another, and an empty page is one."""
    monkeypatch.setattr(polling, "OBJECT_UNAVAILABLE", polling.BackOff(first=0.0, longest=0.0))
    cache = PageCache(10)

    def fail() -> bytes:
        raise StoreUnavailableError("no answer")

    for source in ("here", "there"):
        with pytest.raises(StoreUnavailableError, match="no answer"):
            cache.get("a", fail, source)
    assert set(cache._attempts._failures) == {("here", "a"), ("there", "a")}
    assert cache.get("a", bytes, "here") == b""
    assert set(cache._attempts._failures) == {("there", "a")}
    assert cache._reads == {}


@pytest.mark.parametrize("error", [IndexFileError("x"), PartsUnsupportedError("x", store="s:")])
def test_what_ends_the_use_of_pages_is_no_failure_of_one(error: Exception) -> None:
    """Who uses the image does something else, and may try it again at once."""
    cache = PageCache(10)

    def fail() -> bytes:
        raise error

    with pytest.raises(type(error)):
        cache.get("a", fail)
    assert not cache._attempts._failures
    assert cache.get("a", lambda: b"a") == b"a"


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (CorruptIndexError("it is corrupt"), CorruptIndexError, "it is corrupt"),
        (IndexFileError("it is refused"), CorruptIndexError, "it is refused"),
        (FileNotFoundError("it is gone"), FileNotFoundError, "it is gone"),
        (PartsUnsupportedError("all of it", store="s:"), PartsUnsupportedError, "all of it"),
        (StoreUnavailableError("no answer"), StoreUnavailableError, "no answer"),
        (RuntimeError("a fault"), StoreUnavailableError, "a fault"),
        (None, StoreUnavailableError, "reading was interrupted"),
    ],
)
def test_who_waits_gets_an_error_of_its_own(
    error: Exception | None, kind: type[Exception], words: str
) -> None:
    """Of the kind by which its caller goes on, and with the same words."""
    read = pages_module._Read()
    read.error = error
    read.ended.set()
    with pytest.raises(kind) as caught:
        read.wait()
    assert type(caught.value) is kind
    assert str(caught.value) == words
    assert caught.value is not error
    assert caught.value.__cause__ is error
    if isinstance(caught.value, PartsUnsupportedError):
        assert caught.value.store == "s:"


# ---- the end of an image ---------------------------------------------------------------


def opened(store: PagedStore, **refuse: Callable[[IndexFileError], None]) -> Any:
    """The large image by pages; nothing of it is in memory."""
    return pages_of(store, **refuse).open()


def pages_of(
    store: PagedStore, refuse: Callable[[IndexFileError], None] = lambda _: None
) -> StoredPages:
    """The pages of the large image."""
    (record,) = catalog_of(store).scopes.values()
    return StoredPages(store, record.base, "it", PageCache(), refuse)


def num_pages() -> int:
    """How many pages the body of the large image has."""
    start, end = body_of_image()
    return -(-(end - start) // PAGE_SIZE)


def needed() -> int:
    """How many bytes the header of the large image and its block table take at its end."""
    image = published_objects()[image_name()]
    return Trailer(image[-4096:]).size(num_pages())


@pytest.mark.parametrize("more", [0, -1])
def test_the_page_table_comes_with_the_end_where_it_is_short(
    more: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Up to the limit. A longer one is left out, and the digests are read as they are needed."""
    size = len(published_objects()[image_name()])
    # By the size of the image: how many pages its body has is not known yet.
    at_most = -(-size // PAGE_SIZE)
    table = at_most * DIGEST_SIZE
    monkeypatch.setattr(pages_module, "_WHOLE_TABLE", table + more)
    store = PagedStore()
    assert opened(store).metadata.num_entries == len(LISTED)
    blocks = -(-at_most // DIGESTS_PER_BLOCK) * DIGEST_SIZE
    length = (16 << 10) + blocks + (0 if more else table)
    assert store.parts == [(size - length, length)]


def test_no_more_is_read_than_the_image_has(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the end that would be read first is longer than all of it."""
    size = len(published_objects()[image_name()])
    monkeypatch.setattr(pages_module, "_HEADER_ROOM", size)
    store = PagedStore()
    assert opened(store) is not None
    assert store.parts == [(0, size)]


@pytest.mark.parametrize("less", [0, 1])
def test_a_longer_end_is_read_only_where_it_is_needed(
    less: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An end that has exactly header and block table is enough."""
    blocks = -(-num_pages() // DIGESTS_PER_BLOCK) * DIGEST_SIZE
    monkeypatch.setattr(pages_module, "_WHOLE_TABLE", 0)
    monkeypatch.setattr(pages_module, "_HEADER_ROOM", needed() - blocks - less)
    store = PagedStore()
    assert opened(store) is not None
    assert [length for _, length in store.parts] == ([needed() - 1] * less) + [needed()]


@pytest.mark.parametrize("less", [0, 1])
def test_a_header_up_to_a_size_is_read_by_itself(
    less: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a larger one all of the image is loaded."""
    header_size, _ = body_of_image()
    monkeypatch.setattr(pages_module, "_LARGEST_HEADER", header_size - less)
    assert (opened(PagedStore()) is None) == bool(less)


def test_an_end_that_has_no_trailer_the_second_time_is_no_end() -> None:
    """What came first was another one, and so may what comes then be: it is loaded whole."""
    size = len(published_objects()[image_name()])
    left = [-41, -40 - body_of_image()[0]]  # how its header ends, and how it begins

    def change(start: int, body: bytes) -> bytes:
        damaged = bytearray(body)
        if start + len(body) == size and left:
            damaged[left.pop(0)] ^= 0x40
        return bytes(damaged)

    store = PagedStore()
    store.change = change
    assert opened(store) is None
    assert left == []


# ---- pages ----------------------------------------------------------------------------


def test_no_page_of_a_broken_image_is_given_out() -> None:
    """Whoever still has it gets the same error for each, without a request."""
    told: list[IndexFileError] = []
    store = PagedStore()
    index = opened(store, refuse=told.append)
    assert index.pages.page(1)
    start, _ = body_of_image()
    store.change = lambda at, body: bytes(len(body)) if at >= start else body
    with pytest.raises(CorruptIndexError, match="^it: page 0 does not match its digest$") as first:
        index.pages.page(0)
    assert told == [first.value]
    before = list(store.parts)
    assert before.count((start, PAGE_SIZE)) == 2
    for number in (0, 1, 2):
        with pytest.raises(CorruptIndexError, match="^it: page 0 does not match its digest$"):
            index.pages.page(number)
    assert store.parts == before


def test_somebody_is_told_after_each_page_that_was_needed() -> None:
    """Read or not, and before that nobody."""
    store, told = PagedStore(), [0]
    index = opened(store)
    index.pages.page(0)

    def note() -> None:
        told[0] += 1

    index.pages.after_page = note
    index.pages.page(0)
    store.change = lambda _, body: bytes(len(body))
    with pytest.raises(CorruptIndexError):
        index.pages.page(1)
    assert told == [2]


class OneRange:
    """A store that has one object, whose bytes are made where they are asked for."""

    url = "ranges:"

    def __init__(self) -> None:
        self.asked: list[tuple[int, int]] = []

    def read_part(self, _name: str, start: int, size: int, *, etag: str = "") -> StoredPart | None:
        """As PartStore.read_part."""
        assert etag in ("", "x")
        self.asked.append((start, size))
        return StoredPart(content(start, size), "x")


def content(start: int, size: int) -> bytes:
    """Bytes that tell where they are."""
    return hashlib.sha256(b"%d %d" % (start, size)).digest()[:1] * size


def test_the_pages_of_a_second_block_of_digests_are_found() -> None:
    """Of an image of more than DIGESTS_PER_BLOCK pages, the last of which is short."""
    store, body_start, last = OneRange(), 1000, 77
    number = DIGESTS_PER_BLOCK + 2
    body_end = body_start + number * PAGE_SIZE + last
    page = hashlib.sha256(content(body_start + number * PAGE_SIZE, last)).digest()
    (record,) = catalog_of(PagedStore()).scopes.values()
    published = replace(record.base, size=body_end + 10**6)
    any_store: Any = store
    pages = StoredPages(any_store, published, "it", PageCache(), lambda _: None)
    pages._body_start, pages._body_end, pages._num_pages = body_start, body_end, number + 1
    table_start, table_size = body_end + BLOCK_SIZE, 3 * DIGEST_SIZE
    digests = bytes(2 * DIGEST_SIZE) + page
    pages._block_table = bytes(DIGEST_SIZE) + hashlib.sha256(digests).digest()
    read_part = store.read_part

    def with_digests(name: str, start: int, size: int, *, etag: str = "") -> StoredPart | None:
        found = read_part(name, start, size, etag=etag)
        return StoredPart(digests, "x") if start == table_start else found

    any_store.read_part = with_digests
    assert pages.page(number) == content(body_start + number * PAGE_SIZE, last)
    assert store.asked == [(table_start, table_size), (body_start + number * PAGE_SIZE, last)]
    assert pages.page_if_kept(number)
    wrong = StoredPages(any_store, published, "it", PageCache(), lambda _: None)
    wrong._body_start, wrong._body_end, wrong._num_pages = body_start, body_end, number + 1
    wrong._block_table = bytes(2 * DIGEST_SIZE)
    with pytest.raises(CorruptIndexError, match="^it: block 1 of digests does not match"):
        wrong.page(number)


# ---- what a store may answer -------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (None, "it: found nothing, expected "),
        (b"", "it: found 0 bytes, expected "),
        (b"123", "it: found 3 bytes, expected "),
        (MemoryError("none left"), "it: not read: MemoryError: none left"),
    ],
)
def test_what_is_no_page_is_no_answer(
    answer: Any, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is taken for bytes of the image, and it is tried again later."""
    store = PagedStore()
    index = opened(store)
    num_asked = 0

    def read_part(_name: str, _start: int, _size: int, *, etag: str = "") -> StoredPart | None:
        nonlocal num_asked
        num_asked += 1
        assert bool(etag) == (num_asked == 1)
        if isinstance(answer, Exception):
            raise answer
        return None if answer is None else StoredPart(answer, "another")

    monkeypatch.setattr(store, "read_part", read_part)
    with pytest.raises(StoreUnavailableError) as caught:
        index.pages.page(0)
    assert str(caught.value).startswith(words)
    if answer is None:
        assert num_asked == 2, "the state that was read first is gone: another one is asked for"


@pytest.mark.parametrize("error", [FileNotFoundError("gone"), StoreUnavailableError("no answer")])
def test_an_error_of_the_store_is_its_own(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By its kind a checker looks for a newer set, or waits."""
    store = PagedStore()
    index = opened(store)

    def read_part(*_: object, **__: object) -> StoredPart | None:
        raise error

    monkeypatch.setattr(store, "read_part", read_part)
    with pytest.raises(type(error)) as caught:
        index.pages.page(0)
    assert caught.value is error


def test_the_state_that_was_read_last_is_asked_for() -> None:
    """After the object was replaced by the same bytes, one request for each page is enough."""
    store = PagedStore()
    index: StoredIndex = opened(store)
    index.pages.page(0)
    store.write(image_name(), published_objects()[image_name()])
    before = len(store.parts)
    index.pages.page(1)
    assert len(store.parts) == before + 2
    index.pages.page(2)
    assert len(store.parts) == before + 3
