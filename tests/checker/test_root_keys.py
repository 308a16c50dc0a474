"""A checker that demands a signature: what it refuses, and when it stops answering."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from crlcheck import (
    CatalogRollbackError,
    CheckResult,
    LocalStore,
    ObjectStore,
    ProblemKind,
    RevocationChecker,
    RevocationStatus,
    RootSignatureError,
    RootSigner,
    SigningStore,
    StoredObject,
    StoreError,
    UndeterminedCause,
    deny_certificate,
    open_index,
    publish_crl,
    sign_root,
)
from crlcheck.catalog.root import CATALOG_NAME
from crlcheck.encoding.strict_json import canonical_json, parse_json
from support.checking import BAD, CA, GOOD, Clock
from support.memory_store import MemoryStore
from support.moto_server import S3Environment, make_client
from support.pki import DAY, NOW, make_crl
from support.root_keys import MemoryKey

NOT_REVOKED, REVOKED = RevocationStatus.NOT_REVOKED, RevocationStatus.REVOKED
KEY, NEXT_KEY, STRANGER = MemoryKey(), MemoryKey(), MemoryKey()
NAME = CA.certificate.subject.public_bytes()
HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)


def publish(
    store: ObjectStore,
    number: int = 1,
    revoked: tuple[int, ...] = (),
    *,
    key: Any = KEY,
    now: datetime = NOW,
) -> None:
    """Publish a CRL of the CA; its root is signed for a week."""
    crl = make_crl(CA, number, revoked, next_update=NOW + 365 * DAY)
    publish_crl(crl, store, issuer=CA.der, now=now, sign_with=key)


def make_checker(source: Any, clock: Clock, **options: Any) -> RevocationChecker:
    """A checker that demands a signature by KEY."""
    return RevocationChecker(source, clock=clock, **{"root_keys": [KEY.token], **options})


def is_unavailable(result: CheckResult, *words: str) -> bool:
    """Whether there is no set to answer from, for a reason with these words."""
    assert all(word in result.detail for word in words), result.detail
    return (result.status, result.cause) == (
        RevocationStatus.UNDETERMINED,
        UndeterminedCause.STORE_UNAVAILABLE,
    )


def days_signed(checker: RevocationChecker) -> int:
    """Return for how many days the signature still holds."""
    left = checker.status().freshness.signed_for
    assert left is not None
    return round(left / DAY)


def root_of(store: ObjectStore) -> dict[str, Any]:
    """Return the members of a store's root."""
    value = parse_json(store.read(CATALOG_NAME).body)
    assert isinstance(value, dict)
    return value


@pytest.fixture
def clock() -> Clock:
    """The checker's clock, which the test sets."""
    return Clock()


@pytest.fixture
def store() -> MemoryStore:
    """A signed store with a CRL that revokes nobody."""
    made = MemoryStore()
    publish(made)
    return made


# ---- what is used ------------------------------------------------------------------------------


def test_a_set_that_is_signed_by_an_accepted_key_is_used(store: MemoryStore, clock: Clock) -> None:
    """With its successors; one of several keys is enough."""
    for keys in ([KEY.root_key], f"{STRANGER.token},{KEY.token}", [NEXT_KEY.token, KEY.token]):
        assert make_checker(store, clock, root_keys=keys).check(BAD).status is NOT_REVOKED
    checker = make_checker(store, clock)
    assert checker.check(BAD).status is NOT_REVOKED
    publish(store, 2, (BAD_SERIAL,))
    assert checker.check(BAD).status is REVOKED
    assert days_signed(checker) == 7


BAD_SERIAL = 2


def _unsigned(root: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in root.items() if name != "signatures"}


def _by(*keys: MemoryKey, **changes: Any) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda root: RootSigner(*keys).signed({**root, **changes}, now=NOW)


def _late(root: dict[str, Any]) -> dict[str, Any]:
    return RootSigner(KEY).signed(root, now=NOW - 8 * DAY)


