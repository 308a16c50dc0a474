"""
Define the preprocessor's entry point, ``preprocessor.handler.handler``.

It verifies, compiles and publishes every CRL that an event names. Settings are read
when the module is imported, so that a bad setting stops the deployment.
"""

from __future__ import annotations

import contextlib
import functools
import json
import logging
import os
import time
from collections.abc import Iterable, Iterator
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from crlcheck import (
    CrlBaseMissingError,
    CrlCheckError,
    CrlError,
    CrlOrderUnknownError,
    CrlSignatureError,
    FetchLimits,
    ObjectStore,
    PublishReport,
    RootSigner,
    S3Store,
    SigningStore,
    clean_up,
    fetch_each,
    open_store,
    publish_each,
    sign_root,
    withdraw_issuers,
)
from crlcheck.settings import S3Location, is_s3_url, read_settings
from preprocessor import outcomes
from preprocessor.answers import answer
from preprocessor.events import MalformedEventError, ObjectEvent, Request, Task, parse_event
from preprocessor.issuers import TrustedIssuers
from preprocessor.outcomes import Outcome
from preprocessor.settings import Settings
from preprocessor.store_status import record_status

if TYPE_CHECKING:
    from mypy_boto3_acm_pca import ACMPCAClient
    from mypy_boto3_s3 import S3Client

# AWS Private CA writes these to try its access; they hold no CRL.
_PRIVATE_CA_TEST_KEYS = ("acm-pca-permission-test-key", "acm-pca-permission-test-key-private")
_AUDIT_REPORTS = "audit-report"

# The complete CRL of a delta CRL may still come, as they arrive in any order, and so may a CRL
# that is newer than both of one second.
_MAY_PASS = (CrlBaseMissingError, CrlOrderUnknownError)

# For one attempt: a body that stalls fails, and a temporary failure is tried again.
_CONNECT_SECONDS, _READ_SECONDS = 3, 20


def _s3_client() -> S3Client:
    import boto3
    from botocore.config import Config

    return boto3.client(
        "s3",
        config=Config(
            connect_timeout=_CONNECT_SECONDS,
            read_timeout=_READ_SECONDS,
            retries={"mode": "standard", "total_max_attempts": 4},
            user_agent_extra="crlcheck-preprocessor",
        ),
    )


def _private_ca_client(region: str) -> ACMPCAClient:
    import boto3

    return boto3.client("acm-pca", region_name=region)


def _open(url: str) -> ObjectStore:
    return S3Store(url, client=S3) if is_s3_url(url) else open_store(url)


LOG = logging.getLogger("preprocessor")
SETTINGS = read_settings(Settings, os.environ)
LOG.setLevel(SETTINGS.log_level.name)
S3 = _s3_client()
STORE = _open(SETTINGS.store)
ISSUERS = TrustedIssuers(
    bundle=SETTINGS.issuers if SETTINGS.issuers and not is_s3_url(SETTINGS.issuers) else None,
    prefix=_open(SETTINGS.issuers) if SETTINGS.issuers and is_s3_url(SETTINGS.issuers) else None,
    private_cas=SETTINGS.private_cas,
    log=LOG,
    private_ca_client=_private_ca_client,
)

_ACTOR: ContextVar[str] = ContextVar("actor", default="lambda")
# A function's name has at most 140 characters, with its version and its account.
_MAX_ACTOR = 200


def _actor_of(context: object) -> str:
    """Return what the history says of who publishes: this function, and its request."""
    given = (getattr(context, name, None) for name in ("function_name", "aws_request_id"))
    return " ".join(["lambda", *(one for one in given if isinstance(one, str))])[:_MAX_ACTOR]


