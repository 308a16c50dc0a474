"""Keys in AWS KMS, as moto keeps them and signs with them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from crlcheck import SigningKeyError, load_signing_key
from crlcheck.signing.kms import KmsKey
from crlcheck.signing.root_key import KeyKind
from support.moto_server import S3Environment, make_client


@pytest.fixture
def kms(s3: S3Environment) -> Any:
    """A boto3 client of KMS at moto; the environment leads every other client there."""
    return make_client(s3.endpoint, "kms")


def make_kms_key(kms: Any, spec: str = "ECC_NIST_P256", usage: str = "SIGN_VERIFY") -> str:
    """Make a key and return its ARN."""
    arn: str = kms.create_key(KeySpec=spec, KeyUsage=usage)["KeyMetadata"]["Arn"]
    return arn


@pytest.mark.parametrize(
    ("spec", "kind"),
    [
        ("ECC_NIST_P256", KeyKind.P256),
        ("ECC_NIST_P384", KeyKind.P384),
        ("ECC_NIST_P521", KeyKind.P521),
        ("RSA_2048", KeyKind.RSA),
        ("RSA_3072", KeyKind.RSA),
    ],
)
def test_kms_signs_and_the_public_key_verifies(kms: Any, spec: str, kind: KeyKind) -> None:
    """
    By ARN, id and alias, all of which lead to one public key; and KMS itself agrees.
    """
    arn = make_kms_key(kms, spec)
    kms.create_alias(AliasName=f"alias/{spec}", TargetKeyId=arn)
    keys = [load_signing_key(name) for name in (arn, arn.rpartition("/")[2], f"alias/{spec}")]
    kms.delete_alias(AliasName=f"alias/{spec}")
    for key in keys[:2]:
        signature = key.sign(b"message")
        assert key.root_key.kind is kind
        assert key.root_key == keys[0].root_key
        assert key.root_key.verifies(signature, b"message")
        assert not key.root_key.verifies(signature, b"another")


def test_an_alias_signs(kms: Any) -> None:
    """The public key is that of the key behind it."""
    arn = make_kms_key(kms)
    kms.create_alias(AliasName="alias/signs", TargetKeyId=arn)
    key = load_signing_key("alias/signs")
    assert key.root_key == load_signing_key(arn).root_key
    assert key.root_key.verifies(key.sign(b"message"), b"message")


@pytest.mark.parametrize(
    ("spec", "usage"),
    [("RSA_2048", "ENCRYPT_DECRYPT"), ("ECC_SECG_P256K1", "SIGN_VERIFY")],
)
def test_a_key_that_signs_no_roots_is_refused(kms: Any, spec: str, usage: str) -> None:
    """By its use or by its kind."""
    with pytest.raises(SigningKeyError, match="expected") as caught:
        load_signing_key(make_kms_key(kms, spec, usage)).root_key  # noqa: B018
    assert caught.value.reason == "not_a_signing_key"


def test_a_key_that_is_not_there_is_refused(kms: Any) -> None:
    """The message has what KMS says."""
    key = load_signing_key("alias/nothing")
    with pytest.raises(SigningKeyError, match="alias/nothing.*NotFoundException") as caught:
        key.sign(b"message")
    assert caught.value.reason == "kms_refused"


def test_the_region_of_an_arn_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without any region in the environment."""
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    key = KmsKey("arn:aws:kms:eu-west-3:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab")
    assert key._client.meta.region_name == "eu-west-3"
    with pytest.raises(SigningKeyError, match="region") as caught:
        KmsKey("alias/root")
    assert caught.value.reason == "kms_unavailable"


class _Client:
    """A client of KMS with an Ed25519 key, which moto has not."""

    def __init__(self, error: Exception | None = None) -> None:
        self.private_key = ed25519.Ed25519PrivateKey.generate()
        self.error = error

    def get_public_key(self, **_given: str) -> Mapping[str, Any]:
        if self.error is not None:
            raise self.error
        spki = self.private_key.public_key().public_bytes(
            Encoding.DER, PublicFormat.SubjectPublicKeyInfo
        )
        return {"KeyUsage": "SIGN_VERIFY", "KeySpec": "ECC_NIST_EDWARDS25519", "PublicKey": spki}

    def sign(self, **given: Any) -> Mapping[str, Any]:
        assert (given["SigningAlgorithm"], given["MessageType"]) == ("ED25519_SHA_512", "RAW")
        return {"Signature": self.private_key.sign(given["Message"])}


def test_an_ed25519_key_in_kms_signs_the_message_itself() -> None:
    """By KMS's own name for that algorithm, which its API model has."""
    import botocore.session

    model: Any = botocore.session.get_session().get_service_model("kms")
    assert "ED25519_SHA_512" in model.shape_for("SigningAlgorithmSpec").enum
    key = KmsKey("alias/ed", client=_Client())
    assert key.root_key.kind is KeyKind.ED25519
    assert key.root_key.verifies(key.sign(b"message"), b"message")


def _refusal(code: str, status: int) -> ClientError:
    return ClientError(
        {"Error": {"Code": code, "Message": "no"}, "ResponseMetadata": {"HTTPStatusCode": status}},  # type: ignore[typeddict-item]
        "GetPublicKey",
    )


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (_refusal("AccessDeniedException", 400), "kms_refused"),
        (_refusal("DisabledException", 400), "kms_refused"),
        (_refusal("KMSInvalidStateException", 400), "kms_refused"),
        (_refusal("ThrottlingException", 400), "kms_unavailable"),
        (_refusal("Unknown", 503), "kms_unavailable"),
        (EndpointConnectionError(endpoint_url="http://127.0.0.1:9"), "kms_unavailable"),
    ],
)
def test_what_may_pass_is_told_from_what_does_not(error: Exception, reason: str) -> None:
    """The reason says whether trying again may help."""
    with pytest.raises(SigningKeyError) as caught:
        KmsKey("alias/root", client=_Client(error)).root_key  # noqa: B018
    assert caught.value.reason == reason
