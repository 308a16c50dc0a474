"""
Let a WSGI application serve only clients whose certificate is not revoked.

``RevocationMiddleware`` wraps any application: Django's, Flask's. Pure WSGI (PEP 3333): no
package is needed. docs/python-servers.md has recipes.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from crlcheck.access import (
    DECISION,
    FORBIDDEN,
    FORBIDDEN_HEADERS,
    UNCHECKED,
    Access,
    Decision,
    UnclearRequestError,
    VerifiedBy,
    WithoutCertificate,
)
from crlcheck.checker.checker import RevocationChecker
from crlcheck.encoding.header_forms import HeaderForm

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

__all__ = ["Decision", "RevocationMiddleware", "VerifiedBy", "WithoutCertificate"]

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

    The certificate must have been verified (chain, dates, possession of the key) by whoever
    ended TLS, and *verified_by* says who that was. It has no default.

    A WSGI server joins headers of one name, and of names that differ by underscores alone.
    So the server must drop names with underscores, as gunicorn, waitress and Apache do, and
    of several certificates in Traefik's form none is believed.

    Args:
        app: the application.
        checker: the checker, of whatever settings. A checker that was made before a server
            forks its workers is shared with them.
        verified_by: ``"server"``: the certificate is that of gunicorn's connection, or
            ``SSL_CLIENT_CERT`` of mod_wsgi. ``"proxy"``: it is read from *header*.
        header: the header that the proxy sets, and takes out of what clients send.
        form: the form in which the proxy writes the certificate, such as ``"nginx"``: see
            ``HeaderForm``.
        proxies: the addresses or networks from which the proxies connect, or ``"unix"`` for
            a Unix socket. The header counts in their requests only.
        without_certificate: ``"deny"`` by default; ``"pass"`` lets a request without a
            certificate through, which the application can see in the decision.
        unchecked_paths: whole paths, as the application sees them (PATH_INFO), that pass
            unchecked.
        observe: let everything pass, and only log what would be denied.

    Raises:
        ValueError: a setting is missing, or is none of those.
        TypeError: *proxies* or *unchecked_paths* is one str.
    """

    def __init__(
        self,
        app: WSGIApplication,
        checker: RevocationChecker,
        *,
        verified_by: VerifiedBy | str,
        header: str | None = None,
        form: HeaderForm | str | None = None,
        proxies: Iterable[str] = (),
        without_certificate: WithoutCertificate | str = WithoutCertificate.DENY,
        unchecked_paths: Iterable[str] = (),
        observe: bool = False,
    ) -> None:
        self._app = app
        self._access = Access(
            checker,
            verified_by=verified_by,
            header=header,
            form=form,
            proxies=proxies,
            without_certificate=without_certificate,
            unchecked_paths=unchecked_paths,
            observe=observe,
        )
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
        start_response("403 Forbidden", list(FORBIDDEN_HEADERS))
        return [] if environ.get("REQUEST_METHOD") == "HEAD" else [FORBIDDEN]

    def _from_header(self, environ: WSGIEnvironment) -> bytes | None:
        self._access.demand_proxy(environ.get("REMOTE_ADDR"))
        value: str | None = environ.get(self._variable)
        return None if value is None else self._access.from_header(value, is_joined=True)


def _from_server(environ: WSGIEnvironment) -> bytes | None:
    """Return the client's certificate by what the server says of TLS; None where there is none."""
    connection: Any = environ.get("gunicorn.socket")
    if connection is not None:
        # A plain socket has no such method.
        read = getattr(connection, "getpeercert", None)
        if read is None:
            raise UnclearRequestError("not_told", "the connection has no TLS")
        der: bytes | None = read(True)
        if der is not None and connection.context.verify_mode is ssl.CERT_NONE:
            raise UnclearRequestError("unverified", "the server does not verify certificates")
        return der
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
