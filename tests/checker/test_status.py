"""
What a checker says of itself: whether anybody could be cleared, and what is wrong.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from crlcheck.checker import health
from crlcheck.checker.checker import CheckerStatus, RevocationChecker
from crlcheck.checker.sections import Section, sections_of
from crlcheck.demo.encoding import der, encode_extension
from crlcheck.publisher.operator import remove_scope
from crlcheck.types import Policy, ProblemKind, RevocationStatus, StaleRule, UndeterminedCause
from support import tampering
from support.checking import (
    BAD,
    CA,
    FOREIGN,
    GOOD,
    OTHER_CA,
    Clock,
    CountingStore,
    make_checker,
    make_index,
    publish,
)
from support.issuers import world
from support.pki import DAY, NOW, delta_of, make_authority, make_client, make_crl
from support.publishing import catalog_of
from support.publishing import publish as publish_bytes

NOT_REVOKED = RevocationStatus.NOT_REVOKED
HOUR = timedelta(hours=1)
GRACE = Policy(stale=StaleRule.GRACE, stale_grace=2 * DAY)


@pytest.fixture(autouse=True)
def is_answering_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever a test asks for the status, the short question has the same answer."""
    status = RevocationChecker.status

    def both(checker: RevocationChecker) -> CheckerStatus:
        found = status(checker)
        assert checker.is_answering() is found.answering
        return found

    monkeypatch.setattr(RevocationChecker, "status", both)


POINT = der(0xA0, der(0xA0, der(0x86, b"http://ca.test/1")))
"""The field distributionPoint of an issuingDistributionPoint."""


def scope_of(content: bytes) -> bytes:
    """An issuingDistributionPoint with these fields."""
    return encode_extension("2.5.29.28", der(0x30, content), critical=True)


def kinds(status: CheckerStatus) -> list[ProblemKind]:
    """The kinds of problems, in their order."""
    return [problem.kind for problem in status.problems]


def until(store: Any, days: int, number: int = 1, authority: Any = CA) -> None:
    """Publish a CRL that is valid for so long."""
    crl = make_crl(authority, number, [2], next_update=NOW + days * DAY)
    publish_bytes(store, crl, authority.pem)


def is_cleared(checker: RevocationChecker, certificate: bytes = GOOD) -> bool:
    """Whether a certificate that is not listed is NOT_REVOKED."""
    return checker.check(certificate).status is NOT_REVOKED


# ---- answering ---------------------------------------------------------------------


def test_before_there_is_a_set_nobody_is_answered() -> None:
    """
    A checker that nobody has used says so, one whose store was never there says why;
    ``preload`` is enough where it is.
    """
    store = CountingStore()
    checker = make_checker(store)
    status = checker.status()
    assert (status.answering, kinds(status)) == (False, [ProblemKind.NOT_LOADED])
    assert "nobody has asked" in status.problems[0].detail
    assert status.problems[0].is_error
    checker.check(GOOD)
    status = checker.status()
    assert (status.answering, kinds(status)) == (False, [ProblemKind.NOT_LOADED])
    assert "catalog.json" in status.problems[0].detail
    publish(store)
    checker.preload()
    assert checker.status().answering
    assert checker.status().problems == ()


def test_a_set_that_is_too_old_answers_nobody() -> None:
    """
    As the verdicts say, to the second.
    """
    store, clock = CountingStore(), Clock()
    publish(store)
    checker = make_checker(store, clock=clock, max_catalog_age=HOUR)
    assert is_cleared(checker)
    store.is_down = True
    for age, answers in ((HOUR, True), (HOUR + timedelta(seconds=1), False)):
        clock.now = NOW + age
        assert is_cleared(checker) is answers
        status = checker.status()
        assert status.answering is answers
        assert kinds(status) == [ProblemKind.TOO_OLD] * (not answers) + [ProblemKind.STORE_FAILING]


