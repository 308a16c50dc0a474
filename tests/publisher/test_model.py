"""
Publishers, clean-ups, restores and denials of several processes, interleaved operation by
operation, that may die or fail anywhere: what must hold, holds after each step.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, currently_in_test_context, event, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from crlcheck import times
from crlcheck.catalog import compare_and_swap
from crlcheck.catalog.catalog import Catalog
from crlcheck.catalog.history import read_record
from crlcheck.catalog.published_set import PublishedSet, read_set
from crlcheck.catalog.tree import NodeCache, NodeReader, read_object
from crlcheck.compiler.compile import CompiledImage, compile_to_temporary
from crlcheck.demo.pki import CertificateAuthority
from crlcheck.errors import CrlError, MalformedCrlError
from crlcheck.publisher import publication, restore
from crlcheck.publisher.clean_up import clean_up
from crlcheck.publisher.operator import deny_certificate
from crlcheck.publisher.publication import Publication
from crlcheck.publisher.publish import publish_crl, report_of
from crlcheck.publisher.restore import restore_store
from crlcheck.publisher.rules import Offer, PublishRules
from crlcheck.publisher.verify import StoreFault, verify_store
from crlcheck.x509.certificates import load_certificates
from support.interleaving import Actor, Command, SteppedStore
from support.pki import NOW, delta_of, make_crl
from support.publishing import CA, OTHER_CA

pytestmark = pytest.mark.whole

GRACE = timedelta(hours=1)
NUM_RUNS = int(os.environ.get("CRLCHECK_MODEL_RUNS", "150"))
INVALID = "invalid"
NAME = CA.certificate.subject.public_bytes()


@dataclass(frozen=True)
class Crl:
    """A CRL on offer: compiled once, published by many."""

    compiled: CompiledImage
    issuer: bytes
    image: bytes

    @property
    def place(self) -> tuple[str, bool]:
        """Its scope and role."""
        return self.compiled.metadata.scope, self.compiled.metadata.is_delta

    @property
    def number(self) -> int:
        number = self.compiled.metadata.crl_number
        assert number is not None
        return number


def _offered() -> dict[str, tuple[CertificateAuthority, bytes]]:
    """Older, newer, equal and contradicting CRLs of three scopes, with deltas; by name."""
    made: dict[str, tuple[CertificateAuthority, bytes]] = {}
    for authority, letter in ((CA, "a"), (OTHER_CA, "b")):
        offered = {
            **{f"{letter}{number}": make_crl(authority, number, [number]) for number in (1, 2, 4)},
            f"{letter}2 of other contents": make_crl(authority, 2, [99]),
            f"{letter}3 delta": make_crl(authority, 3, [3], extensions=[delta_of(1)]),
            f"{letter}5 delta": make_crl(authority, 5, [5], extensions=[delta_of(2)]),
        }
        made |= {name: (authority, crl) for name, crl in offered.items()}
    return made


OFFERED = _offered()


@functools.cache
def crls() -> dict[str, Crl]:
    """What is on offer, compiled."""
    made: dict[str, Crl] = {}
    for name, (authority, crl) in OFFERED.items():
        compiled = compile_to_temporary(crl, issuer=authority.pem)
        made[name] = Crl(compiled, authority.der, compiled.read())
    return made


@pytest.fixture(scope="module", autouse=True)
def images(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Compile the CRLs once, where their images are removed afterwards."""
    directory = tmp_path_factory.mktemp("images")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tempfile.tempdir", str(directory))
        crls()


