"""
Explore every order in which the store operations of several actors can happen.

An actor is real code that is given a store and a clock: a publisher, a clean-up, a
reader. Each of its store operations is one step. So are a fault (an actor dies, or the
answer to its write is lost) and the passing of time. ``explore`` takes every step that is
possible in every state that can be reached.

How that ends:

1. An actor depends on nothing but the answers of its store and its clock. So a place of
   an actor is the list of the answers that it has had, and the real code runs once for
   each such list: from its start with the answers that are known, up to the first
   operation without one, where it is stopped.
2. A state is the objects of the store, the place of each actor, the time, the faults that
   are left, and what the properties remember. A state that was reached before, in another
   order, is not explored again. All ends of an actor are one place, and so are all deaths.
   (A set of objects counts as another where a sum of 128 bits over them differs.)
3. Where an actor is before a read whose answer is the same whatever the others do, and time
   cannot pass any more, that read is the only step: to do it later comes to the same.
4. An etag stands for an object's contents, as in S3: contents that come back have their
   old etag again.

An actor sees the time at which its last operation was answered. Its random names are its
own name and a number that counts up.
"""

from __future__ import annotations

import enum
import errno
import functools
import hashlib
import os
import secrets
import time
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import NamedTuple, Protocol, TypeAlias
from unittest import mock

from crlcheck.errors import PreconditionFailedError, StoreUnavailableError
from crlcheck.stores import StoredObject
from crlcheck.stores.object_store import check_name, check_prefix, check_write

# Numbers of places that are no actor's own.
_DEAD, _DONE, _UNSTARTED = range((1 << 24) - 3, 1 << 24)


class Objects:
    """
    The number of each object's contents. It never changes; ``key`` stands for all of it.
    """

    __slots__ = ("by_name", "key")

    def __init__(self, by_name: Mapping[str, int], key: int) -> None:
        self.by_name = by_name
        self.key = key

    @classmethod
    def of(cls, by_name: Mapping[str, int]) -> Objects:
        """Return these objects."""
        key = 0
        for name, contents in by_name.items():
            key ^= _key_of(name, contents)
        return cls(by_name, key)

    def having(self, name: str, contents: int | None) -> Objects:
        """Return these objects with one of other contents, or without it."""
        by_name, key = dict(self.by_name), self.key
        found = by_name.pop(name, None)
        if found is not None:
            key ^= _key_of(name, found)
        if contents is not None:
            key ^= _key_of(name, contents)
            by_name[name] = contents
        return Objects(by_name, key)


@functools.cache
def _key_of(name: str, contents: int) -> int:
    digest = hashlib.blake2b(f"{contents} {name}".encode(), digest_size=16).digest()
    return int.from_bytes(digest, "big")


class Contents:
    """All contents that any object has had, by number."""

    def __init__(self) -> None:
        self._numbers: dict[bytes, int] = {}
        self._bodies: list[bytes] = []

    def number(self, body: bytes) -> int:
        """Return the number of *body*."""
        found = self._numbers.setdefault(body, len(self._bodies))
        if found == len(self._bodies):
            self._bodies.append(body)
        return found

    def body(self, number: int) -> bytes:
        """Return the contents of that number."""
        return self._bodies[number]


# ---- operations and their answers ------------------------------------------------------


class Special(enum.Enum):
    """What an answer can be beside contents and names."""

    MISSING = "there is no such object"
    UNCHANGED = "it is unchanged"
    REFUSED = "the condition does not hold"
    UNSURE = "the condition does not hold, but the request was sent twice"
    DONE = "done"
    LOST = "the answer was lost"


Answer: TypeAlias = int | tuple[str, ...] | Special


class Kind(enum.Enum):
    """The methods of a store."""

    READ = "read"
    READ_IF_CHANGED = "read_if_changed"
    LOAD = "load"
    WRITE = "write"
    DELETE = "delete"
    NAMES = "names"


