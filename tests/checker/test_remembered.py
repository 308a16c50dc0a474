"""
What is remembered of a kind of certificate, and what is not.

Random worlds are in tests/conformance/test_remembered_worlds.py; here is one test for each
thing that a verdict depends on.
"""

from __future__ import annotations

import dataclasses
import gc
import threading
import weakref
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from crlcheck._binding import certificate_kind
from crlcheck.checker import remembered
from crlcheck.checker import views as views_module
from crlcheck.checker.checker import RevocationChecker
from crlcheck.checker.path import PathChecker
from crlcheck.checker.views import View, Views
from crlcheck.demo.pki import CertificateAuthority, pem_block
from crlcheck.errors import IndexClosedError
from crlcheck.publisher.operator import deny_certificate, grant_grace, lift_denial
from crlcheck.publisher.publish import publish_crl
from crlcheck.types import Policy, RevocationStatus, Rule, StaleRule, UndeterminedCause
from crlcheck.x509.certificates import load_certificate
from support.checking import Clock, CountingStore, make_index, verdict
from support.issuers import certify, key_id_of
from support.issuers import world as issuers_world
from support.library_world import LibraryWorld
from support.memory_store import MemoryStore
from support.pki import DAY, NOW, delta_of, make_authority, make_client, make_crl
from support.publishing import images_of
from support.worlds import CrlSpec, EntrySpec, LeafSpec, World, WorldBytes, leaf_of

REVOKED = RevocationStatus.REVOKED
NOT_REVOKED = RevocationStatus.NOT_REVOKED
UNDETERMINED = RevocationStatus.UNDETERMINED
STALE = UndeterminedCause.STALE

ROOT = make_authority("Root")
CA = make_authority("CA", ROOT)
OTHER = make_authority("Other", ROOT)
FIRST, SECOND, LISTED = (make_client(CA, serial) for serial in (5, 6, 7))
PEM = pem_block("CERTIFICATE", SECOND)


def world(**options: Any) -> MemoryStore:
    """The root's and the CA's CRLs; the CA's lists LISTED."""
    store = MemoryStore()
    publish(store, ROOT)
    publish(store, CA, revoked=(7,), **options)
    return store


def publish(
    store: MemoryStore, authority: CertificateAuthority, number: int = 1, **options: Any
) -> None:
    """Publish a CRL of an authority, with all issuers."""
    crl = make_crl(authority, number, **options)
    publish_crl(crl, store, issuer=[ROOT.der, CA.der, OTHER.der], now=NOW)


