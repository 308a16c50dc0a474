"""
Write metrics in the text format of Prometheus.

``crlcheck status`` and the page ``/metrics`` of ``crlcheck serve`` have the same gauges of a
published set.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from crlcheck.errors import CrlCheckError
from crlcheck.publisher.store_status import StoreStatus

if TYPE_CHECKING:
    from prometheus_client.core import GaugeMetricFamily, Metric


def prometheus_text(families: Iterable[Metric]) -> str:
    """
    Return metrics in the text format, a line for each sample.

    Raises:
        CrlCheckError: the package prometheus-client is missing.
    """
    try:
        from prometheus_client import CollectorRegistry, generate_latest
        from prometheus_client.registry import Collector
    except ImportError as error:
        raise CrlCheckError(
            f"metrics for Prometheus need the package prometheus-client ({error}): "
            "pip install 'crlcheck[prometheus]'"
        ) from error

    class Given(Collector):
        """Gives the metrics to the registry."""

        def collect(self) -> Iterable[Metric]:
            """Return the metrics."""
            return families

    # It would call collect for the names once more.
    registry = CollectorRegistry(auto_describe=False)
    registry.register(Given())
    return generate_latest(registry).decode("utf-8")


def store_gauges(found: StoreStatus) -> Iterator[GaugeMetricFamily]:
    """Yield the gauges of how a published set stands: of all scopes and refusals in it."""
    yield from _of_store(found)
    yield from _of_scopes(found)
    yield from _of_rejections(found)


def _gauge(name: str, words: str, *labels: str) -> GaugeMetricFamily:
    from prometheus_client.core import GaugeMetricFamily

    return GaugeMetricFamily(f"crlcheck_{name}", words, labels=["store", *labels])


def _of_store(found: StoreStatus) -> Iterator[GaugeMetricFamily]:
    """Yield a gauge for each value of the whole store."""
    unchecked = found.unchecked_issuers
    values = {
        "generation": ("Generation of the published set.", found.generation),
        "published_timestamp_seconds": (
            "When the generation was written.",
            None if found.at is None else found.at.timestamp(),
        ),
        "signed_until_timestamp_seconds": (
            "When the signature of the root expires.",
            None if found.signed_until is None else found.signed_until.timestamp(),
        ),
        "signature_ends_soon": (
            "1 where the signature of the root ends soon or has expired, else 0.",
            None if found.signature_state is None else int(found.signature_state != "current"),
        ),
        "scopes": ("Published scopes.", found.num_scopes),
        "trusted_issuers": ("Trusted issuer certificates.", found.num_issuers),
        "denials": ("Denials that hold.", found.num_denied),
        "unreadable_objects": (
            "Objects of the published set that are missing or damaged.",
            len(found.unreadable),
        ),
        "unchecked_issuers": (
            "Issuers whose own issuer is not trusted.",
            None if unchecked is None else len(unchecked),
        ),
        **{
            f"{state}_scopes": (f"Scopes in the state {state}.", found.count(state))
            for state in ("stale", "soon_stale", "in_grace", "expired_and_replaced")
        },
    }
    for name, (words, value) in values.items():
        if value is not None:
            family = _gauge(name, words)
            family.add_metric([found.store], value)
            yield family


def _of_scopes(found: StoreStatus) -> Iterator[GaugeMetricFamily]:
    """Yield the gauges that have a value for each scope."""
    until = _gauge("next_update_timestamp_seconds", "nextUpdate of a scope.", "scope", "issuer")
    entries = _gauge("entries", "Entries of a scope's CRL.", "scope", "issuer")
    for scope in found.scopes:
        labels = [found.store, scope.scope, scope.issuer]
        if scope.next_update is not None:
            until.add_metric(labels, scope.next_update.timestamp())
        entries.add_metric(labels, scope.num_entries)
    yield until
    yield entries


def _of_rejections(found: StoreStatus) -> Iterator[GaugeMetricFamily]:
    """Yield the gauge of when the last CRL of each source was refused, if that is known."""
    if not found.knows_rejections:
        return
    words = "When the last CRL of a source was refused."
    refused = _gauge("refused_timestamp_seconds", words, "source", "cause")
    for one in found.rejections:
        refused.add_metric([found.store, one.source, one.cause], one.at.timestamp())
    yield refused
