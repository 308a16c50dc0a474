"""Names: when two match, and how they read."""

from __future__ import annotations

import contextlib
import hashlib
import sys
import time
import unicodedata
from random import Random

import pytest
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from crlcheck.demo.encoding import der, der_integer, der_oid
from crlcheck.encoding import names
from crlcheck.encoding.names import canonical_name, format_name, name_hash
from support.certificate_der import encode_attribute, encode_name

UTF8, NUMERIC, PRINTABLE, TELETEX, IA5, VISIBLE, UNIVERSAL, BMP = (
    0x0C, 0x12, 0x13, 0x14, 0x16, 0x1A, 0x1C, 0x1E
)  # fmt: skip


def common_name(text: str | bytes, tag: int = UTF8) -> bytes:
    """A Name of one commonName."""
    return encode_name(encode_attribute(text, tag))


@pytest.mark.parametrize(
    "other",
    [
        common_name("Example CA", PRINTABLE),
        common_name("Example CA", TELETEX),
        common_name("Example CA", IA5),
        common_name("Example CA", VISIBLE),
        common_name("Example CA".encode("utf-16-be"), BMP),
        common_name("Example CA".encode("utf-32-be"), UNIVERSAL),
        common_name("EXAMPLE ca"),
        common_name("  Example \t  CA "),
        common_name("Example\u00a0CA"),
        common_name("\uff25xample CA"),
    ],
)
def test_strings_match_by_what_they_say(other: bytes) -> None:
    """
    String type, case, compatibility forms and runs of white space make no
    difference (RFC 5280 7.1).
    """
    assert canonical_name(other) == canonical_name(common_name("Example CA"))
    assert name_hash(other) == name_hash(common_name("Example CA"))


@pytest.mark.parametrize(
    ("text", "other"),
    [
        ("straße", "STRASSE"),
        ("İ", "i\u0307"),
        ("Ångström", "A\u030angstro\u0308m"),
        ("\u1fb3", "\u0391\u0345"),
        ("ﬁnance", "FINANCE"),
    ],
)
def test_characters_match_by_unicode_folding(text: str, other: str) -> None:
    """
    Composed, decomposed and folded forms of one text are one name.
    """
    assert canonical_name(common_name(text)) == canonical_name(common_name(other))


# Combining characters of several classes, those that decompose into others, starters
# that compose with them, and starters that decompose into combining characters alone.
MARKED = (
    "aéΐÅ か\u1e69\u0300\u0301\u0315\u0344\u0345\u05b0\u0591\u064b\u0650\u3099"
    "\u0f71\u0f73\u0f75\u0f81\uff9e"
)


@given(
    st.lists(st.tuples(st.sampled_from(MARKED), st.integers(1, 40)), max_size=8).map(
        lambda runs: "".join(character * length for character, length in runs)
    ),
    st.randoms(use_true_random=False),
)
def test_runs_of_combining_characters_match_in_every_order_that_unicode_lets_stand(
    text: str, random: Random
) -> None:
    """
    However long a run is, what is canonically equivalent is one name, and what the
    library's normal form tells apart is not.
    """

    def plainly(text: str) -> str:
        folded = unicodedata.normalize("NFD", text).casefold()
        folded = unicodedata.normalize("NFKD", folded).casefold()
        return " ".join(unicodedata.normalize("NFKD", folded).split())

    shuffled = "".join(random.sample(text, len(text)))
    form = canonical_name(common_name(text))
    for other in (
        unicodedata.normalize("NFD", text),
        unicodedata.normalize("NFKC", text),
        text.casefold(),
        shuffled,
        text[1:],
    ):
        matches = canonical_name(common_name(other)) == form
        assert matches is (plainly(other) == plainly(text))
    assert canonical_name(form) == form


