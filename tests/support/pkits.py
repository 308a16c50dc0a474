"""
NIST's Public Key Interoperability Test Suite, sections 4.4, 4.5, 4.14 and 4.15:
every test's CRLs are published to a store, and its path is checked by them.

``make conformance`` prints what each test expects and what crlcheck answers. It
fails where the two differ.
"""

from __future__ import annotations

import functools
import json
import sys
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import cryptography_vectors

from crlcheck import (
    CheckResult,
    CrlError,
    RevocationChecker,
    load_certificate,
    publish_crl,
)
from support.memory_store import MemoryStore

DATA = Path(__file__).parents[1] / "data" / "pkits.json"
FILES = Path(cryptography_vectors.__file__).parent / "x509" / "PKITS_data"


@dataclass(frozen=True, slots=True)
class PkitsTest:
    """
    One test. ``path`` runs from the trust anchor to the end entity; ``status``
    is None where the test asserts nothing that concerns revocation. ``refused``
    has the CRLs that publishing refuses, with the word for the refusal.
    """

    id: str
    name: str
    path: tuple[str, ...]
    other_issuers: tuple[str, ...]
    crls: tuple[str, ...]
    status: str | None
    proves: str
    cause: str | None = None
    refused: dict[str, str] = field(default_factory=dict)
    note: str = ""

    @property
    def expected(self) -> str:
        """The verdict expected, as the table shows it."""
        return "(none asserted)" if self.status is None else verdict_text(self.status, self.cause)


@dataclass(frozen=True, slots=True)
class Outcome:
    """
    What crlcheck made of a test: the verdict on the path as given, the one that
    a walk up from the end entity alone arrives at, and the CRLs refused.
    """

    test: PkitsTest
    path: CheckResult
    walk: CheckResult
    refused: dict[str, str]

    @property
    def mismatches(self) -> list[str]:
        """What differs from what the test expects, in words; nothing if all is well."""
        found = []
        if self.test.status is not None:
            for how, result in (("path", self.path), ("walk", self.walk)):
                if text_of(result) != self.test.expected:
                    found.append(f"{how}: {text_of(result)}: {result}")
        if self.refused != self.test.refused:
            found.append(f"refused {self.refused}, expected {self.test.refused}")
        return found


def load_tests() -> list[PkitsTest]:
    """Return the tests, in the order of the suite."""
    tests = []
    for test in _document()["tests"]:
        fields: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in test.items()
        }
        tests.append(PkitsTest(**fields))
    return tests


def run(test: PkitsTest) -> Outcome:
    """Publish the CRLs of *test* and check its path at the suite's time."""
    now = datetime.fromisoformat(_document()["time"])
    anchor, *path = map(_certificate, test.path)
    issuers = [anchor, *path[:-1], *map(_certificate, test.other_issuers)]
    store = MemoryStore()
    refused: dict[str, str] = {}
    for name in test.crls:
        try:
            publish_crl(FILES / "crls" / f"{name}.crl", store, issuer=issuers, now=now)
        except CrlError as error:
            refused[name] = _word_of(error)
    checker = RevocationChecker(store, trust_anchors=[anchor], clock=lambda: now)
    with checker:
        return Outcome(
            test,
            path=checker.check_chain([*reversed(path), anchor]),
            walk=checker.check(path[-1]),
            refused=refused,
        )


def verdict_text(status: str, cause: str | None) -> str:
    """Return a verdict as the table shows it, as in ``"undetermined (stale)"``."""
    return status if cause is None else f"{status} ({cause})"


def text_of(result: CheckResult) -> str:
    """Return a result's verdict as the table shows it."""
    return verdict_text(result.status.value, None if result.cause is None else result.cause.value)


def main() -> int:
    """Print the table; return 1 if anything is not as expected."""
    outcomes = [run(test) for test in load_tests()]
    for outcome in outcomes:
        test = outcome.test
        mark = "FAIL" if outcome.mismatches else "ok"
        print(f"{mark:4}  {test.id:8}{test.expected:34}{text_of(outcome.path):34}{test.proves}")
        for line in (*outcome.mismatches, *([test.note] if test.note else [])):
            print(f"{'':14}{line}")
    failed = sum(bool(outcome.mismatches) for outcome in outcomes)
    asserted = sum(outcome.test.status is not None for outcome in outcomes)
    of_these = f"{asserted} of them with a verdict"
    print(f"\n{len(outcomes)} PKITS tests, {of_these}: {failed} not as expected")
    return 1 if failed else 0


@functools.cache
def _document() -> dict[str, Any]:
    document: dict[str, Any] = json.loads(DATA.read_text(encoding="utf-8"))
    return document


@functools.cache
def _certificate(name: str) -> bytes:
    return load_certificate(FILES / "certs" / f"{name}.crt").der


def _word_of(error: CrlError) -> str:
    for attribute in ("rule", "feature", "reason"):
        if hasattr(error, attribute):
            return str(getattr(error, attribute))
    return type(error).__name__


if __name__ == "__main__":
    sys.exit(main())
