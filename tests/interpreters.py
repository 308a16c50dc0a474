"""
Run the tests on every supported interpreter that is found, with one wheel.

``make test-all`` builds the wheel and runs this: ``interpreters.py WHEEL [PYTEST ARGUMENT...]``.
Each interpreter gets a virtual environment beside the wheel's directory, and one line
of output; what pytest said is in a log beside it. It fails where one of them does, or
where none is found.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
VERSION = "import sys, venv; print('%d.%d.%d' % sys.version_info[:3])"


def supported_versions() -> list[str]:
    """Return the versions of Python that pyproject.toml claims, such as ``3.11``."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    found = (re.search(r":: (3\.\d+)$", classifier) for classifier in project["classifiers"])
    return [match[1] for match in found if match]


def _candidates(version: str) -> Iterator[Path]:
    on_path = shutil.which(f"python{version}")
    if on_path is not None:
        yield Path(on_path)
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    yield from sorted(pyenv.glob(f"versions/{version}.*/bin/python{version}"), reverse=True)
    if sys.version.startswith(f"{version}."):
        yield Path(sys.executable)


def find_interpreter(version: str) -> tuple[Path, str] | None:
    """Return an interpreter of *version* that works, and its full version."""
    for path in _candidates(version):
        # pyenv's shims are on the path also where they lead nowhere.
        asked = subprocess.run(
            [path, "-c", VERSION], capture_output=True, text=True, check=False, timeout=60
        )
        if asked.returncode == 0 and asked.stdout.startswith(f"{version}."):
            return path, asked.stdout.strip()
    return None


def run_tests(python: Path, wheel: Path, environment: Path, arguments: Sequence[str]) -> int:
    """Test *wheel* with *python* in the virtual *environment*; return pytest's exit status."""
    inside = environment / "bin" / "python"
    pip: list[str | Path] = [inside, "-m", "pip", "install", "--quiet"]
    log = environment.with_suffix(environment.suffix + ".log")
    commands: list[list[str | Path]] = [
        [python, "-m", "venv", environment],
        [*pip, f"{wheel}[test]"],
        [*pip, "--no-deps", "--force-reinstall", wheel],
        [inside, ROOT / "tests" / "install_functions.py"],
        [inside, "-m", "pytest", "-p", "no:cacheprovider", *arguments],
    ]
    with log.open("w", encoding="utf-8") as output:
        for command in commands:
            ended = subprocess.run(
                command,
                cwd=ROOT,
                env={**os.environ, "PYTHONSAFEPATH": "1"},
                stdout=output,
                stderr=subprocess.STDOUT,
                check=False,
            )
            if ended.returncode:
                break
    last = log.read_text(encoding="utf-8").rstrip().rpartition("\n")[2].strip("= ")
    print(f"{'ok' if ended.returncode == 0 else f'FAILED ({log.relative_to(ROOT)})'}: {last}")
    return ended.returncode


def main() -> int:
    """Test each supported version; return 1 where one fails or none is found."""
    wheel, *arguments = sys.argv[1:]
    statuses = []
    for version in supported_versions():
        found = find_interpreter(version)
        if found is None:
            print(f"Python {version}: not found on this machine", flush=True)
            continue
        python, full = found
        print(f"Python {full} ({python}): ", end="", flush=True)
        directory = Path(wheel).resolve().parents[1] / version
        statuses.append(run_tests(python, Path(wheel).resolve(), directory, arguments))
    return 0 if statuses and not any(statuses) else 1


if __name__ == "__main__":
    sys.exit(main())
