"""What of a set is shown where some of it cannot be read."""

from __future__ import annotations

from typing import Any

import pytest

from crlcheck.catalog.entries import name_hash
from crlcheck.catalog.published_set import read_set
from crlcheck.errors import CatalogDamagedError, StoreUnavailableError
from support.catalogs import catalog, store_of, stored, value_of
from support.memory_store import MemoryStore


def test_of_a_whole_set_all_is_shown() -> None:
    """As everything is read by those who decide by it."""
    held = read_set(stored(catalog()))[0]
    failed: list[CatalogDamagedError] = []
    assert held.readable(failed.append) == held.everything()
    assert failed == []


@pytest.mark.parametrize("kind", ["a scope", "another's scope", "a reference", "an issuer"])
def test_an_entry_that_cannot_be_read_is_left_out(kind: str) -> None:
    """It has a failure that names its leaf, as a reference to what is not there has."""
    whole = catalog()
    value = value_of(whole)
    entries: dict[str, Any] = value["entries"]
    key = next(key for key in entries if f"/{'i' if kind == 'an issuer' else 's'}/" in key)
    scope = key.rpartition("/")[2]
    if kind == "a scope":
        entries[key]["base"] = 1
    elif kind == "an issuer":
        entries[key]["certificate"] = ""
    elif kind == "another's scope":
        entries[key.replace(key.partition("/")[0], name_hash(b"somebody"))] = entries.pop(key)
    else:
        entries[f"{key.rpartition('/')[0]}x/{scope}"] = {"at": "-"}
        del entries[key]
    held = read_set(store_of(value))[0]
    with pytest.raises(CatalogDamagedError):
        held.everything()
    failed: list[CatalogDamagedError] = []
    found = held.readable(failed.append)
    (failure,) = failed
    assert (failure.name, failure.found) == (held.root.top and held.root.top.name, "unreadable")
    if kind == "an issuer":
        assert len(found.issuers) == len(whole.issuers) - 1
        assert found.scopes == whole.scopes
    else:
        assert found.scopes.keys() == whole.scopes.keys() - {scope}
        assert found.issuers == whole.issuers


def test_a_store_that_does_not_answer_is_no_damage() -> None:
    """What was not asked for might be there: nothing is shown."""

    class DownStore(MemoryStore):
        """A store that answers until it is down."""

        is_down = False

        def __init__(self) -> None:
            super().__init__(self._check)

        def _check(self, operation: str, name: str) -> None:
            if self.is_down:
                raise StoreUnavailableError(f"{operation} {name}: no answer")

    store = stored(catalog(), DownStore())
    copy = DownStore()
    for name in store.names(""):
        copy.write(name, store.read(name).body)
    held = read_set(copy)[0]
    copy.is_down = True
    with pytest.raises(StoreUnavailableError):
        held.readable(lambda _: None)
