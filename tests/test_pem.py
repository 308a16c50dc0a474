"""PEM, whole and in chunks."""

from __future__ import annotations

import base64
import textwrap

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crlcheck._pem import PemDecoder, looks_like_pem, pem_blocks

LABEL = "X509 CRL"
BEGIN = b"-----BEGIN X509 CRL-----\n"
END = b"-----END X509 CRL-----\n"
KEY = b"-----BEGIN PRIVATE KEY-----\nnot base64 at all: -----\n-----END PRIVATE KEY-----\n"


def block(octets: bytes, width: int = 64, newline: str = "\n") -> bytes:
    """One block of LABEL."""
    body = textwrap.wrap(base64.b64encode(octets).decode(), width)
    text = newline.join(["-----BEGIN X509 CRL-----", *body, "-----END X509 CRL-----", ""])
    return text.encode()


def decode_in_chunks(data: bytes, size: int) -> tuple[bytes, int]:
    """The first block and the number of blocks, from chunks of *size* octets."""
    decoder = PemDecoder(LABEL)
    found = b"".join(
        decoder.feed(data[start : start + size]) for start in range(0, len(data), size)
    )
    decoder.finish()
    return found, decoder.num_blocks


@given(
    contents=st.lists(st.binary(max_size=200), min_size=1, max_size=3),
    between=st.sampled_from(
        [b"", b"\n", b"text\n", KEY, b"x" * 300 + b"\n", b"- --\n" * 70, b"\r\n \n"]
    ),
    width=st.sampled_from([1, 3, 64, 1000]),
    newline=st.sampled_from(["\n", "\r\n", " \n"]),
    size=st.integers(min_value=1, max_value=700),
    cut=st.booleans(),
)
def test_blocks_are_found_whatever_surrounds_and_splits_them(
    contents: list[bytes], between: bytes, width: int, newline: str, size: int, cut: bool
) -> None:
    """
    Text and other labels around blocks, line widths, line ends, a missing last
    newline and the borders of chunks change nothing.
    """
    data = between.join([b"", *(block(octets, width, newline) for octets in contents), b""])
    if cut:
        data = data.rstrip()
    assert pem_blocks(data, LABEL) == contents
    assert decode_in_chunks(data, size) == (contents[0], len(contents))


def test_text_before_the_first_block_is_allowed() -> None:
    """
    ``openssl crl -text`` prints the list ahead of the block; so may a byte order mark.
    """
    data = b"Certificate Revocation List (CRL):\n    Version 2\n" + block(b"crl")
    assert pem_blocks(data, LABEL) == [b"crl"]
    assert pem_blocks(b"\xef\xbb\xbf" + block(b"crl"), LABEL) == [b"crl"]


