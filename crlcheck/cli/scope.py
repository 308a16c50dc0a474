"""``crlcheck scope``: list and change the scopes of a store."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import click

from crlcheck.catalog.catalog import Catalog, PublishedImage, ScopeRecord, Tombstone
from crlcheck.catalog.descriptions import count, crl_text, scope_text
from crlcheck.catalog.neighbours import Neighbours, issuer_keys_of
from crlcheck.cli.actor import actor
from crlcheck.cli.command import group
from crlcheck.cli.damage import Damage, read_readable
from crlcheck.cli.inputs import open_for_change, open_target, time_of, usage
from crlcheck.cli.options import change_options, root_key_option
from crlcheck.cli.parameters import SCOPE, STORE
from crlcheck.cli.status import about, warn
from crlcheck.cli.text import answer, say
from crlcheck.encoding.names import name_text
from crlcheck.errors import StoreError
from crlcheck.publisher.comparison import later_crl
from crlcheck.publisher.operator import override_scope, remove_scope, reset_scope
from crlcheck.publisher.rejections import known_rejections
from crlcheck.remedies import with_remedy
from crlcheck.times import time_text
from crlcheck.types import ImageMetadata


@group("scope", examples=["crlcheck scope list published"])
def scope_group() -> None:
    """List and change the scopes of a store."""


# ---- list ------------------------------------------------------------------------------


@scope_group.command("list", examples=["crlcheck scope list published"])
@click.argument("store", type=STORE)
@root_key_option
def scope_list(store: str) -> int:
    """
    List the scopes of STORE, the removed and reset ones, and the refused CRLs.

    A scope is marked if its CRL is stale, or if a newer CRL covers all that it covers
    (superseded, or expired and replaced).
    """
    target = open_target(store)
    damage = Damage()
    catalog = read_readable(target, damage)
    with about(store, StoreError):
        rejections = known_rejections(target)
    if rejections is None:
        warn("refused CRLs are not shown: the objects of this store cannot be listed")
    # People look for an issuer; the catalog has the scopes in the order of their ids.
    listed = sorted(_listed(catalog, time_of(target)), key=_Listed.order)
    answer(
        {
            "generation": catalog.generation,
            "scopes": {one.record.key: one.members() for one in listed},
            "tombstones": {key: _tombstone(one) for key, one in catalog.tombstones.items()},
            "rejections": None if rejections is None else [one.members() for one in rejections],
            "unreadable": damage.members(),
        }
    )
    # Lines instead of a table: no width of terminal or pipe cuts what another command needs.
    for one in listed:
        say(f"{one.record.key} ({one.state_text()})", color="yellow" if one.is_marked else None)
        for name, value in one.fields():
            say(f"  {name:<12}{value}")
    for key, gone in catalog.tombstones.items():
        waiting = ", takes any CRL next" if gone.accepts_any else ""
        note = f": {gone.note}" if gone.note else ""
        say(
            f"{key} ({crl_text(gone.base)}): {gone.action.value} {time_text(gone.at)}"
            f"{waiting}{note}"
        )
    for rejection in rejections or ():
        detail = with_remedy(rejection.detail, rejection.remedy)
        say(f"{rejection.source}: refused {time_text(rejection.at)}: {detail}", color="red")
    return damage.tell()


@dataclass(frozen=True, slots=True)
class _Listed:
    """
    A scope as it is listed.

    ``replaced_by`` and ``made_stale_by`` are the scopes whose newer CRLs do that.
    """

    record: ScopeRecord
    is_stale: bool
    replaced_by: str | None
    made_stale_by: str | None

    @property
    def state(self) -> str:
        """The state in one word."""
        if self.replaced_by is not None:
            return "expired_and_replaced" if self.is_stale else "superseded"
        return "stale" if self.is_stale or self.made_stale_by is not None else "current"

    def order(self) -> tuple[str, str, str]:
        """Return what the list is sorted by: issuer, what is covered, id."""
        base = self.record.base.metadata
        return name_text(base.issuer), scope_text(base), self.record.key

    @property
    def is_marked(self) -> bool:
        return self.state != "current"

    def state_text(self) -> str:
        """Return the state in words, with the scope that brings it about."""
        text = self.state.replace("_", " ")
        if self.replaced_by is not None:
            return f"{text} by scope {self.replaced_by}"
        if self.made_stale_by is not None:
            return f"{text}, because the CRL of scope {self.made_stale_by} is newer and expired"
        return text

    def fields(self) -> Iterator[tuple[str, str]]:
        """Yield names and values for people."""
        record = self.record
        base = record.base.metadata
        yield "issuer", name_text(base.issuer)
        yield "key", _key_text(base)
        covers = scope_text(base)
        if record.covers_no_distribution_point:
            covers += "; certificates without distribution points too, as an operator set"
        yield "covers", covers
        for image in record.images():
            yield "delta CRL" if image.metadata.is_delta else "CRL", _image_text(image)
        yield "stale from", time_text(later_crl(record).next_update) or "never: no nextUpdate"
        yield "source", record.source or "not noted"

    def members(self) -> dict[str, Any]:
        """Return the JSON members. Verdicts are not stale before ``verdicts_stale_at``."""
        record = self.record
        base = record.base.metadata
        return {
            "state": self.state,
            "replaced_by": self.replaced_by,
            "made_stale_by": self.made_stale_by,
            "issuer": name_text(base.issuer),
            "key_id": None
            if base.verifier_subject_key_id is None
            else base.verifier_subject_key_id.hex(),
            "key_hash": None if base.verifier_key_hash is None else base.verifier_key_hash.hex(),
            "covers": scope_text(base),
            "covers_no_distribution_point": record.covers_no_distribution_point,
            "base": _image_members(record.base),
            "delta": None if record.delta is None else _image_members(record.delta),
            "verdicts_stale_at": time_text(later_crl(record).next_update),
            "stale": self.is_stale,
            "crls": [crl_text(image.metadata) for image in record.images()],
            "source": record.source,
        }


def _listed(catalog: Catalog, now: datetime) -> Iterator[_Listed]:
    later = {key: later_crl(record) for key, record in catalog.scopes.items()}
    neighbours = Neighbours(later, issuer_keys_of(catalog), now)
    for key, record in catalog.scopes.items():
        crl = later[key]
        replacement = neighbours.replacement_of(crl)
        if (
            replacement is not None
            and not crl.is_past(now)
            and replacement[1].verifier_key_hash == crl.verifier_key_hash
        ):
            # A key's complete CRL and its parts are issued in turns, and each is in use.
            replacement = None
        hiding = neighbours.made_stale_by(crl)
        yield _Listed(
            record,
            crl.is_past(now),
            None if replacement is None else replacement[0],
            None if hiding is None else hiding[0],
        )


def _key_text(metadata: ImageMetadata) -> str:
    """Return what tells a key from others of its name."""
    key_id, key_hash = metadata.verifier_subject_key_id, metadata.verifier_key_hash
    digest = "unknown" if key_hash is None else f"SHA-256 {key_hash.hex()}"
    return digest if key_id is None else f"key id {key_id.hex()}, {digest}"


def _image_text(image: PublishedImage) -> str:
    metadata = image.metadata
    number = "without number" if metadata.crl_number is None else f"{metadata.crl_number}"
    base = "" if metadata.base_crl_number is None else f" (base {metadata.base_crl_number})"
    begun, until = time_text(metadata.this_update), time_text(metadata.next_update)
    entries = count(metadata.num_entries, "entry", "entries")
    times = f"thisUpdate {begun}, {f'nextUpdate {until}' if until else 'no nextUpdate'}"
    return f"{number}{base}, {entries}, {times}"


def _image_members(image: PublishedImage) -> dict[str, Any]:
    metadata = image.metadata
    return {
        "crl_number": metadata.crl_number,
        "base_crl_number": metadata.base_crl_number,
        "this_update": time_text(metadata.this_update),
        "next_update": time_text(metadata.next_update),
        "num_entries": metadata.num_entries,
    }


def _tombstone(one: Tombstone) -> dict[str, Any]:
    return {
        "action": one.action.value,
        "at": time_text(one.at),
        "note": one.note,
        "crl": crl_text(one.base),
        "accepts_any": one.accepts_any,
    }


# ---- change ----------------------------------------------------------------------------


@scope_group.command(
    "set", examples=["crlcheck scope set published SCOPE --covers-no-distribution-point"]
)
@click.argument("store", type=STORE)
@click.argument("scope", type=SCOPE)
@click.option(
    "--covers-no-distribution-point",
    is_flag=True,
    help="Let the CRL cover certificates that name no distribution point.",
)
@click.option("--undo", is_flag=True, help="Take that back.")
@change_options
def scope_set(
    store: str, scope: str, covers_no_distribution_point: bool, undo: bool, note: str
) -> int:
    """
    Change a setting of SCOPE in STORE.

    --covers-no-distribution-point is for a CA whose CRL names a distribution point and
    whose certificates name none. The CRL still does not cover certificates that name
    another point. Later publications keep the setting, and "scope remove" ends it.
    """
    if not covers_no_distribution_point:
        raise click.UsageError("nothing to set: expected --covers-no-distribution-point")
    with usage():
        generation = override_scope(
            open_for_change(store),
            scope,
            covers_no_distribution_point=not undo,
            note=note,
            actor=actor(),
        )
    answer({"store": store, "scope": scope, "generation": generation})
    covers = "does not cover" if undo else "covers"
    say(
        f"{store}: {scope} {covers} certificates without distribution points: "
        f"generation {generation}"
    )
    return 0


@scope_group.command("remove", examples=["crlcheck scope remove published SCOPE"])
@click.argument("store", type=STORE)
@click.argument("scope", type=SCOPE)
@change_options
def scope_remove(store: str, scope: str, note: str) -> int:
    """
    Remove SCOPE from STORE.

    Certificates that only its CRL covers become undetermined. If another CRL covers
    them too, such as that of a tied key, that one alone decides: a certificate that
    only SCOPE listed passes then. Only a newer CRL brings the scope back, without the
    settings that it had.
    """
    with usage():
        generation = remove_scope(open_for_change(store), scope, note=note, actor=actor())
    answer({"store": store, "scope": scope, "generation": generation})
    say(f"{store}: {scope} removed: generation {generation}")
    return 0


@scope_group.command("reset", examples=["crlcheck scope reset published SCOPE"])
@click.argument("store", type=STORE)
@click.argument("scope", type=SCOPE)
@change_options
def scope_reset(store: str, scope: str, note: str) -> int:
    """
    Let SCOPE of STORE accept any verified CRL next.

    For a CA that numbers its CRLs anew. The published CRL stays until then.
    """
    with usage():
        generation = reset_scope(open_for_change(store), scope, note=note, actor=actor())
    answer({"store": store, "scope": scope, "generation": generation})
    say(f"{store}: {scope} takes any verified CRL next: generation {generation}")
    return 0
