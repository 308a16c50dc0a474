"""What lost generations gave up, where somebody has put an old root back."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from crlcheck.catalog.published_set import read_set
from crlcheck.catalog.root import CATALOG_NAME
from crlcheck.publisher.clean_up import clean_up
from crlcheck.stores import LocalStore
from support.pki import DAY, NOW, make_crl
from support.publishing import CA, OTHER_CA, publish

LONG = timedelta(days=9)


def all_is_there(store: LocalStore) -> bool:
    """Whether each object that the root names is in the store."""
    held, _ = read_set(store)
    names = {image.name for image in held.images()} | {one.name for one in held.objects()}
    return names <= set(store.names(""))


@pytest.mark.parametrize("num_lost", [1, 2, 3])
@pytest.mark.parametrize("follows", ["publication", "clean-up"])
def test_what_lost_generations_gave_up_is_not_deleted(
    tmp_path: Path, num_lost: int, follows: str
) -> None:
    """
    The old root uses it. The records that gave it up did not lead to the present root.
    """
    directory = tmp_path / "published"
    publish(LocalStore(directory), make_crl(CA, 1))
    old = LocalStore(directory).read(CATALOG_NAME).body
    for number in range(2, 2 + num_lost):
        publish(LocalStore(directory), make_crl(CA, number), grace=LONG)
    (directory / CATALOG_NAME).write_bytes(old)
    if follows == "publication":
        crl = make_crl(OTHER_CA, 1)
        publish(LocalStore(directory), crl, issuer=OTHER_CA.pem, grace=LONG)
    for day in range(1, 5):
        clean_up(LocalStore(directory), grace=timedelta(0), now=NOW + day * DAY)
        assert all_is_there(LocalStore(directory))
    held, _ = read_set(LocalStore(directory))
    assert held.generation > 1 + num_lost
    # What only the lost generations had is gone in the end.
    names = {image.name for image in held.images()}
    assert set(LocalStore(directory).names("images/")) == names


def test_a_root_forgets_lost_generations_once_they_are_cleaned_up(tmp_path: Path) -> None:
    """
    So that it does not grow.
    """
    directory = tmp_path / "published"
    publish(LocalStore(directory), make_crl(CA, 1))
    for number in range(5):
        old = LocalStore(directory).read(CATALOG_NAME).body
        for step in (1, 2):
            newer = make_crl(CA, 10 * number + 1 + step)
            publish(LocalStore(directory), newer, grace=LONG)
        (directory / CATALOG_NAME).write_bytes(old)
        publish(LocalStore(directory), make_crl(CA, 10 * number + 9), grace=LONG)
        for day in range(1, 3):
            clean_up(LocalStore(directory), grace=timedelta(0), now=NOW + day * DAY)
        held, _ = read_set(LocalStore(directory))
        assert len(held.root.lost) <= 1
        assert all_is_there(LocalStore(directory))
