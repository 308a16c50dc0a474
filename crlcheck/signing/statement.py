"""
Sign and verify the statement about a root: its digest, its store, its generation, its end.

The signatures are the member ``signatures`` of the root, so that one swap of the root
stays one swap. What they sign is not the root itself but a **statement** about it. The
statement holds until it expires, and another one about the same root may follow, which
changes nothing in the set.

The rules, for a root and the keys that are accepted:

1. The root has signatures, at most MAX_SIGNATURES, and no two of one key.
2. One signature at least is by an accepted key and passes the rules 3 to 6. The others do
   not matter, so that keys can be replaced one after the other.
3. It holds over the statement, behind a prefix that no other signed text has.
4. The statement is of the root's store, and of the store to which the key is bound.
5. The statement is of this root: of its digest and generation.
6. The statement has not expired. This stops an attacker who withholds newer roots.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from crlcheck.encoding.strict_json import canonical_json, members_of, take, take_time, typed
from crlcheck.errors import RootSignatureError
from crlcheck.signing.root_key import RootKey
from crlcheck.times import time_text

SIGNATURES = "signatures"
"""The member of a root that has its signatures; it is no part of what is signed."""

STATEMENT_FORMAT = 1

DEFAULT_ROOT_EXPIRY = timedelta(days=7)
"""How long the signature of a root holds, unless another time is given."""

SOON = 0.25
"""The part of a validity period that is left when its end counts as soon."""

MAX_SIGNATURES = 16
"""A root has no more signatures."""

# What is signed begins with this, so that no signature of these keys over anything else
# is taken for one over a root. The number is that of the format.
_DOMAIN = b"crlcheck statement about a published root, format 1\n"

_MAX_SIGNATURE_SIZE = 1024
_HEX_32 = re.compile("[0-9a-f]{32}")
_HEX_64 = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class RootStatement:
    """
    What a signature says: the root of that digest is the set of *store* until *expires*.

    ``root`` is the SHA-256 of the canonical JSON of the root without its signatures.
    """

    root: str
    store: str
    generation: int
    expires: datetime

    @classmethod
    def about(cls, root: Mapping[str, Any], expires: datetime) -> RootStatement:
        """
        Return the statement about a root, whose members are given.

        Raises:
            ValueError: it has no store or no generation.
        """
        members = dict(root)
        store = _hex(take(members, "store", str), "store", _HEX_32)
        generation = take(members, "generation", int)
        return cls(root_digest(root), store, generation, expires)

    def message(self) -> bytes:
        """Return the bytes that are signed."""
        return _DOMAIN + canonical_json(self.members())

    def members(self) -> dict[str, Any]:
        """Return the statement as JSON."""
        return {
            "expires": time_text(self.expires),
            "generation": self.generation,
            "root": self.root,
            "store": self.store,
        }


@dataclass(frozen=True, slots=True)
class RootSignature:
    """A signature over a statement by the key of *key_id*."""

    key_id: str
    statement: RootStatement
    signature: bytes

    def members(self) -> dict[str, Any]:
        """Return the signature as a root has it."""
        return {
            "format": STATEMENT_FORMAT,
            "key": self.key_id,
            "signature": base64.b64encode(self.signature).decode("ascii"),
            **self.statement.members(),
        }


def root_digest(root: Mapping[str, Any]) -> str:
    """Return the SHA-256 of a root's canonical JSON without its signatures."""
    signed = {name: value for name, value in root.items() if name != SIGNATURES}
    return hashlib.sha256(canonical_json(signed)).hexdigest()


