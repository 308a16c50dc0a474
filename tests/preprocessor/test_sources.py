"""
The other ways in: EventBridge, queues, direct invocations, PEM files of several
CRLs, issuers from AWS Private CA; and downloads that go wrong.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

import crlcheck
from crlcheck.demo.pki import pem_block
from crlcheck.demo.runtime_api import LambdaFunction
from support.events import eventbridge_event, s3_event, sqs_event
from support.example_pki import example_pki
from support.fault_proxy import (
    BROKEN_BODY,
    CONNECTION_RESET,
    WRONG_CHECKSUM,
    Fault,
    FaultProxy,
    fault_proxy,
)
from support.functions import lines_of
from support.moto_server import S3Environment, make_client
from support.pipeline import Pipeline
from support.pki import make_authority

PKI = example_pki()


@pytest.fixture
def pipeline(monkeypatch: pytest.MonkeyPatch, s3: S3Environment) -> Pipeline:
    """A preprocessor that trusts the example issuer."""
    return Pipeline(monkeypatch, s3)


# ---- other events ------------------------------------------------------------


def test_eventbridge_events_are_dealt_with(pipeline: Pipeline) -> None:
    """
    The key is taken as it stands, even where it looks encoded.
    """
    bucket, key = pipeline.put("crl/a+b%20c.crl", PKI.crl())
    (outcome,) = pipeline.invoke(eventbridge_event(bucket, key))["objects"]
    assert (outcome["outcome"], outcome["object"]) == ("published", f"s3://{bucket}/{key}")


def test_a_queue_is_told_which_messages_failed(pipeline: Pipeline) -> None:
    """
    What a retry may mend comes again, and what cannot be read stays. A faulty CRL, and
    what worked, does not.
    """
    good = pipeline.put("crl/ca.crl", PKI.crl())
    bad = pipeline.put("crl/bad.crl", b"no CRL")
    gone = (f"{pipeline.bucket}-not-there", "crl/ca.crl")
    event = sqs_event(
        s3_event(gone, good), s3_event(bad), s3_event(good), "no JSON", s3_event(gone)
    )
    assert pipeline.invoke(event) == {
        "batchItemFailures": [{"itemIdentifier": f"message-{number}"} for number in (0, 3, 4)]
    }
    assert pipeline.verdict("revoked") == "revoked"


def test_an_object_is_published_on_demand(pipeline: Pipeline) -> None:
    """
    By bucket and key, with the operator's leave to shrink.
    """
    pipeline.run(pipeline.put("crl/ca.crl", PKI.crl(number=1, revoked=range(1, 40))))
    bucket, key = pipeline.put("crl/ca.crl", PKI.crl(2, revoked=[], age=timedelta(0)))
    request = {"bucket": bucket, "key": key}
    (held,) = pipeline.invoke(request)["objects"]
    assert (held["outcome"], held["cause"]) == ("refused", "shrink")
    (allowed,) = pipeline.invoke({**request, "allow_shrink": True})["objects"]
    assert (allowed["outcome"], allowed["num_lifted"]) == ("published", 39)


def test_a_rescan_finds_what_was_missed_and_rebuilds_what_is_gone(pipeline: Pipeline) -> None:
    """
    Every CRL under the prefix is looked at: new ones are published, the same
    ones change nothing, and an image that was deleted is written again.
    """
    other = make_authority("Other CA")
    pipeline.put("issuers/other.pem", other.pem)
    (first,) = pipeline.run(pipeline.put("crl/ca.crl", PKI.crl()))
    pipeline.put("crl/deep/other.crl", PKI.crl(by=other))
    found = pipeline.invoke({"rescan": "crl/"})["objects"]
    assert [one["outcome"] for one in found] == ["unchanged", "published"]
    pipeline.client.delete_object(Bucket=pipeline.bucket, Key=f"published/{first['image']}")
    assert pipeline.verdict("revoked") == "undetermined"
    found = pipeline.invoke({"rescan": "crl/", "bucket": pipeline.bucket})["objects"]
    assert [one["outcome"] for one in found] == ["published", "unchanged"]
    assert pipeline.verdict("revoked") == "revoked"


def test_clean_up_on_demand(pipeline: Pipeline) -> None:
    """
    A schedule asks for it; a superseded image goes with the node that named it, once its
    grace period is over.
    """
    pipeline.start(grace="0s")
    for number in (1, 2):
        crl = PKI.crl(number, age=timedelta(minutes=9 - number))
        (outcome,) = pipeline.run(pipeline.put("crl/ca.crl", crl))
    assert pipeline.invoke({"clean_up": True}) == {"num_deleted": 2, "num_waiting": 0}
    assert pipeline.published() == {"published/catalog.json", f"published/{outcome['image']}"}


# ---- PEM files of several CRLs -------------------------------------------------


def test_every_crl_of_a_pem_file_is_published(pipeline: Pipeline) -> None:
    """
    One that is refused does not keep the others out, and each has its own name.
    """
    other = make_authority("Other CA")
    pipeline.put("issuers/other.pem", other.pem)
    crls = [PKI.crl(), PKI.crl(by=PKI.stranger), PKI.crl(by=other)]
    body = b"text between\n".join(pem_block("X509 CRL", crl) for crl in crls)
    outcomes = pipeline.run(pipeline.put("crl/all.pem", body))
    assert [one["outcome"] for one in outcomes] == ["published", "refused", "published"]
    url = f"s3://{pipeline.bucket}/crl/all.pem"
    assert [one["object"] for one in outcomes] == [url, f"{url}#2", f"{url}#3"]


@pytest.mark.parametrize(
    ("behind", "line"),
    [
        (b"  %b", 7),
        (b"\xef\xbb\xbf%b", 7),
        (b"\r%b", 7),
        (b"-----END CERTIFICATE-----%b", 7),
        (b"-----BEGIN X509 CRL-----\n-----END X509 CRL-----\n%b", 8),
        (b"-----BEGIN CMS-----\nQUJD\n-----END CMS-----\n%b", 7),
    ],
)
def test_no_crl_of_a_pem_file_is_lost_without_a_word(
    pipeline: Pipeline, behind: bytes, line: int
) -> None:
    """
    What is whole before a line that cannot be read is published, and the rest refused.
    """
    first = pem_block("X509 CRL", PKI.crl())
    body = first + behind % pem_block("X509 CRL", PKI.crl(by=PKI.stranger))
    outcomes = pipeline.run(pipeline.put("crl/all.pem", body))
    url = f"s3://{pipeline.bucket}/crl/all.pem"
    assert [(one["outcome"], one["object"]) for one in outcomes] == [
        ("published", url),
        ("refused", f"{url}#2"),
    ]
    number = line - 7 + first.count(b"\n") + 1
    assert f"PEM line {number}: " in outcomes[1]["detail"]


def test_many_blocks_in_one_file_cost_no_more_than_a_few(pipeline: Pipeline) -> None:
    """
    What comes after as many CRLs as are allowed is refused in one outcome, and all that
    is refused of an object leaves one status object.
    """
    pipeline.start(max_crls="3")
    bad = pem_block("X509 CRL", b"no CRL")
    good = pem_block("X509 CRL", PKI.crl())
    place = pipeline.put("crl/many.pem", bad * 2 + good + bad * 1000)
    outcomes = pipeline.run(place)
    url = f"s3://{pipeline.bucket}/crl/many.pem"
    assert [(one["outcome"], one.get("feature"), one["object"]) for one in outcomes] == [
        ("refused", None, url),
        ("refused", None, f"{url}#2"),
        ("published", None, f"{url}#3"),
        ("refused", "too_many_crls", f"{url}#4"),
    ]
    (rejection,) = crlcheck.read_rejections(pipeline.store)
    assert (rejection.source, rejection.cause) == (url, "malformed")
    pipeline.run(pipeline.put("crl/many.pem", good + bad * 2))
    (rejection,) = crlcheck.read_rejections(pipeline.store)
    assert rejection.source == f"{url}#2"
    pipeline.run(pipeline.put("crl/many.pem", good * 2))
    assert crlcheck.read_rejections(pipeline.store) == []


# ---- issuers -----------------------------------------------------------------


ARN = "arn:aws:acm-pca:us-east-1:111122223333:certificate-authority/%s"


@pytest.fixture
def private_ca(s3: S3Environment) -> tuple[Any, str]:
    """A client of AWS Private CA, and the ARN of a CA that has the example issuer's certificate."""
    client = make_client(s3.endpoint, "acm-pca")
    arn = client.create_certificate_authority(
        CertificateAuthorityConfiguration={
            "KeyAlgorithm": "EC_prime256v1",
            "SigningAlgorithm": "SHA256WITHECDSA",
            "Subject": {"CommonName": "Example Issuing CA"},
        },
        CertificateAuthorityType="ROOT",
    )["CertificateAuthorityArn"]
    import_certificate(client, arn, PKI.authority.pem)
    return client, arn