class Operation(NamedTuple):
    """
    One request to the store.

    ``contents`` is what is written. ``expected`` is the condition: the contents that the
    object must have, or for ``READ_IF_CHANGED`` must not have, or MISSING for no object.
    """

    kind: Kind
    name: str
    contents: int | None = None
    expected: int | Special | None = None

    @property
    def writes(self) -> bool:
        """Whether it changes the store."""
        return self.kind in (Kind.WRITE, Kind.DELETE)

    @property
    def swaps(self) -> bool:
        """Whether it is a write with a condition."""
        return self.kind is Kind.WRITE and self.expected is not None

    def apply(self, objects: Objects) -> tuple[Objects, Answer]:
        """Return the objects after it, and its answer."""
        found = objects.by_name.get(self.name)
        if self.kind is Kind.NAMES:
            names = (name for name in objects.by_name if name.startswith(self.name))
            return objects, tuple(sorted(names))
        if self.kind is Kind.DELETE:
            return objects.having(self.name, None), Special.DONE
        if self.kind is Kind.WRITE:
            assert self.contents is not None
            if self.expected not in (None, Special.MISSING if found is None else found):
                return objects, Special.REFUSED
            return objects.having(self.name, self.contents), self.contents
        if found is None:
            return objects, Special.MISSING
        if self.kind is Kind.READ_IF_CHANGED and found == self.expected:
            return objects, Special.UNCHANGED
        return objects, found


# ---- actors ----------------------------------------------------------------------------

Clock: TypeAlias = Callable[[], datetime]


class _Paused(BaseException):
    """The actor wants an operation whose answer is not known yet."""

    def __init__(self, operation: Operation) -> None:
        super().__init__(operation)
        self.operation = operation


class Answered(NamedTuple):
    """An operation of an actor, its answer, and the time of that where the actor looked at it."""

    operation: Operation
    answer: Answer
    at: datetime | None


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Place:
    """
    Where an actor is after the operations that were ``answered``: before its next
    ``operation``, or at its end, with ``outcome`` or ``error``.
    """

    number: int
    started: datetime | None
    answered: tuple[Answered, ...]
    operation: Operation | None
    outcome: object = None
    error: Exception | None = None
    following: dict[tuple[Answer, datetime | None], Place] = field(default_factory=dict)


class ReplayedStore:
    """An ObjectStore that gives the answers that are known, and stops its actor after them."""

    is_known_to_swap = True
    url = "memory:"

    def __init__(
        self, contents: Contents, started: datetime | None, answered: Sequence[Answered]
    ) -> None:
        self._contents = contents
        self._answered = answered
        self._position = 0
        self._paused: _Paused | None = None
        self._now = started
        self.looked_at_clock = False

    def read(self, name: str) -> StoredObject:
        """As ObjectStore.read."""
        check_name(name)
        return self._found(name, self._ask(Operation(Kind.READ, name)))

    def read_if_changed(self, name: str, etag: str | None) -> StoredObject | None:
        """As ObjectStore.read_if_changed."""
        check_name(name)
        answer = self._ask(Operation(Kind.READ_IF_CHANGED, name, expected=_contents_of(etag)))
        return None if answer is Special.UNCHANGED else self._found(name, answer)

    def load(self, name: str) -> bytes:
        """As ObjectStore.load."""
        check_name(name)
        return self._found(name, self._ask(Operation(Kind.LOAD, name))).body

    def write(
        self, name: str, body: bytes | Path, *, if_match: str | None = None, if_absent: bool = False
    ) -> str:
        """As ObjectStore.write."""
        check_write(name, body, if_match, if_absent)
        contents = self._contents.number(body if isinstance(body, bytes) else body.read_bytes())
        expected = Special.MISSING if if_absent else _contents_of(if_match)
        answer = self._ask(Operation(Kind.WRITE, name, contents, expected))
        if answer in (Special.REFUSED, Special.UNSURE):
            raise PreconditionFailedError(
                f"{name}: another one came first",
                name=name,
                may_be_written=answer is Special.UNSURE,
            )
        return f"contents {answer}"

    def delete(self, name: str) -> None:
        """As ObjectStore.delete."""
        check_name(name)
        self._ask(Operation(Kind.DELETE, name))

    def names(self, prefix: str) -> Iterator[str]:
        """As ObjectStore.names."""
        check_prefix(prefix)
        answer = self._ask(Operation(Kind.NAMES, prefix))
        assert isinstance(answer, tuple)
        return iter(answer)

    def clock(self) -> datetime:
        """Return the time of the last answer."""
        assert self._now is not None, "not deterministic: it looked at no clock the first time"
        self.looked_at_clock = True
        return self._now

    def _ask(self, operation: Operation) -> Answer:
        if self._paused is not None:  # a finally clause has an operation too
            raise self._paused
        if self._position == len(self._answered):
            self._paused = _Paused(operation)
            raise self._paused
        recorded, answer, self._now = self._answered[self._position]
        assert recorded == operation, f"not deterministic: first {recorded}, now {operation}"
        self._position += 1
        self.looked_at_clock = False
        if answer is Special.LOST:
            raise StoreUnavailableError("the answer was lost")
        return answer

    def _found(self, name: str, answer: Answer) -> StoredObject:
        if answer is Special.MISSING:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), name)
        assert isinstance(answer, int)
        return StoredObject(self._contents.body(answer), f"contents {answer}")