def verify_root(
    root: Mapping[str, Any], keys: Sequence[RootKey], *, now: datetime
) -> tuple[RootSignature, ...]:
    """
    Return the signatures of a root that hold, the one that expires last first.

    *root* has the members of the root as JSON. Nothing but its signatures, store and
    generation is looked at.

    Raises:
        RootSignatureError: no accepted key has signed it, or an entry cannot be read; its
            ``reason`` is the rule that failed.
    """
    about = _Root(root)
    entries = _entries(root, about)
    by_id: dict[str, list[RootKey]] = {}
    for key in keys:
        by_id.setdefault(key.key_id, []).append(key)
    valid: list[RootSignature] = []
    errors: list[RootSignatureError] = []
    for key_id, entry in entries.items():
        try:
            valid.append(_verified(about, key_id, entry, by_id.get(key_id, ()), now))
        except RootSignatureError as error:
            errors.append(error)
    if not valid:
        raise max(errors, key=lambda error: _RANK.index(error.reason))
    return tuple(sorted(valid, key=lambda one: one.statement.expires, reverse=True))


def check_same_store(statement: RootStatement, held: str) -> None:
    """
    Refuse to follow the set of one store by that of another, both signed by one key.

    Raises:
        RootSignatureError: the statement is about a root of another store than *held*.
    """
    if held and statement.store != held:
        raise RootSignatureError(
            f"the root of generation {statement.generation} is refused: it is of store "
            f"{statement.store}, and the set in use of store {held}",
            reason="other_store",
        )


def signers_of(root: Mapping[str, Any]) -> tuple[str, ...]:
    """
    Return the ids of the keys that a root says have signed it; nothing is verified.

    Raises:
        RootSignatureError: its signatures cannot be read.
    """
    if root.get(SIGNATURES) in (None, []):
        return ()
    return tuple(_entries(root, _Root(root)))


def stated_expiry(root: Mapping[str, Any]) -> datetime | None:
    """
    Return when the last signature of a root expires by its own words; nothing is verified.

    None for a root without a signature.

    Raises:
        RootSignatureError: its signatures cannot be read.
    """
    if not signers_of(root):
        return None
    about = _Root(root)
    entries = _entries(root, about)
    return max(_read(about, key, entry).statement.expires for key, entry in entries.items())


def ends_soon(at: datetime, expires: datetime, now: datetime, warn: float | timedelta) -> bool:
    """
    Whether a signature has less than *warn* left: a time, or a part of the time that it holds.

    *at* is when its root was written. That time is the one from there to its end, but no
    more than DEFAULT_ROOT_EXPIRY: a statement does not say when it was signed, and a root
    that is signed again and again would seem to have a signature that holds for months.
    """
    if not isinstance(warn, timedelta):
        warn = warn * max(min(expires - at, DEFAULT_ROOT_EXPIRY), timedelta(0))
    return expires - now <= warn


# Where no signature holds, the error of the highest rank is raised: it comes nearest.
_RANK = (
    "unknown_key",
    "later_format",
    "invalid_signature",
    "other_store",
    "other_root",
    "expired",
)


class _Root:
    """A root as messages name it, with its own statement's members."""

    def __init__(self, root: Mapping[str, Any]) -> None:
        self.digest = root_digest(root)
        self.store = root.get("store")
        self.generation = root.get("generation")

    def refused(
        self, why: str, *, reason: str, key_id: str | None = None, expires: datetime | None = None
    ) -> RootSignatureError:
        where = "the root"
        if isinstance(self.generation, int) and abs(self.generation) < 1 << 63:
            where = f"the root of generation {self.generation}"
        return RootSignatureError(
            f"{where} is refused: {why}", reason=reason, key_id=key_id, expires=expires
        )


def _entries(root: Mapping[str, Any], about: _Root) -> dict[str, dict[str, Any]]:
    """Return the members of each signature by key id (rule 1)."""
    found = root.get(SIGNATURES)
    if found is None or found == []:
        raise about.refused("it has no signature", reason="unsigned")
    entries: dict[str, dict[str, Any]] = {}
    try:
        listed = typed(found, list, SIGNATURES)
        if len(listed) > MAX_SIGNATURES:
            raise ValueError(f"expected at most {MAX_SIGNATURES} signatures, found {len(listed)}")
        for value in listed:
            entry = members_of(value, SIGNATURES)
            key_id = _hex(take(entry, "key", str, SIGNATURES), f"{SIGNATURES}.key", _HEX_32)
            if key_id in entries:
                raise about.refused(
                    f"the key {key_id} has signed it twice, and which of the two counts is open",
                    reason="key_twice",
                    key_id=key_id,
                )
            entries[key_id] = entry
    except ValueError as error:
        raise about.refused(
            f"its signatures cannot be read: {error}", reason="malformed"
        ) from error
    return entries


