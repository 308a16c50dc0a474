"""Show what can be read of a damaged store, and name the objects that cannot."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from crlcheck.catalog.catalog import Catalog
from crlcheck.cli.inputs import read_published_set
from crlcheck.cli.status import EXIT_FAILED, about
from crlcheck.cli.text import say
from crlcheck.errors import CatalogDamagedError, StoreError
from crlcheck.publisher.store_status import UnreadableObject
from crlcheck.remedies import remedy_of, with_remedy
from crlcheck.stores import ObjectStore


class Damage:
    """
    The objects of a store that are missing or damaged, of those that were read.

    A command that only shows the set shows all that lies in the others.
    """

    def __init__(self) -> None:
        self._found: dict[str, UnreadableObject] = {}

    def note(self, error: CatalogDamagedError) -> None:
        """Note an object that could not be read."""
        found = UnreadableObject(error.name, str(error), remedy_of(error) or "")
        self._found.setdefault(error.name, found)

    def members(self) -> list[dict[str, str]]:
        """Return the JSON members of the objects."""
        return unreadable_members(self._found.values())

    def tell(self) -> int:
        """Say which objects could not be read; return the exit status of the run."""
        say_unreadable(self._found.values())
        return EXIT_FAILED if self._found else 0


def read_readable(store: ObjectStore, damage: Damage) -> Catalog:
    """
    Read what can be read of a store's catalog, to be shown; *damage* learns what cannot.

    Raises:
        RootSignatureError: the root is signed by none of the keys that are accepted.
        StoreError: the root cannot be read, or the store does not answer.
    """
    with about(store.url, StoreError):
        return read_published_set(store).readable(damage.note)


def say_unreadable(found: Iterable[UnreadableObject]) -> None:
    """Write a line for each object that is missing or damaged."""
    for one in found:
        detail = with_remedy(one.detail, one.remedy)
        say(f"nothing is known of what lies in {one.name}: {detail}", color="red")


def unreadable_members(found: Iterable[UnreadableObject]) -> list[dict[str, Any]]:
    """Return the JSON members of such objects."""
    return [{"name": one.name, "detail": one.detail, "remedy": one.remedy} for one in found]
