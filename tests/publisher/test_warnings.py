"""
What a publication says although the CRL is published, and what an expired CRL may do.
"""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from typing import Any

import pytest

from crlcheck.demo.pki import CertificateAuthority, encode_entry, sign_crl
from crlcheck.errors import CrlExpiredError, CrlShrinkError
from crlcheck.publisher.operator import reset_scope
from crlcheck.times import Moment, time_text
from crlcheck.types import PublishReport, PublishWarning
from crlcheck.types import PublishWarningKind as Kind
from support.memory_store import MemoryStore
from support.pki import DAY, NOW, ONLY_USER_CERTIFICATES, delta_of, make_authority, make_crl
from support.publishing import CA, catalog_of, publish

EXPIRED = NOW - timedelta(hours=1)
HOLD = 6


def crl(
    number: int,
    revoked: dict[int, datetime] | None = None,
    *,
    reason: int = 1,
    base: int | None = None,
    next_update: datetime = NOW + 30 * DAY,
) -> bytes:
    """A CRL of CA whose entries have dates, a delta with *base*."""
    return sign_crl(
        CA,
        [encode_entry(serial, date, reason=reason) for serial, date in (revoked or {}).items()],
        this_update=NOW - DAY + timedelta(minutes=number),
        next_update=next_update,
        crl_number=number,
        extensions=[] if base is None else [delta_of(base)],
    )


def kinds(report: PublishReport) -> list[Kind]:
    """What the report warns of."""
    return [warning.kind for warning in report.warnings]


def the_warning(report: PublishReport, kind: Kind) -> PublishWarning:
    """The one warning of that kind."""
    (found,) = (one for one in report.warnings if one.kind is kind)
    return found


# ---- past nextUpdate -------------------------------------------------------------


def test_an_expired_crl_does_not_replace_a_current_one_for_nothing() -> None:
    """
    It would make everybody stale that it does not list, and revokes nothing for it. The
    error has the times; what was published goes on serving.
    """
    store = MemoryStore()
    first = publish(store, make_crl(CA, 1, [5, 6]))
    with pytest.raises(CrlExpiredError, match="not published") as caught:
        publish(store, make_crl(CA, 2, [6], next_update=EXPIRED))
    times = f"{time_text(EXPIRED)}, before {time_text(caught.value.now)}, and revokes nothing"
    assert f"has nextUpdate {times} that the published CRL 1 of" in str(caught.value)
    assert caught.value.next_update == EXPIRED
    assert caught.value.published_next_update == NOW + 30 * DAY
    assert caught.value.now >= NOW
    assert catalog_of(store).scopes[first.scope].base.name == first.image_name
    assert len(list(store.names("images/"))) == 1


