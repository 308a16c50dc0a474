"""
Decide on events, with the settings and the checker of one execution environment.
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
from lambda_authorizer.settings import Mode, Settings

Rule = Callable[[Any, crlcheck.CheckResult], bool]

_LOG = logging.getLogger("lambda_authorizer")


class Authorizer:
    """
    Decides on requests by *settings* and the results of *checker*.

    Raises:
        ValueError: the trust anchors, or the user's own rule, cannot be loaded.
    """

    def __init__(self, settings: Settings, checker: crlcheck.RevocationChecker) -> None:
        self._settings = settings
        self.checker = checker
        anchors, rule = settings.trust_anchors, settings.decide
        self._chain_verifier = None if anchors is None else _chain_verifier(anchors)
        self._rule = None if rule is None else _load_rule(rule)
        if settings.header is not None:
            crlcheck.certificate_from_header  # noqa: B018 - it is imported now, not at a request
        self._metrics = (
            Recorder(settings.metrics_namespace, settings.store) if settings.metrics else None
        )

    def answer(self, event: object) -> dict[str, object]:
        """Return the answer in the form that the sender of *event* expects."""
        decision, request = self._decide_event(event)
        return render(decision, request, self._settings.response)

    def pass_on(self, target: Callable[[Any, Any], Any], event: Any, context: Any) -> Any:
        """
        Return *target*'s answer to a load balancer's request that is allowed, and the
        authorizer's own answer to every other event.
        """
        decision, request = self._decide_event(event)
        if request is None or request.format is not EventFormat.ALB or not decision.allowed:
            return render(decision, request, self._settings.response)
        passed_on = {**request.context(), "authorizer": decision.context()}
        return target({**event, "requestContext": passed_on}, context)

    def _decide_event(self, event: object) -> tuple[Decision, AuthorizerRequest | None]:
        request: AuthorizerRequest | None = None
        try:
            request = parse_request(event)
            decision = self._decide(request)
        except UntrustedChainError as error:
            decision = deny(UNTRUSTED_CHAIN, str(error))
        except Exception as error:  # noqa: BLE001 - any failure denies, and this is the only guard
            decision = deny(ERROR, _describe(error))
        if self._settings.mode is Mode.OBSERVE and request is not None:
            decision = observe(decision)
        self._log(decision, request)
        if self._metrics is not None:
            self._metrics.record(decision, self.checker.freshness(), time.time())
        return decision, request

    def _decide(self, request: AuthorizerRequest) -> Decision:
        source, header = self._settings.certificate_from, self._settings.header
        pem = presented_certificate(request, source, header)
        if pem is None:
            return deny(NO_CERTIFICATE, what_to_configure(request, source, header))
        now = datetime.now(UTC)
        # Bytes are always contents; a string that is not PEM would name a file.
        certificate = pem.encode()
        if self._chain_verifier is not None:
            certificate = self._chain_verifier.verified_leaf(pem, now)
        result = self.checker.check(certificate)
        decision = decide(result, now)
        if not decision.allowed or self._rule is None:
            return decision
        verdict = self._rule(request.event, result)
        if not isinstance(verdict, bool):
            raise TypeError(f"CRLCHECK_DECIDE returned {type(verdict).__name__}, expected bool")
        return decision if verdict else deny_by_rule(decision)

    def _log(self, decision: Decision, request: AuthorizerRequest | None) -> None:
        """Log one line of JSON: errors as ERROR, denials as INFO, other decisions as DEBUG."""
        if decision.cause == ERROR:
            level = logging.ERROR
        else:
            level = logging.INFO if decision.denies else logging.DEBUG
        if _LOG.isEnabledFor(level):
            line = {
                **decision.scalars(),
                "format": None if request is None else request.format.value,
            }
            if self._settings.log_certificate and request is not None:
                # What is wrong with it is logged already.
                with contextlib.suppress(ValueError, crlcheck.CertificateError):
                    line["certificate"] = presented_certificate(
                        request, self._settings.certificate_from, self._settings.header
                    )
            _LOG.log(level, json.dumps(line))


def _chain_verifier(path: str) -> ChainVerifier:
    try:
        return ChainVerifier(Path(path).read_bytes())
    except (OSError, ValueError, crlcheck.CertificateError) as error:
        raise ValueError(f"CRLCHECK_TRUST_ANCHORS is {path!r}: {error}") from error


def _load_rule(name: str) -> Rule:
    module, _, function = name.partition(":")
    try:
        rule: Rule = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"CRLCHECK_DECIDE is {name!r}: {error}") from error
    if not callable(rule):
        raise ValueError(f"CRLCHECK_DECIDE is {name!r}: expected a function")
    return rule


def _describe(error: Exception) -> str:
    # Other messages may quote the client's certificate, whose names are personal data.
    if isinstance(
        error, MalformedEventError | crlcheck.CertificateHeaderError | crlcheck.StoreError
    ):
        return f"{type(error).__name__}: {error}"
    return type(error).__name__
