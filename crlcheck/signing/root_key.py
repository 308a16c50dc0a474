"""
Read the public keys by which a root may be signed, and verify signatures by them.

A key is written as one token that fits into an environment variable, JSON and a command
line: its kind, a colon and its bytes in base64url, as in ``ed25519:11qYAYKxCrfVS_7TyWQH...``.
Each kind has one signature algorithm, so that nobody but the key's owner chooses it.
"""

from __future__ import annotations

import base64
import binascii
import enum
import functools
import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from crlcheck.types import several

MIN_RSA_BITS = 2048
"""The shortest RSA key that may sign a root."""

_MAX_RSA_BITS = 8192


class KeyKind(enum.Enum):
    """
    A kind of key with its signature algorithm.

    ED25519 signs the message itself (RFC 8032). The ECDSA keys sign its SHA-256, SHA-384
    or SHA-512, by their size. RSA signs by RSASSA-PSS with SHA-256 (RFC 8017 8.1).
    """

    ED25519 = "ed25519"
    P256 = "ecdsa-p256"
    P384 = "ecdsa-p384"
    P521 = "ecdsa-p521"
    RSA = "rsa-pss"

    @property
    def spki_prefix(self) -> bytes:
        """The bytes with which every SubjectPublicKeyInfo of this kind begins."""
        return _SPKI[self][0]

    @property
    def size(self) -> int | None:
        """How many bytes follow them, None where that differs from key to key."""
        return _SPKI[self][1]


_EC = "06072a8648ce3d0201"  # id-ecPublicKey
_SPKI: dict[KeyKind, tuple[bytes, int | None]] = {
    # RFC 8410 4
    KeyKind.ED25519: (bytes.fromhex("302a300506032b6570032100"), 32),
    # RFC 5480 2: an uncompressed point follows
    KeyKind.P256: (bytes.fromhex(f"30593013{_EC}06082a8648ce3d030107034200"), 65),
    KeyKind.P384: (bytes.fromhex(f"30763010{_EC}06052b81040022036200"), 97),
    KeyKind.P521: (bytes.fromhex(f"30819b3010{_EC}06052b8104002303818600"), 133),
    # RFC 3279 2.3.1: the lengths depend on the key, so a token has all of it
    KeyKind.RSA: (b"", None),
}

_TOKEN = re.compile(r"([a-z0-9-]{1,20}):([A-Za-z0-9_-]{1,3000})(?:@([0-9a-f]{32}))?")


@dataclass(frozen=True, slots=True)
class RootKey:
    """
    A public key by which a root may be signed.

    ``public`` is what follows ``kind.spki_prefix`` in its SubjectPublicKeyInfo. With
    ``store``, the id of a store, its signature counts for that store only.
    """

    kind: KeyKind
    public: bytes
    store: str | None = None

    @classmethod
    def parse(cls, text: str) -> RootKey:
        """
        Read the token of a key, which may end in ``@`` and the id of a store.

        Raises:
            ValueError: it is none.
        """
        found = _TOKEN.fullmatch(text)
        kinds = {kind.value: kind for kind in KeyKind}
        if found is None or found[1] not in kinds:
            raise ValueError(
                "expected the public key of a root such as ed25519:11qYAYKx..., as "
                f"crlcheck key show prints it, found {_shown(text, kinds)}"
            )
        kind, encoded = kinds[found[1]], found[2]
        try:
            public = base64.b64decode(encoded + "=" * (-len(encoded) % 4), b"-_", validate=True)
        except binascii.Error as error:
            raise ValueError(f"{found[1]} key: expected base64url: {error}") from error
        key = cls(kind, public, found[3])
        if _encoded(public) != encoded:
            raise ValueError(f"{found[1]} key: its base64url does not end with a whole byte")
        if kind.size not in (None, len(public)):
            raise ValueError(f"{found[1]} key: expected {kind.size} bytes, found {len(public)}")
        if kind is not KeyKind.ED25519:
            key.check()
        return key

    @classmethod
    def from_spki(cls, spki: bytes) -> RootKey:
        """
        Return the key of a SubjectPublicKeyInfo in DER.

        Raises:
            ValueError: no root is signed by keys of its kind.
        """
        for kind in KeyKind:
            if kind.size is not None and spki.startswith(kind.spki_prefix):
                key = cls(kind, spki[len(kind.spki_prefix) :])
                break
        else:
            key = cls(KeyKind.RSA, spki)
        key.check()
        return key

    @property
    def spki(self) -> bytes:
        """The SubjectPublicKeyInfo in DER."""
        return self.kind.spki_prefix + self.public

    @property
    def key_id(self) -> str:
        """The first 32 hexadecimal digits of the SHA-256 of the SubjectPublicKeyInfo."""
        return hashlib.sha256(self.spki).hexdigest()[:32]

    @property
    def token(self) -> str:
        """The key as text, as ``parse`` reads it."""
        bound = "" if self.store is None else f"@{self.store}"
        return f"{self.kind.value}:{_encoded(self.public)}{bound}"

    def __str__(self) -> str:
        return self.token

    def check(self) -> None:
        """
        Refuse bytes that are no key.

        Raises:
            ValueError: they are none.
        """
        if self.kind.size not in (None, len(self.public)):
            raise ValueError(
                f"{self.kind.value} key: expected {self.kind.size} bytes, found {len(self.public)}"
            )
        _public_key(self.kind, self.public)

    def verifies(self, signature: bytes, message: bytes) -> bool:
        """Whether *signature* is this key's, over *message*."""
        from cryptography.exceptions import InvalidSignature

        try:
            key = _public_key(self.kind, self.public)
            if self.kind is KeyKind.ED25519:
                key.verify(signature, message)
            elif self.kind is KeyKind.RSA:
                key.verify(signature, message, *_pss(for_signing=False))
            else:
                key.verify(signature, message, _ecdsa(self.kind))
        except (InvalidSignature, ValueError):
            return False
        return True