def _contents_of(etag: str | None) -> int | None:
    return None if etag is None else int(etag.removeprefix("contents "))


class Actor:
    """
    Code whose store operations are steps, and the places where it was found so far.

    *may_die* says that a fault may end it. *errors* are those that it may end with; any
    other is an error of the code.
    """

    def __init__(
        self,
        name: str,
        work: Callable[[ReplayedStore, Clock], object],
        *,
        may_die: bool = False,
        errors: tuple[type[Exception], ...] = (),
    ) -> None:
        self.name = name
        self.may_die = may_die
        self.num_places = 0
        self._work = work
        self._errors = errors
        self._starts: dict[datetime | None, Place] = {}

    def start(self, contents: Contents, now: datetime) -> Place:
        """Return the place before the first operation, where the actor starts now."""
        return self._starts.get(None) or self._starts.get(now) or self._run(contents, None, now)

    def after(self, place: Place, answer: Answer, contents: Contents, now: datetime) -> Place:
        """Return the place after *answer*, given now, to the operation at *place*."""
        known = place.following
        found = known.get((answer, None)) or known.get((answer, now))
        return found or self._run(contents, (place, answer), now)

    def _run(self, contents: Contents, before: tuple[Place, Answer] | None, now: datetime) -> Place:
        answered: list[Answered] = []
        started: datetime | None = now
        if before is not None:
            place, answer = before
            assert place.operation is not None
            answered = [*place.answered, Answered(place.operation, answer, now)]
            started = place.started
        store = ReplayedStore(contents, started, answered)
        operation, outcome, caught = None, None, None
        with _deterministic(self.name, store.clock):
            try:
                outcome = self._work(store, store.clock)
            except _Paused as paused:
                operation = paused.operation
            except self._errors as error:
                caught = error
        looked_at = now if store.looked_at_clock else None
        if before is None:
            started = looked_at
        else:
            answered[-1] = answered[-1]._replace(at=looked_at)
        reached = Place(self.num_places, started, tuple(answered), operation, outcome, caught)
        self.num_places += 1
        if before is None:
            self._starts[looked_at] = reached
        else:
            place.following[answer, looked_at] = reached
        return reached


@contextmanager
def _deterministic(name: str, clock: Clock) -> Iterator[None]:
    """Let time pass by *clock* alone, and count instead of choosing at random."""
    numbers = iter(range(1 << 20))

    def token_hex(size: int = 32) -> str:
        return hashlib.shake_128(f"{name} {next(numbers)}".encode()).hexdigest(size)

    def seconds(_: int = 0) -> float:
        return clock().timestamp()

    with (
        mock.patch.object(secrets, "token_hex", token_hex),
        mock.patch.object(time, "monotonic", seconds),
        mock.patch.object(time, "clock_gettime", seconds),
        mock.patch.object(time, "time", seconds),
        mock.patch.object(time, "sleep"),
    ):
        yield


# ---- exploring ---------------------------------------------------------------------------


class Event(enum.Enum):
    """What a step is."""

    RUN = "does"
    DIE = "dies before"
    LOSE = "does, twice, and hears that it came too late:"
    FAIL = "does, and hears nothing of:"
    WAIT = "time passes"


