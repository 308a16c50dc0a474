"""The changes of a catalog: what each makes of it, and what stays."""

from __future__ import annotations

import dataclasses
from datetime import timedelta

import pytest

from crlcheck.catalog.catalog import (
    Denial,
    IssuerRecord,
    RemovedIssuer,
    ScopeAction,
    delta_fits,
)
from support.catalogs import NOW, catalog, image, issuer, metadata, record

NAME = bytes.fromhex("300c310a300806035504030c0141")  # CN=A
LATER = NOW + timedelta(days=1, microseconds=5)
BASE = record().key
BOTH = record(issuer="B").key


# ---- generations -----------------------------------------------------------------


def test_every_change_is_the_next_generation() -> None:
    """None goes unnoticed by a reader that compares generations."""
    now = catalog().with_denial(Denial(NAME, 1, NOW))
    gone = now.without_issuer(issuer("certificate 1").fingerprint, RemovedIssuer(NOW, NAME))
    changes = [
        now.with_scope(record(9), []),
        now.with_override(BASE, covers_no_distribution_point=True),
        now.without_scope(BASE, now=NOW, note=""),
        now.with_reset(BASE, now=NOW, note=""),
        now.with_issuer_settings(issuer("certificate 1").fingerprint, is_anchor=True),
        gone,
        now.with_denial(Denial(NAME, 2, NOW)),
        now.without_denial(NAME, 1, now=NOW),
    ]
    assert {one.generation for one in changes} == {now.generation + 1}
    again = gone.with_issuer_readmitted(issuer("certificate 1").fingerprint)
    assert again.generation == gone.generation + 1


# ---- scopes ----------------------------------------------------------------------


def test_a_reset_is_used_up_by_a_new_complete_crl_only() -> None:
    """A delta beside the same complete CRL leaves it; any other complete CRL takes it."""
    found = catalog().with_reset(BASE, now=NOW, note="renumbered")
    same = found.with_scope(record(delta=True), [])
    assert same.tombstones[BASE].accepts_any
    other = dataclasses.replace(metadata(6), tbs_digest="sha256:" + "0a" * 32)
    older = dataclasses.replace(record(), base=dataclasses.replace(image(6), metadata=other))
    after = same.with_scope(older, [])
    assert not after.tombstones[BASE].accepts_any
    assert after.tombstones[BASE].note == "renumbered"
    assert after.tombstones[BASE].action is ScopeAction.RESET


def test_a_scope_that_comes_back_uses_up_its_reset() -> None:
    """Also with the very CRL that it had before it was removed."""
    gone = catalog().without_scope(BASE, now=NOW, note="retired")
    assert not gone.tombstones[BASE].accepts_any
    reset = gone.with_reset(BASE, now=LATER, note="it is back")
    tombstone = reset.tombstones[BASE]
    assert (tombstone.action, tombstone.note) == (ScopeAction.RESET, "it is back")
    assert tombstone.accepts_any
    assert tombstone.base == metadata(7)
    assert tombstone.at == LATER
    written_anew = dataclasses.replace(image(), name="images/written-anew.crlx")
    same = dataclasses.replace(record(), base=written_anew)
    assert not reset.with_scope(same, []).tombstones[BASE].accepts_any


def test_a_tombstone_says_what_was_published() -> None:
    """Complete CRL and delta, when and why."""
    tombstone = catalog().without_scope(BOTH, now=LATER, note="retired").tombstones[BOTH]
    assert tombstone.action is ScopeAction.REMOVED
    assert tombstone.at == NOW + timedelta(days=1)
    assert tombstone.note == "retired"
    assert tombstone.base == metadata(7, issuer="B")
    assert tombstone.delta == metadata(8, issuer="B", base=7)


def test_an_operators_setting_belongs_to_its_scope() -> None:
    """It stays when the next CRL comes, and other scopes do not have it."""
    found = catalog().with_override(BASE, covers_no_distribution_point=True)
    found = found.with_scope(record(9), [])
    assert found.scopes[BASE].covers_no_distribution_point
    assert not found.scopes[BOTH].covers_no_distribution_point
    back = found.with_override(BASE, covers_no_distribution_point=False)
    assert not back.scopes[BASE].covers_no_distribution_point


@pytest.mark.parametrize(
    "change",
    [
        lambda found: found.with_override("x", covers_no_distribution_point=True),
        lambda found: found.without_scope("x", now=NOW, note=""),
        lambda found: found.with_reset("x", now=NOW, note=""),
        lambda found: found.without_issuer(
            issuer("certificate 1").fingerprint, RemovedIssuer(NOW, NAME, ("x",))
        ),
    ],
)
def test_a_scope_that_never_was(change: object) -> None:
    """A slip of the pen is an error, not a scope of no CRL."""
    with pytest.raises(ValueError, match="scope x: there is no such scope in the catalog"):
        change(catalog())  # type: ignore[operator]


