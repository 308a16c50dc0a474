"""What the documents say of the repository is so."""

from __future__ import annotations

import dataclasses
import re
import runpy
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from crlcheck import (
    CrlCheckError,
    CrlSignatureError,
    ProblemKind,
    PublishWarningKind,
    UndeterminedCause,
    rejection_cause,
)
from crlcheck.serve.settings import ServeSettings
from crlcheck.signing.statement import DEFAULT_ROOT_EXPIRY
from support.documents import document, documents

ROOT = Path(__file__).parents[2]
DOCUMENTS = documents()


def anchors(text: str) -> set[str]:
    """The fragments by which a document's headings can be linked to."""
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(path: Path) -> None:
    """
    Every file and every heading that a document links to exists.
    """
    text = path.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"https?://", target):
            continue
        name, _, fragment = target.partition("#")
        linked = path.parent / name if name else path
        assert linked.exists(), target
        assert not fragment or fragment in anchors(linked.read_text(encoding="utf-8")), target


def test_links_to_others_are_on_one_list() -> None:
    """
    The tests use no network: who adds a link has opened it, and `make links` opens them all. A
    list without a link that is gone stays short.
    """
    written = (ROOT / "tests" / "data" / "external_links.txt").read_text(encoding="utf-8")
    listed = [line for line in written.splitlines() if not line.startswith("#")]
    pages = {*DOCUMENTS, *(ROOT / "tests").rglob("*.md"), *(ROOT / "benchmarks").rglob("*.md")}
    found = set()
    for path in pages:
        # What stands in code is an example.
        prose = re.sub(
            r"^ *```.*?^ *```|`[^`\n]*`",
            "",
            path.read_text(encoding="utf-8"),
            flags=re.MULTILINE | re.DOTALL,
        )
        found |= set(re.findall(r"\b[a-z][a-z+]*://[^\s)>\"\]]+", prose))
    assert listed == sorted(found)
    assert [one for one in listed if not one.startswith("https://")] == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_named_files_exist(path: Path) -> None:
    """
    Every path of this repository that a document names in code exists.
    """
    text = path.read_text(encoding="utf-8")
    folders = "crlcheck|lambda_authorizer|preprocessor|tests|docs|native|benchmarks"
    named = re.findall(rf"`((?:{folders})/[\w./-]*)`", text)
    missing = [name for name in named if not (ROOT / name).exists()]
    assert missing == []


def _words(heading: str) -> set[str]:
    """The first column of the one table that begins with these words."""
    pages = (document("log-lines.md"), document("operations.md"))
    text = "".join(page.read_text(encoding="utf-8") for page in pages)
    found = re.search(rf"^\| {heading} \|.*\n\|-.*\n((?:\|.*\n)+)", text, re.MULTILINE)
    assert found is not None
    return set(re.findall(r"^\| `(\w+)` \|", found[1], re.MULTILINE))


def test_operators_find_every_word_that_is_logged() -> None:
    """
    Causes of refusals, warnings and problems have a row each, and nothing else has.
    """
    kinds = [CrlCheckError]
    for kind in kinds:
        kinds += kind.__subclasses__()
    causes = {rejection_cause(kind.__new__(kind)) for kind in kinds} - {"other"}
    assert _words("cause") == causes | {"malformed_event", "unavailable"}
    assert _words("warning") == {kind.value for kind in PublishWarningKind}
    assert _words("kind") == {kind.value for kind in ProblemKind}
    reasons = re.findall(r'"(\w+)"', (CrlSignatureError.__doc__ or "").replace("``", ""))
    assert _words("reason") == set(reasons)


def test_no_authorizer_is_attached_with_a_cache_or_a_side_door() -> None:
    """
    Wherever a document attaches the authorizer, results are not kept, and the page
    turns the default endpoint off for both kinds of API.
    """
    text = document("authorizer.md").read_text(encoding="utf-8").replace("\\\n", " ")
    commands = [line.split() for line in re.findall(r"^ *\$ aws (.*)$", text, re.MULTILINE)]
    attached = [command for command in commands if command[1] == "create-authorizer"]
    assert [command[0] for command in attached] == ["apigateway", "apigatewayv2"]
    for command in attached:
        assert command[command.index("--authorizer-result-ttl-in-seconds") + 1] == "0"
    rest, http = attached
    assert "--identity-source" not in rest
    # The AWS CLI demands one here, which may be empty.
    assert http[http.index("--identity-source") + 1] == "'[]'"
    closing = {command[1]: command for command in commands}
    assert "op=replace,path=/disableExecuteApiEndpoint,value=True" in closing["update-rest-api"]
    assert "--disable-execute-api-endpoint" in closing["update-api"]


def test_what_crls_promise_is_said_of_this_version() -> None:
    """
    The page names causes that there are, and the times that count by default.
    """
    text = document("what-crls-promise.md").read_text(encoding="utf-8")
    causes = set(re.findall(r"`([A-Z][A-Z_]+)`", text))
    assert causes
    assert causes <= {cause.name for cause in UndeterminedCause}
    defaults: dict[str, Any] = {
        field.name: field.default for field in dataclasses.fields(ServeSettings)
    }
    assert f"polls every {defaults['refresh_after'].total_seconds():.0f} seconds" in text
    hours = defaults["max_catalog_age"] // timedelta(hours=1)
    assert f"`max_catalog_age` bounds that, {hours} hours by default" in text
    assert f"root's signature, {DEFAULT_ROOT_EXPIRY.days} days by default" in text


KINDS = ("tutorials", "guides", "reference", "explanation")


@pytest.mark.parametrize("kind", KINDS)
def test_each_page_is_listed_with_those_of_its_kind(kind: str) -> None:
    """
    Once in the README, and in the site's list of pages.
    """
    pages = {f"{kind}/{path.name}" for path in (ROOT / "docs" / kind).glob("*.md")}
    readme = (ROOT / "README.md").read_text(encoding="utf-8").partition("## Documentation")[2]
    below = re.search(rf"^\*\*{kind.title()}\*\*.*?(?=^\*\*|\Z)", readme, re.DOTALL | re.MULTILINE)
    assert below is not None
    listed = re.findall(r"^- \[[\w.-]+\]\(docs/([^)]+)\)", below[0], re.MULTILINE)
    assert sorted(listed) == sorted(pages)
    nav = runpy.run_path(str(ROOT / "docs" / "make_site.py"))["NAV"]
    assert pages <= set(places(nav[kind.title()]))


def places(below: dict[str, Any]) -> Iterator[str]:
    """The places of all pages of a part of the list."""
    for one in below.values():
        if isinstance(one, dict):
            yield from places(one)
        else:
            yield one
