"""Signatures of roots: what is signed, what holds, and each way in which one is refused."""

from __future__ import annotations

import base64
import copy
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crlcheck import RootKey, RootSignatureError, RootSigner, SigningKeyError
from crlcheck.encoding.strict_json import canonical_json, parse_json
from crlcheck.signing.statement import (
    MAX_SIGNATURES,
    RootSignature,
    RootStatement,
    root_digest,
    signers_of,
    verify_root,
)
from support.root_keys import MemoryKey

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
STORE, OTHER_STORE = "a" * 32, "b" * 32
KEY, NEXT_KEY, STRANGER = MemoryKey(), MemoryKey(), MemoryKey()


def make_root(**changes: Any) -> dict[str, Any]:
    """Return the members of a root that nobody signed."""
    root = {"format": 2, "store": STORE, "generation": 7, "at": "2026-03-01T12:00:00Z", "x": [1]}
    return {**root, **changes}


def signed(*keys: MemoryKey, root: dict[str, Any] | None = None, days: int = 7) -> dict[str, Any]:
    """Return a root as it comes from the store."""
    signer = RootSigner(*(keys or (KEY,)), expiry=timedelta(days=days))
    whole = signer.signed(root or make_root(), now=NOW)
    read = parse_json(canonical_json(whole))
    assert isinstance(read, dict)
    return read


def reason_of(root: dict[str, Any], *keys: RootKey, now: datetime = NOW) -> str:
    """Return why a root is refused, by the reason; the message says it in words of its own."""
    with pytest.raises(RootSignatureError) as caught:
        verify_root(root, keys or (KEY.root_key,), now=now)
    assert str(caught.value).startswith("the root")
    return caught.value.reason


# ---- what holds ----------------------------------------------------------------------


def test_what_is_signed_is_these_bytes() -> None:
    """
    A change here would make every signature that is out there invalid: it takes a new format.
    """
    statement = RootStatement("c" * 64, STORE, 7, NOW)
    assert statement.message() == (
        b"crlcheck statement about a published root, format 1\n"
        b'{"expires":"2026-03-01T12:00:00Z","generation":7,"root":"'
        + b"c" * 64
        + b'","store":"'
        + b"a" * 32
        + b'"}'
    )
    assert root_digest(make_root(signatures=[1])) == root_digest(make_root())
    assert root_digest(make_root(y=1)) != root_digest(make_root())


def test_a_root_that_an_accepted_key_signed_holds_until_it_expires() -> None:
    """To the second."""
    root = signed(days=1)
    (found,) = verify_root(root, [KEY.root_key], now=NOW)
    assert found.statement == RootStatement(root_digest(root), STORE, 7, NOW + timedelta(days=1))
    assert verify_root(root, [KEY.root_key], now=NOW + timedelta(days=1, seconds=-1))
    assert reason_of(root, now=NOW + timedelta(days=1)) == "expired"
    assert signers_of(root) == (KEY.key_id,)
    assert signers_of(make_root()) == ()


def test_one_signature_by_an_accepted_key_is_enough() -> None:
    """So that keys can be replaced one after the other, on either side first."""
    both = signed(KEY, NEXT_KEY)
    for accepted in ([KEY.root_key], [NEXT_KEY.root_key], [NEXT_KEY.root_key, KEY.root_key]):
        assert verify_root(both, accepted, now=NOW)
    assert verify_root(signed(KEY), [NEXT_KEY.root_key, KEY.root_key], now=NOW)
    assert reason_of(signed(KEY), NEXT_KEY.root_key) == "unknown_key"
    damaged = signed(KEY, NEXT_KEY)
    damaged["signatures"][0]["signature"] = base64.b64encode(bytes(64)).decode()
    assert verify_root(damaged, [KEY.root_key, NEXT_KEY.root_key], now=NOW)
    assert reason_of(damaged, KEY.root_key) == "invalid_signature"


def test_the_last_to_expire_of_several_signatures_counts() -> None:
    """Whatever their order is."""
    early, late = signed(KEY, days=1), signed(NEXT_KEY, days=9)
    for order in ([early, late], [late, early]):
        root = make_root(signatures=[one["signatures"][0] for one in order])
        first, second = verify_root(root, [KEY.root_key, NEXT_KEY.root_key], now=NOW)
        assert first.statement.expires == NOW + timedelta(days=9)
        assert second.statement.expires == NOW + timedelta(days=1)