def handler(event: object, context: object) -> dict[str, Any]:
    """
    Publish every CRL that an event names.

    Each object is processed, even if others fail. Its outcome is logged and, unless it
    came from a queue or an S3 batch operation, returned: ``published``, ``unchanged``,
    ``ignored``, ``missing`` (deleted since) or ``refused`` (the CRL is faulty, so no retry
    helps). What failed, or cannot be read, is never acknowledged: for a queue the answer
    names its messages, for an S3 batch operation the result of each task.

    Raises:
        ExceptionGroup: objects ``failed`` for temporary reasons, such as an unavailable
            store or a delta CRL that came before its complete CRL. When Lambda tries
            again, CRLs that were published by then are ``unchanged``. Or a record cannot
            be read, and is left to the on-failure destination.
        MalformedEventError: the event cannot be read at all.
    """
    _ACTOR.set(_actor_of(context))
    request = parse_event(event)
    if request.sign:
        return _sign()
    if request.clean_up:
        num_deleted, num_waiting = clean_up(
            _target(), grace=SETTINGS.grace, keep=SETTINGS.keep, actor=_ACTOR.get()
        )
        return {"num_deleted": num_deleted, "num_waiting": num_waiting}
    if request.status:
        return record_status(STORE, SETTINGS, LOG)
    done: list[tuple[Task | None, Outcome]] = []
    for task, outcome in _outcomes(request):
        outcomes.record(outcome, LOG, SETTINGS)
        done.append((task, outcome))
    if not any(outcome.outcome == "failed" for _, outcome in done):
        _withdraw_issuers()
    return answer(request, done)


@functools.cache
def _signer() -> RootSigner | None:
    """Return what signs the root, None without a key. A key in KMS is asked for here."""
    if not SETTINGS.sign_with:
        return None
    return RootSigner(*SETTINGS.sign_with, expiry=SETTINGS.root_expiry)


@functools.cache
def _target() -> ObjectStore:
    """Return the store to change, whose root is signed where a key is set."""
    signer = _signer()
    return STORE if signer is None else SigningStore(STORE, signer)


def _sign() -> dict[str, Any]:
    """
    Sign the root again; return which generation, and until when.

    Raises:
        MalformedEventError: no key is set.
    """
    signer = _signer()
    if signer is None:
        raise MalformedEventError("the event is sign, and CRLCHECK_SIGN_WITH is not set")
    report = sign_root(STORE, signer)
    return {"generation": report.generation, "expires": report.expires.isoformat()}


def _withdraw_issuers() -> None:
    """
    Stop trusting the issuers that are gone from the places where issuers are read.

    Call it only after a run without failures. A run that failed is tried again.
    """
    present = ISSUERS.all_read
    if present is None:
        return
    try:
        withdraw_issuers(
            _target(),
            [one.der for one in present],
            added_by=ISSUERS.places,
            actor=_ACTOR.get(),
        )
    except FileNotFoundError:
        return  # nothing is published yet
    except (CrlCheckError, OSError) as error:
        # The next run tries again: the CRLs published in this one must not fail because of this.
        LOG.warning(json.dumps({"message": f"issuers were not withdrawn: {error}"}))


def _outcomes(request: Request) -> Iterator[tuple[Task | None, Outcome]]:
    """Yield the outcome of every CRL, with the task that it belongs to if there is one."""
    for task in _tasks(request):
        for outcome in _process(task):
            yield task, outcome
    if request.fetch:
        for outcome in _guarded("fetch", _fetch()):
            yield None, outcome


def _tasks(request: Request) -> Iterator[Task]:
    yield from request.tasks
    if request.rescan is None:
        return
    bucket, prefix = request.rescan
    if bucket is None:
        if not is_s3_url(SETTINGS.store):
            raise MalformedEventError("rescan needs a bucket, because the store has none")
        bucket = S3Location.parse(SETTINGS.store).bucket
    for page in S3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
        for entry in page.get("Contents", ()):
            yield Task(ObjectEvent("Requested", bucket, entry["Key"], rebuild=True))


def _process(task: Task) -> Iterator[Outcome]:
    event = task.event
    if isinstance(event, MalformedEventError):
        yield outcomes.unreadable(event)
        return
    reason = _why_ignored(event)
    if reason is None:
        yield from _guarded(event.url, _publish_all(event))
    else:
        yield outcomes.ignored(event.url, reason)


def _guarded(url: str, results: Iterator[Outcome]) -> Iterator[Outcome]:
    """Yield *results*, and the exception that ends them as one more outcome."""
    try:
        yield from results
    except Exception as error:  # noqa: BLE001 - raised again once every object is done
        yield outcomes.failed(url, error)


