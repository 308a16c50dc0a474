"""
Change the trusted issuers of a published set by hand: remove and readmit them, mark
anchors, and mark CAs that publish no CRL.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime

from crlcheck.catalog.catalog import Catalog, IssuerRecord, RemovedIssuer
from crlcheck.catalog.compare_and_swap import Change, change_set
from crlcheck.catalog.history import Action
from crlcheck.catalog.issuer_keys import public_key_hash
from crlcheck.catalog.published_set import PublishedSet
from crlcheck.catalog.records import MAX_NOTE
from crlcheck.catalog.root import Certificates
from crlcheck.encoding.names import name_key, name_text
from crlcheck.publisher.operator import change_store, moment_of
from crlcheck.stores import ObjectStore, open_for_writing
from crlcheck.times import clock_from
from crlcheck.types import CertificateFacts, several
from crlcheck.x509.certificates import published_certificate

_log = logging.getLogger(__name__)

# By store, the issuers of the last call that found nothing to withdraw. The functions call
# at every event, and only these decide what is found.
_SETTLED: dict[str, tuple[object, ...]] = {}

MIN_PREFIX = 8
"""An issuer is named by its fingerprint, or by at least this many hex digits of it."""


def remove_issuer(
    store: str | os.PathLike[str] | ObjectStore,
    issuer: str,
    *,
    note: str = "",
    actor: str = "",
    now: datetime | None = None,
) -> int:
    """
    Remove an issuer certificate from the trusted ones; return the catalog's generation.

    Args:
        store: as for ``publish_crl``.
        issuer: the SHA-256 fingerprint of the certificate in hex, or a prefix of
            it that no other has.
        note: why, for whoever reads it later.
        actor: who does it, for the history; at most 200 characters.
        now: the time, UTC; by default the clock's.

    The scopes whose CRLs have its name and were verified by its key are removed with it,
    unless another trusted certificate of that name has the same key. The certificates
    that it issued become UNDETERMINED, those of trusted CAs included, unless these are
    marked as anchors. No publication adds it again until ``readmit_issuer`` is called.

    Raises:
        ValueError: no issuer has that fingerprint, or several have, or the note
            or the actor's name is too long.
        FileNotFoundError: the store has nothing published.
        StoreUnavailableError: the store does not answer, or too many others came first.
        StoreError: the catalog cannot be read.
    """
    moment = moment_of(now)
    scopes: tuple[str, ...] = ()

    def change(catalog: Catalog) -> Catalog:
        nonlocal scopes
        fingerprint = find_fingerprint(issuer, (one.fingerprint for one in catalog.issuers))
        removed = _removal(catalog, {fingerprint}, fingerprint, moment, note)
        scopes = removed.scopes
        return catalog.without_issuer(fingerprint, removed)

    return change_store(
        store,
        f"issuer {issuer}: removed",
        change,
        Action.of("remove_issuer", note=note, actor=actor, issuer=issuer),
        part=part_of_issuer(issuer),
        lost=lambda catalog: [catalog.tombstones[scope] for scope in scopes],
        now=now,
    )


def readmit_issuer(
    store: str | os.PathLike[str] | ObjectStore, issuer: str, *, note: str = "", actor: str = ""
) -> int:
    """
    Let the next publication add a removed issuer again; return the catalog's generation.

    Its scopes come back with their next CRLs, or with the same ones where there was no
    delta CRL beside them.

    Raises: as ``remove_issuer``; ValueError where it was not removed.
    """

    def change(catalog: Catalog) -> Catalog:
        return catalog.with_issuer_readmitted(find_fingerprint(issuer, catalog.removed_issuers))

    action = Action.of("readmit_issuer", note=note, actor=actor, issuer=issuer)
    what = f"issuer {issuer}: readmitted"
    return change_store(store, what, change, action, part=part_of_issuer(issuer))


def set_issuer(
    store: str | os.PathLike[str] | ObjectStore,
    issuer: str,
    *,
    is_anchor: bool | None = None,
    publishes_no_crl: bool | None = None,
    note: str = "",
    actor: str = "",
) -> int:
    """
    Change an operator's settings of an issuer that are not None; return the generation.

    Args:
        store, issuer, note, actor: as for ``remove_issuer``.
        is_anchor: paths end at this certificate, and no issuer above it is checked.
        publishes_no_crl: the CA publishes no CRL, so its certificates pass where no CRL
            covers them.

    Later publications keep the settings.

    Raises: as ``remove_issuer``.
    """

    given = {"is_anchor": is_anchor, "publishes_no_crl": publishes_no_crl}
    for name, value in given.items():
        if not isinstance(value, bool | None):
            raise TypeError(f"{name}: expected True, False or None, found {value!r:.80}")

    def change(catalog: Catalog) -> Catalog | None:
        fingerprint = find_fingerprint(issuer, (one.fingerprint for one in catalog.issuers))
        successor = catalog.with_issuer_settings(
            fingerprint, is_anchor=is_anchor, publishes_no_crl=publishes_no_crl
        )
        return None if successor.issuers == catalog.issuers else successor

    what = ", ".join(f"{name} is now {value}" for name, value in given.items() if value is not None)
    action = Action.of("set_issuer", note=note, actor=actor, issuer=issuer, set=what)
    return change_store(
        store, f"issuer {issuer}: {what}", change, action, part=part_of_issuer(issuer)
    )


def withdraw_issuers(
    store: str | os.PathLike[str] | ObjectStore,
    present: Iterable[bytes],
    *,
    added_by: str,
    actor: str = "",
    now: datetime | None = None,
) -> tuple[str, ...]:
    """
    Remove the issuers that *added_by* once added and does not have any more.

    Args:
        store: as for ``publish_crl``.
        present: all the certificates, in DER, that it has now.
        added_by: the name under which the catalog has them (``issuers_from``).
        actor: who does it, for the history; at most 200 characters.
        now: the time, UTC; by default the clock's.

    As ``remove_issuer``, but a later publication with the certificate adds it again.
    Nothing changes where *present* is empty, or has a certificate that has not been
    published yet, because a caller without any issuer is probably mistaken.
    Returns the fingerprints of the removed issuers.

    Raises: as ``remove_issuer``; ValueError only for an actor's name that is too long.
    """
    action = Action.of("withdraw_issuers", actor=actor, added_by=added_by)
    withdrawal = _Withdrawal(present, added_by, moment_of(now), action)
    target = open_for_writing(store)
    what = f"the removal of issuers that are gone from {added_by}"
    change_set(target, what, withdrawal.prepare)
    for fingerprint in withdrawal.gone:
        _log.warning("%s: issuer %s is gone from %s: removed", target.url, fingerprint, added_by)
    return withdrawal.gone


class _Withdrawal:
    """The removal of the issuers that a place has no more; ``gone`` are their fingerprints."""

    def __init__(
        self, present: Iterable[bytes], added_by: str, moment: datetime, action: Action
    ) -> None:
        self.gone: tuple[str, ...] = ()
        self._kept = frozenset(IssuerRecord(der).fingerprint for der in several("present", present))
        self._known: set[str] = set()
        self._added_by = added_by
        self._moment = moment
        self._clock = clock_from(moment)
        self._action = action

    def prepare(self, held: PublishedSet) -> Change | None:
        """Return the change of a set, None where there is nothing to remove."""
        self.gone = ()
        self._known.clear()
        root = held.root
        # What can be gone depends on these alone.
        state = root.store, root.trusted, root.removed, self._kept, self._added_by
        is_settled = Certificates.of(self._kept) == root.trusted  # nobody else is trusted
        if not self._kept or is_settled or _SETTLED.get(root.store) == state:
            return None
        before = held.issuers_named(self._is_other, lambda one: one.added_by == self._added_by)
        self.gone = self._gone_from(before)
        if self.gone:
            after = self._without(self.gone, before)
            return Change(
                before=before,
                after=after,
                action=self._action,
                at=self._moment,
                clock=self._clock,
            )
        if root.store:  # a catalog of format 1 has none
            _SETTLED[root.store] = state
        return None

    def _is_other(self, fingerprint: str) -> bool:
        self._known.add(fingerprint)
        return fingerprint not in self._kept

    def _gone_from(self, catalog: Catalog) -> tuple[str, ...]:
        here = {one.fingerprint for one in catalog.issuers} | catalog.removed_issuers.keys()
        if not self._kept <= self._known | here:
            return ()
        return tuple(
            one.fingerprint
            for one in catalog.issuers
            if one.added_by == self._added_by and one.fingerprint not in self._kept
        )

    def _without(self, gone: tuple[str, ...], catalog: Catalog) -> Catalog:
        why = f"gone from {self._added_by}"[:MAX_NOTE]  # it may name many places
        for fingerprint in gone:
            removed = _removal(catalog, set(gone), fingerprint, self._moment, why)
            catalog = catalog.without_issuer(fingerprint, removed, may_return=True)
        return catalog


@dataclass(frozen=True, slots=True)
class IssuerDescription:
    """Describes a trusted issuer; ``scopes`` are those whose CRLs its key verified."""

    record: IssuerRecord
    subject: str
    key_id: str | None
    scopes: tuple[str, ...]


def describe_issuers(catalog: Catalog) -> list[IssuerDescription]:
    """Return a description of each trusted issuer of a catalog, by name."""
    found: list[IssuerDescription] = []
    for record in catalog.issuers:
        facts = published_certificate(record.certificate)
        if facts is None:
            found.append(IssuerDescription(record, "a certificate that cannot be read", None, ()))
            continue
        key_id = None if facts.subject_key_id is None else facts.subject_key_id.hex()
        scopes = tuple(_scopes_of(facts, catalog))
        found.append(IssuerDescription(record, name_text(facts.subject), key_id, scopes))
    return sorted(found, key=lambda one: (one.subject, one.record.fingerprint))


def part_of_issuer(issuer: str) -> Callable[[PublishedSet], Catalog]:
    """
    Return what reads the names of the issuers whose fingerprints begin with a text.

    Of a whole fingerprint no damaged shard hides the issuer but its own.
    """
    prefix = _prefix_of(issuer)
    return lambda held: held.issuers_named(
        lambda fingerprint: fingerprint.startswith(prefix), is_one=len(prefix) == 64
    )


def _prefix_of(text: str) -> str:
    prefix = text.replace(":", "").lower()
    if not re.fullmatch(f"[0-9a-f]{{{MIN_PREFIX},64}}", prefix):
        raise ValueError(
            f"issuer {text!r:.80}: expected a fingerprint, at least {MIN_PREFIX} hex digits of it"
        )
    return prefix


def find_fingerprint(text: str, fingerprints: Iterable[str]) -> str:
    """
    Return the one fingerprint that begins with *text*.

    Raises:
        ValueError: there is none or more than one, or it is no hex or too short.
    """
    prefix = _prefix_of(text)
    found = sorted({one for one in fingerprints if one.startswith(prefix)})
    if len(found) != 1:
        none = "there is no such issuer, 'crlcheck issuer list' shows those there are"
        several = f"several issuers begin so: {', '.join(found)}"
        raise ValueError(f"issuer {text}: {several if found else none}")
    return found[0]


def _removal(
    catalog: Catalog, gone: set[str], fingerprint: str, moment: datetime, note: str
) -> RemovedIssuer:
    """Return the catalog's record of a removed issuer and of the scopes removed with it."""
    facts = published_certificate(catalog.issuer(fingerprint).certificate)
    if facts is None:
        return RemovedIssuer(moment, b"", (), note)
    others = (
        published_certificate(one.certificate)
        for one in catalog.issuers
        if one.fingerprint not in gone
    )
    key, name = public_key_hash(facts), name_key(facts.subject)
    stays = any(
        public_key_hash(other) == key and name_key(other.subject) == name and other.may_sign_crls
        for other in others
        if other is not None
    )
    scopes = () if stays else tuple(_scopes_of(facts, catalog))
    return RemovedIssuer(moment, facts.subject, scopes, note)


def _scopes_of(issuer: CertificateFacts, catalog: Catalog) -> Iterable[str]:
    key, name = public_key_hash(issuer), name_key(issuer.subject)
    for scope, record in catalog.scopes.items():
        metadata = record.base.metadata
        if metadata.verifier_key_hash == key and name_key(metadata.issuer) == name:
            yield scope
