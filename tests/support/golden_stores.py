"""Stores that were written once, by the version that they stand for, and never change."""

from __future__ import annotations

import base64
import functools
import json
from datetime import timedelta
from pathlib import Path

from crlcheck.checker.checker import RevocationChecker
from crlcheck.types import RevocationStatus
from support.memory_store import MemoryStore
from support.pki import NOW

DATA = Path(__file__).parents[1] / "data"
CLIENTS = ("revoked", "good", "held", "other revoked")
"""The certificates beside each store."""

REVOKED, PASSED = RevocationStatus.REVOKED, RevocationStatus.NOT_REVOKED
UNKNOWN = RevocationStatus.UNDETERMINED

VERDICTS = {
    "plain": (REVOKED, PASSED, PASSED, UNKNOWN),
    "delta": (REVOKED, PASSED, REVOKED, REVOKED),
    "denied": (REVOKED, REVOKED, REVOKED, UNKNOWN),
    "removed_issuer": (REVOKED, PASSED, PASSED, UNKNOWN),
    "superseded": (REVOKED, PASSED, PASSED, UNKNOWN),
    "tombstones": (UNKNOWN, UNKNOWN, UNKNOWN, REVOKED),
    "unknown_members": (REVOKED, REVOKED, PASSED, UNKNOWN),
}
"""What is said of them by the stores of these names, whatever their format."""


@functools.cache
def _read(path: Path) -> dict[str, dict[str, bytes]]:
    value = json.loads(path.read_text(encoding="utf-8"))
    return {
        kind: {one: base64.b64decode(body) for one, body in some.items()}
        for kind, some in value.items()
    }


class GoldenStores:
    """The stores of one format, by their names."""

    def __init__(self, folder: str) -> None:
        self._directory = DATA / folder
        self.names = sorted(path.stem for path in self._directory.glob("*.json"))

    def read(self, name: str) -> dict[str, dict[str, bytes]]:
        """The objects of a store, and the files beside it."""
        return _read(self._directory / f"{name}.json")

    def store(self, name: str) -> MemoryStore:
        """A store with those objects."""
        store = MemoryStore()
        for one, body in self.read(name)["objects"].items():
            store.write(one, body)
        return store

    def verdicts(self, name: str, checker: RevocationChecker) -> tuple[RevocationStatus, ...]:
        """What a checker says of the certificates beside a store."""
        files = self.read(name)["files"]
        return tuple(checker.check(files[one]).status for one in CLIENTS)


def checker_of(store: MemoryStore) -> RevocationChecker:
    """A checker that asks the store each time, at the time of the stores."""
    return RevocationChecker(store, refresh_after=timedelta(0), clock=lambda: NOW)
