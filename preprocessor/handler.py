"""
Define the preprocessor's entry point, ``preprocessor.handler.handler``.

It verifies, compiles and publishes every CRL that an event names. Settings are read
when the module is imported, so that a bad setting stops the deployment.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import json
import logging
import os
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from crlcheck import (
    BinaryReader,
    CrlBaseMissingError,
    CrlCheckError,
    CrlError,
    CrlOrderUnknownError,
    CrlSignatureError,
    FetchLimits,
    ObjectStore,
    PublishReport,
    PublishSource,
    RootSigner,
    S3Store,
    SigningStore,
    SourceCrl,
    clean_up,
    fetch_each,
    open_store,
    publish_many,
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

# Images are in /tmp until they are swapped in, and there is little room.
_MAX_GROUP_SIZE = 64 << 20

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
if isinstance(STORE, S3Store):
    STORE.require_conditional_writes()  # a runtime brings a boto3 of its own
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
    objects = _Objects(_tasks(request))
    objects.publish()
    done: list[tuple[Task | None, Outcome]] = [*objects.done]
    if request.fetch:
        for outcome in _guarded("fetch", _fetch()):
            outcomes.record(outcome, LOG, SETTINGS)
            done.append((None, outcome))
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


class _Objects:
    """
    The objects of one request, which are published together.

    Each is read once, however many tasks name it. The outcome of each of its CRLs is logged as
    soon as it is known.
    """

    def __init__(self, tasks: Iterator[Task]) -> None:
        self._tasks = enumerate(tasks)
        self._done: list[tuple[int, int, Task, Outcome]] = []
        self._tasks_of: dict[_Reading, list[tuple[int, Task]]] = {}
        self._outcomes_of: dict[_Reading, list[tuple[int, Outcome]]] = {}
        self._doubted: dict[_Reading, dict[int, Outcome]] = {}

    @property
    def done(self) -> list[tuple[Task, Outcome]]:
        """The outcomes with their tasks, in the order of the tasks and of the CRLs of a file."""
        in_order = sorted(self._done, key=lambda one: one[:2])
        return [(task, outcome) for _, _, task, outcome in in_order]

    def publish(self) -> None:
        """Publish the CRLs of all objects as they are now."""
        self._publish()
        for reading, (_, *others) in self._tasks_of.items():
            for place, task in others:
                for number, outcome in self._outcomes_of.get(reading, ()):
                    self._note(place, number, task, outcomes.again(outcome))

    def _publish(self) -> None:
        try:
            self._run(self._readings(), self._note_first)
            # A CA that renewed its key at AWS Private CA signs with the new one at once.
            if self._doubted:
                ISSUERS.ask_again()
                self._run(iter(list(self._doubted)), self._note_again)
                for reading, outcomes_of in self._doubted.items():
                    for number, outcome in outcomes_of.items():  # of CRLs that are gone since
                        self._note_outcome(reading, number, outcome)
        except Exception as error:
            for _ in self._readings():
                pass
            missing = [one for one in self._tasks_of if not self._outcomes_of.get(one)]
            if not missing:
                raise
            for reading in missing:
                self._note_outcome(reading, 1, outcomes.failed(reading.url, error))

    def _readings(self) -> Iterator[_Reading]:
        """Yield each object that is to be read, once."""
        for place, task in self._tasks:
            event = task.event
            if isinstance(event, MalformedEventError):
                self._note(place, 1, task, outcomes.unreadable(event))
                continue
            reason = _why_ignored(event)
            if reason is not None:
                self._note(place, 1, task, outcomes.ignored(event.url, reason))
                continue
            reading = _Reading(event.bucket, event.key, event.allow_shrink, event.rebuild)
            is_new = reading not in self._tasks_of
            self._tasks_of.setdefault(reading, []).append((place, task))
            if is_new:
                yield reading

    def _run(
        self,
        readings: Iterator[_Reading],
        note: Callable[[_Reading, int, Outcome, Exception | None], None],
    ) -> None:
        readings_of: dict[object, _Reading] = {}
        first = next(readings, None)
        if first is None:
            return

        def sources() -> Iterator[PublishSource]:
            for reading in itertools.chain((first,), readings):
                source = reading.source()
                readings_of[source] = reading
                yield source

        def on_result(crl: SourceCrl, result: PublishReport | Exception | None) -> None:
            reading = readings_of[crl.given]
            error = result if isinstance(result, Exception) else None
            note(reading, crl.number, reading.outcome(str(crl), result), error)

        publish_many(
            sources(),
            _target(),
            jobs=SETTINGS.jobs,
            max_group_size=_MAX_GROUP_SIZE,
            on_result=on_result,
            issuers=ISSUERS.certificates(),
            **_publish_options(),
        )

    def _note_first(
        self, reading: _Reading, number: int, outcome: Outcome, error: Exception | None
    ) -> None:
        if isinstance(error, CrlSignatureError) and ISSUERS.can_ask_again:
            self._doubted.setdefault(reading, {})[number] = outcome
        else:
            self._note_outcome(reading, number, outcome)

    def _note_again(
        self, reading: _Reading, number: int, outcome: Outcome, _error: Exception | None
    ) -> None:
        if self._doubted[reading].pop(number, None) is not None:
            self._note_outcome(reading, number, outcome)

    def _note_outcome(self, reading: _Reading, number: int, outcome: Outcome) -> None:
        self._outcomes_of.setdefault(reading, []).append((number, outcome))
        place, task = self._tasks_of[reading][0]
        self._note(place, number, task, outcome)

    def _note(self, place: int, number: int, task: Task, outcome: Outcome) -> None:
        outcomes.record(outcome, LOG, SETTINGS)
        self._done.append((place, number, task, outcome))


class _Reading(NamedTuple):
    """An object that is read, and how its CRLs are published."""

    bucket: str
    key: str
    allow_shrink: bool
    rebuild: bool

    @property
    def url(self) -> str:
        """The object as ``s3://bucket/key``."""
        return f"s3://{self.bucket}/{self.key}"

    def source(self) -> PublishSource:
        """Return the object as ``publish_many`` takes it."""
        encoding: list[str] = []

        @contextlib.contextmanager
        def opened() -> Iterator[BinaryReader]:
            # Not the version that a record names: the object as it is now is never older, and
            # a record that arrives late or twice then changes nothing.
            stored = S3.get_object(Bucket=self.bucket, Key=self.key)
            encoding.append(stored.get("ContentEncoding", ""))
            with contextlib.closing(stored["Body"]) as body:
                yield body

        return PublishSource(
            source=opened,
            name=self.url,
            content_encoding=lambda: encoding[-1],
            allow_shrink=self.allow_shrink,
            rebuild=self.rebuild,
        )

    def outcome(self, name: str, result: PublishReport | Exception | None) -> Outcome:
        """Return the outcome of one of its CRLs."""
        if isinstance(result, S3.exceptions.NoSuchKey):
            return outcomes.missing(self.url)
        if isinstance(result, Exception) and not isinstance(result, CrlCheckError):
            name = self.url  # it could not be read
        return _outcome_of(name, result)


def _fetch() -> Iterator[Outcome]:
    """Fetch the URLs of the settings, in any order."""
    limits = FetchLimits(max_size=SETTINGS.max_crl_size, allow_private=SETTINGS.fetch_private)
    results = fetch_each(
        SETTINGS.fetch_urls,
        _target(),
        limits,
        jobs=SETTINGS.jobs,
        issuer=ISSUERS.certificates(),
        **_publish_options(),
    )
    for name, result in results:
        yield _outcome_of(name, result)


def _publish_options() -> dict[str, Any]:
    """Return the settings as ``publish_many`` and ``fetch_each`` take them."""
    return {
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


def _outcome_of(name: str, result: PublishReport | Exception | None) -> Outcome:
    """Return the outcome of one CRL."""
    if result is None:
        return outcomes.not_modified(name)
    if isinstance(result, CrlError) and not isinstance(result, _MAY_PASS):
        return outcomes.refused(name, result)
    if isinstance(result, Exception):
        return outcomes.failed(name, result)
    # With the download, which is compiled as it comes.
    return outcomes.of_report(name, result, sum(result.seconds.values()), datetime.now(UTC))
