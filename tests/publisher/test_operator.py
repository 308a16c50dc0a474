"""What an operator does by hand: scopes removed and reset, certificates denied, clean-up."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest

from crlcheck.catalog.published_set import read_set
from crlcheck.catalog.root import CATALOG_NAME
from crlcheck.checker.checker import RevocationChecker
from crlcheck.errors import CrlRollbackError, CrlShrinkError, StoreUnavailableError
from crlcheck.publisher.issuers import remove_issuer, set_issuer
from crlcheck.publisher.operator import (
    advance_generation,
    deny_certificate,
    grant_grace,
    lift_denial,
    override_scope,
    remove_scope,
    reset_scope,
)
from crlcheck.publisher.rejections import read_rejections
from crlcheck.types import Policy, RevocationStatus, Rule, UndeterminedCause
from crlcheck.x509.certificates import load_certificate
from support.memory_store import MemoryStore
from support.pki import DAY, NOW, delta_of, make_authority, make_client, make_crl
from support.publishing import CA, catalog_of, images_of, publish

HOUR = timedelta(hours=1)
NAME = load_certificate(CA.der).subject


def checker_at(
    store: MemoryStore, now: datetime = NOW, policy: Policy | None = None
) -> RevocationChecker:
    """A checker at that time."""
    return RevocationChecker(store, policy=policy, clock=lambda: now)


# ---- scopes ------------------------------------------------------------------------


NO: Any = "no"
HALF: Any = 5.5
TWO: Any = "2"
NAIVE = NOW.replace(tzinfo=None) + DAY


def scope_in(store: MemoryStore) -> str:
    """The only scope."""
    (scope,) = catalog_of(store).scopes
    return scope


def issuer_in(store: MemoryStore) -> str:
    """The fingerprint of the only issuer."""
    (issuer,) = catalog_of(store).issuers
    return issuer.fingerprint


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda s: deny_certificate(s, b"junk", 2), ValueError, "issuer: expected a Name"),
        (lambda s: deny_certificate(s, CA.pem, 2), ValueError, "issuer: expected a Name"),
        (lambda s: deny_certificate(s, NAME, TWO), TypeError, "serial_number: expected an int"),
        (lambda s: deny_certificate(s, NAME, 1 << 4096), ValueError, "1024 hex digits"),
        (lambda s: deny_certificate(s, NAME, 2, until=NAIVE), ValueError, "expected an aware"),
        (
            lambda s: override_scope(s, scope_in(s), covers_no_distribution_point=NO),
            TypeError,
            "expected True or False, found 'no'",
        ),
        (lambda s: advance_generation(s, above=HALF), TypeError, "above: expected an int"),
        (
            lambda s: set_issuer(s, issuer_in(s), is_anchor=NO),
            TypeError,
            "is_anchor: expected True, False or None",
        ),
    ],
)
def test_nothing_is_written_that_no_reader_takes_or_that_does_nothing(
    change: Any, error: type[Exception], message: str
) -> None:
    """
    A catalog with a word for a setting, or a number that is too long, would be refused by
    every reader; a denial under what is no Name would deny nobody.
    """
    store = MemoryStore()
    publish(store, make_crl(CA, 1))
    before = store.read(CATALOG_NAME).body
    with pytest.raises(error, match=message):
        change(store)
    assert store.read(CATALOG_NAME).body == before


def test_a_removed_scope_speaks_no_longer_and_is_remembered() -> None:
    """
    Its certificates become UNDETERMINED; of its CRLs only a newer one brings it back.
    """
    store = MemoryStore()
    scope = publish(store, make_crl(CA, 5, [7])).scope
    assert remove_scope(store, scope, note="CA retired", now=NOW) == 2
    result = checker_at(store).check(make_client(CA, 7))
    assert result.cause is UndeterminedCause.OUT_OF_SCOPE
    tombstone = catalog_of(store).tombstones[scope]
    assert (tombstone.note, tombstone.base.crl_number, tombstone.at) == ("CA retired", 5, NOW)
    for number in (4, 5):
        with pytest.raises(CrlRollbackError, match="removed on 2026-03-01T00:00:00Z"):
            publish(store, make_crl(CA, number))
    assert publish(store, make_crl(CA, 6, [7])).published
    assert checker_at(store).check(make_client(CA, 7)).status is RevocationStatus.REVOKED
    with pytest.raises(CrlRollbackError):
        publish(store, make_crl(CA, 5))


def test_a_reset_scope_takes_one_older_crl() -> None:
    """
    What is published stays until then; afterwards CRLs must be newer again.
    """
    store = MemoryStore()
    scope = publish(store, make_crl(CA, 50, [7])).scope
    reset_scope(store, scope, note="numbered anew", now=NOW)
    assert checker_at(store).check(make_client(CA, 7)).status is RevocationStatus.REVOKED
    assert not publish(store, make_crl(CA, 50, [7])).published
    assert publish(store, make_crl(CA, 3, [8])).published
    with pytest.raises(CrlRollbackError):
        publish(store, make_crl(CA, 2))
    assert catalog_of(store).tombstones[scope].note == "numbered anew"


def test_a_reset_drops_the_delta_of_the_old_numbers() -> None:
    """
    Numbers of two series say nothing about each other, even where they happen to fit.
    """
    store = MemoryStore()
    scope = publish(store, make_crl(CA, 5)).scope
    publish(store, make_crl(CA, 9, [7], extensions=[delta_of(2)]))
    reset_scope(store, scope, now=NOW)
    publish(store, make_crl(CA, 3))
    assert catalog_of(store).scopes[scope].delta is None


def test_it_is_said_how_much_is_un_revoked_with_a_scope(caplog: pytest.LogCaptureFixture) -> None:
    """
    Of the complete CRL and of its delta, also where they go with their issuer.
    """
    store = MemoryStore()
    scope = publish(store, make_crl(CA, 5, [7, 8])).scope
    publish(store, make_crl(CA, 6, [9], extensions=[delta_of(5)]))
    remove_scope(store, scope, now=NOW)
    said = "2 revocations by CRL 5 of CN=Example CA with it, and 1 revocation by delta CRL 6"
    assert f"scope {scope}: removed, and {said} of CN=Example CA with it" in caplog.text
    publish(store, make_crl(CA, 7))
    caplog.clear()
    remove_issuer(store, catalog_of(store).issuers[0].fingerprint, now=NOW)
    assert "removed, and 0 revocations by CRL 7 of CN=Example CA with it" in caplog.text


def test_a_removed_scope_can_be_reset() -> None:
    """
    Then it takes an older CRL, too.
    """
    store = MemoryStore()
    scope = publish(store, make_crl(CA, 5)).scope
    remove_scope(store, scope, now=NOW)
    reset_scope(store, scope, now=NOW)
    assert publish(store, make_crl(CA, 4)).published


def test_scopes_that_are_not_there() -> None:
    """
    A name that is not there is a ValueError, a store without a catalog says so.
    """
    store = MemoryStore()
    publish(store, make_crl(CA))
    for act in (remove_scope, reset_scope):
        with pytest.raises(ValueError, match="no such scope"):
            act(store, "another")
        with pytest.raises(FileNotFoundError):
            act(MemoryStore(), "any")


# ---- the deny list -----------------------------------------------------------------


def test_a_denied_certificate_is_revoked_at_once() -> None:
    """
    Before the CA has published anything about it, in words of its own.
    """
    store = MemoryStore()
    publish(store, make_crl(CA, 1))
    deny_certificate(store, NAME, 7, note="stolen laptop", until=NOW + HOUR, now=NOW)
    result = checker_at(store).check(make_client(CA, 7))
    assert (result.status, result.denied) == (RevocationStatus.REVOKED, True)
    assert "is denied by the operator's deny list: stolen laptop" in result.detail
    assert result.as_dict()["denied"] is True
    assert checker_at(store).check(make_client(CA, 8)).status is RevocationStatus.NOT_REVOKED
    # A namesake of the issuer cannot be told apart by name and number, so it fails closed.
    assert checker_at(store).check(make_client(make_authority(), 7)).denied
    later = checker_at(store, NOW + HOUR).check(make_client(CA, 7))
    assert (later.status, later.denied) == (RevocationStatus.NOT_REVOKED, False)


def test_a_denial_outlives_publications_until_it_is_lifted() -> None:
    """
    New CRLs keep the list, and lifting a denial takes nothing from what CRLs say.
    """
    store = MemoryStore()
    publish(store, make_crl(CA, 1))
    deny_certificate(store, NAME, 7, now=NOW)
    deny_certificate(store, NAME, 8, now=NOW)
    publish(store, make_crl(CA, 2, [8]))
    assert checker_at(store).check(make_client(CA, 7)).denied
    for serial in (7, 8):
        lift_denial(store, NAME, serial, now=NOW)
    assert checker_at(store).check(make_client(CA, 7)).status is RevocationStatus.NOT_REVOKED
    assert checker_at(store).check(make_client(CA, 8)).status is RevocationStatus.REVOKED
    with pytest.raises(ValueError, match="not denied"):
        lift_denial(store, NAME, 7, now=NOW)


def test_no_policy_waives_a_denial() -> None:
    """
    Not even for certificates whose issuer nobody knows.
    """
    store = MemoryStore()
    publish(store, make_crl(CA, 1))
    stranger = make_authority("Stranger")
    deny_certificate(store, load_certificate(stranger.der).subject, 7, now=NOW)
    checker = checker_at(store, policy=Policy(unknown_issuer=Rule.ALLOW, hold=Rule.ALLOW))
    assert checker.check(make_client(stranger, 7)).status is RevocationStatus.REVOKED
    assert checker.check(make_client(stranger, 8)).status is RevocationStatus.NOT_REVOKED


def test_a_denied_intermediate_denies_what_it_issued() -> None:
    """
    The deny list counts for every certificate of a path.
    """
    store = MemoryStore()
    intermediate = make_authority("Intermediate", parent=CA)
    both = [CA.pem, intermediate.pem]
    publish(store, make_crl(CA, 1), both)
    publish(store, make_crl(intermediate, 1), both)
    client = make_client(intermediate, 7)
    assert checker_at(store).check(client).status is RevocationStatus.NOT_REVOKED
    deny_certificate(store, NAME, load_certificate(intermediate.der).serial_number, now=NOW)
    result = checker_at(store).check(client)
    assert (result.status, result.denied) == (RevocationStatus.REVOKED, True)


def test_a_denial_must_end_after_it_begins() -> None:
    """
    One that is over already would deny nothing, and nobody would notice.
    """
    store = MemoryStore()
    publish(store, make_crl(CA, 1))
    with pytest.raises(ValueError, match="expected a time after"):
        deny_certificate(store, NAME, 7, until=NOW - HOUR, now=NOW)
    with pytest.raises(ValueError, match="at most 500 characters"):
        deny_certificate(store, NAME, 7, note="x" * 501, now=NOW)


# ---- the shrink guard --------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "after", "held"),
    [(100, 0, True), (100, 49, True), (100, 50, False), (11, 0, True), (10, 0, False)],
)
def test_a_crl_that_lost_most_entries_is_not_published(before: int, after: int, held: bool) -> None:
    """
    An empty list by mistake un-revokes everybody: the operator must allow it.
    """
    store = MemoryStore()
    publish(store, make_crl(CA, 1, range(1, before + 1)))
    shrunk = make_crl(CA, 2, range(1, after + 1))
    if not held:
        assert publish(store, shrunk).published
        return
    with pytest.raises(CrlShrinkError) as caught:
        publish(store, shrunk)
    assert (caught.value.offered, caught.value.published) == (after, before)
    assert len(images_of(store)) == 1
    assert publish(store, shrunk, allow_shrink=True).published


# ---- status objects ----------------------------------------------------------------


def test_a_refused_crl_leaves_its_status_until_one_is_published() -> None:
    """
    It says why, and what goes on being used.
    """
    store = MemoryStore()
    publish(store, make_crl(CA, 2), source_name="crl/ca.crl")
    with pytest.raises(CrlRollbackError) as caught:
        publish(store, make_crl(CA, 1), source_name="crl/ca.crl")
    with pytest.raises(CrlRollbackError):
        publish(store, make_crl(CA, 1), source_name="crl/other.crl")
    first, other = read_rejections(store)
    assert (first.source, first.cause, first.at) == ("crl/ca.crl", "rollback", NOW)
    assert first.detail == str(caught.value)
    assert first.serving == ("CRL 2 of CN=Example CA",)
    assert other.serving == ()
    publish(store, make_crl(CA, 3), source_name="crl/ca.crl")
    assert [one.source for one in read_rejections(store)] == ["crl/other.crl"]


def test_a_status_that_cannot_be_written_hides_no_error(caplog: pytest.LogCaptureFixture) -> None:
    """
    The refusal is what is raised.
    """
    store = MemoryStore()
    publish(store, make_crl(CA, 2))

    def before(operation: str, name: str) -> None:
        if name.startswith("status/"):
            raise StoreUnavailableError("no answer")

    store.before = before
    with pytest.raises(CrlRollbackError):
        publish(store, make_crl(CA, 1), source_name="x")
    assert publish(store, make_crl(CA, 3), source_name="x").published
    assert "status of x was not written to memory:: no answer" in caplog.text
    assert "status of x was not removed from memory:: no answer" in caplog.text


# ---- rebuilding --------------------------------------------------------------------


def test_the_same_crl_rebuilds_its_image_where_that_is_gone() -> None:
    """
    Only on demand: a publication in the ordinary way looks at no image.
    """
    store = MemoryStore()
    crl = make_crl(CA, 1, [7])
    first = publish(store, crl)
    assert not publish(store, crl, rebuild=True).published
    store.delete(first.image_name)
    assert not publish(store, crl).published
    again = publish(store, crl, rebuild=True)
    assert again.published
    assert again.image_name != first.image_name
    assert checker_at(store).check(make_client(CA, 7)).status is RevocationStatus.REVOKED


def test_the_same_crl_compiled_otherwise_is_rebuilt() -> None:
    """
    Another option, or another version of the compiler, makes another image.
    """
    store = MemoryStore()
    crl = make_crl(CA, 1, [7])
    publish(store, crl)
    assert not publish(store, crl, attributes=False).published
    assert publish(store, crl, attributes=False, rebuild=True).published


# ---- what changed ------------------------------------------------------------------


def test_the_report_counts_what_changed() -> None:
    """
    Newly revoked and lifted are counted up to the size allowed, else left open.
    """
    store = MemoryStore()
    first = publish(store, make_crl(CA, 1, [1, 2, 3]), compare_up_to=10)
    assert (first.num_newly_revoked, first.num_lifted) == (3, 0)
    second = publish(store, make_crl(CA, 2, [2, 3, 4, 5, 6]), compare_up_to=10)
    assert (second.num_newly_revoked, second.num_lifted) == (3, 1)
    third = publish(store, make_crl(CA, 3, [2]), compare_up_to=4)
    assert (third.num_newly_revoked, third.num_lifted) == (None, None)
    assert set(third.seconds) == {"compile", "upload", "swap", "compare"}


def test_the_history_has_the_time_that_was_given() -> None:
    """
    Of each change that takes a time, so that a denial and its record are of one moment.
    """
    store = MemoryStore()
    publish(store, make_crl(CA, 1))
    (scope,) = catalog_of(store).scopes
    moment = NOW + 3 * DAY
    changes: tuple[Callable[[], object], ...] = (
        lambda: deny_certificate(store, NAME, 7, now=moment),
        lambda: lift_denial(store, NAME, 7, now=moment),
        lambda: grant_grace(store, until=moment + DAY, now=moment),
        lambda: reset_scope(store, scope, now=moment),
        lambda: remove_scope(store, scope, now=moment),
        lambda: remove_issuer(store, catalog_of(store).issuers[0].fingerprint, now=moment),
    )
    for change in changes:
        change()
        assert read_set(store)[0].root.at == moment