def _verified(
    about: _Root, key_id: str, entry: dict[str, Any], keys: Sequence[RootKey], now: datetime
) -> RootSignature:
    """Return the signature of one entry if it holds for this root (rules 2 to 6)."""
    if not keys:
        raise about.refused(
            f"the key {key_id} that signed it is not accepted",
            reason="unknown_key",
            key_id=key_id,
        )
    signed = _read(about, key_id, entry)
    statement = signed.statement
    if not keys[0].verifies(signed.signature, statement.message()):
        raise about.refused(
            f"the signature by the key {key_id} does not hold over its statement",
            reason="invalid_signature",
            key_id=key_id,
        )
    stores = {key.store for key in keys}
    if statement.store != about.store or not stores & {None, statement.store}:
        expected = about.store if statement.store != about.store else next(iter(stores))
        raise about.refused(
            f"the key {key_id} signed a root of another store: expected {expected!s:.40}, "
            f"found {statement.store}",
            reason="other_store",
            key_id=key_id,
        )
    if (statement.root, statement.generation) != (about.digest, about.generation):
        raise about.refused(
            f"the key {key_id} signed another root, of generation {statement.generation} and "
            f"digest {statement.root}; this one, which may have been changed since, has "
            f"{about.digest}",
            reason="other_root",
            key_id=key_id,
        )
    if now >= statement.expires:
        raise about.refused(
            f"the statement that the key {key_id} signed expired at "
            f"{time_text(statement.expires)}, and now it is {time_text(now)}",
            reason="expired",
            key_id=key_id,
            expires=statement.expires,
        )
    return signed


def _read(about: _Root, key_id: str, entry: dict[str, Any]) -> RootSignature:
    entry = dict(entry)
    try:
        number = take(entry, "format", int, SIGNATURES)
        if number > STATEMENT_FORMAT:
            raise about.refused(
                f"the statement that the key {key_id} signed has the later format {number}; "
                f"this version of crlcheck reads {STATEMENT_FORMAT}",
                reason="later_format",
                key_id=key_id,
            )
        if number != STATEMENT_FORMAT:
            raise ValueError(f"{SIGNATURES}.format: expected {STATEMENT_FORMAT}, found {number}")
        statement = RootStatement(
            root=_hex(take(entry, "root", str, SIGNATURES), f"{SIGNATURES}.root", _HEX_64),
            store=_hex(take(entry, "store", str, SIGNATURES), f"{SIGNATURES}.store", _HEX_32),
            generation=take(entry, "generation", int, SIGNATURES),
            expires=take_time(entry, "expires", SIGNATURES),
        )
        return RootSignature(key_id, statement, _signature(entry))
    except ValueError as error:
        raise about.refused(
            f"the signature by the key {key_id} cannot be read: {error}",
            reason="invalid_signature",
            key_id=key_id,
        ) from error


def _signature(entry: dict[str, Any]) -> bytes:
    text = take(entry, "signature", str, SIGNATURES)
    try:
        signature = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError(f"{SIGNATURES}.signature: expected base64: {error}") from error
    if not 0 < len(signature) <= _MAX_SIGNATURE_SIZE:
        raise ValueError(
            f"{SIGNATURES}.signature: expected at most {_MAX_SIGNATURE_SIZE} bytes, "
            f"found {len(signature)}"
        )
    return signature


def _hex(text: str, where: str, pattern: re.Pattern[str]) -> str:
    if pattern.fullmatch(text) is None:
        raise ValueError(f"{where}: expected {pattern.pattern}, found {text!r:.80}")
    return text
