"""Serial numbers between int, canonical bytes and text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crlcheck.encoding.serials import canonical_serial, parse_serial_text, serial_from_octets


@pytest.mark.parametrize(
    ("value", "octets"),
    [
        (0, "00"),
        (1, "01"),
        (127, "7f"),
        (128, "0080"),
        (255, "00ff"),
        (256, "0100"),
        (-1, "ff"),
        (-128, "80"),
        (-129, "ff7f"),
        (-256, "ff00"),
        (1 << 159, "00" + "80" + "00" * 19),
    ],
)
def test_canonical_octets_are_those_of_der(value: int, octets: str) -> None:
    """
    The bytes are minimal two's complement, so -1 and 255 differ (X.690 8.3).
    """
    assert canonical_serial(value).hex() == octets


@given(st.integers(min_value=-(1 << 600), max_value=1 << 600))
def test_octets_lead_back_to_the_value(value: int) -> None:
    """
    No two values share bytes, and no byte of them could be left out.
    """
    octets = canonical_serial(value)
    assert serial_from_octets(octets) == value
    assert len(octets) == 1 or int.from_bytes(octets[1:], "big", signed=True) != value


def test_no_octets_are_no_serial() -> None:
    """
    An INTEGER without contents is an error, not zero.
    """
    with pytest.raises(ValueError, match="no bytes"):
        serial_from_octets(b"")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", 1),
        ("10", 16),
        ("1A2b", 0x1A2B),
        ("0x1a2B", 0x1A2B),
        ("0XfF", 255),
        ("ff", 255),
        ("0001", 1),
        ("1a:2b", 0x1A2B),
        ("1:A2", 0x1A2),
        ("A1:a1:00", 0xA1A100),
        ("-1", -1),
        ("-0x80", -128),
        ("-01:00", -256),
        ("  1f\n", 31),
        ("f" * 128, (1 << 512) - 1),
    ],
)
def test_text_is_hexadecimal_whatever_its_dress(text: str, value: int) -> None:
    """
    What OpenSSL, AWS and people print is read as the same number: bare, with 0x
    or with colons, in any case and length; "10" is sixteen.
    """
    assert parse_serial_text(text) == value


@pytest.mark.parametrize(
    "text",
    ["", " ", "0x", "-", "0x-1", "--1", "+1", "g", "1 2", "1_2", "1::2", ":1", "1:", "1:2", "1:234",
     "0x1:22", "12:0x34", "1.0", "\u0661", "1h"],
)  # fmt: skip
def test_other_text_is_refused(text: str) -> None:
    """
    A serial number with a typo is an error, never another serial number.
    """
    with pytest.raises(ValueError, match="expected hexadecimal"):
        parse_serial_text(text)


@given(st.integers(min_value=0, max_value=1 << 200))
def test_each_form_of_text_says_the_same(value: int) -> None:
    """
    Bare, prefixed and colon text of one number all lead back to it.
    """
    colons = value.to_bytes(value.bit_length() // 8 + 1, "big").hex(":")
    for text in (f"{value:x}", f"{value:X}", f"{value:#x}", colons, colons.upper()):
        assert parse_serial_text(text) == value