def test_a_long_run_of_combining_characters_takes_linear_time() -> None:
    """
    The library orders a run in quadratic time: a CRL of 100 KB that nobody had signed
    took ten seconds.
    """
    runs = ["\u0315" * 50_000 + "\u0300" * 50_000, "\u064b\u0650" * 50_000, "\u0f73" * 50_000]
    for run in runs:
        start = time.thread_time()
        canonical_name(common_name("a" + run))
        assert time.thread_time() - start < 5  # a minute or more in quadratic time


def test_every_character_that_hides_a_combining_one_is_known() -> None:
    """
    What is no combining character and decomposes into them alone is looked for by name.
    """
    hidden = {
        character
        for character in map(chr, range(sys.maxunicode + 1))
        if not unicodedata.combining(character)
        and unicodedata.combining(unicodedata.normalize("NFKD", character)[0])
    }
    assert hidden == set(names._HIDDEN)


CN, ORGANIZATION = encode_attribute("a"), encode_attribute("a", oid="2.5.4.10")


@pytest.mark.parametrize(
    "other",
    [
        common_name("Example CB"),
        common_name("ExampleCA"),
        common_name(""),
        encode_name(),
        encode_name(encode_attribute("Example CA", oid="2.5.4.10")),
        encode_name(encode_attribute("Example CA"), encode_attribute("Example CA")),
        common_name("Example CA", 0x04),
        common_name(b"Example CA\xff", UTF8),
    ],
)
def test_other_names_do_not_match(other: bytes) -> None:
    """
    Another text, attribute, number of RDNs or a value that is no string differs.
    """
    assert canonical_name(other) != canonical_name(common_name("Example CA"))


def test_rdn_order_counts_and_attribute_order_does_not() -> None:
    """
    A Name is a sequence of RDNs, and each RDN a set of attributes.
    """
    assert canonical_name(encode_name(CN, ORGANIZATION)) != canonical_name(
        encode_name(ORGANIZATION, CN)
    )
    one_way, other_way = (
        der(0x30, der(0x31, *attributes)) for attributes in ((CN, ORGANIZATION), (ORGANIZATION, CN))
    )
    assert canonical_name(one_way) == canonical_name(other_way)
    assert canonical_name(one_way) != canonical_name(encode_name(CN, ORGANIZATION))


@pytest.mark.parametrize(
    ("value", "tag"),
    [(b"\xff\xfe", UTF8), (b"caf\xe9", PRINTABLE), (b"a", BMP), (b"\xd8\x00", BMP), (b"A", 0x04)],
)
def test_values_that_cannot_be_read_are_compared_octet_for_octet(value: bytes, tag: int) -> None:
    """
    A value that does not fit its type is itself and nothing else; a broken name
    never stops a verdict on another.
    """
    canonical = canonical_name(common_name(value, tag))
    assert canonical == common_name(value, tag)
    assert canonical != canonical_name(common_name(value.swapcase() + b"A", tag))


def test_the_canonical_form_is_a_name_as_specified() -> None:
    """
    The form is DER: UTF8Strings, folded, attributes sorted; its SHA-256 is the hash.
    """
    name = encode_name(encode_attribute("US", PRINTABLE, "2.5.4.6"), encode_attribute(" Ex  CA"))
    expected = encode_name(encode_attribute("us", oid="2.5.4.6"), encode_attribute("ex ca"))
    assert canonical_name(name) == expected
    assert name_hash(name) == hashlib.sha256(expected).digest()


ATTRIBUTES = st.builds(
    encode_attribute,
    st.text(max_size=40) | st.binary(max_size=300),
    st.sampled_from([UTF8, NUMERIC, PRINTABLE, TELETEX, IA5, VISIBLE, UNIVERSAL, BMP, 0x04]),
    st.sampled_from(["2.5.4.3", "2.5.4.10", "0.9.2342.19200300.100.1.25", "2.999.1"]),
)
NAMES = st.lists(st.lists(ATTRIBUTES, min_size=1, max_size=3), max_size=4).map(
    lambda rdns: der(0x30, *(der(0x31, *attributes) for attributes in rdns))
)