class Publishers(RuleBasedStateMachine):
    """Actors on one store, a clock, and every catalog that there was."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = pytest.MonkeyPatch()
        for module in (publication, compare_and_swap, restore):
            self.patch.setattr(module, "back_off", lambda _: None)
        # A command that was given the time when it began goes on by this clock.
        self.patch.setattr(
            times.Moment, "age_by_machine", lambda begun: (self.now - begun.wall).total_seconds()
        )
        self.store = SteppedStore()
        self.now: datetime = NOW
        self.actors: list[tuple[str, Actor]] = []
        self.started: set[str] = set()
        self.history: list[tuple[datetime, Catalog]] = []
        self.roots: list[tuple[datetime, PublishedSet]] = []
        self.denied: set[int] = set()
        self.was_restored = False
        self.etag: str | None = None
        self.images = {crl.compiled.digest: crl.image for crl in crls().values()}

    # ---- what happens ------------------------------------------------------------

    @initialize(names=st.lists(st.sampled_from(sorted(OFFERED)), min_size=2, max_size=3))
    def begin(self, names: list[str]) -> None:
        """Several publishers are at work from the start."""
        for name in names:
            self.start(name)

    @precondition(lambda self: len(self.actors) < 4)
    @rule(name=st.sampled_from([*sorted(OFFERED), INVALID]))
    def start(self, name: str) -> None:
        """A publisher, maybe of what another one is publishing, or of what is no CRL."""
        if name == INVALID:
            with pytest.raises(MalformedCrlError):
                publish_crl(b"no CRL", self.store, issuer=CA.pem, now=self.now)
            return
        self.started.add(name)
        self.actors.append((name, Actor(functools.partial(self.publish, name))))

    @precondition(lambda self: len(self.actors) < 4)
    @rule()
    def start_clean_up(self) -> None:
        """A clean-up, which looks at the clock when it begins."""
        if self.history:
            work = functools.partial(clean_up, self.store, grace=GRACE, now=self.now)
            self.actors.append(("clean-up", Actor(work)))

    @precondition(lambda self: len(self.actors) < 4)
    @rule(back=st.integers(1, 2))
    def start_restore(self, back: int) -> None:
        """An operator who goes back some generations, to what may be gone by then."""
        if len(self.history) > back:
            generation = self.history[-1 - back][1].generation
            work = functools.partial(restore_store, self.store, when=generation, now=self.now)
            self.actors.append(("restore", Actor(work)))

    @precondition(lambda self: len(self.actors) < 4)
    @rule(serial=st.integers(1000, 1003))
    def start_denial(self, serial: int) -> None:
        """An operator who denies a certificate, which no restore may lift."""
        if self.history:
            work = functools.partial(deny_certificate, self.store, NAME, serial, now=self.now)
            self.actors.append(("denial", Actor(work)))

    @precondition(lambda self: self.actors)
    @rule(
        which=st.integers(0, 3),
        times=st.sampled_from([1, 2, 3, 4, 25]),
        command=st.sampled_from([*[Command.RUN] * 6, *Command]),
    )
    def step(self, which: int, times: int, command: Command) -> None:
        """One of them goes on for some operations; the last one may go wrong."""
        position = which % len(self.actors)
        _, actor = self.actors[position]
        for one in [*[Command.RUN] * (times - 1), command]:
            if not actor.done:
                actor.step(one)
                self.look()
        if actor.done:
            del self.actors[position]

    @rule(minutes=st.sampled_from([1, 20, 59, 60]))
    def wait(self, minutes: int) -> None:
        """
        Time passes, for slow publishers too, but not while the catalog is being
        written: that request has a time limit far below the grace period.
        """
        for _, actor in self.actors:
            if not actor.done and actor.swaps_next:
                actor.step()
                self.look()
        self.look()
        self.now += timedelta(minutes=minutes)

    def publish(self, name: str) -> object:
        crl = crls()[name]
        rules = PublishRules(
            clock=lambda: self.now,
            issuers=load_certificates(crl.issuer),
            issuers_from=name,
            grace=GRACE,
            compare_up_to=0,
        )
        offer = Offer(crl.compiled, name)
        Publication(self.store, [offer], rules).run()
        return report_of(offer)

    # ---- what holds ----------------------------------------------------------------

    def look(self) -> None:
        """Note the catalog, and check it against the one before."""
        held, etag = read_set(self.store)
        if etag is None:
            assert not self.history
            return
        if etag == self.etag:
            return
        self.etag = etag
        catalog = held.everything()
        last = self.history[-1][1] if self.history else Catalog.empty()
        if catalog != last:
            assert catalog.generation > last.generation
            assert held.root.history is not None
            action = read_record(self.store, held.root.history).action.action
            if currently_in_test_context():
                event(action)
            self.was_restored |= action == "restore"
            for scope in last.scopes if action != "restore" else ():
                self.check_forward(scope, last, catalog)
            self.denied |= {one.serial_number for one in catalog.denied}
            assert {one.serial_number for one in catalog.denied} == self.denied
            if action == "restore":
                faults: list[StoreFault] = []
                assert verify_store(self.store, on_fault=faults.append).is_whole, faults
            self.history.append((self.now, catalog))
            # With a reader that has kept nothing, as another process.
            self.roots.append((self.now, replace(held, nodes=NodeReader(self.store, NodeCache(0)))))

    @staticmethod
    def check_forward(scope: str, last: Catalog, catalog: Catalog) -> None:
        """No scope goes backwards, neither its complete CRL nor its delta."""
        before, after = last.scopes[scope], catalog.scopes[scope]
        numbers = [one.base.metadata.crl_number or 0 for one in (before, after)]
        assert numbers[0] <= numbers[1]
        if numbers[0] == numbers[1]:
            assert before.base == after.base
        if before.delta is not None:
            known = after.delta.metadata if after.delta is not None else after.base.metadata
            assert (before.delta.metadata.crl_number or 0) <= (known.crl_number or 0)

    @invariant()
    def catalogs_of_the_grace_period_are_whole(self) -> None:
        """Whatever any of them names is there, complete and right."""
        self.look()
        if not self.history:
            return
        replaced = [at for at, _ in self.history[1:]] + [self.now]
        for (_, catalog), until in zip(self.history, replaced, strict=True):
            if self.now - until >= GRACE:
                continue
            for image in catalog.images():
                stored = self.store.read(image.name)
                assert stored.body == self.images[image.digest]
        for (_, root), until in zip(self.roots, replaced, strict=True):
            if self.now - until < GRACE:
                for reference in root.objects():
                    assert read_object(self.store, reference)

    def teardown(self) -> None:
        """Who still runs ends, everything is tried again, and the newest of all is there."""
        try:
            for _, actor in self.actors:
                actor.finish()
                self.look()
            retry: Callable[[str], object] = self.publish
            for name, _ in itertools.product(sorted(self.started), range(2)):
                with contextlib.suppress(CrlError):
                    retry(name)
                self.look()
            self.check_newest()
            self.catalogs_of_the_grace_period_are_whole()
            for _ in range(2):
                if self.history:
                    self.now += GRACE
                    clean_up(self.store, grace=GRACE, now=self.now)
            if self.history:
                held = read_set(self.store)[0]
                assert set(self.store.names("images/")) == held.everything().image_names()
                report = verify_store(self.store)
                assert (report.is_whole, report.num_unnamed, report.num_waiting) == (True, 0, 0)
                nodes = set(self.store.names("nodes/"))
                assert nodes == {reference.name for reference in held.objects()}
        finally:
            self.patch.undo()

    def check_newest(self) -> None:
        newest: dict[str, int] = {}
        for name in self.started:
            scope, is_delta = crls()[name].place
            if not is_delta:
                newest[scope] = max(newest.get(scope, 0), crls()[name].number)
        catalog = self.history[-1][1] if self.history else Catalog.empty()
        found = {scope: one.base.metadata.crl_number for scope, one in catalog.scopes.items()}
        for scope in newest.keys() - found.keys() if self.was_restored else ():
            # A scope that did not come back takes the same complete CRL only if it had no
            # delta CRL beside it.
            assert catalog.tombstones[scope].delta is not None
            del newest[scope]
        assert found == newest


Publishers.TestCase.settings = settings(
    max_examples=NUM_RUNS,
    stateful_step_count=25,
    deadline=None,
    derandomize=NUM_RUNS < 1000,
    suppress_health_check=list(HealthCheck),
)
TestPublishers = Publishers.TestCase


def test_the_model_sees_a_lost_image(tmp_path: Path) -> None:
    """
    The invariant does fail where an image that a catalog names is gone.
    """
    machine = Publishers()
    try:
        machine.publish("a1")
        machine.look()
        machine.catalogs_of_the_grace_period_are_whole()
        (name,) = machine.store.names("images/")
        machine.store.delete(name)
        with pytest.raises(FileNotFoundError):
            machine.catalogs_of_the_grace_period_are_whole()
    finally:
        machine.patch.undo()
