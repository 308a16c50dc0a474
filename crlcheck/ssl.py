"""
Check the peer of a TLS connection of ``ssl`` before a byte of it is read.

``guard`` does it for all connections of an ``SSLContext``, of servers and of clients: of
sockets, ``http.server``, ``urllib.request``, and of whatever else takes a context.
``checked_streams`` and ``open_connection`` do it in an event loop without holding it up.
docs/guides/python-servers.md has recipes.
"""

from __future__ import annotations

import asyncio
import functools
import ssl
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from crlcheck.access import (
    RECHECK_AFTER,
    Access,
    Decision,
    UnclearRequestError,
    VerifiedBy,
    from_connection,
    read_recheck,
)
from crlcheck.checker.checker import RevocationChecker
from crlcheck.errors import CrlCheckError

__all__ = [
    "Decision",
    "PeerDeniedError",
    "acheck_peer",
    "check_peer",
    "checked_streams",
    "guard",
    "open_connection",
]

_Connection: TypeAlias = ssl.SSLSocket | ssl.SSLObject
_Streams: TypeAlias = tuple[asyncio.StreamReader, asyncio.StreamWriter]
_Serve: TypeAlias = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
_ContextT = TypeVar("_ContextT", bound=ssl.SSLContext)

# How the log calls the kind of a request.
_KIND = "TLS"


class PeerDeniedError(CrlCheckError, ssl.SSLError):
    """
    The certificate of a connection's peer is denied.

    ``decision`` says why, and ``cause`` in one word. It is an ``ssl.SSLError`` too, so what
    expects that a handshake may fail takes it for that.
    """

    def __init__(self, decision: Decision) -> None:
        super().__init__(ssl.SSL_ERROR_SSL, f"the peer's certificate is denied: {decision.cause}")
        self.cause = decision.cause
        self.decision = decision


def guard(context: _ContextT, checker: RevocationChecker, *, observe: bool = False) -> _ContextT:
    """
    Check the peer of every connection of *context* from now on; return the context.

    That is done at the end of the handshake, whoever begins it and in whatever way. A peer
    that is denied is a ``PeerDeniedError``, out of the handshake and out of whatever is
    tried with the connection after it. The reason is logged, by the logger
    ``crlcheck.access``.

    A connection of ``asyncio`` is checked in the loop, which waits where the check does: so
    give the checker *background_refresh* and call its ``preload``, or use
    ``checked_streams`` and ``open_connection``.

    Args:
        context: of a server or a client; it must demand certificates (``CERT_REQUIRED``).
        checker: the checker, of whatever settings.
        observe: let everything pass, and only log what would be denied.

    Raises:
        ValueError: the context does not demand and verify certificates in the handshake, or
            is guarded already.
    """
    _demand_verification(context)
    if issubclass(context.sslsocket_class, _Checked):
        raise ValueError("context: found one that is guarded already")
    members = {"_access": _make_access(checker, observe)}
    context.sslsocket_class = type(
        "CheckedSocket", (_CheckedSocket, context.sslsocket_class), members
    )
    context.sslobject_class = type("CheckedObject", (_Checked, context.sslobject_class), members)
    return context


def check_peer(
    connection: _Connection, checker: RevocationChecker, *, observe: bool = False
) -> Decision:
    """
    Check the peer of a connection whose handshake is done; return the decision.

    It can be called again, for a connection that is open for long.

    Raises:
        PeerDeniedError: the peer is denied. What the connection brings must not be read.
        ValueError: the handshake is not done, or the connection's context does not demand and
            verify certificates in it.
    """
    _demand_handshake(connection)
    access = _make_access(checker, observe)
    return _admitted(access, access.decide(lambda: _leaf(connection)), _name_of(connection))


async def acheck_peer(
    connection: _Connection, checker: RevocationChecker, *, observe: bool = False
) -> Decision:
    """
    As ``check_peer``, for an event loop: a check that asks the store waits in a thread.

    The connection is ``writer.get_extra_info("ssl_object")``.
    """
    _demand_handshake(connection)
    access = _make_access(checker, observe)
    decision = await access.adecide(lambda: _leaf(connection))
    return _admitted(access, decision, _name_of(connection))


