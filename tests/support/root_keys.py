"""Keys that sign roots, in memory."""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from crlcheck import RootKey
from crlcheck.signing.root_key import KeyKind


class MemoryKey:
    """An Ed25519 key that counts what it has signed."""

    def __init__(self) -> None:
        self._private_key = Ed25519PrivateKey.generate()
        self.root_key = RootKey(KeyKind.ED25519, self._private_key.public_key().public_bytes_raw())
        self.num_signed = 0

    def sign(self, message: bytes) -> bytes:
        """Return the signature over *message*."""
        self.num_signed += 1
        return self._private_key.sign(message)

    @property
    def token(self) -> str:
        """The public key as text."""
        return self.root_key.token

    @property
    def key_id(self) -> str:
        """The id of the public key."""
        return self.root_key.key_id
