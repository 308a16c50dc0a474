"""What the status page shows: stores in good and in bad order, as a service finds them."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping
from datetime import timedelta

from crlcheck.checker.checker import RevocationChecker
from crlcheck.demo.pki import CertificateAuthority
from crlcheck.errors import CrlError
from crlcheck.serve.counts import BOUNDS, Totals, WorkerState
from crlcheck.serve.report import MAX_LISTED, Report, make_report
from crlcheck.types import ProblemKind, StatusProblem
from support.memory_store import MemoryStore
from support.pki import DAY, NOW, make_authority, make_crl
from support.publishing import publish

HOUR = timedelta(hours=1)

HOSTILE = '</title><script src="//x.test"></script><img src=x onerror=y> "\'&lt; \u202egnp.exe'
"""A name with all that must not mean anything on a page."""

NAMES = (
    "Northwind Device Issuing CA 7",
    "Northwind Root CA",
    "Contoso Partner Access CA - Europe West",
    "C=DE, O=Stadtwerke Musterstadt GmbH, OU=Zähler, CN=Sub-CA 2026",
    "Ministry of the Interior Qualified Electronic Signature CA 3 G 5",
)

WORKERS = (
    WorkerState(timedelta(seconds=1), 214, timedelta(seconds=3), 48_400_000),
    WorkerState(timedelta(seconds=1), 214, timedelta(seconds=4), 48_400_000),
)
COUNTS: Mapping[tuple[str, str], int] = {
    ("not_revoked", "allow"): 1_204_311,
    ("revoked", "deny"): 318,
    ("unknown_issuer", "deny"): 42,
    ("stale", "deny"): 7,
    ("no_certificate", "deny"): 1_920,
    ("malformed_certificate", "deny"): 3,
}
BUCKETS = (12_000, 804_000, 371_000, 18_000, 1_200, 300, 80, 15, 6, 0, 0, 0, 0, 0, 0, 0)
assert len(BUCKETS) == len(BOUNDS) + 1
TOTALS = Totals(COUNTS, BUCKETS, 141.2, 0, WORKERS)
IDLE = Totals({}, (0,) * len(BUCKETS), 0.0, 0, WORKERS)


def fill(store: MemoryStore, *, left: tuple[float, ...] = (160, 30, 700, 90, 2200)) -> None:
    """Publish a CRL of each name; *left* has the hours that each of them has left."""
    for number, (name, hours) in enumerate(zip(NAMES, left, strict=True), 1):
        until = NOW + hours * HOUR
        begin = min(NOW, until) - 8 * HOUR
        serials = range(1, 20 * 3**number)
        crl = make_crl(
            _authority(name), 4_700 + number, serials, this_update=begin, next_update=until
        )
        publish(store, crl, _authority(name).pem, source_name=f"s3://crls/{number}.crl")


_AUTHORITIES: dict[str, CertificateAuthority] = {}


def _authority(name: str) -> CertificateAuthority:
    if name not in _AUTHORITIES:
        _AUTHORITIES[name] = make_authority(name)
    return _AUTHORITIES[name]


def report_on(store: MemoryStore) -> Report:
    """What a service finds out."""
    with RevocationChecker(store, clock=lambda: NOW) as checker:
        checker.preload()
        return make_report(checker, store, now=NOW)


def good() -> tuple[Report, Totals]:
    """All is well."""
    store = MemoryStore()
    fill(store)
    return report_on(store), TOTALS


def stale() -> tuple[Report, Totals]:
    """Two CRLs are stale, and one soon will be."""
    store = MemoryStore()
    fill(store, left=(-50, 30, 700, 1, -2))
    return report_on(store), TOTALS


def all_stale() -> tuple[Report, Totals]:
    """Nobody can be decided on."""
    store = MemoryStore()
    fill(store, left=(-50, -3, -700, -1, -2))
    return report_on(store), TOTALS


def refused() -> tuple[Report, Totals]:
    """Some CRLs were refused, for several reasons; one worker hangs."""
    store = MemoryStore()
    fill(store)
    refusals = {
        "s3://crls/1.crl": make_crl(_authority(NAMES[0]), 4, [5]),
        "/var/spool/crl/README.txt": b"Please put CRLs here.\n",
        f"s3://crls/{'very-' * 40}long-name.crl": b"0\x82",
        HOSTILE: b"<html>",
    }
    for name, crl in refusals.items():
        try:
            publish(store, crl, _authority(NAMES[0]).pem, source_name=name)
        except CrlError:
            continue
        raise AssertionError(f"{name} was not refused")
    hanging = dataclasses.replace(WORKERS[1], silent_for=timedelta(minutes=12))
    return report_on(store), dataclasses.replace(
        TOTALS, num_unlogged=1_204, workers=(WORKERS[0], hanging)
    )


def hostile() -> tuple[Report, Totals]:
    """An issuer has a name that attacks whoever looks at it."""
    store = MemoryStore()
    fill(store)
    report = report_on(store)
    assert report.store is not None
    hostile_names = (
        HOSTILE,
        "A" * 5_000,
        "\u05d0\u05d1\u05d2 \u202e\u2066 CA",
        "line\nbreak\x00\x1b[2J",
        "",
    )
    scopes = tuple(
        dataclasses.replace(one, issuer=name, source=name)
        for one, name in zip(report.store.scopes, hostile_names, strict=True)
    )
    problem = StatusProblem(ProblemKind.PATH_UNDETERMINED, HOSTILE, is_error=True)
    return (
        dataclasses.replace(
            report,
            store=dataclasses.replace(report.store, store=f"https://{HOSTILE}", scopes=scopes),
            checker=dataclasses.replace(report.checker, problems=(problem,)),
        ),
        TOTALS,
    )


def many(number: int = 3_000) -> tuple[Report, Totals]:
    """A set of many scopes, in all states."""
    report, totals = stale()
    assert report.store is not None
    (first, *_, last) = report.store.scopes
    scopes = []
    for place in range(number):
        left = timedelta(hours=place - number // 10) if place < number - 20 else None
        until = None if left is None else NOW + left
        state = "current"
        if left is not None and left < timedelta(0):
            state = ("stale", "in_grace", "expired_and_replaced")[place % 3]
        elif left is not None and left < 2 * DAY:
            state = "soon_stale"
        scopes.append(
            dataclasses.replace(
                first,
                scope=f"{place:032x}",
                issuer=NAMES[place % len(NAMES)],
                state=state,
                crl_number=(1 << 159) - place if place % 7 == 0 else place,
                is_delta=place % 5 == 0,
                this_update=NOW - 8 * DAY,
                next_update=until,
                time_left=left,
                num_entries=place * 17,
                replaced_by=last.scope if state == "expired_and_replaced" else None,
            )
        )
    states = Counter(one.state for one in scopes)
    store = dataclasses.replace(
        report.store,
        num_scopes=number,
        scopes=tuple(scopes[:MAX_LISTED]),
        num_by_state=dict(states),
        num_entries=sum(one.num_entries for one in scopes),
    )
    return dataclasses.replace(report, store=store), totals


def empty() -> tuple[Report, Totals]:
    """Nothing is published, and nobody has asked."""
    return report_on(MemoryStore()), IDLE


def unreadable() -> tuple[Report, Totals]:
    """The store does not answer, and the last set goes on being used."""
    report, totals = good()
    return dataclasses.replace(
        report, store=None, error="s3://crls/published: no answer within 1 s"
    ), totals


PAGES = {
    "good": good,
    "stale": stale,
    "all_stale": all_stale,
    "refused": refused,
    "hostile": hostile,
    "many": many,
    "empty": empty,
    "unreadable": unreadable,
}
"""What makes each of them."""

__all__ = ["HOSTILE", "IDLE", "NAMES", "PAGES", "TOTALS", "report_on"]
