"""Find the warnings of a publication: what an operator should look at in a published CRL."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from datetime import datetime

from crlcheck.catalog.catalog import Catalog, IssuerRecord, ScopeRecord
from crlcheck.catalog.descriptions import count, crl_text
from crlcheck.catalog.issuer_keys import IssuerKeys, TrustedIssuer
from crlcheck.encoding.names import name_key, name_text
from crlcheck.image.diff import Difference
from crlcheck.publisher.comparison import RECENT, later_crl
from crlcheck.times import time_text
from crlcheck.types import CertificateFacts, ImageMetadata, PublishWarning, PublishWarningKind
from crlcheck.x509.certificates import published_certificate


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
        name = f"issuer {fingerprint[:16]}… ({name_text(certificate.subject)})"
        if removed is not None:
            note = f": {removed.note}" if removed.note else ""
            yield PublishWarning(
                PublishWarningKind.REMOVED_ISSUER,
                f"{name} is not trusted: an operator removed it on {time_text(removed.at)}{note}",
                removed.scopes,
            )
            continue
        record = records.get(certificate.der)
        if record is not None and record.self_signed is None:
            yield PublishWarning(
                PublishWarningKind.UNVERIFIED_SELF_SIGNED,
                f"{name}: the algorithm of its signature is not supported, so its names and key "
                "ids tell whether it is self-signed",
            )


def warnings_of_neighbours(
    after: ScopeRecord, catalog: Catalog, given: Sequence[CertificateFacts], now: datetime
) -> Iterator[PublishWarning]:
    """
    Yield a warning for each scope of the same issuer where the newer CRL is expired.

    The newest CRL that covers a certificate decides whether the answer is stale. After a
    key rollover, the last CRL of the old key may be that CRL although it is past its
    nextUpdate. *given* are the issuers of this publication.
    """
    own = later_crl(after)
    name = name_key(own.issuer)
    others = [
        record
        for record in catalog.scopes.values()
        if record.key != after.key and name_key(record.base.metadata.issuer) == name
    ]
    if not others:
        return
    keys = IssuerKeys(_trusted(catalog, given), (), None, trust_verifiers=False)
    for other in others:
        theirs = later_crl(other)
        older, newer = sorted((own, theirs), key=lambda one: one.this_update)
        if older.this_update == newer.this_update or older.is_past(now) or not newer.is_past(now):
            continue
        if not _may_overlap(own, theirs) or not _are_of_one_issuer(own, theirs, keys):
            continue
        stale = after if newer is own else other
        current = other if newer is own else after
        yield PublishWarning(
            PublishWarningKind.NEWER_EXPIRED_CRL,
            f"{crl_text(newer)} (scope {stale.key}) is past its nextUpdate and newer than "
            f"{crl_text(older)} (scope {current.key}): certificates that both cover are "
            f"STALE; where its key is retired, 'crlcheck scope remove' takes {stale.key} out, and "
            "its revocations with it",
            (stale.key, current.key),
        )


def _trusted(catalog: Catalog, given: Sequence[CertificateFacts]) -> Iterator[TrustedIssuer]:
    """
    Yield all trusted certificates, because an issuer of another name may tie two keys.

    Those that are *given* were parsed for this publication already.
    """
    facts = {one.der: one for one in given}
    for issuer in catalog.issuers:
        der = issuer.certificate
        certificate = facts.get(der) or published_certificate(der)
        if certificate is not None:
            yield TrustedIssuer(certificate, issuer.self_signed)


def _may_overlap(one: ImageMetadata, other: ImageMetadata) -> bool:
    """Whether both may cover one certificate, going by their issuingDistributionPoints."""
    points = {one.issuing_distribution_point, other.issuing_distribution_point}
    return len(points) == 1 or None in points


def _are_of_one_issuer(one: ImageMetadata, other: ImageMetadata, keys: IssuerKeys) -> bool:
    if one.verifier_key_hash is None or other.verifier_key_hash is None:
        return False
    if one.verifier_key_hash == other.verifier_key_hash:
        return True
    mine = keys.key(one.issuer, one.verifier_key_hash)
    theirs = keys.key(other.issuer, other.verifier_key_hash)
    return mine is not None and theirs is not None and mine.is_authoritative_for(theirs)
