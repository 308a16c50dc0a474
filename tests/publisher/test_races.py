"""Publishing against other publishers, and against a store that fails."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from crlcheck.catalog import compare_and_swap
from crlcheck.catalog.earlier import store_at
from crlcheck.catalog.published_set import read_set
from crlcheck.catalog.root import CATALOG_NAME
from crlcheck.errors import (
    CrlRollbackError,
    PreconditionFailedError,
    StoreUnavailableError,
)
from crlcheck.publisher import publication
from crlcheck.stores import LocalStore
from crlcheck.types import PublishReport
from support.memory_store import MemoryStore
from support.pki import (
    make_authority,
    make_crl,
)
from support.publishing import CA, OTHER_CA, catalog_of, given_up_of, images_of, publish


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Publishing does not wait between tries."""
    monkeypatch.setattr(publication, "back_off", lambda _: None)


class Interference:
    """Does something once, just before the catalog is next written."""

    def __init__(self, act: Callable[[], object]) -> None:
        self._act: Callable[[], object] | None = act

    def __call__(self, operation: str, name: str) -> None:
        if operation == "write" and name == CATALOG_NAME and self._act is not None:
            act, self._act = self._act, None
            act()


class LostAnswerStore(MemoryStore):
    """
    Tells the writer of the catalog once that another one came first, although
    the write was done: what a repeated request sees whose first answer was lost.
    """

    def __init__(self, then: Callable[[], object] | None = None) -> None:
        super().__init__()
        self._then = then

    def lose_next(self, then: Callable[[], object] = lambda: None) -> None:
        """Lose the answer to the next write of the catalog, and do something before."""
        self._then = then

    def write(self, name: str, body: bytes | Path, **conditions: Any) -> str:
        etag = super().write(name, body, **conditions)
        if name == CATALOG_NAME and self._then is not None:
            then, self._then = self._then, None
            then()
            raise PreconditionFailedError("answer lost", name=name)
        return etag


# ---- races ----------------------------------------------------------------------------


def test_another_scope_that_came_first_is_kept() -> None:
    """
    After a lost swap everything is read and decided anew, with the image
    written the first time: both are published.
    """
    store = MemoryStore()
    store.before = Interference(lambda: publish(store, make_crl(OTHER_CA), OTHER_CA.pem))
    report = publish(store, make_crl(CA))
    catalog = catalog_of(store)
    assert (report.num_lost_swaps, report.generation) == (1, catalog.generation)
    assert len(catalog.scopes) == 2
    assert images_of(store) == sorted(record.base.name for record in catalog.scopes.values())


def test_a_newer_crl_that_came_first_stays() -> None:
    """
    The older one is refused on the second look, and its image is removed.
    """
    store = MemoryStore()
    newer: list[PublishReport] = []
    store.before = Interference(lambda: newer.append(publish(store, make_crl(CA, 2))))
    with pytest.raises(CrlRollbackError):
        publish(store, make_crl(CA, 1))
    assert images_of(store) == [newer[0].image_name]
    assert catalog_of(store).scopes[newer[0].scope].base.name == newer[0].image_name


def test_an_older_crl_that_came_first_is_replaced() -> None:
    """
    The newer one wins although it had lost the first swap.
    """
    store = MemoryStore()
    store.before = Interference(lambda: publish(store, make_crl(CA, 1)))
    report = publish(store, make_crl(CA, 2))
    assert (report.published, report.num_lost_swaps) == (True, 1)
    assert catalog_of(store).scopes[report.scope].base.name == report.image_name


def test_the_same_crl_that_came_first_is_taken() -> None:
    """
    Of two publishers of one CRL one publishes it, the other finds it there and
    removes its own image.
    """
    store = MemoryStore()
    crl = make_crl(CA)
    first: list[PublishReport] = []
    store.before = Interference(lambda: first.append(publish(store, crl)))
    report = publish(store, crl)
    assert (first[0].published, report.published) == (True, False)
    assert report.image_name == first[0].image_name
    assert images_of(store) == [first[0].image_name]