class Step(NamedTuple):
    """
    One step: what happened to which actor at which operation.

    ``reached`` is where the actor is after it, None where it is dead.
    """

    event: Event
    actor: Actor | None = None
    operation: Operation | None = None
    answer: Answer | None = None
    reached: Place | None = None

    def __str__(self) -> str:
        if self.actor is None or self.operation is None:
            return self.event.value
        kind, name, contents, expected = self.operation
        what = "" if contents is None else f" as contents {contents}"
        condition = "" if expected is None else f" on condition {expected}"
        text = f"{self.actor.name} {self.event.value} {kind.value} {name}{what}{condition}"
        return text if self.answer is None else f"{text}: {self.answer}"


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class State:
    """
    A state of the store and the actors, and the step that led to it the first time.

    ``places`` has None for an actor that is dead. ``memory`` belongs to the properties.
    """

    objects: Objects
    places: tuple[Place | None, ...]
    now: int
    num_faults_left: int
    memory: Hashable
    step: Step | None
    before: State | None
    depth: int

    def steps(self) -> list[Step]:
        """Return the steps from the start."""
        found: list[Step] = []
        state: State | None = self
        while state is not None and state.step is not None:
            found.append(state.step)
            state = state.before
        return found[::-1]


class Properties(Protocol):
    """What must hold, and what is remembered for that. A failure is an AssertionError."""

    def begin(self, objects: Objects) -> Hashable:
        """Return what is remembered at the start."""

    def after(self, step: Step, objects: Objects, now: datetime, memory: Hashable) -> Hashable:
        """
        Check a step that changed the store, ended its actor, or found no object; return
        what is remembered from then on. *objects* are those after it.
        """

    def may_wait(self, operations: Sequence[Operation]) -> bool:
        """Whether time may pass while actors are before *operations*."""

    def is_settled(self, operation: Operation, now: datetime, memory: Hashable) -> bool:
        """
        Whether *operation* has the same answer and no effect, whenever it is done, unless
        time passes.
        """

    def at_end(self, objects: Objects, now: datetime, memory: Hashable) -> None:
        """Check a state in which every actor is done or dead."""


@dataclass(slots=True)
class Explored:
    """How much there was: states, steps between them, ends, the longest way to a new state."""

    num_states: int = 0
    num_steps: int = 0
    num_ends: int = 0
    num_runs: int = 0
    longest: int = 0
    seconds: float = 0.0

    def __str__(self) -> str:
        return (
            f"{self.num_states:,} states, {self.num_steps:,} steps between them, "
            f"{self.num_ends:,} ends, {self.num_runs:,} places where real code was stopped, "
            f"{self.seconds:.0f} s"
        )


class BrokenPropertyError(AssertionError):
    """A property does not hold; the message has every step that led there."""


def explore(
    actors: Sequence[Actor],
    objects: Mapping[str, int],
    contents: Contents,
    properties: Properties,
    *,
    times: Sequence[datetime],
    faults: Sequence[Event] = (),
) -> Explored:
    """
    Take every step in every state that can be reached from *objects*.

    Time is the first of *times* and passes to the next ones. One of *faults* happens, or
    none, to an actor that may die.

    Raises:
        BrokenPropertyError: a property does not hold, or an actor raised an error.
    """
    assert not any(actor.num_places for actor in actors), "an actor's places are of one world"
    return _Exploration(actors, contents, properties, times, faults).run(objects)


