"""First hours with crlcheck: each page here is run as it is written, with the tools it names."""

from __future__ import annotations

import re
from contextlib import ExitStack
from pathlib import Path

import pytest

from support import journey_places
from support.journey import differences, open_bash

PAGES = sorted(Path(__file__).parent.glob("*.md"))


def _place_of(text: str) -> str | None:
    """Return the function of ``support.journey_places`` that the page begins with, if any."""
    named = re.match(r"<!-- place: (\w+) -->\n", text)
    return named[1] if named else None


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
