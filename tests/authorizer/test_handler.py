"""
The authorizer from event to answer, over real published images.
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

import crlcheck
from crlcheck.demo.runtime_api import LambdaFunction
from support.authorizer import FORMATS, PKI, VERDICTS, is_allowed, load, publish
from support.events import authorizer_event
from support.functions import lines_of
from support.moto_server import S3Environment

RESOURCES = {
    "rest": "arn:aws:execute-api:eu-central-1:111122223333:a1b2c3d4e5/prod/*",
    "http_1_0": "arn:aws:execute-api:eu-central-1:111122223333:f6g7h8i9j0/prod/*",
    "http_2_0": "arn:aws:execute-api:eu-central-1:111122223333:f6g7h8i9j0/$default/*",
}


@pytest.fixture
def published(tmp_path: Path) -> Path:
    """A store in a directory that holds the issuer's CRL."""
    store = tmp_path / "published"
    publish(store, PKI.crl(number=1))
    return store


@pytest.mark.parametrize("shape", FORMATS)
@pytest.mark.parametrize("response", ["iam", "simple"])
def test_only_a_certificate_that_is_not_revoked_is_allowed(
    monkeypatch: pytest.MonkeyPatch, published: Path, shape: str, response: str
) -> None:
    """
    In every event format and response form: good passes, revoked and foreign do not.
    """
    function = load(monkeypatch, published, response=response)
    for name, (verdict, cause) in VERDICTS.items():
        answer = function.handler(authorizer_event(shape, PKI.client(name)), None)
        assert is_allowed(answer) is (name == "good")
        assert ("isAuthorized" in answer) is (response == "simple" and shape == "http_2_0")
        assert answer["context"]["verdict"] == verdict
        assert answer["context"].get("cause") == cause
        if "policyDocument" in answer:
            assert answer["policyDocument"]["Statement"][0]["Resource"] == RESOURCES[shape]


def test_the_context_says_what_the_verdict_rests_on(
    monkeypatch: pytest.MonkeyPatch, published: Path
) -> None:
    """
    Serial number, CRL number and the CRL's age reach the integration.
    """
    function = load(monkeypatch, published)
    context = function.handler(authorizer_event("rest", PKI.client("good")), None)["context"]
    assert context["serial_number"] == f"{PKI.good.certificate.serial_number:x}"
    assert context["crl_number"] == "1"
    assert 3600 <= context["age_seconds"] < 3700


@pytest.mark.parametrize("shape", FORMATS)
def test_a_forged_header_never_helps(
    monkeypatch: pytest.MonkeyPatch, published: Path, shape: str
) -> None:
    """
    A good certificate in headers saves neither a revoked client nor one that
    presented no certificate at all.
    """
    function = load(monkeypatch, published)
    good = PKI.client("good")
    forged = {"X-Amzn-Mtls-Clientcert": good, "x-amzn-mtls-clientcert": good, "client-cert": good}
    for certificate in (PKI.client("revoked"), None):
        event = authorizer_event(shape, certificate)
        event["headers"] |= forged
        event["multiValueHeaders"] = {name: [value] for name, value in forged.items()}
        answer = function.handler(event, None)
        assert not is_allowed(answer)
        expected = "revoked" if certificate else "undetermined"
        assert answer["context"]["verdict"] == expected
        assert answer["context"].get("cause") == (None if certificate else "no_certificate")


@pytest.mark.parametrize(
    "event",
    [
        None,
        [],
        "event",
        {},
        {"version": "2.0", "type": "REQUEST"},
        {"type": "REQUEST", "requestContext": {"identity": {"clientCert": "x"}}, "methodArn": "*"},
        {"type": "TOKEN", "authorizationToken": "let me in"},
    ],
)
def test_a_malformed_event_is_denied(
    monkeypatch: pytest.MonkeyPatch,
    published: Path,
    caplog: pytest.LogCaptureFixture,
    event: object,
) -> None:
    """
    Without a readable request the answer is a valid Deny of everything, and the log says why.
    """
    function = load(monkeypatch, published)
    answer = function.handler(event, None)
    assert answer["policyDocument"]["Statement"] == [
        {"Action": "execute-api:Invoke", "Effect": "Deny", "Resource": "*"}
    ]
    (line,) = lines_of(caplog, "lambda_authorizer")
    assert line["level"] == "ERROR"
    assert line["allowed"] is False
    assert line["detail"].startswith("MalformedEventError: ")


