"""
Try on throw-away objects whether a store compares and swaps, as ObjectStore demands.

Several S3 servers answer 200 to a PUT whose If-Match or If-None-Match does not hold. On
them concurrent publications overwrite each other, and each one says "published". A store
cannot be asked whether it is one of them, so ``probe_store`` tries it. It does so before
the first catalog of a store is written, and never again.

Each of ``PROMISES`` is one thing that publishing relies on. Writers that come at the same
time are tried too, because some servers check a condition before they take the body. That
a server lets two writers win can be seen, but that it never does cannot.
"""

from __future__ import annotations

import contextlib
import logging
import secrets
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import NoReturn

from crlcheck.errors import (
    CrlCheckError,
    PreconditionFailedError,
    StoreError,
    UnsafeStoreError,
)
from crlcheck.stores.object_store import ObjectStore

PROBE_PREFIX = "probe/"
"""The names of throw-away objects start with this, and go on with the time."""

_TIME_FORMAT = "%Y%m%dT%H%M%SZ"
_NUM_RACERS = 4
_NUM_RACES = 2
# Large enough that a server which checks the condition first takes a while for the body.
_RACING_SIZE = 32 << 10
_PATIENCE = 10.0

_log = logging.getLogger(__name__)


def probe_store(store: ObjectStore, *, num_races: int = _NUM_RACES) -> None:
    """
    Check that *store* keeps each of ``PROMISES``; its throw-away objects are removed.

    A store whose class has ``is_known_to_swap = True`` is not tried: its own code keeps
    the promise.

    Raises:
        UnsafeStoreError: it does not keep one.
        StoreError: it does not answer, or refuses to read, write or delete.
    """
    if getattr(store, "is_known_to_swap", False):
        return
    try:
        with trial(store, num_races=num_races) as tried:
            for keeps in PROMISES.values():
                keeps(tried)
    except UnsafeStoreError:
        raise
    except StoreError as error:
        error.add_note("while it was tried whether the store compares and swaps")
        raise


def probe_time(name: str) -> datetime | None:
    """Return when the throw-away object of this name was made; None for any other object."""
    if not name.startswith(PROBE_PREFIX):
        return None
    try:
        text = name.removeprefix(PROBE_PREFIX).partition("-")[0]
        return datetime.strptime(text, _TIME_FORMAT).replace(tzinfo=UTC)
    except ValueError:
        return None


class Trial:
    """Throw-away objects in a store, and writes to them that are expected to fail or not."""

    def __init__(self, store: ObjectStore, num_races: int) -> None:
        self.store = store
        self.num_races = num_races
        self._start = f"{PROBE_PREFIX}{datetime.now(UTC):{_TIME_FORMAT}}-{secrets.token_hex(8)}"
        self._names: list[str] = []
        self._is_s3 = store.url.startswith("s3://")

    def new_name(self) -> str:
        """Return the name of an object that is not there yet."""
        name = f"{self._start}-{len(self._names)}"
        self._names.append(name)
        return name

    def must_be_refused(
        self, what: str, name: str, *, if_match: str | None = None, if_absent: bool = False
    ) -> None:
        """Write under a condition that does not hold; *what* names it."""
        before = self._state(name)
        try:
            self.store.write(name, new_body(), if_match=if_match, if_absent=if_absent)
        except PreconditionFailedError:
            pass
        else:
            self.fail(
                f"a PUT with {what} was answered 200, expected 412"
                if self._is_s3
                else f"a write with {what} was accepted, expected a PreconditionFailedError"
            )
        if self._state(name) != before:
            self.fail(f"a write with {what} was refused, but changed the object")

    def must_be_accepted(
        self, what: str, name: str, body: bytes, *, if_match: str | None, if_absent: bool
    ) -> str:
        """Write under a condition that holds, and read back what was written."""
        try:
            etag = self.store.write(name, body, if_match=if_match, if_absent=if_absent)
        except PreconditionFailedError as error:
            self.fail(f"a write with {what} was refused ({error}), expected success")
        found = self.store.read(name)
        if found.body != body:
            self.fail(f"a write with {what} succeeded, but the next read found other bytes")
        if found.etag != etag:
            self.fail(
                f"a write with {what} returned the ETag {etag}, the next read found {found.etag}"
            )
        return etag

    def fail(self, what: str) -> NoReturn:
        """Raise the error that says *what* was seen."""
        raise UnsafeStoreError(
            f"{self.store.url} is refused, because it does not compare and swap: {what}. "
            "Concurrent publications would lose CRLs there",
            found=what,
        )

    def remove(self) -> None:
        """Delete the objects; where that fails, log what is left."""
        for name in self._names:
            try:
                self.store.delete(name)
            except (CrlCheckError, OSError) as error:
                _log.warning("the throw-away object %s was not deleted: %s", name, error)

    def _state(self, name: str) -> tuple[bytes, str] | None:
        try:
            found = self.store.read(name)
        except FileNotFoundError:
            return None
        return found.body, found.etag


