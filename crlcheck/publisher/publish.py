"""
Publish one CRL: verify and compile it, publish its image, and report what changed.

The steps of one publication are listed in ``publication``.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Unpack

from crlcheck.catalog.history import Action
from crlcheck.catalog.signing_store import signing
from crlcheck.compiler.compile import CompileOptions, CrlSource
from crlcheck.errors import CrlError
from crlcheck.publisher.compiling import compile_source
from crlcheck.publisher.publication import Publication
from crlcheck.publisher.rejections import clear_rejection, record_rejections
from crlcheck.publisher.rules import Offer, PublishRules, check_publishable
from crlcheck.signing.root_signer import SignWith
from crlcheck.stores import ObjectStore, open_for_writing
from crlcheck.times import clock_from, given_time
from crlcheck.types import PublishReport
from crlcheck.x509.certificates import CertificateSource, load_certificates
from crlcheck.x509.signers import Signers

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
    target, trusted = signing(open_for_writing(store), sign_with), load_certificates(issuer)
    moment = given_time(now)
    rules = PublishRules(
        clock=clock_from(moment),
        issuers=trusted,
        issuers_from=(source_name or "") if issuers_from is None else issuers_from,
        grace=max(grace, keep),
        compare_up_to=compare_up_to,
        note=note,
        actor=actor,
    )
    Action.of("publish", note=note, actor=actor)  # refuses them before the CRL is read
    try:
        started = time.monotonic()
        with compile_source(source, Signers(trusted), **options) as compiled:
            check_publishable(compiled.metadata, moment, clock_skew)
            offer = Offer(compiled, source_name, allow_shrink, rebuild)
            offer.seconds["compile"] = time.monotonic() - started
            Publication(target, [offer], rules).run()
        report = report_of(offer)
    except CrlError as error:
        if source_name is not None:
            record_rejections(target, {source_name: error}, moment, actor=actor)
        raise
    if source_name is not None:
        clear_rejection(target, source_name)
    log_warnings(target, [report])
    return report


def report_of(offer: Offer) -> PublishReport:
    """Return the report of a CRL after its publication; raise the error that refused it."""
    result = offer.result
    assert result is not None, "a publication that ends has a result for each CRL"
    if isinstance(result, Exception):
        raise result
    return result


def log_warnings(store: ObjectStore, reports: Iterable[PublishReport]) -> None:
    """Log each warning of some reports once."""
    for warning in dict.fromkeys(str(one) for report in reports for one in report.warnings):
        _log.warning("%s: %s", store.url, warning)