def read_root_keys(given: Iterable[RootKey | str] | str) -> tuple[RootKey, ...]:
    """
    Read several keys: tokens, or one text with a comma between them.

    Raises:
        ValueError: one is no key, two are the same, or there is none. No key would be
            the same as no demand for a signature, which nobody should state by mistake.
    """
    texts = given.split(",") if isinstance(given, str) else [*several("root_keys", given)]
    keys = tuple(one if isinstance(one, RootKey) else RootKey.parse(one.strip()) for one in texts)
    if not keys:
        raise ValueError("expected at least one public key, found none")
    for position, key in enumerate(keys):
        if key in keys[:position]:
            raise ValueError(f"the key {key.key_id} is given twice")
    return keys


def sign(kind: KeyKind, private_key: Any, message: bytes) -> bytes:
    """Return the signature over *message* by a private key of ``cryptography``."""
    if kind is KeyKind.ED25519:
        signature: bytes = private_key.sign(message)
    elif kind is KeyKind.RSA:
        signature = private_key.sign(message, *_pss(for_signing=True))
    else:
        signature = private_key.sign(message, _ecdsa(kind))
    return signature


def _encoded(public: bytes) -> str:
    return base64.urlsafe_b64encode(public).rstrip(b"=").decode("ascii")


def _shown(text: str, kinds: dict[str, KeyKind]) -> str:
    """Return what is said of a text that is no key, which may be a secret in its place."""
    if "PRIVATE KEY" in text:
        return "a private key"
    if "PUBLIC KEY" in text:
        return "a public key in PEM: crlcheck key show FILE prints its token"
    kind = text.partition(":")[0]
    if re.fullmatch(r"[A-Za-z0-9-]{1,20}", kind) and ":" in text:
        known = "of that kind, but malformed" if kind in kinds else f"there are {', '.join(kinds)}"
        return f"one of the kind {kind!r} ({known})"
    return f"{len(text)} characters without a kind"


# The modules of cryptography are imported where a key needs them: for Ed25519 that takes
# a third of the time that its module for all formats of keys takes.
@functools.lru_cache(maxsize=64)
def _public_key(kind: KeyKind, public: bytes) -> Any:
    """
    Return the key as ``cryptography`` has it.

    Raises:
        ValueError: the bytes are no such key.
    """
    if kind is KeyKind.ED25519:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

        return Ed25519PublicKey.from_public_bytes(public)
    if kind is KeyKind.RSA:
        return _rsa_key(public)
    from cryptography.hazmat.primitives.asymmetric import ec

    curves: dict[KeyKind, Any] = {
        KeyKind.P256: ec.SECP256R1,
        KeyKind.P384: ec.SECP384R1,
        KeyKind.P521: ec.SECP521R1,
    }
    try:
        return ec.EllipticCurvePublicKey.from_encoded_point(curves[kind](), public)
    except ValueError as error:
        raise ValueError(f"{kind.value} key: expected a point of its curve: {error}") from error


def _rsa_key(spki: bytes) -> Any:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
    from cryptography.hazmat.primitives.serialization import (
        Encoding,
        PublicFormat,
        load_der_public_key,
    )

    try:
        key = load_der_public_key(spki)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ValueError(f"expected a SubjectPublicKeyInfo in DER: {error}") from error
    if not isinstance(key, RSAPublicKey):
        kind = type(key).__name__.removesuffix("PublicKey")
        raise ValueError(
            f"expected Ed25519, ECDSA on P-256, P-384 or P-521, or RSA, found another key: {kind}"
        )
    if not MIN_RSA_BITS <= key.key_size <= _MAX_RSA_BITS:
        raise ValueError(
            f"expected an RSA key of {MIN_RSA_BITS} to {_MAX_RSA_BITS} bits, found {key.key_size}"
        )
    if key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo) != spki:
        raise ValueError("rsa-pss key: expected rsaEncryption in DER, found another form of it")
    return key


def _pss(*, for_signing: bool) -> tuple[Any, Any]:
    """Return padding and hash of RSASSA-PSS; a signer chooses the length of its salt."""
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric.padding import MGF1, PSS

    salt = PSS.DIGEST_LENGTH if for_signing else PSS.AUTO
    return PSS(MGF1(hashes.SHA256()), salt), hashes.SHA256()


def _ecdsa(kind: KeyKind) -> Any:
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec

    by_kind: dict[KeyKind, Any] = {
        KeyKind.P256: hashes.SHA256,
        KeyKind.P384: hashes.SHA384,
        KeyKind.P521: hashes.SHA512,
    }
    return ec.ECDSA(by_kind[kind]())
