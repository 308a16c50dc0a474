"""A store whose root is signed: who may change it, and what a change signs."""

from __future__ import annotations

import hashlib
import io
import logging
import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from crlcheck import (
    LocalStore,
    ObjectStore,
    RootSignatureError,
    RootSigner,
    SigningKeyError,
    SigningStore,
    advance_generation,
    clean_up,
    deny_certificate,
    grant_grace,
    lift_denial,
    load_certificate,
    mirror_store,
    override_scope,
    publish_crl,
    publish_each,
    readmit_issuer,
    remove_issuer,
    remove_scope,
    reset_scope,
    set_issuer,
    sign_root,
    withdraw_issuers,
)
from crlcheck.catalog.history import HISTORY_PREFIX
from crlcheck.catalog.published_set import read_set
from crlcheck.catalog.root import CATALOG_NAME
from crlcheck.demo.pki import CertificateAuthority
from crlcheck.encoding.strict_json import canonical_json, parse_json
from crlcheck.signing.statement import root_digest, signers_of, verify_root
from support.memory_store import MemoryStore
from support.moto_server import S3Environment, make_client
from support.pki import DAY, NOW, make_authority, make_crl
from support.root_keys import MemoryKey

CA, OLD_CA = make_authority(), make_authority("Old CA")
NAME = load_certificate(CA.der).subject
FINGERPRINT, OLD_FINGERPRINT = (hashlib.sha256(one.der).hexdigest() for one in (CA, OLD_CA))
KEY, NEXT_KEY, STRANGER = MemoryKey(), MemoryKey(), MemoryKey()


def publish(
    store: ObjectStore,
    number: int,
    key: Any = KEY,
    *,
    ca: CertificateAuthority = CA,
    now: datetime = NOW,
) -> int:
    """Publish a CRL and return the generation."""
    crl = make_crl(ca, number)
    return publish_crl(crl, store, issuer=ca.der, now=now, sign_with=key).generation


def root_of(store: ObjectStore) -> dict[str, Any]:
    """Return the members of a store's root."""
    value = parse_json(store.read(CATALOG_NAME).body)
    assert isinstance(value, dict)
    return value


def write_root(store: ObjectStore, root: dict[str, Any]) -> None:
    """Put a root into a store as somebody does who has the right to."""
    store.write(CATALOG_NAME, canonical_json(root))


def objects_of(store: ObjectStore) -> dict[str, bytes]:
    """Return all that a store has."""
    return {name: store.read(name).body for name in store.names("")}


def expiry_of(store: ObjectStore, *keys: MemoryKey, now: datetime = NOW) -> datetime:
    """Return when the signature of the root expires; it holds."""
    accepted = [key.root_key for key in keys or (KEY,)]
    return verify_root(root_of(store), accepted, now=now)[0].statement.expires


@pytest.fixture
def store() -> MemoryStore:
    """A signed store in which every change has something to change."""
    made = MemoryStore()
    publish(made, 1, ca=OLD_CA)
    publish(made, 1)
    signing_store = SigningStore(made, KEY)
    remove_issuer(signing_store, OLD_FINGERPRINT, now=NOW)
    deny_certificate(signing_store, NAME, 9, now=NOW)
    made.write("images/" + "a" * 64 + "-" + "b" * 32 + ".crlx", b"abandoned")
    return made


def _scope(store: ObjectStore) -> str:
    (record,) = read_set(store)[0].scopes()
    return record.key