def test_a_name_under_which_another_image_stands() -> None:
    """A scope knows its images by their names alone."""
    found = record(delta=True)
    assert found.names(found.base)
    assert found.delta is not None
    assert found.names(found.delta)
    assert not found.names(image(9))
    assert found.names(dataclasses.replace(image(9), name=found.base.name))


# ---- deltas ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("base", "number", "expected"),
    [
        (7, 8, True),
        (6, 8, True),
        (8, 9, False),  # for a later complete CRL
        (7, 7, False),  # of the same time: it says nothing more
        (6, 7, False),
        (6, 6, False),
    ],
)
def test_a_delta_fits_a_complete_crl(base: int, number: int, expected: bool) -> None:
    """RFC 5280 5.2.4: at or above the base that it names, and below the delta itself."""
    assert delta_fits(metadata(number, base=base), metadata(7)) is expected


def test_what_has_no_number_fits_nothing() -> None:
    """Neither a CRL without a number, nor one in the other's place."""
    delta, base = metadata(8, base=7), metadata(7)
    assert delta_fits(delta, base)
    assert not delta_fits(dataclasses.replace(delta, crl_number=None), base)
    assert not delta_fits(delta, dataclasses.replace(base, crl_number=None))
    assert not delta_fits(metadata(8), base)
    assert not delta_fits(metadata(9, base=7), delta)


# ---- issuers ---------------------------------------------------------------------


def test_settings_that_are_not_named_stay() -> None:
    """An anchor stays one while something else about it is set, and may be taken back."""
    one = issuer("certificate 1").fingerprint
    found = catalog().with_issuer_settings(one, is_anchor=True, publishes_no_crl=True)
    no_anchor = found.with_issuer_settings(one, is_anchor=False).issuer(one)
    assert (no_anchor.is_anchor, no_anchor.publishes_no_crl) == (False, True)
    publishes = found.with_issuer_settings(one, publishes_no_crl=False).issuer(one)
    assert (publishes.is_anchor, publishes.publishes_no_crl) == (True, False)


def test_what_one_record_knows_is_not_lost_to_another() -> None:
    """The first of a certificate stays, with what only the other one had found out."""
    known = IssuerRecord(b"certificate", NOW, "ca.pem", self_signed=False)
    bare = IssuerRecord(b"certificate")
    completed = IssuerRecord(b"certificate", added_by="ca.pem", self_signed=False)
    assert bare.completed_by(known) == completed
    assert known.completed_by(bare) is known
    assert known.completed_by(dataclasses.replace(known, self_signed=True)) is known
    assert bare.completed_by(bare) is bare
    for records in ((bare, known), (known, bare)):
        found = dataclasses.replace(catalog(), issuers=records)
        assert [one.self_signed for one in found.issuers] == [False]


# ---- denials ---------------------------------------------------------------------


def test_a_denial_ends_at_its_time() -> None:
    """It holds until then, and not at it; without an end it holds for good."""
    denial = Denial(NAME, 1, NOW, LATER)
    assert denial.holds(LATER - timedelta(seconds=1))
    assert not denial.holds(LATER)
    assert Denial(NAME, 1, NOW).holds(LATER)
    with pytest.raises(ValueError, match="until: expected a time after 2026-11-02T00:00:00Z"):
        Denial(NAME, 1, NOW, NOW)


def test_denials_are_of_one_certificate_each() -> None:
    """The issuer and the serial number tell them apart; lifting one leaves the others."""
    other = bytes.fromhex("300c310a300806035504030c0142")  # CN=B
    denials = [Denial(NAME, 1, NOW), Denial(NAME, 2, NOW), Denial(other, 1, NOW)]
    found = catalog()
    for denial in denials:
        found = found.with_denial(denial)
    denials.sort(key=lambda denial: denial.key)
    assert list(found.denied) == denials
    lifted = found.without_denial(NAME, 1, now=NOW)
    assert list(lifted.denied) == [one for one in denials if one.key != Denial(NAME, 1, NOW).key]
    with pytest.raises(ValueError, match="serial number 1 of that issuer is not denied"):
        lifted.without_denial(NAME, 1, now=NOW)


def test_a_note_has_its_bound() -> None:
    """500 characters, wherever an operator may leave one."""
    assert Denial(NAME, 1, NOW, note="x" * 500).note == "x" * 500
    for fails in (
        lambda: Denial(NAME, 1, NOW, note="x" * 501),
        lambda: RemovedIssuer(NOW, NAME, note="x" * 501),
        lambda: catalog().without_scope(BASE, now=NOW, note="x" * 501),
    ):
        with pytest.raises(ValueError, match="note: expected at most 500 characters, found 501"):
            fails()
