"""
What tests of publishing run in processes of their own, to race or to be killed.

    publish_worker.py STORE ISSUER CRL...   publish each CRL; a line of JSON for each
    publish_worker.py --for-ever STORE ISSUER CRL...   again and again, until killed
"""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from pathlib import Path

from crlcheck.errors import CrlError
from crlcheck.publisher.publish import publish_crl
from crlcheck.stores import LocalStore, ObjectStore, open_store


def publisher(*arguments: object) -> subprocess.Popen[str]:
    """Start this module as a process with these arguments; its output is a pipe."""
    command = [sys.executable, __file__, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def publish(path: str, issuer: bytes, store: ObjectStore) -> dict[str, object]:
    """Publish one CRL, or say by what it was refused."""
    try:
        report = publish_crl(path, store, issuer=issuer, source_name=Path(path).name)
    except CrlError as error:
        return {"error": type(error).__name__}
    return {"published": report.published, "num_lost_swaps": report.num_lost_swaps}


def main(arguments: list[str]) -> None:
    """Run the command above."""
    for_ever = arguments[0] == "--for-ever"
    target, issuer, *paths = arguments[for_ever:]
    store = open_store(target) if "://" in target else LocalStore(target, fsync=False)
    certificate = Path(issuer).read_bytes()
    for path in itertools.cycle(paths) if for_ever else paths:
        print(json.dumps(publish(path, certificate, store)), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
