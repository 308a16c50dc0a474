"""
The authorizer's entry point: ``lambda_authorizer.handler.handler``.

Settings are read and the checker is made when the module is imported, so that
a bad setting stops the deployment and images are kept between invocations.
``lambda_authorizer._start`` comes first: it loads images while the rest is
imported.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import crlcheck
from lambda_authorizer._start import (
    CHECKER,
    LOG,
    SETTINGS,
    finish_loading,
    recheck_after_restore,
)
from lambda_authorizer.certificates import (
    ChainVerifier,
    UntrustedChainError,
    presented_certificate,
    what_to_configure,
)
from lambda_authorizer.events import (
    AuthorizerRequest,
    EventFormat,
    MalformedEventError,
    parse_request,
)
from lambda_authorizer.metrics import Recorder
from lambda_authorizer.responses import (
    ERROR,
    NO_CERTIFICATE,
    UNTRUSTED_CHAIN,
    Decision,
    decide,
    deny,
    deny_by_rule,
    observe,
    render,
)
from lambda_authorizer.settings import Mode

Rule = Callable[[Any, crlcheck.CheckResult], bool]
Handler = Callable[[Any, Any], Any]


def _chain_verifier(path: str) -> ChainVerifier:
    try:
        return ChainVerifier(Path(path).read_bytes())
    except (OSError, ValueError, crlcheck.CertificateError) as error:
        raise ValueError(f"CRLCHECK_TRUST_ANCHORS is {path!r}: {error}") from error


def _rule(name: str) -> Rule:
    module, _, function = name.partition(":")
    try:
        rule: Rule = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"CRLCHECK_DECIDE is {name!r}: {error}") from error
    if not callable(rule):
        raise ValueError(f"CRLCHECK_DECIDE is {name!r}: expected a function")
    return rule


CHAIN_VERIFIER = None if SETTINGS.trust_anchors is None else _chain_verifier(SETTINGS.trust_anchors)
RULE = None if SETTINGS.decide is None else _rule(SETTINGS.decide)
METRICS = Recorder() if SETTINGS.metrics else None
finish_loading()
recheck_after_restore()


def handler(event: object, _context: object) -> dict[str, object]:
    """
    Answer one event: allow a certificate that is not revoked.

    Whoever ended TLS has verified the certificate (chain, dates, possession of
    the key), or for a load balancer in passthrough mode its chain is verified
    here; beyond that only revocation is decided. Everything unclear is denied.
    """
    decision, request = _answer(event)
    return render(decision, request, SETTINGS.response)


def protect(target: Handler) -> Handler:
    """
    Return a handler for a load balancer's Lambda target, which has no authorizer:
    what is allowed goes on to *target*, with the decision's scalars as
    ``event["requestContext"]["authorizer"]``; everything else is answered 403.
    """

    def protected(event: Any, context: Any) -> Any:
        decision, request = _answer(event)
        if request is None or request.format is not EventFormat.ALB or not decision.allowed:
            return render(decision, request, SETTINGS.response)
        passed_on = {**request.context(), "authorizer": decision.context()}
        return target({**event, "requestContext": passed_on}, context)

    return protected


def _answer(event: object) -> tuple[Decision, AuthorizerRequest | None]:
    request: AuthorizerRequest | None = None
    try:
        request = parse_request(event)
        decision = _decide(request)
    except UntrustedChainError as error:
        decision = deny(UNTRUSTED_CHAIN, str(error))
    except Exception as error:  # noqa: BLE001 - the one guard: whatever went wrong denies
        decision = deny(ERROR, _describe(error))
    if SETTINGS.mode is Mode.OBSERVE and request is not None:
        decision = observe(decision)
    _log(decision, request)
    if METRICS is not None:
        METRICS.record(decision, CHECKER.freshness(), time.time())
    return decision, request


def _decide(request: AuthorizerRequest) -> Decision:
    source, header = SETTINGS.certificate_from, SETTINGS.header
    pem = presented_certificate(request, source, header)
    if pem is None:
        return deny(NO_CERTIFICATE, what_to_configure(request, source, header))
    now = datetime.now(UTC)
    # Bytes are always contents; a string that is not PEM would name a file.
    certificate = pem.encode()
    if CHAIN_VERIFIER is not None:
        certificate = CHAIN_VERIFIER.verified_leaf(pem, now)
    result = CHECKER.check(certificate)
    decision = decide(result, now)
    if not decision.allowed or RULE is None:
        return decision
    verdict = RULE(request.event, result)
    if not isinstance(verdict, bool):
        raise TypeError(f"CRLCHECK_DECIDE returned {type(verdict).__name__}, expected bool")
    return decision if verdict else deny_by_rule(decision)


def _describe(error: Exception) -> str:
    # Other messages may quote the client's certificate, whose names are personal data.
    if isinstance(error, MalformedEventError | crlcheck.StoreError):
        return f"{type(error).__name__}: {error}"
    return type(error).__name__


def _log(decision: Decision, request: AuthorizerRequest | None) -> None:
    """Write one line of JSON; by its level, errors stand out and what is allowed is quiet."""
    if decision.cause == ERROR:
        level = logging.ERROR
    else:
        level = logging.INFO if decision.denies else logging.DEBUG
    if LOG.isEnabledFor(level):
        line = {**decision.scalars(), "format": None if request is None else request.format.value}
        if SETTINGS.log_certificate and request is not None:
            with contextlib.suppress(ValueError):  # what is wrong with it is logged already
                line["certificate"] = presented_certificate(
                    request, SETTINGS.certificate_from, SETTINGS.header
                )
        LOG.log(level, json.dumps(line))
