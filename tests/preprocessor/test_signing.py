"""A preprocessor that signs the root of its store."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import crlcheck
from crlcheck.catalog.published_set import read_set
from crlcheck.signing.signing_key import write_new_key
from crlcheck.signing.statement import verify_root
from support.example_pki import example_pki
from support.functions import lines_of
from support.moto_server import S3Environment, make_client
from support.pipeline import Pipeline
from support.pki import NOW, make_authority, make_crl

PKI = example_pki()


@pytest.fixture
def pipeline(monkeypatch: pytest.MonkeyPatch, s3: S3Environment) -> Pipeline:
    """A preprocessor that trusts the example issuer."""
    return Pipeline(monkeypatch, s3)


@pytest.fixture
def kms_key(s3: S3Environment) -> str:
    """The ARN of a key in KMS."""
    kms: Any = make_client(s3.endpoint, "kms")
    made = kms.create_key(KeySpec="ECC_NIST_P256", KeyUsage="SIGN_VERIFY")
    arn: str = made["KeyMetadata"]["Arn"]
    return arn


def expiry_of(store: str, key: str | Path) -> datetime:
    """Return when the signature of a store's root expires; it holds."""
    members = read_set(crlcheck.open_store(store))[0].members
    assert members is not None
    keys = crlcheck.RootSigner(key).accepted
    return verify_root(members, keys, now=datetime.now(UTC))[0].statement.expires


def test_each_publication_and_each_clean_up_is_signed(pipeline: Pipeline, kms_key: str) -> None:
    """By a key in KMS, for as long as is set; a checker with its public key follows."""
    pipeline.start(sign_with=kms_key, root_expiry="2h")
    (outcome,) = pipeline.run(pipeline.put("crl/ca.crl", PKI.crl(number=5)))
    assert outcome["outcome"] == "published"
    left = expiry_of(pipeline.store, kms_key) - datetime.now(UTC)
    assert timedelta(hours=1) < left <= timedelta(hours=2)
    token = crlcheck.load_signing_key(kms_key).root_key.token
    checker = crlcheck.RevocationChecker(pipeline.store, root_keys=[token])
    assert checker.check(PKI.client("revoked").encode()).status.value == "revoked"
    pipeline.put("published/images/" + "a" * 64 + "-" + "b" * 32 + ".crlx", b"abandoned")
    pipeline.invoke({"clean_up": True})
    (outcome,) = pipeline.run(pipeline.put("crl/ca.crl", PKI.crl(number=6)))
    assert outcome["outcome"] == "published"
    expiry_of(pipeline.store, kms_key)
    checker.refresh()


def test_the_event_sign_renews_the_signature(
    pipeline: Pipeline, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """On a schedule, while no CRL comes; the generation stays, and a metric has the time left."""
    key = tmp_path / "root-key.pem"
    write_new_key(key)
    pipeline.start(sign_with=str(key), root_expiry="1h")
    pipeline.run(pipeline.put("crl/ca.crl", PKI.crl(number=5)))
    before = expiry_of(pipeline.store, key)
    pipeline.start(sign_with=str(key), root_expiry="3d")
    answer = pipeline.invoke({"sign": True})
    after = expiry_of(pipeline.store, key)
    assert after > before + timedelta(days=2)
    assert answer == {"generation": 1, "expires": after.isoformat()}
    capsys.readouterr()
    pipeline.invoke({"status": True})
    metrics = [json.loads(line) for line in capsys.readouterr().out.splitlines() if "_aws" in line]
    (left,) = [one["SignedFor"] for one in metrics if "SignedFor" in one]
    left = left[0] if isinstance(left, list) else left
    assert 2 * 86_400 < left <= 3 * 86_400


def test_a_signed_store_is_not_changed_without_the_key(pipeline: Pipeline, kms_key: str) -> None:
    """The run fails, so that the event is tried again and reaches the on-failure destination."""
    pipeline.start(sign_with=kms_key)
    pipeline.run(pipeline.put("crl/ca.crl", PKI.crl(number=5)))
    generation = read_set(crlcheck.open_store(pipeline.store))[0].generation
    pipeline.start()
    with pytest.raises(ExceptionGroup) as caught:
        pipeline.run(pipeline.put("crl/ca.crl", PKI.crl(number=6)))
    (error,) = caught.value.exceptions
    assert isinstance(error, crlcheck.RootSignatureError)
    assert error.reason == "no_signing_key"
    assert read_set(crlcheck.open_store(pipeline.store))[0].generation == generation
    with pytest.raises(ValueError, match="CRLCHECK_SIGN_WITH"):
        pipeline.invoke({"sign": True})


def test_a_key_that_kms_refuses_is_tried_again(pipeline: Pipeline) -> None:
    """Nothing is published, and no CRL is lost."""
    pipeline.start(sign_with="alias/nothing")
    with pytest.raises(ExceptionGroup) as caught:
        pipeline.run(pipeline.put("crl/ca.crl", PKI.crl(number=5)))
    (error,) = caught.value.exceptions
    assert isinstance(error, crlcheck.SigningKeyError)
    assert pipeline.published() == set()


def test_an_issuer_that_is_gone_is_withdrawn_under_a_signature(
    pipeline: Pipeline, kms_key: str
) -> None:
    """As every other change."""
    pipeline.put("issuers/other.pem", make_authority("Other CA").pem)
    pipeline.start(sign_with=kms_key)
    pipeline.run(pipeline.put("crl/ca.crl", PKI.crl(number=5)))
    store = crlcheck.open_store(pipeline.store)
    assert read_set(store)[0].root.trusted.count == 2
    pipeline.client.delete_object(Bucket=pipeline.bucket, Key="issuers/other.pem")
    pipeline.start(sign_with=kms_key)
    pipeline.run(pipeline.put("crl/ca.crl", PKI.crl(number=6)))
    assert read_set(store)[0].root.trusted.count == 1
    expiry_of(pipeline.store, kms_key)


@pytest.mark.parametrize("value", ["", ",", "a,", " a", "a, b"])
def test_a_malformed_list_of_keys_stops_the_function(pipeline: Pipeline, value: str) -> None:
    """The message names the variable."""
    with pytest.raises(ValueError, match="CRLCHECK_SIGN_WITH"):
        pipeline.start(sign_with=value)
    with pytest.raises(ValueError, match="CRLCHECK_ROOT_EXPIRY"):
        pipeline.start(root_expiry="0s")
    assert os.environ["CRLCHECK_STORE"]


@pytest.mark.parametrize(
    ("days", "state", "level"),
    [(1, "current", "INFO"), (6, "ends_soon", "WARNING"), (8, "expired", "WARNING")],
)
def test_the_event_status_warns_before_the_signature_ends(
    pipeline: Pipeline,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    days: int,
    state: str,
    level: str,
) -> None:
    """And once it has ended, which makes readers that demand it undetermined."""
    key = tmp_path / "root-key.pem"
    write_new_key(key)
    pipeline.start(sign_with=str(key))
    signed_at = datetime.now(UTC) - timedelta(days=days)
    store = crlcheck.SigningStore(pipeline.store, key)
    authority = make_authority()
    crl = make_crl(authority, next_update=signed_at + timedelta(days=365))
    assert signed_at > NOW
    crlcheck.publish_crl(crl, store, issuer=authority.der, now=signed_at)
    caplog.clear()
    answer = pipeline.invoke({"status": True})
    assert answer["signature_state"] == state
    assert round(answer["signed_for"] / 86_400) == 7 - days
    assert lines_of(caplog, "preprocessor")[0]["level"] == level
