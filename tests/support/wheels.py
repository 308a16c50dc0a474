"""Wheels without a network: of this project, and of what is installed."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from importlib.metadata import Distribution, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]

# The installer wrote these.
_NOT_IN_A_WHEEL = ("RECORD", "INSTALLER", "REQUESTED", "direct_url.json")


def make_local_wheel(directory: Path) -> Path:
    """
    Put the wheel of this project into *directory*.

    It is built, unless crlcheck was installed from one: then that one is put together
    again.
    """
    installed = distribution("crlcheck")
    if not _is_editable(installed):
        return pack(installed, directory)
    # What make has compiled serves again.
    build_directory = f"--config-settings=build-dir={ROOT / 'build' / 'editable'}"
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps"]
    command += ["--no-build-isolation", build_directory, f"--wheel-dir={directory}", str(ROOT)]
    subprocess.run(command, check=True)
    (path,) = directory.glob("crlcheck-*.whl")
    return path


def required_by(of: str) -> list[str]:
    """Return the names of all distributions that *of*, such as ``x[extra]``, needs."""
    return sorted(set(_requirements(Requirement(of), set())))


def pack(installed: Distribution, directory: Path) -> Path:
    """Put a distribution that was installed from a wheel together again."""
    tags = re.findall(r"^Tag: (\S+)-(\S+)-(\S+)$", installed.read_text("WHEEL") or "", re.MULTILINE)
    tag = "-".join(".".join(sorted(set(part))) for part in zip(*tags, strict=True))
    name = canonicalize_name(installed.name).replace("-", "_")
    path = directory / f"{name}-{installed.version}-{tag}.whl"
    files = [
        file
        for file in installed.files or ()
        if ".." not in file.parts
        and "__pycache__" not in file.parts
        and file.name not in _NOT_IN_A_WHEEL
    ]
    (metadata,) = (
        file.parent for file in files if file.name == "METADATA" and len(file.parts) == 2
    )
    with zipfile.ZipFile(path, "w") as wheel:
        for file in files:
            wheel.write(str(file.locate()), str(file))
        wheel.writestr(f"{metadata}/RECORD", "".join(f"{file},,\n" for file in files))
    return path


def _is_editable(installed: Distribution) -> bool:
    origin = json.loads(installed.read_text("direct_url.json") or "{}")
    return bool(origin.get("dir_info", {}).get("editable"))


def _requirements(of: Requirement, seen: set[str]) -> Iterator[str]:
    """Yield the names of all that a requirement needs, without itself."""
    for text in distribution(of.name).requires or ():
        needed = Requirement(text)
        applies = needed.marker is None or any(
            needed.marker.evaluate({"extra": extra}) for extra in ("", *of.extras)
        )
        if applies and str(needed) not in seen:
            seen.add(str(needed))
            if needed.name != of.name:
                yield needed.name
            yield from _requirements(needed, seen)
