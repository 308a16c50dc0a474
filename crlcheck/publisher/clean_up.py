"""Delete objects that are used no longer, and those that nobody ever published."""

from __future__ import annotations

import logging
import os
import sys
from dataclasses import replace
from datetime import datetime, timedelta

from crlcheck.catalog.catalog import IMAGE_PREFIX
from crlcheck.catalog.compare_and_swap import Change, change_set
from crlcheck.catalog.given_up import KEEP, MAX_KEEP, due_objects, given_up_since, keep_of
from crlcheck.catalog.history import Action, listed, read_listed
from crlcheck.catalog.published_set import PublishedSet
from crlcheck.catalog.root import Root
from crlcheck.catalog.tree import NODE_PREFIX
from crlcheck.errors import CrlCheckError, StoreError
from crlcheck.publisher.operator import moment_of
from crlcheck.publisher.publish import DEFAULT_GRACE
from crlcheck.publisher.refusals import delete_old_refusals
from crlcheck.publisher.rejections import delete_old_rejections
from crlcheck.stores import ObjectStore, open_for_writing
from crlcheck.stores.probe import PROBE_PREFIX, probe_time
from crlcheck.times import clock_from

HISTORY_KEPT = timedelta(days=30)
"""Records of the history are kept for this long at least."""

_PROBE_TIME = timedelta(hours=1)

_log = logging.getLogger(__name__)


def clean_up(
    store: str | os.PathLike[str] | ObjectStore,
    *,
    grace: timedelta = DEFAULT_GRACE,
    keep: timedelta | None = None,
    note: str = "",
    actor: str = "",
    now: datetime | None = None,
) -> tuple[int, int]:
    """
    Delete objects whose grace period is over, and note objects that nobody published.

    An object that no catalog names, left by a publisher that died, is noted first, and
    deleted by a clean-up at least *grace* later. Objects are kept for *keep* where that is
    longer, so that the set can be restored, compared and asked as it was. The store remembers
    *keep* for later publications and clean-ups; None leaves it as it is. Records of the
    history go after 30 days or *keep*, once all is deleted that they gave up, and traces of
    refusals after that time. The status objects of CRLs that were refused 30 days ago are
    deleted too, and throw-away objects of a probe that died.
    Returns how many objects were deleted and how many are waiting. *note* says why and
    *actor* by whom, for the history.

    Raises: as ``override_scope``, and ValueError for a *keep* that is negative or longer
        than 100 years.
    """
    if keep is not None and not timedelta(0) <= keep <= MAX_KEEP:
        raise ValueError(f"keep: expected 0 to {MAX_KEEP.days} days, found {keep}")
    target, moment = open_for_writing(store), moment_of(now)
    clock = clock_from(moment)
    told = {} if keep is None else {KEEP: int(keep.total_seconds())}
    action = Action.of("clean_up", note=note, actor=actor, **told)
    deleted: set[str] = set()
    waiting: set[str] = set()

    def prepare(held: PublishedSet) -> Change | None:
        nonlocal waiting
        # Listed before the history is read: what is written later is in no list.
        stored = {*target.names(IMAGE_PREFIX), *target.names(NODE_PREFIX)}
        kept_for = max(grace, keep_of(held.root) if keep is None else keep)
        due, cleaned = due_objects(target, held, lambda at: moment - at >= kept_for, sys.maxsize)
        for name in due:
            if name in deleted:
                continue
            try:
                target.delete(name)
            except (CrlCheckError, OSError) as error:
                _log.warning("%s was not deleted from %s: %s", name, target.url, error)
                cleaned = held.root.cleaned
                continue
            deleted.add(name)
        given_up = _given_up(target, held, cleaned.generation)
        used = {image.name for image in held.images()} | {one.name for one in held.objects()}
        abandoned = stored - used - given_up - deleted
        waiting = (given_up & stored | abandoned) - deleted
        part = held.settings()  # of a catalog of format 1, the whole
        settings = {**part.settings, **told}
        if not settings.get(KEEP, 1):
            del settings[KEEP]
        is_same = settings == part.settings and held.format1 is None
        if not abandoned and not due and is_same:
            return None  # a generation that only notes how far the search came is none
        return Change(
            before=part,
            after=replace(part, settings=settings),
            action=action,
            at=moment,
            clock=clock,
            abandoned=tuple(sorted(abandoned)),
            cleaned=cleaned,
        )

    held, _ = change_set(target, "clean-up", prepare)
    prune_history(target, held.root, moment)
    delete_old_refusals(target, moment - max(HISTORY_KEPT, keep_of(held.root)))
    delete_old_rejections(target, moment)
    _delete_abandoned_probes(target, moment)
    return len(deleted), len(waiting)


def _given_up(store: ObjectStore, held: PublishedSet, cleaned: int) -> set[str]:
    """Return the objects that the history since generation *cleaned* has given up."""
    if held.format1 is not None:
        # The first change writes the set in the format that has a history.
        return set(held.format1.superseded)
    given_up = given_up_since(store, held, cleaned)
    if given_up is None:
        raise StoreError(
            f"{store.url}: the history since generation {cleaned} "
            "cannot be read, so that it cannot be told which objects are abandoned"
        )
    return given_up


def prune_history(store: ObjectStore, root: Root, now: datetime) -> None:
    """
    Delete the records of the history that are older than ``HISTORY_KEPT`` and than ``keep``.

    The oldest go first, so that the others can be read back from the root. A record stays
    until all is deleted that its generation gave up, and the root's own stays always.
    """
    if root.history is None:
        return
    latest = min(root.cleaned.generation, root.generation - 1)
    least = max(HISTORY_KEPT, keep_of(root))
    unreadable: list[str] = []
    for _, name in reversed([one for one in listed(store) if one[0] <= latest]):
        record = read_listed(store, name)
        if record is None:
            unreadable.append(name)  # as old as the one that follows
            continue
        if now - record.at < least:
            return
        for one in (*unreadable, name):
            try:
                store.delete(one)
            except (CrlCheckError, OSError) as error:
                _log.warning("%s was not deleted from %s: %s", one, store.url, error)
                return
        unreadable.clear()


def _delete_abandoned_probes(store: ObjectStore, moment: datetime) -> None:
    """Delete throw-away objects that are older than any probe takes."""
    for name in store.names(PROBE_PREFIX):
        made = probe_time(name)
        if made is not None and moment - made > _PROBE_TIME:
            try:
                store.delete(name)
            except (CrlCheckError, OSError) as error:
                _log.warning("%s was not deleted from %s: %s", name, store.url, error)