_CHANGES: dict[str, Callable[[ObjectStore], object]] = {
    "publish": lambda store: publish(store, 2, None),
    "publish each": lambda store: list(
        publish_each(io.BytesIO(make_crl(CA, 2)), store, issuer=CA.der, now=NOW)
    ),
    "deny": lambda store: deny_certificate(store, NAME, 5, now=NOW),
    "lift": lambda store: lift_denial(store, NAME, 9, now=NOW),
    "scope set": lambda store: override_scope(
        store, _scope(store), covers_no_distribution_point=True
    ),
    "scope remove": lambda store: remove_scope(store, _scope(store), now=NOW),
    "scope reset": lambda store: reset_scope(store, _scope(store), now=NOW),
    "scope grace": lambda store: grant_grace(
        store, scope=_scope(store), until=NOW + 90 * DAY, note="late", now=NOW
    ),
    "issuer remove": lambda store: remove_issuer(store, FINGERPRINT, now=NOW),
    "issuer set": lambda store: set_issuer(store, FINGERPRINT, is_anchor=True),
    "issuer readmit": lambda store: readmit_issuer(store, OLD_FINGERPRINT),
    "issuers withdraw": lambda store: withdraw_issuers(store, [OLD_CA.der], added_by="", now=NOW),
    "advance": lambda store: advance_generation(store, above=99),
    "clean": lambda store: clean_up(store, grace=timedelta(0), now=NOW + 2 * DAY),
}
each_change = pytest.mark.parametrize("change", _CHANGES.values(), ids=_CHANGES)


# ---- without the key -------------------------------------------------------------------


@each_change
def test_a_signed_store_is_not_changed_without_its_key(
    store: MemoryStore, change: Callable[[ObjectStore], object]
) -> None:
    """
    Nothing is written or deleted before that is found out, and the message says which key
    is missing and how to give it.
    """
    before = objects_of(store)
    with pytest.raises(RootSignatureError, match=f"{KEY.key_id}.*--sign-with") as caught:
        change(store)
    assert (caught.value.reason, caught.value.key_id) == ("no_signing_key", KEY.key_id)
    assert objects_of(store) == before


@each_change
def test_each_change_is_signed_by_the_key(
    store: MemoryStore, change: Callable[[ObjectStore], object]
) -> None:
    """One swap gives the new root and its signature, and the digest is that of its contents."""
    generation = read_set(store)[0].generation
    change(SigningStore(store, KEY))
    root = root_of(store)
    assert root["generation"] > generation
    assert expiry_of(store) >= NOW + 7 * DAY
    assert signers_of(root) == (KEY.key_id,)
    assert read_set(store)[0].root.digest == root_digest(root)


def test_what_changes_nothing_signs_nothing(store: MemoryStore) -> None:
    """Publishing the same CRL again leaves the root as it is, signature included."""
    before = store.read(CATALOG_NAME)
    num_signed = KEY.num_signed
    publish(store, 1, now=NOW + DAY)
    assert store.read(CATALOG_NAME) == before
    assert KEY.num_signed == num_signed


# ---- what the key vouches for ------------------------------------------------------------


def _changed(root: dict[str, Any]) -> dict[str, Any]:
    return {**root, "something": 1}


def _by(key: MemoryKey) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda root: RootSigner(key).signed(root, now=NOW)


def _unsigned(root: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in root.items() if name != "signatures"}


@each_change
@pytest.mark.parametrize(
    ("attack", "reason"),
    [
        (_unsigned, "unsigned"),
        (_by(STRANGER), "unknown_key"),
        (_changed, "other_root"),
        (lambda root: {**root, "store": "f" * 32}, "other_store"),
        (lambda root: {**root, "signatures": root["signatures"] * 2}, "key_twice"),
    ],
    ids=["unsigned", "unknown", "changed", "store", "twice"],
)
def test_the_key_does_not_sign_on_from_what_others_wrote(
    store: MemoryStore,
    change: Callable[[ObjectStore], object],
    attack: Callable[[dict[str, Any]], dict[str, Any]],
    reason: str,
) -> None:
    """Else whoever may write the root could have the next publication sign it."""
    write_root(store, attack(root_of(store)))
    before, num_signed = objects_of(store), KEY.num_signed
    with pytest.raises(RootSignatureError, match="vouch") as caught:
        change(SigningStore(store, KEY))
    assert caught.value.reason == reason
    assert (objects_of(store), KEY.num_signed) == (before, num_signed)


def test_a_root_that_expired_can_be_changed_by_its_key(
    store: MemoryStore, caplog: pytest.LogCaptureFixture
) -> None:
    """A publisher that paused goes on; that the signature had expired is logged."""
    later = NOW + 60 * DAY
    crl = make_crl(CA, 2, next_update=later + DAY)
    publish_crl(crl, store, issuer=CA.der, now=later, sign_with=KEY)
    assert expiry_of(store, now=later) == later + 7 * DAY
    assert "had expired" in caplog.text


