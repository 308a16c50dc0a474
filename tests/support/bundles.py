"""Make bundles of the Lambda functions, and what a Lambda runtime has beside them."""

from __future__ import annotations

import functools
import sys
from collections.abc import Mapping
from importlib.metadata import distribution
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

from crlcheck import _native
from support.wheels import required_by

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


def link_packages(directory: Path, *names: str) -> Path:
    """
    Link distributions and what they require into a directory, and nothing else of this
    environment.
    """
    directory.mkdir(parents=True, exist_ok=True)
    needed = {one for name in names for one in (name, *required_by(name))}
    for one in map(distribution, sorted(needed)):
        for path in one.files or ():
            top = path.parts[0]
            source = Path(str(one.locate_file(top)))
            link = directory / top
            if top != ".." and not top.endswith(".pth") and not link.exists():
                link.symlink_to(source, target_is_directory=source.is_dir())
    return directory


def own_modules(name: str, directory: Path) -> Path:
    """
    Write the part of a bundle that is ours into a folder, with the native module that is
    installed here.
    """
    module = maker()
    bundle = module.BUNDLES[name]
    paths = (module.MODULES[one] for one in module.modules_of(bundle))
    files = {str(path.relative_to(ROOT)): path.read_bytes() for path in paths}
    native = Path(_native.__file__)
    files[f"crlcheck/{native.name}"] = native.read_bytes()
    module.write_folder(directory, files)
    return directory
