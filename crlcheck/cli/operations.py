"""The commands on what a catalog says: scopes and the deny list."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click
from rich.table import Column, Table

from crlcheck.catalog.catalog import CATALOG_NAME, Catalog, Denial, ScopeRecord, Tombstone
from crlcheck.catalog.descriptions import crl_text
from crlcheck.cli.sources import open_target
from crlcheck.cli.status import about
from crlcheck.cli.text import console, say, say_json
from crlcheck.encoding.names import name_text
from crlcheck.encoding.serials import parse_serial_text
from crlcheck.errors import StoreError
from crlcheck.publisher.comparison import speaking
from crlcheck.publisher.operator import (
    deny_certificate,
    lift_denial,
    override_scope,
    remove_scope,
    reset_scope,
)
from crlcheck.publisher.rejections import read_rejections
from crlcheck.settings import read_duration
from crlcheck.stores import ObjectStore
from crlcheck.times import time_text
from crlcheck.x509.certificates import load_certificate

_PATH = click.Path(path_type=Path)
_json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
_note_option = click.option("--note", default="", help="Why, for whoever reads it later.")


def read_published(store: ObjectStore) -> Catalog:
    """Read the store's catalog."""
    with about(store.url, StoreError):
        return Catalog.from_bytes(store.read(CATALOG_NAME).body)


@contextlib.contextmanager
def usage() -> Iterator[None]:
    """Turn what the library calls misuse into wrong usage of the command."""
    try:
        yield
    except ValueError as error:
        raise click.UsageError(str(error)) from error


# ---- scopes ------------------------------------------------------------------


@click.group("scope")
def scope_group() -> None:
    """What a store has published, and what was refused."""


@scope_group.command("list")
@click.argument("store")
@_json_option
def scope_list(store: str, as_json: bool) -> int:
    """List the scopes of STORE, what operators did to them, and what was refused."""
    target = open_target(store)
    catalog = read_published(target)
    with about(store, StoreError):
        rejections = read_rejections(target)
    if as_json:
        say_json(
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
        return 0
    now = datetime.now(UTC)
    # Whoever removes a scope copies its whole key from here.
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
        "stale": speaking(record).is_past(datetime.now(UTC)),
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


@scope_group.command("remove")
@click.argument("store")
@click.argument("scope")
@_note_option
def scope_remove(store: str, scope: str, note: str) -> int:
    """
    Take SCOPE out of STORE.

    Certificates that only it spoke for become undetermined. Where another CRL
    speaks for them, such as that of a tied key, that one alone decides: what
    only SCOPE listed passes then. Only a newer CRL brings it back.
    """
    with usage():
        generation = remove_scope(open_target(store), scope, note=note)
    say(f"{store}: {scope} removed: generation {generation}")
    return 0


@scope_group.command("reset")
@click.argument("store")
@click.argument("scope")
@_note_option
def scope_reset(store: str, scope: str, note: str) -> int:
    """
    Let SCOPE of STORE take any verified CRL next.

    For a CA that numbers its CRLs anew. What is published stays until then.
    """
    with usage():
        generation = reset_scope(open_target(store), scope, note=note)
    say(f"{store}: {scope} takes any verified CRL next: generation {generation}")
    return 0


@scope_group.command("cover")
@click.argument("store")
@click.argument("scope")
@click.option("--undo", is_flag=True, help="Let it cover only those that name its point again.")
def scope_cover(store: str, scope: str, undo: bool) -> int:
    """
    Let SCOPE of STORE cover certificates without distribution points.

    For a CA whose CRL names a distribution point and whose certificates name
    none. Certificates that name another point are not meant. Later
    publications keep the setting.
    """
    with usage():
        generation = override_scope(
            open_target(store), scope, covers_no_distribution_point=not undo
        )
    covers = "does not cover" if undo else "covers"
    say(
        f"{store}: {scope} {covers} certificates without distribution points: "
        f"generation {generation}"
    )
    return 0


# ---- the deny list -----------------------------------------------------------


@click.group("deny")
def deny_group() -> None:
    """Certificates denied by hand, before their CA publishes that they are revoked."""


_certificate_argument = click.argument("certificate", type=_PATH, required=False)
_issuer_option = click.option("--issuer", type=_PATH, help="The certificate's issuer.")
_serial_option = click.option("--serial", metavar="HEX", help="Its serial number.")


def _named(certificate: Path | None, issuer: Path | None, serial: str | None) -> tuple[bytes, int]:
    """Return issuer name and serial number of the certificate that the command names."""
    if certificate is not None and issuer is None and serial is None:
        facts = load_certificate(certificate)
        return facts.issuer, facts.serial_number
    if certificate is None and issuer is not None and serial is not None:
        with usage():
            return load_certificate(issuer).subject, parse_serial_text(serial)
    raise click.UsageError("name a certificate, or --issuer and --serial, one of the two")


@deny_group.command("add")
@click.argument("store")
@_certificate_argument
@_issuer_option
@_serial_option
@click.option(
    "--for",
    "lasting",
    type=read_duration,
    metavar="DURATION",
    help="How long, such as 12h; else for good.",
)
@_note_option
def deny_add(
    store: str,
    certificate: Path | None,
    issuer: Path | None,
    serial: str | None,
    lasting: timedelta | None,
    note: str,
) -> int:
    """Deny CERTIFICATE, or --serial of --issuer, at once."""
    name, number = _named(certificate, issuer, serial)
    now = datetime.now(UTC).replace(microsecond=0)
    until = None if lasting is None else now + lasting
    with usage():
        generation = deny_certificate(
            open_target(store), name, number, until=until, note=note, now=now
        )
    end = "" if until is None else f" until {time_text(until)}"
    say(f"{store}: {number:x} of {name_text(name)} is denied{end}: generation {generation}")
    return 0


@deny_group.command("remove")
@click.argument("store")
@_certificate_argument
@_issuer_option
@_serial_option
def deny_remove(
    store: str, certificate: Path | None, issuer: Path | None, serial: str | None
) -> int:
    """Take CERTIFICATE, or --serial of --issuer, off the deny list; CRLs hold as before."""
    name, number = _named(certificate, issuer, serial)
    with usage():
        generation = lift_denial(open_target(store), name, number)
    say(f"{store}: {number:x} of {name_text(name)} is off the list: generation {generation}")
    return 0


@deny_group.command("list")
@click.argument("store")
@_json_option
def deny_list(store: str, as_json: bool) -> int:
    """List the certificates that are denied by hand."""
    catalog, now = read_published(open_target(store)), datetime.now(UTC)
    if as_json:
        say_json([{**_denial(one), "holds": one.holds(now)} for one in catalog.denied])
        return 0
    for one in catalog.denied:
        end = "for good" if one.until is None else f"until {time_text(one.until)}"
        over = "" if one.holds(now) else " (over)"
        note = f": {one.note}" if one.note else ""
        say(f"{one.serial_number:x} of {name_text(one.issuer)}, {end}{over}{note}")
    return 0


def _denial(one: Denial) -> dict[str, Any]:
    return {**one.members(), "issuer": name_text(one.issuer)}


COMMANDS: tuple[click.Command, ...] = (scope_group, deny_group)