class _Exploration:
    def __init__(
        self,
        actors: Sequence[Actor],
        contents: Contents,
        properties: Properties,
        times: Sequence[datetime],
        faults: Sequence[Event],
    ) -> None:
        self._actors = actors
        self._contents = contents
        self._properties = properties
        self._times = times
        self._faults = faults
        self._seen: set[int] = set()
        self._left: list[State] = []
        self._numbers: dict[Hashable, int] = {}
        self._done = Place(_DONE, None, (), None)
        self._unstarted = Place(_UNSTARTED, None, (), None)
        self._found = Explored()

    def run(self, objects: Mapping[str, int]) -> Explored:
        """Explore."""
        started = time.perf_counter()
        first = Objects.of(objects)
        memory = self._properties.begin(first)
        places: tuple[Place | None, ...] = (self._unstarted,) * len(self._actors)
        self._reach(None, None, first, places, 0, bool(self._faults), memory)
        found = self._found
        while self._left:
            state = self._left.pop()
            try:
                self._leave(state)
            except AssertionError as error:
                steps = [str(step) for step in state.steps()]
                raise BrokenPropertyError("\n".join(["after", *steps, str(error)])) from error
        found.num_states = len(self._seen)
        found.num_runs = sum(actor.num_places for actor in self._actors)
        found.seconds = time.perf_counter() - started
        return found

    def _reach(
        self,
        before: State | None,
        step: Step | None,
        objects: Objects,
        places: tuple[Place | None, ...],
        now: int,
        num_faults_left: int,
        memory: Hashable,
    ) -> None:
        """Note a state, unless it was reached before."""
        numbers = self._numbers
        key = numbers.setdefault(objects.key, len(numbers))
        for place in places:
            key = key << 24 | (_DEAD if place is None else place.number)
        key = key << 24 | numbers.setdefault(memory, len(numbers))
        key = key << 8 | now << 4 | num_faults_left
        if key in self._seen:
            return
        self._seen.add(key)
        depth = 0 if before is None else before.depth + 1
        self._left.append(State(objects, places, now, num_faults_left, memory, step, before, depth))
        self._found.longest = max(self._found.longest, depth)

    def _leave(self, state: State) -> None:
        """Take every step that is possible in *state*, or one that can come first."""
        now = self._times[state.now]
        can_wait = state.now + 1 < len(self._times)
        ready = self._ready(state)
        for number, place, operation in ready:
            if not can_wait and self._properties.is_settled(operation, now, state.memory):
                self._take(state, number, place, Event.RUN)
                return
        for number, place, operation in ready:
            for event in (Event.RUN, *self._possible_faults(state, number, operation)):
                self._take(state, number, place, event)
        if not ready:
            self._found.num_ends += 1
            self._properties.at_end(state.objects, now, state.memory)
        elif can_wait and self._properties.may_wait([operation for _, _, operation in ready]):
            self._found.num_steps += 1
            step, later = Step(Event.WAIT), state.now + 1
            faults = state.num_faults_left
            self._reach(state, step, state.objects, state.places, later, faults, state.memory)

    def _ready(self, state: State) -> list[tuple[int, Place, Operation]]:
        """Return the actors that have a next operation, by number."""
        found: list[tuple[int, Place, Operation]] = []
        for number, actor in enumerate(self._actors):
            place = state.places[number]
            if place is self._unstarted:
                place = actor.start(self._contents, self._times[state.now])
            if place is not None and place.operation is not None:
                found.append((number, place, place.operation))
        return found

    def _possible_faults(self, state: State, number: int, operation: Operation) -> Iterator[Event]:
        if not state.num_faults_left or not self._actors[number].may_die:
            return
        for fault in self._faults:
            # To others, to die before a read is to die before the next write.
            if operation.swaps if fault is Event.LOSE else operation.writes:
                yield fault

    def _take(self, state: State, number: int, place: Place, event: Event) -> None:
        self._found.num_steps += 1
        actor, operation = self._actors[number], place.operation
        assert operation is not None
        objects, now, memory = state.objects, self._times[state.now], state.memory
        if event is Event.DIE:
            step = Step(event, actor, operation)
            reached = None
        else:
            objects, answer = operation.apply(objects)
            if event is Event.LOSE:
                answer = Special.UNSURE
            elif event is Event.FAIL:
                answer = Special.LOST
            try:
                reached = actor.after(place, answer, self._contents, now)
            except Exception as error:
                step = Step(event, actor, operation, answer)
                raise AssertionError(f"{step}, and then there is {error!r}") from error
            step = Step(event, actor, operation, answer, reached)
            if (
                objects is not state.objects
                or reached.operation is None
                or answer is Special.MISSING
            ):
                try:
                    memory = self._properties.after(step, objects, now, memory)
                except AssertionError as error:
                    raise AssertionError(f"{step}\n{error}") from error
            if reached.operation is None:
                reached = self._done  # what it came to is checked, and all ends are alike
        places = (*state.places[:number], reached, *state.places[number + 1 :])
        faults = state.num_faults_left - (event is not Event.RUN)
        self._reach(state, step, objects, places, state.now, faults, memory)