_FORMAT_1 = {"format": 1, "generation": 9, "issuers": [], "scopes": {}}
_ATTACKS: dict[str, tuple[Callable[[dict[str, Any]], dict[str, Any]], str, str]] = {
    "unsigned": (_unsigned, "unsigned", "no signature"),
    "format 1": (lambda _: _FORMAT_1, "unsigned", "no signature"),
    "unknown key": (_by(STRANGER), "unknown_key", "is not accepted"),
    "twice": (
        lambda root: {**root, "signatures": root["signatures"] * 2},
        "key_twice",
        "signed it twice",
    ),
    "malformed": (lambda root: {**root, "signatures": 7}, "malformed", "cannot be read"),
    "later statement": (
        lambda root: {**root, "signatures": [{**root["signatures"][0], "format": 2}]},
        "later_format",
        "later format",
    ),
    "wrong signature": (
        lambda root: {**root, "signatures": [{**root["signatures"][0], "signature": "AAAA"}]},
        "invalid_signature",
        "does not hold",
    ),
    "other store": (lambda root: {**root, "store": "f" * 32}, "other_store", "another store"),
    "other root": (lambda root: {**root, "generation": 99}, "other_root", "another root"),
    "no scopes": (lambda root: {**root, "top": None, "scopes": 0}, "other_root", "another root"),
    "expired": (_late, "expired", "expired at 2026-02-28"),
}
each_attack = pytest.mark.parametrize(
    ("attack", "reason", "words"), _ATTACKS.values(), ids=_ATTACKS
)


@each_attack
def test_a_fresh_checker_refuses_a_hostile_root(
    store: MemoryStore,
    clock: Clock,
    attack: Callable[[dict[str, Any]], dict[str, Any]],
    reason: str,
    words: str,
) -> None:
    """Nothing is answered from it, and the answer says why."""
    store.write(CATALOG_NAME, canonical_json(attack(root_of(store))))
    checker = make_checker(store, clock)
    assert is_unavailable(checker.check(GOOD), words)
    with pytest.raises(RootSignatureError) as caught:
        checker.refresh()
    assert caught.value.reason == reason
    assert checker.status().generation is None


@each_attack
def test_a_running_checker_keeps_its_set_beside_a_hostile_root(
    store: MemoryStore,
    clock: Clock,
    attack: Callable[[dict[str, Any]], dict[str, Any]],
    reason: str,
    words: str,
) -> None:
    """Also its denials are not believed; the status says why it is refused."""
    checker = make_checker(store, clock)
    assert checker.check(BAD).status is NOT_REVOKED
    good = store.read(CATALOG_NAME).body
    deny_certificate(SigningStore(store, KEY), NAME, BAD_SERIAL, now=NOW)
    store.write(CATALOG_NAME, canonical_json(attack(root_of(store))))
    assert checker.check(BAD).status is NOT_REVOKED
    (problem,) = [
        one for one in checker.status().problems if one.kind is ProblemKind.CATALOG_REFUSED
    ]
    assert words in problem.detail
    assert reason
    store.write(CATALOG_NAME, good)
    assert checker.check(BAD).status is NOT_REVOKED
    assert checker.status().problems == ()


def test_a_later_format_of_the_root_is_refused_in_its_own_words(
    store: MemoryStore, clock: Clock
) -> None:
    """Although the signature holds."""
    store.write(CATALOG_NAME, canonical_json(_by(KEY, format=3)(root_of(store))))
    assert is_unavailable(make_checker(store, clock).check(GOOD), "a later crlcheck")


def test_without_a_demand_a_signed_root_is_used_like_any_other(
    store: MemoryStore, clock: Clock
) -> None:
    """Also by an unknown key, and after it has expired."""
    clock.now = NOW + 30 * DAY
    checker = RevocationChecker(store, clock=clock)
    assert checker.check(GOOD).status is NOT_REVOKED
    assert checker.status().freshness.signed_for is None