def test_a_store_that_fails_while_the_last_set_answers_is_a_warning() -> None:
    """
    The status has it as a problem, and it is no outage.
    """
    store = CountingStore()
    publish(store)
    checker = make_checker(store)
    assert is_cleared(checker)
    store.is_down = True
    assert is_cleared(checker)
    status = checker.status()
    assert status.answering
    (problem,) = status.problems
    assert (problem.kind, problem.is_error) == (ProblemKind.STORE_FAILING, False)
    assert problem.detail == status.error
    store.is_down = False
    assert is_cleared(checker)
    assert checker.status().problems == ()


@pytest.mark.parametrize("policy", [Policy(), GRACE])
def test_the_only_crl_has_expired(policy: Policy) -> None:
    """
    Nobody is cleared by it, and the status says so at the same second, grace included.
    """
    store, clock = CountingStore(), Clock()
    until(store, 1)
    checker = make_checker(store, clock=clock, policy=policy)
    for days in (0, 1, 1.001, 2.999, 3, 3.001):
        clock.now = NOW + days * DAY
        cleared = is_cleared(checker)
        assert cleared is (days <= (3 if policy is GRACE else 1))
        status = checker.status()
        assert status.answering is cleared
        assert kinds(status) == [] if cleared else [ProblemKind.STALE]
    (problem,) = status.problems
    assert problem.is_error
    assert problem.scope == status.scopes[0].scope
    assert "CRL 1 of CN=Example CA has been stale since 2026-03-02" in problem.detail


def test_one_of_several_crls_has_expired() -> None:
    """
    The others' clients are served: a problem, and no outage.
    """
    store, clock = CountingStore(), Clock()
    until(store, 1)
    until(store, 9, authority=OTHER_CA)
    checker = make_checker(store, clock=clock)
    clock.now = NOW + 2 * DAY
    assert not is_cleared(checker)
    assert is_cleared(checker, make_client(OTHER_CA, 5))
    status = checker.status()
    assert status.answering
    assert kinds(status) == [ProblemKind.STALE]
    assert "Example CA" in status.problems[0].detail


def test_a_delta_keeps_an_expired_complete_crl_current() -> None:
    """
    The later of the two says whether they are current, for verdicts and status.
    """
    store, clock = CountingStore(), Clock()
    until(store, 1)
    delta = make_crl(CA, 2, [7], next_update=NOW + 3 * DAY, extensions=[delta_of(1)])
    publish_bytes(store, delta, CA.pem)
    checker = make_checker(store, clock=clock)
    for days, answers in ((2, True), (4, False)):
        clock.now = NOW + days * DAY
        assert is_cleared(checker) is answers
        assert checker.status().answering is answers
    assert "delta CRL 2" in checker.status().problems[0].detail


def test_a_crl_that_has_not_begun() -> None:
    """
    A clock that was set back far enough makes it so.
    """
    store, clock = CountingStore(), Clock()
    publish(store)
    checker = make_checker(store, clock=clock)
    assert is_cleared(checker)
    clock.now = NOW - 9999 * DAY
    assert not is_cleared(checker)
    status = checker.status()
    assert (status.answering, kinds(status)) == (False, [ProblemKind.NOT_YET_VALID])


def test_a_set_without_any_crl() -> None:
    """
    The last scope was removed: nobody can be cleared.
    """
    store = CountingStore()
    publish(store)
    checker = make_checker(store)
    (scope,) = catalog_of(store).scopes
    remove_scope(store, scope)
    assert not is_cleared(checker)
    status = checker.status()
    assert (status.answering, kinds(status)) == (False, [ProblemKind.NOTHING_PUBLISHED])


