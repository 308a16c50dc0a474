"""What a release needs: a dated changelog, links that lead somewhere, pinned actions."""

from __future__ import annotations

import re
import sys
import tomllib
import zipfile
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest

import crlcheck
from support.documents import document
from support.wheels import ROOT, make_local_wheel

GOOD = """# Changelog

## [Unreleased]

## [1.2.3] - 2027-01-31

### Added

- More.

## [1.2.2] - 2026-12-24

- Less.
"""


@pytest.fixture(scope="module")
def release() -> ModuleType:
    """deploy/release.py, imported."""
    spec = spec_from_file_location("release", ROOT / "deploy" / "release.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_version_with_a_dated_section_can_be_released(release: ModuleType) -> None:
    """
    Its section is what the release says.
    """
    assert release.problems("1.2.3", "1.2.3", GOOD) == []
    assert release.sections_of(GOOD)["1.2.3"] == ("2027-01-31", "### Added\n\n- More.")


@pytest.mark.parametrize(
    ("version", "own", "changelog", "expected"),
    [
        ("1.2.3", "1.2.2", GOOD, "has the version 1.2.2: expected 1.2.3"),
        ("v1.2.3", "v1.2.3", GOOD.replace("[1.2.3]", "[v1.2.3]"), "'v1.2.3' is no version"),
        ("1.2.4", "1.2.4", GOOD, "has no section '## [1.2.4] - DATE'"),
        ("1.2.3", "1.2.3", GOOD.replace(" - 2027-01-31", ""), "dates 1.2.3 ''"),
        ("1.2.3", "1.2.3", GOOD.replace("2027-01-31", "2027-02-31"), "dates 1.2.3 '2027-02-31'"),
        ("1.2.3", "1.2.3", GOOD.replace("### Added\n\n- More.\n", ""), "says nothing of 1.2.3"),
        (
            "1.2.3",
            "1.2.3",
            GOOD.replace("[Unreleased]\n", "[Unreleased]\n\n- New.\n"),
            "changes under Unreleased",
        ),
    ],
)
def test_any_other_version_is_not_released(
    release: ModuleType, version: str, own: str, changelog: str, expected: str
) -> None:
    """
    The message says what was found.
    """
    (found,) = release.problems(version, own, changelog)
    assert expected in found


def test_the_published_readme_s_links_lead_to_its_version(tmp_path: Path) -> None:
    """
    A registry shows the README without the files beside it, so a relative link is dead there.
    """
    with zipfile.ZipFile(make_local_wheel(tmp_path)) as wheel:
        (name,) = (one for one in wheel.namelist() if one.endswith(".dist-info/METADATA"))
        text = wheel.read(name).decode()
    links = re.findall(r"\]\(([^)]+)\)", text.split("\n\n", 1)[1])
    own = f"https://github.com/crlcheck/crlcheck/blob/v{crlcheck.__version__}/"
    assert sum(link.startswith(own) for link in links) > 20
    assert [link for link in links if not link.startswith(("https://", "#"))] == []
    assert re.search(r"^Project-URL: Changelog, ", text, re.MULTILINE)


def test_the_readme_s_links_are_files() -> None:
    """
    What the published one leads to is there.
    """
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    links = re.findall(r"\]\((?!https:|#)([^)#]+)", text)
    assert len(links) > 20
    assert [link for link in links if not (ROOT / link).exists()] == []


def workflows() -> list[Path]:
    """The workflows; none in the source distribution."""
    found = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
    assert found or not (ROOT / ".github").exists()
    return found


def test_every_tool_of_a_workflow_has_one_version() -> None:
    """
    What makes and audits wheels is the same in a release as in the runs before it, and does not
    change by itself.
    """
    used = [
        one
        for path in workflows()
        for one in re.findall(r"\bpipx run (.*)$", path.read_text("utf-8"), re.MULTILINE)
    ]
    versions: dict[str, set[str]] = {}
    for one in used:
        found = re.match(r"([\w-]+)==([\d.]+)(?: |$)", one)
        assert found is not None, one
        versions.setdefault(found[1], set()).add(found[2])
    if used:
        assert versions.keys() == {"abi3audit", "cibuildwheel"}
    assert all(len(one) == 1 for one in versions.values()), versions


def test_every_action_is_pinned_by_its_commit() -> None:
    """
    A tag can be moved to other code; the comment says which version the commit is.
    """
    for path in workflows():
        for used in re.findall(r"\buses: (.*)$", path.read_text(encoding="utf-8"), re.MULTILINE):
            assert re.fullmatch(r"[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", used), (path.name, used)


def test_the_release_script_runs_by_any_python() -> None:
    """
    It needs nothing but the standard library.
    """
    text = (ROOT / "deploy" / "release.py").read_text(encoding="utf-8")
    imported = set(re.findall(r"^(?:import|from) (\w+)", text, re.MULTILINE))
    assert imported - sys.stdlib_module_names == set()


def test_a_release_s_bundles_can_be_made_again() -> None:
    """
    The compiler has one version, and the documentation names the Python that builds them.
    """
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for requirement in project["optional-dependencies"]["bundles"]:
        assert re.fullmatch(r"[\w-]+==\d+(\.\d+)+", requirement), requirement
    workflow = ROOT / ".github" / "workflows" / "release.yml"
    if not workflow.exists():
        assert not (ROOT / ".github").exists(), "the source distribution has none"
        return
    _, _, job = workflow.read_text(encoding="utf-8").partition("\n  bundles:\n")
    (python,) = re.findall(r'python-version: "([\d.]+)"', job.partition("run: make bundles")[0])
    operations = document("operations.md").read_text(encoding="utf-8")
    assert f"`make bundles PYTHON=python{python}`" in operations
