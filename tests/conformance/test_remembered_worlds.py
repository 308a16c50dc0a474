"""
Remembered verdicts in random worlds, compared field by field with those that are found.

A checker remembers what it found for a kind of certificate (``crlcheck.checker.remembered``).
Here it is asked for certificates of few kinds, listed and not, while time moves over
everything at which a verdict may change, and the set changes under it. Each answer must be
the one that ``crlcheck.checker.path`` finds at that moment by the same set.
"""

from __future__ import annotations

import dataclasses
import os
import random
from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest
from hypothesis import HealthCheck, assume, given, settings

from crlcheck import (
    CrlError,
    RevocationChecker,
    RevocationStatus,
    deny_certificate,
    grant_grace,
    lift_denial,
    load_certificate,
    publish_crl,
    remove_scope,
)
from crlcheck._binding import certificate_kind
from crlcheck.checker.judge import Judge
from crlcheck.types import CertificateFacts, CheckResult, DistributionPoint
from support.checking import Clock
from support.library_world import LibraryWorld, certificates_of
from support.world_strategy import even_worlds, worlds
from support.worlds import (
    DAY,
    NOW,
    CrlSpec,
    EntrySpec,
    World,
    WorldBytes,
    authority,
    crl_of,
    leaf_of,
)

pytestmark = pytest.mark.whole

IS_QUICK = "WORLDS" not in os.environ
WORLDS = int(os.environ.get("WORLDS", "25"))
TICK = timedelta(microseconds=1)

quietly = settings(
    max_examples=WORLDS,
    derandomize=IS_QUICK,
    deadline=None,
    suppress_health_check=[
        HealthCheck.too_slow,
        HealthCheck.data_too_large,
        HealthCheck.filter_too_much,
    ],
)
any_world = even_worlds() if IS_QUICK else even_worlds() | worlds()

# ---- the certificates ----------------------------------------------------------


class Spied(CertificateFacts):
    """Facts that note which of them are read."""

    __slots__ = ()

    read: set[str]

    def __getattribute__(self, name: str) -> object:
        Spied.read.add(name)
        return super().__getattribute__(name)


FIELDS = {one.name for one in dataclasses.fields(CertificateFacts)}
KEYED = {
    "issuer",
    "authority_key_id",
    "authority_cert_issuer",
    "authority_cert_serial_number",
    "distribution_points",
    "is_ca",
}
"""What a kind has of a certificate."""
SINGLE = {"der", "serial_number", "not_after"}
"""What is looked at of each single certificate, or keeps it from being answered by its kind."""


# ---- both ways -------------------------------------------------------------------


class Both:
    """A checker that is asked for every certificate in both ways."""

    def __init__(self, checker: RevocationChecker, clock: Clock, recalled: Counter[str]) -> None:
        self.checker = checker
        self.clock = clock
        self._recalled = recalled
        self._turn = 0

    def compare(self, ders: list[bytes]) -> None:
        """Check each certificate alone or with others, remembered or not, and found anew."""
        # Both ways ask the same judge, so each certificate takes one of them, in turn.
        self._turn = 1 - self._turn
        ways = (ders[self._turn :: 2], ders[1 - self._turn :: 2])
        answers = [self.checker.check(der) for der in ways[0]]
        answers += self.checker.check_many(iter(ways[1]))
        judge = self.checker._judge()
        assert isinstance(judge, Judge)
        for der, answer in zip((*ways[0], *ways[1]), answers, strict=True):
            found = judge.found(load_certificate(der))
            check_same(answer, found)
            self._compare_recalled(judge, der, found)

    def _compare_recalled(self, judge: Judge, der: bytes, found: CheckResult) -> None:
        """Compare what is remembered now, and count it: otherwise nothing would be compared."""
        self._recalled["asked"] += 1
        kind = certificate_kind(der)
        assert kind is not None
        recalled = judge._memory.recall(*kind, der, self.clock.now)
        if recalled is not None:
            check_same(recalled, found)
            self._recalled[found.status.name] += 1

    def spy(self, ders: list[bytes]) -> None:
        """Note what a verdict reads of a certificate, without the sentences."""
        judge = self.checker._judge()
        assert isinstance(judge, Judge)
        for der in ders:
            facts = load_certificate(der)
            spied = Spied(**{name: getattr(facts, name) for name in FIELDS})
            Spied.read = set()
            judge.found(spied)
            assert FIELDS & Spied.read <= KEYED | SINGLE


def check_same(result: CheckResult, expected: CheckResult) -> None:
    """Compare all fields, those of the certificate that decided too."""
    assert result == expected


def borders_of(world: World) -> list[datetime]:
    """The times at which something may change, by the plain data of the world."""
    found = {NOW + 365 * DAY, NOW - 2 * DAY, NOW + 3650 * DAY, GRACE_ENDS, DENIAL_ENDS}
    for spec in world.crls:
        begun, ends = NOW + spec.this_update * DAY, NOW + spec.next_update * DAY
        if not spec.exactly:
            ends = max(ends, begun + DAY)
        ends -= timedelta(hours=1)
        found |= {begun - timedelta(minutes=5), ends, ends + world.policy.grace * DAY}
    return sorted(found)


