"""Writers that take minutes between the beginning of a change and its swap."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import crlcheck
from crlcheck import times
from crlcheck.catalog.history import listed
from crlcheck.catalog.published_set import read_set
from support.memory_store import MemoryStore
from support.pki import NOW, make_crl
from support.publishing import CA, publish

MINUTE = timedelta(minutes=1)


class SlowStore(MemoryStore):
    """A store in which each write of a node takes so many minutes."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, minutes: float) -> None:
        super().__init__()
        self._elapsed = 0.0
        self._minutes = minutes
        monkeypatch.setattr(times.Moment, "age_by_machine", lambda _: self._elapsed)

    def write(self, name: str, body: bytes | Path, **conditions: Any) -> str:
        """Write, and let the time pass."""
        if name.startswith("nodes/"):
            self._elapsed += self._minutes * 60
        return super().write(name, body, **conditions)


CHANGES: dict[str, Callable[[MemoryStore], object]] = {
    "publication": lambda store: publish(store, make_crl(CA, 2)),
    "denial": lambda store: crlcheck.deny_certificate(
        store, crlcheck.load_certificate(CA.pem).subject, 7, now=NOW
    ),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("minutes", [0, 1, 3, 60 * 24])
def test_a_slow_write_makes_the_change_once_with_the_time_of_its_swap(
    monkeypatch: pytest.MonkeyPatch, change: str, minutes: int
) -> None:
    """
    The grace period of what it supersedes begins at the swap. A store that needs minutes
    for thousands of nodes must not have them written again and again for that.
    """
    store = SlowStore(monkeypatch, minutes)
    publish(store, make_crl(CA, 1))
    before = len(list(store.names("nodes/")))
    begun = _elapsed(store)
    CHANGES[change](store)
    held, _ = read_set(store)
    took = _elapsed(store) - begun
    assert held.generation == 2
    assert len(list(store.names("nodes/"))) == before + 1
    assert took - 2 * MINUTE <= _since(held.root.at, begun) <= took
    assert [generation for generation, _ in listed(store)] == [2, 1]


def _elapsed(store: SlowStore) -> timedelta:
    return timedelta(seconds=store._elapsed)


def _since(at: datetime, begun: timedelta) -> timedelta:
    return at - NOW - begun


@pytest.mark.parametrize("change", ["restore", "clean-up"])
def test_what_takes_an_hour_supersedes_at_its_swap(
    monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    """
    A restore copies images for hours. Readers of the set before need it for the whole grace
    period from the swap on, not from the time when the restore began.
    """
    store = SlowStore(monkeypatch, 0)
    publish(store, make_crl(CA, 1))
    publish(store, make_crl(CA, 2))
    before, _ = read_set(store)
    store.write("images/abandoned.crlx", b"nobody's")
    changes: dict[str, Callable[[], object]] = {
        "restore": lambda: crlcheck.restore_store(store, when=1, now=NOW),
        "clean-up": lambda: crlcheck.clean_up(store, now=NOW),
    }
    names = store.names

    def slow(prefix: str) -> Any:
        store._elapsed += 3600
        return names(prefix)

    monkeypatch.setattr(store, "names", slow)
    swaps: list[timedelta] = []

    def note(operation: str, name: str) -> None:
        if (operation, name) == ("write", "catalog.json"):
            swaps.append(_elapsed(store))

    store.before = note
    changes[change]()
    store.before = None
    (swapped,) = swaps
    assert swapped >= timedelta(hours=1)
    assert swapped - 3 * MINUTE <= _since(read_set(store)[0].root.at, timedelta(0)) <= swapped
    images = {image.name for image in before.everything().images()}
    crlcheck.clean_up(store, now=NOW + swapped)
    assert images <= {*names("images/")}
