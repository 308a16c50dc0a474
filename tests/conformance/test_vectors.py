"""
The vectors of tests/vectors: each file's name says what must come of it, and
README.md why it is there.
"""

from __future__ import annotations

import base64
import re
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import pytest

from crlcheck import (
    CertificateError,
    CheckResult,
    CrlError,
    MalformedCrlError,
    RevocationChecker,
    RevocationStatus,
    UnsupportedCrlError,
    load_certificate,
    publish_crl,
)
from support.memory_store import MemoryStore
from support.pki import NOW, make_authority, make_crl
from vectors.make_vectors import README, all_vectors, listed_in

PATHS = sorted((Path(__file__).parents[1] / "vectors").glob("*.pem"))
BYSTANDER = make_authority("Bystander CA")
"""Every store holds its CRL already, so that it is not the first CRL that makes a set."""

VERDICTS = {
    "revoked": RevocationStatus.REVOKED,
    "notrevoked": RevocationStatus.NOT_REVOKED,
    "undetermined": RevocationStatus.UNDETERMINED,
}
REFUSALS: dict[str, type[CrlError]] = {
    "malformed": MalformedCrlError,
    "unsupported": UnsupportedCrlError,
}


@dataclass(frozen=True)
class VectorFile:
    """A vector as it lies on the disk."""

    expectation: str
    facts: dict[str, str]
    certificates: list[bytes]
    crls: list[bytes]

    @classmethod
    def read(cls, path: Path) -> VectorFile:
        text = path.read_text(encoding="ascii")
        head, _, rest = text.partition("\n\n")
        blocks = re.findall("-----BEGIN (.*?)-----\n(.*?)-----END", rest, re.DOTALL)
        parts = [(label, base64.b64decode(body)) for label, body in blocks]
        return cls(
            path.stem.partition("_")[0],
            dict(re.findall("^(.*?): (.*)$", head, re.MULTILINE)),
            [part for label, part in parts if label == "CERTIFICATE"],
            [part for label, part in parts if label == "X509 CRL"],
        )

    def publish(self) -> tuple[MemoryStore, list[CrlError]]:
        """Publish the CRLs; return the store and what was refused."""
        store, refusals = MemoryStore(), []
        publish_crl(make_crl(BYSTANDER, 1, [7]), store, issuer=BYSTANDER.der, now=NOW)
        for crl in self.crls:
            try:
                publish_crl(crl, store, issuer=self.certificates[1:], now=NOW)
            except CrlError as error:
                refusals.append(error)
        return store, refusals

    def check(self, store: MemoryStore) -> CheckResult:
        """Check the certificate."""
        checker = RevocationChecker(store, issuers=self.certificates[1:], clock=lambda: NOW)
        with checker:
            return checker.check(self.certificates[0])


def word_of(error: Any) -> str:
    """The word by which an error names what was wrong."""
    words = [getattr(error, name, None) for name in ("rule", "feature", "reason")]
    return str(next(word for word in words if word is not None))


def vectors(*expectations: str, certificates: bool = False) -> list[Any]:
    """The vectors with these prefixes, of CRLs or of certificates alone."""
    return [
        pytest.param(vector, id=path.stem)
        for path in PATHS
        if (vector := VectorFile.read(path)).expectation in expectations
        and ("certificate" in path.stem.split("_")[1:2] and not vector.crls) is certificates
    ]


@pytest.mark.parametrize("vector", vectors(*VERDICTS))
def test_the_verdict_is_the_prefix(vector: VectorFile) -> None:
    """
    What is published of the vector's CRLs gives the verdict, and an undetermined
    one the cause, that the vector says; nothing is refused but what it says.
    """
    store, refusals = vector.publish()
    assert ", ".join(map(word_of, refusals)) == vector.facts.get("Refused", "")
    result = vector.check(store)
    assert result.status is VERDICTS[vector.expectation], str(result)
    assert vector.facts.get("Word") == (None if result.cause is None else result.cause.value)


@pytest.mark.parametrize("vector", vectors(*REFUSALS))
def test_the_refusal_is_the_prefix(vector: VectorFile) -> None:
    """
    The last CRL is refused by the rule or feature that the vector names, whoever
    signed it, and then says nothing: only what was there before it counts.
    """
    store, refusals = vector.publish()
    assert [type(error) for error in refusals] == [REFUSALS[vector.expectation]]
    assert word_of(refusals[0]) == vector.facts["Word"]
    expected = vector.check(store)
    before = VectorFile(vector.expectation, vector.facts, vector.certificates, vector.crls[:-1])
    assert vector.check(before.publish()[0]).status is expected.status


@pytest.mark.parametrize("vector", vectors("malformed", certificates=True))
def test_a_broken_certificate_is_refused(vector: VectorFile) -> None:
    """
    A certificate that cannot be read for certain is refused by the rule named.
    """
    with pytest.raises(CertificateError) as caught:
        load_certificate(vector.certificates[0])
    assert caught.value.rule == vector.facts["Word"]


def test_the_files_are_those_of_the_generator() -> None:
    """
    The vectors on the disk, and the list of them in README.md, are what the
    generator makes.
    """
    made = {vector.name: vector.to_pem() for vector in all_vectors()}
    assert {path.stem: path.read_bytes() for path in PATHS} == made
    readme = README.read_text(encoding="utf-8")
    assert listed_in(readme, all_vectors()) == readme


def test_every_vector_is_tested_once() -> None:
    """
    Each prefix is known, and each file is a case of exactly one test above.
    """
    cases = [*vectors(*VERDICTS), *vectors(*REFUSALS), *vectors("malformed", certificates=True)]
    assert sorted(case.id for case in cases) == [path.stem for path in PATHS]


def test_distribution_points_are_never_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A certificate's URIs are compared and nothing else: publishing and checking
    open no connection (CVE-2022-40617, CVE-2023-33201).
    """

    def refuse(*args: object, **options: object) -> NoReturn:
        raise AssertionError(f"a connection was asked for: {args}")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    vector = VectorFile.read(README.parent / "revoked_by_second_distribution_point.pem")
    store, _ = vector.publish()
    assert vector.check(store).status is RevocationStatus.REVOKED
