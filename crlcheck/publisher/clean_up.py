"""Delete images that are published no longer, and those that nobody ever published."""

from __future__ import annotations

import logging
import os
from datetime import datetime, timedelta

from crlcheck.catalog.catalog import IMAGE_PREFIX, Catalog
from crlcheck.catalog.compare_and_swap import change_catalog
from crlcheck.errors import CrlCheckError
from crlcheck.publisher.operator import moment_of
from crlcheck.publisher.publish import DEFAULT_GRACE
from crlcheck.publisher.rejections import delete_old_rejections
from crlcheck.stores import ObjectStore, open_store
from crlcheck.stores.probe import PROBE_PREFIX, probe_time

_PROBE_TIME = timedelta(hours=1)

_log = logging.getLogger(__name__)


def clean_up(
    store: str | os.PathLike[str] | ObjectStore,
    *,
    grace: timedelta = DEFAULT_GRACE,
    now: datetime | None = None,
) -> tuple[int, int]:
    """
    Delete images whose grace period is over, and note images that nobody published.

    An image that no catalog names, left by a publisher that died, is noted
    first, and deleted by a clean-up at least *grace* later. The status objects of
    CRLs that were refused 30 days ago are deleted too, and throw-away objects of a probe
    that died. Returns how many images were deleted and how many are waiting.

    Raises: as ``override_scope``.
    """
    target, moment = open_store(store), moment_of(now)
    deleted: set[str] = set()

    def change(catalog: Catalog) -> Catalog | None:
        stored = set(target.names(IMAGE_PREFIX))
        for name in catalog.deletable(moment, grace):
            if name not in deleted:
                try:
                    target.delete(name)
                except (CrlCheckError, OSError) as error:
                    _log.warning("%s was not deleted from %s: %s", name, target.url, error)
                    continue
                deleted.add(name)
        abandoned = stored - catalog.image_names() - catalog.superseded.keys()
        successor = catalog.with_superseded(abandoned, now=moment).without_superseded(deleted)
        return None if successor.superseded == catalog.superseded else successor

    catalog = change_catalog(target, "clean-up", change)
    delete_old_rejections(target, moment)
    _delete_abandoned_probes(target, moment)
    return len(deleted), len(catalog.superseded)


def _delete_abandoned_probes(store: ObjectStore, moment: datetime) -> None:
    """Delete throw-away objects that are older than any probe takes."""
    for name in store.names(PROBE_PREFIX):
        made = probe_time(name)
        if made is not None and moment - made > _PROBE_TIME:
            try:
                store.delete(name)
            except (CrlCheckError, OSError) as error:
                _log.warning("%s was not deleted from %s: %s", name, store.url, error)
