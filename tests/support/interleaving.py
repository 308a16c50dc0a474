"""
Publishers that run one store operation at a time, in an order that a test
chooses, and that die or fail before or after any of them.
"""

from __future__ import annotations

import enum
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from crlcheck.errors import CrlCheckError, PreconditionFailedError, StoreUnavailableError
from crlcheck.stores import StoredObject
from support.memory_store import MemoryStore

_Result = TypeVar("_Result")
_PATIENCE = 30.0


class Command(enum.Enum):
    """What becomes of an actor's next operation."""

    RUN = "run"
    CRASH_BEFORE = "crash before"
    CRASH_AFTER = "crash after"
    FAIL_BEFORE = "fail before"
    FAIL_AFTER = "fail after"
    LOSE_ANSWER = "lose the answer, and fail the condition when sent again"


class CrashError(BaseException):
    """The process died: nothing of it runs any more."""


class Actor:
    """A function in a thread of its own that waits before each store operation."""

    def __init__(self, work: Callable[[], object]) -> None:
        self.outcome: object = None
        self.error: BaseException | None = None
        self.crashed = False
        self.swaps_next = False
        self._work = work
        self._command = Command.RUN
        self._waiting = threading.Semaphore(0)
        self._go = threading.Semaphore(0)
        self.done = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        self._wait()

    def step(self, command: Command = Command.RUN) -> None:
        """Let the next operation happen, one way or another, and wait for the one after it."""
        assert not self.done
        self._command = command
        self._go.release()
        self._wait()

    def finish(self) -> None:
        """Run to the end."""
        while not self.done:
            self.step()

    def next_command(self) -> Command:
        """Say that an operation is next, and wait for what is to become of it; by the thread."""
        if self.crashed:
            raise CrashError
        self._waiting.release()
        assert self._go.acquire(timeout=_PATIENCE)
        return self._command

    def _run(self) -> None:
        _CURRENT.actor = self
        try:
            self.outcome = self._work()
        except (CrlCheckError, CrashError) as error:
            self.error = error
        finally:
            self.done = True
            self._waiting.release()

    def _wait(self) -> None:
        assert self._waiting.acquire(timeout=_PATIENCE)
        if self.done:
            self._thread.join(_PATIENCE)


class _Current(threading.local):
    actor: Actor | None = None


_CURRENT = _Current()


class SteppedStore(MemoryStore):
    """A MemoryStore whose operations wait for their actor's command; without one they run."""

    def read(self, name: str) -> StoredObject:
        return self._operate(lambda: MemoryStore.read(self, name))

    def load(self, name: str) -> bytes:
        return self._operate(lambda: MemoryStore.load(self, name))

    def write(self, name: str, body: bytes | Path, **conditions: Any) -> str:
        return self._operate(
            lambda: MemoryStore.write(self, name, body, **conditions), bool(conditions)
        )

    def delete(self, name: str) -> None:
        self._operate(lambda: MemoryStore.delete(self, name))

    def names(self, prefix: str) -> Iterator[str]:
        return self._operate(lambda: MemoryStore.names(self, prefix))

    def _operate(self, operate: Callable[[], _Result], conditional: bool = False) -> _Result:
        actor = _CURRENT.actor
        if actor is None:
            return operate()
        actor.swaps_next = conditional
        command = actor.next_command()
        if command is Command.CRASH_BEFORE:
            actor.crashed = True
            raise CrashError
        if command is Command.FAIL_BEFORE:
            raise StoreUnavailableError("no answer")
        result = operate()
        if command is Command.CRASH_AFTER:
            actor.crashed = True
            raise CrashError
        if command is Command.FAIL_AFTER or (command is Command.LOSE_ANSWER and not conditional):
            raise StoreUnavailableError("the answer was lost")
        if command is Command.LOSE_ANSWER:
            raise PreconditionFailedError("the answer was lost", name="catalog.json")
        return result
