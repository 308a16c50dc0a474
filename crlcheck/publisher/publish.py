"""
Publish CRLs: verify and compile each, publish its image, and report what changed.

The steps of one publication are listed in ``publication``.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Unpack

from crlcheck.catalog.history import Action
from crlcheck.catalog.signing_store import signing
from crlcheck.compiler.compile import CompiledImage, CompileOptions, CrlSource, compile_to_temporary
from crlcheck.compiler.pipeline import DEFAULT_MAX_SOURCE_SIZE
from crlcheck.compiler.source import CHUNK_SIZE, DEFAULT_MAX_CRLS, BinaryReader, split_crls
from crlcheck.encoding.content import GzipReader, is_gzip
from crlcheck.errors import CrlBaseMissingError, CrlError
from crlcheck.image.diff import Difference
from crlcheck.publisher.comparison import difference
from crlcheck.publisher.publication import Publication, PublishRules, check_publishable
from crlcheck.publisher.rejections import clear_rejection, record_rejection
from crlcheck.publisher.warnings import (
    warnings_of,
    warnings_of_issuers,
    warnings_of_neighbours,
)
from crlcheck.signing.root_signer import SignWith
from crlcheck.stores import ObjectStore, open_for_writing
from crlcheck.times import Moment, given_time
from crlcheck.types import CertificateFacts, PublishReport
from crlcheck.x509.certificates import CertificateSource, load_certificates

DEFAULT_COMPARE_UP_TO = 1_000_000
"""
Entries of the largest complete CRL that is compared with the one before it.

To compare a million entries takes 0.3 s, about as long as to compile them, and the image
before has to be read.
"""

DEFAULT_CLOCK_SKEW = timedelta(minutes=5)
"""How far in the future thisUpdate may lie."""

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
    keep: timedelta
    compare_up_to: int
    note: str
    actor: str
    sign_with: SignWith


def publish_each(
    source: BinaryReader,
    store: str | os.PathLike[str] | ObjectStore,
    *,
    issuer: CertificateSource | Iterable[CertificateSource],
    source_name: str | None = None,
    max_crls: int = DEFAULT_MAX_CRLS,
    content_encoding: str = "",
    **options: Unpack[PublishOptions],
) -> Iterator[tuple[str, PublishReport | CrlError]]:
    """
    Publish each CRL of a file, one of DER or as many as a PEM file has.

    Yield the name of each CRL with its report, or with the error that refused it. A
    refused CRL keeps no other from being published. The first CRL has the name
    *source_name*, the second has ``#2`` after it, and so on. Each CRL is read and
    published when the iterator is asked for it. A delta CRL whose complete CRL is not
    published is tried again after the others, so that they may come in any order.

    Args:
        source: a binary file.
        max_crls: how many CRLs it may have, 0 for any; see ``split_crls``.
        content_encoding: the Content-Encoding with which HTTP or S3 delivered the file;
            gzip is decoded.
        store, issuer, source_name, options: as for ``publish_crl``. *max_source_size*
            limits the whole file, packed and unpacked.

    Raises:
        CertificateError: *issuer* holds something that is not a certificate.
        StoreError: as for ``publish_crl``; the CRLs before are published.
        OSError: from reading.
    """
    waiting: list[WaitingDelta] = []
    try:
        for name, result in publish_or_hold(
            source,
            store,
            issuer=issuer,
            source_name=source_name,
            max_crls=max_crls,
            content_encoding=content_encoding,
            **options,
        ):
            if isinstance(result, WaitingDelta):
                waiting.append(result)
            else:
                yield name, result
        yield from publish_waiting(waiting)
    finally:
        for delta in waiting:
            delta.close()


def publish_or_hold(
    source: BinaryReader,
    store: str | os.PathLike[str] | ObjectStore,
    *,
    issuer: CertificateSource | Iterable[CertificateSource],
    source_name: str | None = None,
    max_crls: int = DEFAULT_MAX_CRLS,
    content_encoding: str = "",
    **options: Unpack[PublishOptions],
) -> Iterator[tuple[str, PublishReport | CrlError | WaitingDelta]]:
    """
    As ``publish_each``, but yield a delta CRL whose complete CRL is not published.

    Who gets it publishes it by ``publish_waiting`` or closes it.
    """
    target = signing(open_for_writing(store), options.pop("sign_with", None))
    issuers = load_certificates(issuer)
    max_size = options.get("max_source_size", DEFAULT_MAX_SOURCE_SIZE)
    if is_gzip(content_encoding):
        source = GzipReader(source, max_size=max_size)
    for number, crl in enumerate(split_crls(source, max_size=max_size, max_crls=max_crls), 1):
        suffix = "" if number == 1 else f"#{number}"
        name = None if source_name is None else f"{source_name}{suffix}"
        result: PublishReport | CrlError | WaitingDelta
        attempt = None
        try:
            attempt = _Attempt(crl, target, issuer=issuers, source_name=name, **options)
            result = attempt.run()
        except CrlBaseMissingError as error:
            assert attempt is not None, "the compiler knows of no other CRL"
            result, attempt = WaitingDelta(name or suffix, attempt, error), None
        except CrlError as error:
            result = error
        finally:
            if attempt is not None:
                attempt.close()
        yield name or suffix, result


class WaitingDelta:
    """A delta CRL that is verified and compiled, and waits for its complete CRL."""

    def __init__(self, name: str, attempt: _Attempt, error: CrlBaseMissingError) -> None:
        self.name = name
        self.error = error
        self._attempt = attempt

    @property
    def crl_number(self) -> int:
        """The delta's own number."""
        return self._attempt.compiled.metadata.crl_number or 0

    def publish(self) -> PublishReport | CrlError:
        """Publish it, and close it; return the error that refuses it."""
        try:
            return self._attempt.run(is_last=True)
        except CrlError as error:
            return error
        finally:
            self.close()

    def close(self) -> None:
        """Remove its image. It may be closed already."""
        self._attempt.close()


