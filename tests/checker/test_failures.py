"""Stores that fail, and catalogs and images that must not be used."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from crlcheck.catalog.catalog import Catalog, PublishedImage, ScopeRecord
from crlcheck.catalog.root import CATALOG_NAME
from crlcheck.checker import polling
from crlcheck.compiler.compile import compile_unverified_crl
from crlcheck.errors import (
    CatalogDamagedError,
    CorruptIndexError,
    IndexFileError,
    StoreError,
    StoreUnavailableError,
)
from crlcheck.image.index import open_index
from crlcheck.types import ImageMetadata, ProblemKind, RevocationStatus, UndeterminedCause
from support import tampering
from support.checking import (
    BAD,
    CA,
    FOREIGN,
    GOOD,
    OTHER_CA,
    Clock,
    CountingStore,
    make_checker,
    publish,
    verdict,
)
from support.memory_store import MemoryStore
from support.pki import (
    DAY,
    NOW,
    make_crl,
)

REVOKED = RevocationStatus.REVOKED
NOT_REVOKED = RevocationStatus.NOT_REVOKED
UNDETERMINED = RevocationStatus.UNDETERMINED
STORE_UNAVAILABLE = UndeterminedCause.STORE_UNAVAILABLE

HOUR = timedelta(hours=1)


def replace_record(store: MemoryStore, change: Callable[[PublishedImage], PublishedImage]) -> None:
    """Write a next generation of the catalog with the only image's entry changed."""

    def replaced(catalog: Catalog) -> Catalog:
        (record,) = catalog.scopes.values()
        base = change(record.base)
        changed = ScopeRecord(base.metadata.scope, base, None, None)
        return dataclasses.replace(catalog, scopes={changed.key: changed})

    tampering.change(store, replaced)


def test_without_any_set_the_answer_is_undetermined() -> None:
    """
    A store that is down, or has nothing published, is no exception; the reason
    is told, and the next check tries again.
    """
    store = CountingStore()
    store.is_down = True
    checker = make_checker(store, refresh_after=HOUR)
    result = checker.check(GOOD)
    assert verdict(result) == (UNDETERMINED, STORE_UNAVAILABLE)
    assert "no answer" in result.detail
    store.is_down = False
    assert "catalog.json" in checker.check(GOOD).detail
    publish(store)
    assert checker.check_chain([GOOD]).status is NOT_REVOKED
    assert checker.status().error is None


def test_a_store_that_goes_down_leaves_the_last_set() -> None:
    """
    What is held keeps answering, and the status says since when it is not
    confirmed.
    """
    store = CountingStore()
    publish(store)
    clock = Clock()
    checker = make_checker(store, clock=clock)
    checker.check(GOOD)
    store.is_down = True
    clock.now = NOW + HOUR
    assert checker.check(GOOD).status is NOT_REVOKED
    assert checker.check(BAD).status is REVOKED
    status = checker.status()
    assert (status.generation, status.confirmed_at) == (1, NOW)
    assert status.error == "read_if_changed catalog.json: no answer"
    with pytest.raises(StoreUnavailableError):
        checker.refresh()
    store.is_down = False
    checker.check(GOOD)
    status = checker.status()
    assert (status.error, status.confirmed_at) == (None, NOW + HOUR)


def test_a_catalog_that_goes_back_is_refused() -> None:
    """
    An old catalog that is restored would un-revoke: the newer one stays in use.
    """
    store = MemoryStore()
    publish(store, 1, revoked=[])
    old = store.read(CATALOG_NAME).body
    publish(store, 2)
    checker = make_checker(store)
    assert checker.check(BAD).status is REVOKED
    store.write(CATALOG_NAME, old)
    assert checker.check(BAD).status is REVOKED
    assert "went back to generation 1" in str(checker.status().error)
    with pytest.raises(StoreError, match="went back"):
        checker.refresh()
    publish(store, 3)
    publish(store, 4)
    assert checker.check(BAD).crl_number == 4
    assert checker.status().error is None


def test_another_catalog_of_the_same_generation_is_refused() -> None:
    """
    Two histories cannot both be right; the same bytes again are no change.
    """
    store, other = MemoryStore(), MemoryStore()
    publish(store)
    publish(other, 2, revoked=[])
    checker = make_checker(store)
    checker.check(BAD)
    store.write(CATALOG_NAME, store.read(CATALOG_NAME).body)
    assert not checker.refresh()
    store.write(CATALOG_NAME, other.read(CATALOG_NAME).body)
    assert checker.check(BAD).status is REVOKED
    assert "also of generation 1" in str(checker.status().error)


def test_a_catalog_that_cannot_be_read_is_refused() -> None:
    """
    Rubbish in its place leaves the last set in use, and is not read again at
    every check.
    """
    store = CountingStore()
    publish(store)
    checker = make_checker(store)
    checker.check(GOOD)
    store.write(CATALOG_NAME, b"{")
    assert checker.check(GOOD).status is NOT_REVOKED
    assert "is not JSON" in str(checker.status().error)


