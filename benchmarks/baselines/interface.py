"""
The interface that every contender has, crlcheck included.

A contender loads a CRL from a file (reads, verifies, makes it ready to answer)
and then answers lookups. Both are timed; making the queries is not.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import partial
from importlib.metadata import version as distribution_version
from pathlib import Path
from typing import Any, ClassVar, Protocol


class Membership(Protocol):
    """Whatever answers ``query in container``, for queries of its own kind."""

    def __contains__(self, query: Any, /) -> bool:
        """Whether *query* is in it."""
        ...


class Lookups(ABC):
    """A loaded CRL, ready to answer."""

    @abstractmethod
    def prepare(self, serials: Sequence[int]) -> Callable[[], int]:
        """
        Return a call that looks each of *serials* up and returns how many are listed.

        Whatever a query needs beside the lookup itself is done before.
        """

    def close(self) -> None:  # noqa: B027 - most have nothing to do
        """Give back what is not Python's to free."""


class InContainer(Lookups):
    """Lookups by ``query in container``; a query is the serial itself unless said otherwise."""

    def __init__(self, container: Membership) -> None:
        self.container = container

    def queries(self, serials: Sequence[int]) -> Sequence[Any]:
        """Return *serials* in the form in which they are looked up."""
        return serials

    def prepare(self, serials: Sequence[int]) -> Callable[[], int]:
        """Return a loop over ``in``, the same for every container."""
        return partial(count_hits, self.container, self.queries(serials))


def count_hits(container: Membership, queries: Sequence[Any]) -> int:
    """Return how many of *queries* are in *container*."""
    hits = 0
    for query in queries:
        if query in container:
            hits += 1
    return hits


class Peer(ABC):
    """
    What is measured: ``name`` stands in test ids, ``title`` in tables, and ``how`` says what
    is called. ``distribution`` is the Python package that does the work, where one does. Where
    even one round of a larger CRL would take minutes, ``max_entries`` ends it.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    how: ClassVar[str]
    distribution: ClassVar[str]
    max_entries: ClassVar[int] = 10_000_000

    def absent(self) -> str | None:
        """Say why this one cannot run here, None where it can."""
        return None

    def version(self) -> str:
        """Return name and version of what does the work: of *distribution*, unless overridden."""
        return installed(self.distribution)


class Contender(Peer):
    """
    A way to answer "is this serial on that CRL?".

    ``num_queries`` are timed in one round. ``kind`` are the serials of its CRLs. One that
    has no lookup of its own ends as a Python set, and is measured up to there. Only of
    those that run in this process can single lookups be told apart.
    """

    num_queries: ClassVar[int] = 100_000
    kind: ClassVar[str] = "random16"
    has_own_lookup: ClassVar[bool] = True
    in_process: ClassVar[bool] = True

    @abstractmethod
    def load(self, crl: Path, issuer: Path) -> Lookups:
        """Read and verify the CRL at *crl*; *issuer* is a certificate, PEM."""

    def start(self) -> None:
        """Do what is done once, before anything is measured."""

    def stop(self) -> None:
        """End what was started."""

    @property
    def process_id(self) -> int:
        """The process whose memory counts."""
        return os.getpid()


def installed(distribution: str) -> str:
    """Return name and version of an installed distribution."""
    return f"{distribution} {distribution_version(distribution)}"
