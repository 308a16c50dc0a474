"""Names as text: what RFC 4514 writes is read as the Name that it was written of."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crlcheck.demo.encoding import der, der_oid
from crlcheck.encoding.name_reader import name_from_text
from crlcheck.encoding.names import SHORT_NAMES, format_name, names_match
from support.certificate_der import encode_attribute, encode_name

COMMON_NAME, ORGANIZATION, COUNTRY = "2.5.4.3", "2.5.4.10", "2.5.4.6"


def attribute(oid: str, value: str | bytes, tag: int = 0x0C) -> bytes:
    """An attribute of a Name."""
    octets = value.encode() if isinstance(value, str) else value
    return der(0x30, der_oid(oid), der(tag, octets))


def name(*relative_names: bytes) -> bytes:
    """A Name of RDNs, the first first."""
    return der(0x30, *(der(0x31, one) for one in relative_names))


SMITH = name(attribute(ORGANIZATION, "Smith, Jones"), attribute(COMMON_NAME, "Issuing CA"))


@pytest.mark.parametrize(
    "text",
    [
        "CN=Issuing CA,O=Smith\\, Jones",
        "cn=Issuing CA,o=Smith\\2C Jones",
        " CN = Issuing CA , O = Smith\\, Jones ",
        "2.5.4.3=ISSUING  CA,2.5.4.10=smith\\, jones",
        "CN=#0c0a49737375696e67204341,O=Smith\\, Jones",
        "CN=\\49ssuing CA,O=Smith\\, Jones\\ ",
    ],
)
def test_texts_of_one_name(text: str) -> None:
    """The last RDN of the text is the first of the Name; escapes and spaces are undone."""
    assert names_match(name_from_text(text), SMITH)


def test_an_rdn_of_several_attributes() -> None:
    """A plus sign stands between them, in any order."""
    both = attribute(COMMON_NAME, "A+B") + attribute("2.5.4.5", "7")
    for text in ("CN=A\\+B+serialNumber=7,C=DE", "serialNumber=7+CN=A\\+B,C=DE"):
        assert names_match(name_from_text(text), name(attribute(COUNTRY, "DE"), both))


@pytest.mark.parametrize(
    "text",
    [
        "", " ", "CN", "Issuing CA", "CN=a,", "CN=a;O=b", "=a", "XY=a", "CN=a\\", 'CN="a"',
        "CN=#", "CN=#0c", "CN=#0c0161ff", "CN=#zz", "9.9=a", "1.40=a", "CN=\\ff", "CN=a,O",
        "CN=\ud800", "CN=a\0",
    ],
)  # fmt: skip
def test_other_texts_are_refused(text: str) -> None:
    """A text that has a mistake is not taken for the name that it resembles."""
    with pytest.raises(ValueError, match="expected RFC 4514"):
        name_from_text(text)


characters = st.characters(codec="utf-8")
values = st.one_of(
    st.builds(attribute, st.sampled_from(sorted(SHORT_NAMES)), st.text(characters)),
    st.builds(attribute, st.sampled_from(["1.2.3.4", "2.999.1", COMMON_NAME]), st.text(characters)),
    st.builds(
        attribute,
        st.just(COMMON_NAME),
        st.binary(max_size=200),
        st.sampled_from([0x02, 0x03, 0x0C, 0x13, 0x1E]),
    ),
)


@given(st.lists(st.lists(values, min_size=1, max_size=3).map(b"".join), min_size=1, max_size=4))
def test_what_is_written_is_read(relative_names: list[bytes]) -> None:
    """Any Name is read from the text that is shown of it."""
    written = name(*relative_names)
    assert names_match(name_from_text(format_name(written)), written)


def test_a_name_of_a_certificate() -> None:
    """As test data has it."""
    written = encode_name(encode_attribute("Example CA", 0x13))
    assert names_match(name_from_text("CN=example ca"), written)
