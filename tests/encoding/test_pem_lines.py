"""Lines of PEM text: how they are counted, how long they may be, and what is shown of them."""

from __future__ import annotations

import re

import pytest

from crlcheck.encoding.pem import CERTIFICATE, PemSplitter, pem_blocks
from support.pem import BEGIN, END, KEY, LABEL, block, decode_in_chunks


def line_of_error(data: bytes, size: int) -> int:
    """The line that the error names where the text comes in chunks of that size."""
    with pytest.raises(ValueError, match="PEM line") as caught:
        decode_in_chunks(data, size)
    match = re.match("PEM line ([0-9]+): ", str(caught.value))
    assert match is not None
    return int(match[1])


LONG = b"x" * 600
BAD = b"see -----END X509 CRL-----\n"
DASHES = "\u2013\u2013\u2013END X509 CRL\u2013\u2013\u2013\n".encode()
BASE64 = b"MIIB" + b"A" * 60 + b"\n"


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64, 255, 256, 257, 258, 300, 599, 600, 601, 10_000])
@pytest.mark.parametrize(
    ("data", "line"),
    [
        (BAD, 1),
        (b"\n" + BAD, 2),
        (LONG + b"\n" + BAD, 2),
        (b"a\n" + LONG + b"\nb\n" + BAD, 4),
        (LONG + b"\n" + LONG + b"\n\n" + BAD, 4),
        (b"a\n" * 300 + BAD, 301),
        (LONG + BAD, 1),
        (b"a\n" + LONG + BAD, 2),
        (block(b"crl") + b"text\n" + BAD, 5),
        (block(b"crl") + LONG + b"\n" + BAD, 5),
        (block(b"y" * 500) + BAD, 14),
        (KEY + BAD, 4),
        (KEY + LONG + b"\n" + KEY + BAD, 8),
        (BEGIN + b"QUJD\n" * 200 + b"QU@D\n" + END, 202),
        (BEGIN + b"QUJD\n" * 200 + b"-----END CRL-----\n", 202),
        (b"a\n" + LONG + b"\n\0\n", 3),
        (b"a\n\0\n" + BAD, 2),
        (b"a\n\0\n\0\n", 2),
        (block(b"crl") + b"a\n\0\n", 5),
        (block(b"crl") + b"a\n" + BASE64, 5),
        (b"a\n" + BASE64 + BASE64, 2),
        (BAD + DASHES, 1),
        (DASHES + BAD, 1),
    ],
)
def test_an_error_names_its_line_however_the_text_is_cut(data: bytes, line: int, size: int) -> None:
    """
    Through text, long lines and blocks of every kind.
    """
    assert line_of_error(data, size) == line


def with_blanks(boundary: bytes, length: int, newline: bytes = b"\n") -> bytes:
    """A block with blanks behind one of its boundaries, up to that many bytes."""
    return block(b"crl").replace(boundary, boundary.rstrip(b"\n").ljust(length) + newline)


def read_once(data: bytes, size: int) -> None:
    """Read the text in chunks of that size, which has one block."""
    splitter = PemSplitter(LABEL)
    found = b""
    for start in range(0, len(data), size):
        for _, octets in splitter.feed(data[start : start + size]):
            found += octets
            assert b"crl".startswith(found)
    splitter.finish()


