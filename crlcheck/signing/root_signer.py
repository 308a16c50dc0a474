"""Sign the root of a store whenever it is written, and tell whose root may be signed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, TypeAlias

from crlcheck.errors import RootSignatureError, SigningKeyError
from crlcheck.signing.root_key import RootKey, read_root_keys
from crlcheck.signing.signing_key import SigningKey, SigningKeySource, load_signing_key
from crlcheck.signing.statement import (
    SIGNATURES,
    RootSignature,
    RootStatement,
    signers_of,
    verify_root,
)

DEFAULT_ROOT_EXPIRY = timedelta(days=7)
"""How long the signature of a root holds, unless another time is given."""


class RootSigner:
    """
    Signs roots by one or several keys.

    Args:
        keys: as for ``load_signing_key``. Several sign each root while readers learn the
            next key.
        expiry: how long the signatures hold. They are renewed by every change and by
            ``sign_root``.
        accepts: public keys, beside those of *keys*, by which the root that is changed may
            be signed.

    Raises:
        ValueError: there is no key, one is given twice, or *expiry* is not positive.
        SigningKeyError, OSError, ImportError: as ``load_signing_key``.
    """

    def __init__(
        self,
        *keys: SigningKeySource,
        expiry: timedelta = DEFAULT_ROOT_EXPIRY,
        accepts: Sequence[RootKey | str] = (),
    ) -> None:
        if not keys:
            raise ValueError("keys: expected at least one, found none")
        if expiry < timedelta(seconds=1):
            raise ValueError(f"expiry: expected a second or more, found {expiry}")
        self._expiry = expiry
        self._keys: tuple[SigningKey, ...] = tuple(load_signing_key(key) for key in keys)
        own = [key.root_key for key in self._keys]
        read_root_keys(own)  # none twice
        others = read_root_keys(accepts) if accepts else ()
        self.accepted = (*own, *(key for key in others if key not in own))

    @property
    def expiry(self) -> timedelta:
        """How long a signature holds."""
        return self._expiry

    def signed(self, root: Mapping[str, Any], *, now: datetime) -> dict[str, Any]:
        """
        Return the members of a root with the signatures of all keys, and no others.

        Raises:
            SigningKeyError: a key does not sign.
        """
        expires = (now + self._expiry).replace(microsecond=0)
        statement = RootStatement.about(root, expires)
        signatures = [_signature(key, statement).members() for key in self._keys]
        return {**root, SIGNATURES: signatures}


SignWith: TypeAlias = RootSigner | SigningKeySource | None
"""What signs the root when it is written: a signer, one key of it, or nothing."""


def signer_of(sign_with: SignWith) -> RootSigner | None:
    """Return the signer that was given, or one of the key that was given."""
    if sign_with is None or isinstance(sign_with, RootSigner):
        return sign_with
    return RootSigner(sign_with)


def check_may_replace(
    root: Mapping[str, Any] | None, signer: RootSigner | None, *, now: datetime, where: str
) -> None:
    """
    Refuse to change a root that *signer* must not sign, or that must not lose its signature.

    *root* has the members of the root that is there, None where there is none. A signer
    vouches for all that the root has, whoever wrote it. So it changes only a root that is
    signed by a key that it accepts.

    Raises:
        RootSignatureError: it is refused. The reason is ``"no_signing_key"`` where the root
            is signed and there is no signer, else as of ``verify_root``.
    """
    if root is None:
        return
    if signer is not None:
        try:
            verify_root(root, signer.accepted, now=now)
        except RootSignatureError as error:
            raise RootSignatureError(
                f"{where}: {error}; it is not signed anew, because that would vouch for it",
                reason=error.reason,
                key_id=error.key_id,
                expires=error.expires,
            ) from error
        return
    signers = signers_of(root)
    if signers:
        raise RootSignatureError(
            f"{where}: the root is signed by the key {', '.join(signers)} and would lose its "
            "signature: expected the option --sign-with (CRLCHECK_SIGN_WITH, sign_with) with "
            "that key, found none",
            reason="no_signing_key",
            key_id=signers[0],
        )


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
