"""
Find out how the service and its store stand, for ``/metrics`` and ``/status``.

To go through a large set takes seconds, so it is done seldom (``latest``).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from crlcheck.checker.checker import CheckerStatus, RevocationChecker
from crlcheck.encoding.secrets import without_secrets
from crlcheck.errors import CrlCheckError
from crlcheck.publisher.store_status import StoreStatus, read_store_status
from crlcheck.serve.latest import Latest
from crlcheck.serve.service import Service
from crlcheck.settings import without_credentials
from crlcheck.signing.root_key import RootKey
from crlcheck.stores import ObjectStore

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


class Reports(Latest[Report]):
    """Keeps the last report, and has a newer one made when one is asked for."""

    @classmethod
    def of(cls, service: Service) -> Reports:
        """Return the reports of a worker."""
        settings = service.settings

        def make() -> Report:
            return make_report(service.checker, settings.store, root_keys=settings.root_keys)

        return cls(make, patience=min(_PATIENCE, settings.request_time.total_seconds() / 2))

    def __init__(self, make: Callable[[], Report], *, patience: float = _PATIENCE) -> None:
        super().__init__(make, name="the status", shortest=_SHORTEST, part=_PART, patience=patience)
