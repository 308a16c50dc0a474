"""
Put what changed between two generations into members of a history record.

Every writer's change is compared here, so that no writer can forget to say what it did.
Scopes are compared CRL by CRL. For example, a complete CRL 18 replaces CRL 17 and the
delta CRL 18 beside it: one row says ``replaced``, and one says that the delta CRL is
``removed``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

from crlcheck.catalog.catalog import Catalog, Denial, IssuerRecord, PublishedImage, ScopeRecord
from crlcheck.encoding.names import name_text
from crlcheck.encoding.secrets import without_secrets
from crlcheck.times import time_text
from crlcheck.x509.certificates import published_certificate

SOURCES = "sources"
"""The detail of an action that has where CRLs came from, by their digests."""

ADDED, REPLACED, REBUILT, REMOVED, SET = "added", "replaced", "rebuilt", "removed", "set"
"""What a change does to a CRL: ``rebuilt`` is the same CRL in a new image, ``set`` a setting."""


def changed_members(
    before: Catalog, after: Catalog, at: datetime, sources: Mapping[str, str | None]
) -> dict[str, Any]:
    """
    Return what differs between two catalogs, or parts of them, as JSON members.

    *at* is the time of the change: a denial that had ended by then was not lifted. *sources*
    has, by the digest of its TBSCertList, where a CRL came from, if the catalog does not
    keep that. Members without anything in them are left out, and so are private keys and
    passwords in sources and notes.
    """
    gone = _denials_without(before, after)
    members = {
        "scopes": list(_changed_scopes(before, after, sources)),
        "issuers_added": _issuers(_without(after.issuers, before.issuers)),
        "issuers_removed": _issuers(_without(before.issuers, after.issuers)),
        "denials_added": [_denial(one) for one in _denials_without(after, before)],
        "denials_lifted": [_denial(one) for one in gone if one.holds(at)],
        "denials_ended": [_denial(one) for one in gone if not one.holds(at)],
    }
    return {name: rows for name, rows in members.items() if rows}


def _changed_scopes(
    before: Catalog, after: Catalog, sources: Mapping[str, str | None]
) -> Iterator[dict[str, Any]]:
    for key in sorted({*before.scopes, *after.scopes}):
        old, new = before.scopes.get(key), after.scopes.get(key)
        if old == new:
            continue
        rows = [
            row
            for was, now in ((_base(old), _base(new)), (_delta(old), _delta(new)))
            if (row := _changed_crl(was, now, new, sources)) is not None
        ]
        yield from ({"scope": key, **row} for row in rows)
        if not rows:
            assert new is not None, "a scope that is gone had a CRL"
            yield {"scope": key, "change": SET, **_crl(new.base)}


def _base(record: ScopeRecord | None) -> PublishedImage | None:
    return None if record is None else record.base


def _delta(record: ScopeRecord | None) -> PublishedImage | None:
    return None if record is None else record.delta


def _changed_crl(
    old: PublishedImage | None,
    new: PublishedImage | None,
    record: ScopeRecord | None,
    sources: Mapping[str, str | None],
) -> dict[str, Any] | None:
    """Return the row of one CRL of a scope, None where it stayed."""
    if new is None:
        return None if old is None else {"change": REMOVED, **_crl(old)}
    if old is not None and old.name == new.name:
        return None
    digest = new.metadata.tbs_digest
    source = None if record is None or new.metadata.is_delta else record.source
    source = sources.get(digest, source)
    row = {"source": None if source is None else without_secrets(source), **_crl(new)}
    if old is None:
        return {"change": ADDED, **row}
    change = REBUILT if old.metadata.tbs_digest == digest else REPLACED
    return {"change": change, "num_entries_before": old.metadata.num_entries, **row}


def _crl(image: PublishedImage) -> dict[str, Any]:
    metadata = image.metadata
    return {
        "issuer": name_text(metadata.issuer),
        "crl_number": metadata.crl_number,
        "base_crl_number": metadata.base_crl_number,
        "this_update": time_text(metadata.this_update),
        "next_update": time_text(metadata.next_update),
        "num_entries": metadata.num_entries,
        "tbs_digest": metadata.tbs_digest,
        "digest": image.digest,
    }


def _without(issuers: Iterable[IssuerRecord], others: Iterable[IssuerRecord]) -> list[IssuerRecord]:
    known = {one.certificate for one in others}
    return [one for one in issuers if one.certificate not in known]


def _issuers(issuers: Iterable[IssuerRecord]) -> list[dict[str, Any]]:
    found = []
    for one in issuers:
        certificate = published_certificate(one.certificate)
        subject = None if certificate is None else name_text(certificate.subject)
        found.append({"fingerprint": one.fingerprint, "subject": subject})
    return found


def _denials_without(catalog: Catalog, other: Catalog) -> list[Denial]:
    """Return the denials of *catalog* for certificates that *other* does not deny alike."""
    known = {one.key: one for one in other.denied}
    return [one for one in catalog.denied if known.get(one.key) != one]


def _denial(one: Denial) -> dict[str, Any]:
    return {
        "issuer": name_text(one.issuer),
        "serial_number": f"{one.serial_number:x}",
        "until": time_text(one.until),
        "note": without_secrets(one.note),
    }
