"""What a worker tells the supervisor, without processes."""

from __future__ import annotations

import asyncio
import os
from types import SimpleNamespace
from typing import Any

import pytest

from crlcheck.serve import worker


class SlowSet:
    """
    A checker whose generations come one after the other, each seen a few times; the last one
    clears certificates.
    """

    def __init__(self) -> None:
        self._seen = iter([None, None, 1, 1, 1, 2, 2, 2, 2, 3])
        self.looks: list[int | None] = []
        self._now: int | None = None

    @property
    def generation(self) -> int | None:
        """The generation at this moment."""
        self._now = next(self._seen)
        return self._now

    def is_answering(self) -> bool:
        """Go through the set."""
        self.looks.append(self._now)
        return self._now == 3


def test_a_set_that_clears_nobody_is_gone_through_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    All of it may be read from the store for that. The next generation is looked into again.
    """
    monkeypatch.setattr(worker, "_SET_INTERVAL", 0)
    checker, (reader, writer) = SlowSet(), os.pipe()
    post: Any = SimpleNamespace(report=writer)
    made: Any = checker
    try:
        asyncio.run(worker._keep_reporting(post, made, is_answering=False))
        assert os.read(reader, 10) == worker.NOT_ANSWERING + worker.ANSWERING
    finally:
        os.close(reader)
        os.close(writer)
    assert checker.looks == [1, 2, 3]


def test_a_worker_that_can_decide_says_so_alone() -> None:
    """
    And looks into nothing any more.
    """
    checker, (reader, writer) = SlowSet(), os.pipe()
    post: Any = SimpleNamespace(report=writer)
    made: Any = checker
    try:
        asyncio.run(worker._keep_reporting(post, made, is_answering=True))
        assert os.read(reader, 10) == worker.ANSWERING
    finally:
        os.close(reader)
        os.close(writer)
    assert checker.looks == []