def import_certificate(client: Any, arn: str, pem: bytes) -> None:
    """Give the CA its certificate, or another one."""
    client.import_certificate_authority_certificate(CertificateAuthorityArn=arn, Certificate=pem)


def test_issuers_may_come_from_private_ca(
    monkeypatch: pytest.MonkeyPatch, s3: S3Environment, private_ca: tuple[Any, str]
) -> None:
    """
    The certificate of a configured CA is trusted, asked for once, and asked for
    again where a CRL's signature is of a key that is not known yet.
    """
    client, arn = private_ca
    pipeline = Pipeline(monkeypatch, s3)
    del pipeline.settings["issuers"]
    function = pipeline.start(private_cas=arn)
    (outcome,) = pipeline.run(pipeline.put("crl/ca.crl", PKI.crl()))
    assert outcome["outcome"] == "published"
    calls: list[str] = []
    real = function._private_ca_client("us-east-1")
    monkeypatch.setattr(
        function.ISSUERS,
        "_clients",
        {"us-east-1": Counted(real, calls)},
    )
    pipeline.run(pipeline.put("crl/ca.crl", PKI.crl(2, age=timedelta(minutes=5))))
    assert calls == []
    import_certificate(client, arn, PKI.stranger.pem)
    (renewed,) = pipeline.run(pipeline.put("crl/new.crl", PKI.crl(by=PKI.stranger)))
    assert renewed["outcome"] == "published"
    assert calls == [arn]
    (refused,) = pipeline.run(pipeline.put("crl/x.crl", PKI.crl(by=make_authority("X"))))
    assert (refused["outcome"], refused["cause"]) == ("refused", "signature")


