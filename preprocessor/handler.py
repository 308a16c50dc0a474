"""
The preprocessor's entry point: ``preprocessor.handler.handler``.

An S3 notification comes in; every CRL it announces is verified, compiled and
published. Settings are read when the module is imported, so that a bad setting
stops the deployment.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import time
from datetime import datetime
from typing import TYPE_CHECKING

from crlcheck import (
    CertificateError,
    CrlBaseMissingError,
    CrlError,
    ObjectStore,
    PublishReport,
    S3Store,
    load_certificates,
    open_store,
    publish_crl,
)
from crlcheck.settings import read_settings
from preprocessor.events import MalformedEventError, ObjectEvent, parse_notification, parse_record
from preprocessor.settings import Settings, is_s3

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

Outcome = dict[str, str | int | float | None]

# AWS Private CA writes these to try its access; they hold no CRL.
_PRIVATE_CA_TEST_KEYS = ("acm-pca-permission-test-key", "acm-pca-permission-test-key-private")
_LEVELS = {"failed": logging.ERROR, "refused": logging.ERROR, "missing": logging.WARNING}


def _s3_client() -> S3Client:
    import boto3

    return boto3.client("s3")


def _open(url: str) -> ObjectStore:
    return S3Store(url, client=S3) if is_s3(url) else open_store(url)


LOG = logging.getLogger("preprocessor")
SETTINGS = read_settings(Settings, os.environ)
LOG.setLevel(SETTINGS.log_level.name)
S3 = _s3_client()
STORE = _open(SETTINGS.store)
ISSUERS = _open(SETTINGS.issuers) if is_s3(SETTINGS.issuers) else None


def handler(event: object, _context: object) -> dict[str, list[Outcome]]:
    """
    Publish every CRL that an S3 notification announces.

    Each record is dealt with, whatever became of the others. Its outcome is
    logged and returned: ``published``, ``unchanged``, ``ignored``, ``missing``
    (deleted since) or ``refused`` (the CRL or the record is at fault, which no
    retry can mend).

    Raises:
        ExceptionGroup: records ``failed`` for reasons that may pass, such as an
            unavailable store or a delta CRL that came before its complete CRL.
            When Lambda tries again, what was published by then is found
            unchanged.
    """
    outcomes: list[Outcome] = []
    failures: list[Exception] = []
    for record in parse_notification(event):
        url: str | None = None
        try:
            happening = parse_record(record)
            url = happening.url
            outcome = _process(happening)
        except CrlBaseMissingError as error:
            # Its complete CRL may be on the way: notifications come in any order.
            outcome = {"outcome": "failed", **_describe(error)}
            failures.append(error)
        except (CrlError, CertificateError, MalformedEventError) as error:
            outcome = {"outcome": "refused", **_describe(error)}
        except Exception as error:  # noqa: BLE001 - raised again once every record is done
            outcome = {"outcome": "failed", **_describe(error)}
            failures.append(error)
        outcomes.append({"object": url, **outcome})
        _log(outcomes[-1])
    if failures:
        raise ExceptionGroup(f"{len(failures)} of {len(outcomes)} records failed", failures)
    return {"objects": outcomes}


def _process(happening: ObjectEvent) -> Outcome:
    reason = _why_ignored(happening)
    if reason is not None:
        return {"outcome": "ignored", "reason": reason}
    issuers = _issuers()
    started = time.monotonic()
    # Not the version that the record names: the object as it is now is never
    # older, and one that arrives late or twice is then found unchanged.
    try:
        body = S3.get_object(Bucket=happening.bucket, Key=happening.key)["Body"]
    except S3.exceptions.NoSuchKey:
        return {"outcome": "missing"}
    with contextlib.closing(body):
        report = publish_crl(
            body,
            STORE,
            issuer=issuers,
            source_name=happening.url,
            max_source_size=SETTINGS.max_crl_size,
            clock_skew=SETTINGS.clock_skew,
            attributes=SETTINGS.attributes,
            allow_sha1=SETTINGS.allow_sha1,
            allow_v1=SETTINGS.allow_v1,
            strict=SETTINGS.strict,
            require_next_update=SETTINGS.require_next_update,
        )
    return {**_summarize(report), "seconds": round(time.monotonic() - started, 3)}


def _why_ignored(happening: ObjectEvent) -> str | None:
    if not happening.created:
        # Deleting a CRL un-revokes nothing: what was published stays.
        return f"{happening.name} creates no object"
    if any(place.holds(happening.bucket, happening.key) for place in SETTINGS.own_locations):
        return "it lies among the images or the issuers"
    if not happening.key.startswith(SETTINGS.crl_prefix):
        return f"its key does not begin with {SETTINGS.crl_prefix}"
    name = happening.key.rpartition("/")[2]
    if not name:
        return "it is a folder"
    if name in _PRIVATE_CA_TEST_KEYS:
        return "it is a permission test of AWS Private CA"
    return None


def _issuers() -> list[bytes]:
    """Read the trusted issuer certificates anew: one taken away is trusted no longer."""
    if ISSUERS is None:
        return [certificate.der for certificate in load_certificates(SETTINGS.issuers)]
    found: list[bytes] = []
    for name in ISSUERS.names(""):
        try:
            certificates = load_certificates(ISSUERS.read(name).body)
        except CertificateError as error:
            # Trusting fewer issuers is safe, and the others' CRLs must not wait.
            LOG.warning(json.dumps({"issuer": f"{ISSUERS.url}/{name}", **_describe(error)}))
            continue
        found += [certificate.der for certificate in certificates]
    if not found:
        raise FileNotFoundError(f"no issuer certificate in {SETTINGS.issuers}")
    return found


def _summarize(report: PublishReport) -> Outcome:
    compiled = report.compiled
    return {
        "outcome": "published" if report.published else "unchanged",
        "scope": report.scope,
        "delta": report.is_delta,
        "image": report.image_name,
        "generation": report.generation,
        "num_entries": compiled.num_entries,
        # A CRL number may exceed what JSON readers keep exactly as a number.
        "crl_number": None if compiled.crl_number is None else str(compiled.crl_number),
        "this_update": compiled.this_update.isoformat(),
        "next_update": None if compiled.next_update is None else compiled.next_update.isoformat(),
        "source_size": compiled.source_size,
        "image_size": compiled.image_size,
        "warnings": ",".join(warning.name.lower() for warning in compiled.warnings if warning.name),
    }


def _describe(error: Exception) -> Outcome:
    """An error's type, message and values (such as the rule broken and its offset)."""
    values: Outcome = {}
    for name, value in vars(error).items():
        if isinstance(value, datetime):
            values[name] = value.isoformat()
        elif isinstance(value, str | int):
            values[name] = value
    return {**values, "error": type(error).__name__, "detail": str(error)}


def _log(outcome: Outcome) -> None:
    LOG.log(_LEVELS.get(str(outcome["outcome"]), logging.INFO), json.dumps(outcome))
