"""
The documentation's site as `make docs` builds it: its links, what it loads, and how it looks
in a real browser.
"""

from __future__ import annotations

import functools
import http.server
import re
import threading
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from support.browser import DESKTOP, PHONE, Browser, browser
from support.documents import document

ROOT = Path(__file__).parents[2]
SITE = ROOT / "build" / "site-source" / "site"
PAGES = sorted(path.relative_to(SITE).as_posix() for path in SITE.rglob("*.html"))
LOOKED_AT = (
    "index.html",
    "guides/serve.html",
    "commands.html",
    "tutorials/aws.html",
    "explanation/benchmarks/intel-xeon-6-207.html",
)


class _Page(HTMLParser):
    """What a page links to, what it loads, and the anchors that it has."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.anchors: set[str] = set()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take note of a link, of what is loaded, and of an anchor."""
        given = {name: value or "" for name, value in attrs}
        if "id" in given:
            self.anchors.add(given["id"])
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        if tag == "link" and given.get("rel") not in ("canonical", "prev", "next", "edit"):
            self.loads.append(given.get("href", ""))
        if tag in ("script", "img", "iframe", "source") and given.get("src"):
            self.loads.append(given["src"])


@functools.cache
def read(path: Path) -> _Page:
    """A page, parsed once."""
    return _Page(path)


def leads_to(page: str, link: str) -> tuple[Path, str] | None:
    """The file and the anchor that a link leads to; None for one that leaves the site."""
    parts = urlsplit(link)
    if parts.scheme or parts.netloc:
        return None
    path = SITE / page if not parts.path else (SITE / page).parent / unquote(parts.path)
    if parts.path.startswith("/"):
        path = SITE / unquote(parts.path).lstrip("/")
    if path.is_dir():
        path /= "index.html"
    return path.resolve(), unquote(parts.fragment)


def test_there_are_pages() -> None:
    """
    The ones that readers look for, each with its kind.
    """
    assert {
        "index.html",
        "readme.html",
        "api.html",
        "commands.html",
        "guides/runbook.html",
        "tutorials/aws.html",
        "tutorials/library.html",
        "guides/sam.html",
        "guides/migration.html",
        "guides/upgrade.html",
        "journeys/openssl_ca.html",
    } <= set(PAGES)


@pytest.mark.parametrize("page", PAGES)
def test_no_link_is_dead(page: str) -> None:
    """
    Each leads to a page, and to a heading that is there.
    """
    if page == "404.html":  # its links are for any place of the site
        return
    dead = []
    for link in read(SITE / page).links:
        found = leads_to(page, link)
        if found is None:
            continue
        path, anchor = found
        if not path.is_file() or (
            anchor and path.suffix == ".html" and anchor not in read(path).anchors
        ):
            dead.append(link)
    assert dead == []


def test_each_page_is_in_the_list_of_pages() -> None:
    """
    A reader reaches it from the first page.
    """
    reached = {leads_to("index.html", link) for link in read(SITE / "index.html").links}
    places = {found[0] for found in reached if found is not None}
    assert [one for one in PAGES if one != "404.html" and (SITE / one) not in places] == []


def test_the_python_api_shows_how_names_are_called() -> None:
    """
    As a program writes them, without quotes around types or addresses of this build.
    """
    text = (SITE.parent / "docs" / "api.md").read_text(encoding="utf-8")
    calls = [
        line
        for block in re.findall(r"```python\n(.*?)\n```", text, re.DOTALL)
        for line in block.splitlines()
    ]
    assert "check_url(url: str) -> str" in calls
    assert "Rule.DENY = 'deny'" in calls
    assert [one for one in calls if re.search(r": '|-> '|0x[0-9a-f]{6}|<|qualname=", one)] == []


