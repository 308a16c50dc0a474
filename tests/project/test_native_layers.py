"""The folders of native/src are layers, and its units form no circle."""

from __future__ import annotations

import re
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

SOURCES = Path(__file__).parents[2] / "native" / "src"

# What each folder may include of the others, and the one unit that is in none.
MAY_INCLUDE = {
    "base": set(),
    "der": {"base"},
    "x509": {"base", "der"},
    "crl": {"base", "der", "x509"},
    "image": {"base"},
    "reader": {"base", "image"},
    "columns": {"reader", "x509"},
    "builder": {"base", "image"},
    "compile.c": {"builder", "crl"},
}
PATHS = sorted(path.relative_to(SOURCES) for path in SOURCES.rglob("*.[ch]"))


def included(path: Path) -> set[Path]:
    """The headers of native/src that a file of it includes."""
    quoted = re.findall(r'#include "([^"]+)"', (SOURCES / path).read_text(encoding="utf-8"))
    return {Path(name) for name in quoted if not name.startswith("crlcheck")}


def functions(text: str, end: str) -> set[str]:
    """The functions that are not static and whose heads are followed by *end*."""
    return set(
        re.findall(rf"^(?!static|typedef)\w[\w ]*[ *](\w+)\([^;{{]*\){end}", text, re.MULTILINE)
    )


@pytest.mark.parametrize("path", PATHS, ids=str)
def test_folders_include_what_lies_below(path: Path) -> None:
    """
    base < der < x509 < crl, base < image < reader and builder, reader and x509 < columns, and those
    know neither builder nor CRLs.
    """
    own = path.parts[0]
    assert {header.parts[0] for header in included(path)} - {own} <= MAY_INCLUDE[own]


def test_units_form_no_circle() -> None:
    """
    No unit, a header and its source, includes itself by way of others.
    """
    units: dict[Path, set[Path]] = {}
    for path in PATHS:
        others = {header.with_suffix("") for header in included(path)}
        units.setdefault(path.with_suffix(""), set()).update(others - {path.with_suffix("")})
    assert len(list(TopologicalSorter(units).static_order())) == len(units)


@pytest.mark.parametrize("path", [path for path in PATHS if path.suffix == ".h"], ids=str)
def test_a_header_declares_what_its_own_source_defines(path: Path) -> None:
    """
    Whoever calls a function includes the header of its unit: includes show all calls.
    """
    source = (SOURCES / path).with_suffix(".c")
    defined = source.read_text(encoding="utf-8") if source.exists() else ""
    declared = functions((SOURCES / path).read_text(encoding="utf-8"), ";")
    assert declared <= functions(defined, r" \{")


@pytest.mark.parametrize("path", [path for path in PATHS if path.suffix == ".c"], ids=str)
def test_public_functions_are_for_others(path: Path) -> None:
    """
    Units call each other by their own headers; only compile.c is a caller of the parser.
    """
    source = (SOURCES / path).read_text(encoding="utf-8")
    called = set(re.findall(r"\b(crlcheck_\w+)\(", source)) - functions(source, r" \{")
    assert not called or path == Path("compile.c")
