"""
Find out how the service and its store stand, for ``/metrics`` and ``/status``.

To go through a large set takes seconds. So a report is made in a thread, one at a time, and
kept for a while: the longer it took, the longer. Whoever asks meanwhile gets the last one, so
that questions take nothing from the checks, however many there are.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from crlcheck.checker.checker import CheckerStatus, RevocationChecker
from crlcheck.encoding.secrets import without_secrets
from crlcheck.errors import CrlCheckError
from crlcheck.publisher.store_status import StoreStatus, read_store_status
from crlcheck.serve.service import Service
from crlcheck.settings import without_credentials
from crlcheck.signing.root_key import RootKey
from crlcheck.stores import ObjectStore

LOG = logging.getLogger("crlcheck.serve")

MAX_READ = 5_000
"""Of a set with more scopes, only the parts are read in which something is due."""

MAX_LISTED = 1_000
"""So many scopes are listed, those with the least time left, and so many refusals."""

# In seconds: the shortest time between two reports, and how long a question waits for one
# at most.
_SHORTEST = 5.0
_PATIENCE = 4.0
# The part of the time that may go into reports.
_PART = 0.05


@dataclass(frozen=True, slots=True)
class Report:
    """
    How a worker and the store stood at a time.

    ``store`` is None where the store could not be read, and ``error`` says why. It has every
    scope where there are no more than ``MAX_READ``, of which ``MAX_LISTED`` are listed.
    """

    at: datetime
    checker: CheckerStatus
    store: StoreStatus | None
    error: str = ""


def make_report(
    checker: RevocationChecker,
    store: str | ObjectStore,
    *,
    root_keys: Iterable[RootKey | str] | None = None,
    now: datetime | None = None,
) -> Report:
    """Return how *checker* and its *store* stand. A store that cannot be read is a part of it."""
    moment = now or datetime.now(UTC)
    keys = None if root_keys is None else tuple(root_keys)
    found: StoreStatus | None = None
    error = ""
    try:
        found = read_store_status(
            store, issuers=False, at_most=MAX_LISTED, root_keys=keys, now=moment
        )
        if found.num_scopes <= MAX_READ:
            found = read_store_status(
                store, every_scope=True, at_most=MAX_LISTED, root_keys=keys, now=moment
            )
        newest = sorted(found.rejections, key=lambda one: one.at, reverse=True)
        found = dataclasses.replace(
            found, store=without_credentials(found.store), rejections=tuple(newest)
        )
    except (CrlCheckError, OSError) as failure:
        said = failure.strerror if isinstance(failure, OSError) else None
        error = without_secrets(said or str(failure))
    return Report(moment, checker.status(), found, error)


class Reports:
    """Keeps the last report, and has a newer one made when one is asked for."""

    @classmethod
    def of(cls, service: Service) -> Reports:
        """Return the reports of a worker."""
        settings = service.settings

        def make() -> Report:
            return make_report(service.checker, settings.store, root_keys=settings.root_keys)

        return cls(make, patience=min(_PATIENCE, settings.request_time.total_seconds() / 2))

    def __init__(self, make: Callable[[], Report], *, patience: float = _PATIENCE) -> None:
        self._make = make
        self._patience = patience
        self._last: Report | None = None
        self._due = float("-inf")
        self._task: asyncio.Task[None] | None = None

    async def latest(self) -> Report | None:
        """Return a report that is not old, or the last one there is; None before the first."""
        if time.monotonic() >= self._due and self._task is None:
            self._task = asyncio.create_task(self._renew())
        if self._task is not None:
            # It goes on where this question ends, for the next one.
            await asyncio.wait([self._task], timeout=self._patience)
        return self._last

    async def _renew(self) -> None:
        began = time.monotonic()
        try:
            self._last = await asyncio.to_thread(self._make)
        except Exception as error:  # noqa: BLE001 - the last report stays, and the service works
            LOG.error("the status could not be found out: %s", type(error).__name__)
        finally:
            took = time.monotonic() - began
            self._due = time.monotonic() + max(_SHORTEST, took / _PART)
            self._task = None
