"""
Random worlds, about whose serial numbers OCSP is asked: what is ``good``, and until when.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import datetime

import pytest
from hypothesis import HealthCheck, event, given, settings

from crlcheck import Policy, RevocationChecker, RevocationStatus, load_certificate
from crlcheck.ocsp.statement import CertStatus, Refusal, Statement, answer_of
from crlcheck.types import CertificateFacts, UndeterminedCause
from support.checking import Clock
from support.library_world import LibraryWorld
from support.world_strategy import even_worlds, worlds
from support.worlds import World, WorldBytes, authority

pytestmark = pytest.mark.whole

IS_QUICK = "WORLDS" not in os.environ
WORLDS = int(os.environ.get("WORLDS", "20"))
NOT_REVOKED = RevocationStatus.NOT_REVOKED


def questions_of(world: World) -> Iterator[tuple[CertificateFacts, int]]:
    """Each issuer of a world, with the serial numbers that it has and one that nobody has."""
    leaves = {one.serial_number for one in world.leaves}
    above = {authority(one).certificate.serial_number for one in world.authorities}
    for name in world.authorities:
        for serial_number in sorted({*leaves, *above, 77} - {0}):
            yield load_certificate(authority(name).der), serial_number


@settings(
    max_examples=WORLDS,
    derandomize=IS_QUICK,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(world=even_worlds() if IS_QUICK else even_worlds() | worlds())
def test_answers_are_what_a_strict_check_finds(world: World) -> None:
    """
    Whatever the policy of the checker waives: ``good`` is what a check that waives nothing
    clears, and ``revoked`` what it finds revoked. An answer holds at its thisUpdate and its
    nextUpdate, as far as the certificate itself is concerned.
    """
    octets = WorldBytes(world)
    library = LibraryWorld(world, octets)
    anchors = world.anchors
    clock = Clock()
    clock.now = octets.now
    strict, alone = (
        RevocationChecker(
            library.store,
            trust_anchors=None if anchors is None else [authority(name).der for name in anchors],
            policy=Policy(path_depth=depth),
            clock=clock,
        )
        for depth in (world.policy.path_depth, 0)
    )
    lenient = library.checker(clock)
    for issuer, serial_number in questions_of(world):
        found = lenient.status_of_serial(issuer, serial_number)
        expected = strict.check_serial(issuer, serial_number)
        answer = answer_of(found)
        said = answer.status if isinstance(answer, Statement) else answer
        event(said.value)
        is_clear = expected.status is NOT_REVOKED and not expected.waived
        assert (said is CertStatus.GOOD) == is_clear, (said, expected)
        assert (said is CertStatus.REVOKED) == (expected.status is RevocationStatus.REVOKED)
        if expected.cause is UndeterminedCause.UNKNOWN_ISSUER and expected.certificate is None:
            assert said in (Refusal.UNAUTHORIZED, CertStatus.UNKNOWN)
        if isinstance(answer, Statement):
            _holds(answer, clock, alone, issuer, serial_number)


def _holds(
    answer: Statement,
    clock: Clock,
    alone: RevocationChecker,
    issuer: CertificateFacts,
    serial_number: int,
) -> None:
    """Check the times of an answer."""
    now = clock.now
    end: datetime | None = answer.next_update
    assert answer.this_update <= now
    assert end is None or end >= now
    assert (answer.revocation_time is None) == (answer.status is not CertStatus.REVOKED)
    if answer.status is CertStatus.GOOD and end is not None:
        clock.now = end
        try:
            assert alone.check_serial(issuer, serial_number).status is NOT_REVOKED
        finally:
            clock.now = now
