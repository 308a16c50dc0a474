"""
The authorizer's entry point: ``lambda_authorizer.handler.handler``.

Settings are read and the checker is made when the module is imported, so that
a bad setting stops the deployment and images are kept between invocations.
"""

from __future__ import annotations

import json
import logging
import os
from datetime import UTC, datetime

import crlcheck
from crlcheck.settings import read_settings
from lambda_authorizer.events import AuthorizerRequest, MalformedEventError, parse_request
from lambda_authorizer.responses import ERROR, Decision, decide, deny, render
from lambda_authorizer.settings import Settings

LOG = logging.getLogger("lambda_authorizer")
SETTINGS = read_settings(Settings, os.environ)
LOG.setLevel(SETTINGS.log_level.name)
CHECKER = crlcheck.RevocationChecker(
    SETTINGS.store,
    policy=SETTINGS.policy,
    refresh_after=SETTINGS.refresh_after,
    image_memory=SETTINGS.image_memory,
)


def handler(event: object, _context: object) -> dict[str, object]:
    """
    Answer one authorizer event: allow a certificate that is not revoked.

    API Gateway has verified the certificate (chain, dates, possession of the
    key); only its revocation is decided here. Everything unclear is denied.
    """
    request: AuthorizerRequest | None = None
    try:
        request = parse_request(event)
        decision = _decide(request)
    except Exception as error:  # noqa: BLE001 - the one guard: whatever went wrong denies
        decision = deny(ERROR, _describe(error))
    _log(decision, request)
    return render(decision, request, SETTINGS.response)


def _decide(request: AuthorizerRequest) -> Decision:
    if request.certificate_pem is None:
        return deny("no_certificate")
    # Bytes are always contents; a string that is not PEM would name a file.
    result = CHECKER.check(request.certificate_pem.encode())
    return decide(result, datetime.now(UTC))


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
        level = logging.DEBUG if decision.allowed else logging.INFO
    if LOG.isEnabledFor(level):
        event_format = None if request is None else request.format.value
        LOG.log(level, json.dumps({**decision.scalars(), "format": event_format}))