def publish_waiting(
    waiting: Iterable[WaitingDelta],
) -> Iterator[tuple[str, PublishReport | CrlError]]:
    """Publish delta CRLs whose complete CRL may have come, the lowest number first."""
    for delta in sorted(waiting, key=lambda one: one.crl_number):
        yield delta.name, delta.publish()


def publish_crl(
    source: CrlSource,
    store: str | os.PathLike[str] | ObjectStore,
    *,
    issuer: CertificateSource | Iterable[CertificateSource],
    now: datetime | None = None,
    clock_skew: timedelta = DEFAULT_CLOCK_SKEW,
    source_name: str | None = None,
    issuers_from: str | None = None,
    allow_shrink: bool = False,
    rebuild: bool = False,
    grace: timedelta = DEFAULT_GRACE,
    keep: timedelta = timedelta(0),
    compare_up_to: int = DEFAULT_COMPARE_UP_TO,
    note: str = "",
    actor: str = "",
    sign_with: SignWith = None,
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
        keep: as *grace*, for those who want to restore and compare; the longest counts, of
            these and of what the store remembers (``clean_up``).
        compare_up_to: count the new and the lifted revocations where neither CRL has
            more entries than this. That reads the previous image. 0 never counts.
        note: why, for whoever reads the history.
        actor: who does it, for the history; at most 200 characters.
        sign_with: what signs the root of the store: a RootSigner, or a key as for
            ``load_signing_key``, whose signature holds for a week. A root that is there
            must be signed by it already (see ``sign_root``). Other functions that change a
            store are given a SigningStore.

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
            CrlOrderUnknownError for one of the same thisUpdate as a published one
            without CRL number, unless it revokes all that that one does; another CRL
            of the CA may tell,
            CrlShrinkError where most entries are gone and *allow_shrink* is not set,
            CrlExpiredError for one that is past its nextUpdate and would replace a
            current one that revokes no less. Where only issuers sign it that an
            operator removed, CrlSignatureError has the reason ``"removed_issuer"``.
        CertificateError: *issuer* holds something that is not a certificate.
        StoreUnavailableError: the store does not answer, or too many other
            publications came first; the CRL may be published again.
        RootSignatureError: the root is signed and *sign_with* is missing, or is not signed
            by its key, or somebody put an old root back.
        SigningKeyError: the key does not sign.
        StoreError: the catalog cannot be read.
        ValueError: *note* or *actor* is too long.
    """
    attempt = _Attempt(
        source,
        open_for_writing(store),
        issuer=load_certificates(issuer),
        now=now,
        clock_skew=clock_skew,
        source_name=source_name,
        issuers_from=issuers_from,
        allow_shrink=allow_shrink,
        rebuild=rebuild,
        grace=grace,
        keep=keep,
        compare_up_to=compare_up_to,
        note=note,
        actor=actor,
        sign_with=sign_with,
        **options,
    )
    try:
        return attempt.run(is_last=True)
    finally:
        attempt.close()


class _Attempt:
    """
    A CRL that is verified and compiled, and can be published more than once.

    Raises:
        CrlError: the compiler refuses the CRL; it is recorded.
    """

    def __init__(
        self,
        source: CrlSource,
        store: ObjectStore,
        *,
        issuer: tuple[CertificateFacts, ...],
        now: datetime | None = None,
        clock_skew: timedelta = DEFAULT_CLOCK_SKEW,
        source_name: str | None = None,
        issuers_from: str | None = None,
        allow_shrink: bool = False,
        rebuild: bool = False,
        grace: timedelta = DEFAULT_GRACE,
        keep: timedelta = timedelta(0),
        compare_up_to: int = DEFAULT_COMPARE_UP_TO,
        note: str = "",
        actor: str = "",
        sign_with: SignWith = None,
        **options: Unpack[CompileOptions],
    ) -> None:
        self._store = store = signing(store, sign_with)
        self._moment = moment = given_time(now)
        self._clock_skew = clock_skew
        begun, started = Moment.now(lambda: moment), time.monotonic()

        def clock() -> datetime:
            return moment + timedelta(seconds=begun.age_by_machine())

        self._rules = PublishRules(
            clock=clock,
            issuers=issuer,
            issuers_from=(source_name or "") if issuers_from is None else issuers_from,
            source_name=source_name,
            allow_shrink=allow_shrink,
            rebuild=rebuild,
            grace=max(grace, keep),
            compare_up_to=compare_up_to,
            note=note,
            actor=actor,
        )
        Action.of("publish", note=note, actor=actor)  # refuses them before the CRL is read
        with self._recording(is_last=True):
            self.compiled = _compile(source, issuer, options)
        self._compile_seconds = time.monotonic() - started

    def run(self, *, is_last: bool = False) -> PublishReport:
        """
        Publish the CRL.

        Unless this *is_last*, a delta CRL without its complete CRL is not recorded as refused.

        Raises: as ``publish_crl``.
        """
        rules = self._rules
        with self._recording(is_last=is_last):
            publication = Publication(self._store, self.compiled, rules)
            publication.seconds["compile"] = self._compile_seconds
            check_publishable(self.compiled.metadata, self._moment, self._clock_skew)
            report = publication.run()
            report = _with_changes(report, publication, self.compiled, rules)
        if rules.source_name is not None:
            clear_rejection(self._store, rules.source_name)
        for warning in report.warnings:
            _log.warning("%s: %s", self._store.url, warning)
        return report

    def close(self) -> None:
        """Remove the image."""
        self.compiled.path.unlink(missing_ok=True)

    @contextmanager
    def _recording(self, *, is_last: bool) -> Iterator[None]:
        """Record why the CRL is refused."""
        try:
            yield
        except CrlError as error:
            name = self._rules.source_name
            if name is not None and (is_last or not isinstance(error, CrlBaseMissingError)):
                record_rejection(self._store, name, error, self._moment)
            raise


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
