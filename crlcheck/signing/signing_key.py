"""
Sign with private keys: from a file, or in AWS KMS, which never gives one away.

``cryptography`` and botocore are imported only where a key is used.
"""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, runtime_checkable

from crlcheck.errors import SigningKeyError, naming
from crlcheck.signing.root_key import RootKey, sign

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

# A file with an RSA key of 8192 bits has 6 KB.
_MAX_FILE_SIZE = 64 << 10

_KMS_ID = re.compile(
    r"arn:aws[a-z-]*:kms:.*|alias/.*|mrk-[0-9a-f]{32}"
    r"|[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}",
    re.DOTALL,
)


@runtime_checkable
class SigningKey(Protocol):
    """A private key that signs roots; an object of your own may keep it elsewhere."""

    @property
    def root_key(self) -> RootKey:
        """Its public key."""

    def sign(self, message: bytes) -> bytes:
        """Return the signature over *message* by the algorithm of ``root_key.kind``."""


SigningKeySource: TypeAlias = str | os.PathLike[str] | SigningKey
"""The path of a private key's file, the id, ARN or alias of a key in AWS KMS, or a key."""


def load_signing_key(source: SigningKeySource) -> SigningKey:
    """
    Return a private key that signs roots.

    *source* is the path of a file in PEM (PKCS #8), or names a key in AWS KMS: its ARN, its
    id, or ``alias/`` and its alias. A file of such a name is given with ``./`` before it.

    Raises:
        SigningKeyError: it is no key that signs roots, others may read its file, or KMS
            refuses.
        OSError: the file cannot be read.
        ImportError: the key is in KMS, and boto3 is not installed.
    """
    if isinstance(source, SigningKey):
        return source
    if isinstance(source, str) and is_kms_id(source):
        from crlcheck.signing.kms import KmsKey

        return KmsKey(source)
    return FileKey(source)


def is_kms_id(text: str) -> bool:
    """Whether *text* names a key in AWS KMS rather than a file."""
    return _KMS_ID.fullmatch(text) is not None


class FileKey:
    """
    The private key of a file in PEM, without a passphrase.

    As with ssh, a file of the process's own user that others may read is refused. The
    rights of a file of another user, such as a mounted secret's, are that user's affair.

    Raises: as ``load_signing_key``.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = os.fspath(path)
        self._private_key, self._root_key = _read_key(_read_private(self._path), self._path)

    def __repr__(self) -> str:
        return f"FileKey({self._path!r})"

    @property
    def root_key(self) -> RootKey:
        """Its public key."""
        return self._root_key

    def sign(self, message: bytes) -> bytes:
        """Return the signature over *message*."""
        return sign(self._root_key.kind, self._private_key, message)


def make_key() -> tuple[bytes, RootKey]:
    """Return a new Ed25519 private key in PEM (PKCS #8), and its public key."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import (
        Encoding,
        NoEncryption,
        PrivateFormat,
    )

    made = Ed25519PrivateKey.generate()
    body = made.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return body, _root_key(made.public_key())


def write_new_key(path: str | os.PathLike[str]) -> RootKey:
    """
    Write a new Ed25519 private key to a new file that its owner alone may read.

    Raises:
        FileExistsError: there is such a file. It is never replaced: it may be a key.
        OSError: it cannot be written.
    """
    body, root_key = make_key()
    with naming(path):
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(body)
                file.flush()
                os.fsync(file.fileno())
        except BaseException:
            Path(path).unlink(missing_ok=True)  # half a key is none
            raise
    return root_key


def read_public_key(path: str | os.PathLike[str]) -> RootKey:
    """
    Return the public key of a file in PEM with a private or a public key.

    Raises: as ``load_signing_key``; anybody may read a file with a public key.
    """
    with naming(path), Path(path).open("rb") as file:
        body = file.read(_MAX_FILE_SIZE + 1)
    if b"-----BEGIN PUBLIC KEY-----" not in body:
        return FileKey(path).root_key
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    try:
        return _root_key(load_pem_public_key(body))
    except (ValueError, UnsupportedAlgorithm) as error:
        raise _no_key(os.fspath(path), str(error)) from error


def _read_private(path: str) -> bytes:
    """Return the content of a private key's file, unless others may read it."""
    with naming(path), Path(path).open("rb") as file:
        body = file.read(_MAX_FILE_SIZE + 1)
        status = os.fstat(file.fileno())
    # Neither /dev/stdin nor the pipe of a shell's <(...) is a file with rights of its own.
    is_own = stat.S_ISREG(status.st_mode) and status.st_uid == os.geteuid()
    if b"PRIVATE KEY-----" in body and is_own and status.st_mode & 0o077:
        raise SigningKeyError(
            f"{path}: others than its owner may use this private key: its mode is "
            f"{stat.S_IMODE(status.st_mode):04o}, expected 0600 or less",
            reason="exposed_key",
        )
    return body


def _read_key(body: bytes, path: str) -> tuple[PrivateKeyTypes, RootKey]:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    if len(body) > _MAX_FILE_SIZE:
        raise _no_key(path, f"expected at most {_MAX_FILE_SIZE} bytes")
    if b"ENCRYPTED" in body:
        raise SigningKeyError(
            f"{path}: the private key has a passphrase, which crlcheck does not read: expected "
            "one without, in a file of mode 0600",
            reason="encrypted_key",
        )
    if b"PRIVATE KEY-----" not in body:
        is_token = re.match(rb"\s*[a-z0-9-]{1,20}:[A-Za-z0-9_-]+\s*$", body) is not None
        is_public = is_token or b"PUBLIC KEY-----" in body
        raise _no_key(path, f"found {'a public key' if is_public else 'no PEM of a private key'}")
    try:
        private_key = load_pem_private_key(body, None)
        return private_key, _root_key(private_key.public_key())
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise _no_key(path, str(error)) from error


def _root_key(public_key: Any) -> RootKey:
    """
    Return the public key of one of ``cryptography``.

    Raises:
        ValueError: no root is signed by its kind.
    """
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    return RootKey.from_spki(
        public_key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    )


def _no_key(path: str, why: str) -> SigningKeyError:
    return SigningKeyError(
        f"{path}: expected a private key in PEM (PKCS #8) that signs roots: {why}",
        reason="not_a_signing_key",
    )