def _why_ignored(event: ObjectEvent) -> str | None:
    if not event.created:
        # Deleting a CRL un-revokes nothing: the published image stays.
        return f"{event.name} creates no object"
    if any(place.holds(event.bucket, event.key) for place in SETTINGS.own_locations):
        return "it lies among the images or the issuers"
    if not event.key.startswith(SETTINGS.crl_prefix):
        return f"its key does not begin with {SETTINGS.crl_prefix}"
    *folders, name = event.key.split("/")
    if not name:
        return "it is a folder"
    if name in _PRIVATE_CA_TEST_KEYS:
        return "it is a permission test of AWS Private CA"
    if _AUDIT_REPORTS in folders:
        return "it is an audit report of AWS Private CA"
    return None


def _publish_all(event: ObjectEvent) -> Iterator[Outcome]:
    """Publish all CRLs of an object as it is now; a PEM file may have several."""
    doubted: set[str | None] = set()
    for outcome in _publish_once(event):
        if isinstance(outcome.error, CrlSignatureError) and ISSUERS.can_ask_again:
            doubted.add(outcome.object)
        else:
            yield outcome
    # A CA that renewed its key at AWS Private CA signs with the new one at once.
    if doubted:
        ISSUERS.ask_again()
        for outcome in _publish_once(event):
            if outcome.object in doubted:
                yield outcome


def _publish_once(event: ObjectEvent) -> Iterator[Outcome]:
    # Not the version that a record names: the object as it is now is never older, and a
    # record that arrives late or twice then changes nothing.
    try:
        stored = S3.get_object(Bucket=event.bucket, Key=event.key)
    except S3.exceptions.NoSuchKey:
        yield outcomes.missing(event.url)
        return
    with contextlib.closing(stored["Body"]) as body:
        yield from _outcomes_of(
            publish_each(
                body,
                _target(),
                source_name=event.url,
                content_encoding=stored.get("ContentEncoding", ""),
                allow_shrink=event.allow_shrink,
                rebuild=event.rebuild,
                **_publish_options(),
            )
        )


def _fetch() -> Iterator[Outcome]:
    """Fetch the URLs of the settings, in any order."""
    limits = FetchLimits(max_size=SETTINGS.max_crl_size, allow_private=SETTINGS.fetch_private)
    results = fetch_each(SETTINGS.fetch_urls, _target(), limits, **_publish_options())
    yield from _outcomes_of(results)


def _publish_options() -> dict[str, Any]:
    """Return the issuers and the settings as ``publish_each`` takes them."""
    return {
        "issuer": ISSUERS.certificates(),
        "issuers_from": ISSUERS.places,
        "actor": _ACTOR.get(),
        "max_crls": SETTINGS.max_crls,
        "grace": SETTINGS.grace,
        "keep": SETTINGS.keep or timedelta(0),
        "compare_up_to": SETTINGS.compare_up_to,
        "clock_skew": SETTINGS.clock_skew,
        "max_source_size": SETTINGS.max_crl_size,
        "attributes": SETTINGS.attributes,
        "allow_sha1": SETTINGS.allow_sha1,
        "allow_small_rsa": SETTINGS.allow_small_rsa,
        "allow_v1": SETTINGS.allow_v1,
        "strict": SETTINGS.strict,
        "require_next_update": SETTINGS.require_next_update,
    }


def _outcomes_of(
    results: Iterable[tuple[str, PublishReport | Exception | None]],
) -> Iterator[Outcome]:
    """Yield the outcome of each CRL."""
    started = time.monotonic()
    for name, result in results:
        if result is None:
            yield outcomes.not_modified(name)
        elif isinstance(result, CrlError) and not isinstance(result, _MAY_PASS):
            yield outcomes.refused(name, result)
        elif isinstance(result, Exception):
            yield outcomes.failed(name, result)
        else:
            seconds = time.monotonic() - started  # with the download, and waiting for it
            started += seconds
            yield outcomes.of_report(name, result, seconds, datetime.now(UTC))
