"""PEM, whole and in chunks."""

from __future__ import annotations

import binascii
import re
import time
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crlcheck.encoding.pem import (
    CERTIFICATE,
    CRL,
    PemDecoder,
    looks_like_pem,
    only_certificate,
    pem_blocks,
)
from support.pem import BEGIN, END, KEY, LABEL, block, decode_in_chunks


@given(
    contents=st.lists(st.binary(min_size=1, max_size=200), min_size=1, max_size=3),
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


def test_the_old_label_of_certificates_is_read() -> None:
    """
    RFC 7468 5.1 lets X509 CERTIFICATE be read; the END must have the same label.
    """
    old, new = (block(b"x", label=label) for label in ("X509 CERTIFICATE", CERTIFICATE))
    assert pem_blocks(old + new + old, CERTIFICATE) == [b"x"] * 3
    with pytest.raises(ValueError, match="PEM line 3: found '-----END CERTIFICATE-----'"):
        pem_blocks(old.replace(b"END X509 ", b"END "), CERTIFICATE)


def test_a_refusal_takes_time_in_proportion_to_the_text() -> None:
    """
    Where base64 is broken is found in one pass: a line of blanks made it cubic once.
    """
    for filling in (b" ", b"A", b"= ", b"QQ==", b"\n"):
        data = BEGIN + filling * 20_000 + b"!!!!\n" + END
        start = time.thread_time()
        with pytest.raises(ValueError, match="the base64 is broken"):
            pem_blocks(data, LABEL)
        assert time.thread_time() - start < 5  # 20,000 blanks would take an hour


def test_text_before_the_first_block_is_allowed() -> None:
    """
    ``openssl crl -text`` prints the list ahead of the block; so may a byte order mark.
    """
    data = b"Certificate Revocation List (CRL):\n    Version 2\n" + block(b"crl")
    assert pem_blocks(data, LABEL) == [b"crl"]
    assert pem_blocks(b"\xef\xbb\xbf" + block(b"crl"), LABEL) == [b"crl"]


LABELS_PASSED_OVER = {
    CRL: ["CERTIFICATE", "X509 CERTIFICATE", "TRUSTED CERTIFICATE", "PRIVATE KEY", "EC PARAMETERS"],
    CERTIFICATE: ["X509 CRL", "ENCRYPTED PRIVATE KEY", "RSA PRIVATE KEY", "DH PARAMETERS"],
}
LABELS_REFUSED = {
    CRL: ["CRL", "X509 CRL ", "x509 CRL", "X509  CRL", "CERTIFICATE REQUEST", ""],
    CERTIFICATE: [
        "TRUSTED CERTIFICATE",
        "CERTIFICATE REQUEST",
        "NEW CERTIFICATE REQUEST",
        "ATTRIBUTE CERTIFICATE",
        "certificate",
        "SOME PRIVATE KEY",
        "",
    ],
}


@pytest.mark.parametrize(
    ("label", "other"),
    [(label, other) for label in LABELS_REFUSED for other in LABELS_REFUSED[label]],
)
def test_a_block_that_is_not_understood_is_refused(label: str, other: str) -> None:
    """
    Before, between or behind blocks that are read, by its label and line; so none
    after it takes its place.
    """
    good, unknown = block(b"good", label=label), block(b"other", label=other)
    for data in (unknown + good, good + unknown, unknown):
        line = 1 + good.count(b"\n") * data.startswith(good)
        with pytest.raises(ValueError, match=f"PEM line {line}: found '-----BEGIN"):
            pem_blocks(data, label)


@pytest.mark.parametrize(
    ("label", "other"),
    [(label, other) for label in LABELS_PASSED_OVER for other in LABELS_PASSED_OVER[label]],
)
def test_a_block_of_another_kind_is_passed_over_by_its_label(label: str, other: str) -> None:
    """
    Keys and parameters beside certificates, and a CA's certificate beside its CRL.
    """
    good, passed = block(b"good", label=label), block(b"other", label=other)
    encrypted = passed.replace(b"\n", b"\nProc-Type: 4,ENCRYPTED\n\n", 1)
    assert pem_blocks(passed + good + encrypted + good + passed, label) == [b"good"] * 2
    for broken in (
        passed[:-40],
        passed.replace(b"END", b"BEGIN"),
        passed.replace(b"END", b"END A"),
    ):
        with pytest.raises(ValueError, match="PEM line"):
            pem_blocks(broken + good, label)


DAMAGE = {
    "text before it": lambda line: b"see " + line,
    "text behind it": lambda line: line[:-1] + b" below\n",
    "a blank before it": lambda line: b" " + line,
    "a tab before it": lambda line: b"\t" + line,
    "another boundary before it": lambda line: b"-----END CERTIFICATE-----" + line,
    "a byte order mark before it": lambda line: b"\xef\xbb\xbf" + line,
    "a hyphen more before it": lambda line: b"-" + line,
    "a hyphen less before it": lambda line: line[1:],
    "a hyphen more behind it": lambda line: line[:-1] + b"-\n",
    "a hyphen less behind it": lambda line: line[:-2] + b"\n",
    "no hyphen behind it": lambda line: line.rstrip(b"-\n") + b"\n",
    "dashes for hyphens": lambda line: line.replace(b"-", "\u2013".encode()),
    "a dash before the word": lambda line: b"----" + "\u2014".encode() + line[5:],
    "small letters": lambda line: line.lower(),
    "two blanks inside": lambda line: line.replace(b" ", b"  "),
    "a blank before the word": lambda line: line.replace(b"-BEGIN", b"- BEGIN").replace(
        b"-END", b"- END"
    ),
    "no blank inside": lambda line: line.replace(b" ", b""),
    "a NUL inside": lambda line: line.replace(b" ", b"\x00"),
    "a NUL behind it": lambda line: line[:-1] + b"\x00\n",
    "a NUL before it": lambda line: b"\x00" + line,
    "a form feed before it": lambda line: b"\x0c" + line,
    "a form feed behind it": lambda line: line[:-1] + b"\x0c\n",
    "a vertical tab before it": lambda line: b"\x0b" + line,
    "a line separator before it": lambda line: b"text\xe2\x80\xa8" + line,
    "a next line before it": lambda line: b"text\xc2\x85" + line,
    "a bare CR before it": lambda line: b"text\r" + line,
    "a bare CR behind it": lambda line: line[:-1] + b"\rQUJD\n",
    "300 octets before it": lambda line: b"x" * 300 + line,
    "300 octets behind it": lambda line: line[:-1] + b"x" * 300 + b"\n",
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
@pytest.mark.parametrize("other", ["X509 CRL", "CERTIFICATE", "PRIVATE KEY", "CMS"])
@pytest.mark.parametrize("verb", [b"BEGIN", b"END"])
def test_a_boundary_that_is_no_line_by_itself_is_an_error(
    damage: Callable[[bytes], bytes], other: str, verb: bytes
) -> None:
    """
    RFC 7468 section 2: what holds a boundary is no text, whatever label it has; its
    line is named, and nothing behind it is read in its place.
    """
    boundary = b"-----" + verb + b" " + other.encode() + b"-----\n"
    damaged = block(b"first", label=other).replace(boundary, damage(boundary))
    data = b"text\n" + damaged + block(b"second")
    with pytest.raises(ValueError, match="PEM line [1-5]: "):
        pem_blocks(data, LABEL)
    for size in (1, 7, 1000):
        with pytest.raises(ValueError, match="PEM line [1-5]: "):
            decode_in_chunks(data, size)


@pytest.mark.parametrize("dash", "\u2010\u2011\u2012\u2013\u2014\u2015\u2212")
@pytest.mark.parametrize("label", ["X509 CRL", "CERTIFICATE", "PRIVATE KEY"])
@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_a_block_between_lines_of_dashes_is_not_passed_over(
    label: str, dash: str, count: int
) -> None:
    """
    A word processor changes the hyphens of both boundaries; such a block is short
    enough to have no line that begins as every CRL does.
    """
    changed = block(b"first", label=label).replace(b"-----", (dash * count).encode())
    for data in (changed + block(b"second"), block(b"second") + changed):
        line = 4 - 3 * data.startswith(changed)
        with pytest.raises(ValueError, match=f"PEM line {line}: found "):
            pem_blocks(data, LABEL)
        for size in (1, 7, 1000):
            with pytest.raises(ValueError, match=f"PEM line {line}: found "):
                decode_in_chunks(data, size)


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"-----",
        b"-----\nBEGINNING",
        b"---",
        b"-- an end, and a beginning --",
        b"BEGIN CERTIFICATE",
        b"aws s3 cp --endpoint-url http://localhost",
        b"Issuer: CN = front-END",
        b"DirName:/CN=a -----",
        b"x" * 300 + b"-----",
        "Gen\u00e8ve \u2014 \u2013".encode(),
        b'pin-sha256="MIIwSKgfOnIxrWVSGpPbqu7zvNT0BVa8NtTGfvK7xnk="',
        b"Fingerprint MI:1A:" + b"2B:" * 30,
        b"\r \t\r",
    ],
)
def test_other_lines_are_text(line: bytes) -> None:
    """
    What surrounds blocks may have hyphens and words.
    """
    data = line + b"\n" + block(b"crl") + line + b"\n" + block(b"two") + line
    assert pem_blocks(data, LABEL) == [b"crl", b"two"]
    assert decode_in_chunks(data, 7) == (b"crl", 2)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (BEGIN + b"QUJD\nQU@D\n" + END, "line 3: the base64 is broken"),
        (b"text\n" + BEGIN + b"QUJD\nQUJD\nQU\x00D\n" + END, "line 5: the base64 is broken"),
        (BEGIN + b"QQ==\nQUJD\n" + END, "line 2: the base64 is broken"),
        (BEGIN + b"QQ==\nQQ==\n" + END, "line 2: the base64 is broken"),
        (BEGIN + b"QUJD\nQQ==\nQUJD\n" + END, "line 3: the base64 is broken"),
        (BEGIN + b"\nQU@D\n" + END, "line 3: the base64 is broken"),
        (BEGIN + b"Q===\n" + END, "line 2: the base64 is broken"),
        (BEGIN + b"QUJD====\n" + END, "line 2: the base64 is broken"),
        (BEGIN + b"QUJD\n====\n" + END, "line 3: the base64 is broken"),
        (BEGIN + b"QUJD=\n" + END, "line 3: the base64 ends early"),
        (BEGIN + b"=QUJ\n" + END, "line 2: the base64 is broken"),
        (BEGIN + b"Proc-Type: 4,ENCRYPTED\n\nQUJD\n" + END, "line 2: "),
        (BEGIN + END, "line 2: the block is empty"),
        (BEGIN + b"\n \n" + END, "line 4: the block is empty"),
        (BEGIN + b"QUJD" + END, "line 2: found '-----END X509 CRL-----' inside a line"),
        (BEGIN + b"QUJD\n " + END, "line 3: found '-----END X509 CRL-----' inside a line"),
        (BEGIN + b"QUJD\r" + END, "line 2: found '-----END X509 CRL-----' inside a line"),
        (BEGIN + b"QUJD\nQUJ\n" + END, "line 4: the base64 ends early"),
        (BEGIN + b"QUJD\n", "ends inside a block"),
        (BEGIN + b"QUJD\n-----END X509 CRL----", "line 3: found '-----END X509 CRL----'"),
        (BEGIN + b"QUJD\n-----END CERTIFICATE-----\n", "line 3: found"),
        (BEGIN + b"QUJD\n" + BEGIN + b"QUJD\n" + END, "line 3: found '-----BEGIN X509 CRL"),
        (BEGIN + b"QUJD\n-" + b"x" * 300, "line 3: found '-xxx"),
        (b"text\n" + END + block(b"crl"), "line 2: found '-----END X509 CRL-----', expected its"),
        (block(b"crl") + END, "line 4: found '-----END X509 CRL-----', expected its BEGIN"),
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
    What is kept between chunks stays bounded, however long a line is.
    """
    decoder = PemDecoder(LABEL)
    for _ in range(100):
        assert decoder.feed(b"x" * 1000) == b""
        assert len(decoder._splitter._scanner._carry) <= 256
    assert decoder.feed(b"\n" + block(b"crl")) == b"crl"


def test_a_block_on_one_line_is_decoded_as_it_comes() -> None:
    """
    Base64 without line breaks is handed out with each chunk, not kept.
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
    The first bytes decide between text and DER, though the block may come later.
    """
    assert looks_like_pem(prefix) is expected


# A SEQUENCE of 300 bytes, as every certificate and CRL begins.
BODY = block(b"\x30\x82\x01\x2c" + bytes(range(256)) + bytes(44))


@pytest.mark.parametrize(
    "hyphens",
    [
        "\uff0d" * 5,  # full width
        "\ufe63" * 5,  # small
        "-\u00ad" * 5,
        "- " * 5,
        "=====",
        "&#45;" * 5,
        "%2D" * 5,
        "-",
        "",
    ],
)
@pytest.mark.parametrize("label", [CRL, CERTIFICATE])
def test_base64_of_a_block_without_boundaries_is_no_text(hyphens: str, label: str) -> None:
    """
    However a boundary is misspelt, the next block does not stand in for its one.
    """
    misspelt = BODY.replace(b"-----", hyphens.encode())
    for data in (misspelt, misspelt.lower().split(b"\n")[0] + b"\n" + misspelt.split(b"\n", 1)[1]):
        with pytest.raises(ValueError, match="PEM line 3: found what begins like a certificate"):
            pem_blocks(b"text\n" + data + block(b"second", label=label), label)
    for size in (1, 7, 1000):
        with pytest.raises(ValueError, match="PEM line 2: found what begins like a certificate"):
            decode_in_chunks(misspelt + block(b"second"), size)


def test_base64_in_a_block_that_is_passed_over_is_none_of_ours() -> None:
    """
    A private key and a certificate begin as what is read does.
    """
    for label in ("PRIVATE KEY", CERTIFICATE):
        other = BODY.replace(b"X509 CRL", label.encode())
        assert pem_blocks(other + block(b"crl"), LABEL) == [b"crl"]
        assert decode_in_chunks(other + block(b"crl"), 7) == (b"crl", 1)


# ---- against another reader --------------------------------------------------


def kind_of(line: bytes) -> str:
    """A letter for what a line is: B and E around a CRL, C c and K k around others."""
    boundary = re.fullmatch(rb"-----(BEGIN|END) ([A-Z0-9 ]+)-----", line.rstrip(b" \t\r"))
    if boundary is not None:
        letters = {b"X509 CRL": "BE", b"CERTIFICATE": "Cc", b"PRIVATE KEY": "Kk"}
        return letters.get(boundary[2], "!!")[boundary[1] == b"END"]
    if re.search(rb"-----[ \t]*(?i:BEGIN|END)|--[ \t]*(BEGIN|END)\b|\x00", line):
        return "!"
    return "d" if re.fullmatch(rb"[A-Za-z0-9+/= \t\r]*", line) else "t"


def read_line_by_line(data: bytes) -> list[bytes] | None:
    """
    The blocks of LABEL by the rule of ``crlcheck.encoding.pem``, as a grammar of lines; None
    where it is broken.
    """
    lines = data.removeprefix(b"\xef\xbb\xbf").split(b"\n")
    kinds = "".join(map(kind_of, lines))
    if not re.fullmatch("(?:[dt]|Bd*E|C[dt]*c|K[dt]*k)*", kinds):
        return None
    blocks = []
    for match in re.finditer("B(d*)E", kinds):
        text = b"".join(lines[match.start(1) : match.end(1)]).translate(None, b" \t\r")
        if len(text) % 4 or b"====" in text:
            return None  # some versions of Python take more padding than there is room for
        try:
            blocks.append(binascii.a2b_base64(text, strict_mode=True))
        except binascii.Error:
            return None
    return blocks if all(blocks) else None


PIECES = [
    BEGIN,
    END,
    block(b"one"),
    block(b"another", newline="\r\n"),
    block(b"a key", label="PRIVATE KEY"),
    block(b"a certificate", label="CERTIFICATE"),
    block(b"signed data", label="CMS"),
    b"-----END CERTIFICATE-----",
    b"QUJD",
    b"QQ==",
    b"-----",
    b"text ",
    b" ",
    b"\t",
    b"\r",
    b"\n",
    b"\r\n",
    b"\xef\xbb\xbf",
    b"\x00",
    b"x" * 300,
]


@given(
    pieces=st.lists(st.sampled_from(PIECES), min_size=1, max_size=8),
    drops=st.lists(st.integers(min_value=0, max_value=400), max_size=2),
    size=st.integers(min_value=1, max_value=700),
)
def test_two_readers_of_the_rule_agree(pieces: list[bytes], drops: list[int], size: int) -> None:
    """
    Blocks, boundaries and what may stand in their way in any order, with a byte
    missing here and there: both find the same blocks, or both refuse.
    """
    data = b"".join(pieces)
    for drop in drops:
        data = data[:drop] + data[drop + 1 :]
    expected = read_line_by_line(data)
    try:
        found = pem_blocks(data, LABEL)
    except ValueError:
        assert expected is None
        with pytest.raises(ValueError, match="PEM"):
            decode_in_chunks(data, size)
        return
    assert found == expected
    if found:
        assert decode_in_chunks(data, size) == (found[0], len(found))


ONE = block(b"the bytes of a certificate" * 9, label=CERTIFICATE)


@given(
    contents=st.binary(max_size=90),
    width=st.sampled_from([1, 4, 64, 1000]),
    newline=st.sampled_from(["\n", "\r\n", " \n"]),
    label=st.sampled_from([CERTIFICATE, CERTIFICATE, "X509 CERTIFICATE", "PRIVATE KEY"]),
    around=st.sampled_from([(b"", b""), (b"", b"\n"), (b"text\n", b""), (b"", ONE), (ONE, b"")]),
    places=st.lists(st.integers(0, 400), max_size=2),
    put=st.sampled_from(
        [b"", b"-", b"=", b"\n", b" ", b"!", b"A", b"-----", b"\0", b"\xe2\x80\x93"]
    ),
    cut=st.integers(0, 40),
)
def test_one_certificate_alone_is_read_as_all_blocks_are(
    contents: bytes,
    width: int,
    newline: str,
    label: str,
    around: tuple[bytes, bytes],
    places: list[int],
    put: bytes,
    cut: int,
) -> None:
    """Whatever is found in the simplest way is what the rules of PEM say, or nothing is."""
    data = around[0] + block(contents, width, newline, label) + around[1]
    for place in places:
        data = data[:place] + put + data[place + len(put) // 2 :]
    data = data[: len(data) - cut] if cut < 3 else data
    found = only_certificate(data)
    if found is not None:
        assert pem_blocks(data, CERTIFICATE) == [found]


def test_one_certificate_alone_is_found_as_most_programs_write_it() -> None:
    """With or without the last line end, and in lines of any width; all else is left."""
    for width in (4, 64, 76, 10_000):
        data = block(b"\x30" * 700, width, label=CERTIFICATE)
        assert only_certificate(data) == only_certificate(data[:-1]) == b"\x30" * 700
    padded = [ONE.replace(b"\n-----END", b"=" * more + b"\n-----END") for more in (1, 2, 4)]
    for other in (
        *padded,
        b"",
        b"-",
        ONE + ONE,
        ONE + b"\n",
        b"\n" + ONE,
        block(b"x"),
        ONE[:-2],
        ONE[1:],
    ):
        assert only_certificate(other) is None