def test_a_key_may_be_bound_to_a_store() -> None:
    """So that a root of another store by the same key is refused by a fresh process too."""
    bound = RootKey.parse(f"{KEY.token}@{STORE}")
    assert verify_root(signed(), [bound], now=NOW)
    elsewhere = signed(root=make_root(store=OTHER_STORE))
    assert verify_root(elsewhere, [KEY.root_key], now=NOW)
    assert reason_of(elsewhere, bound) == "other_store"
    both = [bound, RootKey.parse(f"{KEY.token}@{OTHER_STORE}")]
    for root in (signed(), elsewhere):
        assert verify_root(root, both, now=NOW)
    third = signed(root=make_root(store="c" * 32))
    assert reason_of(third, *both) == "other_store"


# ---- what does not ---------------------------------------------------------------------


def _copied(root: dict[str, Any]) -> dict[str, Any]:
    """The signatures of another root of this store and generation."""
    return make_root(x=[2], signatures=root["signatures"])


def _later_generation(root: dict[str, Any]) -> dict[str, Any]:
    return {**root, "generation": 8}


def _twice(root: dict[str, Any]) -> dict[str, Any]:
    return {**root, "signatures": [*root["signatures"], *signed(days=9)["signatures"]]}


def _with(**changes: Any) -> Callable[[dict[str, Any]], dict[str, Any]]:
    def change(root: dict[str, Any]) -> dict[str, Any]:
        changed = copy.deepcopy(root)
        changed["signatures"][0].update(changes)
        return changed

    return change


def _without(name: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    def change(root: dict[str, Any]) -> dict[str, Any]:
        changed = copy.deepcopy(root)
        del changed["signatures"][0][name]
        return changed

    return change


def _by_stranger(root: dict[str, Any]) -> dict[str, Any]:
    """Signed by another key under the accepted key's id."""
    statement = RootStatement.about(root, NOW + timedelta(days=1))
    forged = RootSignature(KEY.key_id, statement, STRANGER.sign(statement.message()))
    return {**root, "signatures": [forged.members()]}


def _without_domain(root: dict[str, Any]) -> dict[str, Any]:
    """What the key signed elsewhere, without our prefix."""
    statement = RootStatement.about(root, NOW + timedelta(days=1))
    signature = KEY.sign(canonical_json(statement.members()))
    return {**root, "signatures": [RootSignature(KEY.key_id, statement, signature).members()]}


_FOREVER = "9999-12-31T00:00:00Z"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda _: make_root(), "unsigned"),
        (lambda _: make_root(signatures=[]), "unsigned"),
        (lambda _: make_root(signatures=None), "unsigned"),
        (lambda _: make_root(signatures={}), "malformed"),
        (lambda _: make_root(signatures="x"), "malformed"),
        (lambda _: make_root(signatures=[1]), "malformed"),
        (lambda _: make_root(signatures=[{}]), "malformed"),
        (lambda _: make_root(signatures=[{"key": "x"}]), "malformed"),
        (lambda root: {**root, "signatures": root["signatures"] * 17}, "malformed"),
        (_with(key=None), "malformed"),
        (_twice, "key_twice"),
        (lambda root: {**root, "signatures": root["signatures"] * 2}, "key_twice"),
        (lambda _: signed(STRANGER), "unknown_key"),
        (lambda _: signed(STRANGER, NEXT_KEY), "unknown_key"),
        (_with(format=2), "later_format"),
        (_with(format=2, signature=5, root=None), "later_format"),
        (_with(format=0), "invalid_signature"),
        (_with(format="1"), "invalid_signature"),
        (_with(format=True), "invalid_signature"),
        (_with(signature=""), "invalid_signature"),
        (_with(signature="!"), "invalid_signature"),
        (_with(signature="é"), "invalid_signature"),
        (_with(signature=base64.b64encode(bytes(64)).decode()), "invalid_signature"),
        (_with(signature=base64.b64encode(bytes(5000)).decode()), "invalid_signature"),
        (_with(expires=_FOREVER), "invalid_signature"),
        (_with(expires="tomorrow"), "invalid_signature"),
        (_with(expires="2026-03-08T12:00:00+01:00"), "invalid_signature"),
        (_with(root="c" * 64), "invalid_signature"),
        (_with(root="C" * 64), "invalid_signature"),
        (_with(store=OTHER_STORE), "invalid_signature"),
        (_with(generation=8), "invalid_signature"),
        (_with(generation=7.0), "invalid_signature"),
        (_by_stranger, "invalid_signature"),
        (_without_domain, "invalid_signature"),
        (lambda root: {**root, "store": OTHER_STORE}, "other_store"),
        (lambda root: {**root, "store": None}, "other_store"),
        (_copied, "other_root"),
        (_later_generation, "other_root"),
        (lambda root: {**root, "format": 3}, "other_root"),
        (lambda root: {**root, "y": {}}, "other_root"),
        (lambda root: {key: value for key, value in root.items() if key != "x"}, "other_root"),
        *[
            (_without(name), "invalid_signature")
            for name in ("format", "signature", "expires", "root", "store", "generation")
        ],
    ],
)
def test_a_hostile_root_is_refused(
    change: Callable[[dict[str, Any]], dict[str, Any]], reason: str
) -> None:
    """Each with a reason and words of its own."""
    assert reason_of(change(signed())) == reason


