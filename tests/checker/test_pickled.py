"""A checker that is given to another process answers there from the set that it had here."""

from __future__ import annotations

import functools
import pickle
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from crlcheck import (
    CheckResult,
    LocalStore,
    Policy,
    RevocationChecker,
    RevocationStatus,
    Rule,
    StoreUnavailableError,
    deny_certificate,
    open_index,
    publish_crl,
    store_at,
)
from crlcheck.publisher.clean_up import clean_up
from crlcheck.stores.https import HttpsStore
from crlcheck.types import UndeterminedCause
from support.checking import BAD, CA, GOOD, OTHER_CA
from support.pki import DAY, NOW, make_client, make_crl
from support.root_keys import MemoryKey

NOT_REVOKED, REVOKED = RevocationStatus.NOT_REVOKED, RevocationStatus.REVOKED
KEY = MemoryKey()


def clock_at(moment: datetime) -> Callable[[], datetime]:
    """A clock that stands still, which another process can have."""
    return functools.partial(datetime.fromisoformat, moment.isoformat())


CLOCK = clock_at(NOW)


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    """A store with one CRL, which revokes BAD."""
    made = LocalStore(tmp_path / "published")
    publish_crl(make_crl(CA, 1, [2]), made, issuer=CA.der, now=NOW)
    return made


def sent(checker: RevocationChecker) -> RevocationChecker:
    """The checker as another process would have it."""
    made: RevocationChecker = pickle.loads(pickle.dumps(checker))
    return made


_ELSEWHERE = """
import pickle, sys
checker, certificates = pickle.load(sys.stdin.buffer)
results = [checker.check(one) for one in certificates]
pickle.dump((checker.generation, results), sys.stdout.buffer)
"""


def elsewhere(checker: RevocationChecker, *certificates: bytes) -> tuple[int, list[CheckResult]]:
    """Check certificates in another process, which has only what is pickled."""
    done = subprocess.run(
        [sys.executable, "-c", _ELSEWHERE],
        input=pickle.dumps((checker, certificates)),
        stdout=subprocess.PIPE,
        check=True,
    )
    found: tuple[int, list[CheckResult]] = pickle.loads(done.stdout)
    return found


def test_another_process_answers_from_the_generation_of_the_checker(store: LocalStore) -> None:
    """
    In every field as here, although another generation is published meanwhile.
    """
    checker = RevocationChecker(store, clock=CLOCK)
    here = [checker.check(one) for one in (GOOD, BAD)]
    message = pickle.dumps(checker)
    publish_crl(make_crl(CA, 2, [1]), store, issuer=CA.der, now=NOW)
    there, results = elsewhere(pickle.loads(message), GOOD, BAD)
    assert there == 1
    assert [result.status for result in results] == [NOT_REVOKED, REVOKED]
    assert [one.as_dict() for one in results] == [one.as_dict() for one in here]
    assert checker.check(GOOD).status is REVOKED


def test_it_does_not_follow_the_store(store: LocalStore) -> None:
    """
    Nor does a checker that was made from it, and sent on.
    """
    other = sent(RevocationChecker(store, clock=CLOCK))
    publish_crl(make_crl(CA, 2, []), store, issuer=CA.der, now=NOW)
    deny_certificate(store, CA.certificate.subject.public_bytes(), 1, now=NOW)
    for one in (other, sent(other), sent(sent(other))):
        assert one.check(BAD).status is REVOKED
        assert one.check(GOOD).status is NOT_REVOKED
        assert one.generation == 1


def test_denials_of_the_set_go_with_it(store: LocalStore) -> None:
    """
    A denial is part of the set.
    """
    deny_certificate(store, CA.certificate.subject.public_bytes(),
                     1, now=NOW)  # fmt: skip
    assert sent(RevocationChecker(store, clock=CLOCK)).check(GOOD).status is REVOKED


def test_issuers_anchors_and_policy_go_with_it(store: LocalStore) -> None:
    """
    Whatever they were given as.
    """
    client = make_client(OTHER_CA, 7)
    policy = Policy(unpublished_issuers=[OTHER_CA.certificate], hold=Rule.ALLOW)
    checker = RevocationChecker(
        store, clock=CLOCK, issuers=[OTHER_CA.certificate], trust_anchors=[CA.certificate],
        policy=policy, image_loading="pages_then_whole", image_memory=1 << 20,
    )  # fmt: skip
    for one in (checker, sent(checker)):
        result = one.check(client)
        assert (result.status, result.cause) == (
            checker.check(client).status,
            checker.check(client).cause,
        )
        assert one.check(GOOD).status is NOT_REVOKED
    assert sent(checker).check(client).status is NOT_REVOKED
    bare = sent(RevocationChecker(store, clock=CLOCK))
    assert bare.check(client).cause is UndeterminedCause.UNKNOWN_ISSUER


