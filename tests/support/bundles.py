"""Make bundles of the Lambda functions, and what a Lambda runtime has beside them."""

from __future__ import annotations

import functools
import re
import sys
from collections.abc import Iterator, Mapping
from importlib.metadata import Distribution, distribution
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parents[2]
MAKE = ROOT / "deploy" / "bundles" / "make.py"
OWN_PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"

RUNTIME = ("awslambdaric", "boto3")
"""What a runtime brings: the client that runs the handler, and boto3."""


@functools.cache
def maker() -> ModuleType:
    """deploy/bundles/make.py, imported."""
    spec = spec_from_file_location("make_bundles", MAKE)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[spec.name] = module  # its dataclasses look themselves up
    spec.loader.exec_module(module)
    return module


@functools.cache
def _native_module(architecture: str) -> Path:
    module: Path = maker().native_module(architecture)
    return module


def contents(name: str, architecture: str, python: str) -> Mapping[str, bytes]:
    """The files of a bundle for a version of Python, by their paths."""
    native = _native_module(architecture)
    files: dict[str, bytes] = maker().files_of(name, architecture, python, native)
    return files


def unpack(name: str, architecture: str, python: str, directory: Path) -> Path:
    """Write a bundle into a folder, and return that."""
    maker().write_folder(directory, contents(name, architecture, python))
    return directory


def link_runtime(directory: Path) -> Path:
    """
    Link what a runtime brings into a directory, and nothing else of this environment.
    """
    directory.mkdir(parents=True, exist_ok=True)
    for one in _with_requirements(RUNTIME):
        for path in one.files or ():
            top = path.parts[0]
            source = Path(str(one.locate_file(top)))
            link = directory / top
            if top != ".." and not top.endswith(".pth") and not link.exists():
                link.symlink_to(source, target_is_directory=source.is_dir())
    return directory


def _with_requirements(names: tuple[str, ...]) -> Iterator[Distribution]:
    waiting, seen = list(names), set()
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        found = distribution(name)
        yield found
        for requirement in found.requires or ():
            if "extra ==" not in requirement:
                match = re.match(r"[\w.-]+", requirement)
                assert match is not None
                waiting.append(match[0])