# ---- expiry ------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"refresh_after": HOUR}], ids=["every check", "hourly"])
def test_a_store_that_is_frozen_is_not_used_after_the_signature(
    store: MemoryStore, clock: Clock, options: dict[str, Any]
) -> None:
    """
    Whoever withholds newer roots cannot do so for longer than a signature holds, whatever
    the polls say; a renewal ends that at once.
    """
    checker = make_checker(store, clock, **options)
    assert checker.check(GOOD).status is NOT_REVOKED
    clock.now = NOW + 7 * DAY - timedelta(seconds=1)
    assert checker.check(GOOD).status is NOT_REVOKED
    clock.now = NOW + 7 * DAY
    assert is_unavailable(checker.check(GOOD), "signature of generation 1 expired at 2026-03-08")
    status = checker.status()
    assert not status.answering
    assert ProblemKind.SIGNATURE_EXPIRED in [one.kind for one in status.problems]
    assert days_signed(checker) == 0
    sign_root(store, KEY, now=clock.now)
    clock.now += timedelta(seconds=2)
    assert checker.check(GOOD).status is NOT_REVOKED
    assert checker.status().problems == ()


def test_a_checker_warns_before_the_signature_ends(store: MemoryStore, clock: Clock) -> None:
    """In the last quarter of its time, as for a CRL; a renewal ends the warning."""
    checker = make_checker(store, clock)
    soon = ProblemKind.SIGNATURE_ENDS_SOON
    for days, expected in ((0, []), (5, []), (6, [soon]), (7, [ProblemKind.SIGNATURE_EXPIRED])):
        clock.now = NOW + days * DAY
        checker.check(BAD)
        found = [one for one in checker.status().problems if "signature" in one.kind.value]
        assert [one.kind for one in found] == expected
        assert all(one.is_error == (one.kind is not soon) for one in found)
    clock.now = NOW + 6 * DAY
    sign_root(store, KEY, now=clock.now)
    renewed = make_checker(store, clock)
    renewed.check(BAD)
    assert not renewed.status().problems


def test_a_store_that_does_not_answer_is_not_used_after_the_signature(
    store: MemoryStore, clock: Clock
) -> None:
    """No poll says so: the set in use ends by itself."""
    checker = make_checker(store, clock)
    assert checker.check(GOOD).status is NOT_REVOKED

    def fail(_operation: str, _name: str) -> None:
        raise OSError("no network")

    store.before = fail
    clock.now = NOW + 6 * DAY
    assert checker.check(GOOD).status is NOT_REVOKED
    clock.now = NOW + 8 * DAY
    assert is_unavailable(checker.check(GOOD), "expired at", "no network")


class FrozenStore(MemoryStore):
    """A store whose cache says of the catalog that it has not changed."""

    is_frozen = False

    def read_if_changed(self, name: str, etag: str | None) -> StoredObject | None:
        """As ObjectStore.read_if_changed."""
        if self.is_frozen and etag is not None:
            return None
        return super().read_if_changed(name, etag)


def test_a_cache_that_never_changes_does_not_keep_a_renewal_back(clock: Clock) -> None:
    """After the signature the root is read without a condition."""
    store = FrozenStore()
    publish(store)
    checker = make_checker(store, clock)
    assert checker.check(GOOD).status is NOT_REVOKED
    store.is_frozen = True
    sign_root(store, KEY, now=NOW + 6 * DAY)
    clock.now = NOW + 8 * DAY
    assert checker.check(GOOD).status is NOT_REVOKED