def times_of(world: World) -> Iterator[datetime]:
    """The times at, before and after each border, forwards and then in any order."""
    times = [one + tick for one in borders_of(world) for tick in (-TICK, TICK * 0, TICK)]
    yield from times
    random.Random(0).shuffle(times)
    yield from times[: len(times) // 2]


GRACE_ENDS = NOW + 90 * DAY
DENIAL_ENDS = NOW + 60 * DAY


# ---- tests ------------------------------------------------------------------------


def test_results_are_equal_by_all_fields() -> None:
    """No field is left out where two results are compared, nor one of what is in them."""
    for kind in (CheckResult, CertificateFacts, DistributionPoint):
        fields = dataclasses.fields(kind)
        assert fields
        assert all(one.compare for one in fields)


def checked(world: World, octets: WorldBytes, recalled: Counter[str]) -> tuple[LibraryWorld, Both]:
    """The world in the library, and a checker of it."""
    library = LibraryWorld(world, octets)
    clock = Clock()
    clock.now = octets.now
    return library, Both(library.checker(clock), clock, recalled)


def test_time_moves_over_every_border() -> None:
    """
    Each answer is the one of its moment, whichever was asked for before: no comparison
    with the time is missing in what bounds a remembered answer. And no fact of a
    certificate is read that neither its kind has nor is looked at for each.
    """
    recalled: Counter[str] = Counter()
    compared: set[World] = set()

    @settings(quietly)
    @given(world=any_world)
    def compare(world: World) -> None:
        assume(world not in compared)  # hypothesis draws many again
        octets = WorldBytes(world)
        library, both = checked(world, octets, recalled)
        assume(library.has_catalog)
        if len(world.leaves) % 2:
            leaf = load_certificate(octets.leaves[0])
            deny_certificate(library.store, leaf.issuer, 77, now=NOW, until=DENIAL_ENDS)
            grant_grace(library.store, until=GRACE_ENDS, now=NOW)
        ders = certificates_of(world)
        both.compare(ders)
        both.spy(ders)
        for moment in times_of(world):
            both.clock.now = moment
            both.compare(random.Random(moment.toordinal()).sample(ders, min(6, len(ders))))
        compared.add(world)

    compare()
    check_recalled(recalled)
    assert len(compared) >= WORLDS


def test_the_set_changes_under_what_is_remembered() -> None:
    """CRLs are published and removed, denials come and go, and a grace is granted."""
    recalled: Counter[str] = Counter()
    compared: set[World] = set()

    @settings(quietly)
    @given(world=any_world)
    def compare(world: World) -> None:
        assume(world not in compared)  # hypothesis draws many again
        octets = WorldBytes(world)
        library, both = checked(world, octets, recalled)
        assume(library.has_catalog)
        ders = certificates_of(world)
        both.compare(ders)
        for _ in changes_of(world, octets, library):
            both.compare(ders)
        compared.add(world)

    compare()
    check_recalled(recalled)
    assert len(compared) >= WORLDS


def changes_of(world: World, octets: WorldBytes, library: LibraryWorld) -> Iterator[None]:
    """Change the set in one way after the other; the checker polls at every check."""
    store = library.store
    leaf = load_certificate(leaf_of(world.leaves[0]))
    above = authority(world.authorities[-1]).certificate
    names = {(leaf.issuer, leaf.serial_number), (above.issuer.public_bytes(), above.serial_number)}
    for name, serial_number in sorted(names):
        deny_certificate(store, name, serial_number, now=NOW, until=DENIAL_ENDS)
        yield
    for name, serial_number in sorted(names):
        lift_denial(store, name, serial_number, now=NOW)
        yield
    for number, entries in ((90, (1, 11)), (91, (2,)), (92, ())):
        for spec in world.crls[:3]:
            newer = CrlSpec(
                spec.authority,
                number,
                tuple(EntrySpec(serial, 1) for serial in entries),
                spec.point,
                this_update=0,
            )
            try:
                publish_crl(crl_of(newer), store, issuer=octets.issuers, now=NOW + DAY)
            except CrlError:
                continue
            yield
    for scope in list(library.scopes.values()):
        try:
            grant_grace(store, until=GRACE_ENDS, scope=scope, now=NOW)
        except (KeyError, ValueError):
            continue
        yield
    for scope in list(library.scopes.values())[:2]:
        try:
            remove_scope(store, scope, now=NOW)
        except (KeyError, ValueError):
            continue
        yield


def check_recalled(recalled: Counter[str]) -> None:
    """A good part of the answers was remembered, of every status."""
    assert recalled["asked"] > 50 * WORLDS
    assert sum(recalled.values()) - recalled["asked"] > recalled["asked"] / 10, recalled
    assert all(recalled[status.name] >= WORLDS // 5 for status in RevocationStatus), recalled
