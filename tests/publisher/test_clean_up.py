"""Superseded and abandoned images: when they go, and that nobody misses them."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from crlcheck.catalog.history import HISTORY_PREFIX, chain
from crlcheck.catalog.published_set import read_set
from crlcheck.catalog.root import CATALOG_NAME
from crlcheck.catalog.tree import NODE_PREFIX
from crlcheck.checker.checker import RevocationChecker
from crlcheck.errors import CrlError, StoreUnavailableError
from crlcheck.publisher.clean_up import clean_up
from crlcheck.publisher.publish import publish_crl
from crlcheck.publisher.rejections import read_rejections
from crlcheck.stores import LocalStore
from crlcheck.types import RevocationStatus
from support.memory_store import MemoryStore
from support.pki import DAY, NOW, make_client, make_crl
from support.publishing import CA, OTHER_CA, catalog_of, given_up_of, images_of, publish

HOUR = timedelta(hours=1)


def test_superseded_images_stay_for_the_grace_period() -> None:
    """
    Publications delete them afterwards, and no sooner.
    """
    store = MemoryStore()
    names = [publish(store, make_crl(CA, 1)).image_name]
    names.append(publish(store, make_crl(CA, 2), now=NOW + DAY).image_name)
    names.append(publish(store, make_crl(CA, 3), now=NOW + DAY + HOUR / 2).image_name)
    assert images_of(store) == sorted(names)
    publish(store, make_crl(CA, 4), now=NOW + DAY + HOUR)
    assert names[0] not in images_of(store)
    assert set(names[1:]) <= set(images_of(store))
    assert names[0] not in given_up_of(store)
    assert set(names[1:3]) <= set(given_up_of(store))


def test_a_reader_with_a_catalog_of_the_grace_period_can_load_all_it_names() -> None:
    """
    Images are loaded when they are needed, maybe long after the catalog was read.
    """
    store = MemoryStore()
    publish(store, make_crl(CA, 1, [7]))
    reader = RevocationChecker(store, refresh_after=DAY, clock=lambda: NOW)
    reader.refresh()
    publish(store, make_crl(CA, 2, [7]))
    publish(store, make_crl(OTHER_CA, 1), OTHER_CA.pem, now=NOW + HOUR / 2)
    clean_up(store, now=NOW + HOUR / 2)
    assert reader.check(make_client(CA, 7)).status is RevocationStatus.REVOKED
    assert reader.status().scopes[0].loaded


@pytest.mark.parametrize(
    ("at", "where"),
    [
        ("write", "images/"),
        ("names", HISTORY_PREFIX),
        ("write", NODE_PREFIX),
        ("write", HISTORY_PREFIX),
    ],
    ids=["image", "history", "node", "record"],
)
def test_a_publisher_that_slept_supersedes_when_it_swaps(
    monkeypatch: pytest.MonkeyPatch, at: str, where: str
) -> None:
    """
    The grace period begins with the swap, also where the machine slept before it and
    the monotonic clock with it.
    """
    store = MemoryStore()
    publish(store, make_crl(CA, 1))
    true_time = time.clock_gettime

    def sleep(operation: str, name: str) -> None:
        if operation == at and name.startswith(where):
            store.before = None
            monkeypatch.setattr(time, "clock_gettime", lambda clock: true_time(clock) + 7200)

    store.before = sleep
    publish(store, make_crl(CA, 2))
    (_, latest), _ = chain(store, read_set(store)[0].root)
    assert any(name.startswith("images/") for name in latest.superseded)
    assert NOW + 2 * HOUR <= latest.at < NOW + 3 * HOUR


def test_clean_up_deletes_what_nobody_published() -> None:
    """
    An image left by a publisher that died is noted first and deleted a grace
    period later; what is published is never touched.
    """
    store = MemoryStore()
    kept = publish(store, make_crl(CA, 1)).image_name
    store.write("images/orphan.crlx", b"x")
    assert clean_up(store, now=NOW) == (0, 1)
    assert clean_up(store, now=NOW + HOUR / 2) == (0, 1)
    assert clean_up(store, now=NOW + HOUR) == (1, 0)
    assert images_of(store) == [kept]
    generation = catalog_of(store).generation
    assert clean_up(store, now=NOW + HOUR) == (0, 0)
    assert catalog_of(store).generation == generation


def before_catalog(store: MemoryStore, act: Callable[[], object]) -> None:
    """Let *act* happen once, when the images are written and the catalog is next."""

    def before(operation: str, name: str) -> None:
        if operation == "write" and name == CATALOG_NAME:
            store.before = None
            act()

    store.before = before


def test_an_image_taken_for_abandoned_is_never_published() -> None:
    """
    A publisher so slow that clean-up has noted its image writes it anew: a delete
    under way must not hit what a catalog names.
    """
    store = MemoryStore()
    publish(store, make_crl(OTHER_CA), OTHER_CA.pem)

    before_catalog(store, lambda: clean_up(store, now=NOW))
    report = publish(store, make_crl(CA, 1))
    assert sum(name.startswith("images/") for name in given_up_of(store)) == 1
    assert report.image_name not in given_up_of(store)
    clean_up(store, now=NOW + HOUR)
    assert report.image_name in images_of(store)


def test_an_image_deleted_as_abandoned_is_written_anew() -> None:
    """
    Clean-up has noted, deleted and forgotten it by the time a very slow publisher
    gets to the catalog.
    """
    store = MemoryStore()
    publish(store, make_crl(OTHER_CA), OTHER_CA.pem)

    deleted: list[tuple[int, int]] = []

    def clean_up_twice() -> None:
        clean_up(store, now=NOW)
        deleted.append(clean_up(store, now=NOW + HOUR))

    before_catalog(store, clean_up_twice)
    report = publish(store, make_crl(CA, 1, [7]))
    assert deleted == [(2, 0)], "the image, and the leaf that names it"
    assert report.image_name in images_of(store)
    assert (
        RevocationChecker(store, clock=lambda: NOW).check(make_client(CA, 7)).status
        is RevocationStatus.REVOKED
    )


def test_clean_up_in_a_directory(tmp_path: Path) -> None:
    """
    The same in a real directory, with its lock and its temporary files.
    """
    store = LocalStore(tmp_path, fsync=False)
    publish(store, make_crl(CA, 1))
    publish(store, make_crl(CA, 2))
    assert clean_up(store, now=NOW + HOUR) == (2, 0), "an image, and the leaf that named it"
    assert len(images_of(store)) == 1
    assert len(list(store.names(NODE_PREFIX))) == 1


def test_statuses_that_nobody_renewed_are_removed() -> None:
    """
    After thirty days, or where they cannot be read; younger ones stay.
    """
    store = MemoryStore()
    publish_crl(make_crl(CA), store, issuer=CA.pem, now=NOW)
    for number, age in enumerate((29, 31)):
        with pytest.raises(CrlError):
            publish_crl(
                b"no CRL", store, issuer=CA.pem, source_name=f"ca{number}", now=NOW - age * DAY
            )
    store.write("status/broken.json", b"[" * 100)
    clean_up(store, now=NOW)
    assert [one.source for one in read_rejections(store)] == ["ca0"]


def test_an_image_that_cannot_be_deleted_is_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    """
    It stays on the catalog's list until it is gone; the publication succeeds, and a
    warning names the image, the store and what went wrong.
    """
    store = MemoryStore()
    gone = publish(store, make_crl(CA, 1)).image_name
    publish(store, make_crl(CA, 2))

    def fail(operation: str, name: str) -> None:
        if (operation, name) == ("delete", gone):
            raise StoreUnavailableError("no answer")

    store.before = fail
    assert publish(store, make_crl(CA, 3), now=NOW + DAY).published
    assert gone in given_up_of(store)
    assert f"{gone} was not deleted from memory:: no answer" in caplog.text
    store.before = None
    assert publish(store, make_crl(CA, 4), now=NOW + DAY).published
    assert gone not in given_up_of(store)
    assert gone not in images_of(store)


def test_one_publication_deletes_no_more_than_32_objects() -> None:
    """
    So that none takes long; the oldest go first, and the next one goes on. Each of these
    publications gives up an image and a leaf.
    """
    store = MemoryStore()
    names = [publish(store, make_crl(CA, number)).image_name for number in range(1, 21)]
    publish(store, make_crl(CA, 21), now=NOW + DAY)
    assert len(images_of(store)) == 21 - 16
    assert sum(name.startswith("images/") for name in given_up_of(store)) == 4
    publish(store, make_crl(CA, 22), now=NOW + DAY)
    assert set(images_of(store)).isdisjoint(names[:-1])


def test_throw_away_objects_of_a_dead_probe_go() -> None:
    """A clean-up deletes those that are over an hour old, and leaves a running probe's."""
    store = MemoryStore()
    publish(store, make_crl(CA, 1))
    times = {"dead": NOW - 2 * HOUR, "alive": NOW - HOUR / 2}
    for name, moment in times.items():
        store.write(f"probe/{moment:%Y%m%dT%H%M%SZ}-{name}-0", b"")
    store.write("probe/notes", b"somebody's own")
    clean_up(store, now=NOW)
    assert [name.rpartition("-")[0] for name in store.names("probe/")] == [
        f"probe/{times['alive']:%Y%m%dT%H%M%SZ}-alive",
        "",
    ]
