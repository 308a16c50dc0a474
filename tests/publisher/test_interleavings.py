"""
Every order of the store operations of publishers, a clean-up and a reader, where one
writer may die anywhere and the grace period may pass at any time.

The normal tests explore small worlds; ``make interleavings`` explores the large ones too,
and prints how many states there were.
"""

from __future__ import annotations

import functools
import os
import pkgutil
import re
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import pytest

from crlcheck.catalog.compare_and_swap import Change
from crlcheck.catalog.history import chain, read_record
from crlcheck.catalog.published_set import read_set
from crlcheck.catalog.root import CATALOG_NAME
from crlcheck.catalog.signing_store import signing
from crlcheck.checker.checker import RevocationChecker
from crlcheck.compiler.compile import CompiledImage, compile_crl, compile_to_temporary
from crlcheck.demo.pki import CertificateAuthority
from crlcheck.errors import CrlRollbackError, StoreUnavailableError
from crlcheck.publisher import compiling as compiling_module
from crlcheck.publisher.clean_up import clean_up
from crlcheck.publisher.publication import Publication
from crlcheck.publisher.publish import publish_crl
from crlcheck.types import CheckResult, PublishReport, RevocationStatus
from support.memory_store import MemoryStore
from support.pki import NOW, make_client, make_crl
from support.publishing import CA, OTHER_CA
from support.root_keys import MemoryKey
from support.scheduler import (
    Actor,
    BrokenPropertyError,
    Clock,
    Contents,
    Event,
    Explored,
    Kind,
    Objects,
    Operation,
    Place,
    ReplayedStore,
    Special,
    Step,
    explore,
)

GRACE = timedelta(hours=1)
TIMES = (NOW, NOW + GRACE)
EXPLORE_ALL = bool(os.environ.get("CRLCHECK_ALL_INTERLEAVINGS"))

KEY = MemoryKey()
"""Signs the root in the worlds that are signed; its signatures are always the same bytes."""

REVOKED = {1: [1], 2: [1, 2], 3: [1, 2, 3]}
"""What the CRL of each number lists."""

SERIALS = (2, 3)
CLIENTS = [make_client(CA, serial) for serial in SERIALS]

# ---- the actors ------------------------------------------------------------------------


@functools.cache
def crl(authority: CertificateAuthority, number: int) -> bytes:
    """The CRL of that number."""
    return make_crl(authority, number, REVOKED[number])


@functools.cache
def scope_of(authority: CertificateAuthority) -> str:
    """The key of its scope."""
    report = compile_crl(crl(authority, 1), issuer=authority.pem)
    return report.metadata.scope


