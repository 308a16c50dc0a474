"""
What the SAM template deploys, driven from the upload of a CRL to the decision about a client.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from support.authorizer import PKI, is_allowed
from support.cloudformation import ACCOUNT, REGION, resolve
from support.deployed import BUNDLES, ROLES, Deployed, answer_of_back_end, unpack_bundles
from support.events import sqs_event
from support.rights import Rights
from support.sam import EVENT_SOURCES, parameters_of

SHAPES = {"rest": "rest", "http": "http_2_0"}
CLIENTS = ("good", "revoked", "foreign")


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Where Python finds what each function needs."""
    return unpack_bundles(tmp_path_factory.mktemp)


@pytest.fixture
def until() -> Iterator[ExitStack]:
    """Ends the functions and the proxies."""
    with ExitStack() as stack:
        yield stack


@pytest.mark.parametrize("kind", SHAPES)
@pytest.mark.parametrize("source", EVENT_SOURCES)
@pytest.mark.parametrize("mode", ["observe", "enforce"])
def test_a_revoked_client_is_denied_once_its_crl_is_uploaded(
    source: str,
    kind: str,
    mode: str,
    translated: dict[str, Any],
    s3_server: tuple[str, Any],
    paths: dict[str, str],
    until: ExitStack,
) -> None:
    """
    By each way that events come, at each kind of API, and by rights that the roles have.
    While it observes, everybody passes, and the answer says what would have been done.
    """
    prefix = f"t{secrets.token_hex(4)}"
    parameters = {**parameters_of(source, kind, everything=False), "NamePrefix": prefix}
    stack = resolve(translated, **parameters, Mode=mode)
    deployed = Deployed(stack, s3_server[0], paths, until)
    observes = mode == "observe"

    before = deployed.decide(PKI.client("good"))
    assert before["context"]["cause"] == "store_unavailable"
    assert is_allowed(before) is observes

    deployed.put("issuers/ca.pem", PKI.authority.pem)
    assert deployed.deliver() == []  # only what is below crl/ starts it
    deployed.put("crl/ca.crl", PKI.crl())
    assert len(deployed.deliver()) == 1
    deployed.run_schedules()

    decided = {client: deployed.decide(PKI.client(client)) for client in CLIENTS}
    verdicts = {client: answer["context"]["verdict"] for client, answer in decided.items()}
    assert verdicts == {"good": "not_revoked", "revoked": "revoked", "foreign": "undetermined"}
    allowed = {client: is_allowed(answer) for client, answer in decided.items()}
    assert allowed == {client: observes or client == "good" for client in CLIENTS}
    for client, answer in decided.items():
        if allowed[client]:
            told = answer_of_back_end(stack, answer["context"], kind)
            assert told["verdict"] == verdicts[client]
            expected = "allow" if client == "good" else "deny"
            assert told["observed"] == (expected if observes else None)
            permitted = answer["policyDocument"]["Statement"][0]["Resource"]
            assert re.fullmatch(rf"arn:aws:execute-api:{REGION}:{ACCOUNT}:.*", permitted)

    rights = Rights(stack)
    used = [(name, *one) for name in ROLES for one in sorted(deployed.actions_of(name), key=str)]
    for name, action, key in used:
        rights.ask_for_role(ROLES[name], action, key)
    answers = zip(used, rights.answers(), strict=True)
    assert [one for one, yes in answers if not yes] == []
    assert {action for _, action, _ in used} >= {"s3:GetObject", "s3:PutObject", "s3:ListBucket"}


def test_messages_that_fail_alone_come_again(
    translated: dict[str, Any],
    s3_server: tuple[str, Any],
    paths: dict[str, str],
    until: ExitStack,
) -> None:
    """
    Of a batch from the queue the preprocessor names those that it could not do.
    """
    prefix = f"t{secrets.token_hex(4)}"
    stack = resolve(translated, EventSource="sqs", NamePrefix=prefix)
    deployed = Deployed(stack, s3_server[0], paths, until)
    deployed.put("issuers/ca.pem", PKI.authority.pem)
    function = deployed.function("PreprocessorFunction")
    deployed.put("crl/ca.crl", PKI.crl())
    good, *_ = deployed.received()
    answer = function.invoke(sqs_event(good, "no event"))
    assert not answer.failed, function.log
    failures = [one["itemIdentifier"] for one in answer.payload["batchItemFailures"]]
    assert failures == ["message-1"]
    assert stack["EventQueueReader"]["FunctionResponseTypes"] == ["ReportBatchItemFailures"]


def test_bundles_are_of_the_functions() -> None:
    """
    No function with code of its own is left out.
    """
    made = Path(__file__).parents[2] / "deploy" / "sam" / "Makefile"
    text = made.read_text("utf-8")
    for function, bundle in BUNDLES.items():
        assert f"build-{function}: BUNDLE := {bundle}\n" in text