@pytest.fixture(name="paths")
def fixture_paths(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The serial number of each certificate for which the path was looked into."""
    found: list[int] = []
    for name in ("check_path", "check_unlisted"):
        monkeypatch.setattr(PathChecker, name, noted(getattr(PathChecker, name), found))
    return found


def noted(method: Callable[..., Any], found: list[int]) -> Callable[..., Any]:
    """Note the serial number of what a method is called with."""

    def call(self: PathChecker, certificate: Any, *rest: Any, **options: Any) -> Any:
        found.append(certificate.serial_number)
        return method(self, certificate, *rest, **options)

    return call


def checker_of(store: Any, clock: Clock | None = None, **options: Any) -> RevocationChecker:
    """A checker that polls when it is told to."""
    options.setdefault("refresh_after", timedelta(days=10_000))
    return RevocationChecker(store, clock=clock or Clock(), **options)


# ---- what is remembered -----------------------------------------------------------


def test_the_second_certificate_of_a_kind_is_looked_up_only(paths: list[int]) -> None:
    """One that the CA's CRL lists, too; and they come out as the first one did."""
    checker = checker_of(world())
    first = checker.check(FIRST)
    assert paths == [5]  # to answer and to remember
    second, listed = checker.check(SECOND), checker.check(LISTED)
    assert paths == [5]
    assert (first.status, second.status, listed.status) == (NOT_REVOKED, NOT_REVOKED, REVOKED)
    assert second.detail == first.detail.replace("certificate 5 ", "certificate 6 ")
    assert second.certificate == load_certificate(SECOND)
    assert second.serial_number == 6
    assert listed.certificate == load_certificate(LISTED)
    assert "key compromise" in listed.detail
    assert listed.scope == first.scope is not None
    assert (listed.crl_number, listed.this_update) == (first.crl_number, first.this_update)


def test_every_way_to_give_a_certificate_is_answered(paths: list[int], tmp_path: Path) -> None:
    """Facts that are given are taken as they are, so they are looked into."""
    checker = checker_of(world())
    expected = checker.check(SECOND)
    paths.clear()
    given = x509.load_der_x509_certificate(SECOND)
    file = tmp_path / "leaf.pem"
    file.write_bytes(PEM)
    for source in (SECOND, bytearray(SECOND), memoryview(SECOND), PEM, PEM.decode(), given, file):
        assert checker.check(source) == expected
        assert checker.check_many(iter([source])) == [expected]
    assert paths == []
    assert checker.check(load_certificate(SECOND)) == expected
    assert paths == [6]


def test_altered_facts_are_not_taken_for_the_certificate() -> None:
    """The DER in them is not what counts."""
    checker = checker_of(world())
    checker.check(FIRST)
    altered = dataclasses.replace(load_certificate(FIRST), serial_number=7)
    assert checker.check(altered).status is REVOKED
    foreign = dataclasses.replace(
        load_certificate(FIRST), issuer=load_certificate(OTHER.der).subject
    )
    assert checker.check(foreign).status is UNDETERMINED


def test_what_is_found_above_is_remembered() -> None:
    """The result is that of the issuer."""
    store = world()
    publish(store, ROOT, 2, revoked=[CA.certificate.serial_number])
    checker = checker_of(store)
    first, second = checker.check(FIRST), checker.check(SECOND)
    assert first == second
    assert second.status is REVOKED
    assert second.serial_number == CA.certificate.serial_number
    # Its own entry decides all the same, as it is found first.
    assert checker.check(LISTED).serial_number == 7


# ---- what keeps a certificate from being answered by its kind -----------------------


def test_a_trusted_certificate_is_looked_into(paths: list[int]) -> None:
    """
    The keys that issued it are known better than by its key id. So is each certificate with
    its serial number, and no other of its kind.
    """
    # A key rollover: the new key's certificate by the old one has the name of its issuer.
    old = certify("Rolled", by=None)
    new = certify("Rolled", by=old, key_id=key_id_of(old), serial_number=17)
    others = [
        certify("Other", by=old, key_id=key_id_of(old), serial_number=number).der
        for number in (18, 19, 17)
    ]
    store = issuers_world((old, []), issuers=[old, new])
    checker = checker_of(store)
    assert checker.check(others[0]).status is NOT_REVOKED
    paths.clear()
    assert checker.check(others[1]).status is NOT_REVOKED
    assert paths == []
    for _ in range(2):
        for der in (new.der, others[2]):
            assert checker.check(der).status is NOT_REVOKED
    assert paths == [17] * 4


def test_a_denial_counts_from_the_poll_on_and_ends(paths: list[int]) -> None:
    """For the certificate, one that is remembered, and for what is above it."""
    store, clock = world(), Clock()
    checker = checker_of(store, clock)
    issuer = load_certificate(SECOND).issuer
    assert [checker.check(one).status for one in (FIRST, SECOND)] == [NOT_REVOKED] * 2
    deny_certificate(store, issuer, 6, until=NOW + DAY, now=NOW)
    assert checker.check(SECOND).status is NOT_REVOKED  # not polled yet
    checker.refresh()
    assert [checker.check(one).denied for one in (FIRST, SECOND, FIRST)] == [False, True, False]
    clock.now = NOW + DAY + timedelta(microseconds=1)
    assert [checker.check(one).denied for one in (FIRST, SECOND)] == [False, False]
    clock.now = NOW
    assert checker.check(SECOND).denied
    lift_denial(store, issuer, 6, now=NOW)
    checker.refresh()
    assert not checker.check(SECOND).denied
    facts = load_certificate(CA.der)
    deny_certificate(store, facts.issuer, facts.serial_number, until=NOW + DAY, now=NOW)
    checker.refresh()
    assert [checker.check(one).denied for one in (FIRST, SECOND)] == [True, True]
    clock.now = NOW + DAY + timedelta(microseconds=1)
    assert [checker.check(one).denied for one in (FIRST, SECOND)] == [False, False]
    assert len(paths) > 8


def test_what_is_found_for_a_special_certificate_stays_its_own() -> None:
    """One that is trusted, and one with the serial number of one that is denied."""
    store = world()
    other = OTHER.certificate.subject.public_bytes()
    deny_certificate(store, other, 5, now=NOW)
    checker = checker_of(store)
    for der in (ROOT.der, FIRST):
        assert checker.check(der).status is NOT_REVOKED
        assert memory_of(checker)._answers == {}
    checker.check(SECOND)
    assert len(memory_of(checker)._answers) == 1


def test_an_expired_certificate_is_looked_into() -> None:
    """Others of its kind are answered meanwhile."""
    clock = Clock()
    store = world(next_update=NOW + 3000 * DAY)
    checker = checker_of(store, clock)
    later = CA.issue("c", serial_number=9, not_before=NOW - DAY, not_after=NOW + 500 * DAY).der
    publish(store, ROOT, 2, next_update=NOW + 3000 * DAY)
    checker.refresh()
    for der, seconds, expected in (
        (FIRST, 0, NOT_REVOKED),
        (later, 1, NOT_REVOKED),
        (FIRST, 1, UNDETERMINED),
        (later, 2, NOT_REVOKED),
        (FIRST, 0, NOT_REVOKED),
    ):
        clock.now = NOW + 365 * DAY + timedelta(seconds=seconds)
        result = checker.check(der)
        assert result.status is expected
        if expected is UNDETERMINED:
            assert result.cause is UndeterminedCause.CERTIFICATE_EXPIRED


def test_a_certificate_that_expires_before_the_crl_is_answered_till_then(paths: list[int]) -> None:
    """The moment of its notAfter included."""
    ends = NOW + timedelta(hours=1)
    brief = CA.issue("brief", serial_number=8, not_before=NOW - DAY, not_after=ends).der
    clock = Clock()
    checker = checker_of(world(next_update=NOW + DAY), clock)
    checker.check(CA.issue("long", serial_number=9, not_before=NOW - DAY, not_after=NOW + DAY).der)
    paths.clear()
    for moment in (NOW, ends):
        clock.now = moment
        assert checker.check(brief).status is NOT_REVOKED
        assert paths == []
        another = checker_of(world(next_update=NOW + DAY), clock)
        assert another.check(brief).status is NOT_REVOKED
        assert len(memory_of(another)._answers) == 1
        paths.clear()
    clock.now = ends + timedelta(microseconds=1)
    assert checker.check(brief).cause is UndeterminedCause.CERTIFICATE_EXPIRED
    assert paths == [8]


def test_a_certificate_that_expires_just_before_the_crl_is_expired_then() -> None:
    """In the last second, for which what is remembered of its kind still holds."""
    end = NOW + DAY
    brief, long = (
        CA.issue(name, serial_number=8, not_before=NOW - DAY, not_after=until).der
        for name, until in (("brief", end - timedelta(seconds=1)), ("long", end))
    )
    clock = Clock()
    checker = checker_of(world(next_update=end), clock)
    assert [checker.check(one).status for one in (long, brief)] == [NOT_REVOKED] * 2
    clock.now = end - timedelta(seconds=0.5)
    assert checker.check(long).status is NOT_REVOKED
    assert checker.check(brief).cause is UndeterminedCause.CERTIFICATE_EXPIRED


def test_of_a_delta_beside_it_an_entry_is_looked_into(paths: list[int]) -> None:
    """What two lists say together is more than that one of them lists a certificate."""
    store = world()
    publish(store, CA, 2, revoked=(6,), extensions=[delta_of(1)])
    checker = checker_of(store)
    assert [checker.check(one).status for one in (FIRST, SECOND, LISTED)] == [
        NOT_REVOKED,
        REVOKED,
        REVOKED,
    ]
    paths.clear()
    assert checker.check(make_client(CA, 8)).status is NOT_REVOKED
    assert paths == []
    assert checker.check(SECOND).status is REVOKED
    assert paths == [6]


def test_in_an_indirect_crl_it_is_looked_up_under_its_issuer(paths: list[int]) -> None:
    """An entry of another issuer is not its own; one of its issuer is looked into."""
    entries = (EntrySpec(2, 1, "CA"), EntrySpec(3, 1, "Root"))
    leaves = tuple(LeafSpec("ca", serial, ("by crl issuer",)) for serial in (5, 2, 3, 4))
    world = World(
        ("root", "ca", "crl issuer"),
        (CrlSpec("root", 1), CrlSpec("crl issuer", 1, entries, "indirect")),
        leaves,
    )
    checker = LibraryWorld(world, WorldBytes(world)).checker()
    found = [checker.check(leaf_of(leaf)) for leaf in leaves]
    assert [one.status for one in found] == [NOT_REVOKED, REVOKED, NOT_REVOKED, NOT_REVOKED]
    assert paths == [5, 2]
    assert str(found[1]).startswith("certificate 2 ")


def test_where_holds_are_waived_an_entry_is_looked_into(paths: list[int]) -> None:
    """Its reason decides then."""
    checker = checker_of(world(), policy=Policy(hold=Rule.ALLOW))
    checker.check(FIRST)
    paths.clear()
    assert checker.check(LISTED).status is REVOKED
    assert paths == [7]


# ---- time ------------------------------------------------------------------------------


@pytest.mark.parametrize("whose", ["CA", "root"])
def test_an_answer_ends_with_a_crl(whose: str) -> None:
    """That of the CA, or one above, to the microsecond; and holds again when time goes back."""
    ends = NOW + 10 * DAY
    store = MemoryStore()
    publish(store, ROOT, next_update=ends if whose == "root" else NOW + 30 * DAY)
    publish(store, CA, next_update=ends if whose == "CA" else NOW + 30 * DAY)
    clock = Clock()
    checker = checker_of(store, clock)
    tick = timedelta(microseconds=1)
    for moment in (NOW, ends - tick, ends, ends + tick, ends - tick, NOW, ends + tick, NOW - tick):
        clock.now = moment
        expected = UNDETERMINED if moment > ends else NOT_REVOKED
        assert [checker.check(one).status for one in (FIRST, SECOND)] == [expected] * 2


def test_an_answer_ends_with_the_certificate_of_an_issuer_above() -> None:
    """An expired one is not cleared by a CRL that does not list it."""
    ends = NOW + 10 * DAY
    middle = CertificateAuthority.create(
        "Middle", parent=ROOT, not_before=NOW - DAY, not_after=ends
    )
    store = MemoryStore()
    for authority in (ROOT, middle):
        publish_crl(make_crl(authority), store, issuer=[ROOT.der, middle.der], now=NOW)
    clock = Clock()
    checker = checker_of(store, clock)
    first, second = make_client(middle, 5), make_client(middle, 6)
    tick = timedelta(microseconds=1)
    for moment in (NOW, ends - tick, ends, ends + tick, ends - tick, ends + tick):
        clock.now = moment
        expected = UNDETERMINED if moment > ends else NOT_REVOKED
        assert [checker.check(one).status for one in (first, second)] == [expected] * 2


def test_a_crl_counts_from_its_begin_on() -> None:
    """That is thisUpdate, or earlier by what clocks may differ."""
    begins = NOW + DAY
    store = world()
    late = make_crl(CA, 2, revoked=(7,), this_update=begins)
    publish_crl(late, store, issuer=[ROOT.der, CA.der], now=begins)
    clock = Clock()
    checker = checker_of(store, clock, policy=Policy(clock_skew=timedelta(hours=1)))
    tick = timedelta(microseconds=1)
    counts = begins - timedelta(hours=1)
    for moment in (NOW, counts - tick, counts, counts + tick, counts - tick, begins):
        clock.now = moment
        expected = NOT_REVOKED if moment >= counts else UNDETERMINED
        assert [checker.check(one).status for one in (FIRST, SECOND)] == [expected] * 2


def test_an_answer_of_the_very_moment_of_a_change_is_not_remembered() -> None:
    """It would count before that moment, too, where a clock is set back."""
    begin = NOW - timedelta(minutes=5)  # the policy's clock_skew before thisUpdate
    clock = Clock()
    store = MemoryStore()
    publish(store, ROOT, this_update=NOW - DAY)
    publish(store, CA, this_update=NOW)
    checker = checker_of(store, clock)
    clock.now = begin
    assert checker.check(FIRST).status is NOT_REVOKED
    assert memory_of(checker)._answers == {}
    clock.now = begin - timedelta(microseconds=1)
    assert checker.check(SECOND).cause is UndeterminedCause.NOT_YET_VALID
    clock.now = begin + timedelta(microseconds=1)
    assert checker.check(SECOND).status is NOT_REVOKED
    assert len(memory_of(checker)._answers) == 1


def test_an_answer_after_a_change_does_not_count_at_its_very_moment() -> None:
    """A CRL is stale after its nextUpdate, and at that moment not yet."""
    end = NOW + DAY
    clock = Clock()
    checker = checker_of(world(next_update=end), clock)
    clock.now = end + timedelta(microseconds=1)
    assert [checker.check(one).cause for one in (FIRST, SECOND)] == [STALE] * 2
    clock.now = end
    assert checker.check(SECOND).status is NOT_REVOKED


def test_a_grace_counts_from_the_poll_on_and_ends() -> None:
    """An operator's, as a policy's."""
    store, clock = world(next_update=NOW + DAY), Clock()
    checker = checker_of(store, clock)
    clock.now = NOW + 2 * DAY
    assert verdict(checker.check(FIRST)) == verdict(checker.check(SECOND))
    assert checker.check(SECOND).cause is UndeterminedCause.STALE
    grant_grace(store, until=NOW + 3 * DAY, now=NOW)
    checker.refresh()
    for _ in range(2):
        assert checker.check(SECOND).waived == (UndeterminedCause.STALE,)
    clock.now = NOW + 3 * DAY
    assert checker.check(SECOND).cause is UndeterminedCause.STALE
    of_policy = Policy(stale=StaleRule.GRACE, stale_grace=3 * DAY)
    checker = checker_of(world(next_update=NOW + DAY), clock, policy=of_policy)
    for moment, cause in ((NOW + 4 * DAY, None), (NOW + 4 * DAY + timedelta(0, 1), STALE)) * 2:
        clock.now = moment - timedelta(microseconds=1)
        assert [checker.check(one).cause for one in (FIRST, SECOND)] == [cause] * 2


def test_times_at_the_ends_of_the_calendar() -> None:
    """Neither the skew nor the grace goes beyond them."""
    store = MemoryStore()
    last = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
    publish(store, ROOT, next_update=last)
    publish(store, CA, next_update=last, this_update=datetime(1, 1, 1, 0, 1, tzinfo=UTC))
    policy = Policy(stale=StaleRule.GRACE, stale_grace=timedelta(days=400))
    checker = checker_of(store, policy=policy)
    for _ in range(3):
        assert checker.check(FIRST).status is NOT_REVOKED


# ---- the set -----------------------------------------------------------------------------


def test_a_new_crl_counts_from_the_poll_on() -> None:
    """Of the CA, and above it."""
    store = world()
    checker = checker_of(store)
    checker.check(FIRST)
    publish(store, CA, 2, revoked=(6,))
    assert checker.check(SECOND).status is NOT_REVOKED
    checker.refresh()
    assert [checker.check(one).status for one in (FIRST, SECOND)] == [NOT_REVOKED, REVOKED]
    publish(store, ROOT, 2, revoked=[CA.certificate.serial_number])
    checker.refresh()
    assert [checker.check(one).status for one in (FIRST, SECOND)] == [REVOKED, REVOKED]


def test_each_check_polls_where_it_is_to() -> None:
    """Without an interval, also where the answer is remembered."""
    store = CountingStore()
    publish(store, ROOT)
    publish(store, CA)
    checker = checker_of(store, refresh_after=timedelta(0))
    checker.check(FIRST)
    store.counts.clear()
    for _ in range(3):
        checker.check(SECOND)
    assert sum(store.counts.values()) == 3
    publish(store, CA, 2, revoked=(6,))
    assert checker.check(SECOND).status is REVOKED


def test_a_set_that_is_too_old_answers_nothing() -> None:
    """Whatever is remembered by it."""
    store, clock = CountingStore(), Clock()
    publish(store, ROOT)
    publish(store, CA)
    checker = checker_of(store, clock, refresh_after=timedelta(hours=1), max_catalog_age=DAY)
    assert [checker.check(one).status for one in (FIRST, SECOND)] == [NOT_REVOKED] * 2
    store.is_down = True
    clock.now = NOW + DAY + timedelta(seconds=1)
    result = checker.check(SECOND)
    assert (result.status, result.cause) == (UNDETERMINED, UndeterminedCause.STORE_UNAVAILABLE)


# ---- images and indexes --------------------------------------------------------------------


def test_an_image_that_was_unloaded_is_loaded_again() -> None:
    """And one that cannot be loaded is STORE_UNAVAILABLE, as if nothing were remembered."""
    store = world()
    checker = checker_of(store, image_memory=1)
    publish(store, OTHER)
    checker.refresh()
    other = make_client(OTHER, 5)
    for _ in range(3):
        assert [checker.check(one).status for one in (FIRST, other)] == [NOT_REVOKED] * 2
    for name in images_of(store):
        store.delete(name)
    assert {checker.check(one).cause for one in (FIRST, other)} >= {
        UndeterminedCause.STORE_UNAVAILABLE
    }


def test_an_answer_is_a_use_of_its_images() -> None:
    """So that they are not the first to be unloaded: the one for the certificate least."""
    store = world()
    publish(store, OTHER)
    checker = checker_of(store)
    others = [make_client(OTHER, serial) for serial in (5, 6)]
    names = {one.certificate.subject.public_bytes(): one for one in (ROOT, CA, OTHER)}

    def used() -> list[CertificateAuthority]:
        cache = checker._set._cache  # type: ignore[union-attr]
        return [names[image.metadata.issuer] for image in cache._used]

    checker.check(FIRST)
    checker.check(others[0])
    assert used()[-1] is not CA
    for der, expected in (
        (SECOND, [OTHER, ROOT, CA]),
        (others[1], [CA, ROOT, OTHER]),
        (LISTED, [ROOT, OTHER, CA]),
    ):
        checker.check(der)
        assert used() == expected


def test_nothing_is_loaded_in_order_to_remember() -> None:
    """Where image_memory has no room for the images of a path, each is loaded as it is needed."""
    store = CountingStore()
    publish(store, ROOT)
    publish(store, CA)
    checker = checker_of(store, image_memory=1)
    several = [make_client(CA, 100 + number) for number in range(10)]
    checker.check_many(several)
    assert store.counts["load"] == 3  # the CA's, the root's, and the CA's for all others
    store.counts.clear()
    for one in several:
        checker.check(one)
    assert store.counts["load"] <= 2 * len(several)


def test_what_could_not_be_read_is_not_remembered(paths: list[int]) -> None:
    """The next check tries again, when it is time."""
    store = CountingStore()
    publish(store, ROOT)
    publish(store, CA)
    checker = checker_of(store)
    checker.refresh()
    store.is_down = True
    for _ in range(2):
        assert checker.check(FIRST).cause is UndeterminedCause.STORE_UNAVAILABLE
    assert len(paths) in (0, 2)


def test_open_indexes_are_answered_from_memory(paths: list[int]) -> None:
    """As long as the caller has closed none."""
    indexes = [make_index(ROOT, revoked=()), make_index(CA, revoked=(7,))]
    checker = checker_of(indexes, issuers=[ROOT.der, CA.der])
    assert [checker.check(one).status for one in (FIRST, SECOND)] == [NOT_REVOKED] * 2
    assert paths == [5]


@pytest.mark.parametrize("whose", [0, 1])
def test_an_index_that_its_caller_closed_is_an_error(whose: int) -> None:
    """The CA's, and one above it that is not looked into again."""
    indexes = [make_index(ROOT, revoked=()), make_index(CA, revoked=(7,))]
    checker = checker_of(indexes, issuers=[ROOT.der, CA.der])
    assert [checker.check(one).status for one in (FIRST, SECOND, LISTED)] == [
        NOT_REVOKED,
        NOT_REVOKED,
        REVOKED,
    ]
    indexes[whose].close()
    with pytest.raises(IndexClosedError):
        checker.check(SECOND)
    with pytest.raises(IndexClosedError):
        checker.check_many([SECOND])


def test_a_closed_checker_answers_nothing() -> None:
    """From memory neither."""
    checker = checker_of(world())
    checker.check(FIRST)
    checker.close()
    with pytest.raises(IndexClosedError):
        checker.check(SECOND)


# ---- what is kept ----------------------------------------------------------------------------


def memory_of(checker: RevocationChecker) -> remembered.Memory:
    """What a checker remembers."""
    in_use = checker._set.in_use  # type: ignore[union-attr]
    assert in_use is not None
    assert in_use.views.memory is not None
    return in_use.views.memory


def test_a_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever kinds come."""
    monkeypatch.setattr(remembered, "_MAX_KINDS", 3)
    made = remembered._Frame
    frames: list[remembered._Frame] = []

    def noted_frame(*given: Any) -> remembered._Frame:
        frames.append(made(*given))
        return frames[-1]

    monkeypatch.setattr(remembered, "_Frame", noted_frame)
    checker = checker_of(world())
    for number in range(10):
        point = f"http://crl.test/{number}"
        der = CA.issue(
            "c", distribution_points=[point], not_before=NOW - DAY, not_after=NOW + 365 * DAY
        ).der
        for _ in range(2):
            assert checker.check(der).status is NOT_REVOKED
        assert 1 <= len(memory_of(checker)._answers) <= 3
    assert len(frames) == 1, "the kinds of one view have it in common"


def test_no_result_keeps_an_image() -> None:
    """Those of revoked certificates neither, so that a log of results costs no images."""
    indexes = [make_index(CA, revoked=(7,))]
    checker = checker_of(indexes, issuers=[CA.der], policy=Policy(path_depth=0))
    results = [checker.check(one) for one in (FIRST, SECOND, LISTED) for _ in range(2)]
    index = weakref.ref(indexes.pop())
    checker.close()
    del checker
    gc.collect()
    assert index() is None
    assert [one.status for one in results] == [NOT_REVOKED] * 4 + [REVOKED] * 2
    assert "key compromise" in results[-1].detail


def test_a_view_that_was_dropped_is_not_answered_from(paths: list[int]) -> None:
    """Otherwise a refresh would not take it over, and the next generation might lack it."""
    store = world()
    checker = checker_of(store)
    checker.check(FIRST)
    views = checker._set.in_use.views  # type: ignore[union-attr]
    assert isinstance(views, Views)
    (key,) = views._views
    memory = memory_of(checker)
    view = views._views[key]
    with views._lock:
        views._views[b"another"] = View(None, 10**6)
        views._weight += 10**6
        view.is_used = False
        views._make_room(views._views[b"another"])
    assert not view.is_held
    assert views.memory is memory
    assert (memory._answers, memory._frames) == ({}, {})
    kind = certificate_kind(SECOND)
    assert kind is not None
    assert memory.recall(*kind, SECOND, NOW) is None
    paths.clear()
    assert checker.check(SECOND).status is NOT_REVOKED
    assert paths == [6]
    assert views._views[key] is not view


def test_only_what_was_dropped_is_forgotten(paths: list[int]) -> None:
    """Those of other issuers are answered from memory as before, and nothing keeps the view."""
    store = world()
    publish(store, OTHER)
    checker = checker_of(store)
    checker.check(FIRST)
    checker.check(make_client(OTHER, 5))
    views = checker._set.in_use.views  # type: ignore[union-attr]
    assert isinstance(views, Views)
    first, second = views._views.values()
    dropped = [weakref.ref(part) for part in {*first.parts} - {*second.parts}]
    kept = [weakref.ref(part) for part in second.parts]
    assert dropped
    with views._lock:
        first.is_used = False
        views._weight = views_module._CAPACITY + 1
        views._make_room(second)
        views._weight = second.weight
    assert not first.is_held
    del first
    gc.collect()
    assert [part() for part in dropped] == [None] * len(dropped)
    assert all(part() for part in kept)
    (frame,) = memory_of(checker)._frames.values()
    assert frame.snapshot is second.loaded
    paths.clear()
    assert checker.check(make_client(OTHER, 6)).status is NOT_REVOKED
    assert paths == []
    assert checker.check(SECOND).status is NOT_REVOKED
    assert paths == [6]


def test_nothing_is_remembered_of_a_view_that_another_thread_drops(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """While a certificate is looked into. The answer is the same."""
    checker = checker_of(world())
    found = PathChecker.check_unlisted

    def dropping(self: PathChecker, certificate: Any) -> Any:
        views = checker._set.in_use.views  # type: ignore[union-attr]
        assert isinstance(views, Views)
        for view in views._views.values():
            view.is_held = False
        return found(self, certificate)

    monkeypatch.setattr(PathChecker, "check_unlisted", dropping)
    assert checker.check(FIRST).status is NOT_REVOKED
    memory = memory_of(checker)
    assert (memory._answers, memory._frames) == ({}, {})


def test_what_is_found_beside_others_is_remembered_with_all_its_images() -> None:
    """
    The image above was looked into for a certificate before; it counts for this kind as well.
    """
    indexes = [make_index(ROOT, revoked=()), make_index(CA, revoked=(7,)), make_index(OTHER)]
    checker = checker_of(indexes, issuers=[ROOT.der, CA.der, OTHER.der])
    results = checker.check_many([make_client(OTHER, 5), FIRST, SECOND])
    assert [one.status for one in results] == [NOT_REVOKED] * 3
    indexes[0].close()
    with pytest.raises(IndexClosedError):
        checker.check(SECOND)


def test_a_view_that_answers_counts_as_used() -> None:
    """So that it is not the first one to be dropped."""
    checker = checker_of(world())
    checker.check(FIRST)
    views = checker._set.in_use.views  # type: ignore[union-attr]
    assert isinstance(views, Views)
    (view,) = views._views.values()
    view.is_used = False
    checker.check(SECOND)
    assert view.is_used


# ---- threads -----------------------------------------------------------------------------------


def test_no_thread_sees_a_verdict_of_another_time() -> None:
    """
    Threads check while denials come and go, CRLs change and time moves. A check that begins
    and ends while nothing changes has the verdict of just then.
    """
    store, clock = world(next_update=NOW + DAY), Clock()
    checker = checker_of(store, clock)
    issuer = load_certificate(SECOND).issuer
    expected: list[dict[bytes, object]] = [{}]
    epoch = [0]
    stop = threading.Event()
    wrong: list[object] = []
    counts = [0, 0, 0]

    def ask(number: int) -> None:
        while not stop.is_set():
            for der in (FIRST, SECOND, LISTED):
                before = epoch[0]
                result = checker.check(der) if number else checker.check_many([der])[0]
                if before == epoch[0] and before % 2 and expected[before][der] != verdict(result):
                    wrong.append((before, der, result))
                counts[number] += 1

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    try:
        for change in changes(store, clock, issuer):
            change()
            checker.refresh()
            fresh = checker_of(store, clock)
            expected.append({der: verdict(fresh.check(der)) for der in (FIRST, SECOND, LISTED)})
            epoch[0] += 1
            target = [count + 20 for count in counts]
            while any(one < two for one, two in zip(counts, target, strict=True)) and not wrong:
                stop.wait(0.001)
            expected.append({})
            epoch[0] += 1
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert wrong == []
    assert len({repr(sorted(map(str, one.items()))) for one in expected if one}) > 4


def changes(store: MemoryStore, clock: Clock, issuer: bytes) -> Iterator[Callable[[], object]]:
    """What happens, again and again."""

    def later() -> None:
        clock.now = NOW + 2 * DAY

    def now() -> None:
        clock.now = NOW

    for number in range(2, 12):
        yield lambda: deny_certificate(store, issuer, 5, now=NOW)
        yield later
        yield lambda: lift_denial(store, issuer, 5, now=NOW)
        yield now
        yield lambda number=number: publish(  # type: ignore[misc]
            store, CA, number, revoked=(number % 3 + 5,), next_update=NOW + DAY
        )