def test_an_old_root_that_was_put_back_is_not_signed_on(store: MemoryStore) -> None:
    """
    Its signature still holds, but a later generation was published; an operator who knows
    that raises the generation.
    """
    old = store.read(CATALOG_NAME).body
    publish(store, 2)
    deny_certificate(SigningStore(store, KEY), NAME, 5, now=NOW)
    store.write(CATALOG_NAME, old)
    elsewhere = _copy(store)  # another process, which has not written the later ones
    before = objects_of(elsewhere)
    for change in (
        lambda: publish(elsewhere, 2),
        lambda: deny_certificate(SigningStore(elsewhere, KEY), NAME, 6, now=NOW),
        lambda: sign_root(elsewhere, KEY, now=NOW),
    ):
        with pytest.raises(RootSignatureError, match="put an old root back") as caught:
            change()
        assert caught.value.reason == "set_back"
        assert objects_of(elsewhere) == before
    generation = advance_generation(SigningStore(elsewhere, KEY), above=1000)
    assert generation == root_of(elsewhere)["generation"] > 1000
    publish(elsewhere, 3)


def test_a_root_that_is_gone_is_not_begun_anew(store: MemoryStore) -> None:
    """Its denials and removed issuers would be lost, under a signature that holds."""
    publish(store, 2)
    store.delete(CATALOG_NAME)
    elsewhere = _copy(store)
    with pytest.raises(RootSignatureError, match="is gone") as caught:
        publish(elsewhere, 3)
    assert caught.value.reason == "set_back"
    assert CATALOG_NAME not in set(elsewhere.names(""))


def _copy(store: MemoryStore) -> MemoryStore:
    copied = MemoryStore()
    for name, body in objects_of(store).items():
        copied.write(name, body)
    return copied


def test_a_lost_race_is_no_old_root() -> None:
    """A publisher that others overtake tries again, and all of them are published."""
    store = MemoryStore()
    publish(store, 1)
    authorities = [make_authority(f"CA {number}") for number in range(6)]
    errors: list[BaseException] = []

    def run(ca: CertificateAuthority) -> None:
        try:
            for number in (1, 2, 3):
                publish(store, number, ca=ca)
        except BaseException as error:  # noqa: BLE001 - told below
            errors.append(error)

    threads = [threading.Thread(target=run, args=(ca,)) for ca in authorities]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert read_set(store)[0].generation == 19
    assert expiry_of(store) == NOW + 7 * DAY


def test_a_key_that_does_not_sign_leaves_the_set_as_it_was(store: MemoryStore) -> None:
    """Such as one that KMS has disabled: no node and no record is written either."""

    class Disabled:
        root_key = KEY.root_key

        def sign(self, message: bytes) -> bytes:
            raise SigningKeyError(f"no key for {len(message)} bytes", reason="kms_refused")

    before = objects_of(store)
    with pytest.raises(SigningKeyError):
        deny_certificate(SigningStore(store, Disabled()), NAME, 5, now=NOW)
    assert objects_of(store) == before


# ---- keys that follow each other -----------------------------------------------------------


def test_keys_are_replaced_one_after_the_other(store: MemoryStore) -> None:
    """Both sign for a while, so that readers of either key follow; then the next one alone."""
    both = RootSigner(KEY, NEXT_KEY)
    publish(store, 2, both)
    assert signers_of(root_of(store)) == (KEY.key_id, NEXT_KEY.key_id)
    assert expiry_of(store, KEY) == expiry_of(store, NEXT_KEY) == NOW + 7 * DAY
    publish(store, 3, NEXT_KEY)
    assert signers_of(root_of(store)) == (NEXT_KEY.key_id,)
    with pytest.raises(RootSignatureError) as caught:
        publish(store, 4, KEY)
    assert caught.value.reason == "unknown_key"


