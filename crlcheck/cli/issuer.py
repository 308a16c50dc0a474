"""``crlcheck issuer``: list and change the issuers that a store trusts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from crlcheck.catalog.catalog import Catalog, IssuerRecord
from crlcheck.cli.actor import actor
from crlcheck.cli.command import group
from crlcheck.cli.damage import Damage, read_readable
from crlcheck.cli.inputs import open_for_change, open_target, read_published_set, usage
from crlcheck.cli.options import change_options, root_key_option
from crlcheck.cli.parameters import ISSUER, STORE
from crlcheck.cli.status import about
from crlcheck.cli.text import answer, say
from crlcheck.encoding.names import name_text
from crlcheck.errors import StoreError
from crlcheck.publisher.issuers import (
    IssuerDescription,
    describe_issuers,
    find_fingerprint,
    part_of_issuer,
    readmit_issuer,
    remove_issuer,
    set_issuer,
)
from crlcheck.times import time_text
from crlcheck.x509.certificates import load_certificate

_undo_option = click.option("--undo", is_flag=True, help="Take it back.")
_issuer_argument = click.argument("issuer", type=ISSUER)
_SHOWN = 16


@group(
    "issuer",
    examples=["crlcheck issuer list published", "crlcheck issuer remove published old-ca.pem"],
)
def issuer_group() -> None:
    """
    List and change the issuers that a store trusts.

    ISSUER is the fingerprint of a certificate (SHA-256 in hex, or a beginning that
    no other has), or a file with the certificate.
    """


def _fingerprint(issuer: str) -> str:
    """Return the fingerprint: the text itself, or that of the certificate in a file."""
    path = Path(issuer)
    return IssuerRecord(load_certificate(path).der).fingerprint if path.is_file() else issuer


@issuer_group.command("list", examples=["crlcheck issuer list published"])
@click.argument("store", type=STORE)
@root_key_option
def issuer_list(store: str) -> int:
    """List the issuers that STORE trusts, who added them, and those that were removed."""
    damage = Damage()
    catalog = read_readable(open_target(store), damage)
    described = describe_issuers(catalog)
    removed = {
        key: {
            **one.members(),
            "subject": name_text(one.subject) if one.subject else None,
        }
        for key, one in catalog.removed_issuers.items()
    }
    answer(
        {
            "issuers": [_members(one) for one in described],
            "removed": removed,
            "unreadable": damage.members(),
        }
    )
    for one in described:
        record = one.record
        known = {
            "self-signed": record.self_signed,
            "anchor": record.is_anchor,
            "publishes no CRL": record.publishes_no_crl,
        }
        words = [word for word, holds in known.items() if holds]
        say(f"{record.fingerprint[:_SHOWN]} {', '.join([one.subject, *words])}")
        say(f"  key id {one.key_id or 'none'}")
        when = time_text(record.added_at) or "at a time that was not noted"
        say(f"  added {when} by {record.added_by or 'an unknown writer'}")
        for scope in one.scopes:
            say(f"  scope {scope}")
    for key, gone in catalog.removed_issuers.items():
        subject = name_text(gone.subject) if gone.subject else "a certificate that cannot be read"
        note = f": {gone.note}" if gone.note else ""
        say(f"{key[:_SHOWN]} ({subject}): removed {time_text(gone.at)}{note}")
    return damage.tell()


def _members(one: IssuerDescription) -> dict[str, Any]:
    record = one.record
    return {
        "fingerprint": record.fingerprint,
        "subject": one.subject,
        "key_id": one.key_id,
        "self_signed": record.self_signed,
        "is_anchor": record.is_anchor,
        "publishes_no_crl": record.publishes_no_crl,
        "added_at": time_text(record.added_at),
        "added_by": record.added_by or None,
        "scopes": list(one.scopes),
    }


@issuer_group.command(
    "remove", examples=["crlcheck issuer remove published old-ca.pem --note 'key lost'"]
)
@click.argument("store", type=STORE)
@_issuer_argument
@change_options
def issuer_remove(store: str, issuer: str, note: str) -> int:
    """
    Stop trusting ISSUER, and remove its scopes from STORE.

    No publication adds it again, whatever issuers it is given, until "issuer
    readmit". A scope stays if another trusted certificate has the same name and
    key.
    """
    target = open_for_change(store)
    fingerprint = _fingerprint(issuer)
    with usage():
        generation = remove_issuer(target, fingerprint, note=note, actor=actor())
    published = read_published_set(target)
    with about(target.url, StoreError):
        removed = part_of_issuer(fingerprint)(published).removed_issuers
    gone = sorted(removed[find_fingerprint(fingerprint, removed)].scopes)
    answer({**_changed(store, fingerprint, generation), "scopes": gone})
    say(f"{store}: issuer {issuer} removed: generation {generation}")
    for scope in gone:
        say(f"{store}: scope {scope} went with it")
    return 0


@issuer_group.command("readmit", examples=["crlcheck issuer readmit published old-ca.pem"])
@click.argument("store", type=STORE)
@_issuer_argument
@change_options
def issuer_readmit(store: str, issuer: str, note: str) -> int:
    """
    Let the next publication add ISSUER again after it was removed.

    Its scopes come back with its CRLs: the last published one or a newer one.
    """
    fingerprint = _fingerprint(issuer)
    with usage():
        generation = readmit_issuer(open_for_change(store), fingerprint, note=note, actor=actor())
    answer(_changed(store, fingerprint, generation))
    say(f"{store}: issuer {issuer} may come back: generation {generation}")
    return 0


@issuer_group.command("anchor", examples=["crlcheck issuer anchor published issuing-ca.pem"])
@click.argument("store", type=STORE)
@_issuer_argument
@_undo_option
@change_options
def issuer_anchor(store: str, issuer: str, undo: bool, note: str) -> int:
    """Make ISSUER a trust anchor: paths end there, and nothing above it is checked."""
    fingerprint = _fingerprint(issuer)
    with usage():
        generation = set_issuer(
            open_for_change(store), fingerprint, is_anchor=not undo, note=note, actor=actor()
        )
    answer({**_changed(store, fingerprint, generation), "is_anchor": not undo})
    what = "is no anchor" if undo else "is an anchor"
    say(f"{store}: issuer {issuer} {what}: generation {generation}")
    return 0


@issuer_group.command("no-crl", examples=["crlcheck issuer no-crl published root.pem"])
@click.argument("store", type=STORE)
@_issuer_argument
@_undo_option
@change_options
def issuer_no_crl(store: str, issuer: str, undo: bool, note: str) -> int:
    """
    Record that ISSUER publishes no CRL, so that its certificates pass without one.

    Every certificate that it issued passes until it is denied by hand.
    """
    fingerprint = _fingerprint(issuer)
    with usage():
        generation = set_issuer(
            open_for_change(store),
            fingerprint,
            publishes_no_crl=not undo,
            note=note,
            actor=actor(),
        )
    answer({**_changed(store, fingerprint, generation), "publishes_no_crl": not undo})
    what = "publishes CRLs" if undo else "publishes no CRL"
    say(f"{store}: issuer {issuer} {what}: generation {generation}")
    return 0


def _changed(store: str, fingerprint: str, generation: int) -> dict[str, Any]:
    return {"store": store, "fingerprint": fingerprint, "generation": generation}


def issuer_lines(catalog: Catalog) -> list[str]:
    """Return a line for each trusted issuer; lines of one name differ in key id or fingerprint."""
    return [
        f"{one.subject} (key id {one.key_id or 'none'}, "
        f"fingerprint {one.record.fingerprint[:_SHOWN]})"
        for one in describe_issuers(catalog)
    ]
