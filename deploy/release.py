#!/usr/bin/env python3
"""
Check that a version can be released, or print what the changelog says of it.

``release.py VERSION`` fails unless crlcheck has that version and CHANGELOG.md has a dated
section of it with something in it, below an empty "Unreleased". ``--notes`` prints the section.
"""

from __future__ import annotations

import argparse
import datetime
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def sections_of(changelog: str) -> dict[str, tuple[str, str]]:
    """Return the date, or an empty text, and the text of each section, by its version."""
    found = {}
    parts = re.split(r"^## \[([^\]]+)\](?: - (\S+))?[ \t]*$", changelog, flags=re.MULTILINE)[1:]
    for version, date, text in zip(parts[::3], parts[1::3], parts[2::3], strict=True):
        found[version] = (date or "", text.strip())
    return found


def problems(version: str, own: str, changelog: str) -> list[str]:
    """Return all that keeps *version* from being released; *own* is what crlcheck says."""
    found = []
    if re.fullmatch(r"\d+\.\d+\.\d+((a|b|rc)\d+)?", version) is None:
        found.append(f"{version!r} is no version: expected one such as 1.2.3 or 1.2.3rc1")
    if version != own:
        found.append(f"crlcheck/__init__.py has the version {own}: expected {version}")
    sections = sections_of(changelog)
    date, text = sections.get(version, ("", ""))
    if version not in sections:
        found.append(f"CHANGELOG.md has no section '## [{version}] - DATE'")
    else:
        try:
            datetime.date.fromisoformat(date)
        except ValueError:
            found.append(
                f"CHANGELOG.md dates {version} {date!r}: expected a date such as 2027-01-31"
            )
        if not text:
            found.append(f"CHANGELOG.md says nothing of {version}")
    if sections.get("Unreleased", ("", ""))[1]:
        found.append("CHANGELOG.md has changes under Unreleased: move them to the version")
    return found


def main() -> None:
    """Check the version that the command line names, or print its notes."""
    parser = argparse.ArgumentParser(description="Check that a version can be released.")
    parser.add_argument("version")
    parser.add_argument("--notes", action="store_true", help="print the changelog's section")
    given = parser.parse_args()
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    source = (ROOT / "crlcheck" / "__init__.py").read_text(encoding="utf-8")
    match = re.search(r'^__version__ = "([^"]+)"', source, re.MULTILINE)
    found = problems(given.version, match[1] if match else "", changelog)
    if found:
        sys.exit("\n".join(f"release.py: {one}" for one in found))
    if given.notes:
        print(sections_of(changelog)[given.version][1])


if __name__ == "__main__":
    main()
