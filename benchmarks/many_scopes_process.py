"""
Do one thing with a store of many scopes in a process of its own, and tell its memory.

``python -m benchmarks.many_scopes_process ACTION STORE [CERTIFICATES]`` prints the figures as
JSON. ``check`` asks a checker about each certificate in a directory.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import crlcheck
from benchmarks.compile_memory import resident
from crlcheck.stores import LocalStore

_PACKAGE_PARENT = Path(__file__).parents[1]


def run(action: str, store: Path, *others: Path) -> dict[str, Any]:
    """Run the module and return the figures."""
    command = [sys.executable, "-m", "benchmarks.many_scopes_process", action, str(store)]
    done = subprocess.run(
        [*command, *map(str, others)], cwd=_PACKAGE_PARENT, stdout=subprocess.PIPE, check=True
    )
    figures: dict[str, Any] = json.loads(done.stdout)
    return figures


def status(store: Path) -> dict[str, int]:
    """Read the status of the store."""
    found = crlcheck.read_store_status(LocalStore(store))
    return {"scopes": found.num_scopes, "peak": resident(field="VmHWM")}


def verify(store: Path) -> dict[str, int]:
    """Verify all that the store has."""
    report = crlcheck.verify_store(LocalStore(store))
    assert report.is_whole, report
    return {"scopes": report.num_scopes, "peak": resident(field="VmHWM")}


def check(store: Path, certificates: Path) -> dict[str, int]:
    """Ask about certificates, of which the first sees to what is imported only once."""
    asked = [path.read_bytes() for path in sorted(certificates.iterdir())]
    with crlcheck.RevocationChecker(LocalStore(store)) as warm:
        warm.check(asked[0])
    before = resident()
    checker = crlcheck.RevocationChecker(LocalStore(store))
    results = [checker.check(one) for one in asked]
    return {
        "passed": sum(one.status is crlcheck.RevocationStatus.NOT_REVOKED for one in results),
        "steady": resident() - before,
        "whole": resident(),
        "peak": resident(field="VmHWM"),
    }


def main() -> None:
    """Print the figures of what the command line asks for, as JSON."""
    action, store, *others = sys.argv[1:]
    path = Path(store)
    if action == "check":
        figures = check(path, Path(others[0]))
    else:
        figures = status(path) if action == "status" else verify(path)
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