@pytest.mark.parametrize(
    "pem",
    [
        "CERTIFICATE",
        "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n",
        PKI.client("good")[:-60],
        PKI.client("good").replace("CERTIFICATE", "PUBLIC KEY"),
        "\ud800",
    ],
    ids=["placeholder", "empty", "truncated", "other label", "lone surrogate"],
)
def test_what_is_not_a_certificate_is_denied(
    monkeypatch: pytest.MonkeyPatch,
    published: Path,
    caplog: pytest.LogCaptureFixture,
    pem: str,
) -> None:
    """
    A clientCertPem that cannot be read is denied, and nothing of it is logged.
    """
    function = load(monkeypatch, published, log_level="debug")
    answer = function.handler(authorizer_event("http_2_0", pem), None)
    assert not is_allowed(answer)
    assert answer["context"]["cause"] == "error"
    (line,) = lines_of(caplog, "lambda_authorizer")
    assert line["level"] == "ERROR"
    assert line["detail"] in {"CertificateError", "UnicodeEncodeError"}


def test_a_certificate_that_names_a_file_is_not_opened(
    monkeypatch: pytest.MonkeyPatch, published: Path, tmp_path: Path
) -> None:
    """
    Text from an event is contents, never a path, even where the file would pass.
    """
    path = tmp_path / "good.pem"
    path.write_bytes(PKI.good.pem)
    function = load(monkeypatch, published)
    assert not is_allowed(function.handler(authorizer_event("rest", str(path)), None))


@pytest.mark.parametrize("error", [RuntimeError("boom"), KeyError("pem"), MemoryError()])
def test_any_exception_is_a_denial(
    monkeypatch: pytest.MonkeyPatch,
    published: Path,
    caplog: pytest.LogCaptureFixture,
    error: Exception,
) -> None:
    """
    Whatever fails while deciding, the request is denied and the type is logged.
    """
    function = load(monkeypatch, published)

    class Broken:
        freshness = crlcheck.Freshness

        def check(self, _certificate: bytes) -> crlcheck.CheckResult:
            raise error

    monkeypatch.setattr(function.AUTHORIZER, "checker", Broken())
    answer = function.handler(authorizer_event("rest", PKI.client("good")), None)
    assert answer["policyDocument"]["Statement"] == [
        {"Action": "execute-api:Invoke", "Effect": "Deny", "Resource": RESOURCES["rest"]}
    ]
    (line,) = lines_of(caplog, "lambda_authorizer")
    assert (line["cause"], line["detail"]) == ("error", type(error).__name__)


