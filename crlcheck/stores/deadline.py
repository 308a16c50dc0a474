"""
Open TCP and TLS connections that keep one deadline over all their calls, and use them again.

A socket's own timeout begins again with every byte that comes. So a server could keep a
reader waiting for ever, with an endless header, with "100 Continue" answers or with
trailers. Here the timeout is set before each call to the time that is left.
"""

from __future__ import annotations

import functools
import math
import os
import select
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from http.client import HTTPConnection, HTTPException, HTTPResponse
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, urlsplit

CONNECT_SECONDS = 1.0
"""How long one address, or one TLS handshake, may take."""

# Of all attempts together, in seconds. A poll is part of a request that the published set
# in use can answer. Without one there is more time.
POLL_SECONDS = 1.0
READ_SECONDS = 3.0
DEFAULT_LOAD_SECONDS = 60.0

FIRST_PAUSE = 0.05
MAX_ATTEMPTS = 3

_CHUNK = 1 << 18
_MAX_IDLE = 8

if TYPE_CHECKING:
    import ssl

    _Socket = socket.socket
else:
    _Socket = object  # a plain or a TLS socket comes beside it


class _Timed(_Socket):
    """Set the timeout to the time that is left, before each call of the class beside it."""

    deadline: float = math.inf
    silence: float = math.inf

    def recv(self, *arguments: Any) -> bytes:
        """As ``socket.recv``."""
        _set_timeout(self)
        return super().recv(*arguments)

    def recv_into(self, *arguments: Any) -> int:
        """As ``socket.recv_into``, which http.client uses."""
        _set_timeout(self)
        return super().recv_into(*arguments)

    def send(self, *arguments: Any) -> int:
        """As ``socket.send``."""
        _set_timeout(self)
        return super().send(*arguments)

    def sendall(self, *arguments: Any) -> None:
        """As ``socket.sendall``."""
        _set_timeout(self)
        return super().sendall(*arguments)


class TimedSocket(_Timed, socket.socket):
    """
    A connection whose calls end at ``deadline``, a time of the monotonic clock, and
    after ``silence`` seconds without a byte, with TimeoutError.
    """


