"""How much of a path that is given lies below its anchor."""

from __future__ import annotations

import dataclasses

import pytest

from crlcheck.checker.scope import ScopeTable, TrustedIssuer
from crlcheck.types import CertificateFacts
from support.values import make_certificate


def authority(
    subject: str, issuer: str, key: str, *, key_id: bytes | None = None, der: bytes = b""
) -> CertificateFacts:
    """The certificate of an authority; *key_id* is that of its issuer's key."""
    certificate = make_certificate(
        issuer=issuer,
        subject=subject,
        key=key,
        authority_key_id=key_id,
        subject_key_id=key.encode(),
        is_ca=True,
    )
    return dataclasses.replace(certificate, der=der)


LEAF = make_certificate(issuer="sub", authority_key_id=b"sub key")
SUB = authority("sub", "root", "sub key", key_id=b"root key", der=b"sub")
ROOT = authority("root", "root", "root key", der=b"root")
PATH = (LEAF, SUB, ROOT)


def length(
    path: tuple[CertificateFacts, ...],
    *issuers: CertificateFacts | TrustedIssuer,
    anchors: tuple[CertificateFacts, ...] | None = None,
) -> int:
    """How many certificates of *path* lie below its anchor where these issuers are trusted."""
    return ScopeTable([], issuers, anchors=anchors).issuers.length_below_anchor(path)


@pytest.mark.parametrize(
    ("anchors", "expected"),
    [(None, 2), ((), 3), ((ROOT,), 2), ((SUB,), 1), ((SUB, ROOT), 1), ((LEAF,), 3)],
)
def test_a_path_ends_below_the_first_anchor_named(
    anchors: tuple[CertificateFacts, ...] | None, expected: int
) -> None:
    """
    By default below a last certificate that is self-signed; where anchors are named
    and none is on the path, nothing is left out. A client is never an anchor.
    """
    assert length(PATH, LEAF, SUB, ROOT, anchors=anchors) == expected


def test_an_operators_anchor_ends_a_path_too() -> None:
    """One that the catalog marks, besides the self-signed."""
    marked = TrustedIssuer(SUB, self_signed=False, is_anchor=True)
    assert length(PATH, marked, ROOT) == 1
    assert length(PATH, TrustedIssuer(SUB, self_signed=False), ROOT) == 2


def test_a_path_is_never_empty() -> None:
    """A self-signed certificate alone is what is checked."""
    assert length((ROOT,), ROOT) == 1
    assert length((LEAF, SUB), SUB) == 2


def test_what_is_known_of_the_last_certificate_decides() -> None:
    """Not what it looks like, where its signature was looked at."""
    assert length(PATH, TrustedIssuer(ROOT, self_signed=False)) == 3
    assert length(PATH, TrustedIssuer(ROOT, self_signed=True)) == 2


def test_a_rollovers_certificate_that_nobody_knows_is_no_anchor() -> None:
    """
    Without authority key id, a self-issued certificate may be signed by another
    trusted key of the name. Where its key is an anchor's, or it states its own id,
    it ends the path.
    """
    new_key = authority("root", "root", "new key", der=b"new")
    path = (LEAF, SUB, dataclasses.replace(new_key, der=b"seen for the first time"))
    assert length(path, SUB) == 2
    cross = TrustedIssuer(new_key, self_signed=False)
    assert length(path, SUB, cross) == 2
    assert length(path, SUB, ROOT) == 3
    assert length(path, SUB, cross, ROOT) == 3
    assert length(path, SUB, new_key, ROOT) == 2
    stated = dataclasses.replace(path[-1], authority_key_id=b"new key")
    assert length((*path[:-1], stated), SUB, ROOT) == 2
    signed_by_the_old = dataclasses.replace(path[-1], authority_key_id=b"root key")
    assert length((*path[:-1], signed_by_the_old), SUB, ROOT) == 3