def test_without_a_published_set_everything_is_denied(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """
    An authorizer that starts before the first publication denies, with the cause.
    """
    function = load(monkeypatch, tmp_path / "nothing yet")
    answer = function.handler(authorizer_event("rest", PKI.client("good")), None)
    assert not is_allowed(answer)
    assert answer["context"]["cause"] == "store_unavailable"
    (line,) = lines_of(caplog, "lambda_authorizer")
    assert "catalog.json" in line["detail"]


def test_a_newly_published_crl_counts_at_the_next_request(
    monkeypatch: pytest.MonkeyPatch, published: Path
) -> None:
    """
    A warm function denies a certificate as soon as a CRL that lists it is published.
    """
    function = load(monkeypatch, published)
    event = authorizer_event("http_2_0", PKI.client("good"))
    assert is_allowed(function.handler(event, None))
    serials = [c.certificate.serial_number for c in (PKI.good, PKI.revoked)]
    publish(published, PKI.crl(number=2, revoked=serials, age=timedelta(0)))
    answer = function.handler(event, None)
    assert not is_allowed(answer)
    assert answer["context"]["verdict"] == "revoked"
    assert answer["context"]["crl_number"] == "2"


def test_a_stale_crl_denies_unless_grace_is_set(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """
    Past nextUpdate an unlisted certificate passes only within a configured grace
    period, which the context then says; a listed one never does.
    """
    store = tmp_path / "published"
    publish(store, PKI.crl(age=timedelta(days=8), lifetime=timedelta(days=7)))
    event = authorizer_event("rest", PKI.client("good"))
    strict = load(monkeypatch, store).handler(event, None)
    assert not is_allowed(strict)
    assert strict["context"]["cause"] == "stale"
    lenient = load(monkeypatch, store, stale="grace", stale_grace="2d")
    answer = lenient.handler(event, None)
    assert is_allowed(answer)
    assert answer["context"]["waived"] == "stale"
    assert not is_allowed(lenient.handler(authorizer_event("rest", PKI.client("revoked")), None))
    expired_grace = load(monkeypatch, store, stale="grace", stale_grace="1h")
    assert not is_allowed(expired_grace.handler(event, None))


def test_one_line_is_logged_for_each_decision(
    monkeypatch: pytest.MonkeyPatch, published: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """
    Denials are logged at INFO and what is allowed at DEBUG, as JSON, without the
    certificate or its subject.
    """
    function = load(monkeypatch, published, log_level="debug")
    for name in VERDICTS:
        function.handler(authorizer_event("rest", PKI.client(name)), None)
    lines = lines_of(caplog, "lambda_authorizer")
    assert [(line["level"], line["verdict"]) for line in lines] == [
        ("DEBUG", "not_revoked"),
        ("INFO", "revoked"),
        ("INFO", "undetermined"),
    ]
    assert [line["format"] for line in lines] == ["rest"] * 3
    assert "BEGIN" not in caplog.text
    assert "Mallory" not in caplog.text


def test_what_is_allowed_is_quiet_by_default(
    monkeypatch: pytest.MonkeyPatch, published: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """
    With the default log level a busy API logs its denials only.
    """
    function = load(monkeypatch, published)
    function.handler(authorizer_event("rest", PKI.client("good")), None)
    assert lines_of(caplog, "lambda_authorizer") == []
    function.handler(authorizer_event("rest", PKI.client("revoked")), None)
    assert len(lines_of(caplog, "lambda_authorizer")) == 1


def test_a_bad_setting_stops_the_import(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """
    A function with a setting it does not understand never answers a request.
    """
    with pytest.raises(ValueError, match="CRLCHECK_RESPONSE is 'simpel'"):
        load(monkeypatch, tmp_path, response="simpel")


@pytest.mark.uninstrumented
def test_it_runs_under_the_lambda_runtime(s3: S3Environment) -> None:
    """
    In its own process, under AWS's runtime client and with images in S3, the
    function gives the verdicts and logs them.
    """
    store = f"s3://{s3.bucket}/published"
    publish(store, PKI.crl())
    environ = {**s3.variables, "CRLCHECK_STORE": store, "CRLCHECK_LOG_LEVEL": "debug"}
    with LambdaFunction("lambda_authorizer.handler.handler", environ) as function:
        for shape in FORMATS:
            for name, (verdict, _) in VERDICTS.items():
                answer = function.invoke(authorizer_event(shape, PKI.client(name)))
                assert not answer.failed, function.log
                assert answer.payload["context"]["verdict"] == verdict
                assert is_allowed(answer.payload) is (name == "good")
        denied = function.invoke({"unexpected": True})
        assert not denied.failed
        assert not is_allowed(denied.payload)
        assert function.log.count('"allowed": false, "verdict": "revoked"') == len(FORMATS)


@pytest.mark.uninstrumented
def test_a_bad_setting_stops_the_runtime() -> None:
    """
    Lambda learns at initialisation which variable is wrong, before any request.
    """
    environ = {"CRLCHECK_STORE": "images", "CRLCHECK_REFRESH_SECONDS": "5s"}
    with LambdaFunction("lambda_authorizer.handler.handler", environ) as function:
        answer = function.next_answer()
    assert answer.path == "init/error"
    assert answer.payload["errorType"] == "ValueError"
    assert "CRLCHECK_REFRESH_SECONDS" in answer.payload["errorMessage"]
