"""
Let a WSGI application serve only clients whose certificate is not revoked.

``RevocationMiddleware`` wraps any application: Django's, Flask's. Pure WSGI (PEP 3333): no
package is needed. docs/guides/python-servers.md has recipes.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Unpack

from crlcheck.access import (
    DECISION,
    UNCHECKED,
    Access,
    Decision,
    UnclearRequestError,
    VerifiedBy,
    WebSettings,
    WithoutCertificate,
    from_connection,
)
from crlcheck.checker.checker import RevocationChecker

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

__all__ = ["Decision", "RevocationMiddleware", "VerifiedBy", "WebSettings", "WithoutCertificate"]

_APACHE = (
    "Apache needs SSLOptions +StdEnvVars +ExportCertData, and SSLVerifyClient require to demand "
    "certificates"
)


class RevocationMiddleware:
    """
    A WSGI application that passes on to *app* what comes with a certificate that is not
    revoked.

    Any other request is answered 403. The application finds a ``Decision`` in
    ``environ["crlcheck.decision"]``. The reason for a denial is logged, by the logger
    ``crlcheck.access``.

    A WSGI server joins headers of one name, and of names that differ by underscores alone.
    So the server must drop names with underscores, as gunicorn, waitress and Apache do, and
    of several certificates in Traefik's form none is believed.

    Args:
        app: the application.
        checker: the checker, of whatever settings. A checker that was made before a server
            forks its workers is shared with them.
        settings: those of ``WebSettings``. ``verified_by`` has no default: ``"server"`` is
            gunicorn's connection, or ``SSL_CLIENT_CERT`` of mod_wsgi.
    """

    def __init__(
        self, app: WSGIApplication, checker: RevocationChecker, **settings: Unpack[WebSettings]
    ) -> None:
        self._app = app
        self._access = Access(checker, **settings)
        self._variable = f"HTTP_{self._access.header.upper().replace('-', '_')}"

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Serve one request, as WSGI says."""
        # PEP 3333: the bytes of a path, one character each.
        path = environ.get("PATH_INFO", "").encode("latin-1").decode("utf-8", "backslashreplace")
        if self._access.is_unchecked(path):
            decision = UNCHECKED
        elif self._access.verified_by is VerifiedBy.SERVER:
            decision = self._access.decide(lambda: _from_server(environ))
        else:
            decision = self._access.decide(lambda: self._from_header(environ))
        environ[DECISION] = decision
        if self._access.passes(decision, environ.get("REQUEST_METHOD", ""), path):
            return self._app(environ, start_response)
        headers, body = self._access.denial([environ.get("HTTP_ACCEPT", "")])
        start_response("403 Forbidden", headers)
        return [] if environ.get("REQUEST_METHOD") == "HEAD" else [body]

    def _from_header(self, environ: WSGIEnvironment) -> bytes | None:
        self._access.demand_proxy(environ.get("REMOTE_ADDR"))
        value: str | None = environ.get(self._variable)
        return None if value is None else self._access.from_header(value, is_joined=True)


def _from_server(environ: WSGIEnvironment) -> bytes | None:
    """Return the client's certificate by what the server says of TLS; None where there is none."""
    connection = environ.get("gunicorn.socket")
    if connection is not None:
        return from_connection(connection)
    pem: str = environ.get("SSL_CLIENT_CERT") or ""
    verdict = environ.get("SSL_CLIENT_VERIFY")
    if not pem:
        if verdict == "NONE":
            return None
        raise UnclearRequestError(
            "not_told", f"the server tells no certificate, nor that there is none: {_APACHE}"
        )
    # Apache exports certificates that it did not verify, too (SSLVerifyClient optional_no_ca).
    if verdict != "SUCCESS" and (verdict is not None or "mod_wsgi.version" in environ):
        raise UnclearRequestError(
            "unverified", f"SSL_CLIENT_VERIFY is {verdict!r:.200}, expected 'SUCCESS': {_APACHE}"
        )
    return pem.encode("ascii")
