"""Open what is asked for verdicts: an image or a store, now or as it was."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click

from crlcheck.catalog.earlier import EarlierStore, store_at
from crlcheck.checker.checker import RevocationChecker
from crlcheck.checker.store_set import NO_SET
from crlcheck.cli.inputs import demands_on, is_store, open_target, opening
from crlcheck.cli.options import given_demands
from crlcheck.cli.progress import working
from crlcheck.cli.status import about, not_logged, warn
from crlcheck.cli.text import say
from crlcheck.cli.when import When
from crlcheck.errors import IndexFileError, StoreError
from crlcheck.image.index import open_index
from crlcheck.stores import ObjectStore
from crlcheck.times import time_text
from crlcheck.types import ImageLoading, Policy

# The catalog is read once in a run.
_NEVER = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Source:
    """
    What is asked: an image or a store, at the time of ``clock``.

    ``store`` is None for an image.
    """

    target: str
    store: ObjectStore | None
    at: datetime | None = None

    @classmethod
    def of(cls, target: str, at: When | None) -> Source:
        """
        Open *target* as it was *at* a time.

        Raises:
            click.UsageError: the two do not fit together.
            EarlierSetError: the store cannot be shown as it was then.
        """
        if not is_store(target):
            if isinstance(at, int):
                raise click.UsageError(f"--at {at}: an image has no generations, give a time")
            return cls(target, None, _time_of(at))
        store = open_target(target)
        if at is not None and not isinstance(store, EarlierStore):
            with opening():
                store = store_at(store, at)
        elif isinstance(at, int):
            raise click.UsageError(f"--at {at}: {target} names a generation already, give a time")
        elif at is not None:
            return cls(target, store, _time_of(at))
        return cls(target, store, store.at if isinstance(store, EarlierStore) else None)

    def clock(self) -> datetime:
        """Return the time that is judged by."""
        return datetime.now(UTC) if self.at is None else self.at

    def members(self) -> dict[str, object]:
        """Return the JSON members of a question about the past; else none."""
        if self.at is None:
            return {}
        store = self.store
        if not isinstance(store, EarlierStore):
            return {"judged_at": time_text(self.at)}
        return {
            "judged_at": time_text(self.at),
            "generation": store.generation,
            "published_at": time_text(store.published_at),
            "replaced_at": time_text(store.until),
            "perhaps_generations": list(store.perhaps),
        }

    def announce(self) -> None:
        """Say that the answers are about the past, and by what they are."""
        if self.at is None:
            return
        store, then = self.store, time_text(self.at)
        if not isinstance(store, EarlierStore):
            say(f"{self.target}: judged as of {then}, not as of now")
            return
        end = time_text(store.until)
        until = "still in use" if end is None else f"in use until {end}"
        say(
            f"{store.url}: generation {store.generation}, published "
            f"{time_text(store.published_at)}, {until}: judged as of {then}, not as of now"
        )
        if store.perhaps:
            numbers = ", ".join(map(str, store.perhaps))
            warn(
                f"{store.url}: another generation may have been served at that time ({numbers}): "
                "it is not part of what led to the present one, because somebody put an older "
                "root back or its writer failed"
            )


def _time_of(at: datetime | timedelta | None) -> datetime | None:
    return (datetime.now(UTC) - at).replace(microsecond=0) if isinstance(at, timedelta) else at


def open_checker(
    source: Source,
    issuers: Sequence[Path | bytes],
    policy: Policy,
    *,
    image_loading: ImageLoading = ImageLoading.PAGES_THEN_WHOLE,
) -> RevocationChecker:
    """Open a checker of what is asked, at its time."""
    target, clock = source.target, source.clock
    if source.store is None:
        given_demands(of_store=False)
        with about(target, IndexFileError):
            index = open_index(target)
        return RevocationChecker(index, issuers=issuers, policy=policy, clock=clock)
    checker = RevocationChecker(
        source.store,
        issuers=issuers,
        policy=policy,
        refresh_after=_NEVER,
        clock=clock,
        # By default the first answers do not wait for all of a large image, and many do not
        # read it by parts.
        image_loading=image_loading,
        **demands_on(source.store),
    )
    # A store that cannot be read is one failure, not one for each certificate. What the
    # checker logs of it would be the same line once more.
    with (
        about(target, StoreError, IndexFileError),
        working(f"reading {target}"),
        not_logged(NO_SET),
    ):
        checker.refresh()
    return checker