@pytest.mark.parametrize("page", PAGES)
def test_nothing_is_loaded_from_elsewhere(page: str) -> None:
    """
    Scripts, styles, fonts and pictures are files of the site, and are there.
    """
    loads = read(SITE / page).loads
    assert loads
    assert [one for one in loads if urlsplit(one).netloc] == []
    if page == "404.html":  # as its links
        return
    found = [(one, leads_to(page, one)) for one in loads if not one.startswith("data:")]
    assert [one for one, file in found if file is None or not file[0].is_file()] == []


def test_styles_load_nothing_from_elsewhere() -> None:
    """
    Nor do they name a font of another server.
    """
    for path in SITE.rglob("*.css"):
        text = path.read_text(encoding="utf-8")
        assert re.findall(r"(?:url\(|@import )[\"']?(?:https?:)?//", text) == [], path


def test_each_figure_of_the_front_was_measured() -> None:
    """
    It stands in the row of the benchmarks that is about it.
    """
    text = (SITE / "index.html").read_text(encoding="utf-8")
    figures = re.findall(r"<strong>([\d,.]+ \S+)</strong>", text)
    measured = document("intel-xeon-6-207.md").read_text(encoding="utf-8")
    lookup = re.search(r"^\| T5, 10 M \|.* (\d+ ns) against", measured, re.MULTILINE)
    decision = re.search(r"^\| T11, no poll \|.*µs of CPU \| ([\d.]+) \|", measured, re.MULTILINE)
    received = re.search(r"^\| T20, bytes \|.*KB more[^|]*\| ([\d.]+) \|", measured, re.MULTILINE)
    assert lookup is not None
    assert decision is not None
    assert received is not None
    assert figures == [lookup[1], f"{float(decision[1]):.0f} µs", f"{float(received[1]):.0f} KB"]


