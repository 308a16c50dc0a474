"""
Show people how the service stands: the page ``/status``.

The page is one document that needs nothing else: no script, no font, no image, no style of
another place, and a Content-Security-Policy that forbids them. What comes from a CRL or from a
store is text that somebody else chose. It is escaped, made printable and cut off, and no attribute
of the page ever has any of it. The length of the page has a bound, however large the set is.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import html
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib import resources
from urllib.parse import quote

from crlcheck.access import CAUSES
from crlcheck.catalog.descriptions import count, printable
from crlcheck.publisher.rejections import Rejection
from crlcheck.publisher.store_status import PublishedScope, StoreStatus
from crlcheck.remedies import REMEDIES, SIGN_AGAIN
from crlcheck.serve.counts import OTHER, Counts, Totals
from crlcheck.serve.http import Request, Response
from crlcheck.serve.metrics import verdict_of
from crlcheck.serve.report import MAX_READ, Report, Reports
from crlcheck.times import time_text
from crlcheck.types import ProblemKind, StatusProblem, UndeterminedCause

PER_PAGE = 25
"""So many scopes stand on a page."""

_MOST_REFUSED = 50
_MOST_OF_A_KIND = 3
_LONGEST_NAME = 160
_LONGEST_TEXT = 600
_LONG_SILENCE = timedelta(seconds=30)

_STYLE = resources.files("crlcheck.serve").joinpath("status_page.css").read_text("utf-8")
_STYLE_DIGEST = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()

HEADERS = (
    ("Content-Type", "text/html; charset=utf-8"),
    ("Cache-Control", "no-store"),
    (
        "Content-Security-Policy",
        f"default-src 'none'; style-src 'sha256-{_STYLE_DIGEST}'; img-src data:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
)
"""The headers of the answer that has the page."""

KIND_TEXTS: Mapping[ProblemKind, str] = {
    ProblemKind.NOT_LOADED: "No published set could be read yet",
    ProblemKind.TOO_OLD: "The set is too old to be used",
    ProblemKind.SIGNATURE_EXPIRED: "The signature of the set has expired",
    ProblemKind.SIGNATURE_ENDS_SOON: "The signature of the set ends soon",
    ProblemKind.NOTHING_PUBLISHED: "Nothing is published",
    ProblemKind.STALE: "CRLs are past their nextUpdate",
    ProblemKind.NOT_YET_VALID: "CRLs are not valid yet",
    ProblemKind.EXPIRED_REPLACED: "Expired CRLs that newer ones replace",
    ProblemKind.IMAGE_UNAVAILABLE: "Images of CRLs could not be loaded",
    ProblemKind.PART_UNAVAILABLE: "Parts of the set could not be read",
    ProblemKind.MORE_PROBLEMS: "There are more problems than are listed",
    ProblemKind.PATH_UNDETERMINED: "Nothing can be said of issuers above",
    ProblemKind.CLEARS_NOBODY: "CRLs that clear no certificate",
    ProblemKind.STORE_FAILING: "The store does not answer",
    ProblemKind.CATALOG_WENT_BACK: "The store has an earlier set than the one in use",
    ProblemKind.CATALOG_REFUSED: "The store has a set that cannot be used",
    ProblemKind.STORE_BEHIND: "A cache before the store is late",
    ProblemKind.UNVERIFIED_ISSUER: "Issuers whose own signature was not verified",
    ProblemKind.BACKGROUND_REFRESH: "Checks ask the store themselves",
}
"""The heading of each kind of problem."""

CAUSE_TEXTS: Mapping[str, str] = {
    "not_revoked": "Not revoked",
    "revoked": "Revoked",
    "unknown_issuer": "Unknown issuer",
    "ambiguous_issuer": "Several issuers are possible",
    "out_of_scope": "No CRL covers the certificate",
    "stale": "The CRL is stale",
    "not_yet_valid": "The CRL is not valid yet",
    "reasons_not_covered": "No CRL covers all reasons",
    "certificate_expired": "The certificate has expired",
    "crl_signer_revoked": "The signer of the CRL is revoked",
    "store_unavailable": "The store could not be read",
    "certificate_hold": "On hold",
    "no_certificate": "No certificate",
    "unchecked_path": "A path that is not checked",
    "not_told": "Nobody told whether there is a certificate",
    "unverified": "The certificate was not verified",
    "not_from_proxy": "Not from a proxy",
    "unclear_header": "An unclear header",
    "malformed_certificate": "No certificate could be read",
    "too_late": "The check took too long",
    "error": "An error",
    OTHER: "Something else",
}
"""Each cause of a decision in words."""

_REMEDIES: Mapping[ProblemKind, str] = {
    ProblemKind.STALE: REMEDIES[UndeterminedCause.STALE],
    ProblemKind.NOT_YET_VALID: REMEDIES[UndeterminedCause.NOT_YET_VALID],
    ProblemKind.SIGNATURE_EXPIRED: SIGN_AGAIN,
    ProblemKind.SIGNATURE_ENDS_SOON: SIGN_AGAIN,
    ProblemKind.PART_UNAVAILABLE: REMEDIES[UndeterminedCause.STORE_UNAVAILABLE],
}


# ---- text ----------------------------------------------------------------------


def _text(value: object, longest: int = _LONGEST_TEXT) -> str:
    """Return text of others as text of the page; its direction of writing stays its own."""
    words = str(value)
    if len(words) > longest:
        words = f"{words[:longest]}…"
    return f"<bdi>{html.escape(printable(words))}</bdi>"


def _name(value: object) -> str:
    """Return a name as ``_text`` does. It may be empty."""
    return _text(value, _LONGEST_NAME) if value else '<span class="muted">without a name</span>'


def span_text(span: timedelta) -> str:
    """Return a time as people say it, by its two largest units: ``"3 days 4 h"``."""
    minutes, seconds = divmod(int(abs(span).total_seconds()), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    years, days = divmod(days, 365)
    units = [
        count(years, "year"),
        count(days, "day"),
        f"{hours} h",
        f"{minutes} min",
        f"{seconds} s",
    ]
    numbers = [years, days, hours, minutes, seconds]
    first = next((place for place, number in enumerate(numbers) if number), len(numbers) - 1)
    # Nobody reads seconds beside minutes, or hours beside years.
    shown = units[first : first + 2] if first < 3 else units[first : first + 1]
    return " ".join(
        text
        for text, number in zip(shown, numbers[first:], strict=False)
        if number or len(shown) == 1
    )


def _moment(moment: datetime) -> str:
    """Return a time as an element that programs can read too."""
    moment = moment.astimezone(UTC)
    return f'<time datetime="{time_text(moment)}">{moment:%Y-%m-%d %H:%M}</time>'


def _bytes(number: int) -> str:
    if number < 1000:
        return count(number, "byte")
    size, units = float(number), ["kB", "MB", "GB", "TB", "PB", "EB"]
    for unit in units:
        size /= 1000
        if size < 999.5 or unit == units[-1]:
            return f"{size:.0f} {unit}" if size >= 10 else f"{size:.1f} {unit}"
    raise AssertionError("the last unit takes any size")


def _bar(part: float, state: str) -> str:
    """Return a bar of which a part is filled. What it shows stands beside it in words."""
    width = round(100 * min(max(part, 0.0), 1.0), 1)
    if part > 0:
        width = max(width, 0.6)  # a little is not nothing
    return (
        f'<svg class="bar {state}" viewBox="0 0 100 8" preserveAspectRatio="none" '
        f'aria-hidden="true"><rect width="{width:g}" height="8"/></svg>'
    )


# ---- problems ------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Trouble:
    """Something to look at: a heading, sentences, and what can be done."""

    is_error: bool
    heading: str
    details: tuple[str, ...] = ()
    num_more: int = 0
    remedy: str = ""


def _troubles(report: Report, totals: Totals) -> list[_Trouble]:
    """Return all that should be looked at, the worst first."""
    found = [*_of_checker(report.checker.problems)]
    kinds = {one.kind for one in report.checker.problems}
    if report.store is None and ProblemKind.NOT_LOADED not in kinds:
        heading = "The store could not be read for this page"
        found.append(_Trouble(False, heading, (report.error,)))
    elif report.store is not None:
        found += _of_store(report.store)
    silent = [one.silent_for for one in totals.workers if one.silent_for > _LONG_SILENCE]
    if silent:
        heading = f"{count(len(silent), 'worker does', 'workers do')} not respond"
        found.append(_Trouble(True, heading, (f"The last sign was {span_text(max(silent))} ago.",)))
    if totals.num_unlogged:
        found.append(
            _Trouble(
                False,
                f"{count(totals.num_unlogged, 'line is', 'lines are')} missing in the access log",
                ("Its destination is slow, full or broken.",),
            )
        )
    return sorted(found, key=lambda one: not one.is_error)


def _of_checker(problems: Iterable[StatusProblem]) -> Iterator[_Trouble]:
    kinds: dict[tuple[ProblemKind, bool], list[str]] = {}
    for one in problems:
        kinds.setdefault((one.kind, one.is_error), []).append(one.detail)
    for (kind, is_error), details in kinds.items():
        yield _Trouble(
            is_error,
            KIND_TEXTS[kind],
            tuple(details[:_MOST_OF_A_KIND]),
            max(0, len(details) - _MOST_OF_A_KIND),
            _REMEDIES.get(kind, ""),
        )


def _of_store(store: StoreStatus) -> Iterator[_Trouble]:
    soon = store.count("soon_stale")
    if soon:
        yield _Trouble(
            False,
            f"{count(soon, 'CRL')} will be stale soon",
            (
                f"{'It is' if soon == 1 else 'They are'} in the last quarter of the time that "
                f"{'it is' if soon == 1 else 'they are'} valid.",
            ),
        )
    in_grace = store.count("in_grace")
    if in_grace:
        yield _Trouble(
            False,
            f"{count(in_grace, 'CRL is', 'CRLs are')} past nextUpdate, in the operator's grace",
        )
    if store.rejections:
        number = len(store.rejections)
        yield _Trouble(
            False,
            f"{count(number, 'source')} had {'its' if number == 1 else 'their'} last CRL refused",
            ("The reasons stand under “Refused CRLs”.",),
        )
    if store.unreadable:
        yield _Trouble(
            False,
            f"{count(len(store.unreadable), 'object')} of the store cannot be read",
            tuple(f"{one.name}: {one.detail}" for one in store.unreadable[:_MOST_OF_A_KIND]),
            max(0, len(store.unreadable) - _MOST_OF_A_KIND),
            store.unreadable[0].remedy,
        )


def _problem_list(troubles: Iterable[_Trouble]) -> Iterator[str]:
    yield '<section aria-labelledby="problems"><h2 id="problems">To look at</h2>'
    yield '<ul class="problems">'
    for one in troubles:
        state, kind = ("bad", "Error") if one.is_error else ("soon", "Warning")
        yield f'<li class="{state}"><span class="kind {state}">{kind}</span>'
        yield f"<h3>{_text(one.heading)}</h3>"
        if len(one.details) == 1:
            yield f'<p class="muted">{_text(one.details[0])}</p>'
        elif one.details:
            yield "<ul>"
            yield from (f"<li>{_text(detail)}</li>" for detail in one.details)
            if one.num_more:
                yield f"<li>and {one.num_more:,} more like these</li>"
            yield "</ul>"
        if one.remedy:
            yield f"<p>What to do: {_text(one.remedy)}.</p>"
        yield "</li>"
    yield "</ul></section>"


# ---- what the service does ------------------------------------------------------


def _facts(report: Report | None, totals: Totals) -> Iterator[str]:
    yield '<section aria-labelledby="glance"><h2 id="glance">At a glance</h2><dl class="facts">'
    passed = sum(n for (_, word), n in totals.decisions.items() if word != "deny")
    denied = sum(n for (_, word), n in totals.decisions.items() if word == "deny")
    yield _fact("Requests passed", f"{passed:,}", "since the service began")
    yield _fact("Requests denied", f"{denied:,}", "since the service began")
    ages = [one.set_age for one in totals.workers if one.set_age is not None]
    if ages:
        yield _fact("Age of the set", span_text(max(ages)), "since it was last read in full")
    if report is not None and report.store is not None:
        yield from _facts_of_store(report.store)
    images = max((one.image_bytes for one in totals.workers), default=0)
    if images:
        yield _fact("Images in memory", _bytes(images), "shared by the workers")
    yield _fact("Workers", f"{len(totals.workers):,}", "")
    yield "</dl></section>"


def _facts_of_store(store: StoreStatus) -> Iterator[str]:
    yield _fact("Scopes", f"{store.num_scopes:,}", "each with a complete CRL")
    yield _fact("Trusted issuers", f"{store.num_issuers:,}", "")
    if store.num_entries is not None:
        yield _fact("Entries", f"{store.num_entries:,}", "revoked certificates in all CRLs")
    if store.num_denied:
        yield _fact("Denials", f"{store.num_denied:,}", "by hand, whatever the CRLs say")
    if store.signed_for is not None:
        is_past = store.signed_for < timedelta(0)
        note = "for which it has expired" if is_past else "for which it still holds"
        yield _fact("Signature of the set", span_text(store.signed_for), note)


def _fact(name: str, value: str, note: str) -> str:
    small = f"<small>{_text(note)}</small>" if note else ""
    return f"<div><dt>{_text(name)}</dt><dd>{_text(value)}{small}</dd></div>"


def _decisions(totals: Totals) -> Iterator[str]:
    yield '<section aria-labelledby="decisions"><h2 id="decisions">Decisions</h2>'
    whole = sum(totals.decisions.values())
    if not whole:
        yield f'<p class="note">Nothing was asked yet.</p>{_ocsp(totals)}</section>'
        return
    by_cause: dict[str, Counter[str]] = {}
    for (cause, decision), number in totals.decisions.items():
        by_cause.setdefault(cause, Counter())[decision] += number
    has_observed = any(one["observe"] for one in by_cause.values())
    yield "<table><caption>What all workers decided since the service began</caption>"
    yield '<thead><tr><th scope="col">What was found</th><th scope="col" class="number">Passed</th>'
    if has_observed:
        yield '<th scope="col" class="number">Only observed</th>'
    yield '<th scope="col" class="number">Denied</th>'
    yield '<th scope="col" class="share wide">Share</th></tr></thead><tbody>'
    order = {cause: place for place, cause in enumerate((*CAUSES, OTHER))}
    for cause, numbers in sorted(by_cause.items(), key=lambda item: order[item[0]]):
        part = numbers.total() / whole
        verdict = verdict_of(cause)
        state = {"not_revoked": "good", "revoked": "bad"}.get(verdict, "soon")
        undetermined = ' <span class="muted">(undetermined)</span>'
        yield f'<tr><th scope="row">{CAUSE_TEXTS[cause]}'
        yield f"{undetermined if verdict == 'undetermined' else ''}</th>"
        shown = ("allow", "observe", "deny") if has_observed else ("allow", "deny")
        for word in shown:
            yield (
                f'<td class="number">{numbers[word]:,}</td>'
                if numbers[word]
                else ('<td class="number muted">0</td>')
            )
        yield f'<td class="share wide">{_percent(part)}{_bar(part, state)}</td></tr>'
    yield "</tbody></table>"
    yield f'<p class="note">{_durations(totals)}</p>{_ocsp(totals)}</section>'


def _ocsp(totals: Totals) -> str:
    """Return how OCSP requests were answered, if there were any."""
    told = [
        f"{number:,} {_text(outcome.replace('_', ' '))}"
        for outcome, number in totals.ocsp.items()
        if number
    ]
    return f'<p class="note">Answers to OCSP requests: {", ".join(told)}.</p>' if told else ""


def _percent(part: float) -> str:
    if 0 < part < 0.001:
        return "under 0.1 %"
    if 0.999 < part < 1:
        return "over 99.9 %"
    return f"{100 * part:.1f} %" if part < 1 else "100 %"


def _durations(totals: Totals) -> str:
    half, most = totals.quantile(0.5), totals.quantile(0.99)
    if half is None or most is None:
        return ""
    return f"Half of the decisions took {_up_to(half)}, 99 of 100 took {_up_to(most)}."


def _up_to(seconds: float) -> str:
    if seconds == float("inf"):
        return "longer than 2.5 s"
    return f"at most {seconds * 1000:g} ms" if seconds < 1 else f"at most {seconds:g} s"


# ---- what is published -----------------------------------------------------------


def _published(store: StoreStatus, page: int) -> Iterator[str]:
    num_pages = max(1, -(-len(store.scopes) // PER_PAGE))
    page = min(max(page, 1), num_pages)
    scopes = store.scopes[(page - 1) * PER_PAGE : page * PER_PAGE]
    yield '<section aria-labelledby="published"><h2 id="published">Published CRLs</h2>'
    if scopes:
        said = "The CRLs with the least time left come first."
        yield f"<table><caption>{said}</caption><thead><tr>"
        yield '<th scope="col">Issuer</th><th scope="col" class="number wide">CRL number</th>'
        yield '<th scope="col" class="number wide">Entries</th>'
        yield '<th scope="col" class="wide">nextUpdate</th>'
        yield '<th scope="col" class="left">Time left</th></tr></thead><tbody>'
        for one in scopes:
            yield from _scope_row(one)
        yield "</tbody></table>"
    yield from _pages(page, num_pages)
    yield f'<p class="note">{_unlisted(store)}</p></section>'


def _scope_row(one: PublishedScope) -> Iterator[str]:
    number = "none" if one.crl_number is None else f"{one.crl_number}"
    delta = ' <span class="muted">(delta)</span>' if one.is_delta else ""
    until = "none" if one.next_update is None else _moment(one.next_update)
    yield f'<tr><th scope="row">{_name(one.issuer)}<span class="key">{_text(one.scope)}</span>'
    kind = "Delta CRL" if one.is_delta else "CRL"
    entries = count(one.num_entries, "entry", "entries")
    also = f"{kind} {_short_number(number)}, {entries}, nextUpdate {until}"
    yield f'<span class="also">{also}, scope {_text(one.scope[:8])}</span></th>'
    yield f'<td class="number wide">{_short_number(number)}{delta}</td>'
    yield f'<td class="number wide">{one.num_entries:,}</td><td class="wide">{until}</td>'
    state, words = _time_left(one)
    yield f'<td class="left">{words}{_bar(_part_left(one), state)}</td></tr>'


def _short_number(number: str) -> str:
    # CRL numbers have up to 49 digits.
    return _text(number if len(number) <= 16 else f"{number[:6]}…{number[-6:]}")


def _part_left(one: PublishedScope) -> float:
    if one.next_update is None or one.time_left is None:
        return 1.0
    validity = one.next_update - one.this_update
    return one.time_left / validity if validity > timedelta(0) else 0.0


def _time_left(one: PublishedScope) -> tuple[str, str]:
    """Return how urgent a scope is, and its time left in words."""
    if one.time_left is None:
        return "good", "no end"
    span = span_text(one.time_left)
    return {
        "current": ("good", span),
        "soon_stale": ("soon", f'<b class="soon">{span}</b>'),
        "stale": ("bad", f'<b class="bad">stale for {span}</b>'),
        "in_grace": ("soon", f'<b class="soon">in grace, past by {span}</b>'),
        "expired_and_replaced": ("good", f"replaced, expired for {span}"),
    }[one.state]


def _pages(page: int, num_pages: int) -> Iterator[str]:
    if num_pages == 1:
        return
    yield '<nav class="pages" aria-label="Pages of published CRLs">'
    yield f"<span>Page {page} of {num_pages}</span>"
    for words, number in (
        ("First", 1),
        ("Previous", page - 1),
        ("Next", page + 1),
        ("Last", num_pages),
    ):
        if 1 <= number <= num_pages and number != page:
            yield f'<a href="?page={number}#published">{words}</a>'
    yield "</nav>"


def _unlisted(store: StoreStatus) -> str:
    listed = len(store.scopes)
    if store.num_entries is None:
        due = sum(store.num_by_state.values())
        words = (
            f"The set has {store.num_scopes:,} scopes. Of more than {MAX_READ:,} only those are "
            f"read here that are stale or soon will be: {due:,}"
        )
        words += "." if due == listed else f", of which the first {listed:,} are listed."
    elif listed < store.num_scopes:
        words = f"The first {listed:,} of {count(store.num_scopes, 'scope')} are listed."
    else:
        words = f"{count(store.num_scopes, 'scope')} in all."
    counted = [
        f"{store.count(state):,} {name}"
        for state, name in (
            ("stale", "stale"),
            ("soon_stale", "stale soon"),
            ("in_grace", "in grace"),
            ("expired_and_replaced", "replaced"),
        )
        if store.count(state)
    ]
    if counted:
        words += f" By their state: {', '.join(counted)}."
    if listed < store.num_scopes:
        words += " “crlcheck status --all” lists every one."
    return words


def _refused(store: StoreStatus) -> Iterator[str]:
    yield '<section aria-labelledby="refused"><h2 id="refused">Refused CRLs</h2>'
    if not store.knows_rejections:
        yield '<p class="note">They are not known: a store at a URL does not list its objects.</p>'
    elif not store.rejections:
        yield '<p class="note">None. The last CRL of every source was published.</p>'
    else:
        yield '<ul class="list">'
        for one in store.rejections[:_MOST_REFUSED]:
            yield from _refusal(one)
        yield "</ul>"
        more = len(store.rejections) - _MOST_REFUSED
        if more > 0:
            yield f'<p class="note">And {more:,} more: “crlcheck refusal list” shows all.</p>'
    yield "</section>"


def _refusal(one: Rejection) -> Iterator[str]:
    yield f"<li><h3>{_name(one.source)}</h3><p>{_text(one.detail)}</p>"
    if one.remedy:
        yield f"<p>What to do: {_text(one.remedy)}.</p>"
    yield f'<p class="muted">Refused {_moment(one.at)}. '
    if one.serving:
        shown = ", ".join(map(_name, one.serving[:_MOST_OF_A_KIND]))
        more = len(one.serving) - _MOST_OF_A_KIND
        yield f"Still in use: {shown}{f' and {more:,} more' if more > 0 else ''}."
    else:
        yield "No CRL of this source is in use."
    yield "</p></li>"


# ---- the page -------------------------------------------------------------------


def _verdict(report: Report | None, troubles: list[_Trouble]) -> tuple[str, str, str]:
    """Return how urgent it is to look at the service, and what it says of itself."""
    if report is None:
        return "soon", "The store is being read", "Load the page again in a few seconds."
    if not report.checker.answering:
        said = "Every certificate is undetermined, and every client is denied."
        return "bad", "No certificate can be decided on", said
    if any(one.is_error for one in report.checker.problems):
        said = "Their clients are denied. All others are decided on as usual."
        return "bad", "Some certificates cannot be decided on", said
    if troubles:
        things = count(len(troubles), "thing")
        return "soon", f"Working, with {things} to look at", "Certificates are decided on."
    return "good", "All is well", "Certificates are decided on, and every CRL is current."


_DOTS = {"good": "#1a9c7d", "soon": "#d98a1f", "bad": "#d6453b"}


def _icon(state: str) -> str:
    """Return a dot as a URL, which shows the state in the browser's tab."""
    drawn = (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16">'
        f'<circle cx="8" cy="8" r="7" fill="{_DOTS[state]}"/></svg>'
    )
    return f"data:image/svg+xml,{quote(drawn)}"


