"""
Remember what could not be read lately, so that not every check tries it again.

How long it is not tried is said in ``polling``.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Hashable
from typing import NamedTuple

from crlcheck.catalog.tree import Node, NodeCache, NodeReader, Reference
from crlcheck.checker import polling
from crlcheck.errors import (
    CatalogDamagedError,
    CrlCheckError,
    StoreError,
    StoreUnavailableError,
)
from crlcheck.stores import ObjectStore

# Whoever asks for more things that fail than these has the oldest tried again.
_MAX_REMEMBERED = 1024


# Bytes of parsed nodes. Views have what they need of a node, which is kept for other issuers.
_CAPACITY = 3 << 20


class _Failure(NamedTuple):
    error: BaseException
    at: float
    pause: float

    @property
    def reason(self) -> str:
        return str(self.error).removesuffix(_AGAIN)

    def again(self) -> StoreError | FileNotFoundError:
        """Return the failure as it is raised without another attempt."""
        reason = self.reason + _AGAIN
        if isinstance(self.error, FileNotFoundError):
            return FileNotFoundError(reason)
        if isinstance(self.error, CatalogDamagedError):
            return CatalogDamagedError(reason, name=self.error.name, found=self.error.found)
        return StoreUnavailableError(reason)


_AGAIN = " (found a moment ago, and not read again since)"


class Attempts:
    """The things that failed lately, by any key. Threads may share it."""

    def __init__(self) -> None:
        self._failures: OrderedDict[Hashable, _Failure] = OrderedDict()
        self._lock = threading.Lock()

    def require_due(self, key: Hashable) -> None:
        """
        Raise the last failure again if it is too early to try again.

        Raises:
            CatalogDamagedError: the object was missing or damaged.
            FileNotFoundError: it was not there, and that alone is known.
            StoreUnavailableError: it could not be read for another reason.
        """
        failure = self._failures.get(key)
        if failure is not None and time.monotonic() - failure.at < failure.pause:
            raise failure.again()

    def note(self, key: Hashable, error: BaseException) -> None:
        """Remember a failure."""
        is_unavailable = isinstance(error, StoreUnavailableError)
        back_off = polling.OBJECT_UNAVAILABLE if is_unavailable else polling.OBJECT_REFUSED
        with self._lock:
            self._failures.pop(key, None)
            self._failures[key] = _Failure(error, time.monotonic(), back_off.pause(1))
            while len(self._failures) > _MAX_REMEMBERED:
                self._failures.popitem(last=False)

    def forget(self, key: Hashable) -> None:
        """Forget the failure of something that has succeeded."""
        if key in self._failures:
            with self._lock:
                self._failures.pop(key, None)

    def after_fork(self) -> None:
        """Make a new lock: the thread that may hold the old one is the parent's."""
        self._lock = threading.Lock()


class PatientReader(NodeReader):
    """Reads nodes; one that could not be read is not tried again at once."""

    def __init__(self, store: ObjectStore, capacity: int = _CAPACITY) -> None:
        super().__init__(store, NodeCache(capacity))
        self._attempts = Attempts()

    def node(self, reference: Reference, level: int | None = None) -> Node:
        """
        Return a node, which must be of *level* unless that is None.

        Raises:
            CatalogDamagedError: it is missing, or it is another one.
            StoreError: the store does not answer, or did not a moment ago.
        """
        name = reference.name
        self._attempts.require_due(name)
        try:
            node = super().node(reference, level)
        except StoreUnavailableError as error:
            failure = error if name in str(error) else StoreUnavailableError(self._of(name, error))
            self._attempts.note(name, failure)
            raise failure from error
        except CrlCheckError as error:
            self._attempts.note(name, error)
            raise
        except Exception as error:
            # Too little memory, no thread to read it with, or a fault of the store: its
            # certificates are undetermined, as if the store had not answered.
            words = f"not loaded: {type(error).__name__}: {error}"
            failure = StoreUnavailableError(self._of(name, words))
            self._attempts.note(name, failure)
            raise failure from error
        self._attempts.forget(name)
        return node

    def _of(self, name: str, words: object) -> str:
        return f"{self.store.url}/{name}: {words}"

    def after_fork(self) -> None:
        """Make new locks: the thread that may hold the old ones is the parent's."""
        self.kept.after_fork()
        self._attempts.after_fork()
