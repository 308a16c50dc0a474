"""``crlcheck scope``: list and change the scopes of a store."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import click
from rich.table import Column, Table

from crlcheck.catalog.catalog import ScopeRecord, Tombstone
from crlcheck.catalog.descriptions import crl_text
from crlcheck.cli.command import group
from crlcheck.cli.inputs import open_target, read_published, usage
from crlcheck.cli.options import note_option
from crlcheck.cli.status import about
from crlcheck.cli.text import answer, console, say
from crlcheck.errors import StoreError
from crlcheck.publisher.comparison import later_crl
from crlcheck.publisher.operator import override_scope, remove_scope, reset_scope
from crlcheck.publisher.rejections import read_rejections
from crlcheck.times import time_text


@group("scope", examples=["crlcheck scope list published"])
def scope_group() -> None:
    """List and change the scopes of a store."""


@scope_group.command("list", examples=["crlcheck scope list published"])
@click.argument("store")
def scope_list(store: str) -> int:
    """List the scopes of STORE, the removed and reset ones, and the refused CRLs."""
    target = open_target(store)
    catalog = read_published(target)
    with about(store, StoreError):
        rejections = read_rejections(target)
    answer(
        {
            "generation": catalog.generation,
            "scopes": {key: _scope(record) for key, record in catalog.scopes.items()},
            "tombstones": {key: _tombstone(one) for key, one in catalog.tombstones.items()},
            "rejections": [
                {"source": one.source, "cause": one.cause, "detail": one.detail,
                 "at": time_text(one.at), "serving": list(one.serving)}
                for one in rejections
            ],
        }
    )  # fmt: skip
    now = datetime.now(UTC)
    # The whole key, which the user copies in order to remove a scope.
    key_column = Column("scope", no_wrap=True, min_width=32)
    table = Table(key_column, "CRL", "entries", "nextUpdate", Column("source", overflow="fold"))
    for key, record in catalog.scopes.items():
        for image in record.images():
            metadata = image.metadata
            stale = " (stale)" if metadata.is_past(now) else ""
            table.add_row(
                key, crl_text(metadata), f"{metadata.num_entries:,}",
                f"{time_text(metadata.next_update) or ''}{stale}",
                "" if metadata.is_delta else record.source or "",
            )  # fmt: skip
    console().print(table)
    for key, one in catalog.tombstones.items():
        waiting = ", takes any CRL next" if one.accepts_any else ""
        note = f": {one.note}" if one.note else ""
        say(f"{key} ({crl_text(one.base)}): {one.action.value} {time_text(one.at)}{waiting}{note}")
    for rejection in rejections:
        say(
            f"{rejection.source}: refused {time_text(rejection.at)}: {rejection.detail}",
            color="red",
        )
    return 0


def _scope(record: ScopeRecord) -> dict[str, Any]:
    return {
        "crls": [crl_text(image.metadata) for image in record.images()],
        "num_entries": record.base.metadata.num_entries,
        "next_update": time_text(record.base.metadata.next_update),
        "stale": later_crl(record).is_past(datetime.now(UTC)),
        "source": record.source,
    }


def _tombstone(one: Tombstone) -> dict[str, Any]:
    return {
        "action": one.action.value,
        "at": time_text(one.at),
        "note": one.note,
        "crl": crl_text(one.base),
        "accepts_any": one.accepts_any,
    }


@scope_group.command("remove", examples=["crlcheck scope remove published SCOPE"])
@click.argument("store")
@click.argument("scope")
@note_option
def scope_remove(store: str, scope: str, note: str) -> int:
    """
    Remove SCOPE from STORE.

    Certificates that only its CRL covers become undetermined. If another CRL covers
    them too, such as that of a tied key, that one alone decides: a certificate that
    only SCOPE listed passes then. Only a newer CRL brings the scope back.
    """
    with usage():
        generation = remove_scope(open_target(store), scope, note=note)
    answer({"store": store, "scope": scope, "generation": generation})
    say(f"{store}: {scope} removed: generation {generation}")
    return 0


@scope_group.command("reset", examples=["crlcheck scope reset published SCOPE"])
@click.argument("store")
@click.argument("scope")
@note_option
def scope_reset(store: str, scope: str, note: str) -> int:
    """
    Let SCOPE of STORE accept any verified CRL next.

    For a CA that numbers its CRLs anew. The published CRL stays until then.
    """
    with usage():
        generation = reset_scope(open_target(store), scope, note=note)
    answer({"store": store, "scope": scope, "generation": generation})
    say(f"{store}: {scope} takes any verified CRL next: generation {generation}")
    return 0


@scope_group.command("cover", examples=["crlcheck scope cover published SCOPE"])
@click.argument("store")
@click.argument("scope")
@click.option("--undo", is_flag=True, help="Take that back.")
def scope_cover(store: str, scope: str, undo: bool) -> int:
    """
    Let SCOPE of STORE cover certificates without distribution points.

    For a CA whose CRL names a distribution point and whose certificates name
    none. It still does not cover certificates that name another point. Later
    publications keep the setting.
    """
    with usage():
        generation = override_scope(
            open_target(store), scope, covers_no_distribution_point=not undo
        )
    answer({"store": store, "scope": scope, "generation": generation})
    covers = "does not cover" if undo else "covers"
    say(
        f"{store}: {scope} {covers} certificates without distribution points: "
        f"generation {generation}"
    )
    return 0