@pytest.mark.parametrize("num_broken", [1, 2])
def test_images_that_cannot_be_loaded(num_broken: int) -> None:
    """
    One that is gone takes its issuer's clients, and all of them everybody.
    """
    store = CountingStore()
    names = [publish(store), publish(store, authority=OTHER_CA)]
    for name in names[:num_broken]:
        store.delete(name)
    checker = make_checker(store)
    assert not is_cleared(checker)
    assert is_cleared(checker, make_client(OTHER_CA, 5)) is (num_broken == 1)
    status = checker.status()
    assert status.answering is (num_broken == 1)
    assert kinds(status) == [ProblemKind.IMAGE_UNAVAILABLE] * num_broken


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("can't start new thread")])
def test_an_image_that_fails_by_anything_is_undetermined(error: Exception) -> None:
    """
    It is tried once by all who need it, told, and raises nothing from a check.
    """
    store = CountingStore()
    publish(store)
    before = store.before

    def fail(operation: str, name: str) -> None:
        assert before is not None
        before(operation, name)
        if operation == "load":
            raise error

    store.before = fail
    checker = make_checker(store)
    for _ in range(3):
        result = checker.check(GOOD)
        assert result.cause is UndeterminedCause.STORE_UNAVAILABLE
        assert type(error).__name__ in result.detail
    assert store.counts["load"] == 1
    status = checker.status()
    assert (status.answering, kinds(status)) == (False, [ProblemKind.IMAGE_UNAVAILABLE])


class Hierarchy:
    """A root and an issuing CA, each with a CRL, and a client of the latter."""

    def __init__(self, root_days: int = 9, *, revoked: bool = False) -> None:
        self.root = make_authority("Root CA")
        self.issuing = make_authority("Issuing CA", self.root)
        self.client = make_client(self.issuing, 1)
        self.store = CountingStore()
        serials = [self.issuing.certificate.serial_number] if revoked else []
        crl = make_crl(self.root, 1, serials, next_update=NOW + root_days * DAY)
        self.root_image = publish_bytes(self.store, crl, self.root.pem).image_name
        publish_bytes(
            self.store,
            make_crl(self.issuing, 1, [2]),
            [self.root.pem, self.issuing.pem],
        )


def test_a_root_whose_crl_has_expired_takes_all_below_it() -> None:
    """
    The issuing CA's own CRL is current, and yet none of its clients is cleared:
    the status says so, and follows the policy's depth.
    """
    world, clock = Hierarchy(root_days=1), Clock()
    clock.now = NOW + 2 * DAY
    checker = make_checker(world.store, clock=clock)
    assert not is_cleared(checker, world.client)
    status = checker.status()
    assert not status.answering
    assert kinds(status) == [ProblemKind.STALE, ProblemKind.PATH_UNDETERMINED]
    assert "CN=Issuing CA" in status.problems[1].detail
    short = make_checker(world.store, clock=clock, policy=Policy(path_depth=0))
    assert is_cleared(short, world.client)
    assert short.status().answering
    assert kinds(short.status()) == [ProblemKind.STALE]


def test_the_status_loads_no_image() -> None:
    """
    Images that are not open count as in order, until one could not be loaded. What is held
    of the set is not read again.
    """
    world = Hierarchy()
    checker = make_checker(world.store)
    checker.refresh()
    world.store.counts.clear()
    assert (checker.status().answering, checker.status().problems) == (True, ())
    assert world.store.counts == {"read": 1}
    world.store.delete(world.root_image)
    assert not is_cleared(checker, world.client)
    status = checker.status()
    assert not status.answering
    assert kinds(status) == [ProblemKind.IMAGE_UNAVAILABLE, ProblemKind.PATH_UNDETERMINED]


def test_an_image_that_is_loaded_counts_with_all_that_it_lists() -> None:
    """
    Where it lists the signer of the CRL above, nobody below is cleared, and the status
    says so as soon as the image is there.
    """
    root = make_authority("Root CA")
    middle, crl_key = (make_authority("Middle CA", root) for _ in range(2))
    issuing = make_authority("Issuing CA", middle)
    revoked = [crl_key.certificate.serial_number]
    store = world(
        (root, revoked), (crl_key, []), (issuing, []), issuers=[root, middle, crl_key, issuing]
    )
    checker = make_checker(store)
    checker.refresh()
    assert checker.status().problems == ()
    checker.preload()
    result = checker.check(make_client(issuing, 1))
    assert result.cause is UndeterminedCause.CRL_SIGNER_REVOKED
    (problem,) = checker.status().problems
    assert problem.kind is ProblemKind.PATH_UNDETERMINED
    assert "CN=Issuing CA" in problem.detail