@pytest.fixture(autouse=True)
def compiled_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compile each CRL once."""
    images: dict[object, CompiledImage] = {}

    def compiled(source: bytes, **options: object) -> CompiledImage:
        if source not in images:
            images[source] = compile_to_temporary(source, **options)  # type: ignore[arg-type]
        assert isinstance(images[source].content, bytes), "no publisher removes it"
        return images[source]

    monkeypatch.setattr(compiling_module, "compile_to_temporary", compiled)


def publisher(
    name: str,
    authority: CertificateAuthority,
    number: int,
    *,
    compare_up_to: int = 0,
    key: MemoryKey | None = None,
) -> Actor:
    """A publisher of one CRL, which may find that a newer one is there already."""

    def work(store: ReplayedStore, clock: Clock) -> PublishReport:
        return publish_crl(
            crl(authority, number),
            store,
            issuer=authority.pem,
            now=clock(),
            grace=GRACE,
            compare_up_to=compare_up_to,
            sign_with=key,
        )

    return Actor(name, work, may_die=True, errors=(CrlRollbackError, StoreUnavailableError))


def cleaner(name: str = "clean-up", key: MemoryKey | None = None) -> Actor:
    """A clean-up, which looks at the clock when it begins."""

    def work(store: ReplayedStore, clock: Clock) -> object:
        return clean_up(signing(store, key), grace=GRACE, now=clock())

    return Actor(name, work, may_die=True, errors=(StoreUnavailableError,))


class Verdict(NamedTuple):
    """What a reader was told: by which generation, and whether each client is revoked."""

    generation: int
    statuses: tuple[RevocationStatus, ...]


@dataclass(frozen=True)
class Verdicts:
    """All that a reader was told."""

    verdicts: tuple[Verdict, ...]


def reader(name: str = "", num_checks: int = 2) -> Actor:
    """A checker that looks for a newer set at each check."""

    def work(store: ReplayedStore, clock: Clock) -> Verdicts:
        checker = RevocationChecker(store, clock=clock)
        found: list[Verdict] = []
        for _ in range(num_checks):
            results = checker.check_many(CLIENTS)
            statuses = tuple(result.status for result in results)
            found.append(Verdict(checker.status().generation or 0, statuses))
        return Verdicts(tuple(found))

    return Actor(f"reader {name}", work)


# ---- what must hold --------------------------------------------------------------------


@dataclass(frozen=True)
class Published:
    """
    What one root names: the contents of each object that it needs, the CRL number of each
    scope, and the names that clean-up may delete.
    """

    generation: int
    needed: dict[str, int]
    numbers: dict[str, int]
    noted: frozenset[str]

    def statuses(self) -> tuple[RevocationStatus, ...]:
        """Return what is to be said of the clients."""
        listed = REVOKED[self.numbers[scope_of(CA)]]
        return tuple(
            RevocationStatus.REVOKED if serial in listed else RevocationStatus.NOT_REVOKED
            for serial in SERIALS
        )


class Memory(NamedTuple):
    """The contents of every root so far, and when each but the last was replaced."""

    roots: tuple[int, ...]
    replaced: tuple[datetime, ...]


class WholeSets:
    """The guarantees of a store: docs/explanation/design.md has them in words."""

    def __init__(self, contents: Contents) -> None:
        self._contents = contents
        self._published: dict[int, Published] = {}

    def begin(self, objects: Objects) -> Hashable:
        """Remember the root."""
        self._note(objects)
        return Memory((objects.by_name[CATALOG_NAME],), ())

    def is_settled(self, operation: Operation, now: datetime, memory: Hashable) -> bool:
        """Whether it reads what a root of the grace period needs: nobody may delete that."""
        assert isinstance(memory, Memory)
        if operation.name == CATALOG_NAME or operation.kind not in (Kind.READ, Kind.LOAD):
            return False
        return any(operation.name in one.needed for one in self._of_grace_period(memory, now))

    def may_wait(self, operations: Sequence[Operation]) -> bool:
        """
        Time does not pass while a catalog is written: the request has a time limit that is
        far below the grace period.
        """
        return not any(operation.swaps for operation in operations)

    def after(self, step: Step, objects: Objects, now: datetime, memory: Hashable) -> Hashable:
        """Check everything."""
        assert isinstance(memory, Memory)
        assert step.operation is not None
        kind, name = step.operation.kind, step.operation.name
        if name == CATALOG_NAME and objects.by_name[name] != memory.roots[-1]:
            memory = self._check_root(memory, objects, now)
        elif kind is Kind.DELETE or (kind is Kind.WRITE and "/" in name):
            # A name that does not stand for the present state is written once.
            self._check_unneeded(name, memory, now)
        if step.answer is Special.MISSING:
            self._check_unneeded(name, memory, now)
        if step.reached is not None and step.reached.operation is None:
            self._check_outcome(step.reached, memory)
        return memory

    def at_end(self, objects: Objects, now: datetime, memory: Hashable) -> None:
        """Check nothing more."""

    def _note(self, objects: Objects) -> Published:
        root = objects.by_name[CATALOG_NAME]
        if root not in self._published:
            self._published[root] = self._read(objects)
        found = self._published[root]
        for name, contents in found.needed.items():
            assert objects.by_name.get(name) == contents, f"the root names {name}"
        return found

    def _read(self, objects: Objects) -> Published:
        store = MemoryStore()
        for name, contents in objects.by_name.items():
            store.write(name, self._contents.body(contents))
        held, _ = read_set(store)
        catalog = held.everything()
        assert held.root.history is not None
        record = read_record(store, held.root.history)
        names = [*catalog.image_names(), *(one.name for one in held.objects())]
        names += [reference.name for reference, _ in chain(store, held.root)]
        return Published(
            held.generation,
            {name: objects.by_name[name] for name in names},
            {key: one.base.metadata.crl_number or 0 for key, one in catalog.scopes.items()},
            frozenset(record.given_up),
        )

    def _check_root(self, memory: Memory, objects: Objects, now: datetime) -> Memory:
        """The next root follows the last one: later, with no scope lost or set back."""
        earlier = [self._published[root] for root in memory.roots]
        last, found = earlier[-1], self._note(objects)
        assert found.generation > last.generation, "the generation did not rise"
        for key, number in last.numbers.items():
            assert found.numbers.get(key, 0) >= number, f"scope {key} went back"
        for name in found.needed:
            was_named = [name in one.needed for one in earlier]
            assert True not in was_named or was_named[-1], f"{name} is named again"
            assert not any(name in one.noted for one in earlier), f"{name} had been given up"
        root = objects.by_name[CATALOG_NAME]
        return Memory((*memory.roots, root), (*memory.replaced, now))

    def _check_unneeded(self, name: str, memory: Memory, now: datetime) -> None:
        """No root of the grace period names it."""
        for one in self._of_grace_period(memory, now):
            assert name not in one.needed, f"generation {one.generation} needs it"

    def _of_grace_period(self, memory: Memory, now: datetime) -> Iterator[Published]:
        """Yield what the present root names, and the roots that were replaced lately."""
        for number, root in enumerate(memory.roots):
            if number == len(memory.replaced) or now - memory.replaced[number] < GRACE:
                yield self._published[root]

    def _check_outcome(self, place: Place, memory: Memory) -> None:
        """What an actor returned was true of a set that it may have seen."""
        sets = {one.generation: one for one in (self._published[root] for root in memory.roots)}
        outcome = place.outcome
        if isinstance(outcome, PublishReport):
            metadata = outcome.compiled.metadata
            found = sets[outcome.generation]
            assert found.numbers[metadata.scope] >= (metadata.crl_number or 0)
            assert not outcome.published or outcome.image_name in found.needed
        elif isinstance(outcome, Verdicts):
            generations = [one.generation for one in outcome.verdicts]
            assert generations == sorted(generations), "the reader went back"
            has_missed = any(one.answer is Special.MISSING for one in place.answered)
            for one in outcome.verdicts:
                if has_missed and set(one.statuses) == {RevocationStatus.UNDETERMINED}:
                    continue
                expected = sets[one.generation].statuses()
                assert one.statuses == expected, (
                    f"generation {one.generation} says {expected}, the reader {one.statuses}"
                )


def prepared(key: MemoryKey | None) -> MemoryStore:
    """
    A store with two scopes, a node that was superseded, and an image that nobody published.
    """
    store = MemoryStore()
    for authority in (CA, OTHER_CA):
        publish_crl(
            crl(authority, 1), store, issuer=authority.pem, now=NOW, grace=GRACE, sign_with=key
        )
    store.write("images/abandoned.crlx", b"an image")
    return store


def explore_store(
    actors: Sequence[Actor],
    times: Sequence[datetime] = TIMES,
    faults: Sequence[Event] = (Event.DIE,),
    key: MemoryKey | None = None,
) -> Explored:
    """Explore all that the actors can do to a prepared store, which *key* has signed."""
    contents = Contents()
    store = prepared(key)
    objects = {name: contents.number(store.read(name).body) for name in store.names("")}
    return explore(actors, objects, contents, WholeSets(contents), times=times, faults=faults)


# ---- the worlds --------------------------------------------------------------------------

LATE = TIMES[-1:]
"""The grace period of what was superseded is over, and no more time passes."""

ONE_DIES = (Event.DIE,)
ONE_ANSWER_IS_LOST = (Event.LOSE, Event.FAIL)


@dataclass(frozen=True)
class World:
    """Who is at work, whether time passes meanwhile, and what may go wrong once."""

    actors: Callable[[], Sequence[Actor]]
    times: Sequence[datetime]
    faults: Sequence[Event] = ONE_DIES
    is_large: bool = False
    key: MemoryKey | None = None


def older_and_newer() -> list[Actor]:
    """Publishers of two CRLs of one scope."""
    return [publisher("A2", CA, 2), publisher("A3", CA, 3)]


def of_two_scopes() -> list[Actor]:
    """Publishers of two scopes."""
    return [publisher("A2", CA, 2), publisher("B2", OTHER_CA, 2)]


def of_one_crl() -> list[Actor]:
    """Two publishers of one CRL."""
    return [publisher("A2", CA, 2), publisher("A2 again", CA, 2)]


def with_clean_up() -> list[Actor]:
    """A publisher and a clean-up."""
    return [publisher("A2", CA, 2), cleaner()]


WORLDS = {
    "an older and a newer CRL": World(older_and_newer, LATE),
    "CRLs of two scopes": World(of_two_scopes, LATE),
    "one CRL twice": World(of_one_crl, LATE),
    "a lost answer": World(lambda: [publisher("A2", CA, 2)], TIMES, ONE_ANSWER_IS_LOST),
    "a clean-up": World(with_clean_up, LATE),
    "CRLs of two scopes, signed": World(
        lambda: [publisher("A2", CA, 2, key=KEY), publisher("B2", OTHER_CA, 2, key=KEY)],
        LATE,
        key=KEY,
    ),
    "a clean-up, signed": World(
        lambda: [publisher("A2", CA, 2, key=KEY), cleaner(key=KEY)], LATE, key=KEY
    ),
    "a lost answer, signed": World(
        lambda: [publisher("A2", CA, 2, key=KEY), publisher("A3", CA, 3, key=KEY)],
        LATE,
        ONE_ANSWER_IS_LOST,
        key=KEY,
    ),
    "a reader": World(lambda: [publisher("A2", CA, 2), reader()], TIMES),
    "two readers": World(lambda: [publisher("A2", CA, 2), reader("1"), reader("2")], LATE),
    "an older and a newer CRL, and time": World(older_and_newer, TIMES, is_large=True),
    "CRLs of two scopes, and time": World(of_two_scopes, TIMES, is_large=True),
    "one CRL twice, and time": World(of_one_crl, TIMES, is_large=True),
    "an older and a newer CRL, and a lost answer": World(
        older_and_newer, LATE, ONE_ANSWER_IS_LOST, is_large=True
    ),
    "two publishers and a reader, and time": World(
        lambda: [*older_and_newer(), reader(num_checks=1)], TIMES, is_large=True
    ),
    "a clean-up and a lost answer": World(with_clean_up, LATE, ONE_ANSWER_IS_LOST, is_large=True),
    "a clean-up, and time": World(with_clean_up, TIMES, is_large=True),
    "a clean-up and a reader, and time": World(
        lambda: [*with_clean_up(), reader()], TIMES, is_large=True
    ),
    "two clean-ups, and time": World(lambda: [cleaner("1"), cleaner("2")], TIMES, is_large=True),
}


@pytest.mark.parametrize(
    "name", [name for name, world in WORLDS.items() if EXPLORE_ALL or not world.is_large]
)
def test_every_interleaving_keeps_the_guarantees(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    Whatever the order of operations is, and wherever a writer dies or an answer is lost,
    each root is whole, generations and CRL numbers rise, nothing that was published is
    lost, no name is used again, and a reader gets one of the sets that were published.
    """
    world = WORLDS[name]
    found = explore_store(world.actors(), world.times, world.faults, world.key)
    assert found.num_ends > 1
    if EXPLORE_ALL:
        with capsys.disabled():
            print(f"\n{name}: {found}")