def checked_streams(
    serve: _Serve,
    checker: RevocationChecker,
    *,
    observe: bool = False,
    recheck_after: timedelta | None = RECHECK_AFTER,
) -> _Serve:
    """
    Return what serves the clients of ``asyncio.start_server`` that are not revoked, by *serve*.

    Each client is checked before *serve* is called, which has nothing to read until then; a
    connection of anybody else is ended. One that is open is checked again, and ended once its
    certificate is denied: what *serve* reads is then a ``PeerDeniedError``. A connection
    without TLS, or whose context does not demand certificates, is ended too.

    Args:
        serve: takes a reader and a writer, as ``start_server`` says.
        checker: the checker, of whatever settings.
        observe: let everything pass, and only log what would be denied.
        recheck_after: how long after a check an open connection is checked again. None for
            never.

    Raises:
        ValueError: *recheck_after* is no positive time.
    """
    access = _make_access(checker, observe)
    every = read_recheck(recheck_after)

    @functools.wraps(serve)
    async def checked(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = writer.get_extra_info("ssl_object")
        name = _address(writer.get_extra_info("peername"))
        decision = await access.adecide(lambda: _leaf(connection))
        if not access.passes(decision, _KIND, name):
            writer.transport.abort()
            return
        certificate = decision.certificate
        if every is None or certificate is None:
            await serve(reader, writer)
            return

        async def watch(certificate: bytes, every: timedelta) -> None:
            denial = await access.until_denied(certificate, every, _KIND, name)
            reader.set_exception(PeerDeniedError(denial))
            writer.transport.abort()

        watching = asyncio.ensure_future(watch(certificate, every))
        try:
            await serve(reader, writer)
        finally:
            watching.cancel()

    return checked


async def open_connection(
    checker: RevocationChecker,
    host: str,
    port: int,
    *,
    context: ssl.SSLContext,
    observe: bool = False,
    **options: Any,
) -> _Streams:
    """
    Connect to a server whose certificate is not revoked; return a reader and a writer.

    *options* are further ones of ``asyncio.open_connection``. Nothing is sent to the server
    before it has been checked.

    Raises:
        PeerDeniedError: the server is denied.
        ValueError: the context does not demand and verify certificates.
    """
    _demand_verification(context)
    reader, writer = await asyncio.open_connection(host, port, ssl=context, **options)
    try:
        await acheck_peer(writer.get_extra_info("ssl_object"), checker, observe=observe)
    except BaseException:
        writer.transport.abort()
        raise
    return reader, writer


if TYPE_CHECKING:
    _Base = ssl.SSLSocket
else:
    _Base = object


class _Checked(_Base):
    """What ``guard`` adds to ``SSLSocket`` and ``SSLObject``: nothing goes before the check."""

    _access: Access
    _decision: Decision | None = None
    _is_admitted = False

    def do_handshake(self, *args: Any, **options: Any) -> None:
        """Shake hands, and check the peer."""
        if self._decision is not None and not self._is_admitted:
            raise PeerDeniedError(self._decision)
        super().do_handshake(*args, **options)
        if self._decision is None:
            self._decision = self._access.decide(lambda: _leaf(self))
            _admitted(self._access, self._decision, _name_of(self))
            self._is_admitted = True

    def read(self, *args: Any, **options: Any) -> Any:
        """Read, once the peer is checked."""
        self._demand()
        return super().read(*args, **options)

    def write(self, *args: Any, **options: Any) -> int:
        """Write, once the peer is checked."""
        self._demand()
        return super().write(*args, **options)

    def _demand(self) -> None:
        # OpenSSL would shake hands by itself in the first read or write.
        if not self._is_admitted:
            self.do_handshake()


class _CheckedSocket(_Checked):
    """What a socket can do beside."""

    def send(self, *args: Any, **options: Any) -> int:
        """Send, once the peer is checked."""
        self._demand_if_tls()
        return super().send(*args, **options)

    def sendfile(self, *args: Any, **options: Any) -> int:
        """Send a file, once the peer is checked."""
        self._demand_if_tls()
        return super().sendfile(*args, **options)

    def _demand_if_tls(self) -> None:
        # After unwrap(), or before a connection, it is a plain socket.
        if self._sslobj is not None:  # type: ignore[attr-defined]
            self._demand()


def _make_access(checker: RevocationChecker, observe: bool) -> Access:
    return Access(checker, verified_by=VerifiedBy.SERVER, observe=observe)


def _admitted(access: Access, decision: Decision, name: str) -> Decision:
    if not access.passes(decision, _KIND, name):
        raise PeerDeniedError(decision)
    return decision


def _leaf(connection: _Connection | None) -> bytes | None:
    """Return the peer's certificate, as DER; None where it sent none."""
    if connection is None:
        raise UnclearRequestError("not_told", "the connection has no TLS")
    try:
        _demand_verification(connection.context)
    except ValueError as error:
        raise UnclearRequestError("unverified", str(error)) from None
    return from_connection(connection)


def _demand_verification(context: ssl.SSLContext) -> None:
    if context.verify_mode is not ssl.CERT_REQUIRED:
        raise ValueError(
            f"context.verify_mode: found {context.verify_mode.name}, expected CERT_REQUIRED: "
            "anybody can make a certificate that names a trusted issuer, and no CRL lists it"
        )
    is_server = context.protocol is not ssl.PROTOCOL_TLS_CLIENT
    if is_server and context.post_handshake_auth:
        raise ValueError(
            "context.post_handshake_auth: found True, expected False: there is no certificate "
            "yet when the handshake is done"
        )


def _demand_handshake(connection: _Connection) -> None:
    _demand_verification(connection.context)
    if connection.version() is None:
        raise ValueError("connection: expected one whose handshake is done")


def _name_of(connection: _Connection) -> str:
    """Return what the log calls a peer: a server by its name, a client by its address."""
    name = connection.server_hostname
    if name is not None and not connection.server_side:
        return str(name)
    if not isinstance(connection, ssl.SSLSocket):
        return "a client"
    try:
        return _address(connection.getpeername())
    except OSError:  # it has gone
        return "a client"


def _address(found: object) -> str:
    """Return the address of a peer as text; of a Unix socket there is none."""
    match found:
        case (str(host), int(port), *_):
            return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    return "a client"