def test_a_crl_is_not_expired_within_the_second_of_its_next_update(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The time in a CRL has no fractions, so that second belongs to it whole."""
    monkeypatch.setattr(Moment, "age_by_machine", lambda _: 0.0)
    end = NOW + DAY
    store = MemoryStore()
    publish(store, make_crl(CA, 1, [5]))
    late = timedelta(microseconds=999_999)
    assert publish(store, make_crl(CA, 2, [5], next_update=end), now=end + late).published
    other = MemoryStore()
    publish(other, make_crl(CA, 1, [5]))
    with pytest.raises(CrlExpiredError):
        publish(other, make_crl(CA, 2, [5], next_update=end), now=end + timedelta(seconds=1))


@pytest.mark.parametrize("limit", [0, 1, 100])
def test_an_expired_crl_that_revokes_more_is_published_and_said(limit: int) -> None:
    """
    Its revocations count at any time. Where the images are not compared, only an
    empty CRL is known to revoke no more.
    """
    store = MemoryStore()
    publish(store, make_crl(CA, 1, [5, 6]))
    report = publish(store, make_crl(CA, 2, [6, 7], next_update=EXPIRED), compare_up_to=limit)
    assert report.published
    assert Kind.EXPIRED in kinds(report)
    other = MemoryStore()
    publish(other, make_crl(CA, 1, [5, 6]))
    with pytest.raises(CrlExpiredError):
        publish(other, make_crl(CA, 2, next_update=EXPIRED), compare_up_to=limit)


def test_a_hold_that_becomes_final_is_more() -> None:
    """A policy may let holds pass, so an expired CRL that makes one final is published."""
    store = MemoryStore()
    publish(store, crl(1, {5: NOW - DAY}, reason=HOLD))
    with pytest.raises(CrlExpiredError):
        publish(store, crl(2, {5: NOW - DAY}, reason=HOLD, next_update=EXPIRED))
    assert publish(store, crl(3, {5: NOW - DAY}, next_update=EXPIRED)).published


def test_where_nothing_current_is_lost_an_expired_crl_is_published() -> None:
    """The first CRL of a scope, one over an expired one, and the same one again: each says so."""
    store = MemoryStore()
    old = make_crl(CA, 1, next_update=EXPIRED)
    for published in (True, False):
        report = publish(store, old)
        assert report.published is published
        assert "certificates that it does not list are STALE" in str(
            the_warning(report, Kind.EXPIRED)
        )
    report = publish(store, make_crl(CA, 2, next_update=EXPIRED))
    assert report.published
    assert kinds(report) == [Kind.EXPIRED]
    assert not publish(store, make_crl(CA, 3)).warnings


def test_a_reset_does_not_let_an_expired_crl_in_for_nothing() -> None:
    """A reset is about numbers; a scope that is removed takes whatever comes."""
    store = MemoryStore()
    scope = publish(store, make_crl(CA, 7)).scope
    reset_scope(store, scope, now=NOW)
    with pytest.raises(CrlExpiredError):
        publish(store, make_crl(CA, 1, next_update=EXPIRED))


def test_an_expired_delta_does_not_make_its_complete_crl_stale_for_nothing() -> None:
    """The later one of the two tells whether both are current (RFC 5280 6.3.3 a)."""
    store = MemoryStore()
    publish(store, crl(1, {5: NOW - DAY}))
    with pytest.raises(CrlExpiredError):
        publish(store, crl(2, {5: NOW - DAY}, base=1, next_update=EXPIRED))
    assert publish(store, crl(3, {5: NOW - DAY, 6: NOW - DAY}, base=1)).published
    with pytest.raises(CrlExpiredError):
        publish(store, crl(4, {6: NOW - DAY}, base=1, next_update=EXPIRED))
    report = publish(store, crl(5, {7: NOW - DAY}, base=1, next_update=EXPIRED))
    assert Kind.EXPIRED in kinds(report)


def test_a_complete_crl_is_compared_with_the_delta_that_it_drops() -> None:
    """What the delta revokes counts, on either side."""
    store = MemoryStore()
    publish(store, crl(1, {5: NOW - DAY}))
    publish(store, crl(2, {6: NOW - DAY}, base=1))
    with pytest.raises(CrlExpiredError):
        publish(store, crl(3, {5: NOW - DAY, 6: NOW - DAY}, next_update=EXPIRED))


def test_an_expired_complete_crl_below_a_current_delta_is_published() -> None:
    """The scope stays current: the delta that stays beside it says so."""
    store = MemoryStore()
    publish(store, crl(1, {5: NOW - DAY}))
    publish(store, crl(9, {6: NOW - DAY}, base=1))
    report = publish(store, crl(2, {5: NOW - DAY}, next_update=EXPIRED))
    assert report.published
    assert "STALE" not in str(the_warning(report, Kind.EXPIRED))


# ---- what is lifted ----------------------------------------------------------------


def test_what_is_lifted_is_counted_by_default() -> None:
    """Also for deltas, which lift what the delta before them revoked."""
    store = MemoryStore()
    first = publish(store, crl(1, {5: NOW - DAY, 6: NOW - 400 * DAY}))
    assert (first.num_newly_revoked, first.num_lifted, first.num_lifted_recently) == (2, 0, 0)
    second = publish(store, crl(2, {5: NOW - DAY, 7: NOW - DAY}))
    assert (second.num_newly_revoked, second.num_lifted, second.num_lifted_recently) == (1, 1, 0)
    delta = publish(store, crl(3, {8: NOW - DAY}, base=2))
    assert (delta.num_newly_revoked, delta.num_lifted) == (1, 0)
    after = publish(store, crl(4, {9: NOW - DAY}, base=2))
    assert (after.num_newly_revoked, after.num_lifted, after.num_lifted_recently) == (1, 1, 1)
    assert Kind.RECENTLY_LIFTED in kinds(after)
    none = publish(store, crl(5, {5: NOW - DAY}), compare_up_to=0)
    assert (none.num_newly_revoked, none.num_lifted, none.num_lifted_recently) == (None,) * 3


@pytest.mark.parametrize(
    ("age", "reason", "warned"), [(89, 1, True), (91, 1, False), (1, HOLD, False), (1, 4, True)]
)
def test_recent_revocations_that_are_lifted_are_a_warning(
    age: int, reason: int, warned: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """
    CAs drop what expired every day, and holds are made to be lifted; the rest is said in
    the report and the log.
    """
    store = MemoryStore()
    many = dict.fromkeys(range(100, 110), NOW - DAY)
    publish(store, crl(1, {5: NOW - age * DAY, **many}, reason=reason))
    with caplog.at_level(logging.WARNING, "crlcheck.publisher.publish"):
        report = publish(store, crl(2, many, reason=reason))
    assert report.num_lifted == 1
    assert (Kind.RECENTLY_LIFTED in kinds(report)) is warned
    said = "lifts 1 revocation, which was made in the last 90 days and was no hold: ask"
    assert (said in caplog.text) is warned


def test_a_small_crl_that_is_emptied_says_what_it_lifts() -> None:
    """
    The guard begins above ten entries, because the only entry of a small CRL may expire; below,
    and where an operator allows it, it is a warning.
    """
    store = MemoryStore()
    publish(store, make_crl(CA, 1, range(1, 9)))
    report = publish(store, make_crl(CA, 2))
    assert report.num_lifted == 8
    assert {Kind.MOSTLY_LIFTED, Kind.RECENTLY_LIFTED} <= set(kinds(report))
    assert "has 0 entries" in str(the_warning(report, Kind.MOSTLY_LIFTED))
    publish(store, make_crl(CA, 3, range(1, 12)))
    with pytest.raises(CrlShrinkError):
        publish(store, make_crl(CA, 4))
    allowed = publish(store, make_crl(CA, 5), allow_shrink=True, compare_up_to=0)
    assert kinds(allowed) == [Kind.MOSTLY_LIFTED]


def test_two_signers_that_take_turns_are_noticed() -> None:
    """
    The CRL of one lists what was revoked before the other's, which did not list it, and
    lacks what that one lists.
    """
    store = MemoryStore()
    one = dict.fromkeys((1, 2, 3), NOW - 10 * DAY)
    two = dict.fromkeys((2, 3, 4), NOW - 9 * DAY)
    assert not publish(store, crl(1, one)).warnings
    for number in (2, 3, 4):
        report = publish(store, crl(number, two if number % 2 == 0 else one))
        warning = the_warning(report, Kind.ALTERNATING_SIGNERS)
        assert report.scope in str(warning)


def test_two_signers_are_noticed_however_old_their_entries_are() -> None:
    """Several old revocations that come while several others go."""
    store = MemoryStore()
    common = dict.fromkeys(range(10, 20), NOW - 300 * DAY)
    one = dict.fromkeys((1, 2), NOW - 400 * DAY) | common
    two = dict.fromkeys((3, 4), NOW - 400 * DAY) | common
    publish(store, crl(1, one))
    for number in (2, 3):
        report = publish(store, crl(number, two if number % 2 == 0 else one))
        assert kinds(report) == [Kind.ALTERNATING_SIGNERS]


def test_an_ordinary_succession_is_not_taken_for_two_signers() -> None:
    """New revocations come and expired ones go, from one source or another."""
    store = MemoryStore()
    old = dict.fromkeys((1, 2), NOW - 500 * DAY)
    publish(store, crl(1, {**old, 3: NOW - 30 * DAY}), source_name="a")
    for number, source in ((2, "b"), (3, "a"), (4, "b")):
        recent = {10 + one: NOW - DAY + timedelta(minutes=one) for one in range(2, number + 1)}
        report = publish(store, crl(number, {3: NOW - 30 * DAY, **recent}), source_name=source)
        assert not report.warnings


def test_sources_that_take_turns_with_one_empty_crl_are_noticed() -> None:
    """One signer knows of nothing: then only the sources tell that they alternate."""
    store = MemoryStore()
    some: dict[int, datetime] = dict.fromkeys((1, 2, 3), NOW - 10 * DAY)
    found = []
    for number, (source, revoked) in enumerate([("a", some), ("b", {}), ("a", some), ("b", {})], 1):
        report = publish(store, crl(number, revoked), source_name=source)
        found.append(Kind.ALTERNATING_SIGNERS in kinds(report))
    assert found == [False, False, True, True]


# ---- other scopes of the issuer -------------------------------------------------------


def _rollover(**options: Any) -> tuple[CertificateAuthority, CertificateAuthority]:
    """An issuer, and its next key certified by the old one."""
    old = make_authority("Rolling CA")
    return old, make_authority("Rolling CA", parent=old, **options)


@pytest.mark.parametrize("retired_first", [True, False])
def test_a_newer_expired_crl_of_a_retired_key_is_named(retired_first: bool) -> None:
    """
    It makes the clients of its successor stale, whichever comes last: the warning names
    both scopes, and what to do.
    """
    old, new = _rollover()
    store, issuers = MemoryStore(), [old.der, new.der]
    retired = make_crl(old, 90, next_update=EXPIRED)
    current = make_crl(new, 10)
    offers = (retired, current) if retired_first else (current, retired)
    publish(store, offers[0], issuers)
    report = publish(store, offers[1], issuers)
    warning = the_warning(report, Kind.NEWER_EXPIRED_CRL)
    metadata = {one.base.metadata.crl_number: key for key, one in catalog_of(store).scopes.items()}
    assert warning.scopes == (metadata[90], metadata[10])
    assert f"scope remove' takes {metadata[90]} out" in str(warning)


@pytest.mark.parametrize("retired_first", [True, False])
def test_an_older_expired_crl_of_a_retired_key_is_replaced(retired_first: bool) -> None:
    """
    The warning names both scopes whichever comes last, and says what stays revoked.
    """
    old, new = _rollover()
    store, issuers = MemoryStore(), [old.der, new.der]
    retired, current = make_crl(old, 5, next_update=EXPIRED), make_crl(new, 10)
    offers = (retired, current) if retired_first else (current, retired)
    publish(store, offers[0], issuers)
    report = publish(store, offers[1], issuers)
    warning = the_warning(report, Kind.EXPIRED_REPLACED)
    keys = {one.base.metadata.crl_number: key for key, one in catalog_of(store).scopes.items()}
    assert warning.scopes == (keys[5], keys[10])
    assert f"(scope {keys[5]}) has expired and is replaced by the newer CRL 10" in str(warning)
    assert "stays revoked" in str(warning)
    assert Kind.NEWER_EXPIRED_CRL not in kinds(report)


@pytest.mark.parametrize("shape", ["namesake", "narrower", "expired too", "in its time"])
def test_what_does_not_replace_an_expired_crl(shape: str) -> None:
    """Another issuer's, one for fewer certificates, one past its own time; nor is one needed."""
    old, new = _rollover()
    namesake = make_authority("Rolling CA")
    store, issuers = MemoryStore(), [old.der, new.der, namesake.der]
    options: dict[str, Any] = {} if shape == "in its time" else {"next_update": EXPIRED}
    publish(store, make_crl(old, 5, **options), issuers)
    crl = {
        "namesake": lambda: make_crl(namesake, 10),
        "narrower": lambda: make_crl(new, 10, extensions=[ONLY_USER_CERTIFICATES]),
        "expired too": lambda: make_crl(new, 10, next_update=EXPIRED),
        "in its time": lambda: make_crl(new, 10),
    }[shape]()
    assert Kind.EXPIRED_REPLACED not in kinds(publish(store, crl, issuers))


def test_another_issuers_expired_crl_is_nothing_to_this_one() -> None:
    """A namesake's key that is not tied, and one for other certificates."""
    namesake = make_authority("Rolling CA")
    old, new = _rollover()
    store, issuers = MemoryStore(), [old.der, new.der, namesake.der]
    publish(store, make_crl(namesake, 90, next_update=EXPIRED), issuers)
    assert not publish(store, make_crl(new, 10), issuers).warnings
    publish(store, make_crl(new, 95, extensions=[ONLY_USER_CERTIFICATES]), issuers)
    assert not publish(store, make_crl(new, 11), issuers).warnings


def test_a_newer_expired_crl_of_the_same_key_is_named_too() -> None:
    """A part that expired may cover what the complete CRL covers."""
    store = MemoryStore()
    part = make_crl(CA, 90, next_update=EXPIRED, extensions=[ONLY_USER_CERTIFICATES])
    publish(store, part)
    assert Kind.NEWER_EXPIRED_CRL in kinds(publish(store, make_crl(CA, 10)))
