"""Sign with a key in AWS KMS."""

from __future__ import annotations

import functools
import re
import threading
from collections.abc import Callable, Mapping
from typing import Any

from crlcheck.errors import SigningKeyError
from crlcheck.signing.root_key import KeyKind, RootKey

_ALGORITHMS: Mapping[KeyKind, str] = {
    KeyKind.ED25519: "ED25519_SHA_512",
    KeyKind.P256: "ECDSA_SHA_256",
    KeyKind.P384: "ECDSA_SHA_384",
    KeyKind.P521: "ECDSA_SHA_512",
    KeyKind.RSA: "RSASSA_PSS_SHA_256",
}

# Of one attempt, in seconds; a function that publishes has minutes.
_CONNECT_TIMEOUT = 3
_READ_TIMEOUT = 10
_MAX_ATTEMPTS = 4

# Refusals that may be over soon.
_TRANSIENT = frozenset(
    {
        "DependencyTimeoutException",
        "KMSInternalException",
        "KeyUnavailableException",
        "LimitExceededException",
        "RequestLimitExceeded",
        "ThrottlingException",
    }
)

_REGION = re.compile(r"arn:aws[a-z-]*:kms:([a-z0-9-]+):")


class KmsKey:
    """
    A key in AWS KMS, by its ARN, its id or its alias.

    Its use is SIGN_VERIFY. Its kind is ECC_NIST_P256, ECC_NIST_P384, ECC_NIST_P521,
    ECC_NIST_EDWARDS25519 or RSA. The identity needs kms:GetPublicKey and kms:Sign.
    *client* is a boto3 or botocore client of KMS to use instead of one made from the
    environment.

    Raises:
        ImportError: boto3 is not installed and no client is given.
        SigningKeyError: the environment does not make a client.
    """

    def __init__(self, key_id: str, *, client: Any = None) -> None:
        self._key_id = key_id
        self._client = _new_client(key_id) if client is None else client
        self._lock = threading.Lock()
        self._root_key: RootKey | None = None

    def __repr__(self) -> str:
        return f"KmsKey({self._key_id!r})"

    @property
    def root_key(self) -> RootKey:
        """
        Its public key, which is asked for once.

        Raises:
            SigningKeyError: KMS refuses or does not answer, or the key signs no roots.
        """
        with self._lock:
            if self._root_key is None:
                self._root_key = self._fetch_public_key()
            return self._root_key

    def sign(self, message: bytes) -> bytes:
        """
        Return the signature over *message*.

        Raises:
            SigningKeyError: KMS refuses or does not answer.
        """
        kind = self.root_key.kind
        answer = self._call(
            "Sign",
            functools.partial(
                self._client.sign,
                Message=message,
                MessageType="RAW",
                SigningAlgorithm=_ALGORITHMS[kind],
            ),
        )
        signature: bytes = answer["Signature"]
        return signature

    def _fetch_public_key(self) -> RootKey:
        answer = self._call("GetPublicKey", self._client.get_public_key)
        if answer.get("KeyUsage") != "SIGN_VERIFY":
            raise SigningKeyError(
                f"KMS key {self._key_id}: expected one with the use SIGN_VERIFY, found "
                f"{answer.get('KeyUsage')}",
                reason="not_a_signing_key",
            )
        try:
            return RootKey.from_spki(answer["PublicKey"])
        except ValueError as error:
            raise SigningKeyError(
                f"KMS key {self._key_id} ({answer.get('KeySpec')}): {error}",
                reason="not_a_signing_key",
            ) from error

    def _call(self, what: str, operation: Callable[..., Any]) -> Mapping[str, Any]:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            answer: Mapping[str, Any] = operation(KeyId=self._key_id)
        except ClientError as error:
            code = error.response.get("Error", {}).get("Code", "")
            status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
            is_transient = code in _TRANSIENT or status >= 500
            message = f"KMS key {self._key_id}: {what} was refused: {error}"
            if is_transient:
                raise SigningKeyError(message, reason="kms_unavailable") from error
            raise SigningKeyError(message, reason="kms_refused") from error
        except BotoCoreError as error:
            raise SigningKeyError(
                f"KMS key {self._key_id}: {what} failed: {error}", reason="kms_unavailable"
            ) from error
        return answer


def _new_client(key_id: str) -> Any:
    try:
        import botocore.session
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError
    except ImportError as error:
        raise ImportError("keys in AWS KMS need boto3: pip install 'crlcheck[aws]'") from error
    config = Config(
        connect_timeout=_CONNECT_TIMEOUT,
        read_timeout=_READ_TIMEOUT,
        retries={"mode": "standard", "total_max_attempts": _MAX_ATTEMPTS},
        user_agent_extra="crlcheck",
    )
    region = _REGION.match(key_id)
    try:
        return botocore.session.get_session().create_client(
            "kms", region_name=None if region is None else region[1], config=config
        )
    except (BotoCoreError, ValueError) as error:
        raise SigningKeyError(
            f"KMS key {key_id}: the environment makes no client of KMS: {error}",
            reason="kms_unavailable",
        ) from error
