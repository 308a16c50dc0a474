"""Find the warnings of a publication: what an operator should look at in a published CRL."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from datetime import datetime

from crlcheck.catalog.catalog import Catalog, IssuerRecord, ScopeRecord
from crlcheck.catalog.descriptions import count, crl_text
from crlcheck.catalog.neighbours import (
    Neighbourhood,
    makes_stale,
    replaced_text,
    replaces,
)
from crlcheck.encoding.names import name_text
from crlcheck.image.diff import Difference
from crlcheck.publisher.comparison import RECENT, later_crl
from crlcheck.times import time_text
from crlcheck.types import CertificateFacts, ImageMetadata, PublishWarning, PublishWarningKind


def warnings_of(
    offered: ImageMetadata,
    before: ScopeRecord | None,
    after: ScopeRecord,
    difference: Difference | None,
    *,
    now: datetime,
) -> Iterator[PublishWarning]:
    """Yield the warnings about a CRL and about what it changed in its own scope."""
    if offered.is_past(now):
        stale = later_crl(after).is_past(now)
        effect = ": certificates that it does not list are STALE" if stale else ""
        yield PublishWarning(
            PublishWarningKind.EXPIRED,
            f"{crl_text(offered)} is past its nextUpdate {time_text(offered.next_update)}{effect}",
        )
    if before is None or before is after:
        return
    if before.base != after.base:
        had, has = before.base.metadata.num_entries, after.base.metadata.num_entries
        if 2 * (had - has) > had:
            yield PublishWarning(
                PublishWarningKind.MOSTLY_LIFTED,
                f"{crl_text(offered)} has {count(has, 'entry', 'entries')}, "
                f"{crl_text(before.base.metadata)} before it had {had:,}: "
                "ask its CA whether that is meant",
            )
    if difference is not None and difference.num_lifted_recently:
        yield PublishWarning(
            PublishWarningKind.RECENTLY_LIFTED,
            f"{crl_text(offered)} lifts {_lifted(difference)}: ask its CA whether that is meant",
        )
    if difference is not None and _alternates(difference, after):
        yield PublishWarning(
            PublishWarningKind.ALTERNATING_SIGNERS,
            f"{crl_text(offered)} lists {count(difference.num_late, 'revocation')} made "
            f"before {crl_text(later_crl(before))} that it did not list, and lacks "
            f"{difference.num_lifted:,} that it did: several signers, or sources, seem to take "
            f"turns in scope {after.key}",
        )


def _lifted(difference: Difference) -> str:
    lifted, recently = difference.num_lifted, difference.num_lifted_recently
    which = "" if lifted == 1 else f"{recently:,} of "
    was, holds = ("was", "no hold") if recently == 1 else ("were", "no holds")
    return (
        f"{count(lifted, 'revocation')}, {which}which {was} made in the last "
        f"{RECENT.days} days and {was} {holds}"
    )


def _alternates(difference: Difference, after: ScopeRecord) -> bool:
    """
    Whether this CRL and the one before seem to come from two signers that take turns.

    A CA may add an entry late by mistake, and it drops old entries. Both at once are
    suspicious where recent entries are dropped, or where most of the new entries are
    late. Either alone is suspicious where the sources of the last CRLs alternate.
    """
    if difference.num_late and difference.num_lifted_recently:
        return True
    mostly_late = 2 * difference.num_late >= difference.num_newly_revoked
    if mostly_late and min(difference.num_late, difference.num_lifted) > 1:
        return True
    changed = difference.num_late or difference.num_lifted_recently
    sources = (*after.earlier_sources, after.source)
    return bool(changed) and len(sources) == 3 and sources[0] == sources[2] != sources[1]


def warnings_of_issuers(
    given: Sequence[CertificateFacts], added: Collection[bytes], catalog: Catalog
) -> Iterator[PublishWarning]:
    """
    Yield a warning for each given issuer that is not trusted because it was removed.

    Of the issuers whose certificates are *added*, also yield those of which it could not
    be verified whether they are self-signed.
    """
    records = {one.certificate: one for one in catalog.issuers if one.certificate in added}
    for certificate in {one.der: one for one in given}.values():
        fingerprint = IssuerRecord(certificate.der).fingerprint
        removed = catalog.removed_issuers.get(fingerprint)
        record = records.get(certificate.der)
        if removed is None and (record is None or record.self_signed is not None):
            continue
        name = f"issuer {fingerprint[:16]}… ({name_text(certificate.subject)})"
        if removed is not None:
            note = f": {removed.note}" if removed.note else ""
            yield PublishWarning(
                PublishWarningKind.REMOVED_ISSUER,
                f"{name} is not trusted: an operator removed it on {time_text(removed.at)}{note}",
                removed.scopes,
            )
        else:
            yield PublishWarning(
                PublishWarningKind.UNVERIFIED_SELF_SIGNED,
                f"{name}: the algorithm of its signature is not supported, so its names and key "
                "ids tell whether it is self-signed",
            )


def warnings_of_neighbours(
    after: ScopeRecord, neighbourhood: Neighbourhood, now: datetime
) -> Iterator[PublishWarning]:
    """
    Yield a warning for each scope of the same issuer beside which an expired CRL stands.

    After a key rollover the last CRL of the old key may make the certificates stale that
    the new key's CRL covers, or it may be replaced by that one.
    """
    for other in neighbourhood.beside(after):
        keys = neighbourhood.keys
        for old, new in ((after, other), (other, after)):
            older, newer = later_crl(old), later_crl(new)
            if makes_stale(newer, older, keys, now):
                yield PublishWarning(
                    PublishWarningKind.NEWER_EXPIRED_CRL,
                    f"{crl_text(newer)} (scope {new.key}) is past its nextUpdate and newer than "
                    f"{crl_text(older)} (scope {old.key}): certificates that both cover are "
                    f"STALE; where its key is retired, 'crlcheck scope remove' takes {new.key} "
                    "out, and its revocations with it",
                    (new.key, old.key),
                )
            elif older.is_past(now) and replaces(newer, older, keys, now):
                yield PublishWarning(
                    PublishWarningKind.EXPIRED_REPLACED,
                    f"{crl_text(older)} (scope {old.key}) "
                    + replaced_text(f"{crl_text(newer)} (scope {new.key})"),
                    (old.key, new.key),
                )