def test_an_older_crl_in_its_time_answers_nobody_where_a_newer_one_hides_it() -> None:
    """
    The newest CRL that covers a certificate decides whether the answer is stale:
    a partition that is current clears nobody beside a newer CRL for all that is not.
    """
    store, clock = CountingStore(), Clock()
    partition = scope_of(POINT)
    old = make_crl(CA, 1, this_update=NOW - 9 * DAY, extensions=[partition])
    publish_bytes(store, old, CA.pem)
    until(store, 1, number=2)
    client = CA.issue("c", serial_number=1, distribution_points=["http://ca.test/1"])
    checker = make_checker(store, clock=clock)
    assert is_cleared(checker, client.der)
    assert checker.status().answering
    clock.now = NOW + 2 * DAY
    assert not is_cleared(checker, client.der)
    status = checker.status()
    assert not status.answering
    assert kinds(status) == [ProblemKind.STALE, ProblemKind.CLEARS_NOBODY]
    assert "CRL 1 of CN=Example CA clears no certificate: stale" in status.problems[1].detail


@pytest.mark.parametrize(
    "form", ["some reasons", "all reasons in two", "attribute certificates", "CA certificates"]
)
def test_what_a_crl_is_for_decides_whether_it_answers_anybody(form: str) -> None:
    """
    One for some reasons clears nobody alone, and does so beside one for the others;
    one for attribute certificates covers no certificate here.
    """
    other = der(0xA0, der(0xA0, der(0x86, b"http://ca.test/2")))
    contents = {
        "some reasons": [POINT + b"\x83\x02\x06\x40"],
        "all reasons in two": [POINT + b"\x83\x02\x06\x40", other + b"\x83\x03\x07\x3f\x80"],
        "attribute certificates": [b"\x85\x01\xff"],
        "CA certificates": [POINT + b"\x82\x01\xff"],
    }
    store = CountingStore()
    for content in contents[form]:
        publish_bytes(store, make_crl(CA, 1, extensions=[scope_of(content)]), CA.pem)
    checker = make_checker(store)
    checker.preload()
    status = checker.status()
    assert status.answering is (form in ("all reasons in two", "CA certificates"))
    assert kinds(status) == ([] if status.answering else [ProblemKind.CLEARS_NOBODY])


def test_a_revoked_issuer_is_an_answer() -> None:
    """
    All its clients are turned away for what they are: the service is well.
    """
    world = Hierarchy(revoked=True)
    checker = make_checker(world.store)
    assert checker.check(world.client).status is RevocationStatus.REVOKED
    assert (checker.status().answering, checker.status().problems) == (True, ())


def test_an_issuer_that_nobody_verified() -> None:
    """
    Paths end at it by its name and key ids alone, which is a warning.
    """
    store = CountingStore()
    publish(store)

    def unverified(entries: dict[str, Any]) -> None:
        (key,) = (key for key in entries if "/i/" in key)
        del entries[key]["self_signed"]

    tampering.rewrite(store, unverified)
    checker = make_checker(store)
    assert is_cleared(checker)
    status = checker.status()
    assert (status.answering, kinds(status)) == (True, [ProblemKind.UNVERIFIED_ISSUER])
    assert "CN=Example CA" in status.problems[0].detail
    assert not status.problems[0].is_error


def test_indexes_that_were_handed_over() -> None:
    """
    They answer as long as one of them is current.
    """
    clock = Clock()
    indexes = [make_index(next_update=NOW + DAY), make_index(OTHER_CA, next_update=NOW + 3 * DAY)]
    checker = make_checker(indexes, clock=clock)
    for days, answering, num_stale in ((0, True, 0), (2, True, 1), (4, False, 2)):
        clock.now = NOW + days * DAY
        status = checker.status()
        assert status.answering is answering
        assert kinds(status) == [ProblemKind.STALE] * num_stale
        assert is_cleared(checker, make_client(OTHER_CA, 5)) is answering