class StatusPage:
    """Answers with the page."""

    def __init__(self, counts: Counts, reports: Reports) -> None:
        self._counts = counts
        self._reports = reports

    async def answer(self, request: Request) -> Response:
        """Answer with the page, of which the query tells the number: ``page=2``."""
        report = await self._reports.latest()
        page = _page_in(request.query)
        body = await asyncio.to_thread(
            lambda: status_page(report, self._counts.totals(), page=page)
        )
        return Response(200, HEADERS, body)


def _page_in(query: bytes) -> int:
    found = re.search(rb"(?:^|&)page=([0-9]{1,9})(?:&|$)", query)
    return 1 if found is None else int(found[1])


def status_page(report: Report | None, totals: Totals, *, page: int = 1) -> bytes:
    """
    Return the page, as HTML.

    *report* is None where there is none yet. *page* is which of the lists of scopes is shown;
    one that there is not is the nearest.
    """
    troubles = [] if report is None else _troubles(report, totals)
    state, words, lead = _verdict(report, troubles)
    store = None if report is None else report.store
    parts = [
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        '<meta name="color-scheme" content="light dark"><meta name="robots" content="noindex">',
        f"<title>{words} · crlcheck</title>",
        f'<link rel="icon" href="{_icon(state)}"><style>{_STYLE}</style></head>',
        '<body><div class="wrap"><header><p class="name">crlcheck',
        "" if store is None else f" · {_name(store.store)}",
        f'</p><h1 class="{state}"><span>{words}</span></h1><p class="lead">{lead}',
        "" if store is None else f'</p><p class="since">{_generation(store)}',
        "</p></header><main>",
    ]
    if troubles:
        parts += _problem_list(troubles)
    parts += _facts(report, totals)
    # What somebody should see comes before what may be long.
    if store is not None and store.rejections:
        parts += _refused(store)
    if store is not None:
        parts += _published(store, page)
    parts += _decisions(totals)
    if store is not None and not store.rejections:
        parts += _refused(store)
    parts.append("</main><footer>")
    if report is not None:
        parts.append(f"<p>As of {_moment(report.at)}. All times are UTC.</p>")
    parts.append("<p>Load the page again for newer values.</p></footer></div></body></html>\n")
    return "".join(parts).encode("utf-8")


def _generation(store: StoreStatus) -> str:
    written = "" if store.at is None else f", published {_moment(store.at)}"
    return f"Generation {store.generation:,}{written}."
