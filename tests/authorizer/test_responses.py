"""
From a verdict to what API Gateway is answered.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from crlcheck import CheckResult, RevocationStatus, UndeterminedCause
from crlcheck.types import result_to_read
from lambda_authorizer.events import AuthorizerRequest, EventFormat
from lambda_authorizer.responses import Decision, decide, deny, deny_by_rule, observe, render
from lambda_authorizer.settings import ResponseKind

NOW = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)
RESOURCE = "arn:aws:execute-api:eu-central-1:111122223333:a1b2c3d4e5/prod/*"
GATEWAY_FORMATS = [one for one in EventFormat if one is not EventFormat.ALB]
ALLOWED = Decision(allowed=True, verdict="not_revoked", serial_number="a1b2", crl_number="7")


def _request(event_format: EventFormat) -> AuthorizerRequest:
    return AuthorizerRequest(None if event_format is EventFormat.ALB else RESOURCE, event_format)


def _result(
    status: RevocationStatus, cause: UndeterminedCause | None = None, **values: object
) -> CheckResult:
    return CheckResult(status, cause, "what was found", **values)  # type: ignore[arg-type]


def test_only_not_revoked_is_allowed() -> None:
    """
    Of all statuses and causes there are, one is let through.
    """
    results = [
        _result(RevocationStatus.NOT_REVOKED),
        _result(RevocationStatus.REVOKED),
        *(_result(RevocationStatus.UNDETERMINED, cause) for cause in UndeterminedCause),
    ]
    allowed = [result.status for result in results if decide(result, NOW).allowed]
    assert allowed == [RevocationStatus.NOT_REVOKED]


def test_a_decision_says_what_it_rests_on() -> None:
    """
    Verdict, cause, serial number, CRL number and the CRL's age are passed on.
    """
    result = _result(
        RevocationStatus.UNDETERMINED,
        UndeterminedCause.STALE,
        serial_number=0xA1B2C3,
        crl_number=2**159 - 1,
        this_update=NOW - timedelta(days=2),
    )
    decision = decide(result, NOW)
    assert decision.detail == "what was found"
    assert decision.context() == {
        "verdict": "undetermined",
        "cause": "stale",
        "serial_number": "a1b2c3",
        "crl_number": str(2**159 - 1),
        "age_seconds": 172_800,
    }


def test_what_was_waived_is_passed_on() -> None:
    """
    An integration can tell a certificate that passed by a grace period.
    """
    result = _result(RevocationStatus.NOT_REVOKED, waived=(UndeterminedCause.STALE,))
    assert decide(result, NOW).context() == {"verdict": "not_revoked", "waived": "stale"}


@pytest.mark.parametrize("event_format", GATEWAY_FORMATS)
@pytest.mark.parametrize(
    ("decision", "effect"), [(ALLOWED, "Allow"), (deny("no_certificate"), "Deny")]
)
def test_a_policy_is_scoped_to_api_and_stage(
    event_format: EventFormat, decision: Decision, effect: str
) -> None:
    """
    Allow and Deny alike name the one API and stage that the request was for.
    """
    response = render(decision, _request(event_format), ResponseKind.IAM)
    assert response["policyDocument"] == {
        "Version": "2012-10-17",
        "Statement": [{"Action": "execute-api:Invoke", "Effect": effect, "Resource": RESOURCE}],
    }
    assert response["context"] == decision.context()
    assert isinstance(response["principalId"], str)
    assert response["principalId"]


@pytest.mark.parametrize("decision", [ALLOWED, deny("error")], ids=["allow", "deny"])
def test_a_simple_response_is_for_format_2_0_only(decision: Decision) -> None:
    """
    REST APIs and format 1.0 understand policies only, whatever is configured.
    """
    for event_format in GATEWAY_FORMATS:
        response = render(decision, _request(event_format), ResponseKind.SIMPLE)
        if event_format is EventFormat.HTTP_2_0:
            assert response == {"isAuthorized": decision.allowed, "context": decision.context()}
        else:
            assert "isAuthorized" not in response
            assert "policyDocument" in response


def test_an_unreadable_request_is_denied_everything() -> None:
    """
    With no resource to name, the denial covers all, in the form configured.
    """
    response = render(deny("error"), None, ResponseKind.IAM)
    assert response["policyDocument"] == {
        "Version": "2012-10-17",
        "Statement": [{"Action": "execute-api:Invoke", "Effect": "Deny", "Resource": "*"}],
    }
    simple = render(deny("error"), None, ResponseKind.SIMPLE)
    assert simple["isAuthorized"] is False


@pytest.mark.parametrize("kind", ResponseKind)
def test_an_unreadable_request_cannot_be_allowed(kind: ResponseKind) -> None:
    """
    The resource "*" never stands in an Allow, not even by a programming error.
    """
    with pytest.raises(ValueError, match="cannot be allowed"):
        render(ALLOWED, None, kind)


@pytest.mark.parametrize("kind", ResponseKind)
def test_context_holds_scalars_only(kind: ResponseKind) -> None:
    """
    API Gateway fails the request where context has a list, an object or null.
    """
    result = _result(RevocationStatus.NOT_REVOKED, waived=tuple(UndeterminedCause))
    response = render(decide(result, NOW), _request(EventFormat.HTTP_2_0), kind)
    context = json.loads(json.dumps(response))["context"]
    assert context
    assert all(isinstance(value, str | int) for value in context.values())


@pytest.mark.parametrize(("decision", "status"), [(ALLOWED, 200), (deny("revoked"), 403)])
@pytest.mark.parametrize("kind", ResponseKind)
def test_a_load_balancer_gets_an_http_response(
    decision: Decision, status: int, kind: ResponseKind
) -> None:
    """
    Its client is told yes or no, in few words and without the cause.
    """
    response = render(decision, _request(EventFormat.ALB), kind)
    assert response["statusCode"] == status
    assert str(response["statusDescription"]).startswith(f"{status} ")
    assert response["isBase64Encoded"] is False
    assert json.loads(str(response["body"])) == {"message": "OK" if status == 200 else "Forbidden"}
    assert "revoked" not in json.dumps(response)


@pytest.mark.parametrize("decision", [ALLOWED, deny("error")], ids=["allow", "deny"])
def test_what_is_observed_is_allowed_and_told(decision: Decision) -> None:
    """
    Observing allows everything, and the context says what would have been done.
    """
    observed = observe(decision)
    assert observed.allowed
    assert observed.denies is not decision.allowed
    expected = "allow" if decision.allowed else "deny"
    assert observed.context() == {**decision.context(), "observed": expected}


def test_a_rule_can_only_deny() -> None:
    """
    What the user's rule denies says so, and keeps the verdict it had.
    """
    denied = deny_by_rule(ALLOWED)
    assert (denied.allowed, denied.verdict) == (False, "not_revoked")
    assert denied.context()["cause"] == "denied_by_rule"


class Words:
    """The fields of a result, which notes the names of those that are made."""

    def __init__(self) -> None:
        self.made: list[str] = []

    def field(self, name: str, given: object) -> object:
        """Make one."""
        del given
        self.made.append(name)
        return {"detail": "what was found", "waived": ()}.get(name)


def test_a_sentence_that_is_not_logged_is_not_made() -> None:
    """As for most decisions: the answer does not have it."""
    words = Words()
    result = result_to_read(RevocationStatus.NOT_REVOKED, 5, words, b"")
    decision = decide(result, NOW)
    render(decision, _request(EventFormat.HTTP_2_0), ResponseKind.SIMPLE)
    render(observe(decision), _request(EventFormat.REST), ResponseKind.IAM)
    assert "detail" not in words.made
    by_rule = deny_by_rule(decision).scalars()
    assert by_rule["detail"] == "denied by CRLCHECK_DECIDE although: what was found"
    assert decision.scalars()["detail"] == decision.detail == "what was found"
    assert words.made.count("detail") == 1
