"""Images that ``publish_many`` writes while other CRLs are being compiled."""

from __future__ import annotations

import contextlib
import io
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from datetime import timedelta

import pytest

from crlcheck import PublishSource, StoreUnavailableError, publish_crl, publish_many
from crlcheck.catalog.published_set import read_set
from crlcheck.publisher.clean_up import clean_up
from crlcheck.publisher.publish_many import PublishResult, SourceCrl
from crlcheck.publisher.verify import verify_store
from support.memory_store import MemoryStore
from support.pki import DAY, NOW, make_crl
from support.publishing import CA, OTHER_CA, images_of

ISSUERS = [CA.pem, OTHER_CA.pem]
FIRST = PublishSource(source=make_crl(CA, 1, [1]), name="first")
LAST = make_crl(OTHER_CA, 2, [2])


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Write each image as soon as its CRL waits."""
    monkeypatch.setattr("crlcheck.publisher.publish_many._PREPARED_AT_ONCE", 1)


def once_written(
    store: MemoryStore, num_images: int, crl: bytes, then: Callable[[], object] = bool
) -> PublishSource:
    """Return a source that is opened once the store has so many images and *then* is done."""

    @contextlib.contextmanager
    def opened() -> Iterator[io.BytesIO]:
        end = time.monotonic() + 60
        while len(images_of(store)) < num_images:
            assert time.monotonic() < end, "no image was written ahead"
            time.sleep(0.001)
        then()
        yield io.BytesIO(crl)

    source: Callable[[], AbstractContextManager[io.BytesIO]] = opened
    return PublishSource(source=source, name="last")


def test_an_image_that_is_written_ahead_is_published_by_the_one_swap() -> None:
    """
    It is written once.
    """
    store = MemoryStore()
    sources = [FIRST, once_written(store, 1, LAST)]
    assert publish_many(sources, store, issuers=ISSUERS, now=NOW, jobs=2).num_published == 2
    assert read_set(store)[0].generation == 1
    assert len(images_of(store)) == 2


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_an_image_that_was_written_ahead_goes_with_its_run(error: type[BaseException]) -> None:
    """
    Nothing is left in the store of a run that ended before its swap.
    """
    store = MemoryStore()

    def end(_crl: SourceCrl, _result: PublishResult) -> None:
        raise error

    refused = once_written(store, 1, b"no CRL")
    with pytest.raises(error):
        publish_many([FIRST, refused], store, issuers=ISSUERS, now=NOW, on_result=end, jobs=2)
    assert images_of(store) == []
    assert read_set(store)[1] is None


def test_an_image_that_clean_up_took_meanwhile_is_written_again() -> None:
    """
    Clean-up may find an image that no catalog names, and delete it once its time is over.
    """
    store = MemoryStore()
    publish_crl(make_crl(OTHER_CA, 1), store, issuer=OTHER_CA.pem, now=NOW)
    later = NOW + DAY

    def clean() -> None:
        clean_up(store, now=NOW)
        clean_up(store, now=later, grace=timedelta(0))
        assert len(images_of(store)) == 1

    sources = [FIRST, once_written(store, 2, LAST, clean)]
    assert publish_many(sources, store, issuers=ISSUERS, now=later, jobs=2).num_published == 2
    assert verify_store(store).is_whole


def test_an_image_that_was_written_ahead_is_judged_anew() -> None:
    """
    Another publisher may publish a newer CRL before the swap.
    """
    store = MemoryStore()

    def publish_newer() -> None:
        publish_crl(make_crl(CA, 7), store, issuer=CA.pem, now=NOW)

    found = publish_many(
        [FIRST, once_written(store, 1, LAST, publish_newer)],
        store, issuers=ISSUERS, now=NOW, jobs=2,
    )  # fmt: skip
    assert [*found.refused] == ["first"]
    assert found.num_published == 1
    assert len(images_of(store)) == 2
    assert verify_store(store).is_whole


def test_a_store_that_fails_ahead_is_asked_again() -> None:
    """
    What cannot be written ahead is written before the swap.
    """
    store = MemoryStore()
    failed: list[str] = []

    def fail(operation: str, name: str) -> None:
        if operation == "write" and name.startswith("images/") and not failed:
            failed.append(name)
            raise StoreUnavailableError("no answer")

    store.before = fail

    @contextlib.contextmanager
    def opened() -> Iterator[io.BytesIO]:
        while not failed:
            time.sleep(0.001)
        yield io.BytesIO(LAST)

    sources = [FIRST, PublishSource(source=opened, name="last")]
    assert publish_many(sources, store, issuers=ISSUERS, now=NOW, jobs=2).num_published == 2
    assert verify_store(store).is_whole