def _flip(store: MemoryStore, name: str) -> None:
    body = bytearray(store.load(name))
    body[len(body) // 2] ^= 1
    store.write(name, bytes(body))


@pytest.mark.parametrize("damage", [_flip, MemoryStore.delete], ids=["corrupt", "missing"])
def test_a_generation_with_a_bad_image_never_replaces_a_good_one(
    damage: Callable[[MemoryStore, str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    While the successor of an image in use cannot be had, the old generation
    answers and the status says why; the image is not loaded again at every
    check, and taken once it is whole.
    """
    store = CountingStore()
    publish(store, 1, revoked=[])
    checker = make_checker(store)
    assert checker.check(BAD).crl_number == 1
    name = publish(store, 2)
    whole = store.load(name)
    damage(store, name)
    store.counts.clear()
    for _ in range(3):
        assert checker.check(BAD).crl_number == 1
    assert checker.status().generation == 1
    assert checker.status().error is not None
    assert store.counts["load"] == 1
    with pytest.raises((IndexFileError, FileNotFoundError)):
        checker.refresh()
    store.write(name, whole)
    monkeypatch.setattr(polling, "OBJECT_REFUSED", polling.BackOff(0.0, 0.0))
    assert checker.check(BAD).status is REVOKED
    assert checker.status().error is None


@pytest.mark.parametrize("damage", [_flip, MemoryStore.delete], ids=["corrupt", "missing"])
def test_a_bad_image_at_first_need_is_undetermined(
    damage: Callable[[MemoryStore, str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    With nothing to fall back on the certificate is undetermined, others are
    not, and a corrupt image is not loaded again at every check.
    """
    store = CountingStore()
    name = publish(store)
    publish(store, authority=OTHER_CA)
    whole = store.load(name)
    damage(store, name)
    checker = make_checker(store)
    store.counts.clear()
    for _ in range(2):
        result = checker.check(GOOD)
        assert verdict(result) == (UNDETERMINED, STORE_UNAVAILABLE)
        assert "the image of CRL 1 of CN=Example CA cannot be loaded" in result.detail
    if damage is _flip:
        assert store.counts["load"] == 1
    assert [scope.error is None for scope in checker.status().scopes].count(False) == 1
    assert checker.check(FOREIGN).status is REVOKED
    store.write(name, whole)
    monkeypatch.setattr(polling, "OBJECT_REFUSED", polling.BackOff(0.0, 0.0))
    assert checker.check(GOOD).status is NOT_REVOKED


def _other_digest(image: PublishedImage) -> PublishedImage:
    return dataclasses.replace(image, digest="0" * 64)


def _other_header(image: PublishedImage) -> PublishedImage:
    later = dataclasses.replace(image.metadata, next_update=NOW + 999 * DAY)
    return dataclasses.replace(image, metadata=later, digest="1" + image.digest[1:])


def _other_metadata(image: PublishedImage) -> PublishedImage:
    later = dataclasses.replace(image.metadata, next_update=NOW + 999 * DAY)
    return dataclasses.replace(image, metadata=later)


@pytest.mark.parametrize("change", [_other_digest, _other_header, _other_metadata])
def test_an_image_must_be_what_its_catalog_entry_says(
    change: Callable[[PublishedImage], PublishedImage],
) -> None:
    """
    Another digest, another header or both are refused, at first need and when
    an image in use is replaced; neither the image nor the entry counts then.
    """
    store = MemoryStore()
    publish(store)
    checker = make_checker(store)
    checker.check(GOOD)
    replace_record(store, change)
    assert verdict(make_checker(store).check(GOOD)) == (UNDETERMINED, STORE_UNAVAILABLE)
    with pytest.raises(CorruptIndexError):
        checker.refresh()
    assert checker.check(GOOD).next_update == NOW + 30 * DAY


def test_an_unverified_image_in_a_catalog_is_refused() -> None:
    """
    The whole generation is where it takes the place of one that is in use, so that nobody can
    slip one in.
    """
    store = MemoryStore()
    publish(store)
    holder = make_checker(store)
    holder.check(GOOD)
    report = compile_unverified_crl(make_crl(CA, 9))
    assert report.image is not None
    store.write("images/unverified.crlx", report.image)
    metadata: ImageMetadata = open_index(report.image).metadata
    replace_record(
        store,
        lambda _: PublishedImage(
            "images/unverified.crlx", report.digest, report.image_size, metadata
        ),
    )
    checker = make_checker(store)
    assert verdict(checker.check(GOOD)) == (UNDETERMINED, STORE_UNAVAILABLE)
    assert "was not verified" in checker.check(GOOD).detail
    assert verdict(checker.check_serial(CA.pem, 1)) == (UNDETERMINED, STORE_UNAVAILABLE)
    (problem,) = checker.status().problems
    assert (problem.kind, problem.is_error) == (ProblemKind.PART_UNAVAILABLE, True)
    assert holder.check(GOOD).status is NOT_REVOKED
    with pytest.raises(IndexFileError, match="was not verified"):
        holder.refresh()


def test_a_broken_issuer_certificate_in_a_catalog_is_refused() -> None:
    """
    Whom to trust must be clear for the whole generation.
    """
    store = MemoryStore()
    publish(store)
    checker = make_checker(store)
    checker.check(BAD)

    def broken(entries: dict[str, Any]) -> None:
        (key,) = (key for key in entries if "/i/" in key)
        entries[key] = {**entries[key], "certificate": "MAA="}

    tampering.rewrite(store, broken)
    assert checker.check(BAD).status is REVOKED
    with pytest.raises(CatalogDamagedError, match="certificate of another issuer"):
        checker.refresh()
    (name,) = tampering.node_names(store)
    assert name in str(checker.status().error)
    result = make_checker(store).check(BAD)
    assert verdict(result) == (UNDETERMINED, STORE_UNAVAILABLE)
    assert name in result.detail