# ---- in a browser ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """One browser for all tests."""
    with browser(tmp_path_factory.mktemp("browser")) as made:
        yield made


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """Where the site is served on this machine."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002
            """Say nothing."""

    make = functools.partial(Handler, directory=str(SITE))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), make) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
@pytest.mark.parametrize("page", LOOKED_AT)
def test_a_page_in_a_browser(
    program: Browser, address: str, page: str, size: tuple[int, int], scheme: str
) -> None:
    """
    It asks for nothing but files of the site, complains of nothing, and is as wide as the window.
    """
    tab = program.load(f"{address}/{page}", size, scheme=scheme, program="document.title")
    assert tab.complaints == []
    assert [one for one in tab.requests if not one.startswith((address, "data:", "blob:"))] == []
    assert tab.width <= size[0]
    assert "crlcheck" in tab.value
    name = f"{page.replace('/', '-')}-{size[0]}-{scheme}.png"
    pictures = ROOT / "build" / "site-pictures"
    pictures.mkdir(parents=True, exist_ok=True)
    (pictures / name).write_bytes(tab.screenshot)


SEARCH = """
new Promise((resolve, reject) => {
  // The theme's search is in a shadow tree of its own.
  const wait = (find, then, tries) => {
    const found = find();
    if (found) then(found);
    else if (tries === 0) reject(new Error("not found: " + find));
    else setTimeout(() => wait(find, then, tries - 1), 50);
  };
  const hosts = () => Array.from(document.querySelectorAll("div")).filter((one) => one.shadowRoot);
  const all = (what) => hosts().flatMap((one) => Array.from(one.shadowRoot.querySelectorAll(what)));
  document.querySelector(".md-search__button").click();
  wait(() => all("input[role=combobox]")[0], (input) => {
    input.focus();
    input.value = "WORD";
    input.dispatchEvent(new Event("input", { bubbles: true, composed: true }));
    wait(
      () => all("a[href]").map((one) => one.href).find((href) => href.includes("PAGE")),
      resolve,
      600,
    );
  }, 600);
})
"""


@pytest.mark.parametrize(("word", "page"), [("snapstart", "authorizer"), ("readmit", "commands")])
def test_the_search_finds_a_word(program: Browser, address: str, word: str, page: str) -> None:
    """
    By the index that comes with the site.
    """
    looking = SEARCH.replace("WORD", word).replace("PAGE", page)
    tab = program.load(f"{address}/index.html", program=looking)
    assert page in tab.value
    assert [one for one in tab.requests if not one.startswith((address, "data:", "blob:"))] == []


def test_the_first_page_is_read_without_scripts(program: Browser, address: str) -> None:
    """
    The figures, the commands and the demo's output are there.
    """
    tab = program.load(f"{address}/index.html")
    assert tab.texts("heading")[0].startswith("Is this client certificate revoked?")
    # Highlighted code is in pieces.
    text = "".join("".join(tab.texts("StaticText")).split())
    for part in ("among ten million", "publish ca.crl", "All 4 answers through nginx are right."):
        assert part.replace(" ", "") in text


PLAY = """
new Promise((resolve, reject) => {
  const recording = document.querySelector(".recording");
  const button = recording.querySelector("button");
  const slider = recording.querySelector("input");
  const later = () => recording.querySelectorAll(".recording__later").length;
  const wait = (is_so, then, tries) => {
    if (is_so()) then();
    else if (tries === 0) reject(new Error("not so: " + is_so));
    else setTimeout(() => wait(is_so, then, tries - 1), 20);
  };
  const seek = (time) => {
    slider.value = time;
    slider.dispatchEvent(new Event("input"));
  };
  const seen = [[button.textContent, later()]];
  button.click();
  wait(() => later() > 0, () => {
    seen.push([button.textContent, recording.innerText.includes("$ crlcheck demo")]);
    const before = later();
    // The next pieces come by themselves.
    wait(() => later() < before, () => {
      button.click();
      const paused = later();
      seen.push([button.textContent, paused > 0]);
      seek(0);
      seen.push([button.textContent, later() > paused]);
      seek(Number(slider.max) - 0.01);
      button.click();
      wait(() => button.textContent === "Play again", () => {
        seen.push([button.textContent, later()]);
        seek(Number(slider.max) / 2);
        resolve(seen);
      }, 3000);
    }, 3000);
  }, 3000);
})
"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_recording_of_the_demo_plays(program: Browser, address: str, scheme: str) -> None:
    """
    All of it is there until somebody plays it. Then each piece comes at its time; it can be
    stopped, and played from any time.
    """
    tab = program.load(f"{address}/index.html", program=PLAY, scheme=scheme)
    assert tab.value == [
        ["Play", 0],
        ["Pause", True],
        ["Play", True],
        ["Play", True],
        ["Play again", 0],
    ]
    assert tab.complaints == []
    (ROOT / "build" / "site-pictures").mkdir(parents=True, exist_ok=True)
    picture = ROOT / "build" / "site-pictures" / f"recording-{scheme}.png"
    picture.write_bytes(tab.screenshot)


PLOTS = """
Promise.all(Array.from(document.querySelectorAll("img[src$='.svg']"), async (image) => {
  await image.decode();
  return [getComputedStyle(image).colorScheme, getComputedStyle(image).backgroundColor];
}))
"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_plots_have_the_scheme_of_the_page(program: Browser, address: str, scheme: str) -> None:
    """
    And no ground of their own. Their words are dark on a light page, and light on a dark one.
    """
    page = "explanation/benchmarks/intel-xeon-6-207.html"
    tab = program.load(f"{address}/{page}", program=PLOTS, scheme=scheme, longest=30_000)
    assert len(tab.value) >= 5
    assert {tuple(one) for one in tab.value} == {(scheme, "rgba(0, 0, 0, 0)")}
    (ROOT / "build" / "site-pictures").mkdir(parents=True, exist_ok=True)
    picture = ROOT / "build" / "site-pictures" / f"plots-{scheme}.png"
    picture.write_bytes(tab.screenshot)
    plot = f"{address}/explanation/benchmarks/intel-xeon-6-207/first-answer.svg"
    colour = "getComputedStyle(document.querySelector('text')).fill"
    words = program.load(plot, program=colour, scheme=scheme).value
    assert words == {"light": "rgb(0, 0, 0)", "dark": "rgb(230, 230, 230)"}[scheme]