def resolve(host: str, port: int, deadline: float) -> list[str]:
    """
    Return the addresses of *host*, each once.

    Raises:
        OSError: it has none; TimeoutError where that is not known by *deadline*.
        UnicodeError: it can be no name.
    """
    found: list[Any] = []

    def look_up() -> None:
        try:
            found.append(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except (OSError, UnicodeError) as error:
            found.append(error)

    # The system's resolver takes no time limit, and cannot be stopped.
    thread = threading.Thread(target=look_up, name="crlcheck-resolve", daemon=True)
    thread.start()
    thread.join(_left(deadline))
    if not found:
        raise TimeoutError("timed out")
    if isinstance(found[0], Exception):
        raise found[0]
    return list(dict.fromkeys(str(one[4][0]) for one in found[0]))


def connect(
    address: str, port: int, *, deadline: float, seconds: float, silence: float = math.inf
) -> TimedSocket:
    """
    Connect to an address (no name), within *seconds* and before *deadline*.

    Raises:
        OSError: nobody takes the connection; TimeoutError where nobody does in time.
    """
    plain = socket.create_connection((address, port), min(_left(deadline), seconds))
    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    timed = TimedSocket(fileno=plain.detach())
    timed.deadline, timed.silence = deadline, silence
    return timed


def secure(
    connected: TimedSocket, context: ssl.SSLContext, host: str, *, seconds: float
) -> TimedSocket:
    """
    Return the connection under TLS, once its certificate is that of *host*.

    Raises:
        OSError: the handshake failed; TimeoutError where it took more than *seconds*.
    """
    context.sslsocket_class = _timed_tls_socket()
    try:
        # The handshake as a whole keeps the timeout that is set here.
        connected.settimeout(min(_left(connected.deadline), seconds))
        wrapped: Any = context.wrap_socket(connected, server_hostname=host)
    except BaseException:
        connected.close()
        raise
    wrapped.deadline, wrapped.silence = connected.deadline, connected.silence
    timed: TimedSocket = wrapped
    return timed


class Connections:
    """
    Opens connections to servers, and keeps those that may serve another request.

    Threads may share it, and so may both processes after a fork. *reach* opens the
    connection to a server, before TLS.
    """

    def __init__(
        self,
        *,
        ca_bundle: str | None = None,
        reach: Callable[[SplitResult, float], TimedSocket] | None = None,
    ) -> None:
        self._ca_bundle = ca_bundle
        self._reach = reach or reach_directly
        self._tls: ssl.SSLContext | None = None
        self._idle: deque[tuple[str, HTTPConnection]] = deque()
        self._owner = os.getpid()

    def take(self, scheme: str, host: str, deadline: float) -> HTTPConnection:
        """
        Return a connection to *host*, which may name a port, for one request.

        Raises:
            OSError: nobody takes one; TimeoutError where nobody does by *deadline*.
        """
        if self._owner != os.getpid():
            # This is a child after a fork: the connections belong to its parent.
            idle, self._idle, self._owner = self._idle, deque(), os.getpid()
            for _, connection in idle:
                connection.close()
        _left(deadline)
        origin = f"{scheme}://{host}"
        while self._idle:
            try:
                its_origin, connection = self._idle.pop()
            except IndexError:  # another thread was first
                break
            if its_origin == origin and not _has_ended(connection):
                timed: Any = connection.sock
                timed.deadline = deadline
                return connection
            connection.close()
        connection = HTTPConnection(host)
        connection.auto_open = 0  # http.client knows neither limits nor TLS settings
        connection.sock = self._connected(urlsplit(origin), deadline)
        return connection

    def give_back(
        self, scheme: str, host: str, connection: HTTPConnection, *, may_stay: bool
    ) -> None:
        """Keep a connection for the next request if it *may_stay*, else close it."""
        if may_stay and len(self._idle) < _MAX_IDLE:
            self._idle.append((f"{scheme}://{host}", connection))
        else:
            connection.close()

    def __del__(self) -> None:
        for _, connection in self._idle:
            connection.close()

    def _connected(self, origin: SplitResult, deadline: float) -> TimedSocket:
        connected = self._reach(origin, deadline)
        if origin.scheme == "http":
            return connected
        if self._tls is None:
            import ssl

            self._tls = ssl.create_default_context(cafile=self._ca_bundle)
        return secure(connected, self._tls, origin.hostname or "", seconds=CONNECT_SECONDS)


def chunks_of(response: HTTPResponse) -> Iterator[bytes]:
    """Yield the whole body; the deadline ends it, however slowly a server sends."""
    missing = response.length
    while not response.isclosed():
        chunk = response.read1(_CHUNK)
        if not chunk:
            break
        if missing is not None:
            missing -= len(chunk)
        yield chunk
    if missing:
        raise HTTPException(f"connection closed {missing} bytes before the end of the body")


def is_last(attempt: int, pause: float, deadline: float) -> bool:
    """Whether a request is not sent again after this attempt."""
    return attempt == MAX_ATTEMPTS or time.monotonic() + pause >= deadline


def may_serve_again(response: HTTPResponse) -> bool:
    """Whether the connection of an answer that was read may serve another request."""
    return (response.isclosed() or response.length == 0) and not response.will_close


def port_of(origin: SplitResult) -> int:
    """Return the port of an http:// or https:// URL."""
    return origin.port or (80 if origin.scheme == "http" else 443)


def reach_directly(origin: SplitResult, deadline: float) -> TimedSocket:
    """Connect to the server of a URL. Raises: as ``connect_to_host``."""
    return connect_to_host(origin.hostname or "", port_of(origin), deadline)


def connect_to_host(host: str, port: int, deadline: float) -> TimedSocket:
    """
    Connect to the first address of *host* that answers.

    Raises:
        OSError: none does, or the host has none; TimeoutError where that takes too long.
        UnicodeError: it can be no name.
    """
    failure: OSError = OSError("no address")
    for address in resolve(host, port, deadline):
        try:
            return connect(address, port, deadline=deadline, seconds=CONNECT_SECONDS)
        except OSError as error:
            failure = error
    raise failure


def _has_ended(connection: HTTPConnection) -> bool:
    """Whether a connection without a request has something to read, which makes it useless."""
    ready = select.poll()
    ready.register(connection.sock, select.POLLIN)
    return bool(ready.poll(0))


@functools.cache
def _timed_tls_socket() -> type[ssl.SSLSocket]:
    import ssl

    class TimedTlsSocket(_Timed, ssl.SSLSocket):
        """As TimedSocket."""

    return TimedTlsSocket


def _set_timeout(timed: Any) -> None:
    left = min(_left(timed.deadline), timed.silence)
    timed.settimeout(None if math.isinf(left) else left)


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError("timed out")
    return left