class Counted:
    """A client of AWS Private CA that notes what it was asked."""

    def __init__(self, client: Any, calls: list[str]) -> None:
        self._client = client
        self._calls = calls

    def get_certificate_authority_certificate(self, **request: str) -> Any:
        self._calls.append(request["CertificateAuthorityArn"])
        return self._client.get_certificate_authority_certificate(**request)


def test_a_private_ca_that_does_not_answer_is_tried_again(
    monkeypatch: pytest.MonkeyPatch, s3: S3Environment
) -> None:
    """
    Its CRLs are not refused for a failure that may pass.
    """
    pipeline = Pipeline(monkeypatch, s3)
    pipeline.start(private_cas=ARN % "11111111-2222-3333-4444-555555555555")
    with pytest.raises(ExceptionGroup) as caught:
        pipeline.run(pipeline.put("crl/ca.crl", PKI.crl()))
    assert type(caught.value.exceptions[0]).__name__ == "ResourceNotFoundException"


@pytest.mark.parametrize(
    "settings",
    [{}, {"private_cas": "arn:aws:s3:::bucket"}, {"private_cas": f"{ARN % ('0' * 36)},"}],
    ids=["nobody trusted", "another arn", "an empty arn"],
)
def test_who_is_trusted_must_be_clear(pipeline: Pipeline, settings: dict[str, str]) -> None:
    """
    A function that could trust nobody, or somebody unintended, does not start.
    """
    del pipeline.settings["issuers"]
    with pytest.raises(ValueError, match="CRLCHECK_PRIVATE_CAS"):
        pipeline.start(**settings)


