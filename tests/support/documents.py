"""Find the project's documents by their names, wherever in docs they are."""

from __future__ import annotations

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
