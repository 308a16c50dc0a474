"""What operators leave in the catalog."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest

from crlcheck.catalog.catalog import Denial
from crlcheck.catalog.entries import name_hash
from crlcheck.errors import StoreError
from support.catalogs import NOW, again, catalog, changed, metadata, record

NAME_A = bytes.fromhex("300c310a300806035504030c0141")  # CN=A
TOMBSTONE = f"{name_hash(metadata().issuer)}/g/x"
DENIAL = Denial(NAME_A, 0x0F, NOW, NOW + timedelta(hours=1), "stolen laptop")


def test_operators_members_survive_the_trip() -> None:
    """Tombstones and denials are read back as they were written."""
    found = catalog().with_scope(record(9), []).with_denial(DENIAL)
    found = found.with_reset(record().key, now=NOW, note="renumbered")
    found = found.without_scope(record(issuer="B").key, now=NOW, note="retired")
    read = again(found)
    assert read == found
    assert read.denied == (DENIAL,)
    assert read.tombstones[record().key].accepts_any
    assert read.tombstones[record(issuer="B").key].delta is not None


def test_a_denial_is_found_by_any_spelling_and_replaced() -> None:
    """The canonical issuer counts; a second denial of a certificate takes the first one's place."""
    other_spelling = bytes.fromhex("300c310a30080603550403130161")  # CN=a, PrintableString
    later = Denial(other_spelling, 0x0F, NOW + timedelta(minutes=1), None, "for good")
    found = catalog().with_denial(DENIAL).with_denial(later)
    assert found.denied == (later,)
    assert found.without_denial(NAME_A, 0x0F, now=NOW).denied == ()
    with pytest.raises(ValueError, match="is not denied"):
        found.without_denial(NAME_A, 0x10, now=NOW)


def test_ended_denials_go_with_the_next_one() -> None:
    """The list does not grow for ever."""
    later = Denial(NAME_A, 1, NOW + timedelta(hours=2))
    assert catalog().with_denial(DENIAL).with_denial(later).denied == (later,)


@pytest.mark.parametrize(
    ("member", "value", "message"),
    [
        ("denied", {}, "denied: expected an array"),
        ("denied", [{"serial_number": "0x1"}], "denied[0].serial_number: expected hex digits"),
        ("denied", [{"serial_number": "1", "issuer": "g"}], "denied[0].issuer: expected hex"),
        (
            "denied",
            [{"serial_number": "1", "issuer": "", "note": "", "at": "2026-11-01"}],
            "denied[0].at: expected a time in UTC",
        ),
        (
            "denied",
            [
                {
                    "serial_number": "1",
                    "issuer": "",
                    "note": "",
                    "at": "2026-11-01T00:00:00Z",
                    "until": "2026-11-01T00:00:00Z",
                }
            ],
            "denied[0]: until: expected a time after 2026-11-01T00:00:00Z, found 2026-11-01T00:00",
        ),
        (TOMBSTONE, {"action": "burnt"}, "'burnt' is not a valid"),
        (TOMBSTONE, [], f"{TOMBSTONE}: expected an object"),
    ],
)
def test_broken_operators_members_are_refused(member: str, value: object, message: str) -> None:
    """They decide who passes and what is deleted, so that nothing about them is guessed."""

    def change(whole: Any) -> None:
        (whole if member == "denied" else whole["entries"])[member] = value

    with pytest.raises(StoreError, match=re.escape(message)):
        changed(change)


@pytest.mark.parametrize("serial_number", [0, 1, 0x1F, -0x2A, 1 << 160, (1 << 4096) - 1])
def test_a_denial_of_any_serial_number_is_read_back(serial_number: int) -> None:
    """As CAs issue them, and as certificates may have them."""
    denial = Denial(NAME_A, serial_number, NOW)
    assert again(catalog().with_denial(denial)).denied == (denial,)


@pytest.mark.parametrize("text", ["", "-", "0X1", "1F", " 1", "1\n", "+1", "1_0", "1" * 1025])
def test_a_serial_number_is_lower_case_hex(text: str) -> None:
    """Nothing that Python would take besides, and nothing without a bound."""
    members = {"serial_number": text, "issuer": "", "note": "", "at": "2026-11-01T00:00:00Z"}
    with pytest.raises(StoreError, match=r"denied\[0\].serial_number: expected hex digits"):
        changed(lambda whole: whole.update(denied=[members]))
