"""
Make the bundles of the Lambda functions, and a layer, for x86_64 and arm64 on any machine.

``python deploy/bundles/make.py`` writes into ``build/bundles``. A bundle has

1. the function's folder, and those modules of crlcheck that it can import: the import
   statements are followed, also those inside functions;
2. the native module, cross-compiled by zig for the C library of Lambda's machines;
3. what these need, by ``requirements.txt``: each version is pinned by its hash. Of cffi that is
   the compiled part alone. boto3 is the runtime's own.

The same commit and the same tools give the same bytes in any directory and on any day: files
are sorted, and have one date and one mode; nothing is compiled ahead by Python; the native
module names no path. The tools are zig, whose version is pinned; cffi, which writes part of the
C, in the version that the bundles have, as no other is taken; the minor version of the Python
that builds, whose headers have functions that are compiled in; and zlib, which compresses.

The layer is for functions of your own: all of the library but the command, the services and
the middlewares, and what it needs.
"""

from __future__ import annotations

import argparse
import ast
import functools
import hashlib
import importlib.metadata
import os
import re
import shutil
import stat
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
BUILD = ROOT / "build" / "bundles"
REQUIREMENTS = HERE / "requirements.txt"

GLIBC = (2, 34)
"""The C library of Amazon Linux 2023, on which python3.12 and later run."""

NATIVE_GLIBC = "2.17"
"""The C library for which the native module is compiled: it runs with any later one."""

PYTHON = "3.13"
"""The runtime that the bundles are for unless told otherwise."""

ARCHITECTURES: Mapping[str, str] = {"x86_64": "x86_64", "arm64": "aarch64"}
"""Lambda's names of the architectures, and those of compilers and wheels."""

_DATE = (1980, 1, 1, 0, 0, 0)  # the first that a zip file can have


@dataclass(frozen=True, slots=True)
class Bundle:
    """
    What goes into a zip file: ``folders`` of the checkout, ``packages`` by the names of
    their distributions, and all below ``prefix``. Without folders it has the whole library
    but ``without``.
    """

    folders: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()
    prefix: str = ""
    without: tuple[str, ...] = ()


_POWERTOOLS = ("aws-lambda-powertools", "jmespath", "typing-extensions")

BUNDLES: Mapping[str, Bundle] = {
    "authorizer": Bundle(("lambda_authorizer",), ("cffi",)),
    # It verifies signatures with CRLCHECK_ROOT_KEYS, and chains from ALB's passthrough mode.
    "authorizer-cryptography": Bundle(("lambda_authorizer",), ("cffi", "cryptography")),
    "preprocessor": Bundle(("preprocessor",), ("cffi", "cryptography", "pyroaring", *_POWERTOOLS)),
    "layer": Bundle(
        packages=("cffi", "cryptography", "pyroaring"),
        prefix="python/",
        without=(
            "crlcheck.__main__",
            "crlcheck.aiohttp",
            "crlcheck.asgi",
            "crlcheck.cli",
            "crlcheck.demo",
            "crlcheck.grpc",
            "crlcheck.serve",
            "crlcheck.wsgi",
        ),
    ),
}

_LEFT_OUT = re.compile(
    r"""
    cffi/.* | .*\.pyi | .*/py\.typed | .*/(?:RECORD|WHEEL|top_level\.txt|entry_points\.txt)
    | .*/sboms/.*
    """,
    re.VERBOSE,
)
"""Files of wheels that no function needs. Licenses stay."""


# ---- which modules -------------------------------------------------------------------