def test_unchanged_issuers_are_not_read_again(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Between invocations their contents are kept, and asked for by ETag.
    """
    function = pipeline.start()
    crl = pipeline.put("crl/ca.crl", PKI.crl())
    pipeline.run(crl)
    loaded: list[str] = []
    real = function.ISSUERS._load

    def observe(where: str, body: bytes) -> Any:
        loaded.append(where)
        return real(where, body)

    monkeypatch.setattr(function.ISSUERS, "_load", observe)
    pipeline.run(crl)
    assert loaded == []
    pipeline.put("issuers/new.pem", PKI.stranger.pem)
    pipeline.run(crl)
    assert loaded == [f"s3://{pipeline.bucket}/issuers/new.pem"]


# ---- a storage that fails ------------------------------------------------------


@pytest.fixture
def proxied(
    monkeypatch: pytest.MonkeyPatch, s3: S3Environment
) -> Iterator[tuple[Pipeline, FaultProxy]]:
    """A preprocessor whose way to S3 leads through a proxy that can fail."""
    with fault_proxy(s3.endpoint) as proxy:
        pipeline = Pipeline(monkeypatch, s3)
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.endpoint)
        pipeline.start()
        yield pipeline, proxy


def _is_crl(method: str, path: str) -> bool:
    return method == "GET" and "/crl/" in path


def _is_catalog(method: str, path: str) -> bool:
    return method == "PUT" and path.endswith("catalog.json")


def _is_output(method: str, path: str) -> bool:
    return method == "PUT"


BODIES = {
    "truncated": BROKEN_BODY,
    "reset": CONNECTION_RESET,
    "wrong checksum": WRONG_CHECKSUM,
}


@pytest.mark.parametrize("fault", BODIES)
def test_a_damaged_download_is_no_verdict_on_the_crl(
    proxied: tuple[Pipeline, FaultProxy], caplog: pytest.LogCaptureFixture, fault: str
) -> None:
    """
    It fails, so that it is tried again, and nothing says that the CRL was bad,
    even where the damage looks like a malformed CRL.
    """
    pipeline, proxy = proxied
    crl = pipeline.put("crl/ca.crl", PKI.crl(revoked=range(1, 2000)))
    proxy.concerns, proxy.faults = _is_crl, deque([BODIES[fault]])
    with pytest.raises(ExceptionGroup):
        pipeline.run(crl)
    (line,) = lines_of(caplog, "preprocessor")
    assert (line["outcome"], line["cause"]) == ("failed", "unavailable")
    assert not proxy.faults
    assert pipeline.published() == set()
    assert crlcheck.read_rejections(pipeline.store) == []
    assert pipeline.run(crl)[0]["outcome"] == "published"


def test_a_slow_download_is_waited_for(proxied: tuple[Pipeline, FaultProxy]) -> None:
    """
    As long as bytes come, however slowly, the CRL is compiled while it arrives.
    """
    pipeline, proxy = proxied
    proxy.concerns, proxy.faults = _is_crl, deque([Fault(part=1, seconds=0.3)])
    (outcome,) = pipeline.run(pipeline.put("crl/ca.crl", PKI.crl(revoked=range(1, 2000))))
    assert (outcome["outcome"], outcome["num_entries"]) == ("published", 1999)
    assert outcome["seconds"] >= 0.2


@pytest.mark.parametrize(
    ("status", "code"),
    [(412, "PreconditionFailed"), (409, "ConditionalRequestConflict")],
)
def test_a_lost_swap_is_tried_again_after_reading_anew(
    proxied: tuple[Pipeline, FaultProxy], status: int, code: str
) -> None:
    """
    412 and 409 both mean that another publication may have come first.
    """
    pipeline, proxy = proxied
    proxy.concerns, proxy.faults = _is_catalog, deque([Fault(status=status, code=code)] * 3)
    (outcome,) = pipeline.run(pipeline.put("crl/ca.crl", PKI.crl()))
    assert (outcome["outcome"], outcome["num_lost_swaps"]) == ("published", 3)
    # The catalog, its image, node and record: nothing is left of the tries that were lost.
    assert len(pipeline.stored()) == 4


@pytest.mark.parametrize(("status", "code"), [(500, "InternalError"), (503, "SlowDown")])
def test_an_overloaded_storage_is_asked_again(
    proxied: tuple[Pipeline, FaultProxy], status: int, code: str
) -> None:
    """
    The client itself tries again; what remains ends in one publication.
    """
    pipeline, proxy = proxied
    proxy.concerns, proxy.faults = _is_output, deque([Fault(status=status, code=code)])
    (outcome,) = pipeline.run(pipeline.put("crl/ca.crl", PKI.crl()))
    assert outcome["outcome"] == "published"
    assert len(pipeline.published()) == 2


def test_a_swap_whose_answer_is_lost_happens_once(proxied: tuple[Pipeline, FaultProxy]) -> None:
    """
    The connection breaks after S3 has swapped: the second attempt finds its own work.
    """
    pipeline, proxy = proxied
    proxy.concerns, proxy.faults = _is_catalog, deque([Fault()])
    (outcome,) = pipeline.run(pipeline.put("crl/ca.crl", PKI.crl()))
    assert (outcome["outcome"], outcome["generation"]) == ("published", 1)
    assert len(pipeline.published()) == 2


# ---- under the real runtime client -----------------------------------------------


@pytest.mark.uninstrumented
def test_each_kind_of_event_runs_under_the_lambda_runtime(
    pipeline: Pipeline, s3: S3Environment
) -> None:
    """
    AWS's runtime client passes each kind on and answers as its sender expects.
    """
    crl = pipeline.put("crl/ca.crl", PKI.crl())
    bad = (f"{pipeline.bucket}-not-there", "crl/ca.crl")
    environ = {f"CRLCHECK_{name.upper()}": value for name, value in pipeline.settings.items()}
    with LambdaFunction("preprocessor.handler.handler", {**s3.variables, **environ}) as function:

        def answer(event: object) -> Any:
            given = function.invoke(event)
            assert not given.failed, function.log
            return given.payload

        assert answer(eventbridge_event(*crl))["objects"][0]["outcome"] == "published"
        assert answer(s3_event(crl))["objects"][0]["outcome"] == "unchanged"
        assert answer(sqs_event(s3_event(crl), s3_event(bad), eventbridge_event(*crl))) == {
            "batchItemFailures": [{"itemIdentifier": "message-1"}]
        }
        test_event = {"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": pipeline.bucket}
        assert answer(test_event) == {"objects": []}
        direct = {"bucket": crl[0], "key": crl[1]}
        assert answer(direct)["objects"][0]["outcome"] == "unchanged"
        assert [one["outcome"] for one in answer({"rescan": "crl/"})["objects"]] == ["unchanged"]
        assert answer({"fetch": True}) == {"objects": []}
        assert answer({"clean_up": True}) == {"num_deleted": 0, "num_waiting": 0}
        assert function.invoke({"unknown": 1}).payload["errorType"] == "MalformedEventError"
        assert '"_aws"' in function.log
    assert pipeline.verdict("revoked") == "revoked"