def test_the_model_names_code_that_is_there() -> None:
    """
    Each step of the model for spin says which function does it, and there is that function.
    """
    model = Path(__file__).parents[1] / "models" / "publishing.pml"
    named = re.findall(r"/\* code: ([A-Za-z0-9_.]+)", model.read_text(encoding="utf-8"))
    assert len(named) > 10
    for name in named:
        assert pkgutil.resolve_name(name) is not None


# ---- the exploration itself ----------------------------------------------------------------


def test_an_image_that_was_given_up_and_is_published_is_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    A publisher that lost a swap and would publish an image that clean-up has noted.
    """
    monkeypatch.setattr(Publication, "_was_given_up", lambda *_: False)
    with pytest.raises(BrokenPropertyError, match="had been given up"):
        explore_store(with_clean_up(), LATE)


def test_a_writer_that_stands_still_before_its_swap_is_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    Its record would be an hour old when its root is swapped, so that what it supersedes
    could be deleted at once. That is why the change is made again.
    """
    monkeypatch.setattr(Change, "is_late", False)
    with pytest.raises(BrokenPropertyError, match="needs it"):
        explore_store(older_and_newer(), TIMES, faults=())


def test_a_reader_that_gets_another_set_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    The verdicts of a reader are compared with those of the generation that it names.
    """

    def revoked(self: RevocationChecker, certificates: Sequence[bytes]) -> list[CheckResult]:
        return [replace(one, status=RevocationStatus.REVOKED) for one in check(self, certificates)]

    check = RevocationChecker.check_many
    monkeypatch.setattr(RevocationChecker, "check_many", revoked)
    with pytest.raises(BrokenPropertyError, match="the reader"):
        explore_store([publisher("A2", CA, 2), reader()], LATE)
