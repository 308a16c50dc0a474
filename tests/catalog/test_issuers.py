"""
What a catalog says of each trusted issuer, and of those that an operator took out.
"""

from __future__ import annotations

import base64
import dataclasses
from datetime import timedelta
from typing import Any

import pytest

from crlcheck.catalog.catalog import IssuerRecord, RemovedIssuer
from crlcheck.catalog.entries import entries_of, name_hash
from crlcheck.errors import StoreError
from support.catalogs import (
    NOW,
    again,
    catalog,
    changed,
    issuer,
    read_value,
    record,
    value_of,
)

ONE, TWO = issuer("certificate 1"), issuer("certificate 2")
FULL = dataclasses.replace(
    ONE, added_at=NOW, added_by="ca.pem", self_signed=True, is_anchor=True, publishes_no_crl=True
)
HOME = name_hash(b"")
"""Where a certificate that cannot be read is kept."""
KEY = f"{HOME}/i/{ONE.fingerprint}"
GONE = RemovedIssuer(NOW, b"0\x03A", (record().key,), "key lost")


def test_what_is_said_of_an_issuer_is_read_back() -> None:
    """Each field survives the trip through JSON; a bare certificate says nothing of itself."""
    found = dataclasses.replace(catalog(), issuers=(FULL, TWO))
    assert again(found).issuers == (FULL, TWO)
    entries = entries_of(found)
    assert entries[KEY] == {
        "certificate": base64.b64encode(ONE.certificate).decode(),
        "added_at": "2026-11-02T00:00:00Z",
        "added_by": "ca.pem",
        "self_signed": True,
        "is_anchor": True,
        "publishes_no_crl": True,
    }
    assert entries[f"{HOME}/i/{TWO.fingerprint}"].keys() == {"certificate"}


def test_unknown_members_of_an_issuer_are_kept() -> None:
    """What a later version says of an issuer stays when this one publishes."""

    def change(value: Any) -> None:
        value["entries"][KEY]["name_constraints"] = ["x"]

    after = changed(change).with_scope(record(9), [ONE])
    said = entries_of(after)[KEY]
    assert said.pop("certificate")
    assert said == {"name_constraints": ["x"]}


def test_an_issuer_that_is_there_keeps_its_record() -> None:
    """
    Publishing it once more changes neither who added it nor the operator's
    settings; what nobody had found out is completed.
    """
    held = dataclasses.replace(FULL, self_signed=None)
    before = dataclasses.replace(catalog(), issuers=(held,))
    again = IssuerRecord(ONE.certificate, NOW + timedelta(days=1), "other.pem", self_signed=False)
    assert before.lacks([again])
    after = before.with_scope(record(9), [again])
    assert after.issuers == (dataclasses.replace(FULL, self_signed=False),)
    assert not after.lacks([again, dataclasses.replace(again, self_signed=True)])


def test_settings_of_an_issuer() -> None:
    """An operator's settings change one issuer, and only what was named."""
    anchored = catalog().with_issuer_settings(ONE.fingerprint, is_anchor=True)
    assert anchored.generation == catalog().generation + 1
    both = anchored.with_issuer_settings(ONE.fingerprint, publishes_no_crl=True)
    assert both.issuer(ONE.fingerprint) == dataclasses.replace(
        ONE, is_anchor=True, publishes_no_crl=True
    )
    assert both.issuer(TWO.fingerprint) == TWO
    with pytest.raises(ValueError, match="no such issuer"):
        catalog().with_issuer_settings("00", is_anchor=True)


def test_a_removed_issuer_goes_with_its_scopes() -> None:
    """Certificate and scopes are gone, and both are remembered."""
    after = catalog().without_issuer(ONE.fingerprint, GONE)
    assert after.issuers == (TWO,)
    assert record().key not in after.scopes
    assert after.tombstones[record().key].note == "key lost"
    assert record().base.name not in after.image_names()
    assert again(after) == after


def test_only_a_trusted_issuer_is_removed() -> None:
    """A fingerprint that is mistyped is an error, not a memory of nobody."""
    with pytest.raises(ValueError, match="issuer 00: there is no such issuer"):
        catalog().without_issuer("00", GONE)


def test_a_removed_issuer_does_not_come_back_by_itself() -> None:
    """
    Neither a publication nor a writer that knows nothing of removals makes it
    trusted again, until it is readmitted.
    """
    gone = catalog().without_issuer(ONE.fingerprint, GONE)
    assert not gone.lacks([ONE])
    assert gone.with_scope(record(9), [ONE]).issuers == (TWO,)
    value = value_of(gone)
    value["entries"][KEY] = entries_of(catalog())[KEY]
    assert read_value(value).issuers == (TWO,)
    back = gone.with_issuer_readmitted(ONE.fingerprint)
    assert back.generation == gone.generation + 1
    assert back.with_scope(record(9), [ONE]).issuers == (ONE, TWO)
    with pytest.raises(ValueError, match="was not removed"):
        back.with_issuer_readmitted(ONE.fingerprint)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        (KEY, [], "expected an object"),
        (KEY, 1, "expected an object, found 1"),
        (KEY, {"added_at": 1}, "added_at: expected a string"),
        (KEY, {"self_signed": 1}, "self_signed: expected true"),
        (KEY, {"is_anchor": "yes"}, "is_anchor: expected true"),
        (f"{HOME}/r/00", [], "r/00: expected an object"),
        (f"{HOME}/r/00", {}, "r/00.scopes is missing"),
    ],
)
def test_broken_records_are_refused(key: str, value: Any, message: str) -> None:
    """What is of another kind is refused, and the message says where it is."""
    if key == KEY and isinstance(value, dict):
        value = {**value, "certificate": base64.b64encode(ONE.certificate).decode()}
    with pytest.raises(StoreError, match=message):
        changed(lambda whole: whole["entries"].update({key: value}))
