"""
Change a published set by hand: set, remove and reset scopes, deny certificates, and
advance the generation.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from crlcheck.catalog.catalog import Catalog, Denial, Grace, Tombstone
from crlcheck.catalog.compare_and_swap import change_catalog
from crlcheck.catalog.descriptions import count, crl_text
from crlcheck.catalog.history import Action
from crlcheck.catalog.published_set import PublishedSet
from crlcheck.catalog.root import MAX_GENERATION
from crlcheck.encoding.names import canonical_name, name_text
from crlcheck.stores import ObjectStore, open_for_writing
from crlcheck.times import given_time, time_text

_log = logging.getLogger(__name__)


def override_scope(
    store: str | os.PathLike[str] | ObjectStore,
    scope: str,
    *,
    covers_no_distribution_point: bool,
    note: str = "",
    actor: str = "",
) -> int:
    """
    Change an operator's setting of one published scope; return the catalog's generation.

    Args:
        store: as for ``publish_crl``.
        scope: the scope's key, as reports and ``crlcheck inspect`` show it.
        covers_no_distribution_point: let the scope's CRL cover certificates without
            distribution points although it names one, which RFC 5280 5.2.5 does not.
            It is for CAs that leave the extension out of their certificates.
        note: why, for whoever reads the history.
        actor: who does it, for the history; at most 200 characters.

    Later publications keep the setting.

    Raises:
        ValueError: the store has no such scope, or *note* or *actor* is too long.
        FileNotFoundError: the store has nothing published.
        StoreUnavailableError: the store does not answer, or too many publications
            came first.
        RootSignatureError: the store's root is signed and *store* is no SigningStore with its
            key, or the root is not signed by that key, or somebody put an old root back.
        SigningKeyError: the key does not sign.
        StoreError: the catalog cannot be read.
    """
    setting: object = covers_no_distribution_point
    if not isinstance(setting, bool):
        raise TypeError(
            f"covers_no_distribution_point: expected True or False, found {setting!r:.80}"
        )

    def change(catalog: Catalog) -> Catalog | None:
        successor = catalog.with_override(
            scope, covers_no_distribution_point=covers_no_distribution_point
        )
        return None if successor.scopes == catalog.scopes else successor

    what = f"covers_no_distribution_point is now {covers_no_distribution_point}"
    action = Action.of("set_scope", note=note, actor=actor, scope=scope, set=what)
    return change_store(
        store, f"scope {scope}: {what}", change, action, part=lambda held: held.scope(scope)
    )


def remove_scope(
    store: str | os.PathLike[str] | ObjectStore,
    scope: str,
    *,
    note: str = "",
    actor: str = "",
    now: datetime | None = None,
) -> int:
    """
    Remove a scope from the published set; return the catalog's generation.

    A certificate that no other CRL covers becomes UNDETERMINED. For any other certificate
    the other CRLs decide alone, so one that only this scope listed passes. The catalog
    keeps a record of the removed CRLs, with the time and *note*. Only a newer CRL brings
    the scope back.

    Raises: as ``override_scope``.
    """

    def change(catalog: Catalog) -> Catalog:
        return catalog.without_scope(scope, now=moment_of(now), note=note)

    return change_store(
        store,
        f"scope {scope}: removed",
        change,
        Action.of("remove_scope", note=note, actor=actor, scope=scope),
        part=lambda held: held.scope(scope),
        lost=lambda catalog: [catalog.tombstones[scope]],
        now=now,
    )


def reset_scope(
    store: str | os.PathLike[str] | ObjectStore,
    scope: str,
    *,
    note: str = "",
    actor: str = "",
    now: datetime | None = None,
) -> int:
    """
    Let a scope take any verified complete CRL next; return the catalog's generation.

    It is for a CA that numbers its CRLs anew. The published CRL stays in use until the
    next one comes. From then on CRLs must be newer again. Until then anybody who can
    upload can bring an old CRL back, so publish the right one at once.

    Raises: as ``override_scope``.
    """

    def change(catalog: Catalog) -> Catalog:
        return catalog.with_reset(scope, now=moment_of(now), note=note)

    action = Action.of("reset_scope", note=note, actor=actor, scope=scope)
    return change_store(
        store,
        f"scope {scope}: reset",
        change,
        action,
        part=lambda held: held.scope(scope),
        now=now,
    )


def deny_certificate(
    store: str | os.PathLike[str] | ObjectStore,
    issuer: bytes,
    serial_number: int,
    *,
    until: datetime | None = None,
    note: str = "",
    actor: str = "",
    now: datetime | None = None,
) -> int:
    """
    Put a certificate on the deny list, for the hours before its CA's CRL lists it.

    Args:
        store: as for ``publish_crl``; something must be published in it.
        issuer: the certificate issuer's whole Name as DER.
        serial_number: the certificate's.
        until: when the denial ends; None for never.
        note: why, for whoever reads the list.
        actor: who does it, for the history; at most 200 characters.
        now: the time, UTC; by default the clock's.

    Checkers call the certificate REVOKED from their next poll of the catalog on. An
    earlier denial of the same certificate is replaced. Returns the catalog's generation.

    Raises: as ``override_scope``, and ValueError for an *until* that is over and
        where *issuer* is no Name.
    """
    try:
        canonical_name(issuer)
    except (ValueError, TypeError) as error:
        raise ValueError(f"issuer: expected a Name as DER: {error}") from error
    if until is not None and until.tzinfo is None:
        raise ValueError(f"until: expected an aware datetime, found {until!r}")
    denial = Denial(issuer, serial_number, moment_of(now), until, note)
    what = f"certificate {serial_number:x} of {name_text(issuer)}: denied"
    return change_store(
        store,
        what if until is None else f"{what} until {time_text(until)}",
        lambda catalog: catalog.with_denial(denial),
        Action.of(
            "deny",
            note=note,
            actor=actor,
            **_certificate_members(issuer, serial_number),
            until=time_text(until),
        ),
        part=PublishedSet.denials,
        now=now,
    )


def lift_denial(
    store: str | os.PathLike[str] | ObjectStore,
    issuer: bytes,
    serial_number: int,
    *,
    note: str = "",
    actor: str = "",
    now: datetime | None = None,
) -> int:
    """
    Take a certificate off the deny list; return the catalog's generation.

    CRLs then decide about it alone.

    Raises: as ``override_scope``, and ValueError where it is not denied.
    """
    moment = moment_of(now)

    def change(catalog: Catalog) -> Catalog:
        return catalog.without_denial(issuer, serial_number, now=moment)

    what = f"certificate {serial_number:x} of {name_text(issuer)}: no longer denied by hand"
    members = _certificate_members(issuer, serial_number)
    action = Action.of("allow", note=note, actor=actor, **members)
    return change_store(store, what, change, action, part=PublishedSet.denials, now=now)


def grant_grace(
    store: str | os.PathLike[str] | ObjectStore,
    *,
    until: datetime | None,
    scope: str | None = None,
    note: str = "",
    actor: str = "",
    now: datetime | None = None,
) -> int:
    """
    Let checkers use CRLs past their nextUpdate until a time; return the generation.

    Args:
        store: as for ``publish_crl``.
        until: when that ends. None ends it now.
        scope: the scope's key; by default all scopes of the store.
        note: why, for whoever reads it later.
        actor: who does it, for the history; at most 200 characters.
        now: the time, UTC; by default the clock's.

    It is for a CA that is late with its CRL. A certificate that no CRL lists passes,
    and its result has STALE among ``waived``. Services need not be told: they see it at
    their next poll. Later publications keep it.

    Raises: as ``override_scope``, and ValueError for an *until* that is over.
    """
    if until is not None and until.tzinfo is None:
        raise ValueError(f"until: expected an aware datetime, found {until!r}")
    grace = None if until is None else Grace(until.astimezone(UTC), moment_of(now), note)

    def change(catalog: Catalog) -> Catalog | None:
        successor = catalog.with_grace(grace, key=scope)
        unchanged = (catalog.scopes, catalog.settings) == (successor.scopes, successor.settings)
        return None if unchanged else successor

    what = "no grace any more" if grace is None else f"grace until {time_text(grace.until)}"
    action = Action.of(
        "end_grace" if grace is None else "grant_grace",
        note=note,
        actor=actor,
        scope=scope,
        until=None if grace is None else time_text(grace.until),
    )
    return change_store(
        store,
        f"{'all scopes' if scope is None else f'scope {scope}'}: {what}",
        change,
        action,
        part=PublishedSet.settings if scope is None else (lambda held: held.scope(scope)),
        now=now,
    )


def advance_generation(
    store: str | os.PathLike[str] | ObjectStore,
    *,
    above: int | None = None,
    note: str = "",
    actor: str = "",
) -> int:
    """
    Raise a store's generation above one that services have; return its generation.

    It is for a restored store, for example from a backup. Services that have
    seen a later generation refuse the catalog until its generation is above that one.
    ``CheckerStatus.generation`` has the number. Without *above* it is the number of
    milliseconds since 1970, more than any store counts up to. The published CRLs stay as
    they are, so publish first those that the backup lacks. A store that is above already is
    not changed.

    Raises: as ``override_scope``, and ValueError for an *above* that no catalog has.
    """
    if above is None:
        above = int(given_time(None).timestamp() * 1000)
    number: object = above
    if not isinstance(number, int):
        raise TypeError(f"above: expected an int, found {number!r:.80}")
    if not 0 < above < MAX_GENERATION:
        raise ValueError(f"above: expected 1 to {MAX_GENERATION - 1}, found {above}")

    least = above

    def change(catalog: Catalog) -> Catalog | None:
        return None if catalog.generation > least else replace(catalog, generation=least + 1)

    action = Action.of("advance", note=note, actor=actor, above=above)
    return change_store(
        store,
        f"brought above generation {above}",
        change,
        action,
        part=PublishedSet.settings,
        follows_lost=True,
    )


def _certificate_members(issuer: bytes, serial_number: int) -> dict[str, str]:
    return {"issuer": name_text(issuer), "serial_number": f"{serial_number:x}"}


def change_store(
    store: str | os.PathLike[str] | ObjectStore,
    what: str,
    change: Callable[[Catalog], Catalog | None],
    action: Action,
    *,
    part: Callable[[PublishedSet], Catalog] = PublishedSet.everything,
    lost: Callable[[Catalog], Sequence[Tombstone]] = lambda _: (),
    now: datetime | None = None,
    follows_lost: bool = False,
) -> int:
    """
    Change the catalog of a store, log *what* was done and return its generation.

    *action* is what the history says of it, and *part* returns the part of the catalog that
    *change* needs. *lost* returns the scopes that the change removed. The log says how many
    revocations went with them, so that none is lifted in silence. *now* is the time of the
    change, by default the clock's, and *follows_lost* is as in Change.

    Raises: as ``override_scope``.
    """
    target = open_for_writing(store)
    catalog = change_catalog(
        target, what, change, action, part=part, at=now, follows_lost=follows_lost
    )
    removed = [crl for one in lost(catalog) for crl in (one.base, one.delta) if crl is not None]
    and_lost = "".join(
        f", and {count(crl.num_entries, 'revocation')} by {crl_text(crl)} with it"
        for crl in removed
    )
    _log.warning("%s: %s%s", target.url, what, and_lost)
    return catalog.generation


def moment_of(now: datetime | None) -> datetime:
    """
    Return *now*, or the clock's time, in whole seconds.

    Raises:
        ValueError: it has no time zone.
    """
    return given_time(now).replace(microsecond=0)
