"""What a store would hold after CRLs were offered to it in some order."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from support.reference.values import Certificate, Crl, Name, read_crl

CLOCK_SKEW = timedelta(minutes=5)

ScopeKey = tuple[Name, bytes, bytes]
"""Issuer, verifying key, issuingDistributionPoint."""


@dataclass
class Held:
    """A complete CRL, and the delta that lies beside it."""

    base: Crl
    delta: Crl | None = None


class ReferenceStore:
    """The CRLs held, by scope."""

    def __init__(self, issuers: Iterable[Certificate]) -> None:
        self.issuers = list(issuers)
        self.scopes: dict[ScopeKey, Held] = {}

    def publish(self, crl: Crl, now: datetime) -> bool | None:
        """Offer a CRL; return whether it changed what is held, None where it is refused."""
        key = self._verifying_key(crl)
        if key is None or crl.this_update > now + CLOCK_SKEW:
            return None
        scope = (crl.issuer, key, crl.scope_octets)
        held = self.scopes.get(scope)
        if crl.base_number is None:
            return self._publish_base(scope, held, crl)
        if crl.number is None or held is None or held.base.number is None:
            return None
        if crl.base_number > held.base.number:
            return None
        if crl.number <= held.base.number:
            return False
        if held.delta is not None and crl.signed == held.delta.signed:
            return False
        if not _is_newer(crl, held.base if held.delta is None else held.delta):
            return None
        held.delta = crl
        return True

    def holds(self, crl: bytes) -> bool:
        """Whether a CRL is held."""
        held = [
            of.signed for scope in self.scopes.values() for of in (scope.base, scope.delta) if of
        ]
        return read_crl(crl).signed in held

    def _publish_base(self, scope: ScopeKey, held: Held | None, crl: Crl) -> bool | None:
        if held is not None and crl.signed == held.base.signed:
            return False
        if held is not None and not _is_newer(crl, held.base):
            return None
        self.scopes[scope] = Held(crl)
        if held is not None and held.delta is not None and crl.number is not None:
            assert held.delta.number is not None
            if held.delta.number > crl.number:
                self.scopes[scope].delta = held.delta
        return True

    def _verifying_key(self, crl: Crl) -> bytes | None:
        for issuer in self.issuers:
            named = issuer.subject == crl.issuer and issuer.may_sign_crls
            identified = crl.authority_key_id in (None, issuer.key_id)
            if named and identified and crl.signed_by(issuer.key):
                return issuer.key
        return None


def _is_newer(offered: Crl, published: Crl) -> bool:
    if published.number is None:
        return offered.this_update > published.this_update
    if offered.number is None:
        return False
    return offered.number > published.number and offered.this_update >= published.this_update
