"""
Define the authorizer's entry point, ``lambda_authorizer.handler.handler``.

Importing this module reads the settings and makes the checker, so that a bad setting
stops the deployment and images are kept between invocations.
"""

from __future__ import annotations

from lambda_authorizer.environment import start
from lambda_authorizer.protection import protect

__all__ = ["AUTHORIZER", "handler", "protect"]

AUTHORIZER = start()


def handler(event: object, _context: object) -> dict[str, object]:
    """
    Answer one event: allow a certificate that is not revoked, and deny everything else.

    The service that ended TLS must have verified the certificate (chain, dates,
    possession of the key). Only for a load balancer in passthrough mode is its chain
    verified here.
    """
    return AUTHORIZER.answer(event)
