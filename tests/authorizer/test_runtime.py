"""
The authorizer in processes of its own, under AWS's runtime client and with images
in S3, as on Lambda.
"""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from crlcheck.demo.runtime_api import LambdaFunction
from support.authorizer import (
    FORMATS,
    PKI,
    SOURCES,
    VERDICTS,
    is_allowed,
    publish,
    write_anchors,
)
from support.events import EVENTS, authorizer_event
from support.moto_server import S3Environment

pytestmark = pytest.mark.uninstrumented
HANDLER = "lambda_authorizer.handler.handler"


@pytest.fixture
def environ(s3: S3Environment) -> dict[str, str]:
    """The environment of a function whose store in S3 has the example issuer's CRL."""
    store = f"s3://{s3.bucket}/published"
    publish(store, PKI.crl())
    return {**s3.variables, "CRLCHECK_STORE": store}


MEMBER_OF = {"iam": "policyDocument", "simple": "isAuthorized", "http": "statusCode"}
"""The member by which each form of response is known."""


def form_of(answer: dict[str, Any]) -> str:
    """In which form an answer is; in one only."""
    (form,) = (form for form, member in MEMBER_OF.items() if member in answer)
    return form


@pytest.mark.parametrize(
    "certificate_from", sorted({source.certificate_from for source in SOURCES.values()})
)
def test_every_shape_and_form_runs_under_the_runtime(
    certificate_from: str, environ: dict[str, str], tmp_path: Path
) -> None:
    """
    For each source: every event shape, answered in the form that its sender reads,
    every verdict; and what is wrong or missing is denied, not failed.
    """
    settings = {"CRLCHECK_CERTIFICATE_FROM": certificate_from}
    if certificate_from == "alb-passthrough":
        settings["CRLCHECK_TRUST_ANCHORS"] = write_anchors(tmp_path)
    sources = {n: s for n, s in SOURCES.items() if s.certificate_from == certificate_from}
    token = json.loads((EVENTS / "authorizer_token.json").read_text())
    for response in ("iam", "simple"):
        forms = {"http_2_0": response, "cloudfront": response}
        forms |= {"alb": "http", "alb_passthrough": "http"}
        variables = {**environ, **settings, "CRLCHECK_RESPONSE": response}
        with LambdaFunction(HANDLER, variables) as function:
            for name, source in sources.items():
                for client in (*VERDICTS, None):
                    pem = None if client is None else PKI.client(client)
                    answer = function.invoke(source.event(pem))
                    assert not answer.failed, function.log
                    assert is_allowed(answer.payload) is (client == "good"), (name, client)
                    assert form_of(answer.payload) == forms.get(source.shape, "iam")
            for event, form in ((token, "iam"), ({"unexpected": True}, response)):
                answer = function.invoke(event)
                assert not answer.failed, function.log
                assert not is_allowed(answer.payload)
                assert form_of(answer.payload) == form


TARGET = """
from lambda_authorizer.{module} import protect

@protect
def handler(event, context):
    return {{"statusCode": 200, "body": event["requestContext"]["authorizer"]["verdict"]}}
"""


@pytest.mark.parametrize(
    ("name", "module"), [("alb-verify", "protection"), ("alb-passthrough", "handler")]
)
def test_a_protected_target_runs_under_the_runtime(
    name: str, module: str, environ: dict[str, str], tmp_path: Path
) -> None:
    """
    A module of the user's own answers what is allowed, headers single or multiple,
    from wherever it imports ``protect``.
    """
    source = SOURCES[name]
    (tmp_path / "target.py").write_text(TARGET.format(module=module))
    variables = {**environ, "CRLCHECK_CERTIFICATE_FROM": name, "PYTHONPATH": str(tmp_path)}
    if name == "alb-passthrough":
        variables["CRLCHECK_TRUST_ANCHORS"] = write_anchors(tmp_path)
    with LambdaFunction("target.handler", variables) as function:
        answers = [function.invoke(source.event(PKI.client(client))) for client in VERDICTS]
        answers.append(function.invoke(source.event(None)))
        assert not any(answer.failed for answer in answers), function.log
    assert [answer.payload["statusCode"] for answer in answers] == [200, 403, 403, 403]
    assert answers[0].payload["body"] == "not_revoked"


def test_observing_runs_under_the_runtime(environ: dict[str, str]) -> None:
    """
    Every shape and verdict passes, in either form, and the answer says what would
    have been done.
    """
    for response in ("iam", "simple"):
        variables = {**environ, "CRLCHECK_MODE": "observe", "CRLCHECK_RESPONSE": response}
        with LambdaFunction(HANDLER, variables) as function:
            for shape in FORMATS:
                for client in VERDICTS:
                    answer = function.invoke(authorizer_event(shape, PKI.client(client)))
                    assert not answer.failed, function.log
                    assert is_allowed(answer.payload)
                    observed = answer.payload["context"]["observed"]
                    assert observed == ("allow" if client == "good" else "deny")


def metrics_of(log: str) -> list[dict[str, Any]]:
    """The lines in the embedded format, which are lines of JSON with nothing before them."""
    lines = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
    return [line for line in lines if "_aws" in line]