def _modules() -> dict[str, Path]:
    """Return the files of all modules of the library and the functions, by their names."""
    found = {}
    for top in ("crlcheck", "lambda_authorizer", "preprocessor"):
        for path in sorted((ROOT / top).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = _modules()


class _Imports(ast.NodeVisitor):
    """Collects what a module imports when it runs, as (module, name) or (module, "")."""

    def __init__(self, *, for_types: bool = False) -> None:
        self.found: list[tuple[str, str]] = []
        self._for_types = for_types

    def visit_If(self, node: ast.If) -> None:
        """Leave out what only type checkers import."""
        if "TYPE_CHECKING" in ast.unparse(node.test) and not self._for_types:
            for one in node.orelse:
                self.visit(one)
        else:
            self.generic_visit(node)

    def visit_Import(self, node: ast.Import) -> None:
        """Take note of ``import a.b``."""
        self.found += [(one.name, "") for one in node.names]

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        """Take note of ``from a import b``."""
        self.found += [(node.module or "", one.name) for one in node.names]

    def visit_Attribute(self, node: ast.Attribute) -> None:
        """Take note of ``crlcheck.name``, which the package imports when it is asked for."""
        if isinstance(node.value, ast.Name) and node.value.id == "crlcheck":
            self.found.append(("crlcheck", node.attr))
        self.generic_visit(node)


@functools.cache
def _lazy_names() -> Mapping[str, str]:
    """Return the modules of the names that ``crlcheck`` imports when they are asked for."""
    visitor = _Imports(for_types=True)
    visitor.visit(ast.parse(MODULES["crlcheck"].read_text(encoding="utf-8")))
    return {name: module for module, name in visitor.found if module in MODULES}


@functools.cache
def _imported_by(name: str) -> frozenset[str]:
    visitor = _Imports()
    visitor.visit(ast.parse(MODULES[name].read_text(encoding="utf-8")))
    found = set()
    for module, attribute in visitor.found:
        if module == "crlcheck" and attribute in _lazy_names():
            found.add(_lazy_names()[attribute])
        found |= {module, f"{module}.{attribute}"} & MODULES.keys()
    # The packages above a module are imported before it.
    found |= {name.rpartition(".")[0]} & MODULES.keys()
    return frozenset(found)


def modules_of(bundle: Bundle) -> set[str]:
    """Return the names of the modules that a bundle has."""
    if not bundle.folders:
        return {
            name
            for name in MODULES
            if name.partition(".")[0] == "crlcheck"
            and not any(f"{name}.".startswith(f"{one}.") for one in bundle.without)
        }
    found: set[str] = set()
    waiting = [name for name in MODULES if name.partition(".")[0] in bundle.folders]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += _imported_by(name)
    return found


# ---- the native module ---------------------------------------------------------------


def native_module(architecture: str) -> Path:
    """
    Compile the native module for an architecture; return its file.

    Raises:
        subprocess.CalledProcessError: the compiler failed, and has said why.
    """
    machine = ARCHITECTURES[architecture]
    work = BUILD / "native" / architecture
    wheels = work / "wheel"
    shutil.rmtree(wheels, ignore_errors=True)
    work.mkdir(parents=True, exist_ok=True)
    compiler = work / "cc"
    compiler.write_text(
        "#!/bin/sh\n"
        f'exec "{sys.executable}" -m ziglang cc -target {machine}-linux-gnu.{NATIVE_GLIBC} '
        f'-isystem "{_python_headers(work, machine)}" "$@"\n',
        encoding="utf-8",
    )
    compiler.chmod(0o755)
    caches = {
        name: os.environ.get(name, str(BUILD / "zig" / name.lower()))
        for name in ("ZIG_GLOBAL_CACHE_DIR", "ZIG_LOCAL_CACHE_DIR")
    }
    _pip(
        *("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(wheels), str(ROOT)),
        f"--config-settings=build-dir={work / 'cmake'}",
        # The machine's own strip may not know the format. The linker leaves symbols out.
        "--config-settings=install.strip=false",
        "--config-settings=cmake.define.CMAKE_MODULE_LINKER_FLAGS=-s",
        environ={**os.environ, **caches, "CC": str(compiler)},
    )
    (wheel,) = wheels.glob("crlcheck-*.whl")
    with zipfile.ZipFile(wheel) as opened:
        (name,) = (one for one in opened.namelist() if one.startswith("crlcheck/_native.abi3."))
        return Path(opened.extract(name, work))


def _python_headers(work: Path, machine: str) -> Path:
    """
    Return a directory in which ``pyconfig.h`` is found as Debian's headers of Python include it.

    They lead to a file of the architecture. That of this machine serves for both: the
    architectures have the same types, and the limited API depends on nothing else.
    """
    directory = work / "include"
    config = Path(sysconfig.get_config_h_filename())
    triplet = sysconfig.get_config_var("MULTIARCH")
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    own = config.parent.parent / str(triplet) / version / config.name
    target = directory / f"{machine}-linux-gnu" / version / config.name
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(own if own.exists() else config, target)
    return directory


# ---- packages ------------------------------------------------------------------------


def wheels_of(architecture: str, python: str) -> dict[str, Path]:
    """
    Fetch the wheels that ``requirements.txt`` pins; return them by the names of distributions.

    Raises:
        subprocess.CalledProcessError: one cannot be had, or has another hash.
    """
    machine = ARCHITECTURES[architecture]
    directory = BUILD / "wheels" / f"{architecture}-{python}"
    directory.mkdir(parents=True, exist_ok=True)
    minors = range(GLIBC[1], 16, -1)
    platforms = [f"manylinux_{GLIBC[0]}_{minor}_{machine}" for minor in minors]
    _pip(
        *("download", "--no-deps", "--require-hashes", "--only-binary", ":all:"),
        *("--implementation", "cp", "--python-version", python),
        *(f"--platform={one}" for one in (*platforms, f"manylinux2014_{machine}")),
        *("--dest", str(directory), "--requirement", str(REQUIREMENTS)),
    )
    versions, found = pinned(), {}
    for path in directory.glob("*.whl"):  # earlier versions may lie there too
        name, version = path.name.split("-")[:2]
        name = name.lower().replace("_", "-")
        if versions.get(name) == version:
            found[name] = path
    return found


def pinned() -> dict[str, str]:
    """Return the versions that ``requirements.txt`` pins, by the names of distributions."""
    text = REQUIREMENTS.read_text(encoding="utf-8")
    return dict(re.findall(r"^([\w-]+)==([\w.]+)", text, re.MULTILINE))


def _pip(*arguments: str, environ: Mapping[str, str] | None = None) -> None:
    command = [sys.executable, "-m", "pip", arguments[0], "--quiet", *arguments[1:]]
    subprocess.run(command, env=environ, check=True)


# ---- files ---------------------------------------------------------------------------


def files_of(name: str, architecture: str, python: str, native: Path) -> dict[str, bytes]:
    """Return the contents of a bundle, by their paths in it."""
    bundle = BUNDLES[name]
    found = {
        str(MODULES[one].relative_to(ROOT)): MODULES[one].read_bytes() for one in modules_of(bundle)
    }
    found[f"crlcheck/{native.name}"] = native.read_bytes()
    found["crlcheck/LICENSE"] = (ROOT / "LICENSE").read_bytes()
    wheels = wheels_of(architecture, python)
    for package in bundle.packages:
        with zipfile.ZipFile(wheels[package]) as opened:
            found.update(
                (one, opened.read(one))
                for one in opened.namelist()
                if not one.endswith("/") and _LEFT_OUT.fullmatch(one) is None
            )
    return {bundle.prefix + path: found[path] for path in sorted(found)}


def write_zip(path: Path, files: Mapping[str, bytes]) -> None:
    """Write a zip file that depends on the contents alone; it is there as a whole or not."""
    unfinished = path.with_suffix(".unfinished")
    with zipfile.ZipFile(unfinished, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as opened:
        for name in sorted(files):
            member = zipfile.ZipInfo(name, _DATE)
            member.create_system = 3  # Unix, whose modes these are
            member.external_attr = (stat.S_IFREG | 0o644) << 16
            member.compress_type = zipfile.ZIP_DEFLATED
            opened.writestr(member, files[name], compresslevel=9)
    unfinished.replace(path)


def write_folder(path: Path, files: Mapping[str, bytes]) -> None:
    """Write the contents of a bundle into a folder, in place of what is in it."""
    path.mkdir(parents=True, exist_ok=True)
    for old in path.iterdir():
        if old.is_dir():
            shutil.rmtree(old)
        else:
            old.unlink()
    for name, content in files.items():
        target = path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)


def make(
    names: Iterable[str], architectures: Iterable[str], python: str
) -> Iterator[tuple[str, str, dict[str, bytes]]]:
    """Yield the name, the architecture and the contents of each bundle."""
    names = list(names)
    for architecture in architectures:
        native = native_module(architecture)
        for name in names:
            yield name, architecture, files_of(name, architecture, python, native)


def main() -> None:
    """Make the bundles that the command line names."""
    parser = argparse.ArgumentParser(description="Make the bundles of the Lambda functions.")
    parser.add_argument("names", nargs="*", metavar="BUNDLE", help=", ".join(BUNDLES))
    parser.add_argument(
        "--architecture", choices=ARCHITECTURES, action="append", help="both, unless given"
    )
    parser.add_argument("--python", default=PYTHON, help=f"the runtime's Python ({PYTHON})")
    parser.add_argument(
        "--folder", type=Path, help="write the only bundle into this folder, without a zip file"
    )
    given = parser.parse_args()
    unknown = sorted(set(given.names) - BUNDLES.keys())
    if unknown:
        parser.error(f"{unknown[0]!r} is no bundle: expected some of {', '.join(BUNDLES)}")
    if re.fullmatch(r"3\.1[2-9]", given.python) is None:
        parser.error(
            f"--python is {given.python!r}: expected 3.12 or later, whose runtimes have the C "
            f"library {GLIBC[0]}.{GLIBC[1]} that the wheels need"
        )
    own, wanted = importlib.metadata.version("cffi"), pinned()["cffi"]
    if own != wanted:
        parser.error(
            f"cffi is {own} here: expected {wanted}, which {REQUIREMENTS.relative_to(ROOT)} pins; "
            "make bundles installs it"
        )
    made = make(
        given.names or list(BUNDLES), given.architecture or list(ARCHITECTURES), given.python
    )
    if given.folder is not None:
        if len(given.names) != 1 or len(given.architecture or ()) != 1:
            parser.error("--folder: expected one bundle and one --architecture")
        ((_, _, files),) = made
        write_folder(given.folder, files)
        return
    BUILD.mkdir(parents=True, exist_ok=True)
    for name, architecture, files in made:
        path = BUILD / f"{name}-{architecture}.zip"
        write_zip(path, files)
        size = sum(map(len, files.values()))
        print(f"{path.relative_to(ROOT)}: {path.stat().st_size:,} bytes, {size:,} unzipped")
    lines = [
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n"
        for path in sorted(BUILD.glob("*.zip"))
    ]
    (BUILD / "SHA256SUMS").write_text("".join(lines), encoding="ascii")


if __name__ == "__main__":
    main()
