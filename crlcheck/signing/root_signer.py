"""Sign roots by one or several keys, for a time."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, TypeAlias

from crlcheck.errors import SigningKeyError
from crlcheck.signing.root_key import read_root_keys
from crlcheck.signing.signing_key import SigningKey, SigningKeySource, load_signing_key
from crlcheck.signing.statement import (
    DEFAULT_ROOT_EXPIRY,
    SIGNATURES,
    RootSignature,
    RootStatement,
)


class RootSigner:
    """
    Signs roots by one or several keys.

    Args:
        keys: as for ``load_signing_key``. Several sign each root while readers learn the
            next key.
        expiry: how long the signatures hold. They are renewed by every change and by
            ``sign_root``.

    Raises:
        ValueError: there is no key, one is given twice, or *expiry* is not positive.
        SigningKeyError, OSError, ImportError: as ``load_signing_key``.
    """

    def __init__(
        self,
        *keys: SigningKeySource,
        expiry: timedelta = DEFAULT_ROOT_EXPIRY,
    ) -> None:
        if not keys:
            raise ValueError("keys: expected at least one, found none")
        if expiry < timedelta(seconds=1):
            raise ValueError(f"expiry: expected a second or more, found {expiry}")
        self._expiry = expiry
        self._keys: tuple[SigningKey, ...] = tuple(load_signing_key(key) for key in keys)
        self.accepted = read_root_keys([key.root_key for key in self._keys])

    def expires_at(self, now: datetime) -> datetime:
        """Return when a signature made now expires."""
        return (now + self._expiry).replace(microsecond=0)

    def signed(self, root: Mapping[str, Any], *, now: datetime) -> dict[str, Any]:
        """
        Return the members of a root with the signatures of all keys, and no others.

        Raises:
            SigningKeyError: a key does not sign.
        """
        statement = RootStatement.about(root, self.expires_at(now))
        signatures = [_signature(key, statement).members() for key in self._keys]
        return {**root, SIGNATURES: signatures}


SignWith: TypeAlias = RootSigner | SigningKeySource | None
"""What signs the root when it is written: a signer, one key of it, or nothing."""


def signer_of(sign_with: SignWith) -> RootSigner | None:
    """Return the signer that was given, or one of the key that was given."""
    if sign_with is None or isinstance(sign_with, RootSigner):
        return sign_with
    return RootSigner(sign_with)


def _signature(key: SigningKey, statement: RootStatement) -> RootSignature:
    signature, root_key = key.sign(statement.message()), key.root_key
    # The alias of a key in KMS may lead to another key by now.
    if not root_key.verifies(signature, statement.message()):
        raise SigningKeyError(
            f"{key!r}: its signature does not hold by its public key {root_key.key_id}: the "
            "name leads to another key than before, or the key is broken",
            reason="wrong_signature",
        )
    return RootSignature(root_key.key_id, statement, signature)
