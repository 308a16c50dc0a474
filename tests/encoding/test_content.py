"""Decode gzip that HTTP or S3 delivers as a content coding."""

from __future__ import annotations

import gzip
import io
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crlcheck.demo.pki import pem_block
from crlcheck.encoding.content import GzipReader, is_gzip
from crlcheck.errors import CrlError, MalformedCrlError, UnsupportedCrlError
from crlcheck.publisher.publish_many import publish_each
from crlcheck.types import PublishReport
from support.pki import NOW, make_authority, make_crl

PLAIN = bytes(range(256)) * 400
PACKED = gzip.compress(PLAIN)


class Slow(io.BytesIO):
    """A file that gives a few bytes at once."""

    def read(self, size: int | None = -1, /) -> bytes:
        return super().read(min(size or 0, 7))


def unpack(packed: bytes, *, max_size: int = 0, size: int = 1 << 14) -> bytes:
    """Read to the end."""
    reader = GzipReader(io.BytesIO(packed), max_size=max_size)
    found = b""
    while piece := reader.read(size):
        assert len(piece) <= size
        found += piece
    assert reader.read(size) == b""
    return found


@pytest.mark.parametrize("size", [1000, 1 << 20])
def test_members_follow_one_another(size: int) -> None:
    """
    RFC 1952 2.2: a file is one member or several, and each may be empty.
    """
    assert unpack(PACKED, size=size) == PLAIN
    assert unpack(PACKED + gzip.compress(b"") + PACKED, size=size) == PLAIN * 2
    assert unpack(gzip.compress(b"")) == b""
    assert unpack(PACKED + bytes(512)) == PLAIN
    reader = GzipReader(Slow(PACKED * 2), max_size=0)
    assert b"".join(iter(lambda: reader.read(1000), b"")) == PLAIN * 2


@pytest.mark.parametrize(
    ("packed", "words"),
    [
        (PACKED[:-1], "gzip data end too early"),
        (PACKED[:5], "gzip data end too early"),
        (PACKED + PACKED[:-1], "gzip data end too early"),
        (PACKED + b"junk that is no gzip", "damaged"),
        (PLAIN, "damaged"),
        (zlib.compress(PLAIN), "damaged"),
        (PACKED[:-8] + bytes(4) + PACKED[-4:], "damaged"),
        (PACKED[:-4] + bytes(4), "damaged"),
    ],
)
def test_what_is_no_whole_gzip_is_refused(packed: bytes, words: str) -> None:
    """
    Broken off, with something behind it, or with a wrong checksum or size.
    """
    with pytest.raises(MalformedCrlError, match=words) as caught:
        unpack(packed)
    assert caught.value.rule == "bad_gzip"


def test_a_bomb_ends_at_the_limit() -> None:
    """
    Neither what is packed nor what comes of it may be larger, and no more is unpacked
    than is asked for.
    """
    bomb = gzip.compress(bytes(50_000_000))
    assert len(bomb) < 100_000
    reader = GzipReader(io.BytesIO(bomb), max_size=1_000_000)
    found = 0

    def read_all() -> None:
        nonlocal found
        while piece := reader.read(1 << 16):
            found += len(piece)

    with pytest.raises(UnsupportedCrlError, match="larger than the 1000000 bytes"):
        read_all()
    assert found <= 1_000_000
    empty = gzip.compress(b"") * 100_000
    with pytest.raises(UnsupportedCrlError, match="larger"):
        unpack(empty, max_size=1_000_000)
    assert unpack(PACKED, max_size=len(PLAIN)) == PLAIN


@given(st.binary(max_size=300), st.integers(0, len(PACKED)))
def test_no_bytes_are_too_strange(junk: bytes, position: int) -> None:
    """
    Whatever is behind a piece of gzip.
    """
    for data in (junk, PACKED[:position] + junk):
        try:
            unpack(data, max_size=200_000)
        except CrlError:
            continue


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        ("gzip", True), ("x-gzip", True), ("GZIP", True), ("identity, gzip", True),
        ("aws-chunked,gzip", True), ("gzip, gzip", False), ("br", False), ("", False),
        ("identity", False), ("utf-8", False), ("gzip, br", False), ("none", False),
    ],
)  # fmt: skip
def test_gzip_is_known_by_its_names(field: str, expected: bool) -> None:
    """
    RFC 9110 8.4.1.3, in any case, and beside codings that change nothing.
    """
    assert is_gzip(field) is expected


@pytest.mark.parametrize("form", ["DER", "PEM"])
def test_crls_are_published_from_gzip(form: str, tmp_path: Path) -> None:
    """
    All that come before an error in the gzip, and that error for the next one.
    """
    authority = make_authority()
    crl = make_crl(authority, 1, [5])
    plain = crl if form == "DER" else pem_block("X509 CRL", crl)

    def publish(body: bytes, encoding: str) -> PublishReport | CrlError:
        file = io.BytesIO(body)
        store = tmp_path / str(len(body))
        *_, (_, result) = publish_each(
            file, store, issuer=authority.der, now=NOW, content_encoding=encoding,
            max_source_size=10_000,
        )  # fmt: skip
        return result

    packed = gzip.compress(plain)
    for body in (packed[:-1], packed + b"x" * 20, plain):
        refused = publish(body, "gzip")
        assert isinstance(refused, MalformedCrlError)
        assert refused.rule == "bad_gzip"
    bomb = publish(gzip.compress(plain + bytes(100_000)), "gzip")
    assert isinstance(bomb, CrlError)
    named = publish(packed, "")
    assert isinstance(named, MalformedCrlError)
    assert named.found == "gzip"
    report = publish(packed, "gzip")
    assert isinstance(report, PublishReport)
    assert report.published