def test_an_image_that_cannot_be_removed_does_not_hide_the_refusal(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """
    It stays as an orphan and is logged; the error is that of the CRL.
    """
    store = MemoryStore()
    interfere = Interference(lambda: publish(store, make_crl(CA, 2)))

    def before(operation: str, name: str) -> None:
        interfere(operation, name)
        if operation == "delete":
            raise StoreUnavailableError("no answer")

    store.before = before
    with pytest.raises(CrlRollbackError):
        publish(store, make_crl(CA, 1))
    assert "was not deleted from memory:: no answer" in caplog.text


def test_losing_for_ever_ends_in_an_error_that_invites_a_retry() -> None:
    """
    The number of tries is bounded.
    """
    store = MemoryStore()
    publish(store, make_crl(OTHER_CA), OTHER_CA.pem)
    num_swaps = 0

    def before(operation: str, name: str) -> None:
        nonlocal num_swaps
        if operation == "write" and name == CATALOG_NAME:
            num_swaps += 1
            raise PreconditionFailedError("another one came first", name=name)

    store.before = before
    with pytest.raises(StoreUnavailableError, match="came first"):
        publish(store, make_crl(CA))
    assert num_swaps == compare_and_swap.MAX_SWAPS


def test_a_swap_whose_answer_was_lost_is_recognised() -> None:
    """
    A catalog that names our own image is ours, whatever the answer said.
    """
    store = LostAnswerStore(then=lambda: None)
    report = publish(store, make_crl(CA))
    assert (report.published, report.generation) == (True, 1)
    assert images_of(store) == [report.image_name]


def test_an_image_that_a_catalog_may_have_named_is_not_removed() -> None:
    """
    The swap was done, its answer lost, and a newer CRL took its place at once:
    a reader of the generation between still needs the image.
    """
    store = LostAnswerStore(then=lambda: publish(store, make_crl(CA, 2)))
    report = publish(store, make_crl(CA, 1))
    assert (report.published, report.generation) == (True, 1)
    assert catalog_of(store).generation == 2
    assert len(images_of(store)) == 2
    between, _ = read_set(store_at(store, 1))
    assert [image.name for image in between.images()] == [report.image_name]


def test_an_image_of_a_generation_that_is_gone_is_not_removed() -> None:
    """
    The same where the catalog was restored meanwhile, which then does not know of the
    image: whoever has read the generation that named it still needs it.
    """
    store = LostAnswerStore()
    publish(store, make_crl(OTHER_CA), OTHER_CA.pem)
    before = store.read(CATALOG_NAME).body
    written: list[str] = []

    def put_back() -> None:
        written.extend(image.name for image in catalog_of(store).images())
        publish(store, make_crl(OTHER_CA, 2), OTHER_CA.pem)
        store.write(CATALOG_NAME, before)
        publish(store, make_crl(CA, 2))

    store.lose_next(put_back)
    with pytest.raises(CrlRollbackError):
        publish(store, make_crl(CA, 1))
    assert not set(written) <= {image.name for image in catalog_of(store).images()}
    assert not set(written) & set(given_up_of(store))
    assert set(written) <= set(images_of(store))


def test_each_try_but_the_first_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that publishers who meet spread out; the wait grows with how often one lost."""
    waits: list[int] = []
    monkeypatch.setattr(publication, "back_off", waits.append)
    store = MemoryStore()
    store.before = Interference(lambda: publish(store, make_crl(OTHER_CA), OTHER_CA.pem))
    assert publish(store, make_crl(CA, 1)).num_lost_swaps == 1
    assert waits == [1]
    num_swaps = 0

    def before(operation: str, name: str) -> None:
        nonlocal num_swaps
        if operation == "write" and name == CATALOG_NAME and num_swaps < 3:
            num_swaps += 1
            raise PreconditionFailedError("another one came first", name=name)

    store.before = before
    assert publish(store, make_crl(CA, 2)).num_lost_swaps == 3
    assert waits == [1, 1, 2, 3]


def test_publishers_at_once_all_get_through(tmp_path: Path) -> None:
    """
    Scopes published from several threads to one directory all land.
    """
    store = LocalStore(tmp_path, fsync=False)
    authorities = [make_authority(f"CA {i}") for i in range(6)]
    with ThreadPoolExecutor(6) as executor:
        list(executor.map(lambda ca: publish(store, make_crl(ca), ca.pem), authorities))
    catalog = catalog_of(store)
    assert len(catalog.scopes) == 6
    assert catalog.generation >= 6
    assert set(images_of(store)) == {record.base.name for record in catalog.scopes.values()}


def test_waiting_is_random_and_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Full jitter: from nothing up to a bound that grows to two seconds.
    """
    monkeypatch.undo()
    slept: list[float] = []
    monkeypatch.setattr("time.sleep", slept.append)
    for num_lost in range(1, compare_and_swap.MAX_SWAPS):
        compare_and_swap.back_off(num_lost)
    assert all(0 <= seconds <= 2 for seconds in slept)
    assert slept[0] <= 0.04
    assert len(set(slept)) == len(slept)


# ---- a store that fails ------------------------------------------------------------------


def test_a_store_that_fails_at_any_step_leaves_a_whole_set() -> None:
    """
    Whichever operation fails, the catalog is that of before, all it names is
    there, and publishing again succeeds.
    """
    num_failed = 0
    while True:
        store = MemoryStore()
        publish(store, make_crl(CA, 1))
        before = store.read(CATALOG_NAME)
        steps: list[str] = []

        def fail(operation: str, name: str, steps: Any = steps, at: int = num_failed) -> None:
            steps.append(f"{operation} {name.partition('/')[0]}")
            if len(steps) > at:
                raise StoreUnavailableError(f"{operation} {name}: no answer")

        store.before = fail
        try:
            report = publish(store, make_crl(CA, 2))
        except StoreUnavailableError:
            num_failed += 1
        else:
            break
        store.before = None
        assert store.read(CATALOG_NAME) == before
        assert publish(store, make_crl(CA, 2)).published
        catalog = catalog_of(store)
        assert {record.base.name for record in catalog.scopes.values()} <= set(images_of(store))
    assert report.published
    assert steps[:num_failed] == [
        "read catalog.json",
        "read nodes",
        "write images",
        "names history",  # what is to be deleted, by the record of generation 1
        "read history",
        "names history",  # the latest generation
        "write nodes",
        "write history",
        "write catalog.json",
    ]
