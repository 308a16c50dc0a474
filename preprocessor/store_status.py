"""
Write how the published set stands as metrics, so that alarms have data although no CRL comes.

A metric has a value for each scope, a hundred values in a line. The least of ``TimeLeft`` is
that of the scope that is stale first.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

from aws_lambda_powertools.metrics import MetricUnit

from crlcheck import (
    CatalogDamagedError,
    ObjectStore,
    PublishedScope,
    StoreError,
    StoreStatus,
    read_published_scopes,
    read_store_status,
)
from preprocessor.outcomes import dimensions_of, new_metrics
from preprocessor.settings import Settings

# As many values as CloudWatch takes of one metric in a line.
_MAX_VALUES = 100


def record_status(store: ObjectStore, settings: Settings, log: logging.Logger) -> dict[str, Any]:
    """
    Write the status of a store as a log line and as metrics; return what is logged.

    Of a set that is damaged all is written that can be read, and then the damage is raised.

    Raises:
        FileNotFoundError: nothing is published there.
        StoreError: the store does not answer, or something in it is missing or damaged.
    """
    now = datetime.now(UTC)
    status = read_store_status(store, now=now)
    members = _members(status)
    log.log(logging.WARNING if _needs_attention(status) else logging.INFO, json.dumps(members))
    metrics = new_metrics(settings, _dimensions(settings, None))
    for name, value in _COUNTS.items():
        counted = members[value]
        if isinstance(counted, int):
            metrics.add_metric(name=name, unit=MetricUnit.Count, value=counted)
    if status.age is not None:
        seconds = status.age.total_seconds()
        metrics.add_metric(name="SetAge", unit=MetricUnit.Seconds, value=seconds)
    if status.signed_for is not None:
        seconds = status.signed_for.total_seconds()
        metrics.add_metric(name="SignedFor", unit=MetricUnit.Seconds, value=seconds)
    metrics.flush_metrics()
    damage: list[StoreError] = [StoreError(one.detail) for one in status.unreadable]
    scopes = _readable(read_published_scopes(store, now=now), damage)
    for issuer, values in _time_left(scopes, settings):
        metrics = new_metrics(settings, _dimensions(settings, issuer))
        for left in values:
            metrics.add_metric(name="TimeLeft", unit=MetricUnit.Seconds, value=left)
        metrics.flush_metrics()
    if damage:
        raise damage[0]
    return members


def _readable(
    scopes: Iterable[PublishedScope], damage: list[StoreError]
) -> Iterator[PublishedScope]:
    """Yield the scopes that can be read, and add the error about others to *damage*."""
    try:
        yield from scopes
    except CatalogDamagedError as error:
        damage.append(error)


_COUNTS = {
    "Scopes": "num_scopes",
    "StaleScopes": "num_stale",
    "SoonStaleScopes": "num_soon_stale",
    "ScopesInGrace": "num_in_grace",
    "RefusedSources": "num_refused",
    "UncheckedIssuers": "num_unchecked_issuers",
    "Denials": "num_denied",
    "UnreadableObjects": "num_unreadable",
}


def _members(status: StoreStatus) -> dict[str, Any]:
    """Return the JSON object that is logged and returned."""
    unchecked = status.unchecked_issuers
    return {
        "message": f"generation {status.generation} has {status.num_scopes:,} scopes, "
        f"{status.count('stale'):,} of them stale",
        "store": status.store,
        "generation": status.generation,
        "age": None if status.age is None else round(status.age.total_seconds()),
        "num_scopes": status.num_scopes,
        "num_stale": status.count("stale"),
        "num_soon_stale": status.count("soon_stale"),
        "num_in_grace": status.count("in_grace"),
        "num_refused": len(status.rejections),
        "num_unchecked_issuers": None if unchecked is None else len(unchecked),
        "num_denied": status.num_denied,
        "num_unreadable": len(status.unreadable),
        "signed_for": None
        if status.signed_for is None
        else round(status.signed_for.total_seconds()),
        "signature_state": status.signature_state,
    }


def _needs_attention(status: StoreStatus) -> bool:
    return bool(
        status.count("stale")
        or status.count("soon_stale")
        or status.count("in_grace")
        or status.rejections
        or status.unreadable
        or status.signature_state in ("ends_soon", "expired")
    )


def _dimensions(settings: Settings, issuer: str | None) -> dict[str, str]:
    """Return the dimensions; that of the issuer only where one is meant."""
    found = dimensions_of(settings, issuer)
    if issuer is None:
        found.pop("issuer", None)
    return found


def _time_left(
    scopes: Iterable[PublishedScope], settings: Settings
) -> Iterator[tuple[str | None, list[float]]]:
    """
    Yield the seconds left of up to a hundred scopes, by issuer where issuers are told apart.

    A scope that a newer CRL has replaced needs no CRL any more, so it is left out.
    """
    by_issuer: dict[str | None, list[float]] = {}
    for scope in scopes:
        if scope.time_left is None or scope.state == "expired_and_replaced":
            continue
        key = scope.issuer if "issuer" in settings.metrics_dimensions else None
        by_issuer.setdefault(key, []).append(scope.time_left.total_seconds())
        if len(by_issuer[key]) == _MAX_VALUES:
            yield key, by_issuer.pop(key)
    yield from by_issuer.items()