def test_metrics_tell_what_was_decided_and_how_fresh_it_is(environ: dict[str, str]) -> None:
    """
    Each decision is a line that CloudWatch reads: by verdict and cause, with the
    catalog's age, the time to nextUpdate, the refresh, errors and cold starts.
    """
    with LambdaFunction(HANDLER, environ) as function:
        for name in ("good", "revoked", "foreign"):
            function.invoke(authorizer_event("rest", PKI.client(name)))
        lines = metrics_of(function.log)
    assert [(line["verdict"], line["cause"]) for line in lines] == [
        ("not_revoked", "none"),
        ("revoked", "none"),
        ("undetermined", "unknown_issuer"),
    ]
    assert [line["cold_starts"] for line in lines] == [1, 0, 0]
    assert 0 < lines[0]["seconds_to_next_update"] <= timedelta(days=7).total_seconds()
    for line in lines:
        assert line["decisions"] == 1
        assert 0 <= line["catalog_age"] < 60
        assert 0 < line["refresh_seconds"] < 60
        assert (line["store_errors"], line["refused_catalogs"]) == (0, 0)
        for directive in line["_aws"]["CloudWatchMetrics"]:
            assert directive["Namespace"] == "crlcheck"
            assert directive["Dimensions"][0] == ["service", "store"]
            names = [metric["Name"] for metric in directive["Metrics"]]
            assert all(isinstance(line[name], int | float) for name in names)
            for dimensions in directive["Dimensions"]:
                assert all(isinstance(line[name], str) for name in dimensions)
        decisions, _ = line["_aws"]["CloudWatchMetrics"]
        assert decisions["Dimensions"][1:] == [
            ["service", "store", "verdict"],
            ["service", "store", "verdict", "cause"],
        ]
        assert line["service"] == "crlcheck-authorizer"
        assert line["store"] == environ["CRLCHECK_STORE"]


def test_metrics_of_two_stacks_do_not_mix(environ: dict[str, str]) -> None:
    """
    Two functions in an account have series of their own: by the namespace that is set, and
    by their stores.
    """
    event = authorizer_event("rest", PKI.client("good"))
    variables = {**environ, "CRLCHECK_METRICS_NAMESPACE": "staging/crlcheck"}
    other = {**environ, "CRLCHECK_STORE": f"{environ['CRLCHECK_STORE']}-two-é"}
    lines = []
    for one in (variables, other):
        with LambdaFunction(HANDLER, one) as function:
            function.invoke(event)
            lines += metrics_of(function.log)
    namespaces = [
        {directive["Namespace"] for directive in line["_aws"]["CloudWatchMetrics"]}
        for line in lines
    ]
    assert namespaces == [{"staging/crlcheck"}, {"crlcheck"}]
    # CloudWatch takes ASCII only.
    assert [line["store"] for line in lines] == [
        environ["CRLCHECK_STORE"],
        f"{environ['CRLCHECK_STORE']}-two-\\xe9",
    ]


def test_metrics_can_be_switched_off_and_count_errors(environ: dict[str, str]) -> None:
    """
    "false" writes no such line; a store that fails is counted.
    """
    event = authorizer_event("rest", PKI.client("good"))
    with LambdaFunction(HANDLER, {**environ, "CRLCHECK_METRICS": "false"}) as function:
        function.invoke(event)
        assert metrics_of(function.log) == []
    nowhere = {**environ, "AWS_ENDPOINT_URL": "http://127.0.0.1:9"}
    with LambdaFunction(HANDLER, nowhere) as function:
        answer = function.invoke(event)
        assert answer.payload["context"]["cause"] == "store_unavailable"
        (line,) = metrics_of(function.log)
    assert line["store_errors"] > 0
    assert "catalog_age" not in line


def test_a_restored_snapshot_asks_again(environ: dict[str, str]) -> None:
    """
    Although nothing is due, what was published while the environment was a
    snapshot counts at the first request.
    """

    def publish_more() -> None:
        serials = [c.certificate.serial_number for c in (PKI.good, PKI.revoked)]
        publish(environ["CRLCHECK_STORE"], PKI.crl(2, revoked=serials, age=timedelta(0)))

    variables = {
        **environ,
        "CRLCHECK_REFRESH_SECONDS": "3600",
        "AWS_LAMBDA_INITIALIZATION_TYPE": "snap-start",
    }
    with LambdaFunction(HANDLER, variables, before_restore=publish_more) as function:
        answer = function.invoke(authorizer_event("rest", PKI.client("good")))
    assert answer.payload["context"]["verdict"] == "revoked"
    assert answer.payload["context"]["crl_number"] == "2"


FIRST_DECISION = """
import json, sys
from lambda_authorizer.handler import handler
answer = handler(json.load(sys.stdin), None)
print(answer["context"]["verdict"], *sys.modules)
"""


def test_the_first_decision_imports_no_heavy_package(environ: dict[str, str]) -> None:
    """
    From S3 to the verdict, without boto3, botocore, urllib3, cryptography, numpy or
    pyroaring, each of which would cost more than the rest.
    """
    run = subprocess.run(
        [sys.executable, "-P", "-c", FIRST_DECISION],
        env={**environ, "CRLCHECK_METRICS": "false"},
        input=json.dumps(authorizer_event("rest", PKI.client("good"))),
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    verdict, *modules = run.stdout.split()
    assert verdict == "not_revoked"
    packages = {name.partition(".")[0] for name in modules}
    heavy = {"boto3", "botocore", "urllib3", "cryptography", "numpy", "pyroaring", "asyncio"}
    assert "crlcheck" in packages
    assert packages & heavy == set()
