"""The page for people: true, safe whatever a CRL calls its issuer, and never too long."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import itertools
import re
from collections.abc import Iterator, Mapping
from datetime import timedelta
from html.parser import HTMLParser
from pathlib import Path

import pytest

from crlcheck.access import CAUSES
from crlcheck.serve.counts import OTHER
from crlcheck.serve.report import MAX_LISTED
from crlcheck.serve.status_page import (
    CAUSE_TEXTS,
    HEADERS,
    KIND_TEXTS,
    PER_PAGE,
    span_text,
    status_page,
)
from crlcheck.types import ProblemKind
from support.authorizer import publish
from support.serving import PKI, Serving, serving
from support.status_pages import HOSTILE, IDLE, PAGES, TOTALS, many

HOUR = timedelta(hours=1)
ELEMENTS = frozenset(
    [
        "html",
        "head",
        "meta",
        "title",
        "link",
        "style",
        "body",
        "div",
        "header",
        "p",
        "h1",
        "h2",
        "h3",
        "span",
        "bdi",
        "b",
        "main",
        "section",
        "dl",
        "dt",
        "dd",
        "small",
        "ul",
        "li",
        "table",
        "caption",
        "thead",
        "tbody",
        "tr",
        "th",
        "td",
        "svg",
        "rect",
        "time",
        "nav",
        "a",
        "footer",
    ]
)
ATTRIBUTES = frozenset(
    [
        "lang",
        "charset",
        "name",
        "content",
        "rel",
        "href",
        "class",
        "id",
        "aria-labelledby",
        "aria-label",
        "aria-hidden",
        "scope",
        "datetime",
        "viewbox",
        "preserveaspectratio",
        "width",
        "height",
    ]
)


class Reader(HTMLParser):
    """Reads a page as a browser does, and notes what is in it."""

    VOID = frozenset({"meta", "link", "rect"})

    def __init__(self, page: bytes) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, Mapping[str, str | None]]] = []
        self.open: list[str] = []
        self.words: list[str] = []
        self.styles: list[str] = []
        self.feed(page.decode("utf-8"))
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        (self.styles if self.open[-1:] == ["style"] else self.words).append(data)

    @property
    def text(self) -> str:
        """The words of the page."""
        return " ".join(" ".join(self.words).split())

    def values(self, name: str) -> list[str]:
        """The values of an attribute, wherever it is."""
        return [found for _, attributes in self.tags if (found := attributes.get(name)) is not None]


@pytest.fixture(scope="module")
def pages() -> dict[str, Reader]:
    """The pages of all kinds of stores."""
    found = {}
    for name, make in PAGES.items():
        report, totals = make()
        found[name] = Reader(status_page(report, totals))
    found["first"] = Reader(status_page(None, IDLE))
    return found


# ---- what it says ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "heading"),
    [
        ("good", "All is well"),
        ("stale", "Some certificates cannot be decided on"),
        ("all_stale", "No certificate can be decided on"),
        ("refused", "Working, with 3 things to look at"),
        ("empty", "No certificate can be decided on"),
        ("unreadable", "Working, with 1 thing to look at"),
        ("first", "The store is being read"),
    ],
)
def test_the_heading_says_how_it_stands(name: str, heading: str, pages: dict[str, Reader]) -> None:
    """
    And so does the title, which the browser's tab shows.
    """
    page = pages[name]
    assert f"{heading} " in f"{page.text} "
    assert page.text.startswith(f"{heading} · crlcheck")


def test_what_is_published_is_told(pages: dict[str, Reader]) -> None:
    """
    Scopes, issuers, entries, CRL numbers and the time left, the least first.
    """
    text = pages["good"].text
    for words in (
        "Generation 5",
        "Scopes 5 ",
        "Trusted issuers 5 ",
        "Entries 7,255 ",
        "CN=Northwind Device Issuing CA 7",
        "4701",
        "2026-03-07 16:00",
        "6 days 16 h",
        "Images in memory 48 MB",
        "Age of the set 4 s",
        "Workers 2 ",
    ):
        assert words in f"{text} ", words
    assert text.index("1 day 6 h") < text.index("3 days 18 h") < text.index("91 days 16 h")


def test_bars_show_the_part_of_the_time_that_is_left(pages: dict[str, Reader]) -> None:
    """
    None of it for a stale CRL.
    """
    page = pages["stale"]
    widths = [float(attributes["width"] or "") for tag, attributes in page.tags if tag == "rect"]
    left = [0, 0, 1 / 9, 30 / 38, 700 / 708]
    assert widths[:5] == pytest.approx([100 * part for part in left], abs=0.06)
    assert "stale for 2 days 2 h" in page.text


def test_what_was_decided_is_told(pages: dict[str, Reader]) -> None:
    """
    By what was found, in words, over all workers.
    """
    text = pages["good"].text
    for words in (
        "Requests passed 1,204,311",
        "Requests denied 2,290",
        "Not revoked 1,204,311 0 99.8 %",
        "Revoked 0 318 under 0.1 %",
        "Unknown issuer (undetermined) 0 42",
        "No certificate 0 1,920 0.2 %",
        "Half of the decisions took at most 0.1 ms, 99 of 100 took at most 0.5 ms.",
    ):
        assert words in text, words
    assert "Nothing was asked yet." in pages["empty"].text


def test_answers_to_ocsp_requests_are_told_where_there_are_any(pages: dict[str, Reader]) -> None:
    """
    By their outcome, also where nobody asked anything else.
    """
    assert "OCSP" not in pages["good"].text
    report, _ = PAGES["good"]()
    for totals in (IDLE, TOTALS):
        answered = dataclasses.replace(totals, ocsp={"good": 1_200, "revoked": 0, "try_later": 3})
        text = Reader(status_page(report, answered)).text
        assert "Answers to OCSP requests: 1,200 good , 3 try later ." in text


def test_what_was_only_observed_has_a_column() -> None:
    """
    Requests that passed although they would have been denied are no denials.
    """
    report, totals = PAGES["good"]()
    observed = {("revoked", "observe"): 5, ("not_revoked", "allow"): 5}
    text = Reader(status_page(report, dataclasses.replace(totals, decisions=observed))).text
    assert "Only observed" in text
    assert "Revoked 0 5 0 50.0 %" in text
    assert "Requests passed 10 " in text
    assert "Requests denied 0 " in text


def test_what_was_refused_is_told_with_what_to_do(pages: dict[str, Reader]) -> None:
    """
    Before what is published, and with what stays in use.
    """
    text = pages["refused"].text
    assert text.index("README.txt") < text.index("Published CRLs")
    assert "What to do: nothing, if a cache on the way sent an old CRL" in text
    assert "Still in use: CRL 4701 of CN=Northwind Device Issuing CA 7 ." in text
    assert "4 sources had their last CRL refused" in text
    assert "1 worker does not respond" in text
    assert "The last sign was 12 min ago." in text
    assert "1,204 lines are missing in the access log" in text
    assert "None. The last CRL of every source was published." in pages["good"].text


def test_problems_come_first_errors_before_warnings(pages: dict[str, Reader]) -> None:
    """
    In plain words, with what to do.
    """
    text = pages["stale"].text
    places = [
        text.index(words)
        for words in (
            "To look at Error CRLs are past their nextUpdate",
            "What to do: publish the CA's next CRL",
            "Warning 1 CRL will be stale soon",
            "At a glance",
            "Published CRLs",
        )
    ]
    assert places == sorted(places)
    assert "To look at" not in pages["good"].text


def test_a_store_that_cannot_be_read_is_told(pages: dict[str, Reader]) -> None:
    """
    What the workers have goes on being told.
    """
    text = pages["unreadable"].text
    assert "The store could not be read for this page" in text
    assert "no answer within 1 s" in text
    assert "Age of the set 4 s" in text


def test_every_kind_and_every_cause_has_words() -> None:
    """
    Whatever is added.
    """
    assert set(KIND_TEXTS) == set(ProblemKind)
    assert set(CAUSE_TEXTS) == {*CAUSES, OTHER}


@pytest.mark.parametrize(
    ("span", "text"),
    [
        (timedelta(0), "0 s"),
        (timedelta(seconds=59.9), "59 s"),
        (timedelta(seconds=61), "1 min"),
        (61 * timedelta(minutes=1), "1 h 1 min"),
        (25 * HOUR, "1 day 1 h"),
        (48 * HOUR, "2 days"),
        (24 * HOUR + timedelta(minutes=5), "1 day"),
        (timedelta(days=365), "1 year"),
        (timedelta(days=800, hours=5), "2 years 70 days"),
        (-25 * HOUR, "1 day 1 h"),
        (timedelta.max, "2,739,726 years 10 days"),
    ],
)
def test_a_time_is_told_by_its_two_largest_units(span: timedelta, text: str) -> None:
    """
    Without what nobody reads.
    """
    assert span_text(span) == text


# ---- what it never does ----------------------------------------------------------


@pytest.mark.parametrize("name", [*PAGES, "first"])
def test_the_page_needs_nothing_from_elsewhere(name: str, pages: dict[str, Reader]) -> None:
    """
    Only elements and attributes that load and run nothing, and links within the page.
    """
    page = pages[name]
    assert {tag for tag, _ in page.tags} <= ELEMENTS
    assert {one for _, attributes in page.tags for one in attributes} <= ATTRIBUTES
    for link in page.values("href"):
        assert re.fullmatch(r"\?page=[0-9]+#published|data:image/svg\+xml,[\w%./-]+", link)
    (style,) = page.styles
    assert "url(" not in style
    assert "@import" not in style
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = dict(HEADERS)["Content-Security-Policy"]
    assert f"style-src 'sha256-{digest}';" in policy
    assert policy.startswith("default-src 'none';")
    assert "unsafe" not in policy


@pytest.mark.parametrize("name", ["hostile", "refused"])
def test_a_name_that_attacks_is_only_text(name: str, pages: dict[str, Reader]) -> None:
    """
    It is in no attribute, and nothing of it is read as the page's own.
    """
    page = pages[name]
    shown = HOSTILE.replace("\u202e", "\\u202e")
    assert " ".join(shown.split()) in page.text
    for _, attributes in page.tags:
        assert not any("x.test" in (value or "") for value in attributes.values())
    assert all(one.isprintable() or one.isspace() for one in page.text)
    assert "A" * 200 not in page.text


def test_a_set_of_any_size_makes_a_page_of_some_length() -> None:
    """
    The most urgent scopes are on the first one, and the others are counted.
    """
    lengths = []
    for number in (1_000, 3_000, 20_000):
        report, totals = many(number)
        lengths.append(len(status_page(report, totals)))
        text = Reader(status_page(report, totals)).text
        assert f"Page 1 of {MAX_LISTED // PER_PAGE}" in text
        assert f"Scopes {number:,} " in text
    assert max(lengths) < 1.1 * min(lengths) < 60_000
    assert "The first 1,000 of 20,000 scopes are listed." in text


def scopes_on(page: Reader) -> list[str]:
    """The keys of the scopes of a page."""
    return re.findall(r"\b0[0-9a-f]{31}\b", page.text)


def test_the_pages_have_every_listed_scope_once() -> None:
    """
    A page that there is not is the nearest.
    """
    report, totals = many()
    assert report.store is not None
    read: list[str] = []
    last = MAX_LISTED // PER_PAGE
    for number in range(1, last + 1):
        page = Reader(status_page(report, totals, page=number))
        links = re.findall(r"\?page=([0-9]+)", " ".join(page.values("href")))
        near = {1, number - 1, number + 1, last} & set(range(1, last + 1)) - {number}
        assert {int(one) for one in links} == near
        read += scopes_on(page)
    assert read == [one.scope for one in report.store.scopes]
    for odd, nearest in ((0, 1), (-5, 1), (last + 1, last), (10**9, last)):
        assert status_page(report, totals, page=odd) == status_page(report, totals, page=nearest)


def test_a_large_set_tells_that_it_was_not_read_as_a_whole() -> None:
    """
    Nothing that is not known is told as a number.
    """
    report, totals = many()
    assert report.store is not None
    large = dataclasses.replace(
        report.store,
        num_scopes=100_000,
        scopes=report.store.scopes[:30],
        num_by_state={"stale": 12, "soon_stale": 18},
        num_entries=None,
    )
    page = Reader(status_page(dataclasses.replace(report, store=large), totals))
    assert "The set has 100,000 scopes." in page.text
    assert "only those are read here that are stale or soon will be: 30." in page.text
    assert "By their state: 12 stale, 18 stale soon." in page.text
    assert "Entries" not in page.text.partition("Published CRLs")[0]


# ---- how it reads ----------------------------------------------------------------

STYLE = Path(__file__).parents[2] / "crlcheck" / "serve" / "status_page.css"


def palettes() -> Iterator[dict[str, str]]:
    """The colours in the light and in the dark."""
    for block in re.findall(r":root \{(.*?)\}", STYLE.read_text("utf-8"), re.DOTALL):
        yield dict(re.findall(r"--(\w+): (#[0-9a-f]{6});", block))


def luminance(colour: str) -> float:
    """The relative luminance of WCAG 2.2."""
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    """The contrast ratio of WCAG 2.2."""
    lighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def test_text_and_bars_stand_out_in_the_light_and_in_the_dark() -> None:
    """
    As WCAG 2.2 AA demands: 4.5 for text, 3 for bars.
    """
    light, dark = palettes()
    assert light.keys() == dark.keys()
    for colours in (light, dark):
        for ground in ("page", "card"):
            for name in ("text", "muted", "good", "soon", "bad", "link"):
                assert contrast(colours[name], colours[ground]) >= 4.5, (name, ground)
        for name in ("good", "soon", "bad"):
            assert contrast(colours[name], colours["track"]) >= 3, name


@pytest.mark.parametrize("name", [*PAGES, "first"])
def test_headings_and_tables_can_be_read_aloud(name: str, pages: dict[str, Reader]) -> None:
    """
    One first heading, none that is left out, a language, and headers for rows and columns.
    """
    page = pages[name]
    tags = [tag for tag, _ in page.tags]
    assert page.tags[0] == ("html", {"lang": "en"})
    assert tags.count("h1") == 1
    levels = [int(tag[1]) for tag in tags if re.fullmatch("h[1-6]", tag)]
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))
    assert all(
        attributes.get("scope") in ("row", "col") for tag, attributes in page.tags if tag == "th"
    )
    assert tags.count("caption") == tags.count("table")
    assert all(attributes.get("aria-hidden") for tag, attributes in page.tags if tag == "svg")
    names = page.values("id")
    assert len(names) == len(set(names))
    assert set(page.values("aria-labelledby")) <= set(names)


# ---- the real service ------------------------------------------------------------


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """A service beside a store with one CRL."""
    directory = tmp_path_factory.mktemp("serve")
    publish(directory / "published", PKI.crl())
    with serving(directory / "published", directory) as made:
        yield made


def test_the_service_has_the_page(service: Serving) -> None:
    """
    With the headers that forbid it to load anything.
    """
    service.check("good")
    answer = service.ask("/status")
    assert answer.status == 200
    for name, value in HEADERS:
        assert answer.headers[name.lower()] == value
    text = Reader(answer.body).text
    assert "All is well" in text
    assert "CN=Example Issuing CA" in text
    assert "Not revoked 1 0 100 %" in text
    assert service.ask("/status", method="HEAD").body == b""
    assert service.ask("/status", method="POST").status == 405


@pytest.mark.parametrize(
    "query", ["page=2", "page=0", "page=-1", "page=x", "page=" + "9" * 99, "%00", "a=1&page=1"]
)
def test_any_query_has_the_page(service: Serving, query: str) -> None:
    """
    A number that makes no sense is as good as none.
    """
    assert Reader(service.ask(f"/status?{query}").body).text.startswith("All is well")