@given(NAMES)
def test_the_canonical_form_is_its_own(name: bytes) -> None:
    """
    Taking the form twice changes nothing, so a stored form can be compared with
    a fresh one.
    """
    canonical = canonical_name(name)
    assert canonical_name(canonical) == canonical


@given(NAMES)
def test_text_of_any_name_is_one_printable_line(name: bytes) -> None:
    """
    Whatever a name holds, its text cannot break or forge a line of a log.
    """
    assert format_name(name).isprintable()


@given(NAMES, st.data())
def test_broken_names_raise_value_error_only(name: bytes, data: st.DataObject) -> None:
    """
    Any bytes either are a Name or raise ValueError.
    """
    broken = bytearray(name)
    for _ in range(data.draw(st.integers(min_value=1, max_value=3))):
        broken[data.draw(st.integers(0, len(broken) - 1))] = data.draw(st.integers(0, 255))
    for function in (canonical_name, format_name):
        # Any other exception fails the test.
        with contextlib.suppress(ValueError):
            function(bytes(broken))


@pytest.mark.parametrize(
    "octets",
    [
        b"",
        b"\x30",
        common_name("a") + b"\x00",
        common_name("a")[:-1],
        der(0x31),
        der(0x30, der(0x30)),
        der(0x30, der(0x31)),
        der(0x30, der(0x31, der(0x31))),
        der(0x30, der(0x31, der(0x30, der_oid("2.5.4.3")))),
        der(0x30, der(0x31, der(0x30, der_oid("2.5.4.3"), der(0x0C), der(0x0C)))),
        der(0x30, der(0x31, der(0x30, der_integer(1), der(0x0C)))),
        der(0x30, der(0x31, der(0x30, der(0x06), der(0x0C)))),
        b"\x30\x80\x00\x00",
        b"\x30\x81\x00",
        b"\x30\x82\x00\x00",
        b"\x30\xff",
    ],
    ids=bytes.hex,
)
def test_what_is_not_exactly_one_name_is_refused(octets: bytes) -> None:
    """
    Truncation, trailing bytes, empty RDNs and lengths that are not DER are errors.
    """
    for function in (canonical_name, name_hash, format_name):
        with pytest.raises(ValueError, match="Name"):
            function(octets)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (encode_name(), ""),
        (common_name("Example, Inc."), "CN=Example\\, Inc."),
        (common_name(' #"+,;<>\\ '), 'CN=\\ #\\"\\+\\,\\;\\<\\>\\\\\\ '),
        (common_name("#1"), "CN=\\#1"),
        (common_name(" "), "CN=\\ "),
        (common_name("a\nb\x00\u202e"), "CN=a\\0Ab\\00\\E2\\80\\AE"),
        (common_name(b"\x01\x02", 0x04), "CN=#04020102"),
        (encode_name(encode_attribute("x", oid="2.999.1")), "2.999.1=x"),
        (encode_name(CN, ORGANIZATION), "O=a,CN=a"),
        (der(0x30, der(0x31, CN, ORGANIZATION)), "CN=a+O=a"),
        (der(0x30, der(0x31, der(0x30, der(0x06, b"\x55\x84"), der(0x0C, b"x")))), "OID.5584=x"),
    ],
)
def test_text_follows_rfc_4514(name: bytes, text: str) -> None:
    """
    The last RDN comes first, special characters are escaped, other values in hex.
    """
    assert format_name(name) == text


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["2.5.4.3", "2.5.4.10", "2.5.4.11", "2.5.4.7", "2.5.4.8"]),
            st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), min_size=1, max_size=30),
        ),
        min_size=1,
        max_size=4,
    )
)
def test_text_is_read_back_by_another_reader(attributes: list[tuple[str, str]]) -> None:
    """
    ``cryptography`` reads our text as the same attributes.
    """
    name = encode_name(*(encode_attribute(text, oid=oid) for oid, text in attributes))
    read = x509.Name.from_rfc4514_string(format_name(name))
    assert [(a.oid.dotted_string, a.value) for a in read] == attributes