@pytest.mark.parametrize(
    "line",
    [
        b"see -----BEGIN X509 CRL-----\n",
        b"-----BEGIN X509 CRL----- below\n",
        b"-----BEGIN X509 CRL----\n",
        b"-----BEGIN CERTIFICATE-----\n",
        b"x" * 300 + b"-----BEGIN X509 CRL-----\n",
    ],
)
def test_only_a_whole_line_begins_a_block(line: bytes) -> None:
    """
    Text that merely mentions the BEGIN line begins no block.
    """
    assert pem_blocks(line + block(b"crl"), LABEL) == [b"crl"]
    assert decode_in_chunks(line + block(b"crl"), 7) == (b"crl", 1)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (BEGIN + b"QUJD\nQU@D\n" + END, "line 3: the base64 is broken"),
        (b"text\n" + BEGIN + b"QUJD\nQUJD\nQU\x00D\n" + END, "line 5: the base64 is broken"),
        (BEGIN + b"QQ==\nQUJD\n" + END, "line 2: the base64 is broken"),
        (BEGIN + b"Q===\n" + END, "line 2: the base64 is broken"),
        (BEGIN + b"=QUJ\n" + END, "line 2: the base64 is broken"),
        (BEGIN + b"Proc-Type: 4,ENCRYPTED\n\nQUJD\n" + END, "line 2: "),
        (BEGIN + b"QUJD\nQUJ\n" + END, "line 4: the base64 ends early"),
        (BEGIN + b"QUJD\n", "ends inside a block"),
        (BEGIN + b"QUJD\n-----END X509 CRL----", "line 3: found b'-----END X509 CRL----'"),
        (BEGIN + b"QUJD\n-----END CERTIFICATE-----\n", "line 3: found"),
        (BEGIN + b"QUJD\n" + BEGIN + b"QUJD\n" + END, "line 3: found b'-----BEGIN X509 CRL"),
        (BEGIN + b"QUJD\n-" + b"x" * 300, "line 3: found b'-xxx"),
        (block(b"crl") + BEGIN + b"QU@D\n" + END, "line 5: the base64 is broken"),
    ],
)
def test_a_broken_block_is_refused_with_its_line(data: bytes, message: str) -> None:
    """
    Inside a block only base64 is allowed, to its proper end; nothing is skipped.
    """
    with pytest.raises(ValueError, match=message):
        pem_blocks(data, LABEL)
    for size in (1, 5, 1000):
        with pytest.raises(ValueError, match="PEM line"):
            decode_in_chunks(data, size)


def test_padding_ends_a_block_across_chunks() -> None:
    """
    Base64 after its padding is refused even where the two come in different chunks.
    """
    decoder = PemDecoder(LABEL)
    assert decoder.feed(BEGIN + b"QQ==\n") == b"A"
    with pytest.raises(ValueError, match="line 3: the base64 is broken"):
        decoder.feed(b"QUJD\n")


def test_a_source_without_a_block_is_an_error_at_its_end() -> None:
    """
    Text that never comes to a block of the label is refused when it ends.
    """
    decoder = PemDecoder(LABEL)
    assert decoder.feed(KEY) == b""
    with pytest.raises(ValueError, match="no line -----BEGIN X509 CRL-----"):
        decoder.finish()
    assert pem_blocks(KEY, LABEL) == []


def test_a_line_without_end_is_not_kept() -> None:
    """
    What is held back between chunks stays bounded, however long a line is.
    """
    decoder = PemDecoder(LABEL)
    for _ in range(100):
        assert decoder.feed(b"x" * 1000) == b""
        assert len(decoder._splitter._scanner._carry) <= 256
    assert decoder.feed(b"\n" + block(b"crl")) == b"crl"


def test_a_block_on_one_line_is_decoded_as_it_comes() -> None:
    """
    Base64 without line breaks is handed out with each chunk, not held back.
    """
    decoder = PemDecoder(LABEL)
    assert decoder.feed(BEGIN) == b""
    assert [len(decoder.feed(b"QUJD" * 250)) for _ in range(4)] == [750] * 4
    assert decoder.feed(b"\n" + END) == b""
    decoder.finish()


@pytest.mark.parametrize(
    ("prefix", "expected"),
    [
        (b"-----BEGIN X509 CRL-----\nMIIB", True),
        (b"Certificate Revocation List (CRL):\n", True),
        (b"\xef\xbb\xbf-----BEGIN", True),
        (b"0 s:CN=leaf\n   i:CN=issuer\n-----BEGIN CERTIFICATE-----\n", True),
        (b"<html>not found</html>", True),
        (bytes.fromhex("308201a330820149020101300a06082a8648ce3d0403023000"), False),
        (bytes.fromhex("30820122308201cda003020102"), False),
        (bytes.fromhex("302d301f30080602"), False),
        (b"", False),
    ],
)
def test_text_is_told_from_der(prefix: bytes, expected: bool) -> None:
    """
    The first octets decide between text and DER, though the block may come later.
    """
    assert looks_like_pem(prefix) is expected
