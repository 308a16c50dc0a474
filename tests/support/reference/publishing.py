"""What a store would hold after CRLs were offered to it in some order."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from support.reference.rules import Rulebook
from support.reference.values import Certificate, Crl, Name, Odd, read_crl

CLOCK_SKEW = timedelta(minutes=5)

HOLD = 6
REMOVE_FROM_CRL = 8

ScopeKey = tuple[Name, bytes, bytes]
"""Issuer, verifying key, issuingDistributionPoint."""

Key = tuple[Name, bytes]
"""A name with a key."""

Certified = tuple[Name, int]
"""Certificate issuer and serial number."""


class Outcome(enum.Enum):
    """What became of a CRL that was offered."""

    PUBLISHED = "published"
    UNCHANGED = "unchanged"
    NOT_PUBLISHED = "not published"
    REFUSED = "refused"


@dataclass
class Held:
    """
    A complete CRL, and the delta that lies beside it. With ``covers_no_point`` an operator
    says that it covers certificates without distribution points.
    """

    base: Crl
    delta: Crl | None = None
    covers_no_point: bool = False

    def latest(self, now: datetime) -> Crl:
        """The one whose time counts: the delta, once it has begun."""
        if self.delta is not None and self.delta.this_update <= now + CLOCK_SKEW:
            return self.delta
        return self.base

    def outlives(self, base: Crl) -> bool:
        """Whether its delta stays beside a newer complete CRL."""
        if self.delta is None or base.number is None:
            return False
        assert self.delta.number is not None
        return self.delta.number > base.number

    def listed(self) -> dict[Certified, bool]:
        """What both list, and whether for good."""
        final = _listed(self.base)
        for certified, is_final in _listed(self.delta).items() if self.delta else ():
            final[certified] = final.get(certified, False) or is_final
        return final


class ReferenceStore:
    """
    The CRLs held, by scope, and what operators did by hand: ``removed`` scopes,
    ``denied`` certificates, and keys that are ``anchors`` or publish no CRL.
    """

    def __init__(self, issuers: Iterable[Certificate], rules: Rulebook | None = None) -> None:
        self.issuers = list(issuers)
        self.scopes: dict[ScopeKey, Held] = {}
        self.denied: set[Certified] = set()
        self.anchors: set[Key] = set()
        self.removed: dict[ScopeKey, Held] = {}
        self.unpublished: set[Key] = set()
        self._rules = Rulebook() if rules is None else rules

    def publish(self, crl: Crl, now: datetime) -> Outcome:
        """Offer a CRL."""
        if crl.odd is not None:
            as_read = self._as_read(crl, crl.odd)
            if as_read is None:
                return Outcome.REFUSED
            crl = as_read
        key = self._verifying_key(crl)
        if key is None or crl.this_update > now + CLOCK_SKEW or self._is_backwards(crl):
            return Outcome.REFUSED
        scope = (crl.issuer, key, crl.scope_octets)
        if crl.base_number is None:
            return self._publish_base(scope, crl, now)
        held = self.scopes.get(scope)
        if crl.number is None or held is None or held.base.number is None:
            return Outcome.REFUSED
        if crl.base_number > held.base.number:
            return Outcome.REFUSED
        return self._publish_delta(held, held.base.number, crl, crl.number, now)

    def remove(self, crl: Crl) -> bool:
        """Remove the scope of a CRL; return whether there was one."""
        key = self._verifying_key(crl)
        held = None if key is None else self.scopes.pop((crl.issuer, key, crl.scope_octets), None)
        if key is None or held is None:
            return False
        self.removed[crl.issuer, key, crl.scope_octets] = held
        return True

    def cover_no_point(self, crl: Crl, *, covers: bool) -> bool:
        """Set what the scope of a CRL covers; return whether there was one."""
        key = self._verifying_key(crl)
        held = None if key is None else self.scopes.get((crl.issuer, key, crl.scope_octets))
        if held is None:
            return False
        held.covers_no_point = covers
        return True

    def holds(self, crl: bytes) -> bool:
        """Whether a CRL is held."""
        held = [
            of.signed for scope in self.scopes.values() for of in (scope.base, scope.delta) if of
        ]
        return read_crl(crl).signed in held

    def _as_read(self, crl: Crl, odd: Odd) -> Crl | None:
        """A CRL without what is odd in it; None where that may not be left out."""
        # 5.2 and 5.3: what is critical and cannot be read must not be ignored, and what
        # is not critical may be. Without a reason a revocation is final.
        if odd.is_critical and "odd: critical" in self._rules:
            return None
        if not odd.is_critical and "odd: left out" not in self._rules:
            return None
        if odd.entries != crl.entries and "odd: no reason" not in self._rules:
            crl = dataclasses.replace(crl, entries=odd.entries)
        if odd.expired_since != crl.expired_since and "odd: no date" not in self._rules:
            crl = dataclasses.replace(crl, expired_since=odd.expired_since)
        return crl

    def _is_backwards(self, crl: Crl) -> bool:
        # 5.1.2.5: by nextUpdate the next CRL is there, so this one was never current.
        is_backwards = crl.next_update is not None and crl.next_update < crl.this_update
        return is_backwards and "times: backwards" in self._rules

    def _publish_delta(
        self, held: Held, base_number: int, crl: Crl, number: int, now: datetime
    ) -> Outcome:
        if number <= base_number:
            return Outcome.UNCHANGED
        if held.delta is not None and crl.signed == held.delta.signed:
            return Outcome.UNCHANGED
        if not _is_newer(crl, held.base if held.delta is None else held.delta):
            return Outcome.REFUSED
        if self._adds_nothing(crl, held, now):
            return Outcome.NOT_PUBLISHED
        held.delta = crl
        return Outcome.PUBLISHED

    def _publish_base(self, scope: ScopeKey, crl: Crl, now: datetime) -> Outcome:
        held, removed = self.scopes.get(scope), self.removed.get(scope)
        if held is None:
            if removed is not None and not self._may_return(crl, removed):
                return Outcome.REFUSED
            before = self.removed.pop(scope, None)
            self.scopes[scope] = Held(crl)
            # What an operator set belongs to the scope, and is removed with it.
            if before is not None and before.covers_no_point:
                is_forgotten = "setting: removed" in self._rules
                self.scopes[scope].covers_no_point = not is_forgotten
            return Outcome.PUBLISHED
        if crl.signed == held.base.signed:
            return Outcome.UNCHANGED
        if not (_is_newer(crl, held.base) or self._follows_unordered(crl, held.base)):
            return Outcome.REFUSED
        if self._adds_nothing(crl, held, now):
            return Outcome.NOT_PUBLISHED
        self.scopes[scope] = Held(crl)
        if held.covers_no_point and "setting: stays" in self._rules:
            self.scopes[scope].covers_no_point = True
        if held.outlives(crl):
            self.scopes[scope].delta = held.delta
        return Outcome.PUBLISHED

    def _follows_unordered(self, crl: Crl, base: Crl) -> bool:
        """
        Whether a CRL follows one without a number that is of the same second, so that
        nobody can tell which is newer. It does if no revocation is lost by it. Of two that
        revoke the same the one stays that is current for longer.
        """
        if base.number is not None or crl.this_update != base.this_update:
            return False
        mine, theirs = _listed(crl), _listed(base)
        if not theirs.keys() <= mine.keys():
            return "one second: lists all" not in self._rules
        if any(is_final and not mine[certified] for certified, is_final in theirs.items()):
            return "one second: final" not in self._rules
        if mine == theirs and _ends_earlier(crl, base):
            return "one second: lasts" not in self._rules
        return "one second: taken" in self._rules

    def _may_return(self, crl: Crl, removed: Held) -> bool:
        # What was removed is remembered: the complete CRL as one that is published,
        # and the delta, with which a complete CRL of the same time shares its number
        # (RFC 5280 5.2.3).
        if not _is_newer(crl, removed.base) and "removed: remembered" in self._rules:
            return False
        delta = removed.delta
        if delta is None:
            return True
        assert delta.number is not None
        has_fallen = crl.number is None or crl.number < delta.number
        if has_fallen and "removed: number" in self._rules:
            return False
        return crl.this_update >= delta.this_update or "removed: time" not in self._rules

    def _adds_nothing(self, crl: Crl, held: Held, now: datetime) -> bool:
        """
        Whether an expired CRL lists nothing beyond what is held and current. A final
        reason is more than a hold. A removal by a delta that has expired lifts nothing.
        A complete CRL beside which a current delta stays makes nothing stale.
        """
        if not _has_expired(crl, now) or _has_expired(held.latest(now), now):
            return False
        if crl.base_number is None and held.outlives(crl) and held.latest(now) is held.delta:
            return False
        listed = held.listed()
        if all(
            certified in listed and (listed[certified] or not is_final)
            for certified, is_final in _listed(crl).items()
        ):
            return "expired: adds nothing" in self._rules
        return "expired: adds something" not in self._rules

    def _verifying_key(self, crl: Crl) -> bytes | None:
        # The signature tells whose CRL it is; the authority key id helps to find the
        # key (RFC 5280 5.2.1), and what it says of no key of that name changes nothing.
        for issuer in self.issuers:
            named = issuer.subject == crl.issuer and issuer.may_sign_crls
            identified = crl.authority_key_id in (None, issuer.key_id)
            if not (named and crl.signed_by(issuer.key)):
                continue
            if identified or "key id: any signer" in self._rules:
                return issuer.key
        return None


def _listed(crl: Crl) -> dict[Certified, bool]:
    """
    What a CRL lists, and whether for good. A delta's removals list nothing; but beside
    another entry for its certificate a removal contradicts, and both together revoke.
    """
    reasons: dict[Certified, set[int | None]] = {}
    for issuer, serial, reason in crl.entries:
        reasons.setdefault((issuer, serial), set()).add(reason)
    return {
        certified: found != {HOLD}
        for certified, found in reasons.items()
        if crl.base_number is None or found != {REMOVE_FROM_CRL}
    }


def _ends_earlier(crl: Crl, other: Crl) -> bool:
    if crl.next_update is None:
        return False
    return other.next_update is None or crl.next_update < other.next_update


def _has_expired(crl: Crl, now: datetime) -> bool:
    return crl.next_update is not None and crl.next_update < now


def _is_newer(offered: Crl, published: Crl) -> bool:
    if published.number is None:
        return offered.this_update > published.this_update
    if offered.number is None:
        return False
    return offered.number > published.number and offered.this_update >= published.this_update
