"""Whom the preprocessor trusts, over a real S3 API."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from support.example_pki import example_pki
from support.functions import lines_of
from support.moto_server import S3Environment
from support.pipeline import Pipeline

PKI = example_pki()


@pytest.fixture
def pipeline(monkeypatch: pytest.MonkeyPatch, s3: S3Environment) -> Pipeline:
    """A preprocessor that trusts the example issuer."""
    return Pipeline(monkeypatch, s3)


def test_an_issuer_beside_its_crl_is_not_trusted(pipeline: Pipeline) -> None:
    """
    Whoever may upload CRLs cannot bring along the certificate that vouches for them.
    """
    pipeline.put("crl/stranger.pem", PKI.stranger.pem)
    (outcome,) = pipeline.run(pipeline.put("crl/ca.crl", PKI.crl(by=PKI.stranger)))
    assert (outcome["outcome"], outcome["reason"]) == ("refused", "no_issuer")
    assert pipeline.published() == set()


def test_issuers_are_read_anew_each_time(pipeline: Pipeline) -> None:
    """
    Trust given or taken away counts at the next CRL, in a warm function too.
    """
    crl = pipeline.put("crl/stranger.crl", PKI.crl(by=PKI.stranger))
    assert pipeline.run(crl)[0]["outcome"] == "refused"
    pipeline.put("issuers/stranger.der", PKI.stranger.der)
    assert pipeline.run(crl)[0]["outcome"] == "published"
    pipeline.client.delete_object(Bucket=pipeline.bucket, Key="issuers/stranger.der")
    newer = pipeline.put("crl/stranger.crl", PKI.crl(2, by=PKI.stranger, age=timedelta(0)))
    assert pipeline.run(newer)[0]["outcome"] == "refused"


def test_an_issuer_that_was_taken_away_clears_nobody(pipeline: Pipeline) -> None:
    """
    The next run takes it out of the catalog with its scopes, whosever CRL came; what is put
    back is trusted again, and so is its CRL.
    """
    pipeline.put("issuers/stranger.der", PKI.stranger.der)
    crl = pipeline.put("crl/ca.crl", PKI.crl())
    other = pipeline.put("crl/stranger.crl", PKI.crl(by=PKI.stranger))
    pipeline.run(crl, other)
    assert pipeline.verdict("good") == "not_revoked"
    pipeline.client.delete_object(Bucket=pipeline.bucket, Key="issuers/ca.pem")
    assert pipeline.run(other)[0]["outcome"] == "unchanged"
    assert pipeline.verdict("good") == "undetermined"
    pipeline.put("issuers/ca.pem", PKI.authority.pem)
    assert pipeline.run(crl)[0]["outcome"] == "published"
    assert pipeline.verdict("good") == "not_revoked"


def test_issuers_that_cannot_be_read_are_not_withdrawn(pipeline: Pipeline) -> None:
    """
    A file that is damaged may hold any certificate, and an empty prefix is a mistake: what
    was published goes on serving.
    """
    pipeline.put("issuers/stranger.der", PKI.stranger.der)
    crl = pipeline.put("crl/ca.crl", PKI.crl())
    other = pipeline.put("crl/stranger.crl", PKI.crl(by=PKI.stranger))
    pipeline.run(crl, other)
    pipeline.put("issuers/ca.pem", PKI.authority.pem[:100])
    pipeline.run(other)
    assert pipeline.verdict("good") == "not_revoked"
    for name in ("ca.pem", "stranger.der"):
        pipeline.client.delete_object(Bucket=pipeline.bucket, Key=f"issuers/{name}")
    with pytest.raises(ExceptionGroup):
        pipeline.run(other)
    assert pipeline.verdict("good") == "not_revoked"


def test_an_unreadable_issuer_leaves_the_others_trusted(
    pipeline: Pipeline, caplog: pytest.LogCaptureFixture
) -> None:
    """
    A stray file among the issuers is logged; the other issuers' CRLs are published.
    """
    pipeline.put("issuers/README.txt", b"certificates go here")
    pipeline.put("issuers/", b"")
    (outcome,) = pipeline.run(pipeline.put("crl/ca.crl", PKI.crl()))
    assert outcome["outcome"] == "published"
    warning, _ = lines_of(caplog, "preprocessor")
    assert warning["level"] == "WARNING"
    assert warning["issuer"].endswith("/issuers/README.txt")
    assert warning["error"] == "CertificateError"


def test_without_any_issuer_the_event_is_tried_again(pipeline: Pipeline) -> None:
    """
    An empty issuers prefix is a deployment in progress, not a fault of the CRL.
    """
    pipeline.client.delete_object(Bucket=pipeline.bucket, Key="issuers/ca.pem")
    crl = pipeline.put("crl/ca.crl", PKI.crl())
    with pytest.raises(ExceptionGroup) as caught:
        pipeline.run(crl)
    assert [type(error) for error in caught.value.exceptions] == [FileNotFoundError]
    pipeline.put("issuers/ca.pem", PKI.authority.pem)
    assert pipeline.run(crl)[0]["outcome"] == "published"


def test_issuers_may_come_from_a_bundle(pipeline: Pipeline, tmp_path: Path) -> None:
    """
    A PEM bundle shipped with the function takes the place of the issuers prefix.
    """
    bundle = tmp_path / "issuers.pem"
    bundle.write_bytes(PKI.stranger.pem + PKI.authority.pem)
    pipeline.start(issuers=str(bundle))
    objects = [
        pipeline.put("crl/ca.crl", PKI.crl()),
        pipeline.put("crl/stranger.crl", PKI.crl(by=PKI.stranger)),
    ]
    assert [outcome["outcome"] for outcome in pipeline.run(*objects)] == ["published"] * 2
