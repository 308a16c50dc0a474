"""
Random worlds of authorities, CRLs and certificates, checked by parts of the published set.

Every entry of the set has a leaf of its own, so a checker reads what a certificate needs and
nothing else. What it says is compared, field by field, with what a checker says that holds
the whole set.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crlcheck import CheckResult, Policy, RevocationChecker, Rule, StaleRule, load_certificate
from crlcheck.errors import CrlError
from crlcheck.publisher.publish import publish_crl
from support.library_world import LibraryWorld, given_path
from support.memory_store import MemoryStore
from support.whole_set import tiny_leaves, whole_checker
from support.world_strategy import even_worlds, worlds
from support.worlds import (
    AUTHORITIES,
    DAY,
    NOW,
    LeafSpec,
    World,
    WorldBytes,
    authority,
    crl_of,
)

pytestmark = pytest.mark.whole

IS_QUICK = "WORLDS" not in os.environ
WORLDS = int(os.environ.get("WORLDS", "300"))

quietly = settings(
    max_examples=WORLDS,
    derandomize=IS_QUICK,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


def policies_of(world: World) -> Iterator[Policy]:
    """The world's policy, and others that need more of the set."""
    policy = world.policy
    own: dict[str, Any] = {
        "hold": Rule.ALLOW if policy.hold else Rule.DENY,
        "unknown_issuer": Rule.ALLOW if policy.unknown_issuer else Rule.DENY,
        "stale": StaleRule.GRACE,
        "stale_grace": timedelta(policy.grace),
        "path_depth": policy.path_depth,
        "unpublished_issuers": [authority(name).der for name in policy.unpublished],
    }
    yield Policy(**own)
    yield Policy(**{**own, "path_depth": 0, "no_distribution_point": Rule.ALLOW})
    everybody = [authority(name).der for name in AUTHORITIES]
    yield Policy(**{**own, "unpublished_issuers": everybody})


def options_of(world: World) -> Iterator[dict[str, Any]]:
    """What the checkers of a world are given."""
    now = NOW + world.days * DAY
    anchors = None if world.anchors is None else [authority(one).der for one in world.anchors]
    strangers = [authority(name).der for name in AUTHORITIES if name not in world.authorities]
    for policy in policies_of(world):
        yield {"clock": lambda: now, "policy": policy, "trust_anchors": anchors}
    # Issuers that the checker alone trusts, with all that is above them.
    yield {"clock": lambda: now, "issuers": strangers[::2]}


def answers(
    checker: RevocationChecker, leaves: Sequence[tuple[LeafSpec, bytes]], world: World
) -> Iterator[CheckResult]:
    """What a checker says of all that can be asked about a world."""
    yield from checker.check_many([leaf for _, leaf in leaves])
    yield from checker.check_many([authority(name).der for name in AUTHORITIES])
    for spec, leaf in leaves:
        yield checker.check_chain([leaf, *given_path(spec, world)])
        facts = load_certificate(leaf)
        known: dict[str, Any] = {
            "distribution_points": facts.distribution_points,
            "is_ca": facts.is_ca,
            "not_after": facts.not_after,
        }
        for whose in (facts.issuer, authority(spec.authority).der):
            yield checker.check_serial(whose, facts.serial_number)
            yield checker.check_serial(whose, facts.serial_number, **known)
            yield checker.check_serial(whose, facts.serial_number, distribution_points=())


def check_agreement(
    checker: RevocationChecker,
    whole: RevocationChecker,
    leaves: Sequence[tuple[LeafSpec, bytes]],
    world: World,
) -> None:
    """Compare all that two checkers say."""
    for found, expected in zip(
        answers(checker, leaves, world), answers(whole, leaves, world), strict=True
    ):
        assert found == expected


def check_status(checker: RevocationChecker, whole: RevocationChecker) -> None:
    """Compare what two checkers say of the set."""
    found, expected = checker.status(), whole.status()
    assert found.answering == expected.answering, (found.problems, expected.problems)
    assert set(found.problems) == set(expected.problems)
    assert sorted(found.unchecked_issuers) == sorted(expected.unchecked_issuers)
    assert sorted(found.unverified_issuers) == sorted(expected.unverified_issuers)
    assert {(one.scope, one.is_delta) for one in found.scopes} == {
        (one.scope, one.is_delta) for one in expected.scopes
    }
    assert len(found.scopes) == len(expected.scopes) == len(list(checker.scopes()))


@quietly
@given(world=even_worlds() if IS_QUICK else even_worlds() | worlds())
def test_a_part_gives_the_verdicts_of_the_whole(world: World) -> None:
    """Whatever is asked, what a checker says by the parts that it reads is what all says."""
    octets = WorldBytes(world)
    leaves = list(zip(world.leaves, octets.leaves, strict=True))
    with tiny_leaves():
        library = LibraryWorld(world, octets)
        if not library.has_catalog:
            return
        for options in options_of(world):
            checker = RevocationChecker(library.store, **options)
            whole = whole_checker(library.store, **options)
            check_agreement(checker, whole, leaves, world)
            check_status(checker, whole)


@quietly
@given(world=worlds(), first=st.integers(0, 3))
def test_views_follow_the_set(world: World, first: int) -> None:
    """
    What a checker has read is brought up to date at each refresh: it says after each
    publication what a fresh one says that holds the whole set.
    """
    octets = WorldBytes(world)
    leaves = list(zip(world.leaves, octets.leaves, strict=True))
    store = MemoryStore()
    now = NOW + world.days * DAY
    options: dict[str, Any] = {"clock": lambda: now}
    checker = RevocationChecker(store, **options, refresh_after=timedelta(days=1))
    with tiny_leaves():
        for number, step in enumerate(world.crls):
            issuers = octets.issuers[: first + number + 1]
            try:
                publish_crl(crl_of(step), store, issuer=issuers, now=NOW)
            except CrlError:
                continue
            checker.refresh()
            check_agreement(checker, whole_checker(store, **options), leaves, world)