def test_a_demand_for_a_signature_goes_with_it(tmp_path: Path) -> None:
    """
    The signature of the set in use is verified again, and ends when it ends.
    """
    store = LocalStore(tmp_path / "signed")
    crl = make_crl(CA, 1, [], next_update=NOW + 365 * DAY)
    publish_crl(crl, store, issuer=CA.der, now=NOW, sign_with=KEY)
    checker = RevocationChecker(store, clock=CLOCK, root_keys=[KEY.token], minimum_generation=1)
    assert sent(checker).check(GOOD).status is NOT_REVOKED
    late = RevocationChecker(
        pickle.loads(pickle.dumps(checker)).__reduce__()[1][0],
        clock=clock_at(NOW + timedelta(days=30)),
        root_keys=[KEY.token],
    )
    assert late.check(GOOD).status is RevocationStatus.UNDETERMINED


def test_what_clean_up_deleted_is_said(tmp_path: Path) -> None:
    """
    Verdicts of a set that is no more there are none, and the reason names its generation.
    """
    store = LocalStore(tmp_path / "cleaned")
    for number in (1, 2):
        publish_crl(make_crl(CA, number, [number]), store, issuer=CA.der, now=NOW)
    message = pickle.dumps(RevocationChecker(store, clock=CLOCK))
    publish_crl(make_crl(CA, 3, []), store, issuer=CA.der, now=NOW + DAY)
    clean_up(store, now=NOW + 400 * DAY)
    result = pickle.loads(message).check(GOOD)
    assert result.status is RevocationStatus.UNDETERMINED
    assert "generation 2 cannot be shown" in result.detail


def test_an_earlier_store_can_be_sent(store: LocalStore) -> None:
    """
    So a checker of what was known on Tuesday can.
    """
    publish_crl(make_crl(CA, 2, []), store, issuer=CA.der, now=NOW)
    assert sent(RevocationChecker(store_at(store, 1, now=NOW), clock=CLOCK)).generation is None
    earlier = RevocationChecker(store_at(store, 1, now=NOW), clock=CLOCK)
    assert sent(earlier).check(BAD).status is REVOKED


def test_open_indexes_cannot_be_sent(store: LocalStore) -> None:
    """
    Another process cannot have them.
    """
    (name,) = store.names("images/")
    with open_index(Path(store.url) / name) as index:
        checker = RevocationChecker(index)
        with pytest.raises(TypeError, match="open indexes cannot be given to another process"):
            pickle.dumps(checker)


def test_nothing_is_sent_while_there_is_no_set(tmp_path: Path) -> None:
    """
    Another process would find none either, and at another time.
    """
    with pytest.raises(StoreUnavailableError, match="no published set could be read"):
        pickle.dumps(RevocationChecker(LocalStore(tmp_path)))


def copy(source: LocalStore, target: LocalStore) -> None:
    """Copy every object of a store."""
    for name in source.names(""):
        target.write(name, source.read(name).body)


def test_nothing_is_sent_while_a_catalog_is_refused(store: LocalStore, tmp_path: Path) -> None:
    """
    Its denials count here. There they would be lost, and let somebody pass.
    """
    checker = RevocationChecker(store, clock=CLOCK)
    backup = LocalStore(tmp_path / "backup")
    copy(store, backup)
    publish_crl(make_crl(CA, 2, []), store, issuer=CA.der, now=NOW)
    assert checker.check(GOOD).status is NOT_REVOKED
    deny_certificate(backup, CA.certificate.subject.public_bytes(), 1, now=NOW)
    for name in list(store.names("")):
        store.delete(name)
    copy(backup, store)
    assert checker.check(GOOD).status is REVOKED
    with pytest.raises(StoreUnavailableError, match="refused"):
        pickle.dumps(checker)


def test_a_store_at_a_url_can_be_sent() -> None:
    """
    As one in a directory or in S3.
    """
    store: Any = pickle.loads(pickle.dumps(HttpsStore("https://host/path", load_seconds=3)))
    assert store.url == "https://host/path"
    assert store._load_seconds == 3
