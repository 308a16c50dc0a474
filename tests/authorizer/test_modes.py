"""
Observing before enforcing, the user's own rule, and load balancers' targets.
"""

from __future__ import annotations

import importlib
import json
import os
import random
import re
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import crlcheck
from support.authorizer import FORMATS, PKI, SOURCES, VERDICTS, is_allowed, load, load_from, publish
from support.blocks import blocks
from support.checking import eventually
from support.events import EVENTS, authorizer_event
from support.functions import lines_of


@pytest.fixture
def published(tmp_path: Path) -> Path:
    """A store in a directory that holds the issuer's CRL."""
    store = tmp_path / "published"
    publish(store, PKI.crl(number=1))
    return store


@pytest.mark.parametrize("response", ["iam", "simple"])
@pytest.mark.parametrize("shape", FORMATS)
def test_observing_allows_all_and_tells(
    shape: str,
    response: str,
    monkeypatch: pytest.MonkeyPatch,
    published: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """
    Whatever the certificate, and without one, the request passes; what would have
    been denied is logged as denials are, and the context says so.
    """
    function = load(monkeypatch, published, mode="observe", response=response)
    cases = [PKI.client(name) for name in VERDICTS] + [None, "no certificate"]
    answers = [function.handler(authorizer_event(shape, pem), None) for pem in cases]
    assert all(map(is_allowed, answers))
    told = [answer["context"]["observed"] for answer in answers]
    assert told == ["allow", "deny", "deny", "deny", "deny"]
    lines = lines_of(caplog, "lambda_authorizer")
    assert [line["level"] for line in lines] == ["INFO", "INFO", "INFO", "ERROR"]
    assert all(line["observed"] == "deny" for line in lines)


def test_the_query_of_the_migration_guide_finds_them(
    monkeypatch: pytest.MonkeyPatch, published: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """
    It reads members that the lines of such requests have.
    """
    (query,) = blocks("migration.md", language="text")
    words = set(re.findall(r"\w+", re.sub('"[^"]*"', "", query.text)))
    fields = words - {"fields", "filter", "stats", "count", "latest", "by"}
    function = load(monkeypatch, published, mode="observe")
    for client in ("revoked", "foreign"):
        function.handler(authorizer_event("rest", PKI.client(client)), None)
    revoked, foreign = lines_of(caplog, "lambda_authorizer")
    assert fields == {"verdict", "cause", "detail", "observed"}
    assert foreign.keys() >= fields
    assert fields - revoked.keys() == {"cause"}
    assert f'filter observed = "{foreign["observed"]}"' in query.text


def test_observing_allows_a_token_authorizer_s_request(
    monkeypatch: pytest.MonkeyPatch, published: Path
) -> None:
    """
    A function attached in the wrong way does not stop the API while it only observes.
    """
    event = json.loads((EVENTS / "authorizer_token.json").read_text())
    assert is_allowed(load(monkeypatch, published, mode="observe").handler(event, None))
    assert not is_allowed(load(monkeypatch, published).handler(event, None))


# ---- the user's own rule -------------------------------------------------------------


def install(monkeypatch: pytest.MonkeyPatch, rule: Callable[..., Any]) -> str:
    """Make *rule* importable; return the setting that names it."""
    module = types.ModuleType("rule_of_the_user")
    module.judge = rule  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return f"{module.__name__}:judge"


@pytest.mark.parametrize("verdict", [True, False])
def test_a_rule_may_deny_more_and_nothing_less(
    verdict: bool, monkeypatch: pytest.MonkeyPatch, published: Path
) -> None:
    """
    It is asked about what is about to be allowed only, with the event and the
    result: so it cannot let in what was denied.
    """
    asked: list[Any] = []

    def rule(event: Any, result: crlcheck.CheckResult) -> bool:
        asked.append((event["path"], result.status, result.serial_number))
        return verdict

    function = load(monkeypatch, published, decide=install(monkeypatch, rule))
    answers = {
        name: function.handler(authorizer_event("rest", PKI.client(name)), None)
        for name in VERDICTS
    }
    assert {name: is_allowed(answer) for name, answer in answers.items()} == {
        "good": verdict, "revoked": False, "foreign": False,
    }  # fmt: skip
    serial = PKI.good.certificate.serial_number
    assert asked == [("/orders/7", crlcheck.RevocationStatus.NOT_REVOKED, serial)]
    expected = None if verdict else "denied_by_rule"
    assert answers["good"]["context"].get("cause") == expected


@pytest.mark.parametrize("answer", [None, 1, "yes", {"isAuthorized": True}])
def test_a_rule_must_say_true_or_false(
    answer: object, monkeypatch: pytest.MonkeyPatch, published: Path
) -> None:
    """
    Anything else is a mistake of the rule, and denied.
    """
    rule = install(monkeypatch, lambda *_: answer)
    function = load(monkeypatch, published, decide=rule)
    denied = function.handler(authorizer_event("rest", PKI.client("good")), None)
    assert not is_allowed(denied)
    assert denied["context"]["cause"] == "error"


def test_a_rule_that_fails_denies(
    monkeypatch: pytest.MonkeyPatch, published: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """
    Its exception is logged by type, and the request denied.
    """

    def rule(*_: object) -> bool:
        raise ZeroDivisionError

    function = load(monkeypatch, published, decide=install(monkeypatch, rule))
    assert not is_allowed(function.handler(authorizer_event("rest", PKI.client("good")), None))
    assert lines_of(caplog, "lambda_authorizer")[-1]["detail"] == "ZeroDivisionError"


# ---- load balancers --------------------------------------------------------------------


@pytest.mark.parametrize("name", ["alb-verify", "alb-passthrough"])
def test_a_target_is_reached_by_what_is_allowed_only(
    name: str, monkeypatch: pytest.MonkeyPatch, published: Path
) -> None:
    """
    A Lambda target behind ``protect`` hears of allowed requests only, with what
    they rest on; the others' clients get 403.
    """
    source = SOURCES[name]
    function = load_from(source, monkeypatch, published)
    reached: list[Any] = []

    def target(event: Any, context: Any) -> Any:
        reached.append(event["requestContext"]["authorizer"]["verdict"])
        return {"statusCode": 201}

    protected = function.protect(target)
    statuses = [
        protected(source.event(PKI.client(client)), None)["statusCode"] for client in VERDICTS
    ]
    assert statuses == [201, 403, 403]
    assert protected(source.event(None), None)["statusCode"] == 403
    assert reached == ["not_revoked"]


def test_a_target_s_context_cannot_be_forged(
    monkeypatch: pytest.MonkeyPatch, published: Path
) -> None:
    """
    What another event than a load balancer's brings never reaches the target.
    """
    function = load(monkeypatch, published)
    reached: list[Any] = []
    protected = function.protect(lambda event, _: reached.append(event))
    answer = protected(authorizer_event("rest", PKI.client("good")), None)
    assert "policyDocument" in answer
    assert reached == []


def test_a_target_is_loaded_strictly_on_lambda_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    On Lambda a missing setting stops the load of a protected function; in a unit test
    the function is protected without any, and its first request says what is missing.
    """
    for variable in [name for name in os.environ if name.startswith("CRLCHECK_")]:
        monkeypatch.delenv(variable)
    for module in ("protection", "environment"):
        monkeypatch.delitem(sys.modules, f"lambda_authorizer.{module}", raising=False)
    protect = importlib.import_module("lambda_authorizer.protection").protect

    def target(_event: Any, _context: Any) -> Any:
        return {"statusCode": 201}

    protected = protect(target)
    assert protected.__wrapped__({}, None) == {"statusCode": 201}
    with pytest.raises(ValueError, match="CRLCHECK_STORE is not set"):
        protected(SOURCES["alb-verify"].event(PKI.client("good")), None)
    monkeypatch.setenv("AWS_LAMBDA_RUNTIME_API", "127.0.0.1:9001")
    with pytest.raises(ValueError, match="CRLCHECK_STORE is not set"):
        protect(target)


# ---- what is logged --------------------------------------------------------------------


@pytest.mark.parametrize("wanted", ["true", "False"])
def test_the_certificate_is_logged_only_where_that_is_asked_for(
    wanted: str,
    monkeypatch: pytest.MonkeyPatch,
    published: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """
    "False" is false: then neither the certificate nor its subject is logged.
    """
    function = load(monkeypatch, published, log_certificate=wanted)
    function.handler(authorizer_event("rest", PKI.client("revoked")), None)
    (line,) = lines_of(caplog, "lambda_authorizer")
    assert line.get("certificate") == (PKI.client("revoked") if wanted == "true" else None)
    assert "Mallory" not in caplog.text


@pytest.mark.parametrize("loading", ["whole", "pages", "pages_then_whole"])
def test_large_images_are_loaded_as_the_setting_says(
    loading: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """
    With pages only parts of a large image are read, and the decisions are the same.
    """
    chance = random.Random(2)
    others = [chance.randrange(1 << 150, 1 << 151) for _ in range(140_000)]
    revoked = PKI.revoked.certificate.serial_number
    publish(tmp_path / "published", PKI.crl(revoked=[revoked, *others]))
    loaded: list[str] = []
    load_whole = crlcheck.LocalStore.load

    def note(store: crlcheck.LocalStore, name: str) -> Any:
        loaded.append(name)
        return load_whole(store, name)

    monkeypatch.setattr(crlcheck.LocalStore, "load", note)
    function = load(monkeypatch, tmp_path / "published", image_loading=loading)
    for name in ("good", "revoked"):
        answer = function.handler(authorizer_event("rest", PKI.client(name)), None)
        assert is_allowed(answer) == (name == "good")
    if loading == "pages":
        assert not loaded
    else:
        eventually(lambda: bool(loaded))


def test_an_unknown_way_to_load_images_stops_the_function(
    monkeypatch: pytest.MonkeyPatch, published: Path
) -> None:
    """
    A typing error in the setting must not load images in another way.
    """
    with pytest.raises(ValueError, match="CRLCHECK_IMAGE_LOADING"):
        load(monkeypatch, published, image_loading="page").handler({}, None)