def test_a_lost_key_is_replaced_by_adopting_the_root(store: MemoryStore) -> None:
    """By an operator's own act only."""
    for change in (lambda: publish(store, 2, NEXT_KEY), lambda: sign_root(store, NEXT_KEY)):
        with pytest.raises(RootSignatureError):
            change()
    report = sign_root(store, NEXT_KEY, adopt=True, now=NOW)
    assert report.key_ids == (NEXT_KEY.key_id,)
    publish(store, 2, NEXT_KEY)


def test_an_unsigned_store_is_signed_by_adopting_its_root() -> None:
    """A publication with a key does not do so, because somebody may have taken it away."""
    store = MemoryStore()
    publish(store, 1, None)
    for change in (lambda: publish(store, 2), lambda: sign_root(store, KEY, now=NOW)):
        with pytest.raises(RootSignatureError) as caught:
            change()
        assert caught.value.reason == "unsigned"
    sign_root(store, KEY, adopt=True, now=NOW)
    assert publish(store, 2) == 2


# ---- signing again -------------------------------------------------------------------------


def test_signing_again_renews_the_expiry_and_nothing_else(store: MemoryStore) -> None:
    """The same generation and digest, no node, no record of the history."""
    before, held = objects_of(store), read_set(store)[0]
    report = sign_root(store, RootSigner(KEY, expiry=3 * DAY), now=NOW + 6 * DAY)
    assert report.expires == NOW + 9 * DAY == expiry_of(store)
    assert (report.generation, report.store_id) == (held.generation, held.root.store)
    after, renewed = objects_of(store), read_set(store)[0]
    assert after.keys() == before.keys()
    assert [name for name in after if after[name] != before[name]] == [CATALOG_NAME]
    assert renewed.is_same(held)
    renewed.check_successor(held)
    assert _unsigned(root_of(store)) == _unsigned(parse_json(before[CATALOG_NAME]))  # type: ignore[arg-type]
    publish(store, 2, now=NOW + 6 * DAY)
    assert expiry_of(store) == NOW + 13 * DAY


def test_an_expired_root_is_signed_again(store: MemoryStore) -> None:
    """By its own key."""
    sign_root(store, KEY, now=NOW + 100 * DAY)
    assert expiry_of(store, now=NOW + 100 * DAY) == NOW + 107 * DAY


def test_signing_again_and_a_publication_at_once_lose_nothing(store: MemoryStore) -> None:
    """Whichever comes second reads the root again."""
    published: list[bool] = []

    def first(operation: str, name: str) -> None:
        if (operation, name) == ("write", CATALOG_NAME) and not published:
            published.append(True)
            publish(store, 2, now=NOW + DAY)

    store.before = first
    report = sign_root(store, KEY, now=NOW + DAY)
    assert report.generation == read_set(store)[0].generation
    assert expiry_of(store) == NOW + 8 * DAY
    del published[:]

    def renewed_first(operation: str, name: str) -> None:
        if (operation, name) == ("write", CATALOG_NAME) and not published:
            published.append(True)
            sign_root(store, KEY, now=NOW + 2 * DAY)

    store.before = renewed_first
    assert publish(store, 3, now=NOW + DAY) == report.generation + 1
    assert expiry_of(store) == NOW + 8 * DAY


def test_a_store_of_format_1_is_not_signed(tmp_path: Path) -> None:
    """It has no store id; the next change writes the format that has one."""
    store = MemoryStore()
    store.write(CATALOG_NAME, b'{"format":1,"generation":3,"issuers":[],"scopes":{}}')
    for adopt in (False, True):
        with pytest.raises(RootSignatureError) as caught:
            sign_root(store, KEY, adopt=adopt, now=NOW)
        assert caught.value.reason == "unsigned"
    clean_up(store, now=NOW)
    sign_root(store, KEY, adopt=True, now=NOW)
    assert expiry_of(store) == NOW + 7 * DAY


def test_there_must_be_something_to_sign() -> None:
    """An empty store has no root."""
    with pytest.raises(FileNotFoundError):
        sign_root(MemoryStore(), KEY, now=NOW)


# ---- mirrors ---------------------------------------------------------------------------------


