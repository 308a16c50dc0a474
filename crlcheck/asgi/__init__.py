"""
Let an ASGI application serve only clients whose certificate is not revoked.

``RevocationMiddleware`` wraps any application: FastAPI, Starlette, Django's. Pure ASGI:
no package is needed. ``crlcheck.asgi.uvicorn`` gives it the certificates of TLS connections
that uvicorn ended itself. docs/guides/python-servers.md has recipes.
"""

from __future__ import annotations

from crlcheck.access import Decision, VerifiedBy, WebSettings, WithoutCertificate
from crlcheck.asgi.middleware import RevocationMiddleware

__all__ = ["Decision", "RevocationMiddleware", "VerifiedBy", "WebSettings", "WithoutCertificate"]
