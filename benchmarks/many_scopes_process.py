"""
Do one thing with a store of many scopes in a process of its own, and tell its memory.

``python -m benchmarks.many_scopes_process ACTION STORE [CERTIFICATES]`` prints the figures as
JSON. ``check`` asks a checker about each certificate in a directory. ``publish`` takes a file
of issuers, the number of jobs, and directories of CRLs.
"""

from __future__ import annotations

import json
import secrets
import subprocess
import sys
from pathlib import Path
from typing import Any

import crlcheck
from benchmarks.compile_memory import resident
from crlcheck.compiler.compile import compile_to_temporary
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


def publish(store: Path, issuers: Path, jobs: int, directories: list[Path]) -> dict[str, int]:
    """Publish all CRLs of directories."""
    paths = sorted(path for directory in directories for path in directory.iterdir())
    target = LocalStore(store, fsync=False)
    found = crlcheck.publish_many(paths, target, issuers=issuers.read_bytes(), jobs=jobs)
    assert not found.failed, found.failed
    assert not found.refused, found.refused
    return {"published": found.num_published}


def compile_and_upload(store: Path, job: tuple[Path, bytes]) -> None:
    """Compile a CRL and write its image."""
    path, issuer = job
    with compile_to_temporary(path, issuer=issuer) as compiled:
        name = f"images/{compiled.digest}-{secrets.token_hex(16)}.crlx"
        LocalStore(store, fsync=False).write(name, compiled.content)


def main() -> None:
    """Print the figures of what the command line asks for, as JSON."""
    action, store, *others = sys.argv[1:]
    path = Path(store)
    if action == "publish":
        issuers, jobs, *directories = others
        figures = publish(path, Path(issuers), int(jobs), [*map(Path, directories)])
    elif action == "check":
        figures = check(path, Path(others[0]))
    else:
        figures = status(path) if action == "status" else verify(path)
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
