"""Find the project's documents by their names, wherever in docs they are."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"


def documents() -> list[Path]:
    """All documents for users and contributors."""
    return sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md")])


def document(name: str) -> Path:
    """The one document in docs that has this file name."""
    (found,) = DOCS.rglob(name)
    return found


def section(page: str, heading: str) -> str:
    """The text below a heading of a page, up to the next one of the same depth or above."""
    text = document(page).read_text(encoding="utf-8")
    depth = len(heading) - len(heading.lstrip("#"))
    found = re.search(
        rf"^{re.escape(heading)}\n(.*?)(?=^#{{1,{depth}}} |\Z)", text, re.MULTILINE | re.DOTALL
    )
    assert found is not None, heading
    return found[1]


def rows(text: str) -> dict[str, list[str]]:
    """The rows of all tables whose first cell is code, by that code; the cells after it."""
    found: dict[str, list[str]] = {}
    below = re.sub(r"^\|.*\n\|-[-|]*$", "", text, flags=re.MULTILINE)
    for line in re.findall(r"^\| `.*\|$", below, re.MULTILINE):
        first, *others = (cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip("|")))
        for name in re.findall(r"`([^`]+)`", first):
            assert name not in found, f"{name} has two rows"
            found[name] = others
    return found