@contextlib.contextmanager
def trial(store: ObjectStore, *, num_races: int = _NUM_RACES) -> Iterator[Trial]:
    """Give a Trial whose objects are removed at the end."""
    made = Trial(store, num_races)
    try:
        yield made
    finally:
        made.remove()


def new_body(size: int = 64) -> bytes:
    """Return bytes that no object had before, because equal bytes may have equal ETags."""
    return secrets.token_bytes(64).ljust(size, b"\n")


# ---- the promises ----------------------------------------------------------------


def _keeps_if_absent(tried: Trial) -> None:
    """If-None-Match: * allows a write only where there is no object."""
    name = tried.new_name()
    what = "If-None-Match: * of no object"
    tried.must_be_accepted(what, name, new_body(), if_match=None, if_absent=True)
    tried.must_be_refused("If-None-Match: * of an object that exists", name, if_absent=True)


def _keeps_if_match(tried: Trial) -> None:
    """If-Match allows a write only where the object has that ETag."""
    name = tried.new_name()
    first = tried.store.write(name, new_body(), if_absent=True)
    invented = "".join(_other_digit(one) for one in first)
    tried.must_be_refused("If-Match of a wrong ETag", name, if_match=invented)
    second = tried.must_be_accepted(
        "If-Match of the object's ETag", name, new_body(), if_match=first, if_absent=False
    )
    if first == second:
        tried.fail(f"an object was replaced, but kept the ETag {first}")
    tried.must_be_refused("If-Match of the ETag before", name, if_match=first)
    tried.must_be_refused("If-Match of no object", tried.new_name(), if_match=second)


def _other_digit(character: str) -> str:
    """Return another hexadecimal digit for one, and everything else as it is."""
    return "1" if character == "0" else "0" if character in "123456789abcdefABCDEF" else character


def _reads_what_was_written(tried: Trial) -> None:
    """A reader that has an older state of an object gets the new one at once."""
    name = tried.new_name()
    first = tried.store.write(name, new_body(), if_absent=True)
    body = new_body()
    tried.store.write(name, body, if_match=first)
    found = tried.store.read_if_changed(name, first)
    if found is None or found.body != body:
        tried.fail(
            "a GET with If-None-Match of the ETag before a change was answered "
            + ("304" if found is None else "with the bytes before it")
            + ", expected the changed object"
        )


def _has_one_winner(tried: Trial) -> None:
    """Of several writers with one condition at the same time, one at most succeeds."""
    _race(tried, "If-None-Match: *", tried.new_name(), if_match=None)
    name = tried.new_name()
    tried.store.write(name, new_body(), if_absent=True)
    for _ in range(tried.num_races):
        _race(tried, "If-Match of one ETag", name, if_match=tried.store.read(name).etag)


def _race(tried: Trial, what: str, name: str, *, if_match: str | None) -> None:
    """Write to one object from several threads at once; more than one winner is too many."""
    barrier = threading.Barrier(_NUM_RACERS)
    results: list[tuple[bytes, str | Exception]] = []

    def write() -> None:
        body = new_body(_RACING_SIZE)
        with contextlib.suppress(threading.BrokenBarrierError):
            barrier.wait(_PATIENCE)
        try:
            etag = tried.store.write(name, body, if_match=if_match, if_absent=if_match is None)
        except Exception as error:  # noqa: BLE001 - raised again by who waits
            results.append((body, error))
        else:
            results.append((body, etag))

    threads = [threading.Thread(target=write, daemon=True) for _ in range(_NUM_RACERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    _check_winner(tried, what, name, results)


def _check_winner(
    tried: Trial, what: str, name: str, results: list[tuple[bytes, str | Exception]]
) -> None:
    """Check that one write at most succeeded, and that the object is that write's."""
    winners = [body for body, result in results if isinstance(result, str)]
    if len(winners) > 1:
        tried.fail(
            f"{len(winners)} of {len(results)} writes at the same time with {what} succeeded, "
            "expected one"
        )
    # A write without an answer may have succeeded too, so that no more can be said.
    unknown = [
        error
        for _, error in results
        if isinstance(error, Exception) and not isinstance(error, PreconditionFailedError)
    ]
    if unknown:
        raise unknown[0]
    if winners and tried.store.read(name).body != winners[0]:
        tried.fail(
            f"of {len(results)} writes at the same time with {what} one succeeded, but the "
            "object has the bytes of another"
        )


PROMISES: dict[str, Callable[[Trial], None]] = {
    "if_none_match": _keeps_if_absent,
    "if_match": _keeps_if_match,
    "read_after_write": _reads_what_was_written,
    "one_winner": _has_one_winner,
}
"""What publishing relies on, by name; each raises UnsafeStoreError where it is not so."""