def test_an_unknown_member_of_a_signature_does_not_matter() -> None:
    """A later version may add one."""
    assert verify_root(_with(note="x")(signed()), [KEY.root_key], now=NOW)


def test_as_many_signatures_as_may_be_are_read() -> None:
    """One more is refused before any is verified."""
    strangers = [MemoryKey() for _ in range(MAX_SIGNATURES)]
    full = signed(*strangers[1:], KEY)
    assert len(full["signatures"]) == MAX_SIGNATURES
    assert verify_root(full, [KEY.root_key], now=NOW)
    over = {**full, "signatures": [*full["signatures"], signed(strangers[0])["signatures"][0]]}
    assert reason_of(over) == "malformed"


def test_the_error_that_comes_nearest_is_raised() -> None:
    """A root that has merely expired is not said to be by an unknown key."""
    late = NOW + timedelta(days=30)
    for keys in ((STRANGER, KEY), (KEY, STRANGER)):
        assert reason_of(signed(*keys), now=late) == "expired"
    with pytest.raises(RootSignatureError) as caught:
        verify_root(signed(STRANGER, KEY), [KEY.root_key], now=late)
    assert (caught.value.key_id, caught.value.expires) == (KEY.key_id, NOW + timedelta(days=7))


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=80),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=10,
    ),
    st.sampled_from(["signatures", "store", "generation", "key", "signature", "root", "format"]),
)
def test_any_value_anywhere_is_refused_and_never_crashes(value: Any, name: str) -> None:
    """Either the root stays as it was signed, or it is refused."""
    for root in (_with(**{name: value})(signed()), {**signed(), name: value}):
        try:
            verify_root(root, [KEY.root_key], now=NOW)
        except RootSignatureError:
            continue
        again = json.loads(json.dumps(root))
        again.pop("signatures")
        assert again == make_root()


# ---- who signs -------------------------------------------------------------------------


def test_a_signer_gives_a_root_its_own_signatures_only() -> None:
    """Those of the root before go: they are about another one."""
    before = signed(KEY)
    after = RootSigner(NEXT_KEY).signed({**before, "generation": 8}, now=NOW)
    assert signers_of(after) == (NEXT_KEY.key_id,)
    assert verify_root(after, [NEXT_KEY.root_key], now=NOW)


def test_a_key_that_does_not_fit_its_public_key_is_found_out() -> None:
    """As an alias does that leads to another key by now."""

    class Moved:
        root_key = NEXT_KEY.root_key

        def sign(self, message: bytes) -> bytes:
            return KEY.sign(message)

    with pytest.raises(SigningKeyError, match="another key") as caught:
        RootSigner(Moved()).signed(make_root(), now=NOW)
    assert caught.value.reason == "wrong_signature"


def test_a_signer_has_keys_and_an_expiry() -> None:
    """No key, the same key twice and no time are mistakes."""
    with pytest.raises(ValueError, match="at least one"):
        RootSigner()
    with pytest.raises(ValueError, match="given twice"):
        RootSigner(KEY, KEY)
    for expiry in (timedelta(0), timedelta(days=-1), timedelta(milliseconds=999)):
        with pytest.raises(ValueError, match="a second or more"):
            RootSigner(KEY, expiry=expiry)