def test_a_wall_clock_that_is_set_back_prolongs_nothing(
    store: MemoryStore, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The machine's own clocks have counted on."""
    import time

    checker = make_checker(store, clock, refresh_after=365 * DAY)
    assert checker.check(GOOD).status is NOT_REVOKED
    monotonic = time.monotonic
    monkeypatch.setattr(time, "monotonic", lambda: monotonic() + 7 * DAY.total_seconds())
    clock.now = NOW - DAY
    store.delete(CATALOG_NAME)
    assert is_unavailable(checker.check(GOOD), "expired at")


def test_an_expired_set_is_asked_for_once_a_second(store: MemoryStore, clock: Clock) -> None:
    """Not at every check: all of them are denied, and there may be thousands."""
    checker = make_checker(store, clock, refresh_after=HOUR)
    assert checker.check(GOOD).status is NOT_REVOKED
    clock.now = NOW + 8 * DAY
    checker.check(GOOD)
    before = checker.status().freshness.num_polls
    for _ in range(50):
        checker.check(GOOD)
    assert checker.status().freshness.num_polls == before
    clock.now += timedelta(seconds=1)
    checker.check(GOOD)
    assert checker.status().freshness.num_polls == before + 1


# ---- renewal and rotation ----------------------------------------------------------------------


def test_a_renewal_is_no_other_set_of_the_generation(store: MemoryStore, clock: Clock) -> None:
    """The same generation with other signatures is taken, and nothing is loaded anew."""
    checker = make_checker(store, clock)
    assert checker.check(GOOD).status is NOT_REVOKED
    read: list[str] = []
    store.before = lambda _operation, name: read.append(name)
    clock.now = NOW + 6 * DAY
    sign_root(store, KEY, now=clock.now)
    del read[:]
    assert checker.check(GOOD).status is NOT_REVOKED
    assert set(read) == {CATALOG_NAME}
    assert not checker.refresh()
    status = checker.status()
    assert (status.generation, status.problems) == (1, ())
    assert days_signed(checker) == 7


def test_an_earlier_signature_of_the_same_root_shortens_nothing(
    store: MemoryStore, clock: Clock
) -> None:
    """Somebody may put it back; the later one was verified and is remembered."""
    earlier = store.read(CATALOG_NAME).body
    sign_root(store, KEY, now=NOW + 3 * DAY)
    clock.now = NOW + 3 * DAY
    checker = make_checker(store, clock)
    assert checker.check(GOOD).status is NOT_REVOKED
    store.write(CATALOG_NAME, earlier)
    assert checker.check(GOOD).status is NOT_REVOKED
    clock.now = NOW + 9 * DAY
    assert checker.check(GOOD).status is NOT_REVOKED
    clock.now = NOW + 10 * DAY
    assert is_unavailable(checker.check(GOOD), "expired at 2026-03-11")


def test_keys_are_replaced_without_any_gap(store: MemoryStore, clock: Clock) -> None:
    """Readers of the old key, of both and of the next one, at each step of the rotation."""
    old = make_checker(store, clock)
    both = make_checker(store, clock, root_keys=[KEY.token, NEXT_KEY.token])
    new = make_checker(store, clock, root_keys=[NEXT_KEY.token])
    assert [one.check(GOOD).status for one in (old, both)] == [NOT_REVOKED] * 2
    assert is_unavailable(new.check(GOOD), "is not accepted")
    sign_root(store, RootSigner(KEY, NEXT_KEY), now=NOW)
    clock.now += MINUTE
    assert [one.check(GOOD).status for one in (old, both, new)] == [NOT_REVOKED] * 3
    publish(store, 2, (BAD_SERIAL,), key=NEXT_KEY)
    clock.now += MINUTE
    assert [one.check(BAD).status for one in (old, both, new)] == [NOT_REVOKED, REVOKED, REVOKED]
    clock.now = NOW + 8 * DAY
    assert is_unavailable(old.check(GOOD), "expired")


def test_renewals_while_checkers_run(tmp_path: Path) -> None:
    """
    Threads check all the time, while the root is signed again and new CRLs are published
    with signatures of a minute: no check is ever undetermined.
    """
    store = LocalStore(tmp_path)
    now = datetime.now(NOW.tzinfo)
    crls = [
        make_crl(CA, number, this_update=now - HOUR + timedelta(minutes=number), next_update=None)
        for number in range(1, 5)
    ]
    signer = RootSigner(KEY, expiry=MINUTE)

    def publish_next(crl: bytes) -> None:
        publish_crl(crl, store, issuer=CA.der, sign_with=signer, require_next_update=False)

    publish_next(crls[0])
    checker = RevocationChecker(store, root_keys=KEY.token)
    results: list[CheckResult] = []
    is_done = threading.Event()

    def check() -> None:
        while not is_done.is_set():
            results.append(checker.check(GOOD))

    threads = [threading.Thread(target=check) for _ in range(3)]
    for thread in threads:
        thread.start()
    for crl in crls[1:]:
        for _ in range(10):
            sign_root(store, signer)
        publish_next(crl)
    is_done.set()
    for thread in threads:
        thread.join()
    assert {one.status for one in results} == {NOT_REVOKED}
    assert checker.check(GOOD).status is NOT_REVOKED
    status = checker.status()
    assert (status.generation, status.freshness.num_failed_polls) == (4, 0)


# ---- rolling back ------------------------------------------------------------------------------


def test_a_fresh_checker_takes_no_earlier_generation_than_the_minimum(
    store: MemoryStore, clock: Clock
) -> None:
    """An old root with a signature that still holds is refused, and its denials with it."""
    old = store.read(CATALOG_NAME).body
    publish(store, 2, (BAD_SERIAL,))
    store.write(CATALOG_NAME, old)
    assert make_checker(store, clock).check(BAD).status is NOT_REVOKED  # which is the attack
    checker = make_checker(store, clock, minimum_generation=2)
    assert is_unavailable(checker.check(BAD), "generation 1", "minimum generation is 2")
    with pytest.raises(CatalogRollbackError) as caught:
        checker.refresh()
    assert (caught.value.generation, caught.value.held) == (1, 2)


def test_a_minimum_generation_counts_without_keys_too(store: MemoryStore, clock: Clock) -> None:
    """It is a demand of its own."""
    checker = RevocationChecker(store, clock=clock, minimum_generation=2)
    assert is_unavailable(checker.check(GOOD), "minimum generation")
    publish(store, 2)
    clock.now += MINUTE
    assert checker.check(GOOD).status is NOT_REVOKED


def test_a_running_checker_refuses_an_old_root_with_a_signature_that_holds(
    store: MemoryStore, clock: Clock
) -> None:
    """As it does without signatures."""
    old = store.read(CATALOG_NAME).body
    publish(store, 2, (BAD_SERIAL,))
    checker = make_checker(store, clock)
    assert checker.check(BAD).status is REVOKED
    store.write(CATALOG_NAME, old)
    assert checker.check(BAD).status is REVOKED
    assert checker.status().problems[0].kind is ProblemKind.CATALOG_WENT_BACK


def test_a_key_that_is_bound_to_a_store_refuses_another(clock: Clock) -> None:
    """Both are signed by one key, and somebody copies one over the other."""
    store, other = MemoryStore(), MemoryStore()
    publish(store, 1, (BAD_SERIAL,))
    publish(other)
    bound = f"{KEY.token}@{root_of(store)['store']}"
    assert make_checker(store, clock, root_keys=[bound]).check(BAD).status is REVOKED
    for name in list(store.names("")):
        store.delete(name)
    for name in other.names(""):
        store.write(name, other.read(name).body)
    checker = make_checker(store, clock, root_keys=[bound])
    assert is_unavailable(checker.check(BAD), "another store")


def test_a_running_checker_follows_no_other_store_of_the_same_key(
    store: MemoryStore, clock: Clock
) -> None:
    """Of a later generation, and signed; neither its set nor its denials are believed."""
    checker = make_checker(store, clock)
    assert checker.check(BAD).status is NOT_REVOKED
    other = MemoryStore()
    publish(other)
    publish(other, 2, (BAD_SERIAL,))
    deny_certificate(SigningStore(other, KEY), NAME, BAD_SERIAL, now=NOW)
    for name in other.names(""):
        store.write(name, other.read(name).body)
    assert checker.check(BAD).status is NOT_REVOKED
    with pytest.raises(RootSignatureError, match="the set in use of store") as caught:
        checker.refresh()
    assert caught.value.reason == "other_store"
    assert checker.status().generation == 1


# ---- what lies under the root ------------------------------------------------------------------


def test_what_lies_under_a_signed_root_cannot_be_changed(store: MemoryStore, clock: Clock) -> None:
    """A node, the denials and an image are refused by their digests."""
    publish(store, 2, (BAD_SERIAL,))
    deny_certificate(SigningStore(store, KEY), NAME, 7, now=NOW)
    names = [name for name in store.names("") if name.startswith(("nodes/", "images/"))]
    for name in names:
        copied = MemoryStore()
        for each in store.names(""):
            body = store.read(each).body
            copied.write(each, body if each != name else body.replace(b"0", b"1", 1) + b" ")
        status = make_checker(copied, clock).check(BAD).status
        assert status in (REVOKED, RevocationStatus.UNDETERMINED), name
        needed = status is RevocationStatus.UNDETERMINED
        assert needed or name in names


# ---- how it is given ---------------------------------------------------------------------------


def test_mistakes_in_the_demands_are_found_when_a_checker_is_made(
    store: MemoryStore, clock: Clock, tmp_path: Path
) -> None:
    """No keys is not the same as no demand; indexes have no root."""
    for keys in ([], "", "ed25519:AAAA", [KEY.token, KEY.token], ["secret"]):
        with pytest.raises(ValueError, match="key|expected"):
            make_checker(store, clock, root_keys=keys)
    with pytest.raises(ValueError, match="minimum_generation"):
        make_checker(store, clock, minimum_generation=-1)
    (name,) = store.names("images/")
    image = tmp_path / "image.crlx"
    image.write_bytes(bytes(store.load(name)))
    with open_index(image) as index:
        for source in (image, index, [index]):
            for options in ({"root_keys": [KEY.token]}, {"minimum_generation": 1}):
                with pytest.raises(ValueError, match="for a store only"):
                    RevocationChecker(source, **options)


def test_cryptography_is_loaded_only_where_a_signature_is_demanded(tmp_path: Path) -> None:
    """A cold start without keys does not pay for it."""
    store = LocalStore(tmp_path)
    crl = make_crl(CA, 1, this_update=datetime.now(NOW.tzinfo) - HOUR, next_update=None)
    publish_crl(crl, store, issuer=CA.der, sign_with=KEY, require_next_update=False)
    (tmp_path / "client.der").write_bytes(GOOD)
    program = (
        "import crlcheck, sys; keys = sys.argv[2] or None; "
        "checker = crlcheck.RevocationChecker(sys.argv[1], root_keys=keys); "
        "status = checker.check(open(sys.argv[1] + '/client.der', 'rb').read()).status; "
        "print(status.name, 'cryptography' in sys.modules, 'crlcheck.signing' in sys.modules, "
        "'cryptography.hazmat.primitives.serialization' in sys.modules)"
    )
    for keys, expected in ((KEY.token, "True True False"), ("", "False False False")):
        run = subprocess.run(
            [sys.executable, "-P", "-c", program, str(tmp_path), keys],
            capture_output=True,
            text=True,
            check=True,
        )
        assert run.stdout.strip() == f"NOT_REVOKED {expected}"


def test_a_root_that_kms_signed_is_verified_without_kms(
    s3: S3Environment, tmp_path: Path, clock: Clock
) -> None:
    """Moto signs for real; the checker has the public key alone."""
    kms: Any = make_client(s3.endpoint, "kms")
    for spec in ("ECC_NIST_P256", "RSA_2048"):
        arn = kms.create_key(KeySpec=spec, KeyUsage="SIGN_VERIFY")["KeyMetadata"]["Arn"]
        store = LocalStore(tmp_path / spec)
        publish(store, key=arn)
        token = RootSigner(arn).accepted[0].token
        kms.schedule_key_deletion(KeyId=arn.rpartition("/")[2], PendingWindowInDays=7)
        assert make_checker(store, clock, root_keys=token).check(GOOD).status is NOT_REVOKED
        assert is_unavailable(make_checker(store, clock).check(GOOD), "is not accepted")


def test_a_refused_root_is_a_store_error(store: MemoryStore, clock: Clock) -> None:
    """So that a program that catches those need not know of signatures."""
    with pytest.raises(StoreError):
        make_checker(store, clock, root_keys=[STRANGER.token]).refresh()
