"""The status page in a real browser: as wide as the window, and without anything from elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from crlcheck.serve.status_page import HEADERS, status_page
from support.authorizer import publish
from support.browser import DESKTOP, NARROW, PHONE, Browser, browser
from support.serving import PKI, serving
from support.site import Site, web_site
from support.status_pages import PAGES

SCREENSHOTS = Path(__file__).parents[2] / "build" / "status"
LOOKS = {
    "desktop-light": (DESKTOP, "light"),
    "phone-dark": (PHONE, "dark"),
    "narrow-light": (NARROW, "light"),
}


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """One browser for all tests."""
    with browser(tmp_path_factory.mktemp("browser")) as made:
        yield made


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    """A server that has the page of each kind of store, with the headers of the service."""
    with web_site() as made:
        for name, make in PAGES.items():
            report, totals = make()
            made.pages[f"/{name}"] = (200, dict(HEADERS), status_page(report, totals))
        yield made


@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize("name", PAGES)
def test_the_page_fits_the_window_and_needs_nothing_else(
    name: str, look: str, program: Browser, site: Site
) -> None:
    """
    The browser asks for nothing but the page, complains of nothing, and needs no scrolling
    to the side. A picture is left in build/status.
    """
    size, scheme = LOOKS[look]
    url = f"{site.url}/{name}"
    tab = program.load(url, size, scheme=scheme)
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    (SCREENSHOTS / f"{name}-{look}.png").write_bytes(tab.screenshot)
    assert tab.complaints == []
    assert [one for one in tab.requests if not one.startswith("data:")] == [url]
    assert tab.width == size[0]
    (heading,) = [one for one in tab.texts("heading") if one in tab.texts("RootWebArea")[0]]
    assert heading


def test_a_person_who_cannot_see_it_hears_the_same(program: Browser, site: Site) -> None:
    """
    The headers of the table are headers, on a phone too, and bars say nothing by themselves.
    """
    for size in (DESKTOP, PHONE):
        tab = program.load(f"{site.url}/stale", size)
        assert {"Issuer", "Time left", "Passed", "Denied"} <= set(tab.texts("columnheader"))
        (row,) = [one for one in tab.texts("rowheader") if "Northwind Device" in one]
        assert row
        assert any("stale for 2 days 2 h" in one for one in tab.texts("cell"))
        assert tab.texts("image") == []


def test_the_browser_notices_what_the_page_must_not_do(program: Browser, site: Site) -> None:
    """
    What the other tests see to be absent is seen where it is there.
    """
    bad = (
        '<!DOCTYPE html><div style="width: 3000px">wide</div>'
        '<img src="http://127.0.0.1:9/x.png"><style>body { color: red }</style>'
    )
    site.pages["/bad"] = (200, {"Content-Type": "text/html"}, bad.encode())
    tab = program.load(f"{site.url}/bad", PHONE)
    assert tab.width > PHONE[0]
    assert "http://127.0.0.1:9/x.png" in tab.requests
    assert tab.complaints
    site.pages["/bad"] = (200, dict(HEADERS), bad.encode())
    tab = program.load(f"{site.url}/bad", PHONE)
    assert any("Content Security Policy" in one for one in tab.complaints)


def test_the_real_service_shows_itself(program: Browser, tmp_path: Path) -> None:
    """
    As a person sees it who opens the address.
    """
    publish(tmp_path / "published", PKI.crl())
    with serving(tmp_path / "published", tmp_path / "run", over="tcp", workers=2) as service:
        for client in ("good", "revoked", None):
            service.check(client)
        url = f"http://127.0.0.1:{service.address}/status"
        tab = program.load(url, PHONE)
    assert tab.complaints == []
    assert [one for one in tab.requests if not one.startswith("data:")] == [url]
    assert tab.width == PHONE[0]
    assert "All is well" in tab.texts("heading")
    assert any("CN=Example Issuing CA" in one for one in tab.texts("rowheader"))
