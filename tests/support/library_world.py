"""A random world in the library: what was published, and a checker of it."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import random
from collections.abc import Callable
from datetime import datetime, timedelta

from crlcheck import (
    CrlError,
    CrlExpiredError,
    Policy,
    RevocationChecker,
    Rule,
    StaleRule,
    deny_certificate,
    load_certificate,
    override_scope,
    publish_crl,
    remove_scope,
)
from crlcheck.catalog.compare_and_swap import change_catalog
from crlcheck.catalog.history import Action
from support.memory_store import MemoryStore
from support.reference.publishing import Outcome
from support.worlds import (
    AUTHORITIES,
    NOW,
    CrlSpec,
    LeafSpec,
    Removal,
    Setting,
    Step,
    World,
    WorldBytes,
    authority,
    crl_of,
    leaf_of,
)


def denied_in(world: World) -> list[bytes]:
    """The certificates that are denied."""
    return [
        leaf_of(world.leaves[one]) if isinstance(one, int) else authority(one).der
        for one in world.denied
    ]


def given_path(leaf: LeafSpec, world: World) -> list[bytes]:
    """The certificates above *leaf*, as far as the world has them."""
    path: list[str] = []
    name: str | None = leaf.authority
    while name is not None and name in world.authorities and name not in path:
        path.append(name)
        name = AUTHORITIES[name].parent
    return [authority(name).der for name in path]


def certificates_of(world: World) -> list[bytes]:
    """The world's leaves, others of their kinds, its authorities, and strangers like them."""
    kinds = dict.fromkeys(dataclasses.replace(one, serial_number=0) for one in world.leaves)
    leaves = [
        dataclasses.replace(kind, serial_number=serial, expired=expired)
        for kind in kinds
        # Those of entries and of authorities, and one that nobody has.
        for serial, expired in itertools.product((1, 2, 11, 77), (kind.expired, not kind.expired))
    ]
    ders = [leaf_of(one) for one in (*world.leaves, *leaves)]
    names = {AUTHORITIES[one].name for one in world.authorities}
    alike = [one for one, spec in AUTHORITIES.items() if spec.name in names]
    strangers = [one for one in alike if one not in world.authorities]
    authorities = [*world.authorities, *random.Random(repr(world)).sample(strangers, 3)]
    return [*dict.fromkeys(ders), *(authority(name).der for name in authorities)]


class LibraryWorld:
    """The same world in the library."""

    def __init__(self, world: World, octets: WorldBytes) -> None:
        self._world = world
        self._octets = octets
        self.scopes: dict[int, str] = {}
        self.store = MemoryStore()
        self.outcomes = [self._outcome(step) for step in world.steps]
        self.has_catalog = any(outcome is Outcome.PUBLISHED for outcome in self.outcomes)
        if self.has_catalog:
            for facts in map(load_certificate, denied_in(world)):
                deny_certificate(self.store, facts.issuer, facts.serial_number, now=NOW)
            for name in world.marked:
                self._set(name, is_anchor=True)
            for name in world.silent:
                self._set(name, publishes_no_crl=True)

    def _set(self, name: str, **settings: bool) -> None:
        fingerprint = hashlib.sha256(authority(name).der).hexdigest()
        change_catalog(
            self.store,
            "a setting of an issuer",
            lambda catalog: catalog.with_issuer_settings(fingerprint, **settings),
            Action(action="test"),
        )

    def _outcome(self, step: Step) -> Outcome | bool:
        if isinstance(step, Removal):
            return self._remove(self._world.crls[step.crl])
        if isinstance(step, Setting):
            return self._cover_no_point(self._world.crls[step.crl], covers=step.covers)
        try:
            report = publish_crl(crl_of(step), self.store, issuer=self._octets.issuers, now=NOW)
        except CrlExpiredError:
            return Outcome.NOT_PUBLISHED
        except CrlError:
            return Outcome.REFUSED
        self.scopes[AUTHORITIES[step.authority].key] = report.scope
        return Outcome.PUBLISHED if report.published else Outcome.UNCHANGED

    def _remove(self, crl: CrlSpec) -> bool:
        # Worlds with removals have one scope of each key.
        try:
            remove_scope(self.store, self.scopes[AUTHORITIES[crl.authority].key], now=NOW)
        except (KeyError, ValueError):
            return False
        return True

    def _cover_no_point(self, crl: CrlSpec, *, covers: bool) -> bool:
        # Likewise.
        try:
            scope = self.scopes[AUTHORITIES[crl.authority].key]
            override_scope(self.store, scope, covers_no_distribution_point=covers)
        except (KeyError, ValueError):
            return False
        return True

    def checker(self, clock: Callable[[], datetime] | None = None) -> RevocationChecker:
        """A checker by the world's policy, at its time or by a *clock*."""
        policy, anchors = self._world.policy, self._world.anchors
        return RevocationChecker(
            self.store,
            trust_anchors=None if anchors is None else [authority(name).der for name in anchors],
            policy=Policy(
                hold=Rule.ALLOW if policy.hold else Rule.DENY,
                unknown_issuer=Rule.ALLOW if policy.unknown_issuer else Rule.DENY,
                stale=StaleRule.GRACE,
                stale_grace=timedelta(policy.grace),
                path_depth=policy.path_depth,
                unpublished_issuers=[authority(name).der for name in policy.unpublished],
            ),
            clock=clock or (lambda: self._octets.now),
        )