def test_a_mirror_has_the_signatures_byte_for_byte(store: MemoryStore) -> None:
    """It needs no key; a signature that is merely new is copied too."""
    target = MemoryStore()
    mirror_store(store, target)
    assert target.read(CATALOG_NAME).body == store.read(CATALOG_NAME).body
    sign_root(store, KEY, now=NOW + DAY)
    mirror_store(store, target)
    assert target.read(CATALOG_NAME).body == store.read(CATALOG_NAME).body
    assert expiry_of(target) == NOW + 8 * DAY
    etag = target.read(CATALOG_NAME).etag
    mirror_store(store, target)
    assert target.read(CATALOG_NAME).etag == etag


@pytest.mark.parametrize(
    ("attack", "reason"), [(_unsigned, "unsigned"), (_by(STRANGER), "unknown_key")]
)
def test_a_mirror_does_not_take_the_signature_away(
    store: MemoryStore, attack: Callable[[dict[str, Any]], dict[str, Any]], reason: str
) -> None:
    """A source that is signed by none of the target's keys any more is refused."""
    target = MemoryStore()
    mirror_store(store, target)
    publish(store, 2)
    write_root(store, attack(root_of(store)))
    before = objects_of(target)
    with pytest.raises(RootSignatureError) as caught:
        mirror_store(store, target)
    assert caught.value.reason == reason
    assert objects_of(target) == before


def test_a_mirror_may_demand_a_signature(store: MemoryStore) -> None:
    """By its keys, also where the target has nothing yet, and through a rotation."""
    sign_root(store, KEY)  # by the machine's own clock, as the mirror verifies
    target = MemoryStore()
    with pytest.raises(RootSignatureError) as caught:
        mirror_store(store, target, root_keys=[STRANGER.token])
    assert caught.value.reason == "unknown_key"
    assert objects_of(target) == {}
    mirror_store(store, target, root_keys=KEY.token)
    sign_root(store, NEXT_KEY, adopt=True)
    mirror_store(store, target, root_keys=[NEXT_KEY.root_key])
    assert signers_of(root_of(target)) == (NEXT_KEY.key_id,)


# ---- a store in a directory and in KMS -----------------------------------------------------


def test_a_key_in_kms_signs_the_root(s3: S3Environment, tmp_path: Path) -> None:
    """Moto signs for real, and the public key verifies without it."""
    kms: Any = make_client(s3.endpoint, "kms")
    arn = kms.create_key(KeySpec="ECC_NIST_P256", KeyUsage="SIGN_VERIFY")["KeyMetadata"]["Arn"]
    store = LocalStore(tmp_path)
    publish(store, 1, arn)
    signer = RootSigner(arn, expiry=DAY)
    deny_certificate(SigningStore(store, signer), NAME, 5, now=NOW)
    root = root_of(store)
    assert verify_root(root, signer.accepted, now=NOW)
    assert set(store.names(HISTORY_PREFIX))


def test_a_signing_store_is_the_store_in_all_else(tmp_path: Path) -> None:
    """Its objects, its name, and whether it must be tried first."""
    local = LocalStore(tmp_path)
    store = SigningStore(SigningStore(local, NEXT_KEY), KEY)
    assert isinstance(store, ObjectStore)
    assert store.store is local
    assert (store.url, store.is_known_to_swap) == (local.url, True)
    etag = store.write("images/a", b"x")
    assert store.read("images/a").etag == etag
    assert store.read_if_changed("images/a", etag) is None
    assert bytes(store.load("images/a")) == b"x"
    assert list(store.names("images/")) == ["images/a"]
    store.delete("images/a")
    assert list(local.names("")) == []
    with pytest.raises(ValueError, match="expected a key"):
        SigningStore(local, None)


def test_the_log_says_who_signed_and_until_when(
    store: MemoryStore, caplog: pytest.LogCaptureFixture
) -> None:
    """For whoever looks for the renewals."""
    with caplog.at_level(logging.INFO):
        sign_root(store, KEY, now=NOW)
    assert f"is signed by {KEY.key_id} until 2026-03-08" in caplog.text
