"""
Publish CRLs: verify and compile each, publish its image, and report what changed.

The steps of one publication are listed in ``publication``.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Unpack

from crlcheck.compiler.compile import CompiledImage, CompileOptions, CrlSource, compile_to_temporary
from crlcheck.compiler.pipeline import DEFAULT_MAX_SOURCE_SIZE
from crlcheck.compiler.source import CHUNK_SIZE, DEFAULT_MAX_CRLS, BinaryReader, split_crls
from crlcheck.errors import CrlError
from crlcheck.image.diff import Difference
from crlcheck.publisher.comparison import difference
from crlcheck.publisher.publication import Publication, PublishRules, check_publishable
from crlcheck.publisher.rejections import clear_rejection, record_rejection
from crlcheck.publisher.warnings import (
    warnings_of,
    warnings_of_issuers,
    warnings_of_neighbours,
)
from crlcheck.stores import ObjectStore, open_store
from crlcheck.times import Moment, given_time
from crlcheck.types import CertificateFacts, PublishReport
from crlcheck.x509.certificates import CertificateSource, load_certificates

DEFAULT_COMPARE_UP_TO = 1_000_000
"""
Entries of the largest complete CRL that is compared with the one before it.

To compare a million entries takes 0.3 s, about as long as to compile them, and the image
before has to be read.
"""

DEFAULT_GRACE = timedelta(hours=1)
"""The time for which a superseded image stays, for readers that still use its catalog."""

_log = logging.getLogger(__name__)


class PublishOptions(CompileOptions, total=False):
    """The options of ``publish_crl`` that hold for every CRL of a file."""

    now: datetime | None
    clock_skew: timedelta
    issuers_from: str | None
    allow_shrink: bool
    rebuild: bool
    grace: timedelta
    compare_up_to: int


def publish_each(
    source: BinaryReader,
    store: str | os.PathLike[str] | ObjectStore,
    *,
    issuer: CertificateSource | Iterable[CertificateSource],
    source_name: str | None = None,
    max_crls: int = DEFAULT_MAX_CRLS,
    **options: Unpack[PublishOptions],
) -> Iterator[tuple[str, PublishReport | CrlError]]:
    """
    Publish each CRL of a file, one of DER or as many as a PEM file has.

    Yield the name of each CRL with its report, or with the error that refused it. A
    refused CRL keeps no other from being published. The first CRL has the name
    *source_name*, the second has ``#2`` after it, and so on. Each CRL is read and
    published when the iterator is asked for it.

    Args:
        source: a binary file.
        max_crls: how many CRLs it may have, 0 for any; see ``split_crls``.
        store, issuer, source_name, options: as for ``publish_crl``. *max_source_size*
            limits the whole file.

    Raises:
        CertificateError: *issuer* holds something that is not a certificate.
        StoreError: as for ``publish_crl``; the CRLs before are published.
        OSError: from reading.
    """
    target = open_store(store)
    issuers = load_certificates(issuer)
    max_size = options.get("max_source_size", DEFAULT_MAX_SOURCE_SIZE)
    for number, crl in enumerate(split_crls(source, max_size=max_size, max_crls=max_crls), 1):
        suffix = "" if number == 1 else f"#{number}"
        name = None if source_name is None else f"{source_name}{suffix}"
        result: PublishReport | CrlError
        try:
            result = publish_crl(crl, target, issuer=issuers, source_name=name, **options)
        except CrlError as error:
            result = error
        yield name or suffix, result


def publish_crl(
    source: CrlSource,
    store: str | os.PathLike[str] | ObjectStore,
    *,
    issuer: CertificateSource | Iterable[CertificateSource],
    now: datetime | None = None,
    clock_skew: timedelta = timedelta(minutes=5),
    source_name: str | None = None,
    issuers_from: str | None = None,
    allow_shrink: bool = False,
    rebuild: bool = False,
    grace: timedelta = DEFAULT_GRACE,
    compare_up_to: int = DEFAULT_COMPARE_UP_TO,
    **options: Unpack[CompileOptions],
) -> PublishReport:
    """
    Verify a CRL, compile it and make its image the published one of its scope.

    Args:
        source: as for ``compile_crl``, whose *options* are taken too.
        store: a store, or its directory or ``s3://`` URL.
        issuer: trusted issuer certificates, one of which signed the CRL. All
            of them become known to the checkers of this store.
        now: the time, UTC; by default the clock's.
        clock_skew: how far in the future thisUpdate may lie.
        source_name: a name for the place that the CRL came from, kept in the catalog. A
            refused CRL leaves a status object of this name in the store, until a
            CRL of the same name is published.
        issuers_from: a name for the place that the issuer certificates came from, kept in
            the catalog for those that are new to it; by default *source_name*.
        allow_shrink: publish although most entries of the published CRL are gone.
        rebuild: where this CRL is published already, write its image again if the
            image is missing or damaged, or if this version writes another one.
        grace: the time for which superseded images stay. It must be longer than readers
            use a catalog before they ask for a newer one.
        compare_up_to: count the new and the lifted revocations where neither CRL has
            more entries than this. That reads the previous image. 0 never counts.

    A delta CRL (RFC 5280 5.2.4) is published beside the complete CRL of its scope. The
    complete CRL's number must not be below the delta's BaseCRLNumber. If it is not below
    the delta's own number, the delta adds nothing and is not published. A newer
    complete CRL removes the delta CRL whose number it has reached.

    A CRL that is published already changes only the trusted issuers. A newer CRL that is
    past its nextUpdate is published if it revokes anything that the published one
    does not, or if the published one is past its own nextUpdate. The report's
    ``warnings`` say so, and are logged.

    Whatever is raised, the store has one whole published set. It is the one before, or
    perhaps the one after where the store failed at the last step.

    Raises:
        CrlError: the CRL is refused; as for ``compile_crl``, and
            UnsupportedCrlError for a delta CRL without a CRL number,
            CrlBaseMissingError for one whose complete CRL is not published, which
            may be tried again later,
            CrlNotYetValidError for a thisUpdate in the future,
            CrlRollbackError unless it is newer than the published one, or the
            one that was when an operator removed the scope,
            CrlShrinkError where most entries are gone and *allow_shrink* is not set,
            CrlExpiredError for one that is past its nextUpdate and would replace a
            current one that revokes no less. Where only issuers sign it that an
            operator removed, CrlSignatureError has the reason ``"removed_issuer"``.
        CertificateError: *issuer* holds something that is not a certificate.
        StoreUnavailableError: the store does not answer, or too many other
            publications came first; the CRL may be published again.
        StoreError: the catalog cannot be read.
    """
    target = open_store(store)
    moment = given_time(now)
    issuers = load_certificates(issuer)
    begun, started = Moment.now(lambda: moment), time.monotonic()

    def clock() -> datetime:
        return moment + timedelta(seconds=begun.age_by_machine())

    rules = PublishRules(
        clock=clock,
        issuers=issuers,
        issuers_from=(source_name or "") if issuers_from is None else issuers_from,
        source_name=source_name,
        allow_shrink=allow_shrink,
        rebuild=rebuild,
        grace=grace,
        compare_up_to=compare_up_to,
    )
    try:
        with _compile(source, issuers, options) as compiled:
            publication = Publication(target, compiled, rules)
            publication.seconds["compile"] = time.monotonic() - started
            check_publishable(compiled.metadata, moment, clock_skew)
            report = publication.run()
            report = _with_changes(report, publication, compiled, rules)
    except CrlError as error:
        if source_name is not None:
            record_rejection(target, source_name, error, moment)
        raise
    if source_name is not None:
        clear_rejection(target, source_name)
    for warning in report.warnings:
        _log.warning("%s: %s", target.url, warning)
    return report


def _compile(
    source: CrlSource, issuers: tuple[CertificateFacts, ...], options: CompileOptions
) -> CompiledImage:
    """
    Compile a CRL; where it is refused, read its source to the end (step 1).

    A source finds only at its end that its download was damaged. The compiler may have
    refused the damaged bytes before. Reading on raises the source's own error instead.
    """
    try:
        return compile_to_temporary(source, issuer=issuers, **options)
    except CrlError as error:
        is_bounded = getattr(error, "feature", None) in ("source_too_large", "too_many_crls")
        if isinstance(source, BinaryReader) and not is_bounded:
            rest = options.get("max_source_size") or DEFAULT_MAX_SOURCE_SIZE
            while rest > 0 and (chunk := source.read(CHUNK_SIZE)):
                rest -= len(chunk)
        raise


def _with_changes(
    report: PublishReport, publication: Publication, compiled: CompiledImage, rules: PublishRules
) -> PublishReport:
    """Add the counts of changed revocations and the warnings to a report (step 4)."""
    before, after, catalog = publication.before, publication.after, publication.catalog
    now = rules.clock()
    found: Difference | None = None
    if report.published and before is None:
        report = replace(
            report,
            num_newly_revoked=compiled.metadata.num_entries,
            num_lifted=0,
            num_lifted_recently=0,
        )
    elif report.published and before is not None:
        started = time.monotonic()
        found = difference(
            publication.store, compiled, before, after, now=now, limit=rules.compare_up_to
        )
        publication.seconds["compare"] = time.monotonic() - started
    if found is not None:
        report = replace(
            report,
            num_newly_revoked=found.num_newly_revoked,
            num_lifted=found.num_lifted,
            num_lifted_recently=found.num_lifted_recently,
        )
    warnings = (
        *warnings_of(compiled.metadata, before, after, found, now=now),
        *warnings_of_neighbours(after, catalog, rules.issuers, now),
        *warnings_of_issuers(rules.issuers, publication.added_issuers, catalog),
    )
    return replace(report, warnings=warnings, seconds=publication.seconds)