SIZES = [1, 100, 255, 256, 257, 10_000]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    "data",
    [with_blanks(BEGIN, 256), with_blanks(END, 256), with_blanks(END, 256, b"")],
    ids=["BEGIN", "END", "END at the end"],
)
def test_a_boundary_may_have_256_bytes(data: bytes, size: int) -> None:
    """
    With the blanks behind it, however the text is cut.
    """
    assert pem_blocks(data, LABEL) == [b"crl"]
    assert decode_in_chunks(data, size) == (b"crl", 1)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    ("data", "message"),
    [
        (with_blanks(BEGIN, 257), "line 1: found '-----BEGIN X509 CRL-----' in"),
        (with_blanks(BEGIN, 600, b""), "line 1: found '-----BEGIN X509 CRL-----' in"),
        (with_blanks(END, 257), "line 3: found '-----END X509 CRL-----' in"),
        (with_blanks(END, 257, b""), "line 3: found '-----END X509 CRL-----' in"),
        (with_blanks(END, 600, b""), "line 3: found '-----END X509 CRL-----' in"),
    ],
)
def test_a_longer_line_with_a_boundary_is_refused(data: bytes, message: str, size: int) -> None:
    """
    However the text is cut; and what stands before it is not read twice.
    """
    with pytest.raises(ValueError, match=f"PEM {message} a line of more than 256 bytes, expected"):
        read_once(data, size)


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        (b"see -----END X509 CRL-----  \r\n", b"see -----END X509 CRL-----"),
        (b"-----BEGIN X509 CRL-----\x0c\n", b"-----BEGIN X509 CRL-----\x0c"),
        (b" -----BEGIN X509 CRL-----\n", b" -----BEGIN X509 CRL-----"),
        (b"x" * 20 + b"-----BEGIN X509 CRL-----\n", b"x" * 20 + b"-----BEGIN X509 CRL-"),
    ],
)
def test_a_line_that_is_no_boundary_by_itself_is_shown(line: bytes, shown: bytes) -> None:
    """
    Its first 40 bytes, without the blanks at its end and with all others.
    """
    with pytest.raises(ValueError, match="PEM") as caught:
        pem_blocks(b"text\n" + line, LABEL)
    assert str(caught.value) == (
        f"PEM line 2: found {shown.decode()!r}, "
        "expected a line that is a PEM boundary by itself, or none"
    )


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (BEGIN + b"QUJD", "line 3: the input ends inside a block, expected -----END X509 CRL"
         "-----"),
        (KEY[:40], "line 3: the input ends inside a block, expected -----END PRIVATE KEY-----"),
        (BEGIN + b"QUJD" + END, "line 2: found '-----END X509 CRL-----' inside a line, expected "
         "base64 or -----END X509 CRL-----"),
        (BEGIN + b"QUJD\n-x\n", "line 3: found '-x', expected base64 or -----END X509 CRL-----"),
        (BEGIN + b"QUJ\n" + END, "line 3: the base64 ends early, expected groups of four "
         "characters"),
        (BEGIN + END, "line 2: the block is empty, expected base64"),
        (BEGIN + b"QU@D\n" + END, "line 2: the base64 is broken, expected RFC 4648 base64"),
        (END, "line 1: found '-----END X509 CRL-----', expected its BEGIN before it"),
        (b"\0", "line 1: found a NUL, expected text"),
        (BASE64, "line 1: found what begins like a certificate or CRL in base64 outside a block, "
         "expected a line -----BEGIN X509 CRL----- before it"),
        (KEY.replace(b"END", b"END EC"), "line 3: found '-----END EC PRIVATE KEY-----', expected "
         "-----END PRIVATE KEY-----"),
        (KEY + KEY.replace(b"END", b"BEGIN"), "line 6: found '-----BEGIN PRIVATE KEY-----', "
         "expected -----END PRIVATE KEY-----"),
        (block(b"x", label="DATA"), "line 1: found '-----BEGIN DATA-----', expected -----BEGIN "
         "X509 CRL-----"),
    ],
)  # fmt: skip
def test_an_error_says_what_was_found_and_what_was_expected(data: bytes, message: str) -> None:
    """
    In one line, with the line's number.
    """
    with pytest.raises(ValueError, match="PEM") as caught:
        pem_blocks(data, LABEL)
    assert str(caught.value) == f"PEM {message}"


@pytest.mark.parametrize(
    ("label", "remedy"),
    [
        ("TRUSTED CERTIFICATE", ": `openssl x509` writes it so"),
        ("PKCS12", ": `openssl pkcs12 -nokeys` writes its certificates so"),
        ("CERTIFICATE REQUEST", ": a CA answers the request with it"),
        ("ATTRIBUTE CERTIFICATE", ""),
    ],
)
def test_a_refused_label_comes_with_its_remedy(label: str, remedy: str) -> None:
    """
    The command that writes what is expected, where there is one.
    """
    with pytest.raises(ValueError, match="PEM") as caught:
        pem_blocks(block(b"x", label=label), CERTIFICATE)
    expected = f"expected -----BEGIN CERTIFICATE-----{remedy}"
    assert str(caught.value) == f"PEM line 1: found '-----BEGIN {label}-----', {expected}"