# ---- as JSON and text --------------------------------------------------------------


def test_problems_are_json_too() -> None:
    """
    The kind as a stable word, errors before warnings.
    """
    store, clock = CountingStore(), Clock()
    until(store, 1)
    checker = make_checker(store, clock=clock)
    checker.check(GOOD)
    clock.now = NOW + 2 * DAY
    store.is_down = True
    checker.check(FOREIGN)
    shown = json.loads(json.dumps(checker.status().as_dict()))
    assert shown["answering"] is False
    assert [(one["kind"], one["is_error"]) for one in shown["problems"]] == [
        ("stale", True),
        ("store_failing", False),
    ]
    assert shown["problems"][0]["scope"] == shown["scopes"][0]["scope"]
    assert shown["problems"][1]["detail"] == shown["error"]


def test_a_store_that_was_never_there_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    """
    At the first failure, and again only after it was there.
    """
    store = CountingStore()
    checker = make_checker(store)
    with caplog.at_level(logging.WARNING, "crlcheck"):
        for _ in range(5):
            checker.check(GOOD)
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "no published set could be read" in record.getMessage()
    assert store.url in record.getMessage()


@pytest.mark.parametrize("is_down", [False, True])
@pytest.mark.parametrize("age", [timedelta(0), 2 * HOUR, 90 * DAY], ids=str)
def test_answering_is_what_a_good_client_gets(is_down: bool, age: timedelta) -> None:
    """
    Whatever becomes of the store and the only CRL, status and verdict agree.
    """
    store, clock = CountingStore(), Clock()
    publish(store)
    checker = make_checker(store, clock=clock, max_catalog_age=HOUR)
    checker.check(BAD)
    store.is_down, clock.now = is_down, NOW + age
    assert is_cleared(checker) is checker.status().answering


@pytest.mark.parametrize("replaced", [True, False])
def test_an_expired_crl_that_is_replaced_is_a_warning(replaced: bool) -> None:
    """
    It makes nobody stale, as the verdicts say: a retired key's CRL that is older than its
    successor's. One that is newer still makes all of them stale.
    """
    old = make_authority("Rolling CA")
    new = make_authority("Rolling CA", parent=old)
    store, clock = CountingStore(), Clock()
    issuers = [old.der, new.der]
    last = make_crl(old, 5 if replaced else 90, next_update=NOW + HOUR)
    retired = publish_bytes(store, last, issuers).scope
    current = publish_bytes(store, make_crl(new, 10), issuers).scope
    checker = make_checker(store, clock=clock)
    checker.preload()
    assert checker.status().problems == ()
    clock.now = NOW + 2 * HOUR
    assert is_cleared(checker, make_client(new, 7)) is replaced
    assert is_cleared(checker, make_client(old, 7)) is replaced
    status = checker.status()
    assert status.answering is replaced
    problem = next(one for one in status.problems if one.scope == retired)
    assert problem.is_error is not replaced
    if replaced:
        assert kinds(status) == [ProblemKind.EXPIRED_REPLACED]
        assert f"replaced by the newer CRL 10 of CN=Rolling CA (scope {current})" in problem.detail
    else:
        assert problem.kind is ProblemKind.STALE


def test_whether_it_answers_is_known_from_a_part_of_a_large_set(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    Where a CRL in it is current. Else all of it is gone through, however often it is asked.
    """
    num_read = []

    def ten_times(views: Any, failed: Any) -> Iterator[Section]:
        for number in range(10):
            num_read.append(number)
            yield from sections_of(views, failed)

    monkeypatch.setattr(health, "sections_of", ten_times)
    store, clock = CountingStore(), Clock()
    publish(store)
    checker = make_checker(store, clock=clock)
    checker.check(GOOD)
    assert checker.is_answering()
    assert num_read == [0]
    clock.now = NOW + 90 * DAY
    assert not checker.is_answering()
    assert num_read == [0, *range(10)]
