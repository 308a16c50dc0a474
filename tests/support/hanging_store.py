"""A store in memory that can hang."""

from __future__ import annotations

import threading

from crlcheck.stores import StoredObject
from support.memory_store import MemoryStore


class HangingStore(MemoryStore):
    """A store that does not answer after ``hang`` until ``go_on``."""

    def __init__(self) -> None:
        super().__init__()
        self._may_answer = threading.Event()
        self.is_asked = threading.Event()
        self.go_on()

    def hang(self) -> None:
        """Keep those who ask from now on."""
        self.is_asked.clear()
        self._may_answer.clear()

    def go_on(self) -> None:
        """Answer all that is asked."""
        self._may_answer.set()

    @property
    def hangs(self) -> bool:
        """Whether it does not answer now."""
        return not self._may_answer.is_set()

    def read_if_changed(self, name: str, etag: str | None) -> StoredObject | None:
        """As ObjectStore.read_if_changed."""
        self.is_asked.set()
        assert self._may_answer.wait(30)
        return super().read_if_changed(name, etag)
