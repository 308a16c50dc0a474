"""First hours with crlcheck: each page here is run as it is written, with the tools it names."""

from __future__ import annotations

import re
from contextlib import ExitStack
from pathlib import Path

import pytest

from support import journey_places
from support.blocks import as_page, blocks
from support.journey import differences, open_bash

PAGES = sorted(Path(__file__).parent.glob("*.md"))


def _place_of(text: str) -> str | None:
    """Return the function of ``support.journey_places`` that the page begins with, if any."""
    named = re.match(r"<!-- place: (\w+) -->\n", text)
    return named[1] if named else None


GUIDES = {
    "ad_cs": blocks("ad-cs.md", language="console"),
    "incident_rekeyed": blocks("new-ca-key.md", language="console"),
    "monitored": blocks("monitoring.md", language="console"),
    "private_ca_published": blocks("private-ca.md", language="console"),
}
"""Guides in docs, by the places that their commands run in."""


@pytest.mark.parametrize("place_name", GUIDES)
def test_each_command_of_a_guide_prints_what_it_says(place_name: str, tmp_path: Path) -> None:
    """
    Of the guides that are journeys too. What a guide calls pki.corp.example is here.
    """
    with ExitStack() as stack:
        place = journey_places.Place(tmp_path, {}, stack)
        getattr(journey_places, place_name)(place)
        text = as_page(GUIDES[place_name])
        text = text.replace("http://pki.corp.example/CertEnroll", place.environment.get("PKI", ""))
        bash = stack.enter_context(open_bash(place.directory, place.environment))
        assert "\n\n".join(differences(text, bash)) == ""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_each_command_prints_what_the_page_says(page: Path, tmp_path: Path) -> None:
    """
    A page is a stranger's first hour: what he has, what he types, what he reads.
    """
    text = page.read_text(encoding="utf-8")
    with ExitStack() as stack:
        place = journey_places.Place(tmp_path, {}, stack)
        if name := _place_of(text):
            getattr(journey_places, name)(place)
        bash = stack.enter_context(open_bash(place.directory, place.environment))
        assert "\n\n".join(differences(text, bash)) == ""
